"""The process in which one contender lives: reads "prepare" or "run" a line, answers with JSON a line.

``python -m benchmarks.worker MODULE LABEL WORKLOAD FOLDER``; only the standard library, for it runs in the
environments of the peers too.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cpu_seconds() -> float:
    """CPU time of this process and of the children it waited for."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def peak_bytes() -> int:
    """Return the largest resident memory so far of this process or of one of its children."""
    return 1024 * max(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
    )


def main(module: str, label: str, workload: str, folder: str) -> None:
    """Serve requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a contender prints goes to the log
    benchmark = importlib.import_module(module).benchmark
    contender = benchmark.find(label)
    run: Callable[[], Any] | None = None
    for count, line in enumerate(sys.stdin):
        if line.strip() == "prepare":
            place = Path(folder) / str(count)
            place.mkdir(parents=True)
            run = contender.prepare(place, **benchmark.workloads[workload])
            answers.write("{}\n")
            continue
        if run is None:
            raise RuntimeError("asked to run before it was prepared")
        cpu, wall = cpu_seconds(), time.perf_counter()
        result = run()
        wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
        answer = {"wall_seconds": wall, "cpu_seconds": cpu, "peak_bytes": peak_bytes(), "result": result}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
