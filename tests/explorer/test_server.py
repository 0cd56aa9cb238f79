"""The application over HTTP: who is refused, and that values come through."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from starlette.testclient import TestClient

from dawnchorus.attention.one_window import looker_of
from dawnchorus.explorer.requests import MAX_BODY
from dawnchorus.explorer.server import create_app
from dawnchorus.learning.training_set import load_codes
from dawnchorus.results import read_receipt, write_receipt

from .conftest import DATE, EXPERIMENT, RECORDINGS, Season, row

TOKEN = "correct-horse"  # noqa: S105
HOST = "http://127.0.0.1:8123"
POLYGON = {"kind": "polygon", "points": [[1.5, -0.5], [4.5, -0.5], [4.5, 1.5], [1.5, 1.5]]}
PATHS = [
    "/",
    "/static/explorer.js",
    "/api/space",
    "/api/points/0",
    "/api/labels",
    "/api/labels/codes",
    "/api/windows/0",
    "/api/windows/0/spectrogram.png",
    "/api/windows/0/audio.wav",
]


def client_of(season: Season, **given: object) -> TestClient:
    application = create_app(season.open(), TOKEN, "dawnchorus_8123")
    return TestClient(application, base_url=HOST, follow_redirects=False, **given)  # type: ignore[arg-type]


@pytest.fixture
def client(season: Season) -> TestClient:
    opened = client_of(season)
    answer = opened.get("/", params={"token": TOKEN})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    return opened


@pytest.mark.parametrize("path", PATHS)
def test_token_is_needed(season: Season, path: str) -> None:
    stranger = client_of(season)
    assert stranger.get(path).status_code == 403
    for wrong in ("", "wrong", TOKEN[:-1], TOKEN + "x", "é", "%ff"):
        assert stranger.get(f"{path}?token={wrong}").status_code == 403
    assert stranger.get(path, cookies={"dawnchorus_8123": "wrong"}).status_code == 403
    assert stranger.get(path, cookies={"dawnchorus_9999": TOKEN}).status_code == 403
    assert stranger.get(path, params={"token": TOKEN}).status_code in (200, 303)


def test_token_becomes_a_cookie_that_scripts_cannot_read(season: Season) -> None:
    answer = client_of(season).get("/", params={"token": TOKEN})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example:8123", "127.0.0.2", "0.0.0.0", ""],  # noqa: S104
)
def test_foreign_host_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/api/points/0", headers={"Host": host}, params={"token": TOKEN})
    assert answer.status_code == 403
    assert len(answer.content) < 200


def test_a_tunnel_to_another_local_port_works(client: TestClient) -> None:
    for host in ("localhost:9000", "127.0.0.1:9000", "[::1]:9000"):
        answer = client.get("/api/space", headers={"Host": host}, params={"token": TOKEN})
        assert answer.status_code == 200


def test_foreign_origin_is_refused(client: TestClient, season: Season) -> None:
    body = {"region": POLYGON, "label": "wren"}
    for origin in ("http://evil.example", "https://127.0.0.1:8123", "http://127.0.0.1:1", "null"):
        assert client.post("/api/labels", json=body, headers={"Origin": origin}).status_code == 403
    assert not season.journal.exists()
    assert client.post("/api/labels", json=body, headers={"Origin": HOST}).status_code == 201


def test_every_answer_keeps_the_page_to_itself(client: TestClient) -> None:
    for path in [*PATHS, "/nothing"]:
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/api/windows/30",
        "/api/windows/-1",
        "/api/windows/1e3",
        "/api/windows/٣",
        "/api/windows/" + "9" * 5000,
        "/api/windows/..%2f..%2fetc%2fpasswd/audio.wav",
        "/api/windows/REC01%2FData%2Fx.wav/audio.wav",
        "/api/windows/%00/audio.wav",
        "/static/../server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e%2fserver.py",
        "/static/__init__.py",
        "/etc/passwd",
        "//etc/passwd",
    ],
)
def test_path_tricks_are_refused(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404
    assert b"import" not in answer.content
    assert b"root:" not in answer.content


def test_only_recordings_of_the_inventory_are_opened(
    season: Season, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = pl.read_parquet(season.results.recordings)
    known.filter(pl.col("recording") != RECORDINGS[0][0]).write_parquet(season.results.recordings)
    opened = client_of(season)
    monkeypatch.setattr(
        "dawnchorus.explorer.routes_clips.cut", lambda *_: pytest.fail("it was opened")
    )
    answer = opened.get(f"/api/windows/{row(0, 1)}/audio.wav", params={"token": TOKEN})
    assert answer.status_code == 404
    assert "inventory" in answer.json()["error"]


def test_points(client: TestClient) -> None:
    space = client.get("/api/space").json()
    assert (space["windows"], space["clusters"], space["experiment"]) == (30, 3, EXPERIMENT)
    content, found, at = client.get("/api/points/0").content, {}, 0
    for column in space["columns"]:
        found[column["name"]] = np.frombuffer(content, column["dtype"], 30, at)
        at += found[column["name"]].nbytes
    assert at == len(content)
    np.testing.assert_array_equal(np.sort(found["row"]), np.arange(30))
    np.testing.assert_array_equal(found["x"], found["row"] % 10)
    np.testing.assert_array_equal(found["y"], found["row"] // 10)
    np.testing.assert_array_equal(found["cluster"], found["row"] % 10 % 3)
    assert client.get("/api/points/1").status_code == 404
    assert client.get("/api/points/0?cells=1024").status_code == 422
    # Each cell holds what it is said to: window (k, r) lies in one of its own.
    filled = [cell for cell, n in enumerate(space["levels"][0]) if n]
    assert len(filled) == 30
    one = client.get(f"/api/points/0?cells={filled[-1]}").content
    assert len(one) == len(content) // 30
    assert np.frombuffer(one, "<u4", 1)[0] == row(2, 9)


def test_counts_are_those_of_the_windows_that_meet_the_condition(client: TestClient) -> None:
    def counted(by: str, **where: object) -> dict[str, object]:
        return client.post("/api/counts", json={"by": by, "where": where or None}).json()

    assert counted("cluster") == {"shown": 30, "counts": [12, 9, 9], "none": 0}
    assert counted("species") == {"shown": 30, "counts": [2], "none": 28}
    # The first recorder's windows of the fifth hour, by cluster: 5 of the first recording.
    hour = counted("cluster", recorders=["REC01"], hours=[5, 5])
    assert hour == {"shown": 5, "counts": [2, 1, 2], "none": 0}
    assert counted("hour", habitats=["marsh"])["shown"] == 10
    assert counted("hour", confidence=[0.8, 1])["shown"] == 1
    client.post("/api/labels", json={"region": POLYGON, "label": "wren"})
    assert counted("label") == {"shown": 30, "counts": [24, 6], "none": 0}
    assert counted("cluster", unlabelled=True)["shown"] == 24
    assert counted("label", labels=["wren"]) == {"shown": 6, "counts": [0, 6], "none": 0}
    assert counted("cluster", labels=[None])["shown"] == 24


def test_what_came_since_the_map_was_read(season: Season) -> None:
    path = season.results.experiment(EXPERIMENT).map_receipt
    receipt = read_receipt(path)
    opened = client_of(season)
    opened.get("/", params={"token": TOKEN})
    assert opened.get("/api/news").json() == {"recorder_days": 0, "refitted": False}
    receipt["days"]["REC01/2021-05-25"] = {"windows": 7, "embeddings": "e"}
    receipt["days"]["REC02/2021-05-25"] = {"windows": 0, "embeddings": None}
    write_receipt(path, receipt)
    assert opened.get("/api/news").json() == {"recorder_days": 1, "refitted": False}
    write_receipt(path, {**receipt, "projection": "another"})
    assert opened.get("/api/news").json() == {"recorder_days": 1, "refitted": True}
    path.unlink()  # as while it is made anew
    assert opened.get("/api/news").json() == {"recorder_days": 0, "refitted": False}


def test_attention_of_a_window(season: Season) -> None:
    opened = client_of(season)
    opened.get("/", params={"token": TOKEN})
    seen = opened.get(f"/api/windows/{row(2, 6)}/attention").json()
    heads = [map_ for map_ in seen["maps"] if map_["name"].startswith("head ")]
    looker = looker_of(season.settings, season.results, EXPERIMENT, "cpu")
    numbers = range(1, looker.metadata.heads + 1)
    assert [map_["name"] for map_ in heads] == [f"head {number}" for number in numbers]
    window = pl.DataFrame(
        {
            "recorder": ["REC02"],
            "date": [DATE],
            "recording": [RECORDINGS[2][0]],
            "offset": [6 * 3 * 48_000],
        }
    )
    look = looker.look(load_codes(season.results, window))
    for map_, expected in zip(heads, look.heads[0], strict=True):
        np.testing.assert_allclose(map_["values"], expected / expected.max(), atol=6e-4)
    assert {map_["name"] for map_ in seen["maps"]} >= set(look.maps) | {seen["source"]}
    season.results.experiment(EXPERIMENT).model.unlink()
    other = client_of(season)
    answer = other.get(f"/api/windows/0/attention?token={TOKEN}")
    assert answer.status_code == 404
    assert "model.safetensors" in answer.json()["error"]


def test_axes(client: TestClient) -> None:
    space = client.get("/api/space").json()
    assert len(space["band_frequency"]) == 128
    assert len(space["frame_time"]) == 256


def test_sound_and_picture_of_a_window(client: TestClient, season: Season) -> None:
    answer = client.get(f"/api/windows/{row(2, 3)}/audio.wav")
    samples, rate = soundfile.read(io.BytesIO(answer.content), dtype="int16")
    assert rate == 48_000
    np.testing.assert_array_equal(samples, season.sounds[2][8 * 48_000 : 13 * 48_000])
    assert float(answer.headers["x-lead-seconds"]) == 1.0
    bare = client.get(f"/api/windows/{row(2, 3)}/audio.wav", params={"context": "0"})
    samples, _ = soundfile.read(io.BytesIO(bare.content), dtype="int16")
    np.testing.assert_array_equal(samples, season.sounds[2][9 * 48_000 : 12 * 48_000])
    picture = client.get(f"/api/windows/{row(2, 3)}/spectrogram.png")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")
    for wrong in ("-1", "nan", "1e9", "x", "100"):
        answer = client.get(f"/api/windows/0/audio.wav?context={wrong}")
        assert answer.status_code == 422


def test_missing_cards_say_where_they_were_looked_for(season: Season, tmp_path: Path) -> None:
    away = Season(tmp_path / "elsewhere", season.settings, season.results, season.sounds)
    opened = client_of(away)
    answer = opened.get("/api/windows/0/audio.wav", params={"token": TOKEN})
    assert answer.status_code == 404
    assert str(tmp_path / "elsewhere" / "cards" / RECORDINGS[0][0]) in answer.json()["error"]
    assert opened.get("/api/points/0", params={"token": TOKEN}).status_code == 200


def codes(client: TestClient) -> list[int]:
    return np.frombuffer(client.get("/api/labels/codes").content, "<u2").tolist()


def test_label_undo_redo(client: TestClient, season: Season) -> None:
    assert client.post("/api/members", json={"region": POLYGON}).json() == {
        "members": 6,
        "rows": [2, 3, 4, 12, 13, 14],
    }
    made = client.post(
        "/api/labels", json={"region": POLYGON, "label": " House  Wren", "who": "ada"}
    )
    assert (made.status_code, made.json()) == (
        201,
        {"id": 1, "members": 6, "label": "House Wren", "heard": 0},
    )
    held = [int(at in (2, 3, 4, 12, 13, 14)) for at in range(30)]
    assert codes(client) == held
    said = client.get("/api/labels").json()
    assert (said["names"], said["labelled"]) == (["House Wren"], 6)
    assert said["standing"][0]["who"] == "ada"
    assert said["standing"][0]["holds"] == 6
    assert client.get("/api/windows/13").json()["label"] == "House Wren"
    assert client.post("/api/undo", json={"of": 1}).status_code == 200
    assert codes(client) == [0] * 30
    assert client.get("/api/labels").json()["redo"] == 1
    assert client.post("/api/undo", json={"of": 1}).status_code == 409
    assert client.post("/api/redo", json={"of": 1}).status_code == 200
    assert codes(client) == held
    assert client.post("/api/redo", json={"of": 1}).status_code == 409
    # A server that is started again knows it all.
    again = client_of(season)
    again.get("/", params={"token": TOKEN})
    assert codes(again) == held
    lines = season.journal.read_text().splitlines()
    assert [json.loads(line)["op"] for line in lines] == ["label", "undo", "redo"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/labels", {}),
        ("/api/labels", {"region": POLYGON}),
        ("/api/labels", {"region": POLYGON, "label": " "}),
        ("/api/labels", {"region": POLYGON, "label": "x" * 300}),
        ("/api/labels", {"region": POLYGON, "label": "x", "who": ""}),
        ("/api/labels", {"region": POLYGON, "label": "x", "path": "/etc/passwd"}),
        ("/api/labels", {"region": {"kind": "polygon", "points": [[0, 0], [1, 1]]}, "label": "x"}),
        ("/api/labels", {"region": {"kind": "polygon", "points": [[0, 0]] * 20_000}, "label": "x"}),
        ("/api/labels", {"region": {"kind": "cluster", "cluster": -1}, "label": "x"}),
        ("/api/labels", {"region": {"kind": "cluster", "cluster": 2**70}, "label": "x"}),
        ("/api/labels", {"region": {"kind": "cluster", "cluster": 9}, "label": "x"}),
        ("/api/labels", {"region": {"kind": "circle"}, "label": "x"}),
        ("/api/members", {"region": [1, 2]}),
        ("/api/undo", {"of": 0}),
        ("/api/undo", {"of": "x"}),
        ("/api/redo", []),
    ],
)
def test_wrong_bodies(client: TestClient, season: Season, path: str, body: object) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert not season.journal.exists()


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "application/json", 422),
        (b"{", "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b'{"of": 1, "who": "\\ud800"}', "application/json", 422),
        (b'{"of": NaN}', "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * (MAX_BODY + 1), "application/json", 413),
    ],
)
def test_bodies_that_are_no_json(
    client: TestClient, content: bytes, kind: str, status: int
) -> None:
    answer = client.post("/api/undo", content=content, headers={"Content-Type": kind})
    assert answer.status_code == status


def test_a_journal_that_cannot_be_written_is_said(client: TestClient, season: Season) -> None:
    season.journal.parent.write_text("a file where the folder should be")
    answer = client.post("/api/labels", json={"region": POLYGON, "label": "wren"})
    assert answer.status_code == 507
    assert "journal.jsonl: cannot be read" in answer.json()["error"]
    answer = client.get("/api/labels")
    assert answer.status_code == 404
    assert "cannot be read" in answer.json()["error"]


def test_two_clients_label_at_once(client: TestClient, season: Season) -> None:
    regions = [{"kind": "cluster", "cluster": number % 3} for number in range(24)]

    def work(part: int) -> None:
        for number, region in enumerate(regions[part::4]):
            body = {"region": region, "label": f"{part}-{number}"}
            assert client.post("/api/labels", json=body).status_code == 201

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = [json.loads(line) for line in season.journal.read_text().splitlines()]
    assert [entry["id"] for entry in entries] == list(range(1, 25))
    assert len({entry["label"] for entry in entries}) == 24
