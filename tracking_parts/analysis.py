"""The questions about several runs at once: `ExperimentTracking` answers them through this base class.

What answers them is imported with the first question: most programs that log never ask one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tracking_parts import queries
from tracking_parts.blocks import extend
from tracking_parts.filters import parse_filter
from tracking_parts.history import ALL_STEPS, find_waiting, read_history
from tracking_parts.records import Run, goal_of
from tracking_parts.unknown import warn_of_unknown_keys
from values import check_choice, check_key, shorten

if TYPE_CHECKING:
    import pandas as pd

    from db import Database
    from tracking_parts.comparison import Leaderboard, RunDiff
    from tracking_parts.explain import Explanation

__all__ = ["Analysis"]

MAX_RUNS = 100_000  # runs one question looks at


class Analysis:
    """Comparison, explanation, leaderboard and report; needs a database and `_settle`."""

    _database: Database
    _sql: Callable[[str], str]

    if TYPE_CHECKING:  # provided by ExperimentTracking

        def _settle(self) -> None: ...

    # -- comparing -----------------------------------------------------------------------------------

    def compare_runs(
        self,
        run_ids: Sequence[str],
        *,
        metrics: Sequence[str] | None = None,
        goals: Mapping[str, str] | None = None,
        only_differences: bool = False,
    ) -> pd.DataFrame:
        """Put runs beside each other, a row each, in the order given.

        Parameters
        ----------
        run_ids : sequence of str
        metrics : sequence of str or None
            Only these metrics.
        goals : mapping or None
            "min" or "max" by metric: which end is best. Otherwise its name decides: "loss" and "error" are better
            when less.
        only_differences : bool
            Leave out what is the same in all the runs.

        Returns
        -------
        DataFrame
            run_id, name, experiment, status, started_at, duration_seconds, ``params.*``, ``metrics.*`` (last value),
            ``best.*`` (best finite value), ``tags.*``.

        Raises
        ------
        NotFoundError
            If one of the runs does not exist.
        """
        from tracking_parts.comparison import runs_to_frame

        return runs_to_frame(self._records(run_ids), metrics=metrics, goals=goals, only_differences=only_differences)

    def metric_summaries(
        self,
        run_ids: str | Sequence[str],
        metrics: str | Sequence[str] | None = None,
        *,
        goals: Mapping[str, str] | None = None,
    ) -> pd.DataFrame:
        """Return last, least, greatest and best values of metrics of many runs, in one query and without histories.

        Parameters
        ----------
        run_ids : str or sequence of str
        metrics : str, sequence of str or None
            None is all of each run.
        goals : mapping or None
            As for `compare_runs`.

        Returns
        -------
        DataFrame
            A row a run and metric, sorted by run (as given) and metric (as given, or by name): run_id, metric, last,
            last_step, last_at (UTC), min, min_step, max, max_step, best, best_step, n_points. "min", "max" and "best"
            look at finite values only; without one they are NaN, and their steps are missing. A run without the metric
            has no row.

        Raises
        ------
        NotFoundError
            If there is no such run.

        Examples
        --------
        >>> import tempfile
        >>> from experiment_tracking import ExperimentTracking
        >>> tracking = ExperimentTracking(f"{tempfile.mkdtemp()}/modeldesk.db")
        >>> run_id = tracking.start_run("e", "r")
        >>> tracking.log_metrics(run_id, {"loss": [0.5, 0.2, 0.3]})
        >>> tracking.metric_summaries(run_id)[["last", "best", "best_step"]].values.tolist()
        [[0.3, 0.2, 1]]
        """
        from tracking_parts.comparison import goals_for

        wanted = [run_ids] if isinstance(run_ids, str) else list(run_ids)
        chosen = [metrics] if isinstance(metrics, str) else metrics
        ends = goals_for(list(goals or {}), goals)
        for run_id in wanted:
            if not isinstance(run_id, str):
                raise TypeError(f"a run id is text, got {type(run_id).__name__} {shorten(run_id)}")
        self._settle()
        with self._database.read() as session:
            return queries.read_summaries(session, wanted, chosen, ends)

    def diff_runs(self, first: str, second: str) -> RunDiff:
        """Return what differs between two runs: params, metrics, tags, code and packages."""
        from tracking_parts.comparison import diff_records

        a, b = self._records([first, second], environment=True)
        return diff_records(a, b)

    def explain(
        self,
        metric: str,
        *,
        run_ids: Sequence[str] | None = None,
        experiment: str | Sequence[str] | None = None,
        filter: str | None = None,  # noqa: A002
        goal: str | None = None,
        value: str = "best",
        importance: bool = True,
    ) -> Explanation:
        """Tell which params go with a metric over a set of runs.

        Parameters
        ----------
        metric : str
        run_ids : sequence of str or None
            The runs; or else those of `experiment` that pass `filter`. Failed and killed ones are left out.
        experiment, filter
            As for `search_runs`.
        goal : {"min", "max"} or None
            Which end of the metric is good; None goes by its name.
        value : {"best", "last"}
            Which value of a run counts.
        importance : bool
            Whether to fit a forest for importances, where scikit-learn is installed.

        Returns
        -------
        Explanation
            Rank correlation and importance by param, the strongest first.
        """
        from tracking_parts.explain import explain_values

        metric = check_key(metric, "metric")
        goal = _goal(metric, goal)
        check_choice(value, "value", ["best", "last"])
        runs = self._records(run_ids) if run_ids is not None else self._matching(experiment, filter)
        runs = [run for run in runs if metric in run.metric_summaries and run.status not in ("failed", "killed")]
        values = [_value(run, metric, goal, value) for run in runs]
        return explain_values([run.params for run in runs], values, metric, goal=goal, importance=importance)

    def leaderboard(
        self,
        experiment: str,
        metric: str,
        *,
        goal: str | None = None,
        group_by: str | None = None,
        value: str = "best",
        filter: str | None = None,  # noqa: A002
    ) -> Leaderboard:
        """Rank the runs of an experiment, or groups of them such as the seeds of one configuration.

        Parameters
        ----------
        experiment, metric : str
        goal : {"min", "max"} or None
            Which end of the metric is good; None goes by its name.
        group_by : str or None
            ``"tags.config"`` or ``"params.lr"``: runs with the same value are one row, with mean and spread.
        value : {"best", "last"}
            Which value of a run counts. Only finished runs count; failed, killed and running ones are counted beside.
        filter : str or None
            As for `search_runs`.

        Raises
        ------
        NotFoundError
            If there is no such experiment.
        """
        from tracking_parts.comparison import build_leaderboard

        metric = check_key(metric, "metric")
        goal = _goal(metric, goal)
        check_choice(value, "value", ["best", "last"])
        if group_by is not None and not group_by.startswith(("tags.", "params.")):
            raise ValueError(f"group_by is 'tags.NAME' or 'params.NAME', got {group_by!r}")
        runs = self._matching(experiment, filter)
        return build_leaderboard(runs, experiment, metric, goal=goal, group_by=group_by, value=value)

    def report(
        self,
        run_ids: Sequence[str],
        path: str | os.PathLike[str] | None = None,
        *,
        title: str = "Comparison of runs",
        metrics: Sequence[str] | None = None,
        max_points: int = 400,
    ) -> str:
        """Write a comparison as one HTML file that needs nothing else: tables, curves, differences, code.

        Parameters
        ----------
        run_ids : sequence of str
        path : path or None
            Where to write it; None only returns it.
        title : str
        metrics : sequence of str or None
            Only these metrics.
        max_points : int
            Points of a curve at most, chosen so that no extreme is lost.

        Returns
        -------
        str
            The HTML.
        """
        from tracking_parts.report import build_report

        runs = self._records(run_ids, environment=True)
        chosen = sorted({key for run in runs for key in run.metrics}) if metrics is None else list(metrics)
        history = self._read_history(list(run_ids), chosen, max_points)
        text = build_report(runs, history, title=title, metrics=chosen)
        if path is not None:
            Path(path).write_text(text, encoding="utf-8")
        return text

    # -- shared --------------------------------------------------------------------------------------

    def _read_history(
        self,
        run_ids: Sequence[str],
        metrics: Sequence[str],
        max_points: int | None,
        steps: tuple[int, int] = ALL_STEPS,
    ) -> pd.DataFrame:
        """Read histories; if few points of them are wanted, the long ones get their blocks first, once and for all."""
        waiting: Sequence[tuple[int, int]] = ()
        if max_points is not None and not self._database.is_read_only:
            with self._database.read() as session:
                waiting = find_waiting(session, self._sql, run_ids, metrics)
                if not waiting:
                    return read_history(session, self._sql, run_ids, metrics, max_points, steps)
        lock = " FOR NO KEY UPDATE" if self._database.dialect == "postgresql" else ""
        for run, key in waiting:
            more = True
            while more:  # a short transaction each, so that those who log can go on
                with self._database.driver() as cursor:
                    cursor.execute(self._sql(f"SELECT id FROM runs WHERE id = ?{lock}"), (run,))  # noqa: S608
                    more = extend(cursor, self._sql, run, key)
        with self._database.read() as session:
            return read_history(session, self._sql, run_ids, metrics, max_points, steps)

    def _records(self, run_ids: Sequence[str], *, environment: bool = False) -> list[Run]:
        wanted = [run_ids] if isinstance(run_ids, str) else list(run_ids)
        self._settle()
        with self._database.read() as session:
            numbers = [queries.require_run(session, run_id, deleted=True).id for run_id in wanted]
            return queries.read_runs(session, numbers, environment=environment)

    def _matching(self, experiment: str | Sequence[str] | None, filter: str | None) -> list[Run]:  # noqa: A002
        node = None if filter is None or not filter.strip() else parse_filter(filter)
        self._settle()
        with self._database.read() as session:
            numbers = queries.find_runs(session, node, experiment, [], MAX_RUNS, 0, "active")
            warn_of_unknown_keys(session, node, [], experiment, "active", found=bool(numbers), depth=3)
            return queries.read_runs(session, numbers, environment=False)


def _goal(metric: str, goal: str | None) -> str:
    return goal_of(metric) if goal is None else check_choice(goal, "goal", ["min", "max"])


def _value(run: Run, metric: str, goal: str, value: str) -> float:
    summary = run.metric_summaries[metric]
    best = summary.best(goal) if value == "best" else summary.last
    return float("nan") if best is None else best
