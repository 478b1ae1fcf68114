"""Figures of several runs: curves over each other, parallel coordinates, a scatter with its Pareto front.

    >>> import pandas as pd
    >>> history = pd.DataFrame({"run_id": ["a", "a"], "step": [0, 1], "value": [0.5, 0.7],
    ...                         "at": pd.to_datetime(["2026-01-01", "2026-01-02"], utc=True)})
    >>> [trace.name for trace in plot_curves(history, "accuracy", names={"a": "run-1"}).data]
    ['run-1']

Vocabulary: a *run* is anything with `run_id`, `name`, `params` and `metric_summaries`; a *dimension* is one of
`params.<key>` or `metrics.<key>`; a run is on the *Pareto front* when no other run is at least as good on both axes and
better on one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from charts.theme import (
    NEUTRAL,
    SERIES_COLORS,
    VERDICT_COLORS,
    base_figure,
    empty_figure,
    escape,
    series_style,
    shorten_label,
    with_alpha,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["best_value", "pareto_front", "plot_curves", "plot_parallel", "plot_scatter", "smooth"]

Floats = npt.NDArray[np.float64]
AXIS_TITLES = {"step": "Step", "time": "Time (UTC)", "relative": "Time since the first value (s)"}
MAX_LEGEND = 10  # series named in the legend; more would cover the figure


# -- arrays ------------------------------------------------------------------------------------------


def smooth(values: Floats, weight: float) -> Floats:
    """Return the exponential moving average of values, corrected for its start; gaps stay gaps.

    Parameters
    ----------
    values : array of shape (n,)
    weight : float
        In [0, 1): how much of the average before is kept.

    Notes
    -----
    s_i = w s_(i-1) + (1 - w) v_i, divided by 1 - w^i, so that the first value is itself.
    """
    result = np.full(len(values), np.nan)
    average, scale = 0.0, 0.0
    for position, value in enumerate(values):
        if math.isfinite(value):
            average = weight * average + (1 - weight) * value
            scale = weight * scale + (1 - weight)
            result[position] = average / scale
    return result


def pareto_front(x: Sequence[float], y: Sequence[float], *, x_goal: str, y_goal: str) -> list[int]:
    """Return the positions of the points that no other point beats on both axes, by growing x.

    Parameters
    ----------
    x, y : sequence of float, both of length n
    x_goal, y_goal : {"min", "max"}
    """
    a = [value if x_goal == "min" else -value for value in x]
    b = [value if y_goal == "min" else -value for value in y]
    front: list[int] = []
    least = math.inf
    for position in sorted(range(len(a)), key=lambda i: (a[i], b[i])):
        if b[position] < least:
            front.append(position)
            least = b[position]
    return sorted(front, key=lambda i: x[i])


def goal_of(metric: str) -> str:
    """Return "min" or "max": which end of a metric is good."""
    from tracking_parts.records import goal_of as goal

    return goal(metric)


def best_value(run: Any, dimension: str) -> Any:
    """Return a run's param, or the best value of its metric; None where it has none."""
    kind, _, key = dimension.partition(".")
    if kind == "params":
        return run.params.get(key)
    summary = run.metric_summaries.get(key)
    return None if summary is None else summary.best(goal_of(key))


# -- figures -----------------------------------------------------------------------------------------


def plot_curves(
    history: pd.DataFrame,
    metric: str,
    *,
    names: Mapping[str, str],
    x: str = "step",
    smoothing: float = 0.0,
    log_y: bool = False,
) -> go.Figure:
    """Return the course of a metric in several runs, over each other.

    Parameters
    ----------
    history : DataFrame
        Columns run_id, step, at, value: one metric of `ExperimentTracking.metric_history`.
    names : mapping
        What to call each run, by run_id, in the order of the legend.
    x : {"step", "time", "relative"}
    smoothing : float
        In [0, 1); the line as logged stays behind the smoothed one, faint.
    log_y : bool
        Logarithmic vertical axis; values of zero and below cannot be drawn on it.
    """
    label = shorten_label(metric)
    if history.empty:
        return empty_figure(label, "None of the runs has logged it")
    figure = base_figure(label, x_title=AXIS_TITLES[x], y_title=label, alt=f"Course of {metric} in {len(names)} runs")
    for index, (run_id, name) in enumerate(names.items()):
        part = history[history["run_id"] == run_id]
        if part.empty:
            continue
        style = series_style(index)
        values = part["value"].to_numpy(dtype=float)
        at: Any = part["step"].to_numpy()
        if x != "step":
            at = part["at"] if x == "time" else (part["at"] - part["at"].iloc[0]).dt.total_seconds().to_numpy()
        mode = "lines+markers" if len(part) <= 30 else "lines"
        shown = shorten_label(name, 32)
        if smoothing > 0:
            figure.add_scatter(
                x=at, y=values, mode="lines", showlegend=False, hoverinfo="skip", name=f"{shown} as logged",
                line={"color": with_alpha(style.color, 0.25), "width": 1},
            )  # fmt: skip
            values = smooth(values, smoothing)
        figure.add_scatter(
            x=at, y=values, mode=mode, name=shown, line=style.line, marker=style.marker | {"size": 6},
            showlegend=index < MAX_LEGEND,
        )  # fmt: skip
    figure.update_layout(hovermode="x unified" if x == "step" else "closest", showlegend=len(names) > 1)
    if log_y:
        figure.update_yaxes(type="log")
    return figure


