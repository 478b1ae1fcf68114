"""Keeps the runs of this process: heartbeats while it lives, an end for each when it exits.

A run that nobody ended is not left "running" for ever. While the process lives, a background thread writes a
heartbeat. When the interpreter exits, runs still open are finished, or failed if an exception ended the program.
When the process is killed, neither happens: others see that it is gone and mark its runs "killed".
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import traceback
import weakref
from collections.abc import Callable

__all__ = ["HEARTBEAT_SECONDS", "STALE_SECONDS", "Keeper", "describe_exception"]

logger = logging.getLogger("modeldesk")

HEARTBEAT_SECONDS = 10.0  # between heartbeats: one small write for all runs of a process
STALE_SECONDS = 60.0  # a run whose process cannot be seen from here is dead after six missed heartbeats
ERROR_MAX_CHARACTERS = 20_000  # of a stored traceback; its end says most


def describe_exception(error: BaseException) -> str:
    """Return an exception with its traceback as text that can be stored."""
    text = "".join(traceback.format_exception(error))
    text = text.replace("\x00", "�").encode("utf-8", "replace").decode()
    return text if len(text) <= ERROR_MAX_CHARACTERS else "…\n" + text[-ERROR_MAX_CHARACTERS:]


class Keeper:
    """The open runs of this process in one store.

    Parameters
    ----------
    beat : callable
        Called with the numbers of the open runs every `HEARTBEAT_SECONDS`.
    finish : callable
        Called at exit with the number of a run and the text of the exception that ended the program, or None.
    flush : callable
        Called before the runs are finished at exit.
    forget : callable
        Called in a forked child.
    """

    def __init__(
        self,
        beat: Callable[[list[int]], None],
        finish: Callable[[int, str | None], None],
        flush: Callable[[], None],
        forget: Callable[[], None],
    ) -> None:
        self._beat = beat
        self._finish = finish
        self._flush = flush
        self._on_fork = forget
        self._open: set[int] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        _keepers.add(self)

    def add(self, run: int) -> None:
        """Keep a run alive from now on."""
        with self._lock:
            self._open.add(run)
            if self._thread is None or not self._thread.is_alive():
                self._wake = threading.Event()
                self._thread = threading.Thread(
                    target=self._work, args=(self._wake,), name="modeldesk-heartbeat", daemon=True
                )
                self._thread.start()

    def discard(self, run: int) -> None:
        """Let go of a run."""
        with self._lock:
            self._open.discard(run)
            if not self._open:
                self._wake.set()
                self._thread = None

    def _work(self, wake: threading.Event) -> None:
        failing = False
        while not wake.wait(HEARTBEAT_SECONDS):
            with self._lock:
                runs = sorted(self._open)
            try:
                self._beat(runs)
                failing = False
            except Exception as error:  # noqa: BLE001 - whatever it is, the next heartbeat tries again
                if not failing:  # said once an outage, not every ten seconds
                    logger.warning("a heartbeat of %d runs could not be written: %s", len(runs), str(error)[:500])
                failing = True

    def let_go(self) -> None:
        """Let go of every run without ending it, and stop the heartbeat."""
        with self._lock:
            runs = list(self._open)
        for run in runs:
            self.discard(run)

    def close(self, error: str | None) -> None:
        """Flush, then end every run that is still open."""
        try:
            self._flush()
        except Exception:
            logger.exception("buffered metrics could not be stored at exit")
        with self._lock:
            runs = sorted(self._open)
        ended = 0
        try:
            for run in runs:
                self._finish(run, error)
                ended += 1
        except Exception as failure:  # noqa: BLE001 - the store is gone: the next one could not be ended either
            logger.warning("%d runs could not be ended: %s", len(runs) - ended, str(failure).split("\n", 1)[0])
        self.let_go()

    def _forget(self) -> None:
        """In a forked child: the runs are the parent's."""
        self._open = set()
        self._lock = threading.Lock()
        self._thread = None
        self._on_fork()


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


def _close_all() -> None:
    error = getattr(sys, "last_value", None)
    text = describe_exception(error) if isinstance(error, BaseException) else None
    if _is_interactive():
        text = None  # an old traceback in a notebook says nothing about how its runs went
    for keeper in list(_keepers):
        keeper.close(text)


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def _forget_all() -> None:
    for keeper in list(_keepers):
        keeper._forget()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
