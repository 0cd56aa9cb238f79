"""How soon the collapse alarm ends a training, how far others stay from it, what watching costs.

Toy windows (a tone of one of six pitches in noise), the real loop. Forced: centering off and momentum 0,
temperatures far too high; not forced: both ways of centring. ``docs/monitors.md`` quotes it. There is no peer: nothing
else that trains DINO stops by itself. ``--quick`` runs one of each.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch

from dawnchorus import __version__, config
from dawnchorus.learning import history, training, training_set
from dawnchorus.learning.collapse import NO_INFORMATION, Collapsed
from dawnchorus.results import Results

WINDOWS, MELS, FRAMES = 800, 16, 32
RECIPE = {
    "recipe": "none", "backbone": "vit_nano", "patch": 8, "batch_size": 16, "epochs": 10,
    "learning_rate": 1e-2,
    "warmup_epochs": 3, "precision": "fp32", "drop_path": 0.0, "pooling": "mean",
    "augmentation": {"mix_probability": 0, "gain_db": 3},
    "monitors": {"probe_steps": 100, "probe_windows": 400},
}  # fmt: skip
DINO = {
    "out_dim": 64, "head_hidden": 128, "head_bottleneck": 64, "local_crops": 0,
    "teacher_momentum": 0.98, "freeze_last_layer_epochs": 0,
}  # fmt: skip
OFF = {"centering": "none", "teacher_momentum": 0.0}
CASES = {
    "centering off, momentum 0": (OFF, {}),
    "teacher temperature 1": ({"teacher_temperature": 1.0, "teacher_temperature_start": 1.0}, {}),
    "centering off, momentum 0, a 20th of the rate": (OFF, {"learning_rate": 5e-4}),
    "teacher temperature 0.3": (
        {"teacher_temperature": 0.3, "teacher_temperature_start": 0.3},
        {},
    ),
}


@dataclass(frozen=True)
class Toy:
    """Stands for the frozen training set."""

    codes: np.ndarray
    spectrograms: str = "toy"
    db_min: float = -120.0
    db_step: float = 0.5
    lost: int = 0
    fingerprint: str = "toy"

    @property
    def table(self) -> pl.DataFrame:
        return pl.DataFrame({"row": np.arange(len(self.codes))})

    def fill(self, codes: np.ndarray) -> None:
        codes[:] = self.codes


def toy() -> Toy:
    random = np.random.default_rng(1)
    decibels = random.normal(-80, 3, (WINDOWS, MELS, FRAMES))
    for window in decibels:
        row, start = 2 * random.integers(1, 7) + random.integers(0, 2), random.integers(0, 16)
        window[row, start : start + 12] += random.uniform(15, 35)
    return Toy(np.clip(np.rint((decibels + 120) / 0.5), 0, 255).astype(np.uint8))


def run(dino: dict, **changes: object) -> tuple[list[dict], str]:
    recipe = {**RECIPE, **changes, "dino": {**DINO, **dino}}
    settings = config.validate(
        {"spectrogram": {"mels": MELS, "frames": FRAMES}, "experiments": {"toy": recipe}}
    )
    said = ""
    with tempfile.TemporaryDirectory() as folder:
        try:
            training.train(settings, Results(Path(folder)), "toy", device="cpu")
        except Collapsed as end:
            said = str(end)
        return history.read(Path(folder) / "toy" / "log.jsonl"), said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    frozen = toy()
    training_set.open_frozen = lambda results: frozen  # type: ignore[assignment]
    print(f"{platform.platform()}, torch {torch.__version__}, dawnchorus {__version__}, 1 thread")

    ends, least, shares = {}, {}, []
    for name, (dino, changes) in list(CASES.items())[: 1 if quick else None]:
        log, said = run(dino, **changes)
        ends[name] = log[-1]["step"] if said else None
        print(f"{name}: ended at step {ends[name]}\n    {said}")
    for centering in ("mean", "sinkhorn")[: 1 if quick else None]:
        for seed in range(1 if quick else 3):
            log, said = run({"centering": centering}, seed=seed)
            least[f"{centering}, seed {seed}"] = min(e["teacher_information"] for e in log)
            shares.append(float(np.mean([e["monitor_share"] for e in log])))
            print(
                f"not forced, {centering}, seed {seed}: {'ENDED' if said else 'trained'} "
                f"{log[-1]['step']} steps; least information "
                f"{least[f'{centering}, seed {seed}']:.3f} nat (alarm below {NO_INFORMATION:g}); "
                f"monitors {shares[-1]:.1%} of the time, a line every step"
            )
    slowest = max((step if step else 10**9) for step in ends.values())
    print(
        json.dumps(
            {
                "benchmark": "collapse",
                "ours": slowest,
                "unit": "steps to the alarm, slowest case",
                "peers": {},
                "floor": None,
                "ratio_to_fastest_peer": None,
                "ratio_to_floor": None,
                "ends": ends,
                "least_information": least,
                "monitor_share": float(np.mean(shares)),
            }
        )
    )


if __name__ == "__main__":
    main()
