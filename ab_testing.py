"""A/B tests of models: design, assignment, events, stopping and decision, in one place.

    >>> import tempfile, numpy as np
    >>> ab = ABTestingFramework(f"sqlite:///{tempfile.mkdtemp()}/modeldesk.db")
    >>> exp_id = ab.create_experiment(ExperimentConfig(name="v2", metric_name="accuracy", min_sample_size=100))
    >>> users = [f"user-{i}" for i in range(400)]
    >>> better = ab.assign_many(exp_id, users) == "treatment"
    >>> values = np.random.default_rng(1).normal(0.80 + 0.05 * better, 0.1)
    >>> ab.record_events(exp_id, zip(users, values))
    400
    >>> ab.analyze_experiment(exp_id).decision
    'ship'

Vocabulary: a *subject* (user, request, document) is the unit that is assigned and compared, however many events it
has;
a *variant* is what a subject gets: the *baseline* or a *treatment*; a *phase* is a period of constant split and
coverage; a *look* is one time somebody saw results; an *effect* is treatment minus baseline.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from ab_design import (
    Aggregation,
    ExperimentConfig,
    Metric,
    MetricType,
    SampleSizePlan,
    plan_sample_size,
)
from ab_results import (
    DailyPoint,
    Experiment,
    ExperimentAnalysis,
    Look,
    MetricData,
    SimulationResult,
    StoppingDecision,
    VariantComparison,
    analyze_data,
    data_from_values,
    simulate,
)
from db import (
    ABAssignmentRow,
    ABAttributeRow,
    ABExperimentRow,
    ABLookRow,
    ABPhaseRow,
    ABSubjectRow,
    Database,
    DuplicateError,
    ModelVersionRow,
    NotFoundError,
    StateError,
    to_microseconds,
)
from stats.decision import DECISIONS
from stats.moments import JointStatistics, MeanStatistics
from values import check_choice, check_key, check_text, decode_json, new_id, to_float, to_utc

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.orm import Session

__all__ = [
    "ABTestingFramework",
    "Aggregation",
    "Assigner",
    "DailyPoint",
    "Experiment",
    "ExperimentAnalysis",
    "ExperimentConfig",
    "Look",
    "Metric",
    "MetricType",
    "SampleSizePlan",
    "SimulationResult",
    "StoppingDecision",
    "VariantComparison",
    "analyze_frame",
    "analyze_values",
    "calculate_sample_size",
    "simulate_experiment",
]

STATUSES = ("running", "paused", "concluded", "archived")
SPLIT, COVERAGE = b"split", b"coverage"  # purposes of the independent hashes of one subject
MICROSECONDS_PER_DAY = 86_400_000_000
_HASH_RANGE = 2.0**64
_CHUNK = 500  # bound parameters per statement; SQLite allows 999 in old builds
_SHIFT_ROWS = 64  # rows whose mean is the origin of the first pass over the values
_CANCELLATION = 1e6  # squared distance of origin and mean, in variances, from which a second pass is made


# -- assignment: pure functions ----------------------------------------------------------------------


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
    digest = hashlib.blake2b(_hash_prefix(salt, purpose) + subject.encode()).digest()
    return int.from_bytes(digest[:8], "big") / _HASH_RANGE


def _hash_prefix(salt: str, purpose: bytes) -> bytes:
    return salt.encode() + b":" + purpose + b":"


def _hash_fractions(salt: str, purpose: bytes, subjects: Sequence[str]) -> np.ndarray:
    """`hash_fraction` of many subjects, array of shape (n_subjects,)."""
    prefix, blake2b = _hash_prefix(salt, purpose), hashlib.blake2b
    digests = b"".join([blake2b(prefix + subject.encode()).digest()[:8] for subject in subjects])
    return np.frombuffer(digests, dtype=">u8").astype(np.float64) / _HASH_RANGE


@dataclass(frozen=True, slots=True)
class _Live:
    """What assignment and recording need to know of an experiment, read within their transaction."""

    row_id: int
    uid: str
    status: str
    config: ExperimentConfig
    salt: str
    phase: int
    shares: tuple[float, ...]  # of the variants, baseline first; sum 1
    coverage: float
    namespace: str | None
    namespace_start: float
    namespace_share: float

    @property
    def edges(self) -> np.ndarray:
        """Upper ends of the variants' ranges in [0, 1], without the last."""
        return np.cumsum(self.shares)[:-1]

    def variant_of(self, subject: str) -> int:
        """Return the variant index of one subject, -1 outside: `variants_of` without the cost of arrays."""
        if self.coverage < 1.0 and hash_fraction(self.salt, COVERAGE, subject) >= self.coverage:
            return -1
        if self.namespace is not None and self.namespace_share < 1.0:
            slot = hash_fraction("namespace", self.namespace.encode(), subject)
            if not self.namespace_start <= slot < self.namespace_start + self.namespace_share:
                return -1
        place, edge, chosen = hash_fraction(self.salt, SPLIT, subject), 0.0, 0
        for index, share in enumerate(self.shares):
            if share <= 0.0:
                continue
            edge += share
            chosen = index
            if place < edge:
                break
        return chosen

    def variants_of(self, subjects: Sequence[str]) -> np.ndarray:
        """Return variant indices, shape (n_subjects,); -1 outside the coverage or the namespace's share."""
        places = _hash_fractions(self.salt, SPLIT, subjects)
        variants = np.searchsorted(self.edges, places, side="right")
        last = max(index for index, share in enumerate(self.shares) if share > 0.0)
        variants = np.minimum(variants, last)  # rounding of the cumulated shares must not reach a variant of weight 0
        if self.coverage < 1.0:
            variants[_hash_fractions(self.salt, COVERAGE, subjects) >= self.coverage] = -1
        if self.namespace is not None and self.namespace_share < 1.0:
            slots = _hash_fractions("namespace", self.namespace.encode(), subjects)
            inside = (slots >= self.namespace_start) & (slots < self.namespace_start + self.namespace_share)
            variants[~inside] = -1
        return variants


class Assigner:
    """The assignment rule of one phase of one test, without a database.

    Examples
    --------
    >>> import tempfile
    >>> ab = ABTestingFramework(f"sqlite:///{tempfile.mkdtemp()}/modeldesk.db")
    >>> exp_id = ab.create_experiment(ExperimentConfig(name="t", metric_name="y"))
    >>> ab.assigner(exp_id).variant("ada") == ab.assign(exp_id, "ada")
    True
    """

    def __init__(self, live: _Live) -> None:
        self._live = live
        self._whole = live.coverage >= 1.0 and (live.namespace is None or live.namespace_share >= 1.0)
        self._prefix = _hash_prefix(live.salt, SPLIT)
        self._edges: list[float] = live.edges.tolist()
        self._last = max(index for index, share in enumerate(live.shares) if share > 0.0)

    def variant(self, user_id: str | int) -> str | None:
        """Return the variant of a subject, or None if it takes no part."""
        subject = user_id if type(user_id) is str and user_id.isalnum() and len(user_id) < 256 else _to_subject(user_id)
        if not self._whole and self._live.variants_of([subject])[0] < 0:
            return None
        digest = hashlib.blake2b(self._prefix + subject.encode()).digest()
        place = int.from_bytes(digest[:8], "big") / _HASH_RANGE
        return self._live.config.variants[min(bisect_right(self._edges, place), self._last)]


# -- the framework -----------------------------------------------------------------------------------


