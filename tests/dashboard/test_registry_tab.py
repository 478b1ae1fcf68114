"""The Registry tab: what it shows, what its widgets do, and its jobs done by hand in a browser."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dashboard import formats, registry_tab
from dashboard.registry_details import evidence_text, history_frame, import_name, signature_text
from dashboard.registry_stages import build_stages
from dashboard.registry_tab import Choices, build_view, comparison_frame
from tests.dashboard.conftest import healthy, shown_errors, texts

# -- the view --------------------------------------------------------------------------------------------------


def test_the_view_counts_models_versions_production_and_stale(seed):
    view = build_view(seed.registry, Choices())
    assert [card[:2] for card in view.kpis] == [
        ("Models", "1"),
        ("Versions", "3"),
        ("In Production", "1"),
        ("Stale", "0"),
    ]
    later = datetime.now(UTC) + timedelta(days=100)
    assert build_view(seed.registry, Choices(), now=later).kpis[3][1] == "1"
    assert view.n_found == 3
    assert set(view.ids) == set(seed.versions)
    assert set(view.frame["Stage"]) == {"★ Production", "□ Archived", "○ Development"}
    assert list(view.frame["Since then"]).count([]) == 2


def test_stale_versions_are_counted_without_reading_them(seed):
    from dashboard.registry_tab import _count_stale

    for number in range(9):
        seed.registry.register_model({"w": number}, f"model-{number}", "1.0.0", stage="Production")
    instants = sorted(seed.registry.search(stage="Production")["created_at"])
    assert len(instants) == 10
    for expected, instant in enumerate(instants):
        assert _count_stale(seed.registry, instant.to_pydatetime()) == expected
    assert _count_stale(seed.registry, datetime.now(UTC) + timedelta(days=1)) == 10


def test_search_stage_and_pages_narrow_the_table(seed):
    assert build_view(seed.registry, Choices(stage="Production")).ids == (seed.versions[1],)
    assert build_view(seed.registry, Choices(text="1.2")).ids == (seed.versions[2],)
    assert build_view(seed.registry, Choices(text="nothing like it")).ids == ()
    assert len(build_view(seed.registry, Choices(limit=2, offset=2)).ids) == 1
    assert build_view(seed.registry, Choices(limit=2, offset=40)).ids == (seed.versions[0],)  # the last page


def test_deleted_versions_are_listed_apart(seed):
    seed.registry.delete_version("churn", "1.2.0")
    assert build_view(seed.registry, Choices()).n_found == 2
    view = build_view(seed.registry, Choices(shown="Deleted"))
    assert view.ids == (seed.versions[2],)
    assert view.n_found == 1
    seed.registry.delete_version("churn", "1.0.0")
    view = build_view(seed.registry, Choices(shown="Deleted"))
    assert view.ids == (seed.versions[0], seed.versions[2]), "the last deleted first"
    row = view.frame.iloc[0]
    assert row["Size"] == formats.size(seed.registry.find_version_by_id(seed.versions[0]).size_bytes)
    assert tuple(row[["Model", "Version", "Stage", "metrics.accuracy"]]) == ("churn", "1.0.0", "□ Archived", 0.9)


def test_a_selected_version_that_does_not_exist_is_counted_not_shown(seed):
    view = build_view(seed.registry, Choices(selected=(seed.versions[0], "0" * 32)))
    assert [version.version for version in view.versions] == ["1.0.0"]
    assert view.missing == 1


def test_a_comparison_lists_only_what_differs(seed):
    frame = comparison_frame(seed.registry.compare_models("churn", "1.0.0", "1.1.0"))
    rows = {row["key"]: row for _, row in frame.iterrows()}
    assert "epochs" not in rows
    assert rows["accuracy"]["1.1.0"] == "0.910 (+0.0100) ▲ better"
    assert rows["learning_rate"]["1.1.0"] == "0.002"


def test_the_history_says_who_did_what_and_on_what_evidence(seed):
    frame = history_frame(seed.registry.stage_history("churn"))
    assert frame.iloc[0]["version"] in {"1.1.0", "1.0.0"}
    promoted = frame[(frame["version"] == "1.1.0") & (frame["to"] == "Production")].iloc[0]
    assert (promoted["by"], promoted["reason"], promoted["displaced"]) == ("ada", "better", "1.0.0")
    gates = [{"gate": "a", "passed": True, "message": ""}, {"gate": "b", "passed": False, "message": ""}]
    assert evidence_text({"experiment_name": "t", "gates": gates, "override": True}) == (
        "test t; 1 of 2 gates passed; gates overridden"
    )
    assert evidence_text({}) == "–"


def test_the_export_has_every_version_that_matches_with_all_its_metrics_and_no_formula(seed, store):
    from dashboard import access
    from dashboard import components as ui

    app = ui.App(database=store, person=access.Person(name="ada", can_edit=True, signed_in=False))
    seed.registry.set_tags("churn", "1.0.0", {"note": "=1+1"})
    frame = registry_tab._export(app, Choices(model="churn"))
    assert list(frame["version"]) == ["1.2.0", "1.1.0", "1.0.0"]
    assert {"metrics.accuracy", "metrics.f1", "params.epochs", "tags.team"} <= set(frame.columns)
    assert b",=1+1" not in formats.csv_bytes(frame)
    seed.registry.delete_version("churn", "1.0.0")
    gone = registry_tab._export(app, Choices(shown="Deleted"))
    assert list(gone["version"]) == ["1.0.0"]
    assert {"metrics.f1", "tags.note"} <= set(gone.columns)


def test_what_a_file_would_import_is_named_with_its_module():
    class Import:
        module, name = "os", "system"

    assert import_name(Import()) == "os.system"
    assert import_name("builtins.eval") == "builtins.eval"


def test_evidence_names_the_test_even_where_only_its_id_was_recorded():
    assert evidence_text({"experiment_id": "x", "p_value": 1.4e-5}, {"x": "b wins"}) == "test b wins (p = 1.4e-5)"
    assert evidence_text({"experiment_id": "gone"}) == "–"


def test_the_stages_list_the_latest_few_versions_and_count_the_rest(seed):
    for minor in range(3, 9):
        seed.registry.register_model({"w": minor}, "churn", f"1.{minor}.0")
    columns = build_stages(seed.registry, "churn", limit=3)
    assert [(column.stage, column.n_versions) for column in columns] == [
        ("Development", 7), ("Staging", 0), ("Production", 1), ("Archived", 1),
    ]  # fmt: skip
    assert [version for _, version in columns[0].versions] == ["1.8.0", "1.7.0", "1.6.0"]
    assert columns[2].versions == ((seed.versions[1], "1.1.0"),)
    seed.registry.register_model({"w": 1}, "fraud", "1.0.0", stage="Staging")
    assert [label for _, label in build_stages(seed.registry, None)[1].versions] == ["fraud 1.0.0"]


def test_what_a_model_gives_back_is_said_in_words():
    assert signature_text({"kind": "class", "dtype": "int64", "shape": [None], "n_classes": 10}) == (
        "class, int64, 10 classes"
    )
    assert signature_text({"dtype": "float64", "shape": [None, 3]}) == "float64, any × 3"
    assert signature_text("text") == "text"


# -- its widgets -----------------------------------------------------------------------------------------------


def table(test):
    return test.dataframe[0].value


def test_every_filter_narrows_the_table(app_test, seed):
    test = app_test(tab="Registry")
    assert len(table(test)) == 3
    healthy(test.text_input(key="registry.search").set_value("1.1").run())
    assert list(table(test)["Version"]) == ["1.1.0"]
    assert test.query_params["registry.search"] in ("1.1", ["1.1"])
    healthy(test.text_input(key="registry.search").set_value("").run())
    healthy(test.button_group(key="registry.stage").set_value("Production").run())
    assert list(table(test)["Version"]) == ["1.1.0"]


@pytest.mark.parametrize("section", ["Overview", "Model card", "Dependencies", "Files", "History"])
def test_every_section_of_the_details_draws(app_test, seed, section):
    test = app_test(tab="Registry", query={"version": [seed.versions[1]], "registry.section": [section]})
    assert not shown_errors(test)
    assert "churn 1.1.0" in texts(test)
    assert "trained by run-1" in [button.label for button in test.button]


def test_the_owner_narrows_the_table(app_test, seed):
    seed.registry.register_model({"w": 1}, "fraud", "1.0.0")
    seed.registry.update_model("fraud", owner="grace")
    test = app_test(tab="Registry")
    healthy(test.selectbox(key="registry.owner").set_value("grace").run())
    assert list(table(test)["Model"]) == ["fraud"]


def test_the_stage_bar_shows_the_only_model_and_selects_a_version(app_test, seed):
    seed.registry.register_model({"w": 1}, "churn", "1.3.0")  # stands before 1.2.0
    test = app_test(tab="Registry")
    assert "Stages of churn" in texts(test)
    healthy(test.button(key=f"registry.stages.{seed.versions[2]}").click().run())
    assert test.query_params["version"] in (seed.versions[2], [seed.versions[2]])
    assert "#### churn 1.2.0" in texts(test)


def test_production_shows_the_test_that_promoted_it_and_its_health_today(app_test, example_store):
    test = app_test(tab="Registry")
    (promoted,) = [button for button in test.button if button.label.startswith("promoted by")]
    assert "digit" in promoted.label
    (health,) = [caption.value for caption in test.caption if caption.value.startswith("Health today: ")]
    assert "control limits" in health
    assert "drifted" in health
    healthy(promoted.click().run())
    assert test.session_state["tab"] == "A/B testing"
    test = app_test(tab="Registry")
    healthy(test.button(key="registry.stages.watch").click().run())
    assert test.session_state["tab"] == "Monitoring"


def test_health_that_cannot_be_told_says_why_and_silence_is_not_called_health(app_test, example_store, monkeypatch):
    from model_monitoring import ModelMonitoring

    for error, words in (
        (LookupError("x"), "nothing was logged"),
        (ValueError("the file is torn"), "the file is torn"),
    ):

        def fail(*_args, error=error, **_kwargs):
            raise error

        monkeypatch.setattr(ModelMonitoring, "generate_monitoring_report", fail)
        assert words in texts(app_test(tab="Registry"))


def test_two_selected_versions_are_compared(app_test, seed):
    test = app_test(tab="Registry", query={"version": seed.versions[:2]})
    assert "1.1.0 compared with 1.0.0" in texts(test)
    assert "A/B test these two" in [button.label for button in test.button]


def open_dialog(app_test, name, **payload):
    ids = payload.get("model_ids") or [payload["model_id"]]
    return app_test(tab="Registry", query={"version": ids}, ui__dialog=(f"registry.{name}", payload))


def test_promoting_asks_the_gates_and_an_override_needs_a_reason(app_test, seed):
    seed.registry.set_gates("churn", {"metrics": {"accuracy": {"min": 0.99}}})
    test = open_dialog(app_test, "stage", model_id=seed.versions[2])
    test.button_group(key=f"registry.stage.to.{seed.versions[2]}").set_value("Production")
    healthy(test.run())
    assert "✗ failed: accuracy is 0.92; min 0.99 is required" in texts(test)
    healthy(test.button(key="registry.stage.confirm").click().run())
    assert "churn 1.2.0 may not enter Production" in shown_errors(test)[0]
    assert seed.registry.get_production("churn").version == "1.1.0"
    healthy(test.checkbox(key=f"registry.stage.override.{seed.versions[2]}").check().run())
    healthy(test.button(key="registry.stage.confirm").click().run())
    assert "reason" in shown_errors(test)[0]
    test.text_input(key=f"registry.stage.reason.{seed.versions[2]}").set_value("needed today")
    healthy(test.button(key="registry.stage.confirm").click().run())
    assert seed.registry.get_production("churn").version == "1.2.0"


def test_rolling_back_brings_the_previous_production_version_back(app_test, seed):
    test = open_dialog(app_test, "rollback", model_id=seed.versions[1])
    assert "1.0.0 comes back to Production" in texts(test)
    healthy(test.button(key="registry.rollback.confirm").click().run())
    assert seed.registry.get_production("churn").version == "1.0.0"


def test_rolling_back_what_someone_else_displaced_says_so_and_does_nothing(app_test, seed):
    test = open_dialog(app_test, "rollback", model_id=seed.versions[1])
    seed.registry.transition_stage("churn", "1.2.0", "Production", actor="bob")
    healthy(test.button(key="registry.rollback.confirm").click().run())
    assert "is not in Production any more: 1.2.0 is" in shown_errors(test)[0]
    assert seed.registry.get_production("churn").version == "1.2.0"


def test_deleting_needs_the_name_and_can_be_undone(app_test, seed):
    test = open_dialog(app_test, "delete", model_id=seed.versions[2])
    assert test.button(key="registry.delete.confirm").disabled
    healthy(test.text_input(key="registry.delete.typed").set_value("churn 1.2.0").run())
    healthy(test.button(key="registry.delete.confirm").click().run())
    assert seed.registry.find_version_by_id(seed.versions[2]).deleted_at is not None
    test = app_test(tab="Registry", query={"version": [seed.versions[2]], "registry.shown": ["Deleted"]})
    healthy(test.button(key="registry.restore").click().run())
    assert seed.registry.find_version_by_id(seed.versions[2]).deleted_at is None


def test_editing_changes_description_owner_aliases_and_tags(app_test, seed):
    uid = seed.versions[0]
    test = open_dialog(app_test, "edit", model_id=uid)
    test.text_area(key=f"registry.edit.description.{uid}").set_value("the first")
    test.text_input(key=f"registry.edit.owner.{uid}").set_value("ada")
    test.text_input(key=f"registry.edit.aliases.{uid}").set_value("champion")
    test.text_area(key=f"registry.edit.tags.{uid}").set_value("team = text\nnew = yes")
    healthy(test.button(key="registry.edit.save").click().run())
    version = seed.registry.find_version_by_id(uid)
    assert (version.description, version.owner, version.aliases) == ("the first", "ada", ("champion",))
    assert version.tags == {"team": "text", "new": "yes"}


def test_gates_are_set_from_the_form(app_test, seed):
    test = open_dialog(app_test, "gates", model_id=seed.versions[0])
    test.text_area(key="registry.gates.min").set_value("accuracy = 0.9")
    test.text_area(key="registry.gates.tolerance").set_value("f1 = 0.01")
    healthy(test.button(key="registry.gates.save").click().run())
    gates = seed.registry.get_model("churn").gates
    assert gates["metrics"] == {"accuracy": {"min": 0.9}}
    assert gates["not_worse_than_production"]["f1"]["tolerance"] == 0.01


def test_a_test_between_two_versions_is_created_and_opened(app_test, seed, store):
    from ab_testing import ABTestingFramework

    test = open_dialog(app_test, "test", model_ids=seed.versions[:2])
    healthy(test.text_input(key="registry.test.name").set_value("churn-test").run())
    healthy(test.button(key="registry.test.confirm").click().run())
    (experiment,) = ABTestingFramework(store).list_experiments()
    # 1.1.0 is in Production, so it is what the other has to beat.
    assert (experiment.baseline_version_id, experiment.treatment_version_id) == (seed.versions[1], seed.versions[0])
    assert test.session_state["tab"] == "A/B testing"


def test_viewers_see_everything_and_change_nothing(app_test, seed, monkeypatch):
    from dashboard import access

    person = access.Person(name="eve@example.com", can_edit=False, signed_in=True)
    monkeypatch.setattr(access, "require_person", lambda: person)
    test = open_dialog(app_test, "rollback", model_id=seed.versions[1])
    assert {b.label: b.disabled for b in test.button}["Change stage"] is True
    healthy(test.button(key="registry.rollback.confirm").click().run())
    assert shown_errors(test) == ["Viewers cannot change anything. Ask an editor."]
    assert seed.registry.get_production("churn").version == "1.1.0"


# -- by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.browser
def test_register_search_promote_through_a_gate_roll_back_compare_delete_and_restore_by_hand(open_app, store, tmp_path):
    from model_registry import ModelRegistryManager

    registry = ModelRegistryManager(store)
    upload = tmp_path / "model.joblib"
    upload.write_bytes(b"not a pickle, and never opened")
    screen = open_app(tab="Registry")
    page = screen.page
    screen.see("Load example data")
    for number, accuracy in (("1.0.0", 0.9), ("1.1.0", 0.8)):
        if not page.get_by_label("Metrics, one a line: name = number").is_visible():
            page.get_by_text("Register a model", exact=True).click()
        screen.see("The file is stored and hashed")
        page.locator("input[type=file]").set_input_files(str(upload))
        screen.see("model.joblib")
        name = page.get_by_role("combobox", name="Name")
        name.fill("fraud")
        page.keyboard.press("Enter")
        screen.idle()
        page.get_by_text("Own number", exact=True).click()
        screen.idle().fill("Version number", number)
        screen.fill("Metrics, one a line: name = number", f"accuracy = {accuracy}")
        screen.fill("Hyperparameters, one a line: name = value", "depth = 3")
        screen.fill("Tags, one a line: key = value", "team = risk").idle()
        # The words of what was done stand for some seconds only: they are awaited first.
        screen.press("Register").see("Registered fraud")
        screen.page.locator("h4", has_text=f"fraud {number}").wait_for()
        screen.idle()
    first, second = registry.list_versions("fraud")
    assert first.performance_metrics == {"accuracy": 0.9}
    assert (first.hyperparameters, first.tags, first.origin) == ({"depth": 3}, {"team": "risk"}, "file")

    def choose(version):
        screen.go(tab="Registry", version=version.model_id).see(f"fraud {version.version}")

    registry.set_gates("fraud", {"metrics": {"accuracy": {"min": 0.85}}})
    choose(first)
    screen.press("Change stage").see("now in Development")
    page.get_by_role("dialog").get_by_text("Production", exact=True).click()
    screen.see("✓ passed")
    screen.fill("Reason", "it passed").idle()
    page.get_by_role("dialog").get_by_role("button", name="Change stage").click()
    screen.see("fraud 1.0.0 is in Production")
    choose(second)
    screen.press("Change stage").see("now in Development")
    page.get_by_role("dialog").get_by_text("Production", exact=True).click()
    screen.see("✗ failed")
    page.get_by_role("dialog").get_by_role("button", name="Change stage").click()
    screen.see("(error ")
    assert registry.get_production("fraud").version == "1.0.0"
    page.get_by_text("Promote although a gate fails").click()
    screen.idle().fill("Reason", "the other one leaks").idle()
    page.get_by_role("dialog").get_by_role("button", name="Change stage").click()
    screen.see("fraud 1.1.0 is in Production")
    screen.press("Roll back").see("comes back")
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    screen.see("fraud 1.0.0 is in Production again")
    screen.go(tab="Registry", version=[first.model_id, second.model_id]).see("1.1.0 compared with 1.0.0")
    choose(second)
    screen.press("Delete").see("Type fraud 1.1.0 to confirm")
    page.get_by_label("Type fraud 1.1.0 to confirm").press_sequentially("fraud 1.1.0")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Delete").click()
    screen.see("Deleted fraud 1.1.0")
    screen.go(tab="Registry", version=second.model_id, **{"registry.shown": "Deleted"}).press("Restore")
    screen.see("Restored fraud 1.1.0")
    assert registry.get_version("fraud", "1.1.0").deleted_at is None
    screen.go(tab="Registry")
    page.get_by_label("Search", exact=True).fill("9.9")
    page.keyboard.press("Enter")
    screen.see("No version matches")
    assert "registry.search=9.9" in page.url


@pytest.mark.browser
def test_a_link_opens_the_same_view_again_and_back_undoes_one_step_at_a_time(open_app, seed):
    screen = open_app(tab="Registry", **{"registry.search": "1."})
    page = screen.page
    screen.see("3 versions")
    assert page.get_by_label("Search", exact=True).input_value() == "1."
    page.get_by_text("Production", exact=True).first.click()
    screen.see("1 of 3 versions")
    page.get_by_role("button", name="1.1.0", exact=True).click()
    page.locator("h4", has_text="churn 1.1.0").wait_for()
    screen.idle()
    page.get_by_text("History", exact=True).click()
    page.locator("td:text-is('better')").first.wait_for(state="attached")
    screen.idle()
    link = page.url
    page.reload()
    page.locator("td:text-is('better')").first.wait_for(state="attached")
    screen.see("1 of 3 versions")
    page.goto("about:blank")
    page.goto(link)
    page.locator("td:text-is('better')").first.wait_for(state="attached")
    page.go_back()
    page.go_back()  # from the blank page to the reloaded one
    page.locator("td:text-is('better')").first.wait_for(state="attached")
    screen.idle()
    screen.press("Clear selection")
    page.locator("h4").wait_for(state="detached")
    page.go_back()
    page.locator("h4", has_text="churn 1.1.0").wait_for()
    screen.idle()
