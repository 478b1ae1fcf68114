"""What the registry asks of the database: finding models and versions, searching, rows to records.

Every function takes the caller's session: none begins or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import (
    ModelAliasRow,
    ModelFileRow,
    ModelMetricRow,
    ModelRow,
    ModelTagRow,
    ModelVersionRow,
    NotFoundError,
    RunRow,
    StageEventRow,
)
from registry_parts import metadata
from registry_parts.records import ModelStage, ModelType, ModelVersion, RegisteredModel, StageEvent
from values import (
    InvalidTypeError,
    InvalidValueError,
    check_key,
    check_name,
    check_text,
    new_id,
    shorten,
    to_float,
    to_int,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "PAGE_LIMIT",
    "conditions",
    "find_model",
    "find_production",
    "find_stored",
    "find_version",
    "highest_version",
    "in_parts",
    "lock_or_create_model",
    "ordered",
    "paged",
    "pick_version",
    "previous_production",
    "to_event",
    "to_models",
    "to_version",
    "to_versions",
    "versions_to_frame",
]

PAGE_LIMIT = 10_000  # rows a search returns at most
_OPERATORS = (">=", "<=", "==", "!=", ">", "<")  # the longer ones first: they are read from text


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
    text = metadata.check_version(version)
    row = session.scalar(
        sa.select(ModelVersionRow).where(
            ModelVersionRow.model_id == model.id,
            # Build metadata is not part of precedence: 1.0.0 finds 1.0.0+a, the only version it can be.
            ModelVersionRow.precedence == metadata.precedence_key(text),
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


@dataclass(frozen=True, slots=True)
class StoredVersion:
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
        text = metadata.check_version(version)
        chosen = chosen.where(row.precedence == metadata.precedence_key(text), row.version == text)
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


# -- searching ------------------------------------------------------------------------------


def conditions(
    text: str | None,
    name: str | None,
    stage: ModelStage | str | None,
    model_type: ModelType | str | None,
    tags: Mapping[str, str | None] | None,
    metrics: Mapping[str, float | str | tuple[str, float]] | None,
    owner: str | None,
    run_id: str | None,
) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a search, its arguments checked."""
    row = ModelVersionRow
    found: list[sa.ColumnElement[bool]] = []
    if text is not None and text != "":
        # Bytewise lower case of A-Z on both sides: what both databases agree on.
        wanted = check_text(text, "text", 1_000).translate(_ASCII_LOWER)
        part = sa.func.lower
        tag = sa.exists().where(
            ModelTagRow.version_id == row.id, part(ModelTagRow.value).contains(wanted, autoescape=True)
        )
        found.append(
            sa.or_(
                part(ModelRow.name).contains(wanted, autoescape=True),
                part(row.version).contains(wanted, autoescape=True),
                part(row.description).contains(wanted, autoescape=True),
                tag,
            )
        )
    if name is not None:
        found.append(ModelRow.name == check_name(name, "model name"))
    if stage is not None:
        found.append(row.stage == ModelStage(stage).value)
    if model_type is not None:
        found.append(row.model_type == ModelType(model_type).value)
    for key, value in (tags or {}).items():
        match = [ModelTagRow.version_id == row.id, ModelTagRow.key == check_key(key, "tag")]
        if value is not None:
            match.append(ModelTagRow.value == check_text(value, f"tag {key!r}", 10_000))
        found.append(sa.exists().where(*match))
    for key, condition in (metrics or {}).items():
        operator, number = _to_condition(key, condition)
        column = ModelMetricRow.value
        comparison = {
            ">=": column >= number,
            "<=": column <= number,
            ">": column > number,
            "<": column < number,
            "==": column == number,
            "!=": column != number,
        }[operator]
        found.append(
            row.id.in_(
                sa.select(ModelMetricRow.version_id).where(ModelMetricRow.key == check_key(key, "metric"), comparison)
            )
        )
    if owner is not None:
        wanted = check_text(owner, "owner", 255)
        found.append(sa.func.coalesce(row.owner, ModelRow.owner) == wanted)
    if run_id is not None:
        wanted = check_text(run_id, "run_id", 255)
        found.append(row.run_id == sa.select(RunRow.id).where(RunRow.uid == wanted).scalar_subquery())
    return found


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def _to_condition(key: str, condition: float | str | tuple[str, float]) -> tuple[str, float]:
    """Return (operator, number) from 0.9, ">= 0.9" or (">=", 0.9)."""
    field = f"condition on metric {shorten(key, 60)}"
    if isinstance(condition, str):
        for operator in _OPERATORS:
            if condition.strip().startswith(operator):
                try:
                    return operator, to_float(float(condition.strip()[len(operator) :]), field, finite=False)
                except ValueError:
                    break
        raise InvalidValueError(f"{field} must read like '>= 0.9', got {shorten(condition)}")
    if isinstance(condition, tuple | list):
        if len(condition) != 2 or condition[0] not in _OPERATORS:
            raise InvalidValueError(f"{field} must be like ('>=', 0.9), got {shorten(condition)}")
        return condition[0], to_float(condition[1], field, finite=False)
    return ">=", to_float(condition, field, finite=False)


