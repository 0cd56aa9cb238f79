"""The configuration's section ``experiments``: one output space is method x backbone x recipe.

Every key has its default, its unit and its bounds here and nowhere else.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from dawnchorus.config.section import Positive, Section, Share


class Augmentation(Section):
    """How a window is varied before the student sees it; never flipped."""

    mix_probability: Share = 0.5
    """Share of views mixed with another window."""
    mix_share: Annotated[float, Field(ge=0, le=0.5)] = 0.4
    """Largest power share of the other window (log-domain mixing, BYOL-A)."""
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

    @field_validator("global_time", "global_mel", "local_time", "local_mel")
    @classmethod
    def _ordered(cls, span: tuple[float, float]) -> tuple[float, float]:
        if not 0 < span[0] <= span[1]:
            raise ValueError(f"needs 0 < smallest <= largest, got {span[0]} and {span[1]}")
        return span


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
    centering: Literal["mean", "sinkhorn", "none"] = "mean"
    """What keeps the teacher from using few prototypes only: a running mean that is taken away, or
    balanced use within the batch (better for short trainings and small batches). ``none`` is for
    experiments: nothing keeps it, and it collapses."""
    center_momentum: Share = 0.9
    local_crops: Annotated[int, Field(ge=0)] = 6
    """Local crops per window, beside two global ones."""
    freeze_last_layer_epochs: Annotated[float, Field(ge=0)] = 1.0
    """Epochs in which the last layer does not learn."""


class Monitors(Section):
    """What is watched while an experiment trains; nothing here changes what is learned."""

    alarm: bool = True
    """End a training that has collapsed, with a diagnosis (``docs/monitors.md``)."""
    tensorboard: bool = True
    """Write ``{experiment}/tensorboard/`` beside ``log.jsonl``."""
    probe_windows: Annotated[int, Field(ge=0)] = 2000
    """Windows of the training set that are embedded now and then, for nearest neighbours and RankMe;
    0 does neither."""
    probe_steps: Positive = 200
    """Steps from one probe to the next."""
    neighbours: Positive = 5
    """Nearest neighbours that vote on hour, recorder and species."""


class Experiment(Section):
    """One trained output space: method x backbone x recipe."""

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
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Time between checkpoints (one more at the end of every epoch)."""
    keep_checkpoints: Positive = 2
    warm_start: bool = False
    """Start from the last checkpoint of the training before, if there is one."""
    monitors: Monitors = Monitors()
    dino: Dino = Dino()
    augmentation: Augmentation = Augmentation()
    input: Literal["level", "contrast"] = "level"
    """What the network sees: decibels as stored, or above the window's median in each mel band
    (without the noise floor of place and recorder)."""
    pooling: Literal["cls", "mean", "max", "cls+max"] = "cls"
    """What of the last block becomes the embedding: the class token, or the patch tokens pooled."""
