"""One story on real data, told four times: as a script, as a notebook, as the dashboard's example data, and in the tests.

A post office reads handwritten digits (scikit-learn's bundled copy of the UCI set: 1,797 scans of 8 x 8 pixels).
Two kinds of classifier are trained in several configurations, every run is logged with its learning curve, the best of
each kind becomes a version, an A/B test on scans that neither has seen decides which one is promoted, and monitoring
watches the winner until a scanner slips by one pixel.

Nothing is made up: every number comes from a model that was fitted and a scan that was read. Only the dates are
chosen, so that the story ends today.

    >>> from examples.story import load_example_data        # doctest: +SKIP
    >>> load_example_data(Database("sqlite:///demo.db"))    # doctest: +SKIP
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ab_testing import ABTestingFramework, ExperimentConfig, MetricType
from db import Database
from experiment_tracking import ExperimentTracking
from model_monitoring import ModelMonitoring
from model_registry import ModelRegistryManager, ModelStage, ModelType

__all__ = ["MODEL", "Story", "describe_scans", "load_digit_scans"]

MODEL = "digit-reader"
TEST = "digit-reader - network against naive Bayes"
TAGS = {"example": "true"}
SEED = 7
TRAINING_ROWS, VALIDATION_ROWS = 400, 250  # of 1,797; the rest is what "users" send in
SCANS_A_DAY = 160
GOOD_DAYS, SHIFTED_DAYS = 35, 4
FEATURES = ("ink", "left_ink", "top_ink", "width", "height", "stroke_contrast")

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Say = Callable[[str], None]


# -- the data ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Scans:
    """Scans with their digits: pixels of shape (n, 64) in [0, 1], digits of shape (n,)."""

    pixels: Floats
    digits: Integers

    def __len__(self) -> int:
        return len(self.digits)

    def take(self, rows: Any) -> Scans:
        """Return some of the scans."""
        return Scans(pixels=self.pixels[rows], digits=self.digits[rows])

    def slipped(self) -> Scans:
        """Return the scans as a scanner that slipped delivers them: one pixel to the right, and paler."""
        images = np.roll(self.pixels.reshape(-1, 8, 8), 1, axis=2)
        images[:, :, 0] = 0.0
        return Scans(pixels=(images * 0.8).reshape(-1, 64), digits=self.digits)


def load_digit_scans() -> tuple[Scans, Scans, Scans]:
    """Return training, validation and held-out scans, always the same ones."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(digits))
    scans = Scans(pixels=pixels[order] / 16.0, digits=digits[order])
    seen = TRAINING_ROWS + VALIDATION_ROWS
    return scans.take(slice(TRAINING_ROWS)), scans.take(slice(TRAINING_ROWS, seen)), scans.take(slice(seen, None))


def describe_scans(scans: Scans) -> pd.DataFrame:
    """Return what monitoring watches of each scan: where the ink is, how much, and how contrasting."""
    images = scans.pixels.reshape(-1, 8, 8)
    ink = images.sum(axis=(1, 2))
    inked = images > 0.2
    columns = inked.any(axis=1).sum(axis=1)
    rows = inked.any(axis=2).sum(axis=1)
    return pd.DataFrame(
        {
            "ink": ink,
            "left_ink": images[:, :, :4].sum(axis=(1, 2)) / ink,
            "top_ink": images[:, :4, :].sum(axis=(1, 2)) / ink,
            "width": columns.astype(np.int64),
            "height": rows.astype(np.int64),
            "stroke_contrast": images.max(axis=(1, 2)) - images.mean(axis=(1, 2)),
        }
    )


# -- the models --------------------------------------------------------------------------------------


def _naive_bayes(var_smoothing: float) -> Any:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(var_smoothing=var_smoothing)


def _network(hidden_units: int, learning_rate: float) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        (hidden_units,), learning_rate_init=learning_rate, batch_size=32, random_state=SEED, max_iter=1
    )


