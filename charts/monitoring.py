"""Figures of monitoring: results in, Plotly figures out.

    >>> figure = plot_no_data("nothing was logged yet")
    >>> figure.layout.annotations[0].text
    'nothing was logged yet'

`plot_control_chart(drift)` shows a `PerformanceDrift`, `plot_ewma`, `plot_cusum` and `plot_trend` other views of it;
`plot_drift_ranking(drift)` and `plot_feature(feature)` show a `DataDrift`, `plot_psi_heatmap(history)` a
`FeatureHistory`. A gap in time is a gap in the line. Violations carry their rule in words, not by colour alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from charts.theme import (
    NEUTRAL,
    SERIES_COLORS,
    VERDICT_COLORS,
    add_level,
    add_zone,
    base_figure,
    days_around_one,
    empty_figure,
    escape,
    series_style,
    shorten_label,
    with_alpha,
)

if TYPE_CHECKING:
    from monitoring_parts.results import DataDrift, FeatureDrift, FeatureHistory, PerformanceDrift, PointSeries

__all__ = [
    "RULE_WORDS",
    "plot_control_chart",
    "plot_cusum",
    "plot_drift_ranking",
    "plot_ewma",
    "plot_feature",
    "plot_no_data",
    "plot_psi_heatmap",
    "plot_trend",
]

SHOWN_POINTS = 2_000  # of a series; the newest
SHOWN_FEATURES = 40
LABEL_SHARE = 0.15  # of the width of a chart that the words beside a violation take
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIRECTION_COLORS = {
    "degradation": VERDICT_COLORS["bad"],
    "change": VERDICT_COLORS["watch"],
    "improvement": VERDICT_COLORS["good"],
}
_DIRECTION_SYMBOLS = {"degradation": "x", "change": "triangle-up", "improvement": "star"}
_DIRECTION_WORDS = {"degradation": "worse", "change": "changed", "improvement": "better"}
RULE_WORDS = {"3-sigma": "3 sigma", "ewma": "EWMA", "cusum": "CUSUM"}  # others are called by their number


def plot_no_data(message: str) -> go.Figure:
    """Return a figure that says why there is nothing to draw."""
    return empty_figure(None, escape(message))


def plot_control_chart(drift: PerformanceDrift) -> go.Figure:
    """Draw the points with their limits and zones, the baseline shaded, and every violation named by its rules."""
    title = f"{shorten_label(drift.metric)} of {shorten_label(drift.name)} {shorten_label(drift.version)}"
    earlier, judged = drift.history[-SHOWN_POINTS:], drift.points[-SHOWN_POINTS:]
    if not len(earlier) and not len(judged):
        return empty_figure(title, "no points in this period")
    n_bad = len({v.at for v in drift.violations})
    found = f"{len(judged)} judged points, {n_bad} with a violation"
    alt = f"Control chart of {drift.metric}: {found}; status {drift.status}."
    figure = base_figure(title, x_title="Time (UTC)", y_title=shorten_label(drift.metric), height=420, alt=alt)
    if drift.baseline is not None:
        label = f"baseline, {drift.baseline.n} points"
        add_zone(figure, drift.baseline.start_at, drift.baseline.end_at, label)
    _add_limits(figure, earlier, judged, drift)
    color = SERIES_COLORS[0]
    _add_points(figure, earlier, "before the window", NEUTRAL, drift)
    _add_points(figure, judged, "in the window", color, drift)
    _add_violations(figure, drift)
    days_around_one(figure, _instants([*earlier.times, *judged.times]))
    if drift.change_point is not None:
        figure.add_vline(
            _milliseconds(drift.change_point),
            line_color=VERDICT_COLORS["watch"],
            line_dash="dot",
            annotation_text="change of level",
            annotation_position="bottom right",
        )
    return figure


def plot_ewma(drift: PerformanceDrift) -> go.Figure:
    """Draw the exponentially weighted moving average of the standardised points with its limits."""
    return _standardised(drift, "EWMA", drift.points.ewma, drift.ewma_limit, "ewma")


def plot_cusum(drift: PerformanceDrift) -> go.Figure:
    """Draw both cumulative sums of the standardised points, the lower one downwards, with the decision interval."""
    figure = _standardised(drift, "CUSUM, upper", drift.points.cusum_high, drift.cusum_limit, "cusum")
    if drift.cusum_limit is not None and len(drift.points):
        style = series_style(1)
        x, y = _with_gaps(drift.points.times, -drift.points.cusum_low, drift)
        figure.add_scatter(x=x, y=y, name="CUSUM, lower", mode="lines+markers", line=style.line, marker=style.marker)
    return figure


def plot_trend(drift: PerformanceDrift) -> go.Figure:
    """Draw the points with the fitted line and the threshold it moves towards."""
    title = f"Trend of {shorten_label(drift.metric)}"
    trend = drift.trend
    if trend is None:
        return empty_figure(title, "a trend needs 8 points after the baseline")
    alt = f"{drift.metric} changes by {trend.slope_per_day:+.3g} a day; {trend.direction}."
    figure = base_figure(title, x_title="Time (UTC)", y_title=shorten_label(drift.metric), alt=alt)
    _add_points(figure, drift.history[-SHOWN_POINTS:], "before the window", NEUTRAL, drift)
    _add_points(figure, drift.points[-SHOWN_POINTS:], "in the window", SERIES_COLORS[0], drift)
    days = (trend.end_at - trend.start_at).total_seconds() / 86_400
    style = series_style(1)
    figure.add_scatter(
        x=[trend.start_at, trend.end_at],
        y=[trend.intercept_at_end - days * trend.slope_per_day, trend.intercept_at_end],
        name=f"{_signed(trend.slope_per_day)} a day ({trend.direction})",
        mode="lines",
        line=style.line,
    )
    if trend.days_until_threshold is not None and trend.threshold is not None and trend.days_until_threshold < 365:
        reached = trend.end_at + timedelta(days=trend.days_until_threshold)
        figure.add_scatter(
            x=[trend.end_at, reached],
            y=[trend.intercept_at_end, trend.threshold],
            name=f"threshold in {trend.days_until_threshold:.0f} days",
            mode="lines",
            line={"color": style.color, "dash": "dot"},
        )
    if trend.threshold is not None:
        add_level(figure, trend.threshold, "threshold", color=VERDICT_COLORS["bad"])
    return figure


def plot_psi_heatmap(history: FeatureHistory) -> go.Figure:
    """Draw the population stability index of every feature in every window, from the first one with data on.

    Later windows without data stay empty.
    """
    title = "Population stability index by feature; ✗ is drift"
    if not history.features or not history.windows:
        return empty_figure(title, "no batches in this period")
    n_bad = sum(any(row) for row in history.drifted)
    alt = f"Heat map of {len(history.features)} features in {len(history.windows)} windows; {n_bad} features drifted."
    height = max(240, 120 + 26 * min(len(history.features), SHOWN_FEATURES))
    figure = base_figure(title, x_title=f"Time (UTC), by {history.bucket}", height=height, alt=alt)
    features = history.features[:SHOWN_FEATURES]
    first = next((i for i, rows in enumerate(history.n_rows) if rows), 0)
    names = [shorten_label(feature) for feature in features]
    windows: list[Any] = list(history.windows[first:])
    if len(windows) == 1:  # Plotly would make the only cell a millisecond wide, and say so below it
        windows = [f"{windows[0]:%Y-%m-%d %H:%M}"]
        figure.update_xaxes(type="category")
    good, watch, bad = VERDICT_COLORS["good"], VERDICT_COLORS["watch"], VERDICT_COLORS["bad"]
    top = 0.5
    figure.add_heatmap(
        x=windows,
        y=names,
        z=[list(row[first:]) for row in history.psi[: len(features)]],
        zmin=0.0,
        zmax=top,
        colorscale=[
            [0.0, with_alpha(good, 0.15)],
            [0.1 / top, with_alpha(good, 0.45)],
            [0.1 / top, with_alpha(watch, 0.45)],
            [0.25 / top, with_alpha(watch, 0.9)],
            [0.25 / top, with_alpha(bad, 0.6)],
            [1.0, bad],
        ],
        colorbar={"title": {"text": "PSI"}, "tickvals": [0, 0.1, 0.25, 0.5], "ticktext": ["0", "0.1", "0.25", "0.5 +"]},
        hovertemplate="%{y}<br>%{x}<br>PSI %{z:.3f}<extra></extra>",
        hoverongaps=False,
    )
    crossed = [
        (window, name)
        for name, row in zip(names, history.drifted, strict=False)
        for window, is_drift in zip(windows, row[first:], strict=True)
        if is_drift
    ]
    figure.add_scatter(
        x=[window for window, _ in crossed],
        y=[name for _, name in crossed],
        mode="markers",
        # White with a dark edge: seen on a pale cell as on a strong one, on a light page as on a dark one.
        marker={"symbol": "x", "size": 9, "color": "#ffffff", "line": {"color": "#1b2430", "width": 1.5}},
        name="drift",
        showlegend=False,
        hoverinfo="skip",
    )
    figure.update_yaxes(autorange="reversed", showgrid=False)
    figure.update_xaxes(showgrid=False)
    return figure


def plot_drift_ranking(drift: DataDrift) -> go.Figure:
    """Draw every feature's index beside what it had to reach, the most drifted first."""
    rows = [f for f in drift.features.values() if f.psi is not None][:SHOWN_FEATURES]
    title = "Drift by feature"
    if not rows:
        return empty_figure(title, "no feature could be compared")
    alt = f"{len(drift.drifted_features)} of {len(drift.features)} features drifted."
    figure = base_figure(
        title, x_title="Population stability index (no unit)", height=max(240, 110 + 26 * len(rows)), alt=alt
    )
    names = [shorten_label(f.feature) for f in rows]
    verdicts = ["bad" if f.drifted else "unknown" if f.drifted is None else "good" for f in rows]
    figure.add_bar(
        x=[f.psi for f in rows],
        y=names,
        orientation="h",
        marker_color=[VERDICT_COLORS[v] for v in verdicts],
        text=[{"bad": "drifted", "unknown": "no verdict", "good": ""}[v] for v in verdicts],
        textposition="auto",
        hovertext=[escape(f.reason) for f in rows],
        hovertemplate="%{y}: %{x:.3f}<br>%{hovertext}<extra></extra>",
        name="PSI",
        showlegend=False,
    )
    figure.add_scatter(
        x=[f.psi_threshold for f in rows],
        y=names,
        mode="markers",
        marker={"symbol": "line-ns-open", "size": 16, "color": NEUTRAL, "line": {"width": 2}},
        name="threshold at these sizes",
    )
    figure.update_yaxes(autorange="reversed")
    return figure


