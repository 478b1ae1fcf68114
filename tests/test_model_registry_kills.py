"""A process that dies at any instruction of a write: the registry shows all of that write or none of it.

The child traces itself. Each call into C that touches a file or the database, before it and after it, is one place to
die, and so are lines of our own code; a child is forked for every such place, and kills itself there with SIGKILL.
"""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from db import Database
from model_registry import ModelRegistryManager

ROOT = Path(__file__).resolve().parent.parent
OURS = {str(path) for pattern in ("*.py", "registry_parts/*.py") for path in ROOT.glob(pattern)}
# What may change a file or the database. Between two of these nothing does, so that dying at any instruction is dying
# before or after one of them; some lines in between are tried all the same, should one be missing here.
EFFECTS = frozenset(
    [
        *("open", "write", "flush", "fsync", "flock", "replace", "rename", "link", "unlink", "mkdir", "utime", "close"),
        *("execute", "executemany", "executescript", "fetchone", "fetchmany", "fetchall", "commit", "rollback"),
    ]
)
LINE_STRIDE = 7


@pytest.fixture
def store_in_memory(tmp_path) -> Iterator[Database]:
    """A store whose disk forgets in a power cut, not when a process is killed: nothing waits for the disk to sync."""
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    folder = Path(tempfile.mkdtemp(dir=memory if usable else tmp_path))
    database = Database(folder / "modeldesk.db")
    try:
        yield database
    finally:
        database.close()
        shutil.rmtree(folder)


