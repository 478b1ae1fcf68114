"""What is kept of a monitored version, and taking it away: for good, only when it is said twice, and told in the log.

Deleted are logged data, which no other part of the store refers to. A registered version itself is not touched.
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any

from db import (
    AlertRow,
    FeatureBatchRow,
    FeatureProfileRow,
    FeatureReferenceRow,
    MonitoredModelRow,
    NotFoundError,
    PerformancePointRow,
    PerformanceSeriesRow,
    PredictionRow,
    StateError,
)
from lazy_dataclass import dataclass
from monitoring_parts.base import MonitoringBase
from monitoring_parts.results import to_plain
from values import InvalidValueError, check_key, check_name, check_text

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["ReferenceRecord", "RemovalReport", "RemovalVerbs"]

logger = logging.getLogger("modeldesk")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRecord:
    """A stored reference of the features.

    Attributes
    ----------
    id : str
    name, version : str
    label : str
    created_at : datetime
    n_rows : int
        Of the sample it was made from.
    n_features, n_batches : int
        Profiles it has, and batches that were counted on them.
    current : bool
        Whether new batches are counted on it.
    """

    id: str
    name: str
    version: str
    label: str
    created_at: datetime
    n_rows: int
    n_features: int
    n_batches: int
    current: bool

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalReport:
    """What was deleted.

    Attributes
    ----------
    n_points, n_references, n_batches, n_predictions, n_alerts : int
    """

    n_points: int
    n_references: int
    n_batches: int
    n_predictions: int
    n_alerts: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


class RemovalVerbs(MonitoringBase):
    """The verbs of `ModelMonitoring` on what is stored."""

    def list_references(self, name: str, version: str) -> list[ReferenceRecord]:
        """Return the references of a version, the newest first; that one is current.

        Raises
        ------
        NotFoundError
            If nothing was ever logged under that name and version.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        with self._database.read() as session:
            monitored = self._find_monitored(session, name, version)
            rows = (
                session.query(FeatureReferenceRow)
                .filter_by(monitored_id=monitored.id)
                .order_by(FeatureReferenceRow.id.desc())
                .all()
            )
            return [
                ReferenceRecord(
                    id=row.uid,
                    name=name,
                    version=version,
                    label=row.label,
                    created_at=row.created_at,
                    n_rows=row.n_rows,
                    n_features=session.query(FeatureProfileRow.id).filter_by(reference_id=row.id).count(),
                    n_batches=session.query(FeatureBatchRow.id).filter_by(reference_id=row.id).count(),
                    current=position == 0,
                )
                for position, row in enumerate(rows)
            ]

    def delete_reference(
        self, name: str, version: str, reference_id: str, *, with_batches: bool = False, actor: str = ""
    ) -> RemovalReport:
        """Delete a reference, for good. The one before it, if there is one, is current again.

        Parameters
        ----------
        name, version : str
        reference_id : str
            As in `list_references`.
        with_batches : bool
            Batches are counts on their reference's edges and go with it; a reference that has some is only deleted
            with this.
        actor : str
            Who does it, for the log.

        Raises
        ------
        NotFoundError
            If the version has no such reference.
        StateError
            If it has batches, and `with_batches` was not given.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        key, who = check_key(reference_id, "reference_id"), check_text(actor, "actor", max_length=255)
        with self._database.write() as session:
            monitored = self._lock_monitored(session, name, version)
            row = session.query(FeatureReferenceRow).filter_by(monitored_id=monitored.id, uid=key).one_or_none()
            if row is None:
                raise NotFoundError(f"{name} {version} has no reference with the id {key!r}; see list_references()")
            batches = session.query(FeatureBatchRow.id).filter_by(reference_id=row.id).count()
            if batches and not with_batches:
                raise StateError(
                    f"{batches:,} batches were counted on the reference {key}; with_batches=True deletes them as well"
                )
            session.query(FeatureReferenceRow).filter_by(id=row.id).delete(synchronize_session=False)
        logger.warning(
            "%s deleted the reference %s of %s %s and %d batches", who or "someone", key, name, version, batches
        )
        return RemovalReport(n_points=0, n_references=1, n_batches=batches, n_predictions=0, n_alerts=0)

    def delete_monitored(self, name: str, version: str, *, confirm: str, actor: str = "") -> RemovalReport:
        """Delete all that was logged for a version, its references, alerts and rules, for good.

        Parameters
        ----------
        name, version : str
        confirm : str
            The name and the version once more, as ``"churn 1.0.0"``.
        actor : str
            Who does it, for the log.

        Raises
        ------
        ValueError
            If `confirm` is not exactly that; nothing is deleted.
        NotFoundError
            If nothing was ever logged under that name and version.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        who = check_text(actor, "actor", max_length=255)
        if confirm != f"{name} {version}":
            raise InvalidValueError(f"confirm must be {f'{name} {version}'!r} to delete all its data, got {confirm!r}")
        with self._database.write() as session:
            monitored = self._lock_monitored(session, name, version)
            owner = monitored.id
            references = session.query(FeatureReferenceRow.id).filter_by(monitored_id=owner)
            series = session.query(PerformanceSeriesRow.id).filter_by(monitored_id=owner)
            report = RemovalReport(
                n_points=session.query(PerformancePointRow)
                .filter(PerformancePointRow.series_id.in_(series.scalar_subquery()))
                .count(),
                n_references=references.count(),
                n_batches=session.query(FeatureBatchRow)
                .filter(FeatureBatchRow.reference_id.in_(references.scalar_subquery()))
                .count(),
                n_predictions=session.query(PredictionRow).filter_by(monitored_id=owner).count(),
                n_alerts=session.query(AlertRow).filter_by(monitored_id=owner).count(),
            )
            session.query(MonitoredModelRow).filter_by(id=owner).delete(synchronize_session=False)
        logger.warning("%s deleted all data of %s %s: %s", who or "someone", name, version, report.to_dict())
        return report

    def _lock_monitored(self, session: Session, name: str, version: str) -> MonitoredModelRow:
        found = self._find_monitored(session, name, version)
        return session.query(MonitoredModelRow).filter_by(id=found.id).with_for_update().one()
