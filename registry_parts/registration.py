"""Making a version: what a registration says is checked, then all of its rows are written in one transaction.

`check_facts` sees the arguments before anything is written; `insert_version` takes the caller's session, after the
files of the version were stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from columns import Base
from db import ModelFileRow, ModelMetricRow, ModelTagRow, ModelVersionRow, RunRow
from errors import DuplicateError, NotFoundError
from registry_parts import versions
from registry_parts.environment import to_dependencies
from registry_parts.queries import highest_version, lock_or_create_model
from registry_parts.records import ModelStage, ModelType
from registry_parts.stages import add_event, move
from values import (
    InvalidTypeError,
    InvalidValueError,
    check_key,
    check_name,
    check_text,
    decode_json,
    encode_json,
    new_id,
    shorten,
    to_float,
    to_utc,
)

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from artifacts import ArtifactStore, StoredBlob

__all__ = [
    "Files",
    "Registration",
    "check_facts",
    "insert_all",
    "insert_version",
    "to_metrics",
    "to_plain_json",
    "to_tags",
]

HYPERPARAMETERS_MAX_BYTES = 1_000_000
Files = list[tuple[str, "StoredBlob"]]  # relative paths and contents


class Registration(NamedTuple):
    """All that a registration says of a version, checked; its bytes come apart.

    Attributes
    ----------
    name : str
    version : str or None
        None: the next one, by `bump`.
    bump : {"major", "minor", "patch"}
    model_type : ModelType
    metrics : dict of float
    hyperparameters : dict
    stage : ModelStage
    tags, dependencies : dict of str
    description : str
    run_id, data_fingerprint, owner, card : str or None
    actor : str
    request_key : str or None
        The caller's idempotency key.
    environment : dict
    signature : dict or None
    serializer : str
    origin : {"object", "file", "import"}
    """

    name: str
    version: str | None
    bump: str
    model_type: ModelType
    metrics: dict[str, float]
    hyperparameters: dict[str, Any]
    stage: ModelStage
    tags: dict[str, str]
    dependencies: dict[str, str]
    description: str
    run_id: str | None
    data_fingerprint: str | None
    owner: str | None
    actor: str
    request_key: str | None
    environment: dict[str, Any]
    signature: dict[str, Any] | None
    serializer: str
    origin: str
    card: str | None = None


# -- arguments ---------------------------------------------------------------------------------------


def check_facts(given: Mapping[str, Any], actor: str) -> dict[str, Any]:
    """Return what the arguments of a registration, by name, say of a version; or raise before anything is written."""
    version, bump = given["version"], given["bump"]
    if version is not None and bump is not None:
        raise InvalidValueError("give either version or bump, not both")
    fingerprint, request_key = given["data_fingerprint"], given["idempotency_key"]
    return {
        "name": check_name(given["name"], "model name"),
        "version": None if version is None else versions.check_version(version),
        "bump": versions.check_bump("minor" if bump is None else bump),
        "model_type": ModelType(given["model_type"]),
        "metrics": _given(to_metrics, given["performance_metrics"]),
        "hyperparameters": _given(to_plain_json, given["hyperparameters"], "hyperparameters"),
        "stage": ModelStage(given["stage"]),
        "tags": _given(to_tags, given["tags"]),
        "dependencies": _given(to_dependencies, given["dependencies"]),
        "description": check_text(given["description"], "description"),
        "run_id": None if given["run_id"] is None else check_text(given["run_id"], "run_id", 255),
        "data_fingerprint": None if fingerprint is None else check_text(fingerprint, "data_fingerprint", 1_000),
        "owner": None if given["owner"] is None else check_text(given["owner"], "owner", 255),
        "actor": actor,
        "request_key": None if request_key is None else check_key(request_key, "idempotency_key"),
    }


def _given(check: Callable[..., dict[str, Any]], value: Any, *field: str) -> dict[str, Any]:
    return {} if value is None else check(value, *field)


def to_metrics(values: Mapping[str, float]) -> dict[str, float]:
    """Return metrics as 64-bit floats; NaN and infinities are kept."""
    if not isinstance(values, Mapping):
        raise InvalidTypeError(f"metrics must be a mapping of names to numbers, got {type(values).__name__}")
    return {
        check_key(key, "metric"): to_float(value, f"metric {shorten(key, 60)}", finite=False)
        for key, value in values.items()
    }


def to_tags(values: Mapping[str, str]) -> dict[str, str]:
    """Return tags, or say which one is no text."""
    if not isinstance(values, Mapping):
        raise InvalidTypeError(f"tags must be a mapping of text to text, got {type(values).__name__}")
    return {
        check_key(key, "tag"): check_text(value, f"tag {shorten(key, 60)}", 10_000) for key, value in values.items()
    }


def to_plain_json(values: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return a mapping as it will come back from the database, or refuse it."""
    if not isinstance(values, Mapping):
        raise InvalidTypeError(f"{field} must be a mapping, got {type(values).__name__}")
    plain: dict[str, Any] = decode_json(encode_json(dict(values), field, HYPERPARAMETERS_MAX_BYTES))
    return plain


