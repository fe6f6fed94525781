"""What all routes share: the model, its limits, and the way of a request through the engine."""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lilllm.config.schema import GenerateConfig, ServeConfig
from lilllm.errors import LilllmError
from lilllm.events import Caution, Report
from lilllm.inference import Delta, Request
from lilllm.serving.metrics import Metrics
from lilllm.serving.problems import ApiError, invalid
from lilllm.serving.worker import Job, RequestEngine, Worker
from lilllm.tokenizer import Tokenizer

if TYPE_CHECKING:
    from lilllm.serving.feedback import FeedbackDesk

LONGEST_RETRY_S = 60


@dataclass(frozen=True, slots=True)
class ServedModel:
    """The one model of a server.

    Attributes:
        name: what clients call it.
        created: when it was made, in seconds since 1970.
        tokenizer: its tokenizer.
        first_id: the token that begins every text.
        context: positions it can see.
        chats: whether it answers messages; a base model only continues text.
        defaults: sampling options where a request names none.
    """

    name: str
    created: int
    tokenizer: Tokenizer
    first_id: int
    context: int
    chats: bool
    defaults: GenerateConfig


class Service:
    """The state of a running server.

    Args:
        model: what is served.
        engine: runs it; from now on touched by the worker's thread alone.
        settings: the limits.
        api_key: what clients must send to use `/v1`; None: nothing.
        report: is told of failures inside.
        feedback: where judgements of answers go; None: none are collected.
    """

    def __init__(
        self,
        model: ServedModel,
        engine: RequestEngine,
        settings: ServeConfig,
        api_key: str | None,
        report: Report,
        feedback: "FeedbackDesk | None" = None,
    ) -> None:
        self.feedback = feedback
        self.model, self.settings, self.api_key, self.report = model, settings, api_key, report
        self.metrics = Metrics()
        self.worker = Worker(engine, settings.max_running, self._failed)

    @property
    def waiting(self) -> int:
        """Choices that wait for the engine."""
        return max(0, self.worker.open - self.worker.running)

    def check_model(self, name: str | None) -> None:
        """Refuse requests for another model than this one.

        Raises:
            ApiError: 404.
        """
        if name is not None and name != self.model.name:
            message = (
                f"the model {name[:200]!r} does not exist; this server has {self.model.name!r}"
            )
            raise ApiError(404, message, "model_not_found", param="model")

    @cached_property
    def _longest_token(self) -> int:
        """Bytes of the longest token."""
        tokenizer = self.model.tokenizer
        return max(len(tokenizer.token_bytes(id)) for id in range(tokenizer.vocab_size))

    def check_text(self, texts: Iterable[str], param: str) -> None:
        """Refuse a text that is too long whatever its tokens are: to count those takes seconds.

        Raises:
            ApiError: 400.
        """
        size = sum(len(text.encode("utf-8", "replace")) for text in texts)
        least = size // self._longest_token
        if least > self.most_prompt_tokens:
            message = f"the prompt has at least {least} tokens; this server takes at most"
            raise invalid(f"{message} {self.most_prompt_tokens}", param, "context_length_exceeded")

    @property
    def most_prompt_tokens(self) -> int:
        """Tokens that a prompt may have."""
        return min(self.settings.max_prompt_tokens or self.model.context, self.model.context)

    def check_prompt(self, ids: Sequence[int], param: str) -> None:
        """Refuse a prompt that the model cannot read.

        Raises:
            ApiError: 400.
        """
        most = self.most_prompt_tokens
        if len(ids) > most:
            message = f"the prompt has {len(ids)} tokens; this server takes at most {most}"
            raise invalid(message, param, "context_length_exceeded")
        if not 0 <= min(ids) <= max(ids) < self.model.tokenizer.vocab_size:
            raise invalid("a token of the prompt is outside the vocabulary", param)

    def submit(
        self,
        prompts: Sequence[Sequence[int]],
        options: GenerateConfig,
        *,
        n: int,
        seed: int | None,
        alternatives: int | None,
    ) -> "Choices":
        """Let the engine make `n` choices for each prompt; they have to be closed.

        Raises:
            ApiError: too many choices (400), or no room for them now (429).
        """
        self._check_room(len(prompts) * n)
        seed = secrets.randbits(32) if seed is None else seed
        choices = Choices(self)
        choices.jobs = [
            Job(
                Request(list(ids), options, seed=seed, sample=sample, logprobs=alternatives),
                choices.listener(number * n + sample),
            )
            for number, ids in enumerate(prompts)
            for sample in range(n)
        ]
        self.metrics.prompt_tokens += sum(map(len, prompts))
        self.worker.submit(choices.jobs)
        return choices

    def _check_room(self, count: int) -> None:
        if count > self.settings.max_choices:
            message = f"{count} choices in one request; at most {self.settings.max_choices}"
            raise invalid(message, "n")
        room = self.settings.max_running + self.settings.max_queue - self.worker.open
        if count > room:
            self.metrics.rejected["queue_full"] += 1
            rounds = self.worker.open / self.settings.max_running
            wait = min(max(1, math.ceil(self.metrics.whole.mean * rounds)), LONGEST_RETRY_S)
            raise ApiError(
                429,
                f"{self.waiting} requests are waiting already; try again in {wait} s",
                "queue_full",
                headers={"Retry-After": str(wait)},
            )

    def _failed(self, err: Exception) -> None:
        self.report(Caution(f"the engine failed: {type(err).__name__}: {err}"))


class Choices:
    """The choices of one request as they grow, in the order in which they move on."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.jobs: list[Job] = []
        self._news: asyncio.Queue[tuple[int, Delta | Exception]] = asyncio.Queue()
        self._began = time.monotonic()
        self._heard = False

    def listener(self, index: int) -> Callable[[Delta | Exception], None]:
        """What the worker calls with news of one choice."""
        return lambda news: self._news.put_nowait((index, news))

    @property
    def ended(self) -> bool:
        """Whether every choice is whole and has been handed out."""
        return self._news.empty() and not any(job.open for job in self.jobs)

    def __aiter__(self) -> "Choices":
        return self

    async def __anext__(self) -> tuple[int, Delta]:
        """The next piece: which choice, and what was added to it.

        Raises:
            ApiError: it took too long (504), or the engine failed (500).
        """
        if self.ended:
            raise StopAsyncIteration
        limit = self._service.settings.max_seconds
        rest = self._began + limit - time.monotonic()
        try:
            if rest <= 0:
                raise TimeoutError
            async with asyncio.timeout(rest):  # `wait_for` of Python 3.11 may lose a cancellation
                index, news = await self._news.get()
        except TimeoutError as err:
            self._service.metrics.rejected["timeout"] += 1
            raise ApiError(504, f"not finished after {limit:g} s", "timeout") from err
        if isinstance(news, LilllmError):
            raise invalid(news.message) from news
        if isinstance(news, Exception):
            raise ApiError(500, "the engine failed at this request", "internal") from news
        self._count(news)
        return index, news

    def _count(self, delta: Delta) -> None:
        metrics, elapsed = self._service.metrics, time.monotonic() - self._began
        metrics.generated_tokens += len(delta.token_ids)
        if not self._heard:
            self._heard = True
            metrics.first_token.observe(elapsed)
        if self.ended:
            metrics.whole.observe(elapsed)

    def close(self) -> None:
        """Cancel what is not finished."""
        self._service.metrics.cancelled += sum(job.open for job in self.jobs)
        self._service.worker.cancel(self.jobs)
