"""The experiments of the Tracking tab: which there are, deleting and restoring one, clearing what was deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import formats

if TYPE_CHECKING:
    import pandas as pd

    from experiment_tracking import Experiment

__all__ = ["dialogs", "experiments_frame", "manage_button"]

TAB = "tracking"
JOBS = ("Overview", "Delete", "Restore", "Clear deleted")
CLEAR_WORDS = "delete for ever"


def experiments_frame(experiments: Sequence[Experiment]) -> pd.DataFrame:
    """Return a row an experiment: its runs, how many run or failed, and when the latest one began."""
    import pandas as pd

    rows = [
        (
            e.name, formats.whole(e.n_runs), formats.whole(e.n_running), formats.whole(e.n_failed),
            formats.instant(e.last_started_at),
        )
        for e in experiments
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["experiment", "runs", "running", "failed", "latest run"])


def manage_button(app: ui.App) -> None:
    """Draw the button that opens the dialog about experiments."""
    st.button("Experiments", key=f"{TAB}.experiments", icon=":material/folder_open:",
              on_click=ui.open_dialog, args=(f"{TAB}.experiments",))  # fmt: skip


def dialogs(app: ui.App) -> None:
    """Draw the dialog, if it is open."""
    if ui.dialog_payload(f"{TAB}.experiments") is not None:
        _experiments_dialog(app)


@st.dialog("Experiments", on_dismiss=ui.close_dialog, width="large")
def _experiments_dialog(app: ui.App) -> None:
    with ui.errors("experiments"):
        job = ui.choose_job(JOBS, f"{TAB}.experiments.job")
        experiments = app.tracking.list_experiments()
        if job == "Delete":
            _delete(app, [e.name for e in experiments])
        elif job == "Restore":
            _restore(app)
        elif job == "Clear deleted":
            _clear(app)
        elif experiments:
            ui.plain_table(
                experiments_frame(experiments), f"{TAB}.experiments.table", alt="Experiments",
                right=("runs", "running", "failed"),
            )  # fmt: skip
        else:
            ui.note("There is no experiment.")


def _delete(app: ui.App, names: Sequence[str]) -> None:
    if not names:
        ui.note("There is no experiment.")
        return
    name = st.selectbox("Experiment", names, key=f"{TAB}.experiments.delete.name")
    ui.note("Its runs go with it, and its name is free again. It can be restored until deleted runs are cleared.")
    if name is not None and ui.confirm_by_typing(name, "Delete experiment", key=f"{TAB}.experiments.delete"):

        def delete() -> None:
            app.tracking.delete_experiment(name)
            ui.select("run", [])

        ui.act(app, "delete experiment", delete, done=f"Deleted the experiment {formats.markdown(name)}")


def _restore(app: ui.App) -> None:
    names = chain.deleted_experiment_names(app.database)
    if not names:
        ui.note("No experiment was deleted.")
        return
    name = st.selectbox("Deleted experiment", names, key=f"{TAB}.experiments.restore.name")
    if st.button("Restore experiment", type="primary", key=f"{TAB}.experiments.restore.confirm"):
        ui.act(
            app,
            "restore experiment",
            lambda: app.tracking.restore_experiment(name or ""),
            done=f"Restored the experiment {formats.markdown(name or '')}, with the runs that were deleted with it",
        )


def _clear(app: ui.App) -> None:
    n_deleted = app.tracking.count_runs(include="deleted")
    if not n_deleted:
        ui.note("No deleted run waits to be cleared.")
        return
    st.markdown(f"**{formats.plural(n_deleted, 'deleted run')}** can still be restored.")
    days = st.number_input(
        "Only what was deleted at least so many days ago", 0, 3_650, 0, key=f"{TAB}.experiments.clear.days"
    )
    ui.note("Their metrics and files are removed from the disk. This cannot be undone.")
    if ui.confirm_by_typing(CLEAR_WORDS, "Clear deleted", key=f"{TAB}.experiments.clear"):
        ui.act(
            app,
            "clear deleted",
            lambda: app.tracking.purge_deleted(older_than_days=float(days)),
            done=lambda report: (
                f"{formats.plural(report.n_runs, 'run')} gone; {formats.size(report.freed_bytes)} given back"
            ),
        )