class ABTestingFramework:
    """Create A/B tests, assign subjects, record what happens, and decide.

    Parameters
    ----------
    database : Database, str, path or None
        A `db.Database`, a URL, or nothing for the default store.

    Examples
    --------
    >>> import tempfile
    >>> ab = ABTestingFramework(f"sqlite:///{tempfile.mkdtemp()}/modeldesk.db")
    >>> exp_id = ab.create_experiment(ExperimentConfig(name="new ranker", metric_name="clicked", metric_type="binary"))
    >>> ab.assign(exp_id, "user-7") in ("baseline", "treatment")
    True
    """

    def __init__(self, database: Database | str | None = None) -> None:
        self._database = Database.open(database)
        self._configs: dict[int, tuple[str, ExperimentConfig]] = {}
        self._lives: dict[str, tuple[tuple[Any, ...], _Live]] = {}

    @property
    def database(self) -> Database:
        """The store this object works on."""
        return self._database

    # -- experiments ---------------------------------------------------------------------------------

    def create_experiment(self, config: ExperimentConfig) -> str:
        """Store a design and start the test.

        Parameters
        ----------
        config : ExperimentConfig

        Returns
        -------
        str
            ``exp_id``. Creating the same design again returns the id of the first.

        Raises
        ------
        DuplicateError
            If the name is taken by a test of another design.
        NotFoundError
            If a linked model version does not exist.
        StateError
            If the namespace has not enough room left.
        """
        if not isinstance(config, ExperimentConfig):
            raise TypeError(f"config must be an ExperimentConfig, got {type(config).__name__}")

        def create(session: Session) -> str:
            if self._database.dialect == "postgresql":  # names and namespaces are read, then written
                session.execute(sa.text("LOCK TABLE ab_experiments IN SHARE ROW EXCLUSIVE MODE"))
            stored = config.to_dict()
            existing = session.scalar(sa.select(ABExperimentRow).where(ABExperimentRow.name == config.name))
            if existing is not None:
                if existing.config == stored and existing.status in ("running", "paused"):
                    return existing.uid
                raise DuplicateError(
                    f"an experiment named {config.name!r} exists already ({existing.status}, id {existing.uid}) "
                    "with another design or finished; choose another name"
                )
            now = to_utc()
            row = ABExperimentRow(
                uid=new_id(),
                name=config.name,
                status="running",
                config=stored,
                salt=secrets.token_hex(16) if config.salt is None else config.salt,
                phase=1,
                baseline_version_id=_find_version_id(session, config.baseline_version_id),
                treatment_version_id=_find_version_id(session, config.treatment_version_id),
                namespace=config.namespace,
                namespace_start=_free_start(session, config.namespace, config.namespace_share),
                namespace_share=config.namespace_share,
                created_at=now,
            )
            session.add(row)
            session.flush()
            shares = dict(zip(config.variants, config.shares, strict=True))
            session.add(
                ABPhaseRow(experiment_id=row.id, number=1, shares=shares, coverage=config.coverage, started_at=now)
            )
            return row.uid

        return self._database.transact(create)

    def get_experiment(self, exp_id: str) -> Experiment:
        """Return an experiment by its id, or by its name.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        with self._database.read() as session:
            row = _find_experiment(session, exp_id)
            phases = _phases_of(session, row.id)
            return _to_experiment(row, phases, _version_uids(session, [row]))

    def list_experiments(
        self, *, status: str | None = None, model_version_id: str | None = None, namespace: str | None = None
    ) -> list[Experiment]:
        """Return experiments, newest first.

        Parameters
        ----------
        status : {"running", "paused", "concluded", "archived"} or None
            None is all but the archived.
        model_version_id : str or None
            Only tests with this registered model version as baseline or treatment.
        namespace : str or None
        """
        query = sa.select(ABExperimentRow).order_by(ABExperimentRow.id.desc())
        if status is None:
            query = query.where(ABExperimentRow.status != "archived")
        else:
            query = query.where(ABExperimentRow.status == check_choice(status, "status", STATUSES))
        if namespace is not None:
            query = query.where(ABExperimentRow.namespace == namespace)
        with self._database.read() as session:
            if model_version_id is not None:
                version = session.scalar(sa.select(ModelVersionRow.id).where(ModelVersionRow.uid == model_version_id))
                query = query.where(
                    sa.or_(
                        ABExperimentRow.baseline_version_id == version, ABExperimentRow.treatment_version_id == version
                    )
                )
            rows = list(session.scalars(query))
            uids = _version_uids(session, rows)
            phases: dict[int, list[ABPhaseRow]] = {}
            for phase in session.scalars(sa.select(ABPhaseRow).order_by(ABPhaseRow.number)):
                phases.setdefault(phase.experiment_id, []).append(phase)
            return [_to_experiment(row, phases.get(row.id, []), uids) for row in rows]

    def pause(self, exp_id: str, *, reason: str | None = None) -> None:
        """Stop assigning and recording for now."""
        self._move(exp_id, "paused", ("running",), reason)

    def resume(self, exp_id: str, *, reason: str | None = None) -> None:
        """Go on after a pause."""
        self._move(exp_id, "running", ("paused",), reason)

    def archive(self, exp_id: str, *, reason: str | None = None) -> None:
        """Take an experiment out of the lists; nothing is deleted. A running one is ended by this."""
        self._move(exp_id, "archived", ("running", "paused", "concluded"), reason)

    def _move(self, exp_id: str, status: str, allowed: tuple[str, ...], reason: str | None) -> None:
        note = None if reason is None else check_text(reason, "reason")

        def move(session: Session) -> None:
            row = _find_experiment(session, exp_id, lock=True)
            if row.status == status:
                return
            if row.status not in allowed:
                raise StateError(
                    f"experiment {row.name!r} is {row.status}; only {' or '.join(allowed)} can become {status}"
                )
            row.status = status
            if note is not None and row.decision is None:
                row.decision_reason = note
            if status == "archived":
                row.archived_at = to_utc()
                row.ended_at = row.ended_at or row.archived_at

        self._database.transact(move)

    def conclude(
        self, exp_id: str, *, decision: str | None = None, reason: str | None = None, actor: str | None = None
    ) -> ExperimentAnalysis:
        """End the test and record what was decided, with the evidence as of now.

        Parameters
        ----------
        exp_id : str
        decision : str or None
            One of "ship", "keep_baseline", "stop_futile", "too_small", "inconclusive", "invalid". None takes the
            decision
            of the analysis; if that is to keep running, "inconclusive".
        reason, actor : str or None
            Why, and who.

        Returns
        -------
        ExperimentAnalysis
            The analysis that is stored as evidence.

        Raises
        ------
        StateError
            If the test is concluded or archived already.
        """
        choices = [code for code in DECISIONS if code not in ("keep_running", "insufficient_data")]
        if decision is not None:
            check_choice(decision, "decision", choices)
        note = None if reason is None else check_text(reason, "reason")
        who = None if actor is None else check_text(actor, "actor", 255)

        def end(session: Session) -> ExperimentAnalysis:
            row = _find_experiment(session, exp_id, lock=True)
            if row.status not in ("running", "paused"):
                raise StateError(f"experiment {row.name!r} is {row.status} already; its decision is {row.decision!r}")
            live = self._to_live(session, row)
            analysis = self._analyze(session, live, running=False, store_look=True)
            row.status, row.ended_at = "concluded", to_utc()
            row.decision = decision or (analysis.decision if analysis.decision in choices else "inconclusive")
            row.decision_reason, row.decided_by = note or analysis.recommendation, who
            row.evidence = analysis.to_dict()
            return analysis

        return self._database.transact(end)

    def start_phase(
        self,
        exp_id: str,
        *,
        traffic_split: float | Mapping[str, float] | None = None,
        coverage: float | None = None,
        reason: str | None = None,
    ) -> int:
        """Change split or coverage from now on; results are compared within phases, never pooled.

        Parameters
        ----------
        exp_id : str
        traffic_split : float, mapping or None
            The treatment's share, or the share of every treatment by variant; None keeps it.
        coverage : float or None
            Share of all subjects that take part; None keeps it.
        reason : str or None

        Returns
        -------
        int
            Number of the new phase. Subjects assigned before keep their variant and their phase.
        """
        note = None if reason is None else check_text(reason, "reason")

        def start(session: Session) -> int:
            row = _find_experiment(session, exp_id, lock=True)
            if row.status not in ("running", "paused"):
                raise StateError(f"experiment {row.name!r} is {row.status}; it cannot start a phase")
            live = self._to_live(session, row)
            shares = live.shares if traffic_split is None else live.config.with_split(traffic_split).shares
            wide = live.coverage if coverage is None else to_float(coverage, "coverage")
            if not 0.0 < wide <= 1.0:
                raise ValueError(f"coverage must lie in (0, 1], got {wide!r}")
            if shares == live.shares and wide == live.coverage:
                raise ValueError("the new phase has the split and the coverage of the present one; change one of them")
            row.phase += 1
            session.add(
                ABPhaseRow(
                    experiment_id=row.id,
                    number=row.phase,
                    shares=dict(zip(live.config.variants, shares, strict=True)),
                    coverage=wide,
                    started_at=to_utc(),
                    reason=note,
                )
            )
            return row.phase

        return self._database.transact(start)

    # -- assignment ----------------------------------------------------------------------------------

    def assign(self, exp_id: str, user_id: str | int, *, store: bool = True) -> str | None:
        """Return the variant of a subject; the first answer is stored and never changes.

        Parameters
        ----------
        exp_id : str
        user_id : str or int
        store : bool
            False computes without writing, for display.

        Returns
        -------
        str or None
            "baseline", "treatment" (or a treatment's own name); None when the subject takes no part (coverage,
            namespace).

        Raises
        ------
        StateError
            If the test is not running and the subject was not assigned before.
        """
        subject = _to_subject(user_id)
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            stored = session.scalar(
                sa.select(ABAssignmentRow.variant).where(
                    ABAssignmentRow.experiment_id == live.row_id, ABAssignmentRow.subject == subject
                )
            )
        if stored is not None:
            return live.config.variants[stored]
        if not store:
            variant = live.variant_of(subject)
            return None if variant < 0 else live.config.variants[variant]
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, live.uid)
            variant = self._assign_one(cursor, live, subject, None)[0]
        return None if variant < 0 else live.config.variants[variant]

    def assigner(self, exp_id: str) -> Assigner:
        """Return the rule of the present phase as an object that needs no database, for serving.

        Its answers are those `assign` gives to subjects without history; it knows nothing of stored
        assignments, later phases or pauses, so record events with ``variant=`` when it served them.
        """
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
        return Assigner(live)

    def assign_many(self, exp_id: str, user_ids: Iterable[str | int], *, store: bool = True) -> np.ndarray:
        """Return the variants of many subjects in one transaction.

        Parameters
        ----------
        exp_id : str
        user_ids : iterable of str or int, shape (n,)
            A list, array or Series.
        store : bool
            False computes without reading or writing assignments: what a subject without history would get.

        Returns
        -------
        array of shape (n,)
            Names of variants; None where a subject takes no part.
        """
        subjects = _to_subjects(user_ids)
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
        if not store:
            return _names_of(live, live.variants_of(subjects))
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, live.uid)
            variants = self._assign_all(cursor, live, subjects, None)
        return _names_of(live, variants)

    def _assign_one(self, cursor: Any, live: _Live, subject: str, claimed: int | None) -> tuple[int, int]:
        """Return (variant, phase) of a subject in a write transaction, storing a new one; (-1, 0) if outside."""
        sql = self._database.sql
        where = (live.row_id, subject)
        if live.status == "running":
            variant = live.variant_of(subject) if claimed is None else claimed
            if variant >= 0:
                row = (live.row_id, subject, variant, live.phase, time.time_ns() // 1000)
                cursor.execute(sql(_INSERT_ASSIGNMENT), row)
                if cursor.rowcount == 1:
                    return variant, live.phase
        cursor.execute(sql("SELECT variant, phase FROM ab_assignments WHERE experiment_id = ? AND subject = ?"), where)
        found = cursor.fetchone()
        if found is None:
            _check_running(live)
            return -1, 0
        if claimed is not None and claimed != found[0]:
            cursor.execute(sql(_COUNT_CONFLICT), where)
        return int(found[0]), int(found[1])

    def _assign_all(self, cursor: Any, live: _Live, subjects: Sequence[str], claimed: np.ndarray | None) -> np.ndarray:
        """Return stored variants of many subjects within a write transaction, shape (n,); -1 outside."""
        sql = self._database.sql
        if claimed is None:
            variants = live.variants_of(subjects)
        else:
            missing = claimed < 0
            variants = claimed.copy()
            if missing.any():
                computed = live.variants_of([subjects[index] for index in np.flatnonzero(missing).tolist()])
                variants[missing] = computed
        wanted: dict[str, int] = {}
        for subject, variant in zip(subjects, variants.tolist(), strict=True):
            wanted.setdefault(subject, variant)
        new = 0
        inside = [(subject, variant) for subject, variant in wanted.items() if variant >= 0]
        if live.status == "running" and inside:
            now = to_microseconds(to_utc())
            # In key order: appends to the clustered table instead of splitting pages, and no deadlocks on PostgreSQL.
            inside.sort()
            rows = [(live.row_id, subject, variant, live.phase, now) for subject, variant in inside]
            cursor.executemany(sql(_INSERT_ASSIGNMENT), rows)
            new = cursor.rowcount
        if new == len(wanted) and (claimed is None or len(wanted) == len(subjects)):
            return variants
        stored = self._stored_variants(cursor, live, list(wanted))
        if live.status != "running" and any(variant >= 0 and subject not in stored for subject, variant in inside):
            _check_running(live)
        if claimed is not None:
            lost = [
                (live.row_id, subject)
                for subject, variant in zip(subjects, claimed.tolist(), strict=True)
                if variant >= 0 and stored.get(subject, variant) != variant
            ]
            if lost:
                cursor.executemany(sql(_COUNT_CONFLICT), lost)
        return np.array([stored.get(subject, -1) for subject in subjects], dtype=np.int64)

    def _stored_variants(self, cursor: Any, live: _Live, subjects: list[str]) -> dict[str, int]:
        result: dict[str, int] = {}
        for start in range(0, len(subjects), _CHUNK):
            chunk = subjects[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            statement = f"SELECT subject, variant FROM ab_assignments WHERE experiment_id = ? AND subject IN ({marks})"  # noqa: S608 - only marks
            cursor.execute(self._database.sql(statement), (live.row_id, *chunk))
            result.update(cursor.fetchall())
        return result

    # -- events --------------------------------------------------------------------------------------

    def record_event(
        self,
        exp_id: str,
        user_id: str | int,
        value: float | tuple[float, float],
        *,
        metric: str | None = None,
        at: datetime | str | None = None,
        event_id: str | None = None,
        variant: str | None = None,
        denominator: float | None = None,
    ) -> bool:
        """Store one event; the subject is assigned if it was not yet.

        Parameters
        ----------
        exp_id : str
        user_id : str or int
        value : float
            A finite number (continuous), 0 or 1 (binary), a whole number of 0 or more (count), the numerator (ratio).
        metric : str or None
            The main metric by default.
        at : datetime, text or None
            When it happened; now by default.
        event_id : str or None
            A second event with this id in the same test is not stored: safe to repeat after a failure.
        variant : str or None
            What the subject really got, when it was assigned elsewhere.
        denominator : float or None
            Ratio metrics; ``value`` may also be the pair (numerator, denominator).

        Returns
        -------
        bool
            True if the event is new; False if its id was known, or the subject takes no part in the test.

        Raises
        ------
        ValueError, TypeError
            If the value does not fit the metric; nothing is stored.
        StateError
            If the test is not running.

        Notes
        -----
        Survives the death of the process; see `db.Database.write` for power cuts.
        """
        subject = _to_subject(user_id)
        instant = time.time_ns() // 1000 if at is None else to_microseconds(to_utc(at))
        key = None if event_id is None else check_key(event_id, "event_id")
        row_id = self._known_id(exp_id)
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, exp_id, row_id)
            _check_running(live)
            index = live.config.metric_index(metric)
            chosen = live.config.metrics[index]
            number, below = _to_event_value(chosen, value, denominator)
            claimed = None if variant is None else live.config.variant_index(variant)
            found, phase = self._assign_one(cursor, live, subject, claimed)
            if found < 0:
                return False
            sql = self._database.sql
            cursor.execute(sql(_INSERT_EVENT), (live.row_id, index, subject, number, below, instant, key))
            if cursor.rowcount != 1:
                return False
            upsert = _upsert_subject(self._database.dialect, chosen.aggregation)
            cursor.execute(
                sql(upsert), (live.row_id, index, subject, found, phase, 1, number, below, number, instant, instant)
            )
        return True

    def record_events(self, exp_id: str, rows: Any) -> int:
        """Store many events, all or none.

        Parameters
        ----------
        exp_id : str
        rows : DataFrame, or iterable of mappings or (user_id, value) pairs
            Columns or keys ``user_id`` and ``value``, and optionally ``metric``, ``at``, ``event_id``, ``variant``,
            ``denominator``, as in `record_event`.

        Returns
        -------
        int
            How many were new.

        Raises
        ------
        ValueError, TypeError
            If one row is wrong, naming it; nothing is stored then.
        """
        table = _to_columns(rows)
        n = len(table["user_id"])
        if n == 0:
            with self._database.read() as session:
                self._find_live(session, exp_id)
            return 0
        subjects = _to_subjects(table["user_id"])
        row_id = self._known_id(exp_id)
        with self._database.read() as session:
            config = self._find_live(session, exp_id).config
        metrics = _to_metric_indices(config, table.get("metric"), n)
        numbers, below = _to_event_values(config, metrics, table["value"], table.get("denominator"))
        instants = _to_instants(table.get("at"), n)
        keys = _to_event_ids(table.get("event_id"), n)
        claimed = _to_variant_indices(config, table.get("variant"), n)
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, exp_id, row_id, exclusive=True)
            _check_running(live)
            variants = self._assign_all(cursor, live, subjects, claimed)
            kept = np.flatnonzero(variants >= 0)
            if keys is not None:
                kept = self._unknown_events(cursor, live, kept, keys)
            if kept.size == 0:
                return 0
            sql = self._database.sql
            order = kept.tolist()
            metric_list, number_list, below_list = metrics.tolist(), numbers.tolist(), below.tolist()
            at_list = instants.tolist()
            row = live.row_id
            cursor.executemany(
                sql(_INSERT_EVENT),
                [
                    (
                        row,
                        metric_list[i],
                        subjects[i],
                        number_list[i],
                        below_list[i],
                        at_list[i],
                        keys[i] if keys else None,
                    )
                    for i in order
                ],
            )
            merged = _merge_events(config, order, metric_list, subjects, number_list, below_list, at_list)
            phases = None
            if live.phase > 1:
                phases = self._stored_phases(cursor, live, sorted({subjects[i] for i in order}))
            variant_of = dict(zip(subjects, variants.tolist(), strict=True))
            for index, by_subject in merged.items():
                upsert = _upsert_subject(self._database.dialect, config.metrics[index].aggregation)
                cursor.executemany(
                    sql(upsert),
                    [
                        (
                            row,
                            index,
                            subject,
                            variant_of[subject],
                            live.phase if phases is None else phases[subject],
                            *sums,
                        )
                        for subject, sums in sorted(by_subject.items())
                    ],
                )
        return len(order)

    def _unknown_events(self, cursor: Any, live: _Live, kept: np.ndarray, keys: list[str | None]) -> np.ndarray:
        """Keep the first event of every id that is not stored yet."""
        first: dict[str, int] = {}
        for index in kept.tolist():
            key = keys[index]
            if key is not None:
                first.setdefault(key, index)
        names = list(first)
        for start in range(0, len(names), _CHUNK):
            chunk = names[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            statement = f"SELECT event_id FROM ab_events WHERE experiment_id = ? AND event_id IN ({marks})"  # noqa: S608 - only marks
            cursor.execute(self._database.sql(statement), (live.row_id, *chunk))
            for (known,) in cursor.fetchall():
                first.pop(known)
        wanted = set(first.values())
        return np.array([i for i in kept.tolist() if keys[i] is None or i in wanted], dtype=np.int64)

    def _stored_phases(self, cursor: Any, live: _Live, subjects: list[str]) -> dict[str, int]:
        result: dict[str, int] = {}
        for start in range(0, len(subjects), _CHUNK):
            chunk = subjects[start : start + _CHUNK]
            marks = ", ".join("?" * len(chunk))
            statement = f"SELECT subject, phase FROM ab_assignments WHERE experiment_id = ? AND subject IN ({marks})"  # noqa: S608 - only marks
            cursor.execute(self._database.sql(statement), (live.row_id, *chunk))
            result.update(cursor.fetchall())
        return result

    def record_attributes(self, exp_id: str, rows: Any) -> int:
        """Store what is known of subjects from before the test: numbers as covariates, text as segments.

        Parameters
        ----------
        exp_id : str
        rows : DataFrame or iterable of mappings
            ``user_id`` and any other columns; a missing value (None, NaN) is left out. A second value replaces the
            first.

        Returns
        -------
        int
            Number of values stored.
        """
        table = _to_columns(rows, required=("user_id",), optional=None)
        subjects = _to_subjects(table.pop("user_id"))
        records: list[tuple[str, str, float | None, str | None]] = []
        for name, column in table.items():
            check_key(name, "attribute")
            for position, (subject, value) in enumerate(zip(subjects, column, strict=True)):
                if value is None or (isinstance(value, float) and math.isnan(value)):
                    continue
                if isinstance(value, str):
                    records.append((name, subject, None, check_key(value, f"{name} of row {position}")))
                elif isinstance(value, bool | np.bool_):
                    records.append((name, subject, None, "yes" if value else "no"))
                else:
                    records.append((name, subject, to_float(value, f"{name} of row {position}"), None))
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, exp_id, self._known_id(exp_id))
            rows_sorted = sorted({(name, subject): rest for name, subject, *rest in records}.items())
            cursor.executemany(
                self._database.sql(_UPSERT_ATTRIBUTE),
                [(live.row_id, name, subject, *rest) for (name, subject), rest in rows_sorted],
            )
        return len(rows_sorted)

    # -- analysis ------------------------------------------------------------------------------------

    def analyze_experiment(
        self, exp_id: str, *, segment: str | None = None, record_look: bool = True
    ) -> ExperimentAnalysis:
        """Compare the variants and say what to do.

        Parameters
        ----------
        exp_id : str
        segment : str or None
            Name of a text attribute: results are also given by its values (exploratory, never part of the verdict).
        record_look : bool
            Whether this counts as a look in the stored history; a look without new data never does. False is for
            monitoring
            that shows no result to anybody.

        Returns
        -------
        ExperimentAnalysis
        """
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            running = live.status in ("running", "paused")
            if not (record_look and running):
                return self._analyze(session, live, running=running, store_look=False, segment=segment)

        def look(session: Session) -> ExperimentAnalysis:
            row = _find_experiment(session, exp_id, lock=True)
            fresh = self._to_live(session, row)
            return self._analyze(session, fresh, running=True, store_look=True, segment=segment)

        return self._database.transact(look)

    def check_early_stopping(self, exp_id: str, *, record_look: bool = True) -> StoppingDecision:
        """Say whether the test may stop now, by its own stopping rule.

        Parameters
        ----------
        exp_id : str
        record_look : bool
            See `analyze_experiment`.

        Returns
        -------
        StoppingDecision
        """

        def look(session: Session) -> StoppingDecision:
            row = _find_experiment(session, exp_id, lock=record_look)
            live = self._to_live(session, row)
            running = live.status in ("running", "paused")
            analysis = self._analyze(session, live, running=running, store_look=record_look and running)
            return analysis.stopping

        if not record_look:
            with self._database.read() as session:
                return look(session)
        return self._database.transact(look)

    def looks(self, exp_id: str) -> list[Look]:
        """Return every look at the main metric that was stored, oldest first."""
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            return _looks_of(session, live)

    def daily_series(self, exp_id: str, *, metric: str | None = None, variant: str | None = None) -> list[DailyPoint]:
        """Return the cumulated comparison at the end of every day (UTC), with its confidence sequence.

        Subjects count from the day of their first event, with the value they have by now. Only the confidence
        sequence may be
        read at every day; the fixed-horizon interval is right for one look that was planned.
        """
        from ab_results import daily_points

        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            index = live.config.metric_index(metric)
            chosen = (
                live.config.variants[1] if variant is None else check_choice(variant, "variant", live.config.variants)
            )
            rows = self._daily_statistics(session, live, index)
        return daily_points(live.config, index, live.config.variants.index(chosen), rows)

    def distribution(self, exp_id: str, *, metric: str | None = None, n_bins: int = 40) -> pd.DataFrame:
        """Return how the subjects' values are distributed: columns variant, lower, upper, n_subjects, share."""
        import pandas as pd

        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            index = live.config.metric_index(metric)
            where = (ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == index)
            low, high, n = session.execute(
                sa.select(sa.func.min(ABSubjectRow.value), sa.func.max(ABSubjectRow.value), sa.func.count()).where(
                    *where
                )
            ).one()
            columns = ["variant", "lower", "upper", "n_subjects", "share"]
            if not n:
                return pd.DataFrame({name: [] for name in columns})
            whole = live.config.metrics[index].metric_type in (MetricType.BINARY, MetricType.COUNT)
            width = (high - low) / n_bins if high > low else 1.0
            if whole:
                width = float(max(1, math.ceil((high - low + 1) / n_bins)))
            bucket = sa.func.floor((ABSubjectRow.value - low) / width) if width else sa.literal(0)
            rows = session.execute(
                sa.select(ABSubjectRow.variant, bucket, sa.func.count())
                .where(*where)
                .group_by(ABSubjectRow.variant, bucket)
            ).all()
        top = math.ceil((high - low) / width) - (0 if whole else 1)
        totals: dict[int, int] = {}
        cells: dict[tuple[int, int], int] = {}
        for variant, place, count in rows:
            totals[variant] = totals.get(variant, 0) + count
            key = (variant, max(0, min(int(place), max(top, 0))))
            cells[key] = cells.get(key, 0) + count
        return pd.DataFrame(
            [
                {
                    "variant": live.config.variants[variant],
                    "lower": low + place * width,
                    "upper": low + (place + 1) * width,
                    "n_subjects": count,
                    "share": count / totals[variant],
                }
                for (variant, place), count in sorted(cells.items())
            ],
            columns=columns,
        )

    def _analyze(
        self, session: Session, live: _Live, *, running: bool, store_look: bool, segment: str | None = None
    ) -> ExperimentAnalysis:
        phases = {phase.number: phase for phase in _phases_of(session, live.row_id)}
        data = [self._metric_data(session, live, index, phases) for index in range(len(live.config.metrics))]
        counts, conflicts = self._assignment_counts(session, live)
        segments: dict[str, MetricData] = {}
        if segment is not None:
            segments = self._segment_data(session, live, segment)
        shares = {
            number: [float(phase.shares[name]) for name in live.config.variants] for number, phase in phases.items()
        }
        first, last = data[0].first_at, data[0].last_at
        if first is None:
            first, last = session.execute(
                sa.select(sa.func.min(ABSubjectRow.first_at), sa.func.max(ABSubjectRow.last_at)).where(
                    ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == 0
                )
            ).one()
        analysis, new_looks = analyze_data(
            live.config,
            data,
            exp_id=live.uid,
            experiment_status=live.status,
            assigned=counts,
            shares=shares,
            conflicts=conflicts,
            looks=_looks_of(session, live),
            running=running,
            first_at=first,
            last_at=last,
            segment=segment,
            segments=segments,
        )
        if store_look:
            session.add_all(ABLookRow(experiment_id=live.row_id, **_look_columns(live, look)) for look in new_looks)
        return analysis

    def _assignment_counts(self, session: Session, live: _Live) -> tuple[dict[int, list[int]], int]:
        rows = session.execute(
            sa.select(
                ABAssignmentRow.phase,
                ABAssignmentRow.variant,
                sa.func.count(),
                sa.func.sum(sa.case((ABAssignmentRow.conflicts > 0, 1), else_=0)),
            )
            .where(ABAssignmentRow.experiment_id == live.row_id)
            .group_by(ABAssignmentRow.phase, ABAssignmentRow.variant)
        )
        counts: dict[int, list[int]] = {}
        conflicts = 0
        for phase, variant, count, conflicting in rows:
            counts.setdefault(phase, [0] * len(live.config.variants))[variant] = int(count)
            conflicts += int(conflicting or 0)
        return counts, conflicts

    def _metric_data(
        self, session: Session, live: _Live, index: int, phases: Mapping[int, ABPhaseRow], *extra: Any
    ) -> MetricData:
        """Summarise one metric over its subjects, in the database."""
        metric = live.config.metrics[index]
        where = (ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == index, *extra)
        n_variants = len(live.config.variants)
        if metric.metric_type is MetricType.COUNT:
            return MetricData.from_tally_rows(
                metric,
                n_variants,
                session.execute(
                    sa.select(ABSubjectRow.phase, ABSubjectRow.variant, ABSubjectRow.value, sa.func.count())
                    .where(*where)
                    .group_by(ABSubjectRow.phase, ABSubjectRow.variant, ABSubjectRow.value)
                ).all(),
            )
        if metric.metric_type is MetricType.BINARY:
            rows = session.execute(
                sa.select(ABSubjectRow.phase, ABSubjectRow.variant, sa.func.count(), sa.func.sum(ABSubjectRow.value))
                .where(*where)
                .group_by(ABSubjectRow.phase, ABSubjectRow.variant)
            )
            data = MetricData(metric, n_variants)
            for phase, variant, count, total in rows:
                data.rates[phase, variant] = (round(total), int(count))
            return data
        if metric.metric_type is MetricType.RATIO:
            return self._joint_data(session, live, index, where, ABSubjectRow.denominator, None)
        cap = None
        if index == 0 and live.config.winsorize_quantile is not None:
            cap = _quantile(session, where, live.config.winsorize_quantile)
        if index == 0 and live.config.covariate is not None:
            data = self._joint_data(session, live, index, where, ABAttributeRow.number, cap)
            data.cap = cap
            return data
        value = ABSubjectRow.value if cap is None else _capped(cap)
        data = MetricData(metric, n_variants, cap=cap)
        origin = _origin(session, where, value)
        for _ in range(2):
            rest = value - origin
            moments: Any = session.execute(
                sa.select(
                    ABSubjectRow.phase,
                    ABSubjectRow.variant,
                    sa.func.count(),
                    sa.func.sum(rest),
                    sa.func.sum(rest * rest),
                    sa.func.min(ABSubjectRow.first_at),
                    sa.func.max(ABSubjectRow.last_at),
                )
                .where(*where)
                .group_by(ABSubjectRow.phase, ABSubjectRow.variant)
            ).all()
            worst = 0.0
            for phase, variant, count, total, squares, first, last in moments:
                data.first_at = first if data.first_at is None else min(first, data.first_at)
                data.last_at = last if data.last_at is None else max(last, data.last_at)
                n, shift = int(count), total / count
                deviations = max(squares - total * shift, 0.0)
                data.means[phase, variant] = MeanStatistics(n=n, mean=origin + shift, deviations=deviations)
                if n > 1 and shift * shift * n > _CANCELLATION * deviations:
                    worst = max(worst, abs(shift))
            if worst == 0.0:
                break
            # The origin was far from the data: digits of the variance were lost. Once more, from the overall mean.
            weights = [arm.n for arm in data.means.values()]
            origin = sum(arm.mean * arm.n for arm in data.means.values()) / sum(weights)
        return data

    def _joint_data(
        self, session: Session, live: _Live, index: int, where: tuple[Any, ...], x: Any, cap: float | None
    ) -> MetricData:
        """Means and centred products of two values per subject; without a covariate, a subject has its mean."""
        data = MetricData(live.config.metrics[index], len(live.config.variants))
        y = ABSubjectRow.value if cap is None else _capped(cap)
        source: Any = sa.select().select_from(ABSubjectRow)
        covariate = x is ABAttributeRow.number
        if covariate:
            source = source.outerjoin(
                ABAttributeRow,
                sa.and_(
                    ABAttributeRow.experiment_id == ABSubjectRow.experiment_id,
                    ABAttributeRow.name == live.config.covariate,
                    ABAttributeRow.subject == ABSubjectRow.subject,
                ),
            )
        grouped = (ABSubjectRow.phase, ABSubjectRow.variant)
        x0, y0 = session.execute(source.add_columns(sa.func.avg(x), sa.func.avg(y)).where(*where)).one()
        if y0 is None:
            return data
        x0 = 0.0 if x0 is None else float(x0)
        dx, dy = sa.func.coalesce(x - x0, 0.0), y - float(y0)
        columns = (sa.func.count(), *(sa.func.sum(term) for term in (dx, dy, dx * dx, dy * dy, dx * dy)))
        for phase, variant, count, sx, sy, sxx, syy, sxy in session.execute(
            source.add_columns(*grouped, *columns).where(*where).group_by(*grouped)
        ):
            n = int(count)
            data.joint[phase, variant] = JointStatistics(
                n=n,
                x_mean=x0 + sx / n,
                y_mean=float(y0) + sy / n,
                x_deviations=max(sxx - sx * sx / n, 0.0),
                y_deviations=max(syy - sy * sy / n, 0.0),
                xy_deviations=sxy - sx * sy / n,
            )
        if covariate:
            data.n_covariates = session.scalar(source.add_columns(sa.func.count(x)).where(*where)) or 0
        return data

    def _segment_data(self, session: Session, live: _Live, segment: str) -> dict[str, MetricData]:
        phases = {phase.number: phase for phase in _phases_of(session, live.row_id)}
        labels = list(
            session.scalars(
                sa.select(ABAttributeRow.label)
                .where(ABAttributeRow.experiment_id == live.row_id, ABAttributeRow.name == segment)
                .where(ABAttributeRow.label.is_not(None))
                .distinct()
                .order_by(ABAttributeRow.label)
            )
        )
        if not labels:
            known = session.scalars(
                sa.select(ABAttributeRow.name)
                .where(ABAttributeRow.experiment_id == live.row_id, ABAttributeRow.label.is_not(None))
                .distinct()
            )
            raise NotFoundError(
                f"no text attribute {segment!r} is recorded; known ones: {', '.join(sorted(known)) or 'none'}"
            )
        result = {}
        for label in labels:
            members = sa.select(ABAttributeRow.subject).where(
                ABAttributeRow.experiment_id == live.row_id,
                ABAttributeRow.name == segment,
                ABAttributeRow.label == label,
            )
            result[str(label)] = self._metric_data(session, live, 0, phases, ABSubjectRow.subject.in_(members))
        return result

    def _daily_statistics(
        self, session: Session, live: _Live, index: int
    ) -> list[tuple[int, int, int, JointStatistics]]:
        """Rows (day, phase, variant, n, and centred sums) by day of the first event."""
        where = (ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == index)
        y0, x0 = session.execute(
            sa.select(sa.func.avg(ABSubjectRow.value), sa.func.avg(ABSubjectRow.denominator)).where(*where)
        ).one()
        if y0 is None:
            return []
        y0, x0 = float(y0), float(x0)
        day = sa.type_coerce(ABSubjectRow.first_at, sa.BigInteger) // MICROSECONDS_PER_DAY
        dx, dy = ABSubjectRow.denominator - x0, ABSubjectRow.value - y0
        rows: Any = session.execute(
            sa.select(
                day,
                ABSubjectRow.phase,
                ABSubjectRow.variant,
                sa.func.count(),
                *(sa.func.sum(term) for term in (dx, dy, dx * dx, dy * dy, dx * dy)),
            )
            .where(*where)
            .group_by(day, ABSubjectRow.phase, ABSubjectRow.variant)
            .order_by(day)
        )
        result: list[tuple[int, int, int, JointStatistics]] = []
        for at, phase, variant, n, sx, sy, sxx, syy, sxy in rows:
            statistics = JointStatistics(
                n=int(n),
                x_mean=x0 + sx / n,
                y_mean=y0 + sy / n,
                x_deviations=max(sxx - sx * sx / n, 0.0),
                y_deviations=max(syy - sy * sy / n, 0.0),
                xy_deviations=sxy - sx * sy / n,
            )
            result.append((int(at), int(phase), int(variant), statistics))
        return result

    # -- planning ------------------------------------------------------------------------------------

    # Neither needs a store: they are also functions of this module.
    calculate_sample_size = staticmethod(plan_sample_size)
    simulate_experiment = staticmethod(simulate)

    # -- reading the experiment ----------------------------------------------------------------------

    def _known_id(self, exp_id: str) -> int | None:
        known = self._lives.get(exp_id)
        return None if known is None else known[1].row_id

    def _find_live(self, session: Session, exp_id: str) -> _Live:
        return self._to_live(session, _find_experiment(session, exp_id))

    def _to_live(self, session: Session, row: ABExperimentRow) -> _Live:
        phase = session.get_one(ABPhaseRow, (row.id, row.phase))
        return self._make_live(
            (
                row.id,
                row.uid,
                row.status,
                row.salt,
                row.phase,
                row.namespace,
                row.namespace_start,
                row.namespace_share,
            ),
            row.config,
            phase.shares,
            phase.coverage,
        )

    def _make_live(self, columns: tuple[Any, ...], config: Any, shares: Mapping[str, float], coverage: float) -> _Live:
        row_id, uid, status, salt, phase, namespace, start, share = columns
        known = self._configs.get(row_id)
        if known is None or known[0] != uid:
            known = self._configs[row_id] = (uid, ExperimentConfig.from_dict(config))
        design = known[1]
        return _Live(
            row_id=row_id,
            uid=uid,
            status=status,
            config=design,
            salt=salt,
            phase=phase,
            shares=tuple(float(shares[name]) for name in design.variants),
            coverage=coverage,
            namespace=namespace,
            namespace_start=start,
            namespace_share=share,
        )

    def _lock_live(self, cursor: Any, exp_id: str, row_id: int | None = None, *, exclusive: bool = False) -> _Live:
        """Read the experiment within a write transaction; on PostgreSQL its row is locked against changes."""
        lock = ""
        if self._database.dialect == "postgresql":
            lock = " FOR UPDATE OF e" if exclusive else " FOR SHARE OF e"
        statement = _READ_LIVE + ("e.uid = ?" if row_id is None else "e.id = ?") + lock
        cursor.execute(self._database.sql(statement), (exp_id if row_id is None else row_id,))
        found = cursor.fetchone()
        if found is None or found[1] != exp_id:
            raise NotFoundError(f"no experiment with the id {exp_id!r}; create it with create_experiment()")
        found = tuple(found)
        known = self._lives.get(exp_id)
        if known is not None and known[0] == found:  # nothing of status, phase, split or namespace changed
            return known[1]
        *columns, shares, coverage = found
        design = None
        if columns[0] not in self._configs:
            cursor.execute(self._database.sql("SELECT config FROM ab_experiments WHERE id = ?"), (columns[0],))
            design = decode_json(cursor.fetchone()[0])
        live = self._make_live(tuple(columns), design, decode_json(shares), coverage)
        self._lives[exp_id] = (found, live)
        return live


