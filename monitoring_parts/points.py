"""Reading what people log: rows and frames of measurements, checked before anything is written.

    >>> batches = points_of_mappings([{"metric": "accuracy", "value": 0.9}], {"name": "churn", "version": "1.0.0"})
    >>> list(batches)
    [('churn', '1.0.0', 'accuracy', '')]

A *series key* is (name, version, metric, segment). Points are read into five columns, in the form in which they are
stored: microseconds since 1970, tie, value, prediction count, event id. The tie is a random number that tells apart
points of one instant.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from columns import to_microseconds
from stats.series import weighted_mean
from values import InvalidTypeError, InvalidValueError, check_key, check_name, to_float, to_int, to_utc

__all__ = ["BUCKETS", "POINT_COLUMNS", "bucketed", "new_tie", "points_of_frame", "points_of_mappings", "series_key"]

POINT_COLUMNS = ("name", "version", "metric", "value", "prediction_count", "at", "segment", "event_id")
BUCKETS = {"hour": "h", "day": "D", "week": "W-MON", "month": "MS"}  # pandas frequencies; weeks begin on Monday

SeriesKey = tuple[str, str, str, str]
Columns = tuple[list[int], list[int], list[float], list[int | None], list[str | None]]
Batches = dict[SeriesKey, Columns]


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


def points_of_mappings(rows: Iterable[Mapping[str, Any]], defaults: Mapping[str, Any]) -> Batches:
    """Read rows one by one; an error names the row and the key."""
    batches: Batches = {}
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise InvalidTypeError(f"row {number} must be a mapping, got {type(row).__name__}")
        unknown = [key for key in row if key not in POINT_COLUMNS]
        if unknown:
            known = ", ".join(POINT_COLUMNS)
            raise InvalidValueError(f"row {number} has the unknown key {unknown[0]!r}; known: {known}")
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
        times, ties, values, counts, events = batches.setdefault(key, ([], [], [], [], []))
        times.append(point[0])
        ties.append(point[1])
        values.append(point[2])
        counts.append(point[3])
        events.append(point[4])
    return batches


def points_of_frame(frame: Any, defaults: Mapping[str, Any]) -> Batches:
    """Read a frame column by column; only distinct names and text are checked one by one."""
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
    ties = (np.frombuffer(os.urandom(8 * n), dtype=np.uint64) >> np.uint64(1)).tolist()
    points: Columns = (
        _times_of(frame["at"] if "at" in frame.columns else defaults.get("at"), n),
        ties,
        _values_of(frame["value"] if "value" in frame.columns else defaults["value"], n),
        _counts_of(frame.get("prediction_count", defaults.get("prediction_count")), n),
        _events_of(frame.get("event_id", defaults.get("event_id")), n),
    )
    groups = _groups_of(frame, defaults)
    if len(groups) == 1:
        return {next(iter(groups)): points}
    return {
        key: tuple([column[i] for i in positions] for column in points)  # type: ignore[misc]  # five columns
        for key, positions in groups.items()
    }


def _groups_of(frame: Any, defaults: Mapping[str, Any]) -> dict[SeriesKey, list[int]]:
    """Positions of the rows of each series, in the order of the frame."""
    import pandas as pd

    n = len(frame)
    codes = np.zeros(n, dtype=np.int64)
    seen: list[tuple[str, Any]] = []
    for column in ("name", "version", "metric", "segment"):
        if column in frame.columns:
            try:
                found, values = pd.factorize(frame[column], use_na_sentinel=False)
            except TypeError as error:  # a list or a dict as a name
                raise InvalidTypeError(f"column {column!r} must hold text: {error}") from error
            codes = codes * (len(values) + 1) + found
            seen.append((column, frame[column]))
    different, group = np.unique(codes, return_inverse=True)
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(different.size + 1))
    groups: dict[SeriesKey, list[int]] = {}
    for k in range(different.size):
        positions = order[bounds[k] : bounds[k + 1]].tolist()
        first = positions[0]
        raw = dict(defaults) | {column: series.iloc[first] for column, series in seen}
        segment = raw.get("segment")
        try:
            key = series_key(
                raw["name"],
                raw["version"],
                raw["metric"],
                None if pd.api.types.is_scalar(segment) and pd.isna(segment) else segment,
            )
        except (ValueError, TypeError) as error:
            raise InvalidValueError(f"row {first}: {error}") from error
        groups.setdefault(key, []).extend(positions)
    return groups


def _values_of(column: Any, n: int) -> list[float]:
    import pandas as pd

    if not isinstance(column, pd.Series):
        return [to_float(column, "value")] * n
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return [to_float(value, f"row {i}: value") for i, value in enumerate(column.tolist())]
    array = column.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise InvalidValueError(f"row {int(bad[0])}: value must be finite, got {float(array[bad[0]])!r}")
    listed: list[float] = array.tolist()
    return listed


def _events_of(column: Any, n: int) -> list[str | None]:
    import pandas as pd

    if column is None:
        return [None] * n
    if not isinstance(column, pd.Series):
        if n > 1:
            raise InvalidValueError("one event_id cannot stand for many rows; give a column of them")
        return [check_key(column, "event_id")]
    missing = column.isna().tolist()
    return [
        None if blank else check_key(event, f"row {i}: event_id")
        for i, (event, blank) in enumerate(zip(column.tolist(), missing, strict=True))
    ]


def _times_of(column: Any, n: int) -> list[int]:
    import pandas as pd

    if not isinstance(column, pd.Series):
        return [to_microseconds(to_utc(column, "at"))] * n
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        if column.isna().any():
            raise InvalidValueError(f"row {int(np.flatnonzero(column.isna())[0])}: at is 'not a time' (NaT)")
        plain = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
        found: list[int] = plain.to_numpy(dtype="datetime64[us]").astype(np.int64).tolist()
        return found
    return [to_microseconds(to_utc(value, f"row {i}: at")) for i, value in enumerate(column.tolist())]


def _counts_of(column: Any, n: int) -> list[int | None]:
    import pandas as pd

    if column is None:
        return [None] * n
    if not isinstance(column, pd.Series):
        return [to_int(column, "prediction_count", low=0)] * n
    if isinstance(column.dtype, np.dtype) and column.dtype.kind == "i" and column.min() >= 0:
        whole: list[int | None] = column.tolist()
        return whole
    counts: list[int | None] = []
    for i, (value, missing) in enumerate(zip(column.tolist(), column.isna().tolist(), strict=True)):
        if missing:
            counts.append(None)  # a frame turns a missing whole number into NaN
            continue
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        counts.append(to_int(number, f"row {i}: prediction_count", low=0))
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
            value = weighted_mean(part["value"].to_numpy(dtype=np.float64), weights if weighted else None)
        total = float(np.nansum(weights)) if len(part) and not np.isnan(weights).all() else float("nan")
        rows.append({"at": at, "value": value, "prediction_count": total, "n_points": len(part)})
    return pd.DataFrame(rows, columns=["at", "value", "prediction_count", "n_points"])
