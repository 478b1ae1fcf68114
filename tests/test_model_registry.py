"""Promises of the model registry, on SQLite and on PostgreSQL."""

from __future__ import annotations

import html
import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

import db
from artifacts import ArtifactStore
from db import (
    ArtifactError,
    Database,
    DuplicateError,
    ModelVersionRow,
    NotFoundError,
    StageEventRow,
    StateError,
)
from model_registry import (
    ALLOWED_TRANSITIONS,
    ModelRegistryManager,
    ModelStage,
)
from registry_parts.versions import precedence_key
from tests.registry_support import add, make_run, rows
from values import new_id, to_utc

# -- versions ----------------------------------------------------------------------------------------------

# The example of semver.org, item 11, between its neighbours.
PRECEDENCE = [
    "0.0.1", "0.9.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
    "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0-0", "2.0.0", "10.0.0", "99999999999999999999.0.0",
]  # fmt: skip


def test_versions_are_listed_in_the_order_of_semantic_versioning(registry):
    shuffled = np.random.default_rng(1).permutation(PRECEDENCE).tolist()
    for version in shuffled:
        add(registry, version)
    assert [v.version for v in registry.list_versions("churn")] == PRECEDENCE
    assert [v.version for v in registry.list_versions("churn", descending=True)] == PRECEDENCE[::-1]
    assert [v.version for v in registry.list_versions("churn", limit=3, offset=9)] == PRECEDENCE[9:12]
    found = registry.search(name="churn", order_by="version", descending=False)
    assert found["version"].tolist() == PRECEDENCE
    assert registry.list_models()[0].latest_version == PRECEDENCE[-1]


def test_build_metadata_does_not_make_another_version(registry, database):
    add(registry, "1.0.0+a")
    before = rows(database)
    with pytest.raises(DuplicateError, match=r"1\.0\.0\+b is the same version as 1\.0\.0\+a"):
        add(registry, "1.0.0+b")
    assert rows(database) == before
    for same in ("1.0.0+a", "1.0.0", "1.0.0+c"):
        assert registry.get_version("churn", same).version == "1.0.0+a"
        assert registry.load_model("churn", same) == registry.load_model("churn")


def test_the_next_version_is_picked_by_the_part_to_raise(registry):
    assert [registry.find_version_by_id(add(registry, None)).version for _ in range(2)] == ["1.0.0", "1.1.0"]
    for bump, expected in [("patch", "1.1.1"), ("minor", "1.2.0"), ("major", "2.0.0")]:
        model_id = registry.register_model({"b": bump}, "churn", bump=bump)
        assert registry.find_version_by_id(model_id).version == expected
    add(registry, "3.0.0-rc.1")
    model_id = registry.register_model({}, "churn", bump="major")
    assert registry.find_version_by_id(model_id).version == "3.0.0"
    with pytest.raises(ValueError, match="not both"):
        add(registry, "5.0.0", bump="minor")
    with pytest.raises(ValueError, match="bump"):
        add(registry, None, bump="huge")


def test_a_deleted_versions_number_is_never_used_again(registry):
    add(registry, "1.0.0")
    add(registry, "1.1.0")
    registry.delete_version("churn", "1.1.0")
    with pytest.raises(DuplicateError, match="deleted"):
        add(registry, "1.1.0")
    registry.collect_garbage(grace_seconds=0)
    with pytest.raises(DuplicateError, match="deleted"):
        add(registry, "1.1.0")
    assert registry.find_version_by_id(add(registry, None)).version == "1.2.0"


def test_the_same_registration_sent_again_is_the_same_version(registry, database):
    first = add(registry, performance_metrics={"auc": math.nan}, stage="Production")
    before = rows(database)
    assert add(registry, performance_metrics={"auc": math.nan}, stage="Production") == first
    assert rows(database) == before
    for change in ({"performance_metrics": {"auc": 0.5}}, {"hyperparameters": {"a": 1}}, {"model_type": "ranker"}):
        with pytest.raises(DuplicateError, match="other content"):
            add(registry, **{"performance_metrics": {"auc": math.nan}, **change})
    with pytest.raises(DuplicateError, match="other content"):
        registry.register_model({"other": 1}, "churn", "1.0.0", performance_metrics={"auc": math.nan})
    assert rows(database) == before


def test_an_idempotency_key_makes_a_retry_return_the_first_version(registry):
    first = add(registry, None, idempotency_key="job 17")
    assert add(registry, None, idempotency_key="job 17") == first
    assert add(registry, None) != first


# -- stages --------------------------------------------------------------------------------------------------


