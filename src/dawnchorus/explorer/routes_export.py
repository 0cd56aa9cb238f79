"""The labels as files for other programs, over HTTP.

In: :class:`~dawnchorus.explorer.served.Explorer` with a way to export. Out: a route that answers with a ZIP
archive.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from dawnchorus.explorer.served import Explorer


def routes(explorer: Explorer) -> list[Route]:
    """Return the routes of the exports."""

    def archived(name: str) -> tuple[tempfile.TemporaryDirectory[str], Path]:
        """Export into a temporary folder and pack it."""
        assert explorer.export is not None  # noqa: S101 - asked before
        folder = tempfile.TemporaryDirectory(prefix="dawnchorus-export-")
        try:
            root = Path(folder.name)
            explorer.export(root / "labels", name)
            archive = root / f"labels-{explorer.space.experiment}-{name}.zip"
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
                for path in sorted((root / "labels").rglob("*")):
                    if path.is_file():
                        packed.write(path, path.relative_to(root))
        except BaseException:
            folder.cleanup()
            raise
        return folder, archive

    async def export(request: Request) -> Response:
        if explorer.export is None:
            raise HTTPException(404, "this server does not export; use 'dawnchorus export'")
        folder, archive = await run_in_threadpool(archived, request.path_params["format"])
        return FileResponse(
            archive,
            media_type="application/zip",
            filename=archive.name,
            background=BackgroundTask(folder.cleanup),
        )

    return [Route("/api/export/{format}", export)]
