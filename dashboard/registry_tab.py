"""The Registry tab: find versions, look into one, compare several, register, promote, roll back, delete and restore.

`build_view` reads what one screen shows; `render` draws it. One selected version opens its details
(`dashboard.registry_details`), two to five of one model are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import streamlit as st

import chain
from dashboard import components as ui
from dashboard import first_visit, formats

if TYPE_CHECKING:
    import pandas as pd

    from model_registry import ModelComparison, ModelRegistryManager, ModelVersion, RegisteredModel

__all__ = ["Choices", "RegistryView", "build_view", "comparison_frame", "render"]

TAB = "registry"
PAGER = f"{TAB}.page"
STAGES = ("Production", "Staging", "Development", "Archived")
STAGE_MARKS = {
    "Production": "★ Production",
    "Staging": "◐ Staging",
    "Development": "○ Development",
    "Archived": "□ Archived",
}
ALL_OWNERS = "All owners"
ALL_MODELS = "All models"
SHOWN = ("Active", "Deleted")
NO_MATCH = {
    "Active": "No version matches. Change the search, or show deleted ones.",
    "Deleted": "No deleted version that can be restored matches.",
}
STALE_DAYS = 90  # a Production version older than this is worth a look
MAX_METRICS = 4  # metric columns: those that most of the rows have
MAX_COMPARED = 5
EXPORT_ROWS = 1_000  # read at once
MAX_SPARKLINES = 20  # models whose recorded performance is read for the table

EMPTY = (
    "**Every model your team trains can be kept here**, with its versions, metrics, files and history: who put what "
    "into Production, when and why, and a way back."
)
SNIPPET = """
from model_registry import ModelRegistryManager
ModelRegistryManager().register_model(
    model=trained_model, name="sentiment-classifier", version="1.0.0",
    performance_metrics={"accuracy": 0.92, "f1": 0.89})
"""


# -- the view ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the reader chose.

    Attributes
    ----------
    text : str
        Part of a name, version, description or tag.
    model, stage, owner : str or None
        None is all of them.
    shown : {"Active", "Deleted"}
    offset, limit : int
    selected : tuple of str
        Ids of versions.
    """

    text: str = ""
    model: str | None = None
    stage: str | None = None
    owner: str | None = None
    shown: str = "Active"
    offset: int = 0
    limit: int = ui.PAGE_ROWS
    selected: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryView:
    """What one screen shows.

    Attributes
    ----------
    kpis : tuple of (label, value, meaning)
    models : tuple of RegisteredModel
    owners : tuple of str
    n_all, n_found : int
        Versions that are not deleted, and those that match.
    frame : DataFrame
        A row a version.
    ids : tuple of str
        The version of each row.
    stages : dict of int
        Versions by stage, on this page.
    versions : tuple of ModelVersion
        The selected ones, as they are now.
    missing : int
        Selected versions that do not exist.
    """

    kpis: tuple[tuple[str, str, str], ...]
    models: tuple[RegisteredModel, ...]
    owners: tuple[str, ...]
    n_all: int
    n_found: int
    frame: pd.DataFrame
    ids: tuple[str, ...]
    stages: dict[str, int] = field(default_factory=dict)
    versions: tuple[ModelVersion, ...] = ()
    missing: int = 0


