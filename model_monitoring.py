"""Watch models in production: performance series with real control charts, data drift, predictions, alerts, reports.

    >>> import tempfile
    >>> monitoring = ModelMonitoring(f"sqlite:///{tempfile.mkdtemp()}/modeldesk.db")
    >>> monitoring.log_performance("churn", "1.0.0", "accuracy", 0.92, prediction_count=1000, at="2026-01-01")
    True
    >>> monitoring.detect_performance_drift("churn", "1.0.0", "accuracy", lookback_days=7).status
    'learning'

Vocabulary: a *monitored version* is a model's name and version; it need not be registered, and is linked to the
registry when it is. A *baseline* is how a metric behaved in control; limits come from it and never from the points
under judgement. A *reference* is what the features looked like, kept as *profiles* (edges and counts, not rows); later
data are *batches* counted on those edges. *Drift* is a change that is both large enough to matter and more than chance.

Instants without a time zone are taken as UTC; results are aware UTC. A log call that returned is stored: it survives
the death of the process (on SQLite a power cut may take the last moments; see `db.Database.write`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from columns import from_microseconds, to_microseconds
from db import (
    AlertRow,
    Database,
    FeatureBatchRow,
    FeatureReferenceRow,
    ModelVersionRow,
    MonitoredModelRow,
    NotFoundError,
    PerformanceBaselineRow,
    PerformancePointRow,
    PerformanceSeriesRow,
    PredictionRow,
    StateError,
)
from monitoring_parts.alert_records import Alert, AlertRule, AlertSink, Delivery
from monitoring_parts.alerting import AlertVerbs, AlertWorker
from monitoring_parts.assembly import (
    verdict_of,
)
from monitoring_parts.features import FeatureVerbs
from monitoring_parts.judging import AUTOMATIC_POINTS, LoggedPoints, baseline_of, judge_metric
from monitoring_parts.points import (
    BUCKETS,
    POINT_COLUMNS,
    Batches,
    Columns,
    bucketed,
    new_tie,
    points_of_frame,
    points_of_mappings,
    series_key,
)
from monitoring_parts.predictions import BucketPerformance, PredictionPerformance, PredictionVerbs
from monitoring_parts.removal import ReferenceRecord, RemovalReport, RemovalVerbs
from monitoring_parts.results import (
    BaselineRecord,
    ControlPoint,
    DataDrift,
    FeatureDrift,
    FeatureHistory,
    MetricSummary,
    MonitoringReport,
    PerformanceDrift,
    Trend,
    Violation,
)
from stats.data_drift import ALPHA
from stats.performance_drift import DEFAULT_CHARTS, LEARNING_POINTS
from stats.series import weighted_mean
from values import (
    InvalidTypeError,
    InvalidValueError,
    check_key,
    check_name,
    to_float,
    to_int,
    to_utc,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Alert",
    "AlertRule",
    "AlertSink",
    "BaselineRecord",
    "BucketPerformance",
    "ControlPoint",
    "DataDrift",
    "Delivery",
    "FeatureDrift",
    "FeatureHistory",
    "MetricSummary",
    "ModelMonitoring",
    "MonitoringReport",
    "PerformanceDrift",
    "PredictionPerformance",
    "ReferenceRecord",
    "RemovalReport",
    "Trend",
    "Violation",
]

READ_LIMIT = 120_000  # newest points of a series that one look reads
REPORT_METRICS = 200  # series in one report
_INSERT_POINT = (
    "INSERT INTO performance_points (series_id, at, tie, value, prediction_count, event_id) "
    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_INSERT_PLAIN_POINT = (  # without an id, as most are: one value less to bind
    "INSERT INTO performance_points (series_id, at, tie, value, prediction_count) "
    "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_SELECT_SERIES = (
    "SELECT m.name, m.version, s.metric, s.segment FROM performance_series s "
    "JOIN monitored_models m ON m.id = s.monitored_id WHERE s.id = ?"
)
_SELECT_POINTS = (
    "SELECT at, value, prediction_count FROM performance_points "
    "WHERE series_id = ? AND at <= ? ORDER BY at DESC, tie DESC LIMIT ?"
)


class ModelMonitoring(AlertVerbs, FeatureVerbs, PredictionVerbs, RemovalVerbs):
    """Log what a model does in production, and find out when it changes.

    Parameters
    ----------
    database : Database, str, path or None
        A `Database`, the URL or file of one, or None for the default store.
    evaluate_on_log : bool
        Whether a thread of this process evaluates the alert rules of a version, and sends what there is to send, after
        each of its log calls. Log calls do not wait for it. Otherwise call `evaluate_alerts` and `deliver_alerts`.
    """

    def __init__(
        self, database: Database | str | os.PathLike[str] | None = None, *, evaluate_on_log: bool = False
    ) -> None:
        self._database = Database.open(database)
        self._worker = AlertWorker(self) if evaluate_on_log else None
        self._series_ids: dict[tuple[str, str, str, str], int] = {}

    def __repr__(self) -> str:
        return f"ModelMonitoring({self._database.url!r})"

    # -- performance ---------------------------------------------------------------------------------

    def log_performance(
        self,
        name: str,
        version: str,
        metric: str,
        value: float,
        prediction_count: int | None = None,
        *,
        at: datetime | str | None = None,
        segment: str | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Store one value of a metric.

        Parameters
        ----------
        name, version : str
            The model; it need not be registered.
        metric : str
            For example "accuracy" or "p95_latency_ms".
        value : float
            Finite.
        prediction_count : int, optional
            Predictions behind the value, at least 0; a proportion with counts gets limits that know them.
        at : datetime or ISO text, optional
            When it was measured; None is now, without a time zone it is UTC. Any order, repeated instants welcome.
        segment : str, optional
            Part of the traffic ("country=CH"); each has a series of its own.
        event_id : str, optional
            Identifies this measurement: the same id again, in this series, changes nothing.

        Returns
        -------
        bool
            Whether it is new; False for a repeated event_id.

        Raises
        ------
        ValueError, TypeError
            If an argument breaks a rule; nothing is stored.
        """
        key = series_key(name, version, metric, segment)
        columns: Columns = (
            [to_microseconds(to_utc(at, "at"))],
            [new_tie()],
            [to_float(value, "value")],
            [None if prediction_count is None else to_int(prediction_count, "prediction_count", low=0)],
            [None if event_id is None else check_key(event_id, "event_id")],
        )
        return self._insert_points({key: columns}) == 1

    def log_performances(self, rows: pd.DataFrame | Iterable[Mapping[str, Any]], **defaults: Any) -> int:
        """Store many values in one transaction: all of them or, when one is refused, none.

        Parameters
        ----------
        rows : pandas.DataFrame or iterable of mappings
            Columns or keys: name, version, metric, value, and optionally prediction_count, at, segment, event_id.
        **defaults
            Values for columns that the rows do not have, such as ``name="churn", version="1.0.0"``.

        Returns
        -------
        int
            How many were new.

        Raises
        ------
        ValueError, TypeError
            Naming the row and the column at fault.
        """
        unknown = sorted(set(defaults) - set(POINT_COLUMNS))
        if unknown:
            raise InvalidValueError(f"unknown column {unknown[0]!r}; known: {', '.join(POINT_COLUMNS)}")
        if hasattr(rows, "columns") and hasattr(rows, "iloc"):
            batches = points_of_frame(rows, defaults)
        elif isinstance(rows, str | bytes | Mapping):
            raise InvalidTypeError(f"rows must be a DataFrame or an iterable of mappings, got {type(rows).__name__}")
        else:
            batches = points_of_mappings(rows, defaults)
        return self._insert_points(batches) if batches else 0

    def set_baseline(
        self,
        name: str,
        version: str,
        metric: str,
        *,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        points: int | None = None,
        segment: str | None = None,
        method: str | None = None,
    ) -> BaselineRecord:
        """Freeze how a metric behaves in control; a later call replaces it, and the earlier one stays in the history.

        Parameters
        ----------
        name, version, metric : str
        start, end : datetime or ISO text, optional
            Period whose points form the baseline, both ends included; None leaves an end open.
        points : int, optional
            Use only the first so many of them.
        segment : str, optional
        method : {"individuals", "laney", "p"}, optional
            None is "laney" for a proportion with prediction counts, else "individuals".

        Raises
        ------
        NotFoundError
            If nothing was logged under that name, version and metric.
        StateError
            If the period has fewer than 8 points.
        """
        key = series_key(name, version, metric, segment)
        first = None if start is None else to_microseconds(to_utc(start, "start"))
        last = None if end is None else to_microseconds(to_utc(end, "end"))
        limit = READ_LIMIT if points is None else to_int(points, "points", low=LEARNING_POINTS)
        if first is not None and last is not None and last < first:
            raise InvalidValueError(f"end {end} is before start {start}")
        with self._database.write() as session:
            series_id = self._find_series(session, key)
            statement = sa.select(
                PerformancePointRow.at, PerformancePointRow.value, PerformancePointRow.prediction_count
            ).where(PerformancePointRow.series_id == series_id)
            if first is not None:
                statement = statement.where(PerformancePointRow.at >= from_microseconds(first))
            if last is not None:
                statement = statement.where(PerformancePointRow.at <= from_microseconds(last))
            statement = statement.order_by(PerformancePointRow.at, PerformancePointRow.tie).limit(limit)
            found = [(to_microseconds(at), value, count) for at, value, count in session.execute(statement)]
            if len(found) < LEARNING_POINTS:
                raise StateError(
                    f"a baseline of {metric} needs at least {LEARNING_POINTS} points, the period has {len(found)}; "
                    "widen it or log more"
                )
            record = baseline_of(metric, LoggedPoints.of(found), "explicit", method, created_at=to_utc())
            session.add(_baseline_row(series_id, record))
        return record

    def baseline_history(
        self, name: str, version: str, metric: str, *, segment: str | None = None
    ) -> list[BaselineRecord]:
        """Return all baselines a metric has had, the oldest first; the last one holds."""
        key = series_key(name, version, metric, segment)
        with self._database.read() as session:
            series_id = self._find_series(session, key)
            rows = session.scalars(
                sa.select(PerformanceBaselineRow)
                .where(PerformanceBaselineRow.series_id == series_id)
                .order_by(PerformanceBaselineRow.id)
            )
            return [_to_baseline(row) for row in rows]

    def detect_performance_drift(
        self,
        name: str,
        version: str,
        metric: str,
        lookback_days: float = 7,
        *,
        segment: str | None = None,
        end: datetime | str | None = None,
        charts: Sequence[str] = DEFAULT_CHARTS,
        higher_is_better: bool | None = None,
        threshold: float | None = None,
        method: str | None = None,
    ) -> PerformanceDrift:
        """Judge the newest points of a metric by limits from its frozen baseline.

        Parameters
        ----------
        name, version, metric : str
        lookback_days : float
            Length of the window that is judged, in days.
        segment : str, optional
        end : datetime or ISO text, optional
            End of the window; None is the newest point.
        charts : sequence of str
            Among "3-sigma", "ewma", "cusum" (the default, each with one false alarm in about 370 points), "nelson"
            (all eight rules) and "western-electric" (one false alarm in 92 points).
        higher_is_better : bool, optional
            None judges by the metric's name; where that says nothing, a change to either side alarms.
        threshold : float, optional
            Value for `trend.days_until_threshold`; None is the control limit on the worse side.
        method : {"individuals", "laney", "p"}, optional
            For an automatic baseline; None is "laney" for a proportion with prediction counts, else "individuals".

        Returns
        -------
        PerformanceDrift

        Raises
        ------
        NotFoundError
            If nothing was logged under that name, version and metric.

        Notes
        -----
        Without a baseline the first 30 points of the series, all before the window, become one; it is stored once
        there are 30 of them and does not move afterwards. With 8 to 29 the limits are wider, with fewer the status is
        "learning".
        """
        key = series_key(name, version, metric, segment)
        days = to_float(lookback_days, "lookback_days")
        if days <= 0.0 or days > 36_500.0:
            raise InvalidValueError(f"lookback_days must lie in (0, 36500], got {days:g}")
        until = None if end is None else to_microseconds(to_utc(end, "end"))
        limit = None if threshold is None else to_float(threshold, "threshold")
        with self._database.read() as session:
            series_id = self._find_series(session, key)
            drift, fresh = self._judge(session, series_id, key, days, until, charts, higher_is_better, limit, method)
        if fresh is None:
            return drift
        return self._freeze(series_id, fresh, drift)

    def performance_history(
        self,
        name: str,
        version: str,
        metric: str,
        *,
        segment: str | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
        bucket: str | None = None,
    ) -> pd.DataFrame:
        """Return the logged points, or their means per time bucket.

        Parameters
        ----------
        bucket : {"hour", "day", "week", "month"}, optional
            Means weighted by prediction_count where every point of the bucket has a positive one, else plain. Buckets
            without points are rows with NaN: a gap shows as a gap.

        Returns
        -------
        DataFrame
            at, value, prediction_count; with a bucket also n_points.
        """
        import pandas as pd

        key = series_key(name, version, metric, segment)
        if bucket is not None and bucket not in BUCKETS:
            raise InvalidValueError(f"bucket must be one of {', '.join(BUCKETS)}, got {bucket!r}")
        first = None if start is None else to_microseconds(to_utc(start, "start"))
        last = 2**62 if end is None else to_microseconds(to_utc(end, "end"))
        with self._database.read() as session:
            rows = self._read_points(session, self._find_series(session, key), last)
        points = LoggedPoints.of([row for row in rows if first is None or row[0] >= first])
        counts = points.counts if points.counts is not None else np.full(len(points), np.nan)
        frame = pd.DataFrame(
            {
                "at": pd.to_datetime(points.times, unit="us", utc=True),
                "value": points.values,
                "prediction_count": counts,
            }
        )
        return frame if bucket is None else bucketed(frame, bucket)

    def list_monitored(self) -> list[dict[str, Any]]:
        """Return what is watched: name, version, metrics, segments, registered, last_at, newest first."""
        with self._database.read() as session:
            monitored = session.execute(sa.select(MonitoredModelRow)).scalars().all()
            series = session.execute(
                sa.select(
                    PerformanceSeriesRow.monitored_id,
                    PerformanceSeriesRow.metric,
                    PerformanceSeriesRow.segment,
                    sa.select(sa.func.max(PerformancePointRow.at))
                    .where(PerformancePointRow.series_id == PerformanceSeriesRow.id)
                    .scalar_subquery(),
                ).order_by(PerformanceSeriesRow.metric, PerformanceSeriesRow.segment)
            ).all()
            batches = dict(
                session.execute(
                    sa.select(FeatureReferenceRow.monitored_id, sa.func.max(FeatureBatchRow.at))
                    .join(FeatureBatchRow, FeatureBatchRow.reference_id == FeatureReferenceRow.id, isouter=True)
                    .group_by(FeatureReferenceRow.monitored_id)
                ).all()
            )
            linked = {row.id: self._version_uid(session, row) for row in monitored}
        result: list[dict[str, Any]] = []
        for row in monitored:
            mine = [(metric, segment, at) for owner, metric, segment, at in series if owner == row.id]
            times = [at for *_, at in mine if at is not None]
            batch_at = batches.get(row.id)
            times += [batch_at] if batch_at is not None else []
            result.append(
                {
                    "name": row.name,
                    "version": row.version,
                    "version_id": linked[row.id],
                    "metrics": sorted({metric for metric, _, _ in mine}),
                    "segments": sorted({segment for _, segment, _ in mine if segment}),
                    "has_reference": row.id in batches,
                    "created_at": row.created_at,
                    "last_at": max(times, default=None),
                }
            )
        return sorted(result, key=lambda item: item["last_at"] or item["created_at"], reverse=True)

    # -- reports -------------------------------------------------------------------------------------

    def generate_monitoring_report(
        self,
        name: str,
        version: str,
        days: float = 30,
        *,
        end: datetime | str | None = None,
        lookback_days: float | None = None,
    ) -> MonitoringReport:
        """Sum up a version's life in production.

        Parameters
        ----------
        name, version : str
        days : float
            Length of the period.
        end : datetime or ISO text, optional
            End of the period; None is the newest data.
        lookback_days : float, optional
            Window in which points are judged and features compared; None is 7 days, or the period if that is shorter.

        Raises
        ------
        NotFoundError
            If nothing was ever logged under that name and version.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        period = to_float(days, "days")
        if not 0.0 < period <= 36_500.0:
            raise InvalidValueError(f"days must lie in (0, 36500], got {period:g}")
        window = min(period, 7.0) if lookback_days is None else to_float(lookback_days, "lookback_days")
        if not 0.0 < window <= period:
            raise InvalidValueError(f"lookback_days must lie in (0, {period:g}], got {window:g}")
        until = None if end is None else to_utc(end, "end")
        with self._database.read() as session:
            return self._report(session, name, version, period, window, until)

    # -- private: performance ------------------------------------------------------------------------

    def _insert_points(self, batches: Batches) -> int:
        """Insert points of several series in one transaction; return how many are new."""
        fresh: dict[tuple[str, str, str, str], int] = {}
        new = 0
        with self._database.driver() as cursor:
            for key, columns in batches.items():
                series_id = self._series_ids.get(key)
                if series_id is None or not self._still_there(cursor, series_id, key):
                    series_id = fresh[key] = self._ensure_series(cursor, key)
                plain = all(event is None for event in columns[4])
                insert = self._database.sql(_INSERT_PLAIN_POINT if plain else _INSERT_POINT)
                rows = zip(repeat(series_id), *columns[: 4 if plain else 5], strict=False)
                if len(columns[0]) == 1:
                    cursor.execute(insert, next(rows))
                else:
                    cursor.executemany(insert, rows)
                new += max(0, cursor.rowcount)
        self._series_ids.update(fresh)
        for name, version in {key[:2] for key in batches}:
            self._noticed(name, version)
        return new

    def _still_there(self, cursor: Any, series_id: int, key: tuple[str, str, str, str]) -> bool:
        """Whether a remembered id is still that of the series: after a deletion another one may have it."""
        cursor.execute(self._database.sql(_SELECT_SERIES), (series_id,))
        found = cursor.fetchone()
        return found is not None and tuple(found) == key

    def _ensure_series(self, cursor: Any, key: tuple[str, str, str, str]) -> int:
        name, version, metric, segment = key
        sql = self._database.sql
        monitored_id = self._ensure_monitored(cursor, name, version)
        cursor.execute(
            sql(
                "INSERT INTO performance_series (monitored_id, metric, segment) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            ),
            (monitored_id, metric, segment),
        )
        cursor.execute(
            sql("SELECT id FROM performance_series WHERE monitored_id = ? AND metric = ? AND segment = ?"),
            (monitored_id, metric, segment),
        )
        return int(cursor.fetchone()[0])

    def _read_points(self, session: Session, series_id: int, until: int) -> list[tuple[int, float, int | None]]:
        """Newest points up to an instant, in the order of time."""
        result = session.connection().exec_driver_sql(
            self._database.sql(_SELECT_POINTS), (series_id, until, READ_LIMIT)
        )
        rows: list[Any] = list(result.fetchall())
        rows.reverse()
        return rows

    def _find_series(self, session: Session, key: tuple[str, str, str, str]) -> int:
        name, version, metric, segment = key
        monitored = self._find_monitored(session, name, version)
        found = session.scalar(
            sa.select(PerformanceSeriesRow.id).where(
                PerformanceSeriesRow.monitored_id == monitored.id,
                PerformanceSeriesRow.metric == metric,
                PerformanceSeriesRow.segment == segment,
            )
        )
        if found is None:
            known = session.execute(
                sa.select(PerformanceSeriesRow.metric, PerformanceSeriesRow.segment)
                .where(PerformanceSeriesRow.monitored_id == monitored.id)
                .limit(20)
            ).all()
            listed = ", ".join(m if not s else f"{m} ({s})" for m, s in known) or "none"
            wanted = metric if not segment else f"{metric} ({segment})"
            raise NotFoundError(f"no metric {wanted!r} was logged for {name} {version}; known: {listed}")
        return int(found)

    def _judge(
        self,
        session: Session,
        series_id: int,
        key: tuple[str, str, str, str],
        days: float,
        until: int | None,
        charts: Sequence[str],
        higher_is_better: bool | None,
        threshold: float | None,
        method: str | None,
    ) -> tuple[PerformanceDrift, BaselineRecord | None]:
        """Judge a series; also return the automatic baseline that is ready to be frozen, if there is one."""
        name, version, metric, segment = key
        points = LoggedPoints.of(self._read_points(session, series_id, 2**62 if until is None else until))
        end = until if until is not None else int(points.times[-1]) if len(points) else to_microseconds(to_utc())
        start = end - int(days * 86_400e6)
        row = session.scalar(
            sa.select(PerformanceBaselineRow)
            .where(PerformanceBaselineRow.series_id == series_id)
            .order_by(PerformanceBaselineRow.id.desc())
            .limit(1)
        )
        fresh = None
        record = _to_baseline(row) if row is not None else None
        if record is None:
            before = points[: int(np.searchsorted(points.times, start, side="right"))]
            if len(before) >= 2:
                record = baseline_of(metric, before[:AUTOMATIC_POINTS], "automatic", method, created_at=None)
                fresh = record if len(before) >= AUTOMATIC_POINTS and method is None else None
        drift = judge_metric(
            name=name,
            version=version,
            metric=metric,
            segment=segment or None,
            points=points,
            baseline=record,
            start=start,
            end=end,
            charts=charts,
            higher_is_better=higher_is_better,
            threshold=threshold,
        )
        return drift, fresh

    def _freeze(self, series_id: int, record: BaselineRecord, drift: PerformanceDrift) -> PerformanceDrift:
        """Store an automatic baseline and return the result with it; one that somebody stored meanwhile stays."""
        import dataclasses

        frozen = dataclasses.replace(record, created_at=to_utc())
        with self._database.write() as session:
            there = session.scalar(
                sa.select(PerformanceSeriesRow.id).where(PerformanceSeriesRow.id == series_id).with_for_update()
            )
            taken = session.scalar(
                sa.select(PerformanceBaselineRow.id).where(PerformanceBaselineRow.series_id == series_id).limit(1)
            )
            if there is None or taken is not None:  # deleted, or another baseline holds: this one was not stored
                return drift
            session.add(_baseline_row(series_id, frozen))
        return dataclasses.replace(drift, baseline=frozen)

    # -- private: alerts -----------------------------------------------------------------------------

    def _metrics_of(self, rule: AlertRule) -> list[tuple[str, str | None]]:
        with self._database.read() as session:
            monitored = self._find_monitored(session, rule.name, rule.version)
            statement = sa.select(PerformanceSeriesRow.metric, PerformanceSeriesRow.segment).where(
                PerformanceSeriesRow.monitored_id == monitored.id
            )
            if rule.subject is not None:
                statement = statement.where(PerformanceSeriesRow.metric == rule.subject)
                statement = statement.where(PerformanceSeriesRow.segment == (rule.segment or ""))
            return [(metric, segment or None) for metric, segment in session.execute(statement)]

    def _judged(self, rule: AlertRule, metric: str, segment: str | None) -> PerformanceDrift:
        key = (rule.name, rule.version, metric, segment or "")
        charts = rule.options.get("charts", DEFAULT_CHARTS)
        days = float(rule.options["lookback_days"])
        with self._database.read() as session:
            series_id = self._find_series(session, key)
            drift, fresh = self._judge(session, series_id, key, days, None, charts, None, None, None)
        return drift if fresh is None else self._freeze(series_id, fresh, drift)

    def _drifted(self, rule: AlertRule) -> DataDrift:
        with self._database.read() as session:
            reference, _ = self._find_reference(session, rule.name, rule.version)
            last = self._last_batch_at(session, reference.id)
            first = None if last is None else last - timedelta(days=float(rule.options["lookback_days"]))
            return self._feature_drift(session, rule.name, rule.version, first, last, ALPHA, 0.2)

    def _newest_of(self, rule: AlertRule) -> datetime | None:
        with self._database.read() as session:
            monitored = self._find_monitored(session, rule.name, rule.version)
            statement = sa.select(PerformanceSeriesRow.id).where(PerformanceSeriesRow.monitored_id == monitored.id)
            if rule.subject is None:
                return self._newest(session, monitored.id, session.scalars(statement).all())
            ids = session.scalars(statement.where(PerformanceSeriesRow.metric == rule.subject)).all()
            return session.scalar(
                sa.select(sa.func.max(PerformancePointRow.at)).where(PerformancePointRow.series_id.in_(ids))
            )

    # -- private: report -----------------------------------------------------------------------------

    def _report(
        self, session: Session, name: str, version: str, days: float, window: float, until: datetime | None
    ) -> MonitoringReport:
        monitored = self._find_monitored(session, name, version)
        now = to_utc()
        series = session.execute(
            sa.select(PerformanceSeriesRow.id, PerformanceSeriesRow.metric, PerformanceSeriesRow.segment)
            .where(PerformanceSeriesRow.monitored_id == monitored.id)
            .order_by(PerformanceSeriesRow.metric, PerformanceSeriesRow.segment)
            .limit(REPORT_METRICS + 1)
        ).all()
        newest = self._newest(session, monitored.id, [row.id for row in series])
        end = until or newest or now
        start = end - timedelta(days=days)
        reasons: list[str] = []
        if len(series) > REPORT_METRICS:
            series = series[:REPORT_METRICS]
            reasons.append(f"only the first {REPORT_METRICS} series are in this report")
        metrics = [self._summary(session, row, (name, version), start, end, window) for row in series]
        drift: DataDrift | None = None
        features_error: str | None = None
        try:
            drift = self._feature_drift(
                session, name, version, end - timedelta(days=window), end, ALPHA, psi_threshold=0.2
            )
            reasons += drift.reasons
        except StateError:
            reasons.append("no reference of the features was set: data drift cannot be judged")
        except ValueError as error:  # a stored profile that cannot be read must not hide the metrics
            features_error = " ".join(str(error).split())
            reasons.append(f"the features cannot be judged: {features_error}")
        if newest is None:
            reasons.append("nothing was logged yet")
        elif now - newest > timedelta(days=max(2.0, window)):
            reasons.append(f"the newest data are from {newest:%Y-%m-%d}, {(now - newest).days} days ago")
        logged, labelled = session.execute(
            sa.select(sa.func.count(), sa.func.count(PredictionRow.label)).where(
                PredictionRow.monitored_id == monitored.id, PredictionRow.at > start, PredictionRow.at <= end
            )
        ).one()
        status, verdict = verdict_of(metrics, drift)
        uid = self._version_uid(session, monitored)
        size = session.scalar(sa.select(ModelVersionRow.size_bytes).where(ModelVersionRow.uid == uid)) if uid else None
        alerts = session.scalar(
            sa.select(sa.func.count()).where(AlertRow.monitored_id == monitored.id, AlertRow.resolved_at.is_(None))
        )
        return MonitoringReport(
            name=name,
            version=version,
            version_id=uid,
            start_at=start,
            end_at=end,
            created_at=now,
            status=status,
            verdict=verdict,
            metrics=tuple(metrics),
            data_drift=drift,
            total_predictions=max([int(logged), *(m.prediction_count for m in metrics)], default=0),
            n_predictions_logged=int(logged),
            n_labelled=int(labelled),
            model_size_bytes=None if size is None else int(size),
            open_alerts=int(alerts or 0),
            reasons=tuple(reasons),
            features_error=features_error,
        )

    def _newest(self, session: Session, monitored_id: int, series_ids: Sequence[int]) -> datetime | None:
        found = [
            session.scalar(sa.select(sa.func.max(PerformancePointRow.at)).where(PerformancePointRow.series_id == i))
            for i in series_ids
        ]
        found.append(
            session.scalar(
                sa.select(sa.func.max(FeatureBatchRow.at))
                .join(FeatureReferenceRow, FeatureReferenceRow.id == FeatureBatchRow.reference_id)
                .where(FeatureReferenceRow.monitored_id == monitored_id)
            )
        )
        found.append(
            session.scalar(sa.select(sa.func.max(PredictionRow.at)).where(PredictionRow.monitored_id == monitored_id))
        )
        return max((at for at in found if at is not None), default=None)

    def _summary(
        self, session: Session, row: Any, owner: tuple[str, str], start: datetime, end: datetime, window: float
    ) -> MetricSummary:
        key = (*owner, row.metric, row.segment)
        drift, _ = self._judge(session, row.id, key, window, to_microseconds(end), DEFAULT_CHARTS, None, None, None)
        first = to_microseconds(start)
        both = [drift.history, drift.points]
        times = np.concatenate([part.times for part in both])
        values = np.concatenate([part.values for part in both])[times > first]
        counts = np.concatenate([part.counts for part in both])[times > first]
        mean = None
        if values.size:
            mean = weighted_mean(values, counts if bool((counts > 0.0).all()) else None)
        return MetricSummary(
            metric=row.metric,
            segment=row.segment or None,
            n_points=int(values.size),
            last_value=float(values[-1]) if values.size else None,
            last_at=from_microseconds(int(times[-1])) if values.size else None,
            mean=mean,
            prediction_count=int(np.nansum(counts)),
            drift=drift,
        )


# -- private helpers ---------------------------------------------------------------------------------


def _baseline_row(series_id: int, record: BaselineRecord) -> PerformanceBaselineRow:
    return PerformanceBaselineRow(
        series_id=series_id,
        created_at=record.created_at,
        start_at=record.start_at,
        end_at=record.end_at,
        n=record.n,
        center=record.center,
        sigma=record.sigma,
        sigma_z=record.sigma_z,
        method=record.method,
        source=record.source,
        autocorrelation=record.autocorrelation,
    )


def _to_baseline(row: PerformanceBaselineRow) -> BaselineRecord:
    return BaselineRecord(
        method=row.method,
        source=row.source,
        n=row.n,
        center=row.center,
        sigma=row.sigma,
        sigma_z=row.sigma_z,
        start_at=row.start_at,
        end_at=row.end_at,
        created_at=row.created_at,
        autocorrelation=row.autocorrelation,
    )
