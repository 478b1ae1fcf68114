"""Sample ratio mismatch: whether the variants have the shares of subjects that were asked for.

    >>> srm_p_value([4600, 5400], [0.5, 0.5]) < SRM_ALPHA
    True

A mismatch means that assignment, logging or filtering lost subjects of one variant: no estimate can be trusted, and
no correction repairs it. It blocks a verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from stats.means import P_VALUE_FLOOR, chi_square_p_value

__all__ = ["SRM_ALPHA", "sequential_srm_p_value", "srm_p_value"]

SRM_ALPHA = 0.001  # Fabijan et al. (2019): few false alarms over many looks, real mismatches are far below
SMALL_EXPECTED_COUNT = 5.0  # below it the chi-square distribution is only an approximation; Cochran (1954)


def srm_p_value(counts: Sequence[int], weights: Sequence[float]) -> float | None:
    """Test observed counts of subjects against the planned split.

    Parameters
    ----------
    counts : sequence of int, shape (n_variants,)
    weights : sequence of float, shape (n_variants,)
        Planned shares; they need not sum to one. A zero weight must come with a zero count.

    Returns
    -------
    float or None
        None without subjects or with a single variant of positive weight. A subject in a variant of weight zero gives
        the smallest possible p-value.

    Raises
    ------
    ValueError
        If lengths differ, a count is negative, or no weight is positive.

    Notes
    -----
    Pearson's chi-square on ``n_variants - 1`` degrees of freedom. Where fewer than five subjects are expected in a
    variant its far tail is too light: of right splits into 95 % and five times 1 %, one in 170 of 200 subjects each had
    p < .001. There a p-value below `SRM_ALPHA` must stand up to exact binomial tests of the variants one by one, with
    Bonferroni's correction; the larger p-value is returned.

    References
    ----------
    .. [1] Fabijan, A. et al. (2019). Diagnosing sample ratio mismatch in online controlled experiments. KDD '19.
    .. [2] Cochran, W. G. (1954). Some methods for strengthening the common chi-square tests. Biometrics 10, 417-451.
    """
    observed, shares = _checked(counts, weights)
    if observed[shares == 0.0].any():
        return P_VALUE_FLOOR
    observed, shares = observed[shares > 0.0], shares[shares > 0.0]
    total = observed.sum()
    if total == 0 or observed.size < 2:
        return None
    expected = shares * total
    statistic = float(((observed - expected) ** 2 / expected).sum())
    p_value = chi_square_p_value(statistic, observed.size - 1)
    if p_value < SRM_ALPHA and expected.min() < SMALL_EXPECTED_COUNT:
        return max(p_value, _exact_bound(observed, shares))
    return p_value


def _exact_bound(observed: np.ndarray, shares: np.ndarray) -> float:
    """Return an upper bound of the exact p-value: the smallest of the variants' two-sided binomial tests, corrected."""
    total = observed.sum()
    rest = total - observed
    with np.errstate(invalid="ignore"):  # the beta function has no parameter 0: nothing, or everything, is certain
        above = np.where(observed > 0, special.betainc(observed, rest + 1.0, shares), 1.0)
        below = np.where(rest > 0, special.betaincc(observed + 1.0, rest, shares), 1.0)
    n_tests = 1 if observed.size == 2 else observed.size  # the counts of two variants say the same
    return max(P_VALUE_FLOOR, float(min(1.0, n_tests * 2.0 * np.minimum(below, above).min())))


def sequential_srm_p_value(
    counts: Sequence[int], weights: Sequence[float], *, concentration: float = 100.0
) -> float | None:
    """Test the split in a way that stays valid however often it is looked at.

    Parameters
    ----------
    counts : sequence of int, shape (n_variants,)
    weights : sequence of float, shape (n_variants,)
    concentration : float
        Prior certainty of the alternative around the planned shares, in subjects.

    Returns
    -------
    float or None
        ``min(1, 1 / Bayes factor)``; the smallest over all looks so far is a sequential p-value.

    Raises
    ------
    ValueError
        As `srm_p_value`, or if the concentration is not positive.

    Notes
    -----
    Bayes factor of a Dirichlet-multinomial with parameters ``concentration * shares`` against the planned multinomial.
    It is a martingale under the planned shares, so Ville's inequality bounds its maximum over all looks.

    References
    ----------
    .. [1] Lindon, M. and Malek, A. (2022). Anytime-valid inference for multinomial count data. NeurIPS 35, eq. 5.
    """
    observed, shares = _checked(counts, weights)
    if not concentration > 0.0:
        raise ValueError(f"concentration must be positive, got {concentration!r}")
    if observed[shares == 0.0].any():
        return P_VALUE_FLOOR
    observed, shares = observed[shares > 0.0], shares[shares > 0.0]
    total = float(observed.sum())
    if total == 0 or observed.size < 2:
        return None
    prior = concentration * shares
    log_factor = (
        math.lgamma(concentration)
        - math.lgamma(concentration + total)
        + float((special.gammaln(prior + observed) - special.gammaln(prior)).sum())
        - float((observed * np.log(shares)).sum())
    )
    return max(P_VALUE_FLOOR, math.exp(-max(0.0, log_factor)))


def _checked(counts: Sequence[int], weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    observed, shares = np.asarray(counts, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if observed.shape != shares.shape or observed.ndim != 1:
        raise ValueError(f"counts and weights must have the same length, got {observed.shape} and {shares.shape}")
    if not ((observed >= 0) & (observed < math.inf)).all():
        raise ValueError(f"counts must be finite and 0 or more, got {list(counts)!r}")
    if not ((shares >= 0).all() and 0 < shares.sum() < math.inf):
        raise ValueError(f"weights must be finite, 0 or more and not all 0, got {list(weights)!r}")
    return observed, shares / shares.sum()