def test_nothing_moves_when_things_are_not_as_they_were_seen(registry):
    for number in range(4):
        add(registry, f"1.{number}.0")
    registry.transition_stage("churn", "1.0.0", "Production", from_stage="Development", displacing="")
    registry.transition_stage("churn", "1.1.0", "Production", displacing="1.0.0")
    with pytest.raises(StateError, match=r"1\.1\.0 of churn is in Production by now, not 1\.0\.0; look again"):
        registry.transition_stage("churn", "1.2.0", "Production", displacing="1.0.0")
    with pytest.raises(StateError, match=r"1\.1\.0 of churn is in Production by now, not none"):
        registry.transition_stage("churn", "1.2.0", "Production", displacing="")
    with pytest.raises(StateError, match=r"not in Development any more: it is in Production; look again"):
        registry.transition_stage("churn", "1.1.0", "Archived", from_stage="Development")
    registry.transition_stage("churn", "1.2.0", "Production")
    with pytest.raises(StateError, match=r"churn 1\.0\.0 would not come back: 1\.1\.0 would"):
        registry.rollback("churn", from_version="1.2.0", to_version="1.0.0")
    assert registry.get_production("churn").version == "1.2.0"
    assert registry.rollback("churn", from_version="1.2.0", to_version="1.1.0").version == "1.1.0"


def test_promoting_moves_the_former_version_to_archived_and_records_both(registry):
    add(registry, "1.0.0", stage="Production")
    add(registry, "1.1.0", stage="Staging")
    moved = registry.transition_stage(
        "churn", "1.1.0", "Production", reason="better", actor="grace", evidence={"auc": 0.93}
    )
    assert moved.stage is ModelStage.PRODUCTION
    assert registry.get_production("churn").version == "1.1.0"
    assert registry.get_version("churn", "1.0.0").stage is ModelStage.ARCHIVED
    displaced, promoted = registry.stage_history("churn")[-2:]
    assert (displaced.version, displaced.kind, displaced.to_stage) == ("1.0.0", "displace", ModelStage.ARCHIVED)
    assert (promoted.version, promoted.displaced, promoted.actor, promoted.reason) == (
        "1.1.0", "1.0.0", "grace", "better",
    )  # fmt: skip
    assert promoted.evidence["auc"] == 0.93
    assert promoted.sequence > displaced.sequence


def test_promotion_may_refuse_to_displace(registry):
    add(registry, "1.0.0", stage="Production")
    add(registry, "1.1.0")
    with pytest.raises(StateError, match=r"1\.0\.0 is in Production"):
        registry.transition_stage("churn", "1.1.0", "Production", archive_current=False)
    assert registry.get_production("churn").version == "1.0.0"


def test_exactly_the_transitions_of_the_table_are_allowed(sqlite_registry):
    number = 0
    for before in ModelStage:
        for after in ModelStage:
            number += 1
            version = f"1.{number}.0"
            add(sqlite_registry, version)
            if before is not ModelStage.DEVELOPMENT:
                sqlite_registry.transition_stage("churn", version, before)
            events = len(sqlite_registry.stage_history("churn", version))
            if after in ALLOWED_TRANSITIONS[before] or before is after:
                assert sqlite_registry.transition_stage("churn", version, after).stage is after
            else:
                with pytest.raises(StateError, match=f"cannot move to {after.value}"):
                    sqlite_registry.transition_stage("churn", version, after)
            grown = len(sqlite_registry.stage_history("churn", version)) - events
            assert grown == (after in ALLOWED_TRANSITIONS[before])


def test_the_database_itself_admits_one_production_version(database):
    registry = ModelRegistryManager(database)
    add(registry, "1.0.0", stage="Production")
    add(registry, "1.1.0")
    with pytest.raises(sa.exc.IntegrityError), database.write() as session:
        session.execute(sa.update(ModelVersionRow).where(ModelVersionRow.version == "1.1.0").values(stage="Production"))
    assert registry.get_production("churn").version == "1.0.0"


@pytest.mark.parametrize("statement", ["UPDATE stage_events SET actor = 'eve'", "DELETE FROM stage_events"])
def test_the_audit_trail_can_only_grow(statement, database):
    registry = ModelRegistryManager(database, actor="ada")
    add(registry)
    with pytest.raises(sa.exc.DBAPIError, match=db.APPEND_ONLY_MESSAGE), database.write() as session:
        session.execute(sa.text(statement))
    assert [event.actor for event in registry.stage_history("churn")] == ["ada"]


def test_rollback_walks_back_through_production(registry):
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        add(registry, version, stage="Production")
    assert registry.rollback("churn", reason="drift").version == "1.1.0"
    assert registry.rollback("churn").version == "1.0.0"
    with pytest.raises(StateError, match="no earlier"):
        registry.rollback("churn")
    assert registry.get_production("churn").version == "1.0.0"
    registry.transition_stage("churn", "1.2.0", "Production")
    assert registry.rollback("churn").version == "1.0.0"
    event = registry.stage_history("churn")[-1]
    assert (event.kind, event.displaced, event.evidence) == ("rollback", "1.2.0", {"rolled_back_from": "1.2.0"})


