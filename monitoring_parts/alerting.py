"""Alerts: rules that are evaluated, episodes that open and close, messages that are retried until a sink takes them.

An alert is an episode of one *fingerprint* (model, version, metric or feature, rule): it opens at the first bad point,
counts further ones as occurrences, and is resolved after three good points in a row. It is notified when it opens,
again after the cool-down while it goes on unacknowledged and not silenced, and once when it is resolved. Messages are
written to an *outbox* in the transaction that changes the alert; `deliver_alerts` empties it outside of any
transaction, so that a dead sink can neither slow a log call nor lose a message.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from db import (
    AlertDeliveryRow,
    AlertRow,
    AlertRuleRow,
    AlertSinkRow,
    DuplicateError,
    MonitoredModelRow,
    NotFoundError,
)
from monitoring_parts.base import MonitoringBase
from monitoring_parts.results import DataDrift, PerformanceDrift, to_plain
from monitoring_parts.sinks import SinkError, check_sink_url, hide_secrets, send
from stats.performance_drift import CHARTS, DEFAULT_CHARTS
from values import (
    InvalidTypeError,
    InvalidValueError,
    check_choice,
    check_key,
    check_name,
    check_text,
    new_id,
    to_float,
    to_utc,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["Alert", "AlertRule", "AlertSink", "AlertVerbs", "AlertWorker", "Delivery", "Observation"]

logger = logging.getLogger("modeldesk")

RULE_KINDS = ("metric_threshold", "control_chart", "feature_drift", "missing_data", "no_data")
SEVERITIES = ("info", "warning", "critical")
GOOD_POINTS = 3  # in a row resolve an alert
COOLDOWN_SECONDS = 6 * 3600.0  # default time between two messages of one alert
MAX_ATTEMPTS = 10  # of one delivery; with the waits below over about two days
FIRST_WAIT_SECONDS = 60.0  # doubles with every attempt
LONGEST_WAIT_SECONDS = 12 * 3600.0
LEASE_SECONDS = 300.0  # a delivery that is being sent belongs to one process for so long


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


class AlertVerbs(MonitoringBase):
    """The verbs of `ModelMonitoring` on alerts. The other verbs it needs come from there."""

    _worker: AlertWorker | None = None

    # -- rules ---------------------------------------------------------------------------------------

    def add_alert_rule(
        self,
        name: str,
        version: str,
        kind: str,
        subject: str | None = None,
        *,
        segment: str | None = None,
        above: float | None = None,
        below: float | None = None,
        charts: Sequence[str] | None = None,
        lookback_days: float | None = None,
        share: float | None = None,
        hours: float | None = None,
        severity: str = "warning",
        cooldown_hours: float = COOLDOWN_SECONDS / 3600.0,
    ) -> str:
        """Watch a version.

        Parameters
        ----------
        name, version : str
            Data need not have been logged yet.
        kind : {"metric_threshold", "control_chart", "feature_drift", "missing_data", "no_data"}
            A metric beyond a value; a control chart violated for the worse; a feature drifted; a feature with too many
            nulls or absent; nothing logged for some hours.
        subject : str, optional
            Metric or feature; None watches all of them (not for "metric_threshold").
        segment : str, optional
        above, below : float, optional
            Limits of "metric_threshold"; at least one.
        charts : sequence of str, optional
            For "control_chart", see `detect_performance_drift`.
        lookback_days : float, optional
            Window of "control_chart", "feature_drift" and "missing_data"; 7.
        share : float, optional
            Share of nulls from which "missing_data" is bad; .5.
        hours : float, optional
            For "no_data"; 24.
        severity : {"info", "warning", "critical"}
        cooldown_hours : float
            Shortest time between two messages of one alert.

        Returns
        -------
        str
            Id of the rule.
        """
        name, version = check_name(name, "model name"), check_name(version, "version")
        check_choice(kind, "kind", RULE_KINDS)
        check_choice(severity, "severity", SEVERITIES)
        about = "" if subject is None else check_key(subject, "subject")
        part = "" if segment is None else check_key(segment, "segment")
        options = _rule_options(
            kind, about, above=above, below=below, charts=charts, days=lookback_days, share=share, hours=hours
        )
        cooldown = to_float(cooldown_hours, "cooldown_hours") * 3600.0
        if cooldown < 0.0:
            raise InvalidValueError(f"cooldown_hours must be at least 0, got {cooldown_hours}")
        uid = new_id()
        with self._database.write() as session:
            cursor = session.connection().connection.cursor()  # the same transaction
            monitored = self._ensure_monitored(cursor, name, version)
            cursor.close()
            session.add(
                AlertRuleRow(
                    uid=uid,
                    monitored_id=monitored,
                    kind=kind,
                    subject=about,
                    segment=part,
                    severity=severity,
                    options=options,
                    cooldown_seconds=cooldown,
                    enabled=True,
                    created_at=to_utc(),
                )
            )
        return uid

    def list_alert_rules(self, name: str | None = None, version: str | None = None) -> list[AlertRule]:
        """Return the rules, the oldest first, of one model or version if named."""
        with self._database.read() as session:
            query = session.query(AlertRuleRow, MonitoredModelRow).join(
                MonitoredModelRow, MonitoredModelRow.id == AlertRuleRow.monitored_id
            )
            return [_to_rule(*row) for row in _of_version(query, name, version).order_by(AlertRuleRow.id)]

    def delete_alert_rule(self, rule_id: str) -> None:
        """Delete a rule; its open alerts are resolved, its history stays.

        Raises
        ------
        NotFoundError
            If there is no such rule.
        """
        key = check_key(rule_id, "rule_id")
        with self._database.write() as session:
            rule = session.query(AlertRuleRow).filter_by(uid=key).one_or_none()
            if rule is None:
                raise NotFoundError(f"no alert rule with the id {key!r}; see list_alert_rules()")
            now = to_utc()
            for alert in session.query(AlertRow).filter_by(rule_id=rule.id, resolved_at=None):
                alert.resolved_at = alert.last_at = now
            session.flush()
            session.query(AlertRow).filter_by(rule_id=rule.id).update({"rule_id": None})
            session.delete(rule)

    # -- evaluation ----------------------------------------------------------------------------------

    def evaluate_alerts(
        self, name: str | None = None, version: str | None = None, *, now: datetime | str | None = None
    ) -> list[Alert]:
        """Evaluate the rules, and write what there is to say into the outbox.

        Parameters
        ----------
        name, version : str, optional
            Only these; None is all.
        now : datetime or ISO text, optional
            For rules on missing data, cool-downs and silences.

        Returns
        -------
        list of Alert
            Those that were opened, continued or resolved by this call. The same data evaluated again change nothing.
        """
        instant = to_utc(now, "now")
        with self._database.read() as session:
            query = session.query(AlertRuleRow, MonitoredModelRow).join(
                MonitoredModelRow, MonitoredModelRow.id == AlertRuleRow.monitored_id
            )
            rules = [
                (row.id, monitored.id, _to_rule(row, monitored))
                for row, monitored in _of_version(query, name, version).filter(AlertRuleRow.enabled.is_(True))
            ]
        seen = [(ids, rule, list(self._observe(rule, instant))) for *ids, rule in rules]
        changed: list[Alert] = []
        with self._database.write() as session:
            for (rule_id, monitored_id), rule, observations in seen:
                session.query(MonitoredModelRow.id).filter_by(id=monitored_id).with_for_update().one()
                by_subject: dict[str, list[Observation]] = {}
                for item in observations:
                    by_subject.setdefault(item.subject, []).append(item)
                for subject, items in by_subject.items():
                    found = _advance(session, rule_id, monitored_id, rule, subject, items, instant)
                    if found is not None:
                        changed.append(_to_alert(found, rule.name, rule.version, instant))
        return changed

    def list_alerts(
        self,
        name: str | None = None,
        version: str | None = None,
        *,
        include_resolved: bool = False,
        limit: int = 200,
    ) -> list[Alert]:
        """Return alerts, the newest first: the open ones, or all."""
        with self._database.read() as session:
            query = session.query(AlertRow, MonitoredModelRow).join(
                MonitoredModelRow, MonitoredModelRow.id == AlertRow.monitored_id
            )
            query = _of_version(query, name, version)
            if not include_resolved:
                query = query.filter(AlertRow.resolved_at.is_(None))
            now = to_utc()
            rows = query.order_by(AlertRow.last_at.desc(), AlertRow.id.desc()).limit(limit)
            return [_to_alert(alert, monitored.name, monitored.version, now) for alert, monitored in rows]

    def acknowledge_alert(self, alert_id: str, by: str) -> Alert:
        """Say that somebody takes care: no more messages about this episode until it is resolved.

        Raises
        ------
        NotFoundError
            If there is no such alert.
        """
        person = check_text(by, "by", max_length=255).strip()
        if not person:
            raise InvalidValueError("by is empty; say who acknowledges")
        with self._database.write() as session:
            alert, monitored = _find_alert(session, alert_id)
            if alert.resolved_at is None and alert.acknowledged_at is None:
                alert.acknowledged_at, alert.acknowledged_by = to_utc(), person
            return _to_alert(alert, monitored.name, monitored.version, to_utc())

    def silence_alert(self, alert_id: str, hours: float) -> Alert:
        """Send no messages about this fingerprint for some hours; it is still evaluated. 0 ends the silence."""
        length = to_float(hours, "hours")
        if not 0.0 <= length <= 24 * 366:
            raise InvalidValueError(f"hours must lie in [0, {24 * 366}], got {length:g}")
        with self._database.write() as session:
            alert, monitored = _find_alert(session, alert_id)
            alert.silenced_until = to_utc() + timedelta(hours=length) if length else None
            return _to_alert(alert, monitored.name, monitored.version, to_utc())

    # -- sinks ---------------------------------------------------------------------------------------

    def add_alert_sink(self, name: str, url: str, *, trusted: bool = True) -> None:
        """Send alerts to a place; the same name again replaces its address.

        Parameters
        ----------
        name : str
        url : str
            ``https://...`` (a POST of JSON), ``mailto://user:password@example.org?to=...``, ``slack://...``, or any
            other Apprise address. Nothing in it is expanded. It is stored as it is: the database then holds its token.
        trusted : bool
            True when an operator writes it in code. The dashboard passes False: then only public addresses are allowed.

        Raises
        ------
        ValueError
            If the address cannot be read or may not be called.
        """
        label = check_name(name, "sink name")
        address = check_sink_url(url, trusted=bool(trusted))
        with self._database.write() as session:
            row = session.query(AlertSinkRow).filter_by(name=label).with_for_update().one_or_none()
            if row is None:
                row = AlertSinkRow(uid=new_id(), name=label, created_at=to_utc())
                session.add(row)
            elif row.trusted and not trusted:
                raise DuplicateError(f"the sink {label!r} was set by an operator; choose another name")
            row.url, row.trusted, row.enabled = address, bool(trusted), True

    def list_alert_sinks(self) -> list[AlertSink]:
        """Return the sinks by name, with what waits for them."""
        with self._database.read() as session:
            return [_to_sink(session, row) for row in session.query(AlertSinkRow).order_by(AlertSinkRow.name)]

    def delete_alert_sink(self, name: str) -> None:
        """Delete a sink and the messages that wait for it."""
        label = check_name(name, "sink name")
        with self._database.write() as session:
            session.delete(_find_sink(session, label))

    def send_test_alert(self, name: str) -> Delivery:
        """Send a test message to a sink, on the path of a real one: through the outbox, with its checks and retries."""
        label = check_name(name, "sink name")
        now = to_utc()
        with self._database.write() as session:
            row = _find_sink(session, label)
            delivery = _message(row.id, None, "Test of ModelDesk alerts", "If you can read this, alerts arrive.", now)
            session.add(delivery)
            session.flush()
            number = delivery.id
        self._deliver(number, now)
        with self._database.read() as session:
            return _to_delivery(session.get_one(AlertDeliveryRow, number), label)

    def deliver_alerts(self, *, now: datetime | str | None = None, limit: int = 100) -> list[Delivery]:
        """Send what waits in the outbox and is due; what fails is tried again later, ever more seldom.

        Parameters
        ----------
        now : datetime or ISO text, optional
        limit : int
            Messages in this call.

        Returns
        -------
        list of Delivery
            What was tried. Several processes may call this at once: each message is sent by one of them.
        """
        instant = to_utc(now, "now")
        with self._database.read() as session:
            due = [
                row.id
                for row in session.query(AlertDeliveryRow.id)
                .filter(AlertDeliveryRow.status == "pending", AlertDeliveryRow.next_at <= instant)
                .order_by(AlertDeliveryRow.next_at, AlertDeliveryRow.id)
                .limit(limit)
            ]
        tried = [number for number in due if self._deliver(number, instant)]
        with self._database.read() as session:
            rows = (
                session.query(AlertDeliveryRow, AlertSinkRow)
                .join(AlertSinkRow, AlertSinkRow.id == AlertDeliveryRow.sink_id)
                .filter(AlertDeliveryRow.id.in_(tried))
                .order_by(AlertDeliveryRow.id)
            )
            return [_to_delivery(row, sink.name) for row, sink in rows]

    def wait_for_alerts(self, timeout: float | None = None) -> bool:
        """Wait until what was logged so far has been evaluated in the background; False if that took longer."""
        return True if self._worker is None else self._worker.wait(timeout)

    # -- private -------------------------------------------------------------------------------------

    def _noticed(self, name: str, version: str) -> None:
        if self._worker is not None:
            self._worker.notice(name, version)

    def _deliver(self, number: int, now: datetime) -> bool:
        """Claim and send one message; False when another process has it."""
        with self._database.write(durable=False) as session:
            row = session.query(AlertDeliveryRow).filter_by(id=number).with_for_update().one_or_none()
            if row is None or row.status != "pending" or row.next_at > now:
                return False
            sink = session.get_one(AlertSinkRow, row.sink_id)
            row.attempts += 1
            row.next_at = now + timedelta(seconds=LEASE_SECONDS)
            attempts, url, trusted, title, body = row.attempts, sink.url, sink.trusted, row.title, row.body
        error: str | None = None
        try:
            send(url, title, body, trusted=trusted)
        except SinkError as problem:
            error = str(problem)
        with self._database.write(durable=False) as session:
            row = session.query(AlertDeliveryRow).filter_by(id=number).with_for_update().one_or_none()
            if row is None:  # the sink was deleted meanwhile
                return True
            row.error = error
            if error is None:
                row.status, row.sent_at = "sent", to_utc()
            elif attempts >= MAX_ATTEMPTS:
                row.status = "failed"
            else:
                wait = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0 ** (attempts - 1))
                row.next_at = now + timedelta(seconds=wait)
        return True

    def _observe(self, rule: AlertRule, now: datetime) -> Iterator[Observation]:
        """Look at the data of a rule; nothing when there is nothing to judge."""
        try:
            if rule.kind in ("metric_threshold", "control_chart"):
                yield from self._observe_metrics(rule)
            elif rule.kind in ("feature_drift", "missing_data"):
                yield from self._observe_features(rule)
            else:
                yield from self._observe_silence(rule, now)
        except (NotFoundError, RuntimeError) as error:
            # Nothing logged yet, or no reference set (StateError): not an alert by itself.
            logger.debug("alert rule %s cannot be judged: %s", rule.id, error)

    def _observe_metrics(self, rule: AlertRule) -> Iterator[Observation]:
        for metric, segment in self._metrics_of(rule):
            drift = self._judged(rule, metric, segment)
            subject = metric if segment is None else f"{metric} ({segment})"
            if rule.kind == "metric_threshold":
                above, below = rule.options.get("above"), rule.options.get("below")
                for point in drift.points:
                    high, low = above is not None and point.value > above, below is not None and point.value < below
                    limit = f"above {above:g}" if high else f"below {below:g}" if low else "within its limits"
                    yield Observation(subject, point.at, high or low, f"{subject} is {point.value:.5g}, {limit}")
            elif drift.violation_rate is not None:
                rules: dict[datetime, list[str]] = {}
                for violation in drift.violations:
                    if violation.direction != "improvement":
                        rules.setdefault(violation.at, []).append(violation.rule)
                for point in drift.points:
                    broken = rules.get(point.at, [])
                    words = f"violates {', '.join(broken)}" if broken else "is within its control limits"
                    yield Observation(subject, point.at, bool(broken), f"{subject} = {point.value:.5g} {words}")

    def _observe_features(self, rule: AlertRule) -> Iterator[Observation]:
        drift = self._drifted(rule)
        if drift.n_current == 0 or drift.end_at is None:
            return
        for feature in drift.features.values():
            if rule.subject is not None and feature.feature != rule.subject:
                continue
            if rule.kind == "feature_drift":
                if feature.drifted is not None:
                    yield Observation(
                        feature.feature, drift.end_at, feature.drifted, f"{feature.feature}: {feature.reason}"
                    )
                continue
            share = 1.0 if feature.status == "missing" else feature.null_share_current
            if share is not None and feature.status != "new":
                limit = float(rule.options["share"])
                words = f"{feature.feature}: {share:.1%} of the rows have no usable value (limit {limit:.1%})"
                yield Observation(feature.feature, drift.end_at, share >= limit, words)

    def _observe_silence(self, rule: AlertRule, now: datetime) -> Iterator[Observation]:
        newest = self._newest_of(rule)
        hours = float(rule.options["hours"])
        since = newest if newest is not None else rule.created_at
        age = (now - since).total_seconds() / 3600.0
        subject = rule.subject or "data"
        if age > hours:
            yield Observation(subject, now, True, f"nothing was logged for {age:.1f} hours (limit {hours:g})")
        elif newest is not None:
            yield Observation(subject, newest, False, "data arrive again")

    # What ModelMonitoring provides.

    def _metrics_of(self, rule: AlertRule) -> list[tuple[str, str | None]]:
        raise NotImplementedError

    def _judged(self, rule: AlertRule, metric: str, segment: str | None) -> PerformanceDrift:
        raise NotImplementedError

    def _drifted(self, rule: AlertRule) -> DataDrift:
        raise NotImplementedError

    def _newest_of(self, rule: AlertRule) -> datetime | None:
        raise NotImplementedError


class AlertWorker:
    """A daemon thread that evaluates and delivers what log calls only name."""

    def __init__(self, verbs: AlertVerbs) -> None:
        self._verbs = verbs
        self._queue: queue.Queue[tuple[str, str]] = queue.Queue()
        self._waiting: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    def notice(self, name: str, version: str) -> None:
        """Remember that data of a version arrived; returns at once."""
        with self._lock:
            self._idle.clear()
            if (name, version) in self._waiting:
                return
            self._waiting.add((name, version))
            self._queue.put((name, version))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="modeldesk-alerts", daemon=True)
                self._thread.start()

    def wait(self, timeout: float | None) -> bool:
        """Wait until everything noticed has been handled."""
        return self._idle.wait(timeout)

    def _run(self) -> None:
        while True:
            key = self._queue.get()
            with self._lock:
                self._waiting.discard(key)
            try:
                self._verbs.evaluate_alerts(*key)
                self._verbs.deliver_alerts()
            except Exception:
                logger.exception("evaluating the alerts of %s %s failed", *key)
            with self._lock:
                if self._queue.empty():
                    self._idle.set()


# -- private -----------------------------------------------------------------------------------------


def _rule_options(
    kind: str,
    subject: str,
    *,
    above: float | None,
    below: float | None,
    charts: Sequence[str] | None,
    days: float | None,
    share: float | None,
    hours: float | None,
) -> dict[str, Any]:
    given = {"above": above, "below": below, "charts": charts, "lookback_days": days, "share": share, "hours": hours}
    allowed = {
        "metric_threshold": {"above", "below", "lookback_days"},
        "control_chart": {"charts", "lookback_days"},
        "feature_drift": {"lookback_days"},
        "missing_data": {"share", "lookback_days"},
        "no_data": {"hours"},
    }[kind]
    for key, value in given.items():
        if value is not None and key not in allowed:
            raise InvalidValueError(f"a {kind} rule has no {key}; it takes {', '.join(sorted(allowed))}")
    options: dict[str, Any] = {}
    if "lookback_days" in allowed:
        options["lookback_days"] = 7.0 if days is None else to_float(days, "lookback_days")
        if not 0.0 < options["lookback_days"] <= 366.0:
            raise InvalidValueError(f"lookback_days must lie in (0, 366], got {days}")
    if kind == "metric_threshold":
        if not subject:
            raise InvalidValueError("a metric_threshold rule needs a subject: the metric")
        if above is None and below is None:
            raise InvalidValueError("a metric_threshold rule needs above=..., below=..., or both")
        options |= {
            key: to_float(value, key) for key, value in (("above", above), ("below", below)) if value is not None
        }
        if above is not None and below is not None and options["above"] < options["below"]:
            raise InvalidValueError(f"above ({above}) is less than below ({below}): every value would be bad")
    elif kind == "control_chart":
        chosen = list(DEFAULT_CHARTS) if charts is None else charts
        if isinstance(chosen, str):
            raise InvalidTypeError(f"charts must be a list such as ['3-sigma'], got the text {chosen!r}")
        options["charts"] = [check_choice(chart, "charts", CHARTS) for chart in chosen]
    elif kind == "missing_data":
        options["share"] = 0.5 if share is None else to_float(share, "share")
        if not 0.0 < options["share"] <= 1.0:
            raise InvalidValueError(f"share must lie in (0, 1], got {share}")
    elif kind == "no_data":
        options["hours"] = 24.0 if hours is None else to_float(hours, "hours")
        if not options["hours"] > 0.0:
            raise InvalidValueError(f"hours must be positive, got {hours}")
    return options


def _of_version(query: Any, name: str | None, version: str | None) -> Any:
    if name is not None:
        query = query.filter(MonitoredModelRow.name == check_name(name, "model name"))
    if version is not None:
        query = query.filter(MonitoredModelRow.version == check_name(version, "version"))
    return query


def _fingerprint(rule: AlertRule, subject: str) -> str:
    # Lengths in front, so that no two tuples give one text.
    parts = (rule.name, rule.version, subject, rule.segment or "", rule.id)
    return hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).hexdigest()[:32]


def _advance(
    session: Session,
    rule_id: int,
    monitored_id: int,
    rule: AlertRule,
    subject: str,
    observations: Sequence[Observation],
    now: datetime,
) -> AlertRow | None:
    """Move a fingerprint's newest episode forward by what was observed since; return it if anything changed."""
    fingerprint = _fingerprint(rule, subject)
    last = (
        session.query(AlertRow)
        .filter_by(fingerprint=fingerprint)
        .order_by(AlertRow.id.desc())
        .with_for_update()
        .first()
    )
    seen = last.evidence_at if last is not None else None
    alert = last if last is not None and last.resolved_at is None else None
    opened = resolved = changed = False
    for item in sorted(observations, key=lambda o: o.at):
        if seen is not None and item.at <= seen:
            continue
        if alert is None:
            if not item.bad:
                continue
            alert = AlertRow(
                uid=new_id(),
                monitored_id=monitored_id,
                rule_id=rule_id,
                fingerprint=fingerprint,
                kind=rule.kind,
                subject=subject,
                severity=rule.severity,
                message=item.message,
                opened_at=now,
                last_at=now,
                evidence_at=item.at,
                occurrences=1,
                good_streak=0,
                notified_at=last.notified_at if last is not None else None,
                silenced_until=last.silenced_until if last is not None else None,
            )
            session.add(alert)
            opened = changed = True
            continue
        alert.evidence_at, alert.last_at = item.at, now
        changed = True
        if item.bad:
            alert.occurrences += 1
            alert.good_streak = 0
            alert.message = item.message
            continue
        alert.good_streak += 1
        if alert.good_streak >= GOOD_POINTS:
            alert.resolved_at = now
            resolved = True
            session.flush()
            last, alert = alert, None
    shown = alert if alert is not None else last
    if shown is None or not changed:
        if alert is not None:
            _notify_again(session, alert, rule, now)
        return None
    session.flush()
    if alert is not None:
        _notify_again(session, alert, rule, now)
    elif resolved and not opened:
        # An episode that opened and closed between two looks is history, not news.
        _outbox(session, shown, rule, f"Resolved: {rule.name} {rule.version}, {subject}", shown.message, now)
    session.flush()
    return shown


