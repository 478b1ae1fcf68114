"""Every serializer with a real model of its kind: stored, inspected without running it, loaded and used."""

from __future__ import annotations

import gc
import io
import mmap
import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest

from artifact_backends import HUGE_PAGE_BYTES
from db import ArtifactError, Database
from model_registry import ModelRegistryManager
from registry_parts.inspection import inspect_files, list_pickle_imports

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def registry(sqlite_database) -> ModelRegistryManager:
    return ModelRegistryManager(sqlite_database)


# -- ONNX ----------------------------------------------------------------------------------------------------


def onnx_model(*, domain: str = "", external: str | None = None):
    """Return y = x @ w + b as a graph of two operators."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = numpy_helper.from_array(np.array([[2.0], [3.0]], dtype=np.float32), "w")
    if external is not None:
        onnx.external_data_helper.set_external_data(weights, location=external)
        weights.ClearField("raw_data")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["xw"]),
            helper.make_node("Add", ["xw", "b"], ["y"], domain=domain),
        ],
        "line",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 1])],
        [weights, numpy_helper.from_array(np.array([1.0], dtype=np.float32), "b")],
    )
    sets = [helper.make_opsetid("", 17)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=sets, ir_version=8)


@pytest.mark.parametrize("way", ["proto", "bytes", "file"])
def test_an_onnx_model_comes_back_and_computes_the_same(way, registry, tmp_path):
    model = onnx_model()
    from onnx import checker
    from onnx.reference import ReferenceEvaluator

    if way == "file":
        (tmp_path / "line.onnx").write_bytes(model.SerializeToString())
        registry.register_file(tmp_path / "line.onnx", "line", "1.0.0")
    else:
        given = model if way == "proto" else model.SerializeToString()
        registry.register_model(given, "line", "1.0.0", serializer="onnx")
    loaded = registry.load_model("line")  # without consent: there is no code in it
    checker.check_model(loaded, full_check=True)
    assert loaded.SerializeToString() == model.SerializeToString()
    (output,) = ReferenceEvaluator(loaded).run(None, {"x": np.array([[1.0, 10.0]], dtype=np.float32)})
    assert output.tolist() == [[33.0]]
    found = registry.inspect_artifact("line")
    assert (found.serializer, found.executes_code, found.is_complete, found.imports) == ("onnx", False, True, ())
    assert any("operator sets ai.onnx 17" in note for note in found.notes)


def test_what_an_onnx_file_needs_from_elsewhere_is_said(registry):
    foreign = onnx_model(domain="com.example.ops").SerializeToString()
    outside = onnx_model(external="../../etc/passwd").SerializeToString()
    notes = {
        name: " ".join(inspect_files("m", "1.0.0", "onnx", "file", [("m.onnx", data)]).notes)
        for name, data in (("foreign", foreign), ("outside", outside))
    }
    assert "com.example.ops need a library of their own" in notes["foreign"]
    assert "1 tensor(s) lie in other files, such as 'w'" in notes["outside"]
    registry.register_model(outside, "m", "1.0.0", serializer="onnx")
    assert registry.load_model("m").graph.initializer[0].raw_data == b""  # the file that it names was not read


def test_bytes_that_are_no_onnx_are_said_to_be_none(registry):
    onnx_model()
    registry.register_model(b"\xff\xff\xff nothing", "m", "1.0.0", serializer="onnx")
    found = registry.inspect_artifact("m")
    assert not found.is_complete
    assert "not an ONNX file" in found.notes[0]
    with pytest.raises(ArtifactError, match=r"m 1\.0\.0: the file is not an ONNX file"):
        registry.load_model("m")


# -- skops, cloudpickle, folders -----------------------------------------------------------------------------


def test_a_pipeline_travels_through_skops_without_a_pickle(registry):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows, labels = np.random.default_rng(0).random((60, 3)), np.arange(60) % 2
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    registry.register_model(model, "pipe", "1.0.0", serializer="skops", input_example=rows[:2])
    found = registry.inspect_artifact("pipe")
    assert (found.executes_code, found.is_complete, found.imports) == (False, True, ())
    assert (registry.load_model("pipe").predict_proba(rows) == model.predict_proba(rows)).all()
    assert registry.get_version("pipe").dependencies["scikit-learn"]


_NOTEBOOK = """
import sys
from db import Database
from model_registry import ModelRegistryManager

class Doubler:
    def __init__(self, factor):
        self.rule = lambda x: factor * x
    def predict(self, x):
        return self.rule(x)

