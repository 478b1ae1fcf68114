"""Putting results together: features of many batches, verdicts over all of them, the one sentence of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from db import FeatureProfileRow
from monitoring_parts.predictions import bucket_start
from monitoring_parts.results import DataDrift, FeatureDrift, FeatureHistory, MetricSummary
from stats.data_drift import compare_with_profile, judge_features
from stats.profiles import FeatureCounts, FeatureProfile, add_counts
from values import InvalidValueError, to_float

__all__ = [
    "bucket_starts",
    "changes_of",
    "check_alpha",
    "compare_profiles",
    "to_data_drift",
    "to_feature_history",
    "verdict_of",
]

MAX_WINDOWS = 400  # of a history; a heat map with more columns than pixels says nothing


def compare_profiles(
    profiles: Sequence[tuple[FeatureProfileRow, FeatureProfile]],
    counts: Mapping[int, Sequence[FeatureCounts]],
    changes: Mapping[str, Mapping[str, int]],
    any_batch: bool,
    psi_threshold: float,
) -> list[FeatureDrift]:
    """Compare the summed batches of every profiled feature with its profile; a provisional result each."""
    compared: list[FeatureDrift] = []
    for row, profile in profiles:
        change = changes.get(row.feature, {})
        batches = counts.get(row.id, ())
        if change and sum(change.values()) > sum(batch.n for batch in batches):
            family = max(change, key=lambda item: change[item]).partition(":")[2]
            compared.append(
                FeatureDrift(
                    feature=row.feature,
                    kind="unknown",
                    status="type_changed",
                    drifted=True,
                    reason=f"the reference holds {profile.family} values, the current data {family} values",
                    n_reference=profile.counts.n,
                    n_current=sum(change.values()),
                )
            )
        elif not any_batch:
            compared.append(
                FeatureDrift(
                    feature=row.feature,
                    kind="categorical" if profile.categorical else "numeric",
                    status="insufficient_data",
                    drifted=None,
                    reason="no batches in the window",
                    n_reference=profile.counts.n,
                )
            )
        else:
            current = add_counts(batches) if batches else None
            compared.append(compare_with_profile(row.feature, profile, current, psi_threshold=psi_threshold))
    known = {row.feature for row, _ in profiles}
    compared += [
        FeatureDrift(
            feature=feature,
            kind="unknown",
            status="new",
            drifted=None,
            reason="the reference has no such column",
            n_current=sum(seen.values()),
        )
        for feature, seen in changes.items()
        if feature not in known
    ]
    return compared


def to_data_drift(
    compared: Sequence[FeatureDrift],
    *,
    alpha: float,
    importances: Mapping[str, float] | None,
    n_reference: int,
    n_current: int,
    reasons: Sequence[str] = (),
    **more: Any,
) -> DataDrift:
    """Judge features together and sum up."""
    judged = judge_features(compared, alpha=alpha, importances=importances)
    without = [f for f in judged if f.drifted is None and f.status not in ("new",)]
    said = list(reasons)
    if without and n_current:
        said.append(f"no verdict on {len(without)} of {len(judged)} features: {without[0].reason}")
    together = more.get("multivariate")
    return DataDrift(
        drift_detected=any(f.drifted for f in judged) or bool(together is not None and together.drifted),
        features={f.feature: f for f in judged},
        n_reference=n_reference,
        n_current=n_current,
        alpha=alpha,
        reasons=tuple(said),
        **more,
    )


def verdict_of(metrics: Sequence[MetricSummary], drift: DataDrift | None) -> tuple[str, str]:
    """Return the status and the one sentence of a report."""
    bad = [m.metric if m.segment is None else f"{m.metric} ({m.segment})" for m in metrics if m.drift.drift_detected]
    features = drift.drifted_features if drift is not None else []
    if bad or features:
        parts = []
        if bad:
            parts.append(f"{', '.join(bad[:3])}{' and others' if len(bad) > 3 else ''} left {_its(bad)} control limits")
        if features:
            assert drift is not None
            parts.append(f"{len(features)} of {len(drift.features)} features drifted ({', '.join(features[:3])})")
        return "drift", "; ".join(parts)
    statuses = {m.drift.status for m in metrics}
    if not metrics or statuses == {"no_data"}:
        judged = drift is not None and any(f.drifted is False for f in drift.features.values())
        return (
            ("ok", "no feature drifted; no metric was logged") if judged else ("no_data", "there are no data to judge")
        )
    if statuses <= {"learning", "no_data"}:
        return "learning", "no limits yet: the metrics have fewer than 8 baseline points"
    return "ok", "every judged metric is in control" + ("" if drift is None else ", and no feature drifted")


def _its(items: Sequence[str]) -> str:
    return "its" if len(items) == 1 else "their"


def check_alpha(alpha: object) -> float:
    """Return a false discovery rate in (0, 1), or say why it is none."""
    level = to_float(alpha, "alpha")
    if not 0.0 < level < 1.0:
        raise InvalidValueError(f"alpha must lie in (0, 1), got {level:g}")
    return level


def changes_of(batches: Sequence[Any]) -> dict[str, dict[str, int]]:
    """Return, for columns that are new or of another type, the rows by kind of change over some batches."""
    changes: dict[str, dict[str, int]] = {}
    for batch in batches:
        for feature, change in batch.changes.items():
            seen = changes.setdefault(feature, {})
            seen[change] = seen.get(change, 0) + batch.n_rows
    return changes


def bucket_starts(first: datetime, last: datetime, bucket: str) -> list[datetime]:
    """Return the starts of all windows that touch a period, the newest 400 of them."""
    starts = [bucket_start(last, bucket)]
    while starts[-1] > first and len(starts) < MAX_WINDOWS:
        starts.append(bucket_start(starts[-1] - timedelta(microseconds=1), bucket))
    return starts[::-1]


def to_feature_history(
    name: str,
    version: str,
    bucket: str,
    starts: Sequence[datetime],
    windows: Sequence[Sequence[FeatureDrift]],
    rows: Sequence[int],
) -> FeatureHistory:
    """Arrange the judged features of every window as rows of a heat map, the most drifted first."""
    by_window = [{feature.feature: feature for feature in window} for window in windows]
    names = sorted({name for window in by_window for name in window})

    def drifted(feature: str) -> list[bool | None]:
        return [window[feature].drifted if feature in window else None for window in by_window]

    def index(feature: str) -> list[float | None]:
        return [window[feature].psi if feature in window else None for window in by_window]

    order = sorted(names, key=lambda n: (-sum(d is True for d in drifted(n)), -max((p or 0.0) for p in index(n)), n))
    return FeatureHistory(
        name=name,
        version=version,
        bucket=bucket,
        features=tuple(order),
        windows=tuple(starts),
        psi=tuple(tuple(index(feature)) for feature in order),
        drifted=tuple(tuple(drifted(feature)) for feature in order),
        n_rows=tuple(rows),
    )
