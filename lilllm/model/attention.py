"""Which attention runs where: blocks of plain products on a CPU, torch's kernels on a GPU.

What a query may see is said once per forward pass, in the form that the device's kernel wants.
Shapes: B batch, T positions, H query heads, G key/value heads, K head width.
"""

from typing import TYPE_CHECKING, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.model.block_attention import block_attention
from lilllm.model.compiled import compiled

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

Documents: TypeAlias = "Tensor | BlockMask | None"
"""What keeps documents apart: segments [B, T] on a CPU, a block mask on a CUDA GPU, and
elsewhere a bool [B, 1, T, T] that is True where a query may look; None: one document a row."""


def keep_apart(segments: Tensor) -> Documents:
    """Causal attention within segments only, as `attend` wants it; once per forward pass.

    Args:
        segments: [B, T], a number per document; equal numbers must be adjacent.
    """
    B, T = segments.shape
    if segments.device.type == "cpu":
        return segments
    if segments.device.type == "cuda":
        from torch.nn.attention.flex_attention import create_block_mask

        def may_see(b: Tensor, h: Tensor, query: Tensor, key: Tensor) -> Tensor:
            return (query >= key) & (segments[b, query] == segments[b, key])

        return compiled(create_block_mask)(may_see, B, None, T, T, device="cuda")  # type: ignore[no-any-return]
    return (segments[:, :, None] == segments[:, None, :]).tril()[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, documents: Documents = None) -> Tensor:
    """Causal attention with grouped key/value heads.

    Args:
        q: queries [B, H, T, K].
        k: keys [B, G, T, K].
        v: values [B, G, T, K].
        documents: of `keep_apart`.

    Returns:
        [B, H, T, K]; in autocast's dtype where that is on, else in q's.

    Source: Ainslie et al. 2023, arXiv:2305.13245, section 2.2.
    """
    if documents is not None and not isinstance(documents, Tensor):
        from torch.nn.attention.flex_attention import flex_attention

        dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else q.dtype
        q, k, v = (x.to(dtype) for x in (q, k, v))
        out = compiled(flex_attention)(q, k, v, block_mask=documents, enable_gqa=True)
        return out  # type: ignore[no-any-return]
    if q.device.type == "cpu":
        return block_attention(q, k, v, documents)
    grouped = q.shape[1] > k.shape[1]
    return F.scaled_dot_product_attention(
        q, k, v, documents, is_causal=documents is None, enable_gqa=grouped
    )
