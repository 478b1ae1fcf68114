"""Sample size, power and smallest detectable effect, each from the others.

    >>> round(sample_size_means(0.2, 1.0).exact_baseline, 2)        # t-test, Cohen's table: 394
    393.41
    >>> sample_size_proportions(0.2, 0.25).n_baseline                # R: power.prop.test -> 1093.739
    1094

Sizes are per variant. Formulas are named, because they differ: means use the noncentral t distribution (as R's
power.t.test), proportions the pooled normal formula (as R's power.prop.test). Arguments of one name mean the same
everywhere and are described where they come first; one out of range is a ValueError that names it and its bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from stats.means import check_alternative, check_finite, upper_quantile

__all__ = [
    "SampleSize",
    "additional_sample_factor",
    "days_needed",
    "mde_means",
    "mde_proportions",
    "power_means",
    "power_proportions",
    "power_with_more",
    "sample_size_means",
    "sample_size_proportions",
]

_LARGEST_N = 1e12  # subjects; beyond it the question is a mistake
_FEWEST_DF = 0.05  # degrees of freedom; met on the way to a size only, which is two subjects or more
_STEEP = 1e4  # noncentrality beyond which the noncentral t is its chi-square alone, to four digits


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSize:
    """How many subjects a test needs.

    Attributes
    ----------
    n_baseline, n_treatment : int
        Whole subjects per variant, rounded up.
    n_total : int
        Over all variants, with every treatment as large as ``n_treatment``.
    exact_baseline, exact_treatment : float
        Before rounding.
    effect : float
        Absolute effect that is found with that power.
    power, alpha : float
        alpha as given, before it was divided among comparisons.
    alternative : str
    formula : str
        Which formula, in words.

    References
    ----------
    .. [1] See the function that made it.
    """

    n_baseline: int
    n_treatment: int
    n_total: int
    exact_baseline: float
    exact_treatment: float
    effect: float
    power: float
    alpha: float
    alternative: str
    formula: str

    def to_dict(self) -> dict[str, float | int | str]:
        """Return the fields as plain JSON-safe values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def power_means(
    effect: float,
    sd: float,
    n_baseline: float,
    n_treatment: float | None = None,
    *,
    sd_treatment: float | None = None,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    comparisons: int = 1,
    margin: float = 0.0,
    distribution: Literal["t", "normal"] = "t",
    strict: bool = False,
) -> float:
    """Return the chance that a Welch test of two means is significant.

    Parameters
    ----------
    effect : float
        True difference of means, treatment minus baseline.
    sd, sd_treatment : float
        Standard deviation within the baseline and the treatment (same as the baseline's by default); positive.
    n_baseline, n_treatment : float
        Subjects per variant (equal by default), more than 1.
    alpha : float
    alternative : {"two-sided", "greater", "less"}
    comparisons : int
        Treatments or metrics tested; alpha is divided by it (Bonferroni).
    margin : float
        Non-inferiority margin added to the effect; needs a one-sided alternative.
    distribution : {"t", "normal"}
    strict : bool
        Whether the wrong tail of a two-sided test counts as power too.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    ``P(T > t_crit)`` for T noncentral t with noncentrality ``(effect + margin) / se``. As in R's power.t.test, the
    wrong tail of a two-sided test does not count as power unless `strict`: then ``P(T < -t_crit)`` is added.

    References
    ----------
    .. [1] Cohen, J. (1988). Statistical Power Analysis for the Behavioral Sciences, 2nd ed., ch. 2.
    .. [2] R Core Team. stats::power.t.test.

    Examples
    --------
    >>> round(power_means(1.0, 1.0, 20), 7)          # R: power.t.test(n = 20, delta = 1)
    0.8689528
    """
    level, sided = one_sided_level(alpha, alternative, comparisons)
    second = sd if sd_treatment is None else sd_treatment
    n2 = n_baseline if n_treatment is None else n_treatment
    check_positive("sd", sd)
    check_positive("sd_treatment", second)
    check_sizes(n_baseline, n2)
    unit = max(sd, second)  # squares of what is in it neither overflow nor all vanish
    v1, v2 = (sd / unit) ** 2 / n_baseline, (second / unit) ** 2 / n2
    shift = signed_distance(effect, margin, sided) / unit / math.sqrt(v1 + v2)
    counted = (1.0, -1.0) if strict and sided == "two-sided" else (1.0,)
    if distribution == "normal":
        critical = upper_quantile(level)
        return sum(float(special.ndtr(side * shift - critical)) for side in counted)
    if sd == second:
        df = n_baseline + n2 - 2.0
    else:
        df = 1.0 / ((v1 / (v1 + v2)) ** 2 / (n_baseline - 1.0) + (v2 / (v1 + v2)) ** 2 / (n2 - 1.0))
    if df < _FEWEST_DF:  # the critical value is beyond any effect
        return level * len(counted)
    critical = upper_quantile(level, df)
    return sum(_noncentral_t_above(critical, df, side * shift) for side in counted)


