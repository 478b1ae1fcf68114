"""What details, comparison and dialogs of the Tracking tab say in cases that a plain store does not have."""

from __future__ import annotations

import base64

from tests.dashboard.conftest import healthy, shown_errors, texts

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def labels(test):
    return [button.label for button in test.button]


def rows(test, heading):
    """The rows of the table whose first column has this heading."""
    found = [frame.value for frame in test.dataframe if frame.value.columns[0] == heading]
    return [tuple(row) for frame in found for row in frame.itertuples(index=False)]


def test_runs_that_differ_in_nothing_say_so(app_test, seed):
    twins = [seed.tracking.start_run("twins", params={"a": 1}) for _ in range(2)]
    test = app_test(tab="Tracking", query={"run": twins, "tracking.chart": ["Differences"]})
    assert "These runs have the same params and tags, and no metrics." in texts(test)
    assert "Code, packages and machine are the same." in texts(test)
    test = app_test(tab="Tracking", query={"run": twins})
    assert "The selected runs have logged no metric yet." in texts(test)


def test_two_runs_show_what_differs_in_their_packages_under_their_names(app_test, seed, monkeypatch):
    from dataclasses import replace

    read = type(seed.tracking).diff_runs

    def differing(self, *ids):
        return replace(read(self, *ids), environment={"packages.numpy": ("1.26.0", "2.4.6")})

    monkeypatch.setattr(type(seed.tracking), "diff_runs", differing)
    test = app_test(tab="Tracking", query={"run": seed.runs[:2], "tracking.chart": ["Differences"]})
    assert rows(test, "property") == [("packages.numpy", "1.26.0", "2.4.6")]


def test_at_most_ten_runs_are_drawn_and_the_rest_is_counted(app_test, seed):
    more = [seed.tracking.start_run("training", f"more-{n}") for n in range(8)]
    for run_id in more:
        seed.tracking.log_metrics(run_id, {"accuracy": 0.5})
    test = app_test(tab="Tracking", query={"run": [*seed.runs[:6], *more]})
    assert "Curves of the first 10 of 14 selected runs." in texts(test)
    assert len([key for key in (button.key for button in test.button) if str(key).startswith("tracking.only.")]) == 10


def test_no_metric_chosen_draws_nothing_and_says_so(app_test, seed):
    test = app_test(tab="Tracking", query={"run": seed.runs[:2]})
    healthy(test.multiselect(key="tracking.metrics").set_value([]).run())
    assert "Choose a metric." in texts(test)
    assert not test.get("plotly_chart")


def test_the_environment_of_a_run_has_its_machine_and_its_packages(app_test, store, seed):
    from experiment_tracking import ExperimentTracking

    run_id = ExperimentTracking(store).start_run("here", "with-environment")
    test = app_test(tab="Tracking", query={"run": [run_id]}, tracking__environment=True)
    assert any(name.startswith("hardware") for name, _ in rows(test, "property"))
    assert "numpy" in dict(rows(test, "package"))


def test_a_child_leads_to_its_parent(app_test, seed):
    child = seed.tracking.start_run("training", "child", parent_run_id=seed.runs[0])
    test = app_test(tab="Tracking", query={"run": [child]})
    healthy(test.button(key="tracking.parent").click().run())
    assert "#### run-0" in texts(test)


def opened(app_test, run_id, path):
    test = app_test(tab="Tracking", query={"run": [run_id]})
    return healthy(test.selectbox(key=f"tracking.artifact.{run_id}").set_value(path).run())


def test_files_are_shown_by_what_they_are(app_test, seed, tmp_path):
    run_id = seed.runs[0]
    for name, content in (
        ("dot.png", PIXEL),
        ("torn.png", PIXEL[:20]),
        ("long.txt", b"x" * 30_000),
        ("raw.bin", bytes(range(256)) * 9),
    ):
        (tmp_path / name).write_bytes(content)
        seed.tracking.log_artifact(run_id, tmp_path / name)
    assert len(opened(app_test, run_id, "dot.png").get("image")) == 1
    assert "named like a picture, but is none" in texts(opened(app_test, run_id, "torn.png"))
    test = opened(app_test, run_id, "long.txt")
    assert "The first 20 kB of 30 kB." in texts(test)
    assert any(code.value.startswith("xxx") for code in test.code)
    assert "This file is not text; download it to look at it." in texts(opened(app_test, run_id, "raw.bin"))


def test_a_dialog_names_ten_runs_and_counts_the_rest(app_test, seed):
    runs = [seed.tracking.start_run("training", f"more-{n}") for n in range(12)]
    test = app_test(tab="Tracking", ui__dialog=("tracking.delete", {"run_ids": runs}))
    assert "and 2 more" in texts(test)
    healthy(test.button(key="tracking.delete.confirm").click().run())
    assert all(seed.tracking.get_run(run_id).deleted for run_id in runs)
    assert not any(seed.tracking.get_run(run_id).deleted for run_id in seed.runs)


def test_a_run_without_files_says_how_to_log_a_model(app_test, seed):
    test = app_test(tab="Tracking", ui__dialog=("tracking.register", {"run_id": seed.runs[6]}))
    assert any("log_artifact" in code.value for code in test.code)
    assert "tracking.register.confirm" not in [button.key for button in test.button]