def test_what_a_rollback_would_bring_back_is_known_before_and_what_was_seen_is_what_is_rolled_back(registry):
    add(registry, "1.0.0", stage="Production")
    assert registry.find_rollback_target("churn") is None
    for version in ("1.1.0", "1.2.0"):
        add(registry, version, stage="Production")
    assert registry.find_rollback_target("churn").version == "1.1.0"
    n_events = len(registry.stage_history("churn"))
    with pytest.raises(StateError, match=r"1\.1\.0 is not in Production any more: 1\.2\.0 is"):
        registry.rollback("churn", from_version="1.1.0")
    assert len(registry.stage_history("churn")) == n_events
    assert registry.rollback("churn", from_version="1.2.0").version == "1.1.0"
    registry.transition_stage("churn", "1.1.0", "Archived")
    with pytest.raises(StateError, match="no version is"):
        registry.rollback("churn", from_version="1.1.0")


def test_rollback_passes_over_deleted_versions_and_empty_production(registry):
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        add(registry, version, stage="Production")
    registry.delete_version("churn", "1.1.0")
    assert registry.rollback("churn").version == "1.0.0"
    registry.transition_stage("churn", "1.0.0", "Archived")
    assert registry.rollback("churn").version == "1.0.0"


def test_a_failing_gate_says_which_and_why_and_an_override_is_recorded(registry):
    add(registry, "1.0.0", stage="Production", performance_metrics={"auc": 0.90, "latency_ms": 20.0})
    registry.set_gates(
        "churn",
        {
            "metrics": {"auc": {"min": 0.85}, "f1": {"min": 0.5}},
            "not_worse_than_production": {"auc": 0.01, "latency_ms": 5},
        },
    )
    add(registry, "1.1.0", performance_metrics={"auc": 0.88, "latency_ms": 30.0, "f1": math.nan})
    with pytest.raises(StateError) as caught:
        registry.transition_stage("churn", "1.1.0", "Production")
    message = str(caught.value)
    for part in ("f1 is NaN", "metrics.f1.min", "not_worse_than_production.auc", "latency_ms is 30"):
        assert part in message
    assert "metrics.auc.min" not in message
    assert registry.get_production("churn").version == "1.0.0"
    with pytest.raises(ValueError, match="reason"):
        registry.transition_stage("churn", "1.1.0", "Production", override=True)
    registry.transition_stage("churn", "1.1.0", "Production", override=True, reason="incident 7")
    evidence = registry.stage_history("churn")[-1].evidence
    assert evidence["override"] is True
    assert {o["gate"]: o["passed"] for o in evidence["gates"]}["metrics.auc.min"] is True
    with pytest.raises(StateError, match=r"metrics\.f1"):
        add(registry, "1.2.0", stage="Production", performance_metrics={"auc": 0.99})
    with pytest.raises(NotFoundError):
        registry.get_version("churn", "1.2.0")
    assert registry.rollback("churn").version == "1.0.0"  # gates are not asked again


def test_an_experiment_can_be_required(registry, database):
    add(registry, "1.0.0")
    registry.set_gates("churn", {"experiment": True})
    outcomes = registry.check_promotion("churn", "1.0.0")
    assert [(o["gate"], o["passed"]) for o in outcomes] == [("experiment", False)]
    with pytest.raises(StateError, match="ship"):
        registry.transition_stage("churn", "1.0.0", "Production")
    with pytest.raises(NotFoundError, match="does not exist"):
        registry.transition_stage("churn", "1.0.0", "Production", evidence={"experiment_id": "nosuch"})


def test_the_decision_of_a_real_experiment_opens_the_gate_for_the_version_it_tested(registry, database):
    from ab_testing import ABTestingFramework, ExperimentConfig, MetricType

    baseline, treatment = add(registry, "1.0.0", stage="Production"), add(registry, "1.1.0")
    add(registry, "1.2.0")
    registry.set_gates("churn", {"experiment": "new weights"})
    framework = ABTestingFramework(database)
    ids = {
        name: framework.create_experiment(
            ExperimentConfig(
                name=name,
                metric_name="accuracy",
                metric_type=MetricType.CONTINUOUS,
                baseline_model="churn 1.0.0",
                treatment_model="churn 1.1.0",
                baseline_version_id=baseline,
                treatment_version_id=treatment,
            )
        )
        for name in ("new weights", "another")
    }
    framework.conclude(ids["another"], decision="ship", reason="won")

    def promote(version: str, experiment: str) -> None:
        registry.transition_stage("churn", version, "Production", evidence={"experiment_id": ids[experiment]})

    with pytest.raises(StateError, match="decided None"):
        promote("1.1.0", "new weights")
    with pytest.raises(StateError, match="'another'"):
        promote("1.1.0", "another")
    framework.conclude(ids["new weights"], decision="ship", reason="won")
    with pytest.raises(StateError, match="tested another version"):
        promote("1.2.0", "new weights")
    promote("1.1.0", "new weights")
    event = registry.stage_history("churn")[-1]
    assert event.evidence["experiment_id"] == ids["new weights"]
    assert event.evidence["experiment"]["decision"] == "ship"


