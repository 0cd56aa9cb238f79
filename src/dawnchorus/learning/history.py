"""The history of a training: ``log.jsonl``, one JSON object per logged step.

In: the figures of a step. Out: a line; after a resume the lines beyond the checkpoint are gone, so
that each step stands once. Numbers that JSON has no word for (NaN, infinity) are written as null.
Every key stands in every line, unless it says otherwise. With several processes a figure is that of
all their windows together; seconds and bytes are the first process's.

==========================  ========================================================================
``step``, ``epoch``         steps done, and in epochs
``loss``                    nats (DINO)
``gradient_norm``           before clipping
``learning_rate``,          and the method's own schedules (``teacher_momentum``,
``weight_decay``            ``teacher_temperature``)
``taken``                   false if the loss was bad and the step was not taken
``batch``                   XXH3-64 of the rows of the training set in the step
``embedding_std``           spread of the embeddings of the step's views: 1 is even, 0 collapsed
``output_std``              standard deviation over windows of what the loss compares, mean per
                            dimension: cosines (DINO's prototypes), else the method's unit
``teacher_entropy``         nats; mean over windows of the entropy of what the teacher teaches
``teacher_uniform_kl``      nats; KL(teacher || uniform) = ln(out_dim) - entropy
``teacher_information``     nats; mutual information of window and prototype in the step: 0 if the
                            teacher says the same for all windows; at most ln(windows in the step)
``prototypes_effective``    exp(entropy of the mean of what is taught in the step)
``prototypes_used``         share of the prototypes that were the likeliest of at least one of the
                            last 4 x out_dim views; null until as many were seen since the start
``center_norm``             norm of DINO's centre
``rankme``                  every ``probe_steps``: effective rank of the sample's embeddings
``rankme_centred``          the same of the embeddings without their mean: the rank of what varies
``knn_hour``, ``_recorder`` every ``probe_steps``, where there are such labels: share of the sample
``_species``                that its nearest neighbours in other groups name right ...
``knn_hour_chance`` ...     ... and that of windows drawn at random
``windows_per_second``      over the steps since the line before, all processes together
``views_per_second``        windows times the views of each
``data_wait_share``         share of the time since then in which the loop waited for windows
``monitor_share``           share of the time since then that monitors took
``processes``, ``device``   how many train together (one per GPU), and what they compute on
``gpu_memory_gb``           10^9 bytes; most that tensors held on the GPU since the start; without a
``memory_gb``               GPU the most that the process held in memory
``warning``, ``alarm``      in few lines, text: what is not as it should be
==========================  ========================================================================

``koleo`` is the KoLeo term, where it has a weight. A method without a teacher's distribution (VICReg) has no ``teacher_`` and ``prototypes_`` keys; its
own figures stand under the names it gives them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dawnchorus.results import publishing

Entry = dict[str, Any]


def read(path: Path) -> list[Entry]:
    """Return the entries of a log; a line that a killed process left half-written is not one."""
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return entries


def cut(path: Path, step: int) -> None:
    """Keep only the entries up to ``step``; 0 starts the log anew."""
    kept = [entry for entry in read(path) if entry["step"] <= step]
    with publishing(path) as partial:
        partial.write_text("".join(_line(entry) for entry in kept), encoding="utf-8")


def append(path: Path, entry: Entry) -> None:
    """Add one entry."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_line(entry))


def _line(entry: Entry) -> str:
    said = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in entry.items()
    }
    return json.dumps(said, allow_nan=False) + "\n"
