"""How values become text in the dashboard: one number format, one escape, one safe CSV. Pure: no Streamlit here.

    >>> number(0.92345), number(12345.678), number(None), number(1.2e-7)
    ('0.923', '12,300', '–', '1.2e-7')
    >>> percent(0.0512), duration(93.4), size(1_536_000)
    ('5.12 %', '1 min 33 s', '1.54 MB')
    >>> markdown("a*b*")
    'a&#42;b&#42;'

Vocabulary: a *dash* stands where there is no value, never `None` or `nan`; *verbatim* text is what people typed, shown
as they typed it and never read as markup.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DASH",
    "ago",
    "card",
    "column_format",
    "count_of",
    "csv_bytes",
    "duration",
    "instant",
    "markdown",
    "number",
    "parse_numbers",
    "parse_pairs",
    "parse_values",
    "percent",
    "plural",
    "shorten",
    "signed",
    "size",
    "value_text",
    "whole",
]

DASH = "–"
SIGNIFICANT_DIGITS = 3
_UNITS_OF_TIME = ((86_400 * 365.25, "year"), (86_400 * 30.44, "month"), (86_400.0, "d"), (3_600.0, "h"), (60.0, "min"))
_UNITS_OF_SIZE = ("B", "kB", "MB", "GB", "TB", "PB")

# What Markdown, or one of Streamlit's extensions to it (coloured text, icons, emoji, formulas, directives), may act on.
_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|<>~:$&=\"'^]")
# What the extensions rewrite after entities have been decoded; only a code span keeps it as it is: `:smile:`, `a -> b`,
# `--`, `>=`, and addresses that would become links.
_REWRITTEN = re.compile(r":[\w+-]+[:\[]|--|->|<-|[<>~]=|://|www\.|\S@\S", re.IGNORECASE)
_ICON = re.compile(r"(:)(?=material/)")
_LINE_START = re.compile(r"(\d{1,9})([.)])(?=\s|$)|[-+](?=\s|$)")
# Of a model card: a heading or list item, a table's rule, borders of cells, bold words, and backslashes before marks.
_CARD_BLOCK = re.compile(r"\s*(#{1,6}|[-*]|\d{1,3}\.)\s+(\S.*)$")
_CARD_RULE = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")
_CARD_CELL = re.compile(r"(?<!\\)\|")
_CARD_BOLD = re.compile(r"\*\*(?=\S)([^*]+?)(?<=\S)\*\*")
_CARD_QUIET = re.compile(r"(?<![\\`])`([^`\\]+)`(?!`)|^_(?=\S)([^_]+)(?<=\S)_$")  # code; a whole line in italics
_CARD_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~-])")
# A cell that begins like this is run as a formula by spreadsheets (OWASP, "CSV injection").
_FORMULA_START = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


# -- numbers -----------------------------------------------------------------------------------------


def number(value: float | None, unit: str = "", *, digits: int = SIGNIFICANT_DIGITS) -> str:
    """Return a number with three significant digits and thousands separators, or a dash.

    Whole numbers keep all their digits up to 9,999: a count of 1,234 is not 1,230.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if math.isinf(value):
        text = "∞" if value > 0 else "−∞"
    elif value == 0:
        text = "0"
    elif float(value).is_integer() and abs(value) < 10_000:
        text = f"{int(value):,}"
    else:
        magnitude = math.floor(math.log10(abs(value)))
        if magnitude < -4 or magnitude >= 15:
            mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
            mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
            text = f"{mantissa}e{int(exponent)}"
        else:
            rounded = round(value, digits - 1 - magnitude)
            decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
            text = f"{rounded:,.{decimals}f}"
    text = text.replace("-", "−") if text.startswith("-") else text
    return f"{text} {unit}" if unit else text


def whole(value: int | None) -> str:
    """Return a count with thousands separators and all its digits, or a dash."""
    return DASH if value is None else f"{value:,}"


def signed(value: float | None, unit: str = "") -> str:
    """Return a difference with its sign: `+0.012`, `−3.4`, `0`."""
    text = number(value, unit)
    return f"+{text}" if value is not None and value > 0 and text != DASH else text


