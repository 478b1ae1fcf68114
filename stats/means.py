"""Comparing means: Welch's test, its interval, effect size, non-inferiority and variance reduction.

    >>> baseline = MeanStatistics.from_summary(1000, 0.8, 0.12)
    >>> treatment = MeanStatistics.from_summary(1000, 0.815, 0.11)
    >>> round(welch_t_test(baseline, treatment).p_value, 6)
    0.00361

An effect is always treatment minus baseline. Nothing here assumes equal variances.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Literal

from scipy import special

from stats.moments import ROUNDING, JointStatistics, MeanStatistics

__all__ = [
    "ALTERNATIVES",
    "Alternative",
    "CupedAdjustment",
    "MeanTest",
    "chi_square_p_value",
    "cohen_d",
    "cuped",
    "estimate_test",
    "non_inferiority_test",
    "normal_p_value",
    "t_p_value",
    "upper_quantile",
    "welch_t_test",
]

Alternative = Literal["two-sided", "greater", "less"]
ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "greater", "less")

# The smallest normal double. A p-value below it is reported as it, never as an impossible 0.
P_VALUE_FLOOR = sys.float_info.min


def check_alpha(alpha: float) -> float:
    """Return alpha if it is a usable error rate in (0, 0.5]."""
    if not 0.0 < alpha <= 0.5:
        raise ValueError(f"alpha must lie in (0, 0.5], got {alpha!r}")
    return float(alpha)


def check_alternative(alternative: str) -> Alternative:
    """Return the alternative if it is one of the three."""
    for choice in ALTERNATIVES:
        if alternative == choice:
            return choice
    raise ValueError(f"alternative must be one of {', '.join(map(repr, ALTERNATIVES))}, got {alternative!r}")


def check_finite(name: str, value: float) -> float:
    """Return a number if it is finite: a comparison with NaN is false, so NaN would pass for a result."""
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(value)


def t_p_value(t: float, df: float, alternative: str = "two-sided") -> float:
    """Probability of a t statistic at least as extreme, if there is no effect.

    Parameters
    ----------
    t : float
        Statistic, positive when the treatment is larger.
    df : float
        Degrees of freedom, positive; infinity for the normal distribution.
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    float
        In (0, 1].

    Raises
    ------
    ValueError
        If the alternative is unknown, df is not positive, or the statistic is not a number.

    Notes
    -----
    Lower tails are evaluated directly instead of as one minus an upper tail, so small p-values keep their digits;
    below 2.2e-308 the smallest normal double is returned.

    References
    ----------
    .. [1] Abramowitz, M. and Stegun, I. (1964). Handbook of Mathematical Functions, 26.7.

    Examples
    --------
    >>> t_p_value(40.0, 1e9) > 0.0
    True
    """
    if not df > 0.0:
        raise ValueError(f"df must be positive, got {df!r}")
    if math.isnan(t):
        raise ValueError("the statistic is not a number; no p-value exists")
    choice = check_alternative(alternative)
    tail = _lower_tail(-abs(t) if choice == "two-sided" else -t if choice == "greater" else t, df)
    return min(1.0, max(P_VALUE_FLOOR, 2.0 * tail if choice == "two-sided" else tail))


def normal_p_value(z: float, alternative: str = "two-sided") -> float:
    """Probability of a standard normal statistic at least as extreme; see `t_p_value`.

    Parameters
    ----------
    z : float
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    float
        In (0, 1].

    Notes
    -----
    The lower tail of the normal distribution, through the complementary error function.

    References
    ----------
    .. [1] Abramowitz, M. and Stegun, I. (1964). Handbook of Mathematical Functions, 26.2.
    """
    return t_p_value(z, math.inf, alternative)


def chi_square_p_value(statistic: float, df: float) -> float:
    """Probability of a chi-square statistic at least as large, if there is no effect; see `t_p_value`.

    Parameters
    ----------
    statistic : float
        0 or more.
    df : float
        Positive.

    Returns
    -------
    float
        In (0, 1].

    Notes
    -----
    The upper incomplete gamma function, ``Q(df / 2, statistic / 2)``.

    References
    ----------
    .. [1] Abramowitz, M. and Stegun, I. (1964). Handbook of Mathematical Functions, 26.4.
    """
    if not (statistic >= 0.0 and df > 0.0):
        raise ValueError(f"statistic must be 0 or more and df positive, got {statistic!r} and {df!r}")
    return max(P_VALUE_FLOOR, float(special.chdtrc(df, statistic)))


def _lower_tail(t: float, df: float) -> float:
    return float(special.ndtr(t)) if math.isinf(df) else float(special.stdtr(df, t))


def upper_quantile(tail: float, df: float = math.inf) -> float:
    """Return what a t variable, or a standard normal one, exceeds with a probability.

    Parameters
    ----------
    tail : float
        In (0, 1).
    df : float
        Degrees of freedom; infinity for the normal distribution.

    Returns
    -------
    float

    Notes
    -----
    Minus the lower quantile: ``1 - tail`` would lose the digits of a small tail, and be 1 below 1e-16.

    References
    ----------
    .. [1] Abramowitz, M. and Stegun, I. (1964). Handbook of Mathematical Functions, 26.2 and 26.7.
    """
    tail = max(tail, P_VALUE_FLOOR)
    return -float(special.ndtri(tail) if math.isinf(df) else special.stdtrit(df, tail))


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanTest:
    """Outcome of a test on a difference that is normal or t distributed around its true value.

    Attributes
    ----------
    effect : float
        Treatment minus baseline.
    standard_error : float
        Of the effect.
    statistic : float
        ``(effect - null) / standard_error``.
    df : float
        Degrees of freedom; infinity for a normal test.
    p_value : float
        In (0, 1].
    ci_lower, ci_upper : float or None
        Interval of level ``1 - alpha``; None on the open side of a one-sided test.
    alternative : str
    alpha : float

    References
    ----------
    .. [1] See the function that made it.
    """

    effect: float
    standard_error: float
    statistic: float
    df: float
    p_value: float
    ci_lower: float | None
    ci_upper: float | None
    alternative: Alternative
    alpha: float


def estimate_test(
    effect: float,
    standard_error: float,
    df: float = math.inf,
    *,
    null: float = 0.0,
    alpha: float = 0.05,
    alternative: str = "two-sided",
) -> MeanTest:
    """Test an estimate with a known standard error, and give its interval.

    Parameters
    ----------
    effect, standard_error : float
        The standard error must be positive.
    df : float
        Degrees of freedom; infinity for the normal distribution.
    null : float
        Effect under the null hypothesis.
    alpha : float
        In (0, 0.5].
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    MeanTest

    Raises
    ------
    ValueError
        If the effect is not finite, the standard error not positive, or alpha or the alternative out of range.

    Notes
    -----
    ``t = (effect - null) / se``; the interval is ``effect ± t_{1-alpha/2} se``, one-sided ``effect ∓ t_{1-alpha} se``.

    References
    ----------
    .. [1] Casella, G. and Berger, R. (2002). Statistical Inference, 2nd ed., section 9.2.
    """
    check_alpha(alpha)
    choice = check_alternative(alternative)
    check_finite("effect", effect)
    check_finite("null", null)
    if not (standard_error > 0.0 and math.isfinite(standard_error)):
        raise ValueError(f"standard_error must be positive and finite, got {standard_error!r}")
    statistic = (effect - null) / standard_error
    reach = upper_quantile(alpha / 2.0 if choice == "two-sided" else alpha, df) * standard_error
    return MeanTest(
        effect=effect,
        standard_error=standard_error,
        statistic=statistic,
        df=df,
        p_value=t_p_value(statistic, df, choice),
        ci_lower=None if choice == "less" else effect - reach,
        ci_upper=None if choice == "greater" else effect + reach,
        alternative=choice,
        alpha=alpha,
    )


def welch_degrees_of_freedom(v1: float, n1: int, v2: float, n2: int) -> float:
    """Welch-Satterthwaite degrees of freedom for squared standard errors v1, v2 of samples of n1, n2.

    Raises
    ------
    ValueError
        If both squared standard errors are zero.

    Notes
    -----
    ``(v1 + v2)^2 / (v1^2 / (n1 - 1) + v2^2 / (n2 - 1))``, with the shares of the total first, so that neither tiny
    nor huge variances under- or overflow when squared.

    References
    ----------
    .. [1] Satterthwaite, F. E. (1946). Biometrics Bulletin 2, 110-114.
    """
    total = v1 + v2
    if not total > 0.0:
        raise ValueError("both samples have zero variance; no t statistic exists")
    a, b = v1 / total, v2 / total
    return 1.0 / (a * a / (n1 - 1) + b * b / (n2 - 1))


def welch_t_test(
    baseline: MeanStatistics,
    treatment: MeanStatistics,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    null: float = 0.0,
) -> MeanTest:
    """Compare two means without assuming equal variances.

    Parameters
    ----------
    baseline, treatment : MeanStatistics
        At least two values each.
    alpha : float
        One minus the level of the interval, in (0, 0.5].
    alternative : {"two-sided", "greater", "less"}
        "greater": the treatment's mean is larger than the baseline's plus ``null``.
    null : float
        Difference under the null hypothesis.

    Returns
    -------
    MeanTest

    Raises
    ------
    ValueError
        With fewer than two values in an arm, or when both arms have zero variance: then no test exists.

    Notes
    -----
    ``t = (m2 - m1 - null) / sqrt(s1^2 / n1 + s2^2 / n2)`` on Satterthwaite's degrees of freedom.

    References
    ----------
    .. [1] Welch, B. L. (1947). The generalization of 'Student's' problem when several different population
       variances are involved. Biometrika 34, 28-35.

    Examples
    --------
    >>> result = welch_t_test(MeanStatistics.from_values([1, 2, 3]), MeanStatistics.from_values([2, 4, 6]))
    >>> round(result.effect, 12), round(result.df, 3)
    (2.0, 2.941)
    """
    for name, arm in (("baseline", baseline), ("treatment", treatment)):
        if arm.n < 2:
            raise ValueError(f"{name} has {arm.n} values; a t-test needs at least two")
    v1, v2 = baseline.variance / baseline.n, treatment.variance / treatment.n
    df = welch_degrees_of_freedom(v1, baseline.n, v2, treatment.n)
    effect = treatment.mean - baseline.mean
    return estimate_test(effect, math.sqrt(v1 + v2), df, null=null, alpha=alpha, alternative=alternative)


def cohen_d(baseline: MeanStatistics, treatment: MeanStatistics) -> float | None:
    """Return the difference of means in pooled standard deviations, or None when both have zero variance.

    Parameters
    ----------
    baseline, treatment : MeanStatistics
        At least two values each.

    Returns
    -------
    float or None

    Notes
    -----
    ``d = (m2 - m1) / s_p`` with ``s_p^2`` weighted by ``n - 1``.

    References
    ----------
    .. [1] Cohen, J. (1988). Statistical Power Analysis for the Behavioral Sciences, 2nd ed., eq. 2.5.2.
    """
    df = baseline.n + treatment.n - 2
    pooled = (baseline.deviations + treatment.deviations) / df if df > 0 else 0.0
    return (treatment.mean - baseline.mean) / math.sqrt(pooled) if pooled > 0.0 else None


def non_inferiority_test(
    baseline: MeanStatistics,
    treatment: MeanStatistics,
    margin: float,
    *,
    alpha: float = 0.025,
    direction: Literal["higher", "lower"] = "higher",
) -> MeanTest:
    """Test that the treatment is not worse than the baseline by a margin or more.

    Parameters
    ----------
    baseline, treatment : MeanStatistics
    margin : float
        Largest acceptable worsening, in units of the metric; positive.
    alpha : float
        One-sided error rate; 0.025 matches a two-sided interval of 95 %.
    direction : {"higher", "lower"}
        Which values are better.

    Returns
    -------
    MeanTest
        One-sided; the treatment is non-inferior when ``p_value < alpha``.

    Raises
    ------
    ValueError
        If the margin is not positive, or as `welch_t_test`.

    Notes
    -----
    Null hypothesis ``m2 - m1 <= -margin`` (for "lower": ``>= margin``), tested with Welch's t.

    References
    ----------
    .. [1] Piaggio, G. et al. (2012). Reporting of noninferiority and equivalence randomized trials. JAMA 308,
       2594-2604.
    """
    if not margin > 0.0:
        raise ValueError(f"margin must be positive, got {margin!r}")
    if direction == "higher":
        return welch_t_test(baseline, treatment, alpha=alpha, alternative="greater", null=-margin)
    return welch_t_test(baseline, treatment, alpha=alpha, alternative="less", null=margin)


@dataclass(frozen=True, slots=True, kw_only=True)
class CupedAdjustment:
    """Outcome statistics after a covariate measured before the experiment took its share of the variance.

    Attributes
    ----------
    theta : float
        Regression slope of outcome on covariate, over the subjects of all variants together.
    arms : list of MeanStatistics
        Adjusted statistics, in the order given.
    variance_reduction : list of float or None
        Share of the variance removed, by variant, at most 1; negative where the slope does not fit; None for zero
        variance.

    References
    ----------
    .. [1] See `cuped`.
    """

    theta: float
    arms: list[MeanStatistics]
    variance_reduction: list[float | None]


def cuped(arms: list[JointStatistics]) -> CupedAdjustment:
    """Reduce variance with a covariate (x) that the treatment cannot have changed.

    Parameters
    ----------
    arms : list of JointStatistics
        Per variant: ``x`` the covariate before the experiment, ``y`` the outcome.

    Returns
    -------
    CupedAdjustment
        theta is 0 when the covariate does not vary, or only by rounding: nothing is adjusted.

    Raises
    ------
    ValueError
        Without at least two subjects overall.

    Notes
    -----
    ``y' = y - theta (x - mean(x))`` with ``theta = cov(x, y) / var(x)`` and ``mean(x)`` over all variants together.
    The same theta in every variant keeps the effect unbiased.

    References
    ----------
    .. [1] Deng, A., Xu, Y., Kohavi, R. and Walker, T. (2013). Improving the sensitivity of online controlled
       experiments by utilizing pre-experiment data. WSDM '13, eq. 5.

    Examples
    --------
    >>> arm = JointStatistics.from_values([1, 2, 3, 4], [2.1, 3.9, 6.2, 7.8])
    >>> round(cuped([arm]).theta, 4)
    1.94
    """
    if not arms:
        raise ValueError("cuped needs at least one variant")
    pooled = arms[0]
    for arm in arms[1:]:
        pooled = pooled + arm
    if pooled.n < 2:
        raise ValueError(f"cuped needs at least two subjects with a covariate, got {pooled.n}")
    varies = math.sqrt(pooled.x_deviations / pooled.n) > ROUNDING * abs(pooled.x_mean)
    theta = pooled.xy_deviations / pooled.x_deviations if varies else 0.0
    adjusted = []
    reduction: list[float | None] = []
    for arm in arms:
        deviations = arm.residual_deviations(theta)
        adjusted.append(
            MeanStatistics(n=arm.n, mean=arm.y_mean - theta * (arm.x_mean - pooled.x_mean), deviations=deviations)
        )
        reduction.append(1.0 - deviations / arm.y_deviations if arm.y_deviations > 0.0 else None)
    return CupedAdjustment(theta=theta, arms=adjusted, variance_reduction=reduction)
