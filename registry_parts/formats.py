"""How models become bytes and come back, and what a pickle would import, told without running it.

    >>> import io, pickle
    >>> from datetime import date
    >>> data = pickle.dumps(date(2026, 1, 1))
    >>> [str(found) for found in list_pickle_imports(io.BytesIO(data)).imports]
    ['datetime.date']

Vocabulary: a *serializer* is a named way of storing a model; the *origin* of bytes is "object" when this library
serialized them, "file" or "import" when they came from outside.

Loading a pickle, which joblib and cloudpickle files are too, is running a program: whoever wrote the file decides what
happens. A list of imports shows what such a program reaches for; it is never a proof that it is harmless. The safe
ways are skops, whose types are checked against a list of allowed ones, and ONNX, which holds no code.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import IO, Any

from db import ArtifactError
from values import InvalidTypeError, InvalidValueError, shorten

__all__ = [
    "EXECUTES_CODE",
    "SERIALIZERS",
    "ArtifactInspection",
    "FoundImport",
    "PickleImports",
    "check_serializer",
    "dump_model",
    "inspect_files",
    "list_pickle_imports",
    "load_object",
    "load_verified",
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
PICKLE_PROTOCOL = 5
UNPACKED_LIMIT_BYTES = 1 << 30  # a compressed pickle is read no further than this when it is inspected
OPERATION_LIMIT = 20_000_000  # opcodes read of one file
NESTING_LIMIT = 50  # pickles inside pickles (arrays of objects)


# -- writing and loading -----------------------------------------------------------------------------


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
        raise InvalidTypeError(
            f"a {type(model).__name__} cannot be stored by the serializer {serializer!r}: {text}; "
            "cloudpickle also stores lambdas and functions of a notebook"
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
    file.write(skops.io.dumps(model))


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
        import joblib

        return joblib.load(buffer)
    if serializer in {"pickle", "cloudpickle"}:
        return pickle.load(buffer)  # noqa: S301 - verified bytes of a trusted origin: see load_model
    if serializer == "skops":
        return _load_skops(buffer.read(), list(trusted_types or ()))
    if serializer == "onnx":
        try:
            import onnx
        except ImportError as error:
            raise _needed("onnx", "loading an ONNX model") from error
        return onnx.load_model_from_string(buffer.read())
    raise InvalidValueError(f"no loader for the serializer {serializer!r}")


def load_verified(buffer: Any, serializer: str, label: str, *, trusted_types: Sequence[str] | None = None) -> Any:
    """Load a model from a buffer whose hash was checked; an unreadable file is an error that names the version."""
    try:
        return load_object(buffer, serializer, trusted_types=trusted_types)
    except ArtifactError as error:
        raise ArtifactError(f"{label}: {error}") from error
    except (ModuleNotFoundError, ImportError, AttributeError) as error:
        raise ArtifactError(
            f"{label} is intact, but what it is made of is missing here: {error}; install or import it first"
        ) from error
    except (pickle.UnpicklingError, EOFError) as error:
        raise ArtifactError(f"{label} is not a {serializer} file: {str(error)[:200]}") from error


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


# -- looking into pickles ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FoundImport:
    """One thing that a pickle would import.

    Attributes
    ----------
    module, name : str
        ``?`` where the file computes it, which honest files do not do.
    verdict : {"listed as dangerous", "listed as harmless", "not listed"}
        What the scanner's lists say of it; "not listed" without a scanner. It is no judgement of the file.
    """

    module: str
    name: str
    verdict: str = "not listed"

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PickleImports:
    """What a pickle would import.

    Attributes
    ----------
    imports : tuple of FoundImport
        Sorted.
    is_complete : bool
        False: the file could not be read to its end, and may import more.
    reason : str or None
        Why it is not complete.
    """

    imports: tuple[FoundImport, ...]
    is_complete: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactInspection:
    """What is inside the files of a version; nothing of it was run.

    Attributes
    ----------
    name, version, serializer, origin : str
    executes_code : bool
        Loading runs what the file says.
    imports : tuple of FoundImport
        What loading would import (pickles), or the types that skops does not know to be harmless.
    is_complete : bool
        False: something could not be read, and may hold more.
    notes : tuple of str
        What was not read, what was found odd, and what this list is not.
    scanner : str or None
        Name and version of the scanner whose lists were asked.
    files : tuple of (path, size in bytes)
    """

    name: str
    version: str
    serializer: str
    origin: str
    executes_code: bool
    imports: tuple[FoundImport, ...]
    is_complete: bool
    notes: tuple[str, ...]
    scanner: str | None
    files: tuple[tuple[str, int], ...]

    @property
    def dangerous(self) -> tuple[FoundImport, ...]:
        """The imports that the scanner lists as dangerous. Empty does not mean harmless."""
        return tuple(found for found in self.imports if found.verdict == "listed as dangerous")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


class _Global:
    """A name that the pickle imports; never resolved."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Made:
    """What calling something would make; remembers only the callee, its arguments and its state."""

    def __init__(self, callee: Any, arguments: Any = None) -> None:
        self.callee, self.arguments = callee, arguments
        self.state: Any = None


