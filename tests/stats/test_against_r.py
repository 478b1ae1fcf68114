"""The corners of the tests and of their planning, beside R 4.2.2: the call that gave each number stands beside it."""

from __future__ import annotations

import math

import pytest

from stats import drift, means, multiplicity, power, proportions, ranks, ratios, sequential, trend
from stats.moments import MeanStatistics


def welch(baseline, treatment, **settings):
    return means.welch_t_test(MeanStatistics.from_values(baseline), MeanStatistics.from_values(treatment), **settings)


# -- means --------------------------------------------------------------------------------------------


def test_an_arm_without_variance_is_compared_by_that_of_the_other():
    # t.test(c(5.1, 4.9, 6.2), c(7, 7, 7, 7), conf.level = .999)
    found = welch([7, 7, 7, 7], [5.1, 4.9, 6.2], alpha=0.001)
    assert (found.statistic, found.df) == pytest.approx((-3.958973274443147, 2.0), rel=1e-12)
    assert found.p_value == pytest.approx(0.058280281764459485, rel=1e-12)
    assert (found.ci_lower, found.ci_upper) == pytest.approx((-14.370605866093886, 11.170605866093887), rel=1e-11)


def test_one_sided_tests_of_means_look_to_the_right_side():
    # t.test(c(-3, -5, -4.5, -6), c(-9, -11), alternative = "less", conf.level = .8)
    found = welch([-9, -11], [-3, -5, -4.5, -6], alpha=0.2, alternative="less")
    assert (found.p_value, found.ci_upper) == pytest.approx((0.9738184029564584, 6.652997087374668), rel=1e-11)
    # t.test(c(1, 2, 4, 7, 11) * 1e9, c(0, 30) * 1e9, alternative = "greater")
    found = welch([0, 30e9], [1e9, 2e9, 4e9, 7e9, 11e9], alternative="greater")
    assert (found.p_value, found.ci_lower) == pytest.approx((0.6873912626757908, -100895324715.86678), rel=1e-11)


@pytest.mark.parametrize("nothing", [math.nan, math.inf])
def test_what_is_not_a_number_has_no_p_value(nothing):
    with pytest.raises(ValueError, match="effect must be finite"):
        means.estimate_test(nothing, 1.0)
    with pytest.raises(ValueError, match="not a number"):
        means.t_p_value(math.nan, 5.0)
    with pytest.raises(ValueError, match="effect must be finite"):
        power.power_means(nothing, 1.0, 10)


# -- rates --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("treatment", "baseline", "correction", "interval"),
    [
        # prop.test(c(14, 30), c(19, 42))$conf.int: the correction is no larger than the difference
        ((14, 19), (30, 42), True, (-0.2405623723025635, 0.2856751542574506)),
        # prop.test(c(1, 1), c(3, 2))$conf.int
        ((1, 3), (1, 2), True, (-1.0, 0.8744911993973221)),
        # prop.test(c(150, 12), c(1000, 100))$conf.int
        ((150, 1000), (12, 100), True, (-0.042926749249029464, 0.10292674924902946)),
        # prop.test(c(7, 1), c(9, 90), correct = FALSE)$conf.int
        ((7, 9), (1, 90), False, (0.49419307819878516, 1.0)),
    ],
)
def test_wald_intervals_are_cut_and_corrected_as_in_prop_test(treatment, baseline, correction, interval):
    found = proportions.wald_interval(*baseline, *treatment, correction=correction)
    assert found == pytest.approx(interval, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "alternative", "p"),
    [
        # fisher.test(matrix(c(3, 9, 1e9 - 3, 1e9 - 9), 2), alternative = ..., conf.int = FALSE)$p.value and so on
        ([[3, 10**9 - 3], [9, 10**9 - 9]], "two-sided", 0.14599609254150397),
        ([[3, 10**9 - 3], [9, 10**9 - 9]], "less", 0.07299804627075193),
        ([[4, 10**9 - 4], [4, 10**9 - 4]], "less", 0.6367187502734376),
        ([[0, 10**7], [4, 10**5]], "two-sided", 9.610754943205245e-09),
        ([[5, 0], [0, 5]], "two-sided", 0.00793650793650794),
        ([[1, 11], [9, 3]], "two-sided", 0.002759456185220086),
        ([[1, 11], [9, 3]], "less", 0.0013797280926100427),
    ],
)
def test_fisher_keeps_its_digits_for_few_successes_of_very_many(table, alternative, p):
    assert proportions.fisher_exact_test(table, alternative=alternative).p_value == pytest.approx(p, rel=1e-12)


