"""The alerts of a monitored version in the dashboard: episodes, the rules that raise them, and where they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from dashboard import components as ui
from dashboard import formats
from dashboard.monitoring_rules import CHART_RULE_TEXT, CHART_RULES
from db import NotFoundError, StateError

if TYPE_CHECKING:
    import pandas as pd

    from model_monitoring import Alert, AlertRule, AlertSink, ModelMonitoring

__all__ = ["acknowledge_alerts", "alerts_frame", "dialogs", "render_alerts", "rule_words", "rules_frame"]

TAB = "monitoring"
KINDS = {
    "control_chart": "A control chart is violated for the worse",
    "metric_threshold": "A metric is beyond a value",
    "feature_drift": "A feature drifted",
    "missing_data": "A feature has too many missing values",
    "no_data": "Nothing was logged for some hours",
}
SEVERITIES = ("info", "warning", "critical")
SEVERITY_TEXT = {"info": "○ info", "warning": "△ warning", "critical": "✗ critical"}
STATUS_TEXT = {
    "open": "● open",
    "acknowledged": "✓ acknowledged",
    "silenced": "◌ silenced",
    "resolved": "□ resolved",
}
SILENCES = {"1 hour": 1.0, "1 day": 24.0, "1 week": 168.0, "End the silence": 0.0}
ALL = "All of them"
WHOLE = "All traffic"


# -- what is shown -----------------------------------------------------------------------------------


def alerts_frame(alerts: Sequence[Alert]) -> pd.DataFrame:
    """Return a row an alert, as they come."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Status": [STATUS_TEXT.get(alert.status, alert.status) for alert in alerts],
            "Severity": [SEVERITY_TEXT.get(alert.severity, alert.severity) for alert in alerts],
            "About": [alert.subject for alert in alerts],
            "What": [alert.message for alert in alerts],
            "Bad points": [alert.occurrences for alert in alerts],
            "Raised (UTC)": pd.to_datetime([alert.opened_at for alert in alerts], utc=True),
            "Newest data (UTC)": pd.to_datetime(pd.Series([alert.evidence_at for alert in alerts]), utc=True),
            "Acknowledged by": [alert.acknowledged_by or "" for alert in alerts],
            "Silent until (UTC)": pd.to_datetime(pd.Series([alert.silenced_until for alert in alerts]), utc=True),
        }
    )


def rule_words(rule: AlertRule) -> str:
    """Return a rule as a sentence without its end."""
    options = rule.options
    about = rule.subject or ("a feature" if rule.kind in {"feature_drift", "missing_data"} else "a metric")
    within = _time_words("within", options.get("lookback_days"), "day")
    if rule.kind == "metric_threshold":
        limits = [f"{word} {formats.value_text(options[word])}" for word in ("above", "below") if word in options]
        return f"{about} {' or '.join(limits)}"
    if rule.kind == "control_chart":
        return f"{about} out of control{within}"
    if rule.kind == "feature_drift":
        return f"{about} drifted{within}"
    if rule.kind == "missing_data":
        return f"{about} has {formats.percent(options['share'])} missing{within}"
    if rule.kind == "no_data":
        return f"nothing logged{_time_words('for', options['hours'], 'hour')}"
    return rule.kind.replace("_", " ")


def _time_words(word: str, length: float | None, unit: str) -> str:
    """Return a length of time to stand behind a rule: ` within 7 days`; nothing where there is none."""
    return "" if length is None else f" {word} {formats.number(length)} {unit}{'' if length == 1 else 's'}"


def rules_frame(rules: Sequence[AlertRule]) -> pd.DataFrame:
    """Return a row a rule."""
    import pandas as pd

    return pd.DataFrame(
        {
            "Raises an alert when": [rule_words(rule) for rule in rules],
            "Segment": [rule.segment or "" for rule in rules],
            "Severity": [SEVERITY_TEXT.get(rule.severity, rule.severity) for rule in rules],
            "Repeats after": [formats.duration(rule.cooldown_seconds) for rule in rules],
            "Active": ["yes" if rule.enabled else "no" for rule in rules],
        }
    )


def _sinks_frame(sinks: Sequence[AlertSink]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "Name": [sink.name for sink in sinks],
            "Address": [sink.address for sink in sinks],
            "Last sent": [formats.ago(sink.last_sent_at) for sink in sinks],
            "Waiting": [sink.pending for sink in sinks],
            "Given up": [sink.failed for sink in sinks],
            "Last error": [sink.last_error or "" for sink in sinks],
        }
    )


# -- drawing -----------------------------------------------------------------------------------------


