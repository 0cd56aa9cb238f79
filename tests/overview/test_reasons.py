"""Why something runs: one line per cause, with exact words."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import settings as tried
from hypothesis import strategies as st

from dawnchorus.overview.plan import Change, PlannedJob
from dawnchorus.overview.reasons import flattened, reasons
from dawnchorus.results import RecorderDay

A, B, C, D = (RecorderDay(name, "2021-05-24") for name in "ABCD")


def settings(before, now):
    return Change("settings", json.dumps(before), json.dumps(now))


def test_nothing_has_no_reason():
    assert reasons([], {A}) == []
    # What only follows from another job is no reason.
    assert reasons([PlannedJob("evaluate"), PlannedJob("map", experiment="one")], {A}) == []


def test_a_first_run_says_what_is_new_and_not_every_file_that_is_missing():
    jobs = [
        PlannedJob("scan", missing=("recordings.parquet",)),
        *(PlannedJob("spectrograms_day", day, missing=("x.json",)) for day in (A, B, C, D)),
        *(PlannedJob("birdnet_day", day, missing=("y.json",)) for day in (A, B, C, D)),
        PlannedJob("train_experiment", experiment="one", missing=("model",)),
        PlannedJob("embed_day", A, "one", missing=("z.json",)),
        PlannedJob("evaluate", missing=("evaluation.json",)),
    ]
    assert reasons(jobs, None) == [
        "4 new recorder-days (A/2021-05-24 and 3 more)",
        "experiment one is not trained yet",
    ]


def test_a_run_that_was_interrupted_names_what_is_not_made_yet():
    jobs = [
        PlannedJob("spectrograms_day", A, missing=("a.json",)),
        PlannedJob("embed_day", A, "one", missing=("e.json",)),
        PlannedJob("embed_day", B, "one", missing=("e.json",)),
        PlannedJob("evaluate", missing=("evaluation.json",)),
        PlannedJob("spectrograms_day", C, missing=("c.json",)),
    ]
    assert reasons(jobs, {A, B}) == [
        "1 new recorder-day (C/2021-05-24)",
        "not made yet: spectrograms of 1 recorder-day, embeddings of 2 recorder-days, evaluation",
    ]


def test_recordings_that_changed_or_went():
    now = [Change("recordings", "f" * 32, "e" * 32)]
    jobs = [
        PlannedJob("scan", changes=(Change("season", "a", "b"),)),
        PlannedJob("spectrograms_day", A, changes=tuple(now)),
        PlannedJob("birdnet_day", A, changes=tuple(now)),
        PlannedJob(
            "spectrograms_day", B, changes=(Change("recordings", "f", "no recordings left"),)
        ),
    ]
    assert reasons(jobs, {A, B}) == [
        "1 recorder-day with changed recordings (A/2021-05-24)",
        "1 recorder-day without recordings now (B/2021-05-24)",
    ]
    assert reasons(jobs[:1], {A, B}) == ["the cards are not what they were at the last inventory"]


def test_settings_are_told_before_and_now_with_the_steps_that_ask():
    before = {"spectrogram": {"f_max": 15000.0, "mels": 128}}
    now = {"spectrogram": {"f_max": 14000.0, "mels": 128}}
    jobs = [PlannedJob("spectrograms_day", day, changes=(settings(before, now),)) for day in (A, B)]
    jobs.append(PlannedJob("sample", changes=(settings(before, now),)))
    assert reasons(jobs, {A, B}) == [
        "spectrogram.f_max 15000.0 -> 14000.0 (spectrograms, training set)"
    ]


def test_an_edition_comes_first_and_its_longer_list_of_days_is_no_reason_of_its_own():
    change = settings(
        {"training_set": {"edition": 1, "windows": 40}},
        {"training_set": {"edition": 2, "windows": 50}},
    )
    days = Change("days", "A/2021-05-24", "A/2021-05-24,B/2021-05-24")
    job = PlannedJob("sample", changes=(days, change), inputs_changed=True)
    assert reasons([job], {A, B}) == [
        "training set edition 2 (was 1)",
        "training_set.windows 40 -> 50 (training set)",
    ]
    alone = PlannedJob("sample", changes=(days,), inputs_changed=True)
    assert reasons([alone], {A, B}) == ["another list of recorder-days: training set"]
    new = PlannedJob("embed_day", C, "one", missing=("c.json",))
    assert reasons([alone, new], {A, B}) == ["1 new recorder-day (C/2021-05-24)"]


def test_the_rarer_reasons_each_have_their_words():
    jobs = [
        PlannedJob("spectrograms_day", A, data_deleted=True),
        PlannedJob("cluster", experiment="one", forced=True),
        PlannedJob("map", experiment="one", updated=("x",)),
        PlannedJob("evaluate", inputs_changed=True),
        PlannedJob("report", code_changed=True),
        PlannedJob("attend", experiment="one", software_changed=True),
    ]
    assert reasons(jobs, {A}) == [
        "1 recorder-day whose data was deleted (A/2021-05-24)",
        "asked for again: clusters: fit",
        "changed by hand, what is read by: map: placement",
        "other inputs than before: evaluation",
        "the workflow's own command changed: report",
        "another software environment: attention",
    ]


few = tried(max_examples=40, deadline=None)
values = st.recursive(
    st.none() | st.integers() | st.text("xyz", max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=6,
)


@few
@given(st.dictionaries(st.sampled_from("abc"), values))
def test_flattening_loses_no_leaf(sections):
    def leaves(value):
        if isinstance(value, dict) and value:
            return sum(map(leaves, value.values()))
        return 1

    assert len(flattened(json.dumps(sections))) == sum(map(leaves, sections.values()))


@few
@given(st.text())
def test_what_is_no_json_has_no_settings(text):
    assert isinstance(flattened(text), dict)
