"""The Tracking tab: what it shows, what its widgets do, and its jobs done by hand in a browser."""

from __future__ import annotations

import json
import re

import pytest

from dashboard.tracking_compare import differences, differences_frame, main_metric
from dashboard.tracking_details import environment_frame
from dashboard.tracking_tab import Choices, build_view, last_value_expression, tidy_column
from db import StateError
from model_registry import ModelRegistryManager
from tests import test_chain
from tests.dashboard.conftest import healthy, shown_errors, texts
from tracking_parts.records import goal_of

mlflow_folder = test_chain.store  # a fixture: the store of an MLflow with one run and three registered versions

# -- the view --------------------------------------------------------------------------------------------------


def test_the_view_counts_runs_and_names_the_best(seed):
    view = build_view(seed.tracking, Choices())
    assert [card[:2] for card in view.kpis] == [
        ("Runs", "7"),
        ("Running", "0"),
        ("Failed", "1"),
        ("Best accuracy", "0.933"),
    ]
    assert "run-5" in view.kpis[3][2]
    assert view.ids[0] == seed.runs[-1]
    assert (view.n_all, view.n_found) == (7, 7)


def test_filter_order_and_pages_choose_the_rows(seed):
    found = build_view(seed.tracking, Choices(filter="params.learning_rate < 0.01 and metrics.accuracy > 0.7"))
    assert list(found.frame["name"]) == ["run-2", "run-1"]
    best = build_view(seed.tracking, Choices(order="loss"))
    assert best.frame["name"].iloc[0] == "run-5"
    page = build_view(seed.tracking, Choices(limit=3, offset=6))
    assert len(page.ids) == 1
    assert len(build_view(seed.tracking, Choices(limit=3, offset=600)).ids) == 1


def test_a_filter_that_cannot_be_read_is_refused_with_its_place(seed):
    with pytest.raises(ValueError, match="character 19"):
        build_view(seed.tracking, Choices(filter="metrics.accuracy >"))


@pytest.mark.parametrize(("values", "expected"), [("last", 0.317), ("best", 0.317), ("min", 0.317), ("max", 0.5)])
def test_the_table_shows_the_value_of_the_history_that_was_asked_for(seed, values, expected):
    view = build_view(seed.tracking, Choices(values=values))
    row = view.frame[view.frame["name"] == "run-0"].iloc[0]
    assert row["metrics.loss"] == pytest.approx(expected, abs=0.001)


def test_a_key_is_found_whatever_characters_it_has(seed):
    for key in ("a`b", "loss.min", "and", "f1 @ 5", "`"):
        run_id = seed.tracking.start_run("odd", f"with {key}")
        seed.tracking.log_metrics(run_id, {key: [0.5, 0.25, 0.75]})
        seed.tracking.end_run(run_id)
        assert build_view(seed.tracking, Choices(order=key)).ids[0] == run_id
        only = Choices(experiment="odd", order=key, values="best", columns=(f"metrics.{key}",))
        view = build_view(seed.tracking, only)
        best = 0.25 if goal_of(key) == "min" else 0.75
        assert view.frame[f"metrics.{key}"].iloc[0] == best
        assert float(view.kpis[3][1]) == best
        last = seed.tracking.search_runs(experiment="odd", order_by=last_value_expression(key), limit=1)
        assert last["run_id"].iloc[0] == run_id


def test_a_metric_without_a_finite_value_is_empty_and_hides_no_other(seed):
    run_id = seed.tracking.start_run("training", "diverged")
    seed.tracking.log_metrics(run_id, {"loss": float("nan")})
    seed.tracking.end_run(run_id)
    view = build_view(seed.tracking, Choices(values="best"))
    by_name = view.frame.set_index("name")["metrics.loss"]
    assert by_name["diverged"] != by_name["diverged"]
    assert by_name["run-0"] == pytest.approx(0.317, abs=0.001)


def test_names_that_no_run_has_are_pointed_out(seed):
    view = build_view(seed.tracking, Choices(filter="metrics.acuracy > 0.5"))
    assert view.ids == ()
    assert "acuracy" in view.warnings[0]
    assert build_view(seed.tracking, Choices(filter="metrics.accuracy > 0.5")).warnings == ()