def build_view(registry: ModelRegistryManager, choices: Choices, *, now: datetime | None = None) -> RegistryView:
    """Read what the tab shows for these choices."""
    import pandas as pd

    models = tuple(model for model in registry.list_models() if model.n_versions)
    n_all = sum(model.n_versions for model in models)
    rows = _search(registry, choices)
    n_found = int(rows.attrs["total"])
    if not len(rows) and n_found:  # there are fewer pages than the link says
        rows = _search(registry, replace(choices, offset=(n_found - 1) // choices.limit * choices.limit))
    ids = tuple(str(i) for i in rows["model_id"]) if len(rows) else ()
    selected = [registry.find_version_by_id(i) for i in choices.selected[:MAX_COMPARED]]
    owners = sorted({model.owner for model in models if model.owner})
    return RegistryView(
        kpis=_kpis(registry, models, n_all, now or datetime.now(UTC)),
        models=models,
        owners=tuple(owners),
        n_all=n_all,
        n_found=n_found,
        frame=_frame(registry, rows) if len(rows) else pd.DataFrame(),
        ids=ids,
        stages={stage: int((rows["stage"].astype(str) == stage).sum()) for stage in STAGES} if len(rows) else {},
        versions=tuple(v for v in selected if v is not None),
        missing=sum(v is None for v in selected),
    )


def _search(registry: ModelRegistryManager, choices: Choices) -> pd.DataFrame:
    deleted = choices.shown == "Deleted"
    return registry.search(
        choices.text or None,
        name=choices.model,
        stage=choices.stage,
        owner=choices.owner,
        restorable=deleted,
        order_by="deleted_at" if deleted else "created_at",
        limit=choices.limit,
        offset=choices.offset,
    )


def _frame(registry: ModelRegistryManager, rows: pd.DataFrame) -> pd.DataFrame:
    """Return the table: name, version, stage, the most common metrics, the recorded course, type, owner, size, date."""
    import pandas as pd

    metrics = [column for column in rows.columns if column.startswith("metrics.")]
    known = {str(column): int(count) for column, count in rows.count().items()}
    metrics.sort(key=lambda column: -known[column])
    data: dict[str, Any] = {
        "Model": rows["name"].astype(str),
        "Version": rows["version"].astype(str),
        "Stage": rows["stage"].astype(str).map(lambda stage: STAGE_MARKS.get(stage, stage)),
    }
    for column in metrics[:MAX_METRICS]:
        data[column] = pd.to_numeric(rows[column], errors="coerce").astype("float64")
        if column == metrics[0]:
            courses = _courses(registry, rows, column.removeprefix("metrics."))
            if any(courses):
                data["Since then"] = courses
    if (rows["aliases"] != "").any():
        data["Aliases"] = rows["aliases"]
    data["Type"] = rows["model_type"].astype(str).str.replace("_", " ")
    owners = rows["owner"].map(lambda owner: owner if isinstance(owner, str) else "")
    if (owners != "").any():
        data["Owner"] = owners
    data["Size"] = rows["size_bytes"].map(formats.size)
    data["Registered (UTC)"] = pd.to_datetime(rows["created_at"], utc=True)
    return pd.DataFrame(data)


def _courses(registry: ModelRegistryManager, rows: pd.DataFrame, metric: str) -> list[list[float]]:
    """Return the recorded values of a metric for each row, oldest first; empty where nothing was recorded."""
    names = [str(name) for name in dict.fromkeys(rows["name"])][:MAX_SPARKLINES]
    values: dict[Any, list[float]] = {}
    for key, group in registry.performance_history(names, metric=metric).groupby(["name", "version"]):
        course = [float(v) for v in group["value"].tail(60) if v == v and abs(v) != float("inf")]
        if len(course) > 1:
            values[key] = course
    return [values.get((str(n), str(v)), []) for n, v in zip(rows["name"], rows["version"], strict=True)]


def _kpis(
    registry: ModelRegistryManager, models: Sequence[RegisteredModel], n_all: int, now: datetime
) -> tuple[tuple[str, str, str], ...]:
    n_production = sum(model.production_version is not None for model in models)
    stale = _count_stale(registry, now - timedelta(days=STALE_DAYS))
    return (
        ("Models", formats.whole(len(models)), "Names that versions share"),
        ("Versions", formats.whole(n_all), "Versions that are not deleted"),
        ("In Production", formats.whole(n_production), "Models with a version in Production; each has at most one"),
        ("Stale", formats.whole(stale), f"Production versions registered more than {STALE_DAYS} days ago"),
    )


def _count_stale(registry: ModelRegistryManager, limit: datetime) -> int:
    """Return how many Production versions were registered before an instant: by bisection, one row a question."""

    def row(offset: int) -> pd.DataFrame:
        return registry.search(stage="Production", order_by="created_at", descending=False, limit=1, offset=offset)

    found = row(0)
    if not len(found) or found["created_at"].iloc[0] >= limit:
        return 0
    older, newer = 0, int(found.attrs.get("total", 1))  # the row at `older` is stale, the one at `newer` is not
    while newer - older > 1:
        middle = (older + newer) // 2
        found = row(middle)
        if len(found) and found["created_at"].iloc[0] < limit:
            older = middle
        else:
            newer = middle
    return older + 1


def comparison_frame(comparison: ModelComparison) -> pd.DataFrame:
    """Return what differs between versions as a table: a row a metric or property, a column a version."""
    import pandas as pd

    versions = [version.version for version in comparison.versions]
    marks = {"better": "▲ better", "worse": "▼ worse", "same": "= same", "unknown": ""}
    rows: list[list[str]] = []
    for metric in dict.fromkeys(item.metric for item in comparison.metrics):
        items = {item.version: item for item in comparison.metrics if item.metric == metric}
        first = next(iter(items.values()))
        cells = [formats.number(first.baseline)]
        for version in versions[1:]:
            item = items[version]
            change = "" if item.change is None else f" ({formats.signed(item.change)}) {marks[item.direction]}"
            cells.append(f"{formats.number(item.value)}{change}".strip())
        rows.append(["metric", metric, *cells])
    groups = (
        ("hyperparameter", comparison.hyperparameters), ("dependency", comparison.dependencies),
        ("signature", comparison.signature), ("property", comparison.properties),
    )  # fmt: skip
    for kind, changes in groups:
        for key in dict.fromkeys(change.key for change in changes):
            of_key = [change for change in changes if change.key == key]
            baseline = of_key[0].baseline
            by_version = {change.version: change.value for change in of_key}
            cells = [formats.value_text(by_version.get(v, baseline)) for v in versions[1:]]
            rows.append([kind, key, formats.value_text(baseline), *cells])
    sizes = [comparison.size_change_bytes.get(version, 0) for version in versions[1:]]
    if any(sizes):
        rows.append(["property", "size", *(formats.size(version.size_bytes) for version in comparison.versions)])
    return pd.DataFrame(rows, columns=["kind", "key", *versions])


# -- drawing -----------------------------------------------------------------------------------------


def render(app: ui.App) -> None:
    """Draw the tab."""
    from dashboard import registry_details as details
    from dashboard import registry_models as models_part
    from dashboard import registry_stages as stages
    from dashboard import registry_storage as storage

    with ui.errors("Registry"):
        models = app.registry.list_models()
        if not any(model.n_versions for model in models) and not chain.deleted_version_ids(app.database, limit=1):
            ui.empty_state(app, EMPTY, SNIPPET, key=f"{TAB}.load_examples")
            details.register_form(app)
            storage.storage_button(app)
        else:
            choices, widgets = _read_choices(models)
            view = build_view(app.registry, choices)
            # The table is what people came for: it is sent first, into its place below what is drawn after it.
            with first_visit.above_the_table(TAB):
                numbers, filters, bar = st.container(), st.container(), st.container()
            with st.container():
                _draw_table(view, choices)
            with filters:
                _draw_filters(widgets)
            with bar:
                _draw_actions(app, view, choices)
            with numbers:
                ui.kpis(view.kpis)
            if view.missing:
                ui.note("A selected version no longer exists.")
            if len(choices.selected) > MAX_COMPARED:
                ui.note(f"The first {MAX_COMPARED} of {len(choices.selected)} selected versions are compared.")
            if choices.shown == "Active":
                with ui.errors("stages"):
                    stages.render_stages(app, model_shown(view, choices))
            with ui.errors("details"):
                if len(view.versions) == 1:
                    details.render_version(app, view.versions[0])
                elif len(view.versions) > 1:
                    _draw_comparison(app, view.versions)
                elif view.ids:
                    ui.note("Select one version for its details, two to five of one model to compare them.")
            details.register_form(app)
            if not view.versions and view.ids:
                with ui.errors("history"):
                    _draw_overview(app, view, choices)
    details.dialogs(app)
    models_part.dialogs(app)
    storage.dialogs(app)


def _read_choices(models: Sequence[RegisteredModel]) -> tuple[Choices, dict[str, dict[str, Any]]]:
    """Return what the reader has chosen, and by name the arguments of the filters that are drawn afterwards."""
    names = [ALL_MODELS, *(model.name for model in models)]
    owners = [ALL_OWNERS, *sorted({model.owner for model in models if model.owner})]

    def kept(name: str, default: str | None, options: Sequence[str | None] | None = None) -> dict[str, Any]:
        return ui.in_url(f"{TAB}.{name}", default=default, options=options, pager=PAGER)

    widgets = {
        "search": kept("search", ""),
        "model": kept("model", ALL_MODELS, names) | {"options": names},
        "owner": kept("owner", ALL_OWNERS, owners) | {"options": owners},
        "stage": kept("stage", None, [*STAGES, None]) | {"options": STAGES},
        "shown": kept("shown", "Active", SHOWN) | {"options": SHOWN},
    }
    state = st.session_state
    model, owner = state[f"{TAB}.model"], state[f"{TAB}.owner"]
    choices = Choices(
        text=state[f"{TAB}.search"] or "",
        model=None if model == ALL_MODELS else model,
        stage=state[f"{TAB}.stage"],
        owner=None if owner == ALL_OWNERS else owner,
        shown=state[f"{TAB}.shown"] or "Active",
        offset=ui.page_offset(PAGER),
        selected=tuple(ui.selected("version")),
    )
    return choices, widgets


def _draw_filters(widgets: dict[str, dict[str, Any]]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input("Search", placeholder="Name, version, description or tag", **widgets["search"])
        st.selectbox("Model", width=220, **widgets["model"])
        if len(widgets["owner"]["options"]) > 1:
            st.selectbox("Owner", width=160, **widgets["owner"])
        st.pills("Stage", **widgets["stage"])
        st.segmented_control("Show", required=True, **widgets["shown"])


def _draw_actions(app: ui.App, view: RegistryView, choices: Choices) -> None:
    from dashboard import registry_details as details
    from dashboard import registry_storage as storage

    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="small"):
        counted = (
            formats.count_of(view.n_found, max(view.n_all, view.n_found), "version")
            if choices.shown == "Active"
            else formats.plural(view.n_found, "deleted version")
        )
        st.caption(f"**{counted}**", width="stretch")
        if view.versions:
            st.button(
                "Clear selection", key=f"{TAB}.clear", on_click=ui.select, args=("version", []), icon=":material/close:"
            )
            details.selection_buttons(app, view.versions)
        else:
            storage.storage_button(app)
        ui.csv_download(lambda: _export(app, choices), "versions.csv", key=f"{TAB}.csv")


def _draw_table(view: RegistryView, choices: Choices) -> None:
    if not view.ids:
        ui.note(NO_MATCH[choices.shown])
        return
    config: dict[str, Any] = {
        "Model": st.column_config.TextColumn(width=ui.name_width(view.frame["Model"])),
        "Version": st.column_config.TextColumn(width="small"),
        "Size": st.column_config.TextColumn(alignment="right"),
        "Since then": st.column_config.LineChartColumn(
            width="small", help="What was recorded of the metric on its left after registration, oldest first"
        ),
        "Registered (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
    }
    for column in view.frame.columns:
        if column.startswith("metrics."):
            config[column] = st.column_config.NumberColumn(
                column.removeprefix("metrics."), format=formats.column_format(view.frame[column].tolist())
            )
    ui.table(view.frame, view.ids, key=f"{TAB}.table", name="version", alt="Model versions", columns=config)
    ui.page(view.n_found, key=PAGER)


def _export(app: ui.App, choices: Choices) -> pd.DataFrame:
    """Return every version that matches, with all its metrics, hyperparameters and tags."""
    import pandas as pd

    parts: list[pd.DataFrame] = []
    while not parts or len(parts[-1]) == EXPORT_ROWS:
        page = replace(choices, limit=EXPORT_ROWS, offset=EXPORT_ROWS * len(parts))
        parts.append(_search(app.registry, page))
    return pd.concat(parts, ignore_index=True)


def _draw_comparison(app: ui.App, versions: Sequence[ModelVersion]) -> None:
    names = {version.name for version in versions}
    with st.container(border=True):
        if len(names) > 1:
            ui.note("Versions of one model can be compared; the selection has versions of several.")
            return
        if any(version.deleted_at for version in versions):
            ui.note("Deleted versions are not compared; restore them first.")
            return
        comparison = app.registry.compare_models(versions[0].name, *(version.version for version in versions))
        first = formats.markdown(versions[0].version)
        others = formats.markdown(versions[1].version) if len(versions) == 2 else f"{len(versions) - 1} versions"
        st.markdown(f"#### {formats.markdown(versions[0].name)}: {others} compared with {first}")
        frame = comparison_frame(comparison)
        if frame.empty:
            ui.note("These versions do not differ in metrics, hyperparameters, dependencies or signature.")
            return
        ui.plain_table(
            frame, f"{TAB}.comparison", alt="What differs between the versions",
            labels={name: name for name in frame.columns[2:]},
        )  # fmt: skip
        if comparison.metrics:
            ui.chart(app, comparison.plot(), key=f"{TAB}.comparison_chart")


def model_shown(view: RegistryView, choices: Choices) -> str | None:
    """Return the model the screen is about: that of the selected versions, the chosen one, or the only one."""
    selected = {version.name for version in view.versions}
    if selected:
        return selected.pop() if len(selected) == 1 else None
    if choices.model is not None:
        return choices.model
    return view.models[0].name if len(view.models) == 1 else None


def _draw_overview(app: ui.App, view: RegistryView, choices: Choices) -> None:
    """Draw what a model's history looks like: what was recorded of its versions, and which was in Production when."""
    from dashboard import registry_details as details
    from dashboard import registry_models as models_part

    name = model_shown(view, choices)
    if name is not None:
        models_part.render_performance(app, app.registry.performance_history(name), f"{TAB}.model_performance")
        details.render_history(app, name)
