"""Preferences: pairs of answers, and what the base model thinks of them, computed once."""

import json

import numpy as np
import torch
from numpy.typing import NDArray

from lilllm.data import BadRows
from lilllm.data.batches import longest_first
from lilllm.data.preferences import Preference, to_preference
from lilllm.data.tables import AnswerPairs, Encoded
from lilllm.errors import DataError
from lilllm.events import Caution, Note, Progress, counted
from lilllm.files import manifest_problem, new_folder, remove, sha256_json
from lilllm.model.checkpoint import weights_hash
from lilllm.stages.encode_rows import RowEncoder
from lilllm.stages.methods.job import Job, Plan
from lilllm.stages.methods.rows import is_held_out, read_good_rows
from lilllm.training.objectives.answers import token_logprobs
from lilllm.training.objectives.loss import move
from lilllm.training.objectives.preferences import dpo_loss

FORMAT = 1  # raise it when the reference's figures would differ


def plan(job: Job) -> Plan:
    """Tokenize pairs, split by what is asked, and score them with the base model.

    Raises:
        ConfigError: the run to continue was trained on other pairs.
        DataError: a row cannot be read, its two sides are equal, or nothing is left.
    """
    pairs = _read(job)
    train, held_out = (
        _table([pair for pair in pairs if pair[2] == held], job.tokenizer.end_id)
        for held in (False, True)
    )
    if train is None:
        raise DataError(
            f"finetune.{job.name}: no pairs to train on ({len(pairs)} held out)",
            "look at its sources with `lilllm data inspect --rows`",
        )
    data_hash = sha256_json([FORMAT, pairs, weights_hash(job.base)])[:16]
    job.check_rows(data_hash)
    _add_reference(job, data_hash, {"train": train, "val": held_out})
    return Plan(
        objective=dpo_loss(**job.section.dpo.model_dump()),
        windows=train,
        held_out=held_out,
        rows=len(train),
        held_out_rows=len(held_out or ()),
        data_hash=data_hash,
        batch_rows=job.section.batch_rows,
    )


def _read(job: Job) -> list[tuple[Encoded, Encoded, bool]]:
    """Ids and masks of both sides, and whether the pair is held out."""
    section, encoder = job.section, RowEncoder.of(job.tokenizer, job.section)
    bad = BadRows(section.on_bad_row, f"finetune.{job.name}.on_bad_row")
    pairs: list[tuple[Encoded, Encoded, bool]] = []
    too_long = 0
    needed = ("chosen", "rejected")
    for row, where in read_good_rows(section, job.config.seed, bad, to_preference, needed):
        pair = to_preference(row, where)
        try:
            chosen, rejected = (encode_side(encoder, pair, side) for side in sides_of(pair))
        except DataError as err:
            bad(where, err.message)
            continue
        if max(len(chosen[0]), len(rejected[0])) > job.length:
            if section.too_long == "refuse":
                raise DataError(
                    f"{where}: longer than the context of {job.length} tokens",
                    f"finetune.{job.name}.too_long=drop counts and drops such pairs",
                )
            too_long += 1
            continue
        pairs.append((chosen, rejected, is_held_out(asked_by(pair), section.val_fraction)))
    if bad.passed_over:
        job.report(
            Note(f"{counted(bad.passed_over, 'row')} of feedback without a preference passed over")
        )
    if bad.skipped:
        job.report(Caution(f"{counted(bad.skipped, 'pair')} left out; first: {bad.first}"))
    if too_long:
        job.report(Caution(f"{counted(too_long, 'pair')} longer than {job.length} tokens: dropped"))
    return pairs


def _table(pairs: list[tuple[Encoded, Encoded, bool]], fill_id: int) -> AnswerPairs | None:
    if not pairs:
        return None
    return AnswerPairs([pair[0] for pair in pairs], [pair[1] for pair in pairs], fill_id)


def encode_side(encoder: RowEncoder, pair: Preference, side: list[dict[str, str]]) -> Encoded:
    """One side, of which the judged answer is marked, not earlier ones in its prompt."""
    ids, mask = encoder.encode(side)
    if pair.prompt and any(message["role"] == "assistant" for message in pair.prompt):
        asked = len(encoder.encode_prompt(pair.prompt))
        mask = [0] * asked + mask[asked:]
    return ids, mask


def asked_by(pair: Preference) -> str:
    """What decides whether a pair is held out, so that all answers to a question are together."""
    return json.dumps(pair.prompt or pair.chosen, ensure_ascii=False)


def sides_of(pair: Preference) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Both conversations as a whole."""
    return pair.prompt + pair.chosen, pair.prompt + pair.rejected


def _add_reference(job: Job, data_hash: str, tables: dict[str, AnswerPairs | None]) -> None:
    """Give the tables the base model's log-probabilities, stored beside the checkpoints."""
    key = sha256_json([data_hash, job.machine.precision])[:16]
    folder = job.folder / f"reference-{key}"

    def compute() -> None:
        if folder.is_dir() and not manifest_problem(folder):
            return
        for old in job.folder.glob("reference-*"):
            remove(old)
        with new_folder(folder) as partial:
            for name, table in tables.items():
                if table is not None:
                    np.save(partial / f"{name}.npy", _score(job, table, name))
        job.report(Note(f"the base model's log-probabilities are kept in {folder}"))

    job.world.first(compute)
    for name, table in tables.items():
        if table is not None:
            table.reference = np.load(folder / f"{name}.npy", allow_pickle=False)


def _score(job: Job, table: AnswerPairs, name: str) -> NDArray[np.float32]:
    job.model.eval()
    scores = np.zeros((len(table), 2), dtype=np.float32)
    size = job.section.micro_batch_size
    with torch.no_grad(), job.machine.autocast():
        everything = longest_first(table, np.arange(len(table)))
        for start in range(0, len(table), size):
            rows = everything[start : start + size]
            ids, targets, _ = move(table.read(rows), job.machine.device)
            assert ids is not None and targets is not None
            found = token_logprobs(job.model, ids.flatten(0, 1), targets.flatten(0, 1)).sum(dim=1)
            scores[rows] = found.view(-1, 2).float().cpu().numpy()
            done = min(start + size, len(table))
            job.report(Progress(f"reference ({name})", done, len(table), "pairs"))
    return scores
