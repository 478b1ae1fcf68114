"""Searching versions: conditions and orders from a closed list, pages, and the table of what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from db import ModelMetricRow, ModelRow, ModelTagRow, ModelVersionRow, RunRow
from registry_parts.queries import to_versions
from registry_parts.records import ModelStage, ModelType, ModelVersion
from values import InvalidTypeError, InvalidValueError, check_key, check_name, check_text, shorten, to_float

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.orm import Session

__all__ = [
    "matching",
    "ordered",
    "read_page",
    "versions_to_frame",
]

_OPERATORS = (">=", "<=", "==", "!=", ">", "<")  # the longer ones first: they are read from text

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def matching(
    text: str | None,
    name: str | None,
    stage: ModelStage | str | None,
    model_type: ModelType | str | None,
    tags: Mapping[str, str | None] | None,
    metrics: Mapping[str, float | str | tuple[str, float]] | None,
    owner: str | None,
    run_id: str | None,
    include_deleted: bool,
    *,
    restorable: bool = False,
) -> sa.Select[Any]:
    """Return the query for the versions that meet all conditions, and their models' names; arguments are checked."""
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
    if restorable:
        found += [row.deleted_at.is_not(None), row.purged_at.is_(None)]
    elif not include_deleted:
        found.append(row.deleted_at.is_(None))
    query: Any = sa.select(row, ModelRow.name).join(ModelRow, ModelRow.id == row.model_id)
    narrowed: sa.Select[Any] = query.where(*found)
    return narrowed


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
        "deleted_at": [row.deleted_at],
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


def read_page(session: Session, page: sa.Select[Any], query: sa.Select[Any]) -> tuple[list[ModelVersion], int]:
    """Return the versions of one page, and how many the whole query has."""
    found = session.execute(page).all()
    counted = sa.select(sa.func.count()).select_from(query.with_only_columns(ModelVersionRow.id).subquery())
    names = {row.model_id: name for row, name in found}
    return to_versions(session, names, [row for row, _ in found]), int(session.scalar(counted) or 0)


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
    frame["created_at"] = pd.to_datetime(frame["created_at"], utc=True).astype("datetime64[us, UTC]")
    for column in frame.columns:
        if column.startswith("metrics."):
            frame[column] = frame[column].astype("float64")
    frame.attrs["total"] = total
    return frame


def _to_cell(value: Any) -> Any:
    if isinstance(value, ModelStage | ModelType):
        return value.value
    return ", ".join(value) if isinstance(value, tuple) else value
