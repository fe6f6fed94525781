"""Generation for many texts at once: they join and leave between steps.

For a few prompts `generate` is enough:

    engine = Engine(model, stop_ids=stop_ids, new_decoder=lambda: StreamDecoder(tokenizer))
    made = engine.generate(tokenizer.encode_prompt("Once upon a time"), GenerateConfig())
    print(made.samples[0].text)

A server submits requests whenever they come and steps as long as there is something to do:

    number = engine.submit(Request(prompt_ids, options, seed=7, logprobs=None))
    while engine.busy:
        for delta in engine.step():
            ...  # delta.request, .text, .token_ids, .finish_reason
    engine.cancel(number)  # at any time between two steps

A step takes waiting requests into free slots, computes at most `prefill_chunk` tokens of prompts,
and adds one token to every text whose prompt is done. An engine belongs to one thread: `submit`,
`cancel` and `step` must not run at the same time. Nothing bounds the queue; `waiting` tells how
long it is. Knows token ids and a way to decode them; prompts as text, templates and files are the
stages'.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import torch

from lilllm.config.schema import GenerateConfig
from lilllm.errors import ConfigError
from lilllm.inference.cache import ROUND_TO, WORTH_COPYING
from lilllm.inference.decoder import Decoder, Piece
from lilllm.inference.request import Delta, FinishReason, Request
from lilllm.inference.stopping import TextDecoder
from lilllm.inference.stream import Stream, choose_tokens, score_tokens
from lilllm.inference.weights import Weights
from lilllm.model import Transformer, count_parameters
from lilllm.model.quantized import Bits

ONE_THREAD_BELOW = 2e7
"""Parameters times samples below which a CPU decodes with one thread: there is less to compute
than to wait for a second one, and on a busy machine that wait is ten times the work."""

ROOM_AT_ONCE = 512
"""New tokens that a request gets room for when it is taken in. For more the cache is doubled when
they come: every slot has as many positions, and few requests use all that they may."""


@dataclass(slots=True)
class Sample:
    """One continuation of a prompt.

    Attributes:
        ids: the new tokens, without the one that ended the text.
        text: their text, cut before a stop string; empty without a decoder.
        finish_reason: stop: an ending token or a stop string; length: `max_new_tokens` or the
            end of the context.
    """

    ids: list[int] = field(default_factory=list)
    text: str = ""
    finish_reason: FinishReason = "length"


@dataclass(frozen=True, slots=True)
class Generation:
    """What `Engine.generate` made, and how fast.

    Attributes:
        samples: prompt by prompt, in the order of their numbers.
        prompt_tokens: length of the prompts.
        first_token_s: seconds from the call to the first token.
        decode_tokens: tokens of all samples after that.
        decode_s: seconds those took.
    """

    samples: list[Sample]
    prompt_tokens: int
    first_token_s: float
    decode_tokens: int
    decode_s: float


class Engine:
    """Generates with one model.

    Args:
        model: its weights are taken as they are now, in their type and on their device.
        stop_ids: tokens that end a text.
        new_decoder: makes a decoder for one sample; needed for text and stop strings.
        max_streams: texts that advance together; further ones wait.
        capacity: positions per text at most, prompt and answer together; None: the context.
        prefill_chunk: tokens of prompts computed in one step at most.
        quantize: bits to round the weights to.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        stop_ids: Collection[int] = (),
        new_decoder: Callable[[], TextDecoder] | None = None,
        max_streams: int = 32,
        capacity: int | None = None,
        prefill_chunk: int = 512,
        quantize: Bits | None = None,
    ) -> None:
        self.stop_ids, self.new_decoder = frozenset(stop_ids), new_decoder
        self.decoder = Decoder(Weights(model, quantize))
        self.cache = self.decoder.new_cache()
        self.max_streams, self.prefill_chunk = max_streams, prefill_chunk
        context = model.shape.max_seq_len
        self.capacity = min(capacity or context, context)
        self.parameters = sum(count_parameters(model.shape).values())
        self._numbers = count()
        self._waiting: deque[Stream] = deque()
        self._prefilling: Stream | None = None
        self._running: list[Stream] = []

    @property
    def busy(self) -> bool:
        """Whether a step has something to do."""
        return bool(self._waiting or self._prefilling or self._running)

    @property
    def waiting(self) -> int:
        """Requests that no step has taken in yet."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that were taken in and have not ended."""
        return len(self._running) + (self._prefilling is not None)

    def budget(self, prompt_tokens: int, options: GenerateConfig) -> int:
        """Tokens that a prompt may get at most."""
        # the last token is only shown, never fed back, so it needs no position
        return min(options.max_new_tokens, self.capacity - prompt_tokens + 1)

    def submit(self, request: Request) -> int:
        """Queue a request; its number appears in the deltas of later steps.

        Raises:
            ConfigError: the prompt is longer than the context.
            ValueError: an empty prompt, a token outside the vocabulary, or stop strings without
                a decoder.
        """
        prompt, vocabulary = request.prompt_ids, self.decoder.shape.vocab_size
        if len(prompt) > self.capacity:
            raise ConfigError(
                f"the prompt has {len(prompt)} tokens, the model's context is {self.capacity}",
                "shorten the prompt, or train a model with a larger model.max_seq_len",
            )
        if not prompt:
            raise ValueError("a prompt needs at least one token")
        if not 0 <= min(prompt) <= max(prompt) < vocabulary:
            raise ValueError(f"a token of the prompt is outside the vocabulary {vocabulary}")
        if request.options.stop and self.new_decoder is None:
            raise ValueError("stop strings need a decoder")
        stream = Stream(
            next(self._numbers),
            request,
            self.budget(len(prompt), request.options),
            self.new_decoder() if self.new_decoder else None,
            vocabulary,
            self.decoder.device,
        )
        self._waiting.append(stream)
        return stream.number

    def cancel(self, request: int) -> bool:
        """Drop a request, waiting or running; no further delta comes. False: it had ended."""
        for stream in self._waiting:
            if stream.number == request:
                self._waiting.remove(stream)
                return True
        if self._prefilling is not None and self._prefilling.number == request:
            self.cache.release(self._prefilling.slot)
            self._prefilling = None
            return True
        for stream in self._running:
            if stream.number == request:
                self._leave(stream)
                return True
        return False

    def step(self) -> list[Delta]:
        """Advance every running request by one token, and prompts by a chunk."""
        with torch.inference_mode(), _fitting_threads(self):
            self._take_in()
            return self._decode() if self._running else []

    def generate(
        self,
        prompt_ids: Sequence[int] | Sequence[Sequence[int]],
        options: GenerateConfig,
        *,
        n: int = 1,
        seed: int = 0,
        on_text: Callable[[int, str], None] | None = None,
        on_step: Callable[[int], None] | None = None,
    ) -> Generation:
        """Continue one prompt or many, which need not be equally long.

        Args:
            prompt_ids: one prompt, or a sequence of prompts.
            options: how to sample and when to stop.
            n: samples of each prompt; in fp32 sample i is the same whatever n and the other prompts
                are.
            seed: equal seeds give equal samples; see `Request`.
            on_text: called with (index in the result's samples, new text) as soon as the text is
                certain.
            on_step: called after each step with the number of samples that have ended.

        Raises:
            ConfigError: a prompt is longer than the context.
            ValueError: no prompt, n below 1, or see `submit`.
        """
        prompts = [[*ids] if isinstance(ids, Sequence) else [ids] for ids in prompt_ids]
        if prompt_ids and isinstance(prompt_ids[0], int):
            prompts = [[token for prompt in prompts for token in prompt]]
        if not prompts or n < 1:
            raise ValueError("there must be at least one prompt and one sample of each")
        start = time.perf_counter()
        index: dict[int, int] = {}  # of each request among the samples
        try:
            for ids in prompts:
                for sample in range(n):
                    index[self.submit(Request(ids, options, seed, sample))] = len(index)
            return self._collect(index, sum(map(len, prompts)), start, on_text, on_step)
        finally:  # an interrupted caller leaves nothing behind
            for number in index:
                self.cancel(number)

    def _collect(
        self,
        index: dict[int, int],
        prompt_tokens: int,
        start: float,
        on_text: Callable[[int, str], None] | None,
        on_step: Callable[[int], None] | None,
    ) -> Generation:
        samples = [Sample() for _ in index]
        left, fed = len(index), 0
        first = now = 0.0
        while left:
            deltas = [delta for delta in self.step() if delta.request in index]
            now = time.perf_counter()
            if first:
                fed += len(deltas)
            elif deltas:
                first = now
            for delta in deltas:
                sample = samples[index[delta.request]]
                sample.ids += delta.token_ids
                sample.text += delta.text
                if delta.text and on_text is not None:
                    on_text(index[delta.request], delta.text)
                if delta.finish_reason is not None:
                    sample.finish_reason = delta.finish_reason
                    left -= 1
            if on_step is not None:
                on_step(len(index) - left)
        return Generation(samples, prompt_tokens, first - start, fed, now - first)

    def _take_in(self) -> None:
        """Give slots to waiting requests and compute up to a chunk of their prompts."""
        room = self.prefill_chunk
        taken: list[tuple[Stream, Piece]] = []
        while room > 0 and (stream := self._prefilling or self._admit(taken)) is not None:
            # the last token of a prompt is read by the step that decodes its first new one
            ids = stream.prompt[stream.done : -1][:room]
            if ids:
                taken.append((stream, Piece(ids, stream.slot, stream.done)))
                stream.done += len(ids)
                room -= len(ids)
            self._prefilling = stream
            if stream.done == len(stream.prompt) - 1:
                self._running.append(stream)
                self._prefilling = None
        self._prefill(taken)

    def _prefill(self, taken: list[tuple[Stream, Piece]]) -> None:
        """Compute pieces of prompts and forget them."""
        if taken:
            self.decoder.prefill([piece for _, piece in taken], self.cache)
        for stream, piece in taken:
            self.cache.held[stream.slot] += piece.ids
        taken.clear()

    def _admit(self, taken: list[tuple[Stream, Piece]]) -> Stream | None:
        """The next waiting request with a slot, if there is room for one more."""
        if not self._waiting or self.running >= self.max_streams:
            return None
        stream = self._waiting.popleft()
        positions = len(stream.prompt) + min(stream.budget, ROOM_AT_ONCE) - 1
        slots = min(self.max_streams, self.running + len(self._waiting) + 1)
        self._reserve(slots, positions)
        beginning = stream.prompt[:WORTH_COPYING]
        if any(other.prompt[:WORTH_COPYING] == beginning for other, _ in taken):
            self._prefill(taken)  # so that it can be copied
        stream.slot, stream.done = self.cache.lease(stream.prompt[:-1])
        return stream

    def _reserve(self, slots: int, positions: int) -> None:
        self.cache.reserve(slots, min(-(-positions // ROUND_TO) * ROUND_TO, self.capacity))

    def _decode(self) -> list[Delta]:
        """One token for every running stream."""
        streams = list(self._running)
        if max(stream.done for stream in streams) >= self.cache.positions:
            most = max(len(stream.prompt) + stream.budget - 1 for stream in streams)
            self._reserve(0, min(2 * self.cache.positions, most))
        last = torch.tensor([stream.last for stream in streams], device=self.decoder.device)
        slots = [stream.slot for stream in streams]
        logits = self.decoder.decode(last, slots, [stream.done for stream in streams], self.cache)
        for stream in streams:
            self.cache.held[stream.slot].append(stream.last)
            stream.done += 1
        tokens = choose_tokens(streams, logits)
        scores = score_tokens(streams, logits, tokens)
        deltas = []
        for stream, token, score in zip(streams, tokens.tolist(), scores, strict=True):
            delta = stream.accept(token, score, self.stop_ids)
            if delta.finish_reason is not None:
                self._leave(stream)
            deltas.append(delta)
        return deltas

    def _leave(self, stream: Stream) -> None:
        self._running.remove(stream)
        self.cache.release(stream.slot)


@contextmanager
def _fitting_threads(engine: Engine) -> Iterator[None]:
    """As many CPU threads as the work of one step can use."""
    threads = torch.get_num_threads()
    texts = min(engine.running + engine.waiting, engine.max_streams)
    if (
        engine.decoder.device.type != "cpu"
        or texts * engine.parameters >= ONE_THREAD_BELOW
        or threads == 1
    ):
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