def _noncentral_t_above(critical: float, df: float, shift: float) -> float:
    """Return P(T > critical) for T noncentral t, critical 0 or more.

    T exceeds c when a normal variable of mean `shift` exceeds ``c sqrt(V / df)``, V chi-square: the normal tail
    averaged over log V, whose density is smooth, by the trapezoid rule. Libraries' series give out for large shifts.
    """
    if shift > _STEEP:  # the normal tail falls from 1 to 0 at once
        return float(special.gammainc(0.5 * df, 0.5 * df * min(shift / critical, 1e150) ** 2))
    width = math.sqrt(2.0 / df)
    low, high = -9.0 * width - 80.0 / df, 9.0 * width
    step = min(0.4 * width, 0.25, 0.8 / max(abs(shift), 1.0))
    y = np.linspace(low, high, math.ceil((high - low) / step) + 1)
    mass = np.exp(0.5 * df * (y - np.expm1(y)))  # exp(-df / 2) left out of it
    return float(np.dot(mass, special.ndtr(shift - critical * np.exp(0.5 * y))) / mass.sum())


def power_proportions(
    p1: float,
    p2: float,
    n_baseline: float,
    n_treatment: float | None = None,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    comparisons: int = 1,
    margin: float = 0.0,
    strict: bool = False,
) -> float:
    """Return the chance that a test of two proportions is significant.

    Parameters
    ----------
    p1, p2 : float
        True rates of baseline and treatment, in (0, 1).
    n_baseline, n_treatment : float
        Subjects per variant (equal by default).
    alpha, alternative, comparisons, margin, strict
        See `power_means`.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    ``Phi((|p2 - p1| - z s0) / s1)`` with the standard error pooled under the null hypothesis (s0) and unpooled under
    the alternative (s1). With a margin, both are unpooled.

    References
    ----------
    .. [1] Fleiss, J., Levin, B. and Paik, M. (2003). Statistical Methods for Rates and Proportions, 3rd ed., eq.
       4.14.
    .. [2] R Core Team. stats::power.prop.test.

    Examples
    --------
    >>> round(power_proportions(0.5, 0.75, 50), 4)    # R: power.prop.test(n = 50, p1 = .5, p2 = .75)
    0.7402
    """
    level, sided = one_sided_level(alpha, alternative, comparisons)
    n2 = n_baseline if n_treatment is None else n_treatment
    for name, p in (("p1", p1), ("p2", p2)):
        if not 0.0 < p < 1.0:
            raise ValueError(f"{name} must lie between 0 and 1, got {p!r}")
    check_positive("n_baseline", n_baseline)
    check_positive("n_treatment", n2)
    pooled = (n_baseline * p1 + n2 * p2) / (n_baseline + n2)
    under_alternative = math.sqrt(p1 * (1 - p1) / n_baseline + p2 * (1 - p2) / n2)
    under_null = math.sqrt(pooled * (1 - pooled) * (1 / n_baseline + 1 / n2)) if margin == 0.0 else under_alternative
    distance = signed_distance(p2 - p1, margin, sided)
    reach = upper_quantile(level) * under_null
    counted = (1.0, -1.0) if strict and sided == "two-sided" else (1.0,)
    return sum(float(special.ndtr((side * distance - reach) / under_alternative)) for side in counted)


