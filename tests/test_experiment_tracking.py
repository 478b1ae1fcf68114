"""Tracking on both databases: what is logged comes back, what is refused leaves nothing."""

from __future__ import annotations

import math
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from errors import ArtifactError, DuplicateError, NotFoundError
from experiment_tracking import ExperimentTracking, RunStatus

FLOAT_MAX = 1.7976931348623157e308


# -- runs ----------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_logged(tracking):
    run_id = tracking.start_run("e", "r", params={"lr": 0.1, "n": 3}, tags={"team": "a"}, note="first")
    tracking.log_metrics(run_id, {"acc": 0.5}, step=0)
    tracking.log_metrics(run_id, {"acc": 0.75}, step=1)
    tracking.end_run(run_id)
    run = tracking.get_run(run_id)
    assert (run.name, run.experiment, run.status, run.note) == ("r", "e", RunStatus.FINISHED, "first")
    assert run.params == {"lr": 0.1, "n": 3}
    assert run.tags == {"team": "a"}
    assert run.metrics == {"acc": 0.75}
    summary = run.metric_summaries["acc"]
    assert (summary.min, summary.min_step, summary.max, summary.max_step, summary.n_points) == (0.5, 0, 0.75, 1, 2)
    assert run.duration_seconds >= 0
    assert run.ended_at >= run.started_at


def test_the_handle_finishes_a_run_and_fails_it_with_the_exception(tracking):
    with tracking.run("e", "good") as run:
        run.log({"m": 1})
    assert run.snapshot().status == "finished"
    with pytest.raises(ZeroDivisionError), tracking.run("e", "bad") as run:
        run.log({"m": 1 / 0})
    failed = run.snapshot()
    assert failed.status == "failed"
    assert "ZeroDivisionError: division by zero" in failed.error


def test_a_run_that_its_block_ended_keeps_how_it_ended(tracking):
    with tracking.run("e", "diverged") as run:
        tracking.end_run(run.run_id, "failed", error="the loss diverged")
        ended_at = run.snapshot().ended_at
    found = run.snapshot()
    assert (found.status, found.error, found.ended_at) == ("failed", "the loss diverged", ended_at)
    with pytest.raises(ZeroDivisionError), tracking.run("e", "too early") as run:
        tracking.end_run(run.run_id)
        run.log({"m": 1 / 0})
    assert run.snapshot().status == "failed"  # what went wrong afterwards is not hidden


def test_runs_nest_and_deleting_the_parent_takes_the_children_along(tracking):
    with tracking.run("e", "parent") as parent, parent.run("child") as child:
        child.log({"m": 1})
    assert child.snapshot().parent_run_id == parent.run_id
    assert tracking.search_runs(f"parent_run_id = '{parent.run_id}'")["name"].tolist() == ["child"]
    tracking.delete_run(parent.run_id)
    assert len(tracking.search_runs()) == 0
    tracking.restore_run(parent.run_id)
    assert sorted(tracking.search_runs()["name"]) == ["child", "parent"]


def test_a_resumed_run_has_one_curve(tracking):
    with tracking.run("e", "r") as run:
        run.log({"loss": [3.0, 2.0, 1.0]}, step=[0, 1, 2])
    with tracking.run(resume=run.run_id) as again:
        assert again.snapshot().status == "running"
        again.log({"loss": 1.5}, step=2)
        again.log({"loss": 0.5})
    history = tracking.metric_history(run.run_id, "loss")
    assert history["step"].tolist() == [0, 1, 2, 3]
    assert history["value"].tolist() == [3.0, 2.0, 1.5, 0.5]


def test_a_run_id_of_your_own_makes_start_run_repeatable(tracking):
    mine = "0123456789abcdef" * 2
    assert tracking.start_run("e", "r", run_id=mine) == mine
    assert tracking.start_run("e", "r", run_id=mine) == mine
    assert len(tracking.search_runs()) == 1
    with pytest.raises(ValueError, match="32 hexadecimal"):
        tracking.start_run("e", run_id="../../etc/passwd")


def test_a_clock_that_runs_backwards_gives_no_negative_duration(database):
    times = [datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 11, tzinfo=UTC)]
    tracking = ExperimentTracking(database, capture_environment=False, clock=lambda: times[0])
    run_id = tracking.start_run("e", "r", detached=True)
    times.pop(0)
    tracking.end_run(run_id)
    assert tracking.get_run(run_id).duration_seconds is None
    assert math.isnan(tracking.search_runs()["duration_seconds"].iloc[0])


