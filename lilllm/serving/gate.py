"""What every request passes: API key, foreign web pages, security headers, counting."""

import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lilllm.serving.problems import ApiError
from lilllm.serving.service import Service

SECURITY_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Gate:
    """ASGI middleware around the whole app.

    A server on loopback is in reach of every page that its user's browser opens. So a request
    that a page of another origin makes is refused, and on loopback also one for another host
    name, which is how a page gets around its origin (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service
        self.loopback = service.settings.host in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with what is wrong."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                message["headers"] = headers.raw
                self._count(scope, message["status"])
            await send(message)

        problem = self._problem(scope, Headers(scope=scope))
        await (problem.response() if problem else self.app)(scope, receive, send_on)

    def _problem(self, scope: Scope, headers: Headers) -> ApiError | None:
        host, name = _place(f"//{headers.get('host', '')}")
        if self.loopback and name not in LOOPBACK:
            return ApiError(403, f"this server answers to {sorted(LOOPBACK)} only", "wrong_host")
        origin = headers.get("origin")
        if origin is not None and _place(origin)[0] != host:
            return ApiError(403, "requests of other web pages are refused", "wrong_origin")
        key = self.service.api_key
        reads = scope["method"] in {"GET", "HEAD"} and not scope["path"].startswith("/v1/")
        if key is not None and not reads:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not secrets.compare_digest(given.encode(), key.encode()):
                return ApiError(401, "a wrong API key, or none", "invalid_api_key")
        return None

    def _count(self, scope: Scope, status: int) -> None:
        route = scope.get("route")  # the pattern, so that a path cannot make a new counter
        path = getattr(route, "path", "other")
        method = scope["method"] if scope["method"] in {"GET", "HEAD", "POST"} else "other"
        self.service.metrics.responses[method, path, status] += 1


def _place(url: str) -> tuple[str, str | None]:
    """Host with port, and host, of what a client sent; nothing where it makes no sense."""
    try:
        parts = urlsplit(url)
        return parts.netloc, parts.hostname
    except ValueError:
        return "", None
