"""Sums over subjects, taken in the database: an analysis never pulls rows of events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from ab_parts.assignment import Live
from ab_parts.metrics import MetricType
from ab_parts.summaries import MetricData
from db import ABAssignmentRow, ABAttributeRow, ABPhaseRow, ABSubjectRow
from errors import NotFoundError
from stats.moments import JointStatistics, MeanStatistics

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["assignment_counts", "count_codes", "metric_data", "segment_data", "times_of_events"]

_FIRST_CODE, LARGEST_CODE = 1000, 8999  # what is counted by code is written as four digits, 1000 to 9999
_SHIFT_ROWS = 64  # rows whose mean is the origin of the first pass over the values
_SAMPLED_SUBJECTS = 100  # assignments from either end that are asked for a value before all are counted
_TINY = 1e-150  # its square is near the smallest float
MOST_ARMS = 12  # up to which conditional sums take less time than the sorting of GROUP BY
_NEAR_ZERO = 10.0  # standard deviations: two digits of a variance at most are lost, and a subtraction a row is saved
_CANCELLATION = 1e6  # squared distance of origin and mean, in variances, from which a second pass is made


def product(session: Session, first: Any, second: Any) -> Any:
    """Return the SQL product of two columns; 0 where it would be too small for a float, which PostgreSQL refuses."""
    if session.get_bind().dialect.name != "postgresql":
        return first * second
    vanishes = sa.or_(sa.func.abs(first) < _TINY, sa.func.abs(second) < _TINY)
    return sa.case((vanishes, 0.0), else_=first * second)


def sums_by_arm(
    session: Session,
    live: Live,
    rows: Any,
    where: Sequence[Any],
    terms: Sequence[Any] = (),
    *,
    source: Any = None,
) -> list[tuple[Any, ...]]:
    """Return (phase, variant, n, sum of each term) of every arm that has rows.

    Parameters
    ----------
    rows : ABSubjectRow or ABAssignmentRow
        Whose phase and variant make the arms.
    where, terms : sequence of SQL expressions
    source : Select or None
        What is selected from, when that is more than `rows`.

    Notes
    -----
    The arms are known before, so that one pass of conditional sums does it. GROUP BY would sort all rows first: no
    index has the subjects in order of their arms, and it takes more than twice as long on SQLite.
    """
    arms = [(phase, variant) for phase in range(1, live.phase + 1) for variant in range(len(live.config.variants))]
    start = sa.select().select_from(rows) if source is None else source
    if len(arms) > MOST_ARMS:
        grouped = (rows.phase, rows.variant)
        every = (*grouped, sa.func.count(), *(sa.func.sum(term) for term in terms))
        return [tuple(row) for row in session.execute(start.add_columns(*every).where(*where).group_by(*grouped))]
    # The last arm has the rows that the others leave: that is one condition a row less.
    columns: list[Any] = [sa.func.count()]
    for place, (phase, variant) in enumerate(arms, start=1):
        inside = rows.variant == variant if live.phase == 1 else sa.and_(rows.phase == phase, rows.variant == variant)
        counted = [sa.func.count()] if place < len(arms) else []
        columns += [aggregate.filter(inside) for aggregate in (*counted, *(sa.func.sum(term) for term in terms))]
    values = iter(session.execute(start.add_columns(*columns).where(*where)).one())
    left = next(values)
    result: list[tuple[Any, ...]] = []
    for place, arm in enumerate(arms, start=1):
        count = next(values) if place < len(arms) else left
        left -= count
        sums = tuple(islice(values, len(terms)))
        if count:
            result.append((*arm, count, *sums))
    return result


def assignment_counts(
    session: Session, live: Live, measured: MetricData | None = None
) -> tuple[dict[int, list[int]], int]:
    """Return subjects by phase and variant, and how many had events of a second variant.

    Parameters
    ----------
    session : Session
    live : Live
    measured : MetricData or None
        Of the main metric, over all subjects, if it was read in this transaction.

    Notes
    -----
    Nobody has values who was not assigned, and the row of a subject holds the arm of its assignment. So if there are
    as many of the ones as of the others, the arms of those measured are the arms of those assigned, and the assignments
    need only be counted. And nobody claimed a second variant while every phase kept to its rule.
    """
    departed = sa.select(sa.func.count()).where(ABPhaseRow.experiment_id == live.row_id, sa.not_(ABPhaseRow.by_rule))
    by_rule = not session.scalar(departed)
    if measured is not None and by_rule and _are_all_measured(session, live, measured):
        return {phase: measured.n_by_phase(phase) for phase in measured.phases}, 0
    where = (ABAssignmentRow.experiment_id == live.row_id,)
    claims = () if by_rule else (sa.cast(ABAssignmentRow.conflicts > 0, sa.Integer),)
    counts: dict[int, list[int]] = {}
    conflicts = 0
    for phase, variant, count, *found in sums_by_arm(session, live, ABAssignmentRow, where, claims):
        counts.setdefault(phase, [0] * len(live.config.variants))[variant] = int(count)
        conflicts += sum(map(int, found))
    return counts, conflicts


def _are_all_measured(session: Session, live: Live, measured: MetricData) -> bool:
    """Return whether every assigned subject has a value of the main metric.

    Where many have none, a few from both ends of their ids tell (the newest often have the highest): the assignments
    are then not counted twice.
    """
    of_metric = (ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == 0)
    for order in (ABAssignmentRow.subject.asc(), ABAssignmentRow.subject.desc()):
        assigned = sa.select(ABAssignmentRow.subject).where(ABAssignmentRow.experiment_id == live.row_id)
        few = assigned.order_by(order).limit(_SAMPLED_SUBJECTS).subquery()
        paired = few.outerjoin(ABSubjectRow, sa.and_(*of_metric, ABSubjectRow.subject == few.c.subject))
        if session.scalar(sa.select(sa.func.count()).select_from(paired).where(ABSubjectRow.subject.is_(None))):
            return False
    n_measured = sum(sum(measured.n_by_phase(phase)) for phase in measured.phases)
    counted = sa.select(sa.func.count()).where(ABAssignmentRow.experiment_id == live.row_id)
    return session.scalar(counted) == n_measured


def times_of_events(session: Session, live: Live) -> tuple[datetime | None, datetime | None]:
    """Return when the first and the latest event of the main metric happened; None without events."""
    first, last = session.execute(
        sa.select(sa.func.min(ABSubjectRow.first_at), sa.func.max(ABSubjectRow.last_at)).where(
            ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == 0
        )
    ).one()
    return first, last


def metric_data(session: Session, live: Live, index: int, *extra: Any) -> MetricData:
    """Summarise one metric over its subjects, in the database."""
    metric = live.config.metrics[index]
    where = (ABSubjectRow.experiment_id == live.row_id, ABSubjectRow.metric == index, *extra)
    n_variants = len(live.config.variants)
    if metric.metric_type is MetricType.COUNT:
        return MetricData.from_tally_rows(metric, n_variants, tally_rows(session, live, where))
    data = MetricData(metric, n_variants)
    if metric.metric_type is MetricType.BINARY:
        for phase, variant, count, total in sums_by_arm(session, live, ABSubjectRow, where, (ABSubjectRow.value,)):
            data.rates[phase, variant] = (round(total), int(count))
        return data
    if metric.metric_type is MetricType.RATIO:
        return joint_data(session, live, index, where, ABSubjectRow.denominator, None)
    if index == 0 and live.config.winsorize_quantile is not None:
        data.cap = _quantile(session, where, live.config.winsorize_quantile)
    if index == 0 and live.config.covariate is not None:
        return joint_data(session, live, index, where, ABAttributeRow.number, data.cap)
    value = ABSubjectRow.value if data.cap is None else _capped(data.cap)
    start = origin(session, where, value)
    for _ in range(2):
        rest = value - start if start else value
        terms = (rest, product(session, rest, rest))
        worst = 0.0
        for phase, variant, n, total, squares in sums_by_arm(session, live, ABSubjectRow, where, terms):
            shift = total / n
            deviations = max(squares - total * shift, 0.0)
            data.means[phase, variant] = MeanStatistics(n=int(n), mean=start + shift, deviations=deviations)
            if is_cancelled(n, total, squares):
                worst = max(worst, abs(shift))
        if worst == 0.0:
            break
        # The origin was far from the data: digits of the variance were lost. Once more, from the overall mean.
        weights = [arm.n for arm in data.means.values()]
        start = sum(arm.mean * arm.n for arm in data.means.values()) / sum(weights)
    return data


def count_codes(session: Session, code: Any, where: Sequence[Any]) -> dict[int, int]:
    """Return how many subjects have which code; codes from 0 to `LARGEST_CODE`, larger ones count as that.

    Notes
    -----
    SQLite's GROUP BY sorts all rows, which takes four times as long as reading them. Here it strings together four
    digits a subject, and numpy counts those. PostgreSQL groups by hashing: there GROUP BY it is.
    """
    if session.get_bind().dialect.name != "sqlite":
        largest = sa.func.least(code, LARGEST_CODE)
        grouped = sa.select(sa.cast(largest, sa.Integer).label("code"), sa.func.count()).where(*where).group_by("code")
        return {int(key): int(count) for key, count in session.execute(grouped)}
    digits = sa.cast(sa.func.min(code + _FIRST_CODE, _FIRST_CODE + LARGEST_CODE), sa.Integer)
    text = session.scalar(sa.select(sa.func.group_concat(digits, "")).where(*where)) or ""
    words, counts = np.unique(np.frombuffer(text.encode(), dtype="S4"), return_counts=True)
    return {int(word) - _FIRST_CODE: int(count) for word, count in zip(words, counts, strict=True)}


def place_of_arm(live: Live) -> Any:
    """Return the SQL expression that numbers the arms of a subject: variants within phases, from 0."""
    if live.phase == 1:
        return ABSubjectRow.variant
    return (ABSubjectRow.phase - 1) * len(live.config.variants) + ABSubjectRow.variant


def tally_rows(session: Session, live: Live, where: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return (phase, variant, value, number of subjects) of a metric that counts."""
    columns = (ABSubjectRow.phase, ABSubjectRow.variant, ABSubjectRow.value)
    grouped = sa.select(*columns, sa.func.count()).group_by(*columns)
    n_variants = len(live.config.variants)
    n_arms = live.phase * n_variants
    limit = LARGEST_CODE // n_arms  # values below it have a code for every arm
    few = sa.select(ABSubjectRow.value.label("value")).where(*where).limit(_SHIFT_ROWS).subquery()
    has_large = (session.scalar(sa.select(sa.func.max(few.c.value))) or 0.0) >= limit
    if has_large or session.get_bind().dialect.name != "sqlite":
        return [tuple(row) for row in session.execute(grouped.where(*where))]
    arm = place_of_arm(live)
    rows: list[tuple[Any, ...]] = []
    for code, count in count_codes(session, ABSubjectRow.value * n_arms + arm, where).items():
        value, place = divmod(code, n_arms)
        if value < limit:
            rows.append((place // n_variants + 1, place % n_variants, float(value), count))
        else:  # some are too large for a code
            large = grouped.where(*where, ABSubjectRow.value >= limit)
            rows += [tuple(row) for row in session.execute(large)]
            break
    return rows


def joint_data(
    session: Session, live: Live, index: int, where: tuple[Any, ...], x: Any, cap: float | None
) -> MetricData:
    """Means and centred products of two values per subject; without a covariate, a subject has its mean."""
    data = MetricData(live.config.metrics[index], len(live.config.variants), cap=cap)
    y = ABSubjectRow.value if cap is None else _capped(cap)
    source: Any = sa.select().select_from(ABSubjectRow)
    covariate = x is ABAttributeRow.number
    if covariate:
        source = source.outerjoin(
            ABAttributeRow,
            sa.and_(
                ABAttributeRow.experiment_id == ABSubjectRow.experiment_id,
                ABAttributeRow.name == live.config.covariate,
                ABAttributeRow.subject == ABSubjectRow.subject,
            ),
        )
    x0, y0, n_known = session.execute(
        source.add_columns(sa.func.avg(x), sa.func.avg(y), sa.func.count(x)).where(*where)
    ).one()
    if y0 is None:
        return data
    x0, y0 = 0.0 if x0 is None else float(x0), float(y0)
    dx, dy = sa.func.coalesce(x - x0, 0.0), y - y0
    terms = (dx, dy, product(session, dx, dx), product(session, dy, dy), product(session, dx, dy))
    for phase, variant, n, *sums in sums_by_arm(session, live, ABSubjectRow, where, terms, source=source):
        data.joint[phase, variant] = centred(int(n), x0, y0, *sums)
    if covariate:
        data.n_covariates = int(n_known)
    return data


def centred(n: int, x0: float, y0: float, sx: float, sy: float, sxx: float, syy: float, sxy: float) -> JointStatistics:
    """Return means and centred products from sums of deviations from (x0, y0)."""
    return JointStatistics(
        n=n,
        x_mean=x0 + sx / n,
        y_mean=y0 + sy / n,
        x_deviations=max(sxx - sx * sx / n, 0.0),
        y_deviations=max(syy - sy * sy / n, 0.0),
        xy_deviations=sxy - sx * sy / n,
    )


def segment_data(session: Session, live: Live, segment: str) -> dict[str, MetricData]:
    """Summarise the main metric by the values of a text attribute."""
    labels = list(
        session.scalars(
            sa.select(ABAttributeRow.label)
            .where(ABAttributeRow.experiment_id == live.row_id, ABAttributeRow.name == segment)
            .where(ABAttributeRow.label.is_not(None))
            .distinct()
            .order_by(ABAttributeRow.label)
        )
    )
    if not labels:
        known = session.scalars(
            sa.select(ABAttributeRow.name)
            .where(ABAttributeRow.experiment_id == live.row_id, ABAttributeRow.label.is_not(None))
            .distinct()
        )
        raise NotFoundError(
            f"no text attribute {segment!r} is recorded; known ones: {', '.join(sorted(known)) or 'none'}"
        )
    result = {}
    for label in labels:
        members = sa.select(ABAttributeRow.subject).where(
            ABAttributeRow.experiment_id == live.row_id,
            ABAttributeRow.name == segment,
            ABAttributeRow.label == label,
        )
        result[str(label)] = metric_data(session, live, 0, ABSubjectRow.subject.in_(members))
    return result


def _capped(cap: float) -> Any:
    return sa.case((ABSubjectRow.value > cap, cap), else_=ABSubjectRow.value)


def origin(session: Session, where: tuple[Any, ...], value: Any) -> float:
    """Return a number from which deviations are small: the mean of a few values, or 0 if it is near to them anyway."""
    few = np.array(session.scalars(sa.select(value).where(*where).limit(_SHIFT_ROWS)).all(), dtype=np.float64)
    if few.size == 0:
        return 0.0
    mean, spread = float(few.mean()), float(few.std())
    return 0.0 if abs(mean) <= _NEAR_ZERO * spread else mean


def is_cancelled(n: float, total: float, squares: float) -> bool:
    """Return whether sums of deviations and of their squares lost the variance: their origin was far from the data."""
    distance = total * total / n if n > 1 else 0.0
    return distance > _CANCELLATION * max(squares - distance, 0.0)


def _quantile(session: Session, where: tuple[Any, ...], quantile: float) -> float | None:
    """Quantile of the subjects' values, interpolated linearly like numpy's."""
    n = session.scalar(sa.select(sa.func.count()).select_from(ABSubjectRow).where(*where)) or 0
    if n == 0:
        return None
    place = (n - 1) * quantile
    low = math.floor(place)
    query = sa.select(ABSubjectRow.value).where(*where).order_by(ABSubjectRow.value).offset(low).limit(2)
    values = list(session.scalars(query))
    return float(values[0] + (place - low) * (values[-1] - values[0]))
