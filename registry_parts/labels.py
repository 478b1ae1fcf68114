"""What people attach to models and versions: aliases that move, tags, descriptions, owners, model cards.

Every function takes the caller's session: none begins or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import ModelAliasRow, ModelTagRow, RunRow
from errors import NotFoundError
from registry_parts.card import render_card
from registry_parts.queries import find_model, find_version, to_models, to_version
from registry_parts.records import ModelStage, ModelVersion, RegisteredModel
from registry_parts.registration import insert_all, to_tags
from registry_parts.versions import check_version
from values import TEXT_MAX_LENGTH, InvalidValueError, check_name, check_text, to_utc

__all__ = [
    "UNCHANGED",
    "change_model",
    "change_tags",
    "change_version",
    "check_alias",
    "check_changes",
    "delete_alias",
    "fill_card",
    "read_card",
    "set_alias",
]

UNCHANGED: Any = object()  # an argument that was not given, where None means "none"

_MAX_CHARACTERS = {"description": TEXT_MAX_LENGTH, "owner": 255, "card": 200_000}


def check_changes(**given: Any) -> dict[str, Any]:
    """Return the fields to be changed, checked: those of description, owner, card and tags that were given."""
    changes = {field: value for field, value in given.items() if value is not UNCHANGED}
    for field, value in changes.items():
        if field == "tags":
            changes[field] = to_tags(value)
        elif value is not None or field == "description":
            changes[field] = check_text(value, field, _MAX_CHARACTERS[field])
    return changes


def change_version(session: Session, name: str, version: str, changes: Mapping[str, Any]) -> ModelVersion:
    """Change fields of a version, checked already."""
    model = find_model(session, name, lock=True)
    row = find_version(session, model, version)
    for field, value in changes.items():
        setattr(row, field, value)
    return to_version(session, model.name, row)


def change_model(session: Session, name: str, changes: Mapping[str, Any]) -> RegisteredModel:
    """Change fields of a model, checked already."""
    model = find_model(session, name, lock=True)
    for field, value in changes.items():
        setattr(model, field, value)
    model.updated_at = to_utc()
    session.flush()
    return to_models(session, [model])[0]


def read_card(session: Session, name: str, version: str) -> tuple[ModelVersion, str | None]:
    """Return a version, and its model card if one was written."""
    model = find_model(session, name)
    row = find_version(session, model, version)
    return to_version(session, model.name, row), row.card


def fill_card(session: Session, name: str, version: str) -> str:
    """Return the model card of a version: as written, or the template filled from what is known."""
    record, written = read_card(session, name, version)
    if written is not None:
        return written
    return render_card(record, session.scalar(sa.select(RunRow.name).where(RunRow.uid == record.run_id)))


def check_alias(alias: str) -> str:
    """Return an alias; what reads like a stage or a version would be taken for one."""
    text = check_name(alias, "alias")
    if text.lower() in {stage.value.lower() for stage in ModelStage}:
        raise InvalidValueError(f"alias {text!r} is the name of a stage; choose another")
    try:
        check_version(text)
    except ValueError:
        return text
    raise InvalidValueError(f"alias {text!r} reads like a version number; choose another")


def set_alias(session: Session, name: str, alias: str, version: str, *, actor: str) -> None:
    """Let an alias name a version; it leaves the version it named before."""
    model = find_model(session, name, lock=True)
    row = find_version(session, model, version)
    found = session.get(ModelAliasRow, (model.id, alias))
    if found is None:
        found = ModelAliasRow(model_id=model.id, alias=alias)
        session.add(found)
    found.version_id, found.updated_at, found.updated_by = row.id, to_utc(), actor
    model.updated_at = found.updated_at


def delete_alias(session: Session, name: str, alias: str) -> None:
    """Remove an alias."""
    model = find_model(session, name, lock=True)
    found = session.get(ModelAliasRow, (model.id, alias))
    if found is None:
        raise NotFoundError(f"{model.name!r} has no alias {alias!r}")
    session.delete(found)


def change_tags(
    session: Session, name: str, version: str, added: Mapping[str, str], removed: Collection[str]
) -> dict[str, str]:
    """Add and remove tags of a version; return all of them."""
    model = find_model(session, name, lock=True)
    row = find_version(session, model, version)
    kept = {key: value for key, value in {**row.tags, **added}.items() if key not in removed}
    row.tags = kept
    session.execute(sa.delete(ModelTagRow).where(ModelTagRow.version_id == row.id))
    insert_all(session, ModelTagRow, [{"version_id": row.id, "key": k, "value": v} for k, v in kept.items()])
    return kept
