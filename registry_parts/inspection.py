"""What a pickle would import, told without running it.

    >>> import io, pickle
    >>> from datetime import date
    >>> data = pickle.dumps(date(2026, 1, 1))
    >>> [str(found) for found in list_pickle_imports(io.BytesIO(data)).imports]
    ['datetime.date']

Loading a pickle, which joblib and cloudpickle files are too, is running a program: whoever wrote the file decides what
happens. A list of imports shows what such a program reaches for; it is never a proof that it is harmless.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import pickletools
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import IO, Any, TypeGuard

from errors import ArtifactError
from lazy_dataclass import dataclass
from registry_parts.formats import EXECUTES_CODE, FILE_NAMES, read_onnx, serializer_of_path

__all__ = [
    "ArtifactInspection",
    "FoundImport",
    "PickleImports",
    "inspect_files",
    "list_pickle_imports",
]

UNPACKED_LIMIT_BYTES = 1 << 30  # a compressed pickle is read no further than this when it is inspected

OPERATION_LIMIT = 20_000_000  # opcodes read of one file

NESTING_LIMIT = 50  # pickles inside pickles (arrays of objects)

ARRAY_WRAPPER = ("joblib.numpy_pickle", "NumpyArrayWrapper")  # raw bytes follow it in the file, which no opcode tells

# What joblib sets in it. Any other attribute could replace one of its methods, and what is skipped with it.
ARRAY_FIELDS = frozenset({"subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes"})


# -- what was found ----------------------------------------------------------------------------------


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


# -- reading a pickle --------------------------------------------------------------------------------


class _Global:
    """A name that the pickle imports; never resolved."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    @property
    def describes_arrays(self) -> bool:
        """Whether it is joblib's class for arrays, by whatever path it is reached."""
        return self.name.rpartition(".")[2] == ARRAY_WRAPPER[1]


class _Made:
    """What calling something would make; remembers only the callee, its arguments and its state."""

    def __init__(self, callee: Any, arguments: Any = None) -> None:
        self.callee, self.arguments = callee, arguments
        self.state: Any = None

    @property
    def describes_arrays(self) -> bool:
        """Whether it is an object of joblib's class for arrays."""
        return isinstance(self.callee, _Global) and self.callee.describes_arrays


DTYPE_TEXT = re.compile(r"[|<>=]?[a-zA-Z]\d*(\[\d*[a-zA-Z]+\])?")  # as NumPy writes it: "f8", "V12", "M8[ns]"

_MARK = object()

_UNKNOWN = object()


