"""Vector operations for Numba: matrix products and gates, which LLVM compiles for any processor (AVX, NEON, ...).

A product with one row is limited by the reading of the weights, so these lie in the order in which they are read:
(blocks, inputs, 16), all inputs for every 16 outputs. With six rows each weight is used six times once it is read, and
arithmetic is the limit instead. Every sum goes through its inputs in the same order, whatever the number of rows: the
bits of a row do not depend on the others.
"""

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from speechvq import SpeechVQError
from speechvq.extras import let_numba_cache

LANES = 16  # floats in a vector, and outputs in a block; all widths here are multiples of it
VECTOR, WORDS = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.IntType(32), LANES)
_llvm: Callable[..., Any] = intrinsic  # its own type does not know that Numba passes the first argument
_unpack: Callable[..., Any] = cgutils.unpack_tuple
_allocate: Callable[..., Any] = cgutils.alloca_once_value
# Eigen's fast tanh: the coefficients of x^2 above and below the fraction's bar, the highest power first.
TANH_OVER = (
    *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
    *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
)
TANH_UNDER = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
STAMP = f"_{zlib.crc32(Path(__file__).read_bytes()):08x}"


def cached(function: Callable[..., Any]) -> Any:
    """Compile a function that runs without Python's lock, and keep it on disk.

    Numba compiles it anew when the function's own file changes; the name of the entry also depends on this file.
    """
    let_numba_cache()
    function.__qualname__ += STAMP
    return njit(nogil=True, cache=True)(function)


def is_cached(function: Any) -> bool:
    """Whether a `cached` function has been compiled, now or earlier, for any types.

    Raises SpeechVQError if Numba is kept from compiling.
    """
    if not hasattr(function, "signatures"):
        raise SpeechVQError("codes and samples are drawn by compiled functions, which NUMBA_DISABLE_JIT forbids")
    entries = Path(function.stats.cache_path or "").glob(f"*.{function.__qualname__}-*.nbi")
    return bool(function.signatures) or any(entries)


def _floats(*arrays: Any) -> bool:
    """Whether these are types of contiguous float32 arrays, which the code below takes for granted."""
    return all(array.dtype == types.float32 and array.layout == "C" for array in arrays)


def _tile(rows: int, blocks: int = 1, outer: bool = False) -> Any:
    """An intrinsic that adds the product of weight and x to `rows` rows of out, in `blocks` blocks of 16 columns.

    weight: (blocks, inputs, 16) float32, or (blocks, inputs / 2, 16) uint32 of `bfloat16_pairs`; if outer, (inputs,
        outputs) float32.
    x: (rows, inputs) float32; if outer, (inputs, rows).
    out: (rows, outputs) float32.
    """

    def signature(_: Any, weight: Any, block: Any, x: Any, row: Any, out: Any) -> Any:
        if not _floats(x, out) or not (weight.dtype == types.uint32 or _floats(weight)):
            return None  # Numba then raises a TypingError

        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = [target.make_array(signature.args[i])(target, builder, arguments[i]) for i in (0, 2, 4)]
            emit = _Tile(builder, *arrays, pairs=weight.dtype == types.uint32, outer=outer)
            emit(arguments[1], arguments[3], rows, blocks)
            return target.get_dummy_value()

        return types.void(weight, block, x, row, out), generate

    return _llvm(signature)


