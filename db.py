"""The schema on one page, and the one object through which every module reaches the database.

    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> database = Database(f"sqlite:///{folder}/modeldesk.db")
    >>> with database.write() as session:
    ...     session.add(BlobRow(sha256="0" * 64, size_bytes=3))
    >>> with database.read() as session:
    ...     session.get(BlobRow, "0" * 64).size_bytes
    3

Vocabulary: a *store* is one database and the artifacts beside it. `read()` is one consistent snapshot;
`write()` is one transaction that is committed when the block ends and rolled back when it raises. A write
that returned is durable: see `Database.write` for what "durable" covers.

The tables are created on an empty database, upgraded by the revisions in `migrations/` on an older one,
and refused when a newer version of this library made them.
"""

# Annotations are objects here, not text: SQLAlchemy would have to evaluate each one again.

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.orm import Mapped

from columns import (
    Base,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Id,
    Index,
    Json,
    Real,
    Uid,
    UniqueConstraint,
    map_tables,
    mapped_column,
    now,
    partial_index,
)
from engine import Store
from errors import ArtifactError, DuplicateError, ModelDeskError, NotFoundError, StateError, StorageError

__all__ = [
    "ArtifactError",
    "Database",
    "DuplicateError",
    "ModelDeskError",
    "NotFoundError",
    "StateError",
    "StorageError",
]

REVISIONS = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
)  # every schema revision this library knows, oldest first; the last is the current one


# -- the schema: shared ------------------------------------------------------------------------------


class BlobRow(Base):
    """One stored content; its file lives in the artifact store under its hash."""

    __tablename__ = "blobs"

    sha256: Mapped[str] = mapped_column(primary_key=True)
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)


# -- the schema: experiment tracking -----------------------------------------------------------------


class TrackingExperimentRow(Base):
    """A named group of runs; the name is free again once the experiment is deleted."""

    __tablename__ = "tracking_experiments"
    __table_args__ = (
        partial_index("uq_tracking_experiments_live_name", "name", unique=True, where="deleted_at IS NULL"),
    )

    id: Mapped[Id]
    uid: Mapped[Uid]
    name: Mapped[str]
    description: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    deleted_at: Mapped[datetime | None]


class RunEnvironmentRow(Base):
    """What runs ran in: code, command, packages, hardware; runs of one process share one row."""

    __tablename__ = "run_environments"

    id: Mapped[Id]
    digest: Mapped[str] = mapped_column(unique=True)
    data: Mapped[dict[str, Any]]


class RunRow(Base):
    """One run of an experiment.

    `heartbeat_at` and `process` tell whether the process that runs it still lives; `origin` is where an imported run
    came from, so that a second import adds nothing. Ids are never used twice: processes remember them.
    """

    __tablename__ = "runs"
    __table_args__ = (
        Index("ix_runs_experiment_started", "experiment_id", "started_at"),
        partial_index("ix_runs_running", "id", where="status = 'running'"),
        CheckConstraint("status IN ('running', 'finished', 'failed', 'killed')", name="status"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Id]
    uid: Mapped[Uid]
    experiment_id: Mapped[int] = mapped_column(ForeignKey("tracking_experiments.id"))
    name: Mapped[str]
    status: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]
    process: Mapped[str | None]
    error: Mapped[str | None]
    note: Mapped[str | None]
    archived_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    environment_id: Mapped[int | None] = mapped_column(ForeignKey("run_environments.id"))
    origin: Mapped[str | None] = mapped_column(unique=True)


class RunKeyRow(Base):
    """The text of a metric's, param's or tag's key, once; everything else names it by its number. Never deleted."""

    __tablename__ = "run_keys"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)


