"""Deleting versions, bringing them back, giving their bytes up, and finding out whose bytes are damaged.

Every function takes the caller's session: none begins or ends a transaction. Files go after the rows that named them
are gone for good, so what a function returns tells the caller which hashes may have become free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from db import ModelAliasRow, ModelFileRow, ModelRow, ModelVersionRow
from errors import StateError
from registry_parts.queries import find_model, find_version, in_parts, to_version
from registry_parts.records import ModelStage, ModelVersion, VersionProblem
from registry_parts.stages import add_event
from values import to_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from artifacts import BlobProblem

__all__ = ["delete", "find_users", "purge_deleted", "restore", "to_problems"]


def delete(
    session: Session, name: str, version: str, *, allow_production: bool, purge: bool, actor: str, reason: str
) -> list[str]:
    """Delete a version; return the hashes that may have become free, which needs `purge`."""
    model = find_model(session, name, lock=True)
    row = find_version(session, model, version)
    if row.stage == ModelStage.PRODUCTION.value and not allow_production:
        raise StateError(
            f"{model.name} {row.version} is in Production; promote another version first, "
            "or delete it with allow_production=True"
        )
    aliases = session.scalars(sa.select(ModelAliasRow.alias).where(ModelAliasRow.version_id == row.id)).all()
    if aliases:
        raise StateError(
            f"{model.name} {row.version} is named by {', '.join(map(repr, aliases))}; move or delete the alias first"
        )
    before, row.stage = ModelStage(row.stage), ModelStage.ARCHIVED.value
    row.deleted_at, row.deleted_by = to_utc(), actor
    add_event(session, row, kind="delete", before=before, after=ModelStage.ARCHIVED, actor=actor, reason=reason)
    return _purge(session, [row]) if purge else []


def restore(session: Session, name: str, version: str, *, actor: str, reason: str) -> ModelVersion:
    """Bring a deleted version back, archived."""
    model = find_model(session, name, lock=True)
    row = find_version(session, model, version, deleted=True)
    if row.deleted_at is None:
        raise StateError(f"{model.name} {row.version} is not deleted")
    if row.purged_at is not None:
        raise StateError(f"{model.name} {row.version} cannot be restored: its bytes were given back")
    row.deleted_at = row.deleted_by = None
    archived = ModelStage.ARCHIVED
    add_event(session, row, kind="restore", before=archived, after=archived, actor=actor, reason=reason)
    return to_version(session, model.name, row)


def purge_deleted(session: Session, *, dry_run: bool) -> tuple[list[tuple[str, str]], list[str]]:
    """Give up the files of all deleted versions; return which those are, and the hashes that may have become free."""
    rows = session.scalars(
        sa.select(ModelVersionRow)
        .where(ModelVersionRow.deleted_at.is_not(None), ModelVersionRow.purged_at.is_(None))
        .order_by(ModelVersionRow.id)
        .with_for_update()
    ).all()
    names = dict(session.execute(sa.select(ModelRow.id, ModelRow.name)).all()) if rows else {}
    return [(names[row.model_id], row.version) for row in rows], [] if dry_run else _purge(session, rows)


def _purge(session: Session, rows: Sequence[ModelVersionRow]) -> list[str]:
    now = to_utc()
    for row in rows:
        row.purged_at = now
    hashes: set[str] = set()
    for ids in in_parts([row.id for row in rows]):
        hashes.update(session.scalars(sa.select(ModelFileRow.sha256).where(ModelFileRow.version_id.in_(ids))))
        session.execute(sa.delete(ModelFileRow).where(ModelFileRow.version_id.in_(ids)))
    return sorted(hashes)


def find_users(session: Session, hashes: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Return (hash, model, version, path) for every version that needs one of the files, by name and precedence."""
    query = (
        sa.select(ModelFileRow.sha256, ModelRow.name, ModelVersionRow.version, ModelFileRow.path)
        .join(ModelVersionRow, ModelVersionRow.id == ModelFileRow.version_id)
        .join(ModelRow, ModelRow.id == ModelVersionRow.model_id)
        .order_by(ModelRow.name, ModelVersionRow.precedence, ModelFileRow.path)
    )
    users: list[tuple[str, str, str, str]] = []
    for names in in_parts(hashes):
        found = session.execute(query.where(ModelFileRow.sha256.in_(names)))
        users += [(sha256, name, version, path) for sha256, name, version, path in found]
    return users


def to_problems(
    problems: Mapping[str, BlobProblem], users: Sequence[tuple[str, str, str, str]]
) -> list[VersionProblem]:
    """Return one problem for each version that needs a damaged file; an empty name for files of tracked runs."""
    used = {sha256 for sha256, *_ in users}
    others = [(sha256, "", "", "") for sha256 in problems if sha256 not in used]
    return [
        VersionProblem(
            name=name,
            version=version,
            path=path,
            sha256=sha256,
            kind=problems[sha256].kind,
            message=f"{name} {version}: {path}: {problems[sha256].message}" if name else problems[sha256].message,
        )
        for sha256, name, version, path in [*users, *others]
    ]
