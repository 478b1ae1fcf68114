"""Segments, guardrails, subjects, simulation and several treatments in the A/B testing tab."""

from __future__ import annotations

import pandas as pd
import pytest

from ab_testing import ABTestingFramework, ExperimentConfig, Metric, simulate_experiment
from dashboard import ab_testing_sections as sections
from dashboard import ab_testing_simulation as simulation
from dashboard import ab_testing_subjects as subjects
from dashboard import ab_testing_tab as tab
from tests.dashboard.conftest import healthy, shown_errors, texts
from tests.dashboard.test_ab_testing_tab import HOSTILE, address, break_split, open_form, run_test, visit


def with_countries(testing, exp_id, n=1_000, names=("CH", "DE", "FR")):
    testing.record_attributes(
        exp_id, pd.DataFrame({"user_id": [f"user-{i}" for i in range(n)],
                              "country": [names[i % len(names)] for i in range(n)], "age": 40.0})
    )  # fmt: skip
    return exp_id


# -- segments ----------------------------------------------------------------------------------------


def test_attributes_are_listed_by_their_use(testing):
    exp_id = with_countries(testing, run_test(testing, n=30), n=30)
    assert testing.list_attributes(exp_id) == {"age": "covariate", "country": "segment"}
    assert testing.list_attributes(run_test(testing, "other", n=5)) == {}


def test_segments_are_shown_below_the_whole_test(app_test, testing):
    exp_id = with_countries(testing, run_test(testing, lift=0.15))
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Segments"})
    frame = next(table.value for table in test.dataframe if "Segment" in table.value)
    assert frame["Segment"].tolist() == ["All subjects", *(f"country = {name}" for name in ("CH", "DE", "FR"))]
    assert len(test.get("plotly_chart")) == 1
    assert "Exploratory" in texts(test)
    before = test.get("plotly_chart")[0].proto.spec
    healthy(test.segmented_control(key="ab_testing.scale").set_value("Difference").run())
    assert test.get("plotly_chart")[0].proto.spec != before


def test_another_attribute_is_chosen_and_stays_in_the_address(app_test, testing):
    exp_id = with_countries(testing, run_test(testing))
    testing.record_attributes(exp_id, [{"user_id": f"user-{i}", "device": "ab"[i % 2] * 3} for i in range(1_000)])
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Segments"})
    healthy(test.selectbox(key="ab_testing.segment").set_value("device").run())
    assert address(test, "ab_testing.segment") == "device"
    frame = next(table.value for table in test.dataframe if "Segment" in table.value)
    assert frame["Segment"].tolist()[1:] == ["device = aaa", "device = bbb"]


def test_without_text_attributes_the_section_says_how_to_get_them(app_test, testing):
    test = visit(app_test, test=run_test(testing), **{"ab_testing.section": "Segments"})
    assert "Upload attributes" in texts(test)
    assert not test.get("plotly_chart")


def test_segments_of_a_broken_split_are_withheld(app_test, testing):
    exp_id = break_split(testing)
    testing.record_attributes(exp_id, [{"user_id": f"u{i}", "country": "CH"} for i in range(1_000)])
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Segments"})
    assert "Results are withheld" in texts(test)
    assert not test.get("plotly_chart")


def test_only_the_largest_segments_are_drawn(testing, monkeypatch):
    exp_id = with_countries(testing, run_test(testing), names=("a", "a", "b", "b", "c"))
    analysis = testing.analyze_experiment(exp_id, segment="country")
    monkeypatch.setattr(sections, "MAX_SEGMENTS", 2)
    shown, hidden = sections.segment_analysis(analysis)
    assert ([item.segment for item in shown.segments], hidden) == (["country = a", "country = b"], 1)
    assert [item.role for item in shown.comparisons] == ["main"]


def test_what_was_read_is_read_again_after_any_write_and_after_a_minute(app_test, testing, monkeypatch):
    exp_id = run_test(testing)
    calls = []
    original = ABTestingFramework.analyze_experiment
    monkeypatch.setattr(
        ABTestingFramework, "analyze_experiment", lambda self, *a, **k: calls.append(1) or original(self, *a, **k)
    )
    test = visit(app_test, test=exp_id)
    healthy(test.run())
    n = len(calls)
    healthy(test.segmented_control(key="ab_testing.section").set_value("Distribution").run())
    healthy(test.segmented_control(key="ab_testing.section").set_value("Design").run())
    assert len(calls) == n
    testing.record_event(exp_id, "somebody", 1)
    healthy(test.run())
    assert len(calls) > n
    assert next(t.value for t in test.dataframe if "Assigned" in t.value)["Assigned"].sum() == 1_001
    healthy(test.run())
    n = len(calls)
    monkeypatch.setattr(tab, "REMEMBERED_SECONDS", -1.0)
    healthy(test.run())
    assert len(calls) > n


