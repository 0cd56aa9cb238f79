"""A job that does nothing still leaves every output of its rule, and a receipt where it is one."""

from __future__ import annotations

import json
import subprocess

from dawnchorus.stub_run import command, stub_receipt


def test_a_stub_writes_all_outputs_and_logs_with_builtins_alone(tmp_path):
    receipt, table = tmp_path / "it's a day.json", tmp_path / "a table.parquet"
    log = tmp_path / "day.log"
    text = command([receipt, table], [log], {"verdict": "set aside", "reason": "{it's} 100%\\n"})
    # Without a PATH nothing but builtins runs.
    subprocess.run(["/bin/bash", "-euc", text], check=True, env={"PATH": ""})
    assert json.loads(receipt.read_text()) == {
        "verdict": "set aside", "reason": "{it's} 100%\\n",
    }  # fmt: skip
    assert table.read_bytes() == log.read_bytes() == b""


def test_the_training_sets_stub_freezes_the_pool():
    params = {"settings": '{"training_set":{"edition":3}}', "days": "R/1/2021-05-24,S/2021-05-25"}
    receipt = stub_receipt("sample", params)
    assert receipt["edition"] == 3
    assert receipt["pool"] == [["R/1", "2021-05-24"], ["S", "2021-05-25"]]
    assert stub_receipt("embed_day", {}) == {"verdict": "set aside", "reason": "stub run"}
