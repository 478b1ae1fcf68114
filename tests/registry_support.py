"""What the tests of the registry share: a small model, what a store holds, and a run to name."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from db import Database, map_tables
from model_registry import ModelRegistryManager


def add(registry: ModelRegistryManager, version: str | None = "1.0.0", name: str = "churn", **settings) -> str:
    """Register a small model whose bytes differ by version."""
    return registry.register_model({"weights": [1, 2], "of": version}, name, version, **settings)


def rows(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {
            name: session.scalar(sa.select(sa.func.count()).select_from(table))
            for name, table in map_tables().tables.items()
        }


def stored(database: Database) -> list[str]:
    folder = Path(database.artifact_url) / "sha256"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def make_run(database: Database) -> str:
    from experiment_tracking import ExperimentTracking

    tracking = ExperimentTracking(database)
    run_id = tracking.start_run("training", "run-001")
    tracking.end_run(run_id)
    return run_id
