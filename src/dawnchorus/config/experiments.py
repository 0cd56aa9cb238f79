"""The configuration's section ``experiments``: one output space is method x backbone x recipe.

Every key has its default, its unit and its bounds here and nowhere else.
"""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from dawnchorus.config.encoders import (
    OF_CLASS_TOKEN,
    OF_TOKENS,
    PREPARED,
    MethodSettings,
    Pca,
    Pooling,
    Tokens,
    Weights,
    check_uses_all,
)
from dawnchorus.config.section import Positive, Section, Share

Patch = int | tuple[int, int]
"""Side of a square patch, or its mel rows and frames."""
Input = Literal["level", "contrast", "level+contrast"]
BACKBONES = ("vit_nano", "vit_micro", "vit_tiny", "vit_small", "vit_base", "resnet50")
CONVOLUTIONAL = r"\w*resne(t|xt)\w+"
TRANSFORMER = r"(vit|deit3?)_\w+_patch\d+_\w+"
"""How timm names them; whether it knows a name is seen when the network is built."""

PACE = frozenset(
    {
        "checkpoint_minutes",
        "keep_checkpoints",
        "warm_start",
        "feed",
        "memory_gb",
        "monitors",
        "compile",
        "micro_batch",
        "activation_checkpointing",
        "resources",
    }
)
"""Keys of an experiment that say how and where it is trained, not what comes of it: a training goes
on from its checkpoint when they change, and a finished one is not done again."""


def ordered(span: tuple[float, float]) -> tuple[float, float]:
    """See that a span of shares has something in it."""
    if not 0 < span[0] <= span[1]:
        raise ValueError(f"needs 0 < smallest <= largest, got {span[0]} and {span[1]}")
    return span


