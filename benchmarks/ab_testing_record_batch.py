"""Record a batch of events: raw executemany into the same tables and indexes, and ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Recording a batch of events of an A/B test",
    workloads={"100,000 events": {"n_events": 100_000}},
    rounds=5,
    max_ratio_to_floor=2.0,
)


@benchmark.floor("sqlite3, executemany into the same tables")
def sqlite_bare(folder: Path, n_events: int) -> Callable[[], int]:
    """Insert ready rows into the three tables of the real schema, with its indexes and references."""
    import sqlite3
    import time
    from itertools import repeat

    from ab_testing import ABTestingFramework, ExperimentConfig

    tests = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    tests.create_experiment(ExperimentConfig(name="benchmark", metric_name="score"))
    connection = sqlite3.connect(folder / "modeldesk.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")  # as ModelDesk has it: a reference is checked at every row
    rounds = iter(range(1_000_000))

    def run() -> int:
        prefix, now = f"r{next(rounds):06d}u", time.time_ns() // 1000
        users = [f"{prefix}{index:08d}" for index in range(n_events)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT INTO ab_assignments (experiment_id, subject, variant, phase, assigned_at, conflicts) "
            "VALUES (1, ?, 0, 1, ?, 0)",
            zip(users, repeat(now)),
        )
        connection.executemany(
            "INSERT INTO ab_events (experiment_id, metric, subject, value, denominator, at) "
            "VALUES (1, 0, ?, 1.0, 1.0, ?)",
            zip(users, repeat(now)),
        )
        connection.executemany(
            "INSERT INTO ab_subjects (experiment_id, metric, subject, variant, phase, n_events, total, denominator, "
            "value, first_at, last_at) VALUES (1, 0, ?, 0, 1, 1, 1.0, 1.0, 1.0, ?, ?)",
            zip(users, repeat(now), repeat(now)),
        )
        connection.execute("COMMIT")
        return n_events

    return run


@benchmark.ours()
def ours(folder: Path, n_events: int) -> Callable[[], int]:
    """Check, assign, log and sum up."""
    from ab_testing import ABTestingFramework, ExperimentConfig

    tests = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    exp_id = tests.create_experiment(ExperimentConfig(name="benchmark", metric_name="score"))
    rounds = iter(range(1_000_000))

    def run() -> int:
        prefix = f"r{next(rounds):06d}u"
        return tests.record_events(exp_id, [(f"{prefix}{index:08d}", 1.0) for index in range(n_events)])

    return run
