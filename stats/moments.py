"""Sufficient statistics that add: counts, means and centred sums, safe at any offset.

    >>> left, right = MeanStatistics.from_values([1e9 + 1, 1e9 + 2]), MeanStatistics.from_values([1e9 + 3])
    >>> (left + right).variance
    1.0

A sum of raw squares loses every digit of the variance once the mean is a few million times the spread
(``1e9 + {1..5}`` gives 0 instead of 2.5), so deviations from the mean are what is kept and merged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ROUNDING", "JointStatistics", "MeanStatistics", "as_values", "winsorize"]

# Of the mean: a spread below it is rounding, not data. R's t.test calls such data "essentially constant".
ROUNDING = 10.0 * np.finfo(np.float64).eps.item()
_CANCELLED = 1e-12  # of its terms: what rounding leaves of a difference of sums over a million values

_BLOCK = 8192  # values at a time: what the cache holds, and too few for a linear algebra library to start threads

FloatArray = npt.NDArray[np.float64]


def as_values(values: Sequence[float] | npt.NDArray[np.generic], name: str = "values") -> FloatArray:
    """Return finite numbers as a one-dimensional float array.

    Parameters
    ----------
    values : sequence of float, shape (n,)
        Booleans count as 0 and 1.
    name : str
        What the values are, for the message.

    Raises
    ------
    ValueError
        If they are not one-dimensional, not real numbers, or contain NaN or an infinity.

    Notes
    -----
    Missing values are refused instead of dropped: dropping them silently changes who is compared.

    References
    ----------
    .. [1] None; this is validation.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "biuf" and array.size:
            array = np.asarray([float(value) for value in values])
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be real numbers: {error}") from error
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {array.shape}")
    if not np.isfinite(array).all():
        position = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{position}] is {float(array[position])!r}; remove or impute it first")
    return array


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanStatistics:
    """Size, mean and sum of squared deviations of one sample.

    Attributes
    ----------
    n : int
        Number of values.
    mean : float
        Their mean; 0.0 when there are none.
    deviations : float
        Sum of squared deviations from the mean.

    Notes
    -----
    ``a + b`` is the statistics of both samples together, by the pairwise formula of [1]_.

    References
    ----------
    .. [1] Chan, T. F., Golub, G. H. and LeVeque, R. J. (1983). Algorithms for computing the sample variance.
       The American Statistician 37, 242-247, eq. 2.1.
    """

    n: int
    mean: float
    deviations: float

    def __post_init__(self) -> None:
        """Refuse impossible statistics."""
        if self.n < 0:
            raise ValueError(f"n must be 0 or more, got {self.n}")
        if not (math.isfinite(self.mean) and math.isfinite(self.deviations)):
            raise ValueError(f"mean and deviations must be finite, got {self.mean!r} and {self.deviations!r}")
        if self.deviations < 0.0:
            raise ValueError(f"deviations must be 0 or more, got {self.deviations!r}")

    @classmethod
    def from_values(cls, values: Sequence[float] | npt.NDArray[np.generic]) -> MeanStatistics:
        """Summarise an array of shape (n,) in two passes."""
        array = as_values(values)
        if array.size == 0:
            return cls(n=0, mean=0.0, deviations=0.0)
        # The second pass removes what rounding left in the first mean: matters when mean >> spread.
        mean = float(array.mean())
        total, squares = [], []
        for start in range(0, array.size, _BLOCK):
            centred = array[start : start + _BLOCK] - mean
            total.append(float(centred.sum()))
            squares.append(float(np.dot(centred, centred)))
        rest = math.fsum(total) / array.size
        deviations = math.fsum(squares) - array.size * rest * rest
        return cls(n=int(array.size), mean=mean + rest, deviations=max(deviations, 0.0))

    @classmethod
    def from_summary(cls, n: int, mean: float, sd: float) -> MeanStatistics:
        """Build from size, mean and sample standard deviation (n - 1 in the denominator)."""
        if sd < 0.0:
            raise ValueError(f"sd must be 0 or more, got {sd!r}")
        return cls(n=int(n), mean=float(mean), deviations=float(sd) * float(sd) * max(int(n) - 1, 0))

    @classmethod
    def from_sums(cls, n: int, total: float, total_squares: float) -> MeanStatistics:
        """Build from raw sums, as other systems export them; loses digits when the mean is far from zero."""
        if n < 1:
            return cls(n=0, mean=0.0, deviations=0.0)
        return cls(n=int(n), mean=total / n, deviations=max(float(total_squares) - total * total / n, 0.0))

    @property
    def variance(self) -> float:
        """Sample variance with n - 1 in the denominator; 0.0 below two values."""
        return self.deviations / (self.n - 1) if self.n > 1 else 0.0

    @property
    def sd(self) -> float:
        """Sample standard deviation."""
        return math.sqrt(self.variance)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; 0.0 below two values."""
        return math.sqrt(self.variance / self.n) if self.n > 1 else 0.0

    def __add__(self, other: MeanStatistics) -> MeanStatistics:
        """Return the statistics of both samples together."""
        n = self.n + other.n
        if n == 0:
            return self
        gap = other.mean - self.mean
        return MeanStatistics(
            n=n,
            mean=self.mean + gap * (other.n / n),
            deviations=self.deviations + other.deviations + gap * gap * (self.n / n * other.n),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JointStatistics:
    """Means, squared deviations and cross deviations of two values measured on the same subjects.

    Attributes
    ----------
    n : int
        Number of subjects.
    x_mean, y_mean : float
        Means of the first value (covariate, denominator) and the second (outcome, numerator).
    x_deviations, y_deviations : float
        Sums of squared deviations.
    xy_deviations : float
        Sum of products of deviations.

    Notes
    -----
    ``a + b`` merges two groups of subjects, see `MeanStatistics`.

    References
    ----------
    .. [1] Chan, T. F., Golub, G. H. and LeVeque, R. J. (1983). The American Statistician 37, 242-247.
    """

    n: int
    x_mean: float
    y_mean: float
    x_deviations: float
    y_deviations: float
    xy_deviations: float

    @classmethod
    def from_values(
        cls, x: Sequence[float] | npt.NDArray[np.generic], y: Sequence[float] | npt.NDArray[np.generic]
    ) -> JointStatistics:
        """Summarise two arrays of shape (n,)."""
        first, second = as_values(x, "x"), as_values(y, "y")
        if first.size != second.size:
            raise ValueError(f"x and y must have the same length, got {first.size} and {second.size}")
        left, right = MeanStatistics.from_values(first), MeanStatistics.from_values(second)
        cross = float(np.dot(first - left.mean, second - right.mean)) if first.size else 0.0
        return cls(
            n=left.n,
            x_mean=left.mean,
            y_mean=right.mean,
            x_deviations=left.deviations,
            y_deviations=right.deviations,
            xy_deviations=cross,
        )

    @property
    def x(self) -> MeanStatistics:
        """Statistics of the first value alone."""
        return MeanStatistics(n=self.n, mean=self.x_mean, deviations=self.x_deviations)

    @property
    def y(self) -> MeanStatistics:
        """Statistics of the second value alone."""
        return MeanStatistics(n=self.n, mean=self.y_mean, deviations=self.y_deviations)

    @property
    def covariance(self) -> float:
        """Sample covariance with n - 1 in the denominator; 0.0 below two subjects."""
        return self.xy_deviations / (self.n - 1) if self.n > 1 else 0.0

    def residual_deviations(self, slope: float) -> float:
        """Return the sum of squared deviations of ``y - slope x``; 0 where the terms cancel but for rounding.

        Parameters
        ----------
        slope : float

        Notes
        -----
        ``S_yy - 2 b S_xy + b^2 S_xx``. Rounding leaves about 1e-16 of the terms, a positive or a negative number.
        """
        fitted = slope * slope * self.x_deviations
        rest = self.y_deviations - 2.0 * slope * self.xy_deviations + fitted
        return 0.0 if rest <= _CANCELLED * (self.y_deviations + fitted) else rest

    def __add__(self, other: JointStatistics) -> JointStatistics:
        """Return the statistics of both groups together."""
        n = self.n + other.n
        if n == 0:
            return self
        weight = self.n / n * other.n
        x, y = self.x + other.x, self.y + other.y
        return JointStatistics(
            n=n,
            x_mean=x.mean,
            y_mean=y.mean,
            x_deviations=x.deviations,
            y_deviations=y.deviations,
            xy_deviations=self.xy_deviations
            + other.xy_deviations
            + (other.x_mean - self.x_mean) * (other.y_mean - self.y_mean) * weight,
        )


def winsorize(groups: Sequence[FloatArray], quantile: float) -> tuple[list[FloatArray], float]:
    """Cap the values of every group at one quantile of all of them together.

    Parameters
    ----------
    groups : sequence of array of shape (n_values,)
        One array per variant.
    quantile : float
        In (0.5, 1): 0.99 caps the largest hundredth.

    Returns
    -------
    capped : list of array
        Same shapes as given.
    cap : float
        The common cap.

    Raises
    ------
    ValueError
        If the quantile is outside (0.5, 1) or there are no values.

    Notes
    -----
    One cap for all groups: separate caps would treat the variants differently and bias the comparison. The
    quantile interpolates linearly between order statistics.

    References
    ----------
    .. [1] Kohavi, R., Tang, D. and Xu, Y. (2020). Trustworthy Online Controlled Experiments, ch. 22. Cambridge.

    Examples
    --------
    >>> capped, cap = winsorize([np.array([1.0, 2.0]), np.array([3.0, 100.0])], 0.75)
    >>> cap
    27.25
    """
    if not 0.5 < quantile < 1.0:
        raise ValueError(f"quantile must lie between 0.5 and 1, got {quantile!r}")
    pooled = np.concatenate([np.asarray(group, dtype=np.float64) for group in groups]) if groups else np.empty(0)
    if pooled.size == 0:
        raise ValueError("no values to winsorize")
    cap = float(np.quantile(pooled, quantile))
    return [np.minimum(np.asarray(group, dtype=np.float64), cap) for group in groups], cap
