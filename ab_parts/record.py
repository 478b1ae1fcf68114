"""What every result of A/B tests can do: become JSON-safe plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from enum import Enum
from typing import Any

__all__ = ["Record", "to_plain"]


class Record:
    """Base of the frozen dataclasses that are handed out."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values: no NaN, instants as ISO text."""
        return {item.name: to_plain(getattr(self, item.name)) for item in fields(self)}  # type: ignore[arg-type]


def to_plain(value: Any) -> Any:
    """Return a value as JSON-safe plain data: no NaN, no infinity, instants as ISO text."""
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(name): to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
