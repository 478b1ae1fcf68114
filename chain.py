"""What joins two of the four modules: a run's model becomes a version, versions meet in a test, the winner is promoted.

    >>> import tempfile
    >>> from experiment_tracking import ExperimentTracking
    >>> from model_registry import ModelRegistryManager
    >>> store = f"{tempfile.mkdtemp()}/modeldesk.db"
    >>> tracking, registry = ExperimentTracking(store), ModelRegistryManager(store)
    >>> run_id = tracking.start_run("training", "run-001", params={"lr": 0.1})
    >>> tracking.log_metrics(run_id, {"accuracy": 0.9})
    >>> _ = tracking.log_artifact(run_id, {"weights": [1, 2]}, name="model", kind="model")
    >>> version = register_run_model(tracking, registry, run_id, "churn", "1.0.0")
    >>> version.run_id == run_id, version.performance_metrics
    (True, {'accuracy': 0.9})
    >>> [link.label for link in links_of_run(Database.open(store), run_id)]
    ['churn 1.0.0']

The four modules do not know each other, so that each is useful alone; notebooks and the dashboard join them here.

Vocabulary: a *link* names something in another module that a thing is tied to: its kind, its id, and words for people.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db import (
    ABExperimentRow,
    Database,
    ModelRow,
    ModelTagRow,
    ModelVersionRow,
    MonitoredModelRow,
    NotFoundError,
    RunRow,
    StageEventRow,
    StateError,
    TrackingExperimentRow,
)
from errors import ModelDeskError
from lazy_dataclass import dataclass
from tracking_parts.mlflow_source import read_registered_versions

if TYPE_CHECKING:
    from ab_testing import ABTestingFramework
    from experiment_tracking import Artifact, ExperimentTracking, ImportReport
    from model_registry import ModelRegistryManager, ModelVersion

__all__ = [
    "Link",
    "VersionsImport",
    "create_test_between_versions",
    "deleted_experiment_names",
    "deleted_version_ids",
    "has_example_data",
    "import_mlflow_store",
    "import_mlflow_versions",
    "links_of_run",
    "links_of_test",
    "links_of_version",
    "links_of_watch",
    "model_types",
    "promote_winner",
    "register_run_model",
    "registrable_artifacts",
    "watch_id",
]

_TAB = {"run": "Tracking", "version": "Registry", "test": "A/B testing", "watch": "Monitoring"}
MAX_LINKS = 50  # of one kind; a version in more tests than this is looked up in the A/B tab


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Something that a thing is tied to.

    Attributes
    ----------
    kind : {"run", "version", "test", "watch"}
        "watch" is a version under monitoring.
    id : str
        Public id: run_id, model_id, exp_id, or `watch_id`.
    label : str
        What people call it, as they wrote it.
    relation : str
        How the two are tied: "trained by", "registered as", "baseline of", "treatment of", "promoted by", ...
    """

    kind: str
    id: str
    label: str
    relation: str

    @property
    def tab(self) -> str:
        """The tab of the dashboard that shows it."""
        return _TAB[self.kind]

    @property
    def url_name(self) -> str:
        """The name under which the dashboard's URL holds its id."""
        return self.kind

    def to_dict(self) -> dict[str, Any]:
        """Return the fields."""
        return {"kind": self.kind, "id": self.id, "label": self.label, "relation": self.relation}


def watch_id(name: str, version: str) -> str:
    """Return the id of a monitored version, `name:version`; a name never has a colon."""
    return f"{name}:{version}"


# -- runs and versions -------------------------------------------------------------------------------


def model_types() -> list[str]:
    """Return the types a model can have, the most common first."""
    from model_registry import ModelType

    return [kind.value for kind in ModelType]


def registrable_artifacts(tracking: ExperimentTracking, run_id: str) -> list[Artifact]:
    """Return the files of a run that can become a version; models first."""
    return sorted(tracking.list_artifacts(run_id), key=lambda artifact: (artifact.kind != "model", artifact.path))


