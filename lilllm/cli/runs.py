"""`lilllm runs`: list and remove runs."""

from typing import TYPE_CHECKING, Annotated

import typer

from lilllm.cli.arguments import Json

if TYPE_CHECKING:
    from rich.console import Console

    from lilllm.stages.manage_runs import RunSummary

app = typer.Typer(help="List and remove runs.", no_args_is_help=True)


@app.command("list")
def list_(json: Json = False) -> None:
    """List the runs in this folder: stages, newest checkpoints, sizes.

    Example: lilllm runs list
    """
    from lilllm.cli.render import run_command
    from lilllm.stages.manage_runs import list_runs

    run_command("runs list", json, lambda report: {"runs": list_runs()}, _show)


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Name of the run, as `lilllm runs list` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Delete a run and everything in it.

    Example: lilllm runs remove demo
    """
    from lilllm.cli.render import run_command
    from lilllm.errors import ConfigError
    from lilllm.events import Report
    from lilllm.stages.manage_runs import find_run, remove_run

    def work(report: Report) -> dict[str, str]:
        import sys

        find_run(name)
        if not yes and not sys.stdin.isatty():
            raise ConfigError(f"removing {name} needs a yes", f"lilllm runs remove {name} --yes")
        if not yes and not typer.confirm(f"Delete run {name} and everything in it?", err=True):
            raise ConfigError("nothing was removed")
        return {"removed": str(remove_run(name))}

    run_command("runs remove", json, work)


def _show(result: "dict[str, list[RunSummary]]", out: "Console") -> None:
    import time

    if not result["runs"]:
        print("no runs here yet; `lilllm run configs/demo.yaml` makes one")
    for run in result["runs"]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.modified))
        print(f"{run.name:<20} {run.bytes / 1e6:>10,.1f} MB   {when}")
        for stage in run.stages:
            many = "" if stage.checkpoints == 1 else "s"
            figures = [f"{stage.checkpoints} checkpoint{many}, latest {stage.latest}"]
            if stage.val_loss is not None:
                figures.append(f"val loss {stage.val_loss:.3f}")
            if stage.val_bpb is not None:
                figures.append(f"{stage.val_bpb:.3f} bits per byte")
            print(f"  {stage.name:<18} " + ", ".join(figures))
