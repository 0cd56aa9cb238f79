"""From a WAV on disk to a committed spectrogram store, beside what others need for the picture alone.

Ours is the whole step (read, hash, transform, score, compress, publish). The peers, torchaudio and
librosa, read the same file and end with decibels in memory, without a store. The floor is the Fourier
transform of framed samples and a dense mel product, from memory to memory. All run on one core, in
turns, each in its own process; the best of the rounds counts.

Run ``python benchmarks/spectrograms.py [--quick] [--save FILE]``.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

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
BATCH = 16
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)
SIDES = {
    "ours": "dawnchorus.spectrograms.day.make_day(settings, results, day, workers=1)",
    "torchaudio": (
        "soundfile.read + torchaudio.transforms.MelSpectrogram(44100, 1024, hop_length=512, "
        "f_min=150, f_max=15000, n_mels=128, center=False) + AmplitudeToDB(top_db=None)"
    ),
    "librosa": (
        "soundfile.read + librosa.feature.melspectrogram(sr=44100, n_fft=1024, hop_length=512, "
        "n_mels=128, fmin=150, fmax=15000, htk=True, norm=None, center=False) + power_to_db"
    ),
    "floor, torch": "torch.fft.rfft(frames * hann), |X|^2 @ filters, float32, samples in memory",
    "floor, scipy": "scipy.fft.rfft(frames * hann), |X|^2 @ filters, float32, samples in memory",
}


def make_card(root: Path, minutes: float) -> Path:
    """One 16-bit mono WAV: coloured noise, a hum and whistles, so that codes compress as they do."""
    import numpy as np
    import soundfile
    from scipy.signal import lfilter

    path = root / "cards" / "REC01" / "REC01_20210524_050000.wav"
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(2021)
    seconds = round(minutes * 60)
    with soundfile.SoundFile(path, "w", RATE, 1, subtype="PCM_16") as file:
        state = np.zeros(1)
        clock = np.arange(RATE) / RATE
        for _ in range(seconds):
            noise, state = lfilter([0.02], [1, -0.9], random.normal(0, 0.2, RATE), zi=state)
            sound = noise + 0.003 * random.normal(0, 1, RATE)
            for _ in range(random.poisson(0.7)):
                start, length = random.integers(0, RATE // 2), random.integers(2000, 16_000)
                sweep = 2000 + 5000 * random.random() + 3000 * random.normal() * clock[:length]
                sound[start : start + length] += (
                    0.1 * np.hanning(length) * np.sin(2 * np.pi * np.cumsum(sweep) / RATE)
                )
            file.write(np.clip(sound, -1, 1))
    return path


def prepare_ours(root: Path, _: Path) -> Callable[[], None]:
    from dawnchorus.config import Settings
    from dawnchorus.recordings.inventory import scan
    from dawnchorus.results import RecorderDay, Results
    from dawnchorus.spectrograms.day import make_day

    settings = Settings.model_validate(
        {"results": str(root / "results"), "audio": {"root": str(root / "cards")}}
    )
    results, day = Results(settings.results), RecorderDay("REC01", "2021-05-24")
    scan(settings, results)

    def run() -> None:
        shutil.rmtree(results.spectrograms(day).parent, ignore_errors=True)
        assert make_day(settings, results, day, workers=1)["verdict"] == "ok"

    return run


def read_windows(path: Path):
    """Yield batches of windows, float32 (n, WINDOW)."""
    import soundfile

    with soundfile.SoundFile(path) as file:
        for _ in range(0, file.frames // WINDOW, BATCH):
            samples = file.read(BATCH * WINDOW, dtype="float32")
            whole = len(samples) // WINDOW
            yield samples[: whole * WINDOW].reshape(whole, WINDOW)


def prepare_torchaudio(_: Path, path: Path) -> Callable[[], None]:
    import torch
    import torchaudio

    torch.set_num_threads(1)
    transform = torch.nn.Sequential(
        torchaudio.transforms.MelSpectrogram(
            RATE, N_FFT, hop_length=HOP, f_min=F_MIN, f_max=F_MAX, n_mels=MELS, center=False
        ),
        torchaudio.transforms.AmplitudeToDB(top_db=None),
    )

    def run() -> None:
        with torch.inference_mode():
            for samples in read_windows(path):
                transform(torch.from_numpy(samples))

    return run


def prepare_librosa(_: Path, path: Path) -> Callable[[], None]:
    import librosa

    def run() -> None:
        for samples in read_windows(path):
            power = librosa.feature.melspectrogram(
                y=samples,
                sr=RATE,
                n_fft=N_FFT,
                hop_length=HOP,
                n_mels=MELS,
                fmin=F_MIN,
                fmax=F_MAX,
                htk=True,
                norm=None,
                center=False,
            )
            librosa.power_to_db(power, ref=1.0, top_db=None)

    return run


def prepare_floor_torch(_: Path, path: Path) -> Callable[[], None]:
    import torch
    import torchaudio

    torch.set_num_threads(1)
    sound = [torch.from_numpy(samples) for samples in read_windows(path)]
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
                for of_window in samples:
                    torch.mul(of_window.unfold(0, N_FFT, HOP)[:FRAMES], window, out=frames)
                    torch.fft.rfft(frames, out=spectrum)
                    parts = torch.view_as_real(spectrum)
                    torch.mul(parts[..., 0], parts[..., 0], out=power)
                    power.addcmul_(parts[..., 1], parts[..., 1])
                    torch.matmul(power, filters, out=bands)

    return run


def prepare_floor_scipy(_: Path, path: Path) -> Callable[[], None]:
    import numpy as np
    import scipy.fft

    from dawnchorus.config import Spectrogram
    from dawnchorus.spectrograms import mel

    sound = list(read_windows(path))
    window = mel.hann(N_FFT).astype(np.float32)
    filters = mel.filterbank(Spectrogram()).T.astype(np.float32)

    def run() -> None:
        for samples in sound:
            for of_window in samples:
                frames = np.lib.stride_tricks.sliding_window_view(of_window, N_FFT)[::HOP][:FRAMES]
                spectrum = scipy.fft.rfft(frames * window, axis=1, workers=1)
                (spectrum.real**2 + spectrum.imag**2) @ filters

    return run


PREPARE = {
    "ours": prepare_ours,
    "torchaudio": prepare_torchaudio,
    "librosa": prepare_librosa,
    "floor, torch": prepare_floor_torch,
    "floor, scipy": prepare_floor_scipy,
}


def serve(name: str, root: Path, path: Path, core: int | None, pipe) -> None:
    """One side's process: run when told, answer with (wall, CPU) seconds."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for the life of the process
    run = PREPARE[name](root, path)
    run()  # imports, compiles and warms the page cache
    pipe.send("ready")
    while pipe.recv() == "run":
        wall, processor = time.perf_counter(), time.process_time()
        run()
        pipe.send((time.perf_counter() - wall, time.process_time() - processor))


