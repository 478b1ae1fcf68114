"""Hostile words wherever words can be typed: each section of Registry and Tracking shows them as they were typed."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from dashboard.registry_details import SECTIONS
from dashboard.tracking_compare import CHARTS
from dashboard.tracking_insights import KINDS

pytestmark = pytest.mark.browser
NAME = "![x](evil.example) **b** <img src=x> $x$ `c` [a](b) _i_"  # where no slash is allowed
TEXT = '=HYPERLINK("http://evil.example") ![x](http://evil.example/a.png) <script>x</script> <img src=//evil.example>'
MARKUP = (
    "[data-testid=stMain] :is(img[src*=evil], a[href^=http], script), [role=dialog] :is(img, a[href^=http], script)"
)


@pytest.fixture
def hostile(store):
    from experiment_tracking import ExperimentTracking
    from model_registry import ModelRegistryManager

    tracking, registry = ExperimentTracking(store, capture_environment=False), ModelRegistryManager(store)
    runs = []
    for number in range(3):
        name = f"{NAME} {number}"
        run_id = tracking.start_run(NAME, name, params={NAME: TEXT, "n": number}, tags={NAME: TEXT}, note=TEXT)
        for step in range(2):
            tracking.log_metrics(run_id, {NAME: 0.5 + (number + step) / 10, "accuracy": 0.5 + number / 10}, step=step)
        tracking.log_text(run_id, TEXT, "text.txt")
        tracking.end_run(run_id, "failed" if number else "finished", error=TEXT if number else None)
        runs.append(run_id)
    versions = [
        registry.register_model(
            {"w": n}, NAME, f"1.{n}.0", "classifier", {NAME: 0.5 + n / 10}, {NAME: TEXT}, tags={NAME: TEXT},
            description=TEXT, run_id=runs[n], actor=TEXT[:200], dependencies={"numpy": "1.0"},
        )
        for n in range(3)
    ]  # fmt: skip
    registry.update_model(NAME, description=TEXT, owner=NAME, tags={NAME: TEXT})
    registry.update_version(NAME, "1.1.0", card=f"# {TEXT}\n\n| a | b |\n| --- | --- |\n| {TEXT} | **{TEXT}** |\n")
    registry.transition_stage(NAME, "1.0.0", "Production", reason=TEXT, actor=NAME)
    registry.transition_stage(NAME, "1.1.0", "Production", reason=TEXT, actor=NAME)
    registry.record_performance(NAME, "1.1.0", {NAME: 0.4}, dataset=TEXT[:200])
    registry.set_gates(NAME, {"metrics": {NAME: {"min": 0.1}}})
    return tracking, registry, runs, versions


def look(screen, *words):
    """Wait for words that stand on the page as text, and find no markup made from any."""
    for word in words:
        screen.see(word)
    screen.idle()
    assert screen.page.locator(MARKUP).count() == 0
    assert screen.page.locator("[data-testid=stMain] :is(h1, h2, h3, h4, h5) em").count() == 0


def test_every_section_and_dialog_of_the_registry_shows_hostile_words_as_typed(open_app, hostile):
    _, registry, _, versions = hostile
    screen = open_app(tab="Registry", version=versions[1])
    for section in SECTIONS:
        screen.go(tab="Registry", version=versions[1], **{"registry.section": section})
        look(screen, f"{NAME} 1.1.0", TEXT, "trained by")
    screen.go(tab="Registry", version=versions[:2])
    look(screen, f"{NAME}: 1.1.0 compared with 1.0.0")
    screen.go(tab="Registry", version=versions[1])
    for button, words in (
        ("Change stage", "now in Production"), ("Roll back", "comes back"), ("Edit", "Model card (Markdown)"),
        ("Gates", "What any version"), ("Delete", f"Type {NAME} 1.1.0 to confirm"), ("Edit model", "with 3 versions"),
        ("Record performance", "Values measured after"),
    ):  # fmt: skip
        look(screen.press(button), words)
        assert NAME in screen.page.get_by_role("dialog").inner_text()
        screen.page.keyboard.press("Escape")
        screen.page.get_by_role("dialog").wait_for(state="hidden")
    with screen.page.expect_download() as waiting:
        screen.press("CSV")
    frame = pd.read_csv(io.BytesIO(waiting.value.path().read_bytes()))
    assert set(frame["description"]) == {f"'{TEXT}"}, "a formula gets an apostrophe in front"
    registry.delete_version(NAME, "1.2.0", reason=TEXT)
    screen.go(tab="Registry", version=versions[2], **{"registry.shown": "Deleted"})
    look(screen, "1 deleted version", f"{NAME} 1.2.0")


def test_every_section_and_dialog_of_tracking_shows_hostile_words_as_typed(open_app, hostile):
    tracking, _, runs, _ = hostile
    screen = open_app(tab="Tracking", run=runs[1])
    look(screen, f"{NAME} 1", TEXT)
    look(screen.choose("Open a file", "text.txt"), TEXT)
    for button, words in (("Register model", "Carries over"), ("Edit", "Tags, one a line"), ("Delete", "restored")):
        look(screen.press(button), words)
        screen.page.keyboard.press("Escape")
        screen.page.get_by_role("dialog").wait_for(state="hidden")
    for chart in CHARTS:
        screen.go(tab="Tracking", run=runs, **{"tracking.chart": chart, "tracking.metrics": NAME})
        look(screen, "3 runs compared")
    for kind in KINDS:
        query = {"tracking.insights": "yes", "tracking.insight": kind, "tracking.insight_metric": NAME}
        screen.go(tab="Tracking", **query, **{"tracking.insight_group": f"params.{NAME}"})
        screen.page.locator(".js-plotly-plot").first.wait_for()
        look(screen, "Grouped by" if kind != "What goes with it" else "Look at")
    screen.go(tab="Tracking", **{"tracking.filter": f"params.x = '{TEXT}"})
    look(screen, "Filter:")
    screen.go(tab="Tracking").press("Experiments").see("Clear deleted")
    screen.page.get_by_role("dialog").get_by_text("Delete", exact=True).click()
    look(screen, f"Type {NAME} to confirm")
    screen.go(tab="Tracking", run=runs[0]).press("Export")
    with screen.page.expect_download() as waiting:
        screen.press("All runs that match, CSV")
    frame = pd.read_csv(io.BytesIO(waiting.value.path().read_bytes()))
    assert set(frame[f"params.{NAME}"]) == {f"'{TEXT}"}
    for run_id in runs:
        tracking.delete_run(run_id)
    screen.go(tab="Tracking", run=runs[0], **{"tracking.shown": "Deleted"})
    look(screen.press("Delete for ever"), f"Type {NAME} 0 to confirm")
