"""Generation: a checkpoint and prompts in, samples and their speed out.

The engine is `inference/`; which checkpoint is `find_checkpoint.py`; a conversation with history
is `chat.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lilllm.config.schema import GenerateConfig
from lilllm.errors import CheckpointError, ConfigError
from lilllm.events import Caution, Report
from lilllm.inference import Engine, Request, Sample
from lilllm.model.quantized import Bits
from lilllm.stages.find_checkpoint import Loaded
from lilllm.tokenizer import StreamDecoder, whole

OnText = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class TextSample:
    """One continuation; `text` is without the prompt, counts are in tokens."""

    prompt: str
    text: str
    prompt_tokens: int
    new_tokens: int
    finish_reason: str


@dataclass(frozen=True, slots=True)
class GenerateResult:
    """All samples, prompt by prompt.

    decode_tokens_per_s: tokens of all samples after their first, per second of making them.
    first_token_ms: from the call to the first token of any.
    """

    checkpoint: Path
    samples: list[TextSample]
    decode_tokens_per_s: float | None
    first_token_ms: float


def run(
    loaded: Loaded,
    prompts: Sequence[str],
    options: GenerateConfig,
    report: Report,
    *,
    samples: int = 1,
    seed: int = 0,
    chat: bool | None = None,
    quantize: Bits | None = None,
    on_text: OnText | None = None,
) -> GenerateResult:
    """Continue every prompt.

    Args:
        loaded: from `load_checkpoint`.
        prompts: an empty one starts a text.
        options: how to sample and when to stop.
        report: is told when a model is asked to do what it was not trained for.
        samples: continuations of each prompt.
        seed: equal seeds give equal samples.
        chat: take a prompt as a user's message; None: where the model is trained for it.
        quantize: bits to round the weights to.
        on_text: called with (prompt number, sample number, new text) as it is produced.

    Raises:
        CheckpointError: a classifier, or `chat` of a model without a chat template.
        ConfigError: a prompt does not fit into the context.
    """
    chat = loaded.chat_trained if chat is None else chat
    if chat and loaded.tokenizer.chat_template is None:
        raise CheckpointError(f"{loaded.folder}: has no chat template", "--no-chat continues text")
    if chat and not loaded.chat_trained:
        report(Caution("this base model was never trained to chat: expect it to ramble"))
    engine = make_engine(loaded, quantize=quantize)
    texts = [whole(prompt) for prompt in prompts]
    ids = [
        loaded.tokenizer.encode_chat(
            [{"role": "user", "content": text}], add_generation_prompt=True
        )
        if chat
        else loaded.prompt_ids(text)
        for text in texts
    ]
    made = engine.generate(
        ids, options, n=samples, seed=seed, on_text=_numbered(on_text, samples) if on_text else None
    )
    return GenerateResult(
        checkpoint=loaded.folder,
        samples=[
            TextSample(
                texts[index // samples],
                sample.text,
                len(ids[index // samples]),
                len(sample.ids),
                sample.finish_reason,
            )
            for index, sample in enumerate(made.samples)
        ],
        decode_tokens_per_s=made.decode_tokens / made.decode_s if made.decode_tokens else None,
        first_token_ms=made.first_token_s * 1000,
    )


def make_engine(loaded: Loaded, *, max_streams: int = 32, quantize: Bits | None = None) -> Engine:
    """An engine for an opened checkpoint; see `Engine`. One kept in few bits decodes with these.

    Raises:
        CheckpointError: a classifier.
    """
    if loaded.model.shape.n_labels:
        raise CheckpointError(
            f"{loaded.folder}: a classifier, which writes no text", "`lilllm eval` scores it"
        )
    return Engine(
        loaded.model,
        max_streams=max_streams,
        quantize=quantize or loaded.bits,
        stop_ids=loaded.stop_ids,
        new_decoder=lambda: StreamDecoder(loaded.tokenizer),
    )


def collect(engine: Engine, requests: Sequence[Request]) -> list[Sample]:
    """Let an engine that does nothing else answer requests together; in their order."""
    samples = {engine.submit(request): Sample() for request in requests}
    while engine.busy:
        for delta in engine.step():
            sample = samples[delta.request]
            sample.ids += delta.token_ids
            sample.text += delta.text
            sample.finish_reason = delta.finish_reason or sample.finish_reason
    return list(samples.values())


def read_prompt(path: Path, option: str) -> str:
    """The text of a prompt file, named by an option, without the newline at its end.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n")
    except OSError as err:
        raise ConfigError(f"{option} {path}: cannot be read ({err.strerror})") from err
    except UnicodeDecodeError as err:
        raise ConfigError(f"{option} {path}: not a UTF-8 text file") from err


def _numbered(on_text: OnText, samples: int) -> Callable[[int, str], None]:
    return lambda index, text: on_text(index // samples, index % samples, text)
