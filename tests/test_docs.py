"""The documentation is true: its code runs, its examples give what they say, and nothing public lacks a word."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOUR = ("model_registry", "ab_testing", "experiment_tracking", "model_monitoring")
PACKAGES = sorted(
    path.parent.name
    for path in ROOT.glob("*/__init__.py")
    if path.parent.name not in {"benchmarks", "tests", "migrations"}
)
MODULES = sorted(
    {path.stem for path in ROOT.glob("*.py")} - {"streamlit_app"}
    | {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
)
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


# -- README ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_code_of_the_readme_runs_in_order(own_home: Path) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 4, "the four examples are there"
    script = own_home / "readme.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=own_home,
        env=os.environ | {"HOME": str(own_home), "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (own_home / ".modeldesk" / "modeldesk.db").exists(), "the examples use the default store"


def test_the_readme_points_at_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r'src="([^":]+)"', text)
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_document_says_something(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").split()) > 50


# -- docstrings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "examples.story" else ()) for name in MODULES],
)
def test_the_examples_in_docstrings_hold(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0, capsys.readouterr().out


@pytest.mark.parametrize("name", FOUR)
def test_each_module_opens_with_an_example(name: str) -> None:
    assert ">>>" in (importlib.import_module(name).__doc__ or "")


# -- every public name -----------------------------------------------------------------------------------------


def public_names(module: ModuleType) -> list[str]:
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def undocumented(module: ModuleType) -> list[str]:
    """Public classes, functions, methods and properties of a module that have no docstring."""
    found = []
    if not (module.__doc__ or "").strip():
        found.append(module.__name__)
    for name in public_names(module):
        value = getattr(module, name)
        if not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        if not (inspect.getdoc(value) or "").strip():
            found.append(f"{module.__name__}.{name}")
        if not inspect.isclass(value) or value.__module__ != module.__name__:
            continue
        for attribute, member in vars(value).items():
            if attribute.startswith("_"):
                continue
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if inspect.isfunction(function) and not (inspect.getdoc(getattr(value, attribute)) or "").strip():
                found.append(f"{module.__name__}.{name}.{attribute}")
    return found


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert undocumented(module) == []
    assert [public for public in public_names(module) if not hasattr(module, public)] == []


@pytest.mark.parametrize("name", [*FOUR, "db", "values", "artifacts"])
def test_a_module_says_what_is_public(name: str) -> None:
    assert importlib.import_module(name).__all__


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("stats.")])
def test_every_formula_names_its_source(name: str) -> None:
    """Each module of stats/ has at least one list of references in its docstrings."""
    tree = ast.parse((ROOT / Path(*name.split("."))).with_suffix(".py").read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    assert any("References" in text or ".. [1]" in text or "[1]" in text for text in docstrings)


def test_the_fields_of_results_are_documented() -> None:
    """Every dataclass that a module exports names each of its fields in its docstring."""
    import dataclasses

    missing = []
    for name in FOUR:
        module = importlib.import_module(name)
        for public in public_names(module):
            value = getattr(module, public)
            if inspect.isclass(value) and dataclasses.is_dataclass(value):
                text = inspect.getdoc(value) or ""
                missing += [
                    f"{name}.{public}.{field.name}"
                    for field in dataclasses.fields(value)
                    if not field.name.startswith("_") and not re.search(rf"\b{field.name}\b", text)
                ]
    assert missing == []
