"""Compare a frame with a stored profile, against the floor of comparing it with the rows it came from.

The floor is that of `monitoring_frames`; the promise is .3 of it, because a profile holds edges and counts, not rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import monitoring_frames
from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "A frame against a stored profile",
    workloads={"1,000,000 rows x 20 numeric columns": {"n_rows": 1_000_000, "n_columns": 20}},
    rounds=3,
    max_ratio_to_floor=0.3,
)

benchmark.floor("NumPy, from the rows of both: sort, searchsorted KS, decile PSI")(monitoring_frames.floor)


@benchmark.ours()
def ours(folder: Path, n_rows: int, n_columns: int) -> Callable[[], int]:
    """Count the frame on the reference's edges, store the batch, read it back, and judge every feature."""
    from model_monitoring import ModelMonitoring

    monitoring = ModelMonitoring(f"sqlite:///{folder}/modeldesk.db")
    left, right = monitoring_frames.frames(n_rows, n_columns)
    monitoring.set_reference("model", "1", left)
    number = iter(range(10**6))

    def run() -> int:
        at = f"2026-01-01T00:00:{next(number) % 60:02d}"
        monitoring.log_features("model", "1", right, at=at)
        return len(monitoring.detect_feature_drift("model", "1", start=at, end=at).drifted_features)

    return run
