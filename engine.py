"""How a store is opened, read and written: SQLite and PostgreSQL behind one pair of transactions.

`db.Database` is this with the schema. What stands here was measured: writers `BEGIN IMMEDIATE` and readers `BEGIN
DEFERRED` on one pool, because a reader that turns into a writer fails under load, and an idle writer stops everyone.

Vocabulary: a *store* is one database and the artifacts beside it; a *mode* is how a transaction begins: "read",
"normal" (survives the death of the process), "full" (survives a power cut too), "migrate" (schema changes, references
checked at the end).
"""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from errors import StateError, StorageError

__all__ = ["Store", "default_folder"]

logger = logging.getLogger("modeldesk")
T = TypeVar("T")

BUSY_TIMEOUT_SECONDS = 60  # SQLite's waiting is unfair: a queue of writers needs far longer than the mean wait
LOCK_KEY = 0x4D6F64656C4465  # "ModelDe": PostgreSQL advisory lock for creating and upgrading the schema
RETRYABLE_STATES = frozenset({"40001", "40P01"})  # PostgreSQL: serialization failure, deadlock detected
RETRY_LIMIT = 8  # attempts; the wait doubles from 10 ms
SAFE_WAL_VERSION = (3, 51, 3)  # SQLite before it may corrupt a WAL database under simultaneous checkpoints
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "glusterfs"})


def default_folder() -> Path:
    """Return the folder of the default store, `~/.modeldesk`."""
    return Path.home() / ".modeldesk"


