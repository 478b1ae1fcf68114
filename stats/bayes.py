"""Bayesian reading of a comparison: chance to beat the baseline, expected loss, credible interval.

    >>> result = compare_rates(100, 1000, 120, 1000)
    >>> round(result.chance_to_beat, 4), round(result.expected_loss, 6)
    (0.9232, 0.000485)

It stands beside the frequentist verdict, never instead of it: these numbers do not control the rate of false verdicts
when the data are looked at repeatedly.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.means import check_alpha, check_finite, upper_quantile

__all__ = ["BayesianComparison", "compare_normal", "compare_rates"]

_STEP = 0.5  # quadrature nodes are half a standard deviation apart: the rules converge exponentially
_WIDEST_STEP = 0.25  # of the logit; its density has poles at a distance of pi from the real axis
_REACH = 9.0  # standard deviations to either side; beyond lies less than 1e-18
_TAIL = 40.0  # exp(-40) is 4e-18: how far the exponential tails of the logit reach
_LEAST_PRIOR = 1e-3  # below it a beta distribution is two points, and its logit wider than can be summed
_SMOOTH = 30.0  # a distribution function that starts like x^30 starts smoothly enough for the trapezoid rule
_ENDS = 3.2  # tanh(pi / 2 sinh(3.2)) is 1 to the last digit

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BayesianComparison:
    """What a posterior says of treatment minus baseline.

    Attributes
    ----------
    chance_to_beat : float
        Posterior probability that the treatment is larger.
    expected_loss : float
        Expected shortfall if the treatment is chosen, ``E max(baseline - treatment, 0)``; in units of the effect.
    expected_loss_baseline : float
        The same if the baseline is kept.
    estimate, ci_lower, ci_upper : float
        Posterior mean and central credible interval of the effect.
    model : str

    References
    ----------
    .. [1] See the function that made it.
    """

    chance_to_beat: float
    expected_loss: float
    expected_loss_baseline: float
    estimate: float
    ci_lower: float
    ci_upper: float
    model: str


def compare_rates(
    x1: int, n1: int, x2: int, n2: int, *, prior: tuple[float, float] = (1.0, 1.0), alpha: float = 0.05
) -> BayesianComparison:
    """Compare two rates with a beta prior.

    Parameters
    ----------
    x1, n1, x2, n2 : int
        Successes and sizes of baseline and treatment.
    prior : (float, float)
        Parameters of the beta prior of both rates, 0.001 or more; (1, 1) is uniform.
    alpha : float
        One minus the content of the credible interval.

    Returns
    -------
    BayesianComparison

    Raises
    ------
    ValueError
        If counts or the prior are out of range.

    Notes
    -----
    ``P(B > A)``, ``E max(A - B, 0)`` and ``P(B - A <= d)`` are integrals over the narrower of both posteriors, of the
    other one's distribution function and partial mean ``x F(x) - m I_x(a + 1, b)``. In ``logit(x)`` their integrands
    are smooth and fall off exponentially, so the trapezoid rule gives all digits with a few dozen nodes; where
    ``x + d`` leaves (0, 1) abruptly the tanh-sinh rule does. Whole-number parameters have closed forms, with which
    this agrees to 1e-12, but whose length grows with the data. The interval is where the distribution of the
    difference reaches ``alpha / 2`` and ``1 - alpha / 2``.

    References
    ----------
    .. [1] Stucchio, C. (2015). Bayesian A/B testing at VWO.
    .. [2] Trefethen, L. N. and Weideman, J. (2014). The exponentially convergent trapezoidal rule. SIAM Review 56,
       385-458.
    """
    check_alpha(alpha)
    a0, b0 = prior
    if not (_LEAST_PRIOR <= a0 < math.inf and _LEAST_PRIOR <= b0 < math.inf):
        raise ValueError(f"both parameters of the prior must be finite and at least {_LEAST_PRIOR:g}, got {prior!r}")
    for name, hits, n in (("baseline", x1, n1), ("treatment", x2, n2)):
        if not 0 <= hits <= n:
            raise ValueError(f"{name}: successes must lie between 0 and n = {n}, got {hits}")
    first, second = (a0 + x1, b0 + n1 - x1), (a0 + x2, b0 + n2 - x2)
    means = [a / (a + b) for a, b in (first, second)]
    narrow, wide = (first, second) if _logit_sd(first) <= _logit_sd(second) else (second, first)
    x, rest, mass = _nodes(narrow)
    below, above = _beta_below(*wide, x, rest), _beta_below(wide[1], wide[0], rest, x)
    lower, upper = float(np.dot(mass, below)), float(np.dot(mass, above))  # the wide one is below, above the narrow
    mean = wide[0] / sum(wide)
    partial, remaining = _beta_below(wide[0] + 1.0, wide[1], x, rest), _beta_below(wide[1], wide[0] + 1.0, rest, x)
    shortfall = float(np.dot(mass, np.maximum(x * below - mean * partial, 0.0)))
    surplus = float(np.dot(mass, np.maximum(mean * remaining - x * above, 0.0)))
    beats, other, loss, gain = (
        (upper, lower, shortfall, surplus) if narrow is first else (lower, upper, surplus, shortfall)
    )
    difference = means[1] - means[0]
    variances = [m * (1.0 - m) / (a + b + 1.0) for m, (a, b) in zip(means, (first, second), strict=True)]
    spread = math.sqrt(variances[0] + variances[1])

    def shifted(limit: float) -> float:
        """Return P(B - A <= limit)."""
        if variances[0] <= variances[1]:
            return _chance_below(first, second, limit)
        return 1.0 - _chance_below(second, first, -limit)

    return BayesianComparison(
        chance_to_beat=min(1.0, max(0.0, beats / (beats + other))),
        expected_loss=loss,
        expected_loss_baseline=gain,
        estimate=difference,
        ci_lower=_quantile(shifted, alpha / 2.0, difference, spread),
        ci_upper=_quantile(shifted, 1.0 - alpha / 2.0, difference, spread),
        model=f"beta-binomial, prior Beta({a0:g}, {b0:g})",
    )


def compare_normal(
    effect: float,
    standard_error: float,
    *,
    prior_mean: float = 0.0,
    prior_variance: float = math.inf,
    alpha: float = 0.05,
) -> BayesianComparison:
    """Compare through an effect whose estimate is normal, with a normal or flat prior.

    Parameters
    ----------
    effect, standard_error : float
        The standard error must be positive.
    prior_mean, prior_variance : float
        Of the effect; an infinite variance is the flat prior.
    alpha : float

    Returns
    -------
    BayesianComparison

    Raises
    ------
    ValueError
        If the standard error or the prior variance is not positive, or an effect is not finite.

    Notes
    -----
    The posterior is normal with precision ``1 / se^2 + 1 / prior_variance``. The loss is ``s phi(z) - mean Phi(-z)``
    with ``z = mean / s``.

    References
    ----------
    .. [1] Gelman, A. et al. (2013). Bayesian Data Analysis, 3rd ed., eq. 2.12.
    """
    check_alpha(alpha)
    if not (standard_error > 0.0 and math.isfinite(standard_error)):
        raise ValueError(f"standard_error must be positive and finite, got {standard_error!r}")
    if not prior_variance > 0.0:
        raise ValueError(f"prior_variance must be positive, got {prior_variance!r}")
    check_finite("effect", effect)
    check_finite("prior_mean", prior_mean)
    if math.isinf(prior_variance):
        mean, sd = effect, standard_error
    else:  # by ratios of deviations: a precision may be too large for a float
        prior_sd = math.sqrt(prior_variance)
        whole = math.hypot(standard_error, prior_sd)
        share = (standard_error / whole) ** 2  # of the prior
        mean = effect * (prior_sd / whole) ** 2 + prior_mean * share
        sd = standard_error * (prior_sd / whole)
    z = mean / sd
    reach = upper_quantile(alpha / 2.0) * sd
    prior = "flat prior" if math.isinf(prior_variance) else f"prior N({prior_mean:g}, {prior_variance:g})"
    return BayesianComparison(
        chance_to_beat=float(special.ndtr(z)),
        expected_loss=_normal_loss(mean, sd),
        expected_loss_baseline=_normal_loss(-mean, sd),
        estimate=mean,
        ci_lower=mean - reach,
        ci_upper=mean + reach,
        model=f"normal, {prior}",
    )


def _normal_loss(mean: float, sd: float) -> float:
    """Return E max(-X, 0) for a normal X."""
    z = mean / sd
    density = math.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi)
    return max(0.0, sd * density - mean * float(special.ndtr(-z)))


def _logit_sd(posterior: tuple[float, float]) -> float:
    """Return the rough standard deviation of the logit of a beta variable."""
    return math.sqrt(1.0 / posterior[0] + 1.0 / posterior[1])


def _ends(posterior: tuple[float, float]) -> tuple[float, float]:
    """Return logits outside of which a beta distribution has no mass worth a double."""
    a, b = posterior
    centre, width = math.log(a) - math.log(b), _REACH * _logit_sd(posterior)
    # Tails of the logit fall like exp(a y) to the left and exp(-b y) to the right.
    return centre - width - _TAIL / a, centre + width + _TAIL / b


def _logit_density(y: FloatArray, posterior: tuple[float, float]) -> FloatArray:
    a, b = posterior
    # Relative to the mode, so that large parameters cancel before they are rounded.
    mode = math.log(a) - math.log(b)
    top = -a * math.log1p(b / a) - b * math.log1p(a / b) - float(special.betaln(a, b))
    shift = y - mode
    share = a / (a + b)
    curve = a * shift - (a + b) * np.log1p(share * np.expm1(np.minimum(shift, 700.0)))
    return np.asarray(np.exp(top + curve))


def _beta_below(a: float, b: float, x: FloatArray, rest: FloatArray) -> FloatArray:
    """Return the distribution function at x, where ``rest`` is 1 - x to more digits than x leaves."""
    near_zero = x < 0.5
    below = np.empty_like(x)
    below[near_zero] = special.betainc(a, b, x[near_zero])
    below[~near_zero] = special.betaincc(b, a, rest[~near_zero])
    return below


def _nodes(posterior: tuple[float, float]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return points of a beta distribution, one minus them, and the mass at each (trapezoid rule in the logit)."""
    low, high = _ends(posterior)
    step = min(_STEP * _logit_sd(posterior), _WIDEST_STEP)
    y = np.linspace(low, high, math.ceil((high - low) / step) + 1)
    mass = _logit_density(y, posterior)
    return np.asarray(special.expit(y)), np.asarray(special.expit(-y)), mass / mass.sum()


