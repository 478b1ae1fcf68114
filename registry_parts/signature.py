"""What a model takes and gives, told from an example of its input; and which data it saw.

    >>> infer_signature(object(), [[1.5, "a"]])["inputs"]
    [{'name': 'x0', 'dtype': 'float'}, {'name': 'x1', 'dtype': 'str'}]

Vocabulary: the *signature* names the columns of the input with their types, and the kind of output; a *fingerprint*
is a hash of the values, names and types of a data set.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from values import InvalidTypeError, InvalidValueError, shorten

__all__ = [
    "fingerprint_data",
    "infer_signature",
]

EXAMPLE_COLUMNS_LIMIT = 10_000  # columns a signature may have


def infer_signature(model: object, example: object) -> dict[str, Any]:
    """Return what a model takes and gives, from an example of its input.

    Parameters
    ----------
    model : object
        If it has ``predict``, it is called on the example; ``predict_proba`` on its first row.
    example : DataFrame, array, mapping of columns, list of rows or records
        At least one row.

    Returns
    -------
    dict
        ``inputs``: list of {name, dtype}; ``n_rows`` of the example; ``output``: {kind, dtype, shape, n_classes} or
        {kind: "unknown", reason}.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If the example has no rows, or is nothing of the above.
    """
    inputs, n_rows = _inputs_of(example)
    return {"inputs": inputs, "n_rows": n_rows, "output": _output_of(model, example)}


def _inputs_of(example: object) -> tuple[list[dict[str, Any]], int]:
    if hasattr(example, "columns") and hasattr(example, "dtypes"):  # a DataFrame of any library
        names = [str(name) for name in example.columns]
        dtypes = [str(dtype) for dtype in list(example.dtypes)]
        n_rows = len(example)  # type: ignore[arg-type]
    elif hasattr(example, "dtype") and hasattr(example, "shape"):
        shape = tuple(int(n) for n in example.shape)
        n_rows = shape[0] if shape else 0
        width = math.prod(shape[1:]) if len(shape) <= 2 else 1
        name = getattr(example, "name", None)
        names = [str(name)] if name is not None and len(shape) == 1 else [f"x{i}" for i in range(min(width, 10**6))]
        dtypes = [str(example.dtype)] * len(names)
        if len(shape) > 2:
            dtypes = [f"{example.dtype}{list(shape[1:])}"]
    elif isinstance(example, Mapping):
        columns = {str(key): value for key, value in example.items()}
        names = list(columns)
        lengths = {key: n for key, value in columns.items() if (n := _length(value)) is not None}
        if len(set(lengths.values())) > 1:
            raise InvalidValueError(f"input_example has columns of different lengths: {shorten(lengths)}")
        n_rows = next(iter(lengths.values()), 1)
        dtypes = [_type_name(value) for value in columns.values()]
    elif isinstance(example, Sequence) and not isinstance(example, str | bytes):
        n_rows = len(example)
        first = example[0] if n_rows else []
        if isinstance(first, Mapping):
            names, dtypes = [str(k) for k in first], [_type_name(v) for v in first.values()]
        elif isinstance(first, Sequence) and not isinstance(first, str | bytes):
            names, dtypes = [f"x{i}" for i in range(len(first))], [_type_name(v) for v in first]
        else:
            names, dtypes = ["x0"], [_type_name(first)]
    else:
        raise InvalidTypeError(f"input_example must be a DataFrame, an array, or rows, got {type(example).__name__}")
    if n_rows < 1:
        raise InvalidValueError("input_example has no rows; give at least one")
    if len(names) > EXAMPLE_COLUMNS_LIMIT:
        raise InvalidValueError(f"input_example has {len(names):,} columns; at most {EXAMPLE_COLUMNS_LIMIT:,} are kept")
    return [{"name": n, "dtype": d} for n, d in zip(names, dtypes, strict=True)], n_rows


def _length(value: object) -> int | None:
    """Return the number of values of a column, None for a single value."""
    if isinstance(value, Sequence):
        return None if isinstance(value, str | bytes) else len(value)
    shape = getattr(value, "shape", ())
    return int(shape[0]) if shape else None


def _type_name(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and value:
        value = value[0]
    return str(value.dtype) if hasattr(value, "dtype") else type(value).__name__


def _output_of(model: object, example: object) -> dict[str, Any]:
    predict = getattr(model, "predict", None)
    if not callable(predict):
        return {"kind": "unknown", "reason": "the model has no predict()"}
    try:
        output = predict(example)
        described = _describe_output(output)
        classes = getattr(model, "classes_", None)
        if callable(getattr(model, "predict_proba", None)) or classes is not None:
            described["kind"] = "class"
            if classes is not None:
                described["n_classes"] = len(classes)
    except Exception as error:  # noqa: BLE001 - anything a model raises is a reason, not a failure to register
        return {"kind": "unknown", "reason": f"predict() raised {type(error).__name__}: {str(error)[:200]}"}
    return described


def _describe_output(output: object) -> dict[str, Any]:
    shape = [int(n) for n in getattr(output, "shape", (len(output),) if isinstance(output, Sequence) else ())]
    dtype = str(output.dtype) if hasattr(output, "dtype") else _type_name(output)
    number = any(part in dtype for part in ("float", "int", "complex"))
    return {"kind": "number" if number else "value", "dtype": dtype, "shape": [None, *shape[1:]] if shape else []}


def fingerprint_data(data: object) -> str:
    """Return a SHA-256 of the values, column names and types of a DataFrame or array: equal data, equal text.

    The row index is not part of it.
    """
    digest = hashlib.sha256()
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        import pandas as pd

        frame = data if isinstance(data, pd.DataFrame) else data.to_pandas()  # type: ignore[attr-defined]
        for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
            digest.update(f"{column}\x00{dtype}\x00".encode())
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    else:
        import numpy as np

        array = np.ascontiguousarray(data)
        if array.dtype.hasobject:
            raise InvalidTypeError("fingerprint_data takes numeric or fixed-width arrays, or a DataFrame")
        digest.update(f"{array.dtype.str}\x00{array.shape}\x00".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
