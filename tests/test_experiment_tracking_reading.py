"""Reading on both databases: statistics in filters, names nobody has, sampled histories, summaries of many runs."""

from __future__ import annotations

import math
import sqlite3
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errors import NotFoundError
from experiment_tracking import ExperimentTracking, FilterError, UnknownKeyWarning

# -- statistics in filters -----------------------------------------------------------------------------


@pytest.fixture
def two_runs(tracking):
    """Run a: loss 0.5, 0.2, 0.3 and a metric that is named "loss.min"; run b: loss 0.6, 0.4, 0.1."""
    a = tracking.start_run("e", "a", params={"lr": 0.1}, tags={"team": "x"})
    tracking.log_metrics(a, {"loss": [0.5, 0.2, 0.3], "acc": [0.1, 0.9, 0.7], "loss.min": [7.0, 7.0, 7.0]})
    b = tracking.start_run("e", "b", params={"lr": 0.2})
    tracking.log_metrics(b, {"loss": [0.6, 0.4, 0.1], "acc": [0.2, 0.3, math.nan]})
    return tracking


STATISTIC_FILTERS = [
    ("metrics.loss.min < 0.15", {"b"}),
    ("metrics.loss.min < 0.25", {"a", "b"}),
    ('metrics."loss.min" > 6', {"a"}),
    ("metrics.`loss.min`.max = 7", {"a"}),
    ("metrics.loss.last > 0.2", {"a"}),
    ("metrics.loss.max >= 0.6", {"b"}),
    ("metrics.loss.best <= 0.1", {"b"}),
    ("best(metrics.acc) >= 0.9", {"a"}),
    ("metrics.acc.best_step = 1", {"a", "b"}),
    ("metrics.loss.best_step = 2", {"b"}),
    ("metrics.loss.n_points = 3 and metrics.loss.last_step = 2", {"a", "b"}),
]


def test_a_statistic_behind_the_key_is_the_statistic(two_runs):
    for text, expected in STATISTIC_FILTERS:
        assert set(two_runs.search_runs(text)["name"]) == expected, text


def test_a_search_is_sorted_by_a_statistic_behind_the_key(two_runs):
    assert two_runs.search_runs(order_by="metrics.loss.best")["name"].tolist() == ["b", "a"]
    assert two_runs.search_runs(order_by="metrics.acc.best desc")["name"].tolist() == ["a", "b"]
    assert two_runs.search_runs(order_by='metrics."loss.min"')["name"].tolist() == ["a", "b"]


# -- names that no run has -----------------------------------------------------------------------------


UNKNOWN = [
    ({"filter": "metrics.los < 1"}, r"no run has a metric 'los' \(character 1 of the filter\).*mean 'loss'\?"),
    ({"filter": "name = 'a' and params.LR > 0"}, r"a param 'LR' \(character 16 of the filter\).*mean 'lr'\?"),
    ({"filter": "metrics.lr > 0"}, r"there is a param of that name: write params\.lr"),
    ({"filter": "tags.tam = 'x'"}, r"a tag 'tam'.*mean 'team'\?"),
    ({"filter": "metrics.loss.mean > 0"}, "there is a metric 'loss', but 'mean' is none of its statistics last"),
    ({"filter": "metrics.loss > 0 or metrics.zzz > 0"}, r"'zzz' \(character 21 of the filter\), so no comparison"),
    ({"filter": "not metrics.zzz > 0"}, "'zzz'"),
    ({"order_by": "name, metrics.los desc"}, r"'los' \(character 7 of the order\), so it sorts nothing"),
]


def test_a_name_that_no_run_has_is_said_aloud(two_runs):
    for arguments, says in UNKNOWN:
        with pytest.warns(UnknownKeyWarning, match=says) as caught:
            found = two_runs.search_runs(**arguments)
        assert [str(warning.message) for warning in caught] == found.attrs["warnings"]
        assert caught[0].filename == __file__, "it points at the line that searches"


