"""One metric, two variants: which test, which effect, which intervals, said by name.

    >>> from stats.moments import MeanStatistics
    >>> result = compare_means([(MeanStatistics.from_values([1, 2, 3, 4]), MeanStatistics.from_values([3, 4, 5, 7]))])
    >>> result.method, round(result.effect, 2), round(result.p_value, 4)
    ("Welch's t-test", 2.25, 0.0837)

Data come in *strata*: one pair (baseline, treatment) for every phase of a test. Within a phase the split is constant;
pooling phases with different splits can show an effect that exists in none of them (Simpson's paradox), so
several strata are compared within and then averaged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scipy import special

from stats.means import (
    Alternative,
    check_alpha,
    check_alternative,
    cohen_d,
    estimate_test,
    upper_quantile,
    welch_t_test,
)
from stats.moments import ROUNDING, JointStatistics, MeanStatistics
from stats.proportions import (
    chi_square_test,
    cohen_h,
    fisher_exact_test,
    newcombe_interval,
    smallest_expected_count,
    two_proportion_z_test,
)
from stats.ranks import Tallies, hodges_lehmann, mann_whitney_from_tallies
from stats.ratios import Lift, relative_lift

__all__ = ["Comparison", "RankSummary", "compare_counts", "compare_means", "compare_proportions", "stratified_effect"]

SMALL_EXPECTED_COUNT = 5.0  # below it Fisher's exact test replaces chi-square; Cochran (1954)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankSummary:
    """What Mann-Whitney's test says, and what it is about.

    Attributes
    ----------
    p_value : float or None
    probability_of_superiority : float
        Chance that a treatment subject exceeds a baseline subject, ties counting one half.
    rank_biserial : float
        In [-1, 1].
    hodges_lehmann, hl_lower, hl_upper : float
        Median of the differences, and its interval.
    u_treatment : float
    welch_p_value : float or None
        The test of means beside it.
    disagrees_with_means : bool
        Exactly one of the two is significant, or they point in different directions.

    References
    ----------
    .. [1] See `compare_counts`.
    """

    p_value: float | None
    probability_of_superiority: float
    rank_biserial: float
    hodges_lehmann: float
    hl_lower: float
    hl_upper: float
    u_treatment: float
    welch_p_value: float | None
    disagrees_with_means: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A treatment against the baseline in one metric.

    Attributes
    ----------
    method : str
        The test that gave ``p_value``, and the interval's name where it is another.
    n_baseline, n_treatment : int
        Subjects compared.
    baseline, treatment : float or None
        Estimates by variant; None without subjects.
    effect : float or None
        Treatment minus baseline.
    standard_error : float or None
    ci_lower, ci_upper : float or None
        None on the open side of a one-sided interval.
    p_value : float or None
        None when no test exists; ``reason`` says why.
    z : float or None
        Signed normal score of the p-value, for sequential rules.
    effect_size : float or None
        Cohen's d (means) or h (proportions); over several strata the average with the weights of the effect,
        None when a stratum has none because its values do not vary.
    relative_effect, relative_ci_lower, relative_ci_upper : float or None
        Lift over |baseline|, Fieller's interval with the quantile of the test (t for means, normal for rates) and its
        open side; None with ``relative_reason``.
    reason, relative_reason : str or None
    ranks : RankSummary or None
        Counts only.

    References
    ----------
    .. [1] See the function that made it.
    """

    method: str
    n_baseline: int
    n_treatment: int
    baseline: float | None
    treatment: float | None
    effect: float | None
    standard_error: float | None
    ci_lower: float | None
    ci_upper: float | None
    p_value: float | None
    z: float | None
    effect_size: float | None
    relative_effect: float | None
    relative_ci_lower: float | None
    relative_ci_upper: float | None
    reason: str | None
    relative_reason: str | None
    ranks: RankSummary | None = None


LARGEST_P_VALUE = 1.0 - 2.0**-53  # the largest 64-bit float below 1


