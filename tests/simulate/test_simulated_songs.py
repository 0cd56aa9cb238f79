"""Songs, their boxes, their way to the recorder, their signal-to-noise ratio."""

import numpy as np
import pytest
import scipy.signal

from dawnchorus.simulate.plan import RECORDER, SAMPLE_RATE, SeasonPlan
from dawnchorus.simulate.propagation import (
    LONGEST_SAMPLES,
    TAIL_SAMPLES,
    SoundPath,
    absorption_db_per_m,
    band_power,
    boxed,
    signal_to_noise_db,
)
from dawnchorus.simulate.recorders import recorder_of
from dawnchorus.simulate.songs import Note, render, render_note
from dawnchorus.simulate.species import CATALOGUE, Voice, draw_voice


def share_inside(samples, start_s, end_s, low_hz, high_hz):
    """Share of the energy in a box, by a short-time transform of our own choosing."""
    quiet = np.zeros(SAMPLE_RATE // 2, np.float32)
    padded = np.concatenate([quiet, samples, quiet])
    hertz, moments, spectrum = scipy.signal.stft(padded, SAMPLE_RATE, nperseg=1024, noverlap=768)
    energy = np.abs(spectrum) ** 2
    moments = moments - 0.5
    # Half a frame and half a bin of slack: the transform itself smears by that much.
    rows = (hertz >= low_hz - 43) & (hertz <= high_hz + 43)
    columns = (moments >= start_s - 0.012) & (moments <= end_s + 0.012)
    return energy[rows][:, columns].sum() / energy.sum()


@pytest.fixture(scope="module")
def way():
    plan = SeasonPlan(seed=3)
    return SoundPath(recorder_of(plan, 0), plan.random(RECORDER, 0, 3))


@pytest.mark.parametrize("species", CATALOGUE, ids=lambda species: species.name)
@pytest.mark.parametrize("distance", [10.0, 130.0])
def test_the_box_holds_the_song_and_is_not_the_whole_recording(species, distance, way):
    random = np.random.default_rng(11)
    for _ in range(3):
        voice = draw_voice(random)
        arrival = way.arrive(render(species.notes(voice, random)), species.level_db, distance)
        box = (arrival.start_s, arrival.end_s, arrival.low_hz, arrival.high_hz)
        assert share_inside(arrival.samples, *box) > 0.9
        assert arrival.low_hz > 900 or species.name in {"nasal stacker"}
        assert arrival.high_hz < 9_500
        assert 0.25 < arrival.end_s - arrival.start_s < 3.2
        # It is no looser than it must be: 1 % of the energy lies at its very edges or beyond.
        spectrum = np.abs(np.fft.rfft(arrival.samples)) ** 2
        hertz = np.fft.rfftfreq(len(arrival.samples), 1 / SAMPLE_RATE)
        inner = (hertz > arrival.low_hz + 55) & (hertz < arrival.high_hz - 55)
        assert spectrum[inner].sum() / spectrum.sum() < 0.995
        inner = slice(*(round(t * SAMPLE_RATE) for t in (box[0] + 0.012, box[1] - 0.012)))
        assert (arrival.samples[inner] ** 2).sum() / (arrival.samples**2).sum() < 0.995


def test_a_known_tone_has_a_known_box():
    tone = render([Note(0, 1.0, (3000.0,), attack=0.01, release=0.01)])
    silence = np.zeros(SAMPLE_RATE, np.float32)
    arrival = boxed(np.concatenate([silence, tone, silence]))
    assert arrival.start_s == pytest.approx(1.0, abs=0.03)
    assert arrival.end_s == pytest.approx(2.0, abs=0.03)
    assert arrival.low_hz == pytest.approx(2950, abs=15)
    assert arrival.high_hz == pytest.approx(3050, abs=15)


def test_the_longest_rendition_fits_the_longest_transform():
    random = np.random.default_rng(0)
    for species in CATALOGUE:
        longest = 0
        for _ in range(25):
            slow = Voice(0.9, 0.88, 1, 1.0, 0.0)
            notes = species.notes(slow, random)
            longest = max(longest, *(note.onset + note.duration for note in notes))
        # 8 % is what a rendition's stretch (6 %) and onset jitter may still add.
        assert longest * 1.08 * SAMPLE_RATE + TAIL_SAMPLES < LONGEST_SAMPLES, species.name


def test_a_note_follows_its_contour():
    note = Note(0, 1.0, (2000.0, 4000.0), attack=0.05, release=0.05)
    wave = render_note(note)
    phase = np.unwrap(np.angle(scipy.signal.hilbert(wave)))
    hertz = np.diff(phase) * SAMPLE_RATE / (2 * np.pi)
    for moment in (0.25, 0.5, 0.75):
        there = hertz[int(moment * SAMPLE_RATE) - 50 : int(moment * SAMPLE_RATE) + 50].mean()
        assert there == pytest.approx(2000 + 2000 * moment, rel=0.005)


def test_overtones_have_their_amplitudes_and_do_not_fold_back():
    wave = render_note(
        Note(0, 1.0, (5000.0,), 1.0, (1.0, 0.5, 0.25, 0.5, 0.5), attack=0, release=0)
    )
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave)))) * 4 / len(wave)
    at = {hertz: spectrum[hertz - 3 : hertz + 4].max() for hertz in (5000, 10_000, 15_000, 20_000)}
    assert at[5000] == pytest.approx(1.0, rel=0.02)
    assert at[10_000] == pytest.approx(0.5, rel=0.02)
    assert at[15_000] == pytest.approx(0.25, rel=0.02)
    assert at[20_000] == pytest.approx(0.5, rel=0.02)
    # The fifth would be at 25 kHz and fold to 19.1 kHz.
    assert spectrum[19_050:19_150].max() < 1e-3


