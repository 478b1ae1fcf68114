"""What tracking asks of the database: finding, reading and removing runs, inside a session somebody else opened.

A filter arrives as the tree of `tracking_parts.filters` and becomes SQLAlchemy expressions here; every value is bound,
no text of a user ever becomes SQL.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import (
    DuplicateError,
    MetricPointRow,
    MetricSummaryRow,
    NotFoundError,
    RunArtifactRow,
    RunEnvironmentRow,
    RunKeyRow,
    RunParamRow,
    RunRow,
    RunTagRow,
    TrackingExperimentRow,
)
from tracking_parts.filters import All, AnyOf, Comparison, Field, Node, Not
from tracking_parts.params import restore_param
from tracking_parts.records import Artifact, Experiment, MetricSummary, Run, RunStatus
from values import shorten

if TYPE_CHECKING:
    import pandas as pd

CHUNK = 5_000  # ids in one IN list; SQLite admits 32,766 bound values
SMALL_EXPERIMENT = 5_000  # runs: up to here a sorted search reads the experiment, above it the metric's index
FLOAT_MAX = 1.7976931348623157e308

Condition = sa.ColumnElement[bool]
T = TypeVar("T")

_STATISTIC_COLUMNS = {"last": "last_value", "min": "min_value", "max": "max_value"}  # the others are named alike


def _statistic(name: str) -> Any:
    """Return the column of a statistic of a metric, as a plain number."""
    return sa.type_coerce(getattr(MetricSummaryRow, _STATISTIC_COLUMNS.get(name, name)), sa.Double)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]


# -- one run, one experiment -------------------------------------------------------------------------


def require_run(session: Session, run_id: object, *, deleted: bool = False, for_update: bool = False) -> RunRow:
    """Return the row of a run, or raise NotFoundError; deleted runs only if asked for."""
    if not isinstance(run_id, str):
        raise TypeError(f"a run id is text, got {type(run_id).__name__} {shorten(run_id)}")
    query = sa.select(RunRow).where(RunRow.uid == _plain(run_id))
    if for_update:
        query = query.with_for_update()
    row = session.scalar(query)
    if row is None:
        raise NotFoundError(no_run(run_id))
    if row.deleted_at is not None and not deleted:
        raise NotFoundError(f"run {row.name!r} ({run_id}) was deleted; restore_run() takes that back")
    return row


def _plain(text: str) -> str:
    """Return text the database accepts as a bound value; what it would refuse names nothing that exists."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()


def no_run(run_id: str) -> str:
    """Return the message for a run that does not exist."""
    return f"no run has the id {shorten(run_id, 60)}; search_runs() lists the runs there are"


def require_experiment(session: Session, name: object) -> int:
    """Return the number of an experiment that is not deleted, or raise NotFoundError with those there are."""
    if not isinstance(name, str):
        raise TypeError(f"an experiment's name is text, got {type(name).__name__} {shorten(name)}")
    live = TrackingExperimentRow.deleted_at.is_(None)
    found = session.scalar(sa.select(TrackingExperimentRow.id).where(TrackingExperimentRow.name == _plain(name), live))
    if found is None:
        known = session.scalars(sa.select(TrackingExperimentRow.name).where(live).order_by("name").limit(10)).all()
        hint = f"known experiments: {', '.join(known)}" if known else "there are none yet: start_run() makes one"
        raise NotFoundError(f"no experiment is named {shorten(name)}; {hint}")
    return found


def read_experiments(session: Session) -> list[Experiment]:
    """Return all experiments that are not deleted, the one with the latest run first."""
    failed = sa.case((RunRow.status.in_(["failed", "killed"]), 1), else_=0)
    running = sa.case((RunRow.status == "running", 1), else_=0)
    rows = session.execute(
        sa.select(
            TrackingExperimentRow.uid,
            TrackingExperimentRow.name,
            TrackingExperimentRow.description,
            TrackingExperimentRow.created_at,
            sa.func.count(RunRow.id),
            sa.func.coalesce(sa.func.sum(running), 0),
            sa.func.coalesce(sa.func.sum(failed), 0),
            sa.func.max(RunRow.started_at),
        )
        .outerjoin(RunRow, sa.and_(RunRow.experiment_id == TrackingExperimentRow.id, RunRow.deleted_at.is_(None)))
        .where(TrackingExperimentRow.deleted_at.is_(None))
        .group_by(TrackingExperimentRow.id)
        .order_by(TrackingExperimentRow.id)
    ).all()
    found = [
        Experiment(
            experiment_id=uid,
            name=name,
            description=description,
            created_at=created_at,
            n_runs=int(n_runs),
            n_running=int(n_running),
            n_failed=int(n_failed),
            last_started_at=last,
        )
        for uid, name, description, created_at, n_runs, n_running, n_failed, last in rows
    ]
    return sorted(found, key=lambda item: item.last_started_at or item.created_at, reverse=True)


