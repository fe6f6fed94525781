"""`lilllm finetune`."""

from typing import Annotated

import typer

from lilllm.cli.arguments import ConfigPath, Fresh, Json, NoBuild, Overrides, read_config
from lilllm.cli.launch import Processes, over_processes


def finetune(
    config: ConfigPath = None,
    overrides: Overrides = None,
    step: Annotated[str, typer.Option(help="Name of a step; none: all of them.")] = "",
    no_build: NoBuild = False,
    fresh: Fresh = False,
    nproc: Processes = 1,
    json: Json = False,
) -> None:
    """Run the finetuning steps of a config, building what they need first.

    Example: lilllm finetune configs/demo.yaml --step chat
    """
    from lilllm.cli.render import run_command
    from lilllm.errors import ConfigError
    from lilllm.events import Report

    def work(report: Report) -> object:
        settings = read_config(config, overrides)
        from lilllm.stages.pipeline import build

        names = [step] if step else list(settings.finetune)
        if not names:
            raise ConfigError(
                "the config has no finetuning steps",
                "add one, for example finetune.chat.sources=[builtin:stories-instruct]",
            )
        if step and step not in settings.finetune:
            known = ", ".join(settings.finetune) or "none"
            raise ConfigError(f"--step {step}: no such step in the config", f"its steps: {known}")
        return {
            "steps": {
                name: build(settings, report, f"finetune.{name}", not no_build, fresh)[
                    f"finetune.{name}"
                ]
                for name in names
            }
        }

    run_command("finetune", json, over_processes(nproc, work))
