"""The one schema: every knob of every stage, its default, its unit and its effect.

The docstring under a field is its documentation; `lilllm config schema` is generated from it.
This file only declares and checks. Reading YAML and overrides is `load.py`, folder names are
`layout.py`, and nothing here imports torch.
"""

import re
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    field_validator,
    model_validator,
)

Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(ge=0, lt=1)]
# Upper bounds leave room to add and double inside 64 bits, and far more than any machine holds.
Count = Annotated[int, Field(gt=0, lt=2**62)]
CountFromZero = Annotated[int, Field(ge=0, lt=2**62)]
Size = Annotated[int, Field(gt=0, lt=2**31)]
Workers = Annotated[int, Field(gt=0, le=4096)]
Penalty = Annotated[float, Field(ge=-100, le=100)]
LearningRate = Annotated[float, Field(gt=0, le=100)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Repeats = Annotated[float, Field(gt=0, le=1e6)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
StoryFeature = Literal["dialogue", "moral", "bad ending", "twist", "conflict", "foreshadowing"]
StepName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$")]


class Section(BaseModel):
    """A frozen group of keys that refuses keys it does not know."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        protected_namespaces=(),
    )


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
    fields: dict[str, str] = {}
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


class ModelConfig(Section):
    """The transformer: grouped-query attention, rotary positions, RMSNorm, SwiGLU."""

    d_model: Size = 512
    """Width of the residual stream."""
    n_layers: Size = 12
    """Transformer blocks."""
    n_heads: Size = 16
    """Query heads; must divide `d_model` into an even head width."""
    n_kv_heads: Size = 8
    """Key/value heads; must divide `n_heads`."""
    d_ff: Size = 1376
    """Width inside the feed-forward network."""
    max_seq_len: Size = 512
    """Context length in tokens."""
    vocab_size: Size | None = None
    """Rows of the embedding; by default the tokenizer's vocabulary, and never less."""
    rope_theta: PositiveFloat = 10_000.0
    """Base of the rotary frequencies."""
    norm_eps: PositiveFloat = 1e-5
    """Added to the mean square in RMSNorm."""
    tie_embeddings: bool = True
    """Use the embedding as the output matrix."""
    qk_norm: bool = False
    """RMSNorm on queries and keys of each head (Qwen3's layout; Henry et al. 2020,
    arXiv:2010.04245)."""
    activation: Literal["silu", "relu2"] = "silu"
    """What gates the feed-forward network: silu (SwiGLU), or relu2, the squared ReLU of Primer
    (So et al. 2021, arXiv:2109.08668)."""
    logit_softcap: NonNegativeFloat = 0.0
    """Keep logits within plus or minus this by a tanh (Gemma 2, arXiv:2408.00118); 0: no cap.
    Such a model cannot be exported: no published class has it on Llama's layout."""
    init_std: PositiveFloat | None = None
    """Standard deviation of the blocks' initial matrices; by default 0.5 / sqrt(fan in)."""
    zero_init: bool = False
    """Start the two matrices of each block that write to the residual stream at zero, so that
    every block starts as the identity (ReZero's idea; Bachlechner et al. 2020,
    arXiv:2003.04887)."""
    dropout: OpenFraction = 0.0
    """Dropout after attention and feed-forward, in training only."""

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.d_model // self.n_heads

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide model.d_model={self.d_model}")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_kv_heads={self.n_kv_heads} does not divide model.n_heads={self.n_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"n_heads={self.n_heads} gives a head width of {self.head_dim}; rotary positions "
                "need an even one"
            )
        return self


class OptimizationConfig(Section):
    """Keys that pretraining and every finetuning step share."""

    batch_tokens: Count = 32_768
    """Tokens per optimizer step, over all processes: a multiple of the context length."""
    micro_batch_size: Size = 8
    """Sequences per forward pass; must divide the sequences that each process has in a step, and
    a process that has fewer takes them all at once."""
    lr: LearningRate = 3e-4
    """Peak learning rate of AdamW, reached after `warmup_steps` optimizer steps."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """muon: Muon for the matrices of the blocks, AdamW for the rest (Jordan et al. 2024)."""
    muon_lr: LearningRate = 0.02
    """Peak learning rate of Muon's matrices, scheduled like `lr`."""
    beta1: OpenFraction = 0.9
    """Decay of AdamW's first moment."""
    beta2: OpenFraction = 0.95
    """Decay of AdamW's second moment."""
    warmup_steps: CountFromZero = 100
    """Optimizer steps of linear warmup."""
    schedule: Literal["cosine", "linear", "wsd"] = "cosine"
    """Decay after warmup; wsd holds the peak and decays over the last `decay_fraction`."""
    decay_fraction: Fraction = 0.2
    """Share of all steps that wsd's final linear decay takes."""
    min_lr_ratio: Fraction = 0.1
    """Learning rate of the last step as a share of the peak."""
    weight_decay: NonNegativeFloat = 0.1
    """Decoupled weight decay on matrices; embeddings and norms have none."""
    grad_clip: NonNegativeFloat = 1.0
    """Largest gradient norm; 0 does not clip."""
    log_every: Count = 10
    """Steps between lines of metrics."""
    eval_every: CountFromZero = 500
    """Steps between validation passes; 0: only after the last step."""
    eval_tokens: Count = 200_000
    """Validation tokens of such a pass, at most."""
    save_every: Count = 500
    """Steps between checkpoints; the last step is always saved."""
    keep_last: Count = 2
    """Checkpoints kept besides the best one."""
    compile: bool | Literal["auto"] = "auto"
    """torch.compile; auto: on a GPU, or on a CPU when the run is long enough to pay for it."""
    activation_checkpointing: bool = False
    """Compute each block again in the backward pass instead of keeping its activations: a third
    more arithmetic, much less memory; the same weights."""
    distributed: Literal["ddp", "fsdp2"] = "ddp"
    """Several processes: ddp, the whole model in each; fsdp2, a share of every tensor in each."""

    @model_validator(mode="after")
    def _muon_needs_whole_matrices(self) -> Self:
        if self.optimizer == "muon" and self.distributed == "fsdp2":
            raise ValueError("optimizer=muon needs whole matrices: not with distributed=fsdp2")
        return self


class PretrainConfig(OptimizationConfig):
    """Next-token prediction on the prepared data."""

    max_tokens: Count | None = None
    """Tokens to train on; rounded up to whole steps. Either this or `max_steps`."""
    max_steps: Count | None = None
    """Optimizer steps to take. Either this or `max_tokens`."""
    packing: Literal["best_fit", "stream"] = "best_fit"
    """best_fit: whole documents fill each sample, which starts at a document's start;
    stream: samples are consecutive cuts of all text."""
    sample_every: CountFromZero = 0
    """Steps between sample texts; 0: none."""
    sample_prompts: tuple[str, ...] = ("Once upon a time",)
    """What the sample texts continue."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.max_tokens is not None and self.max_steps is not None:
            raise ValueError("max_tokens and pretrain.max_steps are both given; keep one")
        return self

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        if self.max_steps is not None:
            return self.max_steps
        return -(-(self.max_tokens or 10_000_000) // self.batch_tokens)


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


UNPACKED = frozenset({"classify", "dpo", "grpo"})
"""Methods that go by `batch_rows`: for them `batch_tokens` need not divide anything."""


class DpoConfig(Section):
    """Learning from preferences (Rafailov et al. 2023, arXiv:2305.18290)."""

    beta: PositiveFloat = 0.1
    """How closely the model stays with its base: the larger, the closer."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of the pairs whose verdict is taken to be wrong."""


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
    """Checkpoint to start from: a folder, or auto for the step before (the first: pretraining)."""
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
    text anywhere, a conversation before a question."""
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
    kl_weight: NonNegativeFloat = 0.04
    """grpo: how much drifting away from the base costs, per nat and token."""
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

    tasks: dict[StepName, TaskConfig] = {}
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


class GenerateConfig(Section):
    """How text is sampled; also saved as the checkpoint's `generation_config.json`."""

    max_new_tokens: Count = 256
    """Tokens to generate at most."""
    temperature: NonNegativeFloat = 0.8
    """Softmax temperature; 0 takes the most likely token."""
    top_k: CountFromZero = 0
    """Keep only this many most likely tokens; 0: all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Keep the smallest set of tokens with at least this probability (nucleus sampling)."""
    min_p: Fraction = 0.0
    """Keep only tokens at least this many times as likely as the likeliest one; 0: all."""
    repetition_penalty: PositiveFloat = 1.0
    """Divide positive logits of tokens already seen by this, multiply negative ones; 1: none."""
    presence_penalty: Penalty = 0.0
    """Subtract this from the logits of tokens that the new text already has; 0: none."""
    frequency_penalty: Penalty = 0.0
    """Subtract this from a token's logit for each time that the new text has it; 0: none."""
    stop: tuple[str, ...] = ()
    """Strings that end the text; they are not part of it."""
    prompts: tuple[str, ...] = ()
    """Prompts of `lilllm generate` when none is given."""


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


class ServeConfig(Section):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Address to bind; 0.0.0.0 is reachable from outside."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to bind; 0: any free one."""
    api_key_file: str | None = None
    """File with the key that clients must send to use `/v1`, or LILLLM_API_KEY in the
    environment; none: no key is asked."""
    max_running: Annotated[int, Field(gt=0, le=4096)] = 32
    """Choices that are generated at once; more wait for their turn."""
    max_queue: Annotated[int, Field(ge=0, le=1_000_000)] = 128
    """Choices that may wait; further requests are answered with 429."""
    max_choices: Annotated[int, Field(gt=0, le=4096)] = 32
    """Prompts times `n` of one request, at most."""
    max_body_bytes: Size = 1_048_576
    """Bytes of a request's body, at most."""
    max_prompt_tokens: Count | None = None
    """Tokens of a prompt, at most; by default the model's context."""
    max_seconds: Annotated[float, Field(gt=0, le=1e6)] = 300.0
    """Seconds that a request may take, waiting included."""
    drain_seconds: Annotated[int, Field(ge=0, le=1_000_000)] = 60
    """Seconds that running requests get to finish after SIGTERM."""


class Config(Section):
    """One model's whole life."""

    name: Name = "model"
    """Name of the run; everything lands in `runs/<name>/`."""
    seed: Seed = 0
    """Seed of initialisation, data order and sampling."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute; auto: cuda, then mps, then cpu."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of matrix products; auto: bf16 where the hardware is fast at it, fp16 with scaled
    losses on GPUs that are only fast at that, else fp32."""
    threads: Workers | Literal["auto"] = "auto"
    """CPU threads per process; auto: torch's choice, stored with the run."""
    track: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Loggers of training besides `metrics.jsonl`: their packages are the extra `track`."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    pretrain: PretrainConfig = PretrainConfig()
    finetune: dict[StepName, FinetuneConfig] = {}
    """Named finetuning steps, in order; no dots in a name, as in `finetune.<name>.lr=1e-4`."""
    eval: EvalConfig = EvalConfig()
    generate: GenerateConfig = GenerateConfig()
    synth: SynthConfig = SynthConfig()
    serve: ServeConfig = ServeConfig()

    @field_validator("name", mode="before")
    @classmethod
    def _numbers_are_names(cls, value: object) -> object:
        """YAML reads `2024` as a number and `2024-05-01` as a date."""
        readable = isinstance(value, int | float | date) and not isinstance(value, bool | datetime)
        return str(value) if readable else value

    @model_validator(mode="after")
    def _tasks_are_named(self) -> Self:
        for step, options in self.finetune.items():
            for task in options.tasks:
                if task not in self.eval.tasks:
                    known = ", ".join(self.eval.tasks) or "none"
                    raise ValueError(f"finetune.{step}.tasks={task}: not in eval.tasks: {known}")
        return self

    @model_validator(mode="after")
    def _batches_divide(self) -> Self:
        problems = [
            f"{name}.{problem}"
            for name, section in (
                ("pretrain", self.pretrain),
                *((f"finetune.{step}", options) for step, options in self.finetune.items()),
            )
            if getattr(section, "method", "") not in UNPACKED
            for problem in _batch_problems(section, self.model.max_seq_len)
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _batch_problems(section: OptimizationConfig, max_seq_len: int) -> list[str]:
    if isinstance(section, FinetuneConfig) and section.batch_rows is not None:
        if section.batch_rows % min(section.batch_rows, section.micro_batch_size):
            return [
                f"micro_batch_size={section.micro_batch_size} does not divide "
                f"batch_rows={section.batch_rows}"
            ]
        return []
    if section.batch_tokens % max_seq_len:
        return [
            f"batch_tokens={section.batch_tokens} is not a multiple of "
            f"model.max_seq_len={max_seq_len}"
        ]
    sequences = section.batch_tokens // max_seq_len
    if sequences % section.micro_batch_size:
        return [
            f"micro_batch_size={section.micro_batch_size} does not divide the "
            f"{sequences} sequences of a step (batch_tokens / model.max_seq_len)"
        ]
    return []
