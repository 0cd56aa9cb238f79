"""What a label may be called: names to choose from while typing.

In: what was typed, the labels given so far, the species heard in the season, BirdNET's own list if it is
installed, and kinds of noise. Out: completions, the likeliest first, and the spelling of a known name.
Any other text is a label too.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from dawnchorus.birdnet.model import BirdNetModel
from dawnchorus.errors import DawnChorusError

NOISES = tuple(
    f"noise: {what}"
    for what in (
        "rain", "wind", "thunder", "water", "traffic", "aircraft", "train", "machine", "voices",
        "insects", "handling", "microphone", "electronic",
    )
)  # fmt: skip
OTHERS = ("nothing", "unknown bird", "unknown animal", "frog", "mammal")
MOST = 20


class Name(NamedTuple):
    """A name to choose: what becomes the label, and the scientific name if it is a species."""

    label: str
    scientific: str | None


@cache
def birdnet_names() -> tuple[Name, ...]:
    """Return BirdNET's classes; none if its model is not installed."""
    try:
        labels = BirdNetModel.find().labels
    except DawnChorusError:
        return ()
    return tuple(Name(common, scientific) for scientific, common in labels)


class Names:
    """Completes names.

    Parameters
    ----------
    heard : iterable of (scientific, common)
        Species that BirdNET heard in the season, the most frequent first.
    """

    def __init__(self, heard: Iterable[tuple[str, str]]) -> None:
        known = [Name(common, scientific) for scientific, common in heard]
        known += [Name(text, None) for text in (*NOISES, *OTHERS)]
        self._known = list(dict.fromkeys([*known, *birdnet_names()]))
        self._scientific = {name.label: name.scientific for name in reversed(self._known)}

    def complete(self, typed: str, used: Iterable[str] = (), most: int = MOST) -> list[Name]:
        """Return names that fit what was typed.

        Labels in use come first; of the others those that begin with it, then those of which a word does,
        then those that hold it; within each, species heard, noises, and BirdNET's other classes.
        """
        wanted = " ".join(typed.split()).casefold()
        own = [Name(text, self._scientific.get(text)) for text in used]
        names = list(dict.fromkeys([*own, *self._known]))
        ranked = sorted(
            (at >= len(own), rank, at)
            for at, name in enumerate(names)
            if (rank := min(_rank(text, wanted) for text in name if text)) < 3
        )
        return [names[at] for *_, at in ranked[:most]]

    def spelled(self, label: str, used: Iterable[str] = ()) -> str:
        """Return a label as it is known: a label in use, or a species' common name, in their own case."""
        folded = label.casefold()
        for name in (*used, *self._scientific):
            if name.casefold() == folded:
                return name
        return label

    def scientific(self, label: str) -> str | None:
        """Return the scientific name of a label that is a species' common name."""
        return self._scientific.get(label)


def _rank(text: str, wanted: str) -> int:
    folded = text.casefold()
    if folded.startswith(wanted):
        return 0
    if f" {wanted}" in folded.replace("-", " ").replace(":", " "):
        return 1
    return 2 if wanted in folded else 3
