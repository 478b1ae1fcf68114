"""What the four tabs share: the header, tables, dialogs, charts, errors, links, and the state that lives in the URL.

A tab's `render(app: App)` uses these and Streamlit's own widgets. Text that people typed passes `formats.markdown`
before it reaches anything that reads Markdown (labels, metrics, captions, toasts, errors); tables show it as it is.

Vocabulary: the *selection* of a table is a list of ids, kept in the URL, never row positions; a *jump* is a click that
opens another tab with something selected; the *token* of a store is a text that differs after any write.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import streamlit as st

import chain
from dashboard import access, first_visit, formats
from db import Database, ModelDeskError
from values import new_id

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from ab_testing import ABTestingFramework
    from experiment_tracking import ExperimentTracking
    from model_monitoring import ModelMonitoring
    from model_registry import ModelRegistryManager

__all__ = [
    "ICON",
    "TABS",
    "App",
    "act",
    "chart",
    "choose_job",
    "close_dialog",
    "confirm_by_typing",
    "csv_download",
    "dialog_payload",
    "empty_state",
    "errors",
    "facts",
    "flash",
    "footer",
    "header",
    "in_url",
    "jump",
    "jump_button",
    "jump_next",
    "kpis",
    "name_width",
    "note",
    "open_app",
    "open_dialog",
    "page",
    "page_offset",
    "part",
    "plain_table",
    "select",
    "selected",
    "set_in_url",
    "sync_url",
    "tab_changed",
    "table",
    "warn",
]

logger = logging.getLogger("modeldesk.dashboard")
T = TypeVar("T")

TABS = ("Registry", "A/B testing", "Tracking", "Monitoring")
# Selections that live in the URL under these names: ids, repeated for several. Widgets live there under their keys.
_TAB_OF_NAME = {"version": "Registry", "test": "A/B testing", "run": "Tracking", "watch": "Monitoring"}
_TAB_OF_PREFIX = {
    "registry": "Registry",
    "ab_testing": "A/B testing",
    "tracking": "Tracking",
    "monitoring": "Monitoring",
}
REFRESH_SECONDS = 3.0  # what a notebook writes is on the page within five seconds, drawing included
PAGE_ROWS = 500  # rows of a table sent to the browser at once
MAX_ROWS_SHOWN = 12  # rows a table shows before it scrolls
ROW_PIXELS, HEADER_PIXELS = 33, 35
MIN_NAME_PIXELS, MAX_NAME_PIXELS, CHARACTER_PIXELS = 140, 300, 7
LONG_NAME = 28  # characters of a first column that would push the second one out of a narrow table

ICON = (Path(__file__).parent / "icon.svg").read_text(encoding="utf-8")  # an icon by name is fetched from another host

_URL_VALUES, _URL_WRITTEN = "url.values", "url.written"
# The only style sheets, with that of `first_visit`. Streamlit draws rows of choices lower than boxes, and has colours
# whose contrast is below the 4.5:1 that text needs: those of code and of a chosen button under the mouse on a light
# page, and white on the light primary colour of a dark page.
_STYLE = (
    f"{first_visit.STYLE} "
    # Boxes and rows of buttons stand side by side: of one height, their labels are on one line, too.
    "[data-testid=stButtonGroup] button {min-height: 2.5rem} "
    "[data-testid=stButtonGroup] [data-testid=stWidgetLabel] {height: 1.5rem} "
    "[data-testid=stMain] :has(> [data-testid=stMetric]) {max-width: 26rem} "  # also one alone in a second line
    # The outline of an empty box to tick: 3:1 against either page.
    "[data-testid=stCheckbox]:has(input:not(:checked)) label > span + div {border-color: #7b8794 !important} "
    # Links in words: close together when they wrap, and a long one reads from the left.
    "[data-testid=stBaseButton-tertiary] {min-height: 1.75rem; padding: 0; text-align: left; justify-content: start} "
    # Code spans only keep verbatim what people typed (`formats.markdown`): they look like the words around them.
    "[data-testid=stMarkdownContainer] :not(pre) > code, [data-testid=stCaptionContainer] :not(pre) > code "
    "{font: inherit !important; color: inherit !important; background: none !important; padding: 0 !important}"
)
_LIGHT_STYLE = (
    "[data-testid=stCode] .token {color: #46515f !important} [data-testid=stCode] .keyword {color: #1558b0 !important} "
    "[data-testid=stCode] .string, [data-testid=stCode] .number {color: #0a6b50 !important} "
    "[data-testid=stCode] .operator {color: #9a4d00 !important} "
    "[data-testid=stButtonGroup] [data-selected=true]:hover * {color: #174f99 !important}"
)
_DARK_STYLE = (
    "[data-testid^=stBaseButton-primary]:not(:disabled), [data-testid^=stBaseButton-primary]:not(:disabled) *, "
    "[data-testid=stMultiSelect] span[title] {color: #0b1220 !important} "
    # Under the mouse Streamlit makes the button darker: too dark for dark words.
    "[data-testid^=stBaseButton-primary]:is(:hover, :active, :focus):not(:disabled) {background: #8fbcff !important} "
    # Plotly draws the axes of parallel coordinates black, and a grey shadow around their numbers.
    ".parcoords .axis text {text-shadow: 0 0 3px #0f1319, 0 0 3px #0f1319 !important} "
    ".parcoords .axis path, .parcoords .axis line {stroke: #a3aebb; stroke-opacity: .5}"
)
_JUMP = "url.jump"
_DIALOG = "ui.dialog"
OPENED = "ui.dialog.opened"  # what `dashboard.drafts` remembers as long as a dialog is open
_FLASH = "ui.flash"
_TOKEN = "ui.token"  # noqa: S105 - a change token, not a secret
_CHART_CONFIG: dict[str, Any] = {
    "displaylogo": False,
    "scrollZoom": False,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"],
    "toImageButtonOptions": {"format": "png", "scale": 2, "filename": "modeldesk"},
}


# -- the app -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class App:
    """What a tab needs: the store, the four modules on it, and who is looking.

    Attributes
    ----------
    database : Database
    person : access.Person
    is_dark : bool
        Whether the page is shown in the dark theme.
    """

    database: Database
    person: access.Person
    is_dark: bool = False
    _modules: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def registry(self) -> ModelRegistryManager:
        """Return the model registry on this store."""
        if "registry" not in self._modules:
            from model_registry import ModelRegistryManager

            self._modules["registry"] = ModelRegistryManager(self.database)
        return cast("ModelRegistryManager", self._modules["registry"])

    @property
    def testing(self) -> ABTestingFramework:
        """Return the A/B tests on this store."""
        if "testing" not in self._modules:
            from ab_testing import ABTestingFramework

            self._modules["testing"] = ABTestingFramework(self.database)
        return cast("ABTestingFramework", self._modules["testing"])

    @property
    def tracking(self) -> ExperimentTracking:
        """Return the experiment tracking on this store."""
        if "tracking" not in self._modules:
            from experiment_tracking import ExperimentTracking

            self._modules["tracking"] = ExperimentTracking(self.database)
        return cast("ExperimentTracking", self._modules["tracking"])

    @property
    def monitoring(self) -> ModelMonitoring:
        """Return the monitoring on this store."""
        if "monitoring" not in self._modules:
            from model_monitoring import ModelMonitoring

            self._modules["monitoring"] = ModelMonitoring(self.database)
        return cast("ModelMonitoring", self._modules["monitoring"])

    @property
    def can_edit(self) -> bool:
        """Return whether the person may change things."""
        return self.person.can_edit

    @property
    def actor(self) -> str:
        """Return the name that audit trails record."""
        return self.person.name


@st.cache_resource(show_spinner=False)
def _open_store(url: str | None) -> tuple[Database, dict[str, Any]]:
    """Open the store once for the process; the modules on it are thread-safe and shared by all sessions."""
    return Database.open(url), {}


def open_app() -> App:
    """Return the app for this run of the script: the configured store, and whoever is looking."""
    person = access.require_person()
    database, modules = _open_store(None)
    st.session_state[_TOKEN] = database.change_token()  # before anything is read: what is written then is noticed
    return App(
        database=database,
        person=person,
        is_dark=st.context.theme.type == "dark",
        _modules=modules,
    )


def version() -> str:
    """Return the installed version of ModelDesk, or the one under development."""
    try:
        return importlib.metadata.version("modeldesk")
    except importlib.metadata.PackageNotFoundError:
        return "from source"


# -- header and freshness ----------------------------------------------------------------------------


def header(app: App) -> None:
    """Draw the line above the tabs: which store, its last change, live updates on or off, who is signed in."""
    st.html(f"<style>{_STYLE} {_DARK_STYLE if app.is_dark else _LIGHT_STYLE}</style>")
    live = bool(st.session_state.get("ui.live", True))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("### ModelDesk", width="content")
        st.fragment(_status, run_every=REFRESH_SECONDS if live else None)(app)
        st.toggle(
            "Live",
            value=True,
            key="ui.live",
            help="Shows within five seconds what notebooks and other people write. Off: the page changes only when "
            "you act.",
            persist_state="session",
        )
        if app.person.signed_in:
            st.button("Sign out", on_click=st.logout, key="ui.sign_out", type="tertiary")
    warning = access.warn_when_exposed()
    if warning:
        st.warning(warning, icon=":material/lock_open:")
    for text in st.session_state.pop(_FLASH, []):
        st.toast(text, icon=":material/check_circle:", duration=8)


def _status(app: App) -> None:
    """Draw the store's state; when something was written since the page was drawn, draw the page again."""
    token = app.database.change_token()
    shown = st.session_state.get(_TOKEN)
    # An open dialog holds a draft about things as they were named in it: it is not redrawn under the reader's hands.
    if shown is not None and token != shown and _DIALOG not in st.session_state and st.session_state.get("ui.live", 1):
        st.session_state[_TOKEN] = token
        st.rerun(scope="app")
    parts = [f"store {formats.markdown(formats.shorten(_store_name(app.database)))}"]
    changed = _last_change(app.database)
    if changed is not None:
        parts.append(f"changed {formats.ago(changed)}")
    parts.append(f"version {version()}")
    if app.person.signed_in:
        parts.append(formats.markdown(app.person.name) + ("" if app.can_edit else " (viewer)"))
    st.caption(" · ".join(parts))


