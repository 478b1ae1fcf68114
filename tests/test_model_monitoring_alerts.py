"""Alerts: one episode a fingerprint, told once, resolved after three good points; a sink that is down loses nothing.

Messages go to real servers: an HTTP server of the standard library and an SMTP server (aiosmtpd), both on loopback.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default as email_policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from db import AlertDeliveryRow, Database, DuplicateError, NotFoundError
from model_monitoring import ModelMonitoring
from monitoring_parts.sinks import check_sink_url, hide_secrets

START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = ("churn", "1.0.0")


class Receiver(ThreadingHTTPServer):
    """Keeps what was posted; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.status = 200
        self.location: str | None = None
        self.delay_seconds = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        time.sleep(self.server.delay_seconds)
        self.server.received.append((self.path, json.loads(body)))
        self.send_response(self.server.status)
        if self.server.location is not None:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the name that http.server calls

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def log_baseline(monitoring: ModelMonitoring, n: int = 30) -> None:
    values = 0.8 + 0.01 * np.random.default_rng(0).normal(size=n)
    rows = [{"metric": "auc", "value": float(v), "at": START + timedelta(days=i - n)} for i, v in enumerate(values)]
    monitoring.log_performances(rows, name=MODEL[0], version=MODEL[1])
    monitoring.set_baseline(*MODEL, "auc")


def log_day(monitoring: ModelMonitoring, day: int, value: float) -> None:
    monitoring.log_performance(*MODEL, "auc", value, at=START + timedelta(days=day))


# -- episodes --------------------------------------------------------------------------------------------------


def test_an_episode_opens_counts_and_is_resolved_after_three_good_points(
    monitoring: ModelMonitoring, receiver: Receiver
) -> None:
    log_baseline(monitoring)
    monitoring.add_alert_sink("ops", receiver.url)
    monitoring.add_alert_rule(*MODEL, "metric_threshold", "auc", below=0.7, severity="critical")
    now = START
    statuses = []
    for day, value in enumerate([0.8, 0.5, 0.5, 0.8, 0.8, 0.5, 0.8, 0.8, 0.8, 0.8]):
        log_day(monitoring, day, value)
        changed = monitoring.evaluate_alerts(now=now + timedelta(minutes=day))
        assert monitoring.evaluate_alerts(now=now + timedelta(minutes=day)) == []  # the same data change nothing
        statuses.append([(alert.status, alert.occurrences) for alert in changed])
    assert statuses == [
        [],
        [("open", 1)],
        [("open", 2)],
        [("open", 2)],
        [("open", 2)],
        [("open", 3)],
        [("open", 3)],
        [("open", 3)],
        [("resolved", 3)],
        [],
    ]
    monitoring.deliver_alerts(now=now + timedelta(hours=1))
    titles = [body["title"] for _, body in receiver.received]
    assert [title.split(":")[0] for title in titles] == ["Critical", "Resolved"]  # within the cool-down: told once
    assert monitoring.list_alerts() == []
    assert [alert.status for alert in monitoring.list_alerts(include_resolved=True)] == ["resolved"]


def test_after_the_cool_down_a_lasting_alert_is_told_again(quick: ModelMonitoring, receiver: Receiver) -> None:
    quick.add_alert_sink("ops", receiver.url)
    quick.add_alert_rule(*MODEL, "metric_threshold", "auc", below=0.7, cooldown_hours=2)
    for hour in range(5):
        quick.log_performance(*MODEL, "auc", 0.1, at=START + timedelta(hours=hour))
        quick.evaluate_alerts(now=START + timedelta(hours=hour))
    quick.deliver_alerts(now=START + timedelta(hours=6))
    assert len(receiver.received) == 3  # at 0, 2 and 4 hours


def test_acknowledged_and_silenced_alerts_send_nothing_more(quick: ModelMonitoring, receiver: Receiver) -> None:
    quick.add_alert_sink("ops", receiver.url)
    quick.add_alert_rule(*MODEL, "metric_threshold", "auc", below=0.7, cooldown_hours=0)
    quick.log_performance(*MODEL, "auc", 0.1, at=START)
    (alert,) = quick.evaluate_alerts()
    assert quick.silence_alert(alert.id, 5).status == "silenced"
    quick.log_performance(*MODEL, "auc", 0.1, at=START + timedelta(hours=1))
    quick.evaluate_alerts()
    assert quick.silence_alert(alert.id, 0).status == "open"
    acknowledged = quick.acknowledge_alert(alert.id, "Ada")
    assert (acknowledged.status, acknowledged.acknowledged_by) == ("acknowledged", "Ada")
    quick.log_performance(*MODEL, "auc", 0.1, at=START + timedelta(hours=2))
    quick.evaluate_alerts()
    quick.deliver_alerts()
    assert len(receiver.received) == 1
    assert quick.list_alerts()[0].occurrences == 3


