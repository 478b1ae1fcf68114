"""Histories of metrics: whole, or with so few points as a figure shows, chosen inside the database."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tracking_parts.queries import key_numbers, require_run, to_times

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.orm import Session

# NaN is stored as NULL, which no array of floats takes: it comes as a flag of its own.
_COLUMNS = "step, at, coalesce(value, 0.0), value IS NULL"
_POINT = [("step", "int64"), ("at", "int64"), ("value", "float64"), ("is_nan", "bool")]
_HISTORY = f"SELECT {_COLUMNS} FROM metric_points WHERE run_id = ? AND key_id = ? ORDER BY step"  # noqa: S608
_SPAN = "FROM metric_points WHERE run_id = ? AND key_id = ? AND step BETWEEN ? AND ?"
_IS_FINITE = "AND value >= -1.7976931348623157e308 AND value <= 1.7976931348623157e308"
_ENDS = f"SELECT min(value), max(value), count(*), count(value) {_SPAN}"
_FINITE_ENDS = f"SELECT min(value), max(value) {_SPAN} {_IS_FINITE}"
_ALL = f"SELECT {_COLUMNS} {_SPAN} ORDER BY step"
_WITH_VALUE = f"SELECT {_COLUMNS} {_SPAN} AND value = ? ORDER BY step LIMIT 1"
_FIRST = f"SELECT {_COLUMNS} {_SPAN} ORDER BY step LIMIT 1"
_LAST = f"SELECT {_COLUMNS} {_SPAN} ORDER BY step DESC LIMIT 1"
_GAP = f"SELECT {_COLUMNS} {_SPAN} AND (value IS NULL OR abs(value) > 1.7976931348623157e308) ORDER BY step LIMIT 1"
MIN_POINTS = 3  # the least, the greatest and the last value of a curve
POINTS_A_BUCKET = 4  # and the first, or one that is no number
PIECE_POINTS = 2_500  # points read in one pass: where the least one stands is then looked for among so few only

READ_WHOLE = 20_000  # points up to which a history is read and thinned here: sooner than some thousand look-ups

Span = tuple[int, int, int, int]  # number of the run, number of the key, first and last step
Point = tuple[int, int, float, bool]  # as _POINT


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
            "at": to_times(np.ascontiguousarray(whole["at"])),
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
        if row[0] > max(max_points, READ_WHOLE):
            return _sampled(cursor, sql, run, key, row[0], max_points)
    points = _fetch(cursor, sql(_HISTORY), (run, key))
    return points if max_points is None or len(points) <= max_points else _thinned(points, max_points)


def _sampled(cursor: Any, sql: Any, run: int, key: int, n_points: int, max_points: int) -> Any:
    """Return at most `max_points` of the points, chosen in the database.

    The steps are cut into equal buckets; of each the first, the least, the greatest and the last value stay. Drawn as a
    line, with as many buckets as pixels, that is the same picture as all points [1]_. A value that is no number, if a
    bucket has any, stays instead of the first, so that the line breaks there.

    References
    ----------
    .. [1] U. Jugel, Z. Jerzak, G. Hackenbroich, V. Markl, "M4: A Visualization-Oriented Time Series Data Aggregation",
       Proceedings of the VLDB Endowment 7 (2014), section 4.2.
    """
    import numpy as np

    cursor.execute(sql("SELECT min(step), max(step) FROM metric_points WHERE run_id = ? AND key_id = ?"), (run, key))
    first, last = cursor.fetchone()
    n_buckets = max(1, max_points // POINTS_A_BUCKET)
    n_pieces = max(1, n_points // n_buckets // PIECE_POINTS)
    room = min(max_points, POINTS_A_BUCKET)
    found: list[Point] = []
    for low, high in _cut(first, last, n_buckets):
        pieces = [_read_ends(cursor, sql, (run, key, *piece)) for piece in _cut(low, high, n_pieces)]
        found += _of_bucket(cursor, sql, (run, key, low, high), pieces, room)
    return np.array(found, dtype=_POINT)


def _thinned(points: Any, max_points: int) -> Any:
    """Return what `_sampled` would choose from all points of a history, in the order of their steps."""
    import numpy as np

    steps, values = points["step"], points["value"]
    finite = ~points["is_nan"] & np.isfinite(values)
    room = min(max_points, POINTS_A_BUCKET)
    lows = [low for low, _ in _cut(int(steps[0]), int(steps[-1]), max(1, max_points // POINTS_A_BUCKET))]
    starts = np.unique(np.searchsorted(steps, np.array(lows, dtype="int64")))  # equal ones begin an empty bucket
    ends = np.append(starts[1:], len(steps))
    bucket = np.repeat(np.arange(len(starts)), ends - starts)

    def first_of_each(chosen: Any) -> Any:
        places = np.flatnonzero(chosen)
        return places[np.unique(bucket[places], return_index=True)[1]]

    least = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
    greatest = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)
    keep = ((ends - starts) <= room)[bucket]
    keep[ends - 1] = True
    keep[first_of_each(finite & (values == least[bucket]))] = True
    keep[first_of_each(finite & (values == greatest[bucket]))] = True
    if room == POINTS_A_BUCKET:
        gaps = first_of_each(~finite)
        keep[gaps] = True
        keep[np.delete(starts, bucket[gaps])] = True
    return points[keep]


def _cut(first: int, last: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last step of `count` equal parts of a range of steps; of fewer, if there are fewer steps."""
    width = last - first + 1
    for index in range(count):
        low, high = first + width * index // count, first + width * (index + 1) // count - 1
        if low <= high:
            yield low, high


class _Piece(NamedTuple):
    """What one pass over some steps tells: how many points, whether all are finite, the least and the greatest."""

    span: Span
    n_points: int
    has_gap: bool
    least: float | None
    greatest: float | None


def _read_ends(cursor: Any, sql: Any, span: Span) -> _Piece:
    cursor.execute(sql(_ENDS), span)
    least, greatest, n_points, n_values = cursor.fetchone()
    has_gap = n_values < n_points
    if n_values and not (math.isfinite(least) and math.isfinite(greatest)):
        has_gap = True
        cursor.execute(sql(_FINITE_ENDS), span)
        least, greatest = cursor.fetchone()
    return _Piece(span=span, n_points=n_points, has_gap=has_gap, least=least, greatest=greatest)


def _of_bucket(cursor: Any, sql: Any, span: Span, pieces: Sequence[_Piece], room: int) -> list[Point]:
    """Return the points of a bucket that stay, in the order of their steps."""
    wanted: list[tuple[str, tuple[Any, ...]]] = []
    n_points = sum(piece.n_points for piece in pieces)
    if n_points == 0:
        return []
    if n_points <= room:
        wanted.append((_ALL, span))
    else:
        finite = [piece for piece in pieces if piece.least is not None and piece.greatest is not None]
        wanted.append((_LAST, span))
        if finite:  # of equals min() and max() take the first
            lowest = min(finite, key=lambda piece: piece.least or 0.0)
            highest = max(finite, key=lambda piece: piece.greatest or 0.0)
            wanted += [
                (_WITH_VALUE, (*lowest.span, lowest.least)),
                (_WITH_VALUE, (*highest.span, highest.greatest)),
            ]
        if room == POINTS_A_BUCKET:
            gap = next((piece for piece in pieces if piece.has_gap), None)
            wanted.append((_FIRST, span) if gap is None else (_GAP, gap.span))
    kept: dict[int, Point] = {}
    for statement, values in wanted:
        cursor.execute(sql(statement), values)
        kept.update((row[0], tuple(row)) for row in cursor.fetchall())
    return [kept[step] for step in sorted(kept)]


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
