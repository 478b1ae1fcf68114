"""What is kept of a version: all that was given, models, files and folders as they were, and damage is found."""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest

from db import (
    ArtifactError,
    NotFoundError,
    StateError,
    StorageError,
)
from model_registry import (
    DependencyMismatchWarning,
    ModelStage,
    ModelType,
)
from tests.registry_support import add, make_run, rows, stored

# -- what is kept of a version -------------------------------------------------------------------------------


def test_everything_given_comes_back(registry):
    model_id = add(
        registry,
        model_type=ModelType.REGRESSOR,
        performance_metrics={"rmse": 0.25, "nan": math.nan, "inf": -math.inf, "np": np.float32(0.5), "zero": -0.0},
        hyperparameters={"layers": [1, 2], "lr": np.float64(0.1), "inf": math.inf, "big": 2**70, "none": None},
        tags={"team": "risk", "a.b": "x' OR 1=1 --", "=1+1": "{{7*7}}"},
        description="**bold** <script>",
        dependencies=["mylib==1.2", "other>=3"],
        owner="grace",
        data_fingerprint="abc",
    )
    found = registry.get_version("churn", "1.0.0")
    assert found.model_id == model_id
    assert found.model_type is ModelType.REGRESSOR
    assert found.stage is ModelStage.DEVELOPMENT
    metrics = found.performance_metrics
    assert (metrics["rmse"], metrics["inf"], metrics["np"]) == (0.25, -math.inf, 0.5)
    assert math.isnan(metrics["nan"])
    assert math.copysign(1, metrics["zero"]) == -1
    assert found.hyperparameters == {"layers": [1, 2], "lr": 0.1, "inf": math.inf, "big": 2**70, "none": None}
    assert found.tags == {"team": "risk", "a.b": "x' OR 1=1 --", "=1+1": "{{7*7}}"}
    assert found.description == "**bold** <script>"
    assert found.dependencies == {"mylib": "1.2", "other": ">=3"}
    assert (found.owner, found.created_by, found.origin, found.serializer) == ("grace", "ada", "object", "joblib")
    assert found.data_fingerprint == "abc"
    json.dumps(found.to_dict(), allow_nan=False)
    assert "&lt;" not in found.version
    assert "churn 1.0.0" in found._repr_html_()


def test_environment_dependencies_and_signature_are_captured(registry):
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_iris(as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(data.data, data.target)
    registry.register_model(model, "iris", "1.0.0", input_example=data.data.head(3))
    found = registry.get_version("iris", "1.0.0")
    assert found.dependencies["scikit-learn"] == __import__("sklearn").__version__
    assert found.dependencies["numpy"] == np.__version__
    assert found.environment["class"] == "sklearn.pipeline.Pipeline"
    assert found.environment["local_modules"] == []
    assert found.signature["inputs"][0] == {"name": "sepal length (cm)", "dtype": "float64"}
    assert found.signature["output"]["kind"] == "class"
    assert found.signature["output"]["n_classes"] == 3
    loaded = registry.load_model("iris")
    assert (loaded.predict(data.data) == model.predict(data.data)).all()


def test_a_run_that_exists_is_linked_and_one_that_does_not_is_refused(registry, database):
    before = rows(database)
    with pytest.raises(NotFoundError, match="no run"):
        add(registry, run_id="nosuch")
    assert rows(database) == before
    assert stored(database) == []
    run_id = make_run(database)
    add(registry, run_id=run_id)
    assert registry.get_version("churn", "1.0.0").run_id == run_id
    assert registry.search(run_id=run_id)["version"].tolist() == ["1.0.0"]


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "a/b"},
        {"name": ""},
        {"model_type": "oracle"},
        {"stage": "Live"},
        {"performance_metrics": {"a": "0.9"}},
        {"performance_metrics": {"": 1.0}},
        {"performance_metrics": [1.0]},
        {"performance_metrics": []},
        {"tags": ""},
        {"hyperparameters": {"f": object()}},
        {"hyperparameters": {1: "a", "1": "b"}},
        {"tags": {"a": 1}},
        {"description": "a\x00b"},
        {"dependencies": "numpy"},
        {"serializer": "yaml"},
        {"serializer": "file"},
        {"version": 1.0},
        {"input_example": []},
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", str(value)),
)
def test_a_bad_argument_is_refused_before_anything_is_written(settings, sqlite_registry, sqlite_database):
    with pytest.raises((ValueError, TypeError)):
        add(sqlite_registry, **settings)
    assert not any(rows(sqlite_database).values())
    assert stored(sqlite_database) == []


