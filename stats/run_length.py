"""How often a control chart alarms. Average run lengths of every design, computed rather than quoted.

    >>> round(shewhart_run_length(0.0), 1), round(shewhart_run_length(1.0), 2)
    (370.4, 43.89)
    >>> round(cusum_run_length(1.0, k=0.5, h=4.77), 2), round(ewma_run_length(1.0, lam=0.2, limit=2.86), 2)
    (9.92, 9.8)

Vocabulary: the *average run length* (ARL) is the mean number of points until the first alarm; in control it should be
long (ARL0), after a *shift*, in sigmas, short. *Zero-state* means that the shift is there from the first point on. All
assume independent normal points with known centre and sigma.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from stats.control_charts import (
    CUSUM_DECISION,
    CUSUM_REFERENCE,
    EWMA_LAMBDA,
    EWMA_LIMIT,
    NELSON_RULES,
    RULE_NAMES,
    SHEWHART_LIMIT,
    WESTERN_ELECTRIC_RULES,
    runs_rules,
)

__all__ = [
    "SimulatedRunLength",
    "average_run_length",
    "cusum_limit",
    "cusum_run_length",
    "ewma_limit",
    "ewma_run_length",
    "runs_rules_run_length",
    "shewhart_run_length",
    "simulated_run_length",
]

FloatArray = npt.NDArray[np.float64]

NODES = 120  # Gauss-Legendre nodes of the integral equations; 60 already give 8 digits for the default designs
LONGEST = 1e15  # points; beyond it the equations have no digits left
MAX_STATES = 40_000  # of the Markov chain of a set of runs rules
_CHAIN_RULES = frozenset({"1", "2", "5", "6", "7", "8", "WE4"})  # depend on zones alone
_SEARCH_STEPS = 200  # of a bisection


def shewhart_run_length(shift: float = 0.0, limit: float = SHEWHART_LIMIT) -> float:
    """Return the average run length of a two-sided Shewhart chart: 1 / P(|Z + shift| > limit).

    Notes
    -----
    Points are independent, so run lengths are geometric.

    References
    ----------
    .. [1] Montgomery, D. C., Introduction to Statistical Quality Control, section on average run length.

    Examples
    --------
    >>> round(shewhart_run_length(2.0), 1)
    6.3
    """
    _check(shift, limit=limit)
    return 1.0 / float(ndtr(-limit - shift) + ndtr(-limit + shift))


def ewma_run_length(
    shift: float = 0.0, *, lam: float = EWMA_LAMBDA, limit: float = EWMA_LIMIT, nodes: int = NODES
) -> float:
    """Return the average run length of a two-sided EWMA chart with its asymptotic limits.

    Parameters
    ----------
    shift : float
        In sigmas.
    lam : float in (0, 1]
    limit : float
        L, in standard deviations of the average.
    nodes : int
        Of the quadrature.

    Notes
    -----
    L(u) = 1 + (1 / lam) int_{-c}^{c} L(x) phi((x - (1 - lam) u) / lam - shift) dx with c = limit sqrt(lam / (2 -
    lam)), solved by Nystroem's method on Gauss-Legendre nodes; the value at u = 0. lam = 1 is the Shewhart chart.

    References
    ----------
    .. [1] Crowder, S. V. (1987), A simple method for studying run-length distributions of exponentially weighted moving
       average charts, Technometrics 29(4), 401-407.
    .. [2] Lucas, J. M. and Saccucci, M. S. (1990), Technometrics 32(1), 1-12.

    Examples
    --------
    >>> round(ewma_run_length(0.0, lam=0.5, limit=2.0), 2)
    26.45
    """
    _check(shift, limit=limit)
    if not 0.0 < lam <= 1.0:
        raise ValueError(f"lam must lie in (0, 1], got {lam}")
    if lam == 1.0:
        return shewhart_run_length(shift, limit)
    edge = limit * math.sqrt(lam / (2.0 - lam))
    x, w = _legendre(max(nodes, math.ceil(12.0 * edge / lam)))
    x, w = edge * x, edge * w

    def kernel(u: FloatArray) -> FloatArray:
        return _density((x[None, :] - (1.0 - lam) * u[:, None]) / lam - shift) * w[None, :] / lam

    inside = np.linalg.solve(np.eye(x.size) - kernel(x), np.ones(x.size))
    return 1.0 + float((kernel(np.zeros(1)) @ inside)[0])


def cusum_run_length(
    shift: float = 0.0,
    *,
    k: float = CUSUM_REFERENCE,
    h: float = CUSUM_DECISION,
    two_sided: bool = True,
    head_start: float = 0.0,
    nodes: int = NODES,
) -> float:
    """Return the average run length of a tabular CUSUM.

    Parameters
    ----------
    shift : float
        In sigmas.
    k, h : float
        Reference value and decision interval, in sigmas.
    two_sided : bool
        Whether both sums may alarm, or the upper one only.
    head_start : float in [0, h]
        Where the sums start.
    nodes : int
        Of the quadrature.

    Notes
    -----
    One side: L(u) = 1 + L(0) Phi(k - u - shift) + int_0^h L(x) phi(x + k - u - shift) dx, by Nystroem's method. Two
    sides without a head start: 1 / L = 1 / L+ + 1 / L-, exact because one sum is 0 when the other alarms; with one,
    the formula of [2]_.

    References
    ----------
    .. [1] Page, E. S. (1954), Continuous inspection schemes, Biometrika 41, 100-115.
    .. [2] Lucas, J. M. and Crosier, R. B. (1982), Fast initial response for CUSUM quality-control schemes,
       Technometrics 24(3), 199-205, appendix.

    Raises
    ------
    ValueError
        If a parameter is out of range, or a one-sided run length is too long for 64-bit floats.

    Examples
    --------
    >>> round(cusum_run_length(2.5, k=0.25, h=8.0), 6), round(cusum_run_length(2.5, k=0.25, h=8.0, two_sided=False), 6)
    (4.150084, 4.150084)
    """
    _check(shift, limit=h)
    if not (k >= 0.0 and 0.0 <= head_start <= h):
        raise ValueError(f"k must be >= 0 and head_start in [0, h], got k={k}, head_start={head_start}")
    up, up_zero = _one_sided(shift, k, h, head_start, nodes)
    if not two_sided:
        if math.isinf(up):
            raise ValueError(
                f"the run length at a shift of {shift} is beyond {LONGEST:g} points: it cannot be computed"
            )
        return up
    down, down_zero = _one_sided(-shift, k, h, head_start, nodes)
    if math.isinf(down):
        return up
    if math.isinf(up):
        return down
    if head_start == 0.0:
        return 1.0 / (1.0 / up + 1.0 / down)
    return (up * down_zero + down * up_zero - up_zero * down_zero) / (up_zero + down_zero)


def ewma_limit(arl0: float, lam: float = EWMA_LAMBDA) -> float:
    """Return the limit L of an EWMA chart with a wanted in-control average run length.

    References
    ----------
    .. [1] Crowder, S. V. (1989), Design of exponentially weighted moving average schemes, Journal of Quality Technology
       21(3), 155-162.

    Examples
    --------
    >>> round(ewma_limit(250.0, 0.1), 2)
    2.55
    """
    _check_target(arl0)
    return _solve(lambda limit: ewma_run_length(0.0, lam=lam, limit=limit) - arl0, 0.05, 6.0)


def cusum_limit(arl0: float, k: float = CUSUM_REFERENCE) -> float:
    """Return the decision interval h of a two-sided CUSUM with a wanted in-control average run length.

    References
    ----------
    .. [1] Hawkins, D. M. and Olwell, D. H. (1998), Cumulative Sum Charts and Charting for Quality Improvement,
    Springer.

    Examples
    --------
    >>> round(cusum_limit(370.4, 0.5), 2)
    4.77
    """
    _check_target(arl0)
    return _solve(lambda h: cusum_run_length(0.0, k=k, h=h) - arl0, 0.01, 40.0)


def runs_rules_run_length(shift: float = 0.0, rules: Sequence[str] = WESTERN_ELECTRIC_RULES) -> float:
    """Return the exact average run length of a Shewhart chart with runs rules.

    Parameters
    ----------
    shift : float
        In sigmas.
    rules : sequence of str
        Among "1", "2", "5", "6", "7", "8" and "WE4" of `stats.control_charts.RULE_NAMES`. Rules "3" and "4" compare
        values with each other, not with zones: see `simulated_run_length`.

    Raises
    ------
    ValueError
        If a rule is unknown or cannot be computed exactly, or none is given.

    Notes
    -----
    A Markov chain on what the rules remember (Champ and Woodall's method): which of the last two points lay beyond 2
    sigma, which of the last four beyond 1 sigma, and the lengths of the runs. States are found by following all zones
    from the start; the mean time to absorption solves (I - Q) L = 1.

    References
    ----------
    .. [1] Champ, C. W. and Woodall, W. H. (1987), Exact results for Shewhart control charts with supplementary runs
       rules, Technometrics 29(4), 393-399.

    Examples
    --------
    >>> round(runs_rules_run_length(0.0), 2)
    91.75
    """
    _check(shift, limit=1.0)
    chosen = tuple(sorted(set(rules)))
    _check_rules(chosen)
    inexact = [rule for rule in chosen if rule not in _CHAIN_RULES]
    if inexact:
        raise ValueError(f"rule {inexact[0]!r} has no exact run length here; use simulated_run_length")
    cuts = np.array([-np.inf, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, np.inf])
    below = ndtr(cuts - shift)
    # Differences in the upper tail lose digits; there the survival function is exact.
    above = ndtr(shift - cuts)
    share = np.where(cuts[:-1] >= 0.0, above[:-1] - above[1:], below[1:] - below[:-1])
    rows, columns, zones, n = _chain(chosen)
    from scipy.sparse import csc_matrix, identity
    from scipy.sparse.linalg import spsolve

    step = csc_matrix((share[zones], (rows, columns)), shape=(n, n))
    lengths = spsolve((identity(n, format="csc") - step).tocsc(), np.ones(n))
    return float(np.atleast_1d(lengths)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedRunLength:
    """An average run length from simulation.

    Attributes
    ----------
    mean : float
    standard_error : float
    n : int
        Simulated runs.
    """

    mean: float
    standard_error: float
    n: int


def simulated_run_length(
    design: str, shift: float = 0.0, *, n: int = 2_000, seed: int = 0, horizon: int = 20_000, rules: Sequence[str] = ()
) -> SimulatedRunLength:
    """Estimate the average run length of a design.

    Parameters
    ----------
    design : {"3-sigma", "ewma", "cusum", "nelson", "western-electric", "rules"}
        "rules" takes those given in `rules`.
    shift : float
        In sigmas.
    n : int
        Runs.
    seed : int
    horizon : int
        Points after which a run is cut off; far beyond every average here.

    Notes
    -----
    Needed for Nelson's rules 3 and 4, and a check on the exact results. Rules are judged by
    `stats.control_charts.runs_rules`; the other designs follow their recursion point by point, all runs side by side.
    Standard error: sample deviation / sqrt n.

    References
    ----------
    .. [1] None: simulation.

    Examples
    --------
    >>> simulated_run_length("3-sigma", 3.0, n=200).mean < 3
    True
    """
    chosen = tuple(rules) or {"nelson": NELSON_RULES, "western-electric": WESTERN_ELECTRIC_RULES}.get(design, ())
    if design not in ("3-sigma", "ewma", "cusum", "nelson", "western-electric", "rules"):
        raise ValueError(f"unknown design {design!r}")
    if n < 2:
        raise ValueError(f"n must be at least 2, got {n}")
    if design in ("nelson", "western-electric", "rules"):
        _check_rules(chosen)
    rng = np.random.default_rng(seed)
    if chosen:
        lengths = np.array([_first_by_rules(rng, shift, chosen, horizon) for _ in range(n)], dtype=np.float64)
    else:
        lengths = _first_alarms(lambda active: rng.normal(shift, 1.0, active), design, n, horizon)
    return SimulatedRunLength(mean=float(lengths.mean()), standard_error=float(lengths.std(ddof=1)) / math.sqrt(n), n=n)


def average_run_length(design: str, shift: float = 0.0) -> float:
    """Return the average run length of a design at its default settings.

    Parameters
    ----------
    design : {"3-sigma", "ewma", "cusum", "nelson", "western-electric"}
    shift : float
        In sigmas.

    Notes
    -----
    Exact for all but "nelson", whose rules 3 and 4 compare values with each other: there 2,000 seeded runs are
    simulated (standard error about 2 %).

    References
    ----------
    .. [1] See the functions of this module.

    Examples
    --------
    >>> [round(average_run_length(design), 1) for design in ("3-sigma", "ewma", "cusum", "western-electric")]
    [370.4, 371.1, 368.6, 91.8]
    """
    if design == "3-sigma":
        return shewhart_run_length(shift)
    if design == "ewma":
        return ewma_run_length(shift)
    if design == "cusum":
        return cusum_run_length(shift)
    if design == "western-electric":
        return runs_rules_run_length(shift)
    if design == "nelson":
        return simulated_run_length("nelson", shift).mean
    raise ValueError(f"unknown design {design!r}; known: 3-sigma, ewma, cusum, western-electric, nelson")


# -- private -----------------------------------------------------------------------------------------


def _first_by_rules(rng: np.random.Generator, shift: float, rules: Sequence[str], horizon: int) -> int:
    """Points until the first rule fires, or the horizon."""
    seen, block = np.zeros(0), 256
    while seen.size < horizon:
        seen = np.concatenate([seen, rng.normal(shift, 1.0, block)])
        hits = [found[0] for found in runs_rules(seen, rules=rules).values() if found]
        if hits:
            return min(hits) + 1
        block = min(4096, 2 * block)
    return horizon


def _first_alarms(draw: Callable[[int], FloatArray], design: str, n: int, horizon: int) -> FloatArray:
    """Points until the first alarm of n runs, or the horizon; `draw` gives the next point of each run that goes on."""
    lengths = np.full(n, float(horizon))
    active = np.arange(n)
    level, up, down = np.zeros(n), np.zeros(n), np.zeros(n)
    edge = EWMA_LIMIT * math.sqrt(EWMA_LAMBDA / (2.0 - EWMA_LAMBDA))
    for count in range(1, horizon + 1):
        x = draw(active.size)
        if design == "3-sigma":
            alarm = np.abs(x) > SHEWHART_LIMIT
        elif design == "ewma":
            level = EWMA_LAMBDA * x + (1.0 - EWMA_LAMBDA) * level
            alarm = np.abs(level) > edge
        else:
            up, down = np.maximum(0.0, up + x - CUSUM_REFERENCE), np.maximum(0.0, down - x - CUSUM_REFERENCE)
            alarm = np.maximum(up, down) > CUSUM_DECISION
        if alarm.any():
            lengths[active[alarm]] = count
            going = ~alarm
            active, level, up, down = active[going], level[going], up[going], down[going]
            if active.size == 0:
                break
    return lengths


@lru_cache(maxsize=64)
def _legendre(nodes: int) -> tuple[FloatArray, FloatArray]:
    x, w = np.polynomial.legendre.leggauss(nodes)
    return np.asarray(x), np.asarray(w)


def _density(x: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi))


def _one_sided(shift: float, k: float, h: float, start: float, nodes: int) -> tuple[float, float]:
    """Run lengths of the upper sum from `start` and from 0."""
    x, w = _legendre(max(nodes, math.ceil(12.0 * h)))
    x, w = h * (x + 1.0) / 2.0, h * w / 2.0

    def row(u: FloatArray) -> tuple[FloatArray, FloatArray]:
        return ndtr(k - u - shift), _density(x[None, :] + k - u[:, None] - shift) * w[None, :]

    n = x.size
    at_zero, inside = row(np.concatenate([[0.0], x]))
    system = np.eye(n + 1)
    system[:, 0] -= at_zero
    system[:, 1:] -= inside
    if at_zero[0] >= 1.0:  # away from the shift a sum leaves 0 less often than 64-bit floats can say
        return math.inf, math.inf
    solved = np.linalg.solve(system, np.ones(n + 1))
    if not (np.isfinite(solved).all() and 0.0 < solved[0] < LONGEST):
        return math.inf, math.inf
    first, rest = row(np.array([start]))
    return 1.0 + float(first[0] * solved[0] + rest[0] @ solved[1:]), float(solved[0])


@lru_cache(maxsize=16)
def _chain(
    rules: tuple[str, ...],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    """Transitions (from, to, zone) between the states from which no rule has fired; state 0 is the start."""
    runs = {"2": 9, "WE4": 8}
    side = min((runs[rule] for rule in rules if rule in runs), default=0)
    within, beyond = (15 if "7" in rules else 0), (8 if "8" in rules else 0)

    def follow(state: tuple[int, ...], zone: int) -> tuple[int, ...] | None:
        """Next state, or None when a rule fires. Zones 0..7 go from below -3 to above 3."""
        up2, down2, up1, down1, run, calm, wild = state
        if "1" in rules and zone in (0, 7):
            return None
        if "5" in rules:
            up2, down2 = (up2 << 1 | (zone >= 6)) & 7, (down2 << 1 | (zone <= 1)) & 7
            if (zone >= 6 and up2.bit_count() >= 2) or (zone <= 1 and down2.bit_count() >= 2):
                return None
            up2, down2 = up2 & 3, down2 & 3
        if "6" in rules:
            up1, down1 = (up1 << 1 | (zone >= 5)) & 31, (down1 << 1 | (zone <= 2)) & 31
            if (zone >= 5 and up1.bit_count() >= 4) or (zone <= 2 and down1.bit_count() >= 4):
                return None
            up1, down1 = up1 & 15, down1 & 15
        if side:
            run = (run + 1 if run > 0 else 1) if zone >= 4 else (run - 1 if run < 0 else -1)
            if abs(run) >= side:
                return None
        if within:
            calm = calm + 1 if zone in (3, 4) else 0
            if calm >= within:
                return None
        if beyond:
            wild = wild + 1 if zone not in (3, 4) else 0
            if wild >= beyond:
                return None
        return up2, down2, up1, down1, run, calm, wild

    start: tuple[int, ...] = (0,) * 7
    number = {start: 0}
    queue = [start]
    rows: list[int] = []
    columns: list[int] = []
    zones: list[int] = []
    for state in queue:  # grows while it is walked
        for zone in range(8):
            following = follow(state, zone)
            if following is None:
                continue
            if following not in number:
                if len(number) >= MAX_STATES:
                    raise ValueError(f"the rules {', '.join(rules)} need more than {MAX_STATES:,} states")
                number[following] = len(number)
                queue.append(following)
            rows.append(number[state])
            columns.append(number[following])
            zones.append(zone)
    return np.array(rows), np.array(columns), np.array(zones), len(number)


def _solve(gap: object, low: float, high: float) -> float:
    """Zero of an increasing function by bisection."""
    assert callable(gap)
    if gap(low) > 0.0 or gap(high) < 0.0:
        raise ValueError(f"no limit between {low:g} and {high:g} gives that average run length")
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2.0
        if high - low < 1e-10 * high:
            break
        if gap(middle) < 0.0:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _check(shift: float, *, limit: float) -> None:
    if not math.isfinite(shift):
        raise ValueError(f"shift must be finite, got {shift}")
    if not (math.isfinite(limit) and limit > 0.0):
        raise ValueError(f"the limit must be positive and finite, got {limit}")


def _check_target(arl0: float) -> None:
    if not (math.isfinite(arl0) and 1.5 <= arl0 <= 1e6):
        raise ValueError(f"arl0 must lie between 1.5 and 1,000,000, got {arl0}")


def _check_rules(rules: Sequence[str]) -> None:
    unknown = [rule for rule in rules if rule not in RULE_NAMES]
    if unknown:
        raise ValueError(f"unknown rule {unknown[0]!r}; known: {', '.join(RULE_NAMES)}")
    if not rules:
        raise ValueError("no rules were given")
