"""Read a history into a DataFrame: whole, MLflow, Trackio and ours; and so little of long ones as a figure shows.

The peers have nothing for the second: of 10,000,000 points their dashboards, too, read all, or every n-th and lose the
extremes. Its floor is a bare GROUP BY of all points of the same table.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark

LONG = "1,500 points each of 10 histories, 10,000,000 points"

benchmark = Benchmark(
    "Reading a history into a DataFrame",
    workloads={
        "100,000 points": {"n_points": 100_000},
        LONG: {"n_points": 10_000_000, "max_points": 1_500},
    },
    rounds=5,
)


def refuse(max_points: int | None) -> None:
    """Say that a peer has nothing to compare."""
    if max_points is not None:
        raise RuntimeError("not measured: it reads all points, and takes an hour to log them")


@benchmark.peer("MLflow", install=["mlflow"])
def mlflow(folder: Path, n_points: int, max_points: int | None = None) -> Callable[[], int]:
    """Read with `get_metric_history`."""
    refuse(max_points)
    import mlflow
    import pandas as pd
    from mlflow.entities import Metric

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("benchmark", artifact_location=str(folder / "artifacts"))
    run_id = client.create_run(experiment).info.run_id
    for start in range(0, n_points, 1_000):
        client.log_batch(
            run_id, metrics=[Metric("loss", 1.0 / (1 + s), 1_000 + s, s) for s in range(start, start + 1_000)]
        )

    def run() -> int:
        points = client.get_metric_history(run_id, "loss")
        frame = pd.DataFrame([(p.step, p.timestamp, p.value) for p in points], columns=["step", "at", "value"])
        return len(frame)

    return run


@benchmark.peer("Trackio", install=["pandas", "trackio"])
def trackio(folder: Path, n_points: int, max_points: int | None = None) -> Callable[[], int]:
    """Read with its storage class, as its own dashboard does."""
    refuse(max_points)
    import os

    os.environ["TRACKIO_DIR"] = str(folder)
    import pandas as pd
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    trackio.init(project="benchmark", name="r", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    for step in range(n_points):
        trackio.log({"loss": 1.0 / (1 + step)}, step=step)
    trackio.finish()

    def run() -> int:
        return len(pd.DataFrame(SQLiteStorage.get_logs("benchmark", "r")))

    return run


@benchmark.ours()
def ours(folder: Path, n_points: int, max_points: int | None = None) -> Callable[[], int]:
    """Read with `metric_history`."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}")
    if max_points is not None:
        from benchmarks.dashboard_scripts import log_points

        run_ids = log_points(folder, n_points)
    else:
        run_ids = [tracking.start_run("benchmark", detached=True)]
        tracking.log_metrics(run_ids[0], {"loss": [1.0 / (1 + step) for step in range(n_points)]})

    def run() -> int:
        return len(tracking.metric_history(run_ids, "loss", max_points=max_points))

    return run
