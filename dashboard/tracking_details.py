"""One run in the Tracking tab: its facts, params, metrics, files and ties, and the dialogs that change runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import drafts, formats
from db import StateError

if TYPE_CHECKING:
    import pandas as pd

    from experiment_tracking import Artifact, Run

__all__ = ["dialogs", "environment_frame", "metrics_frame", "render_run", "selection_buttons", "values_frame"]

TAB = "tracking"
PREVIEW_BYTES = 20_000
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")  # none that could hold a script
MAX_PICTURE_BYTES = 20_000_000
MAX_DOWNLOAD_BYTES = 200_000_000  # one file through the browser; larger ones are fetched by a notebook
STAGES = ("Development", "Staging")
ENDINGS = ("finished", "failed", "killed")
_METRIC_NUMBERS = ("last", "best", "best step", "min", "max", "points")


# -- what is shown -----------------------------------------------------------------------------------


def values_frame(values: dict[str, object], heading: str) -> pd.DataFrame:
    """Return keys and values as a table of two columns."""
    import pandas as pd

    rows = [(key, formats.value_text(value)) for key, value in sorted(values.items())]
    return pd.DataFrame(rows, columns=[heading, "value"])


def environment_frame(environment: Mapping[str, Any]) -> pd.DataFrame:
    """Return what a run ran in as a table: a row a property, or a part of one (`git: commit`)."""
    flat: dict[str, object] = {}
    for key, value in environment.items():
        if key == "packages":
            continue
        for part, item in value.items() if isinstance(value, dict) else ((None, value),):
            is_size = str(part or key).endswith("_bytes") and isinstance(item, int | float)
            words = f"{key}: {part}" if part is not None else key
            flat[words.removesuffix("_bytes").replace("_", " ")] = formats.size(item) if is_size else item
    return values_frame(flat, "property")


def metrics_frame(run: Run) -> pd.DataFrame:
    """Return a row a metric: last, best, where the best was, least, greatest, points."""
    import pandas as pd

    from tracking_parts.records import goal_of

    rows = []
    for key, summary in sorted(run.metric_summaries.items()):
        goal = goal_of(key)
        rows.append(
            (
                key, formats.number(summary.last), formats.number(summary.best(goal)),
                formats.DASH if summary.best_step(goal) is None else formats.whole(summary.best_step(goal)),
                formats.number(summary.min), formats.number(summary.max), formats.whole(summary.n_points),
            )
        )  # fmt: skip
    return pd.DataFrame(rows, columns=["metric", "last", "best", "best step", "min", "max", "points"])


def render_run(app: ui.App, run: Run) -> None:
    """Draw the details of the one selected run."""
    with st.container(border=True):
        st.markdown(f"#### {formats.markdown(run.name)}")
        parts = [
            str(run.status) + (", archived" if run.archived else "") + (", deleted" if run.deleted else ""),
            f"experiment {formats.markdown(run.experiment)}",
            f"started {formats.instant(run.started_at)} ({formats.ago(run.started_at)})",
            f"took {formats.duration(run.duration_seconds)}",
        ]
        st.caption(" · ".join(parts))
        if run.error:
            st.code(run.error, language=None, wrap_lines=True)
        with ui.errors("links"):
            _draw_links(app, run)
        if run.note:
            st.text(run.note)
        if run.metric_summaries:
            ui.plain_table(metrics_frame(run), f"{TAB}.run_metrics", alt="Metrics of the run", right=_METRIC_NUMBERS)
        else:
            ui.note("No metric was logged.")
        left, right = st.columns(2, gap="medium")
        with left:
            if run.params:
                ui.plain_table(values_frame(dict(run.params), "param"), f"{TAB}.run_params", alt="Params")
            else:
                ui.note("No params were logged.")
        with right:
            if run.tags:
                ui.plain_table(values_frame(dict(run.tags), "tag"), f"{TAB}.run_tags", alt="Tags")
            else:
                ui.note("No tags were set.")
        with ui.errors("files"):
            _draw_artifacts(app, run)
        if run.environment:
            with st.expander(
                "Environment: code, packages, hardware", key=f"{TAB}.environment", on_change="rerun"
            ) as box:
                if box.open:
                    ui.plain_table(environment_frame(run.environment), f"{TAB}.env", alt="Environment")
                    packages = run.environment.get("packages")
                    if isinstance(packages, dict):
                        ui.plain_table(values_frame(packages, "package"), f"{TAB}.packages", alt="Packages")


def _draw_links(app: ui.App, run: Run) -> None:
    """Draw one click to everything this run is tied to."""
    links = chain.links_of_run(app.database, run.run_id)
    with st.container(horizontal=True, gap="small"):
        if run.parent_run_id:
            st.button(
                "Parent run", key=f"{TAB}.parent", type="tertiary", icon=":material/arrow_upward:",
                on_click=ui.select, args=("run", [run.parent_run_id]),
            )  # fmt: skip
        for link in links:
            ui.jump_button(
                formats.markdown(link.label), f"{TAB}.link.{link.kind}.{link.id}", link.tab, link.url_name, [link.id]
            )
        if not links:
            ui.note("No model is registered from this run yet.")


def _draw_artifacts(app: ui.App, run: Run) -> None:
    artifacts = app.tracking.list_artifacts(run.run_id)
    if not artifacts:
        ui.note("No files were logged.")
        return
    import pandas as pd

    st.markdown(f"**{formats.plural(len(artifacts), 'file')}** · {formats.size(sum(a.size_bytes for a in artifacts))}")
    paths = [artifact.path for artifact in artifacts]
    frame = pd.DataFrame(
        [(a.path, a.kind, formats.size(a.size_bytes), formats.instant(a.created_at)) for a in artifacts],
        columns=["path", "kind", "size", "logged"],
    )
    ui.plain_table(frame, f"{TAB}.artifacts", alt="Files of the run", right=("size",), rows_shown=8)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        path = st.selectbox(
            "Open a file",
            paths,
            index=None,
            key=f"{TAB}.artifact.{run.run_id}",
            placeholder="Choose a file",
            persist_state="page",
        )
        artifact = next((a for a in artifacts if a.path == path), None)
        if artifact is not None and artifact.size_bytes <= MAX_DOWNLOAD_BYTES:
            st.download_button(
                "Download", data=lambda: _read_file(app, run.run_id, artifact.path), file_name=Path(artifact.path).name,
                mime="application/octet-stream", key=f"{TAB}.download", icon=":material/download:", on_click="ignore",
            )  # fmt: skip
        if artifact is not None:
            st.button(
                "Delete file", key=f"{TAB}.delete_file", icon=":material/delete:", disabled=not app.can_edit,
                on_click=ui.open_dialog, args=(f"{TAB}.file",), kwargs={"run_id": run.run_id, "path": artifact.path},
            )  # fmt: skip
    if artifact is not None:
        _draw_preview(app, run, artifact)


def _draw_preview(app: ui.App, run: Run, artifact: Artifact) -> None:
    """Show an image as an image and text as text. Nothing is unpickled, and no markup is interpreted."""
    with ui.part("preview"):
        if artifact.path.lower().endswith(PICTURES) and artifact.size_bytes <= MAX_PICTURE_BYTES:
            try:
                st.image(_read_file(app, run.run_id, artifact.path), caption=formats.markdown(artifact.path))
            except OSError:  # what the decoder of pictures raises
                ui.note("This file is named like a picture, but is none.")
            return
        text = app.tracking.preview_artifact(run.run_id, artifact.path, PREVIEW_BYTES)
        if text is None:
            ui.note("This file is not text; download it to look at it.")
            return
        with st.container(height=320):  # a box that keys can scroll: a code block of this height could not be reached
            st.code(text, language="json" if artifact.path.endswith(".json") else None, wrap_lines=True)
        if artifact.size_bytes > PREVIEW_BYTES:
            ui.note(f"The first {formats.size(PREVIEW_BYTES)} of {formats.size(artifact.size_bytes)}.")


def _read_file(app: ui.App, run_id: str, path: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return app.tracking.download_artifact(run_id, path, Path(folder) / "file").read_bytes()


# -- buttons -----------------------------------------------------------------------------------------


def selection_buttons(app: ui.App, runs: Sequence[Run]) -> None:
    """Draw what can be done with the selected runs."""
    ids = [run.run_id for run in runs]
    locked = not app.can_edit
    if len(runs) == 1 and not runs[0].deleted:
        st.button(
            "Register model", key=f"{TAB}.register", icon=":material/deployed_code:", disabled=locked, type="primary",
            on_click=ui.open_dialog, args=(f"{TAB}.register",), kwargs={"run_id": ids[0]},
        )  # fmt: skip
        st.button(
            "Edit", key=f"{TAB}.edit", icon=":material/edit:", disabled=locked,
            on_click=ui.open_dialog, args=(f"{TAB}.edit",), kwargs={"run_id": ids[0]},
        )  # fmt: skip
    if len(runs) == 1 and runs[0].status == "running" and not runs[0].deleted:
        st.button(
            "End", key=f"{TAB}.end", icon=":material/stop_circle:", disabled=locked,
            on_click=ui.open_dialog, args=(f"{TAB}.end",), kwargs={"run_id": ids[0]},
        )  # fmt: skip
    if all(run.deleted for run in runs):
        st.button("Restore", key=f"{TAB}.restore", icon=":material/restore_from_trash:", disabled=locked,
                  on_click=_restore, args=(app, ids))  # fmt: skip
        st.button("Delete for ever", key=f"{TAB}.purge", icon=":material/delete_forever:", disabled=locked,
                  on_click=ui.open_dialog, args=(f"{TAB}.purge",), kwargs={"run_ids": ids})  # fmt: skip
        return
    if not any(run.deleted for run in runs):
        archived = all(run.archived for run in runs)
        st.button("Unarchive" if archived else "Archive", key=f"{TAB}.archive", icon=":material/archive:",
                  disabled=locked,
                  on_click=_archive, args=(app, ids, not archived))  # fmt: skip
        st.button("Delete", key=f"{TAB}.delete", icon=":material/delete:", disabled=locked,
                  on_click=ui.open_dialog, args=(f"{TAB}.delete",), kwargs={"run_ids": ids})  # fmt: skip


def _archive(app: ui.App, ids: Sequence[str], archived: bool) -> None:
    with ui.errors("archive"):
        for run_id in ids:
            app.tracking.archive_run(run_id, archived)
        ui.flash(f"{'Archived' if archived else 'Unarchived'} {formats.plural(len(ids), 'run')}")


def _restore(app: ui.App, ids: Sequence[str]) -> None:
    with ui.errors("restore"):
        for run_id in ids:
            app.tracking.restore_run(run_id)
        ui.flash(f"Restored {formats.plural(len(ids), 'run')}")


# -- dialogs -----------------------------------------------------------------------------------------


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of this tab."""
    for name, draw in (
        ("delete", _delete_dialog), ("purge", _purge_dialog), ("edit", _edit_dialog), ("register", _register_dialog),
        ("end", _end_dialog), ("file", _delete_file_dialog),
    ):  # fmt: skip
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


