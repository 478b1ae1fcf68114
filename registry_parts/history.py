"""What happened to a model over time: its audit trail, and the values that its metrics had.

Every function takes the caller's session: none begins or ends a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from db import ModelPerformanceRow, ModelRow, ModelVersionRow, StageEventRow
from registry_parts.queries import find_model, find_version, to_event
from registry_parts.records import StageEvent
from registry_parts.registration import insert_all
from values import check_key, check_text, to_utc

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy.orm import Session

__all__ = ["add_performance", "find_events", "find_performance", "performance_to_frame"]


def find_events(session: Session, model: ModelRow, version: str | None) -> list[StageEvent]:
    """Return the audit trail of a model, or of one version of it, oldest first."""
    query = sa.select(StageEventRow).where(StageEventRow.model_id == model.id).order_by(StageEventRow.id)
    if version is not None:
        query = query.where(StageEventRow.version_id == find_version(session, model, version, deleted=True).id)
    events = session.scalars(query).all()
    numbers = dict(
        session.execute(
            sa.select(ModelVersionRow.id, ModelVersionRow.version).where(ModelVersionRow.model_id == model.id)
        ).all()
    )
    return [to_event(event, model.name, numbers) for event in events]


def add_performance(
    session: Session, name: str, version: str, values: Mapping[str, float], at: datetime, dataset: str | None
) -> None:
    """Add the values that metrics of a version had at an instant."""
    row = find_version(session, find_model(session, name), version)
    insert_all(
        session,
        ModelPerformanceRow,
        [
            {"version_id": row.id, "metric": key, "at": at, "value": value, "dataset": dataset}
            for key, value in values.items()
        ],
    )


def find_performance(
    session: Session,
    models: Sequence[ModelRow],
    version: str | None,
    metric: str | None,
    dataset: str | None,
    start: datetime | str | None,
    end: datetime | str | None,
) -> Sequence[Any]:
    """Return (name, version, metric, at, value, dataset), oldest first; `version` is for one model."""
    row = ModelPerformanceRow
    query = (
        sa.select(ModelRow.name, ModelVersionRow.version, row.metric, row.at, row.value, row.dataset)
        .join(ModelVersionRow, ModelVersionRow.id == row.version_id)
        .join(ModelRow, ModelRow.id == ModelVersionRow.model_id)
        .where(ModelVersionRow.model_id.in_([model.id for model in models]))
        .order_by(row.at, row.id)
    )
    if version is not None:
        query = query.where(row.version_id == find_version(session, models[0], version, deleted=True).id)
    if metric is not None:
        query = query.where(row.metric == check_key(metric, "metric"))
    if dataset is not None:
        query = query.where(row.dataset == check_text(dataset, "dataset", 255))
    if start is not None:
        query = query.where(row.at >= to_utc(start, "start"))
    if end is not None:
        query = query.where(row.at < to_utc(end, "end"))
    return session.execute(query).all()


def performance_to_frame(found: Sequence[Any]) -> pd.DataFrame:
    """Return one row a recorded value."""
    import pandas as pd

    frame = pd.DataFrame(found, columns=["name", "version", "metric", "at", "value", "dataset"])
    frame["at"] = pd.to_datetime(frame["at"], utc=True).astype("datetime64[us, UTC]")
    frame["value"] = frame["value"].astype("float64")
    return frame
