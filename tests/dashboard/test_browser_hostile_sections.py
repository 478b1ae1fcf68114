"""Hostile names in every section of the A/B testing and the Monitoring tab: shown as they are, and nobody is asked."""

from __future__ import annotations

import csv
import json
from datetime import timedelta
from pathlib import Path

import pytest

from ab_testing import ABTestingFramework, ExperimentConfig, Metric
from dashboard.ab_testing_details import SECTIONS as AB_SECTIONS
from dashboard.monitoring_tab import CHARTS, SECTIONS
from model_monitoring import ModelMonitoring
from tests.dashboard.test_monitoring_tab import NOW

pytestmark = pytest.mark.browser
REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "hostile_inputs.json"
BEACON = "![x](http://192.0.2.1/a.png)<img src=http://192.0.2.1/b.png onerror=alert(1)>"
NAMES = (
    BEACON,
    "=HYPERLINK(1)",
    "<script>window.pwned = 1</script>",
    "$\\frac{1}{2}$ :smile: `code`",
    "a -- b *c* _d_",
)


def names(store):
    """Return the hostile names that the store takes as names of metrics."""
    monitoring = ModelMonitoring(store)
    found = [case.get("value") for case in json.loads(REFERENCE.read_text(encoding="utf-8"))["inputs"]]
    kept = []
    for name in [*NAMES, *(value for value in found if isinstance(value, str) and len(value) < 100)]:
        try:
            monitoring.log_performance("<i>m", "1.0.0", name, 0.9, at=NOW)
        except ValueError:
            continue  # refused, which is the other good answer
        kept.append(name)
    return kept


WORDS = (  # of cells and headings; the table for screen readers follows the painted one with some delay
    "[...document.querySelectorAll('[data-testid=stDataFrame] td')].map(cell => cell.textContent)"
    ".concat([...document.querySelectorAll('h4')].map(heading => heading.innerText))"
)


def check(screen, shown):
    page = screen.idle().page
    page.wait_for_function(f"shown => {{ const words = {WORDS}; return shown.every(name => words.includes(name)) }}",
                           arg=list(shown))  # fmt: skip
    assert page.locator("[data-testid=stMain] img[src^=http]").count() == 0
    assert page.evaluate("() => window.pwned") is None
    assert page.locator("[data-testid=stMain] b, [data-testid=stMain] script").count() == 0
    assert set(shown) <= set(page.evaluate(WORDS))


def exported(screen, label, path):
    with screen.page.expect_download() as waiting:
        screen.page.get_by_role("button", name=label, exact=True).first.click()
    waiting.value.save_as(path)
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [cell for row in csv.reader(file) for cell in row]


def test_hostile_names_stand_verbatim_in_every_section_of_a_test(open_app, store, tmp_path):
    hostile = names(store)
    assert len(hostile) > len(NAMES)
    testing = ABTestingFramework(store)
    exp_id = testing.create_experiment(
        ExperimentConfig(
            name="=1+1 <b>bold", metric_name=BEACON, treatment_model=BEACON, hypothesis=BEACON, owner=BEACON,
            secondary_metrics=[Metric(name=name) for name in hostile if name.strip() and name != BEACON],
        )
    )  # fmt: skip
    testing.record_events(exp_id, [(f"u{i}", float(i % 7)) for i in range(300)])
    testing.record_attributes(exp_id, [{"user_id": f"u{i}", BEACON: NAMES[i % 3]} for i in range(300)])
    testing.start_phase(exp_id, coverage=0.5, reason=BEACON)
    screen = open_app(tab="A/B testing")
    check(screen, ["=1+1 <b>bold", BEACON])
    assert "'=1+1 <b>bold" in exported(screen, "CSV", tmp_path / "tests.csv")
    for section in AB_SECTIONS:
        screen.go(tab="A/B testing", test=exp_id, **{"ab_testing.section": section})
        screen.see("=1+1 <b>bold")
        check(screen, ["=1+1 <b>bold"])
    for label, words in (("Conclude", "takes no more subjects"), ("New phase", "compared within phases")):
        screen.go(tab="A/B testing", test=exp_id).press(label).see(words)
        check(screen, [])


def test_hostile_names_stand_verbatim_in_every_section_of_a_version(open_app, store, tmp_path):
    hostile = names(store)
    monitoring = ModelMonitoring(store)
    for day in range(1, 12):
        monitoring.log_performance("<i>m", "1.0.0", BEACON, 0.9, at=NOW + timedelta(days=day), segment=BEACON)
    frame = {name: [float(i) for i in range(60)] for name in hostile}
    monitoring.set_reference("<i>m", "1.0.0", frame, label=BEACON)
    monitoring.log_features("<i>m", "1.0.0", frame, at=NOW + timedelta(days=11))
    monitoring.log_predictions("<i>m", "1.0.0", [BEACON, "=1"] * 20, labels=["=1"] * 40, at=NOW + timedelta(days=11))
    monitoring.add_alert_rule("<i>m", "1.0.0", "metric_threshold", BEACON, segment=BEACON, below=1.0)
    monitoring.add_alert_sink("=1 <b>call", "json://127.0.0.1:9/hook")
    monitoring.evaluate_alerts()
    screen = open_app()
    here = {"tab": "Monitoring", "watch": "<i>m:1.0.0"}
    for section in SECTIONS:
        screen.go(**here, **{"monitoring.section": section}).see("<i>m 1.0.0")
        check(screen, [BEACON] if section in {"Features", "Alerts"} else [])
        if section == "Features":
            cells = exported(screen, "CSV", tmp_path / "features.csv")
            assert "'=HYPERLINK(1)" in cells
            assert "=HYPERLINK(1)" not in cells
    for chart in CHARTS:
        screen.go(**here, **{"monitoring.chart": chart, "monitoring.metric": BEACON}).see("<i>m 1.0.0")
        check(screen, [])
    for label, words in (("Set baseline", "behaves in control"), ("Delete", "artifact stay")):
        screen.go(**here).press(label).see(words)
        check(screen, [])
