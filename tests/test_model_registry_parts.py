"""The pure parts of the registry: version keys, what a pickle imports, environments, gates, export files, figures."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import struct
import zipfile
import zlib
from datetime import UTC, datetime, timedelta
from functools import cmp_to_key
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import semver
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charts.registry import comparison_bars, plot_performance_history, plot_stage_timeline, production_periods
from db import ArtifactError, Database, StorageError
from model_registry import ModelRegistryManager, ModelStage, StageEvent
from registry_parts import archive, environment, inspection, versions
from registry_parts.signature import fingerprint_data, infer_signature

# -- versions ----------------------------------------------------------------------------------------------

NUMBERS = st.integers(0, 10**21).map(str)
IDENTIFIERS = st.one_of(
    NUMBERS, st.text("0123456789abzABZ-", min_size=1, max_size=6).filter(lambda t: not t.isdigit() or t == "0")
)
VERSIONS = st.builds(
    lambda core, pre, build: ".".join(core) + ("-" + ".".join(pre) if pre else "") + ("+" + build if build else ""),
    st.tuples(NUMBERS, NUMBERS, NUMBERS),
    st.lists(IDENTIFIERS, max_size=4),
    st.sampled_from(["", "b1", "exp.sha.5114f85"]),
)


@given(VERSIONS, VERSIONS)
def test_the_sort_key_orders_as_the_semver_library_does(a, b):
    left, right = versions.precedence_key(a), versions.precedence_key(b)
    assert (left > right) - (left < right) == semver.Version.parse(a).compare(b)
    assert left.isascii()


@given(st.lists(VERSIONS, max_size=20))
def test_sorting_by_the_key_is_sorting_by_precedence(given_versions):
    by_key = sorted(given_versions, key=versions.precedence_key)
    by_semver = sorted(given_versions, key=cmp_to_key(lambda a, b: semver.Version.parse(a).compare(b)))
    assert [versions.precedence_key(v) for v in by_key] == [versions.precedence_key(v) for v in by_semver]


@given(st.text(max_size=20))
def test_a_version_is_admitted_exactly_when_semver_admits_it(text):
    try:
        admitted = versions.check_version(text) == text
    except ValueError:
        admitted = False
    assert admitted == (semver.Version.is_valid(text) and text.isascii() and "\n" not in text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v1.0", "begins with 'v'"),
        ("01.2.3", "leading zero"),
        ("1.0", "wants three; write '1.0.0'"),
        ("1", "wants three"),
        ("1.2.3\n", "printable"),
        ("\uff11.0.0", "ASCII"),
        ("", "empty"),
        ("latest", "not a semantic version"),
        ("1.0.0-01", "leading zero"),
        ("1.0.0-", "empty identifier"),
        ("9" * 300 + ".0.0", "255 characters"),
    ],
)
def test_a_refused_version_says_what_is_wrong(text, reason):
    with pytest.raises(ValueError, match=reason):
        versions.check_version(text)


@given(VERSIONS, st.sampled_from(versions.BUMPS))
def test_the_next_version_is_higher_and_a_release(version, bump):
    following = versions.next_version(version, bump)
    assert versions.precedence_key(following) > versions.precedence_key(version)
    assert "-" not in following
    assert "+" not in following


# -- what a pickle imports -----------------------------------------------------------------------------------


class Payload:
    def __reduce__(self):
        return os.system, ("touch /nowhere/pwned",)


def imports(data: bytes) -> inspection.PickleImports:
    return inspection.list_pickle_imports(io.BytesIO(data))


def names(found: inspection.PickleImports) -> set[str]:
    return {item.name for item in found.imports}


@pytest.mark.parametrize("protocol", range(6))
def test_imports_are_listed_for_every_pickle_protocol(protocol):
    found = imports(pickle.dumps([datetime(2026, 1, 1), Payload()], protocol=protocol))
    assert found.is_complete
    assert {"datetime", "system"} <= names(found)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10),
        np.zeros((3, 0)),
        np.array(3.5),
        np.asfortranarray(np.ones((4, 5))),
        np.array([1, "a", None], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["2026-01-01"], dtype="datetime64[s]"),
        np.array(["text", "é"]),
    ],
    ids=lambda array: f"{array.dtype.kind}{array.shape}",
)
def test_what_comes_after_the_arrays_of_a_joblib_file_is_listed_too(array):
    buffer = io.BytesIO()
    joblib.dump({"a": array, "b": [array, array], "z": Payload()}, buffer)
    found = imports(buffer.getvalue())
    # Structured dtypes are described in a way that is not followed: then it says that it is not complete.
    assert "system" in names(found) or not found.is_complete
    assert found.is_complete or array.dtype.names
    if found.is_complete:
        assert "system" in names(found)


def test_a_pickle_inside_an_array_of_objects_is_listed():
    buffer = io.BytesIO()
    joblib.dump(np.array([Payload(), 1], dtype=object), buffer)
    assert "system" in names(imports(buffer.getvalue()))


def test_a_second_pickle_behind_the_first_is_listed():
    assert "system" in names(imports(pickle.dumps(1) + pickle.dumps(Payload())))


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, zlib.compress], ids=lambda f: f.__module__
)
def test_a_compressed_pickle_is_listed(pack):
    packed = pack(pickle.dumps(Payload()))
    found = inspection.inspect_files("m", "1.0.0", "joblib", "file", [("m.joblib", packed)])
    assert "system" in {item.name for item in found.imports}
    assert found.is_complete


def test_a_computed_import_is_shown_as_unknown():
    # STACK_GLOBAL whose names are not plain text in the stream.
    data = b"\x80\x04" + b"K\x01" + b"\x8c\x06system" + b"\x93."
    assert {str(item) for item in imports(data).imports} == {"?.system"}


def test_a_known_dangerous_import_is_listed_as_such_and_nothing_is_called_safe():
    found = inspection.inspect_files("m", "1.0.0", "pickle", "file", [("m.pkl", pickle.dumps(Payload()))])
    assert [item.name for item in found.dangerous] == ["system"]
    assert found.scanner is not None
    harmless = inspection.inspect_files("m", "1.0.0", "pickle", "file", [("m.pkl", pickle.dumps([1]))])
    assert harmless.executes_code
    assert any("no proof of safety" in note for note in harmless.notes)


def test_a_loader_that_scanners_overlook_is_in_the_list():
    # pkgutil.resolve_name('os:system') reaches anything without importing it by name.
    data = b"\x80\x04cpkgutil\nresolve_name\n\x8c\x09os:system\x85R."
    assert "pkgutil.resolve_name" in {str(item) for item in imports(data).imports}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a pickle",
        b"\x80\x04",
        pickle.dumps(Payload())[:-1],
        b"\x80\x04)" + b"2\x86" * 5000 + b".",  # tuples that double: 2**5000 if anything counted or hashed them
        b"\x80\x04}(" + b")" + b"2\x86" * 60 + b"K\x01u.",  # the same as the key of a dict
        b"\x80\x04" + b"(" * 100_000 + b".",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # claims to hold 2**63 bytes
    ],
    ids=["empty", "text", "cut", "cut payload", "bomb", "bomb as key", "marks", "huge"],
)
def test_a_hostile_pickle_is_read_without_harm(data):
    found = imports(data)
    assert found.is_complete or found.reason


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data):
    found = imports(b"\x80\x04" + data)
    assert found.is_complete == (found.reason is None)


def test_every_import_of_a_real_model_is_listed():
    """The reference is Python's own unpickler, told to note what it looks up."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    draw = np.random.default_rng(0)
    model = make_pipeline(StandardScaler(), RandomForestClassifier(3)).fit(
        draw.random((50, 3)), draw.integers(0, 2, 50)
    )
    data = pickle.dumps(model)
    noted: set[str] = set()

    class Noting(pickle.Unpickler):
        def find_class(self, module, name):
            noted.add(f"{module}.{name}")
            return super().find_class(module, name)

    Noting(io.BytesIO(data)).load()
    assert {str(item) for item in imports(data).imports} == noted


