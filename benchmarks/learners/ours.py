"""Our side: ``dawnchorus train`` itself, from the training set's stores to the log, for some steps."""

from __future__ import annotations

import shutil
import time
from typing import Any

from learners import EVERY, SEASON_BATCH, SEASON_WINDOWS, STEPS_PER_EPOCH, Task, experiment, memory

TOLD = "dawnchorus.learning.training.train as it is: feed, augmentation, optimiser, monitors, log"
PROBED = {"cpu": 64, "cuda": 2000}
"""Windows that the probe embeds here; 2000 by default, minutes on a CPU."""
STEPS_PER_PROBE, PROBE_WINDOWS = 200, 2000
"""The defaults of ``monitors``."""


def run(task: Task) -> dict[str, Any]:
    import torch

    from dawnchorus import config
    from dawnchorus.learning import training
    from dawnchorus.learning.monitors import Monitors
    from dawnchorus.results import Results

    used: dict[int, float] = {}

    class Clocked(Monitors):
        """Also notes the process's CPU seconds before it looks at a step."""

        def step(self, step: int, figures: Any, **told: Any) -> None:
            used[step + 1] = time.process_time()
            super().step(step, figures, **told)

    training.Monitors = Clocked  # type: ignore[misc]
    total = task.warm + task.steps + EVERY
    settings = config.validate(
        {
            "experiments": {
                "measured": experiment(
                    task,
                    epochs=total / STEPS_PER_EPOCH,
                    # One probe at the end of what is counted, to know what it costs.
                    monitors={"probe_steps": total - EVERY, "probe_windows": PROBED[task.device]},
                )
            }
        }
    )
    results = Results(task.root)
    shutil.rmtree(results.experiment("measured").log.parent, ignore_errors=True)
    training.train(settings, results, "measured", device=task.device)
    from dawnchorus.learning import history

    log = history.read(results.experiment("measured").log)
    found = pace(log, task.batch, task.warm, total - EVERY)
    windows, probe = task.batch * task.steps, found.pop("probe_s")
    # The probe comes every 200 steps of the recipe's batch.
    probed = probe * PROBE_WINDOWS / PROBED[task.device]
    each = probed / (STEPS_PER_PROBE * SEASON_BATCH)
    per_window = found.pop("seconds") / windows + each
    torch.cuda.empty_cache()
    return {
        "rate": 1 / per_window,
        "per_cpu": windows / (used[total - EVERY] - used[task.warm]),
        "memory_gb": memory(task),
        "probe_share": each / per_window,
        **found,
    }


def pace(log: list[dict[str, Any]], batch: int, first: int, last: int) -> dict[str, float]:
    """Seconds that the steps after ``first`` up to ``last`` took, and what went into waiting.

    Parameters
    ----------
    log : list of dict
        Lines of ``log.jsonl``; ``first`` and ``last`` have one, and there is one after ``last``,
        which holds the time of the probe at ``last``.
    batch : int
    first, last : int
    """
    seconds = waited = watched = probe = 0.0
    lines = 0
    before = 0
    for line in log:
        took = (line["step"] - before) * batch / line["windows_per_second"]
        if first <= before < last:
            seconds += took
            waited += took * line["data_wait_share"]
            watched += took * line["monitor_share"]
            lines += 1
        elif before == last:
            probe = took * line["monitor_share"]
        before = line["step"]
    return {
        "seconds": seconds,
        "data_wait_share": waited / seconds,
        "monitor_share": watched / seconds,
        "probe_s": max(0.0, probe - watched / max(lines, 1)),
    }


def write_set(task: Task) -> None:
    """Spectrogram stores of noise, and a training set of all their windows."""
    from feed import write_season

    from dawnchorus.results import Results

    stores = max(4, task.batch // 32)
    write_season(Results(task.root), stores, STEPS_PER_EPOCH * task.batch // stores)


assert SEASON_WINDOWS // SEASON_BATCH > STEPS_PER_EPOCH  # a real log has fewer lines
