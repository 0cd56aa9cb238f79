"""From a WAV file to Raven's own columns: a chirp comes back where it was put, within one patch.

Everything between is the product's: scan, resampling, spectrogram store, network, map, mask, boxes, table.
The network is a real one with weights made by hand, whose tokens and whose class token's attention
follow the energy of a patch.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from scipy.signal import chirp
from scipy.signal.windows import tukey

from dawnchorus.attention.one_window import at_time, attend_to, of_recording
from dawnchorus.config import Attention, Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import ModelMetadata, save_model
from dawnchorus.recordings.inventory import scan
from dawnchorus.results import RecorderDay, Results
from dawnchorus.spectrograms.day import make_day
from dawnchorus.spectrograms.mel import mel_of

DAY = RecorderDay("REC01", "2021-05-24")
RAVEN = (
    *("Selection", "View", "Channel"),
    *("Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"),
)
PATCH_S = 16 * 512 / 44_100
BAND_MEL = float(mel_of(15_000.0) - mel_of(150.0)) / 129
PATCH_MEL = 17 * BAND_MEL
"""A patch from foot to foot of its first and last triangle."""


def raven_rows(path: Path) -> list[dict[str, str]]:
    """Read a selection table as Raven's manual describes it, and refuse anything else."""
    text = path.read_bytes().decode("ascii")
    assert text.endswith("\n") and "\r" not in text and '"' not in text
    heading, *lines = text[:-1].split("\n")
    names = heading.split("\t")
    assert tuple(names[:7]) == RAVEN and len(set(names)) == len(names)
    rows = []
    for number, line in enumerate(lines, start=1):
        cells = line.split("\t")
        assert len(cells) == len(names)
        row = dict(zip(names, cells, strict=True))
        assert row["Selection"] == str(number) and row["View"] == "Spectrogram 1"
        assert row["Channel"] == "1"
        for name in RAVEN[3:]:
            assert re.fullmatch(r"\d+\.\d+", row[name]), row[name]
        assert float(row["Begin Time (s)"]) < float(row["End Time (s)"])
        assert float(row["Low Freq (Hz)"]) < float(row["High Freq (Hz)"])
        rows.append(row)
    return rows


def record(path: Path, rate: int, at: float, low: float, high: float, length: float = 0.5) -> None:
    """Write half a second of chirp into a minute and a half of faint noise."""
    samples = np.random.default_rng(1).normal(0, 1e-3, 90 * rate)
    time = np.arange(round(length * rate)) / rate
    begin = round(at * rate)
    sound = chirp(time, low, length, high) * tukey(len(time), 0.1)  # no click at its ends
    samples[begin : begin + len(time)] += 0.3 * sound
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")


def follows_energy(metadata: ModelMetadata, constant: float) -> dict[str, torch.Tensor]:
    """Weights: a token is (mean of its patch, constant, 0 ...), the class token looks at the first.

    The norms take the length from a token: a large constant leaves the first number as it is, a small one
    makes it say whether there is anything.
    """
    module = metadata.build()
    state = {name: torch.zeros_like(value) for name, value in module.state_dict().items()}
    for name, value in state.items():
        if re.search(r"norm\d?\.weight$", name):
            value.fill_(1.0)
    state["patch_embed.proj.weight"][0] = 1 / 256
    state["patch_embed.proj.bias"][1] = constant
    width, heads = module.embed_dim, module.blocks[-1].attn.num_heads
    for head in range(heads):
        first = head * width // heads
        state["blocks.3.attn.qkv.bias"][first] = 4.0  # the query, whatever the token
        state["blocks.3.attn.qkv.weight"][width + first, 0] = 1.0  # the key
    return state


@pytest.mark.parametrize(
    ("rate", "at", "low", "high"),
    [
        (44_100, 75.9, 3000.0, 5000.0),  # late in the file
        (22_050, 79.3, 4000.0, 6000.0),  # resampled
        (48_000, 0.05, 160.0, 420.0),  # the window's and the spectrum's lower edge
        (44_100, 35.5, 12_500.0, 14_900.0),  # the upper edges
    ],
)
def test_a_chirp_comes_back_within_one_patch(
    tmp_path: Path, rate: int, at: float, low: float, high: float
) -> None:
    name = "REC01/Data/REC01_20210524_030000.wav"
    record(tmp_path / "cards" / name, rate, at, low, high)
    settings = Settings.model_validate(
        {
            "results": str(tmp_path / "results"),
            "audio": {"root": str(tmp_path / "cards"), "timezone": "America/Chicago"},
            "experiments": {"toy": {"backbone": "vit_nano", "patch": 16}},
        }
    )
    results = Results(settings.results)
    scan(settings, results)
    make_day(settings, results, DAY)
    metadata = ModelMetadata("vit_nano", 16, 128, 256, "cls", 0.0, 8.0, -120.0, 0.5, "contrast")

    windows = of_recording(results, name, round((at + 0.25) * rate))
    assert windows["offset"].item() == int(at // 3) * 3 * rate
    sources = (("heads", 1, 1.0), ("heads", 2, 1.0), ("departure", 2, 10.0), ("norm", 4, 1.0))
    for source, finer, constant in sources:
        save_model(results.experiment("toy").model, follows_energy(metadata, constant), metadata)
        # A chirp is as loud at its end: what keeps 60 % of it would not keep its end.
        chosen = Attention(source=source, finer=finer, mass=0.9)
        wanted = settings.model_copy(update={"attention": chosen})
        out = tmp_path / f"{source}-{finer}"
        attend_to(wanted, results, "toy", windows, out)
        rows = raven_rows(out / "raven" / f"{name}.selections.txt")
        strongest = max(rows, key=lambda row: float(row["Attention"]))
        begin, end, bottom, top = (float(strongest[name]) for name in RAVEN[3:])
        assert abs(begin - at) <= PATCH_S
        assert abs(end - (at + 0.5)) <= PATCH_S
        assert abs(mel_of(bottom) - mel_of(low)) <= PATCH_MEL
        assert abs(mel_of(top) - mel_of(high)) <= PATCH_MEL

    boxes = pl.read_parquet(out / "boxes.parquet").filter(pl.col("head") == -1)
    utc = datetime(2021, 5, 24, 8)  # 03:00 in Chicago
    for row in boxes.iter_rows(named=True):
        assert abs(row["time"] - utc - timedelta(seconds=row["start_s"])) < timedelta(
            milliseconds=1
        )
    moment = utc + timedelta(seconds=at + 0.25)
    assert at_time(results, DAY, moment).equals(windows)
    with pytest.raises(DawnChorusError, match="not empty"):
        attend_to(settings, results, "toy", windows, out)
    with pytest.raises(DawnChorusError, match="no window holds sample"):
        of_recording(results, name, 100 * rate)
    with pytest.raises(DawnChorusError, match="holds no window at"):
        at_time(results, DAY, utc - timedelta(seconds=1))
    with pytest.raises(DawnChorusError, match="is in no recorder-day"):
        of_recording(results, "REC01/Data/other.wav", 0)
