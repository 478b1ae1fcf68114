"""The dashboard's shell: `streamlit run streamlit_app.py`. Page settings, the store, four tabs; nothing else.

Streamlit imports this file once to serve `app`, and runs it again, as `__main__`, at every interaction; only the open
tab runs with it. Everything else is in `dashboard/`.
"""

from __future__ import annotations

import importlib

import streamlit as st

from dashboard import components as ui
from dashboard import first_visit, server

MODULES = ("registry_tab", "ab_testing_tab", "tracking_tab", "monitoring_tab")

if __name__ == "__main__":
    st.set_page_config(page_title="ModelDesk", page_icon=ui.ICON, layout="wide")
    desk = ui.open_app()
    ui.sync_url()
    with first_visit.below(lambda: ui.header(desk)):
        for name, tab in zip(MODULES, st.tabs(ui.TABS, key="tab", on_change=ui.tab_changed), strict=True):
            if tab.open:
                with tab:
                    importlib.import_module(f"dashboard.{name}").render(desk)
    ui.footer(desk)
else:
    app = st.App(__file__, lifespan=server.lifespan, middleware=server.middleware())
