"""Find the 100 best of many runs by a metric, as a DataFrame: MLflow and ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark
from benchmarks.tracking import METRICS

N_SEARCHES = 5

benchmark = Benchmark(
    f"Searching: the 100 best of all runs by a metric, as a DataFrame, {N_SEARCHES} times",
    workloads={"1,000 runs": {"n_runs": 1_000}, "100,000 runs": {"n_runs": 100_000}},
    rounds=7,
)


def score(index: int, metric: int) -> float:
    """Return a value for each run and metric, none of them equal."""
    return ((index * 7919 + metric * 104_729) % 1_000_003) / 1_000_003


@benchmark.peer("MLflow", install=["mlflow"])
def mlflow(folder: Path, n_runs: int) -> Callable[[], int]:
    """Search MLflow's SQLite store; only the first run comes through its API, which takes 20 to 100 ms for each."""
    import time

    import mlflow
    from mlflow.entities import Metric, Param

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    client = mlflow.MlflowClient()
    experiment = client.create_experiment("benchmark", artifact_location=str(folder / "artifacts"))
    params = [Param(f"param_{index}", str(index * 0.1)) for index in range(10)]
    run_id = client.create_run(experiment).info.run_id
    at = int(time.time() * 1000)
    client.log_batch(
        run_id, metrics=[Metric(name, score(0, i), at, 0) for i, name in enumerate(METRICS)], params=params
    )
    multiply_mlflow(folder / "mlflow.db", run_id, n_runs)

    def run() -> int:
        for _ in range(N_SEARCHES):
            found = mlflow.search_runs([experiment], order_by=["metrics.accuracy DESC"], max_results=100)
        return len(found)

    return run


@benchmark.ours()
def ours(folder: Path, n_runs: int) -> Callable[[], int]:
    """Search with `search_runs`."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}")
    first = tracking.start_run("benchmark", params={f"param_{index}": index * 0.1 for index in range(10)})
    tracking.log_metrics(first, {name: score(0, index) for index, name in enumerate(METRICS)})
    tracking.end_run(first)
    multiply(tracking._database, n_runs)

    def run() -> int:
        for _ in range(N_SEARCHES):
            found = tracking.search_runs(experiment="benchmark", order_by="metrics.accuracy desc", limit=100)
        return len(found)

    return run


def multiply(database: Any, n_runs: int) -> None:
    """Copy the first run of a store until there are `n_runs`: the rows that the API would write, sooner."""
    with database.driver() as cursor:
        numbers = range(2, n_runs + 1)
        cursor.executemany(
            "INSERT INTO runs (id, uid, experiment_id, name, status, started_at, ended_at, environment_id) "
            "SELECT ?, ?, experiment_id, name, status, started_at + ?, ended_at + ?, environment_id "
            "FROM runs WHERE id = 1",
            ((number, f"{number:032x}", number, number) for number in numbers),
        )
        cursor.execute("SELECT key_id, is_json, value, number FROM run_params WHERE run_id = 1")
        params = cursor.fetchall()
        cursor.executemany(
            "INSERT INTO run_params (run_id, key_id, is_json, value, number) VALUES (?, ?, ?, ?, ?)",
            ((number, *param) for number in numbers for param in params),
        )
        names = {name: index for index, name in enumerate(METRICS)}
        cursor.execute("SELECT name, id FROM run_keys")
        keys = [(key, names[name]) for name, key in cursor.fetchall() if name in names]
        cursor.executemany(
            "INSERT INTO metric_summaries (run_id, key_id, n_points, last_value, last_step, last_at, min_value, "
            "min_step, max_value, max_step) VALUES (?, ?, 1, ?, 0, 0, ?, 0, ?, 0)",
            ((n, key, *(score(n - 1, index),) * 3) for n in numbers for key, index in keys),
        )
        cursor.executemany(
            "INSERT INTO metric_points (run_id, key_id, step, at, value) VALUES (?, ?, 0, 0, ?)",
            ((n, key, score(n - 1, index)) for n in numbers for key, index in keys),
        )


def multiply_mlflow(path: Path, run_id: str, n_runs: int) -> None:
    """Copy the first run of an MLflow store until there are `n_runs`: the rows that its API would write, sooner."""
    import sqlite3

    names = {name: index for index, name in enumerate(METRICS)}
    connection = sqlite3.connect(path)
    for table in ("runs", "params", "tags", "metrics", "latest_metrics"):
        found = connection.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", (run_id,))
        columns = [column[0] for column in found.description]
        rows = [dict(zip(columns, row, strict=True)) for row in found]

        def copies(rows: list[dict[str, Any]] = rows, table: str = table) -> Iterator[tuple[Any, ...]]:
            for number in range(1, n_runs):
                for row in rows:
                    copy = row | {"run_uuid": f"{number:032x}"}
                    if table == "runs":
                        copy |= {"start_time": row["start_time"] + number, "name": f"run-{number}"}
                    elif table in ("metrics", "latest_metrics"):
                        copy |= {"value": score(number, names[row["key"]])}
                    yield tuple(copy.values())

        connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", copies())
    connection.commit()
    connection.close()
