"""What may stand in the configuration: one frozen class per section.

Every key has its default, its unit and its bounds here and nowhere else; the schema, the reference
page and the messages about wrong keys are made from these classes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from dawnchorus.config.evaluation import Evaluation
from dawnchorus.config.experiments import Experiment
from dawnchorus.config.labelled import LabelledSet
from dawnchorus.config.publication import Publication
from dawnchorus.config.section import Hertz, Positive, Section
from dawnchorus.config.space import Clustering, Dask, Drift, Pass, Projection, Sweep
from dawnchorus.errors import DawnChorusError

RESERVED_NAMES = frozenset(
    {
        "inventory",
        "spectrograms",
        "indices",
        "birdnet",
        "training",
        "evaluation",
        "labels",
        "logs",
        "benchmarks",
    }
)
"""Folders of ``results`` that an experiment must not be called."""

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
Named = TypeVar("Named")


class Audio(Section):
    """Where the recorder cards lie and how their names and clocks are read."""

    root: Path = Path("cards")
    """Folder of the cards; the first folder below it is the recorder."""
    deployments: Path | None = None
    """Camtrap DP ``deployments.csv``: where each recorder stood, and when."""
    timezone: str = "UTC"
    """IANA name of the season's zone, where nothing nearer says otherwise."""
    pattern: str | None = None
    """Regular expression for other file names, with groups ``year month day hour minute second`` and,
    if the name carries it, ``offset`` (``+0200``)."""
    channel: Annotated[int, Field(ge=0, le=63)] | Literal["mix"] = 0
    """Which channel of a recording is heard, from 0, or the mean of all (``mix``); a mono recording
    has only the one."""
    fingerprint: Literal["size+mtime", "size"] = "size+mtime"
    """What makes a known recording count as changed. ``size`` survives copies that lose the time."""
    min_age_hours: Annotated[float, Field(ge=0)] = 0.0
    """Recordings written less than so many hours ago are still being copied and wait."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"{name!r} is no IANA time zone (for example America/Chicago)"
            ) from error
        return name

    @field_validator("pattern")
    @classmethod
    def _usable_pattern(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            groups = set(re.compile(pattern).groupindex)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        missing = {"year", "month", "day", "hour", "minute"} - groups
        if missing:
            raise ValueError(f"lacks the groups {', '.join(sorted(missing))}")
        return pattern


class Spectrogram(Section):
    """How a recording becomes windows of decibels."""

    sample_rate: Annotated[int, Field(ge=4000, le=384_000)] = 44_100
    """Hertz at which spectrograms are computed."""
    other_rates: Literal["resample", "keep"] = "resample"
    """Recordings of another rate are resampled (soxr HQ, linear phase), or kept as they are: then frame
    and hop last as long as at ``sample_rate``, to the nearest sample, and bands above half of their own
    rate are empty."""
    window_seconds: Annotated[float, Field(gt=0, le=60)] = 3.0
    """Length of a window in seconds."""
    overlap_seconds: Annotated[float, Field(ge=0, lt=60)] = 0.0
    """What a window has in common with the next one, in seconds."""
    scale: Literal["mel", "linear"] = "mel"
    """Bands are equally spaced and wide in mel (HTK) or in hertz."""
    n_fft: Annotated[int, Field(ge=64, le=16_384)] = 1024
    """Samples per Hann frame."""
    hop_length: Positive = 512
    """Samples between frames."""
    mels: Positive = 128
    """Bands, of either scale."""
    f_min: Annotated[float, Field(ge=0)] = 150.0
    """Lower edge of the lowest band in hertz."""
    f_max: Annotated[float, Field(gt=0)] = 15_000.0
    """Upper edge of the highest band in hertz."""
    frames: Positive = 256
    """Frames per window."""
    db_min: Annotated[float, Field(ge=-300, le=0)] = -120.0
    """Decibels (re a full-scale sine) that code 0 stands for; what is quieter is clipped to it."""
    db_step: Annotated[float, Field(gt=0, le=2)] = 0.5
    """Decibels per code: 256 codes span -120 to +7.5 dB."""
    chunk_windows: Positive = 4
    """Windows per chunk, the unit of reading."""
    shard_windows: Positive = 1024
    """Most windows per shard file, the unit of writing; a day is cut into equal shards."""

    @model_validator(mode="after")
    def _consistent(self) -> Spectrogram:
        samples = self.window_samples
        span = (self.frames - 1) * self.hop_length + self.n_fft
        if span > samples:
            raise ValueError(
                f"frames: {self.frames} frames span {span} samples, but a window of "
                f"{self.window_seconds} s has {samples}; take fewer frames or a longer window"
            )
        if self.overlap_seconds >= self.window_seconds:
            raise ValueError(
                f"overlap_seconds: must be less than window_seconds ({self.window_seconds}), "
                f"got {self.overlap_seconds}"
            )
        if self.n_fft % 2:
            raise ValueError(f"n_fft: must be even, got {self.n_fft}")
        if not self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_max: needs f_min < f_max <= sample_rate / 2, got {self.f_min}, {self.f_max} "
                f"and {self.sample_rate}"
            )
        if self.shard_windows % self.chunk_windows:
            raise ValueError("shard_windows: must be a multiple of chunk_windows")
        return self

    @property
    def window_samples(self) -> int:
        """Samples per window at :attr:`sample_rate`."""
        return round(self.window_seconds * self.sample_rate)


class Indices(Section):
    """Acoustic indices per minute, and the false-colour picture of a day."""

    enabled: bool = False
    """Compute them beside the spectrograms, from the same transforms."""
    anthropophony: tuple[Hertz, Hertz] = (0.0, 1000.0)
    """NDSI: from and below which frequency in hertz sound counts as made by people and engines."""
    biophony: tuple[Hertz, Hertz] = (1000.0, 10_000.0)
    """NDSI: from and below which frequency in hertz sound counts as made by animals."""
    bioacoustic: tuple[Hertz, Hertz] = (2000.0, 15_000.0)
    """BI: lowest and highest frequency in hertz."""
    diversity_top: Annotated[float, Field(gt=0)] = 10_000.0
    """ADI and AEI: upper end of the highest band in hertz. 10000 is soundecology's default and the
    literature's; scikit-maad's is 20000."""
    diversity_step: Annotated[float, Field(gt=0)] = 1000.0
    """ADI and AEI: width of a band in hertz."""
    diversity_threshold: Annotated[float, Field(ge=-160, lt=0)] = -50.0
    """ADI and AEI: decibels, relative to the loudest cell of the minute, that a cell must reach."""

    @field_validator("anthropophony", "biophony", "bioacoustic")
    @classmethod
    def _ordered(cls, limits: tuple[float, float]) -> tuple[float, float]:
        if not limits[0] < limits[1]:
            raise ValueError(f"needs lower < upper limit, got {limits[0]:g} and {limits[1]:g}")
        return limits

    @model_validator(mode="after")
    def _two_bands(self) -> Indices:
        if self.diversity_top < 2 * self.diversity_step:
            raise ValueError(
                f"diversity_top: {self.diversity_top:g} Hz holds fewer than two bands of "
                f"{self.diversity_step:g} Hz (diversity_step), and one band has no diversity"
            )
        return self


class TrainingSet(Section):
    """Which windows the networks learn from; drawn once, then frozen."""

    windows: Positive = 230_000
    """How many windows to draw (all, if the season has fewer)."""
    seed: Annotated[int, Field(ge=0)] = 2021
    """Seed of the draw."""
    activity_weight: Annotated[float, Field(ge=0, le=10)] = 0.0
    """0 draws evenly; w draws a window with weight (its activity's rank in the season) ** w."""
    edition: Positive = 1
    """Raise it to draw again, on purpose, from all recorder-days there are by then."""


class Embedding(Section):
    """How windows are embedded."""

    batch_size: Positive = 256
    """Windows per forward pass; the result does not depend on it."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the forward pass on a GPU (bf16 is faster and coarser); a CPU computes in fp32 always."""
    store: Literal["float16", "float32"] = "float16"
    """What the vectors are kept as. Half precision takes half the room and is off by 0.05 % at most, far
    less than windows differ by; whoever reads computes in float32."""


class Outliers(Section):
    """Windows and recorder-days that lie far from everything else in the output space."""

    reference_windows: Annotated[int, Field(ge=2)] = 20_000
    """Windows drawn from the training set's recorder-days, to which every window is compared."""
    neighbours: Positive = 20
    """Nearest windows of the reference that a window is compared with, all of other recorder-days than its
    own."""
    per_day: Positive = 10
    """Most windows of one recorder-day in the lists: a recorder with a fault would fill them."""
    listed: Positive = 1000
    """Length of the season's list, and of each recorder's at most."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the draw of the reference."""


MapSource = Literal["heads", "departure", "pooled", "similarity", "norm"]
Merge = Literal["mean", "max", "agreement"]


class Attention(Section):
    """Maps of where the song is, masks and boxes (docs/attention.md)."""

    windows_per_cluster: Positive = 3
    """The most central windows of each cluster are looked at."""
    source: MapSource = "departure"
    """What the merged map is made of; the heads and all other sources stand beside it."""
    merge: Merge = "mean"
    """How `heads` become one map: their mean, their maximum, or weighted by their agreement with the energy
    above the noise floor, a head that looks away from it with a negative weight."""
    finer: Literal[1, 2, 4, 8] = 2
    """Cells of a map along each side of a patch."""
    mass: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Share of a map's mass that a mask keeps."""
    join_seconds: Annotated[float, Field(ge=0)] = 0.2
    """Boxes of the same band with no longer gap than this become one: the syllables of a song."""
    min_seconds: Annotated[float, Field(ge=0)] = 0.03
    """Boxes shorter than this are dropped."""
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Boxes longer than this are dropped."""
    min_hertz: Annotated[float, Field(ge=0)] = 0.0
    """Boxes lower than this (high edge minus low edge) are dropped."""
    max_hertz: Annotated[float, Field(gt=0)] | None = None
    """Boxes higher than this are dropped."""


class BirdNet(Section):
    """BirdNET pseudo-labels. The model's licence is CC BY-NC-SA 4.0."""

    min_confidence: Annotated[float, Field(ge=0.01, le=0.99)] = 0.1
    sensitivity: Annotated[float, Field(ge=0.5, le=1.5)] = 1.0
    """As in BirdNET: 1.0 is neutral, more finds more."""
    overlap: Annotated[float, Field(ge=0, le=2.9)] = 0.0
    """What a window of 3 s has in common with the next one, in seconds, as in BirdNET."""
    least_seconds: Annotated[float, Field(ge=0.5, le=3)] = 3.0
    """Seconds of sound that a recording's last window must hold; the rest of it is silence. 3: whole windows
    only; BirdNET takes 1.5."""
    top: Positive = 5
    """Most detections kept per window."""
    use_place: bool = False
    """Keep only species that BirdNET expects at the deployment's place and week."""
    latitude: Annotated[float, Field(ge=-90, le=90)] | None = None
    """Degrees north: with ``longitude``, the place of recordings whose deployment has none."""
    longitude: Annotated[float, Field(ge=-180, le=180)] | None = None
    """Degrees east."""
    week: Annotated[int, Field(ge=-1, le=48)] | None = None
    """BirdNET's week of the year (four to a month), for every recording; -1: the whole year; null: that of
    the recording's date."""
    batch_size: Positive = 4
    """Windows per run of the model; the result does not depend on it, the speed hardly does."""
    embeddings: bool = True
    """Keep BirdNET's own embeddings: a baseline of the evaluation."""

    @model_validator(mode="after")
    def _placed(self) -> BirdNet:
        if (self.latitude is None) != (self.longitude is None):
            missing = "latitude" if self.latitude is None else "longitude"
            raise ValueError(f"{missing}: is needed beside the other")
        if self.week == 0:
            raise ValueError("week: must be 1 to 48, or -1 for the whole year")
        for key in ("latitude", "week"):
            if getattr(self, key) is not None and not self.use_place:
                raise ValueError(f"{key}: is heeded only with use_place: true")
        return self


class Settings(Section):
    """The whole configuration; ``config/config.yaml`` shows it with comments."""

    results: Path = Path("results")
    """Folder of everything that is made."""
    container: Path | None = None
    """Apptainer image that all jobs run in when Snakemake is called with `--sdm apptainer`
    (``docs/environments.md``)."""
    audio: Audio = Audio()
    spectrogram: Spectrogram = Spectrogram()
    indices: Indices = Indices()
    training_set: TrainingSet = TrainingSet()
    experiments: dict[str, Experiment] = Field(
        default_factory=lambda: {"dino_vits16": Experiment()}
    )
    """Output spaces by name."""
    embedding: Embedding = Embedding()
    clustering: Clustering = Clustering()
    passes: dict[str, Pass] = Field(default_factory=dict)
    """Further clusterings by name, each without some clusters of the first."""
    sweep: Sweep = Sweep()
    drift: Drift = Drift()
    dask: Dask = Dask()
    map: Projection = Projection()
    outliers: Outliers = Outliers()
    attention: Attention = Attention()
    birdnet: BirdNet = BirdNet()
    evaluation: Evaluation = Evaluation()
    labelled_sets: dict[str, LabelledSet] = Field(default_factory=dict)
    """Labelled data sets by name, that every output space is measured on (docs/labelled-data.md)."""
    publication: Publication = Publication()

    @field_validator("experiments")
    @classmethod
    def _names(cls, experiments: dict[str, Experiment]) -> dict[str, Experiment]:
        for name in experiments:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"{name!r}: a name is letters, digits, '_', '-' and '.'")
            if name in RESERVED_NAMES:
                raise ValueError(f"{name!r} is a folder of the results; choose another name")
        return experiments

    @field_validator("passes", "labelled_sets")
    @classmethod
    def _names_of_others(cls, named: dict[str, Named]) -> dict[str, Named]:
        for name in named:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"{name!r}: a name is letters, digits, '_', '-' and '.'")
        return named

    @model_validator(mode="after")
    def _windows_of_sets_move_on(self) -> Settings:
        window = self.spectrogram.window_seconds
        for name, one in self.labelled_sets.items():
            if one.overlap_seconds is not None and one.overlap_seconds >= window:
                raise ValueError(
                    f"labelled_sets.{name}.overlap_seconds: must be less than "
                    f"spectrogram.window_seconds ({window:g}), got {one.overlap_seconds:g}"
                )
        return self

    @model_validator(mode="after")
    def _birdnet_keeps_embeddings(self) -> Settings:
        for name, experiment in self.experiments.items():
            if experiment.method == "birdnet" and not self.birdnet.embeddings:
                raise ValueError(
                    f"birdnet.embeddings: experiment {name} is made of them; set it to true"
                )
        return self

    @model_validator(mode="after")
    def _indices_within_the_spectrum(self) -> Settings:
        # Cut at half the rate, they would be other indices that look like the same.
        spectrogram, indices = self.spectrogram, self.indices
        if not indices.enabled:
            return self
        if spectrogram.overlap_seconds or spectrogram.other_rates == "keep":
            raise ValueError(
                "indices: need windows that do not overlap (spectrogram.overlap_seconds 0) and are all of "
                "one rate (spectrogram.other_rates resample)"
            )
        half = spectrogram.sample_rate / 2
        tops = {
            "anthropophony": indices.anthropophony[1],
            "biophony": indices.biophony[1],
            "bioacoustic": indices.bioacoustic[1],
            "diversity_top": indices.diversity_top,
        }
        beyond = [f"{name} ({top:g} Hz)" for name, top in tops.items() if top > half]
        if beyond:
            raise ValueError(
                f"indices: {', '.join(beyond)} above half of spectrogram.sample_rate "
                f"({half:g} Hz); lower the limit or raise the rate"
            )
        bin_hertz = spectrogram.sample_rate / spectrogram.n_fft
        if indices.diversity_step < bin_hertz:
            raise ValueError(
                f"indices: diversity_step ({indices.diversity_step:g} Hz) is narrower than a bin "
                f"of the transform ({bin_hertz:g} Hz)"
            )
        return self

    def experiment(self, name: str) -> Experiment:
        """Return an experiment by name, or say which there are."""
        return _named(self.experiments, name, "experiment", "experiments")

    def labelled_set(self, name: str) -> LabelledSet:
        """Return a labelled set by name, or say which there are."""
        return _named(self.labelled_sets, name, "labelled set", "labelled_sets")


def _named(there: dict[str, Named], name: str, what: str, where: str) -> Named:
    try:
        return there[name]
    except KeyError:
        raise DawnChorusError(
            f"there is no {what} {name!r}", where, f"the config has {', '.join(there) or 'none'}"
        ) from None
