r"""Uploaded tables (CSV, Parquet) become DataFrames: read as data only, with limits, and errors that say what to do.

    >>> read_table("events.csv", b"user_id,value\n007,1.5\n", text=("user_id",)).to_dict("list")
    {'user_id': ['007'], 'value': [1.5]}

Nothing in an upload is executed: CSV holds text, and Parquet is read without the Python objects that pandas may have
put into its extension types. A small Parquet file can unpack to an enormous table, so its size is taken from its own
description before anything is read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dashboard import formats

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FILE_TYPES", "MAX_BYTES", "MAX_CELLS", "numbers", "read_table"]

FILE_TYPES = ["csv", "parquet"]
MAX_BYTES = 200_000_000  # of the file; the server's own limit is the same
MAX_CELLS = 40_000_000  # rows times columns: about 320 MB of numbers
MAX_UNPACKED_BYTES = 2_000_000_000  # of a Parquet file's columns, by its own description
MAX_COLUMNS = 5_000
_PARQUET_MARK = b"PAR1"


def read_table(
    file_name: str,
    data: bytes | bytearray | memoryview,
    *,
    text: Sequence[str] = (),
    max_cells: int = MAX_CELLS,
    max_bytes: int = MAX_BYTES,
) -> pd.DataFrame:
    """Return an uploaded table.

    Parameters
    ----------
    file_name : str
        Its ending says how it is read: ``.csv`` or ``.parquet``.
    data : bytes
        The content.
    text : sequence of str
        Columns kept as text, letter by letter: ids such as "007" or "NA" stay what they are. Only an empty cell is
        missing in them.
    max_cells, max_bytes : int
        Limits on rows times columns, and on the file.

    Raises
    ------
    ValueError
        If the table is too large, empty, not of that format, or has two columns of one name.
    """
    content = bytes(data)
    if len(content) > max_bytes:
        raise ValueError(
            f"the file has {formats.size(len(content))}; at most {formats.size(max_bytes)} can be uploaded"
        )
    if not content.strip():
        raise ValueError("the file is empty")
    ending = file_name.rsplit(".", 1)[-1].lower() if "." in file_name else ""
    if ending == "parquet":
        return _read_parquet(content, text, max_cells)
    if ending == "csv":
        return _read_csv(content, text, max_cells)
    raise ValueError(f"the file must end in .csv or .parquet, got {formats.shorten(file_name, 60)!r}")


def numbers(cells: pd.Series[Any], column: str) -> Any:
    """Return a column that was read as text as numbers; an empty cell is None.

    Raises
    ------
    ValueError
        If a cell is no number, naming its row as the file counts it.
    """
    if cells.dtype.kind in "fiub":
        return cells
    found: list[float | None] = []
    for row, cell in enumerate(cells.tolist(), 1):
        if cell is None or cell != cell:
            found.append(None)
            continue
        try:
            found.append(float(cell))
        except (TypeError, ValueError) as error:
            raise ValueError(f"row {row}: {column} must be a number, got {formats.shorten(str(cell), 40)!r}") from error
    return found


def _read_csv(content: bytes, text: Sequence[str], max_cells: int) -> pd.DataFrame:
    import pandas as pd

    if content.startswith(_PARQUET_MARK):
        raise ValueError("this is a Parquet file with the ending .csv; rename it to .parquet")
    try:
        first_line = content[: 1 << 20].splitlines()[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("the file is not UTF-8 text; save it as CSV in UTF-8") from error
    separator = ";" if first_line.count(";") > first_line.count(",") else ","
    try:
        names = next(csv.reader([first_line], delimiter=separator))
    except (csv.Error, StopIteration) as error:
        raise ValueError("the first line does not name the columns") from error
    _check_names(names)
    kept = [name for name in text if name in names]
    try:
        frame = pd.read_csv(
            io.BytesIO(content),
            sep=separator,
            encoding="utf-8-sig",
            nrows=max_cells // len(names) + 1,
            dtype=dict.fromkeys(kept, str),
            # In ids nothing but an empty cell is missing: "NA" and "null" are somebody's names.
            keep_default_na=not kept,
            na_values={name: [""] for name in names} if kept else None,
            low_memory=False,
        )
    except UnicodeDecodeError as error:
        raise ValueError("the file is not UTF-8 text; save it as CSV in UTF-8") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OverflowError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise ValueError(f"the CSV cannot be read: {formats.shorten(reason, 200)}") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for row names
        raise ValueError(f"the first rows have more cells than the {formats.plural(len(names), 'column')} named above")
    return _checked(frame, max_cells)


def _read_parquet(content: bytes, text: Sequence[str], max_cells: int) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not content.startswith(_PARQUET_MARK):
        raise ValueError("this is not a Parquet file")
    try:
        source = pq.ParquetFile(io.BytesIO(content))
        description, schema = source.metadata, source.schema_arrow
        unpacked = sum(description.row_group(i).total_byte_size for i in range(description.num_row_groups))
        _check_names(schema.names)
        if description.num_rows * len(schema.names) > max_cells or unpacked > MAX_UNPACKED_BYTES:
            raise ValueError(
                f"the table has {formats.plural(description.num_rows, 'row')} and "
                f"{formats.plural(len(schema.names), 'column')}; at most {max_cells:,} cells can be uploaded"
            )
        words: list[str] = []
        for field in schema:
            if pa.types.is_nested(field.type) or isinstance(field.type, pa.BaseExtensionType):
                raise ValueError(f"column {formats.shorten(field.name, 60)!r} does not hold plain values")
            if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
                words.append(field.name)
        # Strings stay codes into a dictionary: a long one repeated in every row is kept once.
        table = pq.ParquetFile(io.BytesIO(content), read_dictionary=words).read()
        frame: pd.DataFrame = table.replace_schema_metadata(None).to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"the Parquet file cannot be read: {formats.shorten(str(error), 200)}") from error
    for name in text:
        if name in frame.columns:
            column: Any = frame[name]
            frame[name] = column.astype(object).map(lambda cell: cell if isinstance(cell, str) else _id_text(cell))
    return _checked(frame, max_cells)


def _id_text(cell: Any) -> str | None:
    """Return an id that was stored as a number as text; missing stays missing."""
    if cell is None or cell != cell:
        return None
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _check_names(names: Sequence[str]) -> None:
    if not names or not any(name.strip() for name in names):
        raise ValueError("the first line does not name the columns")
    if len(names) > MAX_COLUMNS:
        raise ValueError(f"the table has {len(names):,} columns; at most {MAX_COLUMNS:,} can be uploaded")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two columns are named {formats.shorten(name, 60)!r}; rename one")
        seen.add(name)


def _checked(frame: pd.DataFrame, max_cells: int) -> pd.DataFrame:
    if not len(frame):
        raise ValueError("the table has columns but no rows")
    if frame.size > max_cells:
        raise ValueError(f"the table has over {max_cells:,} cells; split it, or use the module from Python")
    return frame
