"""One of several training processes: what torchrun starts.

In: the settings as JSON, the results folder, the experiment. Out: its part of the training; an
error is one line on standard error and exit status 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from dawnchorus import config
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.interruption import GoOnLater
from dawnchorus.learning.launch import ENDING
from dawnchorus.learning.training import train
from dawnchorus.results import Results


def main(arguments: list[str] | None = None) -> int:
    """Join the other processes and train.

    Returns
    -------
    int
        Exit status.
    """
    parser = argparse.ArgumentParser(
        prog="python -m dawnchorus.learning.worker", description=__doc__
    )
    parser.add_argument("--settings", required=True, help="the whole configuration, as JSON")
    parser.add_argument("--results", required=True, type=Path)
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--deadline", type=float, help="when the time is up, UNIX seconds")
    given = parser.parse_args(arguments)
    try:
        settings = config.load(handed=[given.settings])
        train(
            settings,
            Results(given.results),
            given.experiment,
            device=given.device,
            deadline=given.deadline,
        )
    except GoOnLater:
        if ending := os.environ.get(ENDING):
            Path(ending).touch()
        raise
    except DawnChorusError as error:
        print(f"dawnchorus: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
