"""Ratios: relative lift of one mean over another, and metrics that are themselves ratios of sums.

    >>> lift = relative_lift(0.8, 0.12 / 1000**0.5, 0.815, 0.11 / 1000**0.5)
    >>> round(lift.estimate, 5), round(lift.ci_lower, 6), round(lift.ci_upper, 6)
    (0.01875, 0.006096, 0.03158)

A lift is ``(treatment - baseline) / |baseline|``: with a negative baseline an increase is still positive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from stats.means import check_alpha, upper_quantile
from stats.moments import JointStatistics, MeanStatistics

__all__ = ["Lift", "LiftMethod", "log_ratio_interval", "ratio_statistics", "relative_lift"]

LiftMethod = Literal["fieller", "log", "delta"]

_LARGEST_LOG = 709.0  # exp of it is about the largest float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift:
    """A relative effect and its interval, or why there is none.

    Attributes
    ----------
    estimate : float or None
        ``(treatment - baseline) / |baseline|``.
    ci_lower, ci_upper : float or None
    standard_error : float or None
        Of the delta method; a rough size, the interval is what counts.
    method : str
    reason : str or None
        Why the estimate or its interval does not exist.

    References
    ----------
    .. [1] See `relative_lift`.
    """

    estimate: float | None
    ci_lower: float | None
    ci_upper: float | None
    standard_error: float | None
    method: str
    reason: str | None


def relative_lift(
    baseline: float,
    baseline_se: float,
    treatment: float,
    treatment_se: float,
    *,
    alpha: float = 0.05,
    method: LiftMethod = "fieller",
    quantile: float | None = None,
) -> Lift:
    """Return how many percent (as a share) the treatment differs from the baseline, with an interval.

    Parameters
    ----------
    baseline, treatment : float
        Independent estimates.
    baseline_se, treatment_se : float
        Their standard errors, 0 or more.
    alpha : float
    method : {"fieller", "log", "delta"}
    quantile : float or None
        Critical value; the normal one for a two-sided alpha by default.

    Returns
    -------
    Lift
        Without an estimate when the baseline is zero or, for "fieller", not distinguishable from zero at this alpha
        (the set of plausible ratios is then unbounded); without an interval when signs differ ("log").

    Raises
    ------
    ValueError
        If a number is not finite, a standard error negative, or the method unknown.

    Notes
    -----
    Fieller: the ratios r for which ``treatment - r baseline`` is not significantly different from zero,
    ``(r0 ± sqrt(...)) / (1 - g)`` with ``g = (q se_b / b)^2``. Log: ``exp(log r0 ± q sqrt(cv_t^2 + cv_b^2)) - 1``.
    Delta: ``r0 - 1 ± q sqrt(se_t^2 / b^2 + t^2 se_b^2 / b^4)``, symmetric and therefore wrong for noisy baselines.

    References
    ----------
    .. [1] Fieller, E. C. (1954). Some problems in interval estimation. JRSS B 16, 175-185.
    .. [2] Deng, A., Knoblich, U. and Lu, J. (2018). Applying the delta method in metric analytics. KDD '18.
    """
    if method not in ("fieller", "log", "delta"):
        raise ValueError(f"method must be 'fieller', 'log' or 'delta', got {method!r}")
    for name, value in (("baseline", baseline), ("treatment", treatment)):
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value!r}")
    for name, value in (("baseline_se", baseline_se), ("treatment_se", treatment_se)):
        if not (value >= 0.0 and math.isfinite(value)):
            raise ValueError(f"{name} must be finite and 0 or more, got {value!r}")
    q = upper_quantile(check_alpha(alpha) / 2.0) if quantile is None else quantile

    def without_interval(reason: str) -> Lift:
        return Lift(estimate=estimate, ci_lower=None, ci_upper=None, standard_error=se, method=method, reason=reason)

    if baseline == 0.0:
        estimate, se = None, None
        return without_interval("the baseline is zero")
    size = abs(baseline)
    estimate = (treatment - baseline) / size
    # Everything in units of |baseline|, so that tiny and huge metrics neither under- nor overflow.
    b, t, sb, st = baseline / size, treatment / size, baseline_se / size, treatment_se / size
    se = math.hypot(st, t * sb)
    if not (math.isfinite(estimate) and math.isfinite(se)):
        estimate, se = None, None
        return without_interval("the baseline is too close to zero to divide by")
    if method == "delta":
        lower, upper = estimate - q * se, estimate + q * se
    elif method == "log":
        ratio = t / b
        if ratio <= 0.0:
            return without_interval("treatment and baseline differ in sign, so their ratio has no logarithm")
        reach = q * math.hypot(st / t, sb / b)
        if math.log(ratio) + reach > _LARGEST_LOG:
            return without_interval("the interval reaches beyond what a float can say")
        ends = sorted((math.expm1(math.log(ratio) - reach), math.expm1(math.log(ratio) + reach)))
        lower, upper = (ends[0], ends[1]) if b > 0 else (-ends[1], -ends[0])
    else:
        if q * sb >= 1.0:
            estimate, se = None, None
            return without_interval("the baseline is not distinguishable from zero")
        g = (q * sb) ** 2
        root = q * math.hypot(st * math.sqrt(1.0 - g), t * sb)
        low, high = (t * b - root) / (1.0 - g), (t * b + root) / (1.0 - g)
        # r = treatment / baseline; for a negative baseline the lift is 1 - r
        lower, upper = (low - 1.0, high - 1.0) if b > 0 else (1.0 - high, 1.0 - low)
    if not (math.isfinite(lower) and math.isfinite(upper)):
        return without_interval("the interval reaches beyond what a float can say")
    return Lift(estimate=estimate, ci_lower=lower, ci_upper=upper, standard_error=se, method=method, reason=None)


def log_ratio_interval(x1: int, n1: int, x2: int, n2: int, *, alpha: float = 0.05) -> tuple[float, float] | None:
    """Return the interval of the relative difference of two rates under a variance pooled over both.

    Parameters
    ----------
    x1, n1, x2, n2 : int
        Successes and sizes of baseline and treatment.
    alpha : float

    Returns
    -------
    lower, upper : float, or None
        None when a rate is zero.

    Notes
    -----
    ``exp(log(p2 / p1) ± z sqrt((1 - p) / p (1 / n1 + 1 / n2))) - 1``.

    References
    ----------
    .. [1] Katz, D. et al. (1978). Obtaining confidence intervals for the risk ratio in cohort studies. Biometrics
       34, 469-474.
    """
    if x1 <= 0 or x2 <= 0:
        return None
    pooled = (x1 + x2) / (n1 + n2)
    q = upper_quantile(check_alpha(alpha) / 2.0)
    reach = q * math.sqrt((1.0 - pooled) / pooled * (1.0 / n1 + 1.0 / n2))
    centre = math.log((x2 / n2) / (x1 / n1))
    return math.expm1(centre - reach), math.expm1(centre + reach)


def ratio_statistics(arm: JointStatistics) -> MeanStatistics:
    """Linearise a ratio of sums, so that it can be compared like a mean.

    Parameters
    ----------
    arm : JointStatistics
        ``x`` the denominator and ``y`` the numerator of every subject.

    Returns
    -------
    MeanStatistics
        Mean ``sum y / sum x``, and the variance of its linearisation.

    Raises
    ------
    ValueError
        If there are subjects and the denominators add up to zero.

    Notes
    -----
    ``R = mean(y) / mean(x)``, ``var = (s_yy - 2 R s_xy + R^2 s_xx) / mean(x)^2`` per subject. The subject, not the
    single event, is the unit: events of one subject are not independent.

    References
    ----------
    .. [1] Deng, A., Knoblich, U. and Lu, J. (2018). Applying the delta method in metric analytics: a practical guide
       with novel ideas. KDD '18, section 3.1.

    Examples
    --------
    >>> ratio_statistics(JointStatistics.from_values([3, 1, 4], [1, 0, 2])).mean
    0.375
    """
    if arm.n == 0:
        return MeanStatistics(n=0, mean=0.0, deviations=0.0)
    if arm.x_mean == 0.0:
        raise ValueError("the denominators add up to zero; the ratio does not exist")
    ratio = arm.y_mean / arm.x_mean
    deviations = arm.residual_deviations(ratio) / (arm.x_mean * arm.x_mean)
    return MeanStatistics(n=arm.n, mean=ratio, deviations=deviations)
