"""Reads MLflow's stores, a SQLite database or an `mlruns` folder, without MLflow.

Nothing of it is trusted: files are only read below the store's own folder, links are not followed, YAML is read as
flat text, nothing is unpickled.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from lazy_dataclass import dataclass
from tracking_parts.sources import NameMapper, Point, SourceItems, SourceRun, clean_key, clean_text

__all__ = ["RegisteredVersion", "read_mlflow", "read_registered_versions"]

STATUSES = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed", "RUNNING": "killed", "SCHEDULED": "killed"}
STATUS_NUMBERS = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
MAX_TEXT_BYTES = 10_000_000  # of a param or tag file: more is not a param


class _Refused(Exception):  # noqa: N818 - never leaves this file
    """Why a run is not imported."""


def find_store(source: str | os.PathLike[str]) -> tuple[str, Path]:
    """Return "sqlite" or "files" and the path of the store.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If it is neither.
    """
    text = os.fspath(source)
    if "\x00" in text:
        raise ValueError("the source has a NUL character")
    if text.startswith("sqlite:///"):
        text = text.removeprefix("sqlite:///")
    elif text.startswith("file:"):
        text = unquote(urlsplit(text).path)
    elif "://" in text:
        raise ValueError(f"cannot read {text!r}: give the path of a SQLite file or of an mlruns folder")
    path = Path(text).expanduser()
    if not os.path.exists(path):  # unlike Path's, it has an answer for every path
        raise FileNotFoundError(f"there is no MLflow store at {path}")
    if path.is_file():
        with path.open("rb") as file:
            if file.read(16) != b"SQLite format 3\x00":
                raise ValueError(f"{path} is not a SQLite database")
        return "sqlite", path.resolve()
    for name in ("mlflow.db", "mlruns.db"):
        if (path / name).is_file():
            return "sqlite", (path / name).resolve()
    if (path / "mlruns").is_dir():
        path = path / "mlruns"
    if any((folder / "meta.yaml").is_file() for folder in path.iterdir() if folder.is_dir()):
        return "files", path.resolve()
    raise ValueError(f"{path} is no MLflow store: it has neither mlflow.db nor experiments with a meta.yaml")


def read_mlflow(source: str | os.PathLike[str], artifact_root: str | os.PathLike[str] | None = None) -> SourceItems:
    """Read all runs that are not deleted, parents before the runs nested in them where possible.

    Parameters
    ----------
    source : path or URL
        A SQLite file or URL, an `mlruns` folder, or a folder that has one of them.
    artifact_root : path or None
        Another folder below which artifacts may be read; otherwise only the store's own.

    Yields
    ------
    SourceRun or str
        A run, or a sentence about what could not be read.
    """
    kind, path = find_store(source)
    roots = [path.parent if kind == "sqlite" else path]
    if artifact_root is not None:
        roots.append(Path(artifact_root).expanduser().resolve())
    return _read_sqlite(path, roots) if kind == "sqlite" else _read_folder(path, roots)


# -- artifacts ---------------------------------------------------------------------------------------


def find_artifacts(uri: str | None, run_id: str, roots: list[Path]) -> Path | None:
    """Return the folder of a run's artifacts, found again below the roots if the store was moved, or None.

    Raises
    ------
    _Refused
        If the only folder there is lies outside the roots, or it is on a server.
    """
    if not uri:
        return None
    scheme = urlsplit(uri).scheme
    if scheme not in ("", "file", "mlflow-artifacts"):
        raise _Refused(f"its artifacts are at {scheme}://, which is not read; download them beside the store first")
    text = unquote(urlsplit(uri).path) if scheme else uri
    if "\x00" in text:
        raise _Refused("its artifact path has a NUL character")
    named = Path(os.path.normpath(text))
    if named.is_absolute() and named.is_dir() and _is_inside(named, roots) and not _is_root(named, roots):
        return named.resolve()
    parts = [part for part in named.parts if part not in ("/", "\\", "..", ".")]
    for length in range(min(len(parts), 8), 0, -1):  # the longest tail that exists here
        tail = parts[-length:]
        if run_id not in tail:
            break
        for root in roots:
            for base in (root, root / "mlruns", root / "mlartifacts", root / "artifacts"):
                candidate = base.joinpath(*tail)
                if candidate.is_dir() and _is_inside(candidate, roots):
                    return candidate.resolve()
    if named.is_absolute() and named.is_dir():
        raise _Refused(
            f"its artifact_uri names a folder outside the store ({text[:100]}); "
            "import_mlflow(..., artifact_root=...) allows that folder"
        )
    return None


def _is_inside(path: Path, roots: list[Path]) -> bool:
    real = path.resolve()
    return any(real == root or root in real.parents for root in roots)


def _is_root(path: Path, roots: list[Path]) -> bool:
    return path.resolve() in roots


def _artifacts_of(run: SourceRun, uri: str | None, run_id: str, roots: list[Path]) -> None:
    folder = find_artifacts(uri, run_id, roots)
    if folder is not None and any(os.scandir(folder)):
        run.artifact_folder = folder


# -- SQLite ------------------------------------------------------------------------------------------


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    connection.execute("PRAGMA trusted_schema=OFF")
    return connection


def _get(row: sqlite3.Row, name: str, default: Any = None) -> Any:
    """Return a column that older versions of the store may lack."""
    return row[name] if name in row.keys() else default  # noqa: SIM118 - a Row iterates over its values


def _read_sqlite(path: Path, roots: list[Path]) -> SourceItems:
    mapper = NameMapper()
    connection = _open(path)
    try:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        missing = {"experiments", "runs", "metrics", "params", "tags"} - tables
        if missing:
            raise ValueError(f"{path} is not an MLflow store: it has no table {', '.join(sorted(missing))}")
        experiments = {row["experiment_id"]: row for row in connection.execute("SELECT * FROM experiments")}
        n_deleted = 0
        for row in connection.execute("SELECT * FROM runs ORDER BY start_time, rowid"):
            experiment = experiments.get(row["experiment_id"])
            gone = _get(row, "lifecycle_stage") == "deleted" or experiment is None
            if gone or (experiment is not None and _get(experiment, "lifecycle_stage") == "deleted"):
                n_deleted += 1
                continue
            assert experiment is not None
            try:
                yield _from_row(connection, row, mapper(str(experiment["name"])), roots, mapper)
            except _Refused as reason:
                yield f"run {row['run_uuid']} was left out: {reason}"
        yield from _remarks(n_deleted, mapper)
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    finally:
        connection.close()


def _remarks(n_deleted: int, mapper: NameMapper) -> Iterator[str]:
    if n_deleted:
        yield f"{n_deleted} runs are deleted in the source and were left out"
    for name, ours in mapper.changed.items():
        yield f"{name!r} is named {ours!r} here: names have no '/', '\\' or ':'"


def _from_row(
    connection: sqlite3.Connection, row: sqlite3.Row, experiment: str, roots: list[Path], mapper: NameMapper
) -> SourceRun:
    run_id = str(row["run_uuid"])
    key = (row["run_uuid"],)
    params = {
        clean_key(str(r["key"])): clean_text(str(r["value"]))
        for r in connection.execute("SELECT key, value FROM params WHERE run_uuid = ?", key)
    }
    tags = {
        clean_key(str(r["key"])): clean_text(str("" if r["value"] is None else r["value"]))
        for r in connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", key)
    }
    metrics: dict[str, list[Point]] = {}
    # In the order of writing: of several values at one step MLflow itself shows the latest.
    for r in connection.execute("SELECT * FROM metrics WHERE run_uuid = ? ORDER BY timestamp, rowid", key):
        value = None if _get(r, "is_nan", 0) else _from_mlflow(float(r["value"]))
        at = int(r["timestamp"] or 0) * 1000
        metrics.setdefault(clean_key(str(r["key"])), []).append((int(_get(r, "step", 0) or 0), at, value))
    return _build(
        run_id,
        experiment,
        name=_get(row, "name"),
        status=str(row["status"]),
        start=row["start_time"],
        end=row["end_time"],
        params=params,
        tags=tags,
        metrics=metrics,
        uri=_get(row, "artifact_uri"),
        roots=roots,
    )


def _from_mlflow(value: float) -> float:
    """Undo MLflow's replacement of infinities by the greatest float, which its SQL columns needed."""
    if value >= 1.7976931348623157e308:
        return float("inf")
    if value <= -1.7976931348623157e308:
        return float("-inf")
    return value