# -- ranks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baseline", "treatment", "settings", "u", "p"),
    [
        # wilcox.test(c(3.1, 4.2), c(1.5, 2.5, 2.9))
        ([1.5, 2.5, 2.9], [3.1, 4.2], {}, 6, 0.2),
        ([1.5, 2.5, 2.9], [3.1, 4.2], {"alternative": "greater"}, 6, 0.1),
        # wilcox.test(7, 1:5)
        ([1, 2, 3, 4, 5], [7], {}, 5, 1 / 3),
        # x <- c(0, 0, 1, 2, 2, 9); y <- c(0, 0, 0, 1, 1); wilcox.test(x, y, alternative = "greater")
        ([0, 0, 0, 1, 1], [0, 0, 1, 2, 2, 9], {"alternative": "greater"}, 22, 0.10374247622062402),
        # wilcox.test(x, y, alternative = "less", correct = FALSE)
        ([0, 0, 0, 1, 1], [0, 0, 1, 2, 2, 9], {"alternative": "less", "continuity": False}, 22, 0.9126846392197067),
        # wilcox.test(1:49 * 7 + .3, (1:49)^1.5): the largest samples with an exact p-value
        ([k**1.5 for k in range(1, 50)], [k * 7 + 0.3 for k in range(1, 50)], {}, 1444, 0.08425513946049323),
    ],
)
def test_rank_tests_of_few_and_of_tied_values(baseline, treatment, settings, u, p):
    found = ranks.mann_whitney(baseline, treatment, **settings)
    assert (found.u_treatment, found.p_value) == pytest.approx((u, p), rel=1e-12)


def test_the_shift_between_two_samples_and_its_exact_interval():
    x = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    y = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.061, 3.14, 1.291]
    # wilcox.test(x, y, conf.int = TRUE, conf.level = .9)
    found = ranks.mann_whitney(y, x)
    assert (found.u_treatment, found.p_value) == pytest.approx((58, 0.13591114767585355), rel=1e-12)
    assert ranks.hodges_lehmann(ranks.tally(y, x), alpha=0.1) == pytest.approx((0.56, -0.098, 1.01), abs=1e-12)


# -- power --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "n", "settings", "expected"),
    [
        # power.t.test(n = 2, delta = 1, sig.level = .001)$power
        (1.0, 2, {"alpha": 0.001}, 0.0019226162143847203),
        # power.t.test(n = 2, delta = 10)$power
        (10.0, 2, {}, 0.9927466604924962),
        # power.t.test(n = 3, delta = 2, sig.level = .2, alternative = "one.sided")$power
        (2.0, 3, {"alpha": 0.2, "alternative": "greater"}, 0.9315897430311781),
        # power.t.test(n = 5, delta = .1, sig.level = .2, strict = TRUE)$power
        (0.1, 5, {"alpha": 0.2, "strict": True}, 0.20504452363146008),
    ],
)
def test_power_of_means_with_next_to_no_subjects(effect, n, settings, expected):
    assert power.power_means(effect, 1.0, n, **settings) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("effect", "sd", "settings", "n"),
    [
        # power.t.test(delta = .5, sig.level = .001, power = .99, tol = 1e-12)$n
        (0.5, 1.0, {"alpha": 0.001, "power": 0.99}, 255.1102257734748),
        # power.t.test(delta = 3, power = .9, tol = 1e-12)$n
        (3.0, 1.0, {"power": 0.9}, 3.624815139615629),
        # power.t.test(delta = 1.3, sd = 2, sig.level = .2, power = .5, alternative = "one.sided", tol = 1e-12)$n
        (-1.3, 2.0, {"alpha": 0.2, "power": 0.5, "alternative": "less"}, 3.602625659859004),
    ],
)
@pytest.mark.parametrize("unit", [1.0, 1e-200, 1e200])
def test_sizes_for_means_in_any_unit(effect, sd, settings, n, unit):
    found = power.sample_size_means(effect * unit, sd * unit, **settings)
    assert found.exact_baseline == pytest.approx(n, rel=1e-8)


