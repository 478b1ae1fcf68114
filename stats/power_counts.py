"""Planning a test of ranks: sample size, power and smallest effect of Mann-Whitney's test on counts.

    >>> sample_size_counts(0.7, 5.0).n_baseline         # means of the same spread would seem to need 162
    182
    >>> round(power_counts(0.7, 5.0, 182), 3)
    0.801

Counts are compared by their ranks, so that is what is planned for. The mean of the baseline (and its standard
deviation, when it is not Poisson) fix both distributions; from them follow the probability that a treatment subject
exceeds a baseline subject, the share of ties, and with these the power. Arguments out of range are ValueErrors, as in
`stats.power`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.means import upper_quantile
from stats.power import (
    SampleSize,
    allocation_ratio,
    check_positive,
    check_power,
    check_sizes,
    find_root,
    one_sided_level,
    sized,
    solve_size,
)

__all__ = ["count_probabilities", "draw_counts", "mde_counts", "power_counts", "power_ranks", "sample_size_counts"]

_MAX_CELLS = 50_000  # wider distributions are grouped; ties within so fine a cell do not matter
_LEAST_MEAN, _LARGEST_MEAN = 1e-12, 1e12  # events a subject; what lies outside is a mistake of units
_SAME_VARIANCE = 1e-9  # relative difference of variance and mean that still counts as Poisson

FloatArray = npt.NDArray[np.float64]


def count_probabilities(effect: float, mean: float, *, sd: float | None = None) -> tuple[FloatArray, FloatArray]:
    """Return the probabilities of the counts of a baseline and of a treatment subject.

    Parameters
    ----------
    effect : float
        Difference of the means, treatment minus baseline; ``mean + effect`` must be positive.
    mean : float
        Of the baseline, positive.
    sd : float or None
        Standard deviation of the baseline; None is Poisson, the square root of the mean.

    Returns
    -------
    baseline, treatment : array of shape (n_cells,)
        Cells are 0, 1, 2, ... or, for very wide distributions, groups of neighbours; each sums to 1.

    Raises
    ------
    ValueError
        If a mean or the standard deviation is not positive.

    Notes
    -----
    Variance equal to the mean: Poisson. Larger: negative binomial of size ``r = m^2 / (s^2 - m)``, the same r in the
    treatment. Smaller: binomial with ``m^2 / (m - s^2)`` trials, rounded up, and more than both means. In each
    family the treatment is the baseline weighted by ``exp(c k)``.

    References
    ----------
    .. [1] Hilbe, J. M. (2011). Negative Binomial Regression, 2nd ed., ch. 8. Cambridge University Press.

    Examples
    --------
    >>> baseline, treatment = count_probabilities(0.5, 1.0)
    >>> round(float(baseline[0]), 4), round(float(treatment[0]), 4)
    (0.3679, 0.2231)
    """
    size, trials = _family(effect, mean, sd)
    means = (mean, mean + effect)
    smaller, larger = min(means), max(means)
    if trials:
        last = float(trials)
    elif math.isfinite(size):
        spread = math.sqrt(larger + larger * larger / size)
        last = larger + 12.0 * spread + 40.0 * (1.0 + larger / size)  # the tail falls like (m / (m + r))^k
    else:
        last = larger + 12.0 * math.sqrt(larger) + 40.0
    first = 0.0 if math.isfinite(size) else max(0.0, math.floor(smaller - 12.0 * math.sqrt(smaller)))
    step = max(1, math.ceil((last + 1.0 - first) / _MAX_CELLS))
    edges = np.arange(first + step - 1.0, last + step, step, dtype=np.float64)  # last count of every cell

    def probabilities(centre: float) -> FloatArray:
        if trials:
            below = np.asarray(special.bdtr(np.minimum(edges, trials), trials, centre / trials))
        elif math.isfinite(size):
            below = np.asarray(special.betainc(size, edges + 1.0, size / (size + centre)))
        else:
            below = np.asarray(special.pdtr(edges, centre))
        below[-1] = 1.0
        return np.maximum(np.diff(below, prepend=0.0), 0.0)

    return probabilities(means[0]), probabilities(means[1])


def draw_counts(
    rng: np.random.Generator, n: int, effect: float, mean: float, *, sd: float | None = None, treatment: bool = False
) -> FloatArray:
    """Return random counts of one arm from the distributions of `count_probabilities`.

    Parameters
    ----------
    rng : numpy.random.Generator
    n : int
        How many.
    effect, mean, sd
        See `count_probabilities`.
    treatment : bool
        Whether they are the treatment's.

    Returns
    -------
    array of shape (n,)

    Raises
    ------
    ValueError
        As `count_probabilities`.

    Notes
    -----
    Poisson, negative binomial or binomial, as `count_probabilities` says.

    References
    ----------
    .. [1] See `count_probabilities`.
    """
    size, trials = _family(effect, mean, sd)
    centre = mean + effect if treatment else mean
    if trials:
        return rng.binomial(trials, centre / trials, n).astype(np.float64)
    if math.isfinite(size):
        return rng.negative_binomial(size, size / (size + centre), n).astype(np.float64)
    return rng.poisson(centre, n).astype(np.float64)


def power_ranks(
    baseline: Sequence[float] | FloatArray,
    treatment: Sequence[float] | FloatArray,
    n_baseline: float,
    n_treatment: float | None = None,
    *,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    comparisons: int = 1,
) -> float:
    """Return the chance that Mann-Whitney's test is significant, for two distributions over ordered categories.

    Parameters
    ----------
    baseline, treatment : sequence of float, shape (n_categories,)
        Probabilities of the categories, lowest first; each sums to 1.
    n_baseline, n_treatment : float
        Subjects per variant (equal by default), more than 1.
    alpha : float
    alternative : {"two-sided", "greater", "less"}
    comparisons : int
        Tests made; alpha is divided by it (Bonferroni).

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    With ``p = P(T > B) + P(T = B) / 2``, the share of pairs that the treatment wins is about normal around p, so the
    power is ``Phi((|p - 1/2| - c - z s0) / s1)``. Without an effect (s0) the variance is the tie-corrected one of the
    mixture h of both distributions, ``(N + 1 - (N - 2) sum h^3 - 3 sum h^2) / (12 n1 n2)``: [1]_, eq. 12, with its
    terms of lower order. Under the alternative (s1) it is ``((n2 - 1) v1 + (n1 - 1) v2 + v12) / (n1 n2)`` with v1 and
    v2 the variances of the expected wins of a single baseline and treatment subject and v12 that of a single pair, as
    in [2]_, [3]_. c = ``1 / (2 n1 n2)`` is the test's continuity correction. As in `stats.power.power_means`, the
    wrong tail does not count.

    References
    ----------
    .. [1] Zhao, Y. D., Rahardja, D. and Qu, Y. (2008). Sample size calculation for the Wilcoxon-Mann-Whitney test
       adjusting for ties. Statistics in Medicine 27, 462-468.
    .. [2] Happ, M., Bathke, A. C. and Brunner, E. (2019). Optimal sample size planning for the Wilcoxon-Mann-Whitney
       test. Statistics in Medicine 38, 363-375.
    .. [3] Noether, G. E. (1987). Sample size determination for some common nonparametric tests. JASA 82, 645-647.

    Examples
    --------
    >>> round(power_ranks([0.66, 0.15, 0.19], [0.61, 0.23, 0.16], 3943, 4447), 2)
    0.8
    """
    level, sided = one_sided_level(alpha, alternative, comparisons)
    f, g = np.asarray(baseline, dtype=np.float64), np.asarray(treatment, dtype=np.float64)
    if f.ndim != 1 or f.shape != g.shape:
        raise ValueError(f"baseline and treatment must have the same categories, got shapes {f.shape} and {g.shape}")
    for name, probabilities in (("baseline", f), ("treatment", g)):
        if not ((probabilities >= 0.0).all() and abs(float(probabilities.sum()) - 1.0) < 1e-6):
            raise ValueError(f"the probabilities of the {name} must be 0 or more and add up to 1")
    n2 = n_baseline if n_treatment is None else n_treatment
    check_sizes(n_baseline, n2)
    return _rank_power(_moments(f, g), n_baseline, n2, level, sided)


def power_counts(
    effect: float,
    mean: float,
    n_baseline: float,
    n_treatment: float | None = None,
    *,
    sd: float | None = None,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    comparisons: int = 1,
) -> float:
    """Return the chance that Mann-Whitney's test of counts is significant.

    Parameters
    ----------
    effect, mean, sd
        Difference of the means, mean and standard deviation of the baseline; see `count_probabilities`.
    n_baseline, n_treatment, alpha, alternative, comparisons
        See `power_ranks`.

    Returns
    -------
    float
        In [0, 1].

    Notes
    -----
    `power_ranks` of `count_probabilities`.

    References
    ----------
    .. [1] Zhao, Y. D., Rahardja, D. and Qu, Y. (2008). Statistics in Medicine 27, 462-468.
    """
    return power_ranks(
        *count_probabilities(effect, mean, sd=sd),
        n_baseline,
        n_treatment,
        alpha=alpha,
        alternative=alternative,
        comparisons=comparisons,
    )


def sample_size_counts(
    effect: float,
    mean: float,
    *,
    sd: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    treatment_share: float = 0.5,
    n_treatments: int = 1,
    comparisons: int = 1,
) -> SampleSize:
    """Return the subjects that Mann-Whitney's test of counts needs.

    Parameters
    ----------
    effect : float
        Difference of the means to be found, treatment minus baseline; not zero. Its sign matters: counts spread more
        where they are larger.
    mean, sd
        See `count_probabilities`.
    power, alpha, alternative, treatment_share, n_treatments, comparisons
        See `stats.power.sample_size_means`.

    Returns
    -------
    SampleSize

    Raises
    ------
    ValueError
        If the effect is zero or points away from a one-sided alternative, or an argument is out of range.

    Notes
    -----
    The size at which `power_counts` equals the power.

    References
    ----------
    .. [1] Zhao, Y. D., Rahardja, D. and Qu, Y. (2008). Statistics in Medicine 27, 462-468.
    """
    level, sided = one_sided_level(alpha, alternative, comparisons)
    moments = _moments(*count_probabilities(effect, mean, sd=sd))
    if not _distance(moments[0], sided) > 0.0:
        raise ValueError(f"no sample size finds the effect {effect!r} with alternative={alternative!r}")
    ratio = allocation_ratio(treatment_share)
    smallest = 1.0000001 * max(1.0, 1.0 / ratio)
    exact = solve_size(lambda n: _rank_power(moments, n, n * ratio, level, sided), power, smallest)
    formula = "Mann-Whitney (Zhao, Rahardja and Qu, tie-corrected)"
    return sized(exact, ratio, n_treatments, effect, power, alpha, alternative, formula)


def mde_counts(
    mean: float,
    n_baseline: float,
    n_treatment: float | None = None,
    *,
    sd: float | None = None,
    power: float = 0.8,
    alpha: float = 0.05,
    alternative: str = "two-sided",
    comparisons: int = 1,
) -> float | None:
    """Return the smallest increase (for "less": decrease) of a mean count found with a power.

    Parameters
    ----------
    mean : float
        Of the baseline, positive.
    n_baseline, n_treatment : float
    sd, power, alpha, alternative, comparisons
        See `power_counts`.

    Returns
    -------
    float or None
        As a positive number; None when no difference is found with that power: decreases end at a mean of 0.

    Notes
    -----
    The difference of means at which `power_counts` equals the power.

    References
    ----------
    .. [1] Zhao, Y. D., Rahardja, D. and Qu, Y. (2008). Statistics in Medicine 27, 462-468.
    """
    _family(0.0, mean, sd)
    check_power(power)
    sign = -1.0 if alternative == "less" else 1.0
    spread = math.sqrt(mean) if sd is None else sd

    def reached(effect: float) -> float:
        return power_counts(
            sign * effect,
            mean,
            n_baseline,
            n_treatment,
            sd=sd,
            alpha=alpha,
            alternative=alternative,
            comparisons=comparisons,
        )

    if alternative == "less":
        high = mean * (1.0 - 1e-9)
        if reached(high) < power:
            return None
    else:
        high = spread
        while reached(high) < power:
            high *= 2.0
            if high > 1e4 * (mean + spread):  # two subjects are never enough, however large the effect
                return None
    low = 1e-9 * min(high, spread)
    return low if reached(low) >= power else find_root(reached, power, low, high)


def _family(effect: float, mean: float, sd: float | None) -> tuple[float, int]:
    """Size of the negative binomial (infinite for Poisson) and trials of the binomial (0 when it is none)."""
    for name, value in (("mean", mean), ("mean + effect", mean + effect)):
        if not _LEAST_MEAN <= value <= _LARGEST_MEAN:
            raise ValueError(f"{name} must lie between {_LEAST_MEAN:g} and {_LARGEST_MEAN:g}, got {value!r}")
    variance = mean if sd is None else sd * sd
    check_positive("sd", variance)
    excess = variance / mean - 1.0  # above 0: overdispersed
    if excess > _SAME_VARIANCE:
        return mean / excess, 0
    if excess < -_SAME_VARIANCE:
        return math.inf, max(math.ceil(-mean / excess - 1e-9), math.floor(max(mean, mean + effect)) + 1)
    return math.inf, 0


def _moments(f: FloatArray, g: FloatArray) -> tuple[float, float, float, float, FloatArray, FloatArray]:
    """Superiority, then the variances of expected wins by baseline and treatment subject and of a pair's, then f, g."""
    lower, upper = np.cumsum(f) - 0.5 * f, np.cumsum(g) - 0.5 * g  # mid-distribution functions
    superiority = float(np.dot(g, lower))
    ties = float(np.dot(f, g))
    v1 = max(0.0, float(np.dot(f, upper * upper)) - (1.0 - superiority) ** 2)
    v2 = max(0.0, float(np.dot(g, lower * lower)) - superiority**2)
    pair = max(0.0, superiority - 0.25 * ties - superiority**2)
    return superiority, v1, v2, pair, f, g


def _distance(superiority: float, alternative: str) -> float:
    above = superiority - 0.5
    return abs(above) if alternative == "two-sided" else above if alternative == "greater" else -above


def _rank_power(
    moments: tuple[float, float, float, float, FloatArray, FloatArray], n1: float, n2: float, level: float, sided: str
) -> float:
    superiority, v1, v2, pair, f, g = moments
    total, pairs = n1 + n2, n1 * n2
    h = (n1 / total) * f + (n2 / total) * g
    squares = h * h
    cubes = float(np.dot(squares, h))
    under_null = math.sqrt(max(0.0, total + 1.0 - (total - 2.0) * cubes - 3.0 * float(squares.sum())) / (12.0 * pairs))
    under_alternative = math.sqrt(((n2 - 1.0) * v1 + (n1 - 1.0) * v2 + pair) / pairs)
    margin = _distance(superiority, sided) - 0.5 / pairs - upper_quantile(level) * under_null
    if under_alternative == 0.0:  # every treatment subject exceeds every baseline subject, or none differ
        return 1.0 if margin > 0.0 else 0.0
    return float(special.ndtr(margin / under_alternative))
