"""Whether more of a metric is better, as far as its name tells: gates and comparisons ask."""

from __future__ import annotations

__all__ = ["metric_direction"]

# Parts of metric names of which less is better. Everything else is taken as "more is better" only when known.
_LOWER_IS_BETTER = frozenset(
    [
        "loss",
        "error",
        "err",
        "mse",
        "rmse",
        "mae",
        "mape",
        "smape",
        "rmsle",
        "msle",
        "brier",
        "logloss",
        "perplexity",
        "wer",
        "cer",
        "fid",
        "latency",
        "ms",
        "seconds",
        "time",
        "duration",
        "cost",
        "deviance",
        "bias",
        "drift",
        "ece",
        "miss",
        "fpr",
        "fnr",
        "hamming",
        "hinge",
        "crossentropy",
        "entropy",
        "bytes",
        "memory",
        "regret",
        "davies",  # Davies-Bouldin, which scikit-learn calls a score
        "pinball",
        "nll",
        "crps",
        "mase",
        "medae",
        "wape",
        "wmape",
        "rmspe",
        "divergence",
    ]
)

_HIGHER_IS_BETTER = frozenset(
    [
        "accuracy",
        "acc",
        "f1",
        "fbeta",
        "precision",
        "recall",
        "auc",
        "roc",
        "auroc",
        "auprc",
        "ap",
        "map",
        "ndcg",
        "r2",
        "rsquared",
        "d2",  # scikit-learn's shares explained, such as d2_absolute_error_score
        "score",
        "bleu",
        "rouge",
        "sensitivity",
        "specificity",
        "tpr",
        "tnr",
        "kappa",
        "mcc",
        "jaccard",
        "iou",
        "dice",
        "gini",
        "ks",
        "lift",
        "profit",
        "revenue",
        "throughput",
        "correlation",
        "spearman",
        "pearson",
        "hit",
        "mrr",
        "silhouette",
        "coverage",
    ]
)


_NEGATED = frozenset({"neg", "negative"})  # scikit-learn's neg_log_loss and the like: more is better


def metric_direction(metric: str) -> int | None:
    """Return 1 if more of a metric is better, -1 if less is, None if its name does not tell.

    >>> metric_direction("val/accuracy"), metric_direction("test_rmse"), metric_direction("foo")
    (1, -1, None)
    """
    words = set("".join(c if c.isalnum() else " " for c in metric.lower()).split())
    words.add(metric.lower().replace("_", "").replace("-", ""))
    if words & _LOWER_IS_BETTER and "d2" not in words:
        return 1 if words & _NEGATED else -1
    return 1 if words & _HIGHER_IS_BETTER and not words & _NEGATED else None