def test_a_metric_whose_name_ends_like_a_statistic_is_pointed_out(tracking):
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"latency.max": 3.0})
    with pytest.warns(UnknownKeyWarning, match=r'there is a metric .latency.max.: .* quotes, metrics."latency.max"'):
        assert len(tracking.search_runs("metrics.latency.max < 5")) == 0
    assert len(tracking.search_runs('metrics."latency.max" < 5')) == 1


def test_names_are_looked_for_among_the_runs_of_the_search(two_runs):
    other = two_runs.start_run("other", "r")
    two_runs.log_metrics(other, {"f1": 1.0})
    with pytest.warns(UnknownKeyWarning, match="no run of experiment 'other' has a metric 'loss'"):
        assert two_runs.count_runs("metrics.loss < 1", experiment="other") == 0
    two_runs.delete_run(other)
    with pytest.warns(UnknownKeyWarning, match="no run has a metric 'f1'"):
        two_runs.search_runs("metrics.f1 > 0")
    with pytest.warns(UnknownKeyWarning, match="'f2'"):
        two_runs.leaderboard("e", "loss", filter="metrics.f2 > 0")


def test_nothing_is_said_where_nothing_is_wrong(two_runs):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for text in (
            "metrics.loss < 0 and params.lr > 9",  # found nothing, but the names are there
            "metrics.loss > 0 or params.lr > 0",
            "params.never IS NULL",  # asks whether there is such a thing
            "name = 'nobody'",
        ):
            assert "warnings" not in two_runs.search_runs(text, order_by="params.lr").attrs
        two_runs.start_run("empty", "r")
        two_runs.delete_experiment("empty")
        two_runs.search_runs("metrics.zzz > 0", include="archived")  # among no runs at all nothing has a name


def test_a_search_without_any_run_has_the_columns(tracking):
    found = tracking.search_runs()
    assert len(found) == 0
    assert found.columns.tolist() == [
        "run_id", "name", "experiment", "status", "started_at", "ended_at", "duration_seconds", "parent_run_id", "note",
        "archived",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="limit"):
        tracking.search_runs(limit=0)


def test_a_filter_error_comes_before_any_search(tracking):
    with pytest.raises(FilterError, match=r"stands one of last, min, max.*\(character 16\)") as found:
        tracking.search_runs('metrics."loss2".mean > 1')
    assert found.value.position == 15


# -- sampled histories ---------------------------------------------------------------------------------


@pytest.mark.parametrize("read_whole", [0, 20_000])
def test_a_sampled_history_never_has_more_points_than_asked_for(tracking, monkeypatch, read_whole):
    monkeypatch.setattr("tracking_parts.history.READ_WHOLE", read_whole)
    run_id = tracking.start_run("e", "r")
    curves = {}
    for name, gaps in (("whole", ()), ("nan", (math.nan,)), ("all", (math.nan, math.inf, -math.inf))):
        values = curves[name] = np.random.default_rng(7).normal(size=9_000)
        values[[100, 200, 300][: len(gaps)]] = gaps
    tracking.log_metrics(run_id, curves)
    for name, values in curves.items():
        for max_points in (3, 4, 5, 7, 100, 2_000):
            sampled = tracking.metric_history(run_id, name, max_points=max_points)
            finite = values[np.isfinite(values)]
            shown = sampled["value"][np.isfinite(sampled["value"])]
            assert len(sampled) <= max_points
            assert shown.min() == finite.min()
            assert shown.max() == finite.max()
            assert sampled["step"].iloc[-1] == 8_999
            assert sampled["step"].is_monotonic_increasing
            assert sampled["step"].is_unique
            if name != "whole" and max_points > 3:
                assert not np.isfinite(sampled["value"]).all(), "the gap is seen"
            if max_points == 2_000:
                assert len(sampled) > 1_500, "the room is used"


