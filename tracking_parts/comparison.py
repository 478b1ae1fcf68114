"""Runs beside each other: a row a run, a diff of two, and the leaderboard of an experiment. Records in, results out."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lazy_dataclass import dataclass
from tracking_parts.records import Run, RunStatus, goal_of, to_json_safe
from values import encode_json

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = ["Leaderboard", "LeaderboardRow", "RunDiff", "build_leaderboard", "diff_records", "runs_to_frame"]


def _exact(value: object) -> str:
    """Return a text that differs for values that differ in type: 1, 1.0, True and "1" are four params."""
    return encode_json(value)


def goals_for(metrics: Sequence[str], goals: Mapping[str, str] | None) -> dict[str, str]:
    """Return which end of each metric is its best: as told, else as its name says."""
    told = dict(goals or {})
    for name, goal in told.items():
        if goal not in ("min", "max"):
            raise ValueError(f"the goal of {name!r} must be 'min' or 'max', got {goal!r}")
    return {name: told.get(name) or goal_of(name) for name in metrics}


def runs_to_frame(
    runs: Sequence[Run],
    *,
    metrics: Sequence[str] | None = None,
    goals: Mapping[str, str] | None = None,
    only_differences: bool = False,
) -> pd.DataFrame:
    """Return a row a run: identity, params, last and best metrics, tags.

    Columns are run_id, name, experiment, status, started_at, duration_seconds, ``params.*``, ``metrics.*`` (last
    value), ``best.*`` (least or greatest finite value) and ``tags.*``. A run that lacks something has None or NaN
    there.
    """
    import numpy as np
    import pandas as pd

    keys = sorted({key for run in runs for key in run.metrics}) if metrics is None else list(metrics)
    ends = goals_for(keys, goals)
    data: dict[str, Any] = {
        "run_id": [run.run_id for run in runs],
        "name": [run.name for run in runs],
        "experiment": [run.experiment for run in runs],
        "status": [str(run.status) for run in runs],
        "started_at": pd.DatetimeIndex([run.started_at for run in runs], tz="UTC"),
        "duration_seconds": np.array([_or_nan(run.duration_seconds) for run in runs], dtype="float64"),
    }

    def add(name: str, values: Sequence[Any], column: Any) -> None:
        if only_differences and len(runs) > 1 and len({_exact(value) for value in values}) == 1:
            return
        data[name] = column

    for key in sorted({key for run in runs for key in run.params}):
        values = [run.params.get(key) for run in runs]
        numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        add(f"params.{key}", values, values if numeric else pd.Series(values, dtype="object"))
    for key in keys:
        last = [_or_nan(run.metrics.get(key)) for run in runs]
        add(f"metrics.{key}", last, np.array(last, dtype="float64"))
    for key in keys:
        found = [run.metric_summaries.get(key) for run in runs]
        best = [_or_nan(None if summary is None else summary.best(ends[key])) for summary in found]
        add(f"best.{key}", best, np.array(best, dtype="float64"))
    for key in sorted({key for run in runs for key in run.tags}):
        texts = [run.tags.get(key) for run in runs]
        add(f"tags.{key}", texts, pd.Series(texts, dtype="object"))
    frame = pd.DataFrame(data)
    if only_differences and len(runs) > 1:
        frame = frame.drop(columns=[c for c in ("experiment", "status") if frame[c].nunique() == 1])
    return frame


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


# -- two runs ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDiff:
    """What differs between two runs.

    Attributes
    ----------
    first, second
        The runs.
    params, tags, environment
        (first, second) by key, of what differs; None on the side that lacks it.
    metrics
        (last of first, last of second, second minus first or None) by key, of all metrics.
    n_same_params
        Params that are equal.
    """

    first: Run
    second: Run
    params: dict[str, tuple[Any, Any]]
    metrics: dict[str, tuple[float | None, float | None, float | None]]
    tags: dict[str, tuple[str | None, str | None]]
    environment: dict[str, tuple[Any, Any]]
    n_same_params: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-safe values."""
        return {
            "first": self.first.run_id,
            "second": self.second.run_id,
            **{name: to_json_safe(getattr(self, name)) for name in ("params", "metrics", "tags", "environment")},
            "n_same_params": self.n_same_params,
        }

    def to_frame(self) -> pd.DataFrame:
        """Return a row a difference: what, key, first, second."""
        import pandas as pd

        rows = [
            (what, key, pair[0], pair[1])
            for what in ("params", "metrics", "tags", "environment")
            for key, pair in getattr(self, what).items()
        ]
        return pd.DataFrame(rows, columns=["what", "key", "first", "second"])

    def plot(self) -> go.Figure:
        """Return the metrics of both beside each other."""
        from charts.tracking import plot_run_diff

        return plot_run_diff(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>"
            for row in self.to_frame().itertuples(index=False)
        )
        head = f"<th></th><th></th><th>{html.escape(self.first.name)}</th><th>{html.escape(self.second.name)}</th>"
        return f"<table><tr>{head}</tr>{rows}</table>{self.n_same_params} params are equal"


