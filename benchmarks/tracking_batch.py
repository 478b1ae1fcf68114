"""Log a whole curve in one call: raw executemany and ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark
from benchmarks.tracking import FLOOR_POINT, open_floor

benchmark = Benchmark(
    "Logging a batch: many steps of one metric at once",
    workloads={"100,000 points": {"n_points": 100_000}},
    rounds=7,
    max_ratio_to_floor=1.5,
)


@benchmark.floor("sqlite3, executemany of ready rows")
def sqlite_bare(folder: Path, n_points: int) -> Callable[[], int]:
    """Insert rows from Python lists."""
    import time

    connection = open_floor(folder / "bare.db")
    runs = iter(range(1_000_000))
    values = [1.0 / (1 + step) for step in range(n_points)]

    def run() -> int:
        number, at = next(runs), time.time_ns() // 1000
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(FLOOR_POINT, [(number, 0, step, at, value) for step, value in enumerate(values)])
        connection.execute("COMMIT")
        return n_points

    return run


@benchmark.ours()
def ours(folder: Path, n_points: int) -> Callable[[], int]:
    """Log two lists."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}")
    values = [1.0 / (1 + step) for step in range(n_points)]

    def run() -> int:
        run_id = tracking.start_run("benchmark", detached=True)
        tracking.log_metrics(run_id, {"loss": values}, step=list(range(n_points)))
        return n_points

    return run
