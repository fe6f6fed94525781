"""Preparation from end to end: plan, run what is missing, choose documents, write shards.

The same inputs and options give the same bytes, whatever the number of processes and however
often the work was interrupted. Tokenizing is done by a callable from outside; nothing here knows
a tokenizer.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lilllm.data.assemble import SHARD_TOKENS, assemble
from lilllm.data.plan import Task, depends_on_seed, describe_inputs, inputs_key, plan_tasks
from lilllm.data.select import VAL, Selection, select
from lilllm.data.shards import FORMAT, Shards, read_shard_manifest
from lilllm.data.tasks import RECORD, EncoderFactory, task_files, task_summary
from lilllm.data.work import clear_finished_work, work_folder
from lilllm.data.workers import Job, run_tasks
from lilllm.errors import DataError, RunError
from lilllm.events import Caution, Note, Progress, Report, short_count
from lilllm.files import (
    free_bytes,
    manifest_problem,
    new_folder,
    read_json,
    write_json,
)

if TYPE_CHECKING:
    from lilllm.config.schema import DataConfig

STAGE = "data prep"
KEY = "inputs.json"
"""Names, beside the shards, what they were made of, times of files included; no part of them."""
LARGE_SHARE = 0.2
"""Of the text: more for validation is told, unless it was asked for."""
BYTES_PER_TOKEN = 3.0  # a low guess, for the estimate of disk space
_HINT_SOURCES = "name some in the config, for example data.sources=[builtin:stories]"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What preparation must know of a tokenizer. encoder: makes one encoder per process."""

    encoder: EncoderFactory
    hash: str
    vocab_size: int
    end_id: int

    @property
    def dtype(self) -> str:
        """Of the ids on disk: the smallest that holds the vocabulary."""
        return "uint16" if self.vocab_size <= 1 << 16 else "uint32"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A complete folder of shards and what its preparation counted.

    tokens, documents, bytes: of all splits. shards: files of tokens. seconds: of this call.
    mb_per_s: text tokenized by this call per second, None when nothing was left to do.
    skipped_rows: rows that could not be read. empty, duplicates: documents left out.
    """

    path: Path
    tokens: int
    documents: int
    bytes: int
    shards: int
    seconds: float
    mb_per_s: float | None
    skipped_rows: int
    empty: int
    duplicates: int
    splits: dict[str, dict[str, int]]


def prepare(
    folder: Path,
    options: "DataConfig",
    vocabulary: Vocabulary,
    processes: int,
    seed: int,
    report: Report,
    task_bytes: int | None = None,
    shard_tokens: int = SHARD_TOKENS,
    fresh: bool = False,
) -> Prepared:
    """Make `folder` hold the shards of some sources; what is already done is not done again.

    Args:
        folder: of the shards; work in progress is kept beside it.
        options: sources, validation split, duplicates, bad rows.
        vocabulary: the tokenizer's side.
        processes: that tokenize.
        seed: of the built-in stories.
        report: told about progress.
        task_bytes: text of one task, about; by default chosen from the amount of text.
        shard_tokens: a shard is closed behind the document that reaches this.
        fresh: make everything anew; shards that are there stay until the new ones are complete.

    Raises:
        DataError: a source cannot be read, or nothing is left.
        RunError: the disk is full, or another process prepares the same folder.
    """
    begin = time.perf_counter()
    if not options.sources:
        raise DataError("data.sources: no sources of text are given", _HINT_SOURCES)
    inputs = _inputs(options, vocabulary, seed, task_bytes, shard_tokens)
    key = inputs_key([FORMAT, inputs])
    done = None if fresh else _complete(folder, key)
    if done is not None:
        clear_finished_work(folder, key)
        return _result(folder, done, time.perf_counter() - begin, None)
    with work_folder(folder, key, KEY, fresh) as work:
        tasks = plan_tasks(options.sources, options.val_sources, options.val_fraction, task_bytes)
        _announce(folder, work, tasks, vocabulary, report)
        job = Job(
            work, vocabulary.encoder, vocabulary.end_id, vocabulary.dtype, options.on_bad_row, seed
        )
        summaries, fresh_bytes = _run_missing(tasks, job, processes, report)
        records = [
            np.fromfile(task_files(work, task.index).records, dtype=RECORD) for task in tasks
        ]
        selection = select(tasks, records, options.val_fraction, options.deduplicate)
        counts = _counts(summaries, selection)
        _require_documents(selection, counts, summaries)
        manifest = {
            "format": FORMAT,
            "dtype": vocabulary.dtype,
            "vocab_size": vocabulary.vocab_size,
            "tokenizer_hash": vocabulary.hash,
            "end_id": vocabulary.end_id,
            "counts": counts,
            "inputs": _without_times(inputs),
        }
        report(Note(f"writing the shards of {int((selection.copies > 0).sum()):,} documents"))
        with new_folder(folder, manifest) as out:
            manifest["splits"] = assemble(
                work, out, records, selection, vocabulary.dtype, shard_tokens
            )
        write_json(folder / KEY, {"key": key})
    _remark(manifest, summaries, options, report)
    seconds = time.perf_counter() - begin
    return _result(folder, manifest, seconds, fresh_bytes / 1e6 / seconds)


def _inputs(
    options: "DataConfig",
    vocabulary: Vocabulary,
    seed: int,
    task_bytes: int | None,
    shard_tokens: int,
) -> dict[str, Any]:
    """Everything that the shards are a function of."""
    return {
        "sources": describe_inputs(options.sources),
        "val_sources": describe_inputs(options.val_sources),
        "val_fraction": options.val_fraction,
        "deduplicate": options.deduplicate,
        "on_bad_row": options.on_bad_row,
        "seed": seed if depends_on_seed(options) else None,
        "tokenizer_hash": vocabulary.hash,
        "end_id": vocabulary.end_id,
        "task_bytes": task_bytes,
        "shard_tokens": shard_tokens,
    }


def _without_times(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs without when their files were changed: the same content gives the same manifest."""
    plain = dict(inputs)
    for name in ("sources", "val_sources"):
        plain[name] = [dict(entry) for entry in inputs[name]]
        for entry in plain[name]:
            if "files" in entry:
                entry["files"] = [{"path": f["path"], "bytes": f["bytes"]} for f in entry["files"]]
    return plain


