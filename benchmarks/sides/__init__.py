"""What the benchmarks of the spectrograms share: the sound, the sides that run, and the stopwatch.

``sound`` makes cards; ``ours``, ``peers`` and ``floors`` are the sides, ``clock`` lets them run in
turns, each in its own process.
"""

RATE, N_FFT, HOP, MELS, F_MIN, F_MAX, FRAMES, WINDOW = (
    44_100,
    1024,
    512,
    128,
    150,
    15_000,
    256,
    132_300,
)
SPAN = (FRAMES - 1) * HOP + N_FFT
"""Samples that the frames of a window cover."""
DAY = "2021-05-24"
