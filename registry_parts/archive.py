"""One version of a model as one file: metadata, files, hashes; the same version gives the same bytes.

The file is a ZIP without compression, whose first member is ``manifest.json`` and whose others are
``files/<relative path>``, in the order of their paths, all with the same fixed time. What is stored where it came from
(ids, stage, who, when) is not part of it: importing and exporting again gives the same bytes.

Whoever reads such a file trusts nothing in it: names are checked, every size and hash is compared with the manifest
before a row is written, and a file with a duplicate, missing, additional, linked, encrypted or outside name is refused.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any

from artifacts import ArtifactStore, check_artifact_path, check_sha256
from db import ArtifactError, StorageError
from registry_parts import formats, loading, versions
from registry_parts.records import ModelStage, ModelType, ModelVersion
from registry_parts.registration import Files, Registration, check_facts
from values import (
    check_key,
    check_name,
    check_text,
    decode_json,
    encode_json,
    shorten,
    to_float,
    to_int,
)

__all__ = ["FORMAT", "ModelArchive", "open_archive", "to_manifest", "to_registration", "write_archive"]

FORMAT = "modeldesk-version-1"
MANIFEST = "manifest.json"
PREFIX = "files/"
MANIFEST_MAX_BYTES = 16_000_000
MEMBERS_LIMIT = 100_000
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that ZIP knows
_MODE = (stat.S_IFREG | 0o600) << 16
_FIELDS = frozenset(
    {
        "format",
        "name",
        "version",
        "model_type",
        "performance_metrics",
        "hyperparameters",
        "tags",
        "description",
        "owner",
        "run_id",
        "dependencies",
        "environment",
        "signature",
        "data_fingerprint",
        "serializer",
        "card",
        "files",
    }
)


def to_manifest(version: ModelVersion, card: str | None) -> dict[str, Any]:
    """Return what an export says of a version."""
    return {
        "format": FORMAT,
        "name": version.name,
        "version": version.version,
        "model_type": version.model_type.value,
        "performance_metrics": version.performance_metrics,
        "hyperparameters": version.hyperparameters,
        "tags": version.tags,
        "description": version.description,
        "owner": version.owner,
        "run_id": version.run_id,
        "dependencies": version.dependencies,
        "environment": version.environment,
        "signature": version.signature,
        "data_fingerprint": version.data_fingerprint,
        "serializer": version.serializer,
        "card": card,
        "files": [{"path": path, "sha256": sha256, "size_bytes": size} for path, sha256, size in version.files],
    }


def to_registration(manifest: Mapping[str, Any], *, name: str | None, run_id: str | None, actor: str) -> Registration:
    """Return what registers a checked manifest here, in Development; `name` is another name for the model."""
    here = {
        "name": manifest["name"] if name is None else name,
        "run_id": run_id,
        "stage": ModelStage.DEVELOPMENT,
        "bump": None,
        "idempotency_key": None,
    }
    kept = {key: manifest[key] for key in ("environment", "signature", "serializer", "card")}
    return Registration(**check_facts({**manifest, **here}, actor), **kept, origin="import")


def write_archive(path: str | os.PathLike[str], version: ModelVersion, card: str | None, store: ArtifactStore) -> Path:
    """Write an export, whole or not at all; every file is verified on the way, and none is in memory whole."""
    target = Path(path)
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; name a new file")
    manifest = to_manifest(version, card)
    text = json.dumps(
        json.loads(encode_json(manifest, "manifest", MANIFEST_MAX_BYTES)),
        ensure_ascii=False,
        sort_keys=True,
        indent=1,
    )
    temporary = target.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
        with os.fdopen(descriptor, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                archive.writestr(_member(MANIFEST), text.encode())
                for name, sha256, size in version.files:
                    member = _member(PREFIX + name)
                    member.file_size = size
                    with loading.named(version, name), archive.open(member, "w") as place:
                        store.copy_into(sha256, place, target)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target)  # unlike a rename, it never replaces what appeared there meanwhile
    except (FileExistsError, ArtifactError, StorageError):
        raise
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # it is not there, or the place is what the error above says
            temporary.unlink()
    return target


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=_TIME)
    info.external_attr = _MODE
    info.create_system = 3  # Unix, on every system
    return info


class ModelArchive:
    """An open, checked export.

    Attributes
    ----------
    manifest : dict
        As `to_manifest` made it, every field checked.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, manifest: dict[str, Any]) -> None:
        self.path = path
        self._archive = archive
        self.manifest = manifest

    def put_files(self, store: ArtifactStore, files: Files) -> None:
        """Store the manifest's files, adding each to `files` as it is stored; raise if one is not what it should be."""
        for file in self.manifest["files"]:
            with self._archive.open(PREFIX + file["path"]) as source:
                blob = store.put_stream(source)
            files.append((file["path"], blob))
            if blob.sha256 != file["sha256"]:
                raise ArtifactError(f"{self.path}: {file['path']} was altered; nothing was imported")


