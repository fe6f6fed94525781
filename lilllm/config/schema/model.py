"""Keys of the transformer."""

from typing import Literal, Self

from pydantic import NonNegativeFloat, PositiveFloat, model_validator

from lilllm.config.schema.base import OpenFraction, Section, Size


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
    qk_norm: bool = True
    """RMSNorm on queries and keys of each head (Henry et al. 2020, arXiv:2010.04245): fewer bits
    per byte from the same tokens (docs/experiments.md). Such a model has Qwen3's layout, one
    without has Llama's."""
    activation: Literal["silu", "relu2"] = "silu"
    """What gates the feed-forward network: silu (SwiGLU), or relu2, the squared ReLU of Primer
    (So et al. 2021, arXiv:2109.08668)."""
    logit_softcap: NonNegativeFloat = 0.0
    """Keep logits within plus or minus this by a tanh (Gemma 2, arXiv:2408.00118); 0: no cap.
    Such a model cannot be exported: no published class has it on Llama's layout."""
    init_std: PositiveFloat | None = None
    """Standard deviation of the blocks' initial matrices; by default 0.5 / sqrt(fan in)."""
    zero_init: bool = True
    """Start the two matrices of each block that write to the residual stream at zero, so that
    every block starts as the identity (ReZero's idea; Bachlechner et al. 2020,
    arXiv:2003.04887): it learns a little more per token (docs/experiments.md)."""
    dropout: OpenFraction = 0.0
    """Dropout after attention and feed-forward, in training only."""

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.d_model // self.n_heads

    @model_validator(mode="after")
    def _sizes_divide(self) -> Self:
        if self.d_model % self.n_heads:
            raise ValueError(
                f"n_heads={self.n_heads} does not divide model.d_model={self.d_model}"
                f"{self._fitting_heads()}"
            )
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_kv_heads={self.n_kv_heads} does not divide model.n_heads={self.n_heads}; "
                f"{divisor_up_to(self.n_kv_heads, self.n_heads)} does"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"n_heads={self.n_heads} gives a head width of {self.head_dim}; rotary positions "
                f"need an even one{self._fitting_heads()}"
            )
        return self

    def _fitting_heads(self) -> str:
        if self.d_model % 2:
            return ""
        most = divisor_up_to(self.n_heads, self.d_model // 2)
        fits = [n for n in range(most, 0, -1) if self.d_model % (2 * n) == 0]
        for n in fits:
            if n % self.n_kv_heads == 0:
                return f"; n_heads={n} fits"
        return f"; n_heads={most} n_kv_heads={divisor_up_to(self.n_kv_heads, most)} fits"


def divisor_up_to(wanted: int, whole: int) -> int:
    """The largest divisor of a number that is at most another one, and no more than 4,096."""
    return next(n for n in range(min(wanted, 4096), 0, -1) if whole % n == 0)
