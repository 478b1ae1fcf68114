"""The content-addressed file store that the registry and the tracking share.

    >>> store = ArtifactStore("memory://doc-example")
    >>> blob = store.put_bytes(b"weights")
    >>> blob.size_bytes, store.read_bytes(blob.sha256)
    (7, b'weights')

Vocabulary: a *blob* is one content, kept once under the SHA-256 of its bytes; a *claim* is the row that says a
committed thing needs it; an *orphan* is a file without a claim; a *sweep* removes orphans. No path is ever
built from a name that a person typed: the only file names here are hashes.

How nothing is lost. A file is written under a temporary name in the folder where it will live, hashed on the
way, flushed to the disk and only then renamed to its hash; the row that names it is committed afterwards. A
process killed at any instruction leaves at most a temporary file or an orphan. Claims hold a shared lock and
sweeps an exclusive one (SQLite's writer lock, or an advisory lock on PostgreSQL) until they commit, and a claim
looks again whether the file is there: a sweep cannot take what a commit names.
"""

from __future__ import annotations

import errno
import hashlib
import io
import mmap
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import unquote, urlsplit

from artifact_backends import (
    HUGE_PAGE_BYTES,
    TEMPORARY_PREFIX,
    Backend,
    Entry,
    FolderBackend,
    RemoteBackend,
    Unfinished,
    UnfinishedFile,
    explained,
    one_line,
    own_pages,
    storage_error,
    write_all,
)
from artifact_claims import add_blobs, find_claimed_blobs, find_unclaimed_blobs, lock_blobs, remove_blobs
from artifact_sources import check_artifact_path, list_tree, open_regular
from errors import ArtifactError, StorageError
from lazy_dataclass import dataclass
from values import InvalidTypeError, InvalidValueError, check_text, shorten, to_float

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from db import Database

__all__ = [
    "ArtifactStore",
    "BlobProblem",
    "BlobWriter",
    "StoredBlob",
    "SweepReport",
    "check_artifact_path",
    "check_grace",
    "check_sha256",
]

CHUNK_BYTES = 1 << 20  # read, hashed and written at a time

GATHERED_BYTES = 1 << 16  # smaller pieces are gathered before they are hashed

DEFAULT_GRACE_SECONDS = 3600.0  # an upload may be this far ahead of its row before a sweep looks at it

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)


# -- records -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """One stored content.

    Attributes
    ----------
    sha256 : str
        64 lower-case hexadecimal digits; the name of the content.
    size_bytes : int
    """

    sha256: str
    size_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobProblem:
    """Something wrong with one claimed blob.

    Attributes
    ----------
    sha256 : str
    kind : {"missing", "size", "content", "unreadable"}
    message : str
        One sentence.
    """

    sha256: str
    kind: Literal["missing", "size", "content", "unreadable"]
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What a sweep removed, or would remove.

    Attributes
    ----------
    dry_run : bool
        True: nothing was removed.
    removed : list of str
        Hashes of the orphans.
    n_temporary : int
        Unfinished files of writers that died.
    freed_bytes : int
    n_kept : int
        Files that stay: claimed, younger than the grace period, or being written.
    """

    dry_run: bool
    removed: list[str]
    n_temporary: int
    freed_bytes: int
    n_kept: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return asdict(self)


def check_sha256(value: object, field: str = "sha256") -> str:
    """Return a content hash: 64 lower-case hexadecimal digits.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If it is anything else. Every path of the store is made from a value that passed here.
    """
    if not isinstance(value, str):
        raise InvalidTypeError(f"{field} must be text, got {type(value).__name__}")
    text = "".join(str.__iter__(value))
    if not _SHA256.match(text):
        raise InvalidValueError(f"{field} must be 64 lower-case hexadecimal digits, got {shorten(text)}")
    return text


def check_grace(value: object) -> float:
    """Return a grace period in seconds: a number of at least 0."""
    seconds = to_float(value, "grace_seconds", finite=False)
    if not seconds >= 0:
        raise InvalidValueError(f"grace_seconds must be a number of at least 0, got {seconds}")
    return seconds


# -- writing -----------------------------------------------------------------------------------------


