"""The longest tests first, so that no worker waits for another at the end; and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from browser import ARGUMENTS, CHROMIUM


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("workflow") is None)


@pytest.fixture(scope="module")
def browser() -> Iterator[object]:
    """A browser, closed before another module's tests: Playwright's loop would be in their way."""
    api = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()
