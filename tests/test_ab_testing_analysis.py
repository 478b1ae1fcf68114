"""What is concluded: tests, intervals, validity, guardrails, wording."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sqlalchemy as sa

from ab_parts.aggregates import metric_data
from ab_parts.analysis import analyze_data
from ab_parts.summaries import data_from_values
from ab_testing import (
    ExperimentConfig,
    Metric,
    analyze_frame,
    analyze_values,
    simulate_experiment,
)
from db import ABAssignmentRow, ABSubjectRow, NotFoundError
from stats.proportions import newcombe_interval
from tests.ab_support import BASE, BETTER, design, record


def test_means_are_compared_by_welch(ab):
    exp_id = ab.create_experiment(design())
    record(ab, exp_id, BASE, BETTER)
    found = ab.analyze_experiment(exp_id)
    # R 4.2.2: t.test(BETTER, BASE)
    assert found.p_value == pytest.approx(0.0018933040208453573, abs=1e-10)
    assert (found.ci_lower, found.ci_upper) == pytest.approx((0.017982030568861895, 0.06801796943113796), abs=1e-9)
    assert found.relative_effect == pytest.approx(0.05168269230769229, abs=1e-9)
    assert found.n_subjects == {"baseline": 10, "treatment": 12}
    assert found.is_significant
    assert found.decision == "ship"
    assert "Welch" in found.method
    json.dumps(found.to_dict(), allow_nan=False)
    assert len(found.to_frame()) == 1


def test_rates_are_compared_by_chi_square_or_fisher(ab):
    exp_id = ab.create_experiment(design(metric_type="binary"))
    record(ab, exp_id, [1] * 120 + [0] * 880, [1] * 150 + [0] * 850)
    found = ab.analyze_experiment(exp_id)
    assert found.p_value == pytest.approx(0.04964038686536878, abs=1e-10)  # R: prop.test(correct = FALSE)
    assert (found.ci_lower, found.ci_upper) == pytest.approx((1.3782434204051563e-05, 0.06000825857012657), abs=1e-9)
    assert "without continuity correction" in found.method
    few = ab.create_experiment(design("few", metric_type="binary"))
    record(ab, few, [1, 1, 1, 0], [1, 0, 0, 0])
    found = ab.analyze_experiment(few)
    assert found.p_value == pytest.approx(0.485714285714286, abs=1e-9)  # R: fisher.test(TeaTasting)
    assert "Fisher" in found.method


def test_counts_are_compared_by_mann_whitney_which_never_speaks_of_means(ab):
    exp_id = ab.create_experiment(design(metric_type="count"))
    record(ab, exp_id, [5] * 50, [0] * 40 + [30] * 10)
    found = ab.analyze_experiment(exp_id)
    main = found.comparisons[0]
    assert found.p_value == pytest.approx(9.426765432887616e-09, rel=1e-9)
    assert main.welch_p_value == pytest.approx(0.5623443696078908, abs=1e-9)
    assert main.probability_of_superiority == pytest.approx(0.2)
    assert main.means_disagree
    assert any("disagree" in warning for warning in found.warnings)
    assert found.effect == pytest.approx(1.0)


@pytest.mark.parametrize("stopping", ["fixed_horizon", "always_valid", "group_sequential"])
def test_a_higher_mean_with_mostly_lower_subjects_ships_nothing(stopping):
    few_large = [0] * 80 + [30] * 20
    planned = {"planned_sample_size": 100} if stopping == "group_sequential" else {}
    found = analyze_values([5] * 100, few_large, "count", stopping=stopping, **planned)
    assert found.effect > 0.0
    assert found.p_value < 1e-9
    assert found.comparisons[0].probability_of_superiority == pytest.approx(0.2)
    assert found.decision == "inconclusive"
    assert "disagree" in found.recommendation


def test_ratios_are_compared_by_the_delta_method(ab):
    arms = {
        "baseline": ([1, 0, 2, 3, 1, 0, 4, 2], [3, 1, 4, 6, 2, 2, 7, 5]),
        "treatment": ([2, 1, 3, 2, 4, 1, 3, 5], [3, 2, 4, 4, 6, 2, 5, 7]),
    }
    exp_id = ab.create_experiment(design(metric_type="ratio"))
    for variant, (above, below) in arms.items():
        for index, pair in enumerate(zip(above, below, strict=True)):
            ab.record_event(exp_id, f"{variant}{index}", pair, variant=variant)
    found = ab.analyze_experiment(exp_id)
    assert found.effect == pytest.approx(0.203030303030303, abs=1e-9)
    assert found.p_value == pytest.approx(0.007319002889005874, abs=1e-9)
    with pytest.raises(ValueError, match="ratio"):
        ab.record_event(exp_id, "u", 1.0)


def test_values_a_billion_from_zero_keep_their_variance(ab):
    exp_id = ab.create_experiment(design())
    record(ab, exp_id, [1e9 + i for i in range(1, 6)], [1e9 + i for i in range(2, 7)])
    assert ab.analyze_experiment(exp_id).p_value == pytest.approx(0.34659350708733416, abs=1e-9)


@pytest.mark.parametrize("size", [1e-170, 1e-80, 1e80, 1e149])
def test_tiny_and_huge_values_end_alike_on_both_databases(ab, size):
    exp_id = ab.create_experiment(design())
    days = [{"user_id": f"u{i}", "value": size * (i % 7), "at": f"2026-01-0{1 + i % 3}"} for i in range(60)]
    ab.record_events(exp_id, days + days[::-1])
    found = ab.analyze_experiment(exp_id)
    json.dumps(found.to_dict(), allow_nan=False)
    assert len(ab.daily_series(exp_id)) == 3
    assert (found.p_value is None) == (size == 1e-170)  # whose squares are no numbers any more


def test_an_outlier_among_the_first_rows_costs_no_digits(lite):
    exp_id = lite.create_experiment(design())
    rng = np.random.default_rng(5)
    baseline, treatment = rng.normal(0, 1, 500).tolist(), rng.normal(0, 1, 500).tolist()
    baseline[0] = 1e12
    record(lite, exp_id, baseline, treatment)
    found = lite.analyze_experiment(exp_id)
    expected = scipy.stats.ttest_ind(treatment, baseline, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6)


def test_events_are_not_subjects(lite):
    exp_id = lite.create_experiment(design())
    base, treat = [[0.9] * 40, [0.5], [0.6], [0.55], [0.4]], [[0.7], [0.65], [0.6], [0.75], [0.2] * 40]
    rows = [
        {"user_id": f"{variant}{index}", "value": value, "variant": variant}
        for variant, subjects in (("baseline", base), ("treatment", treat))
        for index, events in enumerate(subjects)
        for value in events
    ]
    assert lite.record_events(exp_id, rows) == 88
    found = lite.analyze_experiment(exp_id)
    assert found.n_subjects == {"baseline": 5, "treatment": 5}
    assert found.p_value == pytest.approx(0.9403519180672444, rel=1e-6)


@pytest.mark.parametrize(
    ("baseline", "treatment"), [([], []), ([1.0], []), ([1.0], [2.0]), ([1.0, 2.0, 3.0], [2.0]), ([1.0] * 5, [2.0] * 5)]
)
def test_what_cannot_be_compared_has_no_p_value_and_says_why(lite, baseline, treatment):
    exp_id = lite.create_experiment(design())
    record(lite, exp_id, baseline, treatment)
    found = lite.analyze_experiment(exp_id)
    assert found.status == found.decision == "insufficient_data"
    assert found.p_value is None
    assert not found.is_significant
    assert found.recommendation
    assert found.comparisons[0].reason
    assert "NaN" not in json.dumps(found.to_dict(), allow_nan=False)
    assert found._repr_html_()


def test_what_varies_by_rounding_alone_has_no_p_value(lite):
    """The mean of six times 0.1 is not 0.1: without a bound, as R's t.test has, that shipped with p = 1e-19."""
    exp_id = lite.create_experiment(design())
    rows = [
        {"user_id": f"{variant}{index}", "value": 0.1, "variant": variant}
        for variant, most in (("baseline", 3), ("treatment", 9))
        for index in range(20)
        for _ in range(1 + index % most)
    ]
    lite.record_events(exp_id, rows)
    found = [lite.analyze_experiment(exp_id)]
    rng = np.random.default_rng(2)
    size = rng.integers(1, 50, (2, 40)).astype(float)
    found.append(analyze_values(np.full(50, 0.3), [0.1 + 0.2, 0.3] * 25))
    found.append(analyze_values(*(np.column_stack([0.3 * x, x]) for x in size), metric_type="ratio"))
    covered = lite.create_experiment(design("covered", covariate="before"))
    before = [(f"u{index}", float(value)) for index, value in enumerate(rng.normal(100.0, 5.0, 200))]
    lite.record_events(covered, [(user, 0.7 * value + 3.0) for user, value in before])
    lite.record_attributes(covered, [{"user_id": user, "before": value} for user, value in before])
    found.append(lite.analyze_experiment(covered))
    for one in found:
        assert (one.status, one.p_value) == ("insufficient_data", None)
        assert "do not vary" in one.recommendation


