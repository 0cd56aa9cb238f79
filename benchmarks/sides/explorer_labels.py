"""Labels over a season's points: how long a large lasso takes until it is stored, and the server's memory.

In: how many windows. Out: seconds from sending a lasso around half of the points to its answer (it is on the disk
then), the server's resident memory, and beside it the time of others to find the points inside.
"""

from __future__ import annotations

import http.cookiejar
import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sides.explorer_server import served
from sides.output_space import generated

CORNERS = 400


@dataclass(frozen=True)
class Labelled:
    windows: int
    members: int
    seconds: float
    overlap_s: float
    undo_s: float
    memory_gib: float
    inside_s: float
    peers: dict[str, float]


def lasso(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """A wobbly curve around half of the points."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    middle = np.median(x), np.median(y)
    radius = np.median(np.hypot(x - middle[0], y - middle[1]))
    wobble = radius * (1 + 0.02 * np.sin(9 * angle))
    across, up = middle[0] + wobble * np.cos(angle), middle[1] + wobble * np.sin(angle)
    return [(float(a), float(b)) for a, b in zip(across, up, strict=True)]


def memory_gib(process: int) -> float:
    """Largest resident memory of a process so far."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / (1 << 20)


def measure(windows: int, folder: Path, show: Callable[[str], None]) -> Labelled:
    space = generated(windows).space
    points = lasso(space.x, space.y)
    begin = time.perf_counter()
    membership = space.membership
    sorted_s = time.perf_counter() - begin
    begin = time.perf_counter()
    inside = membership.inside(points)
    inside_s = time.perf_counter() - begin
    from matplotlib.path import Path as Curve

    begin = time.perf_counter()
    theirs = Curve([*points, points[0]]).contains_points(np.column_stack([space.x, space.y]))
    peers = {"matplotlib.path contains_points": time.perf_counter() - begin}
    assert abs(int(theirs.sum()) - len(inside)) <= 2
    with served(windows, folder) as (address, process):
        base, _, token = address.partition("?token=")
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)
        opener.open(f"{base}?token={token}").read()

        def post(path: str, body: dict[str, Any]) -> tuple[dict[str, Any], float]:
            request = urllib.request.Request(  # noqa: S310 - http, from our own server
                f"{base}api/{path}",
                json.dumps(body).encode(),
                {"Content-Type": "application/json"},
            )
            begin = time.perf_counter()
            with opener.open(request) as answer:
                said = json.load(answer)
            return said, time.perf_counter() - begin

        region = {"kind": "polygon", "points": points}
        said, seconds = post("labels", {"region": region, "label": "House Wren"})
        shifted = [(x + 0.05, y) for x, y in points]
        _, overlap_s = post("labels", {"region": {**region, "points": shifted}, "label": "rain"})
        for path in ("api/labels", "api/labels/codes", "api/labels/marks"):
            opener.open(base + path).read()
        _, undo_s = post("undo", {"of": 2})
        opener.open(f"{base}api/labels").read()
        held = memory_gib(process)
    show(
        f"{windows:,} points, lasso of {said['members']:,} with {CORNERS} corners: stored after "
        f"{seconds:.3f} s, a second one over it {overlap_s:.3f} s, undo {undo_s:.3f} s; server {held:.2f} GiB"
    )
    show(
        f"{windows:,} points, inside the curve: ours {inside_s:.3f} s (and {sorted_s:.3f} s to sort, once), "
        + ", ".join(f"{name} {value:.3f} s" for name, value in peers.items())
    )
    return Labelled(windows, said["members"], seconds, overlap_s, undo_s, held, inside_s, peers)
