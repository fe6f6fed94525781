"""Generation from one prompt: prefill once, decode all its samples as one batch.

Knows token ids and a way to decode them; prompts as text, templates and files are the stages'.
All samples of a batch are at the same position; a batch of unequal prompts would need a mask in
the model and a cache that knows each row's length.
"""

import random
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from lilllm.config.schema import GenerateConfig
from lilllm.errors import ConfigError
from lilllm.inference.cache import KVCache
from lilllm.inference.sampling import next_tokens, sample_generator
from lilllm.inference.stopping import TextDecoder, TextStream
from lilllm.model import Transformer, count_parameters

FinishReason = Literal["stop", "length"]

ONE_THREAD_BELOW = 2e7
"""Parameters times samples below which a CPU decodes with one thread: there is less to compute
than to wait for a second one, and on a busy machine that wait is ten times the work."""


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
        samples: in the order of their numbers.
        prompt_tokens: length of the prompt.
        first_token_s: seconds from the call to the first tokens.
        decode_tokens: tokens of all samples after their first.
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
        model: used as it is, on its device and in its type.
        stop_ids: tokens that end a text.
        new_decoder: makes a decoder for one sample; needed for text and stop strings.
    """

    def __init__(
        self,
        model: Transformer,
        *,
        stop_ids: Collection[int] = (),
        new_decoder: Callable[[], TextDecoder] | None = None,
    ) -> None:
        self.model, self.stop_ids, self.new_decoder = model, frozenset(stop_ids), new_decoder

    def generate(
        self,
        prompt_ids: Sequence[int],
        options: GenerateConfig,
        *,
        n: int = 1,
        seed: int = 0,
        on_text: Callable[[int, str], None] | None = None,
    ) -> Generation:
        """Continue a prompt.

        Args:
            prompt_ids: at least one token, usually starting with BOS.
            options: how to sample and when to stop.
            n: samples; sample i is the same whatever n is.
            seed: equal seeds give equal samples.
            on_text: called with (sample, new text) as soon as the text is certain.

        Raises:
            ConfigError: the prompt is longer than the context.
            ValueError: an empty prompt, a token outside the vocabulary, n below 1, or stop
                strings without a decoder.
        """
        self._check(prompt_ids, options, n)
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode(), _fitting_threads(self.model, n):
                return _Decoding(self, prompt_ids, options, n, seed, on_text).run()
        finally:
            self.model.train(training)

    def _check(self, prompt_ids: Sequence[int], options: GenerateConfig, n: int) -> None:
        shape = self.model.shape
        if len(prompt_ids) > shape.max_seq_len:
            raise ConfigError(
                f"the prompt has {len(prompt_ids)} tokens, the model's context is "
                f"{shape.max_seq_len}",
                "shorten the prompt, or train a model with a larger model.max_seq_len",
            )
        if not prompt_ids or n < 1:
            raise ValueError("a prompt needs at least one token, and n at least one sample")
        if not 0 <= min(prompt_ids) <= max(prompt_ids) < shape.vocab_size:
            raise ValueError(f"a token of the prompt is outside the vocabulary {shape.vocab_size}")
        if options.stop and self.new_decoder is None:
            raise ValueError("stop strings need a decoder")


class _Decoding:
    """One call of `Engine.generate`: the rows still decoding and what each has so far."""

    def __init__(
        self,
        engine: Engine,
        prompt_ids: Sequence[int],
        options: GenerateConfig,
        n: int,
        seed: int,
        on_text: Callable[[int, str], None] | None,
    ) -> None:
        self.model, self.stop_ids, self.options = engine.model, engine.stop_ids, options
        self.prompt_ids = list(prompt_ids)
        # the last token is only shown, never fed back, so it needs no position
        room = self.model.shape.max_seq_len - len(prompt_ids) + 1
        self.budget = min(options.max_new_tokens, room)
        self.samples = [Sample() for _ in range(n)]
        self.draws = [sample_generator(seed, index) for index in range(n)]
        self.streams = [
            TextStream(
                engine.new_decoder() if engine.new_decoder else None,
                options.stop,
                partial(on_text, index) if on_text else _unheard,
            )
            for index in range(n)
        ]
        self.active = list(range(n))  # the sample of each row of the batch

    def run(self) -> Generation:
        """Prefill, then one token per row and forward pass until every row has ended."""
        start = time.perf_counter()
        logits = self._prefill()  # [B, V]
        first = decoded = start
        fed = 0
        while True:
            tokens = next_tokens(logits, self.options, self.seen, self._active_draws())
            chosen = tokens.tolist()
            decoded = time.perf_counter()
            if not fed:
                first = decoded
            keep = [row for row, token in enumerate(chosen) if self._accept(row, token)]
            if not keep:
                break
            if len(keep) < len(chosen):
                tokens = tokens[keep]
                self._drop_all_but(keep)
            if self.seen is not None:
                self.seen.scatter_(1, tokens[:, None], True)
            logits = self.model(tokens[:, None], cache=self.cache)[:, -1]
            fed += len(keep)
        return Generation(self.samples, len(self.prompt_ids), first - start, fed, decoded - first)

    def _prefill(self) -> Tensor:
        """Run the prompt once and fork its cache for every sample."""
        weight = self.model.output_weight
        prompt = torch.tensor([self.prompt_ids], device=weight.device)  # [1, T]
        capacity = len(self.prompt_ids) + self.budget - 1
        self.cache = KVCache(self.model.shape, 1, capacity, weight.dtype, weight.device)
        hidden = self.model.hidden(prompt, cache=self.cache)[:, -1]
        rows = [0] * len(self.samples)
        if len(rows) > 1:
            self.cache.select(rows)
        self.seen: Tensor | None = None
        if self.options.repetition_penalty != 1:
            vocabulary = self.model.shape.vocab_size
            self.seen = torch.zeros(len(rows), vocabulary, dtype=torch.bool, device=weight.device)
            self.seen[:, prompt[0]] = True
        return self.model.logits(hidden)[rows]

    def _active_draws(self) -> list[random.Random]:
        return [self.draws[sample] for sample in self.active]

    def _accept(self, row: int, token: int) -> bool:
        """Add a token to its sample; whether the sample goes on."""
        index = self.active[row]
        sample, stream = self.samples[index], self.streams[index]
        ended = token in self.stop_ids
        if not ended:
            sample.ids.append(token)
            ended = stream.push(token)
        if not ended and len(sample.ids) < self.budget:
            return True
        if stream.finish() or ended:
            sample.finish_reason = "stop"
        sample.text = stream.text
        return False

    def _drop_all_but(self, rows: list[int]) -> None:
        self.active = [self.active[row] for row in rows]
        self.cache.select(rows)
        if self.seen is not None:
            self.seen = self.seen[rows]


def _unheard(text: str) -> None:
    """Where nobody listens to the text as it grows."""


@contextmanager
def _fitting_threads(model: Transformer, samples: int) -> Iterator[None]:
    """As many CPU threads as the work of one step can use."""
    threads = torch.get_num_threads()
    work = samples * sum(count_parameters(model.shape).values())
    if model.output_weight.device.type != "cpu" or work >= ONE_THREAD_BELOW or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
