"""Moving versions between stages: gates, evidence, the one place in Production, the audit trail.

Every function takes the caller's session, in which the model's row is locked: none begins or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from db import ABExperimentRow, ModelRow, ModelVersionRow, NotFoundError, RunRow, StageEventRow, StateError
from registry_parts import gates
from registry_parts.queries import find_model, find_production, find_version, previous_production, to_version
from registry_parts.records import ALLOWED_TRANSITIONS, ModelStage, ModelVersion
from values import shorten, to_utc

__all__ = ["add_event", "check_promotion", "find_target", "move", "roll_back", "set_gates", "transition"]


def transition(
    session: Session,
    name: str,
    version: str,
    target: ModelStage,
    *,
    actor: str,
    from_stage: ModelStage | None,
    displacing: str | None,
    **settings: Any,
) -> ModelVersion:
    """Move a version to a stage where it is not yet; the other settings are those of `move`."""
    model = find_model(session, name, lock=True)
    row = find_version(session, model, version)
    if from_stage is not None and row.stage != from_stage.value:
        raise StateError(
            f"{model.name} {row.version} is not in {from_stage.value} any more: it is in {row.stage}; "
            "look again before you move it"
        )
    if displacing is not None and target is ModelStage.PRODUCTION:
        current = find_production(session, model.id)
        found = "" if current is None else current.version
        if found != displacing:
            raise StateError(
                f"{found or 'no version'} of {model.name} is in Production by now, not {displacing or 'none'}; "
                "look again before you promote"
            )
    if row.stage != target.value:
        kind = "promote" if target is ModelStage.PRODUCTION else "transition"
        move(session, model, row, target, kind=kind, actor=actor, **settings)
    return to_version(session, model.name, row)


def find_target(session: Session, name: str) -> ModelVersion | None:
    """Return the version that `roll_back` would bring back."""
    model = find_model(session, name)
    row = previous_production(session, model.id, find_production(session, model.id))
    return None if row is None else to_version(session, model.name, row)


def roll_back(
    session: Session, name: str, *, actor: str, reason: str, from_version: str | None, target_version: str | None
) -> ModelVersion:
    """Bring the previous Production version back; its gates were asked when it was promoted."""
    model = find_model(session, name, lock=True)
    current = find_production(session, model.id)
    found = None if current is None else current.version
    if from_version is not None and found != from_version:
        raise StateError(
            f"{model.name} {from_version} is not in Production any more: {found or 'no version'} is; "
            "look again before you roll back"
        )
    row = previous_production(session, model.id, current)
    if row is None:
        raise StateError(f"{model.name!r} has no earlier Production version to roll back to")
    if target_version is not None and row.version != target_version:
        raise StateError(
            f"{model.name} {target_version} would not come back: {row.version} would; look again before you roll back"
        )
    move(
        session,
        model,
        row,
        ModelStage.PRODUCTION,
        kind="rollback",
        actor=actor,
        reason=reason or "rollback",
        evidence={"rolled_back_from": current.version if current is not None else None},
        gated=False,
    )
    return to_version(session, model.name, row)


def set_gates(session: Session, name: str, gates: dict[str, Any]) -> dict[str, Any]:
    """Set a model's gates, checked already."""
    model = find_model(session, name, lock=True)
    model.gates, model.updated_at = gates, to_utc()
    return gates