def test_evidence_must_name_a_run_that_exists(registry, database):
    add(registry, "1.0.0")
    with pytest.raises(NotFoundError, match="run"):
        registry.transition_stage("churn", "1.0.0", "Staging", evidence={"run_id": "nosuch"})
    run_id = make_run(database)
    registry.transition_stage("churn", "1.0.0", "Staging", evidence={"run_id": run_id})
    assert registry.stage_history("churn")[-1].evidence == {"run_id": run_id}


@pytest.mark.parametrize(
    "gates",
    [
        {"metric": {"auc": {"min": 1}}},
        {"metrics": {"auc": 0.9}},
        {"metrics": {"auc": {"at least": 0.9}}},
        {"metrics": {"auc": {"min": math.nan}}},
        {"metrics": {"auc": {"min": "high"}}},
        {"not_worse_than_production": {"auc": -1}},
        {"not_worse_than_production": {"quux": 0.1}},
        {"experiment": "a/b"},
        {"metrics": "auc"},
        {"metrics": {"auc": {"min": 0.9, "max": 0.8}}},
        {"not_worse_than_production": "auc"},
        [],
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", str(value)),
)
def test_a_nonsense_gate_is_refused(gates, sqlite_registry):
    add(sqlite_registry)
    if gates == []:
        assert sqlite_registry.set_gates("churn", gates) == {}
        return
    with pytest.raises((ValueError, TypeError)):
        sqlite_registry.set_gates("churn", gates)
    assert sqlite_registry.get_model("churn").gates == {}


# -- names for versions --------------------------------------------------------------------------------------


def test_an_alias_moves_and_finds_its_version(registry):
    add(registry, "1.0.0")
    add(registry, "1.1.0")
    registry.set_alias("churn", "champion", "1.0.0")
    registry.set_alias("churn", "champion", "1.1.0")
    registry.set_alias("churn", "Challenger", "1.0.0")
    assert registry.get_version("churn", alias="champion").version == "1.1.0"
    assert registry.load_model("churn", alias="Challenger")["of"] == "1.0.0"
    assert registry.get_model("churn").aliases == {"Challenger": "1.0.0", "champion": "1.1.0"}
    assert registry.get_version("churn", "1.1.0").aliases == ("champion",)
    registry.delete_alias("churn", "champion")
    for use in (registry.delete_alias, lambda n, a: registry.get_version(n, alias=a)):
        with pytest.raises(NotFoundError, match="champion"):
            use("churn", "champion")
    for alias in ("1.0.0", "production", "a/b", ""):
        with pytest.raises(ValueError, match="alias"):
            registry.set_alias("churn", alias, "1.0.0")


def test_a_version_not_named_is_production_or_the_highest_in_use(registry):
    add(registry, "1.0.0")
    add(registry, "2.0.0-rc.1")
    assert registry.load_model("churn")["of"] == "2.0.0-rc.1"
    registry.transition_stage("churn", "2.0.0-rc.1", "Archived")
    assert registry.load_model("churn")["of"] == "1.0.0"
    add(registry, "3.0.0")
    registry.transition_stage("churn", "1.0.0", "Production")
    assert registry.load_model("churn")["of"] == "1.0.0"
    assert registry.load_model("churn", stage="Development")["of"] == "3.0.0"
    with pytest.raises(NotFoundError, match="Staging"):
        registry.load_model("churn", stage="Staging")
    with pytest.raises(ValueError, match="one of"):
        registry.load_model("churn", "1.0.0", stage="Production")


def test_a_large_model_is_verified_and_comes_back_whole_and_writable(registry, database):
    weights = np.random.default_rng(0).random(600_000)
    registry.register_model({"weights": weights}, "big", "1.0.0")
    loaded = registry.load_model("big")["weights"]
    assert (loaded == weights).all()
    loaded[0] = 2.0
    path = Path(database.artifact_url) / "sha256" / registry.get_version("big").sha256
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert registry.verify()[0].kind == "content"
    with pytest.raises(ArtifactError, match=r"big 1\.0\.0"):
        registry.load_model("big")


def test_what_does_not_exist_is_named_with_what_does(registry):
    with pytest.raises(NotFoundError, match="no model is registered"):
        registry.get_version("churn", "1.0.0")
    add(registry, "1.0.0")
    with pytest.raises(NotFoundError, match=r"'churn'"):
        registry.list_versions("chrun")
    with pytest.raises(NotFoundError, match=r"has no version 2\.0\.0; the highest are 1\.0\.0"):
        registry.get_version("churn", "2.0.0")
    with pytest.raises(NotFoundError, match="promote one"):
        registry.get_production("churn")
    assert registry.find_version_by_id(new_id()) is None


def test_tags_descriptions_owners_and_cards_can_change(registry):
    add(registry, tags={"team": "risk", "old": "1"})
    assert registry.set_tags("churn", "1.0.0", {"old": None, "new": "2"}) == {"team": "risk", "new": "2"}
    assert registry.search(tags={"new": "2", "team": None})["version"].tolist() == ["1.0.0"]
    assert registry.search(tags={"old": None}).empty
    registry.update_model("churn", owner="ada", description="who leaves", tags={"area": "crm"})
    assert registry.get_version("churn").owner == "ada"
    changed = registry.update_version("churn", "1.0.0", owner="grace", description="v1")
    assert (changed.owner, changed.description) == ("grace", "v1")
    assert registry.get_model("churn").owner == "ada"
    registry.update_version("churn", "1.0.0", card="# Mine\n")
    assert registry.model_card("churn", "1.0.0") == "# Mine\n"
    registry.update_version("churn", "1.0.0", card=None)
    assert registry.model_card("churn", "1.0.0").startswith("# churn 1.0.0")


def test_a_card_names_the_run_and_writes_nothing_as_python_does(registry, database):
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(database, capture_environment=False)
    run_id = tracking.start_run("training", "deep-sweep")
    registry.register_model({"w": 1}, "churn", "1.0.0", hyperparameters={"depth": None, "bagging": True}, run_id=run_id)
    card = registry.model_card("churn", "1.0.0")
    assert f"| Training run | deep\\-sweep \\({run_id}\\) |" in card
    assert "| depth | \\- |" in card
    assert "| bagging | yes |" in card


def test_a_card_shows_typed_text_as_it_was_typed(registry):
    add(
        registry,
        description="{name} [click](javascript:alert(1)) <script>",
        tags={"x": "y"},
        hyperparameters={"a|b": "`{version}`"},
        performance_metrics={"<img src=x>": 0.5},
    )
    card = registry.model_card("churn", "1.0.0")
    assert "<script>" not in card
    assert "](javascript" not in card
    assert "<img" not in card
    assert r"\{name\}" in card
    assert "a\\|b" in card


# -- searching -----------------------------------------------------------------------------------------------


@pytest.fixture
def filled(registry):
    for number in range(12):
        registry.register_model(
            {"n": number},
            f"model-{number % 3}",
            f"1.{number}.0",
            performance_metrics={
                "auc": number / 10,
                **({"loss": math.nan} if number == 3 else {"loss": 1.0 - number / 20}),
            },
            tags={"team": "risk" if number % 2 else "fraud"},
            description="100% of_it" if number == 5 else f"Number {number} É",
        )
    return registry


def test_what_can_be_restored_is_searched_apart_the_last_deleted_first(filled):
    for number in (5, 0, 3):
        filled.delete_version(f"model-{number % 3}", f"1.{number}.0")
    filled.delete_version("model-1", "1.1.0", purge=True)
    found = filled.search(restorable=True, order_by="deleted_at", limit=2)
    assert (found["version"].tolist(), found.attrs["total"]) == (["1.3.0", "1.0.0"], 3)
    assert filled.search("of_it", restorable=True)["version"].tolist() == ["1.5.0"]
    assert filled.search().attrs["total"] == 8


def test_search_meets_every_condition_and_pages(filled):
    found = filled.search(metrics={"auc": 0.6}, tags={"team": "risk"}, order_by="metrics.auc")
    assert found["metrics.auc"].tolist() == [1.1, 0.9, 0.7]
    assert found.attrs["total"] == 3
    assert filled.search(metrics={"loss": "< 0.6", "auc": (">", 0.9)})["version"].tolist() == ["1.11.0", "1.10.0"]
    assert set(filled.search(metrics={"loss": "!= 0"})["version"]) == {f"1.{n}.0" for n in range(12) if n != 3}
    pages = [filled.search(order_by="created_at", limit=5, offset=start)["model_id"].tolist() for start in (0, 5, 10)]
    assert [len(page) for page in pages] == [5, 5, 2]
    assert len({model_id for page in pages for model_id in page}) == 12
    assert filled.search(limit=0).attrs["total"] == 12
    assert filled.search("nothing like it").empty
    last = filled.search(order_by="metrics.loss", descending=False)
    assert last["version"].tolist()[-1] == "1.3.0"  # NaN is never the best


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("MODEL-1", {1, 4, 7, 10}),
        ("100% of_", {5}),
        ("%", {5}),
        ("_", {5}),
        ("É", set(range(12)) - {5}),
        ("RISK", {1, 3, 5, 7, 9, 11}),
    ],
)
def test_text_is_found_literally_and_without_case(text, versions, filled):
    assert set(filled.search(text)["version"]) == {f"1.{n}.0" for n in versions}


