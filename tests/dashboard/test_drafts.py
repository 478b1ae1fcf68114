"""Two people edit one thing: each changes what they changed, and whoever is overtaken is told."""

from __future__ import annotations

import pytest

from dashboard.drafts import changes, pair_changes
from tests.dashboard.conftest import healthy, shown_errors


def test_only_what_differs_from_what_was_shown_is_a_change():
    shown, stored = {"owner": "ada", "note": ""}, {"owner": "bob", "note": ""}
    assert changes(shown, dict(shown), stored) == {}
    assert changes(shown, {"owner": "ada", "note": "good"}, stored) == {"note": "good"}
    assert changes(shown, {"owner": "bob", "note": ""}, stored) == {"owner": "bob"}, "both wanted the same"


def test_a_field_that_someone_else_changed_is_not_overwritten():
    with pytest.raises(ValueError, match="someone else changed 'owner' meanwhile, to 'bob'"):
        changes({"owner": "ada"}, {"owner": "eve"}, {"owner": "bob"})


def test_a_key_that_someone_else_added_stays_and_a_removed_one_goes():
    assert pair_changes({"a": "1", "b": "2"}, {"a": "1"}, {"a": "1", "b": "2", "c": "3"}) == {"b": None}
    with pytest.raises(ValueError, match="'b'"):
        pair_changes({"b": "2"}, {}, {"b": "3"})


def test_two_people_editing_a_version_lose_nothing(app_test, seed):
    model_id = seed.versions[0]
    test = app_test(tab="Registry", ui__dialog=("registry.edit", {"model_id": model_id}))
    seed.registry.update_version("churn", "1.0.0", description="by someone else")
    seed.registry.set_tags("churn", "1.0.0", {"added": "meanwhile"})
    test.text_input(key=f"registry.edit.owner.{model_id}").set_value("ada")
    healthy(test.button(key="registry.edit.save").click().run())
    version = seed.registry.get_version("churn", "1.0.0")
    assert (version.description, version.owner, version.tags["added"]) == ("by someone else", "ada", "meanwhile")


def test_whoever_saves_a_run_second_is_told_and_changes_nothing(app_test, seed):
    run_id = seed.runs[0]
    test = app_test(tab="Tracking", ui__dialog=("tracking.edit", {"run_id": run_id}))
    seed.tracking.set_note(run_id, "the first note")
    test.text_area(key=f"tracking.edit.note.{run_id}").set_value("the second note")
    test.text_input(key=f"tracking.edit.name.{run_id}").set_value("renamed")
    healthy(test.button(key="tracking.edit.save").click().run())
    assert "someone else changed 'note' meanwhile, to 'the first note'" in shown_errors(test)[0]
    assert (seed.tracking.get_run(run_id).note, seed.tracking.get_run(run_id).name) == ("the first note", "run-0")


def test_gates_that_someone_else_set_are_not_overwritten(app_test, seed):
    test = app_test(tab="Registry", ui__dialog=("registry.gates", {"model_id": seed.versions[0]}))
    seed.registry.set_gates("churn", {"metrics": {"f1": {"min": 0.5}}})
    test.text_area(key="registry.gates.min").set_value("accuracy = 0.9")
    healthy(test.button(key="registry.gates.save").click().run())
    assert "someone else changed 'gates' meanwhile" in shown_errors(test)[0]
    assert list(seed.registry.get_model("churn").gates["metrics"]) == ["f1"]
