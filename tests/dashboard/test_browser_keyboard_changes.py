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


def choose_by_arrow(keyboard, words, *, dialog=False, times=1):
    """Reach a row of choices and take the one so many places to the right."""
    keyboard.reach(words, dialog=dialog)
    for _ in range(times):
        keyboard.keys.press("ArrowRight")
    keyboard.keys.press("Space")
    return keyboard.see_idle()


def test_a_version_is_searched_refused_at_a_gate_and_let_through_with_a_reason_by_keys(open_app, seed):
    seed.registry.set_gates("churn", {"metrics": {"accuracy": {"min": 0.99}}})
    keyboard = Keyboard(open_app(tab="Registry"))
    keyboard.see("3 versions").fill("^Search$", "1.2.0")
    keyboard.keys.press("Enter")
    keyboard.see("1 of 3 versions")
    keyboard.page.locator("[data-testid=stDataFrame] td").first.wait_for(state="attached")
    reach_table(keyboard)
    keyboard.keys.press("ArrowLeft")
    keyboard.keys.press("Shift+Space")
    keyboard.see("trained by run-2").press("^Change stage$").see("now in Development")
    choose_by_arrow(keyboard, "^Staging$|^Production$", dialog=True)
    keyboard.see("✗ failed")
    keyboard.press("^Change stage$", dialog=True).see("may not enter Production")
    assert seed.registry.get_production("churn").version == "1.1.0"
    keyboard.reach("^Promote although a gate fails", dialog=True)
    keyboard.keys.press("Space")
    keyboard.see_idle().press("^Change stage$", dialog=True).see("override needs a reason")
    keyboard.fill("^Reason$", "agreed with the owner", dialog=True)
    keyboard.keys.press("Enter")
    keyboard.see_idle().press("^Change stage$", dialog=True).see("churn 1.2.0 is in Production")
    event = seed.registry.stage_history("churn", "1.2.0")[-1]
    assert (event.reason, event.evidence["override"]) == ("agreed with the owner", True)


def test_runs_are_overlaid_smoothed_and_drawn_over_time_by_keys(open_app, seed):
    keyboard = Keyboard(open_app(tab="Tracking", run=seed.runs[:2]))
    keyboard.see("2 runs compared").choose("^Metrics$", "loss")
    keyboard.page.locator(".gtitle", has_text="loss").first.wait_for()
    keyboard.keys.press("Escape")
    choose_by_arrow(keyboard, "^Step$", times=2)
    keyboard.page.locator(".xtitle", has_text="Time since the first point (s)").first.wait_for()
    keyboard.reach("^Smoothing$")
    for _ in range(50):
        keyboard.keys.press("ArrowRight")
    keyboard.page.wait_for_url("**tracking.smoothing=0.5*")
    keyboard.see_idle()
    assert "tracking.metrics=loss" in keyboard.page.url


def test_deleted_runs_are_found_and_restored_by_keys(open_app, seed):
    for run_id in seed.runs[:2]:
        seed.tracking.delete_run(run_id)
    keyboard = Keyboard(open_app(tab="Tracking"))
    choose_by_arrow(keyboard.see("5 runs"), "^Active$", times=2)
    select_two_rows(keyboard.see("2 deleted runs"), "Open a file", "2 runs compared")
    keyboard.press("^Restore$").see("Restored 2 runs")
    assert not any(seed.tracking.get_run(run_id).deleted for run_id in seed.runs)