def plot_feature(feature: FeatureDrift) -> go.Figure:
    """Draw the reference's and the current distribution of one feature."""
    title = f"{shorten_label(feature.feature)}: reference and current"
    if not feature.bins:
        return empty_figure(title, escape(feature.reason))
    alt = f"Distributions of {feature.feature}: {feature.reason}."
    numeric = feature.kind != "categorical"
    axis = shorten_label(feature.feature) if numeric else "Category"
    figure = base_figure(title, x_title=axis, y_title="Share of rows", alt=alt)
    samples = (("reference", feature.reference_shares, NEUTRAL), ("current", feature.current_shares, SERIES_COLORS[0]))
    for label, shares, color in samples:
        if numeric:
            edges: list[Any] = [float(edge) for edge in feature.bins]
            if feature.kind == "datetime":
                edges = [_EPOCH + timedelta(seconds=edge) for edge in edges]
            figure.add_scatter(
                x=edges,
                y=[*shares, shares[-1]],
                name=label,
                mode="lines",
                line={"shape": "hv", "color": color, "width": 2},
                fill="tozeroy",
                fillcolor=with_alpha(color, 0.2),
            )
        else:
            figure.add_bar(x=[shorten_label(b) for b in feature.bins], y=list(shares), name=label, marker_color=color)
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    if not numeric:
        figure.update_layout(barmode="group")
        figure.update_xaxes(type="category")
    return figure


