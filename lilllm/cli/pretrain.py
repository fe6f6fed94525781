"""`lilllm pretrain`."""

from lilllm.cli.arguments import ConfigPath, Fresh, Json, NoBuild, Overrides, read_config
from lilllm.cli.launch import Processes, over_processes


def pretrain(
    config: ConfigPath = None,
    overrides: Overrides = None,
    no_build: NoBuild = False,
    fresh: Fresh = False,
    nproc: Processes = 1,
    json: Json = False,
) -> None:
    """Train a model from scratch; builds the tokenizer and the data first if they are missing.

    The same command continues an interrupted run.

    Example: lilllm pretrain configs/39m.yaml pretrain.lr=3e-4
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    def work(report: Report) -> object:
        settings = read_config(config, overrides)
        from lilllm.stages.pipeline import build

        return build(settings, report, "pretrain", not no_build, fresh)["pretrain"]

    run_command("pretrain", json, over_processes(nproc, work))
