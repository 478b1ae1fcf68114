"""What an analysis of an A/B test says: records for people and machines, and the pure functions that make them.

    >>> from ab_design import ExperimentConfig
    >>> config = ExperimentConfig(name="t", metric_name="y", min_sample_size=2, stopping="fixed_horizon")
    >>> data = data_from_values(config, [[1.0, 2.0, 3.0], [2.0, 3.0, 4.5]])
    >>> analyze_data(config, [data], assigned={1: [3, 3]}, shares={1: [0.5, 0.5]}, running=False)[0].decision
    'inconclusive'

`analyze_data` takes sufficient statistics, wherever they come from (a database, arrays, a DataFrame), so the same
numbers
give the same verdict.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ab_design import Aggregation, ExperimentConfig, Metric, MetricType
from stats import bayes
from stats.always_valid import confidence_sequence
from stats.comparison import Comparison, compare_counts, compare_means, compare_proportions, tally_statistics
from stats.decision import (
    FUTILITY_POWER,
    TWYMAN_LIFT,
    Evidence,
    LookVerdict,
    decide,
    format_number,
    futility_power,
    judge_looks,
)
from stats.means import cuped, estimate_test
from stats.moments import JointStatistics, MeanStatistics, as_values
from stats.multiplicity import adjust
from stats.ranks import Tallies
from stats.ratios import ratio_statistics
from stats.srm import SRM_ALPHA, srm_p_value
from values import InvalidValueError, to_utc

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = [
    "DailyPoint",
    "Experiment",
    "ExperimentAnalysis",
    "Look",
    "MetricData",
    "SegmentResult",
    "SimulationResult",
    "StoppingDecision",
    "VariantComparison",
    "analyze_data",
    "data_from_values",
    "simulate",
]

SMALLEST_LOOK = 0.01  # information (share of the plan) that must be new for a look to count as another one
NEARLY_ALL = 0.98  # harmonic information from which a test whose total is reached counts as finished
FEW_PER_SIDE = 2


# -- records -----------------------------------------------------------------------------------------


def to_plain(value: Any) -> Any:
    """Return a value as JSON-safe plain data: no NaN, no infinity, instants as ISO text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A stored test.

    Attributes
    ----------
    exp_id, name, status : str
        Status is "running", "paused", "concluded" or "archived".
    config : ExperimentConfig
    created_at : datetime
    ended_at, archived_at : datetime or None
    decision, decision_reason, decided_by : str or None
    evidence : dict or None
        The analysis at the conclusion.
    phase : int
    phases : list of dict
        number, shares, coverage, started_at, reason.
    baseline_version_id, treatment_version_id : str or None
    """

    exp_id: str
    name: str
    status: str
    config: ExperimentConfig
    created_at: datetime
    ended_at: datetime | None
    archived_at: datetime | None
    decision: str | None
    decision_reason: str | None
    decided_by: str | None
    evidence: dict[str, Any] | None
    phase: int
    phases: list[dict[str, Any]]
    baseline_version_id: str | None
    treatment_version_id: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        result = {item.name: to_plain(getattr(self, item.name)) for item in fields(self) if item.name != "config"}
        return result | {"config": self.config.to_dict()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One time somebody saw the results of the main metric.

    Attributes
    ----------
    number : int
        From 1.
    variant : str
        The treatment.
    at : datetime
    n_baseline, n_treatment : int
    information_fraction : float or None
        Share of the planned information; None without a plan.
    effect, standard_error, z, p_value : float
    boundary : float or None
        |z| needed at this look.
    is_final : bool
        The planned size was reached; nothing after it changes the verdict.
    ci_lower, ci_upper : float or None
        Interval that is valid at every look.
    outcome : str
        "continue", "stop_success", "stop_harm", "stop_futile" or "stop_final".
    """

    number: int
    variant: str
    at: datetime
    n_baseline: int
    n_treatment: int
    information_fraction: float | None
    effect: float
    standard_error: float
    z: float
    p_value: float
    boundary: float | None
    is_final: bool
    ci_lower: float | None
    ci_upper: float | None
    outcome: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingDecision:
    """Whether a test may stop now, by the rule it was designed with.

    Attributes
    ----------
    should_stop : bool
    decision : str
        "continue", "stop_success", "stop_harm", "stop_futile", "stop_final" (the planned size is reached),
        "invalid" or
        "insufficient_data".
    reason : str
        One sentence.
    rule : str
    look : int
        Number of looks so far.
    information_fraction : float or None
    z, boundary : float or None
        What was seen, and what is needed.
    p_value : float or None
        Of the stopping rule: valid at every look ("always_valid"), else nominal.
    ci_lower, ci_upper : float or None
        Interval that is valid at every look.
    alpha_spent : float or None
    conditional_power : float or None
        Chance of success by the planned end under the planned effect.
    futile : bool
        Non-binding.
    """

    should_stop: bool
    decision: str
    reason: str
    rule: str
    look: int
    information_fraction: float | None
    z: float | None
    boundary: float | None
    p_value: float | None
    ci_lower: float | None
    ci_upper: float | None
    alpha_spent: float | None
    conditional_power: float | None
    futile: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantComparison:
    """One treatment against the baseline in one metric.

    Attributes
    ----------
    metric, variant, role : str
        Role is "main", "secondary", "guardrail" or "segment".
    metric_type, method : str
    n_baseline, n_treatment : int
    baseline, treatment : float or None
        Estimates.
    effect, ci_lower, ci_upper : float or None
    relative_effect, relative_ci_lower, relative_ci_upper : float or None
    relative_reason : str or None
    effect_size : float or None
    p_value, p_adjusted : float or None
        Before and after the correction for several comparisons.
    is_significant : bool
        ``p_adjusted`` below alpha; the verdict on the main metric also asks the stopping rule.
    standard_error, z : float or None
    reason : str or None
        Why there is no p-value.
    chance_to_beat, expected_loss : float or None
        Bayesian: posterior probability that the treatment is better, and the expected loss of choosing it.
    credible_lower, credible_upper : float or None
    bayesian_model : str or None
    probability_of_superiority, rank_biserial, hodges_lehmann, welch_p_value : float or None
        Counts.
    means_disagree : bool
        Counts: the test of ranks and the test of means point to different conclusions.
    guardrail_status : {"safe", "worse", "open"} or None
        "open" is not shown to be safe: the margin is not excluded yet, or nothing can be compared.
    p_non_inferiority : float or None
    variance_reduction : float or None
        By the covariate.
    notes : list of str
    segment : str or None
    """

    metric: str
    variant: str
    role: str
    metric_type: str
    method: str
    n_baseline: int
    n_treatment: int
    baseline: float | None
    treatment: float | None
    effect: float | None
    ci_lower: float | None
    ci_upper: float | None
    relative_effect: float | None
    relative_ci_lower: float | None
    relative_ci_upper: float | None
    relative_reason: str | None
    effect_size: float | None
    p_value: float | None
    p_adjusted: float | None
    is_significant: bool
    standard_error: float | None
    z: float | None
    reason: str | None
    chance_to_beat: float | None = None
    expected_loss: float | None = None
    credible_lower: float | None = None
    credible_upper: float | None = None
    bayesian_model: str | None = None
    probability_of_superiority: float | None = None
    rank_biserial: float | None = None
    hodges_lehmann: float | None = None
    welch_p_value: float | None = None
    means_disagree: bool = False
    guardrail_status: str | None = None
    p_non_inferiority: float | None = None
    variance_reduction: float | None = None
    notes: list[str] = field(default_factory=list)
    segment: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


