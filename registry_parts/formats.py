"""How models become bytes and come back.

    >>> import io
    >>> file = io.BytesIO()
    >>> dump_model({"a": 1}, file, "pickle")
    >>> load_object(io.BytesIO(file.getvalue()), "pickle")
    {'a': 1}

Vocabulary: a *serializer* is a named way of storing a model; the *origin* of bytes is "object" when this library
serialized them, "file" or "import" when they came from outside.

Loading a pickle, which joblib and cloudpickle files are too, is running a program: whoever wrote the file decides what
happens. The safe ways are skops, whose types are checked against a list of allowed ones, and ONNX, which holds no code.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import PurePath
from typing import IO, Any

from errors import ArtifactError
from values import InvalidTypeError, InvalidValueError, shorten

__all__ = [
    "EXECUTES_CODE",
    "FILE_NAMES",
    "SERIALIZERS",
    "check_serializer",
    "dump_model",
    "load_object",
    "load_verified",
    "read_onnx",
    "serializer_of_path",
]

# Name of the one file of a serialized object; a file or folder given as it is keeps its own names.
FILE_NAMES: Mapping[str, str] = {
    "joblib": "model.joblib",
    "pickle": "model.pkl",
    "cloudpickle": "model.pkl",
    "skops": "model.skops",
    "onnx": "model.onnx",
}

SERIALIZERS = (*FILE_NAMES, "file", "folder")

EXECUTES_CODE = frozenset({"joblib", "pickle", "cloudpickle"})

_BY_SUFFIX = {
    ".joblib": "joblib",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".skops": "skops",
    ".onnx": "onnx",
}

PICKLES = frozenset({"joblib", "pickle"})  # they store classes and functions by name only

PICKLE_PROTOCOL = 5
VIEWED_BYTES = 1 << 20  # smaller arrays are copied: a view keeps the memory of the whole file alive


def check_serializer(value: object) -> str:
    """Return the name of a serializer, or say which there are."""
    if isinstance(value, str) and value in SERIALIZERS:
        return "".join(value)
    raise InvalidValueError(f"serializer must be one of {', '.join(map(repr, SERIALIZERS))}, got {shorten(value)}")


def serializer_of_path(path: str) -> str:
    """Return the serializer that a file name's ending tells, "file" for all others."""
    return _BY_SUFFIX.get(PurePath(path).suffix.lower(), "file")


def _needed(package: str, what: str) -> ArtifactError:
    return ArtifactError(f"{what} needs the package {package}: install it with  pip install {package}")


def dump_model(model: object, file: IO[bytes] | io.RawIOBase, serializer: str) -> None:
    """Write a model into a file-like object.

    Raises
    ------
    InvalidTypeError
        If the model cannot be stored that way (a lambda inside a pickle, ...); the message says why.
    ArtifactError
        If the serializer's package is not installed.
    """
    if serializer not in FILE_NAMES:
        raise InvalidValueError(f"a model object cannot be stored as {serializer!r}; use register_file() for files")
    try:
        _DUMPERS[serializer](model, file)
    except ArtifactError:
        raise
    except (pickle.PicklingError, AttributeError, TypeError, RecursionError, NotImplementedError, ValueError) as error:
        text = " ".join(str(error).split())[:300]
        remedy = "; cloudpickle also stores lambdas and functions of a notebook" if serializer in PICKLES else ""
        raise InvalidTypeError(
            f"a {type(model).__name__} cannot be stored by the serializer {serializer!r}: {text}{remedy}"
        ) from error


def _dump_joblib(model: object, file: Any) -> None:
    import joblib

    joblib.dump(model, file, protocol=PICKLE_PROTOCOL)


def _dump_pickle(model: object, file: Any) -> None:
    pickle.dump(model, file, protocol=PICKLE_PROTOCOL)


def _dump_cloudpickle(model: object, file: Any) -> None:
    try:
        import cloudpickle  # type: ignore[import-untyped]
    except ImportError as error:
        raise _needed("cloudpickle", "the serializer 'cloudpickle'") from error
    cloudpickle.dump(model, file, protocol=PICKLE_PROTOCOL)


def _dump_skops(model: object, file: Any) -> None:
    try:
        import skops.io
    except ImportError as error:
        raise _needed("skops", "the serializer 'skops'") from error
    skops.io.dump(model, file)


def _dump_onnx(model: object, file: Any) -> None:
    if isinstance(model, bytes | bytearray | memoryview):
        file.write(model)
    elif callable(getattr(model, "SerializeToString", None)):
        file.write(model.SerializeToString())  # type: ignore[attr-defined]
    else:
        raise InvalidTypeError(f"'onnx' stores an onnx.ModelProto or its bytes, got {type(model).__name__}")


_DUMPERS: Mapping[str, Callable[[object, Any], None]] = {
    "joblib": _dump_joblib,
    "pickle": _dump_pickle,
    "cloudpickle": _dump_cloudpickle,
    "skops": _dump_skops,
    "onnx": _dump_onnx,
}


