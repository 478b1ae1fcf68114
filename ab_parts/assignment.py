"""Which variant a subject gets: pure functions of a stored salt and the subject's id.

>>> hash_fraction("salt", SPLIT, "ada") == hash_fraction("salt", SPLIT, "ada")
True
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ab_parts.design import ExperimentConfig
from ab_parts.intake import to_subject
from errors import StateError
from lazy_dataclass import dataclass

__all__ = ["Assigner", "Live", "check_running", "hash_fraction", "names_of"]

SPLIT, COVERAGE = b"split", b"coverage"  # purposes of the independent hashes of one subject
HASH_RANGE = 2.0**64


def hash_fraction(salt: str, purpose: bytes, subject: str) -> float:
    """Return the place of a subject in [0, 1), by a cryptographic hash.

    Parameters
    ----------
    salt : str
        Of the experiment or namespace.
    purpose : bytes
        Different purposes give independent places.
    subject : str

    Returns
    -------
    float

    Notes
    -----
    The first 8 bytes of BLAKE2b over salt, purpose and the UTF-8 id, as a fraction of 2^64. Python's `hash()`
    changes from
    process to process, and checksums (CRC) of similar ids are not independent between experiments.
    """
    return _place(hash_prefix(salt, purpose) + subject.encode())


def _place(key: bytes) -> float:
    return int.from_bytes(hashlib.blake2b(key).digest()[:8], "big") / HASH_RANGE


def hash_prefix(salt: str, purpose: bytes) -> bytes:
    return salt.encode() + b":" + purpose + b":"


def hash_fractions(salt: str, purpose: bytes, subjects: Sequence[str]) -> np.ndarray:
    """`hash_fraction` of many subjects, array of shape (n_subjects,)."""
    prefix, blake2b = hash_prefix(salt, purpose), hashlib.blake2b
    digests = b"".join([blake2b(prefix + subject.encode()).digest()[:8] for subject in subjects])
    return np.frombuffer(digests, dtype=">u8").astype(np.float64) / HASH_RANGE


@dataclass(frozen=True)
class Live:
    """What assignment and recording need to know of an experiment, read within their transaction."""

    row_id: int
    uid: str
    status: str
    config: ExperimentConfig
    salt: str
    phase: int
    shares: tuple[float, ...]  # of the variants, baseline first; sum 1
    coverage: float
    by_rule: bool  # whether every subject assigned in this phase got what the rule says
    namespace: str | None
    namespace_start: float
    namespace_share: float

    @property
    def edges(self) -> np.ndarray:
        """Upper ends of the variants' ranges in [0, 1], without the last."""
        return np.cumsum(self.shares)[:-1]

    @property
    def last(self) -> int:
        """The last variant with a share: rounding of the cumulated shares must not reach one without."""
        return max(index for index, share in enumerate(self.shares) if share > 0.0)

    @cached_property
    def rule(self) -> Assigner:
        """What a subject without history gets."""
        return Assigner(self)

    @property
    def is_all_by_rule(self) -> bool:
        """Whether the rule gives the variant of every subject, with history or without."""
        return self.by_rule and self.phase == 1

    def variants_of(self, subjects: Sequence[str]) -> np.ndarray:
        """Return variant indices, shape (n_subjects,); -1 outside the coverage or the namespace's share."""
        places = hash_fractions(self.salt, SPLIT, subjects)
        variants = np.minimum(np.searchsorted(self.edges, places, side="right"), self.last)
        if self.coverage < 1.0:
            variants[hash_fractions(self.salt, COVERAGE, subjects) >= self.coverage] = -1
        if self.namespace is not None and self.namespace_share < 1.0:
            slots = hash_fractions("namespace", self.namespace.encode(), subjects)
            inside = (slots >= self.namespace_start) & (slots < self.namespace_start + self.namespace_share)
            variants[~inside] = -1
        return variants


class Assigner:
    """The assignment rule of one phase of one test, without a database.

    Examples
    --------
    >>> import tempfile
    >>> from ab_testing import ABTestingFramework, ExperimentConfig
    >>> ab = ABTestingFramework(f"sqlite:///{tempfile.mkdtemp()}/modeldesk.db")
    >>> exp_id = ab.create_experiment(ExperimentConfig(name="t", metric_name="y"))
    >>> ab.assigner(exp_id).variant("ada") == ab.assign(exp_id, "ada")
    True
    """

    def __init__(self, live: Live) -> None:
        self._names = live.config.variants
        self._edges: list[float] = live.edges.tolist()
        self._last = live.last
        self._split = hash_prefix(live.salt, SPLIT)
        # (prefix of the hash, start, end) of the places in [0, 1) that take part
        self._conditions: list[tuple[bytes, float, float]] = []
        if live.coverage < 1.0:
            self._conditions.append((hash_prefix(live.salt, COVERAGE), 0.0, live.coverage))
        if live.namespace is not None and live.namespace_share < 1.0:
            end = live.namespace_start + live.namespace_share
            self._conditions.append((hash_prefix("namespace", live.namespace.encode()), live.namespace_start, end))

    def variant(self, user_id: str | int) -> str | None:
        """Return the variant of a subject, or None if it takes no part."""
        subject = user_id if type(user_id) is str and user_id.isalnum() and len(user_id) < 256 else to_subject(user_id)
        index = self.index(subject)
        return None if index < 0 else self._names[index]

    def index(self, subject: str) -> int:
        """Return the variant index of a subject's id as text, -1 if it takes no part."""
        key = subject.encode()
        for prefix, start, end in self._conditions:
            if not start <= _place(prefix + key) < end:
                return -1
        return min(bisect_right(self._edges, _place(self._split + key)), self._last)


def check_running(live: Live) -> None:
    """Raise StateError, with the remedy, unless events and assignments are taken."""
    if live.status != "running":
        remedy = "resume it first" if live.status == "paused" else "create a new one"
        raise StateError(f"experiment {live.config.name!r} is {live.status}; {remedy}")


def names_of(live: Live, variants: np.ndarray) -> np.ndarray:
    """Return the names of variant indices, shape (n,); None for -1."""
    if (variants >= 0).all():
        return np.asarray(np.array(live.config.variants)[variants])
    names = np.empty(len(live.config.variants) + 1, dtype=object)
    names[:-1], names[-1] = live.config.variants, None
    return np.asarray(names[variants])