def sample_size_means(
    effect: float,
    sd: float,
    *,
    sd_treatment: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    treatment_share: float = 0.5,
    n_treatments: int = 1,
    comparisons: int = 1,
    margin: float = 0.0,
    distribution: Literal["t", "normal"] = "t",
) -> SampleSize:
    """Return the subjects a Welch test of two means needs.

    Parameters
    ----------
    effect : float
        Absolute effect to be found, not zero (its sign is ignored for two-sided tests).
    sd, sd_treatment : float
    power : float
        In (0, 1).
    alpha, alternative, comparisons, margin, distribution
        See `power_means`.
    treatment_share : float
        Subjects of one treatment over those of it and the baseline together, in (0, 1).
    n_treatments : int
        For ``n_total``.

    Returns
    -------
    SampleSize

    Raises
    ------
    ValueError
        If the effect is zero or points away from a one-sided alternative, or an argument is out of range.

    Notes
    -----
    The size at which `power_means` equals the power, found by root finding.

    References
    ----------
    .. [1] R Core Team. stats::power.t.test.
    """
    _check_effect(effect, margin, alternative)
    ratio = allocation_ratio(treatment_share)

    def reached(n: float) -> float:
        return power_means(
            effect,
            sd,
            n,
            n * ratio,
            sd_treatment=sd_treatment,
            alpha=alpha,
            alternative=alternative,
            comparisons=comparisons,
            margin=margin,
            distribution=distribution,
        )

    smallest = 1.0000001 * max(1.0, 1.0 / ratio)
    exact = solve_size(reached, power, smallest)
    name = "noncentral t, Welch" if distribution == "t" else "normal approximation"
    return sized(exact, ratio, n_treatments, effect, power, alpha, alternative, f"difference of means ({name})")


def sample_size_proportions(
    p1: float,
    p2: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    treatment_share: float = 0.5,
    n_treatments: int = 1,
    comparisons: int = 1,
    margin: float = 0.0,
) -> SampleSize:
    """Return the subjects a test of two proportions needs.

    Parameters
    ----------
    p1, p2 : float
        Rates of baseline and treatment, in (0, 1).
    power, alpha, alternative, treatment_share, n_treatments, comparisons, margin
        See `sample_size_means`.

    Returns
    -------
    SampleSize

    Raises
    ------
    ValueError
        As `sample_size_means`.

    Notes
    -----
    The size at which `power_proportions` equals the power.

    References
    ----------
    .. [1] R Core Team. stats::power.prop.test.
    """
    _check_effect(p2 - p1, margin, alternative)
    ratio = allocation_ratio(treatment_share)

    def reached(n: float) -> float:
        return power_proportions(
            p1, p2, n, n * ratio, alpha=alpha, alternative=alternative, comparisons=comparisons, margin=margin
        )

    exact = solve_size(reached, power, 1e-6)
    formula = "difference of proportions (pooled normal, as power.prop.test)"
    return sized(exact, ratio, n_treatments, p2 - p1, power, alpha, alternative, formula)


def mde_means(
    n_baseline: float,
    sd: float,
    n_treatment: float | None = None,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    comparisons: int = 1,
    distribution: Literal["t", "normal"] = "t",
) -> float:
    """Return the smallest difference of means found with a power at given sizes, as a positive number.

    Parameters
    ----------
    n_baseline, n_treatment : float
    sd : float
    power, alpha, alternative, comparisons, distribution
        See `power_means`.

    Returns
    -------
    float

    Notes
    -----
    The effect at which `power_means` equals the power.

    References
    ----------
    .. [1] R Core Team. stats::power.t.test.

    Examples
    --------
    >>> round(mde_means(1000, 0.12), 6)
    0.015042
    """
    sign = -1.0 if alternative == "less" else 1.0
    check_positive("sd", sd)

    def reached(effect: float) -> float:  # in standard deviations
        return power_means(
            sign * effect,
            1.0,
            n_baseline,
            n_treatment,
            alpha=alpha,
            alternative=alternative,
            comparisons=comparisons,
            distribution=distribution,
        )

    return sd * solve_size(reached, power, 1e-9)


