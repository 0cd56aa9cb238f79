"""The summary of a dry run, line by line, of graphs made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dawnchorus.overview.dry_run import summary, tell
from dawnchorus.overview.plan import Change, Plan, PlannedJob
from dawnchorus.results import RecorderDay, Results

from .season import DAYS, cards_of, inventory, note, settings_of, write

NEW = RecorderDay("B", "2021-05-26")


@pytest.fixture
def results(tmp_path) -> Results:
    return Results(tmp_path / "results")


def drawn(results, pool=DAYS, edition=1) -> None:
    days = [[day.recorder, day.date] for day in pool]
    write(results.training_receipt, {"edition": edition, "windows": 40, "pool": days})


def test_nothing_to_do(tmp_path, results):
    inventory(results)
    drawn(results)
    assert summary(Plan([], 2, False), settings_of(tmp_path), results, cards_of()) == [
        "Nothing would run: all that was asked for is there.",
        "Training set",
        "  the training set (edition 1) was drawn from all 4 recorder-days",
    ]


def test_a_new_day_on_a_cluster_with_what_is_left_out(tmp_path, results):
    inventory(results)
    drawn(results)
    for day in DAYS:
        note(results, f"spectrograms/{day}", 360.0, 180.0)
        verdict = {"verdict": "ok"}
        if day == DAYS[1]:
            verdict = {"verdict": "set aside", "reason": "none of 2 recordings is usable"}
        write(results.spectrograms_receipt(day), verdict)
        write(results.spectrograms(day) / "c" / "0", "x" * 2_000_000)
    jobs = [
        PlannedJob("scan", changes=(Change("season", "a", "b"),), submission=0),
        *(
            PlannedJob("spectrograms_day", day, missing=("x",), threads=1, submission=1)
            for day in [NEW, *(RecorderDay("C", f"2021-06-{n:02}") for n in range(10, 14))]
        ),
        PlannedJob("train_experiment", experiment="one", threads=4, submission=2),
        PlannedJob("snakemake_report"),
    ]
    settings = settings_of(tmp_path, audio={"min_age_hours": 2})
    pending = {RecorderDay("A", ""): 3, RecorderDay("B", "2021-05-27"): 1}
    cards = cards_of([*DAYS, *(job.day for job in jobs if job.day)], pending=pending)
    assert summary(Plan(jobs, 2, True), settings, results, cards) == [
        "What would run, and why",
        "  5 new recorder-days (B/2021-05-26 and 4 more)",
        "Jobs",
        "  inventory                 1 job",
        "  spectrograms              5 recorder-days",
        "  training                  1 job (one)",
        "  report                    1 job",
        "  8 jobs in all; 3 submissions to the scheduler (inventory 1, spectrograms 1, training 1); "
        "1 job runs where Snakemake runs",
        "What it takes",
        # 9 x 48 recordings at 0.408 ms
        "  inventory                 0 s                       benchmarks/results/scan.txt",
        "  spectrograms              15 min CPU, 10 MB         this season, mean of 4 jobs",
        "  unknown, not measured yet: training, report",
        # Five members of one thread on two cores: three layers of 6 min.
        "  what is known: 15 min CPU, 10 MB, 0.3 node-hours on nodes of 2 cores",
        "What is left out",
        "  pending: 4 recordings younger than 2 hours (audio.min_age_hours): A, B/2021-05-27",
        "  set aside: 1 recorder-day (A/2021-05-25): none of 2 recordings is usable",
        "Training set",
        "  5 of 9 recorder-days are not in the training set (55.6 %)",
    ]


def test_the_reference_season_from_the_benchmarks(tmp_path, results):
    days = [RecorderDay(f"R{n}", f"{20210000 + d}") for n in range(9) for d in range(101)]
    jobs = [PlannedJob("spectrograms_day", day, missing=("x",)) for day in days]
    told = summary(Plan(jobs, 2, False), settings_of(tmp_path), results, cards_of(days))
    # 909 x (5.1 s + 8 h x 0.84125 s/h) and 909 x 8 h x 27.15 MB/h
    assert told[told.index("What it takes") + 1] == (
        "  spectrograms              3.0 h CPU, 197 GB         benchmarks/results/spectrograms.txt; "
        "new recordings taken as 16-bit mono WAV at 44.1 kHz"
    )
    assert "  909 jobs in all; nothing goes to a scheduler" in told
    assert told[-1] == "  the training set is not drawn yet"


def test_the_staleness_of_the_reference_season(tmp_path, results):
    days = [RecorderDay(f"R{n:03}", "2021-05-24") for n in range(946)]
    drawn(results, days[:909])
    told = summary(Plan([], 2, False), settings_of(tmp_path), results, cards_of(days))
    assert told[-1] == "  37 of 946 recorder-days are not in the training set (3.9 %)"


def test_a_new_edition_is_told(tmp_path, results):
    drawn(results, DAYS[:3])
    jobs = [PlannedJob("sample"), PlannedJob("train_experiment", experiment="one")]
    settings = settings_of(tmp_path, training_set={"edition": 2})
    told = summary(Plan(jobs, 2, False), settings, results, cards_of())
    assert told[-2:] == [
        "  1 of 4 recorder-days is not in the training set (25.0 %)",
        "  edition 2 is drawn from all 4 recorder-days in this run",
    ]


def test_a_snakemake_that_does_not_tell(tmp_path, results):
    plan = Plan([PlannedJob("scan")], 2, None)
    told = summary(plan, settings_of(tmp_path), results, cards_of())
    assert (
        "  1 job in all; this Snakemake does not tell a dry run whether they go to a scheduler"
        in told
    )


@pytest.mark.parametrize(
    ("workflow", "words"),
    [
        ({"is_main_process": False}, ""),
        ({"is_main_process": True, "dryrun": False}, ""),
        ({"is_main_process": True, "dryrun": True, "scheduler": None}, ""),
        (
            {"is_main_process": True, "dryrun": True, "scheduler": 1},
            "dawnchorus: no summary: this Snakemake is built otherwise than known here",
        ),
        (
            {
                "is_main_process": True, "dryrun": True, "scheduler": 1,
                "output_settings": SimpleNamespace(quiet=None),
            },
            "dawnchorus: no summary: this Snakemake is built otherwise than known here",
        ),
    ],
    ids=["a job", "a real run", "it failed", "no settings", "no graph"],
)  # fmt: skip
def test_other_runs_and_other_snakemakes_are_not_disturbed(
    tmp_path, results, capsys, workflow, words
):
    tell(SimpleNamespace(**workflow), settings_of(tmp_path), results, cards_of())
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(words) and len(shown.err.splitlines()) == bool(words)
    assert not results.root.exists()
