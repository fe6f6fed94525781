"""What pretraining and finetuning share: opening a stage folder, and what a checkpoint holds.

Opening decides between starting, continuing and refusing; writing puts model, tokenizer and
provenance together. The training itself is `training/loop.py`.
"""

import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

import lilllm
from lilllm.config import Config, dump_yaml, layout, load_config
from lilllm.config.schema import OptimizationConfig
from lilllm.config.schema.finetune import UNPACKED
from lilllm.errors import CheckpointError, ConfigError, Interrupted
from lilllm.events import Caution, Event, Report
from lilllm.files import lock_folder, make_folder, remove, write_atomic, write_error
from lilllm.model.checkpoint import save_model
from lilllm.model.transformer import Transformer
from lilllm.tokenizer import Tokenizer
from lilllm.training.distributed import World
from lilllm.training.hardware import Machine, resolve_machine
from lilllm.training.run import Run
from lilllm.training.signals import StopRequest
from lilllm.training.state import Counters, checkpoints, newest_valid
from lilllm.training.trackers import Tracker, check_packages, open_trackers

FREE_KEYS = frozenset(
    {
        "log_every",
        "eval_every",
        "eval_tokens",
        "save_every",
        "keep_last",
        "sample_every",
        "sample_prompts",
        "processes",
        "micro_batch_size",
        "distributed",
        "tasks",
        "activation_checkpointing",
        "track",
    }
)
"""Keys about logging, saving, watching and where a step is computed: a run may continue with
other values."""

OLD = "old"
"""Folder of a run that holds what fresh starts moved aside."""

COMPILE_PAYS_AFTER = 1e13
"""FLOPs of a CPU run, some two minutes of a model of a few million parameters, from which compiling
is won back there: 15 to 40 seconds for steps a third shorter. A larger model, whose steps are
products mostly, wins it back at some 3e13 and loses up to 20 seconds before."""


def open_stage(
    folder: Path,
    config: Config,
    keys: tuple[str, ...],
    report: Report,
    fresh: bool,
    world: World,
) -> tuple[Config, Machine, Path | None]:
    """Prepare a stage folder: nothing there, something to continue, or something else.

    Args:
        folder: of the stage.
        config: as asked for now.
        keys: dotted keys and sections that the stage's result depends on.
        report: is told about damaged checkpoints.
        fresh: move what is there aside and start again.
        world: the processes; the first one does it, and they share the cores of a machine.

    Returns:
        the config with every auto resolved, the machine, and a checkpoint to continue from.

    Raises:
        ConfigError: the stage was run with other values of `keys`.
    """
    resolved, machine, latest = world.first(
        lambda: _open(folder, config, keys, report, fresh, world.size > 1)
    )
    if world.size > 1 and config.threads == "auto":
        cores = (os.cpu_count() or 1) // world.local_size
        machine = replace(machine, threads=max(1, cores))
    torch.set_num_threads(machine.threads)
    return resolved, machine, latest


@contextmanager
def hold(folder: Path, world: World) -> Iterator[None]:
    """Keep others out of a stage folder, from before it is looked at until all is written.

    Raises:
        RunError: another process is working on it.
    """
    with ExitStack() as held:
        world.first(lambda: held.enter_context(lock_folder(folder)))
        yield


@contextmanager
def put_back_on_error(folder: Path, root: Path, fresh: bool, world: World) -> Iterator[None]:
    """Undo what a fresh start moves aside meanwhile, if it cannot begin or is stopped.

    Args:
        folder: of the stage.
        root: of its run.
        fresh: whether it is one; otherwise nothing is touched.
        world: the processes; the first one moved it, and puts it back.
    """
    if not (fresh and world.is_first):
        yield
        return
    before = set((root / OLD).glob("*"))
    try:
        yield
    except BaseException:
        for moved in set((root / OLD).glob("*")) - before:
            remove(folder)
            with suppress(OSError):  # then it stays there
                moved.rename(folder)
                moved.parent.rmdir()  # if nothing else was ever moved
        raise


@contextmanager
def stoppable(report: Report) -> Iterator[Report]:
    """A `report` for what is measured after the last save; a signal ends it at the next event.

    Raises:
        Interrupted: a signal came; the model is saved.
    """
    with StopRequest() as stop:

        def check() -> None:
            if stop:
                raise Interrupted(
                    f"stopped by {stop.name} while scoring; the model is saved",
                    "run the same command again to finish",
                )

        def listen(event: Event) -> None:
            check()
            report(event)

        yield listen
        check()


def _open(
    folder: Path, config: Config, keys: tuple[str, ...], report: Report, fresh: bool, several: bool
) -> tuple[Config, Machine, Path | None]:
    if fresh and folder.exists():
        old = make_folder(layout(config).root / OLD)
        moment = f"{time.strftime('%Y%m%d-%H%M%S')}.{time.time_ns() % 10**9:09}"
        try:
            folder.rename(old / f"{folder.name}-{moment}")
        except OSError as err:
            raise write_error(folder, err) from err
    latest = newest_valid(folder, report)
    stored = stored_config(folder)
    if latest is not None and stored is not None:
        refuse_changes(folder, config, keys)
        config = _keep_resolved(config, stored)
    machine = resolve_machine(config)
    config = _with_batch_rows(config, config).model_copy(
        update={
            "device": machine.device,
            "precision": machine.precision,
            # several processes share the cores, but the run may go on in one
            "threads": config.threads if several else machine.threads,
        }
    )
    make_folder(folder)
    write_atomic(folder / "config.yaml", dump_yaml(config, _provenance()))
    return config, machine, latest


