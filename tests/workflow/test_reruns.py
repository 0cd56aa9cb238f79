"""What must run again and what must not: the counts of jobs are exact (docs/reruns.md)."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
from pathlib import Path

import polars as pl
import pytest

from dawnchorus.labelled_results import labelled_results
from dawnchorus.results import Results
from dawnchorus.spectrograms.store import SpectrogramStore
from dawnchorus.stub_run import SWITCH

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

AGGREGATES = {"experiment_figures": 1, "comparison_figures": 1, "snakemake_report": 1, "all": 1}
ONE_DAY = {
    "scan": 1, "spectrograms_day": 1, "birdnet_day": 1, "embed_day": 1, "assign_day": 1, "map": 1,
    "statistics": 1, "outliers": 1, "evaluate": 1, **AGGREGATES,
}  # fmt: skip
OF_SET = {"labelled_sound": 1, "labelled_set": 1}
DAYS = 4


def windows_of(season) -> dict[str, int]:
    results = Results(season.results)
    return {
        str(day): len(SpectrogramStore.open(results.spectrograms(day)))
        for day in results.days_with_receipts()
    }


def song_meter_recording(season):
    """A recording whose name alone carries its date and time."""
    for path in sorted(season.cards.rglob("*.wav")):
        if re.search(r"_\d{8}_\d{6}\.wav$", path.name):
            return path
    raise AssertionError("the season has no Song Meter")


def renamed(path, date=None, hour=None):
    name = path.name
    if date:
        name = re.sub(r"_\d{8}_", f"_{date}_", name)
    if hour:
        name = re.sub(r"_\d{6}\.wav", f"_{hour}.wav", name)
    return path.with_name(name)


def test_nothing_changed_is_nothing_to_do(season):
    assert season.planned() == {}
    for folder in [season.cards, *(p for p in season.cards.rglob("*") if p.is_dir())]:
        os.utime(folder)
    assert season.planned() == {}
    # Another order on disk: the same files, written anew in reverse, times kept.
    files = sorted((p for p in season.cards.rglob("*") if p.is_file()), reverse=True)
    for path in files:
        copy = path.with_name(f"{path.name}.copy")
        shutil.copy2(path, copy)
        copy.replace(path)
    assert season.planned() == {}


def test_a_new_recorder_day(season):
    path = song_meter_recording(season)
    shutil.copy2(path, renamed(path, date="20210601"))
    assert season.planned() == ONE_DAY


def test_a_late_file_for_a_known_day(season):
    path = song_meter_recording(season)
    shutil.copy2(path, renamed(path, hour="123456"))
    assert season.planned() == ONE_DAY


def test_a_recording_removed(season):
    song_meter_recording(season).unlink()
    assert season.planned() == ONE_DAY


NO_RECORDINGS = {
    "235900.wav": (random.Random(1).randbytes(5000), "random bytes without a header"),
    "235800.wav": (b"", "empty file"),
    "001200.jpg": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "not a recording"),
}


def test_a_new_day_a_lost_recording_and_files_that_are_no_recordings_in_one_run(season):
    """The events above, done; and three files that only look like recordings, or do not even."""
    path = song_meter_recording(season)
    recorder = path.relative_to(season.cards).parts[0]
    before = windows_of(season)
    shutil.copy2(path, renamed(path, date="20210601"))
    name = path.relative_to(season.cards).as_posix()
    drawn = pl.read_parquet(season.results / "training" / "windows.parquet")
    path.unlink()
    bad = {path.with_name(f"{path.name[:-10]}{end}"): told for end, told in NO_RECORDINGS.items()}
    for file, (content, _) in bad.items():
        file.write_bytes(content)
    model = season.results / "one" / "model.safetensors"
    kept = [model.stat().st_mtime_ns, (season.results / "training/windows.parquet").read_bytes()]

    season.run()
    assert season.planned() == {}
    # The new day went all the way; nothing was drawn or trained anew.
    assert (season.results / "one" / "clusters" / recorder / "2021-06-01.parquet").exists()
    now = [model.stat().st_mtime_ns, (season.results / "training/windows.parquet").read_bytes()]
    assert now == kept
    # The report says which training windows lost their source.
    lost = pl.read_csv(season.results / "evaluation" / "lost.tsv", separator="\t")
    of_it = drawn.filter(pl.col("recording") == name).height
    assert lost.filter(pl.col("recording") == name)["windows"].sum() == of_it > 0
    # What is no recording is named with the reason, stays as it was, and costs no other day a window.
    faults = pl.read_csv(season.results / "inventory" / "faults.tsv", separator="\t")
    told = {Path(row["path"]).name: row for row in faults.iter_rows(named=True)}
    # Beside them only the recorder's own line: nothing was recorded in the week before the new day.
    assert set(told) - {recorder} == {file.name for file in bad}
    for file, (content, reason) in bad.items():
        assert reason in told[file.name]["reason"]
        assert told[file.name]["action"] == "set aside" or file.suffix == ".jpg"
        assert file.read_bytes() == content
    after = windows_of(season)
    changed = {day for day in after if after[day] != before.get(day)}
    assert len(changed) == 2 and f"{recorder}/2021-06-01" in changed


def test_a_recording_changed(season):
    path = song_meter_recording(season)
    content = bytearray(path.read_bytes())
    content[2000:3000] = bytes(1000)
    path.write_bytes(bytes(content))
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 5_000_000_000))
    assert season.planned() == ONE_DAY


def test_a_spectrogram_parameter_changed(season):
    season.configure(spectrogram={"f_max": 14000})
    planned = season.planned()
    assert planned == {
        "spectrograms_day": DAYS, "sample": 1, "train_experiment": 1, "embed_day": DAYS,
        "cluster": 1, "assign_day": DAYS, "map_fit": 1, "map": 1, "attend": 1,
        "statistics": 1, "outliers": 1, "evaluate": 1, **AGGREGATES,
    }  # fmt: skip
    assert "Params have changed" in season.run("--dry-run", "--verbose")


def test_another_channel_is_heard(season):
    season.configure(audio={"channel": "mix"})
    assert season.planned() == {
        "scan": 1, "spectrograms_day": DAYS, "birdnet_day": DAYS, "sample": 1,
        "train_experiment": 1, "embed_day": DAYS, "cluster": 1, "assign_day": DAYS, "map_fit": 1,
        "map": 1, "attend": 1, "statistics": 1, "outliers": 1, "evaluate": 1, **AGGREGATES,
    }  # fmt: skip


def test_indices_wanted_later_and_of_a_new_day(season):
    season.configure(indices={"enabled": True})
    assert season.planned() == {"indices_day": DAYS, "snakemake_report": 1, "all": 1}
    path = song_meter_recording(season)
    shutil.copy2(path, renamed(path, date="20210601"))
    assert season.planned() == {**ONE_DAY, "indices_day": DAYS + 1}
    recorder = path.relative_to(season.cards).parts[0]
    receipt = season.results / "spectrograms" / recorder / "2021-06-01.json"
    season.run(str(receipt.relative_to(season.root)))
    # The pass for the spectrograms has brought them along; of the other days they are made now.
    made = season.results / "indices" / recorder / "2021-06-01.parquet"
    before = made.stat().st_mtime_ns
    season.run("indices")
    assert made.stat().st_mtime_ns == before
    assert len(list((season.results / "indices").glob("*/*.png"))) == DAYS + 1


def test_limits_that_only_the_rate_allows_stop_no_other_step(season):
    """Half of 96 kHz is above 30 kHz, half of the default rate is not."""
    season.configure(
        spectrogram={"sample_rate": 96_000, "n_fft": 2048, "hop_length": 1024},
        indices={"enabled": True, "bioacoustic": [2000, 30_000]},
    )
    season.run("--forcerun", "scan", "--", "inventory")


def test_a_training_parameter_changed(season):
    season.configure(experiments={"one": {**season_experiment(season), "learning_rate": 1e-4}})
    assert season.planned() == {
        "train_experiment": 1, "embed_day": DAYS, "cluster": 1, "assign_day": DAYS, "map_fit": 1,
        "map": 1, "attend": 1, "statistics": 1, "outliers": 1, "evaluate": 1, **AGGREGATES,
    }  # fmt: skip


def season_experiment(season):
    import yaml

    return yaml.safe_load((season.root / "config.yaml").read_text())["experiments"]["one"]


def test_another_experiment_leaves_the_first_alone(season):
    recipe = season_experiment(season)
    season.configure(experiments={"one": recipe, "two": {**recipe, "seed": 5}})
    assert season.planned() == {
        "train_experiment": 1, "embed_day": DAYS, "cluster": 1, "assign_day": DAYS, "map_fit": 1,
        "map": 1, "attend": 1, "statistics": 1, "outliers": 1, "evaluate": 1, **AGGREGATES,
    }  # fmt: skip


EMBEDDED_AGAIN = {
    "embed_day": DAYS, "cluster": 1, "assign_day": DAYS, "map_fit": 1, "map": 1, "attend": 1,
    "statistics": 1, "outliers": 1, "evaluate": 1, **AGGREGATES,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"experiments": {"pooling": "mean", "layer": 2}}, {"store": "float32"}],
)
def test_what_is_taken_of_a_network_changed(season, change):
    """Embedded again, and nothing is trained."""
    if "experiments" in change:
        recipe = {**season_experiment(season), "embedding": change["experiments"]}
        season.configure(experiments={"one": recipe})
    else:
        season.configure(embedding=change)
    assert season.planned() == EMBEDDED_AGAIN


NOT_TRAINED = {
    "means": {"method": "statistics", "input": "contrast"},
    "axes": {"method": "pca", "pca": {"components": 8, "windows": 30}},
    "bird": {"method": "birdnet"},
    "dice": {"method": "untrained", "backbone": "vit_nano"},
}


def test_encoders_that_are_not_trained_go_all_the_way(season):
    recipe = season_experiment(season)
    season.configure(experiments={"one": recipe, **NOT_TRAINED})
    many = len(NOT_TRAINED)
    each = {
        "train_experiment": many, "embed_day": DAYS * many, "cluster": many, "assign_day": DAYS * many,
        "map_fit": many, "map": many, "attend": many, "statistics": many, "outliers": many,
    }  # fmt: skip
    assert season.planned() == {**each, "evaluate": 1, **AGGREGATES, "experiment_figures": many}
    season.configure(experiments={"bird": NOT_TRAINED["bird"]})
    season.run("evaluation")
    receipts = [
        json.loads(path.read_text())
        for path in (season.results / "bird" / "embeddings").glob("*/*.json")
    ]
    assert {receipt["dimension"] for receipt in receipts} == {1024}
    assert sum(receipt["windows"] for receipt in receipts) == sum(windows_of(season).values())
    probes = pl.read_csv(season.results / "evaluation" / "probes.tsv", separator="\t")
    assert {"bird", "birdnet"} <= set(probes["space"])


def test_a_clustering_parameter_changed(season):
    season.configure(clustering={"k": 3})
    assert season.planned() == {
        "cluster": 1, "assign_day": DAYS, "attend": 1, "statistics": 1, "outliers": 1, "evaluate": 1, **AGGREGATES,
    }  # fmt: skip


def test_an_evaluation_parameter_changed(season):
    season.configure(evaluation={"neighbours": 3})
    assert season.planned() == {"evaluate": 1, **AGGREGATES}


def test_pace_is_no_parameter(season):
    season.configure(embedding={"batch_size": 7}, birdnet={"batch_size": 3})
    assert season.planned() == {}
    slower = {"micro_batch": 4, "compile": True, "feed": "stream", "monitors": {"probe_windows": 0}}
    slower["resources"] = {"gpus": 0, "memory_mb": 9000, "runtime_minutes": 33}
    season.configure(experiments={"one": {**season_experiment(season), **slower}})
    assert season.planned() == {}
    # Nor is a default that is written down.
    season.configure(experiments={"one": {**season_experiment(season), "seed": 0}})
    assert season.planned() == {}


def test_methods_times_sizes_are_trained_each_under_its_own_resources(season):
    wanted = {}
    for method in ("dino", "vicreg"):
        for number, size in enumerate(("vit_tiny", "vit_small", "vit_base"), start=1):
            resources = {"gpus": 1, "memory_mb": 8000 * number, "runtime_minutes": 60 * number}
            wanted[f"{method}_{size}"] = {
                "method": method,
                "backbone": size,
                "resources": {**resources, "threads": 1},
            }
    recipe = season_experiment(season)
    season.configure(experiments={"one": recipe, **wanted})
    assert season.planned("train") == {"train_experiment": 6, "train": 1}
    shown = season.run("--dry-run", "train")
    found = dict(
        re.findall(
            r"rule train_experiment:.*?wildcards: experiment=(\w+).*?resources: ([^\n]*)",
            shown,
            flags=re.DOTALL,
        )
    )
    assert found.keys() == wanted.keys()
    for name, told in found.items():
        asked = wanted[name]["resources"]
        assert f"mem_mb={asked['memory_mb']}," in told and "gpu=1" in told
        assert f"runtime={asked['runtime_minutes']}" in told


def test_a_deleted_store_is_made_again_and_nothing_else(season):
    store = next((season.results / "spectrograms").glob("*/*.zarr"))
    shutil.rmtree(store)
    assert season.planned("spectrograms") == {"spectrograms_day": 1, "spectrograms": 1}
    planned = season.planned()
    assert planned["spectrograms_day"] == 1
    assert not {"scan", "sample", "train_experiment", "birdnet_day", "cluster"} & set(planned)
    assert planned["embed_day"] == 1
    season.run("clusters")
    assert store.exists()
    assert season.planned("clusters") == {}


def test_a_new_day_hides_no_changed_parameter(season):
    """Both in one call: what the day needs, and the clusters fitted anew."""
    path = song_meter_recording(season)
    shutil.copy2(path, renamed(path, date="20210601"))
    season.configure(clustering={"k": 3})
    assert season.planned() == {
        **ONE_DAY, "cluster": 1, "assign_day": DAYS + 1, "attend": 1,
    }  # fmt: skip


def test_training_again_on_purpose(season):
    path = song_meter_recording(season)
    shutil.copy2(path, renamed(path, date="20210601"))
    season.configure(training_set={"edition": 2})
    planned = season.planned()
    assert (planned["sample"], planned["train_experiment"], planned["embed_day"]) == (1, 1, 5)


def test_passes_and_sweep_only_where_they_are_asked_for(season):
    season.configure(sweep={"enabled": True, "k": [2, 3], "seeds": 2, "windows": 40})
    assert season.planned() == {"sweep": 1, "snakemake_report": 1, "all": 1}
    season.configure(sweep={"enabled": False}, passes={"second": {"exclude": [0], "k": 2}})
    assert season.planned() == {
        "cluster_pass": 1, "assign_pass": DAYS, "snakemake_report": 1, "all": 1,
    }  # fmt: skip
    season.run("clusters")
    path = song_meter_recording(season)
    shutil.copy2(path, renamed(path, date="20210601"))
    assert season.planned("clusters") == {
        "scan": 1, "spectrograms_day": 1, "embed_day": 1, "assign_day": 1, "assign_pass": 1, "clusters": 1,
    }  # fmt: skip
    first = season.results / "one" / "clusters" / "clusters.json"
    before = first.read_bytes()
    season.configure(passes={"second": {"exclude": [0], "k": 3}})
    season.run("clusters")
    assert first.read_bytes() == before
    assert season.planned("clusters") == {}
    rows = pl.scan_parquet(season.results / "one/passes/second/*/*.parquet").collect()
    whole = pl.scan_parquet(season.results / "one/clusters/*/*.parquet").collect()
    assert rows.height == whole.filter(pl.col("cluster") != 0).height > 0
    assert rows["cluster"].n_unique() == 3


def test_labelled_sets_run_for_themselves(season, monkeypatch):
    """Stubs stand for what the jobs make: it is their reasons that are looked at."""
    clip = season.root / "clips" / "a.wav"
    clip.parent.mkdir()
    shutil.copy2(song_meter_recording(season), clip)
    labels = season.root / "labels.csv"
    labels.write_text("path,label\na.wav,wren\n")
    season.configure(labelled_sets={"clips": {"audio": "clips", "labels": "labels.csv"}})
    receipt = labelled_results(Results(Path("results")), "clips").evaluation_receipt
    with monkeypatch.context() as patch:
        patch.setenv(SWITCH, "1")
        assert season.counted(season.run(str(receipt))) == OF_SET
    # It is in the comparison, and no recorder-day runs it again.
    path = song_meter_recording(season)
    shutil.copy2(path, renamed(path, date="20210601"))
    assert season.planned() == ONE_DAY
    labels.write_text("path,label\na.wav,rail\n")
    assert season.planned() == {**ONE_DAY, **OF_SET}