@pytest.mark.parametrize(
    "settings",
    [
        {"order_by": "name; DROP TABLE models"},
        {"order_by": "(CASE WHEN 1 THEN name END)"},
        {"limit": -1},
        {"limit": 10**9},
        {"offset": -1},
        {"offset": "abc"},
        {"metrics": {"auc": "better than 1"}},
        {"metrics": {"auc": ("LIKE", 1)}},
        {"metrics": {"auc": ">= 1 OR 1=1"}},
        {"stage": "Live"},
        {"text": "a" * 100_000},
    ],
    ids=lambda settings: str(settings)[:60],
)
def test_a_search_that_cannot_be_meant_is_refused(settings, sqlite_registry):
    add(sqlite_registry)
    with pytest.raises((ValueError, TypeError)):
        sqlite_registry.search(**settings)


def test_models_are_listed_with_what_their_versions_come_to(registry):
    add(registry, "1.0.0", name="b", stage="Production")
    add(registry, "1.1.0", name="b")
    add(registry, "0.1.0", name="a")
    registry.delete_version("a", "0.1.0")
    first, second = registry.list_models()
    assert (first.name, first.n_versions, first.latest_version, first.production_version) == ("a", 0, None, None)
    assert (second.name, second.n_versions, second.latest_version, second.production_version) == (
        "b",
        2,
        "1.1.0",
        "1.0.0",
    )
    assert [model.name for model in registry.list_models(limit=1, offset=1)] == ["b"]


