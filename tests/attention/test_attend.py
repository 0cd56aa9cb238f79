"""Attention of the heads equals the explicit computation; boxes come back at known places."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
import xarray
from timm.models.vision_transformer import VisionTransformer

from dawnchorus.attention import looking
from dawnchorus.attention.attend import attend, central_windows
from dawnchorus.attention.heads import class_attention
from dawnchorus.attention.masks import mass_mask
from dawnchorus.attention.tokens import run
from dawnchorus.clustering.fit import fit
from dawnchorus.config import sides
from dawnchorus.embedding.day import embed_day
from dawnchorus.errors import DawnChorusError
from dawnchorus.exports.raven import read_selections
from dawnchorus.learning.backbone import build, features
from dawnchorus.results import RecorderDay
from dawnchorus.spectrograms.store import SpectrogramStore
from embedding.season import EXPERIMENT, NATIVE_RATE, Season, files, random_codes

POSTER = {"source": "heads", "finer": 1, "join_seconds": 0.0}
"""The poster's protocol: the mean of the heads, on the network's own patches."""
DAYS = [RecorderDay("REC01", "2021-06-01"), RecorderDay("REC02", "2021-06-02")]


def explicit(module, x: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d)) over all tokens, with the network's parts called one by one."""
    tokens = module.patch_embed(x)
    tokens = module._pos_embed(tokens)
    tokens = module.norm_pre(tokens)
    for block in module.blocks[:-1]:
        tokens = block(tokens)
    block = module.blocks[-1]
    length, attention = tokens.shape[1], block.attn
    inner = block.norm1(tokens)
    weight, bias = attention.qkv.weight, attention.qkv.bias
    width = weight.shape[0] // 3
    if bias is None:
        bias = torch.zeros(3 * width, dtype=weight.dtype)
    query = inner @ weight[:width].T + bias[:width]
    key = inner @ weight[width : 2 * width].T + bias[width : 2 * width]
    size = width // attention.num_heads
    maps = []
    for head in range(attention.num_heads):
        part = slice(head * size, (head + 1) * size)
        own_query, own_key = attention.q_norm(query[..., part]), attention.k_norm(key[..., part])
        scores = own_query @ own_key.transpose(1, 2) / size**0.5
        maps.append(torch.softmax(scores, dim=-1))
    return torch.stack(maps, dim=1).reshape(len(x), attention.num_heads, length, length)


