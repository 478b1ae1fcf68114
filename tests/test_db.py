"""The database: transactions that lose nothing, types that come back, and stores that open or say why not."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import columns
import db
import engine
from db import Database, ModelDeskError, StateError, StorageError

ROOT = Path(__file__).parent.parent


class TypesBase(DeclarativeBase):
    """Tables of the tests have metadata of their own, so that no store gets them."""

    type_annotation_map = {datetime: columns.UtcDateTime}  # noqa: RUF012 - SQLAlchemy's own protocol


class SampleRow(TypesBase):
    __tablename__ = "samples"
    id: Mapped[columns.Id]
    at: Mapped[datetime | None]
    data: Mapped[dict | None] = mapped_column(columns.Json)
    value: Mapped[float] = mapped_column(columns.Real, nullable=True)


@pytest.fixture
def samples(database):
    with database.write() as session:
        TypesBase.metadata.create_all(session.connection())
    return database


# -- types -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf, math.nan])
def test_every_float_comes_back(samples, value):
    with samples.write() as session:
        session.add(SampleRow(id=1, value=value))
    with samples.read() as session:
        found = session.scalars(sa.select(SampleRow.value)).one()
    assert found == value or (math.isnan(found) and math.isnan(value))


def test_nan_is_never_a_maximum_or_a_minimum(samples):
    with samples.write() as session:
        session.add_all(SampleRow(value=value) for value in (1.0, math.nan, 2.0))
    with samples.read() as session:
        assert session.execute(sa.select(sa.func.max(SampleRow.value), sa.func.min(SampleRow.value))).one() == (
            2.0,
            1.0,
        )


def test_instants_and_json_come_back_exactly(samples):
    at = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    data = {"lr": math.inf, "n": 2**70, "t": "é\n", "list": [None, True, 1.5]}
    with samples.write() as session:
        session.add(SampleRow(id=1, at=at, data=data, value=1.0))
    with samples.read() as session:
        row = session.get(SampleRow, 1)
        assert (row.at, row.data) == (at, data)
        assert session.scalars(sa.select(SampleRow.id).where(SampleRow.at == at)).one() == 1


# -- transactions ------------------------------------------------------------------------------------


def blob_count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(sa.select(sa.func.count()).select_from(db.BlobRow))


def test_a_write_that_raises_leaves_nothing(database):
    with pytest.raises(RuntimeError, match="on purpose"), database.write() as session:
        session.add(db.BlobRow(sha256="a", size_bytes=1))
        session.flush()
        raise RuntimeError("on purpose")
    with pytest.raises(RuntimeError, match="on purpose"), database.driver() as cursor:
        cursor.execute(database.sql("INSERT INTO blobs VALUES (?, ?, ?)"), ("b", 1, 0))
        raise RuntimeError("on purpose")
    assert blob_count(database) == 0


def test_the_driver_path_and_the_session_see_the_same_rows(database):
    with database.driver() as cursor:
        cursor.execute(database.sql("INSERT INTO blobs VALUES (?, ?, ?)"), ("100%?", 1, 0))
    with database.read() as session:
        assert session.get(db.BlobRow, "100%?").created_at == datetime(1970, 1, 1, tzinfo=UTC)


def test_a_reader_cannot_write(database):
    with pytest.raises((StorageError, sa.exc.DBAPIError), match="read.?only"), database.read() as session:
        session.execute(sa.insert(db.BlobRow).values(sha256="a", size_bytes=1))
    with database.write() as session:
        session.add(db.BlobRow(sha256="a", size_bytes=1))
    assert blob_count(database) == 1


def test_a_reader_sees_one_snapshot_and_does_not_stop_writers(database):
    with database.read() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(db.BlobRow)) == 0
        with database.write() as other:
            other.add(db.BlobRow(sha256="a", size_bytes=1))
        assert session.scalar(sa.select(sa.func.count()).select_from(db.BlobRow)) == 0
    assert blob_count(database) == 1


def test_the_durability_asked_for_is_the_one_in_force(sqlite_database):
    def synchronous(**options: bool) -> int:
        with sqlite_database.write(**options) as session:
            return session.connection().exec_driver_sql("PRAGMA synchronous").scalar()

    assert [synchronous(), synchronous(durable=False), synchronous(durable=True)] == [2, 1, 2]
    with sqlite_database.driver(durable=True) as cursor:
        assert cursor.execute("PRAGMA synchronous").fetchone() == (2,)
    with sqlite_database.driver() as cursor:
        assert cursor.execute("PRAGMA synchronous").fetchone() == (1,)


def test_the_driver_path_writes_on_a_connection_that_was_last_used_for_reading(sqlite_database):
    assert blob_count(sqlite_database) == 0
    with sqlite_database.driver() as cursor:
        cursor.execute("INSERT INTO blobs VALUES ('a', 1, 0)")
    assert blob_count(sqlite_database) == 1


def test_foreign_keys_are_enforced_in_every_mode(sqlite_database):
    with sqlite_database.write() as session:
        assert session.connection().exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    with sqlite_database.driver() as cursor:
        assert cursor.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_transact_repeats_what_postgresql_gave_up(postgres_url):
    database = Database(postgres_url)
    attempts = []

    def conflict_once(session):
        attempts.append(1)
        if len(attempts) == 1:
            session.execute(sa.text("DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$"))
        session.add(db.BlobRow(sha256="a", size_bytes=1))

    database.transact(conflict_once)
    assert len(attempts) == 2
    assert blob_count(database) == 1
    database.close()


def test_a_write_changes_the_token_and_a_read_does_not(database):
    before = database.change_token()
    assert blob_count(database) == 0
    if database.dialect == "sqlite":  # other tests write to the same PostgreSQL server
        assert database.change_token() == before
    with database.write() as session:
        session.add(db.BlobRow(sha256="a", size_bytes=1))
    assert database.change_token() != before


# -- many processes ----------------------------------------------------------------------------------

_INCREMENT = """
    import sys
    from db import Database
    database = Database(sys.argv[1], artifact_url="memory://")
    for _ in range(int(sys.argv[2])):
        with database.write(durable=False) as session:
            connection = session.connection()
            lock = " FOR UPDATE" if database.dialect == "postgresql" else ""
            select = "SELECT size_bytes FROM blobs WHERE sha256 = 'counter'"
            value = connection.exec_driver_sql(select + lock).scalar_one()
            connection.exec_driver_sql(f"UPDATE blobs SET size_bytes = {value + 1} WHERE sha256 = 'counter'")
