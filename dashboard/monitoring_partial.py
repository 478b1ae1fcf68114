"""A report on the metrics alone, for a version whose features cannot be judged: a broken part hides nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from db import NotFoundError

if TYPE_CHECKING:
    from model_monitoring import MetricSummary, ModelMonitoring, MonitoringReport

__all__ = ["report_of_metrics"]

MAX_ALERTS = 1_000


def report_of_metrics(
    monitoring: ModelMonitoring, name: str, version: str, days: float, error: Exception
) -> MonitoringReport:
    """Return what a report would say of everything but the features; its reasons begin with the error.

    Raises
    ------
    NotFoundError
        If nothing was ever logged under that name and version.
    """
    from model_monitoring import MonitoringReport
    from monitoring_parts.assembly import verdict_of

    watched = [item for item in monitoring.list_monitored() if (item["name"], item["version"]) == (name, version)]
    if not watched:
        raise NotFoundError(f"nothing was logged for {name} {version}")
    now = datetime.now(UTC)
    end = watched[0]["last_at"] or now
    metrics = []
    for metric in watched[0]["metrics"]:
        for segment in (None, *watched[0]["segments"]):
            try:
                metrics.append(_summary(monitoring, name, version, metric, segment, days, end))
            except NotFoundError:  # not every metric has every segment
                continue
    start = end - timedelta(days=days)
    logged = monitoring.prediction_performance(name, version, start=start, end=end).total
    status, verdict = verdict_of(metrics, None)
    reason = " ".join(str(error).split())
    return MonitoringReport(
        name=name,
        version=version,
        version_id=watched[0]["version_id"],
        start_at=start,
        end_at=end,
        created_at=now,
        status=status,
        verdict=verdict,
        metrics=tuple(metrics),
        data_drift=None,
        total_predictions=max([logged.n if logged else 0, *(m.prediction_count for m in metrics)]),
        n_predictions_logged=logged.n if logged else 0,
        n_labelled=logged.n_labelled if logged else 0,
        model_size_bytes=None,
        open_alerts=len(monitoring.list_alerts(name, version, limit=MAX_ALERTS)),
        reasons=(f"the features cannot be judged: {reason}",),
    )


def _summary(
    monitoring: ModelMonitoring, name: str, version: str, metric: str, segment: str | None, days: float, end: datetime
) -> MetricSummary:
    import numpy as np

    from model_monitoring import MetricSummary
    from stats.series import weighted_mean

    drift = monitoring.detect_performance_drift(name, version, metric, days, segment=segment, end=end)
    points = drift.points
    last = points[-1] if len(points) else None
    counts = points.counts
    return MetricSummary(
        metric=metric,
        segment=segment,
        n_points=len(points),
        last_value=last.value if last else None,
        last_at=last.at if last else None,
        mean=weighted_mean(points.values, counts if bool((counts > 0.0).all()) else None) if last else None,
        prediction_count=int(np.nansum(counts)),
        drift=drift,
    )
