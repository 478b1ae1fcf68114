"""``python -m benchmarks NAME...``: run benchmarks, print their tables, write them to benchmarks/results/."""

from __future__ import annotations

import argparse
import datetime
import importlib
import os
import platform
import sys
from pathlib import Path

from benchmarks.runner import ROOT, Benchmark, Measurement, environment_python, measure, to_markdown, versions

NOT_BENCHMARKS = {"__init__", "__main__", "runner", "worker"}


def names() -> list[str]:
    """Return the names of all benchmarks."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in NOT_BENCHMARKS)


def load_text() -> str:
    """Return the load of the machine, averaged over 1, 5 and 15 minutes."""
    return ", ".join(f"{value:.2f}" for value in os.getloadavg())


def processor() -> str:
    """Return the processor's name as the kernel tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def run(name: str, *, rounds: int | None, with_peers: bool, output: Path | None) -> list[str]:
    """Run one benchmark; return what went wrong or was promised and not kept."""
    benchmark: Benchmark = importlib.import_module(f"benchmarks.{name}").benchmark
    before = load_text()
    tables: dict[str, dict[str, Measurement]] = {}
    for workload in benchmark.workloads:
        tables[workload] = measure(
            name,
            benchmark,
            workload,
            rounds=rounds,
            with_peers=with_peers,
            progress=lambda message: print(f"  {message}", file=sys.stderr, flush=True),
        )
    peers = [c for c in benchmark.contenders if c.role == "peer" and with_peers]
    found = [
        versions(environment_python(c.install), c.install)
        for c in peers
        if any(table[c.label].problem is None for table in tables.values())
    ]
    now = datetime.datetime.now(datetime.UTC)
    machine = [
        f"{now:%Y-%m-%d %H:%M} UTC; {rounds or benchmark.rounds} rounds, round robin",
        f"{os.cpu_count()} cores, {processor()}; {platform.platform()}; Python {platform.python_version()}",
        f"load before {before}; after {load_text()}",
        *([f"peers: {'; '.join(found)}"] if found else []),
    ]
    text = to_markdown(benchmark, tables, machine)
    print(text)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / f"{name}.md").write_text(text)
    return complaints(name, benchmark, tables)


def complaints(name: str, benchmark: Benchmark, tables: dict[str, dict[str, Measurement]]) -> list[str]:
    """Return one sentence for each contender without a measurement and for each promise not kept."""
    roles = {contender.label: contender.role for contender in benchmark.contenders}
    found = []
    for workload, table in tables.items():
        where = f"{name}, {workload}" if workload else name
        found += [f"{where}: {label}: {m.problem}" for label, m in table.items() if m.problem is not None]
        floor = next((m for label, m in table.items() if roles[label] == "floor" and m.problem is None), None)
        if benchmark.max_ratio_to_floor is None or floor is None:
            continue
        for label, m in table.items():
            if roles[label] == "ours" and m.problem is None and m.cpu > benchmark.max_ratio_to_floor * floor.cpu:
                found.append(
                    f"{where}: {label} takes {m.cpu / floor.cpu:.2f} times the CPU of the floor; "
                    f"promised: {benchmark.max_ratio_to_floor:g}"
                )
    return found


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure ModelDesk beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark, or 'all'")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--rounds", type=int, help="counted rounds (default: the benchmark's own)")
    parser.add_argument("--no-peers", action="store_true", help="leave out what needs an environment of its own")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the tables")
    parser.add_argument("--check", action="store_true", help="end with 1 when a promise is not kept or a run failed")
    chosen = parser.parse_args(arguments)
    if chosen.list or not chosen.names:
        print("\n".join(names()))
        return 0
    wanted = names() if chosen.names == ["all"] else chosen.names
    unknown = sorted(set(wanted) - set(names()))
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; known: {', '.join(names())}")
    if chosen.rounds is not None and chosen.rounds < 1:
        parser.error("--rounds must be at least 1")
    found = []
    for name in wanted:
        found += run(name, rounds=chosen.rounds, with_peers=not chosen.no_peers, output=chosen.output)
    for sentence in found:
        print(sentence, file=sys.stderr)
    return 1 if found and chosen.check else 0


if __name__ == "__main__":
    raise SystemExit(main())
