"""Analyse one million subjects in the database: the bare SQL GROUP BY, pulling rows into pandas, and ours.

Rows are pulled in two ways: the log of events, as somebody must who has no row per subject, and the rows per subject
that ModelDesk keeps. The second workload has as many events of a fifth of the subjects: ours takes time by the subject.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Analysing a stored A/B test",
    workloads={
        "1,000,000 subjects, 1 event each": {"n_subjects": 1_000_000, "events_each": 1},
        "200,000 subjects, 5 events each": {"n_subjects": 200_000, "events_each": 5},
    },
    rounds=5,
    max_ratio_to_floor=2.0,
)


def fill(folder: Path, n_subjects: int, events_each: int) -> None:
    """Store a test in a process of its own, so that the peak of memory is that of the analysis."""
    import multiprocessing

    filling = multiprocessing.get_context("fork").Process(target=_fill, args=(folder, n_subjects, events_each))
    filling.start()
    filling.join()
    if filling.exitcode != 0:
        raise RuntimeError(f"filling the store ended with {filling.exitcode}")


def _fill(folder: Path, n_subjects: int, events_each: int) -> None:
    import numpy as np

    from ab_testing import ABTestingFramework, ExperimentConfig

    tests = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    exp_id = tests.create_experiment(ExperimentConfig(name="benchmark", metric_name="score", min_sample_size=1000))
    rng = np.random.default_rng(0)
    for _ in range(events_each):
        for start in range(0, n_subjects, 20_000):  # small batches: the peak of memory must not be that of the filling
            part = range(start, min(start + 20_000, n_subjects))
            values = rng.normal(size=len(part)).tolist()
            names = (f"user-{index:08d}" for index in part)
            tests.record_events(exp_id, list(zip(names, values, strict=True)))


@benchmark.floor("sqlite3, bare GROUP BY")
def sqlite_group_by(folder: Path, n_subjects: int, events_each: int) -> Callable[[], int]:
    """Take sums by variant over the same table."""
    import sqlite3

    fill(folder, n_subjects, events_each)
    connection = sqlite3.connect(folder / "modeldesk.db")
    statement = (
        "SELECT phase, variant, COUNT(*), SUM(value), SUM(value * value) FROM ab_subjects "
        "WHERE experiment_id = 1 AND metric = 0 GROUP BY phase, variant"
    )
    return lambda: sum(row[2] for row in connection.execute(statement))


def _welch(frame: Any) -> int:
    from scipy.stats import ttest_ind

    ttest_ind(frame.value[frame.variant == 1], frame.value[frame.variant == 0], equal_var=False)
    return len(frame)


@benchmark.peer("events into pandas, grouped, then Welch", install=[])
def events_into_pandas(folder: Path, n_subjects: int, events_each: int) -> Callable[[], int]:
    """Do what a notebook does with a log of events: pull it, and make one value of every subject."""
    import sqlite3

    import pandas as pd

    fill(folder, n_subjects, events_each)
    connection = sqlite3.connect(folder / "modeldesk.db")
    statement = (
        "SELECT e.subject, a.variant, e.value FROM ab_events e JOIN ab_assignments a "
        "ON a.experiment_id = e.experiment_id AND a.subject = e.subject WHERE e.experiment_id = 1 AND e.metric = 0"
    )

    def run() -> int:
        events = pd.read_sql(statement, connection)
        return _welch(events.groupby(["subject", "variant"], sort=False, as_index=False)["value"].mean())

    return run


@benchmark.peer("rows per subject into pandas, then Welch", install=[])
def rows_into_pandas(folder: Path, n_subjects: int, events_each: int) -> Callable[[], int]:
    """Pull the rows per subject, which ModelDesk keeps up to date with every event."""
    import sqlite3

    import pandas as pd

    fill(folder, n_subjects, events_each)
    connection = sqlite3.connect(folder / "modeldesk.db")
    statement = "SELECT subject, variant, value FROM ab_subjects WHERE experiment_id = 1 AND metric = 0"
    return lambda: _welch(pd.read_sql(statement, connection))


@benchmark.ours()
def ours(folder: Path, n_subjects: int, events_each: int) -> Callable[[], int]:
    """Run the whole analysis, with the test of the split, intervals and the verdict."""
    from ab_testing import ABTestingFramework

    fill(folder, n_subjects, events_each)
    tests = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    exp_id = tests.get_experiment("benchmark").exp_id
    return lambda: sum(tests.analyze_experiment(exp_id, record_look=False).n_subjects.values())
