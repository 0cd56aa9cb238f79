"""What jobs take: means of measurements, or a benchmark that is named, or nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from dawnchorus.overview.plan import PlannedJob
from dawnchorus.overview.rates import Amounts, Cost, Rates, read_note, shipped, size_of
from dawnchorus.results import RecorderDay, Results

from .season import DAYS, note, settings_of, write

few = tried(max_examples=40, deadline=None)
BENCHMARKS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.fixture
def results(tmp_path) -> Results:
    return Results(tmp_path / "results")


def rates(tmp_path, results, **sections):
    amounts = Amounts(dict.fromkeys(DAYS, 8.0), 43_632)
    return Rates(settings_of(tmp_path, **sections), results, amounts)


def test_what_ships_is_what_the_benchmarks_printed():
    text = (BENCHMARKS / "spectrograms.txt").read_text()
    sound, clock, cpu = map(
        float,
        re.search(r"^ours .*: ([\d,]+) s of sound in ([\d.]+) s, ([\d.]+) CPU s", text, re.M)[0]
        .replace(",", "")
        .split(": ")[1]
        .replace(" s of sound in", "")
        .replace(" s", "")
        .replace(" CPU", "")
        .split(),
    )
    start = float(re.search(r"of which ([\d.]+) s are its start", text)[1])
    store = float(re.search(r"store: ([\d.]+) MB", text)[1])
    rate = shipped()["spectrograms_day"]
    assert rate["seconds"] == {"per_job": start, "per_hour": pytest.approx(clock * 3600 / sound)}
    assert rate["cpu_seconds"] == {"per_job": start, "per_hour": pytest.approx(cpu * 3600 / sound)}
    assert rate["megabytes"] == {"per_hour": pytest.approx(store * 3600 / sound)}
    scan = json.loads((BENCHMARKS / "scan.txt").read_text().splitlines()[-1])
    per_recording = shipped()["scan"]["seconds"]["per_recording"]
    assert per_recording == pytest.approx(scan["first_scan_s"] / scan["recordings"], rel=1e-3)
    for rate in shipped().values():
        assert (BENCHMARKS.parents[1] / rate["source"]).is_file()


def test_without_a_measurement_there_is_a_benchmark_or_nothing(tmp_path, results):
    costs = rates(tmp_path, results)
    assert costs.of(PlannedJob("spectrograms_day", DAYS[0])) == Cost(
        seconds=pytest.approx(5.1 + 8 * 0.85),
        cpu_seconds=pytest.approx(5.1 + 8 * 0.84125),
        megabytes=pytest.approx(8 * 27.15),
        source="benchmarks/results/spectrograms.txt",
    )
    scan = costs.of(PlannedJob("scan"))
    assert scan.seconds == pytest.approx(17.8, abs=0.01)
    assert scan.cpu_seconds is None and scan.megabytes is None
    for rule in ("birdnet_day", "train_experiment", "embed_day", "a_rule_of_tomorrow"):
        assert costs.of(PlannedJob(rule, DAYS[0], "one")) is None
    # How long a recorder-day is that nobody knows, nobody can say.
    assert costs.of(PlannedJob("spectrograms_day", RecorderDay("Z", "2021-01-01"))) is None


def test_the_seasons_own_jobs_come_first(tmp_path, results):
    for day, seconds, cpu in ((DAYS[0], 10.0, 4.0), (DAYS[1], 20.0, "NA"), (DAYS[2], 30.0, 8.0)):
        note(results, f"spectrograms/{day}", seconds, cpu)
        write(results.spectrograms(day) / "c" / "0", "x" * 1_000_000)
        write(results.spectrograms_receipt(day), "y" * 500_000)
    note(results, f"embed/two/{DAYS[0]}", 7.0, 7.0)
    costs = rates(tmp_path, results)
    assert costs.of(PlannedJob("spectrograms_day", DAYS[3])) == Cost(
        20.0, 6.0, 1.5, "this season, mean of 3 jobs"
    )
    assert costs.of(PlannedJob("embed_day", DAYS[3], "two")) == Cost(
        7.0, 7.0, None, "this season, mean of 1 job"
    )
    # Another experiment's embeddings say nothing of these.
    assert costs.of(PlannedJob("embed_day", DAYS[3], "one")) is None


def test_a_training_goes_at_the_pace_of_the_last_one_of_its_kind(tmp_path, results):
    experiment = {
        "recipe": "none", "method": "dino", "backbone": "vit_tiny", "epochs": 3, "batch_size": 100,
        "precision": "fp32",
    }  # fmt: skip
    sections = {"experiments": {"one": experiment}, "training_set": {"windows": 1050}}
    paths = results.experiment("one")
    job = PlannedJob("train_experiment", experiment="one")
    entries = [{"step": step, "windows_per_second": 5.0 * step} for step in (1, 2, 3)]
    write(paths.log, "".join(json.dumps(entry) + "\n" for entry in entries))
    assert rates(tmp_path, results, **sections).of(job) is None
    values = {"method": "dino", "backbone": "vit_tiny", "patch": [16, 16], "precision": "fp32"}
    wanted = settings_of(tmp_path, **sections).experiment("one").model_dump(mode="json")
    values["patch"] = wanted["patch"]
    recipe = {key: {"value": value} for key, value in {**values, "batch_size": 100}.items()}
    write(paths.recipe, {"settings": recipe, "windows": 1050})
    note(results, "train/one", 50.0, 100.0)
    # 30 whole batches of 100 at 10 windows/s; twice as much CPU as time.
    assert rates(tmp_path, results, **sections).of(job) == Cost(
        300.0, 600.0, None, "the last training's 10 windows/s"
    )
    experiment["backbone"] = "vit_small"
    assert rates(tmp_path, results, **sections).of(job) is None


@few
@given(st.text() | st.just("s\tcpu_time\n") | st.text("s\tcpu_time\n0123456789.-NAe"))
def test_a_note_is_numbers_or_nothing(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("note", numbered=True) / "note.tsv"
    path.write_text(text, encoding="utf-8", errors="replace")
    took = read_note(path)
    assert took is None or (0 <= took[0] < float("inf") and (took[1] is None or took[1] >= 0))


@few
@given(
    seconds=st.floats(0, 1e6),
    cpu=st.none() | st.floats(0, 1e6),
    columns=st.permutations(["s", "h:m:s", "max_rss", "cpu_time"]),
)
def test_a_note_is_read_by_its_heads(tmp_path_factory, seconds, cpu, columns):
    path = tmp_path_factory.mktemp("note", numbered=True) / "note.tsv"
    row = {
        "s": seconds,
        "h:m:s": "0:00:01",
        "max_rss": "-",
        "cpu_time": "NA" if cpu is None else cpu,
    }
    path.write_text("\t".join(columns) + "\n" + "\t".join(str(row[c]) for c in columns) + "\n")
    assert read_note(path) == (seconds, cpu)


def test_sizes_are_of_all_files_below(tmp_path):
    write(tmp_path / "a" / "b" / "c", "12345")
    write(tmp_path / "a" / "d", "123")
    assert size_of(tmp_path / "a") == 8
    assert size_of(tmp_path / "a" / "d") == 3
    assert size_of(tmp_path / "gone") == 0
