"""What happens in front of a recorder: who sings when, and which noise goes on.

In: a plan, a recorder, a date, the start times. Out: one :class:`Scene` per recording: songs with
singer, distance and moment, and stretches of noise with their envelopes; nothing of it is sound yet.
Weather is drawn per day and the same at all recorders; insects, aircraft and birds are each
recorder's own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.simulate.noise import (
    AIRCRAFT,
    CICADAS,
    CRICKETS,
    RAIN,
    SILENCE,
    WIND,
    Kind,
    wander,
)
from dawnchorus.simulate.plan import RECORDER, SCENE, WEATHER, SeasonPlan
from dawnchorus.simulate.recorders import Recorder
from dawnchorus.simulate.schedule import Sun, sun_of
from dawnchorus.simulate.species import CATALOGUE, Species, Voice, draw_voice

SONGS_PER_SECOND = 0.85
"""Songs within earshot, audible or buried, at the height of the dawn chorus."""
SONGS_PER_BOUT = 5
"""A bird that sings goes on for a while: mean number of songs in a row."""
POINTS_PER_SECOND = 2
"""Resolution of the noise's envelopes."""


@dataclass(frozen=True)
class Individual:
    """A bird that lives within earshot.

    Parameters
    ----------
    name : str
        Unique within the season.
    species : Species
        Its kind.
    voice : Voice
        What is its own in its songs.
    distance_m : float
        Median distance of its song posts.
    weight : float
        How much it sings, re the others at the recorder.
    """

    name: str
    species: Species
    voice: Voice
    distance_m: float
    weight: float


@dataclass(frozen=True)
class Song:
    """One song to be sung.

    Parameters
    ----------
    start_s : float
        Seconds from the recording's start.
    individual : Individual
        Who sings.
    distance_m : float
        From where.
    seed : int
        Of this rendition.
    """

    start_s: float
    individual: Individual
    distance_m: float
    seed: int


@dataclass(frozen=True)
class Stretch:
    """A noise that goes on for some time within one recording.

    Parameters
    ----------
    kind : Kind
        Which noise.
    start_s, end_s : float
        Seconds from the recording's start.
    level_db : ndarray of float32
        Level, dB re full scale (RMS 1) before the recorder's gain, at equally spaced moments from
        start to end.
    place : int
        Where its loop is read from.
    """

    kind: Kind
    start_s: float
    end_s: float
    level_db: NDArray[np.float32]
    place: int


@dataclass(frozen=True)
class Scene:
    """All that sounds in one recording, songs sorted by start."""

    songs: tuple[Song, ...]
    noises: tuple[Stretch, ...]
    ambience_db: NDArray[np.float32]
    """Level of the far rumble at equally spaced moments of the recording."""


@dataclass(frozen=True)
class Weather:
    """One day's weather: rain spells in local hours and wind by the hour."""

    rain: tuple[tuple[float, float, float], ...]
    """Start and end in hours, level in dB."""
    wind_db: NDArray[np.float32]
    """Level at 25 full hours."""
    celsius: float


def weather_of(plan: SeasonPlan, day: int) -> Weather:
    """Return the weather of day ``day`` (from 0): the same for all recorders."""
    random = plan.random(WEATHER, day)
    spells = []
    for _ in range(int(random.choice([0, 1, 1, 2, 2, 3]))):
        start = random.uniform(0, 23)
        spells.append((start, start + random.uniform(0.7, 2.5), random.uniform(-50, -33)))
    hours = np.arange(25)
    calm = -62 + 14 * np.exp(-0.5 * ((hours - 14.5) / 3.5) ** 2) + random.normal(0, 4)
    wind = calm + wander(random, 25, 0.5, 5.0)
    return Weather(tuple(spells), wind.astype(np.float32), float(random.uniform(9, 27)))


