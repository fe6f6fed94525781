"""Turning SIGTERM, SIGINT and SIGUSR1 into a polite wish to stop."""

import signal
from types import FrameType, TracebackType
from typing import Any, Self


class StopRequest:
    """While active, the first signal is remembered and the second interrupts at once."""

    def __init__(self) -> None:
        self.name = ""
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for name in ("SIGTERM", "SIGINT", "SIGUSR1"):  # Windows has no SIGUSR1
            number = getattr(signal, name, None)
            if number is not None:
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
