"""Blocks of long histories: always what their points come to, whoever wrote them, and a figure is read from them."""

from __future__ import annotations

import itertools
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db import Database, MetricBlockRow, MetricPointRow, MetricSummaryRow, RunRow
from experiment_tracking import ExperimentTracking
from tracking_parts import blocks, history

ROOT = Path(__file__).parent.parent


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of five points, looked for at every other point, and no history is short."""
    monkeypatch.setattr(blocks, "BLOCK_POINTS", 5)
    monkeypatch.setattr(blocks, "LOOK_EVERY", 2)
    monkeypatch.setattr(history, "READ_WHOLE", 0)


def check_blocks(database: Database, run_id: str | None = None) -> int:
    """Compare every block, of one run or of all, with its points; return how many points the blocks cover."""
    n_covered = 0
    with database.read() as session:
        series = sa.select(MetricSummaryRow.run_id, MetricSummaryRow.key_id).order_by(MetricSummaryRow.run_id)
        if run_id is not None:
            series = series.join(RunRow, RunRow.id == MetricSummaryRow.run_id).where(RunRow.uid == run_id)
        for run, key in session.execute(series).all():
            points = session.execute(
                sa.select(MetricPointRow.step, MetricPointRow.value)
                .where(MetricPointRow.run_id == run, MetricPointRow.key_id == key)
                .order_by(MetricPointRow.step)
            ).all()
            for block in session.scalars(
                sa.select(MetricBlockRow)
                .where(MetricBlockRow.run_id == run, MetricBlockRow.key_id == key)
                .order_by(MetricBlockRow.last_step)
            ):
                covered = list(itertools.takewhile(lambda point, end=block.last_step: point[0] <= end, points))
                points = points[len(covered) :]
                check_block(block, covered)
                n_covered += len(covered)
    return n_covered


def check_block(block: MetricBlockRow, points: list[tuple[int, float]]) -> None:
    finite = [value for _, value in points if math.isfinite(value)]
    gaps = [step for step, value in points if not math.isfinite(value)]
    assert blocks.BLOCK_POINTS <= block.n_points == len(points) < 2 * blocks.BLOCK_POINTS
    assert (block.first_step, block.last_step) == (points[0][0], points[-1][0])
    assert block.gap_step == (gaps[0] if gaps else None)
    assert (block.min_value, block.max_value) == (min(finite, default=None), max(finite, default=None))
    assert block.min_step == next((step for step, value in points if value == block.min_value), None)
    assert block.max_step == next((step for step, value in points if value == block.max_value), None)


def check_summary(tracking: ExperimentTracking, run_id: str, metric: str) -> None:
    """Compare the summary of a metric, which comes from its blocks once it is made anew, with its history."""
    points = tracking.metric_history(run_id, metric).set_index("step")["value"]
    summary = tracking.get_run(run_id).metric_summaries[metric]
    finite = points[np.isfinite(points)]
    assert (summary.n_points, summary.last_step) == (len(points), points.index[-1])
    assert summary.last == points.iloc[-1] or (math.isnan(summary.last) and math.isnan(points.iloc[-1]))
    if finite.empty:
        assert (summary.min, summary.min_step, summary.max, summary.max_step) == (None, None, None, None)
    else:
        assert (summary.min, summary.max) == (finite.min(), finite.max())
        assert (summary.min_step, summary.max_step) == (finite.idxmin(), finite.idxmax()), "of equals the first"


# -- writing -------------------------------------------------------------------------------------------

values = st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1.7976931348623157e308, math.nan, math.inf, -math.inf])
calls = st.lists(
    st.tuples(st.integers(-30, 60) | st.none() | st.sampled_from([-(2**63), 2**62]), st.lists(values, min_size=1)),
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=calls)
def test_blocks_are_what_their_points_come_to_whatever_was_logged(light, small_blocks, calls):
    run_id = light.start_run("e", "r", detached=True)
    for step, found in calls:
        if len(found) == 1:
            light.log_metrics(run_id, {"m": found[0], "other": 1.0}, step=step)
        else:
            steps = None if step is None else [step + 3 * number for number in range(len(found))]
            light.log_metrics(run_id, {"m": found}, step=steps)
    check_blocks(light._database, run_id)
    for metric in light.get_run(run_id).metric_summaries:
        check_summary(light, run_id, metric)


def test_blocks_are_what_their_points_come_to_on_both_databases(tracking, small_blocks):
    rng = np.random.default_rng(11)
    run_id = tracking.start_run("e", "r", detached=True)
    for _ in range(60):
        steps = sorted(set(rng.integers(0, 300, size=rng.integers(1, 12)).tolist()))
        tracking.log_metrics(run_id, {"m": rng.choice([0.0, 1.0, math.nan, math.inf], size=len(steps))}, step=steps)
        tracking.log_metrics(run_id, {"m": rng.normal(), "next": 1.0}, step=int(rng.integers(0, 300)))
        tracking.log_metrics(run_id, {"m": rng.normal()})
    assert check_blocks(tracking._database) > 200
    check_summary(tracking, run_id, "m")


@pytest.mark.parametrize("stride", [1, 2, 7, 10, 100, 1_000, 1_024, 5_000])
@pytest.mark.parametrize("first", [0, 99])
def test_little_waits_whatever_the_stride_of_the_steps(stride, first):
    due = [number for number in range(200_000) if blocks.is_due(first + stride * number)]
    gaps = np.diff([0, *due, 200_000])
    assert gaps.max() < 40 * blocks.LOOK_EVERY
    assert 0.8 < len(due) * blocks.LOOK_EVERY / 200_000 < 1.25


@pytest.mark.parametrize("how", ["step by step", "in batches", "as one array", "buffered"])
def test_most_of_a_long_history_is_covered_however_it_was_logged(how, sqlite_database):
    tracking = ExperimentTracking(sqlite_database, capture_environment=False, buffered=how == "buffered")
    run_id = tracking.start_run("e", "r", detached=True)
    n_points = 8_000
    if how in ("step by step", "buffered"):
        for step in range(n_points):
            tracking.log_metrics(run_id, {"m": math.sin(step)}, step=step)
    elif how == "in batches":
        for start in range(0, n_points, 40):
            tracking.log_metrics(run_id, {"m": [math.sin(step) for step in range(start, start + 40)]})
    else:
        tracking.log_metrics(run_id, {"m": np.sin(np.arange(n_points))})
    tracking.close()
    assert check_blocks(sqlite_database) > n_points - 5 * blocks.LOOK_EVERY


def test_a_process_that_logs_a_few_points_takes_its_turn(sqlite_database):
    run_id = ExperimentTracking(sqlite_database, capture_environment=False).start_run("e", "r", detached=True)
    for start in range(0, 6_000, 20):
        tracking = ExperimentTracking(sqlite_database, capture_environment=False)
        for step in range(start, start + 20):
            tracking.log_metrics(run_id, {"m": 1.0}, step=step)
        tracking.close()
    assert check_blocks(sqlite_database) > 3_000


def test_blocks_go_with_their_run_and_come_with_an_import(tracking, tmp_path):
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"m": np.sin(np.arange(3_000))})
    tracking.end_run(run_id)
    covered = check_blocks(tracking._database)
    tracking.export_runs(tmp_path / "runs.jsonl")
    other = ExperimentTracking(tmp_path / "other.db", capture_environment=False)
    other.import_json_lines(tmp_path / "runs.jsonl")
    assert check_blocks(other._database) == covered > 2_900
    tracking.delete_run(run_id)
    tracking.restore_run(run_id)
    assert check_blocks(tracking._database) == covered
    tracking.delete_run(run_id, permanently=True)
    assert check_blocks(tracking._database) == 0
    assert tracking._database.check_integrity() == []


LOGGER = """
import sys
from experiment_tracking import ExperimentTracking
tracking = ExperimentTracking(sys.argv[1], capture_environment=False)
run_id, first, stride = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
print("ready", flush=True)
for number in range(int(sys.argv[5])):
    step = first + stride * number
    tracking.log_metrics(run_id, {"m": step * 1.0, "next": -1.0}, step=step)
    tracking.log_metrics(run_id, {"batch": [1.0, float("nan"), step * 1.0] * 20})