def test_control_chart_rules_have_one_alert_a_metric(quick: ModelMonitoring) -> None:
    log_baseline(quick)
    quick.add_alert_rule(*MODEL, "control_chart")
    log_day(quick, 1, 0.8)
    assert quick.evaluate_alerts() == []
    log_day(quick, 2, 0.3)
    (alert,) = quick.evaluate_alerts()
    assert (alert.subject, alert.kind) == ("auc", "control_chart")
    assert "3-sigma" in alert.message
    log_day(quick, 3, 0.99)  # better than ever: the chart's memory may still be bad, the point itself is no degradation
    assert all(a.fingerprint == alert.fingerprint for a in quick.evaluate_alerts())


def test_drift_missing_values_and_silence_raise_alerts(monitoring: ModelMonitoring) -> None:
    rng = np.random.default_rng(1)
    monitoring.set_reference(*MODEL, {"x": rng.normal(size=300), "y": rng.normal(size=300)})
    monitoring.add_alert_rule(*MODEL, "feature_drift")
    monitoring.add_alert_rule(*MODEL, "missing_data", "y", share=0.3)
    monitoring.add_alert_rule(*MODEL, "no_data", hours=24)
    nulls = np.where(rng.uniform(size=300) < 0.6, np.nan, rng.normal(size=300))
    monitoring.log_features(*MODEL, {"x": rng.normal(3, 1, 300), "y": nulls}, at=START)
    found = {(a.kind, a.subject) for a in monitoring.evaluate_alerts(now=START + timedelta(hours=2))}
    assert found == {("feature_drift", "x"), ("feature_drift", "y"), ("missing_data", "y")}
    (quiet,) = monitoring.evaluate_alerts(now=START + timedelta(hours=30))
    assert (quiet.kind, "30.0 hours" in quiet.message) == ("no_data", True)


def test_rules_can_be_listed_and_deleted_and_bad_ones_are_refused(monitoring: ModelMonitoring) -> None:
    rule = monitoring.add_alert_rule(*MODEL, "metric_threshold", "auc", below=0.5)
    assert [(r.id, r.options) for r in monitoring.list_alert_rules()] == [(rule, {"lookback_days": 7.0, "below": 0.5})]
    log_day(monitoring, 0, 0.1)
    monitoring.evaluate_alerts()
    monitoring.delete_alert_rule(rule)
    assert monitoring.list_alerts() == []
    assert len(monitoring.list_alerts(include_resolved=True)) == 1
    with pytest.raises(NotFoundError):
        monitoring.delete_alert_rule(rule)
    bad: list[dict[str, Any]] = [
        {"kind": "nonsense"},
        {"kind": "metric_threshold", "below": 0.5},
        {"kind": "metric_threshold", "subject": "auc"},
        {"kind": "metric_threshold", "subject": "auc", "below": float("nan")},
        {"kind": "metric_threshold", "subject": "auc", "below": "0,05"},
        {"kind": "metric_threshold", "subject": "auc", "above": 0.1, "below": 0.9},
        {"kind": "no_data", "hours": -1},
        {"kind": "no_data", "above": 1},
        {"kind": "missing_data", "share": 1.5},
        {"kind": "control_chart", "charts": ["nope"]},
        {"kind": "control_chart", "severity": "loud"},
        {"kind": "control_chart", "cooldown_hours": -1},
    ]
    for arguments in bad:
        with pytest.raises((ValueError, TypeError)):
            monitoring.add_alert_rule(*MODEL, **arguments)
    assert monitoring.list_alert_rules() == []


# -- sinks -----------------------------------------------------------------------------------------------------


def test_a_webhook_gets_the_words_as_they_are_and_its_query(quick: ModelMonitoring, receiver: Receiver) -> None:
    name = "$AWS_SECRET_ACCESS_KEY ${HOME} <!channel> &amp;"
    quick.add_alert_sink("ops", receiver.url + "?token=a%26b&redirect=yes")
    quick.add_alert_rule(*MODEL, "metric_threshold", name, below=0.7)
    quick.log_performance(*MODEL, name, 0.1)
    quick.evaluate_alerts()
    (delivery,) = quick.deliver_alerts()
    assert delivery.status == "sent"
    ((path, body),) = receiver.received
    assert "token=a%26b" in path
    assert name in body["title"]
    assert f"{name} is 0.1, below 0.7" in body["message"]


