"""`/healthz` and `/metrics`: for whoever runs the server."""

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lilllm.serving.service import Service


def routes(service: Service) -> list[Route]:
    """Both are open without an API key; they tell counts, no texts."""

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "model": service.model.name})

    async def metrics(request: Request) -> Response:
        text = service.metrics.text(service.worker.running, service.waiting)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    return [Route("/healthz", health), Route("/metrics", metrics)]
