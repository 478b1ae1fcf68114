"""Sufficient statistics of one metric, wherever they come from: a database, arrays, a DataFrame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ab_parts.design import ExperimentConfig
from ab_parts.metrics import Metric, MetricType
from stats.comparison import Comparison, compare_counts, compare_means, compare_proportions, tally_statistics
from stats.formatting import format_number
from stats.means import cuped
from stats.moments import JointStatistics, MeanStatistics, as_values
from stats.ranks import Tallies
from stats.ratios import ratio_statistics
from values import InvalidTypeError, InvalidValueError

__all__ = ["MetricData", "data_from_values", "ratio_arm", "to_numbers", "to_pairs"]

FEW_PER_SIDE = 2


@dataclass(slots=True)
class MetricData:
    """Sufficient statistics of one metric by (phase, variant); which of the tables is filled depends on the metric.

    Attributes
    ----------
    metric : Metric
    n_variants : int
    means, rates, joint : dict
        Continuous; binary as (successes, n); ratio or covariate.
    tallies : dict
        Counts by phase: (values, frequencies of shape (n_variants, n_distinct)).
    cap : float or None
    n_covariates : int
    """

    metric: Metric
    n_variants: int
    means: dict[tuple[int, int], MeanStatistics] = field(default_factory=dict)
    rates: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    joint: dict[tuple[int, int], JointStatistics] = field(default_factory=dict)
    tallies: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    cap: float | None = None
    n_covariates: int = 0

    @classmethod
    def from_tally_rows(cls, metric: Metric, n_variants: int, rows: Sequence[Any]) -> MetricData:
        """Build from rows (phase, variant, value, count)."""
        data = cls(metric, n_variants)
        by_phase: dict[int, list[tuple[int, float, int]]] = {}
        for phase, variant, value, count in rows:
            by_phase.setdefault(int(phase), []).append((int(variant), float(value), int(count)))
        for phase, cells in by_phase.items():
            values, places = np.unique(np.array([value for _, value, _ in cells]), return_inverse=True)
            frequencies = np.zeros((n_variants, values.size), dtype=np.int64)
            np.add.at(
                frequencies,
                (np.array([variant for variant, *_ in cells]), places),
                np.array([cell[2] for cell in cells]),
            )
            data.tallies[phase] = (values, frequencies)
        return data

    @property
    def phases(self) -> list[int]:
        """Phases with data, in order."""
        found = {phase for table in (self.means, self.rates, self.joint) for phase, _ in table}
        return sorted(found | set(self.tallies))

    def n_of(self, variant: int) -> int:
        """Return the subjects of a variant over all phases."""
        total = sum(arm.n for (_, index), arm in self.means.items() if index == variant)
        total += sum(arm[1] for (_, index), arm in self.rates.items() if index == variant)
        total += sum(arm.n for (_, index), arm in self.joint.items() if index == variant)
        return total + sum(int(frequencies[variant].sum()) for _, frequencies in self.tallies.values())

    def n_by_phase(self, phase: int) -> list[int]:
        """Return the subjects of every variant in one phase."""
        if phase in self.tallies:
            return [int(row.sum()) for row in self.tallies[phase][1]]
        result = []
        for variant in range(self.n_variants):
            key = (phase, variant)
            rate = self.rates.get(key)
            arm = self.means.get(key) or self.joint.get(key)
            result.append(rate[1] if rate else arm.n if arm else 0)
        return result

    def mean_pairs(self, variant: int) -> tuple[list[tuple[MeanStatistics, MeanStatistics]], float | None]:
        """Return (baseline, treatment) per phase as means, and the variance reduction by the covariate."""
        phases = self.phases or [1]
        empty = MeanStatistics(n=0, mean=0.0, deviations=0.0)
        if self.tallies:
            pairs = []
            for phase in phases:
                values, frequencies = self.tallies[phase]
                pairs.append(tally_statistics(Tallies(values, frequencies[0], frequencies[variant])))
            return pairs, None
        if self.rates:
            return [(_rate(self.rates.get((p, 0))), _rate(self.rates.get((p, variant)))) for p in phases], None
        if not self.joint:
            return [(self.means.get((p, 0), empty), self.means.get((p, variant), empty)) for p in phases], None
        if self.metric.metric_type is MetricType.RATIO:
            arms = {key: ratio_arm(arm) or empty for key, arm in self.joint.items()}
            return [(arms.get((p, 0), empty), arms.get((p, variant), empty)) for p in phases], None
        nothing = JointStatistics(n=0, x_mean=0.0, y_mean=0.0, x_deviations=0.0, y_deviations=0.0, xy_deviations=0.0)
        pairs, before, after = [], 0.0, 0.0
        for phase in phases:
            # theta and the covariate's mean over all variants, so that every treatment is adjusted alike
            everyone = [self.joint.get((phase, index), nothing) for index in range(self.n_variants)]
            if sum(arm.n for arm in everyone) < FEW_PER_SIDE:
                pairs.append((everyone[0].y, everyone[variant].y))
                continue
            adjusted = cuped(everyone).arms
            pairs.append((adjusted[0], adjusted[variant]))
            before += sum(everyone[index].y_deviations for index in (0, variant))
            after += sum(adjusted[index].deviations for index in (0, variant))
        return pairs, 1.0 - after / before if before > 0.0 else None

    def compare(self, variant: int, alpha: float, alternative: str) -> tuple[Comparison, float | None]:
        """Return the comparison of a treatment with the baseline, and the variance reduction."""
        kind = self.metric.metric_type
        if kind is MetricType.BINARY:
            strata = [
                (self.rates.get((p, 0), (0, 0)), self.rates.get((p, variant), (0, 0))) for p in self.phases or [1]
            ]
            return compare_proportions(strata, alpha=alpha, alternative=alternative), None
        if kind is MetricType.COUNT:
            counted = [
                Tallies(values, frequencies[0], frequencies[variant])
                for values, frequencies in (self.tallies[phase] for phase in self.phases)
            ]
            nothing = Tallies(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
            return compare_counts(counted or [nothing], alpha=alpha, alternative=alternative), None
        pairs, reduction = self.mean_pairs(variant)
        label = "Welch's t-test"
        if kind is MetricType.RATIO:
            label = "delta method for a ratio of sums, Welch's t-test"
        elif reduction is not None:
            label = "Welch's t-test with a covariate (CUPED)"
        if self.cap is not None:
            label += f", values capped at {format_number(self.cap)}"
        result = compare_means(
            pairs, alpha=alpha, alternative=alternative, label=label, with_effect_size=kind is not MetricType.RATIO
        )
        if kind is MetricType.RATIO and result.p_value is None:
            result = self._explain_denominators(result, variant)
        return result, reduction

    def _explain_denominators(self, result: Comparison, variant: int) -> Comparison:
        """Say that denominators add up to zero, where that and not a lack of subjects is what is missing."""
        empty = []
        for name, index in (("the baseline", 0), ("the treatment", variant)):
            arms = [arm for (_, which), arm in self.joint.items() if which == index and arm.n]
            if arms and all(ratio_arm(arm) is None for arm in arms):
                empty.append(name)
        if not empty:
            return result
        reason = f"the denominators of {' and '.join(empty)} add up to zero, so there is no ratio to compare"
        return replace(
            result,
            n_baseline=self.n_of(0),
            n_treatment=self.n_of(variant),
            reason=reason,
            relative_reason=reason,
        )


def ratio_arm(arm: JointStatistics) -> MeanStatistics | None:
    """Return the linearised ratio of an arm; None where the denominators add up to zero, or to next to nothing."""
    if not arm.n or arm.x_mean == 0.0:
        return None
    try:
        return ratio_statistics(arm)
    except (ZeroDivisionError, OverflowError, ValueError):  # the quotient leaves the range of floats
        return None


def _rate(arm: tuple[int, int] | None) -> MeanStatistics:
    x, n = arm or (0, 0)
    return MeanStatistics(n=n, mean=x / n if n else 0.0, deviations=x * (n - x) / n if n else 0.0)


def data_from_values(config: ExperimentConfig, arms: Sequence[Any]) -> MetricData:
    """Summarise arrays of values, one per variant, for the main metric.

    Parameters
    ----------
    config : ExperimentConfig
    arms : sequence of array
        Shape (n,) each; (n, 2) with numerator and denominator for ratios.

    Returns
    -------
    MetricData

    Raises
    ------
    ValueError
        If a value does not fit the metric.
    """
    metric = config.metrics[0]
    data = MetricData(metric, len(config.variants))
    if len(arms) != len(config.variants):
        raise InvalidValueError(f"{len(config.variants)} variants need as many arrays, got {len(arms)}")
    if metric.metric_type is MetricType.RATIO:
        for index, arm in enumerate(arms):
            pairs = to_pairs(arm, f"values of {config.variants[index]}")
            data.joint[1, index] = JointStatistics.from_values(pairs[:, 1], pairs[:, 0])
        return data
    values = [to_numbers(metric, arm, f"values of {name}") for name, arm in zip(config.variants, arms, strict=True)]
    if metric.metric_type is MetricType.BINARY:
        for index, numbers in enumerate(values):
            data.rates[1, index] = (round(float(numbers.sum())), int(numbers.size))
    elif metric.metric_type is MetricType.COUNT:
        pooled = np.concatenate(values)
        if pooled.size:
            high = int(pooled.max())
            if high <= 4 * pooled.size + 1024:
                rows = [np.bincount(numbers.astype(np.int64), minlength=high + 1) for numbers in values]
                frequencies = np.array(rows, dtype=np.int64)
                kept = np.flatnonzero(frequencies.sum(axis=0))
                data.tallies[1] = (kept.astype(np.float64), frequencies[:, kept])
            else:
                distinct = np.unique(pooled)
                rows = [np.bincount(np.searchsorted(distinct, numbers), minlength=distinct.size) for numbers in values]
                data.tallies[1] = (distinct, np.array(rows, dtype=np.int64))
    else:
        if config.winsorize_quantile is not None and any(len(numbers) for numbers in values):
            from stats.moments import winsorize

            values, data.cap = winsorize(values, config.winsorize_quantile)
        for index, numbers in enumerate(values):
            data.means[1, index] = MeanStatistics.from_values(numbers)
    return data


def to_numbers(metric: Metric, values: Any, name: str) -> np.ndarray:
    """Return values of subjects or events as floats, or say which one does not fit the metric.

    Parameters
    ----------
    metric : Metric
        Not a ratio.
    values : array-like of shape (n,)
    name : str
        What the values are, for the message.

    Returns
    -------
    array of shape (n,)
    """
    array, kinds = _array_and_kinds(values, name)
    numbers = as_values(array, name)
    if metric.metric_type is not MetricType.BINARY and any(issubclass(kind, bool | np.bool_) for kind in kinds):
        raise InvalidValueError(f"{name} are booleans; use metric_type 'binary'")
    if not metric.all_valid(numbers):
        wrong = next(number for number in numbers.tolist() if not metric.all_valid(np.array([number])))
        metric.to_number(wrong)
    return numbers


def to_pairs(values: Any, name: str) -> np.ndarray:
    """Return numerators and denominators of subjects or events, shape (n, 2)."""
    array, _ = _array_and_kinds(values, name)
    try:
        pairs = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{name} must be numbers: {error}") from error
    if pairs.size == 0:
        return np.empty((0, 2))
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all():
        raise InvalidValueError(f"{name} must be finite numerators and denominators, of shape (n, 2)")
    if pairs[:, 1].min() < 0.0:
        raise InvalidValueError(f"{name} have the denominator {pairs[:, 1].min():g}; it must be 0 or more")
    return pairs


def _array_and_kinds(values: Any, name: str) -> tuple[np.ndarray, set[type]]:
    """Return values as an array, and of what Python types they were: numpy turns True and "1" into numbers."""
    try:
        array = np.asarray(values)
    except ValueError as error:  # ragged
        raise InvalidValueError(f"{name} must be a plain column of numbers: {error}") from error
    kinds = {array.dtype.type}
    if array.ndim and (array.dtype.kind == "O" or isinstance(values, list | tuple)):
        kinds |= set(map(type, array.ravel().tolist() if array.dtype.kind == "O" or array.ndim > 1 else values))
    if any(issubclass(kind, str | bytes) for kind in kinds):
        raise InvalidTypeError(f"{name} hold text; turn it into numbers first")
    return array, kinds
