"""Keep models as numbered versions whose bytes, stage and history nobody can lose or mix up.

    >>> registry = ModelRegistryManager("sqlite://")
    >>> model_id = registry.register_model({"weights": [1, 2]}, "churn", "1.0.0", performance_metrics={"auc": 0.91})
    >>> registry.transition_stage("churn", "1.0.0", ModelStage.PRODUCTION, reason="first release").stage.value
    'Production'
    >>> registry.load_model("churn")
    {'weights': [1, 2]}

Vocabulary: a *registered model* is a name; a *version* of it is a semantic version number with a stored model and
what is known of it; its *stage* says where it is in its life, and at most one version of a model is in Production; an
*alias* is a movable name for one version ("champion"); a *gate* is what a version must show before Production.

Every public method that writes is one transaction: killed at any instruction, the registry shows all of it or
none of it. Files are written first and rows last; deleting works the other way round.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from artifacts import ArtifactStore, StoredBlob, check_artifact_path
from db import (
    ArtifactError,
    Base,
    Database,
    DuplicateError,
    ModelAliasRow,
    ModelFileRow,
    ModelMetricRow,
    ModelPerformanceRow,
    ModelRow,
    ModelTagRow,
    ModelVersionRow,
    NotFoundError,
    RunRow,
    StageEventRow,
    StateError,
)
from registry_parts import archive, formats, metadata
from registry_parts.formats import ArtifactInspection
from registry_parts.queries import (
    PAGE_LIMIT,
    conditions,
    find_model,
    find_production,
    find_stored,
    find_version,
    highest_version,
    in_parts,
    lock_or_create_model,
    ordered,
    paged,
    pick_version,
    previous_production,
    to_event,
    to_models,
    to_version,
    to_versions,
    versions_to_frame,
)
from registry_parts.records import (
    ALLOWED_TRANSITIONS,
    ModelComparison,
    ModelStage,
    ModelType,
    ModelVersion,
    RegisteredModel,
    StageEvent,
    VersionProblem,
    compare_versions,
)
from registry_parts.stages import add_event, ask_gates, check_evidence, move
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
    to_int,
    to_utc,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ALLOWED_TRANSITIONS",
    "ArtifactInspection",
    "DependencyMismatchWarning",
    "GarbageReport",
    "ModelComparison",
    "ModelRegistryManager",
    "ModelStage",
    "ModelType",
    "ModelVersion",
    "RegisteredModel",
    "StageEvent",
    "VersionProblem",
]


HYPERPARAMETERS_MAX_BYTES = 1_000_000
CARD_MAX_CHARACTERS = 200_000
Files = list[tuple[str, StoredBlob]]  # relative paths and contents
_UNCHANGED: Any = object()  # an argument that was not given, where None means "none"


class DependencyMismatchWarning(UserWarning):
    """A model is loaded where a package has another version than the one it was made with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GarbageReport:
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

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


