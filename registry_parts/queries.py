"""What the registry asks of the database: finding models and versions, rows to records.

Every function takes the caller's session: none begins or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import (
    ModelAliasRow,
    ModelFileRow,
    ModelRow,
    ModelVersionRow,
    NotFoundError,
    RunRow,
    StageEventRow,
)
from registry_parts import versions
from registry_parts.records import ModelStage, ModelType, ModelVersion, RegisteredModel, StageEvent
from values import (
    InvalidValueError,
    check_name,
    new_id,
    to_int,
)

__all__ = [
    "PAGE_LIMIT",
    "StoredVersion",
    "find_model",
    "find_models",
    "find_production",
    "find_stored",
    "find_version",
    "highest_version",
    "in_parts",
    "known_run",
    "lock_or_create_model",
    "paged",
    "pick_version",
    "previous_production",
    "read_each",
    "read_models",
    "read_production",
    "read_version",
    "read_version_by_id",
    "read_versions",
    "to_event",
    "to_models",
    "to_version",
    "to_versions",
]

PAGE_LIMIT = 10_000  # rows a search returns at most


def in_parts(items: Sequence[Any], size: int = 500) -> list[Sequence[Any]]:
    """Return a sequence in pieces: databases admit a limited number of bound values."""
    return [items[start : start + size] for start in range(0, len(items), size)]


# -- finding --------------------------------------------------------------------------------


def find_model(session: Session, name: str, *, lock: bool = False) -> ModelRow:
    """Return a model's row; `lock` makes other writers of this model wait (SQLite's writers wait anyway)."""
    text = check_name(name, "model name")
    query = sa.select(ModelRow).where(ModelRow.name == text)
    model = session.scalar(query.with_for_update() if lock else query)
    if model is None:
        known = session.scalars(sa.select(ModelRow.name).order_by(ModelRow.updated_at.desc()).limit(5)).all()
        hint = f"known models: {', '.join(map(repr, known))}" if known else "no model is registered yet"
        raise NotFoundError(f"no model named {text!r}; {hint}")
    return model


def find_models(session: Session, names: Sequence[str]) -> list[ModelRow]:
    """Return the rows of several models by one query; the first that is missing is named."""
    wanted = [check_name(name, "model name") for name in names]
    found = {row.name: row for row in session.scalars(sa.select(ModelRow).where(ModelRow.name.in_(wanted)))}
    return [found.get(name) or find_model(session, name) for name in wanted]


def lock_or_create_model(session: Session, name: str, now: datetime) -> ModelRow:
    """Return a model's locked row, made when there is none."""
    query = sa.select(ModelRow).where(ModelRow.name == name).with_for_update()
    model = session.scalar(query)
    if model is None:
        model = ModelRow(
            uid=new_id(), name=name, description="", owner=None, tags={}, gates={}, created_at=now, updated_at=now
        )
        try:
            with session.begin_nested():
                session.add(model)
        except IntegrityError:  # PostgreSQL: another process made it since
            model = session.scalars(query).one()
    return model


def find_version(session: Session, model: ModelRow, version: str, *, deleted: bool = False) -> ModelVersionRow:
    """Return a version's row; deleted ones only when asked for."""
    text = versions.check_version(version)
    row = session.scalar(
        sa.select(ModelVersionRow).where(
            ModelVersionRow.model_id == model.id,
            # Build metadata is not part of precedence: 1.0.0 finds 1.0.0+a, the only version it can be.
            ModelVersionRow.precedence == versions.precedence_key(text),
        )
    )
    if row is None:
        known = session.scalars(
            sa.select(ModelVersionRow.version)
            .where(ModelVersionRow.model_id == model.id, ModelVersionRow.deleted_at.is_(None))
            .order_by(ModelVersionRow.precedence.desc())
            .limit(5)
        ).all()
        hint = f"the highest are {', '.join(known)}" if known else "it has no versions"
        raise NotFoundError(f"{model.name!r} has no version {text}; {hint}")
    if row.deleted_at is not None and not deleted:
        remedy = "its bytes were given back" if row.purged_at else "restore_version() brings it back"
        raise NotFoundError(f"{model.name} {row.version} was deleted; {remedy}")
    return row


