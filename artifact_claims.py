"""Which stored contents the rows of the database need: what the file store asks of the database.

Vocabulary: a *claim* is the row of a blob (`db.BlobRow`); a blob is *claimed* while a row of any other table names it.
Every function takes the caller's session: none begins or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from columns import map_tables, now, to_microseconds
from db import BlobRow

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["add_blobs", "find_claimed_blobs", "find_unclaimed_blobs", "lock_blobs", "remove_blobs"]

BLOB_LOCK_KEY = 0x4D6F64656C4242  # "ModelBB": PostgreSQL advisory lock, shared by claims, exclusive for sweeps


def lock_blobs(session: Session, *, exclusive: bool) -> None:
    """Hold off sweeps (shared) or claims and sweeps (exclusive) until the transaction ends.

    On SQLite the one writer lock, held already, does that.
    """
    # A session begins when it is first used: on SQLite this is where the writer lock is taken.
    if session.connection().dialect.name == "postgresql":
        lock = sa.func.pg_advisory_xact_lock if exclusive else sa.func.pg_advisory_xact_lock_shared
        session.execute(sa.select(lock(BLOB_LOCK_KEY)))


_ADD_BLOB = sa.text(
    "INSERT INTO blobs (sha256, size_bytes, created_at) VALUES (:sha256, :size_bytes, :created_at) "
    "ON CONFLICT DO NOTHING"
)


def add_blobs(session: Session, sizes: Mapping[str, int]) -> None:
    """Add the rows of blobs (size in bytes by SHA-256) that are not there yet."""
    created_at = to_microseconds(now())
    rows = [{"sha256": name, "size_bytes": size, "created_at": created_at} for name, size in sorted(sizes.items())]
    if rows:
        session.execute(_ADD_BLOB, rows)


def find_claimed_blobs(session: Session, candidates: Iterable[str] | None) -> dict[str, int]:
    """Return size in bytes by SHA-256 of the blobs that a row of any table names; of all, or of candidates."""
    found: dict[str, int] = {}
    names = [] if candidates is None else list(candidates)
    # SQLite admits a limited number of bound values.
    parts = [None] if candidates is None else [names[start : start + 500] for start in range(0, len(names), 500)]
    for column in _blob_columns():
        for part in parts:
            query = sa.select(BlobRow.sha256, BlobRow.size_bytes).where(sa.exists().where(column == BlobRow.sha256))
            if part is not None:
                query = query.where(BlobRow.sha256.in_(part))
            found.update((sha256, size) for sha256, size in session.execute(query))
    return found


def find_unclaimed_blobs(session: Session) -> list[str]:
    """Return the SHA-256 of every blob's row that no row of any table names."""
    query = sa.select(BlobRow.sha256)
    for column in _blob_columns():
        query = query.where(~sa.exists().where(column == BlobRow.sha256))
    return list(session.scalars(query))


def _blob_columns() -> list[sa.Column[Any]]:
    return [
        column
        for table in map_tables().tables.values()
        for column in table.columns
        if any(key.target_fullname == "blobs.sha256" for key in column.foreign_keys)
    ]


def remove_blobs(session: Session, names: Sequence[str]) -> None:
    """Remove the rows of blobs that nothing names."""
    for start in range(0, len(names), 500):
        session.execute(sa.delete(BlobRow).where(BlobRow.sha256.in_(names[start : start + 500])))
