"""What monitoring returns: frozen results that can show, export and plot themselves.

    >>> drift = DataDrift(drift_detected=False, features={}, n_reference=0, n_current=0, alpha=0.05, reasons=())
    >>> drift.to_dict()["drift_detected"]
    False

Every string that came from people is escaped in `_repr_html_`. `to_dict` gives strict JSON: instants as ISO text, None
where something could not be computed, and why in `reasons`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from lazy_dataclass import dataclass
from stats.data_drift import FeatureDrift
from stats.formatting import format_percent

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

__all__ = [
    "BaselineRecord",
    "ControlPoint",
    "DataDrift",
    "FeatureDrift",
    "FeatureHistory",
    "Gap",
    "MetricSummary",
    "MonitoringReport",
    "MultivariateDrift",
    "PerformanceDrift",
    "PointSeries",
    "Trend",
    "Violation",
    "to_plain",
]

FloatArray = npt.NDArray[np.float64]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_plain(value: Any) -> Any:
    """Return a result as JSON-safe values: dataclasses as dicts, instants as ISO text, NaN and infinities as None."""
    if isinstance(value, PointSeries):
        return [to_plain(point) for point in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str | int) or value is None:
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Sequence):
        return [to_plain(item) for item in value]
    raise TypeError(f"a result holds a {type(value).__name__}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRecord:
    """The frozen baseline of a metric.

    Attributes
    ----------
    method : {"individuals", "laney", "p"}
    source : {"explicit", "automatic"}
        Set by `set_baseline`, or taken from the first 30 points before a look-back.
    n : int
        Points.
    center, sigma : float
        In the metric's units; for proportions sigma is that of a point with the median prediction count.
    sigma_z : float or None
        Laney's factor for proportions.
    start_at, end_at : datetime
        First and last point.
    created_at : datetime or None
        When it was frozen; None while an automatic one still has fewer than 30 points.
    autocorrelation : float or None
        Lag 1, of the baseline points.
    """

    method: str
    source: str
    n: int
    center: float
    sigma: float
    sigma_z: float | None
    start_at: datetime
    end_at: datetime
    created_at: datetime | None
    autocorrelation: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPoint:
    """One point of a control chart.

    Attributes
    ----------
    at : datetime
    value : float
    lower, upper : float or None
        Limits; None while learning.
    z : float or None
        Deviation from the centre in sigmas; None while learning, when sigma is 0, or beyond 64-bit floats.
    prediction_count : int or None
    """

    at: datetime
    value: float
    lower: float | None
    upper: float | None
    z: float | None
    prediction_count: int | None


@dataclass(frozen=True, slots=True, eq=False)
class PointSeries(Sequence[ControlPoint]):
    """Points kept as arrays and made into `ControlPoint` objects when they are looked at.

    Attributes
    ----------
    times : ndarray of int64, shape (n,)
        Microseconds since 1970, UTC.
    values, lower, upper, z, counts : ndarray of float, shape (n,)
        NaN where there is none.
    ewma, cusum_high, cusum_low : ndarray of float, shape (n,)
        In sigmas.
    """

    times: npt.NDArray[np.int64]
    values: FloatArray
    lower: FloatArray
    upper: FloatArray
    z: FloatArray
    counts: FloatArray
    ewma: FloatArray
    cusum_high: FloatArray
    cusum_low: FloatArray

    def __len__(self) -> int:
        return int(self.times.size)

    @overload
    def __getitem__(self, index: int) -> ControlPoint: ...
    @overload
    def __getitem__(self, index: slice) -> PointSeries: ...
    def __getitem__(self, index: int | slice) -> ControlPoint | PointSeries:
        if isinstance(index, slice):
            return PointSeries(*(getattr(self, f.name)[index] for f in dataclasses.fields(self)))
        return ControlPoint(
            at=_EPOCH + timedelta(microseconds=int(self.times[index])),
            value=float(self.values[index]),
            lower=_number(self.lower[index]),
            upper=_number(self.upper[index]),
            z=_number(self.z[index]),
            prediction_count=None if math.isnan(self.counts[index]) else int(self.counts[index]),
        )

    def __iter__(self) -> Iterator[ControlPoint]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PointSeries):
            return NotImplemented
        names = [f.name for f in dataclasses.fields(self)]
        return all(np.array_equal(getattr(self, k), getattr(other, k), equal_nan=True) for k in names)

    def __repr__(self) -> str:
        return f"<{len(self)} points>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that fired at a point.

    Attributes
    ----------
    at : datetime
    value : float
    rule : str
        "3-sigma", "ewma", "cusum", "nelson-2", "western-electric-5", or "constant"
        (a baseline without variance was left).
    z : float or None
    direction : {"degradation", "improvement", "change"}
        "change" where it is not known which way is better, or the rule has no side. Improvements only inform.
    """

    at: datetime
    value: float
    rule: str
    z: float | None
    direction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A trend by least squares and by Mann-Kendall, which must agree.

    Attributes
    ----------
    direction : {"degrading", "improving", "changing", "none"}
        "none" unless both tests are significant with slopes of one sign; "changing" when better is not known.
    significant : bool
    material : bool
        Whether the change over the span is at least one sigma of the baseline: significance alone is not degradation.
    slope_per_day, sen_slope_per_day : float
        Metric units per day.
    sen_slope_lower, sen_slope_upper : float or None
        95 % confidence interval of Sen's slope.
    p_value, mann_kendall_p_value : float or None
    tau : float
    n : int
    start_at, end_at : datetime
    intercept_at_end : float
        Value of the fitted line at `end_at`.
    threshold : float or None
        What `days_until_threshold` refers to: as given, or the control limit on the worse side.
    days_until_threshold : float or None
        None when the line does not move towards it, or is not significant.
    """

    direction: str
    significant: bool
    material: bool
    slope_per_day: float
    sen_slope_per_day: float
    sen_slope_lower: float | None
    sen_slope_upper: float | None
    p_value: float | None
    mann_kendall_p_value: float | None
    tau: float
    n: int
    start_at: datetime
    end_at: datetime
    intercept_at_end: float
    threshold: float | None
    days_until_threshold: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch without points, over three times the usual spacing.

    Attributes
    ----------
    start_at, end_at : datetime
        The points on both sides.
    """

    start_at: datetime
    end_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceDrift:
    """A metric of one version judged against its frozen baseline.

    Attributes
    ----------
    name, version, metric : str
    segment : str or None
    status : {"no_data", "learning", "in_control", "improved", "drift"}
        "learning" while the baseline has fewer than 8 points.
    drift_detected : bool
        Whether a point of the look-back violates a rule other than by being better.
    center, sigma : float or None
        Of the baseline; None without one.
    points : sequence of ControlPoint
        The look-back, in the order of time.
    history : sequence of ControlPoint
        Earlier points, the baseline's among them; for figures, not judged.
    violations : tuple of Violation
        In the order of time.
    violation_rate : float or None
        Share of the look-back's points with a violation; None without judged points.
    baseline : BaselineRecord or None
    better : {"higher", "lower"} or None
    trend : Trend or None
        None with fewer than 8 points after the baseline.
    change_point : datetime or None
        First point of the new level, where Pettitt's test finds one (p < .05).
    change_p_value : float or None
    gaps : tuple of Gap
    start_at, end_at : datetime or None
        The look-back; it ends at the newest point unless told otherwise.
    ewma_limit, cusum_limit : float or None
        In sigmas.
    reasons : tuple of str
        What was found and what could not be computed.
    """

    name: str
    version: str
    metric: str
    segment: str | None = None
    status: str
    drift_detected: bool
    center: float | None
    sigma: float | None
    points: PointSeries
    history: PointSeries
    violations: tuple[Violation, ...]
    violation_rate: float | None
    baseline: BaselineRecord | None
    better: str | None
    trend: Trend | None
    change_point: datetime | None
    change_p_value: float | None
    gaps: tuple[Gap, ...]
    start_at: datetime | None
    end_at: datetime | None
    ewma_limit: float | None
    cusum_limit: float | None
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-safe values; the history is left out."""
        return {f.name: to_plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "history"}

    def to_frame(self) -> pd.DataFrame:
        """Return the look-back's points: at, value, lower, upper, z, prediction_count, rules."""
        import pandas as pd

        rules: dict[tuple[datetime, float], list[str]] = {}
        for violation in self.violations:
            rules.setdefault((violation.at, violation.value), []).append(violation.rule)
        rows = [
            {f.name: getattr(p, f.name) for f in dataclasses.fields(p)}
            | {"rules": ", ".join(rules.get((p.at, p.value), []))}
            for p in self.points
        ]
        columns = ["at", "value", "lower", "upper", "z", "prediction_count", "rules"]
        return pd.DataFrame(rows, columns=columns)

    def plot(self) -> go.Figure:
        """Return the control chart."""
        from charts.monitoring import plot_control_chart

        return plot_control_chart(self)

    def _repr_html_(self) -> str:
        rows = [
            ("status", self.status),
            ("centre line", _text(self.center)),
            ("sigma", _text(self.sigma)),
            ("points", str(len(self.points))),
            ("violations", str(len(self.violations))),
            ("violation rate", "" if self.violation_rate is None else format_percent(self.violation_rate)),
        ]
        heading = f"{self.metric} of {self.name} {self.version}"
        listed = [(f"{v.at:%Y-%m-%d %H:%M}", _text(v.value), v.rule, _text(v.z), v.direction) for v in self.violations]
        tables = _table(None, rows)
        if listed:
            tables += _table(("time (UTC)", "value", "rule", "z", "direction"), listed[:50])
        return f"<div><b>{escape(heading)}</b>{tables}{_list(self.reasons)}</div>"


