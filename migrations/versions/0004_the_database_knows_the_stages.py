"""The database itself knows the stages, lets no deleted version be in Production, and no event be replaced.

Revision 0004, after 0003. A store in which a stage was written by hand that is none is refused, and stays as it was.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from db import StorageError

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


ODD_VERSIONS = (
    "SELECT models.name, version, stage FROM model_versions JOIN models ON models.id = model_id "
    "WHERE stage NOT IN ('Development', 'Staging', 'Production', 'Archived') "
    "OR (stage = 'Production' AND deleted_at IS NOT NULL)"
)


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    odd = op.get_bind().execute(sa.text(ODD_VERSIONS)).first()
    if odd is not None:
        raise StorageError(
            f"{odd.name} {odd.version} has the stage {odd.stage!r}, which is none or is not for a deleted version: it "
            "was written by hand. Set it to 'Archived' in the table model_versions, and open the store again"
        )
    with op.batch_alter_table("model_versions") as batch:
        batch.create_check_constraint(
            op.f("ck_model_versions_stage"), "stage IN ('Development', 'Staging', 'Production', 'Archived')"
        )
        batch.create_check_constraint(
            op.f("ck_model_versions_production_is_not_deleted"), "stage <> 'Production' OR deleted_at IS NULL"
        )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE TRIGGER stage_events_no_replace BEFORE INSERT ON stage_events "
            "WHEN EXISTS (SELECT 1 FROM stage_events WHERE id = NEW.id) "
            "BEGIN SELECT RAISE(ABORT, 'stage events are only ever added'); END"
        )