# -- dependencies, signatures, fingerprints --------------------------------------------------------------------


def test_dependencies_are_found_inside_containers_and_attributes():
    from sklearn.linear_model import LinearRegression

    class Wrapper:
        __slots__ = ("inner",)

        def __init__(self, inner: object) -> None:
            self.inner = inner

    itself: dict[str, object] = {"model": [Wrapper((LinearRegression(),))]}
    itself["self"] = itself
    assert "scikit-learn" in environment.capture_dependencies(itself)
    assert "tests" in environment.capture(itself)[1]["local_modules"][0]


def test_looking_for_dependencies_runs_nothing_of_the_object():
    class Trap:
        def __getattribute__(self, name):
            raise RuntimeError(f"{name} was read")

    environment.capture_dependencies([Trap()])
    environment.capture_dependencies({"a": ({Trap: [Trap()]},)})


@pytest.mark.parametrize(
    ("example", "inputs", "n_rows"),
    [
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), ["a", "b"], 2),
        (np.zeros((3, 2), dtype="float32"), ["x0", "x1"], 3),
        (np.zeros((2, 28, 28)), ["x0"], 2),
        (pd.Series([1.0], name="s"), ["s"], 1),
        ([[1, 2.0, "c"]], ["x0", "x1", "x2"], 1),
        ([{"age": 3, "name": "x"}], ["age", "name"], 1),
        ({"age": [1, 2, 3]}, ["age"], 3),
        ({"age": np.arange(3), "name": ["x", "y", "z"]}, ["age", "name"], 3),
        ({"age": 3, "name": "x"}, ["age", "name"], 1),
        (["a text"], ["x0"], 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_signature_names_the_columns_and_their_types(example, inputs, n_rows):
    signature = infer_signature(object(), example)
    assert [column["name"] for column in signature["inputs"]] == inputs
    assert all(column["dtype"] for column in signature["inputs"])
    assert signature["n_rows"] == n_rows
    assert signature["output"] == {"kind": "unknown", "reason": "the model has no predict()"}


def test_columns_of_different_lengths_are_no_example():
    with pytest.raises(ValueError, match="different lengths"):
        infer_signature(object(), {"a": [1, 2], "b": [1]})


def test_a_requirement_is_kept_as_what_it_asks_for():
    lines = [
        "numpy==2.1.0",
        "scipy",
        "joblib>=1,<99",
        "PyYAML == 6.0 ; python_version < '3'",
        "x[a]==1.*",
        "y @ file:///y",
    ]
    assert environment.to_dependencies(lines) == {
        "numpy": "2.1.0",
        "scipy": "",
        "joblib": "<99,>=1",
        "PyYAML": '==6.0 ; python_version < "3"',
        "x": "==1.*",
        "y": "@ file:///y",
    }


@pytest.mark.parametrize("line", ["git+https://example.org/x", "./here", "numpy=2", "", "numpy 2.1"])
def test_what_is_no_requirement_is_refused(line):
    with pytest.raises(ValueError, match="is not a requirement"):
        environment.to_dependencies([line])


def test_only_what_is_not_met_here_is_a_difference():
    met = ["numpy>=1", "scipy", f"joblib=={joblib.__version__}", "no-such-package==1 ; python_version < '3'"]
    assert environment.dependency_differences(environment.to_dependencies(met), {}) == []
    assert environment.dependency_differences({"numpy": "as in the lab"}, {}) == []  # free text names no version
    unmet = environment.to_dependencies(["numpy>=99", "no-such-package", "joblib==0.1"])
    first, second, third = environment.dependency_differences(unmet, {})
    assert first.startswith("numpy >=99 is needed, ")
    assert second == "no-such-package is needed, which is not installed"
    assert third.endswith("the model was made with 0.1")


def test_a_model_that_fails_on_its_example_is_still_described():
    class Broken:
        def predict(self, rows):
            raise KeyError("column")

    output = infer_signature(Broken(), [[1]])["output"]
    assert output["kind"] == "unknown"
    assert "KeyError" in output["reason"]


def test_a_fingerprint_tells_data_apart():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    same = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}, index=[5, 9])
    assert fingerprint_data(frame) == fingerprint_data(same)
    others = [frame.rename(columns={"a": "c"}), frame.astype({"a": "float32"}), frame.iloc[::-1], frame.head(1)]
    assert len({fingerprint_data(f) for f in [frame, *others]}) == 5
    assert fingerprint_data(np.zeros(4)) != fingerprint_data(np.zeros((2, 2)))