def test_registering_a_run_carries_over_what_was_chosen(app_test, seed):
    run_id = seed.runs[3]
    test = app_test(tab="Tracking", ui__dialog=("tracking.register", {"run_id": run_id}))
    test.selectbox(key="tracking.register.name").set_value("churn")
    test.text_input(key="tracking.register.version").set_value("7.0.0")
    test.selectbox(key="tracking.register.type").set_value("regressor")
    test.segmented_control(key="tracking.register.stage").set_value("Staging")
    healthy(test.button(key="tracking.register.confirm").click().run())
    version = seed.registry.get_version("churn", "7.0.0")
    assert (version.run_id, version.model_type.value, version.stage.value) == (run_id, "regressor", "Staging")
    assert version.performance_metrics["accuracy"] == seed.tracking.get_run(run_id).metrics["accuracy"]
    test = app_test(tab="Tracking", query={"run": [run_id]})
    healthy(test.button(key=f"tracking.link.version.{version.model_id}").click().run())
    assert test.session_state["tab"] == "Registry"
    assert "#### churn 7.0.0" in texts(test)


def test_every_button_opens_its_dialog_about_the_selected_runs(app_test, seed):
    for name, key in (("register", "run_id"), ("edit", "run_id"), ("delete", "run_ids")):
        test = app_test(tab="Tracking", query={"run": [seed.runs[2]]})
        healthy(test.button(key=f"tracking.{name}").click().run())
        wanted = seed.runs[2] if key == "run_id" else [seed.runs[2]]
        assert test.session_state["ui.dialog"] == (f"tracking.{name}", {key: wanted})
    test = app_test(tab="Tracking", query={"run": seed.runs[1:3]})
    healthy(test.button(key="tracking.delete").click().run())
    assert test.session_state["ui.dialog"] == ("tracking.delete", {"run_ids": seed.runs[1:3]})


def test_a_run_ends_as_it_was_said_to(app_test, seed):
    run_id = seed.tracking.start_run("training", "stuck")
    test = app_test(tab="Tracking", ui__dialog=("tracking.end", {"run_id": run_id}))
    healthy(test.segmented_control(key="tracking.end.status").set_value("killed").run())
    healthy(test.button(key="tracking.end.confirm").click().run())
    assert seed.tracking.get_run(run_id).status == "killed"


def test_a_file_is_deleted_by_its_path_and_the_others_stay(app_test, seed):
    payload = {"run_id": seed.runs[0], "path": "report.txt"}
    test = app_test(tab="Tracking", ui__dialog=("tracking.file", payload))
    healthy(test.text_input(key="tracking.delete_file.typed").set_value("report.txt").run())
    healthy(test.button(key="tracking.delete_file.confirm").click().run())
    assert [artifact.path for artifact in seed.tracking.list_artifacts(seed.runs[0])] == ["model"]
    assert len(seed.tracking.list_artifacts(seed.runs[1])) == 2


def test_archived_runs_leave_the_list_and_come_back(app_test, seed):
    test = app_test(tab="Tracking", query={"run": seed.runs[:2]})
    healthy(test.button(key="tracking.archive").click().run())
    assert [seed.tracking.get_run(run_id).archived for run_id in seed.runs[:3]] == [True, True, False]
    test = app_test(tab="Tracking", query={"run": seed.runs[:2], "tracking.shown": ["Archived"]})
    assert "2 archived runs" in texts(test)
    assert "Unarchive" in labels(test)
    healthy(test.button(key="tracking.archive").click().run())
    assert not any(seed.tracking.get_run(run_id).archived for run_id in seed.runs)


def test_buttons_say_on_how_many_of_very_many_selected_runs_they_act(app_test, seed, monkeypatch):
    monkeypatch.setattr("dashboard.tracking_tab.MAX_SELECTED", 3)
    test = app_test(tab="Tracking", query={"run": seed.runs})
    assert "The first 3 of 7 selected runs are shown, and buttons act on them." in texts(test)
    healthy(test.button(key="tracking.archive").click().run())
    assert [seed.tracking.get_run(run_id).archived for run_id in seed.runs] == [True] * 3 + [False] * 4


def test_a_selected_run_that_was_deleted_for_good_is_counted(app_test, seed):
    seed.tracking.delete_run(seed.runs[0], permanently=True)
    test = app_test(tab="Tracking", query={"run": seed.runs[:2]})
    assert "1 selected run no longer exists" in texts(test)
    assert "#### run-1" in texts(test)


def test_the_dialog_about_experiments_says_where_there_is_nothing_to_do(app_test, seed, store):
    test = app_test(tab="Tracking", ui__dialog=("tracking.experiments", {}))
    assert rows(test, "experiment")[0][:4] == ("training", "7", "0", "1")
    for job, words in (("Restore", "No experiment was deleted."), ("Clear deleted", "No deleted run waits")):
        healthy(test.segmented_control(key="tracking.experiments.job").set_value(job).run())
        assert words in texts(test)
    seed.tracking.delete_experiment("training")
    test = app_test(tab="Tracking", ui__dialog=("tracking.experiments", {}))
    assert "There is no experiment." in texts(test)
    healthy(test.segmented_control(key="tracking.experiments.job").set_value("Delete").run())
    assert "There is no experiment." in texts(test)
    assert not shown_errors(test)


def test_a_ranking_without_a_finite_value_says_so(app_test, seed):
    run_id = seed.tracking.start_run("empty", "nan-only")
    seed.tracking.log_metrics(run_id, {"odd": float("nan")})
    seed.tracking.end_run(run_id)
    query = {"tracking.insights": ["yes"], "tracking.insight_metric": ["odd"], "tracking.experiment": ["empty"]}
    assert "No finished run of empty has a finite odd" in texts(app_test(tab="Tracking", query=query))
    query["tracking.insight"] = ["What goes with it"]
    assert "Nothing can be said of what goes with odd" in texts(app_test(tab="Tracking", query=query))
