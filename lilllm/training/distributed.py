"""Several processes training one model: who they are, what they tell each other, how they share.

Whoever starts the processes (torchrun, Slurm, Ray Train, `lilllm pretrain --nproc`) is known
only by `RANK`, `WORLD_SIZE` and `LOCAL_RANK`, or by a process group that exists already. Every
process holds the whole model (`ddp`) or a share of each tensor (`fsdp2`); which samples it reads
is the loop's to say.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lilllm.errors import ConfigError, LilllmError, RunError
from lilllm.model.transformer import Transformer
from lilllm.training.hardware import resolve_device

T = TypeVar("T")
Loss = Callable[..., Any]

PATIENCE = timedelta(hours=24)
"""How long processes wait for the first one, which may be preparing data meanwhile."""


class LostProcess(RunError):
    """Another process ended before this one: the other's error is the reason."""


@dataclass(frozen=True, slots=True)
class World:
    """The processes of this run as one of them sees it.

    rank: its number, from 0. size: how many there are. local_rank, local_size: the same on its
    own machine. control: a group that talks over the CPU, apart from gradients; None when alone.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    control: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that reports, writes files and prepares data."""
        return self.rank == 0

    def first(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises in the first process; the others wait for it."""
        if self.size == 1:
            return work()
        answer: list[Any] = [None, None]
        if self.is_first:
            try:
                answer[0] = work()
            except BaseException as err:
                told = err if isinstance(err, LilllmError) else RunError("the first process failed")
                with contextlib.suppress(RuntimeError):  # the others may be gone
                    dist.broadcast_object_list([None, told], src=0, group=self.control)
                raise
        dist.broadcast_object_list(answer, src=0, group=self.control)
        if isinstance(answer[1], LilllmError):
            answer[1].told_elsewhere = True
            raise answer[1]
        result: T = answer[0]
        return result

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true in any process; all of them have to ask."""
        if self.size == 1:
            return flag
        flags = torch.tensor([int(flag)])
        dist.all_reduce(flags, dist.ReduceOp.MAX, group=self.control)
        return bool(flags.item())

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all processes, in place, on the device of the gradients."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_on_cpu(self, values: Tensor) -> Tensor:
        """The sum of `values` on the CPU over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values, group=self.control)
        return values


@functools.cache
def join(device: str = "cpu") -> World:
    """Find the other processes of this run; alone when nobody started several.

    Args:
        device: of the config, where the gradients will be.

    Raises:
        ConfigError: the environment is incomplete, or the device trains in one process only.
        RunError: there are fewer GPUs than processes, or the others cannot be reached.
    """
    ready = _several()
    size = dist.get_world_size() if ready else _number("WORLD_SIZE", 1)
    if size == 1:
        return World()
    device = resolve_device(device)
    if device == "mps":
        raise ConfigError("device=mps trains in one process", "start lilllm without torchrun")
    rank = dist.get_rank() if ready else _number("RANK")
    local_rank = _number("LOCAL_RANK", rank)
    if device == "cuda":
        if local_rank >= torch.cuda.device_count():
            raise RunError(
                f"LOCAL_RANK={local_rank}, but this machine has {torch.cuda.device_count()} GPUs",
                "start one process per GPU",
            )
        torch.cuda.set_device(local_rank)
    try:
        if not ready:
            dist.init_process_group("nccl" if device == "cuda" else "gloo")
        control = dist.new_group(backend="gloo", timeout=PATIENCE)
    except (ValueError, RuntimeError) as err:
        raise RunError(f"the processes of this run cannot reach each other: {err}") from err
    return World(rank, size, local_rank, _number("LOCAL_WORLD_SIZE", size), control)


def _number(name: str, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isdigit():
        raise ConfigError(
            f"{name}={text or '(not set)'}: not a number, but WORLD_SIZE says that there are "
            "several processes",
            "start them with torchrun, or with --nproc",
        )
    return int(text)


def lost_process(err: RuntimeError) -> bool:
    """Whether a collective operation failed because another process is gone."""
    return isinstance(err, dist.DistError) or any(
        said in str(err)
        for said in ("Connection closed by peer", "Connection reset by peer", "gloo")
    )


class Parallel:
    """One model over all processes: computes losses, and adds up gradients once per step.

    Gradients of DDP and FSDP2 are means over the processes; `gradient_scale` makes them sums.

    Args:
        model: with equal weights in every process; `fsdp2` keeps a share of each here.
        loss: maps (model, batch ...) to a loss, or to a tuple that starts with it.
        world: the processes.
        sharded: whether to use FSDP2.
    """

    def __init__(self, model: Transformer, loss: Loss, world: World, sharded: bool) -> None:
        self.model, self.world = model, world
        self.sharded = sharded and world.size > 1
        self.gradient_scale = float(world.size)
        self._replicas: Any = None
        if self.sharded:
            shard(model, world)
        elif world.size > 1:
            # With unused parameters looked for, buckets are never rearranged: sums of gradients
            # are taken in the same order in every step, also in the first after resuming.
            self._replicas = nn.parallel.DistributedDataParallel(
                _Loss(model, loss), find_unused_parameters=True
            )
        self.loss = self._replicas or functools.partial(loss, model)

    def accumulate(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Around a forward and backward pass: only the last of a step sends gradients."""
        if self.sharded:
            self.model.set_requires_gradient_sync(last)  # type: ignore[operator]
        elif self._replicas is not None and not last:
            return self._replicas.no_sync()  # type: ignore[no-any-return]
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Around forward passes in evaluation mode; leaves every process its share again."""
        self.model.eval()
        with torch.no_grad():
            yield
        if self.sharded:
            self.model.reshard()  # type: ignore[operator]


class _Loss(nn.Module):
    """The objective as a module, so that DDP sees the forward pass that it computes."""

    def __init__(self, model: Transformer, loss: Loss) -> None:
        super().__init__()
        self.model, self.loss = model, loss

    def forward(self, *batch: Any) -> Any:
        return self.loss(self.model, *batch)


def shard(model: Transformer, world: World) -> None:
    """Leave every process its share of each tensor; blocks are gathered while they compute.

    Source: FSDP2, Zhao et al. 2023, arXiv:2304.11277, in torch's per-parameter form.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    mesh = init_device_mesh(next(model.parameters()).device.type, (world.size,))
    for block in model.model.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh, reshard_after_forward=False)  # `logits` reads the embedding
    register_fsdp_forward_method(model, "hidden")


@contextlib.contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Give every process all weights, so that the first one may compute alone meanwhile."""
    if not _several():
        yield
        return
    from torch.distributed.fsdp import FSDPModule

    shared = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for module in shared:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    yield
    for module in shared:
        module.set_reshard_after_forward(module is not model, recurse=False)
        module.reshard()


def total_norm(gradients: list[Tensor]) -> float:
    """The norm of all gradients together, shares of other processes included."""
    return float(_all_shares(nn.utils.get_total_norm(gradients)).item())


def whole(tensor: Tensor) -> Tensor:
    """A tensor with all its shares, on the CPU; every process has to ask for it."""
    return _all_shares(tensor.detach()).cpu()


def _several() -> bool:
    return dist.is_available() and dist.is_initialized()


def _all_shares(tensor: Tensor) -> Tensor:
    if not _several():
        return tensor
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor as `parameter` is kept: on its device, and its share of it if it has one."""
    tensor = tensor.to(parameter.device)
    if not _several():
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(parameter, DTensor) and tensor.ndim:
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements)
    return tensor
