"""What tracking asks of the database: finding, reading and removing runs, inside a session somebody else opened.

Filters and orders become expressions in `tracking_parts.conditions`, histories are read by `tracking_parts.history`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from db import (
    DuplicateError,
    MetricBlockRow,
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
from tracking_parts.conditions import Condition, finite_only, order_expressions, statistic, to_condition
from tracking_parts.filters import Comparison, Field, Node, Not
from tracking_parts.params import restore_param
from tracking_parts.records import Artifact, Experiment, MetricSummary, Run, RunStatus, goal_of
from values import shorten

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.orm import Session

CHUNK = 5_000  # ids in one IN list; SQLite admits 32,766 bound values
SMALL_EXPERIMENT = 5_000  # runs: up to here a sorted search reads the experiment, above it the metric's index
T = TypeVar("T")


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


# -- finding runs ------------------------------------------------------------------------------------


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
        conditions.append(to_condition(node, keys, session.get_bind().dialect.name))
    return conditions


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
        query = sa.select(RunRow.id).where(*conditions).order_by(*order_expressions(order, keys), *latest)
        return list(session.scalars(query.limit(limit).offset(offset)))
    # Sorted by a metric: first the runs that have a finite value of it, straight from the metric's index, then the
    # others.
    column = statistic(first)
    has_value = [MetricSummaryRow.key_id == keys[first.key], finite_only(column)]
    small = experiment is not None and _is_small(session, conditions)
    # "+ 0" keeps a small experiment from being looked for in the index of all experiments.
    sorting = column + sa.literal(0.0, sa.Double) if small else column
    joined = (
        sa.select(RunRow.id).join(MetricSummaryRow, MetricSummaryRow.run_id == RunRow.id).where(*has_value, *conditions)
    )
    direction = sorting.desc() if order[0][1] else sorting.asc()
    rest = order_expressions(order[1:], keys)
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


def read_summaries(
    session: Session, run_ids: Sequence[str], metrics: Sequence[str] | None, goals: Mapping[str, str]
) -> pd.DataFrame:
    """Return a row a run and metric: last, least, greatest and best value with their steps, and how many points.

    One query for every `CHUNK` runs, whatever the number of metrics; no point of a history is read.
    """
    import numpy as np
    import pandas as pd

    wanted = dict.fromkeys(run_ids)
    keys = None if metrics is None else key_numbers(session, metrics)
    has_key = sa.true() if keys is None else MetricSummaryRow.key_id.in_(list(keys.values()))
    summary = (RunRow.id == MetricSummaryRow.run_id) & has_key
    rows: list[Any] = []
    missing = dict(wanted)
    for part in _chunks(list(wanted)):
        query = (
            sa.select(
                RunRow.uid,
                RunKeyRow.name,
                sa.type_coerce(MetricSummaryRow.last_value, sa.Double),
                MetricSummaryRow.last_step,
                _micros(MetricSummaryRow.last_at),
                MetricSummaryRow.min_value,
                MetricSummaryRow.min_step,
                MetricSummaryRow.max_value,
                MetricSummaryRow.max_step,
                MetricSummaryRow.n_points,
            )
            .outerjoin(MetricSummaryRow, summary)  # a run without metrics is a row, too: so it is known to be there
            .outerjoin(RunKeyRow, RunKeyRow.id == MetricSummaryRow.key_id)
            .where(RunRow.uid.in_([_plain(run_id) for run_id in part]))
        )
        for row in session.execute(query):
            missing.pop(row[0], None)
            if row[1] is not None:
                rows.append(row)
    for run_id in missing:
        raise NotFoundError(no_run(run_id))
    place = {run_id: index for index, run_id in enumerate(wanted)}
    position = {} if metrics is None else {name: index for index, name in enumerate(dict.fromkeys(metrics))}
    rows.sort(key=lambda row: (place[row[0]], position.get(row[1], 0), row[1]))
    names = {row[1] for row in rows}
    ends = {name: goals.get(name) or goal_of(name) for name in names}
    least = np.array([ends[row[1]] == "min" for row in rows], dtype=bool)
    columns = list(zip(*rows, strict=True)) if rows else [()] * 10

    def numbers(index: int) -> Any:
        return np.array([math.nan if value is None else value for value in columns[index]], dtype="float64")

    def steps(index: int) -> Any:
        return pd.array(list(columns[index]), dtype="Int64")

    low, low_step, high, high_step = numbers(5), steps(6), numbers(7), steps(8)
    return pd.DataFrame(
        {
            "run_id": pd.array(list(columns[0]), dtype="str"),
            "metric": pd.array(list(columns[1]), dtype="str"),
            "last": numbers(2),
            "last_step": np.array(columns[3], dtype="int64"),
            "last_at": to_times(np.array(columns[4], dtype="int64")),
            "min": low,
            "min_step": low_step,
            "max": high,
            "max_step": high_step,
            "best": np.where(least, low, high),
            "best_step": pd.array(
                [a if take else b for take, a, b in zip(least, low_step, high_step, strict=True)], dtype="Int64"
            ),
            "n_points": np.array(columns[9], dtype="int64"),
        }
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


# As plain SQL, for these are the rows of every search: building and compiling expressions cost as much as running them.
_HEADS = (
    "SELECT r.id, r.uid, r.name, e.name, r.status, r.started_at, r.ended_at, r.heartbeat_at, p.uid, r.note, "
    "r.archived_at FROM runs r JOIN tracking_experiments e ON e.id = r.experiment_id "
    "LEFT JOIN runs p ON p.id = r.parent_id WHERE r.id IN ({})"
)
_PARAMS = "SELECT run_id, key_id, is_json, value FROM run_params WHERE run_id IN ({})"
_LAST_VALUES = "SELECT run_id, key_id, last_value FROM metric_summaries WHERE run_id IN ({})"
_TAGS = "SELECT run_id, key_id, value FROM run_tags WHERE run_id IN ({})"
_KEY_NAMES = "SELECT id, name FROM run_keys WHERE id IN ({})"


def read_frame(session: Session, sql: Callable[[str], str], numbers: Sequence[int]) -> pd.DataFrame:
    """Return runs as rows of a frame, in the order of their numbers, without making a record of each."""
    import numpy as np
    import pandas as pd

    position = {number: index for index, number in enumerate(numbers)}
    heads: list[Any] = [None] * len(numbers)
    sides: dict[str, dict[str, list[Any]]] = {"params": {}, "metrics": {}, "tags": {}}
    names: dict[int, str] = {}
    pending: list[tuple[str, int, int, Any]] = []
    cursor = session.connection().connection.cursor()

    def fetch(statement: str, ids: Sequence[int]) -> Sequence[Any]:
        cursor.execute(sql(statement.format(", ".join("?" * len(ids)))), tuple(ids))
        return cursor.fetchall()

    try:
        for part in _chunks(numbers):
            for row in fetch(_HEADS, part):
                heads[position[row[0]]] = row
            pending += [
                ("params", run, key, restore_param(json, text)) for run, key, json, text in fetch(_PARAMS, part)
            ]
            pending += [("metrics", run, key, _or_nan(value)) for run, key, value in fetch(_LAST_VALUES, part)]
            pending += [("tags", run, key, value) for run, key, value in fetch(_TAGS, part)]
        for some in _chunks(sorted({key for _, _, key, _ in pending})):
            names.update(fetch(_KEY_NAMES, some))
    finally:
        cursor.close()
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
        "started_at": to_times(started),
        "ended_at": to_times(ended),
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


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


_NAT = -(2**63)


def _or_nat(value: int | None) -> int:
    return _NAT if value is None else value


def to_times(micros: Any) -> Any:
    """Return microseconds since 1970 as instants in UTC."""
    import pandas as pd

    return pd.DatetimeIndex(micros.view("datetime64[us]")).tz_localize("UTC")


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
        for table in (MetricPointRow, MetricBlockRow, MetricSummaryRow, RunParamRow, RunTagRow, RunArtifactRow):
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
