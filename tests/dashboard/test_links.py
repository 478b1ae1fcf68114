"""What a link, a reload and Back keep of the tabs with pages: page, smoothing, open boxes."""

from __future__ import annotations

import pytest

from ab_testing import ABTestingFramework, ExperimentConfig, MetricType
from dashboard import components as ui
from dashboard.ab_testing_tab import PAGE_TESTS
from dashboard.registry_tab import Choices
from tests.dashboard.conftest import healthy, shown_errors, texts


@pytest.fixture
def many(store):
    """More runs and versions than one page holds."""
    from experiment_tracking import ExperimentTracking
    from model_registry import ModelRegistryManager

    tracking, registry = ExperimentTracking(store, capture_environment=False), ModelRegistryManager(store)
    for number in range(ui.PAGE_ROWS + 3):
        run_id = tracking.start_run("sweep", f"run-{number:03d}", params={"even": number % 2 == 0})
        tracking.log_metrics(run_id, {"accuracy": number / 1000})
        tracking.end_run(run_id)
    return tracking, registry


def rows(test):
    return list(test.dataframe[0].value["name"])


def test_the_page_of_a_table_is_in_the_link_and_another_filter_begins_on_the_first(app_test, many):
    test = app_test(tab="Tracking")
    assert len(rows(test)) == ui.PAGE_ROWS
    healthy(test.button(key="tracking.page.next").click().run())
    assert test.query_params["tracking.page"] == "2"
    assert rows(test) == ["run-002", "run-001", "run-000"]
    assert "Rows 501 to 503 of 503" in texts(test)
    test = app_test(tab="Tracking", query={"tracking.page": ["2"]})
    assert rows(test) == ["run-002", "run-001", "run-000"]
    healthy(test.selectbox(key="tracking.order").set_value("accuracy").run())
    assert "tracking.page" not in test.query_params
    assert rows(test)[0] == "run-502"
    healthy(test.button(key="tracking.page.next").click().run())
    healthy(test.button(key="tracking.page.previous").click().run())
    assert "tracking.page" not in test.query_params


@pytest.mark.slow
@pytest.mark.parametrize("number", ["7", "0", "-1", "x", "", "٣", "9" * 400])
def test_a_page_that_does_not_exist_shows_one_that_does(app_test, many, number):
    test = app_test(tab="Tracking", query={"tracking.page": [number]})
    assert len(rows(test)) == (3 if number == "7" else ui.PAGE_ROWS)
    assert not shown_errors(test)


def test_versions_are_paged_by_the_link_and_a_page_too_far_is_the_last_one(app_test, seed, monkeypatch):
    for function in (ui.page, ui.page_offset):
        monkeypatch.setitem(function.__kwdefaults__, "rows", 2)
    monkeypatch.setattr("dashboard.registry_tab.Choices", lambda **given: Choices(**given, limit=2))
    test = app_test(tab="Registry", query={"registry.page": ["2"]})
    assert list(test.dataframe[0].value["Version"]) == ["1.0.0"]
    for number in range(3):
        seed.registry.delete_version("churn", f"1.{number}.0", allow_production=True)
    test = app_test(tab="Registry", query={"registry.page": ["9"], "registry.shown": ["Deleted"]})
    assert list(test.dataframe[0].value["Version"]) == ["1.0.0"]
    assert "3 deleted versions" in texts(test)
    assert "Rows 3 to 3 of 3" in texts(test)
    healthy(test.text_input(key="registry.search").set_value("churn").run())
    assert list(test.dataframe[0].value["Version"]) == ["1.2.0", "1.1.0"]


def test_smoothing_and_the_opened_ranking_are_in_the_link(app_test, seed):
    test = app_test(tab="Tracking", query={"run": seed.runs[:2]})
    healthy(test.select_slider(key="tracking.smoothing").set_value(0.29).run())
    assert test.query_params["tracking.smoothing"] == "0.29"
    test = app_test(tab="Tracking", query={"run": seed.runs[:2], "tracking.smoothing": ["0.29"]})
    assert test.select_slider(key="tracking.smoothing").value == 0.29
    for broken in ("1", "-1", "nan", "much"):
        test = app_test(tab="Tracking", query={"run": seed.runs[:2], "tracking.smoothing": [broken]})
        assert test.select_slider(key="tracking.smoothing").value == 0.0
    assert "run-5 leads 6 runs" not in texts(app_test(tab="Tracking"))
    assert "run-5 leads 6 runs" in texts(app_test(tab="Tracking", query={"tracking.insights": ["yes"]}))


def test_a_version_named_twice_in_a_link_is_one(app_test, seed):
    test = app_test(tab="Registry", query={"version": [seed.versions[0]] * 2})
    assert not shown_errors(test)
    assert "trained by run-0" in [button.label for button in test.button]


@pytest.mark.browser
def test_back_and_reload_keep_page_smoothing_and_the_opened_ranking(open_app, many):
    screen = open_app(tab="Tracking")
    page = screen.page
    screen.see("Rows 1 to 500 of 503").press("Next").see("Rows 501 to 503 of 503")
    assert "tracking.page=2" in page.url
    page.reload()
    screen.see("Rows 501 to 503 of 503")
    page.get_by_text("All runs that match", exact=False).first.click()
    screen.see("leads 503 runs")
    assert "tracking.insights=yes" in page.url
    page.reload()
    screen.see("leads 503 runs")
    page.go_back()
    page.get_by_text("leads 503 runs").wait_for(state="hidden")
    screen.see("Rows 501 to 503 of 503")
    page.go_back()
    screen.see("Rows 1 to 500 of 503")
    screen.click_row(0).see("Smoothing")
    slider = page.get_by_role("slider")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.wait_for_url("**tracking.smoothing=0.03**")
    page.reload()
    screen.see("0.03")


def test_another_search_of_tests_begins_on_the_first_page(app_test, store):
    testing = ABTestingFramework(store)
    for number in range(PAGE_TESTS + 2):
        testing.create_experiment(ExperimentConfig(f"test {number:03d}", "clicked", MetricType.BINARY, "a", "b"))
    test = app_test(tab="A/B testing", query={"ab_testing.page": ["2"]})
    assert list(test.dataframe[0].value["Test"]) == ["test 001", "test 000"]
    healthy(test.text_input(key="ab_testing.search").set_value("test 0").run())
    assert len(test.dataframe[0].value) == PAGE_TESTS
    assert "ab_testing.page" not in test.query_params