def test_chosen_columns_replace_the_first_few(seed):
    view = build_view(seed.tracking, Choices(columns=("params.kind",)))
    assert view.shown_columns == ("params.kind",)
    assert "metrics.accuracy" not in view.frame


def test_archived_and_deleted_runs_are_listed_apart(seed):
    seed.tracking.archive_run(seed.runs[0])
    seed.tracking.delete_run(seed.runs[1])
    assert build_view(seed.tracking, Choices()).n_found == 5
    assert build_view(seed.tracking, Choices(shown="archived")).ids == (seed.runs[0],)
    assert build_view(seed.tracking, Choices(shown="deleted")).ids == (seed.runs[1],)


def test_selected_runs_that_are_gone_are_counted(seed):
    view = build_view(seed.tracking, Choices(selected=(seed.runs[0], "f" * 32)))
    assert [run.name for run in view.runs] == ["run-0"]
    assert view.missing == 1


def test_only_what_differs_between_runs_is_listed(seed):
    runs = [seed.tracking.get_run(run_id) for run_id in seed.runs[:3]]
    found = {(d.kind, d.key): d.values for d in differences(runs)}
    assert ("tag", "team") not in found
    assert found["param", "kind"] == ("a", "b", "a")
    assert found["metric (max)", "accuracy"] == pytest.approx((0.6833, 0.7333, 0.7833), abs=1e-3)
    assert list(differences_frame([runs[0], runs[0], runs[1]]).columns) == [
        "key",
        "kind",
        "run-0",
        "run-0 (2)",
        "run-1",
    ]


def test_the_main_metric_is_guessed_from_its_name():
    assert main_metric(["loss", "val_accuracy"]) == "val_accuracy"
    assert main_metric(["speed"]) == "speed"
    assert main_metric([]) is None


def test_mixed_columns_become_text_and_numbers_stay_numbers():
    import pandas as pd

    assert tidy_column(pd.Series([1, 2.5, None], dtype=object)).dtype.kind == "f"
    assert list(tidy_column(pd.Series([1, "a", True], dtype=object))) == ["1", "a", "yes"]


# -- its widgets -----------------------------------------------------------------------------------------------


def names(test):
    return list(test.dataframe[0].value["name"])


def test_every_filter_changes_the_table_and_the_url(app_test, seed):
    test = app_test(tab="Tracking")
    assert len(names(test)) == 7
    healthy(test.text_input(key="tracking.filter").set_value("metrics.accuracy > 0.9").run())
    assert names(test) == ["run-5"]
    assert "1 of 7 runs" in texts(test)
    healthy(test.text_input(key="tracking.filter").set_value("").run())
    healthy(test.selectbox(key="tracking.order").set_value("accuracy").run())
    assert names(test)[0] == "run-5"
    healthy(test.selectbox(key="tracking.experiment").set_value("training").run())
    healthy(test.segmented_control(key="tracking.shown").set_value("Deleted").run())
    assert "No deleted run that can be restored matches" in texts(test)


def test_a_wrong_filter_shows_one_sentence_an_id_and_the_place(app_test, seed):
    test = app_test(tab="Tracking", query={"tracking.filter": ["metrics.accuracy >"]})
    (error,) = shown_errors(test)
    assert error.startswith("Filter: expected a value, found the end (character 19). (error ")
    assert test.code[0].value.splitlines()[0].strip() == "metrics.accuracy >"
    # The box stays on the page, or the filter could not be put right.
    healthy(test.text_input(key="tracking.filter").set_value("metrics.accuracy > 0.75").run())
    assert not shown_errors(test)
    assert "4 of 7 runs" in texts(test)


def test_a_filter_with_an_unknown_name_says_so_above_the_table(app_test, seed):
    test = app_test(tab="Tracking", query={"tracking.filter": ["metrics.acuracy > 0.5"]})
    (warning,) = test.warning
    assert "acuracy" in warning.value
    assert "No run matches" in texts(test)
    assert not shown_errors(test)