"""


def start_logger(url: str, run_id: str, first: int, stride: int, count: int) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", LOGGER, url, run_id, str(first), str(stride), str(count)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def log_from_four_processes(database: Database, url: str) -> None:
    tracking = ExperimentTracking(database, capture_environment=False)
    run_id = tracking.start_run("e", "shared", detached=True)
    starts = ((0, 2), (1, 2), (2_000, 1), (1_000, 1))  # two take turns, two have ranges of their own
    loggers = [start_logger(url, run_id, first, stride, 250) for first, stride in starts]
    for logger in loggers:
        logger.communicate()
        assert logger.returncode == 0
    assert tracking.get_run(run_id).metric_summaries["m"].n_points == 1_000
    assert check_blocks(database) > 4 * 250 * 60 - 2_000


@pytest.mark.slow
def test_processes_that_log_to_one_run_keep_its_blocks_right(sqlite_database, sqlite_url):
    log_from_four_processes(sqlite_database, sqlite_url)


@pytest.mark.slow
def test_processes_that_log_to_one_run_keep_its_blocks_right_on_postgresql(postgres_url, tmp_path):
    database = Database(postgres_url, artifact_url=str(tmp_path / "artifacts"))
    log_from_four_processes(database, postgres_url)
    database.close()


@pytest.mark.slow
def test_killed_processes_leave_blocks_that_are_right(sqlite_database, sqlite_url):
    tracking = ExperimentTracking(sqlite_database, capture_environment=False)
    run_id = tracking.start_run("e", "r", detached=True)
    for number in range(4):
        logger = start_logger(sqlite_url, run_id, 100_000 - 20_000 * number, 1, 1_000_000)
        assert logger.stdout.readline() == "ready\n"
        time.sleep(0.3 + 0.1 * number)
        logger.send_signal(signal.SIGKILL)
        logger.communicate()
    assert check_blocks(sqlite_database) > 0
    assert sqlite_database.check_integrity() == []


# -- reading -------------------------------------------------------------------------------------------


def n_instructions(database: Database, read) -> int:
    """Count what SQLite's machine does for a call, in thousands of instructions."""
    ticks = []
    with database.engine.connect() as connection:
        connection.connection.dbapi_connection.set_progress_handler(lambda: ticks.append(1) and None, 1_000)

    read()
    return len(ticks)