class MetricSummaryRow(Base):
    """Last, least and greatest value of a metric of a run, kept with every point; what searches read.

    `last_*` belong to the highest step. `min_*` and `max_*` look at finite values only and are NULL without one.
    """

    __tablename__ = "metric_summaries"
    __table_args__ = (
        Index("ix_metric_summaries_last", "key_id", "last_value"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("run_keys.id"), primary_key=True)
    n_points: Mapped[int]
    last_value: Mapped[float | None] = mapped_column(Real)
    last_step: Mapped[int]
    last_at: Mapped[datetime]
    min_value: Mapped[float | None]
    min_step: Mapped[int | None]
    max_value: Mapped[float | None]
    max_step: Mapped[int | None]


class MetricPointRow(Base):
    """One value of a metric at a step: the history, clustered by its only key."""

    __tablename__ = "metric_points"
    __table_args__ = (
        ForeignKeyConstraint(
            ["run_id", "key_id"], ["metric_summaries.run_id", "metric_summaries.key_id"], ondelete="CASCADE"
        ),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(primary_key=True)
    key_id: Mapped[int] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    value: Mapped[float | None] = mapped_column(Real)


class MetricBlockRow(Base):
    """What some consecutive points of a long history come to, so that a curve is drawn without reading all of them.

    The blocks of a history follow each other from its first point on and leave none out: a block covers the steps
    behind the one before it, up to its own last one. Points behind the last block have none yet. `min_*` and `max_*`
    are as in `MetricSummaryRow`; `gap_step` is the first step of a NaN or infinity. See `tracking_parts.blocks`.
    """

    __tablename__ = "metric_blocks"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["run_id", "key_id"], ["metric_summaries.run_id", "metric_summaries.key_id"], ondelete="CASCADE"
        ),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(primary_key=True)
    key_id: Mapped[int] = mapped_column(primary_key=True)
    last_step: Mapped[int] = mapped_column(primary_key=True)
    first_step: Mapped[int]
    n_points: Mapped[int]
    min_value: Mapped[float | None]
    min_step: Mapped[int | None]
    max_value: Mapped[float | None]
    max_step: Mapped[int | None]
    gap_step: Mapped[int | None]


class RunParamRow(Base):
    """One param of a run: its text, whether that text is JSON, and its number for comparisons, if it is one."""

    __tablename__ = "run_params"
    __table_args__ = (
        Index("ix_run_params_number", "key_id", "number"),
        {"sqlite_with_rowid": False},
    )

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("run_keys.id"), primary_key=True)
    is_json: Mapped[bool]
    value: Mapped[str]
    number: Mapped[float | None]


class RunTagRow(Base):
    """One tag of a run: text that may change."""

    __tablename__ = "run_tags"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    key_id: Mapped[int] = mapped_column(ForeignKey("run_keys.id"), primary_key=True)
    value: Mapped[str]


class RunArtifactRow(Base):
    """One file of a run, under a relative path; the content is a blob."""

    __tablename__ = "run_artifacts"
    __table_args__ = ({"sqlite_with_rowid": False},)

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    size_bytes: Mapped[int]
    created_at: Mapped[datetime]
    details: Mapped[dict[str, Any]]


# -- the schema: model registry ----------------------------------------------------------------------


