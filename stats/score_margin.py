"""Whether a rate is shown not to be worse by a margin: the score interval of Newcombe, inverted.

    >>> result = non_inferiority_rates(0, 500, 0, 500, margin=0.01, direction="lower")
    >>> round(result.bound, 5), result.p_value < 0.025
    (0.00762, True)

The bound exists where a test of equality does not: no failure in either arm says nothing about which is better, but
it does say that neither can be much worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stats.means import check_alpha, normal_p_value
from stats.proportions import newcombe_interval

__all__ = ["MarginTest", "non_inferiority_rates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginTest:
    """A bound on a difference of rates against a margin.

    Attributes
    ----------
    effect : float
        Treatment minus baseline.
    ci_lower, ci_upper : float
        Newcombe's two-sided interval with error alpha.
    bound : float
        The end of it on the harmful side.
    p_value : float
        One-sided, of "worse by the margin or more"; below ``alpha / 2`` exactly when the bound is within the margin.

    References
    ----------
    .. [1] See `non_inferiority_rates`.
    """

    effect: float
    ci_lower: float
    ci_upper: float
    bound: float
    p_value: float


def non_inferiority_rates(
    x1: int, n1: int, x2: int, n2: int, *, margin: float, direction: str = "higher", alpha: float = 0.05
) -> MarginTest:
    """Test whether the treatment's rate is worse than the baseline's by a margin.

    Parameters
    ----------
    x1, n1, x2, n2 : int
        Successes and sizes of baseline (1) and treatment (2); sizes at least 1.
    margin : float
        Largest acceptable worsening, positive, in units of the rate.
    direction : {"higher", "lower"}
        Which rates are better.
    alpha : float
        Two-sided; the bound has the error ``alpha / 2``.

    Returns
    -------
    MarginTest

    Raises
    ------
    ValueError
        If the margin is not positive, the direction is unknown, or the counts or alpha are out of range.

    Notes
    -----
    The p-value is the error at which the end of Newcombe's interval equals the margin, found by bisection over the
    normal quantile. It is monotone, because both Wilson intervals widen with the quantile.

    References
    ----------
    .. [1] Newcombe, R. G. (1998). Interval estimation for the difference between independent proportions. Statistics
       in Medicine 17, 873-890, method 10.
    .. [2] Wellek, S. (2010). Testing Statistical Hypotheses of Equivalence and Noninferiority, 2nd ed., section 6.6.

    Examples
    --------
    >>> non_inferiority_rates(50, 100, 30, 100, margin=0.1).p_value > 0.5
    True
    """
    check_alpha(alpha)
    if not margin > 0.0:
        raise ValueError(f"margin must be positive, got {margin!r}")
    if direction not in ("higher", "lower"):
        raise ValueError(f"direction must be 'higher' or 'lower', got {direction!r}")
    lower, upper = newcombe_interval(x1, n1, x2, n2, alpha=alpha)
    if direction == "lower":  # failures: their complement is what should be high
        x1, x2 = n1 - x1, n2 - x2
    difference = x2 / n2 - x1 / n1

    def end(z: float) -> float:
        """Lower end of the interval; its upper end for a negative quantile."""
        sign = math.copysign(1.0, z)
        first, second = _wilson(x1, n1, z), _wilson(x2, n2, -z)
        return difference - sign * math.hypot(x2 / n2 - second, first - x1 / n1)

    low, high = -40.0, 40.0  # the end falls as z grows
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if end(middle) > -margin else (low, middle)
    return MarginTest(
        effect=difference if direction == "higher" else 0.0 - difference,
        ci_lower=lower,
        ci_upper=upper,
        bound=lower if direction == "higher" else upper,
        p_value=normal_p_value(0.5 * (low + high), "greater"),
    )


def _wilson(x: int, n: int, z: float) -> float:
    """One end of Wilson's interval: the upper for positive z, the lower for negative."""
    p, square = x / n, z * z
    return (p + square / (2 * n) + z * math.sqrt(p * (1.0 - p) / n + square / (4.0 * n * n))) / (1.0 + square / n)
