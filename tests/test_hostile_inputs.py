"""Bad input through every write path of the four modules: kept exactly or refused clearly, never half-stored.

The cases stand in `reference/hostile_inputs.json`. For each: the outcome is the same on SQLite and PostgreSQL, a
refused one changes no row count, a kept one comes back character by character, and the next ordinary call works.
"""

from __future__ import annotations

import decimal
import fractions
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

import columns
from ab_testing import ABTestingFramework, ExperimentConfig, MetricType
from db import Database, ModelDeskError
from experiment_tracking import ExperimentTracking
from model_monitoring import ModelMonitoring
from model_registry import ModelRegistryManager

CASES = {
    case["id"]: case
    for case in json.loads((Path(__file__).parent / "reference" / "hostile_inputs.json").read_text(encoding="utf-8"))[
        "inputs"
    ]
}


class Liar(str):
    """Text that claims to be other text."""

    __slots__ = ()

    def __str__(self) -> str:
        return "../x"


CONSTRUCTED: dict[str, list[Any]] = {
    "H029": ["a" * 255],
    "H031": ["9" * 1_000_000],
    "H032": ["\U0001f600" * 128],
    "H034": ["model", "\uff4d\uff4f\uff44\uff45\uff4c"],
    "H035": ["payment", "p\u0430yment"],
    "H044": [None],
    "H046": [12345],
    "H047": [Liar("ok")],
}


def values_of(case_id: str) -> list[Any]:
    case = CASES[case_id]
    return [case["value"]] if "value" in case else CONSTRUCTED[case_id]


NAME_CASES = [case_id for case_id, case in CASES.items() if case["field"].startswith(("name", "any text"))]


