"""Counters of a running server, and Prometheus' text format.

Source: the text-based exposition format 0.0.4, prometheus.io/docs/instrumenting/exposition_formats.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histograms' buckets."""


@dataclass(slots=True)
class Histogram:
    """How many observations were at most each bound of `SECONDS`, and their sum."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        """Observations so far."""
        return sum(self.buckets)

    @property
    def mean(self) -> float:
        """0 before the first observation."""
        return self.total / max(1, self.count)


@dataclass(slots=True)
class Metrics:
    """What has happened since the server started.

    responses: by (method, path, status). rejected: requests not admitted, by reason.
    first_token: seconds from a request's arrival to its first token. whole: to its last.
    """

    responses: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    generated_tokens: int = 0
    cancelled: int = 0
    first_token: Histogram = field(default_factory=Histogram)
    whole: Histogram = field(default_factory=Histogram)

    def text(self, running: int, waiting: int) -> str:
        """Everything in Prometheus' format."""
        lines = [
            *_family("http_responses_total", "counter", "Answers by path and status."),
            *(
                f'lilllm_http_responses_total{{method="{method}",path="{path}",status="{status}"}}'
                f" {count}"
                for (method, path, status), count in sorted(self.responses.items())
            ),
            *_family("rejected_total", "counter", "Requests that were not admitted, by reason."),
            *(
                f'lilllm_rejected_total{{reason="{reason}"}} {count}'
                for reason, count in sorted(self.rejected.items())
            ),
            *_single("running", "gauge", "Choices that the engine works on.", running),
            *_single("waiting", "gauge", "Choices that wait for the engine.", waiting),
            *_single("prompt_tokens_total", "counter", "Tokens of prompts.", self.prompt_tokens),
            *_single("generated_tokens_total", "counter", "New tokens.", self.generated_tokens),
            *_single(
                "cancelled_total", "counter", "Choices given up before their end.", self.cancelled
            ),
            *_histogram("first_token_seconds", "Arrival to first token.", self.first_token),
            *_histogram("request_seconds", "Arrival to last token.", self.whole),
        ]
        return "\n".join(lines) + "\n"


def _family(name: str, kind: str, text: str) -> Iterable[str]:
    return (f"# HELP lilllm_{name} {text}", f"# TYPE lilllm_{name} {kind}")


def _single(name: str, kind: str, text: str, value: int) -> Iterable[str]:
    return (*_family(name, kind, text), f"lilllm_{name} {value}")


def _histogram(name: str, text: str, histogram: Histogram) -> Iterable[str]:
    yield from _family(name, "histogram", text)
    reached = 0
    for bound, count in zip((*SECONDS, "+Inf"), histogram.buckets, strict=True):
        reached += count
        yield f'lilllm_{name}_bucket{{le="{bound}"}} {reached}'
    yield f"lilllm_{name}_sum {histogram.total:.6f}"
    yield f"lilllm_{name}_count {reached}"
