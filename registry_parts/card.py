"""The model card: a Markdown template filled from what is known of a version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry_parts.records import ModelVersion

__all__ = [
    "CARD_TEMPLATE",
    "render_card",
]

CARD_TEMPLATE = """\
# {name} {version}

{description}

| Property | Value |
| --- | --- |
| Type | {model_type} |
| Stage | {stage} |
| Owner | {owner} |
| Registered | {created} by {created_by} |
| Training run | {run} |
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
    plain = {None: "-", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)
    text = " ".join(plain.split()) or "-"
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|:~$-])", r"\\\1", text)


def _rows(head: tuple[str, str], rows: Mapping[str, object]) -> str:
    if not rows:
        return "_None recorded._"
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join(lines + [f"| {_cell(key)} | {_cell(value)} |" for key, value in rows.items()])


def render_card(version: ModelVersion, run_name: str | None = None) -> str:
    """Fill the card template from a version's record; typed text is escaped, and never read as a template."""
    signature = version.signature or {}
    columns = {str(c["name"]): c["dtype"] for c in signature.get("inputs", [])}
    output = signature.get("output") or {}
    values = {
        "name": _cell(version.name),
        "version": version.version,
        "description": _cell(version.description) if version.description else "_No description yet._",
        "model_type": version.model_type.value,
        "stage": version.stage.value,
        "owner": _cell(version.owner or "-"),
        "created": f"{version.created_at:%Y-%m-%d %H:%M} UTC",
        "created_by": _cell(version.created_by),
        "run": _cell(f"{run_name} ({version.run_id})" if run_name else version.run_id or "-"),
        "fingerprint": _cell(version.data_fingerprint or "-"),
        "serializer": version.serializer,
        "size_bytes": f"{version.size_bytes:,}",
        "sha256": version.sha256,
        "metrics": _rows(("Metric", "Value"), {k: f"{v:.6g}" for k, v in version.performance_metrics.items()}),
        "hyperparameters": _rows(("Hyperparameter", "Value"), version.hyperparameters),
        "signature": _rows(("Column", "Type"), columns | {f"output ({k})": v for k, v in output.items()}),
        "dependencies": _rows(
            ("Package", "Version"), {"Python": version.environment.get("python", "-")} | version.dependencies
        ),
    }
    return re.sub(r"\{(\w+)\}", lambda match: values.get(match[1], match[0]), CARD_TEMPLATE)
