"""Keys of a finetuning step, and of each of its methods."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator, model_validator

from lilllm.config.schema.base import (
    Count,
    CountFromZero,
    Fraction,
    OpenFraction,
    Repeats,
    Section,
    Size,
)
from lilllm.config.schema.data import DataConfig, SourceConfig
from lilllm.config.schema.training import OptimizationConfig

UNPACKED = frozenset({"classify", "dpo", "grpo"})
"""Methods that go by `batch_rows`: for them `batch_tokens` need not divide anything."""


class RewardConfig(Section):
    """One reward that can be checked, 0 to 1 for the built-in ones."""

    kind: Literal["words", "number", "format", "length", "no_repetition", "python"]
    """words: share of the asked words in the answer, whole words only; number: its last number is
    the right one; format: all of it matches `pattern`; length: within `min_words` and
    `max_words`; no_repetition: share of its runs of `n` words that are different ones; python:
    your own `function`."""
    weight: Annotated[float, Field(ge=-1000, le=1000)] = 1.0
    """Multiplies its value in the sum."""
    passes: float = 1.0
    """The least value that counts as a success, for the success rate that is reported."""
    field: str = ""
    """Field of the row that holds the words (by default `words`) or the number (`answer`)."""
    pattern: str = ""
    """Regular expression of `format`."""
    min_words: CountFromZero = 0
    """Fewest words of `length`."""
    max_words: Count = 1000
    """Most words of `length`."""
    n: Size = 4
    """Words of a run of `no_repetition`."""
    function: str = ""
    """`path.py:function`, called with prompt, answer and row; it returns a number."""

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        if self.kind == "format":
            try:
                re.compile(self.pattern)
            except re.error as err:
                raise ValueError(f"pattern={self.pattern}: no regular expression: {err}") from err
        for kind, key in (("format", "pattern"), ("python", "function")):
            if self.kind == kind and not getattr(self, key):
                raise ValueError(f"kind={kind} needs {key}")
        return self


class LoraConfig(Section):
    """Low-rank updates beside frozen matrices (Hu et al. 2021, arXiv:2106.09685)."""

    rank: Size = 16
    """Rank of each update."""
    alpha: PositiveFloat = 32.0
    """An update is scaled by alpha / rank."""
    dropout: OpenFraction = 0.0
    """Dropout on what goes into the updates, in training only."""
    targets: tuple[str, ...] = ()
    """Names of the matrices that get one, as `q_proj`; empty: all matrices of the blocks."""


class DpoConfig(Section):
    """Learning from preferences (Rafailov et al. 2023, arXiv:2305.18290)."""

    beta: PositiveFloat = 0.1
    """How closely the model stays with its base: the larger, the closer."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of the pairs whose verdict is taken to be wrong."""
    likelihood_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Weight of the better answer's loss in nats per token: keeps it likely, so that the text stays
    good (Pang et al. 2024, arXiv:2404.19733)."""
    length_weight: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Reward of each token of an answer, beside what is learnt: where longer answers mostly win, a
    positive one explains that, so that the model does not learn to be long (Park et al. 2024,
    arXiv:2403.19159)."""


