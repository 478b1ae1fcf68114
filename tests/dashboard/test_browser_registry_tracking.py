"""Registry and Tracking in a browser: axe-core finds nothing in sections and dialogs; the jobs beside the main ones."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from dashboard.registry_details import SECTIONS
from dashboard.tracking_compare import CHARTS
from dashboard.tracking_insights import KINDS
from tests.dashboard.test_accessibility import RUN, axe

__all__ = ["axe"]  # a fixture
pytestmark = pytest.mark.browser
THEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


# Dialogs and toasts come in by an animation, and half of it has half the contrast.
STILL = "() => document.getAnimations().every(animation => animation.playState !== 'running')"


def serious(screen, axe, name):
    screen.idle().page.wait_for_function(STILL)
    screen.page.mouse.move(0, 0)
    screen.idle().shot(name)
    screen.page.evaluate(axe)
    return [f"{name}: {found}" for found in screen.page.evaluate(RUN)]


def in_dialogs(screen, axe, names, name):
    """Open each dialog by its button (the last one of that name), look into it and its other parts, and close it."""
    found = []
    for button, words, *parts in names:
        screen.press(button).see(words)
        found += serious(screen, axe, f"{name}-{button}".replace("/", "-"))
        for part, inside in parts:
            screen.page.get_by_role("dialog").get_by_text(part, exact=True).first.click()
            found += serious(screen.see(inside), axe, f"{name}-{button}-{part}")
        screen.page.keyboard.press("Escape")
        screen.page.get_by_role("dialog").wait_for(state="hidden")
        screen.idle()
    return found


@THEMES
def test_nothing_serious_in_any_section_or_dialog_of_the_registry(open_app, seed, axe, dark):
    seed.registry.set_gates("churn", {"metrics": {"accuracy": {"min": 0.99}}})
    seed.registry.update_model("churn", description="who leaves", owner="team@example.com")
    screen, found = open_app(dark=dark, width=900 if dark else 1400), []
    mark = "dark" if dark else "light"
    for section in SECTIONS:
        screen.go(tab="Registry", version=seed.versions[1], **{"registry.section": section})
        found += serious(screen, axe, f"registry-{section}-{mark}")
    screen.go(tab="Registry", version=seed.versions[1])
    dialogs = [
        ("Change stage", "Reason"), ("Roll back", "comes back"), ("Edit", "Model card (Markdown)"),
        ("Gates", "What any version"), ("Delete", "Type churn 1.1.0"), ("Edit model", "with 3 versions"),
        ("Record performance", "Values measured after"),
    ]  # fmt: skip
    found += in_dialogs(screen, axe, dialogs, f"registry-{mark}")
    screen.go(tab="Registry", version=seed.versions[:2])
    found += in_dialogs(screen, axe, [("A/B test these two", "Share of the treatment")], f"registry-{mark}")
    screen.go(tab="Registry", **{"registry.model": "churn"})
    jobs = [("Check files", "Reads every stored file"), ("Clean up", "would be removed")]
    found += in_dialogs(screen, axe, [("Storage", "Its hashes are checked", *jobs)], f"registry-{mark}")
    screen.page.get_by_text("Register a model", exact=True).click()
    found += serious(screen.see("The file is stored"), axe, f"registry-form-{mark}")
    screen.go(tab="Registry", version=seed.versions[2])
    screen.press("Change stage").see("now in Development").page.get_by_text("Production", exact=True).last.click()
    found += serious(screen.see("✗ failed"), axe, f"registry-gate-{mark}")
    screen.page.keyboard.press("Escape")
    seed.registry.delete_version("churn", "1.2.0")
    screen.go(tab="Registry", version=seed.versions[2], **{"registry.shown": "Deleted"}).see("1 deleted version")
    found += serious(screen, axe, f"registry-deleted-{mark}")
    assert found == []


@THEMES
def test_nothing_serious_in_any_section_or_dialog_of_tracking(open_app, seed, axe, dark):
    seed.tracking.log_params(seed.runs[0], {"dropout": 0.5})  # the others lack it
    screen, found = open_app(dark=dark, width=900 if dark else 1400), []
    mark = "dark" if dark else "light"
    for chart in CHARTS:
        screen.go(tab="Tracking", run=seed.runs[:2], **{"tracking.chart": chart})
        found += serious(screen, axe, f"tracking-{chart}-{mark}")
    for kind in KINDS:
        query = {"tracking.insights": "yes", "tracking.insight": kind, "tracking.insight_group": "params.kind"}
        screen.go(tab="Tracking", **query)
        screen.page.locator(".js-plotly-plot").first.wait_for()
        found += serious(screen, axe, f"tracking-{kind}-{mark}")
    screen.go(tab="Tracking", **{"tracking.filter": "metrics.accuracy >"})
    found += serious(screen.see("expected a value"), axe, f"tracking-filter-{mark}")
    screen.go(tab="Tracking")
    jobs = [
        ("Delete", "Its runs go with it"),
        ("Restore", "No experiment was deleted"),
        ("Clear deleted", "No deleted"),
    ]
    sources = [("CSV", "A row a run"), ("JSON lines", "A line a run")]
    dialogs = [("Experiments", "Clear deleted", *jobs), ("Import", "Folder or database", *sources)]
    found += in_dialogs(screen, axe, dialogs, f"tracking-{mark}")
    screen.press("Columns").see("Value of each metric")
    found += serious(screen, axe, f"tracking-columns-{mark}")
    screen.page.keyboard.press("Escape")
    screen.press("Export").see("All runs that match, JSON lines")
    found += serious(screen, axe, f"tracking-export-{mark}")
    screen.go(tab="Tracking", run=seed.runs[0])
    screen.page.get_by_text("Environment: code").or_(screen.page.get_by_text("Open a file")).first.wait_for()
    dialogs = [("Register model", "Carries over"), ("Edit", "Tags, one a line"), ("Delete", "can be restored")]
    found += in_dialogs(screen, axe, dialogs, f"tracking-{mark}")
    seed.tracking.log_text(
        seed.runs[0], "a line that is longer than the page is wide " * 40 + "\nend\n" * 60, "long.txt"
    )
    screen.go(tab="Tracking", run=seed.runs[0]).choose("Open a file", "long.txt")
    found += serious(screen.see("a line that is longer"), axe, f"tracking-file-{mark}")
    found += in_dialogs(screen, axe, [("Delete file", "removed from the disk")], f"tracking-{mark}")
    screen.go(tab="Tracking", run=seed.runs[6]).see("out of memory")
    found += serious(screen, axe, f"tracking-failed-{mark}")
    running = seed.tracking.start_run("training", "live")
    screen.go(tab="Tracking", run=running).see("No files were logged.")
    found += in_dialogs(screen, axe, [("End", "It ended as"), ("Register model", "no stored file")], f"tracking-{mark}")
    seed.tracking.end_run(running)
    seed.tracking.delete_run(running)
    screen.go(tab="Tracking", run=running, **{"tracking.shown": "Deleted"}).see("1 deleted run")
    found += in_dialogs(screen, axe, [("Delete for ever", "cannot be undone")], f"tracking-{mark}")
    assert found == []


def test_a_model_is_edited_and_a_version_recorded_exported_and_imported_by_hand(open_app, seed, tmp_path):
    screen = open_app(tab="Registry", version=seed.versions[1])
    page = screen.page
    screen.press("Edit model").see("with 3 versions")
    screen.fill("Description", "who leaves *soon*").idle().press("Save").see("Saved churn")
    screen.see("who leaves *soon*")
    screen.press("Record performance").see("Values measured after")
    screen.fill("Metrics, one a line: name = number", "accuracy = 0.5").idle()
    page.get_by_role("dialog").get_by_role("button", name="Record", exact=True).click()
    screen.see("Recorded for churn 1.1.0")
    assert seed.registry.performance_history("churn", "1.1.0")["value"].iloc[-1] == 0.5
    screen.go(tab="Registry", version=seed.versions[1], **{"registry.section": "Files"})
    with page.expect_download() as download:
        screen.press("Export with everything")
    archive = tmp_path / "churn.zip"
    download.value.save_as(archive)
    screen.press("Clear selection").idle().press("Storage").see("Its hashes are checked")
    page.get_by_role("dialog").locator("input[type=file]").set_input_files(str(archive))
    screen.see("churn.zip").fill("Name", "copy").idle()
    screen.press("Import version").see("The version is imported")
    page.locator("h4", has_text="copy 1.1.0").wait_for()
    assert seed.registry.get_version("copy", "1.1.0").stage.value == "Development"


def test_runs_leave_and_come_in_and_an_experiment_goes_and_comes_back_by_hand(open_app, seed, tmp_path):
    screen = open_app(tab="Tracking", run=seed.runs[:2])
    page = screen.page
    exported = {}
    screen.see("2 runs compared").press("Export")
    for label in ("All runs that match, JSON lines", "Their curves, CSV", "Report on them, HTML"):
        with page.expect_download() as download:
            screen.press(label)
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        exported[path.suffix] = path
    assert len([json.loads(line) for line in exported[".jsonl"].read_text().splitlines()]) == 7
    curves = pd.read_csv(io.BytesIO(exported[".csv"].read_bytes()))
    assert set(curves["run"]) == {"run-0", "run-1"}
    assert "run-1" in exported[".html"].read_text()
    page.keyboard.press("Escape")
    screen.go(tab="Tracking").press("Import").see("Folder or database")
    page.get_by_role("dialog").get_by_text("CSV", exact=True).click()
    (tmp_path / "older.csv").write_text("run,step,loss\na,0,1.0\na,1,0.5\n")
    screen.see("A row a run").page.get_by_role("dialog").locator("input[type=file]").set_input_files(
        str(tmp_path / "older.csv")
    )
    screen.see("older.csv").idle()
    page.get_by_role("dialog").get_by_role("button", name="Import", exact=True).click()
    screen.see("1 new of 1 run").press("Close")
    screen.press("Experiments").see("Clear deleted")
    page.get_by_role("dialog").get_by_text("Delete", exact=True).click()
    screen.see("Its runs go with it").choose("Experiment", "older")
    screen.fill("Type older to confirm", "older").idle()
    screen.press("Delete experiment").see("Deleted the experiment older")
    screen.press("Experiments").see("Clear deleted")
    page.get_by_role("dialog").get_by_text("Restore", exact=True).click()
    screen.see("Deleted experiment").press("Restore experiment").see("Restored the experiment older")
    assert {e.name for e in seed.tracking.list_experiments()} == {"training", "older"}
