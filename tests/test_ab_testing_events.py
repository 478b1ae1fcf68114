"""Events: what is refused, what is stored once, and how the events of a subject become one value."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from ab_testing import (
    ABTestingFramework,
)
from db import ABSubjectRow, Database, NotFoundError, StateError
from tests.ab_support import counts, design

ROOT = Path(__file__).parents[1]


HOSTILE = [math.nan, math.inf, -math.inf, "1", None, 1 + 2j, [1], {"a": 1}, 1e200]


@pytest.mark.parametrize("kind", ["continuous", "binary", "count"])
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_a_hostile_value_is_refused_and_nothing_stored(lite, kind, value):
    exp_id = lite.create_experiment(design(metric_type=kind))
    with pytest.raises((ValueError, TypeError)):
        lite.record_event(exp_id, "u", value)
    with pytest.raises((ValueError, TypeError), match="row 1"):
        lite.record_events(exp_id, [("a", 1), ("u", value)])
    assert counts(lite) == 0
    assert sum(lite.analyze_experiment(exp_id).n_assigned.values()) == 0


@pytest.mark.parametrize(
    ("kind", "value"),
    [("continuous", True), ("binary", 0.5), ("binary", 2), ("count", -1), ("count", 1.5), ("count", True)],
)
def test_a_value_that_does_not_fit_the_metric_is_refused(ab, kind, value):
    exp_id = ab.create_experiment(design(metric_type=kind))
    with pytest.raises((ValueError, TypeError), match="score"):
        ab.record_event(exp_id, "u", value)
    with pytest.raises((ValueError, TypeError), match="score"):
        ab.record_events(exp_id, pd.DataFrame({"user_id": ["a", "u"], "value": [1, value]}, dtype=object))
    assert counts(ab) == 0


@pytest.mark.parametrize("user", ["", " ", "a\x00b", "a\nb", "\ud800", True, 1.5, None, b"u", "x" * 300], ids=ascii)
def test_a_hostile_subject_is_refused(lite, user):
    exp_id = lite.create_experiment(design())
    with pytest.raises((ValueError, TypeError)):
        lite.record_event(exp_id, user, 1.0)
    with pytest.raises((ValueError, TypeError)):
        lite.assign_many(exp_id, ["fine", user])
    assert counts(lite) == 0


def test_a_batch_is_all_or_nothing(ab):
    exp_id = ab.create_experiment(design())
    with pytest.raises(ValueError, match="row 2"):
        ab.record_events(exp_id, [("a", 1.0), ("b", 2.0), ("c", math.nan)])
    with pytest.raises(ValueError, match="unknown column 'valeu'"):
        ab.record_events(exp_id, [{"user_id": "a", "value": 1.0, "valeu": 2}])
    with pytest.raises(ValueError, match="no metric 'speed'"):
        ab.record_events(exp_id, [{"user_id": "a", "value": 1.0, "metric": "speed"}])
    with pytest.raises(ValueError, match="no variant 'c'"):
        ab.record_events(exp_id, [{"user_id": "a", "value": 1.0, "variant": "c"}])
    assert counts(ab) == counts(ab, ABSubjectRow) == 0
    assert ab.record_events(exp_id, []) == 0


def test_a_repeated_event_id_is_stored_once(ab):
    exp_id = ab.create_experiment(design(metric_type="count"))
    assert ab.record_event(exp_id, "u", 3, event_id="e1") is True
    assert ab.record_event(exp_id, "u", 3, event_id="e1") is False
    rows = [{"user_id": f"u{index % 7}", "value": 1, "event_id": f"e{index % 10}"} for index in range(20)]
    assert ab.record_events(exp_id, rows) == 9
    assert ab.record_events(exp_id, rows) == 0
    with ab.database.read() as session:
        assert session.scalar(sa.select(sa.func.sum(ABSubjectRow.total))) == 3 + 9


def test_threads_that_replay_the_same_events_store_them_once(ab):
    exp_id = ab.create_experiment(design(metric_type="count"))
    new, errors = [], []

    def replay():
        try:
            mine = ABTestingFramework(ab.database)
            for index in range(20):
                new.append(mine.record_event(exp_id, f"u{index % 5}", 1, event_id=f"e{index}"))
            new.append(
                mine.record_events(exp_id, [{"user_id": "b", "value": 1, "event_id": f"b{i}"} for i in range(10)])
            )
        except Exception as error:  # shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=replay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sum(new) == 30
    assert counts(ab) == 30
    with ab.database.read() as session:
        assert session.scalar(sa.select(sa.func.sum(ABSubjectRow.n_events))) == 30


@pytest.mark.slow
def test_processes_that_replay_the_same_events_store_them_once(lite):
    exp_id = lite.create_experiment(design(metric_type="count"))
    script = (
        "import sys; from ab_testing import ABTestingFramework as A; a = A(sys.argv[1]);"
        "rows = [{'user_id': f'u{i % 9}', 'value': 1, 'event_id': f'e{i}'} for i in range(60)];"
        "print(sum(a.record_event(sys.argv[2], **row) for row in rows[:30]) + a.record_events(sys.argv[2], rows))"
    )
    replays = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(lite.database.path), exp_id], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        for _ in range(3)
    ]
    new = [int(replay.communicate()[0]) for replay in replays]
    assert sum(new) == counts(lite) == 60
    with lite.database.read() as session:
        assert session.scalar(sa.select(sa.func.sum(ABSubjectRow.n_events))) == 60


@pytest.mark.parametrize(
    ("kind", "how", "expected"),
    [
        ("continuous", "mean", 2.0),
        ("continuous", "sum", 6.0),
        ("continuous", "max", 3.0),
        ("continuous", "first", 1.0),
        ("continuous", "last", 2.0),
        ("count", "sum", 6.0),
        ("binary", "any", 1.0),
    ],
)
@pytest.mark.parametrize("batch", [True, False])
def test_events_of_one_subject_become_one_value(ab, kind, how, expected, batch):
    exp_id = ab.create_experiment(design(metric_type=kind, aggregation=how))
    values = [1.0, 3.0, 2.0] if kind != "binary" else [0, 1, 0]
    rows = [{"user_id": "u", "value": value, "at": f"2026-01-0{day}"} for day, value in enumerate(values, start=1)]
    rows = [rows[1], rows[2], rows[0]]  # out of order
    if batch:
        ab.record_events(exp_id, rows)
    else:
        for row in rows:
            ab.record_event(exp_id, row["user_id"], row["value"], at=row["at"])
    with ab.database.read() as session:
        row = session.scalars(sa.select(ABSubjectRow)).one()
        assert (row.value, row.n_events) == (expected, 3)


def test_both_ways_of_recording_give_the_same_analysis(ab):
    rng = np.random.default_rng(3)
    rows = [(f"u{index % 40}", float(value)) for index, value in enumerate(rng.normal(size=120))]
    one, many = (ab.create_experiment(design(name, salt="same")) for name in ("one", "many"))
    for user, value in rows:
        ab.record_event(one, user, value)
    ab.record_events(many, rows)
    first, second = ab.analyze_experiment(one), ab.analyze_experiment(many)
    assert first.n_subjects == second.n_subjects
    assert first.p_value == pytest.approx(second.p_value, rel=1e-12)


def test_a_change_by_another_connection_is_seen_by_the_next_event(sqlite_url):
    here, there = ABTestingFramework(Database(sqlite_url)), ABTestingFramework(Database(sqlite_url))
    exp_id = here.create_experiment(design())
    for number in range(3):
        assert here.record_event(exp_id, f"u{number}", 1.0)
        there.pause(exp_id)
        with pytest.raises(StateError, match="paused"):
            here.record_event(exp_id, f"v{number}", 1.0)
        there.resume(exp_id)
    there.delete_experiment(exp_id, allow_running=True)
    with pytest.raises(NotFoundError):
        here.record_event(exp_id, "w", 1.0)
    here.database.close()
    there.database.close()


@pytest.mark.parametrize("column", ["variant", "metric"])
@pytest.mark.parametrize("wrong", [1, 0, True, 1.5, b"treatment"])
def test_a_variant_or_metric_that_is_no_name_is_refused_instead_of_ignored(lite, column, wrong):
    exp_id = lite.create_experiment(design())
    with pytest.raises(ValueError, match=f"{column} of row 1 must be a name"):
        lite.record_events(
            exp_id, [{"user_id": "a", "value": 1.0, column: None}, {"user_id": "b", "value": 1.0, column: wrong}]
        )
    assert counts(lite) == 0


def test_every_kind_of_missing_cell_is_missing(lite):
    exp_id = lite.create_experiment(design())
    frame = pd.DataFrame(
        {
            "user_id": list("abc"),
            "value": [1.0, 2.0, 3.0],
            "at": [pd.NaT, None, pd.NA],
            "variant": [pd.NA, None, float("nan")],
            "metric": [None, pd.NA, float("nan")],
            "event_id": pd.array([None, 7, None], dtype="Int64"),
        }
    )
    assert [lite.record_events(exp_id, frame) for _ in range(2)] == [3, 2]
    attributes = pd.DataFrame({"user_id": list("abc"), "age": pd.array([30, None, None], dtype="Int64")})
    assert lite.record_attributes(exp_id, attributes) == 1
