"""How well did the model do, from predictions and labels; and how well it probably does, while labels are missing.

    >>> scores = classification_scores(["a", "b", "a"], ["a", "b", "b"])
    >>> round(scores["accuracy"], 4), scores["n"]
    (0.6667, 3)
    >>> round(estimate_accuracy([0.9, 0.8, 0.7]).accuracy, 3)
    0.8

Vocabulary: *macro* averages treat every class alike; a *calibrated* classifier is right in 80 % of the cases in which
it says .8; *CBPE* (confidence-based performance estimation) takes it at its word: expected hits are the sum of its
probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from stats.means import P_VALUE_FLOOR
from stats.series import binary_exponent

__all__ = [
    "CLASSIFICATION_METRICS",
    "REGRESSION_METRICS",
    "CalibrationCheck",
    "EstimatedPerformance",
    "check_calibration",
    "classification_scores",
    "estimate_accuracy",
    "estimate_binary",
    "regression_scores",
]

FloatArray = npt.NDArray[np.float64]

CLASSIFICATION_METRICS = ("accuracy", "precision", "recall", "f1", "brier")
REGRESSION_METRICS = ("mae", "rmse", "bias", "mape", "r2")
CALIBRATION_ALPHA = 0.01  # below it the probabilities are not to be trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedPerformance:
    """Performance expected from a calibrated classifier's own probabilities.

    Attributes
    ----------
    accuracy : float
    standard_error : float
        Of the realised accuracy around it, if the probabilities are right.
    precision, recall, f1 : float or None
        Of the positive class, for two classes; None where nothing was predicted or expected positive.
    n : int
    """

    accuracy: float
    standard_error: float
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationCheck:
    """Estimated against realised accuracy where labels are known.

    Attributes
    ----------
    estimated, realised : float
    z : float or None
        Realised minus estimated in standard errors; None when every probability is 0 or 1 and all came true.
    p_value : float
        Two-sided, normal approximation.
    calibrated : bool
        p of at least .01.
    n : int
    """

    estimated: float
    realised: float
    z: float | None
    p_value: float
    calibrated: bool
    n: int


def classification_scores(
    labels: Sequence[str], predictions: Sequence[str], *, positive: str | None = None, probabilities: object = None
) -> dict[str, float | None]:
    """Score predicted classes.

    Parameters
    ----------
    labels, predictions : sequence of str, shape (n,)
    positive : str, optional
        Score precision, recall and F1 for this class; None averages over all classes of the labels and predictions
        (macro).
    probabilities : sequence of float, shape (n,), optional
        Of the predicted class; gives the Brier score of "the prediction is right".

    Returns
    -------
    dict
        accuracy, precision, recall, f1, brier, n. None where a score does not exist: precision without predictions of
        the class, recall without labels of it.

    Raises
    ------
    ValueError
        If lengths differ.

    Notes
    -----
    precision = TP / (TP + FP), recall = TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN). In the macro average a class
    without predictions counts as precision 0, one without labels as recall 0. The Brier score is mean (p - hit)^2.

    References
    ----------
    .. [1] Sokolova, M. and Lapalme, G. (2009), A systematic analysis of performance measures for classification tasks,
       Information Processing and Management 45(4), 427-437.

    Examples
    --------
    >>> classification_scores(["y", "n"], ["y", "y"], positive="y")["precision"]
    0.5
    """
    y, p = np.asarray(labels, dtype=object), np.asarray(predictions, dtype=object)
    if y.shape != p.shape or y.ndim != 1:
        raise ValueError(f"labels and predictions must have the same length, got {y.size} and {p.size}")
    n = int(y.size)
    if n == 0:
        return {"accuracy": None, "precision": None, "recall": None, "f1": None, "brier": None, "n": 0}
    names, codes = np.unique(np.concatenate([y, p]).astype(str), return_inverse=True)
    truth, guess = codes[:n], codes[n:]
    hit = truth == guess
    size = names.size
    tp = np.bincount(truth[hit], minlength=size).astype(np.float64)
    predicted = np.bincount(guess, minlength=size).astype(np.float64)
    actual = np.bincount(truth, minlength=size).astype(np.float64)
    precision: float | None
    recall: float | None
    if positive is None:
        precision = float(np.where(predicted > 0, tp / np.where(predicted > 0, predicted, 1.0), 0.0).mean())
        recall = float(np.where(actual > 0, tp / np.where(actual > 0, actual, 1.0), 0.0).mean())
        f1: float | None = float((2.0 * tp / (predicted + actual)).mean())
    else:
        k = int(np.searchsorted(names, positive))
        known = k < size and names[k] == positive
        hits, said, there = (float(tp[k]), float(predicted[k]), float(actual[k])) if known else (0.0, 0.0, 0.0)
        precision = hits / said if said else None
        recall = hits / there if there else None
        f1 = 2.0 * hits / (said + there) if said + there else None
    brier = None
    if probabilities is not None:
        chance = np.asarray(probabilities, dtype=np.float64)
        if chance.shape != y.shape:
            raise ValueError(f"probabilities must have the length of labels, {n}, got {chance.size}")
        usable = np.isfinite(chance)
        if usable.any():
            brier = float(((chance[usable] - hit[usable]) ** 2).mean())
    return {
        "accuracy": float(hit.mean()),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "brier": brier,
        "n": n,
    }


def regression_scores(labels: Sequence[float], predictions: Sequence[float]) -> dict[str, float | None]:
    """Score predicted numbers.

    Parameters
    ----------
    labels, predictions : sequence of float, shape (n,)
        Finite.

    Returns
    -------
    dict
        mae, rmse, bias (mean prediction minus label), mape (None if a label is 0), r2 (None for constant labels), n.
        None as well for what is beyond 64-bit floats.

    Raises
    ------
    ValueError
        If lengths differ or a value is not finite.

    Notes
    -----
    r2 = 1 - SSE / SST, negative when the mean of the labels would have done better.

    References
    ----------
    .. [1] Hyndman, R. J. and Koehler, A. B. (2006), Another look at measures of forecast accuracy, International
       Journal of Forecasting 22(4), 679-688.

    Examples
    --------
    >>> regression_scores([1.0, 2.0], [2.0, 2.0])["mae"]
    0.5
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    if y.shape != p.shape or y.ndim != 1:
        raise ValueError(f"labels and predictions must have the same length, got {y.size} and {p.size}")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise ValueError("labels and predictions must be finite")
    n = int(y.size)
    if n == 0:
        return {"mae": None, "rmse": None, "bias": None, "mape": None, "r2": None, "n": 0}
    exponent = binary_exponent(*(float(x) for x in (y.min(), y.max(), p.min(), p.max())))
    if exponent:
        y, p = np.ldexp(y, -exponent), np.ldexp(p, -exponent)
    error = p - y
    squares = float((error**2).sum())
    total = 0.0 if y.min() == y.max() else float(((y - y.mean()) ** 2).sum())
    with np.errstate(over="ignore"):
        relative = None if (y == 0.0).any() else float(np.abs(error / y).mean())
    return {
        "mae": _within_floats(float(np.abs(error).mean()), exponent),
        "rmse": _within_floats(math.sqrt(squares / n), exponent),
        "bias": _within_floats(float(error.mean()), exponent),
        "mape": None if relative is None else _within_floats(relative),
        "r2": _within_floats(1.0 - squares / total) if total > 0.0 else None,
        "n": n,
    }


