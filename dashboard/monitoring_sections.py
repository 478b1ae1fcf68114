"""What two sections of the Monitoring tab draw: a version's metrics over time, and the drift of its features."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import formats
from dashboard.monitoring_compare import compare_form
from dashboard.monitoring_rules import CHART_RULE_TEXT, CHART_RULES, DEFAULT_RULES
from dashboard.monitoring_stored import draw_references
from dashboard.monitoring_tab import (
    BUCKET_DAYS,
    BUCKETS,
    CHARTS,
    HEAT_MAP_FEATURES,
    MAX_SEGMENTS,
    ROLLUP_BUCKETS,
    TAB,
    Choices,
    MonitoringView,
    read_history,
    series_id,
    series_name,
)

if TYPE_CHECKING:
    import pandas as pd

    from model_monitoring import BaselineRecord, MetricSummary, ModelMonitoring, PerformanceDrift

__all__ = [
    "baseline_text",
    "baselines_frame",
    "draw_features",
    "draw_metrics",
    "draw_performance",
    "rollup_frame",
    "segment_frames",
]

METHOD_TEXT = {"individuals": "individuals chart", "laney": "Laney p′ chart", "p": "p chart"}


def draw_metrics(view: MonitoringView) -> None:
    """Draw the table of a version's metrics."""
    config: dict[str, Any] = {
        "Metric": st.column_config.TextColumn(width="medium"),
        "Course": st.column_config.LineChartColumn(help="The last 60 points"),
        **{
            name: st.column_config.TextColumn(alignment="right")
            for name in ("Last", "Lower limit", "Centre", "Upper limit")
        },
        "Trend a day": st.column_config.TextColumn(
            alignment="right", help="Slope in the metric's unit a day; a dash unless two trend tests agree"
        ),
        "Why": st.column_config.TextColumn(width="large"),
    }
    ui.table(
        view.metrics, view.metric_ids, key=f"{TAB}.metrics", name=f"{TAB}.metric", alt="Metrics of this version",
        columns=config, multiple=False, rows_shown=8,
    )  # fmt: skip


def draw_performance(app: ui.App, view: MonitoringView, choices: Choices) -> None:
    """Draw what stands below the table of metrics: one chart of the chosen one, its violations and its baselines."""
    if view.metric is None:
        ui.note("No metric was logged yet: log one from a notebook, or with “Log values” above.")
        return
    drift = view.metric.drift
    chosen = series_id(view.metric.metric, view.metric.segment)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        _box("Metric", view.metric_ids, chosen, f"{TAB}.metric", series_name)
        kind = st.segmented_control(
            "Chart", CHARTS, required=True, **ui.in_url(f"{TAB}.chart", default=CHARTS[0], options=CHARTS)
        )
    if kind == CHARTS[0]:
        st.pills(
            "Rules of the chart", CHART_RULES, selection_mode="multi", format_func=lambda rule: CHART_RULE_TEXT[rule],
            help="The verdict above is by 3 sigma, EWMA and CUSUM; more rules see more, and cry wolf more often",
            **ui.in_url(f"{TAB}.rules_of", default=list(DEFAULT_RULES), options=list(CHART_RULES), many=True),
        )  # fmt: skip
    if drift.status == "learning":
        ui.note(" ".join(map(_sentence, drift.reasons)))
    elif drift.baseline is not None:
        ui.note(baseline_text(drift))
    with ui.part("Chart"):
        if kind == "Roll-up":
            _draw_rollup(app, choices, view.metric)
        elif kind == "By segment":
            _draw_by_segment(app, choices, view)
        else:
            from charts.monitoring import plot_control_chart, plot_cusum, plot_ewma, plot_trend

            draw = {"Control chart": plot_control_chart, "EWMA": plot_ewma, "CUSUM": plot_cusum, "Trend": plot_trend}
            ui.chart(app, draw[kind or CHARTS[0]](drift), key=f"{TAB}.chart.{kind}")
    if kind in CHARTS[:3]:
        with ui.part("Violations"):
            _draw_violations(view)
    with ui.part("Baselines"):
        _draw_baselines(app, choices, view.metric)


def _draw_violations(view: MonitoringView) -> None:
    if len(view.violations):
        shown = formats.plural(len(view.violations), "point violates a rule", "points violate a rule")
        st.markdown(f"**{shown}**, the newest first")
        st.dataframe(
            view.violations, hide_index=True, placeholder=formats.DASH, key=f"{TAB}.violations", alt="Violations",
            column_config={
                "Time (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
                "Value": st.column_config.NumberColumn(format=formats.column_format(view.violations["Value"].tolist())),
                "Sigmas": st.column_config.NumberColumn(format="%+.2f", help="Distance from the centre"),
                "Direction": st.column_config.TextColumn(width="small"),
                "Rules": st.column_config.TextColumn(width="large"),
            },
        )  # fmt: skip


# -- roll-ups, segments, baselines -------------------------------------------------------------------


