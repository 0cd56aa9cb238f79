"""Tables of an evaluation as they might be: two methods, two sizes, six baselines, two kinds of label.

Made by hand, from a strength per space; written through the evaluation's own writer.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from dawnchorus.config import Settings, validate
from dawnchorus.evaluation.tables import write_tables
from dawnchorus.results import Results, write_receipt

GROUPS = ("recorder_day", "recording", "recorder")
CONFIDENCES = (0.1, 0.25, 0.5, 0.7, 0.9)
SPECIES = (
    "Erithacus rubecula",
    "Turdus merula",
    "Parus major",
    "Strix aluco",
    "Troglodytes troglodytes",
)
NUISANCE = {"recorder": 6, "month": 3, "week": 10, "hour": 24}
CURVED = ("dino_vits16", "vicreg_vits16", "log-mel, floor subtracted", "birdnet")
"""Spaces with few-shot curves and every confidence: drawing all of them takes its time."""
EXPERIMENTS = ("dino_vits16", "dino_vitb16", "vicreg_vits16", "vicreg_vitb16")

# Name, kind, dimension, what a linear probe tells of species, and of the recorder.
SPACES = (
    ("dino_vits16", "experiment", 384, 0.71, 0.83),
    ("dino_vitb16", "experiment", 768, 0.73, 0.86),
    ("vicreg_vits16", "experiment", 384, 0.64, 0.88),
    ("vicreg_vitb16", "experiment", 768, 0.66, 0.90),
    ("log-mel", "baseline", 256, 0.52, 0.97),
    ("log-mel, floor subtracted", "baseline", 256, 0.61, 0.62),
    ("pca of log-mel", "baseline", 64, 0.49, 0.95),
    ("untrained vit_small/16 cls", "baseline", 384, 0.44, 0.81),
    ("untrained vit_base/16 cls", "baseline", 768, 0.45, 0.82),
    ("birdnet", "supervised", 1024, 0.92, 0.55),
)  # fmt: skip


def bounded(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0)}


def probe_rows(labelled: bool = True, detected: bool = True) -> list[dict]:
    rows = []
    goals = {"species": 5, "birdnet species at 0.5": 5, **NUISANCE}
    for target, classes in goals.items():
        known = {"species": labelled, "birdnet species at 0.5": detected}.get(target, True)
        common = {
            "target": target, "metric": "balanced_accuracy", "windows": 4_000 if known else 0,
            "classes": classes if known else 0, "groups": 60, "folds": 5,
            "note": "" if known else "no window has a label",
        }  # fmt: skip
        guess = bounded(1 / classes, 0.0) if known else {}
        rows.append(
            {"space": "majority class", "kind": "baseline", "probe": "majority", "split": "none",
             "group": GROUPS[0], **common, **guess}
        )  # fmt: skip
        for space, kind, dimension, birds, place in SPACES:
            head = {"space": space, "kind": kind, "dimension": dimension, **common}
            reach = birds if "species" in target else place if target == "recorder" else 0.4
            reach -= 0.06 if target.startswith("birdnet") and kind != "supervised" else 0.0
            for probe, extra in (
                ("linear", 0.0),
                ("5-nearest neighbours", -0.05),
                ("attentive", 0.03),
            ):
                if probe == "attentive" and (kind != "experiment" or "species" not in target):
                    continue
                for number, (group, more) in enumerate(
                    zip(GROUPS, (0.0, 0.05, -0.06), strict=True)
                ):
                    figure = bounded(reach + extra + more, 0.03 + 0.01 * number) if known else {}
                    rows.append(
                        {**head, "probe": probe, "split": "grouped", "group": group,
                         "shuffled": 1 / classes, **figure}
                    )  # fmt: skip
                leak = bounded(min(reach + extra + 0.14, 0.995), 0.01) if known else {}
                rows.append({**head, "probe": probe, "split": "leaky", "group": GROUPS[0], **leak})
            if "species" in target and space in CURVED:
                for shots in (1, 2, 4, 8, 16):
                    value = 0.2 + (reach - 0.2) * math.log2(2 * shots) / 5.5
                    figure = bounded(value, 0.09 / math.sqrt(shots)) if known else {}
                    rows.append(
                        {**head, "probe": "linear", "split": "grouped", "group": GROUPS[0],
                         "shots": shots, **figure}
                    )  # fmt: skip
    return rows


def agreement_rows(labelled: bool = True, detected: bool = True) -> list[dict]:
    rows = []
    sources: list[tuple[str, float | None]] = [("birdnet", one) for one in CONFIDENCES]
    sources += [("annotations", None)] if labelled else []
    for space, kind, dimension, birds, _ in SPACES:
        for labels, confidence in sources:
            if confidence not in (None, 0.5) and space not in CURVED:
                continue
            sure = 0.5 if confidence is None else confidence
            known = labels == "annotations" or detected
            coverage = (0.62 if confidence is None else 0.7 * (1 - sure) + 0.03) if known else 0.0
            for clustering in ("fitted", "assigned") if kind == "experiment" else ("fitted",):
                for unlabelled in ("left out", "class"):
                    value = 0.8 * birds * (0.55 + 0.45 * sure) - (
                        0.1 if unlabelled == "class" else 0
                    )
                    empty = not known and unlabelled == "left out"
                    figure = (
                        {} if empty else bounded(value, 0.02 + 0.05 * sure) | {"shuffled": 0.004}
                    )
                    rows.append(
                        {"space": space, "kind": kind, "dimension": dimension,
                         "clustering": clustering, "labels": labels, "confidence": confidence,
                         "unlabelled": unlabelled, "metric": "ami", "coverage": coverage,
                         "windows": int(6_000 * coverage), "classes": 5, "clusters": 20, "groups": 60,
                         "note": f"no detection at {confidence} or above" if empty else "", **figure}
                    )  # fmt: skip
    return rows


def confusion_rows(labelled: bool = True, detected: bool = True) -> list[dict]:
    generator = np.random.default_rng(3)
    rows = []
    for space, kind, dimension, *_ in SPACES[:2]:
        sources: list[tuple[str, float | None, bool]] = [
            ("annotations", None, labelled),
            ("birdnet", 0.5, detected),
        ]
        for labels, confidence, known in sources:
            if not known:
                continue
            for cluster in range(8):
                weight = np.full(6, 0.4)
                weight[cluster % 6] = 8.0
                counts = generator.multinomial(200, generator.dirichlet(weight))
                rows += [
                    {"space": space, "kind": kind, "dimension": dimension, "clustering": "assigned",
                     "labels": labels, "confidence": confidence, "cluster": cluster,
                     "species": name, "windows": int(count)}
                    for name, count in zip((*SPECIES, "none"), counts, strict=True)
                ]  # fmt: skip
    return rows


def calibration_rows() -> list[dict]:
    rows = []
    for number, low in enumerate(np.linspace(0.1, 0.9, 9)):
        middle, count = float(low) + 0.05, 900 - 90 * number
        rows.append(
            {"labels": "birdnet", "confidence_low": round(float(low), 1),
             "confidence_high": round(float(low) + 0.1, 1), "detections": count,
             "mean_confidence": middle, "correct_share": 0.35 + 0.6 * middle,
             "low": 0.35 + 0.6 * middle - 0.05, "high": min(0.4 + 0.6 * middle, 1.0)}
        )  # fmt: skip
    return rows


def cost_rows() -> list[dict]:
    rows = []
    for number, (space, kind, dimension, *_) in enumerate(SPACES):
        row = {"space": space, "kind": kind, "dimension": dimension}
        if kind == "experiment":
            hours = (2.4, 6.9, 1.6, 4.8)[number]
            row |= {
                "parameters": 21_300_000 if dimension == 384 else 85_100_000,
                "device": "4 x NVIDIA H200", "training_hours": hours, "gpu_hours": 4 * hours,
                "training_windows": 230_000, "windows_per_second": 2_450.0 if dimension == 384 else 980.0,
            }  # fmt: skip
        elif kind == "supervised":
            row |= {"windows_per_second": 71.0, "note": "nothing was trained here"}
        else:
            row["note"] = "nothing was trained here; computed within the evaluation, not timed"
        rows.append(row)
    return rows


def coverage_rows(labelled: bool = True, detected: bool = True) -> list[dict]:
    rows = [
        {"what": "recorder-days", "name": "evaluated", "windows": 60, "of": 61, "share": 60 / 61},
        {
            "what": "recorder-day left out",
            "name": "SM03/2021-06-02",
            "note": "no recording is usable",
        },
        {"what": "windows", "name": "drawn", "windows": 6_000, "of": 172_000, "share": 6 / 172},
    ]
    rows += [
        {"what": "recorder", "name": f"SM0{number}", "windows": 1_000, "of": 6_000, "share": 1 / 6}
        for number in range(1, 7)
    ]
    rows += [
        {"what": "birdnet", "name": "labelled", "confidence": confidence, "of": 6_000,
         "windows": int(4_200 * (1 - confidence)) if detected else 0,
         "share": 0.7 * (1 - confidence) if detected else 0.0}
        for confidence in CONFIDENCES
    ]  # fmt: skip
    if labelled:
        rows.append(
            {
                "what": "annotations",
                "name": "labelled",
                "windows": 3_720,
                "of": 6_000,
                "share": 0.62,
            }
        )
    else:
        rows.append(
            {"what": "annotations", "name": "known", "note": "evaluation.annotations is not set"}
        )
    return rows


def attention_rows() -> list[dict]:
    rows = []
    for number, experiment in enumerate(EXPERIMENTS):
        for metric, value in (
            ("intersection_over_union", 0.31), ("pointing_game", 0.78),
            ("energy_in_boxes", 0.52), ("average_precision", 0.36),
        ):  # fmt: skip
            figure = bounded(value - 0.03 * number, 0.05)
            rows.append(
                {"experiment": experiment, "map": "merged", "metric": metric, **figure,
                 "chance": 0.11, "windows": 240}
            )  # fmt: skip
    return rows


def season_tables(
    *, labelled: bool = True, detected: bool = True, missing: str | None = None
) -> dict[str, list[dict]]:
    """The tables; an experiment may be missing, annotations and detections too."""
    tables = {
        "probes": probe_rows(labelled, detected),
        "agreement": agreement_rows(labelled, detected),
        "confusion": confusion_rows(labelled, detected),
        "calibration": calibration_rows() if labelled and detected else [],
        "cost": cost_rows(),
        "coverage": coverage_rows(labelled, detected),
        "attention": attention_rows() if labelled else [],
    }
    if missing is not None:
        tables = {
            name: [row for row in rows if missing not in (row.get("space"), row.get("experiment"))]
            for name, rows in tables.items()
        }
        gone = {"space": missing, "kind": "experiment", "note": "not trained"}
        for name in ("probes", "agreement", "cost"):
            tables[name].append(gone)
        tables["attention"].append({"experiment": missing, "note": "not trained"})
        tables["coverage"].append(
            {"what": "experiment left out", "name": missing, "note": "not trained"}
        )
    return tables


def write_log(path: Path, method: str, seed: int) -> None:
    """A training's history of 40 lines."""
    generator = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(1, 41):
        done = number / 40
        entry = {
            "step": number * 100, "epoch": 50 * done,
            "loss": (9.5 if method == "dino" else 25.0) * (0.45 + 0.55 * math.exp(-4 * done))
            + float(generator.normal(0, 0.05)),
            "windows_per_second": 1_200.0, "processes": 4, "device": "NVIDIA H200",
            "gpu_memory_gb": 20.0, "rankme_centred": 40 + 90 * done - 20 * (method == "dino"),
            "knn_species": 0.3 + 0.4 * done, "knn_species_chance": 0.21,
            "knn_recorder": 0.5 + 0.3 * done, "knn_recorder_chance": 0.16,
        }  # fmt: skip
        lines.append(json.dumps(entry))
    path.write_text("\n".join(lines) + "\n")


