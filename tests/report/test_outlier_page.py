"""The page of outliers says what the lists say, and its clips are the recordings' own samples."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from dawnchorus.clustering.assignment import assign_all
from dawnchorus.clustering.fit import fit
from dawnchorus.clustering.outlier_lists import _hint, _hint_of_day
from dawnchorus.clustering.outliers import find_outliers
from dawnchorus.config import validate
from dawnchorus.report.outliers import draw_outliers
from dawnchorus.results import RecorderDay, Results, write_receipt
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.vectors import WindowTable, write_vectors
from explorer.conftest import DATE, EXPERIMENT, RECORDINGS, Season, make_season

DAYS = [RecorderDay("REC01", DATE), RecorderDay("REC02", DATE)]
LOUD = 2
"""Window of the first recording whose vector lies apart; BirdNET hears a wren in it."""


@pytest.fixture(scope="module")
def listed(tmp_path_factory) -> tuple[Season, Results]:
    season = make_season(tmp_path_factory.mktemp("outliers"))
    values = season.settings.model_dump(mode="json")
    settings = validate({**values, "clustering": {"k": 2, "restarts": 1}})
    results, paths = season.results, season.results.experiment(EXPERIMENT)
    for day in DAYS:
        store = SpectrogramStore.open(results.spectrograms(day))
        vectors = np.random.default_rng(len(store)).normal(size=(len(store), 8)) + 3
        if day.recorder == "REC01":
            vectors[LOUD] = -9
        table = WindowTable(store.recordings, store.recording, store.offset, store.time)
        content = write_vectors(
            paths.embeddings(day), [vectors.astype(np.float32)], dimension=8, windows=table,
            attributes={},
        )  # fmt: skip
        receipt = {"verdict": "ok", "windows": len(store), "dimension": 8, "model": "none"}
        write_receipt(paths.embeddings_receipt(day), {**receipt, "fingerprint": content})
    pool = [[day.recorder, day.date] for day in DAYS]
    write_receipt(results.training_receipt, {"edition": 1, "pool": pool})
    fit(settings, results, EXPERIMENT)
    assign_all(settings, results, EXPERIMENT)
    find_outliers(settings, results, EXPERIMENT, DAYS)
    return Season(season.root, settings, results, season.sounds), results


def test_the_list_says_where_when_and_what(listed) -> None:
    _, results = listed
    first = pl.read_parquet(results.experiment(EXPERIMENT).outliers("windows")).row(0, named=True)
    assert (first["recording"], first["offset"]) == (RECORDINGS[0][0], LOUD * 3 * 44_100)
    assert (first["second"], first["local_time"]) == (6.0, "2021-05-24 04:59:51")
    assert (first["common_name"], round(first["confidence"], 3)) == ("House Wren", 0.9)
    # A tone of 8000 / 32768 of full scale: 12.2 dB below a full-scale sine.
    assert first["level"] == pytest.approx(20 * np.log10(8000 / 32_768), abs=0.05)


def test_the_page_shows_and_plays_it(listed, tmp_path: Path) -> None:
    season, results = listed
    draw_outliers(season.settings, results, EXPERIMENT)
    path = results.experiment(EXPERIMENT).figure("outliers.html")
    page = path.read_text()
    assert "http://" not in page and "https://" not in page
    assert page.count("<figure>") == page.count("<audio") == 20
    assert "1. REC01 2021-05-24 04:59:51" in page and "BirdNET: House Wren 0.90" in page
    flac = re.findall(r"data:audio/flac;base64,([^\"]+)", page)[0]
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(flac)), dtype="int16")
    start = LOUD * 3 * rate - rate // 2
    np.testing.assert_array_equal(heard, season.sounds[0][start : start + 4 * rate])
    # The same again, and without the cards: a page that says why nothing can be heard.
    before = path.read_bytes()
    draw_outliers(season.settings, results, EXPERIMENT)
    assert path.read_bytes() == before
    gone = season.settings.model_dump(mode="json") | {"audio": {"root": str(tmp_path)}}
    draw_outliers(validate(gone), results, EXPERIMENT)
    page = path.read_text()
    assert "<audio" not in page and page.count("no clip: the recording is not there") == 20


def test_hints() -> None:
    assert _hint(-10.0, 12.0, 0.01) == "loud, in a recording with clipped samples"
    assert _hint(-30.0, 12.4, 0.01) == "single loud event: 12 dB above the windows around"
    assert _hint(-70.0, -14.0, None) == "quiet: 14 dB below the windows around"
    assert _hint(-50.0, 2.0, None) == _hint(None, None, None) == ""
    assert _hint_of_day(2.9, -30.0) == _hint_of_day(float("nan"), -30.0) == ""
    assert "30 dB quieter" in _hint_of_day(3.0, -30.0)
    assert _hint_of_day(3.0, float("nan")).endswith("weather?")
