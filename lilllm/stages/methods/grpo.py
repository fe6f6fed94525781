"""GRPO: the model answers prompts, rewards say how well, and better answers become likelier.

A sample of the window table is one prompt and `group_size` answers to it, given by the model as
it is when the sample is read: the loop reads a step's samples before it updates, so every answer
is used once, by the model that gave it. The table is as long as the run, so a row of it is seen
once; answers are keyed by (seed, row, number), and an interrupted run gives the same ones again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from lilllm.config.schema import FinetuneConfig
from lilllm.data import BadRows, read_rows
from lilllm.data.batches import IGNORE, Ints
from lilllm.data.conversations import question
from lilllm.data.journal import Journal
from lilllm.data.rewards import check_row, make_reward, read_by, score
from lilllm.errors import ConfigError, DataError
from lilllm.events import Caution, silent
from lilllm.files import sha256_json
from lilllm.model.checkpoint import load_model
from lilllm.stages.encode_rows import RowEncoder
from lilllm.stages.methods.job import Job, Plan
from lilllm.stages.methods.rollouts import Answer, Rollouts
from lilllm.training.objectives.answers import token_logprobs
from lilllm.training.objectives.grpo import group_advantages, grpo_loss
from lilllm.training.objectives.loss import move

ROUND_TO = 64
"""Sequences are padded to a multiple of this, so that few shapes occur."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A question: its text, its ids, and the row that it comes from."""

    text: str
    ids: list[int]
    row: Mapping[str, Any]


