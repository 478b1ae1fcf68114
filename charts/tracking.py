"""Figures of experiment tracking: curves over steps or time, params against metrics, runs beside each other.

    >>> import pandas as pd
    >>> history = pd.DataFrame({"run_id": ["a"] * 3, "metric": ["loss"] * 3, "step": [0, 1, 2],
    ...                         "at": pd.to_datetime([0, 1, 2], unit="s", utc=True), "value": [3.0, 2.0, 1.0]})
    >>> figure = plot_curves(history, names={"a": "run-001"})
    >>> [trace.name for trace in figure.data]
    ['run-001']

Frames come from `ExperimentTracking.metric_history`, `search_runs` and `compare_runs`. Values that are no finite number
are gaps in a curve and are left out elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go
import plotly.io as pio

from charts.theme import (
    DEFAULT_HEIGHT,
    NEUTRAL,
    SERIES_COLORS,
    add_footnote,
    add_level,
    base_figure,
    empty_figure,
    escape,
    series_style,
    shorten_label,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ParallelAxis",
    "figure_from_json",
    "parallel_axis",
    "pareto_front",
    "plot_box",
    "plot_curves",
    "plot_explanation",
    "plot_leaderboard",
    "plot_parallel",
    "plot_run_diff",
    "plot_scatter",
    "smooth",
]

MAX_SERIES = 30  # curves in one figure: more cannot be told apart
FEW_STEPS = 8  # up to so many, every step has its tick
LEGEND_ROW = 3  # names that stand beside each other above a narrow figure
LEGEND_ROW_PIXELS = 22
# Of parallel coordinates: greatest to least positive value of a param from which its axis is logarithmic; texts named
# on an axis; and the mark where the lines of runs without a value cross it.
LOG_SPAN = 100.0
MAX_TICKS = 20
MISSING = "(missing)"
MAX_NAMED = 10  # points of a scatter that bear their run's name, when they stand apart: by these shares of the figure
NAME_WIDTH, NAME_HEIGHT = 0.2, 0.07
MANY_AXES = 7  # axes of parallel coordinates from which their names lean, to have room

FloatArray = npt.NDArray[np.float64]


def figure_from_json(text: str) -> go.Figure:
    """Return a Plotly figure from its JSON."""
    return pio.from_json(text)


def smooth(values: Sequence[float] | FloatArray, weight: float) -> FloatArray:
    """Return the exponential moving average of a curve, corrected for its start.

    Parameters
    ----------
    values : array of shape (n_points,)
        What is no finite number stays as it is, and the average goes on behind it.
    weight : float
        In [0, 1): 0 leaves the curve as it is; each point takes this share from the one before.

    Examples
    --------
    >>> smooth([0.0, 1.0, 1.0], 0.5).round(3).tolist()
    [0.0, 0.667, 0.857]
    """
    if not 0.0 <= weight < 1.0:
        raise ValueError(f"weight must be at least 0 and below 1, got {weight!r}")
    array = np.asarray(values, dtype=np.float64)
    result = array.copy()
    average, share = 0.0, 0.0
    for index, value in enumerate(array.tolist()):
        if math.isfinite(value):
            average = weight * average + (1.0 - weight) * value
            share = weight * share + (1.0 - weight)  # without it the curve would begin near 0
            result[index] = average / share
    return result


def _gaps(values: FloatArray) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]


def plot_curves(
    history: pd.DataFrame,
    *,
    names: Mapping[str, str] | None = None,
    x: Literal["step", "time", "relative"] = "step",
    smoothing: float = 0.0,
    log_x: bool = False,
    log_y: bool = False,
    title: str | None = None,
) -> go.Figure:
    """Draw histories over each other, a curve a run and metric.

    Parameters
    ----------
    history : DataFrame
        From `metric_history`: run_id, metric, step, at, value.
    names : mapping or None
        Name of each run by its id.
    x : {"step", "time", "relative"}
        "relative" is seconds since the first point of the run.
    smoothing : float
        Weight of `smooth`; the raw curve stays, faint.
    log_x, log_y : bool
        Logarithmic axes; what is not positive is a gap then.
    title : str or None
    """
    if len(history) == 0:
        return empty_figure(title, "No values yet: log_metrics() adds them")
    metrics = list(dict.fromkeys(history["metric"]))
    shown = "; ".join(shorten_label(metric) for metric in metrics[:3])
    x_title = {"step": "Step", "time": "Time (UTC)", "relative": "Time since the first point (s)"}[x]
    figure = base_figure(
        title or shown,
        x_title=x_title,
        y_title=shown if len(metrics) == 1 else "Value",
        alt=f"Curves of {shown} for {history['run_id'].nunique()} runs over {x_title.lower()}.",
    )
    groups = list(history.groupby(["run_id", "metric"], sort=False))
    starts = history.groupby("run_id")["at"].min()
    for index, (key, part) in enumerate(groups[:MAX_SERIES]):
        run_id, metric = (str(name) for name in cast("tuple[object, object]", key))
        style = series_style(index)
        label = shorten_label((names or {}).get(run_id, run_id[:8]))
        if len(metrics) > 1:
            label = f"{label}, {shorten_label(metric)}"
        values = part["value"].to_numpy(dtype=np.float64)
        if log_y:
            values = np.where(values > 0, values, np.nan)
        if x == "step":
            places: Any = part["step"].to_numpy()
        elif x == "time":
            places = part["at"].dt.tz_localize(None).to_numpy()
        else:
            places = (part["at"] - starts[run_id]).dt.total_seconds().to_numpy()
        common: dict[str, Any] = {"x": places, "connectgaps": False, "legendgroup": f"{run_id}{metric}"}
        lone = len(part) == 1
        mode = "markers" if lone else "lines+markers" if len(part) <= 40 else "lines"
        marker = style.marker | {"size": 8 if lone else 5}
        if smoothing > 0.0 and not lone:
            figure.add_scatter(
                y=_gaps(values), mode="lines", line=style.line | {"width": 1}, opacity=0.25, showlegend=False,
                hoverinfo="skip", name=label, **common,
            )  # fmt: skip
            figure.add_scatter(y=_gaps(smooth(values, smoothing)), mode="lines", line=style.line, name=label, **common)
        else:
            figure.add_scatter(y=_gaps(values), mode=mode, line=style.line, marker=marker, name=label, **common)
    if x == "step":
        steps = history["step"].to_numpy()
        few = int(steps.max()) - int(steps.min()) <= FEW_STEPS
        figure.update_xaxes(tickformat=",d", dtick=1 if few and not log_x else None)  # there is no half step
    if log_y:
        figure.update_yaxes(type="log")
    if log_x and x != "time":
        figure.update_xaxes(type="log")
    figure.update_layout(showlegend=True)
    if min(len(groups), MAX_SERIES) > LEGEND_ROW:
        # Several rows of names would grow up into the title: they go to the foot of a figure that grows with them.
        rows = -(-min(len(groups), MAX_SERIES) // LEGEND_ROW)
        figure.update_layout(
            height=DEFAULT_HEIGHT + LEGEND_ROW_PIXELS * rows,
            legend={"yref": "container", "y": 0, "yanchor": "bottom"},
        )
    if len(groups) > MAX_SERIES:
        figure.add_annotation(
            text=f"the first {MAX_SERIES} of {len(groups)} curves",
            x=1,
            y=0,
            xref="paper",
            yref="paper",
            showarrow=False,
        )
    return figure


def _column(frame: pd.DataFrame, name: str) -> tuple[FloatArray, list[str] | None]:
    """Return a column as numbers, and the labels of its codes if it is not numeric."""
    items = list(frame[name])
    if all(_is_number(item) or item is None or item != item for item in items):
        return np.array([np.nan if item is None else float(item) for item in items], dtype=np.float64), None
    labels = sorted({_text(item) for item in items})
    return np.array([float(labels.index(_text(item))) for item in items], dtype=np.float64), labels


def _is_number(item: object) -> bool:
    return isinstance(item, int | float | np.number) and not isinstance(item, bool)


def _text(item: object) -> str:
    if isinstance(item, bool | np.bool_):
        return "yes" if item else "no"
    return "none" if item is None or item != item else str(item)


def _bare(column: str) -> str:
    return shorten_label(
        column.partition(".")[2] if column.split(".")[0] in {"params", "metrics", "best", "tags"} else column
    )


def plot_parallel(frame: pd.DataFrame, columns: Sequence[str], metric: str, *, title: str | None = None) -> go.Figure:
    """Draw a line a run through its params to its metric; a run without a param crosses its axis at a mark of its own.

    Parameters
    ----------
    frame : DataFrame
        From `search_runs` or `compare_runs`.
    columns : sequence of str
        Columns of the frame, such as "params.lr"; texts become evenly spaced marks.
    metric : str
        The last column, which also colours the lines; runs without a finite value are left out. The axis of a param
        whose values are positive and span a factor of `LOG_SPAN` is logarithmic.
    """
    if metric not in frame or len(frame) == 0:
        return empty_figure(title, f"No run has {escape(metric)}")
    kept = frame[np.isfinite(_column(frame, metric)[0])]
    if len(kept) == 0:
        return empty_figure(title, f"No run has a finite {_bare(metric)}")
    axes = [
        parallel_axis(kept[name], name, logarithmic=name != metric)
        for name in [*[c for c in columns if c in kept and c != metric], metric]
    ]
    axes = [axis for axis in axes if axis.n_missing < len(kept)]  # one that no run has a value on says nothing
    colors = _column(kept, metric)[0]
    figure = base_figure(
        title or f"Params and {_bare(metric)}",
        alt=f"Parallel coordinates of {len(kept)} runs, coloured by {_bare(metric)}."
        + (
            f" Where a param is missing, the line crosses its axis at {MISSING}."
            if any(a.n_missing for a in axes)
            else ""
        ),
    )
    figure.add_trace(
        go.Parcoords(
            dimensions=[axis.dimension() for axis in axes],
            line={"color": colors, "colorscale": _LINE_SCALE, "showscale": True},
            # The ends of an axis are ticks of ours, with three digits; Plotly would write them again, with six.
            rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
        )
    )
    longest = max(len(text) for _, text in axes[0].ticks)
    lean = len(axes) >= MANY_AXES
    if lean:
        figure.update_traces(labelangle=-20)
    figure.update_layout(margin={"l": max(70, 24 + 6 * longest), "r": 70, "t": 120 if lean else 80, "b": 30})
    if lean:
        figure.update_layout(height=DEFAULT_HEIGHT + 40, title_y=1 - 14 / (DEFAULT_HEIGHT + 40))
    return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelAxis:
    """One axis of parallel coordinates.

    Attributes
    ----------
    label : str
    places : tuple of float
        Where the line of each run crosses the axis.
    ticks : tuple of (place, text)
        The lowest first. Runs without a value cross at a tick of their own, below all values.
    n_missing : int
        Runs without a (finite) value.
    """

    label: str
    places: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    n_missing: int

    def dimension(self) -> dict[str, Any]:
        """Return the axis as Plotly takes it."""
        return {
            "label": self.label,
            "values": list(self.places),
            "tickvals": [place for place, _ in self.ticks],
            "ticktext": [text for _, text in self.ticks],
        }


def parallel_axis(column: pd.Series[Any], name: str, *, logarithmic: bool = True) -> ParallelAxis:
    """Return an axis for a column: numbers where they are (or their logarithm), texts evenly spaced.

    With `logarithmic`, positive numbers that span a factor of `LOG_SPAN` lie on a logarithmic axis.

    Examples
    --------
    >>> import pandas as pd
    >>> axis = parallel_axis(pd.Series([16.0, None, 64.0]), "params.width")
    >>> axis.ticks[0], axis.places[1] < 16.0, axis.n_missing
    ((8.8, '(missing)'), True, 1)
    """
    items = list(column)
    present = [item for item in items if not _is_missing(item)]
    if all(_is_number(item) for item in present):
        values = np.array([np.nan if _is_missing(item) else float(item) for item in items], dtype=np.float64)
        log_ticks = _log_ticks(values) if logarithmic else None
        places = values if log_ticks is None else np.log10(values)
        finite = places[np.isfinite(places)]
        low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
        marks = _linear_ticks(low, high) if log_ticks is None else log_ticks
        ticks = [(mark if log_ticks is None else math.log10(mark), _tick_text(mark)) for mark in marks]
        room = 0.15 * ((high - low) or 1.0)
    else:
        labels = sorted({_text(item) for item in present})
        places = np.array(
            [np.nan if _is_missing(item) else float(labels.index(_text(item))) for item in items], dtype=np.float64
        )
        every = -(-len(labels) // MAX_TICKS)
        ticks = [(float(i), shorten_label(text, 20)) for i, text in enumerate(labels) if i % every == 0]
        low, room = 0.0, max(1.0, 0.15 * (len(labels) - 1))
    is_missing = ~np.isfinite(places)
    if is_missing.any():
        ticks.insert(0, (low - room, MISSING))
    return ParallelAxis(
        label=_bare(name),
        places=tuple(np.where(is_missing, low - room, places).tolist()),
        ticks=tuple(ticks),
        n_missing=int(is_missing.sum()),
    )


def _is_missing(item: object) -> bool:
    return item is None or (isinstance(item, float | np.floating) and not math.isfinite(item))


def _linear_ticks(low: float, high: float) -> list[float]:
    """Return both ends, and up to five round numbers between that do not touch them."""
    if low == high:
        return [low]
    raw = (high - low) / 5
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(magnitude * nice for nice in (1, 2, 5, 10) if magnitude * nice >= raw)
    first = math.ceil(low / step)
    inner = [(first + i) * step for i in range(6)]
    return [low, *(mark for mark in inner if low + 0.4 * step < mark < high - 0.4 * step), high]


def _tick_text(value: float) -> str:
    """Return a number with three significant digits; thousands and more as k, M, G."""
    for scale, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * scale or (abs(value) >= scale and scale > 1e3):
            return f"{value / scale:.3g}{unit}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def _log_ticks(values: FloatArray) -> list[float] | None:
    """Return the ends and the powers of ten between of values that span so much that a linear axis would hide them."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0 or finite.min() <= 0 or finite.max() < LOG_SPAN * finite.min():
        return None
    low, high = float(finite.min()), float(finite.max())
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = max(1, len(decades) // 8)
    inner = [10.0**decade for decade in list(decades)[::every] if low * 1.5 < 10.0**decade < high / 1.5]
    return [low, *inner, high]


_LINE_SCALE = [[0.0, SERIES_COLORS[1]], [0.5, NEUTRAL], [1.0, SERIES_COLORS[0]]]


def pareto_front(
    x: Sequence[float] | FloatArray, y: Sequence[float] | FloatArray, *, x_goal: str = "min", y_goal: str = "max"
) -> list[int]:
    """Return the positions of the points that no other point beats in both, sorted by x.

    Examples
    --------
    >>> pareto_front([1.0, 2.0, 3.0], [0.5, 0.4, 0.9])
    [0, 2]
    """
    a = np.asarray(x, dtype=np.float64) * (1.0 if x_goal == "min" else -1.0)
    b = np.asarray(y, dtype=np.float64) * (1.0 if y_goal == "min" else -1.0)
    order = sorted((i for i in range(len(a)) if np.isfinite(a[i]) and np.isfinite(b[i])), key=lambda i: (a[i], b[i]))
    front: list[int] = []
    best = math.inf
    for i in order:
        if b[i] < best:
            front.append(i)
            best = float(b[i])
    return sorted(front, key=lambda i: float(np.asarray(x, dtype=np.float64)[i]))


def _stand_apart(x: FloatArray, y: FloatArray) -> bool:
    """Return whether points are so few, and so far from each other, that a name beside each can be read."""
    if len(x) > MAX_NAMED:
        return False
    shares = [(values - values.min()) / (float(np.ptp(values)) or 1.0) for values in (x, y)]
    near = [np.abs(share[:, None] - share[None, :]) for share in shares]
    crowded = (near[0] < NAME_WIDTH) & (near[1] < NAME_HEIGHT)
    return int(crowded.sum()) == len(x)  # each is near to itself


def plot_scatter(
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    log_x: bool = False,
    pareto: tuple[str, str] | None = None,
    title: str | None = None,
) -> go.Figure:
    """Draw a metric against a param (or another metric), a point a run.

    Parameters
    ----------
    frame : DataFrame
        From `search_runs` or `compare_runs`; its column "name" is shown at each point.
    x, y : str
        Columns, such as "params.lr" and "metrics.accuracy".
    log_x : bool
    pareto : (goal of x, goal of y) or None
        Also draw the front of the runs that no other beats in both: "min" or "max" each.
    """
    if x not in frame or y not in frame or len(frame) == 0:
        return empty_figure(title, f"No run has both {escape(x)} and {escape(y)}")
    (a, labels), (b, _) = _column(frame, x), _column(frame, y)
    kept = np.flatnonzero(np.isfinite(a) & np.isfinite(b))
    if len(kept) == 0:
        return empty_figure(title, f"No run has both {_bare(x)} and {_bare(y)}")
    names = [shorten_label(name) for name in frame["name"]] if "name" in frame else [""] * len(frame)
    figure = base_figure(
        title or f"{_bare(y)} by {_bare(x)}",
        x_title=_bare(x),
        y_title=_bare(y),
        alt=f"{len(kept)} runs: {_bare(y)} against {_bare(x)}.",
    )
    style = series_style(0)
    figure.add_scatter(
        x=a[kept], y=b[kept], mode="markers+text" if _stand_apart(a[kept], b[kept]) else "markers",
        marker=style.marker | {"opacity": 0.75}, text=[names[i] for i in kept], textposition="top center",
        cliponaxis=False, hovertemplate="%{text}<br>%{x:.6~g}, %{y:.6~g}<extra></extra>", name="runs", showlegend=False,
    )  # fmt: skip
    if pareto is not None:
        front = pareto_front(a, b, x_goal=pareto[0], y_goal=pareto[1])
        line = series_style(1)
        figure.add_scatter(
            x=a[front], y=b[front], mode="lines+markers", line=line.line | {"shape": "hv"}, marker=line.marker,
            text=[names[i] for i in front], hovertemplate="%{text}<extra>not beaten</extra>", name="Pareto front",
        )  # fmt: skip
        figure.update_layout(showlegend=True)
    if labels is not None:
        figure.update_xaxes(tickvals=list(range(len(labels))), ticktext=[shorten_label(text, 24) for text in labels])
    elif log_x and (a[kept] > 0).all():
        figure.update_xaxes(type="log")
    if len(kept) < len(frame):
        add_footnote(figure, f"Not drawn: {len(frame) - len(kept)} of {len(frame)} runs, which lack one of the two.")
    return figure


def plot_box(frame: pd.DataFrame, category: str, metric: str, *, title: str | None = None) -> go.Figure:
    """Draw the spread of a metric for each value of a param or tag, every run a point."""
    if category not in frame or metric not in frame:
        return empty_figure(title, f"No run has both {escape(category)} and {escape(metric)}")
    values = _column(frame, metric)[0]
    items = list(frame[category])
    texts = [MISSING if _is_missing(item) else f"{item:.12g}" if _is_number(item) else _text(item) for item in items]
    # Numbers in their order, then texts, then what has no value.
    order = {
        text: (text == MISSING, not _is_number(item), item if _is_number(item) else 0, text)
        for text, item, value in zip(texts, items, values, strict=True)
        if math.isfinite(value)
    }
    groups = sorted(order, key=lambda text: order[text])
    if not groups:
        return empty_figure(title, f"No run has a finite {_bare(metric)}")
    figure = base_figure(
        title or f"{_bare(metric)} by {_bare(category)}", x_title=_bare(category), y_title=_bare(metric),
        alt=f"Box plots of {_bare(metric)} for {len(groups)} values of {_bare(category)}.",
    )  # fmt: skip
    for index, group in enumerate(groups[:MAX_SERIES]):
        chosen = [v for t, v in zip(texts, values.tolist(), strict=True) if t == group and math.isfinite(v)]
        figure.add_trace(
            go.Box(
                y=chosen, name=shorten_label(group, 24), boxpoints="all", jitter=0.3, pointpos=0,
                marker={"color": series_style(index).color, "size": 5}, showlegend=False,
            )
        )  # fmt: skip
    figure.update_xaxes(type="category")  # texts that look like numbers would get places on a scale
    if len(groups) > MAX_SERIES:
        add_footnote(figure, f"Not drawn: all but the first {MAX_SERIES} of {len(groups)} values.")
    return figure


def plot_run_diff(diff: Any) -> go.Figure:
    """Draw the metrics of two runs as dots on a line each, scaled to the larger of the two."""
    rows = [(name, a, b) for name, (a, b, change) in diff.metrics.items() if change is not None]
    if not rows:
        return empty_figure("Metrics of two runs", "The runs share no finite metric")
    first, second = shorten_label(diff.first.name), shorten_label(diff.second.name)
    figure = base_figure(
        f"{first} and {second}", x_title="Value, relative to the larger", height=max(240, 60 + 32 * len(rows)),
        alt=f"Last values of {len(rows)} metrics of two runs.",
    )  # fmt: skip
    labels = [shorten_label(name) for name, _, _ in rows]
    scales = [max(abs(a), abs(b)) or 1.0 for _, a, b in rows]
    for (_, a, b), label, scale in zip(rows, labels, scales, strict=True):
        figure.add_scatter(
            x=[a / scale, b / scale], y=[label, label], mode="lines", line={"color": NEUTRAL, "width": 2},
            hoverinfo="skip", showlegend=False,
        )  # fmt: skip
    for index, (name, position) in enumerate(((first, 1), (second, 2))):
        figure.add_scatter(
            x=[row[position] / scale for row, scale in zip(rows, scales, strict=True)], y=labels, mode="markers",
            marker=series_style(index).marker, name=name, text=[f"{row[position]:.6g}" for row in rows],
            hovertemplate="%{y}: %{text}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_layout(showlegend=True)
    return figure


def plot_explanation(explanation: Any) -> go.Figure:
    """Draw how strongly each param goes with the metric, a bar each."""
    effects = [effect for effect in explanation.effects if effect.strength is not None][:20]
    title = f"What goes with {shorten_label(explanation.metric)}"
    if not effects:
        reason = explanation.effects[0].reason if explanation.effects else "the runs have no params"
        return empty_figure(title, f"Nothing can be said: {escape(reason)}")
    figure = base_figure(
        title, x_title="Rank association (0 to 1)", height=max(240, 90 + 30 * len(effects)),
        alt=f"Strength of association of {len(effects)} params with the metric over {explanation.n_runs} runs.",
    )  # fmt: skip
    names = [shorten_label(effect.param) for effect in effects]
    signs = [
        "" if e.correlation is None else "rises with it" if e.correlation > 0 else "falls with it" for e in effects
    ]
    figure.add_bar(
        x=[e.strength for e in effects], y=names, orientation="h", marker_color=SERIES_COLORS[0], name="association",
        text=signs, textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{x:.3f} %{text}<extra></extra>",
    )  # fmt: skip
    if any(e.importance is not None for e in effects):
        figure.add_scatter(
            x=[e.importance for e in effects],
            y=names,
            mode="markers",
            marker=series_style(1).marker,
            name="importance (forest)",
        )
        figure.update_layout(showlegend=True)
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(range=[0, 1.02])
    return figure


def plot_leaderboard(leaderboard: Any, *, limit: int = 30) -> go.Figure:
    """Draw groups of runs with their mean and standard deviation, the best on top."""
    rows = [row for row in leaderboard.rows if row.mean is not None][:limit]
    metric = shorten_label(leaderboard.metric)
    title = f"{shorten_label(leaderboard.experiment)} by {metric}"
    if not rows:
        return empty_figure(title, "No finished run has a finite value yet")
    figure = base_figure(
        title, x_title=metric, height=max(240, 90 + 28 * len(rows)),
        alt=f"{len(rows)} groups of runs by mean {metric}; the best is {shorten_label(rows[0].group)}.",
    )  # fmt: skip
    figure.add_scatter(
        x=[row.mean for row in rows], y=[shorten_label(row.group) for row in rows], mode="markers",
        marker=series_style(0).marker, name="mean", showlegend=False, text=[f"{row.n_runs} runs" for row in rows],
        error_x={"type": "data", "array": [row.std or 0.0 for row in rows], "color": SERIES_COLORS[0]},
        hovertemplate="%{y}: %{x:.6~g} (%{text})<extra></extra>",
    )  # fmt: skip
    if leaderboard.best_value is not None:
        add_level(figure, leaderboard.best_value, "best run", axis="x")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure
