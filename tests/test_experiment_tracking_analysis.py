"""Comparison, explanation, leaderboard, figures and the report."""

from __future__ import annotations

import math
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from charts.tracking import (
    pareto_front,
    plot_box,
    plot_curves,
    plot_parallel,
    plot_scatter,
    smooth,
)
from experiment_tracking import ExperimentTracking
from tracking_parts.explain import explain_values, rank_correlation, rank_eta
from tracking_parts.records import goal_of
from tracking_parts.report import _round_values


@pytest.fixture
def tracking(light: ExperimentTracking) -> ExperimentTracking:
    return light


@pytest.fixture
def three(database):
    """Two runs that share the optimizer, and one that failed; on both databases."""
    tracking = ExperimentTracking(database, capture_environment=False)
    ids = []
    for name, lr, acc, team in (("a", 0.1, [0.5, 0.9, 0.7], "x"), ("b", 0.2, [0.6, 0.8], "x"), ("c", 0.3, [0.99], "y")):
        ids.append(tracking.start_run("e", name, params={"lr": lr, "opt": "adam"}, tags={"team": team}))
        tracking.log_metrics(ids[-1], {"acc": acc, "loss": [1 - value for value in acc]})
    tracking.end_run(ids[0])
    tracking.end_run(ids[1])
    tracking.end_run(ids[2], "failed")
    yield tracking, ids
    tracking.close()


def test_compare_runs_has_a_row_a_run_in_the_order_given(three):
    tracking, ids = three
    frame = tracking.compare_runs([ids[1], ids[0]])
    assert frame["run_id"].tolist() == [ids[1], ids[0]]
    assert frame["params.lr"].tolist() == [0.2, 0.1]
    assert frame["metrics.acc"].tolist() == [0.8, 0.7], "the last values"
    assert frame["best.acc"].tolist() == [0.8, 0.9]
    assert frame["best.loss"].tolist() == pytest.approx([0.2, 0.1]), "a loss is best when least"
    assert tracking.compare_runs(ids, goals={"acc": "min"})["best.acc"].tolist() == [0.5, 0.6, 0.99]
    with pytest.raises(ValueError, match="'min' or 'max'"):
        tracking.compare_runs(ids, goals={"acc": "up"})


def test_only_differences_leaves_out_what_is_the_same(three):
    tracking, ids = three
    columns = set(tracking.compare_runs(ids[:2], only_differences=True).columns)
    assert {"run_id", "name", "params.lr", "metrics.acc"} <= columns
    assert not {"params.opt", "tags.team", "status", "experiment"} & columns
    one, other = (tracking.start_run("types", params={"n": value}) for value in (1, 1.0))
    assert "params.n" in tracking.compare_runs([one, other], only_differences=True).columns, "1 and 1.0 differ"


def test_diff_of_two_runs(three):
    tracking, ids = three
    diff = tracking.diff_runs(ids[0], ids[2])
    assert diff.params == {"lr": (0.1, 0.3)}
    assert diff.tags == {"team": ("x", "y")}
    assert diff.metrics["acc"] == (0.7, 0.99, pytest.approx(0.29))
    assert diff.n_same_params == 1
    assert diff.to_dict()["params"] == {"lr": [0.1, 0.3]}


def test_the_leaderboard_ranks_finished_runs_and_counts_the_others(three):
    tracking, ids = three
    board = tracking.leaderboard("e", "acc")
    assert [row.group for row in board.rows] == ["a", "b", "c"]
    assert (board.best_run_id, board.best_value, board.rows[0].best_step) == (ids[0], 0.9, 1)
    assert (board.n_runs, board.n_finished, board.n_failed, board.n_early_stopped) == (3, 2, 1, 1)
    assert board.rows[2].mean is None, "a failed run has no rank"
    assert tracking.leaderboard("e", "acc", value="last").best_run_id == ids[1]
    assert tracking.leaderboard("e", "loss").best_run_id == ids[0]
    assert tracking.leaderboard("e", "never").best_run_id is None


