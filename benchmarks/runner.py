"""What a benchmark file declares (`Benchmark`), and how its contenders are run in turn.

Only the standard library: this file is imported in the environments of the peers as well.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).resolve().parent.parent
Role = Literal["floor", "peer", "ours"]
Prepare = Callable[..., Callable[[], Any]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One way of doing the work.

    Attributes
    ----------
    label
        Name in the table.
    role
        "floor", "peer" or "ours".
    prepare
        Called with the folder and the workload's arguments, untimed; returns what is timed.
    install
        Packages of the environment it runs in; empty: the project's own environment.
    """

    label: str
    role: Role
    prepare: Prepare
    install: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Measurement:
    """What one contender's rounds gave.

    Attributes
    ----------
    wall_seconds, cpu_seconds
        One value a counted round.
    result
        What the last round returned.
    peak_bytes
        Largest resident memory of the process.
    problem
        Why there is no measurement, or None.
    """

    wall_seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    result: Any = None
    peak_bytes: int = 0
    problem: str | None = None

    @property
    def wall(self) -> float:
        """Median wall time of a round, in seconds."""
        return statistics.median(self.wall_seconds)

    @property
    def cpu(self) -> float:
        """Median CPU time of a round, in seconds."""
        return statistics.median(self.cpu_seconds)


class Benchmark:
    """A title, the workloads, and the contenders that are registered on it.

    Parameters
    ----------
    title
        Heading of the table.
    workloads
        Keyword arguments of the contenders' functions by the workload's name; one table each.
    rounds
        Counted rounds; one more comes first and is not counted.
    fresh
        Prepare anew, in a new folder, before every round.
    max_ratio_to_floor
        Promise about CPU of ours divided by CPU of the floor; read by ``--check``.
    """

    def __init__(
        self,
        title: str,
        *,
        workloads: Mapping[str, Mapping[str, Any]] | None = None,
        rounds: int = 7,
        fresh: bool = False,
        max_ratio_to_floor: float | None = None,
    ) -> None:
        self.title = title
        self.workloads: dict[str, dict[str, Any]] = {
            name: dict(arguments) for name, arguments in (workloads or {"": {}}).items()
        }
        self.rounds = rounds
        self.fresh = fresh
        self.max_ratio_to_floor = max_ratio_to_floor
        self.contenders: list[Contender] = []

    def _register(self, label: str, role: Role, install: Sequence[str]) -> Callable[[Prepare], Prepare]:
        if any(contender.label == label for contender in self.contenders):
            raise ValueError(f"two contenders are named {label!r}")

        def register(prepare: Prepare) -> Prepare:
            self.contenders.append(Contender(label=label, role=role, prepare=prepare, install=tuple(sorted(install))))
            return prepare

        return register

    def floor(self, label: str) -> Callable[[Prepare], Prepare]:
        """Register the least any solution must pay."""
        return self._register(label, "floor", ())

    def peer(self, label: str, *, install: Sequence[str]) -> Callable[[Prepare], Prepare]:
        """Register another project's way, in an environment with the packages `install`."""
        return self._register(label, "peer", install)

    def ours(self, label: str = "ModelDesk") -> Callable[[Prepare], Prepare]:
        """Register ours."""
        return self._register(label, "ours", ())

    def find(self, label: str) -> Contender:
        """Return the contender of that label."""
        for contender in self.contenders:
            if contender.label == label:
                return contender
        raise LookupError(f"no contender {label!r}; known: {[contender.label for contender in self.contenders]}")


# -- environments of the peers -----------------------------------------------------------------------------


class CannotInstallError(RuntimeError):
    """A peer's environment could not be made."""


def cache_folder() -> Path:
    """Folder of the peers' environments: MODELDESK_BENCHMARK_CACHE, or below the user's cache folder."""
    chosen = os.environ.get("MODELDESK_BENCHMARK_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modeldesk-benchmarks"


def environment_python(install: Sequence[str]) -> str:
    """Return the interpreter of an environment with the packages `install`, making it on first use."""
    if not install:
        return sys.executable
    name = "-".join("".join(c if c.isalnum() or c in "._" else "_" for c in package) for package in install)
    folder = cache_folder() / f"python{sys.version_info.major}.{sys.version_info.minor}-{name}"
    python = folder / "bin" / "python"
    done = folder / ".complete"
    if done.exists():
        return str(python)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"making the environment of {', '.join(install)} in {folder}", file=sys.stderr, flush=True)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv:
        commands = [
            [uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *install],
        ]
    else:
        commands = [
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", *install],
        ]
    for command in commands:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            last_line = (ended.stderr.strip() or ended.stdout.strip()).splitlines()[-1:]
            raise CannotInstallError(f"cannot be installed: {' '.join(last_line)}")
    done.touch()
    return str(python)


def versions(python: str, packages: Sequence[str]) -> str:
    """Return the installed versions of `packages` as the interpreter `python` sees them."""
    code = (
        "import sys, importlib.metadata as m\n"
        "for r in sys.argv[1:]:\n"
        "    n = r\n"
        "    for s in '[<>=!~ ': n = n.split(s)[0]\n"
        "    print(n, m.version(n))"
    )
    ended = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=False)
    return ", ".join(ended.stdout.split("\n")).strip(", ")


