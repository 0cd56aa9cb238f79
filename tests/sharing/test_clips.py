"""Clips per cluster, species and label: the recording's own samples, from the right place, and accounted for."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas
import polars as pl
import pytest
import soundfile
from typer.testing import CliRunner

from dawnchorus.cli import app as commands
from dawnchorus.config import Settings, validate
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.regions import ClusterRegion, PolygonRegion
from dawnchorus.exports.raven import read_selections
from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.results import RecorderDay, Results, write_receipt
from dawnchorus.sharing.clips import export_clips
from dawnchorus.sharing.tables import export_tables
from explorer.conftest import EXPERIMENT, RECORDINGS, Season

RATE, WINDOWS, LENGTH = 8_000, 5, 24_000
DAY = "2021-11-07"
KINDS = {
    # name: subtype, channels, minutes after midnight UTC, offset from UTC in minutes
    "REC [-27.38 152.87]/a.wav": ("PCM_16", 1, 330, -300),
    "REC [-27.38 152.87]/a_again.wav": ("PCM_16", 1, 390, -360),  # the hour that autumn repeats
    "REC02/b.wav": ("PCM_24", 2, 0, -300),
    "REC02/c.wav": ("FLOAT", 1, 60, -300),
    "REC02/d.flac": ("PCM_24", 1, 120, -300),
    "REC02/denied.wav": ("PCM_16", 2, 180, -300),
}
DTYPE = {"PCM_16": "int16", "PCM_24": "int32", "FLOAT": "float32"}


class Cards(NamedTuple):
    settings: Settings
    results: Results
    root: Path

    def export(self, out: Path, by: str = "cluster", **further: Any) -> dict[str, Any]:
        return export_clips(self.settings, self.results, out, by, None, **further)

    def samples(self, recording: str) -> np.ndarray:
        """All samples of a recording, written down beside the cards."""
        return np.load(self.root.parent / "truth" / f"{recording.replace('/', '_')}.npy")


def score(number: int, window: int) -> float:
    """Distance to the centroid; the windows 0, 2, 4 of a recording are in cluster 0, the others in 1."""
    return round(0.9 - 0.1 * window - 0.013 * number, 4)


@pytest.fixture
def cards(tmp_path: Path) -> Cards:
    root, results = tmp_path / "cards", Results(tmp_path / "results")
    (tmp_path / "truth").mkdir()
    rng, rows = np.random.default_rng(1), []
    assigned: dict[str, list[dict[str, Any]]] = {}
    for number, (name, (subtype, channels, minutes, offset)) in enumerate(KINDS.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = rng.normal(0, 0.2, (WINDOWS * LENGTH + 4_000, channels)).astype(np.float32)
        soundfile.write(path, samples, RATE, subtype=subtype)
        stored, _ = soundfile.read(path, dtype=DTYPE[subtype], always_2d=True)
        np.save(tmp_path / "truth" / f"{name.replace('/', '_')}.npy", stored)
        if "denied" in name:
            content = bytearray(path.read_bytes())
            at = content.index(b"data") + 4
            content[at : at + 4] = bytes(4)
            path.write_bytes(content)
        recorder = name.split("/")[0]
        rows.append(
            Recording(
                recording=name, recorder=recorder, date=DAY,
                start_utc=datetime(2021, 11, 7, minutes // 60, minutes % 60, tzinfo=UTC),
                utc_offset_minutes=offset, duration_s=len(samples) / RATE, frames=len(samples),
                promised_frames=len(samples), sample_rate=RATE, channels=channels,
                format=f"WAV {subtype}", convention="test", size_bytes=1, mtime_ns=1,
                deployment="D1", habitat="marsh",
            )
        )  # fmt: skip
        for window in range(WINDOWS):
            assigned.setdefault(recorder, []).append(
                {
                    "recording": name, "offset": window * LENGTH, "cluster": window % 2,
                    "distance": score(number, window),
                }
            )  # fmt: skip
    write_recordings(results.recordings, rows)
    settings = validate(
        {
            "results": str(results.root),
            "audio": {"root": str(root)},
            "experiments": {"a": {"backbone": "vit_nano"}},
        }
    )
    for recorder, windows in assigned.items():
        day = RecorderDay(recorder, DAY)
        write_receipt(results.spectrograms_receipt(day), {"verdict": "ok"})
        path = results.experiment("a").assignment(day)
        path.parent.mkdir(parents=True, exist_ok=True)
        types = {"cluster": pl.Int32, "distance": pl.Float32}
        pl.DataFrame(windows, schema_overrides=types).write_parquet(path)
    return Cards(settings, results, root)


def read(path: Path, dtype: str) -> np.ndarray:
    return soundfile.read(path, dtype=dtype, always_2d=True)[0]


def test_every_clip_is_its_recordings_own_samples(cards: Cards, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in cards.root.rglob("*") if path.is_file()}
    counts = cards.export(tmp_path / "out", choose="all")
    assert (counts["clips"], counts["classes"], counts["not_cut"]) == (30, 2, 0)
    folder = tmp_path / "out" / "clips" / "cluster" / "a"
    rows = pandas.read_parquet(folder / "clips.parquet")
    assert len(rows) == 30 and rows["clip"].is_unique
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.wav")} == set(
        rows["clip"]
    )
    for row in rows.itertuples():
        subtype, channels, *_ = KINDS[row.recording]
        info = soundfile.info(folder / row.clip)
        assert (info.samplerate, info.channels, info.subtype) == (RATE, channels, subtype)
        assert (row.sample_rate, row.channels, row.sample_format) == (RATE, channels, subtype)
        assert row.frames == LENGTH
        wanted = cards.samples(row.recording)[row.offset : row.offset + LENGTH]
        np.testing.assert_array_equal(read(folder / row.clip, DTYPE[subtype]), wanted)
        assert row.clip.startswith(f"cluster_{row.cluster:03d}/")
        assert row.clip.endswith(f"_{row.offset}.wav")
        assert row.deployment == "D1" and row.habitat == "marsh"
    assert before == {path: path.read_bytes() for path in before}
    assert sorted(path.name for path in folder.iterdir()) == [
        "clips.parquet", "clips.tsv", "cluster_000", "cluster_001", "export.json"
    ]  # fmt: skip


def test_the_most_central_and_their_list(cards: Cards, tmp_path: Path) -> None:
    cards.export(tmp_path, count=3)
    rows = pandas.read_parquet(tmp_path / "clips" / "cluster" / "a" / "clips.parquet")
    expected = sorted(
        (window % 2, score(number, window), name, window * LENGTH)
        for number, name in enumerate(KINDS)
        for window in range(WINDOWS)
    )
    wanted = [row for row in expected if row[0] == 0][:3] + [
        row for row in expected if row[0] == 1
    ][:3]
    assert [
        (row.cluster, round(row.distance, 4), row.recording, row.offset)
        for row in rows.itertuples()
    ] == wanted
    denied = rows[rows["recording"] == "REC02/denied.wav"].iloc[0]
    assert denied["clip"] == "cluster_000/REC02_20211106_220000_96000.wav"
    assert denied["start_utc"].isoformat() == "2021-11-07T03:00:12+00:00"
    assert denied["start_local"] == "2021-11-06T22:00:12-05:00"
    lines = (tmp_path / "clips" / "cluster" / "a" / "clips.tsv").read_text().splitlines()
    assert len(lines) == 7
    told = dict(zip(lines[0].split("\t"), lines[1].split("\t"), strict=True))
    assert told["clip"] == rows["clip"][0]
    assert told["start_utc"] == rows["start_utc"][0].isoformat()
    assert float(told["distance"]) == pytest.approx(rows["distance"][0], rel=1e-5)


def test_two_recordings_of_the_same_local_second_stay_apart(cards: Cards, tmp_path: Path) -> None:
    cards.export(tmp_path, choose="all")
    names = [path.name for path in (tmp_path / "clips/cluster/a/cluster_000").glob("REC_*")]
    # 01:30 in summer time and 01:30 in winter time; the brackets are gone, no shell trips over them.
    assert sorted(names) == sorted(
        f"REC_-27.38_152.87_20211107_{time}_{offset}.wav"
        for time in ("003000", "003000-2")
        for offset in (0, 48_000, 96_000)
    )


def test_random_is_drawn_by_the_seed_alone(cards: Cards, tmp_path: Path) -> None:
    def drawn(out: str, seed: int) -> list[tuple[str, int]]:
        cards.export(tmp_path / out, choose="random", count=4, seed=seed)
        rows = pl.read_parquet(tmp_path / out / "clips/cluster/a/clips.parquet")
        assert rows["cluster"].to_list() == [0] * 4 + [1] * 4
        return list(rows.select("recording", "offset").iter_rows())

    first = drawn("one", 0)
    assert drawn("two", 1) != first
    for path in cards.results.experiment("a").root.glob("clusters/*/*.parquet"):
        pl.read_parquet(path, glob=False).reverse().write_parquet(path)
    assert drawn("three", 0) == first
    one, three = tmp_path / "one", tmp_path / "three"
    assert {
        path.relative_to(one): path.read_bytes() for path in one.rglob("*") if path.is_file()
    } == {path.relative_to(three): path.read_bytes() for path in three.rglob("*") if path.is_file()}


def test_what_cannot_be_cut_is_named_and_the_rest_is_there(cards: Cards, tmp_path: Path) -> None:
    (cards.root / "REC02/c.wav").unlink()
    whole = cards.root / "REC02/b.wav"
    whole.write_bytes(whole.read_bytes()[: 44 + 6 * (2 * LENGTH + 100)])  # two windows and a bit
    soundfile.write(cards.root / "REC02/d.flac", np.zeros(9 * LENGTH), 16_000, subtype="PCM_24")
    given = [
        "export", str(tmp_path / "out"), "--what", "clips", "--choose", "all", "--set",
        f"results={cards.results.root}", "--set", f"audio.root={cards.root}", "--set",
        "experiments={a: {backbone: vit_nano}}", "--experiment", "a",
    ]  # fmt: skip
    result = CliRunner().invoke(commands, given)
    assert result.exit_code == 1
    assert isinstance(result.exception, DawnChorusError)
    assert "13 of 30 clips could not be cut" in str(result.exception)
    folder = tmp_path / "out" / "clips" / "cluster" / "a"
    lost = pandas.read_csv(folder / "not_cut.tsv", sep="\t")
    assert lost.groupby("recording").size().to_dict() == {
        "REC02/b.wav": 3, "REC02/c.wav": 5, "REC02/d.flac": 5
    }  # fmt: skip
    reasons = lost.drop_duplicates("recording").set_index("recording")["reason"]
    assert "ends at sample 48,100" in reasons["REC02/b.wav"]
    assert "is not there" in reasons["REC02/c.wav"]
    assert "has 16,000 Hz, the inventory says 8,000" in reasons["REC02/d.flac"]
    assert len(pandas.read_parquet(folder / "clips.parquet")) == 17
    assert len(list(folder.rglob("*.wav"))) == 17


def test_one_channel(cards: Cards, tmp_path: Path) -> None:
    counts = cards.export(tmp_path, choose="all", channel=2)
    assert (counts["clips"], counts["not_cut"]) == (10, 20)  # the others are mono
    rows = pandas.read_parquet(tmp_path / "clips/cluster/a/clips.parquet")
    row = rows[rows["recording"] == "REC02/b.wav"].iloc[1]
    found = read(tmp_path / "clips/cluster/a" / row["clip"], "int32")
    wanted = cards.samples("REC02/b.wav")[row["offset"] : row["offset"] + LENGTH, 1:]
    np.testing.assert_array_equal(found, wanted)


def test_a_clip_that_somebody_cleaned_up_is_not_overwritten(cards: Cards, tmp_path: Path) -> None:
    cards.export(tmp_path, count=1)
    cards.export(tmp_path, count=2)
    clip = next((tmp_path / "clips").rglob("*.wav"))
    clip.write_bytes(b"denoised")
    with pytest.raises(DawnChorusError, match="choose another folder"):
        cards.export(tmp_path, count=2)
    assert clip.read_bytes() == b"denoised"


def test_species(season: Season, tmp_path: Path) -> None:
    counts = export_clips(season.settings, season.results, tmp_path, "species", None, count=1)
    assert (counts["clips"], counts["classes"]) == (2, 2)
    folder = tmp_path / "clips" / "species"
    rows = pandas.read_parquet(folder / "clips.parquet")
    # The most certain of each: the wren in window 2, the sparrow in window 2.
    assert rows[["species", "offset", "confidence"]].round(4).values.tolist() == [
        ["Spizella pusilla", 264_600, 0.4], ["Troglodytes aedon", 264_600, 0.9]
    ]  # fmt: skip
    assert rows["clip"][1] == ("Troglodytes aedon_House Wren/REC01_20210524_045945_264600.wav")
    found = read(folder / rows["clip"][1], "int16")[:, 0]
    np.testing.assert_array_equal(found, season.sounds[0][264_600 : 264_600 + 132_300])
    assert "CC BY-NC-SA 4.0" in (folder / "LICENCE-BirdNET.txt").read_text()


def test_labels(season: Season, tmp_path: Path) -> None:
    book = season.open().book
    book.label(ClusterRegion(kind="cluster", cluster=0), "Rain", "bo")
    box = PolygonRegion(kind="polygon", points=((1.5, 1.5), (3.5, 1.5), (3.5, 2.5), (1.5, 2.5)))
    book.label(box, "rain: light?", "ada")
    counts = export_clips(season.settings, season.results, tmp_path, "label", None, count=5)
    assert (counts["clips"], counts["classes"]) == (7, 2)
    folder = tmp_path / "clips" / "label" / EXPERIMENT
    rows = pandas.read_parquet(folder / "clips.parquet")
    light = rows[rows["label"] == "rain: light?"].sort_values("offset")
    assert light["clip"].tolist() == [
        "rain_ light_/REC02_20210524_230000_288000.wav",
        "rain_ light_/REC02_20210524_230000_432000.wav",
    ]
    np.testing.assert_array_equal(
        read(folder / light["clip"].iloc[0], "int16")[:, 0],
        season.sounds[2][288_000 : 288_000 + 144_000],
    )
    assert light["recording"].tolist() == [RECORDINGS[2][0]] * 2


def test_a_label_called_like_a_file_of_ours(season: Season, tmp_path: Path) -> None:
    season.open().book.label(ClusterRegion(kind="cluster", cluster=0), "Clips.tsv", "bo")
    export_clips(season.settings, season.results, tmp_path, "label", None, count=1)
    (clip,) = tmp_path.rglob("*.wav")
    assert clip.parent.name == "Clips.tsv-2"


def test_tables_of_recorders_with_brackets_in_their_name(cards: Cards, tmp_path: Path) -> None:
    formats = ["raven", "audacity", "parquet"]
    export_tables(cards.settings, cards.results, tmp_path, "clusters", None, formats)
    folder = tmp_path / "clusters" / "a" / "REC [-27.38 152.87]"
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.wav.labels.txt", "a.wav.selections.txt", "a_again.wav.labels.txt",
        "a_again.wav.selections.txt",
    ]  # fmt: skip
    found = read_selections(folder / "a_again.wav.selections.txt")
    assert [(one.start_s, one.annotations["Distance"]) for one in found] == [
        (3.0 * window, f"{score(1, window):.4f}") for window in range(WINDOWS)
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--what", "clips", "--choose", "all", "--count", "3"], "contradicts --choose all"),
        (["--what", "clips", "--format", "raven"], "clips are WAV files"),
        (["--what", "labels", "--channel", "1", "--by", "label"], "--by, --channel choose clips"),
    ],
)
def test_options_that_do_not_go_together(given: list[str], message: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(commands, ["export", str(tmp_path), *given])
    assert result.exit_code == 1
    assert message in str(result.exception)


def test_no_labels_yet_is_said(season: Season, tmp_path: Path) -> None:
    with pytest.raises(DawnChorusError, match="there is no window with a label"):
        export_clips(season.settings, season.results, tmp_path / "out", "label", None)
    assert not list(tmp_path.glob("out/**/*.*"))


def test_bytes_of_the_list_do_not_depend_on_when(cards: Cards, tmp_path: Path) -> None:
    cards.export(tmp_path / "a", count=2)
    cards.export(tmp_path / "b", count=2)
    one, other = (
        {path.relative_to(tmp_path / out): path.read_bytes() for path in (tmp_path / out).rglob("*.*")
         if path.is_file()}
        for out in "ab"
    )  # fmt: skip
    assert one == other and len(one) == 4 + 3
    table = pandas.read_csv(io.BytesIO(one[Path("clips/cluster/a/clips.tsv")]), sep="\t")
    assert table["offset"].dtype == np.int64


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"by": "habitat"}, "'habitat' is not cluster, species, label"),
        ({"choose": "first"}, "'first' is not best, random, all"),
        ({"by": "species"}, "holds no detections"),
        ({"cards": Path("/nowhere")}, "there are no cards; name their folder with --cards"),
    ],
)
def test_what_cannot_be_asked_for(
    cards: Cards, tmp_path: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(DawnChorusError, match=message):
        cards.export(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.*"))
