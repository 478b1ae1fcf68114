"""The Tracking tab: find runs, look into one, compare several.

`build_view` reads what one screen shows (a page of runs, counts, the selected runs); `render` draws it. One selected
run opens its details (`dashboard.tracking_details`), two or more are compared (`dashboard.tracking_compare`); without a
selection all runs that match can be ranked (`dashboard.tracking_insights`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import first_visit, formats
from dashboard.tracking_compare import MAX_CURVES, main_metric
from db import NotFoundError

if TYPE_CHECKING:
    import pandas as pd

    from experiment_tracking import ExperimentTracking, Run

__all__ = ["Choices", "TrackingView", "build_view", "kpis", "render"]

TAB = "tracking"
PAGER = f"{TAB}.page"
ALL_EXPERIMENTS = "All experiments"
LATEST = "Latest first"
VALUES = ("last", "best", "min", "max")  # which value of a metric's history a column shows
NO_MATCH = {
    "active": "No run matches. Change the filter, or show archived or deleted ones.",
    "archived": "No archived run matches.",
    "deleted": "No deleted run that can be restored matches.",
}
SHOWN = {"Active": "active", "Archived": "archived", "Deleted": "deleted"}
MAX_COLUMNS = 12  # metric and param columns shown unless more are asked for
MANY_RUNS = 5_000  # above it the best run is found by its last value
MAX_SELECTED = 50  # runs that are read one by one for the comparison
STATUS_TEXT = {"running": "▶ running", "finished": "✓ finished", "failed": "✗ failed", "killed": "■ killed"}

EMPTY = (
    "**Every training run appears here**, with its params, the course of its metrics and its files: sort and filter a "
    "hundred thousand of them, lay curves over each other, see what made the difference."
)
SNIPPET = """
from experiment_tracking import ExperimentTracking
with ExperimentTracking().run("model-training", params={"learning_rate": 0.001}) as run:
    for step in range(100):
        run.log({"loss": 1 / (step + 1)}, step=step)
"""


# -- the view ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the reader chose.

    Attributes
    ----------
    experiment : str or None
        None is all of them.
    filter : str
        An expression of `search_runs`.
    shown : {"active", "archived", "deleted"}
    order : str or None
        None is the latest first; else the key of a metric, best first.
    values : {"last", "best", "min", "max"}
        Which value of each metric the table shows.
    columns : tuple of str or None
        ``metrics.*`` and ``params.*`` to show; None is the first few.
    offset, limit : int
        Which rows.
    selected : tuple of str
        Ids of runs.
    """

    experiment: str | None = None
    filter: str = ""
    shown: str = "active"
    order: str | None = None
    values: str = "last"
    columns: tuple[str, ...] | None = None
    offset: int = 0
    limit: int = ui.PAGE_ROWS
    selected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingView:
    """What one screen shows.

    Attributes
    ----------
    kpis : tuple of (label, value, meaning)
    n_all, n_found : int
        Runs of the experiment, and those that match.
    frame : DataFrame
        A row a run: name, status, ..., then the chosen columns.
    ids : tuple of str
        The run of each row.
    labels : dict
        Heading by column of the frame.
    columns : tuple of str
        All ``metrics.*`` and ``params.*`` that could be shown.
    shown_columns : tuple of str
    runs : tuple of Run
        The selected ones, in the order of selection.
    missing : int
        Selected runs that are gone for good.
    warnings : tuple of str
        A sentence for each name in the filter that none of the runs has.
    """

    kpis: tuple[tuple[str, str, str], ...]
    n_all: int
    n_found: int
    frame: pd.DataFrame
    ids: tuple[str, ...]
    labels: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    shown_columns: tuple[str, ...] = ()
    runs: tuple[Run, ...] = ()
    missing: int = 0
    warnings: tuple[str, ...] = ()


