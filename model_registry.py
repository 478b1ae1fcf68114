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

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts import ArtifactStore, check_artifact_path, check_grace
from db import Database
from registry_parts import environment, formats, history, labels, loading, queries, removal, search, stages
from registry_parts.gates import check_gates
from registry_parts.labels import UNCHANGED
from registry_parts.queries import PAGE_LIMIT, find_model, find_models, find_stored, paged, to_models
from registry_parts.records import (
    ALLOWED_TRANSITIONS,
    DependencyMismatchWarning,
    GarbageReport,
    ModelStage,
    ModelType,
    ModelVersion,
    RegisteredModel,
    StageEvent,
    VersionProblem,
)
from registry_parts.registration import (
    Files,
    Registration,
    check_facts,
    insert_version,
    to_metrics,
    to_plain_json,
    to_tags,
)
from registry_parts.signature import fingerprint_data, infer_signature
from registry_parts.versions import check_version
from values import InvalidTypeError, InvalidValueError, check_key, check_text, to_int, to_utc

if TYPE_CHECKING:
    import pandas as pd

    from registry_parts.comparison import ModelComparison
    from registry_parts.inspection import ArtifactInspection

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
    "fingerprint_data",
]


_WITH_THEIR_VERB = {  # results of one verb each, loaded when that verb, or somebody, asks for them
    "ArtifactInspection": "registry_parts.inspection",
    "ModelComparison": "registry_parts.comparison",
}