# -- rows --------------------------------------------------------------------------------------------


def insert_version(
    session: Session,
    store: ArtifactStore,
    facts: Registration,
    files: Files,
    put: Callable[[Files], None],
) -> str:
    """Write all rows of a version whose files are stored, and return its public id.

    `put` stores the files once more, should a sweep have taken them since.
    """
    now = to_utc()
    if facts.request_key is not None:
        earlier = session.scalar(sa.select(ModelVersionRow.uid).where(ModelVersionRow.request_key == facts.request_key))
        if earlier is not None:
            return earlier
    model = lock_or_create_model(session, facts.name, now)
    sha256 = _content_hash(files)
    if facts.version is None:
        version = versions.next_version(highest_version(session, model.id), facts.bump)
        key = versions.precedence_key(version)
    else:
        version, key = facts.version, versions.precedence_key(facts.version)
        existing = session.scalar(
            sa.select(ModelVersionRow).where(ModelVersionRow.model_id == model.id, ModelVersionRow.precedence == key)
        )
        if existing is not None:
            if _is_same(existing, version, sha256, facts):
                return existing.uid
            raise DuplicateError(_duplicate_message(model.name, version, existing))
    run_id = None
    if facts.run_id is not None:
        run_id = session.scalar(sa.select(RunRow.id).where(RunRow.uid == facts.run_id))
        if run_id is None:
            raise NotFoundError(f"no run with the id {facts.run_id!r}; leave run_id out or start that run first")
    store.claim(session, [blob for _, blob in files], restore=lambda: put([]))
    first = ModelStage.DEVELOPMENT if facts.stage is ModelStage.PRODUCTION else facts.stage
    row = ModelVersionRow(
        uid=new_id(),
        model_id=model.id,
        version=version,
        precedence=key,
        model_type=facts.model_type.value,
        stage=first.value,
        description=facts.description,
        owner=facts.owner,
        run_id=run_id,
        metrics=facts.metrics,
        hyperparameters=facts.hyperparameters,
        tags=facts.tags,
        dependencies=facts.dependencies,
        environment=facts.environment,
        signature=facts.signature,
        data_fingerprint=facts.data_fingerprint,
        card=facts.card,
        serializer=facts.serializer,
        origin=facts.origin,
        sha256=sha256,
        size_bytes=sum(blob.size_bytes for _, blob in files),
        created_at=now,
        created_by=facts.actor,
        request_key=facts.request_key,
    )
    session.add(row)
    session.flush()
    _insert_parts(session, row.id, facts, files)
    model.updated_at = now
    kind = "import" if facts.origin == "import" else "register"
    add_event(session, row, kind=kind, before=None, after=first, actor=facts.actor, at=now)
    if facts.stage is ModelStage.PRODUCTION:
        move(session, model, row, facts.stage, actor=facts.actor, reason="registered into Production", kind="promote")
    return row.uid


def _insert_parts(session: Session, version_id: int, facts: Registration, files: Files) -> None:
    """Write what a version has several of: files, metrics, tags."""
    insert_all(
        session,
        ModelFileRow,
        [
            {"version_id": version_id, "path": path, "sha256": blob.sha256, "size_bytes": blob.size_bytes}
            for path, blob in files
        ],
    )
    for table, values in ((ModelMetricRow, facts.metrics), (ModelTagRow, facts.tags)):
        insert_all(
            session, table, [{"version_id": version_id, "key": key, "value": value} for key, value in values.items()]
        )


def insert_all(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, if there are any."""
    if rows:
        session.execute(sa.insert(table), list(rows))


def _content_hash(files: Sequence[tuple[str, StoredBlob]]) -> str:
    """Return the hash of one file, or of the sorted list of hashes and paths of several."""
    if len(files) == 1:
        return files[0][1].sha256
    return hashlib.sha256(
        "".join(f"{blob.sha256} {path}\n" for path, blob in _sorted_files(files)).encode()
    ).hexdigest()


def _sorted_files(files: Iterable[tuple[str, StoredBlob]]) -> list[tuple[str, StoredBlob]]:
    """Return files in the order of their paths, by code point."""
    return sorted(files, key=lambda item: item[0])


def _is_same(row: ModelVersionRow, version: str, sha256: str, facts: Registration) -> bool:
    """Whether a registration is the one that made a row, sent again."""
    return (
        row.deleted_at is None
        and row.version == version
        and row.sha256 == sha256
        and row.model_type == facts.model_type.value
        and encode_json(row.metrics) == encode_json(facts.metrics)
        and encode_json(row.hyperparameters) == encode_json(facts.hyperparameters)
    )


def _duplicate_message(name: str, version: str, existing: ModelVersionRow) -> str:
    if existing.deleted_at is not None:
        return f"{name} {existing.version} was deleted, and its number is not used again; choose a higher version"
    if existing.version != version:
        return (
            f"{name} {version} is the same version as {existing.version}: build metadata does not make another one "
            "(Semantic Versioning 2.0.0, item 10); choose a higher version"
        )
    return f"{name} {version} exists with other content; choose a higher version, or leave version out"
