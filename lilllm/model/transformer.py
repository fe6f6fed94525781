"""The one transformer that every stage uses: GQA, RoPE, RMSNorm, SwiGLU.

Module names are Hugging Face Llama's (Qwen3's with `qk_norm`), so a state dict is a checkpoint
without renaming. How checkpoints are read and written is `checkpoint.py`; how text is sampled
is `inference/`, which decodes with keys and values kept. Shapes: B batch, T positions, D width,
H query heads, G key/value heads, K head width, F feed-forward width, V vocabulary.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lilllm.model.attention import Documents, attend, keep_apart
from lilllm.model.compiled import compiled
from lilllm.model.linear import Linear, linear, together
from lilllm.model.native_swiglu import swiglu


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a transformer; `model:` of the config with the vocabulary resolved.

    `n_labels`: classes of a head that reads a text's last token; 0: a language model alone.
    """

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_ff: int
    max_seq_len: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5
    tie_embeddings: bool = True
    qk_norm: bool = False
    attention_bias: bool = False
    activation: str = "silu"
    logit_softcap: float = 0.0
    dropout: float = 0.0
    head_dim: int = 0
    n_labels: int = 0

    def __post_init__(self) -> None:
        """`head_dim` is d_model / n_heads unless a foreign checkpoint says otherwise."""
        if not self.head_dim:
            object.__setattr__(self, "head_dim", self.d_model // self.n_heads)


def rotary_tables(positions: int, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines [positions, K] of rotary position embedding, in fp32.

    Source: Su et al. 2021, arXiv:2104.09864, in Hugging Face's layout: the two halves of a
    head are a pair, where the paper pairs neighbours.
    """
    # on the CPU also while a model is made on the meta device, which would import the compiler
    arange = partial(torch.arange, dtype=torch.float32, device="cpu")
    frequencies = theta ** -(arange(0, head_dim, 2) / head_dim)
    angles = torch.outer(arange(positions), frequencies)
    angles = torch.cat((angles, angles), dim=-1)  # [positions, K]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn x [B, H, T, K] by the angles of its positions; cos and sin are [T, K]."""
    left, right = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-right, left), dim=-1) * sin


class Attention(nn.Module):
    """Grouped-query attention with rotary positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        D, K, bias = shape.d_model, shape.head_dim, shape.attention_bias
        self.head_dim = K
        self.q_proj = Linear(D, shape.n_heads * K, bias=bias)
        self.k_proj = Linear(D, shape.n_kv_heads * K, bias=bias)
        self.v_proj = Linear(D, shape.n_kv_heads * K, bias=bias)
        self.o_proj = Linear(shape.n_heads * K, D, bias=bias)
        if shape.qk_norm:
            self.q_norm: nn.Module = nn.RMSNorm(K, eps=shape.norm_eps)
            self.k_norm: nn.Module = nn.RMSNorm(K, eps=shape.norm_eps)
        else:
            self.q_norm = self.k_norm = nn.Identity()

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], documents: Documents = None
    ) -> Tensor:
        """Mix positions of x [B, T, D]."""
        B, T, _ = x.shape
        q, k, v = together(x, self.q_proj, self.k_proj, self.v_proj)
        q = self.q_norm(q.view(B, T, -1, self.head_dim)).transpose(1, 2)
        k = self.k_norm(k.view(B, T, -1, self.head_dim)).transpose(1, 2)
        v = v.view(B, T, -1, self.head_dim).transpose(1, 2)
        q, k = rotate(q, *rotary), rotate(k, *rotary)  # [B, H, T, K], [B, G, T, K]
        out = attend(q, k, v, documents)
        return self.o_proj(out.transpose(1, 2).reshape(B, T, -1))  # type: ignore[no-any-return]


def relu_squared(x: Tensor) -> Tensor:
    """The square of what is positive in x. Source: So et al. 2021, arXiv:2109.08668."""
    return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "relu2": relu_squared}
"""By Hugging Face's names, which `hidden_act` uses."""


