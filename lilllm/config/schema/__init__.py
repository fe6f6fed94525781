"""The one schema: every knob of every stage, its default, its unit and its effect.

The docstring under a field is its documentation; `lilllm config schema` is generated from it.
This file only declares and checks. Reading YAML and overrides is `load.py`, folder names are
`layout.py`, and nothing here imports torch.
"""

from datetime import date, datetime
from typing import Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from lilllm.config.schema.base import Name, Section, Seed, StepName, Workers
from lilllm.config.schema.data import DataConfig, SourceConfig, SynthConfig, TokenizerConfig
from lilllm.config.schema.evaluation import EvalConfig, TaskConfig
from lilllm.config.schema.finetune import (
    UNPACKED,
    DpoConfig,
    FinetuneConfig,
    LoraConfig,
    RewardConfig,
)
from lilllm.config.schema.generation import GenerateConfig, ServeConfig
from lilllm.config.schema.model import ModelConfig, divisor_up_to
from lilllm.config.schema.training import OptimizationConfig, PretrainConfig

__all__ = [
    "Config",
    "DataConfig",
    "DpoConfig",
    "EvalConfig",
    "FinetuneConfig",
    "GenerateConfig",
    "LoraConfig",
    "ModelConfig",
    "OptimizationConfig",
    "PretrainConfig",
    "RewardConfig",
    "ServeConfig",
    "SourceConfig",
    "SynthConfig",
    "TaskConfig",
    "TokenizerConfig",
]


DEFAULT_MICRO = OptimizationConfig().micro_batch_size
AnySection = TypeVar("AnySection", bound=OptimizationConfig)


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
    finetune: dict[StepName, FinetuneConfig] = Field(default_factory=dict)
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
    def _default_batches_fit(self) -> Self:
        length = self.model.max_seq_len
        steps = {name: _fitted(section, length) for name, section in self.finetune.items()}
        object.__setattr__(self, "finetune", steps)  # frozen for everybody else
        object.__setattr__(self, "pretrain", _fitted(self.pretrain, length))
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


def _fitted(section: AnySection, length: int) -> AnySection:
    """A section whose sizes of a step, where nobody gave them, fit a context of `length` tokens.

    The tokens depend on the context alone: `micro_batch_size` may change when a run continues.
    """
    if getattr(section, "method", "") in UNPACKED:
        return section
    fitting: dict[str, int] = {}
    if "batch_tokens" not in section.model_fields_set:
        sequences = max(1, section.batch_tokens // length)
        sequences -= sequences % min(DEFAULT_MICRO, sequences)
        fitting["batch_tokens"] = sequences * length
    sequences, rest = divmod(fitting.get("batch_tokens", section.batch_tokens), length)
    if "micro_batch_size" not in section.model_fields_set and not rest:
        most = min(DEFAULT_MICRO, sequences)
        fitting["micro_batch_size"] = max(n for n in range(1, most + 1) if sequences % n == 0)
    changed = {key: value for key, value in fitting.items() if getattr(section, key) != value}
    return section.model_copy(update=changed) if changed else section


def _batch_problems(section: OptimizationConfig, max_seq_len: int) -> list[str]:
    sequences, rest = divmod(section.batch_tokens, max_seq_len)
    micro = section.micro_batch_size
    if rest:
        given = "micro_batch_size" in section.model_fields_set and micro <= sequences
        unit = max_seq_len * (micro if given else 1)
        return [
            f"batch_tokens={section.batch_tokens} is not a multiple of "
            f"model.max_seq_len={max_seq_len}; {max(1, round(section.batch_tokens / unit)) * unit} "
            "fits"
        ]
    if sequences % min(sequences, micro):
        return [
            f"micro_batch_size={micro} does not divide the {sequences} sequences of a step "
            f"(batch_tokens / model.max_seq_len); {divisor_up_to(micro, sequences)} does"
        ]
    return []
