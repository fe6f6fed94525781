"""Text from a model that somebody else serves: one request to an OpenAI-compatible endpoint.

Trouble that may pass (no connection, too slow, 408, 409, 425, 429, 5xx, an answer that is not one)
is tried again with growing pauses; trouble that will not (401, 404, ...) is an error at once.
"""

import contextlib
import http.client
import json
import re
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from lilllm.config.schema import GenerateConfig
from lilllm.errors import ConfigError, RunError

MAY_PASS = frozenset({408, 409, 425, 429})
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds
MAX_ANSWER_BYTES = 16 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer like any other: following it would send the key elsewhere."""

    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `complete` is False when it ran out of tokens."""

    text: str
    complete: bool


class _MayPass(Exception):
    """Something that another try may not meet; `pause` is what the server asked for, seconds."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server of `/chat/completions`.

    Attributes:
        url: its base, such as http://127.0.0.1:8000/v1.
        model: the model's name there.
        api_key: sent as a bearer token; empty for none.
        timeout: seconds that one request may take, from connecting to its last byte.
        retries: how often a request is tried again.
    """

    url: str
    model: str
    api_key: str = ""
    timeout: float = 120.0
    retries: int = 6

    def chat(
        self,
        messages: list[dict[str, str]],
        options: GenerateConfig,
        seed: int,
        stop: threading.Event,
    ) -> Reply:
        """One answer.

        Args:
            messages: the conversation so far.
            options: temperature, top_p, max_new_tokens and stop strings are sent.
            seed: sent too; servers differ in whether they use it.
            stop: once set, nothing is tried again.

        Raises:
            ConfigError: the server refuses what was asked: wrong key, path or model.
            RunError: no answer after all tries.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "max_tokens": options.max_new_tokens,
            "seed": seed,
        }
        if options.stop:
            body["stop"] = list(options.stop)
        pause, tries = FIRST_PAUSE, 0
        while True:
            try:
                return self._once(json.dumps(body).encode())
            except _MayPass as err:
                tries += 1
                if tries > self.retries or stop.wait(min(max(pause, err.pause), LONGEST_PAUSE)):
                    times = "once" if tries == 1 else f"{tries} times"
                    raise RunError(
                        f"{self.url}: asked {times} in vain: {err}",
                        "what was written so far is kept: run the same command again when the "
                        "server answers",
                    ) from err
                pause *= 2

    def _once(self, body: bytes) -> Reply:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        url = f"{self.url.rstrip('/')}/chat/completions"
        deadline = time.monotonic() + self.timeout
        try:
            request = urllib.request.Request(url, body, headers)
            with _OPENER.open(request, timeout=self.timeout) as response:
                return _parse(_read(response, deadline))
        except urllib.error.HTTPError as err:
            said = ""
            with err, contextlib.suppress(OSError, http.client.HTTPException):  # it may stall too
                said = err.read(300).decode("utf-8", "replace").strip()
            reason = f"HTTP {err.code} {err.reason}" + (f": {said}" if said else "")
            if err.code in MAY_PASS or err.code >= 500:
                raise _MayPass(reason, _seconds(err.headers.get("Retry-After"))) from err
            hint = "check synth.writer, synth.model and synth.api_key_variable"
            base = self.url.rstrip("/")
            if err.code == 404 and not re.search(r"/v\d", base):
                hint += f"; most servers have it under /v1: synth.writer={base}/v1"
            raise ConfigError(f"{url}: {reason}", hint) from err
        except TimeoutError as err:
            raise _MayPass(f"no whole answer in {self.timeout:g} s") from err
        except urllib.error.URLError as err:
            if isinstance(err.reason, TimeoutError):
                raise _MayPass(f"no connection in {self.timeout:g} s") from err
            raise _MayPass(str(err.reason)) from err
        except (OSError, http.client.HTTPException) as err:
            raise _MayPass(f"the connection broke ({type(err).__name__}: {err})") from err
        except ValueError as err:  # what `Request` says of an URL that is none
            raise ConfigError(f"{url}: {err}", "synth.writer is a folder or an URL") from err


def _read(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body, however slowly it comes, up to a deadline."""
    parts, size = [], 0
    while part := response.read1(1 << 16):
        parts.append(part)
        size += len(part)
        if time.monotonic() > deadline:
            raise TimeoutError
        if size > MAX_ANSWER_BYTES:
            raise _MayPass(f"an answer of more than {MAX_ANSWER_BYTES >> 20} MB")
    return b"".join(parts)


def _parse(body: bytes) -> Reply:
    try:
        choice = json.loads(body)["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as err:
        shown = body[:80].decode("utf-8", "replace")
        raise _MayPass(f"not an answer of a chat endpoint: {shown!r}") from err
    if not isinstance(text, str) or not text.strip():
        raise _MayPass("an empty answer")
    return Reply(text, reason not in ("length", "content_filter"))


def _seconds(header: str | None) -> float:
    """`Retry-After` in seconds; 0 where it is absent or a date."""
    return float(header) if header and header.strip().isdigit() else 0.0