def pick_version(
    session: Session, model: ModelRow, version: str | None, stage: ModelStage | str | None, alias: str | None
) -> ModelVersionRow:
    """Return the version that is named by number, stage or alias; else Production, else the highest in use."""
    if sum(given is not None for given in (version, stage, alias)) > 1:
        raise InvalidValueError("give one of version, stage and alias")
    if version is not None:
        return find_version(session, model, version)
    if alias is not None:
        text = check_name(alias, "alias")
        row = session.scalar(
            sa.select(ModelVersionRow)
            .join(ModelAliasRow, ModelAliasRow.version_id == ModelVersionRow.id)
            .where(ModelAliasRow.model_id == model.id, ModelAliasRow.alias == text)
        )
        if row is None:
            known = session.scalars(sa.select(ModelAliasRow.alias).where(ModelAliasRow.model_id == model.id)).all()
            raise NotFoundError(f"{model.name!r} has no alias {text!r}; it has {', '.join(sorted(known)) or 'none'}")
        return row
    query = (
        sa.select(ModelVersionRow)
        .where(ModelVersionRow.model_id == model.id, ModelVersionRow.deleted_at.is_(None))
        .order_by(ModelVersionRow.precedence.desc())
        .limit(1)
    )
    if stage is not None:
        wanted = ModelStage(stage)
        row = session.scalar(query.where(ModelVersionRow.stage == wanted.value))
        if row is None:
            raise NotFoundError(f"{model.name!r} has no version in {wanted.value}")
        return row
    row = find_production(session, model.id) or session.scalar(
        query.where(ModelVersionRow.stage != ModelStage.ARCHIVED.value)
    )
    if row is None:
        raise NotFoundError(f"{model.name!r} has no version in use; name one")
    return row


class StoredVersion(NamedTuple):
    """What loading a version needs to know of it."""

    label: str
    serializer: str
    origin: str
    dependencies: dict[str, str]
    environment: dict[str, Any]
    files: list[tuple[str, str]]  # (path, hash)


def find_stored(
    session: Session, name: str, version: str | None, stage: ModelStage | str | None, alias: str | None
) -> StoredVersion:
    """Return what loading a version needs, by one query; chosen as `pick_version` chooses it."""
    row = ModelVersionRow
    chosen = (
        sa.select(row.id)
        .join(ModelRow, ModelRow.id == row.model_id)
        .where(ModelRow.name == check_name(name, "model name"), row.deleted_at.is_(None))
        .order_by((row.stage == ModelStage.PRODUCTION.value).desc(), row.precedence.desc())
        .limit(1)
    )
    if sum(given is not None for given in (version, stage, alias)) > 1:
        raise InvalidValueError("give one of version, stage and alias")
    if version is not None:
        chosen = chosen.where(row.precedence == versions.precedence_key(versions.check_version(version)))
    elif alias is not None:
        chosen = chosen.join(ModelAliasRow, ModelAliasRow.version_id == row.id).where(
            ModelAliasRow.alias == check_name(alias, "alias")
        )
    elif stage is not None:
        chosen = chosen.where(row.stage == ModelStage(stage).value)
    else:
        chosen = chosen.where(row.stage != ModelStage.ARCHIVED.value)
    columns = (row.version, row.serializer, row.origin, row.dependencies, row.environment)
    query = (
        sa.select(*columns, ModelFileRow.path, ModelFileRow.sha256)
        .join(ModelFileRow, ModelFileRow.version_id == row.id)
        .where(row.id == chosen.scalar_subquery())
        .order_by(ModelFileRow.path)
    )
    found = session.execute(query).all()
    if not found:
        model = find_model(session, name)
        missing = pick_version(session, model, version, stage, alias)  # says what there is instead
        raise NotFoundError(f"{model.name} {missing.version} has no files")
    number, serializer, origin, dependencies, environment, *_ = found[0]
    return StoredVersion(
        label=f"{name} {number}",
        serializer=serializer,
        origin=origin,
        dependencies=dependencies,
        environment=environment,
        files=[(item[-2], item[-1]) for item in found],
    )


def find_production(session: Session, model_id: int) -> ModelVersionRow | None:
    """Return the version of a model that is in Production, or None."""
    return session.scalar(
        sa.select(ModelVersionRow).where(
            ModelVersionRow.model_id == model_id, ModelVersionRow.stage == ModelStage.PRODUCTION.value
        )
    )


def highest_version(session: Session, model_id: int) -> str | None:
    """Return the highest number ever used: a deleted one counts."""
    return session.scalar(
        sa.select(ModelVersionRow.version)
        .where(ModelVersionRow.model_id == model_id)
        .order_by(ModelVersionRow.precedence.desc())
        .limit(1)
    )