# -- public functions --------------------------------------------------------------------------------

calculate_sample_size = plan_sample_size
simulate_experiment = simulate


def analyze_values(
    baseline: Any,
    treatment: Any,
    metric_type: MetricType | str = MetricType.CONTINUOUS,
    **design: Any,
) -> ExperimentAnalysis:
    """Compare two arrays of values, one per subject, without any database.

    Parameters
    ----------
    baseline, treatment : array of shape (n,)
        For ratio metrics arrays of shape (n, 2): numerator and denominator.
    metric_type : MetricType or str
    **design
        Fields of `ExperimentConfig`; the result is judged as a finished fixed-horizon test by default.

    Returns
    -------
    ExperimentAnalysis

    Examples
    --------
    >>> analyze_values([0.81, 0.84, 0.79, 0.88], [0.86, 0.89, 0.85, 0.91]).n_subjects
    {'baseline': 4, 'treatment': 4}
    """
    settings: dict[str, Any] = {
        "name": "in memory",
        "metric_name": "value",
        "min_sample_size": 2,
        "stopping": "fixed_horizon",
        "metric_type": metric_type,
    }
    config = ExperimentConfig(**(settings | design))
    data = data_from_values(config, [baseline, treatment])
    n = [data.n_of(0), data.n_of(1)]
    return analyze_data(config, [data], assigned={1: n}, shares={1: None}, running=False)[0]


