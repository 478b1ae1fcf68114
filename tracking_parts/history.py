"""Histories of metrics: whole, or with so few points as a figure shows.

What a figure shows of a long history is chosen from pieces of it: a piece is a point, or a block of points whose least,
greatest, first and last value are known (`tracking_parts.blocks`). Blocks that lie across the edge of a bucket are
opened, that is, their points are read. So the choice is the one that all points would give, and a million points cost
what some thousand blocks and the points at the edges cost. Short histories are read whole: that is sooner.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tracking_parts import blocks
from tracking_parts.queries import key_numbers, require_run, to_times

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.orm import Session

MIN_POINTS = 3  # the least, the greatest and the last value of a curve
POINTS_A_BUCKET = 4  # and the first, or one that is no number
READ_WHOLE = 20_000  # points up to which a history is read and thinned here: sooner than its blocks and their points
LOOK_UP = 500  # steps that one statement looks up

# NaN is stored as NULL, which no array of floats takes: it comes as a flag of its own.
_COLUMNS = "step, at, coalesce(value, 0.0), value IS NULL"
_POINT = [("step", "int64"), ("at", "int64"), ("value", "float64"), ("is_nan", "bool")]
_N_POINTS = "SELECT n_points FROM metric_summaries WHERE run_id = ? AND key_id = ?"
_OF_SERIES = "FROM metric_points WHERE run_id = ? AND key_id = ?"
_SPAN = f"{_OF_SERIES} AND step BETWEEN ? AND ?"
_POINTS = f"SELECT {_COLUMNS} {_SPAN} ORDER BY step"
_STEPS_AND_VALUES = f"SELECT step, coalesce(value, ?) {_SPAN} ORDER BY step"
_AT_STEPS = f"SELECT {_COLUMNS} {_OF_SERIES} AND step IN ({{}}) ORDER BY step"
# Each end by itself is a look-up; both in one SELECT would read everything between them.
_ENDS = f"SELECT (SELECT min(step) {_SPAN}), (SELECT max(step) {_SPAN})"
_BLOCKS = (
    "SELECT first_step, last_step, n_points, min_value IS NOT NULL, coalesce(min_value, 0.0), coalesce(min_step, 0), "
    "coalesce(max_value, 0.0), coalesce(max_step, 0), gap_step IS NOT NULL, coalesce(gap_step, 0) FROM metric_blocks "
    "WHERE run_id = ? AND key_id = ? AND last_step >= ? AND first_step <= ? ORDER BY last_step"
)
_PIECE = [
    ("first", "int64"),
    ("last", "int64"),
    ("n_points", "int64"),
    ("has_value", "bool"),
    ("least", "float64"),
    ("least_step", "int64"),
    ("greatest", "float64"),
    ("greatest_step", "int64"),
    ("has_gap", "bool"),
    ("gap_step", "int64"),
]

ALL_STEPS = (blocks.LEAST_STEP, blocks.GREATEST_STEP)
Span = tuple[int, int, int, int]  # number of the run, number of the key, first and last step


def read_history(
    session: Session,
    sql: Any,
    run_ids: Sequence[str],
    metrics: Sequence[str],
    max_points: int | None,
    steps: tuple[int, int] = ALL_STEPS,
) -> pd.DataFrame:
    """Return the points of runs and metrics between two steps, in long form."""
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
                    points = _points(cursor, sql, (run, keys[metric], *steps), max_points)
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


def find_waiting(session: Session, sql: Any, run_ids: Sequence[str], metrics: Sequence[str]) -> list[tuple[int, int]]:
    """Return the run and key of the histories, by number, of which more waits for blocks than is read whole."""
    keys = sorted(key_numbers(session, metrics).values())
    runs = [require_run(session, run_id, deleted=True).id for run_id in run_ids]
    cursor: Any = session.connection().connection.cursor()
    try:
        found = []
        for run in runs:
            for key in keys:
                cursor.execute(sql(_N_POINTS), (run, key))
                row = cursor.fetchone()
                if row is None or row[0] <= READ_WHOLE:
                    continue
                if blocks.count_waiting(cursor, sql, run, key, READ_WHOLE + 1) > READ_WHOLE:
                    found.append((run, key))
        return found
    finally:
        cursor.close()


def _points(cursor: Any, sql: Any, span: Span, max_points: int | None) -> Any:
    if max_points is None:
        return _fetch(cursor, sql(_POINTS), span, _POINT)
    cursor.execute(sql(_N_POINTS), span[:2])
    row = cursor.fetchone()
    if row is None:
        return ()
    if row[0] > max(max_points, READ_WHOLE):
        return _sampled(cursor, sql, span, max_points)
    points = _fetch(cursor, sql(_POINTS), span, _POINT)
    return points if len(points) <= max_points else _thinned(points, max_points)


def _fetch(cursor: Any, statement: str, values: Sequence[int], dtype: list[tuple[str, str]]) -> Any:
    """Return rows as an array straight from the cursor: 100,000 tuples kept at once would cost more."""
    import numpy as np

    cursor.execute(statement, values)
    return np.fromiter(cursor, dtype=dtype)


def _sampled(cursor: Any, sql: Any, span: Span, max_points: int) -> Any:
    """Return what `_choose` takes from a long history, reading its blocks instead of its points."""
    import numpy as np

    run, key, *_ = span
    cursor.execute(sql(_ENDS), (*span, *span))
    first, last = cursor.fetchone()
    if first is None:
        return ()
    known = _fetch(cursor, sql(_BLOCKS), (run, key, first, last), _PIECE)
    lows = _move_to_blocks(_lows_of_buckets(first, last, max_points), known, (last - first) / max_points)
    is_closed = (known["first"] >= first) & (known["last"] <= last)
    is_closed &= np.searchsorted(lows, known["first"], "right") == np.searchsorted(lows, known["last"], "right")
    opened = _read_opened(cursor, sql, (run, key, first, last), known, is_closed)
    pieces = np.concatenate([known[is_closed], _to_pieces(opened)])
    if pieces["n_points"].sum() <= max_points:
        return _fetch(cursor, sql(_POINTS), span, _POINT)
    steps = _choose(pieces[np.argsort(pieces["last"])], lows, max_points).tolist()
    chosen = []
    for start in range(0, len(steps), LOOK_UP):
        part = steps[start : start + LOOK_UP]
        chosen.append(_fetch(cursor, sql(_AT_STEPS.format(", ".join("?" * len(part)))), (run, key, *part), _POINT))
    return np.concatenate(chosen)


def _move_to_blocks(lows: Any, known: Any, widest: float) -> Any:
    """Return the edges of buckets, moved to the first step of the block that each lies in unless that is wide.

    So the block need not be opened; in a history that is long for its number of buckets all edges move, a little.
    """
    import numpy as np

    if len(known) == 0:
        return lows
    block = np.searchsorted(known["last"], lows)  # the one that covers the step, if one does
    is_covered = block < len(known)
    block[~is_covered] = 0
    starts = known["first"][block]
    widths = known["last"][block].astype(np.float64) - starts.astype(np.float64)
    is_moved = is_covered & (starts < lows) & (widths <= widest)
    is_moved[0] = False
    return np.where(is_moved, starts, lows)


def _read_opened(cursor: Any, sql: Any, span: Span, known: Any, is_closed: Any) -> Any:
    """Return the points of a span that lie in blocks which are not closed, or behind the last block."""
    import numpy as np

    run, key, first, last = span
    ends = known["last"]
    changes = np.flatnonzero(np.diff(~is_closed, prepend=False, append=False))
    ranges = [
        (first if start == 0 else int(ends[start - 1]) + 1, min(int(ends[end - 1]), last))
        for start, end in zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True)
    ]
    ranges.append((first if len(known) == 0 else int(ends[-1]) + 1, last))

    def read() -> Iterator[tuple[int, float]]:
        for low, high in ranges:
            if low <= high:
                cursor.execute(sql(_STEPS_AND_VALUES), (math.inf, run, key, low, high))
                yield from cursor

    return np.fromiter(read(), dtype=[("step", "int64"), ("value", "float64")])


def _thinned(points: Any, max_points: int) -> Any:
    """Return at most `max_points` of some points."""
    import numpy as np

    steps = points["step"]
    lows = _lows_of_buckets(int(steps[0]), int(steps[-1]), max_points)
    return points[np.searchsorted(steps, _choose(_to_pieces(points), lows, max_points))]


def _lows_of_buckets(first: int, last: int, max_points: int) -> Any:
    """Return the first step of each equal part of a range of steps; of fewer parts, if there are fewer steps."""
    import numpy as np

    width = last - first + 1
    count = min(max(1, max_points // POINTS_A_BUCKET), width)
    return np.array([first + width * index // count for index in range(count)], dtype="int64")


def _to_pieces(points: Any) -> Any:
    """Return each point as a piece of its own."""
    import numpy as np

    is_finite = np.isfinite(points["value"])
    if "is_nan" in points.dtype.names:
        is_finite &= ~points["is_nan"]
    pieces = np.empty(len(points), dtype=_PIECE)
    for name in ("first", "last", "least_step", "greatest_step", "gap_step"):
        pieces[name] = points["step"]
    for name in ("least", "greatest"):
        pieces[name] = points["value"]
    pieces["n_points"] = 1
    pieces["has_value"], pieces["has_gap"] = is_finite, ~is_finite
    return pieces


def _choose(pieces: Any, lows: Any, max_points: int) -> Any:
    """Return the steps that stay, in order.

    Of each bucket the first, the least, the greatest and the last value stay. Drawn as a line, with as many buckets as
    pixels, that is the same picture as all points [1]_. A value that is no number, if a bucket has any, stays instead
    of the first, so that the line breaks there. A bucket with no more points than that keeps them all.

    Parameters
    ----------
    pieces : array of _PIECE
        In the order of their steps, none of them across the edge of a bucket.
    lows : array of int64
        The first step of each bucket.

    References
    ----------
    .. [1] U. Jugel, Z. Jerzak, G. Hackenbroich, V. Markl, "M4: A Visualization-Oriented Time Series Data Aggregation",
       Proceedings of the VLDB Endowment 7 (2014), section 4.2.
    """
    import numpy as np

    room = min(max_points, POINTS_A_BUCKET)
    bucket = np.searchsorted(lows, pieces["last"], "right")
    starts = np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))  # of the buckets that have a point
    ends = np.append(starts[1:], len(pieces))
    place = np.repeat(np.arange(len(starts)), ends - starts)

    def first_of_each(chosen: Any) -> Any:
        places = np.flatnonzero(chosen)
        return places[np.unique(place[places], return_index=True)[1]]

    has_value = pieces["has_value"]
    least = np.minimum.reduceat(np.where(has_value, pieces["least"], np.inf), starts)
    greatest = np.maximum.reduceat(np.where(has_value, pieces["greatest"], -np.inf), starts)
    chosen = [
        pieces["last"][ends - 1],
        pieces["least_step"][first_of_each(has_value & (pieces["least"] == least[place]))],
        pieces["greatest_step"][first_of_each(has_value & (pieces["greatest"] == greatest[place]))],
        pieces["first"][(np.add.reduceat(pieces["n_points"], starts) <= room)[place]],
    ]
    if room == POINTS_A_BUCKET:
        gaps = first_of_each(pieces["has_gap"])
        chosen += [pieces["gap_step"][gaps], pieces["first"][np.delete(starts, place[gaps])]]
    return np.unique(np.concatenate(chosen))


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
