"""Keys about text: where it comes from, its tokenizer, its shards, and text that a model writes."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, field_validator, model_validator

from lilllm.config.schema.base import (
    Count,
    CountFromZero,
    Fraction,
    OpenFraction,
    Repeats,
    Section,
    Workers,
)

StoryFeature = Literal["dialogue", "moral", "bad ending", "twist", "conflict", "foreshadowing"]


class SourceConfig(Section):
    """One source of documents or rows."""

    path: str
    """`builtin:stories`, a file or glob (.txt .jsonl .json .csv .tsv .parquet, also .gz .zst),
    or `hf:org/name[:config]` for a dataset of the Hugging Face hub."""
    field: str = "text"
    """Column or key that holds a document's text."""
    split: str = "train"
    """Split of a hub dataset."""
    columns: tuple[str, ...] = ()
    """Names of the columns of a .csv or .tsv file without a header line."""
    fields: dict[str, str] = Field(default_factory=dict)
    """For rows whose fields have other names than lilllm's: `{prompt: question, completion: reply}`
    reads `question` as the prompt. Fields that are not named are left out."""
    separator: str = "<|endoftext|>"
    """Line that separates documents in a .txt file; empty: the whole file is one document."""
    weight: Repeats = 1.0
    """How often each of its documents is seen relative to the others: 2 means twice, 0.5 means
    that a fixed half of them is kept, chosen by a hash of the document."""
    documents: Count | None = None
    """At most this many documents; for `builtin:` sources how many are generated."""


class TokenizerConfig(Section):
    """Byte-level BPE."""

    path: str | None = None
    """Folder of a tokenizer to use instead of training one."""
    vocab_size: Annotated[int, Field(ge=273, le=1_000_000)] = 8192
    """Tokens in the vocabulary, 16 special tokens and 256 bytes included."""
    train_bytes: Count = 100_000_000
    """At most this many bytes of text are used for training it."""


class DataConfig(Section):
    """Text for pretraining, and how it becomes shards of tokens."""

    path: str | None = None
    """Folder of prepared data to use instead of preparing it."""
    sources: tuple[SourceConfig, ...] = ()
    """Where documents come from; a plain string is a source with default options."""
    val_sources: tuple[SourceConfig, ...] = ()
    """Sources of the validation split; when given, `sources` are for training alone."""
    val_fraction: OpenFraction = 0.005
    """Share of documents held out for validation, chosen by a hash of the document."""
    deduplicate: bool = True
    """Drop documents that are byte for byte equal to an earlier one."""
    on_bad_row: Literal["refuse", "skip"] = "refuse"
    """What to do with a row that cannot be read: stop and name it, or count and skip it."""
    processes: Workers | Literal["auto"] = "auto"
    """Processes that tokenize; auto: one per core."""

    @field_validator("sources", "val_sources", mode="before")
    @classmethod
    def _plain_strings(cls, value: object) -> object:
        if isinstance(value, str):
            value = [value]
        if isinstance(value, list | tuple):
            return [{"path": item} if isinstance(item, str) else item for item in value]
        return value


class SynthConfig(Section):
    """Data that a model writes: `lilllm data synth`. How it samples is `generate`."""

    recipe: Literal["stories", "self-instruct"] = "stories"
    """stories: short stories with three given words; self-instruct: tasks like the seed tasks."""
    writer: str = "auto"
    """Who writes: a checkpoint or run folder, the base URL of an OpenAI-compatible server
    (http://host/v1), or auto for the newest checkpoint under `runs/`."""
    model: str = ""
    """Name of the model at the server."""
    api_key_variable: str = ""
    """Environment variable that holds the server's key; empty: none is sent."""
    rows: Count = 1000
    """Rows to keep; a later run with more goes on from there."""
    parallel: Annotated[int, Field(ge=1, le=256)] = 8
    """Requests at a time."""
    timeout_seconds: PositiveFloat = 120.0
    """Seconds that one request to a server may take."""
    retries: Annotated[int, Field(ge=0, le=100)] = 6
    """How often a failed request is tried again, with pauses that double from 0.5 s to 60 s."""
    min_words: CountFromZero = 1
    """Fewest words of a story or an answer that is kept."""
    max_words: Count = 1000
    """Most words of a story or an answer that is kept."""
    features: tuple[StoryFeature, ...] = ("dialogue", "moral", "bad ending", "twist")
    """stories: what may be asked for besides the words."""
    seeds: SourceConfig | None = None
    """self-instruct: rows of seed tasks with their answers, in any shape that finetuning reads."""
    tasks_per_request: Annotated[int, Field(ge=1, le=50)] = 4
    """self-instruct: new tasks asked for at a time."""
    max_similarity: Fraction = 0.7
    """self-instruct: a task is dropped when its ROUGE-L with a known one is at least this."""

    @field_validator("seeds", mode="before")
    @classmethod
    def _plain_string(cls, value: object) -> object:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.min_words > self.max_words:
            raise ValueError(
                f"min_words={self.min_words} is more than synth.max_words={self.max_words}"
            )
        if self.recipe == "self-instruct" and self.seeds is None:
            raise ValueError("recipe=self-instruct needs synth.seeds, a file of seed tasks")
        return self
