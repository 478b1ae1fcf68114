"""The A/B testing tab as a whole: a part that fails hides no other, nothing is read twice, and several treatments."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

import chain
from ab_testing import ABTestingFramework, ExperimentConfig, Metric
from charts.ab_testing import (
    outline,
    plot_cumulative_effect,
    plot_distribution,
    plot_forest,
    plot_looks,
    plot_power_curve_points,
    plot_simulation,
    readable_range,
)
from dashboard import ab_testing_sections as sections
from dashboard import ab_testing_subjects as subjects
from dashboard import ab_testing_tab as tab
from dashboard import formats
from tests.dashboard.conftest import healthy, shown_errors, texts
from tests.dashboard.test_ab_testing_tab import break_split, open_form, run_test, visit

PARTS = {  # what is broken: words of the parts above and below it that stay, and how many figures
    "dashboard.ab_testing_tab.list_frame": (["Exposure", "Ship treatment"], 1),
    "chain.links_of_test": (["Exposure", "Ship treatment"], 1),
    "dashboard.ab_testing_tab.exposure_frame": (["1 test", "Without the analysis there is nothing"], 0),
    "dashboard.ab_testing_details._draw_exposure": (["1 test", "Ship treatment"], 1),
    "dashboard.ab_testing_details._draw_verdict": (["Exposure", "The split is as planned"], 1),
    "dashboard.ab_testing_details._draw_actions": (["Exposure", "Ship treatment"], 1),
    "charts.ab_testing.plot_forest": (["Exposure", "Ship treatment"], 0),
    "dashboard.ab_testing_forms.create_form": (["Exposure", "Ship treatment"], 1),
    "dashboard.ab_testing_simulation.simulation_form": (["Exposure", "Ship treatment"], 1),
    "dashboard.ab_testing_dialogs.dialogs": (["Exposure", "Ship treatment"], 1),
}


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        pytest.param(part, error, id=f"{part}-{kind}", marks=pytest.mark.slow if (number + place) % 2 else ())
        for number, part in enumerate(PARTS)
        for place, (kind, error) in enumerate({"expected": ValueError, "bug": ZeroDivisionError}.items())
    ],
)
def test_a_part_that_fails_leaves_the_others_standing(app_test, testing, monkeypatch, broken, error):
    test = visit(app_test, test=run_test(testing, lift=0.15))

    def fail(*_arguments, **_options):
        raise error("secret words")

    monkeypatch.setattr(broken, fail)
    test.session_state["ab_testing.remembered"] = None
    test.run()
    if error is ValueError:
        assert ["secret words" in words for words in shown_errors(test)] == [True]
        healthy(test)
    else:
        (bug,) = test.exception
        assert "ZeroDivisionError (error " in bug.message
        assert "secret words" not in bug.message + "".join(bug.stack_trace)
        assert not shown_errors(test)
    kept, n_charts = PARTS[broken]
    for words in kept:
        assert words in texts(test)
    assert len(test.get("plotly_chart")) == n_charts
    assert "Size a test" in [form.label for form in test.expander]


def test_a_test_is_read_once_although_reading_it_stores_a_look(app_test, testing, monkeypatch):
    exp_id = run_test(testing, lift=0.15)
    calls = []
    original = ABTestingFramework.analyze_experiment
    monkeypatch.setattr(
        ABTestingFramework, "analyze_experiment", lambda self, *a, **k: calls.append(a) or original(self, *a, **k)
    )
    test = visit(app_test, test=exp_id)
    assert len(testing.looks(exp_id)) == 1
    healthy(test.run())  # as the page is drawn again when the look is noticed
    healthy(test.button(key="ab_testing.conclude.open").click().run())
    assert len(calls) == 1
    assert test.dataframe[0].value["Verdict"].tolist() != ["not looked at yet"]


def test_what_somebody_else_wrote_after_the_look_is_read(app_test, testing):
    exp_id = run_test(testing, lift=0.15)
    test = visit(app_test, test=exp_id)
    testing.record_event(exp_id, "somebody", 1)
    healthy(test.run())
    assert next(t.value for t in test.dataframe if "Assigned" in t.value)["Assigned"].sum() == 1_001


def test_of_several_treatments_the_list_names_the_one_that_stands_best(testing):
    exp_id = run_test(testing, n=1_200, treatments={"small": 0.3, "large": 0.3})
    users = [f"more-{i}" for i in range(1_200)]
    variants = testing.assign_many(exp_id, users)
    testing.record_events(exp_id, [(u, int(v == "large")) for u, v in zip(users, variants, strict=True)])
    analysis = tab.build_test_view(testing, exp_id).analysis
    row = tab.build_view(testing, tab.Choices()).frame.iloc[0]
    assert row["Verdict"].endswith(": large")
    assert row["Effect"].startswith("+")
    assert row["Subjects"] == sum(analysis.n_subjects.values())
    assert row["Treatment"] == "several"


def test_every_test_of_a_page_says_whether_somebody_looked(testing):
    for number in range(tab.MAX_CHECKED + 2):
        run_test(testing, f"test {number}", n=4)
    frame = tab.build_view(testing, tab.Choices()).frame
    assert set(frame["Verdict"]) == {"not looked at yet"}
    assert frame["Subjects"].notna().sum() == tab.MAX_CHECKED


def test_a_verdict_is_said_once(testing):
    exp_id = run_test(testing, lift=0.15)
    view = tab.build_test_view(testing, exp_id)
    assert view.verdict == "Ship treatment"
    assert view.reason.startswith("clicked is")
    small = tab.build_test_view(testing, run_test(testing, "small", n=20))
    assert "subjects in the smallest variant" in small.reason
    assert "subjects in the smallest variant" not in small.progress


def test_p_values_stand_in_sentences_without_two_signs():
    assert tab.p_equals(1e-9) == "p < 0.0001"
    assert tab.p_equals(0.25) == "p = 0.250"


# -- figures -----------------------------------------------------------------------------------------


def test_the_last_intervals_fill_the_axis_and_every_effect_is_in_it(testing):
    exp_id = testing.create_experiment(ExperimentConfig(name="days", metric_name="minutes"))
    rows = [
        {"user_id": f"u{i}", "value": float(i % 7), "at": f"2026-03-{1 + i // 100:02d}T12:00:00Z"} for i in range(1_200)
    ]
    testing.record_events(exp_id, rows)
    points = testing.daily_series(exp_id)
    low, high = readable_range(points)
    assert low < 0 < high
    assert all(low < point.effect < high for point in points)
    last = points[-1]
    assert low < last.sequential_lower < last.sequential_upper < high
    assert high - low < points[0].sequential_upper - points[0].sequential_lower
    figure = plot_cumulative_effect(points)
    assert tuple(figure.layout.yaxis.range) == (low, high)
    # One entry of the legend for each band and line, not one for each of its edges.
    assert [trace.name.partition(":")[0] for trace in figure.data if trace.showlegend is not False] == [
        "Confidence sequence", "Fixed-horizon interval", "Effect",
    ]  # fmt: skip


def test_the_first_day_has_both_intervals_as_bars_and_rates_are_in_percentage_points(testing):
    exp_id = run_test(testing, lift=0.15)
    (point,) = testing.daily_series(exp_id)
    figure = plot_cumulative_effect([point], metric="clicked", is_rate=True)
    assert figure.layout.yaxis.title.text == "Difference (pp)"
    sequence, fixed, effect = figure.data
    assert effect.y[0] == pytest.approx(100 * point.effect)
    for bar, lower, upper in (
        (sequence, point.sequential_lower, point.sequential_upper), (fixed, point.ci_lower, point.ci_upper),
    ):  # fmt: skip
        assert effect.y[0] + bar.error_y.array[0] == pytest.approx(100 * upper)
        assert effect.y[0] - bar.error_y.arrayminus[0] == pytest.approx(100 * lower)
    plain = plot_cumulative_effect([point], metric="minutes")
    assert plain.data[-1].y[0] == point.effect
    assert plain.layout.yaxis.title.text == "Difference (unit of the metric)"


def test_three_distributions_are_outlines_that_fall_to_zero_where_nobody_is(testing):
    exp_id = run_test(testing, n=3, treatments={"small": 0.3, "large": 0.3}, metric_type="continuous")
    testing.record_events(exp_id, [(f"u{i}", i / 7) for i in range(300)])
    frame = testing.distribution(exp_id)
    figure = plot_distribution(frame)
    assert {trace.line.shape for trace in figure.data} == {"hv"}
    gap = frame[frame["variant"] == "baseline"].iloc[[0, 5]]
    x, y = outline(gap)
    assert y[0] == y[2] == y[-1] == 0.0
    assert x[2] == pytest.approx(gap["upper"].iloc[0])


# -- what few tests need -----------------------------------------------------------------------------


def test_viewers_are_told_that_they_create_no_tests(app_test, testing, monkeypatch):
    from dashboard import access

    monkeypatch.setattr(access, "require_person", lambda: access.Person(name="eve", can_edit=False, signed_in=False))
    test = open_form(app_test, "create")
    assert "Viewers cannot create tests" in texts(test)
    assert not [button for button in test.button if button.key == "ab_testing.create.submit"]


@pytest.mark.parametrize("rule", ["Fixed horizon: one look at the end", "Group-sequential: may end early"])
def test_futility_can_be_left_out_and_a_fixed_horizon_asks_for_nothing_more(app_test, testing, rule):
    test = open_form(app_test, "create", name="plain", metric="minutes")
    test.number_input(key="ab_testing.create.0.planned").set_value(400)
    test.toggle(key="ab_testing.create.0.futility").set_value(False)
    healthy(test.selectbox(key="ab_testing.create.0.stopping").set_value(rule).run())
    asked = {box.key for box in test.selectbox}
    assert not {"ab_testing.create.0.futility_rule", "ab_testing.create.0.sequential_test"} & asked
    healthy(test.button(key="ab_testing.create.submit").click().run())
    assert testing.get_experiment("plain").config.futility is False


def test_numbers_and_ratios_are_recorded_by_hand(app_test, testing):
    ratio = Metric(name="revenue per click", metric_type="ratio")
    exp_id = testing.create_experiment(
        ExperimentConfig(name="by hand", metric_name="minutes", secondary_metrics=[ratio])
    )
    test = visit(app_test, test=exp_id)
    for metric, boxes in (("minutes", {"value": 4.5}), ("revenue per click", {"value": 9.0, "below": 3.0})):
        healthy(test.button(key="ab_testing.event.open").click().run())
        test.text_input(key="ab_testing.event.user").set_value("ada")
        healthy(test.selectbox(key="ab_testing.event.metric").set_value(metric).run())
        healthy(test.button(key="ab_testing.event.confirm").click().run())
        assert "enter a value first" in shown_errors(test)[0]
        for name, value in boxes.items():
            test.number_input(key=f"ab_testing.event.{name}").set_value(value)
        healthy(test.button(key="ab_testing.event.confirm").click().run())
        assert "Recorded the event" in [toast.value for toast in test.toast]
    assert testing.distribution(exp_id, metric="minutes")["lower"].min() <= 4.5


def test_the_distribution_of_another_metric_is_drawn(app_test, testing):
    exp_id = run_test(testing, n=60, secondary_metrics=[Metric(name="minutes")])
    testing.record_events(exp_id, [{"user_id": f"user-{i}", "value": i / 7, "metric": "minutes"} for i in range(60)])
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Distribution"})
    before = test.get("plotly_chart")[0].proto.spec
    healthy(test.selectbox(key="ab_testing.metric").set_value("minutes").run())
    assert "Distribution of minutes" in test.get("plotly_chart")[0].proto.spec != before
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Over time", "ab_testing.metric": "minutes"})
    assert "Effect on minutes" in test.get("plotly_chart")[0].proto.spec


def test_a_design_is_told_in_full(app_test, testing):
    exp_id = testing.create_experiment(
        ExperimentConfig(
            name="full", metric_name="minutes", treatments={"small": 0.3, "large": 0.3}, correction="bh", coverage=0.5,
            namespace="search", namespace_share=0.25, winsorize_quantile=0.99, covariate="before", owner="ada",
            minimum_detectable_effect=0.5, baseline_sd=2.0, description="second try",
            secondary_metrics=[Metric(name="clicks", metric_type="count")],
        )
    )  # fmt: skip
    words = texts(visit(app_test, test=exp_id, **{"ab_testing.section": "Design"}))
    for said in (
        "Benjamini-Hochberg", "Coverage** 50 %", "search, 25 % of it", "the 99 % quantile", "before", "ada",
        "second try", "clicks (count)", "Planned per variant",
    ):  # fmt: skip
        assert said in words.replace("\u2002", " ")


def test_a_winner_that_is_no_longer_registered_cannot_be_promoted(app_test, seed, testing, monkeypatch):
    exp_id = chain.create_test_between_versions(
        testing, seed.registry, "gone", ("churn", "1.1.0"), ("churn", "1.2.0"), metric_name="clicked"
    )
    testing.conclude(exp_id, decision="ship", reason="seen")
    test = visit(app_test, test=exp_id)
    healthy(test.button(key="ab_testing.promote.open").click().run())
    assert "moves to Production" in texts(test)
    monkeypatch.setattr("model_registry.ModelRegistryManager.find_version_by_id", lambda _registry, _id: None)
    healthy(test.run())
    assert "The winner is no longer registered." in shown_errors(test)


def test_segments_that_are_left_out_are_counted(app_test, testing, monkeypatch):
    exp_id = run_test(testing, n=90)
    testing.record_attributes(exp_id, [{"user_id": f"user-{i}", "city": f"c{i % 5}"} for i in range(90)])
    monkeypatch.setattr("dashboard.ab_testing_sections.MAX_SEGMENTS", 2)
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Segments"})
    assert "The 2 largest segments of 5 are shown." in texts(test)


# -- what is exported, and what few tests reach ------------------------------------------------------


@pytest.fixture
def downloads(monkeypatch):
    """What the page offers for download: by label, what makes the content."""
    found = {}
    monkeypatch.setattr("streamlit.download_button", lambda label, data, **_options: found.update({label: data}))
    return found


def test_the_report_and_the_results_of_a_test_are_made_when_they_are_asked_for(app_test, testing, downloads):
    visit(app_test, test=run_test(testing, "duel <b>", lift=0.15))
    report = downloads["Report (HTML)"]().decode()
    assert "duel &lt;b&gt;" in report
    assert "Effect on clicked as data came in" in report
    assert "Difference (pp)" in report
    assert "(p = " not in report
    results = downloads["Results (CSV)"]().decode("utf-8-sig").splitlines()
    assert results[0].startswith("metric,")
    assert len(results) == 2


def test_the_report_of_a_broken_split_says_why_and_shows_no_course(app_test, testing, downloads):
    visit(app_test, test=break_split(testing))
    report = downloads["Report (HTML)"]().decode()
    assert "sample ratio mismatch" in report
    assert "as data came in" not in report
    assert "Results (CSV)" not in downloads


def test_the_first_winner_of_a_model_pushes_nobody_out(app_test, store, testing):
    from model_registry import ModelRegistryManager

    registry = ModelRegistryManager(store)
    for version in ("1.0.0", "1.1.0"):
        registry.register_model({"w": 1}, "fresh", version)
    exp_id = chain.create_test_between_versions(
        testing, registry, "first", ("fresh", "1.0.0"), ("fresh", "1.1.0"), metric_name="clicked"
    )
    testing.conclude(exp_id, decision="ship", reason="seen")
    test = visit(app_test, test=exp_id)
    healthy(test.button(key="ab_testing.promote.open").click().run())
    assert "moves to Production; the audit trail" in texts(test)
    healthy(test.button(key="ab_testing.promote.confirm").click().run())
    assert registry.get_production("fresh").version == "1.1.0"


def test_concluding_from_a_segment_reads_the_whole_test_and_stores_no_second_look(app_test, testing):
    exp_id = run_test(testing, lift=0.15)
    testing.record_attributes(exp_id, [{"user_id": f"user-{i}", "city": f"c{i % 2}"} for i in range(1_000)])
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Segments"})
    healthy(test.button(key="ab_testing.conclude.open").click().run())
    assert test.selectbox(key="ab_testing.conclude.decision").value == "ship"
    assert "Ship treatment: clicked is" in texts(test)
    assert len(testing.looks(exp_id)) == 1


@pytest.mark.parametrize(
    "design",
    [
        {"traffic_split": 1.0, "baseline_value": 0.3}, {"traffic_split": 0.5},
        {"traffic_split": 0.5, "baseline_value": 0.3, "alternative": "less"},
    ],
    ids=["nobody in the baseline", "no expected baseline", "an effect nobody looks for"],
)  # fmt: skip
def test_a_design_without_enough_for_a_plan_has_no_power_curve(testing, design):
    exp_id = testing.create_experiment(
        ExperimentConfig(name="bare", metric_name="clicked", metric_type="binary", minimum_detectable_effect=0.1,
                         planned_sample_size=500, **design)
    )  # fmt: skip
    assert sections.plan_of_design(testing.get_experiment(exp_id)) is None


def test_the_plan_of_a_design_is_of_the_share_that_gets_fewest_and_of_every_treatment(testing):
    exp_id = testing.create_experiment(
        ExperimentConfig(name="plan", metric_name="clicked", metric_type="binary", baseline_value=0.3, power=0.9,
                         minimum_detectable_effect=0.1, treatments={"small": 0.2, "large": 0.3}, direction="lower")
    )  # fmt: skip
    plan = sections.plan_of_design(testing.get_experiment(exp_id))
    assert plan.effect == pytest.approx(-0.1)
    assert plan.power == pytest.approx(0.9, abs=1e-3)
    assert plan.n_treatment / plan.n_baseline == pytest.approx(0.2 / 0.5, rel=0.01)


def test_a_design_names_when_it_ended_and_who_owns_it(testing):
    exp_id = run_test(testing, owner="ada", description="second try")
    assert "Ended" not in dict(sections.design_facts(testing.get_experiment(exp_id)))
    testing.conclude(exp_id, decision="inconclusive", reason="enough")
    test = testing.get_experiment(exp_id)
    facts = dict(sections.design_facts(test))
    assert facts["Ended"] == formats.instant(test.ended_at)
    assert facts["Created"] == formats.instant(test.created_at)
    assert (facts["Owner"], facts["Description"]) == ("ada", "second try")
    assert facts["Split"] == "baseline 50 %, treatment 50 %"
    assert facts["Subjects per variant"] == "at least 100"


def test_a_list_that_is_too_long_is_refused_by_its_number(testing, monkeypatch):
    monkeypatch.setattr(subjects, "MAX_LIST", 3)
    exp_id = run_test(testing, n=10)
    with pytest.raises(ValueError, match="the file has 4 rows; at most 3 can be assigned at once"):
        subjects.assigned_list(testing, exp_id, pd.DataFrame({"user_id": list("abcd")}), store=False)


def test_archived_tests_are_none_as_long_as_there_is_none(testing):
    run_test(testing)
    view = tab.build_view(testing, tab.Choices(status="Archived"))
    assert (view.n_found, view.n_all, view.ids) == (0, 0, ())


def test_a_split_of_one_variant_cannot_be_tested_and_days_are_counted_down(testing):
    one = testing.create_experiment(ExperimentConfig(name="one", metric_name="minutes", traffic_split=1.0))
    testing.record_events(one, [(f"u{i}", float(i % 7)) for i in range(50)])
    assert tab.build_test_view(testing, one).split == "The split cannot be tested: only one variant has a share."
    slow = testing.create_experiment(
        ExperimentConfig(name="slow", metric_name="clicked", metric_type="binary", baseline_value=0.3,
                         minimum_detectable_effect=0.02, salt="of-tests")
    )  # fmt: skip
    start = datetime.now(UTC) - timedelta(days=9)
    rows = [{"user_id": f"u{i}", "value": i % 2, "at": start + timedelta(days=i // 40)} for i in range(400)]
    testing.record_events(slow, rows)
    view = tab.build_test_view(testing, slow)
    words = f"{view.reason} {view.progress}"
    assert re.search(r"about \d+ (more )?days", words)
    assert f"of {view.analysis.n_needed:,} subjects in the smallest variant" in words


def test_every_kind_of_test_stands_in_the_list_with_its_own_columns(testing):
    """A row's cells are those of its own test: names, model, metric, subjects, effect with its unit, verdict."""
    rate = run_test(testing, "rate", lift=0.2, baseline_model="v1", treatment_model="v2", baseline_value=0.3)
    many = run_test(testing, "many", n=900, treatments={"small": 0.3, "large": 0.3}, metric_name="opened")
    for exp_id in (rate, many):
        tab.build_test_view(testing, exp_id)
    frame = tab.build_view(testing, tab.Choices()).frame.set_index("Test")
    look = testing.looks(rate)[-1]
    assert frame.loc["rate", "Baseline"] == "v1"
    assert frame.loc["rate", "Treatment"] == "v2"
    assert frame.loc["many", "Treatment"] == "several"
    assert frame.loc["many", "Metric"] == "opened"
    assert frame.loc["rate", "Subjects"] == look.n_baseline + look.n_treatment == 1_000
    assert frame.loc["many", "Subjects"] == 900
    assert frame.loc["rate", "Effect"] == f"+{100 * look.effect:.1f} pp"
    assert frame.loc["rate", "Lift"] == pytest.approx(100 * look.effect / 0.3)
    assert frame.loc["rate", "Seen (UTC)"] == pd.Timestamp(look.at)
    assert frame.loc["rate", "Status"] == "▶ running"


