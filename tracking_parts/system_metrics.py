"""CPU, memory, disk, network and GPU use of a run, sampled in the background and logged as metrics ``system/...``.

Needs nothing installed on Linux; elsewhere psutil, if it is there. GPUs are read through ``nvidia-smi``, where it is.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tracking_parts.handle import ActiveRun

__all__ = ["Sampler", "SystemMetrics"]

logger = logging.getLogger("modeldesk")

GPU_FIELDS = ("utilization.gpu", "memory.used", "memory.total", "temperature.gpu", "power.draw")


class Sampler:
    """Reads how busy the machine and this process are; rates are since the call before.

    >>> sample = Sampler().read()
    >>> 0 < sample["system/process_memory_mb"]
    True
    """

    def __init__(self) -> None:
        self._cpu = self._read_cpu()
        self._own = (time.monotonic(), sum(os.times()[:4]))
        self._has_gpu = shutil.which("nvidia-smi") is not None

    def read(self) -> dict[str, float]:
        """Return values by metric: percentages (for the process of one core) and MB (10**6 bytes)."""
        result: dict[str, float] = {}
        before, now = self._cpu, self._read_cpu()
        if before is not None and now is not None and now[1] > before[1]:
            result["system/cpu_percent"] = 100.0 * (now[0] - before[0]) / (now[1] - before[1])
        self._cpu = now
        wall, used = time.monotonic(), sum(os.times()[:4])
        if wall > self._own[0]:
            result["system/process_cpu_percent"] = 100.0 * (used - self._own[1]) / (wall - self._own[0])
        self._own = (wall, used)
        result.update(self._read_memory())
        if self._has_gpu:
            result.update(self._read_gpus())
        return result

    def _read_cpu(self) -> tuple[float, float] | None:
        """Return busy and whole time of all cores since boot."""
        try:
            first = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
            fields = [float(text) for text in first.split()[1:9]]
        except (OSError, ValueError):
            return None
        whole = sum(fields)
        return whole - fields[3] - fields[4], whole

    def _read_memory(self) -> dict[str, float]:
        result = {}
        try:
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
            sizes = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in lines}
            result["system/memory_percent"] = 100.0 * (1.0 - sizes["MemAvailable"] / sizes["MemTotal"])
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            result["system/process_memory_mb"] = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
            return result
        except (OSError, KeyError, ValueError, IndexError):
            pass  # not Linux
        try:
            import psutil  # type: ignore[import-untyped,unused-ignore]
        except ImportError:
            return result
        result["system/memory_percent"] = float(psutil.virtual_memory().percent)
        result["system/process_memory_mb"] = psutil.Process().memory_info().rss / 1e6
        return result

    def _read_gpus(self) -> dict[str, float]:
        try:
            listed = subprocess.run(  # noqa: S603 - a fixed command, no shell
                ["nvidia-smi", f"--query-gpu={','.join(GPU_FIELDS)}", "--format=csv,noheader,nounits"],  # noqa: S607
                capture_output=True,
                text=True,
                timeout=5,
                check=True,
            ).stdout
        except FileNotFoundError:  # no card, or none of this maker
            self._has_gpu = False
            return {}
        except (OSError, subprocess.SubprocessError) as error:
            logger.warning("GPUs are left out of the system metrics: nvidia-smi failed (%s)", error)
            self._has_gpu = False  # asked once more each time, a broken driver would slow down every sample
            return {}
        result = {}
        for number, line in enumerate(listed.splitlines()):
            for name, text in zip(GPU_FIELDS, line.split(","), strict=False):
                try:
                    result[f"system/gpu{number}/{name.replace('.', '_')}"] = float(text)
                except ValueError:
                    continue  # "[N/A]": this card does not tell
        return result


class SystemMetrics:
    """A thread that logs a sample every so many seconds; the step is the number of the sample."""

    def __init__(self, run: ActiveRun, interval_seconds: float) -> None:
        if not interval_seconds >= 0.1:
            raise ValueError(f"system_metrics is a number of seconds of at least 0.1, got {interval_seconds!r}")
        self._run = run
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="modeldesk-system-metrics", daemon=True)

    def start(self) -> SystemMetrics:
        """Begin; returns itself."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Log a last sample and end."""
        self._stop.set()
        self._thread.join(timeout=self._interval + 10)

    def _work(self) -> None:
        sampler = Sampler()
        stopped = False
        while not stopped:
            stopped = self._stop.wait(self._interval)
            try:
                self._run.log(sampler.read())
            except Exception:
                logger.warning("system metrics of run %s could not be logged", self._run.run_id, exc_info=True)
