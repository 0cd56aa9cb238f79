"""The sides of the BirdNET benchmark, and the processes they run in."""

from __future__ import annotations

import contextlib
import csv
import io
import multiprocessing
import os
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import soundfile

from sides import DAY

CONFIDENCE = 0.1
BATCH = 4


def settings(root: Path, **more: Any) -> Any:
    """The defaults, with ``audio.channel`` as birdnetlib hears: the mean of all."""
    from dawnchorus.config import validate

    return validate(
        {
            "audio": {"root": str(root / "cards"), "channel": "mix"},
            "results": str(root / "results"),
            "birdnet": {"min_confidence": CONFIDENCE, "batch_size": BATCH, "top": 6000, **more},
        }
    )


def ours(root: Path, recorder: str, *, embeddings: bool = False) -> Callable[[], Any]:
    """The step of a recorder-day; the other side keeps no embeddings."""
    from dawnchorus.birdnet.pseudo_labels import label_day
    from dawnchorus.results import RecorderDay, Results

    chosen = settings(root, embeddings=embeddings)
    day = RecorderDay(recorder, DAY)
    return lambda: label_day(chosen, Results(root / "results"), day)["windows"]


def analyzer() -> Any:
    """birdnetlib and its model, on ``ai_edge_litert``."""
    from ai_edge_litert.interpreter import Interpreter

    package, module = ModuleType("tflite_runtime"), ModuleType("tflite_runtime.interpreter")
    module.Interpreter = Interpreter  # type: ignore[attr-defined]
    package.interpreter = module  # type: ignore[attr-defined]
    sys.modules.update({package.__name__: package, module.__name__: module})
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()):
        from birdnetlib.analyzer import Analyzer

        return Analyzer()


def loop(
    known: Any, paths: list[Path], least: float, resampled: str | None = None
) -> list[tuple[str, float, str, float]]:
    """Return birdnetlib's detections: file, second, species, confidence.

    ``resampled``: not from the file, but from samples that librosa has resampled so.
    """
    import librosa
    from birdnetlib import Recording, RecordingBuffer

    rows = []
    for path in paths:
        with contextlib.redirect_stdout(io.StringIO()):
            if resampled is None:
                recording = Recording(known, str(path), min_conf=least)
            else:
                samples, _ = librosa.load(path, sr=48_000, res_type=resampled)
                recording = RecordingBuffer(known, samples, 48_000, min_conf=least)
            recording.analyze()
        rows += [
            (path.name, one["start_time"], one["scientific_name"], float(one["confidence"]))
            for one in recording.detections
        ]
    return rows


def birdnetlib(root: Path, recorder: str) -> Callable[[], Any]:
    """Its own loop over the files of a card."""
    known = analyzer()
    paths = sorted((root / "cards" / recorder).glob("*.wav"))

    def run() -> int:
        with (root / f"{recorder}.csv").open("w", newline="") as handle:
            csv.writer(handle).writerows(loop(known, paths, CONFIDENCE))
        return sum(int(soundfile.info(path).duration // 3) for path in paths)

    return run


def bare(root: Path, recorder: str) -> Callable[[], Any]:
    """The model alone, as often as the card has windows."""
    from ai_edge_litert.interpreter import Interpreter

    from dawnchorus.birdnet.model import MODEL_FILE, BirdNetModel
    from dawnchorus.recordings.audio import windows

    paths = sorted((root / "cards" / recorder).glob("*.wav"))
    count = sum(int(soundfile.info(path).duration // 3) for path in paths)
    first = next(windows(paths[0], sample_rate=48_000, window_seconds=3.0, block_windows=BATCH * 5))
    batches = [first.samples[at : at + BATCH] for at in range(0, len(first.samples), BATCH)]
    model = BirdNetModel.find().folder / MODEL_FILE
    interpreter = Interpreter(model_path=str(model), num_threads=1)
    takes = interpreter.get_input_details()[0]["index"]
    gives = interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(takes, batches[0].shape)
    interpreter.allocate_tensors()

    def run() -> int:
        for number in range(count // BATCH):
            interpreter.set_tensor(takes, batches[number % len(batches)])
            interpreter.invoke()
            interpreter.get_tensor(gives)
        return count // BATCH * BATCH

    return run


def sound_only(root: Path, recorder: str) -> Callable[[], Any]:
    """Ours without the model: read, hash and resample."""
    import xxhash

    from dawnchorus.recordings.audio import windows

    paths = sorted((root / "cards" / recorder).glob("*.wav"))

    def run() -> int:
        return sum(
            len(block.offsets)
            for path in paths
            for block in windows(
                path, sample_rate=48_000, window_seconds=3.0, hasher=xxhash.xxh3_128()
            )
        )

    return run


def librosa_only(root: Path, recorder: str) -> Callable[[], Any]:
    """birdnetlib's without the model: ``librosa.load(sr=48000, res_type="kaiser_fast")``."""
    import librosa

    paths = sorted((root / "cards" / recorder).glob("*.wav"))

    def run() -> int:
        return sum(
            len(librosa.load(path, sr=48_000, mono=True, res_type="kaiser_fast")[0]) // 144_000
            for path in paths
        )

    return run


SIDES = {
    "ours": (ours, "label_day: read, hash, resample (soxr HQ), infer, table, receipt"),
    "with embeddings": (
        partial(ours, embeddings=True),
        "the same, and BirdNET's embedding of each window kept",
    ),
    "birdnetlib's loop": (birdnetlib, "Recording(analyzer, path).analyze() per file, rows to CSV"),
    "the model alone": (bare, "set_tensor, invoke, get_tensor over samples in memory, batch of 4"),
    "our sound alone": (sound_only, "ours without the model and the table"),
    "its sound alone": (librosa_only, 'librosa.load(sr=48000, res_type="kaiser_fast")'),
}


def serve(name: str, root: Path, recorder: str, core: int | None, pipe: Any) -> None:
    """One side's process: run when told, answer with wall and CPU seconds and windows."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for the life of the process
    prepare = SIDES[name][0]
    prepare(root, "SHORT")()  # imports and compiles
    run = prepare(root, recorder)
    pipe.send("ready")
    while pipe.recv() == "run":
        wall, processor = time.perf_counter(), time.process_time()
        count = run()
        pipe.send((time.perf_counter() - wall, time.process_time() - processor, count))


class Side:
    """A side in a process of its own; use it as a context manager."""

    def __init__(self, name: str, root: Path, recorder: str, core: int | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (name, root, recorder, core, theirs)
        self._process = context.Process(target=serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Side:
        self.pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.send("stop")
        self._process.join()

    def run(self) -> tuple[float, float, int]:
        self.pipe.send("run")
        return self.pipe.recv()