def register_run_model(
    tracking: ExperimentTracking,
    registry: ModelRegistryManager,
    run_id: str,
    name: str,
    version: str | None = None,
    *,
    artifact: str | None = None,
    metrics: Sequence[str] | None = None,
    **options: Any,
) -> ModelVersion:
    """Register a run's model as a version that names the run.

    Parameters
    ----------
    tracking, registry
        On the same store.
    run_id : str
    name, version
        As for `ModelRegistryManager.register_model`.
    artifact : str or None
        Path of the run's file. None takes its only model.
    metrics : sequence of str or None
        Which metrics of the run to carry over, with their last values; None is all that are finite.
    **options
        More arguments of `register_model`: ``model_type``, ``stage``, ``tags``, ``actor``, ...

    Returns
    -------
    ModelVersion

    Raises
    ------
    NotFoundError
        If there is no such run or file.
    StateError
        If the run has no model, or several and none was named.

    Notes
    -----
    What was logged as a model is loaded, its hash checked first, and serialized anew with its dependencies.
    Any other file is stored as it is and never opened.
    """
    run = tracking.get_run(run_id)
    found = registrable_artifacts(tracking, run_id)
    if artifact is None:
        models = [candidate for candidate in found if candidate.kind == "model"]
        if len(models) != 1:
            raise StateError(
                f"run {run.name!r} has {len(models)} models; name the file to register with artifact=..., one of: "
                f"{', '.join(repr(candidate.path) for candidate in found[:10]) or 'none, as it has no file'}"
            )
        chosen = models[0]
    else:
        named = [candidate for candidate in found if candidate.path == artifact]
        if not named:
            raise NotFoundError(f"run {run.name!r} has no file {artifact!r}")
        chosen = named[0]
    kept = {
        key: value for key, value in run.metrics.items() if math.isfinite(value) and (metrics is None or key in metrics)
    }
    options = {"performance_metrics": kept, "hyperparameters": dict(run.params), "run_id": run_id} | options
    if chosen.kind == "model":
        model_id = registry.register_model(tracking.load_artifact(run_id, chosen.path), name, version, **options)
    else:
        with tempfile.TemporaryDirectory(prefix="modeldesk-") as folder:
            path = tracking.download_artifact(run_id, chosen.path, Path(folder) / Path(chosen.path).name)
            model_id = registry.register_file(path, name, version, **options)
    made = registry.find_version_by_id(model_id)
    if made is None:
        raise NotFoundError(f"version {model_id!r} of {name!r} was deleted while it was registered")
    return made


