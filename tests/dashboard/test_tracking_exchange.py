"""What comes into the Tracking tab, what leaves it, and its experiments as such."""

from __future__ import annotations

import json

import pytest

from dashboard import components as ui
from dashboard import tracking_exchange as exchange
from dashboard.tracking_experiments import experiments_frame
from dashboard.tracking_tab import Choices
from tests.dashboard.conftest import healthy, shown_errors, texts


def open_dialog(app_test, name, **payload):
    return app_test(tab="Tracking", ui__dialog=(f"tracking.{name}", payload))


# -- coming ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "kind", "content"),
    [
        ("CSV", "csv", b"run,step,loss\na,0,1.0\na,1,0.5\nb,0,2.0\n"),
        ("JSON lines", "jsonl", b'{"step": 0, "loss": 1.0}\n{"step": 1, "loss": 0.5}\n'),
    ],
)
def test_files_of_runs_come_in_and_what_came_is_said(app_test, seed, source, kind, content):
    before = len(seed.tracking.search_runs())
    test = open_dialog(app_test, "import")
    healthy(test.button_group(key="tracking.import.from").set_value(source).run())
    assert test.button(key="tracking.import.confirm").disabled
    test.file_uploader(key=f"tracking.import.file.{kind}").upload(f"old-runs.{kind}", content, "text/plain")
    healthy(test.run())
    healthy(test.button(key="tracking.import.confirm").click().run())
    assert " new of " in texts(test)
    assert len(seed.tracking.search_runs()) > before
    assert "old-runs" in [e.name for e in seed.tracking.list_experiments()], "named after the file"


def test_a_file_that_cannot_be_read_is_refused_in_words(app_test, seed):
    test = open_dialog(app_test, "import")
    healthy(test.button_group(key="tracking.import.from").set_value("CSV").run())
    test.file_uploader(key="tracking.import.file.csv").upload("x.csv", b"\xff\xfe\x00a", "text/csv")
    healthy(test.run())
    healthy(test.button(key="tracking.import.confirm").click().run())
    assert shown_errors(test)[0].startswith("Import CSV: ")


# -- leaving ---------------------------------------------------------------------------------------------------


def app_of(seed, store):
    from dashboard import access

    return ui.App(database=store, person=access.Person(name="ada", can_edit=True, signed_in=False))


def test_the_runs_that_match_leave_as_a_table_and_as_json_lines(seed, store):
    app, choices = app_of(seed, store), Choices(filter="metrics.accuracy > 0.75")
    frame = exchange._runs_frame(app, choices)
    assert len(frame) == 4
    assert {"params.kind", "metrics.loss", "tags.team"} <= set(frame.columns)
    lines = [json.loads(line) for line in exchange._json_lines(app, choices).splitlines()]
    assert {line["name"] for line in lines} == set(frame["name"])
    seed.tracking.start_run("another", "elsewhere")
    seed.tracking.delete_run(seed.runs[0])
    assert "elsewhere" not in set(exchange._runs_frame(app, Choices(experiment="training"))["name"])
    assert list(exchange._runs_frame(app, Choices(shown="deleted"))["name"]) == ["run-0"]
    best = exchange._runs_frame(app, Choices(experiment="training", order="loss"))
    assert best["name"].iloc[0] == "run-5"


def test_curves_leave_with_the_names_of_their_runs(seed, store):
    runs = [seed.tracking.get_run(run_id) for run_id in seed.runs[:2]]
    frame = exchange._curves_frame(app_of(seed, store), runs)
    assert len(frame) == 2 * 2 * 12
    by_run = frame[frame["metric"] == "accuracy"].groupby("run")["value"].max()
    assert by_run.to_dict() == {"run-0": pytest.approx(0.5 + 11 / 60), "run-1": pytest.approx(0.55 + 11 / 60)}


