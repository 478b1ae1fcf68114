"""The Monitoring tab: choose a model in production, read its verdict, look at its control charts, drift and alerts.

`build_view` reads one report and turns it into tables and sentences; `render` draws it. What is drawn below the verdict
is one of four sections: performance and features are in `dashboard.monitoring_sections`, predictions in
`dashboard.monitoring_predictions`, alerts in `dashboard.monitoring_alerts`; what writes is in
`dashboard.monitoring_details`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import first_visit, formats
from dashboard.ab_testing_tab import p_text
from dashboard.monitoring_rules import CHART_RULE_TEXT, CHART_RULES, DEFAULT_RULES, rule_text
from db import NotFoundError, StateError

if TYPE_CHECKING:
    import pandas as pd

    from model_monitoring import (
        DataDrift,
        FeatureDrift,
        FeatureHistory,
        MetricSummary,
        ModelMonitoring,
        MonitoringReport,
        PerformanceDrift,
        Violation,
    )

__all__ = ["Choices", "MonitoringView", "build_view", "render"]

TAB = "monitoring"
WINDOWS = {"7 days": 7, "14 days": 14, "30 days": 30, "90 days": 90}
SECTIONS = ("Performance", "Features", "Predictions", "Alerts")
CHARTS = ("Control chart", "EWMA", "CUSUM", "Trend", "Roll-up", "By segment")
BUCKETS = ("hour", "day", "week", "month")
BUCKET_DAYS = {"hour": 1 / 24, "day": 1.0, "week": 7.0, "month": 30.0}
MAX_COMPARISONS = 1_200  # features times windows of a heat map: each costs .4 ms
HEAT_MAP_FEATURES = 20  # rows of a heat map: the most drifted features
ROLLUP_BUCKETS = 400  # of a roll-up; the newest
MAX_SEGMENTS = 8  # lines of one figure
MAX_VIOLATIONS = 200  # rows of the violations' table
MAX_HISTOGRAM_BARS = 30
_BETWEEN = "\x1f"  # parts of a series' id; no metric or segment can hold a control character

VERDICTS = {  # status of a report: icon, colour of the sentence
    "drift": (":material/error:", "red"),
    "ok": (":material/check_circle:", "green"),
    "learning": (":material/hourglass_top:", "orange"),
    "no_data": (":material/help:", "gray"),
}
STATUS_TEXT = {
    "drift": "✗ drift",
    "improved": "▲ improved",
    "in_control": "✓ in control",
    "learning": "… learning",
    "no_data": "– no data",
}
DIRECTION_TEXT = {"degradation": "▼ worse", "change": "◆ changed", "improvement": "▲ better"}  # the worst first
FEATURE_STATUS = {
    "insufficient_data": "too few rows",
    "constant": "constant",
    "all_null": "all missing",
    "missing": "column is gone",
    "new": "new column",
    "type_changed": "type changed",
    "identifier": "identifier",
    "not_computable": "no verdict",
}

EMPTY = (
    "**Every model in production appears here**: its metrics on control charts with frozen baselines, the drift of its "
    "features against a reference, and alerts that fire when something changed and only then."
)
SNIPPET = """
from model_monitoring import ModelMonitoring
monitoring = ModelMonitoring()
monitoring.log_performance("churn", "1.0.0", "accuracy", 0.92, prediction_count=1000)
monitoring.set_reference("churn", "1.0.0", reference_frame)
"""


# -- the view ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the reader chose.

    Attributes
    ----------
    name, version : str
        The monitored version.
    days : int
        Length of the window that is judged; it ends at the newest data.
    metric : str or None
        Id of a series (`series_id`); None is the one that needs attention most.
    feature : str or None
        None is the most drifted one.
    rules : tuple of str
        By which the chosen metric's chart is judged; the verdict is always by `DEFAULT_RULES`.
    """

    name: str
    version: str
    days: int = 7
    metric: str | None = None
    feature: str | None = None
    rules: tuple[str, ...] = DEFAULT_RULES


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringView:
    """What one screen shows.

    Attributes
    ----------
    report : MonitoringReport
    verdict : str
        One sentence for people.
    reference : str
        What the features are compared with, in words.
    kpis : tuple of (label, value, meaning)
    metrics : DataFrame
        A row a series, the one that needs attention most first.
    metric_ids : tuple of str
    metric : MetricSummary or None
        The chosen one.
    violations : DataFrame
        Of the chosen metric.
    features : DataFrame
        A row a feature, the most drifted first.
    feature_ids : tuple of str
    feature : FeatureDrift or None
        The chosen one.
    features_error : Exception or None
        Why the features cannot be judged, where reading them failed.
    """

    report: MonitoringReport
    verdict: str
    reference: str
    kpis: tuple[tuple[str, str, str], ...]
    metrics: pd.DataFrame
    metric_ids: tuple[str, ...]
    metric: MetricSummary | None
    violations: pd.DataFrame
    features: pd.DataFrame
    feature_ids: tuple[str, ...]
    feature: FeatureDrift | None
    features_error: Exception | None = None