def mde_proportions(
    p1: float,
    n_baseline: float,
    n_treatment: float | None = None,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    comparisons: int = 1,
) -> float | None:
    """Return the smallest increase (for "less": decrease) of a proportion found with a power.

    Parameters
    ----------
    p1 : float
        Baseline rate, in (0, 1).
    n_baseline, n_treatment : float
    power, alpha, alternative, comparisons
        See `power_proportions`.

    Returns
    -------
    float or None
        As a positive number; None when no rate within (0, 1) is far enough.

    Notes
    -----
    The difference at which `power_proportions` equals the power.

    References
    ----------
    .. [1] R Core Team. stats::power.prop.test.
    """
    sign, room = (-1.0, p1) if alternative == "less" else (1.0, 1.0 - p1)

    def reached(effect: float) -> float:
        return power_proportions(
            p1,
            p1 + sign * effect,
            n_baseline,
            n_treatment,
            alpha=alpha,
            alternative=alternative,
            comparisons=comparisons,
        )

    check_power(power)
    low, high = room * 1e-9, room * (1.0 - 1e-9)
    return None if reached(high) < power else low if reached(low) >= power else find_root(reached, power, low, high)


def power_with_more(
    factor: float,
    standard_error: float,
    effect: float,
    n: int,
    *,
    alpha: float = 0.05,
    tuned_for: float | None = None,
) -> float:
    """Return the power that a running test will have once a multiple of its present subjects has been added.

    Parameters
    ----------
    factor : float
        Subjects still to come over those so far; 0 or more.
    standard_error : float
        Of the effect so far, on the effect's scale; positive.
    effect : float
        The effect to be found, not 0.
    n : int
        Subjects so far, all variants together.
    alpha : float
    tuned_for : float or None
        None for a fixed-horizon test; else subjects for which a confidence sequence is tuned.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    With f times more subjects the squared standard error shrinks by ``1 + f``; power is the chance that the estimate
    lies beyond the half-width, ``Phi((|effect| - h) / se) + Phi(-(|effect| + h) / se)``, counting both tails.

    References
    ----------
    .. [1] Waudby-Smith, I. et al. (2024). Ann. Statist. 52, 2613-2640 (half-width of the sequence).
    """
    from stats.always_valid import confidence_sequence

    check_positive("standard_error", standard_error)
    check_positive("|effect|", abs(effect))
    if not (factor >= 0.0 and math.isfinite(factor)):
        raise ValueError(f"factor must be finite and 0 or more, got {factor!r}")
    size = abs(effect)
    se = standard_error / math.sqrt(1.0 + factor)
    if tuned_for is None:
        half = upper_quantile(alpha / 2.0) * se
    else:
        half = confidence_sequence(0.0, se, n * (1.0 + factor), alpha=alpha, tuned_for=tuned_for).half_width
    return float(special.ndtr((size - half) / se) + special.ndtr(-(size + half) / se))


def additional_sample_factor(
    standard_error: float,
    effect: float,
    n: int,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    tuned_for: float | None = None,
) -> float:
    """Return how many times the present subjects are still to come until an effect is found with a power.

    Parameters
    ----------
    standard_error, effect, n, alpha, tuned_for
        See `power_with_more`.
    power : float

    Returns
    -------
    float
        0.0 when the power is reached already; ``additional = factor * n``.

    Notes
    -----
    The factor at which `power_with_more` equals the power.

    References
    ----------
    .. [1] Waudby-Smith, I. et al. (2024). Ann. Statist. 52, 2613-2640 (half-width of the sequence).
    """

    def reached(factor: float) -> float:
        return power_with_more(factor, standard_error, effect, n, alpha=alpha, tuned_for=tuned_for)

    return 0.0 if reached(0.0) >= power else solve_size(reached, power, 1e-12)


