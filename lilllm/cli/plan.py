"""`lilllm plan`."""

from typing import TYPE_CHECKING

from lilllm.cli.arguments import ConfigPath, Json, Overrides, read_config

if TYPE_CHECKING:
    from rich.console import Console

    from lilllm.stages.plan import Plan


def plan(config: ConfigPath = None, overrides: Overrides = None, json: Json = False) -> None:
    """Say what pretraining a config takes: parameters, FLOPs, memory, disk and time here.

    Example: lilllm plan configs/39m.yaml pretrain.micro_batch_size=8
    """
    from lilllm.cli.render import run_command
    from lilllm.events import Report

    def work(report: Report) -> "Plan":
        settings = read_config(config, overrides)
        from lilllm.stages.plan import run

        return run(settings, report)

    run_command("plan", json, work, _show)


def _show(plan: "Plan", console: "Console") -> None:
    from rich.table import Table

    from lilllm.events import short_count

    def table(title: str, rows: dict[str, str]) -> None:
        shown = Table("", "", title=title, title_justify="left", show_header=False)
        for name, value in rows.items():
            shown.add_row(name, value)
        console.print(shown)

    table("Parameters", {name: f"{count:,}" for name, count in plan.parameters.items()})
    table(
        "Memory of a step",
        {name: f"{size / 2**20:,.0f} MiB" for name, size in plan.memory_bytes.items()}
        | {"this machine has": f"{plan.memory_available_bytes / 2**20:,.0f} MiB"},
    )
    work = {
        "tokens": f"{plan.tokens:,} in {plan.steps:,} steps",
        "tokens per parameter": f"{plan.tokens_per_parameter:,.1f}",
        "FLOPs per token": short_count(plan.flops_per_token),
        "FLOPs in all": f"{plan.total_flops:.2e}",
        "checkpoints on disk": f"up to {plan.disk_bytes / 2**20:,.0f} MiB",
        "machine": f"{plan.device}, {plan.precision}, {plan.threads} threads, "
        f"{plan.peak_flops / 1e9:,.0f} GFLOP/s",
    }
    if plan.tokens_per_s is not None and plan.seconds is not None and plan.mfu is not None:
        work["speed here"] = f"{plan.tokens_per_s:,.0f} tokens/s, MFU {plan.mfu:.0%}"
        work["time here"] = _duration(plan.seconds)
    if plan.advice is not None:
        work["does not fit"] = plan.advice
    table("Work", work)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:.0f} seconds"
