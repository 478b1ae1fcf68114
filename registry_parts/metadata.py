"""What is known about a model version besides its bytes: its number, its environment, its signature, its card.

    >>> precedence_key("1.0.0-rc.1") < precedence_key("1.0.0")
    True
    >>> next_version("1.4.2", "minor")
    '1.5.0'
    >>> sorted(capture_dependencies({"a": 1}))
    []

Vocabulary: *precedence* is the order of Semantic Versioning 2.0.0; the *signature* is what a model takes and
gives; a *gate* is what a version must show before it may enter Production. Everything here is pure.
"""

from __future__ import annotations

import hashlib
import math
import platform
import re
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from types import BuiltinFunctionType, FunctionType
from typing import Any

from values import InvalidTypeError, InvalidValueError, check_key, check_name, check_text, shorten, to_float

__all__ = [
    "BUMPS",
    "CARD_TEMPLATE",
    "capture",
    "capture_dependencies",
    "capture_environment",
    "check_gates",
    "check_version",
    "dependency_differences",
    "evaluate_gates",
    "fingerprint_data",
    "infer_signature",
    "next_version",
    "precedence_key",
    "render_card",
    "to_dependencies",
]

VERSION_MAX_LENGTH = 255  # characters
FIRST_VERSION = "1.0.0"  # of a model registered without a version
BUMPS = ("major", "minor", "patch")
WALK_LIMIT = 20_000  # objects looked at when dependencies are captured
EXAMPLE_COLUMNS_LIMIT = 10_000  # columns a signature may have


# -- versions ----------------------------------------------------------------------------------------


def check_version(value: object, field: str = "version") -> str:
    """Return a version that Semantic Versioning 2.0.0 admits, or say what is wrong with it.

    >>> check_version("1.2.3-rc.1+build.5")
    '1.2.3-rc.1+build.5'
    >>> check_version("v1.0.0")
    Traceback (most recent call last):
    ...
    values.InvalidValueError: version 'v1.0.0' begins with 'v'; write '1.0.0'
    """
    if not isinstance(value, str):
        raise InvalidTypeError(f"{field} must be text such as '1.2.3', got {type(value).__name__} {shorten(value)}")
    text = "".join(str.__iter__(value))
    if len(text) > VERSION_MAX_LENGTH:
        raise InvalidValueError(f"{field} may have {VERSION_MAX_LENGTH} characters, got {len(text):,}")
    if _is_semantic(text):
        return text
    raise InvalidValueError(f"{field} {shorten(text)} {_why_not_a_version(text)}")


def _is_semantic(text: str) -> bool:
    import semver

    # The library's pattern ends in "$", which also matches before a final line break.
    return text.isascii() and text.isprintable() and semver.Version.is_valid(text)


def _why_not_a_version(text: str) -> str:
    if not text:
        return "is empty; write three numbers such as '1.0.0'"
    if not text.isascii() or not text.isprintable():
        return "has characters outside printable ASCII; keep to 0-9, A-Z, a-z, '.', '-' and '+', such as '1.2.3'"
    if text[:1] in "vV" and text[1:2].isdigit():
        without = text[1:]
        advice = repr(without) if _is_semantic(without) else "three numbers such as '1.0.0'"
        return f"begins with {text[0]!r}; write {advice}"
    core = re.split(r"[-+]", text, maxsplit=1)[0]
    parts = core.split(".")
    if all(part.isdigit() for part in parts):
        if any(len(part) > 1 and part.startswith("0") for part in parts):
            return f"has a number with a leading zero; write {'.'.join(str(int(p)) for p in parts)!r}"
        if len(parts) != 3:
            suggestion = ".".join([*parts, "0", "0"][:3])
            return f"has {len(parts)} number(s) where Semantic Versioning wants three; write {suggestion!r}"
        return (
            "has a pre-release or build part with an empty identifier, a leading zero in a number, or a character "
            "other than 0-9, A-Z, a-z and '-'"
        )
    return "is not a semantic version; write three numbers such as '1.2.3', or '1.2.3-rc.1'"