class _PickleReader:
    """Follows a pickle's stack with inert stand-ins: no import, no call, no hashing of what it holds.

    Two readers that disagree on how many bytes an array takes see two different programs in what follows. So arrays
    are stepped over only where they are described as joblib describes them; for all else the reading ends. Pickle's
    own loader knows nothing of such arrays: it goes on where their bytes begin.
    """

    def __init__(self, file: IO[bytes], *, is_joblib: bool) -> None:
        self.file = file
        self.is_joblib = is_joblib
        self.found: set[tuple[str, str]] = set()
        self.operations = 0

    def read(self, depth: int = 0) -> None:
        """Read one pickle, from here to its STOP."""
        if depth > NESTING_LIMIT:
            raise ValueError("pickles are nested too deeply")
        stack: list[Any] = []
        memo: dict[int, Any] = {}
        frame_end = 0  # a loader takes a frame from the file whole, and goes on behind it
        for operation, argument, _ in pickletools.genops(self.file):
            self.operations += 1
            if self.operations > OPERATION_LIMIT:
                raise ValueError(f"more than {OPERATION_LIMIT:,} operations")
            here = self.file.tell()
            if operation.name == "FRAME":
                if here - 9 < frame_end:
                    raise ValueError("a frame begins inside another")
                frame_end = here + int(argument or 0)
            self._follow(operation, argument, stack, memo)
            built = stack[-1] if stack and operation.name == "BUILD" else None
            if (operation.name == "STOP" or _describes_arrays(built)) and here < frame_end:
                raise ValueError("a frame goes beyond the end of a pickle, or over an array")
            if _describes_arrays(built):
                if not self.is_joblib:
                    raise ValueError("arrays as joblib writes them; register such a file with serializer='joblib'")
                self._skip_array(built, depth)
                stack[-1] = _UNKNOWN  # the array

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
        elif name == "NEWOBJ":
            arguments = _pop(stack)
            stack.append(_Made(stack.pop() if stack else _UNKNOWN, arguments))  # the one use of ARRAY_WRAPPER
        elif name == "REDUCE":
            arguments, callee = _pop(stack), _pop(stack)
            stack.append(_Made(callee, arguments))
        elif name == "NEWOBJ_EX":
            _pop(stack)
            _pop(stack)
            stack.append(_Made(_pop(stack), _UNKNOWN))  # named arguments: not followed
        elif name == "OBJ":
            items = _pop_to_mark(stack)
            stack.append(_Made(items[0] if items else _UNKNOWN, tuple(items[1:])))
        elif name == "BUILD":
            state = _pop(stack)
            if stack and self.is_joblib:
                _set_state(stack[-1], state)
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1] if stack else _UNKNOWN
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            memo[int(argument)] = stack[-1] if stack else _UNKNOWN
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            stack.append(memo.get(int(argument), _UNKNOWN))
        else:
            _follow_plain(name, argument, stack)

    def _skip_array(self, built: _Made, depth: int) -> None:
        """Step over the raw bytes that joblib puts into the stream after the description of an array."""
        exact = (built.callee.module, built.callee.name) == ARRAY_WRAPPER
        fields = dict(built.state) if exact and isinstance(built.state, list) and built.arguments == () else {}
        dtype, shape = fields.get("dtype"), fields.get("shape")
        if not fields.keys() <= ARRAY_FIELDS or not isinstance(dtype, _Made) or not _is_shape(shape):
            raise ValueError("an array is described in a way that this reader does not know")
        item, holds_objects = _item_of(dtype)
        if holds_objects:
            self.read(depth + 1)
            return
        if fields.get("numpy_array_alignment_bytes") is not None:
            padding = self.file.read(1)
            self.file.seek(padding[0] if padding else 0, io.SEEK_CUR)
        size = item * math.prod(shape)
        here = self.file.tell()
        end = self.file.seek(0, io.SEEK_END)
        if here + size > end:
            raise ValueError("an array is longer than the file")
        self.file.seek(here + size)


def _is_shape(value: object) -> TypeGuard[tuple[int, ...]]:
    return isinstance(value, tuple) and all(type(n) is int and n >= 0 for n in value)


def _describes_arrays(item: object) -> TypeGuard[_Made]:
    return isinstance(item, _Made) and item.describes_arrays


def _set_state(item: object, state: object) -> None:
    """Follow BUILD, and end the reading where it could change how many bytes an array takes."""
    if isinstance(item, _Global):
        raise ValueError(f"{item.module}.{item.name} itself is changed")
    if not isinstance(item, _Made):
        return
    if not isinstance(item.callee, _Global):
        raise ValueError("an object whose class is computed is given a state")
    if item.state is not None and (item.describes_arrays or item.callee.name == "dtype"):
        raise ValueError("an array is described twice")
    if item.describes_arrays and not (isinstance(state, list) and all(type(key) is str for key, _ in state)):
        raise ValueError("an array is described in a way that this reader does not know")
    item.state = state


def _item_of(dtype: _Made, depth: int = 0) -> tuple[int, bool]:
    """Return the size of an array's items in bytes, and whether they are or hold Python objects.

    NumPy describes a record as "V12" and puts its fields into the state; items with objects are a pickle of their own
    in the file, so who overlooked one would overlook what it imports.
    """
    import numpy as np

    made, arguments = dtype.callee, dtype.arguments
    known = isinstance(made, _Global) and (made.module, made.name) == ("numpy", "dtype")
    if not known or not isinstance(arguments, tuple) or not arguments or depth > NESTING_LIMIT:
        raise ValueError("the type of an array is described in a way that this reader does not know")
    text, *settings = arguments
    if not isinstance(text, str) or not DTYPE_TEXT.fullmatch(text) or settings not in ([], [False, True]):
        raise ValueError("the type of an array is described in a way that this reader does not know")
    item = np.dtype(text)
    holds_objects = item.hasobject
    if dtype.state is None:
        return item.itemsize, holds_objects
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    if len(state) not in (8, 9):
        raise ValueError("the type of an array is described in a way that this reader does not know")
    parts = [state[2][0]] if isinstance(state[2], tuple) and state[2] else []
    if isinstance(state[4], list):
        parts += [field[0] for _, field in state[4] if isinstance(field, tuple) and field]
    for part in parts:
        if not isinstance(part, _Made):
            raise ValueError("a field of an array is described in a way that this reader does not know")
        holds_objects = _item_of(part, depth + 1)[1] or holds_objects
    # For texts, bytes and records NumPy goes by the size in the state, whatever the text says.
    size = item.itemsize if item.kind in "SUV" else -1
    if state[5] != size or type(state[7]) is not int or bool(state[7] & 1) != holds_objects:
        raise ValueError("the type of an array contradicts itself")
    return item.itemsize, holds_objects


