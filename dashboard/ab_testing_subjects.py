"""The subjects of an A/B test by hand: who gets what, and the assignment of a list from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dashboard import components as ui
from dashboard import formats, uploads
from dashboard.ab_testing_tab import TAB

if TYPE_CHECKING:
    import pandas as pd

    from ab_testing import ABTestingFramework, Experiment

__all__ = ["assigned_list", "draw_subjects", "share_words", "variant_sentence"]

OUTSIDE = "takes no part"
MAX_LIST = 1_000_000  # user ids in one file


def draw_subjects(app: ui.App, test: Experiment) -> None:
    """Draw the look-up of one subject, and the assignment of a list."""
    st.markdown("**Who gets what**")
    subject = st.text_input(
        "User id", placeholder="user-7", key=f"{TAB}.whose", width=320, help="Looks up, and assigns nothing",
        persist_state="page",
    )  # fmt: skip
    if subject:
        st.markdown(variant_sentence(app.testing, test.exp_id, subject))
    st.markdown("**Assign a list**")
    ui.note(
        "A file with a column user_id. Assigned subjects keep their variant for ever; without storing, the file says "
        "what a subject without history would get."
    )
    upload = st.file_uploader("User ids", type=uploads.FILE_TYPES, key=f"{TAB}.assign.file")
    store = st.toggle(
        "Store the assignments", value=False, key=f"{TAB}.assign.store", disabled=test.status != "running",
        help="Needed only if the list is served as it is: recording an event assigns its subject by itself",
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        pressed = st.button(
            "Assign", key=f"{TAB}.assign.confirm", icon=":material/call_split:", type="primary",
            disabled=upload is None or (store and not app.can_edit),
        )  # fmt: skip
        if upload is not None and pressed:
            with ui.errors("assign a list"):
                table = uploads.read_table(upload.name, upload.getbuffer(), text=("user_id",))
                frame = assigned_list(app.testing, test.exp_id, table, store=bool(store) and app.can_edit)
                st.session_state[f"{TAB}.assigned"] = (test.exp_id, frame, bool(store))
    found = st.session_state.get(f"{TAB}.assigned")
    if found is None or found[0] != test.exp_id:
        return
    _, frame, stored = found
    verb = "Assigned" if stored else "Without storing, looked up"
    st.markdown(f"{verb} {formats.plural(len(frame), 'subject')}: {formats.markdown(share_words(frame))}")
    ui.csv_download(lambda: frame, "assignments.csv", key=f"{TAB}.assigned.csv", label="Assignments (CSV)")


def variant_sentence(testing: ABTestingFramework, exp_id: str, subject: str) -> str:
    """Return what one subject gets, as Markdown; nothing is assigned."""
    variant = testing.assign(exp_id, subject, store=False)
    words = OUTSIDE if variant is None else f"gets **{formats.markdown(variant)}**"
    return f"{formats.markdown(subject)} {words}."


def assigned_list(testing: ABTestingFramework, exp_id: str, frame: pd.DataFrame, *, store: bool) -> pd.DataFrame:
    """Return the user ids of a table, each once, with the variant it gets.

    Raises
    ------
    ValueError
        If there is no column user_id, an id is missing, or there are too many.
    """
    import pandas as pd

    if "user_id" not in frame.columns:
        named = ", ".join(repr(formats.shorten(str(name), 30)) for name in frame.columns[:8])
        raise ValueError(f"the column 'user_id' is missing; the file has {named}")
    if len(frame) > MAX_LIST:
        raise ValueError(f"the file has {len(frame):,} rows; at most {MAX_LIST:,} can be assigned at once")
    missing = frame["user_id"].isna().to_numpy()
    if missing.any():
        raise ValueError(f"row {int(missing.argmax()) + 1} has no user_id")
    users = list(dict.fromkeys(str(user) for user in frame["user_id"]))
    variants = testing.assign_many(exp_id, users, store=store)
    return pd.DataFrame({"user_id": users, "variant": ["" if v is None else str(v) for v in variants]})


def share_words(frame: pd.DataFrame) -> str:
    """Return how many subjects get what: `baseline 480 (48 %), treatment 520 (52 %)`."""
    counts = frame["variant"].value_counts(sort=False)
    return ", ".join(
        f"{name or OUTSIDE} {count:,} ({formats.percent(count / len(frame))})" for name, count in sorted(counts.items())
    )
