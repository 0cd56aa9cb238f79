"""``dawnchorus explore``: serve the explorer on this machine and open it in the browser.

In: the results folder, the cards. Out: a server on 127.0.0.1 until it is interrupted, and
``labels/journal.jsonl`` in the results folder.
"""

from __future__ import annotations

import getpass
import json
import secrets
import socket
import threading
import urllib.request
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from dawnchorus.config import Settings
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.clips import Spectrograms
from dawnchorus.explorer.gaze import Gaze
from dawnchorus.explorer.journal import Journal
from dawnchorus.explorer.labels import LabelBook
from dawnchorus.explorer.levels import Levels
from dawnchorus.explorer.served import Explorer, Export
from dawnchorus.explorer.server import create_app
from dawnchorus.explorer.space import choose_experiment, load
from dawnchorus.progress import say
from dawnchorus.results import Results
from dawnchorus.spectrograms.store import SpectrogramStore

HOST = "127.0.0.1"
START_SECONDS = 30.0


def journal_path(results: Results) -> Path:
    """Where the labels of a results folder are kept."""
    return results.root / "labels" / "journal.jsonl"


def annotator() -> str:
    """Who labels, where nobody says it: the name of the machine's user."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in some containers
        return "unnamed"


def open_book(results: Results, experiment: str | None = None) -> LabelBook:
    """Open the labels of an experiment's map, to read and to add to.

    Parameters
    ----------
    results : Results
    experiment : str or None
        None: the only one.

    Raises
    ------
    DawnChorusError
        If there is no map, inventory or spectrogram store.
    """
    if not results.root.is_dir():
        raise DawnChorusError("there is no such folder", results.root, "run the workflow first")
    experiment = choose_experiment(results, experiment)
    store = any_store(results)
    space = load(results, experiment, float(store.attributes["parameters"]["window_seconds"]))
    return LabelBook(Journal(journal_path(results)), space)


def open_explorer(
    results: Results,
    experiment: str | None,
    cards: Path,
    settings: Settings | None = None,
    export: Export | None = None,
) -> Explorer:
    """Read everything that the explorer serves.

    Parameters
    ----------
    results : Results
    experiment : str or None
        None: the only one.
    cards : Path
    settings : Settings, optional
        Says how the network looks at windows; without it, attention is not shown.
    export : callable, optional
        Writes the labels into a folder in a format; without it, the page cannot export.

    Raises
    ------
    DawnChorusError
        If there is no map, inventory or spectrogram store to show.
    """
    book = open_book(results, experiment)
    store = any_store(results)
    return Explorer(
        results=results,
        cards=cards,
        space=book.space,
        book=book,
        spectrograms=Spectrograms(results),
        band_frequency=store.band_frequency.tolist(),
        frame_time=store.frame_time.tolist(),
        annotator=annotator(),
        gaze=None if settings is None else Gaze(settings, results, book.space.experiment),
        export=export,
    )


def any_store(results: Results) -> SpectrogramStore:
    """Return one spectrogram store; all have the same windows, bands and frames."""
    for day in results.days_with_receipts():
        if results.spectrograms(day).is_dir():
            return SpectrogramStore.open(results.spectrograms(day))
    raise DawnChorusError(
        "holds no spectrogram store", results.root / "spectrograms", "run the workflow first"
    )


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()


@dataclass
class Service:
    """A server bound to its port, not yet running.

    Attributes
    ----------
    address : str
        With the token: whoever has it may hear and label.
    """

    address: str
    server: uvicorn.Server
    listener: socket.socket
    ready: threading.Event

    @classmethod
    def bind(cls, explorer: Explorer, port: int = 0) -> Service:
        """Take a port (0: any free one) and a random token.

        Raises
        ------
        DawnChorusError
            If the port is taken.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
        except (OSError, OverflowError) as error:
            listener.close()
            reason = getattr(error, "strerror", None) or error
            raise DawnChorusError(
                f"cannot be had ({reason})", f"--port {port}", "take another, or 0 for any"
            ) from None
        port = listener.getsockname()[1]
        token = secrets.token_urlsafe(32)
        ready = threading.Event()
        config = uvicorn.Config(
            create_app(explorer, token, f"dawnchorus_{port}"),
            http="h11",
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,  # would write the token down
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=2,
        )
        return cls(f"http://{HOST}:{port}/?token={token}", _Server(config, ready), listener, ready)

    def run(self) -> None:
        """Serve until told to stop (Ctrl-C, SIGTERM, ``server.should_exit``)."""
        try:
            self.server.run(sockets=[self.listener])
        finally:
            self.listener.close()