# -- guardrails, design ------------------------------------------------------------------------------


def test_every_guardrail_is_told_in_a_sentence(app_test, testing):
    exp_id = run_test(
        testing, guardrails=[Metric(name="errors", metric_type="binary", direction="lower"), Metric(name="quiet")]
    )
    bad = [
        {"user_id": f"user-{i}", "value": int(testing.assign(exp_id, f"user-{i}", store=False) == "treatment"),
         "metric": "errors"} for i in range(300)
    ]  # fmt: skip
    testing.record_events(exp_id, bad)
    test = visit(app_test, test=exp_id)
    words = texts(test)
    assert "Guardrail errors: treatment is worse than the baseline." in words
    assert "Guardrail quiet: treatment is not shown to be safe yet." in words


def test_the_design_shows_the_power_of_its_plan_or_says_why_not(app_test, testing):
    planned = run_test(testing, "planned", baseline_value=0.3, minimum_detectable_effect=0.1)
    test = visit(app_test, test=planned, **{"ab_testing.section": "Design"})
    assert len(test.get("plotly_chart")) == 1
    plan = sections.plan_of_design(testing.get_experiment(planned))
    assert plan.n_per_variant == testing.get_experiment(planned).config.planned_sample_size
    test = visit(app_test, test=run_test(testing, "free"), **{"ab_testing.section": "Design"})
    assert "No power curve" in texts(test)


def test_the_design_lists_its_phases_and_guardrails_in_words(app_test, testing):
    exp_id = run_test(testing, guardrails=[Metric(name="errors", margin=0.02)])
    testing.start_phase(exp_id, traffic_split=0.7, reason="ramp up")
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Design"})
    assert "errors (continuous, at most 0.02" in texts(test)
    frame = next(table.value for table in test.dataframe if "Reason" in table.value)
    assert frame["Split"].tolist() == ["baseline 50 %, treatment 50 %", "baseline 30 %, treatment 70 %"]
    assert frame["Reason"].tolist() == ["", "ramp up"]


def test_the_course_is_first_that_of_the_best_treatment_and_then_of_the_chosen_one(app_test, testing):
    exp_id = run_test(testing, n=900, treatments={"small": 0.3, "large": 0.3})
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Over time"})
    before = [chart.proto.spec for chart in test.get("plotly_chart")]
    best = test.selectbox(key="ab_testing.variant").value
    assert best == testing.analyze_experiment(exp_id, record_look=False).variant
    other = {"small": "large", "large": "small"}[best]
    healthy(test.selectbox(key="ab_testing.variant").set_value(other).run())
    after = [chart.proto.spec for chart in test.get("plotly_chart")]
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_shares_after_a_change_are_named_with_their_phase(app_test, testing):
    exp_id = run_test(testing)
    testing.start_phase(exp_id, traffic_split=0.8)
    test = visit(app_test, test=exp_id)
    columns = set(test.dataframe[1].value.columns)
    assert {"Planned, phase 2", "Observed, all phases"} <= columns


@pytest.mark.parametrize(
    ("share", "said"), [(None, "–"), (0.5, "50 %"), (0.99996, "> 99.9 %"), (0.0, "< 0.1 %"), (0.999, "99.9 %")]
)
def test_a_chance_that_rounds_to_certainty_is_a_bound(share, said):
    assert tab.chance_text(share) == said


def test_a_test_without_data_shows_words_and_no_empty_figure(app_test, testing):
    exp_id = testing.create_experiment(ExperimentConfig(name="new", metric_name="y"))
    for section, words in (
        ("Results", "No effect can be computed yet"),
        ("Over time", "No day has two subjects"),
        ("Distribution", "No subject has a value"),
    ):
        test = visit(app_test, test=exp_id, **{"ab_testing.section": section})
        assert words in texts(test)
        assert not test.get("plotly_chart")


def test_yes_and_no_are_bars_beside_each_other(testing):
    from charts.ab_testing import plot_distribution

    figure = plot_distribution(testing.distribution(run_test(testing)), metric="clicked")
    assert [list(trace.x) for trace in figure.data] == [[0, 1], [0, 1]]
    assert figure.layout.barmode == "group"
    many = testing.create_experiment(ExperimentConfig(name="many", metric_name="y"))
    testing.record_events(many, [(f"u{i}", i / 7) for i in range(200)])
    assert plot_distribution(testing.distribution(many)).layout.barmode == "overlay"