def series_id(metric: str, segment: str | None) -> str:
    """Return the id of a series: its metric, and its segment if it has one."""
    return metric if not segment else f"{metric}{_BETWEEN}{segment}"


def series_name(identity: str) -> str:
    """Return what people call a series.

    >>> series_name(series_id("accuracy", "country=CH"))
    'accuracy (country=CH)'
    """
    metric, _, segment = identity.partition(_BETWEEN)
    return f"{metric} ({segment})" if segment else metric


def build_view(monitoring: ModelMonitoring, choices: Choices, now: datetime | None = None) -> MonitoringView:
    """Read what the tab shows for these choices.

    Raises
    ------
    NotFoundError
        If nothing was ever logged under that name and version.
    """
    report = monitoring.generate_monitoring_report(
        choices.name, choices.version, days=choices.days, lookback_days=choices.days
    )
    order = ("drift", "learning", "improved", "in_control", "no_data")
    summaries = sorted(report.metrics, key=lambda m: order.index(m.drift.status))
    ids = tuple(series_id(m.metric, m.segment) for m in summaries)
    by_id = dict(zip(ids, summaries, strict=True))
    metric = by_id.get(choices.metric or "", summaries[0] if summaries else None)
    if metric is not None and set(choices.rules) != set(DEFAULT_RULES):
        drift = monitoring.detect_performance_drift(
            choices.name, choices.version, metric.metric, choices.days, segment=metric.segment, end=report.end_at,
            charts=choices.rules or DEFAULT_RULES,
        )  # fmt: skip
        metric = replace(metric, drift=drift)
    features = list(report.data_drift.features.values()) if report.data_drift is not None else []
    by_name = {feature.feature: feature for feature in features}
    return MonitoringView(
        report=report,
        verdict=verdict_sentence(report),
        reference="" if report.features_error is not None else _reference_text(report.data_drift),
        kpis=_kpis(report, summaries, now),
        metrics=metrics_frame(summaries),
        metric_ids=ids,
        metric=metric,
        violations=violations_frame(metric.drift if metric is not None else None),
        features=features_frame(features),
        feature_ids=tuple(by_name),
        feature=by_name.get(choices.feature or "", features[0] if features else None),
        features_error=None if report.features_error is None else ValueError(report.features_error),
    )


def verdict_sentence(report: MonitoringReport) -> str:
    """Return the verdict with the name of what it is about: one sentence, as people wrote the names."""
    verdict = report.verdict.strip().rstrip(".")
    return f"{report.name} {report.version}: {verdict}."


def _reference_text(drift: DataDrift | None) -> str:
    if drift is None:
        return "No reference is set, so drift of features cannot be judged."
    rows = formats.plural(drift.n_reference, "row")
    return (
        f"Compared with a frozen reference of {rows}; the window holds {formats.plural(drift.n_current, 'row')}. "
        "A feature drifted when its population stability index reaches its threshold: at least 0.2, and more when few "
        "rows make larger values likely by chance."
    )


