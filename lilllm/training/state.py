"""Checkpoints of a running stage: weights for everyone, and `state/` for resuming.

A stage folder holds `step-XXXXXXXX/` folders and two markers, `latest` and `best`, text files
with a step's name. What is in a checkpoint besides `state/` is the caller's to write.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lilllm.errors import CheckpointError, DataError, RunError
from lilllm.events import Caution, Report
from lilllm.files import manifest_problem, new_folder, read_json, remove, write_atomic, write_json

DOUBLE_SCALE_AFTER = 1000


@dataclass(frozen=True, slots=True)
class Counters:
    """How far a run is: optimizer steps, samples and tokens (positions) seen.

    loss_scale: what the next loss is multiplied with in fp16. steady_steps: steps since it changed.
    """

    step: int = 0
    samples: int = 0
    tokens: int = 0
    loss_scale: float = 1024.0
    steady_steps: int = 0

    def after_step(self, samples: int, tokens: int, finite: bool) -> "Counters":
        """One step on; the loss scale is halved by an overflow and doubled after many good steps.

        Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.
        """
        scale, steady = self.loss_scale, self.steady_steps + 1
        if not finite:
            scale, steady = scale / 2, 0
        elif steady == DOUBLE_SCALE_AFTER:
            scale, steady = scale * 2, 0
        return Counters(self.step + 1, self.samples + samples, self.tokens + tokens, scale, steady)


def step_name(step: int) -> str:
    """The folder name of a checkpoint."""
    return f"step-{step:08d}"


def save_checkpoint(
    stage_folder: Path,
    counters: Counters,
    write_weights: Callable[[Path], None],
    optimizer_state: dict[str, Tensor],
) -> Path:
    """Write a checkpoint folder atomically and point `latest` at it.

    Args:
        stage_folder: where the stage keeps its checkpoints.
        counters: how far the run is.
        write_weights: fills a temporary folder with everything but `state/`.
        optimizer_state: from `optimizer_tensors`.

    Raises:
        RunError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    folder = stage_folder / step_name(counters.step)
    with new_folder(folder) as partial:
        write_weights(partial)
        state = partial / "state"
        state.mkdir()
        try:
            save_file(
                {name: t.detach().contiguous() for name, t in optimizer_state.items()},
                state / "optimizer.safetensors",
            )
        except SafetensorError as err:
            raise RunError(
                f"{folder}: cannot be written ({err})",
                "free some space, then run the same command again: it continues from the last save",
            ) from err
        write_json(state / "counters.json", asdict(counters))
    write_atomic(stage_folder / "latest", folder.name + "\n")
    return folder


def load_state(folder: Path) -> tuple[Counters, dict[str, Tensor]]:
    """Counters and optimizer state of a checkpoint.

    Raises:
        CheckpointError: `state/` is missing or damaged.
    """
    try:
        counters = Counters(**read_json(folder / "state" / "counters.json", CheckpointError))
        return counters, load_file(folder / "state" / "optimizer.safetensors")
    except (SafetensorError, OSError, TypeError) as err:
        raise CheckpointError(f"{folder}/state: cannot be read ({err})") from err


def checkpoints(stage_folder: Path) -> list[Path]:
    """The checkpoint folders of a stage, oldest first; damaged ones included."""
    return sorted(p for p in stage_folder.glob("step-*") if p.is_dir())


def newest_valid(stage_folder: Path, report: Report) -> Path | None:
    """The newest checkpoint whose hashes are right; damaged newer ones are reported."""
    for folder in reversed(checkpoints(stage_folder)):
        problem = manifest_problem(folder)
        if not problem:
            return folder
        report(Caution(f"{problem}; using the checkpoint before it"))
    return None


def read_marker(stage_folder: Path, name: str) -> str:
    """What `latest` or `best` points at; empty when there is none."""
    try:
        return (stage_folder / name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    except UnicodeDecodeError as err:
        raise DataError(f"{stage_folder / name}: not a text file") from err


def prune(stage_folder: Path, keep_last: int) -> None:
    """Delete all but the last `keep_last` checkpoints and the ones that markers point at."""
    kept = {read_marker(stage_folder, "latest"), read_marker(stage_folder, "best")}
    for folder in checkpoints(stage_folder)[:-keep_last]:
        if folder.name not in kept:
            remove(folder)