def row_counts(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {
            name: session.scalar(sa.select(sa.func.count()).select_from(table))
            for name, table in columns.map_tables().tables.items()
        }


@dataclass(frozen=True)
class WritePath:
    """One way a name gets in, and how it is seen again."""

    write: Callable[[Database, Any], object]
    names: Callable[[Database], list[str]]


def config(**changes: Any) -> ExperimentConfig:
    settings: dict[str, Any] = {
        "name": "test",
        "metric_name": "accuracy",
        "metric_type": MetricType.CONTINUOUS,
        "baseline_model": "a",
        "treatment_model": "b",
    }
    return ExperimentConfig(**{**settings, **changes})


PATHS = {
    "model": WritePath(
        lambda d, name: ModelRegistryManager(d).register_model({"weights": [1]}, name, "1.0.0"),
        lambda d: [str(model.name) for model in ModelRegistryManager(d).list_models()],
    ),
    "tracking experiment": WritePath(
        lambda d, name: ExperimentTracking(d).start_run(name, "run"),
        lambda d: [str(value) for value in ExperimentTracking(d).search_runs()["experiment"]],
    ),
    "run": WritePath(
        lambda d, name: ExperimentTracking(d).start_run("experiment", name),
        lambda d: [str(value) for value in ExperimentTracking(d).search_runs()["name"]],
    ),
    "test": WritePath(
        lambda d, name: ABTestingFramework(d).create_experiment(config(name=name)),
        lambda d: [str(found.name) for found in ABTestingFramework(d).list_experiments()],
    ),
    "monitored model": WritePath(
        lambda d, name: ModelMonitoring(d).log_performance(name, "1.0.0", "accuracy", 0.5),
        lambda d: [str(found) for found in monitored_names(d)],
    ),
}


def monitored_names(database: Database) -> list[str]:
    table = columns.map_tables().tables["monitored_models"]
    with database.read() as session:
        return list(session.scalars(sa.select(table.c.name)))


@pytest.mark.parametrize("path", PATHS)
def test_a_hostile_name_is_kept_exactly_or_refused_and_leaves_nothing(path, database, tmp_path):
    write, names = PATHS[path].write, PATHS[path].names
    write(database, "ordinary")
    for case_id in NAME_CASES:
        for value in values_of(case_id):
            if value is None and path == "run":
                continue  # a run may be without a name
            before = row_counts(database)
            must_refuse = (
                CASES[case_id]["expected"].startswith("REJECT:") and "(or escaped" not in CASES[case_id]["expected"]
            )
            refusal = None
            try:
                write(database, value)
            except (ValueError, TypeError) as error:
                refusal = str(error)
            if refusal is not None:
                assert row_counts(database) == before, case_id
                assert len(refusal) < 1000, case_id
            else:
                assert not must_refuse, f"{case_id} {value!r} was stored"
                stored = names(database)
                assert any(found == "".join(iter(value)) and type(found) is str for found in stored), case_id
    write(database, "another ordinary one")
    assert database.check_integrity() == []
    assert not (tmp_path / "pwned").exists()


VERSIONS = [case_id for case_id, case in CASES.items() if case["field"].startswith("model version") and "value" in case]


@pytest.mark.parametrize("case_id", VERSIONS)
def test_a_version_that_is_not_semantic_is_refused(case_id, database):
    registry = ModelRegistryManager(database)
    registry.register_model({"weights": [1]}, "m", "1.0.0")
    before = row_counts(database)
    with pytest.raises(ValueError, match="version"):
        registry.register_model({"weights": [1]}, "m", CASES[case_id]["value"])
    assert row_counts(database) == before
    with pytest.raises((ValueError, ModelDeskError)):
        registry.get_version("m", CASES[case_id]["value"])


STORED_METRICS = [
    math.nan,
    math.inf,
    -math.inf,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    np.float32(0.1),
    np.int64(3),
    np.bool_(True),
    True,
    np.float64("nan"),
    decimal.Decimal("0.1"),
    fractions.Fraction(1, 3),
    2**63,
]


def test_every_real_metric_value_comes_back_and_is_never_confused_with_the_best(database):
    tracking = ExperimentTracking(database)
    run_id = tracking.start_run("e", "r")
    for step, value in enumerate(STORED_METRICS):
        tracking.log_metrics(run_id, {"m": value}, step=step)
    found = tracking.metric_history([run_id], "m").sort_values("step")["value"].tolist()
    for value, back in zip(STORED_METRICS, found, strict=True):
        assert back == float(value) or (math.isnan(back) and math.isnan(float(value)))
    tracking.log_metrics(run_id, {"only_nan": math.nan})
    assert len(tracking.search_runs("metrics.only_nan > -1e300 or metrics.only_nan < 1e300")) == 0


@pytest.mark.parametrize("value", [1j, None, [1.0], "0.5", object()])
def test_what_is_no_number_is_refused_by_every_metric(value, database):
    tracking, monitoring = ExperimentTracking(database), ModelMonitoring(database)
    registry, tests = ModelRegistryManager(database), ABTestingFramework(database)
    run_id = tracking.start_run("e", "r")
    exp_id = tests.create_experiment(config())
    before = row_counts(database)
    for write in (
        lambda: tracking.log_metrics(run_id, {"good": 1.0, "m": value}),
        lambda: monitoring.log_performance("m", "1.0.0", "accuracy", value),
        lambda: registry.register_model({}, "m", "1.0.0", performance_metrics={"accuracy": value}),
        lambda: tests.record_event(exp_id, "u", value),
    ):
        with pytest.raises((ValueError, TypeError)):
            write()
    assert row_counts(database) == before


@pytest.mark.parametrize("step", [2**63, 1.5, True, "3"])
def test_a_step_is_a_64_bit_whole_number(step, database):
    tracking = ExperimentTracking(database)
    run_id = tracking.start_run("e", "r")
    before = row_counts(database)
    with pytest.raises((ValueError, TypeError), match="step"):
        tracking.log_metrics(run_id, {"m": 1.0}, step=step)
    assert row_counts(database) == before
    tracking.log_metrics(run_id, {"m": 1.0}, step=-1)
    assert tracking.metric_history([run_id], "m")["step"].tolist() == [-1]


@pytest.mark.parametrize(
    ("at", "instant"),
    [
        (datetime(2026, 3, 29, 2, 30), datetime(2026, 3, 29, 2, 30, tzinfo=UTC)),
        (
            datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
            datetime(2025, 12, 31, 18, 15, tzinfo=UTC),
        ),
    ],
)
def test_an_instant_is_kept_whatever_its_zone(at, instant, database):
    tracking = ExperimentTracking(database)
    run_id = tracking.start_run("e", "r")
    tracking.log_metrics(run_id, {"m": 1.0}, step=0, at=at)
    assert tracking.metric_history([run_id], "m")["at"].iloc[0] == instant


ODD_KEYS = ["a.b", "a b", 'a"b', "a'b", "`", "$", "__proto__", "id", "select", "val/accuracy", "=1+1", "{{7*7}}"]


def test_odd_keys_of_metrics_params_and_tags_come_back(database):
    tracking = ExperimentTracking(database)
    run_id = tracking.start_run("e", "r")
    tracking.log_params(run_id, {key: index for index, key in enumerate(ODD_KEYS)})
    tracking.log_metrics(run_id, {key: float(index) for index, key in enumerate(ODD_KEYS)})
    tracking.set_tags(run_id, {key: key for key in ODD_KEYS})
    run = tracking.get_run(run_id)
    assert {key: run.params[key] for key in ODD_KEYS} == {key: index for index, key in enumerate(ODD_KEYS)}
    assert {key: run.tags[key] for key in ODD_KEYS} == {key: key for key in ODD_KEYS}
    for index, key in enumerate(ODD_KEYS):
        assert tracking.metric_history([run_id], key)["value"].tolist() == [float(index)]


def test_long_params_are_kept_whole_or_refused(database):
    tracking = ExperimentTracking(database)
    run_id = tracking.start_run("e", "r")
    tracking.log_params(run_id, {"long": "x" * 65536})
    assert tracking.get_run(run_id).params["long"] == "x" * 65536
    before = row_counts(database)
    with pytest.raises(ValueError, match="huge"):
        tracking.log_params(run_id, {"huge": "x" * 10_000_000})
    assert row_counts(database) == before


@pytest.mark.parametrize(
    "metadata",
    [{"f": object()}, {"s": {1, 2}}, {1: "a", "1": "b"}, {True: "c"}, {None: "d"}, {"x": "\ud800"}, {"x": "a\x00b"}],
)
def test_metadata_that_json_would_lose_is_refused_everywhere(metadata, database):
    tracking, registry = ExperimentTracking(database), ModelRegistryManager(database)
    run_id = tracking.start_run("e", "r")
    before = row_counts(database)
    for write in (
        lambda: tracking.log_params(run_id, metadata),
        lambda: registry.register_model({}, "m", "1.0.0", hyperparameters=metadata),
    ):
        with pytest.raises((ValueError, TypeError)):
            write()
    assert row_counts(database) == before


def test_a_dict_that_contains_itself_is_refused(database):
    itself: dict[str, Any] = {}
    itself["self"] = itself
    tracking, registry = ExperimentTracking(database), ModelRegistryManager(database)
    run_id = tracking.start_run("e", "r")
    before = row_counts(database)
    with pytest.raises(ValueError, match="nested|itself|deep"):
        tracking.log_params(run_id, itself)
    with pytest.raises(ValueError, match="nested|itself|deep"):
        registry.register_model({}, "m", "1.0.0", hyperparameters=itself)
    assert row_counts(database) == before


@pytest.mark.parametrize(
    "shares",
    [
        {"a": 0.5, "b": 0.6},
        {"a": 1.5},
        {},
        {"a": -0.5, "b": 1.0},
        {"a": math.nan, "b": 0.5},
        {"a": math.inf},
        {"a": "0.5"},
        {"baseline": 0.5},
        {"../x": 0.5},
    ],
)
def test_impossible_shares_of_variants_are_refused(shares):
    with pytest.raises(ValueError, match="treatments|share|variant|treatment"):
        config(treatments=shares)


@pytest.mark.parametrize("threshold", [math.nan, -1, "high", None, "0,05"])
def test_a_nonsense_level_is_refused(threshold):
    with pytest.raises((ValueError, TypeError), match="significance_level"):
        config(significance_level=threshold)


def test_odd_subjects_are_assigned_for_good_and_the_empty_one_is_refused(database):
    tests = ABTestingFramework(database)
    exp_id = tests.create_experiment(config())
    for subject in ("1", "\u00e9", "e\u0301", "-rf", "=1+1"):
        assert tests.assign(exp_id, subject) == ABTestingFramework(database).assign(exp_id, subject)
    for subject in ("", None, 1.5, True):
        with pytest.raises((ValueError, TypeError)):
            tests.assign(exp_id, subject)
