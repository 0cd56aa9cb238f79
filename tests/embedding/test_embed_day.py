"""Embedding a recorder-day: every window once, in order, alone or in company."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from dawnchorus.config import Settings
from dawnchorus.embedding.day import embed_day
from dawnchorus.embedding.encoder import Network, device_named, encoded
from dawnchorus.errors import DawnChorusError
from dawnchorus.learning.backbone import features, load_model, model_input
from dawnchorus.results import RecorderDay, read_receipt
from dawnchorus.vectors import VectorStore
from embedding.season import EXPERIMENT, Season, files, random_codes

DAY = RecorderDay("REC01", "2021-06-01")
WINDOWS = 151


@pytest.fixture
def season(tmp_path: Path) -> Season:
    season = Season(tmp_path / "results")
    season.add_spectrograms(DAY, random_codes(WINDOWS))
    season.add_model()
    return season


def embed(
    season: Season, batch_size: int = 8, settings: dict | None = None, **options: object
) -> VectorStore:
    season.changes["embedding"] = {"batch_size": batch_size, **(settings or {})}
    season.paths.embeddings_receipt(DAY).unlink(missing_ok=True)
    embed_day(season.settings, season.results, EXPERIMENT, DAY, **options)
    return VectorStore.open(season.paths.embeddings(DAY))


def reference(season: Season, pooling: str = "cls") -> np.ndarray:
    """One window at a time, in double precision, from the definition."""
    module, metadata = load_model(season.paths.model)
    module = module.double()
    decibels = torch.from_numpy(season.codes[DAY]).double() * 0.5 - 120.0
    x = ((decibels - metadata.mean) / metadata.std).unsqueeze(1)
    with torch.inference_mode():
        return np.concatenate([features(module, row[None], pooling).numpy() for row in x])


@pytest.mark.parametrize("pooling", ["cls", "mean", "cls+max"])
def test_every_window_once_and_in_order(season: Season, pooling: str) -> None:
    metadata = season.add_model(pooling=pooling)
    store = embed(season)
    wanted = reference(season, pooling)
    assert store.read().shape == (WINDOWS, metadata.dimension) == wanted.shape
    np.testing.assert_allclose(store.read(), wanted, rtol=1e-4, atol=1e-4)
    # No two windows are alike, so the order is proven by the values.
    assert len(np.unique(store.read(), axis=0)) == WINDOWS
    table = season.windows(DAY, WINDOWS)
    assert store.recordings == table.recordings
    np.testing.assert_array_equal(store.recording, table.recording)
    np.testing.assert_array_equal(store.offset, table.offset)
    np.testing.assert_array_equal(store.time, table.time)


def test_does_not_depend_on_the_batch(season: Season) -> None:
    vectors = {size: embed(season, size).read() for size in (1, 7, 64, 200)}
    scale = np.abs(vectors[1]).max()
    for size in (7, 64, 200):
        np.testing.assert_allclose(vectors[size], vectors[1], rtol=1e-5, atol=1e-5 * scale)


def test_does_not_depend_on_the_company(season: Season) -> None:
    """A window in another place of a batch, beside others, in a short batch: the same bytes."""
    network = Network.load(season.paths.model, batch_size=8, device="cpu")
    codes = season.codes[DAY]
    whole = network.encode(codes[:8])
    for windows in ([0], [0, 5], [0, 9, 10], [0, 20, 21, 22, 23, 24, 25, 26]):
        np.testing.assert_array_equal(network.encode(codes[windows])[0], whole[0])
    turned = network.encode(codes[[3, 4, 5, 6, 7, 0, 1, 2]])
    np.testing.assert_allclose(turned[5], whole[0], rtol=1e-5, atol=1e-6)


def test_same_bytes_again_and_with_more_workers(season: Season) -> None:
    embed(season)
    first = files(season.paths.root / "embeddings")
    for workers in (1, 2, 3):
        embed(season, workers=workers)
        assert files(season.paths.root / "embeddings") == first


def test_threads_are_given_back(season: Season) -> None:
    before = torch.get_num_threads()
    embed(season)
    assert torch.get_num_threads() == before


def test_receipt(season: Season) -> None:
    store = embed(season)
    receipt = read_receipt(season.paths.embeddings_receipt(DAY))
    spectrograms = read_receipt(season.results.spectrograms_receipt(DAY))
    assert receipt["verdict"] == "ok"
    assert receipt["windows"] == WINDOWS
    assert receipt["dimension"] == 64
    assert receipt["spectrograms"] == spectrograms["fingerprint"]
    assert receipt["model"] == store.attributes["model"]
    assert str(season.root) not in season.paths.embeddings_receipt(DAY).read_text()


def test_done_already(season: Season, monkeypatch: pytest.MonkeyPatch) -> None:
    embed(season)
    first = read_receipt(season.paths.embeddings_receipt(DAY))

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("dawnchorus.embedding.encoder.Network.encode", forbidden)
    assert embed_day(season.settings, season.results, EXPERIMENT, DAY) == first


def test_another_model_or_other_spectrograms_are_computed_again(season: Season) -> None:
    first = embed(season).read()
    season.add_model(seed=1)
    embed_day(season.settings, season.results, EXPERIMENT, DAY)
    second = VectorStore.open(season.paths.embeddings(DAY)).read()
    assert np.abs(second - first).max() > 0.1
    season.add_spectrograms(DAY, random_codes(40, seed=5))
    receipt = embed_day(season.settings, season.results, EXPERIMENT, DAY)
    assert receipt["windows"] == len(VectorStore.open(season.paths.embeddings(DAY))) == 40


def test_lost_store_is_made_again(season: Season) -> None:
    first = embed(season).read()
    for path in sorted(season.paths.embeddings(DAY).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    season.paths.embeddings(DAY).rmdir()
    embed_day(season.settings, season.results, EXPERIMENT, DAY)
    np.testing.assert_array_equal(VectorStore.open(season.paths.embeddings(DAY)).read(), first)


def test_set_aside(season: Season) -> None:
    embed(season)
    season.set_aside(DAY)
    receipt = embed_day(season.settings, season.results, EXPERIMENT, DAY)
    assert (receipt["verdict"], receipt["windows"]) == ("set aside", 0)
    assert receipt["reason"] == "no recording could be read"
    assert not season.paths.embeddings(DAY).exists()
    assert read_receipt(season.paths.embeddings_receipt(DAY)) == receipt


def test_model_of_other_spectrograms(season: Season) -> None:
    season.add_model(spectrograms="others")
    with pytest.raises(DawnChorusError, match="spectrograms of other parameters"):
        embed_day(season.settings, season.results, EXPERIMENT, DAY)
    assert not season.paths.embeddings(DAY).exists()


def test_missing_inputs_are_named(season: Season) -> None:
    with pytest.raises(DawnChorusError, match="no experiment 'other'"):
        embed_day(season.settings, season.results, "other", DAY)
    with pytest.raises(DawnChorusError, match=r"2021-06-02\.json: is not there"):
        embed_day(season.settings, season.results, EXPERIMENT, RecorderDay("REC01", "2021-06-02"))
    season.paths.model.unlink()
    with pytest.raises(DawnChorusError, match="dawnchorus train"):
        embed_day(season.settings, season.results, EXPERIMENT, DAY)


def test_failure_midway_leaves_no_store_and_the_next_run_is_whole(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = Network.encode
    calls: list[int] = []

    def failing(self: Network, codes: np.ndarray) -> np.ndarray:
        calls.append(len(codes))
        if len(calls) == 4:
            raise RuntimeError("the GPU fell off")
        return encode(self, codes)

    with monkeypatch.context() as broken:
        broken.setattr(Network, "encode", failing)
        with pytest.raises(RuntimeError, match="fell off"):
            embed(season)
    folder = season.paths.embeddings(DAY).parent
    assert not season.paths.embeddings_receipt(DAY).exists()
    assert [path.suffix for path in folder.iterdir()] == [".parts"]
    again = embed(season).read()
    assert {path.name for path in folder.iterdir()} == {f"{DAY.date}.zarr", f"{DAY.date}.json"}
    np.testing.assert_allclose(again, reference(season), rtol=1e-4, atol=1e-4)


def test_half_precision_is_the_default_and_said(season: Season) -> None:
    exact = embed(season).read()
    del season.changes["embedding"]
    assert Settings().embedding.store == "float16"
    store = embed(season, settings={"store": "float16"})
    assert store.kept == "float16" and store.read().dtype == np.float32
    np.testing.assert_array_equal(store.read(), exact.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(store.take([5, 3]), store.read()[[5, 3]])
    receipt = read_receipt(season.paths.embeddings_receipt(DAY))
    assert receipt["store"] == "float16"
    # A changed wish is done, though model and spectrograms are the same.
    season.changes["embedding"] = {"batch_size": 8}
    wider = embed_day(season.settings, season.results, EXPERIMENT, DAY)
    assert wider["store"] == "float32" and wider["fingerprint"] != receipt["fingerprint"]
    np.testing.assert_array_equal(VectorStore.open(season.paths.embeddings(DAY)).read(), exact)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_tokens_of_another_layer(season: Season, pooling: str) -> None:
    """Beside timm's own get_intermediate_layers; the model is the same."""
    last = embed(season)
    model = season.paths.model.read_bytes()
    chosen = {"layer": 2, "pooling": pooling}
    season.changes["experiments"] = {
        EXPERIMENT: {"backbone": "vit_nano", "patch": 16, "embedding": chosen}
    }
    embed_day(season.settings, season.results, EXPERIMENT, DAY)
    store = VectorStore.open(season.paths.embeddings(DAY))
    module, metadata = load_model(season.paths.model)
    x = model_input(torch.from_numpy(season.codes[DAY]), metadata)
    with torch.inference_mode():
        ((patches, prefix),) = module.get_intermediate_layers(
            x, n=[1], return_prefix_tokens=True, norm=True
        )
    wanted = {"cls": prefix[:, 0], "mean": patches.mean(1), "max": patches.amax(1)}[pooling]
    np.testing.assert_allclose(store.read(), wanted.numpy(), rtol=1e-4, atol=1e-5)
    assert (store.attributes["layer"], store.attributes["pooling"]) == (2, pooling)
    receipt = read_receipt(season.paths.embeddings_receipt(DAY))
    # Whoever clusters sees that it is another space, of the same model.
    assert receipt["model"] == f"{last.attributes['model']} layer 2 {pooling}"
    assert season.paths.model.read_bytes() == model


