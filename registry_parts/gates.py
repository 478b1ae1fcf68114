"""What a version must show before Production: checked when it is set, and asked at every promotion.

    >>> gates = check_gates({"metrics": {"auc": {"min": 0.9}}})
    >>> [outcome["passed"] for outcome in evaluate_gates(gates, {"auc": 0.88}, None, None)]
    [False]

Vocabulary: a *gate* is one such condition; its *outcome* says which, whether it passed, and why. Everything is pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from typing import Any

from stats.metric_direction import metric_direction
from values import InvalidTypeError, InvalidValueError, check_key, check_name, shorten, to_float

__all__ = [
    "check_gates",
    "evaluate_gates",
]


def check_gates(gates: Mapping[str, Any]) -> dict[str, Any]:
    """Return promotion gates in their stored form, or say what is wrong with them.

    Parameters
    ----------
    gates : mapping
        ``metrics``: {metric: {"min": number, "max": number}} that the version must have and meet.
        ``not_worse_than_production``: {metric: allowed loss, at least 0}; "worse" follows the metric's direction,
        which must be known by its name or given as {"tolerance": number, "higher_is_better": bool}.
        ``experiment``: True or the name of an A/B experiment; a promotion must then bring that experiment's decision
        "ship" as evidence.
    """
    if not isinstance(gates, Mapping):
        raise InvalidTypeError(f"gates must be a mapping, got {type(gates).__name__}")
    unknown = set(gates) - {"metrics", "not_worse_than_production", "experiment"}
    if unknown:
        raise InvalidValueError(
            f"unknown gate(s) {', '.join(map(repr, sorted(map(str, unknown))))}; "
            "known: 'metrics', 'not_worse_than_production', 'experiment'"
        )
    checked: dict[str, Any] = {}
    if gates.get("metrics"):
        if not isinstance(gates["metrics"], Mapping):
            raise InvalidTypeError(
                f'gate \'metrics\' must be like {{"auc": {{"min": 0.9}}}}, got {shorten(gates["metrics"])}'
            )
        checked["metrics"] = {}
        for metric, bounds in gates["metrics"].items():
            key = check_key(metric, "gate metric")
            if not isinstance(bounds, Mapping) or not bounds or set(bounds) - {"min", "max"}:
                raise InvalidValueError(
                    f'gate of {key!r} must be {{"min": number}} or {{"max": number}}, got {bounds!r}'
                )
            limits = checked["metrics"][key] = {k: to_float(v, f"gate {key!r} {k}") for k, v in bounds.items()}
            if limits.get("min", -math.inf) > limits.get("max", math.inf):
                raise InvalidValueError(
                    f"gate of {key!r} can never be passed: its min {limits['min']:g} is above its max {limits['max']:g}"
                )
    if gates.get("not_worse_than_production"):
        checked["not_worse_than_production"] = {}
        given = gates["not_worse_than_production"]
        if isinstance(given, str) or not isinstance(given, Mapping | Sequence | Set):
            raise InvalidTypeError(
                f'gate \'not_worse_than_production\' must be like {{"auc": 0.01}} or ["auc"], got {shorten(given)}'
            )
        for metric in given:
            key = check_key(metric, "gate metric")
            rule = given[metric] if isinstance(given, Mapping) else 0.0
            rule = rule if isinstance(rule, Mapping) else {"tolerance": rule}
            if set(rule) - {"tolerance", "higher_is_better"}:
                raise InvalidValueError(f"gate of {key!r} has unknown settings: {sorted(rule)}")
            higher = rule.get("higher_is_better")
            if higher is None:
                direction = metric_direction(key)
                if direction is None:
                    raise InvalidValueError(
                        f"whether more of {key!r} is better does not show in its name; "
                        f'give {{"tolerance": 0.0, "higher_is_better": True}}'
                    )
                higher = direction == "higher"
            if not isinstance(higher, bool):
                raise InvalidTypeError(f"higher_is_better of gate {key!r} must be True or False, got {higher!r}")
            tolerance = to_float(rule.get("tolerance", 0.0), f"tolerance of gate {key!r}")
            if tolerance < 0:
                raise InvalidValueError(f"tolerance of gate {key!r} must be at least 0, got {tolerance}")
            checked["not_worse_than_production"][key] = {"tolerance": tolerance, "higher_is_better": higher}
    experiment = gates.get("experiment")
    if experiment not in (None, False):
        checked["experiment"] = True if experiment is True else check_name(experiment, "gate experiment")
    return checked


def evaluate_gates(
    gates: Mapping[str, Any],
    metrics: Mapping[str, float],
    production: tuple[str, Mapping[str, float]] | None,
    experiment: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """Return the outcome of every gate: {gate, passed, message}.

    Parameters
    ----------
    gates : mapping
        As `check_gates` returns them.
    metrics : mapping
        Of the version that is to be promoted.
    production : (version, metrics) or None
        Of the version in Production now.
    experiment : mapping or None
        ``name`` and ``decision`` of the experiment given as evidence; ``is_of_this_version`` is False when its
        treatment is known to be another version.
    """
    found: list[dict[str, Any]] = []

    def add(gate: str, passed: bool, message: str) -> None:
        found.append({"gate": gate, "passed": passed, "message": message})

    for metric, bounds in gates.get("metrics", {}).items():
        value = metrics.get(metric)
        for kind, bound in bounds.items():
            name = f"metrics.{metric}.{kind}"
            if value is None:
                add(name, False, f"{metric} was not recorded; {kind} {bound:g} is required")
            elif not math.isfinite(value):
                add(name, False, f"{metric} is {_number(value)}; {kind} {bound:g} is required")
            else:
                passed = value >= bound if kind == "min" else value <= bound
                add(name, passed, f"{metric} is {value:.6g}; {kind} {bound:g} is required")
    for metric, rule in gates.get("not_worse_than_production", {}).items():
        name = f"not_worse_than_production.{metric}"
        value = metrics.get(metric)
        if production is None:
            add(name, True, "there is no version in Production to compare with")
            continue
        version, current = production[0], production[1].get(metric)
        if current is None:
            add(name, True, f"{metric} of {version} in Production was not recorded")
        elif not math.isfinite(current):
            add(name, True, f"{metric} of {version} in Production is {_number(current)}: nothing to compare with")
        elif value is None:
            add(name, False, f"{metric} was not recorded; {version} in Production has {current:.6g}")
        elif not math.isfinite(value):
            add(name, False, f"{metric} is {_number(value)}; {version} in Production has {current:.6g}")
        else:
            loss = current - value if rule["higher_is_better"] else value - current
            allowed = rule["tolerance"]
            # 0.9 - 0.89 is a little more than 0.01: a loss of just what is allowed must not fail by its last digit.
            rounding = 2 * math.ulp(max(abs(current), abs(value))) if allowed else 0.0
            add(
                name,
                loss <= allowed + rounding,
                f"{metric} is {value:.6g}, {version} in Production has {current:.6g}; a loss of {allowed:g} is allowed",
            )
    wanted = gates.get("experiment")
    if wanted:
        what = "an experiment" if wanted is True else f"the experiment {wanted!r}"
        if experiment is None:
            add("experiment", False, f"{what} that decided 'ship' must be given as evidence")
        elif wanted is not True and experiment.get("name") != wanted:
            add("experiment", False, f"{what} is required; the evidence is {experiment.get('name')!r}")
        elif experiment.get("is_of_this_version") is False:
            add("experiment", False, f"experiment {experiment.get('name')!r} tested another version")
        else:
            decision = experiment.get("decision")
            add(
                "experiment",
                isinstance(decision, str) and decision.startswith("ship"),
                f"experiment {experiment.get('name')!r} decided {decision!r}; 'ship' is required",
            )
    return found


def _number(value: float) -> str:
    return "NaN" if value != value else f"{value:g}"
