"""The page of the comparison in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

from browser import NEEDS_BROWSER

from .tabs import opened

pytestmark = NEEDS_BROWSER

FAINT_OR_SMALL = """() => {
  const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
  const ground = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = numbers(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest(".hidden")) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(numbers(style.color)), light(ground(element))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5 || parseFloat(style.fontSize) < 12) found.push([element.textContent, contrast, style.fontSize]);
  }
  return found;
}"""


def test_it_can_be_read_and_asks_for_nothing(browser, compared):
    _, results = compared
    tab, complaints = opened(browser, results.comparison_page, width=1280, ready="main")
    assert tab.evaluate("() => [...document.images].map(i => i.naturalWidth).every(w => w > 700)")
    assert tab.locator("#part-2").is_visible()
    assert tab.evaluate(FAINT_OR_SMALL) == []
    # The main table fits a screen of 1280; on a small one it scrolls inside its card, and the page does not.
    for width, inside in ((1280, False), (800, True)):
        tab.set_viewport_size({"width": width, "height": 1000})
        over = "e => e.scrollWidth > e.clientWidth"
        assert not tab.locator("html").evaluate(over)
        assert tab.locator(".scroll").first.evaluate(over) == inside
    if "DAWNCHORUS_SCREENSHOTS" in os.environ:
        tab.set_viewport_size({"width": 1280, "height": 1000})
        folder = Path(os.environ["DAWNCHORUS_SCREENSHOTS"])
        tab.screenshot(path=folder / "comparison.png", full_page=True)
    assert complaints == []
    tab.context.close()
