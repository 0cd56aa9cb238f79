"""Scenes and their sound: truth of the ratio, blocks, recorders, schedules."""

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import scipy.signal

from dawnchorus.simulate.noise import Banks
from dawnchorus.simulate.plan import BANKS, RECORDER, SAMPLE_RATE, SOUND, SeasonPlan
from dawnchorus.simulate.propagation import SoundPath
from dawnchorus.simulate.recorders import recorder_of, recorders_of
from dawnchorus.simulate.scene import Scene, residents, scenes_of_day
from dawnchorus.simulate.schedule import starts_of, sun_of
from dawnchorus.simulate.sound import Recording

CHICAGO = ZoneInfo("America/Chicago")


def play(plan, number, scene, position=0):
    recorder = recorder_of(plan, number)
    banks = Banks(
        lambda which: plan.random(BANKS, number, 0, which),
        lambda hertz: 10 ** (recorder.response_db(hertz) / 20),
        recorder.floor_corner_hz,
        4000.0,
    )
    way = SoundPath(recorder, plan.random(RECORDER, number, 3))
    recording = Recording(
        recorder, scene, plan.frames, banks, way, plan.random(SOUND, number, 0, position)
    )
    samples = np.concatenate(list(recording.blocks()))
    return samples.astype(np.float64) / 32_768, recording.heard


def dawn_scene(plan, number):
    recorder = recorder_of(plan, number)
    start = dt.datetime(2021, 5, 24, 5, 50, tzinfo=CHICAGO)
    return scenes_of_day(plan, recorder, 0, [start])[0]


def test_the_ratio_is_that_of_song_and_background_as_written():
    """The background is known by playing the same scene without the song."""
    plan = SeasonPlan(seconds=35.0, seed=8)
    scene = dawn_scene(plan, 0)
    without, _ = play(plan, 0, Scene((), scene.noises, scene.ambience_db))
    _, together = play(plan, 0, scene)
    checked, masked = 0, 0
    for among_others in together[:8]:
        alone = Scene((among_others.song,), scene.noises, scene.ambience_db)
        with_song, (event,) = play(plan, 0, alone)
        # Whoever else sings is background too.
        assert among_others.snr_db < event.snr_db + 0.5
        masked += among_others.snr_db < event.snr_db - 3
        if event.snr_db < -10:
            continue  # the difference of two 16-bit files is no measure of a song so faint
        # Another way of measuring than ours: filter the whole file, then cut out the box.
        box = slice(round(event.start_s * SAMPLE_RATE), round(event.end_s * SAMPLE_RATE))
        edges = [event.low_hz, event.high_hz]
        band = scipy.signal.butter(10, edges, "bandpass", fs=SAMPLE_RATE, output="sos")
        song = scipy.signal.sosfiltfilt(band, with_song - without)[box]
        background = scipy.signal.sosfiltfilt(band, without)[box]
        measured = 10 * np.log10(np.mean(song**2) / np.mean(background**2))
        assert event.snr_db == pytest.approx(measured, abs=1.0), event.song.individual.name
        checked += 1
    assert checked >= 4
    assert masked >= 1


def test_songs_across_a_block_are_whole():
    """Ten-second blocks: a recording is the same as its songs and its noise added up."""
    plan = SeasonPlan(seconds=35.0, seed=8)
    scene = dawn_scene(plan, 0)
    everything, heard = play(plan, 0, scene)
    noise_alone, none = play(plan, 0, Scene((), scene.noises, scene.ambience_db))
    assert none == []
    parts = np.zeros_like(everything)
    for song in scene.songs:
        parts += play(plan, 0, Scene((song,), scene.noises, scene.ambience_db))[0] - noise_alone
    crossing = [h for h in heard if any(h.start_s < 10.008 * k < h.end_s for k in (1, 2, 3))]
    assert crossing
    # Each of the differences is rounded to 16 bits.
    limit = (len(scene.songs) + 2) / 32_768
    assert np.abs(everything - noise_alone - parts).max() <= limit


