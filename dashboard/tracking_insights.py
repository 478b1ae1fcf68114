"""What all runs that match say together: a ranking, what goes with a metric, the spread over a param's values.

`build_insight` reads and computes; `render_insights` draws it, once the section is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import formats
from dashboard.tracking_compare import main_metric

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from dashboard.tracking_tab import Choices
    from experiment_tracking import ExperimentTracking
    from tracking_parts.comparison import Leaderboard
    from tracking_parts.explain import Explanation

__all__ = ["Insight", "build_insight", "explanation_frame", "leaderboard_frame", "render_insights"]

TAB = "tracking"
RANKING, RELATIONS, SPREAD = "Leaderboard", "What goes with it", "Spread"
KINDS = (RANKING, RELATIONS, SPREAD)
RANKING_NUMBERS = ("rank", "best step", "mean", "standard deviation", "min", "max", "runs", "failed", "running")
NO_GROUPS = "Each run by itself"
MAX_RUNS = 5_000  # runs that are read at once; more are narrowed by the filter
MAX_ROWS = 50  # rows of the ranking that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Insight:
    """What one of the three ways of looking says.

    Attributes
    ----------
    sentence : str
        The answer in words; may contain names as people typed them.
    frame : DataFrame
        Finished text, a row a group or param; empty if there is only a figure.
    numbers : tuple of str
        Columns of the frame that are numbers.
    figure : Figure
    """

    sentence: str
    frame: pd.DataFrame
    numbers: tuple[str, ...]
    figure: go.Figure


def build_insight(
    tracking: ExperimentTracking,
    kind: str,
    metric: str,
    *,
    experiment: str | None = None,
    filter: str | None = None,  # noqa: A002
    group_by: str | None = None,
) -> Insight:
    """Return the ranking, the relations or the spread of a metric over the runs that match.

    Parameters
    ----------
    kind : {"Leaderboard", "What goes with it", "Spread"}
    metric : str
    experiment : str or None
        None is all of them; the ranking is of one.
    filter : str or None
        As for `search_runs`.
    group_by : str or None
        ``"params.KEY"`` or ``"tags.KEY"``: what the ranking groups by and the spread is over.

    Raises
    ------
    ValueError
        If the ranking has no experiment, or the spread no param.
    """
    import pandas as pd

    if kind == RANKING:
        if experiment is None:
            raise ValueError("choose an experiment above: runs are ranked within one")
        board = tracking.leaderboard(experiment, metric, group_by=group_by, filter=filter)
        return Insight(
            sentence=_ranking_sentence(board), frame=leaderboard_frame(board), figure=board.plot(),
            numbers=(*RANKING_NUMBERS, metric),
        )  # fmt: skip
    if kind == RELATIONS:
        explanation = tracking.explain(metric, experiment=experiment, filter=filter, importance=False)
        return Insight(
            sentence=_relations_sentence(explanation), frame=explanation_frame(explanation), figure=explanation.plot(),
            numbers=("association", "p-value", "runs", "values"),
        )  # fmt: skip
    if group_by is None:
        raise ValueError("choose a param or tag that the runs are grouped by")
    from charts.tracking import plot_box

    runs = tracking.search_runs(filter, experiment=experiment, limit=MAX_RUNS)
    return Insight(
        sentence=f"The last value of each of {formats.plural(len(runs), 'run')}",
        frame=pd.DataFrame(), numbers=(), figure=plot_box(runs, group_by, f"metrics.{metric}"),
    )  # fmt: skip


def leaderboard_frame(board: Leaderboard) -> pd.DataFrame:
    """Return the ranking as finished text; the spread has columns only where runs are grouped."""
    import pandas as pd

    grouped = board.group_by is not None
    rows = []
    for rank, row in enumerate(board.rows[:MAX_ROWS], 1):
        cells: dict[str, str] = {"rank": formats.whole(rank) if row.mean is not None else formats.DASH}
        cells[board.group_by.partition(".")[2] if board.group_by else "run"] = row.group
        cells["mean" if grouped else board.metric] = formats.number(row.mean)
        if grouped:
            cells |= {
                "standard deviation": formats.number(row.std), "min": formats.number(row.min),
                "max": formats.number(row.max), "runs": formats.whole(row.n_runs),
            }  # fmt: skip
        else:
            cells["best step"] = formats.DASH if row.best_step is None else formats.whole(row.best_step)
        cells |= {"failed": formats.whole(row.n_failed), "running": formats.whole(row.n_running)} if grouped else {}
        rows.append(cells)
    return pd.DataFrame(rows)


def explanation_frame(explanation: Explanation) -> pd.DataFrame:
    """Return a row a param: how strongly and in which direction it goes with the metric, its best value, or why not."""
    import pandas as pd

    rows = []
    for effect in explanation.effects:
        direction = effect.reason or formats.DASH
        if effect.correlation:
            direction = "rises with it" if effect.correlation > 0 else "falls with it"
        rows.append(
            {
                "param": effect.param, "kind": effect.kind,
                "association": formats.number(effect.strength), "direction": direction,
                "p-value": formats.number(effect.p_value), "best value": formats.value_text(effect.best_value),
                "runs": formats.whole(effect.n_runs), "values": formats.whole(effect.n_values),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _ranking_sentence(board: Leaderboard) -> str:
    ranked = [row for row in board.rows if row.mean is not None]
    if not ranked:
        return f"No finished run of {board.experiment} has a finite {board.metric}"
    counted = formats.plural(len(ranked), "run" if board.group_by is None else "group")
    goal = "lower" if board.goal == "min" else "higher"
    return f"{ranked[0].group} leads {counted} with {board.metric} {formats.number(ranked[0].mean)}; {goal} is better"


def _relations_sentence(explanation: Explanation) -> str:
    first = next((effect for effect in explanation.effects if effect.strength is not None), None)
    if first is None:
        return f"Nothing can be said of what goes with {explanation.metric}"
    return (
        f"Over {formats.plural(explanation.n_runs, 'run')}, {first.param} goes with {explanation.metric} most. "
        "An association is not a cause, and p-values are not corrected for the number of params"
    )


# -- drawing -----------------------------------------------------------------------------------------


def render_insights(app: ui.App, choices: Choices, keys: Mapping[str, Sequence[str]], n_found: int) -> None:
    """Draw the section, closed at first; what it says is only computed once it is open."""
    metrics = list(keys["metrics"])
    if not metrics or choices.shown != "active":
        return
    in_url = ui.in_url(f"{TAB}.insights", default=False)  # whether it is open
    with st.expander(
        "All runs that match: leaderboard, what goes with a metric, spread", icon=":material/leaderboard:",
        key=in_url["key"], on_change=in_url["on_change"],
    ) as box:  # fmt: skip
        if not box.open:
            return
        kind, metric, group_by = _read_choices(keys, metrics)
        if n_found > MAX_RUNS:
            ui.note(f"{n_found:,} runs match, and at most {MAX_RUNS:,} are read at once: narrow them with the filter.")
            return
        experiment = choices.experiment or _only_experiment(app)
        with ui.errors(kind):
            insight = build_insight(
                app.tracking, kind, metric, experiment=experiment, filter=choices.filter or None, group_by=group_by
            )
            st.markdown(f"**{formats.markdown(insight.sentence)}.**")
            if len(insight.frame):
                named = {name: name for name in (metric, (group_by or "").partition(".")[2]) if name}
                ui.plain_table(insight.frame, f"{TAB}.insight", alt=kind, right=insight.numbers, labels=named)
            ui.chart(app, insight.figure, key=f"{TAB}.insight_chart")


def _read_choices(keys: Mapping[str, Sequence[str]], metrics: Sequence[str]) -> tuple[str, str, str | None]:
    groups = [f"params.{key}" for key in keys["params"]] + [f"tags.{key}" for key in keys["tags"]]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        kind = st.segmented_control(
            "Look at", KINDS, required=True, **ui.in_url(f"{TAB}.insight", default=RANKING, options=KINDS)
        )
        main = main_metric(metrics)
        metric = st.selectbox(
            "Metric", metrics, width=220, **ui.in_url(f"{TAB}.insight_metric", default=main, options=metrics)
        )
        group_by: Any = None
        if kind != RELATIONS:
            options = [NO_GROUPS, *groups] if kind == RANKING else groups or [NO_GROUPS]
            group_by = st.selectbox(
                "Grouped by", options, width=220,
                format_func=_group_label,
                **ui.in_url(f"{TAB}.insight_group", default=options[0], options=options),
            )  # fmt: skip
    return kind or RANKING, metric or metrics[0], None if group_by in {None, NO_GROUPS} else group_by


def _group_label(name: str) -> str:
    kind, dot, key = name.partition(".")
    return f"{key} ({kind[:-1]})" if dot else name


def _only_experiment(app: ui.App) -> str | None:
    names = [experiment.name for experiment in app.tracking.list_experiments()]
    return names[0] if len(names) == 1 else None
