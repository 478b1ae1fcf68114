"""The places where an artifact store keeps its files: a folder of this machine, or any fsspec file system.

A backend knows names and bytes, and nothing of hashes or rows: `artifacts.ArtifactStore` gives it the names. A folder
writes under a temporary name, flushes to the disk and renames; an object store has one conditional PUT, which is
atomic there.
"""

from __future__ import annotations

import errno
import io
import mmap
import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any, NamedTuple, Protocol

from errors import ArtifactError, StorageError
from values import InvalidValueError

_fcntl: ModuleType | None
try:
    import fcntl as _fcntl
except ImportError:  # Windows: sweeps then rely on the grace period alone
    _fcntl = None

__all__ = [
    "FOLDER",
    "TEMPORARY_PREFIX",
    "Backend",
    "Entry",
    "FolderBackend",
    "RemoteBackend",
    "Unfinished",
    "UnfinishedFile",
    "explained",
    "one_line",
    "own_pages",
    "storage_error",
    "write_all",
]

HUGE_PAGE_BYTES = 2 << 20  # below one huge page there is nothing to gain

MAPPED_UPLOAD_BYTES = 32 << 20  # above it an upload is mapped from its temporary file, not read into memory

FOLDER = "sha256"

TEMPORARY_PREFIX = ".tmp-"

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}


class Entry(NamedTuple):
    """One file in a place: its name, size, and when it was last changed."""

    name: str
    size_bytes: int
    modified_seconds: float  # since 1970


class Backend(Protocol):
    """The few things the store asks of a place for files."""

    def create(self) -> Unfinished:
        """Begin a file that has no content name yet."""

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None if there is no such file."""

    def read(self, name: str) -> bytes:
        """Return all bytes of a file."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""

    def refresh(self, name: str) -> None:
        """Make a file look new to a sweep."""

    def entries(self) -> Iterator[Entry]:
        """List what is there, finished or not."""

    def remove(self, name: str, *, unfinished: bool) -> bool:
        """Remove a file; return whether it went. An unfinished one stays while its writer lives."""


class Unfinished(Protocol):
    """A file being written: it has no content name yet."""

    @property
    def file(self) -> IO[bytes]:
        """Where its bytes go, front to back."""

    def finish(self, name: str) -> None:
        """Make the bytes durable under a name."""

    def discard(self) -> None:
        """Forget the bytes."""


