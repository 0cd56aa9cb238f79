"""Tests of learning: a busy machine is no fault, so hypothesis has no deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
