"""Keys that all training shares, and those of pretraining."""

from typing import Literal, Self

from pydantic import NonNegativeFloat, model_validator

from lilllm.config.schema.base import (
    Count,
    CountFromZero,
    Fraction,
    LearningRate,
    OpenFraction,
    Section,
    Size,
)


class OptimizationConfig(Section):
    """Keys that pretraining and every finetuning step share."""

    batch_tokens: Count = 32_768
    """Tokens per optimizer step, over all processes: a multiple of the context length. Where it is
    not given, the default rounded down to eights of contexts."""
    micro_batch_size: Size = 8
    """Sequences per forward pass; must divide the sequences that each process has in a step, and
    a process that has fewer takes them all at once. Where it is not given, at most the default."""
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
            raise ValueError(
                "optimizer=adamw is needed with distributed=fsdp2: muon needs whole matrices"
            )
        return self


class PretrainConfig(OptimizationConfig):
    """Next-token prediction on the prepared data.

    The defaults are the recipe that reached the fewest bits per byte of a model of 1 M parameters
    (docs/experiments.md); warmup is its 15 steps, rounded up.
    """

    lr: LearningRate = 4e-3
    """Peak learning rate of AdamW, reached after `warmup_steps` optimizer steps: high, because
    Muon has the matrices of the blocks (docs/experiments.md). With `optimizer: adamw` it is that
    of all weights: then take less, as configs/39m.yaml."""
    optimizer: Literal["adamw", "muon"] = "muon"
    """muon: Muon for the matrices of the blocks, AdamW for the rest (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/), for fewer tokens to the same loss
    (docs/experiments.md). It needs whole matrices: with `distributed: fsdp2` take adamw."""
    warmup_steps: CountFromZero = 20
    """Optimizer steps of linear warmup (docs/experiments.md)."""
    schedule: Literal["cosine", "linear", "wsd"] = "wsd"
    """Decay after warmup; wsd holds the peak and decays over the last `decay_fraction` (Hu et al.
    2024, arXiv:2404.06395; docs/experiments.md)."""
    decay_fraction: Fraction = 0.5
    """Share of all steps that wsd's final linear decay takes; half of them suits short runs
    (docs/experiments.md)."""
    min_lr_ratio: Fraction = 0.02
    """Learning rate of the last step as a share of the peak (docs/experiments.md)."""
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
