"""The one palette and the one Plotly template of ModelDesk: every figure starts here.

    >>> figure = base_figure("Accuracy of churn", x_title="Step", y_title="Accuracy (0 to 1)")
    >>> figure.layout.title.text
    'Accuracy of churn'
    >>> for_dark(figure) is not figure
    True

A chart file writes `figure = base_figure(title, x_title=..., y_title=..., alt=...)`, adds traces coloured by
`series_style(i)` (things that differ), by `VERDICT_COLORS` (good, watch, bad) or `NEUTRAL` (context), and returns it.
It never asks which theme is shown: all colours named here are mid-tones with a contrast of at least 3:1 against
both `LIGHT_SURFACE` and `DARK_SURFACE`, and what must change (text, grid) lives in the template. The dashboard calls
`for_dark()` before it draws on a dark page; a notebook shows the light template.

Vocabulary: a *surface* is what a figure lies on; *ink* is text; a *series* is one thing among several, told apart by
colour and by dash and marker too, so that no meaning rests on colour alone; a *verdict* is good, watch, bad or unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

__all__ = [
    "DARK_SURFACE",
    "LIGHT_SURFACE",
    "NEUTRAL",
    "SERIES_COLORS",
    "VERDICT_COLORS",
    "VERDICT_SYMBOLS",
    "SeriesStyle",
    "add_band",
    "add_footnote",
    "add_level",
    "add_zone",
    "alt_text",
    "base_figure",
    "days_around_one",
    "empty_figure",
    "escape",
    "for_dark",
    "series_style",
    "shorten_label",
    "with_alpha",
]

LIGHT_SURFACE = "#ffffff"
DARK_SURFACE = "#0f1319"
_LIGHT_INK, _LIGHT_MUTED, _LIGHT_GRID = "#1b2430", "#5a6675", "#e6eaef"
_DARK_INK, _DARK_MUTED, _DARK_GRID = "#e8ecf1", "#a3aebb", "#262e39"

# Searched for the largest smallest distance in CIELAB (20 or more between any two) under normal vision and under
# simulated protanopia and deuteranopia (Machado, Oliveira, Fernandes 2009, severity 1), within the luminance band that
# keeps 3:1 against both surfaces.
SERIES_COLORS: tuple[str, ...] = (
    "#2f78d6",  # blue
    "#d9630b",  # orange
    "#12a594",  # teal
    "#c70a3d",  # crimson
    "#246b8f",  # petrol
    "#4c4cf6",  # indigo
    "#2aa76d",  # green
    "#7e93ce",  # periwinkle
)
SERIES_DASHES: tuple[str, ...] = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SERIES_SYMBOLS: tuple[str, ...] = (
    "circle",
    "diamond",
    "square",
    "triangle-up",
    "x",
    "triangle-down",
    "cross",
    "star",
)

NEUTRAL = "#7a8594"  # context: reference lines, raw data behind a smoothed line, "not enough data"
VERDICT_COLORS: dict[str, str] = {
    "good": "#12a594",
    "watch": "#b07d00",
    "bad": "#c70a3d",
    "unknown": NEUTRAL,
}
VERDICT_SYMBOLS: dict[str, str] = {  # Plotly marker symbols: the shape says it again
    "good": "circle",
    "watch": "triangle-up",
    "bad": "x",
    "unknown": "circle-open",
}

# From "nothing" to "much": starts near-transparent, so it reads on both surfaces.
SEQUENTIAL_SCALE: list[list[float | str]] = [
    [0.0, "rgba(47,120,214,0.06)"],
    [0.5, "rgba(47,120,214,0.55)"],
    [1.0, "rgba(47,120,214,0.85)"],
]

FONT_FAMILY = '"Source Sans", "Source Sans 3", "Segoe UI", system-ui, -apple-system, sans-serif'
TEMPLATE_LIGHT = "modeldesk"
TEMPLATE_DARK = "modeldesk_dark"
DEFAULT_HEIGHT = 360  # pixels
_TITLE_TOP, _LEGEND_GAP, _MARGINS = 10, 5, 104  # pixels: above the title, below the legend, above and below the plot
_LABEL_WIDTH = 48  # characters of a user's name shown in a legend or on an axis


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesStyle:
    """How the i-th of several series is drawn.

    Attributes
    ----------
    color : str
        Hex colour; repeats after eight series.
    dash : str
        Plotly line dash; changes each time the colours have been used up.
    symbol : str
        Plotly marker symbol; differs between neighbours.
    """

    color: str
    dash: str
    symbol: str

    @property
    def line(self) -> dict[str, Any]:
        """Return the `line` argument of a Scatter trace."""
        return {"color": self.color, "dash": self.dash, "width": 2}

    @property
    def marker(self) -> dict[str, Any]:
        """Return the `marker` argument of a Scatter trace."""
        return {"color": self.color, "symbol": self.symbol, "size": 8}


def series_style(index: int) -> SeriesStyle:
    """Return colour, dash and marker of the series at position `index` (0, 1, ...).

    Examples
    --------
    >>> series_style(0).color, series_style(0).dash, series_style(8).color, series_style(8).dash
    ('#2f78d6', 'solid', '#2f78d6', 'dash')
    """
    colors, dashes = len(SERIES_COLORS), len(SERIES_DASHES)
    return SeriesStyle(
        color=SERIES_COLORS[index % colors],
        dash=SERIES_DASHES[(index // colors) % dashes],
        symbol=SERIES_SYMBOLS[index % len(SERIES_SYMBOLS)],
    )


def with_alpha(color: str, alpha: float) -> str:
    """Return a hex colour as an `rgba(...)` string.

    Examples
    --------
    >>> with_alpha("#12a594", 0.2)
    'rgba(18,165,148,0.2)'
    """
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def escape(text: object) -> str:
    """Return user text for a Plotly title, label, legend or hover: its markup is shown, not interpreted.

    Plotly reads a few HTML tags (`<b>`, `<a href>`), entities, and MathJax between dollar signs in every string.

    Examples
    --------
    >>> escape("<b>a</b> & $x$")
    '&lt;b&gt;a&lt;/b&gt; &amp; &#36;x&#36;'
    """
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")


def shorten_label(text: object, width: int = _LABEL_WIDTH) -> str:
    """Return user text escaped and cut to `width` characters, keeping both ends (versions and seeds differ at the end).

    Examples
    --------
    >>> shorten_label("a-very-long-name-of-a-run-seed-17", 16)
    'a-very-l…seed-17'
    """
    plain = " ".join(str(text).split())
    if len(plain) > width:
        tail = (width - 1) // 2
        plain = f"{plain[: width - 1 - tail]}…{plain[len(plain) - tail :]}"
    return escape(plain)


def base_figure(
    title: str | None = None,
    *,
    x_title: str | None = None,
    y_title: str | None = None,
    height: int = DEFAULT_HEIGHT,
    alt: str | None = None,
) -> go.Figure:
    """Return an empty figure with the ModelDesk template.

    Parameters
    ----------
    title : str, optional
        What is shown, in a few words. Text that contains users' names must have passed `escape` or `shorten_label`.
    x_title, y_title : str, optional
        Axis titles, with the unit: `"PSI (no unit)"`, `"Accuracy (0 to 1)"`, `"Time (UTC)"`.
    height : int
        Pixels.
    alt : str, optional
        One or two sentences for people who cannot see the figure; read back with `alt_text`.
    """
    figure = go.Figure()
    figure.update_layout(template=TEMPLATE_LIGHT, height=height, meta={"alt": alt or title or ""})
    # Plotly places both by shares of the height: in a tall figure the legend would lie on the title.
    figure.update_layout(title_y=1 - _TITLE_TOP / height, legend_y=1 + _LEGEND_GAP / max(1, height - _MARGINS))
    if title is not None:
        figure.update_layout(title_text=title)
    else:
        figure.update_layout(margin_t=24)
    if x_title is not None:
        figure.update_xaxes(title_text=x_title)
    if y_title is not None:
        figure.update_yaxes(title_text=y_title)
    return figure


def empty_figure(title: str | None, message: str, *, height: int = 240) -> go.Figure:
    """Return a figure that says, in its middle, why there is nothing to draw (`message`: our words, or escaped)."""
    figure = base_figure(title, height=height, alt=f"{title}: {message}" if title else message)
    figure.update_xaxes(visible=False, range=[0, 1])
    figure.update_yaxes(visible=False, range=[0, 1])
    figure.add_annotation(
        text=message, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font={"size": 14, "color": NEUTRAL}
    )
    return figure


def alt_text(figure: go.Figure) -> str:
    """Return the description given to `base_figure`, or one made from the title and the axes."""
    meta = figure.layout.meta
    if isinstance(meta, dict) and meta.get("alt"):
        return str(meta["alt"])
    parts = [figure.layout.title.text, figure.layout.xaxis.title.text, figure.layout.yaxis.title.text]
    return ", ".join(str(part) for part in parts if part) or "Chart"


def for_dark(figure: go.Figure) -> go.Figure:
    """Return a copy of a figure for a dark page; the colours of the data stay."""
    copy = go.Figure(figure)
    copy.update_layout(template=TEMPLATE_DARK)
    return copy


def add_level(
    figure: go.Figure,
    value: float,
    label: str | None = None,
    *,
    axis: str = "y",
    color: str = NEUTRAL,
    dash: str = "dash",
    row: int | str | None = None,
    col: int | str | None = None,
) -> None:
    """Draw a labelled straight line at `value` (a limit, a threshold, zero) across the whole figure.

    Plotly's own default is black, which cannot be seen on a dark page; here the colour is always set. Words have the
    template's colour: those of lines are too weak for small text.
    """
    annotation: dict[str, Any] = {}
    if label is not None:
        annotation = {
            "annotation_text": label,
            "annotation_font_size": 12,
            "annotation_position": "top right" if axis == "y" else "top",
        }
    if row is not None:
        annotation |= {"row": row, "col": col}
    add = figure.add_hline if axis == "y" else figure.add_vline
    add(value, line_color=color, line_dash=dash, line_width=1.5, **annotation)


def add_zone(
    figure: go.Figure, low: object, high: object, label: str | None = None, *, axis: str = "x", color: str = NEUTRAL
) -> None:
    """Shade everything between `low` and `high` of one axis (a baseline period, a region that is acceptable)."""
    annotation: dict[str, Any] = {}
    if label is not None:
        annotation = {"annotation_text": label, "annotation_font_size": 12}
        annotation["annotation_position"] = "top left"
    common: dict[str, Any] = {"fillcolor": with_alpha(color, 0.12), "line_width": 0, "layer": "below", **annotation}
    if axis == "x":
        figure.add_vrect(x0=low, x1=high, **common)
    else:
        figure.add_hrect(y0=low, y1=high, **common)


def add_footnote(figure: go.Figure, text: str) -> None:
    """Say below the axis what the figure leaves out; `text` is our words, or escaped."""
    figure.add_annotation(
        text=text,
        x=0,
        y=-0.02,
        xref="paper",
        yref="paper",
        xanchor="left",
        yanchor="top",
        yshift=-46,
        showarrow=False,
        font_size=12,
    )
    figure.update_layout(margin_b=90)


def days_around_one(figure: go.Figure, instants: Sequence[datetime]) -> None:
    """Show a day on both sides of the only instant of a time axis, which Plotly would divide into milliseconds."""
    if len(set(instants)) == 1:
        day = timedelta(days=1)
        figure.update_xaxes(range=[instants[0] - day, instants[0] + day])
        figure.update_traces(width=0.5 * day.total_seconds() * 1_000, selector={"type": "bar"})


def add_band(
    figure: go.Figure,
    x: Sequence[Any],
    lower: Sequence[float],
    upper: Sequence[float],
    name: str,
    *,
    color: str = SERIES_COLORS[0],
) -> None:
    """Fill the area between `lower` and `upper`, each of the length of `x`: an interval around a line."""
    edge: dict[str, Any] = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "x": list(x)}
    figure.add_scatter(y=list(upper), showlegend=False, name=f"{name} (upper)", **edge)
    figure.add_scatter(y=list(lower), fill="tonexty", fillcolor=with_alpha(color, 0.18), name=name, **edge)


def _template(ink: str, muted: str, grid: str, surface: str, *, transparent: bool) -> go.layout.Template:
    """Build one template; on a page it lies on the page's own surface, in a notebook on a white one."""
    background = "rgba(0,0,0,0)" if transparent else surface
    axis: dict[str, Any] = {
        "gridcolor": grid,
        "linecolor": grid,
        "zerolinecolor": grid,
        "tickcolor": grid,
        "zerolinewidth": 1,
        "automargin": True,
        "ticks": "outside",
        "ticklen": 4,
        "tickfont": {"color": muted, "size": 12},
        "title": {"font": {"color": muted, "size": 13}, "standoff": 10},
        "separatethousands": True,
        "hoverformat": ",.4~r",
    }
    # Dates must not inherit a number format: Plotly would print nothing.
    x_axis = {key: value for key, value in axis.items() if key != "hoverformat"}
    template = go.layout.Template()
    template.layout = go.Layout(
        font={"family": FONT_FAMILY, "color": ink, "size": 13},
        title={
            "font": {"size": 16, "color": ink, "weight": 600},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 0.97,
            "yanchor": "top",
        },
        colorway=list(SERIES_COLORS),
        paper_bgcolor=background,
        plot_bgcolor=background,
        margin={"l": 56, "r": 24, "t": 56, "b": 48},
        separators=".,",
        hovermode="closest",
        hoverlabel={
            "bgcolor": surface,
            "bordercolor": grid,
            "font": {"color": ink, "size": 13, "family": FONT_FAMILY},
            "namelength": 40,
        },
        legend={
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "xanchor": "left",
            "yanchor": "bottom",
            "bgcolor": "rgba(0,0,0,0)",
            "font": {"color": ink, "size": 12},
            "title": {"text": ""},
            "traceorder": "normal",
        },
        xaxis=x_axis,
        yaxis=axis,
        colorscale={"sequential": SEQUENTIAL_SCALE, "diverging": _DIVERGING_SCALE},
        coloraxis={"colorbar": {"outlinewidth": 0, "tickfont": {"color": muted}, "title": {"font": {"color": muted}}}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": muted, "activecolor": SERIES_COLORS[0], "orientation": "v"},
        annotationdefaults={"font": {"color": muted, "size": 12}, "arrowcolor": muted},
        shapedefaults={"line": {"color": NEUTRAL}},
        dragmode="zoom",
    )
    bar_colors = {"thickness": 1.5, "width": 4}
    template.data.scatter = [go.Scatter(error_x=bar_colors, error_y=bar_colors)]
    # Without a colour Plotly picks one by contrast with the cell, but it does not see the page through a pale cell.
    template.data.heatmap = [
        go.Heatmap(colorscale=SEQUENTIAL_SCALE, xgap=2, ygap=2, textfont={"color": ink, "size": 12})
    ]
    template.data.parcoords = [
        go.Parcoords(labelfont={"color": ink, "size": 13}, tickfont={"color": muted}, rangefont={"color": muted})
    ]
    return template


_DIVERGING_SCALE: list[list[float | str]] = [
    [0.0, "#d9630b"],
    [0.5, "rgba(122,133,148,0.15)"],
    [1.0, "#2f78d6"],
]

pio.templates[TEMPLATE_LIGHT] = _template(_LIGHT_INK, _LIGHT_MUTED, _LIGHT_GRID, LIGHT_SURFACE, transparent=False)
pio.templates[TEMPLATE_DARK] = _template(_DARK_INK, _DARK_MUTED, _DARK_GRID, DARK_SURFACE, transparent=True)
