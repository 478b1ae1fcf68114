"""A/B tests on SQLite and PostgreSQL: designs, lifecycle, planning, what people see."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from ab_testing import (
    ABTestingFramework,
    Aggregation,
    ExperimentConfig,
    Metric,
    MetricType,
    analyze_frame,
    analyze_values,
    calculate_sample_size,
)
from db import (
    ABAssignmentRow,
    ABAttributeRow,
    ABExperimentRow,
    ABLookRow,
    ABPhaseRow,
    ABSubjectRow,
    Database,
    DuplicateError,
    NotFoundError,
    StateError,
)
from tests.ab_support import BASE, BETTER, counts, design, record

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


def test_a_deleted_test_is_gone_with_everything_and_its_name_is_free(ab):
    exp_id, other = ab.create_experiment(design()), ab.create_experiment(design("other"))
    for which in (exp_id, other):
        record(ab, which, BASE, BETTER)
        ab.analyze_experiment(which)
    ab.record_attributes(exp_id, [{"user_id": "baseline-1", "age": 3}])
    with pytest.raises(StateError, match="running; conclude or archive it first"):
        ab.delete_experiment(exp_id)
    ab.pause(exp_id)
    with pytest.raises(StateError, match="paused"):
        ab.delete_experiment("test")
    ab.conclude(exp_id)
    gone = ab.delete_experiment(exp_id)
    assert (gone.exp_id, gone.name, gone.n_assignments, gone.n_events) == (exp_id, "test", 22, 22)
    with pytest.raises(NotFoundError):
        ab.get_experiment(exp_id)
    with pytest.raises(NotFoundError):
        ab.record_event(exp_id, "u", 1.0)
    assert counts(ab) == counts(ab, ABSubjectRow) == counts(ab, ABAssignmentRow) == 22  # the other test's
    assert [counts(ab, row) for row in (ABAttributeRow, ABPhaseRow, ABLookRow)] == [0, 1, 1]
    again = ab.create_experiment(design())
    assert again != exp_id
    assert ab.delete_experiment(again, allow_running=True).n_events == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sequential_test": "luck"}, "sequential_test must be one of"),
        ({"futility_rule": "luck"}, "futility_rule must be one of"),
        ({"sequential_test": "msprt"}, "is for stopping 'always_valid', stopping is 'fixed_horizon'"),
        ({"sequential_test": "msprt", "stopping": "always_valid"}, "needs mixing_sd or minimum_detectable_effect"),
        ({"mixing_sd": 0.1, "stopping": "always_valid"}, "mixing_sd 0.1 is for sequential_test 'msprt'"),
        ({"mixing_sd": 0.0}, "mixing_sd must be positive, got 0.0"),
        ({"futility_rule": "beta_spending"}, "is for stopping 'group_sequential'"),
    ],
)
def test_an_option_of_another_stopping_rule_is_refused(changes, words):
    with pytest.raises(ValueError, match="(?s).*") as caught:
        design(**changes)
    assert words in str(caught.value)


def test_a_design_made_before_an_option_existed_is_still_the_same_design(ab):
    exp_id = ab.create_experiment(design())
    with ab.database.write() as session:
        row = session.scalars(sa.select(ABExperimentRow)).one()
        row.config = {name: value for name, value in row.config.items() if name != "futility_rule"}
    assert ABTestingFramework(ab.database).create_experiment(design()) == exp_id


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


@pytest.mark.parametrize(("alternative", "sides"), [("two-sided", {1, -1}), ("greater", {1}), ("less", {-1})])
def test_boundaries_are_drawn_on_the_sides_that_the_test_has(lite, alternative, sides):
    from charts.ab_testing import plot_looks

    exp_id = lite.create_experiment(design(planned_sample_size=40, alternative=alternative))
    lite.record_events(exp_id, [(f"u{index}", float(index % 7)) for index in range(40)])
    figure = plot_looks(lite.analyze_experiment(exp_id))
    bounds = [trace for trace in figure.data if trace.name.startswith("Boundary")]
    assert {int(math.copysign(1, trace.y[0])) for trace in bounds} == sides
    assert sum(trace.showlegend for trace in bounds) == 1
    assert figure.layout.xaxis.rangemode == "tozero"


def test_the_report_says_its_verdict_once_and_shows_no_empty_figure(lite):
    exp_id = lite.create_experiment(design(stopping="fixed_horizon"))
    for index in range(40):  # the mean of the baseline is 0: there is no lift
        variant = "treatment" if index % 2 else "baseline"
        lite.record_event(exp_id, f"u{index}", float(index // 2 % 5 - 2) + (index % 2), variant=variant)
    found = lite.analyze_experiment(exp_id)
    assert found.effect is not None
    assert found.relative_effect is None
    report = found.to_html()
    assert report.count(f"{found.recommendation}</p>") == 1
    assert "No effect can be computed yet" not in report
    assert "1 look;" in report
