"""What a run ran in, captured by itself: code, command, packages, host, hardware; and whether its process lives.

    >>> sorted(capture_environment())[:4]
    ['command', 'git', 'hardware', 'host']

Nothing of the environment variables is kept: they hold secrets.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["capture_environment", "identify_process", "is_process_alive"]

DIFF_MAX_CHARACTERS = 100_000  # of the uncommitted diff; more is cut and marked
GIT_TIMEOUT_SECONDS = 5.0  # a repository on a slow disk must not hold up a run
GIT_FRESH_SECONDS = 5.0  # a sweep that starts hundreds of runs asks git once in that time
_SECRET = re.compile(r"(?i)(?:token|secret|passw|api[-_]?key|credential)")


def capture_environment() -> dict[str, Any]:
    """Return code, command, Python, packages, host and hardware as JSON-able values.

    Returns
    -------
    dict
        Keys "git" (commit, branch, dirty, diff; {} outside a repository), "command", "script", "notebook", "python",
        "packages" (version by name), "host" (name, user, system), "hardware" (CPUs, memory, GPUs). What cannot be found
        out is left out.
    """
    folder, process = os.getcwd(), os.getpid()
    git = _read_git_again(folder, process, int(time.monotonic() / GIT_FRESH_SECONDS))
    return _capture(folder, process, json.dumps(git))


@functools.lru_cache(maxsize=1)
def _read_git_again(folder: str, _pid: int, _period: int) -> dict[str, Any]:
    return _read_git(folder)


@functools.lru_cache(maxsize=2)
def _capture(_folder: str, _pid: int, git: str) -> dict[str, Any]:
    """Put everything together; the same object comes back while the code stays as it is."""
    return {
        "git": json.loads(git),
        **_read_process(),
        "packages": _list_packages(),
        "hardware": _read_hardware(),
    }


def _run(*command: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed commands, no shell
            command,
            capture_output=True,
            timeout=GIT_TIMEOUT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").replace("\x00", "�") if done.returncode == 0 else None


def _read_git(folder: str) -> dict[str, Any]:
    if not any((parent / ".git").exists() for parent in (Path(folder), *Path(folder).parents)):
        return {}
    status = _run("git", "-C", folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
    if status is None:
        return {}
    found: dict[str, Any] = {"dirty": False}
    for line in status.splitlines():
        if line.startswith("# branch.oid ") and not line.endswith("(initial)"):
            found["commit"] = line.removeprefix("# branch.oid ")
        elif line.startswith("# branch.head "):
            found["branch"] = line.removeprefix("# branch.head ")
        elif not line.startswith("#"):
            found["dirty"] = True
    if found["dirty"] and "commit" in found:
        diff = _run("git", "-C", folder, "diff", "--no-ext-diff", "--no-textconv", "HEAD") or ""
        found["diff"] = diff[:DIFF_MAX_CHARACTERS]
        if len(diff) > DIFF_MAX_CHARACTERS:
            found["diff_cut_at"] = DIFF_MAX_CHARACTERS
    return found


def _read_process() -> dict[str, Any]:
    import getpass

    found: dict[str, Any] = {
        "command": _hide_secrets(sys.orig_argv),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "host": {"name": socket.gethostname(), "system": platform.platform(), "pid": os.getpid()},
    }
    with suppress(OSError, KeyError):  # a container's user may have no name
        found["host"]["user"] = getpass.getuser()
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script:
        found["script"] = os.path.abspath(script)
    notebook = _notebook_name()
    if notebook:
        found["notebook"] = notebook
    return found


def _hide_secrets(arguments: list[str]) -> str:
    import shlex

    shown: list[str] = []
    hide_next = False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if hide_next:
            argument, hide_next = "***", False
        elif argument.startswith("-") and _SECRET.search(name):
            argument, hide_next = (f"{name}=***", False) if equals else (argument, True)
        shown.append(argument)
    return shlex.join(shown)[:10_000].encode("utf-8", "replace").decode()


def _notebook_name() -> str | None:
    if "ipykernel" not in sys.modules:
        return None
    named = os.environ.get("JPY_SESSION_NAME") or os.environ.get("MODELDESK_NOTEBOOK")
    if named:
        return Path(named).name
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_ipython() if get_ipython else None
    names = getattr(shell, "user_ns", {})
    path = names.get("__vsc_ipynb_file__") or names.get("__session__")
    return Path(path).name if isinstance(path, str) else None


@functools.lru_cache(maxsize=1)
def _list_packages() -> dict[str, str]:
    from importlib import metadata

    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name and name not in found:
            found[str(name)] = str(distribution.version)
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


@functools.lru_cache(maxsize=1)
def _read_hardware() -> dict[str, Any]:
    found: dict[str, Any] = {"cpu_count": os.cpu_count(), "machine": platform.machine()}
    with suppress(ValueError, OSError, AttributeError):  # not told on every system
        found["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                found["cpu"] = line.partition(":")[2].strip()
                break
    except OSError:
        found["cpu"] = platform.processor()
    if Path("/proc/driver/nvidia/version").exists():
        listed = _run("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
        if listed:
            found["gpus"] = [line.strip() for line in listed.splitlines()]
    return found


# -- is it alive? ------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _machine() -> str:
    """Return a text that two processes share if each can look the other up by its pid."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str | None:
    """Return when a process started, in ticks since boot: a pid may come again, the pair does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold spaces and parentheses
    return None if fields[0] in "ZX" else fields[19]


def identify_process() -> str:
    """Return a text that names this process among all processes there ever were on this machine."""
    return _identify(os.getpid())


@functools.lru_cache(maxsize=2)
def _identify(pid: int) -> str:
    return f"{_machine()}|{pid}|{_started(pid) or ''}"


def is_process_alive(identity: str | None) -> bool | None:
    """Return whether a process named by `identify_process` lives; None if it cannot be seen from here."""
    if not identity or identity.count("|") != 2:
        return None
    machine, pid, started = identity.split("|")
    if machine != _machine() or not pid.isdigit():
        return None
    if started:
        return _started(int(pid)) == started
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
