"""References are listed, and data go away only when it is said twice; nothing is left behind or mixed up."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import sqlalchemy as sa

from db import Database, NotFoundError, StateError
from model_monitoring import ModelMonitoring

MODEL = ("churn", "1.0.0")
OTHER = ("churn", "2.0.0")


@pytest.fixture
def monitoring(database: Database) -> ModelMonitoring:
    return ModelMonitoring(database)


def sample(seed: int, n: int = 200) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"age": rng.normal(40, 10, n), "city": rng.choice(["Bern", "Ulm"], n)}


def test_references_are_listed_with_the_current_one_first(monitoring: ModelMonitoring) -> None:
    first = monitoring.set_reference(*MODEL, sample(0), label="held-out")
    monitoring.log_features(*MODEL, sample(1), at="2026-01-01")
    second = monitoring.set_reference(*MODEL, sample(2, 100))
    listed = monitoring.list_references(*MODEL)
    assert [(r.id, r.current, r.n_rows, r.n_features, r.n_batches) for r in listed] == [
        (second, True, 100, 2, 0),
        (first, False, 200, 2, 1),
    ]
    assert listed[1].label == "held-out"
    with pytest.raises(NotFoundError, match=r"known versions: 1\.0\.0"):
        monitoring.list_references("churn", "9.9.9")


def test_a_deleted_reference_gives_way_to_the_one_before_it(monitoring: ModelMonitoring) -> None:
    first = monitoring.set_reference(*MODEL, sample(0))
    second = monitoring.set_reference(*MODEL, sample(1))
    monitoring.log_features(*MODEL, sample(2), at="2026-01-01")
    with pytest.raises(StateError, match="1 batches .* with_batches=True"):
        monitoring.delete_reference(*MODEL, second)
    assert monitoring.delete_reference(*MODEL, second, with_batches=True).n_batches == 1
    assert [(r.id, r.current) for r in monitoring.list_references(*MODEL)] == [(first, True)]
    assert monitoring.detect_feature_drift(*MODEL).n_current == 0
    with pytest.raises(NotFoundError, match="no reference with the id"):
        monitoring.delete_reference(*MODEL, second)


def test_all_data_of_a_version_go_only_with_its_name_said_again(
    monitoring: ModelMonitoring, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for version in (MODEL, OTHER):
        monitoring.log_performance(*version, "auc", 0.9, at="2026-01-01")
        monitoring.set_reference(*version, sample(0))
        monitoring.log_features(*version, sample(1), at="2026-01-01")
        monitoring.log_predictions(*version, ["a", "b"])
        monitoring.log_labels(*version, {"not yet": "a"})
        monitoring.add_alert_rule(*version, "metric_threshold", "auc", below=0.95)
    monitoring.evaluate_alerts()
    for wrong in ("", "churn", "churn 2.0.0", "yes"):
        with pytest.raises(ValueError, match=r"confirm must be 'churn 1\.0\.0'"):
            monitoring.delete_monitored(*MODEL, confirm=wrong)
    assert len(monitoring.list_monitored()) == 2
    with caplog.at_level(logging.WARNING, logger="modeldesk"):
        gone = monitoring.delete_monitored(*MODEL, confirm="churn 1.0.0", actor="ada")
    assert gone.to_dict() == {"n_points": 1, "n_references": 1, "n_batches": 1, "n_predictions": 2, "n_alerts": 1}
    assert "ada deleted all data of churn 1.0.0" in caplog.text
    assert [item["version"] for item in monitoring.list_monitored()] == ["2.0.0"]
    assert len(monitoring.list_alerts()) == 1
    tables = ("performance_series", "performance_points", "feature_references", "feature_profiles", "feature_batches")
    with database.read() as session:
        left = {name: session.scalar(sa.text(f"SELECT count(*) FROM {name}")) for name in (*tables, "pending_labels")}
    assert left == {**dict.fromkeys(tables, 1), "feature_profiles": 2, "pending_labels": 1}


def test_after_a_deletion_elsewhere_no_point_lands_in_another_series(database: Database) -> None:
    here, there = ModelMonitoring(database), ModelMonitoring(database)
    here.log_performance(*MODEL, "auc", 0.9, at="2026-01-01")
    there.delete_monitored(*MODEL, confirm="churn 1.0.0")
    there.log_performance(*OTHER, "loss", 0.1, at="2026-01-01")  # may get the number of the deleted series
    here.log_performance(*MODEL, "auc", 0.8, at="2026-01-02")
    assert here.performance_history(*OTHER, "loss")["value"].tolist() == [0.1]
    assert here.performance_history(*MODEL, "auc")["value"].tolist() == [0.8]