def test_the_leaderboard_groups_seeds(tracking):
    for config, values in (("small", [0.5, 0.7, 0.6]), ("large", [0.9, 0.8])):
        for value in values:
            with tracking.run("e", tags={"config": config}) as run:
                run.log({"acc": value})
    board = tracking.leaderboard("e", "acc", group_by="tags.config")
    large, small = board.rows
    assert (large.group, large.n_runs, large.mean) == ("large", 2, pytest.approx(0.85))
    assert small.std == pytest.approx(np.std([0.5, 0.7, 0.6], ddof=1))
    assert "large" in board._repr_html_()
    assert len(board.to_frame()) == 2
    with pytest.raises(ValueError, match="group_by"):
        tracking.leaderboard("e", "acc", group_by="config")


@pytest.mark.parametrize(
    ("metric", "goal"),
    [("loss", "min"), ("val_loss", "min"), ("train/error", "min"), ("rmse", "min"), ("accuracy", "max"), ("f1", "max"),
     ("neg_mean_squared_error", "max"), ("glossary", "max"), ("auc", "max")],
)  # fmt: skip
def test_the_name_of_a_metric_says_which_end_is_good(metric, goal):
    assert goal_of(metric) == goal


def test_rank_correlation_agrees_with_scipy():
    rng = np.random.default_rng(1)
    for n in (5, 20, 100):
        x, y = rng.integers(0, 8, n).astype(float), rng.normal(size=n)
        rho, p_value = rank_correlation(x, y)
        expected = scipy_stats.spearmanr(x, y)
        assert rho == pytest.approx(expected.statistic, abs=1e-12)
        assert p_value == pytest.approx(expected.pvalue, abs=1e-9)


