"""The small season of the explorer's tests."""

from explorer.conftest import made, season

__all__ = ["made", "season"]
