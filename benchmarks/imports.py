"""How long a fresh interpreter takes to import each module, beside its third-party imports and beside MLflow.

The floor of a module is an interpreter that imports what the module imports from third parties (read from
``sys.modules`` after importing it) and nothing of ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import ROOT, Benchmark

MODULES = ("model_registry", "ab_testing", "experiment_tracking", "model_monitoring")

benchmark = Benchmark(
    "Import time in a fresh interpreter",
    workloads={name: {"module": name} for name in MODULES},
    rounds=15,
    max_ratio_to_floor=1.2,
)

# Prints the modules that importing argv[2] loads from site-packages, in the order in which they were begun.
_LIST_THIRD_PARTY = """
import importlib, sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
importlib.import_module(sys.argv[2])
for name, module in list(sys.modules.items()):
    origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
    if name not in before and "site-packages" in origin:
        print(name)
"""


def importer(code: str) -> Callable[[], None]:
    """Return a function that runs `code` in a fresh interpreter, with compiled modules, as any second one has them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run() -> None:
        subprocess.run([sys.executable, "-c", code], check=True, cwd="/", env=environment)

    return run


def third_party_imports(module: str) -> list[str]:
    """Return the third-party modules that importing `module` loads."""
    listed = subprocess.run(
        [sys.executable, "-c", _LIST_THIRD_PARTY, str(ROOT), module],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
    )
    return listed.stdout.split()


@benchmark.floor("its third-party imports")
def third_party(folder: Path, module: str) -> Callable[[], None]:
    """Import what the module imports from others."""
    names = third_party_imports(module)
    # Through importlib, because a name such as "six.moves" exists only once its parent has made it.
    return importer(f"import importlib\nfor name in {names!r}:\n    importlib.import_module(name)")


@benchmark.peer("MLflow", install=["mlflow"])
def mlflow(folder: Path, module: str) -> Callable[[], None]:
    """Import MLflow."""
    return importer("import mlflow")


@benchmark.ours("the module")
def ours(folder: Path, module: str) -> Callable[[], None]:
    """Import the module."""
    return importer(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\nimport {module}")
