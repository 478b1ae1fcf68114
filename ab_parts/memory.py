"""What a process remembers of a store's A/B tests, so that an assignment is served without asking the store.

    >>> memory = Memory()
    >>> memory.keep_variants("4f2a", ["ada"], ["treatment"])
    >>> memory.variant_of("4f2a", "ada"), memory.variant_of("4f2a", "bob")
    ('treatment', None)

Two facts make this right. A stored assignment never changes, so one that was seen holds for as long as the test exists.
And while a test is in its first phase and every stored assignment is the one its rule gives (`Live.is_all_by_rule`),
the rule gives the variant of everybody. Both rest on the state of the test, which is taken as known for `STALE_SECONDS`
at most; writes by this process end that at once, whichever framework or `Database` object made them.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from itertools import islice, repeat
from typing import Any, ClassVar

from ab_parts.assignment import Live
from ab_parts.design import ExperimentConfig
from db import Database
from lazy_dataclass import dataclass

__all__ = ["STALE_SECONDS", "Known", "Memory"]

STALE_SECONDS = 0.05  # how long what another process did to a test may go unseen
MOST_VARIANTS = 100_000  # stored assignments of one generation, of which two are kept: 40 MB at most with short ids
MOST_TESTS = 1_000  # with the state of each


@dataclass(frozen=True, slots=True)
class Known:
    """The state of a test, and until when (`time.monotonic`) it may be relied on."""

    live: Live
    until: float


class Memory:
    """The state of tests and the stored assignments that were seen; one object per store and process.

    Attributes
    ----------
    lives : dict
        Id of a test -> (the row it was made of, the state).
    seen : threading.local
        What this thread read last in a write transaction, and at which version of the data.

    Notes
    -----
    No lock is held while anything is served: every step is one operation on a dict, or replaces one. What was read
    before a write of this process is not taken in after it, because the write has replaced the token.
    """

    _of_stores: ClassVar[weakref.WeakValueDictionary[str, Memory]] = weakref.WeakValueDictionary()
    _making: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self.lives: dict[str, tuple[tuple[Any, ...], Live]] = {}
        self.seen = threading.local()
        self.token = object()
        self._designs: dict[str, ExperimentConfig] = {}
        self._known: dict[str, Known] = {}
        self._new: dict[tuple[str, str], str] = {}
        self._old: dict[tuple[str, str], str] = {}

    @classmethod
    def of(cls, database: Database) -> Memory:
        """Return what this process remembers of a store, the same for every `Database` object on it."""
        if database.path is not None:
            key = os.path.realpath(database.path)
        elif database.dialect == "sqlite":
            key = f"in memory {id(database)}"  # every object is a store of its own, kept alive by whoever has this
        else:
            key = database.engine.url.render_as_string(hide_password=False)
        with cls._making:
            found = cls._of_stores.get(key)
            if found is None:
                found = cls._of_stores[key] = cls()
            return found

    # -- the state of tests --------------------------------------------------------------------------

    def state_of(self, exp_id: str) -> Live | None:
        """Return the state of a test, by its id or name, if it was read a moment ago."""
        known = self._known.get(exp_id)
        return known.live if known is not None and time.monotonic() < known.until else None

    def keep_state(self, exp_id: str, live: Live, *, read_at: float, token: object) -> None:
        """Take in what was read, unless this process has written since: `token` is from before the reading."""
        known = self._known  # before the look at the token: a write in between leaves this dict behind
        if token is self.token:
            if len(known) >= MOST_TESTS:
                known.clear()
            known[exp_id] = Known(live, read_at + STALE_SECONDS)

    def forget_states(self) -> None:
        """Ask the store again: something was written. Call it after the commit."""
        self.token = object()
        self._known = {}
        self.seen.version = None

    def keep_live(self, exp_id: str, row: tuple[Any, ...], live: Live) -> None:
        """Keep what was made of the row of a test, to be used again while the row is the same."""
        if len(self.lives) >= MOST_TESTS:
            self.lives = {}
        self.lives[exp_id] = (row, live)

    def design_of(self, uid: str) -> ExperimentConfig | None:
        """Return the design of a test, which never changes, if it was read before."""
        return self._designs.get(uid)

    def keep_design(self, uid: str, stored: Mapping[str, Any]) -> ExperimentConfig:
        """Return the design that a test's row holds, and remember it."""
        if len(self._designs) >= MOST_TESTS:
            self._designs = {}
        design = self._designs[uid] = ExperimentConfig.from_dict(stored)
        return design

    # -- stored assignments --------------------------------------------------------------------------

    def variant_of(self, uid: str, subject: str) -> str | None:
        """Return the stored variant of a subject, None if it was not seen; true as long as the test exists."""
        key = (uid, subject)
        return self._new.get(key) or self._old.get(key)

    def variants_of(self, uid: str, subjects: Iterable[str]) -> list[str] | None:
        """Return the stored variants of subjects, None as soon as one was not seen."""
        found = []
        for subject in subjects:
            variant = self.variant_of(uid, subject)
            if variant is None:
                return None
            found.append(variant)
        return found

    def keep_variants(self, uid: str, subjects: Iterable[str], variants: Iterable[str]) -> None:
        """Take in assignments that are committed; of a very large batch the first."""
        new = self._new
        new.update(islice(zip(zip(repeat(uid), subjects), variants, strict=False), MOST_VARIANTS))
        if len(new) >= MOST_VARIANTS:
            self._old, self._new = new, {}


def _renew_lock() -> None:
    Memory._making = threading.Lock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)
