"""What people hand in, checked and turned into columns; and what a batch of events comes to per subject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ab_parts.design import ExperimentConfig
from ab_parts.metrics import Aggregation, Metric, MetricType
from columns import to_microseconds
from values import InvalidTypeError, check_key, to_float, to_utc

__all__ = [
    "is_missing",
    "merge_events",
    "to_columns",
    "to_event_ids",
    "to_event_value",
    "to_event_values",
    "to_instants",
    "to_metric_indices",
    "to_subject",
    "to_subjects",
    "to_variant_indices",
]


SHOWN_NAMES = 8  # of the columns that a message lists


def to_subject(user_id: object) -> str:
    """Return the id of a subject as text, or say what is wrong with it."""
    if type(user_id) is str and user_id.isascii() and user_id.isprintable() and user_id.strip():
        return user_id if len(user_id) < 256 else check_key(user_id, "user_id")  # nothing else can be wrong with it
    if isinstance(user_id, str):
        return check_key(user_id, "user_id")
    if isinstance(user_id, int | np.integer) and not isinstance(user_id, bool):
        return str(int(user_id))
    raise TypeError(f"user_id must be text or a whole number, got {type(user_id).__name__} {user_id!r}")


def to_subjects(user_ids: Iterable[object]) -> list[str]:
    """Return the ids of many subjects as text."""
    if isinstance(user_ids, str | bytes):
        raise TypeError("user_ids must be several ids, got one text; wrap it in a list or use assign()")
    listed: list[Any] = user_ids.tolist() if hasattr(user_ids, "tolist") else list(user_ids)
    if not listed:
        return []
    try:
        joined = "".join(listed)
        lengths = set(map(len, listed))
        plain = joined.isascii() and joined.isprintable() and min(lengths) > 0 and max(lengths) < 256
    except TypeError:
        plain = False
    if plain and (" " not in joined or not any(map(str.isspace, listed))):
        return listed
    return [to_subject(value) for value in listed]


def to_columns(
    rows: Any,
    required: tuple[str, ...] = ("user_id", "value"),
    optional: tuple[str, ...] | None = ("metric", "at", "event_id", "variant", "denominator"),
) -> dict[str, list[Any]]:
    """Turn a DataFrame, mappings or pairs into columns."""
    if hasattr(rows, "columns") and hasattr(rows, "to_dict"):
        table = {str(name): rows[name].tolist() for name in rows.columns}
    elif isinstance(rows, Mapping):
        table = {str(name): list(column) for name, column in rows.items()}
    else:
        listed = list(rows)
        if listed and isinstance(listed[0], Mapping):
            names = {str(name) for row in listed for name in row}
            for name in required:
                for position, row in enumerate(listed):
                    if name not in row:
                        raise ValueError(f"row {position} has no {name!r}")
            table = {name: [row.get(name) for row in listed] for name in names}
        else:
            if not (set(map(type, listed)) <= {tuple, list} and set(map(len, listed)) <= {2}):
                for position, row in enumerate(listed):
                    if not isinstance(row, tuple | list) or len(row) != 2:
                        raise ValueError(f"row {position} must be a mapping or a pair (user_id, value), got {row!r}")
            table = {"user_id": [row[0] for row in listed], "value": [row[1] for row in listed]}
    missing = [name for name in required if name not in table]
    if missing and any(table.values()):
        listed_names = sorted(table)
        more = f" and {len(listed_names) - SHOWN_NAMES:,} more" if len(listed_names) > SHOWN_NAMES else ""
        there = ", ".join(map(repr, listed_names[:SHOWN_NAMES]))
        raise ValueError(
            f"the column {missing[0]!r} is missing; there are {there}{more}. Give a DataFrame, one mapping per row, "
            "or a mapping of columns"
        )
    for name in missing:
        table[name] = []
    if optional is not None:
        unknown = sorted(set(table) - set(required) - set(optional))
        if unknown:
            raise ValueError(f"unknown column {unknown[0]!r}; known ones are {', '.join((*required, *optional))}")
    lengths = {len(column) for column in table.values()}
    if len(lengths) > 1:
        raise ValueError(f"the columns differ in length: {sorted(lengths)}")
    return table


def to_event_value(metric: Metric, value: object, denominator: object) -> tuple[float, float]:
    """Return (number, denominator) of one event, or say what is wrong with it."""
    if metric.metric_type is MetricType.RATIO:
        if denominator is None and isinstance(value, tuple | list) and len(value) == 2:
            value, denominator = value
        if denominator is None:
            raise ValueError(f"metric {metric.name!r} is a ratio: give value=(numerator, denominator), or denominator=")
        below = metric.check_size(to_float(denominator, "denominator"), "denominator")
        if below < 0.0:
            raise ValueError(f"denominator must be 0 or more, got {below!r}")
        return metric.check_size(to_float(value, "numerator"), "numerator"), below
    if denominator is not None and denominator == denominator:
        raise ValueError(f"metric {metric.name!r} is {metric.metric_type.value}; only ratio metrics have a denominator")
    return metric.to_number(value), 1.0


def to_event_values(
    config: ExperimentConfig, metrics: np.ndarray, values: Sequence[Any], denominators: Sequence[Any] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return (numbers, denominators) of many events, each of shape (n,), naming the row that is wrong."""
    n = len(values)
    below = np.ones(n)
    only = config.metrics[int(metrics[0])] if (metrics == metrics[0]).all() else None
    if only is not None and only.metric_type is not MetricType.RATIO and denominators is None:
        kinds = set(map(type, values))
        if kinds <= {float, int} or (only.metric_type is MetricType.BINARY and kinds <= {float, int, bool}):
            try:
                numbers = np.array(values, dtype=np.float64)
            except OverflowError:
                numbers = np.full(n, np.inf)
            if only.all_valid(numbers):
                return numbers, below
    numbers = np.empty(n)
    for position in range(n):
        metric = config.metrics[int(metrics[position])]
        given = None if denominators is None else denominators[position]
        given = None if is_missing(given) else given
        try:
            numbers[position], below[position] = to_event_value(metric, values[position], given)
        except (TypeError, ValueError) as error:
            raise type(error)(f"row {position}: {error}") from error
    return numbers, below


