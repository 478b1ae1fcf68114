"""What the Registry tab can do with the store as a whole: bring an exported version in, check all files, clean up."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import components as ui
from dashboard import formats

if TYPE_CHECKING:
    import pandas as pd

    from model_registry import GarbageReport, VersionProblem

__all__ = ["dialogs", "garbage_sentence", "problems_frame", "storage_button"]

TAB = "registry"
JOBS = ("Import a version", "Check files", "Clean up")
CLEAN_WORDS = "clean up"


def problems_frame(problems: Sequence[VersionProblem]) -> pd.DataFrame:
    """Return the files that are missing or altered as a table."""
    import pandas as pd

    rows = [(f"{p.name} {p.version}".strip() or formats.DASH, p.path, p.kind, p.message) for p in problems]
    return pd.DataFrame(rows, columns=["version", "file", "what", "details"])


def garbage_sentence(report: GarbageReport) -> str:
    """Return what a clean-up gives back, or gave back."""
    verb = "would be" if report.dry_run else "were"
    files = formats.plural(len(report.removed) + report.n_temporary, "file")
    versions = formats.plural(len(report.purged), "deleted version")
    return (
        f"{files} {verb} removed, {formats.size(report.freed_bytes)} in all; {versions} could not be restored any more"
    )


def storage_button(app: ui.App) -> None:
    """Draw the button that opens the dialog about the store."""
    st.button("Storage", key=f"{TAB}.storage", icon=":material/hard_drive:",
              on_click=ui.open_dialog, args=(f"{TAB}.storage",))  # fmt: skip


def dialogs(app: ui.App) -> None:
    """Draw the dialog, if it is open."""
    if ui.dialog_payload(f"{TAB}.storage") is not None:
        _storage_dialog(app)


@st.dialog("Storage", on_dismiss=ui.close_dialog, width="large")
def _storage_dialog(app: ui.App) -> None:
    with ui.errors("storage"):
        job = ui.choose_job(JOBS, f"{TAB}.storage.job")
        if job == "Check files":
            _check(app)
        elif job == "Clean up":
            _clean_up(app)
        else:
            _import(app)


def _import(app: ui.App) -> None:
    ui.note(
        "An archive that Export with everything wrote, here or elsewhere. Its hashes are checked, nothing in it is "
        "run, and it arrives in Development."
    )
    upload = st.file_uploader("Archive", type=["zip"], key=f"{TAB}.import.file")
    name = st.text_input("Name", key=f"{TAB}.import.name", placeholder="Left empty: the name it was exported under")
    if st.button("Import version", type="primary", key=f"{TAB}.import.confirm", disabled=upload is None):

        def bring_in() -> str:
            if upload is None:
                raise ValueError("choose an archive first")
            with tempfile.TemporaryDirectory(prefix="modeldesk-") as folder:
                path = Path(folder) / "version.zip"
                path.write_bytes(upload.getbuffer())
                model_id = app.registry.import_version(path, name=(name or "").strip() or None, actor=app.actor)
            ui.select("version", [model_id])
            return model_id

        ui.act(app, "import version", bring_in, done="The version is imported")


def _check(app: ui.App) -> None:
    ui.note("Reads every stored file and compares it with its hash. This takes as long as reading all of them.")
    if st.button("Check all files", type="primary", key=f"{TAB}.check.confirm"):
        with st.spinner("Reading the files"):
            problems = app.registry.verify()
        if problems:
            st.warning(
                f"{formats.plural(len(problems), 'file')} missing or altered. Restore them from a backup, or delete "
                "the versions.",
                icon=":material/warning:",
            )
            ui.plain_table(problems_frame(problems), f"{TAB}.check.problems", alt="Files that are missing or altered")
        else:
            st.success("Every file is there and has the hash it was stored with.", icon=":material/check_circle:")


def _clean_up(app: ui.App) -> None:
    ui.note("Gives back the files of deleted versions and those that nothing names, an hour after their last use.")
    report = app.registry.collect_garbage(dry_run=True)
    st.markdown(f"**{formats.markdown(garbage_sentence(report))}.**")
    nothing = not report.removed and not report.purged and not report.n_temporary
    if not nothing and ui.confirm_by_typing(CLEAN_WORDS, "Clean up", key=f"{TAB}.clean"):
        ui.act(app, "clean up", app.registry.collect_garbage, done=garbage_sentence)
