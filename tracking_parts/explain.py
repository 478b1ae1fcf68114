"""What made the difference: which params go with a metric over a set of runs. Numbers in, records out.

>>> rows = [{"lr": lr, "optimizer": name} for lr in (0.1, 0.2, 0.3) for name in ("sgd", "adam")]
>>> result = explain_values(rows, [0.1, 0.4, 0.2, 0.5, 0.3, 0.6], "accuracy")
>>> [(effect.param, effect.kind, round(effect.strength, 2)) for effect in result.effects]
[('optimizer', 'category', 0.88), ('lr', 'number', 0.48)]
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lazy_dataclass import dataclass

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["Explanation", "ParamEffect", "explain_values", "rank_correlation", "rank_eta"]

MIN_RUNS = 4  # below, every rank correlation is a coincidence
MIN_RUNS_FOR_IMPORTANCE = 12  # a forest on fewer runs explains noise
MAX_CATEGORIES = 20  # more different texts than this are names, not choices


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamEffect:
    """How one param goes with the metric.

    Attributes
    ----------
    param : str
    kind : {"number", "category"}
    n_runs : int
        Runs that have both.
    n_values : int
        Different values of the param.
    correlation : float or None
        Spearman's rank correlation of a number, in [-1, 1]; None for a category or where there is a `reason`.
    strength : float or None
        How much goes with it, in [0, 1]: the absolute rank correlation of a number; of a category the square root of
        the part of the variance of the ranks that lies between its values.
    p_value : float or None
        Chance of so strong an association if there were none (t approximation; F for a category), above 0. Not
        corrected for the number of params looked at.
    importance : float or None
        Share of the forest's explanation, in [0, 1], where scikit-learn is installed and there are enough runs.
    best_value : object
        Value with the best mean of the metric.
    reason : str or None
        Why nothing can be said.
    """

    param: str
    kind: str
    n_runs: int
    n_values: int
    correlation: float | None
    strength: float | None
    p_value: float | None
    importance: float | None
    best_value: Any
    reason: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Params by how strongly they go with a metric.

    Attributes
    ----------
    metric, goal
        The metric and which end of it is good, "min" or "max".
    n_runs
        Runs with a finite value of the metric.
    effects
        `ParamEffect`, the strongest first; those of which nothing can be said last.
    importance_by
        The library that gave the importances, or why there are none.
    """

    metric: str
    goal: str
    n_runs: int
    effects: tuple[ParamEffect, ...]
    importance_by: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-safe values."""
        result = {name: getattr(self, name) for name in self.__slots__}
        return result | {"effects": [effect.to_dict() for effect in self.effects]}

    def to_frame(self) -> pd.DataFrame:
        """Return a row a param."""
        import pandas as pd

        return pd.DataFrame([effect.to_dict() for effect in self.effects], columns=list(ParamEffect.__slots__))

    def plot(self) -> go.Figure:
        """Return a bar a param."""
        from charts.tracking import plot_explanation

        return plot_explanation(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(e.param)}</td><td>{_shown(e.strength)}</td><td>{_shown(e.correlation)}</td>"
            f"<td>{_shown(e.p_value)}</td><td>{_shown(e.importance)}</td><td>{html.escape(str(e.best_value))}</td>"
            f"<td>{html.escape(e.reason or '')}</td></tr>"
            for e in self.effects
        )
        return (
            f"<div>What goes with <b>{html.escape(self.metric)}</b> ({self.goal}) over {self.n_runs} runs"
            "<table><tr><th>param</th><th>strength</th><th>rank correlation</th><th>p</th><th>importance</th>"
            f"<th>best value</th><th></th></tr>{rows}</table>Association, not cause.</div>"
        )


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _ranks(values: Any) -> Any:
    """Return ranks from 1, ties sharing their mean."""
    import numpy as np

    _, inverse, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2.0)[inverse]


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float | None, float | None]:
    """Return Spearman's rank correlation and its p-value (t approximation with n - 2 degrees of freedom).

    None, None for fewer than `MIN_RUNS` values or where one side is constant. The p-value is never below 2 / n!, the
    share of all orders that agree, or disagree, completely: there the approximation would go on to 0.

    >>> tuple(round(value, 6) for value in rank_correlation([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]))
    (0.820783, 0.088587)
    """
    import numpy as np
    from scipy.special import stdtr

    from stats.means import P_VALUE_FLOOR

    n = len(x)
    a, b = _ranks(x), _ranks(y)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    if n < MIN_RUNS or scale == 0.0:
        return None, None
    rho = max(-1.0, min(1.0, float(np.dot(a, b)) / scale))
    least = max(P_VALUE_FLOOR, 2.0 * math.exp(-math.lgamma(n + 1)))
    if abs(rho) >= 1.0 - 1e-15:
        return rho, least
    t = rho * math.sqrt((n - 2) / (1.0 - rho * rho))
    return rho, max(least, float(2.0 * stdtr(n - 2, -abs(t))))


def rank_eta(groups: Sequence[object], y: Sequence[float]) -> tuple[float | None, float | None]:
    """Return how much of the variance of the ranks of y lies between groups (square root, in [0, 1]), and its p-value.

    The p-value is of the F test on the ranks. None, None for fewer than `MIN_RUNS` values, one group, or a constant y.
    It is never below the share of one among all ways to deal the values out to groups of these sizes.
    """
    from scipy.special import fdtrc

    from stats.means import P_VALUE_FLOOR

    ranks = _ranks(y)
    names = list(dict.fromkeys(groups))
    n, k = len(ranks), len(names)
    whole = float(((ranks - ranks.mean()) ** 2).sum())
    if n < MIN_RUNS or k < 2 or whole == 0.0:
        return None, None
    between, ways = 0.0, math.lgamma(n + 1)  # ways to deal out: n! / (n1! n2! ...), as its logarithm
    for name in names:
        part = ranks[[group == name for group in groups]]
        between += len(part) * float(part.mean() - ranks.mean()) ** 2
        ways -= math.lgamma(len(part) + 1)
    share = min(1.0, between / whole)
    if k >= n:
        return None, None  # every run has a value of its own: the groups explain everything and nothing
    p_value = 0.0 if share >= 1.0 else float(fdtrc(k - 1, n - k, share / (k - 1) / ((1.0 - share) / (n - k))))
    return math.sqrt(share), max(P_VALUE_FLOOR, math.exp(-ways), p_value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _label(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)


def explain_values(
    params: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    metric: str,
    *,
    goal: str = "max",
    importance: bool = True,
) -> Explanation:
    """Tell which params go with a metric.

    Parameters
    ----------
    params : sequence of mapping
        Params of each run.
    values : sequence of float
        Value of the metric of each run; runs without a finite one are left out.
    metric : str
    goal : {"min", "max"}
    importance : bool
        Whether to ask scikit-learn for importances, if it is installed.

    Notes
    -----
    Rank based, so that neither the scale of a learning rate nor one exploded loss decides. Association only: params
    that were changed
    together cannot be told apart here.
    """
    kept = [(p, float(v)) for p, v in zip(params, values, strict=True) if v is not None and math.isfinite(v)]
    names = sorted({name for p, _ in kept for name in p})
    shares, importance_by = _importances(kept, names) if importance else ({}, "not asked for")
    effects = [_effect(name, kept, goal, shares.get(name)) for name in names]
    effects.sort(key=lambda e: (e.strength is None, -(e.strength or 0.0), e.param))
    return Explanation(metric=metric, goal=goal, n_runs=len(kept), effects=tuple(effects), importance_by=importance_by)


def _effect(name: str, kept: Sequence[tuple[Mapping[str, Any], float]], goal: str, share: float | None) -> ParamEffect:
    have = [(p[name], v) for p, v in kept if name in p]
    x, y = [item for item, _ in have], [value for _, value in have]
    different = list(dict.fromkeys(_label(item) for item in x))
    numeric = all(_is_number(item) for item in x)
    correlation = strength = p_value = None
    reason = None
    if len(different) < 2:
        reason = "the same in all runs"
    elif len(have) < MIN_RUNS:
        reason = f"only {len(have)} runs have it; {MIN_RUNS} are needed"
    elif len(set(y)) < 2:
        reason = "the metric is the same in all runs"
    elif numeric:
        correlation, p_value = rank_correlation(x, y)
        strength = None if correlation is None else abs(correlation)
    elif len(different) > MAX_CATEGORIES or len(different) >= len(have):
        reason = f"{len(different)} different values in {len(have)} runs: too many to compare"
    else:
        strength, p_value = rank_eta([_label(item) for item in x], y)
    best = None
    if reason is None:
        groups: dict[str, list[float]] = {}
        for item, value in have:
            groups.setdefault(_label(item), []).append(value)
        pick = max if goal == "max" else min
        chosen = pick(groups, key=lambda label: sum(groups[label]) / len(groups[label]))
        best = next(item for item in x if _label(item) == chosen)
    return ParamEffect(
        param=name,
        kind="number" if numeric else "category",
        n_runs=len(have),
        n_values=len(different),
        correlation=correlation,
        strength=strength,
        p_value=p_value,
        importance=share,
        best_value=best,
        reason=reason,
    )


def _importances(kept: Sequence[tuple[Mapping[str, Any], float]], names: Sequence[str]) -> tuple[dict[str, float], str]:
    """Return shares of importance by param, from a forest's permutation importance."""
    if len(kept) < MIN_RUNS_FOR_IMPORTANCE:
        return {}, f"at least {MIN_RUNS_FOR_IMPORTANCE} runs are needed for importances"
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.inspection import permutation_importance
    except ImportError:
        return {}, "scikit-learn is not installed"
    import numpy as np

    columns, used = [], []
    for name in names:
        items = [p.get(name) for p, _ in kept]
        if len({_label(item) for item in items}) < 2:
            continue
        if all(item is None or _is_number(item) for item in items):
            columns.append(_ranks([-math.inf if item is None else float(item) for item in items]))
        else:
            labels = sorted({_label(item) for item in items})
            if len(labels) > MAX_CATEGORIES:
                continue
            columns.append(np.array([labels.index(_label(item)) for item in items], dtype="float64"))
        used.append(name)
    y = _ranks([value for _, value in kept])
    if not used or np.ptp(y) == 0:
        return {}, "nothing varies"
    x = np.column_stack(columns)
    forest = RandomForestRegressor(n_estimators=100, random_state=0, n_jobs=1).fit(x, y)
    raw = permutation_importance(forest, x, y, n_repeats=5, random_state=0, n_jobs=1).importances_mean.clip(0)
    whole = float(raw.sum())
    if whole <= 0:
        return {}, "a forest finds nothing that explains the metric"
    return {name: float(share) / whole for name, share in zip(used, raw, strict=True)}, "scikit-learn"
