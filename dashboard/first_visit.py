"""What a window shows first: the table that people came for, then what stands around it.

A browser has scripts of its own for every kind of thing on a page: forty of them, besides the table's. When all is sent
at once it fetches and starts all of it before it shows any of it, and the table takes twice as long. So the first run
of the script in a window sends the table first, and nothing else for the moment in which the browser draws it:

    with first_visit.below(header): ...         the header is drawn behind the block, into its place above it
    with first_visit.above_the_table(TAB): ...  the places of what is drawn behind the table
    first_visit.let_it_be_drawn()               behind the table

`STYLE`, which the first page brings with it, keeps these places as high as they will be: the table stands still. Later
runs of the script in the window draw everything in its order and wait for nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import streamlit as st

__all__ = ["STYLE", "above_the_table", "below", "let_it_be_drawn", "page_sent", "seconds_to_draw"]

# A browser draws a table in a quarter of the time in which it loads the page, and is given a little more. Nobody waits
# longer than the third of these seconds; who asks for nothing for as long as the fourth has loaded the page before.
SHARE_TO_DRAW, LEAST_SECONDS, MOST_SECONDS, FORGOTTEN_SECONDS = 0.3, 0.3, 1.5, 20.0
_IS_DRAWN = "first_visit.is_drawn"  # in the session: the first table was drawn, or the first run ended without one
_SECONDS = "first_visit.seconds"  # in the session: what this browser needs to draw a table
_page_sent_at: deque[float] = deque(maxlen=1)  # by the clock `monotonic`; of the last window, whoever opened it
_HEADER, _ABOVE = "first-visit-header", "first-visit-above"
# What a tab keeps for what stands above its table: so many rem, and in windows up to so many pixels wide, where numbers
# and filters need a second line, so many. Monitoring has a verdict with its links and actions there, too.
HEIGHTS = {
    "registry": (14.8, 1006, 19.75),
    "ab_testing": (14.8, 0, 14.8),
    "tracking": (14.8, 974, 19.75),
    "monitoring": (24.2, 1150, 29.8),
}
# Streamlit leaves six lines empty above a page. Its own rules come later and name one class: ours name two things.
STYLE = (
    "[data-testid=stMain] [data-testid=stMainBlockContainer] {padding-top: 2.5rem; padding-bottom: 4rem} "
    f"[data-testid=stMain] .st-key-{_HEADER} {{min-height: 2.15rem}} "
    f":is(.st-key-{_HEADER}, [class*=st-key-{_ABOVE}]) > :has(> [data-testid=stSpace]) {{position: absolute}}"
) + "".join(
    f" [data-testid=stMain] .st-key-{_ABOVE}-{tab} {{min-height: {height}rem}}"
    f" @media (max-width: {pixels}px) {{[data-testid=stMain] .st-key-{_ABOVE}-{tab} {{min-height: {narrow}rem}}}}"
    for tab, (height, pixels, narrow) in HEIGHTS.items()
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
    st.session_state[_SECONDS] = seconds_to_draw(monotonic() - _page_sent_at[0] if _page_sent_at else None)
    with place:
        _keep_open()
    try:
        yield
    finally:  # also above a tab that failed
        st.session_state[_IS_DRAWN] = True
        with place:
            draw()


@contextmanager
def above_the_table(tab: str) -> Iterator[None]:
    """Hold the containers that the block makes, for what stands above the table and is drawn behind it.

    `tab` is the prefix of the tab's widgets, as `HEIGHTS` has it.
    """
    with st.container(key=f"{_ABOVE}-{tab}"):
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
            sleep(st.session_state.get(_SECONDS, LEAST_SECONDS))


def page_sent() -> None:
    """Remember that the first page was sent to a browser: how long it takes from here to the script tells its speed."""
    _page_sent_at.append(monotonic())


def seconds_to_draw(since_page: float | None) -> float:
    """Return how long to wait behind a table for a browser that ran the script so long after the page was sent."""
    if since_page is None or since_page > FORGOTTEN_SECONDS:
        return LEAST_SECONDS
    return min(MOST_SECONDS, max(LEAST_SECONDS, SHARE_TO_DRAW * since_page))
