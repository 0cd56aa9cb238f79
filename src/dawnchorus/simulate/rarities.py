"""What is rare in a season on purpose, so that a search for outliers can be judged.

In: a plan with ``rarities``. Out: five calls of a species that is otherwise not there, each in another
recording, and one recorder-day whose microphone is muffled (a wet or covered membrane: 30 dB less, and
nothing above 2.5 kHz). Drawn from a random stream of its own: every other recording of the season has the
bytes it has without.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from dawnchorus.simulate.plan import RARE_CALLS, RARITIES, SeasonPlan
from dawnchorus.simulate.recorders import Recorder, recorder_of
from dawnchorus.simulate.scene import Individual, Scene, Song
from dawnchorus.simulate.species import Rendition, Species, Voice

RARE_SPECIES = "siren howler"
FAULT = "muffled microphone"
MUFFLED_DB, MUFFLED_HZ = 30.0, 2500.0
NEAREST_M, FARTHEST_M = 12.0, 30.0
ROOM_S = 3.2
"""From a call's start to the recording's end at least: it is there whole."""


def _siren(song: Rendition) -> None:
    """One long wail that rises and falls, with seven harmonics."""
    contour = (520.0, 900.0, 1350.0, 1420.0, 1100.0, 640.0)
    stack = (1.0, 0.7, 0.5, 0.5, 0.35, 0.25, 0.15)
    song.sing(0.0, 2.1, contour, 1.0, stack, vibrato=(6.0, 0.02), flanks=(0.1, 0.2))


SIREN = Species(RARE_SPECIES, _siren, 60.0, -22.0, 0.0, 0.0, 0.0, 0.0)
VOICE = Voice(pitch=1.0, tempo=1.0, repeats=0, accent=0.0, loudness_db=0.0)


@dataclass(frozen=True)
class Rarities:
    """Where what is rare lies.

    Parameters
    ----------
    calls : dict
        By recorder's number, day and number of the recording within the day, each from 0.
    faulty : (int, int)
        Recorder's number and day of the muffled microphone.
    """

    calls: dict[tuple[int, int, int], Song]
    faulty: tuple[int, int]


def rarities_of(plan: SeasonPlan) -> Rarities | None:
    """Draw what is rare in a season; None if nothing is to be."""
    if not plan.rarities:
        return None
    random = plan.random(RARITIES)
    days = [(number, day) for number in range(plan.recorders) for day in range(plan.days)]
    faulty = days[int(random.integers(len(days)))]
    free = [
        (*day, position) for day in days if day != faulty for position in range(plan.recordings)
    ]
    drawn = sorted(random.choice(len(free), RARE_CALLS, replace=False).tolist())
    calls = {}
    for place in (free[index] for index in drawn):
        name = f"{recorder_of(plan, place[0]).name}-{RARE_SPECIES.replace(' ', '-')}-1"
        distance = float(random.uniform(NEAREST_M, FARTHEST_M))
        moment = float(random.uniform(0.2, plan.seconds - ROOM_S))
        bird = Individual(name, SIREN, VOICE, distance, 0.0)
        calls[place] = Song(moment, bird, distance, int(random.integers(0, 2**63)))
    return Rarities(calls, faulty)


def with_call(scene: Scene, call: Song | None) -> Scene:
    """Add a call to a scene."""
    if call is None:
        return scene
    songs = sorted([*scene.songs, call], key=lambda song: (song.start_s, song.individual.name))
    return dataclasses.replace(scene, songs=tuple(songs))


def muffled(recorder: Recorder) -> Recorder:
    """Return a recorder with a muffled microphone; its electronics are as they were."""
    return dataclasses.replace(
        recorder,
        gain_db=recorder.gain_db - MUFFLED_DB,
        low_pass_hz=min(recorder.low_pass_hz, MUFFLED_HZ),
    )
