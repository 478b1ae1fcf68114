"""Reading what people log: rows and frames of measurements, checked before anything is written.

    >>> batches = points_of_mappings([{"metric": "accuracy", "value": 0.9}], {"name": "churn", "version": "1.0.0"})
    >>> list(batches)
    [('churn', '1.0.0', 'accuracy', '')]

A *series key* is (name, version, metric, segment); a *point* is (microseconds since 1970, tie, value, prediction
count, event id), the form in which it is stored. The tie is a random number that tells apart points of one instant.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from db import to_microseconds
from values import InvalidTypeError, InvalidValueError, check_key, check_name, to_float, to_int, to_utc

__all__ = ["BUCKETS", "POINT_COLUMNS", "bucketed", "new_tie", "points_of_frame", "points_of_mappings", "series_key"]

POINT_COLUMNS = ("name", "version", "metric", "value", "prediction_count", "at", "segment", "event_id")
BUCKETS = {"hour": "h", "day": "D", "week": "W-MON", "month": "MS"}  # pandas frequencies; weeks begin on Monday

SeriesKey = tuple[str, str, str, str]


def series_key(name: object, version: object, metric: object, segment: object) -> SeriesKey:
    """Return a checked (name, version, metric, segment); no segment is the empty text."""
    return (
        check_name(name, "model name"),
        check_name(version, "version"),
        check_key(metric, "metric"),
        "" if segment is None else check_key(segment, "segment"),
    )


def new_tie() -> int:
    """Return a random number that tells apart points of one instant."""
    return int.from_bytes(os.urandom(8)) >> 1


def points_of_mappings(
    rows: Iterable[Mapping[str, Any]], defaults: Mapping[str, Any]
) -> dict[SeriesKey, list[tuple[Any, ...]]]:
    """Read rows one by one; an error names the row and the key."""
    batches: dict[SeriesKey, list[tuple[Any, ...]]] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidTypeError(f"row {number} must be a mapping, got {type(row).__name__}")
        unknown = [key for key in row if key not in POINT_COLUMNS]
        if unknown:
            raise InvalidValueError(
                f"row {number} has the unknown key {unknown[0]!r}; known: {', '.join(POINT_COLUMNS)}"
            )
        full = {**defaults, **row}
        absent = [column for column in POINT_COLUMNS[:4] if column not in full]
        if absent:
            raise InvalidValueError(f"row {number} has no {absent[0]!r}")
        try:
            key = series_key(full["name"], full["version"], full["metric"], full.get("segment"))
            count, event = full.get("prediction_count"), full.get("event_id")
            point = (
                to_microseconds(to_utc(full.get("at"), "at")),
                new_tie(),
                to_float(full["value"], "value"),
                None if count is None else to_int(count, "prediction_count", low=0),
                None if event is None else check_key(event, "event_id"),
            )
        except (ValueError, TypeError) as error:
            raise type(error)(f"row {number}: {error}") from error
        batches.setdefault(key, []).append(point)
    return batches


def points_of_frame(frame: Any, defaults: Mapping[str, Any]) -> dict[SeriesKey, list[tuple[Any, ...]]]:
    """Read a frame column by column; only distinct names and text are checked one by one."""
    import pandas as pd

    unknown = [str(column) for column in frame.columns if column not in POINT_COLUMNS]
    if unknown:
        raise InvalidValueError(f"unknown column {unknown[0]!r}; known: {', '.join(POINT_COLUMNS)}")
    if frame.columns.duplicated().any():
        raise InvalidValueError("the frame has two columns of one name")
    absent = [column for column in POINT_COLUMNS[:4] if column not in frame.columns and column not in defaults]
    if absent:
        raise InvalidValueError(f"the frame has no column {absent[0]!r}; give it, or {absent[0]}=... for all rows")
    n = len(frame)
    if n == 0:
        return {}
    columns = {c: frame[c] if c in frame.columns else pd.Series([defaults[c]] * n) for c in {*frame.columns, *defaults}}
    values = columns["value"]
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        numbers = [to_float(value, f"row {i}: value") for i, value in enumerate(values.tolist())]
    else:
        array = values.to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.flatnonzero(~np.isfinite(array))
        if bad.size:
            raise InvalidValueError(f"row {int(bad[0])}: value must be finite, got {float(array[bad[0]])!r}")
        numbers = array.tolist()
    times = _times_of(columns.get("at"), n)
    counts = _counts_of(columns.get("prediction_count"), n)
    events: list[str | None] = [None] * n
    if "event_id" in columns:
        events = [
            None if missing else check_key(event, f"row {i}: event_id")
            for i, (event, missing) in enumerate(
                zip(columns["event_id"].tolist(), columns["event_id"].isna().tolist(), strict=True)
            )
        ]
    ties = (np.frombuffer(os.urandom(8 * n), dtype=np.uint64) >> np.uint64(1)).tolist()
    points = list(zip(times, ties, numbers, counts, events, strict=True))
    labels = {c: columns[c].tolist() if c in columns else [None] * n for c in ("name", "version", "metric", "segment")}
    raw_keys = list(zip(*labels.values(), strict=True))
    batches: dict[SeriesKey, list[tuple[Any, ...]]] = {}
    checked: dict[Any, SeriesKey] = {}
    for i, raw in enumerate(raw_keys):
        try:
            key = checked.get(raw)
        except TypeError:  # a list or a dict as a name
            key = None
        if key is None:
            segment = None if raw[3] is None or raw[3] != raw[3] else raw[3]
            try:
                key = checked[raw] = series_key(raw[0], raw[1], raw[2], segment)
            except (ValueError, TypeError) as error:
                raise InvalidValueError(f"row {i}: {error}") from error
        batches.setdefault(key, []).append(points[i])
    return batches


def _times_of(column: Any, n: int) -> list[int]:
    import pandas as pd

    if column is None:
        return [to_microseconds(to_utc())] * n
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        if column.isna().any():
            raise InvalidValueError(f"row {int(np.flatnonzero(column.isna())[0])}: at is 'not a time' (NaT)")
        plain = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
        found: list[int] = plain.to_numpy(dtype="datetime64[us]").astype(np.int64).tolist()
        return found
    return [to_microseconds(to_utc(value, f"row {i}: at")) for i, value in enumerate(column.tolist())]


def _counts_of(column: Any, n: int) -> list[int | None]:
    if column is None:
        return [None] * n
    counts: list[int | None] = []
    for i, (value, missing) in enumerate(zip(column.tolist(), column.isna().tolist(), strict=True)):
        if missing:
            counts.append(None)  # a frame turns a missing whole number into NaN
            continue
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        counts.append(to_int(whole, f"row {i}: prediction_count", low=0))
    return counts


def bucketed(frame: Any, bucket: str) -> Any:
    """Return means per time bucket, weighted by prediction counts where every point has one."""
    import pandas as pd

    counts = frame["prediction_count"]
    grouper = pd.Grouper(key="at", freq=BUCKETS[bucket], label="left", closed="left")
    rows = []
    for at, part in frame.assign(prediction_count=counts).groupby(grouper):
        weights = part["prediction_count"].to_numpy()
        value = float("nan")
        if len(part):
            weighted = bool((weights > 0).all())
            value = float(np.average(part["value"], weights=weights)) if weighted else float(part["value"].mean())
        total = float(np.nansum(weights)) if len(part) and not np.isnan(weights).all() else float("nan")
        rows.append({"at": at, "value": value, "prediction_count": total, "n_points": len(part)})
    return pd.DataFrame(rows, columns=["at", "value", "prediction_count", "n_points"])
