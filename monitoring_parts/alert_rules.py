"""Alert rules: adding them, and what each says about the data it watches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from db import AlertRow, AlertRuleRow, MonitoredModelRow, NotFoundError
from monitoring_parts.alert_records import AlertRule, Observation, to_rule
from monitoring_parts.base import MonitoringBase
from monitoring_parts.results import DataDrift, PerformanceDrift
from stats.formatting import format_percent
from stats.performance_drift import CHARTS, DEFAULT_CHARTS
from values import (
    InvalidTypeError,
    InvalidValueError,
    check_choice,
    check_key,
    check_name,
    new_id,
    to_float,
    to_utc,
)

__all__ = ["RuleVerbs", "of_version"]

logger = logging.getLogger("modeldesk")

RULE_KINDS = ("metric_threshold", "control_chart", "feature_drift", "missing_data", "no_data")
SEVERITIES = ("info", "warning", "critical")
COOLDOWN_SECONDS = 6 * 3600.0  # default time between two messages of one alert


class RuleVerbs(MonitoringBase):
    """The verbs of `ModelMonitoring` on alert rules. The other verbs it needs come from there."""

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
            return [to_rule(*row) for row in of_version(query, name, version).order_by(AlertRuleRow.id)]

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
                rules: dict[tuple[datetime, float], list[str]] = {}
                for violation in drift.violations:
                    if violation.direction != "improvement":
                        rules.setdefault((violation.at, violation.value), []).append(violation.rule)
                for point in drift.points:
                    broken = rules.get((point.at, point.value), [])
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
                words = (
                    f"{feature.feature}: {format_percent(share)} of the rows have no usable value "
                    f"(limit {format_percent(limit)})"
                )
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


def of_version(query: Any, name: str | None, version: str | None) -> Any:
    """Narrow a query that joins `MonitoredModelRow` to a model, or to a version of it."""
    if name is not None:
        query = query.filter(MonitoredModelRow.name == check_name(name, "model name"))
    if version is not None:
        query = query.filter(MonitoredModelRow.version == check_name(version, "version"))
    return query


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
