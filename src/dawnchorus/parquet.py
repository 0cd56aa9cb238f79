"""Reading Parquet by the name it has: polars takes brackets, stars and question marks in a path for a pattern.

In: the path of a table, whatever a recorder or a folder is called. Out: polars' frames.
"""

from __future__ import annotations

from functools import partial

import polars as pl

read_parquet = partial(pl.read_parquet, glob=False)
"""As :func:`polars.read_parquet`."""
scan_parquet = partial(pl.scan_parquet, glob=False)
"""As :func:`polars.scan_parquet`."""
