"""`lilllm bench`: how fast training and generation are here."""

from pathlib import Path
from typing import Annotated

import typer

from lilllm.cli.arguments import ConfigPath, Json, Overrides, Quantize, bits_of, read_config

app = typer.Typer(help="Measure speed on this machine.", no_args_is_help=True)


@app.command("train")
def train(
    config: ConfigPath = None,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps to measure.")] = 8,
    warmup: Annotated[int, typer.Option(min=1, help="Steps before them.")] = 2,
    json: Json = False,
) -> None:
    """Measure whole training steps of a config, on random tokens: nothing is prepared or saved.

    Example: lilllm bench train configs/39m.yaml pretrain.batch_tokens=16384
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    def work(report: Report) -> object:
        settings = read_config(config, overrides)
        from lilllm.stages import bench_train

        return bench_train.run(settings, report, steps, warmup)

    run_command("bench train", json, work)


@app.command("generate")
def generate(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[CONFIG | CHECKPOINT]",
            help="A config (random weights of its shape), a model folder or a run folder.",
        ),
    ] = None,
    overrides: Overrides = None,
    quantize: Quantize = None,
    streams: Annotated[int, typer.Option(min=1, help="Texts at once.")] = 1,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="Tokens of each prompt.")] = 32,
    new_tokens: Annotated[int, typer.Option(min=2, help="Tokens of each answer.")] = 256,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to take the median of.")] = 5,
    json: Json = False,
) -> None:
    """Measure generation: greedy, random prompts, no ending token.

    Example: lilllm bench generate configs/39m.yaml --quantize int4
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    def work(report: Report) -> object:
        from lilllm.config.load import is_config_file

        model = Path(target) if target and "=" not in target else None
        of_config = model is None or is_config_file(model)
        settings = read_config(target if of_config else None, overrides)
        from lilllm.stages import bench_generate

        return bench_generate.run(
            model,
            settings,
            report,
            quantize=bits_of(quantize),
            streams=streams,
            prompt_tokens=prompt_tokens,
            new_tokens=new_tokens,
            rounds=rounds,
        )

    run_command("bench generate", json, work)
