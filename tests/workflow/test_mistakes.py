"""A person's mistakes: one clear line, a status that is not 0, in less than ten seconds."""

from __future__ import annotations

import resource
import shutil

import pytest
import yaml

from .conftest import CONFIG, REPOSITORY, Season

pytestmark = [pytest.mark.workflow]


def computed() -> float:
    """Seconds that children computed: the clock, less what a busy machine adds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.fixture
def folder(tmp_path) -> Season:
    (tmp_path / "cards").mkdir()
    values = {**CONFIG, "audio": {"root": "cards"}}
    values["evaluation"] = {}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    return Season(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"audio": {"rot": "cards"}}, ["audio.rot", "did you mean 'root'?"]),
        ({"spectrogram": {"mels": "many"}}, ["spectrogram.mels", "integer", "'many'"]),
        ({"audio": {"root": "nowhere"}}, ["nowhere", "is not a folder", "audio.root"]),
        ({}, ["cards", "no recordings"]),
        ({"experiments": {"one": {"backbone": "vit_huge"}}}, ["experiments.one.backbone"]),
        ({"audio": {"deployments": "gone.csv"}}, ["gone.csv"]),
    ],
    ids=["unknown key", "wrong type", "missing folder", "no recordings", "choice", "missing file"],
)
def test_a_bad_configuration_is_one_clear_line(folder, changes, words):
    if changes:  # the cards themselves are not what is wrong
        recording = folder.cards / "REC01" / "20210524_050000.WAV"
        recording.parent.mkdir()
        recording.write_bytes(b"RIFF")
    folder.configure(**changes)
    before = computed()
    ended = folder.snakemake()
    seconds = computed() - before
    assert ended.returncode != 0
    lines = [line for line in ended.stdout.splitlines() if any(word in line for word in words[:1])]
    assert len(lines) == 1, ended.stdout
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in ended.stdout
    assert seconds < 10
    assert not folder.results.exists()


def test_the_commented_configuration_needs_only_its_cards(tmp_path):
    """As a newcomer meets it: config/config.yaml as it is, and no cards yet."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    season = Season(tmp_path)
    (tmp_path / "config.yaml").write_text((tmp_path / "config" / "config.yaml").read_text())
    ended = season.snakemake("--dry-run")
    assert ended.returncode != 0
    assert "audio.root" in ended.stdout
    assert "Traceback" not in ended.stdout
