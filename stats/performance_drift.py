"""A logged metric against its frozen baseline: limits, rules, direction, and the trend that the charts cannot name.

    >>> baseline = estimate_baseline(np.array([0.91, 0.92, 0.93, 0.92, 0.91, 0.92, 0.93, 0.92]))
    >>> judged = judge_series(np.array([0.92, 0.80]), None, baseline)
    >>> [(index, rule) for index, rule, _ in judged.fired if rule == "3-sigma"]
    [(1, '3-sigma')]

Vocabulary: a *baseline* says how the metric behaves in control: method, centre, sigma. A point is *judged* by limits
that come from the baseline alone. Baselines of 8 to 29 points have wider limits, because centre and sigma are
themselves uncertain; with fewer there are none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.control_charts import (
    CUSUM_DECISION,
    CUSUM_REFERENCE,
    EWMA_LAMBDA,
    EWMA_LIMIT,
    NELSON_RULES,
    SHEWHART_LIMIT,
    WESTERN_ELECTRIC_RULES,
    cusum,
    ewma,
    individuals_limits,
    proportion_limits,
    runs_rules,
    small_baseline_factor,
    within_floats,
)
from stats.metric_direction import words_of
from stats.trend import lag1_autocorrelation, linear_trend, mann_kendall

__all__ = [
    "Baseline",
    "JudgedSeries",
    "TrendEstimate",
    "chart_method",
    "estimate_baseline",
    "estimate_trend",
    "judge_series",
]

FloatArray = npt.NDArray[np.float64]

LEARNING_POINTS = 8  # fewer baseline points give no limits
SETTLED_POINTS = 30  # from here limits are the plain 3 sigma
TREND_POINTS = 8  # fewer points give no trend
TREND_LIMIT = 1_000  # newest points used for a trend: pairwise slopes are quadratic
TREND_ALPHA = 0.05
LARGEST_Z = 1e100  # sigmas; what EWMA and CUSUM add up is cut off there, so that no sum overflows
CONSTANT_TOLERANCE = 1e-12  # relative; a spread or a step below it is rounding of 64-bit floats, not data
METHODS = ("individuals", "laney", "p")
DEFAULT_CHARTS = ("3-sigma", "ewma", "cusum")
CHARTS = (*DEFAULT_CHARTS, "nelson", "western-electric")

# In [0, 1] without being successes out of prediction_count.
_NOT_PROPORTIONS = frozenset(
    [
        "auc",
        "auroc",
        "auprc",
        "roc",
        "f1",
        "f2",
        "fbeta",
        "r2",
        "kappa",
        "mcc",
        "iou",
        "dice",
        "ndcg",
        "map",
        "mrr",
        "bleu",
        "rouge",
        "loss",
        "mae",
        "mse",
        "rmse",
        "mape",
        "smape",
        "rmsle",
        "logloss",
        "brier",
        "ece",
        "latency",
        "duration",
        "seconds",
        "ms",
        "perplexity",
        "entropy",
        "deviance",
        "correlation",
        "psi",
        "drift",
        "score",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """How a metric behaves in control.

    Attributes
    ----------
    method : {"individuals", "laney", "p"}
    n : int
        Points it was computed from.
    center : float
        Mean, for proportions weighted by prediction counts.
    sigma : float
        Standard deviation of a point; for proportions of a point with the median count.
    sigma_z : float or None
        Laney's factor, at least 1; None for an individuals chart.
    autocorrelation : float or None
        Correlation of each point with the one before; None when it cannot be computed.
    """

    method: str
    n: int
    center: float
    sigma: float
    sigma_z: float | None = None
    autocorrelation: float | None = None

    @property
    def autocorrelated(self) -> bool:
        """Whether the autocorrelation exceeds what chance gives (1.96 / sqrt n) and makes limits too narrow."""
        return self.autocorrelation is not None and self.autocorrelation > 1.96 / math.sqrt(self.n)

    @property
    def limit_factor(self) -> float:
        """Sigmas from the centre to a limit: 3, or more for a short baseline."""
        return SHEWHART_LIMIT if self.n >= SETTLED_POINTS else small_baseline_factor(self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSeries:
    """Points with limits, and the rules that fired.

    Attributes
    ----------
    lower, upper : ndarray of shape (n_points,)
    z : ndarray of shape (n_points,)
        Deviations from the centre in sigmas; NaN where sigma is 0.
    ewma, cusum_high, cusum_low : ndarray of shape (n_points,)
        In sigmas; NaN where sigma is 0.
    ewma_limit, cusum_limit : float
        In sigmas.
    fired : list of (int, str, int)
        Position, rule, and direction: +1 up, -1 down, 0 neither.
    """

    lower: FloatArray
    upper: FloatArray
    z: FloatArray
    ewma: FloatArray
    cusum_high: FloatArray
    cusum_low: FloatArray
    ewma_limit: float
    cusum_limit: float
    fired: list[tuple[int, str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrendEstimate:
    """A trend by two tests that must agree.

    Attributes
    ----------
    slope_per_day : float
        Least squares.
    sen_slope_per_day : float
        Median of pairwise slopes.
    sen_slope_lower, sen_slope_upper : float or None
        Its 95 % confidence interval.
    p_value : float or None
        t-test of the least-squares slope.
    mann_kendall_p_value : float or None
    tau : float
    significant : bool
        Both p-values below .05, both slopes of one sign.
    fitted_last : float
        Value of the line at the last point.
    span_days : float
    n : int
    """

    slope_per_day: float
    sen_slope_per_day: float
    sen_slope_lower: float | None
    sen_slope_upper: float | None
    p_value: float | None
    mann_kendall_p_value: float | None
    tau: float
    significant: bool
    fitted_last: float
    span_days: float
    n: int


def chart_method(metric: str, values: FloatArray, counts: FloatArray | None) -> str:
    """Return the chart that suits a metric: "laney" for a proportion out of counts, else "individuals".

    Notes
    -----
    A proportion has values in [0, 1], a count behind every point, and a name that does not say otherwise (an area
    under a curve or an F1 score is not a number of successes out of trials).

    References
    ----------
    .. [1] Laney, D. B. (2002), Improved control charts for attributes, Quality Engineering 14(4), 531-537.

    Examples
    --------
    >>> chart_method("accuracy", np.array([0.9]), np.array([100.0]))
    'laney'
    """
    if counts is None or not values.size or values.min() < 0.0 or values.max() > 1.0:
        return "individuals"
    return "individuals" if any(word in _NOT_PROPORTIONS for word in words_of(metric)) else "laney"


def estimate_baseline(values: FloatArray, counts: FloatArray | None = None, method: str = "individuals") -> Baseline:
    """Estimate centre and sigma from points that are taken to be in control.

    Parameters
    ----------
    values : ndarray of shape (n,)
        In the order of time, at least two.
    counts : ndarray of shape (n,), optional
        Predictions behind each; needed for "laney" and "p".
    method : {"individuals", "laney", "p"}

    Raises
    ------
    ValueError
        If there are fewer than two points, or no counts for a chart of proportions.

    Notes
    -----
    See `stats.control_charts.individuals_limits` and `proportion_limits`. An individuals centre is weighted by nothing:
    each point is one observation.

    References
    ----------
    .. [1] NIST/SEMATECH e-Handbook of Statistical Methods, sections 6.3.2.2 and 6.3.3.2.

    Examples
    --------
    >>> estimate_baseline(np.array([1.0, 2.0, 1.0, 2.0])).center
    1.5
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if values.size < 2:
        raise ValueError(f"a baseline needs at least 2 points, got {values.size}")
    if method == "individuals":
        limits = individuals_limits(values)
        sigma = 0.0 if limits.sigma <= CONSTANT_TOLERANCE * abs(limits.center) else limits.sigma
        return Baseline(
            method=method,
            n=limits.n,
            center=limits.center,
            sigma=sigma,
            autocorrelation=lag1_autocorrelation(values),
        )
    if counts is None:
        raise ValueError(f"a {method!r} chart needs the prediction count of every baseline point")
    proportions = proportion_limits(values, counts, laney=method == "laney")
    spread = math.sqrt(proportions.center * (1.0 - proportions.center) / float(np.median(counts)))
    return Baseline(
        method=method,
        n=int(values.size),
        center=proportions.center,
        sigma=spread * proportions.sigma_z,
        sigma_z=proportions.sigma_z,
        autocorrelation=lag1_autocorrelation(values),
    )


