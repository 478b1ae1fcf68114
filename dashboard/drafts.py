"""Edits that others may have overtaken: what a form changes is told from what it showed, not from what is stored now.

    >>> changes({"owner": "ada", "note": ""}, {"owner": "ada", "note": "good"}, {"owner": "bob", "note": ""})
    {'note': 'good'}

Vocabulary: *shown* is what the form was opened with, *wanted* what it holds when it is saved, *stored* what others may
have written between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import streamlit as st

from dashboard import components as ui
from dashboard import formats

__all__ = ["as_opened", "changes", "pair_changes", "refuse_when_changed", "tags_box"]

T = TypeVar("T")


def as_opened(read: Callable[[], T], about: str = "") -> T:
    """Return what `read` gave when the open dialog was drawn first, however often it is drawn again.

    A dialog in which it can be chosen what it is about remembers each by its name, `about`.
    """
    memory = st.session_state.setdefault(ui.OPENED, {})
    if about not in memory:
        memory[about] = read()
    return memory[about]  # type: ignore[no-any-return]


def refuse_when_changed(shown: object, stored: object, what: str) -> None:
    """Refuse to replace what was not seen; `what` is what someone else did then, such as `set a baseline`.

    Raises
    ------
    ValueError
        If what is stored is no longer what was shown.
    """
    if stored != shown:
        raise ValueError(f"someone else {what} meanwhile; open the form again to see it")


def changes(shown: Mapping[str, Any], wanted: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields to store: those that differ from what was shown.

    Raises
    ------
    ValueError
        If someone else has changed one of them to something else meanwhile.
    """
    found = {key: value for key, value in wanted.items() if value != shown.get(key)}
    for key, value in found.items():
        if stored.get(key) not in (shown.get(key), value):
            now = formats.shorten(formats.value_text(stored.get(key)), 60)
            raise ValueError(f"someone else changed {key!r} meanwhile, to {now!r}; open the form again to see it")
    return found


def tags_box(tags: Mapping[str, str], key: str) -> str:
    """Draw the box in which tags are edited, and return what is in it, for `pair_changes`."""
    in_lines = _in_lines(tags)
    lines = "\n".join(f"{name} = {value}" for name, value in sorted(in_lines.items()))
    typed = st.text_area("Tags, one a line: key = value", lines, key=key)
    if len(in_lines) < len(tags):
        left_out = formats.plural(len(tags) - len(in_lines), "tag")
        ui.note(f"{left_out} of several lines, or with = in the key, stay as they are.")
    return typed


def _in_lines(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that a line each can hold, and be read from again."""
    found = {}
    for name, value in tags.items():
        line = f"{name} = {value}"
        if len(line.splitlines()) == 1 and formats.parse_pairs(line) == {name: value}:
            found[name] = value
    return found


def pair_changes(shown: Mapping[str, str], typed: str, stored: Mapping[str, str]) -> dict[str, str | None]:
    """Return the keys to set, and with None those to remove; what others added meanwhile stays.

    Raises
    ------
    ValueError
        If a line of `typed` is no `key = value`, or someone else has changed one of these keys meanwhile.
    """
    return changes(shown, {**dict.fromkeys(_in_lines(shown)), **formats.parse_pairs(typed)}, stored)
