"""The collapse alarm: ends a training that learns nothing any more, and says why.

In: the entries of the log, one after the other. Out: a :class:`Finding`, once the same sign has held
over :data:`STEPS_TO_BE_SURE` steps, but for a stray line now and then. The rules, where their thresholds come from and
what healthy trainings measured: ``docs/monitors.md``.

A sign compares a figure with that of the untrained network (the log's first line) or with a bound
that means nothing is told apart; it looks at the figures that a method has and passes over the
others. All that the alarm remembers follows from the log, so a training that goes on has the same
alarm as one that was never interrupted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from dawnchorus.errors import DawnChorusError
from dawnchorus.results import publishing

Symptom = Literal["one prototype", "uniform", "same output", "one point", "few dimensions"]

RECORD = "collapsed.json"
"""Beside the checkpoints of a training that has collapsed, so that it is not tried again."""
STEPS_TO_BE_SURE = 200
LINES_TO_BE_SURE = 3
LAPSES = 0.1
"""Share of the lines in which the sign may be missing: a collapsed teacher, too, has batches in
which one window gets another prototype (2 lines of 200 at a low learning rate)."""
NO_INFORMATION = 1e-3
"""Nats. Untrained networks have 0.05 to 0.9, learning ones more than 0.1; collapsed ones below 1e-4
(a teacher whose temperature is above 1 never has more)."""
UNIFORM_KL = 0.05
"""Nats between what is taught and the uniform distribution, below which it is called so."""
OUTPUT_SHARE = 0.1
"""Of the untrained network's ``output_std``, for methods without distributions. Healthy ones keep
or raise it: VICReg's variance term pulls it to 1."""
POINT_SHARE, POINT = 0.05, 0.005
"""Of the untrained network's ``embedding_std``; and in any case (a warm start from a collapse)."""
RANK_SHARE = 0.05
"""Of what the untrained network's centred RankMe has above 1."""

CAUSES: dict[Symptom, str] = {
    "one prototype": "something has to balance the use of the prototypes",
    "uniform": "the teacher has to be sharper than the student",
    "same output": "the loss has no term that keeps outputs apart, or its weight is too small",
    "one point": "lower learning_rate or lengthen warmup_epochs",
    "few dimensions": "lower learning_rate, or weaken the augmentation that leaves nothing else",
}
"""What to think of where the method knows no cause."""


@dataclass
class _Held:
    """A sign that holds: steps done at the line before, its first step, its lines, those without."""

    good: int
    first: int
    lines: int = 0
    lapses: int = 0


@dataclass(frozen=True)
class Finding:
    """A collapse.

    Attributes
    ----------
    symptom : str
    seen : str
        What was seen, with its numbers.
    step : int
        Steps done.
    good : int
        Steps done up to which nothing was suspected.
    """

    symptom: Symptom
    seen: str
    step: int
    good: int


class Collapsed(DawnChorusError):  # noqa: N818 - it is what happened
    """The training has collapsed; going on would burn the allocation for nothing."""

    def __init__(
        self, found: Finding, experiment: str, causes: tuple[str, ...], lineage: Path
    ) -> None:
        likely = "; ".join(causes or (CAUSES[found.symptom],))
        super().__init__(
            f"collapsed by step {found.step}: {found.seen}",
            f"experiments.{experiment}",
            f"likely cause: {likely}. Change a setting: with the same ones it is not tried again "
            f"(unless {lineage / RECORD} is deleted, then from step {found.good}; monitors.alarm: "
            "false lets it collapse)",
        )
        self.found, self.experiment, self.causes = found, experiment, causes
        self.lineage = lineage

    def record(self) -> None:
        """Write down that this training has collapsed, for :func:`end_if_recorded`."""
        content = {**asdict(self.found), "experiment": self.experiment, "causes": self.causes}
        with publishing(self.lineage / RECORD) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def end_if_recorded(lineage: Path) -> None:
    """End at once if this very training has collapsed before: a workflow's tries are worth more.

    Parameters
    ----------
    lineage : Path
        ``checkpoints/{lineage}``.

    Raises
    ------
    Collapsed
        The same as then.
    DawnChorusError
        If the record cannot be read.
    """
    path = lineage / RECORD
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        experiment, causes = told.pop("experiment"), tuple(told.pop("causes"))
        found = Finding(**told)
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise DawnChorusError("not a record of a collapse", path, "delete it") from None
    raise Collapsed(found, experiment, causes, lineage)


