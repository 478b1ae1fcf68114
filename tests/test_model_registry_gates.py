"""What a gate says of two versions: numbers in, outcome and sentence out."""

from __future__ import annotations

import math

import pytest

from registry_parts.gates import check_gates, evaluate_gates

NOT_WORSE = "not_worse_than_production"


def outcome(metric: str, rule: object, new: float | None, current: float | None) -> dict[str, object]:
    gates = check_gates({NOT_WORSE: {metric: rule}})
    mine = {} if new is None else {metric: new}
    theirs = {} if current is None else {metric: current}
    (found,) = evaluate_gates(gates, mine, ("1.0.0", theirs), None)
    return found


@pytest.mark.parametrize(
    ("metric", "new", "current", "allowed"),
    [
        ("auc", 0.89, 0.90, 0.01),  # 0.9 - 0.89 is 0.010000000000000009
        ("auc", 0.7, 0.8, 0.1),
        ("loss", 0.3, 0.2, 0.1),
        ("loss", 1.1, 1.0, 0.1),
        ("rmse", 1234.7, 1234.6, 0.1),
    ],
)
def test_a_loss_of_just_what_is_allowed_passes(metric, new, current, allowed):
    assert outcome(metric, allowed, new, current)["passed"]
    worse = new - 1e-9 if metric == "auc" else new + 1e-9
    assert not outcome(metric, allowed, worse, current)["passed"]


def test_without_an_allowed_loss_the_last_digit_counts():
    assert outcome("auc", 0.0, 0.9, 0.9)["passed"]
    assert not outcome("auc", 0.0, math.nextafter(0.9, 0.0), 0.9)["passed"]


@pytest.mark.parametrize(
    ("new", "current", "passed", "said"),
    [
        (math.nan, 0.9, False, "auc is NaN"),
        (math.inf, 0.9, False, "auc is inf"),
        (None, 0.9, False, "auc was not recorded"),
        (0.9, math.nan, True, "auc of 1.0.0 in Production is NaN"),
        (0.9, -math.inf, True, "auc of 1.0.0 in Production is -inf"),
        (0.9, None, True, "auc of 1.0.0 in Production was not recorded"),
    ],
)
def test_what_is_no_number_is_named_as_what_it_is(new, current, passed, said):
    found = outcome("auc", 0.01, new, current)
    assert found["passed"] is passed
    assert str(found["message"]).startswith(said)
    (bounded,) = evaluate_gates(check_gates({"metrics": {"auc": {"min": 0.5}}}), {"auc": math.inf}, None, None)
    assert (bounded["passed"], bounded["message"]) == (False, "auc is inf; min 0.5 is required")
