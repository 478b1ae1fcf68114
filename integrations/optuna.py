"""Optuna: each trial of a study becomes a run.

study.optimize(objective, n_trials=50, callbacks=[StudyCallback(tracking, "my-study", metric="accuracy")])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiment_tracking import ExperimentTracking

__all__ = ["StudyCallback"]

STATUSES = {"COMPLETE": "finished", "PRUNED": "finished", "FAIL": "failed", "RUNNING": "killed", "WAITING": "killed"}


class StudyCallback:
    """Called by Optuna after every trial.

    Parameters
    ----------
    tracking : ExperimentTracking
    experiment : str
    metric : str or sequence of str
        Name of what the objective returns; as many as it returns values.
    parent_run_id : str or None
        The run the trials are nested in.
    """

    def __init__(
        self,
        tracking: ExperimentTracking,
        experiment: str,
        *,
        metric: str | tuple[str, ...] | list[str] = "objective",
        parent_run_id: str | None = None,
    ) -> None:
        self._tracking = tracking
        self._experiment = experiment
        self._metrics = [metric] if isinstance(metric, str) else list(metric)
        self._parent = parent_run_id

    def __call__(self, study: Any, trial: Any) -> None:
        """Log a trial: params, values, intermediate values, state."""
        state = getattr(trial.state, "name", str(trial.state))
        attributes = {
            f"user.{key}": value
            for key, value in getattr(trial, "user_attrs", {}).items()
            if isinstance(value, bool | int | float | str)
        }
        run_id = self._tracking.start_run(
            self._experiment,
            f"trial-{trial.number:04d}",
            params=dict(trial.params),
            tags={
                "study": str(study.study_name).replace("\x00", ""),
                "state": state,
                "trial": trial.number,
                **attributes,
            },
            parent_run_id=self._parent,
        )
        intermediate = dict(getattr(trial, "intermediate_values", {}) or {})
        if intermediate:
            steps = sorted(intermediate)
            values = [float(intermediate[step]) for step in steps]
            self._tracking.log_metrics(
                run_id, {f"{self._metrics[0]}/intermediate": values}, step=[int(s) for s in steps]
            )
        if trial.values is not None:
            if len(trial.values) != len(self._metrics):
                raise ValueError(
                    f"the objective returns {len(trial.values)} values, but metric names {len(self._metrics)}"
                )
            self._tracking.log_metrics(run_id, dict(zip(self._metrics, map(float, trial.values), strict=True)), step=0)
        self._tracking.end_run(run_id, STATUSES.get(state, "finished"))