# -- filters -----------------------------------------------------------------------------------------


def key_numbers(session: Session, names: Iterable[str]) -> dict[str, int]:
    """Return the numbers of those keys that exist."""
    wanted = sorted(set(names))
    found: dict[str, int] = {}
    for part in _chunks(wanted):
        found.update(session.execute(sa.select(RunKeyRow.name, RunKeyRow.id).where(RunKeyRow.name.in_(part))).all())
    return found


def _fields(node: Node) -> Iterator[Field]:
    if isinstance(node, Comparison):
        yield node.field
    elif isinstance(node, Not):
        yield from _fields(node.item)
    else:
        for item in node.items:
            yield from _fields(item)


def where(session: Session, node: Node | None, experiment: str | Sequence[str] | None, include: str) -> list[Condition]:
    """Return the conditions on `RunRow` of a search."""
    conditions: list[Condition] = []
    if include in ("active", "archived"):
        conditions.append(RunRow.deleted_at.is_(None))
        conditions.append(RunRow.archived_at.is_(None) if include == "active" else RunRow.archived_at.is_not(None))
    elif include == "deleted":
        conditions.append(RunRow.deleted_at.is_not(None))
    if experiment is not None:
        names = [experiment] if isinstance(experiment, str) else list(experiment)
        numbers = [require_experiment(session, name) for name in names]
        conditions.append(
            RunRow.experiment_id == numbers[0] if len(numbers) == 1 else RunRow.experiment_id.in_(numbers)
        )
    if node is not None:
        keys = key_numbers(session, [field.key for field in _fields(node) if field.kind != "attribute"])
        conditions.append(_to_condition(node, keys, session.get_bind().dialect.name))
    return conditions


def _to_condition(node: Node, keys: dict[str, int], dialect: str) -> Condition:
    if isinstance(node, Not):
        return sa.not_(_to_condition(node.item, keys, dialect))
    if isinstance(node, All):
        return sa.and_(*(_to_condition(item, keys, dialect) for item in node.items))
    if isinstance(node, AnyOf):
        return sa.or_(*(_to_condition(item, keys, dialect) for item in node.items))
    field = node.field
    if field.kind == "attribute":
        return _attribute_condition(node, dialect)
    key = keys.get(field.key)
    if key is None:  # nobody ever logged it
        return sa.true() if node.operator == "null" else sa.false()
    table: Any = {"metrics": MetricSummaryRow, "params": RunParamRow, "tags": RunTagRow}[field.kind]
    query = sa.select(sa.literal(1)).select_from(table).where(table.run_id == RunRow.id, table.key_id == key)
    if node.operator == "null":
        return sa.not_(query.correlate(RunRow).exists())
    if field.kind == "metrics":
        query = query.where(_metric_test(node))
    elif field.kind == "params":
        query = query.where(_param_test(node, dialect))
    else:
        query = query.where(_text_test(RunTagRow.value, node, dialect))
    # Correlated by name: a search sorted by a metric has the table of metrics outside, too.
    return query.correlate(RunRow).exists()


def _compare(column: Any, operator: str, value: Any) -> Condition:
    result: Condition = {
        "=": column.__eq__,
        "!=": column.__ne__,
        "<": column.__lt__,
        "<=": column.__le__,
        ">": column.__gt__,
        ">=": column.__ge__,
    }[operator](value)
    return result


def _metric_test(node: Comparison) -> Condition:
    column = _statistic(node.field.statistic)
    if node.operator == "in":
        return sa.or_(*(_is_number(column, value) for value in node.values))
    value = node.values[0]
    assert isinstance(value, float)
    if node.operator == "=":
        return _is_number(column, value)
    if node.operator == "!=":
        # NaN (NULL) differs from every number, and SQL would not say so.
        return sa.not_(_is_number(column, value)) if value == value else column.is_not(None)
    finite = column <= FLOAT_MAX if node.operator in (">", ">=") else column >= -FLOAT_MAX
    return sa.and_(_compare(column, node.operator, value), finite)


