"""The first schema - tracking, registry, tests, monitoring.

Revision 0001, after nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # by code point on both databases
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# What happened to a version is never rewritten.
STAGE_EVENT_TRIGGERS = {
    "sqlite": (
        "CREATE TRIGGER stage_events_no_update BEFORE UPDATE ON stage_events "
        "BEGIN SELECT RAISE(ABORT, 'stage events are only ever added'); END",
        "CREATE TRIGGER stage_events_no_delete BEFORE DELETE ON stage_events "
        "BEGIN SELECT RAISE(ABORT, 'stage events are only ever added'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION stage_events_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'stage events are only ever added'; END $$",
        "CREATE TRIGGER stage_events_no_change BEFORE UPDATE OR DELETE ON stage_events "
        "FOR EACH ROW EXECUTE FUNCTION stage_events_refuse()",
        "CREATE TRIGGER stage_events_no_truncate BEFORE TRUNCATE ON stage_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION stage_events_refuse()",
    ),
}


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    op.create_table(
        "alert_sinks",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_sinks")),
        sa.UniqueConstraint("name", name=op.f("uq_alert_sinks_name")),
        sa.UniqueConstraint("uid", name=op.f("uq_alert_sinks_uid")),
    )
    op.create_table(
        "blobs",
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_blobs")),
    )
    op.create_table(
        "models",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=True),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("gates", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_models")),
        sa.UniqueConstraint("name", name=op.f("uq_models_name")),
        sa.UniqueConstraint("uid", name=op.f("uq_models_uid")),
    )
    op.create_table(
        "run_environments",
        sa.Column("id", ID, nullable=False),
        sa.Column("digest", TEXT, nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_environments")),
        sa.UniqueConstraint("digest", name=op.f("uq_run_environments_digest")),
    )
    op.create_table(
        "run_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_keys")),
        sa.UniqueConstraint("name", name=op.f("uq_run_keys_name")),
    )
    op.create_table(
        "tracking_experiments",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tracking_experiments")),
        sa.UniqueConstraint("uid", name=op.f("uq_tracking_experiments_uid")),
    )
    with op.batch_alter_table("tracking_experiments", schema=None) as batch_op:
        batch_op.create_index(
            "uq_tracking_experiments_live_name",
            ["name"],
            unique=True,
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )

    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=True),
        sa.Column("process", TEXT, nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.Column("note", TEXT, nullable=True),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("environment_id", ID, nullable=True),
        sa.Column("origin", TEXT, nullable=True),
        sa.CheckConstraint("status IN ('running', 'finished', 'failed', 'killed')", name=op.f("ck_runs_status")),
        sa.ForeignKeyConstraint(["environment_id"], ["run_environments.id"], name=op.f("fk_runs_environment_id")),
        sa.ForeignKeyConstraint(["experiment_id"], ["tracking_experiments.id"], name=op.f("fk_runs_experiment_id")),
        sa.ForeignKeyConstraint(["parent_id"], ["runs.id"], name=op.f("fk_runs_parent_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("origin", name=op.f("uq_runs_origin")),
        sa.UniqueConstraint("uid", name=op.f("uq_runs_uid")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index("ix_runs_experiment_started", ["experiment_id", "started_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_runs_parent_id"), ["parent_id"], unique=False)
        batch_op.create_index(
            "ix_runs_running",
            ["id"],
            unique=False,
            sqlite_where=sa.text("status = 'running'"),
            postgresql_where=sa.text("status = 'running'"),
        )

    op.create_table(
        "metric_summaries",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("key_id", ID, nullable=False),
        sa.Column("n_points", sa.BigInteger(), nullable=False),
        sa.Column("last_value", sa.Double(), nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("min_value", sa.Double(), nullable=True),
        sa.Column("min_step", sa.BigInteger(), nullable=True),
        sa.Column("max_value", sa.Double(), nullable=True),
        sa.Column("max_step", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["run_keys.id"], name=op.f("fk_metric_summaries_key_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_metric_summaries_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key_id", name=op.f("pk_metric_summaries")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("metric_summaries", schema=None) as batch_op:
        batch_op.create_index("ix_metric_summaries_last", ["key_id", "last_value"], unique=False)

    op.create_table(
        "model_versions",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("precedence", TEXT, nullable=False),
        sa.Column("model_type", TEXT, nullable=False),
        sa.Column("stage", TEXT, nullable=False),
        sa.Column("description", TEXT, nullable=False),
        sa.Column("owner", TEXT, nullable=True),
        sa.Column("run_id", ID, nullable=True),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("hyperparameters", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("dependencies", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=True),
        sa.Column("data_fingerprint", TEXT, nullable=True),
        sa.Column("card", TEXT, nullable=True),
        sa.Column("serializer", TEXT, nullable=False),
        sa.Column("origin", TEXT, nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("request_key", TEXT, nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_by", TEXT, nullable=True),
        sa.Column("purged_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_versions_model_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_model_versions_run_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_versions")),
        sa.UniqueConstraint("model_id", "precedence", name=op.f("uq_model_versions_model_id_precedence")),
        sa.UniqueConstraint("request_key", name=op.f("uq_model_versions_request_key")),
        sa.UniqueConstraint("uid", name=op.f("uq_model_versions_uid")),
    )
    with op.batch_alter_table("model_versions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_versions_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_model_versions_run_id"), ["run_id"], unique=False)
        batch_op.create_index("ix_model_versions_stage_created_at", ["stage", "created_at"], unique=False)
        batch_op.create_index(
            "uq_model_versions_production",
            ["model_id"],
            unique=True,
            sqlite_where=sa.text("stage = 'Production'"),
            postgresql_where=sa.text("stage = 'Production'"),
        )

    op.create_table(
        "run_artifacts",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_artifacts_run_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"], name=op.f("fk_run_artifacts_sha256")),
        sa.PrimaryKeyConstraint("run_id", "path", name=op.f("pk_run_artifacts")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("run_artifacts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_run_artifacts_sha256"), ["sha256"], unique=False)

    op.create_table(
        "run_params",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("key_id", ID, nullable=False),
        sa.Column("is_json", sa.Boolean(), nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["key_id"], ["run_keys.id"], name=op.f("fk_run_params_key_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_params_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key_id", name=op.f("pk_run_params")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("run_params", schema=None) as batch_op:
        batch_op.create_index("ix_run_params_number", ["key_id", "number"], unique=False)

    op.create_table(
        "run_tags",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("key_id", ID, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["run_keys.id"], name=op.f("fk_run_tags_key_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_tags_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "key_id", name=op.f("pk_run_tags")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ab_experiments",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("config", sa.Text(), nullable=False),
        sa.Column("salt", TEXT, nullable=False),
        sa.Column("phase", sa.BigInteger(), nullable=False),
        sa.Column("baseline_version_id", ID, nullable=True),
        sa.Column("treatment_version_id", ID, nullable=True),
        sa.Column("namespace", TEXT, nullable=True),
        sa.Column("namespace_start", sa.Double(), nullable=False),
        sa.Column("namespace_share", sa.Double(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        sa.Column("decision", TEXT, nullable=True),
        sa.Column("decision_reason", TEXT, nullable=True),
        sa.Column("decided_by", TEXT, nullable=True),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('running', 'paused', 'concluded', 'archived')", name=op.f("ck_ab_experiments_status")
        ),
        sa.ForeignKeyConstraint(
            ["baseline_version_id"], ["model_versions.id"], name=op.f("fk_ab_experiments_baseline_version_id")
        ),
        sa.ForeignKeyConstraint(
            ["treatment_version_id"], ["model_versions.id"], name=op.f("fk_ab_experiments_treatment_version_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ab_experiments")),
        sa.UniqueConstraint("name", name=op.f("uq_ab_experiments_name")),
        sa.UniqueConstraint("uid", name=op.f("uq_ab_experiments_uid")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("ab_experiments", schema=None) as batch_op:
        batch_op.create_index("ix_ab_experiments_baseline_version", ["baseline_version_id"], unique=False)
        batch_op.create_index("ix_ab_experiments_namespace", ["namespace"], unique=False)
        batch_op.create_index("ix_ab_experiments_treatment_version", ["treatment_version_id"], unique=False)

    op.create_table(
        "metric_points",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id", "key_id"],
            ["metric_summaries.run_id", "metric_summaries.key_id"],
            name=op.f("fk_metric_points_run_id_key_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("run_id", "key_id", "step", name=op.f("pk_metric_points")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "model_aliases",
        sa.Column("model_id", ID, nullable=False),
        sa.Column("alias", TEXT, nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_model_aliases_model_id")),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_model_aliases_version_id")),
        sa.PrimaryKeyConstraint("model_id", "alias", name=op.f("pk_model_aliases")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("model_aliases", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_aliases_version_id"), ["version_id"], unique=False)

    op.create_table(
        "model_files",
        sa.Column("version_id", ID, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("sha256", TEXT, nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["sha256"], ["blobs.sha256"], name=op.f("fk_model_files_sha256")),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_model_files_version_id")),
        sa.PrimaryKeyConstraint("version_id", "path", name=op.f("pk_model_files")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("model_files", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_files_sha256"), ["sha256"], unique=False)

    op.create_table(
        "model_metrics",
        sa.Column("version_id", ID, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_model_metrics_version_id")),
        sa.PrimaryKeyConstraint("version_id", "key", name=op.f("pk_model_metrics")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("model_metrics", schema=None) as batch_op:
        batch_op.create_index("ix_model_metrics_value", ["key", "value"], unique=False)

    op.create_table(
        "model_performance",
        sa.Column("id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("metric", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("dataset", TEXT, nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_model_performance_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_performance")),
    )
    with op.batch_alter_table("model_performance", schema=None) as batch_op:
        batch_op.create_index("ix_model_performance_series", ["version_id", "metric", "at"], unique=False)

    op.create_table(
        "model_tags",
        sa.Column("version_id", ID, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_model_tags_version_id")),
        sa.PrimaryKeyConstraint("version_id", "key", name=op.f("pk_model_tags")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("model_tags", schema=None) as batch_op:
        batch_op.create_index("ix_model_tags_value", ["key", "value"], unique=False)

    op.create_table(
        "monitored_models",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("version_id", ID, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["model_versions.id"], name=op.f("fk_monitored_models_version_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_monitored_models")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_monitored_models_name_version")),
    )
    with op.batch_alter_table("monitored_models", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_monitored_models_version_id"), ["version_id"], unique=False)

    op.create_table(
        "stage_events",
        sa.Column("id", ID, nullable=False),
        sa.Column("model_id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("from_stage", TEXT, nullable=True),
        sa.Column("to_stage", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("displaced_id", ID, nullable=True),
        sa.ForeignKeyConstraint(["displaced_id"], ["model_versions.id"], name=op.f("fk_stage_events_displaced_id")),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_stage_events_model_id")),
        sa.ForeignKeyConstraint(["version_id"], ["model_versions.id"], name=op.f("fk_stage_events_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_events")),
    )
    with op.batch_alter_table("stage_events", schema=None) as batch_op:
        batch_op.create_index("ix_stage_events_model_id_id", ["model_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_stage_events_version_id"), ["version_id"], unique=False)

    op.create_table(
        "ab_assignments",
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("variant", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.BigInteger(), nullable=False),
        sa.Column("assigned_at", sa.BigInteger(), nullable=False),
        sa.Column("conflicts", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["ab_experiments.id"], name=op.f("fk_ab_assignments_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "subject", name=op.f("pk_ab_assignments")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ab_attributes",
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("number", sa.Double(), nullable=True),
        sa.Column("label", TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["ab_experiments.id"], name=op.f("fk_ab_attributes_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "name", "subject", name=op.f("pk_ab_attributes")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ab_events",
        sa.Column("id", ID, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("metric", sa.BigInteger(), nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("denominator", sa.Double(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event_id", TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["ab_experiments.id"], name=op.f("fk_ab_events_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ab_events")),
    )
    with op.batch_alter_table("ab_events", schema=None) as batch_op:
        batch_op.create_index(
            "uq_ab_events_event_id",
            ["experiment_id", "event_id"],
            unique=True,
            sqlite_where=sa.text("event_id IS NOT NULL"),
            postgresql_where=sa.text("event_id IS NOT NULL"),
        )

    op.create_table(
        "ab_looks",
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("variant", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("n_baseline", sa.BigInteger(), nullable=False),
        sa.Column("n_treatment", sa.BigInteger(), nullable=False),
        sa.Column("fraction", sa.Double(), nullable=True),
        sa.Column("effect", sa.Double(), nullable=False),
        sa.Column("standard_error", sa.Double(), nullable=False),
        sa.Column("z", sa.Double(), nullable=False),
        sa.Column("p_value", sa.Double(), nullable=False),
        sa.Column("boundary", sa.Double(), nullable=True),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.Column("ci_lower", sa.Double(), nullable=True),
        sa.Column("ci_upper", sa.Double(), nullable=True),
        sa.Column("outcome", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["ab_experiments.id"], name=op.f("fk_ab_looks_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "number", "variant", name=op.f("pk_ab_looks")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ab_phases",
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("shares", sa.Text(), nullable=False),
        sa.Column("coverage", sa.Double(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("reason", TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["ab_experiments.id"], name=op.f("fk_ab_phases_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "number", name=op.f("pk_ab_phases")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ab_subjects",
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("metric", sa.BigInteger(), nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("variant", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.BigInteger(), nullable=False),
        sa.Column("n_events", sa.BigInteger(), nullable=False),
        sa.Column("total", sa.Double(), nullable=False),
        sa.Column("denominator", sa.Double(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["ab_experiments.id"], name=op.f("fk_ab_subjects_experiment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("experiment_id", "metric", "subject", name=op.f("pk_ab_subjects")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alert_rules",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("monitored_id", ID, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("segment", TEXT, nullable=False),
        sa.Column("severity", TEXT, nullable=False),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("cooldown_seconds", sa.Double(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["monitored_id"], ["monitored_models.id"], name=op.f("fk_alert_rules_monitored_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_rules")),
        sa.UniqueConstraint("uid", name=op.f("uq_alert_rules_uid")),
    )
    with op.batch_alter_table("alert_rules", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alert_rules_monitored_id"), ["monitored_id"], unique=False)

    op.create_table(
        "feature_references",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("monitored_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("n_rows", sa.BigInteger(), nullable=False),
        sa.Column("label", TEXT, nullable=False),
        sa.Column("model", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["monitored_id"],
            ["monitored_models.id"],
            name=op.f("fk_feature_references_monitored_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature_references")),
        sa.UniqueConstraint("uid", name=op.f("uq_feature_references_uid")),
    )
    with op.batch_alter_table("feature_references", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_feature_references_monitored_id"), ["monitored_id"], unique=False)

    op.create_table(
        "pending_labels",
        sa.Column("monitored_id", ID, nullable=False),
        sa.Column("prediction_id", TEXT, nullable=False),
        sa.Column("label", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["monitored_id"], ["monitored_models.id"], name=op.f("fk_pending_labels_monitored_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("monitored_id", "prediction_id", name=op.f("pk_pending_labels")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "performance_series",
        sa.Column("id", ID, nullable=False),
        sa.Column("monitored_id", ID, nullable=False),
        sa.Column("metric", TEXT, nullable=False),
        sa.Column("segment", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["monitored_id"],
            ["monitored_models.id"],
            name=op.f("fk_performance_series_monitored_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performance_series")),
        sa.UniqueConstraint(
            "monitored_id", "metric", "segment", name=op.f("uq_performance_series_monitored_id_metric_segment")
        ),
    )
    op.create_table(
        "predictions",
        sa.Column("id", ID, nullable=False),
        sa.Column("monitored_id", ID, nullable=False),
        sa.Column("prediction_id", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("prediction", TEXT, nullable=False),
        sa.Column("probability", sa.Double(), nullable=True),
        sa.Column("label", TEXT, nullable=True),
        sa.Column("labelled_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["monitored_id"], ["monitored_models.id"], name=op.f("fk_predictions_monitored_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_predictions")),
        sa.UniqueConstraint("monitored_id", "prediction_id", name=op.f("uq_predictions_monitored_id_prediction_id")),
    )
    with op.batch_alter_table("predictions", schema=None) as batch_op:
        batch_op.create_index("ix_predictions_monitored_at", ["monitored_id", "at"], unique=False)

    op.create_table(
        "alerts",
        sa.Column("id", ID, nullable=False),
        sa.Column("uid", TEXT, nullable=False),
        sa.Column("monitored_id", ID, nullable=False),
        sa.Column("rule_id", ID, nullable=True),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("severity", TEXT, nullable=False),
        sa.Column("message", TEXT, nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("evidence_at", sa.BigInteger(), nullable=True),
        sa.Column("occurrences", sa.BigInteger(), nullable=False),
        sa.Column("good_streak", sa.BigInteger(), nullable=False),
        sa.Column("notified_at", sa.BigInteger(), nullable=True),
        sa.Column("silenced_until", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_at", sa.BigInteger(), nullable=True),
        sa.Column("acknowledged_by", TEXT, nullable=True),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["monitored_id"], ["monitored_models.id"], name=op.f("fk_alerts_monitored_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["rule_id"], ["alert_rules.id"], name=op.f("fk_alerts_rule_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
        sa.UniqueConstraint("uid", name=op.f("uq_alerts_uid")),
    )
    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.create_index("ix_alerts_monitored_last", ["monitored_id", "last_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_alerts_rule_id"), ["rule_id"], unique=False)
        batch_op.create_index(
            "uq_alerts_open",
            ["fingerprint"],
            unique=True,
            sqlite_where=sa.text("resolved_at IS NULL"),
            postgresql_where=sa.text("resolved_at IS NULL"),
        )

    op.create_table(
        "feature_batches",
        sa.Column("id", ID, nullable=False),
        sa.Column("reference_id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("n_rows", sa.BigInteger(), nullable=False),
        sa.Column("event_id", TEXT, nullable=True),
        sa.Column("changes", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["feature_references.id"],
            name=op.f("fk_feature_batches_reference_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature_batches")),
        sa.UniqueConstraint("reference_id", "event_id", name=op.f("uq_feature_batches_reference_id_event_id")),
    )
    with op.batch_alter_table("feature_batches", schema=None) as batch_op:
        batch_op.create_index("ix_feature_batches_reference_at", ["reference_id", "at"], unique=False)

    op.create_table(
        "feature_profiles",
        sa.Column("id", ID, nullable=False),
        sa.Column("reference_id", ID, nullable=False),
        sa.Column("feature", TEXT, nullable=False),
        sa.Column("importance", sa.Double(), nullable=True),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["reference_id"],
            ["feature_references.id"],
            name=op.f("fk_feature_profiles_reference_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feature_profiles")),
        sa.UniqueConstraint("reference_id", "feature", name=op.f("uq_feature_profiles_reference_id_feature")),
    )
    op.create_table(
        "performance_baselines",
        sa.Column("id", ID, nullable=False),
        sa.Column("series_id", ID, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("end_at", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("center", sa.Double(), nullable=False),
        sa.Column("sigma", sa.Double(), nullable=False),
        sa.Column("sigma_z", sa.Double(), nullable=True),
        sa.Column("method", TEXT, nullable=False),
        sa.Column("source", TEXT, nullable=False),
        sa.Column("autocorrelation", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["series_id"],
            ["performance_series.id"],
            name=op.f("fk_performance_baselines_series_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_performance_baselines")),
    )
    with op.batch_alter_table("performance_baselines", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_performance_baselines_series_id"), ["series_id"], unique=False)

    op.create_table(
        "performance_points",
        sa.Column("series_id", ID, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("tie", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("prediction_count", sa.BigInteger(), nullable=True),
        sa.Column("event_id", TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["series_id"], ["performance_series.id"], name=op.f("fk_performance_points_series_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("series_id", "at", "tie", name=op.f("pk_performance_points")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("performance_points", schema=None) as batch_op:
        batch_op.create_index(
            "uq_performance_points_event",
            ["series_id", "event_id"],
            unique=True,
            sqlite_where=sa.text("event_id IS NOT NULL"),
            postgresql_where=sa.text("event_id IS NOT NULL"),
        )

    op.create_table(
        "alert_deliveries",
        sa.Column("id", ID, nullable=False),
        sa.Column("sink_id", ID, nullable=False),
        sa.Column("alert_id", ID, nullable=True),
        sa.Column("title", TEXT, nullable=False),
        sa.Column("body", TEXT, nullable=False),
        sa.Column("status", TEXT, nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=False),
        sa.Column("sent_at", sa.BigInteger(), nullable=True),
        sa.Column("error", TEXT, nullable=True),
        sa.ForeignKeyConstraint(
            ["alert_id"], ["alerts.id"], name=op.f("fk_alert_deliveries_alert_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["sink_id"], ["alert_sinks.id"], name=op.f("fk_alert_deliveries_sink_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_deliveries")),
    )
    with op.batch_alter_table("alert_deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_alert_deliveries_alert_id"), ["alert_id"], unique=False)
        batch_op.create_index("ix_alert_deliveries_next", ["status", "next_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_alert_deliveries_sink_id"), ["sink_id"], unique=False)

    op.create_table(
        "feature_counts",
        sa.Column("batch_id", ID, nullable=False),
        sa.Column("profile_id", ID, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["feature_batches.id"], name=op.f("fk_feature_counts_batch_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["profile_id"], ["feature_profiles.id"], name=op.f("fk_feature_counts_profile_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "profile_id", name=op.f("pk_feature_counts")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("feature_counts", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_feature_counts_profile_id"), ["profile_id"], unique=False)

    for statement in STAGE_EVENT_TRIGGERS[op.get_bind().dialect.name]:
        op.execute(statement)
