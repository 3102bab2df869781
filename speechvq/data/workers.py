"""Work shared among processes of one thread each."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_all_start_methods, get_context, parent_process
from typing import Any, TypeVar

import torch

from speechvq import SpeechVQError

Job = TypeVar("Job")
Result = TypeVar("Result")


def in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, needed: Sequence[str] = ()
) -> Iterator[Result]:
    """`work(job)` of each job, in the order of the jobs, by a number of processes of one thread each.

    The processes are forked from one that has done nothing but import: torch's threads do not survive a fork, and
    each process that imported torch by itself would take a third of a gigabyte, as it does where there is no fork
    (Windows), or libraries of the system do not survive it (macOS). One worker works in this process.

    needed: modules that `work` imports late, to be imported once for all processes
    Raises SpeechVQError if one of the processes is killed.
    """
    if workers <= 1 or len(jobs) < 2:
        yield from map(work, jobs)
        return
    has_fork = "forkserver" in get_all_start_methods() and sys.platform != "darwin"
    context: Any = get_context("forkserver" if has_fork else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([work.__module__, *needed])
    with ProcessPoolExecutor(workers, context, initializer=_begin_worker) as pool:
        killed = SpeechVQError("a worker process was killed, perhaps for want of memory (--workers)")
        try:
            results = pool.map(work, jobs, chunksize=max(1, min(32, len(jobs) // (4 * workers))))
        except (BrokenProcessPool, EOFError, ConnectionError):  # the last two: the process that they are forked from
            raise killed from None
        try:
            yield from results
        except BrokenProcessPool:
            raise killed from None


def _begin_worker() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which lets the file in hand be finished
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a killed parent would leave its processes waiting for ever
