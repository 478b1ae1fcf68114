"""The comparison of all variants: tests, corrections, guardrails, validity, the verdict; pure functions.

    >>> from ab_parts.summaries import data_from_values
    >>> config = ExperimentConfig(name="t", metric_name="y", min_sample_size=2, stopping="fixed_horizon")
    >>> data = data_from_values(config, [[1.0, 2.0, 3.0], [2.0, 3.0, 4.5]])
    >>> analyze_data(config, [data], assigned={1: [3, 3]}, shares={1: [0.5, 0.5]}, running=False)[0].decision
    'inconclusive'

`analyze_data` takes sufficient statistics, wherever they come from (a database, arrays, a DataFrame), so the same
numbers give the same verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ab_parts.comparisons import adjust_family, compare_main, compare_others, open_reason
from ab_parts.design import ExperimentConfig
from ab_parts.results import ExperimentAnalysis, Look, VariantComparison
from ab_parts.stopping import Judgement, apply_stopping, days_left_of, is_planned_end, stopping_decision
from ab_parts.summaries import MetricData
from stats.decision import TWYMAN_LIFT, Evidence, decide
from stats.formatting import format_number, format_p_value, format_percent
from stats.multiplicity import adjust
from stats.srm import SRM_ALPHA, srm_p_value

__all__ = ["analyze_data", "check_validity"]


def analyze_data(
    config: ExperimentConfig,
    data: Sequence[MetricData],
    *,
    assigned: Mapping[int, Sequence[int]],
    shares: Mapping[int, Sequence[float] | None],
    exp_id: str | None = None,
    experiment_status: str = "running",
    conflicts: int = 0,
    looks: Sequence[Look] = (),
    running: bool = True,
    first_at: datetime | None = None,
    last_at: datetime | None = None,
    segment: str | None = None,
    segments: Mapping[str, MetricData] | None = None,
    bayesian: bool = True,
) -> tuple[ExperimentAnalysis, list[Look]]:
    """Compare every treatment in every metric, apply the stopping rule, and decide.

    Parameters
    ----------
    config : ExperimentConfig
    data : sequence of MetricData
        One per metric of the design, the main one first; missing ones count as empty.
    assigned : mapping
        Subjects assigned, phase -> by variant.
    shares : mapping
        Planned shares, phase -> by variant; None skips the test of the split.
    looks : sequence of Look
        Those stored so far.
    running : bool
        Whether more data may come.
    first_at, last_at : datetime or None
        Of the main metric's events; for the observed rate.
    bayesian : bool
        False leaves out the posterior of the main metric, which no verdict depends on and most of the time goes into.

    Returns
    -------
    analysis : ExperimentAnalysis
    new_looks : list of Look
        To be stored: empty when there is nothing new to see.
    """
    alpha = config.significance_level
    treatments = range(1, len(config.variants))
    # A metric of the design that nobody handed over has no data: a guardrail of that kind is open, not safe.
    data = [*data, *(MetricData(metric, len(config.variants)) for metric in config.metrics[len(data) :])]
    main = data[0]
    comparisons = [compare_main(config, main, index, bayesian=bayesian) for index in treatments]
    others = compare_others(config, data)
    adjusted = adjust([comparison.p_value for comparison in comparisons], config.correction)
    comparisons = [
        replace(comparison, p_adjusted=p, is_significant=p is not None and p < alpha)
        for comparison, p in zip(comparisons, adjusted, strict=True)
    ]
    n_subjects = [main.n_of(index) for index in range(len(config.variants))]
    n_assigned = [sum(counts[index] for counts in assigned.values()) for index in range(len(config.variants))]
    srm, blocked = check_validity(config, assigned, shares, conflicts)
    judged = [apply_stopping(config, comparison, looks, running) for comparison in comparisons]
    best = _leading(config, judged)
    comparison, judgement = judged[best]
    status = "invalid" if blocked else "ok" if comparison.p_value is not None else "insufficient_data"
    days_left = days_left_of(judgement, n_subjects, first_at, last_at)
    warnings = _warnings(config, main, comparison, looks, n_assigned, n_subjects, judgement)
    failed = [item.metric for item in others if item.role == "guardrail" and item.guardrail_status == "worse"
              and item.variant == comparison.variant]  # fmt: skip
    still_open = [_with_reason(config, item) for item in others if item.role == "guardrail"
                  and item.guardrail_status == "open"
                  and item.variant == comparison.variant]  # fmt: skip
    about_means = comparison.probability_of_superiority is None
    # A treatment with the higher mean whose subjects are mostly lower is neither better nor worse: read both tests.
    torn = not about_means and (comparison.z or 0.0) * (comparison.effect or 0.0) < 0.0
    evidence = Evidence(
        metric=config.metric_name,
        variant=comparison.variant,
        effect=comparison.effect,
        ci_lower=judgement.ci_lower,
        ci_upper=judgement.ci_upper,
        p_value=judgement.p_value,
        significant=judgement.significant and not judgement.too_few and not torn,
        finished=judgement.finished and not judgement.too_few,
        n_now=min(comparison.n_baseline, comparison.n_treatment),
        n_needed=judgement.n_needed,
        relative_effect=comparison.relative_effect,
        days_left=days_left,
        blocked=blocked,
        missing=comparison.reason,
        stopped=None if judgement.too_few or torn else judgement.stopped,
        futile=judgement.futile and not judgement.too_few,
        success_chance=judgement.success_chance,
        direction=config.direction,
        confidence=judgement.confidence,
        mde=config.minimum_detectable_effect,
        unit=config.unit,
        guardrails_failed=failed,
        guardrails_open=still_open,
        about_means=about_means,
        superiority=comparison.probability_of_superiority,
        means_disagree=comparison.means_disagree,
        continuous_monitoring=config.stopping == "always_valid",
        running=running and not is_planned_end(config, comparison),
    )
    decided = judgement.decided_at
    n_compared = comparison.n_baseline + comparison.n_treatment
    has_more = decided is not None and decided.n_baseline + decided.n_treatment != n_compared
    if decided is not None and has_more:
        evidence = _as_of(decided, evidence)
    verdict = decide(evidence)
    if decided is not None and has_more and comparison.effect is not None and not blocked:
        now = format_number(comparison.effect, config.unit)
        later = f" Decided at look {decided.number}; with the subjects since then the effect is {now}."
        verdict = replace(verdict, recommendation=verdict.recommendation + later)
    if verdict.decision == "stop_futile" and judgement.futility_boundary is not None and comparison.z is not None:
        score = comparison.z if config.direction == "higher" else -comparison.z
        seen = (
            f" z = {score:.3g} is at or below the futility boundary {judgement.futility_boundary:.3g} (beta spending)."
        )
        verdict = replace(verdict, recommendation=verdict.recommendation + seen)
    new_looks = [] if blocked else [look for _, item in judged for look in item.new_looks]
    segment_results: list[VariantComparison] = []
    for label, part in (segments or {}).items():
        segment_results += [
            replace(compare_main(config, part, index), role="segment", segment=f"{segment} = {label}")
            for index in treatments
        ]
    stopping = stopping_decision(config, judgement, comparison, status, verdict.recommendation, len(looks), running)
    analysis = ExperimentAnalysis(
        status=status,
        decision=verdict.decision,
        recommendation=verdict.recommendation,
        warnings=warnings,
        exp_id=exp_id,
        name=config.name,
        metric=config.metric_name,
        metric_type=comparison.metric_type,
        variant=comparison.variant,
        method=comparison.method,
        n_subjects=dict(zip(config.variants, n_subjects, strict=True)),
        n_assigned=dict(zip(config.variants, n_assigned, strict=True)),
        estimate=_estimates(config, comparisons),
        effect=comparison.effect,
        ci_lower=comparison.ci_lower,
        ci_upper=comparison.ci_upper,
        relative_effect=comparison.relative_effect,
        relative_ci_lower=comparison.relative_ci_lower,
        relative_ci_upper=comparison.relative_ci_upper,
        relative_reason=comparison.relative_reason,
        effect_size=comparison.effect_size,
        p_value=comparison.p_value,
        p_adjusted=comparison.p_adjusted,
        is_significant=judgement.significant and not judgement.too_few and not blocked,
        is_interim=not judgement.finished or judgement.too_few,
        significance_level=alpha,
        sequential_ci_lower=judgement.sequential_lower,
        sequential_ci_upper=judgement.sequential_upper,
        sequential_p_value=judgement.sequential_p,
        srm_p_value=srm,
        n_conflicts=conflicts,
        stopping=stopping,
        comparisons=[item for item, _ in judged] + others,
        segments=adjust_family(segment_results, config),
        looks=[*looks, *new_looks],
        n_needed=judgement.n_needed,
        days_left=days_left,
        cap=main.cap,
        experiment_status=experiment_status,
        analyzed_at=datetime.now(UTC),
    )
    return analysis, new_looks


def _as_of(look: Look, evidence: Evidence) -> Evidence:
    """Return the evidence with the numbers of the look that decided: what came later does not change the verdict."""
    return replace(
        evidence,
        effect=look.effect,
        ci_lower=look.ci_lower,
        ci_upper=look.ci_upper,
        p_value=look.p_value,
        relative_effect=None,
        superiority=None,
        n_now=min(look.n_baseline, look.n_treatment),
    )


def _estimates(config: ExperimentConfig, comparisons: Sequence[VariantComparison]) -> dict[str, float | None]:
    result: dict[str, float | None] = {"baseline": comparisons[0].baseline}
    for comparison in comparisons:
        result[comparison.variant] = comparison.treatment
        if result["baseline"] is None:
            result["baseline"] = comparison.baseline
    return {name: result.get(name) for name in config.variants}


def check_validity(
    config: ExperimentConfig,
    assigned: Mapping[int, Sequence[int]],
    shares: Mapping[int, Sequence[float] | None],
    conflicts: int,
) -> tuple[float | None, list[str]]:
    """Return the p-value of the split, and every reason why the results may not be used."""
    p_values, blocked = [], []
    for phase, counts in sorted(assigned.items()):
        planned = shares.get(phase)
        if planned is None:
            continue
        leaked = [
            config.variants[i] for i, (n, share) in enumerate(zip(counts, planned, strict=True)) if n and share == 0.0
        ]
        if leaked:
            blocked.append(f"subjects were assigned to {', '.join(leaked)}, which has a share of 0")
            continue
        p = srm_p_value(counts, planned)
        if p is not None:
            p_values.append(p)
            if p < SRM_ALPHA / max(1, len(assigned)):
                seen = " : ".join(f"{n:,}" for n in counts)
                wanted = " : ".join(f"{share:.4g}" for share in planned)
                blocked.append(
                    f"sample ratio mismatch, {seen} subjects where {wanted} was planned ({format_p_value(p)})"
                )
    if conflicts:
        subjects = "subject has" if conflicts == 1 else "subjects have"
        blocked.append(f"{conflicts:,} {subjects} events of more than one variant")
    return (min(1.0, min(p_values) * len(p_values)) if p_values else None), blocked


def _with_reason(config: ExperimentConfig, found: VariantComparison) -> str:
    return f"{found.metric} ({open_reason(config.metrics[config.metric_index(found.metric)], found)})"


def _leading(config: ExperimentConfig, judged: Sequence[tuple[VariantComparison, Judgement]]) -> int:
    """Return the treatment that does best in the main metric; without data, the first."""
    sign = 1.0 if config.direction == "higher" else -1.0
    scores = [sign * item.effect if item.effect is not None else -math.inf for item, _ in judged]
    return max(range(len(scores)), key=lambda index: (judged[index][0].p_value is not None, scores[index]))


def _warnings(
    config: ExperimentConfig,
    main: MetricData,
    found: VariantComparison,
    looks: Sequence[Look],
    n_assigned: Sequence[int],
    n_subjects: Sequence[int],
    judgement: Judgement,
) -> list[str]:
    result = list(found.notes)
    significant = found.p_value is not None and found.p_value < config.significance_level
    if significant and found.relative_effect is not None and abs(found.relative_effect) >= TWYMAN_LIFT:
        lift = format_percent(found.relative_effect, signed=True)
        result.append(f"Twyman's law: a lift of {lift} is improbably large; look for a bug first")
    if found.relative_reason is not None and found.reason is None:
        result.append(f"no relative interval: {found.relative_reason}")
    if config.stopping == "fixed_horizon" and found.p_value is not None:
        if not judgement.finished:
            result.append("interim: the p-value of a fixed-horizon test before its planned size is not a verdict")
        finals = sum(look.is_final for look in looks if look.variant == found.variant)
        if finals > 1:
            result.append(
                f"looked at {finals} times since the planned size was reached; only the first of these looks has the "
                "promised error rate"
            )
    if main.cap is not None:
        result.append(f"values above {format_number(main.cap)} were capped (winsorized)")
    if judgement.decided_at is not None:
        look = judgement.decided_at
        result.append(f"decided at look {look.number} ({look.at:%Y-%m-%d}); later data do not change the verdict")
    missing = [1.0 - n / m for n, m in zip(n_subjects, n_assigned, strict=True) if m]
    if len(missing) > 1 and max(missing) - min(missing) > 0.05 and min(n_assigned) >= 100:
        result.append("the share of assigned subjects without data differs between the variants by more than 5 points")
    return result
