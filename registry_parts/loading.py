"""Reading what a version stored: whole and verified, and a program only with consent."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifact_sources import check_artifact_path
from errors import ArtifactError
from registry_parts import environment, formats
from registry_parts.records import DependencyMismatchWarning

if TYPE_CHECKING:
    from artifacts import ArtifactStore
    from registry_parts.queries import StoredVersion
    from registry_parts.records import ModelVersion

__all__ = ["copy_files", "load_stored", "named", "read_file"]


def load_stored(
    store: ArtifactStore,
    found: StoredVersion,
    *,
    allow_untrusted: bool,
    trusted_types: Sequence[str] | None,
    check_dependencies: bool,
) -> Any:
    """Load a version: nothing of it is run before its bytes were verified, and its origin trusted."""
    label, files = found.label, found.files
    runs_code = found.serializer in formats.EXECUTES_CODE
    if runs_code and found.origin != "object" and not allow_untrusted:
        raise ArtifactError(
            f"{label} came {'by import' if found.origin == 'import' else 'as a file'}, and loading a "
            f"{found.serializer} file runs its code; look at inspect_artifact(), and load it with "
            "allow_untrusted=True only if you trust whoever made it"
        )
    if found.serializer == "folder":
        return {path: read_file(store, label, path, sha256) for path, sha256 in files}
    ((path, sha256),) = files
    if found.serializer == "file":
        return read_file(store, label, path, sha256)
    with named(label, path):
        buffer = store.read_buffer(sha256)
    if check_dependencies:
        differences = environment.dependency_differences(found.dependencies, found.environment)
        if differences:
            warnings.warn(
                f"{label} may behave differently here: {'; '.join(differences)}",
                DependencyMismatchWarning,
                stacklevel=3,  # where load_model() was called
            )
    return formats.load_verified(buffer, found.serializer, label, trusted_types=trusted_types)


def copy_files(store: ArtifactStore, found: ModelVersion, folder: Path) -> list[Path]:
    """Copy a version's files, verified, into a folder where none of them exists."""
    targets = [(folder.joinpath(*check_artifact_path(path).split("/")), sha256) for path, sha256, _ in found.files]
    for target, _ in targets:
        if os.path.lexists(target):
            raise FileExistsError(f"{target} exists; name an empty folder")
    try:
        return [store.copy_to(sha256, target) for target, sha256 in targets]
    except ArtifactError as error:
        raise ArtifactError(f"{found}: {error}") from error


def read_file(store: ArtifactStore, label: object, path: str, sha256: str) -> bytes:
    """Return the verified bytes of one file; what is wrong with it names the version."""
    with named(label, path):
        return store.read_bytes(sha256)


@contextmanager
def named(label: object, path: str) -> Iterator[None]:
    """Let what is wrong with a stored file name the version and the file."""
    try:
        yield
    except ArtifactError as error:
        raise ArtifactError(f"{label}: {path}: {error}") from error