def settings_for(root: Path, sets: tuple[str, ...] = ()) -> Settings:
    experiments = {
        name: {
            "method": name.split("_")[0],
            "backbone": f"vit_{'small' if 'vits' in name else 'base'}",
        }
        for name in EXPERIMENTS
    }
    labelled = {name: {"audio": "sounds", "labels": "labels.csv"} for name in (*sets, "unheard")}
    return validate(
        {"results": str(root), "experiments": experiments, "labelled_sets": labelled}, "test"
    )


def receipt(windows: int, **more) -> dict:
    return {"verdict": "ok", "windows": windows, "parameters": {"seed": 0}, **more}


def write_set(folder: Path) -> None:
    """A labelled set: two spaces, clips with a person's labels, boxes for the attention."""
    tables = {
        name: [
            row for row in rows if row.get("space") in ("dino_vits16", "log-mel", "majority class")
        ]
        for name, rows in season_tables(detected=False).items()
        if name in ("probes", "agreement")
    }
    tables["probes"] = [
        row for row in tables["probes"] if row["target"] == "species" and row.get("shots") is None
    ]
    tables["agreement"] = [row for row in tables["agreement"] if row["labels"] == "annotations"]
    for row in tables["agreement"]:
        row["labels"] = "clip labels"
    tables["attention"] = attention_rows()[:4]
    write_tables(folder, tables)
    write_receipt(folder / "evaluation.json", receipt(400))


def write_season(root: Path, sets: tuple[str, ...] = (), **what) -> tuple[Settings, Results]:
    """Write tables, receipts and logs of training below a results folder."""
    settings, results = settings_for(root, sets), Results(root)
    write_tables(results.evaluation, season_tables(**what))
    missing = what.get("missing")
    days = [[f"SM0{1 + day % 6}", f"2021-06-{1 + day // 6:02}"] for day in range(60)]
    write_receipt(
        results.evaluation / "evaluation.json",
        receipt(6_000, windows_available=172_000, days=days),
    )
    for name in sets:
        write_set(results.evaluation / "sets" / name)
    for number, name in enumerate(EXPERIMENTS):
        if name != missing:
            write_log(results.experiment(name).log, name.split("_")[0], number)
    return settings, results