def test_fewer_points_than_hold_the_extremes_are_refused(tracking):
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"m": [1.0, 2.0, 3.0, 4.0]})
    for max_points in (2, 0, -1, "many", True):
        with pytest.raises((ValueError, TypeError), match="max_points"):
            tracking.metric_history(run_id, "m", max_points=max_points)
    assert tracking.metric_history(run_id, "m", max_points=3)["value"].tolist() == [1.0, 4.0]
    assert tracking.metric_history(run_id, "m", max_points=4)["value"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_the_first_and_last_of_every_bucket_stay(light):
    run_id = light.start_run("e", "r")
    light.log_metrics(run_id, {"m": np.random.default_rng(3).normal(size=10_000)})
    sampled = set(light.metric_history(run_id, "m", max_points=400)["step"])
    assert {bucket * 100 for bucket in range(100)} <= sampled
    assert {bucket * 100 + 99 for bucket in range(100)} <= sampled


curves = st.dictionaries(
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(-20, 60)),
    st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf]),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    points=curves,
    max_points=st.integers(3, 30),
)
def test_a_sample_is_real_points_with_the_extremes_and_the_last(light, points, max_points):
    run_id = light.start_run("e", "r", detached=True)
    light.log_metrics(run_id, {"m": list(points.values())}, step=list(points))
    sampled = light.metric_history(run_id, "m", max_points=max_points)
    assert len(sampled) <= max_points
    if len(points) <= max_points:
        assert len(sampled) == len(points)
    for step, value in zip(sampled["step"].tolist(), sampled["value"].tolist(), strict=True):
        assert points[step] == value or (math.isnan(points[step]) and math.isnan(value))
    assert max(points) in set(sampled["step"])
    finite = [value for value in points.values() if math.isfinite(value)]
    shown = [value for value in sampled["value"].tolist() if math.isfinite(value)]
    if finite:
        assert (min(shown), max(shown)) == (min(finite), max(finite))


def test_the_blocks_of_a_long_bucket_are_put_together(light, monkeypatch):
    monkeypatch.setattr("tracking_parts.history.READ_WHOLE", 0)
    values = np.random.default_rng(5).normal(size=5_000)
    values[1_777] = math.nan
    run_id = light.start_run("e", "r")
    light.log_metrics(run_id, {"m": values})
    sampled = light.metric_history(run_id, "m", max_points=8).set_index("step")["value"]
    middle = 19 * 128  # the middle, 2,500, lies in the twentieth block
    for low, high in ((0, middle), (middle, 5_000)):
        part = values[low:high]
        assert {low + int(np.nanargmin(part)), low + int(np.nanargmax(part)), high - 1} <= set(sampled.index)
    assert math.isnan(sampled[1_777])
    assert middle in sampled.index
    assert len(sampled) == 8