def _is_number(column: Any, value: Any) -> Condition:
    result: Condition = column.is_(None) if value != value else sa.and_(column.is_not(None), column == value)
    return result


def _param_test(node: Comparison, dialect: str) -> Condition:
    if node.operator in ("like", "ilike"):
        return _text_test(RunParamRow.value, node, dialect)
    if node.operator == "in":
        return sa.or_(*(_is_param(value) for value in node.values))
    value = node.values[0]
    if node.operator == "=":
        return _is_param(value)
    if node.operator == "!=":
        return sa.not_(_is_param(value))
    return _compare(RunParamRow.number if isinstance(value, float) else RunParamRow.value, node.operator, value)


def _is_param(value: Any) -> Condition:
    if isinstance(value, bool):
        return sa.and_(RunParamRow.is_json.is_(True), RunParamRow.value == ("true" if value else "false"))
    if isinstance(value, float):
        if value != value:
            return RunParamRow.value == '{"$float":"nan"}'
        return sa.and_(RunParamRow.number.is_not(None), RunParamRow.number == value)
    result: Condition = RunParamRow.value == value
    return result


def _text_test(column: Any, node: Comparison, dialect: str) -> Condition:
    if node.operator == "in":
        result: Condition = column.in_(list(node.values))
        return result
    if node.operator in ("like", "ilike"):
        return _like(column, str(node.values[0]), dialect, ignore_case=node.operator == "ilike")
    return _compare(column, node.operator, node.values[0])


def _like(column: Any, pattern: str, dialect: str, *, ignore_case: bool) -> Condition:
    """Match alike on both databases: LIKE minds case, ILIKE ignores that of the letters A to Z."""
    result: Condition
    if dialect == "sqlite" and not ignore_case:  # its LIKE ignores case; GLOB does not
        result = column.op("GLOB", is_comparison=True)(_to_glob(pattern))
        return result
    if ignore_case:
        column = sa.func.lower(column)  # the columns collate by code point, so this folds A to Z only
        pattern = "".join(c.lower() if c.isascii() else c for c in pattern)
    result = column.like(pattern, escape="\\")
    return result


def _to_glob(pattern: str) -> str:
    result = []
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            result.append("*")
            continue
        if character == "_":
            result.append("?")
            continue
        if character == "\\":
            character = next(characters)  # the parser refuses a backslash at the end
        result.append(f"[{character}]" if character in "*?[" else character)
    return "".join(result)


def _attribute_condition(node: Comparison, dialect: str) -> Condition:
    name = node.field.key
    if name == "archived":
        wanted = node.values[0] if node.operator == "=" else not node.values[0]
        return RunRow.archived_at.is_not(None) if wanted else RunRow.archived_at.is_(None)
    column = attribute_expression(name)
    if node.operator == "null":
        result: Condition = column.is_(None)
        return result
    # A comparison with what is not there (no note, no end) is false, and its NOT is true.
    if name in ("started_at", "ended_at", "duration"):
        test = (
            column.in_(list(node.values)) if node.operator == "in" else _compare(column, node.operator, node.values[0])
        )
    else:
        test = _text_test(column, node, dialect)
    return sa.and_(column.is_not(None), test)


def attribute_expression(name: str) -> Any:
    """Return what an attribute of a filter or an order is, as an expression on `RunRow`."""
    if name == "run_id":
        return RunRow.uid
    if name == "experiment":
        return (
            sa.select(TrackingExperimentRow.name)
            .where(TrackingExperimentRow.id == RunRow.experiment_id)
            .correlate(RunRow)
            .scalar_subquery()
        )
    if name == "parent_run_id":
        parent = sa.orm.aliased(RunRow)
        return sa.select(parent.uid).where(parent.id == RunRow.parent_id).correlate(RunRow).scalar_subquery()
    if name == "duration":
        end = sa.type_coerce(sa.func.coalesce(RunRow.ended_at, RunRow.heartbeat_at), sa.BigInteger)
        return (end - sa.type_coerce(RunRow.started_at, sa.BigInteger)) / sa.literal(1e6, sa.Double)
    if name == "archived":
        return RunRow.archived_at
    return getattr(RunRow, name)


# -- finding runs ------------------------------------------------------------------------------------