def precedence_key(version: str) -> str:
    """Return a text that sorts, by code point, as Semantic Versioning 2.0.0 orders versions.

    Build metadata is left out: versions of equal precedence have equal keys. A number is written as the count of its
    digits and the digits; a release sorts after its pre-releases because ``~`` follows ``-``; an identifier that is a
    number sorts before one that is text (``0`` before ``1``); ``!``, which precedes every admitted character, ends a
    text and the list.

    References
    ----------
    [1] Semantic Versioning 2.0.0, item 11.
    """
    import semver

    parsed = semver.Version.parse(version)
    key = "".join(_number_key(str(number)) for number in (parsed.major, parsed.minor, parsed.patch))
    if parsed.prerelease is None:
        return key + "~"
    identifiers = [
        "0" + _number_key(part) if part.isdigit() else f"1{part}!" for part in str(parsed.prerelease).split(".")
    ]
    return key + "-" + "".join(identifiers) + "!"


def _number_key(digits: str) -> str:
    return f"{len(digits):03d}{digits}"


def next_version(highest: str | None, bump: str = "minor") -> str:
    """Return the version after the highest that was ever used.

    A pre-release is completed by the bump that it prepares: ``2.0.0-rc.1`` and "major" give ``2.0.0``.
    """
    if bump not in BUMPS:
        raise InvalidValueError(f"bump must be one of {', '.join(map(repr, BUMPS))}, got {shorten(bump)}")
    if highest is None:
        return FIRST_VERSION
    import semver

    return str(semver.Version.parse(highest).next_version(part=bump))


# -- dependencies and environment --------------------------------------------------------------------

# Import names that differ from the names of their packages; the rest is looked up.
_PACKAGE_OF = {
    "sklearn": "scikit-learn",
    "cv2": "opencv-python",
    "PIL": "pillow",
    "yaml": "PyYAML",
    "skimage": "scikit-image",
    "bs4": "beautifulsoup4",
}
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
    """Return version by package from a mapping or from requirement lines (``numpy==2.1``, ``scipy``).

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it is neither, or a line cannot be read.
    """
    if isinstance(value, Mapping):
        return {check_key(k, "dependency"): check_text(v, f"dependency {k!r}", 255) for k, v in value.items()}
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidTypeError(
            f"dependencies must be a mapping or a list of requirements, got {type(value).__name__} {shorten(value)}"
        )
    found: dict[str, str] = {}
    for line in value:
        text = check_text(line, "dependency", 1_000).strip()
        match = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*(.*)\Z", text, re.DOTALL)
        if match is None:
            raise InvalidValueError(f"dependency {shorten(text)} is not a requirement such as 'numpy==2.1.0'")
        wanted = match[3].strip()
        found[match[1]] = wanted[2:].strip() if wanted.startswith("==") and "," not in wanted else wanted
    return found


