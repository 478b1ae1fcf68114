"""Log five metrics a step in a tight loop: Trackio, which returns before anything is stored, and our buffered mode."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Benchmark
from benchmarks.tracking import METRICS, steps

benchmark = Benchmark(
    "Logging metrics without waiting: calls and the final flush",
    workloads={"3,000 steps of 5 metrics": {"n_steps": 3_000}},
    rounds=5,
)


@benchmark.peer("Trackio", install=["trackio"])
def trackio(folder: Path, n_steps: int) -> Callable[[], int]:
    """Log to a local project, without the Hub."""
    import os

    os.environ["TRACKIO_DIR"] = str(folder)
    import trackio

    def run() -> int:
        trackio.init(project="benchmark", embed=False, auto_log_gpu=False, auto_log_cpu=False)
        for step, values in steps(n_steps):
            trackio.log(values, step=step)
        trackio.finish()
        return n_steps * len(METRICS)

    return run


@benchmark.ours()
def ours(folder: Path, n_steps: int) -> Callable[[], int]:
    """Log through the buffered mode."""
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(f"sqlite:///{folder / 'modeldesk.db'}", buffered=True)

    def run() -> int:
        run_id = tracking.start_run("benchmark")
        for step, values in steps(n_steps):
            tracking.log_metrics(run_id, values, step=step)
        tracking.end_run(run_id)
        return sum(summary.n_points for summary in tracking.get_run(run_id).metric_summaries.values())

    return run