def residents(plan: SeasonPlan, recorder: Recorder) -> list[Individual]:
    """Return the birds within earshot of a recorder: its own subset and abundances of species."""
    random = plan.random(RECORDER, recorder.number, 1)
    abundance = np.maximum(random.gamma(2.2, 1.0, plan.species), 0.3)
    # A quarter of the species is missing, but each has one recorder in three where it is at home.
    missing = random.permutation(plan.species)[: plan.species // 4]
    homes = min(3, plan.recorders)
    for number in missing:
        if number % homes != recorder.number % homes:
            abundance[number] = 0.0
    birds = []
    for number, species in enumerate(CATALOGUE[: plan.species]):
        if not abundance[number]:
            continue
        count = int(random.integers(1, 4))
        for bird in range(count):
            distance = float(np.clip(random.lognormal(np.log(45), 0.7), 8, 320))
            voice = draw_voice(random)
            name = f"{recorder.name}-{species.name.replace(' ', '-')}-{bird + 1}"
            weight = float(abundance[number]) / count
            birds.append(Individual(name, species, voice, distance, weight))
    return birds


def readiness(species: Species, hour: float, sun: Sun) -> float:
    """Return how readily a species sings at a local hour, 0 to about 1."""
    dawn = np.exp(-0.5 * ((hour - sun.rise - 0.5) / 1.1) ** 2)
    dusk = np.exp(-0.5 * ((hour - sun.set + 0.2) / 0.6) ** 2)
    up = 1 / (1 + np.exp(-4 * (hour - sun.rise))) / (1 + np.exp(-4 * (sun.set - hour)))
    return float(
        species.dawn * dawn
        + 0.32 * species.day * up * (1 - dawn) * (1 - dusk)
        + 0.75 * species.dusk * dusk
        + 0.2 * species.night * (1 - up)
    )


def _songs(
    random: np.random.Generator,
    birds: Sequence[Individual],
    hour: float,
    sun: Sun,
    seconds: float,
    damping: float,
    silences: Sequence[tuple[float, float]],
) -> list[Song]:
    """Draw the songs of one recording: bouts of Poisson number, each of one bird."""
    weights = np.array([bird.weight * readiness(bird.species, hour, sun) for bird in birds])
    total = weights.sum() / max(sum(bird.weight for bird in birds), 1e-9)
    if total <= 0:
        return []
    # A bout that began before the recording did reaches into it.
    lead = SONGS_PER_BOUT * 6.0
    expected = SONGS_PER_SECOND * total * damping * (seconds + lead) / SONGS_PER_BOUT
    songs: list[Song] = []
    taken: dict[str, list[tuple[float, float]]] = {}
    for _ in range(int(random.poisson(expected))):
        bird = birds[int(random.choice(len(birds), p=weights / weights.sum()))]
        moment = float(random.uniform(-lead, seconds))
        distance = bird.distance_m * float(random.lognormal(0, 0.2))
        in_row = int(random.geometric(1 / SONGS_PER_BOUT))
        gaps = bird.species.interval_s * random.lognormal(0, 0.25, in_row) / bird.voice.tempo
        seeds = random.integers(0, 2**63, in_row)
        span = (moment, moment + float(gaps.sum()))
        others = taken.setdefault(bird.name, [])
        if any(span[0] < end and start < span[1] for start, end in others):
            continue  # a bird does not sing over itself
        others.append(span)
        for gap, seed in zip(gaps, seeds, strict=True):
            quiet = any(start - 3.0 < moment < end for start, end in silences)
            if 0 <= moment < seconds and not quiet:
                songs.append(Song(moment, bird, distance, int(seed)))
            # Even the quickest starter lets its song end first (none is longer than 3 s).
            moment += max(float(gap), 3.2)
    return sorted(songs, key=lambda song: (song.start_s, song.individual.name))


def _points(seconds: float) -> int:
    return max(2, round(seconds * POINTS_PER_SECOND) + 1)


def _flanked(
    level: NDArray[np.float32], moments: NDArray[np.float64], whole_s: float, flank_s: float
) -> NDArray[np.float32]:
    """Let a level rise from and fall to 40 dB less at the ends of what lasts ``whole_s``."""
    edge = np.minimum(moments, whole_s - moments) / flank_s
    return (level - 40 * np.clip(1 - edge, 0, 1)).astype(np.float32)


def _noises(
    random: np.random.Generator,
    weather: Weather,
    hour: float,
    sun: Sun,
    seconds: float,
    habits: tuple[float, float],
) -> list[Stretch]:
    """Draw the noises of one recording; ``habits``: how common crickets and cicadas are here."""

    def stretch(kind: Kind, start: float, end: float, level: NDArray[np.float32]) -> Stretch:
        return Stretch(kind, start, end, level, int(random.integers(0, 2**31)))

    noises = []
    hours = seconds / 3600
    for begin, stop, level in weather.rain:
        whole = 3600 * (stop - begin)
        first, last = max(0.0, (begin - hour) * 3600), min(seconds, (stop - hour) * 3600)
        if last - first > 1:
            changing = level + wander(random, _points(last - first), 0.97, 3.0)
            moments = np.linspace(first, last, len(changing)) - (begin - hour) * 3600
            noises.append(stretch(RAIN, first, last, _flanked(changing, moments, whole, 12.0)))
    wind_db = float(np.interp(hour + hours / 2, np.arange(25), weather.wind_db))
    if wind_db > -56:
        gusts = wander(random, _points(seconds), 0.9, 6.0)
        noises.append(stretch(WIND, 0.0, seconds, wind_db + 12 + gusts))
    night = hour < sun.rise - 0.3 or hour > sun.set - 0.5
    warm = float(np.clip((weather.celsius - 8) / 14, 0, 1))
    if night and random.random() < 0.35 + 0.5 * habits[0] * warm:
        steady = np.full(_points(seconds), random.uniform(-58, -44), np.float32)
        noises.append(stretch(CRICKETS, 0.0, seconds, steady))
    if sun.rise + 3 < hour < sun.set - 0.5 and random.random() < 0.2 + 0.7 * habits[1] * warm:
        first = float(random.uniform(0, 0.5 * seconds))
        last = min(seconds, first + float(random.uniform(15, 60)))
        steady = np.full(_points(last - first), random.uniform(-58, -46), np.float32)
        moments = np.linspace(0, last - first, len(steady))
        swelling = _flanked(steady, moments, last - first, 4.0)
        noises.append(stretch(CICADAS, first, last, swelling))
    rate = 1.0 if 6 < hour < 23 else 0.25
    for _ in range(int(random.poisson(2.2 * rate * (hours + 1 / 60)))):
        length = float(random.uniform(35, 90))
        loudest = float(random.uniform(-42, -28))
        first = float(random.uniform(-length / 2, seconds))
        start, end = max(0.0, first), min(seconds, first + length)
        if end - start > 5:
            passed = (np.linspace(start, end, _points(end - start)) - first) / length
            passing = loudest + 24 * (np.sin(np.pi * passed) - 1)
            noises.append(stretch(AIRCRAFT, start, end, passing.astype(np.float32)))
    return noises


def scenes_of_day(
    plan: SeasonPlan, recorder: Recorder, day: int, starts: Sequence[dt.datetime]
) -> list[Scene]:
    """Return the scenes of a recorder-day, one per start time."""
    sun = sun_of(plan.dates[day], plan.latitude, plan.longitude, plan.zone)
    weather = weather_of(plan, day)
    birds = residents(plan, recorder)
    site = plan.random(RECORDER, recorder.number, 2)
    habits = (float(site.random()), float(site.random()))
    scenes = []
    for number, start in enumerate(starts):
        random = plan.random(SCENE, recorder.number, day, number)
        hour = start.hour + start.minute / 60 + start.second / 3600
        noises = _noises(random, weather, hour, sun, plan.seconds, habits)
        raining = any(noise.kind is RAIN for noise in noises)
        silences: list[tuple[float, float]] = []
        if not noises and plan.seconds >= 30 and random.random() < 0.6:
            length = float(random.uniform(12, 40))
            first = float(random.uniform(0, max(1.0, plan.seconds - length)))
            silences.append((first, min(plan.seconds, first + length)))
        songs = _songs(random, birds, hour, sun, plan.seconds, 0.45 if raining else 1.0, silences)
        ambience = recorder.habitat.ambience_db + wander(random, _points(plan.seconds), 0.98, 2.0)
        moments = np.linspace(0, plan.seconds, len(ambience))
        for first, last in silences:
            ambience[(moments >= first) & (moments <= last)] -= 25
            level = np.zeros(2, np.float32)
            noises.append(Stretch(SILENCE, first, last, level, 0))
        scenes.append(Scene(tuple(songs), tuple(noises), ambience))
    return scenes