def order_expression(metric: str | None) -> str | None:
    """Return the `order_by` that puts the best run by a metric first."""
    if metric is None:
        return None
    from tracking_parts.filters import quote_key
    from tracking_parts.records import goal_of

    field_name = f"metrics.{quote_key('metrics', metric)}"
    return f"min({field_name})" if goal_of(metric) == "min" else f"max({field_name}) desc"


def last_value_expression(metric: str) -> str:
    """Return the `order_by` that puts the best run by the last value of a metric first."""
    from tracking_parts.filters import quote_key
    from tracking_parts.records import goal_of

    return f"metrics.{quote_key('metrics', metric)}" + ("" if goal_of(metric) == "min" else " desc")


def build_view(
    tracking: ExperimentTracking,
    choices: Choices,
    keys: Mapping[str, Sequence[str]] | None = None,
    *,
    with_kpis: bool = True,
) -> TrackingView:
    """Read what the tab shows for these choices; `keys` is what `list_keys` said, where that is known already.

    Without `with_kpis` the numbers are left out, for those who draw the table first and ask `kpis` for them afterwards.

    Raises
    ------
    ValueError
        If the filter cannot be read.
    """
    import pandas as pd

    keys = tracking.list_keys(choices.experiment) if keys is None else keys
    experiments = [e for e in tracking.list_experiments() if choices.experiment in {None, e.name}]
    n_all = sum(e.n_runs for e in experiments)
    n_found = tracking.count_runs(choices.filter or None, experiment=choices.experiment, include=choices.shown)
    found = tracking.search_runs(
        choices.filter or None,
        experiment=choices.experiment,
        order_by=order_expression(choices.order),
        limit=choices.limit,
        offset=min(choices.offset, max(0, n_found - 1) // choices.limit * choices.limit),
        include=choices.shown,
    )
    warnings = tuple(found.attrs.get("warnings", ()))
    ids = tuple(found["run_id"]) if len(found) else ()
    columns = tuple(f"metrics.{key}" for key in keys["metrics"]) + tuple(f"params.{key}" for key in keys["params"])
    shown = _shown_columns(columns, choices.columns)
    if choices.values != "last" and ids:
        found = _with_values(tracking, found, ids, [c for c in shown if c.startswith("metrics.")], choices.values)
    data: dict[str, Any] = {"name": found["name"]}
    if choices.experiment is None and len(experiments) > 1:
        data["experiment"] = found["experiment"]
    data["status"] = found["status"].map(lambda status: STATUS_TEXT.get(str(status), str(status)))
    for column in shown:
        data[column] = (
            tidy_column(found[column]) if column in found else pd.Series([None] * len(found), dtype="float64")
        )
    data["started_at"] = pd.to_datetime(found["started_at"], utc=True)
    data["duration"] = found["duration_seconds"].map(formats.duration)
    runs, missing = _read_runs(tracking, choices.selected[:MAX_SELECTED])
    return TrackingView(
        kpis=kpis(tracking, choices, keys["metrics"]) if with_kpis else (),
        n_all=n_all,
        n_found=n_found,
        frame=pd.DataFrame(data),
        ids=ids,
        labels=_labels(shown),
        columns=columns,
        shown_columns=shown,
        runs=runs,
        missing=missing,
        warnings=warnings,
    )


def _shown_columns(columns: Sequence[str], chosen: Sequence[str] | None) -> tuple[str, ...]:
    """Return the columns to show; the main metric first, then metrics and params in turn, a few of each."""
    if chosen:
        return tuple(column for column in chosen if column in columns)
    metrics = [c for c in columns if c.startswith("metrics.")]
    params = [c for c in columns if c.startswith("params.")]
    main = main_metric([c.removeprefix("metrics.") for c in metrics])
    metrics.sort(key=lambda column: column != f"metrics.{main}")
    n_metrics = max(MAX_COLUMNS // 2, MAX_COLUMNS - len(params))
    kept = metrics[:n_metrics]
    return tuple(kept + params[: MAX_COLUMNS - len(kept)])


def _labels(columns: Sequence[str]) -> dict[str, str]:
    """Return headings: the bare key, unless a metric and a param share it."""
    bare = [column.partition(".")[2] for column in columns]
    return {
        c: key if bare.count(key) == 1 else f"{key} ({c.partition('.')[0][:-1]})"
        for c, key in zip(columns, bare, strict=True)
    }


def tidy_column(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column that a table can show: numbers as floats, anything mixed as text, nothing as empty."""
    import pandas as pd

    if column.dtype.kind in "fiu":
        return column.astype("float64")
    present = [value for value in column if value is not None and value == value]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in present):
        return pd.to_numeric(column, errors="coerce").astype("float64")
    return column.map(lambda value: None if value is None or value != value else formats.value_text(value)).astype(
        "object"
    )


def _with_values(
    tracking: ExperimentTracking, found: pd.DataFrame, ids: Sequence[str], metrics: Sequence[str], which: str
) -> pd.DataFrame:
    """Return the frame with the least, greatest or best value of each metric instead of the last."""
    keys = [column.removeprefix("metrics.") for column in metrics]
    if not keys:
        return found
    summaries = tracking.metric_summaries(ids, keys).pivot(index="run_id", columns="metric", values=which)
    replaced = found.copy()
    for column, key in zip(metrics, keys, strict=True):
        replaced[column] = summaries[key].reindex(list(ids)).to_numpy() if key in summaries else None
    return replaced


def _read_runs(tracking: ExperimentTracking, ids: Sequence[str]) -> tuple[tuple[Run, ...], int]:
    runs, missing = [], 0
    for run_id in ids:
        try:
            runs.append(tracking.get_run(run_id))
        except (NotFoundError, ValueError):
            missing += 1
    return tuple(runs), missing


def kpis(tracking: ExperimentTracking, choices: Choices, metrics: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    """Return the numbers above the table: (label, value, meaning) of runs, running, failed, and the best."""
    experiments = [e for e in tracking.list_experiments() if choices.experiment in {None, e.name}]
    n_all = sum(e.n_runs for e in experiments)
    cards = [
        ("Runs", formats.whole(n_all), "Runs that are not deleted"),
        ("Running", formats.whole(sum(e.n_running for e in experiments)), "Runs whose process is alive"),
        ("Failed", formats.whole(sum(e.n_failed for e in experiments)), "Runs that ended by an error or were killed"),
    ]
    metric = choices.order or main_metric(metrics)
    if metric is not None:
        # The last values have an index, the extremes of all steps have none.
        by = last_value_expression(metric) if n_all > MANY_RUNS else order_expression(metric)
        best = tracking.search_runs(experiment=choices.experiment, order_by=by, limit=1)
        if len(best):
            summary = tracking.metric_summaries(str(best["run_id"].iloc[0]), metric)
            value = float(summary["best"].iloc[0]) if len(summary) else float("nan")
            if value == value:
                name = formats.markdown(str(best["name"].iloc[0]))
                meaning = f"Reached by the run {name}" + (", the best by its last value" if n_all > MANY_RUNS else "")
                cards.append((f"Best {formats.markdown(metric)}", formats.number(value), meaning))
    return tuple(cards)


# -- drawing -----------------------------------------------------------------------------------------


def render(app: ui.App) -> None:
    """Draw the tab."""
    from dashboard import tracking_details as details
    from dashboard import tracking_exchange as exchange
    from dashboard import tracking_experiments as management

    with ui.errors("Tracking"):
        experiments = [experiment.name for experiment in app.tracking.list_experiments()]
        if not experiments:
            ui.empty_state(app, EMPTY, SNIPPET, key=f"{TAB}.load_examples")
            with st.container(horizontal=True, gap="small"):
                exchange.import_button(app)
                management.manage_button(app)
        else:
            choices, widgets = _read_choices(app, experiments)
            keys = _known_keys(app, choices.experiment)
            # The table is what people came for: it is sent first, into its place below what is drawn after it.
            with first_visit.above_the_table(TAB):
                numbers, filters, bar = st.container(), st.container(), st.container()
            rows = st.container()
            try:
                view = build_view(app.tracking, choices, keys, with_kpis=False)
            except ValueError as error:  # of the filter: it stays on the page, to be put right
                with rows:
                    ui.show_error(error, "Filter")
                view = None
            if view is not None:
                with rows:
                    for sentence in view.warnings:
                        ui.warn(sentence)
                    _draw_table(view, choices)
            with filters:
                _draw_filters(widgets)
            if view is not None:
                with bar:
                    _draw_bar(app, view, choices, widgets)
            with numbers, ui.errors("numbers"):
                ui.kpis(kpis(app.tracking, choices, keys["metrics"]))
            if view is not None:
                _draw_selection(app, view, choices, keys)
    details.dialogs(app)
    exchange.dialogs(app)
    management.dialogs(app)


def _draw_bar(app: ui.App, view: TrackingView, choices: Choices, widgets: Mapping[str, dict[str, Any]]) -> None:
    from dashboard import tracking_exchange as exchange
    from dashboard import tracking_experiments as management

    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
        counted = (
            formats.count_of(view.n_found, max(view.n_all, view.n_found), "run")
            if choices.shown == "active"
            else formats.plural(view.n_found, f"{choices.shown} run")
        )
        st.caption(f"**{counted}**", width="stretch")
        _draw_columns(widgets, view)
        _draw_actions(app, view)
        if not view.runs:
            management.manage_button(app)
            exchange.import_button(app)
        exchange.export_menu(app, choices, view.runs)


def _draw_selection(app: ui.App, view: TrackingView, choices: Choices, keys: Mapping[str, Sequence[str]]) -> None:
    """Draw the details of one run, the comparison of several, or without any what all runs say together."""
    from dashboard import tracking_compare as compare
    from dashboard import tracking_details as details
    from dashboard import tracking_insights as insights

    if view.missing:
        ui.note(f"{formats.plural(view.missing, 'selected run')} no longer exists: someone deleted it for good.")
    if len(choices.selected) > MAX_SELECTED:
        ui.note(
            f"The first {MAX_SELECTED} of {len(choices.selected)} selected runs are shown, and buttons act on them."
        )
    with ui.errors("details"):
        if len(view.runs) == 1:
            details.render_run(app, view.runs[0])
        elif len(view.runs) > 1:
            compare.render_comparison(view.runs)
    if view.runs:
        with ui.errors("charts"):
            compare.render_charts(app, view.runs)
    elif view.ids:
        ui.note("Select one run for its details and curves, two or more to compare them.")
        with ui.errors("all runs"):
            insights.render_insights(app, choices, keys, view.n_found)


def _read_choices(app: ui.App, experiments: Sequence[str]) -> tuple[Choices, dict[str, dict[str, Any]]]:
    """Return what the reader has chosen, and by name the arguments of the filters that are drawn afterwards."""
    state = st.session_state
    options = [ALL_EXPERIMENTS, *experiments]

    def kept(name: str, default: str, options: Sequence[str] | None = None) -> dict[str, Any]:
        return ui.in_url(f"{TAB}.{name}", default=default, options=options, pager=PAGER)

    widgets = {"experiment": kept("experiment", ALL_EXPERIMENTS, options) | {"options": options}}
    experiment = state[f"{TAB}.experiment"]
    chosen = None if experiment == ALL_EXPERIMENTS else experiment
    keys = _known_keys(app, chosen)
    sorts = [LATEST, *keys["metrics"]]
    columns = [f"metrics.{key}" for key in keys["metrics"]] + [f"params.{key}" for key in keys["params"]]
    shown = list(SHOWN)
    widgets |= {
        "filter": kept("filter", ""),
        "order": kept("order", LATEST, sorts) | {"options": sorts},
        "shown": kept("shown", "Active", shown) | {"options": shown},
        "values": ui.in_url(f"{TAB}.values", default="last", options=VALUES) | {"options": VALUES},
        "columns": ui.in_url(f"{TAB}.columns", default=[], options=columns, many=True) | {"options": columns},
    }
    order = state[f"{TAB}.order"]
    choices = Choices(
        experiment=chosen,
        filter=state[f"{TAB}.filter"] or "",
        shown=SHOWN[state[f"{TAB}.shown"] or "Active"],
        order=None if order in {None, LATEST} else order,
        values=state[f"{TAB}.values"] or "last",
        columns=tuple(state[f"{TAB}.columns"] or ()) or None,
        offset=ui.page_offset(PAGER),
        selected=tuple(ui.selected("run")),
    )
    return choices, widgets


def _draw_filters(widgets: Mapping[str, dict[str, Any]]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.selectbox("Experiment", width=240, **widgets["experiment"])
        st.text_input(
            "Filter",
            placeholder="metrics.accuracy > 0.9 and params.learning_rate <= 0.01",
            help="Compare metrics., params. and tags. keys, name, status, started_at, duration; join with and, or, "
            "not. Also like, in (...), is null, min(metrics.loss), '7 days ago'. Enter applies it.",
            **widgets["filter"],
        )
        st.selectbox(
            "Order", width=200, format_func=lambda key: key if key == LATEST else f"Best {key}", **widgets["order"]
        )
        st.segmented_control("Show", required=True, **widgets["shown"])


def _draw_columns(widgets: Mapping[str, dict[str, Any]], view: TrackingView) -> None:
    with st.popover("Columns", icon=":material/view_column:"):
        st.segmented_control("Value of each metric", required=True, **widgets["values"])
        shown = len(view.shown_columns)
        st.multiselect(
            "Metrics and params shown", placeholder=f"The first {shown} of {len(view.columns)}", **widgets["columns"]
        )


def _known_keys(app: ui.App, experiment: str | None) -> dict[str, list[str]]:
    """Return the keys in use, read again only when the store has changed: that takes half a second at 100,000 runs."""
    token = (app.database.change_token(), experiment)
    known = st.session_state.get(f"{TAB}.keys")
    if known is None or known[0] != token:
        known = st.session_state[f"{TAB}.keys"] = (token, app.tracking.list_keys(experiment))
    return dict(known[1])


def _draw_table(view: TrackingView, choices: Choices) -> None:
    config: dict[str, Any] = {
        "name": st.column_config.TextColumn(
            "Run", pinned=len(view.shown_columns) > 8, width=ui.name_width(view.frame["name"])
        ),
        "experiment": st.column_config.TextColumn("Experiment"),
        "status": st.column_config.TextColumn("Status", width="small"),
        "started_at": st.column_config.DatetimeColumn("Started (UTC)", format="YYYY-MM-DD HH:mm", timezone="UTC"),
        "duration": st.column_config.TextColumn("Duration", width="small", alignment="right"),
    }
    for column, label in view.labels.items():
        if view.frame[column].dtype.kind == "f":
            number_format = formats.column_format(view.frame[column].tolist())
            config[column] = st.column_config.NumberColumn(label, format=number_format)
        else:
            config[column] = st.column_config.TextColumn(label)
    if not view.ids:
        ui.note(NO_MATCH[choices.shown])
        return
    ui.table(view.frame, view.ids, key=f"{TAB}.table", name="run", alt="Runs", columns=config)
    ui.page(view.n_found, key=PAGER)


def _draw_actions(app: ui.App, view: TrackingView) -> None:
    """Draw what can be done with the selection as a whole."""
    from dashboard import tracking_details as details

    ids = [run.run_id for run in view.runs]
    if not ids and view.ids:
        st.button(
            f"Select the first {min(MAX_CURVES, len(view.ids))}",
            key=f"{TAB}.select_first",
            on_click=ui.select,
            args=("run", list(view.ids[:MAX_CURVES])),
            icon=":material/stacked_line_chart:",
        )
    if ids:
        st.button("Clear selection", key=f"{TAB}.clear", on_click=ui.select, args=("run", []), icon=":material/close:")
        details.selection_buttons(app, view.runs)
