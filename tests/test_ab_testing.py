"""A/B tests on SQLite and PostgreSQL: what is stored, what is refused, what is concluded."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import sqlalchemy as sa

from ab_parts.assignment import hash_fraction
from ab_testing import (
    ABTestingFramework,
    Aggregation,
    ExperimentConfig,
    Metric,
    MetricType,
    analyze_frame,
    analyze_values,
    calculate_sample_size,
    simulate_experiment,
)
from db import ABEventRow, ABSubjectRow, Database, DuplicateError, NotFoundError, StateError

ROOT = Path(__file__).parents[1]


def design(name="test", **changes):
    settings = {"metric_name": "score", "min_sample_size": 2}
    return ExperimentConfig(name=name, **(settings | changes))


@pytest.fixture
def ab(database):
    return ABTestingFramework(database)


@pytest.fixture
def lite(sqlite_database):
    return ABTestingFramework(sqlite_database)


def record(ab, exp_id, baseline, treatment, metric=None):
    rows = [
        {"user_id": f"{variant}-{index}", "value": value, "variant": variant, "metric": metric}
        for variant, values in (("baseline", baseline), ("treatment", treatment))
        for index, value in enumerate(values)
    ]
    return ab.record_events(exp_id, rows)


def counts(ab, row=ABEventRow):
    with ab.database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(row))


# -- designs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"traffic_split": 1.5}, "traffic_split must lie between 0 and 1, got 1.5"),
        ({"traffic_split": True}, "boolean"),
        ({"significance_level": 0.0}, "significance_level"),
        ({"significance_level": 0.9}, "0.5, got 0.9"),
        ({"power": 1.0}, "power must lie strictly between 0 and 1"),
        ({"min_sample_size": 1}, "min_sample_size must be between 2"),
        ({"min_sample_size": 10.5}, "whole number"),
        ({"minimum_detectable_effect": -0.1}, "minimum_detectable_effect must be positive, got -0.1"),
        ({"minimum_detectable_effect": math.nan}, "finite"),
        ({"stopping": "when I like"}, "stopping must be one of"),
        ({"stopping": "group_sequential"}, "needs planned_sample_size"),
        ({"metric_type": "mood"}, "metric_type must be one of"),
        ({"direction": "sideways"}, "direction must be one of"),
        ({"alternative": "sideways"}, "alternative must be one of"),
        ({"coverage": 0.0}, "coverage must be above 0"),
        ({"treatments": {"a": 0.7, "b": 0.6}}, "more than 1"),
        ({"treatments": {"baseline": 0.5}}, "not a treatment"),
        ({"winsorize_quantile": 0.3}, "winsorize_quantile"),
        ({"metric_type": "binary", "covariate": "before"}, "covariate is for continuous metrics"),
        ({"guardrails": [Metric(name="score")]}, "named twice"),
        ({"metric_type": "binary", "aggregation": "mean"}, "aggregation of the binary metric"),
        ({"correction": "luck"}, "correction must be one of"),
        ({"spending": "pocock", "planned_sample_size": 0}, "planned_sample_size"),
    ],
)
def test_a_bad_design_is_refused_with_the_field_and_the_bound(changes, words):
    with pytest.raises((ValueError, TypeError), match="(?s).*") as caught:
        design(**changes)
    assert words in str(caught.value)


def test_a_design_is_frozen_and_survives_its_dictionary():
    config = design(
        treatments={"a": 0.2, "b": 0.3},
        guardrails=[Metric(name="latency", direction="lower", margin=0.1)],
        secondary_metrics=[{"name": "clicks", "metric_type": "count"}],
        planned_sample_size=500,
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.name = "other"
    again = ExperimentConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert again.shares == (0.5, 0.2, 0.3)
    assert again.stopping == "group_sequential"


def test_a_detectable_effect_gives_the_planned_size():
    fixed = design(metric_type="binary", baseline_value=0.2, minimum_detectable_effect=0.05, stopping="fixed_horizon")
    assert fixed.planned_sample_size == 1094  # R: power.prop.test(p1 = .2, p2 = .25, power = .8)
    looks = design(metric_type="binary", baseline_value=0.2, minimum_detectable_effect=0.05)
    assert looks.stopping == "group_sequential"
    assert 1.02 < looks.planned_sample_size / 1094 < 1.03
    assert design(minimum_detectable_effect=0.1).planned_sample_size is None  # no standard deviation is known


# -- lifecycle ---------------------------------------------------------------------------------------


def test_a_test_runs_from_creation_to_the_archive(ab):
    exp_id = ab.create_experiment(design())
    assert ab.get_experiment(exp_id).status == "running"
    ab.pause(exp_id)
    with pytest.raises(StateError, match="resume"):
        ab.record_event(exp_id, "u", 1.0)
    with pytest.raises(StateError, match="resume"):
        ab.assign(exp_id, "u")
    ab.resume(exp_id)
    record(ab, exp_id, [1.0, 2.0, 3.0], [2.0, 3.0, 4.0])
    analysis = ab.conclude(exp_id, decision="keep_baseline", reason="too noisy", actor="ada")
    stored = ab.get_experiment(exp_id)
    assert (stored.status, stored.decision, stored.decision_reason, stored.decided_by) == (
        "concluded",
        "keep_baseline",
        "too noisy",
        "ada",
    )
    assert stored.evidence["p_value"] == analysis.p_value
    with pytest.raises(StateError, match="concluded already"):
        ab.conclude(exp_id)
    with pytest.raises(StateError, match="concluded"):
        ab.record_event(exp_id, "u", 1.0)
    ab.archive(exp_id)
    assert ab.list_experiments() == []
    assert [found.exp_id for found in ab.list_experiments(status="archived")] == [exp_id]


def test_the_same_design_is_one_test_and_another_of_that_name_is_refused(ab):
    exp_id = ab.create_experiment(design())
    assert ab.create_experiment(design()) == exp_id
    with pytest.raises(DuplicateError, match="'test' exists already"):
        ab.create_experiment(design(traffic_split=0.4))
    assert len(ab.list_experiments()) == 1


def test_an_unknown_test_or_version_is_named(ab):
    with pytest.raises(NotFoundError, match="'nothing'"):
        ab.analyze_experiment("nothing")
    with pytest.raises(NotFoundError, match="'nothing'"):
        ab.record_event("nothing", "u", 1.0)
    with pytest.raises(NotFoundError, match="'no-such-version'"):
        ab.create_experiment(design(baseline_version_id="no-such-version"))
    assert ab.list_experiments() == []


def test_namespaces_share_no_subject_and_run_out(ab):
    first = ab.create_experiment(design("one", namespace="page", namespace_share=0.6))
    second = ab.create_experiment(design("two", namespace="page", namespace_share=0.4))
    users = [f"u{index}" for index in range(4000)]
    inside = [ab.assign_many(exp_id, users, store=False) != np.array(None) for exp_id in (first, second)]
    assert not (inside[0] & inside[1]).any()
    assert (inside[0] | inside[1]).all()
    assert abs(inside[0].mean() - 0.6) < 0.04
    with pytest.raises(StateError, match="'page' has no"):
        ab.create_experiment(design("three", namespace="page", namespace_share=0.1))
    ab.conclude(second)
    ab.create_experiment(design("three", namespace="page", namespace_share=0.3))


# -- assignment --------------------------------------------------------------------------------------


def test_an_assignment_is_stable_in_another_process_and_hash_seed(lite):
    exp_id = lite.create_experiment(design())
    users = ["ada", "bob", "zoë", "user-17", "日本"]
    here = [lite.assign(exp_id, user, store=False) for user in users]
    script = (
        "import sys, json; from ab_testing import ABTestingFramework as A; a = A(sys.argv[1]);"
        "print(json.dumps([a.assign(sys.argv[2], u, store=False) for u in json.loads(sys.argv[3])]))"
    )
    url = str(lite.database.path)
    for seed in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-c", script, url, exp_id, json.dumps(users)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        )
        assert json.loads(out.stdout) == here


def test_many_assignments_are_the_single_ones_and_are_stored(ab):
    exp_id = ab.create_experiment(design(treatments={"a": 0.3, "b": 0.2}))
    users = pd.Series([f"u{index}" for index in range(300)])
    many = ab.assign_many(exp_id, users)
    assert many.tolist() == [ab.assign(exp_id, user) for user in users]
    assert many.tolist() == ab.assign_many(exp_id, users, store=False).tolist()
    assert set(many) == {"baseline", "a", "b"}
    assert ab.analyze_experiment(exp_id).n_assigned == {
        name: int((many == name).sum()) for name in ("baseline", "a", "b")
    }


def test_display_writes_nothing(ab):
    exp_id = ab.create_experiment(design())
    ab.assign(exp_id, "u", store=False)
    ab.assign_many(exp_id, ["u", "v"], store=False)
    assert sum(ab.analyze_experiment(exp_id).n_assigned.values()) == 0


def test_a_new_split_moves_nobody_who_was_assigned_and_few_others_one_way(lite):
    exp_id = lite.create_experiment(design(traffic_split=0.5))
    old = [f"old{index}" for index in range(2000)]
    new = [f"new{index}" for index in range(20_000)]
    before_old, before_new = lite.assign_many(exp_id, old), lite.assign_many(exp_id, new, store=False)
    assert lite.start_phase(exp_id, traffic_split=0.7) == 2
    assert (lite.assign_many(exp_id, old) == before_old).all()
    after = lite.assign_many(exp_id, new, store=False)
    moved = before_new != after
    assert abs(moved.mean() - 0.2) < 0.015
    assert set(after[moved]) == {"treatment"}


def test_ramping_up_moves_nobody(lite):
    exp_id = lite.create_experiment(design(coverage=0.2))
    users = [f"u{index}" for index in range(20_000)]
    before = lite.assign_many(exp_id, users, store=False)
    lite.start_phase(exp_id, coverage=0.9)
    after = lite.assign_many(exp_id, users, store=False)
    inside = before != np.array(None)
    assert abs(inside.mean() - 0.2) < 0.02
    assert (before[inside] == after[inside]).all()
    assert abs((after[after != np.array(None)] == "treatment").mean() - 0.5) < 0.02


def test_a_subject_outside_the_coverage_is_not_recorded(ab):
    exp_id = ab.create_experiment(design(coverage=0.01))
    outside = next(f"u{index}" for index in range(100) if ab.assign(exp_id, f"u{index}", store=False) is None)
    assert ab.assign(exp_id, outside) is None
    assert ab.record_event(exp_id, outside, 1.0) is False
    assert ab.record_events(exp_id, [(outside, 1.0)]) == 0
    assert counts(ab) == 0


def test_assignment_is_uniform_and_independent_between_experiments():
    n = 100_000
    subjects = [str(index) for index in range(n)]
    places = [np.array([hash_fraction(salt, b"split", subject) for subject in subjects]) for salt in ("a", "b")]
    bins = np.histogram(places[0], bins=50, range=(0, 1))[0]
    assert scipy.stats.chisquare(bins).pvalue > 0.001
    phi = np.corrcoef(places[0] < 0.5, places[1] < 0.5)[0, 1]
    assert abs(phi) < 3.2905 / math.sqrt(n)  # its 99.9 % bound


# -- events ------------------------------------------------------------------------------------------

HOSTILE = [math.nan, math.inf, -math.inf, "1", None, 1 + 2j, [1], {"a": 1}, 1e200]


@pytest.mark.parametrize("kind", ["continuous", "binary", "count"])
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_a_hostile_value_is_refused_and_nothing_stored(lite, kind, value):
    exp_id = lite.create_experiment(design(metric_type=kind))
    with pytest.raises((ValueError, TypeError)):
        lite.record_event(exp_id, "u", value)
    with pytest.raises((ValueError, TypeError), match="row 1"):
        lite.record_events(exp_id, [("a", 1), ("u", value)])
    assert counts(lite) == 0
    assert sum(lite.analyze_experiment(exp_id).n_assigned.values()) == 0


@pytest.mark.parametrize(
    ("kind", "value"),
    [("continuous", True), ("binary", 0.5), ("binary", 2), ("count", -1), ("count", 1.5), ("count", True)],
)
def test_a_value_that_does_not_fit_the_metric_is_refused(ab, kind, value):
    exp_id = ab.create_experiment(design(metric_type=kind))
    with pytest.raises((ValueError, TypeError), match="score"):
        ab.record_event(exp_id, "u", value)
    with pytest.raises((ValueError, TypeError), match="score"):
        ab.record_events(exp_id, pd.DataFrame({"user_id": ["a", "u"], "value": [1, value]}, dtype=object))
    assert counts(ab) == 0


@pytest.mark.parametrize("user", ["", " ", "a\x00b", "a\nb", "\ud800", True, 1.5, None, b"u", "x" * 300], ids=ascii)
def test_a_hostile_subject_is_refused(lite, user):
    exp_id = lite.create_experiment(design())
    with pytest.raises((ValueError, TypeError)):
        lite.record_event(exp_id, user, 1.0)
    with pytest.raises((ValueError, TypeError)):
        lite.assign_many(exp_id, ["fine", user])
    assert counts(lite) == 0


def test_a_batch_is_all_or_nothing(ab):
    exp_id = ab.create_experiment(design())
    with pytest.raises(ValueError, match="row 2"):
        ab.record_events(exp_id, [("a", 1.0), ("b", 2.0), ("c", math.nan)])
    with pytest.raises(ValueError, match="unknown column 'valeu'"):
        ab.record_events(exp_id, [{"user_id": "a", "value": 1.0, "valeu": 2}])
    with pytest.raises(ValueError, match="no metric 'speed'"):
        ab.record_events(exp_id, [{"user_id": "a", "value": 1.0, "metric": "speed"}])
    with pytest.raises(ValueError, match="no variant 'c'"):
        ab.record_events(exp_id, [{"user_id": "a", "value": 1.0, "variant": "c"}])
    assert counts(ab) == counts(ab, ABSubjectRow) == 0
    assert ab.record_events(exp_id, []) == 0


def test_a_repeated_event_id_is_stored_once(ab):
    exp_id = ab.create_experiment(design(metric_type="count"))
    assert ab.record_event(exp_id, "u", 3, event_id="e1") is True
    assert ab.record_event(exp_id, "u", 3, event_id="e1") is False
    rows = [{"user_id": f"u{index % 7}", "value": 1, "event_id": f"e{index % 10}"} for index in range(20)]
    assert ab.record_events(exp_id, rows) == 9
    assert ab.record_events(exp_id, rows) == 0
    with ab.database.read() as session:
        assert session.scalar(sa.select(sa.func.sum(ABSubjectRow.total))) == 3 + 9


def test_threads_that_replay_the_same_events_store_them_once(ab):
    exp_id = ab.create_experiment(design(metric_type="count"))
    new, errors = [], []

    def replay():
        try:
            mine = ABTestingFramework(ab.database)
            for index in range(20):
                new.append(mine.record_event(exp_id, f"u{index % 5}", 1, event_id=f"e{index}"))
            new.append(
                mine.record_events(exp_id, [{"user_id": "b", "value": 1, "event_id": f"b{i}"} for i in range(10)])
            )
        except Exception as error:  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=replay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(new) == 30
    assert counts(ab) == 30
    with ab.database.read() as session:
        assert session.scalar(sa.select(sa.func.sum(ABSubjectRow.n_events))) == 30


@pytest.mark.parametrize(
    ("kind", "how", "expected"),
    [
        ("continuous", "mean", 2.0),
        ("continuous", "sum", 6.0),
        ("continuous", "max", 3.0),
        ("continuous", "first", 1.0),
        ("continuous", "last", 2.0),
        ("count", "sum", 6.0),
        ("binary", "any", 1.0),
    ],
)
@pytest.mark.parametrize("batch", [True, False])
def test_events_of_one_subject_become_one_value(ab, kind, how, expected, batch):
    exp_id = ab.create_experiment(design(metric_type=kind, aggregation=how))
    values = [1.0, 3.0, 2.0] if kind != "binary" else [0, 1, 0]
    rows = [{"user_id": "u", "value": value, "at": f"2026-01-0{day}"} for day, value in enumerate(values, start=1)]
    rows = [rows[1], rows[2], rows[0]]  # out of order
    if batch:
        ab.record_events(exp_id, rows)
    else:
        for row in rows:
            ab.record_event(exp_id, row["user_id"], row["value"], at=row["at"])
    with ab.database.read() as session:
        row = session.scalars(sa.select(ABSubjectRow)).one()
        assert (row.value, row.n_events) == (expected, 3)


def test_both_ways_of_recording_give_the_same_analysis(ab):
    rng = np.random.default_rng(3)
    rows = [(f"u{index % 40}", float(value)) for index, value in enumerate(rng.normal(size=120))]
    one, many = (ab.create_experiment(design(name, salt="same")) for name in ("one", "many"))
    for user, value in rows:
        ab.record_event(one, user, value)
    ab.record_events(many, rows)
    first, second = ab.analyze_experiment(one), ab.analyze_experiment(many)
    assert first.n_subjects == second.n_subjects
    assert first.p_value == pytest.approx(second.p_value, rel=1e-12)


# -- analysis ----------------------------------------------------------------------------------------

BASE = [0.81, 0.84, 0.79, 0.88, 0.83, 0.86, 0.80, 0.82, 0.85, 0.84]
BETTER = [0.86, 0.89, 0.85, 0.91, 0.84, 0.90, 0.88, 0.87, 0.92, 0.83, 0.89, 0.86]


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
    exp_id = ab.create_experiment(design(traffic_split=0.1, min_sample_size=10))
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


def test_an_improbably_large_lift_is_flagged():
    found = analyze_values([1.0, 1.1, 0.9, 1.0], [3.0, 3.1, 2.9, 3.0])
    assert any("Twyman" in warning for warning in found.warnings)


# -- stopping ----------------------------------------------------------------------------------------


def feed(ab, exp_id, start, stop, effect=0.0, seed=0):
    rng = np.random.default_rng([seed, start])
    for variant in ("baseline", "treatment"):
        shift = effect if variant == "treatment" else 0.0
        values = rng.normal(shift, 1.0, stop - start).tolist()
        rows = [
            {"user_id": f"{variant}{index}", "value": value, "variant": variant}
            for index, value in zip(range(start, stop), values, strict=True)
        ]
        ab.record_events(exp_id, rows)


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


# -- in memory, planning, figures --------------------------------------------------------------------


def test_arrays_frames_and_the_database_give_one_answer(lite):
    exp_id = lite.create_experiment(design())
    record(lite, exp_id, BASE, BETTER)
    stored, arrays = lite.analyze_experiment(exp_id), analyze_values(BASE, BETTER)
    frame = pd.DataFrame({"arm": ["control"] * 10 + ["new"] * 12, "y": BASE + BETTER})
    framed = analyze_frame(frame, variant="arm", value="y")
    assert stored.p_value == pytest.approx(arrays.p_value, rel=1e-12)
    assert framed.p_value == pytest.approx(arrays.p_value, rel=1e-12)
    assert framed.n_subjects == {"baseline": 10, "new": 12}
    with pytest.raises(ValueError, match=r"values of treatment\[1\]"):
        analyze_values([1.0, 2.0], [1.0, math.nan])
    with pytest.raises(ValueError, match="binary"):
        analyze_values([0, 1], [0, 0.5], "binary")


def test_rows_of_one_subject_in_a_frame_are_one_subject():
    frame = pd.DataFrame({"arm": ["a", "a", "a", "b", "b", "b"], "id": [1, 1, 2, 3, 3, 4], "y": [1.0, 3, 4, 5, 7, 8]})
    found = analyze_frame(frame, variant="arm", value="y", subject="id")
    assert found.n_subjects == {"baseline": 2, "b": 2}
    assert found.estimate["baseline"] == 3.0


def test_size_power_and_effect_solve_each_other():
    plan = calculate_sample_size("binary", baseline_value=0.2, minimum_detectable_effect=0.05, subjects_per_day=100)
    assert (plan.n_per_variant, plan.n_total, plan.days) == (1094, 2188, 22)
    assert calculate_sample_size(
        "binary", baseline_value=0.2, minimum_detectable_effect=0.05, n_per_variant=1094
    ).power == pytest.approx(0.8, abs=1e-3)
    found = calculate_sample_size("binary", baseline_value=0.2, n_per_variant=1094, power=0.8)
    assert found.effect == pytest.approx(0.05, abs=1e-4)
    assert calculate_sample_size("continuous", baseline_sd=1.0, minimum_detectable_effect=0.2).n_per_variant == 394
    with pytest.raises(ValueError, match="baseline_sd"):
        calculate_sample_size("continuous", minimum_detectable_effect=0.2)


def test_figures_and_the_report_need_no_network_and_escape_names(lite):
    exp_id = lite.create_experiment(design(metric_name="<script>alert(1)</script>", planned_sample_size=50))
    record(lite, exp_id, BASE * 3, BETTER * 3)
    found = lite.analyze_experiment(exp_id)
    from charts.ab_testing import plot_cumulative_effect, plot_distribution, plot_looks

    report = found.to_html()
    assert "<script>alert" not in report
    assert "<script>alert" not in found._repr_html_()
    assert 'src="http' not in report
    assert len(found.plot().data) == 1
    assert len(plot_looks(found).data) == 3
    assert len(plot_cumulative_effect(lite.daily_series(exp_id)).data) >= 3
    shares = lite.distribution(exp_id).groupby("variant")["share"].sum()
    assert shares.tolist() == pytest.approx([1.0, 1.0])
    assert len(plot_distribution(lite.distribution(exp_id)).data) == 2
    empty = lite.create_experiment(design("empty"))
    assert len(lite.analyze_experiment(empty).plot().data) == 0
    assert lite.distribution(empty).empty


def test_everything_survives_reopening(sqlite_url):
    first = Database(sqlite_url)
    ab = ABTestingFramework(first)
    exp_id = ab.create_experiment(design())
    record(ab, exp_id, BASE, BETTER)
    before = ab.analyze_experiment(exp_id)
    first.close()
    again = ABTestingFramework(Database(sqlite_url))
    assert again.analyze_experiment(exp_id).p_value == before.p_value
    assert again.get_experiment("test").config == design()


def test_enumerations_are_also_plain_text():
    config = design(metric_type="count", aggregation="max")
    assert config.metric_type is MetricType.COUNT
    assert config.aggregation is Aggregation.MAX


# -- simulated promises ------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("stopping", ["group_sequential", "always_valid"])
def test_twenty_looks_at_nothing_stop_at_most_73_times_in_1000(stopping):
    config = design(planned_sample_size=400, min_sample_size=10, stopping=stopping)
    found = simulate_experiment(config, n_looks=20, n_simulations=1000, seed=2026)
    assert found.significant_rate <= 0.073


@pytest.mark.slow
def test_a_fixed_horizon_errs_as_promised_and_covers():
    config = design(planned_sample_size=200, stopping="fixed_horizon")
    found = simulate_experiment(config, n_looks=1, n_simulations=2000, seed=7)
    assert 0.035 <= found.significant_rate <= 0.065
    assert 0.935 <= found.coverage <= 0.965


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "continuous",
        "binary",
        pytest.param(
            "count",
            marks=pytest.mark.xfail(
                strict=True, reason="counts are planned by means and judged by ranks: power is .74 to .76, not .8"
            ),
        ),
    ],
)
@pytest.mark.parametrize("stopping", ["group_sequential", "fixed_horizon"])
def test_the_planned_size_has_the_planned_power(kind, stopping):
    settings = {
        "continuous": {"baseline_sd": 1.0, "minimum_detectable_effect": 0.3},
        "binary": {"baseline_value": 0.3, "minimum_detectable_effect": 0.1},
        "count": {"baseline_value": 5.0, "minimum_detectable_effect": 0.7},
    }[kind]
    config = design(metric_type=kind, stopping=stopping, power=0.8, **settings)
    if config.planned_sample_size is None or stopping == "group_sequential":
        assert config.stopping == stopping
    found = simulate_experiment(config, effect=config.minimum_detectable_effect, n_simulations=1500, seed=5)
    assert found.significant_rate >= 0.8 - 3 * math.sqrt(0.16 / 1500)