def test_rename_note_tag_and_archive(tracking):
    run_id = tracking.start_run("e", "r", tags={"a": "1", "b": "2"})
    tracking.rename_run(run_id, "better")
    tracking.set_note(run_id, "=note\nwith lines")
    tracking.set_tags(run_id, {"a": "new", "n": 3, "flag": True})
    tracking.delete_tags(run_id, ["b", "never there"])
    run = tracking.get_run(run_id)
    assert (run.name, run.note, run.tags) == ("better", "=note\nwith lines", {"a": "new", "n": "3", "flag": "true"})
    tracking.archive_run(run_id)
    assert len(tracking.search_runs()) == 0
    assert len(tracking.search_runs(include="archived")) == 1
    tracking.archive_run(run_id, False)
    assert len(tracking.search_runs()) == 1


def test_a_name_that_breaks_the_rules_stores_nothing(tracking):
    for name in ("../../etc/passwd", "..", "a/b", "C:\\x", "a:b", "   ", "", "x\u202ey", "\x00", 3, None):
        with pytest.raises((ValueError, TypeError)):
            tracking.start_run(name, "r")
        if name is not None:
            with pytest.raises((ValueError, TypeError)):
                tracking.start_run("e", name)
    assert tracking.list_experiments() == []


def test_an_unknown_run_is_named_in_the_error(tracking):
    for act in (
        lambda r: tracking.get_run(r),
        lambda r: tracking.log_metrics(r, {"m": 1}),
        lambda r: tracking.log_params(r, {"m": 1}),
        lambda r: tracking.end_run(r),
        lambda r: tracking.metric_history(r, "m"),
        lambda r: tracking.compare_runs([r]),
        lambda r: tracking.delete_run(r),
        lambda r: tracking.list_artifacts(r),
    ):
        with pytest.raises(NotFoundError, match="no run has the id 'nope'"):
            act("nope")
        with pytest.raises(NotFoundError):
            act("0" * 32)
        with pytest.raises(TypeError):
            act(7)


# -- params --------------------------------------------------------------------------------------------


def test_params_keep_their_types_and_nested_dicts_are_flattened(tracking):
    params = {"i": 1, "f": 1.0, "s": "1", "b": True, "none": None, "list": [1, "a", 2.5], "big": 2**70, "empty": {}}
    run_id = tracking.start_run("e", "r", params={**params, "opt": {"name": "adam", "betas": (0.9, 0.99)}})
    found = tracking.get_run(run_id).params
    assert found == {**params, "opt.name": "adam", "opt.betas": [0.9, 0.99]}
    assert [type(found[key]) for key in "ifsb"] == [int, float, str, bool]


def test_a_param_is_set_once_and_the_conflict_names_both_values(tracking):
    run_id = tracking.start_run("e", "r", params={"lr": 0.1})
    tracking.log_params(run_id, {"lr": 0.1, "new": 1})
    with pytest.raises(DuplicateError, match=r"'lr' is 0\.1, not 0\.2"):
        tracking.log_params(run_id, {"lr": 0.2, "other": 5})
    assert tracking.get_run(run_id).params == {"lr": 0.1, "new": 1}, "nothing of the refused call is stored"
    with pytest.raises(DuplicateError, match="'new' is 1, not 1.0"):
        tracking.log_params(run_id, {"new": 1.0})
    tracking.log_params(run_id, {"lr": 0.2}, overwrite=True)
    assert tracking.get_run(run_id).params["lr"] == 0.2


def test_params_that_cannot_be_stored_are_refused_with_their_key(tracking):
    run_id = tracking.start_run("e", "r")
    cyclic: dict = {}
    cyclic["self"] = cyclic
    for params, error in [
        ({"f": object()}, "f"),
        ({"s": {1, 2}}, "s"),
        ({1: "a", "1": "b"}, "key"),
        (cyclic, "nested"),
        ({"x": "y" * 10_000_000}, "x"),
        ({"a": {"b": 1}, "a.b": 2}, "twice"),
        ([1], "dict"),
    ]:
        with pytest.raises((ValueError, TypeError), match=error):
            tracking.log_params(run_id, params)
    assert tracking.get_run(run_id).params == {}


# -- metrics -------------------------------------------------------------------------------------------


def test_without_a_step_each_metric_goes_to_its_own_next_step(tracking):
    run_id = tracking.start_run("e", "r")
    for value in (1.0, 2.0):
        tracking.log_metrics(run_id, {"a": value})
    tracking.log_metrics(run_id, {"a": 3.0, "b": 9.0})
    tracking.log_metrics(run_id, {"a": 5.0}, step=10)
    tracking.log_metrics(run_id, {"a": 6.0})
    assert tracking.metric_history(run_id, "a")["step"].tolist() == [0, 1, 2, 10, 11]
    assert tracking.metric_history(run_id, "b")["step"].tolist() == [0]