registry = ModelRegistryManager(Database(sys.argv[1], artifact_url=sys.argv[2]))
registry.register_model(Doubler(2), "doubler", "1.0.0", serializer="cloudpickle")
"""


def test_a_class_of_a_notebook_travels_through_cloudpickle(registry, sqlite_database: Database):
    arguments = [str(sqlite_database.path), sqlite_database.artifact_url]
    subprocess.run([sys.executable, "-c", _NOTEBOOK, *arguments], check=True, cwd=ROOT)
    assert registry.load_model("doubler").predict(21) == 42
    version = registry.get_version("doubler")
    assert version.environment["local_modules"] == ["__main__"]
    found = registry.inspect_artifact("doubler")
    assert found.executes_code
    assert found.is_complete
    assert any(item.module.startswith("cloudpickle") for item in found.imports)


def test_a_class_of_a_notebook_that_is_not_here_is_named_with_both_remedies(registry, sqlite_database: Database):
    code = _NOTEBOOK.replace("lambda x: factor * x", "factor").replace(', serializer="cloudpickle"', "")
    subprocess.run(
        [sys.executable, "-c", code, str(sqlite_database.path), sqlite_database.artifact_url], check=True, cwd=ROOT
    )
    with pytest.raises(ArtifactError, match="Doubler.*define it here first, or register .*serializer='cloudpickle'"):
        registry.load_model("doubler")


def test_a_folder_is_inspected_file_by_file(registry, tmp_path):
    folder = tmp_path / "bundle"
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "line.onnx").write_bytes(onnx_model().SerializeToString())
    joblib.dump({"of": os.getcwd}, folder / "helper.joblib")
    (folder / "README.md").write_text("read me")
    registry.register_file(folder, "bundle", "1.0.0")
    found = registry.inspect_artifact("bundle")
    assert [path for path, _ in found.files] == ["README.md", "helper.joblib", "weights/line.onnx"]
    assert (found.executes_code, found.is_complete) == (True, True)
    assert {str(item) for item in found.imports} == {"posix.getcwd"}
    assert any(note.startswith("weights/line.onnx: ONNX IR 8") for note in found.notes)
    assert registry.load_model("bundle")["README.md"] == b"read me"


# -- joblib: arrays stay where the file was read -------------------------------------------------------------

LARGE = HUGE_PAGE_BYTES // 8 + 8  # 64-bit numbers in a file that is read into pages of its own
ARRAYS = {
    "C order": lambda: np.random.default_rng(0).random((LARGE // 10, 10)),
    "Fortran order": lambda: np.asfortranarray(np.random.default_rng(1).random((LARGE // 10, 10))),
    "three dimensions": lambda: np.arange(float(LARGE - LARGE % 8)).reshape(2, -1, 4),
    "big endian": lambda: np.arange(LARGE, dtype=">i8"),
    "records": lambda: np.array([(1, 2.5)] * LARGE, dtype=[("a", "i4"), ("b", "f8")]),
    "texts": lambda: np.array(["left", "right"] * (LARGE // 4)),
    "instants": lambda: np.arange(LARGE).astype("M8[ns]"),
    "objects": lambda: np.array([{"a": 1}, None, "text"] * 1_000, dtype=object),
    "empty": lambda: np.empty((0, 5)),
    "no dimension": lambda: np.array(5.5),
    "matrix": lambda: np.matrix(np.arange(float(LARGE))),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("kind", ARRAYS)
def test_an_array_comes_back_as_joblib_brings_it(kind, registry):
    array = ARRAYS[kind]()
    model = {"first": np.zeros(LARGE), "array": array, "again": array, "last": [1, "end"]}
    registry.register_model(model, "m", "1.0.0")
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    expected, loaded = joblib.load(file), registry.load_model("m")
    for key in ("array", "again"):
        mine, theirs = loaded[key], expected[key]
        assert type(mine) is type(theirs)
        assert (mine.dtype, mine.shape, mine.flags.c_contiguous) == (
            theirs.dtype,
            theirs.shape,
            theirs.flags.c_contiguous,
        )
        np.testing.assert_array_equal(mine, theirs)
    assert loaded["last"] == [1, "end"]
    assert loaded["array"].flags.writeable
    assert loaded["array"].flags.aligned


def test_a_loaded_array_outlives_its_file_and_changes_alone(registry, sqlite_database):
    registry.register_model({"weights": np.arange(float(LARGE)), "bias": np.ones(3)}, "m", "1.0.0")
    one, other = registry.load_model("m"), registry.load_model("m")
    path = Path(sqlite_database.artifact_url) / "sha256" / registry.get_version("m").sha256
    path.write_bytes(b"\x00" * path.stat().st_size)
    gc.collect()
    one["weights"][0] = -1.0
    assert (one["weights"][1:] == np.arange(1.0, LARGE)).all()
    assert other["weights"][0] == 0.0
    # A view of the memory that was verified, no second copy of it; small arrays do not keep all of that alive.
    assert isinstance(_owner(one["weights"]), mmap.mmap)
    assert not isinstance(_owner(one["bias"]), mmap.mmap)


def _owner(array: object) -> object:
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def test_a_compressed_joblib_file_is_loaded_as_ever(registry, tmp_path):
    weights = np.random.default_rng(0).random(LARGE * 3)
    joblib.dump(weights, tmp_path / "m.joblib", compress=("zlib", 1))
    registry.register_file(tmp_path / "m.joblib", "m", "1.0.0")
    assert (registry.load_model("m", allow_untrusted=True) == weights).all()


@pytest.mark.parametrize("name", ["m.pkl", "m.joblib", "m.skops", "m.onnx"])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no such thing",
        b"\x80\x05",
        b"\x80\x05K",
        b"i1\n",
        b"I\n.",
        b"(dp0\nS'a'\ns.",
        b"PK\x03\x04",
        b"\x78\x9c!!",
    ],
)
def test_a_file_of_another_kind_is_one_clear_error(name, data, registry, tmp_path):
    (tmp_path / name).write_bytes(data)
    registry.register_file(tmp_path / name, "m", "1.0.0")
    registry.inspect_artifact("m")
    with pytest.raises(ArtifactError, match=r"m 1\.0\.0"):
        registry.load_model("m", allow_untrusted=True)


class Refuser:
    def __setstate__(self, state):
        raise KeyError("an older layout")


def test_a_class_that_refuses_its_state_names_the_version_and_the_reason(registry):
    refuser = Refuser()
    refuser.layout = 1
    registry.register_model(refuser, "m", "1.0.0")
    with pytest.raises(ArtifactError, match=r"m 1\.0\.0 is intact, but loading it failed: KeyError: 'an older layout'"):
        registry.load_model("m")


# -- arrays whose items are records --------------------------------------------------------------------------


class Payload:
    def __reduce__(self):
        return os.system, ("true",)


def imports_of(model) -> tuple[set[str], bool]:
    file = io.BytesIO()
    joblib.dump(model, file)
    found = list_pickle_imports(file)
    return {str(item) for item in found.imports}, found.is_complete


@pytest.mark.parametrize(
    "dtype",
    [
        [("a", "f4"), ("b", "i8")],
        [("a", "f4", (2, 3)), ("b", [("c", "i2")])],
        np.dtype([("x", "i1"), ("y", "f8")], align=True),
        "V7",
    ],
)
def test_what_comes_after_an_array_of_records_is_listed(dtype):
    found, is_complete = imports_of({"x": np.zeros(1_000, dtype=dtype), "after": io.StringIO})
    assert is_complete
    assert "_io.StringIO" in found


@pytest.mark.parametrize("dtype", [[("a", "i4"), ("o", object)], [("n", [("o", object)])], [("o", object, (2,))]])
@pytest.mark.parametrize("size", [1, 1_000])
def test_an_object_inside_a_record_is_listed(dtype, size):
    array = np.empty(size, dtype=dtype)
    fields = array["n"] if "n" in array.dtype.names else array
    fields["o"][0] = Payload()
    found, is_complete = imports_of({"x": array, "after": io.StringIO})
    assert is_complete
    assert {"posix.system", "_io.StringIO"} <= found


def test_a_type_that_contradicts_itself_is_not_read_past():
    file = io.BytesIO()
    joblib.dump({"x": np.zeros(1_000, dtype=[("a", "f4")]), "after": io.StringIO}, file)
    data = file.getvalue()
    state = data.index(b"K\x04K\x01K\x10")  # item size, alignment, flags
    hostile = data[:state] + b"K\x04K\x01K\x11" + data[state + 6 :]  # says that it holds objects
    found = list_pickle_imports(io.BytesIO(hostile))
    assert not found.is_complete
    assert "contradicts itself" in str(found.reason)