def test_songs_vary_between_individuals_more_than_within():
    species = CATALOGUE[0]
    random = np.random.default_rng(4)

    def pitch(voice):
        return np.mean([note.hertz[0] for note in species.notes(voice, random)[:2]])

    voices = [draw_voice(random) for _ in range(12)]
    pitches = np.array([[pitch(voice) for _ in range(8)] for voice in voices])
    within, between = pitches.std(axis=1).mean(), pitches.mean(axis=1).std()
    assert within > 5
    assert between > 2 * within


def test_distance_takes_the_highs_first(way):
    near = np.zeros(SAMPLE_RATE, np.float32)
    near[SAMPLE_RATE // 2] = 1.0
    at = {metres: way.arrive(near, -20.0, metres).samples for metres in (10.0, 110.0)}

    def loss(low, high):
        return 10 * np.log10(band_power(at[10.0], low, high) / band_power(at[110.0], low, high))

    # Spherical spreading from 10 to 110 m is 20.8 dB; air and leaves add 100 m of absorption.
    # Echo adds a few decibels at a distance.
    for low, high in ((950, 1050), (7900, 8100)):
        centre = np.array([(low + high) / 2], np.float32)
        habitat = way.recorder.habitat
        expected = 20 * np.log10(11) + 100 * absorption_db_per_m(centre, habitat.absorption)[0]
        assert loss(low, high) == pytest.approx(expected, abs=3.0)
    assert loss(7900, 8100) > loss(950, 1050) + 15


def test_band_power_is_parsevals():
    random = np.random.default_rng(0)
    white = random.standard_normal(50_001).astype(np.float32)
    assert band_power(white, 0, SAMPLE_RATE / 2) == pytest.approx(np.mean(white**2), rel=0.01)
    share = band_power(white, 2000, 4205) / np.mean(white**2)
    assert share == pytest.approx(2205 / 22_050, rel=0.05)
    tone = np.sin(2 * np.pi * 3000 * np.arange(SAMPLE_RATE) / SAMPLE_RATE).astype(np.float32)
    assert band_power(tone, 2900, 3100) == pytest.approx(0.5, rel=0.01)


def test_signal_to_noise_of_a_tone_in_white_noise():
    random = np.random.default_rng(1)
    count = 2 * SAMPLE_RATE
    noise = (0.1 * random.standard_normal(count)).astype(np.float32)
    tone = (0.02 * np.sin(2 * np.pi * 5000 * np.arange(count) / SAMPLE_RATE)).astype(np.float32)
    # 0.01 of power spread evenly over 22,050 Hz, of which the box holds 1,000.
    expected = 10 * np.log10((0.02**2 / 2) / (0.01 * 1000 / 22_050))
    assert signal_to_noise_db(tone, noise, 4500, 5500) == pytest.approx(expected, abs=0.3)
