"""Control charts: whether a point is what the process does by chance, or a sign of change.

    >>> limits = individuals_limits([49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1])
    >>> round(limits.center, 2), round(limits.lower, 4), round(limits.upper, 4)
    (50.81, 45.8159, 55.8041)

Vocabulary: the *centre line* and *sigma* describe the process when it is in control and come from a baseline, never
from the points under judgement: of n points with their own mean and standard deviation none can lie further than
(n - 1) / sqrt(n) deviations away, so a 3-sigma rule on its own ten points can never fire (`self_window_bound`). A
*rule* names a pattern and the points at which it fires. *Laney's p'* is a chart for proportions whose spread exceeds
the binomial one.

All functions take sequences of floats and return built-in numbers or float arrays; NaN and infinities are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from stats.series import checked_series, scaled

__all__ = [
    "CUSUM_DECISION",
    "CUSUM_REFERENCE",
    "EWMA_LAMBDA",
    "EWMA_LIMIT",
    "NELSON_RULES",
    "RULE_NAMES",
    "WESTERN_ELECTRIC_RULES",
    "ControlLimits",
    "CusumResult",
    "EwmaResult",
    "ProportionLimits",
    "cusum",
    "ewma",
    "individuals_limits",
    "moving_ranges",
    "proportion_limits",
    "runs_rules",
    "self_window_bound",
    "small_baseline_factor",
]

FloatArray = npt.NDArray[np.float64]

D2_MOVING_RANGE = 1.128  # E|X1 - X2| / sigma for normal data, two points: 2 / sqrt(pi), rounded as in every table; [1]
D4_MOVING_RANGE = 3.267  # upper limit of the moving range in mean moving ranges; [1] 6.3.2.2
LARGEST = float(np.finfo(np.float64).max)
SHEWHART_LIMIT = 3.0  # sigmas; average run length 370.4 in control
SHEWHART_TAIL = 0.00135  # P(Z > 3), rounded as usual: the tail that the widened limits of short baselines keep
EWMA_LAMBDA = 0.2  # weight of the newest point
EWMA_LIMIT = 2.86  # sigmas of the EWMA; average run length 371 in control at lambda .2
CUSUM_REFERENCE = 0.5  # k, sigmas: half of the shift to be found soonest (one sigma)
CUSUM_DECISION = 4.77  # h, sigmas; two-sided average run length 369 in control at k .5

RULE_NAMES: dict[str, str] = {
    "1": "one point beyond 3 sigma",
    "2": "nine points in a row on one side of the centre",
    "3": "six points in a row steadily rising or falling",
    "4": "fourteen points in a row alternating up and down",
    "5": "two of three points beyond 2 sigma on one side",
    "6": "four of five points beyond 1 sigma on one side",
    "7": "fifteen points in a row within 1 sigma",
    "8": "eight points in a row beyond 1 sigma, on either side",
    "WE4": "eight points in a row on one side of the centre",
}
NELSON_RULES = ("1", "2", "3", "4", "5", "6", "7", "8")
WESTERN_ELECTRIC_RULES = ("1", "5", "6", "WE4")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlLimits:
    """Limits of an individuals chart.

    Attributes
    ----------
    center : float
        Mean of the baseline.
    sigma : float
        Mean moving range / 1.128; 0 for a constant baseline.
    lower, upper : float
        center -/+ k sigma.
    mean_moving_range : float
    moving_range_upper : float
        Limit of the moving-range chart, 3.267 mean moving ranges.
    n : int
        Baseline points.
    """

    center: float
    sigma: float
    lower: float
    upper: float
    mean_moving_range: float
    moving_range_upper: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProportionLimits:
    """Limits of a p-chart or of Laney's p' chart, one pair for each point.

    Attributes
    ----------
    center : float
        Weighted proportion: all successes / all trials.
    sigma_z : float
        Factor by which the spread exceeds the binomial one; at least 1, and exactly 1 for the plain p-chart.
    sigma : ndarray of shape (n_points,)
        Binomial standard deviation of each point, times `sigma_z`.
    lower, upper : ndarray of shape (n_points,)
        Clipped to [0, 1].
    """

    center: float
    sigma_z: float
    sigma: FloatArray
    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EwmaResult:
    """An exponentially weighted moving average and its limits.

    Attributes
    ----------
    z : ndarray of shape (n_points,)
        The average after each point, in data units.
    lower, upper : ndarray of shape (n_points,)
    out : list of int
        0-based positions strictly outside the limits.
    """

    z: FloatArray
    lower: FloatArray
    upper: FloatArray
    out: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CusumResult:
    """Two one-sided cumulative sums.

    Attributes
    ----------
    high, low : ndarray of shape (n_points,)
        Upper and lower sums, both at least 0, in data units.
    signals_high, signals_low : list of int
        0-based positions at which a sum exceeds h.
    """

    high: FloatArray
    low: FloatArray
    signals_high: list[int]
    signals_low: list[int]

    @property
    def signals(self) -> list[int]:
        """Positions at which either sum exceeds h."""
        return sorted({*self.signals_high, *self.signals_low})


def moving_ranges(x: Sequence[float] | FloatArray) -> FloatArray:
    """Return |x[i] - x[i-1]|, array of shape (n - 1,)."""
    return np.abs(np.diff(checked_series(x, "x")))


def individuals_limits(x: Sequence[float] | FloatArray, k: float = SHEWHART_LIMIT) -> ControlLimits:
    """Compute the limits of an individuals chart from baseline points in the order of time.

    Parameters
    ----------
    x : sequence of float, shape (n,)
        At least two points.
    k : float
        Limits in sigmas.

    Raises
    ------
    ValueError
        If there are fewer than two points, or one is not finite.

    Notes
    -----
    sigma = mean(|x_i - x_{i-1}|) / 1.128. Differences of neighbours hardly feel a slow trend or a shift inside the
    baseline, which would inflate the ordinary standard deviation; in return they assume no autocorrelation. A
    constant baseline has sigma 0 and both limits on the centre. A limit beyond the largest float is the largest float.

    References
    ----------
    .. [1] NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.2 Individuals control charts.

    Examples
    --------
    >>> individuals_limits([1.0, 3.0, 2.0]).mean_moving_range
    1.5
    """
    values = checked_series(x, "x")
    if values.size < 2:
        raise ValueError(f"an individuals chart needs at least 2 baseline points, got {values.size}")
    part, exponent = scaled(values)
    center = float(part[0]) if float(part.min()) == float(part.max()) else float(part.mean())  # constant: no rounding
    mean_range = float(np.abs(np.diff(part)).mean())
    sigma = mean_range / D2_MOVING_RANGE
    found = np.array([center, sigma, center - k * sigma, center + k * sigma, mean_range, D4_MOVING_RANGE * mean_range])
    center, sigma, lower, upper, mean_range, range_upper = within_floats(found, exponent).tolist()
    return ControlLimits(
        center=center,
        sigma=sigma,
        lower=lower,
        upper=upper,
        mean_moving_range=mean_range,
        moving_range_upper=range_upper,
        n=int(values.size),
    )


def proportion_limits(
    proportions: Sequence[float] | FloatArray,
    counts: Sequence[float] | FloatArray,
    *,
    laney: bool = False,
    k: float = SHEWHART_LIMIT,
    center: float | None = None,
    sigma_z: float | None = None,
) -> ProportionLimits:
    """Compute limits for proportions out of varying counts.

    Parameters
    ----------
    proportions : sequence of float in [0, 1], shape (n,)
    counts : sequence of positive numbers, shape (n,)
        Trials behind each proportion.
    laney : bool
        Whether the spread beyond the binomial one is estimated (p' chart) or taken as binomial (p-chart).
    k : float
        Limits in sigmas.
    center, sigma_z : float, optional
        Known from a baseline; None estimates them from these points.

    Raises
    ------
    ValueError
        If shapes differ, a proportion lies outside [0, 1], or a count is not positive.

    Notes
    -----
    sigma_i = sigma_z sqrt(p (1 - p) / n_i), p the weighted centre. For Laney's chart z_i = (p_i - p) / sqrt(p (1 - p)
    / n_i) and sigma_z = mean(|z_i - z_{i-1}|) / 1.128, here never below 1: with large counts a p-chart sees drift in
    every point, because real proportions vary by more than binomial chance. With one point, or with a centre of 0 or 1,
    sigma_z is 1.

    References
    ----------
    .. [1] NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.3.2 Proportions control charts.
    .. [2] Laney, D. B. (2002), Improved control charts for attributes, Quality Engineering 14(4), 531-537.

    Examples
    --------
    >>> limits = proportion_limits([0.92], [1000], center=0.92)
    >>> round(float(limits.lower[0]), 6), round(float(limits.upper[0]), 6)
    (0.894263, 0.945737)
    """
    p = checked_series(proportions, "proportions")
    n = checked_series(counts, "counts")
    if p.shape != n.shape or p.size == 0:
        raise ValueError(f"proportions and counts must have the same length of at least 1, got {p.size} and {n.size}")
    if p.min() < 0.0 or p.max() > 1.0:
        raise ValueError(f"proportions must lie in [0, 1], got {p.min()} to {p.max()}")
    if n.min() <= 0.0:
        raise ValueError(f"counts must be positive, got {n.min()}")
    middle = float((p * n).sum() / n.sum()) if center is None else float(center)
    if not 0.0 <= middle <= 1.0:
        raise ValueError(f"center must lie in [0, 1], got {middle}")
    binomial = np.sqrt(middle * (1.0 - middle) / n)
    factor = 1.0 if sigma_z is None else float(sigma_z)
    if sigma_z is None and laney and p.size > 1 and 0.0 < middle < 1.0:
        factor = max(1.0, float(np.abs(np.diff((p - middle) / binomial)).mean()) / D2_MOVING_RANGE)
    sigma = binomial * factor
    return ProportionLimits(
        center=middle,
        sigma_z=factor,
        sigma=sigma,
        lower=np.clip(middle - k * sigma, 0.0, 1.0),
        upper=np.clip(middle + k * sigma, 0.0, 1.0),
    )


def ewma(
    x: Sequence[float] | FloatArray,
    target: float,
    sigma: float,
    *,
    lam: float = EWMA_LAMBDA,
    limit: float = EWMA_LIMIT,
    exact: bool = False,
) -> EwmaResult:
    """Compute an exponentially weighted moving average chart.

    Parameters
    ----------
    x : sequence of float, shape (n,)
    target, sigma : float
        Centre and standard deviation of the process in control.
    lam : float in (0, 1]
        Weight of the newest point.
    limit : float
        L, in standard deviations of the average.
    exact : bool
        Whether the limits start narrow and widen with time, or are the asymptotic ones throughout. The in-control run
        length of 371 at lambda .2 and L 2.86 is that of the asymptotic limits.

    Notes
    -----
    z_t = lam x_t + (1 - lam) z_{t-1}, z_0 = target; limits target -/+ L sigma sqrt(lam / (2 - lam) [1 - (1 -
    lam)^{2t}]), the bracket being 1 for the asymptotic ones. No points give empty arrays.

    References
    ----------
    .. [1] NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.4 EWMA control charts.
    .. [2] Lucas, J. M. and Saccucci, M. S. (1990), Exponentially weighted moving average control schemes, Technometrics
       32(1), 1-12.

    Examples
    --------
    >>> ewma([1.0, 1.0], 0.0, 1.0, lam=0.5, limit=3.0).z.tolist()
    [0.5, 0.75]
    """
    values = checked_series(x, "x")
    if not 0.0 < lam <= 1.0:
        raise ValueError(f"lam must lie in (0, 1], got {lam}")
    if not (sigma >= 0.0 and math.isfinite(sigma) and math.isfinite(target) and limit > 0.0):
        raise ValueError(f"target and sigma must be finite, sigma >= 0, limit > 0; got {target}, {sigma}, {limit}")
    z = np.empty_like(values)
    level, keep = float(target), 1.0 - lam
    for i, value in enumerate(values.tolist()):
        level = lam * value + keep * level
        z[i] = level
    width = np.full(values.size, limit * sigma * math.sqrt(lam / (2.0 - lam)))
    if exact:
        width = width * np.sqrt(1.0 - keep ** (2.0 * np.arange(1, values.size + 1)))
    lower, upper = target - width, target + width
    return EwmaResult(z=z, lower=lower, upper=upper, out=_positions((z < lower) | (z > upper)))


def cusum(
    x: Sequence[float] | FloatArray,
    target: float = 0.0,
    *,
    k: float = CUSUM_REFERENCE,
    h: float = CUSUM_DECISION,
    head_start: float = 0.0,
    restart: bool = False,
) -> CusumResult:
    """Compute the tabular cumulative sums of a series, in data units.

    Parameters
    ----------
    x : sequence of float, shape (n,)
    target : float
        Centre of the process in control.
    k, h : float
        Reference value and decision interval, in the units of `x` (for standardised points: sigmas).
    head_start : float
        Where both sums start (fast initial response); usually 0 or h / 2.
    restart : bool
        Whether a sum starts again from 0 after it has signalled, so that one excursion does not ring for ever.

    Notes
    -----
    C+_t = max(0, C+_{t-1} + x_t - target - k), C-_t = max(0, C-_{t-1} - x_t + target - k); a signal is a sum strictly
    above h.

    References
    ----------
    .. [1] NIST/SEMATECH e-Handbook of Statistical Methods, 6.3.2.3 CUSUM control charts.
    .. [2] Lucas, J. M. and Crosier, R. B. (1982), Fast initial response for CUSUM quality-control schemes,
       Technometrics 24(3), 199-205.

    Examples
    --------
    >>> cusum([0.8, 1.9, 1.4, 2.0, 1.1, 0.7, 2.6], k=0.5, h=5).signals
    [6]
    """
    values = checked_series(x, "x")
    if not (k >= 0.0 and h > 0.0 and 0.0 <= head_start <= h and math.isfinite(target)):
        raise ValueError(f"k must be >= 0, h > 0 and 0 <= head_start <= h, got k={k}, h={h}, head_start={head_start}")
    high, low = np.empty_like(values), np.empty_like(values)
    up = down = float(head_start)
    for i, value in enumerate(values.tolist()):
        up = max(0.0, up + value - target - k)
        down = max(0.0, down - value + target - k)
        high[i], low[i] = up, down
        if restart:
            up, down = (0.0 if up > h else up), (0.0 if down > h else down)
    return CusumResult(high=high, low=low, signals_high=_positions(high > h), signals_low=_positions(low > h))


def runs_rules(
    x: Sequence[float] | FloatArray,
    center: float = 0.0,
    sigma: float | Sequence[float] | FloatArray = 1.0,
    rules: Sequence[str] = NELSON_RULES,
) -> dict[str, list[int]]:
    """Find the points at which runs rules fire.

    Parameters
    ----------
    x : sequence of float, shape (n,)
    center : float
    sigma : float or sequence of float, shape (n,)
        Positive.
    rules : sequence of str
        Keys of `RULE_NAMES`: Nelson's "1" to "8", and "WE4", the Western Electric run of eight.

    Returns
    -------
    dict of str to list of int
        0-based positions of the newest point of each pattern, for every rule asked for.

    Notes
    -----
    "Beyond" is strict: a point exactly on a limit is inside it; a point on the centre is on neither side. In rules 5
    and 6 the newest point itself must lie beyond the line. Six points steadily rising are five rises.

    References
    ----------
    .. [1] Nelson, L. S. (1984), The Shewhart control chart: tests for special causes, Journal of Quality Technology
       16(4), 237-239.
    .. [2] Western Electric Company (1956), Statistical Quality Control Handbook.

    Examples
    --------
    >>> runs_rules([0, 1, -1, 3.0, 3.0001, -3.1], rules=["1"])
    {'1': [4, 5]}
    """
    values = checked_series(x, "x")
    spread = np.asarray(sigma, dtype=np.float64)
    if not (np.isfinite(spread).all() and (spread > 0.0).all()):
        raise ValueError(f"sigma must be finite and positive, got {sigma!r}")
    unknown = [rule for rule in rules if rule not in RULE_NAMES]
    if unknown:
        raise ValueError(f"unknown rule {unknown[0]!r}; known: {', '.join(RULE_NAMES)}")
    z = (values - center) / spread
    return {rule: _positions(_fires(rule, z, values)) for rule in rules}


def self_window_bound(n: int) -> float:
    """Return the largest |z| that one of n points can have when mean and deviation (ddof 1) come from the same points.

    Notes
    -----
    (n - 1) / sqrt(n) [1]_: below 3 for every n up to 10.

    References
    ----------
    .. [1] Shiffler, R. E. (1988), Maximum Z scores and outliers, The American Statistician 42(1), 79-80.

    Examples
    --------
    >>> self_window_bound(10) < 3 < self_window_bound(11)
    True
    """
    if n < 2:
        raise ValueError(f"n must be at least 2, got {n}")
    return (n - 1) / math.sqrt(n)


def small_baseline_factor(n: int, tail: float = SHEWHART_TAIL) -> float:
    """Return by how many sample deviations a new point may lie off the mean of n baseline points.

    Parameters
    ----------
    n : int
        Baseline points, at least 2.
    tail : float
        Probability beyond each limit; .00135 is that of 3 sigma when everything is known.

    Notes
    -----
    Student's prediction interval t_{1-tail, n-1} sqrt(1 + 1/n): 4.29 at n = 10, 3.34 at 30, 3 in the limit.

    References
    ----------
    .. [1] Montgomery, D. C., Introduction to Statistical Quality Control, section on individuals charts; the interval
       is the standard one for a single future normal observation.

    Examples
    --------
    >>> [round(small_baseline_factor(n), 3) for n in (5, 10, 20, 30)]
    [7.252, 4.294, 3.532, 3.335]
    """
    if n < 2:
        raise ValueError(f"n must be at least 2, got {n}")
    if not 0.0 < tail < 0.5:
        raise ValueError(f"tail must lie in (0, 0.5), got {tail}")
    return float(stdtrit(n - 1, 1.0 - tail)) * math.sqrt(1.0 + 1.0 / n)


def within_floats(values: FloatArray, exponent: int = 0) -> FloatArray:
    """Return values times 2^exponent; what is beyond the largest float becomes it."""
    with np.errstate(over="ignore"):
        return np.clip(np.ldexp(values, exponent) if exponent else values, -LARGEST, LARGEST)


def _positions(mask: npt.NDArray[np.bool_]) -> list[int]:
    return [int(i) for i in np.flatnonzero(mask)]


def _run_length(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Length of the run of True values that ends at each position."""
    index = np.arange(mask.size)
    last_false = np.maximum.accumulate(np.where(mask, -1, index)) if mask.size else index
    return np.where(mask, index - last_false, 0)