class Store:
    """The engine of a store and its transactions, whatever its tables; `db.Database` adds the schema.

    Attributes
    ----------
    metadata : sqlalchemy.MetaData
        The tables, mapped when the first store is opened.
    revisions : tuple of str
        Every schema revision that is known, oldest first; the last is the current one.
    is_read_only : bool
        The file is on a file system that is mounted read-only: reading works, nothing can be written.
    """

    revisions: ClassVar[tuple[str, ...]]

    _opened: ClassVar[weakref.WeakValueDictionary[tuple[str, str], Store]] = weakref.WeakValueDictionary()
    _opening = threading.Lock()

    def __init__(
        self,
        url: str | os.PathLike[str] | None = None,
        *,
        artifact_url: str | None = None,
        journal_mode: str | None = None,
    ) -> None:
        parsed = _parse_url(url)
        self.dialect = parsed.get_backend_name()
        self.url = parsed.render_as_string(hide_password=True)
        self.path = Path(parsed.database) if self.dialect == "sqlite" and parsed.database else None
        self.artifact_url = _artifact_url(artifact_url, self.path, in_memory=self.dialect == "sqlite" and not self.path)
        self.journal_mode = (journal_mode or os.environ.get("MODELDESK_JOURNAL_MODE") or "WAL").upper()
        if self.journal_mode not in {"WAL", "DELETE"}:
            raise ValueError(f"journal_mode must be 'WAL' or 'DELETE', got {self.journal_mode!r}")
        self._driver_errors = _driver_errors(self.dialect)
        self._local = threading.local()
        self._gate = threading.RLock() if self.dialect == "sqlite" and self.path is None else None
        self.is_read_only = self.path is not None and _is_on_read_only_disk(self.path)
        self.engine = _create_engine(parsed, self.path, immutable=self.is_read_only)
        read_options: dict[str, Any] = {"modeldesk_mode": "read"}
        if self.dialect == "postgresql":
            read_options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._engines = {
            mode: self.engine.execution_options(modeldesk_mode=mode) for mode in ("full", "normal", "migrate")
        } | {"read": self.engine.execution_options(**read_options)}
        self._sessions = {mode: sessionmaker(engine, expire_on_commit=False) for mode, engine in self._engines.items()}
        _fork_aware.add(self)
        self._metadata = self.metadata  # a session can be asked of a table only after this
        with self._translating():
            self._prepare()

    @classmethod
    def open(cls, database: Store | str | os.PathLike[str] | None = None) -> Self:
        """Return a `Database` as it is, or the process's one `Database` for a URL or for the default store."""
        if isinstance(database, Store):
            if not isinstance(database, cls):
                raise TypeError(f"expected a {cls.__name__}, got {database!r}")
            return database
        parsed = _parse_url(database)
        if parsed.get_backend_name() == "sqlite" and not parsed.database:
            return cls("sqlite://")
        key = (parsed.render_as_string(hide_password=False), os.environ.get("MODELDESK_ARTIFACT_URL", ""))
        with cls._opening:
            found = cls._opened.get(key)
            if not isinstance(found, cls) or (found.path is not None and not found.path.exists()):
                found = cls._opened[key] = cls(key[0])
            return found

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r}, artifact_url={self.artifact_url!r})"

    @property
    def metadata(self) -> sa.MetaData:
        """The tables: what a subclass adds."""
        raise NotImplementedError

    # -- transactions --------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session on one consistent snapshot. Keep it short: an open reader lets SQLite's log grow."""
        with self._gated(), self._translating(), self._sessions["read"].begin() as session:
            yield session

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Session]:
        """Open a session in one write transaction, committed when the block ends.

        Parameters
        ----------
        durable : bool
            On SQLite, True waits for the disk (``synchronous=FULL``): what was committed survives a power cut. False
            (``NORMAL``, in WAL mode) survives the death of the process at any instruction, but a power cut may take the
            last moments. Versions, promotions and decisions use True, streams of metrics and events False.
            PostgreSQL always waits, as its server is set up.
        """
        mode = "full" if durable else "normal"
        with self._gated(), self._translating(), self._sessions[mode].begin() as session:
            yield session

    def transact(self, function: Callable[[Session], T], *, durable: bool = True) -> T:
        """Run a function in a write transaction, again if PostgreSQL gave it up to a deadlock or a conflict."""
        for attempt in range(RETRY_LIMIT):
            try:
                with self.write(durable=durable) as session:
                    return function(session)
            except DBAPIError as error:
                state = getattr(error.orig, "sqlstate", None)
                if state not in RETRYABLE_STATES or attempt == RETRY_LIMIT - 1:
                    raise
                time.sleep(0.01 * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def driver(self, *, durable: bool = False) -> Iterator[Any]:
        """Open a write transaction on a bare driver cursor of this thread's kept connection, for hot paths.

        Statements are written with ``?`` and passed through `sql`, which rewrites them for PostgreSQL.
        """
        with self._gated():
            connection = self._kept_connection()
            cursor = connection.cursor()
            try:
                if self.dialect == "sqlite":
                    _begin_sqlite(cursor, "full" if durable else "normal", self._local.held.info)
                yield cursor
                connection.commit()
            except BaseException as error:
                try:
                    connection.rollback()
                except Exception:  # the connection itself is gone: what matters is the first error
                    logger.debug("rollback failed", exc_info=True)
                    self._drop_kept_connection()
                if isinstance(error, self._driver_errors):
                    raise self._meaning(error) or error from error
                raise
            finally:
                cursor.close()

    def look_up(self, statement: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Return the rows of one query, which is its own snapshot, over this thread's kept connection; for hot paths.

        A tenth of the time of `read`, which opens a session. The statement is written as for `driver`.
        """
        with self._gated():
            connection = self._kept_connection()
            cursor = connection.cursor()
            try:
                rows: list[tuple[Any, ...]] = cursor.execute(self.sql(statement), parameters).fetchall()
                return rows
            except self._driver_errors as error:
                raise self._meaning(error) or error from error
            finally:
                cursor.close()
                if self.dialect != "sqlite":  # its driver has begun a transaction
                    try:
                        connection.rollback()
                    except Exception:  # the connection itself is gone: the query has said so
                        logger.debug("rollback failed", exc_info=True)
                        self._drop_kept_connection()

    def sql(self, statement: str) -> str:
        """Return a statement written with ``?`` in the style of this database's driver."""
        return statement if self.dialect == "sqlite" else _to_percent_style(statement)

    def _kept_connection(self) -> Any:
        held = getattr(self._local, "held", None)
        if held is None or self._local.pid != os.getpid():
            with self._translating():
                held = self._engines["normal"].raw_connection()
            self._local.__dict__.clear()
            self._local.held, self._local.pid = held, os.getpid()
        return held.dbapi_connection

    def _drop_kept_connection(self) -> None:
        held = getattr(self._local, "held", None)
        self._local.__dict__.clear()
        if held is not None:
            held.invalidate()

    @contextmanager
    def _gated(self) -> Iterator[None]:
        """Let the users of an in-memory database, which has one connection, take turns."""
        if self._gate is None:
            yield
        else:
            with self._gate:
                yield

    # -- opening -------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        if self.path is not None:
            _prepare_folder(self.path)
        current = self._stored_revision()
        if self.is_read_only:
            if current != self.revisions[-1]:
                raise StorageError(
                    f"{self.url} is on a read-only file system and has schema revision {current!r}, which would have "
                    f"to be upgraded to {self.revisions[-1]!r}: copy the store to where it may be written"
                )
            logger.warning(
                "%s is on a read-only file system: nothing can be written, and what others change there is not seen",
                self.url,
            )
            return
        if current == self.revisions[-1]:
            self._use_journal_mode()
            return
        self._use_journal_mode()
        if current is None:
            self._create_schema()
        else:
            self._upgrade_schema()

    def _stored_revision(self) -> str | None:
        """Return the revision the store is at, None for an empty one; refuse what is not ours or newer."""
        with self._engines["read"].begin() as connection:
            return self._revision_of(connection)

    def _revision_of(self, connection: sa.Connection) -> str | None:
        inspector = sa.inspect(connection)
        if not inspector.has_table("alembic_version"):
            tables = inspector.get_table_names()
            if not tables:
                return None
            raise StorageError(
                f"{self.url} holds tables that ModelDesk did not make ({', '.join(sorted(tables)[:5])}); "
                "give it a database of its own"
            )
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        if found not in self.revisions:
            raise StorageError(
                f"{self.url} has schema revision {found!r}, but this ModelDesk knows only up to "
                f"{self.revisions[-1]!r}: a newer version wrote it; upgrade ModelDesk. Nothing was changed"
            )
        return str(found)

    def _use_journal_mode(self) -> None:
        if self.path is None:
            return
        with self.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert raw is not None
            deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
            while True:  # switching needs the file alone, and SQLite does not wait for that by itself
                try:
                    if raw.execute("PRAGMA journal_mode").fetchone()[0].upper() == self.journal_mode:
                        return
                    raw.execute(f"PRAGMA journal_mode={self.journal_mode}").fetchone()
                except self._driver_errors as error:
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)

    def _create_schema(self) -> None:
        with self._engines["full"].begin() as connection:
            self._lock_schema(connection)
            if self._revision_of(connection) is not None:
                return  # another process was faster
            self._metadata.create_all(connection, checkfirst=False)
            connection.execute(
                sa.text(
                    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
                    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
                )
            )
            connection.execute(sa.text("INSERT INTO alembic_version VALUES (:head)"), {"head": self.revisions[-1]})
        if self.path is not None:
            os.chmod(self.path, 0o600)
            import sqlite3

            if self.journal_mode == "WAL" and sqlite3.sqlite_version_info < SAFE_WAL_VERSION:
                logger.warning(
                    "SQLite %s has a rare corruption bug of WAL databases under simultaneous checkpoints, fixed in "
                    "3.51.3; keep backups (Database.backup), or set MODELDESK_JOURNAL_MODE=DELETE",
                    sqlite3.sqlite_version,
                )

    def _upgrade_schema(self) -> None:
        from migrations import upgrade  # alembic costs as much to import as pandas: only when it is needed

        with self._engines["migrate"].begin() as connection:
            self._lock_schema(connection)
            current = self._revision_of(connection)
            if current is None or current == self.revisions[-1]:
                return
            if self.path is not None:
                stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
                copy = self.path.with_name(f"{self.path.name}.{current}.{stamp}.backup")
                _copy_sqlite(self.path, copy)
                logger.info(
                    "%s is upgraded from schema %s to %s; a backup is at %s",
                    self.url,
                    current,
                    self.revisions[-1],
                    copy,
                )
            upgrade(connection, self.revisions[-1])
            if self.dialect == "sqlite":
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
                if broken:
                    raise StorageError(
                        f"upgrading {self.url} would leave {len(broken)} dangling references; nothing was changed"
                    )
        self.engine.dispose()

    def _lock_schema(self, connection: sa.Connection) -> None:
        if self.dialect == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_KEY)))

    # -- care ----------------------------------------------------------------------------------------

    def change_token(self) -> str:
        """Return a text that differs after any write to the store; for noticing changes, not for counting them.

        On PostgreSQL it is the server's log position, so writes to other databases of that server move it too.
        """
        if self.path is not None:
            stats = []
            for path in (self.path, self.path.with_name(self.path.name + "-wal")):
                try:
                    found = path.stat()
                    stats.append(f"{found.st_mtime_ns}-{found.st_size}")
                except FileNotFoundError:
                    stats.append("0")
            return ":".join(stats)
        with self.read() as session:
            if self.dialect == "postgresql":
                return str(session.scalar(sa.text("SELECT pg_current_wal_insert_lsn()")))
            return str(session.scalar(sa.text("SELECT total_changes()")))

    def describe(self) -> dict[str, str | int | None]:
        """Return what a person wants to know of the store: url, artifacts, revision, size in bytes, server version."""
        with self.read() as session:
            if self.dialect == "sqlite":
                version = f"SQLite {session.scalar(sa.text('SELECT sqlite_version()'))}"
                size = session.scalar(
                    sa.text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
                )
            else:
                version = f"PostgreSQL {session.scalar(sa.text('SHOW server_version'))}"
                size = session.scalar(sa.text("SELECT pg_database_size(current_database())"))
            revision = self._revision_of(session.connection())
        return {
            "url": self.url,
            "artifact_url": self.artifact_url,
            "revision": revision,
            "size_bytes": int(size or 0),
            "server": version,
        }

    def backup(self, path: str | os.PathLike[str]) -> Path:
        """Copy a SQLite store's database to a new file, consistently, while others go on writing.

        Raises
        ------
        FileExistsError
            If there is something at the path.
        StateError
            If the database is not SQLite (use ``pg_dump``).
        """
        if self.path is None:
            raise StateError(
                f"backup() copies SQLite files; {self.url} is not one: use the server's own tool (pg_dump)"
            )
        target = Path(path)
        if target.exists():
            raise FileExistsError(f"{target} exists; name a new file for the backup")
        _copy_sqlite(self.path, target)
        return target

    def check_integrity(self) -> list[str]:
        """Return what is wrong with the database file and its references; an empty list is healthy."""
        if self.dialect != "sqlite":
            return []  # PostgreSQL checks references itself, and its pages by checksums
        with self.read() as session:
            connection = session.connection()
            pages = [str(row[0]) for row in connection.exec_driver_sql("PRAGMA integrity_check") if row[0] != "ok"]
            links = [
                f"row {row[1]} of {row[0]} names a missing row of {row[2]}"
                for row in connection.exec_driver_sql("PRAGMA foreign_key_check")
            ]
        return pages + links

    def vacuum(self) -> int:
        """Give the space of deleted rows back to the disk; return how many bytes that was (0 on PostgreSQL)."""
        if self.path is None:
            return 0
        import sqlite3

        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            before = self.path.stat().st_size
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except self._driver_errors as error:
            raise self._meaning(error) or error from error
        finally:
            connection.close()
        return max(0, before - self.path.stat().st_size)

    def close(self) -> None:
        """Close all connections. The object opens new ones when it is used again."""
        self._drop_kept_connection()
        self.engine.dispose()

    def _after_fork(self) -> None:
        self._local = threading.local()
        self.engine.dispose(close=False)  # the parent's connections are the parent's

    # -- errors --------------------------------------------------------------------------------------

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            meaning = self._meaning(error.orig)
            if meaning is None:
                raise
            raise meaning from error
        except self._driver_errors as error:
            meaning = self._meaning(error)
            if meaning is None:
                raise
            raise meaning from error

    def _meaning(self, error: BaseException | None) -> StorageError | None:
        text = str(error).lower()
        path = self.path
        if "unable to open" in text and path is not None and path.exists() and not os.access(path.parent, os.W_OK):
            return StorageError(
                f"{self.url} cannot be read, as nothing may be written in its folder: SQLite keeps what readers and "
                "writers share in files beside the database. Give the right to write there, or copy the store"
            )
        for sign, meaning in _STORAGE_SIGNS:
            if sign in text:
                return StorageError(f"{self.url}: {meaning} ({str(error).strip().splitlines()[0]})")
        return None


