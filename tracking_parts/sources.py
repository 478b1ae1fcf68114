"""A run as another tracker kept it, before it is stored here; and how foreign names become ours."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["NameMapper", "SourceRun", "clean_key", "clean_text"]

Point = tuple[int, int, float | None]  # step, microseconds, value (None is NaN)


@dataclass(slots=True, kw_only=True)
class SourceRun:
    """A run read from somewhere else.

    Attributes
    ----------
    origin
        What names it for good, such as "mlflow:<run id>": a second import knows it by this.
    source_id
        Its id or name there.
    experiment, name, status
        Already in our terms.
    started_at, ended_at
        Microseconds since 1970; None is unknown.
    metrics
        Points by key; of several at one step the last is kept.
    n_points_dropped
        Points the reader itself had to drop.
    artifact_folder
        Where its files are, or None.
    """

    origin: str
    source_id: str
    experiment: str
    name: str
    status: str = "finished"
    started_at: int | None = None
    ended_at: int | None = None
    params: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    note: str | None = None
    error: str | None = None
    parent: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, list[Point]] = field(default_factory=dict)
    artifact_folder: Path | None = None


SourceItem = SourceRun | str  # a run, or one sentence about something that could not be read
SourceItems = Iterator[SourceItem]


def clean_text(text: str, limit: int = 100_000) -> str:
    """Return text without what no database takes."""
    return text.replace("\x00", "�").encode("utf-8", "replace").decode()[:limit]


def _visible(text: str) -> str:
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    return "".join(" " if unicodedata.category(c) in hidden else c for c in text)


def clean_key(text: str) -> str:
    """Return a key that is allowed here: invisible characters become spaces."""
    return _visible(text).strip()[:255] or "unnamed"


class NameMapper:
    """Gives foreign names a form that is allowed here, different ones for different names.

    >>> mapper = NameMapper()
    >>> mapper("churn/first"), mapper("churn-first"), mapper("churn/first")
    ('churn-first', 'churn-first-2', 'churn-first')
    """

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self.changed: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """Return our name for a foreign one."""
        if name in self._given:
            return self._given[name]
        plain = re.sub(r"[/\\:]+", "-", _visible(name)).strip()[:240] or "unnamed"
        if set(plain) == {"."}:
            plain = "unnamed"
        chosen, number = plain, 2
        while chosen in self._given.values():
            chosen, number = f"{plain}-{number}", number + 1
        self._given[name] = chosen
        if chosen != name:
            self.changed[name] = chosen
        return chosen
