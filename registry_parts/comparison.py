"""Versions beside one another: what changed, by how much, and whether that is better.

Vocabulary: the first version of a comparison is its *baseline*; a *direction* says whether more of a metric is better,
as far as its name tells (`registry_parts.direction`).
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from lazy_dataclass import dataclass
from registry_parts.records import ModelVersion, Record
from stats.metric_direction import metric_direction
from values import InvalidValueError

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = [
    "ChangedValue",
    "MetricComparison",
    "ModelComparison",
    "compare_versions",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison(Record):
    """One metric of two versions.

    Attributes
    ----------
    metric, baseline_version, version : str
    baseline, value : float or None
        None where a version does not have the metric.
    change : float or None
        value - baseline; None when either is missing or not finite.
    relative_change : float or None
        change / abs(baseline); None when it cannot be computed (see `reason`).
    direction : {"better", "worse", "same", "unknown"}
        "unknown" when the metric's name does not tell which way is good.
    reason : str or None
        Why a change could not be computed.
    """

    metric: str
    baseline_version: str
    version: str
    baseline: float | None
    value: float | None
    change: float | None
    relative_change: float | None
    direction: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedValue(Record):
    """One hyperparameter, dependency or other property that two versions do not share.

    Attributes
    ----------
    key, baseline_version, version : str
    kind : {"added", "removed", "changed"}
    baseline, value : object
        None on the side that does not have it.
    """

    key: str
    baseline_version: str
    version: str
    kind: str
    baseline: Any
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison(Record):
    """Versions of one model beside the first of them.

    Attributes
    ----------
    name : str
    versions : tuple of ModelVersion
        In the order asked for; the first is the baseline.
    metrics : tuple of MetricComparison
        For every metric that any version has, one entry a version after the first.
    hyperparameters, dependencies, signature, properties : tuple of ChangedValue
        Only what differs. Properties: model type, serializer, class, Python, stage.
    size_change_bytes : dict of int
        By version: its size minus the baseline's.
    age_difference_seconds : dict of float
        By version: how much later than the baseline it was registered.
    """

    name: str
    versions: tuple[ModelVersion, ...]
    metrics: tuple[MetricComparison, ...]
    hyperparameters: tuple[ChangedValue, ...]
    dependencies: tuple[ChangedValue, ...]
    signature: tuple[ChangedValue, ...]
    properties: tuple[ChangedValue, ...]
    size_change_bytes: dict[str, int]
    age_difference_seconds: dict[str, float]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a metric and compared version: values, changes and direction."""
        import pandas as pd

        columns = [field.name for field in fields(MetricComparison)]
        rows = [[getattr(item, column) for column in columns] for item in self.metrics]
        frame = pd.DataFrame(rows, columns=columns)
        for column in ("baseline", "value", "change", "relative_change"):
            frame[column] = frame[column].astype("float64")
        return frame

    def plot(self) -> go.Figure:
        """Return a figure of the metrics side by side."""
        from charts.registry import plot_comparison

        return plot_comparison(self)

    def __str__(self) -> str:
        return "\n".join(_comparison_lines(self))

    def _repr_html_(self) -> str:
        baseline, *others = self.versions
        head = "".join(
            f"<th style='{_CELL}'>{html.escape(v.version)}<br><small>{html.escape(v.stage.value)}</small></th>"
            for v in self.versions
        )
        rows = []
        for metric in dict.fromkeys(item.metric for item in self.metrics):
            items = {item.version: item for item in self.metrics if item.metric == metric}
            cells = [_number(items[others[0].version].baseline)]
            cells += [_metric_cell(items[v.version]) for v in others]
            rows.append(_html_row(metric, cells))
        for title, group in _groups(self):
            for key in dict.fromkeys(change.key for change in group):
                changes = {change.version: change for change in group if change.key == key}
                before = next(iter(changes.values())).baseline
                cells = [html.escape(_value_text(before)), *(_change_cell(changes.get(v.version)) for v in others)]
                rows.append(_html_row(f"{title} {key}", cells))
        sizes = [f"{self.size_change_bytes[v.version]:+,} bytes" for v in others]
        rows.append(_html_row("size", [f"{baseline.size_bytes:,} bytes", *sizes]))
        ages = [_age_text(self.age_difference_seconds[v.version]) for v in others]
        rows.append(_html_row("registered", [f"{baseline.created_at:%Y-%m-%d %H:%M} UTC", *ages]))
        return (
            f"<div><strong>{html.escape(self.name)}</strong> against {html.escape(baseline.version)}"
            f"<table style='border-collapse:collapse'><thead><tr><th></th>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )


_CELL = "text-align:right;padding:2px 10px;vertical-align:top"
_COLOURS = {"better": "#2e7d32", "worse": "#c62828"}  # readable on white and on black, and the word says it too


def _html_row(label: str, cells: Sequence[str]) -> str:
    """Return a row; the cells are HTML already."""
    body = "".join(f"<td style='{_CELL}'>{cell}</td>" for cell in cells)
    return f"<tr><th style='text-align:left;padding:2px 10px'>{html.escape(label)}</th>{body}</tr>"


def _metric_cell(item: MetricComparison) -> str:
    colour = _COLOURS.get(item.direction)
    style = f" style='color:{colour}'" if colour else ""
    return f"{_number(item.value)} <small{style}>{html.escape(_change_text(item))}</small>"


def _change_cell(change: ChangedValue | None) -> str:
    if change is None:
        return "<small>the same</small>"
    return f"{html.escape(_value_text(change.value))} <small>{html.escape(change.kind)}</small>"


def _age_text(seconds: float) -> str:
    """Return how much later than the baseline something was, in the unit that fits.

    >>> _age_text(7200.0), _age_text(-90.0)
    ('2 h later', '1.5 min earlier')
    """
    size, word = abs(seconds), "later" if seconds >= 0 else "earlier"
    for unit, length in (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0)):
        if size >= length:
            return f"{size / length:.3g} {unit} {word}"
    return f"{size:.3g} s {word}"


