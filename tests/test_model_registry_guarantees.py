"""What the database itself guarantees of the registry, whoever writes to it: raw SQL is refused."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from db import Database
from model_registry import ModelRegistryManager

AGAINST_THE_RULES = {
    "a second version in Production": "UPDATE model_versions SET stage = 'Production' WHERE version = '1.1.0'",
    "another spelling of Production": "UPDATE model_versions SET stage = 'production' WHERE version = '1.1.0'",
    "a stage that is none": "UPDATE model_versions SET stage = 'Retired' WHERE version = '1.1.0'",
    "no stage": "UPDATE model_versions SET stage = '' WHERE version = '1.1.0'",
    "a deleted version in Production": "UPDATE model_versions SET deleted_at = 1 WHERE version = '1.0.0'",
    "a version taken away": "DELETE FROM model_versions WHERE version = '1.1.0'",
    "a model taken away": "DELETE FROM models",
    "an event changed": "UPDATE stage_events SET actor = 'eve'",
    "an event taken away": "DELETE FROM stage_events",
}


@pytest.fixture
def registry(database: Database) -> ModelRegistryManager:
    registry = ModelRegistryManager(database, actor="me")
    registry.register_model({"a": 1}, "m", "1.0.0", stage="Production")
    registry.register_model({"a": 2}, "m", "1.1.0")
    return registry


@pytest.mark.parametrize("what", AGAINST_THE_RULES)
def test_raw_sql_cannot_break_what_the_registry_promises(what, registry, database):
    before = registry.list_versions("m"), registry.stage_history("m")
    with pytest.raises(DBAPIError), database.write() as session:
        session.execute(sa.text(AGAINST_THE_RULES[what]))
    assert (registry.list_versions("m"), registry.stage_history("m")) == before


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE INTO", "REPLACE INTO"])
def test_no_event_is_replaced_on_sqlite(verb, sqlite_database):
    registry = ModelRegistryManager(sqlite_database, actor="me")
    registry.register_model({"a": 1}, "m", "1.0.0")
    columns = "id, model_id, version_id, kind, to_stage, at, reason, evidence"
    with pytest.raises(DBAPIError, match="only ever added"), sqlite_database.write() as session:
        session.execute(sa.text(f"{verb} stage_events ({columns}, actor) SELECT {columns}, 'eve' FROM stage_events"))
    assert [event.actor for event in registry.stage_history("m")] == ["me"]