def to_metric_indices(config: ExperimentConfig, column: Sequence[Any] | None, n: int) -> np.ndarray:
    """Return the position of every event's metric, shape (n,); the main one where none is named."""
    if column is None:
        return np.zeros(n, dtype=np.int64)
    return _indices(column, "metric", config.metric_index, missing=0)


def to_variant_indices(config: ExperimentConfig, column: Sequence[Any] | None, n: int) -> np.ndarray | None:
    """Return the position of every event's variant, shape (n,); -1 where none is named."""
    if column is None:
        return None
    return _indices(column, "variant", config.variant_index, missing=-1)


def _indices(column: Sequence[Any], label: str, index_of: Callable[[str], int], *, missing: int) -> np.ndarray:
    """Return the position of every name of a column, shape (n,); what is neither a name nor missing is refused."""
    known: dict[str, int] = {}
    found = []
    for row, name in enumerate(column):
        if isinstance(name, str):
            if name not in known:
                known[name] = index_of(name)
            found.append(known[name])
        elif is_missing(name):
            found.append(missing)
        else:
            raise InvalidTypeError(f"{label} of row {row} must be a name, got {type(name).__name__} {name!r}")
    return np.array(found, dtype=np.int64)


def is_missing(value: object) -> bool:
    """Return whether a cell of a table is empty: None, NaN, and pandas' NA and NaT."""
    if isinstance(value, float | np.floating):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def to_instants(column: Sequence[Any] | None, n: int) -> np.ndarray:
    """Return microseconds since 1970 (UTC), shape (n,); now where no time is given."""
    if column is None:
        return np.full(n, to_microseconds(to_utc()), dtype=np.int64)
    now = to_utc()
    return np.array(
        [
            to_microseconds(now if is_missing(value) else to_utc(value, f"at of row {i}"))
            for i, value in enumerate(column)
        ],
        dtype=np.int64,
    )


def to_event_ids(column: Sequence[Any] | None, n: int) -> list[str | None] | None:
    """Return the ids of events, None where there is none."""
    if column is None:
        return None
    return [
        None
        if is_missing(value)
        else check_key(str(value) if isinstance(value, int) else value, f"event_id of row {i}")
        for i, value in enumerate(column)
    ]


def merge_events(
    config: ExperimentConfig,
    metrics: Sequence[int],
    subjects: Sequence[str],
    numbers: Sequence[float],
    below: Sequence[float],
    instants: Sequence[int],
) -> dict[int, dict[str, tuple[int, float, float, float, int, int]]]:
    """Combine the events of a batch: metric -> subject -> (n, total, denominator, value, first_at, last_at)."""
    merged: dict[int, dict[str, tuple[int, float, float, float, int, int]]] = {}
    for metric, subject, number, under, at in zip(metrics, subjects, numbers, below, instants, strict=True):
        by_subject = merged.setdefault(metric, {})
        old = by_subject.get(subject)
        if old is None:
            by_subject[subject] = (1, number, under, number, at, at)
            continue
        n, total, denominator, value, first, last = old
        n, total = n + 1, total + number
        aggregation = config.metrics[metric].aggregation
        if aggregation is Aggregation.MEAN:
            value = total / n
        elif aggregation is Aggregation.SUM:
            value = total
        elif aggregation in (Aggregation.ANY, Aggregation.MAX):
            value = max(value, number)
        elif aggregation is Aggregation.LAST:
            value = number if at >= last else value
        elif at < first:
            value = number
        by_subject[subject] = (n, total, denominator + under, value, min(first, at), max(last, at))
    return merged
