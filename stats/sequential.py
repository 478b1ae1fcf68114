"""Looking before the end without fooling oneself: error spending, boundaries, conditional power.

    >>> [round(z, 4) for z in boundaries([0.5, 1.0], 0.025)]
    [2.9626, 1.9686]
    >>> round(naive_peeking_error(20), 3)
    0.248

Vocabulary: a *look* is one analysis; its *information fraction* t is the share of the planned information (subjects)
it has; the *drift* is the expected z at t = 1, so that z at t is N(drift sqrt(t), 1) with the covariance sqrt(t_i /
t_j); an *alpha* here is one-sided (half of a two-sided one), because each side has a boundary of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import special

from stats.means import upper_quantile

__all__ = [
    "SPENDING_FUNCTIONS",
    "BetaSpendingDesign",
    "Spending",
    "beta_spending_design",
    "boundaries",
    "conditional_crossing",
    "conditional_power",
    "crossing_probabilities",
    "drift_for_power",
    "naive_peeking_error",
    "predictive_power",
    "sequential_p_value",
    "side_error",
    "spent_alpha",
    "wang_tsiatis_boundaries",
]

Spending = Literal["obrien_fleming", "pocock", "hwang_shih_decani", "power"]
SPENDING_FUNCTIONS: tuple[Spending, ...] = ("obrien_fleming", "pocock", "hwang_shih_decani", "power")
DEFAULT_PARAMETERS: dict[str, float] = {"hwang_shih_decani": -4.0, "power": 2.0}

FAR = 8.5  # z beyond which a normal tail (1e-17) does not matter
_NODES_PER_WIDTH = 5.0  # quadrature nodes in one standard deviation of the step between two looks
_MIN_NODES, _MAX_NODES = 96, 4000
_BLOCK = 400  # rows of the kernel between two looks that are held at once
_LARGEST_SIDE = 0.4999  # error of one side; with 0.5 every boundary would be 0
_MIN_STEP = 1e-6  # smallest increase of information between looks

FloatArray = npt.NDArray[np.float64]


def side_error(alpha: float, alternative: str = "two-sided") -> float:
    """Return the error that each side of a test may spend; of a one-sided test with an alpha of 0.5 hardly less.

    Parameters
    ----------
    alpha : float
        Of the whole test, in (0, 0.5].
    alternative : {"two-sided", "greater", "less"}

    Returns
    -------
    float
        In (0, 0.5).

    Notes
    -----
    ``alpha / 2``; one-sided ``alpha``.

    References
    ----------
    .. [1] Jennison, C. and Turnbull, B. W. (2000). Group Sequential Methods, section 4.2. Chapman & Hall.

    Examples
    --------
    >>> side_error(0.05), side_error(0.05, "greater")
    (0.025, 0.05)
    """
    return alpha / 2.0 if alternative == "two-sided" else min(alpha, _LARGEST_SIDE)


def spent_alpha(
    fraction: float, alpha: float, spending: str = "obrien_fleming", parameter: float | None = None
) -> float:
    """Return the one-sided error that may have been spent by an information fraction.

    Parameters
    ----------
    fraction : float
        0 or more; 1 and beyond have spent everything.
    alpha : float
        One-sided, in (0, 0.5).
    spending : {"obrien_fleming", "pocock", "hwang_shih_decani", "power"}
    parameter : float or None
        gamma of Hwang-Shih-DeCani (default -4) or the exponent of "power" (default 2).

    Returns
    -------
    float
        In [0, alpha].

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    O'Brien-Fleming-like ``2 - 2 Phi(z_{1 - alpha/2} / sqrt(t))``; Pocock-like ``alpha log(1 + (e - 1) t)``;
    Hwang-Shih-DeCani ``alpha (1 - exp(-g t)) / (1 - exp(-g))``; power ``alpha t^rho``. For a two-sided 5 % test each
    side spends alpha = 0.025, the convention of gsDesign, rpact and ldbounds.

    References
    ----------
    .. [1] Lan, K. K. G. and DeMets, D. L. (1983). Discrete sequential boundaries for clinical trials. Biometrika
       70, 659-663.
    .. [2] Hwang, I. K., Shih, W. J. and DeCani, J. S. (1990). Group sequential designs using a family of type I
       error probability spending functions. Statistics in Medicine 9, 1439-1445.
    """
    _check_alpha(alpha)
    if spending not in SPENDING_FUNCTIONS:
        raise ValueError(f"spending must be one of {', '.join(map(repr, SPENDING_FUNCTIONS))}, got {spending!r}")
    if not fraction >= 0.0:
        raise ValueError(f"fraction must be 0 or more, got {fraction!r}")
    if fraction == 0.0:
        return 0.0
    if fraction >= 1.0:
        return alpha
    if spending == "obrien_fleming":
        return float(2.0 * special.ndtr(special.ndtri(alpha / 2.0) / math.sqrt(fraction)))
    if spending == "pocock":
        return alpha * math.log1p((math.e - 1.0) * fraction)
    value = DEFAULT_PARAMETERS[spending] if parameter is None else float(parameter)
    if spending == "power":
        if not value > 0.0:
            raise ValueError(f"the exponent of power spending must be positive, got {value!r}")
        return float(alpha * fraction**value)
    if not -40.0 <= value <= 40.0:
        raise ValueError(f"gamma must lie in [-40, 40], got {value!r}")
    return alpha * fraction if value == 0.0 else alpha * math.expm1(-value * fraction) / math.expm1(-value)


def boundaries(
    fractions: Sequence[float],
    alpha: float,
    spending: str = "obrien_fleming",
    parameter: float | None = None,
    *,
    symmetric: bool = False,
    final: bool = False,
) -> list[float]:
    """Return the upper z boundary of every look.

    Parameters
    ----------
    fractions : sequence of float, shape (n_looks,)
        Strictly increasing information fractions; beyond 1 (more subjects than planned) is fine.
    alpha : float
        One-sided error of the upper side.
    spending, parameter
        See `spent_alpha`.
    symmetric : bool
        Whether paths that cross minus the boundary stop there. False gives each side its alpha without regard to the
        other, as gsDesign does: larger by less than 2e-5 at usual levels, and right for one-sided tests too.
    final : bool
        Whether the last look is the last of all; it then gets everything that is left, whatever its fraction.

    Returns
    -------
    list of float, shape (n_looks,)
        A look that may spend less than 1e-16 has the boundary 8.5 or more: infinity, when nothing may be spent.

    Raises
    ------
    ValueError
        If the fractions do not increase, or as `spent_alpha`.

    Notes
    -----
    The density of z among the paths that have not crossed is carried from look to look by quadrature, and each
    boundary is where the tail equals the newly spent error.

    References
    ----------
    .. [1] Armitage, P., McPherson, C. K. and Rowe, B. C. (1969). Repeated significance tests on accumulating data.
       JRSS A 132, 235-244.
    .. [2] Jennison, C. and Turnbull, B. W. (2000). Group Sequential Methods, chapters 7 and 19. Chapman & Hall.

    Examples
    --------
    >>> [round(z, 3) for z in boundaries([0.3, 0.6, 1.0], 0.025, "pocock")]
    [2.312, 2.321, 2.269]
    """
    return list(_boundaries(tuple(_checked_fractions(fractions)), alpha, spending, parameter, symmetric, final))


@lru_cache(maxsize=1024)
def _boundaries(
    t: tuple[float, ...], alpha: float, spending: str, parameter: float | None, symmetric: bool, final: bool
) -> tuple[float, ...]:
    walk = _Walk()
    result: list[float] = []
    spent = 0.0
    for index, fraction in enumerate(t):
        last = final and index == len(t) - 1
        allowed = alpha if last else spent_alpha(fraction, alpha, spending, parameter)
        walk.step(fraction, 0.0)
        bound = walk.find_upper(allowed - spent)
        if math.isfinite(bound):
            spent = max(spent, allowed)
        result.append(bound)
        if index + 1 < len(t):
            walk.stop(-bound if symmetric else -math.inf, bound, t[index + 1])
    return tuple(result)


def crossing_probabilities(
    fractions: Sequence[float], upper: Sequence[float], lower: Sequence[float], drift: float = 0.0
) -> tuple[list[float], list[float]]:
    """Return the probability of first leaving through the upper and the lower boundary at every look.

    Parameters
    ----------
    fractions, upper, lower : sequence of float, shape (n_looks,)
        Infinite boundaries cannot be crossed.
    drift : float
        Expected z at information fraction 1.

    Returns
    -------
    upper_probabilities, lower_probabilities : list of float, shape (n_looks,)

    Raises
    ------
    ValueError
        If the fractions do not increase or the lengths differ.

    Notes
    -----
    See `boundaries`.

    References
    ----------
    .. [1] Jennison, C. and Turnbull, B. W. (2000). Group Sequential Methods, chapter 19.
    """
    t = _checked_fractions(fractions)
    if not len(t) == len(upper) == len(lower):
        raise ValueError(f"fractions, upper and lower differ in length: {len(t)}, {len(upper)}, {len(lower)}")
    _check_numbers("drift and boundaries", drift, *upper, *lower)
    walk = _Walk()
    above, below = [], []
    for index, (fraction, high, low) in enumerate(zip(t, upper, lower, strict=True)):
        walk.step(fraction, drift)
        above.append(walk.mass_above(high))
        below.append(walk.mass_below(low))
        if index + 1 < len(t):
            walk.stop(low, high, t[index + 1])
    return above, below


def wang_tsiatis_boundaries(n_looks: int, alpha: float, shape: float = 0.0, *, symmetric: bool = True) -> list[float]:
    """Return the classical boundaries for equally spaced looks.

    Parameters
    ----------
    n_looks : int
        1 to 100.
    alpha : float
        One-sided.
    shape : float
        0 is O'Brien-Fleming, 0.5 is Pocock, between them Wang-Tsiatis.
    symmetric : bool
        Whether the lower boundary is minus the upper one.

    Returns
    -------
    list of float, shape (n_looks,)

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Boundary ``C t^(shape - 1/2)``; C is found so that the total crossing probability is alpha.

    References
    ----------
    .. [1] O'Brien, P. C. and Fleming, T. R. (1979). A multiple testing procedure for clinical trials. Biometrics
       35, 549-556.
    .. [2] Pocock, S. J. (1977). Group sequential methods in the design and analysis of clinical
       trials. Biometrika 64, 191-199.
    .. [3] Wang, S. K. and Tsiatis, A. A. (1987). Biometrics 43, 193-199.

    Examples
    --------
    >>> [round(z, 4) for z in wang_tsiatis_boundaries(3, 0.025, 0.5)]
    [2.2895, 2.2895, 2.2895]
    """
    _check_alpha(alpha)
    t = np.arange(1, _checked_looks(n_looks) + 1) / n_looks

    def excess(constant: float) -> float:
        upper = constant * t ** (shape - 0.5)
        lower = -upper if symmetric else np.full(len(t), -np.inf)
        return sum(crossing_probabilities(t.tolist(), upper.tolist(), lower.tolist())[0]) - alpha

    constant = _root(excess, 0.1, 8.0)
    return [float(constant * fraction ** (shape - 0.5)) for fraction in t]


def drift_for_power(
    fractions: Sequence[float], upper: Sequence[float], power: float, *, symmetric: bool = False
) -> float:
    """Return the drift at which a design crosses its upper boundary with the wanted probability.

    Parameters
    ----------
    fractions, upper : sequence of float, shape (n_looks,)
    power : float
        In (0, 1).
    symmetric : bool
        Whether paths that cross minus the upper boundary stop there.

    Returns
    -------
    float
        Its square over the fixed design's ``(z_alpha + z_power)^2`` is the inflation of the sample size.

    Raises
    ------
    ValueError
        As `crossing_probabilities`.

    Notes
    -----
    Solved by bracketing; crossing increases with the drift.

    References
    ----------
    .. [1] Jennison, C. and Turnbull, B. W. (2000). Group Sequential Methods, section 2.3.
    """
    if not 0.0 < power < 1.0:
        raise ValueError(f"power must lie between 0 and 1, got {power!r}")
    lower = [-bound if symmetric else -math.inf for bound in upper]
    error = sum(crossing_probabilities(fractions, upper, lower)[0])
    if not error < power:
        raise ValueError(
            f"power must exceed the error of {error:.4g} that the design has without effect, got {power!r}"
        )
    return _root(lambda drift: sum(crossing_probabilities(fractions, upper, lower, drift)[0]) - power, 0.0, 30.0)


def naive_peeking_error(n_looks: int, z: float = 1.959963984540054) -> float:
    """Return the chance that an A/A test crosses a constant two-sided |z| at one of equally spaced looks.

    Parameters
    ----------
    n_looks : int
        1 to 100.
    z : float
        The unadjusted critical value.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If n_looks is out of range.

    Notes
    -----
    ``1 - (1 - alpha)^K`` is wrong here: looks share their data.

    References
    ----------
    .. [1] Armitage, P., McPherson, C. K. and Rowe, B. C. (1969). JRSS A 132, 235-244, table 2.
    """
    t = [(look + 1) / _checked_looks(n_looks) for look in range(n_looks)]
    above, below = crossing_probabilities(t, [z] * n_looks, [-z] * n_looks)
    return sum(above) + sum(below)


def conditional_power(z: float, fraction: float, drift: float, critical: float) -> float:
    """Return the chance that the final z exceeds a critical value, given what has been seen.

    Parameters
    ----------
    z : float
        Statistic at the current look.
    fraction : float
        Its information fraction, in (0, 1).
    drift : float
        Assumed expected z at the end. Planned effect: ``z_{1-alpha/2} + z_power``; current trend: ``z / sqrt(t)``; no
        effect: 0.
    critical : float
        Final boundary.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1.

    Notes
    -----
    With the B-value ``B = z sqrt(t)``: ``Phi((B + drift (1 - t) - c) / sqrt(1 - t))``.

    References
    ----------
    .. [1] Lan, K. K. G. and Wittes, J. (1988). The B-value: a tool for monitoring data. Biometrics 44, 579-585.

    Examples
    --------
    >>> round(conditional_power(1.5, 0.5, 0.0, 1.959964), 4)
    0.1017
    """
    _check_open(fraction)
    _check_numbers("z, drift and critical", z, drift, critical)
    rest = 1.0 - fraction
    return float(special.ndtr((z * math.sqrt(fraction) + drift * rest - critical) / math.sqrt(rest)))


def predictive_power(z: float, fraction: float, critical: float) -> float:
    """Return conditional power averaged over what the data say of the effect (flat prior).

    Parameters
    ----------
    z, fraction, critical : float
        As in `conditional_power`, which also says what is returned and raised.

    Notes
    -----
    ``Phi((z / sqrt(t) - c) sqrt(t / (1 - t)))``.

    References
    ----------
    .. [1] Spiegelhalter, D. J., Freedman, L. S. and Blackburn, P. R. (1986). Monitoring clinical trials: conditional
       or predictive power? Controlled Clinical Trials 7, 8-17.
    """
    _check_open(fraction)
    _check_numbers("z and critical", z, critical)
    return float(special.ndtr((z / math.sqrt(fraction) - critical) * math.sqrt(fraction / (1.0 - fraction))))


def conditional_crossing(
    fractions: Sequence[float], upper: Sequence[float], lower: Sequence[float], look: int, z: float, drift: float
) -> tuple[list[float], list[float]]:
    """Return the chance of crossing at each later look, given z at one look.

    Parameters
    ----------
    fractions, upper, lower : sequence of float, shape (n_looks,)
        The whole design.
    look : int
        Index of the current look, from 0.
    z : float
        Statistic at it.
    drift : float
        Assumed expected z at information fraction 1.

    Returns
    -------
    upper_probabilities, lower_probabilities : list of float, shape (n_looks - look - 1,)

    Raises
    ------
    ValueError
        As `crossing_probabilities`, or if there is no such look.

    Notes
    -----
    Later increments are independent of the past, so the rest of the design is a design of its own, with boundaries
    ``(b_j sqrt(t_j) - z sqrt(t_i)) / sqrt(t_j - t_i)``.

    References
    ----------
    .. [1] Müller, H.-H. and Schäfer, H. (2001). Adaptive group sequential designs for clinical trials.
       Biometrics 57, 886-891.
    """
    if not 0 <= look < len(fractions) - 1:
        raise ValueError(f"look must lie between 0 and {len(fractions) - 2}, so that one is left, got {look!r}")
    now = fractions[look]
    rest = [fraction - now for fraction in fractions[look + 1 :]]
    done = z * math.sqrt(now)

    def shifted(bounds: Sequence[float]) -> list[float]:
        later = zip(fractions[look + 1 :], bounds[look + 1 :], rest, strict=True)
        return [(bound * math.sqrt(fraction) - done) / math.sqrt(more) for fraction, bound, more in later]

    return crossing_probabilities(rest, shifted(upper), shifted(lower), drift)


@dataclass(frozen=True, slots=True, kw_only=True)
class BetaSpendingDesign:
    """A design with an efficacy boundary and a non-binding futility boundary.

    Attributes
    ----------
    upper, lower : list of float, shape (n_looks,)
        z at or above ``upper`` is success; z at or below ``lower`` may be called futile. They meet at the last look.
    drift : float
        Expected final z for which the power is ``1 - beta``.
    inflation : float
        Maximum sample size over that of the fixed design with the same errors.

    References
    ----------
    .. [1] See `beta_spending_design`.
    """

    upper: list[float]
    lower: list[float]
    drift: float
    inflation: float


def beta_spending_design(
    fractions: Sequence[float],
    alpha: float,
    beta: float,
    *,
    spending: str = "obrien_fleming",
    parameter: float | None = None,
    beta_spending: str = "hwang_shih_decani",
    beta_parameter: float | None = -2.0,
) -> BetaSpendingDesign:
    """Return a one-sided design whose futility boundary spends the type II error.

    Parameters
    ----------
    fractions : sequence of float, shape (n_looks,)
        Ending at 1.
    alpha, beta : float
        One-sided type I and type II errors.
    spending, parameter, beta_spending, beta_parameter
        See `spent_alpha`.

    Returns
    -------
    BetaSpendingDesign

    Raises
    ------
    ValueError
        If the fractions do not end at 1, or an error is out of range.

    Notes
    -----
    Non-binding: the upper boundary ignores the lower one, so going on after a futile look does not inflate the error.
    The drift is found for which the two boundaries meet at the end.

    References
    ----------
    .. [1] Pampallona, S., Tsiatis, A. A. and Kim, K. (2001). Interim monitoring of group sequential trials using
       spending functions for the type I and type II error probabilities. Drug Information Journal 35, 1113-1121.
    """
    t = _checked_fractions(fractions)
    if t[-1] != 1.0:
        raise ValueError(f"the last fraction must be 1, got {t[-1]!r}")
    if not 1.0 - beta > alpha:
        raise ValueError(f"the power 1 - beta must exceed alpha = {alpha!r}, got beta = {beta!r}")
    fixed = upper_quantile(alpha) + upper_quantile(beta)
    upper, lower, drift = _beta_spending_bounds(
        tuple(t), alpha, beta, spending, parameter, beta_spending, beta_parameter
    )
    return BetaSpendingDesign(upper=list(upper), lower=list(lower), drift=drift, inflation=(drift / fixed) ** 2)


@lru_cache(maxsize=256)
def _beta_spending_bounds(
    t: tuple[float, ...],
    alpha: float,
    beta: float,
    spending: str,
    parameter: float | None,
    beta_spending: str,
    beta_parameter: float | None,
) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    upper = boundaries(t, alpha, spending, parameter, symmetric=False)

    def lower_bounds(drift: float) -> list[float]:
        walk = _Walk()
        spent, lower = 0.0, []
        for index, (fraction, high) in enumerate(zip(t, upper, strict=True)):
            allowed = spent_alpha(fraction, beta, beta_spending, beta_parameter)
            walk.step(fraction, drift)
            low = walk.find_lower(allowed - spent)
            spent = allowed
            lower.append(low)
            if index + 1 < len(t):
                walk.stop(min(low, high), high, t[index + 1])
        return lower

    drift = _root(lambda value: lower_bounds(value)[-1] - upper[-1], 0.5, 15.0)
    lower = lower_bounds(drift)
    lower[-1] = upper[-1]
    return tuple(upper), tuple(lower), drift


def sequential_p_value(
    fractions: Sequence[float],
    z_values: Sequence[float],
    spending: str = "obrien_fleming",
    parameter: float | None = None,
    *,
    two_sided: bool = True,
    final: bool = False,
) -> float:
    """Return the smallest error rate at which the design would have stopped by now.

    Parameters
    ----------
    fractions, z_values : sequence of float, shape (n_looks,)
        All looks so far.
    spending, parameter, final
        See `boundaries`.
    two_sided : bool
        False looks for large z only.

    Returns
    -------
    float
        In (0, 1]: twice the side's alpha when two-sided. Below the design's alpha exactly when a boundary
        of that design has been crossed.

    Raises
    ------
    ValueError
        As `boundaries`.

    Notes
    -----
    Bisection over alpha; the boundaries of the spending functions used here shrink as alpha grows.

    References
    ----------
    .. [1] Liu, Q. and Anderson, K. M. (2008). On adaptive extensions of group sequential trials for clinical
       investigations. JASA 103, 1621-1630, section 3.
    """
    _check_numbers("z_values", *z_values)
    z = [abs(value) if two_sided else value for value in z_values]

    def crossed(alpha: float) -> bool:
        bounds = boundaries(fractions, alpha, spending, parameter, final=final)
        return any(value >= bound for value, bound in zip(z, bounds, strict=True))

    low, high = math.log(1e-15), math.log(0.4999)
    if not crossed(math.exp(high)):
        return 1.0
    if crossed(math.exp(low)):
        return 2e-15 if two_sided else 1e-15
    while high - low > 1e-4:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if crossed(math.exp(middle)) else (middle, high)
    return math.exp(high) * (2.0 if two_sided else 1.0)


class _Walk:
    """Density of z among the paths that have not stopped, on quadrature nodes, from look to look."""

    def __init__(self) -> None:
        self.time = 0.0
        self.drift = 0.0
        self.nodes: FloatArray = np.zeros(1)
        self.weights: FloatArray = np.ones(1)  # density times quadrature weight; a point mass before the first look
        self._next = (0.0, 1.0, 1.0)  # shift, old scale, standard deviation of the step, on the z scale

    def step(self, time: float, drift: float) -> None:
        """Move to the next look; nothing is stopped yet."""
        gained = time - self.time
        root = math.sqrt(time)
        self._next = (drift * gained / root, math.sqrt(self.time) / root, math.sqrt(gained) / root)
        self.time, self.drift = time, drift

    def mass_above(self, bound: float) -> float:
        """Probability of not having stopped before, and of z >= bound now."""
        if bound == math.inf:
            return 0.0
        shift, scale, sd = self._next
        return float(np.dot(self.weights, special.ndtr((self.nodes * scale + shift - bound) / sd)))

    def mass_below(self, bound: float) -> float:
        """Probability of not having stopped before, and of z <= bound now."""
        if bound == -math.inf:
            return 0.0
        shift, scale, sd = self._next
        return float(np.dot(self.weights, special.ndtr((bound - self.nodes * scale - shift) / sd)))

    def find_upper(self, mass: float) -> float:
        """Bound with the given probability above it; infinity when there is nothing to spend."""
        if mass < 1e-18:
            return math.inf
        return _root(lambda bound: mass - self.mass_above(bound), -FAR, 40.0)

    def find_lower(self, mass: float) -> float:
        """Bound with the given probability below it; minus infinity when there is nothing to spend."""
        if mass < 1e-18:
            return -math.inf
        if self.mass_below(40.0) <= mass:  # fewer paths are left than may be stopped
            return 40.0
        return _root(lambda bound: self.mass_below(bound) - mass, -40.0, 40.0)

    def stop(self, lower: float, upper: float, next_time: float) -> None:
        """Keep only the paths strictly between the bounds, on nodes that are close enough for the next look too."""
        shift, scale, sd = self._next
        centre = self.drift * math.sqrt(self.time)
        low, high = max(lower, centre - FAR), min(upper, centre + FAR)
        if not low < high:
            self.nodes, self.weights = np.zeros(1), np.zeros(1)
            return
        # The density is as rough as the step that made it, and the kernel of the next look as narrow as its step.
        finest = min(sd, math.sqrt((next_time - self.time) / self.time))
        count = int(min(_MAX_NODES, max(_MIN_NODES, math.ceil((high - low) / finest * _NODES_PER_WIDTH))))
        unit, unit_weights = _legendre(count)
        nodes = 0.5 * (high - low) * unit + 0.5 * (high + low)
        before = self.nodes * scale + shift
        density = np.empty(nodes.size)
        for start in range(0, nodes.size, _BLOCK):
            distance = (nodes[start : start + _BLOCK, None] - before[None, :]) / sd
            density[start : start + _BLOCK] = np.exp(-0.5 * distance * distance) @ self.weights
        density /= sd * math.sqrt(2.0 * math.pi)
        self.nodes, self.weights = nodes, density * unit_weights * (0.5 * (high - low))


_legendre_cache: dict[int, tuple[FloatArray, FloatArray]] = {}


def _legendre(count: int) -> tuple[FloatArray, FloatArray]:
    """Gauss-Legendre nodes and weights on [-1, 1]; counts are rounded up so that few are ever computed."""
    size = _MIN_NODES
    while size < count:
        size = math.ceil(size * 1.3)
    if size not in _legendre_cache:
        nodes, weights = special.roots_legendre(size)
        _legendre_cache[size] = (np.asarray(nodes), np.asarray(weights))
    return _legendre_cache[size]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Root of an increasing function of one float, by Brent's method to 1e-12."""
    from scipy.optimize import brentq

    return float(brentq(function, low, high, xtol=1e-12, rtol=1e-14, maxiter=300))


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 0.5:
        raise ValueError(f"alpha must lie between 0 and 0.5 (one-sided), got {alpha!r}")