@lru_cache(maxsize=1024)
def _installed(package: str) -> str | None:
    """Return a package's version; what is installed later into a running process is not what it runs."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return None


def dependency_differences(recorded: Mapping[str, str], environment: Mapping[str, Any]) -> list[str]:
    """Return one sentence for each package that is missing here or has another version than recorded."""
    found = []
    for package, version in recorded.items():
        here = _installed(package)
        if here is None:
            found.append(f"{package} {version} is not installed")
            continue
        exact = bool(version) and version[0].isdigit()
        if exact and here != version:
            found.append(f"{package} is {here}, the model was made with {version}")
    python = environment.get("python")
    if isinstance(python, str) and python.split(".")[:2] != platform.python_version().split(".")[:2]:
        found.append(f"Python is {platform.python_version()}, the model was made with {python}")
    return found


# -- signature ---------------------------------------------------------------------------------------


def infer_signature(model: object, example: object) -> dict[str, Any]:
    """Return what a model takes and gives, from an example of its input.

    Parameters
    ----------
    model : object
        If it has ``predict``, it is called on the example; ``predict_proba`` on its first row.
    example : DataFrame, array, mapping of columns, list of rows or records
        At least one row.

    Returns
    -------
    dict
        ``inputs``: list of {name, dtype}; ``n_rows`` of the example; ``output``: {kind, dtype, shape, n_classes} or
        {kind: "unknown", reason}.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If the example has no rows, or is nothing of the above.
    """
    inputs, n_rows = _inputs_of(example)
    return {"inputs": inputs, "n_rows": n_rows, "output": _output_of(model, example)}


def _inputs_of(example: object) -> tuple[list[dict[str, Any]], int]:
    if hasattr(example, "columns") and hasattr(example, "dtypes"):  # a DataFrame of any library
        names = [str(name) for name in example.columns]
        dtypes = [str(dtype) for dtype in list(example.dtypes)]
        n_rows = len(example)  # type: ignore[arg-type]
    elif hasattr(example, "dtype") and hasattr(example, "shape"):
        shape = tuple(int(n) for n in example.shape)
        n_rows = shape[0] if shape else 0
        width = math.prod(shape[1:]) if len(shape) <= 2 else 1
        name = getattr(example, "name", None)
        names = [str(name)] if name is not None and len(shape) == 1 else [f"x{i}" for i in range(min(width, 10**6))]
        dtypes = [str(example.dtype)] * len(names)
        if len(shape) > 2:
            dtypes = [f"{example.dtype}{list(shape[1:])}"]
    elif isinstance(example, Mapping):
        columns = {str(key): value for key, value in example.items()}
        names = list(columns)
        n_rows = 1
        for value in columns.values():
            if isinstance(value, Sequence) and not isinstance(value, str | bytes):
                n_rows = max(len(value), 0)
        dtypes = [_type_name(value) for value in columns.values()]
    elif isinstance(example, Sequence) and not isinstance(example, str | bytes):
        n_rows = len(example)
        first = example[0] if n_rows else []
        if isinstance(first, Mapping):
            names, dtypes = [str(k) for k in first], [_type_name(v) for v in first.values()]
        elif isinstance(first, Sequence) and not isinstance(first, str | bytes):
            names, dtypes = [f"x{i}" for i in range(len(first))], [_type_name(v) for v in first]
        else:
            names, dtypes = ["x0"], [_type_name(first)]
    else:
        raise InvalidTypeError(f"input_example must be a DataFrame, an array, or rows, got {type(example).__name__}")
    if n_rows < 1:
        raise InvalidValueError("input_example has no rows; give at least one")
    if len(names) > EXAMPLE_COLUMNS_LIMIT:
        raise InvalidValueError(f"input_example has {len(names):,} columns; at most {EXAMPLE_COLUMNS_LIMIT:,} are kept")
    return [{"name": n, "dtype": d} for n, d in zip(names, dtypes, strict=True)], n_rows


def _type_name(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and value:
        value = value[0]
    return str(value.dtype) if hasattr(value, "dtype") else type(value).__name__


def _output_of(model: object, example: object) -> dict[str, Any]:
    predict = getattr(model, "predict", None)
    if not callable(predict):
        return {"kind": "unknown", "reason": "the model has no predict()"}
    try:
        output = predict(example)
        described = _describe_output(output)
        classes = getattr(model, "classes_", None)
        if callable(getattr(model, "predict_proba", None)) or classes is not None:
            described["kind"] = "class"
            if classes is not None:
                described["n_classes"] = len(classes)
    except Exception as error:  # noqa: BLE001 - anything a model raises is a reason, not a failure to register
        return {"kind": "unknown", "reason": f"predict() raised {type(error).__name__}: {str(error)[:200]}"}
    return described


def _describe_output(output: object) -> dict[str, Any]:
    shape = [int(n) for n in getattr(output, "shape", (len(output),) if isinstance(output, Sequence) else ())]
    dtype = str(output.dtype) if hasattr(output, "dtype") else _type_name(output)
    number = any(part in dtype for part in ("float", "int", "complex"))
    return {"kind": "number" if number else "value", "dtype": dtype, "shape": [None, *shape[1:]] if shape else []}


def fingerprint_data(data: object) -> str:
    """Return a SHA-256 of the values, column names and types of a DataFrame or array: equal data, equal text.

    The row index is not part of it.
    """
    digest = hashlib.sha256()
    if hasattr(data, "columns") and hasattr(data, "dtypes"):
        import pandas as pd

        frame = data if isinstance(data, pd.DataFrame) else data.to_pandas()  # type: ignore[attr-defined]
        for column, dtype in zip(frame.columns, frame.dtypes, strict=True):
            digest.update(f"{column}\x00{dtype}\x00".encode())
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    else:
        import numpy as np

        array = np.ascontiguousarray(data)
        if array.dtype.hasobject:
            raise InvalidTypeError("fingerprint_data takes numeric or fixed-width arrays, or a DataFrame")
        digest.update(f"{array.dtype.str}\x00{array.shape}\x00".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


# -- the model card ----------------------------------------------------------------------------------

CARD_TEMPLATE = """\
# {name} {version}

