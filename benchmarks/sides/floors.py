"""The least that any side must do: the real FFT, and the dense mel product after it, in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from sides import F_MAX, F_MIN, FRAMES, HOP, MELS, N_FFT, RATE, SPAN, WINDOW

SECONDS = 600
"""Of the sound, held as float32."""
TOLD = {
    "FFT, torch": "torch.fft.rfft(frames * hann, out=), float32, samples in memory",
    "FFT, scipy": "scipy.fft.rfft(frames * hann), float32, samples in memory",
    "FFT + mel, torch": "the same, |X|^2 @ filters, all into arrays that are there already",
    "FFT + mel, scipy": "the same, |X|^2 @ filters",
}


def _windows(path: Path) -> list[np.ndarray]:
    """Windows of the first minutes, float32 (WINDOW,)."""
    samples, _ = soundfile.read(path, frames=SECONDS * RATE, dtype="float32")
    count = len(samples) // WINDOW
    return list(samples[: count * WINDOW].reshape(count, WINDOW))


def _torch(path: Path, dense: bool) -> Callable[[], None]:
    import torch
    import torchaudio

    torch.set_num_threads(1)
    sound = [torch.from_numpy(samples) for samples in _windows(path)]
    window = torch.hann_window(N_FFT)
    filters = torchaudio.functional.melscale_fbanks(N_FFT // 2 + 1, F_MIN, F_MAX, MELS, RATE)
    # Into arrays that are there already: three times faster than torch's usual way.
    frames = torch.empty(FRAMES, N_FFT)
    spectrum = torch.empty(FRAMES, N_FFT // 2 + 1, dtype=torch.complex64)
    power = torch.empty(FRAMES, N_FFT // 2 + 1)
    bands = torch.empty(FRAMES, MELS)

    def run() -> None:
        with torch.inference_mode():
            for samples in sound:
                torch.mul(samples.unfold(0, N_FFT, HOP)[:FRAMES], window, out=frames)
                torch.fft.rfft(frames, out=spectrum)
                if not dense:
                    continue
                parts = torch.view_as_real(spectrum)
                torch.mul(parts[..., 0], parts[..., 0], out=power)
                power.addcmul_(parts[..., 1], parts[..., 1])
                torch.matmul(power, filters, out=bands)

    return run


def _scipy(path: Path, dense: bool) -> Callable[[], None]:
    import scipy.fft

    from dawnchorus.config import Spectrogram
    from dawnchorus.spectrograms import mel

    sound = _windows(path)
    window = mel.hann(N_FFT).astype(np.float32)
    filters = mel.filterbank(Spectrogram()).T.astype(np.float32)

    def run() -> None:
        for samples in sound:
            frames = np.lib.stride_tricks.sliding_window_view(samples[:SPAN], N_FFT)[::HOP]
            spectrum = scipy.fft.rfft(frames * window, axis=1, workers=1)
            if dense:
                (spectrum.real**2 + spectrum.imag**2) @ filters

    return run


PREPARE = {
    "FFT, torch": lambda root, path: _torch(path, dense=False),
    "FFT, scipy": lambda root, path: _scipy(path, dense=False),
    "FFT + mel, torch": lambda root, path: _torch(path, dense=True),
    "FFT + mel, scipy": lambda root, path: _scipy(path, dense=True),
}
