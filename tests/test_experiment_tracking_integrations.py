"""The adapters: scikit-learn itself, and objects that behave like those of Keras, Lightning and Optuna."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from experiment_tracking import ExperimentTracking
from integrations.callbacks import KerasCallback, LightningCallback
from integrations.optuna import StudyCallback
from integrations.scikit import log_estimator, log_search


@pytest.fixture
def tracking(light: ExperimentTracking) -> ExperimentTracking:
    return light


def test_a_search_of_scikit_learn_becomes_nested_runs(tracking):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y = x @ [1.0, 2.0, 3.0]
    search = GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {"ridge__alpha": [0.1, 10.0, 1000.0]}, cv=3).fit(
        x, y
    )
    with tracking.run("ridge", "search") as run:
        assert log_search(run, search) == 3
        log_estimator(run, search.best_estimator_, scores={"r2": search.best_score_}, model=True)
    children = tracking.search_runs(f"parent_run_id = '{run.run_id}'", order_by="metrics.mean_test_score desc")
    assert children["params.ridge.alpha"].tolist() == [0.1, 10.0, 1000.0]
    np.testing.assert_allclose(
        sorted(children["metrics.mean_test_score"]), sorted(search.cv_results_["mean_test_score"])
    )
    found = run.snapshot()
    assert found.params["best.ridge.alpha"] == 0.1
    assert found.params["ridge.alpha"] == 0.1
    assert found.params["standardscaler"] == "StandardScaler"
    assert found.metrics["r2"] == found.metrics["best_score"] == search.best_score_
    np.testing.assert_allclose(tracking.load_artifact(run.run_id, "model.joblib").predict(x), search.predict(x))


def test_the_loss_curve_of_an_estimator_is_logged(tracking):
    estimator = SimpleNamespace(
        get_params=lambda deep: {"alpha": np.float64(0.5)}, loss_curve_=[3.0, 2.0, 1.0], n_iter_=3
    )
    with tracking.run("e") as run:
        log_estimator(run, estimator)
    assert tracking.metric_history(run.run_id, "loss")["value"].tolist() == [3.0, 2.0, 1.0]
    assert run.snapshot().params == {"alpha": 0.5}


def test_a_keras_like_loop_logs_its_epochs(tracking):
    optimizer = SimpleNamespace(get_config=lambda: {"name": "adam", "learning_rate": 0.001, "weights": [1, 2]})
    with tracking.run("e") as run:
        callback = KerasCallback(run, every_batch=True)
        callback.set_params({"epochs": 2})
        callback.set_model(SimpleNamespace(optimizer=optimizer))
        callback.on_train_begin()
        for epoch in range(2):
            callback.on_epoch_begin(epoch)
            for batch in range(3):
                callback.on_train_batch_end(batch, {"loss": np.float32(1.0)})
            callback.on_epoch_end(epoch, {"loss": np.float32(0.5 - epoch / 4), "val_loss": math.nan, "note": "text"})
        callback.on_train_end({})
    assert run.snapshot().params == {"optimizer.name": "adam", "optimizer.learning_rate": 0.001}
    assert tracking.metric_history(run.run_id, "loss")["value"].tolist() == [0.5, 0.25]
    assert run.snapshot().metric_summaries["batch/loss"].n_points == 6
    with pytest.raises(AttributeError):
        callback.something_else()


class Tensor:
    """Has what a tensor has until it becomes a number."""

    def __init__(self, value: float) -> None:
        self.value = value

    def detach(self):
        return self

    def cpu(self):
        return self

    def __float__(self) -> float:
        return self.value


def test_a_lightning_like_loop_logs_by_global_step(tracking):
    with tracking.run("e") as run:
        callback = LightningCallback(run)
        module = SimpleNamespace(hparams={"lr": 0.1, "layers": [1, 2]})
        callback.setup(None, module, stage="fit")
        trainer = SimpleNamespace(callback_metrics={"loss": Tensor(0.5)}, global_step=10, sanity_checking=True)
        callback.on_validation_end(trainer, module)
        trainer.sanity_checking = False
        callback.on_train_epoch_end(trainer, module)
        trainer.global_step, trainer.callback_metrics = 20, {"loss": Tensor(0.25)}
        callback.on_validation_end(trainer, module)
        callback.on_exception(trainer, module, RuntimeError("x"))
        callback.on_save_checkpoint(trainer, module, {})
        callback.load_state_dict(callback.state_dict())
        callback.teardown(trainer, module, stage="fit")
    assert tracking.metric_history(run.run_id, "loss")[["step", "value"]].values.tolist() == [[10, 0.5], [20, 0.25]]
    assert run.snapshot().params == {"lr": 0.1}
    assert run.snapshot().tags == {"exception": "RuntimeError"}


def test_each_trial_of_an_optuna_like_study_becomes_a_run(tracking):
    study = SimpleNamespace(study_name="search")
    callback = StudyCallback(tracking, "study", metric="acc")
    for number, (state, values) in enumerate([("COMPLETE", [0.9]), ("PRUNED", None), ("FAIL", None)]):
        trial = SimpleNamespace(
            number=number, state=SimpleNamespace(name=state), values=values, params={"lr": 0.1 * number, "opt": "adam"},
            intermediate_values={0: 0.1, 5: 0.5}, user_attrs={"note": "x", "big": object()},
        )  # fmt: skip
        callback(study, trial)
    runs = tracking.search_runs(experiment="study", order_by="name")
    assert runs["status"].tolist() == ["finished", "finished", "failed"]
    assert runs["tags.state"].tolist() == ["COMPLETE", "PRUNED", "FAIL"]
    assert runs["metrics.acc"].iloc[0] == 0.9
    assert tracking.metric_history(runs["run_id"].iloc[1], "acc/intermediate")["step"].tolist() == [0, 5]
    with pytest.raises(ValueError, match="2 values"):
        StudyCallback(tracking, "study", metric="a")(
            study, SimpleNamespace(number=9, state="COMPLETE", values=[1.0, 2.0], params={})
        )


def test_the_progress_bar_logs_the_time_of_each_item(tracking, capsys):
    with tracking.run("e", "bar") as run:
        for item in run.track(range(3), description="epochs"):
            run.log({"loss": 1.0 / (1 + item)})
    assert run.snapshot().metric_summaries["seconds_per_item"].n_points == 3
    assert "epochs: 100%" in capsys.readouterr().err