def test_the_export_menu_offers_curves_and_a_report_of_selected_runs_only(app_test, seed):
    def offered(test):
        return {button.key for button in test.get("download_button")}

    assert offered(app_test(tab="Tracking")) >= {"tracking.csv", "tracking.jsonl"}
    assert not offered(app_test(tab="Tracking")) & {"tracking.curves_csv", "tracking.report"}
    chosen = app_test(tab="Tracking", query={"run": seed.runs[:2]})
    assert offered(chosen) >= {"tracking.csv", "tracking.curves_csv", "tracking.report"}


# -- experiments -----------------------------------------------------------------------------------------------


def open_job(app_test, job):
    return healthy(
        open_dialog(app_test, "experiments").button_group(key="tracking.experiments.job").set_value(job).run()
    )


def test_experiments_are_counted(seed):
    (row,) = experiments_frame(seed.tracking.list_experiments()).to_dict("records")
    assert (row["experiment"], row["runs"], row["running"], row["failed"]) == ("training", "7", "0", "1")


def test_an_experiment_is_deleted_by_its_name_found_again_and_restored(app_test, seed):
    test = open_job(app_test, "Delete")
    assert test.button(key="tracking.experiments.delete.confirm").disabled
    healthy(test.text_input(key="tracking.experiments.delete.typed").set_value("training").run())
    healthy(test.button(key="tracking.experiments.delete.confirm").click().run())
    assert seed.tracking.list_experiments() == []
    test = open_job(app_test, "Restore")
    assert list(test.selectbox(key="tracking.experiments.restore.name").options) == ["training"]
    healthy(test.button(key="tracking.experiments.restore.confirm").click().run())
    assert seed.tracking.list_experiments()[0].n_runs == 7


def test_deleted_runs_are_cleared_for_good(app_test, seed):
    assert "No deleted run waits" in texts(open_job(app_test, "Clear deleted"))
    seed.tracking.delete_run(seed.runs[0])
    test = open_job(app_test, "Clear deleted")
    assert "1 deleted run" in texts(test)
    healthy(test.number_input(key="tracking.experiments.clear.days").set_value(7).run())
    healthy(test.text_input(key="tracking.experiments.clear.typed").set_value("delete for ever").run())
    healthy(test.button(key="tracking.experiments.clear.confirm").click().run())
    assert seed.tracking.get_run(seed.runs[0]).deleted, "it was deleted today"
    test = open_job(app_test, "Clear deleted")
    healthy(test.text_input(key="tracking.experiments.clear.typed").set_value("delete for ever").run())
    healthy(test.button(key="tracking.experiments.clear.confirm").click().run())
    with pytest.raises(LookupError):
        seed.tracking.get_run(seed.runs[0])


# -- one run ---------------------------------------------------------------------------------------------------


def test_a_run_whose_process_is_gone_is_ended_by_hand(app_test, seed):
    run_id = seed.tracking.start_run("training", "hanging")
    test = app_test(tab="Tracking", query={"run": [run_id]})
    healthy(test.button(key="tracking.end").click().run())
    healthy(test.button_group(key="tracking.end.status").set_value("killed").run())
    healthy(test.button(key="tracking.end.confirm").click().run())
    assert seed.tracking.get_run(run_id).status == "killed"
    assert "tracking.end" not in {button.key for button in app_test(tab="Tracking", query={"run": [run_id]}).button}


def test_a_file_of_a_run_is_deleted_by_its_name(app_test, seed):
    run_id = seed.runs[0]
    test = app_test(tab="Tracking", query={"run": [run_id]})
    healthy(test.selectbox(key=f"tracking.artifact.{run_id}").set_value("report.txt").run())
    healthy(test.button(key="tracking.delete_file").click().run())
    healthy(test.text_input(key="tracking.delete_file.typed").set_value("report.txt").run())
    healthy(test.button(key="tracking.delete_file.confirm").click().run())
    assert [artifact.path for artifact in seed.tracking.list_artifacts(run_id)] == ["model"]
