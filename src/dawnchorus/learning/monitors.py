"""What is watched while a training runs: figures, the probe, the alarm; to the log and TensorBoard.

In: the steps, with what the method let the monitors see of them. Out: lines of ``log.jsonl`` (their
keys: :mod:`dawnchorus.learning.history`), the same in TensorBoard's event files, warnings, and
:class:`dawnchorus.learning.collapse.Collapsed` when there is nothing left to train.

Monitors look on: they draw no random number, change no weight and no mode, so a training ends with
the same weights whether and however it is watched. The device is waited for only where a line of
the log is due.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

from dawnchorus.config import Experiment
from dawnchorus.learning import checkpoint, history, measures
from dawnchorus.learning.collapse import Alarm, Collapsed
from dawnchorus.learning.concerns import Concerns
from dawnchorus.learning.events import Events
from dawnchorus.learning.history import Entry
from dawnchorus.learning.method import Figures, Method
from dawnchorus.learning.probe import Probe
from dawnchorus.learning.ranks import Ranks
from dawnchorus.learning.schedules import Clock
from dawnchorus.results import ExperimentResults

T = TypeVar("T")

LINES_PER_EPOCH = 50
"""Logged steps per epoch, at most."""
STEPS_PER_LINE = 25
"""Steps between two lines, at most: a collapse must be seen long before 500 steps."""

RANKS_OF_SPACE = ("rankme", "rankme_centred")


class Monitors:
    """Watches one training.

    Use as a context manager; call :meth:`step` once per step and take the batches through
    :meth:`waits`.

    Parameters
    ----------
    name : str
        Of the experiment.
    experiment : Experiment
    clock : Clock
    method : Method
    probe : Probe or None
        Only the first process's is used.
    paths : ExperimentResults
    lineage : str
        Name of the folder of this training's checkpoints.
    ranks : Ranks
    step : int
        Steps done; the log ends there.
    """

    def __init__(
        self,
        name: str,
        experiment: Experiment,
        clock: Clock,
        method: Method,
        probe: Probe | None,
        paths: ExperimentResults,
        lineage: str,
        ranks: Ranks,
        step: int,
    ) -> None:
        self._name, self._experiment, self._clock = name, experiment, clock
        self._method, self._probe, self._ranks = method, probe, ranks
        self._log, self._folder = paths.log, paths.tensorboard
        self._lineage = paths.checkpoints / lineage
        self._settings = experiment.monitors
        self._every = max(1, min(STEPS_PER_LINE, clock.steps_per_epoch // LINES_PER_EPOCH))
        self._usage = measures.Usage()
        self._events: Events | None = None
        ranks.wait()  # until the first process has cut the log
        before = [entry for entry in history.read(paths.log) if entry["step"] <= step]
        self._alarm, self._concerns = Alarm(method.uniform_loss), Concerns()
        for entry in before:
            self._alarm.see(entry)
            self._concerns.see(entry)
        self._before = before
        self._started = self._since = time.monotonic()
        self._steps, self._waited, self._took, self._all = 0, 0.0, 0.0, 0.0

    def __enter__(self) -> Monitors:
        if self._ranks.first and self._settings.tensorboard:
            self._events = Events(self._folder, self._before)
        self._started = self._since = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if self._events is not None:
            self._events.close()
        share = self._all / (time.monotonic() - self._started)
        self._ranks.say(f"monitors: {self._all:,.1f} s, {share:.1%} of the training's time")

    @property
    def suspected_since(self) -> int | None:
        """Steps done when the last line before the present suspicion was logged, if there is one.

        The checkpoints up to there are the last that are known to be good.
        """
        return self._alarm.suspected_since if self._settings.alarm else None

    def waits(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches and take the time that each let the loop wait."""
        source = iter(batches)
        while True:
            begin = time.monotonic()
            try:
                batch = next(source)
            except StopIteration:
                return
            self._waited += time.monotonic() - begin
            yield batch

    def step(
        self, step: int, figures: Figures, *, taken: bool, **numbers: float | bool | str
    ) -> None:
        """Take note of a step that was done; write a line if one is due, or it was not taken.

        Parameters
        ----------
        step : int
            Its number, from 0.
        figures : dict
            What the method returned (:data:`dawnchorus.learning.method.Figures`).
        taken : bool
        **numbers
            Already known to the CPU, for the log as they are.

        Raises
        ------
        Collapsed
            If the alarm is on and has seen enough.
        """
        done = step + 1
        self._steps += 1
        if "targets" in figures:
            self._usage.note(figures["targets"], self._ranks)
        if not (taken and done != 1 and done % self._every and done != self._clock.total_steps):
            self._line(done, figures, taken, numbers)

    def _line(
        self, done: int, figures: Figures, taken: bool, numbers: dict[str, float | bool | str]
    ) -> None:
        device = self._ranks.device
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # what is still to compute is not the monitors' time
        begin = time.monotonic()
        entry = {"step": done, "epoch": self._clock.epoch(done), **numbers, "taken": taken}
        entry.update(measured(figures, self._usage, self._ranks))
        if done == 1 or done % self._settings.probe_steps == 0 or done == self._clock.total_steps:
            entry.update(self._probed())
        entry.update(self._pace(begin))
        found = self._alarm.see(entry) if self._settings.alarm else None
        if found is not None:
            entry["alarm"] = found.seen
        worries = self._concerns.see(entry)
        if worries:
            entry["warning"] = "; ".join(worries)
            self._ranks.say(f"{self._name}, step {done}: {entry['warning']}")
        if self._ranks.first:
            history.append(self._log, entry)
            if self._events is not None:
                self._events.write(entry)
        self._since, self._steps, self._waited = begin, 0, 0.0
        self._took = time.monotonic() - begin
        self._all += self._took
        if found is not None:
            causes = self._method.causes(found.symptom)
            end = Collapsed(found, self._name, causes, self._lineage)
            if self._ranks.first:
                checkpoint.remove_after(self._lineage, found.good)
                end.record()
            self._ranks.wait()
            raise end

    def _probed(self) -> Entry:
        """The probe's figures; processes other than the first know the ranks only."""
        if self._settings.probe_windows == 0:
            return {}
        found: Entry = dict.fromkeys(RANKS_OF_SPACE, 0.0)
        if self._ranks.first and self._probe is not None:
            experiment = self._experiment
            found = self._probe.measure(
                self._method.backbone,
                experiment.pooling,
                self._ranks.device,
                experiment.precision,
            )
        mine = torch.tensor([found[key] for key in RANKS_OF_SPACE], device=self._ranks.device)
        total = (self._ranks.mean(mine) * self._ranks.world).tolist()
        return {**found, **dict(zip(RANKS_OF_SPACE, total, strict=True))}

    def _pace(self, now: float) -> Entry:
        """How fast it went since the line before, and what the time went to."""
        seconds = max(now - self._since, 1e-9)
        rate = self._steps * self._clock.batch_size / seconds
        return {
            "windows_per_second": rate,
            "views_per_second": rate * len(self._method.crops),
            "data_wait_share": self._waited / seconds,
            "monitor_share": self._took / seconds,
            "processes": self._ranks.world,
            "device": name_of(self._ranks.device),
            **memory(self._ranks.device),
        }


