"""Odd arguments of the tracking's verbs: the same clear answer on both databases, in one line."""

from __future__ import annotations

import pandas as pd
import pytest

from db import ArtifactError, Database
from experiment_tracking import ExperimentTracking

NO_TEXT = [5, 1.5, b"x", ["a"], {"a": 1}, pd.Series([1, 2]), pd.NA, object()]
VERBS = {
    "find_run, experiment": lambda tracking, _, value: tracking.find_run(value, "r"),
    "find_run, name": lambda tracking, _, value: tracking.find_run("e", value),
    "count_runs": lambda tracking, _, value: tracking.count_runs(value),
    "search_runs": lambda tracking, _, value: tracking.search_runs(value),
    "metric_history": lambda tracking, run_id, value: tracking.metric_history(run_id, [value]),
    "delete_tags": lambda tracking, run_id, value: tracking.delete_tags(run_id, [value]),
    "restore_experiment": lambda tracking, _, value: tracking.restore_experiment(value),
}


@pytest.fixture
def tracking(database: Database) -> ExperimentTracking:
    return ExperimentTracking(database, capture_environment=False)


@pytest.fixture
def run_id(tracking: ExperimentTracking) -> str:
    run_id = tracking.start_run("e", "r", params={"lr": 0.1}, tags={"team": "risk"}, detached=True)
    tracking.log_metrics(run_id, {"loss": 1.0})
    return run_id


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_text_is_refused_wherever_text_is_asked_for(verb, tracking, run_id):
    for value in NO_TEXT:
        with pytest.raises(TypeError, match="text") as caught:
            VERBS[verb](tracking, run_id, value)
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ValueError):  # a NUL character, which PostgreSQL takes for no text
        VERBS[verb](tracking, run_id, "a\x00b")
    assert tracking.get_run(run_id).tags == {"team": "risk"}


@pytest.mark.parametrize("days", [-1, float("nan"), float("inf"), 10**9, 10**400, "1", None])
def test_an_age_that_is_none_removes_nothing(days, tracking, run_id):
    tracking.delete_run(run_id)
    with pytest.raises((ValueError, TypeError), match="older_than_days"):
        tracking.purge_deleted(older_than_days=days)
    tracking.restore_run(run_id)
    assert tracking.get_run(run_id).params == {"lr": 0.1}


def test_a_path_that_no_file_system_takes_is_not_there(tracking, run_id, tmp_path):
    with pytest.raises(ArtifactError, match="there is no file"):
        tracking.log_artifact(run_id, tmp_path / ("a" * 300))
    with pytest.raises(FileNotFoundError, match="there is no MLflow store"):
        tracking.import_mlflow(tmp_path / ("a" * 300))
