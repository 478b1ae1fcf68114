"""Two people edit one thing: each changes what they changed, and whoever is overtaken is told."""

from __future__ import annotations

import pytest

from dashboard.drafts import changes, pair_changes
from tests.dashboard.conftest import healthy, shown_errors, texts


def test_only_what_differs_from_what_was_shown_is_a_change():
    shown, stored = {"owner": "ada", "note": ""}, {"owner": "bob", "note": ""}
    assert changes(shown, dict(shown), stored) == {}
    assert changes(shown, {"owner": "ada", "note": "good"}, stored) == {"note": "good"}
    assert changes(shown, {"owner": "bob", "note": ""}, stored) == {"owner": "bob"}, "both wanted the same"


def test_a_field_that_someone_else_changed_is_not_overwritten():
    with pytest.raises(ValueError, match="someone else changed 'owner' meanwhile, to 'bob'"):
        changes({"owner": "ada"}, {"owner": "eve"}, {"owner": "bob"})


def test_a_key_that_someone_else_added_stays_and_a_removed_one_goes():
    assert pair_changes({"a": "1", "b": "2"}, "a = 1", {"a": "1", "b": "2", "c": "3"}) == {"b": None}
    with pytest.raises(ValueError, match="'b'"):
        pair_changes({"b": "2"}, "", {"b": "3"})


def test_tags_that_no_line_can_hold_stay_as_they_are():
    tags = {"a=b": "1", "note": "two\nlines", " padded": "x", "team": "vision", "empty": "", "sum": "1 = 1"}
    assert pair_changes(tags, "empty = \nsum = 1 = 1\nteam = text", tags) == {"team": "text"}
    with pytest.raises(ValueError, match="line 1 must read key = value"):
        pair_changes(tags, "team", tags)


def test_a_run_with_odd_tags_is_renamed_and_keeps_them(app_test, seed):
    run_id = seed.runs[0]
    seed.tracking.set_tags(run_id, {"a=b": "1", "note": "two\nlines"})
    test = app_test(tab="Tracking", ui__dialog=("tracking.edit", {"run_id": run_id}))
    assert "2 tags of several lines, or with = in the key, stay as they are" in texts(test)
    test.text_input(key=f"tracking.edit.name.{run_id}").set_value("renamed")
    healthy(test.button(key="tracking.edit.save").click().run())
    run = seed.tracking.get_run(run_id)
    assert (run.name, dict(run.tags)) == ("renamed", {"a=b": "1", "note": "two\nlines", "team": "vision"})


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


def test_whoever_moves_a_version_that_was_moved_meanwhile_is_told_and_moves_nothing(app_test, seed):
    uid = seed.versions[2]
    test = app_test(tab="Registry", ui__dialog=("registry.stage", {"model_id": uid}))
    healthy(test.segmented_control(key=f"registry.stage.to.{uid}").set_value("Archived").run())
    seed.registry.transition_stage("churn", "1.2.0", "Production", actor="bob")
    healthy(test.button(key="registry.stage.confirm").click().run())
    assert "churn 1.2.0 is not in Development any more: it is in Production" in shown_errors(test)[0]
    assert seed.registry.get_production("churn").version == "1.2.0"
    assert "When you opened this, churn 1.2.0 was in Development, and 1.1.0 in Production" in test.warning[0].value
    healthy(test.button(key="registry.stage.again").click().run())
    assert not test.warning
    healthy(test.button(key="registry.stage.confirm").click().run())
    assert seed.registry.get_version("churn", "1.2.0").stage.value == "Archived"


def test_whoever_promotes_past_a_version_they_did_not_see_is_told_and_displaces_nothing(app_test, seed):
    uid = seed.versions[2]
    test = app_test(tab="Registry", ui__dialog=("registry.stage", {"model_id": uid}))
    healthy(test.segmented_control(key=f"registry.stage.to.{uid}").set_value("Production").run())
    seed.registry.rollback("churn", actor="bob")
    healthy(test.button(key="registry.stage.confirm").click().run())
    assert "1.0.0 of churn is in Production by now, not 1.1.0" in shown_errors(test)[0]
    assert seed.registry.get_production("churn").version == "1.0.0"


def test_a_version_that_was_promoted_while_its_name_was_typed_is_not_deleted(app_test, seed):
    test = app_test(tab="Registry", ui__dialog=("registry.delete", {"model_id": seed.versions[2]}))
    healthy(test.text_input(key="registry.delete.typed").set_value("churn 1.2.0").run())
    seed.registry.transition_stage("churn", "1.2.0", "Production", actor="bob")
    healthy(test.button(key="registry.delete.confirm").click().run())
    assert "Production" in shown_errors(test)[0]
    assert seed.registry.get_production("churn").version == "1.2.0"


def test_a_rollback_brings_back_what_it_named_or_nothing(app_test, seed):
    seed.registry.transition_stage("churn", "1.2.0", "Production")
    test = app_test(tab="Registry", ui__dialog=("registry.rollback", {"model_id": seed.versions[2]}))
    assert "1.1.0 comes back to Production" in texts(test)
    seed.registry.delete_version("churn", "1.1.0")
    healthy(test.button(key="registry.rollback.confirm").click().run())
    assert "churn 1.1.0 would not come back: 1.0.0 would" in shown_errors(test)[0]
    assert seed.registry.get_production("churn").version == "1.2.0"


def test_a_run_that_was_restored_meanwhile_is_not_deleted_for_ever(app_test, seed):
    for run_id in seed.runs[:2]:
        seed.tracking.delete_run(run_id)
    test = app_test(tab="Tracking", ui__dialog=("tracking.purge", {"run_ids": seed.runs[:2]}))
    healthy(test.text_input(key="tracking.purge.typed").set_value("delete 2 runs").run())
    seed.tracking.restore_run(seed.runs[1])
    healthy(test.button(key="tracking.purge.confirm").click().run())
    assert "run-1 was restored meanwhile" in shown_errors(test)[0]
    assert [seed.tracking.get_run(run_id).deleted for run_id in seed.runs[:2]] == [True, False]


def test_gates_keep_their_direction_and_all_their_digits(app_test, seed):
    against = {"custom": {"tolerance": 0.1, "higher_is_better": True}}
    seed.registry.set_gates(
        "churn", {"metrics": {"f1": {"min": 0.123456789}}, "not_worse_than_production": against, "experiment": "t"}
    )
    test = app_test(tab="Registry", ui__dialog=("registry.gates", {"model_id": seed.versions[0]}))
    test.text_area(key="registry.gates.max").set_value("loss = 0.5")
    healthy(test.button(key="registry.gates.save").click().run())
    assert seed.registry.get_model("churn").gates == {
        "metrics": {"f1": {"min": 0.123456789}, "loss": {"max": 0.5}},
        "not_worse_than_production": against,
        "experiment": "t",
    }


def test_gates_that_someone_else_set_are_not_overwritten(app_test, seed):
    test = app_test(tab="Registry", ui__dialog=("registry.gates", {"model_id": seed.versions[0]}))
    seed.registry.set_gates("churn", {"metrics": {"f1": {"min": 0.5}}})
    test.text_area(key="registry.gates.min").set_value("accuracy = 0.9")
    healthy(test.button(key="registry.gates.save").click().run())
    assert "someone else changed 'gates' meanwhile" in shown_errors(test)[0]
    assert list(seed.registry.get_model("churn").gates["metrics"]) == ["f1"]
