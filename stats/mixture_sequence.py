"""The mixture sequential probability ratio test as an interval that is valid at every look.

    >>> interval = mixture_sequence(0.02, 0.005, tau=0.02)
    >>> round(interval.ci_lower, 5), round(interval.ci_upper, 5), round(interval.p_value, 5)
    (0.00469, 0.03531, 0.00221)

`stats.always_valid.msprt_likelihood_ratio` gives the ratio of two arms of equal size; here it is written for an
estimate with its standard error, which serves unequal arms and every metric, and turned into a confidence sequence.
"""

from __future__ import annotations

import math

from stats.always_valid import ConfidenceSequence, mixture_interval
from stats.means import check_alpha, check_alternative, check_finite

__all__ = ["mixture_sequence"]

LEAST_RATIO = 1e-150  # of tau to the standard error; below it there is no power, and squares would vanish


def mixture_sequence(
    estimate: float, standard_error: float, *, tau: float, alpha: float = 0.05, alternative: str = "two-sided"
) -> ConfidenceSequence:
    """Return the confidence sequence and p-value of the mixture sequential probability ratio test.

    Parameters
    ----------
    estimate, standard_error : float
        As of now; the standard error must be positive.
    tau : float
        Standard deviation of the effects that the test mixes over, positive, in units of the estimate; fixed before
        the data are seen. About the size of the effects that matter.
    alpha : float
    alternative : {"two-sided", "greater", "less"}
        One-sided sequences are open on one side, and their p-value is 1 when the estimate points the other way.

    Returns
    -------
    ConfidenceSequence
        ``rho`` is tau over the standard error. Ends too far out for a float are None.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    With ``s`` the standard error the likelihood ratio is
    ``s / sqrt(s^2 + tau^2) exp(tau^2 d^2 / (2 s^2 (s^2 + tau^2)))``: equation 10 of [1]_ with ``s^2 = 2 V / n``. The
    p-value is one over it. The interval holds the effects for which the ratio stays below ``1 / alpha``. One-sided, the
    effects that are mixed over lie on that side: `stats.always_valid.mixture_interval`.

    References
    ----------
    .. [1] Johari, R., Koomen, P., Pekelis, L. and Walsh, D. (2022). Always valid inference: continuous monitoring of
       A/B tests. Operations Research 70, 1806-1821.
    """
    for name, value in (("standard_error", standard_error), ("tau", tau)):
        if not (value > 0.0 and math.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
    check_finite("estimate", estimate)
    check_alpha(alpha)
    choice = check_alternative(alternative)
    # In units of the standard error, and within bounds, so that neither tiny nor huge metrics overflow.
    rho = min(max(tau / standard_error, LEAST_RATIO), 1.0 / LEAST_RATIO)
    return mixture_interval(estimate, standard_error, rho * rho, rho=rho, alpha=alpha, alternative=choice)