class _Tile:
    """The LLVM code of `_tile`: all sums stay in registers while one weight after another is read."""

    def __init__(self, builder: Any, weight: Any, x: Any, out: Any, *, pairs: bool, outer: bool) -> None:
        self.builder, self.weight, self.x, self.out, self.pairs = builder, weight.data, x.data, out.data, pairs
        lengths = [_unpack(builder, array.shape) for array in (weight, x, out)]
        one, lanes = (ir.Constant(lengths[0][0].type, value) for value in (1, LANES))
        # The number of inputs; the distances to the next input in weight and in x, the next block, row and row of out.
        self.inputs, self.step, self.stride = lengths[0][1], lanes, one
        self.next_block, self.next_row = builder.mul(lengths[0][1], lanes), lengths[1][1]
        if outer:
            self.inputs, self.step, self.stride = lengths[0][0], lengths[0][1], lengths[1][1]
            self.next_block, self.next_row = lanes, one
        self.next_out, self.lanes = lengths[2][1], lanes

    def __call__(self, block: Any, row: Any, rows: int, blocks: int) -> None:
        builder, spots = self.builder, [(i, j) for i in range(rows) for j in range(blocks)]
        rows_at, blocks_at = [self._plus(row, i) for i in range(rows)], [self._plus(block, j) for j in range(blocks)]
        runs = [builder.gep(self.weight, [builder.mul(index, self.next_block)]) for index in blocks_at]
        values = [builder.gep(self.x, [builder.mul(index, self.next_row)]) for index in rows_at]
        outputs = {}
        for i, j in spots:
            offset = builder.add(builder.mul(rows_at[i], self.next_out), builder.mul(blocks_at[j], self.lanes))
            outputs[i, j] = self._vector(self.out, offset)
        sums = {spot: _allocate(builder, builder.load(outputs[spot], align=4)) for spot in spots}
        with cgutils.for_range(builder, self.inputs) as loop:
            columns = [self._weights(run, builder.mul(loop.index, self.step)) for run in runs]
            for turn in range(len(columns[0])):
                index = builder.mul(loop.index, ir.Constant(loop.index.type, len(columns[0])))
                offset = builder.mul(self._plus(index, turn), self.stride)
                spread = [self._spread(builder.gep(pointer, [offset])) for pointer in values]
                for i, j in spots:
                    product = builder.fmul(spread[i], columns[j][turn], flags=["contract"])
                    builder.store(builder.fadd(builder.load(sums[i, j]), product, flags=["contract"]), sums[i, j])
        for spot in spots:
            builder.store(builder.load(sums[spot]), outputs[spot], align=4)

    def _plus(self, a: Any, b: int) -> Any:
        """a + b, of an index of the code and a Python number."""
        return self.builder.add(a, ir.Constant(a.type, b))

    def _vector(self, base: Any, offset: Any, kind: Any = VECTOR) -> Any:
        """A pointer to the vector that begins `offset` numbers after base."""
        return self.builder.bitcast(self.builder.gep(base, [offset]), kind.as_pointer())

    def _weights(self, base: Any, offset: Any) -> list[Any]:
        """The vector of weights of one input, or of the two that a word holds."""
        if not self.pairs:
            return [self.builder.load(self._vector(base, offset), align=4)]
        word = self.builder.load(self._vector(base, offset, WORDS), align=4)
        low = self.builder.shl(word, ir.Constant(WORDS, [16] * LANES))
        return [self.builder.bitcast(half, VECTOR) for half in (low, word)]

    def _spread(self, pointer: Any) -> Any:
        """A vector of 16 times the number at a pointer."""
        nothing = ir.Constant(VECTOR, ir.Undefined)
        first = self.builder.insert_element(nothing, self.builder.load(pointer), ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, nothing, ir.Constant(WORDS, None))


_one, _two, _three, _four, _five, _six = (_tile(rows) for rows in range(1, 7))
_one_by_four = _tile(1, 4)
_outer_two, _outer_six = _tile(2, outer=True), _tile(6, outer=True)


@njit
def add_product(weight: Any, x: Any, out: Any) -> None:
    """out (rows, blocks * 16) += the product of weight, as `_tile` reads it, with every row of x (rows, inputs)."""
    row, rows, blocks = 0, len(x), len(weight)
    while row < rows:
        size, block = min(rows - row, 6), 0
        while size == 1 and block + 4 <= blocks:  # four independent sums hide the latency of an addition
            _one_by_four(weight, block, x, row, out)
            block += 4
        while block < blocks:
            if size == 1:
                _one(weight, block, x, row, out)
            elif size == 2:
                _two(weight, block, x, row, out)
            elif size == 3:
                _three(weight, block, x, row, out)
            elif size == 4:
                _four(weight, block, x, row, out)
            elif size == 5:
                _five(weight, block, x, row, out)
            else:
                _six(weight, block, x, row, out)
            block += 1
        row += size


