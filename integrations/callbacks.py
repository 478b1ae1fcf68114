"""Keras and Lightning: callbacks that log every epoch; known by their hooks, so neither has to be installed here.

model.fit(x, y, callbacks=[KerasCallback(run)])
Trainer(callbacks=[LightningCallback(run)])
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracking_parts.handle import ActiveRun

__all__ = ["KerasCallback", "LightningCallback"]


def to_numbers(logs: Mapping[str, Any] | None) -> dict[str, float]:
    """Return what in a mapping is a number: tensors of one element count, anything else is left out."""
    result: dict[str, float] = {}
    for name, value in (logs or {}).items():
        item = value
        for method in ("detach", "cpu", "numpy"):
            if hasattr(item, method):
                item = getattr(item, method)()
        try:
            number = float(item)
        except (TypeError, ValueError):
            continue
        result[str(name)] = number
    return result


class _Hooks:
    """Has every hook a training loop may call; those nobody wrote do nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("on_", "set_", "before_", "after_")):
            return _do_nothing
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")


def _do_nothing(*_: Any, **__: Any) -> None:
    return None


class KerasCallback(_Hooks):
    """Logs what Keras reports at the end of each epoch, and the optimizer's settings at the start.

    Parameters
    ----------
    run : ActiveRun
    every_batch : bool
        Also log each batch, as "batch/...".
    """

    async_safe = False

    def __init__(self, run: ActiveRun, *, every_batch: bool = False) -> None:
        self._run = run
        self._every_batch = every_batch
        self._model: Any = None
        self._n_batches = 0

    def set_model(self, model: Any) -> None:
        """Take the model."""
        self._model = model

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log the settings of the optimizer."""
        optimizer: Any = getattr(self._model, "optimizer", None)
        config: dict[str, Any] = optimizer.get_config() if hasattr(optimizer, "get_config") else {}
        plain = {k: v for k, v in config.items() if v is None or isinstance(v, bool | int | float | str)}
        plain = {k: v for k, v in plain.items() if not (isinstance(v, float) and math.isnan(v))}
        if plain:
            self._run.log_params({f"optimizer.{key}": value for key, value in plain.items()}, overwrite=True)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the metrics of the epoch."""
        metrics = to_numbers(logs)
        if metrics:
            self._run.log(metrics, step=int(epoch))

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the metrics of the batch, if asked for."""
        if self._every_batch:
            metrics = to_numbers(logs)
            if metrics:
                self._run.log({f"batch/{name}": value for name, value in metrics.items()}, step=self._n_batches)
            self._n_batches += 1


class LightningCallback(_Hooks):
    """Logs what Lightning's `self.log(...)` gathered, at the end of each training and validation epoch.

    Parameters
    ----------
    run : ActiveRun
    """

    def __init__(self, run: ActiveRun) -> None:
        self._run = run

    @property
    def state_key(self) -> str:
        """Name of this callback's state in a checkpoint."""
        return type(self).__qualname__

    def setup(self, trainer: Any, pl_module: Any, stage: str | None = None) -> None:
        """Log the hyperparameters of the module."""
        hparams = getattr(pl_module, "hparams", None)
        plain = {
            str(key): value
            for key, value in (dict(hparams).items() if hparams else ())
            if value is None or isinstance(value, bool | int | float | str)
        }
        if plain:
            self._run.log_params(plain, overwrite=True)

    def teardown(self, trainer: Any, pl_module: Any, stage: str | None = None) -> None:
        """Store what waits."""
        self._run.flush()

    def state_dict(self) -> dict[str, Any]:
        """Return the state for a checkpoint: none."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state of a checkpoint: none."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the metrics of the epoch."""
        self._log(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the metrics of the validation."""
        if not getattr(trainer, "sanity_checking", False):
            self._log(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Tag the run; how it ends is for the block around it to say."""
        self._run.set_tags({"exception": type(exception).__name__})

    def _log(self, trainer: Any) -> None:
        metrics = to_numbers(getattr(trainer, "callback_metrics", None))
        if metrics:
            self._run.log(metrics, step=int(getattr(trainer, "global_step", 0)))
