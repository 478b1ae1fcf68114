"""What the sections of one A/B test draw: results, segments, the course over time, distributions, the design."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import formats
from dashboard.ab_testing_tab import (
    CORRECTION_TEXT,
    OUTCOME_TEXT,
    SPENDING_TEXT,
    TAB,
    TestView,
    p_equals,
    p_text,
    points_text,
    remembered,
    results_frame,
)

if TYPE_CHECKING:
    import pandas as pd

    from ab_testing import Experiment, ExperimentAnalysis, Metric, SampleSizePlan

__all__ = [
    "chosen_segment",
    "design_facts",
    "draw_design",
    "draw_distribution",
    "draw_over_time",
    "draw_results",
    "draw_segments",
    "guardrail_sentences",
    "looks_frame",
    "phases_frame",
    "plan_of_design",
    "segment_analysis",
]

SCALES = ("Lift", "Difference")
OPEN_NOTE = "not shown to be safe: "  # begins the note of a guardrail that is open
MAX_SEGMENTS = 30  # of one attribute; the largest
NAME_WIDTH = 170  # pixels of a column of names; the numbers beside them matter more


def draw_results(app: ui.App, view: TestView) -> None:
    """Draw the table of comparisons, what the guardrails say, and the forest plot."""
    _draw_comparisons(view.results, key=f"{TAB}.results", alt="Results by metric and treatment")
    guardrails = guardrail_sentences(view.analysis)
    if guardrails:
        st.markdown(
            "  \n".join(f":{color}[:material/{icon}:] {formats.markdown(words)}" for icon, color, words in guardrails)
        )
    if all(item.effect is None for item in view.analysis.comparisons):
        ui.note("No effect can be computed yet: its figure appears here.")
        return
    scale = st.segmented_control(
        "Scale", SCALES, required=True, **ui.in_url(f"{TAB}.scale", default=SCALES[0], options=SCALES)
    )
    from charts.ab_testing import plot_forest

    ui.chart(app, plot_forest(view.analysis, relative=scale == "Lift"), key=f"{TAB}.forest.{scale}")


def guardrail_sentences(analysis: ExperimentAnalysis) -> list[tuple[str, str, str]]:
    """Return what every guardrail says, as (icon, colour, sentence); the sentence alone tells it."""
    looks = {"safe": ("verified_user", "green"), "worse": ("gpp_bad", "red"), "open": ("gpp_maybe", "orange")}
    words = {
        "safe": "is not worse",
        "worse": "is worse than the baseline",
        "open": "is not shown to be safe yet",
    }
    found = []
    for item in analysis.comparisons:
        if item.guardrail_status in looks:
            icon, color = looks[item.guardrail_status]
            margin = (
                "" if item.p_non_inferiority is None else f" (test of the margin, {p_equals(item.p_non_inferiority)})"
            )
            why = next((note for note in item.notes if note.startswith(OPEN_NOTE)), "").removeprefix(OPEN_NOTE)
            why = f": {why}" if why else ""
            sentence = f"Guardrail {item.metric}: {item.variant} {words[item.guardrail_status]}{margin}{why}."
            found.append((icon, color, sentence))
    return found


def _draw_comparisons(results: pd.DataFrame, *, key: str, alt: str) -> None:
    left = {"Metric", "Segment", "Role", "Variant", "Test", "Notes"}
    names = {"Metric", "Segment", "Variant"} & set(results.columns)  # what people named may be long
    one_look = "Right for one planned look; the verdict uses an interval that stays right over all looks"
    config: dict[str, Any] = {
        name: st.column_config.TextColumn(alignment="right", help=one_look if "interval" in name else None)
        for name in results.columns
        if name not in left
    }
    config |= {
        **{name: st.column_config.TextColumn(width=NAME_WIDTH) for name in names},
        "n": st.column_config.TextColumn(help="Subjects of baseline / treatment", alignment="right"),
        "Chance to be better": st.column_config.TextColumn(
            help="Bayesian, with flat priors; beside the verdict", alignment="right"
        ),
        "Notes": st.column_config.TextColumn(width="large"),
    }
    st.dataframe(results, hide_index=True, placeholder=formats.DASH, key=key, column_config=config, alt=alt)


# -- segments ----------------------------------------------------------------------------------------


def chosen_segment(attributes: Mapping[str, str]) -> str | None:
    """Return the attribute that the address names, else the first one that can be a segment."""
    segments = [name for name, use in attributes.items() if use == "segment"]
    named = (ui.selected(f"{TAB}.segment") or [""])[-1]
    return named if named in segments else next(iter(segments), None)


def draw_segments(app: ui.App, view: TestView, attributes: Mapping[str, str]) -> None:
    """Draw the main metric by the values of an attribute: table and forest plot, the whole test on top."""
    segments = [name for name, use in attributes.items() if use == "segment"]
    if not segments:
        ui.note(
            "No segment is known yet. Upload attributes (a column user_id and, for example, country) with "
            "“Upload events” above: text becomes segments."
        )
        return
    st.selectbox(
        "Segments by", segments, width=260, **ui.in_url(f"{TAB}.segment", default=segments[0], options=segments)
    )
    ui.note(
        "Exploratory: among many segments one differs by chance. The verdict comes from all subjects together; "
        "p is adjusted for the number of segments."
    )
    shown, n_hidden = segment_analysis(view.analysis)
    if n_hidden:
        ui.note(f"The {MAX_SEGMENTS} largest segments of {MAX_SEGMENTS + n_hidden:,} are shown.")
    rows = [*shown.comparisons, *shown.segments]
    frame = results_frame(rows, shown).drop(columns=["Metric", "Role"])
    frame.insert(0, "Segment", [item.segment or "All subjects" for item in rows])
    _draw_comparisons(frame, key=f"{TAB}.segments", alt="Results by segment")
    scale = st.segmented_control(
        "Scale", SCALES, required=True, **ui.in_url(f"{TAB}.scale", default=SCALES[0], options=SCALES)
    )
    from charts.ab_testing import plot_forest

    ui.chart(app, plot_forest(shown, relative=scale == "Lift"), key=f"{TAB}.segment_forest.{scale}")


def segment_analysis(analysis: ExperimentAnalysis) -> tuple[ExperimentAnalysis, int]:
    """Return the analysis with the main metric and its largest segments alone, and how many were left out."""
    main = [item for item in analysis.comparisons if item.role == "main"]
    sizes: dict[str, int] = {}
    for item in analysis.segments:
        name = item.segment or ""
        sizes[name] = max(sizes.get(name, 0), item.n_baseline + item.n_treatment)
    kept = set(sorted(sizes, key=lambda name: -sizes[name])[:MAX_SEGMENTS])
    segments = [item for item in analysis.segments if (item.segment or "") in kept]
    return replace(analysis, comparisons=main, segments=segments), len(sizes) - len(kept)


# -- over time, distribution -------------------------------------------------------------------------


def draw_over_time(app: ui.App, test: Experiment, analysis: ExperimentAnalysis) -> None:
    """Draw the effect by day with its confidence sequence, and the looks against the stopping boundary."""
    kinds = {metric.name: str(metric.metric_type) for metric in test.config.metrics}
    metrics = list(kinds)
    treatments = list(test.config.variants[1:])
    metric, variant = metrics[0], analysis.variant if analysis.variant in treatments else treatments[0]
    if len(metrics) > 1 or len(treatments) > 1:
        with st.container(horizontal=True, gap="small"):
            if len(metrics) > 1:
                metric = st.selectbox(
                    "Metric", metrics, width=260, **ui.in_url(f"{TAB}.metric", default=metric, options=metrics)
                )
            if len(treatments) > 1:
                variant = st.selectbox(
                    "Treatment", treatments, width=260,
                    **ui.in_url(f"{TAB}.variant", default=variant, options=treatments),
                )  # fmt: skip
    points = remembered(
        ("daily", test.exp_id, metric, variant),
        lambda: app.testing.daily_series(test.exp_id, metric=metric, variant=variant),
    )
    if all(point.effect is None for point in points):
        ui.note("No day has two subjects with data in both variants yet: the course of the effect appears here.")
        return
    from charts.ab_testing import plot_cumulative_effect, plot_looks

    figure = plot_cumulative_effect(points, metric=metric, is_rate=kinds[metric] == "binary")
    ui.chart(app, figure, key=f"{TAB}.cumulative")
    ui.note(
        "The band is a confidence sequence: it may be read every day. The dotted line is the interval of one planned "
        "look; stopping when it leaves zero would promise far fewer false alarms than it keeps."
    )
    if any(look.variant == variant for look in analysis.looks):
        ui.chart(app, plot_looks(replace(analysis, variant=variant)), key=f"{TAB}.looks_chart")
    frame = looks_frame(analysis)
    if len(frame):
        st.markdown(f"**{formats.plural(len(frame), 'look')}**, the newest first")
        st.dataframe(
            frame, hide_index=True, placeholder=formats.DASH, key=f"{TAB}.looks", alt="Stored looks",
            column_config={
                "Time (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
                "Information": st.column_config.NumberColumn(format="%.1f %%", help="Share of the plan"),
                "z": st.column_config.NumberColumn(format="%+.2f"),
                "Boundary": st.column_config.NumberColumn(format="%.2f", help="What |z| needed at this look"),
                "Subjects": st.column_config.NumberColumn(format="localized"),
            },
        )  # fmt: skip


def looks_frame(analysis: ExperimentAnalysis) -> pd.DataFrame:
    """Return a row a stored look, the newest first."""
    import pandas as pd

    looks = [*analysis.looks][::-1]
    return pd.DataFrame(
        {
            "Look": [look.number for look in looks],
            "Time (UTC)": pd.to_datetime([look.at for look in looks], utc=True),
            "Treatment": [look.variant for look in looks],
            "Subjects": [look.n_baseline + look.n_treatment for look in looks],
            "Information": pd.Series(
                [None if look.information_fraction is None else 100 * look.information_fraction for look in looks],
                dtype="float64",
            ),
            "z": pd.Series([look.z for look in looks], dtype="float64"),
            "Boundary": pd.Series([look.boundary for look in looks], dtype="float64"),
            "p": [p_text(look.p_value) for look in looks],
            "Outcome": [OUTCOME_TEXT.get(look.outcome, look.outcome) for look in looks],
        }
    )


def draw_distribution(app: ui.App, test: Experiment) -> None:
    """Draw how the subjects' values of a metric are distributed."""
    metrics = [metric.name for metric in test.config.metrics]
    metric = metrics[0]
    if len(metrics) > 1:
        metric = st.selectbox(
            "Metric", metrics, width=260, **ui.in_url(f"{TAB}.metric", default=metric, options=metrics)
        )
    from charts.ab_testing import plot_distribution

    frame = remembered(
        ("distribution", test.exp_id, metric), lambda: app.testing.distribution(test.exp_id, metric=metric)
    )
    if not len(frame):
        ui.note("No subject has a value of this metric yet: their distribution appears here.")
        return
    ui.chart(app, plot_distribution(frame, metric=metric), key=f"{TAB}.distribution")