def test_columns_and_values_are_chosen(app_test, seed):
    test = app_test(tab="Tracking")
    healthy(test.multiselect(key="tracking.columns").set_value(["params.kind"]).run())
    assert "metrics.accuracy" not in test.dataframe[0].value
    healthy(test.multiselect(key="tracking.columns").set_value([]).run())
    healthy(test.segmented_control(key="tracking.values").set_value("max").run())
    row = test.dataframe[0].value.set_index("name").loc["run-0"]
    assert row["metrics.loss"] == pytest.approx(0.5)


def test_one_run_shows_its_params_metrics_files_and_ties(app_test, seed):
    test = app_test(tab="Tracking", query={"run": [seed.runs[0]]})
    assert "churn 1.0.0" in [button.label for button in test.button]
    assert "2 files" in texts(test)
    healthy(test.selectbox(key=f"tracking.artifact.{seed.runs[0]}").set_value("report.txt").run())
    assert "report of run 0" in [code.value.strip() for code in test.code]


def test_what_a_run_ran_in_is_listed_property_by_property():
    frame = environment_frame(
        {
            "git": {"commit": "abc", "dirty": False}, "script": "train.py", "packages": {"numpy": "2.4.6"},
            "hardware": {"memory_bytes": 25_276_502_016, "cpu_count": 2},
        }
    )  # fmt: skip
    assert dict(frame.itertuples(index=False)) == {
        "git: commit": "abc", "git: dirty": "no", "hardware: cpu count": "2", "hardware: memory": "25.3 GB",
        "script": "train.py",
    }  # fmt: skip


def test_the_error_of_a_failed_run_is_shown(app_test, seed):
    test = app_test(tab="Tracking", query={"run": [seed.runs[-1]]})
    assert "out of memory" in [code.value for code in test.code]


@pytest.mark.parametrize("chart", ["Curves", "Parallel", "Scatter", "Differences"])
def test_selected_runs_are_drawn_in_every_way(app_test, seed, chart):
    test = app_test(tab="Tracking", query={"run": seed.runs[:4], "tracking.chart": [chart]})
    assert "4 runs compared" in texts(test)
    assert not shown_errors(test)
    assert len(test.get("plotly_chart")) == (0 if chart == "Differences" else 1)


def test_two_metrics_have_a_front_of_runs_that_none_beats(app_test, seed):
    query = {"run": seed.runs[:3], "tracking.chart": ["Scatter"], "tracking.x": ["metrics.loss"]}
    test = app_test(tab="Tracking", query=query)
    assert "Pareto front" in test.get("plotly_chart")[0].proto.spec
    query["tracking.x"] = ["params.learning_rate"]
    assert "Pareto front" not in app_test(tab="Tracking", query=query).get("plotly_chart")[0].proto.spec


def test_smoothing_axis_and_scale_change_the_curves(app_test, seed):
    test = app_test(tab="Tracking", query={"run": seed.runs[:2]})
    before = test.get("plotly_chart")[0].proto.spec
    healthy(test.select_slider(key="tracking.smoothing").set_value(0.9).run())
    smoothed = test.get("plotly_chart")[0].proto.spec
    assert smoothed != before
    healthy(test.segmented_control(key="tracking.axis").set_value("Relative time").run())
    assert "Time since the first point (s)" in test.get("plotly_chart")[0].proto.spec
    healthy(test.toggle(key="tracking.log_y").set_value(True).run())
    assert '"type":"log"' in test.get("plotly_chart")[0].proto.spec
    healthy(test.multiselect(key="tracking.metrics").set_value(["accuracy", "loss"]).run())
    titles = [json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in test.get("plotly_chart")]
    assert titles == ["accuracy", "loss"]


def test_the_horizontal_axis_of_a_scatter_can_be_logarithmic(app_test, seed):
    query = {"run": seed.runs[:3], "tracking.chart": ["Scatter"], "tracking.x": ["params.learning_rate"]}
    test = app_test(tab="Tracking", query=query)
    assert '"type":"log"' not in test.get("plotly_chart")[0].proto.spec
    healthy(test.toggle(key="tracking.log_x").set_value(True).run())
    assert '"type":"log"' in test.get("plotly_chart")[0].proto.spec


