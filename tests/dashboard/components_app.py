"""A page of every shared component with hostile text in it; run by test_components.py, never by people."""

from __future__ import annotations

import json
import os

import pandas as pd
import streamlit as st

from charts.theme import base_figure, escape, series_style, shorten_label
from dashboard import components as ui
from dashboard import formats

st.set_page_config(page_title="Components", layout="wide")
app = ui.open_app()
ui.sync_url()
ui.header(app)
st.tabs(ui.TABS, key="tab", on_change=ui.tab_changed)
words = json.loads(os.environ["WORDS"])
rows = int(os.environ.get("ROWS", "5")) + st.session_state.get("inserted", 0)
ids = [f"id{n}" for n in range(rows)][::-1]
frame = pd.DataFrame({"name": [words[n % len(words)] for n in range(rows)], "score": [n / 7 for n in range(rows)]})
frame.insert(0, "id", ids)
chosen = ui.table(frame, ids, key="registry.table", name="version", alt="Things")
st.text(f"chosen: {', '.join(chosen) or 'none'}")
st.button("Insert a row", key="registry.insert", on_click=lambda: st.session_state.update(inserted=1))
st.button("Select id1", key="registry.one", on_click=ui.select, args=("version", ["id1"]))
st.button(
    "Delete", key="registry.delete", disabled=not chosen, on_click=ui.open_dialog, args=("d",), kwargs={"row": chosen}
)
ui.csv_download(lambda: frame, "things.csv", key="registry.csv")
for n, word in enumerate(words):
    text = formats.markdown(word)
    ui.kpis([(text, word, text)])
    st.caption(f"It is {text} indeed")
    st.button(text, key=f"registry.b{n}")
    ui.facts({text: text})
    with ui.errors("a test"):
        raise ValueError(f"no thing named {word}")
st.pills("Pills", [formats.markdown(word) for word in words], key="registry.pills")
st.selectbox("Choice", words, key="registry.choice")
ui.flash(formats.markdown(words[0]))
figure = base_figure(escape(words[0]), x_title="Step", y_title=escape(words[-1]))
for n, word in enumerate(words):
    figure.add_scatter(x=[0, 1], y=[n, n + 1], name=shorten_label(word), line=series_style(n).line)
ui.chart(app, figure, key="registry.chart")


@st.dialog("Delete", on_dismiss=ui.close_dialog)
def confirm(row: list[str]) -> None:
    """Ask, then say which ids would have been deleted."""
    if ui.confirm_by_typing("the name", "Delete for ever", key="registry.confirm"):
        ui.act(app, "delete", lambda: row, done=lambda deleted: f"Deleted {', '.join(deleted)}")


payload = ui.dialog_payload("d")
if payload:
    confirm(**payload)