def ordered(query: sa.Select[Any], order_by: str, descending: bool) -> sa.Select[Any]:
    """Return a query in the order that was asked for, from a closed list of orders."""
    if not isinstance(order_by, str):
        raise InvalidTypeError(f"order_by must be text, got {type(order_by).__name__}")
    row = ModelVersionRow
    columns: dict[str, list[Any]] = {
        "created_at": [row.created_at],
        "name": [ModelRow.name, row.precedence],
        "version": [row.precedence],
        "stage": [row.stage],
        "size_bytes": [row.size_bytes],
    }
    if order_by.startswith("metrics."):
        key = check_key(order_by.removeprefix("metrics."), "metric")
        query = query.outerjoin(
            ModelMetricRow, sa.and_(ModelMetricRow.version_id == row.id, ModelMetricRow.key == key)
        ).order_by(ModelMetricRow.value.is_(None))
        chosen: list[Any] = [ModelMetricRow.value]
    elif order_by in columns:
        chosen = columns[order_by]
    else:
        raise InvalidValueError(
            f"order_by must be one of {', '.join(map(repr, columns))} or 'metrics.<metric>', got {shorten(order_by)}"
        )
    # The id makes pages disjoint where values are equal.
    return query.order_by(*(column.desc() if descending else column.asc() for column in [*chosen, row.id]))


_FRAME_FIELDS = (
    "model_id",
    "name",
    "version",
    "model_type",
    "stage",
    "aliases",
    "owner",
    "description",
    "created_at",
    "created_by",
    "size_bytes",
    "serializer",
    "run_id",
)


def versions_to_frame(versions: Sequence[ModelVersion], total: int) -> pd.DataFrame:
    """Return one row a version; metrics, params and tags in columns of their own."""
    import pandas as pd

    columns: dict[str, list[Any]] = {
        field: [_to_cell(getattr(version, field)) for version in versions] for field in _FRAME_FIELDS
    }
    for prefix, field in (("metrics", "performance_metrics"), ("params", "hyperparameters"), ("tags", "tags")):
        keys = dict.fromkeys(key for version in versions for key in getattr(version, field))
        for key in keys:
            columns[f"{prefix}.{key}"] = [getattr(version, field).get(key) for version in versions]
    frame = pd.DataFrame(columns)
    frame["created_at"] = pd.to_datetime(frame["created_at"], utc=True)
    for column in frame.columns:
        if column.startswith("metrics."):
            frame[column] = frame[column].astype("float64")
    frame.attrs["total"] = total
    return frame


def _to_cell(value: Any) -> Any:
    if isinstance(value, ModelStage | ModelType):
        return value.value
    return ", ".join(value) if isinstance(value, tuple) else value