def _notify_again(session: Session, alert: AlertRow, rule: AlertRule, now: datetime) -> None:
    if alert.acknowledged_at is not None or (alert.silenced_until is not None and alert.silenced_until > now):
        return
    if alert.notified_at is not None and now - alert.notified_at < timedelta(seconds=rule.cooldown_seconds):
        return
    if alert.good_streak:
        return
    title = f"{alert.severity.capitalize()}: {rule.name} {rule.version}, {alert.subject}"
    body = f"{alert.message}\nSince {alert.opened_at:%Y-%m-%d %H:%M} UTC, {alert.occurrences} bad points."
    _outbox(session, alert, rule, title, body, now)
    alert.notified_at = now


def _outbox(session: Session, alert: AlertRow, rule: AlertRule, title: str, body: str, now: datetime) -> None:
    for sink in session.query(AlertSinkRow).filter(AlertSinkRow.enabled.is_(True)):
        session.add(_message(sink.id, alert.id, title, body, now))


def _message(sink_id: int, alert_id: int | None, title: str, body: str, now: datetime) -> AlertDeliveryRow:
    return AlertDeliveryRow(
        sink_id=sink_id,
        alert_id=alert_id,
        title=title,
        body=body,
        status="pending",
        attempts=0,
        created_at=now,
        next_at=now,
    )