def test_a_covariate_that_varies_by_rounding_alone_adjusts_nothing(lite):
    exp_id = lite.create_experiment(design(covariate="before"))
    values = [(f"u{index}", float(value)) for index, value in enumerate(np.random.default_rng(3).normal(size=60))]
    lite.record_events(exp_id, values)
    plain = lite.analyze_experiment(exp_id)
    before = [{"user_id": user, "before": 0.3 if index % 3 else 0.1 + 0.2} for index, (user, _) in enumerate(values)]
    lite.record_attributes(exp_id, before)
    found = lite.analyze_experiment(exp_id)
    assert found.effect == pytest.approx(plain.effect, rel=1e-12)
    assert found.p_value == pytest.approx(plain.p_value, rel=1e-12)


def test_a_tiny_p_value_is_never_zero(lite):
    exp_id = lite.create_experiment(design())
    rng = np.random.default_rng(0)
    record(lite, exp_id, rng.normal(0, 1e-6, 500).tolist(), rng.normal(1, 1e-6, 500).tolist())
    assert 0.0 < lite.analyze_experiment(exp_id).p_value < 1e-300


def test_lift_needs_a_baseline_that_is_not_zero():
    around_zero = analyze_values([-1.0, 1.0, -2.0, 2.1], [3.0, 4.0, 5.0, 6.0])
    assert around_zero.relative_effect is None
    assert "not distinguishable from zero" in around_zero.relative_reason
    negative = analyze_values([-10.1, -9.9, -10.0, -10.0], [-5.1, -4.9, -5.0, -5.0])
    assert negative.relative_effect == pytest.approx(0.5)
    assert negative.relative_ci_lower < 0.5 < negative.relative_ci_upper


