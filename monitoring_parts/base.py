"""What all parts of monitoring share: the database, and finding or making the monitored version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from columns import to_microseconds
from db import Database, ModelRow, ModelVersionRow, MonitoredModelRow, NotFoundError
from values import to_utc

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

__all__ = ["MonitoringBase"]


class MonitoringBase:
    """The database and the look-ups that every verb needs; sessions and cursors are the caller's."""

    _database: Database

    def _noticed(self, name: str, version: str) -> None:
        """Tell whoever evaluates alerts that data of a version arrived; returns at once."""

    def _ensure_monitored(self, cursor: Any, name: str, version: str) -> int:
        """Return the id of a monitored version, making it and linking it to the registry where that is missing."""
        sql = self._database.sql
        cursor.execute(
            sql("INSERT INTO monitored_models (name, version, created_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"),
            (name, version, to_microseconds(to_utc())),
        )
        # The row is the lock of the version: on PostgreSQL two writers take turns, SQLite has one writer anyway.
        select = "SELECT id, version_id FROM monitored_models WHERE name = ? AND version = ?"
        lock = "SELECT id, version_id FROM monitored_models WHERE name = ? AND version = ? FOR UPDATE"
        cursor.execute(sql(lock if self._database.dialect == "postgresql" else select), (name, version))
        monitored_id, version_id = cursor.fetchone()
        if version_id is None:
            cursor.execute(
                sql(
                    "UPDATE monitored_models SET version_id = (SELECT v.id FROM model_versions v JOIN models m "
                    "ON m.id = v.model_id WHERE m.name = ? AND v.version = ?) WHERE id = ?"
                ),
                (name, version, monitored_id),
            )
        return int(monitored_id)

    def _find_monitored(self, session: Session, name: str, version: str) -> MonitoredModelRow:
        row = session.query(MonitoredModelRow).filter_by(name=name, version=version).one_or_none()
        if row is None:
            known = session.query(MonitoredModelRow.version).filter_by(name=name).limit(10).all()
            if known:
                listed = ", ".join(item.version for item in known)
                raise NotFoundError(f"nothing was logged for {name} {version}; known versions: {listed}")
            names = session.query(MonitoredModelRow.name).distinct().limit(10).all()
            listed = ", ".join(item.name for item in names) or "none"
            raise NotFoundError(f"nothing was logged for a model named {name!r}; known: {listed}")
        return row

    def _version_uid(self, session: Session, row: MonitoredModelRow) -> str | None:
        """Public id of the registered version, also when it was registered after the first log call."""
        query = session.query(ModelVersionRow.uid)
        if row.version_id is not None:
            found = query.filter(ModelVersionRow.id == row.version_id).first()
        else:
            joined = query.join(ModelRow, ModelRow.id == ModelVersionRow.model_id)
            found = joined.filter(ModelRow.name == row.name, ModelVersionRow.version == row.version).first()
        return None if found is None else str(found.uid)
