"""Figures of monitoring over time: roll-ups, segments side by side, scores of logged predictions.

    >>> figure = plot_segments("accuracy", {})
    >>> figure.layout.annotations[0].text
    'no points in this period'

Roll-ups and segments come from `ModelMonitoring.performance_history(..., bucket=...)`, scores from
`ModelMonitoring.prediction_performance`. A bucket without data is a gap in the line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from charts.theme import (
    NEUTRAL,
    add_band,
    base_figure,
    days_around_one,
    empty_figure,
    escape,
    series_style,
    shorten_label,
    with_alpha,
)

if TYPE_CHECKING:
    import pandas as pd

    from monitoring_parts.predictions import PredictionPerformance

__all__ = ["plot_label_counts", "plot_prediction_scores", "plot_rollup", "plot_segments"]

SHOWN_SEGMENTS = 8
INTERVAL = 1.959963984540054  # standard errors of a 95 % interval


def _known(values: Any) -> list[float | None]:
    return [None if value is None or math.isnan(value) else float(value) for value in values]


def plot_rollup(frame: pd.DataFrame, metric: str, bucket: str) -> go.Figure:
    """Draw means per time bucket, with the number of points behind each as faint bars.

    `frame` has the columns at, value and n_points.
    """
    title = f"{shorten_label(metric)} by {bucket}"
    if not len(frame) or not int(frame["n_points"].sum()):
        return empty_figure(title, "no points in this period")
    n = int((frame["n_points"] > 0).sum())
    figure = base_figure(
        title, x_title=f"Time (UTC), by {bucket}", y_title=f"Mean of {shorten_label(metric)}",
        alt=escape(f"Means of {metric} in {n} {bucket}s."),
    )  # fmt: skip
    at = frame["at"].tolist()
    figure.add_bar(
        x=at, y=frame["n_points"].tolist(), name="points", yaxis="y2", marker={"color": with_alpha(NEUTRAL, 0.35)},
        hovertemplate="%{x}<br>%{y:,} points<extra></extra>",
    )  # fmt: skip
    style = series_style(0)
    figure.add_scatter(
        x=at, y=_known(frame["value"].tolist()), name="mean", mode="lines+markers", line=style.line,
        marker=style.marker, hovertemplate="%{x}<br>%{y:.5g}<extra></extra>",
    )  # fmt: skip
    days_around_one(figure, at)
    highest = max(frame["n_points"].tolist())
    figure.update_layout(
        yaxis={"overlaying": "y2", "side": "left", "tickmode": "auto"},
        yaxis2={
            "title": {"text": "Points (count)"}, "side": "right", "range": [0, 4 * highest], "showgrid": False,
            "rangemode": "tozero",
        },
        margin={"r": 64},
    )  # fmt: skip
    return figure


def plot_segments(metric: str, frames: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Draw one line a segment; each frame has the columns at and value, the first is the whole traffic."""
    title = f"{shorten_label(metric)} by segment"
    kept = {name: frame for name, frame in frames.items() if len(frame)}
    if not kept:
        return empty_figure(title, "no points in this period")
    shown = list(kept.items())[:SHOWN_SEGMENTS]
    figure = base_figure(
        title, x_title="Time (UTC)", y_title=f"Mean of {shorten_label(metric)}", height=400,
        alt=escape(f"{metric} of {', '.join(name for name, _ in shown)}."),
    )  # fmt: skip
    for index, (name, frame) in enumerate(shown):
        style = series_style(index)
        figure.add_scatter(
            x=frame["at"].tolist(), y=_known(frame["value"].tolist()), name=shorten_label(name), mode="lines+markers",
            line=style.line, marker={**style.marker, "size": 6}, hovertemplate="%{x}<br>%{y:.5g}<extra></extra>",
        )  # fmt: skip
    days_around_one(figure, [instant for _, frame in shown for instant in frame["at"].tolist()])
    return figure


def plot_prediction_scores(performance: PredictionPerformance, score: str) -> go.Figure:
    """Draw a score by bucket from the labels that have arrived, and the accuracy that the probabilities promise."""
    words = score.replace("_", " ")
    named = shorten_label(words[:1].upper() + words[1:] if len(words) > 4 else words.upper())
    unit = " (0 to 1)" if performance.task == "classification" else ""
    title = f"{named} of logged predictions by {performance.bucket}"
    buckets = performance.buckets
    at = [bucket.start_at for bucket in buckets]
    realised = [bucket.scores.get(score) for bucket in buckets]
    estimates = [getattr(bucket.estimated, score, None) for bucket in buckets]
    known = sum(value is not None for value in realised)
    if not known and all(value is None for value in estimates):
        return empty_figure(title, "no label has arrived, and no probability was logged")
    figure = base_figure(
        title, x_title=f"Time (UTC), by {performance.bucket}", y_title=f"{named}{unit}",
        alt=escape(f"{words} in {len(buckets)} buckets; {known} of them have labels."),
    )  # fmt: skip
    if any(value is not None for value in estimates):
        band = [
            (bucket.start_at, bucket.estimated.accuracy, bucket.estimated.standard_error)
            for bucket in buckets
            if bucket.estimated is not None
        ]
        style = series_style(1)
        if score == "accuracy":
            add_band(
                figure,
                [when for when, _, _ in band],
                [max(0.0, value - INTERVAL * error) for _, value, error in band],
                [min(1.0, value + INTERVAL * error) for _, value, error in band],
                "95 % of what the labels should show",
                color=style.color,
            )
        figure.add_scatter(
            x=at, y=estimates, name="estimated from probabilities", mode="lines+markers", line=style.line,
            marker=style.marker,
        )  # fmt: skip
    days_around_one(figure, at)
    if not known:
        return figure
    style = series_style(0)
    figure.add_scatter(
        x=at, y=realised, name="realised, from labels", mode="lines+markers", line=style.line, marker=style.marker,
        customdata=[f"{bucket.n_labelled:,} of {bucket.n:,} labelled" for bucket in buckets],
        hovertemplate="%{x}<br>%{y:.4g}<br>%{customdata}<extra></extra>",
    )  # fmt: skip
    return figure


def plot_label_counts(performance: PredictionPerformance) -> go.Figure:
    """Draw how many predictions each bucket holds, and how many of them have a label yet."""
    title = f"Predictions and labels by {performance.bucket}"
    buckets = performance.buckets
    if not buckets:
        return empty_figure(title, "no predictions in this period")
    labelled = sum(bucket.n_labelled for bucket in buckets)
    total = sum(bucket.n for bucket in buckets)
    figure = base_figure(
        title, x_title=f"Time (UTC), by {performance.bucket}", y_title="Predictions (count)", height=280,
        alt=f"{total:,} predictions, {labelled:,} of them labelled.",
    )  # fmt: skip
    at = [bucket.start_at for bucket in buckets]
    parts = (
        ("with a label", [bucket.n_labelled for bucket in buckets], series_style(0).color),
        ("waiting for a label", [bucket.n - bucket.n_labelled for bucket in buckets], NEUTRAL),
    )
    for name, values, color in parts:
        figure.add_bar(x=at, y=values, name=name, marker={"color": color})
    figure.update_layout(barmode="stack")
    days_around_one(figure, at)
    return figure
