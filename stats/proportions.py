"""Comparing proportions: chi-square, Fisher, G, their intervals and effect sizes.

    >>> test = chi_square_test([(120, 1000), (150, 1000)])
    >>> round(test.statistic, 4), round(test.p_value, 4)
    (3.8536, 0.0496)
    >>> round(newcombe_interval(120, 1000, 150, 1000)[1], 4)
    0.06

Arms are pairs ``(successes, n)``; the baseline comes first, and an effect is treatment minus baseline.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from stats.means import (
    P_VALUE_FLOOR,
    check_alpha,
    check_alternative,
    chi_square_p_value,
    normal_p_value,
    upper_quantile,
)

__all__ = [
    "TableTest",
    "chi_square_test",
    "cohen_h",
    "fisher_exact_test",
    "g_test",
    "newcombe_interval",
    "smallest_expected_count",
    "two_proportion_z_test",
    "wald_interval",
    "wilson_interval",
]

_FISHER_SLACK = 1e-7  # relative; tables this close in probability count as equally likely, as in R's fisher.test


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTest:
    """Outcome of a test on a table of counts.

    Attributes
    ----------
    method : str
        Which test, in words.
    statistic : float or None
        None where the test has none (Fisher).
    df : int or None
    p_value : float
        In (0, 1].

    References
    ----------
    .. [1] See the function that made it.
    """

    method: str
    statistic: float | None
    df: int | None
    p_value: float


def _check_arm(successes: int, n: int, name: str = "arm") -> None:
    if n < 1:
        raise ValueError(f"{name} has n = {n}; at least one subject is needed")
    if not 0 <= successes <= n:
        raise ValueError(f"{name}: successes must lie between 0 and n = {n}, got {successes}")


def smallest_expected_count(arms: Sequence[tuple[int, int]]) -> float:
    """Return the smallest count expected in any cell if all arms had the same rate.

    Parameters
    ----------
    arms : sequence of (successes, n), length n_arms

    Returns
    -------
    float
        Below 5 the chi-square approximation is not trusted [1]_.

    Notes
    -----
    ``min over arms of n_i * min(p, 1 - p)`` with p the pooled rate.

    References
    ----------
    .. [1] Cochran, W. G. (1954). Some methods for strengthening the common chi-square tests. Biometrics 10, 417-451.
    """
    for index, (successes, n) in enumerate(arms):
        _check_arm(successes, n, f"arm {index}")
    total = sum(n for _, n in arms)
    hits = sum(successes for successes, _ in arms)
    return min(n for _, n in arms) * min(hits, total - hits) / total


def chi_square_test(arms: Sequence[tuple[int, int]], *, correction: bool = False) -> TableTest:
    """Test whether all arms have the same rate.

    Parameters
    ----------
    arms : sequence of (successes, n), length 2 or more
    correction : bool
        Yates' continuity correction, two arms only. Off by default: it is conservative and disagrees with the
        interval of the difference.

    Returns
    -------
    TableTest

    Raises
    ------
    ValueError
        For fewer than two arms, an empty arm, or when every subject (or none) succeeded: then no test exists.

    Notes
    -----
    Pearson's ``sum (O - E)^2 / E`` on ``n_arms - 1`` degrees of freedom. For two arms it is the square of the pooled
    two-proportion z. As in R, the correction is at most ``|O - E|``.

    References
    ----------
    .. [1] Pearson, K. (1900). Phil. Mag. 50, 157-175.
    .. [2] Campbell, I. (2007). Chi-squared and Fisher-Irwin tests of two-by-two tables with small sample
       recommendations. Statistics in Medicine 26, 3661-3675.
    """
    observed, expected = _tables(arms)
    distance = np.abs(observed - expected)
    if correction:
        if len(arms) != 2:
            raise ValueError(f"Yates' correction is defined for two arms, got {len(arms)}")
        distance = distance - min(0.5, float(distance.min()))
    statistic = float((distance**2 / expected).sum())
    df = len(arms) - 1
    name = "chi-square test with Yates' correction" if correction else "chi-square test without continuity correction"
    return TableTest(method=name, statistic=statistic, df=df, p_value=chi_square_p_value(statistic, df))


def g_test(arms: Sequence[tuple[int, int]]) -> TableTest:
    """Test whether all arms have the same rate by the likelihood ratio.

    Parameters
    ----------
    arms : sequence of (successes, n), length 2 or more

    Returns
    -------
    TableTest

    Raises
    ------
    ValueError
        As `chi_square_test`.

    Notes
    -----
    ``G = 2 sum O log(O / E)``, where empty cells add nothing.

    References
    ----------
    .. [1] Sokal, R. and Rohlf, F. (1995). Biometry, 3rd ed., section 17.2.
    """
    observed, expected = _tables(arms)
    statistic = max(0.0, 2.0 * float(special.xlogy(observed, observed / expected).sum()))
    df = len(arms) - 1
    p_value = chi_square_p_value(statistic, df)
    return TableTest(method="G-test (likelihood ratio)", statistic=statistic, df=df, p_value=p_value)


def _tables(arms: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Observed and expected counts, arrays of shape (n_arms, 2)."""
    if len(arms) < 2:
        raise ValueError(f"a comparison needs at least two arms, got {len(arms)}")
    for index, (successes, n) in enumerate(arms):
        _check_arm(successes, n, f"arm {index}")
    observed = np.array([(successes, n - successes) for successes, n in arms], dtype=np.float64)
    columns = observed.sum(axis=0)
    if not columns.all():
        raise ValueError("every subject has the same outcome; no test of proportions exists")
    return observed, np.outer(observed.sum(axis=1), columns) / observed.sum()


