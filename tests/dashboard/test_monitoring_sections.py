"""Roll-ups, segments, baselines, predictions and the comparison of two tables in the Monitoring tab."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from charts.monitoring import plot_control_chart, plot_psi_heatmap
from charts.monitoring_series import plot_label_counts, plot_prediction_scores, plot_rollup, plot_segments
from dashboard import monitoring_compare as compare
from dashboard import monitoring_predictions as predictions
from dashboard import monitoring_sections as sections
from dashboard import monitoring_tab as tab
from dashboard.monitoring_alerts import rule_words
from tests.dashboard.conftest import healthy, shown_errors, texts
from tests.dashboard.test_monitoring_tab import HOSTILE, NOW, address, features, feed, visit


def log_predictions(monitoring, *, days=10, per_day=40, labelled=7, right=0.8, seed=3):
    """Log a two-class model that says 0.8 and is right in a share `right`; the last days have no labels yet."""
    draw = np.random.default_rng(seed)
    for day in range(days):
        said = draw.choice(["stay", "leave"], per_day).tolist()
        hits = draw.random(per_day) < right
        other = {"stay": "leave", "leave": "stay"}
        truth = [word if hit else other[word] for word, hit in zip(said, hits, strict=True)]
        monitoring.log_predictions(
            "churn", "1.0.0", said, probabilities=[0.8] * per_day, labels=truth if day < labelled else None,
            prediction_ids=[f"{day}-{i}" for i in range(per_day)], at=NOW + timedelta(days=day),
        )  # fmt: skip


def section(app_test, name, **query):
    return visit(app_test, **{"watch": "churn:1.0.0", "monitoring.section": name} | query)


def specs(test):
    return [json.loads(chart.proto.spec) for chart in test.get("plotly_chart")]


# -- performance -------------------------------------------------------------------------------------


def test_a_roll_up_can_be_seen_by_day_week_and_month(app_test, monitoring):
    feed(monitoring)
    test = section(app_test, "Performance", **{"monitoring.chart": "Roll-up"})
    lengths = []
    for bucket in ("day", "week", "month"):
        healthy(test.segmented_control(key="monitoring.rollup_per").set_value(bucket).run())
        lengths.append(len(specs(test)[0]["data"][0]["x"]))
    assert lengths[0] == 40
    assert lengths == sorted(lengths, reverse=True)
    assert "month" in specs(test)[0]["layout"]["title"]["text"]


def test_a_roll_up_is_the_mean_of_its_points(monitoring):
    for hour, value in enumerate((0.9, 0.8, 0.7)):
        monitoring.log_performance("churn", "1.0.0", "accuracy", value, at=NOW + timedelta(hours=hour))
    choices = tab.Choices(name="churn", version="1.0.0")
    frame = sections.rollup_frame(monitoring, choices, "accuracy", None, "day", NOW + timedelta(days=1))
    assert frame["value"].tolist() == [pytest.approx(0.8)]
    assert frame["n_points"].tolist() == [3]


def test_segments_are_drawn_beside_the_whole_traffic(app_test, monitoring):
    for day in range(10):
        for segment in (None, "country=CH", "country=DE"):
            monitoring.log_performance("churn", "1.0.0", "accuracy", 0.9, at=NOW + timedelta(days=day), segment=segment)
    test = section(app_test, "Performance", **{"monitoring.chart": "By segment"})
    assert [trace["name"] for trace in specs(test)[0]["data"]] == ["all traffic", "country=CH", "country=DE"]


def test_another_version_of_the_model_is_watched(app_test, monitoring):
    feed(monitoring)
    feed(monitoring, version="2.0.0", days=12)
    test = section(app_test, "Performance")
    healthy(test.selectbox(key="monitoring.version").set_value("2.0.0").run())
    assert address(test, "watch") == "churn:2.0.0"
    assert "churn 2.0.0" in texts(test)


def test_every_baseline_is_listed_and_the_one_that_holds_is_marked(app_test, monitoring):
    feed(monitoring)
    for end in (15, 20):
        monitoring.set_baseline("churn", "1.0.0", "accuracy", start=NOW, end=NOW + timedelta(days=end))
    test = section(app_test, "Performance")
    assert "2 baselines" in texts(test)
    frame = next(table.value for table in test.dataframe if "Holds" in table.value)
    assert frame["Holds"].tolist() == ["✓ now", ""]
    assert frame["Points"].tolist() == [21, 16]
    assert set(frame["By"]) == {"hand"}


def test_the_heat_map_compares_no_more_than_it_may(monitoring):
    asked = []

    class Recorder:
        def feature_history(self, name, version, *, bucket, days, features):
            asked.append(days)

    for n_features in (3, 200, 5_000):
        tab.read_history(Recorder(), "churn", "1.0.0", 7, "day", ["x"] * n_features)
    assert asked == [28, 6, 4]


def test_the_heat_map_shows_the_most_drifted_of_many_features(app_test, monitoring):
    def frame(shift):
        draw = np.random.default_rng(5)
        return pd.DataFrame({f"f{i:02d}": draw.normal(shift if i == 33 else 0.0, 1.0, 300) for i in range(40)})

    monitoring.set_reference("churn", "1.0.0", frame(0.0))
    monitoring.log_features("churn", "1.0.0", frame(3.0), at=NOW)
    test = section(app_test, "Features")
    heat = specs(test)[1]["data"][0]
    assert len(heat["y"]) == tab.HEAT_MAP_FEATURES
    assert heat["y"][0] == "f33"
    assert "The 20 most drifted of 40 features" in texts(test)


def test_a_history_of_some_features_is_that_part_of_the_whole(monitoring):
    monitoring.set_reference("churn", "1.0.0", features(500))
    monitoring.log_features("churn", "1.0.0", features(300, 9.0).assign(extra=1.0), at=NOW)
    whole = monitoring.feature_history("churn", "1.0.0", days=2)
    part = monitoring.feature_history("churn", "1.0.0", days=2, features=["plan", "age"])
    assert set(part.features) == {"plan", "age"}
    assert set(whole.features) == {"plan", "age", "income", "extra"}
    for name in part.features:
        assert part.psi[part.features.index(name)] == whole.psi[whole.features.index(name)]
    assert part.n_rows == whole.n_rows


def test_more_rules_mark_more_points_and_the_verdict_stays(app_test, monitoring):
    feed(monitoring, drop=0.05)
    test = section(app_test, "Performance", **{"monitoring.window": "30 days"})
    verdict = [m.value for m in test.markdown if "left its control limits" in str(m.value)]
    before = next(table.value for table in test.dataframe if "Rules" in table.value)
    healthy(test.pills(key="monitoring.rules_of").set_value(["3-sigma", "nelson"]).run())
    after = next(table.value for table in test.dataframe if "Rules" in table.value)
    assert after["Rules"].str.contains("one point beyond 3 sigma").any()
    assert not before["Rules"].str.contains("one point beyond 3 sigma").any()
    assert not after["Rules"].str.contains("EWMA").any()
    assert [m.value for m in test.markdown if "left its control limits" in str(m.value)] == verdict
    assert test.query_params["monitoring.rules_of"] == ["3-sigma", "nelson"]


# -- predictions -------------------------------------------------------------------------------------


def test_scores_come_from_the_labels_and_the_estimate_from_the_probabilities(monitoring):
    log_predictions(monitoring)
    view = predictions.build_predictions(monitoring, "churn", "1.0.0")
    shown = {label: value for label, value, _ in view.kpis}
    assert shown["Predictions"] == "400"
    assert shown["Labelled"] == "70 %"
    assert shown["Estimated accuracy"] == "80 %"
    assert view.is_calibrated
    assert view.frame["Labelled"].tolist() == [0, 0, 0, *[40] * 7]
    assert view.frame["Accuracy"].isna().tolist()[:3] == [True] * 3
    assert "None" not in view.calibration


def test_an_estimate_that_promises_too_much_is_not_to_be_trusted(monitoring):
    log_predictions(monitoring, right=0.5)
    view = predictions.build_predictions(monitoring, "churn", "1.0.0")
    assert view.is_calibrated is False
    assert view.calibration.startswith("Do not trust the estimate: the probabilities promise 80 %")


def test_too_few_labels_leave_the_calibration_open(monitoring):
    log_predictions(monitoring, labelled=0)
    view = predictions.build_predictions(monitoring, "churn", "1.0.0")
    assert view.is_calibrated is None
    assert "30 are needed" in view.calibration


def test_numbers_are_scored_as_a_regression(monitoring):
    values = [float(i) for i in range(50)]
    monitoring.log_predictions("churn", "1.0.0", values, labels=[v + 1 for v in values], at=NOW)
    view = predictions.build_predictions(monitoring, "churn", "1.0.0")
    assert {label: value for label, value, _ in view.kpis}["Mean absolute error"] == "1"
    assert "rmse" in view.scores


def test_the_section_shows_scores_by_time_and_follows_its_controls(app_test, monitoring):
    log_predictions(monitoring)
    test = section(app_test, "Predictions", **{"monitoring.window": "30 days"})
    assert "The estimate can be trusted" in texts(test)
    assert len(specs(test)) == 2
    assert [trace["name"] for trace in specs(test)[0]["data"]][-1] == "realised, from labels"
    days = len(next(table.value for table in test.dataframe if "Labelled" in table.value))
    healthy(test.segmented_control(key="monitoring.predictions_per").set_value("week").run())
    assert len(next(table.value for table in test.dataframe if "Labelled" in table.value)) < days
    averaged = next(table.value for table in test.dataframe if "Labelled" in table.value)["Recall"].tolist()
    healthy(test.text_input(key="monitoring.positive").set_value("leave").run())
    assert next(table.value for table in test.dataframe if "Labelled" in table.value)["Recall"].tolist() != averaged
    healthy(test.selectbox(key="monitoring.score").set_value("recall").run())
    assert specs(test)[0]["layout"]["title"]["text"].startswith("Recall")
    assert address(test, "monitoring.score") == "recall"


def test_without_predictions_the_section_shows_how_to_log_them(app_test, monitoring):
    feed(monitoring)
    test = section(app_test, "Predictions")
    assert "No prediction was logged in this window" in texts(test)
    assert "log_labels" in test.code[0].value


def test_predictions_are_uploaded_and_their_labels_arrive_later(app_test, monitoring):
    feed(monitoring, days=3)
    test = section(app_test, "Predictions")
    healthy(test.button(key="monitoring.predictions.open").click().run())
    assert test.button(key="monitoring.predictions.confirm").disabled  # until a file is there
    at = (NOW + timedelta(days=2)).isoformat()
    rows = "\n".join(f"00{i},{'stay' if i % 2 else 'leave'},0.9,{at}" for i in range(40))
    content = f"prediction_id,prediction,probability,at\n{rows}\n".encode()
    test.file_uploader(key="monitoring.predictions.file").upload("p.csv", content, "text/csv")
    healthy(test.run())
    healthy(test.button(key="monitoring.predictions.confirm").click().run())
    assert "Added 40 predictions" in [toast.value for toast in test.toast]
    healthy(test.button(key="monitoring.labels.open").click().run())
    labels = "prediction_id,label\n" + "\n".join(f"00{i},stay" for i in range(30)) + "\nunknown,stay\n"
    test.file_uploader(key="monitoring.labels.file").upload("l.csv", labels.encode(), "text/csv")
    healthy(test.run())
    healthy(test.button(key="monitoring.labels.confirm").click().run())
    assert "30 labels found a prediction; 1 wait for theirs" in [toast.value for toast in test.toast]
    total = monitoring.prediction_performance("churn", "1.0.0").total
    assert (total.n, total.n_labelled) == (40, 30)


def test_whole_numbers_in_a_file_are_the_classes_that_a_notebook_logged(monitoring):
    frame = pd.DataFrame({"prediction_id": ["a", "b"], "prediction": [1, 0], "label": [1.0, None]})
    monitoring.log_predictions("churn", "1.0.0", **predictions.predictions_from_table(frame))
    total = monitoring.prediction_performance("churn", "1.0.0").total
    assert (total.n_labelled, total.scores["accuracy"]) == (1, 1.0)


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"label": ["a"]}, "'prediction' is missing; the file has 'label'"),
        ({"prediction": ["a"], "score": [1]}, "unknown column 'score'"),
    ],
)
def test_a_file_of_predictions_that_does_not_fit_is_refused(frame, said):
    with pytest.raises(ValueError, match=said):
        predictions.predictions_from_table(pd.DataFrame(frame))


def test_labels_of_a_file_are_read_or_refused_by_row():
    frame = pd.DataFrame({"prediction_id": ["a", "b", "a"], "label": ["x", None, "x"]})
    assert predictions.labels_from_table(frame) == {"a": "x"}
    with pytest.raises(ValueError, match="row 2: 'a' stands twice"):
        predictions.labels_from_table(pd.DataFrame({"prediction_id": ["a", "a"], "label": ["x", "y"]}))
    with pytest.raises(ValueError, match="row 1 has no prediction_id"):
        predictions.labels_from_table(pd.DataFrame({"prediction_id": [None], "label": ["y"]}))
    with pytest.raises(ValueError, match="no row has a label"):
        predictions.labels_from_table(pd.DataFrame({"prediction_id": ["a"], "label": [None]}))


# -- two tables --------------------------------------------------------------------------------------


def test_two_tables_are_compared_by_feature_and_together(app_test, monitoring):
    feed(monitoring)
    test = section(app_test, "Features", **{"monitoring.compare": "yes"})
    test.session_state["monitoring.compare"] = True
    healthy(test.run())
    assert test.button(key="monitoring.compare.confirm").disabled
    for key, shift in (("reference", 0.0), ("current", 9.0)):
        content = features(400, shift).to_csv(index=False).encode()
        test.file_uploader(key=f"monitoring.compare.{key}").upload(f"{key}.csv", content, "text/csv")
    healthy(test.run())
    healthy(test.button(key="monitoring.compare.confirm").click().run())
    words = texts(test)
    assert "1 of 3 features drifted" in words
    assert "Together the features drifted: a classifier tells" in words
    assert len(specs(test)) == 1
    healthy(test.segmented_control(key="monitoring.compare.together").set_value("Principal components").run())
    healthy(test.button(key="monitoring.compare.confirm").click().run())
    assert "reconstruction error" in texts(test)
    assert monitoring.list_monitored()[0]["has_reference"] is False


def test_a_comparison_that_cannot_be_made_together_says_so(monitoring):
    one = pd.DataFrame({"age": [1.0, 2.0, 3.0]})
    drift = monitoring.detect_data_drift(one, one, multivariate="pca")
    assert compare.together_sentence(drift)[2].startswith("Together: no verdict. Fewer than two columns")
    assert compare.together_sentence(monitoring.detect_data_drift(one, one)) is None


def test_a_file_that_is_no_table_is_refused(app_test, monitoring):
    feed(monitoring)
    test = section(app_test, "Features")
    test.session_state["monitoring.compare"] = True
    healthy(test.run())
    test.file_uploader(key="monitoring.compare.reference").upload("a.csv", b"age\n1\n", "text/csv")
    test.file_uploader(key="monitoring.compare.current").upload("b.parquet", b"\x80\x04", "x/y")
    healthy(test.run())
    healthy(test.button(key="monitoring.compare.confirm").click().run())
    assert "this is not a Parquet file" in shown_errors(test)[0]


def test_the_importance_of_features_is_given_with_the_reference(app_test, monitoring):
    feed(monitoring)
    test = section(app_test, "Features")
    healthy(test.button(key="monitoring.reference.open").click().run())
    test.file_uploader(key="monitoring.reference.file").upload(
        "r.csv", features(300).to_csv(index=False).encode(), "text/csv"
    )
    healthy(test.run())
    test.text_area(key="monitoring.reference.importances").set_value("plan = much")
    healthy(test.button(key="monitoring.reference.confirm").click().run())
    assert "'plan' must be a number" in shown_errors(test)[0]
    test.text_area(key="monitoring.reference.importances").set_value("plan = 0.7\nage = 0.1")
    healthy(test.button(key="monitoring.reference.confirm").click().run())
    monitoring.log_features("churn", "1.0.0", features(300, 9.0), at=NOW)
    assert monitoring.detect_feature_drift("churn", "1.0.0").features["plan"].importance == 0.7


# -- alerts ------------------------------------------------------------------------------------------


def test_a_rule_watches_a_segment_by_the_rules_that_were_chosen(app_test, monitoring):
    feed(monitoring)
    monitoring.log_performance("churn", "1.0.0", "accuracy", 0.9, segment="country=CH")
    test = section(app_test, "Alerts")
    healthy(test.button(key="monitoring.rule.open").click().run())
    healthy(test.selectbox(key="monitoring.rule.control_chart.metric").set_value("accuracy").run())
    test.selectbox(key="monitoring.rule.control_chart.segment").set_value("country=CH")
    test.multiselect(key="monitoring.rule.charts").set_value(["nelson"])
    healthy(test.button(key="monitoring.rule.confirm").click().run())
    rule = monitoring.list_alert_rules("churn", "1.0.0")[0]
    assert (rule.subject, rule.segment, list(rule.options["charts"])) == ("accuracy", "country=CH", ["nelson"])


def test_waiting_messages_are_sent_by_hand(app_test, monitoring):
    feed(monitoring, drop=0.05)
    monitoring.add_alert_sink("dead", "json://127.0.0.1:9/hook")
    test = section(app_test, "Alerts")
    assert test.button(key="monitoring.sink.deliver").disabled
    monitoring.add_alert_rule("churn", "1.0.0", "control_chart")
    monitoring.evaluate_alerts()
    test = section(app_test, "Alerts")
    healthy(test.button(key="monitoring.sink.deliver").click().run())
    assert "Sent 0 of 1 message" in [toast.value for toast in test.toast]
    assert monitoring.list_alert_sinks()[0].pending == 1


# -- figures -----------------------------------------------------------------------------------------


def test_the_figures_have_titles_units_and_words_for_nothing(monitoring):
    log_predictions(monitoring)
    performance = monitoring.prediction_performance("churn", "1.0.0")
    frame = pd.DataFrame(
        {"at": pd.to_datetime([NOW, NOW + timedelta(days=1)], utc=True), "value": [0.9, float("nan")],
         "n_points": [3, 0]}
    )  # fmt: skip
    figures = [
        plot_rollup(frame, HOSTILE, "day"), plot_segments(HOSTILE, {HOSTILE: frame}),
        plot_prediction_scores(performance, "accuracy"), plot_label_counts(performance),
    ]  # fmt: skip
    for figure in figures:
        assert figure.layout.title.text
        assert figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text
        assert "<b>" not in figure.to_json().replace("\\u003c", "<").replace("<br>", "")
        assert "NaN" not in figure.to_json()
    for empty in (plot_rollup(frame[:0], "m", "day"), plot_segments("m", {})):
        assert empty.layout.annotations[0].text == "no points in this period"


def test_a_single_instant_stands_among_days_and_not_milliseconds(monitoring):
    monitoring.log_performance("churn", "1.0.0", "accuracy", 0.9, at=NOW)
    monitoring.log_predictions("churn", "1.0.0", ["a", "b"], probabilities=[0.8, 0.9], at=NOW)
    performance = monitoring.prediction_performance("churn", "1.0.0")
    frame = monitoring.performance_history("churn", "1.0.0", "accuracy", bucket="day")
    for figure in (
        plot_control_chart(monitoring.detect_performance_drift("churn", "1.0.0", "accuracy")),
        plot_rollup(frame, "accuracy", "day"), plot_segments("accuracy", {"all traffic": frame}),
        plot_prediction_scores(performance, "accuracy"), plot_label_counts(performance),
    ):  # fmt: skip
        first, last = figure.layout.xaxis.range
        assert last - first == timedelta(days=2)


def test_without_a_label_no_line_of_labels_is_in_the_legend(monitoring):
    monitoring.log_predictions("churn", "1.0.0", ["a", "b"], probabilities=[0.8, 0.9], at=NOW)
    figure = plot_prediction_scores(monitoring.prediction_performance("churn", "1.0.0"), "accuracy")
    assert not [trace.name for trace in figure.data if trace.name.startswith("realised")]


def test_the_heat_map_begins_with_the_first_window_that_has_data(monitoring):
    monitoring.set_reference("churn", "1.0.0", features(300))
    for day in (0, 3):
        monitoring.log_features("churn", "1.0.0", features(200, 9.0, day), at=NOW + timedelta(days=day, hours=1))
    history = monitoring.feature_history("churn", "1.0.0", days=20)
    figure = plot_psi_heatmap(history)
    heat, crosses = figure.data
    assert len(history.windows) > 4
    assert list(heat.x) == list(history.windows[-4:])
    assert [value is None for value in heat.z[0]] == [False, True, True, False]
    assert (crosses.x[0], crosses.y[0]) == (heat.x[0], heat.y[0])
    assert set(crosses.x) <= {heat.x[0], heat.x[3]}


def test_a_heat_map_of_one_window_names_it_and_not_its_milliseconds(monitoring):
    monitoring.set_reference("churn", "1.0.0", features(300))
    monitoring.log_features("churn", "1.0.0", features(200, 9.0, 3), at=NOW)
    figure = plot_psi_heatmap(monitoring.feature_history("churn", "1.0.0", bucket="month", days=20))
    heat, crosses = figure.data
    assert list(heat.x) == ["2026-03-01 00:00"]
    assert figure.layout.xaxis.type == "category"
    assert (list(crosses.x), list(crosses.y)) == (["2026-03-01 00:00"], ["age"])


@pytest.mark.parametrize(("name", "words"), [("company", "company out of control within 1 day")])
def test_a_rule_says_the_name_of_its_metric_as_it_is(monitoring, name, words):
    monitoring.log_performance("churn", "1.0.0", name, 1.0, at=NOW)
    monitoring.add_alert_rule("churn", "1.0.0", "control_chart", name, lookback_days=1)
    assert rule_words(monitoring.list_alert_rules("churn", "1.0.0")[0]) == words


def test_hostile_names_are_shown_verbatim_in_every_new_section(app_test, monitoring):
    for day in range(12):
        monitoring.log_performance("churn", "1.0.0", HOSTILE, 0.9, at=NOW + timedelta(days=day), segment="<i>x")
    monitoring.log_predictions("churn", "1.0.0", [HOSTILE, "b"], labels=[HOSTILE, "<i>b"], at=NOW + timedelta(days=11))
    for name, query in (
        ("Performance", {"monitoring.chart": "Roll-up"}), ("Performance", {"monitoring.chart": "By segment"}),
        ("Predictions", {}),
    ):  # fmt: skip
        test = section(app_test, name, **query)
        for element in [*test.markdown, *test.caption]:
            assert "![x](http" not in str(element.value) or "`" in str(element.value)