def find_runs(
    session: Session,
    node: Node | None,
    experiment: str | Sequence[str] | None,
    order: Sequence[tuple[Field, bool]],
    limit: int,
    offset: int,
    include: str,
) -> list[int]:
    """Return the numbers of the runs that a search finds, in order."""
    conditions = where(session, node, experiment, include)
    latest = (RunRow.started_at.desc(), RunRow.id.desc())
    keys = key_numbers(session, [field.key for field, _ in order if field.kind != "attribute"])
    first = order[0][0] if order else None
    if first is None or first.kind != "metrics" or first.key not in keys:
        query = sa.select(RunRow.id).where(*conditions).order_by(*_order(order, keys), *latest)
        return list(session.scalars(query.limit(limit).offset(offset)))
    # Sorted by a metric: first the runs that have a finite value of it, straight from the metric's index, then the
    # others.
    column = _statistic(first.statistic)
    finite = sa.and_(column >= -FLOAT_MAX, column <= FLOAT_MAX)
    has_value = [MetricSummaryRow.key_id == keys[first.key], finite]
    small = experiment is not None and _is_small(session, conditions)
    # "+ 0" keeps a small experiment from being looked for in the index of all experiments.
    sorting = column + sa.literal(0.0, sa.Double) if small else column
    joined = (
        sa.select(RunRow.id).join(MetricSummaryRow, MetricSummaryRow.run_id == RunRow.id).where(*has_value, *conditions)
    )
    direction = sorting.desc() if order[0][1] else sorting.asc()
    rest = _order(order[1:], keys)
    found = list(session.scalars(joined.order_by(direction, *rest, RunRow.id.desc()).limit(limit).offset(offset)))
    if len(found) == limit:
        return found
    n_with = session.scalar(sa.select(sa.func.count()).select_from(joined.subquery())) or 0
    lacking = (
        sa.select(RunRow.id)
        .where(*conditions, ~sa.exists().where(MetricSummaryRow.run_id == RunRow.id, *has_value))
        .order_by(*rest, *latest)
        .limit(limit - len(found))
        .offset(max(0, offset - n_with))
    )
    return found + list(session.scalars(lacking))


def _is_small(session: Session, conditions: Sequence[Condition]) -> bool:
    part = sa.select(RunRow.id).where(*conditions[:3]).limit(SMALL_EXPERIMENT + 1).subquery()
    return (session.scalar(sa.select(sa.func.count()).select_from(part)) or 0) <= SMALL_EXPERIMENT


def _order(order: Sequence[tuple[Field, bool]], keys: dict[str, int]) -> list[Any]:
    result: list[Any] = []
    for field, descending in order:
        if field.kind == "attribute":
            columns = [attribute_expression(field.key)]
        elif field.key not in keys:
            continue  # nobody ever logged it: everything is equal
        elif field.kind == "metrics":
            value = _statistic(field.statistic)
            finite = sa.and_(value >= -FLOAT_MAX, value <= FLOAT_MAX)
            columns = [_lookup(MetricSummaryRow, keys[field.key], value, finite)]
        elif field.kind == "params":
            key = keys[field.key]
            columns = [_lookup(RunParamRow, key, RunParamRow.number), _lookup(RunParamRow, key, RunParamRow.value)]
        else:
            columns = [_lookup(RunTagRow, keys[field.key], RunTagRow.value)]
        for column in columns:
            result += [column.is_(None), column.desc() if descending else column.asc()]
    return result


def _lookup(table: Any, key: int, column: Any, *conditions: Condition) -> Any:
    query = sa.select(column).where(table.run_id == RunRow.id, table.key_id == key, *conditions)
    return query.correlate(RunRow).scalar_subquery()


# -- reading runs ------------------------------------------------------------------------------------


def duration_of(started_at: int, ended_at: int | None) -> float | None:
    """Return seconds between two instants in microseconds; None without an end, or if the clock ran backwards."""
    return None if ended_at is None or ended_at < started_at else (ended_at - started_at) / 1e6


def _micros(column: Any) -> Any:
    return sa.type_coerce(column, sa.BigInteger)