def two_proportion_z_test(
    baseline: tuple[int, int], treatment: tuple[int, int], *, alternative: str = "two-sided"
) -> tuple[float, float]:
    """Return z and p of the pooled two-proportion test.

    Parameters
    ----------
    baseline, treatment : (successes, n)
    alternative : {"two-sided", "greater", "less"}
        "greater": the treatment's rate is larger.

    Returns
    -------
    z, p_value : float

    Raises
    ------
    ValueError
        As `chi_square_test`.

    Notes
    -----
    ``z = (p2 - p1) / sqrt(p (1 - p) (1 / n1 + 1 / n2))`` with p pooled; ``z^2`` is the chi-square without correction.

    References
    ----------
    .. [1] Fleiss, J., Levin, B. and Paik, M. (2003). Statistical Methods for Rates and Proportions, 3rd ed., eq. 3.5.
    """
    _tables([baseline, treatment])
    (x1, n1), (x2, n2) = baseline, treatment
    pooled = (x1 + x2) / (n1 + n2)
    z = (x2 / n2 - x1 / n1) / math.sqrt(pooled * (1.0 - pooled) * (1.0 / n1 + 1.0 / n2))
    return z, normal_p_value(z, alternative)


def fisher_exact_test(table: Sequence[Sequence[int]], *, alternative: str = "two-sided") -> TableTest:
    """Test independence in a 2 x 2 table exactly.

    Parameters
    ----------
    table : 2 x 2 sequence of int
        Rows treatment and baseline, columns successes and failures; "greater" means a larger odds ratio
        ``(a d) / (b c)``, that is a higher rate in the first row.
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    TableTest

    Raises
    ------
    ValueError
        For another shape or negative counts.

    Notes
    -----
    Conditional on the margins the first cell is hypergeometric. Two-sided: the summed probability of all tables that
    are at most as likely as the observed one, within a relative 1e-7.

    References
    ----------
    .. [1] Fisher, R. A. (1935). The logic of inductive inference. JRSS 98, 39-54.
    .. [2] Agresti, A. (1992). A survey of exact inference for contingency tables. Statistical Science 7, 131-153.
    """
    choice = check_alternative(alternative)
    support, log_weights, a = _hypergeometric(table)
    weights = np.exp(log_weights - special.logsumexp(log_weights))
    if choice == "greater":
        p_value = float(weights[support >= a].sum())
    elif choice == "less":
        p_value = float(weights[support <= a].sum())
    else:
        observed = float(weights[support == a][0])
        p_value = float(weights[weights <= observed * (1.0 + _FISHER_SLACK)].sum())
    p_value = min(1.0, max(P_VALUE_FLOOR, p_value))
    return TableTest(method="Fisher's exact test", statistic=None, df=None, p_value=p_value)


def conditional_odds_ratio(table: Sequence[Sequence[int]]) -> float:
    """Return the conditional maximum likelihood estimate of the odds ratio; infinity or 0.0 at the ends.

    Parameters
    ----------
    table : 2 x 2 sequence of int

    Returns
    -------
    float

    Notes
    -----
    The odds ratio at which the noncentral hypergeometric mean equals the observed cell, found by bisection of
    its logarithm.

    References
    ----------
    .. [1] Agresti, A. (1992). Statistical Science 7, 131-153, section 3.
    """
    support, log_weights, a = _hypergeometric(table)
    if support.size == 1:
        raise ValueError("a margin of the table is empty; the odds ratio is not identified")
    if a == support[0]:
        return 0.0
    if a == support[-1]:
        return math.inf
    low, high = -50.0, 50.0
    for _ in range(200):
        middle = 0.5 * (low + high)
        tilted = log_weights + support * middle
        mean = float(np.sum(support * np.exp(tilted - special.logsumexp(tilted))))
        low, high = (middle, high) if mean < a else (low, middle)
    return math.exp(0.5 * (low + high))


def _hypergeometric(table: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, int]:
    """Support of the first cell given the margins, its log weights, and its observed value."""
    cells = np.asarray(table)
    if cells.shape != (2, 2) or cells.dtype.kind not in "iu" or (cells < 0).any():
        raise ValueError(f"table must be 2 x 2 whole numbers of 0 or more, got {table!r}")
    a, b, c, d = (int(value) for value in cells.ravel())
    row, other, column = a + b, c + d, a + c
    support = np.arange(max(0, column - other), min(row, column) + 1, dtype=np.float64)
    # Ratios of neighbours, multiplied outwards from the mode: logarithms of factorials would lose a digit for every
    # digit of the margins, and with them the ties between tables.
    k = support[:-1]
    steps = np.log((row - k) / (other - column + k + 1.0) * ((column - k) / (k + 1.0)))
    mode = int(np.count_nonzero(steps > 0.0))
    falls, rises = np.cumsum(steps[mode:]), np.cumsum(steps[:mode][::-1])[::-1]
    return support, np.concatenate([-rises, [0.0], falls]), a


