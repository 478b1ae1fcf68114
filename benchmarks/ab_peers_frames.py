"""Analyse an A/B test in a DataFrame: tea-tasting, gbstats, and ours, with the same effect and p-value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Analysing an A/B test in a DataFrame",
    workloads={"1,000,000 rows": {"n_rows": 1_000_000}, "10,000,000 rows": {"n_rows": 10_000_000}},
    rounds=5,
)


def _frame(n_rows: int) -> Any:
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(0)
    variant = rng.integers(0, 2, n_rows)
    return pd.DataFrame({"variant": variant, "value": rng.normal(10.0, 3.0, n_rows) + 0.003 * variant})


def _shown(effect: float, p_value: float) -> list[str]:
    """Nine digits: some of the contenders square their sums."""
    return [f"{effect:.9g}", f"{p_value:.9g}"]


@benchmark.floor("pandas groupby: count, mean, variance")
def pandas_groupby(folder: Path, n_rows: int) -> Callable[[], None]:
    """Take the statistics that a test of means needs, and no test."""
    frame = _frame(n_rows)

    def run() -> None:
        frame.groupby("variant")["value"].agg(["count", "mean", "var"])

    return run


@benchmark.peer("tea-tasting, Mean", install=["tea-tasting", "pandas"])
def tea_tasting(folder: Path, n_rows: int) -> Callable[[], list[str]]:
    """Welch's test with absolute and relative intervals, as its guide shows."""
    import tea_tasting as tt

    frame = _frame(n_rows)
    experiment = tt.Experiment(value=tt.Mean("value"))

    def run() -> list[str]:
        found = experiment.analyze(frame)["value"]
        return _shown(found.effect_size, found.pvalue)

    return run


@benchmark.peer("gbstats, sums by pandas", install=["gbstats", "numpy<2"])
def gbstats(folder: Path, n_rows: int) -> Callable[[], list[str]]:
    """Sum by variant, then its two-sided test; it takes sums, as a warehouse would deliver them."""
    from gbstats.frequentist.tests import FrequentistConfig, TwoSidedTTest
    from gbstats.models.statistics import SampleMeanStatistic

    frame = _frame(n_rows)

    def run() -> list[str]:
        frame["square"] = frame["value"] * frame["value"]
        sums = frame.groupby("variant").agg(n=("value", "size"), total=("value", "sum"), squares=("square", "sum"))
        arms = [
            SampleMeanStatistic(n=int(row.n), sum=float(row.total), sum_squares=float(row.squares))
            for row in sums.itertuples()
        ]
        found = TwoSidedTTest(*arms, FrequentistConfig(difference_type="absolute")).compute_result()
        return _shown(found.expected, found.p_value)

    return run


@benchmark.ours("ModelDesk, analyze_frame")
def ours(folder: Path, n_rows: int) -> Callable[[], list[str]]:
    """Run the whole analysis: intervals, effect size, chance to beat, verdict."""
    from ab_testing import analyze_frame

    frame = _frame(n_rows)

    def run() -> list[str]:
        found = analyze_frame(frame, variant="variant", value="value")
        return _shown(found.effect or 0.0, found.p_value or 1.0)

    return run