# -- export files ----------------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path):
    return ModelRegistryManager(Database(tmp_path / "db"))


@pytest.fixture
def exported(registry, tmp_path):
    registry.register_model({"w": [1, 2]}, "m", "1.0.0", hyperparameters={"a": 1})
    return registry.export_version("m", "1.0.0", tmp_path / "m.zip")


def members_of(path: Path) -> list[tuple[zipfile.ZipInfo, bytes]]:
    with zipfile.ZipFile(path) as source:
        return [(info, source.read(info)) for info in source.infolist()]


def rebuilt(path: Path, change) -> Path:
    """Return a copy of an export whose members were changed: a list of (ZipInfo, bytes)."""
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(target, "w") as changed:
        for info, data in change(members_of(path)):
            changed.writestr(info, data)
    return target


def manifest_with(**changes):
    def change(members):
        manifest = json.loads(members[0][1]) | changes
        return [(members[0][0], json.dumps(manifest).encode()), *members[1:]]

    return change


def renamed(name: str):
    return lambda members: [members[0], (zipfile.ZipInfo(name), members[1][1])]


def linked(members):
    info = zipfile.ZipInfo("files/model.joblib")
    info.external_attr = 0o120777 << 16
    return [members[0], (info, b"/etc/passwd")]


def packed(members):
    info = zipfile.ZipInfo("files/model.joblib")
    info.compress_type = zipfile.ZIP_DEFLATED
    return [members[0], (info, members[1][1])]


