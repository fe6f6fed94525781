"""Feedback over HTTP: the server makes pairs, the page shows them, and votes are kept.

The page never learns where an answer came from, and sends back no text of ours: a pair is known
to the server by its id until it is judged or pushed out by newer ones. Where rows go is a
callable that the caller gives; without one these routes are not there. Strangers are not asked:
a server that others can reach collects nothing without an API key.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lilllm.data.feedback import Shown, edit_row, thumb_row, vote_row
from lilllm.errors import DataError, LilllmError
from lilllm.serving.answers import Choice
from lilllm.serving.exchange import answer, read_body
from lilllm.serving.gate import LOOPBACK
from lilllm.serving.problems import ApiError, invalid
from lilllm.serving.requests import Body, parse_body
from lilllm.serving.service import Service

MOST_PAIRS = 1000
TRIES = 3  # seeds that are tried until the two answers differ
Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


@dataclass(frozen=True, slots=True)
class FeedbackDesk:
    """What the routes need besides the service.

    Attributes:
        keep: puts one row on disk before it returns.
        question: the next question where the person has none; may take seconds.
        checkpoint, weights: of the served model, for the rows.
    """

    keep: Callable[[dict[str, Any]], None]
    question: Callable[[], str]
    checkpoint: str
    weights: str


class PairBody(Body):
    """`POST /v1/feedback/pair`."""

    prompt: Annotated[str, Field(max_length=20_000)] | None = None


class JudgementBody(Body):
    """`POST /v1/feedback/judgement`: exactly one of `better`, `thumb` and `edit`."""

    id: str
    better: Literal["left", "right", "neither"] | None = None
    reason: Annotated[str, Field(max_length=2000)] = ""
    side: Side | None = None
    thumb: Literal["up", "down"] | None = None
    edit: Annotated[str, Field(max_length=100_000)] | None = None


Judged = TypeVar("Judged", PairBody, JudgementBody)


@dataclass(frozen=True, slots=True)
class _Pair:
    prompt: str
    shown: tuple[Shown, Shown]
    kept: set[tuple[str, int]] = field(default_factory=set)  # (thumb or edit, side)


def routes(service: Service) -> list[Route]:
    """`/v1/feedback/pair` and `/v1/feedback/judgement`, where feedback is collected."""
    if service.feedback is None:
        return []
    desk = _Desk(service, service.feedback)
    return [
        Route("/v1/feedback/pair", desk.pair, methods=["POST"]),
        Route("/v1/feedback/judgement", desk.judgement, methods=["POST"]),
    ]


class _Desk:
    def __init__(self, service: Service, desk: FeedbackDesk) -> None:
        self.service, self.desk = service, desk
        self.pairs: OrderedDict[str, _Pair] = OrderedDict()
        self.asking = threading.Lock()
        self.open = service.api_key is not None or service.settings.host in LOOPBACK

    async def pair(self, request: Request) -> Response:
        body = await self._read(request, PairBody)
        return await answer(request, self._make(body.prompt), lambda: None)

    async def _make(self, prompt: str | None) -> dict[str, Any]:
        if not prompt:
            prompt = await run_in_threadpool(self._question)
        ids = await run_in_threadpool(self._prompt_ids, prompt)
        self.service.check_prompt(ids, "prompt")
        for _ in range(TRIES):
            seed = secrets.randbits(31)
            texts = await self._texts(ids, seed)
            if texts[0].strip() and texts[0].strip() != texts[1].strip():
                break
        else:
            raise ApiError(409, "the model gives one answer only to this question", "one_answer")
        left, right = (Shown(text, self.desk.checkpoint, self.desk.weights, seed) for text in texts)
        id = secrets.token_hex(12)
        self.pairs[id] = _Pair(prompt, (left, right))
        if len(self.pairs) > MOST_PAIRS:
            self.pairs.popitem(last=False)
        return {"id": id, "prompt": prompt, "left": left.text, "right": right.text}

    def _question(self) -> str:
        """In a thread, which goes on when its client goes away: so threads wait for each other."""
        with self.asking:
            return self.desk.question()

    def _prompt_ids(self, prompt: str) -> list[int]:
        model = self.service.model
        if not model.chats:
            return model.tokenizer.encode_prompt(prompt) or [model.first_id]
        message = [{"role": "user", "content": prompt}]
        try:
            return model.tokenizer.encode_chat(message, add_generation_prompt=True)
        except DataError as err:
            raise invalid(err.message, "prompt") from err

    async def _texts(self, ids: Sequence[int], seed: int) -> list[str]:
        choices = self.service.submit(
            [ids], self.service.model.defaults, n=2, seed=seed, alternatives=None
        )
        made = [Choice(), Choice()]
        try:
            async for index, delta in choices:
                made[index].add(delta)
        finally:
            choices.close()
        return [choice.text for choice in made]

    async def judgement(self, request: Request) -> Response:
        body = await self._read(request, JudgementBody)
        pair = self.pairs.get(body.id)
        if pair is None:
            raise ApiError(404, "this pair is no longer known; ask for another", "unknown_pair")
        row = _row(body, pair)
        once = (row["feedback"], row.get("which", 0))
        if once in pair.kept:
            raise ApiError(409, f"there is one {once[0]} of this answer already", "already_kept")
        # each once: taken before another request can come between
        pair.kept.add(once)
        if body.better is not None:
            del self.pairs[body.id]
        try:
            await run_in_threadpool(self.desk.keep, row)
        except LilllmError as err:
            pair.kept.remove(once)
            if body.better is not None:
                self.pairs[body.id] = pair
            raise ApiError(507, f"{err.message}; {err.hint}", "not_kept") from err
        return JSONResponse({"kept": row["feedback"]})

    async def _read(self, request: Request, kind: type[Judged]) -> Judged:
        if not self.open:
            message = "feedback is not taken from strangers; start the server with --api-key-file"
            raise ApiError(403, message, "feedback_needs_key")
        settings = self.service.settings
        content = await read_body(request, settings.max_body_bytes, settings.max_seconds)
        return parse_body(content, kind)


def _row(body: JudgementBody, pair: _Pair) -> dict[str, Any]:
    given = [body.better is not None, body.thumb is not None, body.edit is not None]
    if sum(given) != 1:
        raise invalid("exactly one of better, thumb and edit is needed", "better")
    if body.better is not None:
        better = None if body.better == "neither" else SIDES.index(body.better)
        return vote_row(pair.prompt, pair.shown, better, body.reason)
    if body.side is None:
        raise invalid("a thumb and an edit need a side", "side")
    which = SIDES.index(body.side)
    if body.thumb is not None:
        return thumb_row(pair.prompt, pair.shown, which, body.thumb == "up")
    try:
        return edit_row(pair.prompt, pair.shown, which, (body.edit or "").strip())
    except ValueError as err:
        raise invalid(str(err), "edit") from err
