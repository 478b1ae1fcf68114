"""How large a test must be: size, power or smallest detectable effect, whichever is not given.

>>> plan_sample_size("binary", baseline_value=0.2, minimum_detectable_effect=0.05).n_per_variant
1094
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ab_parts.metrics import MetricType, between, positive, to_enum
from ab_parts.record import Record
from lazy_dataclass import dataclass
from stats.means import ALTERNATIVES, upper_quantile
from stats.power import (
    SampleSize,
    days_needed,
    mde_means,
    mde_proportions,
    power_means,
    power_proportions,
    sample_size_means,
    sample_size_proportions,
)
from stats.power_counts import mde_counts, power_counts, sample_size_counts
from stats.sequential import beta_spending_design, boundaries, drift_for_power, side_error
from values import InvalidValueError, check_choice, to_float, to_int

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["SampleSizePlan", "inflation", "plan_sample_size"]

DEFAULT_LOOKS = 5  # looks for which a planned size is inflated under group-sequential stopping


def inflation(
    alpha: float,
    power: float,
    spending: str = "obrien_fleming",
    parameter: float | None = None,
    alternative: str = "two-sided",
    n_looks: int = DEFAULT_LOOKS,
    futility_rule: str = "conditional_power",
) -> float:
    """Return how many more subjects a group-sequential test needs at most, for equally spaced looks.

    With "beta_spending" this keeps the power even if every futile test is stopped.
    """
    side = side_error(alpha, alternative)
    fractions = [(look + 1) / n_looks for look in range(n_looks)]
    if futility_rule == "beta_spending":
        design = beta_spending_design(fractions, side, 1.0 - power, spending=spending, parameter=parameter)
        return design.inflation
    drift = drift_for_power(fractions, boundaries(fractions, side, spending, parameter), power)
    return (drift / (upper_quantile(side) + upper_quantile(1.0 - power))) ** 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSizePlan(Record):
    """How large a test must be, and what it can find.

    Attributes
    ----------
    n_per_variant : int
        Subjects in the larger of baseline and treatment for equal splits: in each.
    n_baseline, n_treatment : int
    n_total : int
        Over all variants.
    effect : float
        Absolute effect found with that power.
    power, alpha : float
    alternative : str
    metric_type : str
    formula : str
    days : int or None
        Until the total has arrived, when a daily rate was given.
    curve : list of (int, float)
        Power at other sizes per variant.
    """

    n_per_variant: int
    n_baseline: int
    n_treatment: int
    n_total: int
    effect: float
    power: float
    alpha: float
    alternative: str
    metric_type: str
    formula: str
    days: int | None
    curve: list[tuple[int, float]]

    def plot(self) -> go.Figure:
        """Return the power curve as a Plotly figure."""
        from charts.ab_testing import plot_power_curve

        return plot_power_curve(self)


def plan_sample_size(
    metric_type: MetricType | str = MetricType.CONTINUOUS,
    *,
    minimum_detectable_effect: float | None = None,
    relative_effect: float | None = None,
    baseline_value: float | None = None,
    baseline_sd: float | None = None,
    n_per_variant: int | None = None,
    power: float | None = None,
    significance_level: float = 0.05,
    alternative: str = "two-sided",
    traffic_split: float = 0.5,
    n_treatments: int = 1,
    n_comparisons: int | None = None,
    margin: float = 0.0,
    subjects_per_day: float | None = None,
    stopping: str = "fixed_horizon",
) -> SampleSizePlan:
    """Return size, power or smallest detectable effect: whichever was not given.

    Parameters
    ----------
    metric_type : MetricType or str
    minimum_detectable_effect : float or None
        Absolute effect (0.02 is two percentage points for rates); its sign matters only for rates and one-sided
        tests.
    relative_effect : float or None
        Instead of it: share of ``baseline_value``.
    baseline_value : float or None
        Expected rate (binary; required) or mean (count; the square of ``baseline_sd`` by default, as for Poisson).
    baseline_sd : float or None
        Standard deviation per subject: required for continuous metrics; for ratios that of the linearised ratio; for
        counts the square root of the mean by default.
    n_per_variant : int or None
        Subjects of the baseline. Given: power (or, if that is given too, the effect) is what is computed.
    power : float or None
        0.8 when the size is wanted.
    significance_level : float
    alternative : {"two-sided", "greater", "less"}
    traffic_split : float
        Share of one treatment over that of it and the baseline.
    n_treatments, n_comparisons : int
        alpha is divided by the number of comparisons (the treatments, by default).
    margin : float
        Non-inferiority margin; the effect may then be 0.
    subjects_per_day : float or None
    stopping : {"fixed_horizon", "group_sequential"}
        Group-sequential sizes are inflated for five O'Brien-Fleming looks.

    Returns
    -------
    SampleSizePlan

    Raises
    ------
    ValueError
        If something needed is missing or out of range.

    Notes
    -----
    Counts are planned for the test that judges them, Mann-Whitney's, unless a margin is given: non-inferiority is a
    statement on means.

    Examples
    --------
    >>> plan_sample_size("binary", baseline_value=0.2, minimum_detectable_effect=0.05).n_per_variant
    1094
    """
    kind: MetricType = to_enum(MetricType, metric_type, "metric_type")
    alpha = between(significance_level, "significance_level", 0.0, 0.5)
    check_choice(alternative, "alternative", ALTERNATIVES)
    check_choice(stopping, "stopping", ("fixed_horizon", "group_sequential"))
    split = between(traffic_split, "traffic_split", 0.0, 1.0)
    treatments = to_int(n_treatments, "n_treatments", 1, 50)
    comparisons = treatments if n_comparisons is None else to_int(n_comparisons, "n_comparisons", 1, 10_000)
    effect = (
        None if minimum_detectable_effect is None else to_float(minimum_detectable_effect, "minimum_detectable_effect")
    )
    if relative_effect is not None:
        if effect is not None or baseline_value is None:
            raise InvalidValueError("relative_effect needs baseline_value, and no minimum_detectable_effect beside it")
        effect = to_float(relative_effect, "relative_effect") * abs(to_float(baseline_value, "baseline_value"))
    if effect is None and margin > 0.0:
        effect = 0.0
    ratio = split / (1.0 - split)
    common: dict[str, Any] = {"alpha": alpha, "alternative": alternative, "comparisons": comparisons}
    sd = 1.0
    rate = 0.5
    mean = 0.0
    by_ranks = kind is MetricType.COUNT and margin == 0.0
    if kind is MetricType.BINARY:
        if baseline_value is None:
            raise InvalidValueError("baseline_value, the expected rate, is required for binary metrics")
        rate = between(baseline_value, "baseline_value", 0.0, 1.0)
    else:
        if baseline_sd is None and kind is MetricType.COUNT and baseline_value is not None:
            baseline_sd = math.sqrt(positive(baseline_value, "baseline_value"))
        if baseline_sd is None:
            raise InvalidValueError(f"baseline_sd is required for {kind.value} metrics")
        sd = positive(baseline_sd, "baseline_sd")
        if by_ranks:
            mean = sd * sd if baseline_value is None else positive(baseline_value, "baseline_value")
            if effect is not None and not mean + effect > 0.0:
                raise InvalidValueError(f"an effect of {effect!r} on a mean count of {mean!r} leaves nothing to count")

    def power_at(n: float, size: float) -> float:
        if by_ranks:
            return power_counts(size, mean, n, n * ratio, sd=sd, **common)
        if kind is MetricType.BINARY:
            return power_proportions(rate, rate + size, n, n * ratio, margin=margin, **common)
        return power_means(size, sd, n, n * ratio, margin=margin, **common)

    factor = 1.0
    if stopping == "group_sequential":
        factor = inflation(alpha / comparisons, 0.8 if power is None else power, alternative=alternative)
    found: SampleSize | None = None
    if n_per_variant is None:
        if effect is None:
            raise InvalidValueError("give minimum_detectable_effect or relative_effect to get a size, or n_per_variant")
        wanted = 0.8 if power is None else between(power, "power", 0.0, 1.0)
        sizes: dict[str, Any] = {
            "power": wanted, "treatment_share": split, "n_treatments": treatments, "margin": margin, **common,
        }  # fmt: skip
        if by_ranks:
            sizes.pop("margin")
            found = sample_size_counts(effect, mean, sd=sd, **sizes)
        elif kind is MetricType.BINARY:
            found = sample_size_proportions(rate, rate + effect, **sizes)
        else:
            found = sample_size_means(effect, sd, **sizes)
        n1, n2 = (math.ceil(n * factor - 1e-9 * max(1.0, n)) for n in (found.exact_baseline, found.exact_treatment))
        formula = found.formula
    else:
        n1 = to_int(n_per_variant, "n_per_variant", 2, 10**12)
        n2 = max(1, round(n1 * ratio))
        formula = "difference of proportions (pooled normal)" if kind is MetricType.BINARY else "difference of means"
        formula = "Mann-Whitney (Zhao, Rahardja and Qu, tie-corrected)" if by_ranks else formula
        if effect is None:
            wanted = 0.8 if power is None else between(power, "power", 0.0, 1.0)
            if by_ranks:
                effect = mde_counts(mean, n1 / factor, n2 / factor, sd=sd, power=wanted, **common)
                if effect is None:
                    raise InvalidValueError(f"no mean is far enough from {mean!r} to be found with {n1:,} subjects")
            elif kind is MetricType.BINARY:
                effect = mde_proportions(rate, n1 / factor, n2 / factor, power=wanted, **common)
                if effect is None:
                    raise InvalidValueError(f"no rate is far enough from {rate!r} to be found with {n1:,} subjects")
            else:
                effect = mde_means(n1 / factor, sd, n2 / factor, power=wanted, **common)
            effect = -effect if alternative == "less" else effect
        else:
            wanted = power_at(n1 / factor, effect)
    total = n1 + n2 * treatments
    steps = sorted(
        {max(2, round(n1 * share)) for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.5, 2)}
    )
    return SampleSizePlan(
        n_per_variant=max(n1, n2),
        n_baseline=n1,
        n_treatment=n2,
        n_total=total,
        effect=effect,
        power=wanted,
        alpha=alpha,
        alternative=alternative,
        metric_type=str(kind.value),
        formula=formula if factor == 1.0 else f"{formula}, times {factor:.4f} for {DEFAULT_LOOKS} looks",
        days=None if subjects_per_day is None else days_needed(total, to_float(subjects_per_day, "subjects_per_day")),
        curve=[(n, power_at(n / factor, effect)) for n in steps if n / factor > 1.0 and n / factor * ratio > 1.0],
    )
