"""Several tests at once: adjusted p-values that keep the promised error rate.

    >>> holm([0.005, 0.06, 0.007, 0.04, 0.01, 0.03])
    [0.03, 0.09, 0.035, 0.09, 0.04, 0.09]
    >>> [round(p, 4) for p in benjamini_hochberg([0.005, 0.06, 0.007, 0.04, 0.01, 0.03])]
    [0.02, 0.06, 0.02, 0.048, 0.02, 0.045]

*Family-wise* methods (Bonferroni, Holm, Hochberg) bound the chance of even one false positive; *false discovery
rate* methods (Benjamini-Hochberg, Benjamini-Yekutieli) bound the expected share of false ones among the positives.
An adjusted p-value is compared with the same alpha as a single one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["METHODS", "adjust", "benjamini_hochberg", "benjamini_yekutieli", "bonferroni", "hochberg", "holm"]

FloatArray = npt.NDArray[np.float64]


def bonferroni(p_values: Sequence[float] | FloatArray) -> list[float]:
    """Adjust p-values by the number of tests.

    Parameters
    ----------
    p_values : sequence of float, shape (n_tests,)
        Each in [0, 1].

    Returns
    -------
    list of float, shape (n_tests,)
        ``min(1, m p)``, in the order given; empty for no tests.

    Raises
    ------
    ValueError
        If a p-value is not a number in [0, 1].

    Notes
    -----
    Controls the family-wise error rate under any dependence. `holm` does the same and is never weaker.

    References
    ----------
    .. [1] Dunn, O. J. (1961). Multiple comparisons among means. JASA 56, 52-64.
    """
    p = _checked(p_values)
    return _listed(np.minimum(1.0, p * p.size))


def holm(p_values: Sequence[float] | FloatArray) -> list[float]:
    """Adjust p-values by Holm's step-down procedure.

    Takes, returns and raises what `bonferroni` does.

    Notes
    -----
    For sorted p-values, the running maximum of ``(m - i) p_(i)``, i from 0, at most 1. Controls the family-wise
    error rate under any dependence.

    References
    ----------
    .. [1] Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scand. J. Statist. 6, 65-70.
    """
    p = _checked(p_values)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return _listed(_unsorted(np.minimum(1.0, stepped), order))


def hochberg(p_values: Sequence[float] | FloatArray) -> list[float]:
    """Adjust p-values by Hochberg's step-up procedure.

    Takes, returns and raises what `bonferroni` does.

    Notes
    -----
    For sorted p-values, the running minimum from the largest down of ``(m - i) p_(i)``. Controls the family-wise error
    rate for independent or positively dependent tests only; `holm` needs no such assumption.

    References
    ----------
    .. [1] Hochberg, Y. (1988). A sharper Bonferroni procedure for multiple tests of significance. Biometrika
       75, 800-802.
    """
    p = _checked(p_values)
    return _listed(_step_up(p, np.arange(p.size, 0, -1, dtype=np.float64)))


def benjamini_hochberg(p_values: Sequence[float] | FloatArray) -> list[float]:
    """Adjust p-values so that rejecting those below alpha keeps the false discovery rate at alpha.

    Takes, returns and raises what `bonferroni` does.

    Notes
    -----
    For sorted p-values, the running minimum from the largest down of ``m / i p_(i)``, i from 1. Valid for independent
    or positively dependent tests; `benjamini_yekutieli` for any dependence.

    References
    ----------
    .. [1] Benjamini, Y. and Hochberg, Y. (1995). Controlling the false discovery rate. JRSS B 57, 289-300.
    """
    p = _checked(p_values)
    return _listed(_step_up(p, p.size / np.arange(1, p.size + 1)))


def benjamini_yekutieli(p_values: Sequence[float] | FloatArray) -> list[float]:
    """Adjust p-values for the false discovery rate under any dependence between the tests.

    Takes, returns and raises what `bonferroni` does.

    Notes
    -----
    As `benjamini_hochberg`, times the harmonic sum ``1 + 1/2 + ... + 1/m``.

    References
    ----------
    .. [1] Benjamini, Y. and Yekutieli, D. (2001). The control of the false discovery rate in multiple testing under
       dependency. Ann. Statist. 29, 1165-1188, theorem 1.3.
    """
    p = _checked(p_values)
    ranks = np.arange(1, p.size + 1)
    return _listed(_step_up(p, p.size / ranks * float(np.sum(1.0 / ranks))))


METHODS: dict[str, Callable[[Sequence[float] | FloatArray], list[float]]] = {
    "holm": holm,
    "bh": benjamini_hochberg,
    "bonferroni": bonferroni,
    "hochberg": hochberg,
    "by": benjamini_yekutieli,
}


def adjust(p_values: Sequence[float | None], method: str = "holm") -> list[float | None]:
    """Adjust those p-values that exist; tests that could not be computed stay None and do not count.

    Parameters
    ----------
    p_values : sequence of float or None, shape (n_tests,)
        None marks a test without a p-value.
    method : {"holm", "bh", "bonferroni", "hochberg", "by", "none"}
        "none" returns the p-values unchanged.

    Returns
    -------
    list of float or None, shape (n_tests,)

    Raises
    ------
    ValueError
        If the method is unknown, or a p-value is not a number in [0, 1].

    Notes
    -----
    A test that was not done cannot be falsely positive, so it takes no share of the error rate.

    References
    ----------
    .. [1] See the method's own function.

    Examples
    --------
    >>> adjust([0.01, None, 0.04], "holm")
    [0.02, None, 0.04]
    """
    if method != "none" and method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(map(repr, [*METHODS, 'none']))}, got {method!r}")
    known = [p for p in p_values if p is not None]
    adjusted = iter(_listed(_checked(known)) if method == "none" else METHODS[method](known))
    return [None if p is None else next(adjusted) for p in p_values]


def _checked(p_values: Sequence[float] | FloatArray) -> FloatArray:
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise ValueError(f"p_values must be one-dimensional, got {p.ndim} dimensions")
    bad = np.flatnonzero(~((p >= 0.0) & (p <= 1.0)))  # NaN fails both comparisons
    if bad.size:
        raise ValueError(f"p_values must lie in [0, 1]; p_values[{int(bad[0])}] is {float(p[bad[0]])!r}")
    return p


def _step_up(p: FloatArray, factors: FloatArray) -> FloatArray:
    """Take the running minimum, from the largest down, of the sorted p-values times their factors."""
    order = np.argsort(p, kind="stable")
    stepped = np.minimum.accumulate((p[order] * factors)[::-1])[::-1]
    return _unsorted(np.minimum(1.0, stepped), order)


def _unsorted(values: FloatArray, order: npt.NDArray[np.intp]) -> FloatArray:
    result = np.empty_like(values)
    result[order] = values
    return result


def _listed(values: FloatArray) -> list[float]:
    return [float(value) for value in values]