def test_steps_may_be_negative_and_come_in_any_order(tracking):
    run_id = tracking.start_run("e", "r")
    for step in (5, -3, 2**63 - 1, -(2**63), 0):
        tracking.log_metrics(run_id, {"m": float(step)}, step=step)
    history = tracking.metric_history(run_id, "m")
    assert history["step"].tolist() == [-(2**63), -3, 0, 5, 2**63 - 1]
    summary = tracking.get_run(run_id).metric_summaries["m"]
    assert (summary.last_step, summary.n_points) == (2**63 - 1, 5)
    with pytest.raises(ValueError, match="no step after"):
        tracking.log_metrics(run_id, {"m": 1.0})


def test_a_step_that_is_no_64_bit_integer_is_refused(tracking):
    run_id = tracking.start_run("e", "r")
    for step in (2**63, -(2**63) - 1, 1.5, True, "3", [1]):
        with pytest.raises((ValueError, TypeError)):
            tracking.log_metrics(run_id, {"m": 1.0}, step=step)
    assert len(tracking.metric_history(run_id, "m")) == 0


def test_awkward_numbers_come_back(tracking):
    values = [
        math.nan, math.inf, -math.inf, -0.0, 5e-324, FLOAT_MAX, np.float32(0.1), np.int64(3), np.bool_(True), True,
        Decimal("0.1"), Fraction(1, 3), 2**63,
    ]  # fmt: skip
    run_id = tracking.start_run("e", "r")
    for step, value in enumerate(values):
        tracking.log_metrics(run_id, {"m": value}, step=step)
    found = tracking.metric_history(run_id, "m")["value"].tolist()
    assert math.isnan(found[0])
    assert found[1:] == [float(value) for value in values[1:]]
    summary = tracking.get_run(run_id).metric_summaries["m"]
    assert (summary.min, summary.max, summary.n_points) == (-0.0, FLOAT_MAX, len(values)), "infinities are no extremes"


def test_what_is_no_number_is_refused_and_nothing_of_the_call_is_stored(tracking):
    run_id = tracking.start_run("e", "r")
    for value in (1j, None, "1.0", [[1.0]], {}, object()):
        with pytest.raises((ValueError, TypeError)):
            tracking.log_metrics(run_id, {"good": 1.0, "bad": value}, step=0)
    assert tracking.get_run(run_id).metrics == {}


def test_batches_as_arrays_and_as_a_frame(tracking):
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"a": np.array([1.0, np.nan, 3.0]), "b": [4, 5, 6]}, step=np.array([0, 10, 20]))
    tracking.log_metrics(run_id, {"a": [7.0, 8.0]})
    frame = pd.DataFrame({"step": [3, 1], "c": [0.3, 0.1], "d": [True, False]})
    tracking.log_metrics(run_id, frame)
    tracking.log_metrics(run_id, pd.DataFrame({"e": [1.0, 2.0]}, index=[100, 200]))
    history = tracking.metric_history(run_id, ["a", "b", "c", "d", "e"])
    points = {metric: part["step"].tolist() for metric, part in history.groupby("metric")}
    assert points == {"a": [0, 10, 20, 21, 22], "b": [0, 10, 20], "c": [1, 3], "d": [1, 3], "e": [100, 200]}
    assert history[history["metric"] == "d"]["value"].tolist() == [0.0, 1.0]
    for metrics, step in [({"a": [1.0, 2.0]}, [1]), ({"a": [1.0], "b": 2.0}, [1]), ({"a": [1.0]}, 5), ({}, None)]:
        with pytest.raises(ValueError):
            tracking.log_metrics(run_id, metrics, step)


