"""One story on real data, told by the script, by the notebook and by the dashboard's "Load example data".

A post office reads handwritten digits (scikit-learn's bundled copy of the UCI set: 1,797 scans of 8 x 8 pixels).
Two kinds of classifier are trained in several configurations, every run is logged with its learning curve, the best of
each kind becomes a version, an A/B test on scans that neither has seen decides which one is promoted, and monitoring
watches the winner until the scanner slips by one pixel.

Nothing is made up: every number comes from a model that was fitted and a scan that was read. Only the dates on which
the scans came in are chosen, so that the story ends today.

    >>> from db import Database
    >>> story = load_example_data(Database("sqlite://"))
    >>> story.decision, story.production
    ('ship', '1.1.0')

Each step is a function over one of the four managers, and knows nothing of the other three. Everything it stores is
tagged `example`; `remove_example_data` takes it away again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ab_testing import ABTestingFramework, ExperimentAnalysis, ExperimentConfig, MetricType
from db import Database, DuplicateError, NotFoundError
from experiment_tracking import ExperimentTracking
from model_monitoring import ModelMonitoring
from model_registry import ModelRegistryManager, ModelStage, ModelType

if TYPE_CHECKING:
    import pandas as pd

    from model_registry import ModelVersion

__all__ = [
    "MODEL",
    "Candidate",
    "Scans",
    "Story",
    "describe_scans",
    "load_example_data",
    "load_scans",
    "promote_by_decision",
    "register_candidate",
    "remove_example_data",
    "run_ab_test",
    "tell",
    "train_candidates",
    "watch_in_production",
]

MODEL = "digit-reader"
EXAMPLE_TAG = "example"
STORY_FILE = "story.json"  # on the winner's run: what happened, and the sign that the story was told to its end
SEED = 7
TRAINING_ROWS, VALIDATION_ROWS = 400, 250  # of 1,797; the rest is what people send in
STEPS = 15  # passes of a network over its data; fifteenths of the data for naive Bayes
SCANS_A_DAY = 160
GOOD_DAYS, SHIFTED_DAYS = 35, 4
UNCHECKED_DAYS = 2  # what was read on the last days nobody has checked yet
TEST_DAYS = 14
FEATURES = ("ink", "left_ink", "top_ink", "width", "contrast", "darkest_quarter")
QUARTERS = ("top left", "top right", "bottom left", "bottom right")

Say = Callable[[str], None]


# -- the data ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scans:
    """Scans and what they show.

    Attributes
    ----------
    pixels : array of shape (n_scans, 64)
        Darkness of each pixel, in [0, 1].
    digits : array of shape (n_scans,)
        What was written, 0 to 9.
    """

    pixels: npt.NDArray[np.float64]
    digits: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.digits)

    def take(self, rows: slice | npt.NDArray[np.int64]) -> Scans:
        """Return some of the scans."""
        return Scans(pixels=self.pixels[rows], digits=self.digits[rows])

    def slipped(self) -> Scans:
        """Return the scans as a scanner that slipped delivers them: one pixel to the right, and paler."""
        images = np.roll(self.pixels.reshape(-1, 8, 8), 1, axis=2)
        images[:, :, 0] = 0.0
        return Scans(pixels=(images * 0.8).reshape(-1, 64), digits=self.digits)


def load_scans() -> tuple[Scans, Scans, Scans]:
    """Return the scans for training, for validation, and held out; always the same ones."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(digits))
    scans = Scans(pixels=pixels[order] / 16.0, digits=digits[order])
    seen = TRAINING_ROWS + VALIDATION_ROWS
    return scans.take(slice(TRAINING_ROWS)), scans.take(slice(TRAINING_ROWS, seen)), scans.take(slice(seen, None))


def describe_scans(scans: Scans) -> pd.DataFrame:
    """Return what monitoring watches of each scan: how much ink there is, where, and how contrasting."""
    import pandas as pd

    images = scans.pixels.reshape(-1, 8, 8)
    ink = images.sum(axis=(1, 2))
    inked = images > 0.2
    quarters = images.reshape(-1, 2, 4, 2, 4).sum(axis=(2, 4)).reshape(-1, 4)
    return pd.DataFrame(
        {
            "ink": ink,
            "left_ink": images[:, :, :4].sum(axis=(1, 2)) / ink,
            "top_ink": images[:, :4, :].sum(axis=(1, 2)) / ink,
            "width": inked.any(axis=1).sum(axis=1),
            "contrast": images.max(axis=(1, 2)) - images.mean(axis=(1, 2)),
            "darkest_quarter": np.array(QUARTERS)[quarters.argmax(axis=1)],
        }
    )


