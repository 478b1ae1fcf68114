"""Inference that stays valid at every look: confidence sequences and sequential p-values.

    >>> interval = confidence_sequence(0.02, 0.01, 2000)
    >>> round(interval.ci_lower, 5), round(interval.ci_upper, 5), round(interval.p_value, 4)
    (-0.01124, 0.05124, 0.4465)

The price is width: about 1.6 times a fixed-horizon interval where it is tuned to be tightest. The gain is that
data may be looked at after every subject and the test stopped at any time, for any reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stats.means import P_VALUE_FLOOR, Alternative, check_alpha, check_alternative, check_finite

__all__ = [
    "ConfidenceSequence",
    "best_rho",
    "confidence_sequence",
    "msprt_likelihood_ratio",
    "msprt_p_values",
    "normal_mixture_bound",
    "one_sided_threshold",
]

DEFAULT_TUNING = 5000  # subjects at which the sequence is tightest
LARGEST_LOG_RATIO = 700.0  # its exponential is a float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSequence:
    """An interval that covers the true value at all looks together with probability ``1 - alpha``.

    Attributes
    ----------
    estimate : float
    ci_lower, ci_upper : float or None
        None on the open side of a one-sided sequence, and where the end is too far out for a float.
    p_value : float
        In (0, 1]; the smallest over all looks is a sequential p-value.
    rho : float
        Tuning of the mixture.
    half_width : float

    References
    ----------
    .. [1] See `confidence_sequence`.
    """

    estimate: float
    ci_lower: float | None
    ci_upper: float | None
    p_value: float
    rho: float
    half_width: float


def best_rho(alpha: float, tuned_for: float) -> float:
    """Return the mixture parameter that makes the sequence tightest at a number of subjects.

    Parameters
    ----------
    alpha : float
    tuned_for : float
        Subjects, positive.

    Returns
    -------
    float

    Notes
    -----
    ``sqrt((-2 log a + log(-2 log a + 1)) / n)``.

    References
    ----------
    .. [1] Waudby-Smith, I., Arbour, D., Sinha, R., Kennedy, E. and Ramdas, A. (2024). Time-uniform central limit
       theory and asymptotic confidence sequences. Ann. Statist. 52, 2613-2640, eq. 24.
    """
    if not tuned_for > 0.0:
        raise ValueError(f"tuned_for must be positive, got {tuned_for!r}")
    log_term = -2.0 * math.log(check_alpha(alpha))
    return math.sqrt((log_term + math.log1p(log_term)) / tuned_for)


def confidence_sequence(
    estimate: float,
    standard_error: float,
    n: float,
    *,
    alpha: float = 0.05,
    tuned_for: float = DEFAULT_TUNING,
    alternative: str = "two-sided",
) -> ConfidenceSequence:
    """Return the asymptotic confidence sequence of an estimate after n subjects.

    Parameters
    ----------
    estimate, standard_error : float
        As of now; the standard error must be positive.
    n : float
        Subjects so far, all variants together; at least 1.
    alpha : float
    tuned_for : float
        Subjects at which the sequence shall be tightest; must be fixed before the data are seen.
    alternative : {"two-sided", "greater", "less"}
        One-sided sequences are open on one side, and their p-value is 1 when the estimate points the other way.

    Returns
    -------
    ConfidenceSequence

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    `mixture_interval` with ``v = n rho^2``.

    References
    ----------
    .. [1] Waudby-Smith, I. et al. (2024). Ann. Statist. 52, 2613-2640, theorem 2.2 and, one-sided, appendix B.
    .. [2] Robbins, H. (1970). Statistical methods related to the law of the iterated logarithm. Ann. Math.
       Statist. 41.
    """
    if not (standard_error > 0.0 and math.isfinite(standard_error)):
        raise ValueError(f"standard_error must be positive and finite, got {standard_error!r}")
    if not (n >= 1 and math.isfinite(n)):
        raise ValueError(f"n must be finite and 1 or more, got {n!r}")
    check_finite("estimate", estimate)
    choice = check_alternative(alternative)
    rho = best_rho(alpha, tuned_for)
    return mixture_interval(estimate, standard_error, n * rho * rho, rho=rho, alpha=alpha, alternative=choice)


def mixture_interval(
    estimate: float, standard_error: float, v: float, *, rho: float, alpha: float, alternative: Alternative
) -> ConfidenceSequence:
    """Return the interval and the p-value of a normal mixture whose variance is v squared standard errors.

    Parameters
    ----------
    estimate, standard_error : float
    v : float
        Positive.
    rho : float
        What v was made of, for the result.
    alpha : float
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    ConfidenceSequence
        Ends too far out for a float are None.

    Notes
    -----
    Two-sided, the mean is mixed over N(0, v): ``se sqrt((v + 1) / v (log(v + 1) - 2 log alpha))``, and its inverse
    ``min(1, exp(log(v + 1) / 2 - A))`` with ``A = z^2 v / (2 (v + 1))``. One-sided, it is mixed over the half of it on
    that side: ``se sqrt(2 (v + 1) / v log(1 + sqrt(v + 1) / (2 alpha)))``, and its inverse
    ``min(1, sqrt(v + 1) / (2 (exp(A) - 1)))``; the normal distribution function in the ratio is replaced by its lower
    bound ``1 - exp(-A)``. That is nearly the two-sided sequence at twice alpha. The one formula behind
    `confidence_sequence` (v grows with the subjects) and `stats.mixture_sequence` (with the information).

    References
    ----------
    .. [1] Robbins, H. (1970). Statistical methods related to the law of the iterated logarithm. Ann. Math.
       Statist. 41, 1397-1409.
    .. [2] Waudby-Smith, I. et al. (2024). Ann. Statist. 52, 2613-2640, appendix B (one-sided sequences).
    """
    z = estimate / standard_error
    log_ratio = log_mixture_ratio(z, v)
    if alternative == "two-sided":
        log_bound = 0.5 * math.log1p(v) - math.log(alpha)
    else:
        log_bound = math.log1p(math.sqrt(v + 1.0) / (2.0 * alpha))
        exponent = log_ratio + 0.5 * math.log1p(v)
        towards = z > 0.0 if alternative == "greater" else z < 0.0
        shrunk = -math.expm1(-exponent)
        log_ratio = math.log(2.0 * shrunk) + log_ratio if towards and shrunk > 0.0 else 0.0
    p_value = max(P_VALUE_FLOOR, math.exp(min(0.0, -log_ratio)))
    half = standard_error * math.sqrt(2.0 * (v + 1.0) / v * log_bound)
    return ConfidenceSequence(
        estimate=estimate,
        ci_lower=None if alternative == "less" or not math.isfinite(half) else estimate - half,
        ci_upper=None if alternative == "greater" or not math.isfinite(half) else estimate + half,
        p_value=p_value,
        rho=rho,
        half_width=half,
    )


def one_sided_threshold(n: int, alpha: float, tuned_for: float = DEFAULT_TUNING) -> float:
    """Return the z that must be exceeded for significance at any look: the half-width in standard errors.

    Parameters
    ----------
    n : int
    alpha : float
        Two-sided.
    tuned_for : float

    Returns
    -------
    float

    Notes
    -----
    See `confidence_sequence`.

    References
    ----------
    .. [1] Waudby-Smith, I. et al. (2024). Ann. Statist. 52, 2613-2640.
    """
    return confidence_sequence(0.0, 1.0, n, alpha=alpha, tuned_for=tuned_for).half_width


def normal_mixture_bound(v: float, alpha: float, *, v_opt: float, alpha_opt: float) -> tuple[float, float]:
    """Return rho and the two-sided normal mixture bound on a sum with variance v.

    Parameters
    ----------
    v : float
        Accumulated variance, positive.
    alpha : float
        Total error.
    v_opt, alpha_opt : float
        Where the bound is tuned to be tightest.

    Returns
    -------
    rho, bound : float

    Raises
    ------
    ValueError
        If a variance is not positive, or an error is out of range.

    Notes
    -----
    ``rho = v_opt / (2 log(1 / a) + log(1 + 2 log(1 / a)))``, bound
    ``sqrt((v + rho) (log((v + rho) / rho) - 2 log alpha))``.

    References
    ----------
    .. [1] Howard, S. R., Ramdas, A., McAuliffe, J. and Sekhon, J. (2021). Time-uniform, nonparametric, nonasymptotic
       confidence sequences. Ann. Statist. 49, 1055-1080, eq. 14.
    """
    _check_positive(v=v, v_opt=v_opt)
    check_alpha(alpha)
    log_term = -2.0 * math.log(check_alpha(alpha_opt))
    rho = v_opt / (log_term + math.log1p(log_term))
    return rho, math.sqrt((v + rho) * (math.log((v + rho) / rho) - 2.0 * math.log(alpha)))


def log_normal_mixture(s: float, v: float, rho: float) -> float:
    """Return the logarithm of the two-sided normal mixture martingale at sum s and variance v.

    Notes
    -----
    ``log(rho / (v + rho)) / 2 + s^2 / (2 (v + rho))``.

    References
    ----------
    .. [1] Howard, S. R. et al. (2021). Ann. Statist. 49, 1055-1080.
    """
    _check_positive(v=v, rho=rho)
    check_finite("s", s)
    return log_mixture_ratio(s / math.sqrt(v), v / rho)


def log_mixture_ratio(z: float, v: float) -> float:
    """Return the log likelihood ratio of z with a mean that is mixed over N(0, v), against a mean of 0.

    Notes
    -----
    ``z^2 v / (2 (v + 1)) - log(v + 1) / 2``: the one formula behind every sequence and test of this module.

    References
    ----------
    .. [1] Robbins, H. (1970). Ann. Math. Statist. 41, 1397-1409.
    """
    v = min(v, 1e300)
    return 0.5 * z * z * (v / (v + 1.0)) - 0.5 * math.log1p(v)


def msprt_likelihood_ratio(n_per_arm: float, difference: float, variance: float, tau2: float) -> float:
    """Return the mixture likelihood ratio of a difference of two means against none.

    Parameters
    ----------
    n_per_arm : float
        Subjects in either arm.
    difference : float
        Treatment minus baseline.
    variance : float
        Within an arm, positive.
    tau2 : float
        Variance of the mixing distribution N(0, tau2) of the effect, positive.

    Returns
    -------
    float
        At most exp(700), about 1e304.

    Raises
    ------
    ValueError
        If a size or variance is not positive, or the difference not finite.

    Notes
    -----
    ``sqrt(2 V / (2 V + n tau2)) exp(n^2 tau2 d^2 / (4 V (2 V + n tau2)))``.

    References
    ----------
    .. [1] Johari, R., Koomen, P., Pekelis, L. and Walsh, D. (2022). Always valid inference: continuous monitoring of
       A/B tests. Operations Research 70, 1806-1821, eq. 10.
    """
    _check_positive(n_per_arm=n_per_arm, variance=variance, tau2=tau2)
    check_finite("difference", difference)
    standard_error = math.sqrt(variance) * math.sqrt(2.0 / n_per_arm)
    log_ratio = log_mixture_ratio(difference / standard_error, n_per_arm * tau2 / 2.0 / variance)
    return math.exp(min(log_ratio, LARGEST_LOG_RATIO))


def msprt_p_values(
    n_per_arm: Sequence[float], differences: Sequence[float], variance: float, tau2: float
) -> list[float]:
    """Return the sequential p-value of every look: it never increases.

    Parameters
    ----------
    n_per_arm, differences : sequence of float, shape (n_looks,)
    variance, tau2 : float
        See `msprt_likelihood_ratio`.

    Returns
    -------
    list of float, shape (n_looks,)

    Raises
    ------
    ValueError
        As `msprt_likelihood_ratio`, or if lengths differ.

    Notes
    -----
    ``p_k = min(p_{k-1}, 1 / ratio_k)``.

    References
    ----------
    .. [1] Johari, R. et al. (2022). Operations Research 70, 1806-1821.
    """
    p, result = 1.0, []
    for n, difference in zip(n_per_arm, differences, strict=True):
        p = min(p, 1.0 / msprt_likelihood_ratio(n, difference, variance, tau2))
        result.append(p)
    return result


def _check_positive(**numbers: float) -> None:
    for name, value in numbers.items():
        if not (value > 0.0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