def load_object(buffer: Any, serializer: str, *, trusted_types: Sequence[str] | None = None) -> Any:
    """Load a model from a buffer whose bytes were verified. For pickles this runs what they say.

    Parameters
    ----------
    buffer : BytesIO, mmap or the like
        At its beginning.
    serializer : str
    trusted_types : sequence of str, optional
        skops only: types beyond its own list of harmless ones that may be loaded.

    Raises
    ------
    ArtifactError
        If skops finds a type that is not trusted, or a package is missing.
    """
    if serializer == "joblib":
        return _load_joblib(buffer)
    if serializer in {"pickle", "cloudpickle"}:
        # From memory, not from a file: pickle.load() would first copy each large array out of it.
        with memoryview(buffer) if isinstance(buffer, mmap.mmap) else buffer.getbuffer() as data:
            return pickle.loads(data)  # noqa: S301 - verified bytes of a trusted origin: see load_model
    if serializer == "skops":
        return _load_skops(buffer.read(), list(trusted_types or ()))
    if serializer == "onnx":
        try:
            import onnx
        except ImportError as error:
            raise _needed("onnx", "loading an ONNX model") from error
        return read_onnx(onnx, buffer.read())
    raise InvalidValueError(f"no loader for the serializer {serializer!r}")


def _load_joblib(buffer: Any) -> Any:
    """Load a joblib file; the large arrays of one that is in anonymous memory stay where they are.

    That saves a copy of the model, in time and in memory. A joblib that does not offer it loads in its own way.
    """
    import joblib

    unpickler = None
    if isinstance(buffer, mmap.mmap) and buffer[:1] == b"\x80":  # neither compressed nor older than protocol 2
        with suppress(ImportError, TypeError):
            unpickler = _viewing_unpickler()("", buffer, ensure_native_byte_order=True)
    return joblib.load(buffer) if unpickler is None else unpickler.load()


@lru_cache(maxsize=1)
def _viewing_unpickler() -> Any:
    """Return joblib's unpickler with arrays that are views of the file's memory, which must be private and writable."""
    import numpy as np
    from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

    class ViewedArray(NumpyArrayWrapper):  # type: ignore[misc]
        def read_array(self, unpickler: Any, *arguments: Any, **settings: Any) -> Any:
            memory, dtype = unpickler.file_handle, self.dtype
            size = math.prod(self.shape) * dtype.itemsize
            aligned = getattr(self, "numpy_array_alignment_bytes", None) is not None
            here = memory.tell()
            if dtype.hasobject or not (dtype.isnative and aligned and VIEWED_BYTES <= size < len(memory) - here):
                return super().read_array(unpickler, *arguments, **settings)
            start = here + 1 + memory[here]  # a byte that says how much padding follows it
            flat = np.frombuffer(memory, dtype, math.prod(self.shape), start)
            memory.seek(start + size)
            return flat.reshape(self.shape[::-1]).transpose() if self.order == "F" else flat.reshape(self.shape)

    class ViewingUnpickler(NumpyUnpickler):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
                return ViewedArray
            return super().find_class(module, name)

    return ViewingUnpickler


def read_onnx(onnx: Any, data: bytes) -> Any:
    """Return the model of an ONNX file, by the onnx package; other files that it names stay closed.

    Protobuf reads much that is none: an empty file is a message without fields. Every ONNX model has an IR version.
    """
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own errors, whichever protobuf is installed
        raise ArtifactError(f"the file is not an ONNX file: {' '.join(str(error).split())[:200]}") from error
    if not model.ir_version:
        raise ArtifactError("the file is not an ONNX file: it names no IR version")
    return model


def load_verified(buffer: Any, serializer: str, label: str, *, trusted_types: Sequence[str] | None = None) -> Any:
    """Load a model from a buffer whose hash was checked; an unreadable file is an error that names the version."""
    try:
        return load_object(buffer, serializer, trusted_types=trusted_types)
    except ArtifactError as error:
        raise ArtifactError(f"{label}: {error}") from error
    except (ModuleNotFoundError, ImportError, AttributeError) as error:
        remedy = "install or import it first"
        if "__main__" in str(error):
            remedy = (
                "it was defined in the notebook or script that registered the model: define it here first, "
                "or register the model with serializer='cloudpickle', which stores it too"
            )
        raise ArtifactError(f"{label} is intact, but what it is made of is missing here: {error}; {remedy}") from error
    except (pickle.UnpicklingError, EOFError) as error:
        remedy = "" if serializer == "joblib" else "; a file that joblib wrote is registered with serializer='joblib'"
        raise ArtifactError(f"{label} is not a {serializer} file: {str(error)[:200]}{remedy}") from error
    except MemoryError:
        raise
    except Exception as error:  # a file of another kind, or a class that refuses its state
        raise ArtifactError(
            f"{label} is intact, but loading it failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error


def _load_skops(data: bytes, trusted: list[str]) -> Any:
    try:
        import skops.io
        from skops.io.exceptions import UntrustedTypesFoundException
    except ImportError as error:
        raise _needed("skops", "loading a skops model") from error
    try:
        untrusted = [name for name in skops.io.get_untrusted_types(data=data) if name not in trusted]
        if untrusted:
            raise ArtifactError(
                f"the skops file has types that are not trusted: {', '.join(sorted(untrusted)[:20])}; "
                "if you trust them, name them in trusted_types"
            )
        return skops.io.loads(data, trusted=trusted)
    except UntrustedTypesFoundException as error:
        raise ArtifactError(f"the skops file has types that are not trusted: {str(error)[:300]}") from error
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ArtifactError(f"the skops file cannot be read: {str(error)[:300]}") from error
