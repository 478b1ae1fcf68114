"""What the model registry hands out: enums, frozen records, and the comparison of versions.

    >>> ModelStage("production") is ModelStage.PRODUCTION
    True
    >>> ModelType.CLASSIFIER.value
    'classifier'

Nothing here reads a database; `model_registry` fills these records and gives them its public names.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from values import InvalidValueError, shorten

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = [
    "ALLOWED_TRANSITIONS",
    "ChangedValue",
    "MetricComparison",
    "ModelComparison",
    "ModelStage",
    "ModelType",
    "ModelVersion",
    "PerformancePoint",
    "RegisteredModel",
    "StageEvent",
    "VersionProblem",
    "compare_versions",
    "metric_direction",
]


# -- enums -------------------------------------------------------------------------------------------


class _Choice(StrEnum):
    """A closed set of texts; upper and lower case are the same on the way in."""

    @classmethod
    def _missing_(cls, value: object) -> _Choice | None:
        if isinstance(value, str):
            for member in cls:
                if member.value.lower() == value.lower():
                    return member
        raise InvalidValueError(
            f"{cls.__name__} must be one of {', '.join(repr(m.value) for m in cls)}, got {shorten(value)}"
        )


class ModelType(_Choice):
    """What a model does."""

    CLASSIFIER = "classifier"
    REGRESSOR = "regressor"
    CLUSTERER = "clusterer"
    ANOMALY_DETECTOR = "anomaly_detector"
    FORECASTER = "forecaster"
    RANKER = "ranker"
    RECOMMENDER = "recommender"
    TRANSFORMER = "transformer"
    EMBEDDING = "embedding"
    GENERATIVE = "generative"
    OTHER = "other"


class ModelStage(_Choice):
    """Where a version is in its life. At most one version of a model is in Production."""

    DEVELOPMENT = "Development"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"


# From a stage to those it may move to. Any version may go straight to Production; an archived one may return.
ALLOWED_TRANSITIONS: Mapping[ModelStage, frozenset[ModelStage]] = {
    ModelStage.DEVELOPMENT: frozenset({ModelStage.STAGING, ModelStage.PRODUCTION, ModelStage.ARCHIVED}),
    ModelStage.STAGING: frozenset({ModelStage.DEVELOPMENT, ModelStage.PRODUCTION, ModelStage.ARCHIVED}),
    ModelStage.PRODUCTION: frozenset({ModelStage.STAGING, ModelStage.ARCHIVED}),
    ModelStage.ARCHIVED: frozenset({ModelStage.DEVELOPMENT, ModelStage.STAGING, ModelStage.PRODUCTION}),
}


# -- records -----------------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it strictly: NaN and infinities as text, instants as ISO 8601."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.to_dict() if hasattr(value, "to_dict") else value


class _Record:
    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that strict JSON can hold."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


def _table(rows: Sequence[tuple[str, object]], title: str) -> str:
    body = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(name))}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows
    )
    return f"<div><strong>{html.escape(title)}</strong><table>{body}</table></div>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(_Record):
    """One version of a model.

    Attributes
    ----------
    model_id : str
        Public id of this version: 32 hexadecimal characters.
    name : str
        Name of the model.
    version : str
        Semantic version.
    model_type : ModelType
    stage : ModelStage
    aliases : tuple of str
    performance_metrics : dict of float
        As given at registration.
    hyperparameters : dict
    tags : dict of str
    description : str
    owner : str or None
        The version's own, or else the model's.
    run_id : str or None
        The tracked run that trained it.
    dependencies : dict of str
        Versions by package.
    environment : dict
        ``python``, ``platform``, ``local_modules`` (modules of no package that loading needs), ``class``.
    signature : dict or None
        ``inputs``, ``output``, ``n_rows``: see `registry_parts.metadata.infer_signature`.
    data_fingerprint : str or None
    serializer : str
        How it was stored, and how it is loaded.
    origin : {"object", "file", "import"}
        "object" was serialized here; the others came from outside and are not unpickled without consent.
    files : tuple of (path, sha256, size in bytes)
    sha256 : str
        Of the one file, or of the list of files.
    size_bytes : int
        Of all files.
    created_at : datetime
        UTC.
    created_by : str
    deleted_at : datetime or None
    is_purged : bool
        Deleted, and its bytes were given back.
    """

    model_id: str
    name: str
    version: str
    model_type: ModelType
    stage: ModelStage
    aliases: tuple[str, ...]
    performance_metrics: dict[str, float]
    hyperparameters: dict[str, Any]
    tags: dict[str, str]
    description: str
    owner: str | None
    run_id: str | None
    dependencies: dict[str, str]
    environment: dict[str, Any]
    signature: dict[str, Any] | None
    data_fingerprint: str | None
    serializer: str
    origin: str
    files: tuple[tuple[str, str, int], ...]
    sha256: str
    size_bytes: int
    created_at: datetime
    created_by: str
    deleted_at: datetime | None
    is_purged: bool

    @property
    def metrics(self) -> dict[str, float]:
        """The performance metrics, by their short name."""
        return self.performance_metrics

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [
            ("stage", self.stage.value),
            ("type", self.model_type.value),
            ("aliases", ", ".join(self.aliases) or "-"),
            *((f"metric {key}", f"{value:.6g}") for key, value in self.performance_metrics.items()),
            *((f"param {key}", value) for key, value in self.hyperparameters.items()),
            ("size", f"{self.size_bytes:,} bytes ({self.serializer})"),
            ("sha256", self.sha256),
            ("registered", f"{self.created_at:%Y-%m-%d %H:%M:%S} UTC by {self.created_by}"),
        ]
        return _table(rows, f"{self.name} {self.version}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel(_Record):
    """One model: a name with its versions in short.

    Attributes
    ----------
    name, description : str
    owner : str or None
    tags : dict of str
    n_versions : int
        Without deleted ones.
    latest_version : str or None
        The highest by precedence.
    production_version : str or None
    aliases : dict of str
        Versions by alias.
    gates : dict
        What a version must show before Production.
    created_at, updated_at : datetime
        UTC.
    """

    name: str
    description: str
    owner: str | None
    tags: dict[str, str]
    n_versions: int
    latest_version: str | None
    production_version: str | None
    aliases: dict[str, str]
    gates: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    def _repr_html_(self) -> str:
        return _table(
            [
                ("versions", self.n_versions),
                ("latest", self.latest_version or "-"),
                ("production", self.production_version or "-"),
                ("owner", self.owner or "-"),
            ],
            self.name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageEvent(_Record):
    """One entry of the audit trail.

    Attributes
    ----------
    sequence : int
        Grows with every event of the store: the order of events, whatever the clocks said.
    name, version : str
    kind : str
        "register", "promote", "transition", "displace", "rollback", "delete", "restore" or "import".
    from_stage : ModelStage or None
        None for a new version.
    to_stage : ModelStage
    at : datetime
        UTC.
    actor, reason : str
    evidence : dict
        What was given, and what the gates found (``gates``, ``override``).
    displaced : str or None
        The version that left Production for this one.
    """

    sequence: int
    name: str
    version: str
    kind: str
    from_stage: ModelStage | None
    to_stage: ModelStage
    at: datetime
    actor: str
    reason: str
    evidence: dict[str, Any]
    displaced: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformancePoint(_Record):
    """One value that a metric of a version had at an instant (UTC), perhaps on a named dataset."""

    name: str
    version: str
    metric: str
    at: datetime
    value: float
    dataset: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionProblem(_Record):
    """A stored file that is missing or altered, and the version that needs it.

    Attributes
    ----------
    name, version, path : str
    sha256 : str
    kind : {"missing", "size", "content", "unreadable"}
    message : str
    """

    name: str
    version: str
    path: str
    sha256: str
    kind: str
    message: str


# -- comparison --------------------------------------------------------------------------------------

# Parts of metric names of which less is better. Everything else is taken as "more is better" only when known.
_LOWER_IS_BETTER = frozenset(
    [
        "loss",
        "error",
        "err",
        "mse",
        "rmse",
        "mae",
        "mape",
        "smape",
        "rmsle",
        "msle",
        "brier",
        "logloss",
        "perplexity",
        "wer",
        "cer",
        "fid",
        "latency",
        "ms",
        "seconds",
        "time",
        "duration",
        "cost",
        "deviance",
        "bias",
        "drift",
        "ece",
        "miss",
        "fpr",
        "fnr",
        "hamming",
        "hinge",
        "crossentropy",
        "entropy",
        "bytes",
        "memory",
        "regret",
    ]
)
_HIGHER_IS_BETTER = frozenset(
    [
        "accuracy",
        "acc",
        "f1",
        "fbeta",
        "precision",
        "recall",
        "auc",
        "roc",
        "auroc",
        "auprc",
        "ap",
        "map",
        "ndcg",
        "r2",
        "score",
        "bleu",
        "rouge",
        "sensitivity",
        "specificity",
        "tpr",
        "tnr",
        "kappa",
        "mcc",
        "jaccard",
        "iou",
        "dice",
        "gini",
        "ks",
        "lift",
        "profit",
        "revenue",
        "throughput",
        "correlation",
        "spearman",
        "pearson",
        "hit",
        "mrr",
        "silhouette",
        "coverage",
    ]
)


def metric_direction(metric: str) -> int | None:
    """Return 1 if more of a metric is better, -1 if less is, None if its name does not tell.

    >>> metric_direction("val/accuracy"), metric_direction("test_rmse"), metric_direction("foo")
    (1, -1, None)
    """
    words = set("".join(c if c.isalnum() else " " for c in metric.lower()).split())
    joined = "".join(sorted(words)) if len(words) == 1 else metric.lower().replace("_", "").replace("-", "")
    if words & _LOWER_IS_BETTER or joined in _LOWER_IS_BETTER:
        return -1
    return 1 if words & _HIGHER_IS_BETTER or joined in _HIGHER_IS_BETTER else None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison(_Record):
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
class ChangedValue(_Record):
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
class ModelComparison(_Record):
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
        head = "".join(f"<th>{html.escape(v.version)} ({html.escape(v.stage.value)})</th>" for v in self.versions)
        rows = []
        for metric in dict.fromkeys(item.metric for item in self.metrics):
            cells = [item for item in self.metrics if item.metric == metric]
            first = f"<td>{_number(cells[0].baseline)}</td>"
            rest = "".join(
                f"<td>{_number(item.value)} <small>{html.escape(_change_text(item))}</small></td>" for item in cells
            )
            rows.append(f"<tr><th style='text-align:left'>{html.escape(metric)}</th>{first}{rest}</tr>")
        for title, group in _groups(self):
            rows += [
                f"<tr><th style='text-align:left'>{html.escape(title)} {html.escape(change.key)}</th>"
                f"<td>{html.escape(_value_text(change.baseline))}</td>"
                f"<td colspan='{len(self.versions) - 1}'>{html.escape(_value_text(change.value))} "
                f"<small>{html.escape(change.kind)} in {html.escape(change.version)}</small></td></tr>"
                for change in group
            ]
        return (
            f"<div><strong>{html.escape(self.name)}</strong><table><thead><tr><th></th>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )


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
    return lines


def _compare_metric(metric: str, baseline: ModelVersion, other: ModelVersion) -> MetricComparison:
    a, b = baseline.performance_metrics.get(metric), other.performance_metrics.get(metric)
    change = relative = reason = None
    direction = "unknown"
    if a is None or b is None:
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
                direction = "better" if (change > 0) == (better > 0) else "worse"
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