class ModelRow(Base):
    """One registered model: a name that versions share, and the gates before its Production stage."""

    __tablename__ = "models"

    id: Mapped[Id]
    uid: Mapped[Uid]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(default="")
    owner: Mapped[str | None]
    tags: Mapped[dict[str, Any]]
    gates: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ModelVersionRow(Base):
    """One version of a model. A deleted one keeps its row, so that its number is never used again."""

    __tablename__ = "model_versions"
    __table_args__ = (
        # Equal precedence is the same version: build metadata is not part of the key.
        UniqueConstraint("model_id", "precedence"),
        partial_index("uq_model_versions_production", "model_id", unique=True, where="stage = 'Production'"),
        # Another spelling of Production would not be seen by that index.
        CheckConstraint("stage IN ('Development', 'Staging', 'Production', 'Archived')", name="stage"),
        CheckConstraint("stage <> 'Production' OR deleted_at IS NULL", name="production_is_not_deleted"),
        Index("ix_model_versions_stage_created_at", "stage", "created_at"),
    )

    id: Mapped[Id]
    uid: Mapped[Uid]
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    version: Mapped[str]
    precedence: Mapped[str]  # sorts as Semantic Versioning says, by code point
    model_type: Mapped[str]
    stage: Mapped[str]
    description: Mapped[str]
    owner: Mapped[str | None]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"), index=True)
    metrics: Mapped[dict[str, Any]]
    hyperparameters: Mapped[dict[str, Any]]
    tags: Mapped[dict[str, Any]]
    dependencies: Mapped[dict[str, Any]]
    environment: Mapped[dict[str, Any]]
    signature: Mapped[dict[str, Any] | None] = mapped_column(Json)
    data_fingerprint: Mapped[str | None]
    card: Mapped[str | None]  # Markdown; NULL is the template filled from this row
    serializer: Mapped[str]
    origin: Mapped[str]  # "object": serialized here; "file": given as a file; "import": from an export
    sha256: Mapped[str]  # of the file, or of the list of files of a folder
    size_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(index=True)
    created_by: Mapped[str]
    request_key: Mapped[str | None] = mapped_column(unique=True)
    deleted_at: Mapped[datetime | None]
    deleted_by: Mapped[str | None]
    purged_at: Mapped[datetime | None]  # its bytes were given back: it cannot be restored


class ModelFileRow(Base):
    """One file of a version, under a relative path; the content is a blob."""

    __tablename__ = "model_files"
    __table_args__ = ({"sqlite_with_rowid": False},)

    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("blobs.sha256"), index=True)
    size_bytes: Mapped[int]


class ModelMetricRow(Base):
    """One metric of a version, for searching by thresholds; NaN is NULL and matches none."""

    __tablename__ = "model_metrics"
    __table_args__ = (Index("ix_model_metrics_value", "key", "value"), {"sqlite_with_rowid": False})

    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float | None] = mapped_column(Real)


class ModelTagRow(Base):
    """One tag of a version, for searching."""

    __tablename__ = "model_tags"
    __table_args__ = (Index("ix_model_tags_value", "key", "value"), {"sqlite_with_rowid": False})

    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class ModelAliasRow(Base):
    """One alias of a model ("champion") and the version it names now."""

    __tablename__ = "model_aliases"
    __table_args__ = ({"sqlite_with_rowid": False},)

    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"), primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), index=True)
    updated_at: Mapped[datetime]
    updated_by: Mapped[str]


class ModelPerformanceRow(Base):
    """One value that a metric of a version had at an instant."""

    __tablename__ = "model_performance"
    __table_args__ = (Index("ix_model_performance_series", "version_id", "metric", "at"),)

    id: Mapped[Id]
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"))
    metric: Mapped[str]
    at: Mapped[datetime]
    value: Mapped[float | None] = mapped_column(Real)
    dataset: Mapped[str | None]


class StageEventRow(Base):
    """One change of stage: who, when, why, on what evidence, displacing whom. Rows are only ever added."""

    __tablename__ = "stage_events"
    __table_args__ = (Index("ix_stage_events_model_id_id", "model_id", "id"),)

    id: Mapped[Id]
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("model_versions.id"), index=True)
    kind: Mapped[str]  # "register", "promote", "transition", "displace", "rollback", "delete", "restore", "import"
    from_stage: Mapped[str | None]
    to_stage: Mapped[str]
    at: Mapped[datetime]
    actor: Mapped[str]
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]]
    displaced_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))


