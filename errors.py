"""Every error that ModelDesk raises on purpose, in one tree.

    >>> from db import NotFoundError
    >>> issubclass(NotFoundError, LookupError)
    True

Each is also the builtin that people already catch. Bad arguments are a `ValueError` or a `TypeError` instead (see
`values`), raised before any work is done. `db` re-exports the tree.
"""

from __future__ import annotations

__all__ = ["ArtifactError", "DuplicateError", "ModelDeskError", "NotFoundError", "StateError", "StorageError"]


class ModelDeskError(Exception):
    """Base of every error that ModelDesk raises on purpose, bad arguments (`ValueError`) excepted."""


class NotFoundError(ModelDeskError, LookupError):
    """The thing that was named does not exist, or was deleted."""


class DuplicateError(ModelDeskError, ValueError):
    """A thing of that name or version exists already, with other content."""


class StateError(ModelDeskError, RuntimeError):
    """The thing exists, but in a state that does not allow what was asked."""


class ArtifactError(ModelDeskError, OSError):
    """A stored file is missing, truncated, altered, or may not be stored or loaded."""


class StorageError(ModelDeskError, OSError):
    """The database cannot be opened, read or written: no space, no permission, damaged, or newer than this library."""