def test_effects_that_few_subjects_can_find():
    # power.t.test(n = 4, power = .8, tol = 1e-13)$delta
    assert power.mde_means(4, 1.0) == pytest.approx(2.3807555679922423, rel=1e-8)
    # power.t.test(n = 50, sd = 3, sig.level = .01, power = .9, alternative = "one.sided", tol = 1e-13)$delta
    found = power.mde_means(50, 3.0, alpha=0.01, power=0.9, alternative="less")
    assert found == pytest.approx(2.195205272425025, rel=1e-8)
    # power.prop.test(n = 500, p1 = .1, power = .8, tol = 1e-13)$p2
    assert power.mde_proportions(0.1, 500) == pytest.approx(0.1594666811338841 - 0.1, rel=1e-8)
    # power.prop.test(n = 2000, p1 = .02, power = .9, sig.level = .01, tol = 1e-13)$p2
    found = power.mde_proportions(0.02, 2000, power=0.9, alpha=0.01)
    assert found == pytest.approx(0.04095529576312298 - 0.02, rel=1e-8)


@pytest.mark.parametrize(
    ("p1", "p2", "n", "settings", "expected"),
    [
        # power.prop.test(n = 20, p1 = .01, p2 = .2)$power
        (0.01, 0.2, 20, {}, 0.49999875538408944),
        # power.prop.test(n = 20, p1 = .3, p2 = .35, sig.level = .2)$power, and with strict = TRUE
        (0.3, 0.35, 20, {"alpha": 0.2}, 0.17224793235207825),
        (0.3, 0.35, 20, {"alpha": 0.2, "strict": True}, 0.22470929174343035),
        # power.prop.test(n = 1000, p1 = .5, p2 = .55, sig.level = .001, alternative = "one.sided")$power
        (0.55, 0.5, 1000, {"alpha": 0.001, "alternative": "less"}, 0.19698694045548087),
    ],
)
def test_power_of_rates(p1, p2, n, settings, expected):
    assert power.power_proportions(p1, p2, n, **settings) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize(
    ("p1", "p2", "settings", "n"),
    [
        # power.prop.test(p1 = .001, p2 = .002, power = .9, tol = 1e-13)$n
        (0.001, 0.002, {"power": 0.9}, 31472.90864346936),
        # power.prop.test(p1 = .5, p2 = .99, power = .99, sig.level = .001, tol = 1e-13)$n
        (0.5, 0.99, {"power": 0.99, "alpha": 0.001}, 43.0299755987455),
        # power.prop.test(p1 = .1, p2 = .12, power = .8, sig.level = .2, alternative = "one.sided", tol = 1e-13)$n
        (0.1, 0.12, {"alpha": 0.2, "alternative": "greater"}, 1386.1944801809077),
    ],
)
def test_sizes_for_rates(p1, p2, settings, n):
    assert power.sample_size_proportions(p1, p2, **settings).exact_baseline == pytest.approx(n, rel=1e-9)


# -- several tests, series, distributions -------------------------------------------------------------


@pytest.mark.parametrize(
    ("adjust", "expected"),
    [
        # p.adjust(c(.3, .001, .001, .04, 1), "holm"), "BH" and "BY"
        (multiplicity.holm, [0.6, 0.005, 0.005, 0.12, 1.0]),
        (multiplicity.benjamini_hochberg, [0.375, 0.0025, 0.0025, 0.2 / 3, 1.0]),
        (
            multiplicity.benjamini_yekutieli,
            [0.85625, 0.0057083333333333335, 0.0057083333333333335, 0.15222222222222223, 1.0],
        ),
    ],
)
def test_adjusted_p_values_with_ties_and_a_one(adjust, expected):
    assert adjust([0.3, 0.001, 0.001, 0.04, 1.0]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("a", "b", "p"),
    [
        # ks.test(c(.1, .4, .7), c(.3, .6, .9, 1.2, 1.5), exact = TRUE)$p.value
        ([0.1, 0.4, 0.7], [0.3, 0.6, 0.9, 1.2, 1.5], 0.46428571428571497),
        # ks.test(1:7 + .5, 1:9 * 1.7, exact = TRUE)$p.value
        ([k + 0.5 for k in range(1, 8)], [k * 1.7 for k in range(1, 10)], 0.12674825174825421),
        # ks.test((1:30)^2, 1:40 * 11.5, exact = TRUE)$p.value
        ([k**2 for k in range(1, 31)], [k * 11.5 for k in range(1, 41)], 0.07620461024716607),
    ],
)
def test_exact_kolmogorov_smirnov_of_unequal_samples(a, b, p):
    assert drift.ks_two_sample(a, b).p_value == pytest.approx(p, rel=1e-11)


