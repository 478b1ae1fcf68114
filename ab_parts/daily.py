"""The comparison of everything up to the end of each day, with every subject's value as of that day."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ab_parts.aggregates import centred, is_cancelled, origin, place_of_arm, product
from ab_parts.assignment import Live
from ab_parts.design import ExperimentConfig
from ab_parts.metrics import Aggregation, MetricType
from ab_parts.results import DailyPoint
from ab_parts.summaries import ratio_arm
from db import ABEventRow, ABSubjectRow
from lazy_dataclass import dataclass
from stats.always_valid import DEFAULT_TUNING, confidence_sequence
from stats.comparison import compare_means
from stats.moments import MeanStatistics

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["DailySums", "daily_points", "daily_sums"]

MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class DailySums:
    """By how much the sums of a metric changed on each day.

    Attributes
    ----------
    x0, y0 : float
        Origin of denominators and values: sums are of deviations from it.
    rows : list of tuple
        (day since 1970, phase, variant, new subjects, and the changes of the sums of dx, dy, dx^2, dy^2, dx dy).
    """

    x0: float
    y0: float
    rows: list[tuple[Any, ...]]


def daily_sums(session: Session, live: Live, index: int) -> DailySums:
    """Return how the sums of one metric changed from day to day (UTC).

    Notes
    -----
    A subject whose events are all of one day has its present value from that day on. For the others the log of events
    is read: what they came to by the end of each of their days replaces what they had come to before. Days are those
    on which events happened, not on which they were recorded.
    """
    where = (ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == index)
    is_ratio = live.config.metrics[index].metric_type is MetricType.RATIO
    x0, y0 = (origin(session, where, column) for column in (ABSubjectRow.denominator, ABSubjectRow.value))
    for _ in range(2):
        rows, several = _on_one_day(session, live, where, x0 if is_ratio else None, y0)
        if several:
            rows += [tuple(row) for row in session.execute(_changes(session, live, index, x0, y0))]
        n, dx, dy, xx, yy, _xy = (math.fsum(row[place] for row in rows) for place in range(3, 9))
        if not (is_cancelled(n, dy, yy) or (is_ratio and is_cancelled(n, dx, xx))):
            break
        x0, y0 = x0 + dx / n, y0 + dy / n  # they were far from the data; once more, from the means
    return DailySums(x0, y0, rows)


def _on_one_day(
    session: Session, live: Live, where: Sequence[Any], x0: float | None, y0: float
) -> tuple[list[tuple[Any, ...]], bool]:
    """Return the rows of `DailySums` by subjects whose events are all of one day, and whether there are others.

    One number says day and arm: sorting by it takes SQLite half of what three columns take. Without `x0` nothing is
    summed of the denominators.
    """
    first, last = _day(ABSubjectRow.first_at), _day(ABSubjectRow.last_at)
    n_variants = len(live.config.variants)
    n_arms = live.phase * n_variants
    code = sa.case((first == last, first * n_arms + place_of_arm(live)), else_=None).label("code")
    dy = ABSubjectRow.value - y0 if y0 else ABSubjectRow.value
    terms: tuple[Any, ...] = (dy, product(session, dy, dy))
    if x0 is not None:
        terms = _terms(session, ABSubjectRow.denominator - x0, dy)
    grouped = sa.select(code, sa.func.count(), *(sa.func.sum(term) for term in terms)).where(*where).group_by("code")
    rows, several = [], False
    for key, n, *sums in session.execute(grouped):
        if key is None:
            several = True
            continue
        day, place = divmod(int(key), n_arms)
        deviations = sums if x0 is not None else (0.0, sums[0], 0.0, sums[1], 0.0)
        rows.append((day, place // n_variants + 1, place % n_variants, n, *deviations))
    return rows, several


def _day(instant: Any) -> Any:
    return sa.type_coerce(instant, sa.BigInteger) // MICROSECONDS_PER_DAY


def _terms(session: Session, dx: Any, dy: Any) -> tuple[Any, ...]:
    return dx, dy, product(session, dx, dx), product(session, dy, dy), product(session, dx, dy)


def _changes(session: Session, live: Live, index: int, x0: float, y0: float) -> Any:
    """Statement for the changes by subjects with events on several days, in the columns of `DailySums.rows`."""
    metric = live.config.metrics[index]
    event, row = ABEventRow, ABSubjectRow
    joined = sa.and_(row.experiment_id == event.experiment_id, row.metric == event.metric, row.subject == event.subject)
    inside = (
        event.experiment_id == live.row_id,
        event.metric == index,
        row.experiment_id == live.row_id,
        row.metric == index,
        _day(row.first_at) != _day(row.last_at),
    )
    day = _day(event.at)
    of_subject = (row.subject.label("subject"), row.phase.label("phase"), row.variant.label("variant"))
    if metric.aggregation in (Aggregation.FIRST, Aggregation.LAST):
        latest = metric.aggregation is Aggregation.LAST
        order = (event.at.desc(), event.id.desc()) if latest else (event.at, event.id)
        place = sa.func.row_number().over(partition_by=(row.subject, day), order_by=order).label("place")
        ranked = sa.select(*of_subject, day.label("day"), event.value.label("value"), place)
        events = ranked.join_from(event, row, joined).where(*inside).subquery()
        days = sa.select(events).where(events.c.place == 1).subquery()
        so_far: dict[str, Any] = {"partition_by": days.c.subject, "order_by": days.c.day}
        value: Any = days.c.value if latest else sa.func.first_value(days.c.value).over(**so_far)
        below: Any = sa.literal(x0)
    else:
        sums = (sa.func.count().label("n"), sa.func.sum(event.value).label("total"),
                sa.func.sum(event.denominator).label("below"), sa.func.max(event.value).label("top"))  # fmt: skip
        summed = sa.select(*of_subject, day.label("day"), *sums).join_from(event, row, joined).where(*inside)
        days = summed.group_by(row.subject, row.phase, row.variant, day).subquery()
        so_far = {"partition_by": days.c.subject, "order_by": days.c.day}
        total = sa.func.sum(days.c.total).over(**so_far)
        if metric.aggregation is Aggregation.MEAN:
            value = total / sa.func.sum(days.c.n).over(**so_far)
        elif metric.aggregation is Aggregation.SUM:
            value = total
        else:
            value = sa.func.max(days.c.top).over(**so_far)
        below = sa.func.sum(days.c.below).over(**so_far)
    now = sa.select(
        days.c.subject, days.c.phase, days.c.variant, days.c.day, value.label("value"), below.label("below")
    ).subquery()
    in_order: dict[str, Any] = {"partition_by": now.c.subject, "order_by": now.c.day}
    steps = sa.select(
        now,
        sa.func.lag(now.c.value).over(**in_order).label("value_before"),
        sa.func.lag(now.c.below).over(**in_order).label("below_before"),
    ).subquery()
    after = _terms(session, steps.c.below - x0, steps.c.value - y0)
    before = _terms(session, steps.c.below_before - x0, steps.c.value_before - y0)
    changes = (sa.func.sum(more - sa.func.coalesce(less, 0.0)) for more, less in zip(after, before, strict=True))
    grouped = (steps.c.day, steps.c.phase, steps.c.variant)
    is_new = sa.case((steps.c.value_before.is_(None), 1), else_=0)
    return sa.select(*grouped, sa.func.sum(is_new), *changes).group_by(*grouped)


def daily_points(config: ExperimentConfig, index: int, variant: int, sums: DailySums) -> list[DailyPoint]:
    """Cumulate the daily changes into one comparison per day."""
    metric, result = config.metrics[index], []
    is_ratio = metric.metric_type is MetricType.RATIO
    by_day: dict[int, list[tuple[Any, ...]]] = {}
    for day, *rest in sums.rows:
        by_day.setdefault(int(day), []).append(tuple(rest))
    empty = MeanStatistics(n=0, mean=0.0, deviations=0.0)
    cumulated: dict[tuple[int, int], list[float]] = {}
    for day in sorted(by_day):
        for phase, which, *changes in by_day[day]:
            totals = cumulated.setdefault((int(phase), int(which)), [0.0] * len(changes))
            totals[:] = [total + change for total, change in zip(totals, changes, strict=True)]
        joint = {key: centred(round(n), sums.x0, sums.y0, *rest) for key, (n, *rest) in cumulated.items()}
        arms = {key: (ratio_arm(arm) or empty) if is_ratio else arm.y for key, arm in joint.items()}
        pairs = _strata(arms, variant, empty)
        found = compare_means(pairs, alpha=config.significance_level)
        lower = upper = None
        if found.effect is not None and found.standard_error is not None:
            sequence = confidence_sequence(
                found.effect,
                found.standard_error,
                found.n_baseline + found.n_treatment,
                alpha=config.significance_level,
                tuned_for=2 * (config.planned_sample_size or DEFAULT_TUNING // 2),
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


def _strata(
    arms: dict[tuple[int, int], MeanStatistics], variant: int, empty: MeanStatistics
) -> Sequence[tuple[MeanStatistics, MeanStatistics]]:
    """Return (baseline, treatment) of every phase so far."""
    phases = sorted({phase for phase, _ in arms}) or [1]
    return [(arms.get((phase, 0), empty), arms.get((phase, variant), empty)) for phase in phases]