def _find_alert(session: Session, alert_id: str) -> tuple[AlertRow, MonitoredModelRow]:
    key = check_key(alert_id, "alert_id")
    alert = session.query(AlertRow).filter_by(uid=key).with_for_update().one_or_none()
    if alert is None:
        raise NotFoundError(f"no alert with the id {key!r}; see list_alerts()")
    return alert, session.get_one(MonitoredModelRow, alert.monitored_id)


def _find_sink(session: Session, name: str) -> AlertSinkRow:
    row = session.query(AlertSinkRow).filter_by(name=name).one_or_none()
    if row is None:
        known = ", ".join(item.name for item in session.query(AlertSinkRow.name)) or "none"
        raise NotFoundError(f"no alert sink named {name!r}; known: {known}")
    return row


def _to_rule(row: AlertRuleRow, monitored: MonitoredModelRow) -> AlertRule:
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


def _to_alert(row: AlertRow, name: str, version: str, now: datetime) -> Alert:
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


def _to_sink(session: Session, row: AlertSinkRow) -> AlertSink:
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


def _to_delivery(row: AlertDeliveryRow, sink: str) -> Delivery:
    return Delivery(
        sink=sink,
        title=row.title,
        status=row.status,
        attempts=row.attempts,
        error=row.error,
        next_at=row.next_at if row.status == "pending" else None,
    )
