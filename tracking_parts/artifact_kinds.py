"""What can be stored with a run, and how each kind comes back: files, text, JSON, frames, figures, models."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts import ArtifactStore, StoredBlob, check_artifact_path
from errors import ArtifactError
from lazy_dataclass import dataclass
from tracking_parts.records import Artifact
from values import check_choice, decode_json, encode_json, shorten

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS", "Stored", "load", "preview", "store"]

KINDS = ("file", "text", "json", "dataframe", "array", "plotly", "image", "model")
JSON_MAX_BYTES = 200_000_000  # of a JSON artifact
_TEXT_SUFFIXES = {
    ".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log", ".py", ".sql",
    ".html", ".xml", ".rst", ".sh", ".r", ".diff", ".patch",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """A file that is in the store and not yet named by a run."""

    path: str
    kind: str
    blob: StoredBlob
    details: dict[str, Any] = field(default_factory=dict)


def _type_of(value: object) -> str:
    """Return module and name of a value's class, so that nothing has to be imported to recognise it."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _kind_of(value: object) -> str:
    kind = _type_of(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return "file"
    if kind.startswith("pandas.") and hasattr(value, "columns"):
        return "dataframe"
    if kind.startswith("pandas.") and hasattr(value, "to_frame") and hasattr(value, "index"):
        return "dataframe"
    if kind == "numpy.ndarray":
        return "array"
    if any(base.__module__.startswith("plotly.") and base.__name__ == "BaseFigure" for base in type(value).__mro__):
        return "plotly"
    if any(base.__module__ == "matplotlib.figure" for base in type(value).__mro__):
        return "image"
    if any(base.__module__ == "PIL.Image" for base in type(value).__mro__):
        return "image"
    if isinstance(value, Mapping | list | tuple) or value is None or isinstance(value, bool | int | float):
        return "json"
    return "model"


def store(artifacts: ArtifactStore, value: Any, name: str | None, kind: str | None) -> list[Stored]:
    """Put a file, a folder or an object into the store.

    Parameters
    ----------
    artifacts : ArtifactStore
    value : object
        A string or path names a file or folder.
    name : str or None
        Path within the run.
    kind : str or None
        One of `KINDS`, to overrule the guess.
    """
    if kind is not None:
        check_choice(kind, "kind", KINDS)
    if isinstance(value, str | os.PathLike):
        return _store_path(artifacts, value, name, kind or "file")
    kind = kind or _kind_of(value)
    if kind == "file" and name is None:
        raise ValueError("bytes need a name, such as name='weights.bin'")
    if kind == "json":
        path = name or "data.json"
        text = encode_json(value, path, max_bytes=JSON_MAX_BYTES)
        return [Stored(path, kind, artifacts.put_bytes(text.encode()))]
    if kind == "dataframe":
        return [_store_frame(artifacts, value, name)]
    if kind == "array":
        return [_store_array(artifacts, value, name or "array.npy")]
    if kind == "plotly":
        data = value.to_json().encode()
        return [Stored(name or "figure.plotly.json", kind, artifacts.put_bytes(data))]
    if kind == "image":
        return [_store_image(artifacts, value, name or "figure.png")]
    if kind == "model":
        return [_store_model(artifacts, value, name or "model.joblib")]
    data = value.encode() if isinstance(value, str) else bytes(value)
    assert name is not None
    return [Stored(name, kind, artifacts.put_bytes(data))]


def _store_path(artifacts: ArtifactStore, value: str | os.PathLike[str], name: str | None, kind: str) -> list[Stored]:
    if "\x00" in os.fspath(value):
        raise ValueError(f"{shorten(os.fspath(value))} is not a path: it has a NUL character")
    path = Path(value)
    if os.path.isdir(path):  # unlike Path's, it has an answer for every path
        folder = check_artifact_path(path.resolve().name, "artifact name") if name is None else name
        return [
            Stored(check_artifact_path(f"{folder}/{relative}"), kind, blob)
            for relative, blob in artifacts.put_tree(path)
        ]
    if not os.path.lexists(path):
        raise ArtifactError(f"there is no file {shorten(os.fspath(value))}; to store text itself use log_text()")
    stored_name = check_artifact_path(path.name, "artifact name") if name is None else name
    return [Stored(stored_name, kind, artifacts.put_file(path))]


def _store_frame(artifacts: ArtifactStore, value: Any, name: str | None) -> Stored:
    frame = value if hasattr(value, "columns") else value.to_frame()
    as_csv = name is not None and name.endswith(".csv")
    if not as_csv and "pyarrow" not in sys.modules:
        try:
            import pyarrow  # noqa: F401 - asks whether it is there
        except ImportError:
            as_csv = True
    details = {"n_rows": len(frame), "n_columns": len(frame.columns), "format": "csv" if as_csv else "parquet"}
    path = name or ("data.csv" if as_csv else "data.parquet")
    with artifacts.writer() as file:
        if as_csv:
            file.write(frame.to_csv(index=False).encode())
        else:
            buffer = io.BytesIO()  # Parquet's writer wants to seek
            frame.to_parquet(buffer)
            file.write(buffer.getbuffer())
    return Stored(path, "dataframe", file.blob, details)


def _store_array(artifacts: ArtifactStore, value: Any, path: str) -> Stored:
    import numpy as np

    if value.dtype.hasobject:
        raise TypeError("an array of Python objects cannot be stored as .npy; store it with kind='model' or as JSON")
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    details = {"shape": list(value.shape), "dtype": str(value.dtype)}
    return Stored(path, "array", artifacts.put_bytes(buffer.getbuffer()), details)


def _store_image(artifacts: ArtifactStore, value: Any, path: str) -> Stored:
    buffer = io.BytesIO()
    suffix = Path(path).suffix.lower().lstrip(".") or "png"
    if hasattr(value, "savefig"):
        value.savefig(buffer, format=suffix, bbox_inches="tight")
    else:
        value.save(buffer, format={"jpg": "JPEG"}.get(suffix, suffix.upper()))
    return Stored(path, "image", artifacts.put_bytes(buffer.getbuffer()))


def _store_model(artifacts: ArtifactStore, value: Any, path: str) -> Stored:
    import joblib

    details = {"class": _type_of(value)}
    try:
        with artifacts.writer() as file:
            joblib.dump(value, file)
    except (TypeError, AttributeError, ImportError, ValueError) as error:
        raise ArtifactError(f"a {_type_of(value)} cannot be stored with joblib: {error}") from error
    except Exception as error:
        if type(error).__name__ != "PicklingError":
            raise
        raise ArtifactError(f"a {_type_of(value)} cannot be stored with joblib: {error}") from error
    return Stored(path, "model", file.blob, details)


# -- coming back -------------------------------------------------------------------------------------


def load(artifacts: ArtifactStore, artifact: Artifact) -> Any:
    """Return the object of an artifact; the bytes are checked against their hash before anything reads them."""
    buffer = artifacts.open_verified(artifact.sha256)
    kind = artifact.kind
    if kind == "text":
        return buffer.getvalue().decode()
    if kind == "json":
        return decode_json(buffer.getvalue().decode())
    if kind == "dataframe":
        return _load_frame(buffer, artifact)
    if kind == "array":
        import numpy as np

        return np.load(buffer, allow_pickle=False)
    if kind == "plotly":
        from charts.tracking import figure_from_json

        return figure_from_json(buffer.getvalue().decode())
    if kind == "model":
        import joblib

        return joblib.load(buffer)  # only objects that log_artifact() itself wrote have this kind
    return buffer.getvalue()


def _load_frame(buffer: io.BytesIO, artifact: Artifact) -> pd.DataFrame:
    import pandas as pd

    if artifact.details.get("format") == "csv":
        return pd.read_csv(buffer)
    return pd.read_parquet(buffer)


def preview(artifacts: ArtifactStore, artifact: Artifact, max_bytes: int) -> str | None:
    """Return the beginning of an artifact as text, or None; nothing is unpickled."""
    if artifact.kind == "dataframe" or artifact.path.endswith(".parquet"):
        if artifact.size_bytes > 50_000_000:
            return None
        frame = _load_frame(artifacts.open_verified(artifact.sha256), artifact)
        return str(frame.head(10).to_csv(index=False))[:max_bytes]
    looks_like_text = (
        artifact.kind in ("text", "json", "plotly") or Path(artifact.path).suffix.lower() in _TEXT_SUFFIXES
    )
    if not looks_like_text:
        return None
    data = artifacts.read_bytes(artifact.sha256)[: max_bytes + 4]
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if error.start < len(data) - 4:
            return None
        text = data[: error.start].decode()
    if artifact.kind == "json" and artifact.size_bytes <= max_bytes:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return text[:max_bytes]
