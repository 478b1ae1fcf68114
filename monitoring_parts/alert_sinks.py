"""Where alerts are sent: the verbs on sinks, and the outbox that is emptied until a sink takes every message."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from db import AlertDeliveryRow, AlertSinkRow, DuplicateError, NotFoundError
from monitoring_parts.alert_records import AlertSink, Delivery, to_delivery, to_sink
from monitoring_parts.base import MonitoringBase
from monitoring_parts.sinks import SinkError, check_sink_url, send
from values import check_name, new_id, to_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["SinkVerbs", "message"]

MAX_ATTEMPTS = 10  # of one delivery; with the waits below over about two days
FIRST_WAIT_SECONDS = 60.0  # doubles with every attempt
LONGEST_WAIT_SECONDS = 12 * 3600.0
LEASE_SECONDS = 300.0  # a delivery that is being sent belongs to one process for so long


class SinkVerbs(MonitoringBase):
    """The verbs of `ModelMonitoring` on sinks and deliveries."""

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
            return [to_sink(session, row) for row in session.query(AlertSinkRow).order_by(AlertSinkRow.name)]

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
            delivery = message(row.id, None, "Test of ModelDesk alerts", "If you can read this, alerts arrive.", now)
            session.add(delivery)
            session.flush()
            number = delivery.id
        self._deliver(number, now)
        with self._database.read() as session:
            return to_delivery(session.get_one(AlertDeliveryRow, number), label)

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
            return [to_delivery(row, sink.name) for row, sink in rows]

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


def message(sink_id: int, alert_id: int | None, title: str, body: str, now: datetime) -> AlertDeliveryRow:
    """Return a message for the outbox, due at once."""
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


# -- private -----------------------------------------------------------------------------------------


def _find_sink(session: Session, name: str) -> AlertSinkRow:
    row = session.query(AlertSinkRow).filter_by(name=name).one_or_none()
    if row is None:
        known = ", ".join(item.name for item in session.query(AlertSinkRow.name)) or "none"
        raise NotFoundError(f"no alert sink named {name!r}; known: {known}")
    return row
