"""Comparison of two uploaded tables in the Monitoring tab, feature by feature and together; nothing is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import formats, uploads
from dashboard.ab_testing_tab import p_equals
from dashboard.monitoring_tab import TAB, features_frame

if TYPE_CHECKING:
    from model_monitoring import DataDrift, ModelMonitoring

__all__ = ["compare_form", "compare_tables", "together_sentence"]

TOGETHER = {
    "Not together": None,
    "Domain classifier": "domain_classifier",
    "Principal components": "pca",
}
TOGETHER_HELP = (
    "Each feature may look as before while their relations changed. The classifier learns to tell the two tables "
    "apart; principal components ask whether the current rows still fit the relations of the reference."
)


def compare_form(app: ui.App) -> None:
    """Draw the form, and what the last comparison found."""
    with st.expander("Compare two tables", icon=":material/compare:", key=f"{TAB}.compare", on_change="rerun") as box:
        if not box.open:
            return
        ui.note("Any two tables with the same columns, as CSV or Parquet. Nothing is stored.")
        left, right = st.columns(2, gap="medium")
        with left:
            reference = st.file_uploader("Reference table", type=uploads.FILE_TYPES, key=f"{TAB}.compare.reference")
        with right:
            current = st.file_uploader("Current table", type=uploads.FILE_TYPES, key=f"{TAB}.compare.current")
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            together = st.segmented_control(
                "Together", list(TOGETHER), default="Domain classifier", required=True, key=f"{TAB}.compare.together",
                help=TOGETHER_HELP, persist_state="page",
            )  # fmt: skip
            threshold = st.number_input(
                "PSI that matters", 0.01, 5.0, 0.2, 0.05, format="%g", key=f"{TAB}.compare.psi", width=160,
                persist_state="page",
            )  # fmt: skip
            pressed = st.button(
                "Compare", key=f"{TAB}.compare.confirm", type="primary", icon=":material/compare_arrows:",
                disabled=reference is None or current is None,
            )  # fmt: skip
        if pressed and reference is not None and current is not None:
            with ui.errors("compare two tables"), st.spinner("Comparing"):
                st.session_state[f"{TAB}.compared"] = compare_tables(
                    app.monitoring, reference, current, TOGETHER[together or "Not together"], threshold
                )
        found = st.session_state.get(f"{TAB}.compared")
        if found is not None:
            _draw(app, found)


def compare_tables(
    monitoring: ModelMonitoring, reference: Any, current: Any, together: str | None, threshold: float
) -> DataDrift:
    """Compare two uploaded files.

    Raises
    ------
    ValueError
        If one cannot be read, or scikit-learn is not installed and the features are compared together.
    """
    frames = [uploads.read_table(file.name, file.getbuffer()) for file in (reference, current)]
    try:
        return monitoring.detect_data_drift(frames[0], frames[1], psi_threshold=threshold, multivariate=together)
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from error


def together_sentence(drift: DataDrift) -> tuple[str, str, str] | None:
    """Return what the comparison of all features together says, as (icon, colour, sentence)."""
    found = drift.multivariate
    if found is None:
        return None
    reason = f"{found.reason[:1].upper()}{found.reason[1:]}"
    if found.drifted is None:
        return "help", "gray", f"Together: no verdict. {reason}."
    icon, color, words = ("error", "red", "drifted") if found.drifted else ("check_circle", "green", "did not drift")
    p = "" if found.p_value is None else f" ({p_equals(found.p_value)})"
    return icon, color, f"Together the features {words}: {found.reason}{p}."


def _draw(app: ui.App, drift: DataDrift) -> None:
    rows = f"{formats.plural(drift.n_reference, 'row')} against {formats.plural(drift.n_current, 'row')}"
    n = len(drift.drifted_features)
    st.markdown(f"**{formats.count_of(n, len(drift.features), 'feature')} drifted** · {rows}")
    together = together_sentence(drift)
    if together is not None:
        icon, color, sentence = together
        st.markdown(f":{color}[:material/{icon}:] {formats.markdown(sentence)}")
    frame = features_frame(list(drift.features.values()))
    st.dataframe(
        frame, hide_index=True, placeholder=formats.DASH, key=f"{TAB}.compare.features",
        alt="Features of the two tables",
        height="content" if len(frame) <= 10 else 35 + 33 * 10,
        column_config={
            "Reference": st.column_config.BarChartColumn(y_min=0),
            "Current": st.column_config.BarChartColumn(y_min=0),
            **{name: st.column_config.NumberColumn(format="%.3f") for name in ("PSI", "Threshold", "Distance")},
            "Missing": st.column_config.NumberColumn(format="%.1f %%"),
            "p": st.column_config.TextColumn(alignment="right"),
            "Reason": st.column_config.TextColumn(width="large"),
        },
    )  # fmt: skip
    ui.csv_download(drift.to_frame, "drift.csv", key=f"{TAB}.compare.csv")
    from charts.monitoring import plot_drift_ranking

    ui.chart(app, plot_drift_ranking(drift), key=f"{TAB}.compare.chart")
