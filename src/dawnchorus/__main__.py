"""``python -m dawnchorus`` is ``dawnchorus``."""

from dawnchorus.cli import main

main()
