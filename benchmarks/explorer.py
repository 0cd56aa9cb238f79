"""The explorer with a season's points: how long until one sees them, and how smoothly they move.

Generated points (:mod:`sides.output_space`) are served by the explorer's own server in a process of its own, and
looked at by Chromium without a screen. Ours is the page as it is: the time from asking for the address to the
first picture with points, to all points, and the frames per second while the map is dragged and zoomed with the
mouse. Which part of the points a moving picture shows is printed beside it. Labels: the time until a lasso around
half of the points is stored, the server's memory, and what an annotator who knows the truth gets done.

Run ``python benchmarks/explorer.py [--quick] [--windows 1000000,8690000] [--save FILE]``.
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
from sides.explorer_oracle import annotate
from sides.explorer_page import look

from spectrograms import heading

SEASON = 8_690_000
"""Windows of the reference season."""
MILLION = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a million points only")
    parser.add_argument("--windows", default=f"{MILLION},{SEASON}", help="sizes, by commas")
    parser.add_argument("--save", type=Path, help="also write the output to this file")
    options = parser.parse_args()
    lines: list[str] = []

    def show(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    for line in heading(("dawnchorus", "numpy", "starlette", "uvicorn", "playwright")):
        show(line)
    sizes = [MILLION] if options.quick else [int(size) for size in options.windows.split(",")]
    summary = page_half(sizes, show)
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
        worked = {size: annotate(size, Path(folder, f"oracle-{size}"), show) for size in sizes}
    return {
        "lasso": {size: asdict(one) for size, one in stored.items()},
        "oracle": {size: asdict(one) for size, one in worked.items()},
    }


if __name__ == "__main__":
    main()
