"""Whether more of a metric is better, as far as its name tells.

>>> metric_direction("val_accuracy"), metric_direction("p95_latency_ms"), metric_direction("size")
('higher', 'lower', None)
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["metric_direction", "words_of"]

_HIGHER = frozenset((
    "acc", "accuracy", "ap", "auc", "auprc", "auroc", "bleu", "conversion", "correlation", "coverage", "ctr", "d2",
    "dice", "f1", "f2", "fbeta", "gain", "gini", "hit", "hits", "iou", "jaccard", "kappa", "ks", "lift", "map",
    "mcc", "mrr", "ndcg", "pearson", "precision", "profit", "r2", "recall", "revenue", "roc", "rouge", "rsquared",
    "score", "sensitivity", "silhouette", "spearman", "specificity", "throughput", "tnr", "tpr", "uptime",
))  # fmt: skip
_LOWER = frozenset((
    "bias", "brier", "bytes", "cer", "cost", "crossentropy", "crps", "davies", "delay", "deviance", "divergence",
    "drift", "duration", "ece", "entropy", "err", "error", "errors", "failures", "fid", "fnr", "fpr", "hamming",
    "hinge", "kl", "latency", "logloss", "loss", "mae", "mape", "mase", "medae", "memory", "miss", "misses", "ms",
    "mse", "msle", "nll", "perplexity", "pinball", "ppl", "psi", "regret", "rmse", "rmsle", "rmspe", "seconds",
    "smape", "staleness", "time", "timeouts", "wape", "wer", "wmape",
))  # fmt: skip
_NEGATED = frozenset({"neg", "negative"})
_EXPLAINED = frozenset({"d2", "r2"})  # shares explained, such as d2_absolute_error_score


def metric_direction(metric: str) -> Literal["higher", "lower"] | None:
    """Return what is better of a metric, judged by its name; None if the name does not tell.

    Parameters
    ----------
    metric : str

    Notes
    -----
    The name is split at punctuation and capitals. A word such as "error" decides before one such as "score", which
    stands behind either kind; so does an ending "loss" or "error" of a longer word. What scikit-learn negates, such as
    neg_log_loss, is better when higher [1]_; a share explained (d2, r2) is so whatever follows.

    References
    ----------
    .. [1] scikit-learn, User Guide, "Metrics and scoring": scorers follow the convention that higher values are better,
       and are named neg_* where they measure a distance.

    Examples
    --------
    >>> metric_direction("neg_log_loss"), metric_direction("davies_bouldin_score"), metric_direction("crossEntropy")
    ('higher', 'lower', 'lower')
    """
    found = words_of(metric)
    words = {*found, "".join(found)}
    is_negated = bool(words & _NEGATED)
    if words & _EXPLAINED:
        return None if is_negated else "higher"
    if words & _LOWER or any(word.endswith(("loss", "error")) for word in found):
        return "higher" if is_negated else "lower"
    return "higher" if words & _HIGHER and not is_negated else None


def words_of(name: str) -> list[str]:
    """Return the words of a name in lower case, split at punctuation and at capitals.

    >>> words_of("val/F1@5"), words_of("valAccuracy")
    (['val', 'f1', '5'], ['val', 'accuracy'])
    """
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