def check_promotion(session: Session, name: str, version: str, evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the gates say of a version now."""
    model = find_model(session, name)
    return _ask_gates(session, model, find_version(session, model, version), _check_evidence(session, evidence)[1])


def move(
    session: Session,
    model: ModelRow,
    row: ModelVersionRow,
    target: ModelStage,
    *,
    kind: str,
    actor: str,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    archive_current: bool = True,
    override: bool = False,
    gated: bool = True,
) -> None:
    """Move a version whose model's row is locked; Production's former version goes to Archived first."""
    before = ModelStage(row.stage)
    if target not in ALLOWED_TRANSITIONS[before]:
        allowed = ", ".join(sorted(stage.value for stage in ALLOWED_TRANSITIONS[before]))
        raise StateError(
            f"{model.name} {row.version} is in {before.value} and cannot move to {target.value}; "
            f"it may move to {allowed}"
        )
    recorded, experiment = _check_evidence(session, evidence or {})
    now = to_utc()
    displaced = None
    if target is ModelStage.PRODUCTION:
        if gated and model.gates:
            outcomes = _ask_gates(session, model, row, experiment)
            failed = [f"{outcome['gate']}: {outcome['message']}" for outcome in outcomes if not outcome["passed"]]
            recorded["gates"] = outcomes
            if failed and not override:
                raise StateError(f"{model.name} {row.version} may not enter Production; {'; '.join(failed)}")
            if failed:
                recorded["override"] = True
        displaced = find_production(session, model.id)
        if displaced is not None:
            if not archive_current:
                raise StateError(
                    f"{model.name} {displaced.version} is in Production; move it first, or let it be archived "
                    "(archive_current=True)"
                )
            displaced.stage = ModelStage.ARCHIVED.value
            session.flush()  # before the promotion: the index admits one Production version at every statement
            add_event(
                session,
                displaced,
                kind="displace",
                before=ModelStage.PRODUCTION,
                after=ModelStage.ARCHIVED,
                actor=actor,
                reason=f"displaced by {row.version}" + (f": {reason}" if reason else ""),
                evidence={"displaced_by": row.version},
                at=now,
            )
    row.stage = target.value
    session.flush()
    model.updated_at = now
    add_event(
        session,
        row,
        kind=kind,
        before=before,
        after=target,
        actor=actor,
        reason=reason,
        evidence=recorded,
        displaced=displaced,
        at=now,
    )


def add_event(
    session: Session,
    row: ModelVersionRow,
    *,
    kind: str,
    before: ModelStage | None,
    after: ModelStage,
    actor: str,
    reason: str = "",
    evidence: Mapping[str, Any] | None = None,
    displaced: ModelVersionRow | None = None,
    at: datetime | None = None,
) -> None:
    """Add one entry to the audit trail."""
    session.add(
        StageEventRow(
            model_id=row.model_id,
            version_id=row.id,
            kind=kind,
            from_stage=before.value if before is not None else None,
            to_stage=after.value,
            at=to_utc(at),
            actor=actor,
            reason=reason,
            evidence=dict(evidence or {}),
            displaced_id=displaced.id if displaced is not None else None,
        )
    )
    session.flush()  # one by one: the order of the events is the order of their ids


def _check_evidence(session: Session, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the evidence with what is known of it added, and the experiment it names; or raise if that is unknown."""
    recorded = dict(given)
    run_uid = given.get("run_id")
    if run_uid is not None and session.scalar(sa.select(RunRow.id).where(RunRow.uid == str(run_uid))) is None:
        raise NotFoundError(f"the evidence names a run that does not exist: {shorten(run_uid)}")
    experiment_uid = given.get("experiment_id")
    if experiment_uid is None:
        return recorded, None
    found = session.scalar(sa.select(ABExperimentRow).where(ABExperimentRow.uid == str(experiment_uid)))
    if found is None:
        raise NotFoundError(f"the evidence names an A/B experiment that does not exist: {shorten(experiment_uid)}")
    experiment = {"name": found.name, "decision": found.decision, "status": found.status}
    recorded["experiment"] = {key: value for key, value in experiment.items() if value is not None}
    return recorded, experiment | {"treatment_version_id": found.treatment_version_id}


def _ask_gates(
    session: Session, model: ModelRow, row: ModelVersionRow, experiment: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Return the outcome of each gate of a model for one of its versions."""
    current = find_production(session, model.id)
    production = None if current is None or current.id == row.id else (current.version, current.metrics)
    tested = None
    if experiment is not None:
        tested = dict(experiment) | {"is_of_this_version": experiment["treatment_version_id"] in (None, row.id)}
    return gates.evaluate_gates(model.gates, row.metrics, production, tested)