_STORAGE_SIGNS = (
    ("disk is full", "the disk is full; nothing of this write was stored. Free some space and repeat it"),
    ("no space left", "the disk is full; nothing of this write was stored. Free some space and repeat it"),
    ("disk i/o error", "the disk refused to read or write; it may be full or failing"),
    (
        "readonly database",
        "the file or its folder is read-only, and SQLite writes in the folder even to read; "
        "give this user the right to write there, or copy the store",
    ),
    (
        "file is not a database",
        "the file is not a SQLite database, or is damaged; restore a backup or name another file",
    ),
    ("malformed", "the database file is damaged; restore a backup. The file was not changed"),
    (
        "unable to open database file",
        "the file cannot be opened or made; check the folder, its permissions and the space",
    ),
    ("database is locked", f"another process held the database for over {BUSY_TIMEOUT_SECONDS} s; try again"),
    ("connection refused", "the server does not answer; check the address and that it runs"),
    ("could not translate host name", "the server's host name is unknown"),
    ("failed to resolve host", "the server's host name is unknown"),
    ("password authentication failed", "the server refused the user name or password"),
)


# -- private helpers ---------------------------------------------------------------------------------


def _parse_url(url: str | os.PathLike[str] | None) -> sa.URL:
    if url is None:
        url = os.environ.get("MODELDESK_DATABASE_URL") or default_folder() / "modeldesk.db"
    if isinstance(url, os.PathLike) or "://" not in url:
        return sa.URL.create("sqlite", database=os.path.abspath(os.path.expanduser(os.fspath(url))))
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise ValueError(
            "the database URL cannot be parsed; write sqlite:///path/to/file.db or postgresql://user@host/name"
        ) from error
    backend = parsed.drivername.split("+")[0]
    if backend == "postgres":
        backend = "postgresql"
    if backend == "sqlite":
        if parsed.query or parsed.drivername not in {"sqlite", "sqlite+pysqlite"}:
            raise ValueError(f"a SQLite URL takes no driver and no options: {parsed.render_as_string()}")
        path = parsed.database
        if path in (None, "", ":memory:"):
            return sa.URL.create("sqlite")
        assert path is not None
        if path.startswith("file:"):
            raise ValueError(f"a SQLite URL names a plain path, not a file: URI: {parsed.render_as_string()}")
        return sa.URL.create("sqlite", database=os.path.abspath(os.path.expanduser(path)))
    if backend == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    raise ValueError(f"cannot use a {backend!r} database; ModelDesk runs on sqlite:// and postgresql://")