# -- comparing -----------------------------------------------------------------------------------------------


def test_a_comparison_says_what_changed_and_which_way(registry):
    add(registry, "1.0.0", performance_metrics={"accuracy": 0.8, "rmse": 2.0, "zero": 0.0, "gone": 1.0, "odd": 1.0},
        hyperparameters={"lr": 0.1, "depth": 3, "flag": True}, dependencies={"libx": "1.0"})  # fmt: skip
    second = {"accuracy": 0.84, "rmse": 2.5, "zero": 0.5, "new": 2.0, "odd": math.nan}
    add(registry, "1.1.0", performance_metrics=second,
        hyperparameters={"lr": 0.01, "flag": 1, "width": 8}, dependencies={"libx": "2.0"})  # fmt: skip
    add(registry, "1.2.0", performance_metrics={"accuracy": 0.8})
    comparison = registry.compare_models("churn", "1.0.0", "1.1.0", "1.2.0")
    by_key = {(item.metric, item.version): item for item in comparison.metrics}
    accuracy = by_key["accuracy", "1.1.0"]
    assert accuracy.change == pytest.approx(0.04)
    assert accuracy.relative_change == pytest.approx(0.05)
    assert accuracy.direction == "better"
    assert by_key["rmse", "1.1.0"].direction == "worse"
    assert by_key["accuracy", "1.2.0"].direction == "same"
    assert (by_key["zero", "1.1.0"].relative_change, by_key["zero", "1.1.0"].reason) == (None, "the baseline is zero")
    assert by_key["gone", "1.1.0"].change is None
    assert by_key["new", "1.1.0"].reason == "only in 1.1.0"
    assert by_key["odd", "1.1.0"].reason == "a value is not finite"
    kinds = {change.key: change.kind for change in comparison.hyperparameters if change.version == "1.1.0"}
    assert kinds == {"lr": "changed", "depth": "removed", "width": "added", "flag": "changed"}
    assert [(c.key, c.baseline, c.value) for c in comparison.dependencies if c.version == "1.1.0"] == [
        ("libx", "1.0", "2.0")
    ]
    assert comparison.age_difference_seconds["1.2.0"] > 0
    frame = comparison.to_frame()
    assert len(frame) == 12
    assert frame["change"].dtype == np.float64
    json.dumps(comparison.to_dict(), allow_nan=False)
    assert "accuracy" in str(comparison)
    assert "accuracy" in comparison._repr_html_()
    figure = comparison.plot()
    assert {trace.name for trace in figure.data} == {"1.1.0", "1.2.0"}
    with pytest.raises(ValueError, match="twice"):
        registry.compare_models("churn", "1.0.0", "1.0.0")
    with pytest.raises(ValueError, match="two"):
        registry.compare_models("churn", "1.0.0")


