"""Steps that nobody waits for: a GPU computes one while the host already asks for the next.

Nothing of a step is read on the host until a line is logged or the weights are used. A step whose
loss or gradient is not finite changes nothing on the device, and is told at the next such moment.
fp16 with its changing scale, shares of FSDP2 and optimizers without torch's own guard wait
instead; so does a CPU, where there is nothing to gain.
"""

import contextlib
import gc
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from lilllm.data.batches import sample_rows
from lilllm.training.distributed import Parallel
from lilllm.training.run import Run, everywhere, no_target, not_finite

Values = tuple[Tensor, Tensor, dict[str, Tensor]]


class Ahead:
    """The update of a run that does not wait.

    Args:
        run: with its optimizers.
        parallel: how its gradients are added up.
    """

    def __init__(self, run: Run, parallel: Parallel) -> None:
        self.run, self.gradient_scale = run, parallel.gradient_scale
        device = run.machine.device
        self.bad_step = torch.full((), -1, device=device)
        self.bad_values = torch.zeros(3, device=device)  # count, mean loss, gradient norm

    @staticmethod
    def fits(run: Run, parallel: Parallel) -> bool:
        """Whether this run can do without waiting."""
        guarded = all(isinstance(each, torch.optim.AdamW) for each in run.optimizers)
        waits = run.machine.precision == "fp16" or parallel.sharded
        return run.machine.device == "cuda" and guarded and not waits

    def update(self, gradients: list[Tensor], sums: Tensor, measures: list[str]) -> Values:
        """Scale, clip and apply gradients, unless something is not finite.

        Args:
            gradients: of the sum of losses; changed in place.
            sums: of losses, of their unit and of measures, over all processes.
            measures: names of these.

        Returns:
            mean loss, gradient norm before clipping, means of the measures: on the device.
        """
        run, count = self.run, sums[1]
        scale = self.gradient_scale / count
        loss, norm = sums[0] / count, nn.utils.get_total_norm(gradients) * scale
        bad = ~(torch.isfinite(loss) & torch.isfinite(norm))
        first = bad & (self.bad_step < 0)
        self.bad_step = torch.where(first, run.counters.step, self.bad_step)
        self.bad_values = torch.where(first, torch.stack([count, loss, norm]), self.bad_values)
        clip = run.config.grad_clip or math.inf
        torch._foreach_mul_(gradients, (clip / norm.clamp(min=1e-12)).clamp(max=1.0) * scale)
        for optimizer in run.optimizers:
            # Fused optimizers do nothing where this is 1.
            optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
            optimizer.step()
        means = {name: sums[2 + at] / count for at, name in enumerate(measures)}
        return loss, norm, means

    def check(self) -> None:
        """Wait for the device; do nothing if every step so far was applied.

        Raises:
            RunError: one was not.
        """
        step = int(self.bad_step.item())
        if step < 0:
            return
        run = self.run
        count, loss, norm = self.bad_values.tolist()
        if not count:
            raise everywhere(no_target(step), run)
        back = (run.counters.step - step) * run.sequences
        rows = sample_rows(run.counters.samples - back, run.sequences, len(run.windows), run.seed)
        raise everywhere(not_finite(run, loss, norm, rows, step), run)


@contextlib.contextmanager
def quiet_collector() -> Iterator[None]:
    """Keep Python's garbage collector from walking over what was there before training."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
