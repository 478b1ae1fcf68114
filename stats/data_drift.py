"""Verdicts on features: whether the data changed enough to matter, and by more than chance.

    >>> rng = np.random.default_rng(0)
    >>> def column(values): return Column(family="number", n=len(values), values=values)
    >>> same = compare_columns("age", column(rng.normal(size=500)), column(rng.normal(size=500)))
    >>> moved = compare_columns("income", column(rng.normal(size=500)), column(rng.normal(size=500) + 1))
    >>> [(feature.feature, feature.drifted) for feature in judge_features([same, moved])]
    [('income', True), ('age', False)]

Vocabulary: a feature has *drifted* when its population stability index reaches both the threshold and what chance gives
at these sample sizes, and its p-value, adjusted over all features, is below alpha. Size first, significance second:
with a million rows everything is significant, with sixty every index is large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.drift import (
    ChiSquareTest,
    align_counts,
    bin_counts,
    chi_square_sparse,
    chi_square_two_sample,
    hellinger_distance,
    jensen_shannon_distance,
    ks_p_value,
    ks_two_sample,
    l_infinity_distance,
    population_stability_index,
    psi_edges,
    psi_noise_quantile,
    sorted_quantiles,
    wasserstein_distance,
)
from stats.formatting import format_p_value, format_percent
from stats.multiplicity import benjamini_hochberg
from stats.profiles import (
    Column,
    FeatureCounts,
    FeatureProfile,
    at_precision,
    category_counts,
    count_any,
    is_categorical,
    number_label,
)
from stats.series import binary_exponent, mean_and_deviation, scaled

__all__ = ["FeatureDrift", "compare_columns", "compare_with_profile", "judge_features"]

FloatArray = npt.NDArray[np.float64]

MINIMUM_ROWS = 50  # usable values in either sample; below it there is no verdict
PSI_THRESHOLD = 0.2  # the usual "act" level
NOISE_LEVEL = 0.99  # what chance alone stays below, of the index and of the share of nulls
NULL_SHARE_CHANGE = 0.05  # change of the share of nulls that matters
ALPHA = 0.05
COMPARED_CATEGORIES = 50  # beyond so many, the rare ones are compared together
IDENTIFIER_SHARE = 0.5  # of the values different: an identifier or free text, not a category
LARGEST = float(np.finfo(np.float64).max)
HISTOGRAM_BINS = 30  # equal widths, for figures
REST, NEW = "(other)", "(new)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureDrift:
    """How one feature of the current data compares with the reference.

    Attributes
    ----------
    feature : str
    kind : {"numeric", "categorical", "datetime", "unknown"}
    status : str
        "ok" (compared), "insufficient_data", "constant", "all_null", "missing", "new", "type_changed", "identifier" or
        "not_computable".
    drifted : bool or None
        None when there is no verdict.
    reason : str
        One sentence.
    psi : float or None
        Population stability index on ten quantile bins of the reference, or on the categories.
    psi_threshold : float or None
        What it had to reach: the larger of .2 and the 99 % quantile without drift.
    ks_statistic : float or None
        Kolmogorov-Smirnov distance, in [0, 1], of numbers and of whole numbers compared as categories.
    chi_square : float or None
        Two-sample chi-square statistic (categories).
    p_value, p_adjusted : float or None
        Of the chi-square (categories) or the Kolmogorov-Smirnov test, and after Benjamini-Hochberg across features.
    wasserstein : float or None
        In population standard deviations of the reference (divided by n); None when that is 0.
    jensen_shannon, hellinger, l_infinity : float or None
        Distances of the binned distributions, in [0, 1].
    n_reference, n_current : int
        Rows, nulls included.
    null_share_reference, null_share_current : float or None
        Nulls and infinities.
    null_p_value : float or None
    null_drifted : bool
        Whether that share changed by at least .05 and more than chance.
    reference_mean, current_mean, reference_std, current_std : float or None
        Of the usable numbers; deviations divided by n.
    new_categories, vanished_categories : list of str
        At most 20 of each; the largest first.
    bins : list of float or list of str
        Edges of the histogram (one more than shares) or the categories.
    reference_shares, current_shares : list of float
    importance : float or None
        As given by the caller.
    """

    feature: str
    kind: str
    status: str
    drifted: bool | None
    reason: str
    psi: float | None = None
    psi_threshold: float | None = None
    ks_statistic: float | None = None
    chi_square: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    wasserstein: float | None = None
    jensen_shannon: float | None = None
    hellinger: float | None = None
    l_infinity: float | None = None
    n_reference: int = 0
    n_current: int = 0
    null_share_reference: float | None = None
    null_share_current: float | None = None
    null_p_value: float | None = None
    null_drifted: bool = False
    reference_mean: float | None = None
    current_mean: float | None = None
    reference_std: float | None = None
    current_std: float | None = None
    new_categories: tuple[str, ...] = ()
    vanished_categories: tuple[str, ...] = ()
    bins: tuple[float | str, ...] = ()
    reference_shares: tuple[float, ...] = ()
    current_shares: tuple[float, ...] = ()
    importance: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def compare_columns(
    feature: str,
    reference: Column | None,
    current: Column | None,
    *,
    psi_threshold: float = PSI_THRESHOLD,
    minimum_rows: int = MINIMUM_ROWS,
) -> FeatureDrift:
    """Compare two columns row by row (exactly). The verdict is provisional until `judge_features`.

    Parameters
    ----------
    feature : str
    reference, current : Column or None
        None where the frame has no such column; not both.
    psi_threshold : float
        Index from which a change matters.
    minimum_rows : int
        Usable values needed in each for a verdict.

    Notes
    -----
    Every statistic comes from one sort of each sample. See the module's vocabulary for the rule.

    References
    ----------
    .. [1] Yurdakul, B. (2018), Statistical properties of population stability index, Western Michigan University.

    Examples
    --------
    >>> compare_columns("x", Column(family="text", n=1, counts={"a": 1}), None).status
    'missing'
    """
    early = _without_comparison(feature, reference, current)
    if early is not None:
        return early
    assert reference is not None
    assert current is not None
    if is_categorical(reference):
        left, right = category_counts(reference), category_counts(current)
        kind, fields = _base(feature, reference, current)
        if reference.family == "number":
            fields |= _ordered_fields(left, right)
        return _compare_categories(feature, left, right, len(left), kind, fields, psi_threshold, minimum_rows)
    if not _usable(reference) or not _usable(current):
        return _all_null(feature, reference, current, *_base(feature, reference, current))
    assert reference.values is not None
    assert current.values is not None
    bits = min(reference.bits, current.bits)
    x, y = np.sort(at_precision(reference.values, bits)), np.sort(at_precision(current.values, bits))
    deciles = psi_edges(np.unique(sorted_quantiles(x, np.linspace(0.0, 1.0, 11)[1:-1])))
    left_bins, right_bins = bin_counts(x, deciles, assume_sorted=True), bin_counts(y, deciles, assume_sorted=True)
    test = ks_two_sample(x, y, assume_sorted=True)
    left_moments, right_moments = mean_and_deviation(x), mean_and_deviation(y)
    exponent = binary_exponent(x[0], x[-1], y[0], y[-1])
    near = (x, y) if exponent == 0 else (np.ldexp(x, -exponent), np.ldexp(y, -exponent))
    distance = wasserstein_distance(*near, assume_sorted=True)
    edges = _histogram_edges(float(min(x[0], y[0])), float(max(x[-1], y[-1])))
    return _finish_numbers(
        feature,
        *_base(feature, reference, current),
        bins=(left_bins / x.size, right_bins / y.size),
        sizes=(int(x.size), int(y.size)),
        ks=(test.statistic, test.p_value),
        distance=_in_deviations(distance, left_moments[1], exponent),
        moments=(left_moments, right_moments),
        constant=bool(x[0] == x[-1]),
        histogram=(
            edges,
            bin_counts(x, edges[1:-1], assume_sorted=True) / x.size,
            bin_counts(y, edges[1:-1], assume_sorted=True) / y.size,
        ),
        psi_threshold=psi_threshold,
        minimum_rows=minimum_rows,
    )


def compare_with_profile(
    feature: str,
    profile: FeatureProfile | None,
    current: FeatureCounts | Column | None,
    *,
    psi_threshold: float = PSI_THRESHOLD,
    minimum_rows: int = MINIMUM_ROWS,
) -> FeatureDrift:
    """Compare counts on a profile's edges, or a column, with that profile. Provisional until `judge_features`.

    Parameters
    ----------
    feature : str
    profile : FeatureProfile or None
        None where the reference has no such feature.
    current : FeatureCounts, Column or None
        None where the current data have no such feature.
    psi_threshold, minimum_rows
        As in `compare_columns`.

    Notes
    -----
    The index, the category tests and the shares are exactly those of the rows. The Kolmogorov-Smirnov distance is the
    largest at an edge, at most one bin (1/256) below the exact one, so its p-value is slightly conservative. The
    Wasserstein distance treats values as spread evenly between edges.

    References
    ----------
    .. [1] Yurdakul, B. (2018), Statistical properties of population stability index, Western Michigan University.

    Examples
    --------
    >>> compare_with_profile("x", None, Column(family="text", n=1, counts={"a": 1})).status
    'new'
    """
    if profile is not None and isinstance(current, Column):
        counted = count_any(profile, current)
        if counted is None:
            return _type_changed(feature, profile.family, current.family, profile.counts.n, current.n)
        current = counted
    if profile is None or current is None:
        known = profile.family if profile is not None else current.family if isinstance(current, Column) else ""
        return _absent(feature, known, profile.counts.n if profile else None, current.n if current else None)
    assert isinstance(current, FeatureCounts)
    reference = profile.counts
    base = (_kind(profile.family, profile.categorical), _null_fields(reference, current))
    if not reference.n_usable or not current.n_usable:
        return _all_null(feature, reference, current, *base)
    if profile.categorical:
        left = dict(reference.categories)
        right = dict(current.categories)
        if profile.family == "number" and not (reference.rest or current.rest):
            base[1].update(_ordered_fields(left, right))
        if reference.rest or current.rest:
            left[REST], right[REST] = left.get(REST, 0) + reference.rest, right.get(REST, 0) + current.rest
        return _compare_categories(feature, left, right, profile.n_distinct, *base, psi_threshold, minimum_rows)
    n, m = reference.n_usable, current.n_usable
    position = np.searchsorted(profile.edges, profile.decile_edges)
    left_below, right_below = np.cumsum(reference.bins)[:-1], np.cumsum(current.bins)[:-1]
    gap = np.abs(left_below / n - right_below / m)
    statistic = float(gap.max()) if gap.size else 0.0
    grid = _profile_grid(profile, current)
    exponent = binary_exponent(float(grid[0]), float(grid[-1]))
    near = np.ldexp(grid, -exponent)
    edges = _histogram_edges(float(grid[0]), float(grid[-1]))
    inner = np.ldexp(edges, -exponent)
    return _finish_numbers(
        feature,
        *base,
        bins=(
            np.diff(left_below[position], prepend=0, append=n) / n,
            np.diff(right_below[position], prepend=0, append=m) / m,
        ),
        sizes=(n, m),
        ks=(statistic, ks_p_value(statistic, n, m)),
        distance=_in_deviations(_binned_wasserstein(near, reference, current), reference.std, exponent),
        moments=((reference.mean, reference.std), (current.mean, current.std)),
        constant=reference.minimum == reference.maximum,
        histogram=(edges, _rebinned(near, reference, inner), _rebinned(near, current, inner)),
        psi_threshold=psi_threshold,
        minimum_rows=minimum_rows,
    )


def judge_features(
    features: Sequence[FeatureDrift],
    *,
    alpha: float = ALPHA,
    importances: Mapping[str, float] | None = None,
) -> list[FeatureDrift]:
    """Give the verdicts: adjust p-values across features, and compare sizes with thresholds.

    Parameters
    ----------
    features : sequence of FeatureDrift
        As returned by the comparisons.
    alpha : float
        False discovery rate.
    importances : mapping of str to float, optional
        Weight of features in the model; only for ranking.

    Returns
    -------
    list of FeatureDrift
        In the order of drift: drifted first, then by index relative to its threshold (times importance when given).

    Notes
    -----
    A feature without p-value does not count as a test. Shares of nulls are a family of tests of their own, at the level
    of the floor of the index (.01): both together keep false alarms on columns with nulls below 5 %.

    References
    ----------
    .. [1] Benjamini, Y. and Hochberg, Y. (1995), Controlling the false discovery rate, JRSS B 57(1), 289-300.

    Examples
    --------
    >>> judge_features([])
    []
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    adjusted = _adjusted([f.p_value if f.status in _JUDGED else None for f in features])
    null_adjusted = _adjusted([f.null_p_value for f in features])
    weights = importances or {}
    judged = [
        _judge(replace(f, importance=_weight(weights.get(f.feature))), p, q, alpha)
        for f, p, q in zip(features, adjusted, null_adjusted, strict=True)
    ]
    return sorted(judged, key=lambda f: (f.drifted is not True, -_severity(f, bool(weights)), f.feature))


