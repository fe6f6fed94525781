"""Turning SIGTERM, SIGINT, SIGHUP and SIGUSR1 into a polite wish to stop."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self

NAMES = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")


def stop_signals() -> list[signal.Signals]:
    """Those that ask to stop: Windows has two, and nohup has SIGHUP ignored, which it stays."""
    known: list[signal.Signals] = [getattr(signal, n) for n in NAMES if hasattr(signal, n)]
    return [s for s in known if s.name != "SIGHUP" or signal.getsignal(s) != signal.SIG_IGN]


class StopRequest:
    """While active, the first signal is remembered and the second interrupts at once."""

    def __init__(self) -> None:
        self.name = ""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in stop_signals():
            try:
                self._previous[number] = signal.signal(number, self._remember)
            except ValueError:  # not in the main thread: the caller handles signals
                return self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return bool(self.name)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.name and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