def _pop(stack: list[Any]) -> Any:
    return _used(stack.pop()) if stack else _UNKNOWN


def _used(item: Any) -> Any:
    """Return an item of the stack, unless it is joblib's class for arrays, or an array without its state."""
    if isinstance(item, _Global | _Made) and item.describes_arrays:
        raise ValueError("the class that describes arrays is used in a way that this reader does not know")
    return item


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while stack:
        item = stack.pop()
        if item is _MARK:
            break
        items.append(_used(item))
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


def list_pickle_imports(file: IO[bytes], *, is_joblib: bool = True) -> PickleImports:
    """Return what a pickle or joblib file would import, without importing or calling anything.

    Unlike scanners that stop at the first array of a joblib file, it steps over the raw bytes of arrays, and reads
    pickles that follow one another.

    Parameters
    ----------
    file : binary file
    is_joblib : bool
        Whether `joblib.load` will read it; `pickle.load` sees another program in a file with arrays.

    Notes
    -----
    It tells the names the file asks for. What these do with their arguments it does not tell: a file whose names
    all look harmless may still do harm.
    """
    reader = _PickleReader(file, is_joblib=is_joblib)
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
            if unpacker.unused_data:
                return unpacked, "something follows the end of what was compressed"
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
    name: str, version: str, serializer: str, origin: str, files: Iterable[tuple[str, bytes]]
) -> ArtifactInspection:
    """Return what the verified files (path, bytes) of a version hold; nothing is run."""
    imports: list[FoundImport] = []
    notes: list[str] = []
    complete = True
    runs = serializer in EXECUTES_CODE
    sizes: list[tuple[str, int]] = []
    for path, data in files:
        sizes.append((path, len(data)))
        kind = serializer if serializer in FILE_NAMES else serializer_of_path(path)
        if kind in EXECUTES_CODE or (kind == "file" and _looks_like_pickle(data)):
            runs = True
            unpacked, reason = _unpack(data)
            listed = list_pickle_imports(io.BytesIO(unpacked), is_joblib=kind not in {"pickle", "cloudpickle"})
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
        elif kind == "onnx":
            said, readable = _describe_onnx(data)
            complete = complete and readable
            notes += [f"{path}: {sentence}" for sentence in said]
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
        files=tuple(sizes),
    )


def _describe_onnx(data: bytes) -> tuple[list[str], bool]:
    """Return what to know of an ONNX file, which holds no code, and whether it could be read."""
    try:
        import onnx
    except ImportError:
        return ["install onnx to list its operators"], False
    try:
        model = read_onnx(onnx, data)
    except ArtifactError as error:
        return [str(error)], False
    sets = [f"{item.domain or 'ai.onnx'} {item.version}" for item in model.opset_import]
    said = [f"ONNX IR {model.ir_version}, operator sets {', '.join(sets) or 'none'}"]
    foreign = sorted({item.domain for item in model.opset_import} - {"", "ai.onnx", "ai.onnx.ml"})
    if foreign:
        said.append(f"operators of {', '.join(foreign)} need a library of their own, whose code would run")
    outside = [item.name for item in model.graph.initializer if item.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        said.append(f"{len(outside):,} tensor(s) lie in other files, such as {outside[0]!r}; register the whole folder")
    return said, True


def _looks_like_pickle(data: bytes) -> bool:
    return len(data) > 2 and data[0] == 0x80 and data[1] <= 5
