"""The verbs of monitoring on features: references, batches, and their comparison.

A reference is stored as profiles (edges, counts, moments), a batch as counts on those edges: no row of anybody's data
is kept, and batches add up exactly to any window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from db import (
    FeatureBatchRow,
    FeatureCountsRow,
    FeatureProfileRow,
    FeatureReferenceRow,
    MonitoredModelRow,
    NotFoundError,
    StateError,
)
from monitoring_parts.assembly import (
    bucket_starts,
    changes_of,
    check_alpha,
    compare_profiles,
    to_data_drift,
    to_feature_history,
)
from monitoring_parts.base import MonitoringBase
from monitoring_parts.columns import read_frame
from monitoring_parts.points import BUCKETS
from monitoring_parts.results import DataDrift, FeatureDrift, FeatureHistory
from stats.data_drift import ALPHA, compare_columns, judge_features
from stats.profiles import (
    FeatureCounts,
    FeatureProfile,
    count_any,
    counts_from_bytes,
    counts_to_bytes,
    profile_column,
    profile_from_bytes,
    profile_to_bytes,
)
from values import InvalidValueError, check_choice, check_key, check_name, check_text, new_id, to_float, to_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["FeatureVerbs"]


class FeatureVerbs(MonitoringBase):
    """The verbs of `ModelMonitoring` on data."""

    def set_reference(
        self,
        name: str,
        version: str,
        frame: Any,
        *,
        label: str = "",
        importances: Mapping[str, float] | None = None,
    ) -> str:
        """Freeze what the features looked like: a profile of about 2 KB for each, not the rows.

        Parameters
        ----------
        name, version : str
        frame : pandas.DataFrame, mapping of columns, or two-dimensional array
            The reference sample, for example the held-out data of the version.
        label : str
            What it is, for people.
        importances : mapping of str to float, optional
            Weight of features in the model; drifted features are ranked by it.

        Returns
        -------
        str
            Id of the reference. A new one replaces it for later batches; the earlier one keeps its own.

        Raises
        ------
        ValueError, TypeError
            If the frame has no rows or columns, or two columns of one name.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        text = check_text(label, "label", max_length=1_000)
        columns = read_frame(frame)
        n_rows = max((column.n for column in columns.values()), default=0)
        if n_rows == 0:
            raise InvalidValueError(
                "the reference frame has no rows or no columns; give the data the model was judged on"
            )
        weights = _weights(importances)
        profiles = {feature: profile_to_bytes(profile_column(column)) for feature, column in columns.items()}
        uid = new_id()
        with self._database.write() as session:
            cursor = session.connection().connection.cursor()  # the same transaction
            monitored = self._ensure_monitored(cursor, name, version)
            cursor.close()
            reference = FeatureReferenceRow(
                uid=uid, monitored_id=monitored, created_at=to_utc(), n_rows=n_rows, label=text, model=None
            )
            session.add(reference)
            session.flush()
            session.add_all(
                FeatureProfileRow(
                    reference_id=reference.id, feature=feature, importance=weights.get(feature), data=data
                )
                for feature, data in profiles.items()
            )
        return uid

    def log_features(
        self, name: str, version: str, frame: Any, *, at: datetime | str | None = None, event_id: str | None = None
    ) -> int:
        """Add a batch of rows as counts on the edges of the current reference.

        Parameters
        ----------
        name, version : str
        frame : pandas.DataFrame, mapping of columns, or two-dimensional array
        at : datetime or ISO text, optional
            When the batch was seen; None is now.
        event_id : str, optional
            Identifies the batch: the same id again changes nothing.

        Returns
        -------
        int
            Rows added; 0 for a repeated event_id.

        Raises
        ------
        StateError
            If there is no reference yet, or it was replaced or deleted while the batch was counted.
        ValueError, TypeError
            If the frame has no rows.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        instant = to_utc(at, "at")
        event = None if event_id is None else check_key(event_id, "event_id")
        columns = read_frame(frame)
        n_rows = max((column.n for column in columns.values()), default=0)
        if n_rows == 0:
            raise InvalidValueError("the batch has no rows or no columns; there is nothing to log")
        with self._database.read() as session:
            reference, profiles = self._find_reference(session, name, version)
        counted: dict[int, bytes] = {}
        changes: dict[str, str] = {}
        known = {row.feature: (row.id, profile) for row, profile in profiles}
        for feature, column in columns.items():
            if feature not in known:
                changes[feature] = f"new:{column.family}"
                continue
            profile_id, profile = known[feature]
            counts = count_any(profile, column)
            if counts is None:
                changes[feature] = f"type:{column.family}"
            else:
                counted[profile_id] = counts_to_bytes(counts)
        with self._database.write(durable=False) as session:
            same = session.query(FeatureReferenceRow.id).filter_by(id=reference.id, uid=reference.uid)
            if same.with_for_update().one_or_none() is None:
                raise StateError(f"the reference of {name} {version} was deleted meanwhile; log the batch again")
            newer = session.query(FeatureReferenceRow.id).filter_by(monitored_id=reference.monitored_id)
            if newer.filter(FeatureReferenceRow.id > reference.id).first() is not None:
                # Counted on edges that nobody looks at any more, the batch would be stored and never seen.
                raise StateError(f"the reference of {name} {version} was replaced meanwhile; log the batch again")
            if event is not None:
                known_batch = session.query(FeatureBatchRow.id).filter_by(reference_id=reference.id, event_id=event)
                if known_batch.first() is not None:
                    return 0
            batch = FeatureBatchRow(
                reference_id=reference.id, at=instant, n_rows=n_rows, event_id=event, changes=changes
            )
            session.add(batch)
            session.flush()
            session.add_all(
                FeatureCountsRow(batch_id=batch.id, profile_id=key, data=data) for key, data in counted.items()
            )
        self._noticed(name, version)
        return n_rows

    def detect_data_drift(
        self,
        reference: Any,
        current: Any,
        *,
        alpha: float = ALPHA,
        psi_threshold: float = 0.2,
        importances: Mapping[str, float] | None = None,
        multivariate: str | None = None,
        features: Sequence[str] | None = None,
    ) -> DataDrift:
        """Compare two frames feature by feature; nothing is stored.

        Parameters
        ----------
        reference, current : pandas.DataFrame, mapping of columns, or two-dimensional array
        alpha : float
            False discovery rate across features.
        psi_threshold : float
            Population stability index from which a change matters; what chance gives at these sizes is reached as well.
        importances : mapping of str to float, optional
            Weight of features in the model, for the ranking.
        multivariate : {"domain_classifier", "pca"}, optional
            Compare the features together as well; needs scikit-learn.
        features : sequence of str, optional
            Only these.

        Returns
        -------
        DataDrift
            One row for every column of either frame, whatever is in it.
        """
        level = check_alpha(alpha)
        threshold = to_float(psi_threshold, "psi_threshold")
        if threshold <= 0.0:
            raise InvalidValueError(f"psi_threshold must be positive, got {threshold:g}")
        weights = _weights(importances)
        left, right = read_frame(reference, "reference"), read_frame(current, "current")
        names = [*left, *(name for name in right if name not in left)]
        if features is not None:
            wanted = [check_key(feature, "features") for feature in features]
            absent = [feature for feature in wanted if feature not in names]
            if absent:
                raise NotFoundError(f"no column named {absent[0]!r} in either frame; known: {', '.join(names)}")
            names = wanted
        compared = [compare_columns(name, left.get(name), right.get(name), psi_threshold=threshold) for name in names]
        together = None
        if multivariate is not None:
            from monitoring_parts.multivariate import compare_together

            together = compare_together(reference, current, multivariate)
        return to_data_drift(
            compared,
            alpha=level,
            importances=weights,
            n_reference=max((column.n for column in left.values()), default=0),
            n_current=max((column.n for column in right.values()), default=0),
            multivariate=together,
        )

    def detect_feature_drift(
        self,
        name: str,
        version: str,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        alpha: float = ALPHA,
        psi_threshold: float = 0.2,
    ) -> DataDrift:
        """Compare the logged batches of a window with the stored reference.

        Parameters
        ----------
        name, version : str
        start, end : datetime or ISO text, optional
            Window, both ends included. None for `end` is the newest batch; None for `start` is 7 days before the end.
        alpha, psi_threshold : float
            As in `detect_data_drift`.

        Raises
        ------
        StateError
            If there is no reference yet.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        level, threshold = check_alpha(alpha), to_float(psi_threshold, "psi_threshold")
        first = None if start is None else to_utc(start, "start")
        last = None if end is None else to_utc(end, "end")
        if first is not None and last is not None and last < first:
            raise InvalidValueError(f"end {end} is before start {start}")
        with self._database.read() as session:
            return self._feature_drift(session, name, version, first, last, level, threshold)

    def feature_history(
        self,
        name: str,
        version: str,
        *,
        bucket: str = "day",
        days: float = 30,
        end: datetime | str | None = None,
        psi_threshold: float = 0.2,
        features: Sequence[str] | None = None,
    ) -> FeatureHistory:
        """Compare the batches of every time window with the stored reference, for a heat map.

        Parameters
        ----------
        name, version : str
        bucket : {"hour", "day", "week", "month"}
            Length of a window; at most 400 windows.
        days : float
            Length of the period; it ends at the newest batch, or at `end`.
        end : datetime or ISO text, optional
        psi_threshold : float
            As in `detect_data_drift`.
        features : sequence of str, optional
            Only these; nothing of the others is read, and verdicts are adjusted across these alone.

        Raises
        ------
        StateError
            If there is no reference yet.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        check_choice(bucket, "bucket", tuple(BUCKETS))
        wanted = None if features is None else {check_key(feature, "features") for feature in features}
        period, threshold = to_float(days, "days"), to_float(psi_threshold, "psi_threshold")
        if not 0.0 < period <= 36_500.0:
            raise InvalidValueError(f"days must lie in (0, 36500], got {period:g}")
        last = None if end is None else to_utc(end, "end")
        with self._database.read() as session:
            reference, profiles = self._find_reference(session, name, version)
            if wanted is not None:
                profiles = [pair for pair in profiles if pair[0].feature in wanted]
            if last is None:
                last = self._last_batch_at(session, reference.id)
            if last is None:
                last = to_utc()
            starts = bucket_starts(last - timedelta(days=period), last, bucket)
            only = None if wanted is None else [row.id for row, _ in profiles]
            batches, counts = self._read_batches(session, reference.id, starts[0], last, only)
        windows: list[list[FeatureDrift]] = []
        rows: list[int] = []
        for position, start in enumerate(starts):
            until = starts[position + 1] if position + 1 < len(starts) else None
            inside = [b for b in batches if b.at >= start and (until is None or b.at < until)]
            ids = {batch.id for batch in inside}
            mine = {key: [c for owner, c in found if owner in ids] for key, found in counts.items()}
            rows.append(sum(batch.n_rows for batch in inside))
            changes = {
                feature: change for feature, change in changes_of(inside).items() if wanted is None or feature in wanted
            }
            compared = compare_profiles(profiles, mine, changes, bool(inside), threshold)
            windows.append(judge_features(compared))
        return to_feature_history(name, version, bucket, starts, windows, rows)

    def _find_reference(
        self, session: Session, name: str, version: str
    ) -> tuple[FeatureReferenceRow, list[tuple[FeatureProfileRow, FeatureProfile]]]:
        reference = (
            session.query(FeatureReferenceRow)
            .join(MonitoredModelRow, MonitoredModelRow.id == FeatureReferenceRow.monitored_id)
            .filter(MonitoredModelRow.name == name, MonitoredModelRow.version == version)
            .order_by(FeatureReferenceRow.id.desc())
            .first()
        )
        if reference is None:
            raise StateError(f"{name} {version} has no reference; call set_reference(name, version, frame) first")
        rows = session.query(FeatureProfileRow).filter_by(reference_id=reference.id).order_by(FeatureProfileRow.id)
        return reference, [(row, profile_from_bytes(row.data)) for row in rows]

    def _feature_drift(
        self,
        session: Session,
        name: str,
        version: str,
        first: datetime | None,
        last: datetime | None,
        alpha: float,
        psi_threshold: float,
    ) -> DataDrift:
        reference, profiles = self._find_reference(session, name, version)
        if last is None:
            last = self._last_batch_at(session, reference.id)
        if last is None:
            last = to_utc()
        if first is None:
            first = last - timedelta(days=7)
        batches, tagged = self._read_batches(session, reference.id, first, last)
        counts = {key: [found for _, found in pairs] for key, pairs in tagged.items()}
        compared = compare_profiles(profiles, counts, changes_of(batches), bool(batches), psi_threshold)
        n_rows = sum(batch.n_rows for batch in batches)
        words = () if batches else (f"no batches between {first:%Y-%m-%d %H:%M} and {last:%Y-%m-%d %H:%M} UTC",)
        weights = {row.feature: row.importance for row, _ in profiles if row.importance is not None}
        return to_data_drift(
            compared,
            alpha=alpha,
            importances=weights or None,
            n_reference=reference.n_rows,
            n_current=n_rows,
            reasons=words,
            name=name,
            version=version,
            start_at=first,
            end_at=last,
        )

    def _read_batches(
        self, session: Session, reference_id: int, first: datetime, last: datetime, only: Sequence[int] | None = None
    ) -> tuple[list[Any], dict[int, list[tuple[int, FeatureCounts]]]]:
        """Batches of a period, and their counts (batch id, counts) by profile, of the profiles `only` if given."""
        inside = (
            FeatureBatchRow.reference_id == reference_id,
            FeatureBatchRow.at >= first,
            FeatureBatchRow.at <= last,
        )
        order = (FeatureBatchRow.at, FeatureBatchRow.id)
        columns = (FeatureBatchRow.id, FeatureBatchRow.at, FeatureBatchRow.n_rows, FeatureBatchRow.changes)
        batches = session.query(*columns).filter(*inside).order_by(*order).all()
        counts: dict[int, list[tuple[int, FeatureCounts]]] = {}
        query = (
            session.query(FeatureCountsRow.batch_id, FeatureCountsRow.profile_id, FeatureCountsRow.data)
            .join(FeatureBatchRow, FeatureBatchRow.id == FeatureCountsRow.batch_id)
            .filter(*inside)
            .order_by(*order)
        )
        if only is not None:
            query = query.filter(FeatureCountsRow.profile_id.in_(only))
        for batch_id, profile_id, data in query:
            counts.setdefault(profile_id, []).append((batch_id, counts_from_bytes(data)))
        return list(batches), counts

    def _last_batch_at(self, session: Session, reference_id: int) -> datetime | None:
        newest = session.query(FeatureBatchRow.at).filter_by(reference_id=reference_id)
        found = newest.order_by(FeatureBatchRow.at.desc()).first()
        return None if found is None else found.at


def _weights(importances: Mapping[str, float] | None) -> dict[str, float]:
    """Return checked importances by column, named as `read_frame` names them: the column 0 is "0"."""
    return {
        check_key(feature if isinstance(feature, str) else str(feature), "importances"): to_float(
            weight, f"importances[{feature!r}]"
        )
        for feature, weight in ({} if importances is None else importances).items()
    }