_MARK = object()
_UNKNOWN = object()


class _PickleReader:
    """Follows a pickle's stack with inert stand-ins: no import, no call, no hashing of what it holds."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.found: set[tuple[str, str]] = set()
        self.operations = 0

    def read(self, depth: int = 0) -> None:
        """Read one pickle, from here to its STOP."""
        if depth > NESTING_LIMIT:
            raise ValueError("pickles are nested too deeply")
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        for operation, argument, _ in pickletools.genops(self.file):
            self.operations += 1
            if self.operations > OPERATION_LIMIT:
                raise ValueError(f"more than {OPERATION_LIMIT:,} operations")
            self._follow(operation, argument, stack, memo)
            if operation.name == "BUILD":
                self._skip_array(stack[-1] if stack else None, depth)

    def _follow(self, operation: Any, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
        name = operation.name
        if name in {"GLOBAL", "INST"}:
            module, _, attribute = str(argument).partition(" ")
            self.found.add((module, attribute))
            if name == "INST":
                _pop_to_mark(stack)
                stack.append(_Made(_Global(module, attribute)))
            else:
                stack.append(_Global(module, attribute))
        elif name == "STACK_GLOBAL":
            attribute, module = _pop(stack), _pop(stack)
            pair = tuple(text if isinstance(text, str) else "?" for text in (module, attribute))
            self.found.add((pair[0], pair[1]))
            stack.append(_Global(pair[0], pair[1]))
        elif name in {"EXT1", "EXT2", "EXT4"}:
            self.found.add(("copyreg", f"extension {argument}"))
            stack.append(_UNKNOWN)
        elif name in {"PERSID", "BINPERSID"}:
            if name == "BINPERSID":
                _pop(stack)
            self.found.add(("?", "persistent id"))
            stack.append(_UNKNOWN)
        elif name in {"REDUCE", "NEWOBJ"}:
            arguments, callee = _pop(stack), _pop(stack)
            stack.append(_Made(callee, arguments))
        elif name == "NEWOBJ_EX":
            _pop(stack)
            arguments, callee = _pop(stack), _pop(stack)
            stack.append(_Made(callee, arguments))
        elif name == "OBJ":
            items = _pop_to_mark(stack)
            stack.append(_Made(items[0] if items else _UNKNOWN, tuple(items[1:])))
        elif name == "BUILD":
            state = _pop(stack)
            if stack and isinstance(stack[-1], _Made):
                stack[-1].state = state
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1] if stack else _UNKNOWN
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            memo[int(argument)] = stack[-1] if stack else _UNKNOWN
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            stack.append(memo.get(int(argument), _UNKNOWN))
        else:
            _follow_plain(name, argument, stack)

    def _skip_array(self, built: Any, depth: int) -> None:
        """Step over the raw bytes that joblib puts into the stream after the description of an array."""
        if not (isinstance(built, _Made) and isinstance(built.callee, _Global)):
            return
        if (built.callee.module, built.callee.name) != ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return
        state = built.state if isinstance(built.state, list) else []
        fields = {key: value for key, value in state if isinstance(key, str)}
        dtype = fields.get("dtype")
        shape = fields.get("shape")
        text = dtype.arguments[0] if isinstance(dtype, _Made) and isinstance(dtype.arguments, tuple) else None
        if not isinstance(text, str) or not isinstance(shape, tuple) or not all(type(n) is int for n in shape):
            raise ValueError("an array is described in a way that this reader does not know")
        import numpy as np

        item = np.dtype(text)
        if item.hasobject:
            self.read(depth + 1)
            return
        if fields.get("numpy_array_alignment_bytes") is not None:
            padding = self.file.read(1)
            self.file.seek(padding[0] if padding else 0, io.SEEK_CUR)
        size = item.itemsize
        for count in shape:
            size *= count
        here = self.file.tell()
        end = self.file.seek(0, io.SEEK_END)
        if size < 0 or here + size > end:
            raise ValueError("an array is longer than the file")
        self.file.seek(here + size)


def _pop(stack: list[Any]) -> Any:
    return stack.pop() if stack else _UNKNOWN


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while stack:
        item = stack.pop()
        if item is _MARK:
            break
        items.append(item)
    items.reverse()
    return items


_TEXTS = frozenset(
    {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE", "STRING", "BINSTRING", "SHORT_BINSTRING"}
)
_NUMBERS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"})
_EMPTY: Mapping[str, Callable[[], Any]] = {
    "EMPTY_DICT": list,  # dicts are kept as lists of pairs: hashing nested tuples can take for ever
    "EMPTY_LIST": lambda: _UNKNOWN,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": lambda: _UNKNOWN,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def _follow_plain(name: str, argument: Any, stack: list[Any]) -> None:
    if name in _TEXTS or name in _NUMBERS:
        stack.append(argument)
    elif name in _EMPTY:
        stack.append(_EMPTY[name]())
    elif name == "MARK":
        stack.append(_MARK)
    elif name in _TUPLES:
        items = [_pop(stack) for _ in range(_TUPLES[name])]
        stack.append(tuple(reversed(items)))
    elif name == "TUPLE":
        stack.append(tuple(_pop_to_mark(stack)))
    elif name in {"SETITEM", "SETITEMS"}:
        items = _pop_to_mark(stack) if name == "SETITEMS" else [_pop(stack), _pop(stack)][::-1]
        if stack and isinstance(stack[-1], list):
            stack[-1].extend(zip(items[::2], items[1::2], strict=False))
    elif name == "DICT":
        items = _pop_to_mark(stack)
        stack.append(list(zip(items[::2], items[1::2], strict=False)))
    elif name in {"APPENDS", "ADDITEMS"}:
        _pop_to_mark(stack)
    elif name == "APPEND":
        _pop(stack)
    elif name in {"LIST", "FROZENSET"}:
        _pop_to_mark(stack)
        stack.append(_UNKNOWN)
    elif name in {"POP", "STOP"}:
        _pop(stack)
    elif name == "POP_MARK":
        _pop_to_mark(stack)
    elif name == "DUP":
        stack.append(stack[-1] if stack else _UNKNOWN)
    elif name in {"PROTO", "FRAME", "READONLY_BUFFER"}:
        return
    else:  # numbers and bytes of no interest here
        stack.append(_UNKNOWN)


def list_pickle_imports(file: IO[bytes]) -> PickleImports:
    """Return what a pickle or joblib file would import, without importing or calling anything.

    Unlike scanners that stop at the first array of a joblib file, it steps over the raw bytes of arrays, and reads
    pickles that follow one another.

    Notes
    -----
    It tells the names the file asks for. What these do with their arguments it does not tell: a file whose names
    all look harmless may still do harm.
    """
    reader = _PickleReader(file)
    reason = None
    try:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        if size == 0:
            reason = "the file is empty"
        while file.tell() < size:
            reader.read()
    except Exception as error:  # noqa: BLE001 - a hostile file may break the reader in any way
        reason = f"not read beyond byte {file.tell():,}: {' '.join(str(error).split())[:200] or type(error).__name__}"
    found = tuple(FoundImport(module=module, name=name) for module, name in sorted(reader.found))
    return PickleImports(imports=found, is_complete=reason is None, reason=reason)


_COMPRESSED: Sequence[tuple[bytes, Callable[[IO[bytes]], Any]]] = (
    (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    (b"BZh", lambda file: bz2.BZ2File(file)),
    (b"\xfd7zXZ", lzma.LZMAFile),
    (b"]\x00", lzma.LZMAFile),
)
_ZLIB_STARTS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def _unpack(data: bytes) -> tuple[bytes, str | None]:
    """Return the bytes of a compressed joblib file, up to a limit, and why they are not all of it."""
    try:
        if data.startswith(_ZLIB_STARTS):
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(data, UNPACKED_LIMIT_BYTES)
            return unpacked, None if unpacker.eof else "it unpacks to more than is read"
        for start, opener in _COMPRESSED:
            if data.startswith(start):
                with opener(io.BytesIO(data)) as file:
                    unpacked = file.read(UNPACKED_LIMIT_BYTES)
                    return unpacked, "it unpacks to more than is read" if file.read(1) else None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        return b"", f"it cannot be unpacked: {str(error)[:200]}"
    return data, None


# -- asking the scanner ------------------------------------------------------------------------------


def _scanner() -> tuple[Any, str] | None:
    """Return picklescan and its version, if it is installed."""
    try:
        from importlib.metadata import version

        from picklescan import scanner  # type: ignore[import-untyped]

        return scanner, f"picklescan {version('picklescan')}"
    except ImportError:
        return None


def _judge(imports: Iterable[FoundImport]) -> tuple[tuple[FoundImport, ...], str | None]:
    """Ask the scanner's lists about each import.

    The scanner is shown a harmless pickle made only of these imports: it would stop at the first array of a joblib
    file and report what comes after as clean.
    """
    found = sorted(set(imports))
    scanner = _scanner()
    if scanner is None:
        return tuple(found), None
    module, label = scanner
    judged = []
    for item in found:
        if any("\n" in text or not text.isascii() for text in (item.module, item.name)):
            judged.append(item)
            continue
        stream = b"c" + item.module.encode() + b"\n" + item.name.encode() + b"\n."
        result = module.scan_pickle_bytes(io.BytesIO(stream), str(item))
        levels = {found.safety.value for found in result.globals}
        verdict = (
            "listed as dangerous"
            if "dangerous" in levels
            else "listed as harmless"
            if "innocuous" in levels
            else "not listed"
        )
        judged.append(FoundImport(module=item.module, name=item.name, verdict=verdict))
    return tuple(judged), label


def inspect_files(
    name: str, version: str, serializer: str, origin: str, files: Sequence[tuple[str, int, bytes]]
) -> ArtifactInspection:
    """Return what the verified files (path, size, bytes) of a version hold; nothing is run."""
    imports: list[FoundImport] = []
    notes: list[str] = []
    complete = True
    runs = serializer in EXECUTES_CODE
    for path, _, data in files:
        kind = serializer if serializer in FILE_NAMES else serializer_of_path(path)
        if kind in EXECUTES_CODE or (kind == "file" and _looks_like_pickle(data)):
            runs = True
            unpacked, reason = _unpack(data)
            listed = list_pickle_imports(io.BytesIO(unpacked))
            imports += listed.imports
            reason = reason or listed.reason
            if reason is not None:
                complete = False
                notes.append(f"{path}: {reason}; it may import more")
        elif kind == "skops":
            try:
                import skops.io

                for untrusted in skops.io.get_untrusted_types(data=data):
                    module, _, attribute = untrusted.rpartition(".")
                    imports.append(FoundImport(module=module, name=attribute))
            except ImportError:
                complete = False
                notes.append(f"{path}: install skops to list its types")
            except Exception as error:  # noqa: BLE001 - a hostile file may break the reader in any way
                complete = False
                notes.append(f"{path}: not readable as skops: {str(error)[:200]}")
    judged, scanner = _judge(imports)
    if runs:
        notes.append(
            "Loading runs code. This list shows what the file imports, not what it does with it: "
            "an empty or harmless-looking list is no proof of safety."
        )
        if scanner is None:
            notes.append("Install picklescan to have the imports compared with its lists of known dangerous ones.")
    return ArtifactInspection(
        name=name,
        version=version,
        serializer=serializer,
        origin=origin,
        executes_code=runs,
        imports=judged,
        is_complete=complete,
        notes=tuple(notes),
        scanner=scanner,
        files=tuple((path, size) for path, size, _ in files),
    )


def _looks_like_pickle(data: bytes) -> bool:
    return len(data) > 2 and data[0] == 0x80 and data[1] <= 5
