"""What an experiment's settings are when the configuration does not name them.

In: an experiment as it was written, and how many windows it has to learn from. Out: every value of
it, and where each comes from: the configuration, the recipe (``recipes.yaml``, by method and size of
the training set, or a preset), or the default that holds at every size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import ValidationError

from dawnchorus.config.encoders import used_keys
from dawnchorus.config.experiments import Experiment, MethodSettings
from dawnchorus.errors import DawnChorusError

IN_THE_CONFIGURATION = "the configuration"
AT_EVERY_SIZE = "the default at every size"
SIZES = {"1e3": 10**3, "1e4": 10**4, "1e5": 10**5, "1e6": 10**6, "1e7": 10**7}
"""Recipes that may be named instead of ``auto``, and the windows they are for."""


@dataclass(frozen=True)
class Recipe:
    """An experiment with nothing left open.

    Attributes
    ----------
    experiment : Experiment
    windows : int
        The training set that it was resolved for.
    sources : dict of str
        Where each value comes from, by its key (``dino.out_dim``).
    """

    experiment: Experiment
    windows: int
    sources: dict[str, str]

    def table(self) -> dict[str, dict[str, Any]]:
        """Each key with its value and where that comes from; without what its method does not use."""
        experiment = self.experiment
        others = {
            name
            for name in type(experiment).model_fields
            if isinstance(getattr(experiment, name), MethodSettings) and name != experiment.method
        }
        if experiment.prepared:
            others |= type(experiment).model_fields.keys() - used_keys(experiment.method)
        values = dict(_leaves(experiment.model_dump(mode="json", exclude=others)))
        return {
            key: {"value": value, "from": self.sources[key]}
            for key, value in sorted(values.items())
        }


def resolve(experiment: Experiment, windows: int) -> Recipe:
    """Settle every value of an experiment.

    Parameters
    ----------
    experiment : Experiment
        As validated; what was written in the configuration stands above the recipe.
    windows : int
        Size of the training set.

    Raises
    ------
    DawnChorusError
        If what the recipe sets and what the configuration says do not go together.
    """
    written = experiment.model_dump(exclude_unset=True)
    proposed = dict(_proposed(experiment, windows))
    values: dict[str, Any] = {}
    for key, (value, _) in proposed.items():
        _put(values, key, value)
    for key, value in _leaves(written):
        _put(values, key, value)
    try:
        resolved = Experiment.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "settings"
        raise DawnChorusError(
            f"{key}: {problem['msg'].removeprefix('Value error, ')}",
            f"recipe {experiment.recipe} with the configuration's own values",
            "take another recipe, or change what the configuration says",
        ) from None

    in_configuration = {key for key, _ in _leaves(written)}
    sources = {}
    for key, _ in _leaves(resolved.model_dump()):
        if key in in_configuration:
            sources[key] = IN_THE_CONFIGURATION
        else:
            sources[key] = proposed[key][1] if key in proposed else AT_EVERY_SIZE
    return Recipe(resolved, windows, sources)


def as_written(experiment: Experiment) -> dict[str, Any]:
    """An experiment's settings as JSON values, without those that say nothing new.

    A value that is the default at every size is left out: to write it down changes nothing. One
    that its recipe sets is kept, whatever it is.
    """
    open_keys = {key for key, _ in _proposed(experiment, windows=1)}
    defaults = dict(_leaves(Experiment().model_dump(mode="json")))
    kept: dict[str, Any] = {}
    for key, value in _leaves(experiment.model_dump(mode="json", exclude_unset=True)):
        if key in open_keys or defaults[key] != value:
            _put(kept, key, value)
    return kept


@cache
def presets() -> tuple[str, ...]:
    """Names of the recipes that do not depend on the training set."""
    return tuple(_book()["presets"])


@cache
def _book() -> dict[str, Any]:
    text = files("dawnchorus.config").joinpath("recipes.yaml").read_text(encoding="utf-8")
    book: dict[str, Any] = yaml.safe_load(text)
    return book


def _proposed(experiment: Experiment, windows: int) -> Iterator[tuple[str, tuple[Any, str]]]:
    """What the experiment's recipe sets: key, value, and where it comes from."""
    name, book = experiment.recipe, _book()
    if name == "none":
        return
    if name in book["presets"]:
        for key, entry in book["presets"][name].items():
            yield key, (entry["is"], f"recipe {name}: {entry['from']}")
        return
    size = SIZES.get(name, windows)
    for key, entry in book["sized"].get(experiment.method, {}).items():
        value = interpolated(entry["at"], entry["between"], size)
        yield key, (value, f"recipe for {size:,} windows: {entry['from']}")


def interpolated(at: Mapping[float, Any], between: str, windows: int) -> Any:
    """Return a recipe's value for a training set of ``windows``.

    Parameters
    ----------
    at : mapping of float to value
        Values by size, sizes rising.
    between : {"line", "logarithm", "power_of_two", "nearest"}
        How it goes from one size to the next, along the logarithm of the size.
    windows : int
    """
    sizes = list(at)
    place = min(max(math.log(max(windows, 1)), math.log(sizes[0])), math.log(sizes[-1]))
    above = next(size for size in sizes if place <= math.log(size) + 1e-12)
    below = max((size for size in sizes if size < above), default=above)
    part = 1.0
    if below != above:
        part = (place - math.log(below)) / (math.log(above) - math.log(below))
    low, high = at[below], at[above]
    if between == "nearest" or low == high:
        return high if part >= 0.5 else low
    if between == "line":
        return _tidy(low + (high - low) * part)
    value = math.exp(math.log(low) + (math.log(high) - math.log(low)) * part)
    if between == "logarithm":
        return _tidy(value)
    if between == "power_of_two":
        return 2 ** round(math.log2(value))
    raise ValueError(f"{between!r} is no way between two sizes")


def _tidy(value: float) -> float:
    """Four significant digits: what stands in a table is what is computed with."""
    return float(f"{value:.4g}")


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
    values[name] = value
