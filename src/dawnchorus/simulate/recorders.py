"""The recorders of a season and where they stand.

In: a plan. Out: one :class:`Recorder` each, with its own gain, noise floor, frequency response,
schedule and habitat, drawn from the plan's seed and the recorder's number only: a season with more
recorders has the same first ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dawnchorus.simulate.plan import RECORDER, Convention, SeasonPlan


@dataclass(frozen=True)
class Habitat:
    """What the vegetation does to sound.

    Parameters
    ----------
    name : str
        As it stands in the deployments table.
    absorption : float
        Decibels per metre at 1 kHz lost to leaves and ground, growing with frequency ** 0.7.
    reverberation_s : float
        Time in which an echo falls by 60 dB.
    echo_db : float
        Level of the echo, re the direct sound, at 100 m.
    ambience_db : float
        Level of the far-off rumble, dB re full scale (RMS 1) before the recorder's gain.
    """

    name: str
    absorption: float
    reverberation_s: float
    echo_db: float
    ambience_db: float


HABITATS = (
    Habitat("deciduous forest", 0.045, 0.32, -7.0, -56.0),
    Habitat("tallgrass prairie", 0.012, 0.08, -20.0, -52.0),
    Habitat("marsh edge", 0.018, 0.12, -16.0, -58.0),
    Habitat("conifer plantation", 0.055, 0.26, -9.0, -60.0),
    Habitat("oak savanna", 0.025, 0.18, -13.0, -54.0),
)


@dataclass(frozen=True)
class Recorder:
    """One device at its site.

    Parameters
    ----------
    name : str
        Its id: the name of its card.
    number : int
        Its position in the season, part of the keys of its random streams.
    convention : {"audiomoth", "songmeter", "frontierlabs"}
        How it names its files.
    serial, prefix : str
        AudioMoth's serial number, Song Meter's prefix.
    gain_db : float
        Amplification of everything that comes through the microphone.
    floor_db : float
        Level of the electronics' noise in the file, dB re full scale (RMS 1).
    floor_corner_hz : float
        Below this frequency the electronics' noise rises by 3 dB per octave.
    high_pass_hz, low_pass_hz, tilt_db, peak_hz, peak_db : float
        Frequency response: see :meth:`response_db`.
    twilight_share, phase_minutes : float, int
        Its own schedule.
    habitat : Habitat
        What it stands in.
    latitude, longitude : float
        Where, in degrees.
    """

    name: str
    number: int
    convention: Convention
    serial: str
    prefix: str
    gain_db: float
    floor_db: float
    floor_corner_hz: float
    high_pass_hz: float
    low_pass_hz: float
    tilt_db: float
    peak_hz: float
    peak_db: float
    twilight_share: float
    phase_minutes: int
    habitat: Habitat
    latitude: float
    longitude: float

    def response_db(self, hertz: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the microphone's frequency response in decibels, without the gain.

        A second-order high-pass, a fourth-order low-pass, a tilt around 2 kHz (dB per octave) and
        a resonance one third of an octave wide.
        """
        f = np.maximum(hertz, 1.0).astype(np.float64)
        octaves = np.log2(f / 2000.0)
        response = -10 * np.log10(1 + (self.high_pass_hz / f) ** 4)
        response -= 10 * np.log10(1 + (f / self.low_pass_hz) ** 8)
        response += self.tilt_db * np.clip(octaves, -4, 4)
        response += self.peak_db * np.exp(-0.5 * (np.log2(f / self.peak_hz) / 0.33) ** 2)
        return response.astype(np.float32)

    @property
    def gain_setting(self) -> str:
        """The gain in the words of an AudioMoth."""
        if self.gain_db < -2:
            return "low"
        return "medium" if self.gain_db < 3 else "high"


def recorder_of(plan: SeasonPlan, number: int) -> Recorder:
    """Return recorder ``number`` (from 0) of a season."""
    random = plan.random(RECORDER, number)
    # Neighbouring recorders are far apart in floor and gain, and vary around that: a season of
    # three has a quiet, a middling and a noisy one.
    step = number % 3
    return Recorder(
        name=f"REC{number + 1:02d}",
        number=number,
        convention=plan.conventions[number % len(plan.conventions)],
        serial=f"{random.integers(0x2400_0000_0000_0000, 0x24FF_FFFF_FFFF_FFFF):016X}",
        prefix=f"SM4A{random.integers(1000, 9999):05d}",
        gain_db=(-3.0, 1.0, 5.0)[step] + random.uniform(-1.2, 1.2),
        floor_db=(-78.0, -71.0, -66.0)[(number + number // 3) % 3] + random.uniform(-1.5, 1.5),
        floor_corner_hz=random.uniform(100, 900),
        high_pass_hz=random.uniform(40, 220),
        low_pass_hz=random.uniform(11_000, 19_000),
        tilt_db=(0.6, -0.9, -0.1)[step] + random.uniform(-0.3, 0.3),
        peak_hz=random.uniform(2500, 9500),
        peak_db=random.uniform(2.0, 7.0),
        twilight_share=random.uniform(0.6, 0.75),
        phase_minutes=int(random.integers(-8, 9)),
        habitat=HABITATS[number % len(HABITATS)],
        latitude=float(np.clip(plan.latitude + random.uniform(-0.03, 0.03), -90, 90)),
        longitude=float(np.clip(plan.longitude + random.uniform(-0.04, 0.04), -180, 180)),
    )


def recorders_of(plan: SeasonPlan) -> list[Recorder]:
    """Return all recorders of a season."""
    return [recorder_of(plan, number) for number in range(plan.recorders)]