def _store_name(database: Database) -> str:
    if database.path is None:
        return database.url
    home = Path.home()
    return f"~/{database.path.relative_to(home)}" if database.path.is_relative_to(home) else str(database.path)


def _last_change(database: Database) -> datetime | None:
    if database.path is None:
        return None
    times = []
    for path in (database.path, database.path.with_name(database.path.name + "-wal")):
        try:
            times.append(path.stat().st_mtime)
        except FileNotFoundError:
            continue
    return datetime.fromtimestamp(max(times), UTC) if times else None


# -- what lives in the URL ---------------------------------------------------------------------------
# One dictionary in the session holds, by name, what belongs into the URL, as lists of text. The address bar shows the
# open tab's part of it. Every change is one entry of the browser's history, so Back undoes one change. (Streamlit's own
# `bind="query-params"` leaves no entries: Back would leave the app.)


def sync_url() -> None:
    """Take over what the address bar says, if the reader changed it (a link, a reload, Back). Runs before the tabs."""
    state = st.session_state
    values: dict[str, list[str]] = state.setdefault(_URL_VALUES, {})
    if _JUMP in state:
        jump(*state.pop(_JUMP))
    current = {name: st.query_params.get_all(name) for name in st.query_params}
    if current == state.get(_URL_WRITTEN):
        return
    is_first_run = _URL_WRITTEN not in state
    state[_URL_WRITTEN] = current
    tab = (current.get("tab") or [TABS[0]])[-1]
    if "tab" in current or "tab" not in state or not is_first_run:
        state["tab"] = tab if tab in TABS else TABS[0]
    for name in [name for name in values if _tab_of(name) == state["tab"] and name not in current]:
        del values[name]
    values.update({name: found for name, found in current.items() if _tab_of(name) is not None})


