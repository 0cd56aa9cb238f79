"""pyproject.toml, constraints.txt, envs/ and docs/dependencies.md say the same."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    extra: [Requirement(line) for line in lines]
    for extra, lines in PROJECT["optional-dependencies"].items()
}
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"^([\w.\-]+)==(\S+)$", (REPOSITORY / "constraints.txt").read_text(), flags=re.MULTILINE
    )
}
LEARNING = {"tensorboardx", "timm", "torch", "torchaudio", "torchvision"}


def names(requirements) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


KINDS = {
    "core": names(NEEDED) - LEARNING,
    "learning": names(NEEDED),
    "birdnet": (names(NEEDED) - LEARNING) | names(EXTRAS["birdnet"]),
}


def test_the_constraints_hold_names_and_versions_only():
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"#.*|[\w.\-]+==[\w.+!]+", line)]
    assert wrong == []


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_every_dependency_is_pinned_within_its_range(extra):
    for requirement in NEEDED if extra is None else EXTRAS[extra]:
        version = PINS[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def test_the_tests_run_with_the_pinned_versions():
    for requirement in NEEDED:
        installed = importlib.metadata.version(requirement.name)
        assert installed == PINS[canonicalize_name(requirement.name)], requirement.name


@pytest.mark.parametrize("kind", KINDS)
def test_an_environment_holds_what_its_jobs_need_at_the_pinned_versions(kind):
    environment = yaml.safe_load((REPOSITORY / "envs" / f"{kind}.yaml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    held = dict(line.split("==") for line in pip)
    assert set(held) == KINDS[kind]
    assert held == {name: PINS[name] for name in held}


def test_the_image_holds_the_same_and_nothing_of_its_own():
    """Its versions come from constraints.txt, its Python is that of the environments."""
    sections: dict[str, list[str]] = {"": []}
    for line in (REPOSITORY / "envs" / "dawnchorus.def").read_text().splitlines():
        if line.startswith("%"):
            sections[line[1:]] = []
        elif line.strip() and not line.strip().startswith("#"):
            [*sections.values()][-1].append(line.strip())
    header = dict(line.split(": ") for line in sections[""])
    python = re.fullmatch(r"python:(\d+\.\d+)-slim-bookworm", header["From"])
    assert python is not None
    assert SpecifierSet(PROJECT["requires-python"]).contains(python[1])
    for kind in KINDS:
        environment = yaml.safe_load((REPOSITORY / "envs" / f"{kind}.yaml").read_text())
        assert f"python ={python[1]}" in environment["dependencies"]
    # Everything that the build reads is there, at the place where pip looks for it.
    copied = dict(line.split() for line in sections["files"])
    for source, place in copied.items():
        assert (REPOSITORY / source).exists(), source
        assert place == f"/opt/dawnchorus/{source}"
    for name in (PROJECT["readme"], *PROJECT["license-files"], "pyproject.toml", "constraints.txt"):
        assert name in copied
    (install,) = [line for line in sections["post"] if "pip install" in line]
    assert "--constraint constraints.txt" in install
    extras = re.search(r"'\.\[([\w,]+)\]'", install)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(EXTRAS)
    assert KINDS["birdnet"] - KINDS["core"] == names(EXTRAS["birdnet"])
    assert "birdnet" in extras[1].split(",")
    assert "==" not in install


def test_every_dependency_has_its_reason():
    told = (REPOSITORY / "docs" / "dependencies.md").read_text()
    rows = "\n".join(line.split("|")[1] for line in told.splitlines() if line.startswith("|"))
    mentioned = set(re.findall(r"[\w.\-]+", rows))
    for requirement in [*NEEDED, *(one for extra in EXTRAS.values() for one in extra)]:
        assert requirement.name in mentioned or requirement.name.lower() in mentioned, requirement
