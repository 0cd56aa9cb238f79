"""Encoders that are not trained here, each beside a computation of its own kind by other means."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import timm
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from safetensors.numpy import load_file
from safetensors.torch import save_file
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from dawnchorus.attention.attend import attend
from dawnchorus.clustering.fit import fit
from dawnchorus.config import Experiment, validate
from dawnchorus.embedding.day import embed_day
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import read_metadata
from dawnchorus.learning.prepare import prepare
from dawnchorus.learning.training_set import sample
from dawnchorus.results import RecorderDay, read_receipt, write_receipt
from dawnchorus.vectors import VectorStore, WindowTable, write_vectors
from embedding.season import EXPERIMENT, NATIVE_RATE, WINDOW_SECONDS, Season, random_codes

DAY = RecorderDay("REC01", "2021-06-01")
WINDOWS = 90


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    season.add_spectrograms(DAY, random_codes(WINDOWS))
    season.changes["training_set"] = {"windows": 60}
    sample(season.settings, season.results)
    return season


def made(season: Season, **experiment: object) -> np.ndarray:
    season.changes["experiments"] = {EXPERIMENT: experiment}
    prepare(season.settings, season.results, EXPERIMENT)
    receipt = embed_day(season.settings, season.results, EXPERIMENT, DAY, device="cpu", workers=2)
    vectors = VectorStore.open(season.paths.embeddings(DAY)).read()
    assert (receipt["windows"], receipt["dimension"]) == vectors.shape
    assert vectors.shape[0] == WINDOWS
    return vectors


def decibels(season: Season) -> np.ndarray:
    return season.codes[DAY].astype(np.float64) * 0.5 - 120.0


def drawn(season: Season) -> np.ndarray:
    """Rows of the training set in the day's store."""
    table = pl.read_parquet(season.results.training_windows)
    names = list(season.windows(DAY, WINDOWS).names())
    keys = list(zip(names, season.windows(DAY, WINDOWS).offset.tolist(), strict=True))
    return np.array([keys.index(key) for key in table.select("recording", "offset").rows()])


@pytest.mark.parametrize("seen", ["level", "contrast"])
def test_statistics(season: Season, seen: str) -> None:
    found = made(season, method="statistics", input=seen)
    image = decibels(season)
    if seen == "contrast":
        image = image - np.median(image, axis=2, keepdims=True)
    raw = np.concatenate([image.mean(axis=2), image.std(axis=2)], axis=1)
    wanted = StandardScaler().fit(raw[drawn(season)]).transform(raw)
    np.testing.assert_allclose(found, wanted, atol=2e-4)


def test_pca(season: Season) -> None:
    """Scikit-learn's exact decomposition; signs are anybody's."""
    found = made(season, method="pca", pca={"components": 5})
    flat = decibels(season).reshape(WINDOWS, -1)
    exact = PCA(5, svd_solver="full").fit(flat[drawn(season)])
    wanted = exact.transform(flat) / np.sqrt(exact.explained_variance_.mean())
    # Noise has no axes of its own: beyond the first, only what is computed of them is held to account.
    kept = load_file(season.paths.model)
    np.testing.assert_allclose(found, (flat - kept["mean"]) @ kept["components"].T, atol=1e-3)
    np.testing.assert_allclose(kept["mean"], exact.mean_, rtol=1e-5)
    axes = kept["components"] / np.linalg.norm(kept["components"][0])
    np.testing.assert_allclose(axes @ axes.T, np.eye(5), atol=1e-4)
    assert np.abs(found[:, 0]) == pytest.approx(np.abs(wanted[:, 0]), abs=0.01)
    assert np.square(found[drawn(season)]).mean() == pytest.approx(59 / 60, abs=0.02)
    said = read_metadata(season.paths.model)
    assert said.parameters["windows"] == 60
    assert said.parameters["explained"][0] == pytest.approx(
        exact.explained_variance_ratio_[0], abs=1e-4
    )
    # Fewer windows, another seed: another fit.
    other = made(season, method="pca", seed=1, pca={"components": 5, "windows": 20})
    assert np.abs(other - found).max() > 0.01