def refuse_changes(folder: Path, config: Config, keys: Iterable[str]) -> None:
    """Do nothing if a stage may be continued with this config, or has not begun.

    Raises:
        ConfigError: it was begun with other values of `keys`; the message lists them.
    """
    stored = stored_config(folder)
    changed = changed_keys(stored, config, keys) if stored is not None else []
    if changed:
        raise ConfigError(
            f"{folder}: was trained with other settings: " + "; ".join(changed),
            "undo them to continue it; or start it again with --fresh on `lilllm pretrain` or "
            "`lilllm finetune` (the old one is moved aside); or give the run another name=",
        )


def stored_config(folder: Path) -> Config | None:
    """The config that a stage with at least one checkpoint was begun with."""
    path = folder / "config.yaml"
    return load_config(path) if path.is_file() and checkpoints(folder) else None


def changed_keys(old: Config, new: Config, keys: Iterable[str]) -> list[str]:
    """`key: old -> new` for every key below `keys` that differs and is not free to change."""
    old, new = _with_batch_rows(old, old), _keep_resolved(new, old)
    before, after = (_flatten(config.model_dump(mode="json")) for config in (old, new))
    return [
        f"{key}: {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if any(key == prefix or key.startswith(prefix + ".") for prefix in keys)
        and key.split(".")[-1] not in FREE_KEYS
        and before.get(key) != after.get(key)
    ]


def _keep_resolved(config: Config, stored: Config) -> Config:
    """Where auto is asked for, what it resolved to when the stage first started."""
    update = {
        key: getattr(stored, key)
        for key in ("device", "precision", "threads")
        if getattr(config, key) == "auto"
    }
    return _with_batch_rows(config.model_copy(update=update), stored)


def _with_batch_rows(config: Config, stored: Config) -> Config:
    """Steps whose `batch_rows` are not given keep those of `stored`, and first the micro batch.

    So a step may be continued with another `micro_batch_size`, which says how it is computed.
    """
    steps = {}
    for name, section in config.finetune.items():
        if section.method in UNPACKED and section.batch_rows is None:
            begun = stored.finetune.get(name, section)
            rows = begun.batch_rows or begun.micro_batch_size
            section = section.model_copy(update={"batch_rows": rows})
        steps[name] = section
    return config.model_copy(update={"finetune": steps})


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flatten(item, f"{prefix}.{key}" if prefix else key)
    return flat


def _provenance() -> str:
    try:
        git = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(lilllm.__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    except OSError:
        git = ""
    return (
        f"# resolved by lilllm {lilllm.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, git {git or 'unknown'}\n"
    )


def wants_compile(section: OptimizationConfig, device: str, flops: float, report: Report) -> bool:
    """Whether to compile: as the config says, or for auto where it pays and works."""
    if section.compile != "auto":
        return section.compile
    if (device == "cpu" and flops < COMPILE_PAYS_AFTER) or device == "mps":
        return False
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except Exception as err:  # no C++ compiler, no Python headers: torch raises many kinds
        report(Caution(f"torch.compile does not work here ({type(err).__name__}); going without"))
        return False
    return True


def caution_warmup(training: Run) -> None:
    """Tell that no step has the peak learning rate, if so: the last one has the lowest."""
    warmup, steps = training.config.warmup_steps, training.steps
    if warmup >= steps - 1 > 0:
        training.report(
            Caution(
                f"{training.stage}.warmup_steps={warmup}, and there are only {steps:,} steps: the "
                "learning rate never reaches its peak"
            )
        )


def write_weights(
    folder: Path,
    model: Transformer,
    weights: dict[str, Tensor],
    tokenizer: Tokenizer,
    config: Config,
    provenance: dict[str, Any],
    counters: Counters,
    labels: Sequence[str] = (),
) -> None:
    """Fill a checkpoint folder: model, tokenizer, generation defaults and `lilllm.yaml`."""
    save_model(
        folder,
        model,
        bos_id=tokenizer.bos_id if tokenizer.bos_id is not None else tokenizer.end_id,
        eos_ids=sorted(tokenizer.stop_ids),
        pad_id=tokenizer.pad_id,
        generation=config.generate.model_dump(mode="json"),
        weights=weights,
        labels=labels,
    )
    tokenizer.save(folder)
    record = {
        **provenance,
        "step": counters.step,
        "tokens_seen": counters.tokens,
        "config": config.model_dump(mode="json"),
    }
    write_atomic(folder / "lilllm.yaml", yaml.safe_dump(record, sort_keys=False))


def trackers_of(config: Config, folder: Path, stage: str) -> Callable[[int], list[Tracker]]:
    """Opens the loggers that a config asks for, given the step that a stage continues from.

    Raises:
        ConfigError: the package of one is not installed.
    """
    settings = config.model_dump(mode="json")
    title, names = f"{config.name}/{stage}", check_packages(config.track)
    return lambda step: open_trackers(names, folder, title, step, settings)


def check_provenance(folder: Path, expected: dict[str, Any]) -> None:
    """Refuse to continue a checkpoint that saw another tokenizer or other data.

    Raises:
        CheckpointError: `lilllm.yaml` is missing or names other hashes.
    """
    try:
        record = yaml.safe_load((folder / "lilllm.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as err:
        raise CheckpointError(f"{folder / 'lilllm.yaml'}: cannot be read ({err})") from err
    for key, value in expected.items():
        if record.get(key) != value:
            raise ConfigError(
                f"{folder}: {key} is {record.get(key)}, but now it is {value}: the inputs of "
                "this run have changed since",
                "add --fresh to start it again on the new ones (the old one is moved aside), or "
                "give the run another name=",
            )
