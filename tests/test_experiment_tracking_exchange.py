"""Runs from MLflow, CSV and JSON lines, and out again."""

from __future__ import annotations

import csv
import json
import math
import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from experiment_tracking import ExperimentTracking
from tracking_parts.mlflow_source import read_registered_versions

# The tables of an MLflow 3.17 store, as its own migrations make them, without the columns nobody reads here.
MLFLOW_TABLES = """
CREATE TABLE experiments (experiment_id INTEGER PRIMARY KEY, name VARCHAR(256), artifact_location VARCHAR(256),
    lifecycle_stage VARCHAR(32), creation_time BIGINT);
CREATE TABLE runs (run_uuid VARCHAR(32) PRIMARY KEY, name VARCHAR(250), status VARCHAR(9), start_time BIGINT,
    end_time BIGINT, lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200), experiment_id INTEGER);
CREATE TABLE metrics ("key" VARCHAR(250), value FLOAT, timestamp BIGINT, run_uuid VARCHAR(32), step BIGINT, is_nan
BOOLEAN,
    PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan));
CREATE TABLE params ("key" VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
CREATE TABLE tags ("key" VARCHAR(250), value VARCHAR(8000), run_uuid VARCHAR(32));
CREATE TABLE model_versions (name VARCHAR(256), version INTEGER, current_stage VARCHAR(20), source VARCHAR(500),
    run_id VARCHAR(32), description VARCHAR(5000), storage_location VARCHAR(500));
"""
RUN, CHILD, GONE = "a" * 32, "b" * 32, "c" * 32


def make_mlflow_sqlite(folder: Path) -> Path:
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / "mlflow.db")
    connection.executescript(MLFLOW_TABLES)
    old = "/home/somebody/project/mlruns"  # where the store was before it was moved
    with connection:
        connection.executemany(
            "INSERT INTO experiments VALUES (?, ?, ?, ?, 0)",
            [(1, "churn/first", f"{old}/1", "active"), (2, "gone", f"{old}/2", "deleted")],
        )
        connection.executemany(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    RUN,
                    "run 0",
                    "FINISHED",
                    1_700_000_000_000,
                    1_700_000_060_000,
                    "active",
                    f"{old}/1/{RUN}/artifacts",
                    1,
                ),
                (CHILD, "child", "RUNNING", 1_700_000_001_000, None, "active", f"file://{old}/1/{CHILD}/artifacts", 1),
                (GONE, "gone", "FINISHED", 1_700_000_002_000, None, "deleted", f"{old}/1/{GONE}/artifacts", 1),
            ],
        )
        connection.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)",
            [
                ("loss", 1.0, 1_700_000_000_100, RUN, 0, 0),
                ("loss", 0.5, 1_700_000_000_200, RUN, 1, 0),
                ("loss", 9.0, 1_700_000_000_300, RUN, 1, 0),
                ("val/acc", 0.0, 1_700_000_000_100, RUN, 0, 1),
                ("val/acc", 1.7976931348623157e308, 1_700_000_000_200, RUN, 1, 0),
                ("m", 1.0, 1_700_000_000_100, CHILD, 0, 0),
            ],
        )
        connection.executemany("INSERT INTO params VALUES (?, ?, ?)", [("lr", "0.1", RUN), ("opt", "adam", RUN)])
        connection.executemany(
            "INSERT INTO tags VALUES (?, ?, ?)",
            [("team", "a", RUN), ("mlflow.note.content", "a note", RUN), ("mlflow.parentRunId", RUN, CHILD)],
        )
        connection.execute(
            "INSERT INTO model_versions VALUES ('churn', 1, 'Production', ?, ?, 'good', NULL)",
            (f"{old}/1/{RUN}/artifacts/model", RUN),
        )
    connection.close()
    artifacts = folder / "mlruns" / "1" / RUN / "artifacts"
    (artifacts / "model").mkdir(parents=True)
    (artifacts / "x.txt").write_text("hello")
    (artifacts / "model" / "MLmodel").write_text("flavors: {}")
    return folder