def test_what_cannot_be_serialized_is_refused_with_the_remedy(registry, database):
    with pytest.raises(TypeError, match="cloudpickle"):
        registry.register_model(lambda x: x, "f", "1.0.0")
    assert not any(rows(database).values())
    assert stored(database) == []
    registry.register_model(lambda x: x + 1, "f", "1.0.0", serializer="cloudpickle")
    assert registry.load_model("f")(1) == 2


@pytest.mark.parametrize("serializer", ["joblib", "pickle", "cloudpickle", "skops"])
def test_each_serializer_brings_the_model_back(serializer, sqlite_registry):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
    sqlite_registry.register_model(model, "line", "1.0.0", serializer=serializer)
    assert sqlite_registry.load_model("line").predict([[2.0]]) == pytest.approx([4.0])
    assert sqlite_registry.get_version("line").serializer == serializer


def test_an_onnx_model_is_kept_byte_by_byte(sqlite_registry, tmp_path):
    class Proto:
        def SerializeToString(self) -> bytes:
            return b"\x08\x07onnx"

    sqlite_registry.register_model(Proto(), "net", "1.0.0", serializer="onnx")
    (path,) = sqlite_registry.copy_files("net", "1.0.0", tmp_path / "out")
    assert (path.name, path.read_bytes()) == ("model.onnx", b"\x08\x07onnx")
    assert sqlite_registry.inspect_artifact("net").executes_code is False


# -- files and folders ---------------------------------------------------------------------------------------


def test_a_file_and_a_folder_are_kept_as_they_are(registry, tmp_path):
    (tmp_path / "rules.txt").write_bytes(b"if x then y")
    folder = tmp_path / "bundle"
    (folder / "w").mkdir(parents=True)
    (folder / "w" / "a.bin").write_bytes(b"a")
    (folder / "config.json").write_bytes(b"{}")
    registry.register_file(tmp_path / "rules.txt", "rules", "1.0.0")
    registry.register_file(folder, "bundle", "1.0.0")
    assert registry.load_model("rules") == b"if x then y"
    assert registry.load_model("bundle") == {"config.json": b"{}", "w/a.bin": b"a"}
    copied = registry.copy_files("bundle", "1.0.0", tmp_path / "out")
    assert sorted(path.relative_to(tmp_path / "out").as_posix() for path in copied) == ["config.json", "w/a.bin"]
    with pytest.raises(FileExistsError):
        registry.copy_files("bundle", "1.0.0", tmp_path / "out")