def test_time_is_kept_to_the_microsecond_and_a_naive_time_is_utc(tracking):
    run_id = tracking.start_run("e", "r")
    at = datetime(2026, 3, 29, 2, 30, 0, 123457)
    tracking.log_metrics(run_id, {"m": 1.0}, step=0, at=at)
    tracking.log_metrics(run_id, {"m": [1.0, 2.0]}, step=[1, 2], at=pd.date_range(at, periods=2, freq="s"))
    found = tracking.metric_history(run_id, "m")["at"]
    expected = [at, at, at + timedelta(seconds=1)]
    assert [instant.to_pydatetime() for instant in found] == [instant.replace(tzinfo=UTC) for instant in expected]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(-5, 15) | st.none(),
            st.floats(allow_nan=True, allow_infinity=True, width=32),
            st.booleans(),
        ),
        max_size=25,
    ),
    st.booleans(),
)
def test_the_summary_always_agrees_with_the_history(light, calls, in_batches):
    run_id = light.start_run("e", "r", detached=True)
    expected: dict[int, float] = {}
    pending: list[tuple[int, float]] = []

    def flush():
        if pending:
            light.log_metrics(run_id, {"m": [v for _, v in pending]}, step=[s for s, _ in pending])
            pending.clear()

    for step, value, batched in calls:
        if step is None:
            flush()
            light.log_metrics(run_id, {"m": value})
            expected[max(expected, default=-1) + 1] = value
        elif batched and in_batches:
            pending.append((step, value))
            expected[step] = value
        else:
            flush()
            light.log_metrics(run_id, {"m": value}, step=step)
            expected[step] = value
    flush()
    history = light.metric_history(run_id, "m")
    assert history["step"].tolist() == sorted(expected)
    np.testing.assert_array_equal(history["value"].to_numpy(), [expected[s] for s in sorted(expected)])
    if not expected:
        return
    summary = light.get_run(run_id).metric_summaries["m"]
    finite = {s: v for s, v in expected.items() if math.isfinite(v)}
    assert summary.n_points == len(expected)
    assert summary.last_step == max(expected)
    last = expected[max(expected)]
    assert summary.last == last or (math.isnan(summary.last) and math.isnan(last))
    assert summary.min == min(finite.values(), default=None)
    assert summary.max == max(finite.values(), default=None)
    if finite:
        assert summary.min_step == min(s for s, v in finite.items() if v == summary.min)
        assert summary.max_step == min(s for s, v in finite.items() if v == summary.max)


def test_a_sampled_history_keeps_every_extreme_and_the_gaps(tracking):
    run_id = tracking.start_run("e", "r")
    values = np.sin(np.arange(5_000) / 50.0)
    values[1234], values[4321], values[2500] = 50.0, -50.0, np.nan
    tracking.log_metrics(run_id, {"m": values}, step=np.arange(5_000) * 7)
    sampled = tracking.metric_history(run_id, "m", max_points=300)
    assert len(sampled) <= 300
    assert sampled["value"].max() == 50.0
    assert sampled["value"].min() == -50.0
    assert sampled["value"].isna().sum() == 1
    assert sampled["step"].is_monotonic_increasing
    assert sampled["step"].is_unique
    assert sampled["step"].iloc[-1] == 4_999 * 7
    whole = tracking.metric_history(run_id, "m")
    assert sampled.merge(whole, on=["step", "value"]).shape[0] == len(sampled), "every row is a real point"
    assert len(tracking.metric_history(run_id, "m", max_points=5_000)) == 5_000


