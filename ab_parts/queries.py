"""Rows of A/B tests: found, locked, and turned into the records users see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ab_parts.assignment import Live
from ab_parts.design import ExperimentConfig
from ab_parts.results import Experiment, Look
from db import ABExperimentRow, ABLookRow, ABPhaseRow, ModelVersionRow
from errors import NotFoundError, StateError
from stats.formatting import format_percent
from values import check_text

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = [
    "add_looks",
    "find_experiment",
    "find_version_id",
    "free_start",
    "looks_of",
    "phases_of",
    "shares_of",
    "to_experiment",
    "version_uids",
]


def find_experiment(session: Session, exp_id: str, *, lock: bool = False) -> ABExperimentRow:
    """Return the row of a test by its id, else by its name; NotFoundError names the latest ones."""
    text = check_text(exp_id, "exp_id", 255)
    query = sa.select(ABExperimentRow).where(sa.or_(ABExperimentRow.uid == text, ABExperimentRow.name == text))
    query = query.order_by(sa.case((ABExperimentRow.uid == text, 0), else_=1)).limit(1)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        names = list(session.scalars(sa.select(ABExperimentRow.name).order_by(ABExperimentRow.id.desc()).limit(5)))
        known = ", ".join(map(repr, names)) or "none"
        raise NotFoundError(f"no experiment {text!r}; the latest ones are: {known}")
    return row


def find_version_id(session: Session, uid: str | None) -> int | None:
    """Return the row id of a registered model version; None stays None."""
    if uid is None:
        return None
    found = session.scalar(sa.select(ModelVersionRow.id).where(ModelVersionRow.uid == uid))
    if found is None:
        raise NotFoundError(f"no registered model version with the id {uid!r}; register the model first")
    return found


def free_start(session: Session, namespace: str | None, share: float) -> float:
    """First free place of a namespace that is wide enough."""
    if namespace is None:
        return 0.0
    taken = session.execute(
        sa.select(ABExperimentRow.namespace_start, ABExperimentRow.namespace_share, ABExperimentRow.name)
        .where(ABExperimentRow.namespace == namespace, ABExperimentRow.status.in_(("running", "paused")))
        .order_by(ABExperimentRow.namespace_start)
    ).all()
    place = 0.0
    for start, width, _ in taken:
        if start - place >= share - 1e-12:
            return place
        place = max(place, start + width)
    if 1.0 - place >= share - 1e-12:
        return place
    names = ", ".join(repr(name) for *_, name in taken)
    raise StateError(
        f"namespace {namespace!r} has no {format_percent(share)} left; it is shared by {names}: conclude one, "
        "or ask for a smaller namespace_share"
    )


def phases_of(session: Session, row_id: int) -> list[ABPhaseRow]:
    """Return the phases of a test, oldest first."""
    query = sa.select(ABPhaseRow).where(ABPhaseRow.experiment_id == row_id).order_by(ABPhaseRow.number)
    return list(session.scalars(query))


def shares_of(variants: Sequence[str], phases: Sequence[ABPhaseRow]) -> dict[int, list[float]]:
    """Return the planned shares of the variants in every phase."""
    return {phase.number: [float(phase.shares[name]) for name in variants] for phase in phases}


def version_uids(session: Session, rows: Sequence[ABExperimentRow]) -> dict[int, str]:
    """Return the public ids of the model versions that tests name, by row id."""
    ids = {row_id for row in rows for row_id in (row.baseline_version_id, row.treatment_version_id) if row_id}
    if not ids:
        return {}
    found = session.execute(sa.select(ModelVersionRow.id, ModelVersionRow.uid).where(ModelVersionRow.id.in_(ids)))
    return {int(row_id): str(uid) for row_id, uid in found}


def to_experiment(row: ABExperimentRow, phases: Sequence[ABPhaseRow], uids: Mapping[int, str]) -> Experiment:
    """Return the record of a test."""
    return Experiment(
        exp_id=row.uid,
        name=row.name,
        status=row.status,
        config=ExperimentConfig.from_dict(row.config),
        created_at=row.created_at,
        ended_at=row.ended_at,
        archived_at=row.archived_at,
        decision=row.decision,
        decision_reason=row.decision_reason,
        decided_by=row.decided_by,
        evidence=row.evidence,
        phase=row.phase,
        phases=[
            {
                "number": phase.number,
                "shares": dict(phase.shares),
                "coverage": phase.coverage,
                "started_at": phase.started_at,
                "reason": phase.reason,
            }
            for phase in phases
        ],
        baseline_version_id=uids.get(row.baseline_version_id or 0),
        treatment_version_id=uids.get(row.treatment_version_id or 0),
    )


def looks_of(session: Session, live: Live) -> list[Look]:
    """Return the stored looks of a test, oldest first."""
    query = (
        sa.select(ABLookRow).where(ABLookRow.experiment_id == live.row_id).order_by(ABLookRow.number, ABLookRow.variant)
    )
    return [
        Look(
            number=row.number,
            variant=live.config.variants[row.variant],
            at=row.at,
            n_baseline=row.n_baseline,
            n_treatment=row.n_treatment,
            information_fraction=row.fraction,
            effect=row.effect,
            standard_error=row.standard_error,
            z=row.z,
            p_value=row.p_value,
            boundary=row.boundary,
            is_final=row.is_final,
            ci_lower=row.ci_lower,
            ci_upper=row.ci_upper,
            outcome=row.outcome,
        )
        for row in session.scalars(query)
    ]


def add_looks(session: Session, live: Live, looks: Sequence[Look]) -> None:
    """Add the rows of new looks to a session."""
    for look in looks:
        columns = {name: getattr(look, name) for name in look.__dataclass_fields__}
        columns["variant"] = live.config.variants.index(look.variant)
        columns["fraction"] = columns.pop("information_fraction")
        session.add(ABLookRow(experiment_id=live.row_id, **columns))
