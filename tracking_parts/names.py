"""Names for runs that nobody named: two words and a number, from the run's own id."""

from __future__ import annotations

__all__ = ["make_name"]

_FIRST = (
    "amber", "bold", "brisk", "calm", "clear", "cool", "crisp", "deft", "eager", "fair", "fleet", "gentle", "glad",
    "golden", "keen", "kind", "light", "lively", "lucid", "mellow", "merry", "neat", "noble", "patient", "placid",
    "quick", "quiet", "ready", "silver", "steady", "sunny", "swift",
)  # fmt: skip
_SECOND = (
    "alder", "ash", "beech", "birch", "brook", "cedar", "cliff", "cloud", "creek", "dune", "elm", "fern", "field",
    "grove", "harbor", "heron", "hill", "lake", "larch", "maple", "meadow", "oak", "otter", "pine", "reed", "ridge",
    "river", "robin", "shore", "spruce", "willow", "wren",
)  # fmt: skip


def make_name(run_id: str) -> str:
    """Return a readable name; equal ids give equal names.

    >>> make_name("0" * 32)
    'amber-alder-000'
    """
    number = int(run_id[-8:], 16)
    return f"{_FIRST[number % 32]}-{_SECOND[number // 32 % 32]}-{number // 1024 % 1000:03d}"
