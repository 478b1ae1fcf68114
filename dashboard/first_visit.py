"""What a window shows first: the table that people came for, then what stands around it.

A browser has scripts of its own for every kind of thing on a page: forty of them, besides the table's. When all is sent
at once it fetches and starts all of it before it shows any of it, and the table takes twice as long. So the first run
of the script in a window sends the table first, and nothing else for the moment in which the browser draws it:

    with first_visit.below(header): ...         the header is drawn behind the block, into its place above it
    with first_visit.above_the_table(): ...     the places of what is drawn behind the table
    first_visit.let_it_be_drawn()               behind the table

`STYLE`, which the first page brings with it, keeps these places as high as they will be: the table stands still. Later
runs of the script in the window draw everything in its order and wait for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep

import streamlit as st

__all__ = ["STYLE", "above_the_table", "below", "let_it_be_drawn"]

SECONDS_TO_DRAW = 0.3  # a browser draws a table in half of it; all else comes later by so much, once a window
_IS_DRAWN = "first_visit.is_drawn"  # in the session: the first table was drawn, or the first run ended without one
_HEADER, _ABOVE = "first-visit-header", "first-visit-above"
# Streamlit leaves six lines empty above a page. Its own rules come later and name one class: ours name two things.
# The heights are those of the header, and of numbers, filters and buttons, on a page where each fits into one line.
STYLE = (
    "[data-testid=stMain] [data-testid=stMainBlockContainer] {padding-top: 2.5rem; padding-bottom: 4rem} "
    f"[data-testid=stMain] .st-key-{_HEADER} {{min-height: 2.15rem}} "
    f"[data-testid=stMain] .st-key-{_ABOVE} {{min-height: 14.8rem}} "
    f":is(.st-key-{_HEADER}, .st-key-{_ABOVE}) > :has(> [data-testid=stSpace]) {{position: absolute}}"
)


@contextmanager
def below(draw: Callable[[], None]) -> Iterator[None]:
    """Draw what stands above the block: behind the block in the window's first run."""
    place = st.container(key=_HEADER)
    if _IS_DRAWN in st.session_state:
        with place:
            _keep_open()
            draw()
        yield
        return
    with place:
        _keep_open()
    try:
        yield
    finally:  # also above a tab that failed
        st.session_state[_IS_DRAWN] = True
        with place:
            draw()


@contextmanager
def above_the_table() -> Iterator[None]:
    """Hold the containers that the block makes, for what stands above the table and is drawn behind it."""
    with st.container(key=_ABOVE):
        _keep_open()
        yield


def _keep_open() -> None:
    """Put something invisible into a container in the window's first run: a page has no place for an empty one."""
    place = st.empty()
    if _IS_DRAWN not in st.session_state:
        place.space(1)


def let_it_be_drawn() -> None:
    """Wait, behind the first table of a window, until a browser has drawn it. Without a browser nobody waits."""
    if _IS_DRAWN not in st.session_state:
        st.session_state[_IS_DRAWN] = True
        if st.context.headers:
            sleep(SECONDS_TO_DRAW)