def _complete(folder: Path, key: str) -> dict[str, Any] | None:
    """The manifest of a folder that already holds exactly this, every byte of it."""
    try:
        manifest = read_shard_manifest(folder)
        if read_json(folder / KEY, DataError) != {"key": key} or manifest_problem(folder):
            return None
        for split in manifest["splits"]:
            Shards.open(folder, split)
    except (DataError, KeyError, TypeError):
        return None
    return manifest


def _announce(
    folder: Path, work: Path, tasks: Sequence[Task], vocabulary: Vocabulary, report: Report
) -> None:
    """Say what will be made, and refuse when the disk clearly cannot hold it.

    Raises:
        RunError: less than half of the estimated space is free.
    """
    text = sum(task.bytes for task in tasks)
    itemsize = np.dtype(vocabulary.dtype).itemsize
    needed = int(2 * text / BYTES_PER_TOKEN * itemsize)  # the tasks' tokens, and the shards
    free = free_bytes(folder)
    report(
        Note(
            f"about {short_count(text)}B of text; {short_count(needed)}B of disk while it runs, "
            "half of that after"
        )
    )
    needed -= sum(file.stat().st_size for file in work.iterdir())  # of tasks that are done
    if free < needed // 2:
        raise RunError(
            f"{folder}: about {needed / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free",
            "free some space, or work in a folder on another disk",
        )


