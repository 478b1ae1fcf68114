"""Every section of the A/B testing and the Monitoring tab, full of data, in both themes: axe-core finds nothing."""

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
    screen.page.wait_for_timeout(700)
    screen.idle().shot(name)
    screen.page.evaluate(axe)
    return [f"{name}: {found}" for found in screen.page.evaluate(RUN)]


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