def test_layers_that_are_not_there(season: Season) -> None:
    def ask(**chosen: object) -> None:
        season.changes["experiments"] = {
            EXPERIMENT: {"backbone": "vit_nano", "patch": 16, "embedding": chosen}
        }
        embed_day(season.settings, season.results, EXPERIMENT, DAY)

    with pytest.raises(DawnChorusError, match=r"embedding\.layer: vit_nano has 4 layers .* 5"):
        ask(layer=5)
    season.add_model(backbone="resnet10t", pooling="mean")
    with pytest.raises(DawnChorusError, match="needs a class token"):
        ask(pooling="cls")
    ask(layer=2)
    store = VectorStore.open(season.paths.embeddings(DAY))
    module, metadata = load_model(season.paths.model)
    x = model_input(torch.from_numpy(season.codes[DAY]), metadata)
    with torch.inference_mode():
        x = module.layer2(module.layer1(module.maxpool(module.act1(module.bn1(module.conv1(x))))))
    np.testing.assert_allclose(store.read(), x.mean((2, 3)).numpy(), rtol=1e-4, atol=1e-5)


def test_devices() -> None:
    assert device_named("cpu").type == "cpu"
    with pytest.raises(DawnChorusError, match="is no device"):
        device_named("abacus")
    if not torch.cuda.is_available():
        assert device_named("auto").type == "cpu"
        with pytest.raises(DawnChorusError, match="no usable GPU"):
            device_named("cuda")


