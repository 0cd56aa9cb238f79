"""The configuration as other programs and people read it.

In: the section classes. Out: the JSON schema that editors check against
(``workflow/schemas/config.schema.json``) and the reference page (``docs/configuration.md``); ``make
schema`` writes both and a test holds them to the classes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from dawnchorus.config.experiments import Experiment
from dawnchorus.config.labelled import LabelledSet
from dawnchorus.config.sections import Settings
from dawnchorus.config.space import Pass

NAMED: dict[str, type[BaseModel]] = {
    "passes": Pass,
    "experiments": Experiment,
    "labelled_sets": LabelledSet,
}
"""Sections whose keys are names that a person gives."""

INTRODUCTION = """# Configuration

Every key with its default. A wrong key or value is one line that says what may stand there instead. This
page is written by `make schema` from the classes in `src/dawnchorus/config/`.
"""


def schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of the configuration."""
    document = Settings.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **document}


def _values(field: FieldInfo) -> str:
    """Say what may stand there: the choices of a Literal, else the bounds, else the type."""
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str | int) for choice in choices):
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds = []
    for bound in field.metadata:
        for name, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
            limit = getattr(bound, name, None)
            if limit is not None:
                bounds.append(f"{sign} {limit:g}")
    kind = getattr(field.annotation, "__name__", None) or str(field.annotation)
    kind = kind.replace("pathlib.Path", "path").replace("Path", "path").replace("NoneType", "null")
    kind = kind.replace(" | None", " or null").replace("|", "or")
    return " ".join([kind if not kind.startswith("typing") else "list", *bounds])


def _section(section: type[BaseModel], title: str) -> Iterator[str]:
    fields = section.model_fields
    nested = {
        name: field.annotation
        for name, field in fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    if title:
        summary = (section.__doc__ or "").strip().splitlines()[0]
        yield f"\n## `{title}`\n\n{summary}\n"
    rows = [name for name in fields if name not in nested and name not in NAMED]
    if rows:
        yield "| key | default | may be | meaning |\n|---|---|---|---|"
        for name in rows:
            field = fields[name]
            default = field.get_default(call_default_factory=True)
            shown = json.dumps(default, default=str)
            meaning = " ".join((field.description or "").replace("``", "`").split())
            yield f"| `{name}` | `{shown}` | {_values(field)} | {meaning} |"
    prefix = f"{title}." if title else ""
    for name, kind in nested.items():
        yield from _section(kind, f"{prefix}{name}")
    for name, kind in NAMED.items():
        if name in fields:
            yield from _section(kind, f"{name}.NAME")


def page() -> str:
    """Return the reference page as Markdown."""
    return INTRODUCTION + "\n" + "\n".join(_section(Settings, "")) + "\n"


def write(repository: Path) -> None:
    """Write the schema and the page into a checkout."""
    text = json.dumps(schema(), indent=2) + "\n"
    (repository / "workflow/schemas/config.schema.json").write_text(text, encoding="utf-8")
    (repository / "docs/configuration.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
