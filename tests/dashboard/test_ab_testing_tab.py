"""The A/B testing tab: its views without Streamlit, and every widget's effect in AppTest."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ab_testing import ExperimentConfig, Metric
from dashboard import ab_testing_details as details
from dashboard import ab_testing_dialogs as dialogs
from dashboard import ab_testing_forms as forms
from dashboard import ab_testing_tab as tab
from db import NotFoundError
from tests.dashboard.conftest import healthy, shown_errors, texts

HOSTILE = "![x](http://127.0.0.1:1/beacon.png) <b>bold</b> =1+1"


def run_test(testing, name="v2 against v1", *, n=1_000, lift=0.05, seed=3, **design):
    """Create a test of a rate of 30 % and record one event for each of `n` subjects.

    The salt is fixed: with a random one the check of the split cries wolf in one run of a thousand, as it should.
    """
    settings = {"metric_name": "clicked", "metric_type": "binary", "min_sample_size": 100, "salt": "of-tests"} | design
    exp_id = testing.create_experiment(ExperimentConfig(name=name, **settings))
    users = [f"user-{i}" for i in range(n)]
    variants = testing.assign_many(exp_id, users)
    draw = np.random.default_rng(seed)
    values = (draw.random(n) < 0.3 + lift * (variants == "treatment")).astype(int)
    testing.record_events(exp_id, list(zip(users, values.tolist(), strict=True)))
    return exp_id


def break_split(testing, name="broken"):
    exp_id = testing.create_experiment(ExperimentConfig(name=name, metric_name="clicked", metric_type="binary"))
    rows = [
        {"user_id": f"u{i}", "value": i % 2, "variant": "treatment" if i < 700 else "baseline"} for i in range(1000)
    ]
    testing.record_events(exp_id, rows)
    return exp_id


def visit(app_test, **query):
    """Open the tab by a link."""
    test = app_test("A/B testing")
    test.query_params["tab"] = "A/B testing"
    for name, value in query.items():
        test.query_params[name] = value
    return healthy(test.run())


def open_form(app_test, form, **words):
    """Open one of the forms below the list, and type words into its boxes."""
    test = app_test("A/B testing")
    test.session_state[f"ab_testing.{form}"] = True
    healthy(test.run())
    for name, text in words.items():
        test.text_input(key=f"ab_testing.{form}.0.{name}").set_value(text)
    return test


def address(test, name):
    value = test.query_params[name]
    return value if isinstance(value, str) else value[-1]


# -- the views ---------------------------------------------------------------------------------------


def test_the_list_shows_no_result_before_somebody_looked_and_the_last_look_afterwards(testing):
    exp_id = run_test(testing, lift=0.1)
    before = tab.build_view(testing, tab.Choices()).frame.iloc[0]
    opened = tab.build_view(testing, tab.Choices(), check=lambda _: None).frame.iloc[0]
    assert (opened["Verdict"], pd.isna(opened["Subjects"])) == ("opened now", True), "what is counted below is not here"
    assert (before["Subjects"], before["Effect"], before["Verdict"]) == (1_000, "", "not looked at yet")
    assert testing.looks(exp_id) == []
    tab.build_test_view(testing, exp_id)
    after = tab.build_view(testing, tab.Choices()).frame.iloc[0]
    assert after["Effect"].startswith("+")
    assert after["Effect"].endswith("pp")
    assert len(testing.looks(exp_id)) == 1


def test_a_broken_split_is_said_in_the_list_and_blocks_results(testing):
    exp_id = break_split(testing)
    assert tab.build_view(testing, tab.Choices()).frame["Verdict"][0] == "✗ invalid"
    view = tab.build_test_view(testing, exp_id)
    assert view.is_blocked
    assert view.results.empty
    assert "sample ratio mismatch" in view.split
    assert view.exposure["Assigned"].tolist() == [300, 700]


def test_the_search_finds_names_metrics_models_and_owners(testing):
    run_test(testing, "first", n=20, owner="ada")
    run_test(testing, "second", n=20, treatment_model="gradient boosting")
    for words, found in (("FIRST", 1), ("clicked", 2), ("boosting", 1), ("ada", 1), ("nothing", 0)):
        assert tab.build_view(testing, tab.Choices(text=words)).n_found == found


def test_status_filters_and_archived_tests_are_listed_only_when_asked_for(testing):
    run_test(testing, "stays", n=20)
    gone = run_test(testing, "goes", n=20)
    testing.archive(gone)
    assert tab.build_view(testing, tab.Choices()).frame["Test"].tolist() == ["stays"]
    assert tab.build_view(testing, tab.Choices(status="Archived")).frame["Test"].tolist() == ["goes"]
    assert tab.build_view(testing, tab.Choices(status="Paused")).n_found == 0


def test_a_concluded_test_shows_the_evidence_of_its_conclusion(testing):
    exp_id = run_test(testing, lift=0.2)
    testing.conclude(exp_id, actor="ada")
    row = tab.build_view(testing, tab.Choices()).frame.iloc[0]
    assert row["Verdict"] == "✓ ship"
    assert row["Subjects"] == 1_000
    assert row["Lift"] > 20
    view = tab.build_test_view(testing, exp_id)
    assert view.verdict == "Ship"
    assert view.reason.startswith("Decided on")
    assert "by ada. Ship treatment: clicked is" in view.reason


def test_results_are_finished_text_without_none_or_nan(testing):
    exp_id = run_test(
        testing, n=400, secondary_metrics=[Metric(name="minutes")], guardrails=[Metric(name="errors", margin=0.1)]
    )
    frame = tab.build_test_view(testing, exp_id).results
    assert frame["Metric"].tolist() == ["clicked", "minutes", "errors"]
    assert not {"None", "nan"} & set(frame.to_numpy().ravel().tolist())
    assert frame["n"][0].count("/") == 1


@pytest.mark.parametrize(("p", "said"), [(None, "–"), (1e-9, "< 0.0001"), (0.0312, "0.0312"), (1.0, "1")])
def test_p_values_are_printed_as_people_print_them(p, said):
    assert tab.p_text(p) == said


def test_uploaded_events_name_the_row_that_is_wrong():
    good = pd.DataFrame({"user_id": ["007", "NA"], "value": ["1", "0.5"], "event_id": [None, None]})
    assert dialogs.events_from_table(good).to_dict("list") == {"user_id": ["007", "NA"], "value": [1.0, 0.5]}
    for frame, said in (
        (pd.DataFrame({"user": ["a"], "value": [1]}), "'user_id' is missing"),
        (pd.DataFrame({"user_id": ["a", "b"], "value": ["1", "yes"]}), "row 2: value must be a number"),
        (pd.DataFrame({"user_id": ["a", None], "value": [1, 2]}), "row 2 has no user_id"),
    ):
        with pytest.raises(ValueError, match=said):
            dialogs.events_from_table(frame)


def test_the_preview_of_a_design_gives_its_size_or_what_is_missing():
    design = {"metric_name": "clicked", "metric_type": "binary", "baseline_value": 0.1}
    planned = ExperimentConfig(name="x", minimum_detectable_effect=0.02, **design).planned_sample_size
    assert f"Plans {planned:,} subjects" in forms.preview(design | {"minimum_detectable_effect": 0.02})
    assert forms.preview(design).startswith("No planned size")
    assert forms.preview(design | {"traffic_split": 2.0}).startswith("Not complete")


def test_lines_of_metrics_are_read_or_refused_by_line():
    assert forms.metric_lines("a\n\nb = binary, lower, 0.01") == [
        {"name": "a"},
        {"name": "b", "metric_type": "binary", "direction": "lower", "margin": 0.01},
    ]
    with pytest.raises(ValueError, match="line 1: 'often'"):
        forms.metric_lines("a = often")


# -- the widgets -------------------------------------------------------------------------------------


def test_an_empty_store_offers_a_snippet_the_form_and_the_calculator(app_test):
    test = app_test("A/B testing")
    assert "Load example data" in [b.label for b in test.button]
    assert "create_experiment" in test.code[0].value
    assert {"Create a test", "Size a test"} <= {e.label for e in test.expander}


def test_opening_a_test_shows_exposure_verdict_and_figures(app_test, testing):
    exp_id = run_test(testing, lift=0.15)
    test = visit(app_test, test=exp_id)
    words = texts(test)
    assert words.index("Exposure") < words.index("The split is as planned") < words.index("Ship treatment")
    assert len(test.get("plotly_chart")) == 1
    titles = []
    for section, charts in (("Over time", 2), ("Distribution", 1), ("Design", 0), ("Results", 1)):
        healthy(test.segmented_control(key="ab_testing.section").set_value(section).run())
        found = test.get("plotly_chart")
        assert len(found) == charts
        titles += [json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in found]
    assert all(titles)


def test_the_scale_of_the_forest_plot_can_be_chosen(app_test, testing):
    test = visit(app_test, test=run_test(testing, lift=0.15))
    before = test.get("plotly_chart")[0].proto.spec
    healthy(test.segmented_control(key="ab_testing.scale").set_value("Difference").run())
    assert "minus baseline" in test.get("plotly_chart")[0].proto.spec != before


def test_a_broken_split_withholds_every_figure(app_test, testing):
    test = visit(app_test, test=break_split(testing))
    assert "Results are withheld" in texts(test)
    for section in ("Results", "Over time", "Distribution"):
        healthy(test.segmented_control(key="ab_testing.section").set_value(section).run())
        assert not test.get("plotly_chart")


def test_search_and_status_change_the_list_and_the_address(app_test, testing):
    run_test(testing, "first", n=20)
    run_test(testing, "second", n=20)
    test = app_test("A/B testing")
    healthy(test.text_input(key="ab_testing.search").set_value("sec").run())
    assert "1 of 2 tests" in texts(test)
    assert address(test, "ab_testing.search") == "sec"
    healthy(test.text_input(key="ab_testing.search").set_value("").run())
    healthy(test.pills(key="ab_testing.status").set_value("Paused").run())
    assert "0 of 2 tests" in texts(test)


def test_a_test_is_paused_resumed_and_archived(app_test, testing):
    exp_id = run_test(testing)
    test = visit(app_test, test=exp_id)
    healthy(test.button(key="ab_testing.pause").click().run())
    assert testing.get_experiment(exp_id).status == "paused"
    assert test.button(key="ab_testing.event.open").disabled
    healthy(test.button(key="ab_testing.resume").click().run())
    assert testing.get_experiment(exp_id).status == "running"
    testing.conclude(exp_id)
    healthy(test.run())
    healthy(test.button(key="ab_testing.archive.open").click().run())
    healthy(test.button(key="ab_testing.archive.confirm").click().run())
    assert testing.get_experiment(exp_id).status == "archived"


def test_an_ended_test_is_deleted_once_its_name_is_typed(app_test, testing):
    exp_id = run_test(testing)
    test = visit(app_test, test=exp_id)
    assert not [button for button in test.button if button.key == "ab_testing.delete.open"]  # it is running
    testing.conclude(exp_id)
    healthy(test.run())
    healthy(test.button(key="ab_testing.delete.open").click().run())
    name = testing.get_experiment(exp_id).name
    assert test.button(key="ab_testing.delete.confirm").disabled
    assert "deleted for good" in texts(test)
    healthy(test.text_input(key="ab_testing.delete.typed").set_value(name).run())
    healthy(test.button(key="ab_testing.delete.confirm").click().run())
    assert testing.list_experiments() == []
    with pytest.raises(NotFoundError):
        testing.get_experiment(exp_id)


def test_one_event_is_recorded_by_hand_once(app_test, testing):
    exp_id = run_test(testing, n=20)
    test = visit(app_test, test=exp_id)
    for _ in range(2):
        healthy(test.button(key="ab_testing.event.open").click().run())
        test.text_input(key="ab_testing.event.user").set_value("somebody")
        test.text_input(key="ab_testing.event.id").set_value("e-1")
        healthy(test.button(key="ab_testing.event.confirm").click().run())
    assert sum(testing.analyze_experiment(exp_id).n_subjects.values()) == 21
    assert any("Nothing was stored" in toast.value for toast in test.toast)


def test_an_event_without_a_user_is_refused(app_test, testing):
    test = visit(app_test, test=run_test(testing, n=20))
    healthy(test.button(key="ab_testing.event.open").click().run())
    healthy(test.button(key="ab_testing.event.confirm").click().run())
    assert "enter a user id first" in shown_errors(test)[0]


def test_events_are_uploaded_as_csv_and_a_replay_adds_nothing(app_test, testing):
    exp_id = run_test(testing, n=20)
    test = visit(app_test, test=exp_id)
    content = "user_id,value,event_id\n" + "\n".join(f"00{i},{i % 2},e{i}" for i in range(50))
    for _ in range(2):
        healthy(test.button(key="ab_testing.upload.open").click().run())
        test.file_uploader(key="ab_testing.upload.file").upload("events.csv", content.encode(), "text/csv")
        healthy(test.run())
        healthy(test.button(key="ab_testing.upload.confirm").click().run())
    assert "Stored 0 new of 50 events" in [toast.value for toast in test.toast][-1]
    assert sum(testing.analyze_experiment(exp_id).n_subjects.values()) == 70
    assert testing.assign(exp_id, "0049", store=False) in {"baseline", "treatment"}


def test_a_bad_file_stores_nothing_and_names_the_row(app_test, testing):
    exp_id = run_test(testing, n=20)
    test = visit(app_test, test=exp_id)
    healthy(test.button(key="ab_testing.upload.open").click().run())
    test.file_uploader(key="ab_testing.upload.file").upload("e.csv", b"user_id,value\na,1\nb,maybe\n", "text/csv")
    healthy(test.run())
    healthy(test.button(key="ab_testing.upload.confirm").click().run())
    assert "row 2: value must be a number, got 'maybe'" in shown_errors(test)[0]
    assert sum(testing.analyze_experiment(exp_id).n_subjects.values()) == 20


def test_attributes_are_uploaded_for_segments(app_test, testing):
    exp_id = run_test(testing, n=60)
    test = visit(app_test, test=exp_id)
    healthy(test.button(key="ab_testing.upload.open").click().run())
    healthy(test.segmented_control(key="ab_testing.upload.what").set_value("Attributes").run())
    content = "user_id,country\n" + "\n".join(f"user-{i},{'CH' if i % 2 else 'DE'}" for i in range(60))
    test.file_uploader(key="ab_testing.upload.file").upload("a.csv", content.encode(), "text/csv")
    healthy(test.run())
    healthy(test.button(key="ab_testing.upload.confirm").click().run())
    assert len(testing.analyze_experiment(exp_id, segment="country").segments) == 2


def test_a_phase_with_another_split_is_started(app_test, testing):
    exp_id = run_test(testing, n=40)
    test = visit(app_test, test=exp_id)
    healthy(test.button(key="ab_testing.phase.open").click().run())
    test.slider(key="ab_testing.phase.split").set_value(0.7)
    test.text_input(key="ab_testing.phase.reason").set_value("ramp up")
    healthy(test.button(key="ab_testing.phase.confirm").click().run())
    assert testing.get_experiment(exp_id).phases[-1]["shares"]["treatment"] == pytest.approx(0.7)


def test_concluding_against_the_analysis_needs_a_reason(app_test, testing):
    exp_id = run_test(testing, lift=0.2)
    test = visit(app_test, test=exp_id)
    healthy(test.button(key="ab_testing.conclude.open").click().run())
    assert test.selectbox(key="ab_testing.conclude.decision").value == "ship"
    healthy(test.selectbox(key="ab_testing.conclude.decision").set_value("keep_baseline").run())
    healthy(test.button(key="ab_testing.conclude.confirm").click().run())
    assert "give a reason" in shown_errors(test)[0]
    test.text_area(key="ab_testing.conclude.reason").set_value("too slow")
    healthy(test.button(key="ab_testing.conclude.confirm").click().run())
    found = testing.get_experiment(exp_id)
    assert (found.status, found.decision, found.decision_reason) == ("concluded", "keep_baseline", "too slow")
    assert "too slow" in texts(test)


def test_a_test_between_registered_versions_is_created_concluded_and_its_winner_promoted(app_test, seed, testing):
    test = open_form(app_test, "create", name="1.2 against 1.1", metric="clicked")
    test.selectbox(key="ab_testing.create.0.kind").set_value("binary")
    assert test.selectbox(key="ab_testing.create.0.baseline").value == seed.versions[1]
    healthy(test.button(key="ab_testing.create.submit").click().run())
    assert "choose a baseline and a treatment" in shown_errors(test)[0]
    test.selectbox(key="ab_testing.create.0.treatment").set_value(seed.versions[2])
    healthy(test.button(key="ab_testing.create.submit").click().run())
    made = testing.list_experiments()[0]
    assert (made.baseline_version_id, made.treatment_version_id) == (seed.versions[1], seed.versions[2])
    assert address(test, "test") == made.exp_id
    users = [f"u{i}" for i in range(600)]
    better = testing.assign_many(made.exp_id, users) == "treatment"
    draw = np.random.default_rng(5)
    testing.record_events(made.exp_id, list(zip(users, (draw.random(600) < 0.3 + 0.3 * better).tolist(), strict=True)))
    testing.conclude(made.exp_id, actor="ada")
    healthy(test.run())
    healthy(test.button(key="ab_testing.promote.open").click().run())
    healthy(test.button(key="ab_testing.promote.confirm").click().run())
    assert seed.registry.get_production("churn").version == "1.2.0"
    evidence = seed.registry.stage_history("churn")[-1].evidence
    assert evidence["experiment_id"] == made.exp_id


def test_a_test_between_free_names_is_created_and_its_draft_survives_another_tab(app_test, testing):
    test = open_form(app_test, "create", name="b against a", baseline_name="a", treatment_name="b", metric="minutes")
    test.number_input(key="ab_testing.create.0.mde").set_value(0.5)
    test.number_input(key="ab_testing.create.0.sd").set_value(2.0)
    test.text_area(key="ab_testing.create.0.guardrails").set_value("errors = binary, lower")
    healthy(test.run())
    assert "subjects per variant for a power of 0.8" in texts(test)
    healthy(test.button(key="ab_testing.create.submit").click().run())
    made = testing.list_experiments()[0].config
    assert (made.baseline_model, made.treatment_model, made.stopping) == ("a", "b", "group_sequential")
    assert made.guardrails[0].direction == "lower"


@pytest.mark.parametrize("rule", ["futility", "mixture"])
def test_the_options_of_the_stopping_rule_are_in_the_form(app_test, testing, rule):
    test = open_form(app_test, "create", name="b against a", metric="minutes")
    test.number_input(key="ab_testing.create.0.mde").set_value(0.5)
    test.number_input(key="ab_testing.create.0.sd").set_value(2.0)
    if rule == "futility":
        test.selectbox(key="ab_testing.create.0.futility_rule").set_value("beta_spending")
        healthy(test.run())
    else:
        test.selectbox(key="ab_testing.create.0.stopping").set_value("Always valid: look whenever you like")
        healthy(test.run())
        healthy(test.selectbox(key="ab_testing.create.0.sequential_test").set_value("msprt").run())
        healthy(test.number_input(key="ab_testing.create.0.mixing_sd").set_value(0.4).run())
    healthy(test.button(key="ab_testing.create.submit").click().run())
    made = testing.list_experiments()[0].config
    if rule == "futility":
        assert (made.stopping, made.futility_rule) == ("group_sequential", "beta_spending")
    else:
        assert (made.stopping, made.sequential_test, made.mixing_sd) == ("always_valid", "msprt", 0.4)


def test_the_calculator_gives_size_power_and_effect_with_a_curve(app_test):
    test = open_form(app_test, "size")
    assert "3,841" in texts(test)  # power.prop.test(p1 = .1, p2 = .12, power = .8): n = 3840.85
    assert len(test.get("plotly_chart")) == 1
    test.number_input(key="ab_testing.size.daily").set_value(500)
    healthy(test.run())
    assert "Days 16" in texts(test)
    healthy(test.segmented_control(key="ab_testing.size.wanted").set_value("Power").run())
    healthy(test.number_input(key="ab_testing.size.n").set_value(3_841).run())
    assert "Power 80" in texts(test)
    healthy(test.segmented_control(key="ab_testing.size.wanted").set_value("Effect").run())
    assert "Effect 2" in texts(test)
    healthy(test.selectbox(key="ab_testing.size.kind").set_value("continuous").run())
    healthy(test.number_input(key="ab_testing.size.sd").set_value(0.0).run())
    assert shown_errors(test)


def test_who_gets_what_is_shown_without_assigning(app_test, testing):
    exp_id = run_test(testing, n=20)
    test = visit(app_test, test=exp_id)
    healthy(test.segmented_control(key="ab_testing.section").set_value("Subjects").run())
    healthy(test.text_input(key="ab_testing.whose").set_value("nobody-yet").run())
    assert "nobody-yet gets" in texts(test)
    assert sum(testing.analyze_experiment(exp_id, record_look=False).n_assigned.values()) == 20


def test_a_test_that_is_gone_is_said_to_be_gone(app_test, testing):
    run_test(testing, n=20)
    assert "does not exist" in texts(visit(app_test, test="0" * 32))


def test_viewers_see_results_and_change_nothing(app_test, testing, monkeypatch):
    from dashboard import access

    exp_id = run_test(testing)
    monkeypatch.setattr(access, "require_person", lambda: access.Person(name="eve", can_edit=False, signed_in=False))
    test = visit(app_test, test=exp_id)
    for key in ("event.open", "upload.open", "pause", "phase.open", "conclude.open"):
        assert test.button(key=f"ab_testing.{key}").disabled
    assert "The split is as planned" in texts(test)


def test_hostile_names_are_shown_verbatim_in_every_section(app_test, testing):
    # Names of tests may not hold slashes or colons; metrics, models and reasons may.
    exp_id = run_test(testing, "<b>bold =1+1", metric_name=HOSTILE, treatment_model=HOSTILE, hypothesis=HOSTILE)
    test = visit(app_test, test=exp_id)
    for section in details.SECTIONS:
        healthy(test.segmented_control(key="ab_testing.section").set_value(section).run())
        for element in [*test.markdown, *test.caption]:
            value = str(element.value)
            assert "![x](http" not in value or "`" in value
            assert "<b>" not in value or "`" in value