def test_a_concluded_test_is_listed_with_the_evidence_of_its_conclusion(testing):
    exp_id = run_test(testing, "rate", lift=0.2)
    analysis = testing.conclude(exp_id, decision="keep_baseline", reason="too dear", actor="ada")
    row = tab.build_view(testing, tab.Choices()).frame.iloc[0]
    assert row["Lift"] == pytest.approx(100 * analysis.relative_effect)
    assert row["Subjects"] == sum(analysis.n_subjects.values())
    assert row["Verdict"] == "■ keep the baseline"
    assert row["Seen (UTC)"] == pd.Timestamp(testing.get_experiment(exp_id).ended_at)


def test_the_numbers_above_the_list_count_what_they_say(testing):
    ids = [run_test(testing, f"test {number}", n=20) for number in range(5)]
    testing.pause(ids[0], reason="lunch")
    for exp_id, decision in zip(ids[1:4], ("ship", "keep_baseline", "ship"), strict=True):
        testing.conclude(exp_id, decision=decision, reason="enough")
    cards = {label: value for label, value, _ in tab.build_view(testing, tab.Choices()).kpis}
    assert cards == {"Running": "1", "Paused": "1", "Concluded": "3", "Shipped": "2 of 3"}


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("group_sequential", "group-sequential stopping: may end early at any look"),
        ("always_valid", "always-valid intervals: may end at any time"),
        ("fixed_horizon", "fixed horizon: the verdict comes at the planned size"),
    ],
)
def test_the_progress_says_by_which_rule_a_test_may_end(testing, rule, said):
    exp_id = run_test(testing, n=60, stopping=rule, baseline_value=0.3, minimum_detectable_effect=0.1)
    progress = tab.build_test_view(testing, exp_id).progress
    assert progress.endswith(said)
    assert "1 look so far" in progress or "no look yet" in progress


