"""The templates of docs/scaling/ are what the programs that read them accept."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[1] / "docs" / "scaling"


def command_of(script: str) -> str:
    """Parse the torchrun line of a script with torchrun's own parser; its script arguments."""
    from torch.distributed.run import get_args_parser

    line = re.sub(r"\\\n", " ", script)
    line = next(part for part in line.splitlines() if "torchrun" in part)
    words = shlex.split(line[line.index("torchrun") :].rstrip(" &"))[1:]
    numbers = {"--nnodes": "2", "--nproc-per-node": "8"}
    for flag, value in numbers.items():
        words[words.index(flag) + 1] = value
    options = get_args_parser().parse_args(words)
    assert options.module
    assert options.rdzv_backend == "c10d"
    return " ".join([options.training_script, *options.training_script_args])


def test_the_slurm_template_is_a_script_with_options_that_requeue() -> None:
    script = (FOLDER / "slurm.sh").read_text()
    if shutil.which("bash"):
        subprocess.run(["bash", "-n", FOLDER / "slurm.sh"], check=True)
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)(?:=(\S+))?$", script, re.M))
    assert len(options) == script.count("#SBATCH")
    assert options["requeue"] == ""
    assert options["signal"] == "B:TERM@300"
    seconds = int(re.search(r"SHUTDOWN_TIMEOUT=(\d+)", script)[1])  # type: ignore[index]
    assert seconds < 300, "everything is saved before Slurm kills"
    assert command_of(script) == "lilllm pretrain $@"


def test_the_skypilot_template_is_a_task() -> None:
    task = yaml.safe_load((FOLDER / "sky.yaml").read_text())
    assert task.keys() == {
        "name",
        "num_nodes",
        "resources",
        "workdir",
        "file_mounts",
        "setup",
        "run",
    }
    assert command_of(task["run"]) == "lilllm pretrain configs/39m.yaml"


@pytest.mark.parametrize("name", ["slurm.sh", "sky.yaml"])
def test_templates_stay_short(name: str) -> None:
    assert len((FOLDER / name).read_text().splitlines()) <= 22
