#!/usr/bin/env python3
"""Snakemake calls this; what it does is in dawnchorus.schedulers.command."""

import sys
from pathlib import Path

PROFILE = Path(__file__).resolve().parent
# The checkout's own package serves where none is installed.
sys.path.append(str(PROFILE.parents[1] / "src"))

from dawnchorus.schedulers import command  # noqa: E402

command.cancel(PROFILE)