def twice(members):
    manifest = json.loads(members[0][1])
    return [(members[0][0], json.dumps(manifest | {"files": manifest["files"] * 2}).encode()), *members[1:]]


def file_and_folder(members):
    manifest = json.loads(members[0][1])
    inner = manifest["files"][0] | {"path": "model.joblib/inner"}
    changed = manifest | {"serializer": "folder", "files": [*manifest["files"], inner]}
    info = archive._member("files/model.joblib/inner")
    return [(members[0][0], json.dumps(changed).encode()), members[1], (info, members[1][1])]


CHANGES = {
    "zip-slip": renamed("../../evil.txt"),
    "zip-slip inside": renamed("files/../../evil.txt"),
    "absolute": renamed("/etc/evil"),
    "backslash": renamed("files/..\\evil"),
    "another file": lambda members: [*members, (zipfile.ZipInfo("files/extra"), b"x")],
    "stray member": lambda members: [*members, (zipfile.ZipInfo("readme.txt"), b"x")],
    "no file": lambda members: members[:1],
    "no manifest": lambda members: members[1:],
    "manifest last": lambda members: members[::-1],
    "link": linked,
    "compressed": packed,
    "other bytes": lambda members: [members[0], (members[1][0], members[1][1][:-1] + b"!")],
    "other size": lambda members: [members[0], (members[1][0], members[1][1] + b"!")],
    "other name": manifest_with(name="../x"),
    "other version": manifest_with(version="latest"),
    "other serializer": manifest_with(serializer="os.system"),
    "additional field": manifest_with(id=1, stage="Production"),
    "wrong type": manifest_with(tags=["a"]),
    "wrong metric": manifest_with(performance_metrics={"a": "b"}),
    "no such format": manifest_with(format="modeldesk-version-99"),
    "odd signature": manifest_with(signature={"inputs": [1]}),
    "odd output": manifest_with(signature={"output": "number"}),
    "a path twice": twice,
    "a path in a path": file_and_folder,
    "odd file": manifest_with(files=[{"path": "../x", "sha256": "0" * 64, "size_bytes": 1}]),
    "duplicate key": lambda members: [(members[0][0], b'{"format":1,"format":2}'), members[1]],
    "NaN token": lambda members: [(members[0][0], members[0][1].replace(b'"a": 1', b'"a": NaN')), members[1]],
    "deep": lambda members: [(members[0][0], b'{"a":' * 100_000 + b"1" + b"}" * 100_000), members[1]],
    "invalid UTF-8": lambda members: [(members[0][0], b"\xff\xfe"), members[1]],
}