{description}

| | |
| --- | --- |
| Type | {model_type} |
| Stage | {stage} |
| Owner | {owner} |
| Registered | {created} by {created_by} |
| Training run | {run_id} |
| Data fingerprint | {fingerprint} |
| Stored as | {serializer}, {size_bytes} bytes, SHA-256 `{sha256}` |

## Performance

{metrics}

## Hyperparameters

{hyperparameters}

## Input and output

{signature}

## Environment

{dependencies}

## Intended use

_Say who should use this model for what, and what it must not be used for._

## Limits and risks

_Say where it fails, for whom, and how that was measured._
"""


def _cell(value: object) -> str:
    """Escape a value for a Markdown table: nothing typed becomes markup, a link, an image or a new row."""
    text = " ".join(str(value).split()) or "-"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|:~$-])", r"\\\1", text)


def _rows(head: tuple[str, str], rows: Mapping[str, object]) -> str:
    if not rows:
        return "_None recorded._"
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join(lines + [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()])


def render_card(fields: Mapping[str, Any], template: str = CARD_TEMPLATE) -> str:
    """Fill the card template from a version's fields; typed text is escaped, and never read as a template."""
    created = fields["created_at"]
    signature = fields.get("signature") or {}
    columns = {str(c["name"]): c["dtype"] for c in signature.get("inputs", [])}
    output = signature.get("output") or {}
    values = {
        "name": _cell(fields["name"]),
        "version": fields["version"],
        "description": _cell(fields["description"]) if fields["description"] else "_No description yet._",
        "model_type": str(fields["model_type"]),
        "stage": str(fields["stage"]),
        "owner": _cell(fields["owner"] or "-"),
        "created": f"{created:%Y-%m-%d %H:%M} UTC" if isinstance(created, datetime) else _cell(created),
        "created_by": _cell(fields["created_by"]),
        "run_id": _cell(fields["run_id"] or "-"),
        "fingerprint": _cell(fields["data_fingerprint"] or "-"),
        "serializer": fields["serializer"],
        "size_bytes": f"{fields['size_bytes']:,}",
        "sha256": fields["sha256"],
        "metrics": _rows(("Metric", "Value"), {k: f"{v:.6g}" for k, v in fields["performance_metrics"].items()}),
        "hyperparameters": _rows(("Hyperparameter", "Value"), fields["hyperparameters"]),
        "signature": _rows(("Column", "Type"), columns | {f"output ({k})": v for k, v in output.items()}),
        "dependencies": _rows(
            ("Package", "Version"), {"Python": fields["environment"].get("python", "-")} | fields["dependencies"]
        ),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), template)


# -- promotion gates ---------------------------------------------------------------------------------


def check_gates(gates: Mapping[str, Any]) -> dict[str, Any]:
    """Return promotion gates in their stored form, or say what is wrong with them.

    Parameters
    ----------
    gates : mapping
        ``metrics``: {metric: {"min": number, "max": number}} that the version must have and meet.
        ``not_worse_than_production``: {metric: allowed loss, at least 0}; "worse" follows the metric's direction,
        which must be known by its name or given as {"tolerance": number, "higher_is_better": bool}.
        ``experiment``: True or the name of an A/B experiment; a promotion must then bring that experiment's decision
        "ship" as evidence.
    """
    if not isinstance(gates, Mapping):
        raise InvalidTypeError(f"gates must be a mapping, got {type(gates).__name__}")
    unknown = set(gates) - {"metrics", "not_worse_than_production", "experiment"}
    if unknown:
        raise InvalidValueError(
            f"unknown gate(s) {', '.join(map(repr, sorted(map(str, unknown))))}; "
            "known: 'metrics', 'not_worse_than_production', 'experiment'"
        )
    from registry_parts.records import metric_direction

    checked: dict[str, Any] = {}
    if gates.get("metrics"):
        checked["metrics"] = {}
        for metric, bounds in dict(gates["metrics"]).items():
            key = check_key(metric, "gate metric")
            if not isinstance(bounds, Mapping) or not bounds or set(bounds) - {"min", "max"}:
                raise InvalidValueError(
                    f'gate of {key!r} must be {{"min": number}} or {{"max": number}}, got {bounds!r}'
                )
            checked["metrics"][key] = {k: to_float(v, f"gate {key!r} {k}") for k, v in bounds.items()}
    if gates.get("not_worse_than_production"):
        checked["not_worse_than_production"] = {}
        given = gates["not_worse_than_production"]
        for metric in given:
            key = check_key(metric, "gate metric")
            rule = given[metric] if isinstance(given, Mapping) else 0.0
            rule = rule if isinstance(rule, Mapping) else {"tolerance": rule}
            if set(rule) - {"tolerance", "higher_is_better"}:
                raise InvalidValueError(f"gate of {key!r} has unknown settings: {sorted(rule)}")
            higher = rule.get("higher_is_better")
            if higher is None:
                direction = metric_direction(key)
                if direction is None:
                    raise InvalidValueError(
                        f"whether more of {key!r} is better does not show in its name; "
                        f'give {{"tolerance": 0.0, "higher_is_better": True}}'
                    )
                higher = direction > 0
            if not isinstance(higher, bool):
                raise InvalidTypeError(f"higher_is_better of gate {key!r} must be True or False, got {higher!r}")
            tolerance = to_float(rule.get("tolerance", 0.0), f"tolerance of gate {key!r}")
            if tolerance < 0:
                raise InvalidValueError(f"tolerance of gate {key!r} must be at least 0, got {tolerance}")
            checked["not_worse_than_production"][key] = {"tolerance": tolerance, "higher_is_better": higher}
    experiment = gates.get("experiment")
    if experiment not in (None, False):
        checked["experiment"] = True if experiment is True else check_name(experiment, "gate experiment")
    return checked