@pytest.mark.slow
def test_a_dead_sink_is_recorded_and_retried_until_it_lives(monitoring: ModelMonitoring, receiver: Receiver) -> None:
    receiver.status = 500
    monitoring.add_alert_sink("ops", receiver.url)
    monitoring.add_alert_rule(*MODEL, "metric_threshold", "auc", below=0.7)
    log_day(monitoring, 0, 0.1)
    now = datetime.now(UTC)
    monitoring.evaluate_alerts(now=now)
    (first,) = monitoring.deliver_alerts(now=now)
    assert (first.status, first.attempts) == ("pending", 1)
    assert first.error
    assert monitoring.deliver_alerts(now=now) == []  # not due yet
    (second,) = monitoring.deliver_alerts(now=now + timedelta(minutes=2))
    assert second.attempts == 2
    assert second.next_at - (now + timedelta(minutes=2)) > first.next_at - now  # ever more seldom
    (sink,) = monitoring.list_alert_sinks()
    assert (sink.pending, bool(sink.last_error)) == (1, True)
    receiver.status = 200
    (third,) = monitoring.deliver_alerts(now=now + timedelta(hours=1))
    assert (third.status, third.error) == ("sent", None)
    assert len(receiver.received) == 3


def test_a_sink_that_never_answers_is_given_up_in_the_end(quick: ModelMonitoring) -> None:
    quick.add_alert_sink("ops", "http://127.0.0.1:9/closed")
    now = datetime.now(UTC)
    assert quick.send_test_alert("ops").status == "pending"
    for _ in range(9):
        now += timedelta(days=1)
        (tried,) = quick.deliver_alerts(now=now)
    assert (tried.status, tried.attempts) == ("failed", 10)
    assert quick.deliver_alerts(now=now + timedelta(days=9)) == []


@pytest.mark.slow
def test_log_calls_do_not_wait_for_a_slow_sink_and_lose_nothing(sqlite_database: Database, receiver: Receiver) -> None:
    receiver.delay_seconds = 1.0
    monitoring = ModelMonitoring(sqlite_database, evaluate_on_log=True)
    monitoring.add_alert_sink("ops", receiver.url)
    monitoring.add_alert_rule(*MODEL, "metric_threshold", "auc", below=0.7)
    for day in range(20):
        log_day(monitoring, day, 0.1)
    assert receiver.received == []  # twenty calls returned before the first message was taken
    assert monitoring.wait_for_alerts(60)
    assert len(receiver.received) == 1
    (alert,) = monitoring.list_alerts()
    assert alert.evidence_at == START + timedelta(days=19)


def test_a_broken_sink_never_makes_a_log_call_fail(sqlite_database: Database) -> None:
    monitoring = ModelMonitoring(sqlite_database, evaluate_on_log=True)
    monitoring.add_alert_sink("gone", "http://127.0.0.1:9/closed")
    monitoring.add_alert_sink("odd", "unknownscheme://x")
    monitoring.add_alert_rule(*MODEL, "metric_threshold", "auc", below=0.7)
    log_day(monitoring, 0, 0.1)
    assert monitoring.wait_for_alerts(60)
    assert {sink.name: (sink.pending, bool(sink.last_error)) for sink in monitoring.list_alert_sinks()} == {
        "gone": (1, True),
        "odd": (1, True),
    }


def test_a_test_message_takes_the_path_of_a_real_one(monitoring: ModelMonitoring, receiver: Receiver) -> None:
    monitoring.add_alert_sink("ops", receiver.url)
    assert monitoring.send_test_alert("ops").status == "sent"
    assert receiver.received[0][1]["title"] == "Test of ModelDesk alerts"
    receiver.status = 404
    failed = monitoring.send_test_alert("ops")
    assert (failed.status, failed.attempts) == ("pending", 1)
    with monitoring._database.read() as session:
        assert session.query(AlertDeliveryRow).count() == 2
    with pytest.raises(NotFoundError, match="known: ops"):
        monitoring.send_test_alert("opps")


def test_redirects_are_not_followed(quick: ModelMonitoring, receiver: Receiver) -> None:
    other = Receiver()
    thread = threading.Thread(target=other.serve_forever, daemon=True)
    thread.start()
    try:
        receiver.status, receiver.location = 302, other.url
        quick.add_alert_sink("ops", receiver.url + "?redirect=yes")
        assert quick.send_test_alert("ops").status == "pending"
        assert len(receiver.received) == 1
        assert other.received == []
    finally:
        other.shutdown()
        other.server_close()