def judge_series(
    values: FloatArray,
    counts: FloatArray | None,
    baseline: Baseline,
    charts: Sequence[str] = DEFAULT_CHARTS,
) -> JudgedSeries:
    """Judge points by limits that come from a baseline.

    Parameters
    ----------
    values : ndarray of shape (n,)
        The points after the baseline, in the order of time.
    counts : ndarray of shape (n,), optional
        Predictions behind each; without them a proportion is judged with the sigma of a typical baseline point.
    baseline : Baseline
    charts : sequence of str
        Among "3-sigma", "ewma", "cusum", "nelson", "western-electric".

    Raises
    ------
    ValueError
        If a chart is unknown.

    Notes
    -----
    Points are standardised, so that counts may vary; EWMA and CUSUM run on the z-scores and start at the centre. A
    CUSUM starts again after a signal. For short baselines all limits are wider by the factor of the 3-sigma limits. If
    sigma is 0, a point that differs from the centre fires the rule "constant".

    References
    ----------
    .. [1] Montgomery, D. C., Introduction to Statistical Quality Control, chapters on Shewhart, CUSUM and EWMA charts.

    Examples
    --------
    >>> judge_series(np.array([1.0]), None, Baseline(method="individuals", n=30, center=1.0, sigma=0.0)).fired
    []
    """
    unknown = [chart for chart in charts if chart not in CHARTS]
    if unknown:
        raise ValueError(f"unknown chart {unknown[0]!r}; known: {', '.join(CHARTS)}")
    k = baseline.limit_factor
    widening = k / SHEWHART_LIMIT
    n = values.size
    if baseline.method != "individuals" and counts is not None:
        sigma = (baseline.sigma_z or 1.0) * np.sqrt(baseline.center * (1.0 - baseline.center) / counts)
    else:
        sigma = np.full(n, baseline.sigma)
    with np.errstate(over="ignore"):
        lower, upper = within_floats(baseline.center - k * sigma), within_floats(baseline.center + k * sigma)
        away = values - baseline.center
    if baseline.method != "individuals":
        lower, upper = np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)
    fired: list[tuple[int, str, int]] = []
    ewma_limit = EWMA_LIMIT * widening * math.sqrt(EWMA_LAMBDA / (2.0 - EWMA_LAMBDA))
    cusum_limit = CUSUM_DECISION * widening
    if n == 0 or not (sigma > 0.0).all():
        nothing = np.full(n, np.nan)
        off = np.abs(away) > CONSTANT_TOLERANCE * abs(baseline.center)
        fired = [(int(i), "constant", int(np.sign(away[i]))) for i in np.flatnonzero(off)]
        return JudgedSeries(
            lower=lower,
            upper=upper,
            z=nothing,
            ewma=nothing,
            cusum_high=nothing,
            cusum_low=nothing,
            ewma_limit=ewma_limit,
            cusum_limit=cusum_limit,
            fired=fired,
        )
    with np.errstate(over="ignore"):
        z = away / sigma
    summable = np.clip(z, -LARGEST_Z, LARGEST_Z)
    sign = np.sign(z).astype(np.int64)
    if "3-sigma" in charts:
        fired += [(int(i), "3-sigma", int(sign[i])) for i in np.flatnonzero(np.abs(z) > k)]
    average = ewma(summable, 0.0, 1.0, limit=EWMA_LIMIT * widening)
    if "ewma" in charts:
        fired += [(i, "ewma", 1 if average.z[i] > 0 else -1) for i in average.out]
    sums = cusum(summable, 0.0, k=CUSUM_REFERENCE, h=cusum_limit, restart=True)
    if "cusum" in charts:
        fired += [(i, "cusum", 1) for i in sums.signals_high] + [(i, "cusum", -1) for i in sums.signals_low]
    wanted = [(f"nelson-{rule}", rule) for rule in NELSON_RULES if "nelson" in charts]
    wanted += [(f"western-electric-{rule}", rule) for rule in WESTERN_ELECTRIC_RULES if "western-electric" in charts]
    if wanted:
        # Zones of one k-th of the distance to the limit: three of them for a settled baseline.
        found = runs_rules(summable / widening, rules=sorted({rule for _, rule in wanted}))
        for label, rule in wanted:
            for i in found[rule]:
                moved = int(np.sign(values[i] - values[i - 1])) if rule == "3" else int(sign[i])
                fired.append((i, label, 0 if rule in ("4", "7", "8") else moved))
    fired.sort(key=lambda item: (item[0], item[1]))
    return JudgedSeries(
        lower=lower,
        upper=upper,
        z=z,
        ewma=average.z,
        cusum_high=sums.high,
        cusum_low=sums.low,
        ewma_limit=ewma_limit,
        cusum_limit=cusum_limit,
        fired=fired,
    )


