"""AdamW and Muon over one model, as a list of torch optimizers that step together."""

from typing import Any

import torch
from torch import Tensor, nn

from lilllm.config.schema import OptimizationConfig
from lilllm.training.distributed import like, whole
from lilllm.training.muon import Muon


def make_optimizers(
    model: nn.Module, config: OptimizationConfig, matmul_dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """The optimizers of a run; every group remembers its peak as `peak_lr`.

    Matrices of the blocks have weight decay, as a classification head has; embeddings, the output
    and vectors have none. With `optimizer: muon` the matrices of the blocks go to Muon and the
    rest to AdamW.

    Args:
        model: whose parameters are trained.
        config: which optimizers, and their learning rates.
        matmul_dtype: what the machine is fast at, for Muon's matrix products.
    """
    matrices: list[Tensor] = []  # of the blocks
    heads: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            in_block = parameter.ndim == 2 and ".layers." in name
            of_head = name.endswith("score.weight")
            (matrices if in_block else heads if of_head else rest).append(parameter)
    groups: list[dict[str, Any]] = [{"params": rest, "weight_decay": 0.0}]
    if heads:
        groups.append({"params": heads, "weight_decay": config.weight_decay})
    optimizers: list[torch.optim.Optimizer] = []
    if config.optimizer == "muon":
        optimizers.append(
            Muon(
                matrices,
                lr=config.muon_lr,
                weight_decay=config.weight_decay,
                dtype=torch.float32 if matmul_dtype == torch.float16 else matmul_dtype,
            )
        )
    else:
        groups.append({"params": matrices, "weight_decay": config.weight_decay})
    betas = (config.beta1, config.beta2)
    optimizers.append(torch.optim.AdamW(groups, lr=config.lr, betas=betas, fused=True))
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return optimizers


def set_lr(optimizers: list[torch.optim.Optimizer], scale: float) -> None:
    """Give every group its peak learning rate times `scale`."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * scale


def update(optimizers: list[torch.optim.Optimizer], scale: float) -> None:
    """Step with all gradients times `scale`; they may be changed in place."""
    for optimizer in optimizers:
        held = [p.grad for group in optimizer.param_groups for p in group["params"]]
        gradients = [gradient for gradient in held if gradient is not None]
        fused = isinstance(optimizer, torch.optim.AdamW)
        if fused and all(type(each) is Tensor and each.device.type == "cpu" for each in gradients):
            # the kernel divides what it reads, which saves a pass over all gradients
            optimizer.grad_scale = torch.tensor(1 / scale)  # type: ignore[attr-defined]
        else:
            torch._foreach_mul_(gradients, scale)
        optimizer.step()


def optimizer_tensors(
    model: nn.Module, optimizers: list[torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """Every state tensor, whole and on the CPU, named `<parameter name>.<state name>`."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}.{key}": whole(value)
        for optimizer in optimizers
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def load_optimizer_tensors(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]
) -> None:
    """Put back what `optimizer_tensors` gave, into fresh optimizers of the same config.

    Raises:
        KeyError: a tensor belongs to no parameter of the optimizers.
    """
    owners: dict[str, tuple[torch.optim.Optimizer, Tensor]] = {}
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                owners[names[parameter]] = optimizer, parameter
    for full_name, value in tensors.items():
        name, _, key = full_name.rpartition(".")
        optimizer, parameter = owners[name]
        optimizer.state[parameter][key] = like(value, parameter)