@pytest.mark.parametrize("fused", [True, False])
def test_equals_the_explicit_computation(fused: bool) -> None:
    torch.manual_seed(0)
    module = build("vit_nano", 16, 32, 64).eval().requires_grad_(False).double()
    for block in module.blocks:
        block.attn.fused_attn = fused
        block.attn.qkv.weight.mul_(8)  # sharper maps than random weights give
    x = torch.randn(3, 1, 32, 64, dtype=torch.float64)
    before = features(module, x)
    found = class_attention(module, x)
    wanted = explicit(module, x)
    assert found.shape == (3, 4, 2, 4)
    torch.testing.assert_close(found.double().flatten(2), wanted[:, :, 0, 1:], rtol=1e-4, atol=1e-6)
    assert wanted[:, :, 0, 1:].std() > 0.02
    # The class token's own share is what is missing to one.
    torch.testing.assert_close(
        found.double().sum((2, 3)), 1 - wanted[:, :, 0, 0], rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(features(module, x), before, rtol=0, atol=0)
    assert not module.blocks[-1].attn._forward_pre_hooks


def sharp(module: torch.nn.Module) -> VisionTransformer:
    """A small transformer in double precision whose maps are sharper than random weights give."""
    module = module.eval().requires_grad_(False).double()
    for block in module.blocks:
        block.attn.qkv.weight.mul_(8)
    return module


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(
    ("registers", "no_embed_class", "patch", "shape"),
    [(0, False, 16, (32, 64)), (3, False, (8, 16), (32, 64)), (2, True, 16, (48, 80))],
)
def test_registers_rectangles_and_interpolated_places(
    registers: int,
    no_embed_class: bool,
    patch: int | tuple[int, int],
    shape: tuple[int, int],
    fused: bool,
) -> None:
    """The explicit computation of the whole network to 1e-6, also of windows of another size."""
    torch.manual_seed(3)
    module = sharp(
        VisionTransformer(
            img_size=(32, 64), patch_size=patch, in_chans=2, num_classes=0, embed_dim=64, depth=3,
            num_heads=4, reg_tokens=registers, no_embed_class=no_embed_class, qk_norm=registers > 2,
            dynamic_img_size=True,
        )
    )  # fmt: skip
    for block in module.blocks:
        block.attn.fused_attn = fused
    x = torch.randn(2, 2, *shape, dtype=torch.float64)
    rows, columns = (size // side for size, side in zip(shape, sides(patch), strict=True))
    found = class_attention(module, x)
    assert found.shape == (2, 4, rows, columns)
    wanted = explicit(module, x)[:, :, 0, 1 + registers :].unflatten(-1, (rows, columns))
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)
    assert wanted.std() > 0.005
    seen = run(module, x, (0, -1))
    torch.testing.assert_close(seen.summary, module.forward_features(x)[:, 0], rtol=0, atol=1e-12)
    tokens = module.forward_features(x)[:, 1 + registers :]
    torch.testing.assert_close(seen.grid.flatten(1, 2), tokens, rtol=0, atol=1e-12)


@pytest.mark.parametrize("patch", [16, (8, 16)])
def test_a_finer_grid_by_hand(patch: int | tuple[int, int]) -> None:
    """Every second patch of the finer grid's input, cut out and embedded one by one."""
    torch.manual_seed(4)
    module = sharp(build("vit_nano", patch, 32, 64))
    x = torch.randn(2, 1, 32, 64, dtype=torch.float64)
    found = class_attention(module, x, finer=2)
    high, wide = sides(patch)
    rows, columns = 32 * 2 // high, 64 * 2 // wide
    assert found.shape == (2, 4, rows, columns)
    wider = np.pad(x.numpy(), ((0, 0), (0, 0), (high // 4,) * 2, (wide // 4,) * 2), mode="reflect")
    cells = np.stack(
        [
            wider[:, 0, r * high // 2 : r * high // 2 + high, c * wide // 2 : c * wide // 2 + wide]
            for r in range(rows)
            for c in range(columns)
        ],
        axis=1,
    )
    weight, bias = module.patch_embed.proj.weight[:, 0], module.patch_embed.proj.bias
    embedded = torch.einsum("npij,dij->npd", torch.from_numpy(cells), weight) + bias

    # The network's own way from here on, with these patches in place of its own.
    module.patch_embed.forward = lambda _: embedded.unflatten(1, (rows, columns))
    wanted = explicit(module, x)[:, :, 0, 1:].unflatten(-1, (rows, columns))
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)


def test_a_patch_that_cannot_be_divided() -> None:
    module = build("vit_nano", (32, 1), 32, 64).eval()
    assert class_attention(module, torch.zeros(1, 1, 32, 64), finer=2).shape == (1, 4, 2, 64)
    module = build("vit_nano", 8, 32, 64).eval()
    with pytest.raises(DawnChorusError, match=r"8 x 8 cannot be divided by 16"):
        class_attention(module, torch.zeros(1, 1, 32, 64), finer=16)


def test_rows_are_mel_and_columns_are_time() -> None:
    """A patch that alone differs is looked at in its own row and column."""
    torch.manual_seed(1)
    module = build("vit_nano", 16, 32, 64).eval().requires_grad_(False)
    base = torch.zeros(1, 1, 32, 64)
    changed = base.clone()
    changed[..., 16:32, 32:48] = torch.randn(16, 16) * 5
    difference = (class_attention(module, changed) - class_attention(module, base)).abs()
    loudest = difference[0].sum(0).flatten().argmax().item()
    assert divmod(loudest, 4) == (1, 2)


def test_no_class_token() -> None:
    module = VisionTransformer(
        img_size=32, patch_size=16, in_chans=1, num_classes=0, embed_dim=16, depth=1, num_heads=2,
        class_token=False, global_pool="avg",
    )  # fmt: skip
    with pytest.raises(DawnChorusError, match="no class token"):
        class_attention(module, torch.zeros(1, 1, 32, 32))


def test_central_windows() -> None:
    members = pl.DataFrame(
        {
            "recorder": ["R"] * 6,
            "date": ["d"] * 6,
            "recording": list("abcdef"),
            "offset": [0] * 6,
            "cluster": [1, 0, 0, 1, 0, 2],
            "distance": [0.3, 0.2, 0.1, 0.3, 0.4, 0.9],
        }
    )
    found = central_windows(members, 2)
    assert found["recording"].to_list() == ["c", "b", "a", "d", "f"]
    assert found["rank"].to_list() == [0, 1, 0, 1, 0]


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    season.changes["attention"] = {"windows_per_cluster": 5, **POSTER}
    for number, day in enumerate(DAYS):
        season.add_spectrograms(day, random_codes(60, seed=number))
    season.add_model()
    season.set_pool(DAYS)
    for day in DAYS:
        embed_day(season.settings, season.results, EXPERIMENT, day)
    fit(season.settings, season.results, EXPERIMENT)
    return season


def test_windows_heads_and_masks(season: Season) -> None:
    receipt = attend(season.settings, season.results, EXPERIMENT)
    windows = pl.read_parquet(season.paths.attention / "windows.parquet")
    members = pl.read_parquet(season.paths.members)
    for cluster in range(4):
        own = members.filter(pl.col("cluster") == cluster).sort("distance")
        found = windows.filter(pl.col("cluster") == cluster)
        assert found["rank"].to_list() == list(range(min(5, own.height)))
        assert found["distance"].to_list() == own["distance"].head(5).to_list()
    assert receipt["windows"] == windows.height
    assert receipt["heads"] == 4
    with xarray.open_zarr(season.paths.attention / "heads.zarr") as data:
        assert dict(data.sizes) == {"window": windows.height, "head": 4, "row": 2, "column": 4}
        attention = data["attention"].values
        np.testing.assert_array_equal(data["mask"].values, mass_mask(attention, 0.6))
        np.testing.assert_array_equal(
            data["merged_mask"].values,
            mass_mask(attention.mean(axis=1, dtype=np.float64).astype(np.float32), 0.6),
        )
        assert data["cluster"].values.tolist() == windows["cluster"].to_list()
        assert data["low_hz"].dims == ("row",)
        assert float(data["start_s"][1] - data["start_s"][0]) == pytest.approx(16 * 256 / 24_000)
    # The maps belong to their windows: computed here again, one by one.
    from dawnchorus.learning.backbone import load_model, model_input

    module, metadata = load_model(season.paths.model)
    for number, row in enumerate(windows.iter_rows(named=True)):
        store = SpectrogramStore.open(
            season.results.spectrograms(RecorderDay(row["recorder"], row["date"]))
        )
        codes = store.take(store.find([row["recording"]], [row["offset"]]))
        wanted = class_attention(module, model_input(torch.from_numpy(codes), metadata))[0]
        np.testing.assert_allclose(attention[number], wanted, rtol=1e-4, atol=1e-7)


def test_crafted_map_comes_back_in_hertz_and_seconds(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attention at one known patch per window; the box must say where in the recording that is."""
    crafted = torch.full((4, 2, 4), 1e-4)
    crafted[:3, 1, 2] = 1.0  # three heads look here
    crafted[3, 0, 0] = 1.0  # one elsewhere: the mean's mask of 60 % leaves it out
    monkeypatch.setattr(
        looking, "of_heads", lambda _, tokens: crafted.expand(len(tokens.grid), -1, -1, -1)
    )
    receipt = attend(season.settings, season.results, EXPERIMENT)
    boxes = pl.read_parquet(season.paths.attention / "boxes.parquet")
    windows = pl.read_parquet(season.paths.attention / "windows.parquet")
    assert receipt["boxes"] == boxes.height == windows.height * 5
    assert boxes["head"].to_list() == [-1, 0, 1, 2, 3] * windows.height
    store = SpectrogramStore.open(season.results.spectrograms(DAYS[0]))
    here = ("recorder", "date", "recording", "offset", "cluster")
    assert boxes.select(here).unique(maintain_order=True).equals(windows.select(here))
    for row in boxes.iter_rows(named=True):
        at = (1, 2) if row["head"] != 3 else (0, 0)
        assert row["low_hz"] == store.band_low[16 * at[0]]
        assert row["high_hz"] == store.band_high[16 * at[0] + 15]
        # Spectrogram frames run at 24 kHz, offsets at the recording's own 48 kHz.
        begin = row["offset"] / NATIVE_RATE + (at[1] * 16 * 256 + 128) / 24_000
        assert row["start_s"] == pytest.approx(begin, abs=1e-9)
        assert row["end_s"] - row["start_s"] == pytest.approx(16 * 256 / 24_000, abs=1e-9)
    merged = boxes.filter(pl.col("head") == -1)
    assert merged["mass"].to_list() == pytest.approx([3 / 4] * merged.height, abs=1e-3)
    joined = merged.join(windows, on=["recording", "offset"])
    within = (joined["time"] - joined["time_right"]).dt.total_microseconds() / 1e6
    np.testing.assert_allclose(within, (2 * 16 * 256 + 128) / 24_000, atol=1e-6)


def test_raven_tables_hold_the_merged_boxes(season: Season) -> None:
    attend(season.settings, season.results, EXPERIMENT)
    boxes = pl.read_parquet(season.paths.attention / "boxes.parquet").filter(pl.col("head") == -1)
    folder = season.paths.attention / "raven"
    tables = sorted(path for path in folder.rglob("*") if path.is_file())
    assert [str(path.relative_to(folder)) for path in tables] == [
        f"{recording}.selections.txt" for recording in sorted(boxes["recording"].unique())
    ]
    for path in tables:
        recording = str(path.relative_to(folder)).removesuffix(".selections.txt")
        wanted = boxes.filter(pl.col("recording") == recording).sort("start_s", "low_hz", "end_s")
        found = read_selections(path)
        for name in ("start_s", "end_s", "low_hz", "high_hz"):
            np.testing.assert_allclose(
                [getattr(box, name) for box in found], wanted[name].to_numpy(), atol=1e-3
            )
        assert [box.annotations["Cluster"] for box in found] == [
            str(cluster) for cluster in wanted["cluster"]
        ]


def test_same_bytes_again(season: Season) -> None:
    attend(season.settings, season.results, EXPERIMENT)
    first = files(season.paths.attention)
    attend(season.settings, season.results, EXPERIMENT)
    assert files(season.paths.attention) == first
    season.changes["attention"] = {"windows_per_cluster": 5, **POSTER, "mass": 0.5}
    receipt = attend(season.settings, season.results, EXPERIMENT)
    assert f'"{receipt["fingerprint"]}"'.encode() not in first["attention.json"]


def test_lost_recordings_are_left_out(season: Season, capsys: pytest.CaptureFixture[str]) -> None:
    whole = attend(season.settings, season.results, EXPERIMENT)
    season.add_spectrograms(DAYS[0], random_codes(60, seed=0)[:0])
    receipt = attend(season.settings, season.results, EXPERIMENT)
    windows = pl.read_parquet(season.paths.attention / "windows.parquet")
    assert set(windows["recorder"]) == {"REC02"}
    assert receipt["windows"] + receipt["lost"] == whole["windows"]
    assert "lost their recording" in capsys.readouterr().err


def test_clusters_of_another_model(season: Season) -> None:
    season.add_model(seed=9)
    with pytest.raises(DawnChorusError, match="another model"):
        attend(season.settings, season.results, EXPERIMENT)


def test_a_network_without_attention_is_no_failure(
    season: Season, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that follows says why in its place: evaluation, figure, export; and nothing is stale."""
    from dawnchorus.evaluation.attention import attention_figures
    from dawnchorus.report.attention import draw_attention
    from dawnchorus.sharing.tables import export_tables

    attend(season.settings, season.results, EXPERIMENT)
    season.add_model(backbone="resnet10t", pooling="mean")
    for day in DAYS:
        embed_day(season.settings, season.results, EXPERIMENT, day)
    fit(season.settings, season.results, EXPERIMENT)
    receipt = attend(season.settings, season.results, EXPERIMENT)
    reason = "resnet10t has no attention of a class token: nothing to show"
    assert (receipt["verdict"], receipt["reason"]) == ("set aside", reason)
    assert (receipt["windows"], receipt["heads"], receipt["boxes"]) == (0, 0, 0)
    assert reason in capsys.readouterr().err
    assert [path.name for path in season.paths.attention.iterdir()] == ["attention.json"]
    assert attend(season.settings, season.results, EXPERIMENT) == receipt
    annotated = pl.DataFrame({"song": [True], "low_hz": [1.0], "high_hz": [2.0]})
    notes = {
        one.note
        for one in attention_figures(season.settings, season.results, EXPERIMENT, annotated)
    }
    assert notes == {reason}
    draw_attention(season.results, EXPERIMENT, tmp_path / "attention.png")
    assert (tmp_path / "attention.png").stat().st_size > 1000
    with pytest.raises(DawnChorusError, match=reason):
        export_tables(season.settings, season.results, tmp_path / "out", "boxes", EXPERIMENT)
    season.add_model()  # and back again
    for day in DAYS:
        embed_day(season.settings, season.results, EXPERIMENT, day)
    fit(season.settings, season.results, EXPERIMENT)
    assert attend(season.settings, season.results, EXPERIMENT)["verdict"] == "ok"


def test_patches_that_are_no_squares(season: Season) -> None:
    season.add_model(patch=(8, 32))
    for day in DAYS:
        embed_day(season.settings, season.results, EXPERIMENT, day)
    fit(season.settings, season.results, EXPERIMENT)
    attend(season.settings, season.results, EXPERIMENT)
    store = SpectrogramStore.open(season.results.spectrograms(DAYS[0]))
    with xarray.open_zarr(season.paths.attention / "heads.zarr") as data:
        assert (data.sizes["row"], data.sizes["column"]) == (4, 2)
        assert data["low_hz"].values.tolist() == store.band_low[::8].tolist()
        assert float(data["start_s"][1] - data["start_s"][0]) == pytest.approx(32 * 256 / 24_000)


def test_one_window_from_the_command(season: Season, tmp_path: Path) -> None:
    """The same maps and boxes as in the season's step, for the window that a sample or a moment names."""
    from PIL import Image
    from typer.testing import CliRunner

    from dawnchorus.cli import app

    attend(season.settings, season.results, EXPERIMENT)
    whole = pl.read_parquet(season.paths.attention / "boxes.parquet")
    window = pl.read_parquet(season.paths.attention / "windows.parquet").row(3, named=True)
    handed = season.settings.model_dump_json()

    def run_with(*options: object) -> tuple[int, str]:
        words = ["attend", "-e", EXPERIMENT, "--settings", handed, *map(str, options)]
        found = CliRunner().invoke(app, words)
        return found.exit_code, str(found.exception or "")

    by_sample, by_moment = tmp_path / "sample", tmp_path / "moment"
    sample = window["offset"] + 100
    assert run_with("--recording", window["recording"], "--offset", sample, "--out", by_sample) == (
        0,
        "",
    )
    place = ("--recorder", window["recorder"], "--date", window["date"])
    moment = window["time"].replace(microsecond=0) + timedelta(seconds=1)
    inside = (moment - window["time"]).total_seconds() < 0.75
    if inside:
        assert run_with(*place, "--time", moment.isoformat(), "--out", by_moment)[0] == 0
        assert (by_moment / "boxes.parquet").read_bytes() == (
            by_sample / "boxes.parquet"
        ).read_bytes()
    own = pl.read_parquet(by_sample / "boxes.parquet")
    here = (pl.col("recording") == window["recording"]) & (pl.col("offset") == window["offset"])
    assert own.drop("cluster", "mass").equals(whole.filter(here).drop("cluster", "mass"))
    np.testing.assert_allclose(own["mass"], whole.filter(here)["mass"], rtol=1e-5)
    picture = np.asarray(Image.open(by_sample / "window-1.png").convert("RGB"))
    assert picture.shape[1] == 1100
    blue = np.abs(picture.astype(int) - (127, 224, 255)).max(axis=-1) < 60
    assert blue.sum() > 100  # boxes are drawn
    assert "one window needs a folder" in run_with("--recording", window["recording"])[1]
    assert "no window is named" in run_with("--out", tmp_path / "x", *place)[1]
