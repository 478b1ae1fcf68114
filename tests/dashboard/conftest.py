"""The rig of the dashboard's tests: the app in AppTest, and the app in a real Chromium.

``store``
    A `db.Database` on a fresh SQLite file under ``tmp_path``.
``app_test``
    Runs the whole app on that store: ``app_test(tab="Tracking")`` is an `AppTest` that has run without an exception.
``open_app``
    Starts the real server on that store and returns a `Browser`: ``open_app()``.
    ``open_app(tab="Registry").page`` is a Playwright page that stands idle.

All browser tests of a process share one server and one browser: the store is emptied between tests, and every test
opens windows of its own. Tests that start a server themselves (`servers`) get it on the same store.

A browser test fails when the page showed an exception, logged an error, or asked any host but its own for anything.
Screenshots go to ``test-artifacts/dashboard/``, which is not under version control.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from db import Database

if TYPE_CHECKING:
    from ab_testing import ABTestingFramework
    from model_monitoring import ModelMonitoring

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "test-artifacts" / "dashboard"
CHROMIUM = "/usr/bin/chromium"
IDLE = (
    "() => !!document.querySelector('[data-testid=stApp][data-test-script-state=notRunning]"
    "[data-test-connection-state=CONNECTED]') && !document.querySelector('[data-testid=stSkeleton], [data-stale=true]')"
)
# Said by the browser or by Streamlit's own drawing of small charts; nothing a page could do about it.
HARMLESS = re.compile(r"WARN|Infinite extent|preload|Unrecognized feature|was deprecated", re.IGNORECASE)
WAIT_MILLISECONDS = 90_000  # a bound on hanging, not a promise of speed: other work may share the machine
TABS = ("Registry", "A/B testing", "Tracking", "Monitoring")


@pytest.fixture(scope="session")
def _shared_folder(tmp_path_factory: pytest.TempPathFactory, new_sqlite_store: Callable[[Path], Path]) -> Path:
    """The folder of the store that the session's server shows, and an empty store to begin each test with."""
    folder = tmp_path_factory.mktemp("shared")
    for name in ("store", "empty"):
        new_sqlite_store(folder / name / "modeldesk.db")
    return folder


def replace_content(target: Path, source: Path) -> None:
    """Make one SQLite store hold what another holds, in one transaction, while a server has it open."""
    with sqlite3.connect(source) as origin, sqlite3.connect(target, timeout=30) as destination:
        origin.backup(destination)
    origin.close()
    destination.close()
    shutil.rmtree(target.parent / "artifacts", ignore_errors=True)
    if (source.parent / "artifacts").is_dir():
        shutil.copytree(source.parent / "artifacts", target.parent / "artifacts")


