"""Compare two frames of a million rows and ten columns of text, against pandas' `value_counts` on the same columns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Data drift of text columns",
    workloads={"1,000,000 rows x 10 text columns": {"n_rows": 1_000_000, "n_columns": 10}},
    rounds=3,
    max_ratio_to_floor=1.3,
)


def frames(n_rows: int, n_columns: int) -> tuple[Any, Any]:
    """Make the same two frames for everyone; the last column has drifted."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    labels = np.array([f"category {i}" for i in range(20)])
    names = [f"c{i}" for i in range(n_columns)]
    left = {name: labels[rng.integers(0, 20, n_rows)] for name in names}
    right = {name: labels[rng.integers(0, 10 if name == names[-1] else 20, n_rows)] for name in names}
    return pd.DataFrame(left), pd.DataFrame(right)


@benchmark.floor("pandas value_counts")
def floor(folder: Path, n_rows: int, n_columns: int) -> Callable[[], int]:
    """Count both frames."""
    left, right = frames(n_rows, n_columns)

    def run() -> int:
        return sum(len(left[name].value_counts()) > len(right[name].value_counts()) for name in left.columns)

    return run


@benchmark.ours()
def ours(folder: Path, n_rows: int, n_columns: int) -> Callable[[], int]:
    """Count, compare and judge both frames."""
    from model_monitoring import ModelMonitoring

    monitoring = ModelMonitoring(f"sqlite:///{folder}/modeldesk.db")
    left, right = frames(n_rows, n_columns)
    return lambda: len(monitoring.detect_data_drift(left, right).drifted_features)
