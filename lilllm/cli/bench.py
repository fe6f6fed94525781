"""`lilllm bench`: how fast training is here."""

from typing import Annotated

import typer

from lilllm.cli.arguments import ConfigPath, Json, Overrides, read_config

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
