"""Processes that are killed, that exit, that fork, and many at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from db import Database
from experiment_tracking import ExperimentTracking

ROOT = Path(__file__).resolve().parent.parent


def start(code: str, *arguments: str) -> subprocess.Popen:
    """Start a Python process that runs `code` with the project on its path."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


LOGGER = """
import sys
from experiment_tracking import ExperimentTracking
tracking = ExperimentTracking(sys.argv[1], capture_environment=False, buffered=sys.argv[2] == "buffered",
max_buffer_points=200)
run_id = tracking.start_run("e", "r")
print(run_id, flush=True)
step = 0
while True:
    tracking.log_metrics(run_id, {"a": step * 1.0, "b": -step * 1.0}, step=step)
    sys.stdout.write(f"{step}\\n")
    sys.stdout.flush()
    step += 1
"""


def log_until_killed(url: str, mode: str, seconds: float) -> tuple[str, int]:
    """Kill a process while it logs; return the run and the last step it was told was stored."""
    process = start(LOGGER, url, mode)
    run_id = process.stdout.readline().strip()
    assert run_id, process.stderr.read()
    said = process.stdout.readline()  # the first value is acknowledged
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    said += process.stdout.read()  # communicate() would pass over the lines that readline() has read ahead
    process.wait()
    process.stderr.close()
    process.stdout.close()
    complete = said.splitlines() if said.endswith("\n") else said.splitlines()[:-1]
    return run_id, int(complete[-1])


def check_no_point_is_lost(url: str, n_kills: int) -> None:
    for number in range(n_kills):
        run_id, last = log_until_killed(url, "durable", 0.05 + 0.03 * number)
        tracking = ExperimentTracking(url, capture_environment=False)
        history = tracking.metric_history(run_id, "a")
        steps = history["step"].tolist()
        assert steps == list(range(len(steps)))
        assert len(steps) - 1 in (last, last + 1), "all that was acknowledged, at most one that was under way"
        run = tracking.get_run(run_id)
        assert run.metric_summaries["b"].n_points == len(steps), "both metrics of a step or neither"
        assert run.metric_summaries["a"].max == history["value"].max()
        assert run.status == "killed"
        assert run.ended_at is not None


def test_a_killed_process_loses_nothing_it_was_told_was_stored(sqlite_url):
    check_no_point_is_lost(sqlite_url, 2)
    assert Database.open(sqlite_url).check_integrity() == []


@pytest.mark.slow
def test_thirty_killed_processes_lose_nothing(sqlite_url):
    check_no_point_is_lost(sqlite_url, 30)


@pytest.mark.slow
def test_killed_processes_lose_nothing_on_postgresql(postgres_url):
    check_no_point_is_lost(postgres_url, 5)


def test_the_buffered_mode_loses_no_more_than_its_bound(sqlite_url):
    run_id, last = log_until_killed(sqlite_url, "buffered", 0.4)
    stored = len(ExperimentTracking(sqlite_url, capture_environment=False).metric_history(run_id, "a"))
    assert last + 1 - stored <= 200 / 2, "at most max_buffer_points values, two a step"


def run_to_end(code: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )


STARTS_AND_STOPS = """
import sys
from experiment_tracking import ExperimentTracking
tracking = ExperimentTracking(sys.argv[1], capture_environment=False, buffered=True, max_buffer_seconds=60)
run_id = tracking.start_run("e", "r", detached=sys.argv[2] == "detached")
tracking.log_metrics(run_id, {"m": 1.0})
print(run_id, flush=True)
if sys.argv[2] == "raise":
    raise RuntimeError("out of luck")
"""


@pytest.mark.slow
@pytest.mark.parametrize(("how", "status"), [("exit", "finished"), ("raise", "failed"), ("detached", "running")])
def test_a_run_nobody_ended_gets_the_end_its_program_had(sqlite_url, how, status):
    done = run_to_end(STARTS_AND_STOPS, sqlite_url, how)
    run = ExperimentTracking(sqlite_url).get_run(done.stdout.strip())
    assert run.status == status
    assert run.metrics == {"m": 1.0}, "what waited in the buffer was stored at exit"
    assert ("RuntimeError: out of luck" in (run.error or "")) == (how == "raise")