class FeedForward(nn.Module):
    """A gated feed-forward network. Source: Shazeer 2020 (SwiGLU), arXiv:2002.05202."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_proj = Linear(shape.d_model, shape.d_ff, bias=False)
        self.up_proj = Linear(shape.d_model, shape.d_ff, bias=False)
        self.down_proj = Linear(shape.d_ff, shape.d_model, bias=False)
        self.activate = ACTIVATIONS[shape.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map each position of x [B, T, D] by itself."""
        gate, up = together(x, self.gate_proj, self.up_proj)
        inner = swiglu(gate, up) if self.activate is F.silu else self.activate(gate) * up
        return self.down_proj(inner)  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer: attention, then feed-forward, each on a normalised copy of the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.d_model, eps=shape.norm_eps)
        self.self_attn = Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.d_model, eps=shape.norm_eps)
        self.mlp = FeedForward(shape)
        self.dropout = nn.Dropout(shape.dropout)
        self.compiled = False

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], documents: Documents = None
    ) -> Tensor:
        """Add both sub-layers to x [B, T, D]."""
        layer = compiled(Block.layer) if self.compiled and self.training else Block.layer
        return layer(self, x, rotary, documents)

    def layer(self, x: Tensor, rotary: tuple[Tensor, Tensor], documents: Documents) -> Tensor:
        """What `forward` does, as the piece that is compiled once for all layers."""
        h = x + self.dropout(self.self_attn(self.input_layernorm(x), rotary, documents))
        return h + self.dropout(self.mlp(self.post_attention_layernorm(h)))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """Embedding, blocks and final norm: `model.*` of a Hugging Face checkpoint."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        # given, because drawing it on the meta device would import the compiler, for half a second
        weight = torch.empty(shape.vocab_size, shape.d_model)
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.d_model, _weight=weight)
        self.layers = nn.ModuleList(Block(shape) for _ in range(shape.n_layers))
        self.norm = nn.RMSNorm(shape.d_model, eps=shape.norm_eps)


class Transformer(nn.Module):
    """A causal language model.

    Args:
        shape: its sizes.
        seed: makes the initial weights reproducible; None leaves them to be loaded.

    Attributes:
        recompute: compute blocks again in the backward pass instead of keeping what it needs.
    """

    cos: Tensor
    sin: Tensor
    compiled = False
    """Whether training runs compiled pieces; see `compile_pieces`."""

    def __init__(self, shape: Shape, seed: int | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.recompute = False
        self.model = Decoder(shape)
        self.lm_head = (
            None
            if shape.tie_embeddings or shape.n_labels
            else nn.Linear(shape.d_model, shape.vocab_size, bias=False)
        )
        self.score = (
            nn.Linear(shape.d_model, shape.n_labels, bias=False) if shape.n_labels else None
        )
        cos, sin = rotary_tables(shape.max_seq_len, shape.head_dim, shape.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        if seed is not None:
            init_weights(self, seed)

    def forward(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """Logits of the next token at every position.

        Args:
            ids: token ids [B, T].
            segments: [B, T]; attention stays within equal numbers. None: one segment.

        Returns:
            logits [B, T, V].

        Raises:
            ValueError: the positions do not fit into the context.
        """
        return self.logits(self.hidden(ids, segments))

    def hidden(self, ids: Tensor, segments: Tensor | None = None) -> Tensor:
        """The normalised residual stream [B, T, D] that `logits` reads; see `forward`."""
        _, T = ids.shape
        if self.shape.max_seq_len < T:
            raise ValueError(f"{T} positions do not fit into a context of {self.shape.max_seq_len}")
        documents = keep_apart(segments) if segments is not None else None
        x = self.model.embed_tokens(ids)  # [B, T, D]
        rotary = self.cos[:T].to(x.dtype), self.sin[:T].to(x.dtype)
        for block in self.model.layers:
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, rotary, documents, use_reentrant=False)
            else:
                x = block(x, rotary, documents)
        return self.model.norm(x)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores [..., V] of a residual stream [..., D]."""
        scores = linear(hidden, self.output_weight)
        cap = self.shape.logit_softcap
        return cap * torch.tanh(scores / cap) if cap else scores

    def classify(self, ids: Tensor, last: Tensor) -> Tensor:
        """Scores of the classes of whole texts.

        Args:
            ids: token ids [B, T], filled up on the right.
            last: the position of each text's last token [B].

        Returns:
            scores [B, classes].

        Raises:
            ValueError: the model has no classification head.
        """
        if self.score is None:
            raise ValueError("a language model without a classification head")
        rows = torch.arange(len(ids), device=ids.device)
        return self.score(self.hidden(ids)[rows, last])  # type: ignore[no-any-return]

    def add_head(self, n_labels: int, seed: int) -> None:
        """Give a language model a fresh classification head in place of its own output matrix."""
        generator = torch.Generator().manual_seed(seed)
        self.shape = replace(self.shape, n_labels=n_labels)
        self.score = nn.Linear(self.shape.d_model, n_labels, bias=False)
        with torch.no_grad():
            self.score.weight.normal_(0.0, 0.02, generator=generator)
        self.score.to(self.output_weight.device)
        self.lm_head = None

    def compile_pieces(self) -> None:
        """Compile what a training step repeats, when it first runs; evaluation stays as it is."""
        self.compiled = True
        for module in self.modules():
            if isinstance(module, Block):
                module.compiled = True

    @property
    def output_weight(self) -> Tensor:
        """The output matrix [V, D]."""
        head = self.model.embed_tokens if self.lm_head is None else self.lm_head
        return head.weight