def days_needed(n_total: int, subjects_per_day: float) -> int:
    """Return the whole days until enough subjects have arrived.

    Parameters
    ----------
    n_total : int
        Subjects wanted, all variants together.
    subjects_per_day : float
        Positive.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If the rate is not positive.

    Notes
    -----
    ``ceil(n / rate)``. Whole weeks are better still: weekdays differ.

    References
    ----------
    .. [1] Kohavi, R., Tang, D. and Xu, Y. (2020). Trustworthy Online Controlled Experiments, ch. 2.
    """
    check_positive("subjects_per_day", subjects_per_day)
    if not n_total / subjects_per_day < math.inf:
        raise ValueError(f"{n_total!r} subjects never arrive at {subjects_per_day!r} a day")
    return max(0, math.ceil(n_total / subjects_per_day))


def one_sided_level(alpha: float, alternative: str, comparisons: int) -> tuple[float, str]:
    """One-sided level of one comparison, and the alternative."""
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha!r}")
    if comparisons < 1:
        raise ValueError(f"comparisons must be 1 or more, got {comparisons!r}")
    sided = check_alternative(alternative)
    return alpha / comparisons / (2.0 if sided == "two-sided" else 1.0), sided


def signed_distance(effect: float, margin: float, alternative: str) -> float:
    """Distance from the null hypothesis in the direction that counts."""
    check_finite("effect", effect)
    if not (margin >= 0.0 and math.isfinite(margin)):
        raise ValueError(f"margin must be finite and 0 or more, got {margin!r}")
    if margin > 0.0 and alternative == "two-sided":
        raise ValueError("a non-inferiority margin needs alternative='greater' or 'less'")
    if alternative == "two-sided":
        return abs(effect)
    return effect + margin if alternative == "greater" else -effect + margin


def _check_effect(effect: float, margin: float, alternative: str) -> None:
    if not signed_distance(effect, margin, check_alternative(alternative)) > 0.0:
        raise ValueError(f"no sample size finds the effect {effect!r} with alternative={alternative!r}")


def check_power(power: float) -> None:
    if not 0.0 < power < 1.0:
        raise ValueError(f"power must lie between 0 and 1, got {power!r}")


def check_positive(name: str, value: float) -> None:
    if not (value > 0.0 and math.isfinite(value)):
        raise ValueError(f"{name} must be positive and finite, got {value!r}")


def check_sizes(n_baseline: float, n_treatment: float) -> None:
    if not (n_baseline > 1 and n_treatment > 1 and math.isfinite(n_baseline + n_treatment)):
        raise ValueError(f"at least two subjects per variant are needed, got {n_baseline} and {n_treatment}")


def allocation_ratio(treatment_share: float) -> float:
    if not 0.0 < treatment_share < 1.0:
        raise ValueError(f"treatment_share must lie between 0 and 1, got {treatment_share!r}")
    return treatment_share / (1.0 - treatment_share)


def solve_size(function: Callable[[float], float], target: float, smallest: float) -> float:
    """Smallest argument at which an increasing function reaches the target."""
    check_power(target)
    if function(smallest) >= target:
        return smallest
    high = max(smallest * 2.0, 2.0)
    while function(high) < target:
        high *= 2.0
        if high > _LARGEST_N:
            raise ValueError(
                f"more than {_LARGEST_N:.0e} subjects would be needed; the effect is too small for its noise"
            )
    return find_root(function, target, smallest, high)


def find_root(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    from scipy.optimize import brentq

    return float(brentq(lambda value: function(value) - target, low, high, xtol=1e-12, rtol=1e-12, maxiter=300))


def sized(
    exact: float,
    ratio: float,
    n_treatments: int,
    effect: float,
    power: float,
    alpha: float,
    alternative: str,
    formula: str,
) -> SampleSize:
    n1, n2 = _whole(exact), _whole(exact * ratio)
    return SampleSize(
        n_baseline=n1,
        n_treatment=n2,
        n_total=n1 + n2 * n_treatments,
        exact_baseline=exact,
        exact_treatment=exact * ratio,
        effect=effect,
        power=power,
        alpha=alpha,
        alternative=alternative,
        formula=formula,
    )


def _whole(n: float) -> int:
    return math.ceil(n - 1e-9 * max(1.0, n))
