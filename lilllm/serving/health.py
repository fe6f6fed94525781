"""`/healthz` and `/metrics`: for whoever runs the server."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lilllm.serving.service import Service


def routes(service: Service) -> list[Route]:
    """Both are open without an API key; they tell counts, no texts."""

    async def health(request: Request) -> Response:
        alive = service.worker.alive
        status = {"status": "ok" if alive else "the engine stopped", "model": service.model.name}
        return JSONResponse(status, 200 if alive else 503)

    async def metrics(request: Request) -> Response:
        text = service.metrics.text(service.worker.running, service.waiting)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return [Route("/healthz", health), Route("/metrics", metrics)]
