"""The rules of control charts in words, for the charts of the Monitoring tab and for its alerts."""

from __future__ import annotations

__all__ = ["CHART_RULES", "CHART_RULE_TEXT", "DEFAULT_RULES", "RULE_TEXT", "rule_text"]

DEFAULT_RULES = ("3-sigma", "ewma", "cusum")
CHART_RULES = (*DEFAULT_RULES, "nelson", "western-electric")
CHART_RULE_TEXT = {
    "3-sigma": "3 sigma",
    "ewma": "EWMA",
    "cusum": "CUSUM",
    "nelson": "Nelson’s eight",
    "western-electric": "Western Electric",
}
RULE_TEXT = {
    "3-sigma": "beyond the 3-sigma limits",
    "ewma": "EWMA beyond its limit: a small lasting shift",
    "cusum": "CUSUM beyond its limit: a small lasting shift",
    "constant": "left a baseline that never varied",
    "nelson-1": "one point beyond 3 sigma",
    "nelson-2": "nine in a row on one side of the centre",
    "nelson-3": "six in a row rising or falling",
    "nelson-4": "fourteen in a row alternating",
    "nelson-5": "two of three beyond 2 sigma",
    "nelson-6": "four of five beyond 1 sigma",
    "nelson-7": "fifteen in a row within 1 sigma",
    "nelson-8": "eight in a row outside 1 sigma",
}


def rule_text(rule: str) -> str:
    """Return what a rule of a control chart says, in words; the Western Electric rules are four of Nelson's.

    >>> rule_text("western-electric-5")
    'two of three beyond 2 sigma'
    """
    return RULE_TEXT.get(rule.replace("western-electric-", "nelson-"), rule.replace("-", " "))
