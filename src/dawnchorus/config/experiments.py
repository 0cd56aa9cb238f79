"""The configuration's section ``experiments``: one output space is method x backbone x recipe.

Every key has its default, its unit and its bounds here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dawnchorus.config.section import Positive, Section, Share

PACE = frozenset(
    {
        "checkpoint_minutes",
        "keep_checkpoints",
        "warm_start",
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


class Augmentation(Section):
    """How a window is varied before the student sees it; never flipped, unless ``photographic``."""

    mix_probability: Share = 0.5
    """Share of views mixed with another window of the batch."""
    mix_share: Annotated[float, Field(ge=0, le=0.5)] = 0.4
    """Largest power share of the other window (log-domain mixing, BYOL-A)."""
    background_probability: Share = 0.0
    """Share of views laid over the sound of another window of the same recorder, so that the place
    does not tell windows apart."""
    background_share: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Largest power share of that background."""
    neighbour_seconds: Annotated[float, Field(ge=0)] = 0.0
    """Positives from the same recorder: up to so many seconds apart; 0: from the window itself only."""
    neighbour_probability: Share = 0.5
    """Share of the views after the first that are taken from such a neighbour, where there is
    one."""
    gain_db: Annotated[float, Field(ge=0)] = 6.0
    """Gain drawn from plus or minus so many decibels (contrast does not see it)."""
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

    @field_validator("global_time", "global_mel", "local_time", "local_mel")
    @classmethod
    def _ordered(cls, span: tuple[float, float]) -> tuple[float, float]:
        return ordered(span)


class Dino(Section):
    """DINO's own settings (Caron et al. 2021, arXiv:2104.14294)."""

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
    centering: Literal["mean", "sinkhorn"] = "mean"
    """What keeps the teacher from using few prototypes only: a running mean that is taken away, or
    balanced use within the batch (better for short trainings and small batches)."""
    center_momentum: Share = 0.9
    local_crops: Annotated[int, Field(ge=0)] = 6
    """Local crops per window, beside two global ones."""
    freeze_last_layer_epochs: Annotated[float, Field(ge=0)] = 1.0
    """Epochs in which the last layer does not learn."""


class TrainingResources(Section):
    """What the workflow asks the scheduler for when it trains this experiment."""

    gpus: Annotated[int, Field(ge=0)] = 1
    """GPUs of one node: one process on each."""
    threads: Positive = 16
    memory_mb: Positive = 24_000
    runtime_minutes: Positive = 720
    """Time limit of one job. A minute before it is up, the training saves and ends; it is started
    again and goes on."""


class Experiment(Section):
    """One trained output space: method x backbone x recipe."""

    recipe: Literal["auto", "1e3", "1e4", "1e5", "1e6", "1e7", "seed2022", "none"] = "auto"
    """Where the values come from that are not named here: a recipe for the size of the training set
    (``auto``) or for a size of your choice, the poster's own training, or nothing but the defaults
    of this page. ``dawnchorus train --show-recipe`` prints them with their reasons."""
    method: Literal["dino"] = "dino"
    """Joint-embedding method."""
    backbone: Literal["vit_nano", "vit_tiny", "vit_small", "vit_base"] = "vit_small"
    """Vision transformer: 64, 192, 384 or 768 dimensions (nano is for the demo and for tests)."""
    patch: Literal[8, 16] = 16
    """Side of a patch in mel rows and frames."""
    drop_path: Share = 0.1
    """Stochastic depth of the student."""
    epochs: Annotated[float, Field(gt=0)] = 50
    batch_size: Annotated[int, Field(ge=2)] = 512
    """Windows per step over all processes together."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """AdamW learning rate for a batch of 256; scaled by batch_size / 256."""
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
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Time between checkpoints (one more at the end of every epoch)."""
    keep_checkpoints: Positive = 2
    warm_start: bool = False
    """Start from the last checkpoint of the training before, if there is one."""
    resources: TrainingResources = TrainingResources()
    dino: Dino = Dino()
    augmentation: Augmentation = Augmentation()
    input: Literal["level", "contrast"] = "level"
    """What the network sees: decibels as stored, or above the window's median in each mel band
    (without the noise floor of place and recorder)."""
    pooling: Literal["cls", "mean", "max", "cls+max"] = "cls"
    """What of the last block becomes the embedding: the class token, or the patch tokens pooled."""
