"""List and search a registry of 1,000 and of 10,000 versions: the first page, beside the same question in bare SQL."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

VERSIONS_A_MODEL = 20
PAGE = 50

ACTIONS = ("list models", "newest versions", "metric threshold and tag", "text")
benchmark = Benchmark(
    "First page of a registry (50 rows)",
    workloads={
        f"{action}, {n:,} versions": {"action": action, "n_versions": n} for action in ACTIONS for n in (1_000, 10_000)
    },
    rounds=9,
)


def fill(folder: Path, n_versions: int) -> Any:
    """Return a registry with many versions; their rows are written directly, as registering them takes long."""
    import sqlalchemy as sa

    from db import BlobRow, Database, ModelFileRow, ModelMetricRow, ModelRow, ModelTagRow, ModelVersionRow
    from model_registry import ModelRegistryManager
    from registry_parts.versions import precedence_key
    from values import new_id, to_utc

    database = Database(folder / "modeldesk.db")
    start = to_utc("2026-01-01")
    models, versions, metrics, tags, files = [], [], [], [], []
    for number in range(n_versions):
        model, place = divmod(number, VERSIONS_A_MODEL)
        at = start + datetime.timedelta(minutes=number)
        if place == 0:
            models.append(
                {"id": model + 1, "uid": new_id(), "name": f"model-{model:05d}", "description": "", "owner": None,
                 "tags": {}, "gates": {}, "created_at": at, "updated_at": at}
            )  # fmt: skip
        version, auc = f"1.{place}.0", (number * 7919 % 1000) / 1000
        tag = {"team": f"team-{number % 10}"}
        versions.append(
            {"id": number + 1, "uid": new_id(), "model_id": model + 1, "version": version,
             "precedence": precedence_key(version), "model_type": "classifier",
             "stage": "Production" if place == VERSIONS_A_MODEL - 1 else "Archived", "description": f"Version {number}",
             "owner": None, "run_id": None, "metrics": {"auc": auc, "loss": 1 - auc}, "hyperparameters": {"lr": 0.1},
             "tags": tag, "dependencies": {"numpy": "2.0"}, "environment": {"python": "3.11"}, "signature": None,
             "data_fingerprint": None, "card": None, "serializer": "joblib", "origin": "object", "sha256": "0" * 64,
             "size_bytes": 1000, "created_at": at, "created_by": "me"}
        )  # fmt: skip
        for key, value in (("auc", auc), ("loss", 1 - auc)):
            metrics.append({"version_id": number + 1, "key": key, "value": value})
        tags.append({"version_id": number + 1, "key": "team", "value": tag["team"]})
        files.append({"version_id": number + 1, "path": "model.joblib", "sha256": "0" * 64, "size_bytes": 1000})
    with database.write() as session:
        session.execute(sa.insert(BlobRow), [{"sha256": "0" * 64, "size_bytes": 1000, "created_at": start}])
        for table, rows in (
            (ModelRow, models),
            (ModelVersionRow, versions),
            (ModelMetricRow, metrics),
            (ModelTagRow, tags),
            (ModelFileRow, files),
        ):
            session.execute(sa.insert(table), rows)
    return ModelRegistryManager(database)


@benchmark.floor("sqlite3, bare: the same rows, undecoded")
def sqlite_bare(folder: Path, action: str, n_versions: int) -> Callable[[], int]:
    """Ask the same tables the least that gives the page."""
    import sqlite3

    fill(folder, n_versions)
    connection = sqlite3.connect(folder / "modeldesk.db")
    statements = {
        "list models": f"SELECT * FROM models ORDER BY name LIMIT {PAGE}",
        "newest versions": f"SELECT * FROM model_versions ORDER BY created_at DESC LIMIT {PAGE}",
        "metric threshold and tag": (
            "SELECT v.* FROM model_versions v JOIN model_metrics m ON m.version_id = v.id AND m.key = 'auc' "
            "AND m.value >= 0.9 JOIN model_tags t ON t.version_id = v.id AND t.key = 'team' AND t.value = 'team-3' "
            f"ORDER BY m.value DESC LIMIT {PAGE}"
        ),
        "text": f"SELECT * FROM model_versions WHERE description LIKE '%99%' ORDER BY created_at DESC LIMIT {PAGE}",
    }
    return lambda: len(connection.execute(statements[action]).fetchall())


@benchmark.ours()
def ours(folder: Path, action: str, n_versions: int) -> Callable[[], int]:
    """Ask through `ModelRegistryManager`: records or a DataFrame, with the number of all matches."""
    registry = fill(folder, n_versions)
    actions: dict[str, Callable[[], int]] = {
        "list models": lambda: len(registry.list_models(limit=PAGE)),
        "newest versions": lambda: len(registry.search(limit=PAGE)),
        "metric threshold and tag": lambda: len(
            registry.search(metrics={"auc": 0.9}, tags={"team": "team-3"}, order_by="metrics.auc", limit=PAGE)
        ),
        "text": lambda: len(registry.search("99", limit=PAGE)),
    }
    return actions[action]