def test_a_run_elsewhere_without_a_heartbeat_is_killed_and_comes_back_with_one(sqlite_database):
    import sqlalchemy as sa

    from db import RunRow

    tracking = ExperimentTracking(sqlite_database, capture_environment=False)
    run_id = tracking.start_run("e", "r", detached=True)

    def seen(seconds_ago: float) -> None:
        beat = int((time.time() - seconds_ago) * 1e6)
        with sqlite_database.write() as session:
            session.execute(
                sa.update(RunRow).values(heartbeat_at=sa.type_coerce(beat, sa.BigInteger), process="another-host|1|2")
            )

    seen(30)
    assert tracking.get_run(run_id).status == "running"
    seen(90)
    assert tracking.get_run(run_id).status == "killed"
    with sqlite_database.read() as session:
        number = session.scalar(sa.select(RunRow.id))
    tracking._write_heartbeats([number])
    assert tracking.get_run(run_id).status == "running", "its machine had only slept"
    for ending in ("killed", "finished"):  # by somebody's hand, while the process still lives
        tracking.end_run(run_id, ending)
        tracking._write_heartbeats([number])
        assert tracking.get_run(run_id).status == ending


def test_a_forked_child_logs_and_leaves_the_runs_of_its_parent_alone(sqlite_database):
    tracking = ExperimentTracking(sqlite_database, capture_environment=False, buffered=True, max_buffer_seconds=60)
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"parent": 1.0})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            tracking.log_metrics(run_id, {"child": 2.0})
            tracking.flush()
            tracking.close()  # what an exit of the interpreter does
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    run = tracking.get_run(run_id)
    assert run.metrics == {"child": 2.0, "parent": 1.0}
    assert run.metric_summaries["parent"].n_points == 1
    assert run.status == "running"


WRITER = """
import sys
from experiment_tracking import ExperimentTracking
tracking = ExperimentTracking(sys.argv[1], capture_environment=False)
shared, number, count = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with tracking.run("e", f"own-{number}") as run:
    for step in range(count):
        run.log({"m": step * 1.0, "n": 1.0}, step=step)
        tracking.log_metrics(shared, {"next": float(number)})
"""


def check_processes(url: str, count: int, n_processes: int = 8) -> None:
    tracking = ExperimentTracking(url, capture_environment=False)
    shared = tracking.start_run("e", "shared")
    processes = [start(WRITER, url, shared, str(number), str(count)) for number in range(n_processes)]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * n_processes, errors
    summary = tracking.get_run(shared).metric_summaries["next"]
    n_values = n_processes * count
    assert (summary.n_points, summary.last_step) == (n_values, n_values - 1), "each value got a step of its own"
    runs = tracking.search_runs("name like 'own-%'")
    assert len(runs) == n_processes
    assert set(runs["status"]) == {"finished"}
    assert len(tracking.metric_history(runs["run_id"].tolist(), ["m", "n"])) == 2 * n_values


@pytest.mark.slow
def test_processes_at_once_store_everything(sqlite_url):
    check_processes(sqlite_url, 25, n_processes=3)


@pytest.mark.slow
def test_eight_processes_at_once_store_a_lot(sqlite_url):
    check_processes(sqlite_url, 500)


@pytest.mark.slow
def test_eight_processes_at_once_store_everything_on_postgresql(postgres_url):
    check_processes(postgres_url, 100)


def test_two_processes_that_set_a_param_differently_end_with_one_value_and_one_error(sqlite_url):
    code = """
import sys
from experiment_tracking import ExperimentTracking
ExperimentTracking(sys.argv[1]).log_params(sys.argv[2], {"lr": float(sys.argv[3])})
"""
    tracking = ExperimentTracking(sqlite_url, capture_environment=False)
    run_id = tracking.start_run("e", "r")
    processes = [start(code, sqlite_url, run_id, value) for value in ("0.1", "0.2")]
    errors = [process.communicate()[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1]
    assert "DuplicateError" in "".join(errors)
    assert tracking.get_run(run_id).params["lr"] in (0.1, 0.2)


def test_importing_tracking_is_light():
    heavy = "{'pandas', 'plotly', 'scipy', 'joblib', 'sklearn'}"
    code = f"import sys, experiment_tracking; print(sorted({heavy} & set(sys.modules)))"
    assert run_to_end(code).stdout.strip() == "[]"