SegmentResult = VariantComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentAnalysis:
    """The comparison of all variants, and what to do.

    The fields from ``variant`` on are those of the main metric and the treatment that does best in it;
    ``comparisons`` holds
    every treatment and metric.

    Attributes
    ----------
    status : {"ok", "insufficient_data", "invalid"}
    decision : str
        "invalid", "insufficient_data", "keep_running", "ship", "keep_baseline", "stop_futile", "too_small",
        "inconclusive".
    recommendation : str
        The decision in one plain sentence with numbers.
    warnings : list of str
    exp_id, name, metric, metric_type : str
    variant : str
    method : str
    n_subjects : dict
        Subjects with data, by variant.
    n_assigned : dict
        Subjects assigned, by variant.
    estimate : dict
        Mean, rate or ratio by variant; None without data.
    effect, ci_lower, ci_upper : float or None
        Treatment minus baseline; this decides. Interval of one planned look.
    relative_effect, relative_ci_lower, relative_ci_upper : float or None
        Lift over |baseline|; ``relative_reason`` says why it is missing.
    effect_size : float or None
        Cohen's d (means, counts) or h (rates).
    p_value, p_adjusted : float or None
    is_significant : bool
        By the stopping rule and after correction.
    is_interim : bool
        The planned size is not reached.
    significance_level : float
    sequential_ci_lower, sequential_ci_upper, sequential_p_value : float or None
        Valid at every look.
    srm_p_value : float or None
    n_conflicts : int
        Subjects with events of a second variant.
    stopping : StoppingDecision
    comparisons, segments : list of VariantComparison
    looks : list of Look
    n_needed : int
        Subjects per variant.
    days_left : float or None
    cap : float or None
        Of winsorization.
    experiment_status : str
    analyzed_at : datetime
    """

    status: str
    decision: str
    recommendation: str
    warnings: list[str]
    exp_id: str | None
    name: str
    metric: str
    metric_type: str
    variant: str
    method: str
    n_subjects: dict[str, int]
    n_assigned: dict[str, int]
    estimate: dict[str, float | None]
    effect: float | None
    ci_lower: float | None
    ci_upper: float | None
    relative_effect: float | None
    relative_ci_lower: float | None
    relative_ci_upper: float | None
    relative_reason: str | None
    effect_size: float | None
    p_value: float | None
    p_adjusted: float | None
    is_significant: bool
    is_interim: bool
    significance_level: float
    sequential_ci_lower: float | None
    sequential_ci_upper: float | None
    sequential_p_value: float | None
    srm_p_value: float | None
    n_conflicts: int
    stopping: StoppingDecision
    comparisons: list[VariantComparison]
    segments: list[VariantComparison]
    looks: list[Look]
    n_needed: int
    days_left: float | None
    cap: float | None
    experiment_status: str
    analyzed_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values: no NaN, instants as ISO text."""
        return dict(to_plain(self))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per comparison and segment."""
        import pandas as pd

        rows = [comparison.to_dict() for comparison in (*self.comparisons, *self.segments)]
        for row in rows:
            row["notes"] = "; ".join(row["notes"])
        return pd.DataFrame(rows)

    def plot(self) -> go.Figure:
        """Return the effects with their intervals as a Plotly figure."""
        from charts.ab_testing import plot_forest

        return plot_forest(self)

    def to_html(self, path: str | None = None) -> str:
        """Return a self-contained HTML report, and write it to a file if a path is given."""
        from charts.ab_testing import report_html

        text: str = report_html(self)
        if path is not None:
            from pathlib import Path

            Path(path).write_text(text, encoding="utf-8")
        return text

    def _repr_html_(self) -> str:
        """Return the verdict and the table of comparisons for a notebook."""
        head = "".join(
            f"<th style='text-align:left'>{html.escape(title)}</th>"
            for title in ("Metric", "Variant", "n", "Baseline", "Treatment", "Effect", "Interval", "Lift", "p", "Test")
        )
        body = "".join(f"<tr>{_html_cells(comparison)}</tr>" for comparison in (*self.comparisons, *self.segments))
        warnings = "".join(f"<li>{html.escape(text)}</li>" for text in self.warnings)
        return (
            f"<div><h4>{html.escape(self.name)}: {html.escape(self.decision.replace('_', ' '))}</h4>"
            f"<p>{html.escape(self.recommendation)}</p><ul>{warnings}</ul>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


def _html_cells(comparison: VariantComparison) -> str:
    unit = "%" if comparison.metric_type == "binary" else ""

    def number(value: float | None, what: str = "") -> str:
        return "–" if value is None else format_number(value, what)

    label = comparison.metric if comparison.segment is None else f"{comparison.metric} [{comparison.segment}]"
    lower, upper = number(comparison.ci_lower, unit), number(comparison.ci_upper, unit)
    lift = "–" if comparison.relative_effect is None else f"{comparison.relative_effect:+.2%}"
    cells = [
        label,
        comparison.variant,
        f"{comparison.n_baseline:,} / {comparison.n_treatment:,}",
        number(comparison.baseline),
        number(comparison.treatment),
        number(comparison.effect, unit),
        f"{lower} to {upper}",
        lift,
        "–" if comparison.p_value is None else f"{comparison.p_value:.3g}",
        comparison.method,
    ]
    return "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyPoint:
    """The comparison of everything up to the end of one day.

    Attributes
    ----------
    day : datetime
        Start of the day, UTC.
    n_baseline, n_treatment : int
        Cumulated subjects.
    baseline, treatment, effect : float or None
    ci_lower, ci_upper : float or None
        Fixed-horizon interval: right for one planned look only.
    sequential_lower, sequential_upper : float or None
        Confidence sequence: right for all days together.
    """

    day: datetime
    n_baseline: int
    n_treatment: int
    baseline: float | None
    treatment: float | None
    effect: float | None
    ci_lower: float | None
    ci_upper: float | None
    sequential_lower: float | None
    sequential_upper: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


# -- sufficient statistics ---------------------------------------------------------------------------


@dataclass(slots=True)
class MetricData:
    """Sufficient statistics of one metric by (phase, variant); which of the tables is filled depends on the metric.

    Attributes
    ----------
    metric : Metric
    n_variants : int
    means, rates, joint : dict
        Continuous; binary as (successes, n); ratio or covariate.
    tallies : dict
        Counts by phase: (values, frequencies of shape (n_variants, n_distinct)).
    cap : float or None
    n_covariates : int
    first_at, last_at : datetime or None
        Of the events, where they were read along.
    """

    metric: Metric
    n_variants: int
    means: dict[tuple[int, int], MeanStatistics] = field(default_factory=dict)
    rates: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    joint: dict[tuple[int, int], JointStatistics] = field(default_factory=dict)
    tallies: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    cap: float | None = None
    n_covariates: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None

    @classmethod
    def from_tally_rows(cls, metric: Metric, n_variants: int, rows: Sequence[Any]) -> MetricData:
        """Build from rows (phase, variant, value, count)."""
        data = cls(metric, n_variants)
        by_phase: dict[int, list[tuple[int, float, int]]] = {}
        for phase, variant, value, count in rows:
            by_phase.setdefault(int(phase), []).append((int(variant), float(value), int(count)))
        for phase, cells in by_phase.items():
            values, places = np.unique(np.array([value for _, value, _ in cells]), return_inverse=True)
            frequencies = np.zeros((n_variants, values.size), dtype=np.int64)
            np.add.at(
                frequencies,
                (np.array([variant for variant, *_ in cells]), places),
                np.array([cell[2] for cell in cells]),
            )
            data.tallies[phase] = (values, frequencies)
        return data

    @property
    def phases(self) -> list[int]:
        """Phases with data, in order."""
        found = {phase for table in (self.means, self.rates, self.joint) for phase, _ in table}
        return sorted(found | set(self.tallies))

    def n_of(self, variant: int) -> int:
        """Return the subjects of a variant over all phases."""
        total = sum(arm.n for (_, index), arm in self.means.items() if index == variant)
        total += sum(arm[1] for (_, index), arm in self.rates.items() if index == variant)
        total += sum(arm.n for (_, index), arm in self.joint.items() if index == variant)
        return total + sum(int(frequencies[variant].sum()) for _, frequencies in self.tallies.values())

    def n_by_phase(self, phase: int) -> list[int]:
        """Return the subjects of every variant in one phase."""
        if phase in self.tallies:
            return [int(row.sum()) for row in self.tallies[phase][1]]
        result = []
        for variant in range(self.n_variants):
            key = (phase, variant)
            rate = self.rates.get(key)
            arm = self.means.get(key) or self.joint.get(key)
            result.append(rate[1] if rate else arm.n if arm else 0)
        return result

    def mean_pairs(self, variant: int) -> tuple[list[tuple[MeanStatistics, MeanStatistics]], float | None]:
        """Return (baseline, treatment) per phase as means, and the variance reduction by the covariate."""
        phases = self.phases or [1]
        empty = MeanStatistics(n=0, mean=0.0, deviations=0.0)
        if self.tallies:
            pairs = []
            for phase in phases:
                values, frequencies = self.tallies[phase]
                pairs.append(tally_statistics(Tallies(values, frequencies[0], frequencies[variant])))
            return pairs, None
        if self.rates:
            return [(_rate(self.rates.get((p, 0))), _rate(self.rates.get((p, variant)))) for p in phases], None
        if not self.joint:
            return [(self.means.get((p, 0), empty), self.means.get((p, variant), empty)) for p in phases], None
        if self.metric.metric_type is MetricType.RATIO:
            arms = {key: ratio_statistics(arm) for key, arm in self.joint.items() if arm.n and arm.x_mean != 0.0}
            return [(arms.get((p, 0), empty), arms.get((p, variant), empty)) for p in phases], None
        nothing = JointStatistics(n=0, x_mean=0.0, y_mean=0.0, x_deviations=0.0, y_deviations=0.0, xy_deviations=0.0)
        pairs, before, after = [], 0.0, 0.0
        for phase in phases:
            # theta and the covariate's mean over all variants, so that every treatment is adjusted alike
            everyone = [self.joint.get((phase, index), nothing) for index in range(self.n_variants)]
            if sum(arm.n for arm in everyone) < FEW_PER_SIDE:
                pairs.append((everyone[0].y, everyone[variant].y))
                continue
            adjusted = cuped(everyone).arms
            pairs.append((adjusted[0], adjusted[variant]))
            before += sum(everyone[index].y_deviations for index in (0, variant))
            after += sum(adjusted[index].deviations for index in (0, variant))
        return pairs, 1.0 - after / before if before > 0.0 else None

    def compare(self, variant: int, alpha: float, alternative: str) -> tuple[Comparison, float | None]:
        """Return the comparison of a treatment with the baseline, and the variance reduction."""
        kind = self.metric.metric_type
        if kind is MetricType.BINARY:
            strata = [
                (self.rates.get((p, 0), (0, 0)), self.rates.get((p, variant), (0, 0))) for p in self.phases or [1]
            ]
            return compare_proportions(strata, alpha=alpha, alternative=alternative), None
        if kind is MetricType.COUNT:
            counted = [
                Tallies(values, frequencies[0], frequencies[variant])
                for values, frequencies in (self.tallies[phase] for phase in self.phases)
            ]
            nothing = Tallies(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
            return compare_counts(counted or [nothing], alpha=alpha, alternative=alternative), None
        pairs, reduction = self.mean_pairs(variant)
        label = "Welch's t-test"
        if kind is MetricType.RATIO:
            label = "delta method for a ratio of sums, Welch's t-test"
        elif reduction is not None:
            label = "Welch's t-test with a covariate (CUPED)"
        if self.cap is not None:
            label += f", values capped at {format_number(self.cap)}"
        result = compare_means(
            pairs, alpha=alpha, alternative=alternative, label=label, with_effect_size=kind is not MetricType.RATIO
        )
        if kind is MetricType.RATIO and result.p_value is None:
            result = self._explain_denominators(result, variant)
        return result, reduction

    def _explain_denominators(self, result: Comparison, variant: int) -> Comparison:
        """Say that denominators add up to zero, where that and not a lack of subjects is what is missing."""
        empty = []
        for name, index in (("the baseline", 0), ("the treatment", variant)):
            arms = [arm for (_, which), arm in self.joint.items() if which == index and arm.n]
            if arms and all(arm.x_mean == 0.0 for arm in arms):
                empty.append(name)
        if not empty:
            return result
        reason = f"the denominators of {' and '.join(empty)} add up to zero, so there is no ratio to compare"
        return replace(
            result,
            n_baseline=self.n_of(0),
            n_treatment=self.n_of(variant),
            reason=reason,
            relative_reason=reason,
        )


def _rate(arm: tuple[int, int] | None) -> MeanStatistics:
    x, n = arm or (0, 0)
    return MeanStatistics(n=n, mean=x / n if n else 0.0, deviations=x * (n - x) / n if n else 0.0)


def data_from_values(config: ExperimentConfig, arms: Sequence[Any]) -> MetricData:
    """Summarise arrays of values, one per variant, for the main metric.

    Parameters
    ----------
    config : ExperimentConfig
    arms : sequence of array
        Shape (n,) each; (n, 2) with numerator and denominator for ratios.

    Returns
    -------
    MetricData

    Raises
    ------
    ValueError
        If a value does not fit the metric.
    """
    metric = config.metrics[0]
    data = MetricData(metric, len(config.variants))
    if len(arms) != len(config.variants):
        raise InvalidValueError(f"{len(config.variants)} variants need as many arrays, got {len(arms)}")
    if metric.metric_type is MetricType.RATIO:
        for index, arm in enumerate(arms):
            pairs = np.asarray(arm, dtype=np.float64)
            if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all():
                raise InvalidValueError(f"{config.variants[index]}: ratio values must be finite, of shape (n, 2)")
            data.joint[1, index] = JointStatistics.from_values(pairs[:, 1], pairs[:, 0])
        return data
    values = []
    for name, arm in zip(config.variants, arms, strict=True):
        array = np.asarray(arm)
        numbers = as_values(array, f"values of {name}")
        if array.dtype.kind == "b" and metric.metric_type is not MetricType.BINARY:
            raise InvalidValueError(f"values of {name} are booleans; use metric_type 'binary'")
        if not metric.all_valid(numbers):
            wrong = next(number for number in numbers.tolist() if not metric.all_valid(np.array([number])))
            metric.to_number(wrong)
        values.append((array, numbers))
    if metric.metric_type is MetricType.BINARY:
        for index, (_, numbers) in enumerate(values):
            data.rates[1, index] = (round(float(numbers.sum())), int(numbers.size))
    elif metric.metric_type is MetricType.COUNT:
        pooled = np.concatenate([numbers for _, numbers in values])
        if pooled.size:
            high = int(pooled.max())
            if high <= 4 * pooled.size + 1024:
                rows = [np.bincount(numbers.astype(np.int64), minlength=high + 1) for _, numbers in values]
                frequencies = np.array(rows, dtype=np.int64)
                kept = np.flatnonzero(frequencies.sum(axis=0))
                data.tallies[1] = (kept.astype(np.float64), frequencies[:, kept])
            else:
                distinct = np.unique(pooled)
                rows = [
                    np.bincount(np.searchsorted(distinct, numbers), minlength=distinct.size) for _, numbers in values
                ]
                data.tallies[1] = (distinct, np.array(rows, dtype=np.int64))
    else:
        numbers_only = [numbers for _, numbers in values]
        if config.winsorize_quantile is not None and any(len(numbers) for numbers in numbers_only):
            from stats.moments import winsorize

            numbers_only, data.cap = winsorize(numbers_only, config.winsorize_quantile)
        for index, numbers in enumerate(numbers_only):
            data.means[1, index] = MeanStatistics.from_values(numbers)
    return data


def arms_from_frame(
    frame: pd.DataFrame,
    variant: str,
    value: str,
    baseline: str | None,
    denominator: str | None,
    subject: str | None,
    metric_type: MetricType | str,
    design: Mapping[str, Any],
) -> tuple[list[str], list[Any], int]:
    """Return variant names ("baseline" first), their arrays, and the number of subjects in several variants."""
    for name in (variant, value, denominator, subject):
        if name is not None and name not in frame.columns:
            raise InvalidValueError(f"there is no column {name!r}; columns are {', '.join(map(repr, frame.columns))}")
    if frame[variant].isna().any():
        raise InvalidValueError(f"column {variant!r} has missing values")
    conflicts = 0
    columns = [value] if denominator is None else [value, denominator]
    if subject is not None:
        metric = Metric(name=value, metric_type=metric_type, aggregation=design.get("aggregation"))  # type: ignore[arg-type]
        variants_of = frame.groupby(subject, sort=False)[variant].nunique()
        conflicts = int((variants_of > 1).sum())
        how = {Aggregation.ANY: "max"}.get(metric.aggregation, str(metric.aggregation.value))
        grouped = frame.groupby(subject, sort=False)
        combined = grouped[columns].agg(how)
        combined[variant] = grouped[variant].first()
        frame = combined
    names = sorted(frame[variant].unique().tolist(), key=str)
    if len(names) < 2:
        raise InvalidValueError(f"column {variant!r} must have at least two variants, it has {names!r}")
    if baseline is None:
        known = [name for name in names if str(name).lower() in ("baseline", "control")]
        baseline = known[0] if known else names[0]
    if baseline not in names:
        raise InvalidValueError(f"baseline {baseline!r} is not among the variants {names!r}")
    ordered = [baseline, *(name for name in names if name != baseline)]
    codes = frame[variant].to_numpy()
    values = frame[columns].to_numpy() if denominator is not None else frame[value].to_numpy()
    arms = [values[codes == name] for name in ordered]
    return ["baseline", *(str(name) for name in ordered[1:])], arms, conflicts


# -- the analysis ------------------------------------------------------------------------------------


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
    comparisons = [_compare_main(config, main, index) for index in treatments]
    others = _compare_others(config, data)
    adjusted = adjust([comparison.p_value for comparison in comparisons], config.correction)
    comparisons = [
        replace(comparison, p_adjusted=p, is_significant=p is not None and p < alpha)
        for comparison, p in zip(comparisons, adjusted, strict=True)
    ]
    n_subjects = [main.n_of(index) for index in range(len(config.variants))]
    n_assigned = [sum(counts[index] for counts in assigned.values()) for index in range(len(config.variants))]
    srm, blocked = _check_validity(config, assigned, shares, conflicts)
    judged = [_apply_stopping(config, comparison, looks, running) for comparison in comparisons]
    best = _leading(config, judged)
    comparison, judgement = judged[best]
    status = "invalid" if blocked else "ok" if comparison.p_value is not None else "insufficient_data"
    days_left = _days_left(judgement, n_subjects, first_at, last_at)
    warnings = _warnings(config, main, comparison, looks, n_assigned, n_subjects, judgement)
    failed = [item.metric for item in others if item.role == "guardrail" and item.guardrail_status == "worse"
              and item.variant == comparison.variant]  # fmt: skip
    still_open = [item.metric for item in others if item.role == "guardrail" and item.guardrail_status == "open"
                  and item.variant == comparison.variant]  # fmt: skip
    about_means = comparison.probability_of_superiority is None
    evidence = Evidence(
        metric=config.metric_name,
        variant=comparison.variant,
        effect=comparison.effect,
        ci_lower=judgement.ci_lower,
        ci_upper=judgement.ci_upper,
        p_value=judgement.p_value,
        significant=judgement.significant and not judgement.too_few,
        finished=judgement.finished and not judgement.too_few,
        n_now=min(comparison.n_baseline, comparison.n_treatment),
        n_needed=judgement.n_needed,
        relative_effect=comparison.relative_effect,
        days_left=days_left,
        blocked=blocked,
        missing=comparison.reason,
        stopped=judgement.stopped if not judgement.too_few else None,
        futile=judgement.futile and not judgement.too_few,
        success_chance=judgement.success_chance,
        direction=config.direction,
        confidence=1.0 - alpha,
        mde=config.minimum_detectable_effect,
        unit=config.unit,
        guardrails_failed=failed,
        guardrails_open=still_open,
        about_means=about_means,
        superiority=comparison.probability_of_superiority,
        means_disagree=comparison.means_disagree,
        continuous_monitoring=config.stopping == "always_valid",
        running=running and not _is_planned_end(config, comparison),
    )
    verdict = decide(evidence)
    new_looks = [] if blocked else [look for _, item in judged for look in item.new_looks]
    segment_results: list[VariantComparison] = []
    for label, part in (segments or {}).items():
        segment_results += [
            replace(_compare_main(config, part, index), role="segment", segment=f"{segment} = {label}")
            for index in treatments
        ]
    stopping = _stopping_decision(config, judgement, comparison, status, verdict.recommendation, len(looks), running)
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
        segments=_adjust_family(segment_results, config),
        looks=[*looks, *new_looks],
        n_needed=judgement.n_needed,
        days_left=days_left,
        cap=main.cap,
        experiment_status=experiment_status,
        analyzed_at=datetime.now(UTC),
    )
    return analysis, new_looks


def _estimates(config: ExperimentConfig, comparisons: Sequence[VariantComparison]) -> dict[str, float | None]:
    result: dict[str, float | None] = {"baseline": comparisons[0].baseline}
    for comparison in comparisons:
        result[comparison.variant] = comparison.treatment
        if result["baseline"] is None:
            result["baseline"] = comparison.baseline
    return {name: result.get(name) for name in config.variants}


def _compare_main(config: ExperimentConfig, data: MetricData, variant: int) -> VariantComparison:
    comparison, reduction = data.compare(variant, config.significance_level, config.alternative)
    return _to_variant(config, data, comparison, variant, "main", reduction)


def _to_variant(
    config: ExperimentConfig, data: MetricData, found: Comparison, variant: int, role: str, reduction: float | None
) -> VariantComparison:
    """Join the frequentist comparison, the Bayesian one beside it, and notes."""
    metric = data.metric
    extra: dict[str, Any] = {}
    notes = []
    if len(data.phases) > 1:
        notes.append(f"compared within {len(data.phases)} phases and averaged")
    posterior = None
    if metric.metric_type is MetricType.BINARY and len(data.phases) == 1 and found.n_baseline and found.n_treatment:
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
            welch = "none" if found.ranks.welch_p_value is None else f"{found.ranks.welch_p_value:.2g}"
            notes.append(
                f"Mann-Whitney (order, p = {found.p_value:.2g}) and Welch (means, p = {welch}) disagree: the "
                "distributions differ in shape; decide which question matters"
            )
    sized = metric.metric_type is not MetricType.RATIO and found.p_value is not None
    if sized and found.effect_size is None and len(data.phases) > 1:
        notes.append("no effect size: in one of the phases the values do not vary")
    if reduction is not None:
        notes.append(f"the covariate removed {reduction:.0%} of the variance")
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


def _adjust_family(items: Sequence[VariantComparison], config: ExperimentConfig) -> list[VariantComparison]:
    adjusted = adjust([item.p_value for item in items], config.correction)
    alpha = config.significance_level
    return [
        replace(item, p_adjusted=p, is_significant=p is not None and p < alpha)
        for item, p in zip(items, adjusted, strict=True)
    ]


def _compare_others(config: ExperimentConfig, data: Sequence[MetricData]) -> list[VariantComparison]:
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
    return _adjust_family(secondary, config) + guardrails


def _guard(config: ExperimentConfig, data: MetricData, variant: int) -> VariantComparison:
    """Compare a guardrail: significantly worse, shown not to be worse by the margin, or open."""
    alpha, metric = config.significance_level, data.metric
    found, reduction = data.compare(variant, alpha, "two-sided")
    result = _to_variant(config, data, found, variant, "guardrail", reduction)
    if found.effect is None or found.standard_error is None or found.p_value is None:
        # What cannot be compared is not shown to be safe, whichever way constant arms may differ.
        return replace(result, guardrail_status="open", notes=[*result.notes, f"not compared: {found.reason}"])
    worse = found.effect < 0 if metric.direction == "higher" else found.effect > 0
    p_margin = None
    if metric.margin is not None:
        pairs, _ = data.mean_pairs(variant)
        plain = compare_means(pairs, alpha=alpha)
        if plain.effect is not None and plain.standard_error is not None:
            from stats.comparison import stratified_effect

            df = (stratified_effect(pairs) or (0, 0, math.inf))[2]
            higher = metric.direction == "higher"
            p_margin = estimate_test(
                plain.effect,
                plain.standard_error,
                df,
                null=-metric.margin if higher else metric.margin,
                alpha=alpha / 2.0,
                alternative="greater" if higher else "less",
            ).p_value
    significant = found.p_value < alpha
    if metric.margin is None:
        status = "worse" if worse and significant else "safe"
    elif p_margin is not None and p_margin < alpha / 2.0:
        status = "safe"
    else:
        status = "worse" if worse and significant else "open"
    return replace(
        result,
        p_adjusted=found.p_value,
        is_significant=significant,
        guardrail_status=status,
        p_non_inferiority=p_margin,
    )


def _check_validity(
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
                blocked.append(f"sample ratio mismatch, {seen} subjects where {wanted} was planned (p = {p:.2g})")
    if conflicts:
        subjects = "subject has" if conflicts == 1 else "subjects have"
        blocked.append(f"{conflicts:,} {subjects} events of more than one variant")
    return (min(1.0, min(p_values) * len(p_values)) if p_values else None), blocked


@dataclass(slots=True)
class _Judgement:
    """What the stopping rule says of one comparison."""

    significant: bool
    finished: bool
    too_few: bool
    n_needed: int
    fraction: float | None = None
    stopped: str | None = None
    futile: bool = False
    success_chance: float | None = None
    boundary: float | None = None
    p_value: float | None = None
    ci_lower: float | None = None
    ci_upper: float | None = None
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


def _is_planned_end(config: ExperimentConfig, found: VariantComparison) -> bool:
    n1, n2 = found.n_baseline, found.n_treatment
    return config.planned_sample_size is not None and _is_finished(config, n1, n2, _information(config, n1, n2))


def _apply_stopping(
    config: ExperimentConfig, found: VariantComparison, looks: Sequence[Look], running: bool
) -> tuple[VariantComparison, _Judgement]:
    n1, n2 = found.n_baseline, found.n_treatment
    past = [look for look in looks if look.variant == found.variant]
    fraction = _information(config, n1, n2)
    needed = config.min_sample_size if config.stopping == "always_valid" else config.needed_sample_size
    result = _Judgement(
        significant=False,
        finished=config.stopping == "always_valid" or _is_finished(config, n1, n2, fraction),
        too_few=min(n1, n2) < config.min_sample_size and not (config.stopping != "always_valid" and
                                                              _is_finished(config, n1, n2, fraction)),
        n_needed=needed,
        fraction=None if config.stopping == "always_valid" else fraction,
        p_value=found.p_value,
        ci_lower=found.ci_lower,
        ci_upper=found.ci_upper,
    )  # fmt: skip
    if found.p_value is None or found.effect is None or found.z is None:
        return found, result
    comparisons = len(config.variants) - 1
    alpha = config.significance_level / comparisons
    se = found.standard_error or (abs(found.effect / found.z) if found.z and found.effect else None)
    if se is None or se <= 0.0:
        return found, result
    sequence, z_sequence = (
        confidence_sequence(
            estimate,
            se,
            n1 + n2,
            alpha=alpha,
            tuned_for=2 * (config.planned_sample_size or 2500),
            alternative=config.alternative,
        )
        for estimate in (found.effect, found.z * se)
    )
    if config.stopping == "group_sequential":
        _judge_group_sequential(config, found, result, past, alpha, se, running)
    elif config.stopping == "always_valid":
        earlier = min([look.p_value for look in past], default=1.0)
        p = min(z_sequence.p_value, earlier)
        result.p_value = result.sequential_p = min(1.0, p * comparisons)
        result.sequential_lower, result.sequential_upper = sequence.ci_lower, sequence.ci_upper
        result.ci_lower, result.ci_upper = sequence.ci_lower, sequence.ci_upper
        wanted = config.alternative == "two-sided" or (found.z > 0) == (config.alternative == "greater")
        result.significant = p <= alpha and wanted
        if result.significant:
            good = (found.z > 0) == (config.direction == "higher")
            result.stopped = "success" if good else "harm"
        result.boundary = z_sequence.half_width / se
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


def _judge_futility(config: ExperimentConfig, found: VariantComparison, result: _Judgement, fraction: float) -> None:
    if not config.futility or config.planned_sample_size is None or found.z is None or result.finished:
        return
    if config.alternative == ("less" if config.direction == "higher" else "greater"):
        return  # the test looks for harm: there is no success to be had
    result.success_chance = futility_power(
        found.z,
        min(fraction, 1.0),
        alpha=config.significance_level,
        power=config.power,
        alternative=config.alternative,
        direction=config.direction,
    )
    result.futile = result.success_chance is not None and result.success_chance < FUTILITY_POWER


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
    result: _Judgement,
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
        _judge_futility(config, found, result, result.fraction)
    reach = (result.boundary if result.boundary is not None else 8.5) * se
    result.sequential_lower, result.sequential_upper = found.effect - reach, found.effect + reach
    if config.alternative == "greater":
        result.sequential_upper = None
    elif config.alternative == "less":
        result.sequential_lower = None
    if not (result.finished and len(fractions) == 1):
        # The repeated interval belongs to the boundary; after a single, final look the usual one is exact.
        result.ci_lower, result.ci_upper = result.sequential_lower, result.sequential_upper
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
    result: _Judgement,
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


def _leading(config: ExperimentConfig, judged: Sequence[tuple[VariantComparison, _Judgement]]) -> int:
    """Return the treatment that does best in the main metric; without data, the first."""
    sign = 1.0 if config.direction == "higher" else -1.0
    scores = [sign * item.effect if item.effect is not None else -math.inf for item, _ in judged]
    return max(range(len(scores)), key=lambda index: (judged[index][0].p_value is not None, scores[index]))


def _days_left(
    judgement: _Judgement, n_subjects: Sequence[int], first_at: datetime | None, last_at: datetime | None
) -> float | None:
    """Days until the smallest variant has what it needs, at the rate observed so far."""
    if judgement.finished or first_at is None or last_at is None:
        return None
    elapsed = (last_at - first_at).total_seconds() / 86_400.0
    smallest = min(n_subjects)
    if elapsed < 1.0 / 24.0 or smallest < FEW_PER_SIDE:  # an hour: a shorter history says nothing of a rate
        return None
    return max(0.0, (judgement.n_needed - smallest) / (smallest / elapsed))


def _warnings(
    config: ExperimentConfig,
    main: MetricData,
    found: VariantComparison,
    looks: Sequence[Look],
    n_assigned: Sequence[int],
    n_subjects: Sequence[int],
    judgement: _Judgement,
) -> list[str]:
    result = list(found.notes)
    significant = found.p_value is not None and found.p_value < config.significance_level
    if significant and found.relative_effect is not None and abs(found.relative_effect) >= TWYMAN_LIFT:
        result.append(f"Twyman's law: a lift of {found.relative_effect:+.0%} is improbably large; look for a bug first")
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


def _stopping_decision(
    config: ExperimentConfig,
    judgement: _Judgement,
    found: VariantComparison,
    status: str,
    recommendation: str,
    n_looks: int,
    running: bool,
) -> StoppingDecision:
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
    )


def daily_points(
    config: ExperimentConfig, index: int, variant: int, rows: Sequence[tuple[int, int, int, JointStatistics]]
) -> list[DailyPoint]:
    """Cumulate daily statistics (day, phase, variant, statistics) into one comparison per day."""
    metric, result = config.metrics[index], []
    cumulated: dict[tuple[int, int], JointStatistics] = {}
    by_day: dict[int, list[tuple[int, int, JointStatistics]]] = {}
    for day, phase, which, statistics in rows:
        by_day.setdefault(day, []).append((phase, which, statistics))
    empty = MeanStatistics(n=0, mean=0.0, deviations=0.0)
    for day in sorted(by_day):
        for phase, which, statistics in by_day[day]:
            key = (phase, which)
            cumulated[key] = cumulated[key] + statistics if key in cumulated else statistics
        arms = {
            key: (ratio_statistics(arm) if metric.metric_type is MetricType.RATIO else arm.y)
            for key, arm in cumulated.items()
            if metric.metric_type is not MetricType.RATIO or arm.x_mean != 0.0
        }
        pairs = [(arms.get((p, 0), empty), arms.get((p, variant), empty)) for p in sorted({p for p, _ in cumulated})]
        found = compare_means(pairs, alpha=config.significance_level)
        lower = upper = None
        if found.effect is not None and found.standard_error is not None:
            sequence = confidence_sequence(
                found.effect,
                found.standard_error,
                found.n_baseline + found.n_treatment,
                alpha=config.significance_level,
                tuned_for=2 * (config.planned_sample_size or 2500),
            )
            lower, upper = sequence.ci_lower, sequence.ci_upper
        result.append(
            DailyPoint(
                day=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day),
                n_baseline=found.n_baseline,
                n_treatment=found.n_treatment,
                baseline=found.baseline,
                treatment=found.treatment,
                effect=found.effect,
                ci_lower=found.ci_lower,
                ci_upper=found.ci_upper,
                sequential_lower=lower,
                sequential_upper=upper,
            )
        )
    return result


