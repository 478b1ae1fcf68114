"""Judge ten thousand logged points, against the control chart people write with pandas' rolling windows.

The naive version reads the same points and, for each, takes mean and deviation of the thirty before it and the slope
over them: limits that follow the drift they should find.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Judging a metric",
    workloads={"10,000 points": {"n_points": 10_000}},
    rounds=5,
    max_ratio_to_floor=0.2,
)


def store(folder: Path, n_points: int) -> str:
    """Make the same store for everyone; return its URL."""
    import numpy as np
    import pandas as pd

    from model_monitoring import ModelMonitoring

    url = f"sqlite:///{folder}/modeldesk.db"
    values = np.random.default_rng(0).normal(0.9, 0.01, n_points)
    at = pd.date_range("2020-01-01", periods=n_points, freq="1h", tz="UTC")
    frame = pd.DataFrame({"metric": "auc", "value": values, "at": at})
    ModelMonitoring(url).log_performances(frame, name="model", version="1")
    return url


@benchmark.floor("pandas rolling: mean, deviation, slope")
def naive(folder: Path, n_points: int) -> Callable[[], int]:
    """Read, roll, compare."""
    import sqlite3

    import numpy as np
    import pandas as pd

    store(folder, n_points)
    connection = sqlite3.connect(folder / "modeldesk.db")
    steps = np.arange(30.0)

    def run() -> int:
        frame = pd.read_sql_query("SELECT at, value FROM performance_points ORDER BY at", connection)
        frame["at"] = pd.to_datetime(frame["at"], unit="us", utc=True)
        past = frame["value"].shift(1).rolling(30)
        slope = frame["value"].rolling(30).apply(lambda window: np.polyfit(steps, window, 1)[0], raw=True)
        outside = (frame["value"] - past.mean()).abs() > 3 * past.std()
        return len(frame) + 0 * int(outside.sum()) + 0 * int(slope.notna().sum())

    return run


@benchmark.ours()
def ours(folder: Path, n_points: int) -> Callable[[], int]:
    """All charts, violations, trend and change point."""
    from model_monitoring import ModelMonitoring

    monitoring = ModelMonitoring(store(folder, n_points))

    def run() -> int:
        drift = monitoring.detect_performance_drift("model", "1", "auc", lookback_days=365)
        return len(drift.points) + len(drift.history)

    return run
