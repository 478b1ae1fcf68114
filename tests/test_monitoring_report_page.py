"""The exported page of a monitoring report: every cell is that of its metric, violation or feature."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import numpy as np
import pytest

from charts import monitoring_report
from charts.monitoring_report import report_page
from model_monitoring import ModelMonitoring

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOSTILE = "</script><img src=x onerror=1>"


class Tables(HTMLParser):
    """The tables of a page, as lists of rows of text."""

    def __init__(self, page):
        super().__init__()
        self.tables, self._in_cell = [], False
        self.feed(re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL))

    def handle_starttag(self, tag, attrs):
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in {"td", "th"}:
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self._in_cell = False

    def handle_data(self, data):
        if self._in_cell:
            self.tables[-1][-1][-1] += data

    def named(self, *headings):
        """Return the rows of the table that begins with these columns by their first cell, each a dictionary."""
        (table,) = [t for t in self.tables if tuple(t[0][: len(headings)]) == headings]
        return {row[0]: dict(zip(table[0], row, strict=True)) for row in table[1:]}


@pytest.fixture
def report(database):
    monitoring, draw = ModelMonitoring(database), np.random.default_rng(7)
    for day in range(40):
        at, low = NOW + timedelta(days=day), 0.05 if day >= 35 else 0.0
        monitoring.log_performance("m", "1", "accuracy", 0.92 + 0.004 * draw.standard_normal() - low, 1_000, at=at)
        monitoring.log_performance("m", "1", "latency_ms", 180 + 12 * draw.standard_normal(), at=at, segment="eu")
    monitoring.log_performance("m", "1", HOSTILE, 0.5, at=NOW + timedelta(days=39))
    monitoring.set_reference("m", "1", {"age": draw.normal(40, 9, 900), "flat": draw.normal(0, 1, 900)})
    current = {"age": draw.normal(60, 9, 400), "flat": draw.normal(0, 1, 400)}
    monitoring.log_features("m", "1", current, at=NOW + timedelta(days=38))
    return monitoring.generate_monitoring_report("m", "1", days=7, lookback_days=7)


def by_name(report, name):
    return next(m for m in report.metrics if m.metric == name)


def test_each_metric_has_its_own_numbers(report):
    rows = Tables(report_page(report, include_plotly=False)).named("Metric", "Status")
    accuracy = by_name(report, "accuracy")
    row, last = rows["accuracy"], accuracy.drift.points[-1]
    assert next(iter(rows)) == "accuracy"  # the worst first
    assert row["Status"] == "drift"
    assert float(row["Last value"]) == pytest.approx(accuracy.last_value, rel=1e-3)
    assert row["At"] == f"{accuracy.last_at:%Y-%m-%d %H:%M}"
    assert float(row["Centre"]) == pytest.approx(accuracy.drift.center, rel=1e-3)
    low, high = row["Limits"].split(" to ")
    assert (float(low), float(high)) == (pytest.approx(last.lower, rel=1e-3), pytest.approx(last.upper, rel=1e-3))
    assert row["Points"] == f"{accuracy.n_points}"
    assert row["Violations"].startswith(f"{len(accuracy.drift.violations)} (")
    assert row["Trend a day"] == f"−{abs(accuracy.drift.trend.slope_per_day):.4g} (degrading)"
    assert row["Baseline"].startswith(f"{accuracy.drift.baseline.n} points, laney")
    assert rows["latency_ms (eu)"]["Status"] == "in control"
    assert rows[HOSTILE]["Limits"] == rows[HOSTILE]["Centre"] == ""  # nothing instead of None or nan


def test_each_violation_is_listed_by_its_rule_in_words(report, monkeypatch):
    accuracy = by_name(report, "accuracy").drift
    table = next(t for t in Tables(report_page(report, include_plotly=False)).tables if t[0][3:4] == ["Rule"])
    assert table[0] == ["Metric", "Time", "Value", "Rule", "z", "Direction"]
    assert len(table) - 1 == len(accuracy.violations)
    first = accuracy.violations[0]
    assert table[1][:2] == ["accuracy", f"{first.at:%Y-%m-%d %H:%M}"]
    assert float(table[1][2]) == pytest.approx(first.value, rel=1e-3)
    assert float(table[1][4].replace("−", "-")) == pytest.approx(first.z, rel=1e-3)
    assert {row[3] for row in table[1:]} == {"3 sigma", "EWMA", "CUSUM"}
    assert {row[5] for row in table[1:]} == {"degradation"}
    monkeypatch.setattr(monitoring_report, "LISTED_VIOLATIONS", 2)
    assert f"<p>and {len(accuracy.violations) - 2} more</p>" in report_page(report, include_plotly=False)


def test_each_feature_has_its_own_verdict(report):
    rows = Tables(report_page(report, include_plotly=False)).named("Feature", "Verdict")
    age, flat = (report.data_drift.features[name] for name in ("age", "flat"))
    assert (rows["age"]["Verdict"], rows["flat"]["Verdict"]) == ("drifted", "no drift")
    assert float(rows["age"]["PSI"]) == pytest.approx(age.psi, rel=1e-3)
    assert float(rows["age"]["Threshold"]) == pytest.approx(age.psi_threshold, rel=1e-3)
    assert rows["age"]["p adjusted"] == "< 0.0001"
    assert float(rows["flat"]["p adjusted"]) == pytest.approx(flat.p_adjusted, rel=1e-3)
    assert rows["age"]["Rows"] == "900 / 400"
    assert rows["age"]["Reason"] == age.reason


def test_facts_and_notes_stand_on_the_page(report):
    page = report_page(report, include_plotly=False)
    facts = {row[0]: row[1] for row in Tables(page).tables[0]}
    assert facts["Predictions"] == f"{report.total_predictions:,}"
    assert facts["Logged one by one"] == "0, of which 0 have a label"
    assert facts["Model size"] == "not registered"
    assert facts["Open alerts"] == "0"
    assert f'<p class="verdict drift">{report.verdict}</p>' in page
    assert "learning: 0 baseline points" in page
    sized = dataclasses.replace(report, model_size_bytes=1_234, open_alerts=3, n_predictions_logged=9, n_labelled=4)
    facts = {row[0]: row[1] for row in Tables(report_page(sized, include_plotly=False)).tables[0]}
    assert (facts["Model size"], facts["Open alerts"]) == ("1,234 bytes", "3")
    assert facts["Logged one by one"] == "9, of which 4 have a label"


def test_figures_come_with_their_words_and_no_name_ends_the_script(report, monkeypatch):
    page = report_page(report)
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page)
    assert captions[0].startswith("Control chart of accuracy: 7 judged points")
    assert any("1 of 2 features drifted" in caption for caption in captions)
    assert any(caption.startswith("Distributions of age") for caption in captions)
    assert HOSTILE not in page
    assert page.count("Plotly.newPlot('figure-") == len(captions)
    assert "left out" not in page
    monkeypatch.setattr(monitoring_report, "FIGURE_BYTES", 10)
    bare = report_page(report)
    assert "<figcaption>" not in bare
    assert f"{len(captions)} figures were left out to keep this page small" in bare


def test_a_report_of_nothing_says_so(report):
    empty = dataclasses.replace(report, metrics=(), data_drift=None)
    page = report_page(empty, include_plotly=False)
    assert "<p>No metric was logged.</p>" in page
    assert "<p>No feature was compared.</p>" in page
    assert "<h2>Violations</h2>" not in page