def _artifact_url(given: str | None, path: Path | None, *, in_memory: bool) -> str:
    chosen = given or os.environ.get("MODELDESK_ARTIFACT_URL")
    if chosen:
        return chosen
    if in_memory:
        return f"memory://modeldesk-{os.urandom(6).hex()}"
    return str((path.parent if path is not None else default_folder()) / "artifacts")


def _is_on_read_only_disk(path: Path) -> bool:
    """Whether a database is whole in its one file on a file system where nobody can change it.

    References
    ----------
    [1] SQLite, "Write-Ahead Logging", section 8, "Read-Only Databases": without the right to make files beside it, such
        a database is only read as immutable, which trusts that no other process changes it.
    """
    log = path.with_name(path.name + "-wal")  # what it holds is not in the file yet
    try:
        is_fixed = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
        return is_fixed and not (log.exists() and log.stat().st_size)
    except (OSError, AttributeError):  # it is not there, or the system cannot tell
        return False


def _create_engine(url: sa.URL, path: Path | None, *, immutable: bool) -> sa.Engine:
    if url.get_backend_name() == "postgresql":
        try:
            return sa.create_engine(url, pool_pre_ping=True, pool_size=5, max_overflow=15)
        except ModuleNotFoundError as error:
            raise StorageError(
                "PostgreSQL needs the package psycopg: install it with  pip install 'psycopg[binary]'"
            ) from error
    if path is not None and immutable:
        url = url.set(database=path.as_uri(), query={"immutable": "1", "uri": "true"})
    if path is None:
        engine = sa.create_engine(url, poolclass=sa.StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = sa.create_engine(
            url,
            pool_size=5,
            max_overflow=45,
            connect_args={"timeout": BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
        )

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver starts no transactions of its own
        cursor = connection.cursor()
        for pragma in ("foreign_keys=ON", "trusted_schema=OFF", f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        mode = connection.get_execution_options().get("modeldesk_mode", "read")
        cursor = connection.connection.cursor()
        _begin_sqlite(cursor, mode, connection.info)
        cursor.close()

    return engine


def _begin_sqlite(cursor: Any, mode: str, known: Any) -> None:
    """Begin a transaction: readers DEFERRED, writers IMMEDIATE with the durability they asked for."""
    query_only = "ON" if mode == "read" else "OFF"
    if known.get("query_only", "OFF") != query_only:
        cursor.execute(f"PRAGMA query_only={query_only}")
        known["query_only"] = query_only
    if mode == "read":
        cursor.execute("BEGIN DEFERRED")
        return
    foreign_keys = "OFF" if mode == "migrate" else "ON"
    if known.get("foreign_keys", "ON") != foreign_keys:
        cursor.execute(f"PRAGMA foreign_keys={foreign_keys}")
        known["foreign_keys"] = foreign_keys
    synchronous = "NORMAL" if mode == "normal" else "FULL"
    if known.get("synchronous") != synchronous:
        cursor.execute(f"PRAGMA synchronous={synchronous}")
        known["synchronous"] = synchronous
    cursor.execute("BEGIN IMMEDIATE")


def _driver_errors(dialect: str) -> tuple[type[Exception], ...]:
    """Return what the driver itself raises on the hot paths, and is translated there."""
    if dialect != "sqlite":
        return ()
    import sqlite3

    return (sqlite3.Error,)


@lru_cache(maxsize=512)
def _to_percent_style(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")


def _prepare_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StorageError(f"the folder {path.parent} of the database cannot be made: {error.strerror}") from error
    if path.is_dir():
        raise StorageError(f"{path} is a folder; name a file for the database")
    kind = _file_system_of(path.parent)
    if kind in NETWORK_FILE_SYSTEMS:
        warnings.warn(
            f"{path} is on a network file system ({kind}), where SQLite's locks are not reliable; "
            "use a local disk or PostgreSQL",
            stacklevel=4,
        )


def _file_system_of(folder: Path) -> str | None:
    """Return the type of the file system a folder is on, where the system tells (Linux)."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found: tuple[int, str | None] = (-1, None)
    resolved = str(folder.resolve())
    for line in mounts.splitlines():
        _, place, kind, *_ = line.split(" ")
        if (resolved == place or resolved.startswith(place.rstrip("/") + "/")) and len(place) > found[0]:
            found = (len(place), kind)
    return found[1]


def _copy_sqlite(source: Path, target: Path) -> None:
    """Copy a SQLite database with the backup API; a plain file copy of a live one may be torn."""
    import sqlite3

    incomplete = target.with_name(target.name + ".incomplete")
    reading = sqlite3.connect(source)
    writing = sqlite3.connect(incomplete)
    try:
        with writing:
            reading.backup(writing)
    finally:
        writing.close()
        reading.close()
    os.chmod(incomplete, 0o600)
    os.replace(incomplete, target)


_fork_aware: weakref.WeakSet[Store] = weakref.WeakSet()


def _forget_connections() -> None:
    for database in list(_fork_aware):
        database._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_connections)
