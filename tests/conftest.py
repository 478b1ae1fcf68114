"""Fixtures every test may use.

``database``
    A fresh `db.Database`; the test runs twice, on SQLite and on PostgreSQL.
``sqlite_database``
    A fresh `db.Database` on a SQLite file under ``tmp_path``.
``sqlite_url``, ``postgres_url``
    URL of a fresh store with the current schema.
``new_sqlite_store``
    Puts a fresh SQLite store with the current schema at a path.
``empty_postgres_url``
    URL of a fresh PostgreSQL database without any table.
``registry``, ``ab``, ``tracking``, ``monitoring``
    A module on ``database``, so on both.
``sqlite_registry``, ``lite``, ``light``, ``quick``
    The same on SQLite alone, where the database makes no difference.

No test sees the store of the person who runs it: HOME is a folder of the test's own, and the settings of
ModelDesk are removed from the environment of the session.
"""

from __future__ import annotations

import os

# One thread a process for linear algebra: xdist already uses every core. Must stand before numpy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from tests.postgres_server import (
    TEMPLATE,
    LentDatabases,
    NoServerError,
    RunningServer,
    shared_server,
    stop_shared_server,
)

if TYPE_CHECKING:
    from ab_testing import ABTestingFramework
    from db import Database
    from examples.story import Story
    from experiment_tracking import ExperimentTracking
    from model_monitoring import ModelMonitoring
    from model_registry import ModelRegistryManager

# A property is about values, not about how fast a busy machine is.
hypothesis.settings.register_profile("modeldesk", deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "modeldesk-ci", parent=hypothesis.settings.get_profile("modeldesk"), derandomize=True
)
hypothesis.settings.register_profile(  # of ./test.sh --fast; for what does not ask for a number of its own
    "modeldesk-fast", parent=hypothesis.settings.get_profile("modeldesk"), max_examples=25
)
hypothesis.settings.load_profile("modeldesk-ci" if os.environ.get("CI") else "modeldesk")

# Every durable transaction waits for the disk, some milliseconds each; tests end processes, and never the power.
MEMORY_FOLDER = Path("/dev/shm")
MEMORY_BYTES = 6 * 1024**3  # free, for the largest stores of the slow tests; otherwise the disk has to do

_STATE = pytest.StashKey[Path]()
_OWNER = pytest.StashKey[int]()
POSTGRES_SETTING = "MODELDESK_TEST_POSTGRES"


# -- the session: one folder that all workers share --------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder the workers share, or take over the one the controller made; forget the settings of ModelDesk."""
    for name in [name for name in os.environ if name.startswith("MODELDESK_") and name != POSTGRES_SETTING]:
        del os.environ[name]
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is None:
        if _has_memory_to_spare():
            os.environ.setdefault(
                "PYTEST_DEBUG_TEMPROOT", str(MEMORY_FOLDER)
            )  # where pytest makes the folders of tests
        config.stash[_STATE] = Path(tempfile.mkdtemp(prefix="modeldesk-tests-"))
        config.stash[_OWNER] = os.getpid()
    else:
        config.stash[_STATE] = Path(worker["modeldesk_state"])
        config.stash[_OWNER] = worker["modeldesk_owner"]


