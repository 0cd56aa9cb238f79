"""How far a long step is: a bar on a terminal, a line now and then in a log file.

In: an iterable or a running count. Out: text on standard error, never on standard output.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")

SECONDS_BETWEEN_LINES = 20.0


def say(line: str) -> None:
    """Print one line for a person on standard error."""
    print(line, file=sys.stderr, flush=True)


class Advance(Protocol):
    """Called with the amount just done; ``note`` is shown behind the count."""

    def __call__(self, amount: float = 1, note: str = "") -> None:
        """Say that ``amount`` more is done."""


@contextmanager
def counting(
    what: str, total: float, unit: str = "", *, done: float = 0.0, shown: bool = True
) -> Iterator[Advance]:
    """Show how much of ``total`` is done.

    Parameters
    ----------
    what : str
        What is being done, for example ``"embedding"``.
    total : float
        The amount that is the whole, in ``unit``.
    unit : str
        Shown behind the numbers in log lines.
    done : float
        What had been done before; it says nothing of the speed.
    shown : bool
        False where another process shows the same.

    Yields
    ------
    Advance
        Call it with the amount done since the last call.
    """
    if not shown:
        yield lambda amount=1, note="": None
        return
    if sys.stderr.isatty():
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(what, total=total, completed=int(done), note="")

            def advance_bar(amount: float = 1, note: str = "") -> None:
                bar.update(task, advance=amount, note=note)

            yield advance_bar
        return

    before, started = done, time.monotonic()
    last_line = started

    def advance_line(amount: float = 1, note: str = "") -> None:
        nonlocal done, last_line
        done += amount
        now = time.monotonic()
        if now - last_line >= SECONDS_BETWEEN_LINES and done < total:
            last_line = now
            left = (now - started) * (total - done) / max(done - before, 1e-9)
            say(
                f"{what}: {done:,.0f} of {total:,.0f} {unit}, about {left:,.0f} s left {note}".rstrip()
            )

    yield advance_line
    seconds = time.monotonic() - started
    say(f"{what}: {done - before:,.0f} {unit} in {seconds:,.1f} s".replace("  ", " "))


def tracked(items: Iterable[T], what: str, total: int, unit: str = "") -> Iterator[T]:
    """Yield from ``items`` and show how many of ``total`` are done."""
    with counting(what, total, unit) as advance:
        for item in items:
            yield item
            advance()
