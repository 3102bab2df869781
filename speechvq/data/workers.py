"""Work shared out to processes of one thread each."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import TypeVar

import torch

J = TypeVar("J")
R = TypeVar("R")


def share(work: Callable[[J], R], jobs: Sequence[J], workers: int, needed: Sequence[str] = ()) -> Iterator[R]:
    """What `work` makes of each job, in their order, by so many processes of one thread each.

    They are forked from a process that has done nothing but import (`needed`, too): torch's threads do not survive a
    fork, and torch imported by each would take a third of a gigabyte from each.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([work.__module__, *needed])
    with ProcessPoolExecutor(workers, context, initializer=_begin_worker) as pool:
        yield from pool.map(work, jobs, chunksize=max(1, min(32, len(jobs) // (4 * workers))))


def _begin_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets the file in hand be finished
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a killed parent would leave its processes waiting for ever