def analyze_frame(
    frame: pd.DataFrame,
    *,
    variant: str,
    value: str,
    baseline: str | None = None,
    denominator: str | None = None,
    subject: str | None = None,
    metric_type: MetricType | str = MetricType.CONTINUOUS,
    **design: Any,
) -> ExperimentAnalysis:
    """Compare the variants in a DataFrame, without any database.

    Parameters
    ----------
    frame : DataFrame
        One row per subject, or several when ``subject`` names the column with their ids.
    variant, value : str
        Columns with the variant and the value.
    baseline : str or None
        Which variant is the baseline; "baseline" or "control" by default, else the first in sorted order.
    denominator : str or None
        Column of the denominator of ratio metrics.
    subject : str or None
        Column of subject ids: rows of one subject are first aggregated as the design says.
    metric_type : MetricType or str
    **design
        Fields of `ExperimentConfig`.

    Returns
    -------
    ExperimentAnalysis
    """
    from ab_results import arms_from_frame

    names, arms, conflicts = arms_from_frame(frame, variant, value, baseline, denominator, subject, metric_type, design)
    settings: dict[str, Any] = {
        "name": "in memory",
        "metric_name": value,
        "min_sample_size": 2,
        "stopping": "fixed_horizon",
        "metric_type": metric_type,
    }
    if len(names) > 2 or names[1] != "treatment":
        share = 1.0 / len(names)
        settings["treatments"] = dict.fromkeys(names[1:], share)
    config = ExperimentConfig(**(settings | design))
    data = data_from_values(config, arms)
    n = [data.n_of(index) for index in range(len(names))]
    return analyze_data(config, [data], assigned={1: n}, shares={1: None}, running=False, conflicts=conflicts)[0]


