"""Faster passes and smaller ones: compiled blocks, activations computed twice, a batch in parts.

In: a method before it is wrapped for several processes. Out: the same method; parameters, their names
and, but for rounding, their values are what they would be.
"""

from __future__ import annotations

from collections.abc import Iterator

from timm.models.resnet import BasicBlock, Bottleneck
from timm.models.vision_transformer import Block
from torch import nn

BLOCKS = (Block, BasicBlock, Bottleneck)
"""What is compiled: the repeated parts of a network, nearly all of its arithmetic.

One by one they are compiled once for each shape of crop and used for all depths, where a whole
network takes minutes.
"""


def compile_blocks(module: nn.Module) -> int:
    """Have torch compile every block of the networks; return how many there are."""
    blocks = [part for part in module.modules() if isinstance(part, BLOCKS)]
    for block in blocks:
        block.compile(dynamic=False)
    return len(blocks)


def checkpoint_activations(module: nn.Module) -> int:
    """Have networks that learn keep no activations within their blocks but compute them twice.

    Memory then grows with one block instead of all, for about a third more time. Returns how many
    networks can do that.
    """
    changed = 0
    for part in module.modules():
        learns = any(parameter.requires_grad for parameter in part.parameters())
        switch = getattr(part, "set_grad_checkpointing", None)
        if learns and callable(switch):
            switch(True)
            changed += 1
    return changed


def passes(windows: int, most: int | None) -> Iterator[slice]:
    """Cut this process's windows of a step into passes.

    Parameters
    ----------
    windows : int
    most : int, optional
        Windows per pass at most; all in one by default. The passes are as even as can be.

    Yields
    ------
    slice
    """
    count = 1 if most is None else -(-windows // most)
    for number in range(count):
        yield slice(windows * number // count, windows * (number + 1) // count)