# -- several treatments ------------------------------------------------------------------------------


def test_a_test_of_several_treatments_is_created_and_its_shares_changed(app_test, testing):
    test = open_form(app_test, "create", name="three", metric="clicked")
    test.text_area(key="ab_testing.create.0.treatments").set_value("small = 0.25\nlarge = 0.25")
    test.selectbox(key="ab_testing.create.0.correction").set_value("bh")
    test.selectbox(key="ab_testing.create.0.alternative").set_value("greater")
    healthy(test.button(key="ab_testing.create.submit").click().run())
    config = testing.get_experiment("three").config
    assert config.variants == ("baseline", "small", "large")
    assert (config.correction, config.alternative) == ("bh", "greater")
    healthy(test.button(key="ab_testing.phase.open").click().run())
    healthy(test.number_input(key="ab_testing.phase.split.large").set_value(0.5).run())
    assert "The baseline gets the rest: 25 %" in texts(test)
    healthy(test.button(key="ab_testing.phase.confirm").click().run())
    assert testing.get_experiment("three").phases[-1]["shares"]["large"] == pytest.approx(0.5)


def test_a_line_of_treatments_without_a_share_is_refused(app_test, testing):
    test = open_form(app_test, "create", name="three", metric="clicked")
    test.text_area(key="ab_testing.create.0.treatments").set_value("small")
    healthy(test.button(key="ab_testing.create.submit").click().run())
    assert "line 1 must read key = value" in shown_errors(test)[0]
    assert testing.list_experiments() == []


def test_a_covariate_and_a_cap_are_asked_for_only_where_they_apply(app_test, testing):
    test = open_form(app_test, "create", name="cuped", metric="minutes")
    test.text_input(key="ab_testing.create.0.covariate").set_value("before")
    test.number_input(key="ab_testing.create.0.winsorize").set_value(0.99)
    test.selectbox(key="ab_testing.create.0.aggregation.continuous").set_value("last")
    test.number_input(key="ab_testing.create.0.planned").set_value(500)
    healthy(test.button(key="ab_testing.create.submit").click().run())
    config = testing.get_experiment("cuped").config
    assert (config.covariate, config.winsorize_quantile) == ("before", 0.99)
    assert (str(config.aggregation), config.planned_sample_size) == ("last", 500)
    test.session_state["ab_testing.create"] = True
    healthy(test.run())
    healthy(test.selectbox(key="ab_testing.create.1.kind").set_value("binary").run())
    assert not [box for box in test.text_input if box.key == "ab_testing.create.1.covariate"]


# -- subjects ----------------------------------------------------------------------------------------


def test_a_list_is_looked_up_without_storing_and_then_assigned(app_test, testing):
    exp_id = run_test(testing, n=10)
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Subjects"})
    content = ("user_id\n" + "\n".join(f"00{i}" for i in range(200)) + "\n001\n").encode()
    test.file_uploader(key="ab_testing.assign.file").upload("users.csv", content, "text/csv")
    healthy(test.run())
    healthy(test.button(key="ab_testing.assign.confirm").click().run())
    assert "Without storing, looked up 200 subjects: baseline" in texts(test)
    assert sum(testing.analyze_experiment(exp_id).n_assigned.values()) == 10
    healthy(test.toggle(key="ab_testing.assign.store").set_value(True).run())
    healthy(test.button(key="ab_testing.assign.confirm").click().run())
    assert "Assigned 200 subjects" in texts(test)
    assert sum(testing.analyze_experiment(exp_id).n_assigned.values()) == 210


def test_an_assigned_list_keeps_ids_letter_by_letter_and_says_what_is_wrong(testing):
    exp_id = run_test(testing, n=10)
    frame = subjects.assigned_list(testing, exp_id, pd.DataFrame({"user_id": ["007", "NA", "007"]}), store=False)
    assert frame["user_id"].tolist() == ["007", "NA"]
    assert set(frame["variant"]) <= {"baseline", "treatment"}
    with pytest.raises(ValueError, match="'user_id' is missing; the file has 'user'"):
        subjects.assigned_list(testing, exp_id, pd.DataFrame({"user": ["a"]}), store=False)
    with pytest.raises(ValueError, match="row 2 has no user_id"):
        subjects.assigned_list(testing, exp_id, pd.DataFrame({"user_id": ["a", None]}), store=False)


