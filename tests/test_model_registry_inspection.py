"""Pickles made to look harmless: whoever steps over an array in the wrong place reads another program than is run."""

from __future__ import annotations

import io
import pickle
import struct
import sys
from types import ModuleType

import joblib
import numpy as np
import pytest

from db import Database
from model_registry import ModelRegistryManager
from registry_parts.inspection import list_pickle_imports

HIDDEN = b"cmodeldesk_trap\nspring\n)R0"  # GLOBAL, (), REDUCE, POP: imports and calls


@pytest.fixture
def sprung(monkeypatch) -> list[str]:
    """What a hidden import did; loading must show that the file under test is dangerous at all."""
    done: list[str] = []
    trap = ModuleType("modeldesk_trap")
    trap.spring = lambda: done.append("sprung")
    monkeypatch.setitem(sys.modules, "modeldesk_trap", trap)
    return done


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def dtype(name: str, settings: bytes = b"\x89\x88", state: bytes = b"") -> bytes:
    made = b"cnumpy\ndtype\n" + text(name) + settings + b"\x87R"
    return made + (b"(K\x03" + text("|") + b"NNN" + state + b"tb" if state else b"")


def array(
    n: int,
    items: bytes | None = None,
    *,
    made: bytes = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81",
    more: bytes = b"",
) -> bytes:
    """The description of an array of n items, as joblib writes it, up to its BUILD; `more` adds to its state."""
    return (
        made
        + b"}("
        + (text("subclass") + b"cnumpy\nndarray\n" + text("shape") + b"K" + bytes([n]) + b"\x85")
        + (text("order") + text("C") + text("dtype") + (items or dtype("V1")) + text("allow_mmap") + b"\x89")
        + more
        + b"ub"
    )


def framed(body: bytes) -> bytes:
    return b"\x95" + struct.pack("<Q", len(body)) + body


def swallowing(skipped: int, item: int) -> bytes:
    """What follows an array: `skipped` bytes in truth, of which a reader that skips `item` sees bytes of a constant."""
    start = b"\0" * item + (b"0" if item else b"") + b"B"
    rest = skipped - len(start) - 4
    return start + struct.pack("<I", rest + len(HIDDEN) - 1) + b"\0" * rest + HIDDEN + b"."


FORGED = {
    "a size that the text of the type hides": b"\x80\x03"
    + array(1, dtype("V1", state=b"K\x0aK\x01K\x00"))
    + swallowing(10, 1),
    "a record that is aligned": b"\x80\x03" + array(1, dtype("i1,i8", b"\x88\x88")) + swallowing(16, 9),
    "a dotted path to the class": b"\x80\x04"
    + array(6, made=text("joblib") + text("numpy_pickle.NumpyArrayWrapper") + b"\x93)\x81")
    + swallowing(6, 0),
    "a class made by another function": b"\x80\x03"
    + array(
        6,
        made=b"ccopyreg\n_reconstructor\ncjoblib.numpy_pickle\nNumpyArrayWrapper\ncbuiltins\nobject\nN\x87R",
    )
    + swallowing(6, 0),
    "a computed attribute": b"\x80\x03"
    + array(0, more=b"cbuiltins\nstr\n" + text("shape") + b"\x85RK\x06\x85")
    + swallowing(6, 0),
    "a frame over an array": b"\x80\x04" + framed(array(len(HIDDEN)) + HIDDEN) + b"." + b"N" * (len(HIDDEN) - 1) + b".",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_no_array_hides_what_follows_it(forged, sprung):
    found = list_pickle_imports(io.BytesIO(forged))
    joblib.load(io.BytesIO(forged))
    assert sprung, "the file is meant to run what it hides"
    assert not found.is_complete or "modeldesk_trap.spring" in map(str, found.imports)


def test_a_file_for_pickle_is_not_read_as_joblib_reads_it(sprung, tmp_path):
    data = b"\x80\x03" + array(len(HIDDEN)) + HIDDEN + b"."
    pickle.loads(data)
    assert sprung
    (tmp_path / "model.pkl").write_bytes(data)
    registry = ModelRegistryManager(Database(tmp_path / "store.db"))
    registry.register_file(tmp_path / "model.pkl", "m", "1.0.0")
    found = registry.inspect_artifact("m")
    assert not found.is_complete
    assert "serializer='joblib'" in " ".join(found.notes)


FRAGMENTS = {
    "a method is replaced": array(1, more=text("read") + b"cnumpy\nndarray\n"),
    "a shape runs backwards": b"\x80\x03" + array(1, more=text("shape") + b"J\xff\xff\xff\xff\x85"),
    "the class itself is changed": b"\x80\x03cjoblib.numpy_pickle\nNumpyArrayWrapper\nN}"
    + (text("numpy_array_alignment_bytes") + b"K\x10s\x86b0")
    + array(1),
    "a nested pickle ends inside its frame": b"\x80\x04" + array(1, dtype("O8")) + b"\x80\x04" + framed(b"N.0"),
}


@pytest.mark.parametrize("data", FRAGMENTS.values(), ids=FRAGMENTS)
def test_an_odd_description_of_an_array_ends_the_reading(data):
    assert not list_pickle_imports(io.BytesIO(data + b"\0" * 64 + b".")).is_complete


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6.0),
        np.array(["a", "bc"]),
        np.array([b"a", b"bc"]),
        np.array(["2026-01-01"], "M8[us]"),
        np.zeros(3, [("a", "i1"), ("b", "f8")]),
        np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)),
        np.zeros(2, [("a", "f4", (2, 3)), ("b", [("c", "O")])]),
        np.array([1, "x", None], object),
        np.zeros((0, 3), np.int8),
        np.float32(1.5),
        np.arange(4, dtype=">i4"),
    ],
    ids=repr,
)
def test_honest_arrays_are_read_to_the_end(value):
    file = io.BytesIO()
    joblib.dump({"first": value, "again": [value, value]}, file, protocol=5)
    assert list_pickle_imports(file).reason is None
