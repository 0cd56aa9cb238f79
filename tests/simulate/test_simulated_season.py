"""Whole seasons: bytes, names, headers, truth."""

import csv
import datetime as dt
import hashlib
import os
import re
import shutil
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import soundfile

from dawnchorus.errors import DawnChorusError
from dawnchorus.exports.raven import read_selections
from dawnchorus.simulate.faults import add_faults
from dawnchorus.simulate.plan import SeasonPlan, make_plan
from dawnchorus.simulate.season import simulate

PLAN = SeasonPlan(recorders=3, days=2, recordings=4, seconds=20.0, seed=5)
CHICAGO = ZoneInfo("America/Chicago")


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def season(tmp_path_factory):
    out = tmp_path_factory.mktemp("season") / "one"
    summary = simulate(out, PLAN)
    return out, summary


@pytest.fixture(scope="module")
def truth(season):
    return pl.read_parquet(season[0] / "truth.parquet")


@pytest.mark.slow
def test_same_plan_same_bytes_whatever_the_workers(season, tmp_path):
    again = tmp_path / "two"
    simulate(again, PLAN, workers=2)
    assert digests(season[0]) == digests(again)


def test_another_seed_is_another_season_and_a_longer_one_begins_alike(season, tmp_path):
    known = digests(season[0] / "cards")
    for seed in (5, 6):
        out = tmp_path / f"seed{seed}"
        simulate(out, PLAN.model_copy(update={"days": 1, "seed": seed}))
        made = {
            name: digest
            for name, digest in digests(out / "cards").items()
            if name.lower().endswith(".wav")
        }
        assert len(made) == 12
        same = sum(digest in set(known.values()) for digest in made.values())
        assert same == (12 if seed == 5 else 0)


def test_a_killed_run_goes_on_and_a_finished_one_is_left_alone(season, tmp_path):
    out = tmp_path / "killed"
    shutil.copytree(season[0], out)
    whole = digests(out)
    times = {path: path.stat().st_mtime_ns for path in (out / "cards").rglob("*.*")}
    simulate(out, PLAN)
    assert times == {path: path.stat().st_mtime_ns for path in (out / "cards").rglob("*.*")}
    # As after kill -9: one day unfinished, a partial file left behind, no joined truth.
    victim = next((out / "cards" / "REC02" / "Data").iterdir())
    partial = victim.with_name(f".{victim.name}.partial")
    partial.write_bytes(victim.read_bytes()[:1000])
    victim.unlink()
    (out / "truth.parquet").unlink()
    (out / "season.json").unlink()
    simulate(out, PLAN)
    assert digests(out) == whole


def test_a_folder_of_something_else_is_left_alone(tmp_path, season):
    (tmp_path / "cards").mkdir()
    with pytest.raises(DawnChorusError, match="no simulation wrote"):
        simulate(tmp_path, PLAN)
    with pytest.raises(DawnChorusError, match="another plan"):
        simulate(season[0], PLAN.model_copy(update={"seed": 99}))


def test_recordings_are_16_bit_mono_at_44100(season):
    out, summary = season
    files = [path for path in (out / "cards").rglob("*") if path.suffix.lower() == ".wav"]
    assert len(files) == summary["recordings"] == 3 * 2 * 4
    for path in files:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (44_100, 1, "PCM_16")
        assert info.frames == 20 * 44_100
        assert path.stat().st_size == 2 * info.frames + (488 if "REC01" in str(path) else 44)
        samples, _ = soundfile.read(path, dtype="int16")
        assert 3 < samples.std() < 8000
        assert np.mean(np.abs(samples.astype(int)) >= 32_767) < 1e-4  # hardly clipped


def test_audiomoth_names_are_utc_and_its_header_says_the_same(season):
    for path in sorted((season[0] / "cards" / "REC01").iterdir()):
        assert re.fullmatch(r"\d{8}_\d{6}\.WAV", path.name)
        start = dt.datetime.strptime(path.stem, "%Y%m%d_%H%M%S").replace(tzinfo=dt.UTC)
        head = path.read_bytes()[:488]
        assert head[36:40] == b"LIST"
        assert head[44:52] == b"INFOICMT"
        comment = head[56 : 56 + 384].rstrip(b"\0").decode("ascii")
        found = re.fullmatch(
            r"Recorded at (\d\d:\d\d:\d\d \d\d/\d\d/\d{4}) \(UTC\) by AudioMoth ([0-9A-F]{16}) at "
            r"(low|medium|high) gain while battery was (\d\.\d)V and temperature was (-?\d+\.\d)C\.",
            comment,
        )
        assert found
        said = dt.datetime.strptime(found[1], "%H:%M:%S %d/%m/%Y").replace(tzinfo=dt.UTC)
        assert said == start
        assert head[440:444] == b"IART"
        assert head[448:480].rstrip(b"\0") == f"AudioMoth {found[2]}".encode()
        assert head[480:484] == b"data"
        local = start.astimezone(CHICAGO)
        assert local.date() in PLAN.dates


