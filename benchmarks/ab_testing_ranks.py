"""Mann-Whitney's test on one million counts: SciPy and ours, with the same U."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Mann-Whitney's test on counts",
    workloads={"1,000,000 counts": {"n": 1_000_000}},
    rounds=7,
)


def _arms(n: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.poisson(3.0, n // 2), rng.poisson(3.01, n // 2)


@benchmark.floor("scipy.stats.mannwhitneyu")
def scipy_test(folder: Path, n: int) -> Callable[[], int]:
    """Rank everything."""
    from scipy.stats import mannwhitneyu

    baseline, treatment = _arms(n)
    return lambda: round(2 * float(mannwhitneyu(treatment, baseline).statistic))


@benchmark.ours()
def ours(folder: Path, n: int) -> Callable[[], int]:
    """Count, then work on the distinct values."""
    from stats.ranks import mann_whitney

    baseline, treatment = _arms(n)
    return lambda: round(2 * mann_whitney(baseline, treatment).u_treatment)
