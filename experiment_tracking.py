"""Experiment tracking: runs with params, metric histories, tags and files, none of which is ever lost.

    >>> import tempfile
    >>> tracking = ExperimentTracking(f"{tempfile.mkdtemp()}/modeldesk.db")
    >>> run_id = tracking.start_run("model-training", "run-001", params={"learning_rate": 0.001})
    >>> for epoch, accuracy in enumerate([0.7, 0.8, 0.9]):
    ...     tracking.log_metrics(run_id, {"accuracy": accuracy}, step=epoch)
    >>> tracking.end_run(run_id)
    >>> tracking.search_runs("metrics.accuracy > 0.85")[["name", "metrics.accuracy"]].values.tolist()
    [['run-001', 0.9]]

Or with a handle that ends the run by itself, as failed if an exception leaves the block:

    >>> with tracking.run("model-training", "run-002", params={"learning_rate": 0.01}) as run:
    ...     run.log({"accuracy": 0.95})
    >>> tracking.get_run(run.run_id).status
    <RunStatus.FINISHED: 'finished'>

Vocabulary: an *experiment* is a named group of runs. A *run* has *params* (what was chosen; set once), *metrics* (what
was measured; a value at each *step*), *tags* (words about it; they may change) and *artifacts* (files). Logging a step
again replaces its value, so a resumed run has one curve; without a step a value goes to the next one.

What returned is stored: a process killed at any instruction loses nothing that a call had acknowledged. The one
exception is asked for by name: ``buffered=True`` lets values wait, at most a second and at most 5,000 of them.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from columns import to_microseconds
from db import Database, MetricSummaryRow, RunKeyRow, RunParamRow, RunRow, RunTagRow, TrackingExperimentRow
from errors import DuplicateError, NotFoundError
from tracking_parts import history, metric_log, queries
from tracking_parts.analysis import Analysis
from tracking_parts.buffer import Entry, MetricBuffer
from tracking_parts.exchange import Exchange
from tracking_parts.files import RunFiles
from tracking_parts.filters import FilterError, parse_order, read_filter
from tracking_parts.handle import ActiveRun
from tracking_parts.keeper import STALE_SECONDS, Keeper, describe_exception
from tracking_parts.names import make_name
from tracking_parts.params import StoredParam, flatten_params, read_tags, to_stored_param, write_params, write_tags
from tracking_parts.records import (
    Artifact,
    Experiment,
    ImportReport,
    MetricSummary,
    PurgeReport,
    Run,
    RunStatus,
)
from tracking_parts.removal import Removal
from tracking_parts.unknown import UnknownKeyWarning, warn_of_unknown_keys
from values import check_choice, check_name, check_text, encode_json, new_id, shorten, to_int

if TYPE_CHECKING:
    import pandas as pd

    from tracking_parts.system_metrics import SystemMetrics

__all__ = [
    "ActiveRun",
    "Artifact",
    "Experiment",
    "ExperimentTracking",
    "FilterError",
    "ImportReport",
    "MetricSummary",
    "PurgeReport",
    "Run",
    "RunStatus",
    "UnknownKeyWarning",
]

logger = logging.getLogger("modeldesk")
T = TypeVar("T")

REMEMBERED_RUNS = 100_000  # numbers of runs kept in memory
_INT64 = 2**63

_NOW = {  # the database's own clock in microseconds: heartbeats from many hosts are judged by one clock
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)",
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)",
}
_ENDED_AT_SQL = "UPDATE runs SET status = ?, ended_at = ?, error = ? WHERE id = ?"
_END_OPEN_SQL = _ENDED_AT_SQL + " AND status IN ('running', 'killed')"  # killed: taken for dead, and yet it lives


class ExperimentTracking(RunFiles, Removal, Analysis, Exchange):
    """Everything about runs: starting, logging, finding, comparing.

    Parameters
    ----------
    database : Database, str, path or None
        A `Database`, its URL, or None for the default store (``~/.modeldesk``).
    capture_environment : bool
        Whether a run stores its code, command, packages and hardware when it starts.
    buffered : bool
        False: what `log_metrics` returned from is durable. True: values wait in memory and are stored together, at the
        latest after ``max_buffer_seconds`` or ``max_buffer_points``; that much a killed process may lose.
    max_buffer_points, max_buffer_seconds : int, float
        The bounds of the buffered mode.
    clock : callable or None
        Returns the current time; for tests.

    Notes
    -----
    One object may be used by any number of threads. A forked child may go on using it.
    """

    def __init__(
        self,
        database: Database | str | os.PathLike[str] | None = None,
        *,
        capture_environment: bool = True,
        buffered: bool = False,
        max_buffer_points: int = 5_000,
        max_buffer_seconds: float = 1.0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._database = Database.open(database)
        self._capture_environment = capture_environment
        self._clock = clock
        self._key_ids: dict[str, int] = {}
        self._run_ids: dict[str, int] = {}
        self._environment_ids: dict[str, int] = {}
        self._encoded_environment: tuple[dict[str, Any], str, str] = ({}, "", "")
        self._sql = self._database.sql
        self._buffer: MetricBuffer | None = None
        if buffered:
            self._buffer = MetricBuffer(
                self._store_entries,
                max_points=to_int(max_buffer_points, "max_buffer_points", 1),
                max_seconds=max_buffer_seconds,
            )
        self._keeper = Keeper(self._write_heartbeats, self._end_at_exit, self.flush, self._after_fork)

    def __repr__(self) -> str:
        return f"ExperimentTracking({self._database.url!r})"

    # -- starting and ending -------------------------------------------------------------------------

    def start_run(
        self,
        experiment: str,
        name: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        parent_run_id: str | None = None,
        run_id: str | None = None,
        note: str | None = None,
        detached: bool = False,
    ) -> str:
        """Start a run and return its id.

        Parameters
        ----------
        experiment : str
            Name of the experiment; made if it is new.
        name : str or None
            Name of the run; need not be unique. None makes one up.
        params, tags : mapping or None
            As for `log_params` and `set_tags`.
        parent_run_id : str or None
            The run this one is nested in.
        run_id : str or None
            An id of your own, 32 hexadecimal characters: calling again with it returns the same run, so a call whose
            answer was lost can be repeated.
        note : str or None
            Free text.
        detached : bool
            False: this process runs it. When the process exits the run is ended, when it is killed the run is marked
            killed. True: the run stays open until `end_run`, whoever calls it.

        Returns
        -------
        str
            32 hexadecimal characters.

        Raises
        ------
        NotFoundError
            If the parent does not exist.
        ValueError, TypeError
            If a name, param or tag cannot be stored. Nothing is stored then.
        """
        from tracking_parts.environment import capture_environment, identify_process

        experiment = check_name(experiment, "experiment")
        uid = new_id() if run_id is None else _check_new_id(run_id)
        name = make_name(uid) if name is None else check_name(name, "run name")
        stored = {key: to_stored_param(key, value) for key, value in flatten_params(params or {}).items()}
        read = read_tags(tags or {})
        note = None if note is None else check_text(note, "note")
        environment = capture_environment() if self._capture_environment else {}
        now = self._now()
        with self._driver() as (cursor, new_keys):
            sql = self._sql
            if run_id is not None:
                cursor.execute(sql("SELECT id FROM runs WHERE uid = ?"), (uid,))
                row = cursor.fetchone()
                if row is not None:
                    return uid
            experiment_row = self._find_or_add_experiment(cursor, experiment, now)
            parent = None if parent_run_id is None else self._find_run(cursor, parent_run_id)
            environment_row = self._find_or_add_environment(cursor, environment)
            process = None if detached else identify_process()
            heartbeat = "NULL" if detached else _NOW[self._database.dialect]
            cursor.execute(
                sql(
                    "INSERT INTO runs (uid, experiment_id, name, status, parent_id, started_at, heartbeat_at, "  # noqa: S608
                    "process, note, environment_id) "
                    f"VALUES (?, ?, ?, 'running', ?, ?, {heartbeat}, ?, ?, ?) RETURNING id"
                ),
                (uid, experiment_row, name, parent, now, process, note, environment_row),
            )
            run = int(cursor.fetchone()[0])
            keys = self._keys_of(cursor, [*stored, *read], new_keys)
            if stored:
                write_params(cursor, sql, run, keys, stored, overwrite=False)
            if read:
                write_tags(cursor, sql, run, keys, read)
        self._remember(uid, run)
        if not detached:
            self._keeper.add(run)
        return uid

    @contextmanager
    def run(
        self,
        experiment: str | None = None,
        name: str | None = None,
        *,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
        parent_run_id: str | None = None,
        resume: str | None = None,
        note: str | None = None,
        system_metrics: bool | float = False,
    ) -> Iterator[ActiveRun]:
        """Start a run and end it when the block ends: finished, or failed with the exception that left it.

        A run that the block ended itself, with `end_run` as failed for example, keeps how it ended.

        Parameters
        ----------
        experiment, name, params, tags, parent_run_id, note
            As for `start_run`.
        resume : str or None
            The id of a run to go on with, instead of a new one.
        system_metrics : bool or float
            Log CPU, memory and GPU use in the background, every 10 seconds or every so many.

        Yields
        ------
        ActiveRun
            With ``run_id``, ``log``, ``log_params``, ``set_tags``, ``log_artifact``, ``run`` (a nested run) and more.
        """
        if resume is not None:
            self._resume(resume)
            run_id = resume
            if params:
                self._log_params(run_id, params, overwrite=False)
            if tags:
                self._set_tags(run_id, tags)
        elif experiment is None:
            raise ValueError("name the experiment of the new run, or the run to resume")
        else:
            run_id = self.start_run(experiment, name, params=params, tags=tags, parent_run_id=parent_run_id, note=note)
        handle = ActiveRun(self, run_id, experiment)
        sampler = handle._start_system_metrics(system_metrics)
        try:
            yield handle
        except GeneratorExit:
            self._end(run_id, RunStatus.FINISHED, None, sampler)
            raise
        except BaseException as error:
            # Ctrl-C is a person who has seen enough, not a fault of the run; it is told apart by its text.
            self._end(run_id, RunStatus.FAILED, describe_exception(error), sampler)
            raise
        else:
            self._end(run_id, RunStatus.FINISHED, None, sampler, only_open=True)

    def end_run(self, run_id: str, status: str = "finished", *, error: str | BaseException | None = None) -> None:
        """End a run. Ending it again changes how it ended.

        Parameters
        ----------
        run_id : str
        status : {"finished", "failed", "killed"}
        error : str, exception or None
            What went wrong.
        """
        chosen = check_choice(str(status).lower(), "status", [s.value for s in RunStatus if s != RunStatus.RUNNING])
        if isinstance(error, BaseException):
            error = describe_exception(error)
        elif error is not None:
            error = check_text(error, "error")
        self._end(run_id, RunStatus(chosen), error, None)

    def resume_run(self, run_id: str) -> str:
        """Set an ended run running again, in this process; its steps go on where they stopped. Returns the id."""
        self._resume(run_id)
        return run_id

    # -- logging -------------------------------------------------------------------------------------

    def log_params(self, run_id: str, params: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Store params of any JSON value; nested dicts become keys with dots.

        Parameters
        ----------
        run_id : str
        params : mapping
            The types come back: 1, 1.0, "1" and True stay different.
        overwrite : bool
            A param is set once. Logging the same value again is fine; another value needs True.

        Raises
        ------
        DuplicateError
            If a param has another value already; the message says both. Nothing is stored then.
        NotFoundError
            If there is no such run.
        """
        self._log_params(run_id, params, overwrite=overwrite)

    def log_metrics(self, run_id: str, metrics: Any, step: Any = None, *, at: Any = None) -> None:
        """Store values of metrics; when it returns they survive the death of the process.

        Parameters
        ----------
        run_id : str
        metrics : mapping of str to number, mapping of str to sequence, or DataFrame
            A number each, or as many values each as there are steps. NaN and infinities are kept. Booleans count as 1
            and 0; integers beyond 2**53 are rounded to the nearest float. Of a DataFrame every column is a metric; a
            column "step" (or else the index) holds the steps.
        step : int, sequence of int or None
            Any integer of 64 bits, negative ones too, in any order. A step logged again replaces its value. None is the
            next step of each metric, 0 at first.
        at : instant, sequence of instants or None
            When it was measured; None is now, without a time zone is UTC.

        Raises
        ------
        NotFoundError
            If there is no such run, or it was deleted.
        ValueError, TypeError
            If a name, value or step cannot be stored. Nothing is stored then.
        """
        single, batch = metric_log.read_metrics(metrics, step, at, self._key_ids)
        if single is not None:
            this = (
                None
                if step is None
                else step
                if type(step) is int and -_INT64 <= step < _INT64
                else to_int(step, "step")
            )
            micros = self._now() if at is None else metric_log.to_micros(at)
            if self._buffer is not None:
                self._check_known(run_id)
                self._buffer.add(run_id, single, this, micros)
                return
            self._insert(lambda: self._store_single(run_id, single, this, micros))
        elif batch:
            self.flush()  # what waits is older than this batch
            self._insert(lambda: self._store_batch(run_id, batch))

    def flush(self) -> None:
        """Store what the buffered mode holds back; when it returns that is durable."""
        if self._buffer is not None:
            self._buffer.flush()

    def set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        """Set tags; a tag that is there gets the new value. Numbers and booleans become text."""
        self._set_tags(run_id, tags)

    def delete_tags(self, run_id: str, keys: Iterable[str]) -> None:
        """Remove tags; those that are not there are left out silently."""
        wanted = [check_text(key, "tag") for key in ([keys] if isinstance(keys, str) else keys)]
        with self._database.write(durable=False) as session:
            run = queries.require_run(session, run_id, for_update=True)
            session.execute(
                sa.delete(RunTagRow).where(
                    RunTagRow.run_id == run.id,
                    RunTagRow.key_id.in_(sa.select(RunKeyRow.id).where(RunKeyRow.name.in_(wanted))),
                )
            )

    def set_note(self, run_id: str, note: str | None) -> None:
        """Set the note of a run; None removes it."""
        self._update_run(run_id, note=None if note is None else check_text(note, "note"))

    def rename_run(self, run_id: str, name: str) -> None:
        """Give a run another name."""
        self._update_run(run_id, name=check_name(name, "run name"))

    def archive_run(self, run_id: str, archived: bool = True) -> None:
        """Leave a run out of searches that do not ask for archived ones, or (False) take it back in."""
        self._update_run(run_id, archived_at=self._now_datetime() if archived else None)

    # -- reading -------------------------------------------------------------------------------------

    def get_run(self, run_id: str) -> Run:
        """Return a run as it is now, deleted ones too.

        Raises
        ------
        NotFoundError
            If there is no such run.
        """
        self._settle()
        with self._database.read() as session:
            run = queries.require_run(session, run_id, deleted=True)
            return queries.read_runs(session, [run.id])[0]

    def find_run(self, experiment: str, name: str) -> Run | None:
        """Return the latest run of a name in an experiment, or None."""
        experiment, name = check_text(experiment, "experiment"), check_text(name, "run name")
        self._settle()
        with self._database.read() as session:
            found = session.scalar(
                sa.select(RunRow.id)
                .join(TrackingExperimentRow, TrackingExperimentRow.id == RunRow.experiment_id)
                .where(
                    TrackingExperimentRow.name == experiment,
                    TrackingExperimentRow.deleted_at.is_(None),
                    RunRow.name == name,
                    RunRow.deleted_at.is_(None),
                )
                .order_by(RunRow.started_at.desc(), RunRow.id.desc())
                .limit(1)
            )
            return None if found is None else queries.read_runs(session, [found])[0]

    def list_experiments(self) -> list[Experiment]:
        """Return all experiments, the one with the latest run first."""
        self._settle()
        with self._database.read() as session:
            return queries.read_experiments(session)

    def list_keys(self, experiment: str | None = None) -> dict[str, list[str]]:
        """Return the keys in use, for pickers: "metrics", "params", "tags", each sorted."""
        with self._database.read() as session:
            result = {}
            for kind, table in (("metrics", MetricSummaryRow), ("params", RunParamRow), ("tags", RunTagRow)):
                of_live_run = [RunRow.id == table.run_id, RunRow.deleted_at.is_(None)]
                if experiment is not None:
                    of_live_run.append(RunRow.experiment_id == queries.require_experiment(session, experiment))
                is_used: sa.ColumnElement[bool] = RunKeyRow.id.in_(sa.select(table.key_id).where(*of_live_run))
                if experiment is None and table is not RunTagRow:  # an index by key: its first live run will do
                    is_used = sa.exists().where(table.key_id == RunKeyRow.id, *of_live_run)
                result[kind] = sorted(session.scalars(sa.select(RunKeyRow.name).where(is_used)))
            return result

    def search_runs(
        self,
        filter: str | None = None,  # noqa: A002
        *,
        experiment: str | Sequence[str] | None = None,
        order_by: str | Sequence[str] | None = None,
        limit: int = 1_000,
        offset: int = 0,
        include: str = "active",
    ) -> pd.DataFrame:
        """Find runs.

        Parameters
        ----------
        filter : str or None
            Such as ``"metrics.accuracy > 0.9 and params.lr = 0.01"`` or ``"metrics.loss.min < 0.1"``; the language is
            described in `tracking_parts.filters`.
        experiment : str, sequence of str or None
            Only runs of these experiments.
        order_by : str, sequence of str or None
            Such as ``"metrics.loss"`` or ``"max(metrics.accuracy) desc, started_at"``; runs without the thing, and with
            NaN or an infinite value of it, come last. None is the latest first.
        limit, offset : int
            How many at most (up to 1,000,000), after how many.
        include : {"active", "archived", "deleted", "all"}
            "active" is neither archived nor deleted.

        Returns
        -------
        DataFrame
            A row a run: run_id, name, experiment, status, started_at, ended_at, duration_seconds, parent_run_id, note,
            archived, then ``params.*``, ``metrics.*`` (last values) and ``tags.*``. Without any run it has the first
            columns and no rows.

        Warns
        -----
        UnknownKeyWarning
            If the filter or the order names a metric, param or tag that none of the runs looked at has; the sentences
            are also in ``frame.attrs["warnings"]``.

        Raises
        ------
        FilterError
            A ValueError that points at the character.
        NotFoundError
            If there is no such experiment.
        """
        node = read_filter(filter)
        order = [] if order_by is None else parse_order(order_by)
        limit = to_int(limit, "limit", 1, 1_000_000)
        offset = to_int(offset, "offset", 0)
        check_choice(include, "include", ["active", "archived", "deleted", "all"])
        self._settle()
        with self._database.read() as session:
            found = queries.find_runs(session, node, experiment, order, limit, offset, include)
            frame = queries.read_frame(session, self._sql, found)
            unknown = warn_of_unknown_keys(
                session, node, order, experiment, include, found=bool(found), depth=2, seen=frame.columns
            )
        if unknown:
            frame.attrs["warnings"] = unknown
        return frame

    def count_runs(
        self,
        filter: str | None = None,  # noqa: A002
        *,
        experiment: str | Sequence[str] | None = None,
        include: str = "active",
    ) -> int:
        """Return how many runs a search would find without a limit."""
        node = read_filter(filter)
        check_choice(include, "include", ["active", "archived", "deleted", "all"])
        self._settle()
        with self._database.read() as session:
            conditions = queries.where(session, node, experiment, include)
            count = int(session.scalar(sa.select(sa.func.count()).select_from(RunRow).where(*conditions)) or 0)
            warn_of_unknown_keys(session, node, [], experiment, include, found=count > 0, depth=2)
            return count

    def metric_history(
        self,
        run_ids: str | Sequence[str],
        metric: str | Sequence[str],
        *,
        max_points: int | None = None,
        first_step: int | None = None,
        last_step: int | None = None,
    ) -> pd.DataFrame:
        """Return the values of metrics over the steps, in long form.

        Parameters
        ----------
        run_ids : str or sequence of str
        metric : str or sequence of str
        max_points : int or None
            At most so many rows a run and metric, 3 at least: the steps are cut into equal buckets, and of each the
            first, the least, the greatest and the last value stay, chosen in the database. No extreme is lost, whatever
            the length; a bucket with a value that is no number keeps that instead of the first.
        first_step, last_step : int or None
            Only the steps from the one to the other, both included; None is no limit. With `max_points` this is how to
            look closer at a part.

        Returns
        -------
        DataFrame
            Columns run_id, metric, step, at (UTC), value; sorted by run (as given), metric (as given) and step.

        Raises
        ------
        NotFoundError
            If there is no such run. A run without the metric has no rows.
        ValueError
            If `max_points` is under 3, or `first_step` is behind `last_step`.

        Notes
        -----
        A long history is not read for `max_points` of it, but what is known of its blocks (`tracking_parts.blocks`). If
        an older version stored it, the first look makes them, in short write transactions.
        """
        runs = [run_ids] if isinstance(run_ids, str) else list(run_ids)
        metrics = [check_text(name, "metric") for name in ([metric] if isinstance(metric, str) else metric)]
        if max_points is not None:
            max_points = to_int(max_points, "max_points", history.MIN_POINTS)
        steps = (
            -_INT64 if first_step is None else to_int(first_step, "first_step", -_INT64, _INT64 - 1),
            _INT64 - 1 if last_step is None else to_int(last_step, "last_step", -_INT64, _INT64 - 1),
        )
        if steps[0] > steps[1]:
            raise ValueError(f"first_step ({steps[0]:,}) is behind last_step ({steps[1]:,}); exchange them")
        self._settle()
        return self._read_history(runs, metrics, max_points, steps)

    # -- at the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """Store what waits and end the runs that this object started and nobody ended."""
        self._keeper.close(None)

    # -- the machinery of writing --------------------------------------------------------------------

    def _now_datetime(self) -> datetime:
        return datetime.now(UTC) if self._clock is None else self._clock().astimezone(UTC)

    def _now(self) -> int:
        return metric_log.to_micros(None) if self._clock is None else to_microseconds(self._now_datetime())

    @contextmanager
    def _driver(self, *, durable: bool = False) -> Iterator[tuple[Any, dict[str, int]]]:
        """Open a write transaction; keys put into the dict are remembered once it is committed."""
        new_keys: dict[str, int] = {}
        with self._database.driver(durable=durable) as cursor:
            yield cursor, new_keys
        if new_keys:
            self._key_ids.update(new_keys)

    def _insert(self, function: Callable[[], None]) -> None:
        """Run a write; once more if numbers remembered from before no longer exist (the store was replaced)."""
        try:
            function()
        except Exception as error:
            if type(error).__name__ not in ("IntegrityError", "ForeignKeyViolation"):
                raise
            self._key_ids.clear()
            self._run_ids.clear()
            self._environment_ids.clear()
            function()

    def _keys_of(self, cursor: Any, names: Iterable[str], new_keys: dict[str, int]) -> Mapping[str, int]:
        wanted = list(names)
        known = self._key_ids
        if all(name in known for name in wanted):
            return known
        new_keys.update(metric_log.resolve_keys(cursor, self._sql, wanted, known))
        return {**known, **new_keys}

    def _remember(self, uid: str, run: int) -> None:
        if len(self._run_ids) >= REMEMBERED_RUNS:
            self._run_ids.clear()
        self._run_ids[uid] = run

    def _forget_runs(self, runs: Iterable[int]) -> None:
        gone = set(runs)
        for uid in [uid for uid, run in self._run_ids.items() if run in gone]:
            del self._run_ids[uid]
        for run in gone:
            self._keeper.discard(run)

    def _find_run(self, cursor: Any, run_id: str) -> int:
        """Return the number of a run that is not deleted. On PostgreSQL its writers take turns from here on."""
        lock = " FOR NO KEY UPDATE" if self._database.dialect == "postgresql" else ""
        known = self._run_ids.get(run_id) if isinstance(run_id, str) else None
        if known is not None:
            cursor.execute(self._sql(f"SELECT id, deleted_at, uid FROM runs WHERE id = ?{lock}"), (known,))  # noqa: S608
        else:
            uid = _check_run_id(run_id)
            cursor.execute(self._sql(f"SELECT id, deleted_at, uid FROM runs WHERE uid = ?{lock}"), (uid,))  # noqa: S608
        row = cursor.fetchone()
        if row is None or row[2] != run_id:
            self._run_ids.pop(run_id, None)
            raise NotFoundError(queries.no_run(run_id))
        if row[1] is not None:
            raise NotFoundError(f"run {run_id} was deleted; restore_run() takes that back. Nothing was stored")
        if known is None:
            self._remember(run_id, int(row[0]))
        return int(row[0])

    def _find_or_add_experiment(self, cursor: Any, name: str, now: int) -> int:
        find = self._sql("SELECT id FROM tracking_experiments WHERE name = ? AND deleted_at IS NULL")
        cursor.execute(find, (name,))
        row = cursor.fetchone()
        if row is None:
            cursor.execute(
                self._sql(
                    "INSERT INTO tracking_experiments (uid, name, created_at) VALUES (?, ?, ?) "
                    "ON CONFLICT (name) WHERE deleted_at IS NULL DO NOTHING"
                ),
                (new_id(), name, now),
            )
            cursor.execute(find, (name,))
            row = cursor.fetchone()
        return int(row[0])

    def _find_or_add_environment(self, cursor: Any, environment: dict[str, Any]) -> int | None:
        if not environment:
            return None
        encoded = self._encoded_environment
        if encoded[0] is not environment:  # the capture hands out the same one for a while
            text = encode_json(environment, "environment")
            encoded = self._encoded_environment = (environment, text, hashlib.sha256(text.encode()).hexdigest())
        _, text, digest = encoded
        known = self._environment_ids.get(digest)
        if known is not None:
            cursor.execute(self._sql("SELECT 1 FROM run_environments WHERE id = ? AND digest = ?"), (known, digest))
            if cursor.fetchone() is not None:
                return known
        cursor.execute(
            self._sql("INSERT INTO run_environments (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING"),
            (digest, text),
        )
        cursor.execute(self._sql("SELECT id FROM run_environments WHERE digest = ?"), (digest,))
        number = int(cursor.fetchone()[0])
        self._environment_ids[digest] = number  # checked again whenever it is used: a rollback does no harm
        return number

    # -- what several public methods share -----------------------------------------------------------

    def _store_single(self, run_id: str, values: dict[str, float | None], step: int | None, at: int) -> None:
        with self._driver() as (cursor, new_keys):
            run = self._find_run(cursor, run_id)
            keys = self._keys_of(cursor, values, new_keys)
            metric_log.store_step(cursor, self._sql, run, keys, values, step, at)

    def _store_batch(self, run_id: str, batch: Mapping[str, metric_log.Series]) -> None:
        with self._driver() as (cursor, new_keys):
            run = self._find_run(cursor, run_id)
            keys = self._keys_of(cursor, batch, new_keys)
            for name in sorted(batch):
                metric_log.store_series(cursor, self._sql, run, keys[name], batch[name])

    def _store_entries(self, entries: list[Entry]) -> None:
        """Store what the buffer held, in one transaction; what belongs to runs that are gone is counted and said."""
        by_run: dict[str, metric_log.Gathered] = {}
        for run_id, values, step, at in entries:
            by_run.setdefault(run_id, metric_log.Gathered()).add(values, step, at)
        self._insert(lambda: self._store_gathered(by_run))

    def _store_gathered(self, by_run: Mapping[str, metric_log.Gathered]) -> None:
        refused: list[str] = []
        with self._driver() as (cursor, new_keys):
            for run_id in sorted(by_run):
                gathered = by_run[run_id]
                try:
                    run = self._find_run(cursor, run_id)
                except NotFoundError:
                    refused.append(f"{gathered.n_values} values of run {run_id}")
                    continue
                keys = self._keys_of(cursor, gathered.names(), new_keys)
                gathered.store(cursor, self._sql, run, keys)
        if refused:
            raise NotFoundError(f"{' and '.join(refused)} could not be stored: the run was deleted meanwhile")

    def _check_known(self, run_id: str) -> None:
        """In the buffered mode, refuse a run that is not there when the first value comes, not when it is stored."""
        if run_id not in self._run_ids:
            with self._database.read() as session:
                self._remember(run_id, queries.require_run(session, run_id).id)

    def _log_params(self, run_id: str, params: Mapping[str, Any], *, overwrite: bool) -> None:
        stored = {key: to_stored_param(key, value) for key, value in flatten_params(params).items()}
        if stored:
            self._insert(lambda: self._store_params(run_id, stored, overwrite=overwrite))

    def _store_params(self, run_id: str, stored: Mapping[str, StoredParam], *, overwrite: bool) -> None:
        with self._driver() as (cursor, new_keys):
            run = self._find_run(cursor, run_id)
            keys = self._keys_of(cursor, stored, new_keys)
            conflicts = write_params(cursor, self._sql, run, keys, stored, overwrite=overwrite)
            if conflicts:
                raise DuplicateError(
                    f"run {run_id} has other values already: {'; '.join(conflicts[:10])}. "
                    "Params are set once; overwrite=True replaces them. Nothing was stored"
                )

    def _set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        read = read_tags(tags)
        if read:
            self._insert(lambda: self._store_tags(run_id, read))

    def _store_tags(self, run_id: str, read: Mapping[str, str]) -> None:
        with self._driver() as (cursor, new_keys):
            run = self._find_run(cursor, run_id)
            keys = self._keys_of(cursor, read, new_keys)
            write_tags(cursor, self._sql, run, keys, read)

    def _update_run(self, run_id: str, **changes: Any) -> None:
        with self._database.write(durable=False) as session:
            run = queries.require_run(session, run_id, for_update=True)
            for name, value in changes.items():
                setattr(run, name, value)

    def _end(
        self,
        run_id: str,
        status: RunStatus,
        error: str | None,
        sampler: SystemMetrics | None,
        *,
        only_open: bool = False,
    ) -> None:
        """End a run; with `only_open` one that was ended by hand before keeps how it ended."""
        if sampler is not None:
            sampler.stop()
        self.flush()
        with self._driver() as (cursor, _):
            run = self._find_run(cursor, run_id)
            statement = _END_OPEN_SQL if only_open else _ENDED_AT_SQL
            cursor.execute(self._sql(statement), (status.value, self._now(), error, run))
        self._keeper.discard(run)

    def _end_at_exit(self, run: int, error: str | None) -> None:
        """End a run that nobody ended, unless somebody else did meanwhile."""
        status = RunStatus.FINISHED if error is None else RunStatus.FAILED
        with self._driver() as (cursor, _):
            cursor.execute(self._sql(_END_OPEN_SQL), (status.value, self._now(), error, run))

    def _resume(self, run_id: str) -> None:
        from tracking_parts.environment import identify_process

        with self._driver() as (cursor, _):
            run = self._find_run(cursor, run_id)
            cursor.execute(
                self._sql(
                    "UPDATE runs SET status = 'running', ended_at = NULL, error = NULL, process = ?, "  # noqa: S608
                    f"heartbeat_at = {_NOW[self._database.dialect]} WHERE id = ?"
                ),
                (identify_process(), run),
            )
        self._keeper.add(run)

    # -- which runs still live -----------------------------------------------------------------------

    def _write_heartbeats(self, runs: list[int]) -> None:
        """Say that these runs live; one that others took for dead (its machine slept) is running again.

        A run taken for dead ended at its last heartbeat (`_settle`); one that somebody ended by hand stays ended.
        """
        with self._driver() as (cursor, _):
            cursor.executemany(
                self._sql(
                    f"UPDATE runs SET heartbeat_at = {_NOW[self._database.dialect]}, status = 'running', "  # noqa: S608
                    "ended_at = NULL WHERE id = ? "
                    "AND (status = 'running' OR (status = 'killed' AND ended_at = heartbeat_at))"
                ),
                [(run,) for run in runs],
            )

    def _settle(self) -> None:
        """Before reading: store what waits here, and mark the runs whose process is gone as killed."""
        self.flush()
        if not self._database.is_read_only and (dead := self._find_dead()):
            with self._driver() as (cursor, _):
                # Ended when it was last seen to live; the condition keeps a run that ended or beat meanwhile.
                cursor.executemany(
                    self._sql(
                        "UPDATE runs SET status = 'killed', ended_at = heartbeat_at "
                        "WHERE id = ? AND status = 'running' AND heartbeat_at = ? AND process = ?"
                    ),
                    dead,
                )

    def _find_dead(self) -> list[tuple[int, int, str]]:
        from tracking_parts.environment import is_process_alive

        with self._database.read() as session:
            cursor = session.connection().connection.cursor()  # before every read: no expression is compiled for it
            cursor.execute(
                self._sql(
                    f"SELECT id, heartbeat_at, process, {_NOW[self._database.dialect]} FROM runs "  # noqa: S608
                    "WHERE status = 'running' AND process IS NOT NULL"
                )
            )
            rows = cursor.fetchall()
            cursor.close()
            alive: dict[str, bool | None] = {}
            dead = []
            for run, heartbeat, process, now in rows:
                if process not in alive:
                    alive[process] = is_process_alive(process)
                if alive[process] is False or (alive[process] is None and now - heartbeat > STALE_SECONDS * 1e6):
                    dead.append((run, heartbeat, process))
        return dead

    def _after_fork(self) -> None:
        if self._buffer is not None:
            self._buffer.forget()


def _check_run_id(run_id: object) -> str:
    if not isinstance(run_id, str):
        raise TypeError(f"a run id is text, got {type(run_id).__name__} {shorten(run_id)}")
    if len(run_id) != 32 or not run_id.isascii() or not all(c in "0123456789abcdef" for c in run_id):
        raise NotFoundError(queries.no_run(run_id))
    return run_id


def _check_new_id(run_id: object) -> str:
    try:
        return _check_run_id(run_id)
    except NotFoundError:
        raise ValueError(f"a run id has 32 hexadecimal digits in lower case, got {shorten(run_id)}") from None
