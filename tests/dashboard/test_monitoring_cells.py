"""What stands in each cell and on each card of the Monitoring tab is that of its own series, feature, alert or file."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from charts.monitoring import (
    plot_control_chart,
    plot_cusum,
    plot_drift_ranking,
    plot_ewma,
    plot_feature,
    plot_no_data,
    plot_psi_heatmap,
    plot_trend,
)
from charts.monitoring_series import plot_label_counts, plot_prediction_scores, plot_rollup, plot_segments
from dashboard import formats
from dashboard import monitoring_alerts as alerts
from dashboard import monitoring_compare as compare
from dashboard import monitoring_predictions as predictions
from dashboard import monitoring_sections as sections
from dashboard import monitoring_stored as stored
from dashboard import monitoring_tab as tab
from db import NotFoundError
from model_monitoring import ModelMonitoring
from tests.dashboard.conftest import healthy, shown_errors, texts
from tests.dashboard.test_monitoring_sections import log_predictions
from tests.dashboard.test_monitoring_tab import NOW, features, feed, visit


@pytest.fixture
def watched(monitoring):
    feed(monitoring, drop=0.05)
    feed(monitoring, metric="auc")
    monitoring.set_reference("churn", "1.0.0", features(2_000), label="spring")
    for day in range(30, 40):
        shift = 9.0 if day >= 34 else 0.0
        batch = features(300, shift, day)
        batch.loc[:29, "income"] = None
        monitoring.log_features("churn", "1.0.0", batch, at=NOW + timedelta(days=day))
    return monitoring


def view_of(monitoring, **choices):
    return tab.build_view(monitoring, tab.Choices(name="churn", version="1.0.0", **choices), NOW + timedelta(days=41))


# -- tables ------------------------------------------------------------------------------------------


def test_a_row_of_metrics_is_of_its_own_series(watched):
    view = view_of(watched)
    for position, identity in enumerate(view.metric_ids):
        row = view.metrics.iloc[position]
        summary = next(m for m in view.report.metrics if m.metric == identity)
        last = summary.drift.points[-1]
        assert row["Metric"] == identity
        assert row["Last"] == formats.number(summary.last_value)
        assert row["Lower limit"] == formats.number(last.lower)
        assert row["Centre"] == formats.number(summary.drift.center)
        assert row["Upper limit"] == formats.number(last.upper)
        assert row["Points"] == summary.n_points == 7
        assert row["Violations"] == len({v.at for v in summary.drift.violations})
        assert row["Course"][-7:] == summary.drift.points.values.tolist()
        assert len(row["Course"]) == 40
    accuracy, auc = view.metrics.iloc[0], view.metrics.iloc[1]
    assert (accuracy["Status"], auc["Status"]) == ("✗ drift", "✓ in control")
    assert accuracy["Why"].startswith("beyond the 3-sigma limits; ")
    trend = view.metric.drift.trend
    assert accuracy["Trend a day"] == (formats.signed(trend.slope_per_day) if trend.significant else "–")
    assert auc["Trend a day"] == "–"


def test_a_row_of_violations_is_of_its_own_instant_the_newest_first(watched):
    view = view_of(watched)
    found = view.metric.drift.violations
    newest = max(v.at for v in found)
    row = view.violations.iloc[0]
    assert row["Time (UTC)"] == pd.Timestamp(newest)
    assert row["Value"] == next(v.value for v in found if v.at == newest)
    assert row["Sigmas"] == next(v.z for v in found if v.at == newest) < 0
    assert row["Direction"] == "▼ worse"
    assert set(row["Rules"].split("; ")) <= {"3 sigma", "EWMA", "CUSUM"}
    assert view.violations["Time (UTC)"].is_monotonic_decreasing


def test_a_row_of_features_is_of_its_own_feature(watched):
    view = view_of(watched)
    for position, name in enumerate(view.feature_ids):
        row, found = view.features.iloc[position], view.report.data_drift.features[name]
        assert row["Feature"] == name
        assert (row["PSI"], row["Threshold"]) == (found.psi, found.psi_threshold)
        distance = found.ks_statistic if name != "plan" else found.l_infinity
        assert row["Distance"] == distance
        assert row["p"] == tab.p_text(found.p_adjusted)
        assert row["Rows"] == found.n_current == 2_400
        assert row["Missing"] == pytest.approx(100 * found.null_share_current)
        assert row["Reason"] == found.reason
        assert sum(row["Reference"]) == pytest.approx(1, abs=0.01)
        shares = found.current_shares
        assert row["Current"][0] == pytest.approx(sum(shares[: max(1, -(-len(shares) // 30))]), abs=1e-4)
    assert view.features.set_index("Feature").loc["income", "Missing"] == pytest.approx(10)


def test_long_histograms_are_added_up_and_lose_nothing():
    shares = [1 / 64] * 64
    bars = tab._bars(shares)
    assert len(bars) <= tab.MAX_HISTOGRAM_BARS
    assert bars[0] == pytest.approx(3 / 64, abs=1e-5)
    assert sum(bars) == pytest.approx(1, abs=1e-3)
    assert tab._bars([0.25, 0.75]) == [0.25, 0.75]


def test_the_cards_count_what_they_say(watched):
    monitoring = watched
    monitoring.log_performance("churn", "1.0.0", "fresh", 1.0, at=NOW + timedelta(days=39))
    monitoring.add_alert_rule("churn", "1.0.0", "control_chart")
    monitoring.evaluate_alerts()
    cards = {label: value for label, value, _ in view_of(monitoring).kpis}
    assert cards == {
        "Metrics out of control": "1 of 3", "Learning": "1", "Features drifted": "2 of 3",
        "Predictions": "7,000", "Open alerts": "1", "Newest data": "2 d ago",
    }  # fmt: skip


def test_without_batches_the_newest_data_are_those_of_the_metrics_and_without_both_there_are_none(monitoring):
    monitoring.set_reference("churn", "1.0.0", features(200))
    cards = {label: value for label, value, _ in view_of(monitoring).kpis}
    assert (cards["Newest data"], cards["Metrics out of control"], cards["Features drifted"]) == ("–", "–", "–")
    monitoring.log_features("churn", "1.0.0", features(200), at=NOW + timedelta(days=40))
    cards = {label: value for label, value, _ in view_of(monitoring).kpis}
    assert (cards["Newest data"], cards["Features drifted"]) == ("1 d ago", "0 of 3")


def test_a_row_of_baselines_is_of_its_own_baseline_the_present_one_first(watched):
    watched.generate_monitoring_report("churn", "1.0.0")
    watched.set_baseline("churn", "1.0.0", "accuracy", points=12, method="individuals")
    history = watched.baseline_history("churn", "1.0.0", "accuracy")
    frame = sections.baselines_frame(history)
    newest, row = history[-1], frame.iloc[0]
    assert frame["Holds"].tolist() == ["✓ now", *[""] * (len(history) - 1)]
    assert (row["By"], row["Points"], row["Limits"]) == ("hand", 12, "individuals chart")
    assert (row["Centre"], row["Sigma"]) == (formats.number(newest.center), formats.number(newest.sigma))
    assert row["From (UTC)"] == pd.Timestamp(newest.start_at)
    assert row["Until (UTC)"] == pd.Timestamp(newest.end_at)
    assert row["Frozen (UTC)"] == pd.Timestamp(newest.created_at)


def test_a_row_of_references_is_of_its_own_reference(watched):
    watched.set_reference("churn", "1.0.0", features(70)[["age"]])
    frame = stored.references_frame(watched.list_references("churn", "1.0.0"))
    assert frame["Holds"].tolist() == ["✓ now", ""]
    assert frame["What it is"].tolist() == ["–", "spring"]
    assert frame["Rows"].tolist() == [70, 2_000]
    assert frame["Features"].tolist() == [1, 3]
    assert frame["Batches"].tolist() == [0, 10]


def test_a_row_of_alerts_rules_and_addresses_is_of_its_own(watched):
    watched.add_alert_rule("churn", "1.0.0", "control_chart", "accuracy", severity="critical", cooldown_hours=2)
    watched.add_alert_sink("on call", "json://127.0.0.1:9/hook")
    watched.evaluate_alerts()
    (alert,) = watched.list_alerts("churn", "1.0.0")
    row = alerts.alerts_frame([alert]).iloc[0]
    assert (row["Status"], row["Severity"], row["About"]) == ("● open", "✗ critical", "accuracy")
    assert (row["What"], row["Bad points"], row["Acknowledged by"]) == (alert.message, alert.occurrences, "")
    assert row["Raised (UTC)"] == pd.Timestamp(alert.opened_at)
    assert row["Newest data (UTC)"] == pd.Timestamp(alert.evidence_at) == pd.Timestamp(NOW + timedelta(days=39))
    watched.acknowledge_alert(alert.id, "ada")
    watched.silence_alert(alert.id, 24)
    (alert,) = watched.list_alerts("churn", "1.0.0")
    row = alerts.alerts_frame([alert]).iloc[0]
    assert (row["Status"], row["Acknowledged by"]) == (alerts.STATUS_TEXT[alert.status], "ada")
    assert row["Silent until (UTC)"] == pd.Timestamp(alert.silenced_until)
    rule = alerts.rules_frame(watched.list_alert_rules("churn", "1.0.0")).iloc[0]
    assert rule.tolist() == ["accuracy out of control within 7 days", "", "✗ critical", "2 h", "yes"]
    sink = alerts._sinks_frame(watched.list_alert_sinks()).iloc[0]
    assert (sink["Name"], sink["Last sent"], sink["Waiting"], sink["Given up"]) == ("on call", "–", 1, 0)


def test_a_row_of_predictions_is_of_its_own_day(monitoring):
    log_predictions(monitoring)
    view = predictions.build_predictions(monitoring, "churn", "1.0.0")
    for position, part in enumerate(view.performance.buckets[::-1]):
        row = view.frame.iloc[position]
        assert row["From (UTC)"] == pd.Timestamp(part.start_at)
        assert (row["Predictions"], row["Labelled"]) == (part.n, part.n_labelled)
        assert row["Estimated accuracy"] == part.estimated.accuracy
        for score in ("accuracy", "precision", "recall", "f1"):
            said, known = row[predictions.SCORE_TEXT[score]], part.scores.get(score)
            assert said == known or (np.isnan(said) and known is None)
    cards = {label: value for label, value, _ in view.kpis}
    total = view.performance.total
    assert cards["Predictions"] == "400"
    assert cards["Labelled"] == "70 %"
    assert cards["Accuracy"] == formats.percent(total.scores["accuracy"])
    assert cards["Estimated accuracy"] == formats.percent(total.estimated.accuracy) == "80 %"


def test_nothing_logged_makes_no_cards(monitoring):
    feed(monitoring, days=3)
    view = predictions.build_predictions(monitoring, "churn", "1.0.0")
    assert (view.kpis, len(view.frame), view.scores) == ((), 0, ())


def test_numbers_are_scored_by_their_error(monitoring):
    said = [i + 0.25 for i in range(40)]
    right = [value + (0.5, -1.5)[i % 2] for i, value in enumerate(said)]
    monitoring.log_predictions("churn", "1.0.0", said, labels=right, at=NOW)
    view = predictions.build_predictions(monitoring, "churn", "1.0.0")
    cards = {label: value for label, value, _ in view.kpis}
    assert cards["Mean absolute error"] == "1"
    assert view.frame["Mean absolute error"].tolist() == [1.0]
    assert view.frame["Bias"].tolist() == [pytest.approx(view.performance.total.scores["bias"])]


# -- figures -----------------------------------------------------------------------------------------


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def test_the_control_chart_draws_points_limits_and_violations_where_they_are(watched):
    drift = view_of(watched).metric.drift
    drawn = traces(plot_control_chart(drift))
    assert list(drawn["in the window"].y) == drift.points.values.tolist()
    assert list(drawn["before the window"].y) == drift.history.values.tolist()
    assert list(drawn["worse"].x) == list(dict.fromkeys(v.at for v in drift.violations))
    assert drawn["worse"].marker.symbol == "x"
    last = drift.points[-1]
    assert (drawn["lower limits"].y[-1], drawn["upper limits"].y[-1]) == (last.lower, last.upper)
    third = drift.center + (last.upper - drift.center) / 3
    assert drawn["upper zone of 1/3"].y[-1] == pytest.approx(third)
    assert drawn["worse"].text[0].rstrip() == ", ".join(
        {"3-sigma": "3 sigma", "ewma": "EWMA", "cusum": "CUSUM"}[v.rule]
        for v in drift.violations if v.at == drift.violations[0].at
    )  # fmt: skip


def test_ewma_and_cusum_draw_their_sums_and_their_limits(watched):
    drift = view_of(watched).metric.drift
    (ewma,) = plot_ewma(drift).data
    assert list(ewma.y) == pytest.approx(drift.points.ewma.tolist())
    upper, lower = plot_cusum(drift).data
    assert list(upper.y) == pytest.approx(drift.points.cusum_high.tolist())
    assert list(lower.y) == pytest.approx((-drift.points.cusum_low).tolist())
    for figure, limit in ((plot_ewma(drift), drift.ewma_limit), (plot_cusum(drift), drift.cusum_limit)):
        assert {shape.y0 for shape in figure.layout.shapes} == {limit, -limit, 0.0}
    for figure in (plot_ewma, plot_cusum):
        empty = figure(dataclasses.replace(drift, points=drift.points[:0]))
        assert empty.layout.annotations[0].text == "no judged points"


def test_the_trend_ends_where_it_says_and_reaches_its_threshold(watched):
    drift = view_of(watched).metric.drift
    trend = dataclasses.replace(drift.trend, threshold=0.5, days_until_threshold=9.0)
    line, ahead = plot_trend(dataclasses.replace(drift, trend=trend)).data[-2:]
    assert (line.x[1], line.y[1]) == (trend.end_at, trend.intercept_at_end)
    days = (trend.end_at - trend.start_at).total_seconds() / 86_400
    assert line.y[0] == pytest.approx(trend.intercept_at_end - days * trend.slope_per_day)
    assert (ahead.name, ahead.y[1]) == ("threshold in 9 days", 0.5)
    assert ahead.x[1] - ahead.x[0] == timedelta(days=9)
    none = plot_trend(dataclasses.replace(drift, trend=None))
    assert none.layout.annotations[0].text == "a trend needs 8 points after the baseline"


def test_distributions_and_ranking_are_those_of_the_feature(watched):
    drift = view_of(watched).report.data_drift
    age, plan = drift.features["age"], drift.features["plan"]
    before, now = plot_feature(age).data
    assert (before.name, now.name) == ("reference", "current")
    assert list(before.y[:-1]) == list(age.reference_shares)
    assert list(now.y[:-1]) == list(age.current_shares)
    before, now = plot_feature(plan).data
    assert (list(before.x), list(before.y)) == (list(plan.bins), list(plan.reference_shares))
    assert list(now.y) == list(plan.current_shares)
    bars, thresholds = plot_drift_ranking(drift).data
    assert list(bars.x) == [found.psi for found in drift.features.values()]
    assert list(thresholds.x) == [found.psi_threshold for found in drift.features.values()]
    assert dict(zip(bars.y, bars.text, strict=True)) == {"age": "drifted", "income": "drifted", "plan": ""}
    none = plot_drift_ranking(dataclasses.replace(drift, features={}))
    assert none.layout.annotations[0].text == "no feature could be compared"


def test_dates_are_drawn_as_dates(monitoring):
    days = pd.to_datetime("2026-01-01", utc=True) + pd.to_timedelta(np.arange(300), unit="D")
    drift = monitoring.detect_data_drift(pd.DataFrame({"when": days}), pd.DataFrame({"when": days[100:]}))
    drawn = plot_feature(drift.features["when"]).data[0]
    assert datetime(2025, 12, 1, tzinfo=UTC) < drawn.x[0] < datetime(2026, 2, 1, tzinfo=UTC)


def test_roll_ups_and_segments_draw_the_means_of_their_own_series(monitoring):
    frame = pd.DataFrame(
        {"at": pd.to_datetime([NOW, NOW + timedelta(days=1)], utc=True), "value": [0.25, 0.75], "n_points": [3, 5]}
    )
    points, mean = plot_rollup(frame, "accuracy", "day").data
    assert (list(points.y), list(mean.y)) == ([3, 5], [0.25, 0.75])
    other = frame.assign(value=[1.0, 2.0])
    drawn = traces(plot_segments("accuracy", {"all traffic": frame, "eu": other}))
    assert (list(drawn["all traffic"].y), list(drawn["eu"].y)) == ([0.25, 0.75], [1.0, 2.0])


def test_scores_and_labels_are_drawn_by_day(monitoring):
    log_predictions(monitoring)
    performance = monitoring.prediction_performance("churn", "1.0.0")
    drawn = traces(plot_label_counts(performance))
    assert list(drawn["with a label"].y) == [part.n_labelled for part in performance.buckets]
    assert list(drawn["waiting for a label"].y) == [part.n - part.n_labelled for part in performance.buckets]
    drawn = traces(plot_prediction_scores(performance, "accuracy"))
    known = [part.scores["accuracy"] for part in performance.buckets if part.n_labelled]
    assert [y for y in drawn["realised, from labels"].y if y is not None] == known
    estimated = [part.estimated.accuracy for part in performance.buckets]
    assert list(drawn["estimated from probabilities"].y) == pytest.approx(estimated)


def test_figures_of_nothing_say_so(watched):
    history = watched.feature_history("churn", "1.0.0")
    drift = view_of(watched).metric.drift
    nothing = dataclasses.replace(drift, points=drift.points[:0], history=drift.history[:0])
    for figure, words in (
        (plot_no_data("<b>nothing"), "&lt;b&gt;nothing"),
        (plot_control_chart(nothing), "no points in this period"),
        (plot_psi_heatmap(dataclasses.replace(history, features=())), "no batches in this period"),
    ):
        assert figure.layout.annotations[0].text == words


# -- what few tests reach ----------------------------------------------------------------------------


def test_without_a_reference_there_is_no_history_of_drift(monitoring):
    feed(monitoring, days=3)
    assert tab.read_history(monitoring, "churn", "1.0.0", 7, "day", ["age"]) is None


def test_the_history_covers_the_window_and_is_bounded_by_its_comparisons(watched):
    week = tab.read_history(watched, "churn", "1.0.0", 7, "day", ["age"])
    assert 28 <= len(week.windows) <= 30
    quarter = tab.read_history(watched, "churn", "1.0.0", 90, "week", ["age"])
    assert 12 <= len(quarter.windows) <= 15
    many = tab.read_history(watched, "churn", "1.0.0", 90, "hour", ["age"] * 1_200)
    assert len(many.windows) <= 6


def test_a_version_whose_monitoring_ends_between_two_reads_is_told_and_another_can_be_chosen(
    app_test, watched, monkeypatch
):
    feed(watched, "stable", "2.0.0")

    def gone(*_arguments, **_options):
        raise NotFoundError("deleted meanwhile")

    monkeypatch.setattr(tab, "build_view", gone)
    test = visit(app_test, watch="churn:1.0.0")
    assert "This version is no longer monitored. Choose another one." in texts(test)
    assert set(test.selectbox(key="monitoring.model").options) == {"churn", "stable"}
    assert test.selectbox(key="monitoring.version").value == "1.0.0"


def test_a_value_is_logged_at_the_time_that_was_chosen(app_test, monitoring):
    feed(monitoring, days=3)
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.button(key="monitoring.log.open").click().run())
    healthy(test.segmented_control(key="monitoring.log.when").set_value("Another time").run())
    test.date_input(key="monitoring.log.day").set_value(datetime(2026, 3, 9).date())
    test.time_input(key="monitoring.log.time").set_value(datetime(2026, 3, 9, 15, 30).time())
    test.number_input(key="monitoring.log.value").set_value(0.5)
    test.text_input(key="monitoring.log.segment").set_value("country=CH")
    healthy(test.button(key="monitoring.log.confirm").click().run())
    stored_values = monitoring.performance_history("churn", "1.0.0", "accuracy", segment="country=CH")
    assert stored_values["at"].tolist() == [pd.Timestamp("2026-03-09 15:30", tz="UTC")]
    assert stored_values["value"].tolist() == [0.5]


def test_a_baseline_without_a_day_is_refused(app_test, watched):
    watched.set_baseline("churn", "1.0.0", "accuracy", points=30)
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.button(key="monitoring.baseline.open").click().run())
    assert "Holds now: 30 points" in texts(test)
    healthy(test.date_input(key="monitoring.baseline.end").set_value(None).run())
    healthy(test.button(key="monitoring.baseline.confirm").click().run())
    assert "choose both days first" in shown_errors(test)[0]


def test_a_comparison_that_needs_another_package_says_which(monitoring, monkeypatch):
    def missing(*_arguments, **_options):
        raise ModuleNotFoundError("scikit-learn is not installed; pip install scikit-learn")

    monkeypatch.setattr(ModelMonitoring, "detect_data_drift", missing)
    table = SimpleNamespace(name="a.csv", getbuffer=lambda: b"age\n1\n2\n")
    with pytest.raises(ValueError, match="pip install scikit-learn"):
        compare.compare_tables(monitoring, table, table, "domain_classifier", 0.2)


def test_two_tables_are_compared_in_their_order_and_by_the_given_threshold(monitoring):
    old, new = features(400), features(300, 9.0, 5)
    files = [
        SimpleNamespace(name="t.csv", getbuffer=lambda f=f: f.to_csv(index=False).encode()) for f in (old, new)
    ]  # fmt: skip
    drift = compare.compare_tables(monitoring, files[0], files[1], None, 0.2)
    assert (drift.n_reference, drift.n_current, drift.drifted_features) == (400, 300, ["age"])
    assert compare.compare_tables(monitoring, files[0], files[1], None, 5.0).drifted_features == []
    assert compare.together_sentence(drift) is None


@pytest.mark.parametrize(
    ("drifted", "said"),
    [
        (True, ("error", "red", "Together the features drifted: because (p < 0.0001).")),
        (False, ("check_circle", "green", "Together the features did not drift: because (p < 0.0001).")),
        (None, ("help", "gray", "Together: no verdict. Because.")),
    ],
)
def test_the_sentence_about_all_features_together(drifted, said):
    found = SimpleNamespace(multivariate=SimpleNamespace(drifted=drifted, reason="because", p_value=1e-9))
    assert compare.together_sentence(found) == said


def test_a_test_message_that_arrives_and_nothing_that_is_due_are_told(app_test, watched, monkeypatch):
    watched.add_alert_sink("on call", "json://127.0.0.1:9/hook")
    watched.add_alert_rule("churn", "1.0.0", "control_chart")
    watched.evaluate_alerts()
    asked = []
    monkeypatch.setattr(
        ModelMonitoring, "send_test_alert",
        lambda _self, name: asked.append(name) or SimpleNamespace(status="sent", error=None),
    )  # fmt: skip
    monkeypatch.setattr(ModelMonitoring, "deliver_alerts", lambda _self: [])
    query = {"monitoring.section": "Alerts", "monitoring.sink_name": "on call"}
    test = visit(app_test, watch="churn:1.0.0", **query)
    healthy(test.button(key="monitoring.sink.test").click().run())
    assert asked == ["on call"]
    assert "The test reached on call" in [toast.value for toast in test.toast]
    healthy(test.button(key="monitoring.sink.deliver").click().run())
    assert "No message is due yet" in [toast.value for toast in test.toast]


def test_a_rule_about_features_offers_those_of_the_reference_or_all_of_them(app_test, watched):
    feed(watched, "bare", "1.0.0")
    for watch, offered in (("churn:1.0.0", ["All of them", "age", "income", "plan"]), ("bare:1.0.0", ["All of them"])):
        test = visit(app_test, watch=watch, **{"monitoring.section": "Alerts"})
        healthy(test.button(key="monitoring.rule.open").click().run())
        healthy(test.selectbox(key="monitoring.rule.kind").set_value("feature_drift").run())
        assert test.selectbox(key="monitoring.rule.feature").options == offered
