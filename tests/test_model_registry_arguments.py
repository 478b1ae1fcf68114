"""Odd arguments of the registry's verbs: one clear error each, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from db import ArtifactError, Database, ModelDeskError
from model_registry import ModelRegistryManager

LONG_NAME = "a" * 300  # no file system takes it
ENDLESS = 10**400  # no float holds it


@pytest.fixture
def registry(database: Database) -> ModelRegistryManager:
    registry = ModelRegistryManager(database, actor="me")
    registry.register_model({"a": 1}, "m", "1.0.0", tags={"team": "risk"})
    return registry


@pytest.mark.parametrize("tags", ["team", ["team"], None, 5])
def test_tags_that_are_no_mapping_are_refused_and_change_nothing(tags, registry):
    with pytest.raises(TypeError, match="tags must be a mapping"):
        registry.set_tags("m", "1.0.0", tags)
    assert registry.get_version("m", "1.0.0").tags == {"team": "risk"}


@pytest.mark.parametrize("version", ["v1.0.0", "1.0.0\n", "x" * 1_000_000, 1])
def test_rolling_back_from_what_is_no_version_says_so_in_one_short_line(version, registry):
    registry.transition_stage("m", "1.0.0", "Production")
    with pytest.raises((ValueError, TypeError), match="from_version") as caught:
        registry.rollback("m", from_version=version)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("grace", [-1, float("nan"), ENDLESS, "soon", None, True])
def test_a_grace_period_that_is_none_gives_up_nothing(grace, registry):
    registry.delete_version("m", "1.0.0")
    with pytest.raises((ValueError, TypeError), match="grace_seconds"):
        registry.collect_garbage(grace_seconds=grace)
    assert registry.restore_version("m", "1.0.0").version == "1.0.0"
    assert registry.load_model("m", "1.0.0") == {"a": 1}


def test_an_endless_grace_period_keeps_every_file_that_nothing_names(registry, database):
    orphan = Path(database.artifact_url) / "sha256" / ("0" * 64)
    orphan.write_bytes(b"an upload whose row is on the way")
    assert registry.collect_garbage(grace_seconds=float("inf")).removed == ()
    assert orphan.exists()


def test_a_path_that_no_file_system_takes_is_a_clear_error(registry, tmp_path):
    with pytest.raises(ArtifactError, match="cannot be read"):
        registry.register_file(tmp_path / LONG_NAME / "model.bin", "m", "2.0.0")
    with pytest.raises(ModelDeskError, match="cannot be written"):
        registry.copy_files("m", "1.0.0", tmp_path / LONG_NAME)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ModelDeskError, match="cannot be written"):
        registry.copy_files("m", "1.0.0", tmp_path / "file" / "below")
    assert [version.version for version in registry.list_versions("m")] == ["1.0.0"]