CONFIGURATIONS: tuple[tuple[str, str, dict[str, float | int]], ...] = (
    ("naive-bayes-1", "naive Bayes", {"var_smoothing": 1e-9}),
    ("naive-bayes-2", "naive Bayes", {"var_smoothing": 1e-3}),
    ("naive-bayes-3", "naive Bayes", {"var_smoothing": 1e-1}),
    ("network-1", "network", {"hidden_units": 16, "learning_rate": 0.01}),
    ("network-2", "network", {"hidden_units": 64, "learning_rate": 0.001}),
    ("network-3", "network", {"hidden_units": 64, "learning_rate": 0.01}),
)
STEPS = 15  # passes over the data of a network; tenths of the data for naive Bayes


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One fitted model and the run that made it."""

    run_id: str
    kind: str
    model: Any
    params: dict[str, float | int]
    accuracy: float


def _accuracy(model: Any, scans: Scans) -> float:
    return float(np.mean(model.predict(scans.pixels) == scans.digits))


def _log_loss(model: Any, scans: Scans) -> float:
    chances = model.predict_proba(scans.pixels)[np.arange(len(scans)), scans.digits]
    return float(-np.mean(np.log(np.clip(chances, 1e-12, 1.0))))


def train_and_log(
    tracking: ExperimentTracking,
    name: str,
    kind: str,
    params: dict[str, float | int],
    training: Scans,
    validation: Scans,
    at: datetime,
) -> Trained:
    """Fit one configuration step by step; log its parameters and, after each step, how well it reads."""
    make = _naive_bayes if kind == "naive Bayes" else _network
    model = make(**params)  # type: ignore[operator]
    run_id = tracking.start_run(MODEL, name, params={"kind": kind, **params}, tags=TAGS)
    batches = np.array_split(np.arange(len(training)), STEPS)
    for step in range(STEPS):
        batch = training.take(batches[step]) if kind == "naive Bayes" else training
        model.partial_fit(batch.pixels, batch.digits, classes=np.arange(10))
        tracking.log_metrics(
            run_id,
            {
                "accuracy": _accuracy(model, validation),
                "training_accuracy": _accuracy(model, training),
                "log_loss": _log_loss(model, validation),
            },
            step=step,
            at=at + timedelta(seconds=20 * step),
        )
    tracking.end_run(run_id, "finished")
    return Trained(run_id=run_id, kind=kind, model=model, params=params, accuracy=_accuracy(model, validation))


# -- the story ---------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened, with the ids under which it can be looked up.

    Attributes
    ----------
    lines : list of str
        One sentence for each step.
    run_ids : list of str
        All runs, in the order in which they were trained.
    versions : dict of str
        The two registered versions: ``baseline`` and ``treatment``.
    experiment_id : str
        The A/B test.
    decision : str
        What the A/B test decided.
    production : str
        The version in Production at the end.
    alarms : list of str
        The days on which the control chart raised an alarm.
    drifted : list of str
        The features that drifted in the last days.
    """

    lines: list[str] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    experiment_id: str = ""
    decision: str = ""
    production: str = ""
    alarms: list[str] = field(default_factory=list)
    drifted: list[str] = field(default_factory=list)