def estimate_accuracy(probabilities: Sequence[float] | FloatArray) -> EstimatedPerformance:
    """Estimate the accuracy of a calibrated classifier without labels.

    Parameters
    ----------
    probabilities : sequence of float in [0, 1], shape (n,)
        Of the class that was predicted, each.

    Notes
    -----
    Hits are independent Bernoulli trials with those probabilities: mean p, standard error sqrt(sum p (1 - p)) / n. It
    is as good as the calibration, and blind to a change of the relation between features and labels.

    References
    ----------
    .. [1] Guillory, D. et al. (2021), Predicting with confidence on unseen distributions, ICCV.
    .. [2] Bialek, J. et al. (2024), Estimating model performance under covariate shift without labels, arXiv
    2401.08348.

    Examples
    --------
    >>> estimate_accuracy([1.0, 0.5]).accuracy
    0.75
    """
    p = _probabilities(probabilities)
    return EstimatedPerformance(accuracy=float(p.mean()), standard_error=_standard_error(p), n=int(p.size))


def estimate_binary(
    probabilities: Sequence[float] | FloatArray, predicted_positive: Sequence[bool]
) -> EstimatedPerformance:
    """Estimate accuracy, precision, recall and F1 of a calibrated classifier of two classes without labels.

    Parameters
    ----------
    probabilities : sequence of float in [0, 1], shape (n,)
        Of the class that was predicted, each.
    predicted_positive : sequence of bool, shape (n,)

    Notes
    -----
    Expected counts: TP = sum of p over predicted positives, FP = sum of 1 - p over them, FN = sum of 1 - p over
    predicted negatives; scores are ratios of expected counts.

    References
    ----------
    .. [1] Bialek, J. et al. (2024), Estimating model performance under covariate shift without labels, arXiv
    2401.08348.

    Examples
    --------
    >>> estimate_binary([0.9, 0.6], [True, False]).precision
    0.9
    """
    p = _probabilities(probabilities)
    positive = np.asarray(predicted_positive, dtype=np.bool_)
    if positive.shape != p.shape:
        raise ValueError(f"predicted_positive must have the length of probabilities, {p.size}, got {positive.size}")
    tp, fp = float(p[positive].sum()), float((1.0 - p[positive]).sum())
    fn = float((1.0 - p[~positive]).sum())
    return EstimatedPerformance(
        accuracy=float(p.mean()),
        standard_error=_standard_error(p),
        precision=tp / (tp + fp) if tp + fp > 0.0 else None,
        recall=tp / (tp + fn) if tp + fn > 0.0 else None,
        f1=2.0 * tp / (2.0 * tp + fp + fn) if tp + fp + fn > 0.0 else None,
        n=int(p.size),
    )