@pytest.mark.parametrize("n", [4, 5, 10, 200])
def test_a_complete_association_has_the_p_value_of_its_permutations_and_never_zero(n):
    up = [float(value) for value in range(n)]
    exact = 2 / math.factorial(n) if n < 100 else sys.float_info.min  # both orders of n! agree completely
    for y in (up, up[::-1]):
        rho, p_value = rank_correlation(up, y)
        assert abs(rho) == 1.0
        assert p_value == pytest.approx(exact, rel=1e-9)
    groups = ["a"] * (n // 2) + ["b"] * (n - n // 2)
    strength, p_value = rank_eta(groups, [float(group == "b") for group in groups])
    assert strength == pytest.approx(1.0)
    assert p_value == pytest.approx(1 / math.comb(n, n // 2), rel=1e-9)


def test_rank_eta_agrees_with_an_anova_of_the_ranks():
    rng = np.random.default_rng(2)
    groups = rng.integers(0, 4, 60)
    y = rng.normal(size=60) + groups
    ranks = scipy_stats.rankdata(y)
    expected = scipy_stats.f_oneway(*(ranks[groups == group] for group in range(4)))
    strength, p_value = rank_eta(groups.tolist(), y.tolist())
    assert p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert 0 < strength < 1


def test_explain_finds_the_param_that_made_the_difference(tracking):
    rng = np.random.default_rng(3)
    for index in range(20):
        lr, batch = float(rng.uniform(0, 1)), int(rng.integers(1, 5))
        with tracking.run("e", params={"lr": lr, "batch": batch, "seed": index, "opt": "adam", "data": "v1"}) as run:
            run.log({"acc": 1 - (lr - 1) ** 2 + rng.normal(0, 0.001)})
    found = tracking.explain("acc", experiment="e")
    assert found.effects[0].param == "lr"
    assert found.effects[0].correlation > 0.95
    assert found.effects[0].importance == max(effect.importance or 0 for effect in found.effects)
    reasons = {effect.param: effect.reason for effect in found.effects}
    assert reasons["opt"] == "the same in all runs"
    assert reasons["lr"] is None
    assert "not cause" in found._repr_html_()
    none = tracking.explain("never", experiment="e")
    assert (none.n_runs, none.effects) == (0, ())


def test_explain_says_nothing_about_too_few_or_equal_runs():
    few = explain_values([{"lr": 1}, {"lr": 2}], [0.1, 0.2], "acc")
    assert (few.effects[0].strength, few.effects[0].reason) == (None, "only 2 runs have it; 4 are needed")
    equal = explain_values([{"lr": i} for i in range(6)], [0.5] * 6, "acc")
    assert equal.effects[0].reason == "the metric is the same in all runs"
    names = explain_values([{"name": f"n{i}"} for i in range(6)], [0.1 * i for i in range(6)], "acc")
    assert "too many" in names.effects[0].reason
    broken = explain_values([{"lr": i} for i in range(6)], [math.nan] * 6, "acc")
    assert broken.n_runs == 0


# -- figures -------------------------------------------------------------------------------------------


def test_curves_have_gaps_where_values_are_no_numbers(three):
    tracking, ids = three
    tracking.log_metrics(ids[0], {"acc": [math.nan, 0.9, math.inf]})
    history = tracking.metric_history(ids, ["acc", "loss"])
    figure = plot_curves(history, names={ids[0]: "<b>a</b>$x$"}, smoothing=0.5)
    assert len(figure.data) == 2 * 6 - 2, "two traces a curve, one for a lone point"
    first = figure.data[1]
    assert first.name == "&lt;b&gt;a&lt;/b&gt;&#36;x&#36;, acc"
    assert [y is None for y in first.y] == [False, False, False, True, False, True]
    assert not first.connectgaps
    assert plot_curves(history, x="relative", log_y=True).layout.yaxis.type == "log"
    assert list(plot_curves(history, x="time").data[0].x) == sorted(plot_curves(history, x="time").data[0].x)
    assert "No values" in plot_curves(history.iloc[:0]).layout.annotations[0].text


def test_smoothing_is_an_average_corrected_for_its_start():
    values = np.array([1.0, 1.0, np.nan, 1.0])
    np.testing.assert_allclose(smooth(values, 0.9), values)
    np.testing.assert_array_equal(smooth([3.0, 1.0], 0.0), [3.0, 1.0])
    assert smooth([0.0, 1.0], 0.5)[1] == pytest.approx(2 / 3)
    with pytest.raises(ValueError):
        smooth([1.0], 1.0)


def test_no_point_of_the_pareto_front_is_beaten():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=200), rng.normal(size=200)
    front = set(pareto_front(x, y, x_goal="min", y_goal="max"))
    beaten = {
        i for i in range(200) if any(x[j] <= x[i] and y[j] >= y[i] and (x[j], y[j]) != (x[i], y[i]) for j in range(200))
    }
    assert front == set(range(200)) - beaten


def test_figures_of_params_and_metrics(three):
    tracking, ids = three
    frame = tracking.search_runs()
    parallel = plot_parallel(frame, ["params.lr", "params.opt"], "metrics.acc")
    assert [dimension.label for dimension in parallel.data[0].dimensions] == ["lr", "opt", "acc"]
    assert len(plot_scatter(frame, "params.lr", "metrics.acc", pareto=("min", "max")).data) == 2
    assert [trace.name for trace in plot_box(frame, "tags.team", "metrics.acc").data] == ["x", "y"]
    for figure in (plot_parallel(frame, [], "metrics.no"), plot_scatter(frame, "a", "b"), plot_box(frame, "a", "b")):
        assert "No run has" in figure.layout.annotations[0].text
    assert tracking.diff_runs(ids[0], ids[1]).plot().data
    assert tracking.leaderboard("e", "acc").plot().data
    assert tracking.explain("acc", experiment="e").plot().layout.annotations[0].text.startswith("Nothing can be said")


def test_values_that_look_like_numbers_are_categories_in_their_order_and_a_missing_one_is_named():
    frame = pd.DataFrame(
        {"params.width": [128, 16, None, 64], "metrics.acc": [0.4, 0.1, 0.2, 0.3], "name": list("abcd")}
    )
    figure = plot_box(frame, "params.width", "metrics.acc")
    assert [trace.name for trace in figure.data] == ["16", "64", "128", "(missing)"]
    assert figure.layout.xaxis.type == "category"
    many = pd.DataFrame({"params.lr": range(40), "metrics.acc": range(40)})
    assert "first 30 of 40" in plot_box(many, "params.lr", "metrics.acc").layout.annotations[0].text


def test_a_scatter_names_few_runs_and_counts_those_it_cannot_draw():
    frame = pd.DataFrame({"params.width": [128, None, 64], "metrics.acc": [0.4, 0.1, 0.2], "name": list("abc")})
    figure = plot_scatter(frame, "params.width", "metrics.acc")
    assert (list(figure.data[0].text), figure.data[0].mode) == (["a", "c"], "markers+text")
    assert figure.layout.annotations[0].text.startswith("Not drawn: 1 of 3 runs")
    close = frame.assign(**{"params.width": [128, 64, 128], "metrics.acc": [0.4, 0.1, 0.39]})
    assert plot_scatter(close, "params.width", "metrics.acc").data[0].mode == "markers"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


def test_the_report_is_one_page_that_fetches_nothing_and_runs_nothing(three, tmp_path):
    tracking, ids = three
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    evil = tracking.start_run("e", params={"p": hostile}, tags={"t": hostile}, note=hostile)
    tracking.log_metrics(evil, {hostile: [1.0, 2.0]})
    text = tracking.report([*ids, evil], tmp_path / "report.html", title=hostile)
    assert (tmp_path / "report.html").read_text() == text
    parser = _Tags()
    parser.feed(text)
    assert not {"script", "img", "link", "iframe"} & set(parser.tags)
    assert not re.findall(r"https?://", text)
    assert "&lt;script&gt;alert(1)" in text
    assert parser.tags.count("figure") == 3, "a chart for each metric with at least two steps"
    assert len(text) < 100_000


def test_a_run_is_shown_escaped_in_a_notebook(tracking):
    run_id = tracking.start_run("e", "<b>x", params={"<i>": "<script>"})
    shown = tracking.get_run(run_id)._repr_html_()
    assert "<script>" not in shown
    assert "&lt;b&gt;x" in shown
    assert isinstance(tracking.get_run(run_id).to_frame(), pd.DataFrame)


def test_many_curves_have_their_names_below_the_axis_and_few_above():
    def history(n_runs):
        return pd.DataFrame(
            {
                "run_id": np.repeat([f"r{number}" for number in range(n_runs)], 3),
                "metric": "m",
                "step": [0, 1, 2] * n_runs,
                "at": pd.to_datetime([0, 1, 2] * n_runs, unit="s", utc=True),
                "value": 1.0,
            }
        )

    few, many = plot_curves(history(3)).layout, plot_curves(history(4)).layout
    assert few.legend.y > 1, "above the plot"
    assert (many.legend.yref, many.legend.y, many.legend.yanchor) == ("container", 0, "bottom")
    assert many.height > few.height


def test_the_axis_of_a_param_over_many_powers_of_ten_is_logarithmic():
    frame = pd.DataFrame(
        {
            "params.lr": [1e-4, 1e-2, 1e-1],
            "params.n": [1, 2, 3],
            "params.zero": [0.0, 1.0, 1e4],
            "metrics.a": [1, 2, 3e5],
        }
    )
    rate, number, zero, metric = (
        plot_parallel(frame, ["params.lr", "params.n", "params.zero"], "metrics.a").data[0].dimensions
    )
    assert np.allclose(rate.values, [-4, -2, -1])
    assert list(rate.ticktext) == ["0.0001", "0.001", "0.01", "0.1"]
    assert np.allclose(rate.tickvals, [-4, -3, -2, -1])
    assert list(number.values) == [1, 2, 3]
    assert list(zero.values) == [0.0, 1.0, 1e4]
    assert list(metric.values) == [1, 2, 3e5]


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False, min_value=0))
@example(2.0095229861185092e16, 2.0)  # one float apart
def test_the_marks_of_an_axis_of_the_report_are_few_and_inside(low, width):
    high = low + width
    if high > low and math.isfinite(high):
        marks = _round_values(low, high)
        assert 2 <= len(marks) <= 8
        assert marks == sorted(marks)
        slack = (high / 1e6 - low / 1e6) + 4 * math.ulp(max(abs(low), abs(high)))
        assert low - slack <= marks[0]
        assert marks[-1] <= high + slack
