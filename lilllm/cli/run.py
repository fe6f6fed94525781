"""`lilllm run`."""

from typing import TYPE_CHECKING, Any

from lilllm.cli.arguments import ConfigPath, Json, Overrides, read_config
from lilllm.cli.launch import Processes, over_processes

if TYPE_CHECKING:
    from rich.console import Console


def run(
    config: ConfigPath = None,
    overrides: Overrides = None,
    nproc: Processes = 1,
    json: Json = False,
) -> None:
    """Run every stage of a config in order, skipping what is up to date.

    Example: lilllm run configs/demo.yaml
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    def work(report: Report) -> dict[str, Any]:
        settings = read_config(config, overrides)
        from lilllm.stages.pipeline import build, stages_of

        return {"stages": build(settings, report, stages_of(settings)[-1].name)}

    run_command("run", json, over_processes(nproc, work), _show)


def _show(result: dict[str, Any], out: "Console") -> None:
    from lilllm.cli.render import show_number

    for name, fields in result["stages"].items():
        where = fields.get("checkpoint") or fields.get("path") or ""
        print(f"{name:<16} {where}")
        for key in ("tokens", "parameters", "train_loss", "val_loss", "val_bpb"):
            if key in fields:
                print(f"{'':<16}   {key} {show_number(fields[key])}")
        for task, measures in fields.get("tasks", {}).items():
            print(
                f"{'':<16}   {task}: "
                + ", ".join(
                    f"{key} {show_number(value)}"
                    for key, value in measures.items()
                    if isinstance(value, int | float)  # samples and tables are in result.json
                )
            )