# -- private -----------------------------------------------------------------------------------------


def _milliseconds(at: datetime) -> float:
    return at.timestamp() * 1000.0


def _signed(value: float) -> str:
    """Return a number with its sign, a true minus, and three digits."""
    return f"{value:+.3g}".replace("-", "−")


def _instants(times: Sequence[int] | Any) -> list[datetime]:
    return [_EPOCH + timedelta(microseconds=int(t)) for t in times]


def _with_gaps(times: Any, values: Any, drift: PerformanceDrift) -> tuple[list[datetime | None], list[float | None]]:
    """Points as lists with an empty one inside every gap, so that a line is interrupted there."""
    ends = {gap.end_at for gap in drift.gaps}
    x: list[datetime | None] = []
    y: list[float | None] = []
    for at, value in zip(_instants(times), values, strict=True):
        if at in ends:
            x.append(at - timedelta(microseconds=1))
            y.append(None)
        x.append(at)
        y.append(None if math.isnan(value) else float(value))
    return x, y


def _add_points(figure: go.Figure, points: PointSeries, name: str, color: str, drift: PerformanceDrift) -> None:
    if not len(points):
        return
    x, y = _with_gaps(points.times, points.values, drift)
    figure.add_scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers",
        line={"color": color, "width": 1.5},
        marker={"color": color, "size": 6},
        hovertemplate="%{x}<br>%{y:.5g}<extra></extra>",
    )


