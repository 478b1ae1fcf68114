"""One run of the dashboard's script on large stores: what the server computes for one click, without a browser.

The CPU column is the promise: no script run over 1 s. Each round is one whole run of `streamlit_app.py` in Streamlit's
own `AppTest`, in a session of its own, so that nothing is at hand which an earlier visit left; a first round, which
also imports, is not counted. The floor is a script of one word.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import ROOT, Benchmark

benchmark = Benchmark(
    "One script run of the dashboard",
    workloads={
        "Tracking, 100,000 runs": {"tab": "Tracking", "n": 100_000},
        "Tracking, the best of 100,000 runs first": {"tab": "Tracking", "n": 100_000, "best": True},
        "Tracking, curves of 10 runs with 10,000,000 points": {"tab": "Tracking", "n": 10_000_000, "points": True},
        "Registry, 10,000 versions": {"tab": "Registry", "n": 10_000},
        "A/B testing, 1,000,000 subjects with 3 metrics": {"tab": "A/B testing", "n": 1_000_000},
    },
    rounds=5,
)


@benchmark.floor("Streamlit, one word")
def one_word(folder: Path, **_workload: Any) -> Callable[[], str]:
    """Run the least script."""
    from streamlit.testing.v1 import AppTest

    test = AppTest.from_string("import streamlit as st\nst.write('word')\n")

    def run() -> str:
        test.run()
        return "one word"

    return run


@benchmark.ours("ModelDesk")
def ours(folder: Path, tab: str, n: int, *, best: bool = False, points: bool = False) -> Callable[[], str]:
    """Run the script with a tab open."""
    from streamlit.testing.v1 import AppTest

    os.environ["MODELDESK_DATABASE_URL"] = f"sqlite:///{folder / 'modeldesk.db'}"
    query: dict[str, list[str]] = {"tab": [tab]}
    if points:
        query["run"] = log_points(folder, n)
    elif tab == "A/B testing":
        query["test"] = [record_subjects(folder, n)]
    elif tab == "Tracking":
        from benchmarks.tracking_search import ours as search_runs

        search_runs(folder, n)
    else:
        from benchmarks.registry_search import fill

        fill(folder, n)
    if best:
        query["tracking.order"] = ["accuracy"]

    def run() -> str:
        test = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=600)
        for name, values in query.items():
            test.query_params[name] = values
        test.run()
        if test.exception or test.error:
            raise RuntimeError(str([element.value for element in (*test.exception, *test.error)]))
        counted = next(str(caption.value).strip("*") for caption in test.caption if str(caption.value).startswith("**"))
        return f"{len(test.dataframe[0].value):,} rows, {counted}, {len(test.get('plotly_chart'))} charts"

    return run


def record_subjects(folder: Path, n_subjects: int) -> str:
    """Fill a store with one A/B test of three metrics, and return its id."""
    import numpy as np
    import pandas as pd

    from ab_testing import ABTestingFramework, ExperimentConfig, Metric
    from db import Database

    tests = ABTestingFramework(Database(folder / "modeldesk.db"))
    config = ExperimentConfig(
        name="large", metric_name="score", secondary_metrics=[Metric(name="clicks"), Metric(name="seconds")]
    )
    exp_id = tests.create_experiment(config)
    rng = np.random.default_rng(0)
    for start in range(0, n_subjects, 50_000):
        users = [f"user-{index:08d}" for index in range(start, min(start + 50_000, n_subjects))]
        for metric in ("score", "clicks", "seconds"):
            frame = pd.DataFrame({"user_id": users, "value": rng.normal(size=len(users)), "metric": metric})
            tests.record_events(exp_id, frame)
    return exp_id


def log_points(folder: Path, n_points: int, *, n_runs: int = 10) -> list[str]:
    """Fill a store with a few long runs, and return their ids."""
    import numpy as np

    from db import Database
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(Database(folder / "modeldesk.db"), capture_environment=False)
    rng = np.random.default_rng(0)
    ids = []
    for number in range(n_runs):
        run_id = tracking.start_run("long", f"run-{number}", params={"seed": number})
        values = np.exp(-np.linspace(0, 5, n_points // n_runs)) + rng.normal(0, 0.01, n_points // n_runs)
        tracking.log_metrics(run_id, {"loss": values}, step=np.arange(len(values)))
        tracking.end_run(run_id)
        ids.append(run_id)
    return ids
