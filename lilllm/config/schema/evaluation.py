"""Keys of scoring a model: on text, and on test sets with right answers."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from lilllm.config.schema.base import Count, CountFromZero, Section, StepName
from lilllm.config.schema.data import DataConfig, SourceConfig


class TaskConfig(Section):
    """A test set with right answers, and how a model is asked."""

    kind: Literal["classification", "translation", "summarization"]
    """classification: accuracy, F1, confusion; translation: BLEU, chrF; summarization: ROUGE."""
    sources: tuple[SourceConfig, ...]
    """Rows with a question and its answer: `text`/`label`, `source`/`target`, or any other shape
    that finetuning takes."""
    format: Literal["chat", "plain"] = "chat"
    """As for finetuning; a classifier reads the text alone."""
    prompt: Annotated[str, Field(pattern=r"\{prompt\}")] = "{prompt}"
    """How a question is worded, with `{prompt}` where the row's stands."""
    answer: Literal["generate", "rank"] = "generate"
    """Classification by a language model: what it writes, or the label it finds likeliest."""
    shots: CountFromZero = 0
    """Examples that stand before each question: few-shot prompting; 0: none."""
    shot_sources: tuple[SourceConfig, ...] = ()
    """Where the examples come from: its first rows."""
    max_rows: Count | None = None
    """Rows to score at most."""
    max_new_tokens: Count = 128
    """Tokens of an answer at most."""

    @field_validator("sources", "shot_sources", mode="before")
    @classmethod
    def _plain_strings(cls, value: object) -> object:
        return DataConfig._plain_strings(value)


class EvalConfig(Section):
    """Scoring a model."""

    tasks: dict[StepName, TaskConfig] = Field(default_factory=dict)
    """Named test sets that are scored besides bits per byte."""

    sources: tuple[SourceConfig, ...] = ()
    """Texts to score; by default the validation split of the run."""
    max_documents: Count | None = None
    """Documents to score at most."""
    batch_tokens: Count = 16_384
    """Tokens per forward pass."""

    @field_validator("sources", mode="before")
    @classmethod
    def _plain_strings(cls, value: object) -> object:
        return DataConfig._plain_strings(value)
