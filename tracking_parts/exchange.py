"""Runs in from other trackers and files, and out again: `ExperimentTracking` does it through this base class."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from columns import from_microseconds
from db import RunArtifactRow, RunRow
from errors import ArtifactError, StateError
from tracking_parts import history, metric_log, queries
from tracking_parts.artifact_kinds import Stored
from tracking_parts.filters import parse_filter
from tracking_parts.params import to_stored_param
from tracking_parts.records import ImportReport
from tracking_parts.unknown import warn_of_unknown_keys
from values import check_choice, check_name, new_id, shorten

if TYPE_CHECKING:
    from artifacts import ArtifactStore
    from db import Database
    from tracking_parts.sources import SourceItems, SourceRun

__all__ = ["Exchange"]

MAX_PROBLEMS = 1_000  # sentences kept in a report
MAX_RUNS = 1_000_000  # runs one export writes


class Exchange:
    """Import and export; needs the machinery of `ExperimentTracking`."""

    _database: Database
    _sql: Callable[[str], str]

    if TYPE_CHECKING:  # provided by ExperimentTracking

        @property
        def _artifacts(self) -> ArtifactStore: ...
        def _settle(self) -> None: ...
        def _keys_of(self, cursor: Any, names: Iterable[str], new_keys: dict[str, int]) -> Mapping[str, int]: ...
        def _find_or_add_experiment(self, cursor: Any, name: str, now: int) -> int: ...
        def _find_or_add_environment(self, cursor: Any, environment: dict[str, Any]) -> int | None: ...

    # -- in ------------------------------------------------------------------------------------------

    def import_mlflow(
        self, source: str | os.PathLike[str], *, artifact_root: str | os.PathLike[str] | None = None
    ) -> ImportReport:
        """Import all runs of an MLflow store; MLflow need not be installed.

        Parameters
        ----------
        source : path or URL
            A SQLite file (or its ``sqlite:///`` URL), an ``mlruns`` folder, or a folder that holds one of them.
        artifact_root : path or None
            Where artifacts may be read beside the store's own folder. Runs whose artifacts lie elsewhere are refused,
            each with its reason; paths of a store that was moved are found again beside it.

        Returns
        -------
        ImportReport
            What was stored, counted after storing it; of several values at one step the last is kept and the others are
            counted. A second import adds nothing. Each run is one transaction: an interrupted import can be repeated.

        Raises
        ------
        FileNotFoundError
            If there is nothing at the source.
        ValueError
            If it is not an MLflow store.
        """
        from tracking_parts.mlflow_source import find_store, read_mlflow

        _, path = find_store(source)
        return self._import(str(path), read_mlflow(source, artifact_root))

    def import_csv(self, path: str | os.PathLike[str], *, experiment: str | None = None) -> ImportReport:
        """Import runs from CSV: a row a run (as `export_runs` writes), a row a point, or a row a step.

        Parameters
        ----------
        path : path
        experiment : str or None
            Name of the experiment; None takes the one in the file, or "imported".
        """
        from tracking_parts import tables

        experiment = None if experiment is None else check_name(experiment, "experiment")
        return self._import(str(path), tables.read_csv(Path(path), experiment))

    def import_json_lines(self, path: str | os.PathLike[str], *, experiment: str | None = None) -> ImportReport:
        """Import runs from JSON lines: whole runs as `export_runs` writes them, or an object a step.

        Parameters
        ----------
        path : path
        experiment : str or None
            Name of the experiment; None takes the one in the file, or "imported".
        """
        from tracking_parts import tables

        experiment = None if experiment is None else check_name(experiment, "experiment")
        return self._import(str(path), tables.read_json_lines(Path(path), experiment))

    def _import(self, source: str, items: SourceItems) -> ImportReport:
        run_ids: dict[str, str] = {}
        problems: list[str] = []
        parents: dict[str, str] = {}
        counts = dict.fromkeys(("n_params", "n_metrics", "n_points", "n_tags", "n_artifacts"), 0)
        n_found = n_new = n_dropped = 0
        for item in items:
            if isinstance(item, str):
                if len(problems) < MAX_PROBLEMS:
                    problems.append(item)
                continue
            n_found += 1
            try:
                uid, stored, dropped = self._import_run(item)
            except (ValueError, TypeError, ArtifactError) as error:
                problems.append(f"run {shorten(item.source_id)} was left out: {error}")
                continue
            run_ids[item.source_id] = uid
            if stored is None:
                continue
            n_new += 1
            n_dropped += dropped
            for name, count in stored.items():
                counts[name] += count
            if item.parent is not None:
                parents[item.source_id] = item.parent
        self._link_parents(parents, run_ids)
        return ImportReport(
            source=source,
            run_ids=run_ids,
            n_runs_found=n_found,
            n_runs_new=n_new,
            n_runs_known=len(run_ids) - n_new,
            n_points_dropped=n_dropped,
            problems=tuple(problems),
            **counts,
        )

    def _link_parents(self, parents: Mapping[str, str], run_ids: Mapping[str, str]) -> None:
        links = [(run_ids[child], run_ids[parent]) for child, parent in parents.items() if parent in run_ids]
        if links:
            with self._database.write(durable=False) as session:
                for child, parent in links:
                    queries.link_parent(session, child, parent)

    def _import_run(self, item: SourceRun) -> tuple[str, dict[str, int] | None, int]:
        """Store a run; returns its id, what was stored (None: it was here), how many points were dropped."""
        with self._database.read() as session:
            known = queries.find_origins(session, [item.origin])
        if known:
            return known[item.origin], None, 0
        params = {key: to_stored_param(key, value) for key, value in item.params.items()}
        series = {name: _to_series(points) for name, points in item.metrics.items() if points}
        dropped = sum(len(item.metrics[name]) - len(found.values) for name, found in series.items())

        def put() -> list[Stored]:
            if item.artifact_folder is None:
                return []
            return [Stored(path, "file", blob) for path, blob in self._artifacts.put_tree(item.artifact_folder)]

        files = put()
        now = time.time_ns() // 1000
        started = item.started_at or item.ended_at or now
        uid = new_id()
        new_keys: dict[str, int] = {}
        with self._database.write() as session:
            known = queries.find_origins(session, [item.origin])
            if known:  # another process imports the same
                return known[item.origin], None, 0
            cursor = session.connection().connection.cursor()
            row = RunRow(
                uid=uid,
                experiment_id=self._find_or_add_experiment(cursor, item.experiment, now),
                name=check_name(item.name, "run name"),
                status=item.status,
                started_at=from_microseconds(started),
                ended_at=from_microseconds(item.ended_at or started),
                note=item.note,
                error=item.error,
                origin=item.origin,
                environment_id=self._find_or_add_environment(cursor, item.environment),
            )
            session.add(row)
            session.flush()
            keys = self._keys_of(cursor, [*params, *item.tags, *series], new_keys)
            sql = self._sql
            if params:
                cursor.executemany(
                    sql("INSERT INTO run_params (run_id, key_id, is_json, value, number) VALUES (?, ?, ?, ?, ?)"),
                    [(row.id, keys[key], *value) for key, value in params.items()],
                )
            if item.tags:
                cursor.executemany(
                    sql("INSERT INTO run_tags (run_id, key_id, value) VALUES (?, ?, ?)"),
                    [(row.id, keys[key], value) for key, value in item.tags.items()],
                )
            for name, found in series.items():
                metric_log.store_series(cursor, sql, row.id, keys[name], found)
            cursor.close()
            if files:
                self._artifacts.claim(session, [file.blob for file in files], restore=put)
                session.add_all(
                    RunArtifactRow(
                        run_id=row.id,
                        path=file.path,
                        kind=file.kind,
                        sha256=file.blob.sha256,
                        size_bytes=file.blob.size_bytes,
                        created_at=row.started_at,
                        details={},
                    )
                    for file in files
                )
                session.flush()
            stored = queries.count_stored(session, row.id)
            expected = {
                "n_params": len(params),
                "n_metrics": len(series),
                "n_points": sum(len(found.values) for found in series.values()),
                "n_tags": len(item.tags),
                "n_artifacts": len(files),
            }
            if stored != expected:
                raise StateError(f"run {item.source_id} was not stored whole: {stored} instead of {expected}")
        return uid, stored, dropped

    # -- out -----------------------------------------------------------------------------------------

    def export_runs(
        self,
        path: str | os.PathLike[str],
        *,
        filter: str | None = None,  # noqa: A002
        experiment: str | Sequence[str] | None = None,
        format: str | None = None,  # noqa: A002
    ) -> int:
        """Write runs to a file; returns how many.

        Parameters
        ----------
        path : path
            Replaced if it is there; it appears whole or not at all.
        filter, experiment
            As for `search_runs`.
        format : {"csv", "parquet", "json", "jsonl"} or None
            None goes by the suffix. CSV and Parquet have a row a run with last values; JSON and JSON lines hold
            everything but the files of the runs, and JSON lines can be imported again without loss. Text in CSV that a
            spreadsheet would execute is neutralised.
        """
        from tracking_parts import tables

        target = Path(path)
        form = check_choice(
            (format or target.suffix.lstrip(".")).lower(), "format", ["csv", "parquet", "json", "jsonl"]
        )
        node = None if filter is None or not filter.strip() else parse_filter(filter)
        self._settle()
        with self._database.read() as session:
            numbers = queries.find_runs(session, node, experiment, [], MAX_RUNS, 0, "active")
            warn_of_unknown_keys(session, node, [], experiment, "active", found=bool(numbers), depth=2)
            if form in ("csv", "parquet"):
                frame = queries.read_frame(session, self._sql, numbers)
        if form in ("csv", "parquet"):
            tables.write_frame(frame, target, form)
            return len(frame)
        partial = target.with_name(target.name + ".incomplete")
        try:
            with partial.open("w", encoding="utf-8") as file:
                file.write("[\n" if form == "json" else "")
                for index, number in enumerate(numbers):
                    with self._database.read() as session:  # a short snapshot a run
                        found = queries.read_runs(session, [number])
                        line = tables.run_to_line(found[0], history.read_points(session, self._sql, found[0].run_id))
                    file.write((",\n" if form == "json" and index else "") + line + ("\n" if form == "jsonl" else ""))
                file.write("\n]\n" if form == "json" else "")
            os.replace(partial, target)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()
        return len(numbers)

    def export_history(
        self,
        path: str | os.PathLike[str],
        run_ids: str | Sequence[str],
        metric: str | Sequence[str],
        *,
        format: str | None = None,  # noqa: A002
    ) -> int:
        """Write histories of metrics, a row a point, as CSV or Parquet; returns how many rows."""
        from tracking_parts import tables

        target = Path(path)
        form = check_choice((format or target.suffix.lstrip(".")).lower(), "format", ["csv", "parquet"])
        runs = [run_ids] if isinstance(run_ids, str) else list(run_ids)
        metrics = [metric] if isinstance(metric, str) else list(metric)
        self._settle()
        with self._database.read() as session:
            frame = history.read_history(session, self._sql, runs, metrics, None)
        tables.write_frame(frame, target, form)
        return len(frame)


def _to_series(points: Sequence[tuple[int, int, float | None]]) -> metric_log.Series:
    """Return points in the order of their steps, of several at one step the last."""
    latest = {step: (at, value) for step, at, value in points}
    steps = sorted(latest)
    return metric_log.Series(steps, [latest[s][0] for s in steps], [latest[s][1] for s in steps])