def measured(figures: Figures, usage: measures.Usage, ranks: Ranks) -> Entry:
    """Return the numbers of a step: scalars averaged over the processes, tensors measured.

    Waits for the device.

    Parameters
    ----------
    figures : dict
        :data:`dawnchorus.learning.method.Figures`.
    usage : Usage
        Has seen the targets of the steps so far.
    ranks : Ranks
    """
    values = {name: value.detach().float() for name, value in figures.items() if not value.ndim}
    if values:
        together = ranks.mean(torch.stack(list(values.values())))
        values = dict(zip(values, together, strict=True))
    if "embeddings" in figures:
        values["embedding_std"] = measures.spread(figures["embeddings"], ranks)
    if "outputs" in figures:
        values["output_std"] = measures.deviation(figures["outputs"], ranks)
    used = None
    if "targets" in figures:
        within, information, effective = measures.information(figures["targets"], ranks)
        values["teacher_entropy"] = within
        values["teacher_uniform_kl"] = math.log(figures["targets"].shape[1]) - within
        values["teacher_information"] = information
        values["prototypes_effective"] = effective
        used = usage.share(ranks)
        if used is not None:
            values["prototypes_used"] = used
    if not values:
        return {}
    numbers = torch.stack(list(values.values())).tolist()
    found: Entry = dict(zip(values, numbers, strict=True))
    if "targets" in figures and used is None:
        found["prototypes_used"] = None
    return found


def name_of(device: torch.device) -> str:
    """Return what a device calls itself, as ``NVIDIA H200``; ``CPU`` without a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def memory(device: torch.device) -> Entry:
    """Return the most memory held so far: by tensors on a GPU, else by the process; 10^9 bytes."""
    if device.type == "cuda":
        return {"gpu_memory_gb": torch.cuda.max_memory_allocated(device) / 1e9}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"memory_gb": most * (1 if sys.platform == "darwin" else 1024) / 1e9}