# -- SQL of the hot paths ----------------------------------------------------------------------------

_READ_LIVE = (
    "SELECT e.id, e.uid, e.status, e.salt, e.phase, e.namespace, e.namespace_start, e.namespace_share, "
    "p.shares, p.coverage FROM ab_experiments e "
    "JOIN ab_phases p ON p.experiment_id = e.id AND p.number = e.phase WHERE "
)
_INSERT_ASSIGNMENT = (
    "INSERT INTO ab_assignments (experiment_id, subject, variant, phase, assigned_at, conflicts) "
    "VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING"
)
_COUNT_CONFLICT = "UPDATE ab_assignments SET conflicts = conflicts + 1 WHERE experiment_id = ? AND subject = ?"
_INSERT_EVENT = (
    "INSERT INTO ab_events (experiment_id, metric, subject, value, denominator, at, event_id) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_UPSERT_ATTRIBUTE = (
    "INSERT INTO ab_attributes (experiment_id, name, subject, number, label) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (experiment_id, name, subject) DO UPDATE SET number = excluded.number, label = excluded.label"
)
_NEW_VALUES = {
    Aggregation.MEAN: "(ab_subjects.total + excluded.total) / (ab_subjects.n_events + excluded.n_events)",
    Aggregation.SUM: "ab_subjects.total + excluded.total",
    Aggregation.ANY: "{greatest}(ab_subjects.value, excluded.value)",
    Aggregation.MAX: "{greatest}(ab_subjects.value, excluded.value)",
    Aggregation.LAST: (
        "CASE WHEN excluded.last_at >= ab_subjects.last_at THEN excluded.value ELSE ab_subjects.value END"
    ),
    Aggregation.FIRST: (
        "CASE WHEN excluded.first_at < ab_subjects.first_at THEN excluded.value ELSE ab_subjects.value END"
    ),
}