@pytest.fixture
def store(
    request: pytest.FixtureRequest,
    new_sqlite_store: Callable[[Path], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Database]:
    if request.node.get_closest_marker("browser"):
        shared = request.getfixturevalue("_shared_folder")
        path = shared / "store" / "modeldesk.db"
        replace_content(path, shared / "empty" / "modeldesk.db")
    else:
        path = new_sqlite_store(tmp_path / "store" / "modeldesk.db")
    monkeypatch.setenv("MODELDESK_DATABASE_URL", f"sqlite:///{path}")
    database = Database(path)
    yield database
    database.close()


@pytest.fixture
def example_store(told_example: tuple[Path, Any], store: Database) -> Database:
    """The store of the test, with the example data in it."""
    assert store.path is not None
    replace_content(store.path, told_example[0] / "modeldesk.db")
    return store


# -- AppTest ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _installed_components() -> Iterator[None]:
    """Look only once for Streamlit components among all installed packages: each `AppTest` reads all their files."""
    from streamlit.components.v2 import manifest_scanner

    found = manifest_scanner.scan_component_manifests()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", lambda: list(found))
        yield


@pytest.fixture
def app_test(store: Database) -> Iterator[Callable[..., Any]]:
    import streamlit
    from streamlit.testing.v1 import AppTest

    def start(tab: str | None = None, query: dict[str, list[str]] | None = None, **state: Any) -> Any:
        streamlit.cache_resource.clear()
        test = AppTest.from_file(str(ROOT / "streamlit_app.py"), default_timeout=120)
        for name, values in ({"tab": [tab or TABS[0]]} | (query or {})).items():
            test.query_params[name] = values
        for key, value in state.items():
            test.session_state[key.replace("__", ".")] = value
        return healthy(test.run())

    yield start
    streamlit.cache_resource.clear()


def healthy(test: Any) -> Any:
    """Return the AppTest if its last run raised nothing; every run is passed through here."""
    assert not test.exception, [f"{found.message}\n{found.stack_trace}" for found in test.exception]
    return test


def texts(test: Any) -> str:
    """Return all words on an AppTest's page, with entities decoded."""
    import html

    kinds = ("markdown", "caption", "title", "header", "subheader", "text", "error", "warning", "info", "success")
    parts = [element.value for kind in kinds for element in getattr(test, kind)]
    parts += [f"{element.label} {element.value}" for element in test.metric]
    return html.unescape("\n".join(str(part) for part in parts))


def shown_errors(test: Any) -> list[str]:
    import html

    return [html.unescape(str(element.value)) for element in test.error]


# -- the real server -------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A running `streamlit run streamlit_app.py`."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    log_start: int = 0  # where the log of the running test begins

    def url(self, **query: str | list[str]) -> str:
        return f"http://127.0.0.1:{self.port}/?{urllib.parse.urlencode(query, doseq=True)}"

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


def start_server(
    folder: Path, *, script: Path | None = None, arguments: tuple[str, ...] = (), **environment: str
) -> Server:
    """Start the dashboard on a free port and wait until it answers."""
    port = free_port()
    log = folder / f"streamlit-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(script or ROOT / "streamlit_app.py"),
             "--server.port", str(port), *arguments],
            cwd=(script.parent if script else ROOT),
            env=os.environ | {"PYTHONUNBUFFERED": "1", "HOME": str(folder), "PYTHONPATH": str(ROOT)} | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
    server = Server(process, port, log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"streamlit ended with {process.returncode}:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2):
                return server
        except OSError:
            time.sleep(0.1)
    server.stop()
    raise RuntimeError(f"streamlit does not answer:\n{log.read_text()}")


@pytest.fixture(scope="session")
def _shared_server(_shared_folder: Path) -> Iterator[Server]:
    url = f"sqlite:///{_shared_folder / 'store' / 'modeldesk.db'}"
    server = start_server(_shared_folder, MODELDESK_DATABASE_URL=url)
    yield server
    server.stop()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers that are stopped after the browser has left them."""
    running: list[Server] = []

    def start(**options: Any) -> Server:
        running.append(start_server(tmp_path, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()


# -- the browser -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed (apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-dev-shm-usage", "--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Screen:
    """One browser window on the app, and everything it complained about."""

    page: Any
    server: Server
    complaints: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self) -> None:
        def on_console(message: Any) -> None:
            if message.type == "error" and not HARMLESS.search(message.text):
                self.complaints.append(f"console: {message.text}")

        def on_request(request: Any) -> None:
            host = urllib.parse.urlsplit(request.url).hostname
            if request.url.startswith(("http", "ws")) and host not in {"127.0.0.1", "localhost"}:
                self.complaints.append(f"request: {request.url}")

        self.page.on("console", on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))
        self.page.on("request", on_request)

    def go(self, **query: str | list[str]) -> Screen:
        self.page.goto(self.server.url(**query))
        return self.idle()

    def idle(self) -> Screen:
        self.page.wait_for_function(IDLE, timeout=WAIT_MILLISECONDS)
        return self

    def see(self, text: str | re.Pattern[str]) -> Screen:
        """Wait until a text is on the page, then until the page is idle."""
        self.page.get_by_text(text).filter(visible=True).first.wait_for(timeout=WAIT_MILLISECONDS)
        return self.idle()

    def press(self, label: str | re.Pattern[str], *, exact: bool = True) -> Screen:
        """Click the button of that label, once it is enabled."""
        button = self.page.get_by_role("button", name=label, exact=exact and isinstance(label, str)).last
        button.wait_for(timeout=WAIT_MILLISECONDS)
        button.click(timeout=WAIT_MILLISECONDS)
        return self

    def fill(self, label: str, text: str) -> Screen:
        box = self.page.get_by_label(label, exact=True).last
        box.fill(text, timeout=WAIT_MILLISECONDS)
        box.press("Tab")
        return self

    def stop_following(self) -> Screen:
        """Switch Live off: from now on the page changes only when this window acts."""
        self.page.get_by_text("Live", exact=True).click()
        self.page.wait_for_timeout(1_000)  # for the run of the script that it starts
        return self.idle()

    def choose(self, label: str, option: str) -> Screen:
        """Choose an option of a select box."""
        box = self.page.get_by_role("combobox", name=re.compile(re.escape(label))).last
        box.click(timeout=WAIT_MILLISECONDS)
        self.page.get_by_role("option", name=option, exact=True).first.click(timeout=WAIT_MILLISECONDS)
        return self

    def click_row(self, row: int, *, table: int = 0) -> Screen:
        """Click the selection box of a row (0, 1, ...) of a table, which is painted on a canvas.

        The canvas has a hidden table for screen readers, which follows it with some delay: the row is there once it is
        painted, and says whether it is selected. A click that falls onto a table that is being replaced at that moment
        (another writer's change) is lost, as it would be for a person, and done again.
        """
        grid = self.page.locator("[data-testid=stDataFrame]").nth(table)
        line = grid.locator(f"[role=row][aria-rowindex='{row + 2}']").first
        line.wait_for(state="attached", timeout=WAIT_MILLISECONDS)
        grid.scroll_into_view_if_needed()
        before = line.get_attribute("aria-selected")
        for _ in range(5):
            box = grid.bounding_box()
            self.page.mouse.click(box["x"] + 17, box["y"] + 38 + 35 * row + 17)
            for _ in range(30):
                self.page.wait_for_timeout(100)
                if line.count() and line.get_attribute("aria-selected") != before:
                    return self.idle()
        raise AssertionError(f"row {row} was never selected: aria-selected is {before!r}")

    def shot(self, name: str) -> Path:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        path = ARTIFACTS / f"{name}.png"
        self.page.screenshot(path=str(path))
        return path

    def check_healthy(self) -> None:
        exceptions = self.page.locator("[data-testid=stException]").all_inner_texts()
        log = self.server.log.read_bytes()[self.server.log_start :].decode(errors="replace")
        traces = [line for line in log.splitlines() if "Uncaught app exception" in line]
        problems = [text for text in self.complaints if not any(known in text for known in self.expected)]
        found = exceptions + problems + traces
        assert not found, "\n".join(found) + (log[-6000:] if traces else "")


@pytest.fixture
def open_app(
    chromium: Any, _shared_server: Server, store: Database, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Screen]]:
    contexts: list[Any] = []
    screens: list[Screen] = []
    _shared_server.log_start = _shared_server.log.stat().st_size

    def start(
        *, dark: bool = False, width: int = 1400, height: int = 1600, to: Server | None = None, **query: str | list[str]
    ) -> Screen:
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", accept_downloads=True
        )
        # The file picker cannot be driven; without it the page falls back to an ordinary download.
        context.add_init_script("delete window.showSaveFilePicker")
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MILLISECONDS)
        # Playwright catches file choosers only while someone listens, and begins to without waiting for Chromium: one
        # opened right behind `expect_file_chooser` can be missed. So someone listens all the time.
        page.on("filechooser", lambda _chooser: None)
        screen = Screen(page, to or _shared_server)
        screen.watch()
        screens.append(screen)
        return screen.go(**query)

    yield start
    try:
        for position, screen in enumerate(screens):
            name = re.sub(r"[^\w.-]+", "-", request.node.name)
            screen.shot(f"{name}-{position}-end")
        for screen in screens:
            screen.check_healthy()
    finally:
        for context in contexts:
            context.close()


# -- something to look at --------------------------------------------------------------------------------------


@dataclass
class Seed:
    """What the `seed` fixture stored: managers, and the ids of what they made."""

    tracking: Any
    registry: Any
    runs: list[str]
    versions: list[str]


@pytest.fixture(scope="session")
def _seeded(
    tmp_path_factory: pytest.TempPathFactory, new_sqlite_store: Callable[[Path], Path]
) -> tuple[Path, list[str], list[str]]:
    """A store with six finished runs and a failed one, and three versions; the ids of runs and versions."""
    from experiment_tracking import ExperimentTracking
    from model_registry import ModelRegistryManager

    path = new_sqlite_store(tmp_path_factory.mktemp("seeded") / "modeldesk.db")
    database = Database(path)
    tracking, registry = ExperimentTracking(database, capture_environment=False), ModelRegistryManager(database)
    runs = []
    for number in range(6):
        rate = 0.001 * 3**number
        run = tracking.start_run("training", f"run-{number}", params={"learning_rate": rate, "kind": "ab"[number % 2]})
        for step in range(12):
            accuracy = 0.5 + 0.05 * number + step / 60
            tracking.log_metrics(run, {"accuracy": accuracy, "loss": 1 - accuracy + 0.01 * number}, step=step)
        tracking.set_tags(run, {"team": "vision"})
        tracking.log_artifact(run, {"weights": [number]}, name="model", kind="model")
        tracking.log_text(run, f"report of run {number}\n", "report.txt")
        tracking.end_run(run)
        runs.append(run)
    failed = tracking.start_run("training", "run-broken", params={"learning_rate": 9.0})
    tracking.end_run(failed, "failed", error="out of memory")
    runs.append(failed)
    versions = [
        registry.register_model(
            {"weights": [n]}, "churn", f"1.{n}.0", "classifier", {"accuracy": 0.9 + n / 100, "f1": 0.85 + n / 50},
            {"learning_rate": 0.001 * (n + 1), "epochs": 10}, tags={"team": "vision"}, run_id=runs[n], actor="ada",
        )
        for n in range(3)
    ]  # fmt: skip
    registry.transition_stage("churn", "1.0.0", "Production", reason="first", actor="ada")
    registry.transition_stage("churn", "1.1.0", "Production", reason="better", actor="ada")
    for day in range(1, 6):
        registry.record_performance("churn", "1.1.0", {"accuracy": 0.91 - day / 1000}, at=f"2026-01-{day:02d}")
    tracking.close()
    database.close()
    return path, runs, versions


@pytest.fixture
def seed(_seeded: tuple[Path, list[str], list[str]], store: Database) -> Seed:
    """Six finished runs and a failed one, and three versions of a model, the second in Production."""
    from experiment_tracking import ExperimentTracking
    from model_registry import ModelRegistryManager

    path, runs, versions = _seeded
    assert store.path is not None
    replace_content(store.path, path)
    tracking = ExperimentTracking(store, capture_environment=False)
    return Seed(tracking, ModelRegistryManager(store), [*runs], [*versions])


@pytest.fixture
def testing(store: Database) -> ABTestingFramework:
    from ab_testing import ABTestingFramework

    return ABTestingFramework(store)


@pytest.fixture
def monitoring(store: Database) -> ModelMonitoring:
    from model_monitoring import ModelMonitoring

    return ModelMonitoring(store)