class Photographic(Section):
    """Variations of photographs, for parity with the poster's training; all off otherwise."""

    reverse_probability: Share = 0.0
    """Share of views that run backwards in time."""
    blur_probability: tuple[Share, Share, Share] = (0.0, 0.0, 0.0)
    """Share of the first, the second and the further views that are blurred."""
    solarise_probability: tuple[Share, Share, Share] = (0.0, 0.0, 0.0)
    """Share of the first, the second and the further views whose louder half is turned upside
    down (input ``level`` only)."""
    global_area: tuple[Share, Share] | None = None
    """Share of the window's area that a global crop covers, its shape drawn at random; then
    ``global_time`` and ``global_mel`` are not looked at."""
    local_area: tuple[Share, Share] | None = None
    """The same for local crops."""
    global_shape: tuple[Positive, Positive] | None = None
    """Mel rows and frames that a global crop is resized to, whatever it covers."""
    local_shape: tuple[Positive, Positive] | None = None
    """The same for local crops."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """How a crop is resized."""

    @field_validator("global_area", "local_area")
    @classmethod
    def _ordered(cls, span: tuple[float, float] | None) -> tuple[float, float] | None:
        return span if span is None else ordered(span)


def sides(patch: Patch) -> tuple[int, int]:
    """Mel rows and frames of a patch."""
    return (patch, patch) if isinstance(patch, int) else patch


class Augmentation(Section):
    """How a window is varied before the student sees it; never flipped, unless ``photographic``."""

    mix_probability: Share = 0.5
    """Share of views mixed with another window of the batch."""
    mix_share: Annotated[float, Field(ge=0, le=0.5)] = 0.4
    """Largest power share of the other window (log-domain mixing, BYOL-A)."""
    background_probability: Share = 0.0
    """Share of views laid over the noise of a quiet window, so that neither the place nor the
    loudness of its noise tells windows apart."""
    background_db: tuple[float, float] = (-6.0, 12.0)
    """Lowest and highest level of that noise, in decibels above the window's own noise floor (the
    median of each mel band)."""
    background_from: Literal["recorder", "season"] = "recorder"
    """Whose quiet windows: the same recorder's, or all recorders'."""
    background_quiet: Annotated[float, Field(gt=0, le=1)] = 0.15
    """Share of a recorder's windows in the training set, the least active, that count as quiet."""
    background_windows: Positive = 256
    """Quiet windows of each recorder that are held for it."""
    neighbour_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Positives from the same recorder: up to so many seconds apart; 0: from the window itself only."""
    neighbour_probability: Share = 0.5
    """Share of the views after the first that are taken from such a neighbour, where there is
    one."""
    gain_db: Annotated[float, Field(ge=0)] = 6.0
    """Gain drawn from plus or minus so many decibels (contrast does not see it)."""
    response_db: Annotated[float, Field(ge=0)] = 0.0
    """Random frequency response, as of another recorder or distance: a smooth curve over the mel rows
    whose widest wave has this standard deviation in decibels (contrast does not see it)."""
    frequency_masks: Annotated[int, Field(ge=0)] = 1
    """Bands of mel rows set to the mean per view (SpecAugment)."""
    frequency_mask_mels: Annotated[int, Field(ge=0)] = 10
    """Largest height of such a band."""
    time_masks: Annotated[int, Field(ge=0)] = 1
    """Spans of frames set to the mean per view."""
    time_mask_frames: Annotated[int, Field(ge=0)] = 30
    """Largest width of such a span."""
    global_time: tuple[Share, Share] = (0.6, 1.0)
    """Share of the frames that a global crop covers. A crop is resized to the largest it may be, in
    whole patches: smaller shares also make training faster."""
    global_mel: tuple[Share, Share] = (0.85, 1.0)
    """Share of the mel rows that a global crop covers: frequency identifies the species."""
    local_time: tuple[Share, Share] = (0.15, 0.4)
    """Share of the frames that a local crop covers."""
    local_mel: tuple[Share, Share] = (0.6, 1.0)
    """Share of the mel rows that a local crop covers."""
    photographic: Photographic = Photographic()

    @field_validator("background_db")
    @classmethod
    def _rising(cls, span: tuple[float, float]) -> tuple[float, float]:
        if not span[0] <= span[1]:
            raise ValueError(f"needs lowest <= highest, got {span[0]} and {span[1]}")
        return span

    @field_validator("global_time", "global_mel", "local_time", "local_mel")
    @classmethod
    def _ordered(cls, span: tuple[float, float]) -> tuple[float, float]:
        return ordered(span)


class Dino(MethodSettings):
    """DINO's own settings (Caron et al. 2021, arXiv:2104.14294)."""

    title = "DINO"
    out_dim: Annotated[int, Field(ge=2)] = 32_768
    """Prototypes of the head."""
    head_hidden: Positive = 2048
    """Width of the head's hidden layers."""
    head_bottleneck: Positive = 256
    """Width before the weight-normalised last layer."""
    norm_last_layer: bool = True
    """Keep the last layer's norms at 1."""
    student_temperature: Annotated[float, Field(gt=0)] = 0.1
    teacher_temperature: Annotated[float, Field(gt=0)] = 0.04
    """Teacher temperature after its warm-up."""
    teacher_temperature_start: Annotated[float, Field(gt=0)] = 0.03
    """Teacher temperature at the start; rises linearly over ``temperature_warmup_epochs``."""
    temperature_warmup_epochs: Annotated[float, Field(ge=0)] = 10.0
    teacher_momentum: Share = 0.992
    """Momentum of the teacher at the start; rises to 1 by a cosine."""
    centering: Literal["mean", "sinkhorn", "none"] = "mean"
    """What keeps the teacher from using few prototypes only: a running mean that is taken away, or
    balanced use within the batch (better for short trainings and small batches). ``none`` is for
    experiments: nothing keeps it, and it collapses."""
    center_momentum: Share = 0.9
    local_crops: Annotated[int, Field(ge=0)] = 6
    """Local crops per window, beside two global ones."""
    freeze_last_layer_epochs: Annotated[float, Field(ge=0)] = 1.0
    """Epochs in which the last layer does not learn."""