def render_alerts(app: ui.App, name: str, version: str) -> None:
    """Draw the alerts of a version, the rules that raise them, and where they are sent."""
    rules = app.monitoring.list_alert_rules(name, version)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        count = st.container(width="stretch")
        resolved = st.toggle("Show resolved ones", **ui.in_url(f"{TAB}.resolved", default=False))
        st.button(
            "Evaluate now", key=f"{TAB}.evaluate", icon=":material/refresh:", disabled=not app.can_edit or not rules,
            on_click=_evaluate, args=(app, name, version), help="Judge the newest data by all rules of this version",
        )  # fmt: skip
    alerts = app.monitoring.list_alerts(name, version, include_resolved=resolved)
    n_open = sum(alert.status != "resolved" for alert in alerts)
    count.caption(f"**{formats.plural(n_open, 'open alert')}**")
    if alerts:
        chosen = ui.table(
            alerts_frame(alerts), [alert.id for alert in alerts], key=f"{TAB}.alerts", name=f"{TAB}.alert",
            alt="Alerts", multiple=True, rows_shown=8,
            columns={
                "What": st.column_config.TextColumn(width="large"),
                "Raised (UTC)": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC"),
                **{
                    name: st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm", timezone="UTC")
                    for name in ("Newest data (UTC)", "Silent until (UTC)")
                },
            },
        )  # fmt: skip
        _draw_alert_actions(app, [alert for alert in alerts if alert.id in set(chosen)] or list(alerts), bool(chosen))
    else:
        ui.note("No alert is open." if rules else "No alert can be raised: there is no rule yet.")
    with ui.part("Rules"):
        _draw_rules(app, name, version, rules)
    with ui.part("Addresses"):
        _draw_sinks(app)


def _evaluate(app: ui.App, name: str, version: str) -> None:
    with ui.errors("evaluate alerts"):
        changed = app.monitoring.evaluate_alerts(name, version)
        ui.flash(f"{formats.plural(len(changed), 'alert')} changed" if changed else "Nothing new to alert about")


def _draw_alert_actions(app: ui.App, alerts: list[Alert], is_selection: bool) -> None:
    """Draw acknowledge and silence for the selected alerts, or for all that are shown."""
    waiting = [alert for alert in alerts if alert.status in {"open", "silenced"} and alert.acknowledged_at is None]
    unresolved = [alert for alert in alerts if alert.status != "resolved"]
    which = "selected" if is_selection else "all"

    def acknowledge() -> None:
        for words in acknowledge_alerts(app.monitoring, waiting, app.actor):
            ui.flash(words)

    def silence(hours: float) -> None:
        with ui.errors("silence alerts"):
            for alert in unresolved:
                app.monitoring.silence_alert(alert.id, hours)
            ui.flash("The silence is over" if hours == 0 else f"Silenced {formats.plural(len(unresolved), 'alert')}")

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            f"Acknowledge {which}", key=f"{TAB}.acknowledge", icon=":material/done_all:", on_click=acknowledge,
            disabled=not app.can_edit or not waiting, help="Someone takes care: no more messages about these episodes",
        )  # fmt: skip
        with st.popover(f"Silence {which}", icon=":material/notifications_off:", key=f"{TAB}.silence",
                        disabled=not app.can_edit or not unresolved):  # fmt: skip
            for label, hours in SILENCES.items():
                st.button(label, key=f"{TAB}.silence.{hours:g}", on_click=silence, args=(hours,), width="stretch")


def acknowledge_alerts(monitoring: ModelMonitoring, alerts: Sequence[Alert], actor: str) -> list[str]:
    """Acknowledge alerts as they were shown; return what was done, and what someone else was quicker with."""
    began, done, others, gone = datetime.now(UTC), 0, [], 0
    for alert in alerts:
        try:
            found = monitoring.acknowledge_alert(alert.id, actor)
        except NotFoundError:  # deleted with its version
            gone += 1
            continue
        if found.acknowledged_at is None:  # resolved before anybody acknowledged it
            gone += 1
        elif found.acknowledged_at < began:
            others.append(found.acknowledged_by or "someone")
        else:
            done += 1
    words = [f"Acknowledged {formats.plural(done, 'alert')}"] if done or not (others or gone) else []
    if others:
        who = formats.markdown(", ".join(dict.fromkeys(others)))
        words.append(f"{formats.plural(len(others), 'alert')} had been acknowledged meanwhile by {who}")
    if gone:
        words.append(f"{formats.plural(gone, 'alert')} had been resolved or deleted meanwhile")
    return words