class _HashingFile(io.RawIOBase):
    """Passes bytes on to an unfinished file and adds them to the hash."""

    def __init__(self, unfinished: Unfinished) -> None:
        super().__init__()
        self._unfinished = unfinished
        self.hash = hashlib.sha256()
        self.size = 0
        self.is_discarded = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        # Not more at a time than the processor's cache holds: the bytes that are hashed are copied next.
        with memoryview(data) as whole, whole[:CHUNK_BYTES] as view:
            if self.is_discarded:  # the buffer in front empties itself when it is collected
                return len(whole)
            self.hash.update(view)
            write_all(self._unfinished.file, view)
            self.size += len(view)
            return len(view)


class BlobWriter(io.BufferedWriter):
    """A file to write once, front to back; it is hashed on the way and stored when it is closed in peace.

    Attributes
    ----------
    blob : StoredBlob
        What was stored; known after the ``with`` block.
    """

    def __init__(self, unfinished: Unfinished) -> None:
        self._hashing = _HashingFile(unfinished)
        super().__init__(self._hashing, GATHERED_BYTES)
        self._unfinished = unfinished
        self._blob: StoredBlob | None = None

    @property
    def blob(self) -> StoredBlob:
        """The stored blob.

        Raises
        ------
        ValueError
            While the writer is open, and after it failed.
        """
        if self._blob is None:
            raise ValueError("the writer is still open, or failed: there is no blob")
        return self._blob

    def finish(self) -> StoredBlob:
        """Make the bytes durable under their hash."""
        self.flush()
        name = self._hashing.hash.hexdigest()
        self._unfinished.finish(name)
        self._blob = StoredBlob(sha256=name, size_bytes=self._hashing.size)
        return self._blob

    def discard(self) -> None:
        """Forget what was written."""
        self._hashing.is_discarded = True
        self._unfinished.discard()
        self.close()


