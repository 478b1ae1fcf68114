"""Read a history of 100,000 points into a DataFrame: MLflow, Trackio and ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Reading a history into a DataFrame", workloads={"100,000 points": {"n_points": 100_000}}, rounds=5
)


@benchmark.peer("MLflow", install=["mlflow"])
def mlflow(folder: Path, n_points: int) -> Callable[[], int]:
    """Read with `get_metric_history`."""
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
def trackio(folder: Path, n_points: int) -> Callable[[], int]:
    """Read with its storage class, as its own dashboard does."""
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
def ours(folder: Path, n_points: int) -> Callable[[], int]:
    """Read with `metric_history`."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}")
    run_id = tracking.start_run("benchmark", detached=True)
    tracking.log_metrics(run_id, {"loss": [1.0 / (1 + step) for step in range(n_points)]})

    def run() -> int:
        return len(tracking.metric_history(run_id, "loss"))

    return run