def rows_of_html(text: str) -> dict[str, list[str]]:
    """Return the cells of a table's rows by the text of their first cell."""

    def plain(cell: str) -> str:
        return html.unescape(re.sub("<[^>]+>", "", cell))

    found = {}
    for row in re.findall("<tr>(.*?)</tr>", text, re.DOTALL):
        head, *cells = re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        found[plain(head)] = [plain(cell) for cell in cells]
    return found


def test_many_versions_stand_side_by_side_each_in_its_column(registry):
    for version, metrics, settings in [
        ("1.0.0", {"auc": 0.90, "lift": 1.0}, {"lr": 0.1, "depth": 3}),
        ("1.1.0", {"auc": 0.92}, {"lr": 0.2}),
        ("1.2.0", {"auc": 0.88, "bleu": 0.5}, {"lr": 0.1, "depth": 3}),
    ]:
        add(registry, version, performance_metrics=metrics, hyperparameters=settings)
    comparison = registry.compare_models("churn", "1.0.0", "1.1.0", "1.2.0")
    reasons = {(item.metric, item.version): item.reason for item in comparison.metrics}
    assert reasons["bleu", "1.1.0"] == "in neither"
    assert reasons["bleu", "1.2.0"] == "only in 1.2.0"
    assert reasons["lift", "1.1.0"] == "only in 1.0.0"
    table = rows_of_html(comparison._repr_html_())
    assert table["hyperparameter lr"] == ["0.1", "0.2 changed", "the same"]
    assert table["hyperparameter depth"] == ["3", "- removed", "the same"]
    assert table["auc"] == ["0.9", "0.92 (+0.02, +2.22%, better)", "0.88 (-0.02, -2.22%, worse)"]
    assert table["bleu"] == ["-", "- in neither", "0.5 only in 1.2.0"]
    assert all(text.endswith("bytes") for text in table["size"])
    assert all(text.endswith("later") for text in table["registered"][1:])
    assert "later [1.2.0]" in str(comparison)


def test_markup_in_names_is_shown_and_never_interpreted(registry):
    for version in ("1.0.0", "1.1.0"):
        add(registry, version, performance_metrics={"<img src=x onerror=alert(1)>": float(version[2])},
            hyperparameters={"p": f"<script>{version}</script>"}, tags={"t": "<b>"})  # fmt: skip
    comparison = registry.compare_models("churn", "1.0.0", "1.1.0")
    for shown in (comparison._repr_html_(), registry.get_version("churn")._repr_html_(), comparison.plot().to_json()):
        assert "<img" not in shown
        assert "<script>" not in shown


# -- performance over time -------------------------------------------------------------------------------------


def test_performance_is_kept_in_order_with_its_datasets(registry):
    add(registry, "1.0.0")
    add(registry, "1.1.0")
    registry.record_performance("churn", "1.0.0", {"auc": 0.9}, at="2026-01-02")
    registry.record_performance("churn", "1.0.0", {"auc": 0.8, "loss": math.nan}, at="2026-01-01T05:45:00+05:45")
    registry.record_performance("churn", "1.1.0", {"auc": np.float32(0.5)}, at="2026-01-03", dataset="holdout")
    frame = registry.performance_history("churn", "1.0.0", "auc")
    assert frame["value"].tolist() == [0.8, 0.9]
    assert frame["at"].tolist() == [pd.Timestamp("2026-01-01", tz="UTC"), pd.Timestamp("2026-01-02", tz="UTC")]
    everything = registry.performance_history("churn")
    assert everything["version"].tolist() == ["1.0.0", "1.0.0", "1.0.0", "1.1.0"]
    assert everything["value"].isna().tolist() == [False, True, False, False]
    assert registry.performance_history("churn", dataset="holdout")["value"].tolist() == [0.5]
    registry.register_model({"w": 1}, "other", "0.1.0")
    registry.record_performance("other", "0.1.0", {"auc": 0.7}, at="2026-01-01T12:00:00Z")
    both = registry.performance_history(["other", "churn"], metric="auc")
    assert both["name"].tolist() == ["churn", "other", "churn", "churn"]
    assert registry.performance_history([]).empty
    with pytest.raises(ValueError, match="2 are named"):
        registry.performance_history(["other", "churn"], "1.0.0")
    with pytest.raises(NotFoundError, match="nobody"):
        registry.performance_history(["churn", "nobody"])
    window = registry.performance_history("churn", start="2026-01-02", end="2026-01-03")
    assert window["value"].tolist() == [0.9]
    with pytest.raises(ValueError, match="empty"):
        registry.record_performance("churn", "1.0.0", {})
    assert registry.performance_history("churn", metric="none").empty


