"""What the sections, the form and the dialogs of the Registry tab say in cases that a plain store does not have."""

from __future__ import annotations

import os
import pickle

import pandas as pd
import pytest

from dashboard import access
from dashboard.registry_details import evidence_text
from tests.dashboard.conftest import healthy, shown_errors, texts


class Shell:
    def __reduce__(self):
        return os.system, ("true",)


def tables(test):
    return [frame.value for frame in test.dataframe]


def labels(test):
    return [button.label for button in test.button]


def cells(test, heading):
    """The rows of the table whose first column has this heading, without its first column's name."""
    found = [frame for frame in tables(test) if frame.columns[0] == heading]
    return [tuple(row) for frame in found for row in frame.itertuples(index=False)]


def show(app_test, section, *versions):
    return app_test(tab="Registry", query={"version": list(versions), "registry.section": [section]})


def test_a_version_with_nothing_says_what_it_lacks(app_test, seed):
    uid = seed.registry.register_model({"w": 1}, "bare", "1.0.0", "other")
    said = texts(show(app_test, "Overview", uid))
    for words in (
        "Tied to no run, test or monitoring yet.", "No metrics were given at registration.",
        "No hyperparameters were given at registration.",
    ):  # fmt: skip
        assert words in said
    assert "No dependencies were recorded." in texts(show(app_test, "Dependencies", uid))


def test_the_overview_has_metrics_hyperparameters_tags_and_the_signature(app_test, seed):
    example = pd.DataFrame({"age": [40.0], "plan": ["a"]})
    uid = seed.registry.register_model(
        {"w": 1}, "churn", "2.0.0", "classifier", {"auc": 0.87654}, {"depth": 7}, tags={"team": "risk"},
        input_example=example,
    )  # fmt: skip
    test = show(app_test, "Overview", uid)
    assert cells(test, "metric") == [("auc", "0.877")]
    assert cells(test, "hyperparameter") == [("depth", "7")]
    assert cells(test, "tag") == [("team", "risk")]
    assert [name for name, _ in cells(test, "input")] == ["age", "plan"]


def test_dependencies_are_listed_and_given_as_a_file_of_requirements(app_test, seed):
    uid = seed.registry.register_model({"w": 1}, "churn", "2.0.0", dependencies={"numpy": "2.0.1", "pandas": "3.0"})
    test = show(app_test, "Dependencies", uid)
    assert cells(test, "package") == [("numpy", "2.0.1"), ("pandas", "3.0")]
    assert [button.label for button in test.get("download_button")].count("requirements.txt") == 1
    assert all(value not in {"[]", "{}", "–"} for _, value in cells(test, "environment"))


def test_files_that_run_code_are_said_to_and_what_is_dangerous_is_named(app_test, seed, tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Shell()))
    uid = seed.registry.register_file(path, "shell", "1.0.0")
    test = show(app_test, "Files", uid)
    assert "Loading it runs code" in texts(test)
    assert "Listed as dangerous" in test.warning[0].value
    assert "system" in test.warning[0].value
    assert [row[0] for row in cells(test, "path")] == ["model.pkl"]


def test_a_version_whose_files_were_given_back_says_so_and_cannot_be_restored(app_test, seed):
    seed.registry.delete_version("churn", "1.2.0", purge=True)
    test = show(app_test, "Files", seed.versions[2])
    assert "The files were given back; only this record is left." in texts(test)
    assert "Restore" not in labels(test)


def test_the_history_names_the_test_of_a_promotion_and_what_was_rolled_back(app_test, seed, store):
    from ab_testing import ABTestingFramework, ExperimentConfig

    testing = ABTestingFramework(store)
    exp_id = testing.create_experiment(ExperimentConfig(name="new against old", metric_name="clicked"))
    seed.registry.transition_stage("churn", "1.2.0", "Production", evidence={"experiment_id": exp_id})
    test = show(app_test, "History", seed.versions[2])
    (history,) = [frame for frame in tables(test) if frame.columns[0] == "at (UTC)"]
    assert "test new against old" in set(history["evidence"])
    assert evidence_text({"rolled_back_from": "1.2.0"}) == "rolled back from 1.2.0"


