"""The one validation layer in front of both databases: what may be stored, and in which form.

SQLite and PostgreSQL disagree about almost every awkward value: NaN, NUL characters, `np.int64`, time
zones, very long text, JSON keys. Nothing reaches either of them that has not passed through here, so the
same input has the same outcome on both.

    >>> check_name("churn-model", "model name")
    'churn-model'
    >>> decode_json(encode_json({"lr": float("inf"), "n": 2**70}, "params"))
    {'lr': inf, 'n': 1180591620717411303424}
    >>> to_utc("2026-03-29T02:30:00+02:00").isoformat()
    '2026-03-29T00:30:00+00:00'

Vocabulary: a *name* identifies a thing people made (a model, an experiment, a run, a variant); a *key*
labels a value inside it (a metric, a parameter, a tag, a feature); *text* is anything else people write.

Everything here raises `InvalidValueError` (a `ValueError`) or `InvalidTypeError` (a `TypeError` that is also a
`ValueError`), naming the field, the value and the rule.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

__all__ = [
    "InvalidTypeError",
    "InvalidValueError",
    "check_choice",
    "check_key",
    "check_name",
    "check_text",
    "decode_json",
    "encode_json",
    "new_id",
    "to_float",
    "to_int",
    "to_utc",
]

NAME_MAX_LENGTH = 255  # characters; the same on every database
KEY_MAX_LENGTH = 255  # characters
TEXT_MAX_LENGTH = 100_000  # characters
JSON_MAX_BYTES = 1_000_000  # UTF-8 bytes of one encoded value
JSON_MAX_DEPTH = 64  # nested lists and dicts; Python's own decoder gives up near 1,000
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1

_FORBIDDEN_IN_NAMES = frozenset("/\\:")
# Unicode categories that cannot be seen or that reorder what is seen: controls, format characters (zero-width
# joiners, bidirectional overrides), surrogates, private use, unassigned, line and paragraph separators.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_EARLIEST = datetime(1, 1, 2, tzinfo=UTC)
_LATEST = datetime(9999, 12, 30, tzinfo=UTC)


class InvalidValueError(ValueError):
    """A value breaks a rule of the field it was given for."""


class InvalidTypeError(TypeError, ValueError):
    """A value is of a type that the field cannot hold."""


def shorten(value: object, width: int = 80) -> str:
    """Return a short, printable form of a value for an error message, in one line."""
    text = repr(value[: width * 2]) if isinstance(value, str | bytes) else " ".join(repr(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


# -- text --------------------------------------------------------------------------------------------


def _plain(value: object, field: str, max_length: int) -> str:
    if not isinstance(value, str):
        raise InvalidTypeError(f"{field} must be text, got {type(value).__name__} {shorten(value)}")
    # A subclass may lie through __str__; the characters themselves are what is kept.
    text = str.__str__(value) if type(value) is str else "".join(str.__iter__(value))
    if len(text) > max_length:
        raise InvalidValueError(f"{field} may have {max_length:,} characters, got {len(text):,}: {shorten(text, 40)}")
    return text


def _check_characters(text: str, field: str) -> None:
    if text.isascii() and text.isprintable():
        return
    for position, character in enumerate(text):
        if unicodedata.category(character) in _INVISIBLE:
            raise InvalidValueError(
                f"{field} has the invisible or control character U+{ord(character):04X} "
                f"at position {position}: {shorten(text)}; remove it"
            )


def check_name(value: object, field: str = "name") -> str:
    r"""Return a name as plain text, or say which rule it breaks.

    Parameters
    ----------
    value : str
        1 to 255 visible characters, none of ``/ \\ :``, no space at either end, not ``.`` or ``..``,
        no line breaks, zero-width or direction-changing characters. Names are compared exactly: no case
        folding and no Unicode normalisation is done.
    field : str
        What the value is, for the message.

    Raises
    ------
    InvalidTypeError
        If the value is not text.
    InvalidValueError
        If it breaks one of the rules.

    Examples
    --------
    >>> check_name("a/b", "model name")
    Traceback (most recent call last):
    ...
    values.InvalidValueError: model name may not contain '/': 'a/b'
    """
    text = _plain(value, field, NAME_MAX_LENGTH)
    if not text.strip():
        raise InvalidValueError(f"{field} is empty; give it at least one visible character")
    if text != text.strip():
        raise InvalidValueError(f"{field} starts or ends with a space: {shorten(text)}; remove it")
    _check_characters(text, field)
    for character in text:
        if character in _FORBIDDEN_IN_NAMES:
            raise InvalidValueError(f"{field} may not contain {character!r}: {shorten(text)}")
    if set(text) == {"."}:
        raise InvalidValueError(f"{field} may not be only dots: {shorten(text)}")
    return text


def check_key(value: object, field: str = "key") -> str:
    """Return a metric, parameter, tag or feature key: 1 to 255 visible characters, any punctuation.

    >>> check_key("val/accuracy@5", "metric")
    'val/accuracy@5'
    """
    text = _plain(value, field, KEY_MAX_LENGTH)
    if not text.strip():
        raise InvalidValueError(f"{field} is empty; give it at least one visible character")
    _check_characters(text, field)
    return text


def check_text(value: object, field: str = "text", max_length: int = TEXT_MAX_LENGTH) -> str:
    """Return free text: any characters but NUL and lone surrogates, which databases refuse."""
    text = _plain(value, field, max_length)
    if "\x00" in text:
        raise InvalidValueError(f"{field} contains a NUL character at position {text.index(chr(0))}; remove it")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidValueError(
                f"{field} contains a lone surrogate at position {error.start}; it is not valid Unicode"
            ) from error
    return text


def check_choice(value: object, field: str, choices: Sequence[str]) -> str:
    """Return the value if it is one of the choices.

    >>> check_choice("greater", "alternative", ["two-sided", "greater", "less"])
    'greater'
    """
    if isinstance(value, str) and value in choices:
        return "".join(value)
    raise InvalidValueError(f"{field} must be one of {', '.join(map(repr, choices))}, got {shorten(value)}")


# -- numbers -----------------------------------------------------------------------------------------


def _is_numpy(value: object, kind: str) -> bool:
    """Whether a value is a NumPy scalar of a kind, without importing NumPy for those who do not use it."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, getattr(numpy, kind))