@lru_cache(maxsize=64)
def _upsert_subject(dialect: str, aggregation: Aggregation) -> str:
    least, greatest = ("MIN", "MAX") if dialect == "sqlite" else ("LEAST", "GREATEST")
    value = _NEW_VALUES[aggregation].format(greatest=greatest)
    return (
        # only column names and functions of our own are put in; every value is a parameter
        "INSERT INTO ab_subjects (experiment_id, metric, subject, variant, phase, n_events, total, denominator, "  # noqa: S608
        "value, first_at, last_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (experiment_id, metric, subject) DO UPDATE SET "
        "n_events = ab_subjects.n_events + excluded.n_events, "
        "total = ab_subjects.total + excluded.total, denominator = ab_subjects.denominator + excluded.denominator, "
        f"value = {value}, first_at = {least}(ab_subjects.first_at, excluded.first_at), "
        f"last_at = {greatest}(ab_subjects.last_at, excluded.last_at)"
    )


def _merge_events(
    config: ExperimentConfig,
    order: Sequence[int],
    metrics: Sequence[int],
    subjects: Sequence[str],
    numbers: Sequence[float],
    below: Sequence[float],
    instants: Sequence[int],
) -> dict[int, dict[str, tuple[int, float, float, float, int, int]]]:
    """Combine the events of a batch: metric -> subject -> (n, total, denominator, value, first_at, last_at)."""
    merged: dict[int, dict[str, tuple[int, float, float, float, int, int]]] = {}
    for i in order:
        by_subject = merged.setdefault(metrics[i], {})
        number, at, subject = numbers[i], instants[i], subjects[i]
        old = by_subject.get(subject)
        if old is None:
            by_subject[subject] = (1, number, below[i], number, at, at)
            continue
        n, total, denominator, value, first, last = old
        n, total = n + 1, total + number
        aggregation = config.metrics[metrics[i]].aggregation
        if aggregation is Aggregation.MEAN:
            value = total / n
        elif aggregation is Aggregation.SUM:
            value = total
        elif aggregation in (Aggregation.ANY, Aggregation.MAX):
            value = max(value, number)
        elif aggregation is Aggregation.LAST:
            value = number if at >= last else value
        elif at < first:
            value = number
        by_subject[subject] = (n, total, denominator + below[i], value, min(first, at), max(last, at))
    return merged