def previous_production(session: Session, model_id: int, current: ModelVersionRow | None) -> ModelVersionRow | None:
    """Return the version that was in Production before the current one, undoing promotions one by one."""
    events = session.execute(
        sa.select(StageEventRow.version_id, StageEventRow.kind)
        .where(StageEventRow.model_id == model_id, StageEventRow.to_stage == ModelStage.PRODUCTION.value)
        .order_by(StageEventRow.id)
    ).all()
    promoted: list[int] = []
    for version_id, kind in events:
        if kind == "rollback":
            while promoted and promoted[-1] != version_id:
                promoted.pop()
        if not promoted or promoted[-1] != version_id:
            promoted.append(version_id)
    for version_id in reversed(promoted):
        if current is not None and version_id == current.id:
            continue
        row = session.get_one(ModelVersionRow, version_id)
        if row.deleted_at is None:
            return row
    return None


def known_run(session: Session, uid: str | None) -> str | None:
    """Return the public id of a tracked run if this store has it, else None."""
    return None if uid is None else session.scalar(sa.select(RunRow.uid).where(RunRow.uid == uid))


# -- reading records ------------------------------------------------------------------------


def read_version(
    session: Session,
    name: str,
    version: str | None = None,
    stage: ModelStage | str | None = None,
    alias: str | None = None,
) -> ModelVersion:
    """Return one version, chosen as `pick_version` chooses it."""
    model = find_model(session, name)
    return to_version(session, model.name, pick_version(session, model, version, stage, alias))


def read_each(session: Session, name: str, versions: Sequence[str]) -> list[ModelVersion]:
    """Return the named versions of a model, in the order in which they were named."""
    model = find_model(session, name)
    return to_versions(session, {model.id: model.name}, [find_version(session, model, text) for text in versions])


def read_version_by_id(session: Session, uid: str) -> ModelVersion | None:
    """Return the version with a public id, deleted ones included, or None."""
    found = session.execute(
        sa.select(ModelVersionRow, ModelRow.name)
        .join(ModelRow, ModelRow.id == ModelVersionRow.model_id)
        .where(ModelVersionRow.uid == uid)
    ).one_or_none()
    return None if found is None else to_version(session, found[1], found[0])


def read_production(session: Session, name: str) -> ModelVersion:
    """Return the version in Production, or raise."""
    model = find_model(session, name)
    row = find_production(session, model.id)
    if row is None:
        raise NotFoundError(f"no version of {model.name!r} is in Production; promote one with transition_stage()")
    return to_version(session, model.name, row)


def read_models(session: Session, limit: int | None, offset: int) -> list[RegisteredModel]:
    """Return registered models, sorted by name."""
    query = sa.select(ModelRow).order_by(ModelRow.name)
    return to_models(session, session.scalars(paged(query, limit, offset)).all())


def read_versions(
    session: Session,
    name: str,
    stage: ModelStage | None,
    *,
    include_deleted: bool,
    descending: bool,
    limit: int | None,
    offset: int,
) -> list[ModelVersion]:
    """Return a model's versions by precedence."""
    model = find_model(session, name)
    column = ModelVersionRow.precedence
    query = sa.select(ModelVersionRow).where(ModelVersionRow.model_id == model.id)
    query = query.order_by(column.desc() if descending else column)
    if stage is not None:
        query = query.where(ModelVersionRow.stage == stage.value)
    if not include_deleted:
        query = query.where(ModelVersionRow.deleted_at.is_(None))
    return to_versions(session, {model.id: model.name}, session.scalars(paged(query, limit, offset)).all())


# -- rows to records ------------------------------------------------------------------------


def paged(query: sa.Select[Any], limit: int | None, offset: int) -> sa.Select[Any]:
    """Return a query for one page of its rows."""
    start = to_int(offset, "offset", 0)
    if limit is None and not start:
        return query
    return query.limit(PAGE_LIMIT if limit is None else to_int(limit, "limit", 0)).offset(start)


def to_version(session: Session, name: str, row: ModelVersionRow) -> ModelVersion:
    """Return the record for a version's row."""
    return to_versions(session, {row.model_id: name}, [row])[0]


