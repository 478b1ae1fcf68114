"""Eight processes log at once into one store: bare sqlite3 and ours. Read the wall time: they wait for each other."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark
from benchmarks.tracking import METRICS, log_to_floor, open_floor, steps

N_PROCESSES = 8

benchmark = Benchmark(
    "Eight processes logging five metrics a step into one SQLite store",
    workloads={"8 x 300 steps": {"n_steps": 300}},
    rounds=5,
)


def in_processes(work: Callable[[int], None]) -> None:
    """Run `work` in forked processes and wait for all of them."""
    children = []
    for number in range(N_PROCESSES):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work(number)
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    if failed:
        raise RuntimeError(f"{len(failed)} of {N_PROCESSES} processes failed")


@benchmark.floor("sqlite3, the same rows and indexes")
def sqlite_bare(folder: Path, n_steps: int) -> Callable[[], int]:
    """Open a connection in each process."""
    path = folder / "bare.db"
    open_floor(path).close()
    rounds = iter(range(1_000))

    def run() -> int:
        import sqlite3

        base = next(rounds) * N_PROCESSES

        def work(number: int) -> None:
            connection = sqlite3.connect(path, isolation_level=None, timeout=60)
            connection.execute("PRAGMA synchronous=NORMAL")
            log_to_floor(connection, base + number, n_steps)

        in_processes(work)
        connection = sqlite3.connect(path)
        count = connection.execute("SELECT count(*) FROM points WHERE run >= ?", (base,)).fetchone()[0]
        connection.close()
        return int(count)

    return run


@benchmark.ours()
def ours(folder: Path, n_steps: int) -> Callable[[], int]:
    """Log from forked processes to a run each."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}")

    def run() -> int:
        runs = [tracking.start_run("benchmark", detached=True) for _ in range(N_PROCESSES)]

        def work(number: int) -> None:
            for step, values in steps(n_steps):
                tracking.log_metrics(runs[number], values, step=step)

        in_processes(work)
        return len(tracking.metric_history(runs, METRICS))

    return run