def test_untrained(season: Season) -> None:
    """The seed's random network; normalised as a trained one is."""
    found = made(season, method="untrained", backbone="vit_nano", seed=3, pooling="mean")
    said = read_metadata(season.paths.model)
    training = decibels(season)[drawn(season)]
    assert said.mean == pytest.approx(training.mean(), abs=1e-6)
    assert said.std == pytest.approx(training.std(), abs=1e-6)
    torch.manual_seed(3)
    module = said.build().eval().double()
    x = torch.from_numpy((decibels(season) - training.mean()) / training.std())[:, None]
    with torch.inference_mode():
        wanted = module.forward_features(x)[:, 1:].mean(dim=1).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    same = made(season, method="untrained", backbone="vit_nano", seed=3, pooling="mean")
    np.testing.assert_array_equal(same, found)
    other = made(season, method="untrained", backbone="vit_nano", seed=4, pooling="mean")
    assert np.abs(other - found).max() > 0.1


@pytest.mark.parametrize(
    ("network", "channels", "size", "pooling"),
    [
        ("test_vit", 3, [48, 64], "cls"),
        ("test_vit", 1, None, "mean"),
        ("test_efficientnet", 3, None, "mean"),
    ],
)
def test_own_weights(
    season: Season, tmp_path: Path, network: str, channels: int, size: list | None, pooling: str
) -> None:
    """timm's own model, called directly; the file has a classifier, as such files do."""
    high, wide = size or (32, 64)
    options = {"img_size": (high, wide)} if network == "test_vit" else {}
    torch.manual_seed(1)
    module = timm.create_model(network, in_chans=channels, num_classes=7, **options).eval()
    save_file(module.state_dict(), tmp_path / "own.safetensors")
    mean, std = [0.485, 0.456, 0.406][:channels], [0.229, 0.224, 0.225][:channels]
    weights = {"network": network, "file": str(tmp_path / "own.safetensors"), "size": size}
    weights |= {"channels": channels, "decibels": [-110, -30], "mean": mean, "std": std}
    found = made(season, method="weights", pooling=pooling, weights=weights)

    x = torch.from_numpy((decibels(season) + 110) / 80).float()[:, None]
    if size:
        x = F.interpolate(x, size, mode="bilinear", antialias=True)
    x = (x.repeat(1, channels, 1, 1) - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]
    with torch.inference_mode():
        told = module.forward_features(x)
    if pooling == "cls":
        wanted = told[:, 0]
    else:
        wanted = told.mean((2, 3)) if told.ndim == 4 else told[:, 1:].mean(1)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-3, atol=1e-4)
    assert str(tmp_path) not in season.paths.embeddings_receipt(DAY).read_text()
    # The model file is whole in itself.
    (tmp_path / "own.safetensors").unlink()
    season.paths.embeddings_receipt(DAY).unlink()
    embed_day(season.settings, season.results, EXPERIMENT, DAY, device="cpu")
    np.testing.assert_array_equal(VectorStore.open(season.paths.embeddings(DAY)).read(), found)