# -- rows and records --------------------------------------------------------------------------------


def _find_experiment(session: Session, exp_id: str, *, lock: bool = False) -> ABExperimentRow:
    text = check_text(exp_id, "exp_id", 255)
    query = sa.select(ABExperimentRow).where(sa.or_(ABExperimentRow.uid == text, ABExperimentRow.name == text))
    query = query.order_by(sa.case((ABExperimentRow.uid == text, 0), else_=1)).limit(1)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        names = list(session.scalars(sa.select(ABExperimentRow.name).order_by(ABExperimentRow.id.desc()).limit(5)))
        known = ", ".join(map(repr, names)) or "none"
        raise NotFoundError(f"no experiment {text!r}; the latest ones are: {known}")
    return row


def _find_version_id(session: Session, uid: str | None) -> int | None:
    if uid is None:
        return None
    found = session.scalar(sa.select(ModelVersionRow.id).where(ModelVersionRow.uid == uid))
    if found is None:
        raise NotFoundError(f"no registered model version with the id {uid!r}; register the model first")
    return found


def _free_start(session: Session, namespace: str | None, share: float) -> float:
    """First free place of a namespace that is wide enough."""
    if namespace is None:
        return 0.0
    taken = session.execute(
        sa.select(ABExperimentRow.namespace_start, ABExperimentRow.namespace_share, ABExperimentRow.name)
        .where(ABExperimentRow.namespace == namespace, ABExperimentRow.status.in_(("running", "paused")))
        .order_by(ABExperimentRow.namespace_start)
    ).all()
    place = 0.0
    for start, width, _ in taken:
        if start - place >= share - 1e-12:
            return place
        place = max(place, start + width)
    if 1.0 - place >= share - 1e-12:
        return place
    names = ", ".join(repr(name) for *_, name in taken)
    raise StateError(
        f"namespace {namespace!r} has no {share:.0%} left; it is shared by {names}: conclude one, or ask for a smaller "
        "namespace_share"
    )


def _phases_of(session: Session, row_id: int) -> list[ABPhaseRow]:
    query = sa.select(ABPhaseRow).where(ABPhaseRow.experiment_id == row_id).order_by(ABPhaseRow.number)
    return list(session.scalars(query))


def _version_uids(session: Session, rows: Sequence[ABExperimentRow]) -> dict[int, str]:
    ids = {row_id for row in rows for row_id in (row.baseline_version_id, row.treatment_version_id) if row_id}
    if not ids:
        return {}
    found = session.execute(sa.select(ModelVersionRow.id, ModelVersionRow.uid).where(ModelVersionRow.id.in_(ids)))
    return {int(row_id): str(uid) for row_id, uid in found}


def _to_experiment(row: ABExperimentRow, phases: Sequence[ABPhaseRow], uids: Mapping[int, str]) -> Experiment:
    return Experiment(
        exp_id=row.uid,
        name=row.name,
        status=row.status,
        config=ExperimentConfig.from_dict(row.config),
        created_at=row.created_at,
        ended_at=row.ended_at,
        archived_at=row.archived_at,
        decision=row.decision,
        decision_reason=row.decision_reason,
        decided_by=row.decided_by,
        evidence=row.evidence,
        phase=row.phase,
        phases=[
            {
                "number": phase.number,
                "shares": dict(phase.shares),
                "coverage": phase.coverage,
                "started_at": phase.started_at,
                "reason": phase.reason,
            }
            for phase in phases
        ],
        baseline_version_id=uids.get(row.baseline_version_id or 0),
        treatment_version_id=uids.get(row.treatment_version_id or 0),
    )


def _looks_of(session: Session, live: _Live) -> list[Look]:
    query = (
        sa.select(ABLookRow).where(ABLookRow.experiment_id == live.row_id).order_by(ABLookRow.number, ABLookRow.variant)
    )
    return [
        Look(
            number=row.number,
            variant=live.config.variants[row.variant],
            at=row.at,
            n_baseline=row.n_baseline,
            n_treatment=row.n_treatment,
            information_fraction=row.fraction,
            effect=row.effect,
            standard_error=row.standard_error,
            z=row.z,
            p_value=row.p_value,
            boundary=row.boundary,
            is_final=row.is_final,
            ci_lower=row.ci_lower,
            ci_upper=row.ci_upper,
            outcome=row.outcome,
        )
        for row in session.scalars(query)
    ]


