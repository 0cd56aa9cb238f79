"""What is learned without labels from a folder of real recordings, beside log-mel statistics and PCA.

All sound files of FOLDER are laid as cards of recorders, cut into windows, and each experiment is
trained on all of them by the product's own commands. Judged are the clips that FOLDER has labels for
(``labels_clips.csv``): ESC-10 (Piczak 2015), leaving one clip out and leaving one source out, and
recordings of birds, leaving one recording out; every window of a file has the file's label. The
networks had all windows, without labels. Whitening is fitted after the training, on the same windows.

Run ``python benchmarks/learning_clips.py FOLDER [--seeds 3] [--quick] [--save FILE]``; without FOLDER,
that of ``DAWNCHORUS_AUDIO`` is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray
from sides import RATE
from sides.clips import WINDOW_S, Laid, lay
from sides.commands import dawnchorus, make_windows, read_windows
from sides.judged import (
    HEADER_OF_GROUPS,
    Answers,
    Figures,
    Question,
    averaged,
    baselines,
    embedded,
    interval,
    judged,
    over_groups,
    row_of_groups,
    whitened,
)

from dawnchorus.birdnet import model as birdnet
from dawnchorus.config import Spectrogram
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import load_model, read_metadata, untrained
from dawnchorus.recordings.audio import windows as windows_of
from dawnchorus.results import Results
from spectrograms import heading

PACKAGES = ("dawnchorus", "torch", "timm", "scikit-learn", "numpy")
OVERLAP_S = 2.5
CLIPS, BIRDS = "esc10", "nbm_xc"
FOLD = "1"
"""Of ESC-10."""
BY_CLIP, BY_SOURCE, BY_BIRD = "ESC-10 by clip", "ESC-10 by source", "nbm_xc by recording"
SHRINKAGES = (1.0, 3.0)
VIEWS = {
    "global_time": [0.5, 0.5],
    "global_mel": [1.0, 1.0],
    "mix_probability": 0.5,
    "mix_share": 0.5,
    "gain_db": 6.0,
    "frequency_masks": 0,
    "time_masks": 0,
}
RESPONSE = {**VIEWS, "response_db": 4.0}
SHARED = {
    "recipe": "none",
    "backbone": "vit_nano",
    "patch": 16,
    "pooling": "bands-max",
    "batch_size": 64,
    "learning_rate": 8e-3,
    "weight_decay": 0.05,
    "final_weight_decay": 0.05,
    "clip_gradient": 3.0,
    "drop_path": 0.0,
    "precision": "fp32",
}
VICREG = {"method": "vicreg", "vicreg": {"expander_width": 512, "covariance": 0.5}}
DINO = {
    "method": "dino",
    "koleo_weight": 0.05,
    "dino": {
        "out_dim": 256,
        "head_hidden": 256,
        "head_bottleneck": 64,
        "local_crops": 0,
        "centering": "sinkhorn",
        "teacher_temperature": 0.02,
        "teacher_temperature_start": 0.02,
        "teacher_momentum": 0.96,
        "freeze_last_layer_epochs": 0,
    },
}
CANDIDATE = "both-response"
EXPERIMENTS: dict[str, dict[str, Any]] = {
    CANDIDATE: {**VICREG, "input": "level+contrast", "augmentation": RESPONSE},
    "level-response": {**VICREG, "input": "level", "augmentation": RESPONSE},
    "both": {**VICREG, "input": "level+contrast", "augmentation": VIEWS},
    "dino-both-response": {**DINO, "input": "level+contrast", "augmentation": RESPONSE},
}

Measured = dict[str, Figures]
"""Of one space, by question."""


def questions(laid: Laid, windows: pl.DataFrame) -> list[Question]:
    """What is asked of which windows."""
    of = {clip.recording: clip for clip in laid.clips}
    held = [of[name] for name in windows["recording"]]

    def question(name: str, dataset: str, by_source: bool = False) -> Question:
        kept = [
            at
            for at, clip in enumerate(held)
            if clip.label is not None
            and clip.label.dataset == dataset
            and (dataset != CLIPS or clip.label.fold == FOLD)
        ]
        found = [(clip, clip.label) for clip in (held[at] for at in kept) if clip.label is not None]
        groups = [label.group if by_source else clip.path for clip, label in found]
        return Question(
            name,
            np.array(kept, dtype=np.int64),
            np.array([label.label for _, label in found]),
            np.array(groups),
        )

    return [
        question(BY_CLIP, CLIPS),
        question(BY_SOURCE, CLIPS, by_source=True),
        question(BY_BIRD, BIRDS),
    ]


def measured(
    vectors: NDArray[np.float32], asked: Sequence[Question], scale_each: bool = True
) -> Measured:
    """Ask all questions of a space."""
    answers: dict[bytes, Answers] = {}
    return {
        one.name: judged(
            vectors,
            one,
            scale_each=scale_each,
            answers=answers.setdefault(one.kept.tobytes(), {}),
        )
        for one in asked
    }


def with_whitening(
    name: str, vectors: NDArray[np.float32], asked: Sequence[Question], shrinkages: Sequence[float]
) -> dict[str, Measured]:
    """Ask all questions of a space as it is and whitened."""
    found = {name: measured(vectors, asked)}
    print(row_of_groups(name, found[name][BY_CLIP]), file=sys.stderr, flush=True)
    for shrinkage in shrinkages:
        title = f"{name}, whitened {shrinkage:g}"
        found[title] = measured(whitened(vectors, shrinkage), asked)
    return found


def of_birdnet(
    cards: Path, windows: pl.DataFrame, asked: Sequence[Question]
) -> NDArray[np.float32] | None:
    """BirdNET's embeddings of the windows that are asked for; None if it is not installed."""
    try:
        listener = birdnet.BirdNetModel.find().listener()
    except DawnChorusError:
        return None
    wanted = np.unique(np.concatenate([one.kept for one in asked]))
    vectors = np.zeros((windows.height, birdnet.EMBEDDING_DIMENSION), dtype=np.float32)
    for (recording,), part in windows[wanted].group_by("recording", maintain_order=True):
        at = dict(zip((part["start"] * RATE).round().cast(pl.Int64), part["window"], strict=True))
        for block in windows_of(
            cards / str(recording),
            sample_rate=birdnet.SAMPLE_RATE,
            window_seconds=WINDOW_S,
            overlap_seconds=OVERLAP_S,
        ):
            for offset, samples in zip(block.offsets.tolist(), block.samples, strict=True):
                vectors[at.pop(offset)] = listener.listen(samples[None])[1][0]
        assert not at, f"{recording} has other windows"
    return vectors


