"""The monitoring report as one self-contained HTML page: no request leaves it, every string from people is escaped.

The page is `report_page(report)`; without plotly.js it weighs some tens of kilobytes. Its figures follow the reader's
light or dark setting as far as the browser tells it, and everything a figure shows stands in a table as well.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from charts.monitoring import RULE_WORDS, plot_control_chart, plot_drift_ranking, plot_feature, plot_trend
from charts.theme import alt_text, base_figure
from stats.formatting import SMALLEST_P, format_number, format_percent

if TYPE_CHECKING:
    from monitoring_parts.results import MetricSummary, MonitoringReport, PerformanceDrift, Violation

__all__ = ["report_page"]

DRAWN_METRICS = 8  # figures are limited, tables are not; worst first
DRAWN_FEATURES = 6
DRAWN_POINTS = 300  # newest points of a metric in its figure
FIGURE_BYTES = 200_000  # of all figures together; what does not fit is left to the tables
LISTED_FEATURES = 300
LISTED_VIOLATIONS = 100

_STYLE = """
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;max-width:1100px;margin:2rem auto;padding:0 1rem;
background:#fff;color:#1b2430}
h1{font-size:1.5rem;margin:0}h2{font-size:1.15rem;margin:2rem 0 .5rem}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #dfe4ea;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
.verdict{padding:.8rem 1rem;border-left:6px solid #7a8594;background:#7a85941f;margin:1rem 0;font-weight:600}
.drift{border-color:#c70a3d}.ok{border-color:#12a594}.learning{border-color:#b07d00}
.wide{overflow-x:auto}figure{margin:1rem 0}figcaption{font-size:13px;color:#5a6675}
@media (prefers-color-scheme:dark){body{background:#0f1319;color:#e8ecf1}th,td{border-color:#262e39}
figcaption{color:#a3aebb}}
"""


def report_page(report: MonitoringReport, *, include_plotly: bool = True) -> str:
    """Return a report as an HTML page.

    Parameters
    ----------
    report : MonitoringReport
    include_plotly : bool
        Whether plotly.js (about 5 MB) is part of the page, and with it the figures.
    """
    order = {"drift": 0, "improved": 1, "in_control": 2, "learning": 3, "no_data": 4}
    metrics = sorted(report.metrics, key=lambda m: order[m.drift.status])
    title = f"Monitoring of {report.name} {report.version}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{_date(report.start_at)} to {_date(report.end_at)} (UTC); made {_date(report.created_at)}</p>",
        f'<p class="verdict {escape(report.status)}">{escape(report.verdict)}</p>',
        _facts(report),
        "<h2>Metrics</h2>",
        _metrics(metrics) if metrics else "<p>No metric was logged.</p>",
    ]
    figures: list[str] = []
    features: list[str] = []
    left_out = 0
    for place, figure in _drawn(report, metrics) if include_plotly else ():
        drawn = _figure(figure, len(figures) + len(features))
        if sum(map(len, figures + features)) + len(drawn) > FIGURE_BYTES:
            left_out += 1
        else:
            (figures if place == "metrics" else features).append(drawn)
    parts += figures
    violations = [(m, v) for m in metrics for v in m.drift.violations]
    if violations:
        parts += ["<h2>Violations</h2>", _violations(violations)]
    parts.append("<h2>Features</h2>")
    drift = report.data_drift
    if drift is None or not drift.features:
        parts.append("<p>No feature was compared.</p>")
    else:
        parts += [_features(report), *features]
    notes = [*report.reasons, *(f"{_label(m)}: {reason}" for m in metrics for reason in m.drift.reasons)]
    if left_out:
        notes.append(f"{left_out} figures were left out to keep this page small; their numbers are in the tables")
    if notes:
        parts += ["<h2>Notes</h2>", "<ul>", *(f"<li>{escape(note)}</li>" for note in notes), "</ul>"]
    script = ""
    if include_plotly:
        from plotly.offline import get_plotlyjs

        template = _json(base_figure().layout.template)
        script = f"<script>{get_plotlyjs()}</script><script>const T={template}</script>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "script-src 'unsafe-inline' 'unsafe-eval'; img-src data: blob:\">"
        f"<title>{escape(title)}</title><style>{_STYLE}</style>{script}</head><body>{''.join(parts)}</body></html>"
    )


def _recent(summary: MetricSummary) -> PerformanceDrift:
    import dataclasses

    drift = summary.drift
    room = max(0, DRAWN_POINTS - len(drift.points))
    history = drift.history[len(drift.history) - min(room, len(drift.history)) :]
    return dataclasses.replace(drift, points=drift.points[-DRAWN_POINTS:], history=history)


def _figure(figure: go.Figure, number: int) -> str:
    figure.layout.template = None  # one copy for the whole page
    data = _json(figure)
    caption = escape(alt_text(figure))
    return (
        f'<figure><div id="figure-{number}" role="img" aria-label="{caption}"></div><figcaption>{caption}</figcaption>'
        f"<script>{{const f={data};f.layout.template=T;Plotly.newPlot('figure-{number}',f.data,f.layout,"
        "{responsive:true,displaylogo:false})}</script></figure>"
    )


def _json(part: go.Figure | go.layout.Template) -> str:
    """Return part of a figure as JSON that may stand inside a script element."""
    # "</" and "<!--" inside a string would end the element for the HTML parser.
    text = str(part.to_json() if isinstance(part, go.Figure) else json.dumps(part.to_plotly_json(), default=list))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _drawn(report: MonitoringReport, metrics: Sequence[MetricSummary]) -> Iterator[tuple[str, go.Figure]]:
    """Figures in the order of importance, each with the place it belongs to."""
    drift = report.data_drift
    if drift is not None and drift.features:
        yield "features", plot_drift_ranking(drift)
    for summary in metrics[:DRAWN_METRICS]:
        yield "metrics", plot_control_chart(_recent(summary))
    for feature in list(drift.features.values())[:DRAWN_FEATURES] if drift is not None else []:
        if feature.bins:
            yield "features", plot_feature(feature)
    for summary in metrics[:DRAWN_METRICS]:
        if summary.drift.trend is not None and summary.drift.trend.significant:
            yield "metrics", plot_trend(_recent(summary))


def _facts(report: MonitoringReport) -> str:
    size = "not registered" if report.model_size_bytes is None else f"{report.model_size_bytes:,} bytes"
    rows = [
        ("Predictions", f"{report.total_predictions:,}"),
        ("Logged one by one", f"{report.n_predictions_logged:,}, of which {report.n_labelled:,} have a label"),
        ("Model size", size),
        ("Open alerts", f"{report.open_alerts:,}"),
    ]
    return "<table>" + "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows) + "</table>"


def _metrics(metrics: Sequence[MetricSummary]) -> str:
    head = (
        "Metric",
        "Status",
        "Last value",
        "At",
        "Centre",
        "Limits",
        "Points",
        "Violations",
        "Trend a day",
        "Baseline",
    )
    rows = []
    for m in metrics:
        last = m.drift.points[-1] if len(m.drift.points) else None
        limits = "" if last is None or last.lower is None else f"{_value(last.lower)} to {_value(last.upper)}"
        base = m.drift.baseline
        rate = "" if m.drift.violation_rate is None else f" ({format_percent(m.drift.violation_rate)})"
        rows.append(
            (
                _label(m),
                m.drift.status.replace("_", " "),
                _value(m.last_value),
                "" if m.last_at is None else _date(m.last_at),
                _value(m.drift.center),
                limits,
                f"{m.n_points:,}",
                f"{len(m.drift.violations):,}{rate}",
                "" if m.drift.trend is None else f"{_signed(m.drift.trend.slope_per_day)} ({m.drift.trend.direction})",
                "" if base is None else f"{base.n} points, {base.method}, {base.source}, to {_date(base.end_at)}",
            )
        )
    return _table(head, rows)


def _violations(found: Sequence[tuple[MetricSummary, Violation]]) -> str:
    rows = []
    for m, violation in found[:LISTED_VIOLATIONS]:
        at, value, z = violation.at, violation.value, violation.z
        rule = RULE_WORDS.get(violation.rule, violation.rule)
        rows.append((_label(m), _date(at), _value(value), rule, _value(z), violation.direction))
    more = len(found) - len(rows)
    note = f"<p>and {more:,} more</p>" if more > 0 else ""
    return _table(("Metric", "Time", "Value", "Rule", "z", "Direction"), rows) + note


def _features(report: MonitoringReport) -> str:
    assert report.data_drift is not None
    head = ("Feature", "Verdict", "Status", "PSI", "Threshold", "p adjusted", "Rows", "Reason")
    words = {True: "drifted", False: "no drift", None: "no verdict"}
    shown = list(report.data_drift.features.values())[:LISTED_FEATURES]
    rows = [
        (
            f.feature,
            words[f.drifted],
            f.status.replace("_", " "),
            _value(f.psi),
            _value(f.psi_threshold),
            f"< {SMALLEST_P:.4f}" if f.p_adjusted is not None and f.p_adjusted < SMALLEST_P else _value(f.p_adjusted),
            f"{f.n_reference:,} / {f.n_current:,}",
            f.reason,
        )
        for f in shown
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _label(summary: MetricSummary) -> str:
    return summary.metric if summary.segment is None else f"{summary.metric} ({summary.segment})"


def _value(value: float | None) -> str:
    return "" if value is None else format_number(value)


def _signed(value: float) -> str:
    return f"+{_value(value)}" if value > 0 else _value(value)


def _date(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
