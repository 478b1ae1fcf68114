"""The story is told to its end on both databases, can be loaded twice and removed; script and notebook run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ab_testing import ABTestingFramework
from db import Database
from examples import story
from experiment_tracking import ExperimentTracking
from model_monitoring import ModelMonitoring
from model_registry import ModelRegistryManager

ROOT = Path(__file__).resolve().parent.parent


def test_the_scans_are_real_and_never_overlap() -> None:
    training, validation, held_out = story.load_scans()
    assert len(training) + len(validation) + len(held_out) == 1797, "the size of the bundled set"
    rows = np.concatenate([training.pixels, validation.pixels, held_out.pixels])
    again = np.concatenate([scans.pixels for scans in story.load_scans()])
    assert np.array_equal(rows, again)
    seen = {row.tobytes() for row in training.pixels}
    assert not any(row.tobytes() in seen for row in held_out.pixels)


def test_a_slipped_scanner_moves_the_ink_to_the_right() -> None:
    _, _, held_out = story.load_scans()
    straight, slipped = story.describe_scans(held_out), story.describe_scans(held_out.slipped())
    assert list(straight.columns) == list(story.FEATURES)
    assert slipped["left_ink"].mean() < straight["left_ink"].mean()
    assert slipped["ink"].mean() < straight["ink"].mean()


@pytest.fixture
def told_database(told_example: tuple[Path, story.Story], tmp_path: Path) -> Iterator[Database]:
    """A SQLite store in which the story was told."""
    database = Database(Path(shutil.copytree(told_example[0], tmp_path / "told")) / "modeldesk.db")
    yield database
    database.close()


def test_every_chapter_of_the_story_is_on_record(
    told_database: Database, told_example: tuple[Path, story.Story]
) -> None:
    check_chapters(told_database, told_example[1])


@pytest.mark.slow
def test_every_chapter_is_on_record_in_a_postgresql_store(postgres_url: str, tmp_path: Path) -> None:
    database = Database(postgres_url, artifact_url=str(tmp_path / "artifacts"))
    check_chapters(database, story.load_example_data(database))
    database.close()


def check_chapters(database: Database, told: story.Story) -> None:
    tracking, registry = ExperimentTracking(database), ModelRegistryManager(database)

    runs = tracking.search_runs("tags.example = 'true'")
    assert len(runs) == len(told.run_ids) == len(story.CONFIGURATIONS)
    assert len(tracking.metric_history(told.run_ids, "accuracy")) == story.STEPS * len(told.run_ids)

    baseline, treatment = (registry.get_version(story.MODEL, version) for version in told.versions)
    assert {baseline.run_id, treatment.run_id} <= set(told.run_ids), "each version names the run that made it"
    analysis = ABTestingFramework(database).analyze_experiment(told.exp_id)
    assert analysis.is_significant
    assert analysis.effect > 0
    assert told.decision == analysis.decision == "ship"

    assert registry.get_production(story.MODEL).version == told.production == told.versions[1]
    promotion = next(event for event in registry.stage_history(story.MODEL) if told.exp_id in str(event.evidence))
    assert promotion.version == told.versions[1], "the promotion names the test that justified it"

    monitoring = ModelMonitoring(database)
    assert monitoring.detect_performance_drift(story.MODEL, told.production, "accuracy", lookback_days=7).drift_detected
    assert len(told.alarms) >= 3, "most of the days with shifted scans raise an alarm"
    assert {"left_ink", "ink"} <= set(told.drifted), "what the slip changed is found"
    alerts = monitoring.list_alerts(story.MODEL, told.production)
    assert {"accuracy", "left_ink"} <= {alert.subject for alert in alerts if alert.status == "open"}

    performance = monitoring.prediction_performance(story.MODEL, told.production)
    assert performance.total.n == (story.GOOD_DAYS + story.SHIFTED_DAYS) * story.SCANS_A_DAY
    assert performance.total.n_labelled == performance.total.n - story.UNCHECKED_DAYS * story.SCANS_A_DAY


def test_what_was_loaded_reads_digits(told_database: Database, told_example: tuple[Path, story.Story]) -> None:
    told = told_example[1]
    model = ModelRegistryManager(told_database).load_model(story.MODEL, told.production)
    _, _, held_out = story.load_scans()
    assert np.mean(model.predict(held_out.pixels) == held_out.digits) > 0.9


def test_loading_twice_changes_nothing(told_database: Database, told_example: tuple[Path, story.Story]) -> None:
    assert story.load_example_data(told_database) == told_example[1]
    assert len(ExperimentTracking(told_database).search_runs()) == len(story.CONFIGURATIONS)


@pytest.mark.slow
def test_what_was_loaded_can_be_removed_and_loaded_again(database: Database) -> None:
    tracking, registry = ExperimentTracking(database), ModelRegistryManager(database)
    own_run = tracking.start_run("mine", "a run of my own")
    tracking.end_run(own_run)
    registry.register_model({"weights": [1.0]}, "mine", "1.0.0")

    story.load_example_data(database)
    story.remove_example_data(database)
    assert tracking.search_runs()["run_id"].tolist() == [own_run], "what is not the example's stays"
    assert registry.list_versions(story.MODEL) == []
    assert [version.version for version in registry.list_versions("mine")] == ["1.0.0"]
    assert ABTestingFramework(database).list_experiments() == []

    again = story.load_example_data(database)
    assert again.decision == "ship"
    assert registry.get_production(story.MODEL).version == again.versions[1]


def test_removing_what_is_not_there_is_no_error(sqlite_database: Database) -> None:
    story.remove_example_data(sqlite_database)
    assert ModelRegistryManager(sqlite_database).list_models() == []


@pytest.mark.slow
def test_a_load_that_was_interrupted_is_begun_anew(sqlite_database: Database) -> None:
    def interrupt(line: str) -> None:
        if "registered in Staging" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        story.load_example_data(sqlite_database, interrupt)
    told = story.load_example_data(sqlite_database)
    assert len(ExperimentTracking(sqlite_database).search_runs()) == len(told.run_ids)
    assert len(ABTestingFramework(sqlite_database).list_experiments()) == 1


def test_a_model_of_that_name_that_is_not_the_example_is_left_alone(sqlite_database: Database) -> None:
    registry = ModelRegistryManager(sqlite_database)
    registry.register_model({"weights": [1.0]}, story.MODEL, "1.0.0")
    with pytest.raises(story.DuplicateError, match="digit-reader"):
        story.load_example_data(sqlite_database)
    story.remove_example_data(sqlite_database)
    assert [version.version for version in registry.list_versions(story.MODEL)] == ["1.0.0"]
    assert len(ExperimentTracking(sqlite_database).search_runs()) == 0


@pytest.mark.slow
def test_the_script_runs_from_a_clone_and_says_what_happened(tmp_path: Path) -> None:
    store = tmp_path / "store" / "story.db"
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "end_to_end.py"), "--store", str(store)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for chapter in ("validation scans read right", "is registered in", "A/B test on", "is in Production", "drifted"):
        assert chapter in done.stdout
    assert re.search(r"alarm on [3-7] of the last 7", done.stdout)
    assert store.exists()


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "committed without outputs"
    NotebookClient(notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in shown if output.output_type == "error"]
    assert sum("text/html" in output.get("data", {}) for output in shown) >= 3, "results show themselves as tables"
    assert any("plotly" in kind for output in shown for kind in output.get("data", {}))
