"""Drift of the features together: what can tell the reference from the current rows.

Each feature may look as before while their relations have changed: two columns that used to rise together and no
longer do. The *domain classifier* is trained to tell the two samples apart and judged on rows it has not seen; *PCA*
learns the relations of the reference and asks whether the current rows still fit them. Both need scikit-learn.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from monitoring_parts.columns import read_frame
from monitoring_parts.results import MultivariateDrift
from stats.data_drift import MINIMUM_ROWS
from stats.means import normal_p_value
from stats.series import binary_exponent
from values import check_choice

__all__ = ["METHODS", "compare_together"]

FloatArray = npt.NDArray[np.float64]

METHODS = ("domain_classifier", "pca")
SAMPLE_ROWS = 10_000  # of either sample; more does not change a verdict
SEED = 20_260_101  # of sampling and folds: the same data give the same answer
ALPHA = 0.01
AUC_THRESHOLD = 0.6  # below it the two samples are hard to tell apart, however sure that is
ERROR_THRESHOLD = 3.0  # standard errors of the reference's reconstruction error
EXPLAINED_VARIANCE = 0.8  # share that the kept components explain
TOP_CATEGORIES = 30


def compare_together(reference: Any, current: Any, method: str) -> MultivariateDrift:
    """Compare all common columns of two frames at once.

    Parameters
    ----------
    reference, current : frames as `read_frame` takes them
    method : {"domain_classifier", "pca"}

    Raises
    ------
    ValueError
        If the method is unknown.
    ModuleNotFoundError
        If scikit-learn is not installed.

    Notes
    -----
    The classifier's statistic is the area under the curve of out-of-fold scores of gradient-boosted trees (5 folds);
    its p-value is that of the rank-sum test, normal approximation. PCA standardises by one half of the reference, and
    compares the mean squared reconstruction error of the current rows with that of the other half (Welch's z).

    References
    ----------
    .. [1] Lopez-Paz, D. and Oquab, M. (2017), Revisiting classifier two-sample tests, ICLR.
    """
    check_choice(method, "multivariate", METHODS)
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "comparing features together needs scikit-learn: install it with  pip install 'modeldesk[sklearn]'"
        ) from error
    x, y = _matrices(reference, current)
    if x.shape[1] < 2:
        return _nothing(method, "fewer than two columns can be compared together")
    if min(len(x), len(y)) < 2 * MINIMUM_ROWS:
        return _nothing(method, f"insufficient data: {min(len(x), len(y))} rows of {2 * MINIMUM_ROWS} needed in either")
    return _classify(x, y) if method == "domain_classifier" else _reconstruct(x, y)


def _classify(x: FloatArray, y: FloatArray) -> MultivariateDrift:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = np.concatenate([x, y])
    labels = np.concatenate([np.zeros(len(x)), np.ones(len(y))])
    model = HistGradientBoostingClassifier(max_iter=60, max_depth=4, min_samples_leaf=20, random_state=SEED)
    folds = StratifiedKFold(5, shuffle=True, random_state=SEED)
    scores = cross_val_predict(model, rows, labels, cv=folds, method="predict_proba")[:, 1]
    auc = _area(scores[labels == 1], scores[labels == 0])
    n, m = len(x), len(y)
    z = (auc - 0.5) / math.sqrt((n + m + 1) / (12.0 * n * m))
    p_value = normal_p_value(z, "greater")
    drifted = auc >= AUC_THRESHOLD and p_value < ALPHA
    words = f"a classifier tells current from reference rows with an area under the curve of {auc:.3f}"
    return MultivariateDrift(
        method="domain_classifier",
        drifted=drifted,
        statistic=auc,
        p_value=p_value,
        threshold=AUC_THRESHOLD,
        reason=words if drifted else f"{words}, no better than it may",
    )


def _reconstruct(x: FloatArray, y: FloatArray) -> MultivariateDrift:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(SEED)
    order = rng.permutation(len(x))
    fit, held = x[order[: len(x) // 2]], x[order[len(x) // 2 :]]
    with np.errstate(invalid="ignore"):
        center = np.nan_to_num(np.nanmean(fit, axis=0))
        spread = np.nan_to_num(np.nanstd(fit, axis=0))
    keep = spread > 0.0
    if keep.sum() < 2:
        return _nothing("pca", "fewer than two columns vary in the reference")

    def standard(part: FloatArray) -> FloatArray:
        filled = np.where(np.isfinite(part), part, center)
        return np.asarray((filled[:, keep] - center[keep]) / spread[keep])

    model = PCA(n_components=EXPLAINED_VARIANCE, svd_solver="full").fit(standard(fit))

    def errors(part: FloatArray) -> FloatArray:
        rows = standard(part)
        back = model.inverse_transform(model.transform(rows))
        return np.asarray(((rows - back) ** 2).sum(axis=1))

    before, after = errors(held), errors(y)
    spread_of_means = math.sqrt(before.var(ddof=1) / before.size + after.var(ddof=1) / after.size)
    if not spread_of_means > 0.0:
        return _nothing("pca", "the columns are exact combinations of each other; there is no error to compare")
    z = float(after.mean() - before.mean()) / spread_of_means
    if not (math.isfinite(z) and before.mean() > 0.0):
        return _nothing(
            "pca", "the reference has no reconstruction error, or one beyond 64-bit floats, to compare with"
        )
    ratio = float(after.mean() / before.mean())
    drifted = abs(z) >= ERROR_THRESHOLD and not 0.9 < ratio < 1.1
    return MultivariateDrift(
        method="pca",
        drifted=drifted,
        statistic=z,
        p_value=normal_p_value(z),
        threshold=ERROR_THRESHOLD,
        reason=f"current rows have {ratio:.2f} times the reference's reconstruction error ({z:+.1f} standard errors)",
    )


def _nothing(method: str, reason: str) -> MultivariateDrift:
    return MultivariateDrift(method=method, drifted=None, statistic=None, p_value=None, threshold=None, reason=reason)


def _area(positive: FloatArray, negative: FloatArray) -> float:
    """Area under the curve, ties counted half, from the rank sum."""
    _, inverse, counts = np.unique(np.concatenate([positive, negative]), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    total = float(ranks[: positive.size].sum()) - positive.size * (positive.size + 1) / 2.0
    return total / (positive.size * negative.size)


def _matrices(reference: Any, current: Any) -> tuple[FloatArray, FloatArray]:
    """Return common columns of one family as numbers: a column for each frequent category."""
    import pandas as pd

    left, right = read_frame(reference, "reference"), read_frame(current, "current")
    frames = [frame if isinstance(frame, pd.DataFrame) else pd.DataFrame(frame) for frame in (reference, current)]
    rng = np.random.default_rng(SEED)
    frames = [
        frame.iloc[np.sort(rng.choice(len(frame), SAMPLE_ROWS, replace=False))] if len(frame) > SAMPLE_ROWS else frame
        for frame in frames
    ]
    names = [{str(label): i for i, label in enumerate(frame.columns)} for frame in frames]
    parts: tuple[list[FloatArray], list[FloatArray]] = ([], [])
    for name, column in left.items():
        if name not in right or right[name].family != column.family:
            continue
        pair = [frame.iloc[:, position[name]] for frame, position in zip(frames, names, strict=True)]
        if column.family == "number":
            both = [
                pd.to_numeric(series, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan) for series in pair
            ]
            both = [np.where(np.isfinite(numbers), numbers, np.nan) for numbers in both]
            found = [numbers[np.isfinite(numbers)] for numbers in both]
            if not all(numbers.size for numbers in found):
                continue  # nothing to compare; the comparison feature by feature tells
            known = np.concatenate(found)
            # One unit for both samples, in which numbers near the largest float can be squared.
            exponent = binary_exponent(float(known.min()), float(known.max()))
            for part, numbers in zip(parts, both, strict=True):
                part.append(np.ldexp(numbers, -exponent)[:, None])
        elif column.counts is not None and len(column.counts) <= 10 * TOP_CATEGORIES:
            top = [label for label, _ in sorted(column.counts.items(), key=lambda item: -item[1])[:TOP_CATEGORIES]]
            for part, series in zip(parts, pair, strict=True):
                texts = series.astype(str).to_numpy(dtype=object)
                part.append(np.column_stack([(texts == label).astype(np.float64) for label in top]))
    empty = [np.zeros((len(frame), 0)) for frame in frames]
    x, y = (np.hstack(part) if part else blank for part, blank in zip(parts, empty, strict=True))
    return x, y