def test_only_the_segments_with_most_subjects_of_both_variants_are_kept(testing, monkeypatch):
    monkeypatch.setattr(sections, "MAX_SEGMENTS", 1)
    exp_id = testing.create_experiment(ExperimentConfig(name="cities", metric_name="minutes"))
    sizes = {"rich in baseline": (60, 5), "rich in treatment": (5, 61)}
    rows = [
        {"user_id": f"{city}-{variant}-{i}", "value": float(i % 7), "variant": variant}
        for city, counts in sizes.items()
        for variant, count in zip(("baseline", "treatment"), counts, strict=True)
        for i in range(count)
    ]
    testing.record_events(exp_id, rows)
    testing.record_attributes(exp_id, [{"user_id": r["user_id"], "city": r["user_id"].partition("-")[0]} for r in rows])
    shown, n_hidden = sections.segment_analysis(testing.analyze_experiment(exp_id, segment="city"))
    assert n_hidden == 1
    assert {item.segment for item in shown.segments} == {"city = rich in treatment"}


def test_the_cells_of_a_result_are_those_of_its_comparison(testing):
    exp_id = run_test(testing, lift=0.15)
    view = tab.build_test_view(testing, exp_id)
    (item,) = view.analysis.comparisons
    row = view.results.iloc[0]
    assert row["n"] == f"{item.n_baseline} / {item.n_treatment}"
    assert row["Baseline"] == formats.percent(item.baseline)
    assert row["Treatment"] == formats.percent(item.treatment)
    assert row["Difference"] == f"+{formats.number(100 * item.effect)} pp"
    low, high = formats.number(100 * item.ci_lower), formats.number(100 * item.ci_upper)
    assert row["95 % interval"] == f"{low} to {high} pp"
    low, high = formats.number(100 * item.relative_ci_lower), formats.number(100 * item.relative_ci_upper)
    assert row["95 % interval of the lift"] == f"{low} to {high} %"
    assert row["Lift"] == f"+{formats.percent(item.relative_effect)}"
    assert row["p"] == tab.p_text(item.p_value)
    assert row["Test"] == item.method
    assert row["Role"] == "main"
    assert not {"Variant", "p adjusted"} & set(view.results.columns)  # they would say nothing
    several = tab.build_test_view(testing, run_test(testing, "many", n=900, treatments={"small": 0.3, "large": 0.3}))
    assert several.results["Variant"].tolist() == ["small", "large"]
    assert several.results["p adjusted"].tolist() == [tab.p_text(i.p_adjusted) for i in several.analysis.comparisons]


