"""Profiles: what is kept of a feature instead of its rows, and batches counted on its edges.

    >>> reference = profile_column(Column(family="number", n=5, values=np.array([1.0, 2.0, 3.0, 4.0, 5.5])))
    >>> monday = count_column(reference, Column(family="number", n=2, values=np.array([2.0, 9.0])))
    >>> tuesday = count_column(reference, Column(family="number", n=1, n_null=1, values=np.array([])))
    >>> week = add_counts([monday, tuesday])
    >>> week.n, week.n_null, week.maximum
    (3, 1, 9.0)

Vocabulary: a *column* is what was read of one feature in one frame; its *family* is number, text, boolean or datetime
(seconds since 1970, as numbers). A *profile* freezes the edges (numbers) or the categories of the reference; *counts*
are a batch on exactly those edges, so batches add up exactly to days, weeks and months, in any order.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.drift import PSI_BINS, bin_counts, psi_edges, sorted_quantiles
from stats.series import mean_and_deviation

__all__ = [
    "Column",
    "FeatureCounts",
    "FeatureProfile",
    "add_counts",
    "at_precision",
    "count_any",
    "count_column",
    "counts_from_bytes",
    "counts_to_bytes",
    "is_categorical",
    "profile_column",
    "profile_from_bytes",
    "profile_to_bytes",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PROFILE_EDGES = 256  # interior quantile edges; about 2 KB a feature
TOP_CATEGORIES = 100  # kept by name in a profile; the others are summed as "rest"
TOP_NEW_CATEGORIES = 20  # kept by name in one batch
FEW_VALUES = 20  # whole numbers with at most so many different values are categories
LABEL_LENGTH = 200  # characters of a category kept; longer ones are cut and marked
_FORMAT = 2  # first byte of a stored profile or batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature as read from one frame.

    Attributes
    ----------
    family : {"number", "text", "boolean", "datetime"}
    n : int
        Rows, nulls included.
    n_null : int
        None, NaN, NaT.
    n_infinite : int
        Infinite numbers; counted, and left out of every distance.
    values : ndarray of shape (n - n_null - n_infinite,) or None
        Finite numbers, in any order, for families number and datetime.
    counts : dict of str to int or None
        Rows by category, for families text and boolean.
    whole : bool
        Whether the numbers are of an integer type.
    bits : {16, 32, 64}
        Of the floats that the numbers were stored as; see `at_precision`.
    """

    family: str
    n: int
    n_null: int = 0
    n_infinite: int = 0
    values: FloatArray | None = None
    counts: dict[str, int] | None = None
    whole: bool = False
    bits: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCounts:
    """A sample counted on a profile's edges or categories.

    Attributes
    ----------
    n, n_null, n_infinite : int
        Rows in all, and those without a usable value.
    bins : ndarray of int, shape (n_edges + 1,)
        Rows between the edges; empty for categories.
    categories : dict of str to int
        Rows by category; for a batch those of the profile and up to 20 new ones.
    rest : int
        Rows in categories that are not kept by name.
    mean, spread : float
        Of the usable numbers: mean, and population standard deviation (divided by n); 0 without any.
    minimum, maximum : float or None
    """

    n: int
    n_null: int = 0
    n_infinite: int = 0
    bins: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    categories: dict[str, int] = field(default_factory=dict)
    rest: int = 0
    mean: float = 0.0
    spread: float = 0.0
    minimum: float | None = None
    maximum: float | None = None

    @property
    def n_usable(self) -> int:
        """Rows with a finite value or a category."""
        return self.n - self.n_null - self.n_infinite

    @property
    def std(self) -> float | None:
        """Population standard deviation (divided by n) of the numbers, or None without any."""
        return self.spread if self.n_usable and self.minimum is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureProfile:
    """The frozen description of a reference feature.

    Attributes
    ----------
    family : {"number", "text", "boolean", "datetime"}
    categorical : bool
        Whether values are compared as categories.
    counts : FeatureCounts
        The reference sample itself.
    edges : ndarray of shape (n_edges,)
        Ascending quantile edges, the deciles among them; empty for categories.
    decile_edges : ndarray of shape (at most 9,)
        The edges of the population stability index.
    n_distinct : int
        Different categories; 0 for numbers.
    bits : {16, 32, 64}
        Of the floats that the reference was stored as.
    """

    family: str
    categorical: bool
    counts: FeatureCounts
    edges: FloatArray
    decile_edges: FloatArray
    n_distinct: int = 0
    bits: int = 64


