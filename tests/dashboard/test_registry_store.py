"""A model and the store as wholes in the Registry tab: editing, recording, importing, checking, cleaning up."""

from __future__ import annotations

import pytest

from dashboard.registry_models import model_sentence
from dashboard.registry_storage import garbage_sentence, problems_frame
from tests.dashboard.conftest import healthy, shown_errors, texts


def open_dialog(app_test, dialog, job=None, **payload):
    test = app_test(tab="Registry", ui__dialog=(f"registry.{dialog}", payload))
    if job is not None:
        healthy(test.button_group(key="registry.storage.job").set_value(job).run())
    return test


# -- the model -------------------------------------------------------------------------------------------------


def test_a_model_is_described_in_one_line_and_its_text_is_no_markup(seed):
    assert model_sentence(seed.registry.get_model("churn")) == ""
    model = seed.registry.update_model("churn", description="*who* leaves", owner="ada", tags={"team": "retention"})
    assert model_sentence(model) == "&#42;who&#42; leaves · owner ada · team: retention"


def test_editing_a_model_changes_what_was_changed_and_nothing_else(app_test, seed):
    seed.registry.update_model("churn", description="who leaves", tags={"team": "retention"})
    test = app_test(tab="Registry", query={"registry.model": ["churn"]})
    healthy(test.button(key="registry.model.edit").click().run())
    seed.registry.update_model("churn", description="changed by someone else")
    test.text_input(key="registry.model.owner.churn").set_value("ada")
    test.text_area(key="registry.model.tags.churn").set_value("team = growth\nlevel = 2")
    healthy(test.button(key="registry.model.save").click().run())
    model = seed.registry.get_model("churn")
    assert (model.description, model.owner) == ("changed by someone else", "ada")
    assert model.tags == {"team": "growth", "level": "2"}
    assert "owner ada" in texts(healthy(app_test(tab="Registry")))


def test_performance_is_recorded_by_hand_and_drawn(app_test, seed):
    test = open_dialog(app_test, "record", model_id=seed.versions[2])
    healthy(test.button(key="registry.record.confirm").click().run())
    assert "name at least one metric" in shown_errors(test)[0]
    test.text_area(key="registry.record.metrics").set_value("accuracy = 0.875")
    test.text_input(key="registry.record.dataset").set_value("holdout")
    test.text_input(key="registry.record.at").set_value("2026-02-01 12:00")
    healthy(test.button(key="registry.record.confirm").click().run())
    (row,) = seed.registry.performance_history("churn", "1.2.0").to_dict("records")
    assert (row["value"], row["dataset"]) == (0.875, "holdout")
    assert f"{row['at']:%Y-%m-%d %H:%M}" == "2026-02-01 12:00"


def test_recorded_metrics_are_drawn_one_at_a_time(app_test, seed):
    seed.registry.record_performance("churn", "1.1.0", {"latency": 120.0})
    test = app_test(tab="Registry", query={"version": [seed.versions[1]]})
    assert list(test.selectbox(key="registry.recorded").options) == ["accuracy", "latency"]
    charts = [chart.proto.spec for chart in test.get("plotly_chart")]
    assert any("accuracy" in spec and "latency" not in spec for spec in charts)
    healthy(test.selectbox(key="registry.recorded").set_value("latency").run())
    assert any("latency" in chart.proto.spec for chart in test.get("plotly_chart"))
    assert test.query_params["registry.recorded"] == "latency"


# -- the store -------------------------------------------------------------------------------------------------


def test_an_exported_version_comes_in_under_another_name(app_test, seed, tmp_path):
    archive = seed.registry.export_version("churn", "1.1.0", tmp_path / "churn.zip")
    test = open_dialog(app_test, "storage")
    assert test.button(key="registry.import.confirm").disabled
    test.file_uploader(key="registry.import.file").upload("churn.zip", archive.read_bytes(), "application/zip")
    test.text_input(key="registry.import.name").set_value("churn-copy")
    healthy(test.run())
    healthy(test.button(key="registry.import.confirm").click().run())
    version = seed.registry.get_version("churn-copy", "1.1.0")
    assert version.stage.value == "Development"
    assert version.performance_metrics == seed.registry.get_version("churn", "1.1.0").performance_metrics


def test_what_is_no_archive_is_refused_in_words(app_test, seed):
    test = open_dialog(app_test, "storage")
    test.file_uploader(key="registry.import.file").upload("x.zip", b"no archive", "application/zip")
    healthy(test.run())
    healthy(test.button(key="registry.import.confirm").click().run())
    assert shown_errors(test)[0].startswith("Import version: ")
    assert len(seed.registry.list_models()) == 1


def test_a_check_finds_the_file_that_was_altered(app_test, seed, store):
    test = open_dialog(app_test, "storage", "Check files")
    healthy(test.button(key="registry.check.confirm").click().run())
    assert "Every file is there" in test.success[0].value
    for path in (store.path.parent / "artifacts").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"something else")
    healthy(test.button(key="registry.check.confirm").click().run())
    assert "missing or altered" in test.warning[0].value
    frame = problems_frame(seed.registry.verify())
    assert set(frame["version"]) == {"churn 1.0.0", "churn 1.1.0", "churn 1.2.0", "–"}, (
        "a run's files belong to no version"
    )


def test_cleaning_up_says_what_it_would_do_and_waits_for_the_words(app_test, seed, monkeypatch):
    seed.registry.delete_version("churn", "1.2.0")
    collect = type(seed.registry).collect_garbage
    monkeypatch.setattr(
        type(seed.registry), "collect_garbage", lambda self, **options: collect(self, grace_seconds=0.0, **options)
    )
    test = open_dialog(app_test, "storage", "Clean up")
    assert "1 deleted version could not be restored any more" in texts(test)
    assert test.button(key="registry.clean.confirm").disabled
    healthy(test.text_input(key="registry.clean.typed").set_value("clean up").run())
    healthy(test.button(key="registry.clean.confirm").click().run())
    assert seed.registry.find_version_by_id(seed.versions[2]).is_purged
    report = seed.registry.collect_garbage(dry_run=True)
    assert garbage_sentence(report).startswith("0 files would be removed, 0 B in all")


@pytest.mark.parametrize(("dialog", "confirm"), [("storage", "import"), ("record", "record")])
def test_viewers_change_nothing_here(app_test, seed, monkeypatch, dialog, confirm):
    from dashboard import access

    monkeypatch.setattr(access, "require_person", lambda: access.Person(name="vi", can_edit=False, signed_in=True))
    payload = {"model_id": seed.versions[0]} if dialog == "record" else {}
    test = open_dialog(app_test, dialog, **payload)
    if dialog == "record":
        test.text_area(key="registry.record.metrics").set_value("accuracy = 0.5")
    else:
        test.file_uploader(key="registry.import.file").upload("x.zip", b"no archive", "application/zip")
        healthy(test.run())
    healthy(test.button(key=f"registry.{confirm}.confirm").click().run())
    assert "Viewers cannot change anything" in shown_errors(test)[0]
