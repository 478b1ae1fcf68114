"""Log five metrics a step: bare sqlite3, MLflow, Trackio, and ours, each acknowledged before the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.runner import Benchmark

METRICS = ("loss", "accuracy", "precision", "recall", "learning_rate")

benchmark = Benchmark(
    "Logging metrics: five values a step, one call and one transaction a step",
    workloads={"200 steps of 5 metrics": {"n_steps": 200}},
    rounds=7,
)


def steps(n_steps: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the steps and their values."""
    for step in range(n_steps):
        yield step, {name: 1.0 / (1 + step + index) for index, name in enumerate(METRICS)}


@benchmark.floor("sqlite3, bare")
def sqlite_bare(folder: Path, n_steps: int) -> Callable[[], int]:
    """Keep integer keys in one table clustered by (run, metric, step), WAL, synchronous NORMAL."""
    import sqlite3
    import time

    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        "CREATE TABLE points (run INT, metric INT, step INT, at INT, value REAL, PRIMARY KEY (run, metric, step)) "
        "WITHOUT ROWID"
    )
    runs = iter(range(1_000_000))

    def run() -> int:
        number = next(runs)
        for step, values in steps(n_steps):
            at = time.time_ns() // 1000
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO points VALUES (?, ?, ?, ?, ?)",
                [(number, index, step, at, value) for index, value in enumerate(values.values())],
            )
            connection.execute("COMMIT")
        (count,) = connection.execute("SELECT count(*) FROM points WHERE run = ?", (number,)).fetchone()
        return int(count)

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


@benchmark.ours()
def ours(folder: Path, n_steps: int) -> Callable[[], int]:
    """Log through `ExperimentTracking` to a SQLite store."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}")

    def run() -> int:
        run_id = tracking.start_run("benchmark")
        for step, values in steps(n_steps):
            tracking.log_metrics(run_id, values, step=step)
        tracking.end_run(run_id)
        return sum(len(tracking.metric_history([run_id], name)) for name in METRICS)

    return run