class Payload:
    """A pickle that would create a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_foreign_pickle_is_never_run_without_consent(registry, tmp_path):
    pwned = tmp_path / "pwned"
    joblib.dump({"a": np.arange(5), "z": Payload(pwned)}, tmp_path / "evil.joblib")
    registry.register_file(tmp_path / "evil.joblib", "evil", "1.0.0")
    registry.register_model({}, "evil", "0.9.0")
    inspection = registry.inspect_artifact("evil", "1.0.0")
    assert "system" in {found.name for found in inspection.imports}
    assert inspection.executes_code
    assert not any("safe" in note and "no proof" not in note for note in inspection.notes)
    registry.compare_models("evil", "0.9.0", "1.0.0")
    registry.search()
    registry.model_card("evil", "1.0.0")
    registry.verify()
    with pytest.raises(ArtifactError, match="allow_untrusted"):
        registry.load_model("evil", "1.0.0")
    assert not pwned.exists()


def test_skops_loads_only_trusted_types(sqlite_registry):
    from sklearn.preprocessing import FunctionTransformer

    model = FunctionTransformer(np.log1p)
    sqlite_registry.register_model(model, "log", "1.0.0", serializer="skops")
    sqlite_registry.register_model(Oddity(), "odd", "1.0.0", serializer="skops")
    with pytest.raises(ArtifactError, match="not trusted"):
        sqlite_registry.load_model("odd")
    inspection = sqlite_registry.inspect_artifact("odd")
    assert "Oddity" in {found.name for found in inspection.imports}
    trusted = [str(found) for found in inspection.imports]
    assert isinstance(sqlite_registry.load_model("odd", trusted_types=trusted), Oddity)


class Oddity:
    """A type that skops does not know."""


# -- integrity -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "size"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"), "content"),
    ],
    ids=["missing", "truncated", "altered"],
)
def test_damage_is_found_names_the_version_and_is_not_unpickled(damage, kind, registry, database, monkeypatch):
    add(registry, "1.0.0")
    add(registry, "1.1.0")
    sha256 = registry.get_version("churn", "1.0.0").sha256
    damage(Path(database.artifact_url) / "sha256" / sha256)
    problems = registry.verify()
    assert [(p.name, p.version, p.kind) for p in problems] == [("churn", "1.0.0", kind)]
    monkeypatch.setattr(joblib, "load", lambda *_: pytest.fail("unpickled"))
    for read in (registry.load_model, registry.inspect_artifact):
        with pytest.raises(ArtifactError, match=r"churn 1\.0\.0"):
            read("churn", "1.0.0")
    monkeypatch.undo()
    assert registry.load_model("churn", "1.1.0")["of"] == "1.1.0"


def test_identical_models_share_their_bytes_and_the_last_one_frees_them(registry, database):
    registry.register_model({"w": 1}, "a", "1.0.0")
    registry.register_model({"w": 1}, "b", "1.0.0")
    assert len(stored(database)) == 1
    assert registry.delete_version("a", "1.0.0", purge=True) == 0
    assert registry.load_model("b") == {"w": 1}
    size = registry.get_version("b").size_bytes
    registry.delete_version("b", "1.0.0")
    assert registry.verify() == []
    report = registry.collect_garbage()
    assert (report.freed_bytes, report.purged) == (size, (("b", "1.0.0"),))
    assert stored(database) == []


def test_a_deleted_version_can_be_restored_until_its_bytes_are_given_back(registry):
    add(registry, "1.0.0", stage="Staging")
    registry.delete_version("churn", "1.0.0", reason="mistake")
    with pytest.raises(NotFoundError, match="restore_version"):
        registry.get_version("churn", "1.0.0")
    assert registry.list_versions("churn") == []
    assert [v.version for v in registry.list_versions("churn", include_deleted=True)] == ["1.0.0"]
    assert registry.collect_garbage(dry_run=True).purged == (("churn", "1.0.0"),)
    assert registry.restore_version("churn", "1.0.0").stage is ModelStage.ARCHIVED
    assert registry.load_model("churn", "1.0.0")["of"] == "1.0.0"
    with pytest.raises(StateError, match="not deleted"):
        registry.restore_version("churn", "1.0.0")
    registry.delete_version("churn", "1.0.0")
    registry.collect_garbage()
    with pytest.raises(StateError, match="given back"):
        registry.restore_version("churn", "1.0.0")
    assert [event.kind for event in registry.stage_history("churn")] == ["register", "delete", "restore", "delete"]


def test_production_and_aliased_versions_are_not_deleted_by_accident(registry):
    add(registry, "1.0.0", stage="Production")
    with pytest.raises(StateError, match="allow_production"):
        registry.delete_version("churn", "1.0.0")
    registry.set_alias("churn", "champion", "1.0.0")
    with pytest.raises(StateError, match="champion"):
        registry.delete_version("churn", "1.0.0", allow_production=True)
    registry.delete_alias("churn", "champion")
    registry.delete_version("churn", "1.0.0", allow_production=True)
    with pytest.raises(NotFoundError, match="Production"):
        registry.get_production("churn")


def test_a_failed_registration_leaves_no_row_and_no_file(registry, database, monkeypatch):
    add(registry, "1.0.0")
    before, files = rows(database), stored(database)
    monkeypatch.setattr(
        "registry_parts.registration.insert_all", lambda *_: (_ for _ in ()).throw(RuntimeError("broken"))
    )
    with pytest.raises(RuntimeError, match="broken"):
        add(registry, "2.0.0")
    assert rows(database) == before
    assert stored(database) == files


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(sqlite_registry, sqlite_database, monkeypatch):
    import errno

    import artifacts

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    add(sqlite_registry, "1.0.0")
    before, files = rows(sqlite_database), stored(sqlite_database)
    monkeypatch.setattr(artifacts.os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        add(sqlite_registry, "2.0.0")
    monkeypatch.undo()
    assert rows(sqlite_database) == before
    assert stored(sqlite_database) == files


def test_a_loader_says_which_package_differs(sqlite_registry, sqlite_database):
    add(sqlite_registry, dependencies={"numpy": "0.0.1", "no-such-package": "3.1"})
    with pytest.warns(DependencyMismatchWarning, match=r"numpy is .*0\.0\.1.*no-such-package 3\.1 is not installed"):
        sqlite_registry.load_model("churn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sqlite_registry.load_model("churn", check_dependencies=False)
