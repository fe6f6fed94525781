"""How fast a model generates here: random prompts, no ending token, median of some rounds."""

import random
import statistics
from dataclasses import dataclass
from pathlib import Path

from lilllm.config import Config
from lilllm.config.load import is_config_file
from lilllm.config.schema import GenerateConfig
from lilllm.events import Note, Report
from lilllm.inference import Engine
from lilllm.model.checkpoint import is_checkpoint, load_model
from lilllm.model.quantized import Bits
from lilllm.model.transformer import Transformer
from lilllm.stages.find_checkpoint import find_checkpoint
from lilllm.stages.model_shape import resolve_shape
from lilllm.training.hardware import resolve_machine


@dataclass(frozen=True, slots=True)
class BenchResult:
    """Medians over the rounds; the first round warms up and is not counted.

    decode_tokens_per_s: tokens of all texts after the first token, per second; tokens_per_s is
    the same figure, for harnesses. first_token_ms: from the call to the first token of any text.
    compiled_step: whether the compiled decoding step is used.
    """

    decode_tokens_per_s: float
    tokens_per_s: float
    first_token_ms: float
    streams: int
    prompt_tokens: int
    new_tokens: int
    rounds: int
    device: str
    precision: str
    quantize: int | None
    threads: int
    compiled_step: bool


def run(
    target: Path | None,
    config: Config,
    report: Report,
    *,
    quantize: Bits | None = None,
    streams: int = 1,
    prompt_tokens: int = 32,
    new_tokens: int = 256,
    rounds: int = 5,
) -> BenchResult:
    """Generate greedily and time it.

    Args:
        target: a model folder, or where to find a checkpoint; None or a config: random weights of
            the config's shape.
        config: of the shape, device, precision and threads.
        report: is told where it runs.
        quantize: bits to round the weights to.
        streams: texts at once, each with a prompt of its own.
        prompt_tokens: length of each prompt, drawn anew in each round.
        new_tokens: length of each answer.
        rounds: measured ones.

    Raises:
        ConfigError: prompt and answer do not fit into the context.
        CheckpointError: the model cannot be read.
        RunError: no such device.
    """
    machine = resolve_machine(config)
    if target is None or is_config_file(target):
        shape = resolve_shape(config.model, config.model.vocab_size or config.tokenizer.vocab_size)
        model = Transformer(shape, seed=config.seed).to(machine.device, machine.dtype)
    else:
        folder = target if is_checkpoint(target) else find_checkpoint(target, report, text=True)
        model = load_model(folder, dtype=machine.dtype, device=machine.device)
    engine = Engine(model, max_streams=streams, quantize=quantize)
    options = GenerateConfig(max_new_tokens=new_tokens, temperature=0)
    draw = random.Random(config.seed)
    vocabulary = model.shape.vocab_size
    compiled = engine.decoder.native is not None
    how = "compiled step" if compiled else "torch"
    report(Note(f"{machine.device}, {machine.precision}, {machine.threads} threads, {how}"))
    speeds, first = [], []
    for number in range(rounds + 1):
        prompts = [
            [draw.randrange(vocabulary) for _ in range(prompt_tokens)] for _ in range(streams)
        ]
        made = engine.generate(prompts, options)
        if number:
            speeds.append(made.decode_tokens / made.decode_s)
            first.append(made.first_token_s * 1000)
    return BenchResult(
        decode_tokens_per_s=statistics.median(speeds),
        tokens_per_s=statistics.median(speeds),
        first_token_ms=statistics.median(first),
        streams=streams,
        prompt_tokens=prompt_tokens,
        new_tokens=new_tokens,
        rounds=rounds,
        device=machine.device,
        precision=machine.precision,
        quantize=quantize,
        threads=machine.threads,
        compiled_step=compiled,
    )
