"""Mann-Whitney's test and what it estimates: the probability that one value exceeds another.

    >>> result = mann_whitney([1.15, 0.88, 0.90, 0.74, 1.21],
    ...                       [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46], alternative="greater")
    >>> result.u_treatment, round(result.p_value, 4), round(result.probability_of_superiority, 3)
    (35.0, 0.1272, 0.7)

The test says nothing about means: a treatment can raise the mean and still be smaller for most subjects.

Everything works on *tallies* (distinct values and how often each occurs in either arm), so a million counts cost as
much as their few distinct values, and a database can do the counting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stats.means import Alternative, check_alpha, check_alternative, normal_p_value, upper_quantile
from stats.moments import as_values

__all__ = ["RankTest", "Tallies", "hodges_lehmann", "mann_whitney", "mann_whitney_from_tallies", "tally"]

EXACT_LIMIT = 50  # both arms smaller than this and no ties: exact p-value, as R's wilcox.test
_MAX_BIN_RANGE = 4_000_000  # widest range of whole numbers that is counted by position instead of sorted
_MAX_PAIRS = 4_000_000  # most differences of distinct values that are held at once

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Tallies:
    """Distinct values of two arms and their frequencies.

    Attributes
    ----------
    values : array of shape (n_distinct,)
        Increasing.
    baseline, treatment : array of shape (n_distinct,)
        How often each value occurs.
    """

    values: FloatArray
    baseline: IntArray
    treatment: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RankTest:
    """Outcome of Mann-Whitney's test.

    Attributes
    ----------
    method : str
        "exact", or "normal approximation" with what corrects it.
    u_treatment, u_baseline : float
        Pairs won by either arm, ties counting one half; they add up to ``n1 n2``.
    z : float or None
        Standardised statistic; None for the exact test, or when all values are equal.
    p_value : float or None
        None when all values are equal: no test exists.
    probability_of_superiority : float
        Chance that a treatment value exceeds a baseline value, ties counting one half, in [0, 1].
    rank_biserial : float
        ``2 probability - 1``, in [-1, 1].
    alternative : str

    References
    ----------
    .. [1] See `mann_whitney`.
    """

    method: str
    u_treatment: float
    u_baseline: float
    z: float | None
    p_value: float | None
    probability_of_superiority: float
    rank_biserial: float
    alternative: Alternative


def tally(
    baseline: Sequence[float] | npt.NDArray[np.generic], treatment: Sequence[float] | npt.NDArray[np.generic]
) -> Tallies:
    """Count the distinct values of two samples.

    Parameters
    ----------
    baseline, treatment : sequence of float, shape (n_1,) and (n_2,)

    Returns
    -------
    Tallies

    Raises
    ------
    ValueError
        If a sample is empty or contains something that is not a finite number.

    Notes
    -----
    Whole numbers in a modest range are counted by position, in time linear in n; anything else is sorted once.

    References
    ----------
    .. [1] None.
    """
    first, second = np.asarray(baseline), np.asarray(treatment)
    if first.dtype.kind not in "iu" or second.dtype.kind not in "iu":
        first, second = as_values(first, "baseline"), as_values(second, "treatment")
    if first.size == 0 or second.size == 0:
        raise ValueError(f"both arms need values; got {first.size} and {second.size}")
    low, high = min(first.min(), second.min()), max(first.max(), second.max())
    span = float(high) - float(low)
    if span <= min(_MAX_BIN_RANGE, 4.0 * (first.size + second.size) + 1024.0) and abs(float(low)) < 2**52:
        # unsafe casting is checked right after: it is the cheapest test of "all whole numbers"
        plain = first.dtype.kind in "iu" and second.dtype.kind in "iu"
        offset = low if low < 0 or low > span else low - low  # small counts are their own positions: no copy
        left, right = (arm if plain and offset == 0 else (arm - offset).astype(np.int64) for arm in (first, second))
        whole = plain or (float(low).is_integer() and _equals(left, first - offset) and _equals(right, second - offset))
        if whole:
            size = int(float(high) - float(offset)) + 1
            a, b = np.bincount(left, minlength=size), np.bincount(right, minlength=size)
            low = offset
            kept = np.flatnonzero(a + b)
            return Tallies(kept.astype(np.float64) + float(low), a[kept].astype(np.int64), b[kept].astype(np.int64))
    pooled = np.concatenate([first, second]).astype(np.float64, copy=False)
    order = np.argsort(pooled, kind="stable")
    ranked = pooled[order]
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    totals = np.diff(np.append(starts, ranked.size))
    from_second = np.add.reduceat((order >= first.size).astype(np.int64), starts)
    return Tallies(ranked[starts], (totals - from_second).astype(np.int64), from_second)


def _equals(whole: IntArray, values: npt.NDArray[np.generic]) -> bool:
    return bool((whole == values).all())


def mann_whitney(
    baseline: Sequence[float] | npt.NDArray[np.generic],
    treatment: Sequence[float] | npt.NDArray[np.generic],
    *,
    alternative: str = "two-sided",
    continuity: bool = True,
    exact: bool | None = None,
) -> RankTest:
    """Test whether values of the treatment tend to be larger than those of the baseline.

    Parameters
    ----------
    baseline, treatment : sequence of float, shape (n_1,) and (n_2,)
    alternative : {"two-sided", "greater", "less"}
        "greater": treatment values tend to be larger.
    continuity : bool
        Move U by one half towards its mean in the normal approximation, as R and SciPy do.
    exact : bool or None
        None is exact when both arms have fewer than 50 values and there are no ties. True with ties raises.

    Returns
    -------
    RankTest

    Raises
    ------
    ValueError
        If an arm is empty, a value is not finite, or exact is asked for with ties.

    Notes
    -----
    U counts pairs; its variance without an effect is ``n1 n2 / 12 (N + 1 - sum(t^3 - t) / (N (N - 1)))`` over groups
    of t tied values. The exact distribution is counted by recursion. The hypothesis tested is that both
    distributions are equal: it concerns order, not means.

    References
    ----------
    .. [1] Mann, H. B. and Whitney, D. R. (1947). Ann. Math. Statist. 18, 50-60.
    .. [2] Lehmann, E. L. (1975). Nonparametrics: Statistical Methods Based on Ranks, section 1.4. Holden-Day.
    """
    return mann_whitney_from_tallies(
        tally(baseline, treatment), alternative=alternative, continuity=continuity, exact=exact
    )


def mann_whitney_from_tallies(
    tallies: Tallies, *, alternative: str = "two-sided", continuity: bool = True, exact: bool | None = None
) -> RankTest:
    """Run `mann_whitney` on values that have been counted already.

    Parameters
    ----------
    tallies : Tallies
    alternative, continuity, exact
        See `mann_whitney`.

    Returns
    -------
    RankTest

    Raises
    ------
    ValueError
        As `mann_whitney`.

    Notes
    -----
    See `mann_whitney`.

    References
    ----------
    .. [1] See `mann_whitney`.
    """
    choice = check_alternative(alternative)
    a, b = tallies.baseline, tallies.treatment
    n1, n2 = int(a.sum()), int(b.sum())
    if n1 == 0 or n2 == 0:
        raise ValueError(f"both arms need values; got {n1} and {n2}")
    below = np.cumsum(a) - a  # baseline values strictly below each value
    # Whole numbers up to 2 n1 n2: Python integers, so that no pair is lost above 2^53.
    u2 = (
        int(np.dot(b.astype(object), (2 * below + a).astype(object)))
        if n1 * n2 > 2**51
        else int(np.dot(b, 2 * below + a))
    )
    u_treatment = u2 / 2.0
    pairs = n1 * n2
    ties = a + b
    tied = bool((ties > 1).any())
    if exact is None:
        exact = not tied and n1 < EXACT_LIMIT and n2 < EXACT_LIMIT
    if exact and tied:
        raise ValueError("the exact test does not allow ties; leave exact=None")
    probability = u2 / (2 * pairs)
    z: float | None = None
    p_value: float | None
    if exact:
        method, p_value = "exact", _exact_p_value(u2 // 2, n1, n2, choice)
    else:
        method = "normal approximation with tie correction" + (" and continuity correction" if continuity else "")
        total = n1 + n2
        t = ties.astype(np.float64)
        excess = float(((t * t - 1.0) * t).sum()) / (float(total) * (total - 1.0)) if total > 1 else 0.0
        variance = pairs / 12.0 * (total + 1.0 - excess)
        if variance > 1e-9 * pairs:
            distance = (u2 - pairs) / 2.0
            shift = 0.0
            if continuity:
                shift = math.copysign(min(0.5, abs(distance)), distance) if choice == "two-sided" else 0.5
                shift = -shift if choice == "less" else shift
            z = (distance - shift) / math.sqrt(variance)
            p_value = normal_p_value(z, choice)
        else:
            p_value = None
    return RankTest(
        method=method,
        u_treatment=u_treatment,
        u_baseline=pairs - u_treatment,
        z=z,
        p_value=p_value,
        probability_of_superiority=probability,
        rank_biserial=2.0 * probability - 1.0,
        alternative=choice,
    )


def exact_distribution(n1: int, n2: int) -> FloatArray:
    """Return the probabilities of U = 0, ..., n1 n2 without an effect and without ties.

    Parameters
    ----------
    n1, n2 : int
        At least 1.

    Returns
    -------
    array of shape (n1 * n2 + 1,)

    Notes
    -----
    The generating function is the Gaussian binomial coefficient ``prod (1 - q^(n2 + i)) / (1 - q^i)``, multiplied out
    factor by factor in whole numbers and divided by the number of arrangements at the end.

    References
    ----------
    .. [1] Mann, H. B. and Whitney, D. R. (1947). Ann. Math. Statist. 18, 50-60.
    """
    size = n1 * n2 + 1
    counts = np.zeros(size, dtype=object)  # Python integers: C(98, 49) does not fit into 64 bits
    counts[:] = 0
    counts[0] = 1
    for i in range(1, min(n1, n2) + 1):
        step = max(n1, n2) + i
        if step < size:  # times (1 - q^step), from the top down
            counts[step:] = counts[step:] - counts[:-step]
        for start in range(i):  # divided by (1 - q^i): running sums with stride i
            counts[start::i] = np.cumsum(counts[start::i])
    total = math.comb(n1 + n2, n1)
    return np.array([count / total for count in counts], dtype=np.float64)


def _exact_p_value(u: int, n1: int, n2: int, alternative: Alternative) -> float:
    probabilities = exact_distribution(n1, n2)
    upper, lower = float(probabilities[u:].sum()), float(probabilities[: u + 1].sum())
    if alternative == "greater":
        return min(1.0, upper)
    if alternative == "less":
        return min(1.0, lower)
    return min(1.0, 2.0 * min(upper, lower))


def hodges_lehmann(tallies: Tallies, *, alpha: float = 0.05) -> tuple[float, float, float]:
    """Return the median of all differences treatment minus baseline, and its interval.

    Parameters
    ----------
    tallies : Tallies
    alpha : float

    Returns
    -------
    estimate, lower, upper : float

    Raises
    ------
    ValueError
        If an arm is empty or alpha is out of range.

    Notes
    -----
    The interval consists of order statistics of the ``n1 n2`` differences: exact quantiles of U for small untied
    samples, else ``n1 n2 / 2 - z sd(U)`` counted from both ends, the sd corrected for the ties there are (R corrects
    for those at each end of its interval, which matters for few and much tied values only). Differences are selected
    by counting those below a value, never all formed, unless there are few distinct ones.

    References
    ----------
    .. [1] Hodges, J. L. and Lehmann, E. L. (1963). Estimates of location based on rank tests. Ann. Math. Statist. 34,
       598-611.
    .. [2] Hollander, M., Wolfe, D. and Chicken, E. (2014). Nonparametric Statistical Methods, 3rd ed., section 4.3.

    Examples
    --------
    >>> hodges_lehmann(tally([1, 2, 3], [2, 3, 4]))[0]
    1.0
    """
    check_alpha(alpha)
    a, b = tallies.baseline, tallies.treatment
    n1, n2 = int(a.sum()), int(b.sum())
    if n1 == 0 or n2 == 0:
        raise ValueError(f"both arms need values; got {n1} and {n2}")
    pairs = n1 * n2
    ties = (a + b).astype(np.float64)
    if not (ties > 1).any() and n1 < EXACT_LIMIT and n2 < EXACT_LIMIT:
        cumulative = np.cumsum(exact_distribution(n1, n2))
        rank = max(1, int(np.searchsorted(cumulative, alpha / 2.0)))  # qwilcox(alpha / 2), at least 1
    else:
        total = n1 + n2
        variance = pairs / 12.0 * (total + 1.0 - float((ties**3 - ties).sum()) / (total * (total - 1.0)))
        reach = upper_quantile(alpha / 2.0) * math.sqrt(max(variance, 0.0))
        rank = max(1, math.floor(pairs / 2.0 - reach) + 1)
    middle = (pairs + 1) // 2
    wanted = [rank, middle, pairs // 2 + 1, pairs - rank + 1]
    low, first, second, high = _select_differences(tallies, wanted)
    return 0.5 * (first + second), low, high


def _select_differences(tallies: Tallies, ranks: Sequence[int]) -> list[float]:
    """Return the differences treatment - baseline of the given ranks (1 is the smallest)."""
    x, y = tallies.values[tallies.baseline > 0], tallies.values[tallies.treatment > 0]
    wx, wy = tallies.baseline[tallies.baseline > 0], tallies.treatment[tallies.treatment > 0]
    if x.size * y.size <= _MAX_PAIRS:
        differences = (y[:, None] - x[None, :]).ravel()
        order = np.argsort(differences, kind="stable")
        cumulative = np.cumsum((wy[:, None] * wx[None, :]).ravel()[order])
        positions = np.searchsorted(cumulative, np.asarray(ranks), side="left")
        return [float(differences[order[position]]) for position in positions]
    below = np.concatenate([[0], np.cumsum(wx)])
    total = int(below[-1])

    def count_up_to(limit: float) -> int:
        """Count pairs with y - x <= limit, that is x >= y - limit."""
        return int(np.dot(wy, total - below[np.searchsorted(x, y - limit, side="left")]))

    result = []
    for rank in ranks:
        low, high = float(y[0] - x[-1]), float(y[-1] - x[0])
        for _ in range(200):  # halving a double's interval ends long before
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            low, high = (low, middle) if count_up_to(middle) >= rank else (middle, high)
        result.append(high if count_up_to(low) < rank else low)
    return result
