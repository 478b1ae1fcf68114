"""The model card: a Markdown template filled from what is known of a version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

__all__ = [
    "CARD_TEMPLATE",
    "render_card",
]

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