def test_threads_may_share_one_object(light):
    run_id = light.start_run("e", "r")

    def work(number: int) -> None:
        for step in range(50):
            light.log_metrics(run_id, {f"m{number}": step, "shared": step}, step=step * 10 + number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    summaries = light.get_run(run_id).metric_summaries
    assert [summaries[f"m{number}"].n_points for number in range(6)] == [50] * 6
    assert summaries["shared"].n_points == 300


# -- search --------------------------------------------------------------------------------------------


@pytest.fixture
def searched(tracking):
    ids = {}
    for index, (name, lr, acc, loss, tag) in enumerate(
        [("run-a", 0.1, 0.9, 0.5, "x"), ("run-b", 0.01, 0.95, 0.4, "y"), ("other", 1, math.nan, 0.1, "x")]
    ):
        run_id = ids[name] = tracking.start_run(
            "first",
            name,
            params={"lr": lr, "opt": "Adam" if index else "sgd", "nesterov": index == 0},
            tags={"team": tag},
        )
        tracking.log_metrics(run_id, {"acc": [0.99, acc], "loss": [9.0, loss]}, step=[0, 1])
    ids["bare"] = tracking.start_run("second", "bare", params={"lr": "0.01"})
    tracking.log_metrics(ids["bare"], {"acc": math.inf})
    tracking.end_run(ids["run-a"], "failed", error="boom")
    tracking.set_note(ids["run-b"], "50% of \\ it")
    return tracking


FILTERS = [
    ("metrics.acc > 0.9", {"run-b"}),
    ("metrics.acc >= 0.9", {"run-a", "run-b"}),
    ("max(metrics.acc) > 0.98", {"run-a", "run-b", "other"}),
    ("metrics.acc = nan", {"other"}),
    ("metrics.acc IS NOT NAN", {"run-a", "run-b", "bare"}),
    ("metrics.acc = inf", {"bare"}),
    ("metrics.acc != 0.9", {"run-b", "other", "bare"}),
    ("min_step(metrics.loss) = 1 and last_step(metrics.loss) = 1", {"run-a", "run-b", "other"}),
    ("n_points(metrics.acc) < 2", {"bare"}),
    ("params.lr = 0.01", {"run-b", "bare"}),
    ("params.lr = '0.01'", {"run-b", "bare"}),
    ("params.lr < 0.05", {"run-b", "bare"}),
    ("params.lr BETWEEN 0.05 AND 1", {"run-a", "other"}),
    ("params.lr IN (1, 0.1)", {"run-a", "other"}),
    ("params.opt = 'Adam'", {"run-b", "other"}),
    ("params.opt = 'adam'", set()),
    ("params.opt LIKE 'A%'", {"run-b", "other"}),
    ("params.opt LIKE 'a%'", set()),
    ("params.opt ILIKE 'a%'", {"run-b", "other"}),
    ("params.opt != 'Adam'", {"run-a"}),
    ("NOT params.opt = 'Adam'", {"run-a", "bare"}),
    ("params.nesterov = true", {"run-a"}),
    ("params.opt IS NULL", {"bare"}),
    ("params.never = 1", set()),
    ("NOT params.never = 1", {"run-a", "run-b", "other", "bare"}),
    ("tags.team = 'x' AND NOT status = 'failed'", {"other"}),
    ("tags.team IN ('x', 'y') AND name LIKE 'run-_'", {"run-a", "run-b"}),
    ("name LIKE '%[%' OR name LIKE '*' OR name LIKE '?????'", set()),
    (r"note LIKE '50\% of \\%'", {"run-b"}),
    ("note IS NULL and experiment = 'first'", {"run-a", "other"}),
    ("started_at > '1 hour ago' and started_at < '2100-01-01'", {"run-a", "run-b", "other", "bare"}),
    ("ended_at IS NOT NULL", {"run-a"}),
    ("duration >= 0 and status IN ('failed', 'running') and name = 'run-a'", {"run-a"}),
    ("archived = false and (name = 'bare' or name = 'other')", {"bare", "other"}),
    ("   ", {"run-a", "run-b", "other", "bare"}),
]


@pytest.mark.filterwarnings("ignore::tracking_parts.unknown.UnknownKeyWarning")
def test_a_filter_finds_the_same_runs_on_both_databases(searched):
    for filter, expected in FILTERS:  # noqa: A001
        assert set(searched.search_runs(filter)["name"]) == expected, filter
        assert searched.count_runs(filter) == len(expected), filter


ORDERS = [
    ("metrics.loss", ["other", "run-b", "run-a", "bare"]),
    ("metrics.acc desc", ["run-b", "run-a", "bare", "other"]),
    ("max(metrics.acc) desc, name", ["other", "run-a", "run-b", "bare"]),
    ("params.lr desc, name", ["other", "run-a", "bare", "run-b"]),
    ("name", ["bare", "other", "run-a", "run-b"]),
    ("tags.team, name desc", ["run-a", "other", "run-b", "bare"]),
    (None, ["bare", "other", "run-b", "run-a"]),
]


def test_an_order_puts_what_lacks_the_value_last(searched):
    for order, expected in ORDERS:
        assert searched.search_runs(order_by=order)["name"].tolist() == expected, order
        pages = [searched.search_runs(order_by=order, limit=1, offset=offset)["name"].tolist() for offset in range(5)]
        assert pages == [[name] for name in expected] + [[]], order


HOSTILE_FILTERS = [
    "metrics.loss < 0.1 OR 1=1 --",
    "name LIKE '%' ESCAPE ''",
    "__import__('os').system('x')",
    "().__class__.__bases__[0].__subclasses__()",
    "name = 'unterminated",
    "a" * 100_000 + "!",
    " AND ".join(f"params.p{i} = '{i}'" for i in range(5_000)),
    "name IN (" + ",".join("'x'" for _ in range(50_000)) + ")",
    "(" * 500 + "name = 'x'" + ")" * 500,
]


def test_a_hostile_filter_is_a_syntax_error_that_points_at_a_character(searched):
    for text in HOSTILE_FILTERS:
        with pytest.raises(ValueError, match=r"character \d+"):
            searched.search_runs(text)
    assert len(searched.search_runs()) == 4


@pytest.mark.filterwarnings("ignore::tracking_parts.unknown.UnknownKeyWarning")
def test_a_hostile_key_is_only_a_key(searched):
    assert len(searched.search_runs("tags.`x'; DROP TABLE runs;--` = '1'")) == 0
    assert len(searched.search_runs()) == 4


def test_hostile_orders_and_page_bounds_are_refused(searched):
    for order in (
        "name; DROP TABLE runs",
        "(CASE WHEN (SELECT count(*) FROM runs)>0 THEN name ELSE id END)",
        "uid",
        "id",
    ):
        with pytest.raises(ValueError):
            searched.search_runs(order_by=order)
    for limit, offset in [(-1, 0), (0, 0), (10**9, 0), ("abc", 0), (1, -1), (True, 0)]:
        with pytest.raises((ValueError, TypeError)):
            searched.search_runs(limit=limit, offset=offset)


@pytest.mark.filterwarnings("ignore::tracking_parts.unknown.UnknownKeyWarning")
def test_a_search_sends_only_selects(sqlite_database):
    import sqlalchemy as sa

    tracking = ExperimentTracking(sqlite_database, capture_environment=False)
    run_id = tracking.start_run("e", "r", detached=True)
    tracking.log_metrics(run_id, {"m": 1.0})
    seen: list[str] = []
    sa.event.listen(sqlite_database.engine, "before_cursor_execute", lambda c, cur, s, *rest: seen.append(s))
    tracking.search_runs("metrics.m > 0 and tags.a = 'x''; DROP TABLE runs' or name like '%'", order_by="metrics.m")
    assert seen
    assert {statement.split()[0].upper() for statement in seen} == {"SELECT"}


def test_searches_of_an_unknown_experiment_name_those_there_are(searched):
    with pytest.raises(NotFoundError, match="known experiments: first, second"):
        searched.search_runs(experiment="third")
    assert set(searched.search_runs(experiment=["first", "second"])["name"]) == {"run-a", "run-b", "other", "bare"}


def test_odd_keys_are_found_when_quoted(tracking):
    keys = ["a.b", "a b", 'a"b', "a'b", "`", "$", "__proto__", "id", "select", "val/top@5", "ä"]
    run_id = tracking.start_run("e", "r", params={key.replace(".", "-"): 1 for key in keys})
    tracking.log_metrics(run_id, {key: index for index, key in enumerate(keys)})
    for index, key in enumerate(keys):
        quoted = "`" + key.replace("`", "``") + "`"
        assert len(tracking.search_runs(f"metrics.{quoted} = {index}")) == 1, key
        assert len(tracking.search_runs(f"metrics.{quoted} = {index + 1}")) == 0, key


# -- deleting ------------------------------------------------------------------------------------------


def test_a_deleted_run_is_hidden_refuses_values_and_can_be_restored(tracking):
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"m": 1.0})
    tracking.delete_run(run_id)
    assert len(tracking.search_runs()) == 0
    assert tracking.search_runs(include="deleted")["run_id"].tolist() == [run_id]
    with pytest.raises(NotFoundError, match="restore_run"):
        tracking.log_metrics(run_id, {"m": 2.0})
    tracking.restore_run(run_id)
    tracking.log_metrics(run_id, {"m": 2.0})
    assert tracking.get_run(run_id).metrics == {"m": 2.0}


