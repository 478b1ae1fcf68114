"""The statistics of A/B tests beside other software and numerical integration, on drawn inputs and at the edges.

Numbers without a call beside them say where they are from. What is drawn is drawn anew from a fixed seed.
"""
# ruff: noqa: B023 - the integrals of a loop are taken within it

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats as st
from scipy import special
from scipy.integrate import quad

from stats import always_valid, bayes, comparison, means, power, proportions, ranks, ratios, sequential, srm
from stats.moments import JointStatistics, MeanStatistics

ALTERNATIVES = means.ALTERNATIVES


def statistics(values):
    return MeanStatistics.from_values(values)


# -- tests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_welch_agrees_with_scipy(alternative, scale):
    rng = np.random.default_rng(1)
    for n1, n2 in ((2, 2), (2, 50), (13, 7), (40, 40)):
        x, y = rng.normal(3 * scale, scale, n1), rng.normal(3.5 * scale, 4 * scale, n2)
        found = means.welch_t_test(statistics(x), statistics(y), alpha=0.01, alternative=alternative)
        theirs = st.ttest_ind(y, x, equal_var=False, alternative=alternative)
        assert (found.statistic, found.df, found.p_value) == pytest.approx(
            (theirs.statistic, theirs.df, theirs.pvalue), rel=1e-9
        )
        interval = theirs.confidence_interval(0.99)
        ends = (-math.inf if found.ci_lower is None else found.ci_lower, found.ci_upper or math.inf)
        assert ends == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_tables_agree_with_scipy():
    rng = np.random.default_rng(2)
    for _ in range(60):
        n1, n2 = (int(n) for n in rng.integers(1, 300, 2))
        x1, x2 = (int(rng.integers(0, n + 1)) for n in (n1, n2))
        if x1 + x2 in (0, n1 + n2):
            continue
        table = [[x2, n2 - x2], [x1, n1 - x1]]
        for correction in (False, True):
            found = proportions.chi_square_test([(x1, n1), (x2, n2)], correction=correction)
            theirs = st.chi2_contingency(table, correction=correction)
            assert (found.statistic, found.p_value) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-8)
        found = proportions.g_test([(x1, n1), (x2, n2)])
        theirs = st.chi2_contingency(table, correction=False, lambda_="log-likelihood")
        assert found.statistic == pytest.approx(theirs.statistic, rel=1e-7, abs=1e-10)
        for alternative in ALTERNATIVES:
            assert proportions.fisher_exact_test(table, alternative=alternative).p_value == pytest.approx(
                st.fisher_exact(table, alternative=alternative).pvalue, rel=1e-7, abs=1e-14
            )
        theirs = st.contingency.odds_ratio(np.array(table)).statistic
        if math.isfinite(theirs):
            assert proportions.conditional_odds_ratio(table) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize(
    ("arms", "alpha", "newcombe"),
    [
        # statsmodels 0.15.0: confint_proportions_2indep(x2, n2, x1, n1, method="newcomb", alpha=...)
        ((0, 10, 0, 20), 0.05, (-0.27753279986288926, 0.1611251580528194)),
        ((0, 5, 5, 5), 0.05, (0.38554900569034356, 1.0)),
        ((56, 70, 48, 80), 0.05, (-0.33387265403690614, -0.05243147240236498)),
        ((3, 1000, 9, 1001), 0.01, (-0.004164861408970892, 0.017753771043163856)),
    ],
)
def test_newcombe_intervals_agree_with_their_definition(arms, alpha, newcombe):
    x1, n1, x2, n2 = arms
    low, high = proportions.newcombe_interval(*arms, alpha=alpha)
    first = st.binomtest(x1, n1).proportion_ci(1 - alpha, "wilson")
    second = st.binomtest(x2, n2).proportion_ci(1 - alpha, "wilson")
    p1, p2 = x1 / n1, x2 / n2
    assert low == pytest.approx(p2 - p1 - math.hypot(p2 - second.low, first.high - p1), abs=1e-12)
    assert high == pytest.approx(p2 - p1 + math.hypot(second.high - p2, p1 - first.low), abs=1e-12)
    assert (low, high) == pytest.approx(newcombe, abs=1e-12)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_ranks_agree_with_scipy(alternative):
    rng = np.random.default_rng(3)
    for n1, n2 in ((1, 3), (4, 4), (12, 30), (60, 45)):
        for x, y in (
            (rng.normal(size=n1), rng.normal(0.5, 1, n2)),
            (rng.poisson(2, n1), rng.poisson(3, n2)),
            (np.zeros(n1), np.arange(1.0, n2 + 1)),
        ):
            found = ranks.mann_whitney(x, y, alternative=alternative)
            method = "exact" if found.method == "exact" else "asymptotic"
            theirs = st.mannwhitneyu(y, x, alternative=alternative, method=method)
            assert found.u_treatment == theirs.statistic
            assert found.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
            middle = np.median(np.subtract.outer(y.astype(float), x.astype(float)))
            assert ranks.hodges_lehmann(ranks.tally(x, y))[0] == pytest.approx(middle, abs=1e-12)