def _name_runs(app: ui.App, ids: Sequence[str]) -> list[Run]:
    """Say which runs the dialog is about, and return them."""
    runs = [app.tracking.get_run(run_id) for run_id in ids]
    for run in runs[:10]:
        st.markdown(f"- **{formats.markdown(run.name)}** of {formats.markdown(run.experiment)}")
    if len(runs) > 10:
        ui.note(f"and {len(runs) - 10} more")
    return runs


@st.dialog("Delete runs", on_dismiss=ui.close_dialog)
def _delete_dialog(app: ui.App, run_ids: list[str]) -> None:
    with ui.errors("delete runs"):
        _name_runs(app, run_ids)
        ui.note("Deleted runs can be restored under Show: Deleted, until someone deletes them for ever.")
        if st.button("Delete", key=f"{TAB}.delete.confirm", type="primary", icon=":material/delete:"):

            def delete() -> None:
                for run_id in run_ids:
                    app.tracking.delete_run(run_id)
                ui.select("run", [])

            ui.act(app, "delete runs", delete, done=f"Deleted {formats.plural(len(run_ids), 'run')}")


@st.dialog("Delete runs for ever", on_dismiss=ui.close_dialog)
def _purge_dialog(app: ui.App, run_ids: list[str]) -> None:
    with ui.errors("delete runs for ever"):
        runs = _name_runs(app, run_ids)
        ui.note("Their metrics and files are removed from the disk. This cannot be undone.")
        word = runs[0].name if len(runs) == 1 else f"delete {len(runs)} runs"
        if ui.confirm_by_typing(word, "Delete for ever", key=f"{TAB}.purge"):

            def purge() -> int:
                freed = 0
                restored = [run.name for run in map(app.tracking.get_run, run_ids) if not run.deleted]
                if restored:
                    raise StateError(f"{restored[0]} was restored meanwhile; look again before you delete it for ever")
                for run_id in run_ids:
                    report = app.tracking.delete_run(run_id, permanently=True)
                    freed += report.freed_bytes if report else 0
                ui.select("run", [])
                return freed

            ui.act(app, "delete runs for ever", purge, done=lambda freed: f"Gone; {formats.size(freed)} given back")