def test_a_broken_split_blocks_the_verdict(lite):
    exp_id = lite.create_experiment(design())
    rng = np.random.default_rng(1)
    record(lite, exp_id, rng.normal(0, 1, 300).tolist(), rng.normal(1, 1, 600).tolist())
    found = lite.analyze_experiment(exp_id)
    assert found.srm_p_value < 0.001
    assert found.status == found.decision == "invalid"
    assert not found.is_significant
    assert "sample ratio mismatch" in found.recommendation
    assert lite.check_early_stopping(exp_id).decision == "invalid"


def test_a_subject_in_two_variants_blocks_the_verdict(ab):
    exp_id = ab.create_experiment(design())
    record(ab, exp_id, BASE, BETTER)
    ab.record_event(exp_id, "baseline-1", 0.9, variant="treatment")
    found = ab.analyze_experiment(exp_id)
    assert found.n_conflicts == 1
    assert found.decision == "invalid"
    assert found.n_subjects["baseline"] == 10


def test_a_leak_into_a_variant_of_weight_zero_blocks_the_verdict(lite):
    exp_id = lite.create_experiment(design(treatments={"a": 0.5, "b": 0.0}))
    lite.record_events(exp_id, [(f"u{index}", float(index)) for index in range(50)])
    assert lite.analyze_experiment(exp_id).n_assigned["b"] == 0
    lite.record_event(exp_id, "leak", 1.0, variant="b")
    assert "share of 0" in lite.analyze_experiment(exp_id).recommendation


def test_phases_are_compared_within_and_never_pooled(ab):
    rng = np.random.default_rng(11)
    exp_id = ab.create_experiment(design(traffic_split=0.1, min_sample_size=10, salt="phases"))
    early = [f"early{index}" for index in range(2000)]
    ab.record_events(exp_id, list(zip(early, rng.normal(0.0, 1.0, 2000).tolist(), strict=True)))
    ab.start_phase(exp_id, traffic_split=0.9)
    late = [f"late{index}" for index in range(2000)]
    ab.record_events(exp_id, list(zip(late, rng.normal(3.0, 1.0, 2000).tolist(), strict=True)))
    found = ab.analyze_experiment(exp_id)
    with ab.database.read() as session:
        rows = session.execute(sa.select(ABSubjectRow.variant, ABSubjectRow.value)).all()
    pooled = scipy.stats.ttest_ind([v for i, v in rows if i], [v for i, v in rows if not i], equal_var=False)
    assert pooled.pvalue < 1e-50  # what pooling would claim
    assert found.p_value > 0.01
    assert abs(found.effect) < 0.2
    assert "stratified by phase" in found.method


