"""What holds for every test, whatever its data: found by generated examples."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ab_testing import ABTestingFramework, analyze_values
from tests.ab_support import design

FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MANY = settings(max_examples=60, deadline=None)
NAMES = itertools.count()

SUBJECTS = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
EVENTS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 20), st.integers(0, 3)), min_size=4, max_size=30
)  # subject, value, day


@pytest.fixture
def lite(sqlite_database):
    return ABTestingFramework(sqlite_database)


def fresh(ab, **changes):
    """A test of a name and a salt of its own, so that its subjects are those of no other one."""
    return ab.create_experiment(design(f"property {next(NAMES)}", salt="one salt for all", **changes))


def rows_of(events, *, with_ids=False):
    rows = [{"user_id": f"u{s}", "value": v, "at": f"2026-02-0{d + 1}T00:00:00"} for s, v, d in events]
    return [row | {"event_id": f"e{index}"} for index, row in enumerate(rows)] if with_ids else rows


def numbers_of(ab, exp_id):
    """Everything an analysis says, without names and instants."""
    found = ab.analyze_experiment(exp_id, record_look=False).to_dict()
    return {name: found[name] for name in ("n_subjects", "n_assigned", "estimate", "effect", "p_value", "status")}


def same(first, second):
    assert first["n_subjects"] == second["n_subjects"]
    assert first["n_assigned"] == second["n_assigned"]
    assert first["status"] == second["status"]
    numbers = [("effect", first["effect"], second["effect"]), ("p_value", first["p_value"], second["p_value"])]
    numbers += [(arm, first["estimate"][arm], second["estimate"][arm]) for arm in first["estimate"]]
    for name, one, other in numbers:
        assert (one is None) == (other is None), name
        assert one is None or one == pytest.approx(other, rel=1e-9, abs=1e-12), name


@given(
    users=st.lists(SUBJECTS, min_size=1, max_size=40, unique=True),
    small=st.floats(0.01, 0.99),
    more=st.floats(0.001, 1.0),
    split=st.floats(0.0, 1.0),
)
@FEW
def test_ramping_up_only_adds_subjects_and_moves_none(lite, users, small, more, split):
    large = min(1.0, small + more * (1.0 - small))
    narrow, wide = (fresh(lite, coverage=coverage, traffic_split=split) for coverage in (small, large))
    before, after = (lite.assign_many(exp_id, users, store=False).tolist() for exp_id in (narrow, wide))
    for old, new in zip(before, after, strict=True):
        assert old is None or old == new


@given(
    users=st.lists(SUBJECTS, min_size=1, max_size=40, unique=True), splits=st.tuples(st.floats(0, 1), st.floats(0, 1))
)
@FEW
def test_a_larger_share_of_the_treatment_only_takes_from_the_baseline(lite, users, splits):
    low, high = (fresh(lite, traffic_split=split) for split in sorted(splits))
    before, after = (lite.assign_many(exp_id, users, store=False).tolist() for exp_id in (low, high))
    assert all(new == "treatment" for old, new in zip(before, after, strict=True) if old == "treatment")


@given(users=st.lists(SUBJECTS, min_size=1, max_size=30, unique=True), seed=st.integers(0, 99))
@FEW
def test_an_assignment_does_not_depend_on_the_company_or_the_order(lite, users, seed):
    exp_id = fresh(lite, treatments={"a": 0.3, "b": 0.3}, coverage=0.7)
    together = dict(zip(users, lite.assign_many(exp_id, users, store=False).tolist(), strict=True))
    shuffled = np.random.default_rng(seed).permutation(np.array(users, dtype=object)).tolist()
    assert dict(zip(shuffled, lite.assign_many(exp_id, shuffled).tolist(), strict=True)) == together
    assigner = lite.assigner(exp_id)
    assert {user: assigner.variant(user) for user in users} == together
    assert {user: lite.assign(exp_id, user) for user in users} == together


@pytest.mark.parametrize("how", ["mean", "sum", "max"])
@given(events=EVENTS, seed=st.integers(0, 99))
@FEW
def test_the_order_of_events_does_not_matter(lite, how, events, seed):
    first, second = fresh(lite, aggregation=how), fresh(lite, aggregation=how)
    lite.record_events(first, rows_of(events))
    order = np.random.default_rng(seed).permutation(len(events))
    lite.record_events(second, rows_of([events[index] for index in order]))
    same(numbers_of(lite, first), numbers_of(lite, second))


@pytest.mark.parametrize("how", ["mean", "sum", "max", "first", "last"])
@given(events=EVENTS, cut=st.floats(0, 1))
@FEW
def test_it_does_not_matter_how_events_are_cut_into_batches(lite, how, events, cut):
    whole, parts, singly = (fresh(lite, aggregation=how) for _ in range(3))
    rows, place = rows_of(events), int(cut * len(events))
    assert lite.record_events(whole, rows) == len(rows)
    assert lite.record_events(parts, rows[:place]) + lite.record_events(parts, rows[place:]) == len(rows)
    for row in rows:
        assert lite.record_event(singly, row["user_id"], row["value"], at=row["at"])
    same(numbers_of(lite, whole), numbers_of(lite, parts))
    same(numbers_of(lite, whole), numbers_of(lite, singly))


@given(events=EVENTS, again=st.lists(st.integers(0, 29), max_size=20))
@FEW
def test_a_replay_changes_nothing(lite, events, again):
    exp_id = fresh(lite, metric_type="count")
    rows = rows_of(events, with_ids=True)
    assert lite.record_events(exp_id, rows) == len(rows)
    before = numbers_of(lite, exp_id)
    repeated = [rows[index] for index in again if index < len(rows)]
    assert lite.record_events(exp_id, repeated) == 0
    for row in repeated[:3]:
        assert lite.record_event(exp_id, **row) is False
    assert numbers_of(lite, exp_id) == before


VALUES = {
    "continuous": st.floats(-1e150, 1e150),
    "binary": st.integers(0, 1),
    "count": st.one_of(st.integers(0, 5), st.integers(0, 2**53)),
    "ratio": st.tuples(st.floats(-1e150, 1e150), st.floats(0, 1e150)),
}


@pytest.mark.parametrize("kind", list(VALUES))
@pytest.mark.parametrize(
    "rule",
    [
        {"stopping": "fixed_horizon"},
        {"stopping": "group_sequential", "planned_sample_size": 8, "futility_rule": "beta_spending"},
        {"stopping": "always_valid", "sequential_test": "msprt", "mixing_sd": 1.0},
    ],
    ids=lambda rule: rule["stopping"],
)
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_no_analysis_says_nan_or_infinity(kind, rule, data):
    arms = [data.draw(st.lists(VALUES[kind], max_size=8)) for _ in range(2)]
    if kind == "ratio":
        arms = [np.array(arm, dtype=float).reshape(-1, 2) for arm in arms]
    found = analyze_values(*arms, kind, **rule)

    def numbers(value):
        if isinstance(value, float):
            yield value
        elif isinstance(value, dict):
            yield from itertools.chain.from_iterable(map(numbers, value.values()))
        elif isinstance(value, list | tuple):
            yield from itertools.chain.from_iterable(map(numbers, value))
        elif hasattr(value, "__dataclass_fields__"):
            yield from itertools.chain.from_iterable(
                numbers(getattr(value, name)) for name in value.__dataclass_fields__
            )

    assert all(math.isfinite(number) for number in numbers(found))
    json.dumps(found.to_dict(), allow_nan=False)
    assert (found.p_value is None) == (found.status == "insufficient_data")
    assert found.p_value is None or 0.0 < found.p_value <= 1.0


@given(
    baseline=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20),
    treatment=st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20),
)
@MANY
def test_exchanging_the_arms_turns_the_effect_around(baseline, treatment):
    one, other = analyze_values(baseline, treatment), analyze_values(treatment, baseline)
    assert (one.p_value is None) == (other.p_value is None)
    if one.p_value is not None:
        assert one.p_value == pytest.approx(other.p_value, rel=1e-9)
        assert one.effect == pytest.approx(-other.effect)
        assert one.ci_lower == pytest.approx(-other.ci_upper, rel=1e-6, abs=1e-6)
