"""scikit-learn: params of estimators, results of searches, scores.

>>> import tempfile
>>> from experiment_tracking import ExperimentTracking
>>> from sklearn.linear_model import Ridge
>>> tracking = ExperimentTracking(f"{tempfile.mkdtemp()}/modeldesk.db")
>>> with tracking.run("ridge") as run:
...     log_estimator(run, Ridge(alpha=0.5))
>>> tracking.get_run(run.run_id).params["alpha"]
0.5
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracking_parts.handle import ActiveRun

__all__ = ["log_estimator", "log_search"]

TEXT_LIMIT = 2_000  # characters of an object that is no plain value


def _plain(value: Any) -> Any:
    """Return a param as JSON: plain values as they are, anything else as its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return value.item()
    if isinstance(value, list | tuple) and all(
        item is None or isinstance(item, bool | int | float | str) for item in value
    ):
        return list(value)
    return repr(value)[:TEXT_LIMIT]


def estimator_params(estimator: Any) -> dict[str, Any]:
    """Return the params of an estimator, those of its parts with dots ("clf.alpha")."""
    params = estimator.get_params(deep=True)
    # A part that has params of its own is named by its class: its repr would repeat them.
    return {
        name.replace("__", "."): type(value).__name__ if hasattr(value, "get_params") else _plain(value)
        for name, value in params.items()
        if name not in ("steps", "transformers", "estimators")
    }


def log_estimator(
    run: ActiveRun, estimator: Any, *, scores: Mapping[str, float] | None = None, model: bool = False
) -> None:
    """Log the params of an estimator, what class it is, and what fitting told.

    Parameters
    ----------
    run : ActiveRun
    estimator : scikit-learn estimator
    scores : mapping or None
        Metrics to log with it.
    model : bool
        Whether to store the estimator itself as an artifact.
    """
    run.log_params(estimator_params(estimator))
    run.set_tags({"estimator": type(estimator).__name__})
    curve = getattr(estimator, "loss_curve_", None)
    if curve is not None and len(curve):
        run.log({"loss": [float(value) for value in curve]}, step=list(range(len(curve))))
    n_iter = getattr(estimator, "n_iter_", None)
    if isinstance(n_iter, int):
        run.log({"n_iter": n_iter})
    if scores:
        run.log(dict(scores))
    if model:
        run.log_artifact(estimator, "model.joblib", kind="model")


def log_search(run: ActiveRun, search: Any, *, children: bool = True) -> int:
    """Log a fitted search (GridSearchCV and its like): the best in this run, each candidate as a nested run.

    Parameters
    ----------
    run : ActiveRun
    search : fitted search
        Anything with `cv_results_`.
    children : bool
        Whether every candidate becomes a run nested in this one.

    Returns
    -------
    int
        Number of candidates.
    """
    results = search.cv_results_
    candidates = list(results["params"])
    metrics = [name for name in results if name.startswith(("mean_", "std_")) and len(results[name]) == len(candidates)]
    if hasattr(search, "best_params_"):
        run.log_params(
            {f"best.{name.replace('__', '.')}": _plain(value) for name, value in search.best_params_.items()}
        )
    if hasattr(search, "best_score_") and math.isfinite(float(search.best_score_)):
        run.log({"best_score": float(search.best_score_)})
    run.set_tags({"search": type(search).__name__, "n_candidates": len(candidates)})
    if children:
        for index, params in enumerate(candidates):
            with run.run(f"candidate-{index:03d}") as child:
                child.log_params({name.replace("__", "."): _plain(value) for name, value in params.items()})
                child.log({name: float(results[name][index]) for name in metrics}, step=0)
    return len(candidates)
