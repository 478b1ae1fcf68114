"""What the stopping rule of a design says of one comparison, given the looks so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ab_parts.design import ExperimentConfig
from ab_parts.results import Look, StoppingDecision, VariantComparison
from ab_parts.summaries import FEW_PER_SIDE
from stats.always_valid import DEFAULT_TUNING, ConfidenceSequence, confidence_sequence
from stats.decision import FUTILITY_POWER, LookVerdict, futility_power, judge_looks
from stats.mixture_sequence import mixture_sequence
from stats.sequential import beta_spending_design, side_error
from values import to_utc

__all__ = ["Judgement", "apply_stopping", "days_left_of", "is_planned_end", "stopping_decision"]

SMALLEST_LOOK = 0.01  # information (share of the plan) that must be new for a look to count as another one
NEARLY_ALL = 0.98  # harmonic information from which a test whose total is reached counts as finished


@dataclass(slots=True)
class Judgement:
    """What the stopping rule says of one comparison."""

    significant: bool
    finished: bool
    too_few: bool
    n_needed: int
    fraction: float | None = None
    stopped: str | None = None
    futile: bool = False
    success_chance: float | None = None
    futility_boundary: float | None = None
    boundary: float | None = None
    p_value: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
    confidence: float = 0.95  # of ci_lower and ci_upper
    sequential_lower: float | None = None
    sequential_upper: float | None = None
    sequential_p: float | None = None
    alpha_spent: float | None = None
    new_looks: list[Look] = field(default_factory=list)
    decided_at: Look | None = None


def _information(config: ExperimentConfig, n1: int, n2: int) -> float:
    """Share of the planned information: harmonic, so that an unequal split is worth what it is worth."""
    if not (n1 and n2):
        return 0.0
    return 2.0 / (1.0 / n1 + 1.0 / n2) / config.needed_sample_size


def _is_finished(config: ExperimentConfig, n1: int, n2: int, fraction: float) -> bool:
    return fraction >= 1.0 or (fraction >= NEARLY_ALL and n1 + n2 >= 2 * config.needed_sample_size)


def is_planned_end(config: ExperimentConfig, found: VariantComparison) -> bool:
    """Return whether the planned size is reached."""
    n1, n2 = found.n_baseline, found.n_treatment
    return config.planned_sample_size is not None and _is_finished(config, n1, n2, _information(config, n1, n2))


def apply_stopping(
    config: ExperimentConfig, found: VariantComparison, looks: Sequence[Look], running: bool
) -> tuple[VariantComparison, Judgement]:
    """Judge one comparison by the design's stopping rule, with the look it makes if there are new data."""
    n1, n2 = found.n_baseline, found.n_treatment
    past = [look for look in looks if look.variant == found.variant]
    fraction = _information(config, n1, n2)
    needed = config.min_sample_size if config.stopping == "always_valid" else config.needed_sample_size
    result = Judgement(
        significant=False,
        finished=config.stopping == "always_valid" or _is_finished(config, n1, n2, fraction),
        too_few=min(n1, n2) < config.min_sample_size and not (config.stopping != "always_valid" and
                                                              _is_finished(config, n1, n2, fraction)),
        n_needed=needed,
        fraction=None if config.stopping == "always_valid" else fraction,
        p_value=found.p_value,
        ci_lower=found.ci_lower,
        ci_upper=found.ci_upper,
        confidence=1.0 - config.significance_level,
    )  # fmt: skip
    if found.p_value is None or found.effect is None or found.z is None:
        return found, result
    comparisons = len(config.variants) - 1
    alpha = config.significance_level / comparisons
    se = found.standard_error or (abs(found.effect / found.z) if found.z and found.effect else None)
    if se is None or se <= 0.0:
        return found, result
    sequence = _sequence(config, found.effect, se, n1 + n2, alpha)
    z_sequence = _sequence(config, found.z * se, se, n1 + n2, alpha)
    if config.stopping == "group_sequential":
        _judge_group_sequential(config, found, result, past, alpha, se, running)
    elif config.stopping == "always_valid":
        earlier = min([look.p_value for look in past], default=1.0)
        p = min(z_sequence.p_value, earlier)
        result.p_value = result.sequential_p = min(1.0, p * comparisons)
        result.sequential_lower, result.sequential_upper = sequence.ci_lower, sequence.ci_upper
        result.ci_lower, result.ci_upper, result.confidence = sequence.ci_lower, sequence.ci_upper, 1.0 - alpha
        wanted = config.alternative == "two-sided" or (found.z > 0) == (config.alternative == "greater")
        result.significant = p <= alpha and wanted
        if result.significant:
            good = (found.z > 0) == (config.direction == "higher")
            result.stopped = "success" if good else "harm"
        reach = z_sequence.half_width / se
        result.boundary = reach if math.isfinite(reach) else None
        result.finished = (
            True
            if result.significant
            else config.planned_sample_size is not None and _is_finished(config, n1, n2, fraction)
        )
        result.n_needed = config.needed_sample_size
        if _is_new(past, n1, n2, config):
            outcome = f"stop_{result.stopped}" if result.stopped and not result.too_few else "continue"
            result.new_looks = [_look(found, past, None, se, p, result, outcome, is_final=False)]
    else:
        result.significant = found.is_significant and result.finished
        result.sequential_lower, result.sequential_upper = sequence.ci_lower, sequence.ci_upper
        result.sequential_p = z_sequence.p_value
        _judge_futility(config, found, result, fraction)
        if _is_new(past, n1, n2, config):
            outcome = "stop_final" if result.finished else "continue"
            result.new_looks = [
                _look(found, past, fraction, se, found.p_value, result, outcome, is_final=result.finished)
            ]
    return found, result


