"""The page in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from browser import CHROMIUM, NEEDS_BROWSER
from dawnchorus.explorer.explore import Service
from dawnchorus.results import read_receipt, write_receipt

from .conftest import EXPERIMENT, RECORDINGS, Season, row

pytestmark = NEEDS_BROWSER


class Page:
    """The explorer in a tab; remembers everything that went wrong in it."""

    def __init__(self, browser, address: str) -> None:
        self.complaints: list[str] = []
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        self.tab = context.new_page()
        self.tab.set_default_timeout(60_000)
        self.tab.on("console", self._console)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", self._request)
        self.address = address
        self.tab.goto(address)
        self.ready()

    def _console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _request(self, request) -> None:
        origin = self.address.partition("/?")[0]
        if not request.url.startswith((origin, "blob:", "data:")):
            self.complaints.append(f"asked the network for {request.url}")

    def ready(self) -> None:
        self.tab.wait_for_selector("body[data-ready=true]")

    def pixel(self, x: float, y: float) -> tuple[float, float]:
        """Place of a map point on the screen, worked out as the page lays the whole map out."""
        box = self.tab.locator("#scatter").bounding_box()
        scale = 0.94 * min(box["width"] / 9, box["height"] / 2)  # x from 0 to 9, y from 0 to 2
        return (
            box["x"] + box["width"] / 2 + (x - 4.5) * scale,
            box["y"] + box["height"] / 2 - (y - 1) * scale,
        )

    def lasso(self, corners: list[tuple[float, float]]) -> None:
        mouse = self.tab.mouse
        self.tab.keyboard.press("l")
        mouse.move(*self.pixel(*corners[0]))
        mouse.down()
        for corner in [*corners[1:], corners[0]]:
            mouse.move(*self.pixel(*corner), steps=5)
        mouse.up()

    def text(self, selector: str) -> str:
        return self.tab.locator(selector).inner_text()


@pytest.fixture
def page(browser, service: Service) -> Iterator[Page]:
    opened = Page(browser, service.address)
    yield opened
    folder = os.environ.get("DAWNCHORUS_SCREENSHOTS")
    if folder:
        name = os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split(" ")[0]
        opened.tab.screenshot(path=Path(folder) / f"{name}.png")
    opened.tab.context.close()
    assert opened.complaints == []


SQUARE = [(1.5, -0.4), (4.5, -0.4), (4.5, 1.4), (1.5, 1.4)]
"""Around the windows 2, 3 and 4 of the first two recordings."""
MEMBERS = {row(r, w) for r in (0, 1) for w in (2, 3, 4)}


def labelled(season: Season) -> set[int]:
    return set(np.flatnonzero(season.open().book.state().codes).tolist())


def exported(page: Page, form: str) -> Path:
    page.tab.select_option("#format", form)
    with page.tab.expect_download() as waited:
        page.tab.click("#export")
    assert waited.value.suggested_filename == f"labels-{EXPERIMENT}-{form}.zip"
    return Path(waited.value.path())


def test_open_look_and_hear(page: Page, season: Season) -> None:
    assert "token" not in page.tab.url
    assert page.text("#facts") == "dino_nano: 30 windows, 2 recorders, 3 clusters"
    assert page.text("#detail") == "all 30 points, drawn by the processor"

    page.tab.mouse.move(*page.pixel(6, 2))
    page.tab.wait_for_selector("#hover:not([hidden])")
    assert page.text("#hover-text") == "REC02 · cluster 0"

    page.tab.mouse.click(*page.pixel(6, 2))
    wanted = row(2, 6)
    page.tab.wait_for_selector(f"#spectrogram[data-row='{wanted}']")
    page.tab.wait_for_selector("#about-recording")
    assert page.text("#about-recording") == "REC02/20210524_230000.WAV"
    assert page.text("#about-from") == "18.00 s"
    assert page.text("#about-time") == "2021-05-25 04:00:18 UTC, 23 h local"
    assert page.text("#about-habitat") == "marsh"

    # The tone of 4 kHz is a bright line across the window's three of five seconds, that of the window
    # before (3.5 kHz) one to its left: context is drawn where it was.
    seen = page.tab.evaluate(
        """() => { const c = document.getElementById("spectrogram"), ratio = devicePixelRatio;
        const left = 50, top = 22, width = c.clientWidth - 60, height = c.clientHeight - 56;
        const d = c.getContext("2d").getImageData(left * ratio, top * ratio, width * ratio, height * ratio);
        const brightest = (from, to) => { const light = new Array(d.height).fill(0);
          for (let y = 0; y < d.height; y++)
            for (let x = Math.round(from * d.width); x < to * d.width; x++)
              for (let k = 0; k < 3; k++) light[y] += d.data[4 * (y * d.width + x) + k];
          return (light.indexOf(Math.max(...light)) + 0.5) / d.height; };
        return [brightest(0.25, 0.75), brightest(0.02, 0.18), brightest(0.82, 0.98)]; }"""
    )
    centres = (
        season.open().spectrograms.store(season.results.days_with_receipts()[0]).band_frequency
    )
    heard = [float(np.interp((1 - y) * 128 - 0.5, np.arange(128), centres)) for y in seen]
    np.testing.assert_allclose(heard, [4000, 3500, 4500], atol=150)

    # The audio element holds the recording's own samples, with a second before and after.
    page.tab.wait_for_selector(f"#audio[data-row='{wanted}']", state="attached")
    address = page.tab.evaluate(
        """async () => {
        const wav = await (await fetch(document.getElementById("audio").src)).blob();
        return await new Promise((done) => { const reader = new FileReader();
          reader.onload = () => done(reader.result); reader.readAsDataURL(wav); }); }"""
    )
    content = base64.b64decode(address.partition(",")[2])
    samples = np.frombuffer(content[44:], "<i2")
    np.testing.assert_array_equal(samples, season.sounds[2][17 * 48_000 : 22 * 48_000])
    page.tab.wait_for_function("() => document.getElementById('audio').currentTime > 0.1")
    page.tab.keyboard.press("Space")
    page.tab.wait_for_function("() => document.getElementById('audio').paused")

    # What a head looks at lies over the window's own seconds, and follows to the next window.
    page.tab.keyboard.press("a")
    page.tab.wait_for_selector(f"#spectrogram[data-overlay^='{wanted} ']")
    before = page.tab.locator("#spectrogram").screenshot()
    page.tab.select_option("#overlay", "head 1")
    page.tab.wait_for_selector(f"#spectrogram[data-overlay='{wanted} head 1']")
    assert page.tab.locator("#spectrogram").screenshot() != before
    page.tab.keyboard.press("Escape")

    page.tab.keyboard.press("ArrowRight")
    page.tab.wait_for_selector(f"#spectrogram[data-row='{wanted + 1}']")
    page.tab.wait_for_selector(f"#spectrogram[data-overlay='{wanted + 1} head 1']")
    page.tab.keyboard.press("ArrowLeft")
    page.tab.wait_for_selector(f"#spectrogram[data-row='{wanted}']")


def test_lasso_name_undo_export_reload(page: Page, season: Season) -> None:
    page.lasso(SQUARE)
    page.tab.wait_for_function(
        "() => document.getElementById('selected').innerText === '6 windows'"
    )
    # Two central, two random and two border ones of six, none twice.
    page.tab.wait_for_selector("#gallery button[data-row]")
    shown = page.tab.locator("#gallery button[data-row]").evaluate_all(
        "all => all.map((one) => Number(one.dataset.row))"
    )
    assert sorted(shown) == sorted(MEMBERS)
    page.tab.keyboard.press("n")
    page.tab.keyboard.type("House Wren")  # holds keys that mean something outside the field
    page.tab.keyboard.press("Enter")
    page.tab.wait_for_selector("#regions li", state="attached")
    assert page.text("#labelled") == "6 windows labelled (20.0 %)"
    assert labelled(season) == MEMBERS

    page.tab.reload()
    page.ready()
    assert page.text("#labelled") == "6 windows labelled (20.0 %)"
    page.tab.click("#tab-labels")
    assert "House Wren" in page.text("#regions li")
    assert "lasso, holds 6 of 6" in page.text("#regions li")

    # A tab that is looked at again says what the workflow has made meanwhile.
    path = season.results.experiment(EXPERIMENT).map_receipt
    receipt = read_receipt(path)
    more = {**receipt["days"], "REC01/2021-05-25": {"windows": 7, "embeddings": "e"}}
    write_receipt(path, {**receipt, "days": more})
    page.tab.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    page.tab.wait_for_selector("#news:not([hidden])")
    assert page.text("#news") == "a recorder-day has come since: start the explorer again to see it"
    write_receipt(path, receipt)

    # What is exported holds these windows, as the archive's own table says.
    archive = zipfile.ZipFile(exported(page, "parquet"))
    (name,) = [name for name in archive.namelist() if name.endswith(".parquet")]
    table = pl.read_parquet(io.BytesIO(archive.read(name)))
    assert table["label"].unique().to_list() == ["House Wren"]
    begun = {(text, offset) for text, offset in table.select("recording", "offset").iter_rows()}
    assert begun == {(RECORDINGS[r][0], w * 3 * 44_100) for r in (0, 1) for w in (2, 3, 4)}
    raven = zipfile.ZipFile(exported(page, "raven"))
    tables = [name for name in raven.namelist() if name.endswith(".selections.txt")]
    assert sum(raven.read(name).decode().count("House Wren") for name in tables) == 6

    page.tab.mouse.click(*page.pixel(3, 0))
    page.tab.wait_for_selector("#about-label")
    assert page.text("#about-label") == "House Wren"
    assert "House Wren 0.70" in page.text("#detections")

    page.tab.keyboard.press("u")
    page.tab.wait_for_function("() => !document.querySelector('#regions li')")
    assert labelled(season) == set()
    page.tab.keyboard.press("r")
    page.tab.wait_for_selector("#regions li", state="attached")
    assert labelled(season) == MEMBERS
    said = [json.loads(line)["op"] for line in season.journal.open()]
    assert [op for op in said if op != "heard"] == ["label", "undo", "redo"]


def test_filters_combine_and_narrow_what_is_named(page: Page, season: Season) -> None:
    """Recorder, hour and unlabelled, all by keyboard."""
    tab = page.tab
    tab.locator("#colour").select_option("recorder")
    tab.locator("#legend button", has_text="REC01").press("Enter")
    tab.wait_for_function("() => document.getElementById('shown').innerText === '20 of 30 windows'")
    tab.fill("#hour-from", "5")
    tab.fill("#hour-to", "5")
    tab.locator("#hour-to").press("Tab")
    tab.wait_for_function("() => document.getElementById('shown').innerText === '5 of 30 windows'")
    tab.focus("#scatter")
    tab.keyboard.press("v")
    tab.wait_for_function(
        "() => document.getElementById('selected').innerText === '5 windows that the filters show'"
    )
    # A hidden point is neither hovered over nor heard.
    tab.mouse.move(*page.pixel(6, 2))
    assert tab.locator("#hover").is_hidden()
    tab.mouse.click(*page.pixel(7, 0))
    tab.wait_for_selector(f"#spectrogram[data-row='{row(0, 7)}']")
    tab.keyboard.press("x")  # leaves the window out
    tab.fill("#name", "noise: rain")
    tab.press("#name", "Enter")
    tab.wait_for_selector("#quick button")
    assert labelled(season) == {row(0, window) for window in (5, 6, 8, 9)}
    # A number key labels the window alone, when nothing is selected.
    tab.keyboard.press("Escape")
    tab.keyboard.press("1")
    tab.wait_for_function("() => document.getElementById('labelled').innerText.startsWith('5 ')")
    assert labelled(season) == {row(0, window) for window in range(5, 10)}
    # Only what has this name is shown, and only that is taken.
    tab.locator("#colour").select_option("label")
    tab.click("#nofilter")
    tab.locator("#legend button", has_text="noise: rain").press("Enter")
    tab.wait_for_function("() => document.getElementById('shown').innerText === '5 of 30 windows'")
    tab.focus("#scatter")
    tab.keyboard.press("v")
    tab.wait_for_function(
        "() => document.getElementById('selected').innerText === '5 windows that the filters show'"
    )
    tab.fill("#name", "hail")
    tab.press("#name", "Enter")
    # The window that was named by itself keeps its name.
    tab.wait_for_function("() => document.getElementById('shown').innerText === '1 of 30 windows'")
    assert labelled(season) == {row(0, window) for window in range(5, 10)}
    tab.click("#nofilter")
    tab.fill("#hour-from", "5")
    tab.fill("#hour-to", "5")
    tab.locator("#hour-to").press("Tab")
    tab.check("#unlabelled")
    tab.wait_for_function("() => document.getElementById('shown').innerText === '0 of 30 windows'")
    tab.click("#nofilter")
    tab.wait_for_function("() => document.getElementById('shown').innerText === ''")


def test_pick_a_cluster_and_pan_and_zoom(page: Page, season: Season) -> None:
    page.tab.mouse.click(*page.pixel(5, 1))
    page.tab.wait_for_selector(f"#spectrogram[data-row='{row(1, 5)}']")
    page.tab.keyboard.press("c")
    page.tab.wait_for_function(
        "() => document.getElementById('selected').innerText === 'cluster 2, 9 windows'"
    )
    page.tab.fill("#name", "noise: rain")
    page.tab.click("#give")
    page.tab.wait_for_selector("#regions li", state="attached")
    assert labelled(season) == {row(r, w) for r in range(3) for w in (2, 5, 8)}

    # What lies under the pointer stays there while zooming; dragging moves the map with the hand.
    page.tab.keyboard.press("Escape")
    page.tab.keyboard.press("0")
    spot = page.pixel(5, 1)
    page.tab.mouse.move(*spot)
    page.tab.mouse.wheel(0, -800)
    page.tab.mouse.click(*spot)
    page.tab.wait_for_selector(f"#spectrogram[data-row='{row(1, 5)}']")
    page.tab.mouse.down()
    page.tab.mouse.move(spot[0] + 90, spot[1] - 60, steps=6)
    page.tab.mouse.up()
    page.tab.mouse.click(spot[0] + 90, spot[1] - 60)
    page.tab.wait_for_function(
        "() => document.getElementById('about-from').innerText === '15.00 s'"
    )


def test_a_graphics_card_draws_the_points_too(browser, service: Service) -> None:
    """deck.gl on WebGL in software: every point's pixel has its cluster's colour, as without a card."""
    arguments = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with browser.browser_type.launch(executable_path=CHROMIUM, args=arguments) as with_card:
        asked = with_card.new_page()
        if not asked.evaluate("() => !!document.createElement('canvas').getContext('webgl2')"):
            pytest.skip("this Chromium has no WebGL, not even in software")
        pages = [Page(one, service.address) for one in (browser, with_card)]
        pages[1].tab.goto(service.address.partition("?")[0] + "?draw=gpu")
        pages[1].ready()
        assert pages[1].text("#detail") == "all 30 points, drawn by the graphics card"

        def colours(page: Page) -> np.ndarray:
            look = Image.open(io.BytesIO(page.tab.screenshot())).convert("RGB")
            places = [page.pixel(window, 0) for window in range(10)]
            return np.array([look.getpixel((round(x), round(y))) for x, y in places], float)

        ours = colours(pages[0])
        assert (np.ptp(ours, axis=1) > 40).all()  # colours, not the ground
        for _ in range(60):  # a card in software takes its time
            cards = colours(pages[1])
            if np.abs(cards - ours).max() <= 3:
                break
            pages[1].tab.wait_for_timeout(500)
        np.testing.assert_allclose(cards, ours, atol=3)
        for one in pages:
            one.tab.context.close()


def test_two_tabs_do_not_overwrite_each_other(
    browser, page: Page, service: Service, season: Season
) -> None:
    other = Page(browser, service.address)
    page.lasso(SQUARE)
    page.tab.wait_for_selector("#give:enabled")
    page.tab.fill("#name", "wren")
    page.tab.click("#give")
    page.tab.wait_for_selector("#regions li", state="attached")
    # The other tab has not heard of it yet: it is told, and labels when it asks again.
    other.tab.mouse.click(*other.pixel(0, 0))
    other.tab.wait_for_selector(f"#spectrogram[data-row='{row(0, 0)}']")
    other.tab.keyboard.press("c")
    other.tab.wait_for_selector("#give:enabled")
    other.tab.fill("#name", "rain")
    other.tab.click("#give")
    other.tab.wait_for_function(
        "() => document.getElementById('message').innerText.includes('meanwhile')"
    )
    assert labelled(season) == MEMBERS
    other.tab.click("#give")
    other.tab.wait_for_function("() => document.querySelectorAll('#regions li').length === 2")
    assert other.text("#labelled") == "16 windows labelled (53.3 %)"
    assert labelled(season) == MEMBERS | {row(r, w) for r in range(3) for w in (0, 3, 6, 9)}
    # Undo in the first tab takes back what this tab knows, not the other's newer label.
    page.tab.keyboard.press("u")
    page.tab.wait_for_function(
        "() => document.getElementById('regions').textContent.startsWith('rain')"
    )
    assert page.tab.locator("#regions li").count() == 1
    other.tab.context.close()
    assert [text for text in other.complaints if "409" not in text] == []


def test_missing_recording_says_where_it_looked(browser, season: Season, tmp_path: Path) -> None:
    away = Season(tmp_path / "elsewhere", season.settings, season.results, season.sounds)
    bound = Service.bind(away.open())
    thread = threading.Thread(target=bound.run)
    thread.start()
    try:
        page = Page(browser, bound.address)
        page.tab.mouse.click(*page.pixel(0, 0))
        page.tab.wait_for_selector("#clip-error:not([hidden])")
        assert str(tmp_path / "elsewhere" / "cards" / "REC01") in page.text("#clip-error")
        page.tab.wait_for_selector(f"#spectrogram[data-row='{row(0, 0)}']")
        page.tab.context.close()
        assert [text for text in page.complaints if "404" not in text] == []
    finally:
        bound.server.should_exit = True
        thread.join(30)
