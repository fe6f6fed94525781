"""What goes wrong over HTTP, in the shape that OpenAI's clients read.

{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}
"""

from collections.abc import Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from lilllm.tokenizer.tokenizer import whole


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        message: what is wrong, for people.
        code: what is wrong, for programs.
        param: the field of the request that it is about.
        headers: to send with the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object to answer with."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        if self.status == 429:
            kind = "rate_limit_error"
        return {
            "error": {
                "message": whole(self.message),
                "type": kind,
                "param": None if self.param is None else whole(self.param),
                "code": self.code,
            }
        }

    def response(self) -> Response:
        """The answer."""
        return JSONResponse(self.body, self.status, self.headers)


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that can never be answered as it is."""
    return ApiError(400, message, code, param=param)


async def show_api_error(request: Request, err: Exception) -> Response:
    """Exception handler of `ApiError`."""
    assert isinstance(err, ApiError)
    return err.response()


async def show_http_error(request: Request, err: Exception) -> Response:
    """Exception handler of what the router raises: no such path, a wrong method."""
    assert isinstance(err, HTTPException)
    message = f"{request.method} {request.url.path}: {err.detail}"
    return ApiError(err.status_code, message, headers=err.headers).response()


async def show_bug(request: Request, err: Exception) -> Response:
    """Exception handler of everything else: says that it failed, not how."""
    return ApiError(500, "internal error; the server's log says more", "internal").response()
