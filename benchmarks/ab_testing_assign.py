"""Assign subjects one by one: GrowthBook's SDK, the bare hash, and ours.

`assign` is called for subjects that were assigned before, and for display (``store=False``): neither writes. A first
assignment is a write; it is measured in `ab_testing_assign_calls`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Assigning subjects to variants",
    workloads={"100,000 subjects": {"n": 100_000}},
    rounds=7,
)


@benchmark.floor("hashlib, BLAKE2b only")
def bare_hash(folder: Path, n: int) -> Callable[[], int]:
    """Hash every id."""
    import hashlib

    users = [f"user-{index}" for index in range(n)]

    def run() -> int:
        for user in users:
            hashlib.blake2b(b"salt:" + user.encode()).digest()
        return n

    return run


@benchmark.peer("GrowthBook SDK", install=["growthbook"])
def growthbook(folder: Path, n: int) -> Callable[[], int]:
    """One evaluation a subject, with a context of its own, as its documentation shows."""
    from growthbook import Experiment, GrowthBook

    users = [f"user-{index}" for index in range(n)]
    experiment = Experiment(key="test", variations=["baseline", "treatment"])

    def run() -> int:
        client = GrowthBook(attributes={"id": ""})
        for user in users:
            client.set_attributes({"id": user})
            client.run(experiment)
        return n

    return run


def _tests(folder: Path) -> tuple[object, str]:
    from ab_testing import ABTestingFramework, ExperimentConfig

    tests = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    return tests, tests.create_experiment(ExperimentConfig(name="benchmark", metric_name="score"))


@benchmark.ours("ModelDesk, assign of assigned subjects")
def assigned(folder: Path, n: int) -> Callable[[], int]:
    """Ask for the stored variants, one call each."""
    tests, exp_id = _tests(folder)
    users = [f"user-{index}" for index in range(n)]
    tests.assign_many(exp_id, users)  # type: ignore[attr-defined]

    def run() -> int:
        for user in users:
            tests.assign(exp_id, user)  # type: ignore[attr-defined]
        return n

    return run


@benchmark.ours("ModelDesk, assign(store=False)")
def shown(folder: Path, n: int) -> Callable[[], int]:
    """Ask for variants without storing them, one call each."""
    tests, exp_id = _tests(folder)
    users = [f"user-{index}" for index in range(n)]

    def run() -> int:
        for user in users:
            tests.assign(exp_id, user, store=False)  # type: ignore[attr-defined]
        return n

    return run


@benchmark.ours("ModelDesk, Assigner.variant per call")
def one_by_one(folder: Path, n: int) -> Callable[[], int]:
    """Apply the rule of the present phase, without a database."""
    tests, exp_id = _tests(folder)
    users = [f"user-{index}" for index in range(n)]
    assigner = tests.assigner(exp_id)  # type: ignore[attr-defined]

    def run() -> int:
        for user in users:
            assigner.variant(user)
        return n

    return run


@benchmark.ours("ModelDesk, assign_many(store=False)")
def all_at_once(folder: Path, n: int) -> Callable[[], int]:
    """One call for all."""
    tests, exp_id = _tests(folder)
    users = [f"user-{index}" for index in range(n)]
    return lambda: len(tests.assign_many(exp_id, users, store=False))  # type: ignore[attr-defined]