def read_runs(session: Session, numbers: Sequence[int], *, environment: bool = True) -> list[Run]:
    """Return whole records of runs, in the order of their numbers; the environments only if asked for."""
    parent = sa.orm.aliased(RunRow)
    heads: dict[int, tuple[Any, str, str | None]] = {}
    params: dict[int, dict[str, Any]] = {}
    tags: dict[int, dict[str, str]] = {}
    metrics: dict[int, dict[str, MetricSummary]] = {}
    environments: dict[int | None, dict[str, Any]] = {}
    for part in _chunks(numbers):
        for row, experiment, parent_uid in session.execute(
            sa.select(RunRow, TrackingExperimentRow.name, parent.uid)
            .join(TrackingExperimentRow, TrackingExperimentRow.id == RunRow.experiment_id)
            .outerjoin(parent, parent.id == RunRow.parent_id)
            .where(RunRow.id.in_(part))
        ):
            heads[row.id] = (row, experiment, parent_uid)
        for run, name, is_json, value in session.execute(
            sa.select(RunParamRow.run_id, RunKeyRow.name, RunParamRow.is_json, RunParamRow.value)
            .join(RunKeyRow, RunKeyRow.id == RunParamRow.key_id)
            .where(RunParamRow.run_id.in_(part))
            .order_by(RunKeyRow.name)
        ):
            params.setdefault(run, {})[name] = restore_param(is_json, value)
        for run, name, value in session.execute(
            sa.select(RunTagRow.run_id, RunKeyRow.name, RunTagRow.value)
            .join(RunKeyRow, RunKeyRow.id == RunTagRow.key_id)
            .where(RunTagRow.run_id.in_(part))
            .order_by(RunKeyRow.name)
        ):
            tags.setdefault(run, {})[name] = value
        for summary, name in session.execute(
            sa.select(MetricSummaryRow, RunKeyRow.name)
            .join(RunKeyRow, RunKeyRow.id == MetricSummaryRow.key_id)
            .where(MetricSummaryRow.run_id.in_(part))
            .order_by(RunKeyRow.name)
        ):
            metrics.setdefault(summary.run_id, {})[name] = _to_summary(summary)
    if environment:
        used = sorted({row.environment_id for row, _, _ in heads.values() if row.environment_id is not None})
        for some in _chunks(used):
            environments.update(
                session.execute(
                    sa.select(RunEnvironmentRow.id, RunEnvironmentRow.data).where(RunEnvironmentRow.id.in_(some))
                ).all()
            )
    return [
        _to_run(
            row,
            experiment,
            parent_uid,
            environments.get(row.environment_id),
            params.get(row.id, {}),
            tags.get(row.id, {}),
            metrics.get(row.id, {}),
        )
        for row, experiment, parent_uid in (heads[number] for number in numbers if number in heads)
    ]


def _to_summary(row: MetricSummaryRow) -> MetricSummary:
    return MetricSummary(
        last=math.nan if row.last_value is None else row.last_value,
        last_step=row.last_step,
        last_at=row.last_at,
        min=row.min_value,
        min_step=row.min_step,
        max=row.max_value,
        max_step=row.max_step,
        n_points=row.n_points,
    )


def _to_run(
    row: RunRow,
    experiment: str,
    parent_uid: str | None,
    environment: dict[str, Any] | None,
    params: dict[str, Any],
    tags: dict[str, str],
    metrics: dict[str, MetricSummary],
) -> Run:
    end = row.ended_at or row.heartbeat_at
    seconds = None if end is None else (end - row.started_at).total_seconds()
    return Run(
        run_id=row.uid,
        name=row.name,
        experiment=experiment,
        status=RunStatus(row.status),
        started_at=row.started_at,
        ended_at=row.ended_at,
        duration_seconds=None if seconds is None or seconds < 0 else seconds,
        params=params,
        metrics={name: summary.last for name, summary in metrics.items()},
        metric_summaries=metrics,
        tags=tags,
        parent_run_id=parent_uid,
        error=row.error,
        note=row.note,
        environment=environment or {},
        archived=row.archived_at is not None,
        deleted=row.deleted_at is not None,
    )


def to_artifact(row: RunArtifactRow) -> Artifact:
    """Return the record of an artifact."""
    return Artifact(
        path=row.path,
        kind=row.kind,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        created_at=row.created_at,
        details=row.details,
    )


