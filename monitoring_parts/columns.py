"""Reading frames: from whatever a person has (a pandas frame, a dict of lists, an array) to plain columns.

    >>> columns = read_frame({"age": [31, None, 40], "city": ["Bern", "Ulm", None]})
    >>> columns["age"].family, columns["age"].n_null, columns["city"].counts
    ('number', 1, {'Bern': 1, 'Ulm': 1})

Nothing here refuses a column for its content: mixed types become text, what cannot be read becomes all null. Only what
is not a frame at all, or has two columns of one name, is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.profiles import LABEL_LENGTH, Column
from values import InvalidTypeError, InvalidValueError, check_key

__all__ = ["read_column", "read_frame"]


def read_frame(frame: Any, field: str = "frame") -> dict[str, Column]:
    """Read every column of a frame.

    Parameters
    ----------
    frame : pandas.DataFrame, mapping of str to sequence, or two-dimensional array
        The columns of an array are named "0", "1", ...
    field : str
        What the frame is, for messages.

    Raises
    ------
    InvalidTypeError
        If it is no frame.
    InvalidValueError
        If two columns share a name, a name is empty, or lengths differ.
    """
    import pandas as pd

    if isinstance(frame, np.ndarray):
        if frame.ndim != 2:
            raise InvalidValueError(f"{field} must have two dimensions, got {frame.ndim}")
        frame = pd.DataFrame(frame)
    elif isinstance(frame, Mapping):
        try:
            frame = pd.DataFrame(dict(frame))
        except ValueError as error:
            raise InvalidValueError(f"{field} cannot be read as columns: {error}") from error
    elif not isinstance(frame, pd.DataFrame):
        if hasattr(frame, "to_pandas"):  # polars, pyarrow
            frame = frame.to_pandas()
        else:
            raise InvalidTypeError(
                f"{field} must be a DataFrame, a mapping of columns or a 2-d array, got {type(frame).__name__}"
            )
    columns: dict[str, Column] = {}
    for position, label in enumerate(frame.columns):
        name = check_key(label if isinstance(label, str) else str(label), f"a column name of {field}")
        if name in columns:
            raise InvalidValueError(f"{field} has two columns named {name!r}; rename one of them")
        columns[name] = read_column(frame.iloc[:, position])
    return columns


def read_column(series: Any) -> Column:
    """Read one pandas series as numbers, datetimes (seconds since 1970), booleans or text."""
    import pandas as pd
    from pandas.api import types

    n = len(series)
    dtype = series.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        return _numbers(series.to_numpy(), n, whole=dtype.kind != "f")
    if isinstance(dtype, pd.CategoricalDtype):
        return _categories(series, n)
    if isinstance(dtype, pd.SparseDtype):
        return read_column(pd.Series(np.asarray(series.array)))
    if types.is_bool_dtype(dtype):
        return _booleans(series, n)
    if types.is_datetime64_any_dtype(dtype):
        return _instants(series, n)
    if types.is_timedelta64_dtype(dtype):
        return _numbers(series.dt.total_seconds().to_numpy(dtype=np.float64), n, whole=False)
    if types.is_complex_dtype(dtype):
        return _categories(series, n)
    if types.is_numeric_dtype(dtype):
        whole = types.is_integer_dtype(dtype)
        numpy_type = getattr(dtype, "numpy_dtype", np.dtype(np.float64))
        return _numbers(series.to_numpy(dtype=np.float64, na_value=np.nan), n, whole=whole, stored=numpy_type)
    if types.is_object_dtype(dtype):
        return _objects(series, n)
    return _categories(series, n)


def _numbers(values: npt.NDArray[Any], n: int, *, whole: bool, stored: np.dtype[Any] | None = None) -> Column:
    kind = values.dtype if stored is None else stored
    bits = min(64, 8 * kind.itemsize) if kind.kind == "f" else 64
    numbers = values.astype(np.float64, copy=False)
    if whole and values.dtype.kind in "iu":
        return Column(family="number", n=n, values=numbers, whole=True)
    with np.errstate(over="ignore", invalid="ignore"):
        clean = bool(np.isfinite(numbers.sum())) if n else True
    if clean:
        return Column(family="number", n=n, values=numbers, whole=whole, bits=bits)
    finite = np.isfinite(numbers)
    n_null = int(np.isnan(numbers).sum())
    kept = numbers[finite]
    n_infinite = n - n_null - int(kept.size)
    return Column(family="number", n=n, n_null=n_null, n_infinite=n_infinite, values=kept, whole=whole, bits=bits)


def _booleans(series: Any, n: int) -> Column:
    counts = series.value_counts()
    found = {str(bool(value)): int(count) for value, count in counts.items() if count}
    return Column(family="boolean", n=n, n_null=n - sum(found.values()), counts=found)


def _instants(series: Any, n: int) -> Column:
    import pandas as pd

    known = series.dropna()
    if isinstance(known.dtype, pd.ArrowDtype):  # its dates have no time zone to ask for
        known = pd.to_datetime(known.astype(object), utc=True)
    if known.dt.tz is not None:
        known = known.dt.tz_convert("UTC").dt.tz_localize(None)
    seconds = known.to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    return Column(family="datetime", n=n, n_null=n - int(seconds.size), values=seconds)


def _categories(series: Any, n: int) -> Column:
    try:
        counts = series.value_counts()
    except (TypeError, NotImplementedError):  # lists and dicts cannot be counted as they are
        counts = (
            series.dropna().astype(object).map(lambda v: repr(v.tolist() if hasattr(v, "tolist") else v)).value_counts()
        )
    found: dict[str, int] = {}
    for value, count in zip(counts.index.tolist(), counts.tolist(), strict=True):
        if count:
            label = _label(value)
            found[label] = found.get(label, 0) + count
    return Column(family="text", n=n, n_null=n - sum(found.values()), counts=found)


def _objects(series: Any, n: int) -> Column:
    import pandas as pd

    kind = pd.api.types.infer_dtype(series, skipna=True)
    if kind == "empty":
        return Column(family="text", n=n, n_null=n, counts={})
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        try:
            numbers = pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        except (TypeError, ValueError, OverflowError):
            return _categories(series, n)
        return _numbers(numbers, n, whole=kind == "integer")
    if kind == "boolean":
        return _booleans(series.dropna().astype(bool), n)
    if kind in ("datetime", "datetime64", "date"):
        return _instants(pd.to_datetime(series, utc=True, errors="coerce"), n)
    return _categories(series, n)


def _label(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    if len(text) > LABEL_LENGTH:
        text = text[:LABEL_LENGTH] + "…"
    # Lone surrogates and NUL cannot be stored; the replacement keeps the category visible.
    return text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