class _Teller:
    """The managers on one store, the scans, and the day on which everything happens."""

    def __init__(self, database: Database, say: Say, now: datetime) -> None:
        self.tracking = ExperimentTracking(database)
        self.registry = ModelRegistryManager(database)
        self.tests = ABTestingFramework(database)
        self.monitoring = ModelMonitoring(database)
        self.training, self.validation, self.held_out = load_digit_scans()
        self.story = Story()
        self._say = say
        self.launch = now - timedelta(days=GOOD_DAYS + SHIFTED_DAYS)

    def say(self, line: str) -> None:
        self.story.lines.append(line)
        self._say(line)

    def train(self) -> dict[str, Trained]:
        """Log a run for each configuration; return the best of each kind."""
        best: dict[str, Trained] = {}
        for number, (name, kind, params) in enumerate(CONFIGURATIONS):
            at = self.launch - timedelta(days=21, minutes=-30 * number)
            trained = train_and_log(self.tracking, name, kind, params, self.training, self.validation, at)
            self.story.run_ids.append(trained.run_id)
            self.say(f"run {name}: {trained.accuracy:.1%} of {len(self.validation)} validation scans read right")
            if kind not in best or trained.accuracy > best[kind].accuracy:
                best[kind] = trained
        return best

    def register(self, trained: Trained, version: str, stage: ModelStage) -> str:
        """Register the model of a run as a version."""
        model_id = self.registry.register_model(
            trained.model,
            MODEL,
            version,
            model_type=ModelType.CLASSIFIER,
            performance_metrics={"accuracy": trained.accuracy, "log_loss": _log_loss(trained.model, self.validation)},
            hyperparameters={"kind": trained.kind, **trained.params},
            stage=stage,
            run_id=trained.run_id,
            tags=TAGS,
            description=f"Reads handwritten digits; {trained.kind}, trained on {len(self.training)} scans.",
            input_example=self.training.pixels[:5],
        )
        self.say(f"{MODEL} {version} ({trained.kind}) is registered in {stage.value}")
        return model_id

    def test(self, baseline: Trained, treatment: Trained, baseline_id: str, treatment_id: str) -> str:
        """Let every held-out scan be one user of an A/B test between the two versions."""
        users = np.array([f"scan-{number:04d}" for number in range(len(self.held_out))])
        config = ExperimentConfig(
            name=TEST,
            metric_name="read_right",
            metric_type=MetricType.BINARY,
            baseline_model=f"{MODEL} 1.0.0",
            treatment_model=f"{MODEL} 1.1.0",
            baseline_version_id=baseline_id,
            treatment_version_id=treatment_id,
            traffic_split=0.5,
            min_sample_size=400,
            significance_level=0.05,
            stopping="fixed_horizon",
            planned_sample_size=500,
        )
        experiment_id = self.tests.create_experiment(config)
        self.story.experiment_id = experiment_id
        variants = np.asarray(self.tests.assign_many(experiment_id, users))
        right = np.where(
            variants == "treatment",
            treatment.model.predict(self.held_out.pixels) == self.held_out.digits,
            baseline.model.predict(self.held_out.pixels) == self.held_out.digits,
        )
        first = self.launch - timedelta(days=14)
        self.tests.record_events(
            experiment_id,
            pd.DataFrame(
                {
                    "user_id": users,
                    "value": right.astype(np.int64),
                    "at": [first + timedelta(minutes=14 * 24 * 60 * n / len(users)) for n in range(len(users))],
                    "event_id": users,
                }
            ),
        )
        analysis = self.tests.analyze_experiment(experiment_id)
        self.story.decision = analysis.decision
        self.say(f"A/B test on {len(users):,} scans: {analysis.recommendation}")
        return experiment_id

    def promote(self, experiment_id: str) -> str:
        """Promote by the decision, and name the test as the evidence."""
        if self.story.decision == "ship":
            self.tests.conclude(experiment_id, decision="ship", reason="the network reads more scans right")
            self.registry.transition_stage(
                MODEL,
                "1.1.0",
                ModelStage.PRODUCTION,
                reason="won the A/B test",
                evidence={"experiment_id": experiment_id},
            )
        else:
            self.tests.conclude(experiment_id, decision="keep_baseline", reason="no gain was shown")
        production = self.registry.get_production(MODEL)
        self.say(f"{MODEL} {production.version} is in Production")
        return production.version

    def watch(self, winner: Any, version: str) -> None:
        """Feed monitoring with one batch a day; on the last days the scanner has slipped."""
        draw = np.random.default_rng(SEED)
        self.monitoring.set_reference(MODEL, version, describe_scans(self.held_out))
        rows = []
        for day in range(GOOD_DAYS + SHIFTED_DAYS):
            batch = self.held_out.take(draw.integers(0, len(self.held_out), SCANS_A_DAY))
            if day >= GOOD_DAYS:
                batch = batch.slipped()
            at = self.launch + timedelta(days=day, hours=1)
            self.monitoring.log_features(MODEL, version, describe_scans(batch), at=at)
            rows.append(
                {
                    "name": MODEL,
                    "version": version,
                    "metric": "accuracy",
                    "value": _accuracy(winner, batch),
                    "prediction_count": len(batch),
                    "at": at,
                }
            )
        self.monitoring.log_performances(pd.DataFrame(rows))
        drift = self.monitoring.detect_performance_drift(MODEL, version, "accuracy", lookback_days=7)
        self.story.alarms = sorted({f"{violation.at:%Y-%m-%d}" for violation in drift.violations})
        features = self.monitoring.detect_feature_drift(
            MODEL, version, start=self.launch + timedelta(days=GOOD_DAYS), end=datetime.now(UTC)
        )
        self.story.drifted = [name for name, found in features.features.items() if found.drifted]
        self.say(
            f"{len(rows)} days were watched; accuracy raised an alarm on {len(self.story.alarms)} of the last 7, "
            f"and {len(self.story.drifted)} of {len(FEATURES)} features drifted: {', '.join(self.story.drifted) or 'none'}"
        )
        report = self.monitoring.generate_monitoring_report(MODEL, version, days=30)
        self.say(f"the monitoring report covers {report.total_predictions:,} predictions")


def tell(database: Database, say: Say = lambda _line: None) -> Story:
    """Do everything once, on a store that does not have it yet, and return what happened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # partial_fit does not converge; that is what a learning curve shows
        teller = _Teller(database, say, datetime.now(UTC))
        best = teller.train()
        baseline, treatment = best["naive Bayes"], best["network"]
        baseline_id = teller.register(baseline, "1.0.0", ModelStage.PRODUCTION)
        treatment_id = teller.register(treatment, "1.1.0", ModelStage.STAGING)
        teller.story.versions = {"baseline": baseline_id, "treatment": treatment_id}
        experiment_id = teller.test(baseline, treatment, baseline_id, treatment_id)
        teller.story.production = teller.promote(experiment_id)
        winner = treatment if teller.story.production == "1.1.0" else baseline
        teller.watch(winner.model, teller.story.production)
    return teller.story
