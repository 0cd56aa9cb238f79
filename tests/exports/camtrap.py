"""An exported Camtrap DP, read and checked by frictionless, without the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import frictionless
import jsonschema
from frictionless.resources import TableResource

STANDARD = Path(__file__).parent / "camtrap_dp_1_0_2"


def complaints(folder: Path) -> list[str]:
    """What frictionless and the profile have to say against a package; nothing if it is valid."""
    descriptor = json.loads((folder / "datapackage.json").read_text("utf-8"))
    profile = json.loads((STANDARD / "camtrap-dp-profile.json").read_text())
    validator = jsonschema.Draft7Validator(
        profile, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    )
    found = [
        f"{list(error.absolute_path)}: {error.message}"
        for error in validator.iter_errors(descriptor)
    ]
    report = package(folder).validate()
    found += [f"{task.name}: {error.message}" for task in report.tasks for error in task.errors] + [
        error.message for error in report.errors
    ]
    return found


def package(folder: Path) -> frictionless.Package:
    """The package, with the standard's schemas from here instead of their addresses."""
    descriptor = json.loads((folder / "datapackage.json").read_text("utf-8"))
    del descriptor["profile"]  # checked in complaints()
    for resource in descriptor["resources"]:
        name = resource["schema"].rsplit("/", 1)[1]
        resource["schema"] = json.loads((STANDARD / name).read_text())
    return frictionless.Package.from_descriptor(descriptor, basepath=str(folder))


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of the three tables, typed by frictionless."""
    rows = {}
    for resource in package(folder).resources:
        assert isinstance(resource, TableResource)
        rows[resource.name] = [row.to_dict() for row in resource.read_rows()]
    return rows
