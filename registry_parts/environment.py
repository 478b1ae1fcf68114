"""Which packages a model needs, what it was made with, and where this process differs.

    >>> sorted(capture_dependencies({"a": 1}))
    []

Vocabulary: a *dependency* is an installed package whose code an object is made of. Nothing of the object is run.
"""

from __future__ import annotations

import platform
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from types import BuiltinFunctionType, FunctionType
from typing import Any

from values import InvalidTypeError, InvalidValueError, check_key, check_text, shorten

__all__ = [
    "capture",
    "capture_dependencies",
    "capture_environment",
    "dependency_differences",
    "to_dependencies",
]

WALK_LIMIT = 20_000  # objects looked at when dependencies are captured

# Import names that differ from the names of their packages; the rest is looked up.
_PACKAGE_OF = {
    "sklearn": "scikit-learn",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "PyYAML",
    "skimage": "scikit-image",
    "bs4": "beautifulsoup4",
}

EXACT_VERSION = re.compile(r"==([^,*=]+)")

_STANDARD = frozenset(sys.stdlib_module_names) | {"builtins", "__main__", "__mp_main__"}

_FUNCTION_TYPES = (FunctionType, BuiltinFunctionType)

_PLAIN_TYPES = (str, bytes, bytearray, int, float, complex, bool, type(None), range)


@lru_cache(maxsize=1024)
def _package(module: str) -> tuple[str, str] | None:
    """Return (package, version) of a top-level module, or None if no installed package has it."""
    from importlib import metadata

    for name in chain([_PACKAGE_OF.get(module, module)], _packages_by_module(module)):
        try:
            return str(metadata.metadata(name)["Name"]), metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _packages_by_module(module: str) -> Iterator[str]:
    yield from _all_packages_by_module().get(module, [])  # reads every package's file list: only when needed


@lru_cache(maxsize=1)
def _all_packages_by_module() -> Mapping[str, list[str]]:
    from importlib import metadata

    return metadata.packages_distributions()


def _modules_of(model: object) -> set[str]:
    """Return the modules of the classes and functions that an object is made of, without running anything of it."""
    modules: set[str] = set()
    seen: set[int] = set()
    waiting: deque[object] = deque([model])
    while waiting and len(seen) < WALK_LIMIT:
        item = waiting.popleft()
        kind = type(item)
        if kind in _PLAIN_TYPES or id(item) in seen:
            continue
        seen.add(id(item))
        if issubclass(kind, type):  # isinstance() would ask the object itself what it is
            modules.update(
                base.__module__ for base in type.__dict__["__mro__"].__get__(item) if isinstance(base.__module__, str)
            )
            continue
        modules.update(base.__module__ for base in kind.__mro__ if isinstance(base.__module__, str))
        if kind is dict:
            waiting.extend(item.keys())  # type: ignore[attr-defined]
            waiting.extend(item.values())  # type: ignore[attr-defined]
        elif kind in (list, tuple, set, frozenset, deque):
            waiting.extend(item)  # type: ignore[arg-type]
        elif kind.__module__ == "numpy":
            if getattr(item, "dtype", None) is not None and getattr(item.dtype, "hasobject", False):  # type: ignore[attr-defined]
                waiting.extend(getattr(item, "flat", ())[:1000])
        else:
            if kind in _FUNCTION_TYPES and isinstance(item.__module__, str):
                modules.add(item.__module__)
            try:
                attributes = object.__getattribute__(item, "__dict__")
            except AttributeError:
                attributes = {}
            if isinstance(attributes, dict):
                waiting.extend(attributes.values())
            for base in kind.__mro__:
                for slot in _slots(base):
                    try:
                        waiting.append(object.__getattribute__(item, slot))
                    except AttributeError:
                        continue
    return modules


def _slots(base: type) -> Sequence[str]:
    slots = base.__dict__.get("__slots__", ())
    return (
        (slots,) if isinstance(slots, str) else tuple(s for s in slots if isinstance(s, str) and not s.startswith("__"))
    )


def capture(model: object) -> tuple[dict[str, str], dict[str, Any]]:
    """Return dependencies and environment of an object, looking through it once."""
    tops = {module.partition(".")[0] for module in _modules_of(model)}
    found = {_package(top) for top in tops - _STANDARD}
    dependencies = dict(sorted((item for item in found if item is not None), key=lambda item: item[0].lower()))
    local = {top for top in tops - _STANDARD if _package(top) is None} | (tops & {"__main__", "__mp_main__"})
    kind = model if isinstance(model, type) else type(model)
    environment = capture_environment() | {
        "class": f"{kind.__module__}.{kind.__qualname__}",
        "local_modules": sorted(local),
    }
    return dependencies, environment


def capture_dependencies(model: object) -> dict[str, str]:
    """Return version by package for the packages that an object's classes and functions come from, sorted by name."""
    return capture(model)[0]


def capture_environment() -> dict[str, Any]:
    """Return the version of Python and the platform."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def to_dependencies(value: object) -> dict[str, str]:
    """Return version by package from a mapping or from requirement lines (``numpy==2.1``, ``scipy>=1.10``).

    What is no single version is kept as it was written: ``>=1.10``, ``==2.0; python_version < "3.12"``, ``@ https://...``.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it is neither, or a line cannot be read.
    """
    if isinstance(value, Mapping):
        return {check_key(k, "dependency"): check_text(v, f"dependency {k!r}", 1_000) for k, v in value.items()}
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidTypeError(
            f"dependencies must be a mapping or a list of requirements, got {type(value).__name__} {shorten(value)}"
        )
    from packaging.requirements import InvalidRequirement, Requirement

    found: dict[str, str] = {}
    for line in value:
        text = check_text(line, "dependency", 1_000)
        try:
            parsed = Requirement(text)
        except InvalidRequirement as error:
            reason = str(error).splitlines()[0]
            raise InvalidValueError(
                f"dependency {shorten(text)} is not a requirement such as 'numpy==2.1.0': {reason}"
            ) from error
        wanted = f"@ {parsed.url}" if parsed.url else str(parsed.specifier)
        exact = EXACT_VERSION.fullmatch(wanted)
        if parsed.marker is not None:
            found[parsed.name] = f"{wanted} ; {parsed.marker}".strip()
        else:
            found[parsed.name] = exact[1] if exact is not None else wanted
    return found


@lru_cache(maxsize=1024)
def _installed(package: str) -> str | None:
    """Return a package's version; what is installed later into a running process is not what it runs."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _is_met(package: str, wanted: str, here: str | None) -> bool:
    """Whether what is installed meets a dependency without an exact version; of free text only its presence counts."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        parsed = Requirement(f"{package} {wanted}")
    except InvalidRequirement:
        return here is not None
    if parsed.marker is not None and not parsed.marker.evaluate():
        return True
    return here is not None and parsed.specifier.contains(here, prereleases=True)


def dependency_differences(recorded: Mapping[str, str], environment: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each package that is missing here or has another version than recorded."""
    found = []
    for package, version in recorded.items():
        here = _installed(package)
        if version[:1].isdigit():
            if here is None:
                found.append(f"{package} {version} is not installed")
            elif here != version:
                found.append(f"{package} is {here}, the model was made with {version}")
        elif not _is_met(package, version, here):
            wanted = f"{package} {version}".strip()
            found.append(f"{wanted} is needed, {'which is not installed' if here is None else f'and {here} is here'}")
    python = environment.get("python")
    if isinstance(python, str) and python.split(".")[:2] != platform.python_version().split(".")[:2]:
        found.append(f"Python is {platform.python_version()}, the model was made with {python}")
    return found
