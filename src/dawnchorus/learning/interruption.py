"""Ending a training in good order when the scheduler asks for it, or before its time is up.

In: SIGTERM (a pre-emption, a time limit that has come), or the moment at which the job's time is up.
Out: a flag that the loop reads between two steps, and :class:`GoOnLater`, which ends the process with
:data:`GO_ON_LATER` once the checkpoint is written.
"""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType

GO_ON_LATER = 75
"""Exit status of a training that was asked to stop and saved its state: start it again to go on
(EX_TEMPFAIL of sysexits.h)."""
LEAST_MARGIN_S = 60.0
"""A training stops so long before its time is up: to write its checkpoint and to end."""
CHECKPOINTS_IN_MARGIN = 5.0
"""Or so many times what its slowest checkpoint took, if that is longer."""


class GoOnLater(SystemExit):
    """The training stopped when asked; its checkpoint is written."""

    def __init__(self) -> None:
        super().__init__(GO_ON_LATER)


class Watch:
    """Knows whether to stop: SIGTERM came while it was entered, or the time is nearly up.

    On leaving, the old handler is put back. Outside the main thread Python gives no signals; then
    none came.

    Parameters
    ----------
    deadline : float, optional
        When the job ends, in seconds of the UNIX clock.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self._deadline, self._signalled, self._slowest = deadline, False, 0.0

    @property
    def asked(self) -> bool:
        """Whether to save and stop."""
        return self._signalled or self._nearly_over()

    def saving_took(self, seconds: float) -> None:
        """Take note of how long a checkpoint took: the margin must hold another one."""
        self._slowest = max(self._slowest, seconds)

    def _nearly_over(self) -> bool:
        if self._deadline is None:
            return False
        margin = max(LEAST_MARGIN_S, CHECKPOINTS_IN_MARGIN * self._slowest)
        return time.time() > self._deadline - margin

    def __enter__(self) -> Watch:
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:
            self._before = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGTERM, self._before)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
