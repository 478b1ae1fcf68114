"""Data drift: every column gets a verdict or a reason, sizes matter, and chance is not an alarm."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from db import NotFoundError, StateError
from model_monitoring import ModelMonitoring
from monitoring_parts import features
from stats.drift import ks_two_sample, psi_two_sample, wasserstein_distance
from stats.profiles import (
    Column,
    add_counts,
    count_column,
    counts_from_bytes,
    counts_to_bytes,
    profile_column,
    profile_from_bytes,
    profile_to_bytes,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
MODEL = ("churn", "1.0.0")


def numbers(values: Any) -> Column:
    array = np.asarray(values, dtype=float)
    return Column(family="number", n=array.size, values=array)


# -- two frames ------------------------------------------------------------------------------------------------


def test_statistics_of_frames_are_those_of_the_plain_functions(quick: ModelMonitoring) -> None:
    rng = np.random.default_rng(0)
    ref, cur = rng.normal(size=400), rng.normal(0.4, 1.2, size=300)
    found = quick.detect_data_drift({"x": ref}, {"x": cur}).features["x"]
    test = ks_two_sample(ref, cur)
    assert (found.ks_statistic, found.p_value) == (test.statistic, test.p_value)
    assert found.psi == psi_two_sample(ref, cur)
    assert found.wasserstein == pytest.approx(wasserstein_distance(ref, cur) / ref.std())
    assert (found.n_reference, found.n_current) == (400, 300)


def test_a_real_shift_is_drift_and_is_ranked_first(quick: ModelMonitoring) -> None:
    rng = np.random.default_rng(1)
    ref = pd.DataFrame({f"f{i}": rng.normal(size=1_000) for i in range(5)})
    cur = pd.DataFrame({f"f{i}": rng.normal(i == 3, 1, size=1_000) for i in range(5)})
    drift = quick.detect_data_drift(ref, cur)
    assert drift.drift_detected
    assert drift.drifted_features == ["f3"]
    assert next(iter(drift.features)) == "f3"
    weighted = quick.detect_data_drift(ref, cur, importances={"f1": 1e9, "f3": 0.0})
    assert list(weighted.features)[:2] == ["f3", "f1"]


@pytest.mark.slow
def test_a_million_rows_moved_by_a_hundredth_of_a_deviation_are_significant_and_not_drifted(
    quick: ModelMonitoring,
) -> None:
    rng = np.random.default_rng(2)
    found = quick.detect_data_drift({"x": rng.normal(size=1_000_000)}, {"x": rng.normal(0.01, 1, 1_000_000)}).features[
        "x"
    ]
    assert found.p_adjusted < 1e-6
    assert found.drifted is False
    assert "small" in found.reason


def test_under_fifty_rows_there_is_no_verdict(quick: ModelMonitoring) -> None:
    found = quick.detect_data_drift({"x": np.arange(100.0)}, {"x": np.arange(49.0) + 1e3}).features["x"]
    assert (found.status, found.drifted) == ("insufficient_data", None)
    assert "49" in found.reason


@pytest.mark.parametrize(
    ("reference", "current", "status", "drifted"),
    [
        ([1] * 100, [2] * 100, "constant", True),
        ([1.5] * 100, [1.5] * 100, "constant", False),
        ([1.5] * 100, [1.0] * 100, "constant", True),
        ([1.5] * 100, [2.0] * 100, "constant", True),
        (["a"] * 100, ["b"] * 100, "constant", True),
        ([np.nan] * 100, [np.nan] * 100, "all_null", False),
        ([np.nan] * 100, list(range(100)), "all_null", True),
        (list(np.linspace(0, 1, 100)), [np.nan] * 100, "all_null", True),
        (list(np.linspace(0, 1, 100)), ["x"] * 100, "type_changed", True),
        (["x", "y"] * 50, list(np.linspace(0, 1, 100)), "type_changed", True),
        ([True, False] * 50, [True] * 100, "ok", True),
        (list(np.linspace(0, 1, 100)), [np.inf] * 50 + list(np.linspace(0, 1, 50)), "ok", True),
        ([f"id-{i}" for i in range(100)], [f"id-{i}" for i in range(100, 200)], "identifier", None),
        ([1e308, -1e308] * 50, [1e308, -1e308] * 50, "ok", False),
        (pd.date_range("2026-01-01", periods=100), pd.date_range("2027-01-01", periods=100), "ok", True),
        (pd.Categorical(["a", "b"] * 50), pd.Categorical(["a", "b"] * 50, categories=["b", "a", "c"]), "ok", False),
        ([1, "a", None, 2.5] * 25, [1, "a", None, 2.5] * 25, "ok", False),
        ([[1], {"k": 2}] * 50, [[1], {"k": 2}] * 50, "ok", False),
        (pd.array([1, None, 3, 4] * 25, dtype="Int64"), pd.array([1, None, 3, 4] * 25, dtype="Int64"), "ok", False),
        ([1j] * 100, [2j] * 100, "constant", True),
        (pd.Series(["\ud800", "b"] * 50, dtype=object), pd.Series(["\ud800", "b"] * 50, dtype=object), "ok", False),
    ],
)
def test_whatever_a_column_holds_it_gets_a_status_on_frames_and_on_profiles(
    quick: ModelMonitoring, reference: Any, current: Any, status: str, drifted: bool | None
) -> None:
    left, right = pd.DataFrame({"x": reference}), pd.DataFrame({"x": current})
    direct = quick.detect_data_drift(left, right)
    quick.set_reference(*MODEL, left)
    quick.log_features(*MODEL, right, at=START)
    stored = quick.detect_feature_drift(*MODEL)
    for drift in (direct, stored):
        assert (drift.features["x"].status, drift.features["x"].drifted) == (status, drifted)
        json.dumps(drift.to_dict(), allow_nan=False)
        assert drift.features["x"].reason


def test_absent_and_new_columns_have_rows_of_their_own(monitoring: ModelMonitoring) -> None:
    ref = {"kept": np.arange(100.0), "gone": np.arange(100.0)}
    cur = {"kept": np.arange(100.0), "fresh": np.arange(100.0)}
    direct = monitoring.detect_data_drift(ref, cur)
    monitoring.set_reference(*MODEL, ref)
    monitoring.log_features(*MODEL, cur)
    for drift in (direct, monitoring.detect_feature_drift(*MODEL)):
        assert {name: (f.status, f.drifted) for name, f in drift.features.items()} == {
            "kept": ("ok", False),
            "gone": ("missing", True),
            "fresh": ("new", None),
        }


def test_a_growing_share_of_nulls_is_drift_by_itself(quick: ModelMonitoring) -> None:
    rng = np.random.default_rng(4)
    ref, cur = rng.normal(size=500), rng.normal(size=500)
    cur[:100] = np.nan
    found = quick.detect_data_drift({"x": ref}, {"x": cur}).features["x"]
    assert found.null_drifted
    assert found.drifted
    assert "20 %" in found.reason


def test_new_and_vanished_categories_are_named(quick: ModelMonitoring) -> None:
    found = quick.detect_data_drift({"x": ["a", "b"] * 100}, {"x": ["a", "c"] * 100}).features["x"]
    assert (found.new_categories, found.vanished_categories) == (("c",), ("b",))
    assert found.drifted
    assert found.l_infinity == 0.5


@pytest.mark.parametrize("bad", [None, 3, "frame", [1, 2], np.zeros(3)])
def test_what_is_no_frame_is_refused(quick: ModelMonitoring, bad: object) -> None:
    with pytest.raises((ValueError, TypeError), match="reference"):
        quick.detect_data_drift(bad, {"x": [1.0]})


def test_two_columns_of_one_name_and_unknown_features_are_refused(quick: ModelMonitoring) -> None:
    twice = pd.DataFrame(np.zeros((3, 2)), columns=["a", "a"])
    with pytest.raises(ValueError, match="two columns named 'a'"):
        quick.detect_data_drift(twice, twice)
    with pytest.raises(NotFoundError, match="'b'"):
        quick.detect_data_drift({"a": [1.0]}, {"a": [1.0]}, features=["b"])


def test_importances_are_numbers_by_column_whatever_names_the_columns(quick: ModelMonitoring) -> None:
    frame = np.random.default_rng(0).normal(size=(60, 2))
    found = quick.detect_data_drift(frame, frame, importances={0: 0.75, "1": np.float64(0.25)})
    assert (found.features["0"].importance, found.features["1"].importance) == (0.75, 0.25)
    series = quick.detect_data_drift(frame, frame, importances=pd.Series([0.75, 0.25]))  # type: ignore[arg-type]
    assert series.features["0"].importance == 0.75
    for bad in (float("nan"), "0.5", None):
        with pytest.raises((ValueError, TypeError), match=r"importances\['0'\]"):
            quick.detect_data_drift(frame, frame, importances={"0": bad})  # type: ignore[dict-item]


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan"), "0.05", None])
def test_a_nonsense_level_is_refused(quick: ModelMonitoring, alpha: object) -> None:
    with pytest.raises((ValueError, TypeError), match="alpha"):
        quick.detect_data_drift({"a": [1.0]}, {"a": [1.0]}, alpha=alpha)  # type: ignore[arg-type]


def test_relations_between_features_are_seen_by_both_multivariate_methods(quick: ModelMonitoring) -> None:
    rng = np.random.default_rng(5)

    def draw(rho: float) -> pd.DataFrame:
        x, y, z = rng.multivariate_normal([0, 0, 0], [[1, rho, rho], [rho, 1, rho], [rho, rho, 1]], 1_500).T
        return pd.DataFrame({"x": x, "y": y, "z": z})

    same, other = draw(0.9), draw(0.0)
    for method in ("domain_classifier", "pca"):
        drifted = quick.detect_data_drift(draw(0.9), other, multivariate=method).multivariate
        quiet = quick.detect_data_drift(draw(0.9), same, multivariate=method).multivariate
        assert drifted.drifted
        assert quiet.drifted is False
    assert (
        quick.detect_data_drift({"x": [1.0] * 60}, {"x": [1.0] * 60}, multivariate="pca").multivariate.drifted is None
    )


# -- stored profiles -------------------------------------------------------------------------------------------


def test_batches_roll_up_exactly_to_the_rows_they_were(monitoring: ModelMonitoring) -> None:
    rng = np.random.default_rng(6)
    ref = rng.normal(size=1_000)
    batches = [rng.normal(0.5, 1, size=n) for n in (80, 200, 33)]
    monitoring.set_reference(*MODEL, {"x": ref, "c": rng.choice(list("abc"), 1_000)})
    for day, batch in enumerate(batches):
        frame = {"x": batch, "c": rng.choice(list("abcd"), batch.size)}
        assert monitoring.log_features(*MODEL, frame, at=START + timedelta(days=day)) == batch.size
    found = monitoring.detect_feature_drift(*MODEL, start=START, end=START + timedelta(days=2)).features["x"]
    rows = np.concatenate(batches)
    assert found.n_current == rows.size
    assert found.psi == pytest.approx(psi_two_sample(ref, rows), abs=1e-12)
    assert found.current_mean == pytest.approx(rows.mean())
    assert found.current_std == pytest.approx(rows.std())
    exact = ks_two_sample(ref, rows).statistic
    assert exact - 1 / 256 <= found.ks_statistic <= exact
    first = monitoring.detect_feature_drift(*MODEL, start=START, end=START)
    assert first.n_current == 80
    assert monitoring.detect_feature_drift(*MODEL).features["c"].new_categories == ("d",)


def test_a_repeated_batch_id_adds_nothing(monitoring: ModelMonitoring) -> None:
    monitoring.set_reference(*MODEL, {"x": np.arange(100.0)})
    assert monitoring.log_features(*MODEL, {"x": np.arange(60.0)}, event_id="b1") == 60
    assert monitoring.log_features(*MODEL, {"x": np.arange(60.0)}, event_id="b1") == 0
    assert monitoring.detect_feature_drift(*MODEL).n_current == 60


def test_a_batch_counted_on_a_reference_that_was_replaced_meanwhile_is_refused(
    monitoring: ModelMonitoring, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pd.DataFrame({"x": np.arange(60.0)})
    monitoring.set_reference(*MODEL, frame)
    count = features.count_any

    def replace_first(*args: object) -> object:
        monkeypatch.setattr(features, "count_any", count)
        ModelMonitoring(monitoring._database).set_reference(*MODEL, frame)
        return count(*args)

    monkeypatch.setattr(features, "count_any", replace_first)
    with pytest.raises(StateError, match="replaced meanwhile; log the batch again"):
        monitoring.log_features(*MODEL, frame, at=START)
    assert monitoring.log_features(*MODEL, frame, at=START) == 60
    assert monitoring.detect_feature_drift(*MODEL).n_current == 60


def test_a_profile_takes_about_two_kilobytes_whatever_the_rows(quick: ModelMonitoring) -> None:
    values = np.random.default_rng(0).normal(size=200_000)
    assert len(profile_to_bytes(profile_column(numbers(values)))) < 3_500


def test_features_need_a_reference_and_rows(monitoring: ModelMonitoring) -> None:
    with pytest.raises(StateError, match="set_reference"):
        monitoring.log_features(*MODEL, {"x": [1.0]})
    with pytest.raises(ValueError, match="no rows"):
        monitoring.set_reference(*MODEL, {"x": []})
    with pytest.raises(ValueError, match="no rows"):
        monitoring.set_reference(*MODEL, pd.DataFrame())
    assert monitoring.list_monitored() == []


def test_a_new_reference_starts_new_batches_and_keeps_importances(monitoring: ModelMonitoring) -> None:
    monitoring.set_reference(*MODEL, {"x": np.arange(100.0)})
    monitoring.log_features(*MODEL, {"x": np.arange(60.0)})
    second = monitoring.set_reference(*MODEL, {"x": np.arange(200.0)}, importances={"x": 0.7}, label="retrained")
    assert len(second) == 32
    drift = monitoring.detect_feature_drift(*MODEL)
    assert drift.n_current == 0
    assert any("no batches" in reason for reason in drift.reasons)
    assert drift.features["x"].importance == 0.7


def test_the_history_has_a_row_a_feature_and_a_column_a_window(monitoring: ModelMonitoring) -> None:
    rng = np.random.default_rng(7)
    monitoring.set_reference(*MODEL, {"x": rng.normal(size=500), "y": rng.normal(size=500)})
    for day in (0, 1, 3):
        frame = {"x": rng.normal(2 * (day == 3), 1, 200), "y": rng.normal(size=200)}
        monitoring.log_features(*MODEL, frame, at=START + timedelta(days=day, hours=5))
    history = monitoring.feature_history(*MODEL, days=4)
    assert history.features[0] == "x"
    assert history.windows[-4:] == tuple(START + timedelta(days=d) for d in range(4))
    assert history.drifted[0][-4:] == (False, False, None, True)
    assert history.n_rows[-4:] == (200, 200, 0, 200)
    assert history.plot().data[0].z[0][-2] is None
    assert len(history.to_frame()) == 2 * len(history.windows)


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(finite, min_size=1, max_size=60), st.lists(st.lists(finite, max_size=20), min_size=1, max_size=4))
@hypothesis_settings(max_examples=60)
def test_profiles_and_counts_survive_storage_and_add_up_in_any_order(
    reference: list[float], batches: list[list[float]]
) -> None:
    profile = profile_column(numbers(reference))
    restored = profile_from_bytes(profile_to_bytes(profile))
    assert np.array_equal(restored.edges, profile.edges)
    assert np.array_equal(restored.decile_edges, profile.decile_edges)
    assert restored.counts.minimum == profile.counts.minimum
    counted = [counts_from_bytes(counts_to_bytes(count_column(restored, numbers(batch)))) for batch in batches]
    forward, backward = add_counts(counted), add_counts(counted[::-1])
    whole = count_column(profile, numbers([value for batch in batches for value in batch]))
    assert np.array_equal(forward.bins, whole.bins)
    assert np.array_equal(forward.bins, backward.bins)
    assert (forward.n, forward.minimum, forward.maximum) == (whole.n, whole.minimum, whole.maximum)


@given(st.lists(finite, min_size=1, max_size=40), st.lists(finite, min_size=1, max_size=40))
@hypothesis_settings(max_examples=60)
def test_distances_are_symmetric_where_they_should_be_and_zero_on_themselves(a: list[float], b: list[float]) -> None:
    assert ks_two_sample(a, b).statistic == pytest.approx(ks_two_sample(b, a).statistic)
    assert ks_two_sample(a, b).p_value == pytest.approx(ks_two_sample(b, a).p_value, abs=1e-9)
    assert 0 <= ks_two_sample(a, b).p_value <= 1
    assert ks_two_sample(a, a).statistic == 0
    assert psi_two_sample(a, a) == 0
    assert psi_two_sample(a, b) >= 0


def test_exact_p_values_agree_with_scipy() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(9)
    for n, m in ((1, 1), (3, 8), (40, 40), (90, 77), (200, 35), (12_000, 300)):
        for shift in (0.0, 0.4):
            a, b = rng.normal(size=n), rng.normal(size=m) + shift
            ours, theirs = ks_two_sample(a, b), ks_2samp(a, b)
            assert ours.statistic == pytest.approx(theirs.statistic, abs=1e-14)
            assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)


def test_arrow_dates_lists_and_dictionaries_are_read(quick: ModelMonitoring) -> None:
    import datetime

    import pyarrow as pa

    columns = {
        "date": pd.Series([datetime.date(2026, 1, 1), None] * 50, dtype=pd.ArrowDtype(pa.date32())),
        "list": pd.Series([[1], [2]] * 50, dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
        "word": pd.Series(["a", "b"] * 50).astype(pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
        "null": pd.Series([None] * 100, dtype=pd.ArrowDtype(pa.null())),
    }
    found = quick.detect_data_drift(pd.DataFrame(columns), pd.DataFrame(columns)).features
    assert {name: feature.drifted for name, feature in found.items()} == dict.fromkeys(columns, False)
    assert found["date"].kind == "datetime"
    assert found["null"].status == "all_null"
    assert set(found["list"].bins) == {"[1]", "[2]"}


def test_a_reference_without_values_says_the_same_of_frames_and_of_batches(quick: ModelMonitoring) -> None:
    blank, full = pd.DataFrame({"x": [np.nan] * 100}), pd.DataFrame({"x": ["a", "b"] * 50})
    quick.set_reference(*MODEL, blank)
    quick.log_features(*MODEL, full, at="2026-01-01")
    stored, direct = (
        quick.detect_feature_drift(*MODEL).features["x"],
        quick.detect_data_drift(blank, full).features["x"],
    )
    assert (stored.status, stored.drifted, stored.reason) == (direct.status, direct.drifted, direct.reason)
    assert (stored.status, stored.drifted) == ("all_null", True)


def test_extreme_numbers_give_finite_results_from_frames_and_from_batches(quick: ModelMonitoring) -> None:
    sign = np.where(np.arange(100) % 2 == 0, 1.0, -1.0)
    columns = {
        "largest": 1.79e308 * sign,
        "mixed": np.where(sign > 0, 1.7e308, 1e200),
        "tiny": 1e-300 * sign,
        "denormal": 5e-324 * (np.arange(100) % 7),
        "constant": np.full(100, 1.79e308),
        "whole": np.where(sign > 0, 2**63 - 1, -(2**63)),
    }
    quick.set_reference(*MODEL, pd.DataFrame(columns))
    quick.log_features(*MODEL, pd.DataFrame(columns), at="2026-01-01")
    for drift in (
        quick.detect_data_drift(pd.DataFrame(columns), pd.DataFrame(columns)),
        quick.detect_feature_drift(*MODEL),
    ):
        json.dumps(drift.to_dict(), allow_nan=False)
        assert drift.drifted_features == []
        for feature in drift.features.values():
            assert all(np.isfinite(x) for x in vars_of(feature))
        assert drift.features["mixed"].reference_std == pytest.approx(0.85e308)
        assert drift.features["mixed"].wasserstein == pytest.approx(0, abs=1e-9)


def vars_of(feature: Any) -> list[float]:
    """Every number of a result, as it is and not as `to_dict` would clean it."""
    numbers: list[float] = []
    for value in feature.to_dict().values():
        numbers += [x for x in (value if isinstance(value, list) else [value]) if isinstance(x, float)]
    return numbers


@pytest.mark.parametrize("method", ["domain_classifier", "pca"])
@pytest.mark.parametrize("kind", ["largest", "tiny", "constant", "null", "collinear"])
def test_extreme_columns_are_compared_together_or_the_reason_is_given(
    quick: ModelMonitoring, method: str, kind: str
) -> None:
    x = np.random.default_rng(8).normal(size=(120, 3))
    columns = {
        "largest": np.where(x > 0, 1.79e308, -1.79e308),
        "tiny": x * 1e-310,
        "constant": np.ones((120, 3)),
        "null": np.full((120, 3), np.nan),
        "collinear": x[:, :1] * np.array([1.0, 2.0, 3.0]),
    }[kind]
    found = quick.detect_data_drift(columns, columns, multivariate=method).multivariate
    assert found is not None
    assert found.drifted is not True
    if found.drifted is None:
        assert found.reason
        assert found.statistic is None
    else:
        assert np.isfinite([found.statistic, found.p_value]).all()


# -- simulations -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("null_share", [0.0, 0.3])
@pytest.mark.parametrize("rows", [100, 300, 2_000])
def test_no_drift_is_called_drift_in_at_most_five_of_a_hundred_runs(
    quick: ModelMonitoring, rows: int, null_share: float
) -> None:
    rng = np.random.default_rng(rows)
    runs = 300

    def column() -> dict[str, Any]:
        return {"x": np.where(rng.random(rows) < null_share, np.nan, rng.normal(size=rows))}

    alarms = sum(quick.detect_data_drift(column(), column()).drift_detected for _ in range(runs))
    assert alarms <= 0.05 * runs


@pytest.mark.slow
@pytest.mark.parametrize("rows", [100, 1_000])
def test_twenty_features_without_drift_raise_any_in_at_most_ten_of_a_hundred_runs(
    quick: ModelMonitoring, rows: int
) -> None:
    rng = np.random.default_rng(rows)

    def frame() -> dict[str, Any]:
        numeric = {f"x{i}": rng.normal(size=rows) for i in range(14)}
        return numeric | {f"c{i}": rng.choice(list("abcde"), rows) for i in range(6)}

    assert sum(quick.detect_data_drift(frame(), frame()).drift_detected for _ in range(100)) <= 10


@pytest.mark.parametrize("stored", ["float32", "float16", "Float32"])
@pytest.mark.parametrize("which", ["reference", "current"])
def test_numbers_stored_in_fewer_bits_have_not_moved(quick: ModelMonitoring, stored: str, which: str) -> None:
    """0.1 in 32 bits is 0.10000000149: a constant column and one of few values had drifted, with p = 1e-300."""
    rng = np.random.default_rng(5)

    def rows() -> pd.DataFrame:
        shared = np.where(rng.random(2000) < 0.5, 0.1, rng.exponential(size=2000))
        return pd.DataFrame(
            {"constant": np.full(2000, 0.3), "few": rng.choice([0.1, 0.2, 0.3, 0.7], 2000), "half": shared}
        )

    frames = {"reference": rows(), "current": rows()}
    frames[which] = frames[which].astype(stored)
    found = quick.detect_data_drift(frames["reference"], frames["current"])
    quick.set_reference("churn", "1", frames["reference"])
    quick.log_features("churn", "1", frames["current"])
    kept = quick.detect_feature_drift("churn", "1")
    for name in ("constant", "few", "half"):
        for one in (found.features[name], kept.features[name]):
            assert not one.drifted
            assert one.psi < 0.02
            assert one.p_value > 0.01
    moved = frames["current"] + 1.0
    quick.log_features("churn", "1", moved)
    for drift in (
        quick.detect_data_drift(frames["reference"], moved),
        quick.detect_feature_drift("churn", "1"),
    ):
        assert all(one.drifted for one in drift.features.values())
