"""A store on a file system that is mounted read-only: it is read, and says clearly what it cannot do."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

import db
from db import Database, StorageError
from experiment_tracking import ExperimentTracking
from model_registry import ModelRegistryManager
from tests.test_migrations import make_store


@pytest.fixture
def disk(mount_disk: Callable[[str], Path]) -> Path:
    return mount_disk("32m")


@pytest.fixture
def freeze(disk: Path) -> Callable[[], None]:
    return lambda: subprocess.run(["mount", "-o", "remount,ro", disk], check=True) and None


def test_a_store_on_a_read_only_disk_is_read_and_refuses_to_be_written(disk, freeze, monkeypatch):
    monkeypatch.setattr("tracking_parts.history.READ_WHOLE", 500)  # the history below is a long one
    database = Database(disk / "modeldesk.db")
    ModelRegistryManager(database).register_model({"a": 1}, "m", "1.0.0", stage="Production")
    tracking = ExperimentTracking(database)
    run_id = tracking.start_run("e", params={"lr": 0.1})
    for step in range(1000):
        tracking.log_metrics(run_id, {"loss": 1.0 / (step + 1)}, step=step)
    with database.write() as session:
        session.execute(sa.text("DELETE FROM metric_blocks"))  # as an older version left a long history
    with database.write() as session:  # a run that a dead process left open: readers would mark it as killed
        session.execute(sa.text("UPDATE runs SET process = 'elsewhere', heartbeat_at = 0"))
    tracking._keeper.let_go()
    database.close()
    freeze()

    fixed = Database(disk / "modeldesk.db")
    assert fixed.is_read_only
    registry, tracking = ModelRegistryManager(fixed), ExperimentTracking(fixed)
    assert registry.load_model("m") == {"a": 1}
    assert registry.verify() == []
    assert tracking.get_run(run_id).params == {"lr": 0.1}
    assert tracking.search_runs()["params.lr"].tolist() == [0.1]
    history = tracking.metric_history(run_id, "loss", max_points=100)
    assert 3 <= len(history) <= 100
    assert (history["value"].iloc[0], history["value"].iloc[-1]) == (1.0, 1.0 / 1000)
    assert fixed.check_integrity() == []
    with pytest.raises(StorageError, match="read-only"):
        registry.transition_stage("m", "1.0.0", "Archived")
    with pytest.raises(StorageError, match="Read-only"):
        registry.register_model({"a": 2}, "m")
    with pytest.raises(StorageError, match="read-only"):
        tracking.log_metrics(run_id, {"loss": 1.0})
    fixed.close()
    assert sorted(path.name for path in disk.iterdir()) == ["artifacts", "modeldesk.db"]


def test_an_older_store_on_a_read_only_disk_is_refused_with_the_remedy(disk, freeze):
    make_store(f"sqlite:///{disk}/modeldesk.db", db.REVISIONS[0]).dispose()
    freeze()
    with pytest.raises(StorageError, match="read-only file system.*copy the store"):
        Database(disk / "modeldesk.db")


def test_a_store_whose_log_was_not_taken_over_is_never_read_without_it(disk, freeze, tmp_path):
    database = Database(tmp_path / "modeldesk.db")
    ModelRegistryManager(database).register_model({"a": 1}, "m", "1.0.0")
    for name in ("modeldesk.db", "modeldesk.db-wal"):  # as a copy of the files of a living store
        shutil.copy(tmp_path / name, disk / name)
    assert (disk / "modeldesk.db-wal").stat().st_size
    freeze()
    with pytest.raises(StorageError, match="nothing may be written in its folder.*copy the store"):
        Database(disk / "modeldesk.db")
