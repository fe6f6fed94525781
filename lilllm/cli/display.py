"""The terminal display: one callable that renders every event on stderr.

On a terminal it is a live progress bar with a log above it; in a pipe or a log file it is one
plain line per event, at most one progress line every few seconds.
"""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from lilllm import events

PLAIN_INTERVAL = 5.0  # seconds between progress lines where there is no terminal


def console(stderr: bool = False) -> Console:
    """A rich console for stdout or stderr that never wraps a piped line."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 10_000
    return Console(
        stderr=stderr,
        highlight=False,
        emoji=False,  # `:cat:` in a text stays what it is
        width=width,
        soft_wrap=not stream.isatty(),
    )


class Display:
    """Render events; use as a context manager and call it with each event."""

    def __init__(self) -> None:
        self.console = console(stderr=True)
        self.live = sys.stderr.isatty()
        self.bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[detail]}"),
            console=self.console,
            transient=True,
        )
        self.task: TaskID | None = None
        self.last_plain = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; later events still print."""
        if self.task is not None:
            self.bar.stop()
            self.bar.remove_task(self.task)
            self.task = None

    def __call__(self, event: events.Event) -> None:
        """Render one event."""
        match event:
            case events.Note(text):
                self._line(escape(text), "dim")
            case events.Caution(text):
                self._line(f"caution: {escape(text)}", "yellow")
            case events.StageStarted(stage, detail):
                self.close()
                self._line(f"\n[bold]{escape(stage)}[/bold]  {escape(detail)}")
            case events.StageSkipped(stage, reason):
                self._line(f"[bold]{escape(stage)}[/bold]  {escape(reason)}", "dim")
            case events.StageFinished(stage, seconds, detail):
                self.close()
                self._line(
                    f"[green]done[/green]  {escape(stage)} in {duration(seconds)}  {escape(detail)}"
                )
            case events.Progress():
                self._progress(event)
            case events.StepDone():
                self._step(event)
            case events.Validated(_, step, measures):
                figures = "  ".join(f"{key} {value:.4f}" for key, value in measures.items())
                self._line(f"  step {step:,}  {figures}", "cyan")
            case events.Sampled(_, step, prompt, text):
                self._line(f"  step {step:,} writes: [italic]{escape(prompt + text)}[/italic]")
            case events.Saved(_, step, path):
                self._line(f"  step {step:,} saved in {escape(path)}", "dim")

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(text, style=style, soft_wrap=True)

    def _progress(self, event: events.Progress) -> None:
        rate = f"{event.rate:,.1f} {event.rate_unit}" if event.rate_unit else ""
        done = f"{event.done:,.0f}" if event.done >= 100 else f"{event.done:.3g}"
        parts = [f"{done} {event.unit}", rate]
        if event.rate and event.total > event.done:
            parts.append(f"{duration((event.total - event.done) / event.rate)} left")
        self._bar(event.stage, event.done, event.total, "  ".join(filter(None, parts)))

    def _step(self, event: events.StepDone) -> None:
        detail = (
            f"step {event.step:,}/{event.max_steps:,}  loss {event.loss:.3f}  "
            + "".join(f"{name} {value:.3f}  " for name, value in event.measures.items())
            + f"lr {event.lr:.2e}  norm {event.grad_norm:.2f}  {event.tokens_per_s:,.0f} tokens/s  "
            f"MFU {event.mfu:.0%}  {event.memory_bytes / 2**30:.1f} GiB  "
            f"{duration(event.eta_seconds)} left"
        )
        self._bar(event.stage, event.step, event.max_steps, detail)

    def _bar(self, stage: str, done: float, total: float, detail: str) -> None:
        if not self.live:
            now = time.monotonic()
            if now - self.last_plain >= PLAIN_INTERVAL or (total and done >= total):
                self.last_plain = now
                self._line(f"  {escape(stage)}: {escape(detail)}")
            return
        if self.task is None:
            self.task = self.bar.add_task(stage, total=total or None, detail=detail)
            self.bar.start()
        self.bar.update(
            self.task, description=stage, completed=done, total=total or None, detail=detail
        )


def duration(seconds: float) -> str:
    """Seconds as people say them: 42 s, 3 min 05 s, 2 h 10 min."""
    seconds = max(0, round(seconds))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"