def _is_fraction(value: object) -> bool:
    """Whether a value is a `fractions.Fraction`, without importing that module for those who do not use it."""
    fractions = sys.modules.get("fractions")
    return fractions is not None and isinstance(value, fractions.Fraction)


def to_float(value: object, field: str = "value", *, finite: bool = True, booleans: bool = False) -> float:
    """Return a number as a Python float.

    Parameters
    ----------
    value : int, float, NumPy number, Decimal or Fraction
        Text, complex numbers, None and (if not asked for) booleans are refused: they are mistakes far more often
        than numbers.
    field : str
        What the value is, for the message.
    finite : bool
        Whether NaN and the infinities are refused.
    booleans : bool
        Whether True and False are taken as 1.0 and 0.0.

    Raises
    ------
    InvalidTypeError
        If the value is not a real number.
    InvalidValueError
        If it is not finite though it must be, or an integer too large for a float.
    """
    if type(value) is float:
        number = value
    elif isinstance(value, bool) or _is_numpy(value, "bool_"):
        if booleans:
            return 1.0 if value else 0.0
        raise InvalidTypeError(f"{field} must be a number, got the boolean {value!r}; use 1.0 or 0.0 if that is meant")
    elif (
        isinstance(value, int | float | Decimal)
        or _is_fraction(value)
        or _is_numpy(value, "integer")
        or _is_numpy(value, "floating")
    ):
        try:
            number = float(value)  # type: ignore[arg-type]  # NumPy scalars have __float__
        except (OverflowError, ValueError) as error:
            raise InvalidValueError(f"{field} is too large for a 64-bit float: {shorten(value)}") from error
    elif _is_numpy(value, "ndarray") and getattr(value, "ndim", 1) == 0:
        return to_float(value.item(), field, finite=finite, booleans=booleans)  # type: ignore[attr-defined]
    else:
        raise InvalidTypeError(f"{field} must be a number, got {type(value).__name__} {shorten(value)}")
    if finite and not math.isfinite(number):
        raise InvalidValueError(f"{field} must be finite, got {number!r}")
    return number


def to_int(value: object, field: str = "value", low: int = INT64_MIN, high: int = INT64_MAX) -> int:
    """Return a whole number within [low, high] as a Python int; 3.0, '3' and True are refused."""
    if isinstance(value, bool) or not (isinstance(value, int) or _is_numpy(value, "integer")):
        raise InvalidTypeError(f"{field} must be a whole number, got {type(value).__name__} {shorten(value)}")
    number: int = int(value)  # type: ignore[call-overload]  # NumPy integers have __int__
    if not low <= number <= high:
        raise InvalidValueError(f"{field} must be between {low:,} and {high:,}, got {number:,}")
    return number


# -- instants ----------------------------------------------------------------------------------------