def _look_columns(live: _Live, look: Look) -> dict[str, Any]:
    columns = {name: getattr(look, name) for name in look.__dataclass_fields__}
    columns["variant"] = live.config.variants.index(look.variant)
    columns["fraction"] = columns.pop("information_fraction")
    return columns


def _capped(cap: float) -> Any:
    return sa.case((ABSubjectRow.value > cap, cap), else_=ABSubjectRow.value)


def _origin(session: Session, where: tuple[Any, ...], value: Any) -> float:
    """Mean of a few values: a number from which deviations are small."""
    few = sa.select(value.label("value")).where(*where).limit(_SHIFT_ROWS).subquery()
    mean = session.scalar(sa.select(sa.func.avg(few.c.value)))
    return 0.0 if mean is None else float(mean)


def _quantile(session: Session, where: tuple[Any, ...], quantile: float) -> float | None:
    """Quantile of the subjects' values, interpolated linearly like numpy's."""
    n = session.scalar(sa.select(sa.func.count()).select_from(ABSubjectRow).where(*where)) or 0
    if n == 0:
        return None
    place = (n - 1) * quantile
    low = math.floor(place)
    query = sa.select(ABSubjectRow.value).where(*where).order_by(ABSubjectRow.value).offset(low).limit(2)
    values = list(session.scalars(query))
    return float(values[0] + (place - low) * (values[-1] - values[0]))


def _check_running(live: _Live) -> None:
    if live.status != "running":
        remedy = "resume it first" if live.status == "paused" else "create a new one"
        raise StateError(f"experiment {live.config.name!r} is {live.status}; {remedy}")


def _names_of(live: _Live, variants: np.ndarray) -> np.ndarray:
    if (variants >= 0).all():
        return np.asarray(np.array(live.config.variants)[variants])
    names = np.empty(len(live.config.variants) + 1, dtype=object)
    names[:-1], names[-1] = live.config.variants, None
    return np.asarray(names[variants])


# -- what people hand in -----------------------------------------------------------------------------


def _to_subject(user_id: object) -> str:
    if isinstance(user_id, str):
        return check_key(user_id, "user_id")
    if isinstance(user_id, int | np.integer) and not isinstance(user_id, bool):
        return str(int(user_id))
    raise TypeError(f"user_id must be text or a whole number, got {type(user_id).__name__} {user_id!r}")


def _to_subjects(user_ids: Iterable[object]) -> list[str]:
    if isinstance(user_ids, str | bytes):
        raise TypeError("user_ids must be several ids, got one text; wrap it in a list or use assign()")
    listed: list[Any] = user_ids.tolist() if hasattr(user_ids, "tolist") else list(user_ids)
    if not listed:
        return []
    try:
        joined = "".join(listed)
        plain = (
            joined.isascii() and joined.isprintable() and len(min(listed, key=len)) > 0 and max(map(len, listed)) < 256
        )
    except TypeError:
        plain = False
    if plain and not any(text.isspace() for text in listed):
        return listed
    return [_to_subject(value) for value in listed]


def _to_columns(
    rows: Any,
    required: tuple[str, ...] = ("user_id", "value"),
    optional: tuple[str, ...] | None = ("metric", "at", "event_id", "variant", "denominator"),
) -> dict[str, list[Any]]:
    """Turn a DataFrame, mappings or pairs into columns."""
    if hasattr(rows, "columns") and hasattr(rows, "to_dict"):
        table = {str(name): rows[name].tolist() for name in rows.columns}
    elif isinstance(rows, Mapping):
        table = {str(name): list(column) for name, column in rows.items()}
    else:
        listed = list(rows)
        if listed and isinstance(listed[0], Mapping):
            names = {str(name) for row in listed for name in row}
            for name in required:
                for position, row in enumerate(listed):
                    if name not in row:
                        raise ValueError(f"row {position} has no {name!r}")
            table = {name: [row.get(name) for row in listed] for name in names}
        else:
            for position, row in enumerate(listed):
                if not isinstance(row, tuple | list) or len(row) != 2:
                    raise ValueError(f"row {position} must be a mapping or a pair (user_id, value), got {row!r}")
            table = {"user_id": [row[0] for row in listed], "value": [row[1] for row in listed]}
    missing = [name for name in required if name not in table]
    if missing and any(table.values()):
        raise ValueError(
            f"the column {missing[0]!r} is missing; there are {', '.join(map(repr, sorted(table))) or 'none'}"
        )
    for name in missing:
        table[name] = []
    if optional is not None:
        unknown = sorted(set(table) - set(required) - set(optional))
        if unknown:
            raise ValueError(f"unknown column {unknown[0]!r}; known ones are {', '.join((*required, *optional))}")
    lengths = {len(column) for column in table.values()}
    if len(lengths) > 1:
        raise ValueError(f"the columns differ in length: {sorted(lengths)}")
    return table


def _to_event_value(metric: Metric, value: object, denominator: object) -> tuple[float, float]:
    """Return (number, denominator) of one event, or say what is wrong with it."""
    if metric.metric_type is MetricType.RATIO:
        if denominator is None and isinstance(value, tuple | list) and len(value) == 2:
            value, denominator = value
        if denominator is None:
            raise ValueError(f"metric {metric.name!r} is a ratio: give value=(numerator, denominator), or denominator=")
        below = metric.check_size(to_float(denominator, "denominator"), "denominator")
        if below < 0.0:
            raise ValueError(f"denominator must be 0 or more, got {below!r}")
        return metric.check_size(to_float(value, "numerator"), "numerator"), below
    if denominator is not None and denominator == denominator:
        raise ValueError(f"metric {metric.name!r} is {metric.metric_type.value}; only ratio metrics have a denominator")
    return metric.to_number(value), 1.0


def _to_event_values(
    config: ExperimentConfig, metrics: np.ndarray, values: Sequence[Any], denominators: Sequence[Any] | None
) -> tuple[np.ndarray, np.ndarray]:
    n = len(values)
    below = np.ones(n)
    only = config.metrics[int(metrics[0])] if (metrics == metrics[0]).all() else None
    if only is not None and only.metric_type is not MetricType.RATIO and denominators is None:
        kinds = set(map(type, values))
        if kinds <= {float, int} or (only.metric_type is MetricType.BINARY and kinds <= {float, int, bool}):
            try:
                numbers = np.array(values, dtype=np.float64)
            except OverflowError:
                numbers = np.full(n, np.inf)
            if only.all_valid(numbers):
                return numbers, below
    numbers = np.empty(n)
    for position in range(n):
        metric = config.metrics[int(metrics[position])]
        given = None if denominators is None else denominators[position]
        given = None if isinstance(given, float) and math.isnan(given) else given
        try:
            numbers[position], below[position] = _to_event_value(metric, values[position], given)
        except (TypeError, ValueError) as error:
            raise type(error)(f"row {position}: {error}") from error
    return numbers, below


def _to_metric_indices(config: ExperimentConfig, column: Sequence[Any] | None, n: int) -> np.ndarray:
    if column is None:
        return np.zeros(n, dtype=np.int64)
    known = {name: config.metric_index(name) for name in {*column} if isinstance(name, str)}
    return np.array([known[name] if isinstance(name, str) else 0 for name in column], dtype=np.int64)


def _to_variant_indices(config: ExperimentConfig, column: Sequence[Any] | None, n: int) -> np.ndarray | None:
    if column is None:
        return None
    known = {name: config.variant_index(name) for name in {*column} if isinstance(name, str)}
    return np.array([known[name] if isinstance(name, str) else -1 for name in column], dtype=np.int64)


def _to_instants(column: Sequence[Any] | None, n: int) -> np.ndarray:
    if column is None:
        return np.full(n, to_microseconds(to_utc()), dtype=np.int64)
    now = to_utc()
    return np.array(
        [
            to_microseconds(now if value is None or value != value else to_utc(value, f"at of row {i}"))
            for i, value in enumerate(column)
        ],
        dtype=np.int64,
    )


def _to_event_ids(column: Sequence[Any] | None, n: int) -> list[str | None] | None:
    if column is None:
        return None
    return [
        None
        if value is None or value != value
        else check_key(str(value) if isinstance(value, int) else value, f"event_id of row {i}")
        for i, value in enumerate(column)
    ]
