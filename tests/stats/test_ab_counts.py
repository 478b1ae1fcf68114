"""Planning for Mann-Whitney's test: published sizes, and the power that simulated tests have at them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from stats import power, sequential
from stats.power_counts import count_probabilities, mde_counts, power_counts, power_ranks, sample_size_counts
from stats.ranks import Tallies, mann_whitney_from_tallies


def shares(values, categories):
    return np.array([(values == category).mean() for category in categories])


def test_published_sizes_are_reached():
    # Zhao, Rahardja and Qu (2008): three categories, 47 % and 53 % of 8,390 subjects for a power of .8
    found = power_ranks([0.66, 0.15, 0.19], [0.61, 0.23, 0.16], 0.47 * 8390, 0.53 * 8390)
    assert found == pytest.approx(0.8, abs=1e-3)
    # tests of the R package WMWssp: a shift of 20 has p = .3491124 and needs 111.3719511 subjects by a formula
    # without the terms of lower order and without continuity correction, which are worth 1.15 subjects here
    x = np.array([315, 375, 356, 374, 412, 418, 445, 403, 431, 410, 391, 475, 379])
    categories = np.union1d(x, x - 20)
    arms = shares(x, categories), shares(x - 20, categories)
    assert power_ranks(*arms, 111.3719511 / 2) == pytest.approx(0.795, abs=2e-3)
    assert power_ranks(*arms, (111.3719511 + 1.15) / 2) == pytest.approx(0.8, abs=1e-4)


@pytest.mark.parametrize(
    ("mean", "sd"), [(5.0, None), (5.0, 4.0), (0.2, None), (3.0, 1.0), (1000.0, None), (2.0, 30.0)]
)
def test_the_distributions_have_the_wanted_moments(mean, sd):
    baseline, treatment = count_probabilities(0.1 * mean, mean, sd=sd)
    k = np.arange(baseline.size)
    # the grid of a distribution far from 0 starts late; its means differ by what they should all the same
    offset = mean - np.dot(k, baseline)
    assert offset >= -1e-9
    assert offset == pytest.approx(round(offset), abs=1e-6)
    assert np.dot(k, treatment) + offset == pytest.approx(1.1 * mean, rel=1e-9)
    variance = np.dot(k * k, baseline) - np.dot(k, baseline) ** 2
    binomial_rounding = 0.1 if sd == 1.0 else 1e-6  # 4.5 trials become 5
    assert math.sqrt(variance) == pytest.approx(math.sqrt(mean) if sd is None else sd, rel=binomial_rounding)


def test_wide_counts_need_what_ranks_of_normal_values_need():
    # Efficiency of ranks against means for normal values: 3 / pi (Hodges and Lehmann, 1956)
    by_means = power.sample_size_means(2000.0, 1e4, distribution="normal").exact_baseline
    assert sample_size_counts(2000.0, 1e8).exact_baseline == pytest.approx(by_means * math.pi / 3, rel=5e-3)


def test_size_power_and_effect_of_counts_solve_each_other():
    for sided, effect in (("two-sided", 0.7), ("two-sided", -0.7), ("greater", 0.7), ("less", -0.7)):
        settings = {"sd": 3.0, "alternative": sided, "alpha": 0.03, "comparisons": 2}
        plan = sample_size_counts(effect, 5.0, treatment_share=0.3, power=0.9, **settings)
        arms = plan.exact_baseline, plan.exact_treatment
        assert arms[1] / arms[0] == pytest.approx(3 / 7)
        assert power_counts(effect, 5.0, *arms, **settings) == pytest.approx(0.9, abs=1e-9)
        if (effect > 0) == (sided != "less"):
            assert mde_counts(5.0, *arms, power=0.9, **settings) == pytest.approx(abs(effect), abs=1e-6)


def test_what_cannot_be_planned_is_refused():
    for call in (
        lambda: sample_size_counts(0.0, 5.0),
        lambda: sample_size_counts(-1.0, 5.0, alternative="greater"),
        lambda: sample_size_counts(-5.0, 5.0),
        lambda: sample_size_counts(1.0, 5.0, sd=0.0),
        lambda: power_ranks([0.5, 0.5], [1.0], 10),
        lambda: power_ranks([0.5, 0.4], [0.5, 0.5], 10),
        lambda: power_counts(1.0, 5.0, 1),
    ):
        with pytest.raises(ValueError, match=r"."):
            call()
    assert mde_counts(0.2, 5, alternative="less") is None
    assert power_counts(0.0, 5.0, 100) == pytest.approx(0.025, abs=1e-3)


def drawn_scores(rng, arms, sizes, n_looks, n_tests):
    """Return z of Mann-Whitney's test at equally spaced looks, array of shape (n_tests, n_looks).

    A sample is its tallies, so that thousands of tests are a few arrays: increments between looks are multinomial.
    """
    kept = np.flatnonzero((arms[0] > 1e-9) | (arms[1] > 1e-9))
    arms = [np.append(f[kept[:-1]], 1.0 - f[kept[:-1]].sum()) for f in arms]  # the far tail is one cell
    steps = [[(look + 1) * n // n_looks - look * n // n_looks for look in range(n_looks)] for n in sizes]
    drawn = [
        np.stack([rng.multinomial(step, f, size=n_tests) for step in parts], axis=1).cumsum(axis=1)
        for f, parts in zip(arms, steps, strict=True)
    ]
    a, b = (tallies.astype(np.float64) for tallies in drawn)
    n1, n2 = a.sum(axis=2), b.sum(axis=2)
    total, t = n1 + n2, a + b
    distance = (b * (a.cumsum(axis=2) - 0.5 * a)).sum(axis=2) - 0.5 * n1 * n2
    variance = n1 * n2 / 12 * (total + 1 - (t**3 - t).sum(axis=2) / (total * (total - 1)))
    moved = np.sign(distance) * np.maximum(np.abs(distance) - 0.5, 0.0)
    z = np.divide(moved, np.sqrt(variance), out=np.zeros_like(moved), where=variance > 0.0)  # all tied: no finding
    for test in range(3):  # the formula above is that of the package
        one = mann_whitney_from_tallies(
            Tallies(np.arange(t.shape[2], dtype=float), drawn[0][test, -1], drawn[1][test, -1])
        )
        assert one.z == pytest.approx(z[test, -1], rel=1e-9)
    return z


DESIGNS = {
    "Poisson": (0.7, 5.0, None, 0.5),
    "Poisson, decrease": (-0.7, 5.0, None, 0.5),
    "rare": (0.1, 0.2, None, 0.5),
    "overdispersed": (1.0, 2.0, 4.0, 0.5),
    "overdispersed, unequal": (1.0, 3.0, 3.0, 0.2),
    "underdispersed": (0.3, 3.0, 1.0, 0.7),
    "small": (4.0, 4.0, None, 0.5),
}


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("n_looks", [1, 5])
def test_the_planned_size_of_counts_has_the_planned_power(design, n_looks):
    effect, mean, sd, share = DESIGNS[design]
    n_tests = 6000
    plan = sample_size_counts(effect, mean, sd=sd, treatment_share=share)
    fractions = [(look + 1) / n_looks for look in range(n_looks)]
    bounds = np.array(sequential.boundaries(fractions, 0.025))
    fixed = float(special.ndtri(0.975) + special.ndtri(0.8))
    more = (sequential.drift_for_power(fractions, bounds.tolist(), 0.8) / fixed) ** 2
    sizes = [math.ceil(n * more) for n in (plan.exact_baseline, plan.exact_treatment)]
    rng = np.random.default_rng(2026)
    z = drawn_scores(rng, count_probabilities(effect, mean, sd=sd), sizes, n_looks, n_tests)
    found = (np.abs(z) >= bounds).any(axis=1).mean()
    wobble = 3 * math.sqrt(0.16 / n_tests)
    assert found >= 0.8 - wobble - (0.01 if design == "small" else 0.0)  # 18 subjects: the normal approximation
    assert found <= 0.8 + wobble + 0.02  # and nobody waits for subjects that are not needed
    null = drawn_scores(rng, count_probabilities(effect, mean, sd=sd)[:1] * 2, sizes, n_looks, n_tests)
    assert (np.abs(null) >= bounds).any(axis=1).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n_tests)
