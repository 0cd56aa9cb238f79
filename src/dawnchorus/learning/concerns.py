"""What a person should look at while a training runs; nothing of it ends the training.

In: the entries of the log, one after the other. Out: a line each time something begins to be not as
it should: the loop waits for data, the loss stays where nothing is learned, the probe's accuracy or
the rank of the space falls and stays low. It is said once, and again only if it had been well in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

WAIT_SHARE = 0.1
"""Of the time; beyond it a faster feed would make the training notably shorter."""
WAIT_STEPS = 100
"""Steps over which it is averaged; the very first line is left out: everything is cold then."""
FALL, FALL_SHARE = 0.05, 0.25
"""Accuracy below its best: so much, and so much of what the best was above chance."""
FALL_PROBES = 3
RANK_FALL = 0.5
"""Share of the highest RankMe since training began."""
RANK_PROBES = 5
FLAT_LOSS, FLAT_INFORMATION, FLAT_STEPS = 0.99, 0.05, 200
"""Share of ln(prototypes) that the loss, and nats that the teacher's information, must pass: below
for so many steps, next to nothing is learned, though not collapsed to the last digit."""


class Concerns:
    """Looks at the entries of a log."""

    def __init__(self) -> None:
        self._waits: deque[tuple[int, float]] = deque()
        self._last: int | None = None
        self._best: dict[str, tuple[float, int]] = {}
        self._low: dict[str, int] = {}
        self._said: set[str] = set()
        self._flat_since: int | None = None

    def see(self, entry: Mapping[str, Any]) -> list[str]:
        """Take the next entry; return what there is to say, if anything is new."""
        told = []
        for what, line in self._all(entry):
            if not line:
                self._said.discard(what)
            elif what not in self._said:
                self._said.add(what)
                told.append(line)
        return told

    def _all(self, entry: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if isinstance(entry.get("data_wait_share"), float):
            yield "wait", self._wait(int(entry["step"]), entry["data_wait_share"])
        if {"loss", "teacher_information", "teacher_entropy"} <= entry.keys():
            yield "flat", self._flat(entry)
        for key, value in entry.items():
            if not isinstance(value, float):
                continue
            if key.startswith("knn_") and not key.endswith("_chance"):
                yield key, self._accuracy(key, value, entry)
            elif key == "rankme":
                yield key, self._rank(value, int(entry["step"]))

    def _wait(self, step: int, share: float) -> str:
        last, self._last = self._last, step
        if last is None:
            return ""
        self._waits.append((step - last, share))
        while sum(steps for steps, _ in self._waits) - self._waits[0][0] >= WAIT_STEPS:
            self._waits.popleft()
        steps = sum(steps for steps, _ in self._waits)
        mean = sum(steps * share for steps, share in self._waits) / max(steps, 1)
        if steps < WAIT_STEPS or mean <= WAIT_SHARE:
            return ""
        return (
            f"it waited for data {mean:.0%} of the time of the last {steps} steps; "
            "more cores or a faster disk would make the training shorter"
        )

    def _flat(self, entry: Mapping[str, Any]) -> str:
        step, loss, information = int(entry["step"]), entry["loss"], entry["teacher_information"]
        uniform = entry["teacher_entropy"] + entry["teacher_uniform_kl"]
        if loss is None or loss < FLAT_LOSS * uniform or information >= FLAT_INFORMATION:
            self._flat_since = None
            return ""
        since = self._flat_since = step if self._flat_since is None else self._flat_since
        if step - since < FLAT_STEPS:
            return ""
        return (
            f"the loss has stayed at ln(prototypes) = {uniform:.2f} since step {since}, and the teacher "
            f"tells windows apart by {information:.2g} nat only: nearly uniform. A sharper teacher (lower "
            "temperature), centering by sinkhorn or a lower learning rate may help"
        )

    def _accuracy(self, key: str, value: float, entry: Mapping[str, Any]) -> str:
        best, when = self._best.setdefault(key, (value, int(entry["step"])))
        if value >= best:
            self._best[key] = (value, int(entry["step"]))
        above_chance = best - float(entry.get(f"{key}_chance") or 0.0)
        low = value < best - max(FALL, FALL_SHARE * above_chance)
        self._low[key] = self._low.get(key, 0) + 1 if low else 0
        if self._low[key] < FALL_PROBES:
            return ""
        return f"{key} has fallen to {value:.2f} and stays there; it was {best:.2f} at step {when}"

    def _rank(self, value: float, step: int) -> str:
        best, when = self._best.setdefault("rankme", (value, step))
        if value >= best:
            self._best["rankme"] = (value, step)
        self._low["rankme"] = self._low.get("rankme", 0) + 1 if value < RANK_FALL * best else 0
        if self._low["rankme"] < RANK_PROBES:
            return ""
        return f"RankMe has fallen to {value:.1f} and stays there; it was {best:.1f} at step {when}"
