"""Which of BirdNET's windows speaks for which of ours, held against the rule spelled out."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dawnchorus.birdnet.overlap import Listened
from dawnchorus.birdnet.speaking import detections_of

NAMES = {"a.wav": 22_050, "b.wav": 48_000}


def spelled_out(ours, length_s, heard, overlap_s):
    """All pairs (name, offset, BirdNET's offset) that share half of the shorter window."""
    found = []
    for name, offset in ours:
        rate = NAMES[name]
        length, theirs = round(length_s * rate), 3 * rate
        for number in range(heard):
            begin = number * (theirs - round(overlap_s * rate))
            shared = min(offset + length, begin + theirs) - max(offset, begin)
            if 2 * shared >= min(length, theirs):
                found.append((name, offset, begin))
    return found


@settings(max_examples=60, deadline=None)
@given(
    length_s=st.sampled_from([0.5, 1.0, 2.9, 3.0, 4.5, 9.0]),
    step_s=st.sampled_from([0.5, 1.5, 3.0, 9.0]),
    overlap_s=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 2.9]),
    heard=st.integers(0, 12),
    shift=st.integers(0, 5000),
)
@example(length_s=3.0, step_s=3.0, overlap_s=0.0, heard=5, shift=0)
def test_windows_that_share_half(length_s, step_s, overlap_s, heard, shift):
    ours = [
        (name, shift + round(number * step_s * rate))
        for name, rate in NAMES.items()
        for number in range(5)
    ]
    expected = spelled_out(ours, length_s, heard, overlap_s)
    names = np.array([name for name, _ in ours] + ["unheard.wav"], dtype=object)
    rates = np.array([NAMES[name] for name, _ in ours] + [1000.0])
    offset = np.array([offset for _, offset in ours] + [0])
    start = offset / rates
    end = start + np.rint(length_s * rates) / rates
    listened = Listened({name: (rate, heard) for name, rate in NAMES.items()}, overlap_s)
    pairs = listened.pairs(names, start, end)
    found = [
        (names[window], int(offset[window]), int(theirs))
        for window, theirs in zip(pairs.window, pairs.offset, strict=True)
    ]
    assert found == expected
    if (length_s, step_s, overlap_s, shift) == (3.0, 3.0, 0.0, 0):
        assert all(ours == theirs for _, ours, theirs in found)

    # The same rule over a table of detections: two species in each of BirdNET's windows.
    heard_at = sorted({(name, theirs) for name, _, theirs in expected})
    sure = {where: 0.1 + 0.8 * (number % 7) / 7 for number, where in enumerate(heard_at)}
    table = pl.DataFrame(
        [
            (name, theirs, species, species.upper(), sure[name, theirs] * share)
            for name, theirs in heard_at
            for species, share in (("owl", 1.0), ("wren", 0.5))
        ],
        schema=["recording", "offset", "species", "common_name", "confidence"],
        orient="row",
    ) if heard_at else pl.DataFrame(
        schema={"recording": pl.String, "offset": pl.Int64, "species": pl.String,
                "common_name": pl.String, "confidence": pl.Float32}
    )  # fmt: skip
    windows = pl.DataFrame({"recording": names, "offset": offset, "sample_rate": rates.astype(int)})
    said = detections_of(windows, table, length_s)
    best: dict[tuple[str, int], float] = {}
    for name, mine, theirs in expected:
        best[name, mine] = max(best.get((name, mine), 0.0), sure[name, theirs])
    wanted = [
        (name, mine, species, np.float32(best[name, mine] * share))
        for name, mine in dict.fromkeys(ours)
        if (name, mine) in best
        for species, share in (("owl", 1.0), ("wren", 0.5))
    ]
    assert said.drop("common_name").rows() == [(*row[:3], float(row[3])) for row in wanted]
