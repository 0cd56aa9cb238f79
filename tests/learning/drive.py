"""Trains on toy windows in a process of its own: what the tests kill, stop and start in pairs.

``python -m torch.distributed.run ... drive.py`` or ``python drive.py``, with the settings as JSON,
the results folder, and how many seconds to wait after each step (to be killed in time).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from dawnchorus import config
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning import training, training_set
from dawnchorus.learning.dino import Dino
from dawnchorus.results import Results
from learning import toy


def trained(settings_json: str, folder: str, pause: float) -> int:
    """Train; return 0, or 1 with one line on standard error."""
    settings = config.validate(json.loads(settings_json))
    shape = settings.spectrogram
    codes, _ = toy.song_windows(40, 0, shape.mels, shape.frames)
    training_set.open_frozen = lambda results: toy.ToyFrozen(codes)  # type: ignore[assignment]
    after_step = Dino.after_step

    def slowly(self: Dino, step: int) -> None:
        after_step(self, step)
        time.sleep(pause)

    Dino.after_step = slowly  # type: ignore[method-assign]
    try:
        training.train(settings, Results(Path(folder)), "toy", device="cpu")
    except DawnChorusError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def alone(settings_json: str, folder: str, pause: float) -> None:
    """Train on one thread and end the process with the outcome."""
    torch.set_num_threads(1)
    sys.exit(trained(settings_json, folder, pause))


if __name__ == "__main__":
    sys.exit(trained(sys.argv[1], sys.argv[2], float(sys.argv[3])))