def check_calibration(probabilities: Sequence[float] | FloatArray, hits: Sequence[bool]) -> CalibrationCheck:
    """Test whether the accuracy that probabilities promise is the accuracy that came true.

    Parameters
    ----------
    probabilities : sequence of float in [0, 1], shape (n,)
        Of the class that was predicted, each.
    hits : sequence of bool, shape (n,)
        Whether it was right.

    Notes
    -----
    z = (hits - sum p) / sqrt(sum p (1 - p)) [1]_: calibration in the large. When all probabilities are 0 or 1, one
    miss refutes them.

    References
    ----------
    .. [1] Spiegelhalter, D. J. (1986), Probabilistic prediction in patient management and clinical trials, Statistics
       in Medicine 5(5), 421-433.

    Examples
    --------
    >>> check_calibration([0.5] * 100, [True] * 50 + [False] * 50).calibrated
    True
    """
    p = _probabilities(probabilities)
    right = np.asarray(hits, dtype=np.float64)
    if right.shape != p.shape:
        raise ValueError(f"hits must have the length of probabilities, {p.size}, got {right.size}")
    variance = float((p * (1.0 - p)).sum())
    gap = float(right.sum() - p.sum())
    z = gap / math.sqrt(variance) if variance > 0.0 else None
    p_value = 1.0 if gap == 0.0 else P_VALUE_FLOOR  # what is certain and does not happen
    if z is not None:
        p_value = max(P_VALUE_FLOOR, float(2.0 * ndtr(-abs(z))))
    return CalibrationCheck(
        estimated=float(p.mean()),
        realised=float(right.mean()),
        z=z,
        p_value=p_value,
        calibrated=p_value >= CALIBRATION_ALPHA,
        n=int(p.size),
    )


def _within_floats(number: float, exponent: int = 0) -> float | None:
    """Return number times 2^exponent, or None where a float cannot say it."""
    try:
        result = math.ldexp(number, exponent)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def _standard_error(p: FloatArray) -> float:
    return math.sqrt(float((p * (1.0 - p)).sum())) / p.size


def _probabilities(values: Sequence[float] | FloatArray) -> FloatArray:
    p = np.asarray(values, dtype=np.float64)
    if p.ndim != 1 or p.size == 0:
        raise ValueError("probabilities must be a list of at least one number")
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    return p