def test_a_covariate_reduces_the_variance_and_winsorizing_caps_all_variants_alike(ab):
    rng = np.random.default_rng(2)
    users = [f"u{index}" for index in range(1200)]
    before = rng.normal(size=1200)
    settings = {"min_sample_size": 50, "salt": "fixed"}
    plain = ab.create_experiment(design("plain", **settings))
    adjusted = ab.create_experiment(design("adjusted", covariate="before", **settings))
    capped = ab.create_experiment(design("capped", winsorize_quantile=0.95, **settings))
    values = (before + rng.normal(0, 0.5, 1200)).tolist()
    for exp_id in (plain, adjusted, capped):
        ab.record_events(exp_id, list(zip(users, values, strict=True)))
    stored = ab.record_attributes(adjusted, pd.DataFrame({"user_id": users, "before": before}))
    assert stored == 1200
    first, second, third = (ab.analyze_experiment(exp_id) for exp_id in (plain, adjusted, capped))
    reduction = second.comparisons[0].variance_reduction
    assert 0.7 < reduction < 0.9
    assert second.comparisons[0].standard_error / first.comparisons[0].standard_error == pytest.approx(
        math.sqrt(1 - reduction), rel=0.02
    )
    assert third.cap == pytest.approx(float(np.quantile(values, 0.95)), rel=1e-12)


def test_segments_are_shown_beside_the_verdict(ab):
    exp_id = ab.create_experiment(design(min_sample_size=20))
    users = [f"u{index}" for index in range(400)]
    ab.record_attributes(exp_id, [{"user_id": u, "country": "de" if i % 2 else "fr"} for i, u in enumerate(users)])
    ab.record_events(exp_id, list(zip(users, np.random.default_rng(0).normal(size=400).tolist(), strict=True)))
    found = ab.analyze_experiment(exp_id, segment="country")
    assert [part.segment for part in found.segments] == ["country = de", "country = fr"]
    assert sum(part.n_baseline + part.n_treatment for part in found.segments) == 400
    with pytest.raises(NotFoundError, match="'planet'"):
        ab.analyze_experiment(exp_id, segment="planet")


def test_several_treatments_are_corrected_and_guardrails_stand_outside(lite):
    rng = np.random.default_rng(4)
    exp_id = lite.create_experiment(
        design(
            treatments={"a": 0.3, "b": 0.3},
            min_sample_size=50,
            guardrails=[Metric(name="latency", direction="lower", margin=0.05)],
        )
    )
    users = [f"u{index}" for index in range(3000)]
    variants = lite.assign_many(exp_id, users)
    lite.record_events(
        exp_id, list(zip(users, (rng.normal(size=3000) + 0.3 * (variants == "a")).tolist(), strict=True))
    )
    slow = 1.0 + 0.5 * (variants == "a") + rng.normal(0, 0.2, 3000)
    lite.record_events(
        exp_id, [{"user_id": u, "value": v, "metric": "latency"} for u, v in zip(users, slow, strict=True)]
    )
    found = lite.analyze_experiment(exp_id)
    main = [part for part in found.comparisons if part.role == "main"]
    guards = {part.variant: part for part in found.comparisons if part.role == "guardrail"}
    assert [part.variant for part in main] == ["a", "b"]
    assert main[0].p_adjusted == pytest.approx(min(1.0, 2 * main[0].p_value))
    assert found.variant == "a"
    assert guards["a"].guardrail_status == "worse"
    assert guards["b"].guardrail_status == "safe"
    assert found.decision == "keep_baseline"
    assert "latency" in found.recommendation


@pytest.mark.parametrize(("latency", "planned"), [([], None), ([], 20), ([1.0, 5.0], None), ([5.0, 1.0], 20)])
def test_a_guardrail_that_cannot_be_computed_is_open_and_ships_nothing(lite, latency, planned):
    guard = Metric(name="latency", direction="lower")
    settings = {"stopping": "always_valid", "planned_sample_size": planned, "min_sample_size": 10}
    exp_id = lite.create_experiment(design(guardrails=[guard], **settings))
    rng = np.random.default_rng(0)
    record(lite, exp_id, rng.normal(0, 1, 50).tolist(), rng.normal(5, 1, 50).tolist())
    if latency:
        record(lite, exp_id, [latency[0]] * 50, [latency[1]] * 50, metric="latency")
    found = lite.analyze_experiment(exp_id)
    assert found.is_significant
    assert [part.guardrail_status for part in found.comparisons if part.role == "guardrail"] == ["open"]
    assert found.decision == ("keep_running" if planned is None else "inconclusive")
    assert "latency" in found.recommendation


