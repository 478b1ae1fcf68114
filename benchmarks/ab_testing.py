"""Analyse one million subjects in the database: the bare SQL GROUP BY, pulling rows into pandas, and ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Analysing a stored A/B test",
    workloads={"1,000,000 subjects": {"n_subjects": 1_000_000}},
    rounds=5,
    max_ratio_to_floor=2.0,
)


def fill(folder: Path, n_subjects: int) -> tuple[Any, str]:
    """Store a test with one event a subject; returns the framework and the id."""
    import numpy as np

    from ab_testing import ABTestingFramework, ExperimentConfig

    tests = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    exp_id = tests.create_experiment(ExperimentConfig(name="benchmark", metric_name="score", min_sample_size=1000))
    values = np.random.default_rng(0).normal(size=n_subjects).tolist()
    for start in range(0, n_subjects, 250_000):
        part = range(start, min(start + 250_000, n_subjects))
        tests.record_events(exp_id, [(f"user-{index:08d}", values[index]) for index in part])
    return tests, exp_id


@benchmark.floor("sqlite3, bare GROUP BY")
def sqlite_group_by(folder: Path, n_subjects: int) -> Callable[[], int]:
    """Take sums by variant over the same table."""
    import sqlite3

    fill(folder, n_subjects)
    connection = sqlite3.connect(folder / "modeldesk.db")
    statement = (
        "SELECT phase, variant, COUNT(*), SUM(value), SUM(value * value) FROM ab_subjects "
        "WHERE experiment_id = 1 AND metric = 0 GROUP BY phase, variant"
    )
    return lambda: sum(row[2] for row in connection.execute(statement))


@benchmark.ours("rows into pandas, then Welch")
def rows_into_pandas(folder: Path, n_subjects: int) -> Callable[[], int]:
    """Do what a notebook does without sufficient statistics."""
    import sqlite3

    import pandas as pd
    from scipy.stats import ttest_ind

    fill(folder, n_subjects)
    connection = sqlite3.connect(folder / "modeldesk.db")

    def run() -> int:
        frame = pd.read_sql("SELECT subject, variant, value FROM ab_subjects WHERE experiment_id = 1", connection)
        ttest_ind(frame.value[frame.variant == 1], frame.value[frame.variant == 0], equal_var=False)
        return len(frame)

    return run


@benchmark.ours()
def ours(folder: Path, n_subjects: int) -> Callable[[], int]:
    """Run the whole analysis, with the test of the split, intervals and the verdict."""
    tests, exp_id = fill(folder, n_subjects)
    return lambda: sum(tests.analyze_experiment(exp_id, record_look=False).n_subjects.values())