# -- training and tracking ---------------------------------------------------------------------------

CONFIGURATIONS: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("naive-bayes-1", "naive Bayes", {"var_smoothing": 1e-9}),
    ("naive-bayes-2", "naive Bayes", {"var_smoothing": 1e-6}),
    ("naive-bayes-3", "naive Bayes", {"var_smoothing": 1e-3}),
    ("network-1", "network", {"hidden_units": 16, "learning_rate": 0.01}),
    ("network-2", "network", {"hidden_units": 64, "learning_rate": 0.001}),
    ("network-3", "network", {"hidden_units": 64, "learning_rate": 0.01}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A fitted model and the run that made it.

    Attributes
    ----------
    run_id : str
        Where its learning curve is.
    kind : str
        "naive Bayes" or "network".
    model : object
        The fitted scikit-learn classifier.
    params : dict
        What it was made with.
    accuracy : float
        Share of the validation scans that it reads right.
    log_loss : float
        Mean negative log of the chance it gave to what was written, on the validation scans.
    """

    run_id: str
    kind: str
    model: Any
    params: dict[str, float]
    accuracy: float
    log_loss: float


def _make_model(kind: str, params: dict[str, float]) -> Any:
    if kind == "naive Bayes":
        from sklearn.naive_bayes import GaussianNB

        return GaussianNB(var_smoothing=params["var_smoothing"])
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        (int(params["hidden_units"]),), learning_rate_init=params["learning_rate"], batch_size=32, random_state=SEED
    )


def _accuracy(model: Any, scans: Scans) -> float:
    return float(np.mean(model.predict(scans.pixels) == scans.digits))


def _log_loss(model: Any, scans: Scans) -> float:
    chances = model.predict_proba(scans.pixels)[np.arange(len(scans)), scans.digits]
    return float(-np.mean(np.log(np.clip(chances, 1e-12, 1.0))))


def train_candidates(
    tracking: ExperimentTracking, training: Scans, validation: Scans, *, say: Say = print
) -> list[Candidate]:
    """Fit every configuration step by step, and log after each step how well it reads.

    Parameters
    ----------
    tracking : ExperimentTracking
    training, validation : Scans
    say : callable
        Told one sentence a run.

    Returns
    -------
    list of Candidate
        In the order of training.
    """
    candidates = []
    for name, kind, params in CONFIGURATIONS:
        model = _make_model(kind, params)
        run_id = tracking.start_run(MODEL, name, params={"kind": kind, **params}, tags={EXAMPLE_TAG: "true"})
        shares = np.array_split(np.arange(len(training)), STEPS)
        for step in range(STEPS):
            batch = training.take(shares[step]) if kind == "naive Bayes" else training
            model.partial_fit(batch.pixels, batch.digits, classes=np.arange(10))
            metrics = {
                "accuracy": _accuracy(model, validation),
                "training_accuracy": _accuracy(model, training),
                "log_loss": _log_loss(model, validation),
            }
            tracking.log_metrics(run_id, metrics, step=step)
        tracking.log_artifact(run_id, model, name="model", kind="model")
        tracking.end_run(run_id)
        candidate = Candidate(
            run_id=run_id,
            kind=kind,
            model=model,
            params=params,
            accuracy=metrics["accuracy"],
            log_loss=metrics["log_loss"],
        )
        candidates.append(candidate)
        say(f"run {name}: {candidate.accuracy:.1%} of {len(validation)} validation scans read right")
    return candidates


def best_of_kind(candidates: Sequence[Candidate], kind: str) -> Candidate:
    """Return the candidate of that kind with the highest accuracy."""
    return max((candidate for candidate in candidates if candidate.kind == kind), key=lambda found: found.accuracy)


# -- the registry ------------------------------------------------------------------------------------


def register_candidate(
    registry: ModelRegistryManager,
    candidate: Candidate,
    version: str,
    stage: ModelStage,
    *,
    input_example: npt.NDArray[np.float64],
    say: Say = print,
) -> str:
    """Register a candidate as a version that names its run; return the version's id."""
    model_id = registry.register_model(
        candidate.model,
        MODEL,
        version,
        model_type=ModelType.CLASSIFIER,
        performance_metrics={"accuracy": candidate.accuracy, "log_loss": candidate.log_loss},
        hyperparameters={"kind": candidate.kind, **candidate.params},
        stage=stage,
        run_id=candidate.run_id,
        tags={EXAMPLE_TAG: "true"},
        description=f"Reads handwritten digits; {candidate.kind}, fitted on {TRAINING_ROWS} scans.",
        input_example=input_example,
    )
    say(f"{MODEL} {version} ({candidate.kind}, {candidate.accuracy:.1%}) is registered in {stage.value}")
    return model_id


def promote_by_decision(
    registry: ModelRegistryManager, analysis: ExperimentAnalysis, exp_id: str, version: str, *, say: Say = print
) -> str:
    """Promote `version` if the test says so, with the test as the evidence; return what is in Production then."""
    if analysis.decision == "ship":
        registry.transition_stage(
            MODEL,
            version,
            ModelStage.PRODUCTION,
            reason="it reads more scans right than the version in Production",
            evidence={"experiment_id": exp_id, "p_value": analysis.p_value, "effect": analysis.effect},
        )
    production = registry.get_production(MODEL).version
    say(f"{MODEL} {production} is in Production")
    return production


# -- the A/B test ------------------------------------------------------------------------------------


def run_ab_test(
    ab: ABTestingFramework,
    baseline: Candidate,
    treatment: Candidate,
    held_out: Scans,
    *,
    versions: tuple[str, str],
    version_ids: tuple[str, str],
    began: datetime,
    say: Say = print,
) -> tuple[str, ExperimentAnalysis]:
    """Let each held-out scan be one user: it is read by the version it was assigned to, rightly or not.

    Parameters
    ----------
    ab : ABTestingFramework
    baseline, treatment : Candidate
    held_out : Scans
    versions, version_ids : tuple of str
        Of the baseline and of the treatment.
    began : datetime
        When the first scan came in; the last comes two weeks later.
    say : callable
        Told the recommendation.

    Returns
    -------
    exp_id : str
    analysis : ExperimentAnalysis
    """
    import pandas as pd

    exp_id = ab.create_experiment(
        ExperimentConfig(
            name=f"{MODEL} {versions[0]} against {versions[1]}",
            metric_name="read_right",
            metric_type=MetricType.BINARY,
            baseline_model=f"{MODEL} {versions[0]}",
            treatment_model=f"{MODEL} {versions[1]}",
            traffic_split=0.5,
            min_sample_size=400,
            significance_level=0.05,
            baseline_version_id=version_ids[0],
            treatment_version_id=version_ids[1],
            hypothesis="a network reads more scans right than naive Bayes does",
            salt=MODEL,  # the same scans meet the same version wherever the story is told
        )
    )
    users = [f"scan-{number:04d}" for number in range(len(held_out))]
    variants = np.asarray(ab.assign_many(exp_id, users))
    reads_right = np.where(
        variants == "treatment",
        treatment.model.predict(held_out.pixels) == held_out.digits,
        baseline.model.predict(held_out.pixels) == held_out.digits,
    )
    pause = timedelta(days=TEST_DAYS) / len(users)
    events = pd.DataFrame(
        {
            "user_id": users,
            "value": reads_right.astype(np.int64),
            "at": [began + pause * number for number in range(len(users))],
            "event_id": users,
        }
    )
    ab.record_events(exp_id, events)
    analysis = ab.analyze_experiment(exp_id)
    say(f"A/B test on {len(users):,} scans: {analysis.recommendation}")
    return exp_id, analysis


# -- monitoring --------------------------------------------------------------------------------------


def watch_in_production(
    monitoring: ModelMonitoring,
    model: Any,
    version: str,
    held_out: Scans,
    *,
    began: datetime,
    say: Say = print,
) -> tuple[list[str], list[str]]:
    """Feed monitoring with one batch of scans a day; on the last days the scanner has slipped.

    Parameters
    ----------
    monitoring : ModelMonitoring
    model : object
        The classifier in Production.
    version : str
        Its version.
    held_out : Scans
        What each day's batch is drawn from.
    began : datetime
        The first day.
    say : callable
        Told what was found.

    Returns
    -------
    alarms : list of str
        Days of the last week on which accuracy left its control limits.
    drifted : list of str
        Features whose distribution changed in the last days.

    Notes
    -----
    People check what was read some days later: the predictions of the last `UNCHECKED_DAYS` have no labels yet.
    """
    draw = np.random.default_rng(SEED)
    monitoring.set_reference(MODEL, version, describe_scans(held_out))
    rows = []
    for day in range(GOOD_DAYS + SHIFTED_DAYS):
        batch = held_out.take(draw.integers(0, len(held_out), SCANS_A_DAY))
        if day >= GOOD_DAYS:
            batch = batch.slipped()
        at = began + timedelta(days=day)
        monitoring.log_features(MODEL, version, describe_scans(batch), at=at)
        chances = model.predict_proba(batch.pixels)
        checked = day < GOOD_DAYS + SHIFTED_DAYS - UNCHECKED_DAYS
        monitoring.log_predictions(
            MODEL,
            version,
            model.classes_[chances.argmax(axis=1)],
            probabilities=chances.max(axis=1),
            labels=batch.digits if checked else None,
            prediction_ids=[f"{at:%Y-%m-%d}-{number}" for number in range(len(batch))],
            at=at,
        )
        rows.append(
            {
                "name": MODEL,
                "version": version,
                "metric": "accuracy",
                "value": _accuracy(model, batch),
                "prediction_count": len(batch),
                "at": at,
            }
        )
    monitoring.log_performances(rows)
    drift = monitoring.detect_performance_drift(MODEL, version, "accuracy", lookback_days=7)
    alarms = sorted({f"{violation.at:%Y-%m-%d}" for violation in drift.violations})
    end = began + timedelta(days=GOOD_DAYS + SHIFTED_DAYS)
    found = monitoring.detect_feature_drift(MODEL, version, start=began + timedelta(days=GOOD_DAYS), end=end)
    drifted = [name for name, feature in found.features.items() if feature.drifted]
    monitoring.add_alert_rule(MODEL, version, "control_chart", "accuracy", severity="critical")
    monitoring.add_alert_rule(MODEL, version, "feature_drift")
    alerts = monitoring.evaluate_alerts(MODEL, version, now=at + timedelta(hours=1))
    say(f"{len(rows)} days were watched; accuracy raised an alarm on {len(alarms)} of the last 7: {', '.join(alarms)}")
    say(f"{len(drifted)} of {len(FEATURES)} features drifted: {', '.join(drifted) or 'none'}")
    say(f"{len(alerts)} alerts are open: {'; '.join(alert.message for alert in alerts)}")
    return alarms, drifted


# -- the story ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What happened, with the ids under which it can be looked up.

    Attributes
    ----------
    run_ids : list of str
        All runs, in the order of training.
    versions : tuple of str
        The baseline's version and the treatment's.
    exp_id : str
        The A/B test.
    decision : str
        What the A/B test decided.
    production : str
        The version in Production at the end.
    alarms : list of str
        The days on which accuracy left its control limits.
    drifted : list of str
        The features that drifted in the last days.
    """

    run_ids: list[str]
    versions: tuple[str, str]
    exp_id: str
    decision: str
    production: str
    alarms: list[str]
    drifted: list[str]


def tell(database: Database, say: Say = print, *, now: datetime | None = None) -> Story:
    """Do everything once and return what happened.

    Parameters
    ----------
    database : Database
        A store in which the example is not.
    say : callable
        Told one sentence for each thing that happened.
    now : datetime or None
        When the story ends; None is now.
    """
    launch = (now or datetime.now(UTC)) - timedelta(days=GOOD_DAYS + SHIFTED_DAYS - 1, hours=1)
    training, validation, held_out = load_scans()
    tracking, registry, ab = ExperimentTracking(database), ModelRegistryManager(database), ABTestingFramework(database)

    # In this story networks stop after 15 passes, long before they converge: that is what their curves show.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")
        candidates = train_candidates(tracking, training, validation, say=say)
    baseline, treatment = best_of_kind(candidates, "naive Bayes"), best_of_kind(candidates, "network")

    versions = _free_versions(registry)
    version_ids = (
        register_candidate(
            registry, baseline, versions[0], ModelStage.PRODUCTION, input_example=training.pixels[:5], say=say
        ),
        register_candidate(
            registry, treatment, versions[1], ModelStage.STAGING, input_example=training.pixels[:5], say=say
        ),
    )
    exp_id, analysis = run_ab_test(
        ab,
        baseline,
        treatment,
        held_out,
        versions=versions,
        version_ids=version_ids,
        began=launch - timedelta(days=TEST_DAYS),
        say=say,
    )
    ab.conclude(exp_id)
    production = promote_by_decision(registry, analysis, exp_id, versions[1], say=say)
    winner = treatment if production == versions[1] else baseline
    alarms, drifted = watch_in_production(
        ModelMonitoring(database), winner.model, production, held_out, began=launch, say=say
    )
    told = Story(
        run_ids=[candidate.run_id for candidate in candidates],
        versions=versions,
        exp_id=exp_id,
        decision=analysis.decision,
        production=production,
        alarms=alarms,
        drifted=drifted,
    )
    tracking.log_artifact(winner.run_id, asdict(told), name=STORY_FILE)
    return told


# -- example data ------------------------------------------------------------------------------------


def load_example_data(database: Database, say: Say = lambda _sentence: None) -> Story:
    """Tell the story once in a store; when it was told there before, return what happened then.

    What an interrupted telling left is removed first.

    Raises
    ------
    DuplicateError
        If there is a model of the story's name that is not the example's.
    """
    tracking, registry = ExperimentTracking(database), ModelRegistryManager(database)
    for run_id in _example_runs(tracking):
        if any(artifact.path == STORY_FILE for artifact in tracking.list_artifacts(run_id)):
            found = tracking.load_artifact(run_id, STORY_FILE)
            return Story(**{**found, "versions": tuple(found["versions"])})
    if any(not _is_example(version) for version in _all_versions(registry)):
        raise DuplicateError(
            f"there is a model named {MODEL!r} that is not the example's; look at the example in a store of its own"
        )
    remove_example_data(database)
    return tell(database, say)


def remove_example_data(database: Database) -> None:
    """Take away everything that `load_example_data` stored, and nothing else.

    The numbers of the versions stay taken, as those of all deleted versions do: the next telling uses the next ones.
    """
    registry, ab = ModelRegistryManager(database), ABTestingFramework(database)
    tracking = ExperimentTracking(database)
    versions = [version for version in _all_versions(registry) if _is_example(version)]
    for version in versions:
        for status in (None, "archived"):
            for experiment in ab.list_experiments(status=status, model_version_id=version.model_id):
                _delete(database, "DELETE FROM ab_experiments WHERE uid = ?", experiment.exp_id)
        _delete(database, "DELETE FROM monitored_models WHERE name = ? AND version = ?", MODEL, version.version)
        if version.deleted_at is None:
            registry.delete_version(MODEL, version.version, allow_production=True, purge=True, reason="example removed")
    runs = _example_runs(tracking)
    for run_id in runs:
        tracking.delete_run(run_id, permanently=True)
    if runs and tracking.count_runs(experiment=MODEL) == 0:
        tracking.delete_experiment(MODEL)


def _delete(database: Database, statement: str, *values: str) -> None:
    """Delete a row and, through its foreign keys, what hangs on it: the modules only archive tests and series."""
    with database.driver(durable=True) as cursor:
        cursor.execute(database.sql(statement), values)


def _example_runs(tracking: ExperimentTracking) -> list[str]:
    """Return the runs of the story; none if there is no such experiment."""
    try:
        found = tracking.search_runs(f"tags.{EXAMPLE_TAG} = 'true'", experiment=MODEL)
    except NotFoundError:
        return []
    return [str(run_id) for run_id in found["run_id"]]


def _all_versions(registry: ModelRegistryManager) -> list[ModelVersion]:
    """Versions of the story's model, deleted ones included; none if there is no such model."""
    try:
        return registry.list_versions(MODEL, include_deleted=True)
    except NotFoundError:
        return []


def _is_example(version: ModelVersion) -> bool:
    return version.tags.get(EXAMPLE_TAG) == "true"


def _free_versions(registry: ModelRegistryManager) -> tuple[str, str]:
    """1.0.0 and 1.1.0; after a removal 2.0.0 and 2.1.0, because a number is never used again."""
    majors = [int(version.version.split(".")[0]) for version in _all_versions(registry)]
    major = max(majors, default=0) + 1
    return f"{major}.0.0", f"{major}.1.0"
