"""What one does in the Monitoring tab: log values, set references and baselines, upload batches, export reports.

Every dialog names the version it is about in its title line and acts on that name, whatever is selected meanwhile.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import drafts, formats, monitoring_alerts, monitoring_predictions, monitoring_stored, uploads
from dashboard.upload_forms import file_box, store_button
from db import NotFoundError

if TYPE_CHECKING:
    import pandas as pd

    from dashboard.monitoring_tab import MonitoringView
    from model_monitoring import MonitoringReport

__all__ = ["action_buttons", "dialogs", "reference_button", "report_json", "start_buttons", "values_of_table"]

TAB = "monitoring"
METHODS = {
    "By the metric": None,
    "Individuals chart": "individuals",
    "Laney p′ chart (proportions)": "laney",
    "p chart (proportions)": "p",
}


# -- actions -----------------------------------------------------------------------------------------


def start_buttons(app: ui.App) -> None:
    """Draw what can be done while nothing is watched yet."""
    _log_button(app, "", "")
    reference_button(app, "", "", key=f"{TAB}.reference.open")


def action_buttons(app: ui.App, view: MonitoringView) -> None:
    """Draw what can be done with the watched version."""
    name, version = view.report.name, view.report.version
    _log_button(app, name, version)
    st.button(
        "Set baseline",
        key=f"{TAB}.baseline.open",
        icon=":material/straighten:",
        disabled=not app.can_edit or view.metric is None,
        on_click=ui.open_dialog,
        args=(f"{TAB}.baseline",),
        kwargs={
            "model": name,
            "version": version,
            "metric": view.metric.metric if view.metric else "",
            "segment": view.metric.segment if view.metric else None,
            "until": view.report.start_at.date(),
        },
        help="Freeze how the metric behaves in control; its limits come from there",
    )
    reference_button(app, name, version, key=f"{TAB}.reference.open")
    st.button(
        "Upload a batch",
        key=f"{TAB}.batch.open",
        icon=":material/upload:",
        disabled=not app.can_edit or view.report.data_drift is None,
        on_click=ui.open_dialog,
        args=(f"{TAB}.batch",),
        kwargs={"model": name, "version": version},
        help="Add rows of feature values as CSV or Parquet"
        if view.report.data_drift is not None
        else "Set a reference first",
    )
    with st.popover("Export", icon=":material/download:", key=f"{TAB}.export"):
        _downloads(view.report)
    monitoring_stored.delete_button(app, name, version)


def _log_button(app: ui.App, name: str, version: str) -> None:
    st.button(
        "Log values",
        key=f"{TAB}.log.open",
        icon=":material/add:",
        disabled=not app.can_edit,
        on_click=ui.open_dialog,
        args=(f"{TAB}.log",),
        kwargs={"model": name, "version": version},
        help="Store values of performance metrics, one by hand or a file of them",
    )


def reference_button(app: ui.App, name: str, version: str, *, key: str, primary: bool = False) -> None:
    """Draw the button that opens the dialog for a new reference."""
    st.button(
        "Set reference",
        key=key,
        icon=":material/dataset:",
        type="primary" if primary else "secondary",
        disabled=not app.can_edit,
        on_click=ui.open_dialog,
        args=(f"{TAB}.reference",),
        kwargs={"model": name, "version": version},
        help="Freeze what the features looked like, from a CSV or Parquet file",
    )


def _downloads(report: MonitoringReport) -> None:
    stem = _file_stem(report)
    st.download_button(
        "Report (HTML)",
        data=lambda: report.to_html().encode(),
        file_name=f"{stem}.html",
        mime="text/html",
        key=f"{TAB}.report_html",
        icon=":material/description:",
        on_click="ignore",
        width="stretch",
        help="One page with all figures; opens anywhere, asks no other host",
    )
    st.download_button(
        "Report (JSON)",
        data=lambda: report_json(report),
        file_name=f"{stem}.json",
        mime="application/json",
        key=f"{TAB}.report_json",
        icon=":material/data_object:",
        on_click="ignore",
        width="stretch",
    )
    ui.csv_download(report.to_frame, f"{stem}.csv", key=f"{TAB}.report_csv", label="Metrics (CSV)", width="stretch")


def report_json(report: MonitoringReport) -> bytes:
    """Return a report as strict JSON."""
    return json.dumps(report.to_dict(), ensure_ascii=False, allow_nan=False, indent=1).encode("utf-8", "replace")


def _file_stem(report: MonitoringReport) -> str:
    """Return a file name that every system takes, from a model's name and version."""
    plain = "".join(
        c if (c.isalnum() and c.isascii()) or c in "-_." else "-" for c in f"{report.name}-{report.version}"
    )
    return f"monitoring-{plain.strip('-.')[:80] or 'report'}"


