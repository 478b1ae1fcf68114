"""Figures and the report of A/B tests: effects with intervals, effect over time, looks, distributions, power.

    >>> figure = plot_power_curve_points([(100, 0.3), (200, 0.55), (400, 0.85)], n=400, power=0.85)
    >>> figure.layout.yaxis.title.text
    'Power (0 to 1)'

Results come from `ab_testing`: `ExperimentAnalysis`, lists of `DailyPoint`, the frame of `distribution`,
`SampleSizePlan`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from charts.theme import (
    NEUTRAL,
    VERDICT_COLORS,
    VERDICT_SYMBOLS,
    add_band,
    add_level,
    alt_text,
    base_figure,
    days_around_one,
    empty_figure,
    escape,
    series_style,
    shorten_label,
    with_alpha,
)
from stats.formatting import format_p_value

if TYPE_CHECKING:
    import pandas as pd

    from ab_parts.results import DailyPoint, ExperimentAnalysis, VariantComparison
    from ab_parts.sizing import SampleSizePlan

__all__ = [
    "forest_rows",
    "outline",
    "plot_cumulative_effect",
    "plot_distribution",
    "plot_forest",
    "plot_looks",
    "plot_power_curve",
    "plot_power_curve_points",
    "plot_simulation",
    "readable_range",
    "report_html",
]

MAX_OVERLAID = 2  # translucent histograms; more of them are drawn as outlines
MAX_WHOLE_VALUES = 20  # different whole numbers that are drawn side by side


def forest_rows(analysis: ExperimentAnalysis, *, relative: bool = True) -> list[dict[str, Any]]:
    """Return what the forest plot draws: label, estimate, lower, upper and verdict of each comparison.

    A comparison without an estimate is left out. An end that is open or not computable is None.
    """
    rows = []
    for item in (*analysis.comparisons, *analysis.segments):
        estimate = item.relative_effect if relative else item.effect
        if estimate is None:
            continue
        lower, upper = (item.relative_ci_lower, item.relative_ci_upper) if relative else (item.ci_lower, item.ci_upper)
        metric = item.metric if item.segment is None else f"{item.metric} [{item.segment}]"
        rows.append(
            {
                "label": f"{metric}: {item.variant}",
                "estimate": estimate,
                "lower": lower,
                "upper": upper,
                "verdict": _verdict_of(item),
                "p_value": item.p_adjusted if item.p_adjusted is not None else item.p_value,
            }
        )
    return rows


def _verdict_of(item: VariantComparison) -> str:
    if item.guardrail_status is not None:
        return {"safe": "good", "worse": "bad"}.get(item.guardrail_status, "watch")
    if not item.is_significant or item.chance_to_beat is None:
        return "unknown"
    return "good" if item.chance_to_beat > 0.5 else "bad"


def plot_forest(analysis: ExperimentAnalysis, *, relative: bool = True) -> go.Figure:
    """Draw every comparison as a point with its interval, as lift or (``relative=False``) as absolute effect."""
    rows = forest_rows(analysis, relative=relative)
    title = f"{shorten_label(analysis.name)}: effect of each treatment"
    if not rows:
        return empty_figure(title, "No effect can be computed yet.")
    axis = "Lift over the baseline (%)" if relative else "Treatment minus baseline, each metric in its own unit"
    scale = 100.0 if relative else 1.0
    words = ", ".join(f"{row['label']} {scale * row['estimate']:+.3g}" for row in rows)
    figure = base_figure(title, x_title=axis, height=140 + 44 * len(rows), alt=escape(f"{axis}: {words}"))
    for row in rows:
        lower = row["estimate"] if row["lower"] is None else row["lower"]
        upper = row["estimate"] if row["upper"] is None else row["upper"]
        color = VERDICT_COLORS[row["verdict"]]
        p = "no p-value" if row["p_value"] is None else format_p_value(row["p_value"])
        figure.add_scatter(
            x=[scale * row["estimate"]],
            y=[shorten_label(row["label"])],
            mode="markers",
            marker={"color": color, "symbol": VERDICT_SYMBOLS[row["verdict"]], "size": 11},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [scale * (upper - row["estimate"])],
                "arrayminus": [scale * (row["estimate"] - lower)],
                "color": color,
            },
            hovertemplate=f"%{{y}}<br>%{{x:.4g}} ({scale * lower:.4g} to {scale * upper:.4g}), {p}<extra></extra>",
            showlegend=False,
        )
    figure.update_yaxes(autorange="reversed", type="category")
    add_level(figure, 0.0, axis="x")
    return figure


def plot_cumulative_effect(
    points: Sequence[DailyPoint], *, metric: str = "the metric", is_rate: bool = False
) -> go.Figure:
    """Draw the effect by day with its confidence sequence, and the fixed-horizon interval dotted and faint.

    Differences of rates (`is_rate`) are drawn in percentage points. On a test's first day, when there is no course to
    draw yet, both intervals are bars.
    """
    title = f"Effect on {shorten_label(metric)} as data came in"
    known = [point for point in points if point.effect is not None]
    if not known:
        return empty_figure(title, "No day has two subjects in both variants yet.")
    if is_rate:
        known = [_in_points(point) for point in known]
    days = [point.day for point in known]
    unit = "pp" if is_rate else "unit of the metric"
    now = f"{known[-1].effect:.4g}{' percentage points' if is_rate else ''}"
    figure = base_figure(
        title,
        x_title="Day (UTC)",
        y_title=f"Difference ({unit})",
        alt=escape(f"Effect on {metric} over {len(known)} days, now {now}."),
    )
    banded = [point for point in known if point.sequential_lower is not None and point.sequential_upper is not None]
    sequence, fixed = "Confidence sequence: valid on every day", "Fixed-horizon interval: do not stop"
    if len(known) == 1:
        (point,) = known
        _add_bar(figure, point, point.sequential_lower, point.sequential_upper, sequence, thickness=14)
        _add_bar(figure, point, point.ci_lower, point.ci_upper, f"{fixed} by it", thickness=2)
    elif banded:
        add_band(
            figure,
            [point.day for point in banded],
            [point.sequential_lower for point in banded if point.sequential_lower is not None],
            [point.sequential_upper for point in banded if point.sequential_upper is not None],
            sequence,
        )
    if len(known) > 1:
        for name, values in (
            (f"{fixed} on the dotted line", [point.ci_lower for point in known]),
            ("Fixed-horizon interval (upper)", [point.ci_upper for point in known]),
        ):
            figure.add_scatter(
                x=days,
                y=values,
                mode="lines",
                name=name,
                line={"color": NEUTRAL, "dash": "dot", "width": 1},
                showlegend="upper" not in name,
                hoverinfo="skip",
            )
    style = series_style(0)
    figure.add_scatter(
        x=days,
        y=[point.effect for point in known],
        mode="lines+markers",
        name="Effect",
        line=style.line,
        marker=style.marker,
    )
    add_level(figure, 0.0)
    low, high = readable_range(known)
    figure.update_yaxes(range=[low, high])
    days_around_one(figure, days)
    return figure


def _in_points(point: DailyPoint) -> DailyPoint:
    """Return a day of a rate with its differences in percentage points."""
    ends = ("effect", "ci_lower", "ci_upper", "sequential_lower", "sequential_upper")
    found: dict[str, Any] = {name: getattr(point, name) for name in ends}
    scaled: dict[str, Any] = {name: None if value is None else 100.0 * value for name, value in found.items()}
    return replace(point, **scaled)


def _add_bar(
    figure: go.Figure, point: DailyPoint, lower: float | None, upper: float | None, name: str, *, thickness: int
) -> None:
    """Draw the interval of one day as a bar, as thick as `thickness` pixels; nothing where an end is open."""
    if lower is None or upper is None or point.effect is None:
        return
    color = NEUTRAL if thickness < 4 else with_alpha(series_style(0).color, 0.25)
    figure.add_scatter(
        x=[point.day],
        y=[point.effect],
        mode="markers",
        name=name,
        marker={"color": color, "symbol": "line-ns-open", "size": 10},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [upper - point.effect],
            "arrayminus": [point.effect - lower],
            "color": color,
            "thickness": thickness,
            "width": 0,
        },
        hovertemplate=f"%{{x}}<br>{lower:.4g} to {upper:.4g}<extra></extra>",
    )


def readable_range(points: Sequence[DailyPoint]) -> tuple[float, float]:
    """Return the ends of an axis on which the latest interval can be read.

    The first days' intervals are so wide that on an axis that holds them everything after is a line: those of the first
    quarter may leave the picture, effects never do. Zero is always in it.
    """
    later = points[len(points) // 4 :]
    ends = [point.effect for point in points]
    ends += [end for point in later for end in (point.ci_lower, point.ci_upper)]
    ends += [end for point in later for end in (point.sequential_lower, point.sequential_upper)]
    found = [end for end in ends if end is not None] + [0.0]
    margin = 0.06 * (max(found) - min(found) or 1.0)
    return min(found) - margin, max(found) + margin


def plot_looks(analysis: ExperimentAnalysis) -> go.Figure:
    """Draw z of every stored look against the stopping boundaries."""
    title = f"{shorten_label(analysis.name)}: looks against the stopping boundary"
    looks = [look for look in analysis.looks if look.variant == analysis.variant]
    if not looks:
        return empty_figure(title, "Nobody has looked at results yet.")
    planned = all(look.information_fraction is not None for look in looks)
    places = [
        100.0 * (look.information_fraction or 0.0) if planned else float(look.n_baseline + look.n_treatment)
        for look in looks
    ]
    figure = base_figure(
        title,
        x_title="Planned information (%)" if planned else "Subjects",
        y_title="z (standard errors from no effect)",
        alt=escape(f"{len(looks)} looks; the last z is {looks[-1].z:.3g}."),
    )
    style = series_style(0)
    figure.add_scatter(
        x=places,
        y=[look.z for look in looks],
        mode="lines+markers",
        name="z at each look",
        line=style.line,
        marker=style.marker,
    )
    bounded = [(place, look.boundary) for place, look in zip(places, looks, strict=True) if look.boundary is not None]
    last = looks[-1]
    if (last.ci_lower is None) == (last.ci_upper is None):
        signs = [1.0, -1.0]
    else:  # a one-sided test has no interval, and no boundary, on the other side
        signs = [1.0 if last.ci_upper is None else -1.0]
    for sign in signs:
        if bounded:
            figure.add_scatter(
                x=[place for place, _ in bounded],
                y=[sign * bound for _, bound in bounded],
                mode="lines+markers",
                name="Boundary" if sign == signs[0] else "Boundary (lower)",
                line={"color": VERDICT_COLORS["bad"], "dash": "dash", "width": 1.5},
                marker={"color": VERDICT_COLORS["bad"], "symbol": "line-ew-open", "size": 10},
                showlegend=sign == signs[0],
            )
    add_level(figure, 0.0)
    figure.update_xaxes(rangemode="tozero")
    return figure


def plot_distribution(frame: pd.DataFrame, *, metric: str = "value") -> go.Figure:
    """Draw the share of subjects per bin by variant; ``frame`` is from `ABTestingFramework.distribution`."""
    title = f"Distribution of {shorten_label(metric)} by variant"
    if len(frame) == 0:
        return empty_figure(title, "No subject has a value yet.")
    names = list(dict.fromkeys(frame["variant"].tolist()))
    figure = base_figure(
        title,
        x_title=f"{shorten_label(metric)} per subject",
        y_title="Share of the variant's subjects (%)",
        alt=escape(f"Distribution of {metric} for {', '.join(map(str, names))}."),
    )
    widths = frame["upper"] - frame["lower"]
    whole = bool((widths == 1).all() and (frame["lower"] % 1 == 0).all())
    if whole and frame["lower"].max() - frame["lower"].min() < MAX_WHOLE_VALUES:  # yes or no, small counts
        for index, name in enumerate(names):
            part = frame[frame["variant"] == name]
            figure.add_bar(
                x=[int(value) for value in part["lower"]],
                y=(100.0 * part["share"]).tolist(),
                name=shorten_label(name),
                marker={"color": series_style(index).color},
            )
        figure.update_layout(barmode="group")
        figure.update_xaxes(dtick=1)
        return figure
    for index, name in enumerate(names):
        part = frame[frame["variant"] == name]
        style = series_style(index)
        if len(names) > MAX_OVERLAID:
            x, y = outline(part)
            figure.add_scatter(
                x=x,
                y=y,
                name=shorten_label(name),
                mode="lines",
                line=style.line | {"shape": "hv"},
            )
            continue
        figure.add_bar(
            x=((part["lower"] + part["upper"]) / 2).tolist(),
            y=(100.0 * part["share"]).tolist(),
            width=(part["upper"] - part["lower"]).tolist(),
            name=shorten_label(name),
            marker={"color": style.color, "opacity": 0.55, "line": {"color": style.color, "width": 1}},
        )
    figure.update_layout(barmode="overlay", bargap=0)
    return figure


def outline(part: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Return the corners of one variant's histogram in percent, for a stepped line; bins that are not listed are empty.

    >>> import pandas as pd
    >>> outline(pd.DataFrame({"lower": [0.0, 2.0], "upper": [1.0, 3.0], "share": [0.25, 0.75]}))
    ([0.0, 0.0, 1.0, 2.0, 3.0], [0.0, 25.0, 0.0, 75.0, 0.0])
    """
    lower, upper, share = (part[name].tolist() for name in ("lower", "upper", "share"))
    x, y = [lower[0]], [0.0]
    for left, right, height, following in zip(lower, upper, share, [*lower[1:], None], strict=True):
        x.append(left)
        y.append(100.0 * height)
        if following is None or following - right > 0.01 * (right - left):
            x.append(right)
            y.append(0.0)
    return x, y


