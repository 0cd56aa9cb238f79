"""Optimisers by name, and their state as tensors and plain values.

In: a method's parameters that learn. Out: an optimiser over two groups, those that weight decay
applies to and those that it does not (biases, norms, gains); and for checkpoints, its whole state
by the parameters' names.

LARS (You et al. 2017, arXiv:1708.03888) is timm's: a matrix moves by ``eta |w| / (|g| + b |w|)``
times ``g + b w`` (b: weight decay) through a momentum of 0.9, with eta 0.001. VICReg's and other
trainers divide by ``|g + b w|`` instead; at their weight decay of 1e-6 the two differ by less than
``b |w| / |g|``. Biases and norms are neither scaled nor decayed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.optim import Lars
from torch import Tensor

from dawnchorus.learning.method import Method, decays

ADAM_BETAS = (0.9, 0.999)
LARS_MOMENTUM, LARS_ETA = 0.9, 0.001

Groups = list[dict[str, Any]]
Plain = dict[str, Any]
"""Values that JSON can hold."""


def _adamw(groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=0.0, betas=ADAM_BETAS, fused=True)


def _lars(groups: Groups) -> torch.optim.Optimizer:
    for group in groups:
        group["always_adapt"] = group["decay"]
    return Lars(groups, lr=0.0, momentum=LARS_MOMENTUM, trust_coeff=LARS_ETA, eps=0.0)


OPTIMIZERS: dict[str, Callable[[Groups], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "lars": _lars,
}
"""By the name that ``experiments.<name>.optimizer`` calls them."""


def build(name: str, method: Method) -> torch.optim.Optimizer:
    """Build an optimiser over what a method learns.

    Parameters
    ----------
    name : str
        A key of :data:`OPTIMIZERS`.
    method : Method

    Returns
    -------
    Optimizer
        Each group says in ``decay`` whether weight decay is for it. Learning rate and weight decay
        are 0 until they are set.
    """
    learned = list(method.learned())
    groups: Groups = [
        {
            "params": [value for name, value in learned if decays(name, value) == decayed],
            "decay": decayed,
            "weight_decay": 0.0,
        }
        for decayed in (True, False)
    ]
    return OPTIMIZERS[name](groups)


def state_of(optimizer: torch.optim.Optimizer, method: Method) -> tuple[dict[str, Tensor], Plain]:
    """Take an optimiser's whole state apart.

    Returns
    -------
    tensors : dict
        ``{moment}.{parameter}`` to tensor.
    plain : dict
        ``groups``: the settings of each group. ``state``: by parameter, what is no tensor.

    Raises
    ------
    TypeError
        If it holds something that is neither a tensor nor a plain value.
    """
    names = _names(optimizer, method)
    tensors: dict[str, Tensor] = {}
    plain: Plain = {}
    whole = optimizer.state_dict()
    for number, held in whole["state"].items():
        for moment, value in held.items():
            if isinstance(value, Tensor):
                tensors[f"{moment}.{names[number]}"] = value
            else:
                plain.setdefault(names[number], {})[moment] = _plain(value, moment)
    groups = [
        {key: _plain(value, key) for key, value in group.items() if key != "params"}
        for group in whole["param_groups"]
    ]
    return tensors, {"groups": groups, "state": plain}


def put_state(
    optimizer: torch.optim.Optimizer, method: Method, tensors: dict[str, Tensor], plain: Plain
) -> None:
    """Put together again what :func:`state_of` took apart.

    Parameters
    ----------
    optimizer : Optimizer
        Built for the same parameters.
    method : Method
    tensors, plain : dict
        A parameter without state has none; without ``groups`` they stay as they were built.
    """
    numbers = {name: number for number, name in _names(optimizer, method).items()}
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        moment, name = key.split(".", 1)
        state.setdefault(numbers[name], {})[moment] = value
    for name, held in plain.get("state", {}).items():
        state.setdefault(numbers[name], {}).update(held)
    groups = optimizer.state_dict()["param_groups"]
    for group, held in zip(groups, plain.get("groups", [{}] * len(groups)), strict=True):
        # JSON has no tuples.
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in held.items()})
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    # It gives moments the kind of number of their parameters; they are to be as they were.
    ordered = [value for group in optimizer.param_groups for value in group["params"]]
    for number, held in state.items():
        here = optimizer.state[ordered[number]]
        for moment, value in held.items():
            if isinstance(value, Tensor):
                here[moment] = value.to(here[moment].device, copy=True)


def _names(optimizer: torch.optim.Optimizer, method: Method) -> dict[int, str]:
    """Names of the parameters by the numbers that the optimiser's ``state_dict`` gives them."""
    names = {id(value): name for name, value in method.learned()}
    ordered = [value for group in optimizer.param_groups for value in group["params"]]
    return {number: names[id(value)] for number, value in enumerate(ordered)}


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, Tensor) and value.ndim == 0:
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list) and all(isinstance(one, int | float) for one in value):
        return list(value)
    raise TypeError(
        f"an optimiser's {key} is a {type(value).__name__}: a checkpoint cannot keep it"
    )
