"""Two people on the A/B testing and the Monitoring tab: what one did while a dialog of the other was open."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

import chain
from ab_testing import ExperimentConfig
from dashboard.monitoring_alerts import acknowledge_alerts
from model_monitoring import ModelMonitoring
from tests.dashboard.conftest import healthy, shown_errors, texts
from tests.dashboard.test_ab_testing_tab import run_test
from tests.dashboard.test_ab_testing_tab import visit as visit_test
from tests.dashboard.test_monitoring_tab import NOW, features, feed
from tests.dashboard.test_monitoring_tab import visit as visit_watch


@pytest.fixture
def monitoring(store):
    monitoring = ModelMonitoring(store)
    feed(monitoring, drop=0.05)
    return monitoring


def press(test, key):
    return healthy(test.button(key=key).click().run())


def toasts(test):
    return [toast.value for toast in test.toast]


# -- A/B testing -------------------------------------------------------------------------------------


def test_a_phase_that_someone_else_began_is_not_replaced_unseen(app_test, testing):
    exp_id = run_test(testing)
    test = visit_test(app_test, test=exp_id)
    press(test, "ab_testing.phase.open")
    healthy(test.slider(key="ab_testing.phase.split").set_value(0.9).run())
    testing.start_phase(exp_id, traffic_split=0.2, reason="theirs")
    press(test, "ab_testing.phase.confirm")
    assert "someone else began a phase meanwhile" in shown_errors(test)[0]
    assert [phase["reason"] for phase in testing.get_experiment(exp_id).phases] == [None, "theirs"]


def test_a_test_is_not_concluded_by_a_recommendation_that_new_data_changed(app_test, testing):
    exp_id = run_test(testing, lift=0.2)
    test = visit_test(app_test, test=exp_id)
    press(test, "ab_testing.conclude.open")
    assert test.selectbox(key="ab_testing.conclude.decision").value == "ship"
    testing.record_events(exp_id, [{"user_id": f"x{i}", "value": 0, "variant": "baseline"} for i in range(500)])
    press(test, "ab_testing.conclude.confirm")
    assert "new data changed the recommendation" in shown_errors(test)[0]
    assert testing.get_experiment(exp_id).status == "running"


def test_new_data_that_change_nothing_do_not_stand_in_the_way_of_a_conclusion(app_test, testing):
    exp_id = run_test(testing, lift=0.2)
    test = visit_test(app_test, test=exp_id)
    press(test, "ab_testing.conclude.open")
    testing.record_event(exp_id, "late", 1)
    press(test, "ab_testing.conclude.confirm")
    assert testing.get_experiment(exp_id).decision == "ship"


def test_the_second_to_conclude_is_told_what_the_first_decided(app_test, testing):
    exp_id = run_test(testing, lift=0.2)
    test = visit_test(app_test, test=exp_id)
    press(test, "ab_testing.conclude.open")
    testing.conclude(exp_id, decision="keep_baseline", reason="first", actor="ada")
    press(test, "ab_testing.conclude.confirm")
    assert "is concluded already; its decision is 'keep_baseline'" in shown_errors(test)[0]
    assert testing.get_experiment(exp_id).decision_reason == "first"


def test_a_test_that_someone_else_deleted_is_told_and_no_other_one_is_touched(app_test, testing):
    gone, kept = run_test(testing, "gone"), run_test(testing, "kept", n=20)
    for exp_id in (gone, kept):
        testing.conclude(exp_id, decision="inconclusive", reason="enough")
    test = visit_test(app_test, test=gone)
    press(test, "ab_testing.delete.open")
    healthy(test.text_input(key="ab_testing.delete.typed").set_value("gone").run())
    testing.delete_experiment(gone)
    healthy(test.button(key="ab_testing.delete.confirm").click().run())
    assert shown_errors(test)[0].startswith("Delete test: no experiment ")
    assert [found.exp_id for found in testing.list_experiments()] == [kept]


def won(testing, registry):
    exp_id = chain.create_test_between_versions(
        testing, registry, "duel", ("churn", "1.1.0"), ("churn", "1.2.0"), metric_name="clicked"
    )
    testing.conclude(exp_id, decision="ship", reason="seen")
    return exp_id


def test_a_winner_does_not_push_out_a_version_that_was_not_seen_in_production(app_test, seed, testing):
    test = visit_test(app_test, test=won(testing, seed.registry))
    press(test, "ab_testing.promote.open")
    assert "moves to Production, 1.1.0 leaves it" in texts(test)
    seed.registry.transition_stage("churn", "1.0.0", "Production", reason="theirs", actor="ada")
    press(test, "ab_testing.promote.confirm")
    assert "1.0.0 of churn is in Production by now, not 1.1.0" in shown_errors(test)[0]
    assert seed.registry.get_production("churn").version == "1.0.0"


def test_a_winner_that_is_in_production_already_is_not_promoted_again(app_test, seed, testing):
    exp_id = won(testing, seed.registry)
    seed.registry.transition_stage("churn", "1.2.0", "Production", reason="theirs", actor="ada")
    test = visit_test(app_test, test=exp_id)
    press(test, "ab_testing.promote.open")
    assert "churn 1.2.0 is in Production already." in texts(test)
    assert "ab_testing.promote.confirm" not in [button.key for button in test.button]


# -- Monitoring --------------------------------------------------------------------------------------


def test_a_baseline_that_someone_else_set_is_not_replaced_unseen(app_test, monitoring):
    test = visit_watch(app_test, watch="churn:1.0.0")
    press(test, "monitoring.baseline.open")
    monitoring.set_baseline("churn", "1.0.0", "accuracy", points=12)
    press(test, "monitoring.baseline.confirm")
    assert "someone else set a baseline meanwhile" in shown_errors(test)[0]
    assert monitoring.baseline_history("churn", "1.0.0", "accuracy")[-1].n == 12


def test_a_reference_that_someone_else_set_is_not_replaced_unseen(app_test, monitoring):
    monitoring.set_reference("churn", "1.0.0", features(80), label="first")
    test = visit_watch(app_test, watch="churn:1.0.0")
    press(test, "monitoring.reference.open")
    test.file_uploader(key="monitoring.reference.file").upload(
        "mine.csv", features(60).to_csv(index=False).encode(), "text/csv"
    )
    healthy(test.run())
    monitoring.set_reference("churn", "1.0.0", features(90), label="theirs")
    press(test, "monitoring.reference.confirm")
    assert "someone else set a reference meanwhile" in shown_errors(test)[0]
    assert [found.label for found in monitoring.list_references("churn", "1.0.0")] == ["theirs", "first"]


def test_an_alert_that_someone_else_acknowledged_keeps_their_name_and_the_second_is_told(app_test, monitoring):
    monitoring.add_alert_rule("churn", "1.0.0", "control_chart")
    monitoring.evaluate_alerts()
    test = visit_watch(app_test, watch="churn:1.0.0", **{"monitoring.section": "Alerts"})
    (alert,) = monitoring.list_alerts("churn", "1.0.0")
    monitoring.acknowledge_alert(alert.id, "ada")
    press(test, "monitoring.acknowledge")
    assert toasts(test) == ["1 alert had been acknowledged meanwhile by ada"]
    assert monitoring.list_alerts("churn", "1.0.0")[0].acknowledged_by == "ada"


def test_alerts_that_went_away_are_told_and_the_others_are_acknowledged(monitoring):
    frame = pd.DataFrame({"at": [NOW + timedelta(days=60)], "metric": ["auc"], "value": [0.1]})
    monitoring.log_performances(frame, name="churn", version="1.0.0")
    first = monitoring.add_alert_rule("churn", "1.0.0", "metric_threshold", "auc", below=0.5)
    monitoring.add_alert_rule("churn", "1.0.0", "metric_threshold", "accuracy", below=0.99, lookback_days=100)
    monitoring.evaluate_alerts()
    shown = monitoring.list_alerts("churn", "1.0.0")
    assert len(shown) == 2
    monitoring.delete_alert_rule(first)
    assert acknowledge_alerts(monitoring, shown, "bob") == [
        "Acknowledged 1 alert", "1 alert had been resolved or deleted meanwhile",
    ]  # fmt: skip
    monitoring.delete_monitored("churn", "1.0.0", confirm="churn 1.0.0")
    assert acknowledge_alerts(monitoring, shown, "bob") == ["2 alerts had been resolved or deleted meanwhile"]


def test_a_reference_that_someone_else_deleted_is_told_and_the_other_one_stays(app_test, monitoring):
    monitoring.set_reference("churn", "1.0.0", features(80), label="first")
    gone = monitoring.set_reference("churn", "1.0.0", features(90), label="second")
    test = visit_watch(
        app_test, watch="churn:1.0.0", **{"monitoring.section": "Features", "monitoring.reference_id": gone}
    )
    press(test, "monitoring.reference.delete.open")
    monitoring.delete_reference("churn", "1.0.0", gone)
    healthy(test.run())
    assert "This reference is no longer stored." in texts(test)
    assert [found.label for found in monitoring.list_references("churn", "1.0.0")] == ["first"]


# -- exports -----------------------------------------------------------------------------------------


def test_the_exported_list_holds_every_test_and_not_only_the_page(app_test, testing, monkeypatch):
    frames = {}
    monkeypatch.setattr("dashboard.ab_testing_tab.PAGE_TESTS", 2)
    monkeypatch.setattr(
        "dashboard.components.csv_download",
        lambda make_frame, file_name, **_: frames.update({file_name: make_frame()}),
    )
    for number in range(5):
        testing.create_experiment(ExperimentConfig(name=f"test {number}", metric_name="minutes"))
    visit_test(app_test)
    assert sorted(frames["tests.csv"]["Test"]) == [f"test {number}" for number in range(5)]
