"""Judging a metric: which way is better, which chart suits, and how often a quiet process alarms."""

from __future__ import annotations

import numpy as np
import pytest

from stats.control_charts import cusum, ewma
from stats.drift import ks_two_sample
from stats.performance import check_calibration, classification_scores, estimate_binary, regression_scores
from stats.performance_drift import Baseline, chart_method, estimate_baseline, judge_series
from stats.run_length import _first_alarms, average_run_length, cusum_limit, ewma_limit, simulated_run_length


def test_only_proportions_with_counts_get_a_chart_of_proportions() -> None:
    inside, counts = np.array([0.5, 0.6]), np.array([10.0, 20.0])
    assert chart_method("accuracy", inside, counts) == "laney"
    assert chart_method("accuracy", inside, None) == "individuals"
    assert chart_method("roc_auc", inside, counts) == "individuals"
    assert chart_method("accuracy", np.array([50.0]), counts[:1]) == "individuals"


def test_laneys_factor_is_at_least_one() -> None:
    rng = np.random.default_rng(0)
    n = np.full(200, 400.0)
    binomial = rng.binomial(400, 0.9, 200) / 400
    assert estimate_baseline(binomial, n, "laney").sigma_z == pytest.approx(1.0, abs=0.15)
    assert estimate_baseline(np.full(200, 0.9), n, "laney").sigma_z == 1.0


def test_default_designs_have_an_in_control_run_length_near_370_and_the_limits_can_be_found_again() -> None:
    for design in ("3-sigma", "ewma", "cusum"):
        assert average_run_length(design) == pytest.approx(370, rel=0.01)
    assert ewma_limit(371.1, 0.2) == pytest.approx(2.86, abs=1e-3)
    assert cusum_limit(average_run_length("cusum"), 0.5) == pytest.approx(4.77, abs=1e-6)
    assert average_run_length("western-electric") == pytest.approx(91.75, abs=0.01)


def test_all_eight_rules_alarm_four_times_as_often_as_one() -> None:
    got = simulated_run_length("nelson", n=1_000, seed=1)
    assert 60 < got.mean < 100


def test_a_cusum_starts_again_after_its_signal_so_that_one_excursion_does_not_ring_for_ever() -> None:
    values = np.concatenate([np.full(5, 4.0), np.zeros(30)])
    judged = judge_series(values, None, Baseline(method="individuals", n=30, center=0.0, sigma=1.0), ["cusum"])
    assert max(index for index, _, _ in judged.fired) < 6


def test_scores_are_those_of_scikit_learn() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(2)
    y, p = rng.choice(list("abc"), 300), rng.choice(list("abcd"), 300)
    got = classification_scores(y.tolist(), p.tolist())
    assert got["accuracy"] == pytest.approx(metrics.accuracy_score(y, p))
    for name, score in (
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
        ("f1", metrics.f1_score),
    ):
        assert got[name] == pytest.approx(score(y, p, average="macro", zero_division=0))
    a, b = rng.normal(size=100), rng.normal(size=100)
    assert regression_scores(a, b)["r2"] == pytest.approx(metrics.r2_score(a, b))
    assert regression_scores(a, b)["rmse"] == pytest.approx(metrics.root_mean_squared_error(a, b))


def test_binary_estimates_meet_realised_scores_of_a_calibrated_classifier() -> None:
    rng = np.random.default_rng(3)
    chance = rng.uniform(size=40_000)
    label, predicted = rng.uniform(size=chance.size) < chance, chance > 0.5
    own = np.where(predicted, chance, 1 - chance)
    estimated = estimate_binary(own, predicted)
    real = classification_scores(label.astype(str).tolist(), predicted.astype(str).tolist(), positive="True")
    for name in ("accuracy", "precision", "recall", "f1"):
        assert getattr(estimated, name) == pytest.approx(real[name], abs=0.01)
    assert check_calibration(own, label == predicted).calibrated


def test_the_limiting_p_value_of_large_samples_meets_scipys_finite_one() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(4)
    a, b = rng.normal(size=60_000), rng.normal(0.012, 1, 50_000)
    assert ks_two_sample(a, b).p_value == pytest.approx(ks_2samp(a, b).pvalue, rel=1e-3)


@pytest.mark.parametrize("design", ["3-sigma", "ewma", "cusum"])
def test_simulated_runs_end_where_the_charts_that_judge_points_alarm(design: str) -> None:
    rng = np.random.default_rng(9)
    noise = rng.normal(0.8, 1.0, (50, 400))
    ended = {"3-sigma": [], "ewma": [], "cusum": []}
    for row in noise:
        ended["3-sigma"].append(1 + int(np.flatnonzero(np.abs(row) > 3)[0]) if (np.abs(row) > 3).any() else 400)
        ended["ewma"].append(1 + next(iter(ewma(row, 0.0, 1.0).out), 399))
        ended["cusum"].append(1 + next(iter(cusum(row).signals), 399))
    alive = np.arange(50)
    step = iter(range(400))

    def draw(active: int) -> np.ndarray:
        nonlocal alive
        now = next(step)
        alive = np.flatnonzero(np.array(ended[design]) > now)
        assert alive.size == active  # exactly those go on that the chart has not stopped
        return noise[alive, now]

    assert _first_alarms(draw, design, 50, 400).tolist() == ended[design]


@pytest.mark.slow
@pytest.mark.parametrize(("points", "limit"), [(10, 0.012), (30, 0.012), (100, 0.006)])
def test_a_quiet_process_with_an_estimated_baseline_rarely_leaves_its_limits(points: int, limit: float) -> None:
    rng = np.random.default_rng(points)
    outside = total = 0
    for _ in range(3_000):
        x = rng.normal(size=points + 7)
        judged = judge_series(x[points:], None, estimate_baseline(x[:points]), ["3-sigma"])
        outside, total = outside + len(judged.fired), total + 7
    assert outside / total < limit