def tab_changed() -> None:
    """Put the opened tab and its state into the address. For `on_change=` of the tabs."""
    _write_url()


def selected(name: str) -> list[str]:
    """Return the ids selected under a name of the URL (`version`, `test`, `run`, `watch`)."""
    return list(dict.fromkeys(st.session_state.get(_URL_VALUES, {}).get(name, [])))


def select(name: str, ids: Sequence[str]) -> None:
    """Select ids under a name of the URL; an empty list removes it."""
    _set_url_value(name, list(dict.fromkeys(ids)))
    _write_url()


def in_url(
    key: str,
    *,
    default: Any = None,
    options: Sequence[Any] | None = None,
    many: bool = False,
    pager: str | None = None,
) -> dict[str, Any]:
    """Return the arguments that keep a widget in the URL: `st.text_input("Search", **in_url("registry.search"))`.

    Parameters
    ----------
    key : str
        Widget key, `"<tab>.<name>"`, which is also the name in the URL.
    default : str, bool or list
        The value that is not worth a place in the URL. Do not also pass `value=`, `index=` or `default=`.
    options : sequence, optional
        What may be chosen; anything else that a link says is ignored.
    many : bool
        Whether the value is a list.
    pager : str, optional
        The key of the `page` that shows what is chosen here: another choice begins on its first page.

    Notes
    -----
    The value survives closing the tab. Text is committed by Enter or by leaving the box, not while typing, so that
    Back does not go through half-typed words.
    """
    state = st.session_state
    found = state.setdefault(_URL_VALUES, {}).get(key)
    if key not in state or found != state.get(f"url.seen.{key}"):
        state[key] = default if found is None else _decode(found, default, options, many=many)
        state[f"url.seen.{key}"] = found
    if options is not None:  # what was chosen may have been deleted since
        allowed = set(options)
        if many:
            state[key] = [value for value in state[key] or [] if value in allowed]
        elif state[key] not in allowed:
            state[key] = default if default in allowed or default is None else next(iter(options), None)

    def changed() -> None:
        value = state[key]
        _set_url_value(key, [] if value == default else _encode(value))
        state[f"url.seen.{key}"] = state[_URL_VALUES].get(key)
        if pager is not None:
            _set_url_value(pager, [])
        _write_url()

    return {"key": key, "on_change": changed, "persist_state": "session"}