def _add_limits(figure: go.Figure, earlier: PointSeries, judged: PointSeries, drift: PerformanceDrift) -> None:
    if drift.center is None or drift.baseline is None:
        return
    add_level(figure, drift.center, "centre", dash="solid")
    times = [*_instants(earlier.times), *_instants(judged.times)]
    lower, upper = [*earlier.lower, *judged.lower], [*earlier.upper, *judged.upper]
    kept = [i for i, (low, high) in enumerate(zip(lower, upper, strict=True)) if not math.isnan(low + high)]
    if not kept:
        return
    # Only where a limit changes, and at both ends: equal limits in between draw the same line.
    kept = [
        i
        for k, i in enumerate(kept)
        if k in (0, len(kept) - 1)
        or (lower[i], upper[i]) != (lower[kept[k - 1]], upper[kept[k - 1]])
        or (lower[i], upper[i]) != (lower[kept[k + 1]], upper[kept[k + 1]])
    ]
    x = [times[i] for i in kept]
    for part, width, label in ((1.0, 1.0, "limits"), (2.0 / 3.0, 0.0, "zone of 2/3"), (1.0 / 3.0, 0.0, "zone of 1/3")):
        low = [(1.0 - part) * drift.center + part * lower[i] for i in kept]
        high = [(1.0 - part) * drift.center + part * upper[i] for i in kept]
        edge: dict[str, Any] = {"color": VERDICT_COLORS["bad"], "width": width, "dash": "dash", "shape": "hvh"}
        shared = {"mode": "lines", "line": edge, "hoverinfo": "skip", "x": x, "showlegend": False}
        figure.add_scatter(y=high, name=f"upper {label}", **shared)
        figure.add_scatter(y=low, name=f"lower {label}", fill="tonexty", fillcolor=with_alpha(NEUTRAL, 0.07), **shared)


def _add_violations(figure: go.Figure, drift: PerformanceDrift) -> None:
    found: dict[datetime, list[Any]] = {}
    for violation in drift.violations:
        found.setdefault(violation.at, []).append(violation)
    for direction, color in _DIRECTION_COLORS.items():
        marked = {at: rules for at, rules in found.items() if _worst([v.direction for v in rules]) == direction}
        if not marked:
            continue
        named = [", ".join(RULE_WORDS.get(v.rule, v.rule) for v in rules) for rules in marked.values()]
        written = _far_apart(list(marked), drift)
        figure.add_scatter(
            x=list(marked),
            y=[rules[0].value for rules in marked.values()],
            name=_DIRECTION_WORDS[direction],
            mode="markers+text",
            marker={"symbol": _DIRECTION_SYMBOLS[direction], "size": 12, "color": color, "line": {"width": 1.5}},
            # Rules are written where they begin: words at each point of a long excursion would overlap.
            text=[f"{text}\u2002" if there else "" for text, there in zip(named, written, strict=True)],
            customdata=named,
            textposition="middle left",
            textfont={"size": 12},
            hovertemplate="%{x}<br>%{y:.5g}<br>%{customdata}<extra></extra>",
        )


def _far_apart(times: Sequence[datetime], drift: PerformanceDrift) -> list[bool]:
    """Whether each of these instants is far enough from the last one that has words beside it."""
    shown = [*drift.history[-SHOWN_POINTS:].times[:1], *drift.points[-SHOWN_POINTS:].times]
    width = LABEL_SHARE * float(shown[-1] - shown[0]) if len(shown) > 1 else 0.0
    found: list[bool] = []
    last: datetime | None = None
    for at in times:
        far = last is None or abs((at - last).total_seconds()) * 1e6 >= width
        found.append(far)
        last = at if far else last
    return found


def _worst(directions: Sequence[str]) -> str:
    return next(d for d in ("degradation", "change", "improvement") if d in directions)


def _standardised(drift: PerformanceDrift, label: str, values: Any, limit: float | None, rule: str) -> go.Figure:
    title = f"{label.split(',')[0]} of {shorten_label(drift.metric)}"
    if limit is None or not len(drift.points):
        return empty_figure(title, "no judged points")
    hits = len({v.at for v in drift.violations if v.rule == rule})
    alt = f"{label} of {drift.metric} in sigmas, limits at {limit:.2f}; {hits} points outside."
    figure = base_figure(title, x_title="Time (UTC)", y_title="Sigmas", alt=alt)
    style = series_style(0)
    x, y = _with_gaps(drift.points.times, values, drift)
    figure.add_scatter(x=x, y=y, name=label, mode="lines+markers", line=style.line, marker=style.marker)
    for sign in (1.0, -1.0):
        add_level(figure, sign * limit, f"limit {_signed(sign * limit)}", color=VERDICT_COLORS["bad"])
    add_level(figure, 0.0, None, dash="solid")
    return figure