def make_mlruns(folder: Path) -> Path:
    """An `mlruns` folder as MLflow's file store lays it out."""
    experiment = folder / "mlruns" / "15"
    run = experiment / RUN
    for part in ("metrics/val", "params", "tags", "artifacts"):
        (run / part).mkdir(parents=True)
    (experiment / "meta.yaml").write_text(
        "artifact_location: file:///old/mlruns/15\nlifecycle_stage: active\nname: it's\n"
    )
    (run / "meta.yaml").write_text(
        f"artifact_uri: file:///old/mlruns/15/{RUN}/artifacts\nend_time: 1700000060000\nexperiment_id: '15'\n"
        f"lifecycle_stage: active\nrun_id: {RUN}\nrun_name: 'run ''0'''\nstart_time: 1700000000000\n"
        "status: 3\ntags: []\n"
    )
    (run / "metrics" / "loss").write_text("1700000000100 1.0 0\n1700000000200 0.5 1\n1700000000300 9.0 1\n")
    (run / "metrics" / "val" / "acc").write_text("1700000000100 nan 0\n1700000000200 inf 1\n")
    (run / "params" / "lr").write_text("0.1")
    (run / "params" / "opt").write_text("adam")
    (run / "tags" / "team").write_text("a")
    (run / "tags" / "mlflow.note.content").write_text("a note")
    (run / "artifacts" / "x.txt").write_text("hello")
    return folder


@pytest.mark.parametrize("make", [make_mlflow_sqlite, make_mlruns])
def test_an_mlflow_store_comes_over_whole_and_only_once(tracking, tmp_path, make):
    source = make(tmp_path / "store")
    report = tracking.import_mlflow(source)
    assert report.n_points_dropped == 1
    run = tracking.get_run(report.run_ids[RUN])
    assert run.params == {"lr": "0.1", "opt": "adam"}
    assert run.metrics["loss"] == 9.0, "of two values at one step the last is kept"
    assert run.metrics["val/acc"] == math.inf
    assert math.isnan(tracking.metric_history(run.run_id, "val/acc")["value"].iloc[0])
    assert (run.status, run.note, run.duration_seconds) == ("finished", "a note", 60.0)
    assert run.tags["team"] == "a"
    assert tracking.load_artifact(run.run_id, "x.txt") == b"hello", "found beside the store that was moved"
    assert len(tracking.search_runs("params.lr < 0.2 and metrics.loss > 5")) == 1
    again = tracking.import_mlflow(source)
    assert (again.n_runs_new, again.n_runs_known, again.n_points) == (0, report.n_runs_new, 0)
    assert again.run_ids == report.run_ids


def test_the_counts_of_an_import_are_those_of_the_store(tracking, tmp_path):
    report = tracking.import_mlflow(f"sqlite:///{make_mlflow_sqlite(tmp_path / 'store') / 'mlflow.db'}")
    assert (report.n_runs_found, report.n_runs_new) == (2, 2)
    assert (report.n_params, report.n_metrics, report.n_points, report.n_tags, report.n_artifacts) == (2, 3, 5, 3, 2)
    assert any("1 runs are deleted" in problem for problem in report.problems)
    assert any("'churn/first' is named 'churn-first'" in problem for problem in report.problems)
    child = tracking.get_run(report.run_ids[CHILD])
    assert child.parent_run_id == report.run_ids[RUN]
    assert child.status == "killed", "a run that MLflow still calls running"


def test_registered_versions_are_read_for_the_registry(tmp_path):
    source = make_mlflow_sqlite(tmp_path / "store")
    (version,) = read_registered_versions(source)
    assert (version.name, version.version, version.stage, version.run_id) == ("churn", 1, "Production", RUN)
    assert version.folder == source / "mlruns" / "1" / RUN / "artifacts" / "model"


