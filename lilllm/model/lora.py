"""LoRA: low-rank updates beside frozen matrices, saved as the `peft` package lays them out.

Module names stay those of the model, so an adapter is the model's state dict cut down to
`lora_A` and `lora_B`, and merging adds their product to the matrix beside them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lilllm.errors import CheckpointError
from lilllm.files import write_error, write_json
from lilllm.model.transformer import Transformer

ADAPTER = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What `peft` puts before the model's own names."""
MARKS = (".lora_A.", ".lora_B.")
HEAD = "score.weight"


@dataclass(frozen=True, slots=True)
class Lora:
    """The sizes of an adapter: rank R, and scale alpha / R; `targets` are names of matrices."""

    rank: int
    alpha: float
    dropout: float
    targets: tuple[str, ...]


class LoraLinear(nn.Module):
    """A frozen matrix W and its update: y = W x + (alpha / R) B A x.

    A starts as a linear layer does and B at zero, so that nothing changes before training.

    Source: Hu et al. 2021, arXiv:2106.09685, section 4.1.
    """

    def __init__(self, linear: nn.Linear, lora: Lora, generator: torch.Generator) -> None:
        super().__init__()
        self.frozen, self.bias = linear.weight, linear.bias
        self.lora_A = nn.Linear(linear.in_features, lora.rank, bias=False)  # [R, D]
        self.lora_B = nn.Linear(lora.rank, linear.out_features, bias=False)
        self.dropout, self.scale = nn.Dropout(lora.dropout), lora.alpha / lora.rank
        bound = 1 / math.sqrt(linear.in_features)
        with torch.no_grad():
            start = torch.empty(self.lora_A.weight.shape)
            self.lora_A.weight.copy_(start.uniform_(-bound, bound, generator=generator))
            self.lora_B.weight.zero_()
        self.to(linear.weight.device)

    @property
    def weight(self) -> Tensor:
        """The matrix with its update, as whoever reads the weights of a layer expects it."""
        return self.frozen + self.scale * (self.lora_B.weight @ self.lora_A.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [..., D]."""
        update: Tensor = self.lora_B(self.lora_A(self.dropout(x)))
        return F.linear(x, self.frozen, self.bias) + self.scale * update


def linear_names(model: Transformer) -> tuple[str, ...]:
    """The names of the matrices inside a block, as `q_proj`, with updates or without."""
    named = model.model.layers[0].named_modules()
    parts = (name.split(".") for name, part in named if _is_matrix(part))
    return tuple(path[-1] for path in parts if path[-1] not in ("lora_A", "lora_B"))


def add_lora(model: Transformer, lora: Lora, seed: int) -> None:
    """Freeze a model but for a classification head, and put updates beside its matrices.

    Raises:
        ValueError: `lora.targets` names a matrix that the blocks do not have.
    """
    unknown = sorted(set(lora.targets) - set(linear_names(model)))
    if unknown:
        raise ValueError(f"{unknown[0]}: not a matrix of a block: {', '.join(linear_names(model))}")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name == HEAD)
    generator = torch.Generator().manual_seed(seed)
    for block in model.model.layers:
        for parent in list(block.modules()):
            for name, child in list(parent.named_children()):
                if name in lora.targets and isinstance(child, nn.Linear):
                    setattr(parent, name, LoraLinear(child, lora, generator))


def merge(model: Transformer, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of `model`, with LoRA, as one of the plain model that computes the same."""
    merged = {name: value for name, value in weights.items() if not _is_update(name)}
    for name, part in model.named_modules():
        if isinstance(part, LoraLinear):
            a, b = (weights[f"{name}.lora_{side}.weight"] for side in "AB")
            merged[f"{name}.weight"] = merged.pop(f"{name}.frozen") + part.scale * (b @ a)
    return merged


def save_adapter(
    folder: Path, lora: Lora, weights: Mapping[str, Tensor], base: str, classifier: bool
) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors` into a folder.

    Raises:
        RunError: the folder cannot be written.
    """
    folder.mkdir(exist_ok=True)
    tensors = {
        PREFIX + name: value.detach().cpu().contiguous()
        for name, value in weights.items()
        if _is_update(name) or (classifier and name == HEAD)
    }
    try:
        save_file(tensors, folder / ADAPTER, metadata={"format": "pt"})
    except (OSError, SafetensorError) as err:
        raise write_error(folder / ADAPTER, OSError(5, str(err))) from err
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS" if classifier else "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": list(lora.targets),
        "modules_to_save": ["score"] if classifier else None,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "inference_mode": True,
    }
    write_json(folder / "adapter_config.json", config)


def load_adapter(folder: Path, model: Transformer) -> None:
    """Copy the weights of an adapter into a model that has updates of the same sizes.

    Raises:
        CheckpointError: the file is missing or damaged, or is of other sizes.
    """
    path = folder / ADAPTER
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as err:
        raise CheckpointError(f"{path}: cannot be read ({err})") from err
    state = {name.removeprefix(PREFIX): value for name, value in tensors.items()}
    wanted = {name for name, value in model.named_parameters() if value.requires_grad}
    if state.keys() != wanted:
        raise CheckpointError(f"{path}: holds other tensors than the updates of this model")
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as err:
        raise CheckpointError(f"{path}: has tensors of other sizes ({err})") from err


def training_bytes(model: nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> int:
    """Bytes of weights, gradients and optimizer state: what LoRA makes small."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    gradients = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    states = (state.values() for each in optimizers for state in each.state.values())
    held = sum(
        value.numel() * value.element_size()
        for values in states
        for value in values
        if isinstance(value, Tensor)
    )
    return weights + gradients + held


def _is_matrix(part: nn.Module) -> bool:
    return isinstance(part, nn.Linear | LoraLinear)


def _is_update(name: str) -> bool:
    return any(mark in name for mark in MARKS)