def __getattr__(name: str) -> Any:
    if name in _WITH_THEIR_VERB:
        return getattr(import_module(_WITH_THEIR_VERB[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
            See `fingerprint_data`.
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
        facts = check_facts(locals(), self._who(actor))  # the arguments by name: nothing else is bound yet
        formats.check_serializer(serializer)
        if serializer not in formats.FILE_NAMES:
            raise InvalidValueError(f"serializer {serializer!r} is for files and folders; use register_file()")
        if model is None:
            raise InvalidTypeError("model is None: pass the trained object (a training function may lack its return)")
        known, facts["environment"] = environment.capture(model)
        facts["dependencies"] = known | facts["dependencies"]
        facts["signature"] = None if input_example is None else infer_signature(model, input_example)

        def put(files: Files) -> None:
            with self._store.writer() as file:
                formats.dump_model(model, file, serializer)
            files.append((formats.FILE_NAMES[serializer], file.blob))

        return self._register(Registration(**facts, serializer=serializer, origin="object"), put)

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
        facts = check_facts(locals(), self._who(actor))
        source = Path(path)
        is_folder = os.path.isdir(source)  # unlike Path's, it has an answer for every path
        if serializer is None:
            serializer = "folder" if is_folder else formats.serializer_of_path(source.name)
        formats.check_serializer(serializer)
        if is_folder != (serializer == "folder"):
            raise InvalidValueError(
                f"{source} is {'a folder' if is_folder else 'no folder'}; serializer {serializer!r} is not"
            )
        stored_as = "" if is_folder else check_artifact_path(file_name or source.name, "file name")
        facts |= {"environment": environment.capture_environment(), "signature": None}

        def put(files: Files) -> None:
            if is_folder:
                files.extend(self._store.put_tree_stepwise(source))
            else:
                files.append((stored_as, self._store.put_file(source)))

        return self._register(Registration(**facts, serializer=serializer, origin="file"), put)

    def _who(self, actor: str | None) -> str:
        return self._actor if actor is None else check_text(actor, "actor", 255)

    def _register(self, facts: Registration, put: Callable[[Files], None]) -> str:
        """Write the files, then all rows of a version in one transaction. `put` adds each file as it is stored."""
        files: Files = []
        try:
            put(files)
            return self._database.transact(lambda session: insert_version(session, self._store, facts, files, put))
        except BaseException:
            with suppress(Exception):  # what matters is the first error; an orphan is swept later
                self._store.release(self._database, [blob.sha256 for _, blob in files])
            raise

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
            return queries.read_version(session, name, version, stage, alias)

    def find_version_by_id(self, model_id: str) -> ModelVersion | None:
        """Return the version with a public id, deleted ones included, or None."""
        wanted = check_text(model_id, "model_id", 255)
        with self._database.read() as session:
            return queries.read_version_by_id(session, wanted)

    def get_production(self, name: str) -> ModelVersion:
        """Return the version in Production.

        Raises
        ------
        NotFoundError
            If there is no such model, or none of its versions is in Production.
        """
        with self._database.read() as session:
            return queries.read_production(session, name)

    def get_model(self, name: str) -> RegisteredModel:
        """Return one registered model."""
        with self._database.read() as session:
            return to_models(session, [find_model(session, name)])[0]

    def list_models(self, *, limit: int | None = None, offset: int = 0) -> list[RegisteredModel]:
        """Return registered models, sorted by name (by code point)."""
        with self._database.read() as session:
            return queries.read_models(session, limit, offset)

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
        wanted = None if stage is None else ModelStage(stage)
        with self._database.read() as session:
            return queries.read_versions(
                session,
                name,
                wanted,
                include_deleted=include_deleted,
                descending=descending,
                limit=limit,
                offset=offset,
            )

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
        restorable: bool = False,
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
        include_deleted : bool
            Also what was deleted.
        restorable : bool
            Only what was deleted and `restore_version` can bring back.
        order_by : str
            "created_at", "deleted_at", "name", "version", "stage", "size_bytes", or "metrics.<metric>" (those
            without it last).
        descending : bool
        limit, offset : int
            A page; the number of all matches is in ``frame.attrs["total"]``.

        Returns
        -------
        DataFrame
            model_id, name, version, model_type, stage, aliases, owner, description, created_at, created_by, size_bytes,
            serializer, run_id, then ``metrics.<key>``, ``params.<key>`` and ``tags.<key>``.
        """
        query = search.matching(
            text, name, stage, model_type, tags, metrics, owner, run_id, include_deleted, restorable=restorable
        )
        page = paged(search.ordered(query, order_by, descending), to_int(limit, "limit", 0, PAGE_LIMIT), offset)
        with self._database.read() as session:
            records, total = search.read_page(session, page, query)
        return search.versions_to_frame(records, total)

    def compare_models(self, name: str, *versions: str) -> ModelComparison:
        """Compare versions of a model with the first one named.

        Raises
        ------
        ValueError
            If fewer than two are named, or one twice.
        NotFoundError
            If one does not exist.
        """
        from registry_parts.comparison import compare_versions

        with self._database.read() as session:
            records = queries.read_each(session, name, versions)
        return compare_versions(records)

    def stage_history(self, name: str, version: str | None = None) -> list[StageEvent]:
        """Return the audit trail of a model, or of one version of it, oldest first."""
        with self._database.read() as session:
            return history.find_events(session, find_model(session, name), version)

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
        # Not the whole record: loading a small model costs what reading it costs.
        with self._database.read() as session:
            found = find_stored(session, name, version, stage, alias)
        return loading.load_stored(
            self._store,
            found,
            allow_untrusted=allow_untrusted,
            trusted_types=trusted_types,
            check_dependencies=check_dependencies,
        )

    def inspect_artifact(
        self, name: str, version: str | None = None, *, alias: str | None = None
    ) -> ArtifactInspection:
        """Return what the files of a version would import when loaded. Nothing is imported or run.

        A list that looks harmless is no proof: see `registry_parts.inspection`.
        """
        from registry_parts.inspection import inspect_files

        with self._database.read() as session:
            found = queries.read_version(session, name, version, None, alias)
        # One file at a time: a folder may be larger than the memory.
        files = ((path, loading.read_file(self._store, found, path, sha256)) for path, sha256, _ in found.files)
        return inspect_files(found.name, found.version, found.serializer, found.origin, files)

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
            found = queries.read_version(session, name, version)
        return loading.copy_files(self._store, found, Path(folder))

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
        from_stage: ModelStage | str | None = None,
        displacing: str | None = None,
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
        from_stage : ModelStage or str, optional
            The stage in which the version was seen: if it is in another one by now, nothing happens.
        displacing : str, optional
            The version that was seen in Production, "" for none: if another one is there by now, nothing is promoted.

        Returns
        -------
        ModelVersion
            After the move.

        Raises
        ------
        NotFoundError
            If there is no such version, experiment or run.
        StateError
            If the move is not in `ALLOWED_TRANSITIONS`, a gate fails, Production is taken and may not be archived, or
            things are not as they were seen.
        """
        target = ModelStage(stage)
        seen = None if from_stage is None else ModelStage(from_stage)
        former = displacing if displacing is None or displacing == "" else check_version(displacing, "displacing")
        why = check_text(reason, "reason")
        who = self._who(actor)
        given = to_plain_json(evidence or {}, "evidence")
        if override and not why.strip():
            raise InvalidValueError("override needs a reason: say why the gates may be passed over")

        return self._database.transact(
            lambda session: stages.transition(
                session,
                name,
                version,
                target,
                actor=who,
                reason=why,
                evidence=given,
                archive_current=archive_current,
                override=override,
                from_stage=seen,
                displacing=former,
            )
        )

    def find_rollback_target(self, name: str) -> ModelVersion | None:
        """Return the version that `rollback` would bring back now, or None."""
        with self._database.read() as session:
            return stages.find_target(session, name)

    def rollback(
        self,
        name: str,
        *,
        reason: str = "",
        actor: str | None = None,
        from_version: str | None = None,
        to_version: str | None = None,
    ) -> ModelVersion:
        """Bring the previous Production version back; calling it again goes one further back.

        Gates are not asked: the version passed them, or was let through, when it was promoted.

        Parameters
        ----------
        name : str
        reason, actor : str, optional
            For the audit trail.
        from_version : str, optional
            The version that is to leave Production: if another one is there by now, nothing happens.
        to_version : str, optional
            The version that is to come back: if it would be another one by now, nothing happens.

        Returns
        -------
        ModelVersion
            The one that is in Production now.

        Raises
        ------
        StateError
            If there is no earlier Production version to return to, or the versions are not those that were named.
        """
        why, who = check_text(reason, "reason"), self._who(actor)
        leaving = None if from_version is None else check_version(from_version, "from_version")
        target = None if to_version is None else check_version(to_version, "to_version")
        return self._database.transact(
            lambda session: stages.roll_back(
                session, name, actor=who, reason=why, from_version=leaving, target_version=target
            )
        )

    def set_gates(self, name: str, gates: Mapping[str, Any] | None) -> dict[str, Any]:
        """Set what a version of a model must show before Production; None or {} removes all gates.

        Parameters
        ----------
        name : str
        gates : mapping or None
            ``{"metrics": {"auc": {"min": 0.9}}, "not_worse_than_production": {"auc": 0.01}, "experiment": True}``; see
            `registry_parts.gates.check_gates`.

        Returns
        -------
        dict
            The gates as stored.
        """
        checked = check_gates(gates or {})
        return self._database.transact(lambda session: stages.set_gates(session, name, checked))

    def check_promotion(
        self, name: str, version: str, *, evidence: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """Return what the gates say of a version now: {gate, passed, message} each. Nothing is changed."""
        given = to_plain_json(evidence or {}, "evidence")
        with self._database.read() as session:
            return stages.check_promotion(session, name, version, given)

    # -- aliases, tags, descriptions -----------------------------------------------------------------

    def set_alias(self, name: str, alias: str, version: str, *, actor: str | None = None) -> None:
        """Let an alias name a version; it leaves the version it named before.

        Raises
        ------
        ValueError
            If the alias reads like a version number or a stage.
        """
        text, who = labels.check_alias(alias), self._who(actor)
        self._database.transact(lambda session: labels.set_alias(session, name, text, version, actor=who))

    def delete_alias(self, name: str, alias: str) -> None:
        """Remove an alias. The version stays."""
        text = labels.check_alias(alias)
        self._database.transact(lambda session: labels.delete_alias(session, name, text))

    def set_tags(self, name: str, version: str, tags: Mapping[str, str | None]) -> dict[str, str]:
        """Set tags of a version; others stay, a value of None removes one. Returns all tags."""
        if not isinstance(tags, Mapping):
            raise InvalidTypeError(f"tags must be a mapping of text to text or None, got {type(tags).__name__}")
        removed = {check_key(key, "tag") for key, value in tags.items() if value is None}
        added = to_tags({key: value for key, value in tags.items() if value is not None})
        return self._database.transact(lambda session: labels.change_tags(session, name, version, added, removed))

    def update_version(
        self,
        name: str,
        version: str,
        *,
        description: str = UNCHANGED,
        owner: str | None = UNCHANGED,
        card: str | None = UNCHANGED,
    ) -> ModelVersion:
        """Change a version's description, owner or model card (Markdown; None is the template again)."""
        changes = labels.check_changes(description=description, owner=owner, card=card)
        return self._database.transact(lambda session: labels.change_version(session, name, version, changes))

    def update_model(
        self,
        name: str,
        *,
        description: str = UNCHANGED,
        owner: str | None = UNCHANGED,
        tags: Mapping[str, str] = UNCHANGED,
    ) -> RegisteredModel:
        """Change a model's description, owner, or (all of) its tags."""
        changes = labels.check_changes(description=description, owner=owner, tags=tags)
        return self._database.transact(lambda session: labels.change_model(session, name, changes))

    def model_card(self, name: str, version: str) -> str:
        """Return the model card in Markdown: as written, or the template filled from what is known."""
        with self._database.read() as session:
            return labels.fill_card(session, name, version)

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
        values = to_metrics(metrics)
        if not values:
            raise InvalidValueError("metrics is empty; give at least one value")
        when = to_utc(at)
        label = None if dataset is None else check_text(dataset, "dataset", 255)

        self._database.transact(
            lambda session: history.add_performance(session, name, version, values, when, label), durable=False
        )

    def performance_history(
        self,
        name: str | Sequence[str],
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
        name : str or sequence of str
            One model, or several of which no version is named.
        version, metric, dataset : str, optional
            None is all.
        start, end : datetime, optional
            From `start` up to, not including, `end`.
        """
        names = [name] if isinstance(name, str) else list(name)
        if version is not None and len(names) != 1:
            raise InvalidValueError(f"version {version!r} is of one model; {len(names)} are named")
        with self._database.read() as session:
            models = find_models(session, names)
            found = history.find_performance(session, models, version, metric, dataset, start, end)
        return history.performance_to_frame(found)

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
        freed = self._database.transact(
            lambda session: removal.delete(
                session, name, version, allow_production=allow_production, purge=purge, actor=who, reason=why
            )
        )
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
        return self._database.transact(lambda session: removal.restore(session, name, version, actor=who, reason=why))

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
        with self._database.read() as session:
            return removal.to_problems(problems, removal.find_users(session, list(problems)))

    def collect_garbage(self, *, grace_seconds: float = 3600.0, dry_run: bool = False) -> GarbageReport:
        """Give back the bytes of deleted versions and of files that nothing names.

        Parameters
        ----------
        grace_seconds : float
            Files that nothing names stay while they are younger: their rows may be on the way.
        dry_run : bool
            Only report; the bytes of deleted versions are not counted then, as others may use them too.
        """
        grace_seconds = check_grace(grace_seconds)  # before anything is given up
        purged, candidates = self._database.transact(lambda session: removal.purge_deleted(session, dry_run=dry_run))
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
        from registry_parts import archive

        with self._database.read() as session:
            found, card = labels.read_card(session, name, version)
        return archive.write_archive(path, found, card, self._store)

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
        from registry_parts import archive

        with archive.open_archive(path) as opened:
            with self._database.read() as session:
                run_id = queries.known_run(session, opened.manifest["run_id"])
            facts = archive.to_registration(opened.manifest, name=name, run_id=run_id, actor=self._who(actor))
            return self._register(facts, lambda files: opened.put_files(self._store, files))


# -- private: arguments ------------------------------------------------------------------------------


def _login_name() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user entry
        return "unknown"