# -- design ------------------------------------------------------------------------------------------


def draw_design(app: ui.App, test: Experiment) -> None:
    """Draw the design in words, its phases, and the power that its plan promises."""
    left, right = st.columns(2, gap="medium")
    rows = design_facts(test)
    half = -(-len(rows) // 2)
    with left:
        ui.facts({label: formats.markdown(value) for label, value in rows[:half]})
    with right:
        ui.facts({label: formats.markdown(value) for label, value in rows[half:]})
    if len(test.phases) > 1:
        st.markdown(f"**{formats.plural(len(test.phases), 'phase')}**: results are compared within each, never pooled")
        st.dataframe(phases_frame(test), hide_index=True, placeholder=formats.DASH, key=f"{TAB}.phases", alt="Phases")
    plan = plan_of_design(test)
    if plan is None:
        ui.note("No power curve: the design names no smallest effect that matters, or no expected baseline.")
        return
    from charts.ab_testing import plot_power_curve

    ui.chart(app, plot_power_curve(plan), key=f"{TAB}.design_power")


def plan_of_design(test: Experiment) -> SampleSizePlan | None:
    """Return the plan behind a design, for its power curve; None when too little of it is known."""
    from ab_testing import calculate_sample_size

    config = test.config
    if config.minimum_detectable_effect is None:
        return None
    share = min(config.shares[1:])
    if not 0.0 < share < 1.0 or not config.shares[0]:
        return None
    try:
        return calculate_sample_size(
            config.metric_type,
            minimum_detectable_effect=config.minimum_detectable_effect * (1 if config.direction == "higher" else -1),
            baseline_value=config.baseline_value,
            baseline_sd=config.baseline_sd,
            power=config.power,
            significance_level=config.significance_level,
            alternative=config.alternative,
            traffic_split=share / (share + config.shares[0]),
            n_treatments=len(config.variants) - 1,
            stopping="group_sequential" if config.stopping == "group_sequential" else "fixed_horizon",
        )
    except ValueError:  # a baseline that was left out, or an effect in the direction that the test does not look for
        return None


def design_facts(test: Experiment) -> list[tuple[str, str]]:
    """Return the design in labelled words; what was not asked for is left out."""
    config = test.config
    shares = _shares_text(dict(zip(config.variants, config.shares, strict=True)))
    better = "higher is better" if config.direction == "higher" else "lower is better"
    rule = str(config.stopping).replace("_", " ")
    if config.stopping == "group_sequential":
        rule += f", {SPENDING_TEXT.get(config.spending, config.spending)} spending"
    facts = [
        ("Metric", f"{config.metric_name} ({config.metric_type}, {config.aggregation} per subject, {better})"),
        ("Split", shares),
        ("Stopping", rule),
        ("Significance level", f"{formats.percent(config.significance_level)}, {config.alternative}"),
        ("Subjects per variant", f"at least {config.min_sample_size:,}"),
    ]
    if config.planned_sample_size is not None:
        facts.append(("Planned per variant", f"{config.planned_sample_size:,} for a power of {config.power:g}"))
    if config.minimum_detectable_effect is not None:
        number = points_text if config.unit == "%" else formats.number
        facts.append(("Smallest effect that matters", number(config.minimum_detectable_effect)))
    if len(config.variants) > 2:
        facts.append(("Correction for several treatments", CORRECTION_TEXT.get(config.correction, config.correction)))
    if config.winsorize_quantile is not None:
        facts.append(("Values are capped at", f"the {formats.percent(config.winsorize_quantile)} quantile"))
    if config.coverage < 1:
        facts.append(("Coverage", formats.percent(config.coverage)))
    if config.namespace:
        facts.append(("Namespace", f"{config.namespace}, {formats.percent(config.namespace_share)} of it"))
    for label, metrics in (("Secondary metrics", config.secondary_metrics), ("Guardrails", config.guardrails)):
        if metrics:
            facts.append((label, ", ".join(_metric_words(metric) for metric in metrics)))
    for label, value in (
        ("Covariate (CUPED)", config.covariate), ("Hypothesis", config.hypothesis), ("Description", config.description),
        ("Owner", config.owner),
    ):  # fmt: skip
        if value:
            facts.append((label, value))
    facts.append(("Created", formats.instant(test.created_at)))
    if test.ended_at is not None:
        facts.append(("Ended", formats.instant(test.ended_at)))
    return facts


def _shares_text(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {formats.percent(round(share, 9))}" for name, share in shares.items())


def _metric_words(metric: Any) -> str:
    found: Metric = metric
    margin = f", at most {formats.number(found.margin)} worse" if found.margin is not None else ""
    return f"{found.name} ({found.metric_type}{margin})"


def phases_frame(test: Experiment) -> pd.DataFrame:
    """Return a row a phase."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "Phase": phase["number"],
                "Began": formats.instant(phase["started_at"]),
                "Split": _shares_text(phase["shares"]),
                "Coverage": formats.percent(phase["coverage"]),
                "Reason": phase["reason"] or "",
            }
            for phase in test.phases
        ]
    )
