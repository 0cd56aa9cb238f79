"""Labelled data sets from raw files to the comparison page, by one configuration and one call of Snakemake.

All sound files of FOLDER are laid as cards of recorders, which is the season that a DINO and a VICReg are trained
on, without labels. Its labelled clips (ESC-10 of Piczak 2015, birds of xeno-canto) and boxes (``labels_clips.csv``,
``labels_events.csv``) are named in the configuration as labelled sets, as they lie in FOLDER: the workflow reads
them anew, embeds them and fills the tables that are printed here, the baselines beside what larger sets of the same kind
gave (the yardsticks). The networks have heard these sets' sound; nobody has told them what it is.

Run ``python benchmarks/labelled.py FOLDER [--epochs 8] [--keep WORK] [--quick] [--save FILE]``; without FOLDER, that of
``DAWNCHORUS_AUDIO`` is taken. ``--keep`` leaves configuration, results and page in a folder that must not be there yet,
or goes on in one that an earlier run left.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from learning_clips import CANDIDATE, EXPERIMENTS, OVERLAP_S, SHARED
from sides.clips import Laid, lay

from dawnchorus.labelled_results import labelled_results
from dawnchorus.parquet import read_parquet
from dawnchorus.results import Results
from spectrograms import heading

PACKAGES = ("dawnchorus", "snakemake", "torch", "timm", "scikit-learn", "numpy", "polars")
REPOSITORY = Path(__file__).parents[1]
DINO, VICREG = "dino", "vicreg"
FEW = 3
"""Files of each label with ``--quick``."""

YARDSTICKS = {
    "esc10": {
        "log-mel": (0.70, 0.76),
        "log-mel, floor subtracted": (0.49, 0.53),
        "birdnet": (0.91, 0.94),
        "majority class": (0.10, 0.10),
        VICREG: (0.77, 0.83),
    },
    "birds": {
        "log-mel": (0.59, 0.73),
        "log-mel, floor subtracted": (0.72, 0.77),
        "birdnet": (0.95, 0.94),
        "majority class": (0.37, 0.37),
        VICREG: (0.56, 0.61),
    },
}
"""5-NN and linear probe on larger sets: all 400 clips of ESC-10 over its five folds, and a five-species set of
xeno-canto of which ``birds`` is a small part; VICReg is one of 13 minutes on two cores."""
GROUPINGS = {"esc10": ("recording", "source"), "birds": ("recording",)}
"""By which the probes of each set of clips are shown."""
BOXES = ("nbm_xc", "spinetail")
MAPS = ("departure", "heads", "energy")
METRICS = (
    "energy_in_boxes",
    "pointing_game",
    "intersection_over_union",
    "songs_found",
    "average_precision",
)


def sets(folder: Path) -> dict[str, Any]:
    """The labelled sets of the folder, as the configuration names them."""
    clips = {
        "audio": str(folder),
        "labels": str(folder / "labels_clips.csv"),
        "columns": {"group": "group", "fold": "fold"},
        "overlap_seconds": OVERLAP_S,
    }
    boxes = {
        "audio": str(folder),
        "labels": str(folder / "labels_events.csv"),
        "format": "boxes",
        "overlap_seconds": 0.0,
    }
    return {
        "esc10": {**clips, "where": {"dataset": "esc10"}},
        "birds": {**clips, "where": {"dataset": "nbm_xc"}},
        "nbm_xc": {**boxes, "where": {"dataset": "nbm_xc"}},
        "spinetail": {**boxes, "where": {"dataset": "scikit_maad"}},
    }


def configured(work: Path, folder: Path, epochs: float, quick: bool) -> tuple[Path, Laid | None]:
    """Lay the cards and write the configuration, unless they are there."""
    written = work / "config.yaml"
    if written.exists():
        return written, None
    laid = lay(folder, work / "cards", {"esc10", "nbm_xc"}, FEW if quick else None)
    common = {**SHARED, "epochs": epochs, "warmup_epochs": 0.1 * epochs}
    values = {
        "results": "results",
        "audio": {"root": "cards"},
        "spectrogram": {"overlap_seconds": OVERLAP_S},
        "training_set": {"windows": 100_000},
        "experiments": {
            DINO: {**common, **EXPERIMENTS[f"dino-{CANDIDATE}"]},
            VICREG: {**common, **EXPERIMENTS[CANDIDATE]},
        },
        "clustering": {"k": 20, "stability": 0},
        "map": {"method": "pca"},
        "evaluation": {"windows": 1000},
        "labelled_sets": sets(folder),
    }
    written.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return written, laid


def workflow(work: Path) -> float:
    """Run it to the comparison page; return its minutes."""
    begin = time.monotonic()
    command = [
        *(sys.executable, "-m", "snakemake", "comparison_figures"),
        *("--snakefile", str(REPOSITORY / "Snakefile")),
        *("--profile", str(REPOSITORY / "profiles" / "local"), "--configfile", "config.yaml"),
        *("--cores", "2", "--quiet", "progress"),
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=work, env=environment, check=True, stdout=sys.stderr)
    return (time.monotonic() - begin) / 60


def told(value: float | None, low: float | None = None, high: float | None = None) -> str:
    """A figure with its interval."""
    if value is None:
        return f"{'none':<19}"
    bounds = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
    return f"{value:.3f}{bounds}".ljust(19)


def probe_rows(probes: pl.DataFrame, grouping: str) -> pl.DataFrame:
    """Accuracy of nearest neighbours and the linear probe with all windows, grouped."""
    return probes.filter(
        (pl.col("target") == "species")
        & (pl.col("metric") == "accuracy")
        & pl.col("split").is_in(["grouped", "none"])
        & (pl.col("group") == grouping)
        & pl.col("shots").is_null()
    )


def of_clips(results: Results, name: str, figures: dict[str, Any]) -> Iterator[str]:
    """Lines about a set of clips: probes and clusters per space, beside the yardsticks."""
    folder = labelled_results(results, name).root
    probes = read_parquet(folder / "probes.parquet")
    agreement = read_parquet(folder / "agreement.parquet").filter(
        (pl.col("metric") == "ami")
        & (pl.col("labels") == "annotations")
        & (pl.col("unlabelled") == "left out")
    )
    for grouping in GROUPINGS[name]:
        rows = probe_rows(probes, grouping)
        if not rows.height:
            continue
        first = rows.row(0, named=True)
        yield ""
        yield (
            f"{name}, grouped by {grouping}: {first['windows']:,} windows, {first['classes']} classes, "
            f"{first['groups']} groups"
        )
        yield f"{'space':<30} {'5-NN':<19} {'linear':<19} {'yardstick':<10} AMI fitted / assigned"
        for space in rows["space"].unique(maintain_order=True):
            of = rows.filter(pl.col("space") == space)
            by_probe = {row["probe"]: row for row in of.iter_rows(named=True)}
            usual = by_probe.get("majority")
            pair = [by_probe.get("5-nearest neighbours", usual), by_probe.get("linear", usual)]
            cells = [
                told(row["value"], row["low"], row["high"]) if row else told(None) for row in pair
            ]
            yard = YARDSTICKS[name].get(space)
            beside = f"{yard[0]:.2f} {yard[1]:.2f}" if yard else ""
            amis = agreement.filter(pl.col("space") == space)
            values = dict(amis.select("clustering", "value").iter_rows())
            shown = " / ".join(
                f"{values[kind]:.3f}"
                for kind in ("fitted", "assigned")
                if values.get(kind) is not None
            )
            yield f"{space:<30} {cells[0]} {cells[1]} {beside:<10} {shown}"
            figures[f"{name}/{grouping}/{space}"] = [row["value"] if row else None for row in pair]


def of_boxes(results: Results, name: str, figures: dict[str, Any]) -> Iterator[str]:
    """Lines about a set of boxes: where the attention lies, per experiment and map."""
    attention = read_parquet(labelled_results(results, name).root / "attention.parquet")
    for metric in METRICS:
        rows = attention.filter((pl.col("metric") == metric) & pl.col("map").is_in(MAPS))
        if not rows.height:
            continue
        yield ""
        yield f"{name}, {metric}: {rows['windows'][0]:,} windows or songs"
        for row in rows.sort("experiment", "map").iter_rows(named=True):
            value = told(row["value"], row["low"], row["high"])
            yield f"{row['experiment']:<10} {row['map']:<12} {value} by chance {told(row['chance']).strip()}"
            figures[f"{name}/{metric}/{row['experiment']}/{row['map']}"] = row["value"]


def left_out(results: Results, name: str) -> Iterator[str]:
    """Lines about what of a set is in no figure."""
    coverage = read_parquet(labelled_results(results, name).root / "coverage.parquet")
    for row in coverage.filter(
        ~pl.col("what").is_in(["windows", "birdnet", "annotations"])
    ).iter_rows(named=True):
        count = "" if row["windows"] is None else f" {row['windows']:,} of {row['of']:,}"
        yield f"{name}: {row['what']} {row['name']}{count}: {row['note'] or ''}".rstrip(": ")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", metavar="FOLDER", nargs="?", type=Path, help="of recordings")
    parser.add_argument("--epochs", type=float, default=8.0, help="of each training")
    parser.add_argument("--keep", type=Path, help="work here, and leave it")
    parser.add_argument("--quick", action="store_true", help="few files, one epoch")
    parser.add_argument("--save", type=Path, help="write what is printed here too")
    given = parser.parse_args(arguments)
    folder = given.folder or os.environ.get("DAWNCHORUS_AUDIO")
    if not folder:
        print("no FOLDER of recordings, and DAWNCHORUS_AUDIO is not set: nothing done")
        return
    epochs = 1.0 if given.quick else given.epochs
    lines = heading(PACKAGES)
    print("\n".join(lines))

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    say(f"command: labelled.py FOLDER --epochs {epochs:g}{' --quick' if given.quick else ''}")
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        work = given.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="dawnchorus-"))
        )
        work.mkdir(parents=True, exist_ok=True)
        _, laid = configured(work, Path(folder).resolve(), epochs, given.quick)
        if laid is not None:
            say(f"the season, of FOLDER: {laid.said()}")
        minutes = workflow(work)
        say(f"snakemake comparison_figures: {minutes:.1f} min on two cores, all steps")
        results = Results(work / "results")
        for name in GROUPINGS:
            for line in of_clips(results, name, figures):
                say(line)
        for name in BOXES:
            for line in of_boxes(results, name, figures):
                say(line)
        say()
        for name in (*GROUPINGS, *BOXES):
            for line in left_out(results, name):
                say(line)
        pages = sorted(path.name for path in (results.evaluation / "figures").iterdir())
        say(f"results/evaluation/figures: {', '.join(pages)}")
    grouping = GROUPINGS["esc10"][0]
    of_space = {
        key.rsplit("/", 1)[1]: value[0]
        for key, value in figures.items()
        if key.startswith(f"esc10/{grouping}/")
    }
    ours = of_space[VICREG]
    peers = {name: value for name, value in of_space.items() if name not in (VICREG, DINO)}
    plain = [
        value
        for name, value in peers.items()
        if value is not None and not name.startswith("birdnet")
    ]
    say()
    say(
        json.dumps(
            {
                "benchmark": "labelled",
                "ours": round(ours, 4),
                "unit": f"5-NN accuracy on ESC-10 fold 1, grouped by {grouping} (VICReg)",
                "peers": {
                    name: None if one is None else round(one, 4) for name, one in peers.items()
                },
                "floor": None,
                "ratio_to_fastest_peer": round(ours / max(plain), 3),
                "ratio_to_floor": None,
                "all": figures,
                "minutes": round(minutes, 1),
            }
        )
    )
    if given.save:
        given.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
