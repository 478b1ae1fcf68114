"""What alerts are made of, as people see them: rules, episodes, sinks, deliveries; and the rows they come from."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from db import AlertDeliveryRow, AlertRow, AlertRuleRow, AlertSinkRow, MonitoredModelRow
from lazy_dataclass import dataclass
from monitoring_parts.results import to_plain
from monitoring_parts.sinks import hide_secrets

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = [
    "Alert",
    "AlertRule",
    "AlertSink",
    "Delivery",
    "Observation",
    "to_alert",
    "to_delivery",
    "to_rule",
    "to_sink",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """A condition on a monitored version.

    Attributes
    ----------
    id : str
    name, version : str
    kind : {"metric_threshold", "control_chart", "feature_drift", "missing_data", "no_data"}
    subject : str or None
        Metric or feature; None watches all of them.
    segment : str or None
    severity : {"info", "warning", "critical"}
    options : dict
        "above" or "below" (metric_threshold), "charts" and "lookback_days" (control_chart), "days" (feature_drift),
        "share" and "days" (missing_data), "hours" (no_data).
    cooldown_seconds : float
    enabled : bool
    created_at : datetime
    """

    id: str
    name: str
    version: str
    kind: str
    subject: str | None
    segment: str | None
    severity: str
    options: dict[str, Any]
    cooldown_seconds: float
    enabled: bool
    created_at: datetime

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An episode of a rule.

    Attributes
    ----------
    id : str
    name, version : str
    fingerprint : str
        The same for all episodes of one rule and subject.
    kind, subject, severity, message : str
    status : {"open", "acknowledged", "silenced", "resolved"}
    occurrences : int
        Bad points.
    good_points : int
        Good ones since the last bad one.
    opened_at, last_at : datetime
        When the alert was raised and last changed.
    evidence_at : datetime or None
        Time of the newest data that was judged.
    notified_at, silenced_until, acknowledged_at, resolved_at : datetime or None
    acknowledged_by : str or None
    """

    id: str
    name: str
    version: str
    fingerprint: str
    kind: str
    subject: str
    severity: str
    message: str
    status: str
    occurrences: int
    good_points: int
    opened_at: datetime
    last_at: datetime
    evidence_at: datetime | None
    notified_at: datetime | None
    silenced_until: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSink:
    """A place to which alerts are sent.

    Attributes
    ----------
    name : str
    address : str
        Without anything that could be a token.
    trusted : bool
        Set by an operator in code.
    enabled : bool
    pending, failed : int
        Messages that wait, and that were given up.
    last_error : str or None
    last_sent_at : datetime or None
    """

    name: str
    address: str
    trusted: bool
    enabled: bool
    pending: int
    failed: int
    last_error: str | None
    last_sent_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message to one sink.

    Attributes
    ----------
    sink : str
    title : str
    status : {"sent", "pending", "failed"}
        "pending" is tried again at `next_at`.
    attempts : int
    error : str or None
    next_at : datetime or None
    """

    sink: str
    title: str
    status: str
    attempts: int
    error: str | None
    next_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True)
class Observation:
    """What a rule says of one point in time.

    Attributes
    ----------
    subject : str
    at : datetime
    bad : bool
    message : str
    """

    subject: str
    at: datetime
    bad: bool
    message: str


def to_rule(row: AlertRuleRow, monitored: MonitoredModelRow) -> AlertRule:
    """Return a rule's record."""
    return AlertRule(
        id=row.uid,
        name=monitored.name,
        version=monitored.version,
        kind=row.kind,
        subject=row.subject or None,
        segment=row.segment or None,
        severity=row.severity,
        options=dict(row.options),
        cooldown_seconds=row.cooldown_seconds,
        enabled=row.enabled,
        created_at=row.created_at,
    )


def to_alert(row: AlertRow, name: str, version: str, now: datetime) -> Alert:
    """Return an alert's record; whether it is silenced depends on the time."""
    status = "open"
    if row.resolved_at is not None:
        status = "resolved"
    elif row.silenced_until is not None and row.silenced_until > now:
        status = "silenced"
    elif row.acknowledged_at is not None:
        status = "acknowledged"
    return Alert(
        id=row.uid,
        name=name,
        version=version,
        fingerprint=row.fingerprint,
        kind=row.kind,
        subject=row.subject,
        severity=row.severity,
        message=row.message,
        status=status,
        occurrences=row.occurrences,
        good_points=row.good_streak,
        opened_at=row.opened_at,
        last_at=row.last_at,
        evidence_at=row.evidence_at,
        notified_at=row.notified_at,
        silenced_until=row.silenced_until,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
        resolved_at=row.resolved_at,
    )


def to_sink(session: Session, row: AlertSinkRow) -> AlertSink:
    """Return a sink's record with what waits for it; its address without secrets."""
    mine = session.query(AlertDeliveryRow).filter_by(sink_id=row.id)
    broken = mine.filter(AlertDeliveryRow.error.is_not(None)).order_by(AlertDeliveryRow.id.desc()).first()
    sent = mine.filter_by(status="sent").order_by(AlertDeliveryRow.sent_at.desc()).first()
    return AlertSink(
        name=row.name,
        address=hide_secrets(row.url),
        trusted=row.trusted,
        enabled=row.enabled,
        pending=mine.filter_by(status="pending").count(),
        failed=mine.filter_by(status="failed").count(),
        last_error=broken.error if broken is not None else None,
        last_sent_at=sent.sent_at if sent is not None else None,
    )


def to_delivery(row: AlertDeliveryRow, sink: str) -> Delivery:
    """Return a delivery's record."""
    return Delivery(
        sink=sink,
        title=row.title,
        status=row.status,
        attempts=row.attempts,
        error=row.error,
        next_at=row.next_at if row.status == "pending" else None,
    )