@dataclass(frozen=True, slots=True, kw_only=True)
class MultivariateDrift:
    """Drift of the features together.

    Attributes
    ----------
    method : {"domain_classifier", "pca"}
    drifted : bool or None
        None when it could not be computed.
    statistic : float or None
        Cross-validated area under the curve of a classifier that tells reference from current (.5: it cannot), or the
        mean reconstruction error of the current rows in standard errors of the reference's.
    p_value : float or None
    threshold : float or None
        What the statistic must reach besides p < .01.
    reason : str
    """

    method: str
    drifted: bool | None
    statistic: float | None
    p_value: float | None
    threshold: float | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDrift:
    """All features of the current data against the reference.

    Attributes
    ----------
    drift_detected : bool
        Whether any feature drifted.
    features : dict of str to FeatureDrift
        By name, the most drifted first.
    n_reference, n_current : int
        Rows.
    alpha : float
        False discovery rate across features.
    reasons : tuple of str
        What was insufficient.
    multivariate : MultivariateDrift or None
    name, version : str or None
        For stored profiles.
    start_at, end_at : datetime or None
        Window of the current data, for stored profiles.
    """

    drift_detected: bool
    features: dict[str, FeatureDrift]
    n_reference: int
    n_current: int
    alpha: float
    reasons: tuple[str, ...]
    multivariate: MultivariateDrift | None = None
    name: str | None = None
    version: str | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None

    @property
    def drifted_features(self) -> list[str]:
        """Names of the features that drifted, the most drifted first."""
        return [name for name, feature in self.features.items() if feature.drifted]

    @property
    def drift_share(self) -> float | None:
        """Share of the features with a verdict that drifted; None without any."""
        judged = [feature.drifted for feature in self.features.values() if feature.drifted is not None]
        return sum(judged) / len(judged) if judged else None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-safe values."""
        return dict(to_plain(self)) | {"drift_share": self.drift_share}

    def to_frame(self) -> pd.DataFrame:
        """Return one row a feature, without the histograms."""
        import pandas as pd

        hidden = {"bins", "reference_shares", "current_shares"}
        names = [f.name for f in dataclasses.fields(FeatureDrift) if f.name not in hidden]
        rows = [{name: getattr(feature, name) for name in names} for feature in self.features.values()]
        return pd.DataFrame(rows, columns=names)

    def plot(self, feature: str | None = None) -> go.Figure:
        """Return the features ranked by drift, or the distributions of one feature."""
        from charts.monitoring import plot_drift_ranking, plot_feature

        if feature is None:
            return plot_drift_ranking(self)
        if feature not in self.features:
            raise LookupError(f"no feature named {feature!r}; known: {', '.join(sorted(self.features)) or 'none'}")
        return plot_feature(self.features[feature])

    def _repr_html_(self) -> str:
        head = ("feature", "status", "drifted", "PSI", "threshold", "p adjusted", "reason")
        rows = [
            (
                f.feature,
                f.status,
                {True: "yes", False: "no", None: "no verdict"}[f.drifted],
                _text(f.psi),
                _text(f.psi_threshold),
                _text(f.p_adjusted),
                f.reason,
            )
            for f in list(self.features.values())[:100]
        ]
        verdict = f"{len(self.drifted_features)} of {len(self.features)} features drifted"
        return f"<div><b>{escape(verdict)}</b>{_table(head, rows)}{_list(self.reasons)}</div>"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureHistory:
    """The population stability index of every feature in every window of a period.

    Attributes
    ----------
    name, version : str
    bucket : {"hour", "day", "week", "month"}
    features : tuple of str
        The most drifted first.
    windows : tuple of datetime
        Starts of the windows, without holes.
    psi : tuple of tuple of float or None
        A row a feature, a column a window; None where nothing could be compared.
    drifted : tuple of tuple of bool or None
        Verdicts, adjusted across the features of the same window.
    n_rows : tuple of int
        Rows of each window.
    """

    name: str
    version: str
    bucket: str
    features: tuple[str, ...]
    windows: tuple[datetime, ...]
    psi: tuple[tuple[float | None, ...], ...]
    drifted: tuple[tuple[bool | None, ...], ...]
    n_rows: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON-safe values."""
        return dict(to_plain(self))

    def to_frame(self) -> pd.DataFrame:
        """Return one row for a feature and window: feature, at, psi, drifted, n_rows."""
        import pandas as pd

        rows = [
            {
                "feature": feature,
                "at": at,
                "psi": self.psi[i][j],
                "drifted": self.drifted[i][j],
                "n_rows": self.n_rows[j],
            }
            for i, feature in enumerate(self.features)
            for j, at in enumerate(self.windows)
        ]
        return pd.DataFrame(rows, columns=["feature", "at", "psi", "drifted", "n_rows"])

    def plot(self) -> go.Figure:
        """Return the heat map, feature by window."""
        from charts.monitoring import plot_psi_heatmap

        return plot_psi_heatmap(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSummary:
    """One metric in a report.

    Attributes
    ----------
    metric : str
    segment : str or None
    n_points : int
        In the period.
    last_value : float or None
    last_at : datetime or None
    mean : float or None
        Weighted by prediction counts where every point has one.
    prediction_count : int
        Sum over the period.
    drift : PerformanceDrift
    """

    metric: str
    segment: str | None
    n_points: int
    last_value: float | None
    last_at: datetime | None
    mean: float | None
    prediction_count: int
    drift: PerformanceDrift


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringReport:
    """Everything that is known of a version's life in a period.

    Attributes
    ----------
    name, version : str
    version_id : str or None
        Public id in the registry, when the version is registered.
    start_at, end_at : datetime
        The period; it ends at the newest data unless told otherwise.
    created_at : datetime
    status : {"no_data", "learning", "ok", "drift"}
    verdict : str
        One sentence.
    metrics : tuple of MetricSummary
    data_drift : DataDrift or None
        Against the stored reference; None without one.
    total_predictions : int
        The largest sum of prediction counts of any metric in the period, or the logged predictions if there are more.
    n_predictions_logged, n_labelled : int
        From `log_predictions`, in the period.
    model_size_bytes : int or None
        From the registry.
    open_alerts : int
    reasons : tuple of str
        What was insufficient, old or missing.
    features_error : str or None
        Why the stored profiles of the features could not be read; the metrics are judged all the same.
    """

    name: str
    version: str
    version_id: str | None
    start_at: datetime
    end_at: datetime
    created_at: datetime
    status: str
    verdict: str
    metrics: tuple[MetricSummary, ...]
    data_drift: DataDrift | None
    total_predictions: int
    n_predictions_logged: int
    n_labelled: int
    model_size_bytes: int | None
    open_alerts: int
    reasons: tuple[str, ...] = field(default=())
    features_error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-safe values."""
        plain = {f.name: to_plain(getattr(self, f.name)) for f in dataclasses.fields(self) if f.name != "metrics"}
        plain["metrics"] = [
            {f.name: to_plain(getattr(m, f.name)) for f in dataclasses.fields(m) if f.name != "drift"}
            | {"drift": m.drift.to_dict()}
            for m in self.metrics
        ]
        return plain

    def to_frame(self) -> pd.DataFrame:
        """Return one row a metric: last value, limits, violations, trend."""
        import pandas as pd

        rows = []
        for m in self.metrics:
            last = m.drift.points[-1] if len(m.drift.points) else None
            rows.append(
                {
                    "metric": m.metric,
                    "segment": m.segment,
                    "status": m.drift.status,
                    "n_points": m.n_points,
                    "last_at": m.last_at,
                    "last_value": m.last_value,
                    "mean": m.mean,
                    "center": m.drift.center,
                    "lower": last.lower if last else None,
                    "upper": last.upper if last else None,
                    "n_violations": len(m.drift.violations),
                    "violation_rate": m.drift.violation_rate,
                    "trend": m.drift.trend.direction if m.drift.trend else None,
                    "slope_per_day": m.drift.trend.slope_per_day if m.drift.trend else None,
                    "prediction_count": m.prediction_count,
                }
            )
        return pd.DataFrame(rows)

    def to_html(self, path: str | Path | None = None, *, include_plotly: bool = True) -> str:
        """Return the report as one self-contained HTML page, and write it to a file when a path is given.

        Parameters
        ----------
        path : str or Path, optional
            An existing file is replaced.
        include_plotly : bool
            Whether the page carries plotly.js (about 5 MB) to draw its figures; without it the figures are left out.
        """
        from charts.monitoring_report import report_page

        page: str = report_page(self, include_plotly=include_plotly)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def plot(self) -> go.Figure:
        """Return the control chart of the metric that needs attention most."""
        from charts.monitoring import plot_control_chart, plot_no_data

        order = {"drift": 0, "improved": 1, "in_control": 2, "learning": 3, "no_data": 4}
        if not self.metrics:
            return plot_no_data(self.verdict)
        return plot_control_chart(min(self.metrics, key=lambda m: order[m.drift.status]).drift)

    def _repr_html_(self) -> str:
        head = ("metric", "status", "last value", "centre", "violations", "trend")
        rows = [
            (
                m.metric if m.segment is None else f"{m.metric} ({m.segment})",
                m.drift.status,
                _text(m.last_value),
                _text(m.drift.center),
                str(len(m.drift.violations)),
                m.drift.trend.direction if m.drift.trend else "",
            )
            for m in self.metrics
        ]
        period = f"{self.start_at:%Y-%m-%d} to {self.end_at:%Y-%m-%d}, {self.total_predictions:,} predictions"
        body = f"<b>{escape(self.name)} {escape(self.version)}</b>: {escape(self.verdict)}<br>{escape(period)}"
        body += _table(head, rows) if rows else ""
        if self.data_drift is not None:
            body += self.data_drift._repr_html_()
        return f"<div>{body}{_list(self.reasons)}</div>"


def _number(value: Any) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _table(head: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> str:
    top = "" if head is None else "<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{top}{body}</table>"


def _list(items: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>" if items else ""
