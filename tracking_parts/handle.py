"""The handle on a run that goes on: what `with tracking.run(...) as run:` gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from experiment_tracking import ExperimentTracking
    from tracking_parts.records import Run
    from tracking_parts.system_metrics import SystemMetrics

__all__ = ["ActiveRun"]

T = TypeVar("T")


class ActiveRun:
    """Acts on one run. `snapshot` is how the run stands; this object itself keeps nothing but the id.

    Attributes
    ----------
    run_id : str
    """

    def __init__(self, tracking: ExperimentTracking, run_id: str, experiment: str | None) -> None:
        self._tracking = tracking
        self._experiment = experiment
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"ActiveRun({self.run_id!r})"

    def log(self, metrics: Any, step: Any = None, *, at: Any = None) -> None:
        """Store values of metrics, as `ExperimentTracking.log_metrics` does."""
        self._tracking.log_metrics(self.run_id, metrics, step, at=at)

    def log_params(self, params: Mapping[str, Any], *, overwrite: bool = False) -> None:
        """Store params, as `ExperimentTracking.log_params` does."""
        self._tracking.log_params(self.run_id, params, overwrite=overwrite)

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags."""
        self._tracking.set_tags(self.run_id, tags)

    def set_note(self, note: str | None) -> None:
        """Set the note."""
        self._tracking.set_note(self.run_id, note)

    def log_artifact(self, path_or_object: Any, name: str | None = None, *, kind: str | None = None) -> list[str]:
        """Store a file, a folder or an object, as `ExperimentTracking.log_artifact` does."""
        return self._tracking.log_artifact(self.run_id, path_or_object, name, kind=kind)

    def log_text(self, text: str, name: str) -> list[str]:
        """Store text as a file."""
        return self._tracking.log_text(self.run_id, text, name)

    def run(
        self,
        name: str | None = None,
        *,
        experiment: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> AbstractContextManager[ActiveRun]:
        """Start a run nested in this one, in the same experiment unless another is named."""
        chosen = experiment or self._experiment or self.snapshot().experiment
        return self._tracking.run(chosen, name, params=params, tags=tags, parent_run_id=self.run_id)

    def track(self, iterable: Iterable[T], **options: Any) -> Iterator[T]:
        """Go through an iterable with a progress bar that also shows the metrics logged meanwhile."""
        from integrations.progress import track

        return track(iterable, self, **options)

    def snapshot(self) -> Run:
        """Return the run as it stands."""
        return self._tracking.get_run(self.run_id)

    def flush(self) -> None:
        """Store what the buffered mode holds back."""
        self._tracking.flush()

    def _start_system_metrics(self, wanted: bool | float) -> SystemMetrics | None:
        if wanted is False:
            return None
        from tracking_parts.system_metrics import SystemMetrics

        return SystemMetrics(self, 10.0 if wanted is True else float(wanted)).start()
