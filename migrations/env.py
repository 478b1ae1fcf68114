"""Alembic's environment: run on the connection that `migrations.upgrade` was given, in its transaction."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from columns import BigId, Json, Real, Text, UtcDateTime, map_tables

# A revision stands by itself: it must not change its meaning when a type in db.py does.
_NAMED: dict[Any, str] = {Text: "TEXT", BigId: "ID"}  # see script.py.mako
_PLAIN = {UtcDateTime: "sa.BigInteger()", Json: "sa.Text()", Real: "sa.Double()"}


def render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write our own column types as the plain ones they are stored in, and the two common ones by their name."""
    if kind != "type":
        return False
    variants = set(getattr(item, "_variant_mapping", ()))
    for named, name in _NAMED.items():
        if variants and type(item) is type(named) and variants == set(named._variant_mapping):
            return name
    return _PLAIN.get(type(item), False)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=map_tables(),
    render_as_batch=True,
    render_item=render_item,
    transactional_ddl=True,
)
context.run_migrations()