def test_the_exposure_counts_who_was_assigned_and_who_has_data(testing):
    exp_id = run_test(testing, n=400, traffic_split=0.25)
    extra = testing.assign_many(exp_id, [f"silent-{i}" for i in range(100)])
    view = tab.build_test_view(testing, exp_id)
    analysis = view.analysis
    for position, name in enumerate(("baseline", "treatment")):
        row = view.exposure.iloc[position]
        assigned, with_data = analysis.n_assigned[name], analysis.n_subjects[name]
        assert assigned - with_data == int((extra == name).sum())
        assert (row["Variant"], row["Assigned"], row["With data"]) == (name, assigned, with_data)
        assert row["Planned"] == {"baseline": 75, "treatment": 25}[name]
        assert row["Observed"] == pytest.approx(100 * assigned / 500)
        assert row["Without data"] == pytest.approx(100 * (assigned - with_data) / assigned)


def test_the_table_of_looks_gives_each_look_its_own_numbers(testing):
    exp_id = run_test(testing, lift=0.02, baseline_value=0.3, minimum_detectable_effect=0.06)
    first = tab.build_test_view(testing, exp_id).analysis
    testing.record_events(exp_id, [(f"more-{i}", i % 3 == 0) for i in range(900)])
    analysis = testing.analyze_experiment(exp_id)
    frame = sections.looks_frame(analysis)
    assert frame["Look"].tolist() == [2, 1]
    assert frame["Subjects"].tolist() == [1_900, 1_000]
    assert frame["z"].tolist() == [look.z for look in analysis.looks[::-1]]
    assert frame["Boundary"].tolist() == [look.boundary for look in analysis.looks[::-1]]
    assert frame["Information"].iloc[1] == pytest.approx(100 * first.looks[0].information_fraction)
    assert frame["p"].iloc[0] == tab.p_text(analysis.looks[1].p_value)