# -- one contender's process -------------------------------------------------------------------------------


class _Worker:
    """A process in which one contender lives; see benchmarks/worker.py."""

    def __init__(self, module: str, workload: str, contender: Contender, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.log = folder / "log.txt"
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(folder), "PYTHONHASHSEED": "0"}
        # Some machines set this; imports would then be several times slower for whoever is not compiled yet.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    environment_python(contender.install),
                    "-m",
                    "benchmarks.worker",
                    module,
                    contender.label,
                    workload,
                    str(folder / "work"),
                ],
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self, request: str) -> dict[str, Any]:
        """Send one request and return the answer, or raise RuntimeError with what the process said."""
        if self.process.stdin is None or self.process.stdout is None:  # pragma: no cover - opened above
            raise RuntimeError("the process has no pipes")
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.process.wait()
            said = self.log.read_text(errors="replace").strip().splitlines()
            print(f"  all that it said: {self.log}", file=sys.stderr)
            last = said[-1].removeprefix("RuntimeError: ") if said else "no word"
            raise RuntimeError(last if last.startswith("not measured") else f"failed: {last}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def measure(
    name: str,
    benchmark: Benchmark,
    workload: str,
    *,
    rounds: int | None = None,
    with_peers: bool = True,
    progress: Callable[[str], None] = lambda message: None,
) -> dict[str, Measurement]:
    """Run every contender of `benchmark` on `workload` in turn.

    Returns
    -------
    dict
        Measurement by label, in the order of registration.
    """
    contenders = [c for c in benchmark.contenders if with_peers or c.role != "peer"]
    measurements = {contender.label: Measurement() for contender in contenders}
    workers: dict[str, _Worker] = {}
    base = Path(tempfile.mkdtemp(prefix=f"benchmark-{name}-"))
    failed = False
    try:
        for index, contender in enumerate(contenders):
            try:
                worker = _Worker(f"benchmarks.{name}", workload, contender, base / str(index))
                workers[contender.label] = worker
                worker.ask("prepare")
            except (CannotInstallError, RuntimeError) as error:
                measurements[contender.label].problem = str(error)
                failed = True
        for number in range((rounds or benchmark.rounds) + 1):
            progress(f"{workload or name}: round {number} of {rounds or benchmark.rounds}")
            for label, worker in workers.items():
                measurement = measurements[label]
                if measurement.problem is not None:
                    continue
                try:
                    if benchmark.fresh and number:
                        worker.ask("prepare")
                    answer = worker.ask("run")
                except RuntimeError as error:
                    measurement.problem = str(error)
                    failed = True
                    continue
                measurement.result = answer["result"]
                measurement.peak_bytes = answer["peak_bytes"]
                if number:
                    measurement.wall_seconds.append(answer["wall_seconds"])
                    measurement.cpu_seconds.append(answer["cpu_seconds"])
    finally:
        for worker in workers.values():
            worker.close()
        if not failed:  # else its logs are still to be read
            shutil.rmtree(base, ignore_errors=True)
    return measurements


# -- the table ---------------------------------------------------------------------------------------------


def _seconds(value: float) -> str:
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * factor >= 1 or unit == "µs":
            return f"{value * factor:.3g} {unit}" if value * factor < 1000 else f"{value * factor:,.0f} {unit}"
    raise AssertionError("unreachable")


def _ratio(value: float, base: float | None) -> str:
    return "" if not base else f"{value / base:.2f}x"


def to_markdown(benchmark: Benchmark, tables: Mapping[str, Mapping[str, Measurement]], machine: Sequence[str]) -> str:
    """Return the tables of all workloads as Markdown."""
    lines = [f"# {benchmark.title}", ""]
    for workload, measurements in tables.items():
        if workload:
            lines += [f"## {workload}", ""]
        roles = {contender.label: contender.role for contender in benchmark.contenders}
        base = {
            role: next((m.cpu for label, m in measurements.items() if roles[label] == role and m.wall_seconds), None)
            for role in ("floor", "ours")
        }
        lines += [
            "| | wall, median | CPU, median | CPU to floor | CPU to ours | peak memory | result |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        for label, m in measurements.items():
            if m.problem is not None or not m.wall_seconds:
                lines.append(f"| {label} ({roles[label]}) | {m.problem or 'no round'} | | | | | |")
                continue
            result = "" if m.result is None else json.dumps(m.result)
            lines.append(
                f"| {label} ({roles[label]}) | {_seconds(m.wall)} | {_seconds(m.cpu)} "
                f"| {_ratio(m.cpu, base['floor'])} | {_ratio(m.cpu, base['ours'])} "
                f"| {m.peak_bytes / 2**20:,.0f} MiB | {result} |"
            )
        results = {json.dumps(m.result) for m in measurements.values() if m.wall_seconds and m.result is not None}
        if len(results) > 1:
            lines += ["", "**The contenders' results differ: they did not all do the same work.**"]
        lines.append("")
    lines += [*(f"- {line}" for line in machine), ""]
    return "\n".join(lines)