@st.dialog("Edit run", on_dismiss=ui.close_dialog)
def _edit_dialog(app: ui.App, run_id: str) -> None:
    with ui.errors("edit run"):
        run = app.tracking.get_run(run_id)
        shown = drafts.as_opened(lambda: _editable(run))
        with st.form(f"{TAB}.edit.form", border=False):
            name = st.text_input("Name", shown["name"], key=f"{TAB}.edit.name.{run_id}")
            note = st.text_area("Note", shown["note"], key=f"{TAB}.edit.note.{run_id}")
            tags = drafts.tags_box(shown["tags"], f"{TAB}.edit.tags.{run_id}")
            saved = st.form_submit_button("Save", type="primary", key=f"{TAB}.edit.save")
        if saved:

            def save() -> None:
                stored = _editable(app.tracking.get_run(run_id))
                changed = drafts.changes(shown, {"name": name, "note": note}, stored)
                changed_tags = drafts.pair_changes(shown["tags"], tags, stored["tags"])
                if "name" in changed:
                    app.tracking.rename_run(run_id, name)
                if "note" in changed:
                    app.tracking.set_note(run_id, note or None)
                kept = {key: value for key, value in changed_tags.items() if value is not None}
                if kept:
                    app.tracking.set_tags(run_id, kept)
                if len(kept) < len(changed_tags):
                    app.tracking.delete_tags(run_id, [key for key in changed_tags if key not in kept])

            ui.act(app, "edit run", save, done="Saved")


