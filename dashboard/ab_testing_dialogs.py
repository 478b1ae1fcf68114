"""The dialogs of one A/B test: record and upload, phases, conclude, promote, archive, delete.

Every dialog acts on the id it was opened with, and names the test.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import drafts, formats, uploads
from dashboard.ab_testing_tab import DECISION_TEXT, TAB, unseen_analysis, unseen_exposure
from dashboard.upload_forms import file_box, store_button
from db import NotFoundError

if TYPE_CHECKING:
    import pandas as pd

    from ab_testing import DeletedExperiment, Experiment

__all__ = ["dialogs", "events_from_table"]

EVENT_TEXT_COLUMNS = ("user_id", "event_id", "variant", "metric")
EVENT_NUMBERS = ("value", "denominator")


# -- events from a file ------------------------------------------------------------------------------


def events_from_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return an uploaded table as `record_events` takes it: numbers as numbers, empty columns dropped.

    Raises
    ------
    ValueError
        If a needed column is missing, or a value is no number; naming the row as the file counts it.
    """
    for column in ("user_id", "value"):
        if column not in frame.columns:
            named = ", ".join(repr(formats.shorten(str(name), 30)) for name in frame.columns[:8])
            raise ValueError(f"the column {column!r} is missing; the file has {named}")
    kept = frame[[name for name in frame.columns if not frame[name].isna().all()]].copy()
    for column in EVENT_NUMBERS:
        if column in kept.columns:
            kept[column] = uploads.numbers(kept[column], column)
    missing = frame["user_id"].isna()
    if missing.any():
        raise ValueError(f"row {int(missing.to_numpy().argmax()) + 1} has no user_id")
    return kept