# -- export and import -----------------------------------------------------------------------------------------


def other_registry(tmp_path: Path) -> ModelRegistryManager:
    return ModelRegistryManager(
        Database(f"sqlite:///{tmp_path}/other/db", artifact_url=str(tmp_path / "other" / "files"))
    )


def test_a_version_travels_in_one_file_and_comes_out_byte_identical(registry, tmp_path):
    add(
        registry,
        performance_metrics={"auc": 0.9, "nan": math.nan, "inf": math.inf},
        hyperparameters={"big": 2**70, "text": "é\u2028"},
        tags={"a": "b"},
        description="über",
        stage="Production",
    )
    registry.update_version("churn", "1.0.0", card="# Card")
    first = registry.export_version("churn", "1.0.0", tmp_path / "a.zip")
    assert registry.export_version("churn", "1.0.0", tmp_path / "b.zip").read_bytes() == first.read_bytes()
    with pytest.raises(FileExistsError):
        registry.export_version("churn", "1.0.0", first)
    other = other_registry(tmp_path)
    model_id = other.import_version(first)
    assert other.import_version(first) == model_id
    found = other.get_version("churn", "1.0.0")
    assert (found.stage, found.origin, found.hyperparameters["big"]) == (ModelStage.DEVELOPMENT, "import", 2**70)
    assert other.model_card("churn", "1.0.0") == "# Card"
    assert other.export_version("churn", "1.0.0", tmp_path / "c.zip").read_bytes() == first.read_bytes()
    with pytest.raises(ArtifactError, match="allow_untrusted"):
        other.load_model("churn")
    assert other.load_model("churn", allow_untrusted=True)["of"] == "1.0.0"
    assert other.import_version(first, name="renamed") != model_id


def test_a_folder_version_travels_whole(registry, tmp_path):
    folder = tmp_path / "bundle"
    (folder / "w").mkdir(parents=True)
    (folder / "w" / "a.bin").write_bytes(os.urandom(1000))
    (folder / "b.json").write_bytes(b"")
    registry.register_file(folder, "bundle", "1.0.0")
    path = registry.export_version("bundle", "1.0.0", tmp_path / "x.zip")
    other = other_registry(tmp_path)
    other.import_version(path)
    assert other.load_model("bundle") == registry.load_model("bundle")


def test_a_store_can_be_moved_whole(tmp_path):
    first = tmp_path / "here"
    database = Database(first / "modeldesk.db")
    add(ModelRegistryManager(database))
    database.close()
    first.rename(tmp_path / "there")
    moved = ModelRegistryManager(Database(tmp_path / "there" / "modeldesk.db"))
    assert moved.load_model("churn")["of"] == "1.0.0"
    assert moved.verify() == []


def test_a_registry_works_on_an_object_store(tmp_path):
    database = Database(f"sqlite:///{tmp_path}/db", artifact_url=f"memory://{tmp_path.name}")
    registry = ModelRegistryManager(database)
    add(registry)
    assert registry.load_model("churn")["of"] == "1.0.0"
    registry.delete_version("churn", "1.0.0", purge=True)
    assert not ArtifactStore(database.artifact_url).exists(
        registry.list_versions("churn", include_deleted=True)[0].sha256
    )


def test_every_public_verb_and_record_is_documented():
    names = [name for name in dir(ModelRegistryManager) if not name.startswith("_")]
    assert len(names) > 25
    undocumented = [name for name in names if not (getattr(ModelRegistryManager, name).__doc__ or "").strip()]
    assert undocumented == []


def test_the_order_of_events_does_not_depend_on_the_clock(registry, monkeypatch):
    add(registry, "1.0.0")
    earlier = to_utc("2001-01-01")
    monkeypatch.setattr("registry_parts.stages.to_utc", lambda *_: earlier)
    registry.transition_stage("churn", "1.0.0", "Staging")
    monkeypatch.undo()
    registry.transition_stage("churn", "1.0.0", "Production")
    stages = [event.to_stage.value for event in registry.stage_history("churn")]
    assert stages == ["Development", "Staging", "Production"]
    with registry._database.read() as session:
        assert session.query(StageEventRow).count() == 3


def test_versions_of_equal_precedence_have_equal_keys():
    assert precedence_key("1.0.0+a") == precedence_key("1.0.0+b") == precedence_key("1.0.0")


def test_none_instead_of_a_model_is_refused_and_nothing_is_stored(registry: ModelRegistryManager) -> None:
    with pytest.raises(TypeError, match="model is None"):
        registry.register_model(None, "m", "1.0.0")
    assert registry.list_models() == []
