"""One Parquet table of all rows, written part by part.

In: a schema and frames. Out: a file that pandas, R's arrow, DuckDB and polars open. Memory is bounded by a
part; the same parts give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow.parquet as pq


class Append(Protocol):
    """Called with the next rows."""

    def __call__(self, rows: pl.DataFrame) -> None:
        """Write a part, in the schema's columns and types."""


@contextmanager
def writing_rows(
    path: Path, schema: Mapping[str, Any], note: Mapping[str, str] | None = None
) -> Iterator[Append]:
    """Open a Parquet file to append frames to; also without any it has its columns.

    Parameters
    ----------
    path : Path
        A temporary file of the caller's: it is complete only when the block ends.
    schema : mapping of str to polars types
    note : mapping of str to str, optional
        What the file says of itself (Parquet's key-value metadata), a licence for one.
    """
    kinds = pl.DataFrame(schema=dict(schema)).to_arrow().schema.with_metadata(dict(note or {}))
    with pq.ParquetWriter(path, kinds, compression="zstd") as writer:

        def append(rows: pl.DataFrame) -> None:
            rows = rows.select(pl.col(name).cast(kind) for name, kind in schema.items())
            writer.write_table(rows.to_arrow().cast(kinds))

        yield append