def _kpis(
    report: MonitoringReport, summaries: Sequence[MetricSummary], now: datetime | None
) -> tuple[tuple[str, str, str], ...]:
    bad = sum(m.drift.drift_detected for m in summaries)
    learning = sum(m.drift.status == "learning" for m in summaries)
    drift = report.data_drift
    judged = [f for f in drift.features.values() if f.drifted is not None] if drift is not None else []
    newest = max([m.last_at for m in summaries if m.last_at is not None], default=None)
    if newest is None and drift is not None and drift.n_current:
        newest = drift.end_at
    watched = f"{bad} of {len(summaries)}" if summaries else formats.DASH
    cards = [
        ("Metrics out of control", watched, "Metrics with a point in the window that violates a rule for the worse"),
        (
            "Features drifted",
            f"{len(drift.drifted_features)} of {len(judged)}" if drift is not None and judged else formats.DASH,
            "Features whose distribution changed by more than chance and enough to matter",
        ),
        ("Predictions", formats.whole(report.total_predictions), "In the window, as counted by the metrics or logged"),
        ("Open alerts", formats.whole(report.open_alerts), "Alerts that are not resolved"),
        ("Newest data", formats.ago(newest, now), "When the newest point of the window was measured"),
    ]
    if learning:
        cards.insert(1, ("Learning", formats.whole(learning), "Metrics with fewer than 8 points before the window"))
    return tuple(cards)


def metrics_frame(summaries: Sequence[MetricSummary]) -> pd.DataFrame:
    """Return a row a series: last value, limits, violations, course, trend."""
    import pandas as pd

    rows = []
    for m in summaries:
        last = m.drift.points[-1] if len(m.drift.points) else None
        trend = m.drift.trend
        course = [*m.drift.history[-60:].values.tolist(), *m.drift.points.values.tolist()][-60:]
        moves = trend is not None and trend.significant
        rows.append(
            {
                "Metric": series_name(series_id(m.metric, m.segment)),
                "Status": STATUS_TEXT.get(m.drift.status, m.drift.status),
                "Course": course,
                "Last": formats.number(m.last_value),
                "Lower limit": formats.number(last.lower if last else None),
                "Centre": formats.number(m.drift.center),
                "Upper limit": formats.number(last.upper if last else None),
                "Points": m.n_points,
                "Violations": len({v.at for v in m.drift.violations}),
                "Trend a day": formats.signed(trend.slope_per_day) if trend is not None and moves else formats.DASH,
                "Why": _why(m.drift),
            }
        )
    return pd.DataFrame(
        rows,
        columns=[
            "Metric", "Status", "Course", "Last", "Lower limit", "Centre", "Upper limit", "Points", "Violations",
            "Trend a day", "Why",
        ],
    )  # fmt: skip


def _why(drift: PerformanceDrift) -> str:
    """Return the reasons of a verdict in one line."""
    if drift.violations:
        rules = dict.fromkeys(v.rule for v in drift.violations)
        return "; ".join(rule_text(rule) for rule in rules)
    return "; ".join(drift.reasons)


def violations_frame(drift: PerformanceDrift | None) -> pd.DataFrame:
    """Return a row a point that violates a rule, the newest first, with all its rules."""
    import pandas as pd

    by_instant: dict[datetime, list[Violation]] = {}
    for violation in [] if drift is None else drift.violations:
        by_instant.setdefault(violation.at, []).append(violation)
    found = list(by_instant.values())[::-1][:MAX_VIOLATIONS]
    worst = [next(d for d in DIRECTION_TEXT if d in {v.direction for v in group}) for group in found]
    return pd.DataFrame(
        {
            "Time (UTC)": pd.to_datetime([group[0].at for group in found], utc=True),
            "Value": pd.Series([group[0].value for group in found], dtype="float64"),
            "Sigmas": pd.Series([group[0].z for group in found], dtype="float64"),
            "Direction": [DIRECTION_TEXT[direction] for direction in worst],
            "Rules": ["; ".join(CHART_RULE_TEXT.get(v.rule) or rule_text(v.rule) for v in group) for group in found],
        }
    )


def features_frame(features: Sequence[FeatureDrift]) -> pd.DataFrame:
    """Return a row a feature: verdict, both histograms, index and threshold, test, sizes, reason."""
    import pandas as pd

    rows = [
        {
            "Feature": f.feature,
            "Verdict": feature_verdict(f),
            "Reference": _bars(f.reference_shares),
            "Current": _bars(f.current_shares),
            "PSI": f.psi,
            "Threshold": f.psi_threshold,
            "Distance": f.ks_statistic if f.ks_statistic is not None else f.l_infinity,
            "p": p_text(f.p_adjusted if f.p_adjusted is not None else f.p_value),
            "Rows": f.n_current,
            "Missing": None if f.null_share_current is None else 100 * f.null_share_current,
            "Reason": f.reason,
        }
        for f in features
    ]
    columns = ["Feature", "Verdict", "Reference", "Current", "PSI", "Threshold", "Distance", "p", "Rows", "Missing",
               "Reason"]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns)
    for column in ("PSI", "Threshold", "Distance", "Missing"):
        frame[column] = frame[column].astype("float64")
    return frame