def test_deleting_for_good_gives_the_space_back_and_keeps_what_others_need(tracking, tmp_path):
    keep = tracking.start_run("e", "keep")
    gone = tracking.start_run("e", "gone")
    shared, own = b"s" * 10_000, b"o" * 20_000
    tracking.log_artifact(keep, shared, "shared.bin")
    tracking.log_artifact(gone, shared, "shared.bin")
    tracking.log_artifact(gone, own, "own.bin")
    tracking.log_metrics(gone, {"m": np.random.default_rng(0).random(20_000)})
    report = tracking.delete_run(gone, permanently=True)
    assert (report.n_runs, report.n_points, report.n_artifacts) == (1, 20_000, 2)
    assert report.blob_bytes >= len(own)
    if tracking._database.dialect == "sqlite":
        assert report.database_bytes > 300_000
    assert tracking.load_artifact(keep, "shared.bin") == shared
    with pytest.raises(NotFoundError):
        tracking.get_run(gone)
    with pytest.raises(NotFoundError):
        tracking.log_metrics(gone, {"m": 1.0})


def test_the_name_of_a_deleted_experiment_is_free_again(tracking):
    first = tracking.start_run("e", "old")
    tracking.delete_experiment("e")
    assert tracking.list_experiments() == []
    second = tracking.start_run("e", "new")
    assert tracking.search_runs(experiment="e")["run_id"].tolist() == [second]
    with pytest.raises(DuplicateError):
        tracking.restore_experiment("e")
    tracking.delete_experiment("e")
    assert tracking.purge_deleted().n_runs == 2
    with pytest.raises(NotFoundError):
        tracking.get_run(first)


# -- artifacts -----------------------------------------------------------------------------------------