def _normal_score(p_value: float, sign: float, alternative: Alternative) -> float:
    """Return z with the same p-value: what sequential boundaries, which are normal, are compared with.

    A one-sided p-value that rounds to 1 says only that z lies beyond 8.2 on the other side; 8.2 is returned.
    """
    p_value = min(p_value, LARGEST_P_VALUE)

    if alternative == "two-sided":
        return math.copysign(-float(special.ndtri(p_value / 2.0)), sign)
    score = -float(special.ndtri(p_value))
    return score if alternative == "greater" else -score


def _nothing(method: str, n1: int, n2: int, first: float | None, second: float | None, reason: str) -> Comparison:
    effect = None if first is None or second is None else second - first
    relative = None if effect is None or not first else effect / abs(first)
    return Comparison(
        method=method,
        n_baseline=n1,
        n_treatment=n2,
        baseline=first,
        treatment=second,
        effect=effect,
        standard_error=None,
        ci_lower=None,
        ci_upper=None,
        p_value=None,
        z=None,
        effect_size=None,
        relative_effect=relative if relative is not None and math.isfinite(relative) else None,
        relative_ci_lower=None,
        relative_ci_upper=None,
        reason=reason,
        relative_reason=reason,
    )


def _lift(
    baseline: float,
    baseline_se: float,
    treatment: float,
    treatment_se: float,
    *,
    df: float,
    alpha: float,
    alternative: Alternative,
) -> Lift:
    """Fieller's interval at the level of the test, and open where the test does not look."""
    tail = alpha / 2.0 if alternative == "two-sided" else alpha
    quantile = upper_quantile(tail, df)
    lift = relative_lift(baseline, baseline_se, treatment, treatment_se, alpha=alpha, quantile=quantile)
    if alternative == "greater":
        return replace(lift, ci_upper=None)
    return replace(lift, ci_lower=None) if alternative == "less" else lift


def stratified_effect(
    strata: Sequence[tuple[MeanStatistics, MeanStatistics]],
) -> tuple[float, float, float, float, float, float, float] | None:
    """Average the effects within strata, weighted by their subjects.

    Parameters
    ----------
    strata : sequence of (baseline, treatment)

    Returns
    -------
    effect, standard_error, df, baseline, treatment, baseline_se, treatment_se : float, or None
        None when no stratum has two subjects in both arms, or there is no variance beyond rounding: a standard error
        below `ROUNDING` of the larger mean, as in R's ``t.test`` ("data are essentially constant").

    Notes
    -----
    ``sum w_s (m_2s - m_1s)`` with ``w_s`` proportional to ``n_1s + n_2s``; variances add with ``w_s^2``;
    Satterthwaite's degrees of freedom over all samples. Strata with fewer than two subjects in an arm cannot be
    compared and are left out.

    References
    ----------
    .. [1] Miratrix, L., Sekhon, J. and Yu, B. (2013). Adjusting treatment effect estimates by post-stratification in
       randomized experiments. JRSS B 75, 369-396.
    """
    usable = [(a, b) for a, b in strata if a.n >= 2 and b.n >= 2]
    total = sum(a.n + b.n for a, b in usable)
    if not usable:
        return None
    first = second = v1 = v2 = 0.0
    parts: list[tuple[float, int]] = []
    for a, b in usable:
        weight = (a.n + b.n) / total
        first += weight * a.mean
        second += weight * b.mean
        parts += [(weight * weight * arm.variance / arm.n, arm.n) for arm in (a, b)]
        v1 += weight * weight * a.variance / a.n
        v2 += weight * weight * b.variance / b.n
    if not math.sqrt(v1 + v2) > ROUNDING * max(abs(first), abs(second)):
        return None
    # Shares of the variance are squared, not variances: their fourth powers would overflow from 1e77 on.
    df = 1.0 / sum((part / (v1 + v2)) ** 2 / (n - 1) for part, n in parts)
    return second - first, math.sqrt(v1 + v2), df, first, second, math.sqrt(v1), math.sqrt(v2)


