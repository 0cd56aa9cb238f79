"""Dawn Chorus: from recorder cards to a labelled output space.

The package follows the data. Each room is one step: ``recordings``, ``spectrograms``, ``learning``,
``embedding``, ``clustering``, ``attention``, ``birdnet``, ``evaluation``, ``report``; see
``docs/architecture.md`` for the floor each stands on.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("dawnchorus")
except PackageNotFoundError:  # a source tree that was put on sys.path without being installed
    __version__ = "0+source"

__all__ = ["__version__"]