def _sequence(config: ExperimentConfig, estimate: float, se: float, n: int, alpha: float) -> ConfidenceSequence:
    """Return the interval that is valid at every look, by the design's sequential test."""
    if config.sequential_test == "msprt":
        return mixture_sequence(estimate, se, tau=config.mixing_spread, alpha=alpha, alternative=config.alternative)
    return confidence_sequence(
        estimate,
        se,
        n,
        alpha=alpha,
        tuned_for=2 * (config.planned_sample_size or DEFAULT_TUNING // 2),
        alternative=config.alternative,
    )


def _judge_futility(
    config: ExperimentConfig,
    found: VariantComparison,
    result: Judgement,
    fraction: float,
    fractions: Sequence[float] = (),
) -> None:
    """Say whether success became unlikely; non-binding."""
    if not config.futility or config.planned_sample_size is None or found.z is None or result.finished:
        return
    if config.alternative == ("less" if config.direction == "higher" else "greater"):
        return  # the test looks for harm: there is no success to be had
    result.success_chance = futility_power(
        found.z,
        min(fraction, 1.0),
        alpha=config.significance_level / (len(config.variants) - 1),  # what it was sized for, and is judged by
        power=config.power,
        alternative=config.alternative,
        direction=config.direction,
    )
    if config.futility_rule == "conditional_power":
        result.futile = result.success_chance is not None and result.success_chance < FUTILITY_POWER
        return
    design = beta_spending_design(
        [*fractions, 1.0],
        side_error(config.significance_level / (len(config.variants) - 1), config.alternative),
        1.0 - config.power,
        spending=config.spending,
        parameter=config.spending_parameter,
    )
    score = found.z if config.direction == "higher" else -found.z
    bound = design.lower[len(fractions) - 1]
    result.futility_boundary = bound if math.isfinite(bound) else None
    result.futile = score <= bound


def _is_new(past: Sequence[Look], n1: int, n2: int, config: ExperimentConfig) -> bool:
    """Return whether there is noticeably more data than at the last look; without it, a look spends nothing."""
    if not past:
        return True
    last = past[-1]
    before, now = last.n_baseline + last.n_treatment, n1 + n2
    if now <= before:
        return False
    step = 0.0 if config.stopping != "group_sequential" else SMALLEST_LOOK * 2 * config.needed_sample_size
    return now - before >= step or _is_finished(config, n1, n2, _information(config, n1, n2))


def _judge_group_sequential(
    config: ExperimentConfig,
    found: VariantComparison,
    result: Judgement,
    past: list[Look],
    alpha: float,
    se: float,
    running: bool,
) -> None:
    assert found.z is not None
    assert found.effect is not None
    assert found.p_value is not None
    assert result.fraction is not None
    n1, n2 = found.n_baseline, found.n_treatment
    done = next((look for look in past if look.is_final or look.outcome in ("stop_success", "stop_harm")), None)
    fractions = [look.information_fraction or 0.0 for look in past]
    scores = [look.z for look in past]
    new = (
        done is None
        and _is_new(past, n1, n2, config)
        and result.fraction > (fractions[-1] if fractions else 0.0) + 1e-6
    )
    if past and not new and done is None and not running and not result.finished:
        new = False
    final = result.finished or (new and not running)
    if done is not None:
        fractions = fractions[: past.index(done) + 1]
        scores = scores[: past.index(done) + 1]
        final = done.is_final
    elif new:
        fractions.append(result.fraction)
        scores.append(found.z)
    verdict: LookVerdict = judge_looks(
        fractions,
        scores,
        alpha=alpha,
        alternative=config.alternative,
        spending=config.spending,
        parameter=config.spending_parameter,
        final=final and (new or done is not None),
    )
    result.alpha_spent = verdict.alpha_spent
    bound = verdict.bounds[-1]
    result.boundary = bound if math.isfinite(bound) else None
    result.finished = result.finished or (done is not None and done.is_final) or (new and final)
    result.significant = verdict.crossed is not None
    if result.significant:
        good = (verdict.sign > 0) == (config.direction == "higher")
        result.stopped = "success" if good else "harm"
    else:
        _judge_futility(config, found, result, result.fraction, fractions)
    reach = (result.boundary if result.boundary is not None else 8.5) * se
    result.sequential_lower, result.sequential_upper = found.effect - reach, found.effect + reach
    if config.alternative == "greater":
        result.sequential_upper = None
    elif config.alternative == "less":
        result.sequential_lower = None
    if not (result.finished and len(fractions) == 1):
        # The repeated interval belongs to the boundary; after a single, final look the usual one is exact.
        result.ci_lower, result.ci_upper = result.sequential_lower, result.sequential_upper
        result.confidence = 1.0 - alpha
    result.decided_at = done
    if new:
        if result.significant:
            outcome = f"stop_{result.stopped}"
        elif result.finished:
            outcome = "stop_final"
        else:
            outcome = "stop_futile" if result.futile else "continue"
        if outcome in ("stop_success", "stop_harm") and result.too_few:
            outcome = "continue"
        look = _look(found, past, result.fraction, se, found.p_value, result, outcome, is_final=result.finished)
        result.new_looks = [look]


def _look(
    found: VariantComparison,
    past: Sequence[Look],
    fraction: float | None,
    se: float,
    p_value: float,
    result: Judgement,
    outcome: str,
    *,
    is_final: bool,
) -> Look:
    assert found.effect is not None
    assert found.z is not None
    return Look(
        number=(past[-1].number if past else 0) + 1,
        variant=found.variant,
        at=to_utc(),
        n_baseline=found.n_baseline,
        n_treatment=found.n_treatment,
        information_fraction=fraction,
        effect=found.effect,
        standard_error=se,
        z=found.z,
        p_value=p_value,
        boundary=result.boundary,
        is_final=is_final,
        ci_lower=result.sequential_lower,
        ci_upper=result.sequential_upper,
        outcome=outcome,
    )


def days_left_of(
    judgement: Judgement, n_subjects: Sequence[int], first_at: datetime | None, last_at: datetime | None
) -> float | None:
    """Days until the smallest variant has what it needs, at the rate observed so far."""
    if judgement.finished or first_at is None or last_at is None:
        return None
    elapsed = (last_at - first_at).total_seconds() / 86_400.0
    smallest = min(n_subjects)
    if elapsed < 1.0 / 24.0 or smallest < FEW_PER_SIDE:  # an hour: a shorter history says nothing of a rate
        return None
    return max(0.0, (judgement.n_needed - smallest) / (smallest / elapsed))


SPENDING_NAMES = {
    "obrien_fleming": "O'Brien-Fleming",
    "pocock": "Pocock",
    "hwang_shih_decani": "Hwang-Shih-DeCani",
    "power": "power family",
}


def rule_name(config: ExperimentConfig) -> str:
    """Return the stopping rule in words."""
    if config.stopping == "always_valid":
        if config.sequential_test == "msprt":
            return "always valid: mixture sequential probability ratio test"
        return "always valid: asymptotic confidence sequence"
    if config.stopping == "fixed_horizon":
        rule = "fixed horizon: one look at the planned size"
    else:
        rule = f"group sequential: alpha spending, {SPENDING_NAMES[config.spending]}"
    if not config.futility or config.planned_sample_size is None:
        return rule
    how = "beta spending" if config.futility_rule == "beta_spending" else "conditional power under the planned effect"
    return f"{rule}; futility by {how}, non-binding"


def stopping_decision(
    config: ExperimentConfig,
    judgement: Judgement,
    found: VariantComparison,
    status: str,
    recommendation: str,
    n_looks: int,
    running: bool,
) -> StoppingDecision:
    """Return the judgement as the record that users see."""
    if status != "ok":
        code = status
    elif judgement.too_few:
        code = "continue"
    elif judgement.stopped is not None:
        code = f"stop_{judgement.stopped}"
    elif judgement.finished:
        code = "stop_final"
    else:
        code = "stop_futile" if judgement.futile else "continue"
    if code == "continue" and not running:
        code = "stop_final"
    return StoppingDecision(
        should_stop=code.startswith("stop"),
        decision=code,
        reason=recommendation,
        rule=str(config.stopping),
        look=n_looks + (1 if judgement.new_looks else 0),
        information_fraction=judgement.fraction,
        z=found.z,
        boundary=judgement.boundary,
        p_value=judgement.p_value,
        ci_lower=judgement.sequential_lower,
        ci_upper=judgement.sequential_upper,
        alpha_spent=judgement.alpha_spent,
        conditional_power=judgement.success_chance,
        futile=judgement.futile,
        futility_boundary=judgement.futility_boundary,
        method=rule_name(config),
    )
