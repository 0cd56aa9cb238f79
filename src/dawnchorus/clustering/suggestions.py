"""What a cluster might be called, and why.

In: :class:`Facts` of a cluster, all measured. Out: a :class:`Suggestion`: a kind, words for it, and the figures that
led there. A suggestion is a place to start listening, not a label: nothing downstream reads it.

The rules are tried in this order; the first that holds names the cluster (``docs/cards.md`` shows them as a table):

silence   at least half of the windows are silent, and no steady band stands out (a distant cricket is no silence)
rain      steady sound at 1 to 10 kHz at least 10 dB over the recorder's quiet, and brief sounds (drops) in at least 40 %
          of all quarter seconds
species   BirdNET finds one species in at least 30 % of the windows it heard, mean confidence at least 0.5
insects   a steady band at 2 to 12 kHz at least 8 dB over the rest and at most 1.3 octaves wide, quieter above and below; or sound that stands
          out in most quarter seconds, of a band at 2 to 12 kHz at most half an octave wide; unless they keep to dawn,
          as birds do
song      mean activity at least 0.15 dB
machine   a steady band below 1.5 kHz, at most half an octave wide, at least 8 dB over the bands on either side of it
broadband steady sound at 1 to 10 kHz at least 15 dB over the recorder's quiet, and at most 4 dB less than below 500 Hz
          (where wind has its power): rain without drops, or strong wind in leaves
wind      steady sound at 1 to 10 kHz at least 5 dB over the recorder's quiet (leaves and turbulence)
rumble    steady sound below 500 Hz at least 6 dB over it, and less than 5 dB above 1 kHz
quiet     nothing of all this: no more than the background
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from dawnchorus.clustering.looks import INSECT_HZ, Look

SILENT_SHARE = 0.5
RAIN_DB, RAIN_COVER = 10.0, 0.4
BROADBAND_DB, BROADBAND_UNDER_LOW_DB = 15.0, 4.0
SPECIES_SHARE, SPECIES_CONFIDENCE = 0.3, 0.5
INSECT_DB, INSECT_OCTAVES = 8.0, 1.3
PULSE_COVER, PULSE_OCTAVES = 0.6, 0.5
SONG_DB = 0.15
HUM_DB, HUM_OCTAVES = 8.0, 0.5
WIND_LOW_DB, WIND_BROAD_DB = 6.0, 5.0
NIGHT_SHARE, DAY_SHARE, DAWN_SHARE, ENRICHED = 0.7, 0.9, 0.4, 1.25
"""When the time is part of the name: so much of the cluster lies there, and so many times what of the recorded windows
lies there."""

KINDS = (
    "silence",
    "rain",
    "species",
    "insects",
    "song",
    "machine",
    "broadband",
    "wind",
    "rumble",
    "quiet",
    "unknown",
)


@dataclass(frozen=True)
class Facts:
    """What is known of a cluster; None where nothing is.

    Attributes
    ----------
    windows : int
    silent : float or None
        Share of its windows that are silent.
    activity : float or None
        Mean activity in dB.
    night, dawn : float
        Shares of its windows.
    season_night, season_dawn : float
        The same of all windows.
    species : (str, float, float) or None
        Its most frequent species in BirdNET's eyes: common name, share of the windows heard, mean confidence.
    detected : float or None
        Share of the windows heard with any detection.
    look : Look or None
        Of its most central windows.
    """

    windows: int
    silent: float | None
    activity: float | None
    night: float
    dawn: float
    season_night: float
    season_dawn: float
    species: tuple[str, float, float] | None
    detected: float | None
    look: Look | None


@dataclass(frozen=True)
class Suggestion:
    """A kind (:data:`KINDS`), words for people, and the evidence in words and numbers."""

    kind: str
    words: str
    evidence: tuple[str, ...]


def suggest(facts: Facts) -> Suggestion:
    """Return the first rule that holds, and its evidence."""
    if not facts.windows:
        return Suggestion("unknown", "empty", ("no window of the season is in it",))
    if facts.silent is not None and facts.silent >= SILENT_SHARE and not _has_band(facts.look):
        told = f"{percent(facts.silent)} of its windows are silent"
        return Suggestion("silence", "silence", (told,))
    when, when_evidence = _when(facts)
    for rule in (_rain, _species, _insects, _song, _machine, _broadband, _wind):
        found = rule(facts)
        if found is not None:
            kind, words, evidence = found
            # Weather and engines come at any hour; of living things the hour is half of the name.
            timed = kind in ("insects", "song") and when
            return Suggestion(
                kind, f"{words}, {when}" if timed else words, (*evidence, *when_evidence)
            )
    if facts.look is None:
        return Suggestion("unknown", "not looked at", ("its spectrograms are gone", *when_evidence))
    told = f"steady sound at 1 to 10 kHz {facts.look.broad_db:+.0f} dB re the recorder's quiet"
    return Suggestion("quiet", "quiet background", (*_activity(facts), told, *when_evidence))


def _when(facts: Facts) -> tuple[str, tuple[str, ...]]:
    """Name the time of day that a cluster keeps to, beside how much of it was recorded."""
    day, season_day = 1 - facts.night, 1 - facts.season_night
    for name, share, season, least in (
        ("dawn", facts.dawn, facts.season_dawn, DAWN_SHARE),
        ("night", facts.night, facts.season_night, NIGHT_SHARE),
        ("day", day, season_day, DAY_SHARE),
    ):
        if share >= least and share >= ENRICHED * season:
            told = f"{percent(share)} of its windows at {name}, of all recorded {percent(season)}"
            return name, (told.replace("at day", "by day"),)
    return "", ()


Found = tuple[str, str, tuple[str, ...]] | None


def _rain(facts: Facts) -> Found:
    look = facts.look
    if look is None or look.broad_db < RAIN_DB or look.brief_cover < RAIN_COVER:
        return None
    told = f"drops in {percent(look.brief_cover)} of all quarter seconds"
    return "rain", "rain", (_steady(look), told)


def _broadband(facts: Facts) -> Found:
    look = facts.look
    if look is None or look.broad_db < max(BROADBAND_DB, look.low_db - BROADBAND_UNDER_LOW_DB):
        return None
    return "broadband", "broadband noise: rain or strong wind", (*_activity(facts), _steady(look))


def _steady(look: Look) -> str:
    return (
        f"steady sound at 1 to 10 kHz {look.broad_db:+.0f} dB re the recorder's quiet, "
        f"below 500 Hz {look.low_db:+.0f} dB"
    )


def _has_band(look: Look | None) -> bool:
    return (
        look is not None and look.peak_db >= INSECT_DB and _octaves(look.peak_hz) <= INSECT_OCTAVES
    )


def _species(facts: Facts) -> Found:
    if facts.species is None:
        return None
    name, share, confidence = facts.species
    if share < SPECIES_SHARE or confidence < SPECIES_CONFIDENCE:
        return None
    told = f"BirdNET: {name} in {percent(share)} of its windows, mean confidence {confidence:.2f}"
    return "species", name, (told,)


def _insects(facts: Facts) -> Found:
    look = facts.look
    if look is None or _when(facts)[0] == "dawn":
        return None
    if _has_band(look):
        told = f"a steady band at {hertz(look.peak_hz)}, {look.peak_db:.0f} dB over the rest"
        return "insects", "insects", (told,)
    if look.event_hz is None or look.event_cover < PULSE_COVER:
        return None
    low, high = look.event_hz
    inside = INSECT_HZ[0] <= low and high <= INSECT_HZ[1]
    if inside and _octaves(look.event_hz) <= PULSE_OCTAVES:
        told = f"pulses at {hertz(look.event_hz)} in {percent(look.event_cover)} of all quarter seconds"
        return "insects", "insects", (told,)
    return None


def _song(facts: Facts) -> Found:
    if facts.activity is None or facts.activity < SONG_DB:
        return None
    evidence = list(_activity(facts))
    if facts.look is not None and facts.look.event_hz is not None:
        evidence.append(f"most of it at {hertz(facts.look.event_hz)}")
    if facts.detected is not None:
        evidence.append(f"BirdNET finds some species in {percent(facts.detected)} of its windows")
    return "song", "song or calls", tuple(evidence)


def _machine(facts: Facts) -> Found:
    look = facts.look
    if look is None or look.hum_db < HUM_DB or _octaves(look.hum_hz) > HUM_OCTAVES:
        return None
    told = f"a steady band at {hertz(look.hum_hz)}, {look.hum_db:.0f} dB over those on either side"
    return "machine", "machine hum", (told,)


def _wind(facts: Facts) -> Found:
    look = facts.look
    if look is None or (look.low_db < WIND_LOW_DB and look.broad_db < WIND_BROAD_DB):
        return None
    told = _steady(look)
    if look.broad_db < WIND_BROAD_DB:
        return "rumble", "low rumble: wind, engine or aircraft", (*_activity(facts), told)
    return "wind", "wind", (*_activity(facts), told)


def _activity(facts: Facts) -> tuple[str, ...]:
    return () if facts.activity is None else (f"mean activity {facts.activity:.2f} dB",)


def _octaves(band: tuple[float, float]) -> float:
    return math.log2(band[1] / band[0]) if band[0] > 0 else math.inf


def percent(share: float) -> str:
    """Return a share as people say it."""
    return f"{100 * share:.0f} %"


def hertz(band: tuple[float, float]) -> str:
    """Return a band as people say it: ``3.5 to 4.8 kHz``, ``about 120 Hz``."""
    unit, scale, digits = ("Hz", 1, 0) if band[1] < 1000 else ("kHz", 1000, 1)
    low, high = (f"{edge / scale:.{digits}f}" for edge in band)
    return f"about {low} {unit}" if low == high else f"{low} to {high} {unit}"