def _run_missing(
    tasks: Sequence[Task], job: Job, processes: int, report: Report
) -> tuple[list[dict[str, Any]], int]:
    """Run unfinished tasks.

    Returns:
        the summaries of all tasks, and the bytes of text that this call tokenized.
    """
    itemsize = np.dtype(job.dtype).itemsize
    found = {t.index: task_summary(job.folder, t.index, itemsize) for t in tasks}
    missing = [task for task in tasks if found[task.index] is None]
    if len(missing) < len(tasks):
        report(Note(f"{len(tasks) - len(missing)} of {len(tasks)} tasks were done before"))
    total = sum(task.bytes for task in missing)
    begin = time.perf_counter()

    def progressed(running: int, finished: int) -> None:
        done = finished + running
        rate = done / 1e6 / max(time.perf_counter() - begin, 1e-9)
        # hub sources have no known size: total 0 says so
        known = 0 if any(task.bytes == 0 for task in missing) else max(total, done)
        report(Progress(STAGE, done / 1e6, known / 1e6, "MB", rate, "MB/s"))

    fresh = run_tasks(missing, job, processes, progressed) if missing else []
    for task, summary in zip(missing, fresh, strict=True):
        found[task.index] = summary
    summaries = [summary for summary in found.values() if summary is not None]
    return summaries, sum(int(summary["bytes"]) for summary in fresh)


def _counts(summaries: Sequence[dict[str, Any]], selection: Selection) -> dict[str, int]:
    return {
        "read": sum(s["documents"] for s in summaries),
        "empty": sum(s["empty"] for s in summaries),
        "skipped_rows": sum(s["skipped"] for s in summaries),
        "duplicates": selection.duplicates,
    }


def _require_documents(
    selection: Selection, counts: dict[str, int], summaries: Sequence[dict[str, Any]]
) -> None:
    """An empty result is always an error."""
    if ((selection.copies > 0) & (selection.split != VAL)).any():
        return
    first = next((s["first_bad"] for s in summaries if s["first_bad"]), "")
    reasons = [f"{counts['empty']} empty", f"{counts['skipped_rows']} unreadable"]
    raise DataError(
        f"data.sources hold no document to train on ({', '.join(reasons)})"
        + (f"; the first unreadable one is {first}" if first else ""),
        "check data.sources, and the `field` of each",
    )


def _remark(
    manifest: dict[str, Any],
    summaries: Sequence[dict[str, Any]],
    options: "DataConfig",
    report: Report,
) -> None:
    counts = manifest["counts"]
    if counts["skipped_rows"]:
        first = next(s["first_bad"] for s in summaries if s["first_bad"])
        report(Caution(f"{counts['skipped_rows']} unreadable rows were left out; first: {first}"))
    if counts["duplicates"] or counts["empty"]:
        report(
            Note(
                f"left out {counts['duplicates']} duplicates and {counts['empty']} empty documents"
            )
        )
    held_out = manifest["splits"]["val"]["bytes"]
    everything = sum(split["bytes"] for split in manifest["splits"].values())
    if (
        not options.val_sources
        and held_out > max(LARGE_SHARE, 2 * options.val_fraction) * everything
    ):
        report(
            Caution(
                f"{held_out / everything:.0%} of the text is held out for validation: documents "
                "stay whole, and one or a few are a large part; give data.val_sources, or the "
                "`separator` that divides documents in the files"
            )
        )
    wanted = options.val_fraction > 0 or options.val_sources
    if wanted and not manifest["splits"]["val"]["documents"]:
        report(
            Caution(
                "no document for validation: there is only one; give data.val_sources, or the "
                "`separator` that divides documents in the file"
            )
        )


def _result(
    folder: Path, manifest: dict[str, Any], seconds: float, mb_per_s: float | None
) -> Prepared:
    splits = manifest["splits"]
    sums = {
        key: sum(int(entry[key]) for entry in splits.values())
        for key in ("tokens", "documents", "bytes")
    }
    return Prepared(
        path=folder,
        **sums,
        shards=sum(len(entry["shards"]) for entry in splits.values()),
        seconds=seconds,
        mb_per_s=mb_per_s,
        skipped_rows=manifest["counts"]["skipped_rows"],
        empty=manifest["counts"]["empty"],
        duplicates=manifest["counts"]["duplicates"],
        splits={name: {key: int(entry[key]) for key in sums} for name, entry in splits.items()},
    )
