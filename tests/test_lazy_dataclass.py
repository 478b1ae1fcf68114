"""Dataclasses that are written when they are used behave as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import pickle
from collections.abc import Callable
from dataclasses import field

import pytest

import lazy_dataclass


def make(decorate: Callable[..., Callable[[type], type]], **options: bool) -> type:
    @decorate(frozen=True, slots=True, **options)
    class Sample:
        """A sample."""

        number: float
        names: list[str] = field(default_factory=list)
        note: str = field(default="", compare=False, repr=False)
        total: float = field(init=False)

        def __post_init__(self) -> None:
            object.__setattr__(self, "total", self.number * 2)

    return Sample


@lazy_dataclass.dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """At the top of a module, so that it can be pickled."""

    number: float
    words: tuple[str, ...] = ()


@pytest.fixture(params=[{}, {"kw_only": True}], ids=["positional", "keywords"])
def pair(request) -> tuple[type, type]:
    return make(lazy_dataclass.dataclass, **request.param), make(dataclasses.dataclass, **request.param)


def test_signature_and_document_are_the_standard_ones_before_and_after_the_first_instance(pair):
    ours, standard = pair
    assert inspect.signature(ours) == inspect.signature(standard)
    ours(number=1.0)
    assert inspect.signature(ours) == inspect.signature(standard)
    assert ours.__doc__ == standard.__doc__
    assert ours.__match_args__ == standard.__match_args__
    assert repr(ours.__dataclass_params__) == repr(standard.__dataclass_params__)
    assert [(f.name, f.type, f.compare, f.init) for f in dataclasses.fields(ours)] == [
        (f.name, f.type, f.compare, f.init) for f in dataclasses.fields(standard)
    ]


def test_instances_look_alike(pair):
    ours, standard = (kind(number=1.5, names=["a"], note="n") for kind in pair)
    assert repr(ours) == repr(standard)
    assert dataclasses.asdict(ours) == dataclasses.asdict(standard)
    assert dataclasses.asdict(dataclasses.replace(ours, number=2.0, note="m")) == {
        "number": 2.0,
        "names": ["a"],
        "note": "m",
        "total": 4.0,
    }
    assert not hasattr(ours, "__dict__")


def test_defaults_are_not_shared_between_instances(pair):
    ours = pair[0]
    assert ours(number=1.0).names is not ours(number=1.0).names


def test_equality_and_hash_look_at_the_compared_fields_only():
    kind = make(lazy_dataclass.dataclass)
    assert kind(1.0, ["a"], note="x") == kind(1.0, ["a"], note="y")
    assert kind(1.0) != kind(2.0)
    assert kind(math.nan).__eq__(1) is NotImplemented
    assert Plain(number=1.0) != make(dataclasses.dataclass)(1.0)
    assert len({Plain(number=1.0), Plain(number=1.0), Plain(number=2.0)}) == 2
    with pytest.raises(TypeError):
        hash(kind(1.0))  # a list among the fields


def test_instances_cannot_be_changed():
    record = Plain(number=1.0)
    with pytest.raises(dataclasses.FrozenInstanceError, match="number"):
        record.number = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError, match="number"):
        del record.number
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.other = 1


@pytest.mark.parametrize("make_copy", [copy.copy, copy.deepcopy, lambda record: pickle.loads(pickle.dumps(record))])
def test_copies_are_equal(make_copy):
    record = Plain(number=1.0, words=("a", "b"))
    assert make_copy(record) == record
    assert type(make_copy(record)) is Plain


def test_arguments_are_checked_from_the_first_instance_on():
    for _ in range(2):
        with pytest.raises(TypeError, match=r"__init__\(\) missing 1 required keyword-only argument: 'number'"):
            Plain()
        with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
            Plain(number=1.0, nonsense=2)


def test_methods_that_a_class_writes_itself_stay():
    @lazy_dataclass.dataclass(frozen=True, slots=True)
    class Own:
        value: int

        def __repr__(self) -> str:
            return "own"

    assert repr(Own(1)) == "own"


def test_what_is_not_plainly_frozen_is_left_to_the_standard_library():
    @lazy_dataclass.dataclass(frozen=True, slots=True, order=True)
    class Ordered:
        value: int

    @lazy_dataclass.dataclass(slots=True)
    class Mutable:
        value: int

    assert Ordered(1) < Ordered(2)
    changed = Mutable(1)
    changed.value = 2
    assert changed == Mutable(2)