def plot_power_curve_points(points: Sequence[tuple[int, float]], *, n: int, power: float) -> go.Figure:
    """Draw power against subjects per variant, with the planned size marked."""
    if not points:
        return empty_figure("Power", "No size was given.")
    figure = base_figure(
        "Power by sample size",
        x_title="Subjects in the baseline",
        y_title="Power (0 to 1)",
        alt=f"Power rises with sample size; {n:,} subjects give {power:.3g}.",
    )
    style = series_style(0)
    figure.add_scatter(
        x=[size for size, _ in points],
        y=[value for _, value in points],
        mode="lines+markers",
        name="Power",
        line=style.line,
        marker=style.marker,
    )
    figure.update_yaxes(range=[0, 1.02])
    add_level(figure, power, f"power {power:.3g}")
    add_level(figure, n, f"{n:,} subjects", axis="x")
    return figure


def plot_power_curve(plan: SampleSizePlan) -> go.Figure:
    """Draw the power curve of a sample size calculation."""
    return plot_power_curve_points(plan.curve, n=plan.n_baseline, power=plan.power)


def plot_simulation(estimates: Sequence[float], effect: float) -> go.Figure:
    """Draw the estimated effects of simulated tests, with the injected one marked."""
    if not estimates:
        return empty_figure("Simulated tests", "No simulated test gave an estimate.")
    figure = base_figure(
        "Estimated effects of simulated tests",
        x_title="Estimated effect",
        y_title="Simulated tests (count)",
        alt=f"{len(estimates):,} simulated tests around the injected effect {effect:.4g}.",
    )
    figure.add_histogram(x=list(estimates), nbinsx=40, marker={"color": series_style(0).color}, name="Simulated tests")
    add_level(figure, effect, f"injected: {effect:.4g}", axis="x")
    return figure


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color:#1b2430;background:#fff}"
    "table{border-collapse:collapse;width:100%}"
    "td,th{border-bottom:1px solid #e6eaef;padding:.3rem .6rem;text-align:left}"
    ".verdict{border-left:4px solid #2f78d6;padding:.5rem 1rem;background:#f6f8fa}"
)


