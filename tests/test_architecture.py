"""Who may import whom, and what importing a module may load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOUR = ("model_registry", "ab_testing", "experiment_tracking", "model_monitoring")
PACKAGES = sorted(
    path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name not in {"benchmarks", "tests"}
)
TOP_LEVEL = sorted(path.stem for path in ROOT.glob("*.py"))
OURS = {*TOP_LEVEL, *PACKAGES, *FOUR, "benchmarks", "tests"}
PARTS = {package for package in PACKAGES if package.endswith("_parts")}  # of one of the four each
LAYERS_ABOVE = {*FOUR, "chain", "streamlit_app", "dashboard", "examples"}
BELOW_THE_FOUR = OURS - LAYERS_ABOVE - {"benchmarks", "tests", "migrations"}  # charts on the first plot() only
HEAVY = ("streamlit", "plotly", "pandas", "alembic", "sklearn", "scipy.stats", "matplotlib", "jinja2", "apprise")
DESIGNED = {  # the entries of the project's design; every other one has its reason in CONTRIBUTING.md
    *FOUR,
    "streamlit_app",
    "db",
    "artifacts",
    "dashboard",
    "stats",
    "charts",
    "migrations",
    "tests",
    "benchmarks",
    "examples",
    "README.md",
    "requirements.txt",
    "pyproject.toml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    ".streamlit",
    ".ci",
}
SOURCES = sorted(
    path
    for path in [*ROOT.glob("*.py"), *(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))]
    if "__pycache__" not in path.parts
)


def module_name(path: Path) -> str:
    """Dotted name of a source file."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def runtime_imports(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Dotted names that a file imports, and whether it does so when it is imported itself.

    What stands under ``if TYPE_CHECKING`` is left out: it never runs.
    """

    def visit(node: ast.AST, at_import: bool) -> Iterator[tuple[str, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from visit(child, at_import)
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module, at_import
        inside = at_import and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(tree, True)


@cache
def imports_of(path: Path) -> list[tuple[str, bool]]:
    return list(runtime_imports(ast.parse(path.read_text(encoding="utf-8"))))


def top(name: str) -> str:
    return name.split(".")[0]


# -- the diagram -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_only_the_layers_above_are_imported(path: Path) -> None:
    name = module_name(path)
    used = {top(imported) for imported, _ in imports_of(path)}
    layer = top(name)
    ours = (used & OURS) - {layer}
    if layer in FOUR:
        assert ours <= BELOW_THE_FOUR, f"{name} imports {sorted(ours - BELOW_THE_FOUR)}"
    elif layer == "stats":
        foreign = {module for module in used if module not in sys.stdlib_module_names} - {"numpy", "scipy", "stats"}
        assert not foreign, f"{name} imports {sorted(foreign)}"
    elif layer == "charts":
        allowed = {"stats", "values"}  # a figure may ask the mathematics for a curve
        assert ours <= allowed, f"{name} imports {sorted(ours - allowed)}"
    elif layer in {"values", "errors", "lazy_dataclass"}:
        assert not ours, f"{name} imports {sorted(ours)}"
    elif layer == "columns":
        assert ours <= {"values"}, f"{name} imports {sorted(ours)}"
    elif layer == "db":
        assert ours <= {"columns", "engine", "errors"}, f"{name} imports {sorted(ours)}"
    elif layer == "engine":
        assert ours <= {"errors", "migrations"}, f"{name} imports {sorted(ours)}"
    elif layer == "artifact_backends":
        assert ours <= {"errors", "lazy_dataclass", "values"}, f"{name} imports {sorted(ours)}"
    elif layer == "artifact_sources":
        assert ours <= {"artifact_backends", "errors", "values"}, f"{name} imports {sorted(ours)}"
    elif layer == "artifact_claims":
        assert ours <= {"columns", "db"}, f"{name} imports {sorted(ours)}"
    elif layer == "artifacts":
        allowed = {"artifact_backends", "artifact_claims", "artifact_sources", "errors", "lazy_dataclass", "values"}
        assert ours <= allowed, f"{name} imports {sorted(ours - allowed)}"
    elif layer == "migrations":
        assert ours <= {"columns", "db", "values"}, f"{name} imports {sorted(ours)}"
    elif layer == "streamlit_app":
        assert ours <= {"dashboard", "db", "charts"}, f"{name} imports {sorted(ours)}"
    elif layer == "dashboard":
        assert ours <= {*FOUR, *BELOW_THE_FOUR, "chain", "examples"}, f"{name} imports {sorted(ours)}"
    elif layer == "chain":  # what joins two of the four lives above them
        assert ours <= {*FOUR, *BELOW_THE_FOUR}, f"{name} imports {sorted(ours)}"
    elif layer == "examples":
        assert ours <= {*FOUR, "chain", "db", "values"}, f"{name} imports {sorted(ours)}"
    else:  # a part of a module, such as the filter language of tracking: below the modules
        assert ours <= BELOW_THE_FOUR, f"{name} imports {sorted(ours)}"


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("streamlit", {"streamlit_app", "dashboard"}),
        ("sqlalchemy", {"artifact_claims", "columns", "db", "engine", "migrations", "artifacts", *FOUR, *PARTS}),
        ("alembic", {"migrations"}),
        ("plotly", {"charts"}),
        ("psycopg", {"engine"}),
    ],
)
def test_a_package_is_used_only_where_it_belongs(package: str, allowed: set[str]) -> None:
    users = {module_name(p) for p in SOURCES if package in {top(imported) for imported, _ in imports_of(p)}}
    assert {user for user in users if top(user) not in allowed} == set()


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_the_mathematics_and_the_modules_import_nothing_heavy_at_their_top(path: Path) -> None:
    if top(module_name(path)) not in {*FOUR, "stats", "columns", "db", "lazy_dataclass", "values", "artifacts"}:
        return
    heavy = {
        imported
        for imported, at_import in imports_of(path)
        if at_import and any(imported == name or imported.startswith(f"{name}.") for name in HEAVY)
    }
    assert heavy == set(), f"{module_name(path)} imports {sorted(heavy)} at its top; import them in the function"


# -- in a fresh interpreter ------------------------------------------------------------------------------------


def modules_loaded_by(name: str) -> set[str]:
    """Names in ``sys.modules`` of a fresh interpreter that has imported `name`, started in a folder of no interest."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}; import json; print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("name", [*FOUR, "db", "values", "artifacts"])
