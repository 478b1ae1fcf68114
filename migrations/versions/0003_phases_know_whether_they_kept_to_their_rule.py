"""Phases of A/B tests know whether every stored assignment is the one that the rule gives.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema from the revision before to this one; of the phases that exist, nothing is known."""
    op.add_column("ab_phases", sa.Column("by_rule", sa.Boolean(), nullable=False, server_default=sa.false()))
