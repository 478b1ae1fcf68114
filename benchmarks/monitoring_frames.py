"""Compare two frames of a million rows and twenty columns: every statistic, against an exact NumPy floor and Evidently.

The floor sorts both samples of each column once, takes the Kolmogorov-Smirnov distance by `searchsorted`, and the
population stability index on the deciles of the first: the least from which any of it can be had exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Data drift of two frames",
    workloads={
        "1,000,000 rows x 20 numeric columns": {"n_rows": 1_000_000, "n_columns": 20},
        "100,000 rows x 20 numeric columns": {"n_rows": 100_000, "n_columns": 20},
    },
    rounds=3,
    max_ratio_to_floor=1.2,
)


def frames(n_rows: int, n_columns: int) -> tuple[Any, Any]:
    """Make the same two frames for everyone; the last column has drifted."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    names = [f"x{i}" for i in range(n_columns)]
    left = pd.DataFrame({name: rng.normal(size=n_rows) for name in names})
    right = pd.DataFrame({name: rng.normal(size=n_rows) for name in names})
    right[names[-1]] += 1.0
    return left, right


@benchmark.floor("NumPy: sort, searchsorted KS, decile PSI")
def floor(folder: Path, n_rows: int, n_columns: int) -> Callable[[], int]:
    """Compute the two statistics and nothing else."""
    import numpy as np

    left, right = frames(n_rows, n_columns)

    def run() -> int:
        drifted = 0
        for name in left.columns:
            a, b = np.sort(left[name].to_numpy()), np.sort(right[name].to_numpy())
            both = np.concatenate([a, b])
            gap = np.searchsorted(a, both, side="right") / a.size - np.searchsorted(b, both, side="right") / b.size
            _ = np.abs(gap).max()
            edges = np.quantile(a, np.linspace(0, 1, 11))[1:-1]
            shares = [
                np.diff(np.searchsorted(x, edges, side="left"), prepend=0, append=x.size) / x.size for x in (a, b)
            ]
            e, c = (np.where(share == 0, 1e-4, share) for share in shares)
            drifted += bool(((c - e) * np.log(c / e)).sum() >= 0.2)
        return drifted

    return run


@benchmark.peer("Evidently", install=["evidently", "pandas<3"])
def evidently(folder: Path, n_rows: int, n_columns: int) -> Callable[[], int]:
    """Run its drift preset with PSI, as a person would."""
    from evidently import Report
    from evidently.presets import DataDriftPreset

    left, right = frames(n_rows, n_columns)

    def run() -> int:
        found = Report([DataDriftPreset(method="psi", threshold=0.2)]).run(right, left).dict()
        return int(next(m["value"]["count"] for m in found["metrics"] if "DriftedColumnsCount" in str(m)))

    return run


@benchmark.ours()
def ours(folder: Path, n_rows: int, n_columns: int) -> Callable[[], int]:
    """Every statistic, the verdicts and the histograms."""
    from model_monitoring import ModelMonitoring

    monitoring = ModelMonitoring(f"sqlite:///{folder}/modeldesk.db")
    left, right = frames(n_rows, n_columns)
    return lambda: len(monitoring.detect_data_drift(left, right).drifted_features)
