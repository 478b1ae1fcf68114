"""The registered versions of an MLflow store become versions here, each once, naming the runs that made them."""

from __future__ import annotations

import sqlite3

import pytest

import chain
from experiment_tracking import ExperimentTracking
from model_registry import ModelRegistryManager

RUN = "a" * 32
OLD = "/home/somebody/project/mlruns"  # where the store was before it was moved


@pytest.fixture
def store(tmp_path):
    """Return a store as MLflow 3.17 writes it, with three versions of one model; the files of the third are gone."""
    folder = tmp_path / "store"
    model = folder / "mlruns" / "1" / RUN / "artifacts" / "model"
    model.mkdir(parents=True)
    (model / "weights.txt").write_text("weights")
    connection = sqlite3.connect(folder / "mlflow.db")
    connection.executescript(
        """
        CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT,
            creation_time INTEGER);
        CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time INTEGER, end_time INTEGER,
            lifecycle_stage TEXT, artifact_uri TEXT, experiment_id INTEGER);
        CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan INTEGER);
        CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
        CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
        CREATE TABLE model_versions (name TEXT, version INTEGER, current_stage TEXT, source TEXT, run_id TEXT,
            description TEXT, storage_location TEXT);
        """
    )
    uri = f"{OLD}/1/{RUN}/artifacts"
    with connection:
        connection.execute("INSERT INTO experiments VALUES (1, 'churn', ?, 'active', 0)", (f"{OLD}/1",))
        connection.execute("INSERT INTO runs VALUES (?, 'r', 'FINISHED', 1, 2, 'active', ?, 1)", (RUN, uri))
        connection.executemany(
            "INSERT INTO model_versions VALUES ('churn/eu', ?, ?, ?, ?, ?, NULL)",
            [
                (1, "Production", f"{uri}/model", RUN, "first"),
                (2, "None", f"{uri}/model", RUN, None),
                (3, "Staging", "/nowhere/at/all", "b" * 32, None),
            ],
        )
    connection.close()
    return folder


def test_registered_versions_of_mlflow_become_versions_that_name_their_runs(database, store):
    tracking, registry = ExperimentTracking(database), ModelRegistryManager(database)
    runs = chain.import_mlflow_store(tracking, str(store))
    report = chain.import_mlflow_versions(registry, str(store), runs)
    assert (report.n_found, report.n_new, report.n_known) == (3, 2, 0)
    assert len(report.problems) == 1
    assert "version 3 of 'churn/eu'" in report.problems[0]
    first, second = registry.get_version("churn-eu", "1.0.0"), registry.get_version("churn-eu", "2.0.0")
    assert (first.stage, first.description, first.run_id) == ("Production", "first", runs.run_ids[RUN])
    assert (second.stage, second.tags) == ("Development", {"mlflow_version": "2"})
    again = chain.import_mlflow_versions(registry, str(store), runs)
    assert (again.n_new, again.n_known, again.model_ids) == (0, 2, report.model_ids)


def test_registered_versions_of_a_folder_store_are_found_too(sqlite_database, tmp_path):
    runs = tmp_path / "mlruns"
    model = runs / "1" / RUN / "artifacts" / "model"
    model.mkdir(parents=True)
    (model / "weights.txt").write_text("weights")
    (runs / "1" / "meta.yaml").write_text("experiment_id: '1'\nlifecycle_stage: active\nname: churn\n")
    texts = {
        1: f"current_stage: Production\ndescription: 'it''s the first: good'\nname: reader\nrun_id: {RUN}\n",
        2: f"current_stage: Deleted_Internal\ndescription: null\nname: reader\nrun_id: {RUN}\n",
        10: f"current_stage: None\ndescription: |\n  # Card\n  of lines\nname: reader\nrun_id: {RUN}\n",
    }
    for version, text in texts.items():
        folder = runs / "models" / "reader" / f"version-{version}"
        folder.mkdir(parents=True)
        (folder / "meta.yaml").write_text(f"{text}source: file://{OLD}/1/{RUN}/artifacts/model\nversion: {version}\n")
    registry = ModelRegistryManager(sqlite_database)
    report = chain.import_mlflow_versions(registry, str(runs))
    assert report.problems == ()
    assert list(report.model_ids) == [("reader", 1), ("reader", 10)]
    assert registry.get_version("reader", "1.0.0").description == "it's the first: good"
    assert registry.get_production("reader").version == "1.0.0"
    assert chain.import_mlflow_versions(registry, str(runs)).n_new == 0
