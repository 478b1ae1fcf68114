"""The log path: metric values in, rows out, on a bare driver cursor inside one write transaction.

Three tables move together. `metric_points` holds the history, one row a step. `metric_summaries` holds a row a metric
with its last, least and greatest value, so that a search never reads the history. Nearly every call appends (its step
is above the last one), and then both are written without reading either; a call that goes back or replaces a step
reads what it needs to keep the summary exact. `metric_blocks` holds a row for some hundred points of a long history, so
that a figure need not read it (`tracking_parts.blocks`).

Statements are written with ``?``; `sql` turns them into the driver's own style.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, repeat
from typing import Any

from tracking_parts import blocks
from tracking_parts.blocks import FLOAT_MAX, Cursor, Sql
from values import check_key, to_float, to_int, to_utc

__all__ = ["Gathered", "Series", "read_metrics", "resolve_keys", "store_series", "store_step", "to_micros"]

_ADD_KEY = "INSERT INTO run_keys (name) VALUES (?) ON CONFLICT (name) DO NOTHING"
_FIND_KEYS = "SELECT name, id FROM run_keys WHERE name IN ({})"

_APPEND_SUMMARY = """
INSERT INTO metric_summaries AS s
    (run_id, key_id, n_points, last_value, last_step, last_at, min_value, min_step, max_value, max_step)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id, key_id) DO UPDATE SET
    n_points = s.n_points + excluded.n_points,
    last_value = excluded.last_value, last_step = excluded.last_step, last_at = excluded.last_at,
    min_step = CASE WHEN s.min_value IS NULL OR excluded.min_value < s.min_value
                    THEN excluded.min_step ELSE s.min_step END,
    min_value = CASE WHEN s.min_value IS NULL OR excluded.min_value < s.min_value
                     THEN excluded.min_value ELSE s.min_value END,
    max_step = CASE WHEN s.max_value IS NULL OR excluded.max_value > s.max_value
                    THEN excluded.max_step ELSE s.max_step END,
    max_value = CASE WHEN s.max_value IS NULL OR excluded.max_value > s.max_value
                     THEN excluded.max_value ELSE s.max_value END
