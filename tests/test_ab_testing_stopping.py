"""Looks, boundaries and futility; and the promised error rates, simulated."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import scipy.stats

import ab_testing
from ab_parts.analysis import analyze_data
from ab_parts.summaries import data_from_values
from ab_testing import (
    analyze_values,
    simulate_experiment,
)
from stats.always_valid import msprt_likelihood_ratio
from stats.formatting import format_p_value
from stats.sequential import beta_spending_design
from tests.ab_support import design, feed


def test_looks_spend_error_only_on_new_data(ab):
    exp_id = ab.create_experiment(design(planned_sample_size=400, min_sample_size=20))
    feed(ab, exp_id, 0, 200, effect=0.15)
    first = ab.check_early_stopping(exp_id)
    again = ab.check_early_stopping(exp_id)
    assert first.information_fraction == pytest.approx(0.5)
    assert first.boundary == pytest.approx(2.962588, abs=1e-5)  # gsDesign sfLDOF at half the information
    assert first.alpha_spent == pytest.approx(0.0030506455, abs=1e-9)
    assert (again.boundary, again.look, len(ab.looks(exp_id))) == (first.boundary, 1, 1)
    assert first.decision == "continue"
    feed(ab, exp_id, 200, 400)
    last = ab.check_early_stopping(exp_id)
    assert last.boundary == pytest.approx(1.968596, abs=1e-5)
    assert last.decision == "stop_final"
    assert [look.is_final for look in ab.looks(exp_id)] == [False, True]
    feed(ab, exp_id, 400, 600, effect=3.0)
    assert ab.analyze_experiment(exp_id).decision == "inconclusive"  # the last look was the last
    assert len(ab.looks(exp_id)) == 2


def interrupt(monkeypatch, action):
    """Do something each time an analysis was computed, before it is known what its look finds stored."""
    computing = []

    def analyze(*arguments, **settings):
        found = analyze_data(*arguments, **settings)
        if not computing:  # what the action itself analyses is not interrupted
            computing.append(True)
            try:
                action()
            finally:
                computing.clear()
        return found

    monkeypatch.setattr(ab_testing, "analyze_data", analyze)


@pytest.mark.parametrize("verb", ["analyze_experiment", "check_early_stopping"])
def test_others_record_while_a_look_is_computed(ab, monkeypatch, verb):
    exp_id = ab.create_experiment(design(planned_sample_size=400, min_sample_size=20))
    feed(ab, exp_id, 0, 100)
    interrupt(monkeypatch, lambda: feed(ab, exp_id, 100, 200))  # would wait for the look if that kept the store
    getattr(ab, verb)(exp_id)
    assert [(look.number, look.n_baseline) for look in ab.looks(exp_id)] == [(1, 100)]
    monkeypatch.undo()
    ab.analyze_experiment(exp_id)
    assert [(look.number, look.n_baseline) for look in ab.looks(exp_id)] == [(1, 100), (2, 200)]


def test_two_who_look_at_once_make_one_look(ab, monkeypatch):
    exp_id = ab.create_experiment(design(planned_sample_size=400, min_sample_size=20))
    feed(ab, exp_id, 0, 200)
    others = []
    interrupt(monkeypatch, lambda: others.append(ab.check_early_stopping(exp_id)))
    mine = ab.check_early_stopping(exp_id)
    assert len(ab.looks(exp_id)) == 1
    assert (mine.boundary, mine.alpha_spent, mine.look) == (others[0].boundary, others[0].alpha_spent, 1)


@pytest.mark.parametrize("stopping", ["group_sequential", "always_valid"])
def test_a_look_that_is_overtaken_again_and_again_is_made_in_the_end(ab, monkeypatch, stopping):
    exp_id = ab.create_experiment(design(planned_sample_size=1000, min_sample_size=20, stopping=stopping))
    feed(ab, exp_id, 0, 50)
    ends = iter(range(100, 1000, 50))

    def overtake():
        if len(ab.looks(exp_id)) < ab_testing.SNAPSHOT_LOOKS:  # the attempt after these lets nobody in
            ab.analyze_experiment(exp_id)
            end = next(ends)
            feed(ab, exp_id, end - 50, end)

    interrupt(monkeypatch, overtake)
    found = ab.analyze_experiment(exp_id)
    assert [(look.number, look.n_baseline) for look in ab.looks(exp_id)] == [(1, 50), (2, 100), (3, 150), (4, 200)]
    assert found.looks == ab.looks(exp_id)


def test_a_test_that_ends_while_it_is_looked_at_gets_no_further_look(ab, monkeypatch):
    exp_id = ab.create_experiment(design(planned_sample_size=400, min_sample_size=20))
    feed(ab, exp_id, 0, 100)

    def end():
        if ab.get_experiment(exp_id).status == "running":
            ab.conclude(exp_id, decision="inconclusive", reason="enough")

    interrupt(monkeypatch, end)
    found = ab.analyze_experiment(exp_id)
    assert found.experiment_status == "concluded"
    assert [look.is_final for look in ab.looks(exp_id)] == [True]  # the one that concluded it


@pytest.mark.parametrize(
    ("effect", "code", "decision"), [(1.0, "stop_success", "ship"), (-1.0, "stop_harm", "keep_baseline")]
)
def test_a_crossed_boundary_stops_early(lite, effect, code, decision):
    exp_id = lite.create_experiment(design(planned_sample_size=400, min_sample_size=20))
    feed(lite, exp_id, 0, 200, effect)
    found = lite.check_early_stopping(exp_id)
    assert (found.should_stop, found.decision) == (True, code)
    assert lite.analyze_experiment(exp_id).decision == decision
    assert lite.looks(exp_id)[0].outcome == code


def test_futility_is_judged_under_the_planned_effect(lite):
    exp_id = lite.create_experiment(design(planned_sample_size=400, min_sample_size=20, minimum_detectable_effect=0.2))
    feed(lite, exp_id, 0, 320, effect=-0.1)
    found = lite.check_early_stopping(exp_id)
    assert found.futile
    assert found.conditional_power < 0.1
    assert found.decision == "stop_futile"
    assert lite.analyze_experiment(exp_id).decision == "stop_futile"


def test_a_fixed_horizon_is_interim_before_its_end(lite):
    exp_id = lite.create_experiment(design(stopping="fixed_horizon", planned_sample_size=400, min_sample_size=20))
    feed(lite, exp_id, 0, 100, effect=1.0)
    found = lite.analyze_experiment(exp_id)
    assert found.p_value < 1e-6
    assert found.is_interim
    assert not found.is_significant
    assert found.decision == "keep_running"
    assert any("interim" in warning for warning in found.warnings)
    feed(lite, exp_id, 100, 400, effect=1.0)
    assert lite.analyze_experiment(exp_id).decision == "ship"


def test_always_valid_p_values_never_rise(lite):
    exp_id = lite.create_experiment(design(stopping="always_valid", min_sample_size=20))
    seen = []
    for start in range(0, 600, 100):
        feed(lite, exp_id, start, start + 100, effect=0.15)
        found = lite.check_early_stopping(exp_id)
        assert found.ci_lower < found.ci_upper
        seen.append(found.p_value)
    assert seen == sorted(seen, reverse=True)
    feed(lite, exp_id, 600, 1600, effect=0.5)
    assert lite.check_early_stopping(exp_id).decision == "stop_success"


def test_the_mixture_test_is_one_of_the_choices_and_is_stored(lite):
    config = design(stopping="always_valid", sequential_test="msprt", mixing_sd=0.3, min_sample_size=20)
    exp_id = lite.create_experiment(config)
    assert lite.get_experiment(exp_id).config == config
    seen = []
    for start in range(0, 800, 200):
        feed(lite, exp_id, start, start + 200, effect=0.2)
        found = lite.analyze_experiment(exp_id)
        se = found.comparisons[0].standard_error
        n = found.n_subjects["baseline"]
        ratio = msprt_likelihood_ratio(n, found.comparisons[0].z * se, se * se * n / 2.0, 0.3**2)
        seen.append(min([1.0, 1.0 / ratio, *seen]))
        assert found.sequential_p_value == pytest.approx(seen[-1], rel=1e-9)
        assert found.sequential_ci_lower < found.ci_upper
    assert "mixture sequential probability ratio test" in found.stopping.method
    assert "mixture sequential probability ratio test" in found._repr_html_()
    assert [look.p_value for look in lite.looks(exp_id)] == pytest.approx(seen, rel=1e-9)
    assert found.is_significant == (seen[-1] <= 0.05)


def test_the_mixture_interval_and_its_p_value_agree():
    rng = np.random.default_rng(2)
    settings = {"stopping": "always_valid", "sequential_test": "msprt", "mixing_sd": 0.2}
    for shift in (0.0, 0.1, 0.2, 0.3):
        found = analyze_values(rng.normal(0, 1, 600), rng.normal(shift, 1, 500), **settings)
        outside = found.sequential_ci_lower > 0.0 or found.sequential_ci_upper < 0.0
        assert (found.sequential_p_value < 0.05) == outside


def test_futility_by_beta_spending_follows_its_boundary(lite):
    config = design(baseline_sd=1.0, minimum_detectable_effect=0.2, futility_rule="beta_spending", min_sample_size=20)
    plain = design(baseline_sd=1.0, minimum_detectable_effect=0.2)
    assert config.planned_sample_size > plain.planned_sample_size  # stopping for futility must not cost power
    exp_id = lite.create_experiment(config)
    half = config.planned_sample_size // 2
    feed(lite, exp_id, 0, half, effect=-0.05)
    found = lite.check_early_stopping(exp_id)
    bound = beta_spending_design([found.information_fraction, 1.0], 0.025, 0.2).lower[0]
    assert found.futility_boundary == pytest.approx(bound)
    assert found.z < bound
    assert (found.decision, found.futile) == ("stop_futile", True)
    analysis = lite.analyze_experiment(exp_id)
    assert analysis.decision == "stop_futile"
    assert "futility boundary" in analysis.recommendation
    assert "beta spending" in analysis.stopping.method
    assert lite.looks(exp_id)[0].outcome == "stop_futile"
    good = lite.create_experiment(dataclasses.replace(config, name="good"))
    feed(lite, good, 0, half, effect=0.2)
    assert not lite.check_early_stopping(good).futile


def test_beta_spending_is_refused_with_the_design_where_it_could_not_be_computed():
    settings = {"planned_sample_size": 400, "futility_rule": "beta_spending"}
    with pytest.raises(ValueError, match=r"power must be above 0\.5, got 0\.4"):
        design(power=0.4, **settings)
    assert design(power=0.51, **settings).stopping == "group_sequential"


@pytest.mark.parametrize("futility_rule", ["conditional_power", "beta_spending"])
def test_a_one_sided_test_may_have_the_largest_error_rate(lite, futility_rule):
    settings = {"significance_level": 0.5, "alternative": "greater", "futility_rule": futility_rule}
    exp_id = lite.create_experiment(design(planned_sample_size=400, min_sample_size=20, **settings))
    feed(lite, exp_id, 0, 200, effect=1.0)
    assert lite.analyze_experiment(exp_id).decision == "ship"


def test_days_left_follow_the_observed_rate(ab):
    exp_id = ab.create_experiment(design(planned_sample_size=1000, min_sample_size=10))
    rows = [
        {
            "user_id": f"{variant}{day}-{i}",
            "value": float(i),
            "variant": variant,
            "at": f"2026-03-{day + 1:02d}T12:00:00",
        }
        for variant in ("baseline", "treatment")
        for day in range(11)
        for i in range(10)
    ]
    ab.record_events(exp_id, rows)
    found = ab.analyze_experiment(exp_id)
    assert found.days_left == pytest.approx((1000 - 110) / 11.0)
    assert "more days" in found.recommendation
    points = ab.daily_series(exp_id)
    assert [point.n_baseline for point in points] == list(range(10, 120, 10))
    assert points[-1].effect == pytest.approx(found.effect)
    assert points[-1].sequential_lower < points[-1].ci_lower


# -- simulated promises ------------------------------------------------------------------------------


def value_as_of(events, how):
    """Value of one subject from (at, value) pairs in the order they were recorded."""
    values = [value for _, value in events]
    if how in ("first", "last"):
        instant = (min if how == "first" else max)(at for at, _ in events)
        same = [value for at, value in events if at == instant]
        return same[0] if how == "first" else same[-1]
    return {"mean": lambda: sum(values) / len(values), "sum": lambda: sum(values), "max": lambda: max(values)}[how]()


@pytest.mark.parametrize("how", ["mean", "sum", "max", "first", "last"])
def test_the_daily_series_takes_values_as_of_each_day(ab, how):
    rng = np.random.default_rng(6)
    exp_id = ab.create_experiment(design(aggregation=how))
    subjects = [f"{variant}-{index}" for variant in ("baseline", "treatment") for index in range(12)]
    events = [
        (subjects[rng.integers(len(subjects))], float(rng.normal(5, 1)), int(rng.integers(5)), int(rng.integers(24)))
        for _ in range(150)
    ]
    ab.record_events(
        exp_id,
        [
            {"user_id": s, "value": v, "at": f"2026-05-{d + 1:02d}T{h:02d}:00:00", "variant": s.split("-")[0]}
            for s, v, d, h in events
        ],
    )
    points = ab.daily_series(exp_id)
    assert [point.day.day for point in points] == [1, 2, 3, 4, 5]
    for point in points:
        arms = {"baseline": [], "treatment": []}
        for subject in subjects:
            seen = [((d, h), v) for s, v, d, h in events if s == subject and d < point.day.day]
            if seen:
                arms[subject.split("-")[0]].append(value_as_of(seen, how))
        assert (point.n_baseline, point.n_treatment) == (len(arms["baseline"]), len(arms["treatment"]))
        test = scipy.stats.ttest_ind(arms["treatment"], arms["baseline"], equal_var=False)
        low, high = test.confidence_interval()
        assert point.effect == pytest.approx(np.mean(arms["treatment"]) - np.mean(arms["baseline"]), abs=1e-9)
        assert (point.ci_lower, point.ci_upper) == pytest.approx((low, high), abs=1e-6)
    assert points[-1].effect == pytest.approx(ab.analyze_experiment(exp_id).effect)


def test_the_daily_series_of_rates_and_ratios_ends_at_the_analysis(ab):
    rng = np.random.default_rng(7)
    for kind in ("binary", "ratio"):
        exp_id = ab.create_experiment(design(kind, metric_type=kind))
        rows = [
            {
                "user_id": f"{variant}-{rng.integers(20)}",
                "value": float(rng.random() < 0.2) if kind == "binary" else float(rng.integers(5)),
                "variant": variant,
                "at": f"2026-05-{rng.integers(1, 6):02d}T10:00:00",
            }
            | ({} if kind == "binary" else {"denominator": float(rng.integers(1, 9))})
            for variant in ("baseline", "treatment")
            for _ in range(80)
        ]
        ab.record_events(exp_id, rows)
        points, found = ab.daily_series(exp_id), ab.analyze_experiment(exp_id)
        assert points[-1].effect == pytest.approx(found.effect, rel=1e-9)
        assert points[-1].n_baseline == found.n_subjects["baseline"]
        first = [row for row in rows if row["at"] < "2026-05-02"]
        assert points[0].n_baseline == len({row["user_id"] for row in first if row["variant"] == "baseline"})
        below = [row.get("denominator") for row in first if row["variant"] == "baseline"]
        if kind == "ratio":
            above = [row["value"] for row in first if row["variant"] == "baseline"]
            assert points[0].baseline == pytest.approx(sum(above) / sum(below))


@pytest.mark.slow
@pytest.mark.parametrize("stopping", ["group_sequential", "always_valid"])
def test_twenty_looks_at_nothing_stop_at_most_73_times_in_1000(stopping):
    config = design(planned_sample_size=400, min_sample_size=10, stopping=stopping)
    found = simulate_experiment(config, n_looks=20, n_simulations=1000, seed=2026)
    assert found.significant_rate <= 0.073


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"sequential_test": "msprt", "mixing_sd": 0.3}])
def test_a_one_sided_sequence_errs_at_most_as_promised_and_finds_more_than_a_two_sided_one(settings):
    def simulated(effect, alternative):
        config = design(
            planned_sample_size=300, min_sample_size=10, stopping="always_valid", alternative=alternative, **settings
        )
        return simulate_experiment(config, effect=effect, n_looks=20, n_simulations=1000, seed=11).significant_rate

    assert simulated(0.0, "greater") <= 0.05
    assert simulated(0.25, "greater") > simulated(0.25, "two-sided") + 0.03


@pytest.mark.slow
def test_the_mixture_test_with_twenty_looks_errs_at_most_as_promised():
    config = design(
        planned_sample_size=400, min_sample_size=10, stopping="always_valid", sequential_test="msprt", mixing_sd=0.2
    )
    found = simulate_experiment(config, n_looks=20, n_simulations=1000, seed=2026)
    assert found.significant_rate <= 0.073
    assert found.coverage >= 0.927


@pytest.mark.slow
@pytest.mark.parametrize("effect", [0.0, 0.2])
def test_the_interval_of_a_test_that_may_stop_early_covers(effect):
    config = design(planned_sample_size=400, min_sample_size=10, spending="pocock")
    found = simulate_experiment(config, effect=effect, n_looks=20, n_simulations=500, seed=31)
    assert found.coverage >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 500)  # the usual interval covers 91 % without an effect


@pytest.mark.slow
def test_stopping_every_test_that_beta_spending_calls_futile_keeps_the_power():
    config = design(baseline_sd=1.0, minimum_detectable_effect=0.2, futility_rule="beta_spending", min_sample_size=20)
    found = simulate_experiment(config, effect=0.2, n_simulations=1000, seed=3, stop_for_futility=True)
    assert found.significant_rate >= 0.8 - 3 * math.sqrt(0.16 / 1000)
    nothing = simulate_experiment(config, n_simulations=1000, seed=4, stop_for_futility=True)
    assert nothing.significant_rate <= 0.05
    assert nothing.mean_subjects < 0.7 * config.planned_sample_size


@pytest.mark.slow
def test_a_fixed_horizon_errs_as_promised_and_covers():
    config = design(planned_sample_size=200, stopping="fixed_horizon")
    found = simulate_experiment(config, n_looks=1, n_simulations=2000, seed=7)
    assert 0.035 <= found.significant_rate <= 0.065
    assert 0.935 <= found.coverage <= 0.965


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["continuous", "binary", "count", "ratio"])
@pytest.mark.parametrize("stopping", ["group_sequential", "fixed_horizon"])
def test_the_planned_size_has_the_planned_power(kind, stopping):
    settings = {
        "continuous": {"baseline_sd": 1.0, "minimum_detectable_effect": 0.3},
        "binary": {"baseline_value": 0.3, "minimum_detectable_effect": 0.1},
        "count": {"baseline_value": 5.0, "minimum_detectable_effect": 0.7},
        "ratio": {"baseline_value": 0.5, "baseline_sd": 0.4, "minimum_detectable_effect": 0.12},
    }[kind]
    config = design(metric_type=kind, stopping=stopping, power=0.8, **settings)
    if config.planned_sample_size is None or stopping == "group_sequential":
        assert config.stopping == stopping
    found = simulate_experiment(config, effect=config.minimum_detectable_effect, n_simulations=1500, seed=5)
    assert found.significant_rate >= 0.8 - 3 * math.sqrt(0.16 / 1500)


@pytest.mark.slow
@pytest.mark.parametrize("stopping", ["group_sequential", "fixed_horizon"])
def test_the_planned_size_of_several_treatments_has_the_planned_power_for_each(stopping):
    config = design(
        treatments={"a": 1 / 3, "b": 1 / 3}, baseline_sd=1.0, minimum_detectable_effect=0.3, stopping=stopping
    )
    n, looks_planned, rounds = config.planned_sample_size, 5 if stopping == "group_sequential" else 1, 1200
    edges = [round(n * (look + 1) / looks_planned) for look in range(looks_planned)]
    rng = np.random.default_rng(17)
    found = 0
    for _ in range(rounds):
        arms = [rng.normal(mean, 1.0, n) for mean in (0.0, 0.3, 0.0)]  # only the first treatment works
        looks = []
        for edge in edges:
            data = data_from_values(config, [arm[:edge] for arm in arms])
            analysis, new = analyze_data(
                config, [data], assigned={1: [edge] * 3}, shares={1: None}, looks=looks, running=edge < n,
                bayesian=False,
            )  # fmt: skip
            looks += new
            if analysis.stopping.decision in ("stop_success", "stop_harm"):
                break
        found += analysis.is_significant and analysis.variant == "a"
    error = math.sqrt(0.16 / rounds)
    assert 0.8 - 3 * error <= found / rounds <= 0.8 + 5 * error  # Holm and the steps of looks give a little


def test_a_verdict_that_was_reached_is_told_with_the_numbers_that_reached_it(lite):
    """ "Ship, p = 0.95" was said when the subjects after an early stop undid the effect."""
    exp_id = lite.create_experiment(design(planned_sample_size=400, min_sample_size=5))
    rng = np.random.default_rng(1)

    def feed(prefix, effect):
        rows = [
            {"user_id": f"{prefix}-{name}-{i}", "value": float(x), "variant": name}
            for name, mean in (("baseline", 0.0), ("treatment", effect))
            for i, x in enumerate(rng.normal(mean, 1.0, 200))
        ]
        lite.record_events(exp_id, rows)
        return lite.analyze_experiment(exp_id)

    first = feed("first", 0.7)
    assert first.decision == "ship"
    later = feed("later", -0.7)
    look = lite.looks(exp_id)[0]
    assert later.decision == "ship"
    assert later.p_value > 0.1
    assert f"{look.effect:.4g}" in later.recommendation
    assert format_p_value(look.p_value) in later.recommendation
    said = f"{later.effect:.4g}".replace("-", "−")
    assert f"Decided at look 1; with the subjects since then the effect is {said}." in later.recommendation
