"""Assigning subjects and recording what happens: `ABTestingFramework` does it through this base class."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import islice, repeat
from operator import gt
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from ab_parts.assignment import Assigner, Live, check_running, names_of
from ab_parts.design import ExperimentConfig
from ab_parts.intake import (
    is_missing,
    merge_events,
    to_columns,
    to_event_ids,
    to_event_value,
    to_event_values,
    to_instants,
    to_metric_indices,
    to_subject,
    to_subjects,
    to_variant_indices,
)
from ab_parts.memory import Memory
from ab_parts.metrics import LARGEST_VALUE, Aggregation
from ab_parts.queries import find_experiment
from columns import to_microseconds
from db import ABAttributeRow, ABExperimentRow, ABPhaseRow, Database
from errors import NotFoundError
from values import check_key, check_text, decode_json, to_float, to_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["Recording"]

CHUNK = 500  # bound parameters per statement; SQLite allows 999 in old builds

_READ_LIVE = (
    "SELECT e.id, e.uid, e.status, e.salt, e.phase, e.namespace, e.namespace_start, e.namespace_share, "
    "p.shares, p.coverage, p.by_rule FROM ab_experiments e "
    "JOIN ab_phases p ON p.experiment_id = e.id AND p.number = e.phase WHERE "
)
_READ_LIVE_AND_ASSIGNMENT = (
    "SELECT e.id, e.uid, e.status, e.salt, e.phase, e.namespace, e.namespace_start, e.namespace_share, "
    "p.shares, p.coverage, p.by_rule, a.variant FROM ab_experiments e "
    "JOIN ab_phases p ON p.experiment_id = e.id AND p.number = e.phase "
    "LEFT JOIN ab_assignments a ON a.experiment_id = e.id AND a.subject = ? WHERE e.uid = ?"
)
_INSERT_ASSIGNMENT = (
    "INSERT INTO ab_assignments (experiment_id, subject, variant, phase, assigned_at, conflicts) "
    "VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING"
)
_READ_ASSIGNMENT = "SELECT variant, phase FROM ab_assignments WHERE experiment_id = ? AND subject = ?"
_READ_BY_RULE = "SELECT by_rule FROM ab_phases WHERE experiment_id = ? AND number = ?"
_DEPART_FROM_RULE = "UPDATE ab_phases SET by_rule = ? WHERE experiment_id = ? AND number = ?"
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


class Recording:
    """Assignments, events and attributes; needs the machinery of `ABTestingFramework`."""

    _database: Database
    _memory: Memory

    def assign(self, exp_id: str, user_id: str | int, *, store: bool = True, variant: str | None = None) -> str | None:
        """Return the variant of a subject; the first answer is stored and never changes.

        Parameters
        ----------
        exp_id : str
        user_id : str or int
        store : bool
            False computes without writing, for display.
        variant : str or None
            What the subject got elsewhere, stored instead of the computed one. If another one is stored already, that
            one is returned, and the subject counts as one of several variants.

        Returns
        -------
        str or None
            "baseline", "treatment" (or a treatment's own name); None when the subject takes no part (coverage,
            namespace).

        Raises
        ------
        StateError
            If the test is not running and the subject was not assigned before.

        Notes
        -----
        Most answers need no query: a stored assignment never changes, and while a test is in its first phase and no
        stored assignment departs from the rule, the rule alone gives the variant. What *another process* does to the
        test (a new phase, a pause, its deletion, an assignment that departs from the rule) is seen after 50 ms at the
        latest (`ab_parts.memory.STALE_SECONDS`); what this process does, at once. Whatever is stored is decided within
        its transaction, by the state of the test at that moment.
        """
        if variant is None and type(user_id) is str and type(exp_id) is str:
            known = self._memory.state_of(exp_id)
            if known is not None:
                ruled = known.is_all_by_rule
                if ruled and not store:
                    return known.rule.variant(user_id)
                seen = self._memory.variant_of(known.uid, user_id)
                if seen is not None:
                    return seen
                if ruled and known.status == "running" and known.rule.variant(user_id) is None:
                    return None  # nothing is stored of whom the rule leaves out
        subject = to_subject(user_id)
        _check_override(variant, store)
        live, stored = self._live_and_assignment(exp_id, subject)
        names = live.config.variants
        claimed = None if variant is None else live.config.variant_index(variant)
        if stored is not None and claimed in (None, stored):
            self._memory.keep_variants(live.uid, (subject,), (names[stored],))
            return names[stored]
        if claimed is None and (not store or live.status == "running"):
            found = live.rule.index(subject) if stored is None else stored
            if found < 0 or not store:
                return None if found < 0 else names[found]
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, live.uid)
            found = self._assign_one(cursor, live, subject, claimed)[0]
        if _departs(live, subject, claimed):
            self._memory.forget_states()
        if found < 0:
            return None
        self._memory.keep_variants(live.uid, (subject,), (names[found],))
        return names[found]

    def assigner(self, exp_id: str) -> Assigner:
        """Return the rule of the present phase as an object that needs no database, for serving.

        Its answers are those `assign` gives to subjects without history; it knows nothing of stored
        assignments, later phases or pauses, so record events with ``variant=`` when it served them.
        """
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
        return live.rule

    def assign_many(
        self,
        exp_id: str,
        user_ids: Iterable[str | int],
        *,
        store: bool = True,
        variant: str | Sequence[str | None] | None = None,
    ) -> np.ndarray:
        """Return the variants of many subjects in one transaction.

        Parameters
        ----------
        exp_id : str
        user_ids : iterable of str or int, shape (n,)
            A list, array or Series.
        store : bool
            False computes without reading or writing assignments: what a subject without history would get.
        variant : str, sequence of (str or None), or None
            What the subjects got elsewhere: one for all, or one each (None is computed); as in `assign`.

        Returns
        -------
        array of shape (n,)
            Names of variants; None where a subject takes no part.
        """
        subjects = to_subjects(user_ids)
        _check_override(variant, store)
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
        if not store:
            return names_of(live, live.variants_of(subjects))
        given = [variant] * len(subjects) if isinstance(variant, str) else None if variant is None else list(variant)
        if given is not None and len(given) != len(subjects):
            raise ValueError(f"variant has {len(given):,} values for {len(subjects):,} subjects")
        claimed = to_variant_indices(live.config, given, len(subjects))
        seen = self._memory.variants_of(live.uid, subjects) if claimed is None and subjects else None
        if seen is not None:
            return np.array(seen, dtype=np.array(live.config.variants).dtype)
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, live.uid)
            variants = self._assign_all(cursor, live, subjects, claimed)
        if claimed is not None:
            self._memory.forget_states()
        names = names_of(live, variants)
        if (variants >= 0).all():
            self._memory.keep_variants(live.uid, subjects, names.tolist())
        return names

    def _assign_one(self, cursor: Any, live: Live, subject: str, claimed: int | None) -> tuple[int, int]:
        """Return (variant, phase) of a subject in a write transaction, storing a new one; (-1, 0) if outside."""
        sql = self._database.sql
        where = (live.row_id, subject)
        if live.status == "running":
            variant = live.rule.index(subject) if claimed is None else claimed
            if variant >= 0:
                row = (live.row_id, subject, variant, live.phase, time.time_ns() // 1000)
                cursor.execute(sql(_INSERT_ASSIGNMENT), row)
                if cursor.rowcount == 1:
                    if _departs(live, subject, claimed):
                        cursor.execute(sql(_DEPART_FROM_RULE), (False, live.row_id, live.phase))
                    return variant, live.phase
        cursor.execute(sql(_READ_ASSIGNMENT), where)
        found = cursor.fetchone()
        if found is None:
            check_running(live)
            return -1, 0
        if claimed is not None and claimed != found[0]:
            if live.by_rule:
                cursor.execute(sql(_DEPART_FROM_RULE), (False, live.row_id, live.phase))
            cursor.execute(sql(_COUNT_CONFLICT), where)
        return int(found[0]), int(found[1])

    def _assign_all(self, cursor: Any, live: Live, subjects: Sequence[str], claimed: np.ndarray | None) -> np.ndarray:
        """Return stored variants of many subjects within a write transaction, shape (n,); -1 outside."""
        sql = self._database.sql
        ruled = live.variants_of(subjects)
        variants = ruled if claimed is None else np.where(claimed < 0, ruled, claimed)
        departs = live.by_rule and claimed is not None and bool((variants != ruled).any())
        # Backwards, so that the first claim of a subject is the one that stays.
        wanted: dict[str, int] = dict(zip(reversed(subjects), reversed(variants.tolist()), strict=True))
        new = 0
        inside = [subject for subject, variant in wanted.items() if variant >= 0]
        if live.status == "running" and inside:
            now = to_microseconds(to_utc())
            # In key order: appends to the clustered table instead of splitting pages, and no deadlocks on PostgreSQL.
            inside.sort()
            chosen = map(wanted.__getitem__, inside)
            rows = zip(repeat(live.row_id), inside, chosen, repeat(live.phase), repeat(now))
            cursor.executemany(sql(_INSERT_ASSIGNMENT), rows)
            new = cursor.rowcount
            if departs:
                cursor.execute(sql(_DEPART_FROM_RULE), (False, live.row_id, live.phase))
            elif live.is_all_by_rule and self._is_by_rule(cursor, live):
                return variants  # those that were stored before have what the rule says, as these have
        if new == len(wanted) and (claimed is None or len(wanted) == len(subjects)):
            return variants
        stored = self._stored_variants(cursor, live, list(wanted))
        if live.status != "running" and any(subject not in stored for subject in inside):
            check_running(live)
        if claimed is not None:
            lost = [
                (live.row_id, subject)
                for subject, variant in zip(subjects, claimed.tolist(), strict=True)
                if variant >= 0 and stored.get(subject, variant) != variant
            ]
            if lost:
                if live.by_rule:
                    cursor.execute(sql(_DEPART_FROM_RULE), (False, live.row_id, live.phase))
                cursor.executemany(sql(_COUNT_CONFLICT), lost)
        return np.array([stored.get(subject, -1) for subject in subjects], dtype=np.int64)

    def _is_by_rule(self, cursor: Any, live: Live) -> bool:
        """Whether that still holds after an insertion, which on PostgreSQL may have waited for another process."""
        cursor.execute(self._database.sql(_READ_BY_RULE), (live.row_id, live.phase))
        return bool(cursor.fetchone()[0])

    def _stored_variants(self, cursor: Any, live: Live, subjects: list[str]) -> dict[str, int]:
        result: dict[str, int] = {}
        for start in range(0, len(subjects), CHUNK):
            chunk = subjects[start : start + CHUNK]
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
        subject = to_subject(user_id)
        instant = time.time_ns() // 1000 if at is None else to_microseconds(to_utc(at))
        key = None if event_id is None else check_key(event_id, "event_id")
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, exp_id, self._known_id(exp_id))
            check_running(live)
            index = live.config.metric_index(metric)
            number, below = to_event_value(live.config.metrics[index], value, denominator)
            claimed = None if variant is None else live.config.variant_index(variant)
            arm = self._assign_one(cursor, live, subject, claimed)
            is_new = arm[0] >= 0 and self._insert_event(cursor, live, index, subject, arm, number, below, instant, key)
        if _departs(live, subject, claimed):
            self._memory.forget_states()
        return is_new

    def _insert_event(
        self,
        cursor: Any,
        live: Live,
        index: int,
        subject: str,
        arm: tuple[int, int],
        number: float,
        below: float,
        instant: int,
        key: str | None,
    ) -> bool:
        """Append an event, and add it to the row of its subject, unless its id is known."""
        sql = self._database.sql
        cursor.execute(sql(_INSERT_EVENT), (live.row_id, index, subject, number, below, instant, key))
        if cursor.rowcount != 1:
            return False
        upsert = _upsert_subject(self._database.dialect, live.config.metrics[index].aggregation)
        cursor.execute(sql(upsert), (live.row_id, index, subject, *arm, 1, number, below, number, instant, instant))
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
        table = to_columns(rows)
        n = len(table["user_id"])
        if n == 0:
            with self._database.read() as session:
                self._find_live(session, exp_id)
            return 0
        subjects = to_subjects(table["user_id"])
        row_id = self._known_id(exp_id)
        with self._database.read() as session:
            config = self._find_live(session, exp_id).config
        metrics = to_metric_indices(config, table.get("metric"), n)
        numbers, below = to_event_values(config, metrics, table["value"], table.get("denominator"))
        instants = to_instants(table.get("at"), n)
        keys = to_event_ids(table.get("event_id"), n)
        claimed = to_variant_indices(config, table.get("variant"), n)
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, exp_id, row_id, exclusive=True)
            check_running(live)
            variants = self._assign_all(cursor, live, subjects, claimed)
            kept = np.flatnonzero(variants >= 0)
            if keys is not None:
                kept = self._unknown_events(cursor, live, kept, keys)
            if kept.size:
                columns = [
                    metrics.tolist(),
                    subjects,
                    numbers.tolist(),
                    below.tolist(),
                    instants.tolist(),
                    keys or [None] * n,
                ]
                names = dict(zip(subjects, variants.tolist(), strict=True))
                if kept.size < n:
                    places = kept.tolist()
                    columns = [[column[place] for place in places] for column in columns]
                self._insert_events(cursor, live, columns, names)
        if claimed is not None:
            self._memory.forget_states()
        return int(kept.size)

    def _insert_events(self, cursor: Any, live: Live, columns: list[list[Any]], variant_of: dict[str, int]) -> None:
        """Append events that are new, given in columns, and add them to the rows of their subjects."""
        sql = self._database.sql
        cursor.executemany(sql(_INSERT_EVENT), zip(repeat(live.row_id), *columns))
        metrics, subjects, numbers, below, instants, _ = columns
        phases = None
        if live.phase > 1:
            phases = self._stored_phases(cursor, live, sorted(set(subjects)))
        row, now = live.row_id, live.phase
        if len(set(metrics)) == 1 and len(set(subjects)) == len(subjects):
            # One event each: nothing to combine, and columns spare the collector a hundred thousand rows to watch.
            names, values, unders, ats = subjects, numbers, below, instants
            if any(map(gt, subjects, islice(subjects, 1, None))):  # in key order, as the assignments
                order = sorted(range(len(subjects)), key=subjects.__getitem__)
                names, values, unders, ats = ([column[place] for place in order] for column in columns[1:5])
            of_phase = repeat(now) if phases is None else map(phases.__getitem__, names)
            variants = map(variant_of.__getitem__, names)
            upsert = _upsert_subject(self._database.dialect, live.config.metrics[metrics[0]].aggregation)
            cursor.executemany(
                sql(upsert),
                zip(
                    repeat(row),
                    repeat(metrics[0]),
                    names,
                    variants,
                    of_phase,
                    repeat(1),
                    values,
                    unders,
                    values,
                    ats,
                    ats,
                ),
            )
            return
        for index, by_subject in merge_events(live.config, *columns[:5]).items():
            upsert = _upsert_subject(self._database.dialect, live.config.metrics[index].aggregation)
            # In key order, as the assignments.
            cursor.executemany(
                sql(upsert),
                [
                    (row, index, subject, variant_of[subject], now if phases is None else phases[subject], *sums)
                    for subject, sums in sorted(by_subject.items())
                ],
            )

    def _unknown_events(self, cursor: Any, live: Live, kept: np.ndarray, keys: list[str | None]) -> np.ndarray:
        """Keep the first event of every id that is not stored yet."""
        first: dict[str, int] = {}
        for index in kept.tolist():
            key = keys[index]
            if key is not None:
                first.setdefault(key, index)
        names = list(first)
        for start in range(0, len(names), CHUNK):
            chunk = names[start : start + CHUNK]
            marks = ", ".join("?" * len(chunk))
            statement = f"SELECT event_id FROM ab_events WHERE experiment_id = ? AND event_id IN ({marks})"  # noqa: S608 - only marks
            cursor.execute(self._database.sql(statement), (live.row_id, *chunk))
            for (known,) in cursor.fetchall():
                first.pop(known)
        wanted = set(first.values())
        return np.array([i for i in kept.tolist() if keys[i] is None or i in wanted], dtype=np.int64)

    def _stored_phases(self, cursor: Any, live: Live, subjects: list[str]) -> dict[str, int]:
        result: dict[str, int] = {}
        for start in range(0, len(subjects), CHUNK):
            chunk = subjects[start : start + CHUNK]
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
        table = to_columns(rows, required=("user_id",), optional=None)
        subjects = to_subjects(table.pop("user_id"))
        records: list[tuple[str, str, float | None, str | None]] = []
        for name, column in table.items():
            check_key(name, "attribute")
            for position, (subject, value) in enumerate(zip(subjects, column, strict=True)):
                if is_missing(value):
                    continue
                if isinstance(value, str):
                    records.append((name, subject, None, check_key(value, f"{name} of row {position}")))
                elif isinstance(value, bool | np.bool_):
                    records.append((name, subject, None, "yes" if value else "no"))
                else:
                    number = to_float(value, f"{name} of row {position}")
                    if abs(number) > LARGEST_VALUE:
                        raise ValueError(f"{name} of row {position} must lie within ±1e150, got {number!r}")
                    records.append((name, subject, number, None))
        with self._database.driver() as cursor:
            live = self._lock_live(cursor, exp_id, self._known_id(exp_id))
            rows_sorted = sorted({(name, subject): rest for name, subject, *rest in records}.items())
            cursor.executemany(
                self._database.sql(_UPSERT_ATTRIBUTE),
                [(live.row_id, name, subject, *rest) for (name, subject), rest in rows_sorted],
            )
        return len(rows_sorted)

    def list_attributes(self, exp_id: str) -> dict[str, str]:
        """Return the names of the recorded attributes, and what each can be used as.

        Parameters
        ----------
        exp_id : str

        Returns
        -------
        dict of str to {"segment", "covariate"}
            Text is for segments, numbers are covariates; judged by the attribute's first subject.
        """
        found: dict[str, str] = {}
        with self._database.read() as session:
            live = self._find_live(session, exp_id)
            row = ABAttributeRow
            query = sa.select(row.name, row.label.is_not(None)).where(row.experiment_id == live.row_id)
            query = query.order_by(row.name, row.subject).limit(1)
            name = ""
            # One seek a name: reading the distinct names of a million subjects would be a pass over all of them.
            while (first := session.execute(query.where(row.name > name)).first()) is not None:
                name = str(first[0])
                found[name] = "segment" if first[1] else "covariate"
        return found

    # -- reading the experiment ----------------------------------------------------------------------

    def _known_id(self, exp_id: str) -> int | None:
        """Return the row id of a test that was read before; what can be no id of a test is refused."""
        known = self._memory.lives.get(exp_id) if type(exp_id) is str else None
        if known is None:
            check_text(exp_id, "exp_id", 255)
            return None
        return known[1].row_id

    def _find_live(self, session: Session, exp_id: str) -> Live:
        return self._to_live(session, find_experiment(session, exp_id))

    def _to_live(self, session: Session, row: ABExperimentRow) -> Live:
        phase = session.get_one(ABPhaseRow, (row.id, row.phase))
        design = self._memory.design_of(row.uid) or self._memory.keep_design(row.uid, row.config)
        return _make_live(
            design,
            (
                row.id,
                row.uid,
                row.status,
                row.salt,
                row.phase,
                row.namespace,
                row.namespace_start,
                row.namespace_share,
                phase.shares,
                phase.coverage,
                phase.by_rule,
            ),
        )

    def _live_and_assignment(self, exp_id: str, subject: str) -> tuple[Live, int | None]:
        """Return the experiment as it is now, and the stored variant of a subject, by one query; remember the former.

        What was made of the row is used again while the row is the same.
        """
        memory = self._memory
        token, read_at = memory.token, time.monotonic()
        text = exp_id if type(exp_id) is str and exp_id in memory.lives else check_text(exp_id, "exp_id", 255)
        found = self._database.look_up(_READ_LIVE_AND_ASSIGNMENT, (subject, text))
        if found:
            *columns, stored = found[0]
            known = memory.lives.get(text)
            if known is not None and known[0] == tuple(columns):
                memory.keep_state(text, known[1], read_at=read_at, token=token)
                return known[1], stored
        with self._database.read() as session:
            cursor = session.connection().connection.cursor()
            live = self._fetch_live(cursor, text) or self._find_live(session, text)
            cursor.execute(self._database.sql(_READ_ASSIGNMENT), (live.row_id, subject))
            row = cursor.fetchone()
            cursor.close()
        memory.keep_state(text, live, read_at=read_at, token=token)
        return live, None if row is None else int(row[0])

    def _lock_live(self, cursor: Any, exp_id: str, row_id: int | None = None, *, exclusive: bool = False) -> Live:
        """Read the experiment within a write transaction; on PostgreSQL its row is locked against changes."""
        lock, version = "", None
        if self._database.dialect == "postgresql":
            lock = " FOR UPDATE OF e" if exclusive else " FOR SHARE OF e"
        elif self._database.path is not None:
            # It grows with what other connections write; this one, which is kept for events, changes no test.
            version = (exp_id, cursor.connection, *cursor.execute("PRAGMA data_version").fetchone())
            if version == getattr(self._memory.seen, "version", None):
                return self._memory.seen.live  # type: ignore[no-any-return]
        live = self._fetch_live(cursor, exp_id, row_id, lock)
        if live is None:
            cursor.execute(self._database.sql("SELECT uid FROM ab_experiments WHERE name = ?"), (exp_id,))
            named = cursor.fetchone()
            live = None if named is None else self._fetch_live(cursor, named[0], lock=lock)
        if live is None:
            raise NotFoundError(f"no experiment {exp_id!r}; create it with create_experiment()")
        self._memory.seen.version, self._memory.seen.live = version, live
        return live

    def _fetch_live(self, cursor: Any, exp_id: str, row_id: int | None = None, lock: str = "") -> Live | None:
        """Read the experiment of an id through the driver, which takes a tenth of the time of the row's class."""
        statement = _READ_LIVE + ("e.uid = ?" if row_id is None else "e.id = ?") + lock
        cursor.execute(self._database.sql(statement), (exp_id if row_id is None else row_id,))
        found = cursor.fetchone()
        if found is None or found[1] != exp_id:
            return None
        found = tuple(found)
        known = self._memory.lives.get(exp_id)
        if known is not None and known[0] == found:  # nothing of status, phase, split or namespace changed
            return known[1]
        row_id, uid, *columns, shares, coverage, by_rule = found
        design = self._memory.design_of(uid)
        if design is None:
            cursor.execute(self._database.sql("SELECT config FROM ab_experiments WHERE id = ?"), (row_id,))
            design = self._memory.keep_design(uid, decode_json(cursor.fetchone()[0]))
        live = _make_live(design, (row_id, uid, *columns, decode_json(shares), coverage, by_rule))
        self._memory.keep_live(exp_id, found, live)
        return live


def _make_live(design: ExperimentConfig, columns: tuple[Any, ...]) -> Live:
    row_id, uid, status, salt, phase, namespace, start, share, shares, coverage, by_rule = columns
    return Live(
        row_id=row_id,
        uid=uid,
        status=status,
        config=design,
        salt=salt,
        phase=phase,
        shares=tuple(float(shares[name]) for name in design.variants),
        coverage=coverage,
        by_rule=bool(by_rule),
        namespace=namespace,
        namespace_start=start,
        namespace_share=share,
    )


def _departs(live: Live, subject: str, claimed: int | None) -> bool:
    """Return whether an assignment made elsewhere is not what the rule gives, and the phase does not know it yet."""
    return claimed is not None and live.by_rule and live.rule.index(subject) != claimed


def _check_override(variant: object, store: bool) -> None:
    if variant is not None and not store:
        raise ValueError("variant= stores an assignment that was made elsewhere; it does not go with store=False")


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