def test_curves_are_thinned_out_once_and_again_when_points_were_added(app_test, seed, monkeypatch):
    run_id = seed.tracking.start_run("training", "live")
    seed.tracking.log_metrics(run_id, {"accuracy": [0.1, 0.2]})
    read = type(seed.tracking).metric_history
    calls = []

    def counted(self, *arguments, **options):
        calls.append(arguments)
        return read(self, *arguments, **options)

    monkeypatch.setattr(type(seed.tracking), "metric_history", counted)
    test = app_test(tab="Tracking", query={"run": [*seed.runs[:2], run_id]})
    healthy(test.select_slider(key="tracking.smoothing").set_value(0.5).run())
    assert len(calls) == 1
    seed.tracking.log_metrics(run_id, {"accuracy": 0.777}, step=2)
    healthy(test.run())
    assert len(calls) == 2
    assert 0.777 in test.session_state["tracking.curves"][1]["value"].tolist()
    seed.tracking.end_run(run_id)
    healthy(test.run())
    seed.tracking.start_run("training", "another")
    healthy(test.run())
    assert len(calls) == 3


def test_at_most_ten_runs_are_chosen_at_first(app_test, seed):
    for number in range(8):
        seed.tracking.end_run(seed.tracking.start_run("training", f"more-{number}"))
    test = app_test(tab="Tracking")
    healthy(test.button(key="tracking.select_first").click().run())
    assert "10 runs compared" in texts(test)
    newest = list(seed.tracking.search_runs(limit=10)["run_id"])
    assert test.query_params["run"] == newest
    healthy(test.button(key=f"tracking.only.{newest[3]}").click().run())
    assert f"#### {seed.tracking.get_run(newest[3]).name}" in texts(test)
    healthy(test.button(key="tracking.clear").click().run())
    assert "10 runs compared" not in texts(test)


def open_dialog(app_test, name, query, **payload):
    return app_test(tab="Tracking", query=query, ui__dialog=(f"tracking.{name}", payload))


def test_the_model_of_a_run_is_registered(app_test, seed):
    run_id = seed.runs[4]
    test = open_dialog(app_test, "register", {"run": [run_id]}, run_id=run_id)
    test.text_input(key="tracking.register.version").set_value("3.0.0")
    healthy(test.button(key="tracking.register.confirm").click().run())
    version = seed.registry.get_version("churn", "3.0.0")
    assert version.run_id == run_id
    assert version.hyperparameters["learning_rate"] == pytest.approx(0.081)
    assert seed.registry.load_model("churn", "3.0.0") == {"weights": [4]}


def test_editing_renames_notes_and_tags(app_test, seed):
    run_id = seed.runs[0]
    test = open_dialog(app_test, "edit", {"run": [run_id]}, run_id=run_id)
    test.text_input(key=f"tracking.edit.name.{run_id}").set_value("renamed")
    test.text_area(key=f"tracking.edit.note.{run_id}").set_value("look again")
    test.text_area(key=f"tracking.edit.tags.{run_id}").set_value("owner = ada")
    healthy(test.button(key="tracking.edit.save").click().run())
    run = seed.tracking.get_run(run_id)
    assert (run.name, run.note, run.tags) == ("renamed", "look again", {"owner": "ada"})


def test_runs_are_archived_deleted_restored_and_deleted_for_ever(app_test, seed):
    ids = seed.runs[:2]
    test = app_test(tab="Tracking", query={"run": ids})
    healthy(test.button(key="tracking.archive").click().run())
    assert all(seed.tracking.get_run(i).archived for i in ids)
    test = open_dialog(app_test, "delete", {"run": ids}, run_ids=ids)
    healthy(test.button(key="tracking.delete.confirm").click().run())
    assert all(seed.tracking.get_run(i).deleted for i in ids)
    test = app_test(tab="Tracking", query={"run": ids, "tracking.shown": ["Deleted"]})
    healthy(test.button(key="tracking.restore").click().run())
    assert not any(seed.tracking.get_run(i).deleted for i in ids)
    seed.tracking.delete_run(ids[0])
    test = open_dialog(app_test, "purge", {"run": ids[:1]}, run_ids=ids[:1])
    assert test.button(key="tracking.purge.confirm").disabled
    healthy(test.text_input(key="tracking.purge.typed").set_value("run-0").run())
    healthy(test.button(key="tracking.purge.confirm").click().run())
    with pytest.raises(LookupError):
        seed.tracking.get_run(ids[0])


