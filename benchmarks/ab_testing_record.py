"""Record single events: one raw insert and commit in WAL mode, and ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Recording single events of an A/B test",
    workloads={"2,000 events": {"n_events": 2_000}},
    rounds=7,
    max_ratio_to_floor=4.0,
)


@benchmark.floor("sqlite3, one insert and commit")
def sqlite_bare(folder: Path, n_events: int) -> Callable[[], int]:
    """Insert one row a transaction."""
    import sqlite3

    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, test INT, user TEXT, value REAL, at INT)")

    def run() -> int:
        for index in range(n_events):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO events (test, user, value, at) VALUES (1, ?, ?, 0)", (f"u{index}", 1.0))
            connection.execute("COMMIT")
        return n_events

    return run


@benchmark.ours()
def ours(folder: Path, n_events: int) -> Callable[[], int]:
    """Record events of new subjects: assignment, log and the subject's sum in one transaction."""
    from ab_testing import ABTestingFramework, ExperimentConfig

    tests = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    exp_id = tests.create_experiment(ExperimentConfig(name="benchmark", metric_name="score"))
    rounds = iter(range(1_000_000))

    def run() -> int:
        number = next(rounds)
        return sum(tests.record_event(exp_id, f"r{number}u{index}", 1.0) for index in range(n_events))

    return run
