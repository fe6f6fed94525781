"""Timing of steps, and the lines of metrics that they make."""

import time
from collections.abc import Mapping

from torch import Tensor

from lilllm.events import StepDone
from lilllm.model.transformer import flops_per_token
from lilllm.training.hardware import peak_memory_bytes
from lilllm.training.run import Run

Outcome = tuple[float | Tensor, float | Tensor, Mapping[str, float | Tensor]]
"""Loss, gradient norm and measures of a step; tensors of a device that may still compute them."""


class Meter:
    """Means over the steps since the last line of metrics; saving and validating do not count."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.losses: list[float | Tensor] = []
        self.measures: list[Mapping[str, float | Tensor]] = []
        self.seconds = self.all_seconds = 0.0
        self.all_steps = 0
        self.restart()

    def restart(self) -> None:
        """Begin timing a step."""
        self.began = time.perf_counter()

    def step(
        self,
        loss: float | Tensor,
        grad_norm: float | Tensor,
        measures: Mapping[str, float | Tensor],
    ) -> None:
        """Count a step that has just been asked for; wait for it and report when a line is due."""
        run, step = self.run, self.run.counters.step
        due = step % run.config.log_every == 0 or step == run.steps
        if due:
            loss = float(loss)
        elapsed = time.perf_counter() - self.began
        self.seconds += elapsed
        self.all_seconds += elapsed
        self.all_steps += 1
        self.losses.append(loss)
        self.measures.append(measures)
        if not due:
            return
        tokens_per_s = len(self.losses) * run.step_tokens / self.seconds
        run.last_loss = mean = float(sum(self.losses)) / len(self.losses)
        run.tokens_per_s = self.all_steps * run.step_tokens / self.all_seconds
        flops = flops_per_token(run.model.shape, run.windows.length)
        run.mfu = run.tokens_per_s * flops / (run.machine.peak_flops * run.world.size)
        event = StepDone(
            stage=run.stage,
            step=step,
            max_steps=run.steps,
            loss=mean,
            lr=run.optimizers[-1].param_groups[0]["lr"],
            grad_norm=float(grad_norm),
            tokens=run.counters.tokens,
            tokens_per_s=tokens_per_s,
            mfu=tokens_per_s * flops / (run.machine.peak_flops * run.world.size),
            eta_seconds=(run.steps - step) * run.step_tokens / tokens_per_s,
            memory_bytes=peak_memory_bytes(run.machine.device),
            measures={
                name: float(sum(each[name] for each in self.measures)) / len(self.measures)
                for name in measures
            },
        )
        run.metrics.append(
            "step",
            **{
                name: getattr(event, name)
                for name in ("step", "loss", "lr", "grad_norm", "tokens", "tokens_per_s", "mfu")
            },
            **event.measures,
        )
        run.report(event)
        self.losses, self.measures, self.seconds = [], [], 0.0
