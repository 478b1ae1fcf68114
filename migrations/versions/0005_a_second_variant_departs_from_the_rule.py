"""A subject that claimed a second variant counts as a departure from the rule of its test.

Revision 0005, after 0004. No table changes: analyses look for conflicts only where a phase departed from its rule.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Mark the phases of tests in which a conflict was counted before."""
    phases = sa.table("ab_phases", sa.column("experiment_id"), sa.column("by_rule", sa.Boolean()))
    assignments = sa.table("ab_assignments", sa.column("experiment_id"), sa.column("conflicts"))
    conflicting = sa.select(assignments.c.experiment_id).where(assignments.c.conflicts > 0)
    op.execute(sa.update(phases).where(phases.c.experiment_id.in_(conflicting)).values(by_rule=sa.false()))