def test_importing_a_module_loads_no_sibling_and_nothing_heavy(name: str) -> None:
    loaded = modules_loaded_by(name)
    assert loaded & set(FOUR) <= {name}
    assert loaded & {"charts", "dashboard", "migrations", "examples", "streamlit_app"} == set()
    assert loaded & set(HEAVY) == set()


def test_the_mathematics_loads_no_database() -> None:
    stats = [f"stats.{path.stem}" for path in (ROOT / "stats").glob("*.py") if path.stem != "__init__"]
    assert stats
    loaded = modules_loaded_by(", ".join(stats))
    assert loaded & {"sqlalchemy", "db", "pandas", "plotly", "streamlit"} == set()


# -- the package -----------------------------------------------------------------------------------------------


def pyproject() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_top_level_module_is_installed() -> None:
    assert pyproject()["tool"]["setuptools"]["py-modules"] == TOP_LEVEL  # type: ignore[index]


def test_every_package_is_installed() -> None:
    included = set(pyproject()["tool"]["setuptools"]["packages"]["find"]["include"])  # type: ignore[index]
    assert included == {pattern for package in PACKAGES for pattern in (package, f"{package}.*")}


def test_every_top_level_entry_has_its_reason() -> None:
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()] + [".git"]
    entries = {
        path.name.removesuffix(".py")
        for path in ROOT.iterdir()
        if not any(fnmatch(path.name, pattern) for pattern in ignored)
        and not (path.is_dir() and not any(path.iterdir()))
    }
    decisions = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Decisions")[1]
    assert sorted(entry for entry in entries - DESIGNED if f"`{entry}" not in decisions) == []


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    assert {*TOP_LEVEL, *PACKAGES} & set(sys.stdlib_module_names) == set()


def test_every_third_party_import_is_declared() -> None:
    import re
    from importlib.metadata import packages_distributions

    project = pyproject()["project"]
    optional = project["optional-dependencies"]  # type: ignore[index]
    declared = (ROOT / "requirements.txt").read_text().splitlines() + [
        line for extra, lines in optional.items() if extra not in {"test", "dev"} for line in lines
    ]
    normal = {
        re.split(r"[<>=!~ \[;]", line)[0].lower().replace("_", "-")
        for line in declared
        if line.strip() and not line.startswith("#")
    }
    distributions = packages_distributions()
    used = {top(imported) for path in SOURCES for imported, _ in imports_of(path)}
    third_party = used - OURS - set(sys.stdlib_module_names) - {"__future__"}
    missing = {
        name
        for name in third_party
        if not {d.lower().replace("_", "-") for d in distributions.get(name, [name])} & normal
    }
    assert missing == set(), "imported, but neither in requirements.txt nor in an extra of pyproject.toml"