def _groups(comparison: ModelComparison) -> list[tuple[str, tuple[ChangedValue, ...]]]:
    return [
        ("hyperparameter", comparison.hyperparameters),
        ("dependency", comparison.dependencies),
        ("signature", comparison.signature),
        ("property", comparison.properties),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _value_text(value: Any) -> str:
    return "-" if value is None else str(value)


def _change_text(item: MetricComparison) -> str:
    if item.change is None:
        return item.reason or ""
    relative = "" if item.relative_change is None else f", {item.relative_change:+.2%}"
    return f"({item.change:+.4g}{relative}, {item.direction})"


def _comparison_lines(comparison: ModelComparison) -> list[str]:
    baseline, *others = comparison.versions
    lines = [f"{comparison.name}: {', '.join(v.version for v in others)} against {baseline.version}"]
    lines += [
        f"  {item.metric}: {_number(item.baseline)} -> {_number(item.value)} {_change_text(item)} [{item.version}]"
        for item in comparison.metrics
    ]
    for title, group in _groups(comparison):
        lines += [
            f"  {title} {c.key} {c.kind}: {_value_text(c.baseline)} -> {_value_text(c.value)} [{c.version}]"
            for c in group
        ]
    lines += [f"  size: {change:+,} bytes [{version}]" for version, change in comparison.size_change_bytes.items()]
    lines += [
        f"  registered: {_age_text(seconds)} [{version}]"
        for version, seconds in comparison.age_difference_seconds.items()
    ]
    return lines


def _compare_metric(metric: str, baseline: ModelVersion, other: ModelVersion) -> MetricComparison:
    a, b = baseline.performance_metrics.get(metric), other.performance_metrics.get(metric)
    change = relative = reason = None
    direction = "unknown"
    if a is None and b is None:
        reason = "in neither"
    elif a is None or b is None:
        reason = f"only in {other.version if a is None else baseline.version}"
    elif not (math.isfinite(a) and math.isfinite(b)):
        reason = "a value is not finite"
    else:
        change = b - a
        if not math.isfinite(change):
            change, reason = None, "the difference is too large for a 64-bit float"
        elif a == 0:
            relative, reason = (0.0, None) if change == 0 else (None, "the baseline is zero")
        else:
            relative = change / abs(a)
            if not math.isfinite(relative):
                relative, reason = None, "the ratio is too large for a 64-bit float"
        better = metric_direction(metric)
        if change is not None:
            if change == 0:
                direction = "same"
            elif better is not None:
                direction = "better" if (change > 0) == (better == "higher") else "worse"
    return MetricComparison(
        metric=metric,
        baseline_version=baseline.version,
        version=other.version,
        baseline=a,
        value=b,
        change=change,
        relative_change=relative,
        direction=direction,
        reason=reason,
    )


def _changes(
    a: Mapping[str, Any], b: Mapping[str, Any], baseline: ModelVersion, other: ModelVersion
) -> list[ChangedValue]:
    found = []
    for key in [*a, *(key for key in b if key not in a)]:
        kind = "removed" if key not in b else "added" if key not in a else "changed"
        if kind == "changed" and _same(a[key], b[key]):
            continue
        found.append(
            ChangedValue(
                key=key,
                baseline_version=baseline.version,
                version=other.version,
                kind=kind,
                baseline=a.get(key),
                value=b.get(key),
            )
        )
    return found


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and a != a and b != b:
        return True  # NaN is the same setting as NaN
    return type(a) is type(b) and bool(a == b) if isinstance(a, bool) or isinstance(b, bool) else bool(a == b)


def _flat_signature(version: ModelVersion) -> dict[str, Any]:
    if version.signature is None:
        return {}
    inputs = version.signature.get("inputs") or []
    flat = {f"input {c.get('name', i)}": c.get("dtype") for i, c in enumerate(inputs)}
    output = version.signature.get("output") or {}
    return flat | {f"output {key}": value for key, value in output.items()}


def _properties(version: ModelVersion) -> dict[str, Any]:
    return {
        "model type": version.model_type.value,
        "stage": version.stage.value,
        "serializer": version.serializer,
        "class": version.environment.get("class"),
        "python": version.environment.get("python"),
        "data fingerprint": version.data_fingerprint,
    }


def compare_versions(versions: Sequence[ModelVersion]) -> ModelComparison:
    """Compare versions of one model with the first of them.

    Raises
    ------
    InvalidValueError
        If there are fewer than two, or one is named twice.
    """
    if len(versions) < 2:
        raise InvalidValueError(f"compare at least two versions, got {len(versions)}")
    if len({v.model_id for v in versions}) < len(versions):
        raise InvalidValueError("a version is named twice; compare different ones")
    baseline, *others = versions
    names = dict.fromkeys(key for version in versions for key in version.performance_metrics)
    return ModelComparison(
        name=baseline.name,
        versions=tuple(versions),
        metrics=tuple(_compare_metric(metric, baseline, other) for metric in names for other in others),
        hyperparameters=tuple(
            c for o in others for c in _changes(baseline.hyperparameters, o.hyperparameters, baseline, o)
        ),
        dependencies=tuple(c for o in others for c in _changes(baseline.dependencies, o.dependencies, baseline, o)),
        signature=tuple(
            c for o in others for c in _changes(_flat_signature(baseline), _flat_signature(o), baseline, o)
        ),
        properties=tuple(c for o in others for c in _changes(_properties(baseline), _properties(o), baseline, o)),
        size_change_bytes={o.version: o.size_bytes - baseline.size_bytes for o in others},
        age_difference_seconds={o.version: (o.created_at - baseline.created_at).total_seconds() for o in others},
    )
