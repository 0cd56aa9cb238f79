"""What is learned without labels from a simulated season, beside log-mel statistics and PCA.

A season of 12 recorders is simulated, its spectrograms are made, a training set is drawn, and each
experiment is trained by the product's own commands (`dawnchorus train`, two processes). Judged are
all windows in which exactly one species sings audibly (3 dB over all else in its box, the
simulation's own bound) for a tenth of the window or of the song at least: where two sing, no single
answer is right. Nearest neighbours and linear probes answer for recorders that they have no window
of; the networks had those recorders' windows, without labels. A second season, of other recorders
that no network has seen in any way, is judged beside it.

Run ``python benchmarks/learning_season.py [--quick] [--minutes 20] [--save FILE]``. Writes the curve
over training beside FILE.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
import yaml
from numpy.typing import NDArray
from sides.commands import dawnchorus, make_windows, read_windows
from sides.judged import HEADER, Figures, Question, baselines, embedded, judged, row

from dawnchorus import config
from dawnchorus.config import Settings
from dawnchorus.learning import checkpoint, training_set
from dawnchorus.learning.backbone import ModelMetadata, load_model, read_metadata, untrained
from dawnchorus.learning.methods import METHODS
from dawnchorus.learning.networks import Backbone
from dawnchorus.learning.plan import plan
from dawnchorus.learning.ranks import Ranks
from dawnchorus.results import Results
from dawnchorus.spectrograms.store import SpectrogramStore
from spectrograms import heading

PACKAGES = ("dawnchorus", "torch", "timm", "scikit-learn", "numpy")
WINDOW_S = 3.0
AUDIBLE_DB = 3.0
"""`dawnchorus.simulate` calls a song audible from here on."""
LEAST_SHARE = 0.1
CURVE_POINTS = 12
# All else is the recipe's, for a training set of this size (`dawnchorus train --show-recipe`).
SHARED = {
    "backbone": "vit_micro",
    "patch": [64, 8],
    "input": "contrast",
    "precision": "fp32",
    "augmentation": {
        "mix_probability": 0.0,
        "global_time": [0.75, 0.75],
        "global_mel": [1.0, 1.0],
        "frequency_mask_mels": 5,
        "time_mask_frames": 11,
    },
    "checkpoint_minutes": 0.5,
    "keep_checkpoints": 1000,
}
EXPERIMENTS = {"dino": {"method": "dino"}, "vicreg": {"method": "vicreg"}}
TRAINING_WINDOWS = 7_800


@dataclass(frozen=True)
class Season:
    """A simulated season with its windows in memory."""

    folder: Path
    configuration: Path
    settings: Settings
    results: Results
    codes: NDArray[np.uint8]
    question: Question


def make_season(
    folder: Path, seed: int, recorders: int, days: int, recordings: int, experiments: dict
) -> Season:
    """Simulate a season, make its spectrograms, find which windows are asked for."""
    dawnchorus(
        *("simulate", folder / "season", "--recorders", recorders, "--days", days),
        *("--recordings", recordings, "--seed", seed, "--workers", 2),
    )
    written = folder / "config.yaml"
    values = {
        "results": str(folder / "results"),
        "audio": {
            "root": str(folder / "season/cards"),
            "deployments": str(folder / "season/deployments.csv"),
            "timezone": "America/Chicago",
        },
        "spectrogram": {"n_fft": 2048, "hop_length": 1024, "mels": 64, "frames": 128},
        "training_set": {"windows": TRAINING_WINDOWS, "activity_weight": 1.0},
        "experiments": experiments,
    }
    written.write_text(yaml.safe_dump(values))
    settings, results = config.load([written]), Results(folder / "results")
    make_windows(written, results)
    codes, windows = read_windows(results)
    truth = pl.read_parquet(folder / "season/truth.parquet")
    return Season(folder, written, settings, results, codes, question(windows, truth))


def question(windows: pl.DataFrame, truth: pl.DataFrame) -> Question:
    """Windows in which exactly one species is audible, and which."""
    songs = truth.filter((pl.col("kind") == "song") & (pl.col("snr_db") >= AUDIBLE_DB))
    met = (
        windows.join(songs, on="recording")
        .with_columns(
            shared=pl.min_horizontal(pl.col("start") + WINDOW_S, "end_s")
            - pl.max_horizontal("start", "start_s"),
            least=LEAST_SHARE
            * pl.min_horizontal(pl.lit(WINDOW_S), pl.col("end_s") - pl.col("start_s")),
        )
        .filter(pl.col("shared") > 0)
    )
    alone = met.group_by("window").agg(
        pl.col("species").n_unique().alias("species_there"),
        pl.col("species").first(),
        (pl.col("shared") >= pl.col("least")).any().alias("long_enough"),
    )
    kept = alone.filter((pl.col("species_there") == 1) & pl.col("long_enough")).sort("window")
    rows = kept["window"].to_numpy().astype(np.int64)
    return Question(
        "one species audible",
        rows,
        kept["species"].to_numpy().astype(str),
        windows["recorder"].to_numpy().astype(str)[rows],
    )


def network_at(season: Season, name: str, at: checkpoint.Checkpoint) -> Backbone:
    """The network as a checkpoint holds it."""
    course = plan(season.settings, season.results, name)
    alone = Ranks(0, 1, 0, torch.device("cpu"))
    method = METHODS[course.experiment.method](
        course.experiment, course.mels, course.frames, course.clock, alone
    )
    checkpoint.restore_weights(at, method)
    return method.backbone


def curve(season: Season, name: str, metadata: ModelMetadata) -> list[tuple[int, Figures]]:
    """Figures over training, from the checkpoints that were kept; step 0 is the untrained network."""
    folder = season.results.experiment(name).checkpoints
    kept = [one for lineage in folder.iterdir() for one in checkpoint.complete(lineage)]
    kept.sort(key=lambda one: one.position.step)
    chosen = [
        kept[at]
        for at in np.unique(np.linspace(0, len(kept) - 1, CURVE_POINTS).round().astype(int))
    ]
    wanted = Question(
        "", np.arange(len(season.question.kept)), season.question.label, season.question.group
    )
    codes = season.codes[season.question.kept]
    points = [(0, judged(embedded(untrained(metadata), metadata, codes), wanted))]
    for one in chosen:
        vectors = embedded(network_at(season, name, one), metadata, codes)
        points.append((one.position.step, judged(vectors, wanted)))
    return points


def draw(
    curves: dict[str, list[tuple[int, Figures]]], baselines: dict[str, Figures], path: Path
) -> None:
    """Draw nearest neighbours and AMI over training, each beside the baseline that is best at it."""
    from dawnchorus.report.style import COLOURS, drawing

    with drawing(path, 9, 3.6) as figure:
        for axes, (key, title) in zip(
            figure.subplots(1, 2),
            (("knn", "5 nearest neighbours, held-out recorders"), ("ami", "AMI of k-means")),
            strict=True,
        ):
            for colour, (name, points) in zip(COLOURS, curves.items(), strict=False):
                steps = [step for step, _ in points]
                axes.plot(
                    steps,
                    [getattr(found, key) for _, found in points],
                    "o-",
                    color=colour,
                    label=name,
                )
            best = max(baselines, key=lambda name, key=key: getattr(baselines[name], key))
            height = getattr(baselines[best], key)
            axes.axhline(height, linestyle=":", color="0.4", label=f"best baseline: {best}")
            axes.set(title=title, xlabel="step", ylim=(0, 1))
            axes.legend(fontsize=8, frameon=False, loc="lower right")


def main(arguments: Sequence[str] | None = None) -> None:  # noqa: PLR0915 - top to bottom
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small season, seconds of training")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training per experiment")
    parser.add_argument("--windows-per-second", type=float, default=None, help="if you know it")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--save", type=Path, help="write what is printed here too")
    given = parser.parse_args(arguments)
    lines = heading(PACKAGES)
    print("\n".join(lines))

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    size = (3, 1, 2) if given.quick else (12, 2, 10)
    minutes = 0.2 if given.quick else given.minutes
    with tempfile.TemporaryDirectory(prefix="dawnchorus-") as scratch:
        experiments = {name: {**SHARED, **own} for name, own in EXPERIMENTS.items()}
        season = make_season(Path(scratch, "one"), 2021, *size, experiments)
        other = make_season(Path(scratch, "two"), 7, size[0], 1, size[2], experiments)
        say(f"season: {len(season.codes):,} windows; {season.question.said()}")
        say(f"unseen: {len(other.codes):,} windows; {other.question.said()}")
        dawnchorus("sample", "--config", season.configuration)
        coding = SpectrogramStore.open(
            season.results.spectrograms(season.results.days_with_receipts()[0])
        )
        low, high = coding.db(np.array([0, 1], dtype=np.uint8)).tolist()
        rows: dict[str, dict[str, Figures]] = {"season": {}, "unseen": {}}
        for title, one in (("season", season), ("unseen", other)):
            for name, (vectors, each) in baselines(one.codes, low, high - low).items():
                rows[title][name] = judged(vectors, one.question, scale_each=each)

        curves, seconds = {}, {}
        for name in experiments:
            train: tuple[object, ...] = (
                "train",
                "--config",
                season.configuration,
                "--experiment",
                name,
            )
            train = (*train, "--processes", given.processes)
            # How many epochs fit: from the rate of a first short training of the same kind.
            rate = given.windows_per_second or pace(season, name, train)
            windows = training_set.windows_drawn(season.settings, season.results)
            epochs = round(max(0.5, 60 * minutes * rate / windows), 1)
            stated = (f"experiments.{name}.epochs={epochs}",)
            begin = time.monotonic()
            dawnchorus(*train, *(part for one in stated for part in ("--set", one)))
            seconds[name] = time.monotonic() - begin
            season = with_epochs(season, name, epochs)
            metadata = read_metadata(season.results.experiment(name).model)
            network, _ = load_model(season.results.experiment(name).model)
            for title, one in (("season", season), ("unseen", other)):
                rows[title][f"untrained {name}"] = judged(
                    embedded(untrained(metadata), metadata, one.codes), one.question
                )
                rows[title][name] = judged(embedded(network, metadata, one.codes), one.question)
            curves[name] = curve(season, name, metadata)
            say(
                f"{name}: {epochs} epochs of {windows:,} windows, {seconds[name] / 60:.1f} min in "
                f"{given.processes} processes; dawnchorus "
                + " ".join(map(str, train)).replace(str(season.folder), "FOLDER")
            )
        for title, measured in rows.items():
            say()
            say(f"{title + ':':<44} {HEADER.strip()}")
            for name, found in measured.items():
                say(row(name, found))
        for name, points in curves.items():
            say()
            say(f"{name} over training: step, 5-NN, linear, AMI")
            for step, found in points:
                say(f"  {step:>6} {found.knn:.3f} {found.linear:.3f} {found.ami:.3f}")

    of_season = rows["season"]
    base = {name: found for name, found in of_season.items() if name not in experiments}
    best = max(base.values(), key=lambda found: found.knn)
    winner = max(experiments, key=lambda name: of_season[name].knn)
    say()
    say(
        json.dumps(
            {
                "benchmark": "learning_season",
                "ours": round(of_season[winner].knn, 4),
                "unit": f"5-NN accuracy on held-out recorders ({winner})",
                "peers": {name: round(found.knn, 4) for name, found in base.items()},
                "experiments": {name: round(of_season[name].knn, 4) for name in experiments},
                "floor": None,
                "ratio_to_fastest_peer": round(of_season[winner].knn / best.knn, 3),
                "ratio_to_floor": None,
                "ami": {name: round(found.ami, 4) for name, found in of_season.items()},
                "unseen": {name: round(found.knn, 4) for name, found in rows["unseen"].items()},
                "minutes": {name: round(took / 60, 1) for name, took in seconds.items()},
            }
        )
    )
    if given.save:
        given.save.write_text("\n".join(lines) + "\n", encoding="utf-8")
        draw(curves, base, given.save.with_suffix(".png"))


def with_epochs(season: Season, name: str, epochs: float) -> Season:
    """The season with the settings that an experiment was trained with."""
    settings = config.load([season.configuration], [f"experiments.{name}.epochs={epochs}"])
    return Season(
        season.folder, season.configuration, settings, season.results, season.codes, season.question
    )


def pace(season: Season, name: str, train: tuple[object, ...]) -> float:
    """Windows per second of a short training, in a results folder of its own."""
    short = Path(str(season.results.root) + "-pace")
    short.mkdir(exist_ok=True)
    for part in ("spectrograms", "training"):
        link = short / part
        if not link.exists():
            link.symlink_to(season.results.root / part)
    dawnchorus(*train, "--set", f"results={short}", "--set", f"experiments.{name}.epochs=0.3")
    log = Results(short).experiment(name).log.read_text().splitlines()
    rates = [json.loads(line)["windows_per_second"] for line in log][1:]
    return float(np.median(rates or [json.loads(log[0])["windows_per_second"]]))


if __name__ == "__main__":
    main()