def _chance_below(narrow: tuple[float, float], wide: tuple[float, float], limit: float) -> float:
    """Return P(W - N <= limit) for independent beta variables."""
    if not -1.0 < limit < 1.0:
        return 0.0 if limit < 0.0 else 1.0
    smallest, largest = max(0.0, -limit), min(1.0, 1.0 - limit)  # of N, where N + limit lies within (0, 1)
    low, high = _ends(narrow)
    first = float(special.logit(smallest)) if smallest > 0.0 else -math.inf
    last = float(special.logit(largest)) if largest < 1.0 else math.inf
    step = min(_STEP * _logit_sd(narrow), _WIDEST_STEP)
    certain = 0.0
    if (low >= first or wide[0] > _SMOOTH) and (high <= last or wide[1] > _SMOOTH):
        # To all of N: where N + limit leaves (0, 1), the distribution function goes on as 0 or 1.
        y = np.linspace(low, high, math.ceil((high - low) / step) + 1)
        weights = np.full(y.size, (high - low) / (y.size - 1))
        weights[[0, -1]] *= 0.5
    else:  # the integrand ends like a power of the distance: the tanh-sinh rule does not mind
        low, high = max(low, first), min(high, last)
        certain = float(special.betaincc(*narrow, largest)) if largest < 1.0 else 0.0  # N + limit > 1
        if not low < high:
            return certain
        half = 0.5 * (high - low)
        count = math.ceil(2.0 * _ENDS * half * 0.5 * math.pi / step) + 100
        t, gap = np.linspace(-_ENDS, _ENDS, count, retstep=True)
        inner = 0.5 * math.pi * np.sinh(t)
        y = low + half + half * np.tanh(inner)
        weights = gap * half * 0.5 * math.pi * np.cosh(t) / np.cosh(inner) ** 2
    x, rest = (np.clip(special.expit(sign * y) + sign * limit, 0.0, 1.0) for sign in (1.0, -1.0))
    values = _beta_below(*wide, x, rest)
    return min(1.0, certain + float(np.dot(weights * _logit_density(y, narrow), values)))


def _quantile(distribution: Callable[[float], float], target: float, centre: float, spread: float) -> float:
    """Return where an increasing function on [-1, 1] reaches the target."""
    from scipy.optimize import brentq

    guess = min(1.0, max(-1.0, centre + float(special.ndtri(target)) * spread))
    low, high, step = guess, guess, 0.1 * spread
    while low > -1.0 and distribution(low) >= target:
        low, high, step = max(-1.0, low - step), low, 2.0 * step
    while high < 1.0 and distribution(high) <= target:
        low, high, step = high, min(1.0, high + step), 2.0 * step
    precise = 1e-11 * spread
    return float(brentq(lambda limit: distribution(limit) - target, low, high, xtol=precise, rtol=1e-14, maxiter=200))
