"""Compare arrays or the variants in a DataFrame, without any database.

>>> analyze_values([0.81, 0.84, 0.79, 0.88], [0.86, 0.89, 0.85, 0.91]).n_subjects
{'baseline': 4, 'treatment': 4}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ab_parts.analysis import analyze_data
from ab_parts.design import ExperimentConfig
from ab_parts.metrics import Aggregation, Metric, MetricType
from ab_parts.results import ExperimentAnalysis
from ab_parts.summaries import data_from_values, to_numbers, to_pairs
from values import InvalidValueError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["analyze_frame", "analyze_values"]

FEW_VARIANTS = 1000  # whole numbers up to it are counted instead of hashed


def analyze_values(
    baseline: Any,
    treatment: Any,
    metric_type: MetricType | str = MetricType.CONTINUOUS,
    **design: Any,
) -> ExperimentAnalysis:
    """Compare two arrays of values, one per subject, without any database.

    Parameters
    ----------
    baseline, treatment : array of shape (n,)
        For ratio metrics arrays of shape (n, 2): numerator and denominator.
    metric_type : MetricType or str
    **design
        Fields of `ExperimentConfig`; the result is judged as a finished fixed-horizon test by default.

    Returns
    -------
    ExperimentAnalysis

    Examples
    --------
    >>> analyze_values([0.81, 0.84, 0.79, 0.88], [0.86, 0.89, 0.85, 0.91]).n_subjects
    {'baseline': 4, 'treatment': 4}
    """
    settings: dict[str, Any] = {
        "name": "in memory",
        "metric_name": "value",
        "min_sample_size": 2,
        "stopping": "fixed_horizon",
        "metric_type": metric_type,
    }
    config = ExperimentConfig(**(settings | design))
    data = data_from_values(config, [baseline, treatment])
    n = [data.n_of(0), data.n_of(1)]
    return analyze_data(config, [data], assigned={1: n}, shares={1: None}, running=False)[0]


def analyze_frame(
    frame: pd.DataFrame,
    *,
    variant: str,
    value: str,
    baseline: str | None = None,
    denominator: str | None = None,
    subject: str | None = None,
    metric_type: MetricType | str = MetricType.CONTINUOUS,
    **design: Any,
) -> ExperimentAnalysis:
    """Compare the variants in a DataFrame, without any database.

    Parameters
    ----------
    frame : DataFrame
        One row per subject, or several when ``subject`` names the column with their ids.
    variant, value : str
        Columns with the variant and the value.
    baseline : str or None
        Which variant is the baseline; "baseline" or "control" by default, else the first in sorted order.
    denominator : str or None
        Column of the denominator of ratio metrics.
    subject : str or None
        Column of subject ids: rows of one subject are first aggregated as the design says.
    metric_type : MetricType or str
    **design
        Fields of `ExperimentConfig`.

    Returns
    -------
    ExperimentAnalysis
    """
    names, arms, conflicts = _arms_from_frame(
        frame, variant, value, baseline, denominator, subject, metric_type, design
    )
    settings: dict[str, Any] = {
        "name": "in memory",
        "metric_name": value,
        "min_sample_size": 2,
        "stopping": "fixed_horizon",
        "metric_type": metric_type,
    }
    if len(names) > 2 or names[1] != "treatment":
        share = 1.0 / len(names)
        settings["treatments"] = dict.fromkeys(names[1:], share)
    config = ExperimentConfig(**(settings | design))
    data = data_from_values(config, arms)
    n = [data.n_of(index) for index in range(len(names))]
    return analyze_data(config, [data], assigned={1: n}, shares={1: None}, running=False, conflicts=conflicts)[0]


def _arms_from_frame(
    frame: pd.DataFrame,
    variant: str,
    value: str,
    baseline: str | None,
    denominator: str | None,
    subject: str | None,
    metric_type: MetricType | str,
    design: Mapping[str, Any],
) -> tuple[list[str], list[Any], int]:
    """Return variant names ("baseline" first), their arrays, and the number of subjects in several variants."""
    for name in (variant, value, denominator, subject):
        if name is not None and name not in frame.columns:
            raise InvalidValueError(f"there is no column {name!r}; columns are {', '.join(map(repr, frame.columns))}")
    if frame[variant].isna().any():
        raise InvalidValueError(f"column {variant!r} has missing values")
    conflicts = 0
    columns = [value] if denominator is None else [value, denominator]
    if subject is not None:
        metric = Metric(name=value, metric_type=metric_type, aggregation=design.get("aggregation"))  # type: ignore[arg-type]
        if frame[subject].isna().any():
            raise InvalidValueError(f"column {subject!r} has missing values; every row needs the id of its subject")
        if (
            metric.metric_type is MetricType.RATIO
        ):  # what is wrong with an event may vanish in what its subject comes to
            to_pairs(frame[columns].to_numpy(), f"values of {value!r}")
        else:
            to_numbers(metric, frame[value].to_numpy(), f"values of {value!r}")
        variants_of = frame.groupby(subject, sort=False)[variant].nunique()
        conflicts = int((variants_of > 1).sum())
        how = {Aggregation.ANY: "max"}.get(metric.aggregation, str(metric.aggregation.value))
        grouped = frame.groupby(subject, sort=False)
        combined = grouped[columns].agg(how)
        combined[variant] = grouped[variant].first()
        frame = combined
    found, codes = _coded(frame[variant])
    names = sorted(found, key=str)
    if len(names) < 2:
        raise InvalidValueError(f"column {variant!r} must have at least two variants, it has {names!r}")
    if baseline is None:
        known = [name for name in names if str(name).lower() in ("baseline", "control")]
        baseline = known[0] if known else names[0]
    if baseline not in names:
        raise InvalidValueError(f"baseline {baseline!r} is not among the variants {names!r}")
    ordered = [baseline, *(name for name in names if name != baseline)]
    values = frame[columns].to_numpy() if denominator is not None else frame[value].to_numpy()
    # positions first: four times as fast as indexing with a random mask
    arms = [values.take(np.flatnonzero(codes == found[name]), axis=0) for name in ordered]
    return ["baseline", *(str(name) for name in ordered[1:])], arms, conflicts


def _coded(column: pd.Series) -> tuple[dict[Any, int], Any]:
    """Return the distinct values of a column and the number of each, and the column as these numbers."""
    values = column.to_numpy()
    if values.dtype.kind in "iu" and values.size:
        low, high = int(values.min()), int(values.max())
        if low >= 0 and high <= FEW_VARIANTS:
            return {int(code): int(code) for code in np.flatnonzero(np.bincount(values))}, values
    import pandas as pd

    codes, names = pd.factorize(column)
    return {name: code for code, name in enumerate(names.tolist())}, codes
