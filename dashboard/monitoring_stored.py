"""What is stored of a monitored version, in the Monitoring tab: its references, and how they or all of it are deleted.

Every dialog names what it deletes and acts on the ids it was opened with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import components as ui
from dashboard import formats

if TYPE_CHECKING:
    import pandas as pd

    from model_monitoring import ReferenceRecord, RemovalReport

__all__ = ["delete_button", "dialogs", "draw_references", "references_frame", "removal_words"]

TAB = "monitoring"


def references_frame(references: Sequence[ReferenceRecord]) -> pd.DataFrame:
    """Return a row a stored reference, the one that counts first."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Holds": ["✓ now" if reference.current else "" for reference in references],
            "What it is": [reference.label or formats.DASH for reference in references],
            "Set (UTC)": pd.to_datetime([reference.created_at for reference in references], utc=True),
            "Rows": pd.Series([reference.n_rows for reference in references], dtype="int64"),
            "Features": pd.Series([reference.n_features for reference in references], dtype="int64"),
            "Batches": pd.Series([reference.n_batches for reference in references], dtype="int64"),
        }
    )


def draw_references(app: ui.App, name: str, version: str) -> None:
    """Draw the references that a version has had; a selected one can be deleted."""
    references = app.monitoring.list_references(name, version)
    if not references:
        return
    st.markdown(f"**{formats.plural(len(references), 'reference')}**; batches are counted on the newest")
    chosen = ui.table(
        references_frame(references), [found.id for found in references], key=f"{TAB}.references",
        name=f"{TAB}.reference_id", alt="Stored references", multiple=False, rows_shown=5,
        columns={
            "What it is": st.column_config.TextColumn(width="medium"),
            "Set (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
            "Rows": st.column_config.NumberColumn(format="localized", help="Of the table it was made from"),
            "Batches": st.column_config.NumberColumn(format="localized", help="Batches that were compared with it"),
        },
    )  # fmt: skip
    st.button(
        "Delete reference", key=f"{TAB}.reference.delete.open", icon=":material/delete:",
        disabled=not app.can_edit or not chosen, on_click=ui.open_dialog, args=(f"{TAB}.reference.delete",),
        kwargs={"model": name, "version": version, "reference_id": next(iter(chosen), "")},
        help="Select one first. The one before it holds again",
    )  # fmt: skip


def delete_button(app: ui.App, name: str, version: str) -> None:
    """Draw the button that opens the dialog for the end of watching a version."""
    st.button(
        "Delete", key=f"{TAB}.delete.open", icon=":material/delete:", disabled=not app.can_edit,
        on_click=ui.open_dialog, args=(f"{TAB}.delete",), kwargs={"model": name, "version": version},
        help="Delete all that was logged for this version; the registered version itself stays",
    )  # fmt: skip


# -- dialogs -----------------------------------------------------------------------------------------


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of these."""
    for name, draw in (("reference.delete", _reference_dialog), ("delete", _delete_dialog)):
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


@st.dialog("Delete a reference", on_dismiss=ui.close_dialog)
def _reference_dialog(app: ui.App, model: str, version: str, reference_id: str) -> None:
    with ui.errors("delete reference"):
        st.caption(f"For **{formats.markdown(model)} {formats.markdown(version)}**")
        found = next((r for r in app.monitoring.list_references(model, version) if r.id == reference_id), None)
        if found is None:
            ui.note("This reference is no longer stored.")
            return
        what = f"“{formats.markdown(found.label)}”" if found.label else "The reference without a name"
        st.warning(
            f"{what}, set on {found.created_at:%Y-%m-%d} from {formats.plural(found.n_rows, 'row')}, is deleted for "
            f"good, with the counts of {formats.plural(found.n_batches, 'batch', 'batches')} that were compared with "
            "it.",
            icon=":material/warning:",
        )
        if st.button("Delete", type="primary", icon=":material/delete:", key=f"{TAB}.reference.delete.confirm"):

            def delete() -> RemovalReport:
                removed = app.monitoring.delete_reference(
                    model, version, reference_id, with_batches=True, actor=app.actor
                )
                ui.select(f"{TAB}.reference_id", [])
                return removed

            ui.act(app, "delete reference", delete, done=lambda gone: f"Deleted {removal_words(gone)}")


@st.dialog("Delete the monitoring of a version", on_dismiss=ui.close_dialog)
def _delete_dialog(app: ui.App, model: str, version: str) -> None:
    with ui.errors("delete monitoring"):
        named = f"{model} {version}"
        st.warning(
            "All values, references, batches, predictions, rules and alerts of "
            f"**{formats.markdown(named)}** are deleted for good. The registered version and its artifact stay.",
            icon=":material/warning:",
        )
        if ui.confirm_by_typing(named, "Delete", key=f"{TAB}.delete"):

            def delete() -> RemovalReport:
                removed = app.monitoring.delete_monitored(model, version, confirm=named, actor=app.actor)
                ui.select("watch", [])
                return removed

            ui.act(app, "delete monitoring", delete, done=lambda gone: f"Deleted {removal_words(gone)}")


def removal_words(removed: RemovalReport) -> str:
    """Return what was deleted: `1,204 values, 1 reference, 20 batches`; what there was none of is left out."""
    parts = (
        (removed.n_points, "value", "values"), (removed.n_references, "reference", "references"),
        (removed.n_batches, "batch", "batches"), (removed.n_predictions, "prediction", "predictions"),
        (removed.n_alerts, "alert", "alerts"),
    )  # fmt: skip
    return ", ".join(formats.plural(count, one, many) for count, one, many in parts if count) or "nothing"
