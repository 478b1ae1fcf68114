"""Register and load a 10 MB scikit-learn model: joblib, fsync and SHA-256 by hand, MLflow, and ours.

Every round stores other bytes: nothing is deduplicated. The floor does what any store that can be trusted must do.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runner import Benchmark

benchmark = Benchmark(
    "Registering and loading a 10 MB scikit-learn model",
    workloads={"register": {"action": "register"}, "load": {"action": "load"}},
    rounds=9,
    max_ratio_to_floor=1.3,
)

ROWS, COLUMNS = 13_000, 100  # of 64-bit floats: 10.4 MB


def make_model() -> Any:
    """Return a fitted model that keeps its training data."""
    import numpy as np
    from sklearn.neighbors import KNeighborsClassifier

    draw = np.random.default_rng(0)
    rows = draw.random((ROWS, COLUMNS))
    return KNeighborsClassifier(algorithm="brute").fit(rows, (rows[:, 0] > 0.5).astype(int))


def change(model: Any, number: int) -> Any:
    """Make the model's bytes those of no other round."""
    model._fit_X[0, 0] = float(number)
    return model


@benchmark.floor("joblib + fsync + SHA-256")
def by_hand(folder: Path, action: str) -> Callable[[], int]:
    """Dump, flush to the disk, read back and hash; or read, hash and load."""
    import hashlib
    import os

    import joblib

    model, numbers = make_model(), iter(range(1_000_000))

    def digest(path: Path) -> str:
        found = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                found.update(chunk)
        return found.hexdigest()

    def register() -> int:
        number = next(numbers)
        path = folder / f"{number}.joblib"
        change(model, number)
        with path.open("wb") as file:
            joblib.dump(model, file)
            file.flush()
            os.fsync(file.fileno())
        path.rename(folder / digest(path))
        return 1

    stored = folder / "m.joblib"
    joblib.dump(model, stored)

    def load() -> int:
        digest(stored)
        return int(joblib.load(stored)._fit_X.shape[0])

    return register if action == "register" else load


def _mlflow(folder: Path, action: str, **settings: Any) -> Callable[[], int]:
    import mlflow
    import mlflow.sklearn

    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = mlflow.create_experiment("benchmark", artifact_location=str(folder / "artifacts"))
    model, numbers = make_model(), iter(range(1_000_000))

    def register() -> int:
        with mlflow.start_run(experiment_id=experiment):
            mlflow.sklearn.log_model(
                change(model, next(numbers)),
                name="m",
                registered_model_name="m",
                **settings,
            )
        return 1

    def load() -> int:
        return int(mlflow.sklearn.load_model("models:/m/1")._fit_X.shape[0])

    if action == "load":
        register()
        return load
    return register


@benchmark.peer("MLflow, requirements given", install=["mlflow", "skops"])
def mlflow_told(folder: Path, action: str) -> Callable[[], int]:
    """Log and register a model in the format that MLflow chooses by itself, skops; it is told what it needs."""
    return _mlflow(folder, action, pip_requirements=["scikit-learn"])


@benchmark.peer("MLflow with pickle, requirements given", install=["mlflow", "skops"])
def mlflow_told_pickle(folder: Path, action: str) -> Callable[[], int]:
    """Log and register a model in the format that is MLflow's fastest, and not its choice."""
    return _mlflow(folder, action, pip_requirements=["scikit-learn"], serialization_format="pickle")


@benchmark.peer("MLflow", install=["mlflow", "skops"])
def mlflow_asked(folder: Path, action: str) -> Callable[[], int]:
    """Log and register a model; MLflow finds out what it needs, as ours does."""
    return _mlflow(folder, action)


@benchmark.ours()
def ours(folder: Path, action: str) -> Callable[[], int]:
    """Register and load through `ModelRegistryManager`; dependencies are captured, bytes verified."""
    from db import Database
    from model_registry import ModelRegistryManager

    registry = ModelRegistryManager(Database(folder / "modeldesk.db"))
    model, numbers = make_model(), iter(range(1_000_000))

    def register() -> int:
        registry.register_model(change(model, next(numbers)), "m")
        return 1

    def load() -> int:
        return int(registry.load_model("m")._fit_X.shape[0])

    if action == "load":
        register()
        return load
    return register
