"""Every case of tests/reference/ab_testing.json, computed by the functions of stats/; origins stand in the file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from stats import always_valid, bayes, multiplicity, power, proportions, ranks, ratios, sequential, srm
from stats.decision import judge_looks
from stats.means import cohen_d, cuped, non_inferiority_test, t_p_value, welch_t_test
from stats.moments import JointStatistics, MeanStatistics

CASES = json.loads((Path(__file__).parents[1] / "reference" / "ab_testing.json").read_text())


def values(arm):
    return MeanStatistics.from_values(arm)


def summary(arm):
    return MeanStatistics.from_summary(arm["n"], arm["mean"], arm["sd"])


def sums(arm):
    return MeanStatistics.from_sums(arm["n"], arm["sum"], arm["sum_squares"])


def rate(arm):
    p = arm["successes"] / arm["n"]
    return p, math.sqrt(p * (1 - p) / arm["n"])


def hits(arm):
    return arm["successes"], arm["n"]


def welch(read):
    def compute(i):
        result = welch_t_test(read(i["control"]), read(i["treatment"]), alpha=i["alpha"])
        lift = result.effect / abs(read(i["control"]).mean)
        return {
            "t": result.statistic,
            "df": result.df,
            "p": result.p_value,
            "diff": result.effect,
            "se": result.standard_error,
            "ci": [result.ci_lower, result.ci_upper],
            "relative_lift": lift,
        }

    return compute


def welch_greater(i):
    result = welch_t_test(values(i["control"]), values(i["treatment"]), alpha=i["alpha"], alternative="greater")
    assert result.ci_upper is None
    return {"p": result.p_value, "ci_low": result.ci_lower}


def lift_from(control, treatment, method="delta"):
    return ratios.relative_lift(*control, *treatment, method=method)


def mean_pair(statistics):
    return statistics.mean, statistics.standard_error


def lift_delta(i):
    lift = lift_from(mean_pair(sums(i["control"])), mean_pair(sums(i["treatment"])))
    # the reference takes a t quantile with the degrees of freedom of the absolute difference
    return symmetric(lift, welch_t_test(sums(i["control"]), sums(i["treatment"])).df)


def symmetric(lift, df):
    reach = float(special.stdtrit(df, 0.975)) * lift.standard_error
    return {
        "lift": lift.estimate,
        "se": lift.standard_error,
        "p": t_p_value(lift.estimate / lift.standard_error, df),
        "ci": [lift.estimate - reach, lift.estimate + reach],
    }


def lift_delta_proportion(i):
    (p1, s1), (p2, s2) = rate(i["control"]), rate(i["treatment"])
    va, vb = s1**2, s2**2
    df = (va + vb) ** 2 / (va**2 / (i["control"]["n"] - 1) + vb**2 / (i["treatment"]["n"] - 1))
    return symmetric(lift_from((p1, s1), (p2, s2)), df)


def lift_three(i):
    arms = mean_pair(summary(i["control"])), mean_pair(summary(i["treatment"]))
    delta, log, fieller = (lift_from(*arms, method) for method in ("delta", "log", "fieller"))
    return {
        "lift": delta.estimate,
        "delta_se": delta.standard_error,
        "delta_ci": [delta.ci_lower, delta.ci_upper],
        "log_delta_ci": [log.ci_lower, log.ci_upper],
        "fieller_ci": [fieller.ci_lower, fieller.ci_upper],
    }


def table(i):
    result = proportions.chi_square_test([hits(i["control"]), hits(i["treatment"])], correction=i["correction"])
    return {"chi2": result.statistic, "p": result.p_value, "dof": result.df}


def z_pooled(i):
    z, p = proportions.two_proportion_z_test(hits(i["control"]), hits(i["treatment"]))
    return {"z": z, "p": p}


def difference_intervals(i):
    arms = (*hits(i["control"]), *hits(i["treatment"]))
    return {
        "diff": arms[2] / arms[3] - arms[0] / arms[1],
        "wald_ci": list(proportions.wald_interval(*arms)),
        "newcombe_ci": list(proportions.newcombe_interval(*arms)),
        "yates_ci": list(proportions.wald_interval(*arms, correction=True)),
    }


def g(i):
    result = proportions.g_test([hits(i["control"]), hits(i["treatment"])])
    return {"G": result.statistic, "p": result.p_value}


def kx2(i):
    result = proportions.chi_square_test([hits(arm) for arm in i["arms"]])
    return {"chi2": result.statistic, "p": result.p_value, "dof": result.df}


def fisher(i):
    result = {"p": proportions.fisher_exact_test(i["table"]).p_value}
    return result | {"cond_mle_odds_ratio": proportions.conditional_odds_ratio(i["table"])}


def log_pooled(i):
    arms = (*hits(i["control"]), *hits(i["treatment"]))
    return {
        "p": proportions.chi_square_test([arms[:2], arms[2:]]).p_value,
        "rel": arms[2] / arms[3] / (arms[0] / arms[1]) - 1,
        "rel_ci": list(ratios.log_ratio_interval(*arms)),
        "abs_ci": list(proportions.wald_interval(*arms, pooled=True)),
    }


def mann_whitney(i):
    result = ranks.mann_whitney(i["control"], i["treatment"], continuity=i.get("continuity", True))
    estimate, low, high = ranks.hodges_lehmann(ranks.tally(i["control"], i["treatment"]))
    one_sided = ranks.mann_whitney(i["control"], i["treatment"], alternative=i.get("alternative", "two-sided"))
    return {
        "U_treatment": result.u_treatment,
        "U_control": result.u_baseline,
        "p": one_sided.p_value if "alternative" in i else result.p_value,
        "p_two_sided": result.p_value,
        "cles": result.probability_of_superiority,
        "rank_biserial": result.rank_biserial,
        "hodges_lehmann": estimate,
        "hl_ci": [low, high],
    }


def order_is_not_means(_):
    control, treatment = [5] * 50, [0] * 40 + [30] * 10
    result = ranks.mann_whitney(control, treatment)
    return {
        "control_mean": values(control).mean,
        "treatment_mean": values(treatment).mean,
        "mw_U_treatment": result.u_treatment,
        "mw_p": result.p_value,
        "cles": result.probability_of_superiority,
        "rank_biserial": result.rank_biserial,
        "welch_p": welch_t_test(values(control), values(treatment)).p_value,
    }


def size_proportions(i):
    plan = power.sample_size_proportions(i["p1"], i["p2"], alpha=i["alpha"], power=i["power"])
    return {"n_per_arm_power_prop_test": plan.n_baseline, "power_prop_test_exact": plan.exact_baseline}


def size_means(i):
    t = power.sample_size_means(i["delta"], i["sd"], alpha=i["alpha"], power=i["power"])
    z = power.sample_size_means(i["delta"], i["sd"], alpha=i["alpha"], power=i["power"], distribution="normal")
    return {
        "n": t.exact_baseline,
        "n_ceil": t.n_baseline,
        "n_t": t.exact_baseline,
        "n_ceil_t": t.n_baseline,
        "n_z": z.exact_baseline,
        "n_ceil_z": z.n_baseline,
    }


def size_means_one_sided(i):
    plan = power.sample_size_means(i["delta"], i["sd"], alpha=i["alpha"], power=i["power"], alternative="greater")
    return {"n": plan.exact_baseline, "n_ceil": plan.n_baseline}


def size_unequal(i):
    common = {"alpha": i["alpha"], "power": i["power"], "distribution": "normal"}
    plan = power.sample_size_means(i["delta"], i["sd"], treatment_share=i["traffic_split_treatment"], **common)
    equal = power.sample_size_means(i["delta"], i["sd"], **common)
    return {
        "n_control": plan.exact_baseline,
        "n_treatment": plan.exact_treatment,
        "total": plan.exact_baseline + plan.exact_treatment,
        "total_at_50_50": 2 * equal.exact_baseline,
    }


def classic(shape):
    def compute(i):
        bounds = sequential.wang_tsiatis_boundaries(i["K"], i["alpha"] / 2, shape)
        names = {"C_B": bounds[-1], "jennison_turnbull_C_P": round(bounds[0], 3)}
        return names | {"z": bounds, "nominal_p": 2 * float(special.ndtr(-bounds[0]))}

    return compute


def spending(kind, parameter=None):
    def compute(i):
        t, alpha = i["information_fractions"], i["alpha_one_sided"]
        spent = [sequential.spent_alpha(fraction, alpha, kind, parameter) for fraction in t]
        return {"z": sequential.boundaries(t, alpha, kind, parameter), "cumulative_alpha_one_sided": spent}

    return compute


def convention(i):
    half = sequential.spent_alpha(i["t"], i["alpha_two_sided"] / 2)
    return {
        "spend_half_alpha_each_side": 2 * half,
        "z_half_alpha": sequential.boundaries([i["t"]], i["alpha_two_sided"] / 2)[0],
    }


def peeking(i):
    return {"type1": [sequential.naive_peeking_error(looks, i["z"]) for looks in i["looks"]]}


def decision(i):
    seen = judge_looks([i["t"]], [i["z"]], alpha=i["alpha_two_sided"])
    name = "continue" if seen.crossed is None else "stop_success" if seen.sign > 0 else "stop_harm"
    return {"boundary": seen.bounds[0], "decision": name}


def inflation(i):
    fixed = float(special.ndtri(1 - i["alpha_one_sided"]) + special.ndtri(i["power"]))
    result = {}
    for name, shape in (("OBF", 0.0), ("Pocock", 0.5)):
        result[name] = {}
        for looks in (2, 3, 4, 5):
            upper = sequential.wang_tsiatis_boundaries(looks, i["alpha_one_sided"], shape, symmetric=False)
            t = [(look + 1) / looks for look in range(looks)]
            result[name][str(looks)] = (sequential.drift_for_power(t, upper, i["power"]) / fixed) ** 2
    return result


def conditional(i):
    z, t, c = i["z"], i["t"], i["critical_z"]
    design = float(special.ndtri(1 - i["alpha_two_sided"] / 2) + special.ndtri(i["design_power"]))
    return {
        "cp_current_trend": sequential.conditional_power(z, t, z / math.sqrt(t), c),
        "cp_null": sequential.conditional_power(z, t, 0.0, c),
        "cp_design_effect": sequential.conditional_power(z, t, design, c),
        "predictive_power_flat_prior": sequential.predictive_power(z, t, c),
        "b_value": z * math.sqrt(t),
    }


def gs_design(t, alpha, beta, *, symmetric):
    """Return boundaries and maximum size of gsDesign(n.fix=800, sfu=sfHSD(-4)), its default spending."""
    upper = sequential.boundaries(t, alpha, "hwang_shih_decani", -4.0, symmetric=symmetric)
    drift = sequential.drift_for_power(t, upper, 1 - beta, symmetric=symmetric)
    fixed = float(special.ndtri(1 - alpha) + special.ndtri(1 - beta))
    return upper, 800 * (drift / fixed) ** 2


def conditional_gs_design(_):
    upper, n = gs_design([0.5, 1.0], 0.025, 0.1, symmetric=False)
    z, first = 1.151764990571, n / 2
    t = first / (first + 403)
    return {"cp": sequential.conditional_power(z, t, z / math.sqrt(t), upper[1])}


def conditional_gs_cp(_):
    t = [1 / 3, 2 / 3, 1.0]
    upper, n = gs_design(t, 0.025, 0.1, symmetric=True)
    drift = 0.05733214 * math.sqrt(n)
    above, _ = sequential.conditional_crossing(t, upper, [-bound for bound in upper], 0, 0.943317, drift)
    return {"cp": sum(above)}


def beta_spending(i):
    t = [(look + 1) / i["K"] for look in range(i["K"])]
    design = sequential.beta_spending_design(t, i["alpha_one_sided"], i["beta"])
    return {"upper_z": design.upper, "lower_z": design.lower, "max_information_inflation": design.inflation}


def sequence(i):
    if "estimate" in i:
        found = always_valid.confidence_sequence(i["estimate"], i["se"], i["n_total"], tuned_for=i["N_star"])
        fixed = float(special.ndtri(0.975)) * i["se"]
        extra = {"rho": found.rho, "half_width": found.half_width, "width_ratio_vs_fixed": found.half_width / fixed}
    else:
        read = rate if "successes" in i["control"] else lambda arm: mean_pair(sums(arm))
        lift = lift_from(read(i["control"]), read(i["treatment"]))
        n = i["control"]["n"] + i["treatment"]["n"]
        found = always_valid.confidence_sequence(lift.estimate, lift.standard_error, n, tuned_for=i["N_star"])
        extra = {"lift": lift.estimate, "se": lift.standard_error, "p_below": found.p_value}
    return extra | {"ci": [found.ci_lower, found.ci_upper], "p": found.p_value}


def mixture(i):
    rho, bound = always_valid.normal_mixture_bound(i["v"], i["alpha"], v_opt=i["v_opt"], alpha_opt=i["alpha_opt"])
    return {"best_rho": rho, "bound": bound, "log_mixture": always_valid.log_normal_mixture(i["s"], i["v"], rho)}


def msprt(i):
    ratio = always_valid.msprt_likelihood_ratio(i["n_per_arm"], i["diff"], i["variance"], i["tau2"])
    p = always_valid.msprt_p_values([i["n_per_arm"]], [i["diff"]], i["variance"], i["tau2"])
    return {"likelihood_ratio": ratio, "always_valid_p_single_look": p[0]}


def msprt_sequence(i):
    return {"p": always_valid.msprt_p_values(i["n_per_arm"], i["diff"], i["variance"], i["tau2"])}


def simple_sequential(i):
    return {"stop_when_T_minus_C": [sequential.simple_sequential_threshold(n) for n in i["N"]]}


def srm_always(i):
    return {
        "always_valid_p": srm.sequential_srm_p_value(i["counts"], i["expected"], concentration=i["concentration"]),
        "fixed_chi2_p": srm.srm_p_value(i["counts"], i["expected"]),
    }


def srm_fixed(i):
    p = srm.srm_p_value(i["counts"], i["expected_weights"])
    return {"p": p, "srm_at_0_001": p < srm.SRM_ALPHA}


def adjusted(i):
    return {
        name: method(i["p"])
        for name, method in (
            ("bonferroni", multiplicity.bonferroni),
            ("holm", multiplicity.holm),
            ("bh", multiplicity.benjamini_hochberg),
            ("by", multiplicity.benjamini_yekutieli),
            ("hochberg", multiplicity.hochberg),
        )
    }


def cuped_case(i):
    arms = [JointStatistics.from_values(i[f"pre_{arm}"], i[f"post_{arm}"]) for arm in ("control", "treatment")]
    result = cuped(arms)
    test, plain = welch_t_test(*result.arms), welch_t_test(arms[0].y, arms[1].y)
    return {
        "theta": result.theta,
        "adjusted_diff": test.effect,
        "p": test.p_value,
        "ci": [test.ci_lower, test.ci_upper],
        "unadjusted_diff": plain.effect,
        "unadjusted_p": plain.p_value,
        "variance_reduction_control": result.variance_reduction[0],
    }


def ratio(i):
    arms = [
        ratios.ratio_statistics(JointStatistics.from_values(i[arm]["den"], i[arm]["num"]))
        for arm in ("control", "treatment")
    ]
    test = welch_t_test(*arms)
    return {
        "control_ratio": arms[0].mean,
        "treatment_ratio": arms[1].mean,
        "diff": test.effect,
        "se": test.standard_error,
        "df": test.df,
        "p": test.p_value,
    }


def unit_of_analysis(i):
    arms = [i["control_events_per_user"], i["treatment_events_per_user"]]
    by_user = [values([float(np.mean(events)) for events in arm]) for arm in arms]
    return {
        "per_user_mean_control": by_user[0].mean,
        "per_user_mean_treatment": by_user[1].mean,
        "p_per_user": welch_t_test(*by_user).p_value,
        "n_users": [arm.n for arm in by_user],
    }


def beta_binomial(i):
    (a1, b1), (a2, b2) = ((arm["alpha_post"], arm["beta_post"]) for arm in (i["control"], i["treatment"]))
    result = bayes.compare_rates(a1 - 1, a1 + b1 - 2, a2 - 1, a2 + b2 - 2)
    return {"prob_treatment_better": result.chance_to_beat, "expected_loss_choose_treatment": result.expected_loss}


def bayes_normal(i):
    read = rate if "successes" in i["control"] else lambda arm: mean_pair(sums(arm))
    lift = lift_from(read(i["control"]), read(i["treatment"]))
    prior = i["prior"] if isinstance(i["prior"], dict) else {"mean": 0.0, "variance": math.inf}
    result = bayes.compare_normal(
        lift.estimate, lift.standard_error, prior_mean=prior["mean"], prior_variance=prior["variance"]
    )
    return {
        "chance_to_win": result.chance_to_beat,
        "expected_lift": result.estimate,
        "ci": [result.ci_lower, result.ci_upper],
        "risk": [result.expected_loss_baseline, result.expected_loss],
    }


def non_inferiority(i):
    arms = summary(i["control"]), summary(i["treatment"])
    test, plain = non_inferiority_test(*arms, i["margin_abs"], alpha=i["alpha"]), welch_t_test(*arms)
    return {
        "diff": plain.effect,
        "p_superiority_two_sided": plain.p_value,
        "p_non_inferiority": test.p_value,
        "ci95": [plain.ci_lower, plain.ci_upper],
        "non_inferior": test.p_value < i["alpha"],
    }


def numerics(i):
    arms = values(i["control"]), values(i["treatment"])
    test = welch_t_test(*arms)
    return {
        "variance_control": arms[0].variance,
        "variance_treatment": arms[1].variance,
        "diff": test.effect,
        "p": test.p_value,
    }


METHODS = {
    "welch_t": welch(values),
    "welch_t_greater": welch_greater,
    "welch_t_summary": welch(summary),
    "welch_t_sums": welch(sums),
    "relative_lift_delta_symmetric": lift_delta,
    "relative_lift_delta_symmetric_proportion": lift_delta_proportion,
    "relative_lift_ci": lift_three,
    "relative_lift_point": lambda i: {
        "lift": ratios.relative_lift(i["control_mean"], 0.0, i["treatment_mean"], 0.0).estimate
    },
    "two_proportion_z_pooled": z_pooled,
    "chi_square_2x2": table,
    "proportion_difference_ci": difference_intervals,
    "g_test_2x2": g,
    "chi_square_kx2": kx2,
    "fisher_exact": fisher,
    "proportion_relative_ci_log_pooled": log_pooled,
    "mann_whitney_u": mann_whitney,
    "mann_whitney_u_exact": mann_whitney,
    "mann_whitney_vs_mean": order_is_not_means,
    "sample_size_two_proportions": size_proportions,
    "power_two_proportions": lambda i: {"power": power.power_proportions(i["p1"], i["p2"], i["n_per_arm"])},
    "power_two_means": lambda i: {"power": power.power_means(i["delta"], i["sd"], i["n_per_arm"])},
    "sample_size_two_means": size_means,
    "sample_size_two_means_one_sided": size_means_one_sided,
    "mde_two_means": lambda i: {"mde_z": power.mde_means(i["n_per_arm"], i["sd"], distribution="normal")},
    "sample_size_two_means_unequal": size_unequal,
    "group_sequential_OBF_classic": classic(0.0),
    "group_sequential_Pocock_classic": classic(0.5),
    "lan_demets_OBF_like": spending("obrien_fleming"),
    "lan_demets_Pocock_like": spending("pocock"),
    "lan_demets_HSD_-4": spending("hwang_shih_decani", -4.0),
    "lan_demets_power_rho2": spending("power", 2.0),
    "lan_demets_convention": convention,
    "type1_error_naive_peeking": peeking,
    "gst_decision_OBF_like": decision,
    "group_sequential_inflation": inflation,
    "remaining_sample_scaling_factor": None,  # a test of its own below
    "conditional_power": conditional,
    "conditional_power_gsDesign": conditional_gs_design,
    "conditional_power_gsCP": conditional_gs_cp,
    "beta_spending_futility": beta_spending,
    "asymptotic_confidence_sequence": sequence,
    "robbins_normal_mixture_two_sided": mixture,
    "msprt_two_sample_normal": msprt,
    "msprt_p_sequence": msprt_sequence,
    "evan_miller_simple_sequential": simple_sequential,
    "anytime_srm_dirichlet_multinomial": srm_always,
    "srm_chi_square": srm_fixed,
    "multiple_comparison": adjusted,
    "cuped": cuped_case,
    "ratio_of_means_delta": ratio,
    "unit_of_analysis": unit_of_analysis,
    "bayes_beta_binomial": beta_binomial,
    "bayes_normal_relative_flat_prior": bayes_normal,
    "bayes_normal_relative_informative": bayes_normal,
    "non_inferiority_t": non_inferiority,
    "variance_numerics": numerics,
}

# Expected entries that record a wrong formula, another convention, or a constant of the source, to tell them apart.
NOT_OURS = {
    "n_per_arm_evan_miller_calculator", "evan_miller_exact", "statsmodels_cohen_h", "unpooled_z",
    "spend_full_alpha_formula", "z_full_alpha", "wrong_formula_1_minus_0_95_pow_K", "jennison_turnbull_C_B",
    "equal_to_one_sided_alpha", "east_value", "p_per_event_WRONG", "n_events", "naive_sum_squares_variance_WRONG",
}  # fmt: skip


# Roots at which the source stops early; each is reached to the file's tolerance in a test of its own below.
PRECISE_ELSEWHERE = {"mde", "cond_mle_odds_ratio"}


def check(found, expected, tolerance, where):
    if isinstance(expected, dict):
        for name, value in expected.items():
            check(found[name], value, tolerance, f"{where}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for index, value in enumerate(expected):
            check(found[index], value, tolerance, f"{where}[{index}]")
    elif isinstance(expected, str | bool):
        assert found == expected, where
    else:
        allowed = max(tolerance.get("abs", 0.0), tolerance.get("rel", 0.0) * abs(expected))
        assert abs(found - expected) <= allowed, f"{where}: {found!r} is not {expected!r} within {allowed:g}"


def test_every_case_of_the_file_has_a_method():
    assert {case["method"] for case in CASES} == set(METHODS)
    assert len(CASES) == 83


HERE = [case for case in CASES if METHODS[case["method"]] is not None]


@pytest.mark.parametrize("case", HERE, ids=[case["id"] for case in HERE])
def test_reference_case(case):
    found = METHODS[case["method"]](case["inputs"])
    compared = 0
    for name, expected in case["expected"].items():
        if name in NOT_OURS or name in PRECISE_ELSEWHERE:
            continue
        if name == "p_below":
            assert found[name] < expected
        else:
            check(found[name], expected, case["tolerance"], name)
        compared += 1
    assert compared


def test_boundaries_agree_with_the_references_to_five_digits():
    names = [name for name in METHODS if name.startswith("lan_demets") and name != "lan_demets_convention"]
    seen = 0
    for case in CASES:
        if case["method"] in names:
            check(METHODS[case["method"]](case["inputs"])["z"], case["expected"]["z"], {"abs": 1e-5}, case["id"])
            seen += 1
    assert seen == 10


def brent_root(function, low, high, tolerance):
    """Return the root at which Brent (1973, ch. 4) stops with R's default tolerance, as uniroot does.

    Three numbers of the file are such early stops. With the stopping rule of their source our functions give them to
    the last digit; by themselves they go on until nothing changes any more.
    """
    a, b, fa, fb = low, high, function(low), function(high)
    c, fc = a, fa
    while True:
        before = b - a
        if abs(fc) < abs(fb):
            a, b, c, fa, fb, fc = b, c, b, fb, fc, fb
        near, step = 2 * np.finfo(float).eps * abs(b) + tolerance / 2, (c - b) / 2
        if abs(step) <= near or fb == 0:
            return b
        if abs(before) >= near and abs(fa) > abs(fb):
            width, ratio = c - b, fb / fa
            if a == c:  # the secant
                p, q = width * ratio, 1 - ratio
            else:  # inverse quadratic interpolation
                u, v = fa / fc, fb / fc
                p, q = ratio * (width * u * (u - v) - (b - a) * (v - 1)), (u - 1) * (v - 1) * (ratio - 1)
            p, q = (p, -q) if p > 0 else (-p, q)
            if p < 0.75 * width * q - abs(near * q) / 2 and p < abs(before * q / 2):
                step = p / q
        a, fa = b, fb
        b += step if abs(step) >= near else math.copysign(near, step)
        fb = function(b)
        if (fb > 0) == (fc > 0):
            c, fc = a, fa


R_TOLERANCE = np.finfo(float).eps ** 0.25


def test_the_detectable_effect_has_exactly_the_power():
    from scipy.stats import nct, t

    def exact_power(effect):
        return nct.sf(t.ppf(0.975, 1998), 1998, effect / (0.12 * math.sqrt(2 / 1000)))

    case = next(case for case in CASES if case["id"] == "mde_means")
    found = power.mde_means(1000, 0.12)
    assert exact_power(found) == pytest.approx(0.8, abs=1e-8)
    # R's power.t.test looks between 1e-7 and 1e7 standard deviations, and stops at a power of .80041
    early = brent_root(lambda effect: power.power_means(effect, 0.12, 1000) - 0.8, 1.2e-8, 1.2e6, R_TOLERANCE)
    check(early, case["expected"]["mde"], case["tolerance"], "mde")
    assert early == pytest.approx(case["expected"]["mde"], rel=1e-12)
    assert exact_power(early) == pytest.approx(0.80041, abs=1e-5)


def test_the_conditional_odds_ratio_reproduces_the_observed_cell():
    found = proportions.conditional_odds_ratio([[2, 15], [10, 3]])
    ways = [math.comb(17, k) * math.comb(13, 12 - k) for k in range(13)]

    def expected_cell(odds):
        weights = [way * odds**k for k, way in enumerate(ways)]
        return sum(k * weight for k, weight in enumerate(weights)) / sum(weights)

    assert expected_cell(found) == pytest.approx(2.0, abs=1e-12)
    assert found == pytest.approx(0.04693663904968004, rel=1e-10)  # scipy.stats.contingency.odds_ratio 1.17.1
    case = next(case for case in CASES if case["id"] == "fisher_convictions")
    # R's fisher.test looks between 0 and 1, and stops where 1.9999993 of the 2 are expected
    early = brent_root(lambda odds: expected_cell(odds) - 2.0, 0.0, 1.0, R_TOLERANCE)
    check(early, case["expected"]["cond_mle_odds_ratio"], case["tolerance"], "cond_mle_odds_ratio")
    assert expected_cell(early) == pytest.approx(1.9999993, abs=1e-7)


def test_additional_subjects_reach_the_power():
    case = next(case for case in CASES if case["method"] == "remaining_sample_scaling_factor")
    i, expected = case["inputs"], case["expected"]
    lift = lift_from(mean_pair(sums(i["control"])), mean_pair(sums(i["treatment"])))
    for tuned_for, name in ((None, "scaling_factor_fixed"), (5000, "scaling_factor_sequential_Nstar5000")):
        settings = (lift.standard_error, i["target_mde_relative"], 1000)
        found = power.additional_sample_factor(*settings, tuned_for=tuned_for)
        assert power.power_with_more(found, *settings, tuned_for=tuned_for) == pytest.approx(0.8, abs=1e-10)
        # gbstats doubles from 1, then halves until it is within 1e-5 of the power
        low, high, miss = 0.0, 1.0, -1.0
        while power.power_with_more(high, *settings, tuned_for=tuned_for) < 0.8:
            high *= 2.0
        while abs(miss) >= 1e-5:
            middle = (low + high) / 2
            miss = power.power_with_more(middle, *settings, tuned_for=tuned_for) - 0.8
            low, high = (low, middle) if miss > 0 else (middle, high)
        check(middle, expected[name], case["tolerance"], name)
        assert found == pytest.approx(middle, rel=1e-4)


def test_effect_size_is_in_pooled_standard_deviations():
    assert cohen_d(values([1, 2, 3]), values([3, 4, 5])) == pytest.approx(2.0)
    assert cohen_d(values([1, 1]), values([2, 2])) is None
