"""`lilllm generate`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lilllm.cli.arguments import Json, Precision, Quantize, bits_of, check_precision

if TYPE_CHECKING:
    from lilllm.config.schema import GenerateConfig

Target = Annotated[
    Path | None,
    typer.Argument(
        metavar="[CHECKPOINT]",
        help="A checkpoint, stage or run folder, or a config; none: the newest under runs/.",
    ),
]
MaxNewTokens = Annotated[int | None, typer.Option(help="Tokens to generate at most.")]
Temperature = Annotated[float | None, typer.Option(help="0 takes the most likely token.")]
TopK = Annotated[int | None, typer.Option(help="Keep this many likeliest tokens; 0: all.")]
TopP = Annotated[float | None, typer.Option(help="Keep the likeliest tokens of this probability.")]
MinP = Annotated[
    float | None, typer.Option(help="Keep tokens this many times as likely as the best.")
]
Penalty = Annotated[float | None, typer.Option(help="Above 1: repeat less.")]
Presence = Annotated[float | None, typer.Option(help="Above 0: avoid tokens of the new text.")]
Frequency = Annotated[float | None, typer.Option(help="The same for each time that it came.")]
Stop = Annotated[list[str] | None, typer.Option(help="A string that ends the text; repeatable.")]
Seed = Annotated[int, typer.Option(help="Equal seeds give equal texts.")]


def generate(
    checkpoint: Target = None,
    prompt: Annotated[
        list[str] | None, typer.Option("--prompt", "-p", help="Text to continue; repeatable.")
    ] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="A file with one more prompt.")] = None,
    prompts_file: Annotated[
        Path | None, typer.Option(help="A file with more prompts, one on each line.")
    ] = None,
    max_new_tokens: MaxNewTokens = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: Penalty = None,
    presence_penalty: Presence = None,
    frequency_penalty: Frequency = None,
    stop: Stop = None,
    seed: Seed = 0,
    precision: Precision = "fp32",
    quantize: Quantize = None,
    samples: Annotated[int, typer.Option(min=1, help="Texts per prompt.")] = 1,
    chat: Annotated[
        bool | None,
        typer.Option("--chat/--no-chat", help="Take the prompt as a message to answer."),
    ] = None,
    json: Json = False,
) -> None:
    """Continue a prompt.

    Example: lilllm generate --prompt "Once upon a time"
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    given = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "stop": stop or None,
    }

    def work(report: Report) -> object:
        from lilllm.kernels import prebuild

        prebuild("decode")  # while torch is imported
        sampling_options({}, given)  # a wrong one is told before anything is loaded
        check_precision(precision)
        bits = bits_of(quantize)
        from lilllm.stages import generate as stage
        from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint, named_generate

        files = [stage.read_prompt(prompt_file, "--prompt-file")] if prompt_file else []
        if prompts_file:
            files += stage.read_prompt(prompts_file, "--prompts-file").split("\n")
        folder = find_checkpoint(checkpoint, report, text=True)
        loaded = load_checkpoint(folder, precision=precision, generate=named_generate(checkpoint))
        prompts = [*(prompt or []), *files] or list(loaded.generate.prompts) or [""]
        options = sampling_options(loaded.generate.model_dump(), given)
        answers = loaded.chat_trained if chat is None else chat
        writer = None if json else _Writer(prompts, samples, "\n\n" if answers else "")
        result = stage.run(
            loaded,
            prompts,
            options,
            report,
            samples=samples,
            seed=seed,
            chat=chat,
            quantize=bits,
            on_text=writer.stream if writer and writer.streams else None,
        )
        if writer:
            writer.finish([sample.text for sample in result.samples])
        return result

    run_command("generate", json, work, lambda result, out: None)


def sampling_options(defaults: dict[str, Any], given: dict[str, Any]) -> "GenerateConfig":
    """The checkpoint's sampling options with those of the command line over them.

    Raises:
        ConfigError: a value is out of range.
    """
    from lilllm.config.load import build_config

    chosen = {key: value for key, value in given.items() if value is not None}
    return build_config({"generate": {**defaults, **chosen}}, "command line").generate


class _Writer:
    """Texts on stdout: a single one as it is produced, several one after the other."""

    def __init__(self, prompts: list[str], samples: int, gap: str) -> None:
        self.prompts, self.samples, self.gap = prompts, samples, gap
        self.streams = samples == len(prompts) == 1
        self.begun = False

    def stream(self, _prompt: int, _sample: int, text: str) -> None:
        self._begin()
        sys.stdout.write(text)
        sys.stdout.flush()

    def finish(self, texts: list[str]) -> None:
        if self.streams:
            self._begin()  # where no text came
            sys.stdout.write("\n")
            return
        for index, text in enumerate(texts):
            separator = "\n" if index else ""
            prompt = _shown(self.prompts[index // self.samples])
            sys.stdout.write(f"{separator}{prompt}{self.gap}{text}\n")

    def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            sys.stdout.write(_shown(self.prompts[0]) + self.gap)


def _shown(prompt: str) -> str:
    from lilllm.tokenizer import whole

    return whole(prompt)
