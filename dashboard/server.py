"""How the dashboard is served: what every first visit needs is loaded before anyone visits, and sent from memory.

`streamlit run streamlit_app.py` finds ``app = st.App(...)`` there and serves it with the two arguments made here:

    app = st.App(__file__, lifespan=server.lifespan, middleware=server.middleware())

*lifespan* imports what the tabs import and opens the store while the browser still loads the page, so that the first
visitor waits for neither. *middleware* answers requests for Streamlit's own scripts, styles and fonts from memory, and
names in the first page the scripts that a table will ask for, so that a browser fetches them at once, not when the
first table arrives. Everything else (the page's data, uploads, sign-in) passes through untouched, but for one thing:
what is written on a connection is sent at once.
"""

from __future__ import annotations

import importlib
import logging
import mimetypes
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dashboard import first_visit

if TYPE_CHECKING:
    from starlette.middleware import Middleware
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["StaticFilesInMemory", "chunks_needed", "lifespan", "middleware"]

logger = logging.getLogger("modeldesk.dashboard")

# In the order in which the first visit needs them: the store and the tab that opens, then what the other tabs add.
MODULES = (
    "pandas", "pyarrow", "model_registry", "experiment_tracking", "dashboard.registry_tab", "dashboard.tracking_tab",
    "dashboard.registry_details", "dashboard.tracking_details", "ab_testing", "dashboard.ab_testing_tab",
    "model_monitoring", "dashboard.monitoring_tab", "plotly.graph_objects", "charts.theme", "charts.tracking",
    "charts.registry",
)  # fmt: skip
# What a browser fetches with the page: the scripts and styles of the table, which people came for. Those of numbers
# and filters follow when they arrive: fetched at once, they would be in the way of the table. A name without a
# file is skipped: another version of Streamlit may cut its scripts differently, and then asks for them a little later.
ELEMENTS = ("DataFrame",)
_IMPORT = re.compile(r"""(?:from|import)\s*["']\./([\w.-]+\.js)["']""")
MAX_BYTES = 64_000_000  # of files kept in memory; all of Streamlit's scripts have half of that
CACHE_FOR_EVER = b"public, immutable, max-age=31536000"  # names carry a hash of the content


# -- before the first visit ----------------------------------------------------------------------------


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """Start loading what the first visit needs, beside the server, and let the server begin."""
    threading.Thread(target=_warm_up, name="modeldesk-warm-up", daemon=True).start()
    yield


def _warm_up() -> None:
    """Import what tabs import lazily; a module that fails here fails where it is used, in the words of its tab."""
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - reported by the page that needs the module
            logger.debug("not loaded ahead: %s (%s)", name, error)


# -- Streamlit's own files -----------------------------------------------------------------------------


def static_folder() -> Path:
    """Return where Streamlit keeps what browsers load."""
    import streamlit

    return Path(streamlit.__file__).parent / "static"


def chunks_needed(folder: Path, elements: Iterable[str] = ELEMENTS) -> list[str]:
    """Return the scripts below `folder` that elements are drawn with, and the scripts those import, each once."""
    by_stem: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.js")):
        by_stem.setdefault(path.name.partition(".")[0], []).append(path.name)
    waiting = [name for element in elements for name in by_stem.get(element, [])]
    found: dict[str, None] = {}
    while waiting:
        name = waiting.pop(0)
        if name in found or not (folder / name).is_file():
            continue
        found[name] = None
        # Static imports stand at the head of a module or are re-exports; `import("./X.js")` is for later and not taken.
        waiting += _IMPORT.findall((folder / name).read_text(encoding="utf-8", errors="replace"))
    return list(found)


class StaticFilesInMemory:
    """Answers GET requests below `/static/` from memory, and the first page with its preloads; passes on the rest."""

    def __init__(self, app: ASGIApp, folder: Path | None = None) -> None:
        self.app = app
        self.folder = (folder or static_folder()).resolve()
        self.files: dict[str, tuple[bytes, list[tuple[bytes, bytes]]]] = {}
        self.n_bytes = 0
        self.page: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        _send_at_once(receive)
        if scope["type"] == "http" and scope["method"] == "GET" and not scope.get("root_path"):
            path = scope["path"]
            if path.startswith("/static/") and not _wants_a_range(scope):
                found = self.find(path)
                if found is not None:
                    await _answer(send, *found)
                    return
            elif path == "/":
                first_visit.page_sent()
                await _answer(send, self.first_page(), _headers("index.html", None, b"no-cache"))
                return
        await self.app(scope, receive, send)

    def find(self, path: str) -> tuple[bytes, list[tuple[bytes, bytes]]] | None:
        """Return the content and headers of one of Streamlit's files, or None if it is not one of them."""
        found = self.files.get(path)
        if found is not None:
            return found
        file = self.folder / path.lstrip("/")
        try:
            # What is outside the folder, or no file, is for Streamlit to refuse.
            if not file.resolve().is_relative_to(self.folder / "static") or not file.is_file():
                return None
            content = file.read_bytes()
        except (OSError, ValueError):
            return None
        found = (content, _headers(file.name, len(content), CACHE_FOR_EVER))
        if self.n_bytes + len(content) <= MAX_BYTES:
            self.files[path] = found
            self.n_bytes += len(content)
        return found

    def first_page(self) -> bytes:
        """Return Streamlit's page with the styles of the table and a preload for every script that it needs."""
        if self.page is None:
            page = (self.folder / "index.html").read_text(encoding="utf-8")
            chunks = chunks_needed(self.folder / "static" / "js")
            # Streamlit's scripts wait for their styles before they draw, unless the page has them already.
            links = [
                f'<link rel="stylesheet" crossorigin href="./static/css/{file.name}">\n'
                for element in ELEMENTS for file in sorted((self.folder / "static" / "css").glob(f"{element}.*.css"))
            ] + [
                f'<link rel="modulepreload" crossorigin href="./static/js/{name}">\n' for name in chunks
                if f"/js/{name}" not in page
            ] + [f"<style>{first_visit.STYLE}</style>\n"]  # fmt: skip
            self.page = page.replace("</head>", f"{''.join(links)}</head>", 1).encode()
        return self.page


def _send_at_once(receive: Receive) -> None:
    """Tell the system to send what is written on a request's connection at once (TCP_NODELAY).

    Python's event loop does so for the sockets that it makes itself. Streamlit hands its server one that it made
    before, with a protocol number that the loop does not recognise: then the body of every answer, written after its
    head, waits until the browser has acknowledged the head, which takes it 40 ms; and a page is a hundred answers.
    """
    transport = getattr(getattr(receive, "__self__", None), "transport", None)  # of the connection, in uvicorn
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _wants_a_range(scope: Scope) -> bool:
    return any(name == b"range" for name, _ in scope["headers"])


def _headers(name: str, length: int | None, cache: bytes) -> list[tuple[bytes, bytes]]:
    kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0] or "application/octet-stream"
    text = f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
    headers = [(b"content-type", text.encode()), (b"cache-control", cache), (b"x-content-type-options", b"nosniff")]
    return headers if length is None else [*headers, (b"content-length", str(length).encode())]


async def _answer(send: Send, content: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def middleware() -> list[Middleware]:
    """Return the middleware for `st.App`: none below a base path, where the names of Streamlit's files differ."""
    import streamlit as st
    from starlette.middleware import Middleware

    return [] if st.get_option("server.baseUrlPath") else [Middleware(StaticFilesInMemory)]
