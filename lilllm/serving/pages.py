"""The web page at `/`: static files of this package, read once.

No build step and nothing from elsewhere: what is in `page/` is what a browser gets.
"""

from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lilllm.serving.service import Service

MEDIA_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def routes(service: Service) -> list[Route]:
    """`/` and every file beside the page."""
    page = resources.files("lilllm.serving").joinpath("page")
    files = {
        file.name: file.read_bytes()
        for file in page.iterdir()  # an editor or a file manager may leave others beside them
        if file.name.rpartition(".")[2] in MEDIA_TYPES and not file.name.startswith(".")
    }
    others = [static_route(f"/{name}", name, content) for name, content in sorted(files.items())]
    return [static_route("/", "index.html", files["index.html"]), *others]


def static_route(path: str, name: str, content: bytes) -> Route:
    """A route to a file; browsers ask again each time, so that an update is seen."""
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]

    async def send(request: Request) -> Response:
        return Response(content, media_type=media_type, headers={"cache-control": "no-cache"})

    return Route(path, send, name=name)
