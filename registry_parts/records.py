"""What the model registry hands out: enums and frozen records.

    >>> ModelStage("production") is ModelStage.PRODUCTION
    True
    >>> ModelType.CLASSIFIER.value
    'classifier'

Nothing here reads a database; `model_registry` fills these records and gives them its public names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from lazy_dataclass import dataclass
from values import InvalidValueError, shorten

__all__ = [
    "ALLOWED_TRANSITIONS",
    "DependencyMismatchWarning",
    "GarbageReport",
    "ModelStage",
    "ModelType",
    "ModelVersion",
    "Record",
    "RegisteredModel",
    "StageEvent",
    "VersionProblem",
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


class Record:
    """A record that strict JSON can hold."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as values that strict JSON can hold."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]


def _table(rows: Sequence[tuple[str, object]], title: str) -> str:
    import html

    body = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(name))}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows
    )
    return f"<div><strong>{html.escape(title)}</strong><table>{body}</table></div>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion(Record):
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
        ``inputs``, ``output``, ``n_rows``: see `registry_parts.signature.infer_signature`.
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
class RegisteredModel(Record):
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
class StageEvent(Record):
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
class VersionProblem(Record):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageReport(Record):
    """What `collect_garbage` gave back, or would give back.

    Attributes
    ----------
    dry_run : bool
        True: nothing was removed.
    purged : tuple of (name, version)
        Deleted versions whose files were given up; they cannot be restored.
    removed : tuple of str
        Hashes of the removed files.
    n_temporary : int
        Unfinished files of processes that died.
    freed_bytes : int
        In the artifact store.
    """

    dry_run: bool
    purged: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    n_temporary: int
    freed_bytes: int


class DependencyMismatchWarning(UserWarning):
    """A model is loaded where a package has another version than the one it was made with."""