@pytest.mark.slow
def test_a_figure_of_a_long_history_does_not_read_it(light):
    run_id = light.start_run("e", "r", detached=True)
    rng = np.random.default_rng(0)
    for _ in range(4):
        light.log_metrics(run_id, {"m": rng.normal(size=100_000)})
    whole = n_instructions(light._database, lambda: light.metric_history(run_id, "m"))
    sampled = n_instructions(light._database, lambda: light.metric_history(run_id, "m", max_points=400))
    assert whole > 1_000, "the count works"
    assert sampled < whole / 10


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.sets(st.integers(-50, 150) | st.integers(-(2**63), 2**63 - 1), min_size=1),
    data=st.data(),
    max_points=st.integers(3, 60),
)
def test_blocks_change_nothing_of_what_is_chosen_between_the_same_edges(light, small_blocks, steps, data, max_points):
    run_id = light.start_run("e", "r", detached=True)
    ordered = sorted(steps)
    logged = data.draw(st.lists(values, min_size=len(ordered), max_size=len(ordered)))
    light.log_metrics(run_id, {"m": logged}, step=ordered)
    span = sorted(data.draw(st.tuples(*[st.sampled_from([ordered[0], ordered[-1], *ordered])] * 2)))
    limits = {"first_step": span[0], "last_step": span[1], "max_points": max_points}
    edges = []
    with pytest.MonkeyPatch.context() as patch:
        move = history._move_to_blocks
        patch.setattr(history, "_move_to_blocks", lambda *given: edges.append(move(*given)) or edges[-1])
        from_blocks = light.metric_history(run_id, "m", **limits)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "READ_WHOLE", 10_000)
        patch.setattr(history, "_lows_of_buckets", lambda *_: edges[0])
        from_points = light.metric_history(run_id, "m", **limits)
    pd.testing.assert_frame_equal(from_blocks, from_points)
    assert len(from_blocks) <= max_points


