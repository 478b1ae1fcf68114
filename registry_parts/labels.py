"""What people attach to versions: aliases that move, and tags.

Every function takes the caller's session: none begins or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import ModelAliasRow, ModelTagRow
from errors import NotFoundError
from registry_parts.queries import find_model, find_version
from registry_parts.records import ModelStage
from registry_parts.registration import insert_all
from registry_parts.versions import check_version
from values import InvalidValueError, check_name, to_utc

__all__ = ["change_tags", "check_alias", "delete_alias", "set_alias"]


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