"""
_OPEN = """
    import sys, time
    from db import Database
    time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
    Database(sys.argv[1], artifact_url="memory://").close()
"""


def run_processes(script: str, count: int, *arguments: str) -> None:
    """Run a script in several processes at once; each must end without an error."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), *arguments],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    errors = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * count, "\n".join(filter(None, errors))[-3000:]


def count_up(url: str, processes: int, times: int) -> int:
    database = Database(url, artifact_url="memory://")
    with database.write() as session:
        session.add(db.BlobRow(sha256="counter", size_bytes=0))
    database.close()
    run_processes(_INCREMENT, processes, url, str(times))
    with database.read() as session:
        found = session.get(db.BlobRow, "counter").size_bytes
    database.close()
    return found


def test_processes_lose_no_read_modify_write(sqlite_url):
    assert count_up(sqlite_url, 3, 100) == 300


@pytest.mark.slow
def test_eight_processes_of_a_thousand_transactions_lose_none(sqlite_url):
    assert count_up(sqlite_url, 8, 1000) == 8000


@pytest.mark.slow
def test_eight_processes_of_a_thousand_transactions_lose_none_on_postgresql(postgres_url):
    assert count_up(postgres_url, 8, 1000) == 8000


def open_empty_at_once(url: str, processes: int) -> None:
    run_processes(_OPEN, processes, url, str(time.time() + 0.5 * processes))
    database = Database(url, artifact_url="memory://")
    assert database.describe()["revision"] == db.REVISIONS[-1]
    database.close()


@pytest.mark.slow
def test_forty_processes_open_an_empty_store_at_once(tmp_path):
    open_empty_at_once(f"sqlite:///{tmp_path / 'modeldesk.db'}", 40)


@pytest.mark.slow
def test_forty_processes_open_an_empty_postgresql_store_at_once(empty_postgres_url):
    open_empty_at_once(empty_postgres_url, 40)