def diff_records(first: Run, second: Run) -> RunDiff:
    """Return what differs between two runs."""
    params = _diff(first.params, second.params)
    names = sorted({*first.metrics, *second.metrics})
    metrics: dict[str, tuple[float | None, float | None, float | None]] = {}
    for name in names:
        a, b = first.metrics.get(name), second.metrics.get(name)
        both = a is not None and b is not None and math.isfinite(a) and math.isfinite(b)
        metrics[name] = (a, b, b - a if both and a is not None and b is not None else None)
    return RunDiff(
        first=first,
        second=second,
        params=params,
        metrics=metrics,
        tags=_diff(first.tags, second.tags),
        environment=_diff(_flat_environment(first.environment), _flat_environment(second.environment)),
        n_same_params=len({*first.params, *second.params}) - len(params),
    )


def _diff(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {
        key: (first.get(key), second.get(key))
        for key in sorted({*first, *second})
        if (key in first) != (key in second) or _exact(first[key]) != _exact(second[key])
    }


def _flat_environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in environment.items():
        if isinstance(value, Mapping):
            result.update({f"{key}.{name}": item for name, item in value.items()})
        else:
            result[key] = value
    result.pop("host.pid", None)  # every process has another
    return result


# -- an experiment -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderboardRow:
    """A run, or the runs of a group (seeds of one configuration).

    Attributes
    ----------
    group
        Value of the tag or param the runs were grouped by; the run's name without grouping.
    mean, std, min, max
        Over the runs that ended with a finite value; std (n - 1) is None for a single run.
    n_runs
        Runs that count for the mean.
    n_failed, n_running, n_without_value, n_early_stopped
        Failed or killed ones; running ones; finished ones without a finite value; finished ones whose last step is
        below that of the longest run.
    best_run_id, best_value, best_step
        Of the best run; None if no run counts.
    """

    group: str
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    n_runs: int
    n_failed: int
    n_running: int
    n_without_value: int
    n_early_stopped: int
    best_run_id: str | None
    best_value: float | None
    best_step: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return {name: to_json_safe(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """The runs of an experiment by a metric, the best first.

    Attributes
    ----------
    experiment, metric, goal, group_by, value
        `value` is "best" or "last": which value of a run counts.
    rows
        `LeaderboardRow`, the best mean first; rows without one last.
    best_run_id, best_value
        Of all runs; None without any.
    n_runs, n_finished, n_failed, n_killed, n_running, n_early_stopped
        Over the whole experiment.
    """

    experiment: str
    metric: str
    goal: str
    group_by: str | None
    value: str
    rows: tuple[LeaderboardRow, ...]
    best_run_id: str | None
    best_value: float | None
    n_runs: int
    n_finished: int
    n_failed: int
    n_killed: int
    n_running: int
    n_early_stopped: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-safe values."""
        result = {name: to_json_safe(getattr(self, name)) for name in self.__slots__}
        return result | {"rows": [row.to_dict() for row in self.rows]}

    def to_frame(self) -> pd.DataFrame:
        """Return a row a group."""
        import pandas as pd

        return pd.DataFrame([row.to_dict() for row in self.rows], columns=list(LeaderboardRow.__slots__))

    def plot(self) -> go.Figure:
        """Return the groups with mean and spread."""
        from charts.tracking import plot_leaderboard

        return plot_leaderboard(self)

    def _repr_html_(self) -> str:
        columns = ("group", "mean", "std", "n_runs", "n_failed", "best_value")
        head = "".join(f"<th>{name}</th>" for name in columns)
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td>{html.escape(f'{v:.6g}' if isinstance(v, float) else str('' if v is None else v))}</td>"
                for v in (getattr(row, name) for name in columns)
            )
            + "</tr>"
            for row in self.rows
        )
        return (
            f"<div><b>{html.escape(self.experiment)}</b> by {html.escape(self.metric)} ({self.goal}): "
            f"{self.n_runs} runs, {self.n_failed + self.n_killed} failed or killed, "
            f"{self.n_running} running, {self.n_early_stopped} stopped early"
            f"<table><tr>{head}</tr>{rows}</table></div>"
        )


def build_leaderboard(
    runs: Sequence[Run], experiment: str, metric: str, *, goal: str, group_by: str | None, value: str
) -> Leaderboard:
    """Return the leaderboard of runs; see `ExperimentTracking.leaderboard`."""
    longest = max(
        (run.metric_summaries[metric].last_step for run in runs if metric in run.metric_summaries), default=None
    )
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.run_id if group_by is None else _group_of(run, group_by), []).append(run)
    rows = [
        _leaderboard_row(members[0].name if group_by is None else name, members, metric, goal, value, longest)
        for name, members in groups.items()
    ]
    sign = -1.0 if goal == "max" else 1.0
    rows.sort(key=lambda row: (row.mean is None, 0.0 if row.mean is None else sign * row.mean, row.group))
    ranked = [row for row in rows if row.best_value is not None]
    best = min(ranked, key=lambda row: sign * (row.best_value or 0.0), default=None)
    statuses = [run.status for run in runs]
    return Leaderboard(
        experiment=experiment,
        metric=metric,
        goal=goal,
        group_by=group_by,
        value=value,
        rows=tuple(rows),
        best_run_id=None if best is None else best.best_run_id,
        best_value=None if best is None else best.best_value,
        n_runs=len(runs),
        n_finished=statuses.count(RunStatus.FINISHED),
        n_failed=statuses.count(RunStatus.FAILED),
        n_killed=statuses.count(RunStatus.KILLED),
        n_running=statuses.count(RunStatus.RUNNING),
        n_early_stopped=sum(row.n_early_stopped for row in rows),
    )


def _group_of(run: Run, group_by: str) -> str:
    kind, _, key = group_by.partition(".")
    source: Mapping[str, Any] = run.tags if kind == "tags" else run.params
    if key not in source:
        return f"(no {group_by})"
    found = source[key]
    return found if isinstance(found, str) else encode_json(found)


def _leaderboard_row(
    name: str, members: Sequence[Run], metric: str, goal: str, value: str, longest: int | None
) -> LeaderboardRow:
    counted: list[tuple[float, Run, int]] = []
    n_failed = n_running = n_without = n_early = 0
    for run in members:
        summary = run.metric_summaries.get(metric)
        if run.status in (RunStatus.FAILED, RunStatus.KILLED):
            n_failed += 1
            continue
        if run.status == RunStatus.RUNNING:
            n_running += 1
            continue
        score = None if summary is None else summary.best(goal) if value == "best" else summary.last
        if summary is None or score is None or not math.isfinite(score):
            n_without += 1
            continue
        if longest is not None and summary.last_step < longest:
            n_early += 1
        step = summary.best_step(goal) if value == "best" else summary.last_step
        counted.append((score, run, summary.last_step if step is None else step))
    scores = [score for score, _, _ in counted]
    mean = math.fsum(scores) / len(scores) if scores else None
    std = None
    if mean is not None and len(scores) > 1:
        std = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
    pick = max if goal == "max" else min
    best = pick(counted, key=lambda item: item[0]) if counted else None
    return LeaderboardRow(
        group=name,
        mean=mean,
        std=std,
        min=min(scores) if scores else None,
        max=max(scores) if scores else None,
        n_runs=len(scores),
        n_failed=n_failed,
        n_running=n_running,
        n_without_value=n_without,
        n_early_stopped=n_early,
        best_run_id=None if best is None else best[1].run_id,
        best_value=None if best is None else best[0],
        best_step=None if best is None else best[2],
    )
