r"""The filter language of `search_runs`: text in, a small tree out; nothing here knows SQL.

    >>> print(parse_filter("metrics.accuracy > 0.9 and params.lr = 0.01").to_text())
    (metrics.accuracy > 0.9 AND params.lr = 0.01)
    >>> parse_filter("status = 'done'")
    Traceback (most recent call last):
    ...
    tracking_parts.filters.FilterError: status must be one of 'running', 'finished', 'failed', 'killed' (character 10)
      status = 'done'
               ^

The language::

    metrics.accuracy > 0.9              the last value (the one at the highest step)
    metrics.loss.min < 0.1              also max, best, last_step, min_step, max_step, best_step, n_points
    min(metrics.loss) < 0.1             the same, written the other way round
    params.lr <= 0.01                   as a number;  params.optimizer = 'adam'  as text;  params.nesterov = true
    tags.team = 'vision'                tags are text
    name LIKE 'run-%'                   % any characters, _ one, \ before either for itself; ILIKE ignores case
    status IN ('failed', 'killed')      also experiment, run_id, parent_run_id, note, archived
    started_at > '2026-01-31'           ISO 8601, UTC unless it says otherwise; or '7 days ago'; also ended_at
    duration > 60                       seconds
    params.lr IS NULL                   the run has no such param, metric or tag
    metrics.`val/top 5` = nan           keys with spaces or quotes stand in backticks or double quotes
    metrics."loss.min" < 0.1            a key in quotes is taken as it is: the metric named loss.min
    metrics."val/top 5".best > 0.9      a statistic of a key in quotes stands after them
    NOT (a OR b) AND c                  NOT binds tightest, then AND, then OR

A comparison holds only for a run that has the thing; NOT turns round whatever it stands before. NaN and infinities
are found only by ``= nan``, ``= inf`` and ``= -inf``: no threshold ever picks them.

The last word after a dot is a statistic whenever it is one of `STATISTICS`, whatever metrics there are; any other
word belongs to the key. "best" is the least value of a metric whose name says that less is better ("loss", "error",
"latency", ...: `tracking_parts.records.goal_of`), otherwise the greatest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import field as dataclass_field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal, NoReturn

from lazy_dataclass import dataclass
from values import shorten, to_utc

__all__ = [
    "All",
    "AnyOf",
    "Comparison",
    "Field",
    "FilterError",
    "Node",
    "Not",
    "parse_filter",
    "parse_order",
    "read_filter",
]

MAX_LENGTH = 20_000  # characters of a filter
MAX_TERMS = 200  # comparisons in a filter; SQLite's expressions may be 1,000 deep, each term costs a few levels
MAX_LIST = 1_000  # values in an IN list
MAX_DEPTH = 50  # nested parentheses and NOTs

STATUSES = ("running", "finished", "failed", "killed")
STATISTICS = ("last", "min", "max", "best", "last_step", "min_step", "max_step", "best_step", "n_points")
TEXT_FIELDS = ("name", "experiment", "run_id", "parent_run_id", "note", "status")
TIME_FIELDS = ("started_at", "ended_at")
ATTRIBUTES = (*TEXT_FIELDS, *TIME_FIELDS, "duration", "archived")
ALIASES = {
    "metric": "metrics",
    "param": "params",
    "parameters": "params",
    "tag": "tags",
    "run_name": "name",
    "start_time": "started_at",
    "end_time": "ended_at",
    "experiment_name": "experiment",
    "duration_seconds": "duration",
}

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "in", "like", "ilike", "null"]
Literal_ = str | float | bool | datetime


class FilterError(ValueError):
    """A filter or an order cannot be read.

    Attributes
    ----------
    position : int
        Where in the text, counted from 0.
    """

    def __init__(self, message: str, text: str, position: int) -> None:
        self.position = position
        start = max(0, position - 60)
        line = re.sub(r"\s", " ", text[start : position + 60])
        super().__init__(f"{message} (character {position + 1})\n  {line}\n  {' ' * (position - start)}^")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What a comparison looks at.

    Attributes
    ----------
    kind : {"metrics", "params", "tags", "attribute"}
    key : str
        Key of the metric, param or tag, or the name of the attribute.
    statistic : str
        Of a metric: one of `STATISTICS`; otherwise "".
    position : int
        Where in the text it stands, counted from 0; two fields that differ in nothing else are equal.
    """

    kind: Literal["metrics", "params", "tags", "attribute"]
    key: str
    statistic: str = ""
    position: int = dataclass_field(default=0, compare=False)

    def to_text(self) -> str:
        """Return the field as it would be written."""
        if self.kind == "attribute":
            return self.key
        text = f"{self.kind}.{quote_key(self.kind, self.key)}"
        return f"{self.statistic}({text})" if self.statistic not in ("", "last") else text