# -- private -----------------------------------------------------------------------------------------

_JUDGED = frozenset({"ok", "constant"})


def _weight(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _severity(feature: FeatureDrift, weighted: bool) -> float:
    if feature.psi is None or not feature.psi_threshold:
        return 0.0
    weight = abs(feature.importance or 0.0) if weighted else 1.0
    return feature.psi / feature.psi_threshold * weight


def _adjusted(p_values: Sequence[float | None]) -> list[float | None]:
    known = iter(benjamini_hochberg([p for p in p_values if p is not None]))
    return [None if p is None else next(known) for p in p_values]


def _judge(feature: FeatureDrift, p: float | None, null_p: float | None, alpha: float) -> FeatureDrift:
    before, after = feature.null_share_reference, feature.null_share_current
    null_drifted = (
        null_p is not None
        and null_p < min(alpha, 1.0 - NOISE_LEVEL)
        and before is not None
        and after is not None
        and abs(after - before) >= NULL_SHARE_CHANGE
    )
    null_words = (
        f"the share without a usable value went from {format_percent(before)} to {format_percent(after)}"
        if null_drifted and before is not None and after is not None
        else ""
    )
    if feature.status not in _JUDGED or feature.psi is None or feature.psi_threshold is None or p is None:
        if null_drifted and feature.drifted is not True and feature.status != "insufficient_data":
            return replace(feature, drifted=True, null_drifted=True, reason=f"{null_words}; {feature.reason}")
        return replace(feature, null_drifted=null_drifted)
    large, sure = feature.psi >= feature.psi_threshold, p < alpha
    size = f"PSI {feature.psi:.3g} {'reaches' if large else 'is under'} {feature.psi_threshold:.3g}"
    chance = format_p_value(p, "adjusted p")
    if large and sure:
        words = f"{size} ({chance})"
    elif large:
        words = f"{size}, but chance alone could do that ({chance})"
    elif sure:
        words = f"a real but small change: {size} ({chance})"
    else:
        words = f"no sign of a change: {size} ({chance})"
    if feature.new_categories and large:
        words += f"; new: {', '.join(feature.new_categories[:3])}"
    if null_words:
        words = f"{null_words}; {words}"
    return replace(
        feature, p_adjusted=p, drifted=(large and sure) or null_drifted, null_drifted=null_drifted, reason=words
    )


def _kind(family: str, categorical: bool) -> str:
    return "categorical" if categorical else {"datetime": "datetime", "number": "numeric"}.get(family, "unknown")


def _usable(sample: Column | FeatureCounts) -> int:
    return sample.n - sample.n_null - sample.n_infinite


def _null_fields(reference: Column | FeatureCounts, current: Column | FeatureCounts) -> dict[str, Any]:
    n, m = reference.n, current.n
    fields: dict[str, Any] = {
        "n_reference": n,
        "n_current": m,
        "null_share_reference": 1.0 - _usable(reference) / n if n else None,
        "null_share_current": 1.0 - _usable(current) / m if m else None,
    }
    missing = (n - _usable(reference), m - _usable(current))
    if n and m and sum(missing) and sum(missing) < n + m:
        table = [[missing[0], n - missing[0]], [missing[1], m - missing[1]]]
        fields["null_p_value"] = chi_square_two_sample(table).p_value
    return fields


def _base(feature: str, reference: Column, current: Column) -> tuple[str, dict[str, Any]]:
    return _kind(reference.family, is_categorical(reference)), _null_fields(reference, current)


def _absent(feature: str, family: str, n_reference: int | None, n_current: int | None) -> FeatureDrift:
    kind = _kind(family, family in ("text", "boolean"))
    if n_current is None:
        words = "the current data have no such column"
        return FeatureDrift(
            feature=feature, kind=kind, status="missing", drifted=True, reason=words, n_reference=n_reference or 0
        )
    words = "the reference has no such column"
    return FeatureDrift(feature=feature, kind=kind, status="new", drifted=None, reason=words, n_current=n_current)


def _type_changed(feature: str, before: str, after: str, n_reference: int, n_current: int) -> FeatureDrift:
    return FeatureDrift(
        feature=feature,
        kind="unknown",
        status="type_changed",
        drifted=True,
        reason=f"the reference holds {before} values, the current data {after} values",
        n_reference=n_reference,
        n_current=n_current,
    )


def _without_comparison(feature: str, reference: Column | None, current: Column | None) -> FeatureDrift | None:
    if reference is None and current is None:
        raise ValueError(f"feature {feature!r} is in neither of the frames")
    if reference is None or current is None:
        known = reference or current
        assert known is not None
        return _absent(feature, known.family, reference.n if reference else None, current.n if current else None)
    if not _usable(reference) or not _usable(current):
        kind = _kind(reference.family, is_categorical(reference))
        return _all_null(feature, reference, current, kind, _null_fields(reference, current))
    if reference.family != current.family:
        return _type_changed(feature, reference.family, current.family, reference.n, current.n)
    return None


def _all_null(
    feature: str, reference: Column | FeatureCounts, current: Column | FeatureCounts, kind: str, fields: dict[str, Any]
) -> FeatureDrift:
    left, right = _usable(reference), _usable(current)
    if reference.n == 0 or current.n == 0:
        which = "reference has" if reference.n == 0 else "current data have"
        return FeatureDrift(
            feature=feature,
            kind=kind,
            status="insufficient_data",
            drifted=None,
            reason=f"the {which} no rows",
            **fields,
        )
    if not left and not right:
        words, drifted = "every value is null, as in the reference", False
    elif not right:
        words, drifted = f"every value is null; the reference has {left:,} values", True
    else:
        words, drifted = f"every value of the reference is null; the current data have {right:,} values", True
    enough = min(reference.n, current.n) >= MINIMUM_ROWS or not drifted
    return FeatureDrift(
        feature=feature, kind=kind, status="all_null", drifted=drifted if enough else None, reason=words, **fields
    )


def _in_deviations(distance: float, deviation: float | None, exponent: int) -> float | None:
    """Divide a distance, which lacks a factor 2^exponent, by the reference's standard deviation."""
    ratio = distance / math.ldexp(deviation, -exponent) if deviation and math.ldexp(deviation, -exponent) else math.inf
    return ratio if math.isfinite(ratio) else None


def _histogram_edges(low: float, high: float) -> FloatArray:
    if low == high:
        width = abs(low) * 0.5 or 0.5
        low, high = max(low - width, -LARGEST), min(high + width, LARGEST)
    with np.errstate(over="ignore", invalid="ignore"):
        edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
        if not np.isfinite(edges).all():  # the range itself exceeds a float
            edges = np.linspace(low / 4, high / 4, HISTOGRAM_BINS + 1) * 4
    return edges


def _finish_numbers(
    feature: str,
    kind: str,
    fields: dict[str, Any],
    *,
    bins: tuple[FloatArray, FloatArray],
    sizes: tuple[int, int],
    ks: tuple[float, float],
    distance: float | None,
    moments: tuple[tuple[float | None, float | None], tuple[float | None, float | None]],
    constant: bool,
    histogram: tuple[FloatArray, FloatArray, FloatArray],
    psi_threshold: float,
    minimum_rows: int,
) -> FeatureDrift:
    n, m = sizes
    (left_mean, left_std), (right_mean, right_std) = moments
    left, right = bins
    edges, left_shares, right_shares = histogram
    status, words = ("constant", "the reference is constant") if constant else ("ok", "compared")
    if min(n, m) < minimum_rows:
        status, words = _insufficient(n, m, minimum_rows)
    return FeatureDrift(
        feature=feature,
        kind=kind,
        status=status,
        drifted=None,
        reason=words,
        psi=population_stability_index(left, right),
        psi_threshold=max(psi_threshold, psi_noise_quantile(int(left.size), n, m, NOISE_LEVEL)),
        ks_statistic=ks[0],
        p_value=ks[1],
        wasserstein=distance,
        jensen_shannon=jensen_shannon_distance(left, right),
        hellinger=hellinger_distance(left, right),
        l_infinity=l_infinity_distance(left, right),
        reference_mean=left_mean,
        current_mean=right_mean,
        reference_std=left_std,
        current_std=right_std,
        bins=tuple(float(x) for x in edges),
        reference_shares=tuple(float(x) for x in left_shares),
        current_shares=tuple(float(x) for x in right_shares),
        **fields,
    )


def _insufficient(n: int, m: int, minimum_rows: int) -> tuple[str, str]:
    which = "reference" if n < minimum_rows else "current data"
    return "insufficient_data", f"insufficient data: the {which} has {min(n, m)} usable values of {minimum_rows} needed"


def _compare_categories(
    feature: str,
    left: Mapping[str, int],
    right: Mapping[str, int],
    n_distinct: int,
    kind: str,
    fields: dict[str, Any],
    psi_threshold: float,
    minimum_rows: int,
) -> FeatureDrift:
    n, m = sum(left.values()), sum(right.values())
    new = [name for name, count in right.items() if count and not left.get(name)]
    vanished = [name for name, count in left.items() if count and not right.get(name) and name != REST]
    names, before, after = align_counts(left, right)
    if n_distinct > max(COMPARED_CATEGORIES, IDENTIFIER_SHARE * n):
        return FeatureDrift(
            feature=feature,
            kind=kind,
            status="identifier",
            drifted=None,
            reason=f"{n_distinct:,} different values in {n:,} rows: an identifier or free text, not compared",
            **fields,
        )
    tested = _category_test(left, right)  # of all categories: which are folded depends on the samples
    if len(names) > COMPARED_CATEGORIES:
        names, before, after = _folded(names, before, after)
    status, words = (
        ("constant", "the reference has one category") if np.count_nonzero(before) == 1 else ("ok", "compared")
    )
    if min(n, m) < minimum_rows:
        status, words = _insufficient(n, m, minimum_rows)
    statistic, p_value = None, 1.0  # one category on both sides: nothing can differ
    if tested is not None:
        statistic, p_value = tested.statistic, tested.p_value
    return FeatureDrift(
        feature=feature,
        kind=kind,
        status=status,
        drifted=None,
        reason=words,
        psi=population_stability_index(before / n, after / m),
        psi_threshold=max(psi_threshold, psi_noise_quantile(max(1, len(names)), n, m, NOISE_LEVEL)),
        chi_square=statistic,
        p_value=p_value,
        jensen_shannon=jensen_shannon_distance(before, after),
        hellinger=hellinger_distance(before, after),
        l_infinity=l_infinity_distance(before, after),
        new_categories=tuple(new[:20]),
        vanished_categories=tuple(vanished[:20]),
        bins=tuple(names),
        reference_shares=tuple(float(x) for x in before / n),
        current_shares=tuple(float(x) for x in after / m),
        **fields,
    )


def _category_test(left: Mapping[str, int], right: Mapping[str, int]) -> ChiSquareTest | None:
    """Test of all categories; rows that a batch did not name are new to the reference, each taken as a category."""
    names, before, after = align_counts(left, right)
    singles = 0
    if right.get(REST) and not left.get(REST):
        singles = right[REST]
        kept = np.array(names) != REST
        before, after = before[kept], after[kept]
    if min(before.sum(), after.sum() + singles) < 1 or np.count_nonzero(before + after) + singles < 2:
        return None
    if before.sum() + after.sum() + singles < 4:
        return chi_square_two_sample([[*before, *[0] * singles], [*after, *[1] * singles]])
    return chi_square_sparse(before, after, singles=singles)


def _ordered_fields(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, float | None]:
    """Distances and moments of categories that are numbers: there the order says more than the names."""
    x = np.array(sorted({float(name) for name in (*left, *right)}))
    before, after = (
        np.array([counts.get(number_label(value), 0) for value in x.tolist()], dtype=np.int64)
        for counts in (left, right)
    )
    n, m = int(before.sum()), int(after.sum())
    gap = np.abs(np.cumsum(before) * m - np.cumsum(after) * n) / (n * m)
    near, exponent = scaled(x)
    moments = []
    for counts, total in ((before, n), (after, m)):
        mean = float(near @ counts) / total
        deviation = math.sqrt(float((near - mean) ** 2 @ counts) / total)
        moments.append((math.ldexp(mean, exponent), math.ldexp(deviation, exponent)))
    return {
        "ks_statistic": float(gap.max()),
        "wasserstein": _in_deviations(float(gap[:-1] @ np.diff(near)), moments[0][1], exponent),
        "reference_mean": moments[0][0],
        "current_mean": moments[1][0],
        "reference_std": moments[0][1],
        "current_std": moments[1][1],
    }


def _folded(names: list[str], before: FloatArray, after: FloatArray) -> tuple[list[str], FloatArray, FloatArray]:
    """Keep the largest categories of the reference; sum the others, and apart from them the new ones."""
    order = np.argsort(-before, kind="stable")
    kept = [int(i) for i in order[:COMPARED_CATEGORIES] if before[i] > 0 and names[i] != REST]
    keep = np.zeros(len(names), dtype=np.bool_)
    keep[kept] = True
    rest = ~keep & ((before > 0) | (np.array(names) == REST))
    new = ~keep & ~rest
    labels = [names[i] for i in kept]
    left, right = [float(before[i]) for i in kept], [float(after[i]) for i in kept]
    for label, mask in ((REST, rest), (NEW, new)):
        if mask.any() and (before[mask].sum() or after[mask].sum()):
            labels.append(label)
            left.append(float(before[mask].sum()))
            right.append(float(after[mask].sum()))
    return labels, np.array(left), np.array(right)


def _profile_grid(profile: FeatureProfile, current: FeatureCounts) -> FloatArray:
    """Edges with the outermost values of either sample around them."""
    lows = [x for x in (profile.counts.minimum, current.minimum) if x is not None]
    highs = [x for x in (profile.counts.maximum, current.maximum) if x is not None]
    low, high = min([*lows, float(profile.edges[0])]), max([*highs, float(profile.edges[-1])])
    return np.concatenate([[low], profile.edges, [high]])


def _binned_wasserstein(grid: FloatArray, left: FeatureCounts, right: FeatureCounts) -> float:
    gap = np.concatenate([[0.0], np.cumsum(left.bins / left.n_usable - right.bins / right.n_usable)])
    gap[-1] = 0.0
    a, b = gap[:-1], gap[1:]
    total = np.abs(a) + np.abs(b)
    # A gap that changes sign inside a bin is two triangles, not a trapezium.
    area = np.where(a * b >= 0.0, total / 2.0, (a * a + b * b) / np.where(total > 0.0, 2.0 * total, 1.0))
    return float(area @ np.diff(grid))


def _rebinned(grid: FloatArray, counts: FeatureCounts, edges: FloatArray) -> FloatArray:
    """Shares in equal-width bins, values taken as spread evenly between the edges."""
    below = np.concatenate([[0.0], np.cumsum(counts.bins)]) / counts.n_usable
    return np.clip(np.diff(np.interp(edges, grid, below)), 0.0, 1.0)
