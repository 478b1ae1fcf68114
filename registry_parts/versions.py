"""Semantic Versioning 2.0.0: what a version number is, how two compare, and which comes next.

    >>> precedence_key("1.0.0-rc.1") < precedence_key("1.0.0")
    True
    >>> next_version("1.4.2", "minor")
    '1.5.0'

Vocabulary: *precedence* is the order of Semantic Versioning; a *bump* raises one of its three numbers.
"""

from __future__ import annotations

import re

from values import InvalidTypeError, InvalidValueError, shorten

__all__ = [
    "BUMPS",
    "check_bump",
    "check_version",
    "next_version",
    "precedence_key",
]

VERSION_MAX_LENGTH = 255  # characters

FIRST_VERSION = "1.0.0"  # of a model registered without a version

BUMPS = ("major", "minor", "patch")


def check_version(value: object, field: str = "version") -> str:
    """Return a version that Semantic Versioning 2.0.0 admits, or say what is wrong with it.

    >>> check_version("1.2.3-rc.1+build.5")
    '1.2.3-rc.1+build.5'
    >>> check_version("v1.0.0")
    Traceback (most recent call last):
    ...
    values.InvalidValueError: version 'v1.0.0' begins with 'v'; write '1.0.0'
    """
    if not isinstance(value, str):
        raise InvalidTypeError(f"{field} must be text such as '1.2.3', got {type(value).__name__} {shorten(value)}")
    text = "".join(str.__iter__(value))
    if len(text) > VERSION_MAX_LENGTH:
        raise InvalidValueError(f"{field} may have {VERSION_MAX_LENGTH} characters, got {len(text):,}")
    if _is_semantic(text):
        return text
    raise InvalidValueError(f"{field} {shorten(text)} {_why_not_a_version(text)}")


def _is_semantic(text: str) -> bool:
    import semver

    # The library's pattern ends in "$", which also matches before a final line break.
    return text.isascii() and text.isprintable() and semver.Version.is_valid(text)


def _why_not_a_version(text: str) -> str:
    if not text:
        return "is empty; write three numbers such as '1.0.0'"
    if not text.isascii() or not text.isprintable():
        return "has characters outside printable ASCII; keep to 0-9, A-Z, a-z, '.', '-' and '+', such as '1.2.3'"
    if text[:1] in "vV" and text[1:2].isdigit():
        without = text[1:]
        advice = repr(without) if _is_semantic(without) else "three numbers such as '1.0.0'"
        return f"begins with {text[0]!r}; write {advice}"
    core = re.split(r"[-+]", text, maxsplit=1)[0]
    parts = core.split(".")
    if all(part.isdigit() for part in parts):
        if any(len(part) > 1 and part.startswith("0") for part in parts):
            return f"has a number with a leading zero; write {'.'.join(str(int(p)) for p in parts)!r}"
        if len(parts) != 3:
            suggestion = ".".join([*parts, "0", "0"][:3])
            return f"has {len(parts)} number(s) where Semantic Versioning wants three; write {suggestion!r}"
        return (
            "has a pre-release or build part with an empty identifier, a leading zero in a number, or a character "
            "other than 0-9, A-Z, a-z and '-'"
        )
    return "is not a semantic version; write three numbers such as '1.2.3', or '1.2.3-rc.1'"


def check_bump(value: object) -> str:
    """Return which part of a version is to be raised, or say which parts there are."""
    if value in BUMPS:
        return str(value)
    raise InvalidValueError(f"bump must be one of {', '.join(map(repr, BUMPS))}, got {shorten(value)}")


def precedence_key(version: str) -> str:
    """Return a text that sorts, by code point, as Semantic Versioning 2.0.0 orders versions.

    Build metadata is left out: versions of equal precedence have equal keys. A number is written as the count of its
    digits and the digits; a release sorts after its pre-releases because ``~`` follows ``-``; an identifier that is a
    number sorts before one that is text (``0`` before ``1``); ``!``, which precedes every admitted character, ends a
    text and the list.

    References
    ----------
    [1] Semantic Versioning 2.0.0, item 11.
    """
    import semver

    parsed = semver.Version.parse(version)
    key = "".join(_number_key(str(number)) for number in (parsed.major, parsed.minor, parsed.patch))
    if parsed.prerelease is None:
        return key + "~"
    identifiers = [
        "0" + _number_key(part) if part.isdigit() else f"1{part}!" for part in str(parsed.prerelease).split(".")
    ]
    return key + "-" + "".join(identifiers) + "!"


def _number_key(digits: str) -> str:
    return f"{len(digits):03d}{digits}"


def next_version(highest: str | None, bump: str = "minor") -> str:
    """Return the version after the highest that was ever used.

    A pre-release is completed by the bump that it prepares: ``2.0.0-rc.1`` and "major" give ``2.0.0``.
    """
    check_bump(bump)
    if highest is None:
        return FIRST_VERSION
    import semver

    return str(semver.Version.parse(highest).next_version(part=bump))
