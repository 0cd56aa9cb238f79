"""The reference season's 909 recorder-days: what a new one makes run, and who looks at the cards."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path

import pytest
import yaml

from dawnchorus.config import Audio
from dawnchorus.recordings.inventory import index_cards
from dawnchorus.results import RecorderDay, Results
from dawnchorus.stub_run import SWITCH

from .conftest import CONFIG, Season, environment, make_season

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

RECORDERS, DAYS = 9, 101
ONE_DAY = {
    "scan": 1, "spectrograms_day": 1, "birdnet_day": 1, "embed_day": 1, "assign_day": 1, "map": 1,
    "statistics": 1, "outliers": 1, "evaluate": 1, "experiment_figures": 1, "comparison_figures": 1, "snakemake_report": 1, "all": 1,
}  # fmt: skip


def add_recording(season: Season, recorder: str, date: dt.date) -> None:
    """Cards are read by their names: a recording of a Song Meter need not hold any sound here."""
    path = season.cards / recorder / "Data" / f"{recorder}_{date:%Y%m%d}_050000.wav"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")


def run(season: Season, command: list[str]) -> str:
    ended = subprocess.run(
        command, cwd=season.root, text=True, check=False, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=environment() | {SWITCH: "1"}, timeout=580,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-6000:]
    return ended.stdout


def in_place_of_snakemake(season: Season, script: Path) -> list[str]:
    """The command of the season's workflow, run by a script."""
    command = season.command()
    assert command[1:3] == ["-m", "snakemake"]
    return [command[0], str(script), *command[3:]]


def test_one_new_day_among_909(tmp_path):
    season = Season(tmp_path)
    config = {**CONFIG, "audio": {"root": "cards", "timezone": "America/Chicago"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    first = dt.date(2021, 5, 24)
    for number in range(RECORDERS):
        for day in range(DAYS):
            add_recording(season, f"SM{number}", first + dt.timedelta(days=day))
    run(season, in_place_of_snakemake(season, Path(__file__).with_name("at_once.py")))
    assert len(Results(season.results).days_with_receipts()) == RECORDERS * DAYS

    add_recording(season, "SM4", dt.date(2021, 9, 2))
    shown = season.run("--dry-run")
    assert season.counted(shown) == ONE_DAY
    # It is that day, and no other, for which something is made.
    assert shown.count("wildcards: recorder=SM4, date=2021-09-02") == 2
    assert shown.count("wildcards: experiment=one, recorder=SM4, date=2021-09-02") == 2


def test_jobs_do_not_look_at_the_cards_again(tmp_path):
    """As Snakemake calls itself inside a job of a cluster, here without one."""
    season = make_season(
        tmp_path / "season", "--recorders", "2", "--days", "2", "--recordings", "2", "--tiny"
    )
    results = Results(season.results)
    run(season, season.command("--", "spectrograms"))
    day = index_of(season)[0]
    results.spectrograms_receipt(day).unlink()
    season.cards.rename(season.root / "gone")
    target = f"spectrograms_day:recorder={day.recorder},date={day.date}"
    job = [
        *season.command(cores=1), "--target-jobs", target, "--allowed-rules", "spectrograms_day",
        "--force", "--ignore-incomplete", "--no-hooks", "--mode", "remote",
    ]  # fmt: skip
    run(season, job)
    assert results.spectrograms_receipt(day).exists()
    # The next start looks for itself.
    ended = season.snakemake("--dry-run")
    assert ended.returncode != 0
    assert "cards: is not a folder" in ended.stdout


def index_of(season: Season) -> list[RecorderDay]:
    deployments = season.root / "deployments.csv"
    audio = Audio(root=season.cards, deployments=deployments, timezone="America/Chicago")
    return [indexed.day for indexed in index_cards(audio).days]
