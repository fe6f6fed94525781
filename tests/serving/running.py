"""A server in a thread of this process, and an engine whose tokens, pace and failures are given."""

import dataclasses
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from lilllm.config.schema import GenerateConfig, ServeConfig
from lilllm.events import Event
from lilllm.inference import Delta, Request, TokenScore
from lilllm.serving import FeedbackDesk, ServedModel, Service
from lilllm.serving.server import _bind, server_config
from lilllm.serving.worker import RequestEngine
from lilllm.tokenizer import Tokenizer
from tests.stages.tiny_run import tiny_tokenizer

TOKENIZER = tiny_tokenizer()
LETTERS = [TOKENIZER.encode(letter)[0] for letter in "abcdefghijklmnopqrstuvwxyz"]
CONTEXT = 64


def letters(seed: int, sample: int, count: int) -> str:
    """What `FakeEngine` answers."""
    draw = random.Random(f"{seed}/{sample}")
    return TOKENIZER.decode([draw.choice(LETTERS) for _ in range(count)])


@dataclass
class FakeEngine:
    """Answers with letters that depend on seed and sample alone, one per step.

    pace: seconds of a step. open: steps wait while it is not set. failing: raised by the next
    step. seen: every request that came.
    """

    pace: float = 0.0
    open: threading.Event = field(default_factory=threading.Event)
    failing: Exception | None = None
    seen: list[Request] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    running: dict[int, tuple[Request, random.Random, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open.set()

    @property
    def busy(self) -> bool:
        return bool(self.running)

    def submit(self, request: Request) -> int:
        self.seen.append(request)
        number = len(self.seen)
        self.running[number] = (request, random.Random(f"{request.seed}/{request.sample}"), 0)
        return number

    def cancel(self, request: int) -> bool:
        self.cancelled.append(request)
        return self.running.pop(request, None) is not None

    def step(self) -> list[Delta]:
        time.sleep(self.pace)
        self.open.wait(60)
        if self.failing is not None:
            failing, self.failing = self.failing, None
            raise failing
        return [self._advance(number) for number in list(self.running)]

    def _advance(self, number: int) -> Delta:
        request, draw, made = self.running[number]
        token = draw.choice(LETTERS)
        made += 1
        self.running[number] = (request, draw, made)
        ended = made >= request.options.max_new_tokens
        if ended:
            del self.running[number]
        top = tuple((LETTERS[i], -1.0 - i) for i in range(request.logprobs or 0))
        scores = (TokenScore(token, -0.5, top),) if request.logprobs is not None else ()
        finish = "length" if ended else None
        text = TOKENIZER.decode([token])
        return Delta(number, (token,), text, scores, finish, len(request.prompt_ids), made)


@dataclass
class Running:
    """A server that can be reached at `url`."""

    url: str
    port: int
    service: Service
    server: uvicorn.Server
    events: list[Event]

    def until(self, claim: Any, seconds: float = 10) -> None:
        """Wait until a claim holds."""
        end = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < end, "it never came true"
            time.sleep(0.01)


def served_model(**changes: Any) -> ServedModel:
    """A chat model of 64 positions."""
    defaults = GenerateConfig(max_new_tokens=12, temperature=0.7)
    model = ServedModel("tiny", 1_700_000_000, TOKENIZER, 0, CONTEXT, True, defaults)
    return dataclasses.replace(model, **changes)


@contextmanager
def running(
    engine: RequestEngine,
    *,
    model: ServedModel | None = None,
    api_key: str | None = None,
    feedback: FeedbackDesk | None = None,
    **settings: Any,
) -> Iterator[Running]:
    """Serve until the block ends."""
    events: list[Event] = []
    service = Service(
        *(model or served_model(), engine, ServeConfig(**settings), api_key, events.append),
        feedback,
    )
    bound = _bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    server = uvicorn.Server(server_config(service))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    up = Running(f"http://127.0.0.1:{port}", port, service, server, events)
    try:
        up.until(lambda: server.started)
        yield up
    finally:
        server.should_exit = True
        thread.join(20)
        bound.close()
        assert not thread.is_alive()


def tokenizer() -> Tokenizer:
    """The tokenizer of every model here."""
    return TOKENIZER
