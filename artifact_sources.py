"""What may be stored, and how it is opened: relative paths, regular files, folders.

    >>> check_artifact_path("weights/layer-1.npy")
    'weights/layer-1.npy'

Nothing here waits for a FIFO, reads a device, or follows a link out of the folder that was named.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from artifact_backends import one_line
from errors import ArtifactError
from values import InvalidValueError, check_text, shorten

__all__ = [
    "check_artifact_path",
    "list_tree",
    "open_regular",
]

MAX_PATH_CHARACTERS = 1_000

_FORBIDDEN_IN_PATHS = frozenset('\\:;#?*<>|"')


def check_artifact_path(value: object, field: str = "artifact path") -> str:
    """Return the relative path of a file inside a folder artifact, or say which rule it breaks.

    Parts are separated by ``/``. None may be empty, ``.`` or ``..``, begin or end with a space, end with a
    dot, contain a backslash, one of ``: ; # ? * < > | "`` or an invisible character; the first may not begin
    with ``.tmp`` (unfinished files do).

    >>> check_artifact_path("weights/layer-1.npy")
    'weights/layer-1.npy'
    >>> check_artifact_path("../x")
    Traceback (most recent call last):
    ...
    values.InvalidValueError: artifact path has the part '..': '../x'; name files inside the folder only
    """
    text = check_text(value, field, max_length=MAX_PATH_CHARACTERS)
    if not text:
        raise InvalidValueError(f"{field} is empty; name a file such as 'plots/roc.png'")
    if text.startswith("/"):
        raise InvalidValueError(f"{field} is absolute: {shorten(text)}; give a path relative to the artifact")
    for character in text:
        if character in _FORBIDDEN_IN_PATHS or not (character.isprintable()):
            raise InvalidValueError(f"{field} may not contain {character!r}: {shorten(text)}")
    for part in text.split("/"):
        if part in {"", ".", ".."}:
            raise InvalidValueError(
                f"{field} has the part {part!r}: {shorten(text)}; name files inside the folder only"
            )
        if part != part.strip() or part.endswith("."):
            raise InvalidValueError(f"{field} has a part with a space at an end or a dot last: {shorten(text)}")
        if len(part.encode()) > 255:
            raise InvalidValueError(f"{field} has a part of over 255 bytes, which file systems refuse: {shorten(text)}")
    if text.startswith(".tmp"):
        raise InvalidValueError(f"{field} may not begin with '.tmp', as unfinished files do: {shorten(text)}")
    return text


@contextmanager
def open_regular(path: Path, *, follow: bool = True) -> Iterator[IO[bytes]]:
    """Open a regular file for reading without ever waiting for a FIFO or reading a device."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    if not follow:
        flags |= getattr(os, "O_NOFOLLOW", 0)
    try:
        if path.is_dir():
            raise ArtifactError(f"{path} is a folder; store it as a folder, or name a file in it")
        descriptor = os.open(path, flags)
    except ValueError as error:  # a NUL character in the path
        raise InvalidValueError(f"{shorten(str(path))} is not a path: {error}") from error
    except ArtifactError:
        raise
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {one_line(error)}") from error
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ArtifactError(f"{path} is not a regular file (a FIFO, socket or device); only files are stored")
        yield file


def list_tree(root: Path) -> list[tuple[str, Path]]:
    """Return (relative path, real file) of all files below a folder, or refuse the folder."""
    if not root.is_dir():
        raise ArtifactError(f"{root} is not a folder")
    real_root = os.path.realpath(root)
    found: list[tuple[str, Path]] = []

    def refuse(error: OSError) -> None:
        raise ArtifactError(f"{error.filename} cannot be read: {one_line(error)}") from error

    for folder, folders, files in os.walk(real_root, onerror=refuse, followlinks=False):
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                raise ArtifactError(
                    f"{os.path.join(folder, name)} is a link to a folder; put the files themselves there"
                )
        for name in files:
            path = os.path.join(folder, name)
            relative = check_artifact_path(os.path.relpath(path, real_root).replace(os.sep, "/"))
            real = os.path.realpath(path)
            if os.path.commonpath([real, real_root]) != real_root:
                raise ArtifactError(f"{path} is a link that leaves the folder; put the file itself there")
            try:
                mode = os.stat(real, follow_symlinks=False).st_mode
            except OSError as error:
                raise ArtifactError(f"{path} cannot be read: {one_line(error)}") from error
            if not stat.S_ISREG(mode):
                raise ArtifactError(f"{path} is not a regular file (a FIFO, socket or device); only files are stored")
            found.append((relative, Path(real)))
    if not found:
        raise ArtifactError(f"{root} holds no files; there is nothing to store")
    return sorted(found)
