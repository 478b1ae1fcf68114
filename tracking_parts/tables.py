"""Runs as CSV, Parquet, JSON and JSON lines: written so that a spreadsheet executes nothing, read back without loss."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tracking_parts.records import Run
from tracking_parts.sources import NameMapper, Point, SourceItems, SourceRun, clean_key
from values import decode_json, encode_json, to_utc

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame_to_csv", "neutralise", "read_csv", "read_json_lines", "restore_cell", "run_to_line", "write_frame"]

LINE_MAX_BYTES = 500_000_000  # of one JSON line
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_RUN_COLUMNS = ("run_id", "run", "run_name", "name")
_STEP_COLUMNS = ("step", "epoch", "iteration", "global_step")
_TIME_COLUMNS = ("at", "timestamp", "time")
_PREFIXES = ("params.", "metrics.", "tags.")


def neutralise(cell: object) -> object:
    """Return a cell a spreadsheet shows as it is: text that begins like a formula gets an apostrophe.

    >>> neutralise("=1+1"), neutralise("'=1"), neutralise(-2.5), neutralise("plain")
    ("'=1+1", "''=1", -2.5, 'plain')
    """
    return "'" + cell if isinstance(cell, str) and _FORMULA.match(cell) else cell


def restore_cell(cell: str) -> str:
    """Undo `neutralise`.

    >>> restore_cell("'=1+1"), restore_cell("''=1"), restore_cell("it's")
    ('=1+1', "'=1", "it's")
    """
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_frame(frame: pd.DataFrame, path: Path, form: str) -> None:
    """Write a frame as "csv" or "parquet"; the file appears whole or not at all."""
    partial = path.with_name(path.name + ".incomplete")
    try:
        if form == "csv":
            with partial.open("w", encoding="utf-8", newline="") as file:
                _write_csv(frame, file)
        else:
            plain = frame.copy()
            for name in plain.columns:
                if plain[name].dtype == object:  # a column of Parquet has one type
                    plain[name] = [
                        None if item is None else item if isinstance(item, str) else encode_json(item)
                        for item in plain[name]
                    ]
            plain.to_parquet(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def frame_to_csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV text whose cells a spreadsheet does not execute, for downloads."""
    buffer = io.StringIO()
    _write_csv(frame, buffer)
    return buffer.getvalue()


def _write_csv(frame: pd.DataFrame, file: TextIO) -> None:
    writer = csv.writer(file)
    writer.writerow([neutralise(str(name)) for name in frame.columns])
    for row in frame.itertuples(index=False, name=None):
        writer.writerow([_to_cell(item) for item in row])


def _to_cell(item: Any) -> object:
    if item is None or (isinstance(item, float) and item != item):
        return "" if item is None else "nan"
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, list | dict):
        return neutralise(encode_json(item))
    if hasattr(item, "isoformat"):
        text = item.isoformat()
        return "" if text == "NaT" else text
    return neutralise(item)


# -- JSON lines --------------------------------------------------------------------------------------


def run_to_line(run: Run, history: Mapping[str, Sequence[tuple[int, int, float | None]]]) -> str:
    """Return a whole run, histories included, as one line of JSON that `read_json_lines` reads back."""
    record = {
        "run_id": run.run_id,
        "experiment": run.experiment,
        "name": run.name,
        "status": str(run.status),
        "started_at": run.started_at.isoformat(),
        "ended_at": None if run.ended_at is None else run.ended_at.isoformat(),
        "parent_run_id": run.parent_run_id,
        "note": run.note,
        "error": run.error,
        "params": run.params,
        "tags": run.tags,
        "environment": run.environment,
        "metrics": {
            name: {
                "steps": [step for step, _, _ in points],
                "at": [at for _, at, _ in points],
                "values": [math.nan if value is None else value for _, _, value in points],
            }
            for name, points in history.items()
        },
    }
    return encode_json(record, "run", max_bytes=LINE_MAX_BYTES)