@njit
def add_outer(x: Any, y: Any, out: Any) -> None:
    """out (M, N) += x.T @ y, for x (rows, M) and y (rows, N); M even."""
    row = 0
    while row < len(out):
        size = 6 if row + 6 <= len(out) else 2
        for block in range(out.shape[1] // LANES):
            if size == 6:
                _outer_six(y, block, x, row, out)
            else:
                _outer_two(y, block, x, row, out)
        row += size


@_llvm
def _gate_block(_: Any, h: Any, row: Any, column: Any, gated: Any) -> Any:
    """`gate` for the 16 columns of a row from `column` on."""
    if not _floats(h, gated):
        return None

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = _pointers(target, builder, signature, arguments)
        half, a, b = ir.Constant(VECTOR, [0.5] * LANES), at(0), at(0, half=1)
        tanh = _emit_tanh(builder, builder.load(a, align=4))
        slope = _emit_tanh(builder, builder.fmul(half, builder.load(b, align=4)))
        sigmoid = builder.fadd(half, builder.fmul(half, slope))
        for value, pointer in ((tanh, a), (sigmoid, b), (builder.fmul(tanh, sigmoid), at(3))):
            builder.store(value, pointer, align=4)
        return target.get_dummy_value()

    return types.void(h, row, column, gated), generate


@_llvm
def _gate_back_block(_: Any, h: Any, row: Any, column: Any, d: Any, d_h: Any) -> Any:
    """`gate_back` for the 16 columns of a row from `column` on."""
    if not _floats(h, d, d_h):
        return None

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = _pointers(target, builder, signature, arguments)
        a, b, d = (builder.load(pointer, align=4) for pointer in (at(0), at(0, half=1), at(3)))
        one, gated = ir.Constant(VECTOR, [1.0] * LANES), builder.fmul(a, b)
        d_a = builder.fmul(builder.fmul(d, b), builder.fsub(one, builder.fmul(a, a)))
        d_b = builder.fmul(builder.fmul(d, gated), builder.fsub(one, b))
        for value, pointer in ((d_a, at(4)), (d_b, at(4, half=1)), (gated, at(3))):
            builder.store(value, pointer, align=4)
        return target.get_dummy_value()

    return types.void(h, row, column, d, d_h), generate


def _emit_tanh(builder: Any, x: Any) -> Any:
    """The rational approximation of Eigen's fast tanh, with an error of at most 4e-7."""

    def constant(value: float) -> Any:
        return ir.Constant(VECTOR, [float(np.float32(value))] * LANES)

    def polynomial(coefficients: Sequence[float]) -> Any:
        total = constant(coefficients[0])
        for coefficient in coefficients[1:]:
            total = builder.fadd(builder.fmul(total, square), constant(coefficient), flags=["contract"])
        return total

    for sign, limit in ((">", constant(7.9)), ("<", constant(-7.9))):  # a NaN stays one
        x = builder.select(builder.fcmp_ordered(sign, x, limit), limit, x)
    square = builder.fmul(x, x)
    return builder.fdiv(builder.fmul(x, polynomial(TANH_OVER)), polynomial(TANH_UNDER))


def _move(add: bool) -> Any:
    """An intrinsic: out[into, offset : offset + 16] = or += source[row, begin : begin + 16]."""

    def signature(_: Any, source: Any, row: Any, begin: Any, out: Any, into: Any, offset: Any) -> Any:
        if not _floats(source, out):
            return None

        def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            arrays = [target.make_array(signature.args[i])(target, builder, arguments[i]) for i in (0, 3)]
            value = builder.load(_at(builder, arrays[0], arguments[1], arguments[2]), align=4)
            pointer = _at(builder, arrays[1], arguments[4], arguments[5])
            builder.store(builder.fadd(builder.load(pointer, align=4), value) if add else value, pointer, align=4)
            return target.get_dummy_value()

        return types.void(source, row, begin, out, into, offset), generate

    return _llvm(signature)


_copy_block, _add_block = _move(add=False), _move(add=True)


def _pointers(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """A function at(i, half): a pointer to 16 numbers of argument i, at the row and column that are arguments 1 and 2.

    half: 1 for half a row further on.
    """

    def at(i: int, half: int = 0) -> Any:
        array = target.make_array(signature.args[i])(target, builder, arguments[i])
        width = _unpack(builder, array.shape, 2)[1]
        further = builder.udiv(builder.mul(width, ir.Constant(width.type, half)), ir.Constant(width.type, 2))
        return _at(builder, array, arguments[1], builder.add(arguments[2], further))

    return at


def _at(builder: Any, array: Any, row: Any, column: Any) -> Any:
    """A pointer to the vector at [row, column] of a two-dimensional array."""
    width = _unpack(builder, array.shape, 2)[1]
    offset = builder.add(builder.mul(row, width), column)
    return builder.bitcast(builder.gep(array.data, [offset]), VECTOR.as_pointer())


@njit
def gate(h: Any, gated: Any) -> None:
    """h = [a, b] (rows, 2G) becomes [tanh(a), sigmoid(b)], and gated (rows, G) their product."""
    for row in range(len(h)):
        for column in range(0, gated.shape[1], LANES):
            _gate_block(h, row, column, gated)


@njit
def gate_back(h: Any, d: Any, d_h: Any) -> None:
    """The backward pass of `gate`.

    h: (rows, 2G), as `gate` left it.
    d: (rows, G), the gradient of gated; becomes gated.
    d_h: (rows, 2G), filled with the gradient of h.
    """
    for row in range(len(h)):
        for column in range(0, d.shape[1], LANES):
            _gate_back_block(h, row, column, d, d_h)


@njit
def copy(source: Any, row: int, begin: int, out: Any, into: int, offset: int, width: int) -> None:
    """out[into, offset : offset + width] = source[row, begin : begin + width]."""
    for i in range(0, width, LANES):
        _copy_block(source, row, begin + i, out, into, offset + i)


@njit
def add_row(source: Any, row: int, out: Any, into: int) -> None:
    """out[into, : width] += source[row], width that of source."""
    for i in range(0, source.shape[1], LANES):
        _add_block(source, row, i, out, into, i)


def blocks(matrix: np.ndarray) -> np.ndarray:
    """A matrix (outputs, inputs) in the order in which `add_product` reads it, (outputs / 16, inputs, 16)."""
    return np.ascontiguousarray(matrix.reshape(-1, LANES, matrix.shape[1]).swapaxes(1, 2))