class ArtifactStore:
    """Files by content, in a folder or at any fsspec URL.

    Parameters
    ----------
    url : str or path
        A folder (made when first needed), ``file:///folder``, ``s3://bucket/prefix``, ``gs://bucket/prefix``,
        ``memory://name``, or any other fsspec URL. Credentials and endpoints come from the environment, as the
        protocol's own tools read them (``AWS_ENDPOINT_URL``, ``STORAGE_EMULATOR_HOST``, ...), or from options.
    **options
        Passed to the fsspec file system.

    Notes
    -----
    Only hashes are ever stored in rows: the whole store can be moved, or copied to another kind of place, and
    opened there. Opening a store touches nothing.
    """

    def __init__(self, url: str | os.PathLike[str], **options: Any) -> None:
        text = os.fspath(url)
        if not isinstance(text, str) or not text.strip():
            raise InvalidValueError("artifact URL is empty; give a folder or a URL such as s3://bucket/prefix")
        check_text(text, "artifact URL", max_length=4_000)
        scheme = _SCHEME.match(text)
        self._backend: Backend
        if scheme is None or scheme[1].lower() in {"file", "local"}:
            path = unquote(urlsplit(text).path) if scheme is not None else text
            root = Path(os.path.abspath(os.path.expanduser(path)))
            self.url = str(root)
            self._backend = FolderBackend(root)
        else:
            if "@" in text.split("://", 1)[1].split("/", 1)[0]:
                raise InvalidValueError("artifact URL may not hold credentials; give them by the environment")
            self.url = text.rstrip("/")
            self._backend = RemoteBackend(text, options)

    def __repr__(self) -> str:
        return f"ArtifactStore({self.url!r})"

    # -- put -----------------------------------------------------------------------------------------

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Open a file-like object to write one blob; leaving the block by an error stores nothing.

        Raises
        ------
        StorageError
            If the place cannot be written: no space, no permission, a file where the folder should be.

        Examples
        --------
        >>> with ArtifactStore("memory://doc-example").writer() as file:
        ...     _ = file.write(b"abc")
        >>> file.blob.sha256[:8]
        'ba7816bf'
        """
        unfinished = self._backend.create()
        writer = BlobWriter(unfinished)
        done = False
        try:
            try:
                yield writer
                with explained(f"the artifact store {self.url} cannot be written"):
                    writer.finish()
                done = True
            except OSError as error:
                # Writes happen in the caller's block (a serializer): a full disk shows there.
                if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} and not isinstance(error, StorageError):
                    raise storage_error(f"the artifact store {self.url} cannot be written", error) from error
                raise
        finally:
            if not done:
                writer.discard()

    def put_bytes(self, data: bytes | bytearray | memoryview) -> StoredBlob:
        """Store bytes; storing the same bytes again keeps one copy."""
        with self.writer() as writer:
            writer.write(data)
        return writer.blob

    def put_file(self, path: str | os.PathLike[str]) -> StoredBlob:
        """Store a regular file as it is. The hash is of the bytes stored, even if the file changes meanwhile.

        Raises
        ------
        ArtifactError
            If there is no such file, or it is a folder, FIFO, socket or device.
        """
        with open_regular(Path(path)) as source:
            return self.put_stream(source)

    def put_stream(self, source: BinaryIO | IO[bytes]) -> StoredBlob:
        """Store what a binary file-like object gives from here to its end."""
        with self.writer() as writer:
            while chunk := source.read(CHUNK_BYTES):
                writer.write(chunk)
        return writer.blob

    def put_tree(self, path: str | os.PathLike[str]) -> list[tuple[str, StoredBlob]]:
        """Store every file of a folder; return relative paths (with ``/``) and blobs, sorted by path.

        A link to a file inside the folder is stored as that file. Links that leave the folder, links to folders,
        FIFOs, sockets and devices are refused before anything is stored.

        Raises
        ------
        ArtifactError
            If the folder is missing, empty, or holds something that may not be stored.
        InvalidValueError
            If a file has a name that `check_artifact_path` refuses.
        """
        return list(self.put_tree_stepwise(path))

    def put_tree_stepwise(self, path: str | os.PathLike[str]) -> Iterator[tuple[str, StoredBlob]]:
        """Do what `put_tree` does, and tell each file as it is stored; all of the folder is checked first."""
        for relative, real in list_tree(Path(path)):
            with open_regular(real, follow=False) as source:
                yield relative, self.put_stream(source)

    # -- get -----------------------------------------------------------------------------------------

    def exists(self, sha256: str) -> bool:
        """Return whether there is a file for a hash (its bytes are checked when it is read)."""
        with self._reading(sha256):
            return self._backend.size(check_sha256(sha256)) is not None

    def read_bytes(self, sha256: str) -> bytes:
        """Return the bytes of a blob, after checking that they still have the hash they are stored under.

        Raises
        ------
        ArtifactError
            If the file is missing, truncated or altered.
        """
        name = check_sha256(sha256)
        with self._reading(name):
            data = self._backend.read(name)
        found = hashlib.sha256(data).hexdigest()
        if found != name:
            raise ArtifactError(_altered(self.url, name, found, len(data)))
        return data

    def open_verified(self, sha256: str) -> io.BytesIO:
        """Return the verified bytes as a file: what is loaded is the very buffer that was checked."""
        return io.BytesIO(self.read_bytes(sha256))

    def read_buffer(self, sha256: str) -> io.BytesIO | mmap.mmap:
        """Return the verified bytes as a file in memory, the fastest way there is.

        A large file of a folder is read into memory of its own, on huge pages where there are some. It is a copy: what
        happens to the file later does not change it.
        """
        name = check_sha256(sha256)
        if isinstance(self._backend, FolderBackend):
            with self._reading(name), self._backend.open(name) as file:
                size = os.fstat(file.fileno()).st_size
                if size >= HUGE_PAGE_BYTES:
                    buffer, digest = _read_anonymously(file, size)
                    if digest != name:
                        raise ArtifactError(_altered(self.url, name, digest, size))
                    return buffer
        return self.open_verified(name)

    def copy_to(self, sha256: str, destination: str | os.PathLike[str]) -> Path:
        """Copy a blob to a new file, verified; the file appears whole or not at all.

        Raises
        ------
        ArtifactError
            If the blob is missing or altered.
        FileExistsError
            If there is something at the destination.
        """
        name, target = check_sha256(sha256), Path(destination)
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists; name a new file")
        with explained(f"{target} cannot be written"):
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = UnfinishedFile(target.parent)
        try:
            self.copy_into(name, unfinished.file, target)
            with explained(f"{target} cannot be written"):
                unfinished.finish(target.name)
        except BaseException:
            unfinished.discard()
            raise
        return target

    def copy_into(self, sha256: str, file: IO[bytes], place: os.PathLike[str]) -> None:
        """Write a blob into an open file, piece by piece: it never is in memory whole.

        Parameters
        ----------
        sha256 : str
        file : binary file
        place : path
            What the file is, for errors in writing.

        Raises
        ------
        ArtifactError
            If the blob is missing or, which shows only at its end, altered: what was written is worthless then.
        """
        name, digest, size = check_sha256(sha256), hashlib.sha256(), 0
        with self._reading(name), self._backend.open(name) as source:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                size += len(chunk)
                with explained(f"{place} cannot be written"):
                    write_all(file, chunk)
        if digest.hexdigest() != name:
            raise ArtifactError(_altered(self.url, name, digest.hexdigest(), size))

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise ArtifactError(
                f"the file of {name[:12]}… is missing from the artifact store {self.url}; restore it from a backup"
            ) from error
        except (ArtifactError, StorageError, ValueError):
            raise
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ArtifactError(f"{name[:12]}… in {self.url} is a link; the store holds files only") from error
            raise ArtifactError(f"{name[:12]}… cannot be read from {self.url}: {one_line(error)}") from error

    # -- claims and care -----------------------------------------------------------------------------

    def claim(
        self, session: Session, blobs: Iterable[StoredBlob], *, restore: Callable[[], object] | None = None
    ) -> None:
        """Add the rows of blobs inside the caller's write transaction, and see that their files are there.

        Parameters
        ----------
        session : Session
            The write transaction that will also name the blobs.
        blobs : iterable of StoredBlob
        restore : callable, optional
            Stores the same contents again; called when a sweep took a file between its put and this claim. No
            sweep can run until the transaction ends.

        Raises
        ------
        ArtifactError
            If a file is missing and `restore` is not given or does not bring it back.
        """
        wanted = {blob.sha256: blob for blob in blobs}
        lock_blobs(session, exclusive=False)
        if restore is not None and any(self._backend.size(name) is None for name in wanted):
            restore()
        for name, blob in wanted.items():
            with self._reading(name):
                size = self._backend.size(name)
            if size is None:
                raise ArtifactError(
                    f"the file of {name[:12]}… was removed from {self.url} before it was claimed; try again"
                )
            if size != blob.size_bytes:
                raise ArtifactError(f"{name[:12]}… in {self.url} has {size:,} bytes instead of {blob.size_bytes:,}")
            self._backend.refresh(name)
        add_blobs(session, {name: blob.size_bytes for name, blob in wanted.items()})

    def release(self, database: Database, candidates: Iterable[str]) -> int:
        """Remove those of the blobs that no row names any more; return the bytes given back.

        See `release_blobs`.
        """
        return sum(blob.size_bytes for blob in self.release_blobs(database, candidates))

    def release_blobs(self, database: Database, candidates: Iterable[str]) -> list[StoredBlob]:
        """Remove those of the blobs that no row names any more; return what was removed.

        Call it after the transaction that removed the rows: a file may go only when its row is gone for good.
        """
        names = sorted({check_sha256(name) for name in candidates})
        if not names:
            return []

        def remove(session: Session) -> list[StoredBlob]:
            lock_blobs(session, exclusive=True)
            unclaimed = sorted(set(names) - find_claimed_blobs(session, names).keys())
            removed = [StoredBlob(sha256=name, size_bytes=self._remove(name)) for name in unclaimed]
            remove_blobs(session, unclaimed)
            return removed

        return database.transact(remove)

    def sweep(
        self, database: Database, *, grace_seconds: float = DEFAULT_GRACE_SECONDS, dry_run: bool = False
    ) -> SweepReport:
        """Remove files that no row names: orphans of processes that died, and of deleted things.

        Parameters
        ----------
        database : Database
            The database whose rows count. A store shared by several databases must not be swept.
        grace_seconds : float
            Younger files stay. 0 is safe too: a put that loses its file this way stores it again.
        dry_run : bool
            Only report.
        """
        grace_seconds = check_grace(grace_seconds)
        limit = time.time() - grace_seconds
        finished: dict[str, Entry] = {}
        unfinished: list[Entry] = []
        n_kept = 0
        with self._reading("0" * 64):
            for entry in self._backend.entries():
                if entry.modified_seconds > limit and grace_seconds > 0:
                    n_kept += 1
                elif _SHA256.match(entry.name):
                    finished[entry.name] = entry
                elif entry.name.startswith(TEMPORARY_PREFIX):
                    unfinished.append(entry)
                else:
                    n_kept += 1  # not ours
        with database.read() as session:
            finished = {name: finished[name] for name in finished.keys() - find_claimed_blobs(session, finished).keys()}
            has_rows = bool(find_unclaimed_blobs(session))
        removed: list[str] = []
        freed = 0

        def remove(session: Session) -> None:
            nonlocal freed
            lock_blobs(session, exclusive=True)
            removed[:] = sorted(finished.keys() - find_claimed_blobs(session, finished).keys())
            freed = 0
            for name in removed:
                size = finished[name].size_bytes
                freed += size if dry_run else self._remove(name)
            if not dry_run:
                # A process that dies between removing a file and its row leaves the row.
                without_file = [name for name in find_unclaimed_blobs(session) if self._backend.size(name) is None]
                remove_blobs(session, without_file)

        if finished or has_rows:
            database.transact(remove)
        n_temporary = 0
        for entry in unfinished:
            if dry_run or self._backend.remove(entry.name, unfinished=True):
                n_temporary += 1
                freed += entry.size_bytes
            else:
                n_kept += 1
        return SweepReport(dry_run=dry_run, removed=removed, n_temporary=n_temporary, freed_bytes=freed, n_kept=n_kept)

    def _remove(self, name: str) -> int:
        size = self._backend.size(name)
        return size if self._backend.remove(name, unfinished=False) and size is not None else 0

    def check(self, sha256: str, size_bytes: int) -> BlobProblem | None:
        """Read one blob and return what is wrong with it, or None."""
        name = check_sha256(sha256)
        try:
            with self._reading(name):
                size = self._backend.size(name)
                if size is None:
                    return BlobProblem(sha256=name, kind="missing", message=f"{name[:12]}… is missing from {self.url}")
                if size != size_bytes:
                    return BlobProblem(
                        sha256=name,
                        kind="size",
                        message=f"{name[:12]}… has {size:,} bytes instead of {size_bytes:,}",
                    )
                digest = hashlib.sha256()
                with self._backend.open(name) as source:
                    while chunk := source.read(CHUNK_BYTES):
                        digest.update(chunk)
        except ArtifactError as error:
            return BlobProblem(sha256=name, kind="unreadable", message=str(error))
        if digest.hexdigest() != name:
            return BlobProblem(sha256=name, kind="content", message=_altered(self.url, name, digest.hexdigest(), size))
        return None

    def verify(self, database: Database, *, progress: bool | Callable[[int, int], None] = False) -> list[BlobProblem]:
        """Read every blob that a row names and return what is wrong; an empty list is a healthy store.

        Parameters
        ----------
        database : Database
        progress : bool or callable
            True shows a progress bar; a callable is told (bytes done, bytes in all).
        """
        with database.read() as session:
            blobs = sorted(find_claimed_blobs(session, None).items())
        total, done = sum(size for _, size in blobs), 0
        problems = []
        with _progress(progress, total) as tell:
            for name, size in blobs:
                problem = self.check(name, size)
                if problem is not None:
                    problems.append(problem)
                done += size
                tell(done)
        return problems


# -- private helpers ---------------------------------------------------------------------------------


@contextmanager
def _progress(wanted: bool | Callable[[int, int], None], total: int) -> Iterator[Callable[[int], None]]:
    if callable(wanted):
        yield lambda done: wanted(done, total)
    elif wanted:
        from tqdm.auto import tqdm

        with tqdm(total=total, unit="B", unit_scale=True, desc="verifying artifacts") as bar:
            yield lambda done: bar.update(done - bar.n)
    else:
        yield lambda done: None


def _altered(url: str, name: str, found: str, size: int) -> str:
    return (
        f"the file of {name[:12]}… in {url} was altered or cut: its {size:,} bytes hash to {found[:12]}…; "
        "it was not loaded. Restore it from a backup"
    )


def _read_anonymously(file: IO[bytes], size: int) -> tuple[mmap.mmap, str]:
    """Return the first `size` bytes of an unbuffered file in memory of their own, and their hash."""
    buffer = own_pages(size)
    digest, done = hashlib.sha256(), 0
    with memoryview(buffer) as view:
        while done < size:
            count = file.readinto(view[done : done + CHUNK_BYTES])  # type: ignore[attr-defined]
            if not count:
                break  # it was cut meanwhile; the hash will say so
            digest.update(view[done : done + count])
            done += count
    return buffer, digest.hexdigest()
