"""Distances and tests between two samples of one feature: the reference and what arrives now.

    >>> round(ks_two_sample([0.99, 1.99], [1.0, 2.0, 3.0]).p_value, 6)
    0.6
    >>> round(population_stability_index([0.4, 0.3, 0.3], [0.35, 0.25, 0.4]), 6)
    0.044561

Vocabulary: a *test* has a p-value, which answers "could chance alone do this?" and is tiny for any difference once
there are enough rows; a *distance* says how large the difference is. Numbers enter as arrays of finite floats,
categories as counts. A *bin* of the population stability index is one of ten quantile ranges of the reference, frozen
with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtri, gammaincc, kolmogorov, xlogy

from stats.means import P_VALUE_FLOOR, chi_square_p_value
from stats.series import binary_exponent

__all__ = [
    "ChiSquareTest",
    "TwoSampleTest",
    "anderson_darling_k_sample",
    "chi_square_one_sample",
    "chi_square_sparse",
    "chi_square_two_sample",
    "cramer_von_mises_two_sample",
    "hellinger_distance",
    "jensen_shannon_distance",
    "ks_p_value",
    "ks_two_sample",
    "l_infinity_distance",
    "population_stability_index",
    "psi_noise_mean",
    "psi_noise_quantile",
    "psi_two_sample",
    "quantile_edges",
    "total_variation_distance",
    "wasserstein_distance",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Numbers = Sequence[float] | FloatArray

PSI_BINS = 10  # quantile bins of the reference
PSI_FLOOR = 1e-4  # stands for a share of zero, without renormalising: without a rule PSI is infinite
BINNED_KS_ROWS = 400  # in both samples: up to here a distance read from bins gets the exact law
EXACT_KS_ROWS = 10_000  # in the larger sample: up to here the exact distribution, beyond it the limiting one
KS_BLOCK = 64  # values between two looks at the distance
GRID_ROWS = 20_000  # from here counting by a grid is faster than searching for every value
GRID_CELLS = 8_192
FINITE_KS_SIZE = 20_000  # n m / (n + m) up to which the finite-sample law is cheap
JENSEN_SHANNON_BASE = 2.0  # logarithm base that puts the distance into [0, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSampleTest:
    """Result of a test that two or more samples come from one distribution.

    Attributes
    ----------
    statistic : float
    p_value : float
    method : str
        How the p-value was computed, for example "exact" or "asymptotic".
    """

    statistic: float
    p_value: float
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChiSquareTest:
    """Result of a chi-square test.

    Attributes
    ----------
    statistic : float
    p_value : float
    dof : int
    """

    statistic: float
    p_value: float
    dof: int


# -- numbers -----------------------------------------------------------------------------------------


def ks_two_sample(a: Numbers, b: Numbers, *, assume_sorted: bool = False) -> TwoSampleTest:
    """Compare two samples by the largest distance between their distribution functions.

    Parameters
    ----------
    a, b : sequence of float, shapes (n,) and (m,)
        Finite, at least one value each.
    assume_sorted : bool
        Whether both are in ascending order already.

    Returns
    -------
    TwoSampleTest
        `statistic` is D in [0, 1]; `p_value` is two-sided.

    Raises
    ------
    ValueError
        If a sample is empty or has a value that is not finite.

    Notes
    -----
    D is computed in whole numbers: max |m i - n j| / (n m). With at most 10,000 values in the larger sample the p-value
    is exact for samples without ties (and conservative with them); beyond, that of the one-sample limiting law with
    n m / (n + m) values.

    References
    ----------
    .. [1] Hodges, J. L. (1958), The significance probability of the Smirnov two-sample test, Arkiv foer Matematik 3.
    .. [2] Simard, R. and L'Ecuyer, P. (2011), Computing the two-sided Kolmogorov-Smirnov distribution, JSS 39(11).
    .. [3] Vrbik, J. (2018), Small-sample corrections to Kolmogorov-Smirnov test statistic, Pioneer Journal of
       Theoretical and Applied Statistics 15(1-2), 15-23.

    Examples
    --------
    >>> ks_two_sample([1.01, 2.01], [1, 2, 3]).statistic
    0.3333333333333333
    """
    x, y = _sample(a, "a"), _sample(b, "b")
    if not assume_sorted:
        x, y = np.sort(x), np.sort(y)
    n, m = int(x.size), int(y.size)
    gap = _largest_gap(x, y)
    p_value, method = _ks_p(gap, n, m)
    return TwoSampleTest(statistic=gap / (n * m), p_value=p_value, method=method)


def ks_p_value(statistic: float, n: int, m: int) -> float:
    """Return the two-sided p-value of a Kolmogorov-Smirnov distance between samples of n and m values.

    Notes
    -----
    For distances read from binned counts, which are multiples of 1 / (n m) up to rounding. Up to 400 values in all the
    law is exact (see `ks_two_sample`); beyond, the limiting law is: bins blur the distance by more than that.

    References
    ----------
    .. [1] Hodges, J. L. (1958), The significance probability of the Smirnov two-sample test, Arkiv foer Matematik 3.

    Examples
    --------
    >>> ks_p_value(0.0, 10, 12)
    1.0
    """
    if n < 1 or m < 1:
        raise ValueError(f"both samples need at least one value, got {n} and {m}")
    if not 0.0 <= statistic <= 1.0:
        raise ValueError(f"statistic must lie in [0, 1], got {statistic}")
    if n + m > BINNED_KS_ROWS and statistic > 0.0:
        return min(1.0, _limiting_p(statistic, n * m / (n + m)))
    return _ks_p(round(statistic * n * m), n, m)[0]


def wasserstein_distance(a: Numbers, b: Numbers, *, assume_sorted: bool = False) -> float:
    """Return the area between two empirical distribution functions, in the units of the data.

    Parameters
    ----------
    a, b : sequence of float, shapes (n,) and (m,)
        Finite, at least one value each.
    assume_sorted : bool
        Whether both are in ascending order already.

    Raises
    ------
    ValueError
        If a sample is empty, has a value that is not finite, or the distance is beyond 64-bit floats.

    Notes
    -----
    The integral of |F^-1(u) - G^-1(u)| over u in [0, 1], exactly: both quantile functions are steps, on multiples of
    1/n and 1/m. For equal sizes it is the mean of |a_(i) - b_(i)|.

    References
    ----------
    .. [1] Ramdas, A., Garcia Trillos, N., Cuturi, M. (2017), On Wasserstein two-sample testing, Entropy 19(2), 47.

    Examples
    --------
    >>> wasserstein_distance([0, 1, 3], [5, 6, 8])
    5.0
    """
    x, y = _sample(a, "a"), _sample(b, "b")
    if not assume_sorted:
        x, y = np.sort(x), np.sort(y)
    n, m = int(x.size), int(y.size)
    exponent = binary_exponent(float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
    if exponent:
        x, y = np.ldexp(x, -exponent), np.ldexp(y, -exponent)
        try:
            return math.ldexp(wasserstein_distance(x, y, assume_sorted=True), exponent)
        except OverflowError as error:
            raise ValueError("the distance is beyond 64-bit floats; divide both samples first") from error
    if n == m:
        return float(np.abs(x - y).mean())
    # Breakpoints of u in units of 1 / (n m), so that they compare exactly.
    cuts = np.concatenate([np.arange(1, n + 1, dtype=np.int64) * m, np.arange(1, m + 1, dtype=np.int64) * n])
    cuts.sort(kind="stable")  # two ascending runs: merged in linear time
    cuts = cuts[:-1]  # both runs end at n m
    widths = np.diff(cuts, prepend=np.int64(0))
    left = cuts - widths
    return float((np.abs(x[left // m] - y[left // n]) * widths).sum()) / (n * m)


def quantile_edges(reference: Numbers, bins: int = PSI_BINS, *, assume_sorted: bool = False) -> FloatArray:
    """Return the interior edges of the quantile bins of a reference sample.

    Returns
    -------
    ndarray of shape (at most bins - 1,)
        Ascending, without repetitions: ties make fewer bins. The outer edges are at infinity.

    Notes
    -----
    Quantiles at i / bins with linear interpolation (type 7). A bin is closed on the left and open on the right.

    References
    ----------
    .. [1] Hyndman, R. J. and Fan, Y. (1996), Sample quantiles in statistical packages, The American Statistician 50(4).

    Examples
    --------
    >>> quantile_edges([1.0, 2.0, 3.0, 4.0, 5.0], 4).tolist()
    [2.0, 3.0, 4.0]
    """
    values = _sample(reference, "reference")
    if bins < 2:
        raise ValueError(f"bins must be at least 2, got {bins}")
    levels = np.linspace(0.0, 1.0, bins + 1)[1:-1]
    if assume_sorted:
        return np.unique(sorted_quantiles(values, levels))
    return np.unique(sorted_quantiles(np.sort(values), levels))


def sorted_quantiles(values: FloatArray, levels: FloatArray) -> FloatArray:
    """Return quantiles of an ascending array by linear interpolation (type 7), as `numpy.quantile` does."""
    place = levels * (values.size - 1)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, values.size - 1)
    part = place - low
    bottom, top = values[low], values[high]
    with np.errstate(over="ignore", invalid="ignore"):
        step = top - bottom
        # The same rounding as numpy.quantile: from the nearer end, so that both paths give identical edges.
        near = np.where(part >= 0.5, top - step * (1.0 - part), bottom + step * part)
        # Neighbours further apart than a float can say.
        result: FloatArray = np.where(np.isfinite(step), near, bottom * (1.0 - part) + top * part)
    return result


def psi_two_sample(reference: Numbers, current: Numbers, bins: int = PSI_BINS, floor: float = PSI_FLOOR) -> float:
    """Return the population stability index of two samples on the quantile bins of the first.

    Parameters
    ----------
    reference, current : sequence of float, shapes (n,) and (m,)
    bins : int
        Quantile bins of the reference; ties may make fewer.
    floor : float
        Stands for a share of zero.

    Notes
    -----
    Constant reference: its one value makes two bins, below it and from it up; a bin above it is added, so that a
    current sample that left it to either side is seen. See `population_stability_index`.

    References
    ----------
    .. [1] Yurdakul, B. (2018), Statistical properties of population stability index, Western Michigan University.

    Examples
    --------
    >>> psi_two_sample([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    0.0
    """
    x, y = _sample(reference, "reference"), _sample(current, "current")
    edges = psi_edges(quantile_edges(x, bins))
    return population_stability_index(bin_counts(x, edges) / x.size, bin_counts(y, edges) / y.size, floor)


def psi_edges(edges: FloatArray) -> FloatArray:
    """Return bin edges that also see a move above a constant reference."""
    if edges.size != 1:
        return edges
    with np.errstate(over="ignore"):  # above the largest float there is only infinity, which no value reaches
        return np.array([edges[0], np.nextafter(edges[0], np.inf)])


def bin_counts(values: FloatArray, edges: FloatArray, *, assume_sorted: bool = False) -> IntArray:
    """Count values in the bins (-inf, e0), [e0, e1), ..., [ek, inf); array of shape (n_edges + 1,)."""
    if assume_sorted:
        below = np.searchsorted(values, edges, side="left")
        return np.diff(below, prepend=0, append=values.size).astype(np.int64)
    if values.size >= GRID_ROWS and edges.size >= 2:
        return _grid_counts(values, edges)
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=edges.size + 1).astype(np.int64)


def cramer_von_mises_two_sample(a: Numbers, b: Numbers) -> TwoSampleTest:
    """Compare two samples by the mean squared distance between their distribution functions.

    Notes
    -----
    Exact p-value up to 20 values in the larger sample, asymptotic beyond; computed by SciPy, which is imported on use.

    References
    ----------
    .. [1] Anderson, T. W. (1962), On the distribution of the two-sample Cramer-von Mises criterion, AMS 33(3).

    Examples
    --------
    >>> cramer_von_mises_two_sample([1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 3.5, 4.5]).p_value > 0.5
    True
    """
    from scipy.stats import cramervonmises_2samp

    x, y = _sample(a, "a"), _sample(b, "b")
    if min(x.size, y.size) < 2:
        raise ValueError(f"both samples need at least 2 values, got {x.size} and {y.size}")
    result = cramervonmises_2samp(x, y)
    method = "exact" if max(x.size, y.size) <= 20 else "asymptotic"
    return TwoSampleTest(
        statistic=float(result.statistic), p_value=max(P_VALUE_FLOOR, float(result.pvalue)), method=method
    )


def anderson_darling_k_sample(samples: Sequence[Numbers], *, midrank: bool = False) -> TwoSampleTest:
    """Compare two or more samples with weight on their tails.

    Parameters
    ----------
    samples : sequence of sequences of float
        At least two, none of them empty, not all values equal.
    midrank : bool
        Whether ties are split (the mid-rank statistic) or counted to the right of the jump.

    Notes
    -----
    The statistic is standardised. The p-value is interpolated in the published table and therefore lies between .001
    and .25; `method` says when it is one of these bounds. Computed by SciPy, which is imported on use.

    References
    ----------
    .. [1] Scholz, F. W. and Stephens, M. A. (1987), K-sample Anderson-Darling tests, JASA 82(399), 918-924.

    Examples
    --------
    >>> anderson_darling_k_sample([[1.0, 2.0, 3.0, 4.0], [11.0, 12.0, 13.0, 14.0]]).p_value < 0.05
    True
    """
    import inspect
    import warnings

    from scipy.stats import anderson_ksamp

    checked = [_sample(sample, f"samples[{i}]") for i, sample in enumerate(samples)]
    if len(checked) < 2:
        raise ValueError(f"at least 2 samples are needed, got {len(checked)}")
    if len(np.unique(np.concatenate(checked))) < 2:
        raise ValueError("all values are equal: the Anderson-Darling statistic does not exist")
    # SciPy 1.17 renamed the argument; both spellings are supported.
    if "variant" in inspect.signature(anderson_ksamp).parameters:
        option: dict[str, object] = {"variant": "midrank" if midrank else "right"}
    else:
        option = {"midrank": midrank}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "p-value capped" and "floored": told in `method`
        result = anderson_ksamp(checked, **option)
    p_value = float(result.pvalue)
    bound = " (at most)" if p_value <= 0.001 else " (at least)" if p_value >= 0.25 else ""
    return TwoSampleTest(statistic=float(result.statistic), p_value=p_value, method=f"interpolated{bound}")


# -- categories and bins -----------------------------------------------------------------------------


def population_stability_index(expected: Numbers, actual: Numbers, floor: float = PSI_FLOOR) -> float:
    """Return the population stability index of two lists of shares.

    Parameters
    ----------
    expected, actual : sequence of float in [0, 1], shape (n_bins,)
        Shares of the reference and of the current sample.
    floor : float
        Stands for a share of zero; nothing is renormalised.

    Notes
    -----
    PSI = sum (a - e) ln(a / e), a symmetrised Kullback-Leibler divergence. The usual reading (.1 watch, .2 or .25 act)
    ignores sample size: without any drift PSI is about (B - 1)(1/n + 1/m), see `psi_noise_mean`.

    References
    ----------
    .. [1] Siddiqi, N. (2006), Credit Risk Scorecards, Wiley, chapter on scorecard monitoring.
    .. [2] Yurdakul, B. (2018), Statistical properties of population stability index, Western Michigan University.

    Examples
    --------
    >>> population_stability_index([0.5, 0.5], [0.5, 0.5])
    0.0
    """
    e, a = _shares(expected, "expected"), _shares(actual, "actual")
    if e.shape != a.shape or e.size == 0:
        raise ValueError(f"expected and actual must have the same length of at least 1, got {e.size} and {a.size}")
    if not 0.0 < floor < 1.0:
        raise ValueError(f"floor must lie in (0, 1), got {floor}")
    # A bin empty on both sides holds nothing that could have moved; with both at the floor it adds exactly 0.
    e, a = np.where(e == 0.0, floor, e), np.where(a == 0.0, floor, a)
    return float(((a - e) * np.log(a / e)).sum())


def psi_noise_mean(bins: int, n: int, m: int) -> float:
    """Return the PSI to be expected from n and m rows without any drift: (bins - 1)(1/n + 1/m).

    References
    ----------
    .. [1] Yurdakul, B. (2018), Statistical properties of population stability index, Western Michigan University.

    Examples
    --------
    >>> psi_noise_mean(10, 100, 100)
    0.18
    """
    _check_sizes(bins, n, m)
    return (bins - 1) * (1.0 / n + 1.0 / m)


def psi_noise_quantile(bins: int, n: int, m: int, level: float = 0.99) -> float:
    """Return the quantile of PSI without drift: chi2_{level, bins - 1} (1/n + 1/m).

    Notes
    -----
    To first order PSI is the chi-square statistic of homogeneity times (1/n + 1/m). With one bin it is 0.

    References
    ----------
    .. [1] Yurdakul, B. (2018), Statistical properties of population stability index, Western Michigan University.

    Examples
    --------
    >>> round(psi_noise_quantile(10, 100, 100, 0.95), 4)
    0.3384
    """
    _check_sizes(bins, n, m)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}")
    if bins == 1:
        return 0.0
    return float(chdtri(bins - 1, 1.0 - level)) * (1.0 / n + 1.0 / m)


def jensen_shannon_distance(p: Numbers, q: Numbers, base: float = JENSEN_SHANNON_BASE) -> float:
    """Return the Jensen-Shannon distance of two lists of weights: the root of the divergence.

    Parameters
    ----------
    p, q : sequence of float, shape (n_bins,)
        Not negative, with positive sums; normalised here.
    base : float
        Of the logarithm: 2 puts the distance into [0, 1].

    References
    ----------
    .. [1] Lin, J. (1991), Divergence measures based on the Shannon entropy, IEEE Trans. Inf. Theory 37(1), 145-151.

    Examples
    --------
    >>> jensen_shannon_distance([1, 0], [0, 1])
    1.0
    """
    a, b = _weights(p, q)
    if not base > 1.0:
        raise ValueError(f"base must exceed 1, got {base}")
    middle = (a + b) / 2.0
    left = xlogy(a, np.where(a > 0.0, a / np.where(middle > 0.0, middle, 1.0), 1.0)).sum()
    right = xlogy(b, np.where(b > 0.0, b / np.where(middle > 0.0, middle, 1.0), 1.0)).sum()
    return math.sqrt(max(0.0, float(left + right) / 2.0) / math.log(base))


def hellinger_distance(p: Numbers, q: Numbers) -> float:
    """Return the Hellinger distance of two lists of weights, in [0, 1].

    Notes
    -----
    sqrt(1 - sum sqrt(p q)), computed as the Euclidean distance of the roots / sqrt 2.

    References
    ----------
    .. [1] Le Cam, L. and Yang, G. L. (2000), Asymptotics in Statistics, Springer, chapter 3.

    Examples
    --------
    >>> hellinger_distance([1, 0], [0, 1])
    1.0
    """
    a, b = _weights(p, q)
    return min(1.0, float(np.sqrt(((np.sqrt(a) - np.sqrt(b)) ** 2).sum() / 2.0)))


def l_infinity_distance(p: Numbers, q: Numbers) -> float:
    """Return the largest difference between two lists of weights after normalising, in [0, 1].

    References
    ----------
    .. [1] Deza, M. M. and Deza, E. (2009), Encyclopedia of Distances, Springer, chapter 14.

    Examples
    --------
    >>> round(l_infinity_distance([2, 2, 2, 0], [2, 2, 2, 1]), 6)
    0.142857
    """
    a, b = _weights(p, q)
    return float(np.abs(a - b).max())


def total_variation_distance(p: Numbers, q: Numbers) -> float:
    """Return half the sum of the differences between two lists of weights after normalising, in [0, 1].

    References
    ----------
    .. [1] Deza, M. M. and Deza, E. (2009), Encyclopedia of Distances, Springer, chapter 14.

    Examples
    --------
    >>> total_variation_distance([1, 0], [0, 1])
    1.0
    """
    a, b = _weights(p, q)
    return float(np.abs(a - b).sum()) / 2.0


def chi_square_two_sample(table: Sequence[Numbers] | FloatArray) -> ChiSquareTest:
    """Test that several samples of counts come from one distribution.

    Parameters
    ----------
    table : array of shape (n_samples, n_categories)
        Counts; categories that no sample has are left out.

    Raises
    ------
    ValueError
        If fewer than two samples or categories have any counts, or a count is negative or not finite.

    Notes
    -----
    sum (O - E)^2 / E with (samples - 1)(categories - 1) degrees of freedom, no continuity correction. Treating a
    reference sample as if it were exact (`chi_square_one_sample`) overstates the evidence by up to sqrt 2 in z.

    References
    ----------
    .. [1] Agresti, A. (2013), Categorical Data Analysis, 3rd ed., section 3.2.

    Examples
    --------
    >>> test = chi_square_two_sample([[10, 10, 20], [20, 20, 20]])
    >>> round(test.statistic, 6), test.dof
    (2.777778, 2)
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2:
        raise ValueError(f"table must have two dimensions, got {counts.ndim}")
    if not np.isfinite(counts).all() or (counts < 0.0).any():
        raise ValueError("table must hold finite counts of at least 0")
    counts = counts[:, counts.sum(axis=0) > 0.0]
    rows, columns = counts.shape
    if rows < 2 or columns < 2 or (counts.sum(axis=1) == 0.0).any():
        raise ValueError(f"the test needs 2 samples and 2 categories with counts, got {rows} and {columns}")
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    statistic = float(((counts - expected) ** 2 / expected).sum())
    dof = (rows - 1) * (columns - 1)
    return ChiSquareTest(statistic=statistic, p_value=chi_square_p_value(statistic, dof), dof=dof)


def chi_square_sparse(first: Numbers, second: Numbers, *, singles: int = 0) -> ChiSquareTest:
    """Test that two samples of counts come from one distribution, however rare the categories.

    Parameters
    ----------
    first, second : sequence of float, shape (n_categories,)
        Counts; categories that neither sample has are left out.
    singles : int
        Further rows of the second sample, each in a category of its own.

    Returns
    -------
    ChiSquareTest
        `dof` is the number of categories less one, also where the law is not chi-square.

    Raises
    ------
    ValueError
        As `chi_square_two_sample`, or if both samples together have fewer than four rows.

    Notes
    -----
    Where no cell is expected below 1 and at most a fifth below 5 [1]_, this is `chi_square_two_sample`. Elsewhere the
    same statistic is judged by a gamma law with the mean and the variance that it has exactly, given the margins [2]_;
    with N rows in all, row sums n_i and column sums t_j: mean ``N (k - 1) / (N - 1)``, variance
    ``2 N / (N - 3) (u1 - w1)(u2 - w2) + N^2 / (N - 1) w1 w2`` with ``u2 = (k - 1)(N - k) / (N - 1)``,
    ``w2 = (sum N / t_j - k^2) / (N - 2)`` and the same for rows. Nothing is pooled: a cell of all that is new in one
    sample would be chosen by looking at it, and alarm without any change.

    References
    ----------
    .. [1] Cochran, W. G. (1954), Some methods for strengthening the common chi-square tests, Biometrics 10, 417-451.
    .. [2] Dawson, R. B. (1954), A simplified expression for the variance of the chi-square function on a contingency
       table, Biometrika 41, 280; after Haldane, J. B. S. (1940), Biometrika 31, 346-355.

    Examples
    --------
    >>> chi_square_sparse([2] * 20 + [0] * 20, [0] * 20 + [2] * 20).p_value < 1e-6
    True
    """
    counts = np.asarray([first, second], dtype=np.float64)
    counts = counts[:, counts.sum(axis=0) > 0.0]
    if not singles:
        test = chi_square_two_sample(counts)
        smaller = counts.sum(axis=0) * (counts.sum(axis=1).min() / counts.sum())
        if smaller.min() >= 1.0 and np.count_nonzero(smaller < 5.0) <= counts.size / 5:
            return test
        statistic = test.statistic
    n, m = float(counts[0].sum()), float(counts[1].sum()) + singles
    total, k = n + m, counts.shape[1] + singles
    if total < 4.0 or n == 0.0 or m == 0.0 or k < 2:
        raise ValueError(f"the test needs four rows, of both samples and two categories; got {n:g} and {m:g}")
    columns = counts.sum(axis=0)
    if singles:
        expected = columns * (n / total)
        statistic = float(((counts[0] - expected) ** 2 / columns).sum()) * total * total / (n * m) + singles * n / m
    mean = total * (k - 1) / (total - 1.0)
    rows = (total - 2.0) / (total - 1.0), (total / n + total / m - 4.0) / (total - 2.0)
    sizes = float((total / columns).sum()) + singles * total
    across = (k - 1) * (total - k) / (total - 1.0), (sizes - float(k) * k) / (total - 2.0)
    variance = 2.0 * total / (total - 3.0) * (rows[0] - rows[1]) * (across[0] - across[1])
    variance += total * total / (total - 1.0) * rows[1] * across[1]
    # Every row a category of its own: the statistic is always the same and says nothing.
    p_value = float(gammaincc(mean * mean / variance, statistic * mean / variance)) if variance > 1e-9 * mean else 1.0
    return ChiSquareTest(statistic=statistic, p_value=max(P_VALUE_FLOOR, p_value), dof=k - 1)


def chi_square_one_sample(observed: Numbers, expected: Numbers) -> ChiSquareTest:
    """Test counts against proportions that are known exactly, not estimated from a sample.

    Parameters
    ----------
    observed : sequence of float, shape (n_categories,)
        Counts.
    expected : sequence of float, shape (n_categories,)
        Positive weights; scaled to the sum of the counts.

    Notes
    -----
    sum (O - E)^2 / E with n_categories - 1 degrees of freedom.

    References
    ----------
    .. [1] Agresti, A. (2013), Categorical Data Analysis, 3rd ed., section 1.5.

    Examples
    --------
    >>> round(chi_square_one_sample([16, 16, 16, 16, 16, 8], [16, 18, 16, 14, 12, 12]).p_value, 5)
    0.67309
    """
    o, e = np.asarray(observed, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if o.shape != e.shape or o.ndim != 1 or o.size < 2:
        raise ValueError(f"observed and expected must have the same length of at least 2, got {o.size} and {e.size}")
    if not (np.isfinite(o).all() and np.isfinite(e).all() and (o >= 0.0).all() and (e > 0.0).all() and o.sum() > 0.0):
        raise ValueError("observed counts must be finite and >= 0 with a positive sum, expected weights positive")
    scaled = e * (o.sum() / e.sum())
    statistic = float(((o - scaled) ** 2 / scaled).sum())
    dof = int(o.size - 1)
    return ChiSquareTest(statistic=statistic, p_value=chi_square_p_value(statistic, dof), dof=dof)


def align_counts(reference: Mapping[str, int], current: Mapping[str, int]) -> tuple[list[str], FloatArray, FloatArray]:
    """Return the categories of both, those of the reference first, and both lists of counts."""
    names = [*reference, *(name for name in current if name not in reference)]
    left = np.array([reference.get(name, 0) for name in names], dtype=np.float64)
    right = np.array([current.get(name, 0) for name in names], dtype=np.float64)
    return names, left, right


# -- private -----------------------------------------------------------------------------------------


def _grid_counts(values: FloatArray, edges: FloatArray) -> IntArray:
    """Count many values exactly: most of them by the cell of a regular grid, those beside an edge by a search.

    The cell is a monotone function of the value, also in floating point: a value in a lower cell than an edge lies
    below it, and only values in the very cell of an edge must be compared with it.
    """
    low, high = float(edges[0]), float(edges[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        scale = GRID_CELLS / (high - low)
        if not (math.isfinite(scale) and scale > 0.0):
            return np.bincount(np.searchsorted(edges, values, side="right"), minlength=edges.size + 1).astype(np.int64)

        def cell(x: FloatArray) -> npt.NDArray[np.int32]:
            place = (x - low) * scale
            np.clip(place, -1.0, GRID_CELLS + 1.0, out=place)
            return place.astype(np.int32) + np.int32(1)

        cells, of_edges = cell(values), cell(edges)
    size = GRID_CELLS + 3
    edges_in = np.bincount(of_edges, minlength=size)
    before = np.cumsum(edges_in) - edges_in  # edges in lower cells: the bin of a cell without an edge
    clear = edges_in == 0
    per_cell = np.bincount(cells, minlength=size)
    counts = np.bincount(before[clear], weights=per_cell[clear], minlength=edges.size + 1).astype(np.int64)
    beside = values[~clear[cells]]
    counts += np.bincount(np.searchsorted(edges, beside, side="right"), minlength=edges.size + 1)
    return counts


def _largest_gap(x: FloatArray, y: FloatArray) -> int:
    """Largest |m i - n j| over the distribution functions i/n and j/m of two ascending samples.

    The supremum of F - G is reached at a jump of F, that of G - F just before one: only the positions of x among y are
    needed, and ties inside x need no care, because their partial counts are never the largest. The ends of blocks of x
    bound what lies between them; only blocks that may hold the largest gap are searched.
    """
    n, m = int(x.size), int(y.size)
    start = np.arange(0, n, KS_BLOCK, dtype=np.int64)
    end = np.minimum(start + KS_BLOCK, n)
    first, last = x[start], x[end - 1]
    above = end * m - np.searchsorted(y, last, side="right") * n
    below = np.searchsorted(y, first, side="left") * n - start * m
    best = max(0, int(above.max()), int(below.max()))
    most_above = end * m - np.searchsorted(y, first, side="right") * n
    most_below = np.searchsorted(y, last, side="left") * n - start * m
    open_blocks = np.flatnonzero(np.maximum(most_above, most_below) > best)
    place = (start[open_blocks, None] + np.arange(KS_BLOCK, dtype=np.int64)).ravel()
    place = place[place < n]
    if place.size == 0:
        return best
    inside = x[place]
    above = (place + 1) * m - np.searchsorted(y, inside, side="right") * n
    below = np.searchsorted(y, inside, side="left") * n - place * m
    return max(best, int(above.max()), int(below.max()))


def _ks_p(gap: int, n: int, m: int) -> tuple[float, str]:
    if gap <= 0:
        return 1.0, "exact"
    if max(n, m) > EXACT_KS_ROWS:
        size = round(n * m / (n + m))
        if size <= FINITE_KS_SIZE:
            from scipy.stats import kstwo

            return float(min(1.0, max(P_VALUE_FLOOR, kstwo.sf(gap / (n * m), size)))), "asymptotic"
        return _limiting_p(gap / (n * m), size), "asymptotic"  # SciPy's law takes most of a second for a million rows
    g = math.gcd(n, m)
    steps = -(-gap // g)  # gap is a multiple of g when it comes from samples; rounded up when from binned shares
    p = _outside_square(n, steps) if n == m else _outside_rectangle(n, m, steps)
    return min(1.0, max(P_VALUE_FLOOR, p)), "exact"


def _limiting_p(statistic: float, size: float) -> float:
    """Kolmogorov's limiting law at an argument corrected to order 1/size.

    Within 1e-4 of the finite law where p > .01, within 1e-3 where p > 1e-8.
    """
    scaled = math.sqrt(size) * statistic
    corrected = scaled + 1.0 / (6.0 * math.sqrt(size)) + (scaled - 1.0) / (4.0 * size)
    return max(P_VALUE_FLOOR, float(kolmogorov(max(0.0, corrected))))


def _outside_square(n: int, h: int) -> float:
    """P(D >= h / n) for two samples of n: 2 sum (-1)^{k-1} C(2n, n - k h) / C(2n, n); [1], p. 473."""
    total, ratio, sign = 0.0, 1.0, 1.0
    for k in range(1, n // h + 1):
        j = np.arange(h, dtype=np.float64) + (k - 1) * h
        ratio *= float(np.prod((n - j) / (n + j + 1.0)))
        if ratio == 0.0:
            break
        total += sign * ratio
        sign = -sign
    return 2.0 * total


def _outside_rectangle(n: int, m: int, steps: int) -> float:
    """P(D >= steps / lcm): the share of lattice paths from (0, 0) to (n, m) that leave |i m - j n| < steps gcd.

    A path takes its next step right with probability (n - i) / (what is left). Walking along the anti-diagonals, the
    mass that arrives outside the band is added up and removed: only positive terms, so small p-values keep their
    digits.
    """
    limit = steps * math.gcd(n, m)
    mass = np.zeros(n + 2)  # mass[i + 1] at (i, s - i)
    mass[1] = 1.0
    lost = 0.0
    low = high = 0  # where there is mass
    for s in range(1, n + m + 1):
        left = n + m - s + 1
        high = min(high + 1, n)
        i = np.arange(low, high + 1)
        j = s - i
        stay = mass[low + 1 : high + 2] * np.clip(m - j + 1, 0, None)
        stay += mass[low : high + 1] * (n - i + 1)
        stay /= left
        outside = np.abs(i * m - j * n) >= limit
        gone = stay[outside]
        if gone.size:
            lost += float(gone.sum())
            stay[outside] = 0.0
            inside = np.flatnonzero(~outside)
            if inside.size == 0:
                break
            mass[low + 1 : high + 2] = stay
            low, high = low + int(inside[0]), low + int(inside[-1])
            mass[low] = 0.0
            mass[high + 2 :] = 0.0
        else:
            mass[low + 1 : high + 2] = stay
    return lost


def _sample(values: Numbers, field: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{field} must be one-dimensional, got {array.ndim} dimensions")
    if array.size == 0:
        raise ValueError(f"{field} is empty; a comparison needs at least one value")
    # The sum of finite values is finite or overflows; only a suspicious sum costs the full look.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not math.isfinite(float(array.sum()))
    if suspicious and not np.isfinite(array).all():
        raise ValueError(f"{field} must be finite; remove or count NaN and infinities first")
    return array


def _shares(values: Numbers, field: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0.0).any():
        raise ValueError(f"{field} must be a list of finite shares of at least 0")
    return array


def _weights(p: Numbers, q: Numbers) -> tuple[FloatArray, FloatArray]:
    a, b = _shares(p, "p"), _shares(q, "q")
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"p and q must have the same length of at least 1, got {a.size} and {b.size}")
    if a.sum() <= 0.0 or b.sum() <= 0.0:
        raise ValueError("p and q must each have a positive sum")
    return a / a.sum(), b / b.sum()


def _check_sizes(bins: int, n: int, m: int) -> None:
    if bins < 1 or n < 1 or m < 1:
        raise ValueError(f"bins, n and m must be at least 1, got {bins}, {n}, {m}")
