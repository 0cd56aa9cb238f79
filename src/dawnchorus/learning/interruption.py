"""Ending a training in good order when the scheduler asks for it.

In: SIGTERM (a time limit, a pre-emption). Out: a flag that the loop reads between two steps, and
:class:`GoOnLater`, which ends the process with :data:`GO_ON_LATER` once the checkpoint is written.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

GO_ON_LATER = 75
"""Exit status of a training that was asked to stop and saved its state: start it again to go on
(EX_TEMPFAIL of sysexits.h)."""


class GoOnLater(SystemExit):
    """The training stopped when asked; its checkpoint is written."""

    def __init__(self) -> None:
        super().__init__(GO_ON_LATER)


class Watch:
    """Remembers whether SIGTERM came while it was entered; then puts the old handler back.

    Outside the main thread Python gives no signals; then it never did.
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Watch:
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:
            self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGTERM, self._before)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
