"""The joint-embedding methods by the name that ``experiments.<name>.method`` calls them."""

from __future__ import annotations

from dawnchorus.learning.dino import Dino
from dawnchorus.learning.method import Method
from dawnchorus.learning.vicreg import Vicreg

METHODS: dict[str, type[Method]] = {
    "dino": Dino,
    "vicreg": Vicreg,
}