def wilson_interval(successes: int, n: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return the Wilson score interval of one proportion.

    Parameters
    ----------
    successes, n : int
        ``0 <= successes <= n``, n at least 1.
    alpha : float

    Returns
    -------
    lower, upper : float
        Within [0, 1].

    Notes
    -----
    All rates that a score test of level alpha does not reject; sensible at 0 and n, unlike Wald's.

    References
    ----------
    .. [1] Wilson, E. B. (1927). Probable inference. JASA 22, 209-212.
    """
    _check_arm(successes, n)
    z = upper_quantile(check_alpha(alpha) / 2.0)
    rate, z2 = successes / n, z * z
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    reach = z / (1 + z2 / n) * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    lower = 0.0 if successes == 0 else max(0.0, centre - reach)
    upper = 1.0 if successes == n else min(1.0, centre + reach)
    return lower, upper


def newcombe_interval(x1: int, n1: int, x2: int, n2: int, *, alpha: float = 0.05) -> tuple[float, float]:
    """Return the hybrid score interval of a difference of proportions, treatment (2) minus baseline (1).

    Parameters
    ----------
    x1, n1, x2, n2 : int
        Successes and sizes.
    alpha : float

    Returns
    -------
    lower, upper : float
        Within [-1, 1].

    Notes
    -----
    From the Wilson limits (l_i, u_i) of both rates: ``d - sqrt((p2 - l2)^2 + (u1 - p1)^2)`` and
    ``d + sqrt((u2 - p2)^2 + (p1 - l1)^2)``. Without continuity correction.

    References
    ----------
    .. [1] Newcombe, R. G. (1998). Interval estimation for the difference between independent proportions. Statistics
       in Medicine 17, 873-890, method 10.
    """
    (l1, u1), (l2, u2) = wilson_interval(x1, n1, alpha=alpha), wilson_interval(x2, n2, alpha=alpha)
    p1, p2 = x1 / n1, x2 / n2
    difference = p2 - p1
    return difference - math.hypot(p2 - l2, u1 - p1), difference + math.hypot(u2 - p2, p1 - l1)


def wald_interval(
    x1: int, n1: int, x2: int, n2: int, *, alpha: float = 0.05, correction: bool = False, pooled: bool = False
) -> tuple[float, float]:
    """Return the simple normal interval of a difference of proportions.

    Parameters
    ----------
    x1, n1, x2, n2 : int
    alpha : float
    correction : bool
        Widen by Yates' ``(1 / n1 + 1 / n2) / 2``, but by no more than the difference, as R's prop.test.
    pooled : bool
        Use the variance under equal rates.

    Returns
    -------
    lower, upper : float
        Within [-1, 1].

    Notes
    -----
    ``p2 - p1 ± z sqrt(p1 (1 - p1) / n1 + p2 (1 - p2) / n2)``, cut off at -1 and 1. Covers too rarely for small samples
    and extreme rates; `newcombe_interval` is what analyses use.

    References
    ----------
    .. [1] Agresti, A. and Caffo, B. (2000). The American Statistician 54, 280-288.
    .. [2] R Core Team. stats::prop.test.
    """
    _check_arm(x1, n1)
    _check_arm(x2, n2)
    p1, p2 = x1 / n1, x2 / n2
    if pooled:
        rate = (x1 + x2) / (n1 + n2)
        se = math.sqrt(rate * (1 - rate) * (1 / n1 + 1 / n2))
    else:
        se = math.sqrt(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2)
    reach = upper_quantile(check_alpha(alpha) / 2.0) * se
    reach += min(0.5 * (1 / n1 + 1 / n2), abs(p2 - p1)) if correction else 0.0
    return max(-1.0, p2 - p1 - reach), min(1.0, p2 - p1 + reach)


def cohen_h(p1: float, p2: float) -> float:
    """Return the difference of arcsine-transformed proportions, treatment (2) minus baseline (1).

    Parameters
    ----------
    p1, p2 : float
        In [0, 1].

    Returns
    -------
    float
        In [-pi, pi].

    Notes
    -----
    ``2 asin(sqrt(p2)) - 2 asin(sqrt(p1))``.

    References
    ----------
    .. [1] Cohen, J. (1988). Statistical Power Analysis for the Behavioral Sciences, 2nd ed., eq. 6.2.1.
    """
    for name, p in (("p1", p1), ("p2", p2)):
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"{name} must lie in [0, 1], got {p!r}")
    return 2.0 * math.asin(math.sqrt(p2)) - 2.0 * math.asin(math.sqrt(p1))
