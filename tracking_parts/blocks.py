"""Blocks of points: what a long history looks like, kept beside it, so that a figure of it need not read it.

A block says of some hundred consecutive points how many they are, where the first and the last stand, the least and the
greatest finite value with their steps, and the first value that is no finite number. What `metric_history` chooses from
them is what it would choose from the points (`tracking_parts.history`).

The blocks of a history follow each other from its first point on and leave none out; the newest points wait behind the
last block, until a look finds enough of them. They are written with the points, in the same transaction:

- Appending looks at what waits every `LOOK_EVERY` points, on average. Which calls look is told by their steps alone, so
  nothing is counted, and short-lived processes that log a few points each take their turns too.
- Going back, or replacing a step, makes the one block anew that covers the step.

What an older version stored has no blocks; `find_waiting` finds such histories, and `extend` adds blocks to as many
points as one transaction should take. Statements are written as in `tracking_parts.metric_log`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

__all__ = [
    "AT_ONCE",
    "BLOCK_POINTS",
    "Cursor",
    "Sql",
    "count_waiting",
    "extend",
    "find_ends",
    "is_due",
    "rebuild",
    "summarise",
]

BLOCK_POINTS = 128  # of so many points is a block; one made anew has up to twice as many
LOOK_EVERY = 512  # points between two looks, on average: a power of two
AT_ONCE = 65_536  # points that get their blocks in one transaction: others wait for a tenth of a second at most

FLOAT_MAX = 1.7976931348623157e308  # the greatest finite value: anything beyond is an infinity
LEAST_STEP, GREATEST_STEP = -(2**63), 2**63 - 1


class Cursor(Protocol):
    """What this file needs of a driver's cursor."""

    @property
    def rowcount(self) -> int:
        """Rows the last statement changed."""
        ...

    def execute(self, statement: str, values: Sequence[Any] = ...) -> Any:
        """Run one statement."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> Any:
        """Run one statement for each row."""
        ...

    def fetchone(self) -> Any:
        """Return the next row or None."""
        ...

    def fetchall(self) -> list[Any]:
        """Return all rows."""
        ...


Sql = Callable[[str], str]
Block = tuple[int, int, int, float | None, int | None, float | None, int | None, int | None]

_BLOCKS = "FROM metric_blocks WHERE run_id = ? AND key_id = ?"
_POINTS = "FROM metric_points WHERE run_id = ? AND key_id = ?"
_END = f"SELECT max(last_step) {_BLOCKS}"
_END_BEFORE = f"SELECT max(last_step) {_BLOCKS} AND last_step < ?"
_COVERING = f"SELECT min(last_step) {_BLOCKS} AND last_step >= ?"
_WAITING = f"SELECT step, value {_POINTS} AND step >= ? ORDER BY step LIMIT ?"
_COVERED = f"SELECT step, value {_POINTS} AND step >= ? AND step <= ? ORDER BY step"
_COUNT_WAITING = f"SELECT count(*) FROM (SELECT 1 {_POINTS} AND step >= ? LIMIT ?) AS waiting"  # noqa: S608
_FINITE = f"CASE WHEN abs(value) <= {FLOAT_MAX!r} THEN value END"
_BLOCK_TOTALS = f"SELECT coalesce(sum(n_points), 0), min(min_value), max(max_value) {_BLOCKS}"
_LEAST_IN_BLOCKS = f"SELECT min(min_step) {_BLOCKS} AND min_value = ?"
_GREATEST_IN_BLOCKS = f"SELECT min(max_step) {_BLOCKS} AND max_value = ?"
_WAITING_TOTALS = f"SELECT count(*), min({_FINITE}), max({_FINITE}) {_POINTS} AND step >= ?"
_FIRST_WAITING = f"SELECT min(step) {_POINTS} AND step >= ? AND value = ?"
_DROP = f"DELETE {_BLOCKS} AND last_step = ?"
_ADD = (
    "INSERT INTO metric_blocks (last_step, first_step, n_points, min_value, min_step, max_value, max_step, gap_step, "
    "run_id, key_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: its multiples are spread evenly, whatever the stride [1]
_BITS = 2**64 - 1
# .. [1] D. E. Knuth, "The Art of Computer Programming", volume 3, 2nd edition (1998), section 6.4, theorem S.


def is_due(step: int, n_points: int = 1) -> bool:
    """Tell whether storing some points, of which this is the last step, should look at what waits.

    One of `LOOK_EVERY` points is due, whatever the stride of their steps.
    """
    return ((step + 1) * _GOLDEN & _BITS) < _BITS // LOOK_EVERY * n_points


def summarise(steps: Sequence[int], values: Sequence[float | None]) -> list[Block]:
    """Return the blocks of consecutive points; the last takes what is left over.

    Parameters
    ----------
    steps : sequence of int
        Increasing.
    values : sequence of float or None
        None is NaN.
    """
    starts = range(0, max(len(steps) - BLOCK_POINTS, 0) + 1, BLOCK_POINTS)
    ends = [*starts[1:], len(steps)]
    return [_summarise_one(steps[low:high], values[low:high]) for low, high in zip(starts, ends, strict=True)]


def _summarise_one(steps: Sequence[int], values: Sequence[float | None]) -> Block:
    ends = find_ends(steps, values)
    gap = None
    if ends.has_gap:
        gap = next(step for step, value in zip(steps, values, strict=True) if value is None or not math.isfinite(value))
    return (steps[-1], steps[0], len(steps), ends.min_value, ends.min_step, ends.max_value, ends.max_step, gap)


class Ends(NamedTuple):
    """The least and the greatest finite value of some points, with their first steps, and whether there are others."""

    min_value: float | None
    min_step: int | None
    max_value: float | None
    max_step: int | None
    has_gap: bool


def find_ends(steps: Sequence[int], values: Sequence[float | None]) -> Ends:
    """Return the least and the greatest finite value."""
    finite: Sequence[Any] = values
    if None in values:
        finite = [value for value in values if value is not None and math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (-math.inf, math.inf)
    if not (low >= -FLOAT_MAX and high <= FLOAT_MAX):
        finite = [value for value in finite if math.isfinite(value)]
        if not finite:
            return Ends(None, None, None, None, len(values) > 0)
        low, high = min(finite), max(finite)
    has_gap = len(finite) < len(values)
    return Ends(low, steps[values.index(low)], high, steps[values.index(high)], has_gap)


def extend(
    cursor: Cursor, sql: Sql, run: int, key: int, steps: Sequence[int] = (), values: Sequence[float | None] = ()
) -> bool:
    """Add blocks for what waits, and for points that are about to be stored behind it.

    Returns
    -------
    bool
        Whether more may wait than one transaction should take.
    """
    start = _start_of_waiting(cursor, sql, run, key)
    if start is None:
        return False
    cursor.execute(sql(_WAITING), (run, key, start, AT_ONCE))
    rows = cursor.fetchall()
    more = len(rows) == AT_ONCE
    all_steps = [row[0] for row in rows]
    all_values = [row[1] for row in rows]
    if not more:
        all_steps += steps
        all_values += values
    whole = len(all_steps) // BLOCK_POINTS * BLOCK_POINTS
    if whole:
        _add(cursor, sql, run, key, summarise(all_steps[:whole], all_values[:whole]))
    return more


def rebuild(cursor: Cursor, sql: Sql, run: int, key: int, steps: Sequence[int]) -> None:
    """Make the blocks anew that cover steps, sorted ones, which were stored before what was there, or over it."""
    position = 0
    while position < len(steps):
        cursor.execute(sql(_COVERING), (run, key, steps[position]))
        last = cursor.fetchone()[0]
        if last is None:
            return
        cursor.execute(sql(_END_BEFORE), (run, key, last))
        before = cursor.fetchone()[0]
        cursor.execute(sql(_COVERED), (run, key, LEAST_STEP if before is None else before + 1, last))
        points = cursor.fetchall()
        cursor.execute(sql(_DROP), (run, key, last))
        _add(cursor, sql, run, key, summarise([row[0] for row in points], [row[1] for row in points]))
        position = bisect_right(steps, last, position)


def count_waiting(cursor: Cursor, sql: Sql, run: int, key: int, limit: int) -> int:
    """Return how many points of a history wait behind its last block; at most `limit`."""
    start = _start_of_waiting(cursor, sql, run, key)
    if start is None:
        return 0
    cursor.execute(sql(_COUNT_WAITING), (run, key, start, limit))
    return int(cursor.fetchone()[0])


def read_totals(cursor: Cursor, sql: Sql, run: int, key: int) -> tuple[int, Ends]:
    """Return how many points a history has, and its ends, from its blocks and what waits behind them."""
    count = 0
    steps: list[int] = []
    values: list[float] = []
    start = _start_of_waiting(cursor, sql, run, key)
    parts: list[tuple[tuple[int, ...], str, tuple[str, str]]] = [
        ((run, key), _BLOCK_TOTALS, (_LEAST_IN_BLOCKS, _GREATEST_IN_BLOCKS))
    ]
    if start is not None:
        parts.append(((run, key, start), _WAITING_TOTALS, (_FIRST_WAITING, _FIRST_WAITING)))
    for place, totals, where in parts:
        cursor.execute(sql(totals), place)
        n_points, *ends = cursor.fetchone()
        count += int(n_points)
        for statement, value in zip(where, ends, strict=True):
            if value is not None:
                cursor.execute(sql(statement), (*place, value))
                steps.append(cursor.fetchone()[0])
                values.append(value)
    return count, find_ends(steps, values)


def _start_of_waiting(cursor: Cursor, sql: Sql, run: int, key: int) -> int | None:
    """Return the least step that may wait; None if there is no step behind the last block."""
    cursor.execute(sql(_END), (run, key))
    end = cursor.fetchone()[0]
    return LEAST_STEP if end is None else None if end == GREATEST_STEP else int(end) + 1


def _add(cursor: Cursor, sql: Sql, run: int, key: int, blocks: Iterable[Block]) -> None:
    cursor.executemany(sql(_ADD), [(*block, run, key) for block in blocks])
