"""Cluster cards: counts that can be counted by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from dawnchorus.birdnet import speaking
from dawnchorus.clustering.assignment import assign_day
from dawnchorus.clustering.cards import cards
from dawnchorus.clustering.fit import fit
from dawnchorus.errors import DawnChorusError
from dawnchorus.recordings.table import Recording, write_recordings
from dawnchorus.results import SET_ASIDE, RecorderDay, write_receipt
from embedding.season import EXPERIMENT, NATIVE_RATE, WINDOW_SECONDS, Season, blobs

DAYS = [RecorderDay("REC01", "2021-06-01"), RecorderDay("REC02", "2021-06-01")]
ASIDE = RecorderDay("REC03", "2021-06-01")
OFFSET_MINUTES = {"REC01": -300, "REC02": 330}
HABITAT = {"REC01": "canopy", "REC02": None}


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    rows = []
    for number, day in enumerate(DAYS):
        vectors = blobs(200, 4, seed=number)[0]
        season.add_embeddings(day, vectors)
        for name in season.windows(day, 200).recordings:
            rows.append(
                Recording(
                    recording=name,
                    recorder=day.recorder,
                    date=day.date,
                    start_utc=datetime(2021, 6, 1, 4, tzinfo=UTC),
                    utc_offset_minutes=OFFSET_MINUTES[day.recorder],
                    duration_s=75.0,
                    frames=75 * NATIVE_RATE,
                    promised_frames=75 * NATIVE_RATE,
                    sample_rate=NATIVE_RATE,
                    channels=1,
                    format="WAV PCM_16",
                    convention="AudioMoth",
                    habitat=HABITAT[day.recorder],
                    size_bytes=1,
                    mtime_ns=1,
                )
            )
    season.results.recordings.parent.mkdir(parents=True)
    write_recordings(season.results.recordings, rows)
    write_receipt(season.paths.embeddings_receipt(ASIDE), {"verdict": SET_ASIDE, "windows": 0})
    season.set_pool(DAYS)
    fit(season.settings, season.results, EXPERIMENT)
    for day in [*DAYS, ASIDE]:
        assign_day(season.settings, season.results, EXPERIMENT, day)
    return season


def assigned(season: Season) -> pl.DataFrame:
    return pl.concat(
        pl.read_parquet(season.paths.assignment(day)).with_columns(recorder=pl.lit(day.recorder))
        for day in DAYS
    )


def test_counts(season: Season) -> None:
    table = cards(season.settings, season.results, EXPERIMENT, [*DAYS, ASIDE])
    assert table.equals(pl.read_parquet(season.paths.root / "clusters" / "cards.parquet"))
    every = assigned(season)
    members = pl.read_parquet(season.paths.members)
    assert table["cluster"].to_list() == [0, 1, 2, 3]
    assert table["size"].sum() == 400
    for card in table.iter_rows(named=True):
        own = every.filter(pl.col("cluster") == card["cluster"])
        assert card["size"] == own.height
        assert card["mean_distance"] == pytest.approx(own["distance"].mean(), abs=1e-5)
        for one in card["recorders"]:
            assert one["windows"] == own.filter(pl.col("recorder") == one["recorder"]).height
        assert sum(one["windows"] for one in card["recorders"]) == own.height
        # 04:00 and 05:00 UTC are 23:00 and midnight in Chicago, 09:30 and 10:30 in Kolkata.
        by_hour = np.zeros(24, int)
        for recorder, time in own.select("recorder", "time").iter_rows():
            by_hour[(time.hour * 60 + time.minute + OFFSET_MINUTES[recorder]) // 60 % 24] += 1
        assert card["hours"] == by_hour.tolist()
        assert {hour for hour, count in enumerate(by_hour) if count} == {23, 0, 9, 10}
        dates = {one["date"]: one["windows"] for one in card["dates"]}
        assert dates == {"2021-05-31": by_hour[23], "2021-06-01": own.height - by_hour[23]}
        # The last of May was a Monday. Without positions, 21 to 5 h is night.
        assert card["weeks"] == [{"week": "2021-05-31", "windows": own.height}]
        assert {one["habitat"]: one["windows"] for one in card["habitats"]} == {
            HABITAT[one["recorder"]]: one["windows"] for one in card["recorders"]
        }
        assert card["night"] == pytest.approx((by_hour[23] + by_hour[0]) / own.height, abs=1e-6)
        # There are no spectrograms: what they would tell is not known, and nothing is suggested.
        assert (card["silent"], card["activity"], card["kind"]) == (None, None, "unknown")
        fitted = members.filter(pl.col("cluster") == card["cluster"]).sort("distance")
        assert card["members"] == fitted.height
        assert [one["distance"] for one in card["central"]] == fitted["distance"][:12].to_list()
        assert [one["distance"] for one in card["border"]] == fitted["distance"][::-1][:6].to_list()
        assert card["central"][0]["recording"] == fitted["recording"][0]
        assert (card["heard"], card["detected"], card["species"]) == (0, 0, [])


def test_the_table_that_a_person_opens(season: Season) -> None:
    table = cards(season.settings, season.results, EXPERIMENT, DAYS)
    told = pl.read_csv(season.paths.root / "clusters" / "cards.tsv", separator="\t")
    assert told["windows"].to_list() == table["size"].to_list()
    assert told["suggestion"].to_list() == table["suggestion"].to_list()
    first = table.row(0, named=True)
    assert told["recorders"][0] == ", ".join(
        f"{one['recorder']} {one['windows']}" for one in first["recorders"]
    )
    central = first["central"][0]
    assert told["most_central"][0] == f"{central['recording']} @ {central['offset']}"


def test_windows_in_no_cluster_come_last(season: Season) -> None:
    """As HDBSCAN leaves them: cluster -1, without a distance."""
    for day in DAYS:
        path = season.paths.assignment(day)
        table = pl.read_parquet(path)
        out = pl.arange(pl.len()) < 30
        table.with_columns(
            cluster=pl.when(out).then(-1).otherwise("cluster").cast(pl.Int32),
            distance=pl.when(out).then(None).otherwise("distance"),
        ).write_parquet(path)
    table = cards(season.settings, season.results, EXPERIMENT, DAYS)
    assert table["cluster"].to_list() == [0, 1, 2, 3, -1]
    assert table["size"].sum() == 400
    left_out = table.row(-1, named=True)
    assert (left_out["size"], left_out["members"]) == (60, 0)
    assert (left_out["mean_distance"], left_out["central"]) == (None, [])
    own = assigned(season).filter(pl.col("cluster") == 1)
    assert table["mean_distance"][1] == pytest.approx(own["distance"].mean(), abs=1e-5)


def test_species(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    # As if BirdNET's windows were as short as these, and a detection belonged to one of them.
    monkeypatch.setattr(speaking, "WINDOW_SECONDS", WINDOW_SECONDS)
    first = assigned(season).filter(pl.col("recorder") == "REC01")
    inside = first.filter(pl.col("cluster") == 2)
    songs = [
        {"recording": row["recording"], "offset": row["offset"], "species": species,
         "common_name": name, "confidence": confidence}
        for number, row in enumerate(inside.iter_rows(named=True))
        for species, name, confidence in [
            ("Turdus merula", "blackbird", 0.8),
            *([("Erithacus rubecula", "robin", 0.4)] if number < 3 else []),
        ]
    ]  # fmt: skip
    elsewhere = {**songs[0], "offset": round(WINDOW_SECONDS * NATIVE_RATE) * 10_000}
    path = season.results.detections(DAYS[0])
    path.parent.mkdir(parents=True)
    pl.DataFrame([*songs, elsewhere]).write_parquet(path)
    table = cards(season.settings, season.results, EXPERIMENT, DAYS)
    for card in table.iter_rows(named=True):
        # The second recorder was not listened to.
        heard = first.filter(pl.col("cluster") == card["cluster"]).height
        assert card["heard"] == heard
        if card["cluster"] != 2:
            assert (card["detected"], card["species"]) == (0, [])
            continue
        assert card["detected"] == inside.height
        blackbird, robin = card["species"]
        assert (blackbird["species"], blackbird["common_name"]) == ("Turdus merula", "blackbird")
        assert (blackbird["windows"], blackbird["share"]) == (inside.height, 1.0)
        assert robin["windows"] == 3
        assert robin["share"] == pytest.approx(3 / heard, abs=1e-6)
        assert robin["mean_confidence"] == pytest.approx(0.4, abs=1e-6)


def test_same_bytes_again(season: Season) -> None:
    path = season.paths.root / "clusters" / "cards.parquet"
    cards(season.settings, season.results, EXPERIMENT, DAYS)
    first = path.read_bytes()
    cards(season.settings, season.results, EXPERIMENT, DAYS[::-1])
    assert path.read_bytes() == first


def test_assigned_to_other_clusters(season: Season) -> None:
    season.changes["clustering"] = {"seed": 5, "k": 3}
    fit(season.settings, season.results, EXPERIMENT)
    with pytest.raises(DawnChorusError, match="other clusters"):
        cards(season.settings, season.results, EXPERIMENT, DAYS)
