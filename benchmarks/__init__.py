'''Benchmarks: ModelDesk beside the floor and beside its peers, in one run, on one machine.

    python -m benchmarks --list
    python -m benchmarks imports tracking
    python -m benchmarks tracking --rounds 11 --no-peers

Each file here that defines ``benchmark`` is one benchmark; its name is the file's name. The table goes to the
terminal and to ``benchmarks/results/NAME.md``.

Writing one
-----------
::

    """Log five metrics a step."""

    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.runner import Benchmark

    benchmark = Benchmark(
        "Logging metrics",
        workloads={"1,000 steps of 5 metrics": {"n_steps": 1_000}, "10,000 steps": {"n_steps": 10_000}},
    )

    @benchmark.floor("sqlite3, bare")                    # the least any solution must pay
    def sqlite_bare(folder: Path, n_steps: int) -> Callable[[], int]:
        import sqlite3                                   # import what is measured in here, not above
        ...                                              # preparation: not timed
        def run() -> int:                                # timed, once a round
            ...
            return n_points_stored                       # compared between the contenders
        return run

    @benchmark.peer("MLflow", install=["mlflow"])        # in an environment of its own, made once and kept
    def mlflow(folder: Path, n_steps: int) -> Callable[[], int]: ...

    @benchmark.ours("ModelDesk")                         # in the project's own environment
    def ours(folder: Path, n_steps: int) -> Callable[[], int]: ...

- The file is imported in the peer's environment too: at its top import only the standard library and
  ``benchmarks.runner``.
- ``folder`` is empty and the contender's own. Every contender lives in a process of its own; the rounds go
  round robin (floor, peer, ours, floor, peer, ours, ...), so that what else the machine does falls on all alike.
  The first round warms up and is not counted. ``fresh=True`` prepares anew, untimed and in a new folder, before
  every round.
- ``run`` returns what was achieved (a count, a figure: anything JSON can hold); the table notes when they disagree,
  because then they did not do the same work. Return None where there is nothing to compare.
- Measured are the wall time and the CPU time of the process and of the children it waited for; reported are
  medians, the ratio to the floor and to ours, the peak memory, and the load of the machine.
- ``Benchmark(..., max_ratio_to_floor=1.2)`` states a promise: ``--check`` ends with 1 when our CPU breaks it.
'''
