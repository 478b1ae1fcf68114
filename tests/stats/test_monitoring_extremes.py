"""What 64-bit floats can hold is judged; what they cannot say is None or an error, never NaN, infinity or a crash."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from stats.control_charts import individuals_limits
from stats.data_drift import compare_columns, compare_with_profile
from stats.drift import _largest_gap, wasserstein_distance
from stats.performance import regression_scores
from stats.performance_drift import estimate_baseline, estimate_trend, judge_series
from stats.profiles import Column, add_counts, count_column, profile_column
from stats.series import mean_and_deviation, weighted_mean
from stats.trend import lag1_autocorrelation, linear_trend, mann_kendall, pettitt

SCALES = (1.0, 1e-300, 1e-160, 1e160, 1e200, 1e300)


def numbers(values: np.ndarray) -> Column:
    return Column(family="number", n=values.size, values=np.asarray(values, dtype=float))


@pytest.mark.parametrize("scale", SCALES)
def test_statistics_do_not_depend_on_the_unit(scale: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(3.0, 1.0, 400), rng.normal(3.3, 1.0, 300)
    mean, deviation = mean_and_deviation(x * scale)
    assert (mean / scale, deviation / scale) == pytest.approx((x.mean(), x.std()))
    assert wasserstein_distance(x * scale, y * scale) / scale == pytest.approx(wasserstein_distance(x, y))
    plain, far = (compare_columns("x", numbers(x * s), numbers(y * s)) for s in (1.0, scale))
    stored, far_stored = (
        compare_with_profile("x", profile_column(numbers(x * s)), numbers(y * s)) for s in (1.0, scale)
    )
    for one, other in ((plain, far), (stored, far_stored)):
        assert (other.psi, other.ks_statistic) == pytest.approx((one.psi, one.ks_statistic))
        assert other.wasserstein == pytest.approx(one.wasserstein)
        assert other.reference_std / scale == pytest.approx(x.std())
    line, far_line = linear_trend(np.arange(400.0), x), linear_trend(np.arange(400.0), x * scale)
    assert far_line.slope / scale == pytest.approx(line.slope)
    assert (far_line.t, far_line.p_value, far_line.r_squared) == pytest.approx((line.t, line.p_value, line.r_squared))
    assert mann_kendall(x * scale).sen_slope / scale == pytest.approx(mann_kendall(x).sen_slope)
    assert lag1_autocorrelation(x * scale) == pytest.approx(lag1_autocorrelation(x))
    assert individuals_limits(x * scale).upper / scale == pytest.approx(individuals_limits(x).upper)
    scores, far_scores = regression_scores(x[:300], y), regression_scores(x[:300] * scale, y * scale)
    assert far_scores["rmse"] / scale == pytest.approx(scores["rmse"])
    assert (far_scores["r2"], far_scores["mape"]) == pytest.approx((scores["r2"], scores["mape"]))


def test_the_deviation_of_a_stored_profile_is_finite_where_its_square_is_not() -> None:
    values = np.concatenate([np.full(50, 1.7e308), np.full(50, 1e200), np.full(50, -1.7e308)])
    profile = profile_column(numbers(values))
    assert profile.counts.std == pytest.approx(1.7e308 * math.sqrt(2 / 3))
    batches = [count_column(profile, numbers(part)) for part in np.split(values, 10)]
    whole = add_counts(batches)
    assert whole.std == pytest.approx(profile.counts.std)
    assert whole.mean == pytest.approx(profile.counts.mean, abs=1e294)


@given(
    st.lists(st.lists(st.floats(-1.7e308, 1.7e308), min_size=1, max_size=20), min_size=1, max_size=6),
)
def test_batches_add_up_to_the_moments_of_their_rows(parts: list[list[float]]) -> None:
    rows = np.concatenate([np.asarray(part) for part in parts])
    profile = profile_column(numbers(rows))
    whole = add_counts([count_column(profile, numbers(np.asarray(part))) for part in parts])
    size = float(np.abs(rows).max())
    assert whole.bins.tolist() == profile.counts.bins.tolist()
    assert whole.mean == pytest.approx(profile.counts.mean, abs=1e-12 * size + 1e-320)
    assert whole.std == pytest.approx(profile.counts.std, rel=1e-6, abs=1e-12 * size + 1e-320)


def test_a_constant_series_has_no_change_point_and_says_why() -> None:
    found = pettitt([0.1] * 12)
    assert (found.u, found.k, found.p_value) == (0, None, None)
    assert found.reason == "all 12 values are equal: a change of level cannot be computed"
    assert pettitt([1.0, 2.0, 1.0]).reason == ""


def test_a_constant_reference_has_no_deviation_however_its_mean_is_rounded() -> None:
    assert np.full(60, 0.1).std() > 0  # rounding
    found = compare_columns("x", numbers(np.full(60, 0.1)), numbers(np.full(60, 0.2)))
    assert (found.reference_std, found.wasserstein) == (0.0, None)
    assert regression_scores([0.1] * 10, list(np.arange(10.0)))["r2"] is None
    assert weighted_mean(np.full(3, 0.1)) == 0.1


def test_points_far_beyond_a_narrow_baseline_are_violations_and_nothing_overflows() -> None:
    rng = np.random.default_rng(1)
    baseline = estimate_baseline(rng.normal(size=30) * 1e-300)
    judged = judge_series(np.array([0.0, 1e300, -1.7e308]), None, baseline, ["3-sigma", "ewma", "cusum", "nelson"])
    assert {(index, direction) for index, rule, direction in judged.fired if rule == "3-sigma"} == {(1, 1), (2, -1)}
    assert np.isfinite(judged.ewma).all()
    assert np.isfinite(judged.cusum_high).all()
    wide = estimate_baseline(np.array([1.7e308, -1.7e308] * 15))
    assert np.isfinite(judge_series(np.array([0.0]), None, wide).upper).all()


def test_a_slope_beyond_floats_is_an_error_and_no_trend() -> None:
    days = np.arange(8.0) * 1e-10
    values = np.array([-1.0, 1.0] * 4) * 1e308
    with pytest.raises(ValueError, match="beyond 64-bit floats"):
        linear_trend(days, values)
    assert estimate_trend(days, values) is None


def test_sens_interval_is_that_of_scipy_and_ties_in_time_count_for_neither_side() -> None:
    rng = np.random.default_rng(2)
    for n in (3, 8, 30, 101):
        x = rng.integers(0, 6, n).astype(float)
        got, theirs = mann_kendall(x), scipy_stats.theilslopes(x, np.arange(n), 0.95)
        if got.variance > 0:
            assert (got.sen_slope_lower, got.sen_slope_upper) == pytest.approx((theirs.low_slope, theirs.high_slope))
        times = np.sort(rng.integers(0, max(2, n // 3), n)).astype(float)
        got = mann_kendall(x, times)
        if got.variance > 0:
            z = got.s / math.sqrt(got.variance)  # SciPy corrects for no continuity
            expected = scipy_stats.kendalltau(times, x, method="asymptotic").pvalue
            assert 2 * scipy_stats.norm.sf(abs(z)) == pytest.approx(expected, abs=1e-12)
        shuffled = np.concatenate([rng.permutation(x[times == t]) for t in np.unique(times)])
        assert mann_kendall(shuffled, times).s == got.s
    with pytest.raises(ValueError, match="ascend"):
        mann_kendall([1.0, 2.0], [1.0, 0.0])


@given(st.data())
def test_the_largest_gap_is_that_of_the_full_search(data: st.DataObject) -> None:
    values = st.lists(st.one_of(st.integers(0, 30), st.floats(-1, 1)), min_size=1, max_size=300)
    x, y = (np.sort(np.asarray(data.draw(values), dtype=float)) for _ in range(2))
    both = np.concatenate([x, y])
    left, right = (np.searchsorted(s, both, side="right").astype(np.int64) for s in (x, y))
    assert _largest_gap(x, y) == np.abs(left * y.size - right * x.size).max()
