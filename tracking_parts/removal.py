"""Deleting, restoring and giving space back: `ExperimentTracking` does it through this base class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from db import RunRow, TrackingExperimentRow
from errors import NotFoundError
from tracking_parts import queries
from tracking_parts.records import PurgeReport
from values import InvalidValueError, check_text, shorten, to_float

if TYPE_CHECKING:
    from artifacts import ArtifactStore
    from db import Database

__all__ = ["Removal"]

MAX_AGE_DAYS = 100_000  # that long ago nothing was deleted; far more is before the first year of the calendar


class Removal:
    """Deletion of runs and experiments; needs the machinery of `ExperimentTracking`."""

    _database: Database

    if TYPE_CHECKING:  # provided by ExperimentTracking

        @property
        def _artifacts(self) -> ArtifactStore: ...
        def flush(self) -> None:
            """Store what waits."""

        def _now_datetime(self) -> datetime: ...
        def _forget_runs(self, runs: Iterable[int]) -> None: ...

    def delete_run(self, run_id: str, *, permanently: bool = False) -> PurgeReport | None:
        """Delete a run and the runs nested in it.

        Parameters
        ----------
        run_id : str
        permanently : bool
            False: hidden, until `restore_run` or `purge_deleted`. True: gone at once; returns what that gave back.
        """
        self.flush()
        with self._database.write() as session:
            run = queries.require_run(session, run_id, for_update=True, deleted=permanently)
            family = queries.with_descendants(session, [run.id])
            if permanently:
                counts, blobs = queries.remove_runs(session, family)
            else:
                session.execute(
                    sa.update(RunRow)
                    .where(RunRow.id.in_(family), RunRow.deleted_at.is_(None))
                    .values(deleted_at=self._now_datetime())
                )
        self._forget_runs(family)
        return self._give_back(counts, blobs) if permanently else None

    def restore_run(self, run_id: str) -> None:
        """Take back a deletion, of the run and of the runs that were deleted with it."""
        with self._database.write() as session:
            run = queries.require_run(session, run_id, for_update=True, deleted=True)
            if run.deleted_at is None:
                return
            experiment = session.get_one(TrackingExperimentRow, run.experiment_id)
            if experiment.deleted_at is not None:
                queries.restore_experiment(session, experiment)
            session.execute(
                sa.update(RunRow)
                .where(RunRow.id.in_(queries.with_descendants(session, [run.id])), RunRow.deleted_at == run.deleted_at)
                .values(deleted_at=None)
            )

    def delete_experiment(self, experiment: str) -> None:
        """Delete an experiment and its runs; its name is free again. Undone by `restore_experiment`."""
        self.flush()
        with self._database.write() as session:
            number = queries.require_experiment(session, experiment)
            now = self._now_datetime()
            session.execute(
                sa.update(TrackingExperimentRow).where(TrackingExperimentRow.id == number).values(deleted_at=now)
            )
            session.execute(
                sa.update(RunRow)
                .where(RunRow.experiment_id == number, RunRow.deleted_at.is_(None))
                .values(deleted_at=now)
            )

    def restore_experiment(self, experiment: str) -> None:
        """Take back the latest deletion of an experiment of this name, with the runs that were deleted with it.

        Raises
        ------
        NotFoundError
            If none of this name was deleted.
        DuplicateError
            If there is a new experiment of the name meanwhile.
        """
        experiment = check_text(experiment, "experiment")
        with self._database.write() as session:
            found = session.scalar(
                sa.select(TrackingExperimentRow)
                .where(TrackingExperimentRow.name == experiment, TrackingExperimentRow.deleted_at.is_not(None))
                .order_by(TrackingExperimentRow.deleted_at.desc())
                .limit(1)
            )
            if found is None:
                raise NotFoundError(f"no deleted experiment is named {shorten(experiment)}")
            deleted_at = found.deleted_at
            queries.restore_experiment(session, found)
            session.execute(
                sa.update(RunRow)
                .where(RunRow.experiment_id == found.id, RunRow.deleted_at == deleted_at)
                .values(deleted_at=None)
            )

    def purge_deleted(self, *, older_than_days: float = 0.0) -> PurgeReport:
        """Remove for good what was deleted: rows, files that nothing else names, and the space in the database."""
        days = to_float(older_than_days, "older_than_days")
        if not 0.0 <= days <= MAX_AGE_DAYS:
            raise InvalidValueError(f"older_than_days must lie between 0 and {MAX_AGE_DAYS:,}, got {days:g}")
        limit = self._now_datetime() - timedelta(days=days)
        with self._database.write() as session:
            gone = list(session.scalars(sa.select(RunRow.id).where(RunRow.deleted_at <= limit)))
            counts, blobs = queries.remove_runs(session, gone)
            session.execute(
                sa.delete(TrackingExperimentRow).where(
                    TrackingExperimentRow.deleted_at <= limit,
                    ~sa.exists().where(RunRow.experiment_id == TrackingExperimentRow.id),
                )
            )
        self._forget_runs(gone)
        return self._give_back(counts, blobs)

    def _give_back(self, counts: Mapping[str, int], blobs: Sequence[str]) -> PurgeReport:
        blob_bytes = self._artifacts.release(self._database, blobs) if blobs else 0
        database_bytes = self._database.vacuum() if counts["n_runs"] else 0
        return PurgeReport(**counts, blob_bytes=blob_bytes, database_bytes=database_bytes)