def _k_of_n(mask: npt.NDArray[np.bool_], k: int, n: int) -> npt.NDArray[np.bool_]:
    """At each position: the point itself is in the mask, and so are at least k of the last n."""
    total = np.cumsum(np.concatenate([np.zeros(n, dtype=np.int64), mask]))
    enough: npt.NDArray[np.bool_] = total[n:] - total[:-n] >= k
    return mask & enough


def _fires(rule: str, z: FloatArray, x: FloatArray) -> npt.NDArray[np.bool_]:
    if rule == "1":
        beyond: npt.NDArray[np.bool_] = np.abs(z) > SHEWHART_LIMIT
        return beyond
    if rule in ("2", "WE4"):
        length = 9 if rule == "2" else 8
        return (_run_length(z > 0.0) >= length) | (_run_length(z < 0.0) >= length)
    if rule in ("5", "6"):
        line, k, n = (2.0, 2, 3) if rule == "5" else (1.0, 4, 5)
        return _k_of_n(z > line, k, n) | _k_of_n(z < -line, k, n)
    if rule == "7":
        return _run_length(np.abs(z) < 1.0) >= 15
    if rule == "8":
        return _run_length(np.abs(z) > 1.0) >= 8
    if x.size < 2:
        return np.zeros(x.size, dtype=np.bool_)
    step = np.concatenate([[0.0], np.sign(np.diff(x))])
    if rule == "3":
        return (_run_length(step > 0.0) >= 5) | (_run_length(step < 0.0) >= 5)
    turns = np.concatenate([[False], step[1:] * step[:-1] < 0.0])  # rule 4: 14 points are 13 steps are 12 turns
    return _run_length(turns) >= 12
