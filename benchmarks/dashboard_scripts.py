"""Run the script of one section of the A/B testing and the Monitoring tab, on a large test and a large monitored model.

The whole app runs in this process, as the server runs it for one click, without a browser: the floor is the app with
another tab open, on an empty store. The stores are seeded once and shared by all contenders of a workload.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

ROOT = Path(__file__).resolve().parent.parent
AB, MONITORING = "A/B testing", "Monitoring"
benchmark = Benchmark(
    "Script of a section of the dashboard",
    workloads={
        "A/B test of 1,000,000 subjects": {"tab": AB, "size": 1_000_000},
        "Model with 200 features and 10,000 points": {"tab": MONITORING, "size": 200},
    },
    rounds=5,
)


def seed_test(folder: Path, n_subjects: int) -> str:
    """Store a test of so many subjects with three metrics and an attribute; return its id."""
    import numpy as np
    import pandas as pd

    from ab_testing import ABTestingFramework, ExperimentConfig, Metric

    testing = ABTestingFramework(f"sqlite:///{folder / 'modeldesk.db'}")
    exp_id = testing.create_experiment(
        ExperimentConfig(
            name="large", metric_name="minutes", secondary_metrics=[Metric(name="clicked", metric_type="binary")],
            guardrails=[Metric(name="visits", metric_type="count", direction="lower")],
            minimum_detectable_effect=0.01, baseline_sd=1.0,
        )
    )  # fmt: skip
    draw = np.random.default_rng(1)
    days = pd.date_range("2026-01-01", periods=30, freq="D", tz="UTC")
    for start in range(0, n_subjects, 100_000):
        count = min(100_000, n_subjects - start)
        users = [f"user-{i:07d}" for i in range(start, start + count)]
        at = days[start * 30 // n_subjects]
        for metric, values in (
            ("minutes", draw.normal(10.0, 1.0, count)),
            ("clicked", draw.integers(0, 2, count).astype(float)),
            ("visits", draw.poisson(3.0, count).astype(float)),
        ):
            testing.record_events(
                exp_id, pd.DataFrame({"user_id": users, "value": values, "metric": metric, "at": at})
            )
        testing.record_attributes(exp_id, pd.DataFrame({"user_id": users, "country": draw.choice(["CH", "DE"], count)}))
    return exp_id


def seed_monitoring(folder: Path, n_features: int) -> str:
    """Store a version with so many features in 30 batches, and 10,000 points of a metric; return its id in a link."""
    import numpy as np
    import pandas as pd

    from model_monitoring import ModelMonitoring

    monitoring = ModelMonitoring(f"sqlite:///{folder / 'modeldesk.db'}")
    draw = np.random.default_rng(1)
    end = pd.Timestamp("2026-03-01", tz="UTC")

    def frame(rows: int, shift: float) -> Any:
        columns = {f"feature_{i:03d}": draw.normal(shift if i % 20 == 0 else 0.0, 1.0, rows) for i in range(n_features)}
        return pd.DataFrame(columns)

    monitoring.set_reference("large", "1.0.0", frame(2_000, 0.0))
    for day in range(30):
        monitoring.log_features("large", "1.0.0", frame(200, day / 15), at=end - pd.Timedelta(days=30 - day))
    for metric in ("accuracy", "auc"):
        points = pd.DataFrame(
            {
                "metric": metric,
                "value": 0.9 + 0.01 * draw.standard_normal(10_000),
                "prediction_count": 1_000,
                "at": pd.date_range(end=end, periods=10_000, freq="15min"),
            }
        )
        monitoring.log_performances(points, name="large", version="1.0.0")
    predictions = draw.choice(["stay", "leave"], 20_000)
    monitoring.log_predictions(
        "large", "1.0.0", predictions.tolist(), probabilities=draw.beta(8, 2, 20_000).tolist(),
        labels=[None if i % 3 else p for i, p in enumerate(predictions.tolist())],
        at=pd.date_range(end=end, periods=20_000, freq="2min").to_pydatetime().tolist(),
    )  # fmt: skip
    return "large:1.0.0"


def _script(url: str, query: dict[str, str]) -> Callable[[], str]:
    """Return a function that opens the app at an address, as a fresh session, and says how much it drew."""
    from streamlit.testing.v1 import AppTest

    os.environ["MODELDESK_DATABASE_URL"] = url
    os.chdir(ROOT)  # the settings of the dashboard are beside it

    def run() -> str:
        test = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=600)
        for name, value in query.items():
            test.query_params[name] = value
        test.run()
        if test.exception:
            raise RuntimeError(test.exception[0].message)
        if test.error:
            raise RuntimeError(test.error[0].value)
        return f"{len(test.dataframe)} tables, {len(test.get('plotly_chart'))} figures"

    return run


@benchmark.floor("another tab, an empty store")
def empty(folder: Path, tab: str, size: int) -> Callable[[], str]:
    """Run the shell with an empty Tracking tab."""
    return _script(f"sqlite:///{folder / 'modeldesk.db'}", {"tab": "Tracking"})


def _section(section: str) -> Callable[..., Callable[[], str]]:
    def prepare(folder: Path, tab: str, size: int) -> Callable[[], str]:
        shared = folder.parents[2] / "shared"  # contenders are prepared in turn: the first one seeds the store
        mark = shared / "id.txt"
        if not mark.exists():
            shared.mkdir(exist_ok=True)
            mark.write_text(seed_test(shared, size) if tab == AB else seed_monitoring(shared, size))
        query = {"tab": tab, "test" if tab == AB else "watch": mark.read_text()}
        prefix = "ab_testing" if tab == AB else "monitoring"
        return _script(f"sqlite:///{shared / 'modeldesk.db'}", query | {f"{prefix}.section": section})

    return prepare
