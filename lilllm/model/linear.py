"""Linear layers of the transformer: torch's, and in bf16 training on some CPUs C (`native_linear`).

Layers that read the same input can be computed together, which reads and copies it once.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lilllm.model.native_linear import is_faster, native_linear


class Linear(nn.Linear):
    """`nn.Linear`, with the C kernel where it is faster."""

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., K] to [..., N]."""
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply: x W^T + b [..., N], for x [..., K], weight W [N, K] and bias b [N]."""
    if not _is_native(x, weight):
        return F.linear(x, weight, bias)
    return _native(x, [weight], [bias])[0]


def together(x: Tensor, *layers: nn.Module) -> list[Tensor]:
    """What each layer makes of x [..., K]: [..., N] of its own.

    In C this is one call, which runs no hooks of the layers.
    """
    plain = [layer for layer in layers if isinstance(layer, Linear)]  # not LoRA's, for one
    weights = [layer.weight for layer in plain]
    if len(plain) < len(layers) or not _is_native(x, *weights):
        return [layer(x) for layer in layers]
    return _native(x, weights, [layer.bias for layer in plain])


def _native(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor | None]) -> list[Tensor]:
    pairs = zip(native_linear(x.bfloat16(), weights), biases, strict=True)
    return [y if bias is None else y + bias.bfloat16() for y, bias in pairs]


def _is_native(x: Tensor, *weights: Tensor) -> bool:
    in_bf16 = (
        x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and all(weight.dtype == torch.float32 for weight in weights)
    )
    rows, inputs = x.shape[:-1].numel(), x.shape[-1]
    return in_bf16 and is_faster(rows, inputs, *(len(weight) for weight in weights))
