"""What tracking hands out: frozen records of runs, metrics and artifacts, and how they look in a notebook."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lazy_dataclass import dataclass
from stats.metric_direction import metric_direction

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Artifact",
    "Experiment",
    "ImportReport",
    "MetricSummary",
    "PurgeReport",
    "Run",
    "RunStatus",
    "goal_of",
    "to_json_safe",
]


class RunStatus(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # an exception ended it
    KILLED = "killed"  # its process is gone and never said how it ended


def goal_of(metric: str) -> str:
    """Return "min" or "max": which end of a metric is its best, judged by its key; "max" where that does not tell.

    >>> goal_of("val/loss"), goal_of("accuracy"), goal_of("neg_log_loss")
    ('min', 'max', 'max')
    """
    return "min" if metric_direction(metric) == "lower" else "max"


def to_json_safe(value: Any) -> Any:
    """Return a value as plain JSON: NaN and infinities as None, instants as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): to_json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json_safe(item) for item in value]
    if isinstance(value, StrEnum):
        return str(value)
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """A metric of a run, in a line.

    Attributes
    ----------
    last, last_step, last_at
        Value at the highest step (NaN or infinite if that was logged), the step, and when it was logged (UTC).
    min, min_step, max, max_step
        Least and greatest finite value and the first step at which it stands; None without a finite value.
    n_points
        Number of steps with a value.
    """

    last: float
    last_step: int
    last_at: datetime
    min: float | None
    min_step: int | None
    max: float | None
    max_step: int | None
    n_points: int

    def best(self, goal: str) -> float | None:
        """Return the least ("min") or greatest ("max") finite value."""
        return self.min if goal == "min" else self.max

    def best_step(self, goal: str) -> int | None:
        """Return the step of the best value."""
        return self.min_step if goal == "min" else self.max_step

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {name: to_json_safe(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A named group of runs.

    Attributes
    ----------
    experiment_id, name, description, created_at
        `created_at` is UTC.
    n_runs, n_running, n_failed
        Runs that are not deleted; `n_failed` counts failed and killed ones.
    last_started_at
        Start of the latest run, or None.
    """

    experiment_id: str
    name: str
    description: str | None
    created_at: datetime
    n_runs: int
    n_running: int
    n_failed: int
    last_started_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {name: to_json_safe(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One stored file of a run.

    Attributes
    ----------
    path
        Relative path within the run, with "/".
    kind
        How `load_artifact` reads it: "file", "text", "json", "dataframe", "array", "plotly", "image" or "model".
    sha256, size_bytes
        Of the content.
    created_at
        When it was logged, UTC.
    details
        More about it, such as the shape of a frame.
    """

    path: str
    kind: str
    sha256: str
    size_bytes: int
    created_at: datetime
    details: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {name: to_json_safe(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it was when it was read.

    Attributes
    ----------
    run_id, name, experiment
        Public id, name, and the name of the experiment.
    status
        A `RunStatus`.
    started_at, ended_at
        UTC; `ended_at` is None while the run goes on.
    duration_seconds
        From start to end, or to the last heartbeat of a run that goes on; None if the clock ran backwards meanwhile.
    params, tags
        By key; params with the types they were logged with.
    metrics
        Last value by key.
    metric_summaries
        `MetricSummary` by key.
    parent_run_id
        The run this one is nested in, or None.
    error
        What ended a failed run, or None.
    note
        Free text, or None.
    environment
        Code, command, packages and hardware, as captured at the start; {} if nothing was.
    archived, deleted
        Archived runs are left out of searches unless asked for; deleted ones can be restored until they are purged.
    """

    run_id: str
    name: str
    experiment: str
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None
    duration_seconds: float | None
    params: dict[str, Any]
    metrics: dict[str, float]
    metric_summaries: dict[str, MetricSummary]
    tags: dict[str, str]
    parent_run_id: str | None
    error: str | None
    note: str | None
    environment: dict[str, Any]
    archived: bool
    deleted: bool

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-safe values; a NaN or infinite metric is None."""
        return {name: to_json_safe(getattr(self, name)) for name in self.__slots__}

    def to_frame(self) -> pd.DataFrame:
        """Return a row a metric: last, min, max, their steps, number of points."""
        import pandas as pd

        names = MetricSummary.__slots__
        rows = [{"metric": key, **{n: getattr(s, n) for n in names}} for key, s in self.metric_summaries.items()]
        return pd.DataFrame(rows, columns=["metric", *names])

    def _repr_html_(self) -> str:
        import html

        def table(title: str, items: Mapping[str, Any]) -> str:
            if not items:
                return ""
            rows = "".join(
                f"<tr><th style='text-align:left'>{html.escape(str(key))}</th><td>{html.escape(str(value))}</td></tr>"
                for key, value in items.items()
            )
            return f"<table><caption style='text-align:left'><b>{title}</b></caption>{rows}</table>"

        seconds = "" if self.duration_seconds is None else f", {self.duration_seconds:,.1f} s"
        head = f"<b>{html.escape(self.name)}</b> in {html.escape(self.experiment)}: {self.status}{seconds}"
        error = f"<pre>{html.escape(self.error)}</pre>" if self.error else ""
        shown = {key: f"{value:.6g}" for key, value in self.metrics.items()}
        return (
            f"<div>{head}<br><code>{self.run_id}</code>{error}{table('Metrics (last)', shown)}"
            f"{table('Params', self.params)}{table('Tags', self.tags)}</div>"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeReport:
    """What deleting for good gave back.

    Attributes
    ----------
    n_runs, n_points, n_artifacts
        Rows removed.
    blob_bytes
        Bytes of files that nobody else named and that were removed.
    database_bytes
        Bytes by which the database file shrank (0 on PostgreSQL, which reuses the space itself).
    """

    n_runs: int
    n_points: int
    n_artifacts: int
    blob_bytes: int
    database_bytes: int

    @property
    def freed_bytes(self) -> int:
        """All bytes given back to the disk."""
        return self.blob_bytes + self.database_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes
    ----------
    source
        What was read.
    run_ids
        Our id by the source's id, for every run of the source that is now stored, new or not.
    n_runs_found, n_runs_new, n_runs_known
        `n_runs_known` were here from an earlier import and were left as they are.
    n_params, n_metrics, n_points, n_tags, n_artifacts
        What was stored with the new runs; read back and counted, not assumed.
    n_points_dropped
        Values whose step had a later value: the last one is kept.
    problems
        One sentence for each thing that was not imported, and why.
    """

    source: str
    run_ids: dict[str, str]
    n_runs_found: int
    n_runs_new: int
    n_runs_known: int
    n_params: int
    n_metrics: int
    n_points: int
    n_tags: int
    n_artifacts: int
    n_points_dropped: int
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {name: to_json_safe(getattr(self, name)) for name in self.__slots__}

    def _repr_html_(self) -> str:
        import html

        problems = "".join(f"<li>{html.escape(problem)}</li>" for problem in self.problems)
        return (
            f"<div>Imported {self.n_runs_new} new of {self.n_runs_found} runs from {html.escape(self.source)}: "
            f"{self.n_params} params, {self.n_points} points of {self.n_metrics} metrics, {self.n_tags} tags, "
            f"{self.n_artifacts} artifacts; {self.n_points_dropped} points replaced by later ones at the same step."
            f"<ul>{problems}</ul></div>"
        )
