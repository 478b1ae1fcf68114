"""Many processes at once, and processes that are killed: the registry shows all of a write or none of it."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from db import Database, StateError
from model_registry import ModelRegistryManager, ModelStage

ROOT = Path(__file__).resolve().parent.parent


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


def _context() -> multiprocessing.context.BaseContext:
    """Return a context whose processes begin with the modules imported, and with nothing else of this process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "model_registry", "joblib", "numpy"])
    return context


def run_all(target, arguments: list[tuple]) -> list[object]:
    """Run one process for each tuple of arguments; return what each put into the queue, in any order."""
    context = _context()
    results = context.Queue()
    processes = [context.Process(target=_guarded, args=(target, results, *given)) for given in arguments]
    for process in processes:
        process.start()
    found = [results.get(timeout=300) for _ in processes]
    for process in processes:
        process.join()
    return found


def _guarded(target, results, *arguments) -> None:
    try:
        results.put(target(*arguments))
    except BaseException as error:
        results.put(repr(error))


def _promote(url: str, artifacts: str, version: str, start: float) -> str:
    registry = ModelRegistryManager(Database(url, artifact_url=artifacts), actor=version)
    time.sleep(max(0.0, start - time.time()))
    return registry.transition_stage("m", version, "Production", reason="race").version


@pytest.mark.slow
def test_sixteen_promotions_at_once_leave_one_winner_and_a_complete_trail(database):
    registry = ModelRegistryManager(database)
    versions = [f"1.{n}.0" for n in range(16)]
    for version in versions:
        registry.register_model({"v": version}, "m", version)
    start = time.time() + 3
    found = run_all(_promote, [(url_of(database), database.artifact_url, v, start) for v in versions])
    assert sorted(found) == sorted(versions)
    in_production = [v.version for v in registry.list_versions("m") if v.stage is ModelStage.PRODUCTION]
    events = registry.stage_history("m")
    promoted = [event for event in events if event.kind == "promote"]
    displaced = [event for event in events if event.kind == "displace"]
    assert in_production == [promoted[-1].version]
    assert sorted(event.version for event in promoted) == sorted(versions)
    assert [event.displaced for event in promoted] == [None, *(event.version for event in promoted[:-1])]
    assert [event.version for event in displaced] == [event.version for event in promoted[:-1]]
    assert all(event.actor == event.version for event in promoted)


def _roll_back(url: str, artifacts: str, worker: int, start: float) -> str:
    registry = ModelRegistryManager(Database(url, artifact_url=artifacts), actor=f"worker {worker}")
    time.sleep(max(0.0, start - time.time()))
    try:
        return registry.rollback("m", reason="race").version
    except StateError:
        return "nothing earlier"


@pytest.mark.slow
def test_rollbacks_at_once_go_back_one_version_each(database):
    registry = ModelRegistryManager(database)
    versions = [f"1.{n}.0" for n in range(8)]
    for version in versions:
        registry.register_model({"v": version}, "m", version, stage="Production")
    start = time.time() + 3
    found = run_all(_roll_back, [(url_of(database), database.artifact_url, worker, start) for worker in range(8)])
    assert sorted(found) == [*versions[:-1], "nothing earlier"]
    assert registry.get_production("m").version == "1.0.0"
    events = [event for event in registry.stage_history("m") if event.kind == "rollback"]
    assert [event.version for event in events] == versions[-2::-1]
    assert [event.displaced for event in events] == versions[:0:-1]
    assert len({event.actor for event in events}) == 7


def _promote_often(url: str, artifacts: str, version: str, rounds: int) -> int:
    registry = ModelRegistryManager(Database(url, artifact_url=artifacts))
    for _ in range(rounds):
        registry.transition_stage("m", version, "Production")
    return rounds


@pytest.mark.slow
def test_a_reader_sees_exactly_one_production_version_at_every_moment(database):
    registry = ModelRegistryManager(database)
    versions = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"]
    for version in versions:
        registry.register_model({"v": version}, "m", version)
    registry.transition_stage("m", "1.0.0", "Production")
    context = _context()
    processes = [
        context.Process(target=_promote_often, args=(url_of(database), database.artifact_url, version, 25))
        for version in versions
    ]
    for process in processes:
        process.start()
    seen: Counter[int] = Counter()
    while any(process.is_alive() for process in processes):
        seen[sum(v.stage is ModelStage.PRODUCTION for v in registry.list_versions("m"))] += 1
    assert [process.exitcode for process in processes] == [0] * 4
    assert set(seen) == {1}
    assert seen[1] > 20