def test_subjects_outside_the_coverage_are_said_to_take_no_part(testing):
    exp_id = testing.create_experiment(ExperimentConfig(name="part", metric_name="y", coverage=0.1))
    frame = subjects.assigned_list(
        testing, exp_id, pd.DataFrame({"user_id": [f"u{i}" for i in range(500)]}), store=False
    )
    assert "takes no part" in subjects.share_words(frame)
    outside = frame.loc[frame["variant"] == "", "user_id"].iloc[0]
    assert subjects.variant_sentence(testing, exp_id, outside) == f"{outside} takes no part."


def test_a_viewer_can_look_up_a_list_but_not_store_it(app_test, testing, monkeypatch):
    from dashboard import access

    exp_id = run_test(testing, n=10)
    monkeypatch.setattr(access, "require_person", lambda: access.Person(name="eve", can_edit=False, signed_in=False))
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Subjects"})
    test.file_uploader(key="ab_testing.assign.file").upload("users.csv", b"user_id\na\nb\n", "text/csv")
    healthy(test.toggle(key="ab_testing.assign.store").set_value(True).run())
    assert test.button(key="ab_testing.assign.confirm").disabled


# -- simulation --------------------------------------------------------------------------------------


DESIGN = {
    "metric_type": "binary", "baseline_value": 0.3, "baseline_sd": None, "planned_sample_size": 200,
    "significance_level": 0.05, "stopping": "group_sequential",
}  # fmt: skip


def test_parts_of_a_simulation_are_merged_by_their_sizes():
    config = simulation.config_of(DESIGN)
    parts = [simulate_experiment(config, effect=0.2, n_simulations=n, n_looks=2, seed=n) for n in (5, 15)]
    merged = simulation.merge_simulations(parts)
    assert merged.n_simulations == 20
    assert merged.significant_rate == pytest.approx(
        (5 * parts[0].significant_rate + 15 * parts[1].significant_rate) / 20
    )
    assert merged.estimates == parts[0].estimates + parts[1].estimates
    assert sum(merged.decisions.values()) == pytest.approx(1.0)
    assert simulation.merge_simulations(parts[:1]) == parts[0]


def test_a_simulation_tells_its_progress_and_repeats():
    config = simulation.config_of(DESIGN)
    told: list[float] = []
    settings = {"effect": 0.1, "n_looks": 2, "n_simulations": 45}
    first = simulation.simulate_in_parts(config, told.append, **settings)
    assert first.n_simulations == 45
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) >= simulation.PARTS
    assert simulation.simulate_in_parts(config, told.append, **settings) == first


def test_a_design_is_simulated_from_the_form(app_test):
    test = open_form(app_test, "simulation")
    assert not test.get("plotly_chart")
    test.number_input(key="ab_testing.simulation.base").set_value(0.3)
    test.number_input(key="ab_testing.simulation.effect").set_value(0.2)
    test.number_input(key="ab_testing.simulation.n").set_value(200)
    test.selectbox(key="ab_testing.simulation.tests").set_value(100)
    healthy(test.number_input(key="ab_testing.simulation.looks").set_value(2).run())
    healthy(test.button(key="ab_testing.simulation.run").click().run())
    shown = {metric.label: metric.value for metric in test.metric}
    assert float(shown["Significant"].split("&")[0].split(" ")[0]) > 80
    assert len(test.get("plotly_chart")) == 1
    assert sum(test.dataframe[-1].value["Tests"]) == 100
    healthy(test.number_input(key="ab_testing.simulation.effect").set_value(0.0).run())
    assert "the results of the earlier design" in texts(test)


def test_a_design_that_cannot_be_is_refused_before_it_is_simulated(app_test):
    test = open_form(app_test, "simulation")
    healthy(test.number_input(key="ab_testing.simulation.base").set_value(3.0).run())
    healthy(test.button(key="ab_testing.simulation.run").click().run())
    assert shown_errors(test)
    assert not test.get("plotly_chart")


def test_hostile_attributes_are_shown_verbatim(app_test, testing):
    exp_id = run_test(testing, n=60)
    testing.record_attributes(exp_id, [{"user_id": f"user-{i}", "<b>x": HOSTILE} for i in range(60)])
    test = visit(app_test, test=exp_id, **{"ab_testing.section": "Segments"})
    for element in [*test.markdown, *test.caption]:
        assert "<b>" not in str(element.value) or "`" in str(element.value)
    spec = test.get("plotly_chart")[0].proto.spec
    assert "<b>" not in spec.replace("\\u003c", "<")
