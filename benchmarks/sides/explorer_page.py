"""The explorer's page in a browser without a screen, measured.

In: how many generated windows. Out: :class:`Seen`: seconds to the first picture and to all points, frames per
second while a mouse drags and zooms the map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FLOOR_FPS = 30.0


@dataclass
class Seen:
    """What the page does with so many points."""

    windows: int
    renderer: str
    first_picture_s: float
    all_points_s: float
    frames_per_second: float
    slowest_frame_ms: float
    floor: float = FLOOR_FPS

    def summary(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "windows"}


def look(windows: int, folder: Path, quick: bool, show: Callable[[str], None]) -> Seen:
    """Open the page over so many generated points and move it."""
    raise NotImplementedError