@pytest.mark.real_audio
def test_audiomoth_header_is_laid_out_as_a_real_one(season):
    folder = os.environ.get("DAWNCHORUS_AUDIO")
    if not folder:
        pytest.skip("set DAWNCHORUS_AUDIO to the folder of real recordings")
    real = Path(folder, "headers", "242A2604603691DD_20250503_031300.WAV").read_bytes()[:488]
    ours = next((season[0] / "cards" / "REC01").iterdir()).read_bytes()[:488]
    for at in (0, 8, 12, 36, 44, 48, 440, 480):
        assert ours[at : at + 4] == real[at : at + 4]
    assert ours[40:44] == real[40:44]  # length of LIST
    assert ours[52:56] == real[52:56]  # of ICMT
    assert ours[444:448] == real[444:448]  # of IART
    wording = re.compile(rb"[0-9A-F]{16}|\d|low|medium|high")
    blank = [wording.sub(b"#", head[56:440].rstrip(b"\0")) for head in (ours, real)]
    assert re.sub(rb"#+", b"#", blank[0]) == re.sub(rb"#+", b"#", blank[1])


def test_songmeter_and_frontierlabs_names(season):
    card = season[0] / "cards" / "REC02"
    prefix = next(card.glob("*_Summary.txt")).name.removesuffix("_Summary.txt")
    summary = next(card.glob("*_Summary.txt")).read_text().splitlines()
    names = sorted(path.name for path in (card / "Data").iterdir())
    assert len(names) == 8
    assert len(summary) == 9
    for name, line in zip(names, summary[1:], strict=True):
        assert re.fullmatch(rf"{prefix}_2021052[45]_\d{{6}}\.wav", name)
        moment = dt.datetime.strptime(name.removeprefix(prefix), "_%Y%m%d_%H%M%S.wav")
        assert line.startswith(f"{moment:%Y-%b-%d,%H:%M:%S},41.")
    for path in (season[0] / "cards" / "REC03").rglob("*.wav"):
        assert re.fullmatch(r"2021052[45]T\d{6}-0500_REC\.wav", path.name)
        assert path.parent.name == f"{path.name[:8]}_REC"


def test_truth_is_where_it_says(season, truth):
    out, summary = season
    assert set(truth["kind"].unique()) == {"song", "noise"}
    songs = truth.filter(pl.col("kind") == "song")
    assert songs.height == summary["songs"] > 50
    assert songs["snr_db"].null_count() == 0
    assert (songs["end_s"] > songs["start_s"]).all()
    assert (truth["end_s"] <= 20.0 + 1e-9).all()
    assert (songs["high_hz"] > songs["low_hz"]).all()
    assert songs.filter(pl.col("snr_db") < 0).height > 0.03 * songs.height  # some are buried
    assert songs.filter(pl.col("snr_db") > 10).height > 0.3 * songs.height  # many are clear
    for recording, rows in truth.group_by("recording"):
        name = Path(str(recording[0]))
        assert (out / "cards" / name).exists()
        assert set(rows["recorder"]) == {name.parts[0]}
        if name.parts[0] == "REC01":
            start = dt.datetime.strptime(name.stem, "%Y%m%d_%H%M%S").replace(tzinfo=dt.UTC)
        elif name.parts[0] == "REC02":
            clock = dt.datetime.strptime(name.stem[-15:], "%Y%m%d_%H%M%S")
            start = clock.replace(tzinfo=CHICAGO).astimezone(dt.UTC)
        else:
            start = dt.datetime.strptime(name.stem, "%Y%m%dT%H%M%S%z_REC")
        for row in rows.iter_rows(named=True):
            expected = start + dt.timedelta(seconds=row["start_s"])
            assert abs((row["start_utc"] - expected).total_seconds()) < 1e-5


