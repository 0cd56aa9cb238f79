"""The quiet windows that views are laid over: whose, how quiet, how many."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch

from dawnchorus.config import Augmentation
from dawnchorus.learning import backgrounds

CPU = torch.device("cpu")


def table_of(recorders: list[str], seed: int = 0) -> pl.DataFrame:
    activity = np.random.default_rng(seed).random(len(recorders)).astype(np.float32)
    return pl.DataFrame({"recorder": recorders, "activity": activity})


def settings_of(**values) -> Augmentation:
    return Augmentation(background_probability=0.5, **values)


def test_they_are_the_quietest_of_each_recorder_and_no_more_than_asked_for():
    table = table_of(["A"] * 100 + ["B"] * 40 + ["C"])
    settings = settings_of(background_quiet=0.2, background_windows=10)
    rows, count, recorder = backgrounds.quiet_rows(table, settings, 0)
    assert count.tolist() == [10, 8, 1] and len(set(rows.tolist())) == 19
    assert recorder.tolist() == [0] * 100 + [1] * 40 + [2]
    activity = table["activity"].to_numpy()
    for number, (first, last) in enumerate([(0, 10), (10, 18), (18, 19)]):
        mine = rows[first:last]
        assert (recorder[mine] == number).all()
        own = np.sort(activity[recorder == number])
        assert activity[mine].max() <= own[max(1, round(0.2 * len(own))) - 1]
    again = backgrounds.quiet_rows(table, settings, 0)[0]
    assert rows.tolist() == again.tolist() != backgrounds.quiet_rows(table, settings, 1)[0].tolist()


def test_a_recorder_has_its_own_and_a_season_has_everybodys():
    table = table_of(["B", "A", "A", "B", "B", "A"])
    codes = np.random.default_rng(1).integers(0, 256, (6, 4, 8), dtype=np.uint8)
    settings = settings_of(background_quiet=1.0, background_windows=2)
    held = backgrounds.gather(table, lambda rows: codes[rows], settings, 0, CPU)
    first, count = held.choices(np.array([0, 1, 5]))
    assert (first.tolist(), count.tolist()) == ([2, 0, 0], [2, 2, 2])
    everybody = settings.model_copy(update={"background_from": "season"})
    of_all = backgrounds.gather(table, lambda rows: codes[rows], everybody, 0, CPU)
    first, count = of_all.choices(np.array([0, 1]))
    assert (first.tolist(), count.tolist()) == ([0, 0], [4, 4])
    assert torch.equal(of_all.codes, held.codes)
    assert (held.codes.median(dim=2).values == 0).all()  # above their own floor


def test_none_are_read_where_none_are_wanted():
    def read(rows):
        raise AssertionError("nothing is to be read")

    assert backgrounds.gather(table_of(["A"]), read, Augmentation(), 0, CPU) is None
