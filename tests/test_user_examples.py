"""The four examples that ModelDesk was asked for, pasted as they are, with a real fitted model, on both databases."""

from __future__ import annotations

import math

import numpy as np
import pytest


@pytest.fixture(params=["sqlite", "postgresql"], autouse=True)
def default_store(request, monkeypatch, tmp_path):
    """The examples name no database: they use the default store, in a home folder of the test's own."""
    if request.param == "postgresql":
        monkeypatch.setenv("MODELDESK_DATABASE_URL", request.getfixturevalue("postgres_url"))
        monkeypatch.setenv("MODELDESK_ARTIFACT_URL", str(tmp_path / "artifacts"))
    yield request.param
    from db import Database

    Database.open().close()


@pytest.fixture(scope="module")
def trained_model():
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))


def test_the_registry_example(trained_model):
    from model_registry import ModelRegistryManager, ModelStage, ModelType

    registry = ModelRegistryManager()
    model_id = registry.register_model(
        model=trained_model,
        name="sentiment-classifier",
        version="1.0.0",
        model_type=ModelType.CLASSIFIER,
        performance_metrics={"accuracy": 0.92, "f1": 0.89},
        hyperparameters={"learning_rate": 0.001, "epochs": 10},
        stage=ModelStage.PRODUCTION,
    )
    assert isinstance(model_id, str)
    registry.register_model(
        model=trained_model,
        name="sentiment-classifier",
        version="1.1.0",
        model_type=ModelType.CLASSIFIER,
        performance_metrics={"accuracy": 0.94, "f1": 0.88},
        hyperparameters={"learning_rate": 0.01, "epochs": 10},
    )
    comparison = registry.compare_models("sentiment-classifier", "1.0.0", "1.1.0")
    frame = comparison.to_frame()
    assert {"accuracy", "f1"} <= set(frame.to_string().replace(".", " ").split())
    assert registry.get_production("sentiment-classifier").version == "1.0.0"
    loaded = registry.load_model("sentiment-classifier", "1.0.0")
    assert loaded.predict([[5.1, 3.5, 1.4, 0.2]]) == trained_model.predict([[5.1, 3.5, 1.4, 0.2]])


def test_the_ab_testing_example():
    from ab_testing import ABTestingFramework, ExperimentConfig, MetricType

    ab = ABTestingFramework()
    config = ExperimentConfig(
        name="model-v2-test",
        metric_name="accuracy",
        metric_type=MetricType.CONTINUOUS,
        baseline_model="model-v1",
        treatment_model="model-v2",
        traffic_split=0.5,
        min_sample_size=1000,
        significance_level=0.05,
    )
    exp_id = ab.create_experiment(config)
    ab.record_event(exp_id, "user_123", 0.85)
    results = ab.analyze_experiment(exp_id)
    assert results.p_value is None
    assert results.decision in {"insufficient_data", "keep_running"}
    assert results.recommendation

    users = [f"user_{number}" for number in range(4000)]
    noise = np.random.default_rng(1).normal(0, 0.1, len(users))
    variants = ab.assign_many(exp_id, users)
    values = 0.80 + 0.02 * (np.asarray(variants) == "treatment") + noise
    new = ab.record_events(
        exp_id, [{"user_id": user, "value": float(value)} for user, value in zip(users, values, strict=True)]
    )
    assert new == 4000
    results = ab.analyze_experiment(exp_id)
    assert results.is_significant
    assert 0 < results.p_value < 0.001
    assert results.ci_lower < results.effect < results.ci_upper
    assert 0.1 < results.effect_size < 0.3
    assert results.decision == "ship"


def test_the_tracking_example():
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking()
    runs = []
    for name in ("run-001", "run-002"):
        run_id = tracking.start_run("model-training", name)
        tracking.log_params(run_id, {"learning_rate": 0.001, "batch_size": 32})
        for epoch in range(5):
            accuracy = 1 - math.exp(-epoch - 1)
            tracking.log_metrics(run_id, {"accuracy": accuracy}, step=epoch)
        runs.append(run_id)
    run_id1, run_id2 = runs
    comparison_df = tracking.compare_runs([run_id1, run_id2])
    assert len(comparison_df) == 2
    history = tracking.metric_history([run_id1], "accuracy")
    assert history["value"].tolist() == [1 - math.exp(-epoch - 1) for epoch in range(5)]


def test_the_monitoring_example():
    from model_monitoring import ModelMonitoring

    monitoring = ModelMonitoring()
    monitoring.log_performance("sentiment-classifier", "1.0.0", "accuracy", 0.92, prediction_count=1000)
    drift = monitoring.detect_performance_drift("sentiment-classifier", "1.0.0", "accuracy", lookback_days=7)
    assert drift.status == "learning"
    assert not drift.drift_detected
    report = monitoring.generate_monitoring_report("sentiment-classifier", "1.0.0", days=30)
    assert report.to_dict()
