"""Run a design many times on invented data, with the code that judges real tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ab_parts.analysis import analyze_data
from ab_parts.design import ExperimentConfig
from ab_parts.metrics import MetricType
from ab_parts.results import Look, SimulationResult
from ab_parts.summaries import data_from_values
from stats.power_counts import draw_counts
from values import InvalidTypeError, InvalidValueError, to_float, to_int

__all__ = ["simulate"]

MEAN_DENOMINATOR = 5.0  # of a subject of an invented ratio: one more than a Poisson number


def simulate(
    config: ExperimentConfig,
    *,
    effect: float = 0.0,
    n_simulations: int = 1000,
    n_per_variant: int | None = None,
    n_looks: int = 5,
    baseline_value: float | None = None,
    baseline_sd: float | None = None,
    stop_for_futility: bool = False,
    seed: int | None = None,
    progress: bool = False,
) -> SimulationResult:
    """Run a design many times on invented data, with the code that judges real tests.

    Parameters
    ----------
    config : ExperimentConfig
    effect : float
        Injected absolute effect of the first treatment; 0 for an A/A test.
    n_simulations : int
    n_per_variant : int or None
        Subjects of either variant at the end; what the design needs by default.
    n_looks : int
        Equally spaced looks, the last at the end.
    baseline_value, baseline_sd : float or None
        Of the invented data; the design's, or 0.5 / 5 / 0 and 1, by default. For ratios the standard deviation is that
        of the linearised ratio, as in `plan_sample_size`.
    stop_for_futility : bool
        Whether a futile look ends the test; the rule is non-binding.
    seed : int or None
    progress : bool
        Show a progress bar.

    Returns
    -------
    SimulationResult
    """
    if not isinstance(config, ExperimentConfig):
        raise InvalidTypeError(f"config must be an ExperimentConfig, got {type(config).__name__}")
    n_simulations, n_looks = to_int(n_simulations, "n_simulations", 1), to_int(n_looks, "n_looks", 1)
    effect = to_float(effect, "effect")
    plan = replace(config, secondary_metrics=(), guardrails=())  # only the main metric is invented
    if plan.treatments is not None:
        plan = replace(plan, treatments=None, traffic_split=0.5)
    rng = np.random.default_rng(seed)
    n = plan.needed_sample_size if n_per_variant is None else to_int(n_per_variant, "n_per_variant", 2)
    draw = _drawer(plan, effect, baseline_value, baseline_sd, rng)
    edges = [max(2, round(n * (look + 1) / n_looks)) for look in range(n_looks)]
    outcomes: dict[str, int] = {}
    significant = success = harm = futile = early = covered = intervals = 0
    subjects, estimates = 0, []
    rounds: Any = range(n_simulations)
    if progress:
        from tqdm.auto import tqdm

        rounds = tqdm(rounds, desc="simulated tests")
    for _ in rounds:
        arms = [draw(index, n) for index in (0, 1)]
        looks: list[Look] = []
        analysis = None
        for number, edge in enumerate(edges):
            data = data_from_values(plan, [arm[:edge] for arm in arms])
            last = number == n_looks - 1
            analysis, new = analyze_data(
                plan, [data], assigned={1: [edge, edge]}, shares={1: None}, looks=looks, running=not last,
                bayesian=False,
            )  # fmt: skip
            looks += new
            code = analysis.stopping.decision
            if code in ("stop_success", "stop_harm") or (stop_for_futility and code == "stop_futile"):
                early += not last
                break
        assert analysis is not None
        outcomes[analysis.decision] = outcomes.get(analysis.decision, 0) + 1
        significant += analysis.is_significant
        success += analysis.stopping.decision == "stop_success" or analysis.decision == "ship"
        harm += analysis.is_significant and analysis.decision == "keep_baseline"
        futile += analysis.stopping.futile
        subjects += edge
        if analysis.effect is not None:
            estimates.append(analysis.effect)
        # the interval that the verdict reads: the usual one is too narrow once a test may stop early
        usual = plan.stopping == "fixed_horizon"
        low = analysis.ci_lower if usual else analysis.sequential_ci_lower
        high = analysis.ci_upper if usual else analysis.sequential_ci_upper
        if low is not None or high is not None:
            intervals += 1
            covered += (low is None or low <= effect) and (high is None or effect <= high)
    return SimulationResult(
        n_simulations=n_simulations,
        effect=effect,
        significant_rate=significant / n_simulations,
        success_rate=success / n_simulations,
        harm_rate=harm / n_simulations,
        futile_rate=futile / n_simulations,
        coverage=covered / intervals if intervals else None,
        mean_subjects=subjects / n_simulations,
        stopped_early_rate=early / n_simulations,
        n_per_variant=n,
        n_looks=n_looks,
        decisions={name: count / n_simulations for name, count in sorted(outcomes.items())},
        estimates=estimates,
    )


def _drawer(
    config: ExperimentConfig, effect: float, value: float | None, sd: float | None, rng: np.random.Generator
) -> Any:
    """Return a function (variant, n) -> values of the main metric."""
    kind = config.metric_type
    default = {MetricType.BINARY: 0.5, MetricType.COUNT: 5.0, MetricType.CONTINUOUS: 0.0, MetricType.RATIO: 0.5}[kind]  # type: ignore[index]
    centre = value if value is not None else config.baseline_value if config.baseline_value is not None else default
    stated = sd if sd is not None else config.baseline_sd
    spread = 1.0 if stated is None else stated
    if kind is MetricType.BINARY and not (0.0 <= centre <= 1.0 and 0.0 <= centre + effect <= 1.0):
        raise InvalidValueError(f"rates {centre!r} and {centre + effect!r} must lie in [0, 1]")
    if kind is MetricType.COUNT and not (centre >= 0.0 and centre + effect >= 0.0):
        raise InvalidValueError(f"means {centre!r} and {centre + effect!r} must be 0 or more")

    def draw(variant: int, n: int) -> Any:
        mean = centre + effect * variant
        if kind is MetricType.BINARY:
            return (rng.random(n) < mean).astype(np.float64)
        if kind is MetricType.COUNT:
            if centre > 0.0 and centre + effect > 0.0:  # as spread out as the design says; Poisson when it says nothing
                return draw_counts(rng, n, effect, centre, sd=stated, treatment=variant == 1)
            return rng.poisson(mean, n).astype(np.float64)
        if kind is MetricType.RATIO:
            below = 1.0 + rng.poisson(MEAN_DENOMINATOR - 1.0, n)
            # the linearised ratio, (above - mean below) / E[below], has the standard deviation that the design says
            return np.column_stack([mean * below + rng.normal(0.0, MEAN_DENOMINATOR * spread, n), below])
        return rng.normal(mean, spread, n)

    return draw
