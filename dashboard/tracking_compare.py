"""Several runs of the Tracking tab beside each other: curves, parallel coordinates, scatter, and what differs.

`differences`, `selection_frame` and `diff_frame` say what is shown; `render_comparison` and `render_charts` draw it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from dashboard import components as ui
from dashboard import formats

if TYPE_CHECKING:
    import pandas as pd

    from experiment_tracking import Run
    from tracking_parts.comparison import RunDiff

__all__ = [
    "MAX_CURVES",
    "Difference",
    "diff_frame",
    "differences",
    "differences_frame",
    "main_metric",
    "render_charts",
    "render_comparison",
    "selection_frame",
]

TAB = "tracking"
CHARTS = ("Curves", "Parallel", "Scatter", "Differences")
X_AXES = {"Step": "step", "Time": "time", "Relative time": "relative"}
MAX_CURVES = 10  # runs drawn at once
MAX_POINTS = 1_500  # points drawn a run and metric; extremes are kept
SMOOTHINGS = tuple(step / 100 for step in range(100))  # weights of what came before a point
MAX_AXES = 8  # params in parallel coordinates
# First guess of what a run is judged by.
_MAIN_METRICS = ("accuracy", "f1", "auc", "r2", "score", "loss", "rmse", "mae")
_KINDS = {"metric (min)": "metric, lower is better", "metric (max)": "metric, higher is better"}


# -- what is shown -----------------------------------------------------------------------------------


def main_metric(metrics: Sequence[str]) -> str | None:
    """Return the metric that runs are most likely judged by, from its name; None without metrics."""
    for word in _MAIN_METRICS:
        for metric in metrics:
            if word in metric.lower():
                return metric
    return metrics[0] if metrics else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A param, tag or metric that the selected runs do not share: its values, one a run, None where it is missing."""

    kind: str
    key: str
    values: tuple[Any, ...]


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Return what differs between runs: params and tags that are not the same in all, and every metric's best."""
    from tracking_parts.records import goal_of

    found = []
    kinds: tuple[tuple[str, list[Mapping[str, Any]]], ...] = (
        ("param", [run.params for run in runs]),
        ("tag", [run.tags for run in runs]),
    )
    for kind, maps in kinds:
        for key in sorted({key for values in maps for key in values}):
            row = tuple(values.get(key) for values in maps)
            if len({repr(value) for value in row}) > 1:
                found.append(Difference(kind=kind, key=key, values=row))
    for key in sorted({key for run in runs for key in run.metric_summaries}):
        goal = goal_of(key)
        values = [run.metric_summaries.get(key) for run in runs]
        found.append(
            Difference(kind=f"metric ({goal})", key=key, values=tuple(v.best(goal) if v else None for v in values))
        )
    return found


def differences_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return `differences` as a table: a row a key, a column a run (named; numbered where names repeat)."""
    import pandas as pd

    names: list[str] = []
    for run in runs:
        same = sum(1 for other in runs[: len(names)] if other.name == run.name)
        names.append(run.name if not same else f"{run.name} ({same + 1})")
    rows = [
        [
            d.key,
            _KINDS.get(d.kind, d.kind),
            *(formats.number(v) if d.kind.startswith("metric") else formats.value_text(v) for v in d.values),
        ]
        for d in differences(runs)
    ]
    return pd.DataFrame(rows, columns=["key", "kind", *names])


def selection_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the selected runs with their params and the best value of each metric, for figures."""
    import pandas as pd

    from tracking_parts.records import goal_of

    rows = []
    for run in runs:
        best = {f"metrics.{key}": s.best(goal_of(key)) for key, s in run.metric_summaries.items()}
        rows.append({"run_id": run.run_id, "name": run.name} | {f"params.{k}": v for k, v in run.params.items()} | best)
    return pd.DataFrame(rows)


def diff_frame(diff: RunDiff) -> pd.DataFrame:
    """Return what differs between two runs in code, packages and machine: a row a property."""
    import pandas as pd

    rows = [
        (key, formats.value_text(first), formats.value_text(second))
        for key, (first, second) in sorted(diff.environment.items())
    ]
    return pd.DataFrame(rows, columns=["property", "first", "second"])


# -- drawing -----------------------------------------------------------------------------------------


def render_comparison(runs: Sequence[Run]) -> None:
    """Say which runs are compared, each one click away."""
    st.markdown(f"#### {formats.plural(len(runs), 'run')} compared")
    with st.container(horizontal=True, gap="small"):
        for run in runs[:MAX_CURVES]:
            st.button(
                formats.markdown(formats.shorten(run.name, 40)),
                key=f"{TAB}.only.{run.run_id}",
                type="tertiary",
                on_click=ui.select,
                args=("run", [run.run_id]),
                help="Show only this run",
            )


def render_charts(app: ui.App, runs: Sequence[Run]) -> None:
    """Draw the selected runs in the way that was chosen."""
    metrics = sorted({key for run in runs for key in run.metric_summaries})
    kinds = CHARTS if len(runs) > 1 else ("Curves",)
    kind: str | None = "Curves"
    if len(runs) > 1:
        kind = st.segmented_control(
            "Chart", kinds, required=True, label_visibility="collapsed",
            **ui.in_url(f"{TAB}.chart", default="Curves", options=kinds),
        )  # fmt: skip
    if kind == "Differences":
        _draw_differences(app, runs)
        return
    if not metrics:
        ui.note("The selected runs have logged no metric yet.")
        return
    if kind == "Curves":
        _draw_curves(app, runs, metrics)
    elif kind == "Parallel":
        _draw_parallel(app, runs, metrics)
    else:
        _draw_scatter(app, runs, metrics)


