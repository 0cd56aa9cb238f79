"""Search by example, with sound: a window of the season, and clips cut out of it at other rates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import soxr
import torch

from dawnchorus.clustering.search import COLUMNS, Wanted, as_text, search, write_found
from dawnchorus.config import validate
from dawnchorus.embedding.day import embed_day
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import ModelMetadata, save_model
from dawnchorus.report.similar import draw_found
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.account import appearance_of
from explorer.conftest import DATE, EXPERIMENT, RECORDINGS, WINDOWS, make_season

DAYS = [RecorderDay("REC01", DATE), RecorderDay("REC02", DATE)]
FIRST, RATE = RECORDINGS[0][0], RECORDINGS[0][1]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    season = make_season(tmp_path_factory.mktemp("queries"))
    settings = season.settings
    torch.manual_seed(0)
    metadata = ModelMetadata(
        backbone="vit_nano", patch=16, mels=128, frames=256, pooling="mean", mean=-90.0, std=15.0,
        db_min=-120.0, db_step=0.5, spectrograms=appearance_of(settings),
    )  # fmt: skip
    path = season.results.experiment(EXPERIMENT).model
    save_model(path, metadata.build().state_dict(), metadata)
    for day in DAYS:
        embed_day(settings, season.results, EXPERIMENT, day, device="cpu")
    return season


def looked(season, settings=None, **wanted) -> pl.DataFrame:
    chosen = settings or season.settings
    return search(chosen, season.results, EXPERIMENT, Wanted(**wanted), device="cpu")[1]


def cut_out(season, window: int, windows: int = 1) -> np.ndarray:
    start = window * 3 * RATE
    return season.sounds[0][start : start + windows * 3 * RATE]


def test_a_window_finds_its_like_and_not_itself(made) -> None:
    found = looked(made, recording=FIRST, offset=4 * 3 * RATE, count=5)
    assert found.columns == list(COLUMNS)
    assert found["rank"].to_list() == [1, 2, 3, 4, 5]
    assert (FIRST, 4 * 3 * RATE) not in set(found.select("recording", "offset").iter_rows())
    # The same tone in the two other recordings: the fifth window of each.
    assert set(found.head(2)["recording"]) == {name for name, *_ in RECORDINGS[1:]}
    assert found.head(2)["second"].to_list() == [12.0, 12.0]
    of_it = found.filter(pl.col("recording") == RECORDINGS[1][0]).row(0, named=True)
    assert of_it["local_time"] == "2021-05-24 06:00:12"
    elsewhere = looked(made, recording=FIRST, offset=4 * 3 * RATE, count=40, elsewhere=True)
    assert elsewhere.height == 2 * WINDOWS and FIRST not in set(elsewhere["recording"])
    assert found.sort("rank").equals(found)
    one = looked(made, recording=FIRST, offset=0, count=40, recorder="REC02")
    assert one["recorder"].unique().to_list() == ["REC02"]


@pytest.mark.parametrize("rate", [RATE, 48_000, 32_000])
def test_a_clip_finds_the_window_it_was_cut_from(made, tmp_path: Path, rate: int) -> None:
    samples = cut_out(made, 6).astype(np.float32) / 32_768
    path = tmp_path / "clip.wav"
    soundfile.write(path, soxr.resample(samples, RATE, rate), rate, subtype="PCM_16")
    first = looked(made, clip=path, count=3).row(0, named=True)
    assert (first["recording"], first["offset"]) == (FIRST, 6 * 3 * RATE)
    assert first["similarity"] > (1 - 1e-6 if rate == RATE else 0.9)


def test_a_longer_clip_asks_once_per_window(made, tmp_path: Path) -> None:
    path = tmp_path / "clip.flac"
    soundfile.write(path, np.append(cut_out(made, 2, 2), np.zeros(999, np.int16)), RATE)
    queries, found = search(
        made.settings, made.results, EXPERIMENT, Wanted(clip=path, count=2), device="cpu"
    )
    assert queries.second == [0.0, 3.0]
    best = found.filter(pl.col("rank") == 1)
    assert best["query"].to_list() == [0, 1]
    assert best["offset"].to_list() == [2 * 3 * RATE, 3 * 3 * RATE]
    text = as_text(found).splitlines()
    assert text[0].split() == [
        "rank",
        "similarity",
        "recorder",
        "local_time",
        "second",
        "recording",
    ]
    assert len(text) == 1 + 4 + 1 and text[3] == ""
    write_found(found, tmp_path / "found.tsv")
    told = pl.read_csv(tmp_path / "found.tsv", separator="\t")
    assert told["recording"].to_list() == found["recording"].to_list()
    write_found(found, tmp_path / "found.parquet")
    assert pl.read_parquet(tmp_path / "found.parquet").equals(found)

    page = draw_found(
        made.settings, made.results, EXPERIMENT, queries, "clip.flac", found, tmp_path / "page"
    )
    text = page.read_text()
    assert text.count("<figure>") == 2 + 4 and text.count("<audio") == 4
    # The clip of what was found is the window, with half a second around it.
    heard, rate = soundfile.read(tmp_path / "page" / "clips" / "0001.flac", dtype="int16")
    start = 2 * 3 * RATE - RATE // 2
    np.testing.assert_array_equal(heard, made.sounds[0][start : start + 4 * RATE])
    assert rate == RATE


def test_mistakes_are_one_line(made, tmp_path: Path) -> None:
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(RATE, np.int16), RATE)
    noise = tmp_path / "noise.wav"
    noise.write_bytes(b"no sound at all, no sound at all, no sound at all")
    other = validate({**made.settings.model_dump(mode="json"), "spectrogram": {"f_max": 14_000}})
    for wanted, settings, words in (
        ({}, None, "give a window"),
        ({"recording": FIRST}, None, "half a window"),
        ({"recording": FIRST, "offset": 7}, None, "the nearest begins at 0"),
        ({"recording": "REC01/none.wav", "offset": 0}, None, "names no such recording"),
        ({"recording": FIRST, "offset": 0, "first": "May"}, None, "YYYY-MM-DD"),
        ({"recording": FIRST, "offset": 0, "recorder": "REC09"}, None, "none of 2"),
        ({"clip": short}, None, "lasts 1.00 s, a window 3 s"),
        ({"clip": noise}, None, "noise.wav"),
        ({"clip": tmp_path / "none.wav"}, None, "is not there"),
        ({"clip": tmp_path / "short.wav"}, other, "lasts"),
    ):
        with pytest.raises(DawnChorusError, match=words):
            looked(made, settings, **wanted)
    long = tmp_path / "long.wav"
    soundfile.write(long, cut_out(made, 1), RATE)
    with pytest.raises(DawnChorusError, match="other parameters"):
        looked(made, other, clip=long)
    with pytest.raises(DawnChorusError, match=r"neither \.tsv"):
        write_found(pl.DataFrame(), tmp_path / "found.xlsx")
    with pytest.raises(DawnChorusError, match="holds no embeddings"):
        search(made.settings, Results(tmp_path), EXPERIMENT, Wanted(recording=FIRST, offset=0))
