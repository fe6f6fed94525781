"""The thread that runs the engine, and the way from the event loop to it and back.

The engine is touched by this thread alone. What it makes goes back to the event loop once per
step, so 64 streams cost one wake-up and not 64. How many requests may wait is `service.py`'s.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from lilllm.inference import Delta, Request


class RequestEngine(Protocol):
    """What serving needs of `inference.Engine`."""

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do."""
        ...

    def submit(self, request: Request) -> int:
        """Take a request in; its number."""
        ...

    def step(self) -> list[Delta]:
        """One forward pass: what it gave to each request that it moved on."""
        ...

    def cancel(self, request: int) -> object:
        """Forget a request."""
        ...


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way through the engine.

    Attributes:
        request: what to generate.
        listen: called on the event loop with each delta, or with what went wrong.
        open: whether it still waits or runs; the event loop's to read and write.
        engine_id: its number in the engine, once it runs; the worker's alone.
    """

    request: Request
    listen: Callable[[Delta | Exception], None]
    open: bool = True
    engine_id: int | None = None


class Worker:
    """Runs an engine in a thread of its own.

    Args:
        engine: touched by nobody else while the worker runs.
        max_running: requests that the engine works on at once; others wait, first come first
            served.
        on_failure: called in the worker's thread with what a step of the engine raised.
    """

    def __init__(
        self, engine: RequestEngine, max_running: int, on_failure: Callable[[Exception], None]
    ) -> None:
        self.engine, self.max_running, self.on_failure = engine, max_running, on_failure
        self._wake = threading.Condition()
        self._inbox: deque[tuple[bool, Job]] = deque()  # (submit or cancel, job)
        self._closing = False
        self._waiting: deque[Job] = deque()
        self._running: dict[int, Job] = {}
        self._open = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def open(self) -> int:
        """Jobs that wait or run."""
        return self._open

    @property
    def running(self) -> int:
        """Jobs in the engine."""
        return len(self._running)

    def start(self) -> None:
        """Begin; called on the event loop that listens."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def close(self) -> None:
        """Stop after the step in progress and wait for that."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def submit(self, jobs: Iterable[Job]) -> None:
        """Let jobs wait for their turn."""
        for job in jobs:
            self._open += 1
            self._send(True, job)

    def cancel(self, jobs: Iterable[Job]) -> None:
        """Forget jobs; those that have ended are left alone. They are not listened to again."""
        for job in jobs:
            if job.open:
                self._end(job)
                self._send(False, job)

    def _end(self, job: Job) -> None:
        job.open = False
        self._open -= 1

    def _send(self, submit: bool, job: Job) -> None:
        with self._wake:
            self._inbox.append((submit, job))
            self._wake.notify()

    # ------------------------------------------------------------ in the worker's thread

    def _run(self) -> None:
        while (arrived := self._receive()) is not None:
            try:
                self._sort_in(arrived)
                self._fill()
                deltas = self.engine.step() if self.engine.busy else []
                heard = [(self._running[delta.request], delta) for delta in deltas]
            except Exception as err:  # whatever it was, the server goes on
                self.on_failure(err)
                self._drop_all(err)
                continue
            for delta in deltas:
                if delta.finish_reason is not None:
                    del self._running[delta.request]
            self._tell(heard)

    def _receive(self) -> deque[tuple[bool, Job]] | None:
        """What came, waiting for it when there is nothing to do; None: closing."""
        with self._wake:
            while not (self._inbox or self._running or self._waiting or self._closing):
                self._wake.wait()
            arrived, self._inbox = self._inbox, deque()
            return None if self._closing else arrived

    def _sort_in(self, arrived: Iterable[tuple[bool, Job]]) -> None:
        for submit, job in arrived:
            if submit:
                self._waiting.append(job)
            elif job.engine_id is None:
                if job in self._waiting:
                    self._waiting.remove(job)
            elif self._running.pop(job.engine_id, None) is not None:
                self.engine.cancel(job.engine_id)

    def _fill(self) -> None:
        while self._waiting and len(self._running) < self.max_running:
            job = self._waiting.popleft()
            try:
                job.engine_id = self.engine.submit(job.request)
            except Exception as err:  # of this request alone
                self._tell([(job, err)])
            else:
                self._running[job.engine_id] = job

    def _drop_all(self, err: Exception) -> None:
        """After a failed step nobody knows what is in the engine: empty it."""
        dropped = list(self._running.items())
        self._running.clear()
        for engine_id, _ in dropped:
            try:
                self.engine.cancel(engine_id)
            except Exception as again:
                self.on_failure(again)
        self._tell([(job, err) for _, job in dropped])

    def _tell(self, heard: "Sequence[tuple[Job, Delta | Exception]]") -> None:
        if heard:
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._deliver, heard)
            except RuntimeError:  # the loop is closed: nobody listens any more
                self._closing = True

    # ------------------------------------------------------------ on the event loop

    def _deliver(self, heard: "Sequence[tuple[Job, Delta | Exception]]") -> None:
        for job, news in heard:
            if job.open:
                if isinstance(news, Exception) or news.finish_reason is not None:
                    self._end(job)
                job.listen(news)
