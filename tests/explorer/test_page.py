"""What is committed of the page is what its sources build; it needs nothing from the network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

EXPLORER = Path(__file__).parents[2] / "src/dawnchorus/explorer"
FRONTEND = EXPLORER / "frontend"


@pytest.mark.skipif(
    shutil.which("node") is None or not (FRONTEND / "node_modules").is_dir(),
    reason=f"needs node and, once, 'npm ci' in {FRONTEND}",
)
def test_the_committed_page_is_what_is_built() -> None:
    done = subprocess.run(
        ["node", "build.mjs", "--check"], cwd=FRONTEND, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_libraries_are_pinned_without_addresses_and_their_licences_are_there() -> None:
    text = (FRONTEND / "package-lock.json").read_text(encoding="utf-8")
    assert "://" not in re.sub(r'"(url|funding)": "[^"]*"', "", text)
    packages = {name: one for name, one in json.loads(text)["packages"].items() if name}
    wanted = json.loads((FRONTEND / "package.json").read_text(encoding="utf-8"))
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"]}.items():
        assert packages[f"node_modules/{name}"]["version"] == version
    licences = (EXPLORER / "page/LICENCES.txt").read_text(encoding="utf-8")
    for name in wanted["dependencies"]:
        assert f"{name} {wanted['dependencies'][name]} (MIT)" in licences


def test_the_page_evaluates_no_text_and_every_id_that_it_asks_for_is_there() -> None:
    built = (EXPLORER / "page/explorer.js").read_text(encoding="utf-8")
    assert not re.search(r"new Function\b|[^.\w]eval\(", built), "the content policy forbids it"
    html = (EXPLORER / "page/explorer.html").read_text(encoding="utf-8")
    there = set(re.findall(r'\bid="([^"]+)"', html))
    for source in (FRONTEND / "src").glob("*.js"):
        asked = set(re.findall(r'\$\("([^"]+)"\)', source.read_text(encoding="utf-8")))
        assert asked <= there, source.name


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, WCAG 2.2, 1.4.3."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", [":root {", ':root[data-theme="light"] {'])
def test_text_stands_out_from_its_ground(theme: str) -> None:
    css = (EXPLORER / "page/explorer.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", css.partition(theme)[2].partition("}")[0]))
    for ground in ("ground", "raised", "field"):
        for text in ("text", "soft", "accent", "wrong", "heard"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["edge"], colours[ground]) >= 3, "borders of controls, 1.4.11"
    assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