WHERE excluded.last_step > s.last_step
"""
_ADD_POINT = (
    "INSERT INTO metric_points (run_id, key_id, step, at, value) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (run_id, key_id, step) DO UPDATE SET at = excluded.at, value = excluded.value"
)
_LAST_STEP = "SELECT last_step FROM metric_summaries WHERE run_id = ? AND key_id = ?"
_SUMMARY = (
    "SELECT n_points, last_value, last_step, last_at, min_value, min_step, max_value, max_step "
    "FROM metric_summaries WHERE run_id = ? AND key_id = ?"
)
_OLD_POINT = "SELECT value FROM metric_points WHERE run_id = ? AND key_id = ? AND step = ?"
_SET_SUMMARY = (
    "UPDATE metric_summaries SET n_points = ?, last_value = ?, last_step = ?, last_at = ?, min_value = ?, "
    "min_step = ?, max_value = ?, max_step = ? WHERE run_id = ? AND key_id = ?"
)
_LAST_POINT = "SELECT step, value, at FROM metric_points WHERE run_id = ? AND key_id = ? ORDER BY step DESC LIMIT 1"


# -- reading what people give ------------------------------------------------------------------------


class Series:
    """Values of one metric: `steps` (or None: the next ones), `ats` in microseconds, `values` with NaN as None."""

    __slots__ = ("ats", "steps", "values")

    def __init__(self, steps: Sequence[int] | None, ats: Sequence[int], values: Sequence[float | None]) -> None:
        self.steps = steps
        self.ats = ats
        self.values = values


def to_micros(at: object | None) -> int:
    """Return an instant (None: now) in microseconds since 1970."""
    if at is None:
        return time.time_ns() // 1000
    since = to_utc(at, "at") - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


_EPOCH = to_utc("1970-01-01")


def to_stored(value: object, metric: str) -> float | None:
    """Return a metric value as it is stored: a float, None for NaN. Booleans count as 1.0 and 0.0."""
    if type(value) is float:
        number = value
    elif isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        number = 1.0 if value else 0.0
    else:
        number = to_float(value, f"metric {metric!r}", finite=False)
    return None if number != number else number


def read_metrics(
    metrics: object, step: object, at: object, known: Mapping[str, int]
) -> tuple[dict[str, float | None] | None, dict[str, Series] | None]:
    """Tell a single step (first result) from a batch (second result), and check every key and value.

    Parameters
    ----------
    metrics : mapping of str to number, or of str to sequence of numbers, or DataFrame
    step : int, sequence of int or None
    at : instant, sequence of instants or None
    known : mapping
        Keys that were checked before.
    """
    if hasattr(metrics, "columns") and hasattr(metrics, "index"):
        return None, _read_frame(metrics, step, at)
    if not isinstance(metrics, Mapping):
        raise TypeError(f"metrics must be a dict of numbers by name, got {type(metrics).__name__}")
    if not metrics:
        raise ValueError("metrics is empty; give at least one name and value")
    if any(_is_sequence(value) for value in metrics.values()) or _is_sequence(step):
        return None, _read_batch(metrics, step, at)
    single: dict[str, float | None] = {}
    for key, value in metrics.items():
        name = key if type(key) is str and key in known else check_key(key, "metric")
        single[name] = to_stored(value, name)
    return single, None


def _is_sequence(value: object) -> bool:
    if isinstance(value, list | tuple):
        return True
    return getattr(value, "ndim", 0) == 1 and hasattr(value, "__len__")


def _to_list(values: Any) -> list[Any]:
    return list(values.tolist() if hasattr(values, "tolist") and hasattr(values, "dtype") else values)


def _read_values(values: Any, name: str) -> list[float | None]:
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    items = _to_list(values)
    if kind == "f":
        return [None if item != item else item for item in items]
    if kind in "iub":
        return [float(item) for item in items]
    return [to_stored(item, name) for item in items]


def _read_steps(steps: Any) -> list[int]:
    items = _to_list(steps)
    if getattr(getattr(steps, "dtype", None), "kind", "O") == "i":
        return items
    return [to_int(item, "step") for item in items]


def _read_ats(at: Any, count: int) -> list[int]:
    if at is None or not _is_sequence(at):
        return [to_micros(at)] * count
    if getattr(getattr(at, "dtype", None), "kind", "O") == "M" and not hasattr(at, "dt"):
        import numpy as np

        array = np.asarray(at).astype("datetime64[us]")
        if np.isnat(array).any():
            raise ValueError("at holds 'not a time' (NaT); give an instant for every step")
        return [int(item) for item in array.astype("int64")]
    return [to_micros(item) for item in at]


def _read_batch(metrics: Mapping[Any, Any], step: Any, at: Any) -> dict[str, Series]:
    steps = None if step is None else _read_steps(step) if _is_sequence(step) else None
    if step is not None and steps is None:
        raise ValueError(f"metrics holds sequences, so step must be a sequence of the same length, got {step!r}")
    result: dict[str, Series] = {}
    for key, values in metrics.items():
        name = check_key(key, "metric")
        if not _is_sequence(values):
            raise ValueError(
                f"metric {name!r} is a single value among sequences; give every metric one value for each step"
            )
        read = _read_values(values, name)
        if steps is not None and len(steps) != len(read):
            raise ValueError(f"metric {name!r} has {len(read)} values for {len(steps)} steps; give one value each")
        ats = _read_ats(at, len(read))
        if len(ats) != len(read):
            raise ValueError(f"metric {name!r} has {len(read)} values for {len(ats)} instants; give one each")
        if read:
            result[name] = Series(steps, ats, read)
    return result


def _read_frame(frame: Any, step: Any, at: Any) -> dict[str, Series]:
    columns = {check_key(column, "column"): frame[column] for column in frame.columns}
    if len(columns) != len(frame.columns):
        raise ValueError("the frame has two columns of the same name")
    if step is None:
        step = columns.pop("step").to_numpy() if "step" in columns else frame.index.to_numpy()
    if at is None and "at" in columns:
        at = list(columns.pop("at"))
    if not columns:
        raise ValueError("the frame has no column of metric values")
    return _read_batch({name: column.to_numpy() for name, column in columns.items()}, step, at)


# -- writing -----------------------------------------------------------------------------------------


def resolve_keys(cursor: Cursor, sql: Sql, names: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """Return the numbers of keys not known yet, adding those that the store does not have.

    Remember them only once the transaction is committed. Sorted, so that two writers cannot wait for each other.
    """
    missing = sorted({name for name in names if name not in known})
    found: dict[str, int] = {}
    for start in range(0, len(missing), 400):
        part = missing[start : start + 400]
        marks = ", ".join("?" * len(part))
        for _ in range(2):
            cursor.execute(sql(_FIND_KEYS.format(marks)), part)
            found.update({str(name): int(number) for name, number in cursor.fetchall()})
            absent = [name for name in part if name not in found]
            if not absent:
                break
            cursor.executemany(sql(_ADD_KEY), [(name,) for name in absent])
    return found


def store_step(
    cursor: Cursor,
    sql: Sql,
    run: int,
    keys: Mapping[str, int],
    values: Mapping[str, float | None],
    step: int | None,
    at: int,
) -> None:
    """Store one value each of some metrics; `step` None is the next one of each metric."""
    summaries: list[tuple[Any, ...]] = []
    points: list[tuple[Any, ...]] = []
    for name in sorted(values) if len(values) > 1 else values:
        key, value = keys[name], values[name]
        if step is None:
            cursor.execute(sql(_LAST_STEP), (run, key))
            last = cursor.fetchone()
            this = 0 if last is None else _next_step(int(last[0]))
        else:
            this = step
        if value is not None and -FLOAT_MAX <= value <= FLOAT_MAX:
            summaries.append((run, key, 1, value, this, at, value, this, value, this))
        else:
            summaries.append((run, key, 1, value, this, at, None, None, None, None))
        points.append((run, key, this, at, value))
    cursor.executemany(sql(_APPEND_SUMMARY), summaries)
    back: list[tuple[int, int]] = []
    if cursor.rowcount < len(summaries):
        # At least one of them does not append. Those that did have changed a summary already: tell them apart by
        # their points, which are not written yet.
        back = _store_backward(cursor, sql, points, summaries)
    cursor.executemany(sql(_ADD_POINT), points)
    for key, this in back:
        blocks.rebuild(cursor, sql, run, key, (this,))
    if blocks.is_due(points[0][2]):
        for _, key, _, _, _ in points:
            blocks.extend(cursor, sql, run, key)


def _next_step(last: int) -> int:
    if last >= 2**63 - 1:
        raise ValueError("there is no step after 9,223,372,036,854,775,807; name the step")
    return last + 1


def _store_backward(cursor: Cursor, sql: Sql, points: list[Any], summaries: list[Any]) -> list[tuple[int, int]]:
    """Bring the summaries of steps that were logged before, or out of order, up to date; return what blocks await."""
    back: list[tuple[int, int]] = []
    for (run, key, step, at, value), summary in zip(points, summaries, strict=True):
        cursor.execute(sql(_SUMMARY), (run, key))
        count, last_value, last_step, last_at, low, low_step, high, high_step = cursor.fetchone()
        cursor.execute(sql(_OLD_POINT), (run, key, step))
        old = cursor.fetchone()
        if last_step == step and old is None:
            continue  # this one was appended by the statement before
        finite = summary[6] is not None
        replaced_an_end = old is not None and step in (low_step, high_step)
        if old is None:
            count += 1
        if step == last_step:
            last_value, last_at = value, at
        if replaced_an_end:
            # The least or greatest value is being replaced: only the history knows the next one.
            cursor.execute(sql(_ADD_POINT), (run, key, step, at, value))
            blocks.rebuild(cursor, sql, run, key, (step,))
            _recount(cursor, sql, run, key)
            continue
        back.append((key, step))
        if finite and (low is None or value < low or (value == low and step < low_step)):
            low, low_step = value, step
        if finite and (high is None or value > high or (value == high and step < high_step)):
            high, high_step = value, step
        changed = (count, last_value, last_step, last_at, low, low_step, high, high_step)
        cursor.execute(sql(_SET_SUMMARY), (*changed, run, key))
    return back


def _recount(cursor: Cursor, sql: Sql, run: int, key: int) -> None:
    """Make a summary anew, from the blocks of the history and what waits for one."""
    count, ends = blocks.read_totals(cursor, sql, run, key)
    cursor.execute(sql(_LAST_POINT), (run, key))
    last_step, last_value, last_at = cursor.fetchone()
    cursor.execute(sql(_SET_SUMMARY), (count, last_value, last_step, last_at, *ends[:4], run, key))


def store_series(cursor: Any, sql: Sql, run: int, key: int, series: Series) -> None:
    """Store many values of one metric; of several at one step the last is kept."""
    values, ats = series.values, series.ats
    cursor.execute(sql(_LAST_STEP), (run, key))
    row = cursor.fetchone()
    last = None if row is None else int(row[0])
    if series.steps is None:
        first = 0 if last is None else _next_step(last)
        _next_step(first + len(values) - 2)
        steps: Sequence[int] = range(first, first + len(values))
        ordered = True
    else:
        steps = series.steps
        ordered = all(map(int.__lt__, steps, steps[1:])) if isinstance(steps, list) else False
    if not ordered:
        latest = dict(zip(steps, zip(ats, values, strict=True), strict=True))
        steps = sorted(latest)
        ats = [latest[step][0] for step in steps]
        values = [latest[step][1] for step in steps]
    appends = last is None or steps[0] > last
    is_due = blocks.is_due(steps[-1], len(steps))
    cursor.executemany(sql(_APPEND_SUMMARY), [_summarise(run, key, steps, ats, values)])
    if appends and is_due:
        blocks.extend(cursor, sql, run, key, steps, values)  # before they are stored: they need not be read again
    cursor.executemany(sql(_ADD_POINT), zip(repeat(run), repeat(key), steps, ats, values, strict=False))
    if not appends:
        blocks.rebuild(cursor, sql, run, key, steps)
        _recount(cursor, sql, run, key)
        if is_due:
            blocks.extend(cursor, sql, run, key)


def _summarise(
    run: int, key: int, steps: Sequence[int], ats: Sequence[int], values: Sequence[float | None]
) -> tuple[Any, ...]:
    ends = blocks.find_ends(steps, values)[:4]
    return (run, key, len(steps), values[-1], steps[-1], ats[-1], *ends)


class Gathered:
    """Values of one run that waited in the buffer, in the order they came."""

    def __init__(self) -> None:
        self.n_values = 0
        self._entries: list[tuple[dict[str, float | None], int | None, int]] = []

    def add(self, values: dict[str, float | None], step: int | None, at: int) -> None:
        """Take one call's values."""
        self._entries.append((values, step, at))
        self.n_values += len(values)

    def names(self) -> list[str]:
        """Return the keys in use."""
        return list(dict.fromkeys(name for values, _, _ in self._entries for name in values))

    def store(self, cursor: Cursor, sql: Sql, run: int, keys: Mapping[str, int]) -> None:
        """Store them, a series a metric; runs of calls with and without a step stay in their order."""
        pending: dict[str, list[tuple[int | None, int, float | None]]] = {}
        for values, step, at in self._entries:
            for name, value in values.items():
                pending.setdefault(name, []).append((step, at, value))
        for name in sorted(pending):
            for has_step, group in groupby(pending[name], key=lambda item: item[0] is not None):
                steps, ats, values_ = zip(*group, strict=True)
                series = Series(list(steps) if has_step else None, ats, values_)
                store_series(cursor, sql, run, keys[name], series)