def test_artifacts_of_every_kind_come_back(tracking, tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import plotly.graph_objects as go
    from sklearn.linear_model import Ridge

    run_id = tracking.start_run("e", "r")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "a.txt").write_text("deep")
    (tmp_path / "one.bin").write_bytes(b"\x00\xff")
    frame = pd.DataFrame({"x": [1, 2], "y": ["a", None]})
    plot, axes = plt.subplots()
    axes.plot([1, 2])
    assert tracking.log_artifact(run_id, tmp_path / "one.bin") == ["one.bin"]
    assert tracking.log_artifact(run_id, str(tmp_path / "folder"), "data") == ["data/deep/a.txt"]
    tracking.log_artifact(run_id, frame, "frame.parquet")
    tracking.log_artifact(run_id, frame[["x"]], "frame.csv")
    tracking.log_artifact(run_id, {"a": [1, math.nan]}, "values.json")
    tracking.log_artifact(run_id, np.arange(6).reshape(2, 3), "array.npy")
    tracking.log_artifact(run_id, go.Figure(go.Scatter(y=[1, 2])), "figure.json")
    tracking.log_artifact(run_id, plot, "plots/figure.png")
    tracking.log_artifact(run_id, Ridge().fit([[0.0], [1.0]], [0.0, 2.0]), "model.joblib")
    tracking.log_text(run_id, "häh\n", "notes.txt")
    plt.close(plot)
    kinds = {artifact.path: artifact.kind for artifact in tracking.list_artifacts(run_id)}
    assert kinds == {
        "array.npy": "array", "data/deep/a.txt": "file", "figure.json": "plotly", "frame.csv": "dataframe",
        "frame.parquet": "dataframe", "model.joblib": "model", "notes.txt": "text", "one.bin": "file",
        "plots/figure.png": "image", "values.json": "json",
    }  # fmt: skip
    assert tracking.load_artifact(run_id, "one.bin") == b"\x00\xff"
    pd.testing.assert_frame_equal(tracking.load_artifact(run_id, "frame.parquet"), frame)
    assert tracking.load_artifact(run_id, "frame.csv")["x"].tolist() == [1, 2]
    values = tracking.load_artifact(run_id, "values.json")["a"]
    assert values[0] == 1
    assert math.isnan(values[1])
    assert tracking.load_artifact(run_id, "array.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert list(tracking.load_artifact(run_id, "figure.json").data[0].y) == [1, 2]
    assert tracking.load_artifact(run_id, "plots/figure.png")[:4] == b"\x89PNG"
    assert tracking.load_artifact(run_id, "model.joblib").predict([[1.0]])[0] == pytest.approx(4 / 3)
    assert tracking.load_artifact(run_id, "notes.txt") == "häh\n"
    assert tracking.preview_artifact(run_id, "notes.txt") == "häh\n"
    assert tracking.preview_artifact(run_id, "frame.parquet").startswith("x,y")
    assert tracking.preview_artifact(run_id, "model.joblib") is None
    assert [a.path for a in tracking.list_artifacts(run_id, "data")] == ["data/deep/a.txt"]
    tracking.download_artifact(run_id, "data", tmp_path / "out")
    assert (tmp_path / "out" / "deep" / "a.txt").read_text() == "deep"
    tracking.log_text(run_id, "new", "notes.txt")
    assert tracking.load_artifact(run_id, "notes.txt") == "new"
    tracking.delete_artifact(run_id, "notes.txt")
    with pytest.raises(NotFoundError, match="has no artifact 'notes.txt'"):
        tracking.load_artifact(run_id, "notes.txt")


def test_an_artifact_name_never_leaves_the_run(tracking):
    run_id = tracking.start_run("e", "r")
    for name in (
        "../x", "a/../../x", "..\\x", "", ".tmp-0", "model#/../../etc/passwd", "model;/../../etc", "dir/\x00x",
        "/etc/x",
    ):  # fmt: skip
        for value in (b"x", {"a": 1}, pd.DataFrame({"a": [1]})):
            with pytest.raises(ValueError):
                tracking.log_artifact(run_id, value, name)
        with pytest.raises(ValueError):
            tracking.log_text(run_id, "x", name)
    assert tracking.list_artifacts(run_id) == []


def test_links_that_leave_devices_and_missing_files_are_refused(tracking, tmp_path):
    run_id = tracking.start_run("e", "r")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "weights.bin").symlink_to("/etc/passwd")
    for source in (folder, "/dev/zero", tmp_path / "nothing"):
        with pytest.raises(ArtifactError):
            tracking.log_artifact(run_id, source)
    with pytest.raises(ArtifactError, match="joblib"):
        tracking.log_artifact(run_id, lambda: 1, "model.joblib")
    assert tracking.list_artifacts(run_id) == []


def test_an_altered_file_is_noticed_before_it_is_loaded(light, tmp_path):
    run_id = light.start_run("e", "r")
    light.log_artifact(run_id, {"a": 1}, "a.json")
    stored = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert len(stored) == 1
    stored[0].chmod(0o600)
    stored[0].write_bytes(b'{"a":2}')
    with pytest.raises(ArtifactError):
        light.load_artifact(run_id, "a.json")


# -- the environment -----------------------------------------------------------------------------------