def estimate_trend(days: FloatArray, values: FloatArray) -> TrendEstimate | None:
    """Estimate the trend of a metric by least squares and by Mann-Kendall with Sen's slope.

    Parameters
    ----------
    days : ndarray of shape (n,)
        Times in days, ascending.
    values : ndarray of shape (n,)

    Returns
    -------
    TrendEstimate or None
        None with fewer than 8 points, when all are of one instant, or when the slope is beyond 64-bit floats. Of more
        than 1,000 points the newest are used.

    Notes
    -----
    The line's t-test is misled by outliers, Mann-Kendall's by little but autocorrelation; a trend counts when both
    tests are below .05 and both slopes have one sign.

    References
    ----------
    .. [1] Mann (1945), Kendall (1975), Sen (1968); see `stats.trend`.

    Examples
    --------
    >>> estimate_trend(np.arange(8.0), np.arange(8.0)).slope_per_day
    1.0
    """
    days, values = days[-TREND_LIMIT:], values[-TREND_LIMIT:]
    if values.size < TREND_POINTS or days[-1] == days[0]:
        return None
    try:
        line = linear_trend(days, values)
        ranks = mann_kendall(values, days)
    except ValueError:  # a slope beyond 64-bit floats
        return None
    fitted_last = line.intercept + line.slope * float(days[-1])
    if ranks.sen_slope is None or not math.isfinite(fitted_last):
        return None
    significant = (
        line.p_value is not None
        and ranks.p_value is not None
        and line.p_value < TREND_ALPHA
        and ranks.p_value < TREND_ALPHA
        and math.copysign(1.0, line.slope) * ranks.sen_slope > 0.0
    )
    return TrendEstimate(
        slope_per_day=line.slope,
        sen_slope_per_day=ranks.sen_slope,
        sen_slope_lower=ranks.sen_slope_lower,
        sen_slope_upper=ranks.sen_slope_upper,
        p_value=line.p_value,
        mann_kendall_p_value=ranks.p_value,
        tau=ranks.tau,
        significant=significant,
        fitted_last=fitted_last,
        span_days=float(days[-1] - days[0]),
        n=line.n,
    )
