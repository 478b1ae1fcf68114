"""What is better of a metric is read from its name in one place, for gates, comparisons, runs and control charts."""

from __future__ import annotations

import pytest

from stats.metric_direction import metric_direction, words_of


@pytest.mark.parametrize(
    "metric",
    ["accuracy", "val/accuracy", "valAccuracy", "test_auc", "val/F1@5", "f1_macro", "r2", "r_squared", "hit_rate",
     "neg_mean_squared_error", "neg_log_loss", "d2_absolute_error_score", "d2_log_loss_score", "uptime"],
)  # fmt: skip
def test_more_of_these_is_better(metric: str) -> None:
    assert metric_direction(metric) == "higher"


@pytest.mark.parametrize(
    "metric",
    ["loss", "val_loss", "train/error", "rmse", "log-loss", "logloss", "error_rate", "latency_ms", "p95_latency_ms",
     "davies_bouldin_score", "brier_score_loss", "cross_entropy", "huberLoss", "focalloss", "timeouts"],
)  # fmt: skip
def test_less_of_these_is_better(metric: str) -> None:
    assert metric_direction(metric) == "lower"


@pytest.mark.parametrize("metric", ["size", "x", "", "temperature", "glossary", "neg_accuracy", "negative_r2", "日本"])
def test_a_name_that_does_not_tell_is_not_guessed(metric: str) -> None:
    assert metric_direction(metric) is None


def test_a_name_is_split_at_punctuation_and_capitals() -> None:
    assert words_of("val/F1@5-logLoss__x") == ["val", "f1", "5", "log", "loss", "x"]
