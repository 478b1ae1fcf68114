"""Revisions of the schema, and how a store is brought to the newest one.

`db.Database` upgrades an older store by itself when it opens it, in one transaction and after a backup; nobody
needs Alembic's command line. A developer who changed a table in `db.py` runs

    python -m migrations "what changed and why"

reads what it wrote into `versions/`, and adds the new number to `db.REVISIONS`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config

if TYPE_CHECKING:
    from sqlalchemy import Connection

FOLDER = Path(__file__).parent

__all__ = ["configuration", "upgrade"]


def configuration(connection: Connection) -> Config:
    """Return Alembic's settings for work on an open connection; there is no ini file."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str) -> None:
    """Run the revisions up to one, inside the transaction that the connection is in."""
    command.upgrade(configuration(connection), revision)
