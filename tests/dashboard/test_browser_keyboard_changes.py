"""Editing, gates, comparing two rows, archiving and purging with the keyboard alone, in a real browser."""

from __future__ import annotations

import pytest

from tests.dashboard.test_browser_keyboard import Keyboard

pytestmark = pytest.mark.browser
IN_TABLE = "() => document.activeElement.tagName === 'CANVAS'"


def reach_table(keyboard):
    """Press Tab until the table has the focus."""
    for _ in range(60):
        keyboard.keys.press("Tab")
        if keyboard.page.evaluate(IN_TABLE):
            return keyboard
    raise AssertionError("Tab never reached the table")


def select_two_rows(keyboard, one, two):
    """Select the first two rows, which say these words once one and two are selected."""
    keyboard.page.locator("[data-testid=stDataFrame] td").first.wait_for(state="attached")
    reach_table(keyboard)
    keyboard.keys.press("ArrowLeft")
    keyboard.keys.press("Shift+Space")
    keyboard.see(one)
    keyboard.keys.press("ArrowDown")
    keyboard.keys.press("Shift+Space")
    return keyboard.see(two)


def test_a_version_is_edited_and_its_gates_are_set_by_keys(open_app, seed):
    keyboard = Keyboard(open_app(tab="Registry", version=seed.versions[2]))
    keyboard.see("trained by run-2").press("^Edit$").see("Aliases, with commas between")
    keyboard.fill("^Owner$", "grace", dialog=True).fill("^Aliases", "champion", dialog=True)
    keyboard.press("^Save$", dialog=True).see("registered")
    keyboard.screen.page.get_by_test_id("stDialog").wait_for(state="detached")
    keyboard.see_idle()
    version = seed.registry.get_version("churn", "1.2.0")
    assert (version.owner, list(version.aliases)) == ("grace", ["champion"])
    keyboard.press("^Gates$").see("At least, one a line")
    keyboard.fill("^At least", "accuracy = 0.99", dialog=True)
    keyboard.press("^Save$", dialog=True).see("Gates of churn are set")
    assert seed.registry.get_model("churn").gates["metrics"] == {"accuracy": {"min": 0.99}}


def test_two_versions_are_selected_and_compared_by_keys(open_app, seed):
    keyboard = Keyboard(open_app(tab="Registry"))
    keyboard.see("3 versions")
    select_two_rows(keyboard, "trained by run-2", "compared with")


def test_a_run_is_edited_and_archived_by_keys(open_app, seed):
    keyboard = Keyboard(open_app(tab="Tracking", run=seed.runs[0]))
    keyboard.see("Open a file").press("^Edit$").see("Tags, one a line")
    keyboard.fill("^Name$", "renamed", dialog=True).fill("^Note$", "look again", dialog=True)
    keyboard.press("^Save$", dialog=True).see("look again")
    run = seed.tracking.get_run(seed.runs[0])
    assert (run.name, run.note) == ("renamed", "look again")
    keyboard.press("^Archive$").see("Archived 1 run")
    assert seed.tracking.get_run(seed.runs[0]).archived


def test_two_runs_are_selected_compared_deleted_and_purged_by_keys(open_app, seed):
    keyboard = Keyboard(open_app(tab="Tracking"))
    keyboard.see("7 runs")
    select_two_rows(keyboard, "out of memory", "2 runs compared")
    keyboard.press("^Delete$").see("Deleted runs can be restored")
    keyboard.press("^Delete$", dialog=True).see("Deleted 2 runs")
    gone = [seed.runs[6], seed.runs[5]]
    assert all(seed.tracking.get_run(run_id).deleted for run_id in gone)
    keyboard.screen.go(tab="Tracking", run=gone, **{"tracking.shown": "Deleted"}).see("2 runs compared")
    keyboard.press("^Delete for ever$").see("Type delete 2 runs to confirm")
    keyboard.fill("^Type delete 2 runs", "delete 2 runs", dialog=True)
    keyboard.page.locator("[role=dialog] button:not([disabled])", has_text="Delete for ever").wait_for()
    keyboard.press("^Delete for ever$", dialog=True).see("given back")
    for run_id in gone:
        with pytest.raises(LookupError):
            seed.tracking.get_run(run_id)
