"""The first run of the script in a window: the table comes first, alone, and stays where it is."""

from __future__ import annotations

import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from dashboard import first_visit
from tests.dashboard.conftest import healthy


def page():
    import streamlit as st

    from dashboard import first_visit

    drawn = st.session_state.setdefault("drawn", [])
    with first_visit.below(lambda: (drawn.append("header"), st.caption("header"))):
        with first_visit.above_the_table("registry"):
            numbers = st.container()
        drawn.append("table")
        st.text("table")
        first_visit.let_it_be_drawn()
        if st.session_state.get("breaks"):
            raise RuntimeError("a bug in a tab")
        with numbers:
            drawn.append("numbers")
            st.text("numbers")


@pytest.fixture
def waits(monkeypatch):
    """How often the script waited for the browser."""
    found = []
    monkeypatch.setattr(first_visit, "sleep", found.append)
    return found


def test_the_first_run_draws_the_table_before_the_header_and_later_runs_keep_the_order_of_the_page(waits):
    test = healthy(AppTest.from_function(page).run())
    assert test.session_state["drawn"] == ["table", "numbers", "header"]
    assert [text.value for text in test.text] == ["numbers", "table"]
    test.session_state["drawn"].clear()
    healthy(test.run())
    assert test.session_state["drawn"] == ["header", "table", "numbers"]
    assert waits == []  # nobody looks


def test_only_the_first_table_of_a_window_is_waited_for(waits, monkeypatch):
    monkeypatch.setattr(type(streamlit.context), "headers", {"Host": "localhost"})
    test = healthy(AppTest.from_function(page).run())
    healthy(test.run())
    assert len(waits) == 1


@pytest.mark.parametrize(
    ("since_page", "seconds"),
    [
        (None, first_visit.LEAST_SECONDS),
        (0.5, first_visit.LEAST_SECONDS),
        (2.0, 2.0 * first_visit.SHARE_TO_DRAW),
        (15.0, first_visit.MOST_SECONDS),
        (3_600.0, first_visit.LEAST_SECONDS),  # the page was there already, when the server was started again
    ],
)
def test_a_slow_browser_is_given_more_time_within_bounds(since_page, seconds):
    assert first_visit.seconds_to_draw(since_page) == seconds


def test_a_bug_in_the_first_tab_leaves_the_header_where_it_is():
    test = AppTest.from_function(page)
    test.session_state["breaks"] = True
    test.run()
    assert [caption.value for caption in test.caption] == ["header"]
    assert len(test.exception) == 1


@pytest.mark.browser
@pytest.mark.parametrize("tab", ["Registry", "A/B testing", "Tracking", "Monitoring"])
@pytest.mark.parametrize("width", [1400, 900])
def test_the_table_does_not_move_when_the_rest_of_the_page_arrives(open_app, example_store, tab, width):
    screen = open_app(width=width)
    page = screen.page
    page.add_init_script(
        "window.__y = []; const look = () => { const table = document.querySelector('[role=tabpanel] "
        "[data-testid=stDataFrame]'); if (table) window.__y.push(table.getBoundingClientRect().y);"
        "requestAnimationFrame(look) }; look()"
    )
    page.goto(screen.server.url(tab=tab))
    screen.idle()
    page.wait_for_function("() => window.__y.length > 0")
    first, last = page.evaluate("() => [window.__y[0], window.__y.at(-1)]")
    assert abs(first - last) < 20  # less than the height of a line of text
