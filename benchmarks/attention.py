"""Whether the boxes lie around the songs, beside boxes around the energy above the noise floor.

Two seasons are simulated. On the first, networks with patches of the reference season's size (0.19 s, 8 of
64 mel bands) are trained without labels by the product's own commands: DINO with the class token as the
window's vector, which is the poster's protocol, and VICReg with the maximum of each band. The second
season, of other recorders, is never seen before; there, songs of more than 6 dB over all else in their
box are looked for, each in the window that holds most of it. A song is found if one box has an
intersection over union with it (in seconds and hertz) of at least 0.3. All keys of the section `attention`
have their defaults, which were chosen on the first season.

The energy baseline takes its map (decibels above the window's median per band, mean per cell) through the
same mask, join and limits: as it is, and with what is less than 6 dB above the floor counted as nothing.
The ceiling is the best box of whole cells. "Good boxes" are those that find a song of any level above 0 dB,
of all boxes in the windows; "idle" are the boxes per window in which nothing sings.

Run ``python benchmarks/attention.py [--quick] [--minutes 10 | --epochs 6] [--save FILE]``. Draws windows beside FILE.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from learning_season import Season, make_season, pace
from numpy.typing import NDArray
from sides.commands import dawnchorus, read_windows

from dawnchorus.attention.energy import agreement, energy_map
from dawnchorus.attention.looking import Look, Looker
from dawnchorus.attention.masks import PatchGrid, boxes_of
from dawnchorus.attention.sources import HEADS, merged
from dawnchorus.config import Attention
from dawnchorus.evaluation.found import (
    FOUND,
    Boxes,
    best_overlaps,
    ceiling,
    overlaps,
    songs_in_windows,
)
from dawnchorus.learning.backbone import untrained
from dawnchorus.spectrograms.store import SpectrogramStore
from spectrograms import heading

PACKAGES = ("dawnchorus", "torch", "timm", "numpy")
WINDOW_S, HERTZ = 3.0, (150.0, 15_000.0)
LOUD_DB, HEARD_DB = 6.0, 0.0
TRAINING_WINDOWS = 4000
SHARED = {
    "backbone": "vit_micro",
    "patch": 8,
    "input": "contrast",
    "precision": "fp32",
    "augmentation": {
        "mix_probability": 0.0,
        "global_time": [0.75, 0.75],
        "global_mel": [1.0, 1.0],
        "frequency_mask_mels": 5,
        "time_mask_frames": 11,
    },
}
EXPERIMENTS = {
    "dino": {"method": "dino", "pooling": "cls"},
    "vicreg": {"method": "vicreg", "pooling": "bands-max"},
}
HEADER = f"{'map':<28} {'agree':>6} {'found':>6} {'IoU':>6} {'boxes':>6} {'good':>6} {'idle':>6} {'song energy':>12}"


@dataclass(frozen=True)
class Judged:
    """Windows, and what sings in them.

    Attributes
    ----------
    codes : uint8 array (n, mels, frames)
    start : float array (n,)
        Of each window in its recording.
    loud, heard : DataFrame
        Songs above 6 and above 0 dB (``window`` counts in these arrays).
    store : SpectrogramStore
        Any, for the axes.
    """

    codes: NDArray[np.uint8]
    start: NDArray[np.float64]
    loud: pl.DataFrame
    heard: pl.DataFrame
    store: SpectrogramStore

    @property
    def decibels(self) -> NDArray[np.float32]:
        """Of the windows."""
        return self.store.db(self.codes)

    def grid(self, cell: tuple[int, int], finer: int = 1) -> PatchGrid:
        """Cells in hertz and seconds; ``finer`` than the patches that light them up."""
        hop = float(self.store.frame_time[1] - self.store.frame_time[0])
        return PatchGrid.of(
            self.store.band_low, self.store.band_high, self.store.frame_time, hop, cell, finer
        )


@dataclass(frozen=True)
class Figures:
    """What a map is worth."""

    agree: float
    found: float
    overlap: float
    boxes: float
    good: float
    idle: float
    song_energy: float

    def row(self, name: str) -> str:
        """One line of the table."""
        return (
            f"{name:<28} {self.agree:>6.2f} {self.found:>6.3f} {self.overlap:>6.3f} {self.boxes:>6.1f} "
            f"{self.good:>6.2f} {self.idle:>6.1f} {self.song_energy:>12.2f}"
        )


def choose(season: Season, most: int, seed: int = 0) -> Judged:
    """Draw windows in which a loud song is to be looked for, and half as many without any song."""
    codes, windows = read_windows(season.results)
    windows = windows.rename({"start": "start_s"})
    truth = pl.read_parquet(season.folder / "season/truth.parquet").filter(pl.col("kind") == "song")
    placed = {
        least: songs_in_windows(truth.filter(pl.col("snr_db") >= least), windows, WINDOW_S, HERTZ)
        for least in (LOUD_DB, HEARD_DB)
    }
    anything = songs_in_windows(truth, windows, WINDOW_S, HERTZ, every_window=True)["window"]
    singing = placed[LOUD_DB]["window"].unique().sort().to_numpy()
    silent = np.setdiff1d(windows["window"].to_numpy(), anything.to_numpy())
    random = np.random.default_rng(seed)
    rows = np.concatenate(
        [
            np.sort(random.choice(some, min(count, len(some)), replace=False))
            for some, count in ((singing, most), (silent, most // 2))
        ]
    )
    numbers = pl.DataFrame({"window": rows, "place": np.arange(len(rows))}).cast(pl.UInt32)

    def here(songs: pl.DataFrame) -> pl.DataFrame:
        return songs.join(numbers, on="window").drop("window").rename({"place": "window"})

    day = next(
        day
        for day in season.results.days_with_receipts()
        if season.results.spectrograms(day).exists()
    )
    return Judged(
        codes[rows],
        windows["start_s"].to_numpy()[rows],
        here(placed[LOUD_DB]),
        here(placed[HEARD_DB]),
        SpectrogramStore.open(season.results.spectrograms(day)),
    )


def covered(edges: Boxes, start: float, judged: Judged) -> NDArray[np.bool_]:
    """Pixels of a window whose middle lies in a box."""
    time, hertz = start + judged.store.frame_time, judged.store.band_frequency
    inside = np.zeros((len(hertz), len(time)), dtype=bool)
    for begin, end, low, high in edges:
        inside |= ((hertz >= low) & (hertz <= high))[:, None] & ((time >= begin) & (time <= end))
    return inside


def judge(
    judged: Judged,
    maps: NDArray[np.float32],
    cell: tuple[int, int],
    wanted: Attention,
    finer: int = 1,
) -> Figures:
    """Take maps (n, rows, columns) through mask and boxes and compare them with the songs."""
    grid, loud = judged.grid(cell, finer), by_window(judged.loud)
    heard, power = by_window(judged.heard), 10 ** (judged.decibels / 10)
    boxes: dict[int, Boxes] = {}
    good, idle, shares = [], [], []
    for window, map_ in enumerate(maps):
        mask, found = boxes_of(map_, grid, wanted)
        start = judged.start[window]
        edges = np.array(
            [[start + one.start_s, start + one.end_s, one.low_hz, one.high_hz] for one in found]
        ).reshape(-1, 4)
        boxes[window] = edges
        if window not in loud:
            idle.append(len(edges))
            continue
        good += list((overlaps(edges, heard[window]) >= FOUND).any(axis=1))
        kept = np.kron(mask, np.ones(cell, dtype=bool))
        song = covered(heard[window], start, judged)
        shares.append(power[window][kept & song].sum() / max(power[window][kept].sum(), 1e-30))
    best = best_overlaps(judged.loud, boxes)
    agree = agreement(maps[:, None], energy_map(judged.decibels, cell))
    return Figures(
        float(agree[0]),
        float((best >= FOUND).mean()),
        float(best.mean()),
        len(good) / max(len(loud), 1),
        float(np.mean(good)) if good else 0.0,
        float(np.mean(idle)) if idle else 0.0,
        float(np.mean(shares)) if shares else 0.0,
    )


def by_window(songs: pl.DataFrame) -> dict[int, Boxes]:
    """Boxes of the songs of each window."""
    columns = ("start_s", "end_s", "low_hz", "high_hz")
    return {
        int(window): part.select(columns).to_numpy()
        for (window,), part in songs.group_by(["window"])
    }


def baselines(
    judged: Judged, cell: tuple[int, int], wanted: Attention
) -> Iterator[tuple[str, NDArray[np.float32], tuple[int, int]]]:
    """Maps without a network: energy on the same cells and on finer ones; everywhere the same."""
    half = (max(1, cell[0] // 2), max(1, cell[1] // 2))
    for side in (cell, half, (1, 1)):
        for threshold in (0.0, 6.0):
            name = f"energy {side[0]}x{side[1]}" + (f" over {threshold:g} dB" if threshold else "")
            yield name, energy_map(judged.decibels, side, threshold), side
    shape = (len(judged.codes), *energy_map(judged.decibels[:1], cell).shape[1:])
    # The strongest cells of nothing in particular: what the boxes are worth by chance.
    yield "chance", np.random.default_rng(0).random(shape, dtype=np.float32), cell


def of_network(looker: Looker, seen: Look) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """All maps of a network, by name."""
    import torch

    heads = torch.from_numpy(seen.heads)
    weights = None if looker.agreement is None else torch.tensor(looker.agreement).float()
    for merge in ("mean", "max", "agreement"):
        yield f"heads, {merge}", merged(heads, merge, weights).numpy()
    for head in range(seen.heads.shape[1]):
        yield f"head {head + 1}", seen.heads[:, head]
    for name, map_ in seen.maps.items():
        if name != HEADS:
            yield name, map_


def without(judged: Judged, looker: Looker, seen: Look) -> dict[str, Figures]:
    """The default map with one choice less: syllables not joined, half the mass, a cell per patch."""
    wanted, source = looker.wanted, looker.wanted.source
    found = {}
    for name, changes in (("not joined", {"join_seconds": 0.0}), ("mass 0.5", {"mass": 0.5})):
        changed = wanted.model_copy(update=changes)
        found[f"{source}, {name}"] = judge(
            judged, seen.maps[source], looker.cell, changed, wanted.finer
        )
    changed = wanted.model_copy(update={"finer": 1})
    coarse = Looker(looker.module, looker.metadata, changed, batch_size=32)
    maps = coarse.look(judged.codes).maps[source]
    found[f"{source}, finer 1"] = judge(judged, maps, coarse.cell, changed)
    return found


def draw(judged: Judged, network: str, seen: Look, looker: Looker, path: Path) -> None:
    """Draw some windows: spectrogram with songs and boxes, the default map, the mean of the heads."""
    from matplotlib.patches import Rectangle

    from dawnchorus.report.attention_window import BOX, Canvas
    from dawnchorus.report.style import drawing
    from dawnchorus.report.windows import Pictures

    wanted, grid = looker.wanted, judged.grid(looker.cell, looker.wanted.finer)
    songs = by_window(judged.loud)
    chosen = sorted(songs)[:: max(1, len(songs) // 6)][:6]
    pictures = Pictures(judged.decibels[chosen], judged.store.band_frequency, WINDOW_S)
    names: list[str] = [wanted.source, HEADS]
    with drawing(path, 11, 1.7 * len(chosen), 70) as figure:
        lines = figure.subplots(len(chosen), 3, sharex=True, sharey=True, squeeze=False)
        for row, window in enumerate(chosen):
            canvas = Canvas(pictures, row)
            canvas.spectrogram(lines[row, 0])
            _, found = boxes_of(seen.maps[wanted.source][window], grid, wanted)
            edges = [(one.start_s, one.end_s, one.low_hz, one.high_hz, BOX, "-") for one in found]
            edges += [
                (begin - judged.start[window], end - judged.start[window], low, high, "white", ":")
                for begin, end, low, high in songs[window]
            ]
            for begin, end, low, high, colour, style in edges:
                bottom, top = np.interp(
                    (low, high), judged.store.band_frequency, np.arange(judged.store.mels) + 0.5
                )
                lines[row, 0].add_patch(
                    Rectangle(
                        (begin, bottom), end - begin, top - bottom,
                        fill=False, edgecolor=colour, linestyle=style, linewidth=1.4,
                    )
                )  # fmt: skip
            for axes, name in zip(lines[row, 1:], names, strict=True):
                canvas.map(axes, seen.maps[name][window])
            canvas.ticks(lines[row, 0])
        titles = [f"{network}: songs (dotted) and boxes", *names]
        for axes, title in zip(lines[0], titles, strict=True):
            axes.set_title(title)
        for axes in lines[-1]:
            axes.set_xlabel("seconds")


def main(arguments: Sequence[str] | None = None) -> None:  # noqa: PLR0915 - top to bottom
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small season, seconds of training")
    parser.add_argument("--minutes", type=float, default=10.0, help="of training per experiment")
    parser.add_argument("--epochs", type=float, help="of training, on a machine that is busy")
    parser.add_argument("--windows", type=int, default=400, help="with song, that are looked at")
    parser.add_argument("--set", action="append", default=[], help="attention key=value, tried out")
    parser.add_argument(
        "--on-first", action="store_true", help="judge the season that was trained on"
    )
    parser.add_argument("--save", type=Path, help="write what is printed here too")
    given = parser.parse_args(arguments)
    lines = heading(PACKAGES)
    print("\n".join(lines))

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    size = (2, 1, 2) if given.quick else (8, 2, 8)
    minutes, most = (0.1, 40) if given.quick else (given.minutes, given.windows)
    changes = [f"training_set.windows={200 if given.quick else TRAINING_WINDOWS}"]
    wanted = Attention.model_validate(dict(one.split("=", 1) for one in given.set))
    experiments = {name: {**SHARED, **own} for name, own in EXPERIMENTS.items()}
    if given.quick:
        del experiments["dino"]
    with tempfile.TemporaryDirectory(prefix="dawnchorus-") as scratch:
        season = make_season(Path(scratch, "one"), 2021, *size, experiments)
        other = (
            season
            if given.on_first
            else make_season(Path(scratch, "two"), 7, size[0], 1, size[2], experiments)
        )
        options = ("--config", season.configuration, "--set", changes[0])
        dawnchorus("sample", *options)
        judged = choose(other, most)
        cell = (SHARED["patch"] // wanted.finer,) * 2
        whole = [
            ten[song].sum() / ten.sum()
            for window, edges in by_window(judged.heard).items()
            if window in by_window(judged.loud)
            for ten in [10 ** (judged.decibels[window] / 10)]
            for song in [covered(edges, judged.start[window], judged)]
        ]
        best = ceiling(judged.loud, judged.grid(cell), judged.start)
        of_patch = ceiling(judged.loud, judged.grid((SHARED["patch"],) * 2), judged.start)
        say(
            f"{judged.loud.height} songs above {LOUD_DB:g} dB in {len(by_window(judged.loud))} windows "
            f"of {len(other.codes):,} of a season {'of the training' if given.on_first else 'never seen'}"
        )
        say(f"section attention: {wanted.model_dump()}")
        say(
            f"ceiling, best box of whole patches: {(of_patch >= FOUND).mean():.3f} found, IoU "
            f"{of_patch.mean():.3f}; of cells of {cell[0]}x{cell[1]}: {(best >= FOUND).mean():.3f}, {best.mean():.3f}"
        )
        say(f"song's share of the energy of whole windows: {np.mean(whole):.2f}")
        tables: dict[str, dict[str, Figures]] = {"nothing learned": {}}
        for name, maps, side in baselines(judged, cell, wanted):
            tables["nothing learned"][name] = judge(judged, maps, side, wanted)
        for name in experiments:
            train = ("train", *options, "--experiment", name)
            windows = 200 if given.quick else TRAINING_WINDOWS
            epochs = given.epochs
            if epochs is None:
                rate = pace(season, name, train)
                epochs = round(max(0.5, 60 * minutes * rate / windows), 1)
            seconds = dawnchorus(*train, "--set", f"experiments.{name}.epochs={epochs}", threads=2)
            say(f"{name}: {epochs} epochs of {windows:,} windows, {seconds / 60:.1f} min")
            looker = Looker.load(
                season.results.experiment(name).model, wanted, batch_size=32, device="cpu"
            )
            looker.agree_on(season.codes[:: max(1, len(season.codes) // 128)][:128])
            seen = looker.look(judged.codes)
            blank = Looker(untrained(looker.metadata), looker.metadata, wanted, batch_size=32)
            tables["nothing learned"][f"untrained {name}, {wanted.source}"] = judge(
                judged, blank.look(judged.codes).maps[wanted.source], cell, wanted, wanted.finer
            )
            tables[name] = {
                map_name: judge(judged, maps, cell, wanted, wanted.finer)
                for map_name, maps in of_network(looker, seen)
            } | without(judged, looker, seen)
            if given.save:
                draw(
                    judged,
                    name,
                    seen,
                    looker,
                    given.save.with_name(f"{given.save.stem}_{name}.png"),
                )
        for title, table in tables.items():
            say()
            say(f"{title}: {HEADER[len(title) + 2 :]}" if len(title) < 24 else HEADER)
            for name, figures in table.items():
                say(figures.row(name))
    ours = {name: table[wanted.source] for name, table in tables.items() if name in experiments}
    winner = max(ours, key=lambda name: ours[name].found)
    peers = {name: round(one.found, 4) for name, one in tables["nothing learned"].items()}
    say()
    say(
        json.dumps(
            {
                "benchmark": "attention",
                "ours": round(ours[winner].found, 4),
                "unit": f"share of songs above 6 dB found at IoU 0.3 ({winner}, {wanted.source})",
                "peers": peers,
                "experiments": {
                    name: {key: round(one.found, 4) for key, one in table.items()}
                    for name, table in tables.items()
                    if name in experiments
                },
                "floor": None,
                "ceiling": round(float((best >= FOUND).mean()), 4),
                "ratio_to_fastest_peer": round(ours[winner].found / max(peers.values()), 3),
                "ratio_to_floor": None,
                "song_energy": {name: round(one.song_energy, 4) for name, one in ours.items()},
                "song_energy_of_whole_windows": round(float(np.mean(whole)), 4),
            }
        )
    )
    if given.save:
        given.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
