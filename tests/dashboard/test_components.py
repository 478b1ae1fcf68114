"""What tabs share, in a real browser: selection by id, dialogs, hostile text, downloads, freshness."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from db import BlobRow
from tests.dashboard.conftest import start_server

APP = Path(__file__).with_name("components_app.py")
HOSTILE = [
    "![x](http://evil.example/a.png)",
    "<img src='http://evil.example/b.png'><script>alert(1)</script>",
    "[link](http://evil.example) www.evil.example :smile: :material/home: :red[red]",
    "a -> b -- c >= d $x^2$ **bold** _it_ `code` ~~gone~~",
    "=HYPERLINK(\"http://evil.example\")",
    "# heading",
    "1. list",
]  # fmt: skip

pytestmark = pytest.mark.browser


OPTIONS = ("--server.address=127.0.0.1", "--browser.gatherUsageStats=false", "--server.headless=true")


@pytest.fixture(scope="session")
def component_servers(_shared_folder):
    """Servers of the page of components, one for each set of words, on the store that tests share."""
    running = {}

    def start(words, rows):
        key = (tuple(words), rows)
        if key not in running:
            url = f"sqlite:///{_shared_folder / 'store' / 'modeldesk.db'}"
            folder = _shared_folder / f"components-{len(running)}"
            folder.mkdir()
            environment = {"MODELDESK_DATABASE_URL": url, "WORDS": json.dumps(list(words)), "ROWS": str(rows)}
            running[key] = start_server(folder, script=APP, arguments=OPTIONS, **environment)
        running[key].log_start = running[key].log.stat().st_size
        return running[key]

    yield start
    for server in running.values():
        server.stop()


@pytest.fixture
def parts(component_servers, open_app):
    def start(words=("plain",), rows=5, **options):
        return open_app(to=component_servers(words, rows), **options)

    return start


@pytest.mark.parametrize("dark", [False, True])
def test_hostile_text_is_shown_verbatim_and_asks_no_host(parts, dark):
    screen = parts(HOSTILE, dark=dark, height=5200)
    screen.page.wait_for_timeout(1000)
    page = screen.page
    screen.shot(f"components-{'dark' if dark else 'light'}")
    assert page.locator("[data-testid=stMain] img, [data-testid=stMain] a[href*=evil]").count() == 0
    body = page.locator("[data-testid=stMain]").inner_text()
    captions = page.get_by_test_id("stCaptionContainer").all_inner_texts()
    values = page.get_by_test_id("stMetricValue").all_inner_texts()
    labels = page.get_by_test_id("stMetricLabel").all_inner_texts()
    buttons = page.get_by_test_id("stButton").all_inner_texts()
    errors = page.get_by_test_id("stAlertContentError").all_inner_texts()
    for word in HOSTILE:
        assert f"It is {word} indeed" in captions, captions
        assert word in values, values
        assert any(word in label for label in labels), labels
        assert word in buttons, buttons
        assert any(f"no thing named {word}" in error for error in errors), errors
    assert "stException" not in body


def test_a_row_inserted_above_does_not_move_the_selection(parts):
    screen = parts()
    screen.see("chosen: none").click_row(1)
    screen.see("chosen: id3")
    assert "version=id3" in screen.page.url
    # The words "chosen: id3" stand there already: only the new row says that the table was drawn again.
    screen.press("Insert a row").page.locator("td:text-is('id5')").wait_for(state="attached")
    screen.see("chosen: id3").click_row(0).see("chosen: id5, id3")
    screen.press("Select id1").see("chosen: id1")
    screen.page.go_back()
    screen.see(re.compile("chosen: id5, id3"))
    screen.page.reload()
    screen.see("chosen: id3")  # the inserted row lived in the session that ended; what still exists stays chosen


def test_a_dialog_acts_on_the_ids_it_was_opened_for_and_only_after_the_name_was_typed(parts):
    screen = parts(version="id2")
    screen.see("chosen: id2").press("Delete").see("Type the name to confirm")
    button = screen.page.get_by_role("button", name="Delete for ever")
    assert button.is_disabled()
    screen.page.get_by_label("Type the name to confirm").type("the name")
    screen.page.wait_for_timeout(1500)
    button.click()
    screen.see("Deleted id2")
    assert screen.page.get_by_role("dialog").count() == 0


def test_the_csv_that_is_downloaded_runs_no_formula(parts):
    screen = parts(HOSTILE)
    with screen.page.expect_download() as download:
        screen.press(re.compile("CSV"))
    text = Path(download.value.path()).read_text("utf-8-sig")
    assert "'=HYPERLINK" in text
    assert not re.search(r'(^|,)"?=', text, re.MULTILINE)


def test_what_another_process_writes_appears_without_a_reload_unless_live_is_off(parts, store):
    screen = parts()
    page = screen.page
    page.evaluate(
        "() => { window.__runs = 0; const app = document.querySelector('[data-testid=stApp]');"
        "new MutationObserver(() => { if (app.dataset.testScriptState === 'running') window.__runs += 1 })"
        ".observe(app, {attributes: true, attributeFilter: ['data-test-script-state']}) }"
    )
    runs = "() => window.__runs"
    page.get_by_label("Choice").first.focus()
    with store.write() as session:
        session.add(BlobRow(sha256="a" * 64, size_bytes=1))
    page.wait_for_function("() => window.__runs >= 1", timeout=5_000)
    screen.idle()
    assert page.evaluate("() => document.activeElement.closest('[data-testid=stSelectbox]') !== null")
    screen.stop_following()
    before = page.evaluate(runs)
    with store.write() as session:
        session.add(BlobRow(sha256="b" * 64, size_bytes=1))
    page.wait_for_timeout(5_000)
    assert page.evaluate(runs) == before
