"""Write a new revision from the difference between `db.py` and the newest revision."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from migrations import configuration


def main() -> None:
    """Upgrade an empty scratch database to the newest revision and let Alembic compare it with `db.py`."""
    if len(sys.argv) != 2:
        raise SystemExit('usage: python -m migrations "what changed and why"')
    with tempfile.TemporaryDirectory() as folder:
        engine = sa.create_engine(f"sqlite:///{Path(folder) / 'scratch.db'}")
        with engine.begin() as connection:
            config = configuration(connection)
            number = len(list(ScriptDirectory.from_config(config).walk_revisions())) + 1
            command.upgrade(config, "head")
            command.revision(config, sys.argv[1], autogenerate=True, rev_id=f"{number:04d}")
        engine.dispose()


if __name__ == "__main__":
    main()