def test_the_split_test_agrees_with_scipy():
    counts, weights = [520, 300, 180], [0.5, 0.3, 0.2]
    theirs = st.chisquare(counts, np.array(weights) * 1000)
    assert srm.srm_p_value(counts, weights) == pytest.approx(theirs.pvalue, rel=1e-12)


@pytest.mark.parametrize(
    ("counts", "shares", "expected"),
    [  # R 4.2.2: 2 * min(pbinom(k, n, p), pbinom(k - 1, n, p, lower.tail = FALSE)), times the variants if more than two
        ([3, 0], [0.01, 0.99], 2.0e-6),
        ([100, 3], [0.999, 0.001], 0.0003281968326921),
        ([0, 0, 5], [0.98, 0.01, 0.01], 6.0e-10),
    ],
)
def test_an_alarm_over_a_split_stands_up_to_an_exact_test_where_few_are_expected(counts, shares, expected):
    assert srm.srm_p_value(counts, shares) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("shares", "n"), [([0.99, 0.01], 30), ([0.9, 0.1], 30), ([0.95] + [0.01] * 5, 200), ([0.02] * 50, 100)]
)
def test_a_right_split_of_few_subjects_is_called_broken_in_at_most_one_of_a_thousand_tests(shares, n):
    counts = np.random.default_rng(8).multinomial(n, shares, size=20_000)
    different, times = np.unique(counts, axis=0, return_counts=True)
    alarms = [srm.srm_p_value(row.tolist(), shares) < srm.SRM_ALPHA for row in different]
    assert times[alarms].sum() <= 20  # of 20,000; Pearson's chi-square alone gives 27 to 117


# -- relative effects ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_ends_of_fieller_are_the_ratios_that_are_just_not_rejected(sign):
    b, sb, t, s = sign * 2.0, 0.3, sign * 3.0, 0.5
    lift = ratios.relative_lift(b, sb, t, s)
    for end in (lift.ci_lower, lift.ci_upper):
        ratio = 1.0 + sign * end
        assert abs(t - ratio * b) / math.hypot(s, ratio * sb) == pytest.approx(1.959963984540054, rel=1e-10)


def test_ratios_and_covariates_agree_with_tea_tasting_and_gbstats():
    # tea-tasting 1.14.0 (RatioOfMeans, Mean with covariate) and gbstats 0.8.0 (RatioStatistic), run on these arrays:
    # equal to 1e-8 on forty drawn experiments; here the linearised values themselves are tested by SciPy
    rng = np.random.default_rng(4)
    arms, linear = [], []
    for rate, n in ((0.4, 90), (0.5, 130)):
        below = 1.0 + rng.poisson(3, n)
        above = rng.poisson(rate * below)
        arms.append(ratios.ratio_statistics(JointStatistics.from_values(below, above)))
        ratio = above.sum() / below.sum()
        linear.append(ratio + (above - ratio * below) / below.mean())
    found, theirs = means.welch_t_test(*arms), st.ttest_ind(linear[1], linear[0], equal_var=False)
    assert (found.statistic, found.df, found.p_value) == pytest.approx(
        (theirs.statistic, theirs.df, theirs.pvalue), rel=1e-9
    )


@pytest.mark.parametrize("kind", ["means", "rates"])
@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_the_relative_interval_ends_and_opens_like_the_test(kind, alternative):
    if kind == "means":
        arms = [(MeanStatistics.from_summary(25, 1.0, 0.4), MeanStatistics.from_summary(20, 1.2, 0.5))]
        found = comparison.compare_means(arms, alternative=alternative)
        df = means.welch_t_test(*arms[0]).df
        errors = [arm.standard_error for arm in arms[0]]
    else:
        found = comparison.compare_proportions([((40, 100), (52, 100))], alternative=alternative)
        df = math.inf
        errors = [math.sqrt(p * (1 - p) / 100) for p in (0.4, 0.52)]
    tail = 0.025 if alternative == "two-sided" else 0.05
    critical = st.t.isf(tail, df) if math.isfinite(df) else st.norm.isf(tail)
    ends = (found.relative_ci_lower, found.relative_ci_upper)
    assert [end is None for end in ends] == [alternative == "less", alternative == "greater"]
    assert [end is None for end in ends] == [found.ci_lower is None, found.ci_upper is None]
    for end in ends:
        if end is not None:
            distance = abs(found.treatment - (1 + end) * found.baseline)
            assert distance / math.hypot(errors[1], (1 + end) * errors[0]) == pytest.approx(critical, rel=1e-9)


