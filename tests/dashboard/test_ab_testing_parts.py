"""The A/B testing tab as a whole: a part that fails hides no other, nothing is read twice, and several treatments."""

from __future__ import annotations

import pytest

import chain
from ab_testing import ABTestingFramework, ExperimentConfig, Metric
from charts.ab_testing import outline, plot_cumulative_effect, plot_distribution, readable_range
from dashboard import ab_testing_tab as tab
from tests.dashboard.conftest import healthy, shown_errors, texts
from tests.dashboard.test_ab_testing_tab import open_form, run_test, visit


@pytest.fixture
def testing(store):
    return ABTestingFramework(store)


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


@pytest.mark.parametrize("error", [ValueError, ZeroDivisionError], ids=["expected", "bug"])
@pytest.mark.parametrize("broken", PARTS)
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
    assert tuple(plot_cumulative_effect(points).layout.yaxis.range) == (low, high)


def test_the_first_day_has_both_intervals_as_bars_and_rates_are_in_percentage_points(testing):
    exp_id = run_test(testing, lift=0.15)
    (point,) = testing.daily_series(exp_id)
    figure = plot_cumulative_effect([point], metric="clicked", is_rate=True)
    assert figure.layout.yaxis.title.text == "Treatment minus baseline (percentage points)"
    sequence, fixed, effect = figure.data
    assert effect.y[0] == pytest.approx(100 * point.effect)
    for bar, lower, upper in (
        (sequence, point.sequential_lower, point.sequential_upper), (fixed, point.ci_lower, point.ci_upper),
    ):  # fmt: skip
        assert effect.y[0] + bar.error_y.array[0] == pytest.approx(100 * upper)
        assert effect.y[0] - bar.error_y.arrayminus[0] == pytest.approx(100 * lower)
    plain = plot_cumulative_effect([point], metric="minutes")
    assert plain.data[-1].y[0] == point.effect
    assert plain.layout.yaxis.title.text == "Treatment minus baseline (unit of the metric)"


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
