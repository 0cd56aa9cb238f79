"""The explorer's page in a browser without a screen, measured.

In: how many generated windows. Out: :class:`Seen`: seconds to the first picture and to all points, frames per
second while a mouse drags and zooms the map, memory of the server.

The browser has no graphics card, so points are drawn by the processor: both the page and the browser's own
picture compete for it with the server. The floor is 30 frames per second, from where on motion looks smooth.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sides.explorer_server import served

FLOOR_FPS = 30.0
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run"]
SIZE = {"width": 1280, "height": 800}
PULLS, ZOOMS = 120, 240


@dataclass
class Seen:
    """What the page does with so many points.

    Attributes
    ----------
    first_picture_s : float
        From asking for the address to a picture with the first level of points.
    all_points_s : float
        To all points that the page draws of the whole map.
    points : int
        That it then draws.
    drag, zoom : float
        Frames per second, by the browser's own mouse and wheel.
    zoom_within : float
        The same with wheels that the page is given from within.
    slowest_ms : float
        The longest time between two frames while it is moved, but for one in twenty.
    points_moving : int
        Points in a moving picture, the median frame.
    closer_s : float
        From zooming in 8 times to all that is drawn of the part.
    server_mib : float
        The server's memory at its highest.
    """

    windows: int
    renderer: str
    first_picture_s: float
    all_points_s: float
    points: int
    drag: float
    zoom: float
    zoom_within: float
    slowest_ms: float
    points_moving: int
    closer_s: float
    server_mib: float
    floor: float = FLOOR_FPS

    @property
    def frames_per_second(self) -> float:
        """The slower of both motions."""
        return min(self.drag, self.zoom)

    def summary(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "windows"}


def look(windows: int, folder: Path, show: Callable[[str], None]) -> Seen:
    """Open the page over so many generated points and move it."""
    from playwright.sync_api import sync_playwright

    with served(windows, folder / str(windows)) as (address, pid), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(120_000)
        begun = time.perf_counter()
        page.goto(address)
        page.wait_for_function("() => document.body.dataset.pictured", polling=10)
        first = time.perf_counter() - begun
        page.wait_for_function("() => document.body.dataset.settled === 'true'")
        everything = time.perf_counter() - begun
        page.wait_for_selector("body[data-ready=true]")
        points = int(page.evaluate("() => window.dawnchorus.map.drawer.drawn"))
        page.wait_for_timeout(1000)
        drag = moved(page, dragged)
        zoom = moved(page, zoomed)
        page.keyboard.press("0")
        page.wait_for_timeout(1000)
        within = moved(page, turned)
        page.keyboard.press("0")
        page.wait_for_timeout(1000)
        page.evaluate("() => { document.body.dataset.settled = ''; }")
        begun = time.perf_counter()
        page.evaluate("() => window.dawnchorus.map.zoom(8)")
        page.wait_for_function("() => document.body.dataset.settled === 'true'")
        closer = time.perf_counter() - begun
        seen = Seen(
            windows=windows,
            renderer=page.evaluate("() => window.dawnchorus.drawer()") + ", no graphics card",
            first_picture_s=round(first, 2),
            all_points_s=round(everything, 2),
            points=points,
            drag=drag[0],
            zoom=zoom[0],
            zoom_within=within[0],
            slowest_ms=max(drag[1], zoom[1]),
            points_moving=min(drag[2], zoom[2]),
            closer_s=round(closer, 2),
            server_mib=round(peak_mib(pid)),
        )
        browser.close()
    show(
        f"{windows:,} points: first picture after {first:.2f} s, {points:,} points after "
        f"{everything:.2f} s; dragged at {seen.drag:.0f}, zoomed at {seen.zoom:.1f} (from within the page {seen.zoom_within:.0f}) frames per second "
        f"({seen.points_moving:,} points in a moving picture, 19 of 20 frames within {seen.slowest_ms:.0f} "
        f"ms); 8 times closer in {closer:.2f} s; server at most {seen.server_mib:,.0f} MiB"
    )
    return seen


def dragged(page: Any) -> None:
    """Drag the map to and fro, a step as soon as the browser has taken the one before."""
    page.mouse.move(540, 420)
    page.mouse.down()
    for step in range(PULLS):
        turn = 2 * np.pi * step / 60
        page.mouse.move(540 + 200 * np.sin(turn), 420 + 100 * (1 - np.cos(turn)))
    page.mouse.up()


def zoomed(page: Any) -> None:
    """Turn the wheel in, and out again, a step as soon as the browser has taken the one before."""
    for step in range(ZOOMS):
        page.mouse.wheel(0, -40 if step < ZOOMS / 2 else 40)


def turned(page: Any) -> None:
    """The same every 8 ms from within the page: what drawing alone allows, without the browser's own way of a wheel."""
    page.evaluate(
        """(steps) => new Promise((done) => {
        const map = document.getElementById("scatter"), box = map.getBoundingClientRect();
        const at = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2, cancelable: true };
        let step = 0;
        const turning = setInterval(() => {
          map.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: step < steps / 2 ? -40 : 40 }));
          step += 1;
          if (step === steps) { clearInterval(turning); done(); }
        }, 8); })""",
        ZOOMS,
    )


def moved(page: Any, motion: Callable[[Any], None]) -> tuple[float, float, int]:
    """Return frames per second, the 95th percentile between two frames in ms, and the points drawn."""
    page.evaluate("() => { window.dawnchorus.map.frames.length = 0; }")
    motion(page)
    frames = np.array(page.evaluate("() => window.dawnchorus.map.frames"))
    between = np.diff(frames[:, 0])
    return (
        round(float(1000 / between.mean()), 1),
        round(float(np.percentile(between, 95)), 1),
        int(np.median(frames[:, 1])),
    )


def peak_mib(pid: int) -> float:
    """Return the most memory that a process has held."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")