def test_an_export_that_was_packed_anew_by_a_writer_that_names_no_file_types_is_imported(exported, registry):
    contents = {info.filename: data for info, data in members_of(exported)}
    again = exported.with_name("again.zip")
    with zipfile.ZipFile(again, "w") as file:
        for name, data in contents.items():
            file.writestr(name, data)
    registry.import_version(again, name="other")
    assert registry.load_model("other", allow_untrusted=True) == {"w": [1, 2]}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_export_is_refused_and_nothing_is_stored(change, registry, exported, tmp_path):
    changed = rebuilt(exported, CHANGES[change])
    registry.delete_version("m", "1.0.0", purge=True)
    with pytest.raises(ArtifactError):
        registry.import_version(changed, name="other")
    assert [model.name for model in registry.list_models()] == ["m"]
    assert os.listdir(tmp_path / "artifacts" / "sha256") == []
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_export_whose_members_share_bytes_is_refused(registry, exported, tmp_path):
    data = b"x" * 1_000
    inner = archive._member("files/inner")
    inner.file_size = inner.compress_size = len(data)
    inner.CRC = zlib.crc32(data)
    outer = inner.FileHeader() + data  # one file's bytes hold another file, and the directory names both
    contents = {"inner": data, "outer": outer}
    files = [
        {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        for path, content in contents.items()
    ]
    with zipfile.ZipFile(exported) as source:
        manifest = json.loads(source.read("manifest.json")) | {"serializer": "folder", "files": files}
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as target:
        target.writestr(archive._member("manifest.json"), json.dumps(manifest))
        target.writestr(archive._member("files/outer"), outer)
        inner.header_offset = target.filelist[1].header_offset + 30 + len("files/outer")
        target.filelist.append(inner)
    with pytest.raises(ArtifactError, match="overlap"):
        registry.import_version(tmp_path / "bomb.zip", name="other")


@pytest.mark.parametrize("place", ["m.zip/inner.zip", "nowhere/inner.zip", "x" * 300])
def test_an_export_to_a_place_that_cannot_be_is_one_clear_error(place, registry, exported, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError, match="cannot be written"):
        registry.export_version("m", "1.0.0", tmp_path / place)
    assert sorted(tmp_path.iterdir()) == before


def test_an_export_with_a_name_twice_is_refused(registry, exported):
    changed = rebuilt(exported, lambda members: [*members, members[1]])
    with pytest.raises(ArtifactError, match="twice"):
        registry.import_version(changed, name="other")


def test_an_export_whose_local_name_differs_is_refused(registry, exported, tmp_path):
    data = bytearray(exported.read_bytes())
    place = data.index(b"files/model.joblib")
    data[place : place + 18] = b"files/model.joblic"
    (tmp_path / "changed.zip").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"local header|differ"):
        registry.import_version(tmp_path / "changed.zip", name="other")


