"""What comes into the Tracking tab (MLflow, CSV, JSON lines), and what leaves it (tables, curves, a report)."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import formats
from db import ModelDeskError

if TYPE_CHECKING:
    import pandas as pd

    from dashboard.tracking_tab import Choices
    from experiment_tracking import ImportReport, Run

__all__ = ["dialogs", "export_menu", "import_button", "import_sentences"]

TAB = "tracking"
SOURCES = ("MLflow", "CSV", "JSON lines")
CSV_SHAPES = (
    "A row a run with columns params.*, metrics.* and tags.*; a row a step with columns step and the metrics' names; "
    "or a row a point with columns run, metric, step and value."
)
JSON_SHAPES = "A line a run, as this page exports them; or an object a step with the metrics' values."
MAX_PROBLEMS = 50  # sentences of an import that are shown
MAX_REPORTED = 20  # runs of a report


# -- leaving -----------------------------------------------------------------------------------------


def export_menu(app: ui.App, choices: Choices, runs: Sequence[Run]) -> None:
    """Draw what can be downloaded: all runs that match, and of the selected ones their curves and a report."""
    with st.popover("Export", icon=":material/download:"):
        ui.csv_download(
            lambda: _runs_frame(app, choices), "runs.csv", key=f"{TAB}.csv", label="All runs that match, CSV"
        )
        if choices.shown == "active":
            st.download_button(
                "All runs that match, JSON lines", data=lambda: _json_lines(app, choices), file_name="runs.jsonl",
                mime="application/jsonl", key=f"{TAB}.jsonl", icon=":material/data_object:", on_click="ignore",
                help="With every step of every metric; another store can import it.",
            )  # fmt: skip
        if not runs:
            ui.note("Select runs to export their curves, or a report on them.")
            return
        ui.csv_download(
            lambda: _curves_frame(app, runs), "curves.csv", key=f"{TAB}.curves_csv", label="Their curves, CSV"
        )
        chosen = [run.run_id for run in runs[:MAX_REPORTED]]
        st.download_button(
            "Report on them, HTML", data=lambda: app.tracking.report(chosen).encode(), file_name="runs.html",
            mime="text/html", key=f"{TAB}.report", icon=":material/article:", on_click="ignore",
            help=f"Tables, curves, differences and code of the first {MAX_REPORTED} selected runs in one file.",
        )  # fmt: skip


def _runs_frame(app: ui.App, choices: Choices) -> pd.DataFrame:
    """Return every run that matches, with all its params, metrics and tags."""
    from dashboard.tracking_tab import order_expression

    return app.tracking.search_runs(
        choices.filter or None,
        experiment=choices.experiment,
        order_by=order_expression(choices.order),
        limit=1_000_000,
        include=choices.shown,
    )


def _json_lines(app: ui.App, choices: Choices) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.jsonl"
        app.tracking.export_runs(path, filter=choices.filter or None, experiment=choices.experiment)
        return path.read_bytes()


def _curves_frame(app: ui.App, runs: Sequence[Run]) -> pd.DataFrame:
    """Return every point of every metric of the runs, with the runs' names."""
    metrics = sorted({key for run in runs for key in run.metric_summaries})
    history = app.tracking.metric_history([run.run_id for run in runs], metrics)
    history.insert(1, "run", history["run_id"].map({run.run_id: run.name for run in runs}))
    return history


# -- coming ------------------------------------------------------------------------------------------


