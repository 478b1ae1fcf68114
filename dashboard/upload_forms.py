"""The box for a table (CSV, Parquet) and the button that stores it, as the dialogs of two tabs draw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from dashboard import components as ui
from dashboard import uploads

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["file_box", "store_button"]

T = TypeVar("T")


def file_box(label: str, key: str) -> Any:
    """Draw the box for a table; return the uploaded file, or None."""
    return st.file_uploader(label, type=uploads.FILE_TYPES, key=f"{key}.file")


def store_button(
    app: ui.App,
    label: str,
    upload: Any,
    store: Callable[[pd.DataFrame], T],
    done: str | Callable[[T], str],
    *,
    key: str,
    where: str,
    text: Sequence[str] = (),
) -> None:
    """Draw the button that reads an uploaded table and stores it, once it is there.

    The button waits for the file: pressed while it is still on its way it would have nothing to act on, and what it
    says would be gone with the arrival.

    Parameters
    ----------
    label : str
        Of the button.
    upload
        What `file_box` returned.
    store : callable
        Takes the table, runs the change and returns what `done` puts into words.
    key : str
        Of the dialog, as for `file_box`.
    where : str
        What is tried, for errors.
    text : sequence of str
        Columns that are read as text, letter by letter.
    """

    def read_and_store() -> T:
        if upload is None:
            raise ValueError("choose a file first")
        return store(uploads.read_table(upload.name, upload.getbuffer(), text=text))

    if st.button(label, type="primary", key=f"{key}.confirm", disabled=upload is None):
        ui.act(app, where, read_and_store, done=done)
