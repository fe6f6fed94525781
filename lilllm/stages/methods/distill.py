"""Distillation: the rows of supervised finetuning, and what a teacher says of every token.

The teacher is asked at every step, or once for all windows before the first; then the answers
lie beside the rows as `<split>.ids` and `<split>.logprobs`, [windows, T, k].
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lilllm.data.batches import Batch, Ints, PackedWindows
from lilllm.errors import CheckpointError, ConfigError, DataError
from lilllm.events import Note, Progress
from lilllm.files import manifest_problem, new_folder, remove, sha256_json
from lilllm.model.checkpoint import load_model, weights_hash
from lilllm.model.transformer import Transformer
from lilllm.stages.chat_rows import prepare_rows, row_windows
from lilllm.stages.find_checkpoint import find_checkpoint
from lilllm.stages.methods.job import Job, Plan
from lilllm.tokenizer import Tokenizer
from lilllm.training.objectives.distill import distill_loss, top_logprobs
from lilllm.training.objectives.loss import move

Arrays = tuple[NDArray[np.integer], NDArray[np.floating]]
Teach = Callable[[Ints, Batch], Arrays]


class TaughtWindows:
    """Windows whose batches carry the teacher's likeliest tokens and their log-probabilities."""

    def __init__(self, windows: PackedWindows, teach: Teach) -> None:
        self._windows, self._teach = windows, teach
        self.length = windows.length

    def __len__(self) -> int:
        return len(self._windows)

    def read(self, rows: Ints) -> tuple[Any, ...]:
        """Ids, targets, segments, and the teacher's two arrays [B, T, k]."""
        batch = self._windows.read(rows)
        return (*batch, *self._teach(rows, batch))


def plan(job: Job) -> Plan:
    """Tokenize the rows of a step and open its teacher.

    Raises:
        CheckpointError: the teacher is missing, damaged or has another tokenizer.
        ConfigError: its context is shorter than the student's, or the run to continue was
            trained on other rows or by another teacher.
        DataError: a row cannot be read, or nothing is left to train on.
    """
    section = job.section
    folder, teacher = _open_teacher(job)
    cache, counts = job.world.first(
        lambda: prepare_rows(
            job.folder, section, job.tokenizer, job.length, job.config.seed, job.report
        )
    )
    windows = row_windows(cache, "train", job.length, job.tokenizer.end_id)
    if windows is None:
        raise DataError(
            f"finetune.{job.name}: no rows to train on",
            f"give more rows in finetune.{job.name}.sources, or lower its val_fraction",
        )
    held_out = row_windows(cache, "val", job.length, job.tokenizer.end_id)

    def ask(rows: Ints, batch: Batch) -> Arrays:
        ids, _, segments = move(batch, job.machine.device)
        assert ids is not None
        with job.machine.autocast():
            top = top_logprobs(
                teacher, ids, segments, section.teacher_top_k, section.teacher_temperature
            )
        return top[0].cpu().numpy(), top[1].float().cpu().numpy()

    weights = weights_hash(folder)
    data_hash = f"{cache.name}-{weights[:16]}"
    job.check_rows(data_hash)
    vocabulary = teacher.shape.vocab_size  # the tokenizer's, and what fills it up
    stored = section.teacher_logits == "stored"
    return Plan(
        objective=distill_loss(section.teacher_weight, section.teacher_temperature),
        windows=TaughtWindows(
            windows, _stored(job, cache, weights, vocabulary, windows, ask) if stored else ask
        ),
        held_out=None if held_out is None else TaughtWindows(held_out, ask),
        rows=counts.train,
        held_out_rows=counts.val,
        data_hash=data_hash,
        teaches_answers=not counts.only_texts,
    )


def _open_teacher(job: Job) -> tuple[Path, Transformer]:
    folder = job.world.first(lambda: find_checkpoint(Path(job.section.teacher), job.report))
    tokenizer = Tokenizer.load(folder)
    if tokenizer.hash != job.tokenizer.hash:
        raise CheckpointError(
            f"finetune.{job.name}.teacher: {folder} has another tokenizer "
            f"({tokenizer.hash[:12]}, {tokenizer.vocab_size:,} tokens) than the student's base "
            f"({job.tokenizer.hash[:12]}, {job.tokenizer.vocab_size:,} tokens)",
            "let it write rows instead, with `lilllm data synth synth.writer=...`, and train on "
            "those with method: sft",
        )
    teacher = load_model(folder, device=job.machine.device).eval().requires_grad_(False)
    if teacher.shape.max_seq_len < job.length:
        raise ConfigError(
            f"finetune.{job.name}.teacher: {folder} has a context of {teacher.shape.max_seq_len} "
            f"tokens, the rows one of {job.length}",
            f"model.max_seq_len={teacher.shape.max_seq_len}, or another teacher",
        )
    return folder, teacher


def _stored(
    job: Job, cache: Path, weights: str, vocabulary: int, windows: PackedWindows, ask: Teach
) -> Teach:
    """The teacher's answers for all windows, read from files that are made once."""
    section = job.section
    k = min(section.teacher_top_k, vocabulary)
    asked = [cache.name, weights, section.teacher_temperature, k, windows.length]
    key = sha256_json([*asked, job.machine.precision])[:16]
    folder = job.folder / f"teacher-{key}"
    id_type = np.dtype("<u2" if vocabulary <= 2**16 else "<u4")
    shape = (len(windows), windows.length, k)

    def make() -> None:
        if not manifest_problem(folder):
            return
        size = int(np.prod(shape)) * (id_type.itemsize + 2)
        job.report(Note(f"{folder}: the teacher's answers to {shape[0]:,} samples, {size:,} bytes"))
        with (
            new_folder(folder) as partial,
            (partial / "train.ids").open("wb") as ids,
            (partial / "train.logprobs").open("wb") as logprobs,
        ):
            for start in range(0, shape[0], section.micro_batch_size):
                rows = np.arange(start, min(shape[0], start + section.micro_batch_size))
                top_ids, top = ask(rows, windows.read(rows))
                ids.write(top_ids.astype(id_type).tobytes())
                logprobs.write(top.astype("<f2").tobytes())
                job.report(Progress("teacher", start + len(rows), shape[0], "samples"))
        for other in job.folder.glob("teacher-*"):
            if other != folder:
                remove(other)

    job.world.first(make)
    ids = np.memmap(folder / "train.ids", id_type, "r", shape=shape)
    logprobs = np.memmap(folder / "train.logprobs", "<f2", "r", shape=shape)
    return lambda rows, batch: (ids[rows].astype(np.int64), logprobs[rows].astype(np.float32))
