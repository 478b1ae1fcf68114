"""How the dashboard is served: Streamlit's files from memory, preloads in the first page, everything else untouched."""

from __future__ import annotations

import ast
import asyncio
import http.client
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn

from dashboard import first_visit, server
from tests.dashboard.conftest import ROOT


def ask(app, path, method="GET", headers=()):
    """Send one request to an ASGI app; return status, headers and body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": list(headers), "root_path": ""}
    # In a thread of its own: a browser of another test may have an event loop running in this one.
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, app(scope, receive, send)).result()
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


async def elsewhere(scope, receive, send):
    """What Streamlit itself would answer."""
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"streamlit"})


@pytest.fixture
def app(tmp_path):
    folder = tmp_path / "static"
    (folder / "static" / "js").mkdir(parents=True)
    (folder / "index.html").write_text('<html><head><script src="./static/js/index.abc.js"></script></head></html>')
    (folder / "static" / "js" / "index.abc.js").write_text("1")
    (folder / "static" / "js" / "DataFrame.x1.js").write_text(
        'import{a as b}from"./grid.y2.js";import("./later.z3.js")'
    )
    (folder / "static" / "js" / "grid.y2.js").write_text("export const a=1")
    (folder / "static" / "js" / "later.z3.js").write_text("")
    (folder / "static" / "css").mkdir()
    (folder / "static" / "css" / "DataFrame.s5.css").write_text("")
    (folder / "static" / "css" / "OtherElement.t6.css").write_text("")
    (tmp_path / "secret.js").write_text("secret")
    (folder / "outside.js").write_text("not below static/static")
    return server.StaticFilesInMemory(elsewhere, folder)


def test_streamlits_files_come_from_memory_and_may_be_kept_for_ever(app):
    status, headers, body = ask(app, "/static/js/grid.y2.js")
    assert (status, body) == (200, b"export const a=1")
    assert headers[b"content-type"].startswith(b"text/javascript")
    assert b"immutable" in headers[b"cache-control"]
    (app.folder / "static" / "js" / "grid.y2.js").unlink()
    assert ask(app, "/static/js/grid.y2.js")[2] == b"export const a=1"


@pytest.mark.parametrize(
    "path",
    [
        "/static/../outside.js", "/static/../../secret.js", "/static/js/../../../secret.js", "/static//etc/passwd",
        "/static/js", "/static/js/none.js", "/static/js/\0.js", "/_stcore/health", "/media/x", "/other",
    ],
)  # fmt: skip
def test_what_is_no_file_of_streamlit_is_left_to_streamlit(app, path):
    assert ask(app, path)[0] == 299


def test_only_plain_reads_are_answered(app):
    assert ask(app, "/static/js/grid.y2.js", method="POST")[0] == 299
    assert ask(app, "/static/js/grid.y2.js", headers=[(b"range", b"bytes=0-3")])[0] == 299


def test_the_first_page_names_what_tables_need_and_nothing_that_comes_later(app):
    status, headers, body = ask(app, "/")
    assert status == 200
    assert headers[b"cache-control"] == b"no-cache"
    found = re.findall(rb'modulepreload" crossorigin href="([^"]+)"', body)
    assert found == [b"./static/js/DataFrame.x1.js", b"./static/js/grid.y2.js"]
    assert re.findall(rb'stylesheet" crossorigin href="([^"]+)"', body) == [b"./static/css/DataFrame.s5.css"]
    assert body.count(b"</head>") == 1
    assert first_visit.STYLE.encode() in body


def test_what_is_written_on_a_connection_is_sent_at_once(app, monkeypatch):
    from streamlit.web.server.starlette import starlette_server
    from websockets.sync.client import connect

    seen = {}

    async def passed_on(scope, receive, send):
        connection = receive.__self__.transport.get_extra_info("socket")
        seen[scope["type"]] = bool(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close"})
        else:
            await elsewhere(scope, receive, send)

    monkeypatch.setattr(app, "app", passed_on)
    listening = starlette_server._bind_socket("127.0.0.1", 0, 10)
    port = listening.getsockname()[1]
    web = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", ws="websockets-sansio"))
    thread = threading.Thread(target=web.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/other")
        assert connection.getresponse().status == 299
        connection.close()
        with connect(f"ws://127.0.0.1:{port}/_stcore/stream"):
            pass
    finally:
        web.should_exit = True
        thread.join()
    assert seen == {"http": True, "websocket": True}


def test_the_installed_streamlit_has_a_script_for_the_elements_that_are_preloaded():
    folder = server.static_folder() / "static"
    stems = {name.partition(".")[0] for name in server.chunks_needed(folder / "js")}
    assert {*server.ELEMENTS, "arrowFormatUtils"} <= stems
    page = server.StaticFilesInMemory(elsewhere).first_page().decode()
    assert [file for file in re.findall(r'href="\./static/([^"]+)"', page) if not (folder / file).is_file()] == []
    assert re.search(r'rel="stylesheet" crossorigin href="\./static/css/DataFrame\.[\w.-]+\.css"', page)


def test_modules_that_are_loaded_ahead_exist_and_one_that_fails_stops_nothing(monkeypatch):
    import importlib.util

    assert [name for name in server.MODULES if importlib.util.find_spec(name) is None] == []
    seen = []

    def load(name):
        seen.append(name)
        raise ImportError(name)

    monkeypatch.setattr(server.importlib, "import_module", load)
    server._warm_up()
    assert seen == list(server.MODULES)


def test_streamlit_run_finds_the_app_to_serve():
    from streamlit.web.server.app_discovery import discover_asgi_app

    found = discover_asgi_app(ROOT / "streamlit_app.py")
    assert (found.is_asgi_app, found.import_string) == (True, "streamlit_app:app")
    tree = ast.parse((ROOT / "streamlit_app.py").read_text())
    assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))


def test_below_a_base_path_streamlit_serves_alone(monkeypatch):
    import streamlit

    assert [item.cls for item in server.middleware()] == [server.StaticFilesInMemory]
    monkeypatch.setattr(streamlit, "get_option", {"server.baseUrlPath": "models"}.get)
    assert server.middleware() == []