def difference(one: Figures, other: Figures) -> str:
    """How much more two probes get right, windows paired, means over groups."""
    parts = []
    for name in ("knn", "linear"):
        apart = one.right[name] - other.right[name]
        low, high = interval(apart, one.group, equal=True)
        parts.append(f"{over_groups(apart, one.group):+.3f} [{low:+.2f}, {high:+.2f}]")
    return "   ".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:  # noqa: PLR0912, PLR0915 - top to bottom
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, help="of recordings")
    parser.add_argument("--seeds", type=int, default=3, help=f"trainings of {CANDIDATE}")
    parser.add_argument("--epochs", type=float, default=8.0, help="of each training")
    parser.add_argument("--experiments", default=",".join(EXPERIMENTS), help="which, by commas")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few files, some steps, one seed")
    parser.add_argument("--save", type=Path, help="write what is printed here too")
    given = parser.parse_args(arguments)
    folder = given.folder or os.environ.get("DAWNCHORUS_AUDIO")
    if not folder:
        print("no FOLDER of recordings, and DAWNCHORUS_AUDIO is not set: nothing done")
        return
    if given.quick:
        given.seeds, given.epochs = 1, 1.0
    chosen = given.experiments.split(",")
    lines = heading(PACKAGES)
    print("\n".join(lines))

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    say(
        f"command: learning_clips.py FOLDER --seeds {given.seeds} --epochs {given.epochs:g} "
        f"--experiments {given.experiments}{' --quick' if given.quick else ''}"
    )
    trainings: dict[str, str] = {}  # of which experiment
    for name in chosen:
        for seed in range(given.seeds if name == CANDIDATE else 1):
            trainings[f"{name}-{seed}"] = name
    with tempfile.TemporaryDirectory(prefix="dawnchorus-") as scratch:
        cards, results = Path(scratch, "cards"), Results(Path(scratch, "results"))
        laid = lay(Path(folder), cards, {CLIPS, BIRDS}, 3 if given.quick else None)
        say(f"FOLDER: {laid.said()}")
        common = {**SHARED, "epochs": given.epochs, "warmup_epochs": 0.1 * given.epochs}
        values = {
            "results": str(results.root),
            "audio": {"root": str(cards)},
            "spectrogram": {"overlap_seconds": OVERLAP_S},
            "training_set": {"windows": 100_000},
            "experiments": {
                title: {**common, **EXPERIMENTS[name], "seed": int(title.rpartition("-")[2])}
                for title, name in trainings.items()
            },
        }
        written = Path(scratch, "config.yaml")
        written.write_text(yaml.safe_dump(values))
        make_windows(written, results)
        codes, windows = read_windows(results)
        asked = questions(laid, windows)
        with_windows = windows["recording"].n_unique()
        long_enough = sum(clip.seconds >= WINDOW_S or clip.repeated for clip in laid.clips)
        say(
            f"{len(codes):,} windows of {WINDOW_S:g} s, {OVERLAP_S:g} s of them shared, of "
            f"{with_windows} files; {long_enough - with_windows} copies of another set aside"
        )
        for one in asked:
            say(one.said())
        dawnchorus("sample", "--config", written)

        spaces: dict[str, Measured] = {}
        coding = Spectrogram()
        for name, (vectors, each) in baselines(codes, coding.db_min, coding.db_step).items():
            spaces[name] = measured(vectors, asked, each)
            spaces[f"{name}, whitened 1"] = measured(whitened(vectors, 1.0), asked, each)
        ceiling = of_birdnet(cards, windows, asked)
        if ceiling is None:
            say("BirdNET is not installed: no ceiling")
        else:
            spaces["BirdNET (supervised ceiling)"] = measured(ceiling, asked)

        minutes: dict[str, float] = {}
        several: dict[str, list[Measured]] = {}
        learned: dict[str, Measured] = {}
        for title, name in trainings.items():
            took = dawnchorus(
                *("train", "--config", written, "--experiment", title),
                *("--processes", given.processes),
            )
            minutes[title] = took / 60
            log = results.experiment(title).log.read_text(encoding="utf-8").splitlines()
            say(
                f"{title}: {json.loads(log[-1])['step']} steps, {took / 60:.1f} min in "
                f"{given.processes} processes"
            )
            metadata = read_metadata(results.experiment(title).model)
            network, _ = load_model(results.experiment(title).model)
            bare = f"untrained, {metadata.input}"
            if bare not in spaces:
                at_random = embedded(untrained(metadata), metadata, codes)
                spaces.update(with_whitening(bare, at_random, asked, SHRINKAGES[:1]))
            vectors = embedded(network, metadata, codes)
            for row_name, found in with_whitening(title, vectors, asked, SHRINKAGES).items():
                learned[row_name] = found
                several.setdefault(row_name.replace(title, name), []).append(found)
        for name, all_of in several.items():
            if len(all_of) > 1:
                learned[f"{name}: mean of {len(all_of)}"] = {
                    one.name: averaged([found[one.name] for found in all_of]) for one in asked
                }

    def candidate(title: str) -> str:
        mean = f"{title}: mean of {given.seeds}"
        return mean if mean in learned else title.replace(CANDIDATE, f"{CANDIDATE}-0")

    for one in asked:
        say()
        say(f"{one.name + ':':<44} {HEADER_OF_GROUPS.strip()}")
        for name, found in {**spaces, **learned}.items():
            say(row_of_groups(name, found[one.name]))
    first = chosen[0]
    winner = candidate(CANDIDATE) if CANDIDATE in chosen else f"{first}-0"
    plain = {name: found for name, found in spaces.items() if not name.startswith("BirdNET")}
    for one in asked:
        say()
        say(f"{one.name}, means over groups, {winner} less: 5-NN, linear probe")
        for name, found in plain.items():
            say(f"  {name:<42} {difference(learned[winner][one.name], found[one.name])}")

    def told(found: Measured) -> dict[str, list[float]]:
        return {
            name: [
                round(value, 4)
                for value in (one.knn, one.linear, one.knn_groups, one.linear_groups, one.ami)
            ]
            for name, one in found.items()
        }

    ours = learned[winner][BY_CLIP].knn
    peers = {name: found[BY_CLIP].knn for name, found in spaces.items()}
    best = max(found[BY_CLIP].knn for found in plain.values())
    say()
    say(
        json.dumps(
            {
                "benchmark": "learning_clips",
                "ours": round(ours, 4),
                "unit": f"5-NN accuracy on ESC-10 fold 1, leaving one clip out ({winner})",
                "peers": {name: round(value, 4) for name, value in peers.items()},
                "floor": None,
                "ratio_to_fastest_peer": round(ours / best, 3),
                "ratio_to_floor": None,
                "columns": ["5-NN", "linear", "5-NN, groups", "linear, groups", "AMI"],
                "all": {name: told(found) for name, found in {**spaces, **learned}.items()},
                "minutes": {name: round(took, 1) for name, took in minutes.items()},
            }
        )
    )
    if given.save:
        given.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