def plot_parallel(runs: Sequence[Any], metric: str | None) -> go.Figure:
    """Return parallel coordinates: a line a run through the params that differ and the metrics, coloured by `metric`."""
    dimensions = _dimensions(runs)
    if len(dimensions) < 2:
        return empty_figure("Parallel coordinates", "The runs differ in fewer than two params and metrics")
    color = [best_value(run, f"metrics.{metric}") if metric else None for run in runs]
    finite = [float(v) for v in color if v is not None]
    line: dict[str, Any] = {"color": SERIES_COLORS[0]}
    if finite and metric and len(set(finite)) > 1:
        lowest = min(finite)
        line = {
            "color": [lowest if v is None else float(v) for v in color],
            "colorscale": [[0, SERIES_COLORS[1]], [0.5, NEUTRAL], [1, SERIES_COLORS[0]]],
            "showscale": True,
            "colorbar": {"title": {"text": shorten_label(metric, 24)}, "thickness": 12, "outlinewidth": 0},
        }
    figure = base_figure(
        f"{len(runs)} runs: params that differ and best metrics",
        height=420,
        alt=f"Parallel coordinates of {len(runs)} runs over {len(dimensions)} params and metrics",
    )
    figure.add_trace(go.Parcoords(line=line, dimensions=dimensions, labelangle=-12, labelside="bottom"))
    figure.update_layout(margin={"l": 70, "r": 70, "t": 70, "b": 70})
    return figure


def _dimensions(runs: Sequence[Any], limit: int = 10) -> list[dict[str, Any]]:
    """Return the axes: params that differ (numbers as they are, anything else by its place in the alphabet), metrics."""
    found = []
    for key in sorted({key for run in runs for key in run.params}):
        values = [run.params.get(key) for run in runs]
        if len({repr(value) for value in values}) < 2:
            continue
        if all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values):
            positive = [float(v) for v in values if v > 0]
            if len(positive) == len(values) and max(positive) / min(positive) >= 100:  # learning rates: by magnitude
                ticks = sorted({10.0 ** math.floor(math.log10(v)) for v in positive} | {max(positive)})
                found.append(
                    {"label": f"{shorten_label(key, 20)} (log)", "values": [math.log10(v) for v in positive],
                     "tickvals": [math.log10(t) for t in ticks], "ticktext": [f"{t:.3g}" for t in ticks]}
                )  # fmt: skip
            else:
                found.append({"label": shorten_label(key, 20), "values": [float(v) for v in values]})
        else:
            words = ["(none)" if v is None else str(v) for v in values]
            order = sorted(set(words))
            found.append(
                {"label": shorten_label(key, 20), "values": [order.index(w) for w in words],
                 "tickvals": list(range(len(order))), "ticktext": [shorten_label(w, 16) for w in order]}
            )  # fmt: skip
    for key in sorted({key for run in runs for key in run.metric_summaries}):
        values = [best_value(run, f"metrics.{key}") for run in runs]
        if all(v is not None for v in values):
            found.append({"label": shorten_label(key, 20), "values": [float(v) for v in values]})
    return found[:limit]


def plot_scatter(runs: Sequence[Any], x: str, y: str) -> go.Figure:
    """Return runs by two dimensions; when both are metrics, those on the Pareto front are joined by a line."""
    points = [(run, best_value(run, x), best_value(run, y)) for run in runs]
    drawn = [(run, float(a), float(b)) for run, a, b in points if _is_number(a) and _is_number(b)]
    names = [dimension.partition(".")[2] for dimension in (x, y)]
    title = f"{shorten_label(names[1], 32)} against {shorten_label(names[0], 32)}"
    if not drawn:
        return empty_figure(title, "No selected run has both")
    both_metrics = x.startswith("metrics.") and y.startswith("metrics.") and x != y
    front: list[int] = []
    if both_metrics:
        goals = {"x_goal": goal_of(names[0]), "y_goal": goal_of(names[1])}
        front = pareto_front([a for _, a, _ in drawn], [b for _, _, b in drawn], **goals)
    figure = base_figure(
        title,
        x_title=_axis_title(x),
        y_title=_axis_title(y),
        alt=f"{len(drawn)} runs by {names[0]} and {names[1]}"
        + (f"; {len(front)} on the Pareto front" if front else ""),
    )
    if front:
        figure.add_scatter(
            x=[drawn[i][1] for i in front], y=[drawn[i][2] for i in front], mode="lines", name="Pareto front",
            line={"color": VERDICT_COLORS["good"], "dash": "dash", "width": 1.5, "shape": "hv"}, hoverinfo="skip",
        )  # fmt: skip
    groups = (
        ("On the Pareto front", "diamond", VERDICT_COLORS["good"]),
        ("Beaten on both", "circle", SERIES_COLORS[0]),
    )
    for position, (name, symbol, color) in enumerate(groups):
        part = [d for i, d in enumerate(drawn) if (i in front) == (position == 0)]
        if part:
            figure.add_scatter(
                x=[a for _, a, _ in part], y=[b for _, _, b in part], mode="markers", showlegend=bool(front),
                name=name if front else "Runs", marker={"symbol": symbol, "color": color, "size": 11},
                text=[escape(run.name) for run, _, _ in part],
                hovertemplate="%{text}<br>%{x:,.4~r}, %{y:,.4~r}<extra></extra>",
            )  # fmt: skip
    xs = [a for _, a, _ in drawn]
    if x.startswith("params.") and min(xs) > 0 and max(xs) / min(xs) >= 100:
        figure.update_xaxes(type="log")
    return figure


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _axis_title(dimension: str) -> str:
    kind, _, key = dimension.partition(".")
    if kind == "params":
        return f"{shorten_label(key)} (param)"
    return f"{shorten_label(key)} (best, {'lower' if goal_of(key) == 'min' else 'higher'} is better)"
