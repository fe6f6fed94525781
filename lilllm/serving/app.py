"""The app: its routes, put together.

A further page or API is one more module with `routes(service)`, listed in `ROOMS`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from lilllm.serving import feedback, health, openai, pages
from lilllm.serving.gate import Gate
from lilllm.serving.problems import ApiError, show_api_error, show_bug, show_http_error
from lilllm.serving.service import Service

ROOMS = (openai, feedback, health, pages)


def build_app(service: Service) -> ASGIApp:
    """An ASGI app that owns the service's engine thread from its startup to its shutdown."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.worker.start()
        try:
            yield
        finally:
            service.worker.close()

    app = Starlette(
        routes=[route for room in ROOMS for route in room.routes(service)],
        exception_handlers={
            ApiError: show_api_error,
            HTTPException: show_http_error,
            Exception: show_bug,
        },
        lifespan=lifespan,
    )
    return Gate(app, service)  # around all of it, so that no answer gets past it
