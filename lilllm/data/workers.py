"""Running tasks: in this process when there is little to do, else in several.

Workers are started fresh (`spawn`), so threads of the parent are no danger to them, and end by
themselves when the parent is gone.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilllm.data.badrows import Policy
from lilllm.data.plan import Task
from lilllm.data.tasks import Encoder, EncoderFactory, run_task
from lilllm.errors import RunError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

SMALL_BYTES = 8 << 20
"""With less text than this, starting processes takes longer than the work."""

POLL_SECONDS = 0.25


@dataclass(frozen=True)
class Job:
    """What all tasks of one preparation have in common."""

    folder: Path
    encoder: EncoderFactory
    end_id: int
    dtype: str
    policy: Policy
    seed: int


Progressed = Callable[[int, int], None]
"""Called with the characters encoded by unfinished tasks, and the bytes of finished tasks."""


def run_tasks(
    tasks: Sequence[Task], job: Job, processes: int, progressed: Progressed
) -> list[dict[str, Any]]:
    """Run tasks and return their summaries in the order of `tasks`."""
    small = sum(task.bytes for task in tasks) < SMALL_BYTES
    if processes == 1 or len(tasks) < 2 or (small and not any(t.bytes == 0 for t in tasks)):
        return _run_here(tasks, job, progressed)
    return _run_pool(tasks, job, min(processes, len(tasks)), progressed)


def _run_here(tasks: Sequence[Task], job: Job, progressed: Progressed) -> list[dict[str, Any]]:
    encoder = job.encoder()
    summaries = []
    finished = 0
    for task in tasks:
        summaries.append(_run(task, job, encoder, _Counter(progressed, finished)))
        finished += task.bytes
        progressed(0, finished)
    return summaries


class _Counter:
    """Adds up the characters of one task and passes them on with the bytes of finished ones."""

    def __init__(self, progressed: Progressed, finished: int) -> None:
        self._progressed, self._finished = progressed, finished
        self._running = 0

    def __call__(self, characters: int) -> None:
        self._running += characters
        self._progressed(self._running, self._finished)


def _run(task: Task, job: Job, encoder: Encoder, count: Callable[[int], None]) -> dict[str, Any]:
    return run_task(task, job.folder, encoder, job.end_id, job.dtype, job.policy, job.seed, count)


def _run_pool(
    tasks: Sequence[Task], job: Job, processes: int, progressed: Progressed
) -> list[dict[str, Any]]:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    try:  # both make small files in a temporary folder
        counter = context.Value("q", 0)
        pool = ProcessPoolExecutor(processes, context, _start_worker, (job, counter))
    except OSError as err:
        raise RunError(
            f"no worker process can be started ({err.strerror}), perhaps because a disk is full",
            "free some space, or work without them: data.processes=1",
        ) from err
    try:
        with _born_deaf():
            futures = {pool.submit(_work, task): task for task in tasks}
        _wait(futures, counter, progressed)
        return [future.result() for future in futures]
    except BrokenProcessPool as err:
        raise RunError(
            "a worker process ended without a word, perhaps for lack of memory",
            "run the same command again, with fewer processes: data.processes=1",
        ) from err
    finally:
        workers = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        _end(workers)


@contextlib.contextmanager
def _born_deaf() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C from their first moment: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _wait(futures: dict["Future[Any]", Task], counter: Any, progressed: Progressed) -> None:
    pending = set(futures)
    finished_bytes = 0
    counted = 0  # characters of finished tasks
    while pending:
        done, pending = wait(pending, POLL_SECONDS, FIRST_EXCEPTION)
        for future in done:
            summary = future.result()
            finished_bytes += futures[future].bytes
            counted += summary["characters"]
        progressed(max(0, counter.value - counted), finished_bytes)


def _end(workers: "Sequence[BaseProcess]") -> None:
    """Stop workers that still run; their unfinished files are never mistaken for finished ones."""
    deadline = time.monotonic() + 0.2
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
        if worker.is_alive():
            worker.terminate()
    for worker in workers:
        worker.join()


class _Worker:
    """What a worker process keeps between tasks."""

    job: Job
    encoder: Encoder
    counter: Any


def _start_worker(job: Job, counter: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Worker.job, _Worker.counter = job, counter
    _Worker.encoder = job.encoder()


def _end_with_parent() -> None:
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work(task: Task) -> dict[str, Any]:
    characters = 0

    def count(more: int) -> None:
        nonlocal characters
        characters += more
        with _Worker.counter.get_lock():
            _Worker.counter.value += more

    return {**_run(task, _Worker.job, _Worker.encoder, count), "characters": characters}