def test_the_forest_draws_each_comparison_where_it_is(testing):
    analysis = testing.analyze_experiment(run_test(testing, lift=0.2))
    (item,) = analysis.comparisons
    for relative, scale, middle, low, high in (
        (True, 100, item.relative_effect, item.relative_ci_lower, item.relative_ci_upper),
        (False, 1, item.effect, item.ci_lower, item.ci_upper),
    ):
        (drawn,) = plot_forest(analysis, relative=relative).data
        assert drawn.x[0] == pytest.approx(scale * middle)
        assert drawn.x[0] + drawn.error_x.array[0] == pytest.approx(scale * high)
        assert drawn.x[0] - drawn.error_x.arrayminus[0] == pytest.approx(scale * low)
        assert drawn.marker.symbol == "circle"  # better, and it says so without its colour


def test_looks_are_drawn_by_their_information_between_both_boundaries(testing):
    exp_id = run_test(testing, lift=0.02, baseline_value=0.3, minimum_detectable_effect=0.06)
    analysis = testing.analyze_experiment(exp_id)
    (look,) = analysis.looks
    z, upper, lower = plot_looks(analysis).data
    assert (z.x[0], z.y[0]) == (pytest.approx(100 * look.information_fraction), look.z)
    assert (upper.y[0], lower.y[0]) == (look.boundary, -look.boundary)


def test_figures_without_anything_to_draw_say_so(testing):
    exp_id = run_test(testing, n=2)
    nothing = testing.analyze_experiment(exp_id, record_look=False)
    for figure, words in (
        (plot_cumulative_effect([]), "No day has two subjects in both variants yet."),
        (plot_looks(nothing), "Nobody has looked at results yet."),
        (plot_power_curve_points([], n=1, power=0.8), "No size was given."),
        (plot_simulation([], 0.1), "No simulated test gave an estimate."),
    ):
        assert figure.layout.annotations[0].text == words