APPEND_ONLY_MESSAGE = "stage events are only ever added"
STAGE_EVENT_TRIGGERS: dict[str, tuple[str, ...]] = {  # by dialect; the migrations use them too
    "sqlite": (
        *(
            f"CREATE TRIGGER stage_events_no_{action.lower()} BEFORE {action} ON stage_events "
            f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY_MESSAGE}'); END"
            for action in ("UPDATE", "DELETE")
        ),
        # INSERT OR REPLACE deletes a row without a word to the triggers of deletion.
        "CREATE TRIGGER stage_events_no_replace BEFORE INSERT ON stage_events "  # noqa: S608 - constants alone
        "WHEN EXISTS (SELECT 1 FROM stage_events WHERE id = NEW.id) "
        f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY_MESSAGE}'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION stage_events_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{APPEND_ONLY_MESSAGE}'; END $$",
        "CREATE TRIGGER stage_events_no_change BEFORE UPDATE OR DELETE ON stage_events "
        "FOR EACH ROW EXECUTE FUNCTION stage_events_refuse()",
        "CREATE TRIGGER stage_events_no_truncate BEFORE TRUNCATE ON stage_events "
        "FOR EACH STATEMENT EXECUTE FUNCTION stage_events_refuse()",
    ),
}


@event.listens_for(Base.metadata, "after_create")
def _create_triggers(_target: sa.MetaData, connection: sa.Connection, **_: Any) -> None:
    """Make the triggers after the tables, which are made all at once."""
    for statement in STAGE_EVENT_TRIGGERS[connection.dialect.name]:
        connection.exec_driver_sql(statement)


# -- the schema: A/B testing -------------------------------------------------------------------------


class ABExperimentRow(Base):
    """One A/B test: its design, its state, and what was decided.

    A namespace shares its users out: the test owns the hash range from `namespace_start`, `namespace_share` wide.
    """

    __tablename__ = "ab_experiments"
    __table_args__ = (
        CheckConstraint("status IN ('running', 'paused', 'concluded', 'archived')", name="status"),
        Index("ix_ab_experiments_namespace", "namespace"),
        Index("ix_ab_experiments_baseline_version", "baseline_version_id"),
        Index("ix_ab_experiments_treatment_version", "treatment_version_id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[Id]
    uid: Mapped[Uid]
    name: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    config: Mapped[dict[str, Any]]
    salt: Mapped[str]
    phase: Mapped[int]
    baseline_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))
    treatment_version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id"))
    namespace: Mapped[str | None]
    namespace_start: Mapped[float]
    namespace_share: Mapped[float]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    archived_at: Mapped[datetime | None]
    decision: Mapped[str | None]
    decision_reason: Mapped[str | None]
    decided_by: Mapped[str | None]
    evidence: Mapped[dict[str, Any] | None]


