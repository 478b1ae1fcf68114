"""The jobs of the A/B testing and the Monitoring tab with the keyboard alone, in a real browser."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from ab_testing import ABTestingFramework, ExperimentConfig
from model_monitoring import ModelMonitoring
from tests.dashboard.test_browser_ab_monitoring import events, feed

pytestmark = pytest.mark.browser
# Who has the focus, by the words a person would hear: its label, or what is written on it.
FOCUS = """() => {
    const e = document.activeElement;
    const labelled = (e.labels && e.labels[0] && e.labels[0].innerText) || '';
    const group = e.closest('[role=radiogroup], [role=group]');
    const copy = e.cloneNode(true);
    copy.querySelectorAll('[data-testid*=Icon]').forEach(icon => icon.remove());
    const text = e.getAttribute('aria-label') || labelled || copy.textContent || '';
    return {text: text.trim(), role: e.getAttribute('role') || e.tagName.toLowerCase(),
            group: group ? (group.getAttribute('aria-label') || '') : '',
            dialog: !!e.closest('[role=dialog]')};
}"""


class Keyboard:
    """Does everything a person does, by keys: Tab, arrows, Space, Enter and letters."""

    def __init__(self, screen):
        self.screen, self.page, self.keys = screen, screen.page, screen.page.keyboard

    def reach(self, words, *, dialog=False, key="Tab", limit=120):
        """Press Tab until what has the focus says these words."""
        heard = []
        for _ in range(limit):
            self.keys.press(key)
            found = self.page.evaluate(FOCUS)
            heard.append(found["text"][:30])
            if (found["dialog"] or not dialog) and re.search(words, found["text"]):
                return self
        raise AssertionError(f"{key} never reached {words!r}; it passed {heard}")

    def press(self, words, *, dialog=False, key="Tab"):
        self.reach(words, dialog=dialog, key=key)
        self.keys.press("Enter")
        return self

    def fill(self, words, text, *, dialog=False):
        self.reach(words, dialog=dialog)
        self.keys.press("Control+a")
        self.keys.type(text)
        return self

    def choose(self, words, text, *, dialog=False):
        """Choose in a select box: type a part of the option, Enter."""
        self.reach(words, dialog=dialog)
        self.keys.type(text)
        self.page.get_by_role("option").first.wait_for()
        self.keys.press("Enter")
        return self.see_idle()

    def file(self, words, name, content, mime, folder):
        """Open the file chooser by its button, and choose a file."""
        path = folder / name
        path.write_bytes(content)
        self.reach(words, dialog=True)
        with self.page.expect_file_chooser() as waiting:
            self.keys.press("Enter")
        waiting.value.set_files(str(path))
        self.page.get_by_test_id("stDialog").get_by_text(name).first.wait_for()
        return self.see_idle()

    def see(self, words):
        self.screen.see(words)
        return self

    def see_idle(self):
        self.screen.idle()
        return self


def test_a_test_is_created_filled_concluded_and_its_winner_promoted_by_keys(open_app, seed, store, tmp_path):
    testing = ABTestingFramework(store)
    keyboard = Keyboard(open_app(tab="A/B testing"))
    keyboard.press("Create a test$").see("Smallest effect that matters")
    keyboard.fill("^Name$", "by keys")
    keyboard.choose("Treatment$", "churn 1.2.0").fill("^Metric$", "clicked")
    keyboard.choose("Kind of metric", "binary")
    keyboard.press("^Create test").see("Nobody was assigned yet.")
    made = testing.get_experiment("by keys")
    assert (made.treatment_version_id, str(made.config.metric_type)) == (seed.versions[2], "binary")
    keyboard.press("Upload events").see("Rows whose")
    keyboard.file("^Upload$|Browse", "events.csv", events(0.25), "text/csv", tmp_path)
    keyboard.press("^Add events$", dialog=True, key="Shift+Tab")
    keyboard.see("The split is as planned").see("Ship treatment")
    keyboard.press("^Conclude").see("The test takes no more subjects")
    keyboard.press("^Conclude", dialog=True).see("Decided on")
    keyboard.press("^Promote the winner").see("moves to Production")
    keyboard.press("^Promote$", dialog=True).see("is in Production")
    assert seed.registry.get_production("churn").version == "1.2.0"


def test_a_test_is_sized_by_keys(open_app):
    keyboard = Keyboard(open_app(tab="A/B testing"))
    keyboard.press("Size a test$").see("3,841")
    keyboard.fill("^Effect to find", "0.03")
    keyboard.keys.press("Enter")
    keyboard.see("1,774")  # power.prop.test(p1 = .1, p2 = .13, power = .8): n = 1773.9


def test_a_broken_split_is_read_and_another_section_opened_by_keys(open_app, store):
    testing = ABTestingFramework(store)
    exp_id = testing.create_experiment(ExperimentConfig(name="broken", metric_name="y", metric_type="binary"))
    variants = ["treatment"] * 700 + ["baseline"] * 300
    rows = [{"user_id": f"u{i}", "value": i % 2, "variant": name} for i, name in enumerate(variants)]
    testing.record_events(exp_id, rows)
    keyboard = Keyboard(open_app(tab="A/B testing", test=exp_id))
    keyboard.see("Results are withheld")
    keyboard.reach("^Results$")
    for _ in range(4):
        keyboard.keys.press("ArrowRight")
    keyboard.keys.press("Space")
    keyboard.see("Who gets what").fill("^User id", "u5")
    keyboard.keys.press("Enter")
    keyboard.see(re.compile("u5 gets"))


def test_a_model_is_watched_given_a_reference_and_a_batch_by_keys(open_app, seed, store, tmp_path):
    monitoring = ModelMonitoring(store)
    feed(monitoring)
    draw = np.random.default_rng(1)
    reference = pd.DataFrame({"age": draw.normal(40, 9, 500), "plan": draw.choice(["a", "b"], 500)})
    batch = pd.DataFrame({"age": draw.normal(55, 9, 300), "plan": draw.choice(["a", "b"], 300)})
    batch.to_parquet(tmp_path / "made.parquet")
    keyboard = Keyboard(open_app(tab="Monitoring"))
    keyboard.see("accuracy left its control limits")
    keyboard.press("^Set reference").see("Only a profile of")
    keyboard.file("^Upload$|Browse", "reference.csv", reference.to_csv(index=False).encode(), "text/csv", tmp_path)
    keyboard.press("^Set reference", dialog=True).see("Reference of 500 rows is frozen")
    keyboard.press("^Upload a batch").see("Rows as the model saw them")
    content = (tmp_path / "made.parquet").read_bytes()
    keyboard.file("^Upload$|Browse", "batch.parquet", content, "application/octet-stream", tmp_path)
    keyboard.press("^Add batch", dialog=True).see("Added 300 rows")
    keyboard.reach("^Performance$")
    keyboard.keys.press("ArrowRight")
    keyboard.keys.press("Space")
    keyboard.see("1 of 2 features drifted")
    assert monitoring.detect_feature_drift("churn", "1.1.0").drifted_features == ["age"]


def test_an_alert_is_acknowledged_and_the_report_exported_by_keys(open_app, store):
    monitoring = ModelMonitoring(store)
    feed(monitoring)
    keyboard = Keyboard(open_app(tab="Monitoring", **{"monitoring.section": "Alerts"}))
    keyboard.press("^Add a rule").see("Raise an alert when")
    keyboard.press("^Add rule", dialog=True).see("1 rule")
    keyboard.press("^Evaluate now").see("1 open alert")
    keyboard.press("^Acknowledge all").see("Acknowledged 1 alert")
    assert monitoring.list_alerts("churn", "1.1.0")[0].status == "acknowledged"
    keyboard.press("^Export").see("Report (JSON)")
    keyboard.reach("Metrics .CSV")
    with keyboard.page.expect_download() as waiting:
        keyboard.keys.press("Enter")
    assert waiting.value.suggested_filename == "monitoring-churn-1.1.0.csv"
