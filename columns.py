"""What the tables of `db.py` are made of: column types, keys, indexes, and the base class.

Instants, JSON and floats mean the same on SQLite and PostgreSQL, whatever the driver makes of them:

    >>> from datetime import timezone
    >>> from_microseconds(to_microseconds(datetime(2026, 1, 31, 12, tzinfo=UTC))).isoformat()
    '2026-01-31T12:00:00+00:00'

SQLAlchemy is told of the tables by `map_tables`, when the first store is opened. Until then a class body only notes
what its columns are going to be: `mapped_column`, `ForeignKey` and the others of this module are SQLAlchemy's own,
called later. All of it takes as long as half of SQLAlchemy's own import, and a process that only wants a name from one
of the modules need not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import sqlalchemy as sa
import sqlalchemy.orm

from values import decode_json, encode_json, to_utc

__all__ = [
    "Base",
    "BigId",
    "CheckConstraint",
    "ForeignKey",
    "ForeignKeyConstraint",
    "Id",
    "Index",
    "Json",
    "Real",
    "Text",
    "Uid",
    "UniqueConstraint",
    "UtcDateTime",
    "from_microseconds",
    "map_tables",
    "mapped_column",
    "now",
    "partial_index",
    "to_microseconds",
]


# -- column types ------------------------------------------------------------------------------------

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(instant: datetime) -> int:
    """Return an aware instant as whole microseconds since 1970, the form in which instants are stored."""
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """Return the aware UTC instant for a stored number of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=microseconds)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC instant, stored as integer microseconds since 1970: exact, sortable, eight bytes."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        """Return what is stored."""
        return None if value is None else to_microseconds(to_utc(value))

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> datetime | None:
        """Return what was given."""
        return None if value is None else from_microseconds(int(value))


class Json(sa.types.TypeDecorator[Any]):
    """Any JSON value, NaN and infinities and big integers included, stored as strict JSON text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any | None, dialect: sa.Dialect) -> str | None:
        """Return what is stored."""
        return None if value is None else encode_json(value)

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> Any | None:
        """Return what was given."""
        return None if value is None else decode_json(value)


class Real(sa.types.TypeDecorator[float]):
    """A 64-bit float whose NaN is stored as NULL and read back as NaN.

    SQLite turns NaN into NULL by itself; doing the same on PostgreSQL gives both the same answers: NaN is never a
    minimum, a maximum or a match. A column of this type therefore never means "no value" by NULL.
    """

    impl = sa.Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:
        """Return what is stored."""
        return None if value is None or value != value else float(value)

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> float:
        """Return what was given."""
        return float("nan") if value is None else float(value)


# Text compares and sorts by code point on both databases.
Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BigId = sa.BigInteger().with_variant(sa.Integer, "sqlite")

Id = Annotated[int, sqlalchemy.orm.mapped_column(BigId, primary_key=True)]
Uid = Annotated[str, sqlalchemy.orm.mapped_column(Text, unique=True)]


def now() -> datetime:
    """Return the instant now, the default of a column that says when its row was made."""
    return datetime.now(UTC)


# -- what a class body notes ---------------------------------------------------------------------------


class _Later:
    """A call that waits until the tables are mapped."""

    __slots__ = ("arguments", "function", "options")

    def __init__(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        self.function, self.arguments, self.options = function, arguments, options

    def call(self) -> Any:
        """Make the call, after those that stand among its arguments."""
        return self.function(*map(_call, self.arguments), **self.options)


def _call(value: Any) -> Any:
    return value.call() if isinstance(value, _Later) else value


if TYPE_CHECKING:
    from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
    from sqlalchemy.orm import mapped_column
else:
    mapped_column, ForeignKey, ForeignKeyConstraint, UniqueConstraint, CheckConstraint, Index = (
        partial(_Later, made)
        for made in (
            sqlalchemy.orm.mapped_column,
            sa.ForeignKey,
            sa.ForeignKeyConstraint,
            sa.UniqueConstraint,
            sa.CheckConstraint,
            sa.Index,
        )
    )


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """Return an index of the rows that meet a condition, on both databases."""
    return Index(name, *columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


# -- the base class -------------------------------------------------------------------------------------


class _Base:
    """Base of all tables. SQLAlchemy is told of them by `map_tables`, not when their classes are made."""

    registry: ClassVar = sqlalchemy.orm.registry(
        type_annotation_map={
            str: Text,
            int: sa.BigInteger,
            float: sa.Double,
            datetime: UtcDateTime,
            dict[str, Any]: Json,
            list[Any]: Json,
        },
        metadata=sa.MetaData(
            naming_convention={
                "ix": "ix_%(column_0_N_label)s",
                "uq": "uq_%(table_name)s_%(column_0_N_name)s",
                "ck": "ck_%(table_name)s_%(constraint_name)s",
                "fk": "fk_%(table_name)s_%(column_0_N_name)s",
                "pk": "pk_%(table_name)s",
            }
        ),
    )
    metadata: ClassVar = registry.metadata
    waiting: ClassVar[list[type]] = []  # tables that SQLAlchemy has not been told of
    telling: ClassVar = threading.RLock()

    def __init_subclass__(cls) -> None:
        _Base.waiting.append(cls)

    def __init__(self, **values: Any) -> None:
        _Base.registry.constructor(self, **values)


if TYPE_CHECKING:
    Base = sqlalchemy.orm.DeclarativeBase
else:
    Base = _Base


def map_tables() -> sa.MetaData:
    """Tell SQLAlchemy of the tables, once a process, and return all of them; the first `Database` does so."""
    with _Base.telling:
        while _Base.waiting:
            table: Any = _Base.waiting[0]
            for name, value in list(vars(table).items()):
                if isinstance(value, _Later):
                    setattr(table, name, value.call())
                elif name == "__table_args__":
                    table.__table_args__ = tuple(map(_call, value))
            _Base.registry.map_declaratively(table)
            del _Base.waiting[0]
    return _Base.registry.metadata
