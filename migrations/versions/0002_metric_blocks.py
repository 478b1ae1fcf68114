"""Blocks of long metric histories.

Revision 0002, after 0001. The table begins empty: the blocks of histories that are there already are made by the first
look at them, a part in each transaction, so that opening a large store does not stop those who log into it.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    op.create_table(
        "metric_blocks",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("first_step", sa.BigInteger(), nullable=False),
        sa.Column("n_points", sa.BigInteger(), nullable=False),
        sa.Column("min_value", sa.Double(), nullable=True),
        sa.Column("min_step", sa.BigInteger(), nullable=True),
        sa.Column("max_value", sa.Double(), nullable=True),
        sa.Column("max_step", sa.BigInteger(), nullable=True),
        sa.Column("gap_step", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "key_id"],
            ["metric_summaries.run_id", "metric_summaries.key_id"],
            name=op.f("fk_metric_blocks_run_id_key_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "key_id", "last_step", name=op.f("pk_metric_blocks")),
        sqlite_with_rowid=False,
    )
