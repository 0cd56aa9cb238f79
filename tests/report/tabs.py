"""Pages of the report in a tab, opened from the file system."""

from __future__ import annotations

from pathlib import Path


def opened(browser, path: Path, width: int = 1440, ready: str = "body[data-ready=true]"):
    """The page in a tab, and all that it complains of or asks the network for."""
    tab = browser.new_context(viewport={"width": width, "height": 1000}, offline=True).new_page()
    tab.set_default_timeout(60_000)
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on(
        "request",
        lambda asked: (
            None
            if asked.url.startswith(("file://", "data:"))
            else complaints.append(f"asked the network for {asked.url}")
        ),
    )
    tab.goto(path.as_uri())
    tab.wait_for_selector(ready)
    return tab, complaints