def test_selection_tables_say_the_same_as_the_parquet(season, truth):
    out, _ = season
    tables = sorted((out / "truth").rglob("*.selections.txt"))
    assert len(tables) == 24
    read = 0
    for path in tables:
        stem = path.relative_to(out / "truth").as_posix().removesuffix(".selections.txt")
        rows = truth.filter(pl.col("recording").str.replace(r"\.(wav|WAV)$", "") == stem)
        selections = read_selections(path)
        assert len(selections) == rows.height
        for selection, row in zip(selections, rows.iter_rows(named=True), strict=True):
            assert selection.start_s == pytest.approx(row["start_s"], abs=1e-8)
            assert selection.high_hz == pytest.approx(row["high_hz"], abs=1e-3)
            assert selection.annotations["Species"] == row["species"]
            assert selection.annotations["Kind"] == row["kind"]
        read += len(selections)
    assert read == truth.height


def test_deployments_have_camtrap_dp_columns(season):
    with (season[0] / "deployments.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "deploymentID",
        "locationID",
        "locationName",
        "latitude",
        "longitude",
        "deploymentStart",
        "deploymentEnd",
        "cameraID",
        "habitat",
        "timezone",
    ]
    assert [row["cameraID"] for row in rows] == ["REC01", "REC02", "REC03"]
    assert len({row["habitat"] for row in rows}) == 3
    for row in rows:
        assert float(row["latitude"]) == pytest.approx(41.7, abs=0.05)
        start = dt.datetime.fromisoformat(row["deploymentStart"])
        end = dt.datetime.fromisoformat(row["deploymentEnd"])
        assert start.isoformat() == "2021-05-23T12:00:00-05:00"
        assert end.isoformat() == "2021-05-26T12:00:00-05:00"


def test_tiny_season_has_every_name_and_date(tmp_path):
    plan = SeasonPlan(
        recorders=4, days=5, recordings=48, seconds=600, schedule="interval", tiny=True
    )
    summary = simulate(tmp_path, plan)
    assert summary["recordings"] == 4 * 5 * 48
    cards = tmp_path / "cards"
    files = [path for path in cards.rglob("*") if path.suffix.lower() == ".wav"]
    assert len(files) == 960
    moths = sorted(cards.glob("REC01/*.WAV")) + sorted(cards.glob("REC04/*.WAV"))
    per_day: dict[tuple[str, dt.date], int] = {}
    for path in moths:
        utc = dt.datetime.strptime(path.stem, "%Y%m%d_%H%M%S").replace(tzinfo=dt.UTC)
        key = (path.parent.name, utc.astimezone(CHICAGO).date())
        per_day[key] = per_day.get(key, 0) + 1
    expected = {(name, date): 48 for name in ("REC01", "REC04") for date in plan.dates}
    assert per_day == expected
    for number, date in enumerate(plan.dates):
        assert len(list(cards.glob(f"REC02/Data/*_{date:%Y%m%d}_*.wav"))) == 48
        assert len(list(cards.glob(f"REC03/{date:%Y%m%d}_REC/*.wav"))) == 48, number
    assert soundfile.info(files[0]).frames == 4410
    assert soundfile.read(files[0], dtype="int16")[0].std() > 1  # not digital silence
    assert pl.read_parquet(tmp_path / "truth.parquet").height == 0


def test_faults_are_added_once_and_harm_nothing(season, tmp_path):
    cards = tmp_path / "cards"
    shutil.copytree(season[0] / "cards", cards)
    before = digests(cards)
    added = add_faults(cards, seed=4)
    assert sorted(kind for _, kind in added) == [
        "corrupt",
        "corrupt",
        "empty",
        "foreign",
        "foreign",
    ]
    after = digests(cards)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 5
    for path, kind in added:
        if kind == "foreign":
            assert path.suffix in {".txt", ".jpg"}
        else:
            assert path.suffix.lower() == ".wav"
            with pytest.raises(soundfile.LibsndfileError):
                soundfile.info(path)
        assert (path.stat().st_size == 0) == (kind == "empty")
    assert add_faults(cards, seed=4) == added
    assert digests(cards) == after
    with pytest.raises(DawnChorusError, match="holds no recording"):
        add_faults(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"recorders": 0}, "recorders: "),
        ({"timezone": "Mars/Olympus"}, "no IANA time zone"),
        ({"recordings": 200, "seconds": 600}, "fill more than half of a day"),
        ({"recordings": 48, "seconds": 3600, "schedule": "interval"}, "do not fit into a day"),
        ({"colour": 1}, "colour: "),
        ({"species": 17}, "species: "),
    ],
)
def test_a_bad_plan_is_one_clear_line(values, words):
    with pytest.raises(DawnChorusError) as caught:
        make_plan(**values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