def test_trend_with_ties_and_autocorrelation():
    x = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    # cor.test(1:12, x, method = "kendall", exact = FALSE, continuity = TRUE)
    found = trend.mann_kendall(x)
    assert (found.z, found.p_value) == pytest.approx((1.668115312456598, 0.09529283802345666), rel=1e-12)
    # acf(x, plot = FALSE)$acf[2]
    assert trend.lag1_autocorrelation(x) == pytest.approx(-0.07704402515723274, rel=1e-12)


def test_a_line_through_repeated_times():
    # s <- summary(lm(y ~ x, data.frame(x = c(0, 1, 1, 3, 10), y = c(2, 1, 4, 3, -5)))); s$coefficients; s$sigma
    line = trend.linear_trend([0, 1, 1, 3, 10], [2, 1, 4, 3, -5])
    assert (line.slope, line.slope_se) == pytest.approx((-0.7727272727272727, 0.23127784124960227), rel=1e-12)
    assert (line.t, line.p_value) == pytest.approx((-3.3411210886101332, 0.0443504773476971), rel=1e-12)
    assert (line.r_squared, line.residual_sd) == pytest.approx((0.7881818181818182, 1.8789100644530676), rel=1e-12)


# -- the ends of floats -------------------------------------------------------------------------------


@pytest.mark.parametrize("tail", [0.4, 0.025, 1e-17, 1e-200])
def test_quantiles_keep_the_digits_of_small_tails(tail):
    # qnorm(tail, lower.tail = FALSE)
    normal = {0.4: 0.2533471031357998, 0.025: 1.9599639845400538, 1e-17: 8.4937932241096, 1e-200: 30.205594179579634}
    assert means.upper_quantile(tail) == pytest.approx(normal[tail], rel=1e-12)
    assert means.t_p_value(means.upper_quantile(tail, 7.0), 7.0, "greater") == pytest.approx(tail, rel=1e-8)


def test_a_level_of_next_to_nothing_has_an_interval():
    found = welch([1.0, 2.0, 4.0], [2.0, 3.0, 4.5, 6.0], alpha=1e-17)
    assert found.ci_lower < found.effect < found.ci_upper < math.inf
    assert 0.0 < proportions.wilson_interval(3, 10, alpha=1e-17)[0] < 0.3


@pytest.mark.parametrize("method", ["fieller", "log", "delta"])
@pytest.mark.parametrize(
    "arms", [(1.0, 0.1, 1e308, 1e307), (1e-160, 1e167, 1.0, 1.0), (1.0, 1e-3, 1.2, 1e308), (5e-324, 0.0, 1.0, 1.0)]
)
def test_a_lift_that_no_float_can_say_has_a_reason(method, arms):
    lift = ratios.relative_lift(*arms, method=method)
    ends = (lift.estimate, lift.ci_lower, lift.ci_upper)
    assert all(end is None or math.isfinite(end) for end in ends)
    assert (lift.ci_lower is None) == (lift.reason is not None)


def test_a_power_below_the_error_is_refused_by_name():
    with pytest.raises(ValueError, match=r"power must exceed .*got 0\.02"):
        sequential.drift_for_power([0.5, 1.0], sequential.boundaries([0.5, 1.0], 0.025), 0.02)
    with pytest.raises(ValueError, match="must exceed alpha"):
        sequential.beta_spending_design([0.5, 1.0], 0.025, 0.99)