def set_in_url(key: str, value: Any) -> None:
    """Set a widget of `in_url` from elsewhere (a button, a jump) before it is drawn."""
    _set_url_value(key, [] if value is None else _encode(value))
    _write_url()


def jump(tab: str, name: str | None = None, ids: Sequence[str] = (), widgets: Mapping[str, Any] | None = None) -> None:
    """Open a tab with something selected. For `on_click=`: it must run before the tabs are drawn.

    `widgets` sets widgets of that tab made with `in_url`, by key.
    """
    st.session_state["tab"] = tab
    if name is not None:
        _set_url_value(name, list(ids))
    for key, value in (widgets or {}).items():
        _set_url_value(key, [] if value is None else _encode(value))
    _write_url()


def jump_next(tab: str, name: str, ids: Sequence[str]) -> None:
    """Open a tab at the next run of the script. For code that runs after the tabs were drawn, such as in a dialog."""
    st.session_state[_JUMP] = (tab, name, list(ids))


def jump_button(label: str, key: str, tab: str, name: str, ids: Sequence[str], *, help: str | None = None) -> None:  # noqa: A002
    """Draw a link-like button to something in another tab; `label` is our words, or escaped."""
    st.button(
        label,
        key=key,
        type="tertiary",
        icon=":material/arrow_outward:",
        help=help,
        on_click=jump,
        args=(tab, name, ids),
    )


