"""Who gets which variant: stable, uniform, independent, moved by nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from ab_parts.assignment import hash_fraction
from ab_testing import (
    ABTestingFramework,
)
from db import Database, NotFoundError, StateError
from tests.ab_support import counts, design

ROOT = Path(__file__).parents[1]


def test_an_assignment_is_stable_in_another_process_and_hash_seed(lite):
    exp_id = lite.create_experiment(design())
    users = ["ada", "bob", "zoë", "user-17", "日本"]
    here = [lite.assign(exp_id, user, store=False) for user in users]
    script = (
        "import sys, json; from ab_testing import ABTestingFramework as A; a = A(sys.argv[1]);"
        "print(json.dumps([a.assign(sys.argv[2], u, store=False) for u in json.loads(sys.argv[3])]))"
    )
    url = str(lite.database.path)
    for seed in ("0", "1"):
        out = subprocess.run(
            [sys.executable, "-c", script, url, exp_id, json.dumps(users)],
            capture_output=True,
            text=True,
            check=True,
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin:/bin", "HOME": str(Path.home())},
        )
        assert json.loads(out.stdout) == here


def test_many_assignments_are_the_single_ones_and_are_stored(ab):
    exp_id = ab.create_experiment(design(treatments={"a": 0.3, "b": 0.2}))
    users = pd.Series([f"u{index}" for index in range(300)])
    many = ab.assign_many(exp_id, users)
    assert many.tolist() == [ab.assign(exp_id, user) for user in users]
    assert many.tolist() == ab.assign_many(exp_id, users, store=False).tolist()
    assert set(many) == {"baseline", "a", "b"}
    assert ab.analyze_experiment(exp_id).n_assigned == {
        name: int((many == name).sum()) for name in ("baseline", "a", "b")
    }


def test_display_writes_nothing(ab):
    exp_id = ab.create_experiment(design())
    ab.assign(exp_id, "u", store=False)
    ab.assign_many(exp_id, ["u", "v"], store=False)
    assert sum(ab.analyze_experiment(exp_id).n_assigned.values()) == 0


def test_a_new_split_moves_nobody_who_was_assigned_and_few_others_one_way(lite):
    exp_id = lite.create_experiment(design(traffic_split=0.5))
    old = [f"old{index}" for index in range(2000)]
    new = [f"new{index}" for index in range(20_000)]
    before_old, before_new = lite.assign_many(exp_id, old), lite.assign_many(exp_id, new, store=False)
    assert lite.start_phase(exp_id, traffic_split=0.7) == 2
    assert (lite.assign_many(exp_id, old) == before_old).all()
    after = lite.assign_many(exp_id, new, store=False)
    moved = before_new != after
    assert abs(moved.mean() - 0.2) < 0.015
    assert set(after[moved]) == {"treatment"}


def test_ramping_up_moves_nobody(lite):
    exp_id = lite.create_experiment(design(coverage=0.2))
    users = [f"u{index}" for index in range(20_000)]
    before = lite.assign_many(exp_id, users, store=False)
    lite.start_phase(exp_id, coverage=0.9)
    after = lite.assign_many(exp_id, users, store=False)
    inside = before != np.array(None)
    assert abs(inside.mean() - 0.2) < 0.02
    assert (before[inside] == after[inside]).all()
    assert abs((after[after != np.array(None)] == "treatment").mean() - 0.5) < 0.02


def test_a_subject_outside_the_coverage_is_not_recorded(ab):
    exp_id = ab.create_experiment(design(coverage=0.01))
    outside = next(f"u{index}" for index in range(100) if ab.assign(exp_id, f"u{index}", store=False) is None)
    assert ab.assign(exp_id, outside) is None
    assert ab.record_event(exp_id, outside, 1.0) is False
    assert ab.record_events(exp_id, [(outside, 1.0)]) == 0
    assert counts(ab) == 0


def test_assignment_is_uniform_and_independent_between_experiments():
    n = 100_000
    subjects = [str(index) for index in range(n)]
    places = [np.array([hash_fraction(salt, b"split", subject) for subject in subjects]) for salt in ("a", "b")]
    bins = np.histogram(places[0], bins=50, range=(0, 1))[0]
    assert scipy.stats.chisquare(bins).pvalue > 0.001
    phi = np.corrcoef(places[0] < 0.5, places[1] < 0.5)[0, 1]
    assert abs(phi) < 3.2905 / math.sqrt(n)  # its 99.9 % bound


def test_an_assignment_made_elsewhere_is_stored_as_it_was(ab):
    exp_id = ab.create_experiment(design(traffic_split=0.5))
    computed = ab.assign(exp_id, "ada", store=False)
    other = "baseline" if computed == "treatment" else "treatment"
    assert ab.assign(exp_id, "ada", variant=other) == other
    assert ab.assign(exp_id, "ada") == other
    assert ab.analyze_experiment(exp_id).n_conflicts == 0
    assert ab.assign(exp_id, "ada", variant=computed) == other  # the first stays, and the clash is counted
    assert ab.analyze_experiment(exp_id).n_conflicts == 1
    users = [f"u{index}" for index in range(20)]
    assert set(ab.assign_many(exp_id, users[:10], variant="treatment")) == {"treatment"}
    mixed = ab.assign_many(exp_id, users[10:12], variant=["baseline", None]).tolist()
    assert mixed == ["baseline", ab.assign(exp_id, users[11], store=False)]
    assert set(ab.assign_many(exp_id, users[:10])) == {"treatment"}
    with pytest.raises(ValueError, match="no variant 'c'"):
        ab.assign(exp_id, "bob", variant="c")
    with pytest.raises(ValueError, match="does not go with store=False"):
        ab.assign_many(exp_id, users, variant="baseline", store=False)
    with pytest.raises(ValueError, match="1 values for 20 subjects"):
        ab.assign_many(exp_id, users, variant=["baseline"])


def test_what_another_framework_of_this_process_does_counts_at_the_next_call(ab):
    exp_id = ab.create_experiment(design(traffic_split=0.5))
    other = ABTestingFramework(Database(ab.database.engine.url.render_as_string(hide_password=False)))
    users = [f"u{index}" for index in range(40)]
    before = [ab.assign(exp_id, user, store=False) for user in users]
    taken = users[0]
    swapped = "baseline" if before[0] == "treatment" else "treatment"
    other.assign(exp_id, taken, variant=swapped)
    assert ab.assign(exp_id, taken, store=False) == swapped
    other.start_phase(exp_id, traffic_split=1.0)
    assert {ab.assign(exp_id, user, store=False) for user in users[1:]} == {"treatment"}
    assert ab.assign(exp_id, taken, store=False) == swapped  # stored assignments stay
    other.pause(exp_id)
    with pytest.raises(StateError, match="paused"):
        ab.assign(exp_id, "somebody new")
    assert ab.assign(exp_id, taken) == swapped
    other.resume(exp_id)
    assert ab.assign(exp_id, "somebody new") == "treatment"
    other.delete_experiment(exp_id, allow_running=True)
    with pytest.raises(NotFoundError):
        ab.assign(exp_id, users[1], store=False)
    other.database.close()
