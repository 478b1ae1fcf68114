"""Create runs with ten params and five metrics: bare sqlite3, MLflow, Trackio, Aim and ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark
from benchmarks.tracking import METRICS, open_floor

PARAMS = {f"param_{index}": index * 0.1 for index in range(10)}
VALUES = dict.fromkeys(METRICS, 0.5)

benchmark = Benchmark(
    "Creating runs: start, ten params, five metrics, end",
    workloads={"100 runs": {"n_runs": 100}},
    rounds=5,
    max_ratio_to_floor=4.0,
)


@benchmark.floor("sqlite3, the same rows and indexes, three commits a run")
def sqlite_bare(folder: Path, n_runs: int) -> Callable[[], int]:
    """Insert a run with its params, its metrics, and its end."""
    import time

    connection = open_floor(folder / "bare.db")
    connection.executescript(
        """
        CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT UNIQUE, experiment INT, name TEXT, status
        TEXT,
            started INT, ended INT);
        CREATE INDEX by_start ON runs (experiment, started);
        CREATE TABLE params (run INT, key INT, value TEXT, number REAL, PRIMARY KEY (run, key)) WITHOUT ROWID;
        CREATE INDEX by_number ON params (key, number);
        """
    )
    counter = iter(range(10_000_000))

    def run() -> int:
        for _ in range(n_runs):
            uid, at = f"{next(counter):032x}", time.time_ns() // 1000
            connection.execute("BEGIN IMMEDIATE")
            number = connection.execute(
                "INSERT INTO runs (uid, experiment, name, status, started) VALUES (?, 1, 'r', 'running', ?)", (uid, at)
            ).lastrowid
            rows = [(number, index, repr(value), value) for index, value in enumerate(PARAMS.values())]
            connection.executemany("INSERT INTO params VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO summaries VALUES (?, ?, 1, ?, 0, ?, ?, 0, ?, 0)",
                [(number, index, value, at, value, value) for index, value in enumerate(VALUES.values())],
            )
            connection.executemany(
                "INSERT INTO points VALUES (?, ?, 0, ?, ?)",
                [(number, index, at, value) for index, value in enumerate(VALUES.values())],
            )
            connection.execute("COMMIT")
            connection.execute("UPDATE runs SET status = 'finished', ended = ? WHERE id = ?", (at, number))
        return n_runs

    return run


@benchmark.peer("MLflow", install=["mlflow"])
def mlflow(folder: Path, n_runs: int) -> Callable[[], int]:
    """Use the fluent interface, as its documentation shows."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = mlflow.MlflowClient().create_experiment("benchmark", artifact_location=str(folder / "artifacts"))

    def run() -> int:
        for _ in range(n_runs):
            with mlflow.start_run(experiment_id=experiment):
                mlflow.log_params(PARAMS)
                mlflow.log_metrics(VALUES)
        return n_runs

    return run


@benchmark.peer("Trackio", install=["trackio"])
def trackio(folder: Path, n_runs: int) -> Callable[[], int]:
    """Start and finish runs of a local project."""
    import os

    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    names = iter(range(10_000_000))

    def run() -> int:
        for _ in range(n_runs):
            trackio.init(
                project="benchmark",
                name=f"r{next(names)}",
                config=PARAMS,
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
            trackio.log(VALUES)
            trackio.finish()
        return n_runs

    return run


@benchmark.peer("Aim", install=["aim"])
def aim(folder: Path, n_runs: int) -> Callable[[], int]:
    """Open and close runs of a local repository."""
    from aim import Run

    def run() -> int:
        for _ in range(n_runs):
            tracked = Run(
                repo=str(folder), experiment="benchmark", system_tracking_interval=None, capture_terminal_logs=False
            )
            tracked["hparams"] = PARAMS
            for name, value in VALUES.items():
                tracked.track(value, name=name, step=0)
            tracked.close()
        return n_runs

    return run


@benchmark.ours()
def ours(folder: Path, n_runs: int) -> Callable[[], int]:
    """Start runs with their params, log, end."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}")

    def run() -> int:
        for _ in range(n_runs):
            run_id = tracking.start_run("benchmark", params=PARAMS)
            tracking.log_metrics(run_id, VALUES)
            tracking.end_run(run_id)
        return n_runs

    return run