def _build(
    run_id: str,
    experiment: str,
    *,
    name: Any,
    status: str,
    start: Any,
    end: Any,
    params: dict[str, Any],
    tags: dict[str, str],
    metrics: dict[str, list[Point]],
    uri: str | None,
    roots: list[Path],
) -> SourceRun:
    shown = str(name or tags.get("mlflow.runName") or run_id[:8])
    run = SourceRun(
        origin=f"mlflow:{clean_text(run_id, 200)}",
        source_id=run_id,
        experiment=experiment,
        name=NameMapper()(shown),
        status=STATUSES.get(status.upper(), "killed"),
        started_at=None if start is None else int(start) * 1000,
        ended_at=None if end is None else int(end) * 1000,
        params=params,
        tags=tags,
        note=tags.get("mlflow.note.content"),
        parent=tags.get("mlflow.parentRunId"),
        environment=_environment(tags),
        metrics=metrics,
    )
    _artifacts_of(run, uri, run_id, roots)
    return run


def _environment(tags: dict[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = {"imported_from": "MLflow"}
    git = {
        ours: tags[theirs]
        for ours, theirs in (("commit", "mlflow.source.git.commit"), ("branch", "mlflow.source.git.branch"))
        if theirs in tags
    }
    if git:
        result["git"] = git
    if "mlflow.source.name" in tags:
        result["script"] = tags["mlflow.source.name"]
    if "mlflow.user" in tags:
        result["host"] = {"user": tags["mlflow.user"]}
    return result


# -- mlruns/ -----------------------------------------------------------------------------------------


def read_flat_yaml(text: str) -> dict[str, str]:
    r"""Return the scalars of a flat YAML mapping as text; anything else in it is refused.

    >>> read_flat_yaml("name: 'it''s'\nlifecycle_stage: active\n")
    {'name': "it's", 'lifecycle_stage': 'active'}
    """
    result: dict[str, str] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith((" ", "\t")) and lines:
            lines[-1] += " " + line.strip()  # a long text goes on
        elif line.startswith(("- ", "#")) or not line.strip():
            continue  # a list (of tags): not needed
        else:
            lines.append(line)
    for line in lines:
        key, colon, value = line.partition(":")
        value = value.strip()
        if not colon or value.startswith(("!", "&", "*", "|", ">")):
            raise _Refused(f"its meta.yaml has a line this reader does not accept: {line[:60]!r}")
        if len(value) >= 2 and value[0] == value[-1] == "'":
            value = value[1:-1].replace("''", "'")
        elif len(value) >= 2 and value[0] == value[-1] == '"':
            try:
                value = json.loads(re.sub(r"\\x([0-9a-fA-F]{2})", r"\\u00\1", value))
            except ValueError as error:
                raise _Refused(f"its meta.yaml has a text that cannot be read: {line[:60]!r}") from error
        result[key.strip()] = "" if value in ("null", "~") else value
    return result


def _meta(folder: Path) -> dict[str, str]:
    path = folder / "meta.yaml"
    if path.is_symlink() or not path.is_file():
        raise _Refused("it has no meta.yaml")
    return read_flat_yaml(_read_text(path))


def _read_text(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise _Refused(f"{path.name} is not a regular file")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise _Refused(f"{path.name} has over {MAX_TEXT_BYTES:,} bytes")
    return path.read_text(encoding="utf-8", errors="replace")


def _files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield (key, file): "val/acc" is the file acc in the folder val."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for place, folders, files in os.walk(folder, followlinks=False):
        folders.sort()
        for name in sorted(files):
            path = Path(place) / name
            yield path.relative_to(folder).as_posix(), path


def _read_folder(path: Path, roots: list[Path]) -> SourceItems:
    mapper = NameMapper()
    n_deleted = 0
    for folder in sorted(path.iterdir()):
        if folder.name == ".trash" and folder.is_dir():
            n_deleted += sum(1 for run in folder.glob("*/*/meta.yaml"))
            continue
        if folder.is_symlink() or not (folder / "meta.yaml").is_file():
            continue
        try:
            experiment = _meta(folder)
        except _Refused as reason:
            yield f"experiment {folder.name} was left out: {reason}"
            continue
        if experiment.get("lifecycle_stage") == "deleted":
            n_deleted += sum(1 for _ in folder.glob("*/meta.yaml"))
            continue
        for run_folder in sorted(folder.iterdir()):
            if run_folder.is_symlink() or not (run_folder / "meta.yaml").is_file():
                continue
            try:
                meta = _meta(run_folder)
                if meta.get("lifecycle_stage") == "deleted":
                    n_deleted += 1
                    continue
                yield _from_folder(run_folder, meta, mapper(experiment.get("name") or folder.name), roots)
            except _Refused as reason:
                yield f"run {run_folder.name} was left out: {reason}"
    yield from _remarks(n_deleted, mapper)


def _from_folder(folder: Path, meta: dict[str, str], experiment: str, roots: list[Path]) -> SourceRun:
    params = {clean_key(key): clean_text(_read_text(file)) for key, file in _files_below(folder / "params")}
    tags = {clean_key(key): clean_text(_read_text(file)) for key, file in _files_below(folder / "tags")}
    metrics: dict[str, list[Point]] = {}
    for key, file in _files_below(folder / "metrics"):
        if file.is_symlink():
            raise _Refused(f"its metric {key} is a link")
        points: list[Point] = []
        with file.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                words = line.split()
                if not words:
                    continue
                try:
                    value = float(words[1])
                    step = int(words[2]) if len(words) > 2 else number - 1  # stores before 1.0 have no step
                    points.append((step, int(words[0]) * 1000, None if value != value else value))
                except (ValueError, IndexError) as error:
                    raise _Refused(f"line {number} of its metric {key} cannot be read: {line[:60]!r}") from error
        points.sort(key=lambda point: point[1])
        metrics[clean_key(key)] = points
    run_id = meta.get("run_id") or meta.get("run_uuid") or folder.name
    status = meta.get("status", "3")
    return _build(
        run_id,
        experiment,
        name=meta.get("run_name"),
        status=STATUS_NUMBERS.get(int(status), "KILLED") if status.isdigit() else status,
        start=_to_int(meta.get("start_time")),
        end=_to_int(meta.get("end_time")),
        params=params,
        tags=tags,
        metrics=metrics,
        uri=meta.get("artifact_uri"),
        roots=[*roots],
    )


def _to_int(text: str | None) -> int | None:
    return int(text) if text and text.lstrip("-").isdigit() else None


# -- registered versions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredVersion:
    """A model version in MLflow's registry.

    Attributes
    ----------
    name, version, stage, description
        As MLflow has them.
    run_id
        MLflow's id of the run that made it, or None.
    folder
        The model's folder, if it is below the store; else None.
    """

    name: str
    version: int
    stage: str
    description: str | None
    run_id: str | None
    folder: Path | None


def read_registered_versions(
    source: str | os.PathLike[str], artifact_root: str | os.PathLike[str] | None = None
) -> list[RegisteredVersion]:
    """Return the registered versions of a store, those of one name oldest first, for whoever registers them here."""
    kind, path = find_store(source)
    roots = [path.parent if kind == "sqlite" else path]
    if artifact_root is not None:
        roots.append(Path(artifact_root).expanduser().resolve())
    found = []
    for row in _versions_of_database(path) if kind == "sqlite" else _versions_of_folder(path):
        stage, run_id = str(row.get("current_stage") or "None"), row.get("run_id") or None
        if stage == "Deleted_Internal":
            continue
        uri = row.get("storage_location") or row.get("source")
        try:
            folder = find_artifacts(uri, str(run_id), roots) if uri and not str(uri).startswith("models:") else None
        except _Refused:
            folder = None
        found.append(
            RegisteredVersion(
                name=str(row["name"]),
                version=int(row["version"]),
                stage=stage,
                description=row.get("description") or None,
                run_id=run_id,
                folder=folder,
            )
        )
    return sorted(found, key=lambda item: (item.name, item.version))


def _versions_of_database(path: Path) -> list[dict[str, Any]]:
    connection = _open(path)
    try:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "model_versions" not in tables:
            return []
        return [dict(row) for row in connection.execute("SELECT * FROM model_versions")]
    finally:
        connection.close()


def _versions_of_folder(path: Path) -> Iterator[dict[str, Any]]:
    """Yield what each models/NAME/version-N/meta.yaml says; of one with an odd description, all but that."""
    for file in path.glob("models/*/version-*/meta.yaml"):
        number = file.parent.name.removeprefix("version-")
        if file.parent.is_symlink() or file.parent.parent.is_symlink() or not number.isdecimal():
            continue
        try:
            text = _read_text(file)
            try:
                meta = read_flat_yaml(text)
            except _Refused:
                plain = ("current_stage:", "name:", "run_id:", "source:", "storage_location:")
                meta = read_flat_yaml("\n".join(line for line in text.splitlines() if line.startswith(plain)))
        except _Refused:
            continue
        yield (
            {"name": file.parent.parent.name}
            | {key: value for key, value in meta.items() if value}
            | {"version": number}
        )
