"""The comparison of everything up to the end of each day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ab_parts.aggregates import _centred
from ab_parts.assignment import Live
from ab_parts.design import ExperimentConfig
from ab_parts.metrics import MetricType
from ab_parts.results import DailyPoint
from db import ABSubjectRow
from stats.always_valid import confidence_sequence
from stats.comparison import compare_means
from stats.moments import JointStatistics, MeanStatistics
from stats.ratios import ratio_statistics

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["daily_points", "daily_statistics"]

MICROSECONDS_PER_DAY = 86_400_000_000


def daily_statistics(session: Session, live: Live, index: int) -> list[tuple[int, int, int, JointStatistics]]:
    """Rows (day, phase, variant, n, and centred sums) by day of the first event."""
    where = (ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == index)
    y0, x0 = session.execute(
        sa.select(sa.func.avg(ABSubjectRow.value), sa.func.avg(ABSubjectRow.denominator)).where(*where)
    ).one()
    if y0 is None:
        return []
    y0, x0 = float(y0), float(x0)
    day = sa.type_coerce(ABSubjectRow.first_at, sa.BigInteger) // MICROSECONDS_PER_DAY
    dx, dy = ABSubjectRow.denominator - x0, ABSubjectRow.value - y0
    rows: Any = session.execute(
        sa.select(
            day,
            ABSubjectRow.phase,
            ABSubjectRow.variant,
            sa.func.count(),
            *(sa.func.sum(term) for term in (dx, dy, dx * dx, dy * dy, dx * dy)),
        )
        .where(*where)
        .group_by(day, ABSubjectRow.phase, ABSubjectRow.variant)
        .order_by(day)
    )
    result: list[tuple[int, int, int, JointStatistics]] = []
    for at, phase, variant, n, sx, sy, sxx, syy, sxy in rows:
        statistics = _centred(int(n), x0, y0, sx, sy, sxx, syy, sxy)
        result.append((int(at), int(phase), int(variant), statistics))
    return result


def daily_points(
    config: ExperimentConfig, index: int, variant: int, rows: Sequence[tuple[int, int, int, JointStatistics]]
) -> list[DailyPoint]:
    """Cumulate daily statistics (day, phase, variant, statistics) into one comparison per day."""
    metric, result = config.metrics[index], []
    cumulated: dict[tuple[int, int], JointStatistics] = {}
    by_day: dict[int, list[tuple[int, int, JointStatistics]]] = {}
    for day, phase, which, statistics in rows:
        by_day.setdefault(day, []).append((phase, which, statistics))
    empty = MeanStatistics(n=0, mean=0.0, deviations=0.0)
    for day in sorted(by_day):
        for phase, which, statistics in by_day[day]:
            key = (phase, which)
            cumulated[key] = cumulated[key] + statistics if key in cumulated else statistics
        arms = {
            key: (ratio_statistics(arm) if metric.metric_type is MetricType.RATIO else arm.y)
            for key, arm in cumulated.items()
            if metric.metric_type is not MetricType.RATIO or arm.x_mean != 0.0
        }
        pairs = [(arms.get((p, 0), empty), arms.get((p, variant), empty)) for p in sorted({p for p, _ in cumulated})]
        found = compare_means(pairs, alpha=config.significance_level)
        lower = upper = None
        if found.effect is not None and found.standard_error is not None:
            sequence = confidence_sequence(
                found.effect,
                found.standard_error,
                found.n_baseline + found.n_treatment,
                alpha=config.significance_level,
                tuned_for=2 * (config.planned_sample_size or 2500),
            )
            lower, upper = sequence.ci_lower, sequence.ci_upper
        result.append(
            DailyPoint(
                day=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day),
                n_baseline=found.n_baseline,
                n_treatment=found.n_treatment,
                baseline=found.baseline,
                treatment=found.treatment,
                effect=found.effect,
                ci_lower=found.ci_lower,
                ci_upper=found.ci_upper,
                sequential_lower=lower,
                sequential_upper=upper,
            )
        )
    return result