def _editable(run: Run) -> dict[str, Any]:
    """Return what the form changes of a run."""
    return {"name": run.name, "note": run.note or "", "tags": dict(run.tags)}


@st.dialog("End run", on_dismiss=ui.close_dialog)
def _end_dialog(app: ui.App, run_id: str) -> None:
    with ui.errors("end run"):
        _name_runs(app, [run_id])
        ui.note("For a run whose process is gone, or logs no more. It does not stop a process.")
        status = st.segmented_control(
            "It ended as", ENDINGS, default=ENDINGS[0], required=True, key=f"{TAB}.end.status"
        )
        if st.button("End", type="primary", key=f"{TAB}.end.confirm"):
            ui.act(
                app, "end run", lambda: app.tracking.end_run(run_id, status or ENDINGS[0]), done=f"Ended as {status}"
            )


@st.dialog("Delete file", on_dismiss=ui.close_dialog)
def _delete_file_dialog(app: ui.App, run_id: str, path: str) -> None:
    with ui.errors("delete file"):
        _name_runs(app, [run_id])
        ui.note("The file is removed from the disk, unless something else has the same content. This cannot be undone.")
        if ui.confirm_by_typing(path, "Delete file", key=f"{TAB}.delete_file"):
            ui.act(
                app,
                "delete file",
                lambda: app.tracking.delete_artifact(run_id, path),
                done=lambda freed: f"Deleted {formats.markdown(path)}; {formats.size(freed)} given back",
            )


@st.dialog("Register the run's model", on_dismiss=ui.close_dialog)
def _register_dialog(app: ui.App, run_id: str) -> None:
    with ui.errors("register model"):
        run = app.tracking.get_run(run_id)
        artifacts = chain.registrable_artifacts(app.tracking, run_id)
        if not artifacts:
            st.write("This run has no stored file. Log its model first, then register it here:")
            st.code(
                'tracking.log_artifact(run_id, model, name="model", kind="model")', language="python", wrap_lines=True
            )
            return
        models = [model.name for model in app.registry.list_models()]
        path = st.selectbox("File", [artifact.path for artifact in artifacts], key=f"{TAB}.register.path.{run_id}")
        name = st.selectbox(
            "Model name", models, index=0 if len(models) == 1 else None, accept_new_options=True,
            key=f"{TAB}.register.name", placeholder="Choose a model, or type a new name",
        )  # fmt: skip
        version = st.text_input(
            "Version", key=f"{TAB}.register.version", placeholder="1.2.0", help="Left empty: the next minor version."
        )
        kind = st.selectbox(
            "Type", chain.model_types(), format_func=lambda kind: kind.replace("_", " "), key=f"{TAB}.register.type"
        )
        stage = st.segmented_control("Stage", STAGES, default=STAGES[0], required=True, key=f"{TAB}.register.stage")
        ui.note(
            f"Carries over {formats.plural(len(run.params), 'param')} and {formats.plural(len(run.metrics), 'metric')}."
        )
        if st.button("Register", type="primary", key=f"{TAB}.register.confirm"):
            ui.act(
                app,
                "register model",
                lambda: chain.register_run_model(
                    app.tracking, app.registry, run_id, name or "", version or None, artifact=path, model_type=kind,
                    stage=stage, actor=app.actor,
                ),
                done=lambda made: f"Registered {formats.markdown(made.name)} {made.version}",
            )  # fmt: skip
