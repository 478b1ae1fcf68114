"""What is stored of a monitored version, in the Monitoring tab: values from a file, references, and their deletion."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

from dashboard.monitoring_details import values_of_table
from dashboard.monitoring_stored import references_frame, removal_words
from db import NotFoundError
from tests.dashboard.conftest import healthy, shown_errors, texts
from tests.dashboard.test_monitoring_tab import HOSTILE, NOW, features, feed, visit


@pytest.fixture
def two_references(monitoring):
    """A version with a reference of spring with a batch, and one of summer without; return the ids, newest first."""
    feed(monitoring, days=12)
    monitoring.set_reference("churn", "1.0.0", features(300), label="spring")
    monitoring.log_features("churn", "1.0.0", features(50), at=NOW)
    monitoring.set_reference("churn", "1.0.0", features(400, 1.0), label="summer")
    return [found.id for found in monitoring.list_references("churn", "1.0.0")]


# -- values from a file ------------------------------------------------------------------------------


def test_values_are_uploaded_as_a_file_and_a_replay_adds_nothing(app_test, monitoring):
    feed(monitoring, days=3)
    rows = [f"f1,0.8{i},{(NOW + timedelta(days=i)).isoformat()},{100 + i},country=CH,e{i}" for i in range(9)]
    content = "metric,value,at,prediction_count,segment,event_id\n" + "\n".join(rows)
    test = visit(app_test, watch="churn:1.0.0")
    for _ in range(2):
        healthy(test.button(key="monitoring.log.open").click().run())
        healthy(test.segmented_control(key="monitoring.log.what").set_value("A file").run())
        assert test.button(key="monitoring.log_file.confirm").disabled  # until a file is there
        test.file_uploader(key="monitoring.log_file.file").upload("values.csv", content.encode(), "text/csv")
        healthy(test.run())
        healthy(test.button(key="monitoring.log_file.confirm").click().run())
    assert [toast.value for toast in test.toast][-1] == "Stored 0 new of 9 values"
    history = monitoring.performance_history("churn", "1.0.0", "f1", segment="country=CH")
    assert history["value"].tolist() == pytest.approx([0.8 + i / 100 for i in range(9)])
    assert history["prediction_count"].tolist() == [100 + i for i in range(9)]
    assert history["at"].iloc[0] == pd.Timestamp(NOW)


def test_a_file_of_values_that_does_not_fit_is_refused_and_stores_nothing(app_test, monitoring):
    feed(monitoring, days=3)
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.button(key="monitoring.log.open").click().run())
    healthy(test.segmented_control(key="monitoring.log.what").set_value("A file").run())
    content = b"metric,value\nf1,0.9\nf1,maybe\n"
    test.file_uploader(key="monitoring.log_file.file").upload("values.csv", content, "text/csv")
    healthy(test.run())
    healthy(test.button(key="monitoring.log_file.confirm").click().run())
    assert "row 2: value must be a number, got 'maybe'" in shown_errors(test)[0]
    assert monitoring.list_monitored()[0]["metrics"] == ["accuracy"]


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ({"value": [1]}, "'metric' is missing; the file has 'value'"),
        ({"metric": ["f1"], "value": [1], "name": ["other"]}, "rows of the name 'other'"),
        ({"metric": ["f1"], "value": [1], "version": ["2.0.0"]}, "rows of the version '2.0.0'"),
    ],
)
def test_values_of_something_else_are_not_added_to_a_version(frame, said):
    with pytest.raises(ValueError, match=said):
        values_of_table(pd.DataFrame(frame), "churn", "1.0.0")


def test_an_export_of_the_same_version_is_taken_without_its_empty_columns():
    frame = pd.DataFrame({"name": ["churn"], "version": ["1.0.0"], "metric": ["f1"], "value": [0.9], "segment": [None]})
    assert values_of_table(frame, "churn", "1.0.0").columns.tolist() == ["metric", "value"]


# -- references --------------------------------------------------------------------------------------


def test_references_are_listed_newest_first(app_test, monitoring, two_references):
    test = visit(app_test, watch="churn:1.0.0", **{"monitoring.section": "Features"})
    frame = next(table.value for table in test.dataframe if "What it is" in table.value)
    assert frame["What it is"].tolist() == ["summer", "spring"]
    assert frame["Holds"].tolist() == ["✓ now", ""]
    assert frame["Rows"].tolist() == [400, 300]
    assert frame["Batches"].tolist() == [0, 1]
    assert test.button(key="monitoring.reference.delete.open").disabled  # until one is selected
    assert references_frame([]).empty


def test_the_selected_reference_is_deleted_and_the_one_before_it_holds_again(app_test, monitoring, two_references):
    query = {"monitoring.section": "Features", "monitoring.reference_id": two_references[0]}
    test = visit(app_test, watch="churn:1.0.0", **query)
    healthy(test.button(key="monitoring.reference.delete.open").click().run())
    assert "“summer”" in texts(test)
    assert "400 rows" in texts(test)
    healthy(test.button(key="monitoring.reference.delete.confirm").click().run())
    assert [found.id for found in monitoring.list_references("churn", "1.0.0")] == two_references[1:]
    assert monitoring.list_references("churn", "1.0.0")[0].current
    assert "Deleted 1 reference" in [toast.value for toast in test.toast]
    assert "monitoring.reference_id" not in test.query_params


def test_a_reference_that_somebody_else_deleted_is_said_to_be_gone(app_test, monitoring, two_references):
    query = {"monitoring.section": "Features", "monitoring.reference_id": two_references[0]}
    test = visit(app_test, watch="churn:1.0.0", **query)
    monitoring.delete_reference("churn", "1.0.0", two_references[0])
    healthy(test.button(key="monitoring.reference.delete.open").click().run())
    assert "no longer stored" in texts(test)
    assert [found.id for found in monitoring.list_references("churn", "1.0.0")] == two_references[1:]


# -- all of a version --------------------------------------------------------------------------------


def test_a_version_is_no_longer_watched_once_its_name_is_typed(app_test, monitoring, two_references):
    feed(monitoring, "stable", "2.0.0", days=3)
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.button(key="monitoring.delete.open").click().run())
    assert test.button(key="monitoring.delete.confirm").disabled
    assert "The registered version and its artifact stay" in texts(test)
    healthy(test.text_input(key="monitoring.delete.typed").set_value("churn 1.0.0").run())
    healthy(test.button(key="monitoring.delete.confirm").click().run())
    assert "Deleted 12 values, 2 references, 1 batch" in [toast.value for toast in test.toast]
    with pytest.raises(NotFoundError):
        monitoring.list_references("churn", "1.0.0")
    assert "stable 2.0.0" in texts(test)


def test_viewers_delete_nothing(app_test, monitoring, two_references, monkeypatch):
    from dashboard import access

    monkeypatch.setattr(access, "require_person", lambda: access.Person(name="eve", can_edit=False, signed_in=False))
    query = {"monitoring.section": "Features", "monitoring.reference_id": two_references[0]}
    test = visit(app_test, watch="churn:1.0.0", **query)
    for key in ("delete.open", "reference.delete.open", "log.open", "batch.open", "baseline.open", "reference.open"):
        assert test.button(key=f"monitoring.{key}").disabled
    assert "Compared with a frozen reference" in texts(test)


def test_hostile_labels_are_shown_verbatim(app_test, monitoring):
    monitoring.set_reference("churn", "1.0.0", features(50), label=HOSTILE)
    reference = monitoring.list_references("churn", "1.0.0")[0].id
    query = {"monitoring.section": "Features", "monitoring.reference_id": reference}
    test = visit(app_test, watch="churn:1.0.0", **query)
    healthy(test.button(key="monitoring.reference.delete.open").click().run())
    for element in [*test.markdown, *test.caption, *test.warning]:
        assert "![x](http" not in str(element.value) or "`" in str(element.value)


def test_what_was_deleted_is_counted_and_nothing_is_left_out(monitoring, two_references):
    removed = monitoring.delete_monitored("churn", "1.0.0", confirm="churn 1.0.0")
    assert removal_words(removed) == "12 values, 2 references, 1 batch"
    monitoring.set_reference("churn", "1.0.0", features(50))
    reference = monitoring.list_references("churn", "1.0.0")[0].id
    assert removal_words(monitoring.delete_reference("churn", "1.0.0", reference)) == "1 reference"


# -- baseline ----------------------------------------------------------------------------------------


def test_the_window_that_is_judged_is_left_out_of_a_new_baseline(app_test, monitoring):
    feed(monitoring, drop=0.05)
    test = visit(app_test, watch="churn:1.0.0")
    healthy(test.button(key="monitoring.baseline.open").click().run())
    end = test.date_input(key="monitoring.baseline.end").value
    report = monitoring.generate_monitoring_report("churn", "1.0.0", days=7, lookback_days=7)
    assert end == report.start_at.date()
    healthy(test.button(key="monitoring.baseline.confirm").click().run())
    assert monitoring.baseline_history("churn", "1.0.0", "accuracy")[-1].end_at <= report.start_at + timedelta(days=1)
