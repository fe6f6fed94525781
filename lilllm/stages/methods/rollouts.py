"""Answers of the model that is being trained, from the inference engine.

Sampled at temperature 1 from the whole distribution, so that they are the policy's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from lilllm.config.schema import FinetuneConfig, GenerateConfig
from lilllm.errors import CheckpointError
from lilllm.inference import Engine, Request
from lilllm.model.transformer import Transformer
from lilllm.stages.generate import collect
from lilllm.tokenizer import StreamDecoder, Tokenizer

STREAMS = 64  # answers that are decoded together


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    ids: its tokens, with the one that ended it where it was complete. text: without it.
    """

    ids: list[int]
    text: str
    complete: bool


class Rollouts:
    """Called with prompts and a key for each, gives each prompt's group of answers.

    Args:
        model: whose weights are read anew at every call.
        tokenizer: its chat template decides which token ends an answer.
        section: group size and most tokens of an answer.
        seed: of the run.

    Raises:
        CheckpointError: the chat template ends an answer with no token of its own.
    """

    def __init__(
        self, model: Transformer, tokenizer: Tokenizer, section: FinetuneConfig, seed: int
    ) -> None:
        self.model, self.tokenizer, self.seed = model, tokenizer, seed
        self.group = section.group_size
        self.options = GenerateConfig(
            max_new_tokens=section.answer_tokens, temperature=1.0, top_p=1.0
        )
        plain = section.format == "plain"
        self.end_id = tokenizer.end_id if plain else _end_of_answer(tokenizer)

    def __call__(self, prompts: Sequence[list[int]], keys: Sequence[int]) -> list[list[Answer]]:
        """Answer every prompt `group` times."""
        engine = Engine(
            self.model,
            stop_ids=[self.end_id],
            new_decoder=lambda: StreamDecoder(self.tokenizer),
            max_streams=STREAMS,
        )
        requests = [
            Request(ids, self.options, hash((self.seed, key)) & (2**63 - 1), sample)
            for ids, key in zip(prompts, keys, strict=True)
            for sample in range(self.group)
        ]
        with torch.autocast(engine.decoder.device.type, enabled=False):  # validation is within one
            samples = collect(engine, requests)
        answers = [
            Answer([*made.ids, *[self.end_id] * complete], made.text, complete)
            for made in samples
            for complete in [made.finish_reason == "stop"]
        ]
        return [answers[at : at + self.group] for at in range(0, len(answers), self.group)]


def _end_of_answer(tokenizer: Tokenizer) -> int:
    ids, mask = tokenizer.encode_conversation(
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": "a"}]
    )
    learnt = [id for id, target in zip(ids, mask, strict=True) if target]
    if not learnt or learnt[-1] not in tokenizer.stop_ids:
        raise CheckpointError(
            "method=grpo: the chat template of the base does not end an answer with a token that "
            "ends a text, so answers would never be complete",
            "name as its base a checkpoint that was finetuned as a chat model",
        )
    return learnt[-1]