def init_weights(
    model: Transformer, seed: int, std: float | None = None, zero_writers: bool = False
) -> None:
    """Draw the initial weights, the same on every machine.

    | weights                          | distribution                     |
    |----------------------------------|----------------------------------|
    | embedding                        | normal, std 0.02                 |
    | matrices from the stream         | normal, std 1/sqrt(fan in) x 0.5 |
    | o_proj, down_proj (to the stream)| as above, over sqrt(2 n_layers)  |
    | norms                            | ones                             |

    Args:
        model: whose weights are drawn.
        seed: of the draw.
        std: of the matrices from the stream, instead of what the table says.
        zero_writers: zeros for o_proj and down_proj.

    Source: GPT-2's scaling of residual writers by depth (Radford et al. 2019, section 2.3);
    a std that follows the width instead of GPT-2's fixed 0.02 keeps small models alive.
    """
    generator = torch.Generator().manual_seed(seed)
    depth_scale = 1 / math.sqrt(2 * model.shape.n_layers)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim < 2:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                continue
            width = 0.02 if "embed_tokens" in name else std or 0.5 / math.sqrt(parameter.shape[1])
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                width *= 0.0 if zero_writers else depth_scale
            parameter.normal_(0.0, width, generator=generator)


def count_parameters(shape: Shape) -> dict[str, int]:
    """Parameters by part: embedding, blocks, output; a tied output counts nothing."""
    D, K, H, G = shape.d_model, shape.head_dim, shape.n_heads, shape.n_kv_heads
    attention = D * K * (H + 2 * G) + H * K * D
    if shape.attention_bias:
        attention += K * (H + 2 * G) + D
    norms = 2 * D + (2 * K if shape.qk_norm else 0)
    return {
        "embedding": shape.vocab_size * D,
        "blocks": shape.n_layers * (attention + 3 * D * shape.d_ff + norms) + D,
        "output": 0 if shape.tie_embeddings else shape.vocab_size * D,
    }


def flops_per_token(shape: Shape, positions: int | None = None) -> int:
    """Training FLOPs of one token: 6 N + 12 L d T, N without the embedding.

    Args:
        shape: the model's sizes.
        positions: sequence length T in tokens; by default the whole context.

    Source: Chowdhery et al. 2022 (PaLM), arXiv:2204.02311, appendix B.
    """
    T = positions or shape.max_seq_len
    width = shape.n_heads * shape.head_dim
    return 6 * count_parameters(shape)["blocks"] + 12 * shape.n_layers * width * T
