"""Open the list of 1,000 runs in a browser, until its first row stands.

Wall is from the start of the browser to the first row: the floor is the same browser with an empty page, and the page's
own share is the difference to it. The servers run before and after, and are not counted. The result of each contender
is the number of elements of its page, and the time its page kept the browser's main thread busy until then
(TaskDuration of the DevTools protocol): the page CPU. The CPU column holds the browser's own processes, not the page's.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

CHROMIUM = "/usr/bin/chromium"
ROOT = Path(__file__).resolve().parent.parent
benchmark = Benchmark("Opening the list of runs", workloads={"1,000 runs": {"n_runs": 1_000}})


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(command: list[str], port: int, folder: Path, **environment: str) -> None:
    """Start a server that is stopped when this process ends, and wait until it answers."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=log, stderr=log)
    atexit.register(process.terminate)
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{command[0]} does not answer: {(folder / 'server.log').read_text()[-2000:]}")


def open_page(address: str, row: str | None) -> str:
    """Open an address in a fresh Chromium, wait for a table row, close it; return elements and page CPU."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        protocol = page.context.new_cdp_session(page)
        protocol.send("Performance.enable")
        page.goto(address)
        if row is not None:
            page.wait_for_selector(row, state="attached", timeout=60_000)
        count = int(page.evaluate("document.querySelectorAll('*').length"))
        found = protocol.send("Performance.getMetrics")["metrics"]
        busy = next(float(metric["value"]) for metric in found if metric["name"] == "TaskDuration")
        browser.close()
    return f"{count:,} elements, {busy:.2f} s of page CPU"


@benchmark.floor("Chromium with an empty page")
def empty_page(folder: Path, n_runs: int) -> Callable[[], str]:
    """Start and stop the browser."""
    return lambda: open_page("about:blank", None)


@benchmark.peer("MLflow", install=["mlflow", "playwright"])
def mlflow(folder: Path, n_runs: int) -> Callable[[], str]:
    """Open `mlflow ui` on SQLite."""
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    store = f"sqlite:///{folder / 'mlflow.db'}"
    client: Any = MlflowClient(tracking_uri=store)
    experiment = client.create_experiment("benchmark")
    for number in range(n_runs):
        run = client.create_run(experiment, run_name=f"run-{number}").info.run_id
        metrics = [Metric(key, number / n_runs, 1_700_000_000_000 + number, 0) for key in ("accuracy", "loss", "f1")]
        client.log_batch(run, metrics, [Param("lr", str(number)), Param("depth", "3"), Param("optimizer", "adam")])
        client.set_terminated(run)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--backend-store-uri",
        store,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    serve(command, port, folder)
    address = f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs"
    return lambda: open_page(address, f"text=run-{n_runs - 1}")


@benchmark.ours("ModelDesk")
def ours(folder: Path, n_runs: int) -> Callable[[], str]:
    """Open the Tracking tab on SQLite."""
    from experiment_tracking import ExperimentTracking

    url = f"sqlite:///{folder / 'modeldesk.db'}"
    tracking = ExperimentTracking(url, capture_environment=False)
    for number in range(n_runs):
        params = {"lr": number, "depth": 3, "optimizer": "adam"}
        run = tracking.start_run("benchmark", f"run-{number}", params=params)
        tracking.log_metrics(run, dict.fromkeys(("accuracy", "loss", "f1"), number / n_runs), step=0)
        tracking.end_run(run)
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port)]
    serve(command, port, folder, MODELDESK_DATABASE_URL=url)
    return lambda: open_page(f"http://127.0.0.1:{port}/?tab=Tracking", f"td:text-is('run-{n_runs - 1}')")