class Recorder:
    """An encoder that is no network: it says which windows it was shown."""

    dimension = 1

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.together = self.most = 0
        self.lock = threading.Lock()

    def encode(self, codes: np.ndarray) -> np.ndarray:
        assert 0 < len(codes) <= self.batch_size
        with self.lock:
            self.together += 1
            self.most = max(self.most, self.together)
        threading.Event().wait(0.001 * (codes[0, 0, 0] % 3))
        with self.lock:
            self.together -= 1
        return codes[:, :, 0].astype(np.float32)


@pytest.mark.parametrize("windows", [0, 1, 5, 6, 1023, 1024, 1025, 3000])
@pytest.mark.parametrize("workers", [1, 4])
def test_other_encoders_and_all_counts(windows: int, workers: int) -> None:
    encoder = Recorder(6)
    asked: list[tuple[int, int]] = []

    def codes(start: int, stop: int) -> np.ndarray:
        asked.append((start, stop))
        return np.arange(start, stop).reshape(-1, 1, 1)

    found = [*encoded(encoder, codes, windows, workers)]
    together = np.concatenate(found) if found else np.empty((0, 1))
    np.testing.assert_array_equal(together[:, 0], np.arange(windows))
    assert encoder.most <= workers
    assert sum(stop - start for start, stop in asked) == windows
