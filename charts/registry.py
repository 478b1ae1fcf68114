"""Figures of the registry: versions compared, performance over time, which version was in Production when.

    >>> plot_stage_timeline([]).layout.annotations[0].text
    'No version has been in Production yet'

The arrays come from pure functions (`comparison_bars`, `production_periods`) that tests read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from charts.theme import NEUTRAL, VERDICT_COLORS, add_footnote, base_figure, empty_figure, series_style, shorten_label

if TYPE_CHECKING:
    import pandas as pd

    from registry_parts.comparison import ModelComparison
    from registry_parts.records import StageEvent

__all__ = [
    "ComparisonBar",
    "ProductionPeriod",
    "comparison_bars",
    "plot_comparison",
    "plot_performance_history",
    "plot_stage_timeline",
    "production_periods",
]

ROW_HEIGHT = 34  # pixels a bar takes
MARGIN_HEIGHT = 150  # pixels around them
MAX_SERIES = 24  # lines in one figure
_PALETTE = {"better": VERDICT_COLORS["good"], "worse": VERDICT_COLORS["bad"]}
_MARKS = {"better": " ▲ better", "worse": " ▼ worse"}
_PRODUCTION = "Production"


# -- comparison --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonBar:
    """One bar: how much a metric of a version differs from the baseline's.

    Attributes
    ----------
    metric, version, direction : str
    change_percent : float
        Of the baseline's absolute value.
    baseline, value : float
    """

    metric: str
    version: str
    direction: str
    change_percent: float
    baseline: float
    value: float


def comparison_bars(comparison: ModelComparison) -> tuple[list[ComparisonBar], list[str]]:
    """Return the bars that can be drawn, and one sentence for each metric that has none."""
    bars, left_out = [], []
    for item in comparison.metrics:
        if item.relative_change is None or item.baseline is None or item.value is None:
            left_out.append(f"{item.metric} ({item.version}): {item.reason or 'no relative change'}")
            continue
        bars.append(
            ComparisonBar(
                metric=item.metric,
                version=item.version,
                direction=item.direction,
                change_percent=100 * item.relative_change,
                baseline=item.baseline,
                value=item.value,
            )
        )
    return bars, left_out


def plot_comparison(comparison: ModelComparison) -> go.Figure:
    """Draw how much each metric differs from the baseline version, in percent of it.

    With two versions the colour says better or worse; with more it says which version. Words say the former always.
    """
    baseline, *others = comparison.versions
    title = f"{shorten_label(comparison.name)}: change against {baseline.version}"
    bars, left_out = comparison_bars(comparison)
    if not bars:
        return empty_figure(title, "The versions share no metric whose change can be drawn")
    by_verdict = len(others) == 1
    figure = base_figure(
        title,
        x_title=f"Change (% of {baseline.version})",
        height=MARGIN_HEIGHT + ROW_HEIGHT * max(2, len(bars)),
        alt=f"Relative change of {len({bar.metric for bar in bars})} metrics against version {baseline.version}: "
        + "; ".join(
            f"{bar.metric} of {bar.version} {_percent_text(bar.change_percent)}, {bar.direction}" for bar in bars[:12]
        ),
    )
    groups = dict.fromkeys(bar.direction if by_verdict else bar.version for bar in bars)
    for index, group in enumerate(groups):
        chosen = [bar for bar in bars if (bar.direction if by_verdict else bar.version) == group]
        color = _PALETTE.get(group, NEUTRAL) if by_verdict else series_style(index).color
        figure.add_bar(
            name=shorten_label(group),
            orientation="h",
            y=[shorten_label(bar.metric) for bar in chosen],
            x=[bar.change_percent for bar in chosen],
            marker_color=color,
            text=[f"{_percent_text(bar.change_percent)}{_MARKS.get(bar.direction, '')}" for bar in chosen],
            textposition="outside",  # inside, grey on the bar is not readable
            cliponaxis=False,
            customdata=[[bar.baseline, bar.value, bar.version, bar.direction] for bar in chosen],
            hovertemplate="%{y}: %{customdata[0]:.6g} → %{customdata[1]:.6g} in %{customdata[2]} (%{customdata[3]})"
            "<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    ends = [0.0, *(bar.change_percent for bar in bars)]
    room = 0.24 * ((max(ends) - min(ends)) or 1.0)  # for the numbers beyond the ends of the bars
    figure.update_xaxes(range=[min(ends) - room, max(ends) + room])
    figure.update_layout(barmode="group", bargap=0.35)
    if left_out:
        add_footnote(figure, f"Not drawn: {shorten_label('; '.join(left_out), 110)}")
    return figure


def _percent_text(percent: float) -> str:
    """Return a change with its sign and three significant digits: `+5.17 %`, `−94.3 %`, `+1,230 %`."""
    if not percent:
        return "0 %"
    places = 2 - math.floor(math.log10(abs(percent)))
    return f"{round(percent, places):+,.{min(max(0, places), 6)}f} %".replace("-", "−")


# -- performance over time ---------------------------------------------------------------------------


def plot_performance_history(history: pd.DataFrame) -> go.Figure:
    """Draw recorded values over time, a line for each version, metric and dataset.

    Parameters
    ----------
    history : DataFrame
        As `ModelRegistryManager.performance_history` returns it.
    """
    shown = history.dropna(subset=["value"])
    if shown.empty:
        return empty_figure("Recorded performance", "No performance has been recorded yet")
    metrics, versions = list(dict.fromkeys(shown["metric"])), list(dict.fromkeys(shown["version"]))
    named = list(dict.fromkeys(shown["dataset"].fillna("")))
    groups = list(shown.groupby(["version", "metric", shown["dataset"].fillna("")], sort=False))
    y_title = shorten_label(metrics[0]) if len(metrics) == 1 else "Value"
    figure = base_figure(
        "Recorded performance" if len(versions) > 1 else f"Recorded performance of {versions[0]}",
        x_title="Time (UTC)",
        y_title=y_title,
        alt=f"{len(shown)} values of {', '.join(map(str, metrics[:6]))} over time, for {', '.join(versions[:6])}",
    )
    for index, ((version, metric, dataset), part) in enumerate(groups[:MAX_SERIES]):
        style = series_style(index)
        parts = [version] if len(versions) > 1 else []
        parts += [metric] if len(metrics) > 1 or not parts else []
        parts += [dataset] if len(named) > 1 and dataset else []
        figure.add_scatter(
            name=shorten_label(" ".join(map(str, parts))),
            x=list(part["at"]),
            y=[float(value) for value in part["value"]],
            mode="lines+markers",
            line={"color": style.color, "dash": style.dash},
            marker={"symbol": style.symbol, "color": style.color, "size": 7},
        )
    if len(groups) > MAX_SERIES:
        figure.update_layout(title_text=f"Recorded performance (first {MAX_SERIES} of {len(groups)} series)")
    figure.update_layout(showlegend=len(groups) > 1)
    return figure


# -- who was in Production when ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionPeriod:
    """A time in which one version was in Production.

    Attributes
    ----------
    version : str
    start : datetime
    end : datetime or None
        None: it still is.
    actor, reason : str
        Of its promotion.
    """

    version: str
    start: datetime
    end: datetime | None
    actor: str
    reason: str


def production_periods(events: Sequence[StageEvent]) -> list[ProductionPeriod]:
    """Return who was in Production when, from the audit trail, oldest first."""
    found: list[ProductionPeriod] = []
    current: StageEvent | None = None
    for event in sorted(events, key=lambda event: event.sequence):
        leaves = current is not None and event.version == current.version and event.to_stage.value != _PRODUCTION
        enters = event.to_stage.value == _PRODUCTION
        if current is not None and (leaves or enters):
            found.append(_to_period(current, event.at))
            current = None
        if enters:
            current = event
    if current is not None:
        found.append(_to_period(current, None))
    return found


def _to_period(event: StageEvent, end: datetime | None) -> ProductionPeriod:
    # A clock that was set back must not make a period end before it began.
    until = end if end is None else max(end, event.at)
    return ProductionPeriod(version=event.version, start=event.at, end=until, actor=event.actor, reason=event.reason)


def plot_stage_timeline(events: Sequence[StageEvent], *, now: datetime | None = None) -> go.Figure:
    """Draw which version of a model was in Production when; open periods last until `now`."""
    periods = production_periods(events)
    if not periods:
        return empty_figure("In Production", "No version has been in Production yet")
    until = now if now is not None else datetime.now(UTC)
    versions = list(dict.fromkeys(period.version for period in periods))
    figure = base_figure(
        f"{shorten_label(events[0].name)}: in Production",
        x_title="Time (UTC)",
        height=MARGIN_HEIGHT + ROW_HEIGHT * max(2, len(versions)),
        alt="In Production: "
        + "; ".join(
            f"{p.version} from {p.start:%Y-%m-%d %H:%M} to {'now' if p.end is None else f'{p.end:%Y-%m-%d %H:%M}'}"
            for p in periods[-8:]
        ),
    )
    for index, version in enumerate(versions):
        mine = [period for period in periods if period.version == version]
        figure.add_bar(
            name=shorten_label(version),
            orientation="h",
            y=[shorten_label(version)] * len(mine),
            base=[period.start for period in mine],
            x=[_milliseconds(period, until) for period in mine],
            marker_color=series_style(index).color,
            customdata=[
                [
                    f"{p.start:%Y-%m-%d %H:%M}",
                    "now" if p.end is None else f"{p.end:%Y-%m-%d %H:%M}",
                    shorten_label(p.actor),
                    shorten_label(p.reason or "-", 60),
                ]
                for p in mine
            ],
            hovertemplate="%{y}: %{customdata[0]} to %{customdata[1]}<br>by %{customdata[2]}: %{customdata[3]}"
            "<extra></extra>",
        )
    figure.update_xaxes(type="date")
    figure.update_yaxes(showgrid=False, type="category")
    figure.update_layout(barmode="overlay", showlegend=False, bargap=0.4)
    return figure


def _milliseconds(period: ProductionPeriod, until: datetime) -> float:
    end: Any = period.end if period.end is not None else max(until, period.start)
    return float((end - period.start).total_seconds() * 1000)
