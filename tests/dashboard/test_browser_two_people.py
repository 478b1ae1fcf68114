"""Two windows and a notebook on one store: what is pressed meets the row that was selected, and nothing else."""

from __future__ import annotations

import pytest

from tests.dashboard.conftest import healthy, shown_errors


@pytest.mark.browser
def test_a_selected_run_stays_the_one_while_rows_arrive_and_the_list_is_filtered_and_ordered(open_app, seed):
    mine, theirs = open_app(tab="Tracking"), open_app(tab="Tracking", run=seed.runs[4])
    mine.see("7 runs").click_row(2).see("Open a file")
    mine.page.locator("h4", has_text="run-4").wait_for()
    new = seed.tracking.start_run("training", "from a notebook", params={"learning_rate": 1.0})
    seed.tracking.log_metrics(new, {"accuracy": 0.99})
    mine.see("8 runs").choose("Order", "Best loss")
    mine.idle().fill("Filter", "metrics.accuracy > 0.5")
    mine.see("7 of 8 runs").page.locator("h4", has_text="run-4").wait_for()
    theirs.press("Edit").see("Tags, one a line").fill("Name", "renamed by them").idle()
    theirs.press("Save").page.get_by_role("dialog").wait_for(state="hidden")
    mine.page.locator("h4", has_text="renamed by them").wait_for()
    mine.press("Delete").see("Deleted runs can be restored")
    assert "renamed by them" in mine.page.get_by_role("dialog").inner_text()
    mine.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    mine.see("Deleted 1 run")
    assert [seed.tracking.get_run(run_id).deleted for run_id in [*seed.runs, new]] == [False] * 4 + [True] + [False] * 3
    theirs.see("deleted")


@pytest.mark.browser
def test_a_selected_version_stays_the_one_when_another_page_is_turned_to(open_app, store):
    from dashboard import components as ui
    from model_registry import ModelRegistryManager

    registry = ModelRegistryManager(store)
    for number in range(ui.PAGE_ROWS + 2):
        registry.register_model({"w": number % 3}, "many", f"1.{number}.0")
    screen = open_app(tab="Registry")
    screen.see("502 versions").click_row(1).see("many 1.500.0")
    screen.press("Next").see("Rows 501 to 502 of 502")
    registry.register_model({"w": 1}, "many", "2.0.0")
    screen.see("503 versions").press("Delete").see("Type many 1.500.0 to confirm")
    screen.page.get_by_label("Type many 1.500.0 to confirm").press_sequentially("many 1.500.0")
    screen.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    screen.see("Deleted many 1.500.0")
    assert registry.search(restorable=True)["version"].tolist() == ["1.500.0"]


def test_whoever_restores_second_is_told(app_test, seed):
    seed.registry.delete_version("churn", "1.2.0")
    test = app_test(tab="Registry", query={"version": [seed.versions[2]], "registry.shown": ["Deleted"]})
    seed.registry.restore_version("churn", "1.2.0", actor="bob")
    healthy(test.button(key="registry.restore").click().run())
    assert "not deleted" in shown_errors(test)[0]
    seed.tracking.delete_run(seed.runs[0])
    test = app_test(tab="Tracking", query={"run": [seed.runs[0]], "tracking.shown": ["Deleted"]})
    seed.tracking.delete_run(seed.runs[0], permanently=True)
    healthy(test.button(key="tracking.restore").click().run())
    assert "no run" in shown_errors(test)[0]


def test_whoever_deletes_runs_second_is_told_and_those_that_are_there_stay(app_test, seed):
    test = app_test(tab="Tracking", ui__dialog=("tracking.delete", {"run_ids": seed.runs[:2]}))
    seed.tracking.delete_run(seed.runs[1], permanently=True)
    healthy(test.button(key="tracking.delete.confirm").click().run())
    assert "no run" in shown_errors(test)[0]
    assert not seed.tracking.get_run(seed.runs[0]).deleted
