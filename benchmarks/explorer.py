"""The explorer with a season's points: how long until one sees them, and how smoothly they move.

Generated points (:mod:`sides.output_space`) are served by the explorer's own server in a process of its own, and
looked at by Chromium without a screen. Ours is the page as it is: the time from asking for the address to the
first picture with points, to all points, and the frames per second while the map is dragged and zoomed with the
mouse. Which part of the points a moving picture shows is printed beside it. Labels: the time until a lasso around
half of the points is stored, the server's memory, and what an annotator who knows the truth gets done.

With ``--season CONFIG`` (``config/demo.yaml`` after ``make demo``), the annotator also works on a simulated season: on
its own windows, and on a million, which are the season again and again.

Run ``python benchmarks/explorer.py [--quick] [--windows 1000000,8690000] [--season CONFIG --experiment NAME] [--save
FILE]``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from sides.explorer_labels import measure
from sides.explorer_oracle import annotate, mixed
from sides.explorer_page import look
from sides.explorer_season import heard, season, settings_of
from sides.explorer_server import served
from sides.output_space import generated

from spectrograms import heading

SEASON = 8_690_000
"""Windows of the reference season."""
MILLION = 1_000_000
CLASSES = 20
"""Classes of sound in the generated points."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a million points only")
    parser.add_argument("--windows", default=f"{MILLION},{SEASON}", help="sizes, by commas")
    parser.add_argument(
        "--season", type=Path, help="configuration of a simulated season that was run"
    )
    parser.add_argument("--experiment", default="vicreg_micro", help="of that season")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "numpy", "starlette", "uvicorn", "playwright")):
        show(line)
    sizes = [MILLION] if options.quick else [int(size) for size in options.windows.split(",")]
    summary = {**page_half(sizes, show), **labels_half(sizes, show)}
    if options.season is not None:
        summary["season"] = season_half(options.season.resolve(), options.experiment, show)
    show(f"load average at the end: {os.getloadavg()[0]:.2f}")
    show(json.dumps({**summary, "quick": options.quick}))
    if options.save is not None:
        options.save.write_text("\n".join(lines) + "\n", encoding="utf-8")


def page_half(sizes: list[int], show: Callable[[str], None]) -> dict[str, object]:
    """Look at maps of these sizes; return the summary."""
    with tempfile.TemporaryDirectory() as folder:
        seen = {size: look(size, Path(folder), show) for size in sizes}
    first = seen[sizes[0]]
    return {
        "benchmark": "explorer",
        "ours": first.frames_per_second,
        "unit": f"frames per second, {sizes[0]:,} points dragged and zoomed, {first.renderer}",
        "peers": {},
        "floor": first.floor,
        "ratio_to_fastest_peer": None,
        "ratio_to_floor": round(first.frames_per_second / first.floor, 3),
        "sizes": {size: one.summary() for size, one in seen.items()},
    }


def labels_half(sizes: list[int], show: Callable[[str], None]) -> dict[str, object]:
    """Label maps of these sizes: a lasso around half of the points, and an oracle's hour."""
    with tempfile.TemporaryDirectory() as folder:
        stored = {size: measure(size, Path(folder, f"lasso-{size}"), show) for size in sizes}
        worked = {
            size: annotate(
                "generated",
                mixed(generated(size).space.cluster, CLASSES, seed=1),
                served(size, Path(folder, f"oracle-{size}")),
                show,
            )
            for size in sizes
        }
    return {
        "lasso": {size: asdict(one) for size, one in stored.items()},
        "oracle": {size: asdict(one) for size, one in worked.items()},
    }


def season_half(config: Path, experiment: str, show: Callable[[str], None]) -> dict[str, object]:
    """Let the oracle label a simulated season as it is, and a million windows like it."""
    settings = settings_of(config)
    space = season(settings, experiment, None)
    worked = {}
    with tempfile.TemporaryDirectory() as folder:
        for windows in (None, MILLION):
            server = served(windows or 0, Path(folder, str(windows)), str(config), experiment)
            what = f"season of {config.stem}, {experiment}" + (
                ", again and again" if windows else ""
            )
            worked[windows or len(space)] = asdict(
                annotate(what, heard(settings, space, windows), server, show)
            )
    return worked


if __name__ == "__main__":
    main()
