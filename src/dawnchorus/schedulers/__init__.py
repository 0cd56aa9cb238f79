"""Jobs of the workflow on clusters: submitted, looked after, cancelled.

Snakemake's generic cluster executor calls three executables of a profile (``submit.py``, ``status.py``,
``cancel.py``); they call this room. It knows schedulers and nothing of sound.

``backend`` says what a scheduler must be able to do, ``cobalt`` and ``pbs`` do it. A new scheduler is one
file and one line of :data:`BACKENDS`; see ``docs/clusters.md``.
"""

from dawnchorus.errors import DawnChorusError
from dawnchorus.schedulers.backend import Backend
from dawnchorus.schedulers.cobalt import Cobalt
from dawnchorus.schedulers.pbs import Pbs

SITE_FILE = "site.yaml"
"""In a profile's folder: which scheduler, which queues, which limits."""
BACKENDS: dict[str, type[Backend]] = {
    "cobalt": Cobalt,
    "pbs": Pbs,
}


def backend_of(scheduler: str) -> Backend:
    """Return the backend of a scheduler by the name that ``site.yaml`` gives it.

    Raises
    ------
    DawnChorusError
        If there is none.
    """
    if scheduler not in BACKENDS:
        raise DawnChorusError(
            f"no scheduler {scheduler!r}",
            f"{SITE_FILE}: scheduler",
            f"there are {sorted(BACKENDS)}",
        )
    return BACKENDS[scheduler]()


__all__ = ["BACKENDS", "SITE_FILE", "Backend", "backend_of"]