def _tab_of(name: str) -> str | None:
    """Return which tab a name of the URL belongs to."""
    return _TAB_OF_NAME.get(name) or _TAB_OF_PREFIX.get(name.partition(".")[0])


def _set_url_value(name: str, values: list[str]) -> None:
    known = st.session_state.setdefault(_URL_VALUES, {})
    if values:
        known[name] = values
    else:
        known.pop(name, None)


def _write_url() -> None:
    tab = st.session_state.get("tab", TABS[0])
    values = st.session_state.get(_URL_VALUES, {})
    query = {"tab": [tab]} | {name: found for name, found in values.items() if _tab_of(name) == tab}
    if query != {name: st.query_params.get_all(name) for name in st.query_params}:
        st.query_params.from_dict(query)
    st.session_state[_URL_WRITTEN] = query


def _encode(value: Any) -> list[str]:
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    if isinstance(value, list | tuple):
        return [str(item) for item in value] or [""]
    return [] if value is None else [str(value)]


def _decode(found: list[str], default: Any, options: Sequence[Any] | None, *, many: bool) -> Any:
    if isinstance(default, bool):
        return found[-1] == "yes"
    if options is not None:
        by_text = {str(option): option for option in options}
        values = [by_text[text] for text in found if text in by_text]
    else:
        values = [text for text in found if text]
    if many:
        return values
    return values[-1] if values else default


# -- numbers and facts -------------------------------------------------------------------------------


def kpis(items: Sequence[tuple[str, str, str]]) -> None:
    """Draw the row of numbers above a tab: (label, value, what it means). Values are already formatted."""
    with st.container(horizontal=True, gap="small"):
        for label, value, meaning in items:
            st.metric(label, formats.markdown(value), help=meaning, border=True)


def facts(items: Mapping[str, str]) -> None:
    """Draw labelled values below each other; values are our words or escaped, already formatted."""
    st.markdown("  \n".join(f"**{label}**&ensp;{value}" for label, value in items.items()))


def note(text: str) -> None:
    """Draw a quiet sentence."""
    st.caption(text)


def warn(text: str) -> None:
    """Draw a sentence of a module that needs attention, as it says it."""
    st.warning(formats.markdown(_as_sentence(text[:1].upper() + text[1:])), icon=":material/warning:")


# -- tables ------------------------------------------------------------------------------------------


def table(
    frame: pd.DataFrame,
    ids: Sequence[str],
    *,
    key: str,
    name: str,
    alt: str,
    columns: Mapping[str, Any] | None = None,
    multiple: bool = True,
    rows_shown: int = MAX_ROWS_SHOWN,
) -> list[str]:
    """Draw a table whose rows can be selected, and return the ids of the selected rows that it contains.

    Parameters
    ----------
    frame : DataFrame
        What is shown, one row for each id.
    ids : sequence of str
        The id of each row, in the order of the rows.
    key : str
        Widget key, `"<tab>.<name>"`.
    name : str
        Under which name of the URL the selection is kept.
    alt : str
        What the table lists, for screen readers.
    columns : mapping, optional
        `st.column_config` by column; number columns without one get `formats.column_format`.
    multiple : bool
        Whether more than one row can be selected.

    Notes
    -----
    Streamlit reports row positions. They are turned into ids by the list of ids they were drawn with, before anything
    else runs, and the widget gets a new key whenever that list changes: a row inserted above never moves a selection.
    """
    ids = list(ids)
    digest = hashlib.blake2s("\0".join(ids).encode(), digest_size=6).hexdigest()
    wanted = set(selected(name))
    chosen = [position for position, row in enumerate(ids) if row in wanted]
    # A selection made elsewhere (a link, a button) also needs a new widget: Streamlit keeps the old one's own state.
    mark = f"ui.table.{key}"
    drawn = st.session_state.get(mark)
    if drawn is None or drawn[0] != digest or drawn[2] != selected(name):
        generation = (drawn[1] + 1) if drawn else 0
        st.session_state[mark] = (digest, generation, selected(name))
    generation = st.session_state[mark][1]
    widget_key = f"{key}.{digest}.{generation}"
    numeric = _number_columns(frame)
    st.dataframe(
        _without_needless_decimals(frame),
        key=widget_key,
        hide_index=True,
        column_config=numeric | dict(columns or {}),
        selection_mode="multi-row" if multiple else "single-row",
        on_select=lambda: _take_selection(widget_key, ids, name, mark),
        selection_default={"selection": {"rows": chosen if multiple else chosen[:1], "columns": [], "cells": []}},
        height="content" if len(ids) <= rows_shown else HEADER_PIXELS + ROW_PIXELS * rows_shown,
        alt=alt,
        lazy=False,
        placeholder="",
    )
    first_visit.let_it_be_drawn()
    return [ids[position] for position in chosen]


