"""The dashboard's shell: `streamlit run streamlit_app.py`. Page settings, the store, four tabs; nothing else.

It is run again at every interaction, and only the open tab runs with it. Everything else is in `dashboard/`.
"""

from __future__ import annotations

import importlib

import streamlit as st

from dashboard import components as ui

st.set_page_config(page_title="ModelDesk", page_icon=ui.ICON, layout="wide")

app = ui.open_app()
ui.sync_url()
ui.header(app)

MODULES = ("registry_tab", "ab_testing_tab", "tracking_tab", "monitoring_tab")
for name, tab in zip(MODULES, st.tabs(ui.TABS, key="tab", on_change=ui.tab_changed), strict=True):
    if tab.open:
        with tab:
            importlib.import_module(f"dashboard.{name}").render(app)

ui.footer(app)
