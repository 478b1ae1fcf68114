"""The shell: four lazy tabs, the header, the URL, in AppTest and in Chromium."""

from __future__ import annotations

import re

import pytest

from tests.dashboard.conftest import TABS


@pytest.mark.parametrize("tab", TABS)
def test_every_tab_of_an_empty_store_offers_example_data(app_test, tab):
    test = app_test(tab=tab)
    assert "Load example data" in [button.label for button in test.button]


@pytest.mark.browser
def test_the_open_tab_and_its_filters_are_in_the_address_and_survive_a_reload(open_app):
    screen = open_app()
    page = screen.page
    page.get_by_role("tab", name="Tracking").click()
    screen.see("Load example data")
    assert "tab=Tracking" in page.url
    page.reload()
    screen.idle()
    assert page.get_by_role("tab", name="Tracking").get_attribute("aria-selected") == "true"
    page.go_back()
    page.wait_for_url(re.compile(r"/\??$"))
    page.get_by_role("tab", name="Registry", selected=True).wait_for()
