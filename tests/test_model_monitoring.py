"""Performance in production: what was logged comes back, limits come from a frozen baseline, alarms mean something."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from db import NotFoundError, StateError
from model_monitoring import ModelMonitoring

START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = ("churn", "1.0.0")


def log_days(
    monitoring: ModelMonitoring, values: list[float] | np.ndarray, metric: str = "auc", **more: object
) -> None:
    rows = [
        {
            "name": MODEL[0],
            "version": MODEL[1],
            "metric": metric,
            "value": float(v),
            "at": START + timedelta(days=i),
            **more,
        }
        for i, v in enumerate(values)
    ]
    assert monitoring.log_performances(rows) == len(rows)


def values_of(monitoring: ModelMonitoring, metric: str = "auc", **more: object) -> list[float]:
    return monitoring.performance_history(*MODEL, metric, **more)["value"].tolist()  # type: ignore[arg-type]


def noise(n: int, seed: int = 0, center: float = 0.8, sigma: float = 0.01) -> np.ndarray:
    return center + sigma * np.random.default_rng(seed).normal(size=n)


# -- logging ---------------------------------------------------------------------------------------------------


def test_points_come_back_exactly_in_the_order_of_time_however_they_were_logged(monitoring: ModelMonitoring) -> None:
    logged = [(3, 0.1 + 0.2), (1, -0.0), (2, 5e-324), (2, 1.7976931348623157e308)]
    for day, value in logged:
        assert monitoring.log_performance(*MODEL, "auc", value, at=START + timedelta(days=day))
    frame = monitoring.performance_history(*MODEL, "auc")
    assert frame["at"].tolist() == sorted(START + timedelta(days=day) for day, _ in logged)
    assert sorted(frame["value"]) == sorted(value for _, value in logged)


def test_a_repeated_event_id_changes_nothing_even_at_another_time(monitoring: ModelMonitoring) -> None:
    assert monitoring.log_performance(*MODEL, "auc", 0.9, event_id="run-7")
    assert not monitoring.log_performance(*MODEL, "auc", 0.1, event_id="run-7")
    assert monitoring.log_performance(*MODEL, "f1", 0.1, event_id="run-7")  # another series
    assert values_of(monitoring) == [0.9]
    row = {"name": MODEL[0], "version": MODEL[1], "metric": "auc", "value": 0.8, "event_id": "run-8"}
    assert monitoring.log_performances([row, row]) == 1


def test_equal_values_at_one_instant_are_all_kept(monitoring: ModelMonitoring) -> None:
    for _ in range(3):
        monitoring.log_performance(*MODEL, "auc", 0.9, at=START)
    assert values_of(monitoring) == [0.9] * 3


def test_instants_without_a_zone_are_utc_and_others_keep_their_instant(monitoring: ModelMonitoring) -> None:
    monitoring.log_performance(*MODEL, "auc", 0.9, at="2026-03-29T02:30:00")
    monitoring.log_performance(*MODEL, "auc", 0.9, at="2026-03-29T02:30:00+05:45")
    found = monitoring.performance_history(*MODEL, "auc")["at"].tolist()
    assert found == [datetime(2026, 3, 28, 20, 45, tzinfo=UTC), datetime(2026, 3, 29, 2, 30, tzinfo=UTC)]


def test_frames_and_mappings_store_the_same(monitoring: ModelMonitoring) -> None:
    rows = [
        {"metric": m, "value": v, "prediction_count": c, "at": START + timedelta(hours=i), "segment": s}
        for i, (m, v, c, s) in enumerate([("a", 0.5, 10, None), ("a", 0.25, None, "CH"), ("b", 1.0, 0, None)])
    ]
    assert monitoring.log_performances(rows, name="one", version="1") == 3
    assert monitoring.log_performances(pd.DataFrame(rows), name="two", version="1") == 3
    for metric, segment in (("a", None), ("a", "CH"), ("b", None)):
        one = monitoring.performance_history("one", "1", metric, segment=segment)
        two = monitoring.performance_history("two", "1", metric, segment=segment)
        pd.testing.assert_frame_equal(one, two)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": math.nan}, "value"),
        ({"value": math.inf}, "value"),
        ({"value": True}, "value"),
        ({"value": "0.9"}, "value"),
        ({"value": None}, "value"),
        ({"prediction_count": -1}, "prediction_count"),
        ({"prediction_count": 1.5}, "prediction_count"),
        ({"prediction_count": 2**63}, "prediction_count"),
        ({"metric": ""}, "metric"),
        ({"metric": "a\x00b"}, "metric"),
        ({"name": " "}, "name"),
        ({"name": "../x"}, "name"),
        ({"version": ""}, "version"),
        ({"at": "yesterday"}, "at"),
        ({"at": pd.NaT}, "at"),
        ({"event_id": ""}, "event_id"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_bad_row_is_refused_by_name_and_nothing_of_its_batch_is_stored(
    quick: ModelMonitoring, change: dict[str, object], words: str
) -> None:
    good = {"name": "m", "version": "1", "metric": "auc", "value": 0.5, "prediction_count": 3, "at": START}
    for rows in ([good, good | change], pd.DataFrame([good, good | change])):
        if (
            isinstance(rows, pd.DataFrame)
            and "extra" not in change
            and rows.isna().any().any()
            and "value" not in change
        ):
            continue  # a frame turns a missing instant into NaT and a missing count into NaN by itself
        with pytest.raises((ValueError, TypeError), match=words):
            quick.log_performances(rows)
    if "extra" not in change:
        with pytest.raises((ValueError, TypeError), match=words):
            quick.log_performance(**(good | change))  # type: ignore[arg-type]
    assert quick.list_monitored() == []


def test_numbers_of_other_types_are_stored_as_their_float(quick: ModelMonitoring) -> None:
    for value in (np.float32(0.5), np.int64(3), Fraction(1, 4)):
        quick.log_performance(*MODEL, "auc", value, at=START)  # type: ignore[arg-type]
    assert sorted(values_of(quick)) == [0.25, 0.5, 3.0]


def test_acknowledged_points_survive_the_death_of_the_process(tmp_path: Path) -> None:
    code = (
        "import os, sys; from model_monitoring import ModelMonitoring; m = ModelMonitoring(sys.argv[1]);"
        "[m.log_performance('churn', '1.0.0', 'auc', i) or print(i, flush=True) for i in range(50)];"
        "print('done', flush=True); os.kill(os.getpid(), 9)"
    )
    url = f"sqlite:///{tmp_path}/x.db"
    root = Path(__file__).resolve().parent.parent
    ended = subprocess.run(
        [sys.executable, "-c", code, url], cwd=root, capture_output=True, text=True, check=False, timeout=120
    )
    assert "done" in ended.stdout, ended.stderr
    assert sorted(values_of(ModelMonitoring(url))) == [float(i) for i in range(50)]


def test_unknown_names_are_errors_that_name_what_there_is(monitoring: ModelMonitoring) -> None:
    monitoring.log_performance(*MODEL, "auc", 0.9)
    with pytest.raises(NotFoundError, match="known: auc"):
        monitoring.detect_performance_drift(*MODEL, "acu")
    with pytest.raises(NotFoundError, match=r"known versions: 1\.0\.0"):
        monitoring.generate_monitoring_report("churn", "2.0.0")
    with pytest.raises(NotFoundError, match="known: churn"):
        monitoring.generate_monitoring_report("chrun", "1.0.0")


def test_buckets_weight_by_prediction_count_and_show_gaps(monitoring: ModelMonitoring) -> None:
    for hour, value, count in ((0, 0.9, 100), (5, 0.5, 300), (72, 0.8, 10)):
        monitoring.log_performance(*MODEL, "accuracy", value, count, at=START + timedelta(hours=hour))
    frame = monitoring.performance_history(*MODEL, "accuracy", bucket="day")
    assert frame["n_points"].tolist() == [2, 0, 0, 1]
    assert frame["value"].tolist()[0] == pytest.approx(0.6)
    assert frame["value"].isna().tolist() == [False, True, True, False]
    assert frame["prediction_count"].tolist()[0] == 400


# -- baselines and control charts ------------------------------------------------------------------------------


def test_fewer_than_eight_baseline_points_is_learning_and_says_so(monitoring: ModelMonitoring) -> None:
    log_days(monitoring, noise(14))
    drift = monitoring.detect_performance_drift(*MODEL, "auc", lookback_days=7)
    assert (drift.status, drift.drift_detected, drift.center, drift.violation_rate) == ("learning", False, None, None)
    assert any("7 baseline points" in reason for reason in drift.reasons)
    assert all(point.lower is None for point in drift.points)


def test_learning_counts_the_points_before_the_look_back(quick: ModelMonitoring) -> None:
    for n in (1, 2, 3):
        quick.log_performance(*MODEL, "auc", 0.8, at=START + timedelta(days=10 * n))
        assert quick.detect_performance_drift(*MODEL, "auc").reasons[0].startswith(f"learning: {n - 1} baseline points")


def test_limits_come_from_the_baseline_and_never_from_the_judged_points(quick: ModelMonitoring) -> None:
    base = noise(30)
    log_days(quick, [*base, *([0.2] * 7)])
    drift = quick.detect_performance_drift(*MODEL, "auc", lookback_days=6.5)
    sigma = np.abs(np.diff(base)).mean() / 1.128
    assert drift.center == pytest.approx(base.mean())
    assert drift.sigma == pytest.approx(sigma)
    assert drift.points[0].lower == pytest.approx(base.mean() - 3 * sigma)
    assert drift.points[0].z == pytest.approx((0.2 - base.mean()) / sigma)
    assert drift.status == "drift"
    assert drift.violation_rate == 1.0
    assert {violation.rule for violation in drift.violations} == {"3-sigma", "ewma", "cusum"}
    assert all(violation.direction == "degradation" for violation in drift.violations)


def test_an_automatic_baseline_is_frozen_at_thirty_points_and_moves_only_by_command(
    monitoring: ModelMonitoring,
) -> None:
    log_days(monitoring, noise(45))
    first = monitoring.detect_performance_drift(*MODEL, "auc")
    assert first.baseline is not None
    assert (first.baseline.n, first.baseline.source) == (30, "automatic")
    monitoring.log_performances(
        [{"name": MODEL[0], "version": MODEL[1], "metric": "auc", "value": 0.5, "at": START - timedelta(days=1)}]
    )
    again = monitoring.detect_performance_drift(*MODEL, "auc")
    assert again.center == first.center
    explicit = monitoring.set_baseline(*MODEL, "auc", start=START + timedelta(days=5), end=START + timedelta(days=20))
    assert explicit.n == 16
    assert monitoring.detect_performance_drift(*MODEL, "auc").center == explicit.center
    history = monitoring.baseline_history(*MODEL, "auc")
    assert [record.source for record in history] == ["automatic", "explicit"]
    assert history[-1] == explicit


def test_a_baseline_needs_eight_points(monitoring: ModelMonitoring) -> None:
    log_days(monitoring, noise(7))
    with pytest.raises(StateError, match="needs at least 8 points, the period has 7"):
        monitoring.set_baseline(*MODEL, "auc")
    assert monitoring.baseline_history(*MODEL, "auc") == []


def test_short_baselines_have_wider_limits(quick: ModelMonitoring) -> None:
    log_days(quick, noise(20))
    drift = quick.detect_performance_drift(*MODEL, "auc", lookback_days=9.5)
    assert drift.baseline is not None
    assert drift.baseline.n == 10
    point = drift.points[0]
    assert (point.upper - point.lower) / 2 / drift.sigma == pytest.approx(
        4.294, abs=6e-4
    )  # t(.99865, 9) sqrt(1 + 1/10)
    assert any("widened" in reason for reason in drift.reasons)


def test_improvement_informs_and_degradation_alarms(quick: ModelMonitoring) -> None:
    log_days(quick, [*noise(35), *([0.95] * 7)], metric="auc")
    log_days(quick, [*noise(35), *([0.95] * 7)], metric="log_loss")
    log_days(quick, [*noise(35), *([0.95] * 7)], metric="something")
    found = {m: quick.detect_performance_drift(*MODEL, m) for m in ("auc", "log_loss", "something")}
    assert [found[m].status for m in found] == ["improved", "drift", "drift"]
    assert not found["auc"].drift_detected
    assert {v.direction for v in found["something"].violations} == {"change"}
    told = quick.detect_performance_drift(*MODEL, "something", higher_is_better=True)
    assert told.status == "improved"


def test_proportions_with_counts_get_laney_limits_for_each_point(quick: ModelMonitoring) -> None:
    rng = np.random.default_rng(3)
    rows = []
    for day in range(60):
        n = 500 if day % 2 else 2_000
        rate = rng.normal(0.9, 0.02)  # more spread than binomial
        rows.append(
            {
                "metric": "accuracy",
                "value": rng.binomial(n, rate) / n,
                "prediction_count": n,
                "at": START + timedelta(days=day),
            }
        )
    quick.log_performances(rows, name=MODEL[0], version=MODEL[1])
    drift = quick.detect_performance_drift(*MODEL, "accuracy", charts=["3-sigma"])
    assert drift.baseline is not None
    assert drift.baseline.method == "laney"
    assert drift.baseline.sigma_z > 1.5
    widths = {point.prediction_count: point.upper - point.lower for point in drift.points}
    assert widths[500] > widths[2_000]
    plain = quick.set_baseline(*MODEL, "accuracy", points=30, method="p")
    assert plain.sigma_z == 1.0
    wide = quick.detect_performance_drift(*MODEL, "accuracy", lookback_days=30, charts=["3-sigma"])
    assert len(wide.violations) > len(drift.violations)


def test_a_baseline_without_variance_flags_what_leaves_it_without_inventing_a_z(quick: ModelMonitoring) -> None:
    log_days(quick, [*([0.9] * 30), *([0.9] * 5), 0.8, 0.9])
    drift = quick.detect_performance_drift(*MODEL, "auc", lookback_days=6.5)
    assert [(v.rule, v.z, v.value) for v in drift.violations] == [("constant", None, 0.8)]
    assert json.loads(json.dumps(drift.to_dict(), allow_nan=False))["sigma"] == 0.0


def test_autocorrelation_is_said(quick: ModelMonitoring) -> None:
    rng = np.random.default_rng(1)
    walk = [0.0]
    for _ in range(79):
        walk.append(0.9 * walk[-1] + rng.normal())
    log_days(quick, np.array(walk))
    quick.set_baseline(*MODEL, "auc", points=70)
    drift = quick.detect_performance_drift(*MODEL, "auc")
    assert drift.baseline is not None
    assert drift.baseline.autocorrelation > 0.5
    assert any("autocorrelated" in reason for reason in drift.reasons)


def test_a_trend_counts_when_both_tests_agree_and_says_when_the_limit_is_reached(quick: ModelMonitoring) -> None:
    log_days(quick, [*noise(30, sigma=0.02), *(0.8 - 0.003 * np.arange(10) + noise(10, 5, 0.0, 0.001))])
    trend = quick.detect_performance_drift(*MODEL, "auc", lookback_days=9.5).trend
    assert trend is not None
    assert (trend.direction, trend.significant, trend.n) == ("degrading", True, 10)
    assert trend.slope_per_day == pytest.approx(-0.003, abs=3e-4)
    assert trend.days_until_threshold == pytest.approx((trend.threshold - trend.intercept_at_end) / trend.slope_per_day)
    flat = quick.detect_performance_drift(*MODEL, "auc", lookback_days=9.5, end=START + timedelta(days=29)).trend
    assert flat is None or not flat.significant


def test_a_change_of_level_is_dated(quick: ModelMonitoring) -> None:
    log_days(quick, [*noise(30), *noise(20, 1, center=0.75)])
    drift = quick.detect_performance_drift(*MODEL, "auc")
    assert drift.change_point is not None
    assert abs((drift.change_point - (START + timedelta(days=30))).days) <= 1


def test_gaps_in_time_are_reported_and_interrupt_the_line(quick: ModelMonitoring) -> None:
    days = [*range(35), 45, 46, 47]
    rows = [
        {"metric": "auc", "value": v, "at": START + timedelta(days=d)} for d, v in zip(days, noise(38), strict=True)
    ]
    quick.log_performances(rows, name=MODEL[0], version=MODEL[1])
    drift = quick.detect_performance_drift(*MODEL, "auc", lookback_days=10)
    assert [(gap.start_at, gap.end_at) for gap in drift.gaps] == [
        (START + timedelta(days=34), START + timedelta(days=45))
    ]
    lines = [trace for trace in drift.plot().data if trace.name == "in the window"]
    assert any(value is None for value in lines[0].y)


@pytest.mark.parametrize("days", [0, -1, math.nan, math.inf, "7", True, 1e9])
def test_a_nonsense_look_back_is_refused(quick: ModelMonitoring, days: object) -> None:
    log_days(quick, noise(3))
    with pytest.raises((ValueError, TypeError), match="lookback_days"):
        quick.detect_performance_drift(*MODEL, "auc", lookback_days=days)  # type: ignore[arg-type]


# -- predictions -----------------------------------------------------------------------------------------------


def test_labels_find_their_predictions_before_and_after_them(monitoring: ModelMonitoring) -> None:
    ids = monitoring.log_predictions(*MODEL, ["yes", "no", "yes"], probabilities=[0.9, 0.8, 0.7], at=START)
    assert monitoring.log_labels(*MODEL, {ids[0]: "yes", "later": "no", ids[1]: "yes"}) == 2
    monitoring.log_predictions(*MODEL, ["no"], prediction_ids=["later"], at=START + timedelta(days=1))
    found = monitoring.prediction_performance(*MODEL, positive="yes")
    assert [(b.n, b.n_labelled, b.scores["accuracy"]) for b in found.buckets] == [(3, 2, 0.5), (1, 1, 1.0)]
    assert found.buckets[0].estimated.accuracy == pytest.approx(0.8)
    monitoring.log_labels(*MODEL, {ids[1]: "no"})  # corrected
    assert monitoring.prediction_performance(*MODEL).total.scores["accuracy"] == 1.0


def test_a_repeated_prediction_changes_nothing(monitoring: ModelMonitoring) -> None:
    monitoring.log_predictions(*MODEL, ["a"], prediction_ids=["1"])
    monitoring.log_predictions(*MODEL, ["b", "c"], prediction_ids=["1", "2"])
    monitoring.log_labels(*MODEL, {"1": "a", "2": "c"})
    total = monitoring.prediction_performance(*MODEL).total
    assert (total.n, total.scores["accuracy"]) == (2, 1.0)


def test_classes_are_one_whatever_their_type_and_regressions_are_numbers(quick: ModelMonitoring) -> None:
    quick.log_predictions("c", "1", [1, np.int64(1), 1.0, "1", True], labels=["1", 1, 1, 1, True])
    assert quick.prediction_performance("c", "1").total.scores["accuracy"] == 1.0
    x = np.linspace(0.1, 5, 40)
    quick.log_predictions("r", "1", x, labels=x + 1)
    found = quick.prediction_performance("r", "1")
    assert (found.task, found.total.scores["mae"]) == ("regression", pytest.approx(1.0))


@pytest.mark.parametrize(("predictions", "labels"), [([1, 0, 1], [True, False, True]), ([True, False], [1, 0])])
def test_zero_and_one_are_the_booleans_where_both_were_logged(
    quick: ModelMonitoring, predictions: list[object], labels: list[object]
) -> None:
    quick.log_predictions(*MODEL, predictions, labels=labels)
    for positive in (1, True):
        scores = quick.prediction_performance(*MODEL, positive=positive).total.scores
        assert (scores["accuracy"], scores["precision"], scores["recall"]) == (1.0, 1.0, 1.0)


def test_labels_that_are_never_predicted_are_said_to_be_strangers(quick: ModelMonitoring) -> None:
    quick.log_predictions(*MODEL, ["yes", "no"], labels=["Yes", "No"])
    found = quick.prediction_performance(*MODEL)
    assert found.total.scores["accuracy"] == 0.0
    assert found.reasons[0].startswith("labels ('No', 'Yes') and predictions ('no', 'yes') have no class in common")
    quick.log_labels(*MODEL, {quick.log_predictions(*MODEL, ["yes"], prediction_ids=["p"])[0]: "no"})
    assert not any("in common" in reason for reason in quick.prediction_performance(*MODEL).reasons)


def test_estimated_accuracy_meets_the_realised_one_for_a_calibrated_classifier_only(quick: ModelMonitoring) -> None:
    rng = np.random.default_rng(8)
    p = rng.uniform(0.5, 1.0, 3_000)
    hit = rng.uniform(size=p.size) < p
    quick.log_predictions(*MODEL, ["y"] * p.size, probabilities=p, labels=np.where(hit, "y", "n"))
    good = quick.prediction_performance(*MODEL)
    assert good.calibration.calibrated
    assert abs(good.total.estimated.accuracy - good.total.scores["accuracy"]) < 3 * good.total.estimated.standard_error
    quick.log_predictions(
        "bold", "1", ["y"] * p.size, probabilities=np.minimum(1, p + 0.15), labels=np.where(hit, "y", "n")
    )
    bad = quick.prediction_performance("bold", "1")
    assert not bad.calibration.calibrated
    assert any("do not trust" in reason for reason in bad.reasons)


@pytest.mark.parametrize(
    "bad",
    [
        {"predictions": ["a", float("nan")]},
        {"predictions": [None]},
        {"predictions": "abc"},
        {"predictions": ["a"], "probabilities": [1.2]},
        {"predictions": ["a"], "probabilities": [0.5, 0.5]},
        {"predictions": ["a"], "prediction_ids": [""]},
        {"predictions": ["a"], "at": ["never"]},
    ],
)
def test_bad_predictions_are_refused_as_a_whole(quick: ModelMonitoring, bad: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        quick.log_predictions(*MODEL, **bad)  # type: ignore[arg-type]
    assert quick.list_monitored() == []


# -- reports ---------------------------------------------------------------------------------------------------


def test_a_report_sums_up_everything_and_is_strict_json(monitoring: ModelMonitoring) -> None:
    log_days(monitoring, [*noise(40), *([0.2] * 5)], prediction_count=100)
    rng = np.random.default_rng(0)
    monitoring.set_reference(*MODEL, {"x": rng.normal(size=300), "y": rng.normal(size=300)})
    monitoring.log_features(
        *MODEL, {"x": rng.normal(2, 1, 300), "y": rng.normal(size=300)}, at=START + timedelta(days=44)
    )
    report = monitoring.generate_monitoring_report(*MODEL, days=30)
    assert report.status == "drift"
    assert report.total_predictions == 3_000
    assert report.end_at == START + timedelta(days=44)
    (summary,) = report.metrics
    assert (summary.metric, summary.last_value, summary.n_points) == ("auc", 0.2, 30)
    assert summary.drift.drift_detected
    assert report.data_drift.drifted_features == ["x"]
    assert "auc" in report.verdict
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["metrics"][0]["drift"]["violations"]
    assert report.to_frame()["n_violations"].tolist()[0] > 0
    assert any("days ago" in reason for reason in report.reasons)


def test_a_report_of_one_point_says_what_is_insufficient(monitoring: ModelMonitoring) -> None:
    monitoring.log_performance(*MODEL, "accuracy", 0.92, prediction_count=1000)
    report = monitoring.generate_monitoring_report(*MODEL)
    assert report.status == "learning"
    assert any("no reference" in reason for reason in report.reasons)
    assert report.model_size_bytes is None


def test_the_html_report_is_one_small_file_that_escapes_what_people_wrote(quick: ModelMonitoring) -> None:
    from plotly.offline import get_plotlyjs

    evil = "<script>alert(1)</script>"
    quick.log_performances(
        [
            {"metric": f"{evil} {m}", "value": v, "at": START + timedelta(days=i)}
            for m in range(8)
            for i, v in enumerate(noise(300, m))
        ],
        name="m",
        version="1",
    )
    rng = np.random.default_rng(0)
    names = [f"</script><img src=x onerror=alert({i})>" for i in range(40)]
    quick.set_reference("m", "1", {name: rng.normal(size=200) for name in names})
    quick.log_features("m", "1", {name: rng.normal(size=200) for name in names}, at=START + timedelta(days=299))
    report = quick.generate_monitoring_report("m", "1", days=300)
    page = report.to_html()
    assert len(page) - len(get_plotlyjs()) < 300_000
    own = page.replace(get_plotlyjs(), "")
    assert "<script>alert" not in own
    assert "<img" not in own
    assert "http://" not in own
    assert "https://" not in own.replace("https://plotly.com", "")
    assert "<img" not in report._repr_html_()
    assert "<script" not in report.metrics[0].drift._repr_html_()


def test_every_figure_can_be_drawn_in_every_state(quick: ModelMonitoring) -> None:
    from charts.monitoring import plot_control_chart, plot_cusum, plot_ewma, plot_trend

    log_days(quick, [*noise(40), *([0.2] * 5)])
    quick.log_performance(*MODEL, "lonely", 1.0)
    for metric in ("auc", "lonely"):
        drift = quick.detect_performance_drift(*MODEL, metric)
        for plot in (plot_control_chart, plot_ewma, plot_cusum, plot_trend):
            assert plot(drift).to_json()
    drift = quick.detect_performance_drift(*MODEL, "auc")
    named = " ".join(str(trace.text) for trace in drift.plot().data if trace.name == "worse")
    assert "3 sigma" in named
    assert any("baseline" in (a.text or "") for a in drift.plot().layout.annotations)


def test_importing_the_module_loads_neither_plotly_nor_scipy_stats_nor_pandas() -> None:
    heavy = ["plotly", "scipy.stats", "pandas", "apprise", "sklearn"]
    code = f"import sys, model_monitoring; print([name for name in {heavy} if name in sys.modules])"
    root = Path(__file__).resolve().parent.parent
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"


# -- simulations -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("design", ["3-sigma", "ewma", "cusum"])
@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_measured_run_lengths_are_those_that_are_computed(design: str, shift: float) -> None:
    from stats.run_length import average_run_length, simulated_run_length

    exact = average_run_length(design, shift)
    got = simulated_run_length(design, shift, n=20_000, seed=11)
    assert got.mean == pytest.approx(exact, rel=0.05)