def forget(lineage: Path) -> None:
    """Remove the record, if there is one: the training is to go on all the same."""
    (lineage / RECORD).unlink(missing_ok=True)


class Alarm:
    """Judges the entries of a log.

    Attributes
    ----------
    suspected_since : int or None
        Steps done at the last line before the signs that hold now (0: none was without); None if
        none holds.
    """

    def __init__(self, uniform_loss: float | None) -> None:
        self._uniform_loss = uniform_loss
        self._untrained: dict[str, float] = {}
        self._held: dict[str, _Held] = {}
        self._last = 0
        self.suspected_since: int | None = None

    def see(self, entry: Mapping[str, Any]) -> Finding | None:
        """Take the next entry; return what is found if a sign has held for long enough."""
        if not entry.get("taken", True):
            return None
        figures = {
            key: float(value)
            for key, value in entry.items()
            if isinstance(value, int | float) and math.isfinite(value)
        }
        for key, value in figures.items():
            self._untrained.setdefault(key, value)
        step, found = int(entry["step"]), None
        for sign, seen in self._signs(figures).items():
            held = self._held.get(sign)
            if held is None:
                if seen is None:
                    continue
                held = self._held[sign] = _Held(good=self._last, first=step)
            held.lines += 1
            if seen is None:
                held.lapses += 1
                if held.lapses > LAPSES * held.lines:
                    del self._held[sign]
                continue
            sure = step - held.first >= STEPS_TO_BE_SURE and held.lines >= self._lines(sign)
            if sure and found is None:
                symptom, told = seen
                found = Finding(symptom, f"{told}, since step {held.first}", step, held.good)
        self._last = step
        self.suspected_since = min((held.good for held in self._held.values()), default=None)
        return found

    @staticmethod
    def _lines(sign: str) -> int:
        """The rank is measured seldom: two probes that are far enough apart are enough."""
        return 2 if sign == "rank" else LINES_TO_BE_SURE

    def _signs(self, now: dict[str, float]) -> dict[str, tuple[Symptom, str] | None]:
        """Whether each sign can be judged from the figures, and what it says; None: all is well."""
        at_first = self._untrained
        signs: dict[str, tuple[Symptom, str] | None] = {}
        if "teacher_information" in now:
            signs["information"] = self._information(now)
        elif "output_std" in now:
            few = now["output_std"] < OUTPUT_SHARE * at_first["output_std"]
            signs["output"] = (
                (
                    "same output",
                    "outputs are the same for all windows: their standard deviation is "
                    f"{now['output_std']:.2g}, untrained {at_first['output_std']:.2g}",
                )
                if few
                else None
            )
        if "embedding_std" in now:
            few = now["embedding_std"] < max(POINT_SHARE * at_first["embedding_std"], POINT)
            signs["point"] = (
                (
                    "one point",
                    "all windows have the same embedding: its spread is "
                    f"{now['embedding_std']:.2g}, untrained {at_first['embedding_std']:.2g}",
                )
                if few
                else None
            )
        if "rankme_centred" in now:
            rank, before = now["rankme_centred"], at_first["rankme_centred"]
            few = rank - 1 < RANK_SHARE * (before - 1)
            signs["rank"] = (
                (
                    "few dimensions",
                    f"embeddings vary along {rank:.1f} dimensions (RankMe), untrained {before:.1f}",
                )
                if few
                else None
            )
        return signs

    def _information(self, now: dict[str, float]) -> tuple[Symptom, str] | None:
        if now["teacher_information"] >= NO_INFORMATION:
            return None
        entropy, used = now["teacher_entropy"], now["prototypes_effective"]
        numbers = (
            f"information {now['teacher_information']:.1g} nat, "
            f"untrained {self._untrained['teacher_information']:.2g}; entropy {entropy:.3f}"
        )
        if self._uniform_loss is not None:
            numbers += f" of ln(prototypes) = {self._uniform_loss:.3f}"
        if now.get("teacher_uniform_kl", math.inf) < UNIFORM_KL:
            return "uniform", (
                "the teacher says the same of all windows, that every prototype is equally likely "
                f"({numbers}; loss {now.get('loss', math.nan):.3f})"
            )
        if used < 2:
            return "one prototype", (
                "the teacher says the same of all windows, one and the same prototype "
                f"({numbers}; {used:.2f} prototypes in use)"
            )
        return "same output", f"the teacher says the same of all windows ({numbers})"
