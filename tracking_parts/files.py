"""The files of runs: `ExperimentTracking` stores, lists and loads them through this base class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from artifacts import ArtifactStore, check_artifact_path
from db import RunArtifactRow
from errors import NotFoundError
from tracking_parts import artifact_kinds, queries
from tracking_parts.records import Artifact
from values import check_text, shorten, to_int

if TYPE_CHECKING:
    from db import Database

__all__ = ["RunFiles"]


class RunFiles:
    """Artifacts of runs; needs a database and a clock."""

    _database: Database
    _store_of_artifacts: ArtifactStore | None = None

    if TYPE_CHECKING:  # provided by ExperimentTracking

        def _now_datetime(self) -> datetime: ...

    def log_artifact(
        self, run_id: str, path_or_object: Any, name: str | None = None, *, kind: str | None = None
    ) -> list[str]:
        """Store a file, a folder or an object with a run.

        Parameters
        ----------
        run_id : str
        path_or_object : path, str, bytes, DataFrame, array, figure, image, dict, list or model
            A string is the path of a file or folder (use `log_text` for text). Frames become Parquet (or CSV without
            pyarrow), dicts and lists JSON, arrays ``.npy``, Plotly figures their JSON, Matplotlib figures and images
            PNG, any other object is stored with joblib.
        name : str or None
            Relative path within the run, such as "plots/roc.png"; None takes the file's own name. Logging the same path
            again replaces the file.
        kind : str or None
            To say how it is stored where that is not clear: "json", "dataframe", "array", "plotly", "image", "model".

        Returns
        -------
        list of str
            The paths within the run; more than one for a folder.

        Raises
        ------
        ValueError
            If the name leaves the run, is absolute, empty, or has forbidden characters.
        ArtifactError
            If there is no such file, or it is a device, a FIFO, or a folder with links that leave it.
        """
        if name is not None:
            name = check_artifact_path(name, "artifact name")
        return self._store_artifacts(run_id, lambda: artifact_kinds.store(self._artifacts, path_or_object, name, kind))

    def log_text(self, run_id: str, text: str, name: str) -> list[str]:
        """Store text as a file with a run."""
        name = check_artifact_path(name, "artifact name")
        data = check_text(text, "text", max_length=100_000_000).encode()
        return self._store_artifacts(
            run_id, lambda: [artifact_kinds.Stored(name, "text", self._artifacts.put_bytes(data), {})]
        )

    def list_artifacts(self, run_id: str, prefix: str = "") -> list[Artifact]:
        """Return the files of a run, sorted by path; with a prefix those below that folder, or that file."""
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be text, got {type(prefix).__name__}")
        folder = prefix.rstrip("/")
        with self._database.read() as session:
            run = queries.require_run(session, run_id, deleted=True)
            rows = session.scalars(
                sa.select(RunArtifactRow).where(RunArtifactRow.run_id == run.id).order_by(RunArtifactRow.path)
            ).all()
        return [
            queries.to_artifact(row)
            for row in rows
            if not folder or row.path == folder or row.path.startswith(folder + "/")
        ]

    def load_artifact(self, run_id: str, path: str) -> Any:
        """Return an artifact as it was logged: an object, text, or the bytes of a file.

        Raises
        ------
        NotFoundError
            If the run has no such artifact; the message names those it has.
        ArtifactError
            If the stored bytes are missing or altered: their hash is checked before anything reads them.
        """
        artifact = self._find_artifact(run_id, path)
        return artifact_kinds.load(self._artifacts, artifact)

    def preview_artifact(self, run_id: str, path: str, max_bytes: int = 10_000) -> str | None:
        """Return the beginning of an artifact as text, or None if it is not text. Nothing is ever unpickled."""
        artifact = self._find_artifact(run_id, path)
        return artifact_kinds.preview(self._artifacts, artifact, to_int(max_bytes, "max_bytes", 1, 10_000_000))

    def download_artifact(self, run_id: str, path: str, destination: str | os.PathLike[str]) -> Path:
        """Copy an artifact, or all below a folder of artifacts, to a new file or folder; returns where it is."""
        target = Path(destination)
        with self._database.read() as session:
            run = queries.require_run(session, run_id, deleted=True)
            rows = list(session.scalars(sa.select(RunArtifactRow).where(RunArtifactRow.run_id == run.id)))
        for row in rows:
            if row.path == path:
                place = target / Path(row.path).name if target.is_dir() else target
                return self._artifacts.copy_to(row.sha256, place)
        folder = path.strip("/") + "/" if path.strip("/") else ""
        inside = [row for row in rows if row.path.startswith(folder)]
        if not inside:
            raise NotFoundError(_no_artifact(run_id, path, [row.path for row in rows]))
        for row in inside:
            place = target / check_artifact_path(row.path.removeprefix(folder))
            place.parent.mkdir(parents=True, exist_ok=True)
            self._artifacts.copy_to(row.sha256, place)
        return target

    def delete_artifact(self, run_id: str, path: str) -> int:
        """Remove an artifact for good; returns the bytes given back (0 if something else has the same content)."""
        with self._database.write() as session:
            run = queries.require_run(session, run_id, for_update=True)
            row = session.get(RunArtifactRow, (run.id, path))
            if row is None:
                paths = session.scalars(sa.select(RunArtifactRow.path).where(RunArtifactRow.run_id == run.id)).all()
                raise NotFoundError(_no_artifact(run_id, path, paths))
            sha256 = row.sha256
            session.delete(row)
        return self._artifacts.release(self._database, [sha256])

    # -- shared --------------------------------------------------------------------------------------

    @property
    def _artifacts(self) -> ArtifactStore:
        if self._store_of_artifacts is None:
            self._store_of_artifacts = ArtifactStore(self._database.artifact_url)
        return self._store_of_artifacts

    def _store_artifacts(self, run_id: str, store: Callable[[], list[artifact_kinds.Stored]]) -> list[str]:
        """Put the files first, name them in a row second: a crash between leaves a file that a sweep removes."""
        with self._database.read() as session:
            queries.require_run(session, run_id)  # before a large file is copied for nothing
        stored = store()
        now = self._now_datetime()
        with self._database.write() as session:
            run = queries.require_run(session, run_id, for_update=True)
            self._artifacts.claim(session, [item.blob for item in stored], restore=store)
            paths = {item.path for item in stored}
            session.execute(
                sa.delete(RunArtifactRow).where(RunArtifactRow.run_id == run.id, RunArtifactRow.path.in_(paths))
            )
            for item in stored:
                session.add(
                    RunArtifactRow(
                        run_id=run.id,
                        path=item.path,
                        kind=item.kind,
                        sha256=item.blob.sha256,
                        size_bytes=item.blob.size_bytes,
                        created_at=now,
                        details=item.details,
                    )
                )
        return sorted(paths)

    def _find_artifact(self, run_id: str, path: str) -> Artifact:
        if not isinstance(path, str):
            raise TypeError(f"an artifact path is text, got {type(path).__name__}")
        with self._database.read() as session:
            run = queries.require_run(session, run_id, deleted=True)
            rows = session.scalars(sa.select(RunArtifactRow).where(RunArtifactRow.run_id == run.id)).all()
        for row in rows:
            if row.path == path:
                return queries.to_artifact(row)
        raise NotFoundError(_no_artifact(run_id, path, [row.path for row in rows]))


def _no_artifact(run_id: str, path: str, known: Sequence[str]) -> str:
    hint = f"it has {', '.join(sorted(known)[:10])}" if known else "it has none"
    return f"run {run_id} has no artifact {shorten(path)}; {hint}"