# -- Bayes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        ((100, 1000, 120, 1000), (1.0, 1.0)),
        ((3, 10, 300_000, 1_000_000), (1.0, 1.0)),  # posteriors of very different width
        ((300_000, 1_000_000, 3, 10), (1.0, 1.0)),
        ((0, 1000, 3, 1000), (1.0, 1.0)),
        ((0, 5, 0, 5), (1.0, 1.0)),
        ((5, 10, 5, 10), (0.5, 0.5)),
        ((20, 60, 30, 40), (2.0, 8.0)),
    ],
    ids=str,
)
def test_posteriors_of_rates_agree_with_integration(case):
    (x1, n1, x2, n2), prior = case
    found = bayes.compare_rates(x1, n1, x2, n2, prior=prior)
    a, b = (st.beta(prior[0] + x, prior[1] + n - x) for x, n in ((x1, n1), (x2, n2)))

    def integral(function, shift=0.0):
        quantiles = [1e-12, 1e-6, 0.01, 0.5, 0.99, 1 - 1e-6, 1 - 1e-12]
        cuts = sorted({0.0, 1.0, *b.ppf(quantiles), *np.clip(a.ppf(quantiles) + shift, 0.0, 1.0)})
        return sum(quad(function, lo, hi, epsabs=1e-13, limit=200)[0] for lo, hi in pairwise(cuts))

    assert found.chance_to_beat == pytest.approx(integral(lambda p: b.pdf(p) * a.cdf(p)), abs=1e-8)
    assert found.expected_loss == pytest.approx(integral(lambda p: a.sf(p) * b.cdf(p)), rel=1e-6, abs=1e-12)
    assert found.expected_loss_baseline == pytest.approx(integral(lambda p: b.sf(p) * a.cdf(p)), rel=1e-6, abs=1e-12)
    for end, tail in ((found.ci_lower, 0.025), (found.ci_upper, 0.975)):
        assert integral(lambda p, d=end: b.pdf(p) * a.sf(p - d), end) == pytest.approx(tail, abs=2e-8)


def test_the_interval_of_two_uniform_posteriors_is_known():
    # the difference of two uniform variables has a triangular distribution: 1 - sqrt(alpha)
    found = bayes.compare_rates(0, 0, 0, 0)
    assert found.ci_upper == pytest.approx(1 - math.sqrt(0.05), abs=1e-11)
    assert found.ci_lower == pytest.approx(-found.ci_upper, abs=1e-11)


def test_a_prior_of_next_to_nothing_is_refused():
    for prior in ((0.0, 1.0), (1.0, 1e-9), (math.nan, 1.0), (1.0, math.inf)):
        with pytest.raises(ValueError, match=r"at least 0\.001"):
            bayes.compare_rates(1, 2, 1, 2, prior=prior)


@pytest.mark.slow
def test_a_prior_of_nearly_nothing_lets_the_data_speak():
    found = bayes.compare_rates(0, 10, 1, 10, prior=(1e-3, 1e-3))
    assert found.chance_to_beat == pytest.approx(1.0, abs=1e-3)  # nothing was seen, and nothing believed before


@pytest.mark.parametrize("unit", [1e-160, 1.0, 1e150])
def test_a_normal_posterior_does_not_depend_on_the_unit(unit):
    # precision 1 / .3^2 + 1 / .4^2 = 1 / .24^2; mean (.2 / .09 + .1 / .16) .24^2 = .164
    found = bayes.compare_normal(0.2 * unit, 0.3 * unit, prior_mean=0.1 * unit, prior_variance=0.16 * unit * unit)
    digits = 1e-3 if unit == 1e-160 else 1e-12  # of a variance that is hardly a float
    assert found.estimate == pytest.approx(0.164 * unit, rel=digits)
    assert found.ci_upper - found.ci_lower == pytest.approx(2 * 1.959963984540054 * 0.24 * unit, rel=digits)
    z = 0.164 / 0.24
    assert found.expected_loss == pytest.approx(0.24 * unit * (st.norm.pdf(z) - z * st.norm.sf(z)), rel=2 * digits)


