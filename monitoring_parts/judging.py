"""From logged points and a baseline to a `PerformanceDrift`: windows, violations, trend, gaps. No database.

>>> points = LoggedPoints.of([(0, 0.9, None), (86_400_000_000, 0.8, None)])
>>> len(points), points.counts is None
(2, True)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from lazy_dataclass import dataclass
from monitoring_parts.results import BaselineRecord, Gap, PerformanceDrift, PointSeries, Trend, Violation
from stats.metric_direction import metric_direction
from stats.performance_drift import (
    LEARNING_POINTS,
    TREND_POINTS,
    Baseline,
    JudgedSeries,
    chart_method,
    estimate_baseline,
    estimate_trend,
    judge_series,
)
from stats.trend import pettitt

__all__ = ["AUTOMATIC_POINTS", "LoggedPoints", "baseline_of", "judge_metric", "to_baseline"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

AUTOMATIC_POINTS = 30  # the first points of a series, which become its baseline unless one is set
TREND_BACK_POINTS = 14  # a look-back with fewer than 8 points is extended to so many for the trend
CHANGE_LIMIT = 1_000  # newest points searched for a change of level
CHANGE_ALPHA = 0.05
GAP_FACTOR = 3.0  # times the median spacing
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400e6  # microseconds


@dataclass(frozen=True, slots=True)
class LoggedPoints:
    """Points of one series in the order of time.

    Attributes
    ----------
    times : ndarray of int64, shape (n,)
        Microseconds since 1970.
    values : ndarray of float, shape (n,)
    counts : ndarray of float, shape (n,), or None
        Prediction counts, NaN where a point has none; None when no point has one.
    """

    times: IntArray
    values: FloatArray
    counts: FloatArray | None

    @classmethod
    def of(cls, rows: Sequence[tuple[int, float, int | None]]) -> LoggedPoints:
        """Make it of rows (microseconds, value, prediction count)."""
        if not rows:
            return cls(np.zeros(0, dtype=np.int64), np.zeros(0), None)
        times, values, counts = zip(*rows, strict=True)
        known = None
        if any(count is not None for count in counts):
            known = np.array([np.nan if count is None else count for count in counts], dtype=np.float64)
        return cls(np.array(times, dtype=np.int64), np.array(values, dtype=np.float64), known)

    def __len__(self) -> int:
        return int(self.times.size)

    def __getitem__(self, part: slice) -> LoggedPoints:
        return LoggedPoints(self.times[part], self.values[part], None if self.counts is None else self.counts[part])

    @property
    def complete_counts(self) -> FloatArray | None:
        """The counts if every point has a positive one, else None."""
        if self.counts is None or not self.counts.size or not (self.counts > 0.0).all():
            return None
        return self.counts


def instant(microseconds: int | np.int64) -> datetime:
    """Return the aware instant of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=int(microseconds))


def to_baseline(record: BaselineRecord) -> Baseline:
    """Return the numbers of a stored baseline."""
    return Baseline(
        method=record.method,
        n=record.n,
        center=record.center,
        sigma=record.sigma,
        sigma_z=record.sigma_z,
        autocorrelation=record.autocorrelation,
    )