def to_utc(value: object = None, field: str = "at") -> datetime:
    """Return an instant as an aware UTC datetime with microseconds.

    Parameters
    ----------
    value : datetime, date, pandas.Timestamp, numpy.datetime64, ISO 8601 text or None
        None is now. A value without a time zone is taken as UTC. A date is its first instant.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If the value is not an instant, is "not a time" (NaT), or lies outside the years 1 to 9999.
    """
    if value is None:
        return datetime.now(UTC)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError as error:
            raise InvalidValueError(f"{field} is not an ISO 8601 instant: {shorten(value)}") from error
    if _is_numpy(value, "datetime64"):
        text = str(value)
        if text == "NaT":
            raise InvalidValueError(f"{field} is 'not a time' (NaT); give an instant")
        value = value.astype("datetime64[us]").item()  # type: ignore[attr-defined]
    if not isinstance(value, datetime):
        if not isinstance(value, date):
            raise InvalidTypeError(f"{field} must be a datetime, got {type(value).__name__} {shorten(value)}")
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if value != value:  # pandas.NaT is a datetime that differs from itself
        raise InvalidValueError(f"{field} is 'not a time' (NaT); give an instant")
    if hasattr(value, "to_pydatetime"):  # pandas.Timestamp: drop its nanoseconds without a warning
        value = value.to_pydatetime(warn=False)
    assert isinstance(value, datetime)
    instant = value.replace(tzinfo=UTC) if value.utcoffset() is None else value
    try:
        instant = instant.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise InvalidValueError(f"{field} lies outside the years 1 to 9999: {shorten(value)}") from error
    if not _EARLIEST <= instant <= _LATEST:
        raise InvalidValueError(f"{field} lies outside the years 1 to 9999: {shorten(value)}")
    return instant


# -- JSON --------------------------------------------------------------------------------------------

# JSON has no NaN and no infinities. They are written as {"$float": "nan"}; a dict that a person made with such
# a key is protected by one more "$", so that everything that goes in comes out.
_FLOAT_MARK = "$float"
_NONFINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _to_jsonable(value: object, path: str, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return check_text(value, path, max_length=JSON_MAX_BYTES)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        number = float(value)
        return number if math.isfinite(number) else {_FLOAT_MARK: repr(number)}
    if depth >= JSON_MAX_DEPTH:
        raise InvalidValueError(f"{path} is nested deeper than {JSON_MAX_DEPTH} levels, or contains itself")
    if isinstance(value, Mapping):
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidTypeError(
                    f"{path} has the key {shorten(key)} of type {type(key).__name__}; keys must be text "
                    "(1 and '1' would become the same key)"
                )
            text = check_text(key, f"a key of {path}", max_length=10_000)
            stored = "$" + text if text.startswith("$") and text.endswith(_FLOAT_MARK[1:]) else text
            result[stored] = _to_jsonable(item, f"{path}.{text}", depth + 1)
        return result
    if isinstance(value, list | tuple):
        return [_to_jsonable(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if _is_numpy(value, "bool_"):
        return bool(value)
    if _is_numpy(value, "integer") or _is_numpy(value, "floating"):
        return _to_jsonable(value.item(), path, depth)  # type: ignore[attr-defined]
    if _is_numpy(value, "str_"):
        return _to_jsonable(str(value), path, depth)
    if _is_numpy(value, "ndarray"):
        return _to_jsonable(value.tolist(), path, depth)  # type: ignore[attr-defined]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return _to_jsonable(os.fspath(value), path, depth)
    raise InvalidTypeError(
        f"{path} is of type {type(value).__name__}, which JSON cannot hold; "
        "use None, booleans, numbers, text, lists or dicts"
    )


def encode_json(value: object, field: str = "value", max_bytes: int = JSON_MAX_BYTES) -> str:
    """Encode a value as strict JSON from which `decode_json` restores every number exactly.

    Parameters
    ----------
    value : None, bool, int, float, str, list, tuple, dict, NumPy scalar or array, datetime, path
        Tuples come back as lists, dates and paths as text. NaN, infinities and integers of any size come back.
    field : str
        What the value is; an error names the place inside it (``params.layers[2]``).
    max_bytes : int
        Largest encoded size, in UTF-8 bytes.

    Raises
    ------
    InvalidTypeError
        If something inside is not JSON-able, or a dict key is not text.
    InvalidValueError
        If it is too large, nested too deeply, or contains itself.
    """
    text = json.dumps(_to_jsonable(value, field, 0), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    size = len(text) if text.isascii() else len(text.encode())
    if size > max_bytes:
        raise InvalidValueError(f"{field} takes {size:,} bytes as JSON; at most {max_bytes:,} are stored")
    return text


def _restore(pairs: dict[str, Any]) -> Any:
    if len(pairs) == 1 and _FLOAT_MARK in pairs:
        return _NONFINITE.get(pairs[_FLOAT_MARK], pairs)
    if any(key.startswith("$$") for key in pairs):
        return {key[1:] if key.startswith("$$") and key.endswith(_FLOAT_MARK[1:]) else key: pairs[key] for key in pairs}
    return pairs


def decode_json(text: str) -> Any:
    """Restore what `encode_json` wrote."""
    return json.loads(text, object_hook=_restore) if "$" in text else json.loads(text)


# -- ids ---------------------------------------------------------------------------------------------


def new_id() -> str:
    """Return a new public id: 32 hexadecimal characters, ordered by time of creation (RFC 9562, version 7)."""
    number = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF << 76) | 0x7 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"{number:032x}"
