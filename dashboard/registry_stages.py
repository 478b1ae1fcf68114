"""The stage bar: Development, Staging, Production, Archived, with the versions of one or of all models in each.

Below a model's Production version stand the test that promoted it and how it does today, each one click away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import formats, registry_models
from db import ModelDeskError

if TYPE_CHECKING:
    from model_registry import ModelRegistryManager

__all__ = ["StageColumn", "build_stages", "health_of", "render_stages"]

TAB = "registry"
ORDER = ("Development", "Staging", "Production", "Archived")
MARKS = {"Production": "★", "Staging": "◐", "Development": "○", "Archived": "□"}
HEALTH_DAYS = 7
MAX_VERSIONS = 4  # named in a stage; the rest is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class StageColumn:
    """The versions in one stage.

    Attributes
    ----------
    stage : str
    n_versions : int
    versions : tuple of (id, label)
        The latest few: by number within one model, by name and number among all.
    """

    stage: str
    n_versions: int
    versions: tuple[tuple[str, str], ...]


def build_stages(
    registry: ModelRegistryManager, name: str | None, *, limit: int = MAX_VERSIONS
) -> tuple[StageColumn, ...]:
    """Return the four stages of a model, or of all with None, in the order in which versions pass them."""
    columns = []
    for stage in ORDER:
        found = registry.search(name=name, stage=stage, limit=limit)
        rows = zip(found["model_id"], found["name"], found["version"], strict=True) if len(found) else ()
        columns.append(
            StageColumn(
                stage=stage,
                n_versions=int(found.attrs.get("total", len(found))),
                versions=tuple((str(i), str(v) if name is not None else f"{model} {v}") for i, model, v in rows),
            )
        )
    return tuple(columns)


def health_of(app: ui.App, name: str, version: str) -> str:
    """Return how a version does today: the sentence of its monitoring report of the last days, or why there is none."""
    try:
        report = app.monitoring.generate_monitoring_report(name, version, days=HEALTH_DAYS)
    except LookupError:
        return f"nothing was logged in the last {HEALTH_DAYS} days"
    except (ModelDeskError, ValueError) as error:
        return f"cannot be told, because {formats.markdown(error)}"
    return formats.markdown(report.verdict)


def render_stages(app: ui.App, name: str | None) -> None:
    """Draw the stage bar of a model, or of all with None."""
    if name is None:
        st.markdown("**Stages of all models**")
    else:
        registry_models.render_model(app, name)
    for column, place in zip(build_stages(app.registry, name), st.columns(len(ORDER), gap="small"), strict=True):
        with place, st.container(border=True, height="stretch", gap="xsmall"):
            st.markdown(f"{MARKS[column.stage]} **{column.stage}** · {column.n_versions:,}")
            if not column.versions:
                ui.note("No version")
            with st.container(horizontal=True, gap="small"):
                for model_id, label in column.versions:
                    st.button(
                        formats.markdown(formats.shorten(label, 40)), key=f"{TAB}.stages.{model_id}", type="tertiary",
                        on_click=ui.select, args=("version", [model_id]),
                    )  # fmt: skip
            if column.n_versions > len(column.versions):
                ui.note(f"and {column.n_versions - len(column.versions):,} older")
            if name is not None and column.stage == "Production" and column.versions:
                _draw_ties(app, name, *column.versions[0])


def _draw_ties(app: ui.App, name: str, model_id: str, version: str) -> None:
    """Draw the test that promoted the Production version, and its health today."""
    links = chain.links_of_version(app.database, model_id)
    tests = [link for link in links if link.relation == "promoted by"]
    watches = [link for link in links if link.kind == "watch"]
    for link in tests:
        words = f"promoted by {formats.markdown(formats.shorten(link.label, 40))}"
        ui.jump_button(words, f"{TAB}.stages.{link.id}", link.tab, link.url_name, [link.id])
    if not tests:
        ui.note("Promoted without a test.")
    for link in watches:
        ui.note(f"Health today: {health_of(app, name, version)}")
        ui.jump_button("its monitoring", f"{TAB}.stages.watch", link.tab, link.url_name, [link.id])
    if not watches:
        ui.note("Not monitored yet.")