@pytest.mark.parametrize("cut", [0, 1, 10, 100, -30, -1])
def test_a_cut_export_is_refused(cut, registry, exported, tmp_path):
    (tmp_path / "cut.zip").write_bytes(exported.read_bytes()[:cut])
    with pytest.raises(ArtifactError):
        registry.import_version(tmp_path / "cut.zip", name="other")


def test_what_is_no_file_is_not_imported(registry, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "missing", "/dev/zero"):
        with pytest.raises(ArtifactError):
            registry.import_version(path)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_nothing(place, bit, registry, exported, tmp_path):
    """Only bits that say nothing of the content (times, versions of ZIP) may differ."""
    data = bytearray(exported.read_bytes())
    data[place % len(data)] ^= 1 << bit
    (tmp_path / "x.zip").write_bytes(data)
    try:
        registry.import_version(tmp_path / "x.zip", name="other")
    except ArtifactError:
        return
    assert registry.load_model("other", allow_untrusted=True) == {"w": [1, 2]}
    assert registry.get_version("other").sha256 == registry.get_version("m").sha256


def test_the_export_is_an_ordinary_zip_that_other_tools_read(exported):
    with zipfile.ZipFile(exported) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", "files/model.joblib"]
    assert struct.unpack("<I", exported.read_bytes()[:4])[0] == 0x04034B50


# -- figures ---------------------------------------------------------------------------------------------------


def stage_event(sequence: int, version: str, stage: str, day: int) -> StageEvent:
    return StageEvent(
        sequence=sequence,
        name="m",
        version=version,
        kind="promote",
        from_stage=None,
        to_stage=ModelStage(stage),
        at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day),
        actor="ada",
        reason="<b>why</b>",
        evidence={},
        displaced=None,
    )


def test_the_timeline_shows_who_was_in_production_when():
    events = [
        stage_event(1, "1.0.0", "Development", 0),
        stage_event(2, "1.0.0", "Production", 1),
        stage_event(3, "1.0.0", "Archived", 3),
        stage_event(4, "1.1.0", "Production", 3),
    ]
    periods = production_periods(events)
    assert [(p.version, p.start.day, p.end.day if p.end else None) for p in periods] == [
        ("1.0.0", 2, 4),
        ("1.1.0", 4, None),
    ]
    figure = plot_stage_timeline(events, now=datetime(2026, 1, 11, tzinfo=UTC))
    assert [trace.x[0] for trace in figure.data] == [2 * 86_400_000, 7 * 86_400_000]
    assert "<b>why" not in figure.to_json()


def test_the_timeline_survives_a_clock_that_was_set_back():
    events = [stage_event(1, "1.0.0", "Production", 5), stage_event(2, "1.0.0", "Archived", 3)]
    assert production_periods(events)[0].end == production_periods(events)[0].start


def test_performance_is_drawn_a_line_for_each_version_and_metric(registry):
    for version in ("1.0.0", "1.1.0"):
        registry.register_model({"v": version}, "m", version)
        for day in (1, 2, 3):
            registry.record_performance(
                "m", version, {"auc": 0.9 + day / 100, "loss": float("nan")}, at=f"2026-01-0{day}"
            )
    figure = plot_performance_history(registry.performance_history("m"))
    assert [trace.name for trace in figure.data] == ["1.0.0", "1.1.0"]
    assert list(figure.data[0].y) == pytest.approx([0.91, 0.92, 0.93])
    empty = plot_performance_history(registry.performance_history("m", metric="none"))
    assert "No performance" in empty.layout.annotations[0].text


def test_a_comparison_without_a_common_metric_says_so(registry):
    registry.register_model({"a": 1}, "m", "1.0.0", performance_metrics={"auc": 0.5})
    registry.register_model({"a": 2}, "m", "1.1.0", performance_metrics={"f1": 0.5})
    comparison = registry.compare_models("m", "1.0.0", "1.1.0")
    bars, left_out = comparison_bars(comparison)
    assert bars == []
    assert len(left_out) == 2
    assert "no metric" in comparison.plot().layout.annotations[0].text