def race(root: Path, path: Path, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Let all sides run in turns; return (wall, CPU) seconds per side and round."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    context = multiprocessing.get_context("spawn")
    sides = {}
    for name in PREPARE:
        mine, theirs = context.Pipe()
        process = context.Process(target=serve, args=(name, root, path, core, theirs), daemon=True)
        process.start()
        theirs.close()
        mine.recv()
        sides[name] = (process, mine)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, (_, pipe) in sides.items():
            pipe.send("run")
            times[name].append(pipe.recv())
    for process, pipe in sides.values():
        pipe.send("stop")
        process.join()
    return times


def time_command(root: Path) -> float:
    """Wall seconds of the command itself, with the start of the interpreter."""
    shutil.rmtree(root / "results" / "spectrograms", ignore_errors=True)
    command = [sys.executable, "-m", "dawnchorus", "spectrograms"]
    command += ["--recorder", "REC01", "--date", "2021-05-24"]
    command += ["--set", f"results={root / 'results'}", "--set", f"audio.root={root / 'cards'}"]
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=root)
    return time.perf_counter() - started


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].split(":", 1)[1].strip() if names else cpu
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def heading(packages: Sequence[str]) -> list[str]:
    """Where and with what is measured: machine, load, versions."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    return [
        f"machine: {machine()}",
        f"load average at the start: {os.getloadavg()[0]:.2f}",
        f"versions: Python {platform.python_version()}, {versions}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="10 minutes of sound instead of 30, 3 rounds"
    )
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    minutes, rounds = (10, 3) if options.quick else (30, 15)
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    packages = (
        "dawnchorus",
        "numpy",
        "scipy",
        "numba",
        "zarr",
        "zarrs",
        "torch",
        "torchaudio",
        "librosa",
    )
    for line in heading(packages):
        show(line)
    show(
        f"sound: {minutes} min, 44.1 kHz, 16-bit mono; one core, one thread; best of {rounds} rounds"
    )

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = make_card(root, minutes)
        seconds = minutes * 60
        times = race(root, path, rounds)
        command = min(time_command(root) for _ in range(2))
        store = root / "results" / "spectrograms" / "REC01" / "2021-05-24.zarr"
        stored = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        raw = seconds * RATE // WINDOW * MELS * FRAMES

    speed = {name: seconds / min(wall for wall, _ in of) for name, of in times.items()}
    for name, of in times.items():
        median = seconds / statistics.median(wall for wall, _ in of)
        processor = seconds / min(cpu for _, cpu in of)
        show(
            f"{name:13} {speed[name]:7,.0f} x real time (median {median:,.0f}, per CPU second {processor:,.0f})"
        )
        show(f"              {SIDES[name]}")
    show(
        f"as a command  {seconds / command:7,.0f} x real time: dawnchorus spectrograms, "
        f"{command:.1f} s, of which {command - seconds / speed['ours']:.1f} s are its start"
    )
    show(f"store: {stored / 1e6:,.1f} MB, 1 : {raw / stored:.2f} of its codes")
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")

    peers = {name: round(speed[name], 1) for name in ("torchaudio", "librosa")}
    floor = max(speed["floor, torch"], speed["floor, scipy"])
    show(f"ours to the fastest peer: {speed['ours'] / max(peers.values()):.2f}")
    show(f"ours to the floor: {speed['ours'] / floor:.2f}")
    show(
        json.dumps(
            {
                "benchmark": "spectrograms",
                "ours": round(speed["ours"], 1),
                "unit": "x real time per core",
                "peers": peers,
                "floor": round(floor, 1),
                "ratio_to_fastest_peer": round(speed["ours"] / max(peers.values()), 3),
                "ratio_to_floor": round(speed["ours"] / floor, 3),
                "command": round(seconds / command, 1),
                "quick": options.quick,
            }
        )
    )
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