def is_categorical(column: Column) -> bool:
    """Return whether a column is compared as categories: text, booleans, and whole numbers with up to 20 values.

    Notes
    -----
    A quantile bin of a feature with few values is a category in disguise, with edges that depend on chance. Whole
    numbers that occur less than twice on average are few rows, not few values: they stay numbers.

    References
    ----------
    .. [1] The bound of 20 is a convention; Evidently and NannyML use the same order of magnitude.

    Examples
    --------
    >>> is_categorical(Column(family="number", n=4, values=np.array([0.0, 1.0, 1.0, 0.0]), whole=True))
    True
    """
    if column.family in ("text", "boolean"):
        return True
    if column.family != "number" or not column.whole or column.values is None or not column.values.size:
        return False
    # Most columns with many values show it in their first rows, which spares sorting them all.
    if np.unique(column.values[:1000]).size > FEW_VALUES:
        return False
    return bool(np.unique(column.values).size <= min(FEW_VALUES, column.values.size // 2))


def category_counts(column: Column) -> dict[str, int]:
    """Return rows by category; numbers are written as text (3.0 as "3"), longest counts first, then by name."""
    if column.counts is not None:
        return column.counts
    if column.values is None:
        return {}
    found, counts = np.unique(column.values, return_counts=True)
    pairs = [(number_label(float(value)), int(count)) for value, count in zip(found, counts, strict=True)]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def at_precision(values: FloatArray, bits: int) -> FloatArray:
    """Return numbers as floats of fewer bits would hold them, beyond the largest of these as the largest.

    Notes
    -----
    A model that was trained on 64 bits is often served 32: 0.1 then comes back as 0.10000000149, and every value that
    many rows share would seem to have moved. Two samples are compared at the precision of the coarser one.

    References
    ----------
    .. [1] IEEE 754-2019, Standard for Floating-Point Arithmetic, section 3.3.

    Examples
    --------
    >>> bool(at_precision(np.array([0.1]), 32)[0] == np.float32(0.1))
    True
    """
    if bits >= 64:
        return values
    kind = np.dtype(f"f{bits // 8}")
    largest = float(np.finfo(kind).max)
    return np.clip(values, -largest, largest).astype(kind).astype(np.float64)


def number_label(value: float) -> str:
    """Return a number as the name of a category."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def profile_column(column: Column, *, ordered: FloatArray | None = None) -> FeatureProfile:
    """Describe a reference column.

    Parameters
    ----------
    column : Column
    ordered : ndarray, optional
        Its values in ascending order, when the caller has them.

    Notes
    -----
    256 quantile edges at i / 257, of which the nine nearest to a decile are replaced by it, so that the population
    stability index of a profile is exactly that of the rows. A Kolmogorov-Smirnov distance on the edges misses at most
    the rows of one bin, 1/256.

    References
    ----------
    .. [1] Hyndman, R. J. and Fan, Y. (1996), Sample quantiles in statistical packages, The American Statistician 50(4).

    Examples
    --------
    >>> profile = profile_column(Column(family="text", n=3, counts={"a": 2, "b": 1}))
    >>> profile.categorical, profile.n_distinct
    (True, 2)
    """
    if is_categorical(column):
        counts = category_counts(column)
        kept = dict(list(counts.items())[:TOP_CATEGORIES])
        sample = FeatureCounts(
            n=column.n,
            n_null=column.n_null,
            n_infinite=column.n_infinite,
            categories=kept,
            rest=sum(counts.values()) - sum(kept.values()),
        )
        empty = np.zeros(0)
        return FeatureProfile(
            family=column.family,
            categorical=True,
            counts=sample,
            edges=empty,
            decile_edges=empty,
            n_distinct=len(counts),
        )
    values = np.sort(column.values) if ordered is None and column.values is not None else ordered
    if values is None or values.size == 0:
        edges = deciles = np.zeros(0)
    else:
        deciles = psi_edges(np.unique(sorted_quantiles(values, np.linspace(0.0, 1.0, PSI_BINS + 1)[1:-1])))
        edges = np.union1d(sorted_quantiles(values, _profile_levels()), deciles)
    profile = FeatureProfile(
        family=column.family,
        categorical=False,
        counts=FeatureCounts(n=column.n),
        edges=edges,
        decile_edges=deciles,
        bits=column.bits,
    )
    return FeatureProfile(
        family=column.family,
        categorical=False,
        counts=_count_numbers(profile, column, ordered=values),
        edges=edges,
        decile_edges=deciles,
        bits=column.bits,
    )


def count_column(profile: FeatureProfile, column: Column) -> FeatureCounts:
    """Count a column on a profile's edges or categories.

    Parameters
    ----------
    profile : FeatureProfile
    column : Column
        Of the same family as the profile, or numbers for a profile of numbers as categories.

    Raises
    ------
    ValueError
        If the family differs.

    Notes
    -----
    The rows are not sorted: one search among 256 edges each.

    References
    ----------
    .. [1] None: counting.

    Examples
    --------
    >>> profile = profile_column(Column(family="text", n=3, counts={"a": 2, "b": 1}))
    >>> count_column(profile, Column(family="text", n=2, counts={"z": 2})).categories
    {'a': 0, 'b': 0, 'z': 2}
    """
    if column.family != profile.family:
        raise ValueError(f"the reference holds {profile.family} values, this column {column.family} values")
    if not profile.categorical:
        return _count_numbers(profile, column)
    counts = category_counts(column)
    known = {name: counts.get(name, 0) for name in profile.counts.categories}
    others = [(name, count) for name, count in counts.items() if name not in known]
    # When the profile names every category of the reference, what it does not name is new, and worth naming.
    named = dict(others[:TOP_NEW_CATEGORIES]) if profile.counts.rest == 0 else {}
    return FeatureCounts(
        n=column.n,
        n_null=column.n_null,
        n_infinite=column.n_infinite,
        categories=known | named,
        rest=sum(count for _, count in others) - sum(named.values()),
    )


def count_any(profile: FeatureProfile, column: Column) -> FeatureCounts | None:
    """Count a column of any family on a profile; None when the type of the feature has changed.

    Notes
    -----
    Where either side has no usable value the family says nothing, and only rows and nulls are counted.

    References
    ----------
    .. [1] None: counting.

    Examples
    --------
    >>> profile = profile_column(Column(family="text", n=3, counts={"a": 2, "b": 1}))
    >>> count_any(profile, Column(family="number", n=1, values=np.array([1.0]))) is None
    True
    """
    if column.family == profile.family:
        return count_column(profile, column)
    usable = column.n - column.n_null - column.n_infinite
    if usable and profile.counts.n_usable:
        return None
    bins = np.zeros(0 if profile.categorical else profile.edges.size + 1, dtype=np.int64)
    if bins.size:
        bins[0] = usable
    rest = usable if profile.categorical else 0
    return FeatureCounts(n=column.n, n_null=column.n_null, n_infinite=column.n_infinite, bins=bins, rest=rest)


def add_counts(batches: Sequence[FeatureCounts]) -> FeatureCounts:
    """Add batches that were counted on the same profile.

    Notes
    -----
    Counts add exactly. Means and deviations are merged pairwise [1]_, exact up to rounding; no square is formed that
    could overflow.

    References
    ----------
    .. [1] Chan, T. F., Golub, G. H., LeVeque, R. J. (1983), Algorithms for computing the sample variance, The American
       Statistician 37(3), 242-247.

    Examples
    --------
    >>> add_counts([FeatureCounts(n=2, n_null=1), FeatureCounts(n=3)]).n
    5
    """
    if not batches:
        raise ValueError("there is nothing to add: give at least one batch")
    width = max(batch.bins.size for batch in batches)
    bins = np.zeros(width, dtype=np.int64)
    categories: dict[str, int] = {}
    n = n_null = n_infinite = rest = usable = 0
    mean = spread = 0.0
    low, high = math.inf, -math.inf
    for batch in batches:
        if batch.bins.size:
            if batch.bins.size != width:
                raise ValueError(f"batches of {batch.bins.size} and {width} bins come from different profiles")
            bins += batch.bins
        for name, count in batch.categories.items():
            categories[name] = categories.get(name, 0) + count
        n, n_null, n_infinite = n + batch.n, n_null + batch.n_null, n_infinite + batch.n_infinite
        rest += batch.rest
        if batch.minimum is not None and batch.maximum is not None:
            more = batch.n_usable
            total = usable + more
            old, new = usable / total, more / total
            half = batch.mean / 2.0 - mean / 2.0  # the difference itself may be beyond the largest float
            spread = math.hypot(
                math.sqrt(old) * spread, math.sqrt(new) * batch.spread, 2.0 * math.sqrt(old * new) * half
            )
            mean = 2.0 * (mean / 2.0 + half * new)
            usable = total
            low, high = min(low, batch.minimum), max(high, batch.maximum)
    return FeatureCounts(
        n=n,
        n_null=n_null,
        n_infinite=n_infinite,
        bins=bins,
        categories=categories,
        rest=rest,
        mean=mean,
        spread=spread,
        minimum=low if usable else None,
        maximum=high if usable else None,
    )


# -- storage -----------------------------------------------------------------------------------------


def counts_to_bytes(counts: FeatureCounts) -> bytes:
    """Pack counts into bytes: bins as variable-width integers, names as JSON, all compressed."""
    return _pack(_counts_header(counts), np.zeros(0), counts.bins)


def counts_from_bytes(data: bytes) -> FeatureCounts:
    """Restore what `counts_to_bytes` packed."""
    header, _, bins = _unpack(data)
    return _counts_of(header, bins)


def profile_to_bytes(profile: FeatureProfile) -> bytes:
    """Pack a profile into bytes."""
    header = _counts_header(profile.counts) | {
        "family": profile.family,
        "categorical": profile.categorical,
        "n_distinct": profile.n_distinct,
        "n_deciles": int(profile.decile_edges.size),
        "bits": profile.bits,
    }
    return _pack(header, np.concatenate([profile.decile_edges, profile.edges]), profile.counts.bins)


def profile_from_bytes(data: bytes) -> FeatureProfile:
    """Restore what `profile_to_bytes` packed."""
    header, edges, bins = _unpack(data)
    split = int(header["n_deciles"])
    return FeatureProfile(
        family=str(header["family"]),
        categorical=bool(header["categorical"]),
        counts=_counts_of(header, bins),
        edges=edges[split:],
        decile_edges=edges[:split],
        n_distinct=int(header["n_distinct"]),
        bits=int(header.get("bits", 64)),  # profiles of before it was kept
    )


def _counts_header(counts: FeatureCounts) -> dict[str, Any]:
    return {
        "n": counts.n,
        "n_null": counts.n_null,
        "n_infinite": counts.n_infinite,
        "categories": counts.categories,
        "rest": counts.rest,
        # Hexadecimal floats come back to the last bit, and the extremes of float have no JSON number.
        "moments": [
            None if x is None else x.hex() for x in (counts.mean, counts.spread, counts.minimum, counts.maximum)
        ],
    }


def _counts_of(header: dict[str, Any], bins: IntArray) -> FeatureCounts:
    mean, spread, minimum, maximum = (None if x is None else float.fromhex(x) for x in header["moments"])
    return FeatureCounts(
        n=int(header["n"]),
        n_null=int(header["n_null"]),
        n_infinite=int(header["n_infinite"]),
        bins=bins,
        categories={str(name): int(count) for name, count in header["categories"].items()},
        rest=int(header["rest"]),
        mean=mean or 0.0,
        spread=spread or 0.0,
        minimum=minimum,
        maximum=maximum,
    )


def _pack(header: dict[str, Any], floats: FloatArray, bins: IntArray) -> bytes:
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    sizes = struct.pack("<III", len(text), floats.size, bins.size)
    return bytes([_FORMAT]) + zlib.compress(
        sizes + text + floats.astype("<f8").tobytes() + bins.astype("<i8").tobytes(), 6
    )


def _unpack(data: bytes) -> tuple[dict[str, Any], FloatArray, IntArray]:
    if not data or data[0] != _FORMAT:
        raise ValueError(f"a stored profile of an unknown format {data[:1]!r}; it was written by a newer version")
    body = zlib.decompress(data[1:])
    n_text, n_floats, n_bins = struct.unpack_from("<III", body)
    start = struct.calcsize("<III")
    header: dict[str, Any] = json.loads(body[start : start + n_text])
    floats = np.frombuffer(body, dtype="<f8", count=n_floats, offset=start + n_text).astype(np.float64)
    bins = np.frombuffer(body, dtype="<i8", count=n_bins, offset=start + n_text + 8 * n_floats).astype(np.int64)
    return header, floats, bins


def _profile_levels() -> FloatArray:
    levels = np.arange(1, PROFILE_EDGES + 1) / (PROFILE_EDGES + 1)
    for decile in np.linspace(0.0, 1.0, PSI_BINS + 1)[1:-1]:
        levels[int(np.abs(levels - decile).argmin())] = decile
    return levels


def _count_numbers(profile: FeatureProfile, column: Column, *, ordered: FloatArray | None = None) -> FeatureCounts:
    values = ordered if ordered is not None else column.values
    if values is None or values.size == 0:
        return FeatureCounts(
            n=column.n,
            n_null=column.n_null,
            n_infinite=column.n_infinite,
            bins=np.zeros(profile.edges.size + 1, dtype=np.int64),
        )
    bits, edges = min(profile.bits, column.bits), profile.edges
    if column.bits > bits:
        values = at_precision(values, bits)
    if profile.bits > bits:
        edges = _apart(at_precision(edges, bits))
    mean, spread = mean_and_deviation(values)
    return FeatureCounts(
        n=column.n,
        n_null=column.n_null,
        n_infinite=column.n_infinite,
        bins=bin_counts(values, edges, assume_sorted=ordered is not None),
        mean=mean,
        spread=spread,
        minimum=float(values[0] if ordered is not None else values.min()),
        maximum=float(values[-1] if ordered is not None else values.max()),
    )


def _apart(edges: FloatArray) -> FloatArray:
    """Return ascending edges strictly ascending: of those that coincide, the later ones moved up by one float each."""
    for index in np.flatnonzero(np.diff(edges) <= 0.0) + 1:
        edges[index] = np.nextafter(edges[index - 1], np.inf)
    return edges
