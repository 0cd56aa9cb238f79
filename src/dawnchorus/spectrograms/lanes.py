"""Eight float32 numbers as one value of a compiled loop.

In: rows of eight neighbouring numbers in a flat array. Out: the same, after sums, differences and
products lane by lane. Numba leaves it to LLVM whether a loop is done eight numbers at a time, and LLVM
leaves it where it cannot prove that the many rows of a butterfly lie apart; here it is said outright.

Every operation is the plain IEEE one on each lane, none is contracted, so the results are those of a
loop over the lanes on any processor. A :class:`Lanes` value lives inside one compiled function; hand
arrays, not lanes, from one to another.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, overload, register_model

LANES = 8
"""Numbers in a value: one AVX register, two of SSE or NEON."""

_built: Any = intrinsic  # what it makes of a function has a type only inside compiled ones
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


class Lanes(types.Type):
    """Numba's type of eight float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


_LANES_TYPE = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Address of eight numbers of a contiguous array, counted from its first."""
    if kind.layout != "C" or kind.dtype != types.float32:
        raise TypeError(f"needs contiguous float32, got {kind}")
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@_built
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """Return the eight numbers of a contiguous float32 array from ``index`` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _pointer(context, builder, signature.args[0], *arguments)
        return builder.load(address, align=4)

    return _LANES_TYPE(array, types.intp), generate


@_built
def store(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Write eight numbers into a contiguous float32 array from ``index`` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _pointer(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], address, align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, _LANES_TYPE), generate


@_built
def all_of(typing_context: Any, number: Any) -> Any:
    """Return a float32 number in all lanes."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        first = builder.insert_element(
            ir.Constant(_VECTOR, ir.Undefined), arguments[0], ir.Constant(ir.IntType(32), 0)
        )
        everywhere = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), everywhere)

    return _LANES_TYPE(types.float32), generate


@_built
def store_transposed(
    typing_context: Any, array: Any, starts: Any, column: Any, out: Any, index: Any
) -> Any:
    """Write eight columns of eight rows of ``array`` as eight rows.

    Parameters
    ----------
    array : float32, contiguous
    starts : tuple of eight int
        Where the rows begin.
    column : int
        First of the eight columns.
    out : float32, contiguous
    index : int
        Filled from here on, a column after the other.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, starts, column, out, index = arguments
        rows = []
        for row in range(LANES):
            begin = builder.add(builder.extract_value(starts, row), column)
            address = _pointer(context, builder, signature.args[0], source, begin)
            rows.append(builder.load(address, align=4))
        # Rows 0 and 4, 1 and 5, ... zipped three times are the columns.
        half = LANES // 2
        for _ in range(3):
            zipped = []
            for row in range(half):
                for part in range(2):
                    picks = [lane // 2 + part * half + lane % 2 * LANES for lane in range(LANES)]
                    mask = ir.Constant(ir.VectorType(ir.IntType(32), LANES), picks)
                    zipped.append(builder.shuffle_vector(rows[row], rows[row + half], mask))
            rows = zipped
        for number, row in enumerate(rows):
            at = builder.add(index, ir.Constant(index.type, number * LANES))
            builder.store(row, _pointer(context, builder, signature.args[3], out, at), align=4)
        return context.get_dummy_value()

    begins = types.UniTuple(types.intp, LANES)
    return types.void(array, begins, types.intp, out, types.intp), generate


def _lane_by_lane(instruction: str) -> Any:
    @_built
    def operation(typing_context: Any, left: Any, right: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return getattr(builder, instruction)(*arguments)

        return _LANES_TYPE(_LANES_TYPE, _LANES_TYPE), generate

    return operation


def _overload(symbol: Any, instruction: str) -> None:
    operation = _lane_by_lane(instruction)

    @overload(symbol)
    def of_lanes(left: Any, right: Any) -> Any:
        # Numba compares the signatures of both, annotations too.
        def implementation(left: Any, right: Any) -> Any:
            return operation(left, right)

        is_ours = isinstance(left, Lanes) and isinstance(right, Lanes)
        return implementation if is_ours else None


_overload(operator.add, "fadd")
_overload(operator.sub, "fsub")
_overload(operator.mul, "fmul")
