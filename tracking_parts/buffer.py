"""The buffered mode: metric values wait in memory and are stored together.

What a killed process may lose is bounded: at most `max_points` values and at most `max_seconds` of them, whichever
comes first. Everything is stored when a flush is asked for, when the run ends, before anything is read through the same
`ExperimentTracking`, and when the interpreter exits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["MAX_POINTS", "MAX_SECONDS", "MetricBuffer"]

logger = logging.getLogger("modeldesk")

MAX_POINTS = 5_000  # values waiting at most
MAX_SECONDS = 1.0  # longest wait of a value

Entry = tuple[str, dict[str, float | None], int | None, int]


class MetricBuffer:
    """Values that wait.

    Parameters
    ----------
    store : callable
        Stores a list of (run_id, values by metric, step or None, microseconds) in one transaction.
    max_points : int
        Flush when so many values wait.
    max_seconds : float
        Flush when the first of them has waited so long.
    """

    def __init__(
        self, store: Callable[[list[Entry]], None], *, max_points: int = MAX_POINTS, max_seconds: float = MAX_SECONDS
    ) -> None:
        self._store = store
        self._max_points = max_points
        self._max_seconds = max_seconds
        self._entries: list[Entry] = []
        self._n_points = 0
        self._lock = threading.Lock()  # of the list: held for an append
        self._storing = threading.Lock()  # of the order in which lists are stored
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def __len__(self) -> int:
        return self._n_points

    def add(self, run_id: str, values: dict[str, float | None], step: int | None, at: int) -> None:
        """Let values wait; raises what went wrong with earlier ones."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        with self._lock:
            self._entries.append((run_id, values, step, at))
            self._n_points += len(values)
            full = self._n_points >= self._max_points
            if self._thread is None:
                self._wake.clear()
                self._thread = threading.Thread(target=self._work, name="modeldesk-buffer", daemon=True)
                self._thread.start()
        if full:
            self.flush()

    def flush(self) -> None:
        """Store everything that waits; when this returns it is durable.

        Raises
        ------
        Exception
            What the store raised. The values of that transaction are kept and tried again by the next flush, unless
            they themselves were refused (a run that is gone).
        """
        with self._storing:
            with self._lock:
                entries, self._entries, self._n_points = self._entries, [], 0
            if not entries:
                return
            try:
                self._store(entries)
            except (ValueError, LookupError, RuntimeError):
                raise  # refused for good: trying again would refuse them again, and hold back those after them
            except BaseException:
                with self._lock:
                    self._entries = entries + self._entries
                    self._n_points = sum(len(entry[1]) for entry in self._entries)
                raise

    def _work(self) -> None:
        while True:
            time.sleep(self._max_seconds)
            try:
                self.flush()
            except BaseException as error:  # noqa: BLE001 - handed to the next caller, who can act on it
                logger.warning("buffered metrics could not be stored: %s", error)
                self._failure = error
            with self._lock:
                if not self._entries:
                    self._thread = None
                    return

    def forget(self) -> None:
        """In a forked child: what waits is the parent's to store."""
        self._entries, self._n_points = [], 0
        self._lock, self._storing = threading.Lock(), threading.Lock()
        self._thread = None