def _has_memory_to_spare() -> bool:
    """Tell whether the stores of all tests fit into memory, and there is a file system that is nothing else (Linux)."""
    try:
        available = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        free = shutil.disk_usage(MEMORY_FOLDER).free
    except OSError:
        return False
    return available is not None and min(int(available[1]) * 1024, free) >= MEMORY_BYTES


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell an xdist worker which folder is shared and which process began the session."""
    node.workerinput["modeldesk_state"] = str(node.config.stash[_STATE])
    node.workerinput["modeldesk_owner"] = node.config.stash[_OWNER]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server at the end of the session."""
    if getattr(config, "workerinput", None) is None and _STATE in config.stash:
        stop_shared_server(config.stash[_STATE])
        shutil.rmtree(config.stash[_STATE], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever needs PostgreSQL, so that ``-m postgres`` and ``-m "not postgres"`` select it.

    Of a matrix, databases by cases, that half is slow: while working SQLite's half is run.
    """
    for item in items:
        if " at 0x" in item.nodeid:  # xdist refuses to run when two workers name a test differently
            raise pytest.UsageError(f"{item.nodeid}: an address is in the name of this test; give the parameters ids")
        fixtures = set(getattr(item, "fixturenames", ()))
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if fixtures & {"postgres_url", "empty_postgres_url", "postgres_server"} or any(
            isinstance(value, str) and value == "postgresql" for value in parameters.values()
        ):
            item.add_marker(pytest.mark.postgres)
            if len(parameters) > 1:
                item.add_marker(pytest.mark.slow)


# -- isolation ---------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test an empty HOME; the runs it left open have no heartbeat afterwards."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    yield home
    keeper = sys.modules.get("tracking_parts.keeper")
    for kept in list(keeper._keepers) if keeper else ():
        kept.let_go()  # its store is gone with the test


# -- SQLite ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def new_sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Put a fresh SQLite store at a path: a copy of one made once, which takes a tenth of making its 40 tables."""
    from db import Database

    template = tmp_path_factory.mktemp("template") / "modeldesk.db"
    Database(template).close()

    def put(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Path(shutil.copy(template, path))

    return put


@pytest.fixture
def sqlite_url(new_sqlite_store: Callable[[Path], Path], tmp_path: Path) -> str:
    """URL of a fresh SQLite store under ``tmp_path`` with the current schema."""
    return f"sqlite:///{new_sqlite_store(tmp_path / 'modeldesk.db')}"


@pytest.fixture(scope="session")
def told_example(
    new_sqlite_store: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Story]:
    """The folder of a SQLite store in which the story of the examples was told, and what was told; to be copied."""
    from db import Database
    from examples.story import load_example_data

    path = new_sqlite_store(tmp_path_factory.mktemp("told") / "store" / "modeldesk.db")
    database = Database(path)
    told = load_example_data(database)
    database.close()
    return path.parent, told


@pytest.fixture
def sqlite_database(sqlite_url: str, tmp_path: Path) -> Iterator[Database]:
    """A fresh `db.Database` on a SQLite file, with its artifacts in a folder beside it."""
    from db import Database

    database = Database(sqlite_url, artifact_url=str(tmp_path / "artifacts"))
    yield database
    database.close()


# -- PostgreSQL --------------------------------------------------------------------------------------------


def _make_template(server: RunningServer) -> None:
    """Create the schema once; every test's database is a copy of this one."""
    from db import Database

    with server.connection() as connection:
        connection.execute(f'CREATE DATABASE "{TEMPLATE}"')
    with tempfile.TemporaryDirectory() as folder:
        Database(server.url(TEMPLATE), artifact_url=folder).close()


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> RunningServer:
    """The session's PostgreSQL server; without one the test fails, unless MODELDESK_TEST_POSTGRES=0."""
    if os.environ.get(POSTGRES_SETTING) == "0":
        pytest.skip(f"PostgreSQL was left out on purpose: {POSTGRES_SETTING}=0")
    state, owner = request.config.stash[_STATE], request.config.stash[_OWNER]
    try:
        return shared_server(state, owner, _make_template)
    except NoServerError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def lent_databases(postgres_server: RunningServer) -> Iterator[LentDatabases]:
    """The worker's copies of the template, which one test after the other gets."""
    with postgres_server.connection() as administrator:
        yield LentDatabases(postgres_server, administrator)


@pytest.fixture
def postgres_url(lent_databases: LentDatabases) -> Iterator[str]:
    """URL of a fresh PostgreSQL database with the current schema."""
    name = lent_databases.lend()
    yield lent_databases.server.url(name)
    lent_databases.take_back(name)


@pytest.fixture
def empty_postgres_url(postgres_server: RunningServer) -> Iterator[str]:
    """URL of a fresh PostgreSQL database without any table."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


# -- both --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh `db.Database`: the test runs once on SQLite and once on PostgreSQL."""
    from db import Database

    if request.param == "sqlite":
        url = request.getfixturevalue("sqlite_url")
    else:
        url = request.getfixturevalue("postgres_url")
    database = Database(url, artifact_url=str(tmp_path / "artifacts"))
    yield database
    database.close()


# -- the four modules --------------------------------------------------------------------------------------


@pytest.fixture
def registry(database: Database) -> ModelRegistryManager:
    from model_registry import ModelRegistryManager

    return ModelRegistryManager(database, actor="ada")


@pytest.fixture
def sqlite_registry(sqlite_database: Database) -> ModelRegistryManager:
    from model_registry import ModelRegistryManager

    return ModelRegistryManager(sqlite_database, actor="ada")


@pytest.fixture
def ab(database: Database) -> ABTestingFramework:
    from ab_testing import ABTestingFramework

    return ABTestingFramework(database)


@pytest.fixture
def lite(sqlite_database: Database) -> ABTestingFramework:
    from ab_testing import ABTestingFramework

    return ABTestingFramework(sqlite_database)


@pytest.fixture
def tracking(database: Database) -> Iterator[ExperimentTracking]:
    from experiment_tracking import ExperimentTracking

    found = ExperimentTracking(database, capture_environment=False)
    yield found
    found.close()


@pytest.fixture
def light(sqlite_database: Database) -> Iterator[ExperimentTracking]:
    from experiment_tracking import ExperimentTracking

    found = ExperimentTracking(sqlite_database, capture_environment=False)
    yield found
    found.close()


@pytest.fixture
def monitoring(database: Database) -> ModelMonitoring:
    from model_monitoring import ModelMonitoring

    return ModelMonitoring(database)


@pytest.fixture
def quick(sqlite_database: Database) -> ModelMonitoring:
    from model_monitoring import ModelMonitoring

    return ModelMonitoring(sqlite_database)


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of a size, such as "4m", and return its folder."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a file system needs to be root")
    disk = tmp_path / "disk"

    def mount(size: str) -> Path:
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        mounted = subprocess.run(command, capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"this machine does not let root mount a tmpfs: {mounted.stderr.strip()}")
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", "-l", disk], check=True)