def import_button(app: ui.App) -> None:
    """Draw the button that brings runs over from elsewhere."""
    st.button("Import", key=f"{TAB}.import", icon=":material/input:", disabled=not app.can_edit,
              on_click=ui.open_dialog, args=(f"{TAB}.import",))  # fmt: skip


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of these."""
    for name, draw in (("import", _import_dialog), ("imported", _imported_dialog)):
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


@st.dialog("Import runs", on_dismiss=ui.close_dialog)
def _import_dialog(app: ui.App) -> None:
    source = st.segmented_control("From", SOURCES, default=SOURCES[0], required=True, key=f"{TAB}.import.from")
    if source == "MLflow":
        ui.note(
            "Brings over experiments, runs, params, metric histories, tags and files, and the registered versions. "
            "Repeated, it adds nothing twice."
        )
        place = st.text_input(
            "Folder or database of MLflow", key=f"{TAB}.import.source", placeholder="./mlruns or sqlite:///mlflow.db"
        )
        if st.button("Import", type="primary", key=f"{TAB}.import.confirm", disabled=not place or not app.can_edit):
            with st.spinner("Importing"), ui.errors("import from MLflow"):
                _show_imported(*_import_mlflow(app, place or ""))
        return
    ui.note(formats.markdown(CSV_SHAPES if source == "CSV" else JSON_SHAPES))
    kind = "csv" if source == "CSV" else "jsonl"
    upload = st.file_uploader("File", type=[kind], key=f"{TAB}.import.file.{kind}")
    experiment = st.text_input(
        "Experiment", key=f"{TAB}.import.experiment", help="For files that name none. Left empty: the name of the file."
    )
    if st.button("Import", type="primary", key=f"{TAB}.import.confirm", disabled=upload is None or not app.can_edit):
        if upload is None:
            return
        with st.spinner("Importing"), ui.errors(f"import {source}"), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"upload.{kind}"
            path.write_bytes(upload.getbuffer())
            reader = app.tracking.import_csv if kind == "csv" else app.tracking.import_json_lines
            report = reader(path, experiment=(experiment or "").strip() or Path(upload.name).stem)
            _show_imported(*import_sentences(report))


def _show_imported(came: list[str], problems: list[str]) -> None:
    ui.open_dialog(f"{TAB}.imported", came=came, problems=problems)
    st.rerun()


def import_sentences(report: ImportReport) -> tuple[list[str], list[str]]:
    """Return what an import brought, and what it left behind, in sentences."""
    came = [
        f"{report.n_runs_new:,} new of {formats.plural(report.n_runs_found, 'run')}, with "
        f"{formats.plural(report.n_params, 'param')}, {formats.plural(report.n_points, 'metric value')} and "
        f"{formats.plural(report.n_artifacts, 'file')}"
    ]
    problems = list(report.problems)
    if report.n_points_dropped:
        problems.append(f"{formats.plural(report.n_points_dropped, 'metric value')}: the step had a later one, kept")
    return came, problems


def _import_mlflow(app: ui.App, source: str) -> tuple[list[str], list[str]]:
    """Bring runs and then registered versions over; return what came over and what did not, in sentences."""
    runs = chain.import_mlflow_store(app.tracking, source)
    came, problems = import_sentences(runs)
    try:
        versions = chain.import_mlflow_versions(app.registry, source, runs, actor=app.actor)
    except (ModelDeskError, ValueError) as error:  # the runs are here all the same, and it must be said
        return came, [*problems, f"the registered versions: {error}"]
    if versions.n_found:
        came.append(f"{versions.n_new:,} new of {formats.plural(versions.n_found, 'registered version')}")
    else:
        came.append("no registered version was found")
    return came, [*problems, *versions.problems]


@st.dialog("Imported", on_dismiss=ui.close_dialog, width="large")
def _imported_dialog(app: ui.App, came: list[str], problems: list[str]) -> None:
    st.markdown("\n".join(f"- {formats.markdown(sentence)}" for sentence in came))
    if problems:
        st.markdown(f"**{formats.plural(len(problems), 'thing')} did not come over**")
        st.markdown("\n".join(f"- {formats.markdown(sentence)}" for sentence in problems[:MAX_PROBLEMS]))
        if len(problems) > MAX_PROBLEMS:
            ui.note(f"and {len(problems) - MAX_PROBLEMS:,} more")
    else:
        ui.note("Nothing was left out.")
    if st.button("Close", type="primary", key=f"{TAB}.imported.close"):
        ui.close_dialog()
        st.rerun()  # of the page: a click inside a dialog draws the dialog alone again
