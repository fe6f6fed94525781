"""What the lower floors tell whoever watches: frozen dataclasses handed to `report(event)`.

Nothing below `cli/` prints. A stage takes a `Report` and calls it; the terminal display, the
JSON log and the tests are all just different callables.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence worth reading once: a choice that was made, a default that was found."""

    text: str


@dataclass(frozen=True, slots=True)
class Caution:
    """A sentence about something suspicious that does not stop the run."""

    text: str


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins; `detail` says what it will make, its disk use and about how long."""

    stage: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StageSkipped:
    """A stage is up to date and was not run again."""

    stage: str
    reason: str


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage ended well after `seconds`; `detail` says where its result is."""

    stage: str
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is. `total` is 0 when unknown; `rate` is in `rate_unit`."""

    stage: str
    done: float
    total: float
    unit: str
    rate: float = 0.0
    rate_unit: str = ""


@dataclass(frozen=True, slots=True)
class StepDone:
    """One optimizer step of a training run; rates are means since the last report.

    `measures` are those that the objective gives beside its loss.
    """

    stage: str
    step: int
    max_steps: int
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    tokens_per_s: float
    mfu: float
    eta_seconds: float
    memory_bytes: int
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Validated:
    """A validation pass during training. `measures` maps a name to its value."""

    stage: str
    step: int
    measures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A text that the model wrote during training."""

    stage: str
    step: int
    prompt: str
    text: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint folder is complete on disk."""

    stage: str
    step: int
    path: str


Event = (
    Note
    | Caution
    | StageStarted
    | StageSkipped
    | StageFinished
    | Progress
    | StepDone
    | Validated
    | Sampled
    | Saved
)
Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """A `Report` for library use and tests: says nothing."""


def short_count(count: float) -> str:
    """A large count as people say it: 950, 38 K, 4.4 M, 8.0 B."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.{0 if count >= 100 * size else 1}f} {letter}"
    return f"{count:,.0f}"


def counted(count: int, noun: str) -> str:
    """A count with what is counted: 1 row, 2,000 rows."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def counting(report: Report, stage: str, total: int, unit: str = "rows") -> Callable[[int], None]:
    """Tells `report` how much of a stage is done, and how fast; a `total` of 0 is not known."""
    began = time.perf_counter()

    def tell(done: int) -> None:
        rate = done / max(time.perf_counter() - began, 1e-9)
        report(Progress(stage, done, total, unit, rate, f"{unit}/s"))

    return tell
