"""Suggested descriptions: each rule alone, at its limits, and which wins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dawnchorus.clustering.looks import Look
from dawnchorus.clustering.suggestions import Facts, hertz, suggest

PLAIN = Look(
    windows=12,
    low_db=1.0,
    broad_db=1.0,
    peak_db=2.0,
    peak_hz=(3000.0, 9000.0),
    hum_db=2.0,
    hum_hz=(200.0, 230.0),
    event_hz=None,
    event_cover=0.0,
    brief_cover=0.1,
)
NOTHING = Facts(
    windows=500,
    silent=0.1,
    activity=0.02,
    night=0.4,
    dawn=0.1,
    season_night=0.4,
    season_dawn=0.1,
    species=None,
    detected=None,
    look=PLAIN,
)


def looking(**changes) -> Facts:
    return replace(NOTHING, look=replace(PLAIN, **changes))


RAIN = {"broad_db": 25.0, "low_db": 12.0, "brief_cover": 0.8}
CICADAS = {"peak_db": 20.0, "peak_hz": (6000.0, 8500.0)}
CRICKETS = {"event_hz": (4000.0, 4700.0), "event_cover": 0.8}
HUM = {"hum_db": 12.0, "hum_hz": (118.0, 150.0)}


@pytest.mark.parametrize(
    ("facts", "kind", "words"),
    [
        (NOTHING, "quiet", "quiet background"),
        (replace(NOTHING, silent=0.5), "silence", "silence"),
        (replace(NOTHING, silent=0.5, look=None), "silence", "silence"),
        # A steady band is heard, however faint.
        (replace(looking(**CICADAS), silent=1.0), "insects", "insects"),
        (looking(**RAIN), "rain", "rain"),
        (looking(broad_db=10.0, low_db=30.0, brief_cover=0.4), "rain", "rain"),
        # Without drops nobody can tell rain from wind in leaves; what has its power below is wind.
        (looking(broad_db=25.0, low_db=29.0), "broadband", "broadband noise: rain or strong wind"),
        (looking(broad_db=25.0, low_db=0.0), "broadband", "broadband noise: rain or strong wind"),
        (looking(broad_db=25.0, low_db=29.1), "wind", "wind"),
        (looking(broad_db=14.9, low_db=0.0), "wind", "wind"),
        (looking(broad_db=4.9, low_db=6.0), "rumble", "low rumble: wind, engine or aircraft"),
        (looking(**CICADAS), "insects", "insects"),
        (looking(peak_db=20.0, peak_hz=(3000.0, 8000.0)), "quiet", "quiet background"),
        (looking(**CRICKETS), "insects", "insects"),
        (looking(**(CRICKETS | {"event_cover": 0.5})), "quiet", "quiet background"),
        (looking(**(CRICKETS | {"event_hz": (1500.0, 2000.0)})), "quiet", "quiet background"),
        (looking(**HUM), "machine", "machine hum"),
        (looking(**(HUM | {"hum_hz": (100.0, 150.0)})), "quiet", "quiet background"),
        (replace(NOTHING, activity=0.15), "song", "song or calls"),
        (replace(NOTHING, species=("Sedge Wren", 0.3, 0.5)), "species", "Sedge Wren"),
        (replace(NOTHING, species=("Sedge Wren", 0.9, 0.49)), "quiet", "quiet background"),
        (replace(NOTHING, species=("Sedge Wren", 0.29, 0.9)), "quiet", "quiet background"),
        (replace(NOTHING, look=None), "unknown", "not looked at"),
        (replace(NOTHING, windows=0), "unknown", "empty"),
    ],
)
def test_each_rule(facts, kind, words):
    suggestion = suggest(facts)
    assert (suggestion.kind, suggestion.words) == (kind, words)
    assert all(suggestion.evidence)


def test_the_first_rule_that_holds_wins():
    everything = replace(
        NOTHING,
        silent=0.9,
        activity=1.0,
        species=("Sedge Wren", 0.9, 0.9),
        look=replace(PLAIN, **RAIN, **CICADAS, **HUM),
    )
    order = []
    for without in (
        {"look": replace(PLAIN, **CICADAS, **HUM)},
        {"species": None},
        {"look": replace(PLAIN, **HUM)},
        {"silent": 0.0},
        {"activity": 0.0},
        {"look": PLAIN},
    ):
        order.append(suggest(everything).kind)
        everything = replace(everything, **without)
    order.append(suggest(everything).kind)
    assert order == ["rain", "species", "insects", "silence", "song", "machine", "quiet"]


@pytest.mark.parametrize(
    ("night", "dawn", "words"),
    [
        (0.71, 0.0, "insects, night"),
        (0.69, 0.0, "insects"),
        (0.05, 0.0, "insects, day"),
    ],
)
def test_the_time_of_day_is_part_of_the_name_of_what_lives(night, dawn, words):
    facts = replace(looking(**CICADAS), night=night, dawn=dawn)
    assert suggest(facts).words == words
    assert suggest(replace(looking(**RAIN), night=night, dawn=dawn)).words == "rain"


def test_what_keeps_to_dawn_is_no_insect():
    facts = replace(looking(**CRICKETS), night=0.8, dawn=0.45, activity=0.3)
    assert suggest(facts).words == "song or calls, dawn"
    assert suggest(replace(facts, season_dawn=0.4)).words == "insects, night"


def test_no_time_of_day_where_only_that_time_was_recorded():
    facts = replace(looking(**CICADAS), night=0.9, season_night=0.88, dawn=0.0)
    assert suggest(facts).words == "insects"


def test_evidence_is_in_words_and_numbers():
    facts = replace(
        NOTHING, activity=0.456, detected=0.62, night=0.2, dawn=0.5, season_dawn=0.2,
        look=replace(PLAIN, event_hz=(2100.0, 5300.0)),
    )  # fmt: skip
    assert suggest(facts).words == "song or calls, dawn"
    assert suggest(facts).evidence == (
        "mean activity 0.46 dB",
        "most of it at 2.1 to 5.3 kHz",
        "BirdNET finds some species in 62 % of its windows",
        "50 % of its windows at dawn, of all recorded 20 %",
    )
    assert suggest(looking(**RAIN)).evidence == (
        "steady sound at 1 to 10 kHz +25 dB re the recorder's quiet, below 500 Hz +12 dB",
        "drops in 80 % of all quarter seconds",
    )


def test_bands_as_people_say_them():
    assert hertz((118.4, 152.0)) == "118 to 152 Hz"
    assert hertz((420.0, 1300.0)) == "0.4 to 1.3 kHz"
    assert hertz((4230.0, 4240.0)) == "about 4.2 kHz"
