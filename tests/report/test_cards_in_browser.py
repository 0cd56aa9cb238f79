"""The page of cluster cards in a real browser."""

from __future__ import annotations

import base64
import os
import shutil
from pathlib import Path

from browser import NEEDS_BROWSER

from .tabs import opened

pytestmark = NEEDS_BROWSER


def test_pictures_show_and_a_clip_plays_from_the_file_system(browser, page):
    path, table, _ = page
    tab, complaints = opened(browser, path)
    sizes = tab.evaluate("() => [...document.images].map(i => [i.naturalWidth, i.naturalHeight])")
    # Per card six windows of 256 frames and 128 bands, and the raster of 24 hours.
    assert sorted(size for size in sizes if size[1] == 128) == [[256, 128]] * 18
    assert len([size for size in sizes if size[1] == 24]) == table.height
    for view in (tab.locator("a.view").nth(0), tab.locator("a.view").nth(7)):
        view.click()
        tab.wait_for_function(
            "() => document.getElementById('player').currentTime > 0.2", timeout=20_000
        )
        assert abs(tab.evaluate("() => document.getElementById('player').duration") - 3.0) < 1e-3
        assert "playing" in view.get_attribute("class")
        # The line over the picture is where the sound is.
        left, now = tab.evaluate(
            """() => [parseFloat(document.querySelector('.playing .cursor').style.left),
                      document.getElementById('player').currentTime]"""
        )
        assert abs(left - 100 * now / 3) < 8
    tab.locator("a.view").nth(7).click()
    assert tab.evaluate("() => document.getElementById('player').paused")
    assert tab.locator(".playing").count() == 0

    kinds = table["kind"].to_list()
    tab.locator(f"nav button[data-kind='{kinds[0]}']").click()
    assert tab.locator("article:visible").count() == kinds.count(kinds[0])
    tab.locator("nav button").first.click()
    assert tab.locator("article:visible").count() == len(kinds)
    if "DAWNCHORUS_SCREENSHOTS" in os.environ:
        tab.screenshot(path=Path(os.environ["DAWNCHORUS_SCREENSHOTS"]) / "cards.png")
    assert complaints == []
    tab.context.close()


def test_a_copy_of_the_page_alone_says_where_its_clips_are(browser, page, tmp_path):
    path, _, _ = page
    tab, complaints = opened(browser, Path(shutil.copy(path, tmp_path / "alone.html")))
    assert tab.locator("#missing-clip").is_hidden()
    tab.locator("a.view").first.click()
    tab.wait_for_selector("#missing-clip:not([hidden])")
    assert str(path) in tab.locator("#missing-clip").inner_text()
    assert tab.locator(".playing").count() == 0
    assert [text for text in complaints if "ERR_FILE_NOT_FOUND" not in text] == []
    tab.context.close()


def test_the_page_embedded_in_a_report_shows_its_pictures(browser, page):
    """Snakemake's report shows it as a data address, to which no path is relative."""
    path, table, _ = page
    tab = browser.new_context(offline=True).new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.set_content("<iframe width=1200 height=800></iframe>")
    address = "data:text/html;base64," + base64.b64encode(path.read_bytes()).decode()
    tab.evaluate("address => document.querySelector('iframe').src = address", address)
    embedded = tab.frame_locator("iframe")
    embedded.locator("body[data-ready=true]").wait_for()
    embedded.locator("a.view").first.click()
    embedded.locator("#missing-clip:not([hidden])").wait_for()
    shown = tab.frames[1].evaluate("() => [...document.images].filter(i => i.naturalWidth).length")
    assert shown == 18 + table.height
    assert errors == []
    tab.context.close()
