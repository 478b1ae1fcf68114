"""Logged predictions in the dashboard: labels that arrive later, scores by time, and the estimate without labels.

`build_predictions` reads the window that the tab shows and nothing more; `render_predictions` draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import formats
from dashboard.ab_testing_tab import p_equals
from dashboard.upload_forms import file_box, store_button

if TYPE_CHECKING:
    import pandas as pd

    from model_monitoring import ModelMonitoring, PredictionPerformance

__all__ = [
    "PredictionsView",
    "build_predictions",
    "dialogs",
    "labels_from_table",
    "predictions_from_table",
    "render_predictions",
]

TAB = "monitoring"
BUCKETS = ("hour", "day", "week", "month")
SCORE_TEXT = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "brier": "Brier score",
    "mae": "Mean absolute error",
    "mape": "Mean absolute percentage error",
    "rmse": "Root mean squared error",
    "r2": "R²",
    "bias": "Bias",
}
SNIPPET = """
chances = model.predict_proba(rows).max(axis=1)
ids = monitoring.log_predictions("churn", "1.0.0", model.predict(rows), probabilities=chances)
monitoring.log_labels("churn", "1.0.0", {ids[0]: "stay", ids[1]: "leave"})  # days later
"""


# -- the view ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionsView:
    """What the section shows.

    Attributes
    ----------
    performance : PredictionPerformance
    kpis : tuple of (label, value, meaning)
    frame : DataFrame
        A row a bucket, the newest first.
    scores : tuple of str
        Which can be drawn.
    calibration : str
        Whether the estimate may be trusted, in a sentence.
    is_calibrated : bool or None
        None: not known yet.
    """

    performance: PredictionPerformance
    kpis: tuple[tuple[str, str, str], ...]
    frame: pd.DataFrame
    scores: tuple[str, ...]
    calibration: str
    is_calibrated: bool | None


def build_predictions(
    monitoring: ModelMonitoring,
    name: str,
    version: str,
    *,
    bucket: str = "day",
    positive: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> PredictionsView:
    """Read the predictions of a period.

    Raises
    ------
    NotFoundError
        If nothing was ever logged under that name and version.
    """
    performance = monitoring.prediction_performance(
        name, version, bucket=bucket, positive=positive or None, start=start, end=end
    )
    found = dict.fromkeys(key for part in performance.buckets for key in part.scores if key != "n")
    words, is_calibrated = calibration_sentence(performance)
    return PredictionsView(
        performance=performance,
        kpis=_kpis(performance),
        frame=buckets_frame(performance, list(found)),
        scores=tuple(found),
        calibration=words,
        is_calibrated=is_calibrated,
    )


def _kpis(performance: PredictionPerformance) -> tuple[tuple[str, str, str], ...]:
    total = performance.total
    if total is None:
        return ()
    main = "accuracy" if performance.task == "classification" else "mae"
    number = formats.percent if main == "accuracy" else formats.number
    cards = [
        ("Predictions", formats.whole(total.n), "Logged in the window"),
        (
            "Labelled",
            formats.percent(total.n_labelled / total.n) if total.n else formats.DASH,
            f"{total.n_labelled:,} of them have a label by now",
        ),
        (SCORE_TEXT[main], number(total.scores.get(main)), "Realised: from the predictions that have a label"),
    ]
    if total.estimated is not None:
        error = 100 * total.estimated.standard_error
        cards.append(
            (
                "Estimated accuracy",
                formats.percent(total.estimated.accuracy),
                f"From the probabilities of all {total.estimated.n:,} predictions, without labels; standard error "
                f"{formats.number(error)} percentage points, if the probabilities are right",
            )
        )
    return tuple(cards)


def calibration_sentence(performance: PredictionPerformance) -> tuple[str, bool | None]:
    """Return whether the estimate may be trusted, in a sentence, and as a verdict."""
    check = performance.calibration
    if check is None:
        reasons = "; ".join(performance.reasons)
        return (f"{reasons[:1].upper()}{reasons[1:]}." if reasons else ""), None
    promised, realised = formats.percent(check.estimated), formats.percent(check.realised)
    what = f"the probabilities promise {promised} and {check.n:,} labels show {realised} ({p_equals(check.p_value)})"
    if check.calibrated:
        return f"The estimate can be trusted: {what}.", True
    return f"Do not trust the estimate: {what}.", False


def buckets_frame(performance: PredictionPerformance, scores: Sequence[str]) -> pd.DataFrame:
    """Return a row a bucket, the newest first: predictions, labels, scores, the estimate."""
    import pandas as pd

    parts = performance.buckets[::-1]
    columns: dict[str, Any] = {
        "From (UTC)": pd.to_datetime([part.start_at for part in parts], utc=True),
        "Predictions": pd.Series([part.n for part in parts], dtype="int64"),
        "Labelled": pd.Series([part.n_labelled for part in parts], dtype="int64"),
    }
    for score in scores:
        columns[SCORE_TEXT.get(score, score.replace("_", " "))] = pd.Series(
            [part.scores.get(score) for part in parts], dtype="float64"
        )
    if any(part.estimated is not None for part in parts):
        columns["Estimated accuracy"] = pd.Series(
            [part.estimated.accuracy if part.estimated is not None else None for part in parts], dtype="float64"
        )
    return pd.DataFrame(columns)


# -- files -------------------------------------------------------------------------------------------


def predictions_from_table(frame: pd.DataFrame) -> dict[str, Any]:
    """Return an uploaded table as the arguments of `log_predictions`.

    Raises
    ------
    ValueError
        If the column prediction is missing, or a column is unknown.
    """
    _check_columns(frame, ("prediction",), ("prediction_id", "probability", "label", "at"))
    arguments: dict[str, Any] = {"predictions": _cells(frame, "prediction")}
    for column, argument in (
        ("prediction_id", "prediction_ids"), ("probability", "probabilities"), ("label", "labels"), ("at", "at"),
    ):  # fmt: skip
        if column in frame.columns and not frame[column].isna().all():
            arguments[argument] = _cells(frame, column)
    return arguments


def labels_from_table(frame: pd.DataFrame) -> dict[str, Any]:
    """Return an uploaded table as the labels of `log_labels`; rows without a label are left out.

    Raises
    ------
    ValueError
        If a column is missing or unknown, or an id stands twice with different labels.
    """
    _check_columns(frame, ("prediction_id", "label"), ())
    labels: dict[str, Any] = {}
    pairs = zip(_cells(frame, "prediction_id"), _cells(frame, "label"), strict=True)
    for row, (key, label) in enumerate(pairs, 1):
        if key is None:
            raise ValueError(f"row {row} has no prediction_id")
        if label is None:
            continue
        if labels.setdefault(str(key), label) != label:
            raise ValueError(f"row {row}: {formats.shorten(str(key), 40)!r} stands twice, with different labels")
    if not labels:
        raise ValueError("no row has a label")
    return labels


def _check_columns(frame: pd.DataFrame, needed: Sequence[str], optional: Sequence[str]) -> None:
    for column in needed:
        if column not in frame.columns:
            named = ", ".join(repr(formats.shorten(str(name), 30)) for name in frame.columns[:8])
            raise ValueError(f"the column {column!r} is missing; the file has {named}")
    for name in frame.columns:
        if name not in needed and name not in optional:
            known = ", ".join((*needed, *optional))
            raise ValueError(f"unknown column {formats.shorten(str(name), 40)!r}; known ones are {known}")


def _cells(frame: pd.DataFrame, column: str) -> list[Any]:
    cells: list[Any] = frame[column].tolist()
    return [None if cell is None or cell != cell else cell for cell in cells]


# -- drawing -----------------------------------------------------------------------------------------


def render_predictions(app: ui.App, name: str, version: str, start: datetime, end: datetime, n_logged: int) -> None:
    """Draw the section for the window that the tab shows."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        bucket = st.segmented_control(
            "Per", BUCKETS, required=True, **ui.in_url(f"{TAB}.predictions_per", default="day", options=BUCKETS)
        )
        positive = st.text_input(
            "Positive class", width=180, placeholder="all classes", **ui.in_url(f"{TAB}.positive", default=""),
            help="For precision, recall and F1; empty averages over all classes",
        )  # fmt: skip
        _upload_button(app, "Upload predictions", "predictions", ":material/upload:", name, version)
        _upload_button(app, "Upload labels", "labels", ":material/label:", name, version)
    if not n_logged:
        ui.note("No prediction was logged in this window. Choose a longer one, upload predictions, or log them:")
        st.code(SNIPPET.strip(), language="python", wrap_lines=True)
        return
    view = build_predictions(
        app.monitoring,
        name,
        version,
        bucket=bucket or "day",
        positive=positive,
        end=end,
        start=start + timedelta(microseconds=1),  # as the numbers above count: a window begins after its start
    )
    ui.kpis(view.kpis)
    if view.calibration:
        icon, color = {True: ("check_circle", "green"), False: ("error", "red"), None: ("help", "gray")}[
            view.is_calibrated
        ]
        st.markdown(f":{color}[:material/{icon}:] {formats.markdown(view.calibration)}")
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(f"**{formats.plural(len(view.frame), bucket or 'day')}** with predictions", width="stretch")
        ui.csv_download(lambda: view.frame, "predictions.csv", key=f"{TAB}.predictions_csv")
    st.dataframe(
        view.frame, hide_index=True, placeholder=formats.DASH, key=f"{TAB}.predictions", alt="Scores by time",
        height="content" if len(view.frame) <= 8 else 35 + 33 * 8,
        column_config={
            "From (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
            "Predictions": st.column_config.NumberColumn(format="localized"),
            "Labelled": st.column_config.NumberColumn(format="localized", help="How many have a label by now"),
            **{
                column: st.column_config.NumberColumn(format="%.3f")
                for column in view.frame.columns
                if view.frame[column].dtype.kind == "f"
            },
        },
    )  # fmt: skip
    score = view.scores[0] if view.scores else "accuracy"
    if len(view.scores) > 1:
        score = st.selectbox(
            "Score", view.scores, width=260, format_func=lambda s: SCORE_TEXT.get(s, s.replace("_", " ")),
            **ui.in_url(f"{TAB}.score", default=score, options=view.scores),
        )  # fmt: skip
    from charts.monitoring_series import plot_label_counts, plot_prediction_scores

    ui.chart(app, plot_prediction_scores(view.performance, score), key=f"{TAB}.predictions_chart")
    ui.chart(app, plot_label_counts(view.performance), key=f"{TAB}.labels_chart")