def rollup_frame(
    monitoring: ModelMonitoring, choices: Choices, metric: str, segment: str | None, bucket: str, until: datetime
) -> pd.DataFrame:
    """Return means per bucket of a series, of the newest 400 buckets at most."""
    start = until - timedelta(days=ROLLUP_BUCKETS * BUCKET_DAYS[bucket])
    return monitoring.performance_history(
        choices.name, choices.version, metric, segment=segment, bucket=bucket, start=start
    )


def segment_frames(
    monitoring: ModelMonitoring, choices: Choices, view: MonitoringView, metric: str, bucket: str, until: datetime
) -> dict[str, pd.DataFrame]:
    """Return the roll-up of each series of a metric, the whole traffic first, then the first segments by name."""
    segments = sorted({m.segment or "" for m in view.report.metrics if m.metric == metric})[:MAX_SEGMENTS]
    return {
        name or "all traffic": rollup_frame(monitoring, choices, metric, name or None, bucket, until)
        for name in segments
    }


def _bucket_control() -> str:
    return str(
        st.segmented_control(
            "Per", BUCKETS, required=True, **ui.in_url(f"{TAB}.rollup_per", default="day", options=BUCKETS)
        )
        or "day"
    )


def _draw_rollup(app: ui.App, choices: Choices, metric: MetricSummary) -> None:
    bucket = _bucket_control()
    until = metric.last_at or metric.drift.end_at or datetime.now(UTC)
    frame = rollup_frame(app.monitoring, choices, metric.metric, metric.segment, bucket, until)
    ui.note(
        f"Means per {bucket}, weighted by the predictions behind each point where all are known; "
        f"{formats.plural(int((frame['n_points'] > 0).sum()), bucket)} with data."
    )
    from charts.monitoring_series import plot_rollup

    name = series_name(series_id(metric.metric, metric.segment))
    ui.chart(app, plot_rollup(frame, name, bucket), key=f"{TAB}.chart.rollup")
    ui.csv_download(lambda: frame, "roll-up.csv", key=f"{TAB}.rollup_csv")


def _draw_by_segment(app: ui.App, choices: Choices, view: MonitoringView) -> None:
    assert view.metric is not None
    bucket = _bucket_control()
    metric = view.metric.metric
    until = view.metric.last_at or view.metric.drift.end_at or datetime.now(UTC)
    frames = segment_frames(app.monitoring, choices, view, metric, bucket, until)
    every = {m.segment for m in view.report.metrics if m.metric == metric and m.segment}
    if not every:
        ui.note('No segment is logged for this metric: log_performance(..., segment="country=CH") makes one.')
    elif len(every) + 1 > len(frames):
        ui.note(f"{len(frames)} of {formats.plural(len(every), 'segment')} are shown.")
    from charts.monitoring_series import plot_segments

    ui.chart(app, plot_segments(metric, frames), key=f"{TAB}.chart.segments")


def baselines_frame(history: Sequence[BaselineRecord]) -> pd.DataFrame:
    """Return a row a baseline that a metric has had, the one that holds first."""
    import pandas as pd

    kept = list(history)[::-1]
    return pd.DataFrame(
        {
            "Holds": ["✓ now" if position == 0 else "" for position in range(len(kept))],
            "Frozen (UTC)": pd.to_datetime(pd.Series([record.created_at for record in kept]), utc=True),
            "By": ["hand" if record.source == "explicit" else "the first points" for record in kept],
            "From (UTC)": pd.to_datetime([record.start_at for record in kept], utc=True),
            "Until (UTC)": pd.to_datetime([record.end_at for record in kept], utc=True),
            "Points": pd.Series([record.n for record in kept], dtype="int64"),
            "Centre": [formats.number(record.center) for record in kept],
            "Sigma": [formats.number(record.sigma) for record in kept],
            "Limits": [METHOD_TEXT.get(record.method, record.method) for record in kept],
        }
    )


def _draw_baselines(app: ui.App, choices: Choices, metric: MetricSummary) -> None:
    """Draw what the limits came from over time: a new baseline is an act of somebody, and is recorded."""
    history = app.monitoring.baseline_history(choices.name, choices.version, metric.metric, segment=metric.segment)
    if not history:
        return
    st.markdown(f"**{formats.plural(len(history), 'baseline')}**; a new one is set with “Set baseline”")
    moments = ("Frozen (UTC)", "From (UTC)", "Until (UTC)")
    st.dataframe(
        baselines_frame(history), hide_index=True, placeholder=formats.DASH, key=f"{TAB}.baselines",
        alt="Baselines of the metric",
        column_config={
            **{
                name: st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC") for name in moments
            },
            "Centre": st.column_config.TextColumn(alignment="right"),
            "Sigma": st.column_config.TextColumn(alignment="right"),
        },
    )  # fmt: skip


def _sentence(text: str) -> str:
    plain = formats.markdown(text)
    return f"{plain[:1].upper()}{plain[1:]}."