def test_an_import_that_fails_says_why(app_test, seed):
    test = open_dialog(app_test, "import", {})
    healthy(test.text_input(key="tracking.import.source").set_value("/no/such/folder").run())
    healthy(test.button(key="tracking.import.confirm").click().run())
    assert shown_errors(test)[0].startswith("Import from MLflow: ")


def test_an_import_brings_runs_and_registered_versions_and_lists_what_stayed_behind(app_test, store, mlflow_folder):
    test = open_dialog(app_test, "import", {})
    healthy(test.text_input(key="tracking.import.source").set_value(str(mlflow_folder)).run())
    healthy(test.button(key="tracking.import.confirm").click().run())
    said = texts(test)
    assert "1 new of 1 run, with" in said
    assert "2 new of 3 registered versions" in said
    assert "thing did not come over" in said or "things did not come over" in said
    assert "version 3 of 'churn/eu' was left out: its files are not below the store" in said
    versions = ModelRegistryManager(store)
    assert str(versions.get_version("churn-eu", "1.0.0").stage) == "Production"
    assert versions.get_version("churn-eu", "2.0.0").run_id
    healthy(test.button(key="tracking.imported.close").click().run())
    assert "did not come over" not in texts(test)
    again = open_dialog(app_test, "import", {})
    healthy(again.text_input(key="tracking.import.source").set_value(str(mlflow_folder)).run())
    healthy(again.button(key="tracking.import.confirm").click().run())
    assert "0 new of 1 run, with" in texts(again)
    assert "0 new of 3 registered versions" in texts(again)


def test_runs_that_came_over_are_told_when_the_registered_versions_fail(app_test, mlflow_folder, monkeypatch):
    def fail(*_arguments, **_options):
        raise StateError("the registry is being moved")

    monkeypatch.setattr("chain.import_mlflow_versions", fail)
    test = open_dialog(app_test, "import", {})
    healthy(test.text_input(key="tracking.import.source").set_value(str(mlflow_folder)).run())
    healthy(test.button(key="tracking.import.confirm").click().run())
    assert "1 new of 1 run" in texts(test)
    assert "the registered versions: the registry is being moved" in texts(test)


def test_example_data_fills_the_tab_from_its_empty_state(app_test, store):
    test = app_test(tab="Tracking")
    assert test.code[0].value.startswith("from experiment_tracking import ExperimentTracking")
    assert test.button(key="tracking.load_examples").label == "Load example data"


# -- by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_filter_overlay_compare_open_files_and_register_by_hand(open_app, seed):
    screen = open_app(tab="Tracking")
    page = screen.page
    screen.see("7 runs")
    page.get_by_label("Filter", exact=True).fill("metrics.accuracy > 0.75")
    page.keyboard.press("Enter")
    screen.see("4 of 7 runs")
    screen.click_row(0).see("run-5")
    screen.see("Open a file")
    page.get_by_role("combobox", name="Open a file").click()
    page.get_by_role("option", name="report.txt").click()
    screen.see("report of run 5")
    with page.expect_download() as download:
        screen.press("Download")
    assert download.value.suggested_filename == "report.txt"
    screen.press("Register model").see("Carries over")
    screen.fill("Version", "2.0.0").idle()
    page.get_by_role("dialog").get_by_role("button", name="Register").click()
    screen.see("Registered churn 2.0.0")
    assert seed.registry.get_version("churn", "2.0.0").run_id == seed.runs[5]
    screen.press("churn 2.0.0").see("trained by run-5")
    assert "tab=Registry" in page.url
    page.go_back()
    screen.see("4 of 7 runs").see("Open a file")
    screen.click_row(1).see("2 runs compared")
    for chart, words in (("Parallel", "Params and accuracy"), ("Scatter", "accuracy by"), ("Differences", "")):
        page.get_by_role("radio", name=chart).or_(page.get_by_role("button", name=chart, exact=True)).first.click()
        screen.idle()
        if words:
            page.locator(".gtitle", has_text=words).first.wait_for()
    screen.press(re.compile("Export"))
    with page.expect_download() as download:
        screen.press(re.compile("All runs that match, CSV"))
    assert download.value.suggested_filename == "runs.csv"
    page.reload()
    screen.see("4 of 7 runs").see("2 runs compared")