def test_a_promotion_records_the_test_that_was_chosen_for_it(app_test, seed, store):
    import chain
    from ab_testing import ABTestingFramework

    exp_id = chain.create_test_between_versions(
        ABTestingFramework(store), seed.registry, "it wins", ("churn", "1.1.0"), ("churn", "1.2.0"),
        metric_name="clicked", metric_type="binary",
    )  # fmt: skip
    uid = seed.versions[2]
    test = app_test(tab="Registry", ui__dialog=("registry.stage", {"model_id": uid}))
    healthy(test.segmented_control(key=f"registry.stage.to.{uid}").set_value("Production").run())
    assert "1.1.0 leaves Production for Archived" in texts(test)
    healthy(test.selectbox(key=f"registry.stage.test.{uid}").set_value(exp_id).run())
    healthy(test.button(key="registry.stage.confirm").click().run())
    event = seed.registry.stage_history("churn", "1.2.0")[-1]
    assert (event.evidence["experiment_id"], event.evidence["experiment_name"]) == (exp_id, "it wins")


def test_nothing_to_roll_back_to_is_said_without_a_button(app_test, seed):
    uid = seed.registry.register_model({"w": 1}, "young", "1.0.0", stage="Production")
    test = app_test(tab="Registry", ui__dialog=("registry.rollback", {"model_id": uid}))
    assert "there is nothing to roll back to" in texts(test)
    assert "registry.rollback.confirm" not in [button.key for button in test.button]


def test_aliases_come_and_go_with_the_form(app_test, seed):
    uid = seed.versions[0]
    for alias in ("champion", "old"):
        seed.registry.set_alias("churn", alias, "1.0.0")
    test = app_test(tab="Registry", ui__dialog=("registry.edit", {"model_id": uid}))
    test.text_input(key=f"registry.edit.aliases.{uid}").set_value("champion, new")
    healthy(test.button(key="registry.edit.save").click().run())
    assert set(seed.registry.get_version("churn", "1.0.0").aliases) == {"champion", "new"}


def test_deleting_the_version_in_production_warns_and_records_why(app_test, seed):
    test = app_test(tab="Registry", ui__dialog=("registry.delete", {"model_id": seed.versions[1]}))
    assert "This version is in Production." in test.warning[0].value
    test.text_input(key="registry.delete.reason").set_value("leaks")
    healthy(test.text_input(key="registry.delete.typed").set_value("churn 1.1.0").run())
    healthy(test.button(key="registry.delete.confirm").click().run())
    assert seed.registry.stage_history("churn", "1.1.0")[-1].reason == "leaks"
    assert seed.registry.find_version_by_id(seed.versions[1]).deleted_at is not None
    assert seed.registry.find_version_by_id(seed.versions[0]).deleted_at is None


@pytest.mark.parametrize("name", ["stage", "rollback", "edit", "gates", "delete", "record"])
def test_a_dialog_about_a_version_that_is_gone_says_so_and_offers_nothing(app_test, seed, name):
    seed.registry.delete_version("churn", "1.2.0")
    test = app_test(tab="Registry", ui__dialog=(f"registry.{name}", {"model_id": seed.versions[2]}))
    assert shown_errors(test) == ["This version was deleted meanwhile."]
    assert not [button.key for button in test.button if f"registry.{name}." in str(button.key)]


@pytest.mark.slow
def test_every_button_opens_its_dialog_about_the_selected_version(app_test, seed):
    uid = seed.versions[1]
    for name in ("stage", "rollback", "edit", "gates", "delete"):
        test = app_test(tab="Registry", query={"version": [uid]})
        healthy(test.button(key=f"registry.do.{name}").click().run())
        assert test.session_state["ui.dialog"] == (f"registry.{name}", {"model_id": uid})
        assert "**churn 1.1.0**, now in Production" in texts(test)
    test = app_test(tab="Registry", query={"version": seed.versions[1:]})
    healthy(test.button(key="registry.do.test").click().run())
    assert test.session_state["ui.dialog"][1] == {"model_ids": seed.versions[1:]}


def test_a_test_of_two_versions_one_of_which_is_gone_is_not_offered(app_test, seed):
    seed.registry.delete_version("churn", "1.2.0")
    test = app_test(tab="Registry", ui__dialog=("registry.test", {"model_ids": seed.versions[1:]}))
    assert shown_errors(test) == ["One of the versions was deleted meanwhile."]