@pytest.mark.slow
def test_a_part_of_a_history_is_read_alone_and_as_closely_as_asked(tracking):
    run_id = tracking.start_run("e", "r")
    n_points = 60_000
    logged = np.random.default_rng(4).normal(size=n_points)
    logged[30_500] = 99.0
    tracking.log_metrics(run_id, {"m": logged}, step=np.arange(n_points) * 3)
    part = tracking.metric_history(run_id, "m", first_step=90_000, last_step=92_999)
    assert part["step"].tolist() == list(range(90_000, 93_000, 3))
    assert part["value"].tolist() == logged[30_000:31_000].tolist()
    whole = tracking.metric_history(run_id, "m", first_step=90_000, last_step=92_999, max_points=1_000)
    pd.testing.assert_frame_equal(part, whole)
    few = tracking.metric_history(run_id, "m", first_step=90_000, last_step=149_999, max_points=40)
    assert len(few) <= 40
    assert few["step"].between(90_000, 149_999).all()
    assert few["value"].max() == 99.0
    assert few["value"].min() == logged[30_000:50_000].min()
    assert few["step"].iloc[-1] == 149_997
    for limits in ({"first_step": 10**9}, {"last_step": -1}, {"first_step": 91_000, "last_step": 91_001}):
        assert tracking.metric_history(run_id, "m", max_points=40, **limits).empty
        assert tracking.metric_history(run_id, "m", **limits).empty
    with pytest.raises(ValueError, match=r"first_step \(5\) is behind last_step \(4\)"):
        tracking.metric_history(run_id, "m", first_step=5, last_step=4)
    with pytest.raises(TypeError, match="first_step"):
        tracking.metric_history(run_id, "m", first_step="five")


def test_extremes_in_edges_that_moved_are_kept(light):
    run_id = light.start_run("e", "r")
    logged = np.random.default_rng(8).normal(size=200_000)
    peaks = np.arange(777, 200_000, 4_000)
    logged[peaks] = 50.0 + np.arange(len(peaks))
    logged[[100_000, 150_000]] = math.nan, -math.inf
    light.log_metrics(run_id, {"m": logged}, step=np.arange(200_000) * 2)
    sampled = light.metric_history(run_id, "m", max_points=400)
    assert len(sampled) <= 400
    assert set(peaks * 2) <= set(sampled["step"])
    assert {200_000, 300_000} <= set(sampled["step"])
    assert sampled["step"].iloc[-1] == 399_998
    assert sampled.merge(light.metric_history(run_id, "m"), on=["step", "at"]).shape[0] == len(sampled)


def drop_blocks(database: Database) -> None:
    with database.write() as session:
        session.execute(sa.delete(MetricBlockRow))


@pytest.mark.parametrize("read", ["history", "report"])
def test_what_an_older_version_stored_gets_its_blocks_with_the_first_look(tracking, monkeypatch, read):
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"m": np.sin(np.arange(50_000)), "short": np.arange(100.0)})
    tracking.end_run(run_id)
    expected = tracking.metric_history(run_id, ["m", "short"], max_points=300)
    drop_blocks(tracking._database)
    monkeypatch.setattr(blocks, "AT_ONCE", 10_000)
    if read == "report":
        tracking.report([run_id])
    else:
        pd.testing.assert_frame_equal(tracking.metric_history(run_id, ["m", "short"], max_points=300), expected)
    assert check_blocks(tracking._database) == 50_000 // blocks.BLOCK_POINTS * blocks.BLOCK_POINTS


def test_logging_on_an_older_history_gives_it_its_blocks_in_bounded_steps(light, monkeypatch):
    run_id = light.start_run("e", "r", detached=True)
    light.log_metrics(run_id, {"m": np.arange(10_000.0)})
    drop_blocks(light._database)
    monkeypatch.setattr(blocks, "AT_ONCE", 1_280)
    covered = []
    for _ in range(9):
        light.log_metrics(run_id, {"m": np.arange(600.0)})
        covered.append(check_blocks(light._database))
    assert covered[0] == 1_280
    assert max(np.diff([0, *covered])) <= 1_280 + 600


def test_a_whole_history_needs_no_blocks(light, sqlite_url):
    run_id = light.start_run("e", "r")
    light.log_metrics(run_id, {"m": np.arange(30_000.0)})
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("DELETE FROM metric_blocks")
    assert light.metric_history(run_id, "m")["value"].tolist() == list(range(30_000))
    assert check_blocks(light._database) == 0, "reading all of it writes nothing"