def import_mlflow_store(tracking: ExperimentTracking, source: str) -> ImportReport:
    """Bring the runs of an MLflow store over, each once; see `ExperimentTracking.import_mlflow`."""
    try:
        return tracking.import_mlflow(source)
    except FileNotFoundError as error:
        raise NotFoundError(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsImport:
    """What `import_mlflow_versions` did.

    Attributes
    ----------
    model_ids
        Our id by MLflow's name and version, of every version that is now stored, new or not.
    n_found, n_new, n_known
        `n_known` were here from an earlier import and were left as they are.
    problems
        One sentence for each version that was not imported, and why.
    """

    model_ids: dict[tuple[str, int], str]
    n_found: int
    n_new: int
    n_known: int
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-safe values."""
        return {
            "model_ids": {f"{name} {version}": model_id for (name, version), model_id in self.model_ids.items()},
            "n_found": self.n_found,
            "n_new": self.n_new,
            "n_known": self.n_known,
            "problems": list(self.problems),
        }


_MLFLOW_STAGES = {"Staging": "Staging", "Production": "Production", "Archived": "Archived"}  # "None" is Development


def import_mlflow_versions(
    registry: ModelRegistryManager, source: str, runs: ImportReport | None = None, *, actor: str | None = None
) -> VersionsImport:
    """Bring the registered versions of an MLflow store over, each once, as files: none of them is opened.

    Parameters
    ----------
    registry : ModelRegistryManager
    source : str
        As for `ExperimentTracking.import_mlflow`.
    runs : ImportReport or None
        What importing the runs of the same store gave: each version then names the run that made it.
    actor : str or None

    Notes
    -----
    MLflow's version 3 becomes 3.0.0, and its stages keep their names ("None" becomes Development). Of several versions
    in Production the latest stays there, as only one may.
    """
    found = read_registered_versions(source)
    known_runs = {} if runs is None else runs.run_ids
    model_ids: dict[tuple[str, int], str] = {}
    problems: list[str] = []
    n_new = n_known = 0
    for item in found:
        said = f"version {item.version} of {item.name!r}"
        name = item.name.replace("/", "-").replace("\\", "-").replace(":", "-")
        version = f"{item.version}.0.0"
        if item.folder is None:
            problems.append(f"{said} was left out: its files are not below the store")
            continue
        try:
            known = registry.get_version(name, version)
        except NotFoundError:
            known = None
        if known is not None and known.tags.get("mlflow_version") == str(item.version):
            model_ids[item.name, item.version] = known.model_id
            n_known += 1
            continue
        try:
            model_ids[item.name, item.version] = registry.register_file(
                item.folder,
                name,
                version,
                stage=_MLFLOW_STAGES.get(item.stage, "Development"),
                description=item.description or "",
                tags={"mlflow_version": str(item.version)},
                run_id=known_runs.get(item.run_id or ""),
                actor=actor,
            )
            n_new += 1
        except (ModelDeskError, ValueError) as error:
            problems.append(f"{said} was left out: {error}")
    return VersionsImport(
        model_ids=model_ids, n_found=len(found), n_new=n_new, n_known=n_known, problems=tuple(problems)
    )


# -- versions and tests ------------------------------------------------------------------------------


def create_test_between_versions(
    testing: ABTestingFramework,
    registry: ModelRegistryManager,
    name: str,
    baseline: tuple[str, str],
    treatment: tuple[str, str],
    **config: Any,
) -> str:
    """Create an A/B test between two registered versions, tied to both; return its id.

    Parameters
    ----------
    baseline, treatment : (model name, version)
    **config
        More fields of `ExperimentConfig`: ``metric_name``, ``metric_type``, ``traffic_split``, ...

    Raises
    ------
    NotFoundError
        If a version does not exist or was deleted.
    ValueError
        If both are the same version.
    """
    from ab_testing import ExperimentConfig

    versions = [registry.get_version(*named) for named in (baseline, treatment)]
    if versions[0].model_id == versions[1].model_id:
        raise ValueError(f"a test compares two different versions, got {versions[0]} twice")
    return testing.create_experiment(
        ExperimentConfig(
            name=name,
            baseline_model=str(versions[0]),
            treatment_model=str(versions[1]),
            baseline_version_id=versions[0].model_id,
            treatment_version_id=versions[1].model_id,
            **config,
        )
    )


def promote_winner(
    testing: ABTestingFramework,
    registry: ModelRegistryManager,
    exp_id: str,
    *,
    actor: str | None = None,
    reason: str | None = None,
    displacing: str | None = None,
) -> ModelVersion:
    """Move the winner of a concluded test to Production; the audit trail names the test and its numbers.

    `displacing` is the version that was seen in Production, "" for none.

    Raises
    ------
    StateError
        If the test is not concluded, was not decided for a variant, or is not between registered versions; if a gate
        of the model refuses the version; or if another version than the one that was seen is in Production by now.
    """
    experiment = testing.get_experiment(exp_id)
    if experiment.decision is None:
        raise StateError(f"test {experiment.name!r} is {experiment.status}; conclude it before its winner is promoted")
    winner = winner_of(experiment.decision)
    if winner is None:
        raise StateError(f"test {experiment.name!r} was decided {experiment.decision!r}: there is nobody to promote")
    version_id = experiment.treatment_version_id if winner == "treatment" else experiment.baseline_version_id
    version = None if version_id is None else registry.find_version_by_id(version_id)
    if version is None:
        raise StateError(f"the {winner} of test {experiment.name!r} is no registered version; promote by hand")
    analysis = testing.analyze_experiment(exp_id)
    evidence = {
        "experiment_id": exp_id,
        "experiment_name": experiment.name,
        "decision": experiment.decision,
        "effect": analysis.effect,
        "ci_lower": analysis.ci_lower,
        "ci_upper": analysis.ci_upper,
        "p_value": analysis.p_value,
        "n_subjects": dict(analysis.n_subjects),
    }
    return registry.transition_stage(
        version.name,
        version.version,
        "Production",
        reason=reason or f"won the A/B test {experiment.name}",
        actor=actor,
        evidence=evidence,
        displacing=displacing,
    )


def winner_of(decision: str | None) -> str | None:
    """Return the variant that a decision is for: "treatment", "baseline", or None.

    >>> winner_of("ship"), winner_of("keep_baseline"), winner_of("inconclusive")
    ('treatment', 'baseline', None)
    """
    if decision is None:
        return None
    return "treatment" if decision.startswith("ship") else "baseline" if decision == "keep_baseline" else None


def deleted_version_ids(database: Database, *, limit: int = 500) -> list[str]:
    """Return the ids of deleted versions that can still be restored, the last deleted first."""
    with database.read() as session:
        rows = (
            session.query(ModelVersionRow.uid)
            .filter(ModelVersionRow.deleted_at.is_not(None), ModelVersionRow.purged_at.is_(None))
            .order_by(ModelVersionRow.deleted_at.desc())
            .limit(limit)
        )
        return [uid for (uid,) in rows]


def deleted_experiment_names(database: Database, *, limit: int = 500) -> list[str]:
    """Return the names of deleted tracking experiments that can still be restored, the last deleted first."""
    with database.read() as session:
        rows = (
            session.query(TrackingExperimentRow.name)
            .filter(TrackingExperimentRow.deleted_at.is_not(None))
            .order_by(TrackingExperimentRow.deleted_at.desc())
            .limit(limit)
        )
        return list(dict.fromkeys(name for (name,) in rows))


def has_example_data(database: Database) -> bool:
    """Return whether the example data is loaded: a version that it registered is there."""
    with database.read() as session:
        found = (
            session.query(ModelTagRow.version_id)
            .join(ModelVersionRow, ModelVersionRow.id == ModelTagRow.version_id)
            .filter(ModelTagRow.key == "example", ModelTagRow.value == "true", ModelVersionRow.deleted_at.is_(None))
            .first()
        )
        return found is not None


# -- what is tied to what ----------------------------------------------------------------------------


def links_of_version(database: Database, model_id: str) -> list[Link]:
    """Return what a version is tied to: its run, its tests, the test that promoted it, its monitoring."""
    with database.read() as session:
        version = session.query(ModelVersionRow).filter(ModelVersionRow.uid == model_id).one_or_none()
        if version is None:
            raise NotFoundError(f"no version has the id {model_id!r}")
        model = session.get_one(ModelRow, version.model_id)
        links = []
        run = None if version.run_id is None else session.get(RunRow, version.run_id)
        if run is not None:
            links.append(Link(kind="run", id=run.uid, label=run.name, relation="trained by"))
        promotions = (
            session.query(StageEventRow)
            .filter(StageEventRow.version_id == version.id, StageEventRow.to_stage == "Production")
            .order_by(StageEventRow.id.desc())
            .limit(MAX_LINKS)
        )
        promoted_by = {str(e.evidence["experiment_id"]) for e in promotions if e.evidence.get("experiment_id")}
        tests = (
            session.query(ABExperimentRow)
            .filter(
                (ABExperimentRow.baseline_version_id == version.id)
                | (ABExperimentRow.treatment_version_id == version.id)
                | ABExperimentRow.uid.in_(promoted_by)
            )
            .order_by(ABExperimentRow.id.desc())
            .limit(MAX_LINKS)
        )  # fmt: skip
        for test in tests:
            side = "baseline of" if test.baseline_version_id == version.id else "treatment of"
            relation = "promoted by" if test.uid in promoted_by else side
            links.append(Link(kind="test", id=test.uid, label=test.name, relation=relation))
        watched = (
            session.query(MonitoredModelRow)
            .filter(MonitoredModelRow.name == model.name, MonitoredModelRow.version == version.version)
            .first()
        )
        if watched is not None:
            label = f"{model.name} {version.version}"
            links.append(
                Link(kind="watch", id=watch_id(model.name, version.version), label=label, relation="watched as")
            )
    return links


def links_of_run(database: Database, run_id: str) -> list[Link]:
    """Return the versions registered from a run, the latest first."""
    with database.read() as session:
        rows = (
            session.query(ModelVersionRow.uid, ModelRow.name, ModelVersionRow.version)
            .join(ModelRow, ModelRow.id == ModelVersionRow.model_id)
            .join(RunRow, RunRow.id == ModelVersionRow.run_id)
            .filter(RunRow.uid == run_id, ModelVersionRow.deleted_at.is_(None))
            .order_by(ModelVersionRow.id.desc())
            .limit(MAX_LINKS)
        )
        return [
            Link(kind="version", id=uid, label=f"{name} {version}", relation="registered as")
            for uid, name, version in rows
        ]


def links_of_test(database: Database, exp_id: str) -> list[Link]:
    """Return the versions that a test compares, baseline first."""
    with database.read() as session:
        test = session.query(ABExperimentRow).filter(ABExperimentRow.uid == exp_id).one_or_none()
        if test is None:
            raise NotFoundError(f"no test has the id {exp_id!r}")
        links = []
        for relation, version_id in (("baseline", test.baseline_version_id), ("treatment", test.treatment_version_id)):
            version = None if version_id is None else session.get(ModelVersionRow, version_id)
            if version is not None:
                model = session.get_one(ModelRow, version.model_id)
                label = f"{model.name} {version.version}"
                links.append(Link(kind="version", id=version.uid, label=label, relation=relation))
        return links


def links_of_watch(database: Database, name: str, version: str) -> list[Link]:
    """Return the registered version that is monitored under a name and version, if there is one."""
    with database.read() as session:
        found = (
            session.query(ModelVersionRow.uid)
            .join(ModelRow, ModelRow.id == ModelVersionRow.model_id)
            .filter(ModelRow.name == name, ModelVersionRow.version == version)
            .first()
        )
        if found is None:
            return []
        return [Link(kind="version", id=found[0], label=f"{name} {version}", relation="is")]
