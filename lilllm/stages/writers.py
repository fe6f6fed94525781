"""Who writes synthetic data: a checkpoint here, or a model that a server has."""

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lilllm.config import Config
from lilllm.data.synthesis import Ask
from lilllm.errors import ConfigError
from lilllm.events import Report
from lilllm.inference import Request
from lilllm.inference.endpoint import Endpoint
from lilllm.model.checkpoint import weights_hash
from lilllm.stages.find_checkpoint import Loaded, find_checkpoint, load_checkpoint
from lilllm.stages.generate import collect, make_engine

SEEDS = 2**31  # what servers take as a seed


@dataclass(frozen=True, slots=True)
class Answer:
    """What was written; `complete` is False when the tokens ran out."""

    text: str
    complete: bool
    seed: int


class Writer(Protocol):
    """Answers asks. `identity` is what a row's provenance says of it."""

    identity: dict[str, Any]

    def write(self, asks: Sequence[Ask]) -> Iterator[tuple[Ask, Answer]]:
        """Answer every ask, in any order; an error comes after the answers that there are."""


def open_writer(config: Config, report: Report) -> Writer:
    """The writer that a config names.

    Raises:
        CheckpointError: there is no such checkpoint.
        ConfigError: a server without the name of a model, or without its key.
    """
    section = config.synth
    if section.writer.startswith(("http://", "https://")):
        return _Server(config)
    target = None if section.writer == "auto" else Path(section.writer)
    folder = find_checkpoint(target, report, chat=True)
    return _Checkpoint(load_checkpoint(folder, device=config.device), config)


class _Checkpoint:
    def __init__(self, loaded: Loaded, config: Config) -> None:
        self.loaded, self.config = loaded, config
        self.engine = make_engine(loaded)
        self.identity = {
            "writer": str(loaded.folder),
            "weights": weights_hash(loaded.folder),
            "sampling": config.generate.model_dump(mode="json", exclude={"prompts"}),
        }

    def write(self, asks: Sequence[Ask]) -> Iterator[tuple[Ask, Answer]]:
        seeds = [_seed(self.config, ask) for ask in asks]
        requests = [
            Request(self._ids(ask), self.config.generate, seed)
            for ask, seed in zip(asks, seeds, strict=True)
        ]
        samples = collect(self.engine, requests)
        for ask, seed, sample in zip(asks, seeds, samples, strict=True):
            yield ask, Answer(sample.text, sample.finish_reason == "stop", seed)

    def _ids(self, ask: Ask) -> list[int]:
        if not (self.loaded.chat_trained and self.loaded.tokenizer.chat_template):
            return self.loaded.prompt_ids(f"{ask.prompt}\n\n")
        messages = [{"role": "user", "content": ask.prompt}]
        return self.loaded.tokenizer.encode_chat(messages, add_generation_prompt=True)


class _Server:
    def __init__(self, config: Config) -> None:
        section = config.synth
        if not section.model:
            raise ConfigError(
                f"synth.model is empty: {section.writer} is asked for a model by its name",
                f"for example synth.model=gpt-4o-mini; {section.writer}/models lists its names",
            )
        key = os.environ.get(section.api_key_variable, "") if section.api_key_variable else ""
        if section.api_key_variable and not key:
            raise ConfigError(
                f"synth.api_key_variable: the environment has no {section.api_key_variable}",
                f"export {section.api_key_variable}=...",
            )
        self.endpoint = Endpoint(
            section.writer, section.model, key, section.timeout_seconds, section.retries
        )
        self.config = config
        options = config.generate
        self.identity = {
            "writer": section.writer,
            "model": section.model,
            "sampling": {
                "temperature": options.temperature,
                "top_p": options.top_p,
                "max_new_tokens": options.max_new_tokens,
                "stop": list(options.stop),
            },
        }

    def write(self, asks: Sequence[Ask]) -> Iterator[tuple[Ask, Answer]]:
        stop = threading.Event()
        done: queue.Queue[tuple[Ask, Answer | BaseException]] = queue.Queue()
        for ask in asks:  # daemons: a request that hangs does not keep the process alive
            threading.Thread(target=self._ask, args=(ask, done, stop), daemon=True).start()
        failure: BaseException | None = None
        try:
            for _ in asks:
                ask, answer = done.get()
                if isinstance(answer, BaseException):
                    stop.set()
                    failure = failure or answer
                else:
                    yield ask, answer
        finally:
            stop.set()
        if failure is not None:
            raise failure

    def _ask(
        self,
        ask: Ask,
        done: "queue.Queue[tuple[Ask, Answer | BaseException]]",
        stop: threading.Event,
    ) -> None:
        messages = [
            {"role": "system", "content": ask.system},
            {"role": "user", "content": ask.prompt},
        ]
        seed = _seed(self.config, ask)
        try:
            reply = self.endpoint.chat(messages, self.config.generate, seed, stop)
            done.put((ask, Answer(reply.text, reply.complete, seed)))
        except BaseException as err:  # told to the thread that waits for it
            done.put((ask, err))


def _seed(config: Config, ask: Ask) -> int:
    return (config.seed * 1_000_003 + ask.number) % SEEDS