def _stratified_size(strata: Sequence[tuple[MeanStatistics, MeanStatistics]], *, rates: bool) -> float | None:
    """Average Cohen's d, or h for rates, within strata, with the weights of `stratified_effect`."""
    usable = [(a, b) for a, b in strata if a.n >= 2 and b.n >= 2]
    total = sum(a.n + b.n for a, b in usable)
    result = 0.0
    for a, b in usable:
        size = cohen_h(a.mean, b.mean) if rates else cohen_d(a, b)
        if size is None:
            return None
        result += (a.n + b.n) / total * size
    return result if usable else None


def compare_means(
    strata: Sequence[tuple[MeanStatistics, MeanStatistics]],
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    label: str = "Welch's t-test",
    with_effect_size: bool = True,
) -> Comparison:
    """Compare means (or linearised ratios) by Welch's test.

    Parameters
    ----------
    strata : sequence of (baseline, treatment)
        At least one pair.
    alpha : float
    alternative : {"two-sided", "greater", "less"}
    label : str
        Name of the test in the result.
    with_effect_size : bool
        Cohen's d makes no sense for ratios.

    Returns
    -------
    Comparison
        Without p-value when an arm has fewer than two subjects or there is no variance.

    Raises
    ------
    ValueError
        If alpha or the alternative is out of range.

    Notes
    -----
    One stratum: `stats.means.welch_t_test`. Several: `stratified_effect` on a t distribution. Fieller's interval
    of the lift takes the t quantile of the same degrees of freedom, so that it agrees with the absolute one.

    References
    ----------
    .. [1] Welch, B. L. (1947). Biometrika 34, 28-35.
    .. [2] Fieller, E. C. (1954). Some problems in interval estimation. JRSS B 16, 175-185.
    """
    check_alpha(alpha)
    choice = check_alternative(alternative)
    baseline, treatment = _merged([a for a, _ in strata]), _merged([b for _, b in strata])
    first = baseline.mean if baseline.n else None
    second = treatment.mean if treatment.n else None
    method = label if len(strata) == 1 else f"{label}, stratified by phase"
    if baseline.n < 2 or treatment.n < 2:
        reason = f"at least two subjects per variant are needed, there are {baseline.n} and {treatment.n}"
        return _nothing(method, baseline.n, treatment.n, first, second, reason)
    found = stratified_effect(strata)
    if found is None:
        reason = "no phase has two subjects in both variants"
        if any(a.n >= 2 and b.n >= 2 for a, b in strata):
            reason = "the values do not vary, or only by rounding"
        return _nothing(method, baseline.n, treatment.n, first, second, reason)
    if len(strata) == 1:
        test = welch_t_test(baseline, treatment, alpha=alpha, alternative=choice)
        b, t, sb, st = baseline.mean, treatment.mean, baseline.standard_error, treatment.standard_error
    else:
        effect, se, df, b, t, sb, st = found
        test = estimate_test(effect, se, df, alpha=alpha, alternative=choice)
    lift = _lift(b, sb, t, st, df=test.df, alpha=alpha, alternative=choice)
    return Comparison(
        method=method,
        n_baseline=baseline.n,
        n_treatment=treatment.n,
        baseline=b,
        treatment=t,
        effect=test.effect,
        standard_error=test.standard_error,
        ci_lower=test.ci_lower,
        ci_upper=test.ci_upper,
        p_value=test.p_value,
        z=_normal_score(test.p_value, test.statistic, choice),
        effect_size=_stratified_size(strata, rates=False) if with_effect_size else None,
        relative_effect=lift.estimate,
        relative_ci_lower=lift.ci_lower,
        relative_ci_upper=lift.ci_upper,
        reason=None,
        relative_reason=lift.reason,
    )


