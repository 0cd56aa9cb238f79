"""From YAML files, overrides and JSON to checked settings.

In: files (``--config``), overrides (``--set``), sections as a rule hands them over (``--settings``).
Out: :class:`~dawnchorus.config.sections.Settings`, or one line that names every wrong key.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from dawnchorus.config.sections import Settings
from dawnchorus.errors import DawnChorusError


def _key_of(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "config"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Names that may stand where an unknown key was found."""
    section: type[BaseModel] = Settings
    for part in location[:-1]:
        field = section.model_fields.get(str(part))
        if field is None:
            continue  # the name of an experiment
        is_named = get_origin(field.annotation) is dict
        kind = get_args(field.annotation)[1] if is_named else field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            section = kind
    return list(section.model_fields)


def validate(values: Mapping[str, Any], where: object = "config") -> Settings:
    """Check plain values against :class:`Settings`.

    Raises
    ------
    DawnChorusError
        One line that names every wrong key, what it holds and what it may hold.
    """
    try:
        return Settings.model_validate(dict(values))
    except ValidationError as error:
        complaints = []
        for problem in error.errors():
            location = problem["loc"]
            if problem["type"] == "extra_forbidden":
                known = _known_keys(location)
                near = difflib.get_close_matches(str(location[-1]), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                complaints.append(f"{_key_of(location)}: unknown key, {hint}")
            else:
                message = problem["msg"].removeprefix("Value error, ")
                given = problem["input"]
                shown = "" if isinstance(given, Mapping | BaseModel) else f" (got {given!r})"
                complaints.append(f"{_key_of(location)}: {message}{shown}")
        raise DawnChorusError("; ".join(complaints), where) from None


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def read_values(path: Path) -> dict[str, Any]:
    """Read one YAML file of settings."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DawnChorusError(error.strerror or "cannot be read", path, "check --config") from None
    except yaml.YAMLError as error:
        raise DawnChorusError(f"is not YAML: {error}", path) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise DawnChorusError("is not a mapping of keys to values", path)
    return values


def load(
    files: Sequence[Path] = (),
    overrides: Sequence[str] = (),
    handed: Sequence[str] = (),
) -> Settings:
    """Put a configuration together.

    Parameters
    ----------
    files : sequence of Path
        YAML files; a later one overrides an earlier one key by key.
    overrides : sequence of str
        ``section.key=value``, the value as YAML.
    handed : sequence of str
        JSON objects of sections, as a rule hands them to its command; they stand above the files.
    """
    values: dict[str, Any] = {}
    for path in files:
        values = _merge(values, read_values(path))
    for text in handed:
        try:
            sections = json.loads(text)
        except json.JSONDecodeError as error:
            raise DawnChorusError(f"is not JSON: {error}", "--settings") from None
        if not isinstance(sections, dict):
            raise DawnChorusError("is not a JSON object", "--settings")
        values = _merge(values, sections)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise DawnChorusError(f"{override!r} is not KEY=VALUE", "--set")
        nested: Any = yaml.safe_load(text)
        for part in reversed(key.strip().split(".")):
            nested = {part: nested}
        values = _merge(values, nested)
    return validate(values, ", ".join(map(str, files)) or "config")
