"""The comparison of runs as one HTML page: no script, nothing fetched, every text escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tracking_parts.comparison import diff_records, goals_for, runs_to_frame
from tracking_parts.records import Run, RunStatus

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["build_report"]

COLORS = ("#2f78d6", "#d9630b", "#12a594", "#c70a3d", "#246b8f", "#4c4cf6", "#2aa76d", "#7e93ce")
DASHES = ("", "6 3", "2 3", "8 3 2 3")
WIDTH, HEIGHT = 520, 260  # of a chart, in CSS pixels
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 34

_STYLE = """
:root { color-scheme: light dark; --ink: #1b2430; --muted: #5a6675; --line: #dfe4ea; --page: #fff; --mark: #e7f5f2; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ecf1; --muted: #a3aebb; --line: #313b48; --page: #0f1319; --mark: #12332f; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1120px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.muted { color: var(--muted); } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap;
  max-width: 26rem; overflow: hidden; text-overflow: ellipsis; }
td.number { text-align: right; } td.best { background: var(--mark); font-weight: 600; }
.charts { display: flex; flex-wrap: wrap; gap: 1rem; } figure { margin: 0; } figcaption { font-weight: 600; }
svg text { fill: var(--muted); font-size: 11px; } svg .axis { stroke: var(--line); } code { font-size: .85em; }
"""


def build_report(runs: Sequence[Run], history: pd.DataFrame, *, title: str, metrics: Sequence[str]) -> str:
    """Return the page.

    Parameters
    ----------
    runs : sequence of Run
        With their environments.
    history : DataFrame
        From `metric_history` of these runs.
    title : str
    metrics : sequence of str
    """
    parts = [_metrics_table(runs, metrics), _params_table(runs), _charts(runs, history, metrics)]
    if len(runs) == 2:
        parts.append(_diff_table(runs))
    parts.append(_environment_table(runs))
    now = datetime.now(UTC)
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>"
        f"<p class='muted'>{len(runs)} runs, {now:%Y-%m-%d %H:%M} UTC</p>{''.join(parts)}</body></html>"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[tuple[str, str]]]) -> str:
    """Return a table; cells are (text, class)."""
    top = "".join(f"<th scope='col'>{html.escape(text)}</th>" for text in head)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td class='{css}' title='{html.escape(text, quote=True)}'>{html.escape(text)}</td>" for text, css in row
        )
        + "</tr>"
        for row in rows
    )
    return f"<div class='scroll'><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _metrics_table(runs: Sequence[Run], metrics: Sequence[str]) -> str:
    goals = goals_for(metrics, None)
    shown = [name for name in metrics if any(name in run.metrics for run in runs)]
    rows = []
    for run in runs:
        seconds = "" if run.duration_seconds is None else f"{run.duration_seconds:,.1f}"
        row = [(run.name, ""), (run.experiment, ""), (str(run.status), ""), (seconds, "number")]
        for name in shown:
            summary = run.metric_summaries.get(name)
            best = None if summary is None else summary.best(goals[name])
            all_best = [s.best(goals[name]) for r in runs if (s := r.metric_summaries.get(name)) is not None]
            finite = [value for value in all_best if value is not None]
            wins = best is not None and len(runs) > 1 and best == (max if goals[name] == "max" else min)(finite)
            text = "" if summary is None else f"{_number(summary.last)} ({_number(best)})"
            row.append((text, "number best" if wins else "number"))
        rows.append(row)
    head = ["Run", "Experiment", "Status", "Seconds", *(f"{name} ({goals[name]})" for name in shown)]
    return (
        "<h2>Metrics</h2><p class='muted'>Last value, and the best one in parentheses; the best run is marked.</p>"
        + _table(head, rows)
    )


def _params_table(runs: Sequence[Run]) -> str:
    frame = runs_to_frame(runs, metrics=[], only_differences=True)
    columns = [c for c in frame.columns if c.startswith(("params.", "tags."))]
    if not columns:
        return "<h2>Params</h2><p class='muted'>All params and tags are the same.</p>"
    rows = [[(run.name, "")] + [(_text(frame[c].iloc[i]), "") for c in columns] for i, run in enumerate(runs)]
    return "<h2>Params that differ</h2>" + _table(["Run", *(c.partition(".")[2] for c in columns)], rows)


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _diff_table(runs: Sequence[Run]) -> str:
    diff = diff_records(runs[0], runs[1])
    rows = [[(key, ""), (_text(a)[:300], ""), (_text(b)[:300], "")] for key, (a, b) in diff.environment.items()]
    if not rows:
        return "<h2>Code and packages</h2><p class='muted'>Both ran the same code with the same packages.</p>"
    return "<h2>Code and packages that differ</h2>" + _table(["", runs[0].name, runs[1].name], rows)


def _environment_table(runs: Sequence[Run]) -> str:
    rows = []
    for run in runs:
        git, python = run.environment.get("git", {}), run.environment.get("python", {})
        commit = git.get("commit", "")[:12] + (" with changes" if git.get("dirty") else "")
        rows.append(
            [(run.name, ""), (run.run_id, ""), (commit, ""), (git.get("branch", ""), ""),
             (python.get("version", ""), ""),
             (run.environment.get("command", ""), "")]
        )  # fmt: skip
    notes = "".join(
        f"<p><b>{html.escape(run.name)}</b>: {html.escape(run.note)}</p>" for run in runs if run.note
    ) + "".join(
        f"<p><b>{html.escape(run.name)}</b> failed:</p><pre>{html.escape(run.error[-2000:])}</pre>"
        for run in runs
        if run.error and run.status == RunStatus.FAILED
    )
    return "<h2>Runs</h2>" + _table(["Run", "Id", "Commit", "Branch", "Python", "Command"], rows) + notes


# -- charts ------------------------------------------------------------------------------------------


def _charts(runs: Sequence[Run], history: pd.DataFrame, metrics: Sequence[str]) -> str:
    figures = []
    for metric in metrics:
        part = history[history["metric"] == metric]
        curves = []
        for index, run in enumerate(runs):
            mine = part[part["run_id"] == run.run_id]
            curves.append((index, mine["step"].tolist(), mine["value"].tolist()))
        drawn = _chart(metric, curves)
        if drawn:
            figures.append(drawn)
    if not figures:
        return ""
    legend = " ".join(
        f"<svg width='26' height='10' aria-hidden='true'><line x1='0' y1='5' x2='26' y2='5' {_stroke(i)}/></svg> "
        f"{html.escape(run.name)}"
        for i, run in enumerate(runs)
    )
    return f"<h2>Curves</h2><p>{legend}</p><div class='charts'>{''.join(figures)}</div>"


def _stroke(index: int) -> str:
    dash = DASHES[index // len(COLORS) % len(DASHES)]
    return f"stroke='{COLORS[index % len(COLORS)]}' stroke-width='2' fill='none' stroke-dasharray='{dash}'"


def _chart(metric: str, curves: Sequence[tuple[int, list[int], list[float]]]) -> str:
    points = [(s, v) for _, steps, values in curves for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    if len({s for s, _ in points}) < 2:
        return ""
    x0, x1 = min(s for s, _ in points), max(s for s, _ in points)
    y0, y1 = min(v for _, v in points), max(v for _, v in points)
    span = (y1 / 2 - y0 / 2) * 2
    pad = span * 0.05 if 0 < span < math.inf else max(abs(y1) * 0.05, 1e-9)
    y0, y1 = y0 - pad, y1 + pad
    if not (math.isfinite(y0) and math.isfinite(y1)):
        return ""

    def place(step: int, value: float) -> str:
        x = LEFT + (step - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
        y = TOP + (y1 - value) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f} {y:.1f}"

    drawn = []
    for index, steps, values in curves:
        path, pen_down = [], False
        for step, value in zip(steps, values, strict=True):
            if not math.isfinite(value):
                pen_down = False  # a gap
                continue
            path.append(("L" if pen_down else "M") + place(step, value))
            pen_down = True
        if path:
            drawn.append(f"<path d='{' '.join(path)}' {_stroke(index)}/>")
    ticks = []
    for value in _round_values(y0, y1):
        y = TOP + (y1 - value) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
        ticks.append(f"<line class='axis' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}'/>")
        ticks.append(f"<text x='{LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{_label(value, y1 - y0)}</text>")
    for at in _round_values(x0, x1):
        if at == int(at):  # between two steps there is nothing
            x = LEFT + (at - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
            ticks.append(f"<text x='{x:.1f}' y='{HEIGHT - 16}' text-anchor='middle'>{_label(at, x1 - x0)}</text>")
    name = html.escape(metric)
    return (
        f"<figure><figcaption>{name}</figcaption><svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' "
        f"role='img' aria-label='{html.escape(metric, quote=True)} over the steps'>{''.join(ticks)}{''.join(drawn)}"
        f"<text x='{WIDTH / 2}' y='{HEIGHT - 2}' text-anchor='middle'>step</text></svg></figure>"
    )


def _round_values(low: float, high: float) -> list[float]:
    """Return three to seven round values (1, 2 or 5 times a power of ten apart) within a range."""
    rough = (high / 6) - (low / 6)
    if not rough > max(1e-300, 8.0 * math.ulp(max(abs(low), abs(high)))):  # hardly a float apart
        return [low, high]
    power = 10.0 ** math.floor(math.log10(rough))
    size = next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / size - 1e-9), math.floor(high / size + 1e-9)
    return [number * size for number in range(first, last + 1)]


def _label(value: float, span: float) -> str:
    """Return a value with so many digits that its neighbours on the axis look different."""
    digits = math.ceil(math.log10(abs(value) / span)) + 2 if value and span > 0 and abs(value) > span else 2
    return f"{value:.{min(17, max(6, digits))}g}"