@contextmanager
def open_archive(path: str | os.PathLike[str]) -> Iterator[ModelArchive]:
    """Open an export and check all of it but the bytes of its files.

    Raises
    ------
    ArtifactError
        If it is missing, damaged, not such an export, or holds anything that it should not.
    """
    source = Path(path)
    try:
        descriptor = os.open(source, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise ArtifactError(f"{source} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArtifactError(f"{source} is not a regular file")
    with os.fdopen(descriptor, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield ModelArchive(source, archive, _check(archive, file))
        except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error, UnicodeDecodeError) as error:
            raise ArtifactError(
                f"{source} is no export of a model version, or is damaged: {str(error)[:200]}"
            ) from error
        except OSError as error:
            if error.errno != errno.EINVAL:  # a damaged directory points before the start of the file
                raise
            raise ArtifactError(f"{source} is no export of a model version, or is damaged: {error}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise ArtifactError(f"{source} is refused: {str(error)[:500]}") from error
        except RuntimeError as error:  # zipfile says so of encrypted members
            raise ArtifactError(f"{source} is refused: {str(error)[:200]}") from error


def _check(archive: zipfile.ZipFile, file: IO[bytes]) -> dict[str, Any]:
    members = archive.infolist()
    if len(members) > MEMBERS_LIMIT:
        raise ValueError(f"it has {len(members):,} members; at most {MEMBERS_LIMIT:,} are read")
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ValueError("a name occurs twice")
    if not names or names[0] != MANIFEST:
        raise ValueError(f"its first member is not {MANIFEST}")
    for member in members:
        mode = member.external_attr >> 16
        if member.flag_bits & 0x1:
            raise ValueError(f"{shorten(member.filename)} is encrypted")
        if member.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{shorten(member.filename)} is compressed; exports are not")
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:  # many writers name no type
            raise ValueError(f"{shorten(member.filename)} is a link or no regular file")
        if member.orig_filename != _local_name(file, member):
            raise ValueError(f"{shorten(member.filename)} has another name in its local header")
        if member.filename != MANIFEST:
            if not member.filename.startswith(PREFIX):
                raise ValueError(f"{shorten(member.filename)} does not belong here")
            check_artifact_path(member.filename.removeprefix(PREFIX), "a file's path")
    # Members that share bytes would make a small file store, and hash, without end.
    if sum(member.file_size for member in members) > file.seek(0, os.SEEK_END):
        raise ValueError("its members overlap")
    if members[0].file_size > MANIFEST_MAX_BYTES:
        raise ValueError("its manifest is too large")
    manifest = _check_manifest(archive.read(members[0]))
    sizes = {member.filename.removeprefix(PREFIX): member.file_size for member in members[1:]}
    told = {item["path"]: item["size_bytes"] for item in manifest["files"]}
    if sizes != told:
        odd = sorted(set(sizes) ^ set(told)) or sorted(key for key in told if told[key] != sizes[key])
        raise ValueError(f"its files are not those of its manifest: {shorten(odd[0])}")
    return manifest


def _local_name(file: IO[bytes], member: zipfile.ZipInfo) -> str:
    """Return the name in the local header: readers that go by it must see what we see."""
    here = file.tell()
    try:
        file.seek(member.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("a local header is damaged")
        flags, length = struct.unpack_from("<6xH18xH", header)
        name = file.read(length)
        return name.decode("utf-8" if flags & 0x800 else "cp437")
    finally:
        file.seek(here)


def _check_manifest(data: bytes) -> dict[str, Any]:
    """Return the manifest with every field checked; unknown or missing ones are refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("its manifest has a key twice")
        return found

    try:
        text = data.decode("utf-8")
        json.loads(text, object_pairs_hook=once, parse_constant=_refuse_constant)
        manifest = decode_json(text)
    except RecursionError as error:
        raise ValueError("its manifest is nested too deeply") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"its format is not {FORMAT!r}")
    if set(manifest) != _FIELDS:
        raise ValueError(f"its manifest lacks or adds {', '.join(sorted(map(str, set(manifest) ^ _FIELDS)))[:200]}")
    check_name(manifest["name"], "name")
    versions.check_version(manifest["version"])
    ModelType(manifest["model_type"])
    formats.check_serializer(manifest["serializer"])
    for key in ("hyperparameters", "environment"):
        _expect(manifest, key, dict)
        encode_json(manifest[key], key)
    _expect(manifest, "performance_metrics", dict)
    manifest["performance_metrics"] = {
        check_key(key, "metric"): to_float(value, f"metric {key!r}", finite=False)
        for key, value in manifest["performance_metrics"].items()
    }
    for key in ("tags", "dependencies"):
        _expect(manifest, key, dict)
        for name, value in manifest[key].items():
            check_key(name, key)
            check_text(value, f"{key}.{name}", 10_000)
    if manifest["signature"] is not None:
        _expect(manifest, "signature", dict)
        encode_json(manifest["signature"], "signature")
        _check_signature(manifest["signature"])
    check_text(manifest["description"], "description")
    for key, length in (("owner", 255), ("run_id", 255), ("data_fingerprint", 1_000), ("card", 200_000)):
        if manifest[key] is not None:
            check_text(manifest[key], key, length)
    _expect(manifest, "files", list)
    if not manifest["files"]:
        raise ValueError("it has no files")
    for item in manifest["files"]:
        if not isinstance(item, dict) or set(item) != {"path", "sha256", "size_bytes"}:
            raise ValueError("a file of its manifest is not {path, sha256, size_bytes}")
        check_artifact_path(item["path"], "a file's path")
        check_sha256(item["sha256"], "a file's sha256")
        to_int(item["size_bytes"], "a file's size", 0)
    paths = {item["path"] for item in manifest["files"]}
    if len(paths) < len(manifest["files"]):
        raise ValueError("a path of its manifest occurs twice")
    for path in paths:
        if folders := paths & {str(folder) for folder in PurePosixPath(path).parents}:
            raise ValueError(f"{shorten(folders.pop())} is a file and a folder")
    if manifest["serializer"] != "folder" and len(manifest["files"]) != 1:
        raise ValueError(f"the serializer {manifest['serializer']!r} has one file, not {len(manifest['files'])}")
    return manifest


def _check_signature(signature: Mapping[str, Any]) -> None:
    """See that a signature has the shape that `infer_signature` gives it, as cards and comparisons read it."""
    inputs, output = signature.get("inputs", []), signature.get("output", {})
    columns = isinstance(inputs, list) and all(
        isinstance(column, dict) and isinstance(column.get("name"), str) and isinstance(column.get("dtype"), str)
        for column in inputs
    )
    if not columns or not isinstance(output, dict):
        raise ValueError("its signature is none: inputs are a list of {name, dtype}, output a mapping")


def _expect(manifest: Mapping[str, Any], key: str, kind: type) -> None:
    if not isinstance(manifest[key], kind):
        raise ValueError(f"{key} is not a {kind.__name__}")


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"its manifest holds {text}, which is not JSON")
