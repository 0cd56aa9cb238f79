"""A labelled set goes the season's way, from raw files to tables, and what does not fit is said."""

from __future__ import annotations

import csv
import os
import shutil
import wave
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xarray

from dawnchorus.clustering.fitted import Clusters, save_clusters
from dawnchorus.config import LabelledSet, Settings, validate
from dawnchorus.embedding.day import embed_day, encoder_mark
from dawnchorus.errors import DawnChorusError
from dawnchorus.evaluation.labelled import evaluate_set, take_in_set
from dawnchorus.evaluation.labelled_files import (
    boxes_of,
    labelled_files,
    set_fingerprint,
    settings_of_set,
)
from dawnchorus.exports.audacity import Label, write_labels
from dawnchorus.exports.raven import Selection, write_selections
from dawnchorus.labelled_results import labelled_results
from dawnchorus.recordings.undated import take_in, undated
from dawnchorus.spectrograms.day import make_day
from dawnchorus.vectors import VectorStore

from .season import EXPERIMENT, RATE, Season

TONES = {"low": 500.0, "middle": 1500.0, "high": 3000.0}
CLIPS = 4
"""Of each tone, two of a source; 5 s each, and the tone from 1 to 2 and 3 to 4 s."""


def write_clip(path: Path, hertz: float, seed: int, seconds: float = 5.0) -> None:
    time = np.arange(round(seconds * RATE)) / RATE
    sound = 0.003 * np.random.default_rng(seed).normal(size=len(time))
    sound += 0.2 * np.sin(2 * np.pi * hertz * time) * ((time % 2) > 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())