def run_until(action: Callable[[], object], die_at: int, line_stride: int = LINE_STRIDE) -> int | None:
    """Run an action in a child that dies at its n-th place; return how many places it has if it lives to the end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            gc.disable()  # a collection would copy the memory of the whole parent
            places = _count_places(action, die_at, line_stride)
            os.write(writing, str(places).encode())
        finally:
            os._exit(0)  # never back into pytest
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert said, "the action failed in the child"
    return int(said)


def _count_places(action: Callable[[], object], die_at: int, line_stride: int) -> int:
    places = lines = 0

    def step() -> None:
        nonlocal places
        places += 1
        if places == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_line(_frame, event, _argument):
        nonlocal lines
        if event in {"line", "return"}:  # what returns after the commit has no further line
            lines += 1
            if lines % line_stride == 0:
                step()
        return on_line

    def on_call(frame, _event, _argument):
        return on_line if frame.f_code.co_filename in OURS else None

    def on_c_call(_frame, event, function):
        if event in {"c_call", "c_return"} and function.__name__ in EFFECTS:
            step()

    sys.setprofile(on_c_call)
    sys.settrace(on_call)
    try:
        action()
    finally:
        sys.settrace(None)
        sys.setprofile(None)
    return places


def rows_of(database: Database) -> dict[str, list[tuple]]:
    queries = {
        "versions": "SELECT version, stage, sha256, size_bytes, deleted_at IS NOT NULL, id FROM model_versions "
        "ORDER BY id",
        "files": "SELECT version_id, sha256, size_bytes FROM model_files ORDER BY version_id",
        "metrics": "SELECT version_id, value FROM model_metrics ORDER BY version_id",
        "tags": "SELECT version_id, value FROM model_tags ORDER BY version_id",
        "events": "SELECT version_id, kind, displaced_id FROM stage_events ORDER BY id",
        "blobs": "SELECT sha256, size_bytes FROM blobs",
    }
    with database.read() as session:
        return {name: [tuple(row) for row in session.execute(sa.text(query))] for name, query in queries.items()}


def check_whole(database: Database, *, checked: set[str]) -> dict[str, list[tuple]]:
    """See that every version is there with all that belongs to it; return the rows. Bytes are read once each."""
    rows = rows_of(database)
    ids = [row[5] for row in rows["versions"] if not row[4]]
    assert [row[0] for row in rows["files"]] == ids
    assert [row[0] for row in rows["metrics"]] == [row[5] for row in rows["versions"]]
    assert [row[0] for row in rows["tags"]] == [row[5] for row in rows["versions"]]
    events: dict[int, list[str]] = {}
    for version_id, kind, _ in rows["events"]:
        events.setdefault(version_id, []).append(kind)
    assert sorted(events) == [row[5] for row in rows["versions"]]
    assert all(kinds[0] == "register" for kinds in events.values())
    in_production = [row[5] for row in rows["versions"] if row[1] == "Production"]
    promoted = [row for row in rows["events"] if row[1] == "promote"]
    assert in_production == ([promoted[-1][0]] if promoted else [])
    assert [row[2] for row in promoted[1:]] == [row[0] for row in promoted[:-1]]
    sizes = dict(rows["blobs"])
    for _, name, size in rows["files"]:
        assert sizes[name] == size
        if name not in checked:
            data = (Path(database.artifact_url) / "sha256" / name).read_bytes()
            assert (sha256(data).hexdigest(), len(data)) == (name, size)
            checked.add(name)
    return rows


def register(registry: ModelRegistryManager, number: int) -> str:
    return registry.register_model(
        {"data": np.full(200, number)},
        "m",
        f"1.{number}.0",
        performance_metrics={"n": number},
        tags={"n": str(number)},
        stage="Production",
    )


def kill_everywhere(
    database: Database,
    action: Callable[[int], object],
    counts: Callable[[dict[str, list[tuple]]], int],
    *,
    stride: int = 1,
    line_stride: int = LINE_STRIDE,
) -> tuple[int, int]:
    """Kill a child at the places of an action; return how many were killed, and how many of these had done it."""
    places = run_until(lambda: action(0), 0, line_stride)
    assert places is not None
    assert places > 100
    checked: set[str] = set()
    before = counts(check_whole(database, checked=checked))
    done = killed = 0
    last = range(places, places - 15, -1)  # the commit is near the end
    for number, die_at in enumerate([*last, *range(places - 15, 0, -stride)], start=1):
        survived = run_until(lambda number=number: action(number), die_at, line_stride)
        after = counts(check_whole(database, checked=checked))
        assert after - before in {0, 1}
        done += (after - before) if survived is None else 0
        killed += survived is None
        before = after
    return killed, done


@pytest.mark.slow
def test_a_registration_killed_at_every_instruction_is_whole_or_absent(store_in_memory):
    registry = ModelRegistryManager(store_in_memory)
    register(registry, 10_000)
    killed, done = kill_everywhere(
        store_in_memory, lambda number: register(registry, number), lambda rows: len(rows["versions"])
    )
    assert killed > 100
    assert 0 < done < killed / 2  # most places lie before the commit, and some after it
    folder = Path(store_in_memory.artifact_url) / "sha256"
    assert any(name.startswith(".tmp-") for name in os.listdir(folder))  # it was killed while it wrote
    report = registry.collect_garbage(grace_seconds=0)
    assert report.n_temporary > 0
    assert report.removed
    named = {row[1] for row in rows_of(store_in_memory)["files"]}
    assert set(os.listdir(folder)) == named
    assert registry.verify() == []
    assert store_in_memory.check_integrity() == []
    assert registry.load_model("m")["data"].shape == (200,)


@pytest.mark.slow
def test_a_deletion_killed_at_every_instruction_leaves_no_row_without_its_file(store_in_memory):
    registry = ModelRegistryManager(store_in_memory)
    register(registry, 10_000)

    def delete(number: int) -> None:
        registry.delete_version("m", f"0.{number}.0", purge=True)

    for number in range(2_000):
        registry.register_model({"n": number}, "m", f"0.{number}.0", performance_metrics={"n": 1.0}, tags={"n": "1"})
        if number == 1:
            places = run_until(lambda: delete(0), 0)
            assert places is not None
        if number > 1 and number - 1 > places:
            break
    checked: set[str] = set()
    before = sum(row[4] for row in check_whole(store_in_memory, checked=checked)["versions"])
    for die_at in range(1, places + 1):
        run_until(lambda die_at=die_at: delete(die_at), die_at)
        after = sum(row[4] for row in check_whole(store_in_memory, checked=checked)["versions"])
        assert after - before in {0, 1}
        before = after
    for _, name, _ in rows_of(store_in_memory)["files"]:
        assert (Path(store_in_memory.artifact_url) / "sha256" / name).is_file()
    registry.collect_garbage(grace_seconds=0)
    assert registry.verify() == []
    assert store_in_memory.check_integrity() == []


@pytest.mark.slow
def test_on_a_server_too_a_killed_registration_is_whole_or_absent(database):
    if database.dialect == "sqlite":
        pytest.skip("on SQLite every instruction is tried, above")
    registry = ModelRegistryManager(database)
    register(registry, 10_000)
    killed, done = kill_everywhere(
        database,
        lambda number: register(registry, number),
        lambda rows: len(rows["versions"]),
        stride=15,
        line_stride=1,
    )
    assert killed > 20
    assert done > 0
    registry.collect_garbage(grace_seconds=0)
    assert registry.verify() == []