@pytest.mark.parametrize(
    ("n", "margin", "status", "decision"),
    [(50, 0.05, "open", "inconclusive"), (500, 0.05, "safe", "ship"), (50, None, "safe", "ship")],
)
@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_no_failure_in_either_arm_settles_a_guardrail_once_there_are_enough(
    lite, n, margin, status, decision, direction
):
    guard = Metric(name="failed", metric_type="binary", direction=direction, margin=margin)
    exp_id = lite.create_experiment(design(guardrails=[guard], min_sample_size=10))
    rng = np.random.default_rng(0)
    record(lite, exp_id, rng.normal(0, 1, n).tolist(), rng.normal(5, 1, n).tolist())
    record(lite, exp_id, [direction == "higher"] * n, [direction == "higher"] * n, metric="failed")
    found = lite.conclude(exp_id)
    (part,) = [part for part in found.comparisons if part.role == "guardrail"]
    bound = (newcombe_interval(0, n, 0, n)) if direction == "lower" else newcombe_interval(n, n, n, n)
    assert (part.ci_lower, part.ci_upper) == pytest.approx(bound)
    assert part.p_value is None
    assert "Newcombe" in part.method
    assert part.guardrail_status == status
    assert found.decision == decision
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_rate_guardrail_is_judged_by_the_score_bound(lite):
    guard = Metric(name="failed", metric_type="binary", direction="lower", margin=0.05)
    exp_id = lite.create_experiment(design(guardrails=[guard]))
    record(lite, exp_id, [0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    record(lite, exp_id, [1] * 10 + [0] * 290, [1] * 12 + [0] * 288, metric="failed")
    (part,) = [part for part in lite.analyze_experiment(exp_id).comparisons if part.role == "guardrail"]
    assert (part.guardrail_status == "safe") == (newcombe_interval(10, 300, 12, 300)[1] < 0.05)
    assert newcombe_interval(10, 300, 12, 300, alpha=2 * part.p_non_inferiority)[1] == pytest.approx(0.05, abs=1e-9)


def test_a_guardrail_without_data_in_memory_is_open():
    found = analyze_values([1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0], guardrails=[Metric(name="latency")])
    assert found.is_significant
    assert found.decision == "inconclusive"
    assert "latency" in found.recommendation


@pytest.mark.parametrize(("alternative", "sign"), [("greater", 1.0), ("less", -1.0)])
@pytest.mark.parametrize("kind", ["always_valid", "fixed_horizon"])
def test_a_one_sided_sequential_p_value_agrees_with_its_interval(alternative, sign, kind):
    rng = np.random.default_rng(3)
    baseline = rng.normal(0.0, 1.0, 500)
    settings = {"stopping": kind, "alternative": alternative}
    wrong = analyze_values(baseline, rng.normal(-sign, 1.0, 500), **settings)
    assert wrong.sequential_p_value == 1.0
    assert not wrong.is_significant
    for shift in (0.05, 0.15, 0.2, 0.25, 0.4):
        found = analyze_values(baseline, rng.normal(sign * shift, 1.0, 500), **settings)
        ends = (found.sequential_ci_lower, found.sequential_ci_upper)
        end, open_end = ends if alternative == "greater" else ends[::-1]
        assert open_end is None
        assert (found.sequential_p_value < 0.05) == (sign * end > 0.0)


def test_effect_sizes_are_averaged_within_phases(lite):
    rng = np.random.default_rng(5)
    noise = rng.normal(0.0, 1.0, 1000)
    for kind in ("binary", "continuous"):
        exp_id = lite.create_experiment(design(kind, metric_type=kind, traffic_split=0.1, min_sample_size=10))
        for phase, (n1, n2, rate) in enumerate([(1800, 200, 0.1), (1000, 1000, 0.5)]):
            if phase:
                lite.start_phase(exp_id, traffic_split=0.5)
            rows = [
                {"user_id": f"{phase}-{variant}-{i}", "variant": variant, "value": value}
                for variant, n in (("baseline", n1), ("treatment", n2))
                for i, value in enumerate(
                    [float(i < rate * n) for i in range(n)]
                    if kind == "binary"
                    else (5 * rate + np.resize(noise[:200], n)).tolist()
                )
            ]
            lite.record_events(exp_id, rows)
        found = lite.analyze_experiment(exp_id)
        assert found.n_subjects == {"baseline": 2800, "treatment": 1200}
        assert found.effect == pytest.approx(0.0, abs=1e-12)
        assert found.effect_size == pytest.approx(0.0, abs=1e-12)


def test_denominators_that_add_up_to_zero_are_named():
    empty = [(1.0, 0.0)] * 5
    found = analyze_values(empty, empty, metric_type="ratio")
    assert found.decision == "insufficient_data"
    assert "denominators of the baseline and the treatment add up to zero" in found.comparisons[0].reason
    assert found.comparisons[0].n_baseline == 5
    one = analyze_values([(1.0, 2.0), (2.0, 3.0), (1.0, 1.0)], empty, metric_type="ratio")
    assert "denominators of the treatment add up to zero" in one.recommendation
    few = analyze_values([(1.0, 2.0)], [(1.0, 2.0)], metric_type="ratio")
    assert "at least two subjects" in few.recommendation


def test_the_relative_interval_says_what_the_absolute_one_says():
    found = analyze_values([1.0, 1.0, 1.0], [2.0, 3.0, 4.0])  # a baseline of exactly 1: lift and effect are equal
    assert found.p_value > 0.05
    assert found.relative_ci_lower == pytest.approx(found.ci_lower)
    assert found.relative_ci_upper == pytest.approx(found.ci_upper)
    assert found.ci_lower < 0.0


def test_a_one_sided_test_may_look_for_harm():
    rng = np.random.default_rng(8)
    sized = {"minimum_detectable_effect": 0.5, "baseline_sd": 1.0}
    harm = analyze_values(rng.normal(0, 1, 300), rng.normal(-1, 1, 300), alternative="less", **sized)
    assert harm.is_significant
    assert harm.decision == "keep_baseline"
    gain = analyze_values(rng.normal(0, 1, 300), rng.normal(1, 1, 300), alternative="less", **sized)
    assert not gain.is_significant
    assert gain.decision == "inconclusive"
    assert analyze_values([4.0, 4.1, 3.9], [5.0, 5.1, 4.9], alternative="greater", direction="lower").decision == (
        "keep_baseline"
    )
    plan = design(alternative="less", **sized)
    assert plan.planned_sample_size == design(alternative="greater", **sized).planned_sample_size


def test_lower_can_be_better():
    found = analyze_values([5.0, 5.1, 4.9, 5.05], [4.0, 4.1, 3.9, 4.05], direction="lower")
    assert found.decision == "ship"
    assert found.comparisons[0].chance_to_beat > 0.99
    assert analyze_values([4.0, 4.1, 3.9, 4.05], [5.0, 5.1, 4.9, 5.05], direction="lower").decision == "keep_baseline"


def test_real_but_smaller_than_what_matters_is_too_small():
    rng = np.random.default_rng(0)
    found = analyze_values(rng.normal(0, 1, 40_000), rng.normal(0.05, 1, 40_000), minimum_detectable_effect=0.5)
    assert found.is_significant
    assert found.decision == "too_small"


def test_no_effect_is_never_called_no_difference():
    rng = np.random.default_rng(0)
    found = analyze_values(rng.normal(0, 1, 400), rng.normal(0, 1, 400))
    assert found.decision == "inconclusive"
    assert "are ruled out" in found.recommendation
    assert "no difference" not in found.recommendation.lower()


@pytest.mark.parametrize(
    ("alternative", "words"),
    [
        ("two-sided", r"beyond ±[\d.]+ are ruled out, smaller ones are not"),
        ("greater", r"below −[\d.]+ are ruled out, higher ones are not"),
        ("less", r"above [\d.]+ are ruled out, lower ones are not"),
    ],
)
def test_what_is_left_open_lies_on_the_other_side_of_what_is_ruled_out(alternative, words):
    found = analyze_values([1.0, 2.0, 3.0, 4.0], [1.1, 2.0, 3.1, 3.9], alternative=alternative)
    assert re.search(words, found.recommendation)


def test_an_improbably_large_lift_is_flagged():
    found = analyze_values([1.0, 1.1, 0.9, 1.0], [3.0, 3.1, 2.9, 3.0])
    assert any("Twyman" in warning for warning in found.warnings)


@pytest.mark.parametrize("largest", [8, 20_000])
def test_counts_in_the_database_are_those_of_the_values_in_every_phase(ab, largest):
    exp_id = ab.create_experiment(design(metric_type="count", treatments={"a": 0.3, "b": 0.3}))
    rng = np.random.default_rng(3)
    everyone = {}
    for phase in (1, 2):
        if phase == 2:
            ab.start_phase(exp_id, coverage=0.9)
        values = {name: rng.poisson(3.0, 120) for name in ("baseline", "a", "b")}
        values["a"][-2:] = (largest, largest + 1)  # too large for a code in the second case
        everyone[phase] = values
        ab.record_events(
            exp_id,
            [
                {"user_id": f"{phase}-{name}-{place:03d}", "value": int(value), "variant": name}
                for name, column in values.items()
                for place, value in enumerate(column)
            ],
        )
    with ab.database.read() as session:
        live = ab._find_live(session, exp_id)
        data = metric_data(session, live, 0)
    for phase, values in everyone.items():
        distinct, frequencies = data.tallies[phase]
        for row, name in enumerate(("baseline", "a", "b")):
            assert dict(zip(distinct, frequencies[row], strict=True)) == {
                value: int((values[name] == value).sum()) for value in np.unique(np.concatenate([*values.values()]))
            }
    shares = ab.distribution(exp_id)
    assert shares.groupby("variant")["n_subjects"].sum().to_dict() == {"baseline": 240, "a": 240, "b": 240}
    assert shares["upper"].max() > largest


def test_a_distribution_has_the_bins_of_numpy(ab):
    exp_id = ab.create_experiment(design())
    record(ab, exp_id, BASE, BETTER)
    found = ab.distribution(exp_id, n_bins=5)
    edges = np.linspace(min(BASE + BETTER), max(BASE + BETTER), 6)
    for name, values in (("baseline", BASE), ("treatment", BETTER)):
        part = found[found["variant"] == name]
        wanted = np.histogram(values, edges)[0]
        assert part["n_subjects"].tolist() == wanted[wanted > 0].tolist()


def test_the_exposure_is_checked_without_a_look(ab):
    exp_id = ab.create_experiment(design())
    record(ab, exp_id, BASE, BETTER)
    exposure = ab.check_exposure(exp_id)
    assert exposure.n_assigned == {"baseline": 10, "treatment": 12}
    assert exposure.problems == []
    assert ab.looks(exp_id) == []
    found = ab.analyze_experiment(exp_id)
    assert (exposure.srm_p_value, exposure.n_conflicts) == (found.srm_p_value, found.n_conflicts)
    ab.record_event(exp_id, "baseline-0", 1.0, variant="treatment")
    exposure = ab.check_exposure(exp_id)
    assert exposure.n_conflicts == 1
    assert exposure.problems[0] in ab.analyze_experiment(exp_id).recommendation
    json.dumps(exposure.to_dict(), allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["continuous", "binary", "count", "ratio"])
@pytest.mark.parametrize("without", [[], ["z-late"], [f"a{index}" for index in range(200)]])
def test_who_was_assigned_is_counted_whether_or_not_they_have_values(ab, kind, without):
    """All, all but the last in order of their ids, and too few: the three ways in which they are counted."""
    exp_id = ab.create_experiment(design(metric_type=kind, secondary_metrics=[Metric(name="other", metric_type=kind)]))
    users = [f"u{index}" for index in range(150)]
    value = (1.0, 2.0) if kind == "ratio" else 1.0
    ab.record_events(exp_id, [{"user_id": user, "value": value, "metric": "score"} for user in users])
    ab.record_events(exp_id, [{"user_id": user, "value": value, "metric": "other"} for user in users[:50]])
    ab.assign_many(exp_id, without)
    if without:
        ab.start_phase(exp_id, traffic_split=0.8)
        ab.record_events(exp_id, [(f"v{index}", value) for index in range(30)])
    with ab.database.read() as session:
        row = ABAssignmentRow
        stored = dict(session.execute(sa.select(row.variant, sa.func.count()).group_by(row.variant)).all())
    wanted = {"baseline": stored[0], "treatment": stored[1]}
    found = ab.analyze_experiment(exp_id)
    assert found.n_assigned == ab.check_exposure(exp_id).n_assigned == wanted
    assert sum(found.n_subjects.values()) == sum(wanted.values()) - len(without)
    assert found.srm_p_value == ab.check_exposure(exp_id).srm_p_value


def test_two_equal_estimates_are_called_neither_higher_nor_lower(lite):
    exp_id = lite.create_experiment(design(metric_type="binary"))
    record(lite, exp_id, [0, 1] * 50, [0, 1] * 50)
    said = lite.analyze_experiment(exp_id).recommendation
    assert "score is as high with treatment as with the baseline (95 % interval −13.6 pp to 13.6 pp), p = 1" in said
    assert "lower with" not in said


@pytest.mark.parametrize("stopping", ["group_sequential", "always_valid"])
def test_an_interval_of_several_treatments_says_its_level(stopping):
    for treatments, level in (({"a": 0.3, "b": 0.3}, "97.5 %"), (None, "95 %")):
        config = design(treatments=treatments, planned_sample_size=1000, stopping=stopping)
        rng = np.random.default_rng(5)
        n = len(config.variants)
        data = data_from_values(config, [rng.normal(size=200) for _ in range(n)])
        found, _ = analyze_data(config, [data], assigned={1: [200] * n}, shares={1: None})
        assert f"({level} interval" in found.recommendation


def test_an_open_guardrail_says_what_is_missing(lite):
    guard = Metric(name="failed", metric_type="binary", direction="lower", margin=0.05)
    exp_id = lite.create_experiment(design(guardrails=[guard], min_sample_size=10))
    rng = np.random.default_rng(0)
    record(lite, exp_id, rng.normal(0, 1, 50).tolist(), rng.normal(5, 1, 50).tolist())
    record(lite, exp_id, [0] * 50, [0] * 50, metric="failed")
    found = lite.analyze_experiment(exp_id)
    # Newcombe's interval for 0 of 50 against 0 of 50 ends at 7.13 points
    reason = "50 and 50 subjects leave open that it is 7.13 pp higher, its margin is 5 pp"
    assert f"failed ({reason})" in found.recommendation
    assert found.comparisons[-1].notes == [f"not shown to be safe: {reason}"]


@pytest.mark.parametrize(
    ("kind", "values", "match"),
    [
        ("continuous", ["1", "2", "3", "4"], "hold text"),
        ("continuous", [1.0, "2", 3.0, 4.0], "hold text"),
        ("continuous", [True, 2.0, 3.0, 4.0], "are booleans"),
        ("continuous", [1.0, float("nan"), 3.0, 4.0], "nan"),
        ("binary", [0.5, 0.5, 1, 1], "0 or 1"),
        ("count", [-1, 2, 3, 4], "whole number"),
        ("count", [1.5, 0.5, 3, 4], "whole number"),
    ],
)
def test_a_wrong_value_in_memory_is_refused_alone_and_among_the_events_of_its_subject(kind, values, match):
    """What an event has wrong may vanish in what the subject comes to: -1 and 2 clicks are 1 click."""
    with pytest.raises(ValueError, match=match):
        analyze_values(values, [1, 0, 1, 1], kind)
    frame = pd.DataFrame(
        {"who": list("aabbccdd"), "arm": ["baseline"] * 4 + ["treatment"] * 4, "y": [*values, 1, 0, 1, 1]}, dtype=object
    )
    with pytest.raises(ValueError, match=match):
        analyze_frame(frame, variant="arm", value="y", subject="who", metric_type=kind)


@pytest.mark.parametrize(
    "pairs", [[[1, -1], [2, 3]], [[1, float("nan")], [2, 3]], [["1", 2], [2, 3]], [[1, 2, 3]], [1, 2]]
)
def test_wrong_pairs_of_a_ratio_in_memory_are_refused(pairs):
    with pytest.raises(ValueError, match="values of baseline"):
        analyze_values(pairs, [[1, 2], [2, 3]], "ratio")


def test_a_message_about_columns_stays_short(lite):
    exp_id = lite.create_experiment(design(covariate="before"))
    with pytest.raises(ValueError, match=r"there are 'u0', .* and 192 more\. Give a DataFrame") as caught:
        lite.record_attributes(exp_id, {f"u{index}": [index] for index in range(200)})
    assert len(str(caught.value)) < 300


def test_rows_without_a_subject_are_refused_in_memory():
    frame = pd.DataFrame(
        {"who": ["a", None, "c", "d"], "arm": ["baseline", "treatment"] * 2, "y": [1.0, 2.0, 3.0, 4.0]}
    )
    with pytest.raises(ValueError, match="'who' has missing values"):
        analyze_frame(frame, variant="arm", value="y", subject="who")


@pytest.mark.parametrize("field", ["guardrails", "secondary_metrics"])
@pytest.mark.parametrize(
    "given", ["latency", {"name": "latency"}, [{"nme": "latency"}], [{"name": "latency", "unit": "s"}], [5]]
)
def test_metrics_are_given_as_a_list_of_metrics(field, given):
    with pytest.raises(ValueError, match=field):
        ExperimentConfig(name="t", metric_name="y", **{field: given})


@pytest.mark.parametrize(
    "arguments",
    [{"effect": float("nan")}, {"n_per_variant": 1}, {"n_simulations": 0}, {"n_looks": 0}, {"n_simulations": 2.5}],
)
def test_a_simulation_says_which_argument_is_wrong(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        simulate_experiment(ExperimentConfig(name="t", metric_name="y"), **arguments)
