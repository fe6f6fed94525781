"""One connection: a client that has to send or to read something has a deadline for it.

uvicorn ends connections that are idle after an answer, and no others. How long a request's body
and its answer may take is not known here, but in `exchange.py` and `service.py`.
"""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


class Connection(H11Protocol):
    """HTTP by h11, cut off after `max_seconds` that the client lets pass.

    They pass while the head of a request is awaited, while what was written is not read and no
    more fits, and after an answer.
    """

    max_seconds: float
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """As in `asyncio.Protocol`, as all here."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Perhaps the head is whole now."""
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        """The client has to read."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """The client has read."""
        super().resume_writing()
        self._watch()

    def on_response_complete(self) -> None:
        """What is left of the answer has to be read; another request may come."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        super().connection_lost(exc)
        self._forget()

    def _watch(self) -> None:
        answered = self.cycle is None or self.cycle.response_complete
        if not (answered or self.flow.write_paused):
            self._forget()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.max_seconds, self.transport.abort)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