def read_frame(session: Session, numbers: Sequence[int]) -> pd.DataFrame:
    """Return runs as rows of a frame, in the order of their numbers, without making a record of each."""
    import numpy as np
    import pandas as pd

    position = {number: index for index, number in enumerate(numbers)}
    parent = sa.orm.aliased(RunRow)
    heads: list[Any] = [None] * len(numbers)
    sides: dict[str, dict[str, list[Any]]] = {"params": {}, "metrics": {}, "tags": {}}
    names: dict[int, str] = {}
    pending: list[tuple[str, int, int, Any]] = []
    for part in _chunks(numbers):
        query = (
            sa.select(
                RunRow.id,
                RunRow.uid,
                RunRow.name,
                TrackingExperimentRow.name,
                RunRow.status,
                _micros(RunRow.started_at),
                _micros(RunRow.ended_at),
                _micros(RunRow.heartbeat_at),
                parent.uid,
                RunRow.note,
                _micros(RunRow.archived_at),
            )
            .join(TrackingExperimentRow, TrackingExperimentRow.id == RunRow.experiment_id)
            .outerjoin(parent, parent.id == RunRow.parent_id)
            .where(RunRow.id.in_(part))
        )
        for row in session.execute(query):
            heads[position[row[0]]] = row
        for run, key, is_json, value in session.execute(
            sa.select(RunParamRow.run_id, RunParamRow.key_id, RunParamRow.is_json, RunParamRow.value).where(
                RunParamRow.run_id.in_(part)
            )
        ):
            pending.append(("params", run, key, restore_param(is_json, value)))
        pending.extend(
            ("metrics", run, key, math.nan if value is None else value)
            for run, key, value in session.execute(
                sa.select(
                    MetricSummaryRow.run_id,
                    MetricSummaryRow.key_id,
                    sa.type_coerce(MetricSummaryRow.last_value, sa.Double),
                ).where(MetricSummaryRow.run_id.in_(part))
            )
        )
        pending.extend(
            ("tags", run, key, value)
            for run, key, value in session.execute(
                sa.select(RunTagRow.run_id, RunTagRow.key_id, RunTagRow.value).where(RunTagRow.run_id.in_(part))
            )
        )
    used = sorted({key for _, _, key, _ in pending})
    for some in _chunks(used):
        names.update(session.execute(sa.select(RunKeyRow.id, RunKeyRow.name).where(RunKeyRow.id.in_(some))).all())
    count = len(numbers)
    for kind, run, key, item in pending:
        column = sides[kind].get(names[key])
        if column is None:
            column = sides[kind][names[key]] = [None] * count
        column[position[run]] = item
    columns = list(zip(*heads, strict=True)) if heads else [()] * 11
    started, ended = (np.array([_or_nat(v) for v in columns[i]], dtype="int64") for i in (5, 6))
    ends = [end if end is not None else beat for end, beat in zip(columns[6], columns[7], strict=True)]
    data: dict[str, Any] = {
        "run_id": columns[1],
        "name": columns[2],
        "experiment": columns[3],
        "status": columns[4],
        "started_at": _to_times(started),
        "ended_at": _to_times(ended),
        "duration_seconds": np.array(
            [duration_of(start, end) for start, end in zip(columns[5], ends, strict=True)], dtype="float64"
        ),
        "parent_run_id": pd.Series(columns[8], dtype="object"),
        "note": pd.Series(columns[9], dtype="object"),
        "archived": [value is not None for value in columns[10]],
    }
    for name in sorted(sides["params"]):
        data[f"params.{name}"] = sides["params"][name]
    for name in sorted(sides["metrics"]):
        data[f"metrics.{name}"] = np.array(sides["metrics"][name], dtype="float64")
    for name in sorted(sides["tags"]):
        data[f"tags.{name}"] = pd.Series(sides["tags"][name], dtype="object")
    return pd.DataFrame(data)


_NAT = -(2**63)


def _or_nat(value: int | None) -> int:
    return _NAT if value is None else value


def _to_times(micros: Any) -> Any:
    import pandas as pd

    return pd.DatetimeIndex(micros.view("datetime64[us]")).tz_localize("UTC")


# -- reading histories -------------------------------------------------------------------------------

# NaN is stored as NULL, which no array of floats takes: it comes as a flag of its own.
_COLUMNS = "step, at, coalesce(value, 0.0), value IS NULL"
_POINT = [("step", "int64"), ("at", "int64"), ("value", "float64"), ("is_nan", "bool")]
_HISTORY = f"SELECT {_COLUMNS} FROM metric_points WHERE run_id = ? AND key_id = ? ORDER BY step"  # noqa: S608
_IN_BUCKET = "FROM metric_points WHERE run_id = ? AND key_id = ? AND step >= ? AND step < ?"
_IS_FINITE = "AND value >= -1.7976931348623157e308 AND value <= 1.7976931348623157e308"
# The least, the greatest, the last and one that is no number: what a curve cannot lose.
_BUCKET = f"""
SELECT {_COLUMNS} FROM (SELECT step, at, value {_IN_BUCKET} {_IS_FINITE} ORDER BY value, step LIMIT 1) AS lowest
UNION
SELECT {_COLUMNS} FROM (SELECT step, at, value {_IN_BUCKET} {_IS_FINITE} ORDER BY value DESC, step LIMIT 1) AS
highest
UNION
SELECT {_COLUMNS} FROM (SELECT step, at, value {_IN_BUCKET} ORDER BY step DESC LIMIT 1) AS latest
UNION
SELECT {_COLUMNS} FROM (SELECT step, at, value {_IN_BUCKET}
    AND (value IS NULL OR abs(value) > 1.7976931348623157e308) ORDER BY step LIMIT 1) AS gap
ORDER BY step
"""  # noqa: S608 - constants only