def test_the_stage_bar_of_several_models_names_them_and_counts_the_older(app_test, seed):
    for number in range(6):
        seed.registry.register_model({"w": number}, "fraud", f"1.{number}.0")
    test = app_test(tab="Registry")
    assert "Stages of all models" in texts(test)
    assert "and 3 older" in texts(test)
    assert "fraud 1.5.0" in labels(test)
    assert "fraud 1.0.0" not in labels(test)


def test_what_cannot_be_compared_says_why(app_test, seed):
    other = seed.registry.register_model({"w": 1}, "fraud", "1.0.0")
    test = app_test(tab="Registry", query={"version": [seed.versions[0], other]})
    assert "the selection has versions of several" in texts(test)
    same = [seed.registry.register_model({"w": 9}, "twin", f"1.{n}.0", "other") for n in range(2)]
    test = app_test(tab="Registry", query={"version": same})
    assert "do not differ" in texts(test)
    seed.registry.delete_version("churn", "1.0.0")
    test = app_test(tab="Registry", query={"version": seed.versions[:2]})
    assert "Deleted versions are not compared; restore them first." in texts(test)
    assert "A/B test these two" not in labels(test)


def test_of_more_than_five_selected_versions_the_first_five_are_compared_and_it_is_said(app_test, seed):
    more = [seed.registry.register_model({"w": n}, "churn", f"2.{n}.0") for n in range(4)]
    said = texts(app_test(tab="Registry", query={"version": [*seed.versions, *more]}))
    assert "The first 5 of 7 selected versions are compared." in said
    assert "4 versions compared with 1.0.0" in said


def test_a_selected_version_that_never_was_is_said_to_be_gone(app_test, seed):
    assert "A selected version no longer exists." in texts(app_test(tab="Registry", query={"version": ["0" * 32]}))


def opened_form(app_test):
    return app_test(tab="Registry", registry__form__is_open=True, registry__form=True)


def test_the_form_registers_all_that_was_typed_and_is_empty_afterwards(app_test, seed):
    test = opened_form(app_test)
    healthy(test.button(key="registry.form.submit").click().run())
    assert "choose the model's file first" in shown_errors(test)[0]
    test.file_uploader(key="registry.form.0.file").set_value(
        ("model.onnx", b"never opened", "application/octet-stream")
    )
    test.selectbox(key="registry.form.0.name").set_value("churn")
    test.segmented_control(key="registry.form.0.bump").set_value("Major")
    test.selectbox(key="registry.form.0.type").set_value("regressor")
    test.segmented_control(key="registry.form.0.stage").set_value("Staging")
    test.text_area(key="registry.form.0.metrics").set_value("mae = 0.25")
    test.text_area(key="registry.form.0.hyper").set_value("depth = 7")
    test.text_area(key="registry.form.0.tags").set_value("team = risk")
    test.text_area(key="registry.form.0.description").set_value("from a file")
    healthy(test.button(key="registry.form.submit").click().run())
    assert shown_errors(test) == []
    version = seed.registry.get_version("churn", "2.0.0")
    assert (version.model_type.value, version.stage.value, version.description) == (
        "regressor",
        "Staging",
        "from a file",
    )
    assert (dict(version.performance_metrics), dict(version.hyperparameters)) == ({"mae": 0.25}, {"depth": 7})
    assert (dict(version.tags), [path for path, _, _ in version.files]) == ({"team": "risk"}, ["model.onnx"])
    assert test.text_area(key="registry.form.1.metrics").value in ("", None)
    assert "#### churn 2.0.0" in texts(test)


def test_viewers_see_everything_and_can_change_nothing(app_test, seed, monkeypatch):
    viewer = access.Person(name="eve", can_edit=False, signed_in=True)
    monkeypatch.setattr(access, "require_person", lambda: viewer)
    test = opened_form(app_test)
    assert "Viewers cannot register models." in texts(test)
    test = app_test(tab="Registry", query={"version": [seed.versions[1]]})
    assert "#### churn 1.1.0" in texts(test)
    for label in ("Change stage", "Roll back", "Edit", "Gates", "Delete", "Edit model", "Record performance"):
        assert [button.disabled for button in test.button if button.label == label] == [True], label
