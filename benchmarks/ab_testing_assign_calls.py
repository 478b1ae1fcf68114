"""Assign subjects through the store: a loop of `assign` against one `assign_many`, computed only and stored.

A first assignment is stored before it is answered; what is served from memory is beside GrowthBook in
`ab_testing_assign`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Assigning subjects through the store, one by one and at once",
    workloads={"20,000 subjects": {"n": 20_000}},
    rounds=7,
)


@benchmark.floor("sqlite3, one select by key a subject")
def bare_select(folder: Path, n: int) -> Callable[[], int]:
    """Look up the stored variant of every subject: there is none."""
    import sqlite3

    _tests(folder)
    connection = sqlite3.connect(folder / "modeldesk.db", isolation_level=None)
    statement = "SELECT variant FROM ab_assignments WHERE experiment_id = 1 AND subject = ?"

    def run() -> int:
        for index in range(n):
            connection.execute(statement, (f"user-{index}",)).fetchone()
        return n

    return run


def _tests(folder: Path) -> tuple[Any, str]:
    from ab_testing import ABTestingFramework, ExperimentConfig

    tests = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    return tests, tests.create_experiment(ExperimentConfig(name="benchmark", metric_name="score"))


@benchmark.ours("loop of assign(store=False)")
def loop_computed(folder: Path, n: int) -> Callable[[], int]:
    """Compute one by one."""
    tests, exp_id = _tests(folder)

    def run() -> int:
        for index in range(n):
            tests.assign(exp_id, f"user-{index}", store=False)
        return n

    return run


@benchmark.ours("assign_many(store=False)")
def many_computed(folder: Path, n: int) -> Callable[[], int]:
    """Compute in one call."""
    tests, exp_id = _tests(folder)
    return lambda: len(tests.assign_many(exp_id, [f"user-{index}" for index in range(n)], store=False))


@benchmark.ours("loop of assign, stored")
def loop_stored(folder: Path, n: int) -> Callable[[], int]:
    """Store new subjects one by one, each in a transaction of its own."""
    tests, exp_id = _tests(folder)
    rounds = iter(range(1_000_000))

    def run() -> int:
        prefix = f"r{next(rounds):06d}u"
        for index in range(n):
            tests.assign(exp_id, f"{prefix}{index:08d}")
        return n

    return run


@benchmark.ours("assign_many, stored")
def many_stored(folder: Path, n: int) -> Callable[[], int]:
    """Store new subjects in one transaction."""
    tests, exp_id = _tests(folder)
    rounds = iter(range(1_000_000))

    def run() -> int:
        prefix = f"r{next(rounds):06d}u"
        return len(tests.assign_many(exp_id, [f"{prefix}{index:08d}" for index in range(n)]))

    return run