def _draw_rules(app: ui.App, name: str, version: str, rules: Sequence[AlertRule]) -> None:
    count = formats.plural(len(rules), "rule") if rules else "No rule"
    st.markdown(f"**{count}**")
    if rules:
        ui.table(
            rules_frame(rules), [rule.id for rule in rules], key=f"{TAB}.rules", name=f"{TAB}.rule_id",
            alt="Alert rules", rows_shown=6,
        )  # fmt: skip
    # Below the table: its own toolbar, above it, would lie over buttons for whoever comes from a row.
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Add a rule", key=f"{TAB}.rule.open", icon=":material/add:", disabled=not app.can_edit,
            on_click=ui.open_dialog, args=(f"{TAB}.rule",), kwargs={"model": name, "version": version},
        )  # fmt: skip
        if rules:
            chosen = [rule for rule in rules if rule.id in set(ui.selected(f"{TAB}.rule_id"))]
            st.button(
                "Delete rule", key=f"{TAB}.rule.delete", icon=":material/delete:",
                disabled=not app.can_edit or not chosen, on_click=_delete_rules,
                args=(app, [rule.id for rule in chosen]), help="Its open alerts are resolved",
            )  # fmt: skip


def _delete_rules(app: ui.App, ids: Sequence[str]) -> None:
    with ui.errors("delete rule"):
        for rule_id in ids:
            app.monitoring.delete_alert_rule(rule_id)
        ui.select(f"{TAB}.rule_id", [])
        ui.flash(f"Deleted {formats.plural(len(ids), 'rule')}")


def _draw_sinks(app: ui.App) -> None:
    sinks = app.monitoring.list_alert_sinks()
    count = formats.plural(len(sinks), "address", "addresses") if sinks else "No address"
    st.markdown(f"**{count}** for alerts of all models")
    if sinks:
        ui.table(
            _sinks_frame(sinks), [sink.name for sink in sinks], key=f"{TAB}.sinks", name=f"{TAB}.sink_name",
            alt="Addresses for alerts", rows_shown=6,
        )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            "Add an address", key=f"{TAB}.sink.open", icon=":material/add:", disabled=not app.can_edit,
            on_click=ui.open_dialog, args=(f"{TAB}.sink",),
        )  # fmt: skip
        if sinks:
            _draw_sink_actions(app, sinks)


def _draw_sink_actions(app: ui.App, sinks: Sequence[AlertSink]) -> None:
    chosen = [sink.name for sink in sinks if sink.name in set(ui.selected(f"{TAB}.sink_name"))]
    st.button(
        "Send a test", key=f"{TAB}.sink.test", icon=":material/send:", disabled=not app.can_edit or not chosen,
        on_click=_send_test, args=(app, chosen), help="On the same path as a real alert",
    )  # fmt: skip
    st.button(
        "Send what waits", key=f"{TAB}.sink.deliver", icon=":material/outbox:", on_click=_deliver, args=(app,),
        disabled=not app.can_edit or not any(sink.pending for sink in sinks),
        help="Tries the messages that are due; the others follow when their time comes",
    )  # fmt: skip
    st.button(
        "Delete address", key=f"{TAB}.sink.delete", icon=":material/delete:", disabled=not app.can_edit or not chosen,
        on_click=_delete_sinks, args=(app, chosen),
    )  # fmt: skip


def _send_test(app: ui.App, names: Sequence[str]) -> None:
    with ui.errors("send a test"):
        for name in names:
            delivery = app.monitoring.send_test_alert(name)
            words = formats.markdown(name)
            if delivery.status == "sent":
                ui.flash(f"The test reached {words}")
            else:
                why = formats.markdown(formats.shorten(delivery.error or "it is tried again", 160))
                ui.flash(f"The test did not reach {words}: {why}")


def _deliver(app: ui.App) -> None:
    with ui.errors("send what waits"):
        tried = app.monitoring.deliver_alerts()
        sent = sum(delivery.status == "sent" for delivery in tried)
        if not tried:
            ui.flash("No message is due yet")
        else:
            ui.flash(f"Sent {sent:,} of {formats.plural(len(tried), 'message')}")


def _delete_sinks(app: ui.App, names: Sequence[str]) -> None:
    with ui.errors("delete address"):
        for name in names:
            app.monitoring.delete_alert_sink(name)
        ui.select(f"{TAB}.sink_name", [])
        ui.flash(f"Deleted {formats.plural(len(names), 'address', 'addresses')}")


# -- dialogs -----------------------------------------------------------------------------------------