def quote_key(kind: str, key: str) -> str:
    """Return a key as it stands in a filter: in backticks if it would be read as something else without."""
    bare = _BARE_KEY.fullmatch(key) is not None and not (kind == "metrics" and _split_statistic(key)[1])
    return key if bare else "`" + key.replace("`", "``") + "`"


def _split_statistic(key: str) -> tuple[str, str]:
    """Cut the statistic off a key that ends with one: ("loss", "min") of "loss.min", ("val.loss", "") of "val.loss"."""
    head, _, tail = key.rpartition(".")
    return (head, tail.lower()) if head and tail.lower() in STATISTICS else (key, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A field, an operator, a value; `values` holds what IN lists, and nothing for "null"."""

    field: Field
    operator: Operator
    values: tuple[Literal_, ...] = ()

    def to_text(self) -> str:
        """Return the comparison as it would be written."""
        if self.operator == "null":
            return f"{self.field.to_text()} IS NULL"
        shown = [_to_literal(value) for value in self.values]
        value = f"({', '.join(shown)})" if self.operator == "in" else shown[0]
        return f"{self.field.to_text()} {self.operator.upper()} {value}"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of one node."""

    item: Node

    def to_text(self) -> str:
        """Return the node as it would be written."""
        return f"NOT {self.item.to_text()}"


@dataclass(frozen=True, slots=True)
class All:
    """Every one of the nodes (AND)."""

    items: tuple[Node, ...]

    def to_text(self) -> str:
        """Return the node as it would be written."""
        return "(" + " AND ".join(item.to_text() for item in self.items) + ")"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of the nodes (OR)."""

    items: tuple[Node, ...]

    def to_text(self) -> str:
        """Return the node as it would be written."""
        return "(" + " OR ".join(item.to_text() for item in self.items) + ")"


Node = Comparison | Not | All | AnyOf


def _to_literal(value: Literal_) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    text = value.isoformat() if isinstance(value, datetime) else value
    return "'" + text.replace("'", "''") + "'"


# -- words -------------------------------------------------------------------------------------------

_BARE_KEY = re.compile(r"[^\W\d][\w.@/%\-]*")
_SUFFIX = re.compile(r"\.([\w.@/%\-]*)")  # what may stand right after a key in quotes
# Each alternative begins with a character that no other one begins with, so matching never backtracks.
_WORD = r"""
      (?P<space>\s+)
    | (?P<string>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`)
    | (?P<number>[+-]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])|[+-](?:inf|nan)\b)
    | (?P<operator><=|>=|!=|<>|==|=|<|>|\(|\)|,)
    | (?P<name>[^\W\d][\w.@/%\-]*)
    """


@cache
def _word_pattern() -> re.Pattern[str]:
    """Compile `_WORD` for the first filter: it takes as long as all else that importing this file does."""
    return re.compile(_WORD, re.VERBOSE)


@dataclass(frozen=True, slots=True)
class _Word:
    kind: str
    text: str
    at: int
    suffix: str = ""  # of a field in quotes: what stands after the quotes
    suffix_at: int = 0

    @property
    def lower(self) -> str:
        return self.text.lower() if self.kind in ("name", "operator") else ""


def _split(text: str) -> list[_Word]:
    words: list[_Word] = []
    match_word = _word_pattern().match
    position = 0
    while position < len(text):
        match = match_word(text, position)
        if match is None:
            character = text[position]
            if character in "'\"`":
                raise FilterError(f"this {character} is never closed", text, position)
            raise FilterError(f"{character!r} has no meaning here", text, position)
        kind = str(match.lastgroup)
        if kind == "name" and match.group().endswith(".") and text[match.end() : match.end() + 1] in ('"', "`"):
            quoted = match_word(text, match.end())
            if quoted is None or quoted.lastgroup != "quoted":
                raise FilterError(f"this {text[match.end()]} is never closed", text, match.end())
            mark = quoted.group()[0]
            key = quoted.group()[1:-1].replace(mark * 2, mark)
            suffix = _SUFFIX.match(text, quoted.end())
            after = (suffix.group(1), suffix.start(1)) if suffix else ("", 0)
            words.append(_Word("field", match.group() + key, position, *after))
            position = suffix.end() if suffix else quoted.end()
            continue
        if kind != "space":
            words.append(_Word(kind, match.group(), position))
        position = match.end()
    words.append(_Word("end", "", len(text)))
    return words


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.words = _split(text)
        self.index = 0
        self.terms = 0
        self.depth = 0

    @property
    def word(self) -> _Word:
        return self.words[self.index]

    def next(self) -> _Word:
        word = self.word
        self.index += 1
        return word

    def fail(self, message: str, word: _Word | None = None) -> NoReturn:
        raise FilterError(message, self.text, (word or self.word).at)

    def expect(self, symbol: str, why: str) -> None:
        if self.word.lower != symbol:
            self.fail(f"expected {symbol!r} {why}, found {self.found()}")
        self.index += 1

    def found(self) -> str:
        return "the end" if self.word.kind == "end" else shorten(self.word.text, 40)

    # -- grammar -------------------------------------------------------------------------------------

    def parse(self) -> Node:
        node = self.any_of()
        if self.word.kind != "end":
            self.fail(f"expected AND, OR or the end, found {self.found()}")
        return node

    def any_of(self) -> Node:
        items = [self.all_of()]
        while self.word.lower == "or":
            self.index += 1
            items.append(self.all_of())
        return items[0] if len(items) == 1 else AnyOf(tuple(items))

    def all_of(self) -> Node:
        items = [self.negation()]
        while self.word.lower == "and":
            self.index += 1
            items.append(self.negation())
        return items[0] if len(items) == 1 else All(tuple(items))

    def negation(self) -> Node:
        if self.word.lower not in ("not", "("):
            return self.comparison()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"a filter may be nested {MAX_DEPTH} deep")
        if self.next().lower == "not":
            node: Node = Not(self.negation())
        else:
            node = self.any_of()
            self.expect(")", "to close the parenthesis")
        self.depth -= 1
        return node

    def comparison(self) -> Node:
        self.terms += 1
        if self.terms > MAX_TERMS:
            self.fail(f"a filter may have {MAX_TERMS} comparisons; split the search")
        field = self.field()
        operator = self.next()
        negated = operator.lower == "not"
        if negated:
            operator = self.next()
        name = {"==": "=", "<>": "!="}.get(operator.lower, operator.lower)
        node: Node
        if name == "is" and not negated:
            negated = self.word.lower == "not"
            if negated:
                self.index += 1
            if self.word.lower == "nan" and field.kind == "metrics":
                self.index += 1
                node = Comparison(field=field, operator="=", values=(math.nan,))
            else:
                self.expect("null", "after IS")
                node = Comparison(field=field, operator="null")
        elif name == "in":
            node = Comparison(field=field, operator="in", values=self.value_list(field))
        elif name in ("like", "ilike"):
            node = self.pattern(field, name, operator)
        elif name == "between" and not negated:
            low = self.value(field, ">=")
            self.expect("and", "between the bounds of BETWEEN")
            high = self.value(field, "<=")
            return All(
                (
                    Comparison(field=field, operator=">=", values=(low,)),
                    Comparison(field=field, operator="<=", values=(high,)),
                )
            )
        elif name in ("=", "!=", "<", "<=", ">", ">=") and not negated:
            node = Comparison(field=field, operator=name, values=(self.value(field, name),))  # type: ignore[arg-type]
        else:
            shown = "the end" if operator.kind == "end" else shorten(operator.text, 40)
            self.fail(
                f"expected =, !=, <, <=, >, >=, IN, LIKE, ILIKE, BETWEEN or IS after the field, found {shown}", operator
            )
        return Not(node) if negated else node

    def pattern(self, field: Field, name: str, operator: _Word) -> Comparison:
        if field.kind == "metrics" or field.key in (*TIME_FIELDS, "duration", "archived"):
            self.fail(f"{name.upper()} compares text; {field.to_text()} is not text", operator)
        word = self.word
        if word.kind not in ("string", "quoted"):
            self.fail(f"{name.upper()} needs a pattern in quotes, such as 'run-%', found {self.found()}")
        pattern = self.text_of(self.next())
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            self.fail("a pattern may not end with a single backslash", word)
        return Comparison(field=field, operator=name, values=(pattern,))  # type: ignore[arg-type]

    def field(self) -> Field:
        word = self.next()
        if word.kind == "name" and self.word.lower == "(":
            if word.text.lower() not in STATISTICS:
                self.fail(f"{shorten(word.text, 40)} is not a function; there are {', '.join(STATISTICS)}", word)
            self.index += 1
            inner = self.next()
            if self.word.lower == "(":
                self.fail(f"{word.text}() is of a metric, such as {word.text}(metrics.loss)", inner)
            field = self.plain_field(inner, word.text.lower())
            self.expect(")", f"to close {word.text}(")
            return field
        return self.plain_field(word, "")

    def plain_field(self, word: _Word, function: str) -> Field:
        """Read a field that is one word; `function` is the statistic that stands around it, if one does."""
        if word.kind not in ("name", "field"):
            shown = "the end" if word.kind == "end" else shorten(word.text, 40)
            self.fail(f"expected a field such as metrics.accuracy, params.lr, tags.team or status, found {shown}", word)
        prefix, dot, key = word.text.partition(".")
        prefix = ALIASES.get(prefix.lower(), prefix.lower())
        if dot and prefix in ("attribute", "attributes"):
            prefix, dot = ALIASES.get(key.lower(), key.lower()), ""
        if function and not (dot and prefix == "metrics"):
            self.fail(f"{function}() is of a metric, such as {function}(metrics.loss)", word)
        if dot and prefix in ("metrics", "params", "tags"):
            if not key:
                self.fail(f"which of the {prefix}? Write {prefix}.name", word)
            statistic = ""
            if prefix == "metrics":
                key, statistic = self.statistic(word, key, function)
            elif word.suffix_at:
                self.after_quotes(word, f"nothing stands after the quotes: {prefix} have no statistics")
            if len(key) > 255:
                self.fail("a key has at most 255 characters", word)
            return Field(kind=prefix, key=key, statistic=statistic, position=word.at)  # type: ignore[arg-type]
        if not dot and word.kind == "name" and prefix in ATTRIBUTES:
            return Field(kind="attribute", key=prefix, position=word.at)
        return self.fail(
            f"there is no field {shorten(word.text, 40)}; use metrics.NAME, params.NAME, tags.NAME or one of "
            f"{', '.join(ATTRIBUTES)}",
            word,
        )

    def statistic(self, word: _Word, key: str, function: str) -> tuple[str, str]:
        """Tell the key of a metric from the statistic asked of it."""
        found = ""
        if word.kind == "name":
            key, found = _split_statistic(key)
            at = word.at + len(word.text) - len(found)
        elif word.suffix_at:
            found, at = word.suffix.lower(), word.suffix_at
            if found not in STATISTICS:
                self.after_quotes(word, f"after the quotes stands one of {', '.join(STATISTICS)}")
        if found and function:
            raise FilterError(
                f"{function}() of {found}? Write {function}(metrics.NAME) or metrics.NAME.{found}; a key that itself "
                f'ends with ".{found}" stands in quotes',
                self.text,
                at,
            )
        return key, function or found or "last"

    def after_quotes(self, word: _Word, message: str) -> NoReturn:
        raise FilterError(f"{message}, found {shorten('.' + word.suffix, 40)}", self.text, word.suffix_at - 1)

    # -- values --------------------------------------------------------------------------------------

    def text_of(self, word: _Word) -> str:
        mark = word.text[0]
        text = word.text[1:-1].replace(mark * 2, mark)
        if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            self.fail("a text may hold neither NUL nor lone surrogates", word)
        return text

    def value_list(self, field: Field) -> tuple[Literal_, ...]:
        self.expect("(", "after IN")
        values = [self.value(field, "in")]
        while self.word.lower == ",":
            self.index += 1
            if len(values) == MAX_LIST:
                self.fail(f"an IN list may have {MAX_LIST:,} values")
            values.append(self.value(field, "in"))
        self.expect(")", "to close the list of IN")
        return tuple(values)

    def value(self, field: Field, operator: str) -> Literal_:
        word = self.next()
        value: str | float | bool
        if word.kind == "string" or (word.kind == "quoted" and word.text[0] == '"'):
            value = self.text_of(word)
        elif word.kind == "number":
            value = float(word.text.replace("_", ""))
        elif word.lower in ("true", "false"):
            value = word.lower == "true"
        elif word.lower in ("inf", "infinity", "nan"):
            value = float(word.lower)
        else:
            shown = "the end" if word.kind == "end" else shorten(word.text, 40)
            hint = "; text stands in quotes" if word.kind == "name" else ""
            self.fail(f"expected a value, found {shown}{hint}", word)
        return self.checked(field, operator, value, word)

    def checked(self, field: Field, operator: str, value: str | float | bool, word: _Word) -> Literal_:
        """Hold a value against what its field can hold."""
        is_number = isinstance(value, float)
        if isinstance(value, float) and not math.isfinite(value) and operator not in ("=", "!=", "in"):
            self.fail("nan and inf can only be compared with = and !=", word)
        if field.kind == "metrics" or (field.key == "duration" and field.kind == "attribute"):
            if not is_number:
                self.fail(f"{field.to_text()} is a number; write one without quotes", word)
        elif field.kind == "params":
            if isinstance(value, bool) and operator not in ("=", "!=", "in"):
                self.fail("true and false can only be compared with = and !=", word)
        elif field.kind == "tags":
            if not isinstance(value, str):
                self.fail(f"tags are text; write '{word.text}' in quotes", word)
        elif field.key == "archived":
            if not isinstance(value, bool) or operator not in ("=", "!="):
                self.fail("archived is true or false, compared with = or !=", word)
        elif field.key in TIME_FIELDS:
            if not isinstance(value, str):
                self.fail(f"{field.key} is a time: write '2026-01-31T12:00' or '7 days ago'", word)
            return self.instant(value, word)
        elif not isinstance(value, str):
            self.fail(f"{field.key} is text; write '{word.text}' in quotes", word)
        elif field.key == "status":
            if value.lower() not in STATUSES:
                self.fail(f"status must be one of {', '.join(map(repr, STATUSES))}", word)
            return value.lower()
        return value

    def instant(self, text: str, word: _Word) -> datetime:
        ago = re.fullmatch(r"\s*(\d{1,6}) ?(second|minute|hour|day|week|s|m|min|h|d|w)s? ago\s*", text, re.IGNORECASE)
        if ago is not None:
            unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[ago.group(2)[0].lower()]
            try:
                return datetime.now(UTC) - timedelta(**{unit: int(ago.group(1))})
            except OverflowError:
                self.fail("that is too long ago", word)
        try:
            return to_utc(text)
        except ValueError:
            self.fail(f"{shorten(text, 40)} is not a time: write '2026-01-31T12:00' or '7 days ago'", word)


def read_filter(text: str | None) -> Node | None:
    """Return a parsed filter, or None for one that is not given, or blank: it leaves nothing out."""
    return None if text is None or (isinstance(text, str) and not text.strip()) else parse_filter(text)


def parse_filter(text: str) -> Node:
    """Read a filter.

    Parameters
    ----------
    text : str
        At most `MAX_LENGTH` characters; see the language at the top of this file.

    Raises
    ------
    FilterError
        Naming what is wrong and pointing at the character.

    Examples
    --------
    >>> parse_filter("min(metrics.loss) < .5 or not status in ('failed')").to_text()
    "(min(metrics.loss) < 0.5 OR NOT status IN ('failed'))"
    """
    if not isinstance(text, str):
        raise TypeError(f"a filter is text, got {type(text).__name__} {shorten(text)}")
    if len(text) > MAX_LENGTH:
        raise FilterError(f"a filter may have {MAX_LENGTH:,} characters, this has {len(text):,}", text, MAX_LENGTH)
    return _Parser(text).parse()


def parse_order(order_by: str | Sequence[str]) -> list[tuple[Field, bool]]:
    """Read what to sort by: fields, each with an optional ASC or DESC.

    Returns
    -------
    list of (Field, bool)
        The bool is whether the order is descending.

    Examples
    --------
    >>> [(field.to_text(), descending) for field, descending in parse_order("metrics.loss, name desc")]
    [('metrics.loss', False), ('name', True)]
    """
    texts = [order_by] if isinstance(order_by, str) else list(order_by)
    result: list[tuple[Field, bool]] = []
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"order_by is text, got {type(text).__name__} {shorten(text)}")
        if len(text) > MAX_LENGTH:
            raise FilterError(f"order_by may have {MAX_LENGTH:,} characters", text, MAX_LENGTH)
        parser = _Parser(text)
        while True:
            field = parser.field()
            descending = parser.word.lower == "desc"
            if parser.word.lower in ("asc", "desc"):
                parser.index += 1
            result.append((field, descending))
            if len(result) > 10:
                parser.fail("order_by may have 10 fields")
            if parser.word.kind == "end":
                break
            parser.expect(",", "ASC, DESC or the end after a field of order_by")
    return result