def _check_numbers(name: str, *values: float) -> None:
    if any(math.isnan(value) for value in values):
        raise ValueError(f"{name} must be numbers, got {', '.join(map(repr, values))}")


def _check_open(fraction: float) -> None:
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction must lie strictly between 0 and 1, got {fraction!r}")


def _checked_looks(n_looks: int) -> int:
    if not 1 <= n_looks <= 100:
        raise ValueError(f"n_looks must lie between 1 and 100, got {n_looks!r}")
    return int(n_looks)


def _checked_fractions(fractions: Sequence[float]) -> list[float]:
    t = [float(fraction) for fraction in fractions]
    if not t:
        raise ValueError("at least one look is needed")
    previous = 0.0
    for fraction in t:
        if not (math.isfinite(fraction) and fraction - previous >= _MIN_STEP):
            raise ValueError(f"information fractions must be positive and increase strictly, got {t}")
        previous = fraction
    return t


def simple_sequential_threshold(n: int) -> int:
    """Return the lead at which a one-sided test of successes stops, when at most n successes are waited for.

    Parameters
    ----------
    n : int
        Successes of both variants together at which the test ends without a winner; positive.

    Returns
    -------
    int
        Stop for the treatment when its successes exceed the baseline's by this many.

    Raises
    ------
    ValueError
        If n is not positive.

    Notes
    -----
    ``2 sqrt(n)``, rounded up; a one-sided error of 5 % by the reflection principle for a random walk.

    References
    ----------
    .. [1] Miller, E. (2015). Simple sequential A/B testing.
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more, got {n!r}")
    return math.ceil(2.0 * math.sqrt(n) - 1e-9)