def _without_needless_decimals(frame: pd.DataFrame) -> pd.DataFrame:
    """Round columns of large numbers to whole ones: with thousands separators a column shows three decimals."""
    large = {}
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        if column.dtype.kind == "f" and formats.column_format(column.tolist()) == "localized":
            sizes = column.abs()
            if float(sizes[sizes > 0].quantile(0.25)) >= 100:
                large[name] = column.round(0)
    return frame.assign(**large) if large else frame


def _take_selection(widget_key: str, ids: Sequence[str], name: str, mark: str) -> None:
    """Turn the reported row positions into ids, keeping selected ids that are not in this table (another page)."""
    rows = st.session_state[widget_key]["selection"]["rows"]
    here = set(ids)
    elsewhere = [row for row in selected(name) if row not in here]
    select(name, elsewhere + [ids[position] for position in rows if position < len(ids)])
    digest, generation, _ = st.session_state[mark]
    st.session_state[mark] = (digest, generation, selected(name))


def _number_columns(frame: pd.DataFrame) -> dict[str, Any]:
    formats_by_column: dict[str, Any] = {}
    for position, name in enumerate(frame.columns):
        column = frame.iloc[:, position]
        if column.dtype.kind == "f":
            formats_by_column[str(name)] = st.column_config.NumberColumn(format=formats.column_format(column.tolist()))
        elif column.dtype.kind in "iu":
            formats_by_column[str(name)] = st.column_config.NumberColumn(format="localized")
    return formats_by_column


