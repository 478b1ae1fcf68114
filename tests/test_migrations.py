"""Upgrading a store: every revision that was ever current, with rows in it, becomes the newest and keeps every row."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import columns
import db
import migrations
from db import Database, StorageError
from experiment_tracking import ExperimentTracking
from migrations import configuration, upgrade

ROOT = Path(__file__).parent.parent


def plain_engine(url: str) -> sa.Engine:
    """An engine without `Database`, which would upgrade the store at once."""
    engine = sa.create_engine(sa.make_url(url).set(drivername="sqlite" if "sqlite" in url else "postgresql+psycopg"))
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine, "connect")
        def check_references(connection, _record):
            connection.execute("PRAGMA foreign_keys=ON")

    return engine


def make_store(url: str, revision: str) -> sa.Engine:
    """Create a store as the revisions up to one leave it."""
    engine = plain_engine(url)
    with engine.begin() as connection:
        upgrade(connection, revision)
    return engine


def fill(engine: sa.Engine) -> dict[str, int]:
    """Put rows into every table, in an order that respects the references; return the count by table."""
    metadata = sa.MetaData()
    metadata.reflect(engine)
    counts = {}
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            if table.name == "alembic_version":
                continue
            for number in (1, 2):
                connection.execute(table.insert().values(sample_row(table, number)))
            counts[table.name] = 2
    return counts


ALLOWED = {  # columns with a CHECK
    ("runs", "status"): "finished",
    ("ab_experiments", "status"): "running",
    ("model_versions", "stage"): "Staging",
}


def sample_row(table: sa.Table, number: int) -> dict[str, object]:
    row: dict[str, object] = {}
    primary = list(table.primary_key.columns)
    for column in table.columns:
        own_reference = any(key.column.table is table for key in column.foreign_keys)
        if own_reference and column.nullable:
            continue
        if column.foreign_keys:
            target = next(iter(column.foreign_keys)).column
            row[column.name] = number if isinstance(target.type, sa.Integer) else f"text {number}"
        elif isinstance(column.type, sa.Integer | sa.BigInteger):
            row[column.name] = number
        elif isinstance(column.type, sa.Double | sa.Float | sa.Numeric | sa.REAL):
            row[column.name] = float(number)
        elif isinstance(column.type, sa.Boolean):
            row[column.name] = False
        elif isinstance(column.type, sa.LargeBinary):
            row[column.name] = b"x"
        else:
            row[column.name] = ALLOWED.get((table.name, column.name), f"text {number}")
        assert row[column.name] is not None or column not in primary
    return row


def rows_of(database: Database, table: str) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(sa.table(table)))


@pytest.mark.parametrize("revision", db.REVISIONS)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_store_of_every_revision_is_upgraded_and_keeps_every_row(revision, kind, tmp_path, request):
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else request.getfixturevalue("empty_postgres_url")
    engine = make_store(url, revision)
    counts = fill(engine)
    engine.dispose()
    database = Database(url, artifact_url=str(tmp_path / "artifacts"))
    assert database.describe()["revision"] == db.REVISIONS[-1]
    assert {table: rows_of(database, table) for table in counts} == counts
    assert database.check_integrity() == []
    database.close()
    backups = list(tmp_path.glob("old.db.*.backup"))
    if kind == "sqlite" and revision != db.REVISIONS[-1]:
        with sqlite3.connect(backups[0]) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (revision,)
            assert connection.execute("SELECT count(*) FROM blobs").fetchone() == (2,)
    else:
        assert backups == []


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_conflicts_counted_before_they_were_departures_are_still_seen(kind, tmp_path, request):
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else request.getfixturevalue("empty_postgres_url")
    engine = make_store(url, "0003")
    fill(engine)  # two tests, each with a phase and a subject
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE ab_phases SET by_rule = true"))
        connection.execute(sa.text("UPDATE ab_assignments SET conflicts = 0 WHERE experiment_id = 2"))
    engine.dispose()
    database = Database(url, artifact_url=str(tmp_path / "artifacts"))
    with database.read() as session:
        found = session.execute(sa.text("SELECT experiment_id, by_rule FROM ab_phases ORDER BY 1")).all()
    assert [(number, bool(by_rule)) for number, by_rule in found] == [(1, False), (2, True)]
    database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_revisions_lead_to_the_very_schema_that_an_empty_store_gets(kind, tmp_path, request):
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else request.getfixturevalue("empty_postgres_url")
    upgraded = make_store(url, db.REVISIONS[-1])
    with upgraded.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), columns.map_tables()) == []
    fresh_url = f"sqlite:///{tmp_path}/new.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    fresh = Database(fresh_url)
    assert objects_of(upgraded) == objects_of(fresh.engine)
    upgraded.dispose()
    fresh.close()


def objects_of(engine: sa.Engine) -> set[tuple[str, ...]]:
    """What autogeneration does not compare: triggers, index definitions, checks."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE type IN ('index', 'trigger')"
            ).fetchall()
            tables = connection.exec_driver_sql("SELECT name, wr, strict FROM pragma_table_list").fetchall()
        objects = {(kind, name, re.sub(r"[\s\"]+", " ", text)) for kind, name, text in rows}
        return objects | {(name, f"without rowid: {wr}, strict: {strict}") for name, wr, strict in tables}
    with engine.connect() as connection:
        indexes = connection.exec_driver_sql("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
        triggers = connection.exec_driver_sql(
            "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"
        )
        checks = connection.exec_driver_sql(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype IN ('c', 'f', 'u', 'p')"
        )
        return {tuple(row) for result in (indexes, triggers, checks) for row in result}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_histories_stored_before_there_were_blocks_are_read_as_if_they_had_always_had_them(kind, tmp_path, request):
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else request.getfixturevalue("empty_postgres_url")
    engine = make_store(url, "0001")
    n_points, uid = 30_000, "a" * 32
    values = [float(step * 7_919 % 10_007) for step in range(n_points)]
    points = [{"run_id": 1, "key_id": 1, "step": step, "at": step, "value": value} for step, value in enumerate(values)]
    metadata = sa.MetaData()
    metadata.reflect(engine)
    assert "metric_blocks" not in metadata.tables
    with engine.begin() as connection:
        for name, changes in (
            ("tracking_experiments", {"deleted_at": None}),
            ("runs", {"uid": uid, "deleted_at": None, "archived_at": None}),
            ("run_keys", {"name": "loss"}),
            ("metric_summaries", {"n_points": n_points, "last_step": n_points - 1, "last_value": values[-1]}),
        ):
            if name == "runs":
                environment = sample_row(metadata.tables["run_environments"], 1) | {"data": "{}"}
                connection.execute(metadata.tables["run_environments"].insert().values(environment))
            connection.execute(metadata.tables[name].insert().values(sample_row(metadata.tables[name], 1) | changes))
        connection.execute(metadata.tables["metric_points"].insert(), points)
    engine.dispose()

    database = Database(url, artifact_url=str(tmp_path / "artifacts"))
    tracking = ExperimentTracking(database, capture_environment=False)
    assert database.describe()["revision"] == db.REVISIONS[-1]
    assert tracking.metric_history(uid, "loss")["value"].tolist() == values
    assert rows_of(database, "metric_blocks") == 0, "the upgrade itself is short"
    sampled = tracking.metric_history(uid, "loss", max_points=100)
    assert rows_of(database, "metric_blocks") == n_points // 128
    fresh = ExperimentTracking(tmp_path / "fresh.db", capture_environment=False)
    run_id = fresh.start_run("e", "r")
    fresh.log_metrics(run_id, {"loss": values})
    expected = fresh.metric_history(run_id, "loss", max_points=100)
    assert sampled[["step", "value"]].values.tolist() == expected[["step", "value"]].values.tolist()
    tracking.log_metrics(uid, {"loss": -1.0})
    assert tracking.metric_history(uid, "loss", max_points=100)["value"].iloc[-1] == -1.0
    assert database.check_integrity() == []
    database.close()


NEXT_REVISION = """
import sqlalchemy as sa
from alembic import op

revision = "9001"
down_revision = {last!r}
branch_labels = None
depends_on = None


def upgrade():
    with op.batch_alter_table("models", recreate="auto") as batch:
        batch.add_column(sa.Column("nickname", sa.Text(), nullable=False, server_default="none"))
        batch.alter_column("description", new_column_name="about")
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_older_store_is_backed_up_and_upgraded_when_it_is_opened(kind, tmp_path, request, monkeypatch):
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else request.getfixturevalue("empty_postgres_url")
    engine = make_store(url, db.REVISIONS[-1])
    counts = fill(engine)
    engine.dispose()
    folder = tmp_path / "migrations"
    shutil.copytree(migrations.FOLDER, folder)
    (folder / "versions" / "9001_next.py").write_text(NEXT_REVISION.format(last=db.REVISIONS[-1]), encoding="utf-8")
    monkeypatch.setattr(migrations, "FOLDER", folder)
    monkeypatch.setattr(Database, "revisions", (*db.REVISIONS, "9001"))
    for _ in ("it is upgraded", "it is current"):
        database = Database(url, artifact_url=str(tmp_path / "artifacts"))
        assert database.describe()["revision"] == "9001"
        assert {table: rows_of(database, table) for table in counts} == counts
        with database.read() as session:
            assert session.execute(sa.text("SELECT about, nickname FROM models ORDER BY id")).all() == [
                ("text 1", "none"),
                ("text 2", "none"),
            ]
        assert database.check_integrity() == []
        database.close()
    if kind == "sqlite":
        (backup,) = tmp_path.glob("old.db.*.backup")
        with sqlite3.connect(backup) as connection:
            assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (db.REVISIONS[-1],)
            assert {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in counts} == counts


def test_the_library_knows_exactly_the_revisions_that_exist():
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        scripts = ScriptDirectory.from_config(configuration(connection))
        assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == db.REVISIONS
    engine.dispose()


def test_alembic_is_not_imported_when_the_schema_is_current(tmp_path):
    script = "import sys; from db import Database; Database(sys.argv[1]).close(); print('alembic' in sys.modules)"
    for _ in ("a new store", "the same again"):
        found = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "x.db")], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert found.stdout.strip() == "False"


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "old.db"
    engine = make_store(f"sqlite:///{path}", db.REVISIONS[0])
    counts = fill(engine)
    with engine.begin() as connection:  # pretend that a later revision is missing
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'older'"))
    engine.dispose()
    monkeypatch.setattr(Database, "revisions", ("older", *db.REVISIONS))
    with pytest.raises(Exception, match="older"):
        Database(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("older",)
        for table, count in counts.items():
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_store_with_a_stage_written_by_hand_is_refused_by_name_and_stays_as_it_was(kind, tmp_path, request):
    url = f"sqlite:///{tmp_path}/old.db" if kind == "sqlite" else request.getfixturevalue("empty_postgres_url")
    engine = make_store(url, "0003")
    fill(engine)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE model_versions SET stage = 'production' WHERE id = 2"))
    with pytest.raises(StorageError, match=r"text 2 text 2 has the stage 'production'.*Set it to 'Archived'"):
        Database(url)
    with engine.begin() as connection:
        assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "0003"
        connection.execute(sa.text("UPDATE model_versions SET stage = 'Archived' WHERE id = 2"))
    Database(url).close()
    with engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT stage FROM model_versions ORDER BY id")).all() == [
            "Staging",
            "Archived",
        ]
    engine.dispose()
