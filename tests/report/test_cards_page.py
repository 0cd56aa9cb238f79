"""The page of cluster cards: what it says, and its clips, which are the recordings' own samples."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
import soundfile

from dawnchorus.report.cards import draw_cards
from dawnchorus.report.clips import WANTED_DB, cut_clips, louder_by
from explorer.conftest import RECORDINGS

from .described import Described


def wanted(*places: tuple[int, int]) -> list[dict]:
    return [
        {"recording": RECORDINGS[number][0], "offset": window * 3 * RECORDINGS[number][1]}
        for number, window in places
    ]


def test_clips_are_the_recordings_own_samples(described: Described, tmp_path):
    places = [(0, 0), (2, 7), (1, 9)]
    clips = cut_clips(described.settings, described.results, wanted(*places), tmp_path)
    assert clips.reasons == []
    for (number, window), name, bits in zip(places, clips.names, clips.gains, strict=True):
        rate = RECORDINGS[number][1]
        samples, held = soundfile.read(tmp_path / name, dtype="int16")
        own = described.sounds[number][window * 3 * rate : (window + 1) * 3 * rate]
        assert held == rate
        np.testing.assert_array_equal(samples >> bits, own)
        assert not (samples & ((1 << bits) - 1)).any()
        # As loud as wanted to half a bit, or as the peak allows; loud ones stay as they are.
        peak = np.abs(samples.astype(int)).max()
        level = 10 * np.log10(np.mean((samples / 32768) ** 2))
        assert bits == 0 or level <= WANTED_DB + 3.02
        assert level >= WANTED_DB - 3.02 or peak >= 16384


def test_the_gain_is_whole_bits_and_nothing_clips():
    random = np.random.default_rng(0)
    quiet = np.rint(random.normal(0, 20, 44_100)).astype(np.int16)
    assert louder_by(quiet) == 7  # -64.3 dB and 7 x 6.02 dB are -22.1
    click = quiet.copy()
    click[5] = 9000
    assert louder_by(click) == 1
    assert louder_by(np.full(100, 30_000, np.int16)) == 0
    assert louder_by(np.array([-32_768, 1], np.int16)) == 0
    assert louder_by(np.zeros(100, np.int16)) == 0


def test_a_clip_stays_when_the_card_is_away_and_goes_when_it_is_not_wanted(described, tmp_path):
    first = cut_clips(described.settings, described.results, wanted((0, 1), (0, 2)), tmp_path)
    away = described.settings.model_copy(
        update={"audio": described.settings.audio.model_copy(update={"root": tmp_path / "gone"})}
    )
    second = cut_clips(away, described.results, wanted((0, 2), (0, 3), (0, 4)), tmp_path)
    assert second.names == [first.names[1], None, None]
    assert second.gains[0] == first.gains[1]
    assert len(second.reasons) == 1 and "not there" in second.reasons[0]
    assert [path.name for path in (tmp_path / "clips").iterdir()] == [first.names[1].split("/")[1]]


def test_the_page_says_what_the_table_says(page):
    path, table, _ = page
    text = path.read_text()
    assert table["cluster"].to_list() == [0, 1, -1]
    assert table["size"].to_list() == [12, 9, 9]
    sizes = re.findall(r"<span>([\d,]+) windows", text)
    assert list(map(int, sizes)) == [12, 9, 9]
    assert '<div class="number">No cluster</div>' in text
    # Names that people or BirdNET give are text, never markup.
    assert "<b>wren" not in text
    for card in table.iter_rows(named=True):
        assert f"<h2>{card['suggestion']} <small>" in text
    assert "http://" not in text and "https://" not in text
    assert text.count('class="view" href="clips/') == 18
    assert "could not be cut" not in text
    # 59.5 s of REC01 begin at 4:59:45, REC02's 30 s at 23:00 local.
    assert "REC01 2021-05-24 04:59:45" in text and "REC02 2021-05-24 23:00:" in text
    assert all((path.parent / name).is_file() for name in re.findall(r'href="(clips/[^"]+)"', text))


def test_rates_are_per_recorded_hour(page):
    path, _, _ = page
    first = path.read_text().split('id="cluster-1"')[0].split('id="cluster-0"')[1]
    rows = dict(
        re.findall(
            r'class="name">([^<]+)</td>.*?class="n">([\d.]+)</td><td class="n">\d+</td>', first
        )
    )
    # Four of ten windows of every recording.
    assert rows == dict.fromkeys(("REC01", "REC02", "canopy", "open grassland"), "24.0")


def test_without_cards_the_page_has_pictures_and_says_why_it_has_no_clips(
    described, page, tmp_path
):
    _, table, counts = page
    away = described.settings.model_copy(
        update={"audio": described.settings.audio.model_copy(update={"root": tmp_path / "gone"})}
    )
    path = tmp_path / "cards.html"
    points = pl.DataFrame(schema={"cluster": pl.Int32, "species": pl.String})
    draw_cards(away, described.results, table, counts, points, path)
    text = path.read_text()
    assert "18 of 18 clips could not be cut" in text and str(tmp_path / "gone") in text
    assert text.count("data:image/webp;base64,") == 18
    assert 'href="clips/' not in text


def test_the_same_season_is_the_same_page(described, page, tmp_path):
    path, table, counts = page
    again = tmp_path / "again" / "cards.html"
    points = pl.DataFrame({"cluster": [0, 1], "species": ["none", "<b>wren</b>"]})
    draw_cards(described.settings, described.results, table, counts, points, again)
    assert again.read_text().replace(str(again), str(path)) == path.read_text()
    for clip in (path.parent / "clips").iterdir():
        assert (again.parent / "clips" / clip.name).read_bytes() == clip.read_bytes()


def test_facts_of_the_cards(page):
    _, table, _ = page
    # BirdNET listened to REC01 alone: 20 windows; a wren in windows 2 and 3 of its first recording.
    heard = dict(table.select("cluster", "heard").iter_rows())
    assert heard == {0: 8, 1: 6, -1: 6}
    zero = table.to_dicts()[0]
    names = {one["common_name"]: one for one in zero["species"]}
    assert names["House Wren"]["share"] == pytest.approx(1 / 8)
    assert names["House Wren"]["mean_confidence"] == pytest.approx(0.7, abs=1e-6)
    assert {one["habitat"]: one["windows"] for one in zero["habitats"]} == {
        "open grassland": 8,
        "canopy": 4,
    }
    assert {one["week"]: one["windows"] for one in zero["weeks"]} == {"2021-05-24": 12}
    # In Chicago the sun rises at 5:22 that day and sets at 20:13: the first and the last recording are by night.
    assert zero["night"] == pytest.approx(8 / 12)
    # The first two recordings lie between an hour before and two after sunrise.
    assert zero["dawn"] == pytest.approx(8 / 12)