def read_history(
    session: Session, sql: Any, run_ids: Sequence[str], metrics: Sequence[str], max_points: int | None
) -> pd.DataFrame:
    """Return the points of runs and metrics in long form."""
    import numpy as np
    import pandas as pd

    runs = [(run_id, require_run(session, run_id, deleted=True).id) for run_id in run_ids]
    keys = key_numbers(session, metrics)
    cursor = session.connection().connection.cursor()  # 100,000 rows: an object each would cost more than reading them
    parts: list[tuple[str, str, Any]] = []
    try:
        for run_id, run in runs:
            for metric in metrics:
                if metric in keys:
                    points = _points(cursor, sql, run, keys[metric], max_points)
                    if len(points):
                        parts.append((run_id, metric, points))
    finally:
        cursor.close()
    lengths = [len(points) for _, _, points in parts]
    whole = np.concatenate([points for _, _, points in parts]) if parts else np.empty(0, dtype=_POINT)

    def repeated(names: list[str]) -> Any:
        unique = list(dict.fromkeys(names))
        codes = np.repeat([unique.index(name) for name in names], lengths) if names else np.array([], dtype="int64")
        return pd.array(unique, dtype="str").take(codes) if unique else pd.array([], dtype="str")

    return pd.DataFrame(
        {
            "run_id": repeated([run_id for run_id, _, _ in parts]),
            "metric": repeated([metric for _, metric, _ in parts]),
            "step": np.ascontiguousarray(whole["step"]),
            "at": _to_times(np.ascontiguousarray(whole["at"])),
            "value": np.where(whole["is_nan"], np.nan, whole["value"]),
        }
    )


def _fetch(cursor: Any, statement: str, values: tuple[int, ...]) -> Any:
    """Return rows as an array straight from the cursor: 100,000 tuples kept at once would cost more."""
    import numpy as np

    cursor.execute(statement, values)
    return np.fromiter(cursor, dtype=_POINT)


def _points(cursor: Any, sql: Any, run: int, key: int, max_points: int | None) -> Any:
    if max_points is not None:
        cursor.execute(sql("SELECT n_points FROM metric_summaries WHERE run_id = ? AND key_id = ?"), (run, key))
        row = cursor.fetchone()
        if row is None:
            return ()
        if row[0] > max_points:
            return _sampled(cursor, sql, run, key, max_points)
    return _fetch(cursor, sql(_HISTORY), (run, key))