def test_recorders_differ_in_floor_gain_and_response():
    plan = SeasonPlan(seconds=20.0, seed=2)
    still = np.full(41, -200.0, np.float32)
    floors = []
    for number in range(3):
        samples, _ = play(plan, number, Scene((), (), still))
        measured = 10 * np.log10(np.mean(samples[SAMPLE_RATE:] ** 2))
        recorder = recorder_of(plan, number)
        # Fresh and looped noise have the floor's power together.
        assert measured == pytest.approx(recorder.floor_db, abs=0.7)
        floors.append(measured)
    assert min(abs(a - b) for a in floors for b in floors if a is not b) > 2.0

    rumble = np.full(41, -20.0, np.float32)
    spectra = []
    for number in range(3):
        samples, _ = play(plan, number, Scene((), (), rumble))
        hertz, power = scipy.signal.welch(samples, SAMPLE_RATE, nperseg=4096)
        spectra.append(10 * np.log10(power))
        recorder = recorder_of(plan, number)
        expected = recorder.response_db(hertz.astype(np.float32)) + recorder.gain_db
        expected = expected - 20 * np.log10(1 + hertz / 60)
        band = (hertz > 500) & (hertz < 4000)
        error = spectra[-1][band] - expected[band]
        assert np.std(error) < 0.8  # the shape is the recorder's response
    differences = [np.std(spectra[a][50:1500] - spectra[b][50:1500]) for a, b in ((0, 1), (1, 2))]
    assert min(differences) > 1.0


def test_recorders_have_their_own_birds():
    plan = SeasonPlan()
    communities = []
    for recorder in recorders_of(plan):
        birds = residents(plan, recorder)
        communities.append({bird.species.name for bird in birds})
        assert len({bird.name for bird in birds}) == len(birds)
    assert len({frozenset(names) for names in communities}) == 3
    assert len(set().union(*communities)) == 12


def test_dawn_sings_more_than_noon_and_night():
    plan = SeasonPlan(seconds=600.0, seed=3)
    counts = {}
    for hour in (1, 5, 13):
        total = 0
        for number in range(3):
            for day in range(2):
                start = dt.datetime.combine(plan.dates[day], dt.time(hour, 40), tzinfo=CHICAGO)
                scene = scenes_of_day(plan, recorder_of(plan, number), day, [start])[0]
                total += len(scene.songs)
        counts[hour] = total
    assert counts[5] > 1.6 * counts[13] > 1.6 * counts[1] > 0


def test_sun_of_a_known_place():
    # Chicago, 21 June 2021: 5:16 and 20:29 CDT; Berlin, 21 December 2021: 8:15 and 15:54 CET.
    sun = sun_of(dt.date(2021, 6, 21), 41.88, -87.63, CHICAGO)
    assert sun.rise == pytest.approx(5 + 16 / 60, abs=0.08)
    assert sun.set == pytest.approx(20 + 29 / 60, abs=0.08)
    sun = sun_of(dt.date(2021, 12, 21), 52.52, 13.405, ZoneInfo("Europe/Berlin"))
    assert sun.rise == pytest.approx(8 + 15 / 60, abs=0.08)
    assert sun.set == pytest.approx(15 + 54 / 60, abs=0.08)


def test_schedules_lie_within_their_day_and_do_not_overlap():
    for plan in (
        SeasonPlan(recordings=48, seconds=600, schedule="interval"),
        SeasonPlan(recordings=8, seconds=150),
        SeasonPlan(recordings=24, seconds=1200),
        SeasonPlan(recordings=1, seconds=30),
    ):
        for recorder in recorders_of(plan):
            for date in plan.dates:
                starts = starts_of(plan, recorder.twilight_share, recorder.phase_minutes, date)
                assert len(starts) == plan.recordings
                assert all(start.date() == date for start in starts)
                gaps = [(b - a).total_seconds() for a, b in itertools.pairwise(starts)]
                assert all(gap >= plan.seconds for gap in gaps)


def test_clock_change_drops_what_coincides():
    plan = SeasonPlan(start=dt.date(2021, 3, 14), recordings=48, seconds=60, schedule="interval")
    starts = starts_of(plan, 0.7, 0, dt.date(2021, 3, 14))
    assert len(starts) == 46  # 2:00 and 2:30 do not exist and coincide with 3:00 and 3:30
    assert len(starts_of(plan, 0.7, 0, dt.date(2021, 3, 15))) == 48