def test_an_e_mail_has_one_subject_and_one_receiver(quick: ModelMonitoring) -> None:
    from aiosmtpd.controller import Controller

    class Box:
        def __init__(self) -> None:
            self.mails: list[Any] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
            self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=email_policy)))
            return "250 OK"

    box = Box()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        quick.add_alert_sink(
            "mail", f"mailto://127.0.0.1:{port}?from=modeldesk@example.org&to=ops@example.org&mode=insecure"
        )
        quick.add_alert_rule(*MODEL, "metric_threshold", "drift! Bcc: victim@example.org", below=0.7)
        quick.log_performance(*MODEL, "drift! Bcc: victim@example.org", 0.1)
        quick.evaluate_alerts()
        (delivery,) = quick.deliver_alerts()
        assert delivery.status == "sent", delivery.error
    finally:
        controller.stop()
    ((receivers, mail),) = box.mails
    assert receivers == ["ops@example.org"]
    assert len(mail.get_all("Subject")) == 1
    assert len(mail.get_all("To")) == 1
    assert mail.get_all("Bcc") is None
    assert "drift!" in mail["Subject"]


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:22/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://localhost/",
        "http://localhost.evil.localhost/",
        "http://10.0.0.1/",
        "http://192.168.1.1./",
        "http://0.0.0.0/",
        "http://[64:ff9b::7f00:1]/",
        "gopher://127.0.0.1:6379/_SET",
        "file:///etc/passwd",
        "json://93.184.216.34/",
        "http://user:pw@127.0.0.1/",
        "http://user@93.184.216.34/",
        "mailto://user:pw@example.org?smtp=127.0.0.1",
        "http://",
        "https://93.184.216.34:99999/",
        "hook",
        "",
        "http://93.184.216.34/\r\nX: y",
    ],
)
def test_addresses_from_the_dashboard_may_not_lead_inside(quick: ModelMonitoring, url: str) -> None:
    with pytest.raises(ValueError, match="sink"):
        quick.add_alert_sink("new", url, trusted=False)
    assert quick.list_alert_sinks() == []


def test_a_name_that_resolves_inside_is_refused_when_set_and_again_when_sent(
    quick: ModelMonitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"rebind.example": "93.184.216.34"}

    def resolve(host: str, *_: object, **__: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    quick.add_alert_sink("ops", "https://rebind.example/hook", trusted=False)
    answers["rebind.example"] = "127.0.0.1"
    refused = quick.send_test_alert("ops")
    assert refused.status == "pending"
    assert "is not public" in refused.error
    with pytest.raises(ValueError, match="is not public"):
        quick.add_alert_sink("two", "https://rebind.example/hook", trusted=False)


def test_a_webhook_is_sent_to_the_very_address_that_was_checked(
    quick: ModelMonitoring, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["93.184.216.34", "93.184.216.35", "127.0.0.1", "127.0.0.1"]  # when it is set, when it is sent, later
    called: list[str] = []

    def resolve(host: str, *_: object, **__: object) -> list[Any]:
        assert host == "rebind.example"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), 0))]

    def connect(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        called.append(address[0])
        opened = socket.socket()
        opened.connect(receiver.server_address)
        return opened

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    quick.add_alert_sink("ops", "http://rebind.example/hook?key=1", trusted=False)
    assert quick.send_test_alert("ops").status == "sent"
    assert called == ["93.184.216.35"]
    assert len(answers) == 2  # looked up once to be set and once to be sent
    path, body = receiver.received[0]
    assert path == "/hook?key=1"
    assert body["title"] == "Test of ModelDesk alerts"
    assert body["message"] == "If you can read this, alerts arrive."


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_from_the_dashboard_follows_no_redirect_and_tells_the_status(
    quick: ModelMonitoring, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    def connect(*_: object) -> socket.socket:
        opened = socket.socket()
        opened.connect(receiver.server_address)
        return opened

    monkeypatch.setattr(socket, "create_connection", connect)
    receiver.status, receiver.location = status, "http://169.254.169.254/latest"
    quick.add_alert_sink("ops", "http://93.184.216.34/hook", trusted=False)
    sent = quick.send_test_alert("ops")
    assert sent.status == "pending"
    assert f"did not accept the message: {status}" in sent.error
    assert len(receiver.received) == 1


def test_an_operators_sink_cannot_be_replaced_from_the_dashboard(quick: ModelMonitoring) -> None:
    quick.add_alert_sink("ops", "http://127.0.0.1:9/hook")
    with pytest.raises(DuplicateError, match="operator"):
        quick.add_alert_sink("ops", "https://93.184.216.34/hook", trusted=False)
    quick.delete_alert_sink("ops")
    assert quick.list_alert_sinks() == []


def test_tokens_are_not_shown(quick: ModelMonitoring) -> None:
    quick.add_alert_sink("a", "https://93.184.216.34/services/T0KEN?key=s3cret")
    quick.add_alert_sink("b", "mailto://user:pa55@example.org?to=x@example.org")
    quick.add_alert_sink("c", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/")
    shown = " ".join(str(sink.to_dict()) for sink in quick.list_alert_sinks())
    assert not any(secret in shown for secret in ("T0KEN", "s3cret", "pa55", "T1JJ3T3L2", "TIiajkdn"))
    assert hide_secrets("https://a.example/b") == "https://a.example/***"
    assert check_sink_url("http://127.0.0.1/x", trusted=True) == "http://127.0.0.1/x"