def _write_in_child(database: Database) -> None:
    with database.write() as session:
        session.add(db.BlobRow(sha256="child", size_bytes=1))
    with database.driver() as cursor:
        cursor.execute(database.sql("INSERT INTO blobs VALUES (?, ?, ?)"), ("child driver", 1, 0))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_uses_connections_of_its_own(database):
    with database.driver() as cursor:  # the parent holds an open connection
        cursor.execute(database.sql("INSERT INTO blobs VALUES (?, ?, ?)"), ("parent", 1, 0))
    child = multiprocessing.get_context("fork").Process(target=_write_in_child, args=(database,))
    child.start()
    child.join()
    assert child.exitcode == 0
    with database.driver() as cursor:
        cursor.execute(database.sql("INSERT INTO blobs VALUES (?, ?, ?)"), ("parent again", 1, 0))
    assert blob_count(database) == 4


def test_what_was_acknowledged_survives_a_kill(sqlite_url):
    script = """
        import sys
        from db import Database
        database = Database(sys.argv[1], artifact_url="memory://")
        for number in range(100_000):
            with database.driver() as cursor:
                cursor.execute("INSERT INTO blobs VALUES (?, 1, 0)", (str(number),))
            print(number, flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), sqlite_url], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    acknowledged = -1
    for line in process.stdout:
        acknowledged = int(line)
        if acknowledged == 200:
            process.kill()
    process.wait()
    database = Database(sqlite_url)
    with database.read() as session:
        stored = set(session.scalars(sa.select(db.BlobRow.sha256)))
    assert {str(number) for number in range(acknowledged + 1)} <= stored
    assert database.check_integrity() == []
    database.close()


# -- opening -----------------------------------------------------------------------------------------


def test_the_default_store_is_in_the_home_folder(own_home):
    database = Database()
    assert database.path == own_home / ".modeldesk" / "modeldesk.db"
    assert database.artifact_url == str(own_home / ".modeldesk" / "artifacts")
    assert database.path.stat().st_mode & 0o077 == 0
    database.close()


def test_the_environment_moves_the_default_store(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELDESK_DATABASE_URL", f"sqlite:///{tmp_path}/elsewhere/x.db")
    monkeypatch.setenv("MODELDESK_ARTIFACT_URL", "memory://elsewhere")
    database = Database.open()
    assert database.path == tmp_path / "elsewhere" / "x.db"
    assert database.artifact_url == "memory://elsewhere"
    assert Database.open() is database
    assert Database.open(database) is database
    database.close()


def test_a_plain_path_is_a_sqlite_file(tmp_path):
    database = Database(tmp_path / "x.db")
    assert database.path == tmp_path / "x.db"
    assert Database.open(str(tmp_path / "x.db")).path == database.path
    database.close()


def test_an_in_memory_store_works_from_several_threads():
    database = Database("sqlite:///:memory:")

    def add(number: int) -> None:
        with database.write() as session:
            session.add(db.BlobRow(sha256=str(number), size_bytes=1))

    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(40)))
    assert blob_count(database) == 40


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user@host/name",
        "sqlite:///x.db?uri=true&vfs=unix-none",
        "sqlite:///file:x.db?mode=ro",
        "sqlite+aiosqlite:///x.db",
        "nonsense://",
        "://",
    ],
)
def test_a_url_that_is_not_understood_is_refused(url):
    with pytest.raises(ValueError, match="database|URL"):
        Database(url)


def test_a_password_is_shown_nowhere():
    with pytest.raises(StorageError) as caught:
        Database("postgresql://u:s3cret@127.0.0.1:1/x")
    assert "s3cret" not in str(caught.value)
    assert "***" in str(caught.value)
    with pytest.raises(ValueError, match="cannot use") as refused:
        Database("oracle://u:s3cret@h/x")
    assert "s3cret" not in str(refused.value)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_newer_store_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "x.db"
    database = Database(path)
    with database.write() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.vacuum()
    database.close()
    before = digest(path)
    with pytest.raises(StorageError, match="newer version wrote it"):
        Database(path)
    assert digest(path) == before


def test_a_foreign_database_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    connection.close()
    before = digest(path)
    with pytest.raises(StorageError, match="tables that ModelDesk did not make"):
        Database(path)
    assert digest(path) == before


def test_a_file_that_is_no_database_is_refused_and_not_touched(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database at all" * 500)
    before = digest(path)
    with pytest.raises(StorageError, match="not a SQLite database"):
        Database(path)
    assert digest(path) == before


def test_a_damaged_database_is_named(tmp_path):
    path = tmp_path / "x.db"
    database = Database(path)
    database.vacuum()
    database.close()
    content = bytearray(path.read_bytes())
    content[0:100] = b"\x01" * 100
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"x\.db.*damaged"):
        Database(path)


def test_a_place_that_cannot_hold_a_database_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot be made"):
        Database(tmp_path / "file" / "x.db")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="is a folder"):
        Database(tmp_path / "folder")


def test_the_whole_error_tree_has_one_base_and_the_builtin_people_catch():
    for name, builtin in {
        "NotFoundError": LookupError,
        "DuplicateError": ValueError,
        "StateError": RuntimeError,
        "ArtifactError": OSError,
        "StorageError": OSError,
    }.items():
        error = getattr(db, name)
        assert issubclass(error, ModelDeskError)
        assert issubclass(error, builtin)


# -- care --------------------------------------------------------------------------------------------


def test_a_backup_is_a_whole_store_and_overwrites_nothing(sqlite_database, tmp_path):
    with sqlite_database.write() as session:
        session.add(db.BlobRow(sha256="a", size_bytes=1))
    copy = sqlite_database.backup(tmp_path / "copy.db")
    restored = Database(copy)
    assert blob_count(restored) == 1
    restored.close()
    with pytest.raises(FileExistsError, match="exists"):
        sqlite_database.backup(copy)


def test_postgresql_is_backed_up_by_its_own_tool(postgres_url, tmp_path):
    database = Database(postgres_url)
    with pytest.raises(StateError, match="pg_dump"):
        database.backup(tmp_path / "x")
    database.close()


def test_deleted_rows_give_their_space_back(sqlite_database):
    with sqlite_database.write() as session:
        session.add_all(db.BlobRow(sha256=f"{n:0500d}", size_bytes=n) for n in range(2000))
    with sqlite_database.write() as session:
        session.execute(sa.delete(db.BlobRow))
    assert sqlite_database.vacuum() > 500_000


def test_damage_inside_the_file_is_found(sqlite_database):
    assert sqlite_database.check_integrity() == []
    with sqlite3.connect(sqlite_database.path) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("CREATE TABLE child (id INTEGER, parent TEXT REFERENCES blobs(sha256))")
        connection.execute("INSERT INTO child VALUES (1, 'missing')")
    connection.close()
    assert sqlite_database.check_integrity() == ["row 1 of child names a missing row of blobs"]


def test_delete_mode_is_a_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELDESK_JOURNAL_MODE", "delete")
    database = Database(tmp_path / "x.db")
    with database.read() as session:
        assert session.connection().exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
    database.close()
    with pytest.raises(ValueError, match="journal_mode"):
        Database(tmp_path / "y.db", journal_mode="OFF")


def test_an_sqlite_that_may_damage_a_wal_database_is_told_of_once_a_store(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    Database(tmp_path / "a.db")
    assert [record.levelname for record in caplog.records if "MODELDESK_JOURNAL_MODE" in record.message] == ["WARNING"]
    caplog.clear()
    Database(tmp_path / "a.db")
    Database(tmp_path / "b.db", journal_mode="DELETE")
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    Database(tmp_path / "c.db")
    assert caplog.records == []


def test_a_network_file_system_is_warned_of(tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(engine, "_file_system_of", lambda folder: "nfs4")
    with pytest.warns(UserWarning, match=r"a\.db is on a network file system \(nfs4\)"):
        Database(tmp_path / "a.db")
    monkeypatch.setattr(engine, "_file_system_of", lambda folder: "ext4")
    recwarn.clear()
    Database(tmp_path / "b.db")
    assert not recwarn.list


def test_importing_the_schema_loads_no_driver():
    code = "import db, sys; print(sorted({'sqlite3', 'psycopg', 'alembic'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_describe_names_the_store(database):
    facts = database.describe()
    assert facts["revision"] == db.REVISIONS[-1]
    assert facts["size_bytes"] > 0
    assert facts["server"].startswith("SQLite" if database.dialect == "sqlite" else "PostgreSQL 1")
    assert os.path.basename(str(facts["artifact_url"])) == "artifacts"
