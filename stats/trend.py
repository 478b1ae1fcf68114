"""Trends and change points: whether a series moves with time, and since when.

    >>> trend = mann_kendall([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    >>> trend.s, trend.tau, round(trend.z, 4)
    (45, 1.0, 3.9355)

Vocabulary: *OLS* is the straight line of least squares; *Mann-Kendall* asks only whether later values tend to be
larger, and *Sen's slope* is the median of all pairwise slopes; *Pettitt's test* looks for one change of level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr

from stats.means import P_VALUE_FLOOR
from stats.series import checked_series, scaled

__all__ = ["LinearTrend", "MannKendall", "Pettitt", "lag1_autocorrelation", "linear_trend", "mann_kendall", "pettitt"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearTrend:
    """A straight line through points by least squares.

    Attributes
    ----------
    slope, intercept : float
        In units of y per unit of x, and of y.
    slope_se, intercept_se : float or None
        Standard errors; None with two points.
    r_squared : float or None
        Share of the variance explained; None when y is constant.
    residual_sd : float or None
        Residual standard deviation with n - 2 degrees of freedom; None with two points.
    t : float or None
        slope / slope_se; None when that is not a number (two points, or an exact fit of a constant).
    p_value : float or None
        Two-sided, of slope 0.
    n : int
    """

    slope: float
    intercept: float
    slope_se: float | None
    intercept_se: float | None
    r_squared: float | None
    residual_sd: float | None
    t: float | None
    p_value: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MannKendall:
    """Mann-Kendall's test for a monotone trend, with Sen's slope.

    Attributes
    ----------
    s : int
        Concordant minus discordant pairs.
    variance : float
        Variance of s without a trend, corrected for ties.
    z : float or None
        With continuity correction; None when all values, or all times, are equal.
    p_value : float or None
        Two-sided, normal approximation.
    tau : float
        s / (n (n - 1) / 2), in [-1, 1].
    sen_slope : float or None
        Median of (x_j - x_i) / (t_j - t_i); None when all times are equal.
    sen_slope_lower, sen_slope_upper : float or None
        Its confidence interval, 95 % unless told otherwise; None when all values, or all times, are equal.
    n : int
    """

    s: int
    variance: float
    z: float | None
    p_value: float | None
    tau: float
    sen_slope: float | None
    sen_slope_lower: float | None
    sen_slope_upper: float | None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pettitt:
    """Pettitt's test for one change of level.

    Attributes
    ----------
    u : int
        Largest |U_k|.
    k : int or None
        Number of points before the change: the first regime is x[:k]. None when it cannot be computed.
    p_value : float or None
        Approximate, capped at 1. None when it cannot be computed.
    n : int
    reason : str
        Why there is no p-value; empty when there is one.
    """

    u: int
    k: int | None
    p_value: float | None
    n: int
    reason: str = ""


def linear_trend(x: Sequence[float] | FloatArray, y: Sequence[float] | FloatArray) -> LinearTrend:
    """Fit y = intercept + slope x by least squares and test slope 0.

    Parameters
    ----------
    x, y : sequence of float, shape (n,)
        At least two points with different x.

    Raises
    ------
    ValueError
        If shapes differ, values are not finite, all x are equal, or the slope is beyond 64-bit floats.

    Notes
    -----
    Computed on centred data; values beyond 1e120 or below 1e-120 are first divided by a power of two. slope_se = s /
    sqrt(Sxx), intercept_se = s sqrt(1/n + mean(x)^2 / Sxx), s^2 = SSE / (n - 2); the t-test assumes independent
    errors: autocorrelation makes it fire too often.

    References
    ----------
    .. [1] NIST Statistical Reference Datasets, Norris (certified values of exactly these quantities).
    .. [2] Draper, N. R. and Smith, H. (1998), Applied Regression Analysis, chapter 1.

    Examples
    --------
    >>> linear_trend([0, 1, 2], [1.0, 3.0, 5.0]).slope
    2.0
    """
    a, b = checked_series(x, "x"), checked_series(y, "y")
    if a.shape != b.shape or a.size < 2:
        raise ValueError(f"x and y must have the same length of at least 2, got {a.size} and {b.size}")
    n = int(a.size)
    if float(a.min()) == float(a.max()):
        raise ValueError(
            f"all {n} points have the same x = {float(a[0])!r}; a trend needs at least two different times"
        )
    (a, a_exponent), (b, b_exponent) = scaled(a), scaled(b)
    x_mean = float(a.mean())
    y_mean = float(b[0]) if float(b.min()) == float(b.max()) else float(b.mean())  # constant: no rounding
    dx, dy = a - x_mean, b - y_mean
    sxx, sxy, syy = float(dx @ dx), float(dx @ dy), float(dy @ dy)
    slope = sxy / sxx
    intercept = y_mean - slope * x_mean
    residual = dy - slope * dx
    sse = float(residual @ residual)
    slope_se = intercept_se = residual_sd = t = p_value = None
    if n > 2:
        residual_sd = math.sqrt(sse / (n - 2))
        slope_se = residual_sd / math.sqrt(sxx)
        intercept_se = residual_sd * math.sqrt(1.0 / n + x_mean**2 / sxx)
        if slope_se > 0.0:
            t = slope / slope_se
            p_value = max(P_VALUE_FLOOR, float(2.0 * stdtr(n - 2, -abs(t))))
        elif slope != 0.0:
            p_value = P_VALUE_FLOOR  # every point lies on a line that is not flat
    per_x = b_exponent - a_exponent
    return LinearTrend(
        slope=_unscaled(slope, per_x),
        intercept=_unscaled(intercept, b_exponent),
        slope_se=None if slope_se is None else _unscaled(slope_se, per_x),
        intercept_se=None if intercept_se is None else _unscaled(intercept_se, b_exponent),
        r_squared=1.0 - sse / syy if syy > 0.0 else None,
        residual_sd=None if residual_sd is None else _unscaled(residual_sd, b_exponent),
        t=t,
        p_value=p_value,
        n=n,
    )


def mann_kendall(
    x: Sequence[float] | FloatArray,
    times: Sequence[float] | FloatArray | None = None,
    *,
    confidence: float = 0.95,
) -> MannKendall:
    """Test a series for a monotone trend.

    Parameters
    ----------
    x : sequence of float, shape (n,)
        In the order of time; at least two values.
    times : sequence of float, shape (n,), optional
        When each was taken, ascending; None is 0, 1, 2, ... Pairs of one time say nothing: they count neither for nor
        against a trend, and have no slope.
    confidence : float in (0, 1)
        Of the interval of Sen's slope.

    Raises
    ------
    ValueError
        If there are fewer than two values, one is not finite, times descend, or a slope is beyond 64-bit floats.

    Notes
    -----
    S = sum sign(x_j - x_i) over pairs with t_i < t_j; Var S = [n(n-1)(2n+5) - sum g(g-1)(2g+5)] / 18 over groups of g
    tied values, and with tied times Kendall's variance for ties in both [2]_; z = (S - sign S) / sqrt(Var S). The
    interval takes the slopes of rank (N -/+ c) / 2 of N with c = z_{1 - (1 - confidence) / 2} sqrt(Var S), rounded to
    the nearest rank [3]_. Quadratic in n.

    References
    ----------
    .. [1] Mann, H. B. (1945), Nonparametric tests against trend, Econometrica 13, 245-259.
    .. [2] Kendall, M. G. (1975), Rank Correlation Methods, chapter 4.
    .. [3] Sen, P. K. (1968), Estimates of the regression coefficient based on Kendall's tau, JASA 63, 1379-1389.

    Examples
    --------
    >>> mann_kendall([1, 1, 2, 2, 3, 3, 3]).s
    16
    """
    values = checked_series(x, "x")
    n = int(values.size)
    if n < 2:
        raise ValueError(f"Mann-Kendall needs at least 2 values, got {n}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    when = np.arange(n, dtype=np.float64) if times is None else checked_series(times, "times")
    if when.shape != values.shape:
        raise ValueError(f"times must have the length of x, {n}, got {when.size}")
    if (when[1:] < when[:-1]).any():
        raise ValueError("times must ascend; sort the series by time first")
    (values, exponent), (when, time_exponent) = scaled(values), scaled(when)
    s = filled = 0
    every = np.empty(n * (n - 1) // 2)
    tied = bool((when[1:] == when[:-1]).any())
    with np.errstate(over="ignore"):
        for i in range(n - 1):
            rise, run = values[i + 1 :] - values[i], when[i + 1 :] - when[i]
            if tied:
                rise, run = rise[run > 0.0], run[run > 0.0]
            s += int(np.count_nonzero(rise > 0.0)) - int(np.count_nonzero(rise < 0.0))
            np.divide(rise, run, out=every[filled : filled + rise.size])
            filled += rise.size
    every = every[:filled]
    variance = _kendall_variance(n, values, when)
    z = p_value = None
    if variance > 0.0:
        z = (s - int(np.sign(s))) / math.sqrt(variance)
        p_value = max(P_VALUE_FLOOR, float(2.0 * ndtr(-abs(z))))
    middle = lower = upper = None
    if every.size:
        low = high = every.size // 2
        if variance > 0.0:
            reach = float(ndtri((1.0 + confidence) / 2.0)) * math.sqrt(variance)
            low = max(round((every.size - reach) / 2.0) - 1, 0)
            high = min(round((every.size + reach) / 2.0), every.size - 1)
        center = every.size // 2
        every.partition([low, high, center, max(0, center - 1)])  # only these ranks are needed
        per_time = exponent - time_exponent
        half = float(every[center]) / 2.0
        middle = _unscaled(half + float(every[center - 1]) / 2.0 if every.size % 2 == 0 else 2.0 * half, per_time)
        if variance > 0.0:
            lower, upper = _unscaled(float(every[low]), per_time), _unscaled(float(every[high]), per_time)
    return MannKendall(
        s=s,
        variance=variance,
        z=z,
        p_value=p_value,
        tau=s / (n * (n - 1) / 2.0),
        sen_slope=middle,
        sen_slope_lower=lower,
        sen_slope_upper=upper,
        n=n,
    )


def pettitt(x: Sequence[float] | FloatArray) -> Pettitt:
    """Test a series for one change of level at an unknown point.

    Parameters
    ----------
    x : sequence of float, shape (n,)
        In the order of time; at least two values.

    Raises
    ------
    ValueError
        If there are fewer than two values, or one is not finite.

    Notes
    -----
    U_k = 2 sum_{i<=k} rank_i - k (n + 1), with mid-ranks; the change follows the k with the largest |U_k|;
    p = 2 exp(-6 U^2 / (n^3 + n^2)), capped at 1. A constant series has no place where its level could have changed:
    U = 0, and neither k nor p can be computed.

    References
    ----------
    .. [1] Pettitt, A. N. (1979), A non-parametric approach to the change-point problem, Applied Statistics 28, 126-135.

    Examples
    --------
    >>> change = pettitt([1.0, 1.1, 0.9, 1.0, 5.0, 5.1, 4.9, 5.0])
    >>> change.k
    4
    """
    values = checked_series(x, "x")
    n = int(values.size)
    if n < 2:
        raise ValueError(f"Pettitt's test needs at least 2 values, got {n}")
    different, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    if different.size == 1:
        reason = f"all {n} values are equal: a change of level cannot be computed"
        return Pettitt(u=0, k=None, p_value=None, n=n, reason=reason)
    rank = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]  # mid-ranks
    u = 2.0 * np.cumsum(rank) - np.arange(1, n + 1) * (n + 1.0)
    k = int(np.argmax(np.abs(u[:-1])))
    largest = abs(float(u[k]))
    p_value = min(1.0, max(P_VALUE_FLOOR, 2.0 * math.exp(-6.0 * largest**2 / (n**3 + n**2))))
    return Pettitt(u=round(largest), k=k + 1, p_value=p_value, n=n)


def lag1_autocorrelation(x: Sequence[float] | FloatArray) -> float | None:
    """Return the correlation of each value with the one before it; None for fewer than 3 values or no variance.

    Notes
    -----
    r = sum (x_t - m)(x_{t+1} - m) / sum (x_t - m)^2. Without autocorrelation about 95 % lie within 1.96 / sqrt(n).
    Positive values make limits from moving ranges too narrow.

    References
    ----------
    .. [1] Box, G. E. P., Jenkins, G. M., Time Series Analysis: Forecasting and Control, section 2.1.

    Examples
    --------
    >>> lag1_autocorrelation([1.0, -1.0, 1.0, -1.0])
    -0.75
    """
    values = checked_series(x, "x")
    if values.size < 3:
        return None
    values, _ = scaled(values)
    d = values - values.mean()
    scale = float(np.abs(d).max())  # the ratio has no unit; dividing first keeps the squares finite
    if scale == 0.0 or scale <= 1e-15 * float(np.abs(values).max()):
        return None
    d = d / scale
    return float(d[:-1] @ d[1:]) / float(d @ d)


def _kendall_variance(n: int, values: FloatArray, times: FloatArray) -> float:
    """Variance of S without a trend, with ties among the values and among the times; [2], chapter 4."""

    def ties(x: FloatArray) -> tuple[float, float, float]:
        g = np.unique(x, return_counts=True)[1].astype(np.float64)
        pairs = g * (g - 1.0)
        return float((pairs * (2.0 * g + 5.0)).sum()), float(pairs.sum()), float((pairs * (g - 2.0)).sum())

    (first, pairs, triples), (first_t, pairs_t, triples_t) = ties(values), ties(times)
    variance = (n * (n - 1) * (2 * n + 5) - first - first_t) / 18.0
    if pairs and pairs_t:
        variance += pairs * pairs_t / (2.0 * n * (n - 1))
        if n > 2:
            variance += triples * triples_t / (9.0 * n * (n - 1) * (n - 2))
    return variance


def _unscaled(number: float, exponent: int) -> float:
    """Multiply by 2^exponent."""
    try:
        result = math.ldexp(number, exponent)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError("the slope is beyond 64-bit floats; use larger units of time or value")
    return result
