"""Frozen dataclasses whose methods are written when the first instance is made, not when a module is imported.

    >>> @dataclass(frozen=True, slots=True, kw_only=True)
    ... class Point:
    ...     x: float
    ...     y: float = 0.0
    >>> Point(x=1.0)
    Point(x=1.0, y=0.0)
    >>> Point(x=1.0) == Point(x=1.0, y=0.0)
    True
    >>> import inspect
    >>> inspect.signature(Point)
    <Signature (*, x: 'float', y: 'float' = 0.0) -> None>

`dataclasses.dataclass` compiles six methods from text for every class it meets, .6 ms a class. The modules have dozens
of results each, of which a process uses a few: that was two fifths of the time that importing a module took. Here a
class costs a tenth of that until it is used. What comes out is a dataclass like any other: `fields`, `asdict`,
`replace`, `copy`, `pickle` and the type checker see no difference.
"""

from __future__ import annotations

import dataclasses
import inspect
import reprlib
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(**options: bool) -> Callable[[type], type]:
        """Return a decorator like `dataclasses.dataclass`, to which everything but a plain frozen class is left."""
        kw_only = options.get("kw_only", False)
        if options != {"frozen": True, "slots": True} | ({"kw_only": True} if kw_only else {}):
            return dataclasses.dataclass(**options)

        def decorate(plain: type) -> type:
            own = set(vars(plain))
            plain.__doc__ = plain.__doc__ or plain.__name__  # or the standard library writes the signature there
            made = dataclasses.dataclass(slots=True, kw_only=kw_only, init=False, repr=False, eq=False)(plain)
            for option in ("init", "repr", "eq", "frozen"):
                setattr(made.__dataclass_params__, option, True)
            for name, method in _SHARED.items():
                if name not in own:
                    setattr(made, name, method)

            def initialize(self: Any, *values: Any, **named: Any) -> None:
                made.__init__ = _real_init(made)
                made.__init__(self, *values, **named)

            made.__init__ = initialize
            made.__signature__ = _SIGNATURE
            return made

        return decorate


@cache
def _real_init(made: type) -> Callable[..., None]:
    """Return the `__init__` that the standard library writes for the fields of a class."""
    fields = dataclasses.fields(made)
    namespace: dict[str, Any] = {"__annotations__": {field.name: field.type for field in fields}}
    namespace |= {field.name: field for field in fields}
    if hasattr(made, "__post_init__"):
        namespace["__post_init__"] = made.__post_init__
    pattern = type(made.__name__, (), {"__module__": made.__module__, "__doc__": made.__doc__, **namespace})
    init: Callable[..., None] = dataclasses.dataclass(frozen=True, repr=False, eq=False)(pattern).__init__  # type: ignore[misc]
    init.__qualname__ = f"{made.__qualname__}.__init__"
    return init


class _Signature:
    """What `help` and notebooks show of a class before its first instance is made."""

    def __get__(self, _instance: object, owner: type) -> inspect.Signature:
        signature = inspect.signature(_real_init(owner))
        return signature.replace(parameters=list(signature.parameters.values())[1:])


_SIGNATURE = _Signature()


# -- the methods that all of them share ---------------------------------------------------------------------------


@cache
def _compared_names(made: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(made) if field.compare)


def _compared(record: Any) -> tuple[Any, ...]:
    made: Any = type(record)
    return tuple(getattr(record, name) for name in _compared_names(made))


class _Methods:
    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        shown = (f"{field.name}={getattr(self, field.name)!r}" for field in fields if field.repr)
        return f"{type(self).__qualname__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_compared(self))

    def __setattr__(self, name: str, value: object) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __getstate__(self) -> list[Any]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]  # type: ignore[arg-type]

    def __setstate__(self, state: list[Any]) -> None:
        for field, value in zip(dataclasses.fields(self), state, strict=True):  # type: ignore[arg-type]
            object.__setattr__(self, field.name, value)


_SHARED = {name: method for name, method in vars(_Methods).items() if inspect.isfunction(method)}
