"""Other people's loggers beside `metrics.jsonl`: TensorBoard and Weights & Biases, both optional.

Their packages are the extra `track`; nothing here is imported unless the config asks for it.
"""

import secrets
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from lilllm.errors import ConfigError
from lilllm.files import write_atomic

Tracker = Callable[[int, dict[str, float]], None]
"""Told the figures of a step."""


def open_trackers(
    names: Iterable[str], folder: Path, title: str, step: int, settings: dict[str, Any]
) -> list[Tracker]:
    """Begin or continue logging a stage.

    Args:
        names: `tensorboard` and `wandb`, or one of them, or none.
        folder: of the stage; the loggers keep their files in it.
        title: of the run, as it is listed.
        step: that the stage continues from; what was logged after it counts no more.
        settings: the config, shown with the run.

    Raises:
        ConfigError: a package is not installed.
    """
    open_one = {"tensorboard": _tensorboard, "wandb": _wandb}
    return [open_one[name](folder, title, step, settings) for name in check_packages(names)]


def check_packages(names: Iterable[str]) -> list[str]:
    """The names, if the packages of all of them are here.

    Raises:
        ConfigError: one is not installed.
    """
    modules = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
    for name in (names := list(names)):
        try:
            import_module(modules[name])
        except ImportError as err:
            raise ConfigError(
                f"track={name}: its package cannot be imported ({err})",
                f"pip install {name}, or leave it out of track",
            ) from err
    return names


def _kept_id(path: Path) -> str:
    """A random name that a stage folder keeps, and that a fresh start moves aside with it."""
    if not path.is_file():
        write_atomic(path, secrets.token_hex(8) + "\n")
    return path.read_text(encoding="utf-8").strip()


def _tensorboard(folder: Path, title: str, step: int, settings: dict[str, Any]) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def track(step: int, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return track


def _wandb(folder: Path, title: str, step: int, settings: dict[str, Any]) -> Tracker:
    import wandb

    try:
        run = wandb.init(
            project="lilllm",
            name=title,
            id=_kept_id(folder / "wandb-id"),
            resume="allow",
            dir=str(folder),
            config=settings,
            settings=wandb.Settings(silent=True, console="off"),
        )
    except wandb.errors.Error as err:
        raise ConfigError(
            f"track=wandb: {err}",
            "log in with `wandb login`, or set WANDB_MODE=offline to keep everything here",
        ) from err
    run.define_metric("step")
    run.define_metric("*", step_metric="step")

    def track(step: int, figures: dict[str, float]) -> None:
        run.log({"step": step, **figures})

    return track