# -- dialogs -----------------------------------------------------------------------------------------


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of this tab."""
    for name, draw in (
        ("log", _log_dialog), ("baseline", _baseline_dialog), ("reference", _reference_dialog),
        ("batch", _batch_dialog),
    ):  # fmt: skip
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)
    monitoring_alerts.dialogs(app)
    monitoring_predictions.dialogs(app)
    monitoring_stored.dialogs(app)


def _about(name: str, version: str) -> None:
    st.caption(f"For **{formats.markdown(name)} {formats.markdown(version)}**")


def _name_boxes(app: ui.App, name: str, version: str, key: str) -> tuple[str, str]:
    """Draw boxes for model and version when none is watched yet; return both."""
    if name:
        _about(name, version)
        return name, version
    left, right = st.columns(2)
    known = [model.name for model in app.registry.list_models()]
    with left:
        chosen = _choose_or_type("Model", known, "churn", f"{TAB}.{key}.model")
    with right:
        versions = [v.version for v in app.registry.list_versions(chosen)] if chosen in known else []
        number = _choose_or_type("Version", versions, "1.0.0", f"{TAB}.{key}.version")
    return chosen or "", number or ""


def _choose_or_type(label: str, options: list[str], example: str, key: str, *, first: bool = False) -> str:
    """Draw a box for one of the known names or a new one; plain text while none is known. Return what it holds."""
    if not options:
        return st.text_input(label, placeholder=example, key=f"{key}.text") or ""
    chosen = st.selectbox(
        label, options, index=0 if first else None, accept_new_options=True, key=key,
        placeholder="Choose one, or type a name",
    )  # fmt: skip
    return chosen or ""


@st.dialog("Log values", on_dismiss=ui.close_dialog)
def _log_dialog(app: ui.App, model: str, version: str) -> None:
    with ui.errors("log values"):
        name, version = _name_boxes(app, model, version, "log")
        what = st.segmented_control(
            "From", ["One value", "A file"], default="One value", required=True, key=f"{TAB}.log.what",
            label_visibility="collapsed",
        )  # fmt: skip
        if what == "A file":
            _log_file(app, name, version)
        else:
            _log_one(app, name, version)


def _log_one(app: ui.App, name: str, version: str) -> None:
    known = _metrics_of(app, name, version)
    metric = _choose_or_type("Metric", known, "accuracy", f"{TAB}.log.metric", first=True)
    left, right = st.columns(2)
    with left:
        value = st.number_input("Value", value=None, format="%g", key=f"{TAB}.log.value", step=0.01)
    with right:
        count = st.number_input(
            "Predictions behind it", min_value=0, value=None, step=1, key=f"{TAB}.log.count",
            help="A proportion with counts gets limits that know them",
        )  # fmt: skip
    at = _instant_boxes("log")
    segment = st.text_input("Segment (optional)", key=f"{TAB}.log.segment", placeholder="country=CH")
    if st.button("Log", type="primary", key=f"{TAB}.log.confirm"):

        def log() -> None:
            if value is None:
                raise ValueError("enter a value first")
            app.monitoring.log_performance(
                name, version, metric or "", value, None if count is None else int(count), at=at,
                segment=segment or None,
            )  # fmt: skip
            ui.select("watch", [chain.watch_id(name, version)])

        ui.act(app, "log a value", log, done=f"Logged {formats.markdown(metric or '')} {formats.number(value)}")


def _log_file(app: ui.App, name: str, version: str) -> None:
    st.markdown(
        "Columns `metric` and `value`, and if wanted `at`, `prediction_count`, `segment`, `event_id`. Rows whose "
        "`event_id` is known are not stored again. All rows are stored, or none."
    )
    st.code("metric,value,at,prediction_count\naccuracy,0.93,2026-03-01T12:00Z,1000", language=None)

    def log(table: pd.DataFrame) -> tuple[int, int]:
        frame = values_of_table(table, name, version)
        stored = app.monitoring.log_performances(frame, name=name, version=version)
        ui.select("watch", [chain.watch_id(name, version)])
        return stored, len(frame)

    store_button(
        app, "Add values", file_box("Values", f"{TAB}.log_file"), log,
        lambda n: f"Stored {n[0]:,} new of {formats.plural(n[1], 'value')}",
        key=f"{TAB}.log_file", where="log values", text=("metric", "segment", "event_id", "at"),
    )  # fmt: skip


def values_of_table(frame: pd.DataFrame, name: str, version: str) -> pd.DataFrame:
    """Return an uploaded table of values without its empty columns.

    Raises
    ------
    ValueError
        If a column is missing, a value is no number, or rows are of another model or version than the one they are
        added to.
    """
    for column in ("metric", "value"):
        if column not in frame.columns:
            named = ", ".join(repr(formats.shorten(str(found), 30)) for found in frame.columns[:8])
            raise ValueError(f"the column {column!r} is missing; the file has {named}")
    for column, wanted in (("name", name), ("version", version)):
        others = set(frame[column].astype(str)) - {wanted} if column in frame.columns else set()
        if others:
            other = formats.shorten(min(others), 40)
            raise ValueError(f"the file has rows of the {column} {other!r}; they would be added to {wanted!r}")
    wanted_columns = [c for c in frame.columns if c not in {"name", "version"} and not frame[c].isna().all()]
    kept = frame[wanted_columns].copy()
    for column in ("value", "prediction_count"):
        if column in kept.columns:
            kept[column] = uploads.numbers(kept[column], column)
    return kept


def _metrics_of(app: ui.App, name: str, version: str) -> list[str]:
    for item in app.monitoring.list_monitored():
        if (item["name"], item["version"]) == (name, version):
            return list(item["metrics"])
    return []


def _instant_boxes(key: str) -> dt.datetime | None:
    """Draw boxes for an instant in UTC; None, the default, is now."""
    when = st.segmented_control("When", ["Now", "Another time"], default="Now", required=True, key=f"{TAB}.{key}.when")
    if when == "Now":
        return None
    left, right = st.columns(2)
    now = dt.datetime.now(dt.UTC)
    with left:
        day = st.date_input("Day (UTC)", now.date(), key=f"{TAB}.{key}.day")
    with right:
        time = st.time_input("Time (UTC)", dt.time(0, 0), key=f"{TAB}.{key}.time")
    return dt.datetime.combine(day, time or dt.time(0, 0), dt.UTC)


@st.dialog("Set baseline", on_dismiss=ui.close_dialog)
def _baseline_dialog(
    app: ui.App, model: str, version: str, metric: str, segment: str | None, until: dt.date | None = None
) -> None:
    with ui.errors("set baseline"):
        _about(model, version)
        words = metric if segment is None else f"{metric} ({segment})"
        st.markdown(
            f"The points of this period say how **{formats.markdown(words)}** behaves in control. Limits come from "
            "them and stay until someone sets another baseline; earlier ones stay in the history."
        )
        points = app.monitoring.performance_history(model, version, metric, segment=segment)
        first, last = points["at"].iloc[0].date(), points["at"].iloc[-1].date()
        left, right = st.columns(2)
        with left:
            start = st.date_input("From (UTC)", first, min_value=first, max_value=last, key=f"{TAB}.baseline.start")
        with right:
            # What is judged does not judge itself: the window is left out, unless there is nothing else.
            end = st.date_input(
                "Until, that day included (UTC)",
                until if until and first < until < last else last,
                min_value=first,
                max_value=last,
                key=f"{TAB}.baseline.end",
            )
        method = st.selectbox("Limits", list(METHODS), key=f"{TAB}.baseline.method")
        if isinstance(start, dt.date) and isinstance(end, dt.date):
            days = points["at"].dt.date
            inside = int(((days >= start) & (days <= end)).sum())
            ui.note(f"{formats.plural(inside, 'point')} of {len(points):,}; at least 8 are needed, 30 are better.")
        history = drafts.as_opened(lambda: app.monitoring.baseline_history(model, version, metric, segment=segment))
        if history:
            latest = history[-1]
            ui.note(
                f"Holds now: {formats.plural(latest.n, 'point')}, centre {formats.number(latest.center)}, sigma "
                f"{formats.number(latest.sigma)}; {formats.plural(len(history), 'baseline')} so far."
            )
        if st.button("Set baseline", type="primary", key=f"{TAB}.baseline.confirm"):

            def freeze() -> Any:
                if not isinstance(start, dt.date) or not isinstance(end, dt.date):
                    raise ValueError("choose both days first")
                now = app.monitoring.baseline_history(model, version, metric, segment=segment)
                drafts.refuse_when_changed(len(history), len(now), "set a baseline")
                return app.monitoring.set_baseline(
                    model, version, metric, segment=segment, method=METHODS[method],
                    start=dt.datetime.combine(start, dt.time.min, dt.UTC),
                    end=dt.datetime.combine(end, dt.time.max, dt.UTC),
                )  # fmt: skip

            ui.act(app, "set baseline", freeze, done=lambda b: f"Baseline of {formats.plural(b.n, 'point')} is frozen")


@st.dialog("Set reference", on_dismiss=ui.close_dialog)
def _reference_dialog(app: ui.App, model: str, version: str) -> None:
    with ui.errors("set reference"):
        name, version = _name_boxes(app, model, version, "reference")
        shown = drafts.as_opened(lambda: _newest_reference(app, name, version), f"{name} {version}")
        st.markdown(
            "A table with a column for each feature, for example the held-out data of the version. Only a profile of "
            "about 2 kB a feature is kept, not the rows. A new reference replaces the present one for later batches."
        )
        upload = file_box("Reference data", f"{TAB}.reference")
        label = st.text_input(
            "What it is (optional)", key=f"{TAB}.reference.label", placeholder="held-out data, spring"
        )
        weights = st.text_area(
            "Importance of features in the model (optional), one a line: name = weight", height=68,
            key=f"{TAB}.reference.importances", placeholder="age = 0.4", help="Drifted features are ranked by it",
        )  # fmt: skip

        def freeze(frame: pd.DataFrame) -> int:
            importances = formats.parse_numbers(weights or "") or None
            drafts.refuse_when_changed(shown, _newest_reference(app, name, version), "set a reference")
            app.monitoring.set_reference(name, version, frame, label=label or "", importances=importances)
            ui.select("watch", [chain.watch_id(name, version)])
            return len(frame)

        store_button(
            app, "Set reference", upload, freeze, lambda n: f"Reference of {formats.plural(n, 'row')} is frozen",
            key=f"{TAB}.reference", where="set reference",
        )  # fmt: skip


def _newest_reference(app: ui.App, name: str, version: str) -> str | None:
    """Return the id of the reference that a new one would replace; None where nothing is watched under that name."""
    try:
        return next((found.id for found in app.monitoring.list_references(name, version) if found.current), None)
    except (
        NotFoundError,
        ValueError,
    ):  # a name that is new, or not typed to its end: storing says what is wrong with it
        return None


@st.dialog("Upload a batch", on_dismiss=ui.close_dialog)
def _batch_dialog(app: ui.App, model: str, version: str) -> None:
    with ui.errors("upload a batch"):
        _about(model, version)
        st.markdown("Rows as the model saw them, with the columns of the reference. They are counted, then dropped.")
        upload = file_box("Batch", f"{TAB}.batch")
        at = _instant_boxes("batch")
        store_button(
            app, "Add batch", upload, lambda frame: app.monitoring.log_features(model, version, frame, at=at),
            lambda n: f"Added {formats.plural(n, 'row')}", key=f"{TAB}.batch", where="upload a batch",
        )  # fmt: skip