def dialogs(app: ui.App) -> None:
    """Draw the dialog that is open, if it is one of these."""
    for name, draw in (("rule", _rule_dialog), ("sink", _sink_dialog)):
        payload = ui.dialog_payload(f"{TAB}.{name}")
        if payload is not None:
            draw(app, **payload)


@st.dialog("Add an alert rule", on_dismiss=ui.close_dialog)
def _rule_dialog(app: ui.App, model: str, version: str) -> None:
    with ui.errors("add a rule"):
        st.caption(f"For **{formats.markdown(model)} {formats.markdown(version)}**")
        kind = st.selectbox("Raise an alert when", list(KINDS), format_func=lambda k: KINDS[k], key=f"{TAB}.rule.kind")
        options: dict[str, Any] = {}
        subject: str | None = None
        segment: str | None = None
        if kind in {"control_chart", "metric_threshold"}:
            metrics = _known(app, model, version, "metrics")
            everything = [] if kind == "metric_threshold" else [ALL]
            subject = st.selectbox(
                "Metric", everything + metrics, accept_new_options=True, key=f"{TAB}.rule.{kind}.metric"
            )
            segments = _known(app, model, version, "segments")
            if segments and subject != ALL:
                part = st.selectbox("Segment", [WHOLE, *segments], key=f"{TAB}.rule.{kind}.segment")
                segment = None if part == WHOLE else part
        if kind == "control_chart":
            options["charts"] = st.multiselect(
                "By the rules", CHART_RULES, default=CHART_RULES[:3], key=f"{TAB}.rule.charts",
                format_func=lambda rule: CHART_RULE_TEXT[rule],
            )  # fmt: skip
        if kind == "metric_threshold":
            left, right = st.columns(2)
            with left:
                options["below"] = st.number_input("Below", value=None, format="%g", key=f"{TAB}.rule.below")
            with right:
                options["above"] = st.number_input("Above", value=None, format="%g", key=f"{TAB}.rule.above")
        if kind in {"feature_drift", "missing_data"}:
            subject = st.selectbox("Feature", [ALL, *_features(app, model, version)], key=f"{TAB}.rule.feature")
        if kind == "missing_data":
            options["share"] = st.slider("Share of missing values", 0.01, 1.0, 0.5, 0.01, key=f"{TAB}.rule.share")
        if kind == "no_data":
            options["hours"] = st.number_input("Hours", 0.1, 8_760.0, 24.0, format="%g", key=f"{TAB}.rule.hours")
        else:
            options["lookback_days"] = st.number_input(
                "Judge the last days", 1.0, 366.0, 7.0, format="%g", key=f"{TAB}.rule.days"
            )
        left, right = st.columns(2)
        with left:
            severity = st.selectbox("Severity", SEVERITIES, index=1, key=f"{TAB}.rule.severity")
        with right:
            cooldown = st.number_input("Repeat after hours", 0.0, 8_760.0, 6.0, format="%g", key=f"{TAB}.rule.cooldown")
        if st.button("Add rule", type="primary", key=f"{TAB}.rule.confirm"):
            given = {key: value for key, value in options.items() if value is not None}
            ui.act(
                app,
                "add a rule",
                lambda: app.monitoring.add_alert_rule(
                    model, version, kind, None if subject == ALL else subject, segment=segment,
                    severity=severity, cooldown_hours=cooldown, **given,
                ),
                done="Added the rule",
            )  # fmt: skip


def _known(app: ui.App, model: str, version: str, what: str) -> list[str]:
    """Return the metrics or the segments that were logged for a version."""
    for item in app.monitoring.list_monitored():
        if (item["name"], item["version"]) == (model, version):
            return list(item[what])
    return []


def _features(app: ui.App, model: str, version: str) -> list[str]:
    try:
        return sorted(app.monitoring.detect_feature_drift(model, version).features)
    except StateError:
        return []


@st.dialog("Add an address for alerts", on_dismiss=ui.close_dialog)
def _sink_dialog(app: ui.App) -> None:
    with ui.errors("add an address"):
        name = st.text_input("Name", key=f"{TAB}.sink.name", placeholder="on-call channel")
        url = st.text_input(
            "Address", key=f"{TAB}.sink.url", type="password", autocomplete="off",
            help="https://... (a POST of JSON), mailto://user:password@example.org?to=..., slack://..., and other "
            "Apprise addresses. The store keeps it with its token; only public hosts are called.",
        )  # fmt: skip
        if st.button("Add address", type="primary", key=f"{TAB}.sink.confirm"):
            ui.act(
                app,
                "add an address",
                lambda: app.monitoring.add_alert_sink(name, url, trusted=False),
                done=f"Alerts go to {formats.markdown(name)}",
            )
