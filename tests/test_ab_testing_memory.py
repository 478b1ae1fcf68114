"""Assignments are served from memory, and what is remembered is never wrong for longer than promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from ab_parts import memory
from ab_parts.memory import STALE_SECONDS, Memory
from ab_testing import ABTestingFramework
from db import ABPhaseRow, Database, NotFoundError, StateError
from tests.ab_support import design

ROOT = Path(__file__).parents[1]
OTHER_PROCESS = """
import json, sys
from ab_testing import ABTestingFramework
ab = ABTestingFramework(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    verb, args, named = json.loads(line)
    getattr(ab, verb)(*args, **named)
    print("done", flush=True)
"""


@pytest.fixture
def elsewhere(ab):
    """Call a verb in another process, and wait until its effect must be seen here."""
    url = ab.database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", OTHER_PROCESS, url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"

        def call(verb, *args, **named):
            process.stdin.write(json.dumps([verb, args, named]) + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            time.sleep(STALE_SECONDS)

        yield call
        process.stdin.close()


def other_than(variant):
    return "baseline" if variant == "treatment" else "treatment"


def refuse(*_args, **_named):
    raise AssertionError("the store was asked")


def test_who_is_assigned_and_what_is_shown_are_served_without_asking_the_store(ab, monkeypatch):
    exp_id = ab.create_experiment(design())
    small = ab.create_experiment(design(name="small", coverage=0.3))
    users = [f"u{index}" for index in range(50)]
    first = [ab.assign(exp_id, user) for user in users]
    inside = [ab.assign(small, user, store=False) for user in users]
    assert set(inside) == {"baseline", "treatment", None}
    outside = users[inside.index(None)]
    monkeypatch.setattr(memory.time, "monotonic", lambda: 0.0)  # no time passes
    ab.assign(exp_id, users[0])
    ab.assign(small, users[0], store=False)
    for name in ("look_up", "read", "write", "driver", "transact"):
        monkeypatch.setattr(ab.database, name, refuse)
    assert [ab.assign(exp_id, user) for user in users] == first
    assert [ab.assign(exp_id, user, store=False) for user in users] == first
    assert [ab.assign(small, user, store=False) for user in users] == inside
    assert ab.assign(small, outside) is None
    with pytest.raises(AssertionError, match="the store was asked"):
        ab.assign(exp_id, "somebody new")  # a first assignment is stored


def test_many_who_were_assigned_are_served_without_a_write(ab, monkeypatch):
    exp_id = ab.create_experiment(design(treatments={"a": 0.3, "b": 0.3}))
    users = [f"u{index}" for index in range(50)]
    first = ab.assign_many(exp_id, users)
    monkeypatch.setattr(ab.database, "driver", refuse)
    again = ab.assign_many(exp_id, users[::-1])
    assert again.tolist() == first[::-1].tolist()
    assert again.dtype == first.dtype
    with pytest.raises(AssertionError, match="the store was asked"):
        ab.assign_many(exp_id, [*users, "somebody new"])


@pytest.mark.slow
def test_what_another_process_does_is_seen_within_the_promised_time(ab, elsewhere):
    exp_id = ab.create_experiment(design(traffic_split=0.5))
    users = [f"u{index}" for index in range(40)]
    before = [ab.assign(exp_id, user, store=False) for user in users]
    kept = ab.assign(exp_id, users[1])
    elsewhere("assign", exp_id, users[0], variant=other_than(before[0]))
    assert ab.assign(exp_id, users[0], store=False) == other_than(before[0])
    elsewhere("start_phase", exp_id, traffic_split=1.0)
    assert {ab.assign(exp_id, user, store=False) for user in users[2:]} == {"treatment"}
    assert ab.assign(exp_id, users[0], store=False) == other_than(before[0])  # stored assignments stay
    assert ab.assign(exp_id, users[1], store=False) == kept
    elsewhere("pause", exp_id)
    with pytest.raises(StateError, match="paused"):
        ab.assign(exp_id, "somebody new")
    assert ab.assign(exp_id, users[1]) == kept
    elsewhere("delete_experiment", exp_id, allow_running=True)
    for user in users[:3]:
        with pytest.raises(NotFoundError):
            ab.assign(exp_id, user)
        with pytest.raises(NotFoundError):
            ab.assign(exp_id, user, store=False)


WAYS = ["assign", "assign_many", "record_event", "record_events"]


def claim(ab, exp_id, way, users, variant):
    """Say by one of the verbs that the first of two users has a variant; the second is assigned as usual, if at all."""
    first = users[0]
    if way == "assign":
        ab.assign(exp_id, first, variant=variant)
    elif way == "assign_many":
        ab.assign_many(exp_id, users, variant=[variant, None])
    elif way == "record_event":
        ab.record_event(exp_id, first, 1.0, variant=variant)
    else:
        ab.record_events(exp_id, [{"user_id": first, "value": 1.0, "variant": variant}])


@pytest.mark.parametrize("way", WAYS)
def test_an_assignment_against_the_rule_is_shown_at_once_by_whichever_verb_it_came(ab, way):
    exp_id = ab.create_experiment(design())
    by_rule = ab.assign(exp_id, "ada", store=False)
    other = other_than(by_rule)
    claim(ab, exp_id, way, ["ada", "bob"], other)
    assert ab.assign(exp_id, "ada", store=False) == other
    assert ab.assign_many(exp_id, ["ada", "bob"]).tolist() == [other, ab.assign(exp_id, "bob", store=False)]


def test_an_event_that_was_known_may_still_assign_against_the_rule(ab):
    exp_id = ab.create_experiment(design())
    ab.record_event(exp_id, "bob", 1.0, event_id="e1")
    by_rule = ab.assign(exp_id, "ada", store=False)
    assert not ab.record_event(exp_id, "ada", 1.0, event_id="e1", variant=other_than(by_rule))
    assert ab.assign(exp_id, "ada", store=False) == other_than(by_rule)


def test_the_rule_is_trusted_only_while_nothing_departed_from_it(ab):
    def is_by_rule():
        with ab.database.read() as session:
            return list(session.scalars(sa.select(ABPhaseRow.by_rule).order_by(ABPhaseRow.number)))

    exp_id = ab.create_experiment(design())
    users = [f"u{index}" for index in range(20)]
    served = ab.assign_many(exp_id, users, store=False).tolist()
    ab.assign_many(exp_id, users, variant=served)
    assert is_by_rule() == [True]  # another server that applied the very rule
    ab.start_phase(exp_id, traffic_split=0.9)
    assert is_by_rule() == [True, True]
    late = ab.assign(exp_id, "late", store=False)
    ab.assign(exp_id, "late", variant=other_than(late))
    assert is_by_rule() == [True, False]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("state", ["running", "paused", "next phase"])
def test_a_second_variant_is_counted_whichever_verb_claims_it(ab, way, state):
    exp_id = ab.create_experiment(design(salt="claims"))
    users = [f"u{index}" for index in range(40)]
    ab.record_events(exp_id, [(user, float(index % 7)) for index, user in enumerate(users)])
    assert ab.check_exposure(exp_id).n_conflicts == ab.analyze_experiment(exp_id).n_conflicts == 0
    claimed = other_than(ab.assign(exp_id, "u3"))
    if state == "paused":
        ab.pause(exp_id)
        if way.startswith("record"):
            with pytest.raises(StateError, match="paused"):
                ab.record_event(exp_id, "u3", 1.0, variant=claimed)
            return
    if state == "next phase":  # in which the rule itself gives what is claimed
        ab.start_phase(exp_id, traffic_split=0.99 if claimed == "treatment" else 0.01)
    claim(ab, exp_id, way, ["u3", "u4"], claimed)
    assert ab.check_exposure(exp_id).n_conflicts == 1
    found = ab.analyze_experiment(exp_id)
    assert (found.n_conflicts, found.decision) == (1, "invalid")


def test_a_test_of_whose_past_nothing_is_known_is_always_asked(ab):
    exp_id = ab.create_experiment(design())
    by_rule = ab.assign(exp_id, "ada", store=False)
    ab.assign(exp_id, "ada", variant=other_than(by_rule))
    other = ABTestingFramework(Database(ab.database.engine.url.render_as_string(hide_password=False)))
    assert other.assign(exp_id, "ada", store=False) == other_than(by_rule)
    assert other.assign_many(exp_id, ["ada"]).tolist() == [other_than(by_rule)]
    other.database.close()


@pytest.mark.slow
def test_a_write_ends_what_threads_remember_however_they_read_meanwhile(lite):
    """A thread that reads before the write and takes in what it read after it would show the old answer."""
    stop, shown = threading.Event(), {}

    def read():
        while not stop.is_set():
            for exp_id in list(shown):
                lite.assign(exp_id, "ada", store=False)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(40):
            exp_id = lite.create_experiment(design(name=f"test {number}"))
            shown.clear()
            shown[exp_id] = True
            other = other_than(lite.assign(exp_id, "ada", store=False))
            lite.assign(exp_id, "ada", variant=other)
            assert [lite.assign(exp_id, "ada", store=False) for _ in range(20)] == [other] * 20
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_serves_what_it_inherited_and_sees_its_own_writes(lite):
    exp_id = lite.create_experiment(design())
    users = [f"u{index}" for index in range(10)]
    first = [lite.assign(exp_id, user) for user in users]
    by_rule = lite.assign(exp_id, "ada", store=False)
    child = os.fork()
    if child == 0:
        try:
            fine = [lite.assign(exp_id, user) for user in users] == first
            lite.assign(exp_id, "ada", variant=other_than(by_rule))
            fine = fine and lite.assign(exp_id, "ada", store=False) == other_than(by_rule)
            fine = fine and Memory.of(lite.database) is not None
            os._exit(0 if fine else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    time.sleep(STALE_SECONDS)
    assert lite.assign(exp_id, "ada", store=False) == other_than(by_rule)


def test_memory_is_bounded_and_what_it_lost_is_asked_again(lite, monkeypatch):
    monkeypatch.setattr(memory, "MOST_VARIANTS", 100)
    monkeypatch.setattr(memory, "MOST_TESTS", 3)
    tests = [lite.create_experiment(design(name=f"test {number}")) for number in range(8)]
    users = [f"u{index}" for index in range(1000)]
    first = {exp_id: lite.assign_many(exp_id, users).tolist() for exp_id in tests}
    for exp_id in tests:
        assert [lite.assign(exp_id, user) for user in users[::100]] == first[exp_id][::100]
        assert [lite.assign(exp_id, user, store=False) for user in users[::100]] == first[exp_id][::100]
    remembered = Memory.of(lite.database)
    assert len(remembered._new) + len(remembered._old) <= 2 * 100
    assert max(len(remembered._known), len(remembered.lives), len(remembered._designs)) <= 3


def test_two_stores_and_in_memory_ones_remember_apart(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path)
    frameworks = [
        ABTestingFramework(Database(place))
        for place in (tmp_path / "a.db", tmp_path / "link" / "a.db", tmp_path / "b.db", "sqlite://", "sqlite://")
    ]
    one, same, *others = [Memory.of(framework.database) for framework in frameworks]
    assert one is same
    assert len({id(found) for found in (one, *others)}) == 4


@pytest.mark.parametrize("user_id", ["", "   ", "a\x00b", "x" * 256, True, 1.5, None, b"ada", "\ud800"])
def test_a_wrong_id_is_refused_from_memory_as_from_the_store(lite, user_id):
    exp_id = lite.create_experiment(design())
    lite.assign(exp_id, "ada")
    for store in (True, False):
        with pytest.raises((TypeError, ValueError), match="user_id"):
            lite.assign(exp_id, user_id, store=store)


def test_numbers_are_ids_too_and_a_name_finds_its_test(ab):
    exp_id = ab.create_experiment(design(name="by name"))
    found = ab.assign("by name", 17)
    assert {ab.assign(key, user) for key in (exp_id, "by name") for user in (17, "17")} == {found}
    assert ab.record_event("by name", 17, 1.0)
    assert ab.record_events("by name", [(17, 1.0), ("18", 2.0)]) == 2
    assert ab.record_attributes("by name", [{"user_id": 17, "country": "de"}]) == 1
    assert sum(ab.check_exposure(exp_id).n_assigned.values()) == 2
    ab.delete_experiment(exp_id, allow_running=True)
    with pytest.raises(NotFoundError):
        ab.assign("by name", "17")


@pytest.mark.parametrize("exp_id", [None, 5, "", ["x"], "x" * 10_000, "'; drop table ab_events;--", "a\0b", "\ud800"])
def test_what_is_no_id_of_a_test_is_refused_by_every_verb_on_both_databases(ab, exp_id):
    for verb in (
        ab.assigner,
        ab.check_exposure,
        lambda key: ab.assign(key, "u"),
        lambda key: ab.assign_many(key, ["u"]),
        lambda key: ab.record_event(key, "u", 1.0),
        lambda key: ab.record_events(key, [("u", 1.0)]),
        lambda key: ab.record_attributes(key, [{"user_id": "u", "age": 1.0}]),
    ):
        with pytest.raises((NotFoundError, ValueError, TypeError), match="exp_id|no experiment"):
            verb(exp_id)