def baseline_text(drift: PerformanceDrift) -> str:
    """Return what the limits come from, in one sentence."""
    baseline = drift.baseline
    assert baseline is not None
    how = METHOD_TEXT.get(baseline.method, "chart")
    frozen = "set by hand" if baseline.source == "explicit" else "the first points before the window"
    if baseline.created_at is None:
        frozen += ", not frozen yet (fewer than 30)"
    change = f" The level changed around {formats.instant(drift.change_point)}." if drift.change_point else ""
    return (
        f"Baseline: {formats.plural(baseline.n, 'point')} from {baseline.start_at:%Y-%m-%d} to "
        f"{baseline.end_at:%Y-%m-%d} ({frozen}); centre {formats.number(baseline.center)}, sigma "
        f"{formats.number(baseline.sigma)}, {how}.{change}"
    )


def _box(label: str, options: Sequence[str], chosen: str, name: str, words: Any = str) -> None:
    """Draw a select box for what is also selected by clicking in a table; both write the same name of the URL."""
    key = f"{name}.box"
    st.session_state[key] = chosen
    st.selectbox(
        label, options, key=key, format_func=words, width=280,
        on_change=lambda: ui.select(name, [st.session_state[key]]),
    )  # fmt: skip


def draw_features(app: ui.App, view: MonitoringView, choices: Choices) -> None:
    """Draw the features of a version, its stored references, and the comparison of two tables."""
    from dashboard import monitoring_details as details

    if view.features_error is not None:
        ui.show_error(view.features_error, "features")
        ui.note(
            "The metrics are judged as usual. A new reference, set from the same data, replaces what cannot be read."
        )
    else:
        ui.note(view.reference)
    if view.feature is not None:
        _draw_judged(app, view, choices)
    elif view.report.data_drift is None:
        details.reference_button(app, choices.name, choices.version, key=f"{TAB}.reference.first", primary=True)
    with ui.part("References"):
        draw_references(app, choices.name, choices.version)
    with ui.part("Compare two tables"):
        compare_form(app)


def _draw_judged(app: ui.App, view: MonitoringView, choices: Choices) -> None:
    """Draw the table of features, the distributions of one, and the heat map."""
    config: dict[str, Any] = {
        "Feature": st.column_config.TextColumn(width="medium"),
        "Verdict": st.column_config.TextColumn(width="small"),
        "Reference": st.column_config.BarChartColumn(y_min=0, help="Distribution in the reference"),
        "Current": st.column_config.BarChartColumn(y_min=0, help="Distribution in the window, on the same bins"),
        "PSI": st.column_config.NumberColumn(format="%.3f", help="Population stability index"),
        "Threshold": st.column_config.NumberColumn(format="%.3f", help="What the PSI must reach at these sizes"),
        "Distance": st.column_config.NumberColumn(
            format="%.3f", help="Kolmogorov-Smirnov distance for numbers, largest change of a share for categories"
        ),
        "p": st.column_config.TextColumn(
            alignment="right", help="Of the test of the same distribution, adjusted for the number of features"
        ),
        "Rows": st.column_config.NumberColumn(format="localized"),
        "Missing": st.column_config.NumberColumn(format="%.1f %%", help="Share of rows without a value"),
        "Reason": st.column_config.TextColumn(width="large"),
    }
    drift = view.report.data_drift
    assert drift is not None
    assert view.feature is not None
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(
            f"**{formats.count_of(len(drift.drifted_features), len(drift.features), 'feature')} drifted**"
            if drift.drifted_features
            else f"**{formats.plural(len(drift.features), 'feature')}, none drifted**",
            width="stretch",
        )
        ui.csv_download(drift.to_frame, "features.csv", key=f"{TAB}.features_csv")
    ui.table(
        view.features, view.feature_ids, key=f"{TAB}.features", name=f"{TAB}.feature", alt="Features",
        columns=config, multiple=False, rows_shown=10,
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        _box("Feature", view.feature_ids, view.feature.feature, f"{TAB}.feature")
        bucket = st.segmented_control(
            "Windows of the heat map", BUCKETS, required=True,
            **ui.in_url(f"{TAB}.bucket", default="day", options=BUCKETS),
        )  # fmt: skip
    from charts.monitoring import plot_feature, plot_psi_heatmap

    with ui.part("Distributions"):
        ui.chart(app, plot_feature(view.feature), key=f"{TAB}.feature_chart")
    with ui.part("Drift over time"):
        shown = view.feature_ids[:HEAT_MAP_FEATURES]
        history = read_history(app.monitoring, choices.name, choices.version, choices.days, bucket or "day", shown)
        if history is not None:
            if len(shown) < len(view.feature_ids):
                ui.note(f"The {len(shown)} most drifted of {len(view.feature_ids):,} features; verdicts among these.")
            ui.chart(app, plot_psi_heatmap(history), key=f"{TAB}.heatmap")
