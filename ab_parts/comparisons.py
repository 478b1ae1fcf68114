"""Comparisons of one metric and one treatment: the main metric, the secondary ones, the guardrails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from ab_parts.design import ExperimentConfig
from ab_parts.metrics import Metric, MetricType
from ab_parts.results import VariantComparison
from ab_parts.summaries import FEW_PER_SIDE, MetricData
from stats import bayes
from stats.comparison import Comparison, stratified_effect
from stats.formatting import format_number, format_p_value, format_percent
from stats.means import estimate_test
from stats.multiplicity import adjust
from stats.score_margin import MarginTest, non_inferiority_rates

__all__ = ["adjust_family", "compare_main", "compare_others", "open_reason"]


OPEN_NOTE = "not shown to be safe: "


def compare_main(
    config: ExperimentConfig, data: MetricData, variant: int, *, bayesian: bool = True
) -> VariantComparison:
    """Compare a treatment with the baseline in the main metric."""
    comparison, reduction = data.compare(variant, config.significance_level, config.alternative)
    return _to_variant(config, data, comparison, variant, "main", reduction, bayesian=bayesian)


def _to_variant(
    config: ExperimentConfig,
    data: MetricData,
    found: Comparison,
    variant: int,
    role: str,
    reduction: float | None,
    *,
    bayesian: bool = True,
) -> VariantComparison:
    """Join the frequentist comparison, the Bayesian one beside it, and notes."""
    found = _without_infinities(found)
    metric = data.metric
    extra: dict[str, Any] = {}
    notes = []
    if len(data.phases) > 1:
        notes.append(f"compared within {len(data.phases)} phases and averaged")
    posterior = None
    if not bayesian:
        pass
    elif metric.metric_type is MetricType.BINARY and len(data.phases) == 1 and found.n_baseline and found.n_treatment:
        phase = data.phases[0]
        (x1, n1), (x2, n2) = data.rates.get((phase, 0), (0, 0)), data.rates.get((phase, variant), (0, 0))
        posterior = bayes.compare_rates(x1, n1, x2, n2, alpha=config.significance_level)
    elif found.effect is not None and found.standard_error is not None:
        posterior = bayes.compare_normal(found.effect, found.standard_error, alpha=config.significance_level)
    if posterior is not None:
        higher = metric.direction == "higher"
        extra = {
            "chance_to_beat": posterior.chance_to_beat if higher else 1.0 - posterior.chance_to_beat,
            "expected_loss": posterior.expected_loss if higher else posterior.expected_loss_baseline,
            "credible_lower": posterior.ci_lower,
            "credible_upper": posterior.ci_upper,
            "bayesian_model": posterior.model,
        }
    if found.ranks is not None:
        extra |= {
            "probability_of_superiority": found.ranks.probability_of_superiority,
            "rank_biserial": found.ranks.rank_biserial,
            "hodges_lehmann": found.ranks.hodges_lehmann,
            "welch_p_value": found.ranks.welch_p_value,
            "means_disagree": found.ranks.disagrees_with_means,
        }
        if found.ranks.disagrees_with_means:
            welch_p = found.ranks.welch_p_value
            welch = "no p-value" if welch_p is None else format_p_value(welch_p)
            order = "no p-value" if found.p_value is None else format_p_value(found.p_value)
            notes.append(
                f"Mann-Whitney (order, {order}) and Welch (means, {welch}) disagree: the "
                "distributions differ in shape; decide which question matters"
            )
    sized = metric.metric_type is not MetricType.RATIO and found.p_value is not None
    if sized and found.effect_size is None and len(data.phases) > 1:
        notes.append("no effect size: in one of the phases the values do not vary")
    if reduction is not None:
        notes.append(f"the covariate removed {format_percent(reduction)} of the variance")
    return VariantComparison(
        metric=metric.name,
        variant=config.variants[variant],
        role=role,
        metric_type=str(metric.metric_type.value),
        method=found.method,
        n_baseline=found.n_baseline,
        n_treatment=found.n_treatment,
        baseline=found.baseline,
        treatment=found.treatment,
        effect=found.effect,
        ci_lower=found.ci_lower,
        ci_upper=found.ci_upper,
        relative_effect=found.relative_effect,
        relative_ci_lower=found.relative_ci_lower,
        relative_ci_upper=found.relative_ci_upper,
        relative_reason=found.relative_reason,
        effect_size=found.effect_size,
        p_value=found.p_value,
        p_adjusted=None,
        is_significant=False,
        standard_error=found.standard_error,
        z=found.z,
        reason=found.reason,
        variance_reduction=reduction,
        notes=notes,
        **extra,
    )


def _without_infinities(found: Comparison) -> Comparison:
    """Leave out what has left the range of floats, with the reason; happens to values around 1e150 only."""
    lost = [
        item.name
        for item in fields(found)
        if isinstance(getattr(found, item.name), float) and not math.isfinite(getattr(found, item.name))
    ]
    if not lost:
        return found
    reason = f"{', '.join(lost)}: beyond the range of floating-point numbers"
    changes: dict[str, Any] = dict.fromkeys(lost)
    if any(name.startswith("relative") for name in lost):
        changes["relative_reason"] = reason
    if "p_value" in lost or "effect" in lost:
        changes |= {"p_value": None, "z": None, "reason": reason}
    return replace(found, **changes)


def adjust_family(items: Sequence[VariantComparison], config: ExperimentConfig) -> list[VariantComparison]:
    """Correct the p-values of one family for each other."""
    adjusted = adjust([item.p_value for item in items], config.correction)
    alpha = config.significance_level
    return [
        replace(item, p_adjusted=p, is_significant=p is not None and p < alpha)
        for item, p in zip(items, adjusted, strict=True)
    ]


def compare_others(config: ExperimentConfig, data: Sequence[MetricData]) -> list[VariantComparison]:
    """Secondary metrics, corrected among themselves, and guardrails, each at full alpha."""
    n_secondary = len(config.secondary_metrics)
    secondary, guardrails = [], []
    for index, item in enumerate(data[1:], start=1):
        for variant in range(1, len(config.variants)):
            if index <= n_secondary:
                found, reduction = item.compare(variant, config.significance_level, "two-sided")
                secondary.append(_to_variant(config, item, found, variant, "secondary", reduction))
            else:
                guardrails.append(_guard(config, item, variant))
    return adjust_family(secondary, config) + guardrails


def _guard(config: ExperimentConfig, data: MetricData, variant: int) -> VariantComparison:
    """Compare a guardrail: significantly worse, shown not to be worse by the margin, or open."""
    alpha, metric = config.significance_level, data.metric
    found, reduction = data.compare(variant, alpha, "two-sided")
    result = _to_variant(config, data, found, variant, "guardrail", reduction)
    score = _score_bound(data, variant, alpha)
    if found.effect is None or (found.p_value is None and score is None):
        # What cannot be compared is not shown to be safe, whichever way constant arms may differ.
        return replace(result, guardrail_status="open", notes=[*result.notes, f"not compared: {found.reason}"])
    worse = found.effect < 0 if metric.direction == "higher" else found.effect > 0
    significant = found.p_value is not None and found.p_value < alpha
    p_margin = None
    if score is not None:
        p_margin = score.p_value if metric.margin is not None else None
        method = result.method if metric.margin is None else f"{result.method}; margin by Newcombe's score bound"
        if found.p_value is None:  # all outcomes are equal: no test, but an interval there is
            method = "Newcombe interval; no test, for every subject has the same outcome"
            result = replace(result, ci_lower=score.ci_lower, ci_upper=score.ci_upper)
        result = replace(result, method=method)
    elif metric.margin is not None:
        p_margin = _margin_of_means(data, variant, alpha)
    if metric.margin is None:
        status = "worse" if worse and significant else "safe"
    elif p_margin is not None and p_margin < alpha / 2.0:
        status = "safe"
    else:
        status = "worse" if worse and significant else "open"
    if status == "open":
        result = replace(result, notes=[*result.notes, f"{OPEN_NOTE}{open_reason(metric, result)}"])
    return replace(
        result,
        p_adjusted=found.p_value,
        is_significant=significant,
        guardrail_status=status,
        p_non_inferiority=p_margin,
    )


def open_reason(metric: Metric, found: VariantComparison) -> str:
    """Return why a guardrail is not shown to be safe."""
    if found.effect is None or metric.margin is None:
        return f"not compared, {found.reason or 'no data'}"
    unit = "%" if metric.metric_type is MetricType.BINARY else ""
    margin = f"its margin is {format_number(metric.margin, unit)}"
    counts = f"{found.n_baseline:,} and {found.n_treatment:,} subjects"
    bound = found.ci_lower if metric.direction == "higher" else found.ci_upper
    worst = None if bound is None else abs(bound)
    if worst is None or worst < metric.margin:  # the test of the margin may be another one than that of the interval
        return f"{counts} are too few to show it, {margin}"
    change = "lower" if metric.direction == "higher" else "higher"
    return f"{counts} leave open that it is {format_number(worst, unit)} {change}, {margin}"


def _score_bound(data: MetricData, variant: int, alpha: float) -> MarginTest | None:
    """Newcombe's bound of a rate, which exists for 0 of n against 0 of n as well; None where it does not apply.

    Phases are not pooled, except where every outcome is the same: then no phase can hide what another one shows.
    """
    arms = [(data.rates.get((phase, 0), (0, 0)), data.rates.get((phase, variant), (0, 0))) for phase in data.phases]
    x1, n1, x2, n2 = (sum(arm[which][part] for arm in arms) for which in (0, 1) for part in (0, 1))
    if not data.rates or n1 < FEW_PER_SIDE or n2 < FEW_PER_SIDE or (len(arms) > 1 and x1 + x2 not in (0, n1 + n2)):
        return None
    margin = 1.0 if data.metric.margin is None else data.metric.margin
    return non_inferiority_rates(x1, n1, x2, n2, margin=margin, direction=data.metric.direction, alpha=alpha)


def _margin_of_means(data: MetricData, variant: int, alpha: float) -> float | None:
    """Return the one-sided p-value of a mean or ratio that is worse by the margin or more."""
    margin, higher = data.metric.margin, data.metric.direction == "higher"
    pairs, _ = data.mean_pairs(variant)
    found = stratified_effect(pairs)
    if found is None or margin is None:
        return None
    effect, standard_error, df, *_ = found
    return estimate_test(
        effect,
        standard_error,
        df,
        null=-margin if higher else margin,
        alpha=alpha / 2.0,
        alternative="greater" if higher else "less",
    ).p_value
