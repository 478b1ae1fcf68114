"""Many rare categories: chance is no alarm, a real change is one; whole numbers keep their order."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from stats.data_drift import compare_columns, compare_with_profile, judge_features
from stats.drift import chi_square_sparse, chi_square_two_sample, ks_two_sample, wasserstein_distance
from stats.means import P_VALUE_FLOOR
from stats.performance import check_calibration
from stats.profiles import Column, profile_column
from stats.score_margin import non_inferiority_rates


def text(values) -> Column:
    names, counts = np.unique(np.asarray(values).astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return Column(family="text", n=len(values), counts={str(names[i]): int(counts[i]) for i in order})


def whole(values) -> Column:
    return Column(family="number", n=len(values), values=np.asarray(values, dtype=float), whole=True)


def exact_moments(n: int, columns: tuple[int, ...]) -> tuple[Fraction, Fraction]:
    """Mean and variance of the chi-square statistic over all ways to fill the first of two rows with n."""
    total = sum(columns)
    ways = first = second = Fraction(0)
    for row in itertools.product(*(range(size + 1) for size in columns)):
        if sum(row) == n:
            weight = math.prod(math.comb(size, x) for size, x in zip(columns, row, strict=True))
            squares = sum((Fraction(x * x, size) for size, x in zip(columns, row, strict=True)), Fraction(0))
            value = Fraction(total * total, n * (total - n)) * (squares - Fraction(n * n, total))
            ways, first, second = ways + weight, first + weight * value, second + weight * value * value
    return first / ways, second / ways - (first / ways) ** 2


@pytest.mark.parametrize(("row", "columns"), [((2, 1, 0, 2), (3, 4, 2, 2)), ((0, 1, 1, 0, 1), (1, 1, 1, 5, 2))])
def test_the_law_of_a_sparse_table_has_the_moments_of_its_enumeration(row, columns):
    from scipy.stats import gamma

    mean, variance = (float(moment) for moment in exact_moments(sum(row), columns))
    found = chi_square_sparse(row, np.subtract(columns, row))
    assert found.p_value == pytest.approx(
        gamma.sf(found.statistic, mean * mean / variance, scale=variance / mean), rel=1e-10
    )
    # a category that is named, and the same as a row of its own
    left, right = np.array([4, 3, 0, 0]), np.array([2, 5, 1, 1])
    assert chi_square_sparse(left[:2], right[:2], singles=2) == chi_square_sparse(left, right)


def test_a_dense_table_has_the_usual_test():
    table = [[16, 18, 16, 14, 12, 12], [16, 16, 16, 16, 16, 8]]
    assert chi_square_sparse(*table) == chi_square_two_sample(table)


def test_every_row_a_category_of_its_own_is_no_evidence():
    assert chi_square_sparse([1] * 30 + [0] * 30, [0] * 30 + [1] * 30).p_value == 1.0


@pytest.mark.parametrize("stored", [False, True])
def test_two_hundred_categories_of_one_law_rarely_alarm(stored):
    """With the new ones of the second sample in one cell, every fourth pair of such samples alarmed."""
    rng = np.random.default_rng(20)
    shares = 1.0 / np.arange(1, 201)
    shares /= shares.sum()
    alarms = 0
    for _ in range(200):
        before, after = (text(rng.choice(200, 100, p=shares)) for _ in range(2))
        compared = (
            compare_with_profile("x", profile_column(before), after) if stored else compare_columns("x", before, after)
        )
        alarms += judge_features([compared])[0].drifted is True
    assert alarms <= 20  # 5 % of 200, and three standard errors


@pytest.mark.parametrize("stored", [False, True])
def test_other_rare_categories_are_a_change(stored):
    before, after = text(list(range(60)) * 5), text(list(range(40, 100)) * 5)
    compared = (
        compare_with_profile("x", profile_column(before), after) if stored else compare_columns("x", before, after)
    )
    assert judge_features([compared])[0].drifted is True


@pytest.mark.parametrize("stored", [False, True])
def test_whole_numbers_as_categories_have_the_distances_of_numbers(stored):
    rng = np.random.default_rng(5)
    before, after = rng.poisson(3, 300), rng.poisson(4, 200)
    found = (
        compare_with_profile("x", profile_column(whole(before)), whole(after))
        if stored
        else compare_columns("x", whole(before), whole(after))
    )
    assert found.kind == "categorical"
    assert found.ks_statistic == pytest.approx(ks_two_sample(before, after).statistic, abs=1e-15)
    assert found.wasserstein == pytest.approx(wasserstein_distance(before, after) / before.std(), rel=1e-12)
    assert (found.reference_mean, found.reference_std) == pytest.approx((before.mean(), before.std()), rel=1e-12)
    assert (found.current_mean, found.current_std) == pytest.approx((after.mean(), after.std()), rel=1e-12)


def test_a_few_whole_numbers_that_hardly_repeat_stay_numbers():
    found = compare_columns("x", whole([1, 2, 3, 4, 5]), whole([1, 2, 3, 4, 5]))
    assert (found.kind, found.ks_statistic, found.p_value) == ("numeric", 0.0, 1.0)
    assert compare_columns("x", whole([1, 2, 3] * 2), whole([1, 2, 3])).kind == "categorical"


def test_p_values_are_never_zero():
    assert check_calibration([1.0] * 10, [True] * 9 + [False]).p_value == P_VALUE_FLOOR
    assert check_calibration([0.999] * 100_000, [False] * 100_000).p_value == P_VALUE_FLOOR
    assert non_inferiority_rates(9 * 10**6, 10**7, 9 * 10**6, 10**7, margin=0.5).p_value == P_VALUE_FLOOR