def test_weights_that_do_not_fit_are_named(season: Season, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    module = timm.create_model("test_vit", num_classes=0, img_size=(48, 48))

    def ask(**weights: object) -> None:
        made(season, method="weights", weights={"file": str(path), "channels": 3, **weights})

    with pytest.raises(DawnChorusError, match=r"own\.safetensors: is not there"):
        ask(network="test_vit")
    path.write_bytes(b"\x80\x04pickled")
    with pytest.raises(DawnChorusError, match="is no safetensors file"):
        ask(network="test_vit")
    save_file(module.state_dict(), path)
    with pytest.raises(DawnChorusError, match=r"pos_embed is .*set weights\.size"):
        ask(network="test_vit")
    with pytest.raises(DawnChorusError, match="another network's"):
        ask(network="test_resnet")
    with pytest.raises(DawnChorusError, match="knows no network 'test_vitt'"):
        ask(network="test_vitt")
    save_file({**module.state_dict(), "decoder.weight": torch.zeros(2)}, path)
    with pytest.raises(DawnChorusError, match=r"holds 'decoder\.weight'"):
        ask(network="test_vit", size=[48, 48])


def heard(season: Season, shift: float = 0.0, recordings: int = 2) -> np.ndarray:
    """BirdNET's windows of 3 s; four of ours (0.75 s) lie in each. The last recordings are lost."""
    ours = season.windows(DAY, WINDOWS)
    count = int(WINDOWS / 2 * WINDOW_SECONDS // 3)
    index = np.repeat(np.arange(recordings, dtype=np.int32), count)
    offset = np.tile(np.arange(count, dtype=np.int64) * 3 * NATIVE_RATE, recordings)
    time = np.datetime64("2021-06-01T04:00:00", "us") + np.zeros(len(index), "timedelta64[us]")
    vectors = np.random.default_rng(5).random((len(index), 1024)).astype(np.float32)
    content = write_vectors(
        season.results.birdnet_embeddings(DAY),
        [vectors],
        dimension=1024,
        windows=WindowTable(ours.recordings, index, offset, time),
        attributes={},
    )
    write_receipt(
        season.results.detections_receipt(DAY),
        {
            "verdict": "ok",
            "recordings": [
                {"recording": name, "sample_rate": NATIVE_RATE, "windows": count}
                for name in ours.recordings[:recordings]
            ],
            "embeddings": content,
            "fingerprint": content,
        },
    )
    return vectors.reshape(recordings, count, 1024)


def test_birdnet(season: Season) -> None:
    vectors = heard(season)
    found = made(season, method="birdnet")
    ours = season.windows(DAY, WINDOWS)
    number = (ours.offset / NATIVE_RATE / 3.0).astype(int)  # the window of 3 s that it lies in
    inside = number < vectors.shape[1]
    assert inside.sum() == 88
    np.testing.assert_array_equal(found[inside], vectors[ours.recording[inside], number[inside]])
    assert not found[~inside].any()
    receipt = read_receipt(season.paths.embeddings_receipt(DAY))
    assert (receipt["verdict"], receipt["without"]) == ("partial", 2)
    assert receipt["reason"] == "2 windows have no BirdNET embedding, theirs is zeros"
    # BirdNET run anew is embedded anew; a recording that it could not read has no vectors.
    heard(season, recordings=1)
    embed_day(season.settings, season.results, EXPERIMENT, DAY)
    again = VectorStore.open(season.paths.embeddings(DAY)).read()
    assert not again[ours.recording == 1].any() and again[ours.recording == 0][:40].any()


def test_birdnet_that_heard_nothing_or_kept_nothing(season: Season) -> None:
    heard(season)
    made(season, method="birdnet")
    aside = {"verdict": "set aside", "reason": "no sound", "fingerprint": "x", "embeddings": None}
    write_receipt(season.results.detections_receipt(DAY), aside)
    receipt = embed_day(season.settings, season.results, EXPERIMENT, DAY)
    assert receipt["verdict"] == "set aside" and "no sound" in receipt["reason"]
    assert not season.paths.embeddings(DAY).exists()
    write_receipt(season.results.detections_receipt(DAY), {**aside, "verdict": "ok"})
    for path in sorted(season.results.birdnet_embeddings(DAY).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    season.results.birdnet_embeddings(DAY).rmdir()
    with pytest.raises(DawnChorusError, match=r"birdnet\.embeddings: true"):
        embed_day(season.settings, season.results, EXPERIMENT, DAY)
    with pytest.raises(DawnChorusError, match=r"birdnet\.embeddings: experiment x is made of them"):
        validate({"experiments": {"x": {"method": "birdnet"}}, "birdnet": {"embeddings": False}})


def test_such_a_space_is_clustered_and_has_no_attention(season: Season) -> None:
    made(season, method="statistics", input="contrast")
    fit(season.settings, season.results, EXPERIMENT)
    receipt = attend(season.settings, season.results, EXPERIMENT)
    assert receipt["verdict"] == "set aside"
    assert receipt["reason"].startswith("mean and deviation of the log-mel bands has no attention")


@pytest.mark.parametrize(
    ("experiment", "told"),
    [
        ({"method": "pca", "epochs": 7}, "epochs: the method is pca, this would not be used"),
        ({"method": "statistics", "seed": 1}, "seed: the method is statistics"),
        ({"method": "birdnet", "pooling": "mean"}, "pooling: the method is birdnet"),
        ({"method": "pca", "embedding": {"layer": 1}}, "embedding: the method is pca"),
        ({"method": "dino", "pca": {"components": 3}}, "pca: the method is dino"),
        ({"method": "pca", "input": "level+contrast"}, "takes level or contrast"),
        ({"method": "weights"}, "weights: needs network"),
        ({"whitening": 1, "embedding": {"pooling": "mean"}}, "learned for the training's own"),
        ({"method": "weights", "weights": {"mean": [1.0]}}, "give both, or neither"),
        ({"method": "weights", "weights": {"mean": [1, 2], "std": [1]}}, "take 1 number, or 3"),
        ({"backbone": "resnet50", "pooling": "mean", "embedding": {"pooling": "cls"}}, "class token"),
    ],
)  # fmt: skip
def test_what_would_not_be_used_is_an_error(experiment: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Experiment.model_validate(experiment)
