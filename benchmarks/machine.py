"""What this processor can do at most: multiply-adds a second, and bytes read a second."""

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


def seconds(work: Callable[[], Any], rounds: int = 7) -> float:
    """The median time of a call, after one to warm up."""
    work()
    return statistics.median(_time(work) for _ in range(rounds))


def fma_peak() -> float:
    """Floating-point operations a second of one core: chains of fused multiply-adds that never leave the registers."""
    room, turns = np.full(CHAINS * LANES, 0.5, np.float32), 5_000_000
    return 2 * LANES * CHAINS * turns / seconds(lambda: _run_chains(turns, room))


def read_bandwidth(size: int) -> float:
    """Bytes a second that one core reads over and over from an array of `size` bytes."""
    array = np.zeros(size // 4, np.float32)
    turns = max(100_000_000 // size, 1)
    return array.nbytes * turns / seconds(lambda: _read(array, turns))


def sgemm_peak(rows: int, inner: int, columns: int) -> float:
    """Operations a second of torch's float32 matrix product, with as many threads as torch has."""
    a, b = torch.randn(rows, inner), torch.randn(inner, columns)
    out = torch.empty(rows, columns)
    return 2 * rows * inner * columns / seconds(lambda: torch.mm(a, b, out=out))


def _time(work: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


@njit(fastmath=True, nogil=True)
def _read(array: Any, turns: int) -> float:
    total = np.float32(0)
    for _ in range(turns):
        for i in range(len(array)):
            total += array[i]
        array[0] = total  # or one turn would do for all
    return total


def _chains(_: Any, turns: Any, room: Any) -> Any:
    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), LANES)
        data = target.make_array(signature.args[1])(target, builder, arguments[1]).data
        places = [ir.Constant(ir.IntType(64), LANES * i) for i in range(CHAINS)]
        pointers = [builder.bitcast(builder.gep(data, [place]), vector.as_pointer()) for place in places]
        sums = [cgutils.alloca_once_value(builder, builder.load(pointer, align=4)) for pointer in pointers]
        factor = builder.load(pointers[0], align=4)
        with cgutils.for_range(builder, arguments[0]):
            for total in sums:
                product = builder.fmul(builder.load(total), factor, flags=["contract"])
                builder.store(builder.fadd(product, factor, flags=["contract"]), total)
        for total, pointer in zip(sums, pointers, strict=True):
            builder.store(builder.load(total), pointer, align=4)
        return target.get_dummy_value()

    return types.void(turns, room), generate


_emit_chains: Any = intrinsic(_chains)


@njit(nogil=True)
def _run_chains(turns: int, room: Any) -> None:
    _emit_chains(turns, room)
