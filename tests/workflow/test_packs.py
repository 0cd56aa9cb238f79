"""Packs hold the same recorder-days at every start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

SNAKEFILE = """
from dawnchorus import packs

packs.mend()
DAYS = [(recorder, date) for recorder in {recorders} for date in {dates}]
wildcard_constraints: date=r"\\d+"

rule all:
    input: [f"last/{{recorder}}/{{date}}" for recorder, date in DAYS]

rule cut:
    output: "cut/{{recorder}}/{{date}}"
    group: "cut"
    shell: "touch {{output}}"

rule model:
    input: [f"cut/{{recorder}}/{{date}}" for recorder, date in DAYS[:4]]
    output: "model"
    shell: "touch {{output}}"

rule last:
    input: "model", "cut/{{recorder}}/{{date}}"
    output: "last/{{recorder}}/{{date}}"
    group: "{group}"
    shell: "touch {{output}}"
"""


class Bench:
    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, recorders: int, dates: int, group: str = "last") -> None:
        (self.root / "Snakefile").write_text(
            SNAKEFILE.format(
                recorders=[f"R{number}" for number in range(recorders)],
                dates=[f"{10 + number}" for number in range(dates)],
                group=group,
            )
        )

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable, str(Path(__file__).with_name("packs_at_start.py")),
                "--executor", "cluster-generic", "--cluster-generic-submit-cmd", "false",
                "--jobs", "4", "--nolock", *arguments,
                "--group-components", "cut=4", "last=4",
            ],
            cwd=self.root, text=True, capture_output=True, check=False, timeout=300,
        )  # fmt: skip

    def packs(self, *arguments: str) -> list[list[str]]:
        ended = self.call(*arguments)
        assert ended.returncode == 0, ended.stderr
        # Snakemake, on a busy machine, may say at its own end that a thread of its came too late.
        (told,) = (line for line in ended.stdout.splitlines() if line.startswith("[["))
        return json.loads(told)

    def make(self, *outputs: str) -> None:
        for output in outputs:
            path = self.root / output
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def of(step: str, packs: list[list[str]]) -> list[set[str]]:
    return [set(pack) for pack in packs if pack[0].startswith(step)]


def test_what_is_left_of_a_pack_is_a_part_of_it(bench):
    bench.write(recorders=3, dates=5)
    # By date, then recorder: four to a pack.
    fresh = bench.packs()
    first = {f"cut/R{number}/10" for number in range(3)} | {"cut/R0/11"}
    assert first in of("cut", fresh)
    assert sorted(map(len, of("cut", fresh))) == [3, 4, 4, 4]
    assert sorted(map(len, of("last", fresh))) == [3, 4, 4, 4]
    # Some days are done and others are added: nothing that is left has moved.
    bench.make("cut/R1/10", "cut/R2/11", "cut/R0/13")
    bench.write(recorders=3, dates=7)
    later = bench.packs()
    for pack in of("cut", later):
        known = {output for output in pack if int(output[-2:]) < 15}
        assert any(known <= before for before in of("cut", fresh))
    assert sum(map(len, of("cut", later))) == 21 - 3


def test_a_pack_that_needs_itself_is_refused_in_snakemakes_words(bench):
    """`last` needs `model`, which needs `cut`: in one group, neither can come first."""
    bench.write(recorders=2, dates=3, group="cut")
    ended = bench.call()
    assert ended.returncode != 0
    assert "Error in group cut" in ended.stderr and "This is not allowed" in ended.stderr
