"""Log a hundred thousand values of a metric as one batch, against `executemany` on bare sqlite3."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Logging performance by batch",
    workloads={"100,000 rows": {"n_rows": 100_000}},
    rounds=5,
    fresh=True,
    max_ratio_to_floor=2.0,
)


def rows_of(n_rows: int) -> Any:
    """Make the same frame for everyone."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "metric": "accuracy",
            "value": rng.uniform(0.8, 1.0, n_rows),
            "prediction_count": rng.integers(1, 1_000, n_rows),
            "at": pd.date_range("2020-01-01", periods=n_rows, freq="10min", tz="UTC"),
        }
    )


@benchmark.floor("sqlite3 executemany of ready tuples")
def floor(folder: Path, n_rows: int) -> Callable[[], int]:
    """Write the same columns, already as tuples, into a table of the same shape."""
    import os
    import sqlite3

    frame = rows_of(n_rows)
    times = (frame["at"].astype("int64") // 1_000).tolist()
    ties = [int.from_bytes(os.urandom(8)) >> 1 for _ in range(n_rows)]
    tuples = list(
        zip([1] * n_rows, times, ties, frame["value"].tolist(), frame["prediction_count"].tolist(), strict=True)
    )
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(
        "CREATE TABLE points (series INTEGER, at INTEGER, tie INTEGER, value REAL, n INTEGER, event TEXT, "
        "PRIMARY KEY (series, at, tie)) WITHOUT ROWID"
    )

    def run() -> int:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?, NULL)", tuples)
        connection.execute("COMMIT")
        return int(connection.execute("SELECT count(*) FROM points").fetchone()[0])

    return run


@benchmark.ours()
def ours(folder: Path, n_rows: int) -> Callable[[], int]:
    """Check every row and store it."""
    from model_monitoring import ModelMonitoring

    monitoring = ModelMonitoring(f"sqlite:///{folder}/modeldesk.db")
    monitoring.log_performance("model", "1", "other", 1.0)
    frame = rows_of(n_rows)
    return lambda: monitoring.log_performances(frame, name="model", version="1")