@pytest.mark.slow
def test_a_history_of_a_million_points_is_sampled_with_flat_memory(tracking):
    run_id = tracking.start_run("e", "r", detached=True)
    values = np.sin(np.arange(1_000_000) / 1e5)
    values[[333_333, 777_777]] = 99.0, -99.0
    for start in range(0, 1_000_000, 250_000):
        steps = np.arange(start, start + 250_000)
        tracking.log_metrics(run_id, {"m": values[start : start + 250_000]}, step=steps)
    tracking.metric_history(run_id, "m", max_points=2_000)  # imports and caches
    tracemalloc.start()
    sampled = tracking.metric_history(run_id, "m", max_points=2_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 1_000 <= len(sampled) <= 2_000
    assert (sampled["value"].min(), sampled["value"].max()) == (-99.0, 99.0)
    assert peak < 4_000_000, "the points themselves are 25 million bytes"


def test_a_point_takes_little_more_room_than_its_bare_row(tmp_path):
    tracking = ExperimentTracking(tmp_path / "ours.db", capture_environment=False)
    bare = sqlite3.connect(tmp_path / "bare.db")
    bare.execute("CREATE TABLE p (run INT, metric INT, step INT, at INT, value REAL, PRIMARY KEY (run, metric, step)) "
                 "WITHOUT ROWID")  # fmt: skip
    empty = (tmp_path / "ours.db").stat().st_size
    n_points = 100_000
    values = np.random.default_rng(2).normal(size=n_points // 20).tolist()
    for run in range(4):
        run_id = tracking.start_run("e", f"r{run}", detached=True)
        tracking.log_metrics(run_id, {f"m{metric}": values for metric in range(5)})
        at = tracking.metric_history(run_id, "m0")["at"].astype("int64").iloc[0]
        for metric in range(5):
            rows = [(run + 1, metric + 1, step, int(at), value) for step, value in enumerate(values)]
            bare.executemany("INSERT INTO p VALUES (?, ?, ?, ?, ?)", rows)
    bare.commit()
    bare.close()
    tracking._database.vacuum()
    ours = (tmp_path / "ours.db").stat().st_size - empty
    bare_connection = sqlite3.connect(tmp_path / "bare.db")
    bare_connection.execute("VACUUM")
    bare_connection.close()
    floor = (tmp_path / "bare.db").stat().st_size
    assert ours <= 1.3 * floor
    assert ours / n_points <= 230 / 6, "a sixth of the 230 bytes that MLflow 3 was measured to take"


# -- summaries of many runs ----------------------------------------------------------------------------


def test_summaries_of_many_runs_say_what_the_runs_say(two_runs):
    ids = dict(zip(*two_runs.search_runs()[["name", "run_id"]].to_numpy().T, strict=True))
    found = two_runs.metric_summaries([ids["b"], ids["a"]], ["loss", "acc"])
    assert found[["run_id", "metric"]].to_numpy().tolist() == [
        [ids["b"], "loss"], [ids["b"], "acc"], [ids["a"], "loss"], [ids["a"], "acc"],
    ]  # fmt: skip
    for row in found.to_dict("records"):
        summary = two_runs.get_run(row["run_id"]).metric_summaries[row["metric"]]
        goal = "min" if row["metric"] == "loss" else "max"
        assert (row["min"], row["min_step"], row["max"]) == (summary.min, summary.min_step, summary.max)
        assert (row["max_step"], row["last_step"], row["n_points"]) == (summary.max_step, summary.last_step, 3)
        assert (row["best"], row["best_step"]) == (summary.best(goal), summary.best_step(goal))
        assert row["last_at"] == summary.last_at
        assert row["last"] == summary.last or (math.isnan(row["last"]) and math.isnan(summary.last))
    turned = two_runs.metric_summaries(ids["a"], "acc", goals={"acc": "min"})
    assert turned[["best", "best_step"]].to_numpy().tolist() == [[0.1, 0]]


def test_summaries_of_nothing_have_the_columns_and_a_missing_run_is_an_error(tracking):
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"only_nan": math.nan})
    row = tracking.metric_summaries(run_id).iloc[0]
    assert pd.isna(row["min"])
    assert pd.isna(row["best_step"])
    for found in (tracking.metric_summaries([]), tracking.metric_summaries(run_id, "nobody")):
        assert len(found) == 0
        assert found.columns.tolist() == [
            "run_id", "metric", "last", "last_step", "last_at", "min", "min_step", "max", "max_step", "best",
            "best_step", "n_points",
        ]  # fmt: skip
    with pytest.raises(NotFoundError, match="ffff"):
        tracking.metric_summaries([run_id, "f" * 32])
    with pytest.raises(TypeError, match="a run id is text"):
        tracking.metric_summaries([run_id, 3])
    with pytest.raises(ValueError, match="'min' or 'max'"):
        tracking.metric_summaries(run_id, goals={"only_nan": "least"})


def test_summaries_of_many_runs_are_one_query(sqlite_database):
    tracking = ExperimentTracking(sqlite_database, capture_environment=False)
    ids = [tracking.start_run("e", f"r{number}", detached=True) for number in range(30)]
    for run_id in ids:
        tracking.log_metrics(run_id, {f"m{index}": [1.0, 2.0] for index in range(4)})
    tracking.metric_summaries(ids)
    seen: list[str] = []
    sa.event.listen(sqlite_database.engine, "before_cursor_execute", lambda c, cur, s, *rest: seen.append(s))
    assert len(tracking.metric_summaries(ids)) == 120
    reading = [statement for statement in seen if "metric_" in statement]
    assert len(reading) == 1
    assert "metric_points" not in reading[0]
