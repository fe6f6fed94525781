"""Running the app on a socket until a signal comes, then letting running requests finish."""

import logging
import signal
import socket
import threading
from collections.abc import Callable

import uvicorn

from lilllm.errors import RunError
from lilllm.serving.app import build_app
from lilllm.serving.connection import Connection
from lilllm.serving.service import Service

KEEP_ALIVE_S = 5
"""Seconds after an answer that a connection waits for the next request."""


def serve(service: Service, on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; running requests are finished, new ones are refused.

    Args:
        service: is used up by this.
        on_ready: called with the server's address once it can be reached.

    Raises:
        RunError: the address cannot be bound.
    """
    settings = service.settings
    bound = _bind(settings.host, settings.port)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    server = _Server(server_config(service), lambda: on_ready(_address(bound)))
    # uvicorn raises the signal again when it has drained, which must not kill us then
    stops = (signal.SIGINT, signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    before = [signal.signal(stop, lambda *_: None) for stop in stops] if main else []
    try:
        server.run(sockets=[bound])
    finally:
        for stop, handler in zip(stops, before, strict=False):
            signal.signal(stop, handler)
        bound.close()


def server_config(service: Service) -> uvicorn.Config:
    """The app with everything named that uvicorn would choose by what is installed beside it.

    The number of connections is not limited: the service's queue is, and refuses with an answer of
    its own.
    """

    class Limited(Connection):
        max_seconds = service.settings.max_seconds

    return uvicorn.Config(
        build_app(service),
        loop="asyncio",
        http=Limited,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=None,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=service.settings.drain_seconds,
    )


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # named as TCP, asyncio sends small pieces at once; else each token may wait 40 ms (Nagle)
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    # Windows' SO_REUSEADDR lets two processes bind one port; only there is the other option
    option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
    bound.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        bound.bind((host, port))
    except OSError as err:
        bound.close()
        raise RunError(
            f"serve.host={host} serve.port={port}: cannot be bound ({err.strerror or err})",
            "choose another with --host or --port; port 0 takes a free one",
        ) from err
    return bound


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