def _upload_button(app: ui.App, label: str, dialog: str, icon: str, name: str, version: str) -> None:
    st.button(
        label, key=f"{TAB}.{dialog}.open", icon=icon, disabled=not app.can_edit, on_click=ui.open_dialog,
        args=(f"{TAB}.{dialog}",), kwargs={"model": name, "version": version},
    )  # fmt: skip


# -- dialogs -----------------------------------------------------------------------------------------


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of these."""
    for name, draw in (("predictions", _predictions_dialog), ("labels", _labels_dialog)):
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


@st.dialog("Upload predictions", on_dismiss=ui.close_dialog)
def _predictions_dialog(app: ui.App, model: str, version: str) -> None:
    with ui.errors("upload predictions"):
        st.caption(f"For **{formats.markdown(model)} {formats.markdown(version)}**")
        st.markdown(
            "Column `prediction` (a class or a number), and if wanted `prediction_id`, `probability` of that class, "
            "`label`, `at`. A known id is not stored again."
        )
        st.code("prediction_id,prediction,probability,at\np1,stay,0.91,2026-03-01T12:00Z", language=None)
        store_button(
            app, "Add predictions", file_box("Predictions", f"{TAB}.predictions"),
            lambda frame: len(app.monitoring.log_predictions(model, version, **predictions_from_table(frame))),
            lambda n: f"Added {formats.plural(n, 'prediction')}",
            key=f"{TAB}.predictions", where="upload predictions", text=("prediction_id",),
        )  # fmt: skip


@st.dialog("Upload labels", on_dismiss=ui.close_dialog)
def _labels_dialog(app: ui.App, model: str, version: str) -> None:
    with ui.errors("upload labels"):
        st.caption(f"For **{formats.markdown(model)} {formats.markdown(version)}**")
        st.markdown(
            "Columns `prediction_id` and `label`: what was right. A label may come before its prediction; a later one "
            "replaces an earlier one."
        )

        def log(frame: pd.DataFrame) -> tuple[int, int]:
            labels = labels_from_table(frame)
            return app.monitoring.log_labels(model, version, labels), len(labels)

        def said(counts: tuple[int, int]) -> str:
            waiting = counts[1] - counts[0]
            rest = f"; {waiting:,} wait for theirs" if waiting else ""
            return f"{formats.plural(counts[0], 'label')} found a prediction{rest}"

        store_button(
            app, "Add labels", file_box("Labels", f"{TAB}.labels"), log, said,
            key=f"{TAB}.labels", where="upload labels", text=("prediction_id",),
        )  # fmt: skip
