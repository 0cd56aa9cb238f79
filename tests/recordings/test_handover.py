"""The cards are looked at once per start: jobs that are sent away take what was found."""

from __future__ import annotations

import pytest

from dawnchorus.config import Audio
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.handover import cards_of_start, hand_over
from dawnchorus.results import Results


@pytest.fixture
def audio(tmp_path) -> Audio:
    for recorder, date in (("R", "20210524"), ("S", "20210525")):
        (tmp_path / "cards" / recorder).mkdir(parents=True)
        (tmp_path / "cards" / recorder / f"{recorder}_{date}_050000.wav").write_bytes(b"RIFF")
    table = "deploymentID,cameraID,deploymentStart,deploymentEnd,latitude,longitude\n"
    (tmp_path / "deployments.csv").write_text(table + "d,R,2021-05-01,2021-06-01,41.5,-88.25\n")
    return Audio(root=tmp_path / "cards", deployments=tmp_path / "deployments.csv")


def test_a_job_takes_what_its_start_has_found(audio, tmp_path):
    results = Results(tmp_path / "results")
    found = cards_of_start(audio, results, is_main=True)
    assert [(day.day.recorder, day.place) for day in found.days] == [
        ("R", (41.5, -88.25)),
        ("S", None),
    ]
    assert not results.root.exists()
    hand_over(results, found.days)
    # Neither what is new nor what is gone changes what a job sees.
    audio.root.rename(tmp_path / "gone")
    assert cards_of_start(audio, results, is_main=False) == found
    with pytest.raises(DawnChorusError, match="is not a folder"):
        cards_of_start(audio, results, is_main=True)


def test_a_job_to_which_nothing_was_handed_looks_itself(audio, tmp_path):
    results = Results(tmp_path / "results")
    assert len(cards_of_start(audio, results, is_main=False).days) == 2
