"""Training in several processes with the result of training in one: each has its own rows of the same batch.

Row i of process r is row i * processes + r of the batch that one process would have (`train/batches.py`). Without
distributed training these functions change nothing.
"""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from speechvq.progress import progress

T = TypeVar("T")
R = TypeVar("R")


def rank_and_count() -> tuple[int, int]:
    """The number of this process, and of all processes."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def over_all(tensor: Tensor) -> Tensor:
    """The sum over all processes; changes the tensor."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def from_first(tensor: Tensor) -> Tensor:
    """The tensor of the first process, in every process; changes the tensor."""
    if dist.is_initialized():
        dist.broadcast(tensor, 0)
    return tensor


def object_from_first(value: T) -> T:
    """The value of the first process, in every process."""
    if dist.is_initialized():
        values = [value]
        dist.broadcast_object_list(values, 0)
        value = values[0]
    return value


def all_rows(rows: Tensor) -> Tensor:
    """The rows (B, ...) of all processes in the order of one process's batch; no gradient."""
    if not dist.is_initialized():
        return rows
    parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.stack(parts, 1).flatten(0, 1)


def drawn_rows(draw: Callable[..., Tensor], shape: Sequence[int], device: torch.device) -> Tensor:
    """Random numbers for the rows of this process, the same that one process would draw for them.

    draw: such as `torch.rand`.
    shape: (B, ...), B rows of this process.
    """
    rank, count = rank_and_count()
    return draw(shape[0] * count, *shape[1:], device=device)[rank::count]


def share_out(items: Sequence[T], work: Callable[[T], R], *, unit: str) -> list[R]:
    """Apply `work` to every item, each process to its part of them -> all results, in every process."""
    rank, count = rank_and_count()
    own = [work(item) for item in progress(items[rank::count], unit=unit, show=rank == 0)]
    if count == 1:
        return own
    parts: list[list[R]] = [[]] * count
    dist.all_gather_object(parts, own)
    return [parts[i % count][i // count] for i in range(len(items))]


def leave() -> None:
    """Wait for all processes, at the end. One that ends while gloo's threads still run is aborted (torch 2.11)."""
    if dist.is_initialized():
        dist.barrier()
        time.sleep(0.5)


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over the batch of all processes, on any device (torch's SyncBatchNorm needs GPUs).

    x (B, C, N) -> (B, C, N).
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        from torch.distributed.nn.functional import all_reduce  # with a gradient

        values = x.float()
        total = values[:, 0].numel() * dist.get_world_size()
        mean = all_reduce(values.sum((0, 2))) / total
        centred = values - mean[:, None]
        variance = all_reduce(centred.square().sum((0, 2))) / total
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.num_batches_tracked is not None
            assert self.momentum is not None
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * total / (total - 1), self.momentum)
            self.num_batches_tracked += 1
        result: Tensor = centred * (variance + self.eps).rsqrt()[:, None]
        if self.affine:
            result = result * self.weight[:, None] + self.bias[:, None]
        return result.to(x.dtype)
