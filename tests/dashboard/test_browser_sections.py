"""Every section and dialog of the A/B testing and the Monitoring tab in both themes: axe-core finds nothing."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from ab_testing import ABTestingFramework, ExperimentConfig, Metric, MetricType
from dashboard.ab_testing_details import SECTIONS as AB_SECTIONS
from dashboard.monitoring_tab import CHARTS
from model_monitoring import ModelMonitoring
from tests.dashboard.test_accessibility import RUN, axe
from tests.dashboard.test_monitoring_tab import NOW, features, feed

__all__ = ["axe"]  # a fixture
pytestmark = pytest.mark.browser


@pytest.fixture
def exp_id(store):
    """A test of two treatments with a guardrail, a segment and a second phase."""
    testing = ABTestingFramework(store)
    exp_id = testing.create_experiment(
        ExperimentConfig(
            name="three", metric_name="clicked", metric_type="binary", treatments={"small": 0.3, "large": 0.3},
            guardrails=[Metric(name="errors", metric_type=MetricType.BINARY, direction="lower")], baseline_value=0.3,
            minimum_detectable_effect=0.1,
        )
    )  # fmt: skip
    users = [f"user-{i}" for i in range(900)]
    draw = np.random.default_rng(2)
    better = testing.assign_many(exp_id, users) == "large"
    clicked = (draw.random(900) < 0.3 + 0.15 * better).astype(float)
    testing.record_events(exp_id, list(zip(users, clicked.tolist(), strict=True)))
    testing.record_events(exp_id, [{"user_id": user, "value": 0, "metric": "errors"} for user in users[:400]])
    testing.record_attributes(exp_id, pd.DataFrame({"user_id": users, "country": draw.choice(["CH", "DE"], 900)}))
    testing.start_phase(exp_id, coverage=0.5, reason="ramp down")
    return exp_id


@pytest.fixture
def watch(store):
    """A version with metrics, a segment, drifting features, predictions, an alert and an address."""
    monitoring = ModelMonitoring(store)
    feed(monitoring, drop=0.05)
    for day in range(40):
        monitoring.log_performance(
            "churn", "1.0.0", "accuracy", 0.91, at=NOW + timedelta(days=day), segment="country=CH"
        )
    monitoring.set_reference("churn", "1.0.0", features(500))
    for day in range(30, 40):
        monitoring.log_features("churn", "1.0.0", features(200, 9.0, day), at=NOW + timedelta(days=day))
        monitoring.log_predictions(
            "churn", "1.0.0", ["stay", "leave"] * 20, probabilities=[0.8] * 40,
            labels=["stay", "stay"] * 20 if day < 37 else None, at=NOW + timedelta(days=day),
        )  # fmt: skip
    monitoring.add_alert_rule("churn", "1.0.0", "control_chart")
    monitoring.add_alert_sink("on call", "json://127.0.0.1:9/hook")
    monitoring.evaluate_alerts()
    return "churn:1.0.0"


def serious(screen, axe, name):
    """Return what axe-core finds on the page once it is quiet.

    What is about to be redrawn, such as the line of the header, is pale for a moment: what is found then is looked for
    again.
    """
    found: set[str] = set()
    for attempt in range(3):
        screen.page.wait_for_timeout(700)
        screen.idle().shot(name)
        screen.page.evaluate(axe)
        seen = set(screen.page.evaluate(RUN))
        found = seen if attempt == 0 else found & seen
        if not found:
            break
    return [f"{name}: {words}" for words in sorted(found)]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_in_any_section_of_a_test(open_app, exp_id, axe, dark):
    screen = open_app(dark=dark, width=900 if dark else 1400)
    found = []
    for section in AB_SECTIONS:
        screen.go(tab="A/B testing", test=exp_id, **{"ab_testing.section": section})
        found += serious(screen, axe, f"ab-{section}-{'dark' if dark else 'light'}")
    screen.go(tab="A/B testing")
    for form, words in (
        ("Create a test", "Smallest effect that matters"), ("Size a test", "Formula"),
        ("Simulate a design", "Invents many tests"),
    ):  # fmt: skip
        screen.page.get_by_text(form, exact=True).click()
        screen.see(words)
    found += serious(screen, axe, f"ab-forms-{'dark' if dark else 'light'}")
    assert found == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_in_any_section_of_a_monitored_version(open_app, watch, axe, dark):
    screen = open_app(dark=dark, width=900 if dark else 1400)
    found = []
    views = [("Performance", {"monitoring.chart": chart}) for chart in CHARTS]
    for section, query in [*views, ("Features", {}), ("Predictions", {}), ("Alerts", {})]:
        screen.go(tab="Monitoring", watch=watch, **{"monitoring.section": section}, **query)
        if section == "Features":
            screen.page.get_by_text("Compare two tables", exact=True).click()
            screen.see("Nothing is stored")
        name = query.get("monitoring.chart", section)
        found += serious(screen, axe, f"monitoring-{name}-{'dark' if dark else 'light'}")
    assert found == []


def press(label):
    """Return what presses a button outside any dialog."""
    return lambda screen: screen.page.get_by_role("button", name=label, exact=True).last.click()


def choose(label, option):
    """Return what chooses in a select box of the open dialog."""
    return lambda screen: screen.choose(label, option)


def radio(label):
    """Return what chooses a segment of the open dialog, which is what was said last under that name."""
    return lambda screen: (
        screen.page.get_by_test_id("stDialog").get_by_role("radio", name=label, exact=True).last.click()
    )


def walk(screen, axe, steps, suffix):
    """Open each dialog on a fresh page, and return what axe-core finds in it, mouse pointer and all."""
    found = []
    for name, query, *actions in steps:
        screen.go(**query)
        for action in actions:
            action(screen)
            screen.page.wait_for_timeout(500)
            screen.idle()
        found += serious(screen, axe, f"{name}-{suffix}")
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_in_any_dialog_of_a_test(open_app, store, exp_id, axe, dark):
    testing = ABTestingFramework(store)
    ended, broken, empty = (
        testing.create_experiment(ExperimentConfig(name=name, metric_name="minutes")) for name in ("a", "b", "c")
    )
    rows = [{"user_id": f"u{i}", "value": float(i % 7), "variant": "treatment"} for i in range(300)]
    testing.record_events(broken, rows)
    testing.conclude(ended, decision="inconclusive", reason="enough")
    here, over = {"tab": "A/B testing", "test": exp_id}, {"tab": "A/B testing", "test": ended}
    labels = ("Record an event", "Upload events", "New phase", "Conclude", "Export")
    steps = [
        *((label, here, press(label)) for label in labels),
        *((label, over, press(label)) for label in ("Archive", "Delete")),
        ("Attributes", here, press("Upload events"), radio("Attributes")),
        ("Blocked", here | {"test": broken}),
        *((f"Nobody, {name}", here | {"test": empty, "ab_testing.section": name}) for name in ("Results", "Over time")),
    ]
    assert walk(open_app(dark=dark, width=900), axe, steps, "dark" if dark else "light") == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_serious_in_any_dialog_of_a_monitored_version(open_app, store, watch, axe, dark):
    ModelMonitoring(store).log_performance("quiet", "2.0.0", "accuracy", 0.9, at=NOW)
    here = {"tab": "Monitoring", "watch": watch}
    alerts, quiet = here | {"monitoring.section": "Alerts"}, here | {"watch": "quiet:2.0.0"}
    steps = [
        *(
            (label, here, press(label))
            for label in ("Log values", "Set baseline", "Set reference", "Upload a batch", "Export", "Delete")
        ),
        ("A file of values", here, press("Log values"), radio("A file")),
        ("A value of another time", here, press("Log values"), radio("Another time")),
        *(
            (label, here | {"monitoring.section": "Predictions"}, press(label))
            for label in ("Upload predictions", "Upload labels")
        ),
        *((label, alerts, press(label)) for label in ("Add a rule", "Add an address", "Silence all")),
        ("Threshold", alerts, press("Add a rule"), choose("Raise an alert when", "A metric is beyond a value")),
        *((f"Quiet, {name}", quiet | {"monitoring.section": name}) for name in ("Performance", "Features")),
        ("Quiet, Predictions", quiet | {"monitoring.section": "Predictions"}),
    ]
    assert walk(open_app(dark=dark, width=900), axe, steps, "dark" if dark else "light") == []