def test_artifacts_outside_the_store_are_refused_and_the_others_come(tracking, tmp_path):
    folder = make_mlruns(tmp_path / "store")
    bad = folder / "mlruns" / "15" / CHILD
    shutil.copytree(folder / "mlruns" / "15" / RUN, bad)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    meta = (bad / "meta.yaml").read_text().replace(RUN, CHILD)
    for uri in ("file:///etc", f"file://{outside}", f"{folder}/mlruns/../../outside", "s3://bucket/x"):
        (bad / "meta.yaml").write_text(meta.replace(f"file:///old/mlruns/15/{CHILD}/artifacts", uri))
        report = tracking.import_mlflow(folder)
        assert set(report.run_ids) == {RUN}, uri
        assert any(CHILD in problem and "artifact" in problem for problem in report.problems), uri
    (bad / "meta.yaml").write_text(meta.replace(f"file:///old/mlruns/15/{CHILD}/artifacts", f"file://{outside}"))
    allowed = tracking.import_mlflow(folder, artifact_root=outside.parent)
    assert tracking.load_artifact(allowed.run_ids[CHILD], "secret.txt") == b"secret"


@pytest.mark.parametrize(
    "change",
    [
        lambda run: (run / "meta.yaml").write_text("run_name: !!python/object/apply:os.system ['touch pwned']\n"),
        lambda run: (run / "meta.yaml").write_text("a: &a [x]\nb: *a\n"),
        lambda run: ((run / "params" / "lr").unlink(), (run / "params" / "lr").symlink_to("/etc/passwd")),
        lambda run: (run / "metrics" / "loss").write_text("not a number\n"),
        lambda run: (run / "artifacts" / "l").symlink_to("/etc/passwd"),
    ],
)
def test_a_broken_or_hostile_run_is_left_out_with_its_reason(tracking, tmp_path, change):
    folder = make_mlruns(tmp_path / "store")
    good = folder / "mlruns" / "15" / CHILD
    shutil.copytree(folder / "mlruns" / "15" / RUN, good)
    (good / "meta.yaml").write_text((good / "meta.yaml").read_text().replace(RUN, CHILD))
    change(folder / "mlruns" / "15" / RUN)
    report = tracking.import_mlflow(folder)
    assert set(report.run_ids) == {CHILD}
    assert len(report.problems) == 1
    assert RUN in report.problems[0]
    assert "root:" not in str(report.problems)


