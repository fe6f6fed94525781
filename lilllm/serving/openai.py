"""OpenAI's routes under `/v1`.

Source: OpenAI's API reference for models, completions and chat completions.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lilllm.errors import DataError
from lilllm.serving.answers import Answer, ChatAnswer, CompletionAnswer
from lilllm.serving.exchange import EventStream, answer, read_body
from lilllm.serving.problems import ApiError, invalid
from lilllm.serving.requests import ChatBody, CompletionBody, SamplingBody, parse_body
from lilllm.serving.service import Service
from lilllm.tokenizer import whole

Body = TypeVar("Body", bound=SamplingBody)


def routes(service: Service) -> list[Route]:
    """`/v1/models`, `/v1/completions` and `/v1/chat/completions`."""
    api = _Api(service)
    return [
        Route("/v1/models", api.models),
        Route("/v1/models/{name:path}", api.model),
        Route("/v1/completions", api.completions, methods=["POST"]),
        Route("/v1/chat/completions", api.chat, methods=["POST"]),
    ]


class _Api:
    def __init__(self, service: Service) -> None:
        self.service, self.served = service, service.model

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._model()]})

    async def model(self, request: Request) -> Response:
        self.service.check_model(request.path_params["name"])
        return JSONResponse(self._model())

    def _model(self) -> dict[str, Any]:
        """OpenAI's fields, and what the page needs to know."""
        defaults = self.served.defaults.model_dump(mode="json", exclude={"prompts"})
        return {
            "id": self.served.name,
            "object": "model",
            "created": self.served.created,
            "owned_by": "lilllm",
            "context_length": self.served.context,
            "chat": self.served.chats,
            "defaults": defaults,
        }

    async def completions(self, request: Request) -> Response:
        body = await self._read(request, CompletionBody)
        n = body.n or 1
        prompts = body.prompts
        if not prompts or (len(prompts) * n > self.service.settings.max_choices):
            most = self.service.settings.max_choices
            raise invalid(f"{len(prompts) * n} choices; from 1 to {most} in one request", "prompt")
        for prompt in prompts:
            if isinstance(prompt, str):
                self.service.check_text([prompt], "prompt")
        ids = [await run_in_threadpool(self._prompt_ids, prompt) for prompt in prompts]
        for tokens in ids:
            self.service.check_prompt(tokens, "prompt")
        echoes = []
        if body.echo:
            decode = self.served.tokenizer.decode
            texts = [whole(text) if isinstance(text, str) else decode(text) for text in prompts]
            echoes = [text for text in texts for _ in range(n)]
        shape = CompletionAnswer(
            self.served.name,
            self.served.tokenizer,
            sum(map(len, ids)),
            body.alternatives is not None,
            echoes,
        )
        return await self._respond(request, body, shape, ids)

    async def chat(self, request: Request) -> Response:
        body = await self._read(request, ChatBody)
        if not self.served.chats:
            raise invalid(
                f"{self.served.name!r} is a base model: it was not trained to chat, it continues "
                "text at /v1/completions",
                "model",
                "not_a_chat_model",
            )
        messages = [message.plain for message in body.messages]
        self.service.check_text((message["content"] for message in messages), "messages")
        encode = self.served.tokenizer.encode_chat
        try:
            ids = await run_in_threadpool(encode, messages, add_generation_prompt=True)
        except DataError as err:
            raise invalid(err.message, "messages") from err
        self.service.check_prompt(ids, "messages")
        logprobs = body.alternatives is not None
        shape = ChatAnswer(self.served.name, self.served.tokenizer, len(ids), logprobs)
        return await self._respond(request, body, shape, [ids])

    async def _read(self, request: Request, kind: type[Body]) -> Body:
        limits = self.service.settings
        raw = await read_body(request, limits.max_body_bytes, limits.max_seconds)
        try:
            body = parse_body(raw, kind)
            self.service.check_model(body.model)
        except ApiError:
            self.service.metrics.rejected["invalid"] += 1
            raise
        return body

    async def _respond(
        self, request: Request, body: SamplingBody, shape: Answer, ids: Sequence[Sequence[int]]
    ) -> Response:
        choices = self.service.submit(
            ids,
            body.options(self.served.defaults),
            n=body.n or 1,
            seed=body.seed,
            alternatives=body.alternatives,
        )
        if body.stream:
            return EventStream(shape.stream(choices, body.include_usage), choices.close)
        return await answer(request, shape.collect(choices), choices.close)

    def _prompt_ids(self, prompt: str | list[int]) -> list[int]:
        if isinstance(prompt, str):
            return self.served.tokenizer.encode_prompt(prompt) or [self.served.first_id]
        return prompt or [self.served.first_id]
