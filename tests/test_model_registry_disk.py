"""A disk that is full, and a system that lets no file grow: one clear error, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from db import Database, StorageError
from model_registry import ModelRegistryManager

ROOT = Path(__file__).resolve().parent.parent


def files_of(database: Database) -> set[str]:
    return set(os.listdir(Path(database.artifact_url) / "sha256"))


def test_a_registry_on_a_full_disk_refuses_clearly_and_stays_whole(mount_disk):
    small_disk = mount_disk("4m")
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\x00" * 200_000)
    database = Database(small_disk / "modeldesk.db")
    registry = ModelRegistryManager(database)
    generator = np.random.default_rng(0)
    refused = set()
    for size in (40_000, 3_000, 300, 3):  # the artifact fills the disk first, then the database does
        with pytest.raises(StorageError, match="the disk is full") as caught:
            for _ in range(400):
                registry.register_model(generator.random(size), "m", hyperparameters={"note": "x" * 300})
        refused.add("artifact store" in str(caught.value))
    assert refused == {True, False}
    versions = registry.list_versions("m")
    assert len(versions) > 3
    assert files_of(database) == {version.sha256 for version in versions}
    assert registry.verify() == []
    assert database.check_integrity() == []
    ballast.unlink()
    assert registry.delete_version("m", versions[0].version, purge=True) == versions[0].size_bytes
    registry.register_model({"after": 1}, "m")
    assert registry.load_model("m") == {"after": 1}
    assert len(registry.list_versions("m")) == len(versions)


_LIMITED = """
import resource, signal, sys
import numpy as np
from db import Database, StorageError
from model_registry import ModelRegistryManager

registry = ModelRegistryManager(Database(sys.argv[1]))
registry.register_model({"small": 1}, "m", "1.0.0")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    registry.register_model(np.random.default_rng(0).random(1_000_000), "m", "2.0.0")
except StorageError as error:
    print(error)
registry.register_model({"small": 2}, "m", "1.1.0")
"""


def test_a_file_that_may_not_grow_is_one_clear_error_and_leaves_nothing(tmp_path):
    path = tmp_path / "modeldesk.db"
    ended = subprocess.run([sys.executable, "-c", _LIMITED, path], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert str(tmp_path / "artifacts") in ended.stdout
    assert "cannot be written" in ended.stdout
    database = Database(path)
    versions = ModelRegistryManager(database).list_versions("m")
    assert [version.version for version in versions] == ["1.0.0", "1.1.0"]
    assert files_of(database) == {version.sha256 for version in versions}