class AnsweredPrompts:
    """A table of `size` samples: prompts in turn, each answered anew when it is read.

    Args:
        prompts: what is asked.
        size: samples in the table.
        answer: gives the answers to (prompt ids, key) pairs, each `group` times.
        judge: reward and success of an answer.
        reference: log-probabilities [B, T] of targets under the base, for ids and targets.
        section: of the step.
        record: is handed what was answered, to be read by people.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        size: int,
        answer: Callable[[Sequence[list[int]], Sequence[int]], list[list[Answer]]],
        judge: Callable[[Prompt, Answer], tuple[float, bool]],
        reference: Callable[[Ints, Ints], Any],
        section: FinetuneConfig,
        record: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self._prompts, self._size = prompts, size
        self._answer, self._judge, self._reference = answer, judge, reference
        self._section, self._record = section, record
        mean_prompt = sum(len(prompt.ids) for prompt in prompts) // len(prompts)
        self.length = section.group_size * (mean_prompt + section.answer_tokens)
        self._longest = max(len(prompt.ids) for prompt in prompts) + section.answer_tokens

    def __len__(self) -> int:
        return self._size

    def read(self, rows: Ints) -> tuple[Any, ...]:
        """Ids, targets, reference log-probabilities [B, T]; advantages, rewards, passed [B]."""
        asked = [self._prompts[row % len(self._prompts)] for row in rows.tolist()]
        groups = self._answer([prompt.ids for prompt in asked], rows.tolist())
        pairs = [
            (prompt, answer)
            for prompt, group in zip(asked, groups, strict=True)
            for answer in group
        ]
        texts = [(prompt.ids, answer.ids) for prompt, answer in pairs]
        ids, targets = _sequences(texts, self._longest)
        reference = self._reference(ids, targets)
        judged = [self._judge(prompt, answer) for prompt, answer in pairs]
        rewards = np.array([reward for reward, _ in judged], np.float32)
        if self._section.likelihood_weight:
            cut = np.array([not answer.complete for _, answer in pairs])
            likely = np.exp(reference.sum(axis=1) / (targets != IGNORE).sum(axis=1))
            if not self._section.judge_cut_answers:
                likely[cut] = 0
            rewards += self._section.likelihood_weight * likely
        size = self._section.group_size
        self._record(
            [
                {
                    "sample": row,
                    "prompt": prompt.text,
                    "answer": group[0].text,
                    "complete": group[0].complete,
                    "reward": float(rewards[number * size]),
                    "group_reward": float(rewards[number * size : (number + 1) * size].mean()),
                }
                for number, (row, prompt, group) in enumerate(
                    zip(rows.tolist(), asked, groups, strict=True)
                )
            ]
        )
        return (
            *(ids, targets, reference),
            group_advantages(rewards, size, self._section.divide_by_std),
            *(rewards, np.array([passed for _, passed in judged], np.float32)),
        )


def plan(job: Job) -> Plan:
    """Read the prompts of a step, load its rewards and its reference.

    Raises:
        ConfigError: a reward cannot be loaded, or no prompt leaves room for an answer.
        DataError: a row cannot be read or asks nothing.
    """
    section, machine = job.section, job.machine
    if section.distributed == "fsdp2":
        raise ConfigError(
            f"finetune.{job.name}: method=grpo needs whole weights to answer with, fsdp2 shards "
            "them",
            f"finetune.{job.name}.distributed=ddp",
        )
    rewards = [(config, make_reward(config)) for config in section.rewards]
    train, held_out = _read_prompts(job)
    reference = load_model(job.base, device=machine.device).eval().requires_grad_(False)
    rollouts = Rollouts(job.model, job.tokenizer, section, job.config.seed)

    def under_reference(ids: Ints, targets: Ints) -> Any:
        moved = move((ids, targets), machine.device)
        assert moved[0] is not None and moved[1] is not None
        with torch.no_grad(), machine.autocast():
            return token_logprobs(reference, moved[0], moved[1]).float().cpu().numpy()

    def judge(prompt: Prompt, answer: Answer) -> tuple[float, bool]:
        counts = answer.complete or section.judge_cut_answers
        return score(rewards, prompt.text, answer.text, prompt.row, counts)

    def record(split: str, rows: list[dict[str, Any]]) -> None:
        if job.world.is_first:
            journal = Journal(job.folder / "rollouts.jsonl", silent)
            journal.append([{"split": split, **row} for row in rows])

    assert section.batch_rows is not None  # resolved when the stage was opened
    per_step = section.batch_rows
    steps = section.max_steps or max(1, math.ceil(section.epochs * len(train) / per_step))

    def table(split: str, prompts: Sequence[Prompt], size: int) -> AnsweredPrompts:
        keep = partial(record, split)
        return AnsweredPrompts(prompts, size, rollouts, judge, under_reference, section, keep)

    return Plan(
        objective=grpo_loss(section.kl_weight, section.answer_tokens),
        windows=table("train", train, steps * per_step),
        held_out=table("val", held_out, len(held_out)) if held_out else None,
        rows=len(train),
        held_out_rows=len(held_out),
        data_hash=_hash(train, held_out),
        batch_rows=per_step,
        steps=steps,
    )


def _hash(*splits: Sequence[Prompt]) -> str:
    """Of all that is asked, and of the rows, whose fields rewards may read."""
    said = [[[p.text, p.ids, repr(sorted(p.row.items()))] for p in split] for split in splits]
    return sha256_json(said)[:16]


def _read_prompts(job: Job) -> tuple[list[Prompt], list[Prompt]]:
    """Prompts to train on and held-out ones, chosen by a hash of what they ask."""
    section = job.section
    bad = BadRows(section.on_bad_row, f"finetune.{job.name}.on_bad_row")
    splits: tuple[list[Prompt], list[Prompt]] = ([], [])
    encoder = RowEncoder.of(job.tokenizer, section)
    too_long, seen = 0, set()
    for source in section.sources:
        for row, where in read_rows(source, on_bad_row=bad, seed=job.config.seed):
            try:
                messages = question(row, where)
                for config in section.rewards:
                    check_row(config, row)
                ids = encoder.encode_prompt(messages)
            except DataError as err:
                bad(where, err.message.removeprefix(f"{where}: "))
                continue
            if len(ids) + section.answer_tokens > job.length:
                if section.too_long == "refuse":
                    raise DataError(
                        f"{where}: a prompt of {len(ids)} tokens leaves less than "
                        f"{section.answer_tokens} of {job.length} for an answer",
                        f"finetune.{job.name}.too_long=drop counts and drops such prompts",
                    )
                too_long += 1
                continue
            digest = sha256_json(messages)
            judged_by = [read_by(config, row) for config in section.rewards]
            if (digest, repr(judged_by)) not in seen:
                seen.add((digest, repr(judged_by)))
                held_out = int(digest[:12], 16) / 16**12 < section.val_fraction
                splits[held_out].append(Prompt(messages[-1]["content"], ids, row))
    if bad.skipped:
        job.report(Caution(f"{bad.skipped:,} rows were left out; first: {bad.first}"))
    if too_long:
        job.report(
            Caution(
                f"{too_long:,} prompts leave less than {section.answer_tokens} of "
                f"{job.length} tokens for an answer and were dropped"
            )
        )
    if not splits[0]:
        raise DataError(
            f"finetune.{job.name}: no prompts to answer ({too_long} too long, "
            f"{len(splits[1])} held out)",
            "give more rows, or lower answer_tokens or val_fraction",
        )
    return splits


def _sequences(pairs: Sequence[tuple[list[int], list[int]]], most: int) -> tuple[Ints, Ints]:
    """Ids and targets [B, T] of prompts with their answers; the answers alone are targets.

    T is rounded up, to `most` at most.
    """
    longest = max(len(prompt) + len(answer) - 1 for prompt, answer in pairs)
    shape = (len(pairs), max(longest, min(most, -(-longest // ROUND_TO) * ROUND_TO)))
    ids = np.zeros(shape, np.int64)
    targets = np.full(shape, IGNORE, np.int64)
    for number, (prompt, answer) in enumerate(pairs):
        whole = [*prompt, *answer]
        ids[number, : len(whole) - 1] = whole[:-1]
        targets[number, len(prompt) - 1 : len(whole) - 1] = answer
    return ids, targets