class ModelRegistryManager:
    """The registry: versions, stages, artifacts.

    Parameters
    ----------
    database : Database, str or None
        A `Database`, a URL or path, or None for the default store.
    actor : str or None
        Who does what is done here; None is the user's login name. Every method that changes something takes its own.
    """

    def __init__(self, database: Database | str | os.PathLike[str] | None = None, *, actor: str | None = None) -> None:
        self._database = Database.open(database)
        self._store = ArtifactStore(self._database.artifact_url)
        self._actor = check_text(actor, "actor", 255) if actor is not None else _login_name()

    def __repr__(self) -> str:
        return f"ModelRegistryManager({self._database.url!r})"

    # -- registering ---------------------------------------------------------------------------------

    def register_model(
        self,
        model: Any,
        name: str,
        version: str | None = None,
        model_type: ModelType | str = ModelType.OTHER,
        performance_metrics: Mapping[str, float] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        stage: ModelStage | str = ModelStage.DEVELOPMENT,
        *,
        bump: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        dependencies: Mapping[str, str] | Sequence[str] | None = None,
        input_example: Any = None,
        run_id: str | None = None,
        data_fingerprint: str | None = None,
        owner: str | None = None,
        serializer: str = "joblib",
        actor: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Store a model as a new version.

        Parameters
        ----------
        model : object
            Anything the serializer can store.
        name : str
            Of the registered model; it is made when it is new.
        version : str or None
            A semantic version. None takes the next one, by `bump`.
        model_type : ModelType or str
        performance_metrics : mapping of float, optional
            NaN and infinities are kept.
        hyperparameters : mapping, optional
            Anything JSON can hold.
        stage : ModelStage or str
            Production displaces the version there, and passes the model's gates first.
        bump : {"major", "minor", "patch"}, optional
            Which part of the highest version so far is raised; "minor" when neither is given.
        tags : mapping of str, optional
        description : str
        dependencies : mapping or list of requirements, optional
            In addition to the packages that the model's classes come from, which are found by themselves.
        input_example : DataFrame, array or rows, optional
            Gives the signature; the example itself is not stored.
        run_id : str, optional
            The tracked run that trained the model.
        data_fingerprint : str, optional
            See `registry_parts.metadata.fingerprint_data`.
        owner : str, optional
        serializer : {"joblib", "pickle", "cloudpickle", "skops", "onnx"}
        actor : str, optional
        idempotency_key : str, optional
            A registration repeated with the same key returns the version that the first one made.

        Returns
        -------
        str
            The version's public id.

        Raises
        ------
        ValueError, TypeError
            If an argument is not admitted; nothing was written then.
        DuplicateError
            If the version exists with other content, or was deleted. The same call again (same bytes, type, metrics
            and hyperparameters) returns the id of the version that is there.
        NotFoundError
            If there is no such run.
        StateError
            If a gate of Production fails.
        StorageError
            If the bytes cannot be written; nothing was kept then.
        """
        formats.check_serializer(serializer)
        if serializer not in formats.FILE_NAMES:
            raise InvalidValueError(f"serializer {serializer!r} is for files and folders; use register_file()")
        facts = self._facts(
            name=name,
            version=version,
            bump=bump,
            model_type=model_type,
            performance_metrics=performance_metrics,
            hyperparameters=hyperparameters,
            stage=stage,
            tags=tags,
            description=description,
            run_id=run_id,
            data_fingerprint=data_fingerprint,
            owner=owner,
            actor=actor,
            idempotency_key=idempotency_key,
        )
        given = {} if dependencies is None else metadata.to_dependencies(dependencies)
        known, facts["environment"] = metadata.capture(model)
        facts["dependencies"] = known | given
        facts["signature"] = None if input_example is None else metadata.infer_signature(model, input_example)
        facts |= {"serializer": serializer, "origin": "object"}

        def put(files: Files) -> None:
            with self._store.writer() as file:
                formats.dump_model(model, file, serializer)
            files.append((formats.FILE_NAMES[serializer], file.blob))

        return self._register(facts, put)

    def register_file(
        self,
        path: str | os.PathLike[str],
        name: str,
        version: str | None = None,
        model_type: ModelType | str = ModelType.OTHER,
        performance_metrics: Mapping[str, float] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        stage: ModelStage | str = ModelStage.DEVELOPMENT,
        *,
        bump: str | None = None,
        tags: Mapping[str, str] | None = None,
        description: str = "",
        dependencies: Mapping[str, str] | Sequence[str] | None = None,
        run_id: str | None = None,
        data_fingerprint: str | None = None,
        owner: str | None = None,
        serializer: str | None = None,
        file_name: str | None = None,
        actor: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Store a file or a folder as a new version, as it is; nothing of it is loaded or run.

        Parameters
        ----------
        path : str or path
            A regular file, or a folder whose files are all kept under their relative paths.
        serializer : str, optional
            How `load_model` shall read a file. None goes by its ending (.joblib, .pkl, .pickle, .skops, .onnx), and is
            "file" for others and "folder" for folders. A pickle that came this way is only loaded with consent.
        file_name : str, optional
            Under which relative path a single file is kept; None is its own name.
        name, version, ... : as in `register_model`

        Raises
        ------
        ArtifactError
            If the path is missing, is a FIFO or device, or a folder holds links that leave it; and as `register_model`.
        """
        source = Path(path)
        is_folder = source.is_dir()
        if serializer is None:
            serializer = "folder" if is_folder else formats.serializer_of_path(source.name)
        formats.check_serializer(serializer)
        if is_folder != (serializer == "folder"):
            raise InvalidValueError(
                f"{source} is {'a folder' if is_folder else 'no folder'}; serializer {serializer!r} is not"
            )
        stored_as = "" if is_folder else check_artifact_path(file_name or source.name, "file name")
        facts = self._facts(
            name=name,
            version=version,
            bump=bump,
            model_type=model_type,
            performance_metrics=performance_metrics,
            hyperparameters=hyperparameters,
            stage=stage,
            tags=tags,
            description=description,
            run_id=run_id,
            data_fingerprint=data_fingerprint,
            owner=owner,
            actor=actor,
            idempotency_key=idempotency_key,
        )
        facts["dependencies"] = {} if dependencies is None else metadata.to_dependencies(dependencies)
        facts |= {"environment": metadata.capture_environment(), "signature": None}
        facts |= {"serializer": serializer, "origin": "file"}

        def put(files: Files) -> None:
            if is_folder:
                files.extend(self._store.put_tree_stepwise(source))
            else:
                files.append((stored_as, self._store.put_file(source)))

        return self._register(facts, put)

    def _facts(
        self,
        *,
        name: str,
        version: str | None,
        bump: str | None,
        model_type: ModelType | str,
        performance_metrics: Mapping[str, float] | None,
        hyperparameters: Mapping[str, Any] | None,
        stage: ModelStage | str,
        tags: Mapping[str, str] | None,
        description: str,
        run_id: str | None,
        data_fingerprint: str | None,
        owner: str | None,
        actor: str | None,
        idempotency_key: str | None,
    ) -> dict[str, Any]:
        """Check what a registration says of a version, before anything is written."""
        if version is not None and bump is not None:
            raise InvalidValueError("give either version or bump, not both")
        if bump is not None and bump not in metadata.BUMPS:
            raise InvalidValueError(f"bump must be one of {', '.join(map(repr, metadata.BUMPS))}, got {shorten(bump)}")
        return {
            "name": check_name(name, "model name"),
            "version": None if version is None else metadata.check_version(version),
            "bump": bump or "minor",
            "model_type": ModelType(model_type),
            "metrics": _to_metrics(performance_metrics or {}),
            "hyperparameters": _to_plain_json(hyperparameters or {}, "hyperparameters"),
            "stage": ModelStage(stage),
            "tags": _to_tags(tags or {}),
            "description": check_text(description, "description"),
            "run_id": None if run_id is None else check_text(run_id, "run_id", 255),
            "data_fingerprint": (
                None if data_fingerprint is None else check_text(data_fingerprint, "data_fingerprint", 1_000)
            ),
            "owner": None if owner is None else check_text(owner, "owner", 255),
            "actor": self._who(actor),
            "request_key": None if idempotency_key is None else check_key(idempotency_key, "idempotency_key"),
            "card": None,
        }

    def _who(self, actor: str | None) -> str:
        return self._actor if actor is None else check_text(actor, "actor", 255)

    def _register(self, facts: dict[str, Any], put: Callable[[Files], None]) -> str:
        """Write the files, then all rows of a version in one transaction. `put` adds each file as it is stored."""
        files: Files = []
        try:
            put(files)
            return self._database.transact(lambda session: self._insert_version(session, facts, files, put))
        except BaseException:
            with suppress(Exception):  # what matters is the first error; an orphan is swept later
                self._store.release(self._database, [blob.sha256 for _, blob in files])
            raise

    def _insert_version(
        self,
        session: Session,
        facts: Mapping[str, Any],
        files: Files,
        put: Callable[[Files], None],
    ) -> str:
        now = to_utc()
        if facts["request_key"] is not None:
            earlier = session.scalar(
                sa.select(ModelVersionRow.uid).where(ModelVersionRow.request_key == facts["request_key"])
            )
            if earlier is not None:
                return earlier
        model = lock_or_create_model(session, facts["name"], now)
        sha256 = _content_hash(files)
        version = facts["version"] or metadata.next_version(highest_version(session, model.id), facts["bump"])
        key = metadata.precedence_key(version)
        existing = session.scalar(
            sa.select(ModelVersionRow).where(ModelVersionRow.model_id == model.id, ModelVersionRow.precedence == key)
        )
        if existing is not None:
            if _is_same_registration(existing, version, sha256, facts):
                return existing.uid
            raise DuplicateError(_duplicate_message(model.name, version, existing))
        run_id = None
        if facts["run_id"] is not None:
            run_id = session.scalar(sa.select(RunRow.id).where(RunRow.uid == facts["run_id"]))
            if run_id is None:
                raise NotFoundError(f"no run with the id {facts['run_id']!r}; leave run_id out or start that run first")
        self._store.claim(session, [blob for _, blob in files], restore=lambda: put([]))
        row = ModelVersionRow(
            uid=new_id(),
            model_id=model.id,
            version=version,
            precedence=key,
            model_type=facts["model_type"].value,
            stage=ModelStage.DEVELOPMENT.value,
            description=facts["description"],
            owner=facts["owner"],
            run_id=run_id,
            metrics=facts["metrics"],
            hyperparameters=facts["hyperparameters"],
            tags=facts["tags"],
            dependencies=facts["dependencies"],
            environment=facts["environment"],
            signature=facts["signature"],
            data_fingerprint=facts["data_fingerprint"],
            card=facts["card"],
            serializer=facts["serializer"],
            origin=facts["origin"],
            sha256=sha256,
            size_bytes=sum(blob.size_bytes for _, blob in files),
            created_at=now,
            created_by=facts["actor"],
            request_key=facts["request_key"],
        )
        session.add(row)
        session.flush()
        _insert_all(
            session,
            ModelFileRow,
            [
                {"version_id": row.id, "path": path, "sha256": blob.sha256, "size_bytes": blob.size_bytes}
                for path, blob in files
            ],
        )
        _insert_all(
            session,
            ModelMetricRow,
            [{"version_id": row.id, "key": key, "value": value} for key, value in facts["metrics"].items()],
        )
        _insert_all(
            session,
            ModelTagRow,
            [{"version_id": row.id, "key": key, "value": value} for key, value in facts["tags"].items()],
        )
        model.updated_at = now
        stage: ModelStage = facts["stage"]
        first = ModelStage.DEVELOPMENT if stage is ModelStage.PRODUCTION else stage
        row.stage = first.value
        kind = "import" if facts["origin"] == "import" else "register"
        add_event(session, row, kind=kind, before=None, after=first, actor=facts["actor"], at=now)
        if stage is ModelStage.PRODUCTION:
            move(session, model, row, stage, actor=facts["actor"], reason="registered into Production", kind="promote")
        return row.uid

    # -- reading -------------------------------------------------------------------------------------

    def get_version(
        self, name: str, version: str | None = None, *, stage: ModelStage | str | None = None, alias: str | None = None
    ) -> ModelVersion:
        """Return one version: by number, by alias, or the highest in a stage.

        With none of these it is the version in Production or, without one, the highest that is not archived.

        Raises
        ------
        NotFoundError
            If there is no such model or version; the message names what there is.
        """
        with self._database.read() as session:
            model = find_model(session, name)
            return to_version(session, model.name, pick_version(session, model, version, stage, alias))

    def find_version_by_id(self, model_id: str) -> ModelVersion | None:
        """Return the version with a public id, deleted ones included, or None."""
        wanted = check_text(model_id, "model_id", 255)
        with self._database.read() as session:
            row = session.scalar(sa.select(ModelVersionRow).where(ModelVersionRow.uid == wanted))
            if row is None:
                return None
            name = session.scalar(sa.select(ModelRow.name).where(ModelRow.id == row.model_id))
            return to_version(session, str(name), row)

    def get_production(self, name: str) -> ModelVersion:
        """Return the version in Production.

        Raises
        ------
        NotFoundError
            If there is no such model, or none of its versions is in Production.
        """
        with self._database.read() as session:
            model = find_model(session, name)
            row = find_production(session, model.id)
            if row is None:
                raise NotFoundError(
                    f"no version of {model.name!r} is in Production; promote one with transition_stage()"
                )
            return to_version(session, model.name, row)

    def get_model(self, name: str) -> RegisteredModel:
        """Return one registered model."""
        with self._database.read() as session:
            model = find_model(session, name)
            return to_models(session, [model])[0]

    def list_models(self, *, limit: int | None = None, offset: int = 0) -> list[RegisteredModel]:
        """Return registered models, sorted by name (by code point)."""
        query = sa.select(ModelRow).order_by(ModelRow.name)
        with self._database.read() as session:
            return to_models(session, session.scalars(paged(query, limit, offset)).all())

    def list_versions(
        self,
        name: str,
        *,
        stage: ModelStage | str | None = None,
        include_deleted: bool = False,
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[ModelVersion]:
        """Return a model's versions in the order of Semantic Versioning, the lowest first.

        Parameters
        ----------
        name : str
        stage : ModelStage or str, optional
        include_deleted : bool
        descending : bool
            The highest first.
        limit, offset : int, optional
        """
        with self._database.read() as session:
            model = find_model(session, name)
            column = ModelVersionRow.precedence
            query = sa.select(ModelVersionRow).where(ModelVersionRow.model_id == model.id)
            query = query.order_by(column.desc() if descending else column)
            if stage is not None:
                query = query.where(ModelVersionRow.stage == ModelStage(stage).value)
            if not include_deleted:
                query = query.where(ModelVersionRow.deleted_at.is_(None))
            rows = session.scalars(paged(query, limit, offset)).all()
            return to_versions(session, {model.id: model.name}, rows)

    def search(
        self,
        text: str | None = None,
        *,
        name: str | None = None,
        stage: ModelStage | str | None = None,
        model_type: ModelType | str | None = None,
        tags: Mapping[str, str | None] | None = None,
        metrics: Mapping[str, float | str | tuple[str, float]] | None = None,
        owner: str | None = None,
        run_id: str | None = None,
        include_deleted: bool = False,
        order_by: str = "created_at",
        descending: bool = True,
        limit: int = 100,
        offset: int = 0,
    ) -> pd.DataFrame:
        """Return the versions that meet all conditions, one a row.

        Parameters
        ----------
        text : str, optional
            Part of the model's name, the version, the description or a tag's value; A-Z match a-z.
        name : str, optional
            Exactly this model.
        tags : mapping, optional
            Value by key; None for any value.
        metrics : mapping, optional
            By metric: a number (at least that), ``">= 0.9"`` or ``("<", 0.1)``. NaN meets none.
        order_by : str
            "created_at", "name", "version", "stage", "size_bytes", or "metrics.<metric>" (those without it last).
        descending : bool
        limit, offset : int
            A page; the number of all matches is in ``frame.attrs["total"]``.

        Returns
        -------
        DataFrame
            model_id, name, version, model_type, stage, aliases, owner, description, created_at, created_by, size_bytes,
            serializer, run_id, then ``metrics.<key>``, ``params.<key>`` and ``tags.<key>``.
        """
        query: Any = sa.select(ModelVersionRow, ModelRow.name).join(ModelRow, ModelRow.id == ModelVersionRow.model_id)
        for condition in conditions(text, name, stage, model_type, tags, metrics, owner, run_id):
            query = query.where(condition)
        if not include_deleted:
            query = query.where(ModelVersionRow.deleted_at.is_(None))
        counted = sa.select(sa.func.count()).select_from(query.with_only_columns(ModelVersionRow.id).subquery())
        query = paged(ordered(query, order_by, descending), to_int(limit, "limit", 0, PAGE_LIMIT), offset)
        with self._database.read() as session:
            found = session.execute(query).all()
            total = int(session.scalar(counted) or 0)
            names = {row.model_id: model_name for row, model_name in found}
            versions = to_versions(session, names, [row for row, _ in found])
        return versions_to_frame(versions, total)

    def compare_models(self, name: str, *versions: str) -> ModelComparison:
        """Compare versions of a model with the first one named.

        Raises
        ------
        ValueError
            If fewer than two are named, or one twice.
        NotFoundError
            If one does not exist.
        """
        with self._database.read() as session:
            model = find_model(session, name)
            rows = [find_version(session, model, version) for version in versions]
            records = to_versions(session, {model.id: model.name}, rows)
        return compare_versions(records)

    def stage_history(self, name: str, version: str | None = None) -> list[StageEvent]:
        """Return the audit trail of a model, or of one version of it, oldest first."""
        with self._database.read() as session:
            model = find_model(session, name)
            query = sa.select(StageEventRow).where(StageEventRow.model_id == model.id).order_by(StageEventRow.id)
            if version is not None:
                row = find_version(session, model, version, deleted=True)
                query = query.where(StageEventRow.version_id == row.id)
            events = session.scalars(query).all()
            numbers = dict(
                session.execute(
                    sa.select(ModelVersionRow.id, ModelVersionRow.version).where(ModelVersionRow.model_id == model.id)
                ).all()
            )
            return [to_event(event, model.name, numbers) for event in events]

    # -- loading -------------------------------------------------------------------------------------

    def load_model(
        self,
        name: str,
        version: str | None = None,
        *,
        stage: ModelStage | str | None = None,
        alias: str | None = None,
        allow_untrusted: bool = False,
        trusted_types: Sequence[str] | None = None,
        check_dependencies: bool = True,
    ) -> Any:
        """Load a model whose bytes still have the hash they were stored with.

        **Loading a pickle runs code.** joblib, pickle and cloudpickle files are programs, and loading one does whatever
        its author wrote. Models that `register_model` serialized here are loaded; a pickle that came as a file or by
        import is refused unless `allow_untrusted` is given. `inspect_artifact` lists what a pickle would import. skops
        and ONNX files run no code of their own.

        Parameters
        ----------
        name : str
        version, stage, alias : optional
            As in `get_version`.
        allow_untrusted : bool
            You know who made the file, and trust them as you trust a program.
        trusted_types : sequence of str, optional
            skops only: types beyond its own list that may be loaded.
        check_dependencies : bool
            Warn (`DependencyMismatchWarning`) where packages differ from those the model was made with.

        Returns
        -------
        object
            The model; for a plain file its bytes, for a folder the bytes of its files by path.

        Raises
        ------
        ArtifactError
            If a file is missing, cut or altered (nothing of it was loaded), or may not be loaded.
        NotFoundError
            If there is no such version.
        """
        with (
            self._database.read() as session
        ):  # not the whole record: loading a small model costs what reading it costs
            found = find_stored(session, name, version, stage, alias)
        label, files = found.label, found.files
        runs_code = found.serializer in formats.EXECUTES_CODE
        if runs_code and found.origin != "object" and not allow_untrusted:
            raise ArtifactError(
                f"{label} came {'by import' if found.origin == 'import' else 'as a file'}, and loading a "
                f"{found.serializer} file runs its code; look at inspect_artifact(), and load it with "
                "allow_untrusted=True only if you trust whoever made it"
            )
        if found.serializer == "folder":
            return {path: self._read(label, path, sha256) for path, sha256 in files}
        ((path, sha256),) = files
        if found.serializer == "file":
            return self._read(label, path, sha256)
        try:
            buffer = self._store.read_buffer(sha256)
        except ArtifactError as error:
            raise ArtifactError(f"{label}: {path}: {error}") from error
        if check_dependencies:
            differences = metadata.dependency_differences(found.dependencies, found.environment)
            if differences:
                warnings.warn(
                    f"{label} may behave differently here: {'; '.join(differences)}",
                    DependencyMismatchWarning,
                    stacklevel=2,
                )
        return formats.load_verified(buffer, found.serializer, label, trusted_types=trusted_types)

    def _read(self, label: object, path: str, sha256: str) -> bytes:
        try:
            return self._store.read_bytes(sha256)
        except ArtifactError as error:
            raise ArtifactError(f"{label}: {path}: {error}") from error

    def inspect_artifact(
        self, name: str, version: str | None = None, *, alias: str | None = None
    ) -> ArtifactInspection:
        """Return what the files of a version would import when loaded. Nothing is imported or run.

        A list that looks harmless is no proof: see `registry_parts.formats`.
        """
        with self._database.read() as session:
            model = find_model(session, name)
            found = to_version(session, model.name, pick_version(session, model, version, None, alias))
        files = [(path, size, self._read(found, path, sha256)) for path, sha256, size in found.files]
        return formats.inspect_files(found.name, found.version, found.serializer, found.origin, files)

    def copy_files(self, name: str, version: str, folder: str | os.PathLike[str]) -> list[Path]:
        """Copy a version's files, verified, into a folder; nothing there is overwritten.

        Raises
        ------
        FileExistsError
            If one of the files exists there.
        ArtifactError
            If a file is missing or altered.
        """
        with self._database.read() as session:
            model = find_model(session, name)
            found = to_version(session, model.name, find_version(session, model, version))
        root = Path(folder)
        targets = [(root.joinpath(*check_artifact_path(path).split("/")), sha256) for path, sha256, _ in found.files]
        for target, _ in targets:
            if os.path.lexists(target):
                raise FileExistsError(f"{target} exists; name an empty folder")
        try:
            return [self._store.copy_to(sha256, target) for target, sha256 in targets]
        except ArtifactError as error:
            raise ArtifactError(f"{found}: {error}") from error

    # -- stages --------------------------------------------------------------------------------------

    def transition_stage(
        self,
        name: str,
        version: str,
        stage: ModelStage | str,
        *,
        reason: str = "",
        actor: str | None = None,
        evidence: Mapping[str, Any] | None = None,
        archive_current: bool = True,
        override: bool = False,
    ) -> ModelVersion:
        """Move a version to another stage, and record who did it, when, why and on what evidence.

        Moving to Production moves the version that is there to Archived in the same transaction: at every moment
        at most one version is in Production. A version already in the stage stays there, and nothing is recorded.

        Parameters
        ----------
        name, version : str
        stage : ModelStage or str
        reason : str
        actor : str, optional
        evidence : mapping, optional
            Anything JSON can hold; ``experiment_id`` (an A/B experiment) and ``run_id`` (a tracked run) must exist.
        archive_current : bool
            False: refuse when another version is in Production.
        override : bool
            Promote though a gate fails. It is recorded, and needs a reason.

        Returns
        -------
        ModelVersion
            After the move.

        Raises
        ------
        NotFoundError
            If there is no such version, experiment or run.
        StateError
            If the move is not in `ALLOWED_TRANSITIONS`, a gate fails, or Production is taken and may not be archived.
        """
        target = ModelStage(stage)
        why = check_text(reason, "reason")
        who = self._who(actor)
        given = _to_plain_json(evidence or {}, "evidence")
        if override and not why.strip():
            raise InvalidValueError("override needs a reason: say why the gates may be passed over")

        def promote_or_move(session: Session) -> ModelVersion:
            model = find_model(session, name, lock=True)
            row = find_version(session, model, version)
            if row.stage != target.value:
                move(
                    session,
                    model,
                    row,
                    target,
                    actor=who,
                    reason=why,
                    evidence=given,
                    archive_current=archive_current,
                    override=override,
                    kind="promote" if target is ModelStage.PRODUCTION else "transition",
                )
            return to_version(session, model.name, row)

        return self._database.transact(promote_or_move)

    def rollback(self, name: str, *, reason: str = "", actor: str | None = None) -> ModelVersion:
        """Bring the previous Production version back; calling it again goes one further back.

        Gates are not asked: the version passed them, or was let through, when it was promoted.

        Returns
        -------
        ModelVersion
            The one that is in Production now.

        Raises
        ------
        StateError
            If there is no earlier Production version to return to.
        """
        why, who = check_text(reason, "reason"), self._who(actor)

        def promote_or_move(session: Session) -> ModelVersion:
            model = find_model(session, name, lock=True)
            current = find_production(session, model.id)
            row = previous_production(session, model.id, current)
            if row is None:
                raise StateError(f"{model.name!r} has no earlier Production version to roll back to")
            evidence = {"rolled_back_from": current.version if current is not None else None}
            move(
                session,
                model,
                row,
                ModelStage.PRODUCTION,
                actor=who,
                reason=why or "rollback",
                evidence=evidence,
                kind="rollback",
                gated=False,
            )
            return to_version(session, model.name, row)

        return self._database.transact(promote_or_move)

    def set_gates(self, name: str, gates: Mapping[str, Any] | None) -> dict[str, Any]:
        """Set what a version of a model must show before Production; None or {} removes all gates.

        Parameters
        ----------
        name : str
        gates : mapping or None
            ``{"metrics": {"auc": {"min": 0.9}}, "not_worse_than_production": {"auc": 0.01}, "experiment": True}``; see
            `registry_parts.metadata.check_gates`.

        Returns
        -------
        dict
            The gates as stored.
        """
        checked = metadata.check_gates(gates or {})

        def change(session: Session) -> dict[str, Any]:
            model = find_model(session, name, lock=True)
            model.gates, model.updated_at = checked, to_utc()
            return checked

        return self._database.transact(change)

    def check_promotion(
        self, name: str, version: str, *, evidence: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return what the gates say of a version now: {gate, passed, message} each. Nothing is changed."""
        given = _to_plain_json(evidence or {}, "evidence")
        with self._database.read() as session:
            model = find_model(session, name)
            row = find_version(session, model, version)
            return ask_gates(session, model, row, check_evidence(session, given)[1])

    # -- aliases, tags, descriptions -----------------------------------------------------------------

    def set_alias(self, name: str, alias: str, version: str, *, actor: str | None = None) -> None:
        """Let an alias name a version; it leaves the version it named before.

        Raises
        ------
        ValueError
            If the alias reads like a version number or a stage.
        """
        text = _check_alias(alias)
        who = self._who(actor)

        def change(session: Session) -> None:
            model = find_model(session, name, lock=True)
            row = find_version(session, model, version)
            found = session.get(ModelAliasRow, (model.id, text))
            if found is None:
                found = ModelAliasRow(model_id=model.id, alias=text)
                session.add(found)
            found.version_id, found.updated_at, found.updated_by = row.id, to_utc(), who
            model.updated_at = found.updated_at

        self._database.transact(change)

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias. The version stays."""
        text = _check_alias(alias)

        def change(session: Session) -> None:
            model = find_model(session, name, lock=True)
            found = session.get(ModelAliasRow, (model.id, text))
            if found is None:
                raise NotFoundError(f"{model.name!r} has no alias {text!r}")
            session.delete(found)

        self._database.transact(change)

    def set_tags(self, name: str, version: str, tags: Mapping[str, str | None]) -> dict[str, str]:
        """Set tags of a version; others stay, a value of None removes one. Returns all tags."""
        removed = [check_key(key, "tag") for key, value in tags.items() if value is None]
        added = _to_tags({key: value for key, value in tags.items() if value is not None})

        def change(session: Session) -> dict[str, str]:
            model = find_model(session, name, lock=True)
            row = find_version(session, model, version)
            kept = {key: value for key, value in (row.tags | added).items() if key not in removed}
            row.tags = kept
            session.execute(sa.delete(ModelTagRow).where(ModelTagRow.version_id == row.id))
            _insert_all(session, ModelTagRow, [{"version_id": row.id, "key": k, "value": v} for k, v in kept.items()])
            return kept

        return self._database.transact(change)

    def update_version(
        self,
        name: str,
        version: str,
        *,
        description: str = _UNCHANGED,
        owner: str | None = _UNCHANGED,
        card: str | None = _UNCHANGED,
    ) -> ModelVersion:
        """Change a version's description, owner or model card (Markdown; None is the template again)."""
        changes: dict[str, Any] = {}
        if description is not _UNCHANGED:
            changes["description"] = check_text(description, "description")
        if owner is not _UNCHANGED:
            changes["owner"] = None if owner is None else check_text(owner, "owner", 255)
        if card is not _UNCHANGED:
            changes["card"] = None if card is None else check_text(card, "card", CARD_MAX_CHARACTERS)

        def change(session: Session) -> ModelVersion:
            model = find_model(session, name, lock=True)
            row = find_version(session, model, version)
            for field, value in changes.items():
                setattr(row, field, value)
            return to_version(session, model.name, row)

        return self._database.transact(change)

    def update_model(
        self,
        name: str,
        *,
        description: str = _UNCHANGED,
        owner: str | None = _UNCHANGED,
        tags: Mapping[str, str] = _UNCHANGED,
    ) -> RegisteredModel:
        """Change a model's description, owner, or (all of) its tags."""
        changes: dict[str, Any] = {}
        if description is not _UNCHANGED:
            changes["description"] = check_text(description, "description")
        if owner is not _UNCHANGED:
            changes["owner"] = None if owner is None else check_text(owner, "owner", 255)
        if tags is not _UNCHANGED:
            changes["tags"] = _to_tags(tags)

        def change(session: Session) -> RegisteredModel:
            model = find_model(session, name, lock=True)
            for field, value in (changes | {"updated_at": to_utc()}).items():
                setattr(model, field, value)
            session.flush()
            return to_models(session, [model])[0]

        return self._database.transact(change)

    def model_card(self, name: str, version: str) -> str:
        """Return the model card in Markdown: as written, or the template filled from what is known."""
        with self._database.read() as session:
            model = find_model(session, name)
            row = find_version(session, model, version)
            card, record = row.card, to_version(session, model.name, row)
        return card if card is not None else metadata.render_card({f: getattr(record, f) for f in record.__slots__})

    # -- performance over time -----------------------------------------------------------------------

    def record_performance(
        self,
        name: str,
        version: str,
        metrics: Mapping[str, float],
        *,
        at: datetime | str | None = None,
        dataset: str | None = None,
    ) -> None:
        """Record values that metrics of a version had at an instant (None is now), perhaps on a named dataset."""
        values = _to_metrics(metrics)
        if not values:
            raise InvalidValueError("metrics is empty; give at least one value")
        when = to_utc(at)
        label = None if dataset is None else check_text(dataset, "dataset", 255)

        def add(session: Session) -> None:
            model = find_model(session, name)
            row = find_version(session, model, version)
            _insert_all(
                session,
                ModelPerformanceRow,
                [
                    {"version_id": row.id, "metric": key, "at": when, "value": value, "dataset": label}
                    for key, value in values.items()
                ],
            )

        self._database.transact(add, durable=False)

    def performance_history(
        self,
        name: str,
        version: str | None = None,
        metric: str | None = None,
        *,
        dataset: str | None = None,
        start: datetime | str | None = None,
        end: datetime | str | None = None,
    ) -> pd.DataFrame:
        """Return recorded values, oldest first: name, version, metric, at, value, dataset.

        Parameters
        ----------
        name : str
        version, metric, dataset : str, optional
            None is all.
        start, end : datetime, optional
            From `start` up to, not including, `end`.
        """
        import pandas as pd

        row = ModelPerformanceRow
        query = (
            sa.select(ModelVersionRow.version, row.metric, row.at, row.value, row.dataset)
            .join(ModelVersionRow, ModelVersionRow.id == row.version_id)
            .order_by(row.at, row.id)
        )
        with self._database.read() as session:
            model = find_model(session, name)
            query = query.where(ModelVersionRow.model_id == model.id)
            if version is not None:
                query = query.where(row.version_id == find_version(session, model, version, deleted=True).id)
            if metric is not None:
                query = query.where(row.metric == check_key(metric, "metric"))
            if dataset is not None:
                query = query.where(row.dataset == check_text(dataset, "dataset", 255))
            if start is not None:
                query = query.where(row.at >= to_utc(start, "start"))
            if end is not None:
                query = query.where(row.at < to_utc(end, "end"))
            found = session.execute(query).all()
        frame = pd.DataFrame(found, columns=["version", "metric", "at", "value", "dataset"])
        frame.insert(0, "name", model.name)
        frame["at"] = pd.to_datetime(frame["at"], utc=True)
        frame["value"] = frame["value"].astype("float64")
        return frame

    # -- deleting and care ---------------------------------------------------------------------------

    def delete_version(
        self,
        name: str,
        version: str,
        *,
        allow_production: bool = False,
        purge: bool = False,
        reason: str = "",
        actor: str | None = None,
    ) -> int:
        """Delete a version. Its number is never used again, and its history stays.

        Until `collect_garbage` runs, `restore_version` brings it back.

        Parameters
        ----------
        name, version : str
        allow_production : bool
            The version in Production is only deleted with this.
        purge : bool
            Give its bytes back at once, where nothing else uses them; it cannot be restored then.

        Returns
        -------
        int
            Bytes given back (0 without `purge`).

        Raises
        ------
        StateError
            If it is in Production, or an alias names it.
        """
        why, who = check_text(reason, "reason"), self._who(actor)

        def delete(session: Session) -> list[str]:
            model = find_model(session, name, lock=True)
            row = find_version(session, model, version)
            if row.stage == ModelStage.PRODUCTION.value and not allow_production:
                raise StateError(
                    f"{model.name} {row.version} is in Production; promote another version first, "
                    "or delete it with allow_production=True"
                )
            aliases = session.scalars(sa.select(ModelAliasRow.alias).where(ModelAliasRow.version_id == row.id)).all()
            if aliases:
                raise StateError(
                    f"{model.name} {row.version} is named by {', '.join(map(repr, aliases))}; "
                    "move or delete the alias first"
                )
            before, row.stage = ModelStage(row.stage), ModelStage.ARCHIVED.value
            row.deleted_at, row.deleted_by = to_utc(), who
            add_event(session, row, kind="delete", before=before, after=ModelStage.ARCHIVED, actor=who, reason=why)
            return _purge(session, [row]) if purge else []

        freed = self._database.transact(delete)
        # A second transaction: a file may go only when the rows that named it are gone for good.
        return self._store.release(self._database, freed)

    def restore_version(self, name: str, version: str, *, reason: str = "", actor: str | None = None) -> ModelVersion:
        """Bring a deleted version back, archived.

        Raises
        ------
        StateError
            If it is not deleted, or its bytes were given back.
        """
        why, who = check_text(reason, "reason"), self._who(actor)

        def restore(session: Session) -> ModelVersion:
            model = find_model(session, name, lock=True)
            row = find_version(session, model, version, deleted=True)
            if row.deleted_at is None:
                raise StateError(f"{model.name} {row.version} is not deleted")
            if row.purged_at is not None:
                raise StateError(f"{model.name} {row.version} cannot be restored: its bytes were given back")
            row.deleted_at = row.deleted_by = None
            add_event(
                session,
                row,
                kind="restore",
                before=ModelStage.ARCHIVED,
                after=ModelStage.ARCHIVED,
                actor=who,
                reason=why,
            )
            return to_version(session, model.name, row)

        return self._database.transact(restore)

    def verify(self, *, progress: bool | Callable[[int, int], None] = False) -> list[VersionProblem]:
        """Read every stored file and return those that are missing or altered; an empty list is a healthy store.

        Parameters
        ----------
        progress : bool or callable
            True shows a progress bar; a callable is told (bytes done, bytes in all).

        Returns
        -------
        list of VersionProblem
            One for each version that needs a damaged file; with an empty name for files of tracked runs.
        """
        problems = {problem.sha256: problem for problem in self._store.verify(self._database, progress=progress)}
        if not problems:
            return []
        query = (
            sa.select(ModelFileRow.sha256, ModelRow.name, ModelVersionRow.version, ModelFileRow.path)
            .join(ModelVersionRow, ModelVersionRow.id == ModelFileRow.version_id)
            .join(ModelRow, ModelRow.id == ModelVersionRow.model_id)
            .order_by(ModelRow.name, ModelVersionRow.precedence, ModelFileRow.path)
        )
        users: list[tuple[str, str, str, str]] = []
        with self._database.read() as session:
            for names in in_parts(list(problems)):
                found = session.execute(query.where(ModelFileRow.sha256.in_(names)))
                users += [(sha256, name, version, path) for sha256, name, version, path in found]
        used = {sha256 for sha256, *_ in users}
        users += [(sha256, "", "", "") for sha256 in problems if sha256 not in used]
        return [
            VersionProblem(
                name=name,
                version=version,
                path=path,
                sha256=sha256,
                kind=problems[sha256].kind,
                message=f"{name} {version}: {path}: {problems[sha256].message}" if name else problems[sha256].message,
            )
            for sha256, name, version, path in users
        ]

    def collect_garbage(self, *, grace_seconds: float = 3600.0, dry_run: bool = False) -> GarbageReport:
        """Give back the bytes of deleted versions and of files that nothing names.

        Parameters
        ----------
        grace_seconds : float
            Files that nothing names stay while they are younger: their rows may be on the way.
        dry_run : bool
            Only report; the bytes of deleted versions are not counted then, as others may use them too.
        """

        def purge(session: Session) -> tuple[list[tuple[str, str]], list[str]]:
            rows = session.scalars(
                sa.select(ModelVersionRow)
                .where(ModelVersionRow.deleted_at.is_not(None), ModelVersionRow.purged_at.is_(None))
                .order_by(ModelVersionRow.id)
                .with_for_update()
            ).all()
            names = dict(session.execute(sa.select(ModelRow.id, ModelRow.name)).all()) if rows else {}
            versions = [(names[row.model_id], row.version) for row in rows]
            return versions, [] if dry_run else _purge(session, rows)

        purged, candidates = self._database.transact(purge)
        given_up = [] if dry_run else self._store.release_blobs(self._database, candidates)
        swept = self._store.sweep(self._database, grace_seconds=grace_seconds, dry_run=dry_run)
        return GarbageReport(
            dry_run=dry_run,
            purged=tuple(purged),
            removed=tuple(sorted({blob.sha256 for blob in given_up} | set(swept.removed))),
            n_temporary=swept.n_temporary,
            freed_bytes=sum(blob.size_bytes for blob in given_up) + swept.freed_bytes,
        )

    # -- export and import ---------------------------------------------------------------------------

    def export_version(self, name: str, version: str, path: str | os.PathLike[str]) -> Path:
        """Write a version (metadata, files, hashes) into one new file, equal byte by byte at every export.

        Raises
        ------
        FileExistsError
            If there is something at the path.
        ArtifactError
            If a file of the version is missing or altered.
        """
        with self._database.read() as session:
            model = find_model(session, name)
            row = find_version(session, model, version)
            card, found = row.card, to_version(session, model.name, row)
        return archive.write_archive(
            path, archive.to_manifest(found, card), lambda sha256, file: self._read(found, file, sha256)
        )

    def import_version(self, path: str | os.PathLike[str], *, name: str | None = None, actor: str | None = None) -> str:
        """Register the version that `export_version` wrote into a file; it arrives in Development.

        The file is checked whole before anything is stored: hashes, names, sizes. Nothing of it is loaded, and a pickle
        from it is only loaded with consent.

        Parameters
        ----------
        path : str or path
        name : str, optional
            Another name for the model.

        Raises
        ------
        ArtifactError
            If the file is damaged, or not such an export.
        DuplicateError
            If the version exists with other content.
        """
        with archive.open_archive(path) as opened:
            manifest = opened.manifest
            with self._database.read() as session:
                run_known = manifest["run_id"] is not None and session.scalar(
                    sa.select(RunRow.id).where(RunRow.uid == manifest["run_id"])
                )
            facts = self._facts(
                name=manifest["name"] if name is None else name,
                version=manifest["version"],
                bump=None,
                model_type=manifest["model_type"],
                performance_metrics=manifest["performance_metrics"],
                hyperparameters=manifest["hyperparameters"],
                stage=ModelStage.DEVELOPMENT,
                tags=manifest["tags"],
                description=manifest["description"],
                run_id=manifest["run_id"] if run_known else None,
                data_fingerprint=manifest["data_fingerprint"],
                owner=manifest["owner"],
                actor=actor,
                idempotency_key=None,
            )
            facts |= {key: manifest[key] for key in ("dependencies", "environment", "signature", "serializer", "card")}
            facts["origin"] = "import"

            def put(files: Files) -> None:
                for file in manifest["files"]:
                    with opened.open(file["path"]) as source:
                        blob = self._store.put_stream(source)
                    files.append((file["path"], blob))
                    if blob.sha256 != file["sha256"]:
                        raise ArtifactError(f"{path}: {file['path']} was altered; nothing was imported")

            return self._register(facts, put)


# -- private: arguments ------------------------------------------------------------------------------


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user entry
        return "unknown"


def _to_metrics(values: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(values, Mapping):
        raise InvalidTypeError(f"metrics must be a mapping of names to numbers, got {type(values).__name__}")
    return {
        check_key(key, "metric"): to_float(value, f"metric {shorten(key, 60)}", finite=False)
        for key, value in values.items()
    }


def _to_tags(values: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(values, Mapping):
        raise InvalidTypeError(f"tags must be a mapping of text to text, got {type(values).__name__}")
    return {
        check_key(key, "tag"): check_text(value, f"tag {shorten(key, 60)}", 10_000) for key, value in values.items()
    }


def _to_plain_json(values: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Return a mapping as it will come back from the database, or refuse it."""
    if not isinstance(values, Mapping):
        raise InvalidTypeError(f"{field} must be a mapping, got {type(values).__name__}")
    plain: dict[str, Any] = decode_json(encode_json(dict(values), field, HYPERPARAMETERS_MAX_BYTES))
    return plain


def _check_alias(alias: str) -> str:
    text = check_name(alias, "alias")
    if text.lower() in {stage.value.lower() for stage in ModelStage}:
        raise InvalidValueError(f"alias {text!r} is the name of a stage; choose another")
    try:
        metadata.check_version(text)
    except ValueError:
        return text
    raise InvalidValueError(f"alias {text!r} reads like a version number; choose another")


# -- private: registering ----------------------------------------------------------------------------


def _insert_all(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
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


def _is_same_registration(row: ModelVersionRow, version: str, sha256: str, facts: Mapping[str, Any]) -> bool:
    """Whether a registration is the one that made a row, sent again."""
    return (
        row.deleted_at is None
        and row.version == version
        and row.sha256 == sha256
        and row.model_type == facts["model_type"].value
        and encode_json(row.metrics) == encode_json(facts["metrics"])
        and encode_json(row.hyperparameters) == encode_json(facts["hyperparameters"])
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


def _purge(session: Session, rows: Sequence[ModelVersionRow]) -> list[str]:
    """Give up the files of deleted versions; return the hashes that may have become free."""
    now = to_utc()
    for row in rows:
        row.purged_at = now
    hashes: set[str] = set()
    for ids in in_parts([row.id for row in rows]):
        hashes.update(session.scalars(sa.select(ModelFileRow.sha256).where(ModelFileRow.version_id.in_(ids))))
        session.execute(sa.delete(ModelFileRow).where(ModelFileRow.version_id.in_(ids)))
    return sorted(hashes)