def _register_next(url: str, artifacts: str, worker: int, rounds: int) -> list[str]:
    registry = ModelRegistryManager(Database(url, artifact_url=artifacts))
    return [registry.register_model({"w": worker, "n": n}, "m") for n in range(rounds)]


@pytest.mark.slow
def test_processes_that_take_the_next_version_never_take_the_same(database):
    found = run_all(_register_next, [(url_of(database), database.artifact_url, worker, 12) for worker in range(8)])
    registry = ModelRegistryManager(database)
    versions = [v.version for v in registry.list_versions("m")]
    assert sorted(len(ids) for ids in found) == [12] * 8
    assert versions == [f"1.{n}.0" for n in range(96)]
    registry.delete_version("m", "1.95.0")
    registry.register_model({}, "m")
    assert registry.list_versions("m")[-1].version == "1.96.0"
    assert registry.verify() == []


_ENDLESS_WRITER = """
import sys
import numpy as np
from db import Database
from model_registry import ModelRegistryManager

registry = ModelRegistryManager(Database(sys.argv[1], artifact_url=sys.argv[2]))
print("ready", flush=True)
number = int(sys.argv[3]) * 100_000
while True:
    number += 1
    data = np.full(50_000, number)
    registry.register_model(
        {"data": data}, "m", f"1.{number}.0", performance_metrics={"n": number}, tags={"n": str(number)},
        stage="Production",
    )
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_leaves_the_whole_version_or_none_of_it(database):
    generator = random.Random(5)
    acknowledged: set[int] = set()
    registry = ModelRegistryManager(database)
    for kill in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-c", _ENDLESS_WRITER, url_of(database), database.artifact_url, str(kill)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        if kill % 3:  # otherwise it dies somewhere in its very first registration
            acknowledged.add(int(writer.stdout.readline()))
        time.sleep(generator.uniform(0.0, 0.1))
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged.update(int(line) for line in writer.stdout if line.endswith("\n"))
        writer.wait()
        writer.stdout.close()
        if database.dialect == "postgresql":
            _wait_for_other_sessions(database)
    versions = registry.list_versions("m") if acknowledged else []
    numbers = {int(v.version.split(".")[1]) for v in versions}
    assert acknowledged <= numbers
    assert len(acknowledged) >= 8
    for version in versions:
        number = int(version.version.split(".")[1])
        assert version.performance_metrics == {"n": number}
        assert version.tags == {"n": str(number)}
        assert [len(version.files), version.files[0][2]] == [1, version.size_bytes]
    assert registry.verify() == []
    assert registry.load_model("m", versions[-1].version)["data"][0] == int(versions[-1].version.split(".")[1])
    events = Counter((event.version, event.kind) for event in registry.stage_history("m"))
    assert {version for version, kind in events if kind == "promote"} == {v.version for v in versions}
    assert sum(v.stage is ModelStage.PRODUCTION for v in versions) == 1
    registry.collect_garbage(grace_seconds=0)
    assert registry.verify() == []
    folder = Path(database.artifact_url) / "sha256"
    assert sorted(os.listdir(folder)) == sorted({v.sha256 for v in versions})
    assert database.check_integrity() == []


def _wait_for_other_sessions(database: Database) -> None:
    """Wait until the server has noticed that a client was killed, and rolled its transaction back."""
    import sqlalchemy as sa

    query = sa.text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(200):
        with database.read() as session:
            if session.scalar(query) <= 1:  # one idle connection may wait in this process's own pool
                return
        time.sleep(0.05)


def _register_shared(url: str, artifacts: str, worker: int, rounds: int) -> int:
    registry = ModelRegistryManager(Database(url, artifact_url=artifacts))
    for number in range(rounds):
        registry.register_model(
            {"shared": number % 3, "own": worker if number % 2 else 0}, f"m{worker}", f"1.{number}.0"
        )
        if number % 4 == 3:
            registry.delete_version(f"m{worker}", f"1.{number - 1}.0", purge=True)
    return rounds


@pytest.mark.slow
def test_collecting_garbage_all_the_time_loses_nothing(database):
    context = _context()
    processes = [
        context.Process(target=_register_shared, args=(url_of(database), database.artifact_url, worker, 24))
        for worker in range(1, 5)
    ]
    for process in processes:
        process.start()
    registry = ModelRegistryManager(database)
    while any(process.is_alive() for process in processes):
        registry.collect_garbage(grace_seconds=0)
    assert [process.exitcode for process in processes] == [0] * 4
    assert registry.verify() == []
    for worker in range(1, 5):
        versions = registry.list_versions(f"m{worker}")
        assert len(versions) == 18
        for version in versions:
            assert (
                registry.load_model(version.name, version.version)["shared"] == int(version.version.split(".")[1]) % 3
            )
