"""Figures of the registry: which version was in Production when, and how versions did since they were registered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from charts.theme import SERIES_COLORS, VERDICT_COLORS, base_figure, empty_figure, series_style, shorten_label

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["plot_performance_history", "plot_stage_timeline", "production_periods"]

MAX_VERSIONS = 12  # rows of the timeline; the latest


def production_periods(events: Sequence[Any], now: datetime) -> list[tuple[str, datetime, datetime, bool]]:
    """Return when each version was in Production: (version, from, to, whether it still is), oldest first.

    Parameters
    ----------
    events : sequence of StageEvent
        Of one model, in any order.
    now : datetime
        Where a period that has not ended is cut off.
    """
    periods: list[tuple[str, datetime, datetime, bool]] = []
    since: dict[str, datetime] = {}
    for event in sorted(events, key=lambda event: event.sequence):
        enters = event.to_stage.value == "Production" and event.kind != "delete"
        if event.version in since and not enters:
            periods.append((event.version, since.pop(event.version), event.at, False))
        elif enters and event.version not in since:
            since[event.version] = event.at
    periods += [(version, start, now, True) for version, start in since.items()]
    return sorted(periods, key=lambda period: period[1])


def plot_stage_timeline(events: Sequence[Any], *, now: datetime | None = None) -> go.Figure:
    """Return which version of a model was in Production when."""
    now = now or datetime.now(UTC)
    periods = production_periods(events, now)
    title = "In Production"
    if not periods:
        return empty_figure(title, "No version was in Production yet")
    versions = list(dict.fromkeys(version for version, *_ in reversed(periods)))[:MAX_VERSIONS]
    latest = versions[0]
    figure = base_figure(
        title,
        x_title="Time (UTC)",
        y_title="Version",
        height=130 + 34 * len(versions),
        alt=f"{len(periods)} periods in Production; the last version was {latest}",
    )
    for is_now, name, color, pattern in (
        (False, "earlier", SERIES_COLORS[0], "/"),
        (True, "now", VERDICT_COLORS["good"], ""),
    ):
        part = [period for period in periods if period[3] is is_now and period[0] in versions]
        if part:
            figure.add_bar(
                orientation="h",
                y=[shorten_label(version, 20) for version, *_ in part],
                base=[start for _, start, _, _ in part],
                x=[(end - start).total_seconds() * 1000 for _, start, end, _ in part],
                name=name,
                marker={"color": color, "pattern": {"shape": pattern, "fgopacity": 0.35}},
                width=0.55,
                text=[f"{(end - start).total_seconds() / 86_400:,.3g} d" for _, start, end, _ in part],
                textposition="inside",
                customdata=[
                    (f"{start:%Y-%m-%d %H:%M}", "now" if is_now else f"{end:%Y-%m-%d %H:%M}")
                    for _, start, end, _ in part
                ],
                hovertemplate="%{y}: %{customdata[0]} to %{customdata[1]}<extra></extra>",
            )
    figure.update_xaxes(type="date")
    figure.update_yaxes(
        type="category", categoryorder="array", categoryarray=[shorten_label(v, 20) for v in reversed(versions)]
    )
    figure.update_layout(barmode="overlay", bargap=0.3)
    return figure


def plot_performance_history(history: pd.DataFrame) -> go.Figure:
    """Return recorded performance over time, a line a metric (and dataset, where there are several).

    Parameters
    ----------
    history : DataFrame
        Columns metric, at, value, dataset, as `ModelRegistryManager.performance_history` returns them.
    """
    title = "Recorded performance"
    if history.empty:
        return empty_figure(title, "Nothing was recorded yet")
    figure = base_figure(
        title, x_title="Time (UTC)", y_title="Value of the metric", alt="Recorded performance over time"
    )
    datasets = history["dataset"].fillna("").astype(str)
    groups = history.assign(dataset=datasets).groupby(["metric", "dataset"], sort=True)
    several = datasets.nunique() > 1
    for index, ((metric, dataset), part) in enumerate(groups):
        style = series_style(index)
        name = shorten_label(f"{metric} ({dataset})" if several and dataset else metric, 32)
        figure.add_scatter(
            x=part["at"], y=part["value"], mode="lines+markers", name=name, line=style.line,
            marker=style.marker,
        )  # fmt: skip
    figure.update_layout(showlegend=len(groups) > 1)
    return figure
