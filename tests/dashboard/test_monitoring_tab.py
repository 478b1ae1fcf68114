"""The Monitoring tab: its view without Streamlit, and every widget's effect in AppTest."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from dashboard import monitoring_tab as tab
from dashboard.monitoring_details import report_json
from db import Database
from model_monitoring import ModelMonitoring
from tests.dashboard.conftest import healthy, replace_content, shown_errors, texts

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE = "![x](http://127.0.0.1:1/beacon.png) <b>bold</b> =1+1 :smile:"


def feed(monitoring, name="churn", version="1.0.0", *, days=40, drop=0.0, metric="accuracy"):
    """Log a daily rate with counts; on the last five days it is lower by `drop`."""
    draw = np.random.default_rng(7)
    for day in range(days):
        value = 0.92 + 0.004 * draw.standard_normal() - (drop if day >= days - 5 else 0.0)
        monitoring.log_performance(name, version, metric, value, 1_000, at=NOW + timedelta(days=day))


def features(rows=500, shift=0.0, seed=1):
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": draw.normal(40 + shift, 9, rows),
            "income": draw.lognormal(3, 0.4, rows),
            "plan": draw.choice(["basic", "plus", "pro"], rows, p=[0.5, 0.3, 0.2]),
        }
    )


@pytest.fixture(scope="session")
def watched_store(new_sqlite_store, tmp_path_factory):
    """A store with one version whose accuracy fell and whose age drifted in the last week, and a second, quiet one."""
    path = new_sqlite_store(tmp_path_factory.mktemp("watched") / "modeldesk.db")
    database = Database(path)
    monitoring = ModelMonitoring(database)
    feed(monitoring, "stable", "2.0.0")
    feed(monitoring, drop=0.05)
    feed(monitoring, metric="auc")
    monitoring.set_reference("churn", "1.0.0", features(2_000))
    for day in range(28, 40):
        shift = 9.0 if day >= 34 else 0.0
        monitoring.log_features("churn", "1.0.0", features(300, shift, day), at=NOW + timedelta(days=day))
    database.close()
    return path


@pytest.fixture
def watched(watched_store, store, monitoring):
    """What `watched_store` holds, in the store of the test."""
    replace_content(store.path, watched_store)
    return monitoring


# -- the view ----------------------------------------------------------------------------------------


def test_the_verdict_names_the_version_and_what_left_its_limits(watched):
    view = tab.build_view(watched, tab.Choices(name="churn", version="1.0.0"))
    assert view.report.status == "drift"
    assert view.verdict.startswith("churn 1.0.0: accuracy left its control limits")
    assert "age" in view.verdict
    assert view.verdict.endswith(".")


def test_the_metric_and_feature_that_need_attention_come_first_unless_others_are_chosen(watched):
    view = tab.build_view(watched, tab.Choices(name="churn", version="1.0.0"))
    assert view.metric.metric == "accuracy"
    assert view.metric_ids[0] == "accuracy"
    assert view.feature.feature == "age"
    assert view.feature_ids[0] == "age"
    chosen = tab.build_view(watched, tab.Choices(name="churn", version="1.0.0", metric="auc", feature="plan"))
    assert (chosen.metric.metric, chosen.feature.feature) == ("auc", "plan")
    assert len(chosen.violations) == len({v.at for v in chosen.metric.drift.violations})


def test_the_tables_say_verdicts_in_words_and_hold_no_nan_text(watched):
    view = tab.build_view(watched, tab.Choices(name="churn", version="1.0.0"))
    assert view.metrics["Status"].tolist()[0] == "✗ drift"
    assert dict(zip(view.features["Feature"], view.features["Verdict"], strict=True)) == {
        "age": "✗ drifted",
        "income": "✓ stable",
        "plan": "✓ stable",
    }
    assert len(view.features["Reference"].iloc[0]) <= tab.MAX_HISTOGRAM_BARS
    words = view.metrics.astype(str).to_csv() + " ".join(value for _, value, _ in view.kpis)
    assert "None" not in words


@pytest.fixture
def unreadable(watched, store):
    """The same, and the stored profiles of the features are of a format that nobody knows."""
    with sqlite3.connect(store.path) as connection:
        changed = connection.execute("UPDATE feature_profiles SET data = ?", (b"\x63broken",)).rowcount
    connection.close()
    assert changed == 3
    return watched


def test_metrics_are_judged_as_usual_when_a_stored_profile_cannot_be_read(watched, store, request):
    choices = tab.Choices(name="churn", version="1.0.0")
    whole = tab.build_view(watched, choices)
    request.getfixturevalue("unreadable")
    part = tab.build_view(watched, choices)
    assert "unknown format" in str(part.features_error)
    assert "unknown format" in part.report.reasons[0]
    pd.testing.assert_frame_equal(part.metrics, whole.metrics)
    pd.testing.assert_frame_equal(part.violations, whole.violations)
    assert part.metric_ids == whole.metric_ids
    for mine, theirs in zip(part.report.metrics, whole.report.metrics, strict=True):
        assert (mine.n_points, mine.last_value, mine.last_at) == (theirs.n_points, theirs.last_value, theirs.last_at)
        assert (mine.mean, mine.prediction_count) == (theirs.mean, theirs.prediction_count)
    names = ("start_at", "end_at", "open_alerts", "total_predictions", "n_predictions_logged", "version_id")
    assert [getattr(part.report, n) for n in names] == [getattr(whole.report, n) for n in names]
    assert (part.features_error is None, part.feature, len(part.features)) == (False, None, 0)


def test_features_that_cannot_be_read_show_their_sentence_and_the_other_sections_stay(app_test, unreadable):
    test = visit(app_test, watch="churn:1.0.0")
    assert not shown_errors(test)
    assert len(test.get("plotly_chart")) == 1
    assert "accuracy left its control limits" in texts(test)
    assert "the features cannot be judged" in texts(test)
    test = visit(app_test, watch="churn:1.0.0", **{"monitoring.section": "Features"})
    (error,) = shown_errors(test)
    assert error.startswith("Features: ")
    assert "unknown format" in error
    assert "1 of 2" in texts(test)
    assert test.button(key="monitoring.reference.first").label == "Set reference"
    for section in ("Predictions", "Alerts"):
        assert not shown_errors(visit(app_test, watch="churn:1.0.0", **{"monitoring.section": section}))


@pytest.mark.parametrize(
    ("broken", "section", "kept"),
    [
        ("charts.monitoring.plot_feature", "Features", "1 of 3 features drifted"),
        ("dashboard.monitoring_sections.read_history", "Features", "1 of 3 features drifted"),
        ("charts.monitoring.plot_control_chart", "Performance", "1 baseline"),
        ("dashboard.monitoring_sections.baselines_frame", "Performance", "violate a rule"),
        ("chain.links_of_watch", "Performance", "violate a rule"),
        ("dashboard.monitoring_alerts.render_alerts", "Alerts", "Open alerts"),
    ],
)
def test_a_part_that_fails_leaves_the_others_standing(app_test, watched, monkeypatch, broken, section, kept):
    def fail(*_arguments, **_options):
        raise ValueError("this part is broken")

    watched.detect_performance_drift("churn", "1.0.0", "accuracy")  # freezes a baseline
    monkeypatch.setattr(broken, fail)
    test = visit(app_test, watch="churn:1.0.0", **{"monitoring.section": section})
    assert ["this part is broken" in error for error in shown_errors(test)] == [True]
    assert kept in texts(test)
    assert len(test.get("plotly_chart")) == {"Features": 1, "Alerts": 0}.get(section, "chart" not in broken)


def test_a_version_without_reference_says_so_and_one_without_metrics_too(monitoring):
    monitoring.log_performance("new", "1.0.0", "accuracy", 0.9)
    view = tab.build_view(monitoring, tab.Choices(name="new", version="1.0.0"))
    assert "No reference" in view.reference
    assert view.feature is None
    assert view.report.status == "learning"
    monitoring.set_reference("bare", "1.0.0", features())
    bare = tab.build_view(monitoring, tab.Choices(name="bare", version="1.0.0"))
    assert bare.metric is None
    assert not len(bare.metrics)


def test_segments_are_series_of_their_own(monitoring):
    monitoring.log_performance("m", "1", "accuracy", 0.9, segment="country=CH")
    monitoring.log_performance("m", "1", "accuracy", 0.8)
    view = tab.build_view(
        monitoring, tab.Choices(name="m", version="1", metric=tab.series_id("accuracy", "country=CH"))
    )
    assert sorted(map(tab.series_name, view.metric_ids)) == ["accuracy", "accuracy (country=CH)"]
    assert view.metric.segment == "country=CH"


def test_every_rule_of_every_chart_has_words(watched):
    drift = watched.detect_performance_drift(
        "churn", "1.0.0", "accuracy", charts=("3-sigma", "ewma", "cusum", "nelson", "western-electric")
    )
    frame = tab.violations_frame(drift)
    assert len(frame) == len({v.at for v in drift.violations}) > 3
    assert frame["Time (UTC)"].is_monotonic_decreasing
    assert frame["Rules"].str.count(";").sum() == len(drift.violations) - len(frame)
    assert not frame["Rules"].str.contains("nelson-|western").any()


def test_the_json_report_is_strict_json(watched):
    report = watched.generate_monitoring_report("churn", "1.0.0")
    assert json.loads(report_json(report))["name"] == "churn"


# -- the widgets -------------------------------------------------------------------------------------


def visit(app_test, **query):
    """Open the tab by a link."""
    test = app_test("Monitoring")
    test.query_params["tab"] = "Monitoring"
    for name, value in query.items():
        test.query_params[name] = value
    return healthy(test.run())


def address(test, name):
    value = test.query_params[name]
    return value if isinstance(value, str) else value[-1]


def test_the_table_of_metrics_is_drawn_before_all_that_stands_above_it(app_test, watched, monkeypatch):
    from dashboard import components as ui

    drawn = []
    for name in ("table", "kpis", "chart"):
        draw = getattr(ui, name)
        monkeypatch.setattr(ui, name, lambda *a, _n=name, _draw=draw, **k: drawn.append(_n) or _draw(*a, **k))
    test = visit(app_test, watch="churn:1.0.0")
    assert drawn[:3] == ["table", "kpis", "chart"]
    tables = [table.value for table in test.dataframe]
    assert "Lower limit" in tables[0].columns


def test_an_empty_store_offers_a_snippet_and_the_forms(app_test):
    test = app_test("Monitoring")
    assert {"Load example data", "Log values", "Set reference"} <= {b.label for b in test.button}
    assert "log_performance" in test.code[0].value


def test_the_first_reference_can_be_set_for_a_version_that_nobody_watched(app_test, store):
    test = app_test("Monitoring")
    healthy(test.button(key="monitoring.reference.open").click().run())
    assert not shown_errors(test)
    test.file_uploader(key="monitoring.reference.file").upload("r.csv", b"age\n1\n2\n3\n", "text/csv")
    healthy(test.text_input(key="monitoring.reference.model.text").set_value("a/b").run())
    healthy(test.text_input(key="monitoring.reference.version.text").set_value("1.0.0").run())
    assert not shown_errors(test)
    healthy(test.button(key="monitoring.reference.confirm").click().run())
    assert "model name may not contain '/'" in shown_errors(test)[0]
    healthy(test.text_input(key="monitoring.reference.model.text").set_value("churn").run())
    healthy(test.button(key="monitoring.reference.confirm").click().run())
    assert address(test, "watch") == "churn:1.0.0"
    assert ModelMonitoring(store).list_references("churn", "1.0.0")[0].n_rows == 3


def test_the_first_value_can_be_logged_by_hand(app_test, store):
    test = app_test("Monitoring")
    healthy(test.button(key="monitoring.log.open").click().run())
    healthy(test.button(key="monitoring.log.confirm").click().run())
    assert "enter a value first" in shown_errors(test)[0]
    test.text_input(key="monitoring.log.model.text").set_value("churn")
    test.text_input(key="monitoring.log.version.text").set_value("1.0.0")
    test.text_input(key="monitoring.log.metric.text").set_value("accuracy")
    test.number_input(key="monitoring.log.value").set_value(0.91)
    test.number_input(key="monitoring.log.count").set_value(1200)
    healthy(test.button(key="monitoring.log.confirm").click().run())
    history = ModelMonitoring(store).performance_history("churn", "1.0.0", "accuracy")
    assert history["value"].tolist() == [0.91]
    assert history["prediction_count"].tolist() == [1200]
    assert "churn 1.0.0" in texts(test)


def test_model_version_window_and_metric_change_what_is_shown(app_test, watched):
    feed(watched, "churn", "0.9.0", days=12)
    test = app_test("Monitoring")
    assert test.selectbox(key="monitoring.model").value in {"churn", "stable"}
    healthy(test.selectbox(key="monitoring.model").set_value("churn").run())
    healthy(test.selectbox(key="monitoring.version").set_value("1.0.0").run())
    assert "churn 1.0.0: accuracy left its control limits" in texts(test)
    assert address(test, "watch") == "churn:1.0.0"
    before = texts(test)
    healthy(test.segmented_control(key="monitoring.window").set_value("14 days").run())
    assert texts(test) != before
    healthy(test.selectbox(key="monitoring.metric.box").set_value("auc").run())
    assert address(test, "monitoring.metric") == "auc"
    healthy(test.selectbox(key="monitoring.model").set_value("stable").run())
    assert "stable 2.0.0" in texts(test)


@pytest.mark.parametrize("kind", tab.CHARTS)
def test_each_chart_is_drawn(app_test, watched, kind):
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.segmented_control(key="monitoring.chart").set_value(kind).run())
    charts = test.get("plotly_chart")
    assert len(charts) == 1
    assert json.loads(charts[0].proto.spec)["data"]


def test_features_show_the_table_the_distribution_and_the_heat_map(app_test, watched):
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.segmented_control(key="monitoring.section").set_value("Features").run())
    assert "1 of 3 features drifted" in texts(test)
    assert len(test.get("plotly_chart")) == 2
    healthy(test.selectbox(key="monitoring.feature.box").set_value("plan").run())
    titles = [json.loads(chart.proto.spec)["layout"]["title"]["text"] for chart in test.get("plotly_chart")]
    assert titles[0].startswith("plan")
    days = len(json.loads(test.get("plotly_chart")[1].proto.spec)["data"][0]["x"])
    healthy(test.segmented_control(key="monitoring.bucket").set_value("week").run())
    assert len(json.loads(test.get("plotly_chart")[1].proto.spec)["data"][0]["x"]) < days


def test_a_reference_and_a_batch_are_uploaded_as_csv_and_parquet(app_test, monitoring, tmp_path):
    monitoring.log_performance("churn", "1.0.0", "accuracy", 0.9)
    test = app_test("Monitoring")
    healthy(test.button(key="monitoring.reference.open").click().run())
    assert test.button(key="monitoring.reference.confirm").disabled  # until a file is there
    content = features(800).to_csv(index=False).encode()
    test.file_uploader(key="monitoring.reference.file").upload("reference.csv", content, "text/csv")
    healthy(test.run())
    healthy(test.button(key="monitoring.reference.confirm").click().run())
    assert monitoring.list_monitored()[0]["has_reference"]
    healthy(test.button(key="monitoring.batch.open").click().run())
    path = tmp_path / "batch.parquet"
    features(200, shift=12).to_parquet(path)
    test.file_uploader(key="monitoring.batch.file").upload("b.parquet", path.read_bytes(), "application/octet-stream")
    healthy(test.run())
    healthy(test.button(key="monitoring.batch.confirm").click().run())
    drift = monitoring.detect_feature_drift("churn", "1.0.0")
    assert drift.n_current == 200
    assert drift.drifted_features == ["age"]


def test_a_bad_upload_changes_nothing_and_says_what_to_do(app_test, watched):
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.button(key="monitoring.batch.open").click().run())
    test.file_uploader(key="monitoring.batch.file").upload("b.parquet", b"\x80\x04cos\nsystem\n", "x/y")
    healthy(test.run())
    healthy(test.button(key="monitoring.batch.confirm").click().run())
    assert "this is not a Parquet file" in shown_errors(test)[0]
    assert watched.detect_feature_drift("churn", "1.0.0").n_current == 300 * 8


def test_a_baseline_is_set_by_hand(app_test, watched):
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.button(key="monitoring.baseline.open").click().run())
    test.date_input(key="monitoring.baseline.end").set_value((NOW + timedelta(days=19)).date())
    test.selectbox(key="monitoring.baseline.method").set_value("Individuals chart")
    healthy(test.button(key="monitoring.baseline.confirm").click().run())
    latest = watched.baseline_history("churn", "1.0.0", "accuracy")[-1]
    assert (latest.source, latest.n, latest.method) == ("explicit", 20, "individuals")
    assert "set by hand" in texts(test)


def test_a_baseline_of_too_few_points_is_refused_in_words(app_test, watched):
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.button(key="monitoring.baseline.open").click().run())
    test.date_input(key="monitoring.baseline.end").set_value((NOW + timedelta(days=2)).date())
    healthy(test.button(key="monitoring.baseline.confirm").click().run())
    assert "needs at least 8 points" in shown_errors(test)[0]


def test_a_link_to_a_version_that_is_not_watched_says_so(app_test, watched):
    test = visit(app_test, watch="gone:9.9.9")
    assert "gone 9.9.9 is not monitored" in texts(test)


def test_the_links_lead_to_the_version_and_on_to_its_run(app_test, seed, store):
    feed(ModelMonitoring(store), "churn", "1.1.0", days=12)
    test = visit(app_test, watch="churn:1.1.0")
    links = [b for b in test.button if b.key.startswith("monitoring.link.")]
    assert any("Registered version" in b.label for b in links)
    assert any("rained" in b.label for b in links)
    version = next(b for b in links if b.key.startswith("monitoring.link.version"))
    healthy(version.click().run())
    assert (address(test, "version"), address(test, "tab")) == (seed.versions[1], "Registry")


def test_viewers_see_everything_and_change_nothing(app_test, watched, monkeypatch):
    from dashboard import access

    person = access.Person(name="eve", can_edit=False, signed_in=False)
    monkeypatch.setattr(access, "require_person", lambda: person)
    test = app_test("Monitoring")
    for key in ("log.open", "baseline.open", "reference.open", "batch.open"):
        assert test.button(key=f"monitoring.{key}").disabled


def test_hostile_metric_and_feature_names_are_shown_verbatim(app_test, monitoring):
    for day in range(12):
        monitoring.log_performance("m", "1", HOSTILE, 0.9, at=NOW + timedelta(days=day))
    monitoring.set_reference("m", "1", {HOSTILE: list(range(200)), "plain": list(range(200))})
    monitoring.log_features("m", "1", {HOSTILE: list(range(100, 300)), "plain": list(range(200))})
    test = app_test("Monitoring")
    for section in tab.SECTIONS:
        healthy(test.segmented_control(key="monitoring.section").set_value(section).run())
        for element in [*test.markdown, *test.caption]:
            assert "![x](http" not in str(element.value) or "`" in str(element.value)


# -- alerts ------------------------------------------------------------------------------------------


def alerts(app_test, **query):
    return visit(app_test, **{"watch": "churn:1.0.0", "monitoring.section": "Alerts"} | query)


def test_a_rule_is_added_evaluated_acknowledged_silenced_and_deleted(app_test, watched):
    test = alerts(app_test)
    assert "there is no rule yet" in texts(test)
    assert test.button(key="monitoring.evaluate").disabled
    healthy(test.button(key="monitoring.rule.open").click().run())
    test.selectbox(key="monitoring.rule.severity").set_value("critical")
    healthy(test.button(key="monitoring.rule.confirm").click().run())
    assert "1 rule" in texts(test)
    healthy(test.button(key="monitoring.evaluate").click().run())
    found = watched.list_alerts("churn", "1.0.0")
    assert [(a.subject, a.status, a.severity) for a in found] == [("accuracy", "open", "critical")]
    assert "1 open alert" in texts(test)
    healthy(test.button(key="monitoring.acknowledge").click().run())
    assert watched.list_alerts("churn", "1.0.0")[0].status == "acknowledged"
    assert watched.list_alerts("churn", "1.0.0")[0].acknowledged_by
    healthy(test.button(key="monitoring.silence.24").click().run())
    assert watched.list_alerts("churn", "1.0.0")[0].status == "silenced"
    rule = watched.list_alert_rules("churn", "1.0.0")[0]
    test = alerts(app_test, **{"monitoring.rule_id": rule.id})
    healthy(test.button(key="monitoring.rule.delete").click().run())
    assert watched.list_alert_rules("churn", "1.0.0") == []
    assert "0 open alerts" in texts(test)
    healthy(test.toggle(key="monitoring.resolved").set_value(True).run())
    assert len(test.dataframe) == 1


@pytest.mark.parametrize(
    ("kind", "values", "words"),
    [
        ("metric_threshold", {"below": 0.9}, "accuracy below 0.9"),
        ("feature_drift", {"feature": "age"}, "age drifted within 7 days"),
        ("missing_data", {"share": 0.2}, "a feature has 20 % missing within 7 days"),
        ("no_data", {"hours": 12.0}, "nothing logged for 12 hours"),
        ("control_chart", {"metric": "auc"}, "auc out of control within 7 days"),
    ],
)
def test_every_kind_of_rule_can_be_added_and_reads_as_a_sentence(app_test, watched, kind, values, words):
    from dashboard.monitoring_alerts import rule_words

    test = alerts(app_test)
    healthy(test.button(key="monitoring.rule.open").click().run())
    healthy(test.selectbox(key="monitoring.rule.kind").set_value(kind).run())
    for name, value in values.items():
        if name == "metric":
            test.selectbox(key=f"monitoring.rule.{kind}.metric").set_value(value)
        elif name == "feature":
            test.selectbox(key=f"monitoring.rule.{name}").set_value(value)
        elif name == "share":
            test.slider(key=f"monitoring.rule.{name}").set_value(value)
        else:
            test.number_input(key=f"monitoring.rule.{name}").set_value(value)
    healthy(test.button(key="monitoring.rule.confirm").click().run())
    assert [rule_words(rule) for rule in watched.list_alert_rules("churn", "1.0.0")] == [words]


def test_a_threshold_without_a_value_is_refused(app_test, watched):
    test = alerts(app_test)
    healthy(test.button(key="monitoring.rule.open").click().run())
    healthy(test.selectbox(key="monitoring.rule.kind").set_value("metric_threshold").run())
    healthy(test.button(key="monitoring.rule.confirm").click().run())
    assert "needs above=..., below=..." in shown_errors(test)[0]


def test_the_dashboard_refuses_addresses_inside_the_network(app_test, watched):
    test = alerts(app_test)
    healthy(test.button(key="monitoring.sink.open").click().run())
    test.text_input(key="monitoring.sink.name").set_value("inside")
    test.text_input(key="monitoring.sink.url").set_value("https://127.0.0.1/hook")
    healthy(test.button(key="monitoring.sink.confirm").click().run())
    assert shown_errors(test)
    assert watched.list_alert_sinks() == []


def test_an_address_set_by_an_operator_is_tested_and_deleted(app_test, watched):
    watched.add_alert_sink("dead", "json://127.0.0.1:9/hook")
    test = alerts(app_test, **{"monitoring.sink_name": "dead"})
    healthy(test.button(key="monitoring.sink.test").click().run())
    assert any("did not reach dead" in toast.value for toast in test.toast)
    healthy(test.button(key="monitoring.sink.delete").click().run())
    assert watched.list_alert_sinks() == []