class ABPhaseRow(Base):
    """One period of constant split and coverage; comparisons are made within it.

    `by_rule`: every subject assigned in it got what the rule says, and nobody claimed a second variant; false when an
    assignment made elsewhere differed, or an event claimed another variant than the stored one.
    """

    __tablename__ = "ab_phases"
    __table_args__ = ({"sqlite_with_rowid": False},)

    experiment_id: Mapped[int] = mapped_column(ForeignKey("ab_experiments.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    shares: Mapped[dict[str, Any]]
    coverage: Mapped[float]
    started_at: Mapped[datetime]
    reason: Mapped[str | None]
    by_rule: Mapped[bool] = mapped_column(server_default=sa.false())


class ABAssignmentRow(Base):
    """The first variant a subject was given; it never changes. `conflicts` counts events that claimed another one."""

    __tablename__ = "ab_assignments"
    __table_args__ = ({"sqlite_with_rowid": False},)

    experiment_id: Mapped[int] = mapped_column(ForeignKey("ab_experiments.id", ondelete="CASCADE"), primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[int]
    phase: Mapped[int]
    assigned_at: Mapped[datetime]
    conflicts: Mapped[int]


class ABEventRow(Base):
    """One recorded event. Append-only; an `event_id` is stored once per test."""

    __tablename__ = "ab_events"
    __table_args__ = (
        partial_index("uq_ab_events_event_id", "experiment_id", "event_id", unique=True, where="event_id IS NOT NULL"),
    )

    id: Mapped[Id]
    experiment_id: Mapped[int] = mapped_column(ForeignKey("ab_experiments.id", ondelete="CASCADE"))
    metric: Mapped[int]
    subject: Mapped[str]
    value: Mapped[float]
    denominator: Mapped[float]
    at: Mapped[datetime]
    event_id: Mapped[str | None]


class ABSubjectRow(Base):
    """What all events of a subject come to, per metric; what analyses read. Written with every event."""

    __tablename__ = "ab_subjects"
    __table_args__ = ({"sqlite_with_rowid": False},)

    experiment_id: Mapped[int] = mapped_column(ForeignKey("ab_experiments.id", ondelete="CASCADE"), primary_key=True)
    metric: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    variant: Mapped[int]
    phase: Mapped[int]
    n_events: Mapped[int]
    total: Mapped[float]
    denominator: Mapped[float]
    value: Mapped[float]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class ABAttributeRow(Base):
    """What is known of a subject from before the test: a covariate (number) or a segment (text)."""

    __tablename__ = "ab_attributes"
    __table_args__ = ({"sqlite_with_rowid": False},)

    experiment_id: Mapped[int] = mapped_column(ForeignKey("ab_experiments.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[float | None]
    label: Mapped[str | None]


class ABLookRow(Base):
    """One look at the results of the main metric. Append-only: what was seen cannot be unseen."""

    __tablename__ = "ab_looks"
    __table_args__ = ({"sqlite_with_rowid": False},)

    experiment_id: Mapped[int] = mapped_column(ForeignKey("ab_experiments.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    variant: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    n_baseline: Mapped[int]
    n_treatment: Mapped[int]
    fraction: Mapped[float | None]
    effect: Mapped[float]
    standard_error: Mapped[float]
    z: Mapped[float]
    p_value: Mapped[float]
    boundary: Mapped[float | None]
    is_final: Mapped[bool]
    ci_lower: Mapped[float | None]
    ci_upper: Mapped[float | None]
    outcome: Mapped[str]


# -- the schema: model monitoring --------------------------------------------------------------------


class MonitoredModelRow(Base):
    """One model version whose production life is watched; it need not be registered."""

    __tablename__ = "monitored_models"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[Id]
    name: Mapped[str]
    version: Mapped[str]
    version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id", ondelete="SET NULL"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class PerformanceSeriesRow(Base):
    """One metric of a monitored version, in one segment ('' is all of it)."""

    __tablename__ = "performance_series"
    __table_args__ = (UniqueConstraint("monitored_id", "metric", "segment"),)

    id: Mapped[Id]
    monitored_id: Mapped[int] = mapped_column(ForeignKey("monitored_models.id", ondelete="CASCADE"))
    metric: Mapped[str]
    segment: Mapped[str]


class PerformancePointRow(Base):
    """One logged value. Clustered by time; `event_id` makes a repeated log call a no-op."""

    __tablename__ = "performance_points"
    __table_args__ = (
        partial_index(
            "uq_performance_points_event", "series_id", "event_id", unique=True, where="event_id IS NOT NULL"
        ),
        {"sqlite_with_rowid": False},
    )

    series_id: Mapped[int] = mapped_column(ForeignKey("performance_series.id", ondelete="CASCADE"), primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    tie: Mapped[int] = mapped_column(primary_key=True)  # random: tells apart points of one instant
    value: Mapped[float]
    prediction_count: Mapped[int | None]
    event_id: Mapped[str | None]


class PerformanceBaselineRow(Base):
    """What a series did while it was in control; the newest row of a series holds, the older ones are its history."""

    __tablename__ = "performance_baselines"

    id: Mapped[Id]
    series_id: Mapped[int] = mapped_column(ForeignKey("performance_series.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    start_at: Mapped[datetime]
    end_at: Mapped[datetime]
    n: Mapped[int]
    center: Mapped[float]
    sigma: Mapped[float]
    sigma_z: Mapped[float | None]
    method: Mapped[str]
    source: Mapped[str]
    autocorrelation: Mapped[float | None]


class FeatureReferenceRow(Base):
    """A reference sample of a monitored version; the newest holds, older ones keep their batches."""

    __tablename__ = "feature_references"

    id: Mapped[Id]
    uid: Mapped[Uid]
    monitored_id: Mapped[int] = mapped_column(ForeignKey("monitored_models.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime]
    n_rows: Mapped[int]
    label: Mapped[str]
    model: Mapped[bytes | None] = mapped_column(sa.LargeBinary)  # multivariate baseline, without code in it


class FeatureProfileRow(Base):
    """One feature of a reference: edges, counts and moments in about 2 KB, no rows."""

    __tablename__ = "feature_profiles"
    __table_args__ = (UniqueConstraint("reference_id", "feature"),)

    id: Mapped[Id]
    reference_id: Mapped[int] = mapped_column(ForeignKey("feature_references.id", ondelete="CASCADE"))
    feature: Mapped[str]
    importance: Mapped[float | None]
    data: Mapped[bytes] = mapped_column(sa.LargeBinary)


class FeatureBatchRow(Base):
    """One batch of rows that was counted on a reference's edges."""

    __tablename__ = "feature_batches"
    __table_args__ = (
        Index("ix_feature_batches_reference_at", "reference_id", "at"),
        UniqueConstraint("reference_id", "event_id"),
    )

    id: Mapped[Id]
    reference_id: Mapped[int] = mapped_column(ForeignKey("feature_references.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    n_rows: Mapped[int]
    event_id: Mapped[str | None]
    changes: Mapped[dict[str, Any]]  # columns that are new or of another type: {feature: family}


class FeatureCountsRow(Base):
    """One feature of one batch."""

    __tablename__ = "feature_counts"
    __table_args__ = ({"sqlite_with_rowid": False},)

    batch_id: Mapped[int] = mapped_column(ForeignKey("feature_batches.id", ondelete="CASCADE"), primary_key=True)
    profile_id: Mapped[int] = mapped_column(
        ForeignKey("feature_profiles.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    data: Mapped[bytes] = mapped_column(sa.LargeBinary)


class PredictionRow(Base):
    """One prediction in production; its label may arrive much later."""

    __tablename__ = "predictions"
    __table_args__ = (
        UniqueConstraint("monitored_id", "prediction_id"),
        Index("ix_predictions_monitored_at", "monitored_id", "at"),
    )

    id: Mapped[Id]
    monitored_id: Mapped[int] = mapped_column(ForeignKey("monitored_models.id", ondelete="CASCADE"))
    prediction_id: Mapped[str]
    at: Mapped[datetime]
    prediction: Mapped[str]  # a class as text, or a number as its shortest exact text
    probability: Mapped[float | None]  # of the predicted class
    label: Mapped[str | None]
    labelled_at: Mapped[datetime | None]


class PendingLabelRow(Base):
    """A label whose prediction has not been logged yet."""

    __tablename__ = "pending_labels"
    __table_args__ = ({"sqlite_with_rowid": False},)

    monitored_id: Mapped[int] = mapped_column(ForeignKey("monitored_models.id", ondelete="CASCADE"), primary_key=True)
    prediction_id: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str]
    at: Mapped[datetime]


class AlertRuleRow(Base):
    """A condition under which a monitored version raises an alert."""

    __tablename__ = "alert_rules"

    id: Mapped[Id]
    uid: Mapped[Uid]
    monitored_id: Mapped[int] = mapped_column(ForeignKey("monitored_models.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    subject: Mapped[str]  # metric or feature; '' is the whole version
    segment: Mapped[str]
    severity: Mapped[str]
    options: Mapped[dict[str, Any]]
    cooldown_seconds: Mapped[float]
    enabled: Mapped[bool]
    created_at: Mapped[datetime]


class AlertRow(Base):
    """An episode of a rule: from the first bad point until three good ones in a row."""

    __tablename__ = "alerts"
    __table_args__ = (
        partial_index("uq_alerts_open", "fingerprint", unique=True, where="resolved_at IS NULL"),
        Index("ix_alerts_monitored_last", "monitored_id", "last_at"),
    )

    id: Mapped[Id]
    uid: Mapped[Uid]
    monitored_id: Mapped[int] = mapped_column(ForeignKey("monitored_models.id", ondelete="CASCADE"))
    rule_id: Mapped[int | None] = mapped_column(ForeignKey("alert_rules.id", ondelete="SET NULL"), index=True)
    fingerprint: Mapped[str]
    kind: Mapped[str]
    subject: Mapped[str]
    severity: Mapped[str]
    message: Mapped[str]
    opened_at: Mapped[datetime]
    last_at: Mapped[datetime]
    evidence_at: Mapped[datetime | None]  # time of the newest data that was judged
    occurrences: Mapped[int]
    good_streak: Mapped[int]
    notified_at: Mapped[datetime | None]
    silenced_until: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    resolved_at: Mapped[datetime | None]


class AlertSinkRow(Base):
    """A place to which alerts are sent."""

    __tablename__ = "alert_sinks"

    id: Mapped[Id]
    uid: Mapped[Uid]
    name: Mapped[str] = mapped_column(unique=True)
    url: Mapped[str]
    trusted: Mapped[bool]  # set by an operator in code; otherwise only public addresses are called
    enabled: Mapped[bool]
    created_at: Mapped[datetime]


class AlertDeliveryRow(Base):
    """One message to one sink, kept until it was accepted or given up."""

    __tablename__ = "alert_deliveries"
    __table_args__ = (Index("ix_alert_deliveries_next", "status", "next_at"),)

    id: Mapped[Id]
    sink_id: Mapped[int] = mapped_column(ForeignKey("alert_sinks.id", ondelete="CASCADE"), index=True)
    alert_id: Mapped[int | None] = mapped_column(ForeignKey("alerts.id", ondelete="CASCADE"), index=True)
    title: Mapped[str]
    body: Mapped[str]
    status: Mapped[str]  # "pending", "sent" or "failed"
    attempts: Mapped[int]
    created_at: Mapped[datetime]
    next_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    error: Mapped[str | None]


# -- the database ------------------------------------------------------------------------------------


class Database(Store):
    """One store: the engine, its transactions, and where its artifacts are.

    Parameters
    ----------
    url : str, path or None
        A SQLAlchemy URL (``sqlite:///file.db``, ``postgresql://user@host/name``) or the path of a SQLite file.
        None is the environment variable ``MODELDESK_DATABASE_URL`` or, without it, ``~/.modeldesk/modeldesk.db``.
    artifact_url : str or None
        Where files are kept: a folder or an fsspec URL (``s3://bucket/prefix``). None is ``MODELDESK_ARTIFACT_URL``
        or, without it, the folder ``artifacts`` beside the SQLite file (for PostgreSQL, in ``~/.modeldesk``).
    journal_mode : {"WAL", "DELETE"} or None
        SQLite only. None is ``MODELDESK_JOURNAL_MODE`` or "WAL". "DELETE" is slower, works on network file
        systems, and avoids a rare corruption of WAL databases by SQLite versions before 3.51.3.

    Raises
    ------
    ValueError
        If the URL cannot be parsed, names another kind of database, or carries driver options.
    StorageError
        If the store cannot be opened, is damaged, or was written by a newer version.

    Attributes
    ----------
    url : str
        The URL, with any password hidden.
    dialect : {"sqlite", "postgresql"}
    artifact_url : str
    path : Path or None
        The SQLite file, if it is one.
    """

    revisions = REVISIONS

    @property
    def metadata(self) -> sa.MetaData:
        """All tables."""
        return map_tables()