def evaluate_gates(
    gates: Mapping[str, Any],
    metrics: Mapping[str, float],
    production: tuple[str, Mapping[str, float]] | None,
    experiment: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """Return the outcome of every gate: {gate, passed, message}.

    Parameters
    ----------
    gates : mapping
        As `check_gates` returns them.
    metrics : mapping
        Of the version that is to be promoted.
    production : (version, metrics) or None
        Of the version in Production now.
    experiment : mapping or None
        ``name`` and ``decision`` of the experiment given as evidence; ``is_of_this_version`` is False when its
        treatment is known to be another version.
    """
    found: list[dict[str, Any]] = []

    def add(gate: str, passed: bool, message: str) -> None:
        found.append({"gate": gate, "passed": passed, "message": message})

    for metric, bounds in gates.get("metrics", {}).items():
        value = metrics.get(metric)
        for kind, bound in bounds.items():
            name = f"metrics.{metric}.{kind}"
            if value is None:
                add(name, False, f"{metric} was not recorded; {kind} {bound:g} is required")
            elif value != value:
                add(name, False, f"{metric} is NaN; {kind} {bound:g} is required")
            else:
                passed = math.isfinite(value) and (value >= bound if kind == "min" else value <= bound)
                add(name, passed, f"{metric} is {value:.6g}; {kind} {bound:g} is required")
    for metric, rule in gates.get("not_worse_than_production", {}).items():
        name = f"not_worse_than_production.{metric}"
        value = metrics.get(metric)
        if production is None:
            add(name, True, "there is no version in Production to compare with")
            continue
        version, current = production[0], production[1].get(metric)
        if current is None or current != current:
            add(name, True, f"{metric} of {version} in Production was not recorded")
        elif value is None or value != value:
            add(name, False, f"{metric} was not recorded; {version} in Production has {current:.6g}")
        else:
            loss = current - value if rule["higher_is_better"] else value - current
            add(
                name,
                loss <= rule["tolerance"],
                f"{metric} is {value:.6g}, {version} in Production has {current:.6g}; "
                f"a loss of {rule['tolerance']:g} is allowed",
            )
    wanted = gates.get("experiment")
    if wanted:
        what = "an experiment" if wanted is True else f"the experiment {wanted!r}"
        if experiment is None:
            add("experiment", False, f"{what} that decided 'ship' must be given as evidence")
        elif wanted is not True and experiment.get("name") != wanted:
            add("experiment", False, f"{what} is required; the evidence is {experiment.get('name')!r}")
        elif experiment.get("is_of_this_version") is False:
            add("experiment", False, f"experiment {experiment.get('name')!r} tested another version")
        else:
            decision = experiment.get("decision")
            add(
                "experiment",
                isinstance(decision, str) and decision.startswith("ship"),
                f"experiment {experiment.get('name')!r} decided {decision!r}; 'ship' is required",
            )
    return found
