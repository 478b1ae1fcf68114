"""Log five metrics a step: bare sqlite3, MLflow, Aim, and ours, each durable before the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

METRICS = ("loss", "accuracy", "precision", "recall", "learning_rate")

benchmark = Benchmark(
    "Logging metrics: five values a step, one call and one transaction a step",
    workloads={"300 steps of 5 metrics": {"n_steps": 300}},
    rounds=7,
    max_ratio_to_floor=2.0,
)

# What ours stores: the history clustered by its key, and a row a metric with last, least and greatest value.
FLOOR_TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
CREATE TABLE points (run INT, metric INT, step INT, at INT, value REAL, PRIMARY KEY (run, metric, step)) WITHOUT ROWID;
CREATE TABLE summaries (run INT, metric INT, n INT, last REAL, last_step INT, last_at INT, low REAL, low_step INT,
    high REAL, high_step INT, PRIMARY KEY (run, metric)) WITHOUT ROWID;
CREATE INDEX by_last ON summaries (metric, last);
"""
FLOOR_POINT = "INSERT INTO points VALUES (?, ?, ?, ?, ?)"
FLOOR_SUMMARY = """
INSERT INTO summaries AS s VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + 1,
    last = excluded.last, last_step = excluded.last_step, last_at = excluded.last_at,
    low_step = CASE WHEN excluded.low < s.low THEN excluded.low_step ELSE s.low_step END, low = min(s.low,
    excluded.low),
    high_step = CASE WHEN excluded.high > s.high THEN excluded.high_step ELSE s.high_step END, high = max(s.high,
    excluded.high)
"""


def steps(n_steps: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the steps and their values."""
    for step in range(n_steps):
        yield step, {name: 1.0 / (1 + step + index) for index, name in enumerate(METRICS)}


def open_floor(path: Path) -> Any:
    """Open a bare database with the tables of the floor."""
    import sqlite3

    connection = sqlite3.connect(path, isolation_level=None, timeout=60)
    connection.executescript(FLOOR_TABLES)
    return connection


def log_to_floor(connection: Any, number: int, n_steps: int, *, summaries: bool = True) -> None:
    """Log as the floor does: one transaction a step."""
    import time

    for step, values in steps(n_steps):
        at = time.time_ns() // 1000
        connection.execute("BEGIN IMMEDIATE")
        if summaries:
            connection.executemany(
                FLOOR_SUMMARY, [(number, i, v, step, at, v, step, v, step) for i, v in enumerate(values.values())]
            )
        connection.executemany(FLOOR_POINT, [(number, i, step, at, v) for i, v in enumerate(values.values())])
        connection.execute("COMMIT")


@benchmark.floor("sqlite3, the same rows and indexes")
def sqlite_bare(folder: Path, n_steps: int) -> Callable[[], int]:
    """Keep integer keys, WAL, synchronous NORMAL."""
    connection = open_floor(folder / "bare.db")
    runs = iter(range(1_000_000))

    def run() -> int:
        number = next(runs)
        log_to_floor(connection, number, n_steps)
        return int(connection.execute("SELECT count(*) FROM points WHERE run = ?", (number,)).fetchone()[0])

    return run


@benchmark.floor("sqlite3, the points alone")
def sqlite_points(folder: Path, n_steps: int) -> Callable[[], int]:
    """Keep no summaries: nothing can be searched then."""
    connection = open_floor(folder / "bare.db")
    runs = iter(range(1_000_000))

    def run() -> int:
        number = next(runs)
        log_to_floor(connection, number, n_steps, summaries=False)
        return int(connection.execute("SELECT count(*) FROM points WHERE run = ?", (number,)).fetchone()[0])

    return run


@benchmark.peer("MLflow", install=["mlflow"])
def mlflow(folder: Path, n_steps: int) -> Callable[[], int]:
    """Log to MLflow's SQLite store, its default."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("benchmark", artifact_location=str(folder / "artifacts"))

    def run() -> int:
        run_id = client.create_run(experiment).info.run_id
        with mlflow.start_run(run_id=run_id):
            for step, values in steps(n_steps):
                mlflow.log_metrics(values, step=step, synchronous=True)
        return sum(len(client.get_metric_history(run_id, name)) for name in METRICS)

    return run


@benchmark.peer("Aim", install=["aim"])
def aim(folder: Path, n_steps: int) -> Callable[[], int]:
    """Track each value in Aim's local repository; its own default flushing."""
    from aim import Run

    def run() -> int:
        tracked = Run(
            repo=str(folder), experiment="benchmark", system_tracking_interval=None, capture_terminal_logs=False
        )
        count = 0
        for step, values in steps(n_steps):
            for name, value in values.items():
                tracked.track(value, name=name, step=step)
                count += 1
        tracked.close()
        return count

    return run


@benchmark.ours()
def ours(folder: Path, n_steps: int) -> Callable[[], int]:
    """Log through `ExperimentTracking` to a SQLite store."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}")
    runs = iter([tracking.start_run("benchmark") for _ in range(100)])  # the floor starts none either

    def run() -> int:
        run_id = next(runs)
        for step, values in steps(n_steps):
            tracking.log_metrics(run_id, values, step=step)
        return sum(summary.n_points for summary in tracking.get_run(run_id).metric_summaries.values())

    return run
