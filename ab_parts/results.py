"""What A/B tests hand out: stored tests, looks, comparisons, the analysis, for people and machines."""

from __future__ import annotations

import html
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ab_parts.design import ExperimentConfig
from ab_parts.record import Record
from lazy_dataclass import dataclass
from stats.formatting import format_number, format_percent

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = [
    "DailyPoint",
    "DeletedExperiment",
    "Experiment",
    "ExperimentAnalysis",
    "Exposure",
    "Look",
    "SegmentResult",
    "SimulationResult",
    "StoppingDecision",
    "VariantComparison",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment(Record):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Look(Record):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingDecision(Record):
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
    futility_boundary : float or None
        Under beta spending: z in the wanted direction at or below it is futile.
    method : str
        The rule in words.
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
    futility_boundary: float | None = None
    method: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantComparison(Record):
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


SegmentResult = VariantComparison


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentAnalysis(Record):
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
        return (
            f"<div><h4>{html.escape(self.name)}: {html.escape(self.decision.replace('_', ' '))}</h4>"
            f"<p>{html.escape(self.recommendation)}</p>{self.details_html()}</div>"
        )

    def details_html(self) -> str:
        """Return what stands behind the verdict: the stopping rule, the warnings, the table of comparisons."""
        head = "".join(
            f"<th style='text-align:left'>{html.escape(title)}</th>"
            for title in ("Metric", "Variant", "n", "Baseline", "Treatment", "Effect", "Interval", "Lift", "p", "Test")
        )
        body = "".join(f"<tr>{_html_cells(comparison)}</tr>" for comparison in (*self.comparisons, *self.segments))
        warnings = "".join(f"<li>{html.escape(text)}</li>" for text in self.warnings)
        return (
            f"<p>Stopping: {html.escape(self.stopping.method)}.</p>{f'<ul>{warnings}</ul>' if warnings else ''}"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def _html_cells(comparison: VariantComparison) -> str:
    unit = "%" if comparison.metric_type == "binary" else ""

    def number(value: float | None, what: str = "") -> str:
        return "–" if value is None else format_number(value, what)

    label = comparison.metric if comparison.segment is None else f"{comparison.metric} [{comparison.segment}]"
    lower, upper = number(comparison.ci_lower, unit), number(comparison.ci_upper, unit)
    lift = "–" if comparison.relative_effect is None else format_percent(comparison.relative_effect, signed=True)
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
class Exposure(Record):
    """Who was assigned to what, without a result: see `ABTestingFramework.check_exposure`.

    Attributes
    ----------
    exp_id : str
    n_assigned : dict
        Subjects by variant, over all phases.
    srm_p_value : float or None
        Of the planned split; None where it cannot be tested.
    n_conflicts : int
        Subjects with events of a second variant.
    problems : list of str
        Why results may not be used: empty when they may.
    """

    exp_id: str
    n_assigned: dict[str, int]
    srm_p_value: float | None
    n_conflicts: int
    problems: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyPoint(Record):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedExperiment(Record):
    """What the deletion of a test took away.

    Attributes
    ----------
    exp_id, name : str
    n_assignments, n_events : int
        Rows that are gone.
    database_bytes : int
        Given back to the disk; 0 on PostgreSQL, whose server does that by itself.
    """

    exp_id: str
    name: str
    n_assignments: int
    n_events: int
    database_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult(Record):
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