class Vicreg(MethodSettings):
    """VICReg's own settings (Bardes et al. 2021, arXiv:2105.04906)."""

    title = "VICReg"
    expander_width: Annotated[int, Field(ge=2)] = 8192
    """Dimensions of the embeddings that the loss sees, and of the expander's hidden layers; 2048 is
    enough for batches up to 512."""
    expander_layers: Positive = 3
    """Linear layers of the expander; batch norm and ReLU between them."""
    invariance: Annotated[float, Field(ge=0)] = 25.0
    """Weight of the distance between the two views of a window."""
    variance: Annotated[float, Field(ge=0)] = 25.0
    """Weight of the hinge that keeps each dimension's deviation at 1."""
    covariance: Annotated[float, Field(ge=0)] = 1.0
    """Weight of what dimensions have in common."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-4
    """Added to the variance before its root is taken."""


class TrainingResources(Section):
    """What the workflow asks the scheduler for when it trains this experiment."""

    nodes: Positive = 1
    """Machines that train together; what follows is of each of them."""
    gpus: Annotated[int, Field(ge=0)] = 1
    """One process on each."""
    threads: Positive = 16
    memory_mb: Positive = 24_000
    runtime_minutes: Positive = 720
    """Time limit of one job. A minute before it is up, the training saves and ends; it is started
    again and goes on."""

    @property
    def all_gpus(self) -> int:
        """GPUs of all nodes."""
        return self.nodes * self.gpus


PREPARING = TrainingResources(gpus=0, threads=2, memory_mb=4000, runtime_minutes=60)


class Monitors(Section):
    """What is watched while an experiment trains; nothing here changes what is learned."""

    alarm: bool = True
    """End a training that has collapsed, with a diagnosis (``docs/monitors.md``)."""
    tensorboard: bool = True
    """Write ``{experiment}/tensorboard/`` beside ``log.jsonl``."""
    probe_windows: Annotated[int, Field(ge=0)] = 1000
    """Windows of the training set that are embedded now and then, for nearest neighbours and RankMe;
    0 does neither."""
    probe_steps: Positive = 200
    """Steps from one probe to the next."""
    neighbours: Positive = 5
    """Nearest neighbours that vote on hour, recorder and species."""


class Experiment(Section):
    """One trained output space: method x backbone x recipe."""

    recipe: Literal["auto", "1e3", "1e4", "1e5", "1e6", "1e7", "seed2022", "none"] = "auto"
    """Where the values come from that are not named here: a recipe for the size of the training set
    (``auto``) or for a size of your choice, the poster's own training, or nothing but the defaults
    of this page. ``dawnchorus train --show-recipe`` prints them with their reasons."""
    method: Literal["dino", "vicreg", "untrained", "statistics", "pca", "birdnet", "weights"] = (
        "dino"
    )
    """Joint-embedding method (`dino`, `vicreg`); or an encoder that is not trained, beside which they are
    judged (`docs/embedding.md`): a network with random weights, mean and deviation of the log-mel
    bands, principal components of the log-mel image, BirdNET's own embedding, or a network of your
    own. A method's own settings are in the section of its name; what it does not use is an error."""
    backbone: str = "vit_small"
    """Vision transformer `vit_nano` (64 dimensions, for tests), `vit_micro` (128, for two cores), `vit_tiny` (192),
    `vit_small` (384), `vit_base` (768); convolutional network `resnet50` (2048); or timm's name of
    another one (`vit_medium_patch16_gap_256`, `resnet18`)."""
    patch: Patch = 16
    """Patch of a transformer: 8, 16, or [mel rows, frames]. Crops are sized in whole patches; for a
    convolutional network it is only that step."""
    drop_path: Share = 0.1
    """Stochastic depth of the network that learns."""
    epochs: Annotated[float, Field(gt=0)] = 50
    batch_size: Annotated[int, Field(ge=2)] = 512
    """Windows per step over all processes together."""
    optimizer: Literal["adamw", "lars"] = "adamw"
    """AdamW; or LARS (arXiv:1708.03888), for large batches and convolutional networks: usual are
    learning_rate 0.2, weight_decay and final_weight_decay 1e-6, clip_gradient 0."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Learning rate for a batch of 256; scaled by batch_size / 256."""
    final_learning_rate: Annotated[float, Field(ge=0)] = 1e-6
    warmup_epochs: Annotated[float, Field(ge=0)] = 5.0
    """Epochs of linear warm-up; then a cosine to ``final_learning_rate``."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.04
    final_weight_decay: Annotated[float, Field(ge=0)] = 0.4
    clip_gradient: Annotated[float, Field(ge=0)] = 3.0
    """Largest norm of the gradient of the student; 0 does not clip."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """Of the forward pass; losses, the teacher's average and the centre are float32 always."""
    seed: Annotated[int, Field(ge=0)] = 0
    compile: bool = False
    """Have torch compile the networks' blocks: faster on a GPU, after a minute or two."""
    micro_batch: Positive | None = None
    """Windows per process and pass at most, where a process's share of a batch does not fit into its
    memory; the gradients of the passes add up. Statistics over the batch (VICReg's, KoLeo's,
    Sinkhorn's) are those of a pass."""
    activation_checkpointing: bool = False
    """Keep no activations within the blocks but compute them twice: less memory, more time."""
    shuffle_windows: Annotated[int, Field(ge=1)] = 262_144
    """Windows shuffled together: a training set up to this size as a whole, a larger one in blocks,
    so that it can be streamed in runs."""
    feed: Literal["auto", "memory", "stream"] = "auto"
    """Hold the training set in memory, once per node, or stream it from the stores while training.
    ``auto`` holds it if it fits. The batches are the same."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Gigabytes that the windows may take on a node, over all its processes; null: three quarters
    of what the machine and its limits leave, or half when streaming."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Time between checkpoints (one more at the end of every epoch)."""
    keep_checkpoints: Positive = 2
    warm_start: bool = False
    """Start from the last checkpoint of the training before, if there is one."""
    resources: TrainingResources = TrainingResources()
    koleo_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of a term that pushes each window's features away from their nearest neighbour in the
    batch (KoLeo, arXiv:1806.03198; 0.1 in DINOv2); 0 leaves it out."""
    monitors: Monitors = Monitors()
    dino: Dino = Dino()
    vicreg: Vicreg = Vicreg()
    pca: Pca = Pca()
    weights: Weights = Weights()
    embedding: Tokens = Tokens()
    augmentation: Augmentation = Augmentation()
    input: Input = "level"
    """What the network sees: decibels as stored, above the window's median in each mel band
    (without the noise floor of place and recorder), or both, as two channels."""
    pooling: Pooling = "cls"
    """What of the last block becomes the embedding: the class token (transformers only), mean or
    maximum over the patches, one beside the other; `bands`: for each row of patches its mean over
    time, one row beside the other (rows x width dimensions; `bands-max`: its maximum,
    `bands-mean+max`: both)."""
    whitening: Annotated[float, Field(gt=0)] | None = None
    """Even out the embeddings' principal axes, so that quiet differences count beside loud ones: this
    much of the mean variance is added to each axis' own before it is divided by. 1 is mild, 0.1
    strong; null leaves embeddings as they are."""

    @field_validator("backbone")
    @classmethod
    def _a_backbone(cls, name: str) -> str:
        if name not in BACKBONES and not re.fullmatch(f"{CONVOLUTIONAL}|{TRANSFORMER}", name):
            near = difflib.get_close_matches(name, BACKBONES, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"{hint}take {', '.join(BACKBONES)}, or timm's name of a vision transformer or "
                "residual network"
            )
        return name

    @field_validator("patch", mode="before")
    @classmethod
    def _a_patch(cls, patch: Any) -> Any:
        if isinstance(patch, list | tuple):
            whole = [side for side in patch if isinstance(side, int) and side > 0]
            if len(patch) == len(whole) == 2:
                return whole[0] if whole in ([8, 8], [16, 16]) else tuple(whole)
        elif patch in (8, 16):
            return patch
        raise ValueError("take 8, 16, or [mel rows, frames]")

    @model_validator(mode="after")
    def _fits_together(self) -> Experiment:
        for name in type(self).model_fields:
            section = getattr(self, name)
            another = isinstance(section, MethodSettings) and name != self.method
            if another and section != type(section)():
                raise ValueError(f"{name}: the method is {self.method}, these would not be used")
        if self.prepared:
            check_uses_all(self)
        if self.embedding != Tokens() and self.whitening is not None:
            raise ValueError(
                "embedding: the whitening is learned for the training's own pooling; leave out one of them"
            )
        pooling = self.embedding.pooling or self.pooling
        if pooling in OF_CLASS_TOKEN and re.fullmatch(CONVOLUTIONAL, self.backbone):
            raise ValueError(
                f"pooling: {pooling} needs a class token, {self.backbone} has none; "
                "take mean, max, mean+max, bands or bands-mean+max"
            )
        if self.pooling.startswith("bands"):
            variation = self.augmentation
            for key in ("global_mel", "local_mel"):
                if getattr(variation, key)[1] < 1.0:
                    raise ValueError(
                        f"augmentation.{key}: pooling {self.pooling} needs crops of all rows; "
                        "let it end at 1.0"
                    )
        return self

    @property
    def prepared(self) -> bool:
        """Whether it is not trained: its encoder is there at once, or fitted in a minute."""
        return self.method in PREPARED

    @property
    def has_network(self) -> bool:
        """Whether a network embeds, which a GPU makes faster."""
        return not self.prepared or self.method in OF_TOKENS

    @property
    def asked_of_scheduler(self) -> TrainingResources:
        """What its training or preparation takes; preparing needs little and no GPU."""
        if self.prepared and self.resources == TrainingResources():
            return PREPARING
        return self.resources

    @property
    def own(self) -> MethodSettings:
        """The settings of its method."""
        return getattr(self, self.method)

    @property
    def title(self) -> str:
        """Its method as people write it."""
        return getattr(getattr(self, self.method, None), "title", None) or self.method
