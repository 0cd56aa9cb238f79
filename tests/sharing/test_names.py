"""Names that every file system takes, and that stay apart."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from dawnchorus.sharing.names import Apart, beside, folder, word

texts = st.text(max_size=120) | st.sampled_from(
    [
        "..",
        ".",
        "",
        "a/b",
        "x" * 300,
        "é" * 200,
        "caf\udce9",
        "con:",
        "tab\there",
        "\U0001f426" * 90,
    ]
)


@given(texts)
def test_words_and_folders_are_names(text: str) -> None:
    for name in (word(text), folder(text)):
        assert name and name not in (".", "..")
        assert not set(name) & set('/\\:*?"<>|\t\n\r\0')
        assert len(os.fsencode(name)) <= 200
        assert not name.startswith(".") and not name.endswith((".", " "))
        name.encode()


@given(
    texts.filter(
        lambda text: text and "/" not in text and text not in (".", "..") and "\0" not in text
    )
)
def test_a_file_beside_a_recording_can_be_written(text: str) -> None:
    name = beside(f"REC01/{text}", ".BirdNET.selection.table.txt")
    assert name.startswith("REC01/") and name.endswith(".BirdNET.selection.table.txt")
    assert len(os.fsencode(name.split("/")[1])) <= 255 - len("..partial")


def test_long_names_that_differ_at_their_end_stay_apart() -> None:
    one, other = (beside(f"R/{'x' * 250}{mark}.wav", ".labels.txt") for mark in "ab")
    assert one != other
    assert beside("R/a [-27.38 152.87].wav", ".labels.txt") == "R/a [-27.38 152.87].wav.labels.txt"


def test_names_that_would_be_the_same_are_numbered() -> None:
    names = Apart()
    wanted = ["rain", "Rain", "rain/", "wren", "RAIN"]
    given_ = [names.name(text, folder(text)) for text in wanted]
    assert given_ == ["rain", "Rain-2", "rain_", "wren", "RAIN-3"]
    assert names.name("Rain", "anything") == "Rain-2"


def test_species_folders_are_birdnets_labels() -> None:
    assert folder("Troglodytes aedon_House Wren") == "Troglodytes aedon_House Wren"
    assert folder("Corvus corax_Raven: call/alarm?") == "Corvus corax_Raven_ call_alarm_"
