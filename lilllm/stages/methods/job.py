"""What a method of finetuning is given, and what it answers.

A method is one function from a `Job` to a `Plan`, in one file of this folder, and one line in the
table of `stages/finetune.py`. It may change the model it is given (add a head, say) before the
loop trains it; which parameters require gradients is what is trained.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilllm.config import Config
from lilllm.config.schema import FinetuneConfig
from lilllm.data.batches import Ints, Windows
from lilllm.events import Report
from lilllm.model.transformer import Transformer
from lilllm.stages.training_stage import check_provenance
from lilllm.tokenizer import Tokenizer
from lilllm.training.distributed import World
from lilllm.training.hardware import Machine
from lilllm.training.objectives import Objective

Measures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """One step to train.

    config: resolved. name, section: of the step. folder: where it works. base: the checkpoint it
    starts from. model: with the base's weights, on the machine's device. length: of the context.
    resume_from: the step's own checkpoint to continue, if any.
    """

    config: Config
    name: str
    section: FinetuneConfig
    folder: Path
    base: Path
    model: Transformer
    tokenizer: Tokenizer
    machine: Machine
    world: World
    length: int
    resume_from: Path | None
    report: Report

    def check_rows(self, data_hash: str) -> None:
        """Refuse rows that the run to continue was not trained on, before costly work on them.

        Raises:
            ConfigError: `data_hash` is not that of the checkpoint's plan.
        """
        if self.resume_from is not None:
            check_provenance(self.resume_from, {"rows_hash": data_hash})


@dataclass(frozen=True, slots=True)
class Plan:
    """What the loop trains on.

    objective: batch to loss. windows: the samples. held_out: samples to validate on, if any.
    rows, held_out_rows: how many went in. data_hash: names the rows; a run continues only on the
    same ones. batch_rows: samples of a step where `batch_tokens` does not say it. steps: of
    the whole run, where the table of samples was made for so many. labels: of a
    classifier, saved with it. documents: names of the rows that some samples are made of. measure:
    further results once training has ended, on the last weights, in the first process alone.
    teaches_answers: whether somebody answers in the rows; else they are texts to go on with.
    """

    objective: Objective
    windows: Windows
    held_out: Windows | None
    rows: int
    held_out_rows: int
    data_hash: str
    batch_rows: int | None = None
    steps: int | None = None
    labels: tuple[str, ...] = ()
    documents: Callable[[Ints], list[str]] = lambda rows: []
    measure: Callable[[Report], Measures] = field(default=lambda _: {})
    teaches_answers: bool = True
