"""Placeholder."""

from __future__ import annotations

import streamlit as st

from dashboard import components as ui

__all__ = ["render"]


def render(app: ui.App) -> None:
    """Draw the tab."""
    ui.empty_state(app, "What you write appears here.", "from x import y", key="tracking.load_examples")
    st.text_input("Search", **ui.in_url("tracking.search", default=""))