def report_html(analysis: ExperimentAnalysis, points: Sequence[DailyPoint] = ()) -> str:
    """Return a report that is one HTML file: no request leaves it, and every name in it is escaped."""
    figures = [plot_forest(analysis, relative=False), plot_looks(analysis)]
    if forest_rows(analysis):
        figures.insert(0, plot_forest(analysis))
    if points:
        is_rate = any(item.role == "main" and item.metric_type == "binary" for item in analysis.comparisons)
        figures.append(plot_cumulative_effect(points, metric=analysis.metric, is_rate=is_rate))
    drawn = "".join(
        f"<figure aria-label='{html.escape(alt_text(figure), quote=True)}'>"
        + figure.to_html(full_html=False, include_plotlyjs=index == 0, config={"displaylogo": False})
        + "</figure>"
        for index, figure in enumerate(figures)
    )
    assigned = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{count:,}</td><td>{analysis.n_subjects.get(name, 0):,}</td></tr>"
        for name, count in analysis.n_assigned.items()
    )
    split = "not tested" if analysis.srm_p_value is None else format_p_value(analysis.srm_p_value)
    n_looks = len({look.number for look in analysis.looks})
    looks = "no look" if n_looks == 0 else "1 look" if n_looks == 1 else f"{n_looks:,} looks"
    name = html.escape(analysis.name)
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{name}</title>"
        f"<style>{_STYLE}</style></head>"
        f"<body><h1>{name}</h1><p class='verdict'>{html.escape(analysis.recommendation)}</p>"
        f"<p>Analysed {analysis.analyzed_at:%Y-%m-%d %H:%M} UTC; decision: "
        f"{html.escape(analysis.decision.replace('_', ' '))}; {looks}; test of the split: {split}.</p>"
        f"<table><thead><tr><th>Variant</th><th>Assigned</th><th>With data</th></tr></thead>"
        f"<tbody>{assigned}</tbody></table>"
        f"{analysis.details_html()}{drawn}</body></html>"
    )
