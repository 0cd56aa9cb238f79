"""What is rare on purpose: five calls, one muffled recorder-day, and nothing else is touched."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import polars as pl
import pytest
import soundfile

from dawnchorus.errors import DawnChorusError
from dawnchorus.simulate.plan import RARE_CALLS, SeasonPlan, make_plan
from dawnchorus.simulate.rarities import FAULT, RARE_SPECIES, rarities_of
from dawnchorus.simulate.season import simulate

PLAIN = SeasonPlan(recorders=2, days=2, recordings=2, seconds=8.0, seed=5)
RARE = PLAIN.model_copy(update={"rarities": True})


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() == ".wav"
    }


def test_a_season_without_is_as_it_was_and_one_with_differs_where_its_truth_says(tmp_path):
    plain = simulate(tmp_path / "plain", PLAIN)
    rare = simulate(tmp_path / "rare", RARE)
    # What a season says of itself is what it said before there were rarities.
    claim = json.loads((tmp_path / "plain" / "plan.json").read_text())["plan"]
    assert "rarities" not in claim and "rarities" not in plain["plan"]
    assert plain["plan"] == {k: v for k, v in rare["plan"].items() if k != "rarities"}
    assert plain["fingerprint"] != rare["fingerprint"] and "faults" not in plain

    truth = pl.read_parquet(tmp_path / "rare" / "truth.parquet")
    calls = truth.filter(pl.col("species") == RARE_SPECIES)
    assert calls.height == calls["recording"].n_unique() == RARE_CALLS == 5
    assert calls["snr_db"].min() > 3 and (calls["end_s"] - calls["start_s"]).min() > 1.5
    faulty = truth.filter(pl.col("kind") == "fault")
    assert faulty["species"].to_list() == [FAULT] * PLAIN.recordings
    assert faulty["recorder"].n_unique() == 1 and rare["faults"] == {FAULT: PLAIN.recordings}
    assert not set(calls["recording"]) & set(faulty["recording"])

    before, after = digests(tmp_path / "plain" / "cards"), digests(tmp_path / "rare" / "cards")
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {*calls["recording"], *faulty["recording"]}
    for name in faulty["recording"]:
        level = {}
        for which in ("plain", "rare"):
            samples, _ = soundfile.read(tmp_path / which / "cards" / name)
            level[which] = 10 * np.log10(np.mean(samples**2))
        assert level["rare"] < level["plain"] - 3


def test_another_seed_plants_elsewhere():
    places = {
        seed: rarities_of(RARE.model_copy(update={"seed": seed, "days": 9})) for seed in (1, 1, 2)
    }
    assert places[1].calls.keys() != places[2].calls.keys()
    assert rarities_of(PLAIN) is None


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"recorders": 1, "days": 1}, "recordings beside"),
        ({"tiny": True}, "6 s"),
        ({"seconds": 5}, "6 s"),
    ],
)
def test_no_room_is_one_line(values, word):
    with pytest.raises(DawnChorusError, match=word):
        make_plan(**{"rarities": True, **values})
