"""The runner of the benchmarks: contenders take turns in processes of their own, and failures are told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import complaints, main, names
from benchmarks.runner import Benchmark, Measurement, environment_python, to_markdown

ROOT = Path(__file__).resolve().parent.parent


def small_benchmark() -> Benchmark:
    benchmark = Benchmark("Small", workloads={"w": {}}, max_ratio_to_floor=1.5)
    benchmark.floor("bare")(lambda folder: lambda: 1)
    benchmark.peer("other", install=["other"])(lambda folder: lambda: 1)
    benchmark.ours()(lambda folder: lambda: 1)
    return benchmark


def measured(cpu: float, result: int = 1) -> Measurement:
    return Measurement(wall_seconds=[cpu, cpu, 9 * cpu], cpu_seconds=[cpu, 9 * cpu, cpu], result=result)


@pytest.mark.parametrize("name", names())
def test_a_benchmark_can_be_imported_where_nothing_is_installed(name: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from benchmarks.{name} import benchmark\n"
        "print(len(benchmark.contenders))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2, "a figure alone says nothing: there is a floor or a peer beside ours"


def test_contenders_run_in_turn_and_the_warm_up_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "benchmarks"
    package.mkdir()
    for shared in ("runner.py", "worker.py"):
        (package / shared).write_text((ROOT / "benchmarks" / shared).read_text())
    (package / "turns.py").write_text(
        "from benchmarks.runner import Benchmark\n"
        f"LOG = {str(tmp_path / 'turns')!r}\n"
        "benchmark = Benchmark('Turns', rounds=2)\n"
        "def contender(label):\n"
        "    def prepare(folder):\n"
        "        assert not list(folder.iterdir())\n"
        "        def run():\n"
        "            print('noise')\n"
        "            open(LOG, 'a').write(label)\n"
        "            return 42\n"
        "        return run\n"
        "    return prepare\n"
        "benchmark.floor('a')(contender('a'))\n"
        "benchmark.ours('b')(contender('b'))\n"
        "@benchmark.peer('c', install=[])\n"
        "def broken(folder):\n"
        "    raise OSError('no such luck')\n"
    )
    code = (
        "import json\n"
        "from benchmarks.runner import measure\n"
        "from benchmarks.turns import benchmark\n"
        "found = measure('turns', benchmark, '')\n"
        "print(json.dumps({k: [len(m.wall_seconds), m.result, m.problem] for k, m in found.items()}))"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (tmp_path / "turns").read_text() == "ababab"
    assert found["a"] == [2, 42, None]
    assert found["b"] == [2, 42, None]
    assert "no such luck" in found["c"][2]


def test_the_table_has_medians_ratios_and_what_failed() -> None:
    table = {"bare": measured(0.01), "other": Measurement(problem="cannot be installed"), "ModelDesk": measured(0.02)}
    text = to_markdown(small_benchmark(), {"w": table}, ["2 cores"])
    assert "| bare (floor) | 10 ms | 10 ms | 1.00x | 0.50x |" in text
    assert "| ModelDesk (ours) | 20 ms | 20 ms | 2.00x | 1.00x |" in text
    assert "| other (peer) | cannot be installed |" in text
    assert "differ" not in text


def test_the_table_says_when_the_contenders_did_different_work() -> None:
    text = to_markdown(small_benchmark(), {"w": {"bare": measured(1.0, 1), "ModelDesk": measured(1.0, 2)}}, [])
    assert "results differ" in text


def test_a_broken_promise_and_a_failed_contender_are_told() -> None:
    table = {"bare": measured(0.01), "other": Measurement(problem="no"), "ModelDesk": measured(0.02)}
    found = complaints("small", small_benchmark(), {"w": table})
    assert len(found) == 2
    assert "2.00 times" in found[1]
    table = {"bare": measured(0.01), "ModelDesk": measured(0.014)}
    assert complaints("small", small_benchmark(), {"w": table}) == []


def test_ours_and_the_floor_run_in_the_projects_own_environment() -> None:
    assert environment_python(()) == sys.executable


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["no-such-benchmark"])
    assert "known: " in capsys.readouterr().err


@pytest.mark.slow
def test_importing_costs_little_more_than_what_is_imported(tmp_path: Path) -> None:
    """The promise is 1.2 times; measured by ``python -m benchmarks imports --check``. Here: the benchmark runs."""
    assert main(["imports", "--rounds", "1", "--no-peers", "--output", str(tmp_path)]) == 0
    text = (tmp_path / "imports.md").read_text()
    for module in ("model_registry", "ab_testing", "experiment_tracking", "model_monitoring"):
        assert f"## {module}" in text
    assert "failed" not in text
