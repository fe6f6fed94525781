"""One exchange over HTTP: reading a body within limits, and answering a client that may go away.

A client that goes away cancels what is being done for it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from lilllm.serving.problems import ApiError

STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # a proxy before us must not collect the pieces
]
GONE = 499
"""Status that nobody sees: the client went away. It is counted."""


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """The body of a request.

    Raises:
        ApiError: more than `most` bytes (413), not whole after `seconds` (408), or the client
            went away.
    """
    too_large = ApiError(413, f"the body is larger than {most} bytes", "body_too_large")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > most:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    raise too_large
                parts.append(part)
    except TimeoutError as err:
        raise ApiError(408, f"the body did not come within {seconds:g} s", "timeout") from err
    except ClientDisconnect as err:
        raise ApiError(GONE, "the client went away") from err
    return b"".join(parts)


async def answer(
    request: Request, work: Coroutine[Any, Any, dict[str, Any]], close: Callable[[], None]
) -> Response:
    """The result of `work` as JSON, if the client is still there; `close` is called at the end."""
    task = asyncio.create_task(work)
    try:
        if await _until_gone(task, request.receive):
            return JSONResponse(task.result())
        return Response(status_code=GONE)
    finally:
        close()


class EventStream(Response):
    """Server-sent events: each object as it comes, `[DONE]` at the end.

    Errors after the first byte are sent as an event, as OpenAI's clients expect.

    Args:
        events: what to send.
        close: called at the end, or when the client went away.
    """

    def __init__(self, events: AsyncIterator[dict[str, Any]], close: Callable[[], None]) -> None:
        self.events, self.close, self.background = events, close, None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until they end or the client goes away."""
        try:
            await _until_gone(asyncio.create_task(self._send_all(send)), receive)
        finally:
            self.close()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": STREAM_HEADERS})

        async def write(data: str, more: bool = True) -> None:
            body = f"data: {data}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            async for event in self.events:
                await write(json.dumps(event))
        except ApiError as err:
            await write(json.dumps(err.body))
        await write("[DONE]", more=False)


async def _until_gone(task: "asyncio.Task[Any]", receive: Receive) -> bool:
    """Wait for a task; whether it ended before the client went away. Else it is cancelled."""
    watch = asyncio.create_task(_gone(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task.done()
    finally:
        for pending in (task, watch):
            if not pending.done():
                pending.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
