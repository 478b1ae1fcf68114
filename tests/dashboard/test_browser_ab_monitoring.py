"""The jobs of the A/B testing and the Monitoring tab, by hand, in a real browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

import chain
from ab_testing import ExperimentConfig

pytestmark = pytest.mark.browser


def events(lift, *, n=600, split=0.5):
    """Return a CSV of events whose variants were assigned elsewhere."""
    draw = np.random.default_rng(4)
    lines = ["user_id,value,variant,event_id"]
    for i in range(n):
        variant = "treatment" if draw.random() < split else "baseline"
        value = int(draw.random() < 0.3 + lift * (variant == "treatment"))
        lines.append(f"u{i},{value},{variant},e{i}")
    return "\n".join(lines).encode()


def upload(screen, label, name, content, mime="text/csv"):
    box = screen.page.get_by_test_id("stDialog").locator("input[type=file]")
    # A button pressed while the file is still on its way has no file to act on.
    with screen.page.expect_response(lambda response: "upload_file" in response.url):
        box.set_input_files({"name": name, "mimeType": mime, "buffer": content})
    screen.page.get_by_test_id("stDialog").get_by_text(name).first.wait_for()
    screen.idle()
    screen.page.get_by_test_id("stDialog").get_by_role("button", name=label, exact=True).click()
    screen.page.get_by_test_id("stDialog").wait_for(state="detached")
    return screen.idle()


def option(screen, label):
    """Choose an option of a segmented control."""
    page = screen.page
    page.get_by_role("radio", name=label, exact=True).or_(
        page.get_by_role("button", name=label, exact=True)
    ).last.click()
    return screen


def feed(monitoring, *, days=40, drop=0.05):
    draw = np.random.default_rng(7)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for day in range(days):
        value = 0.92 + 0.004 * draw.standard_normal() - (drop if day >= days - 5 else 0.0)
        monitoring.log_performance("churn", "1.1.0", "accuracy", value, 1_000, at=start + timedelta(days=day))


def test_two_versions_are_tested_events_uploaded_the_verdict_read_and_the_winner_promoted(open_app, seed, testing):
    screen = open_app(tab="A/B testing")
    page = screen.page
    screen.see("Load example data")
    page.get_by_text("Create a test").click()
    screen.see("Smallest effect that matters")
    screen.fill("Name", "1.2 against 1.1").fill("Metric", "clicked")
    screen.choose("Kind of metric", "binary: Yes or no").idle()
    screen.choose("Treatment", "churn 1.2.0 (Development)").idle()
    screen.press("Create test").see("Nobody was assigned yet.")
    made = testing.list_experiments()[0]
    assert made.treatment_version_id == seed.versions[2]
    assert made.exp_id in page.url
    screen.press("Upload events").see("Rows whose")
    upload(screen, "Add events", "events.csv", events(0.25))
    screen.see("The split is as planned").see("Ship treatment")
    screen.press("Conclude").see("The test takes no more subjects")
    page.get_by_test_id("stDialog").get_by_role("button", name="Conclude", exact=True).click()
    screen.see("Decided on")
    screen.press("Promote the winner").see("moves to Production")
    page.get_by_test_id("stDialog").get_by_role("button", name="Promote", exact=True).click()
    screen.see("is in Production")
    assert seed.registry.get_production("churn").version == "1.2.0"


def test_a_running_test_is_watched_live_and_a_broken_split_blocks_it(open_app, testing):
    exp_id = testing.create_experiment(
        ExperimentConfig(name="live", metric_name="clicked", metric_type="binary", salt="of-tests")
    )
    screen = open_app(tab="A/B testing", test=exp_id)
    screen.see("Nobody was assigned yet.")
    rows = [{"user_id": f"u{i}", "value": i % 2} for i in range(400)]
    testing.record_events(exp_id, rows)
    screen.see("The split is as planned")  # without a reload
    rows = [{"user_id": f"v{i}", "value": i % 2, "variant": "treatment"} for i in range(400)]
    testing.record_events(exp_id, rows)
    screen.see("Results are withheld: an effect measured on a broken split")
    assert screen.page.locator(".js-plotly-plot").count() == 0


def test_a_test_is_sized_and_the_form_keeps_its_draft_over_a_tab_switch(open_app):
    screen = open_app(tab="A/B testing")
    screen.page.get_by_text("Size a test").click()
    screen.see("3,841")
    screen.page.get_by_text("Create a test").click()
    screen.see("Smallest effect that matters")
    screen.fill("Name", "my draft").idle()
    screen.page.get_by_role("tab", name="Tracking").click()
    screen.idle()
    screen.page.get_by_role("tab", name="A/B testing").click()
    screen.see("Size a test")
    if not screen.page.get_by_label("Name", exact=True).count():
        screen.page.get_by_text("Create a test").click()
        screen.see("Smallest effect that matters")
    assert screen.page.get_by_label("Name", exact=True).last.input_value() == "my draft"


def test_the_report_of_a_test_is_one_page_without_requests(open_app, testing, tmp_path):
    exp_id = testing.create_experiment(ExperimentConfig(name="a <b> c", metric_name="minutes"))
    testing.record_events(exp_id, [(f"u{i}", float(i % 7)) for i in range(400)])
    screen = open_app(tab="A/B testing", test=exp_id)
    screen.press("Export").see("Report (HTML)")
    with screen.page.expect_download() as waiting:
        screen.press("Report (HTML)")
    path = tmp_path / "report.html"
    waiting.value.save_as(path)
    report = path.read_text(encoding="utf-8")
    assert "a &lt;b&gt; c" in report
    assert "Welch" in report


def test_a_model_gets_a_reference_and_a_batch_and_its_drift_is_seen(open_app, seed, monitoring, tmp_path):
    feed(monitoring)
    draw = np.random.default_rng(1)
    reference = pd.DataFrame({"age": draw.normal(40, 9, 500), "plan": draw.choice(["a", "b"], 500)})
    screen = open_app(tab="Monitoring", watch="churn:1.1.0")
    screen.see("accuracy left its control limits")
    screen.press("Set reference").see("Only a profile of")
    upload(screen, "Set reference", "reference.csv", reference.to_csv(index=False).encode())
    path = tmp_path / "batch.parquet"
    pd.DataFrame({"age": draw.normal(55, 9, 300), "plan": draw.choice(["a", "b"], 300)}).to_parquet(path)
    screen.press("Upload a batch").see("Rows as the model saw them")
    upload(screen, "Add batch", "batch.parquet", path.read_bytes(), "application/octet-stream")
    option(screen, "Features").see("1 of 2 features drifted")
    screen.page.locator(".js-plotly-plot").nth(1).wait_for()
    assert screen.idle().page.locator(".js-plotly-plot").count() == 2
    screen.press("Registered version churn 1.1.0", exact=False).see("Versions")
    assert "tab=Registry" in screen.page.url


def test_an_alert_is_raised_acknowledged_and_the_report_exported(open_app, monitoring, tmp_path):
    feed(monitoring)
    monitoring.add_alert_rule("churn", "1.1.0", "control_chart")
    screen = open_app(tab="Monitoring", watch="churn:1.1.0", **{"monitoring.section": "Alerts"})
    screen.see("1 rule")
    screen.press("Evaluate now").see("1 open alert")
    screen.press("Acknowledge all").see("Acknowledged 1 alert")
    assert monitoring.list_alerts("churn", "1.1.0")[0].status == "acknowledged"
    screen.press("Export").see("Report (JSON)")
    with screen.page.expect_download() as waiting:
        screen.press("Metrics (CSV)")
    path = tmp_path / "report.csv"
    waiting.value.save_as(path)
    assert path.read_text(encoding="utf-8-sig").startswith("metric,")


def test_two_people_conclude_the_same_test_and_the_second_is_told(open_app, testing):
    exp_id = testing.create_experiment(
        ExperimentConfig(name="contested", metric_name="clicked", metric_type="binary", salt="of-tests")
    )
    testing.record_events(exp_id, [(f"u{i}", i % 2) for i in range(300)])
    second = open_app(tab="A/B testing", test=exp_id)
    second.press("Conclude").see("The test takes no more subjects")
    testing.conclude(exp_id, decision="keep_baseline", reason="first", actor="ada")
    second.page.get_by_label("Reason", exact=True).fill("second")
    dialog = second.page.get_by_test_id("stDialog")
    dialog.get_by_role("button", name="Conclude", exact=True).click()
    dialog.get_by_text("already").first.wait_for()
    found = testing.get_experiment(exp_id)
    assert (found.decision, found.decision_reason) == ("keep_baseline", "first")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_hostile_names_ask_no_other_host(open_app, testing, monitoring, dark):
    hostile = "![x](http://192.0.2.1/beacon.png)<img src=http://192.0.2.1/b.png>"
    exp_id = testing.create_experiment(
        ExperimentConfig(name="=HYPERLINK(1) <b>x", metric_name=hostile, treatment_model=hostile, hypothesis=hostile)
    )
    testing.record_events(exp_id, [(f"u{i}", float(i % 7)) for i in range(300)])
    start = datetime(2026, 3, 1, tzinfo=UTC)
    for day in range(12):
        monitoring.log_performance("<i>m", "1", hostile, 0.9, at=start + timedelta(days=day), segment=hostile)
    screen = open_app(tab="A/B testing", test=exp_id, dark=dark)
    for section in ("Design", "Over time"):
        option(screen, section).idle()
    screen.go(tab="Monitoring")
    screen.see("<i>m 1")
    assert screen.page.locator("img[src*='192.0.2.1']").count() == 0


def dialog(screen):
    return screen.page.get_by_test_id("stDialog")


def confirm(screen, label):
    """Press the button of the open dialog, and wait until the dialog is gone."""
    dialog(screen).get_by_role("button", name=label, exact=True).click()
    dialog(screen).wait_for(state="detached")
    return screen.idle()


def test_a_test_is_paused_given_another_split_concluded_archived_and_deleted(open_app, testing):
    exp_id = testing.create_experiment(
        ExperimentConfig(name="a life", metric_name="clicked", metric_type="binary", salt="of-tests")
    )
    testing.record_events(exp_id, [(f"u{i}", i % 2) for i in range(300)])
    screen = open_app(tab="A/B testing", test=exp_id)
    screen.press("Pause").see("Paused a life")
    assert testing.get_experiment(exp_id).status == "paused"
    screen.press("Resume").see("Resumed a life")
    screen.press("New phase").see("results are compared within phases")
    screen.fill("Reason", "ramp up")
    dialog(screen).get_by_role("slider").first.press("End")
    confirm(screen, "Start phase").see("Phase 2 has begun")
    assert testing.get_experiment(exp_id).phases[-1]["shares"]["treatment"] == 1.0
    screen.press("Conclude").see("The test takes no more subjects")
    screen.fill("Reason", "enough")
    confirm(screen, "Conclude").see("Decided on")
    screen.press("Archive").see("nothing is deleted")
    confirm(screen, "Archive").see("Archived a life")
    assert testing.get_experiment(exp_id).status == "archived"
    screen.go(**{"tab": "A/B testing", "test": exp_id, "ab_testing.status": "Archived"})
    screen.press("Delete").see("deleted for good")
    dialog(screen).get_by_role("textbox").fill("a life")
    confirm(screen, "Delete").see("Deleted a life")
    assert testing.list_experiments(status="archived") == []


def test_an_event_is_recorded_by_hand(open_app, testing):
    exp_id = testing.create_experiment(
        ExperimentConfig(name="by hand", metric_name="clicked", metric_type="binary", salt="of-tests")
    )
    screen = open_app(tab="A/B testing", test=exp_id)
    screen.press("Record an event").see("For the test")
    screen.fill("User id", "user-7")
    confirm(screen, "Record").see("Recorded the event")
    assert sum(testing.check_exposure(exp_id).n_assigned.values()) == 1


def test_events_appear_while_words_are_typed_and_the_box_keeps_them_and_the_focus(open_app, testing):
    exp_id = testing.create_experiment(
        ExperimentConfig(name="live", metric_name="clicked", metric_type="binary", salt="of-tests")
    )
    screen = open_app(tab="A/B testing", test=exp_id)
    screen.see("Nobody was assigned yet.")
    box = screen.page.get_by_label("Search", exact=True)
    box.press_sequentially("li")
    testing.record_events(exp_id, [(f"u{i}", i % 2) for i in range(400)])
    screen.see("The split is as planned")
    assert box.input_value() == "li"
    assert box.evaluate("e => e === document.activeElement")
    box.press_sequentially("ve")
    box.press("Enter")
    screen.page.wait_for_url("**/*ab_testing.search=live*")
    screen.see("1 test")


def test_a_link_opens_a_section_a_reload_keeps_it_and_back_leaves_it(open_app, testing):
    exp_id = testing.create_experiment(ExperimentConfig(name="linked", metric_name="minutes"))
    testing.record_events(exp_id, [(f"u{i}", float(i % 7)) for i in range(300)])
    screen = open_app(tab="A/B testing", test=exp_id, **{"ab_testing.section": "Distribution"})
    screen.page.locator(".js-plotly-plot").first.wait_for()
    screen.page.reload()
    screen.see("linked").page.locator(".js-plotly-plot").first.wait_for()
    option(screen, "Subjects").see("Who gets what")
    screen.page.go_back()
    screen.idle().page.locator(".js-plotly-plot").first.wait_for()
    assert "ab_testing.section=Distribution" in screen.page.url
    assert screen.page.get_by_text("Who gets what").count() == 0


def test_values_come_from_a_file_and_all_of_a_version_is_deleted(open_app, monitoring):
    feed(monitoring, days=12)
    screen = open_app(tab="Monitoring", watch="churn:1.1.0")
    screen.press("Log values").see("Predictions behind it")
    option(screen, "A file").see("All rows are stored, or none.")
    rows = "".join(f"f1,0.9{i},2026-03-{10 + i}T00:00Z\n" for i in range(9))
    upload(screen, "Add values", "values.csv", f"metric,value,at\n{rows}".encode())
    screen.see("Stored 9 new of 9 values")
    assert len(monitoring.performance_history("churn", "1.1.0", "f1")) == 9
    screen.press("Delete").see("artifact stay")
    dialog(screen).get_by_role("textbox").fill("churn 1.1.0")
    confirm(screen, "Delete").see("Deleted 21 values")
    assert monitoring.list_monitored() == []


def test_a_reference_is_selected_in_its_table_and_deleted(open_app, monitoring):
    frame = pd.DataFrame({"age": np.arange(60.0)})
    monitoring.set_reference("churn", "1.1.0", frame, label="spring")
    monitoring.set_reference("churn", "1.1.0", frame + 1, label="summer")
    screen = open_app(tab="Monitoring", watch="churn:1.1.0", **{"monitoring.section": "Features"})
    screen.see("2 references")
    screen.click_row(0, table=-1)
    screen.press("Delete reference").see("“summer”, set on")
    confirm(screen, "Delete").see("Deleted 1 reference")
    assert [found.label for found in monitoring.list_references("churn", "1.1.0")] == ["spring"]


def test_predictions_are_uploaded_and_their_labels_come_later(open_app, monitoring):
    feed(monitoring, days=12)
    screen = open_app(tab="Monitoring", watch="churn:1.1.0", **{"monitoring.section": "Predictions"})
    screen.press("Upload predictions").see("A known id is not stored again")
    rows = "".join(f"p{i},{'stay' if i % 2 else 'leave'},0.8,2026-03-12T00:00Z\n" for i in range(60))
    upload(screen, "Add predictions", "p.csv", f"prediction_id,prediction,probability,at\n{rows}".encode())
    screen.see("Predictions and labels by day")
    screen.press("Upload labels").see("a later one replaces an earlier one")
    rows = "".join(f"p{i},stay\n" for i in range(40))
    upload(screen, "Add labels", "l.csv", f"prediction_id,label\n{rows}".encode())
    screen.see("Accuracy of logged predictions by day")
    assert monitoring.prediction_performance("churn", "1.1.0").total.n_labelled == 40


# -- two people at once ------------------------------------------------------------------------------


def told(screen, words):
    """Wait until the open dialog of the second person says these words."""
    dialog(screen).get_by_text(words).first.wait_for()


def test_two_browsers_promote_the_same_winner_and_the_second_is_told(open_app, seed, testing):
    exp_id = chain.create_test_between_versions(
        testing, seed.registry, "duel", ("churn", "1.1.0"), ("churn", "1.2.0"), metric_name="clicked"
    )
    testing.conclude(exp_id, decision="ship", reason="seen")
    mine, theirs = (open_app(tab="A/B testing", test=exp_id) for _ in range(2))
    for screen in (mine, theirs):
        screen.press("Promote the winner").see("1.1.0 leaves it")
    confirm(mine, "Promote").see("churn 1.2.0 is in Production")
    dialog(theirs).get_by_role("button", name="Promote", exact=True).click()
    told(theirs, "1.2.0 of churn is in Production by now, not 1.1.0")
    history = seed.registry.stage_history("churn")
    assert sum(event.to_stage == "Production" and event.version == "1.2.0" for event in history) == 1


def test_two_browsers_delete_a_test_and_the_second_touches_no_other_one(open_app, testing):
    gone, kept = (
        testing.create_experiment(ExperimentConfig(name=name, metric_name="minutes")) for name in ("gone", "kept")
    )
    for exp_id in (gone, kept):
        testing.conclude(exp_id, decision="inconclusive", reason="enough")
    mine, theirs = (open_app(tab="A/B testing", test=gone) for _ in range(2))
    for screen in (mine, theirs):
        screen.press("Delete").see("deleted for good")
        dialog(screen).get_by_role("textbox").fill("gone")
        dialog(screen).locator("button:not([disabled])", has_text="Delete").wait_for()
    confirm(mine, "Delete").see("Deleted gone")
    dialog(theirs).get_by_role("button", name="Delete", exact=True).click()
    told(theirs, "no experiment")
    assert [test.exp_id for test in testing.list_experiments()] == [kept]


def test_two_browsers_set_the_same_reference_and_acknowledge_the_same_alert(open_app, monitoring):
    feed(monitoring)
    monitoring.add_alert_rule("churn", "1.1.0", "control_chart")
    monitoring.evaluate_alerts()
    frame = pd.DataFrame({"age": np.arange(60.0)})
    monitoring.set_reference("churn", "1.1.0", frame, label="old")
    mine, theirs = (open_app(tab="Monitoring", watch="churn:1.1.0") for _ in range(2))
    for screen in (mine, theirs):
        screen.press("Set reference").see("Only a profile of")
    upload(mine, "Set reference", "mine.csv", (frame + 1).to_csv(index=False).encode())
    with theirs.page.expect_response(lambda response: "upload_file" in response.url):
        dialog(theirs).locator("input[type=file]").set_input_files(
            {"name": "theirs.csv", "mimeType": "text/csv", "buffer": (frame + 2).to_csv(index=False).encode()}
        )
    dialog(theirs).get_by_text("theirs.csv").first.wait_for()
    theirs.idle()
    dialog(theirs).get_by_role("button", name="Set reference", exact=True).click()
    told(theirs, "someone else set a reference meanwhile")
    assert len(monitoring.list_references("churn", "1.1.0")) == 2
    here = {"tab": "Monitoring", "watch": "churn:1.1.0", "monitoring.section": "Alerts"}
    mine.go(**here).see("1 open alert")
    mine.stop_following()
    (alert,) = monitoring.list_alerts("churn", "1.1.0")
    monitoring.acknowledge_alert(alert.id, "ada")
    mine.press("Acknowledge all").see("1 alert had been acknowledged meanwhile by ada")
    assert monitoring.list_alerts("churn", "1.1.0")[0].acknowledged_by == "ada"