def judge_metric(
    *,
    name: str,
    version: str,
    metric: str,
    segment: str | None,
    points: LoggedPoints,
    baseline: BaselineRecord | None,
    start: int,
    end: int,
    charts: Sequence[str],
    higher_is_better: bool | None,
    threshold: float | None,
    reasons: Sequence[str] = (),
) -> PerformanceDrift:
    """Judge the points of a look-back by a baseline; earlier points after the baseline feed the charts' memory.

    Parameters
    ----------
    points : LoggedPoints
        Everything up to `end`.
    start, end : int
        The look-back, microseconds since 1970; `start` excluded, `end` included.
    reasons : sequence of str
        What the caller has to say besides.
    """
    said = list(reasons)
    better = metric_direction(metric)
    if higher_is_better is not None:
        better = "higher" if higher_is_better else "lower"
    n = len(points)
    first = int(np.searchsorted(points.times, start, side="right"))
    judged_from = first
    base = None
    if baseline is not None and baseline.n >= LEARNING_POINTS:
        base = to_baseline(baseline)
        after = int(np.searchsorted(points.times, _microseconds(baseline.end_at), side="right"))
        if after > first and n > first:
            inside = after - first
            said.append(f"{inside} points of the look-back belong to the baseline and are not judged")
            judged_from = after
    else:
        have = first if baseline is None else baseline.n
        said.append(f"learning: {have} baseline points before the look-back, {LEARNING_POINTS} are needed for limits")
    memory = judged_from
    judged = None
    if base is not None and baseline is not None:
        memory = int(np.searchsorted(points.times, _microseconds(baseline.end_at), side="right"))
        part = points[memory:]
        judged = judge_series(part.values, _filled_counts(part), base, charts)
        if base.autocorrelated:
            said.append(
                f"the baseline is autocorrelated (lag 1: {base.autocorrelation:.2f}): limits are too narrow and "
                "alarms come more often than stated; log less often, or judge buckets"
            )
        if base.sigma == 0.0:
            said.append("the baseline has no variance: any other value is a violation")
        if base.n < 30:
            said.append(f"limits are widened to {base.limit_factor:.2f} sigma for a baseline of {base.n} points")
        if part.counts is not None and base.method != "individuals" and part.complete_counts is None:
            said.append("points without a prediction count are judged with a typical one")
    all_points = _series(points, memory, judged)
    window = all_points[judged_from:] if n else all_points
    violations: list[Violation] = []
    broken: set[int] = set()
    if judged is not None:
        for position, rule, direction in judged.fired:
            index = memory + position
            if index >= judged_from:
                broken.add(index)
                violations.append(
                    Violation(
                        at=instant(points.times[index]),
                        value=float(points.values[index]),
                        rule=rule,
                        z=float(judged.z[position]) if math.isfinite(judged.z[position]) else None,
                        direction=_meaning(direction, better),
                    )
                )
    alarming = [v for v in violations if v.direction != "improvement"]
    n_judged = n - judged_from
    status = _status(n - first, n_judged, base is not None, bool(alarming), bool(violations))
    if better is None and violations:
        said.append(f"it is not known whether {metric} should be high or low: a change to either side alarms")
    if n - first == 0:
        said.append("no points in the look-back")
    trend, words = _trend(points, memory if base is not None else 0, first, base, better, threshold)
    said += words
    change_at, change_p, words = _change(points)
    said += words
    return PerformanceDrift(
        name=name,
        version=version,
        metric=metric,
        segment=segment,
        status=status,
        drift_detected=status == "drift",
        center=base.center if base is not None else None,
        sigma=base.sigma if base is not None else None,
        points=window,
        history=all_points[:judged_from],
        violations=tuple(violations),
        violation_rate=len(broken) / n_judged if judged is not None and n_judged else None,
        baseline=baseline,
        better=better,
        trend=trend,
        change_point=change_at,
        change_p_value=change_p,
        gaps=_gaps(points.times, start),
        start_at=instant(start),
        end_at=instant(end),
        ewma_limit=judged.ewma_limit if judged is not None else None,
        cusum_limit=judged.cusum_limit if judged is not None else None,
        reasons=tuple(said),
    )


def _status(n_window: int, n_judged: int, has_limits: bool, alarm: bool, moved: bool) -> str:
    if n_window == 0:
        return "no_data"
    if not has_limits:
        return "learning"
    if n_judged == 0:
        return "no_data"
    return "drift" if alarm else "improved" if moved else "in_control"


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _filled_counts(part: LoggedPoints) -> FloatArray | None:
    """Return counts with gaps filled by the median, or None when no point has one."""
    if part.counts is None or not (part.counts > 0.0).any():
        return None
    known = part.counts > 0.0
    return np.where(known, part.counts, np.median(part.counts[known]))


def _series(points: LoggedPoints, memory: int, judged: JudgedSeries | None) -> PointSeries:
    n = len(points)

    def column(values: FloatArray | None) -> FloatArray:
        full = np.full(n, np.nan)
        if values is not None:
            full[memory:] = values
        return full

    return PointSeries(
        times=points.times,
        values=points.values,
        lower=column(judged.lower if judged else None),
        upper=column(judged.upper if judged else None),
        z=column(judged.z if judged else None),
        counts=points.counts if points.counts is not None else np.full(n, np.nan),
        ewma=column(judged.ewma if judged else None),
        cusum_high=column(judged.cusum_high if judged else None),
        cusum_low=column(judged.cusum_low if judged else None),
    )