def percent(share: float | None, *, sign: bool = False) -> str:
    """Return a share of one as percent: 0.0512 is `5.12 %`."""
    if share is None or math.isnan(share):
        return DASH
    return f"{signed(share * 100) if sign else number(share * 100)} %"


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units: `1 min 33 s`, `2 d 4 h`, `45 ms`."""
    if seconds is None or math.isnan(seconds):
        return DASH
    if seconds < 1:
        return f"{number(seconds * 1000)} ms"
    if seconds < 60:
        return f"{number(seconds)} s"
    names = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    left, parts = round(seconds), []
    for name, length in names:
        amount, left = divmod(left, length)
        if amount:
            parts.append(f"{amount:,} {name}")
    return " ".join(parts[:2])


def size(size_bytes: float | None) -> str:
    """Return a number of bytes in decimal units: 1,536,000 is `1.54 MB`."""
    if size_bytes is None:
        return DASH
    value, unit = float(size_bytes), 0
    while value >= 999.5 and unit < len(_UNITS_OF_SIZE) - 1:
        value, unit = value / 1000, unit + 1
    return number(value, _UNITS_OF_SIZE[unit])


def column_format(values: Iterable[float | None]) -> str:
    """Return the number format of a table's column: the decimals that give its typical value three digits.

    All cells of the column get the same decimals, so that the points stand below each other. The result is what
    `st.column_config.NumberColumn(format=...)` takes.
    """
    finite = sorted(abs(v) for v in values if v is not None and math.isfinite(v) and v != 0)
    if not finite:
        return "%.3g"
    if all(float(v).is_integer() for v in finite):
        return "localized"
    typical = finite[(len(finite) - 1) // 4]  # the smaller values of a column need their digits most
    if finite[-1] >= 10_000 or (finite[-1] >= 1_000 and typical >= 100):  # no decimals, but thousands separators
        return "localized"
    if finite[-1] < 1e-4:  # a browser would write 0.00000878
        return "%.2e"
    if typical < 1e-3 or finite[-1] / finite[0] > 1e6:
        return "%.3g"
    decimals = max(0, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(typical)))
    while decimals > SIGNIFICANT_DIGITS and all(round(v, decimals - 1) == v for v in finite):
        decimals -= 1  # learning rates: 0.010 and 0.001, not 0.01000 and 0.00100
    return f"%.{decimals}f"


# -- time --------------------------------------------------------------------------------------------


def instant(at: datetime | None, *, seconds: bool = False) -> str:
    """Return an instant in UTC to the minute: `2026-03-01 14:05 UTC`."""
    if at is None:
        return DASH
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if seconds else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def ago(at: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago an instant was: `just now`, `5 min ago`, `3 months ago`; `in 2 h` for a future one."""
    if at is None:
        return DASH
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    past, seconds = seconds >= 0, abs(seconds)
    if seconds < 10:
        return "just now"
    text = f"{int(seconds)} s"
    for length, unit in _UNITS_OF_TIME:
        if seconds >= length:
            amount = int(seconds // length)
            text = plural(amount, unit) if unit in {"year", "month"} else f"{amount} {unit}"
            break
    return f"{text} ago" if past else f"in {text}"


# -- words -------------------------------------------------------------------------------------------


def plural(count: int, word: str, words: str | None = None) -> str:
    """Return a count with its noun: `1 run`, `1,204 runs`."""
    return f"{count:,} {word if count == 1 else words or word + 's'}"


def count_of(shown: int, total: int, word: str) -> str:
    """Return how many of how many are shown: `12 of 340 runs`, `340 runs` when it is all of them."""
    return plural(total, word) if shown == total else f"{shown:,} of {plural(total, word)}"


def shorten(text: str, width: int = 60) -> str:
    """Return text cut to `width` characters, keeping both ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 3
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def value_text(value: Any) -> str:
    """Return a parameter, tag or other JSON value as a person would write it; nothing is a dash."""
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return number(value) if not math.isfinite(value) or value == 0 else f"{value:.6g}"
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, str):
        return value
    if isinstance(value, Sequence):
        return "[" + ", ".join(value_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {value_text(item)}" for key, item in value.items()) + "}"
    return str(value)


def markdown(text: object) -> str:
    """Return user text for any place where Streamlit reads Markdown: shown verbatim, on one line, never interpreted.

    Without this a name like `![x](http://host/y)` makes every viewer's browser ask that host for a picture. Characters
    of markup become entities; text that Streamlit would still rewrite afterwards (icons, arrows, addresses) becomes a
    code span, in which nothing is rewritten.
    """
    plain = " ".join(str(text).split()) if "\n" in str(text) or "\t" in str(text) else str(text)
    if _REWRITTEN.search(plain):
        # Streamlit rewrites `:material/` even in code, before Markdown is read: its colon stands between two spans.
        return "".join("&#58;" if part == ":" else _code_span(part) for part in _ICON.split(plain) if part)
    escaped = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", plain)
    start = _LINE_START.match(escaped)
    if start:
        mark = start[2] or start[0]
        escaped = f"{start[1] or ''}&#{ord(mark)};{escaped[start.end() :]}"
    return escaped


def card(text: str) -> str:
    """Return a model card for Streamlit's Markdown: its headings, lists, tables and bold words, and nothing else of it.

    Links, pictures and HTML stay the characters that they are: rendering them would ask other hosts.
    """
    lines = []
    for line in text.splitlines():
        block = _CARD_BLOCK.match(line)
        if _CARD_RULE.fullmatch(line.strip()):
            lines.append(line.strip())
        elif line.strip().startswith("|") and line.strip().endswith("|") and len(line.strip()) > 1:
            cells = _CARD_CELL.split(line.strip()[1:-1])
            lines.append("| " + " | ".join(_card_words(cell.strip()) for cell in cells) + " |")
        elif block and block[1].startswith("#"):
            lines += ["", f"{'#' * min(6, len(block[1]) + 3)} {_card_words(block[2])}", ""]
        elif block:
            lines.append(f"{block[1]} {_card_words(block[2])}")
        else:
            lines.append(_card_words(line.strip()))
    return "\n".join(lines)


def _card_words(line: str) -> str:
    """Return one line of a card, escaped but for its bold words; code and italics lose the marks around them."""
    parts = _CARD_BOLD.split(line)  # every second one was bold
    words = [_CARD_QUIET.sub(lambda found: found[1] or found[2], part) for part in parts]
    plain = [markdown(_CARD_ESCAPE.sub(r"\1", part)) if part.strip() else part for part in words]
    return "".join(f"**{part}**" if position % 2 and part.strip() else part for position, part in enumerate(plain))


def _code_span(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"


# -- export ------------------------------------------------------------------------------------------


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """Return a table as CSV (UTF-8 with a mark that spreadsheets recognise) in which no cell is a formula.

    Text that a spreadsheet would run gets an apostrophe in front; numbers stay numbers, negative ones included.
    """
    safe = frame.copy()
    safe.columns = [_defuse(str(name)) for name in frame.columns]
    for position in range(safe.shape[1]):
        column = safe.iloc[:, position]
        if column.dtype.kind not in "biufMm":
            safe.isetitem(position, column.map(_defuse_cell).to_list())
    return safe.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig", errors="replace")


def _defuse_cell(cell: Any) -> Any:
    if isinstance(cell, bool | int | float) or cell is None:
        return cell
    return _defuse(cell if isinstance(cell, str) else value_text(cell) if isinstance(cell, dict | list) else str(cell))


def _defuse(text: str) -> str:
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_START) else text


def parse_pairs(text: str) -> dict[str, str]:
    """Return `key = value` lines as a dictionary; empty lines are skipped.

    Raises
    ------
    ValueError
        If a line has no `=`, or a key comes twice.
    """
    pairs: dict[str, str] = {}
    for count, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, equals, value = line.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ValueError(f"line {count} must read key = value, got {shorten(line.strip(), 40)!r}")
        if key in pairs:
            raise ValueError(f"line {count} names {shorten(key, 40)!r} a second time")
        pairs[key] = value.strip()
    return pairs


def parse_numbers(text: str) -> dict[str, float]:
    """Return `key = number` lines as a dictionary.

    Raises
    ------
    ValueError
        If a line cannot be read, or a value is no number.
    """
    numbers: dict[str, float] = {}
    for key, value in parse_pairs(text).items():
        try:
            numbers[key] = float(value)
        except ValueError as error:
            raise ValueError(f"{shorten(key, 40)!r} must be a number, got {shorten(value, 40)!r}") from error
    return numbers


def parse_values(text: str) -> dict[str, Any]:
    """Return `key = value` lines with numbers, yes/no (true/false) and JSON lists read as such, the rest as text."""
    values: dict[str, Any] = {}
    for key, value in parse_pairs(text).items():
        try:
            values[key] = json.loads(value)
        except ValueError:
            values[key] = value
    return values