def name_width(names: Iterable[str]) -> int:
    """Return the width in pixels that a table's column of names needs, within bounds that leave room for the rest."""
    lengths = sorted(len(name) for name in names)
    longest = lengths[-1 - len(lengths) // 20] if lengths else 0  # one name in twenty is cut rather than widen all
    return min(MAX_NAME_PIXELS, max(MIN_NAME_PIXELS, 24 + CHARACTER_PIXELS * longest))


def plain_table(
    frame: pd.DataFrame,
    key: str,
    *,
    alt: str,
    right: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    rows_shown: int = MAX_ROWS_SHOWN,
) -> None:
    """Draw a table of finished text to read: headings begin with a capital, the columns `right` are numbers.

    Headings that people named (a version, a run) are given in `labels`, or left alone where they begin with no letter.
    A first column of long names is narrowed, so that what stands beside them is seen.
    """
    long_names = len(frame.columns) > 1 and any(len(str(name)) > LONG_NAME for name in frame.iloc[:, 0])
    config = {
        str(name): st.column_config.TextColumn(
            (labels or {}).get(str(name), str(name)[:1].upper() + str(name)[1:]),
            alignment="right" if name in right else None,
            width="medium" if long_names and position == 0 else None,
        )
        for position, name in enumerate(frame.columns)
    }
    st.dataframe(
        frame,
        key=key,
        hide_index=True,
        column_config=config,
        height="content" if len(frame) <= rows_shown else HEADER_PIXELS + ROW_PIXELS * rows_shown + ROW_PIXELS // 2,
        alt=alt,
        placeholder="",
    )


def page_offset(key: str, *, rows: int = PAGE_ROWS) -> int:
    """Return the position of the first row of the page that `page` was turned to."""
    return _pages_turned(key) * rows


def _pages_turned(key: str) -> int:
    """Return how many pages lie before the one that the URL names; what is no number of a page is the first."""
    number = "".join(selected(key)[-1:])
    return int(number) - 1 if re.fullmatch("[1-9][0-9]{0,8}", number) else 0


def page(total: int, key: str, *, rows: int = PAGE_ROWS) -> None:
    """Draw a pager below a table, when there is more than one page. The URL counts the pages from one."""
    pages = max(1, -(-total // rows))
    if pages == 1:
        return
    current = min(_pages_turned(key), pages - 1)

    def turn(by: int) -> None:
        number = max(0, min(pages - 1, current + by)) + 1
        select(key, [str(number)] if number > 1 else [])

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("Previous", key=f"{key}.previous", disabled=current == 0, on_click=turn, args=(-1,))
        st.caption(f"Rows {current * rows + 1:,} to {min(total, (current + 1) * rows):,} of {total:,}", width="content")
        st.button("Next", key=f"{key}.next", disabled=current == pages - 1, on_click=turn, args=(1,))


def csv_download(
    make_frame: Callable[[], pd.DataFrame],
    file_name: str,
    key: str,
    *,
    label: str = "CSV",
    width: Literal["content", "stretch"] = "content",
) -> None:
    """Draw a button that exports a table; the table is made when the button is clicked, formulas are made harmless."""
    st.download_button(
        label,
        data=lambda: formats.csv_bytes(make_frame()),
        file_name=file_name,
        mime="text/csv",
        key=key,
        icon=":material/download:",
        on_click="ignore",
        width=width,
        help="All rows that match, as CSV. Text that a spreadsheet would run as a formula gets an apostrophe in front.",
    )


# -- charts ------------------------------------------------------------------------------------------


def chart(app: App, figure: go.Figure, key: str) -> None:
    """Draw a figure of `charts/` in the theme of the page, with its description for screen readers."""
    from charts.theme import alt_text, for_dark

    st.plotly_chart(
        for_dark(figure) if app.is_dark else figure,
        key=key,
        theme=None,
        config=_CHART_CONFIG,
        alt=alt_text(figure),
    )


# -- errors, actions, messages -----------------------------------------------------------------------


@contextmanager
def errors(where: str) -> Iterator[None]:
    """Show an expected error of the block as one sentence and an id, and log its trace under that id.

    Expected are `ModelDeskError` and `ValueError`. Anything else is a bug: it passes, the page shows its type and the
    log its trace.
    """
    try:
        yield
    except (ModelDeskError, ValueError) as error:
        show_error(error, where)


@contextmanager
def part(where: str) -> Iterator[None]:
    """Draw one part of a tab: what goes wrong in it hides no other part.

    Expected errors are shown as `errors` shows them. Anything else is a bug: the page says where and of which type, the
    log has its trace under the id, and what comes below is drawn.
    """
    try:
        yield
    except (ModelDeskError, ValueError) as error:
        show_error(error, where)
    except Exception as error:
        error_id = new_id()[-8:]
        logger.exception("bug %s in %s", error_id, where)
        # Neither text nor trace: they may hold what a visitor should not read.
        st.exception(RuntimeError(f"{where}: {type(error).__name__} (error {error_id}, its trace is in the log)"))


def show_error(error: Exception, where: str) -> None:
    """Show an error as one sentence and an id; its trace goes to the log under that id."""
    error_id = new_id()[-8:]
    logger.warning("error %s in %s: %s", error_id, where, error, exc_info=error)
    sentence, _, pointer = (str(error).strip() or type(error).__name__).partition("\n")
    # Said behind what was tried, so that a sentence may begin with a name as it is written.
    words = f"{where[:1].upper()}{where[1:]}: {formats.markdown(_as_sentence(sentence))} (error {error_id})"
    st.error(words, icon=":material/error:")
    if pointer.strip():  # a line of what was typed, and below it a mark where it went wrong
        st.code(pointer, language=None)


def _as_sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def flash(text: str) -> None:
    """Show a short message after the next run of the script; `text` is our words, or escaped."""
    st.session_state.setdefault(_FLASH, []).append(text)


def act(app: App, where: str, function: Callable[[], T], done: str | Callable[[T], str]) -> None:
    """Run a change for someone who may make it; say what was done, or what went wrong.

    After it worked the open dialog is closed and the page is drawn again at once: nothing behind this call is run.
    """
    if not app.can_edit:
        st.error("Viewers cannot change anything. Ask an editor.", icon=":material/lock:")
        return
    try:
        result = function()
    except (ModelDeskError, ValueError) as error:
        show_error(error, where)
        return
    flash(done if isinstance(done, str) else done(result))
    close_dialog()
    st.rerun()


# -- dialogs -----------------------------------------------------------------------------------------


def open_dialog(name: str, **payload: Any) -> None:
    """Remember that a dialog is open, and about which ids. For `on_click=`."""
    st.session_state[_DIALOG] = (name, payload)
    st.session_state.pop(OPENED, None)


def dialog_payload(name: str) -> dict[str, Any] | None:
    """Return what the dialog is about, if it is the one that is open."""
    current = st.session_state.get(_DIALOG)
    return current[1] if current is not None and current[0] == name else None


def close_dialog() -> None:
    """Forget the open dialog. For `on_dismiss=` and for Cancel."""
    st.session_state.pop(_DIALOG, None)
    st.session_state.pop(OPENED, None)


def choose_job(jobs: Sequence[str], key: str) -> str:
    """Draw the things that a dialog can do, and return the chosen one; the first at the beginning."""
    chosen = st.segmented_control(
        "What to do", jobs, default=jobs[0], required=True, key=key, label_visibility="collapsed"
    )
    return chosen or jobs[0]


def confirm_by_typing(name: str, verb: str, key: str) -> bool:
    """Ask for the name of what will be destroyed; return whether the button was pressed with the right name typed."""
    typed = st.text_input(
        f"Type {formats.markdown(name)} to confirm", key=f"{key}.typed", live=True, autocomplete="off"
    )
    return st.button(verb, key=f"{key}.confirm", type="primary", disabled=typed != name, icon=":material/delete:")


# -- empty states ------------------------------------------------------------------------------------


def empty_state(app: App, what: str, snippet: str, key: str) -> None:
    """Say what will appear here, show four lines that fill it, and offer example data."""
    with st.container(border=True):
        st.markdown(what)
        st.code(snippet.strip(), language="python", wrap_lines=True)  # keys cannot scroll it sideways
        st.button(
            "Load example data",
            key=key,
            type="primary",
            icon=":material/auto_awesome:",
            disabled=not app.can_edit,
            on_click=_load_examples,
            args=(app,),
            help="Two trained models, their runs, a finished test and four weeks of monitoring. Takes some seconds; "
            "can be removed again.",
        )


def footer(app: App) -> None:
    """Draw, at the foot of the page, the button that removes the example data, while there is any."""
    if not chain.has_example_data(app.database):
        return
    st.button(
        "Remove example data",
        key="ui.remove_examples",
        type="tertiary",
        icon=":material/delete_sweep:",
        disabled=not app.can_edit,
        on_click=_remove_examples,
        args=(app,),
    )


def _load_examples(app: App) -> None:
    from examples.story import load_example_data

    with errors("load example data"), st.spinner("Training two models and loading their story"):
        load_example_data(app.database)
        flash("Example data is loaded; look at all four tabs")


def _remove_examples(app: App) -> None:
    from examples.story import remove_example_data

    with errors("remove example data"):
        remove_example_data(app.database)
        for name in _TAB_OF_NAME:
            select(name, [])
        flash("Example data is removed")