def compare_proportions(
    strata: Sequence[tuple[tuple[int, int], tuple[int, int]]], *, alpha: float = 0.05, alternative: str = "two-sided"
) -> Comparison:
    """Compare rates: chi-square without Yates' correction, or Fisher's test where a cell is expected below 5.

    Parameters
    ----------
    strata : sequence of ((successes, n) of the baseline, (successes, n) of the treatment)
    alpha : float
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    Comparison
        Without p-value when an arm is empty or every subject has the same outcome.

    Raises
    ------
    ValueError
        If alpha or the alternative is out of range.

    Notes
    -----
    The interval of the difference is Newcombe's; for one-sided tests its level is ``1 - 2 alpha`` and one end is left
    open. Several strata: a normal test of the stratified difference.

    The lift has Fieller's interval with the normal quantile, as the chi-square test and Newcombe's interval have: the
    variance of a rate is known from the rate, it is not estimated beside it, so there are no degrees of freedom to pay
    for [3]_. (gbstats takes a symmetric delta-method interval with a t quantile instead, tea-tasting the logarithm of
    the ratio with a pooled variance; `stats.ratios` has both.)

    References
    ----------
    .. [1] Campbell, I. (2007). Statistics in Medicine 26, 3661-3675.
    .. [2] Newcombe, R. G. (1998). Statistics in Medicine 17, 873-890.
    .. [3] Agresti, A. (2013). Categorical Data Analysis, 3rd ed., section 3.1. Wiley.
    """
    check_alpha(alpha)
    choice = check_alternative(alternative)
    x1, n1 = sum(a[0] for a, _ in strata), sum(a[1] for a, _ in strata)
    x2, n2 = sum(b[0] for _, b in strata), sum(b[1] for _, b in strata)
    first, second = x1 / n1 if n1 else None, x2 / n2 if n2 else None
    method = "chi-square test without continuity correction"
    if n1 < 2 or n2 < 2:
        reason = f"at least two subjects per variant are needed, there are {n1} and {n2}"
        return _nothing(method, n1, n2, first, second, reason)
    if x1 + x2 in (0, n1 + n2):
        return _nothing(method, n1, n2, first, second, "every subject has the same outcome")
    if len(strata) > 1:
        arms = [(_rate_statistics(*a), _rate_statistics(*b)) for a, b in strata]
        result = compare_means(arms, alpha=alpha, alternative=choice, label="difference of proportions")
        return _with_size(result, None if result.p_value is None else _stratified_size(arms, rates=True))
    p1, p2 = x1 / n1, x2 / n2
    if smallest_expected_count([(x1, n1), (x2, n2)]) < SMALL_EXPECTED_COUNT:
        method = "Fisher's exact test"
        p_value = fisher_exact_test([[x2, n2 - x2], [x1, n1 - x1]], alternative=choice).p_value
    elif choice == "two-sided":
        p_value = chi_square_test([(x1, n1), (x2, n2)]).p_value
    else:
        method = "pooled z-test of two proportions"
        p_value = two_proportion_z_test((x1, n1), (x2, n2), alternative=choice)[1]
    level = alpha if choice == "two-sided" else 2.0 * alpha
    lower, upper = newcombe_interval(x1, n1, x2, n2, alpha=min(level, 0.5))
    s1, s2 = math.sqrt(p1 * (1 - p1) / n1), math.sqrt(p2 * (1 - p2) / n2)
    lift = _lift(p1, s1, p2, s2, df=math.inf, alpha=alpha, alternative=choice)
    return Comparison(
        method=f"{method}, Newcombe interval",
        n_baseline=n1,
        n_treatment=n2,
        baseline=p1,
        treatment=p2,
        effect=p2 - p1,
        standard_error=math.hypot(s1, s2),
        ci_lower=None if choice == "less" else lower,
        ci_upper=None if choice == "greater" else upper,
        p_value=p_value,
        z=_normal_score(p_value, p2 - p1, choice),
        effect_size=cohen_h(p1, p2),
        relative_effect=lift.estimate,
        relative_ci_lower=lift.ci_lower,
        relative_ci_upper=lift.ci_upper,
        reason=None,
        relative_reason=lift.reason,
    )