def write_csv(path: Path, *rows: tuple[object, ...]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def with_sets(settings: Settings, **sets: dict[str, object]) -> Settings:
    return validate({**settings.model_dump(mode="json"), "labelled_sets": sets})


def names() -> list[tuple[str, str, int]]:
    return [(f"{tone}/{tone}{clip}.wav", tone, clip) for tone in TONES for clip in range(CLIPS)]


@pytest.fixture(scope="module")
def measured(planted, tmp_path_factory) -> tuple[Season, Settings, dict[str, dict[str, object]]]:
    """A trained season and two sets over the same twelve clips and some odd files, measured."""
    root = tmp_path_factory.mktemp("labelled") / "season"
    shutil.copytree(planted.root, root)
    season = Season(root, changes={"evaluation": {"confidences": [0.25]}})
    clips = root / "clips"
    rows: list[tuple[object, ...]] = [("file", "class", "from", "part", "set")]
    for number, (path, tone, clip) in enumerate(names()):
        write_clip(clips / path, TONES[tone], number)
        rows.append((path, tone, f"{tone}-{clip // 2}", clip % 2 + 1, "mine"))
        song = Selection(1.0, 2.0, TONES[tone] - 200, TONES[tone] + 200, {"Species": tone})
        table = path.removesuffix(".wav") + ".Table.1.selections.txt"
        write_selections(root / "tables" / table, [song])
    write_clip(clips / "short.wav", 700, 77, seconds=1.5)
    write_clip(clips / "nobody.wav", 700, 78)
    write_clip(clips / "alone.wav", 2200, 79)
    (clips / "broken.wav").write_bytes(b"RIFF no sound at all")
    shutil.copy(clips / "low/low0.wav", clips / "twin.wav")
    rows += [
        (name, label, name, 1, "mine")
        for name, label in (
            ("short.wav", "alone"), ("broken.wav", "alone"), ("alone.wav", "alone"),
            ("twin.wav", "low"), ("gone.wav", "low"),
        )
    ]  # fmt: skip
    rows.append(("low/low0.wav", "of another set", "x", 1, "other"))
    settings = with_sets(
        season.settings,
        clips={
            "audio": str(clips),
            "labels": str(write_csv(root / "labels.csv", *rows)),
            "columns": {"path": "file", "label": "class", "group": "from", "fold": "part"},
            "where": {"set": "mine"},
            "overlap_seconds": 1.0,
        },
        boxes={
            "audio": str(clips),
            "labels": str(root / "tables"),
            "format": "raven",
            "unlabelled": "empty",
        },
    )
    for name in settings.labelled_sets:
        take_in_set(settings, season.results, name)
    plant_clusters(season, settings)
    receipts = {
        name: evaluate_set(settings, season.results, name, device="cpu", workers=1)
        for name in settings.labelled_sets
    }
    return season, settings, receipts


def plant_clusters(season: Season, settings: Settings) -> None:
    """Give the season a cluster for each tone, as its network hears it."""
    paths, day = labelled_results(season.results, "clips"), undated("clips")
    own = settings_of_set(settings, "clips")
    embed_day(own, paths, EXPERIMENT, day, device="cpu")
    store = VectorStore.open(paths.experiment(EXPERIMENT).embeddings(day))
    tone = np.array([store.recordings[one].split("/")[0] for one in store.recording])
    vectors = store.read()
    centres = np.stack([vectors[tone == one].mean(axis=0) for one in TONES])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    mark = encoder_mark(settings, season.results, EXPERIMENT)
    clusters = Clusters(centres.astype(np.float32), None, "planted", mark)
    save_clusters(season.results.experiment(EXPERIMENT).centroids, clusters)


def table(season: Season, of_set: str, name: str, **values: object) -> pl.DataFrame:
    frame = pl.read_parquet(labelled_results(season.results, of_set).root / f"{name}.parquet")
    for column, value in values.items():
        frame = frame.filter(pl.col(column) == value)
    return frame


def test_clips_are_measured_like_a_season(measured) -> None:
    season, _, receipts = measured
    receipt = receipts["clips"]
    # Windows at 0 and 2 s of each clip; alone.wav has two more.
    assert (receipt["verdict"], receipt["windows"], receipt["files"]) == ("ok", 2 * 12 + 2, 16)
    assert receipt["groupings"] == ["source", "fold", "recording"]
    assert receipt["clusters"] == 4
    assert receipt["spaces"] == [
        *(EXPERIMENT, "log-mel", "log-mel, floor subtracted", "pca of log-mel"),
        *("untrained vit_nano/16 cls", "birdnet"),
    ]
    probes = table(season, "clips", "probes", target="species", metric="accuracy", split="grouped")
    linear = probes.filter(pl.col("probe") == "linear", pl.col("space") == "log-mel")
    assert linear["value"].unique().to_list() == [1.0]
    by_source = linear.filter(pl.col("group") == "source").row(0, named=True)
    assert (by_source["windows"], by_source["classes"], by_source["groups"]) == (24, 3, 6)
    assert "1 classes of one group only are left out" in by_source["note"]
    agreement = table(season, "clips", "agreement", labels="annotations", space=EXPERIMENT)
    ami = agreement.filter(pl.col("metric") == "ami", pl.col("unlabelled") == "left out")
    # The season's three clusters hold the three tones; the lone clip is in one of them.
    assigned = ami.filter(pl.col("clustering") == "assigned").row(0, named=True)
    assert (assigned["clusters"], assigned["classes"], assigned["windows"]) == (3, 4, 26)
    best = table(season, "clips", "species", labels="annotations", space=EXPERIMENT)
    best = best.filter(pl.col("clustering") == "assigned", pl.col("species") != "alone")
    assert best["recall"].to_list() == [1.0, 1.0, 1.0]
    assert best["cluster"].n_unique() == 3


def test_what_does_not_fit_is_said(measured) -> None:
    season, _, _ = measured
    told = table(season, "clips", "coverage")
    notes = {
        (row["what"], row["name"]): (row["windows"], row["of"], row["note"])
        for row in told.iter_rows(named=True)
    }
    assert notes["labels", "of files that are not there"] == (1, 17, "gone.wav")
    assert notes["files", "without a label"] == (1, 17, "left out: nobody.wav")
    assert notes["file left out", "twin.wav"][2] == (
        "a copy of low/low0.wav, which has its labels too"
    )
    assert "not a sound file" in notes["file left out", "broken.wav"][2]
    assert notes["files", "shorter than a window"][0] == 1
    assert notes["class", "alone"][:2] == (2, 26) and "one group" in notes["class", "alone"][2]
    # BirdNET hears the very windows, though they overlap.
    assert notes["birdnet", "known"][:2] == (26, 26)
    assert notes["class", "low"] == (8, 26, "2 groups")


def test_attention_is_compared_with_the_boxes(measured) -> None:
    season, _, receipts = measured
    # One window of each clip; nobody.wav and alone.wav hold nothing.
    assert (receipts["boxes"]["windows"], receipts["boxes"]["labels"]) == (14, 12)
    assert receipts["boxes"]["groupings"] == ["recording"]
    rows = table(season, "boxes", "attention", map="energy")
    value = {row["metric"]: row for row in rows.iter_rows(named=True)}
    assert value["songs_found"]["windows"] == value["energy_in_boxes"]["windows"] == 12
    precision = value["average_precision"]
    assert precision["windows"] == 14 and 0 <= precision["chance"] <= precision["value"] <= 1
    for metric in ("energy_in_boxes", "intersection_over_union"):
        assert value[metric]["value"] > 2 * value[metric]["chance"], metric
    # A second of three, and 400 Hz of the mel scale between 150 and 3,900.
    mel = 2595 * np.log10(1 + np.array([150, 3900]) / 700)
    tones = np.add.outer([-200.0, 200.0], list(TONES.values()))
    share = np.diff(2595 * np.log10(1 + tones / 700), axis=0).mean() / np.diff(mel)[0] / 3
    assert value["energy_in_boxes"]["chance"] == pytest.approx(share)
    assert set(table(season, "clips", "attention")["note"]) == {
        "the annotations have no boxes with frequencies"
    }


def test_a_clip_has_no_time_and_its_store_opens(measured) -> None:
    season, _, _ = measured
    path = labelled_results(season.results, "clips").spectrograms(undated("clips"))
    with xarray.open_zarr(path) as opened:
        assert np.isnat(opened.time.values).all()
        assert opened.sizes["window"] == 26
        assert opened.attrs["recording_start"] == [None] * 14


@pytest.fixture
def three(tmp_path) -> Path:
    for name in ("a/one.wav", "b/one.wav", "two.wav"):
        write_clip(tmp_path / "sound" / name, 800, 1, seconds=4)
    return tmp_path


def test_every_format_says_the_same(three: Path) -> None:
    """Boxes of one recording in each format, one of them beyond its end, one outside, one without extent."""
    edges = [(0.5, 1.5, 300.0, 900.0), (3.0, 5.0, 300.0, 900.0), (4.5, 5.0, 300.0, 900.0)]
    boxes = [*edges, (1.0, 1.0, 300.0, 900.0)]
    head = ("path", "label", "start_s", "end_s", "low_hz", "high_hz")
    rows = [("two.wav", "wren", *box) for box in boxes]
    frame = pl.DataFrame(rows, schema=list(head), orient="row")
    renamed = frame.rename({"path": "recording", "label": "species"})
    renamed.write_parquet(three / "boxes.parquet")
    selections = [Selection(*box, {"Annotation": "wren"}) for box in boxes]
    write_selections(three / "raven" / "two.Table.1.selections.txt", selections)
    write_selections(
        three / "one_table.txt",
        [Selection(*box, {"Label": "wren", "Begin File": "two.wav"}) for box in boxes],
    )
    tracks = [Label(*box[:2], "wren", box[2:]) for box in boxes]
    write_labels(three / "audacity" / "two.txt", tracks)
    sets: dict[str, dict[str, object]] = {
        "csv": {"labels": write_csv(three / "boxes.csv", head, *rows), "format": "boxes"},
        "parquet": {
            "labels": three / "boxes.parquet",
            "format": "boxes",
            "columns": {"path": "recording", "label": "species"},
        },
        "raven": {"labels": three / "raven", "format": "raven"},
        "table": {"labels": three / "one_table.txt", "format": "raven"},
        "audacity": {"labels": three / "audacity", "format": "audacity"},
    }
    sound = {"audio": str(three / "sound")}
    settings = with_sets(
        Settings(),
        **{key: {**one, **sound, "labels": str(one["labels"])} for key, one in sets.items()},
    )
    found = {}
    for name in sets:
        files = labelled_files(settings, name)
        assert [entry.path for entry in files.entries] == ["two.wav"]
        paths = labelled_results(Season(three).results, name)
        recordings = take_in(settings_of_set(settings, name).audio, paths, name, files.entries)
        frame, notes = boxes_of(files, recordings, settings.labelled_set(name))
        found[name] = frame.rows()
        assert [(note["name"], note["windows"]) for note in notes] == [
            ("beyond their recording, cut to it", 1),
            ("outside their recording, left out", 1),
            ("without extent, left out", 1),
        ]
    expected = [
        ("two.wav", start, end, "wren", low, high, None, True)
        for start, end, low, high in (edges[0], (3.0, 4.0, 300.0, 900.0))
    ]
    assert found == dict.fromkeys(sets, expected)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([("file", "label"), ("two.wav", "wren")], "lacks the columns path; it has file, label"),
        ([("path", "label"), ("one.wav", "wren")], "is the name of 2 files, such as a/one.wav and b/one.wav"),
        ([("path", "label"), ("x.wav", "wren")], "none of the 1 files that the labels speak of is there"),
        ([("path", "label", "from"), ("two.wav", "wren", "A"), ("two.wav", "rail", "B")], "stands in group A and B"),
        ([("path", "label")], "holds no row"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_one_line(three: Path, labels, told) -> None:
    wanted = {
        "audio": str(three / "sound"),
        "labels": str(write_csv(three / "labels.csv", *labels)),
        "columns": {"group": "from"} if len(labels[0]) > 2 else {},
    }
    settings = with_sets(Settings(), mine=wanted)
    with pytest.raises(DawnChorusError, match=told):
        labelled_files(settings, "mine").of("group")


def test_what_a_set_depends_on(three: Path) -> None:
    labels = write_csv(three / "labels.csv", ("path", "label"), ("two.wav", "wren"))
    wanted = {"audio": str(three / "sound"), "labels": str(labels)}
    settings = with_sets(Settings(), mine=wanted)
    first = set_fingerprint(settings, "mine")
    assert set_fingerprint(settings, "mine") == first
    write_csv(labels, ("path", "label"), ("two.wav", "rail"))
    second = set_fingerprint(settings, "mine")
    write_clip(three / "sound" / "late.wav", 700, 3)
    third = set_fingerprint(settings, "mine")
    shutil.rmtree(three / "sound")
    assert len({first, second, third, set_fingerprint(settings, "mine")}) == 4
    with pytest.raises(DawnChorusError, match=r"is not a folder.*labelled_sets.mine.audio"):
        labelled_files(settings, "mine")
    with pytest.raises(DawnChorusError, match=r"columns: a label track has none"):
        with_sets(Settings(), mine={**wanted, "format": "audacity", "columns": {"label": "x"}})
    assert LabelledSet.model_validate({**wanted, "where": {"fold": 1}}).where == {"fold": "1"}


@pytest.mark.skipif("DAWNCHORUS_AUDIO" not in os.environ, reason="DAWNCHORUS_AUDIO is not set")
def test_real_clips_and_boxes(tmp_path: Path) -> None:
    folder = Path(os.environ["DAWNCHORUS_AUDIO"])
    clips = {"audio": str(folder), "labels": str(folder / "labels_clips.csv")}
    settings = with_sets(
        Settings(),
        esc10={
            **clips,
            "columns": {"group": "group", "fold": "fold"},
            "where": {"dataset": "esc10"},
            "overlap_seconds": 1.0,
        },
        spinetail={
            "audio": str(folder),
            "labels": str(folder / "labels_events.csv"),
            "format": "boxes",
            "where": {"dataset": "scikit_maad"},
        },
    )
    results = Season(tmp_path).results
    boxes = {}
    for name in settings.labelled_sets:
        files, own = labelled_files(settings, name), settings_of_set(settings, name)
        paths = labelled_results(results, name)
        rows = take_in(own.audio, paths, name, files.entries)
        boxes[name], notes = boxes_of(files, rows, settings.labelled_set(name))
        assert notes == []
    assert make_day(own, paths, undated("spinetail"))["windows"] == 6
    counts = boxes["esc10"].group_by("species").len()
    assert counts.height == 10 and set(counts["len"]) == {8}
    assert set(labelled_files(settings, "esc10").of("fold").values()) == {"1"}
    assert boxes["spinetail"]["species"].value_counts(sort=True).rows() == [("SP", 14), ("CRER", 4)]
    assert boxes["spinetail"]["low_hz"].null_count() == 0
