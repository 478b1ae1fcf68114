"""Open the list of 1,000 runs in a browser, until its first row stands on the page.

A round opens a fresh window (nothing cached) of a browser that already runs, asks the server for the page, and ends
when the first row can be read: in MLflow when its text is in the page, here when its pixels are on the table's canvas,
which is the table itself, ready to be clicked. Both are looked for inside the page, every 20 ms, so that waiting is as
exact and as cheap on either side.

The result is the median over the rounds so far of three numbers. *First row*: from the moment in which the browser
begins to go to the address, by the page's own clock. *Elements*: how many the page has then. *Page CPU*: of its main
thread until then (TaskDuration of the DevTools protocol, counted in thread time, so that other work on the machine does
not count). Wall is the whole round, with opening and closing the window, which the floor, an empty page, shows; the
CPU column holds the driver's process, not the page's. The servers run before and after, and are not counted, except
that they share the machine.
"""

from __future__ import annotations

import atexit
import os
import socket
import statistics
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
SECONDS_TO_START = 300  # a bound on hanging: on a busy machine `mlflow ui` takes more than one minute
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
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{command[0]} does not answer: {(folder / 'server.log').read_text()[-2000:]}")


# Text in the first row of the table's canvas: enough dark pixels between its header and its second row.
FIRST_ROW_IS_PAINTED = """() => {
    const canvas = document.querySelector('[data-testid=data-grid-canvas]');
    if (!canvas || canvas.width < 200 || canvas.height < 80) return false;
    const {data} = canvas.getContext('2d').getImageData(40, 40, Math.min(400, canvas.width) - 40, 28);
    let dark = 0;
    for (let i = 0; i < data.length; i += 4) dark += data[i] < 100 && data[i + 3] > 0;
    return dark > 20;
}"""


# Its text anywhere in the page, which MLflow writes when it draws the row.
FIRST_ROW_IS_WRITTEN = """() => document.evaluate(
    "//body//*[text()='ROW']", document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null).singleNodeValue !== null"""


def pages(address: str, shown: str | None, row: str | None = None) -> Callable[[], str]:
    """Return what opens an address in a fresh window, waits for a table row, and says what the page cost.

    `shown` is a condition that holds as soon as the first row can be seen; `row`, where that looks at pixels alone, a
    selector of the row's text, which is awaited the first time, to prove that it is the right row.
    """
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    atexit.register(playwright.stop)
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    rows: list[float] = []
    elements: list[int] = []
    busy: list[float] = []

    def open_page() -> str:
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        protocol = context.new_cdp_session(page)
        protocol.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(address, wait_until="commit")
        if shown is not None:
            since = page.wait_for_function(f"() => ({shown})() && performance.now()", timeout=60_000, polling=20)
            rows.append(float(since.json_value()) / 1000)
        if row is not None and not elements:
            page.wait_for_selector(row, state="attached", timeout=60_000)
        found = protocol.send("Performance.getMetrics")["metrics"]
        busy.append(next(float(metric["value"]) for metric in found if metric["name"] == "TaskDuration"))
        elements.append(int(page.evaluate("document.querySelectorAll('*').length")))
        context.close()
        # The first window is the uncounted one of the benchmark.
        counted = slice(1, None) if len(busy) > 1 else slice(None)
        median = statistics.median
        cost = f"{median(elements[counted]):,.0f} elements, {median(busy[counted]):.3f} s of page CPU"
        return f"first row after {median(rows[counted]):.3f} s, {cost}" if rows else cost

    return open_page


@benchmark.floor("Chromium with an empty page")
def empty_page(folder: Path, n_runs: int) -> Callable[[], str]:
    """Open and close a window."""
    return pages("about:blank", None)


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
    store_options = ["--backend-store-uri", store, "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", *store_options]
    serve(command, port, folder)
    address = f"http://127.0.0.1:{port}/#/experiments/{experiment}/runs"
    return pages(address, FIRST_ROW_IS_WRITTEN.replace("ROW", f"run-{n_runs - 1}", 1))


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
    row = f"td:text-is('run-{n_runs - 1}')"
    return pages(f"http://127.0.0.1:{port}/?tab=Tracking", FIRST_ROW_IS_PAINTED, row)
