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
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from db import AlertRow, AlertRuleRow, AlertSinkRow, MonitoredModelRow, NotFoundError
from monitoring_parts.alert_records import Alert, AlertRule, Observation, to_alert, to_rule
from monitoring_parts.alert_rules import RuleVerbs, of_version
from monitoring_parts.alert_sinks import SinkVerbs, message
from values import InvalidValueError, check_key, check_text, new_id, to_float, to_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["AlertVerbs", "AlertWorker"]

logger = logging.getLogger("modeldesk")

GOOD_POINTS = 3  # in a row resolve an alert


class AlertVerbs(RuleVerbs, SinkVerbs):
    """The verbs of `ModelMonitoring` on alerts."""

    _worker: AlertWorker | None = None

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
                (row.id, monitored.id, to_rule(row, monitored))
                for row, monitored in of_version(query, name, version).filter(AlertRuleRow.enabled.is_(True))
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
                        changed.append(to_alert(found, rule.name, rule.version, instant))
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
            query = of_version(query, name, version)
            if not include_resolved:
                query = query.filter(AlertRow.resolved_at.is_(None))
            now = to_utc()
            rows = query.order_by(AlertRow.last_at.desc(), AlertRow.id.desc()).limit(limit)
            return [to_alert(alert, monitored.name, monitored.version, now) for alert, monitored in rows]

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
            return to_alert(alert, monitored.name, monitored.version, to_utc())

    def silence_alert(self, alert_id: str, hours: float) -> Alert:
        """Send no messages about this fingerprint for some hours; it is still evaluated. 0 ends the silence."""
        length = to_float(hours, "hours")
        if not 0.0 <= length <= 24 * 366:
            raise InvalidValueError(f"hours must lie in [0, {24 * 366}], got {length:g}")
        with self._database.write() as session:
            alert, monitored = _find_alert(session, alert_id)
            alert.silenced_until = to_utc() + timedelta(hours=length) if length else None
            return to_alert(alert, monitored.name, monitored.version, to_utc())

    def wait_for_alerts(self, timeout: float | None = None) -> bool:
        """Wait until what was logged so far has been evaluated in the background; False if that took longer."""
        return True if self._worker is None else self._worker.wait(timeout)

    def _noticed(self, name: str, version: str) -> None:
        if self._worker is not None:
            self._worker.notice(name, version)


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
        session.add(message(sink.id, alert.id, title, body, now))


def _find_alert(session: Session, alert_id: str) -> tuple[AlertRow, MonitoredModelRow]:
    key = check_key(alert_id, "alert_id")
    alert = session.query(AlertRow).filter_by(uid=key).with_for_update().one_or_none()
    if alert is None:
        raise NotFoundError(f"no alert with the id {key!r}; see list_alerts()")
    return alert, session.get_one(MonitoredModelRow, alert.monitored_id)