def test_a_billion_subjects_have_a_normal_posterior():
    found = bayes.compare_rates(10**6, 10**9, 10**6 + 3000, 10**9)
    normal = bayes.compare_normal(3e-6, math.sqrt(2.001e6) / 1e9)
    assert found.chance_to_beat == pytest.approx(normal.chance_to_beat, abs=1e-4)
    assert found.ci_lower == pytest.approx(normal.ci_lower, rel=1e-2)
    apart = bayes.compare_rates(10**6, 10**9, 5 * 10**8, 10**9)
    assert (apart.chance_to_beat, apart.expected_loss) == (1.0, 0.0)
    assert apart.expected_loss_baseline == pytest.approx(0.499, abs=1e-6)
    assert apart.ci_lower == pytest.approx(0.499 - 1.96 * math.sqrt(0.25e-9 + 1e-12), abs=1e-7)


# -- power --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n1", "n2"), [(2, 2), (3, 40), (20, 20), (500, 100), (2e5, 1e5), (1e9, 1e9)])
@pytest.mark.parametrize("distance", [-1.0, 0.0, 1.5, 2.8, 6.0, 50.0])
def test_power_is_the_tail_of_the_noncentral_t(n1, n2, distance):
    effect = distance * math.sqrt(1 / n1 + 1 / n2)
    df = n1 + n2 - 2
    for alpha in (0.001, 0.05, 0.2):
        critical = st.t.isf(alpha, df)
        # P(T > c) for T = (Z + distance) / sqrt(V / df), V chi-square: integrated over log(V / df)
        log_density = lambda y: 0.5 * df * (y - math.expm1(y))  # noqa: E731
        width = math.sqrt(2 / df)
        cuts = [-12 * width - 100 / df, -4 * width, 0.0, 4 * width, 14 * width]
        if distance > 0 and cuts[0] < (turn := 2 * math.log(distance / critical)) < cuts[-1]:
            cuts = sorted({*cuts, turn, max(cuts[0], turn - 8 / distance), min(cuts[-1], turn + 8 / distance)})
        pairs = list(pairwise(cuts))
        mass = sum(quad(lambda y: math.exp(log_density(y)), *pair, epsabs=0, limit=200)[0] for pair in pairs)
        tail = sum(
            quad(
                lambda y: math.exp(log_density(y)) * special.ndtr(distance - critical * math.exp(y / 2)),
                *pair, epsabs=0, limit=200,
            )[0]
            for pair in pairs
        )  # fmt: skip
        found = power.power_means(effect, 1.0, n1, n2, alpha=alpha, alternative="greater")
        assert found == pytest.approx(tail / mass, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("comparisons", [1, 3])
def test_size_power_and_effect_of_means_and_rates_solve_each_other(alternative, share, comparisons):
    common = {"alpha": 0.04, "alternative": alternative, "comparisons": comparisons}
    sign = -1.0 if alternative == "less" else 1.0
    plan = power.sample_size_means(sign * 0.3, 2.0, power=0.9, treatment_share=share, **common)
    arms = plan.exact_baseline, plan.exact_treatment
    assert power.power_means(sign * 0.3, 2.0, *arms, **common) == pytest.approx(0.9, abs=1e-9)
    assert power.mde_means(arms[0], 2.0, arms[1], power=0.9, **common) == pytest.approx(0.3, rel=1e-8)
    plan = power.sample_size_proportions(0.3, 0.3 + sign * 0.05, power=0.9, treatment_share=share, **common)
    arms = plan.exact_baseline, plan.exact_treatment
    assert power.power_proportions(0.3, 0.3 + sign * 0.05, *arms, **common) == pytest.approx(0.9, abs=1e-9)
    assert power.mde_proportions(0.3, *arms, power=0.9, **common) == pytest.approx(0.05, rel=1e-8)


def test_a_margin_moves_the_hypothesis():
    shifted = power.sample_size_means(0.0, 1.0, alternative="greater", margin=0.2, alpha=0.025)
    assert shifted.exact_baseline == pytest.approx(power.sample_size_means(0.2, 1.0).exact_baseline, rel=1e-9)
    # two rates of 0.85, margin 0.1: (1.644854 + 1.281552)^2 2 (.85 x .15) / .1^2, the unpooled normal formula
    plan = power.sample_size_proportions(0.85, 0.85, alternative="greater", margin=0.1, power=0.9)
    z = st.norm.isf(0.05) + st.norm.isf(0.1)
    assert plan.exact_baseline == pytest.approx(z**2 * 2 * 0.85 * 0.15 / 0.01, rel=1e-9)


def test_the_detectable_effect_is_in_units_of_the_metric():
    plain = power.mde_means(10, 1.0)
    for unit in (1e-14, 1e14):
        assert power.mde_means(10, unit) == pytest.approx(plain * unit, rel=1e-9)


# -- looks --------------------------------------------------------------------------------------------


def not_crossed(bounds, fractions):
    """P(z below its bound at all of up to three looks): given z at the second, the first and the third are independent.

    (SciPy's multivariate normal has two digits too few.)
    """
    if len(bounds) == 1:
        return special.ndtr(bounds[0])

    def beside(z, look):
        correlation = math.sqrt(min(fractions[1], fractions[look]) / max(fractions[1], fractions[look]))
        return special.ndtr((bounds[look] - correlation * z) / math.sqrt(1 - correlation**2))

    return quad(
        lambda z: st.norm.pdf(z) * beside(z, 0) * (beside(z, 2) if len(bounds) == 3 else 1.0),
        -10.0, bounds[1], epsabs=1e-14, limit=200,
    )[0]  # fmt: skip


@pytest.mark.parametrize(
    ("spending", "parameter"),
    [
        ("obrien_fleming", None),
        ("pocock", None),
        ("hwang_shih_decani", -4.0),
        ("hwang_shih_decani", 1.0),
        ("power", 3.0),
    ],
)
@pytest.mark.parametrize("fractions", [(0.5, 1.0), (0.13, 0.9), (0.2, 0.35, 1.0), (0.6, 0.9, 1.0)])
def test_boundaries_spend_what_they_may(spending, parameter, fractions):
    bounds = sequential.boundaries(fractions, 0.025, spending, parameter)
    for looks in range(1, len(fractions) + 1):
        spent = 1.0 - not_crossed(bounds[:looks], fractions[:looks])
        allowed = sequential.spent_alpha(fractions[looks - 1], 0.025, spending, parameter)
        assert spent == pytest.approx(allowed, abs=1e-10)


@pytest.mark.parametrize("second", [0.51, 0.505, 0.501])
def test_looks_that_are_close_together_spend_what_they_may(second):
    bounds = sequential.boundaries([0.5, second, 1.0], 0.025)
    correlation = math.sqrt(0.5 / second)
    spread = math.sqrt(1 - correlation**2)
    crossed = quad(
        lambda z: st.norm.pdf(z) * special.ndtr((z * correlation - bounds[1]) / spread),
        bounds[0] - 60 * spread, bounds[0], epsabs=1e-18, limit=300,
    )[0]  # fmt: skip
    assert crossed == pytest.approx(
        sequential.spent_alpha(second, 0.025) - sequential.spent_alpha(0.5, 0.025), rel=1e-8
    )
    # a look that hardly adds anything hardly costs the last one anything
    assert 0.0 < bounds[2] - sequential.boundaries([0.5, 1.0], 0.025)[1] < 2e-3


@pytest.mark.slow
def test_a_millionth_of_information_more_moves_no_later_boundary():
    bounds = sequential.boundaries([0.5, 0.500002, 1.0], 0.025)
    assert bounds[2] == pytest.approx(sequential.boundaries([0.5, 1.0], 0.025)[1], abs=1e-5)


def test_conditional_and_predictive_power_agree_with_integration():
    for z, t, drift, critical in ((1.0, 0.3, 2.8, 1.96), (-0.5, 0.7, 0.0, 2.0), (2.5, 0.05, 1.0, 1.7)):
        rest = math.sqrt(1 - t)
        later = st.norm(z * math.sqrt(t) + drift * (1 - t), rest)
        assert sequential.conditional_power(z, t, drift, critical) == pytest.approx(later.sf(critical), rel=1e-12)
        belief = st.norm(z / math.sqrt(t), 1 / math.sqrt(t))
        averaged = quad(
            lambda effect: belief.pdf(effect) * sequential.conditional_power(z, t, effect, critical),
            *belief.ppf([1e-15, 1 - 1e-15]), points=[belief.mean()],
        )[0]  # fmt: skip
        assert sequential.predictive_power(z, t, critical) == pytest.approx(averaged, abs=1e-9)


def test_the_mixture_ratio_agrees_with_integration():
    for n, difference, variance, tau in ((100, 0.3, 1.0, 0.2), (5000, -0.01, 0.25, 0.05)):
        se = math.sqrt(2 * variance / n)
        averaged = quad(
            lambda effect: st.norm.pdf(difference, effect, se) * st.norm.pdf(effect, 0, tau), -12 * tau, 12 * tau,
            points=[0.0, difference], limit=400,
        )[0]  # fmt: skip
        found = always_valid.msprt_likelihood_ratio(n, difference, variance, tau**2)
        assert found == pytest.approx(averaged / st.norm.pdf(difference, 0, se), rel=1e-8)