@pytest.mark.parametrize("content", [b"", b"not a database" * 10, b"SQLite format 3\x00" + b"x" * 200])
def test_what_is_no_mlflow_store_is_said_to_be_none(tracking, tmp_path, content):
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(ValueError):
        tracking.import_mlflow(tmp_path / "x.db")
    with pytest.raises(FileNotFoundError):
        tracking.import_mlflow(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no MLflow store"):
        tracking.import_mlflow(tmp_path / "empty")


# -- files ---------------------------------------------------------------------------------------------


def make_runs(tracking: ExperimentTracking) -> str:
    with tracking.run("e", "first", params={"lr": 0.1, "n": 3, "text": "=1+1", "nested": {"a": [1, math.nan]}}) as run:
        run.log({"loss": [1.0, math.nan, math.inf]}, step=[0, 1, -5])
        run.set_tags({"team": "@x", "plain": "-2.5"})
        run.set_note('=HYPERLINK("http://evil","x")')
        with run.run("child") as child:
            child.log({"m": -2.5})
    return run.run_id


def test_json_lines_bring_everything_back(tracking, tmp_path):
    run_id = make_runs(tracking)
    assert tracking.export_runs(tmp_path / "runs.jsonl") == 2
    other = ExperimentTracking(tmp_path / "other.db", capture_environment=False)
    report = other.import_json_lines(tmp_path / "runs.jsonl")
    assert (report.n_runs_new, report.problems) == (2, ())
    before, after = tracking.get_run(run_id), other.get_run(report.run_ids[run_id])
    assert str(after.params) == str(before.params)
    assert after.tags == before.tags
    assert (after.name, after.note, after.status, after.started_at) == (
        before.name,
        before.note,
        before.status,
        before.started_at,
    )
    columns = ["metric", "step", "at", "value"]
    pd.testing.assert_frame_equal(
        tracking.metric_history(run_id, "loss")[columns], other.metric_history(after.run_id, "loss")[columns]
    )
    assert other.search_runs("name = 'child'")["parent_run_id"].tolist() == [after.run_id]
    assert other.import_json_lines(tmp_path / "runs.jsonl").n_runs_new == 0


def test_text_in_csv_is_no_formula_and_comes_back(tracking, tmp_path):
    run_id = make_runs(tracking)
    tracking.export_runs(tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = {row["run_id"]: row for row in csv.DictReader(file)}
    cells = [cell for row in rows.values() for cell in row.values()]
    assert not [cell for cell in cells if cell[:1] in "=@+" and cell]
    assert rows[run_id]["note"].startswith("'=HYPERLINK")
    assert "-2.5" in cells, "numbers stay numbers"
    other = ExperimentTracking(tmp_path / "other.db", capture_environment=False)
    report = other.import_csv(tmp_path / "runs.csv")
    run = other.get_run(report.run_ids[run_id])
    assert run.params["text"] == "=1+1"
    assert run.params["lr"] == 0.1
    assert run.tags == {"team": "@x", "plain": "-2.5"}
    assert run.note == '=HYPERLINK("http://evil","x")'
    assert other.import_csv(tmp_path / "runs.csv").n_runs_new == 0


def test_parquet_and_json_exports_hold_the_runs(tracking, tmp_path):
    run_id = make_runs(tracking)
    assert tracking.export_runs(tmp_path / "runs.parquet") == 2
    frame = pd.read_parquet(tmp_path / "runs.parquet")
    assert set(frame["name"]) == {"first", "child"}
    assert tracking.export_runs(tmp_path / "runs.json", filter="name = 'first'") == 1
    (found,) = json.loads((tmp_path / "runs.json").read_text())
    assert found["run_id"] == run_id
    assert tracking.export_history(tmp_path / "history.csv", run_id, "loss") == 3
    with pytest.raises(ValueError, match="format"):
        tracking.export_runs(tmp_path / "runs.exe")


def test_a_table_of_steps_becomes_runs(tracking, tmp_path):
    (tmp_path / "log.csv").write_text("run,epoch,loss,acc,comment\na,0,1.0,0.5,hi\na,1,0.5,nan,\nb,0,2.0,0.1,\n")
    report = tracking.import_csv(tmp_path / "log.csv", experiment="training")
    assert (report.n_runs_new, report.n_points) == (2, 6)
    assert report.problems == ("column 'comment': 1 values are no numbers and were left out",)
    assert tracking.metric_history(report.run_ids["a"], "loss")["value"].tolist() == [1.0, 0.5]
    (tmp_path / "log.jsonl").write_text('{"step": 0, "loss": 3}\n{"step": 1, "loss": 2}\nnot json\n[1]\n')
    lines = tracking.import_json_lines(tmp_path / "log.jsonl", experiment="training")
    assert (lines.n_points, len(lines.problems)) == (2, 2)
    assert len(tracking.search_runs(experiment="training")) == 3


def test_a_file_that_is_no_text_is_refused(tracking, tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ValueError):
        tracking.import_csv(tmp_path / "x.csv")
    (tmp_path / "x.jsonl").write_bytes(b'{"a":"\xff"}')
    with pytest.raises(ValueError):
        tracking.import_json_lines(tmp_path / "x.jsonl")
    assert len(tracking.search_runs()) == 0
