"""A progress bar that logs: how far, how fast, and the metrics logged meanwhile.

with tracking.run("training") as run:
    for epoch in run.track(range(100)):
        run.log({"loss": loss})
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from tracking_parts.handle import ActiveRun

__all__ = ["track"]

T = TypeVar("T")
REFRESH_SECONDS = 1.0  # how often the metrics beside the bar are read


def track(
    iterable: Iterable[T],
    run: ActiveRun,
    *,
    description: str | None = None,
    total: int | None = None,
    log_speed: bool = True,
    show: bool = True,
) -> Iterator[T]:
    """Go through an iterable; show a bar with the run's latest metrics, and log the seconds of each item.

    Parameters
    ----------
    iterable : iterable
    run : ActiveRun
    description : str or None
        Text before the bar; None is the run's name.
    total : int or None
        Number of items, where the iterable does not tell.
    log_speed : bool
        Log the metric "seconds_per_item" at each step.
    show : bool
        False shows nothing and only logs.
    """
    from tqdm import tqdm

    bar = tqdm(iterable, desc=description or run.snapshot().name, total=total, disable=not show)
    shown_at = 0.0
    for step, item in enumerate(bar):
        begin = time.perf_counter()
        yield item
        if log_speed:
            run.log({"seconds_per_item": time.perf_counter() - begin}, step=step)
        if show and time.monotonic() - shown_at > REFRESH_SECONDS:
            shown_at = time.monotonic()
            bar.set_postfix(_shown(run))


def _shown(run: ActiveRun) -> dict[str, Any]:
    metrics = run.snapshot().metrics
    return {name: f"{value:.4g}" for name, value in list(metrics.items())[:4] if name != "seconds_per_item"}
