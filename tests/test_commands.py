"""The commands people run: what they refuse, and that continuous integration runs the same one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = ("run.sh", "test.sh", ".ci/run")


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)} | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    shell = (ROOT / name).read_text().splitlines()[0].removeprefix("#!").split()
    assert run([*shell, "-n", name], ROOT).returncode == 0


def test_continuous_integration_runs_the_test_command() -> None:
    assert "exec ./test.sh" in (ROOT / ".ci" / "run").read_text()


def test_an_old_python_is_refused_with_the_remedy(tmp_path: Path) -> None:
    shutil.copy(ROOT / "run.sh", tmp_path)
    done = run(["./run.sh", "--install"], tmp_path, PYTHON="/bin/false")
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_an_environment_that_was_copied_is_made_anew(tmp_path: Path) -> None:
    """The interpreter of a copied environment works, and belongs to another folder."""
    shutil.copy(ROOT / "run.sh", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    done = run(["./run.sh", "--install"], tmp_path, PYTHON="/bin/false")
    assert "Python 3.11 or newer is needed" in done.stderr


def test_the_test_command_explains_itself(tmp_path: Path) -> None:
    shutil.copy(ROOT / "test.sh", tmp_path)
    done = run(["./test.sh", "--help"], tmp_path)
    assert done.returncode == 0
    assert "--fast" in done.stdout