def to_versions(session: Session, names: Mapping[int, str], rows: Sequence[ModelVersionRow]) -> list[ModelVersion]:
    """Return records for rows, with aliases, files, runs and owners read for all of them at once."""
    aliases: dict[int, list[str]] = {}
    files: dict[int, list[tuple[str, str, int]]] = {}
    runs: dict[int, str] = {}
    owners: dict[int, str | None] = {}
    for ids in in_parts([row.id for row in rows]):
        for version_id, alias in session.execute(
            sa.select(ModelAliasRow.version_id, ModelAliasRow.alias).where(ModelAliasRow.version_id.in_(ids))
        ):
            aliases.setdefault(version_id, []).append(alias)
        file = ModelFileRow
        for version_id, path, sha256, size in session.execute(
            sa.select(file.version_id, file.path, file.sha256, file.size_bytes).where(file.version_id.in_(ids))
        ):
            files.setdefault(version_id, []).append((path, sha256, size))
    for ids in in_parts(sorted({row.run_id for row in rows if row.run_id is not None})):
        runs.update(session.execute(sa.select(RunRow.id, RunRow.uid).where(RunRow.id.in_(ids))).all())
    for ids in in_parts(sorted({row.model_id for row in rows if row.owner is None})):
        owners.update(session.execute(sa.select(ModelRow.id, ModelRow.owner).where(ModelRow.id.in_(ids))).all())
    return [
        ModelVersion(
            model_id=row.uid,
            name=names[row.model_id],
            version=row.version,
            model_type=ModelType(row.model_type),
            stage=ModelStage(row.stage),
            aliases=tuple(sorted(aliases.get(row.id, ()))),
            performance_metrics=dict(row.metrics),
            hyperparameters=row.hyperparameters,
            tags=dict(row.tags),
            description=row.description,
            owner=row.owner if row.owner is not None else owners.get(row.model_id),
            run_id=runs.get(row.run_id) if row.run_id is not None else None,
            dependencies=dict(row.dependencies),
            environment=dict(row.environment),
            signature=row.signature,
            data_fingerprint=row.data_fingerprint,
            serializer=row.serializer,
            origin=row.origin,
            files=tuple(sorted(files.get(row.id, ()))),
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            created_at=row.created_at,
            created_by=row.created_by,
            deleted_at=row.deleted_at,
            is_purged=row.purged_at is not None,
        )
        for row in rows
    ]


def to_models(session: Session, rows: Sequence[ModelRow]) -> list[RegisteredModel]:
    """Return records for models' rows, with what their versions come to."""
    counts: dict[int, int] = {}
    production: dict[int, str] = {}
    latest: dict[int, str] = {}
    aliases: dict[int, dict[str, str]] = {}
    table = ModelVersionRow
    alive = table.deleted_at.is_(None)
    for ids in in_parts([row.id for row in rows]):
        highest = (
            sa.select(table.model_id, sa.func.count().label("n"), sa.func.max(table.precedence).label("precedence"))
            .where(table.model_id.in_(ids), alive)
            .group_by(table.model_id)
            .subquery()
        )
        query = sa.select(highest.c.model_id, highest.c.n, table.version).join(
            table, sa.and_(table.model_id == highest.c.model_id, table.precedence == highest.c.precedence)
        )
        for model_id, count, version in session.execute(query):
            counts[model_id], latest[model_id] = count, version
        production.update(
            session.execute(
                sa.select(table.model_id, table.version).where(
                    table.model_id.in_(ids), table.stage == ModelStage.PRODUCTION.value
                )
            ).all()
        )
        for model_id, alias, version in session.execute(
            sa.select(ModelAliasRow.model_id, ModelAliasRow.alias, table.version)
            .join(table, table.id == ModelAliasRow.version_id)
            .where(ModelAliasRow.model_id.in_(ids))
            .order_by(ModelAliasRow.alias)
        ):
            aliases.setdefault(model_id, {})[alias] = version
    return [
        RegisteredModel(
            name=row.name,
            description=row.description,
            owner=row.owner,
            tags=dict(row.tags),
            n_versions=counts.get(row.id, 0),
            latest_version=latest.get(row.id),
            production_version=production.get(row.id),
            aliases=aliases.get(row.id, {}),
            gates=dict(row.gates),
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    ]


def to_event(row: StageEventRow, name: str, versions: Mapping[int, str]) -> StageEvent:
    """Return the record for an event's row; `versions` holds the numbers by id."""
    return StageEvent(
        sequence=row.id,
        name=name,
        version=versions[row.version_id],
        kind=row.kind,
        from_stage=None if row.from_stage is None else ModelStage(row.from_stage),
        to_stage=ModelStage(row.to_stage),
        at=row.at,
        actor=row.actor,
        reason=row.reason,
        evidence=dict(row.evidence),
        displaced=None if row.displaced_id is None else versions[row.displaced_id],
    )
