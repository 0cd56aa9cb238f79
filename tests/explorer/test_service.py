"""The running server and its command: what a person starts, and what a kill leaves."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dawnchorus.cli import app as commands
from dawnchorus.errors import DawnChorusError
from dawnchorus.explorer.explore import Service, explore
from dawnchorus.explorer.regions import PolygonRegion

from .conftest import EXPERIMENT, Season

POLYGON = {"kind": "polygon", "points": [[1.5, -0.5], [4.5, -0.5], [4.5, 1.5], [1.5, 1.5]]}
"""Six windows."""


def test_real_server_listens_on_this_machine_only(service: Service) -> None:
    host, port = service.listener.getsockname()
    assert host == "127.0.0.1"
    base, _, token = service.address.partition("?token=")
    assert len(token) >= 43
    assert base == f"http://127.0.0.1:{port}/"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{base}api/space?token={token}") as answer:
        assert json.load(answer)["windows"] == 30
        assert "Server" not in answer.headers
    with pytest.raises(urllib.error.HTTPError, match="403"):
        opener.open(f"{base}api/space")


def test_port_that_is_taken_is_one_line(season: Season, service: Service) -> None:
    port = service.listener.getsockname()[1]
    with pytest.raises(DawnChorusError, match=f"--port {port}"):
        Service.bind(season.open(), port)


def test_check(season: Season, capsys: pytest.CaptureFixture[str]) -> None:
    season.open().book.label(PolygonRegion.model_validate(POLYGON), "wren", "ada")
    with season.journal.open("ab") as handle:
        handle.write(b'{"op": "label", "id"')
    summary = explore(season.results.root, experiment=None, cards=season.cards, check=True)
    assert (summary["windows"], summary["labelled"], summary["labels"]) == (30, 6, 1)
    said = capsys.readouterr().err
    assert "30 windows, 6 of them labelled by 1 region" in said
    assert "the last line is torn (20 bytes)" in said
    assert "token" not in said
    # Nothing listens any more.
    port = int(summary["address"].rstrip("/").rpartition(":")[2])
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_command(season: Season) -> None:
    given = ["--set", f"audio.root={season.cards}", "--check"]
    result = CliRunner().invoke(commands, ["explore", str(season.results.root), *given])
    assert result.exit_code == 0, result.output
    assert "30 points" in result.stderr


def test_server_killed_right_after_a_label(season: Season) -> None:
    command = [sys.executable, "-m", "dawnchorus", "explore", str(season.results.root)]
    given = ["--set", f"audio.root={season.cards}", "--no-browser"]
    process = subprocess.Popen([*command, *given], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        address = next(
            found[0] for line in process.stderr if (found := re.search(r"http://\S+", line))
        )
        base, _, query = address.partition("?")
        request = urllib.request.Request(  # noqa: S310 - http, from our own server
            f"{base}api/labels?{query}",
            json.dumps({"region": POLYGON, "label": "wren"}).encode(),
            {"Content-Type": "application/json"},
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for attempt in range(100):
            try:
                answer = opener.open(request)
                break
            except urllib.error.URLError:  # the address is said before the server listens
                assert attempt < 99
                time.sleep(0.1)
        assert answer.status == 201
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert season.open().book.state().labelled == 6


@pytest.mark.parametrize(
    ("experiment", "message"), [("other", "no map of 'other'"), (None, "choose one")]
)
def test_which_experiment(season: Season, experiment: str | None, message: str) -> None:
    if experiment is None:
        shutil.copytree(season.results.root / EXPERIMENT, season.results.root / "second")
    with pytest.raises(DawnChorusError, match=message):
        explore(season.results.root, experiment=experiment, cards=season.cards, check=True)


def test_no_results_at_all(tmp_path: Path) -> None:
    with pytest.raises(DawnChorusError, match="no such folder"):
        explore(tmp_path / "none", experiment=None, cards=tmp_path, check=True)
    with pytest.raises(DawnChorusError, match="no map"):
        explore(tmp_path, experiment=None, cards=tmp_path, check=True)