# -- simulation --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """What a design does over many invented tests.

    Attributes
    ----------
    n_simulations : int
    effect : float
        Injected, absolute; 0 is an A/A test.
    significant_rate : float
        Share of tests with a significant result: false positives (A/A) or power.
    success_rate, harm_rate, futile_rate : float
    coverage : float or None
        Share of final intervals that contain the injected effect.
    mean_subjects : float
        Per variant, when the test ended.
    stopped_early_rate : float
    n_per_variant : int
    n_looks : int
    decisions : dict
        Decision -> share.
    estimates : list of float
        The effect at the end of every test.
    """

    n_simulations: int
    effect: float
    significant_rate: float
    success_rate: float
    harm_rate: float
    futile_rate: float
    coverage: float | None
    mean_subjects: float
    stopped_early_rate: float
    n_per_variant: int
    n_looks: int
    decisions: dict[str, float]
    estimates: list[float]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


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
        Of the invented data; the design's, or 0.5 / 5 / 0 and 1, by default.
    stop_for_futility : bool
        Whether a futile look ends the test; the rule is non-binding.
    seed : int or None
    progress : bool
        Show a progress bar.

    Returns
    -------
    SimulationResult
    """
    if n_simulations < 1 or n_looks < 1:
        raise InvalidValueError(f"n_simulations and n_looks must be 1 or more, got {n_simulations} and {n_looks}")
    plan = replace(config, secondary_metrics=(), guardrails=())  # only the main metric is invented
    if plan.treatments is not None:
        plan = replace(plan, treatments=None, traffic_split=0.5)
    rng = np.random.default_rng(seed)
    n = plan.needed_sample_size if n_per_variant is None else int(n_per_variant)
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
                plan, [data], assigned={1: [edge, edge]}, shares={1: None}, looks=looks, running=not last
            )
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
        always = plan.stopping == "always_valid"
        low = analysis.sequential_ci_lower if always else analysis.ci_lower
        high = analysis.sequential_ci_upper if always else analysis.ci_upper
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
    spread = sd if sd is not None else config.baseline_sd if config.baseline_sd is not None else 1.0
    if kind is MetricType.BINARY and not (0.0 <= centre <= 1.0 and 0.0 <= centre + effect <= 1.0):
        raise InvalidValueError(f"rates {centre!r} and {centre + effect!r} must lie in [0, 1]")
    if kind is MetricType.COUNT and not (centre >= 0.0 and centre + effect >= 0.0):
        raise InvalidValueError(f"means {centre!r} and {centre + effect!r} must be 0 or more")

    def draw(variant: int, n: int) -> Any:
        mean = centre + effect * variant
        if kind is MetricType.BINARY:
            return (rng.random(n) < mean).astype(np.float64)
        if kind is MetricType.COUNT:
            return rng.poisson(mean, n).astype(np.float64)
        if kind is MetricType.RATIO:
            below = 1.0 + rng.poisson(4.0, n)
            return np.column_stack([mean * below + rng.normal(0.0, spread, n), below])
        return rng.normal(mean, spread, n)

    return draw
