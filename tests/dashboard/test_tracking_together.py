"""What runs of the Tracking tab say together: parallel coordinates, differences, ranking, relations, spread."""

from __future__ import annotations

import pandas as pd
import pytest

from charts.tracking import MISSING, parallel_axis, plot_parallel
from dashboard.tracking_compare import diff_frame, differences_frame
from dashboard.tracking_insights import KINDS, build_insight, explanation_frame
from tests.dashboard.conftest import healthy, shown_errors, texts

# -- parallel coordinates --------------------------------------------------------------------------------------


def test_a_missing_param_crosses_its_axis_at_a_mark_of_its_own_below_every_value():
    axis = parallel_axis(pd.Series([0.1, None, 0.3, float("nan")]), "params.dropout")
    assert axis.n_missing == 2
    assert axis.ticks[0] == (axis.places[1], MISSING)
    assert axis.places[1] == axis.places[3] < 0.1
    assert (axis.places[0], axis.places[2]) == (0.1, 0.3)
    assert parallel_axis(pd.Series([0.1, 0.3]), "params.dropout").ticks[0] == (0.1, "0.1")


def test_a_missing_text_is_not_the_text_none():
    axis = parallel_axis(pd.Series(["none", None, "adam"]), "params.optimizer")
    assert axis.ticks == ((-1.0, MISSING), (0.0, "adam"), (1.0, "none"))
    assert axis.places == (1.0, -1.0, 0.0)


def test_a_missing_value_lies_below_a_logarithmic_axis_too():
    axis = parallel_axis(pd.Series([1e-5, None, 1e-1]), "params.lr")
    assert axis.places[0] == pytest.approx(-5)
    assert axis.places[1] < -5
    assert [text for _, text in axis.ticks] == [MISSING, "1e-05", "0.0001", "0.001", "0.01", "0.1"]


@pytest.mark.parametrize("values", [[None, None], [3.0, 3.0], [True, False], [float("inf"), 1.0], [[1], "a"], []])
def test_odd_columns_have_an_axis(values):
    axis = parallel_axis(pd.Series(values, dtype=object), "params.x")
    assert len(axis.places) == len(values)
    assert all(place == place and abs(place) != float("inf") for place in axis.places)


def test_a_figure_says_that_runs_lack_a_param(seed):
    runs = seed.tracking.search_runs("status = 'finished'")
    assert MISSING not in plot_parallel(runs, ["params.learning_rate"], "metrics.accuracy").layout.meta["alt"]
    runs.loc[0, "params.learning_rate"] = None
    assert MISSING in plot_parallel(runs, ["params.learning_rate"], "metrics.accuracy").layout.meta["alt"]


# -- two runs --------------------------------------------------------------------------------------------------


def test_two_runs_are_laid_side_by_side_with_their_code_and_packages(app_test, seed):
    test = app_test(tab="Tracking", query={"run": seed.runs[:2], "tracking.chart": ["Differences"]})
    titles = [chart.proto.spec for chart in test.get("plotly_chart")]
    assert any("relative to the larger" in spec for spec in titles)
    assert "Code, packages and machine are the same." in texts(test)
    three = app_test(tab="Tracking", query={"run": seed.runs[:3], "tracking.chart": ["Differences"]})
    assert not three.get("plotly_chart")


def test_what_differs_in_code_and_packages_is_listed(seed):
    from dataclasses import replace

    diff = seed.tracking.diff_runs(*seed.runs[:2])
    changed = replace(diff, environment={"packages.numpy": ("1.26.0", "2.4.6"), "git.commit": (None, "abc")})
    assert diff_frame(changed).values.tolist() == [["git.commit", "–", "abc"], ["packages.numpy", "1.26.0", "2.4.6"]]


def test_differences_say_which_end_of_a_metric_is_good(seed):
    frame = differences_frame([seed.tracking.get_run(run_id) for run_id in seed.runs[:2]])
    kinds = dict(zip(frame["key"], frame["kind"], strict=True))
    assert kinds["loss"] == "metric, lower is better"
    assert kinds["accuracy"] == "metric, higher is better"


# -- all runs --------------------------------------------------------------------------------------------------


def test_the_ranking_names_the_best_and_groups_have_a_spread(seed):
    insight = build_insight(seed.tracking, "Leaderboard", "accuracy", experiment="training")
    assert insight.sentence.startswith("run-5 leads 6 runs with accuracy ")
    assert insight.frame.iloc[0].to_dict() == {"rank": "1", "run": "run-5", "accuracy": "0.933", "best step": "11"}
    assert insight.frame.iloc[-1]["rank"] == "–", "a failed run has no rank"
    grouped = build_insight(seed.tracking, "Leaderboard", "accuracy", experiment="training", group_by="params.kind")
    assert grouped.frame.loc[0, ["rank", "kind", "runs"]].tolist() == ["1", "b", "3"]
    with pytest.raises(ValueError, match="choose an experiment"):
        build_insight(seed.tracking, "Leaderboard", "accuracy")


def test_relations_say_direction_and_that_they_are_no_causes(seed):
    insight = build_insight(seed.tracking, "What goes with it", "accuracy")
    assert "not a cause" in insight.sentence
    rows = {row["param"]: row for row in insight.frame.to_dict("records")}
    assert rows["learning_rate"]["direction"] == "rises with it"
    falling = build_insight(seed.tracking, "What goes with it", "loss").frame.set_index("param")["direction"]
    assert falling["learning_rate"] == "falls with it"
    assert rows["learning_rate"]["association"] == "1"
    assert set(explanation_frame(seed.tracking.explain("loss", importance=False))["param"]) == {"learning_rate", "kind"}


def test_the_spread_needs_a_param_and_the_filter_counts(seed):
    with pytest.raises(ValueError, match="choose a param"):
        build_insight(seed.tracking, "Spread", "accuracy")
    insight = build_insight(
        seed.tracking, "Spread", "accuracy", group_by="params.kind", filter="metrics.accuracy > 0.75"
    )
    assert insight.sentence == "The last value of each of 4 runs"
    assert {trace.name for trace in insight.figure.data} == {"a", "b"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_of_looking_draws_in_the_tab(app_test, seed, kind):
    query = {"tracking.insight": [kind], "tracking.insight_group": ["params.kind"]}
    test = app_test(tab="Tracking", query=query, tracking__insights=True)
    assert not shown_errors(test)
    assert len(test.get("plotly_chart")) == 1
    healthy(test.selectbox(key="tracking.insight_metric").set_value("loss").run())
    assert "loss" in test.get("plotly_chart")[0].proto.spec


def test_what_all_runs_say_is_said_of_those_that_match_the_filter(app_test, seed):
    query = {"tracking.insights": ["yes"], "tracking.filter": ["params.kind = 'a'"]}
    assert "run-4 leads 3 runs" in texts(app_test(tab="Tracking", query=query))


def test_nothing_is_computed_while_the_section_is_closed_or_too_much_would_be_read(app_test, seed, monkeypatch):
    monkeypatch.setattr("dashboard.tracking_insights.build_insight", lambda *_a, **_k: 1 / 0)
    app_test(tab="Tracking")
    monkeypatch.setattr("dashboard.tracking_insights.MAX_RUNS", 3)
    test = app_test(tab="Tracking", tracking__insights=True)
    assert "7 runs match, and at most 3 are read at once" in texts(test)
