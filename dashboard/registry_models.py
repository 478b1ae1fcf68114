"""A registered model as a whole in the Registry tab: what it is, who owns it, and how its versions did since."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import drafts, formats

if TYPE_CHECKING:
    import pandas as pd

    from model_registry import ModelVersion, RegisteredModel

__all__ = ["about_version", "dialogs", "model_sentence", "record_button", "render_model", "render_performance"]

TAB = "registry"


def model_sentence(model: RegisteredModel) -> str:
    """Return owner, description and tags of a model in one line of Markdown; empty if it has none."""
    parts = [formats.markdown(model.description)] if model.description else []
    if model.owner:
        parts.append(f"owner {formats.markdown(model.owner)}")
    parts += [f"{formats.markdown(key)}: {formats.markdown(value)}" for key, value in sorted(model.tags.items())]
    return " · ".join(parts)


def render_model(app: ui.App, name: str) -> None:
    """Draw the heading of the stage bar for one model, with what is known of it and the button that changes it."""
    model = app.registry.get_model(name)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**Stages of {formats.markdown(name)}**", width="stretch")
        st.button("Edit model", key=f"{TAB}.model.edit", type="tertiary", icon=":material/edit_note:",
                  disabled=not app.can_edit, on_click=ui.open_dialog, args=(f"{TAB}.model",),
                  kwargs={"model": name})  # fmt: skip
    sentence = model_sentence(model)
    if sentence:
        ui.note(sentence)


def render_performance(app: ui.App, history: pd.DataFrame, key: str) -> None:
    """Draw recorded values, of one metric at a time: metrics of different size do not share an axis."""
    if not len(history):
        return
    metrics = sorted(set(history["metric"].astype(str)))
    metric = metrics[0]
    if len(metrics) > 1:
        metric = st.selectbox(
            "Recorded metric", metrics, width=260, **ui.in_url(f"{TAB}.recorded", default=metric, options=metrics)
        )
    from charts import registry as figures

    ui.chart(app, figures.plot_performance_history(history[history["metric"] == metric]), key=key)


def record_button(app: ui.App, model_id: str) -> None:
    """Draw the button that opens the form for values measured after registration."""
    st.button("Record performance", key=f"{TAB}.record", icon=":material/show_chart:", disabled=not app.can_edit,
              on_click=ui.open_dialog, args=(f"{TAB}.record",), kwargs={"model_id": model_id})  # fmt: skip


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of these."""
    known: dict[str, Callable[..., None]] = {"model": _model_dialog, "record": _record_dialog}
    for name, draw in known.items():
        payload: dict[str, Any] | None = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


def about_version(
    where: str,
) -> Callable[[Callable[[ui.App, ModelVersion], None]], Callable[[ui.App, str], None]]:
    """Make what draws a dialog about a version take its id: it is read as it is now, named, or said to be gone."""

    def decorate(draw: Callable[[ui.App, ModelVersion], None]) -> Callable[[ui.App, str], None]:
        @functools.wraps(draw)
        def dialog(app: ui.App, model_id: str) -> None:
            with ui.errors(where):
                version = app.registry.find_version_by_id(model_id)
                if version is None or version.deleted_at:
                    st.error("This version was deleted meanwhile.", icon=":material/error:")
                    return
                st.markdown(f"**{formats.markdown(str(version))}**, now in {version.stage.value}")
                draw(app, version)

        return dialog

    return decorate


@st.dialog("Edit model", on_dismiss=ui.close_dialog)
def _model_dialog(app: ui.App, model: str) -> None:
    name = model
    with ui.errors("edit model"):
        found = app.registry.get_model(name)
        shown = drafts.as_opened(lambda: _editable(found))
        st.markdown(f"**{formats.markdown(name)}**, with {formats.plural(found.n_versions, 'version')}")
        with st.form(f"{TAB}.model.form", border=False):
            description = st.text_area("Description", shown["description"], key=f"{TAB}.model.description.{name}")
            owner = st.text_input("Owner", shown["owner"], key=f"{TAB}.model.owner.{name}")
            tags = drafts.tags_box(shown["tags"], f"{TAB}.model.tags.{name}")
            saved = st.form_submit_button("Save", type="primary", key=f"{TAB}.model.save")
        if saved:

            def save() -> None:
                stored = _editable(app.registry.get_model(name))
                changed = drafts.changes(shown, {"description": description, "owner": owner}, stored)
                changed_tags = drafts.pair_changes(shown["tags"], tags, stored["tags"])
                if "owner" in changed:
                    changed["owner"] = changed["owner"] or None
                if changed_tags:
                    merged = stored["tags"] | changed_tags
                    changed["tags"] = {key: value for key, value in merged.items() if value is not None}
                if changed:
                    app.registry.update_model(name, **changed)

            ui.act(app, "edit model", save, done=f"Saved {formats.markdown(name)}")


def _editable(model: RegisteredModel) -> dict[str, Any]:
    """Return what the form changes of a model."""
    return {"description": model.description, "owner": model.owner or "", "tags": dict(model.tags)}


@st.dialog("Record performance", on_dismiss=ui.close_dialog)
@about_version("record performance")
def _record_dialog(app: ui.App, version: ModelVersion) -> None:
    ui.note("Values measured after registration, such as on a new test set. They are kept beside the first ones.")
    metrics = st.text_area(
        "Metrics, one a line: name = number", key=f"{TAB}.record.metrics", placeholder="accuracy = 0.91"
    )
    dataset = st.text_input("Dataset", key=f"{TAB}.record.dataset", placeholder="holdout-2026-03")
    at = st.text_input("When (UTC)", key=f"{TAB}.record.at", placeholder="Left empty: now; else 2026-03-01 14:00")
    if st.button("Record", type="primary", key=f"{TAB}.record.confirm"):

        def record() -> None:
            values = formats.parse_numbers(metrics or "")
            if not values:
                raise ValueError("name at least one metric and its number")
            app.registry.record_performance(
                version.name, version.version, values, at=(at or "").strip() or None,
                dataset=(dataset or "").strip() or None,
            )  # fmt: skip

        ui.act(app, "record performance", record, done=f"Recorded for {formats.markdown(str(version))}")