def test_the_environment_is_captured_without_secrets(sqlite_database, monkeypatch):
    import sys

    from tracking_parts import environment

    environment._capture.cache_clear()
    monkeypatch.setenv("MY_SECRET_TOKEN", "hunter2")
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py", "--api-key", "hunter2", "--token=hunter2", "--lr=1"])
    tracking = ExperimentTracking(sqlite_database)
    found = tracking.get_run(tracking.start_run("e", "r")).environment
    environment._capture.cache_clear()
    assert found["packages"]["numpy"] == np.__version__
    assert found["python"]["version"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert found["hardware"]["cpu_count"] >= 1
    assert found["command"] == "python train.py --api-key '***' '--token=***' --lr=1"
    assert "hunter2" not in str(found)


def test_git_commit_branch_and_changes_are_captured(tmp_path, monkeypatch):
    import subprocess

    from tracking_parts.environment import _read_git

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert _read_git(str(tmp_path / "home")) == {}
    git("init", "-b", "work")
    (tmp_path / "a.py").write_text("one\n")
    git("add", "a.py")
    git("commit", "-m", "first")
    assert _read_git(str(tmp_path)) == {"dirty": False, "commit": git("rev-parse", "HEAD"), "branch": "work"}
    (tmp_path / "a.py").write_text("two\n")
    found = _read_git(str(tmp_path))
    assert found["dirty"]
    assert "-one\n+two\n" in found["diff"]


def test_runs_of_one_process_share_one_environment(sqlite_database):
    import sqlalchemy as sa

    from db import RunEnvironmentRow

    tracking = ExperimentTracking(sqlite_database)
    for _ in range(3):
        tracking.start_run("e", detached=True)
    with sqlite_database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(RunEnvironmentRow)) == 1


def test_system_metrics_are_logged_in_the_background(light):
    with light.run("e", "r", system_metrics=0.1) as run:
        pass
    metrics = run.snapshot().metrics
    assert metrics["system/process_memory_mb"] > 1
    assert 0 <= metrics["system/memory_percent"] <= 100


# -- the buffered mode ---------------------------------------------------------------------------------


def test_buffered_values_are_stored_by_size_by_reading_and_by_the_end_of_the_run(database):
    writer = ExperimentTracking(
        database, capture_environment=False, buffered=True, max_buffer_points=10, max_buffer_seconds=60
    )
    reader = ExperimentTracking(database, capture_environment=False)
    run_id = writer.start_run("e", "r")
    for step in range(9):
        writer.log_metrics(run_id, {"m": float(step)}, step=step)
    assert len(reader.metric_history(run_id, "m")) == 0, "they wait"
    writer.log_metrics(run_id, {"m": 9.0}, step=9)
    assert len(reader.metric_history(run_id, "m")) == 10, "the bound is reached"
    writer.log_metrics(run_id, {"m": 10.0})
    assert writer.metric_history(run_id, "m")["step"].tolist() == list(range(11)), "reading flushes first"
    writer.log_metrics(run_id, {"m": 11.0})
    writer.end_run(run_id)
    assert reader.metric_history(run_id, "m")["value"].tolist() == [float(step) for step in range(12)]


def test_buffered_values_are_stored_when_their_time_is_over(sqlite_database):
    import time

    writer = ExperimentTracking(sqlite_database, capture_environment=False, buffered=True, max_buffer_seconds=0.05)
    reader = ExperimentTracking(sqlite_database, capture_environment=False)
    run_id = writer.start_run("e", "r")
    writer.log_metrics(run_id, {"m": 1.0})
    deadline = time.monotonic() + 30
    while len(reader.metric_history(run_id, "m")) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reader.metric_history(run_id, "m")["value"].tolist() == [1.0]


def test_the_buffered_mode_gives_the_same_history_as_the_durable_one(sqlite_database):
    calls = [({"a": 1.0}, None), ({"a": 2.0, "b": math.nan}, 5), ({"a": 3.0}, 5), ({"a": 4.0}, None), ({"a": 0.0}, -1)]
    found = []
    for buffered in (False, True):
        tracking = ExperimentTracking(sqlite_database, capture_environment=False, buffered=buffered)
        run_id = tracking.start_run("e", f"r{buffered}")
        for metrics, step in calls:
            tracking.log_metrics(run_id, metrics, step)
        found.append(tracking.metric_history(run_id, ["a", "b"])[["metric", "step", "value"]])
    pd.testing.assert_frame_equal(*found)


def test_a_buffered_value_for_no_run_is_refused_at_once(sqlite_database):
    tracking = ExperimentTracking(sqlite_database, capture_environment=False, buffered=True)
    with pytest.raises(NotFoundError):
        tracking.log_metrics("0" * 32, {"m": 1.0})