def explore(
    results_folder: Path,
    *,
    experiment: str | None,
    cards: Path,
    port: int = 0,
    browser: bool = True,
    check: bool = False,
    settings: Settings | None = None,
    export: Export | None = None,
) -> dict[str, Any]:
    """Serve the explorer until it is interrupted.

    Parameters
    ----------
    results_folder : Path
    experiment : str or None
        Whose map; None takes the only one there is.
    cards : Path
        Root of the recorder cards (or of a copy); the map works without it, sound does not.
    port : int
        0 takes any free port.
    browser : bool
        Open the address in the browser.
    check : bool
        Fetch the page and the points once over HTTP, then stop.
    settings : Settings, optional
        Says how the network looks at windows.
    export : callable, optional
        As in :func:`open_explorer`.

    Returns
    -------
    dict
        address (without the token), experiment, windows, labelled (windows with a label), labels
        (standing label entries).

    Raises
    ------
    DawnChorusError
        If there is nothing to show, the port is taken, or the check fails.
    """
    explorer = open_explorer(Results(results_folder), experiment, cards, settings, export)
    state = explorer.book.state()
    for complaint in explorer.book.journal.complaints:
        say(complaint)
    if state.elsewhere:
        say(f"{state.elsewhere} labels belong to other experiments or maps and are not shown")
    if not cards.is_dir():
        say(f"{cards}: there are no cards here; the map works, sound does not (--cards)")
    service = Service.bind(explorer, port)
    summary = {
        "address": service.address.partition("?")[0],
        "experiment": explorer.space.experiment,
        "windows": len(explorer.space),
        "labelled": state.labelled,
        "labels": len(state.standing),
    }
    say(
        f"{summary['experiment']}: {summary['windows']:,} windows, {summary['labelled']:,} of them "
        f"labelled by {summary['labels']} regions"
    )
    if check:
        _check(service, explorer)
        say(f"checked: {summary['address']} serves its page and {summary['windows']:,} points")
        return summary
    say(f"the explorer: {service.address}   (Ctrl-C ends it; labels are saved at once)")
    if browser:
        threading.Thread(target=_open_browser, args=(service,), daemon=True).start()
    service.run()
    return summary


def _open_browser(service: Service) -> None:
    if service.ready.wait(START_SECONDS) and not webbrowser.open(service.address):
        say("no browser could be opened: copy the address into one")


def _check(service: Service, explorer: Explorer) -> None:
    """Fetch what a browser would, over HTTP, from the running server."""
    base, _, token = service.address.partition("?")
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    try:
        if not service.ready.wait(START_SECONDS):
            raise DawnChorusError("the server did not start", base)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
        )

        def fetch(address: str) -> bytes:
            with opener.open(address, timeout=START_SECONDS) as answer:
                return answer.read()

        page = fetch(service.address)
        described = json.loads(fetch(f"{base}api/space?{token}"))
        points = fetch(f"{base}api/points/0?{token}")
        if b"<canvas" not in page or described["windows"] != len(explorer.space):
            raise DawnChorusError("serves another page than its own", base)
        levels = Levels(explorer.space)
        if points != levels.columns(levels.rows(0)):
            raise DawnChorusError("serves other points than those of the map", base)
    except OSError as error:
        raise DawnChorusError(f"does not answer ({error})", base) from None
    finally:
        service.server.should_exit = True
        thread.join(START_SECONDS)