def feature_verdict(feature: FeatureDrift) -> str:
    """Return the verdict on a feature in a word, with a mark that does not rest on colour."""
    if feature.drifted is None:
        return f"– {FEATURE_STATUS.get(feature.status, 'no verdict')}"
    return "✗ drifted" if feature.drifted else "✓ stable"


def _bars(shares: Sequence[float]) -> list[float]:
    """Return a histogram of at most 30 bars; neighbours are added up."""
    if len(shares) <= MAX_HISTOGRAM_BARS:
        return [round(float(share), 5) for share in shares]
    step = -(-len(shares) // MAX_HISTOGRAM_BARS)
    return [round(float(sum(shares[i : i + step])), 5) for i in range(0, len(shares), step)]


def read_history(
    monitoring: ModelMonitoring, name: str, version: str, days: int, bucket: str, features: Sequence[str]
) -> FeatureHistory | None:
    """Return the drift of these features by window, with a period before the one judged; None without a reference.

    With many features the period is shorter, so that the number of comparisons is bounded.
    """
    wanted = float(max(days, 28 if bucket != "hour" else 3))
    most = max(4, MAX_COMPARISONS // max(1, len(features))) * BUCKET_DAYS[bucket]
    try:
        return monitoring.feature_history(name, version, bucket=bucket, days=min(wanted, most), features=features)
    except StateError:
        return None


def watch_options(watched: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the versions of every watched model, the one with the newest data first."""
    options: dict[str, list[str]] = {}
    for item in watched:
        options.setdefault(str(item["name"]), []).append(str(item["version"]))
    return options


# -- drawing -----------------------------------------------------------------------------------------


def render(app: ui.App) -> None:
    """Draw the tab."""
    from dashboard import monitoring_details as details

    with ui.part("Monitoring"):
        watched = app.monitoring.list_monitored()
        if not watched:
            ui.empty_state(app, EMPTY, SNIPPET, key=f"{TAB}.load_examples")
            with st.container(horizontal=True, gap="small"):
                details.start_buttons(app)
        else:
            chosen = _read_choices(watched)
            try:
                view = build_view(app.monitoring, chosen.choices)
            except NotFoundError:
                _draw_filters(chosen)
                ui.note("This version is no longer monitored. Choose another one.")
            else:
                _draw(app, view, chosen)
    with ui.part("Dialog"):
        details.dialogs(app)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What was chosen, and what is needed to draw the filters afterwards.

    Attributes
    ----------
    choices : Choices
    section : str
        One of `SECTIONS`.
    options : dict of str to list of str
        The versions of every watched model.
    gone : str
        What a link names and nobody watches; empty if there is nothing like that.
    widgets : dict of str to dict
        Arguments of the filters that live in the URL, by name.
    """

    choices: Choices
    section: str
    options: dict[str, list[str]]
    gone: str
    widgets: dict[str, dict[str, Any]]


def _read_choices(watched: Sequence[Mapping[str, Any]]) -> _Chosen:
    """Return what the reader has chosen; the filters are drawn afterwards."""
    options = watch_options(watched)
    chosen = (ui.selected("watch") or [""])[0]
    name, _, version = chosen.partition(":")
    gone = chosen if version not in options.get(name, []) else ""
    if name not in options:
        name = next(iter(options))
    if version not in options[name]:
        version = options[name][0]
    widgets = {
        "window": ui.in_url(f"{TAB}.window", default="7 days", options=list(WINDOWS)),
        "section": ui.in_url(f"{TAB}.section", default=SECTIONS[0], options=SECTIONS),
    }
    choices = Choices(
        name=name,
        version=version,
        days=WINDOWS[st.session_state[f"{TAB}.window"]],
        metric=next(iter(ui.selected(f"{TAB}.metric")), None),
        feature=next(iter(ui.selected(f"{TAB}.feature")), None),
        rules=tuple(rule for rule in ui.selected(f"{TAB}.rules_of") if rule in CHART_RULES) or DEFAULT_RULES,
    )
    section = st.session_state[f"{TAB}.section"]
    return _Chosen(choices=choices, section=section, options=options, gone=gone, widgets=widgets)


def _draw_filters(chosen: _Chosen) -> None:
    name, options = chosen.choices.name, chosen.options
    # The URL says what is watched; the two boxes follow it, and write to it when someone chooses.
    st.session_state[f"{TAB}.model"] = name
    st.session_state[f"{TAB}.version"] = chosen.choices.version

    def take_model() -> None:
        model = st.session_state[f"{TAB}.model"]
        ui.select("watch", [chain.watch_id(model, options[model][0])])

    def take_version() -> None:
        ui.select("watch", [chain.watch_id(name, st.session_state[f"{TAB}.version"])])

    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.selectbox("Model", list(options), key=f"{TAB}.model", on_change=take_model, width=320)
        st.selectbox("Version", options[name], key=f"{TAB}.version", on_change=take_version, width=160)
        st.segmented_control(
            "Window", list(WINDOWS), required=True,
            help="How many days, up to the newest data, are judged against the baseline and the reference",
            **chosen.widgets["window"],
        )  # fmt: skip
        st.segmented_control("Show", SECTIONS, required=True, **chosen.widgets["section"])
    if chosen.gone:
        ui.note(f"{formats.markdown(chosen.gone.replace(':', ' ', 1))} is not monitored; this is another one.")


def _draw(app: ui.App, view: MonitoringView, chosen: _Chosen) -> None:
    from dashboard.monitoring_sections import draw_metrics

    # The table is what people came for: it is sent first, into its place below what is drawn after it.
    with first_visit.above_the_table(TAB):
        numbers, filters, verdict = st.container(), st.container(), st.container(border=True)
    if chosen.section == "Performance" and view.metric is not None:
        with ui.part("Metrics"):
            draw_metrics(view)
    with ui.part("Numbers"), numbers:
        ui.kpis(view.kpis)
    with filters:
        _draw_filters(chosen)
    with ui.part("Verdict"), verdict:
        _draw_verdict(app, view)
    with ui.part(chosen.section):
        _draw_section(app, view, chosen.choices, chosen.section)


def _draw_verdict(app: ui.App, view: MonitoringView) -> None:
    from dashboard import monitoring_details as details

    icon, color = VERDICTS.get(view.report.status, VERDICTS["no_data"])
    st.markdown(f"#### :{color}[{icon}] {formats.markdown(view.verdict)}")
    period = f"{formats.instant(view.report.start_at)} to {formats.instant(view.report.end_at)}"
    ui.note(" · ".join([f"Window {period}", *(formats.markdown(reason) for reason in view.report.reasons[:4])]))
    with ui.part("Links"), st.container(horizontal=True, vertical_alignment="center", gap="small"):
        _draw_links(app, view)
    with ui.part("Actions"), st.container(horizontal=True, vertical_alignment="center", gap="small"):
        details.action_buttons(app, view)


def _draw_section(app: ui.App, view: MonitoringView, choices: Choices, section: str) -> None:
    from dashboard.monitoring_sections import draw_features, draw_performance

    if section == "Performance":
        draw_performance(app, view, choices)
    elif section == "Features":
        draw_features(app, view, choices)
    elif section == "Predictions":
        from dashboard.monitoring_predictions import render_predictions

        report = view.report
        render_predictions(
            app, choices.name, choices.version, report.start_at, report.end_at, report.n_predictions_logged
        )
    else:
        from dashboard.monitoring_alerts import render_alerts

        render_alerts(app, choices.name, choices.version)


def _draw_links(app: ui.App, view: MonitoringView) -> None:
    """Draw one click to the version, and to the run and the tests it is tied to."""
    links = chain.links_of_watch(app.database, view.report.name, view.report.version)
    for link in list(links):
        if link.kind == "version":
            links += [found for found in chain.links_of_version(app.database, link.id) if found.kind != "watch"]
    if not links:
        ui.note(
            "Not a registered version: registered under the same name and version it gets links to its run and tests."
        )
    for link in links:
        relation = "Registered version" if link.kind == "version" else link.relation.capitalize()
        words = f"{relation} {formats.markdown(formats.shorten(link.label, 40))}"
        ui.jump_button(words, f"{TAB}.link.{link.kind}.{link.id}", link.tab, link.url_name, [link.id])
