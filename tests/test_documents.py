"""What the README and the demo tell a newcomer to type: commands, files and names that are there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from dawnchorus import config
from dawnchorus.cli import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "workflow" / "demo.sh", *(ROOT / "docs").glob("*.md")]


def commands_of(document: Path) -> list[list[str]]:
    """The lines that call ``dawnchorus``, in words; of the README's Markdown only its code."""
    text = document.read_text().replace("\\\n", " ")
    if document.suffix == ".md":
        text = "\n".join(re.findall(r"```[a-z]*\n(.*?)```", text, re.DOTALL))
    lines = re.findall(r"^ *(?:\.venv/bin/)?dawnchorus .*", text, re.MULTILINE)
    told = re.findall(r'^echo ".*?(\.venv/bin/dawnchorus .*)"$', text, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines + told]


COMMANDS = [(document, words) for document in DOCUMENTS for words in commands_of(document)]


@pytest.mark.parametrize(
    ("document", "words"),
    COMMANDS,
    ids=[f"{document.name}: {' '.join(words)}" for document, words in COMMANDS],
)
def test_every_command_that_is_told_can_be_called_like_that(document, words):
    """Known command, known options, values of their type; of several experiments one is named."""
    name, *arguments = words
    command = typer.main.get_command(app).commands[name]
    arguments = [word.replace("$cores", "2").replace("$season", "demo") for word in arguments]
    if "--help" in arguments:
        return
    context = command.make_context(name, arguments)
    files = [Path(file) for file in context.params.get("config_files") or ()]
    if Path("config/demo.yaml") not in files:
        return
    assert document.name in ("README.md", "demo.sh")
    settings = config.load([ROOT / file for file in files])
    experiment = context.params.get("experiment")
    if name == "explore" or context.params.get("what") in ("boxes", "labels"):
        assert experiment in settings.experiments, "there are several: it must say which"


def test_the_readme_and_the_demo_are_read():
    counts = {
        path.name: sum(document == path for document, _ in COMMANDS) for path in DOCUMENTS[:2]
    }
    assert counts["README.md"] >= 2 and counts["demo.sh"] >= 5