def _sampled(cursor: Any, sql: Any, run: int, key: int, max_points: int) -> Any:
    import numpy as np

    cursor.execute(sql("SELECT min(step), max(step) FROM metric_points WHERE run_id = ? AND key_id = ?"), (run, key))
    first, last = cursor.fetchone()
    n_buckets = max(1, max_points // 3)
    width = last - first + 1
    parts = []
    statement = sql(_BUCKET)
    for index in range(n_buckets):
        low, high = first + width * index // n_buckets, first + width * (index + 1) // n_buckets
        if low < high:
            # The last step there can be has no step after it.
            parts.append(_fetch(cursor, statement, (run, key, low, min(high, 2**63 - 1)) * 4))
    if last == 2**63 - 1:
        parts.append(_fetch(cursor, sql(_HISTORY.replace(" ORDER", " AND step = ? ORDER")), (run, key, last)))
    return np.concatenate(parts)


# -- removing ----------------------------------------------------------------------------------------


def with_descendants(session: Session, numbers: Sequence[int]) -> list[int]:
    """Return runs and all that are nested in them."""
    found = list(numbers)
    level = list(numbers)
    while level:
        below = [
            number
            for part in _chunks(level)
            for number in session.scalars(sa.select(RunRow.id).where(RunRow.parent_id.in_(part)))
        ]
        level = [number for number in below if number not in set(found)]
        found += level
    return found


def remove_runs(session: Session, numbers: Sequence[int]) -> tuple[dict[str, int], list[str]]:
    """Remove runs and all that hangs on them; return how many rows, and the blobs they named."""
    counts = {"n_runs": 0, "n_points": 0, "n_artifacts": 0}
    blobs: set[str] = set()
    environments: set[int] = set()
    for part in _chunks(numbers):
        counts["n_points"] += int(
            session.scalar(sa.select(sa.func.sum(MetricSummaryRow.n_points)).where(MetricSummaryRow.run_id.in_(part)))
            or 0
        )
        named = list(session.scalars(sa.select(RunArtifactRow.sha256).where(RunArtifactRow.run_id.in_(part))))
        counts["n_artifacts"] += len(named)
        blobs.update(named)
        environments.update(
            number
            for number in session.scalars(sa.select(RunRow.environment_id).where(RunRow.id.in_(part)).distinct())
            if number is not None
        )
        # Explicit order instead of cascades: one index range each.
        for table in (MetricPointRow, MetricSummaryRow, RunParamRow, RunTagRow, RunArtifactRow):
            session.execute(sa.delete(table).where(table.run_id.in_(part)))
        result = session.execute(sa.delete(RunRow).where(RunRow.id.in_(part)))
        counts["n_runs"] += int(getattr(result, "rowcount", 0))
    for some in _chunks(sorted(environments)):
        session.execute(
            sa.delete(RunEnvironmentRow).where(
                RunEnvironmentRow.id.in_(some), ~sa.exists().where(RunRow.environment_id == RunEnvironmentRow.id)
            )
        )
    return counts, sorted(blobs)


def restore_experiment(session: Session, row: TrackingExperimentRow) -> None:
    """Take back the deletion of an experiment, unless its name was taken meanwhile."""
    taken = session.scalar(
        sa.select(TrackingExperimentRow.id).where(
            TrackingExperimentRow.name == row.name, TrackingExperimentRow.deleted_at.is_(None)
        )
    )
    if taken is not None:
        raise DuplicateError(f"there is a new experiment named {row.name!r}; delete it first, or leave the old one")
    row.deleted_at = None
    session.flush()


# -- importing and exporting -------------------------------------------------------------------------


def find_origins(session: Session, origins: Sequence[str]) -> dict[str, str]:
    """Return our run ids by origin, of those that were imported before."""
    found: dict[str, str] = {}
    for part in _chunks(origins):
        found.update(
            {
                str(origin): uid
                for origin, uid in session.execute(sa.select(RunRow.origin, RunRow.uid).where(RunRow.origin.in_(part)))
            }
        )
    return found


def count_stored(session: Session, run: int) -> dict[str, int]:
    """Return how many params, metrics, points, tags and artifacts of a run there really are."""
    counts = {}
    for name, table in (
        ("n_params", RunParamRow),
        ("n_metrics", MetricSummaryRow),
        ("n_points", MetricPointRow),
        ("n_tags", RunTagRow),
        ("n_artifacts", RunArtifactRow),
    ):
        query = sa.select(sa.func.count()).select_from(table).where(table.run_id == run)
        counts[name] = int(session.scalar(query) or 0)
    return counts


def link_parent(session: Session, run_id: str, parent_id: str) -> None:
    """Nest a run in another."""
    parent = session.scalar(sa.select(RunRow.id).where(RunRow.uid == parent_id))
    session.execute(sa.update(RunRow).where(RunRow.uid == run_id, RunRow.uid != parent_id).values(parent_id=parent))


def read_points(session: Session, sql: Any, run_id: str) -> dict[str, list[tuple[int, int, float | None]]]:
    """Return all points of a run by metric, in the order of the steps."""
    cursor = session.connection().connection.cursor()
    try:
        cursor.execute(
            sql(
                "SELECT k.name, p.step, p.at, p.value FROM metric_points p JOIN run_keys k ON k.id = p.key_id "
                "WHERE p.run_id = (SELECT id FROM runs WHERE uid = ?) ORDER BY k.name, p.step"
            ),
            (run_id,),
        )
        result: dict[str, list[tuple[int, int, float | None]]] = {}
        for name, step, at, value in cursor.fetchall():
            result.setdefault(name, []).append((step, at, value))
        return result
    finally:
        cursor.close()
