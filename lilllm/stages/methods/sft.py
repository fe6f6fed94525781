"""Supervised finetuning: rows as packed tokens, loss on what the assistant has to say."""

from lilllm.errors import DataError
from lilllm.stages.chat_rows import prepare_rows, row_names, row_windows
from lilllm.stages.methods.job import Job, Plan
from lilllm.training.objectives.answers import answer_loss


def plan(job: Job) -> Plan:
    """Tokenize the rows of a step.

    Raises:
        DataError: a row cannot be read, or nothing is left to train on.
    """
    cache, counts = job.world.first(
        lambda: prepare_rows(
            job.folder, job.section, job.tokenizer, job.length, job.config.seed, job.report
        )
    )
    windows = row_windows(cache, "train", job.length, job.tokenizer.end_id)
    if windows is None:
        raise DataError(f"finetune.{job.name}: no rows to train on")
    return Plan(
        objective=answer_loss(job.section.label_smoothing),
        windows=windows,
        held_out=row_windows(cache, "val", job.length, job.tokenizer.end_id),
        rows=counts.train,
        held_out_rows=counts.val,
        data_hash=cache.name,
        documents=lambda samples: row_names(cache, windows.spans(samples)),
        teaches_answers=not counts.only_texts,
    )