class FolderBackend:
    """A folder of this machine: `<root>/sha256/<hash>`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / FOLDER

    def create(self) -> UnfinishedFile:
        """Begin a file."""
        with explained(f"the artifact store {self.root} cannot be written"):
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return UnfinishedFile(self.folder)

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None."""
        try:
            found = os.stat(self.folder / name, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read(self, name: str) -> bytes:
        """Return all bytes of a file."""
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading, unbuffered; links are not followed."""
        descriptor = os.open(
            self.folder / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        )
        return os.fdopen(descriptor, "rb", buffering=0)

    def refresh(self, name: str) -> None:
        """Make a file look new to a sweep."""
        with suppress(OSError):  # another user's file: claims check presence, the time only spares work
            os.utime(self.folder / name)

    def entries(self) -> Iterator[Entry]:
        """List what is there, finished or not."""
        try:
            with os.scandir(self.folder) as found:
                for entry in found:
                    with suppress(FileNotFoundError):  # finished or removed meanwhile
                        if entry.is_file(follow_symlinks=False):
                            status = entry.stat(follow_symlinks=False)
                            yield Entry(entry.name, status.st_size, status.st_mtime)
        except FileNotFoundError:
            return

    def remove(self, name: str, *, unfinished: bool) -> bool:
        """Remove a file; return whether it went."""
        path = self.folder / name
        try:
            if unfinished and _fcntl is not None:
                with path.open("rb") as file:
                    try:
                        _fcntl.flock(file, _fcntl.LOCK_EX | _fcntl.LOCK_NB)
                    except BlockingIOError:
                        return False  # its writer lives
                    path.unlink()
            else:
                path.unlink()
        except FileNotFoundError:
            return False
        return True


class _DirectFile(io.FileIO):
    """A new file to write front to back, whose whole blocks pass the page cache by where the system can do that.

    The bytes must be on the disk before they get a name, so a copy of them in the cache only costs: finding memory
    for it (most of the time of writing, where the system has to ask a hypervisor), and the cached pages of others.
    The end, which is no whole block, goes by way of the cache as usual.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w+b")
        self._block = own_pages(HUGE_PAGE_BYTES)  # devices want memory that begins at a page, and whole sectors
        self._filled = 0
        self._is_direct = False

    def write(self, data: Any) -> int:
        """Take as many bytes as the block has room for."""
        with memoryview(data).cast("B") as view:
            count = min(len(view), HUGE_PAGE_BYTES - self._filled)
            self._block[self._filled : self._filled + count] = view[:count]
        self._filled += count
        if self._filled == HUGE_PAGE_BYTES:
            self._empty(direct=True)
        return count

    def end(self) -> None:
        """Write what is left in the block; without this it is dropped."""
        self._empty(direct=False)

    def _empty(self, *, direct: bool) -> None:
        self._set_direct(direct)
        done = 0
        with memoryview(self._block) as block:
            while done < self._filled:
                try:
                    done += os.write(self.fileno(), block[done : self._filled])
                except OSError as error:  # a file system that has the flag and not the deed
                    if not (self._is_direct and error.errno == errno.EINVAL):
                        raise
                    self._set_direct(False)
        self._filled = 0

    def _set_direct(self, wanted: bool) -> None:
        if wanted == self._is_direct or _fcntl is None or not hasattr(os, "O_DIRECT"):
            return
        flags = _fcntl.fcntl(self.fileno(), _fcntl.F_GETFL)
        try:
            _fcntl.fcntl(self.fileno(), _fcntl.F_SETFL, flags ^ os.O_DIRECT)
        except OSError:  # a file system without it
            if not wanted:
                raise
        else:
            self._is_direct = wanted


class UnfinishedFile:
    """A temporary file beside its final place; its writer holds a lock on it that dies with the process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        while True:
            self.path = folder / f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
            descriptor = os.open(self.path, flags, 0o600)
            if _fcntl is None:
                break
            _fcntl.flock(descriptor, _fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:
                break
            os.close(descriptor)  # a sweep came between making and locking it
        self.file = _DirectFile(descriptor)

    def finish(self, name: str) -> None:
        """Flush to the disk and rename."""
        self.file.end()
        os.fsync(self.file.fileno())
        # Replacing a file of that name is a repair: equal hash, equal bytes, unless the old one is damaged.
        os.replace(self.path, self.folder / name)
        self.file.close()
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Forget the bytes."""
        with suppress(FileNotFoundError):
            self.path.unlink()
        self.file.close()


class RemoteBackend:
    """Any fsspec file system. One conditional PUT is atomic there: no temporary names, no renames."""

    def __init__(self, url: str, options: dict[str, Any]) -> None:
        self.url = url.rstrip("/")
        self.protocol = url.split("://", 1)[0].lower()
        self.options = options
        self._local = threading.local()

    @property
    def file_system(self) -> Any:
        """The fsspec file system of this thread and process (connections do not survive a fork)."""
        kept: tuple[int, Any] | None = getattr(self._local, "kept", None)
        if kept is None or kept[0] != os.getpid():
            import fsspec

            options = {"use_listings_cache": False, **self.options}
            try:
                made = fsspec.filesystem(self.protocol, **options)
            except ImportError as error:
                package = _PACKAGES.get(self.protocol, "the fsspec plugin of that protocol")
                raise StorageError(
                    f"artifacts at {self.protocol}:// need the package {package}; install it:  pip install {package}"
                ) from error
            except ValueError as error:
                raise InvalidValueError(
                    f"artifact URL has the unknown scheme {self.protocol}://; use a folder, s3://, gs:// or memory://"
                ) from error
            kept = self._local.kept = (os.getpid(), made)
        return kept[1]

    def _path(self, name: str) -> str:
        return f"{self.url.split('://', 1)[1]}/{FOLDER}/{name}"

    def create(self) -> _UnfinishedUpload:
        """Begin a file."""
        return _UnfinishedUpload(self)

    def put(self, name: str, file: IO[bytes], size: int) -> None:
        """Upload a file by one conditional PUT; the same content being there already is success."""
        path = self._path(name)
        file.seek(0)
        mapped = None
        if size >= MAPPED_UPLOAD_BYTES and self.protocol != "memory":
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
        content: Any = file.read() if mapped is None else mapped
        try:
            try:
                if mapped is not None and self.protocol == "s3":
                    content = _Sliced(mapped)
                self.file_system.pipe_file(path, content, mode="create")
            except Exception as error:  # each protocol has its own "exists already"
                present = self.size(name)
                if present == size:
                    return  # the same content is there: what a conditional put is for
                if present is None:
                    raise StorageError(f"{self.url} refused to store {size:,} bytes: {one_line(error)}") from error
                self.file_system.pipe_file(path, content)  # a torn object of that name: repair it
        finally:
            if mapped is not None:
                del content
                mapped.close()

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes, or None."""
        try:
            return int(self.file_system.info(self._path(name))["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """Return all bytes of a file."""
        return bytes(self.file_system.cat_file(self._path(name)))

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        opened: IO[bytes] = self.file_system.open(self._path(name), "rb")
        return opened

    def refresh(self, name: str) -> None:
        """Objects keep the time of their PUT; a claim checks their presence instead."""

    def entries(self) -> Iterator[Entry]:
        """List what is there, finished or not."""
        try:
            found = self.file_system.ls(self._path("").rstrip("/"), detail=True)
        except FileNotFoundError:
            return
        for entry in found:
            if entry["type"] == "file":
                when = entry.get("LastModified") or entry.get("mtime") or entry.get("created") or entry.get("updated")
                yield Entry(entry["name"].rsplit("/", 1)[-1], int(entry["size"]), _to_seconds(when))

    def remove(self, name: str, *, unfinished: bool) -> bool:
        """Remove a file; return whether it went."""
        try:
            self.file_system.rm_file(self._path(name))
        except FileNotFoundError:
            return False
        return True


class _Sliced:
    """A mapped file whose slices are bytes, as a multipart upload wants them; it never is in memory whole."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self.mapped = mapped

    def __len__(self) -> int:
        return len(self.mapped)

    def __getitem__(self, key: slice) -> bytes:
        return self.mapped[key]


class _UnfinishedUpload:
    """A local temporary file (without a name where the system can do that) until its hash is known."""

    def __init__(self, backend: RemoteBackend) -> None:
        self.backend = backend
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by finish() or discard()

    def finish(self, name: str) -> None:
        self.file.flush()
        self.backend.put(name, self.file, self.file.seek(0, os.SEEK_END))
        self.file.close()

    def discard(self) -> None:
        self.file.close()


# -- errors and bytes --------------------------------------------------------------------------------


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:300]


def storage_error(what: str, error: OSError) -> StorageError:
    """Return the one sentence for an operating system error; a full disk says what to do."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageError(f"{what}: the disk is full; nothing of this write was kept. Free some space and repeat it")
    return StorageError(f"{what}: {one_line(error)}")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn an operating system error into one sentence that names the place."""
    try:
        yield
    except (StorageError, ArtifactError):
        raise
    except OSError as error:
        raise storage_error(what, error) from error


def own_pages(size: int) -> mmap.mmap:
    """Return anonymous memory, on huge pages where the system has them.

    The faults of ordinary ones cost as much as hashing what is put there.
    """
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    """Write all of the bytes: an unbuffered file may take less than it is given."""
    with memoryview(data).cast("B") as view:
        done = 0
        while done < len(view):
            done += file.write(view[done:])


def _to_seconds(when: Any) -> float:
    if when is None:
        return time.time()  # unknown age: too young to sweep
    if isinstance(when, str):
        from datetime import datetime

        when = datetime.fromisoformat(when)
    return float(when.timestamp()) if hasattr(when, "timestamp") else float(when)
