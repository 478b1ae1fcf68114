"""What must hold for any data: swapping the arms, moving and stretching the scale, intervals against p-values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as some

from stats import (
    always_valid,
    bayes,
    comparison,
    means,
    multiplicity,
    power,
    power_counts,
    proportions,
    ranks,
    ratios,
    sequential,
    srm,
)
from stats.moments import JointStatistics, MeanStatistics

few = settings(max_examples=30)

values = some.lists(some.integers(-1000, 1000).map(lambda v: v / 8), min_size=2, max_size=12)
alphas = some.sampled_from([0.001, 0.01, 0.05, 0.2])
sided = some.sampled_from(means.ALTERNATIVES)
OTHER_SIDE = {"two-sided": "two-sided", "greater": "less", "less": "greater"}


@some.composite
def rates(draw):
    n = draw(some.integers(2, 500))
    return draw(some.integers(0, n)), n


def same(left, right, **tolerance):
    if left is None or right is None:
        return left is right
    return left == pytest.approx(right, **({"rel": 1e-7, "abs": 1e-9} | tolerance))


def flipped(ends):
    low, high = ends
    return (None if high is None else -high, None if low is None else -low)


# -- moments ------------------------------------------------------------------------------------------


@given(values, values, values)
def test_merging_moments_is_associative_and_what_pooling_gives(a, b, c):
    x, y, z = (MeanStatistics.from_values(part) for part in (a, b, c))
    for merged in ((x + y) + z, x + (y + z), (z + x) + y):
        pooled = MeanStatistics.from_values(a + b + c)
        assert merged.n == pooled.n
        assert same(merged.mean, pooled.mean)
        assert same(merged.deviations, pooled.deviations, rel=1e-9)


@given(some.lists(some.tuples(some.integers(-99, 99), some.integers(-99, 99)), min_size=2, max_size=12), some.data())
def test_merging_joint_moments_is_what_pooling_gives(pairs, data):
    cut = data.draw(some.integers(0, len(pairs)))
    parts = [JointStatistics.from_values(*np.array(part).reshape(-1, 2).T) for part in (pairs[:cut], pairs[cut:])]
    pooled, merged = JointStatistics.from_values(*np.array(pairs).T), parts[0] + parts[1]
    for name in ("n", "x_mean", "y_mean", "x_deviations", "y_deviations", "xy_deviations"):
        assert same(getattr(merged, name), getattr(pooled, name))


# -- comparisons --------------------------------------------------------------------------------------


@given(values, values, alphas, sided)
def test_swapping_the_arms_turns_the_test_of_means_around(a, b, alpha, alternative):
    x, y = MeanStatistics.from_values(a), MeanStatistics.from_values(b)
    assume(x.deviations + y.deviations > 0)
    found = means.welch_t_test(x, y, alpha=alpha, alternative=alternative)
    turned = means.welch_t_test(y, x, alpha=alpha, alternative=OTHER_SIDE[alternative])
    assert same(found.p_value, turned.p_value)
    assert same(found.effect, -turned.effect)
    for here, there in zip((found.ci_lower, found.ci_upper), flipped((turned.ci_lower, turned.ci_upper)), strict=True):
        assert same(here, there)


@given(values, values, some.sampled_from([1e-6, 0.5, 3.0, 1e9]), some.sampled_from([-1e3, 0.0, 1e4]))
def test_means_follow_the_unit_and_the_origin(a, b, scale, shift):
    x, y = MeanStatistics.from_values(a), MeanStatistics.from_values(b)
    assume(x.deviations + y.deviations > 1.0)
    moved = [MeanStatistics.from_values(scale * (np.array(part) + shift)) for part in (a, b)]
    found, there = means.welch_t_test(x, y), means.welch_t_test(*moved)
    assert same(found.p_value, there.p_value, rel=1e-5)
    assert there.ci_lower == pytest.approx(scale * found.ci_lower, rel=1e-5, abs=1e-6 * scale)
    assert same(means.cohen_d(x, y), means.cohen_d(*moved), rel=1e-5, abs=1e-7)


@given(values, values, alphas, sided)
def test_an_interval_of_means_leaves_out_zero_exactly_when_the_test_is_significant(a, b, alpha, alternative):
    x, y = MeanStatistics.from_values(a), MeanStatistics.from_values(b)
    assume(x.deviations + y.deviations > 0)
    found = means.welch_t_test(x, y, alpha=alpha, alternative=alternative)
    assume(abs(found.p_value - alpha) > 1e-9)
    outside = (found.ci_lower is not None and found.ci_lower > 0) or (found.ci_upper is not None and found.ci_upper < 0)
    assert outside == (found.p_value < alpha)


@few
@given(rates(), rates(), alphas)
def test_swapping_the_arms_turns_the_tests_of_rates_around(first, second, alpha):
    low, high = proportions.newcombe_interval(*first, *second, alpha=alpha)
    back = flipped(proportions.newcombe_interval(*second, *first, alpha=alpha))
    assert (low, high) == pytest.approx(back, abs=1e-12)
    failures = [(n - x, n) for x, n in (first, second)]
    assert (low, high) == pytest.approx(
        flipped(proportions.newcombe_interval(*failures[0], *failures[1], alpha=alpha)), abs=1e-12
    )
    assert -1.0 <= low <= second[0] / second[1] - first[0] / first[1] <= high <= 1.0
    table = [[second[0], second[1] - second[0]], [first[0], first[1] - first[0]]]
    for alternative in means.ALTERNATIVES:
        here = proportions.fisher_exact_test(table, alternative=alternative).p_value
        there = proportions.fisher_exact_test(table[::-1], alternative=OTHER_SIDE[alternative]).p_value
        assert same(here, there)
    for here, there in (
        (comparison.compare_proportions([(first, second)]), comparison.compare_proportions([(second, first)])),
    ):
        assert same(here.p_value, there.p_value)
        assert same(here.effect_size, None if there.effect_size is None else -there.effect_size)


@few
@given(values, values, sided)
def test_ranks_turn_around_and_see_only_the_order(a, b, alternative):
    found = ranks.mann_whitney(a, b, alternative=alternative)
    turned = ranks.mann_whitney(b, a, alternative=OTHER_SIDE[alternative])
    assert found.u_treatment == turned.u_baseline
    assert same(found.p_value, turned.p_value)
    assert found.u_treatment + found.u_baseline == len(a) * len(b)
    grown = [[math.copysign(abs(v) ** 3, v) + 7 for v in part] for part in (a, b)]
    assert same(ranks.mann_whitney(*grown, alternative=alternative).p_value, found.p_value)
    estimate, low, high = ranks.hodges_lehmann(ranks.tally(a, b))
    back = ranks.hodges_lehmann(ranks.tally(b, a))
    assert low <= estimate <= high
    assert (estimate, low, high) == pytest.approx((-back[0], -back[2], -back[1]))
    later = [v + 1 / 16 for v in b]  # no value of one arm is one of the other, so that ties stay what they are
    estimate, low, high = ranks.hodges_lehmann(ranks.tally(a, later))
    moved = ranks.hodges_lehmann(ranks.tally(a, [v + 5 for v in later]))
    assert moved == pytest.approx((estimate + 5, low + 5, high + 5))


@given(some.floats(0.5, 50), some.floats(0.01, 0.2), some.floats(0.5, 50), some.floats(0.01, 0.2), alphas)
def test_a_lift_of_the_same_metric_in_another_unit_is_the_same(b, sb, t, st, alpha):
    found = ratios.relative_lift(b, sb * b, t, st * t, alpha=alpha)
    for unit in (1e-9, 1e12):
        there = ratios.relative_lift(unit * b, unit * sb * b, unit * t, unit * st * t, alpha=alpha)
        for name in ("estimate", "ci_lower", "ci_upper"):
            assert same(getattr(found, name), getattr(there, name))
    negative = ratios.relative_lift(-b, sb * b, -t, st * t, alpha=alpha)  # everything upside down
    assert same(negative.estimate, -found.estimate)
    if found.ci_lower is not None:
        assert found.ci_lower <= found.estimate <= found.ci_upper
        assert same(negative.ci_lower, -found.ci_upper)


@few
@given(rates(), rates())
@example((112, 142), (112, 142))  # one of the arms plus the difference leaves (0, 1) where there is mass yet
def test_posteriors_turn_around(first, second):
    here, there = bayes.compare_rates(*first, *second), bayes.compare_rates(*second, *first)
    assert same(here.chance_to_beat + there.chance_to_beat, 1.0)
    assert same(here.expected_loss, there.expected_loss_baseline)
    assert same(here.expected_loss - here.expected_loss_baseline, -here.estimate)
    assert same(here.ci_lower, -there.ci_upper, abs=1e-6)  # the ends are found by quadrature: to about 1e-7
    assert here.ci_lower < here.estimate < here.ci_upper


# -- planning -----------------------------------------------------------------------------------------


@few
@given(some.floats(0.05, 1.5), some.floats(0.05, 0.95), some.sampled_from([0.5, 0.8, 0.95]), alphas)
def test_larger_effects_and_laxer_errors_need_fewer_subjects(effect, share, wanted, alpha):
    def size(**changes):
        known = {"effect": effect, "power": wanted, "alpha": alpha} | changes
        return power.sample_size_means(known.pop("effect"), 1.0, treatment_share=share, **known).exact_baseline

    assert size(effect=1.1 * effect) <= size() <= size(power=wanted + 0.02)
    assert size(alpha=min(0.5, 2 * alpha)) <= size() <= size(comparisons=2)
    assert power.sample_size_means(effect, 1.0).exact_baseline == pytest.approx(
        power.sample_size_means(1000 * effect, 1000.0).exact_baseline, rel=1e-8
    )


@few
@given(some.floats(0.3, 20), some.floats(0.05, 0.8), some.integers(5, 5000))
def test_power_of_counts_grows_with_the_effect_and_the_size(mean, relative, n):
    found = power_counts.power_counts(relative * mean, mean, n)
    assert found <= power_counts.power_counts(1.1 * relative * mean, mean, n) + 1e-9
    assert found <= power_counts.power_counts(relative * mean, mean, 2 * n) + 1e-9
    assert power_counts.power_counts(relative * mean, mean, n, sd=2 * math.sqrt(mean)) <= found + 1e-9


# -- looks, families, splits --------------------------------------------------------------------------


@few
@given(some.lists(some.integers(1, 40), min_size=1, max_size=6, unique=True), alphas)
def test_more_error_lowers_every_boundary_and_all_of_it_is_spent(steps, alpha):
    t = [step / max(steps) for step in sorted(steps)]
    side = min(alpha, 0.2)
    strict, lax = sequential.boundaries(t, side / 2), sequential.boundaries(t, side)
    assert all(low <= high + 1e-9 for low, high in zip(lax, strict, strict=True))
    above, _ = sequential.crossing_probabilities(t, lax, [-math.inf] * len(t))
    assert sum(above) == pytest.approx(side, abs=1e-9)


@given(some.floats(-6, 6), some.integers(2, 10**6), alphas)
def test_a_confidence_sequence_leaves_out_zero_exactly_when_its_p_value_says_so(z, n, alpha):
    found = always_valid.confidence_sequence(z, 1.0, n, alpha=alpha)
    assume(abs(found.p_value - alpha) > 1e-9)
    assert (found.ci_lower > 0 or found.ci_upper < 0) == (found.p_value < alpha)
    assert found.half_width > 1.0


@given(some.floats(0, 6), some.integers(2, 10**6), alphas)
def test_a_one_sided_confidence_sequence_gains_on_its_side_and_says_nothing_of_the_other(z, n, alpha):
    both = always_valid.confidence_sequence(z, 1.0, n, alpha=alpha)
    above = always_valid.confidence_sequence(z, 1.0, n, alpha=alpha, alternative="greater")
    below = always_valid.confidence_sequence(-z, 1.0, n, alpha=alpha, alternative="less")
    assert (above.ci_lower, above.ci_upper) == (pytest.approx(-below.ci_upper), below.ci_lower)
    assert above.p_value == below.p_value
    assert always_valid.confidence_sequence(-z, 1.0, n, alpha=alpha, alternative="greater").p_value == 1.0
    assert both.ci_lower < above.ci_lower
    assume(abs(above.p_value - alpha) > 1e-9)
    assert (above.ci_lower > 0) == (above.p_value < alpha)
    if both.p_value < 0.05:  # at most two-sided evidence is worth twice of it on one side, with the bound's small loss
        assert 0.5 * both.p_value <= above.p_value <= 0.65 * both.p_value


@given(some.lists(some.floats(0, 1), min_size=1, max_size=8))
def test_adjusted_p_values_keep_their_order_and_never_shrink(p):
    for method in multiplicity.METHODS.values():
        adjusted = method(p)
        assert all(raw <= new <= 1.0 for raw, new in zip(p, adjusted, strict=True))
        order = np.argsort(p, kind="stable")
        assert (np.diff(np.array(adjusted)[order]) >= -1e-15).all()
    for holm, bonferroni in zip(multiplicity.holm(p), multiplicity.bonferroni(p), strict=True):
        assert holm <= bonferroni


@given(some.lists(some.integers(0, 5000), min_size=2, max_size=5), some.data())
def test_the_split_test_does_not_mind_the_order_of_the_variants(counts, data):
    assume(sum(counts) > 0)
    weights = data.draw(some.lists(some.floats(0.05, 1), min_size=len(counts), max_size=len(counts)))
    order = data.draw(some.permutations(range(len(counts))))
    for test in (srm.srm_p_value, srm.sequential_srm_p_value):
        here = test(counts, weights)
        there = test([counts[i] for i in order], [7 * weights[i] for i in order])
        assert same(here, there, rel=1e-6)
        assert 0.0 < here <= 1.0
