"""Muon: momentum whose matrix updates are made orthogonal before they are applied.

The algorithm is torch.optim.Muon's. What differs is the arithmetic: matrices of one shape are
orthogonalised together, and in fp32 where a machine is slow at bf16, which a CPU often is
(docs/decisions/0002-own-muon.md has the figures).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Quintic Newton-Schulz: steep at zero, at the price of singular values in [0.7, 1.2]."""


def orthogonalize(matrices: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Replace every matrix by one with the same singular vectors and singular values near 1.

    Args:
        matrices: [N, rows, columns].
        steps: Newton-Schulz iterations.
        dtype: of the arithmetic.

    Returns:
        [N, rows, columns] in `dtype`.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/.
    """
    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for two-dimensional weights, with Nesterov momentum and decoupled weight decay.

    Args:
        params: matrices only.
        lr: learning rate; the update of a [rows, columns] matrix is scaled by
            sqrt(max(1, rows / columns)), as in the original.
        weight_decay: share of the weight taken away per step, times `lr`.
        momentum: decay of the running mean of gradients.
        steps: Newton-Schulz iterations.
        dtype: arithmetic of the iterations.

    Raises:
        ValueError: a parameter is not a matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 0.02,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        steps: int = 5,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum}
        super().__init__(params, defaults)
        self._steps, self._dtype = steps, dtype
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(f"Muon takes matrices, not {tuple(parameter.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                self._update(group, shape, parameters)

    def _update(self, group: dict[str, Any], shape: torch.Size, parameters: list[Tensor]) -> None:
        momentum, lr = group["momentum"], group["lr"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        buffers = [self._buffer(p) for p in parameters]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        ahead = torch._foreach_lerp(gradients, buffers, momentum)  # Nesterov
        updates = orthogonalize(torch.stack(ahead), self._steps, self._dtype)
        torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        scale = lr * max(1.0, shape[0] / shape[1]) ** 0.5
        torch._foreach_add_(
            parameters, list(updates.to(parameters[0].dtype).unbind()), alpha=-scale
        )

    def _buffer(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        return buffer