def _meaning(direction: int, better: str | None) -> str:
    if direction == 0 or better is None:
        return "change"
    return "improvement" if (direction > 0) == (better == "higher") else "degradation"


def _trend(
    points: LoggedPoints, earliest: int, first: int, base: Baseline | None, better: str | None, threshold: float | None
) -> tuple[Trend | None, list[str]]:
    begin = first
    if len(points) - first < TREND_POINTS:
        begin = max(min(earliest, first), len(points) - TREND_BACK_POINTS)
    part = points[begin:]
    days = (part.times - (part.times[0] if len(part) else 0)) / _DAY
    found = estimate_trend(days, part.values)
    if found is None:
        if len(part) < TREND_POINTS:
            points_words = "1 point" if len(part) == 1 else f"{len(part)} points"
            return None, [f"no trend: {points_words} after the baseline, {TREND_POINTS} are needed"]
        if days[-1] == days[0]:
            return None, [f"no trend: all {len(part)} points are of one instant"]
        return None, ["no trend: the slope per day is beyond 64-bit floats"]
    slope = found.slope_per_day
    direction = "none"
    if found.significant:
        direction = (
            "changing" if better is None else "improving" if (slope > 0) == (better == "higher") else "degrading"
        )
    material = base is not None and abs(slope) * found.span_days >= base.sigma > 0.0
    if threshold is None and base is not None and base.sigma > 0.0 and better is not None:
        side = -1.0 if better == "higher" else 1.0
        limit = base.center + side * base.limit_factor * base.sigma
        threshold = limit if math.isfinite(limit) else None
    days_left = None
    if found.significant and threshold is not None:
        ahead = (threshold - found.fitted_last) / slope
        days_left = ahead if 0.0 < ahead < math.inf else None
    words = []
    if direction == "degrading":
        size = "" if material else ", by less than one sigma so far"
        words.append(f"the trend is degrading: {slope:+.3g} a day{size}")
    trend = Trend(
        direction=direction,
        significant=found.significant,
        material=material,
        slope_per_day=slope,
        sen_slope_per_day=found.sen_slope_per_day,
        sen_slope_lower=found.sen_slope_lower,
        sen_slope_upper=found.sen_slope_upper,
        p_value=found.p_value,
        mann_kendall_p_value=found.mann_kendall_p_value,
        tau=found.tau,
        n=found.n,
        start_at=instant(part.times[-found.n]),
        end_at=instant(part.times[-1]),
        intercept_at_end=found.fitted_last,
        threshold=threshold,
        days_until_threshold=days_left,
    )
    return trend, words


def _change(points: LoggedPoints) -> tuple[datetime | None, float | None, list[str]]:
    recent = points[-CHANGE_LIMIT:]
    if len(recent) < LEARNING_POINTS:
        return None, None, []
    change = pettitt(recent.values)
    if change.k is None or change.p_value is None:
        return None, None, [f"no change point: {change.reason}"]
    return (instant(recent.times[change.k]) if change.p_value < CHANGE_ALPHA else None), change.p_value, []


def _gaps(times: IntArray, start: int) -> tuple[Gap, ...]:
    if times.size < 4:
        return ()
    spacing = np.diff(times)
    usual = float(np.median(spacing))
    if usual <= 0.0:
        return ()
    wide = np.flatnonzero((spacing > GAP_FACTOR * usual) & (times[1:] > start))
    return tuple(Gap(start_at=instant(times[i]), end_at=instant(times[i + 1])) for i in wide)


def baseline_of(
    metric: str, points: LoggedPoints, source: str, method: str | None, *, created_at: datetime | None
) -> BaselineRecord:
    """Estimate a baseline from points and record where it comes from."""
    counts = points.complete_counts
    chosen = method or chart_method(metric, points.values, counts)
    found = estimate_baseline(points.values, counts, chosen)
    return BaselineRecord(
        method=found.method,
        source=source,
        n=found.n,
        center=found.center,
        sigma=found.sigma,
        sigma_z=found.sigma_z,
        start_at=instant(points.times[0]),
        end_at=instant(points.times[-1]),
        created_at=created_at,
        autocorrelation=found.autocorrelation,
    )