class FinetuneConfig(OptimizationConfig):
    """One step of finetuning, named by its key under `finetune`."""

    method: Literal["sft", "classify", "dpo", "distill", "grpo"] = "sft"
    """sft: supervised finetuning, loss on the assistant's tokens only; classify: a head that tells
    the labels of texts apart; dpo: pairs of a better and a worse answer; distill: sft, and
    the distribution of a teacher; grpo: reinforcement learning with rewards that can be checked."""
    tasks: tuple[str, ...] = ()
    """Names of `eval.tasks` to score after the last step; their measures stand in its result."""
    lora: LoraConfig | None = None
    """Train low-rank updates instead of the weights; `{}` takes the defaults."""
    dpo: DpoConfig = DpoConfig()
    """Options of `method: dpo`."""
    base: str = "auto"
    """Checkpoint to start from: its folder, a stage's (its `latest`), another run's (its last
    stage), or auto for the step before (the first: pretraining)."""
    sources: tuple[SourceConfig, ...] = ()
    """Rows as people have them: `messages`, `conversations` (ShareGPT), `prompt`/`completion`,
    alpaca's `instruction`/`input`/`output`, `source`/`target`, `text`/`label`, `text`, or
    `chosen`/`rejected`. A plain string is a source with default options."""
    format: Literal["chat", "plain"] = "chat"
    """chat: rows in the tokenizer's chat template; plain: question, a newline, answer,
    end-of-text."""
    prompt: Annotated[str, Field(pattern=r"\{prompt\}")] = "{prompt}"
    """How a question is worded, with `{prompt}` where the row's stands:
    `Translate into German: {prompt}`."""
    val_fraction: OpenFraction = 0.01
    """Share of rows held out for validation, chosen by a hash of the row."""
    epochs: Repeats = 1.0
    """Passes over the rows; ignored when `max_steps` is given."""
    max_steps: Count | None = None
    """Optimizer steps to take."""
    batch_rows: Size | None = None
    """Rows per optimizer step of methods that do not pack rows; by default as many as
    `micro_batch_size`. Those that pack go by `batch_tokens`."""
    label_smoothing: OpenFraction = 0.0
    """Share of a target's probability that is spread over the whole vocabulary (sft)."""
    dropout: OpenFraction | None = None
    """Dropout while training; by default `model.dropout`."""
    too_long: Literal["refuse", "drop", "split"] = "drop"
    """Rows longer than the context: stop and name one, count and drop them, or split them: a
    text anywhere, a conversation before a question. Methods that need whole rows do not split."""
    on_bad_row: Literal["refuse", "skip"] = "refuse"
    """What to do with a row that cannot be read: stop and name it, or count and skip it."""
    teacher: str = ""
    """distill: checkpoint or run folder to learn from; it must have the same tokenizer."""
    teacher_weight: Fraction = 0.5
    """distill: share of the teacher's distribution in the loss; the rows' own tokens have the
    rest."""
    teacher_temperature: PositiveFloat = 1.0
    """distill: divides the logits of both; above 1 shows more of the unlikely tokens."""
    teacher_top_k: Size = 64
    """distill: likeliest tokens of the teacher that are matched singly; the rest is one more."""
    teacher_logits: Literal["live", "stored"] = "live"
    """distill: ask the teacher at every step, or once before the first and keep 4 to 6 bytes per
    token of the rows and of `teacher_top_k`."""
    rewards: tuple[RewardConfig, ...] = ()
    """grpo: what an answer is rewarded for; the weighted values are added up."""
    group_size: Annotated[int, Field(ge=2, le=1024)] = 8
    """grpo: answers per prompt, which are compared with each other."""
    answer_tokens: Count = 256
    """grpo: most tokens of an answer; one that is cut off has no reward."""
    judge_cut_answers: bool = False
    """grpo: reward what was cut off too. Only how an answer begins is trained then: quicker, and
    what comes later does not drift."""
    kl_weight: NonNegativeFloat = 0.04
    """grpo: how much drifting away from the base costs, per nat and token."""
    likelihood_weight: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """grpo: weight of one more reward: the mean probability (geometric, per token) that the base
    gives the answer. What the other rewards do not read stays language then."""
    divide_by_std: bool = True
    """grpo: divide advantages by the standard deviation of their group's rewards."""

    @field_validator("sources", mode="before")
    @classmethod
    def _plain_strings(cls, value: object) -> object:
        return DataConfig._plain_strings(value)

    @model_validator(mode="after")
    def _has_what_its_method_needs(self) -> Self:
        if self.method == "distill" and not self.teacher:
            raise ValueError("method=distill needs a teacher, the folder of a checkpoint")
        if self.method == "grpo" and not self.rewards:
            raise ValueError("method=grpo needs rewards, for example [{kind: words}]")
        return self
