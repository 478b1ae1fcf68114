"""One series of numbers: checking it, and its mean and deviation for any values that 64-bit floats can hold.

    >>> mean_and_deviation(checked_series([1e308, 1.5e308], "x"))
    (1.25e+308, 2.5e+307)

Squares of numbers beyond 1e154 overflow, those of numbers below 1e-162 vanish. Such a series is first divided by a
power of two, which loses no digit, and the result multiplied by it again; every other series is left as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["binary_exponent", "checked_series", "mean_and_deviation", "scaled", "weighted_mean"]

FloatArray = npt.NDArray[np.float64]

SAFE_EXPONENT = 400  # sums of squares of numbers between 2^-400 and 2^400 neither overflow nor vanish


def checked_series(x: Sequence[float] | FloatArray, field: str) -> FloatArray:
    """Return a one-dimensional array of finite floats, or say what is wrong with it.

    Raises
    ------
    ValueError
        If it has not one dimension, or a value is NaN or infinite.

    Notes
    -----
    An empty series is one.

    References
    ----------
    .. [1] None: a check.

    Examples
    --------
    >>> checked_series([1, 2], "x").tolist()
    [1.0, 2.0]
    """
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"{field} must be one-dimensional, got {values.ndim} dimensions")
    if not np.isfinite(values).all():
        raise ValueError(f"{field} must be finite; {field}[{int(np.flatnonzero(~np.isfinite(values))[0])}] is not")
    return values


def binary_exponent(*extremes: float) -> int:
    """Return e such that numbers with these extremes, divided by 2^e, can be squared and added; mostly 0.

    Notes
    -----
    0 for magnitudes between 2^-400 and 2^400 and for zeros; else that of the largest magnitude.

    References
    ----------
    .. [1] Higham, N. J. (2002), Accuracy and Stability of Numerical Algorithms, section 27.8 (scaled sums of squares).

    Examples
    --------
    >>> binary_exponent(-3.0, 2.0), binary_exponent(-1e308, 1.0)
    (0, 1024)
    """
    largest = max(abs(x) for x in extremes)
    exponent = math.frexp(largest)[1]
    return 0 if abs(exponent) <= SAFE_EXPONENT or largest == 0.0 else exponent


def scaled(values: FloatArray) -> tuple[FloatArray, int]:
    """Return values that can be squared and added, and the e of the 2^e they were divided by.

    Notes
    -----
    See `binary_exponent`. The array itself comes back where nothing was to be done.

    References
    ----------
    .. [1] Higham, N. J. (2002), Accuracy and Stability of Numerical Algorithms, section 27.8.

    Examples
    --------
    >>> scaled(np.array([0.5]))[1]
    0
    """
    exponent = binary_exponent(float(values.min()), float(values.max())) if values.size else 0
    return (values, 0) if exponent == 0 else (np.ldexp(values, -exponent), exponent)


def mean_and_deviation(values: FloatArray) -> tuple[float, float]:
    """Return the mean and the population standard deviation (divided by n) of a series.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Finite, at least one.

    Notes
    -----
    Two passes. A constant series has its own value as mean and deviation 0, whatever the rounding of the mean.

    References
    ----------
    .. [1] Chan, T. F., Golub, G. H., LeVeque, R. J. (1983), Algorithms for computing the sample variance, The American
       Statistician 37(3), 242-247.

    Examples
    --------
    >>> mean_and_deviation(np.array([0.1, 0.1, 0.1]))
    (0.1, 0.0)
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, 0.0
    exponent = binary_exponent(low, high)
    part = values if exponent == 0 else np.ldexp(values, -exponent)
    mean = float(part.mean())
    centred = part - mean
    # Not a dot product: libraries hand those to several threads, which costs more than it saves.
    deviation = math.sqrt(float(np.square(centred, out=centred).sum()) / values.size)
    if exponent == 0:
        return mean, deviation
    return math.ldexp(mean, exponent), math.ldexp(deviation, exponent)


def weighted_mean(values: FloatArray, weights: FloatArray | None = None) -> float:
    """Return the mean of a series, weighted when weights are given.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Finite, at least one.
    weights : ndarray of shape (n,), optional
        Positive.

    Notes
    -----
    sum w x / sum w. A constant series has its own value as mean.

    References
    ----------
    .. [1] None: a definition.

    Examples
    --------
    >>> weighted_mean(np.array([1.0, 2.0]), np.array([3.0, 1.0]))
    1.25
    """
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low
    exponent = binary_exponent(low, high)
    part = values if exponent == 0 else np.ldexp(values, -exponent)
    mean = float(part.mean()) if weights is None else float((part * (weights / weights.sum())).sum())
    return math.ldexp(mean, exponent)