def _draw_differences(app: ui.App, runs: Sequence[Run]) -> None:
    """Draw what differs; of two runs also their metrics side by side, and their code and packages."""
    frame = differences_frame(runs)
    if frame.empty:
        ui.note("These runs have the same params and tags, and no metrics.")
    else:
        ui.plain_table(
            frame, f"{TAB}.differences", alt="What differs between the runs",
            labels={name: name for name in frame.columns[2:]},
        )  # fmt: skip
    if len(runs) != 2:
        return
    diff = app.tracking.diff_runs(runs[0].run_id, runs[1].run_id)
    environment = diff_frame(diff)
    if environment.empty:
        ui.note("Code, packages and machine are the same.")
    else:
        ui.plain_table(
            environment, f"{TAB}.differences_environment", alt="What differs in code, packages and machine",
            labels={"property": "Code, packages, machine", "first": frame.columns[2], "second": frame.columns[3]},
        )  # fmt: skip
    if diff.metrics:
        ui.chart(app, diff.plot(), key=f"{TAB}.differences_chart")


def _draw_curves(app: ui.App, runs: Sequence[Run], metrics: Sequence[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        default = [m for m in [main_metric(metrics)] if m]
        chosen = st.multiselect(
            "Metrics",
            metrics,
            max_selections=4,
            **ui.in_url(f"{TAB}.metrics", default=default, options=metrics, many=True),
        )
        axis = st.segmented_control(
            "Horizontal axis", list(X_AXES), required=True,
            **ui.in_url(f"{TAB}.axis", default="Step", options=list(X_AXES)),
        )  # fmt: skip
        smoothing = st.select_slider(
            "Smoothing", SMOOTHINGS, format_func=lambda share: f"{share:.2f}", width=180,
            help="Exponential moving average; the line as logged stays behind it, faint.",
            **ui.in_url(f"{TAB}.smoothing", default=0.0, options=SMOOTHINGS),
        )  # fmt: skip
        log_y = st.toggle("Log scale", **ui.in_url(f"{TAB}.log_y", default=False))
    drawn = runs[:MAX_CURVES]
    if len(runs) > MAX_CURVES:
        ui.note(f"Curves of the first {MAX_CURVES} of {formats.plural(len(runs), 'selected run')}.")
    if not chosen:
        ui.note("Choose a metric.")
        return
    from charts.theme import shorten_label
    from charts.tracking import plot_curves

    history = _read_curves(app, drawn, list(chosen))
    names = {run.run_id: run.name for run in drawn}
    for metric in chosen:
        figure = plot_curves(
            history[history["metric"] == metric],
            names=names,
            x=X_AXES[axis or "Step"],  # type: ignore[arg-type]
            smoothing=smoothing,
            log_y=log_y,
            title=shorten_label(metric),
        )
        ui.chart(app, figure, key=f"{TAB}.curve.{metric}")


def _read_curves(app: ui.App, runs: Sequence[Run], metrics: Sequence[str]) -> pd.DataFrame:
    """Return the points to draw, read again only when they can have changed: of ten million that takes .2 s.

    Ended runs are known by the summaries of their metrics; while one is running, by the state of the store.
    """
    is_live = any(run.status == "running" for run in runs)
    what = (
        app.database.change_token() if is_live else None,
        tuple((run.run_id, metric, run.metric_summaries.get(metric)) for run in runs for metric in metrics),
    )
    known = st.session_state.get(f"{TAB}.curves")
    if known is None or known[0] != what:
        history = app.tracking.metric_history([run.run_id for run in runs], list(metrics), max_points=MAX_POINTS)
        known = st.session_state[f"{TAB}.curves"] = (what, history)
    return cast("pd.DataFrame", known[1])


def _draw_parallel(app: ui.App, runs: Sequence[Run], metrics: Sequence[str]) -> None:
    from charts.tracking import plot_parallel

    main = main_metric(metrics)
    columns = [d.key for d in differences(runs) if d.kind == "param"]
    shown = [f"params.{key}" for key in columns[:MAX_AXES]] + [f"metrics.{key}" for key in metrics[:3] if key != main]
    ui.chart(app, plot_parallel(selection_frame(runs), shown, f"metrics.{main}"), key=f"{TAB}.parallel_chart")


def _draw_scatter(app: ui.App, runs: Sequence[Run], metrics: Sequence[str]) -> None:
    from charts.tracking import plot_scatter
    from tracking_parts.records import goal_of

    params = sorted({key for run in runs for key in run.params})
    options = [f"params.{key}" for key in params] + [f"metrics.{key}" for key in metrics]
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        x = st.selectbox("Horizontal", options, **ui.in_url(f"{TAB}.x", default=options[0], options=options))
        vertical = [f"metrics.{key}" for key in metrics]
        y = st.selectbox(
            "Vertical", vertical, **ui.in_url(f"{TAB}.y", default=f"metrics.{main_metric(metrics)}", options=vertical)
        )
        log_x = st.toggle("Log horizontal", **ui.in_url(f"{TAB}.log_x", default=False))
    if x and y:
        goals = [goal_of(dimension.partition(".")[2]) for dimension in (x, y)]
        pareto = (goals[0], goals[1]) if x.startswith("metrics.") and x != y else None
        ui.chart(app, plot_scatter(selection_frame(runs), x, y, log_x=log_x, pareto=pareto), key=f"{TAB}.scatter_chart")