# -- dialogs -----------------------------------------------------------------------------------------


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of this tab."""
    for name, draw in (
        ("event", _event_dialog), ("upload", _upload_dialog), ("phase", _phase_dialog), ("conclude", _conclude_dialog),
        ("promote", _promote_dialog), ("archive", _archive_dialog), ("delete", _delete_dialog),
    ):  # fmt: skip
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


def _about(app: ui.App, exp_id: str) -> Experiment:
    test = app.testing.get_experiment(exp_id)
    st.caption(f"For the test **{formats.markdown(test.name)}**")
    return test


def _value_boxes(kind: str) -> tuple[float | None, float | None]:
    """Draw the boxes for one value of this kind of metric; return it, and the denominator of a ratio."""
    if kind == "binary":
        chosen = st.segmented_control("Value", [0, 1], default=1, required=True, key=f"{TAB}.event.binary",
                                      format_func=lambda v: ("0: no", "1: yes")[v])  # fmt: skip
        return float(chosen), None
    if kind != "ratio":
        return st.number_input("Value", value=None, format="%g", key=f"{TAB}.event.value"), None
    left, right = st.columns(2)
    with left:
        value = st.number_input("Numerator", value=None, format="%g", key=f"{TAB}.event.value")
    with right:
        return value, st.number_input("Denominator", value=None, format="%g", key=f"{TAB}.event.below")


@st.dialog("Record an event", on_dismiss=ui.close_dialog)
def _event_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("record an event"):
        test = _about(app, exp_id)
        names = [metric.name for metric in test.config.metrics]
        subject = st.text_input("User id", key=f"{TAB}.event.user", help="The subject: a user, request or document")
        metric = st.selectbox("Metric", names, key=f"{TAB}.event.metric") if len(names) > 1 else names[0]
        kind = str(test.config.metrics[names.index(metric)].metric_type)
        value, below = _value_boxes(kind)
        variants = ["As the test assigns", *test.config.variants]
        variant = st.selectbox(
            "Variant", variants, key=f"{TAB}.event.variant", help="Choose one only if it was assigned elsewhere"
        )
        event_id = st.text_input(
            "Event id (optional)", key=f"{TAB}.event.id", help="The same id again is not stored a second time"
        )
        if st.button("Record", type="primary", key=f"{TAB}.event.confirm"):

            def record() -> bool:
                if not subject:
                    raise ValueError("enter a user id first")
                if value is None:
                    raise ValueError("enter a value first")
                return app.testing.record_event(
                    exp_id, subject, value, metric=metric, denominator=below, event_id=event_id or None,
                    variant=None if variant == variants[0] else variant,
                )  # fmt: skip

            ui.act(
                app,
                "record an event",
                record,
                done=lambda new: (
                    "Recorded the event"
                    if new
                    else "Nothing was stored: this event id is known, or the subject takes no part in the test"
                ),
            )


@st.dialog("Upload events", on_dismiss=ui.close_dialog, width="large")
def _upload_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("upload events"):
        test = _about(app, exp_id)
        what = st.segmented_control(
            "The rows are", ["Events", "Attributes"], default="Events", required=True, key=f"{TAB}.upload.what",
            help="Attributes are known from before the test: a covariate that reduces variance, or a segment",
        )  # fmt: skip
        if what == "Events":
            ratio = any(str(metric.metric_type) == "ratio" for metric in test.config.metrics)
            optional = ["metric", "at", "event_id", "variant", *(["denominator"] if ratio else [])]
            st.markdown(
                "Columns `user_id` and `value`, and if wanted "
                + ", ".join(f"`{name}`" for name in optional)
                + ". Rows "
                "whose `event_id` is known are not stored again. All rows are stored, or none."
            )
            st.code("user_id,value,event_id\nuser-1,0.93,e1\nuser-2,0.88,e2", language=None)
        else:
            st.markdown("Column `user_id`, and a column for each attribute: numbers are covariates, text is segments.")
        label = f"Add {(what or 'Events').lower()}"  # not "Upload", which the box for the file says

        def record(frame: pd.DataFrame) -> tuple[int, int]:
            if what == "Attributes":
                return app.testing.record_attributes(exp_id, frame), len(frame)
            return app.testing.record_events(exp_id, events_from_table(frame)), len(frame)

        def said(counts: tuple[int, int]) -> str:
            if what == "Attributes":
                return f"Stored {formats.plural(counts[0], 'attribute')}"
            return f"Stored {counts[0]:,} new of {formats.plural(counts[1], 'event')}"

        store_button(
            app, label, file_box("File", f"{TAB}.upload"), record, said, key=f"{TAB}.upload", where="upload events",
            text=("user_id",) if what == "Attributes" else EVENT_TEXT_COLUMNS,
        )  # fmt: skip


@st.dialog("Start a new phase", on_dismiss=ui.close_dialog)
def _phase_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("start a phase"):
        test = _about(app, exp_id)
        st.markdown("Subjects that were assigned keep their variant; results are compared within phases, never pooled.")
        present = drafts.as_opened(lambda: test.phases[-1])
        shares = present["shares"]
        split: Any
        if test.config.treatments is None:
            split = st.slider(
                "Share of the treatment", 0.0, 1.0, float(shares["treatment"]), 0.01, key=f"{TAB}.phase.split"
            )
        else:
            split = {
                name: st.number_input(
                    f"Share of {formats.markdown(name)}", 0.0, 1.0, float(shares[name]), 0.01, format="%g",
                    key=f"{TAB}.phase.split.{name}",
                )
                for name in test.config.variants[1:]
            }  # fmt: skip
            ui.note(f"The baseline gets the rest: {formats.percent(max(0.0, 1.0 - sum(split.values())))}.")
        coverage = st.slider("Coverage of all subjects", 0.01, 1.0, float(present["coverage"]), 0.01,
                             key=f"{TAB}.phase.coverage")  # fmt: skip
        reason = st.text_input("Reason", key=f"{TAB}.phase.reason")
        if st.button("Start phase", type="primary", key=f"{TAB}.phase.confirm"):

            def start() -> int:
                newest = app.testing.get_experiment(exp_id).phases[-1]
                drafts.refuse_when_changed(present["number"], newest["number"], "began a phase")
                return app.testing.start_phase(exp_id, traffic_split=split, coverage=coverage, reason=reason or None)

            ui.act(app, "start a phase", start, done=lambda number: f"Phase {number} has begun")


@st.dialog("Conclude the test", on_dismiss=ui.close_dialog)
def _conclude_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("conclude test"):
        test = _about(app, exp_id)
        analysis, token = drafts.as_opened(lambda: (unseen_analysis(app, exp_id), app.database.change_token()))
        st.markdown(formats.markdown(analysis.recommendation))
        choices = [code for code in DECISION_TEXT if code not in {"keep_running", "insufficient_data"}]
        suggested = analysis.decision if analysis.decision in choices else "inconclusive"
        decision = st.selectbox(
            "Decision", choices, index=choices.index(suggested), key=f"{TAB}.conclude.decision",
            format_func=lambda code: DECISION_TEXT[code].split(" ", 1)[-1].capitalize(),
        )  # fmt: skip
        if decision != suggested:
            ui.note("This is not what the analysis recommends: say why.")
        reason = st.text_area(
            "Reason", key=f"{TAB}.conclude.reason", placeholder="Without one the recommendation is recorded"
        )
        ui.note("The test takes no more subjects or events; the analysis as of now is stored as evidence.")
        if st.button("Conclude", type="primary", key=f"{TAB}.conclude.confirm"):

            def conclude() -> Any:
                if decision != suggested and not (reason or "").strip():
                    raise ValueError("give a reason for deciding against the analysis")
                if app.database.change_token() != token:  # what is recommended by now may be another thing
                    now = app.testing.analyze_experiment(exp_id, record_look=False)
                    if now.decision != analysis.decision:
                        raise ValueError("new data changed the recommendation; open the form again to see it")
                return app.testing.conclude(exp_id, decision=decision, reason=reason or None, actor=app.actor)

            ui.act(app, "conclude test", conclude, done=f"Concluded {formats.markdown(test.name)}")


@st.dialog("Promote the winner", on_dismiss=ui.close_dialog)
def _promote_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("promote the winner"):
        test = _about(app, exp_id)
        winner = chain.winner_of(test.decision)
        version_id = test.treatment_version_id if winner == "treatment" else test.baseline_version_id
        version = app.registry.find_version_by_id(version_id) if version_id else None
        if version is None:
            st.error("The winner is no longer registered.", icon=":material/error:")
            return
        name = version.name
        seen = drafts.as_opened(lambda: _in_production(app, name))
        if seen == version.version:
            ui.note(f"{formats.markdown(str(version))} is in Production already.")
            return
        leaves = f", {formats.markdown(seen)} leaves it" if seen else ""
        st.markdown(
            f"**{formats.markdown(str(version))}** moves to Production{leaves}; the audit trail names this test."
        )
        reason = st.text_input("Reason", f"won the A/B test {test.name}", key=f"{TAB}.promote.reason")
        if st.button("Promote", type="primary", key=f"{TAB}.promote.confirm"):

            def promote() -> Any:
                return chain.promote_winner(
                    app.testing, app.registry, exp_id, actor=app.actor, reason=reason or None, displacing=seen or ""
                )

            ui.act(app, "promote the winner", promote, done=f"{formats.markdown(str(version))} is in Production")


def _in_production(app: ui.App, name: str) -> str | None:
    """Return the version of a model that is in Production."""
    try:
        return app.registry.get_production(name).version
    except NotFoundError:
        return None


@st.dialog("Archive the test", on_dismiss=ui.close_dialog)
def _archive_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("archive test"):
        test = _about(app, exp_id)
        st.markdown("It leaves the list; nothing is deleted. The status “Archived” shows it again.")
        if st.button("Archive", type="primary", key=f"{TAB}.archive.confirm"):

            def archive() -> None:
                app.testing.archive(exp_id, reason=f"archived by {app.actor} on {dt.date.today():%Y-%m-%d}")
                ui.select("test", [])

            ui.act(app, "archive test", archive, done=f"Archived {formats.markdown(test.name)}")


@st.dialog("Delete the test", on_dismiss=ui.close_dialog)
def _delete_dialog(app: ui.App, exp_id: str) -> None:
    with ui.errors("delete test"):
        test = _about(app, exp_id)
        exposure = unseen_exposure(app, exp_id)
        subjects = formats.plural(sum(exposure.n_assigned.values()), "assigned subject")
        st.warning(
            f"The test, its {subjects}, its events and its looks are deleted for good. To hide a test and keep it, "
            "archive it.",
            icon=":material/warning:",
        )
        if ui.confirm_by_typing(test.name, "Delete", key=f"{TAB}.delete"):

            def delete() -> DeletedExperiment:
                deleted = app.testing.delete_experiment(exp_id)
                ui.select("test", [])
                return deleted

            ui.act(
                app,
                "delete test",
                delete,
                done=lambda gone: (
                    f"Deleted {formats.markdown(gone.name)} with {formats.plural(gone.n_events, 'event')}"
                ),
            )