def compare_counts(strata: Sequence[Tallies], *, alpha: float = 0.05, alternative: str = "two-sided") -> Comparison:
    """Compare counts per subject: Mann-Whitney decides, the test of means stands beside it.

    Parameters
    ----------
    strata : sequence of Tallies
        One per phase. With several, the stratified test of means decides, because ranks of different phases
        cannot be mixed.
    alpha : float
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    Comparison
        ``effect``, its interval and lift are about means (Welch); ``p_value`` is Mann-Whitney's, which is about order.
        The two answer different questions and can disagree: ``ranks.disagrees_with_means``.

    Raises
    ------
    ValueError
        If alpha or the alternative is out of range.

    Notes
    -----
    See `stats.ranks.mann_whitney` and `stats.means.welch_t_test`.

    References
    ----------
    .. [1] Mann, H. B. and Whitney, D. R. (1947). Ann. Math. Statist. 18, 50-60.
    .. [2] Fay, M. P. and Proschan, M. A. (2010). Wilcoxon-Mann-Whitney or t-test? Statistics Surveys 4, 1-39.
    """
    arms = [tally_statistics(stratum) for stratum in strata]
    means = compare_means(arms, alpha=alpha, alternative=alternative)
    if len(strata) > 1 or means.n_baseline < 2 or means.n_treatment < 2:
        return means
    ranks = mann_whitney_from_tallies(strata[0], alternative=alternative)
    if ranks.p_value is None:
        return means
    estimate, low, high = hodges_lehmann(strata[0], alpha=alpha)
    sign = ranks.u_treatment - ranks.u_baseline
    effect = means.effect or 0.0
    disagrees = means.p_value is not None and (
        (means.p_value < alpha) != (ranks.p_value < alpha) or (sign * effect < 0.0 and ranks.p_value < alpha)
    )
    summary = RankSummary(
        p_value=ranks.p_value,
        probability_of_superiority=ranks.probability_of_superiority,
        rank_biserial=ranks.rank_biserial,
        hodges_lehmann=estimate,
        hl_lower=low,
        hl_upper=high,
        u_treatment=ranks.u_treatment,
        welch_p_value=means.p_value,
        disagrees_with_means=disagrees,
    )
    fields = {name: getattr(means, name) for name in means.__dataclass_fields__}
    z = _normal_score(ranks.p_value, sign, check_alternative(alternative))
    method = f"Mann-Whitney U test ({ranks.method}); means by Welch's t-test"
    return Comparison(
        **(fields | {"method": method, "p_value": ranks.p_value, "z": z, "reason": None, "ranks": summary})
    )


def tally_statistics(tallies: Tallies) -> tuple[MeanStatistics, MeanStatistics]:
    """Return mean and deviations of both arms of counted values.

    Notes
    -----
    Two passes over the distinct values.

    References
    ----------
    .. [1] Chan, T. F., Golub, G. H. and LeVeque, R. J. (1983). The American Statistician 37, 242-247.
    """

    def summarise(weights: object) -> MeanStatistics:
        counts = weights.astype(float)  # type: ignore[attr-defined]
        n = int(counts.sum())
        if n == 0:
            return MeanStatistics(n=0, mean=0.0, deviations=0.0)
        mean = float((counts * tallies.values).sum() / n)
        centred = tallies.values - mean
        return MeanStatistics(n=n, mean=mean, deviations=float((counts * centred * centred).sum()))

    return summarise(tallies.baseline), summarise(tallies.treatment)


def joint_values(arms: Sequence[JointStatistics]) -> JointStatistics:
    """Merge joint statistics of several groups; at least one.

    Notes
    -----
    See `stats.moments.JointStatistics`.

    References
    ----------
    .. [1] Chan, T. F., Golub, G. H. and LeVeque, R. J. (1983). The American Statistician 37, 242-247.
    """
    merged = arms[0]
    for arm in arms[1:]:
        merged = merged + arm
    return merged


def _merged(arms: Sequence[MeanStatistics]) -> MeanStatistics:
    merged = MeanStatistics(n=0, mean=0.0, deviations=0.0)
    for arm in arms:
        merged = merged + arm
    return merged


def _rate_statistics(successes: int, n: int) -> MeanStatistics:
    return MeanStatistics(
        n=n, mean=successes / n if n else 0.0, deviations=successes * (n - successes) / n if n else 0.0
    )


def _with_size(result: Comparison, effect_size: float | None) -> Comparison:
    fields = {name: getattr(result, name) for name in result.__dataclass_fields__}
    return Comparison(**(fields | {"effect_size": effect_size}))
