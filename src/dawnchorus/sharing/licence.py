"""The licence of what BirdNET said.

Out: a note to lie beside exported detections, and the entry of a data package. BirdNET's model is under
CC BY-NC-SA 4.0; whoever passes its detections on has to name it and may not sell them.
"""

from __future__ import annotations

from pathlib import Path

from dawnchorus.birdnet.model import LICENCE, NAME
from dawnchorus.exports.camtrap_dp import Licence

_DEED = "https://creativecommons.org/licenses/by-nc-sa/4.0/"
BIRDNET_LICENCE = Licence(
    "CC-BY-NC-SA-4.0",
    "data",
    title=f"Detections made with {NAME}, whose licence is {LICENCE}",
    path=_DEED,
)
NOTE_NAME = "LICENCE-BirdNET.txt"
_NOTE = f"""These detections were made with {NAME}
(K. Lisa Yang Center for Conservation Bioacoustics, Cornell Lab of Ornithology, and
Chemnitz University of Technology).
The model is licensed under {LICENCE}: {_DEED}
Whoever passes the detections on names BirdNET, does not sell them, and keeps this licence.
Cite: Kahl, S., Wood, C. M., Eibl, M., & Klinck, H. (2021). BirdNET: A deep learning solution for avian
diversity monitoring. Ecological Informatics, 61, 101236.
"""


def write_note(folder: Path) -> None:
    """Write the note into a folder that its caller publishes."""
    (folder / NOTE_NAME).write_text(_NOTE, encoding="utf-8")
