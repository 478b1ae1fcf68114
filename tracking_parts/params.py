"""Params and tags: nested dicts flattened, every value in its stored form, written by a driver's cursor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from values import check_key, check_text, decode_json, encode_json, shorten

__all__ = [
    "StoredParam",
    "flatten_params",
    "read_tags",
    "restore_param",
    "to_stored_param",
    "write_params",
    "write_tags",
]

MAX_DEPTH = 32  # nested dicts of params
PARAM_MAX_BYTES = 1_000_000  # of one value as JSON

StoredParam = tuple[bool, str, float | None]  # whether the text is JSON, the text, the number for comparisons


def flatten_params(params: object, field: str = "params") -> dict[str, Any]:
    """Return nested dicts as one level, keys joined with dots.

    >>> flatten_params({"optimizer": {"name": "adam", "betas": (0.9, 0.99)}, "epochs": 3})
    {'optimizer.name': 'adam', 'optimizer.betas': (0.9, 0.99), 'epochs': 3}

    Raises
    ------
    TypeError
        If it is not a dict, or a key is not text.
    ValueError
        If two keys become the same, or it is nested too deeply (or contains itself).
    """
    if not isinstance(params, Mapping):
        raise TypeError(f"{field} must be a dict, got {type(params).__name__} {shorten(params)}")
    result: dict[str, Any] = {}
    _flatten(params, "", 0, result, field)
    return result


def _flatten(params: Mapping[Any, Any], prefix: str, depth: int, result: dict[str, Any], field: str) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"{field} is nested deeper than {MAX_DEPTH} levels, or contains itself")
    for key, value in params.items():
        name = check_key(prefix + check_key(key, f"a key of {field}"), f"a key of {field}")
        if isinstance(value, Mapping) and value:
            _flatten(value, name + ".", depth + 1, result, field)
        elif name in result:
            raise ValueError(f"{field} has the key {name!r} twice, once nested and once with a dot; rename one")
        else:
            result[name] = value


def to_stored_param(key: str, value: object) -> StoredParam:
    """Return a param in its stored form.

    >>> to_stored_param("lr", 0.1), to_stored_param("optimizer", "adam"), to_stored_param("nesterov", True)
    ((True, '0.1', 0.1), (False, 'adam', None), (True, 'true', None))
    """
    if isinstance(value, str):
        text = check_text(value, f"param {key!r}")
        return False, text, _number_in(text)
    text = encode_json(value, f"param {key!r}", max_bytes=PARAM_MAX_BYTES)
    plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
    number: float | None = None
    if isinstance(plain, int | float) and not isinstance(plain, bool):
        try:
            number = float(plain)
        except OverflowError:
            number = math.inf if plain > 0 else -math.inf
        if number != number:
            number = None
    return True, text, number


def _number_in(text: str) -> float | None:
    """Return the number a text spells ("0.1", as other trackers store all params), if it does."""
    if len(text) > 40 or not text.strip() or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def restore_param(is_json: bool, text: str) -> Any:
    """Return a param as it was logged."""
    if not is_json:
        return text
    if text[-1:].isdigit():  # JSON that ends with a digit is a number; most params are, and this is ten times faster
        return float(text) if "." in text or "e" in text or "E" in text else int(text)
    return decode_json(text)


def read_tags(tags: object) -> dict[str, str]:
    """Return tags as text by key; numbers and booleans become text."""
    if not isinstance(tags, Mapping):
        raise TypeError(f"tags must be a dict, got {type(tags).__name__} {shorten(tags)}")
    result = {}
    for key, value in tags.items():
        name = check_key(key, "tag")
        plain = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
        if isinstance(plain, bool):
            plain = "true" if plain else "false"
        elif isinstance(plain, int | float):
            plain = repr(plain)
        result[name] = check_text(plain, f"tag {name!r}")
    return result


# -- rows: for hot paths, below SQLAlchemy -----------------------------------------------------------------

_ADD_PARAM = (
    "INSERT INTO run_params (run_id, key_id, is_json, value, number) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (run_id, key_id) DO NOTHING"
)
_REPLACE_PARAM = _ADD_PARAM.replace(
    "DO NOTHING", "DO UPDATE SET is_json = excluded.is_json, value = excluded.value, number = excluded.number"
)
_SET_TAG = (
    "INSERT INTO run_tags (run_id, key_id, value) VALUES (?, ?, ?) "
    "ON CONFLICT (run_id, key_id) DO UPDATE SET value = excluded.value"
)


def write_params(
    cursor: Any,
    sql: Callable[[str], str],
    run: int,
    keys: Mapping[str, int],
    stored: Mapping[str, StoredParam],
    *,
    overwrite: bool,
) -> list[str]:
    """Write params of a run, whose keys have the given numbers; return which have other values already."""
    statement = sql(_REPLACE_PARAM if overwrite else _ADD_PARAM)
    cursor.executemany(statement, [(run, keys[key], *stored[key]) for key in sorted(stored)])
    if overwrite or cursor.rowcount == len(stored):
        return []
    cursor.execute(sql("SELECT key_id, is_json, value FROM run_params WHERE run_id = ?"), (run,))
    old = {key: (bool(is_json), value) for key, is_json, value in cursor.fetchall()}
    return [
        f"{key!r} is {shorten(restore_param(*old[keys[key]]))}, not {shorten(restore_param(*stored[key][:2]))}"
        for key in sorted(stored)
        if old[keys[key]] != stored[key][:2]
    ]


def write_tags(
    cursor: Any, sql: Callable[[str], str], run: int, keys: Mapping[str, int], tags: Mapping[str, str]
) -> None:
    """Write tags of a run; those it has already get the new values."""
    cursor.executemany(sql(_SET_TAG), [(run, keys[key], tags[key]) for key in sorted(tags)])
