"""The limits of this processor: multiply-adds per second, and bytes read per second. Used by the other benchmarks."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

CHAINS, LANES = 12, 16  # independent sums, enough to hide the latency of a multiply-add


def seconds(work: Callable[[], Any], rounds: int = 7, clock: Callable[[], float] = time.perf_counter) -> float:
    """The median duration of a call in seconds of a clock, after one call to warm up."""
    work()
    return statistics.median(_time(work, clock) for _ in range(rounds))


def fma_peak(clock: Callable[[], float] = time.perf_counter) -> float:
    """Floating-point operations per second of one core, by chains of fused multiply-adds in registers."""
    array, turns = np.full(CHAINS * LANES, 0.5, np.float32), 5_000_000
    return 2 * LANES * CHAINS * turns / seconds(lambda: _run_chains(turns, array), clock=clock)


def read_bandwidth(size: int) -> float:
    """Bytes per second that one core reads from an array of `size` bytes, over and over."""
    array = np.zeros(size // 4, np.float32)
    turns = max(100_000_000 // size, 1)
    return array.nbytes * turns / seconds(lambda: _read(array, turns))


def sgemm_peak(rows: int, inner: int, columns: int) -> float:
    """Floating-point operations per second of torch's float32 matrix product, with all threads of torch."""
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    out = torch.empty(rows, columns)
    return 2 * rows * inner * columns / seconds(lambda: torch.mm(a, b, out=out))


def _time(work: Callable[[], Any], clock: Callable[[], float]) -> float:
    """The duration of a call in seconds of a clock."""
    begun = clock()
    work()
    return clock() - begun


@njit(fastmath=True, nogil=True)
def _read(array: Any, turns: int) -> Any:
    total = np.float32(0)
    for _ in range(turns):
        for i in range(len(array)):
            total += array[i]
        array[0] = total  # so that the compiler cannot merge the turns
    return total


def _chains(_: Any, turns: Any, array: Any) -> Any:
    """Emit LLVM code for `turns` multiply-adds in each of CHAINS vectors of LANES floats, read from `array`."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), LANES)
        data = target.make_array(signature.args[1])(target, builder, arguments[1]).data
        offsets = [ir.Constant(ir.IntType(64), LANES * i) for i in range(CHAINS)]
        pointers = [builder.bitcast(builder.gep(data, [offset]), vector.as_pointer()) for offset in offsets]
        sums = [cgutils.alloca_once_value(builder, builder.load(pointer, align=4)) for pointer in pointers]
        factor = builder.load(pointers[0], align=4)
        with cgutils.for_range(builder, arguments[0]):
            for total in sums:
                product = builder.fmul(builder.load(total), factor, flags=["contract"])
                builder.store(builder.fadd(product, factor, flags=["contract"]), total)
        for total, pointer in zip(sums, pointers, strict=True):
            builder.store(builder.load(total), pointer, align=4)
        return target.get_dummy_value()

    return types.void(turns, array), generate


_emit_chains: Any = intrinsic(_chains)


@njit(nogil=True)
def _run_chains(turns: int, array: Any) -> None:
    _emit_chains(turns, array)