def _micros(value: object) -> int | None:
    if value is None or value == "":
        return None
    since = to_utc(value) - to_utc("1970-01-01")
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def digest_of(path: Path) -> str:
    """Return a short hash of a file: its runs are known by it when it is read again."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()[:32]


def read_json_lines(path: Path, experiment: str | None) -> SourceItems:
    """Read runs from JSON lines: whole runs as this library writes them, or a line a step with "run" and "step"."""
    mapper, digest = NameMapper(), digest_of(path)
    steps = _StepTable(experiment, digest, mapper)
    with path.open(encoding="utf-8", errors="strict") as lines:
        try:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    record = decode_json(line)
                    if not isinstance(record, dict):
                        raise ValueError("it is not an object")
                    if isinstance(record.get("metrics"), dict) and "run_id" in record:
                        yield _from_record(record, experiment, mapper)
                    else:
                        steps.add(record)
                except (ValueError, TypeError, KeyError, RecursionError) as error:
                    yield f"line {number} was left out: {str(error)[:200]}"
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 text: {error}") from error
    yield from steps.runs()


def _from_record(record: Mapping[str, Any], experiment: str | None, mapper: NameMapper) -> SourceRun:
    metrics: dict[str, list[Point]] = {}
    for name, series in record["metrics"].items():
        rows = zip(series["steps"], series["at"], series["values"], strict=True)
        metrics[name] = [(int(s), int(a), None if v is None or v != v else float(v)) for s, a, v in rows]
    status = record.get("status", "finished")
    return SourceRun(
        origin=f"modeldesk:{record['run_id']}",
        source_id=str(record["run_id"]),
        experiment=experiment or mapper(str(record.get("experiment") or "imported")),
        name=NameMapper()(str(record.get("name") or record["run_id"])),
        status=status if status in ("finished", "failed", "killed") else "killed",
        started_at=_micros(record.get("started_at")),
        ended_at=_micros(record.get("ended_at")),
        params=dict(record.get("params") or {}),
        tags=dict(record.get("tags") or {}),
        note=record.get("note"),
        error=record.get("error"),
        parent=record.get("parent_run_id"),
        environment=dict(record.get("environment") or {}),
        metrics=metrics,
    )


# -- CSV ---------------------------------------------------------------------------------------------


def read_csv(path: Path, experiment: str | None) -> SourceItems:
    """Read runs from CSV.

    With columns ``params.*`` or ``metrics.*`` a row is a run, as `export_runs` writes it. With columns "metric" and
    "value" a row is a point, as `export_history` writes it. Otherwise a row is a step, and every numeric column a
    metric, as training loops write it.
    """
    digest = digest_of(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            header = [restore_cell(cell) for cell in next(rows, [])]
            if len(set(header)) != len(header) or not header:
                raise ValueError(f"{path} needs a first row of different column names")
            records = (dict(zip(header, map(restore_cell, row), strict=False)) for row in rows if row)
            if any(name.startswith(_PREFIXES) for name in header):
                yield from _runs_from_rows(records, experiment, digest)
            else:
                steps = _StepTable(experiment, digest, NameMapper())
                for record in records:
                    steps.add(record)
                yield from steps.runs()
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not CSV in UTF-8: {error}") from error


def _from_cell(cell: str) -> Any:
    """Return a param's value: JSON where it is JSON (numbers, true, lists), else text."""
    try:
        return decode_json(cell)
    except (ValueError, RecursionError):
        return math.nan if cell == "nan" else cell


def _runs_from_rows(records: Iterator[dict[str, str]], experiment: str | None, digest: str) -> Iterator[SourceRun]:
    mapper = NameMapper()
    for number, row in enumerate(records, 1):
        ended = _micros(row.get("ended_at"))
        at = ended or _micros(row.get("started_at")) or 0
        metrics: dict[str, list[Point]] = {}
        for name, cell in row.items():
            if name.startswith("metrics.") and cell not in ("", "nan"):
                metrics[clean_key(name.removeprefix("metrics."))] = [(0, at, float(cell))]
        run_id = row.get("run_id") or f"{digest}:{number}"
        status = row.get("status", "finished")
        yield SourceRun(
            origin=f"csv:{run_id}",
            source_id=run_id,
            experiment=experiment or mapper(row.get("experiment") or "imported"),
            name=NameMapper()(row.get("name") or f"row {number}"),
            status=status if status in ("finished", "failed", "killed") else "finished",
            started_at=_micros(row.get("started_at")),
            ended_at=ended,
            params={
                clean_key(name.removeprefix("params.")): _from_cell(cell)
                for name, cell in row.items()
                if name.startswith("params.") and cell not in ("", "nan")
            },
            tags={
                clean_key(name.removeprefix("tags.")): cell
                for name, cell in row.items()
                if name.startswith("tags.") and cell != ""
            },
            note=row.get("note") or None,
            metrics=metrics,
        )


class _StepTable:
    """Gathers rows that are steps into runs."""

    def __init__(self, experiment: str | None, digest: str, mapper: NameMapper) -> None:
        self._experiment = experiment or "imported"
        self._digest = digest
        self._mapper = mapper
        self._metrics: dict[str, dict[str, list[Point]]] = {}
        self._dropped: dict[str, int] = {}

    def add(self, row: Mapping[str, Any]) -> None:
        """Take one row."""
        run_column = next((name for name in _RUN_COLUMNS if row.get(name) not in (None, "")), None)
        step_column = next((name for name in _STEP_COLUMNS if row.get(name) not in (None, "")), None)
        time_column = next((name for name in _TIME_COLUMNS if row.get(name) not in (None, "")), None)
        run = "run" if run_column is None else str(row[run_column])
        metrics = self._metrics.setdefault(run, {})
        at = 0
        if time_column is not None:
            try:
                found = row[time_column]
                at = int(float(found) * 1e6) if _is_number(found) else _micros(found) or 0
            except (ValueError, OverflowError):
                at = 0
        if "metric" in row and "value" in row:
            cells: Mapping[str, Any] = {str(row["metric"]): row["value"]}
        else:
            skipped = {run_column, step_column, time_column, *_RUN_COLUMNS}
            cells = {name: cell for name, cell in row.items() if name not in skipped}
        for name, cell in cells.items():
            if cell is None or cell == "" or isinstance(cell, bool) or not _is_number(cell):
                if cell not in (None, ""):
                    self._dropped[name] = self._dropped.get(name, 0) + 1
                continue
            points = metrics.setdefault(clean_key(name), [])
            step = len(points) if step_column is None else int(float(row[step_column]))
            value = float(cell)
            points.append((step, at, None if value != value else value))

    def runs(self) -> SourceItems:
        """Yield the runs, and what was no number."""
        for run, metrics in self._metrics.items():
            times = [at for points in metrics.values() for _, at, _ in points if at]
            yield SourceRun(
                origin=f"file:{self._digest}:{run}"[:2_000],
                source_id=run,
                experiment=self._experiment,
                name=self._mapper(run),
                started_at=min(times, default=None),
                ended_at=max(times, default=None),
                metrics=metrics,
            )
        for name, count in self._dropped.items():
            yield f"column {name!r}: {count} values are no numbers and were left out"


def _is_number(value: object) -> bool:
    if isinstance(value, int | float):
        return True
    try:
        float(str(value))
    except ValueError:
        return False
    return True
