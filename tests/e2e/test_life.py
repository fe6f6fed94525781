"""A whole little life through the real command: run, rerun, resume, change, damage."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import TINY, Lilllm, refused, result

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `lilllm run tiny.yaml` has been through once."""
    folder = tmp_path_factory.mktemp("raised")
    (folder / "tiny.yaml").write_text(TINY)
    done = subprocess.run(
        [sys.executable, "-m", "lilllm", "run", "tiny.yaml", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    (folder / "first.json").write_text(done.stdout)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def home(raised: Path, tmp_path: Path) -> Path:
    """A copy of it to play with."""
    shutil.copytree(raised, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_run_makes_every_stage_and_says_where_they_are(raised: Path) -> None:
    stages = json.loads((raised / "first.json").read_text())["stages"]
    assert list(stages) == ["tokenizer", "data", "pretrain", "finetune.chat", "eval"]
    assert stages["tokenizer"].keys() >= {"path", "vocab_size", "bytes_per_token", "seconds"}
    assert stages["data"].keys() >= {
        *("path", "tokens", "documents", "bytes", "shards", "seconds", "mb_per_s", "skipped_rows")
    }
    assert stages["pretrain"].keys() >= {
        *("checkpoint", "step", "tokens", "train_loss", "val_loss", "val_bpb", "tokens_per_s"),
        *("mfu", "peak_memory_bytes"),
    }
    assert stages["pretrain"]["step"] == 40
    assert stages["finetune.chat"]["method"] == "sft"
    assert 0 < stages["eval"]["tasks"]["bpb"]["bpb"] < 8
    for name in ("pretrain/loss.png", "loss.png"):
        found = raised / "runs/tiny" / name
        assert found.is_file() or name.startswith("pretrain/")
    assert (raised / "runs/tiny/loss.png").read_bytes()[:4] == b"\x89PNG"


def test_a_rerun_skips_everything_and_changes_nothing(home: Path, lilllm: Lilllm) -> None:
    shards = sorted((home / "runs/tiny/data").glob("*.bin"))
    before = [path.stat().st_mtime_ns for path in shards]
    done = lilllm("run", "tiny.yaml", "--json")
    first = json.loads((home / "first.json").read_text())
    assert result(done)["stages"] == first["stages"]
    assert done.stderr.count("up to date") == 5
    assert [path.stat().st_mtime_ns for path in shards] == before


def test_the_checkpoints_load_in_transformers_and_talk(home: Path, lilllm: Lilllm) -> None:
    transformers = pytest.importorskip("transformers")
    folder = next((home / "runs/tiny/finetune/chat").glob("step-00000012"))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("Once upon a time", return_tensors="pt").input_ids
    theirs = model.generate(ids, max_new_tokens=20, do_sample=False)[0, ids.shape[1] :].tolist()
    done = lilllm(
        *("generate", str(folder), "--prompt", "Once upon a time", "--temperature", "0"),
        *("--no-chat", "--max-new-tokens", "20", "--json"),
    )
    (sample,) = result(done)["samples"]
    assert sample["text"] == tokenizer.decode(theirs, skip_special_tokens=True)
    assert sample["prompt_tokens"] == ids.shape[1]


def test_another_setting_is_refused_by_key_and_fresh_starts_again(
    home: Path, lilllm: Lilllm
) -> None:
    refused(
        lilllm("pretrain", "tiny.yaml", "pretrain.lr=1e-3"),
        *(2, "pretrain.lr: 0.003 -> 0.001", "--fresh"),
    )
    free = result(lilllm("pretrain", "tiny.yaml", "pretrain.save_every=3", "--json"))
    assert free["step"] == 40
    fresh = lilllm("pretrain", "tiny.yaml", "pretrain.lr=1e-3", "--fresh", "--json")
    assert result(fresh)["step"] == 40
    asides = list((home / "runs/tiny/old").glob("pretrain-*"))
    assert len(asides) == 1
    assert (asides[0] / "step-00000040").is_dir()


def test_no_build_names_the_command_that_is_missing(lilllm: Lilllm) -> None:
    refused(lilllm("pretrain", "tiny.yaml", "--no-build"), 2, "lilllm tokenizer train")


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    home: Path, lilllm: Lilllm
) -> None:
    stage = home / "runs/tiny/pretrain"
    weights = stage / "step-00000040" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    refused(lilllm("eval", str(weights.parent)), 4, "SHA-256")
    shutil.rmtree(home / "runs/tiny/finetune")
    done = lilllm("generate", "--prompt", "Once", "--max-new-tokens", "5")
    assert done.returncode == 0, done.stderr
    assert "step-00000036" in done.stderr
    original = json.loads((home / "first.json").read_text())["stages"]["pretrain"]
    again = lilllm("pretrain", "tiny.yaml", "--json")
    assert result(again)["val_bpb"] == original["val_bpb"], "the lost steps are done again"
    assert "continuing from" in again.stderr


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_shards_are_refused(home: Path, lilllm: Lilllm, damage: str) -> None:
    shard = home / "runs/tiny/data/train-00000.bin"
    content = bytearray(shard.read_bytes())
    if damage == "cut":
        del content[-2:]
    else:
        content[100] ^= 255
    shard.write_bytes(content)
    refused(lilllm("data", "verify", "tiny.yaml"), 3, "train-00000.bin")
    if damage == "cut":
        other = ("pretrain", "tiny.yaml", "name=other", "data.path=runs/tiny/data")
        refused(lilllm(*other, "tokenizer.path=runs/tiny/tokenizer"), 3, "train-00000.bin")


def test_shards_of_another_tokenizer_are_refused(home: Path, lilllm: Lilllm) -> None:
    refused(
        lilllm(
            *("pretrain", "tiny.yaml", "name=other", "data.path=runs/tiny/data"),
            "tokenizer.vocab_size=500",
        ),
        *(3, "another tokenizer"),
    )


def test_a_full_disk_during_a_save_keeps_the_last_checkpoint(home: Path) -> None:
    pytest.importorskip("resource")
    shutil.rmtree(home / "runs/tiny/pretrain")
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from lilllm.training import state\n"
        "save = state.save_checkpoint\n"
        "def limited(stage, counters, *rest):\n"
        "    if counters.step == 12:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "    return save(stage, counters, *rest)\n"
        "from lilllm.training import loop\n"
        "loop.save_checkpoint = limited\n"
        "from lilllm.cli.app import main\n"
        "sys.argv = ['lilllm', 'pretrain', 'tiny.yaml']\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    refused(done, 5, "step-00000012", "cannot be written", "free some space")
    names = sorted(path.name for path in (home / "runs/tiny/pretrain").glob("step-*"))
    assert names == ["step-00000004", "step-00000008"]


def test_a_run_folder_on_a_read_only_disk_is_named(home: Path, lilllm: Lilllm) -> None:
    mount = shutil.which("mount")
    frozen = home / "frozen"
    frozen.mkdir()
    options = ["-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", str(frozen)]
    if mount is None or os.name == "nt" or os.geteuid() != 0:
        pytest.skip("mounting a read-only disk needs root")
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow mounting")
    try:
        refused(lilllm("run", "../tiny.yaml", cwd=frozen), 5, "runs", "Read-only")
    finally:
        subprocess.run(["umount", str(frozen)], check=True)


def test_a_prompt_longer_than_the_context_is_refused(home: Path, lilllm: Lilllm) -> None:
    refused(lilllm("generate", "--prompt", "word " * 200), 2, "context")


def test_sigterm_saves_exits_130_and_the_same_command_continues(home: Path, lilllm: Lilllm) -> None:
    stage = home / "runs/tiny/pretrain"
    shutil.rmtree(stage)
    command = [sys.executable, "-m", "lilllm", "pretrain", "tiny.yaml"]
    process = subprocess.Popen(command, cwd=home, stderr=subprocess.PIPE, text=True)
    while not list(stage.glob("step-*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert process.returncode == 130, said
    assert "stopped by SIGTERM" in said
    original = json.loads((home / "first.json").read_text())["stages"]["pretrain"]
    assert result(lilllm("pretrain", "tiny.yaml", "--json"))["val_bpb"] == original["val_bpb"]


@pytest.mark.skipif(sys.platform == "win32", reason="terminals and broken pipes of Unix")
@pytest.mark.parametrize("end", ["pipe", "terminal"])
def test_a_training_outlives_whoever_reads_its_progress(home: Path, end: str) -> None:
    shutil.rmtree(home / "runs/tiny/pretrain")
    if end == "pipe":
        reads, writes = os.pipe()
    else:
        import pty

        reads, writes = pty.openpty()
    command = [sys.executable, "-m", "lilllm", "pretrain", "tiny.yaml"]
    stdout = subprocess.DEVNULL if end == "pipe" else writes
    with subprocess.Popen(command, cwd=home, stdout=stdout, stderr=writes) as process:
        os.close(writes)
        os.read(reads, 1)
        os.close(reads)  # it writes on
    assert process.returncode == 0
    assert (home / "runs/tiny/pretrain/latest").read_text().strip() == "step-00000040"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
def test_a_closed_terminal_stops_a_training_as_sigterm_does(home: Path) -> None:
    stage = home / "runs/tiny/pretrain"
    shutil.rmtree(stage)
    command = [sys.executable, "-m", "lilllm", "pretrain", "tiny.yaml", "pretrain.max_steps=9999"]
    reads, writes = os.pipe()
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # it may be ignored, as under nohup
    try:
        process = subprocess.Popen(command, cwd=home, stderr=writes)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        os.close(writes)
        while not list(stage.glob("step-*")) and process.poll() is None:
            time.sleep(0.01)
        os.close(reads)
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 130
    assert int((stage / "latest").read_text().strip().removeprefix("step-")) >= 4


def test_without_a_hub_the_39m_config_says_what_to_do(lilllm: Lilllm) -> None:
    config = Path(__file__).parents[2] / "configs/39m.yaml"
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        done = lilllm("pretrain", str(config))
    finally:
        del os.environ["HF_HUB_OFFLINE"]
    refused(done, 3, "hf:Skylion007/openwebtext", "data.sources=[builtin:stories]")


def test_runs_are_listed_and_removed(home: Path, lilllm: Lilllm) -> None:
    (run,) = result(lilllm("runs", "list", "--json"))["runs"]
    assert run["name"] == "tiny"
    assert [stage["name"] for stage in run["stages"]] == ["pretrain", "finetune/chat"]
    refused(lilllm("runs", "remove", "tiny"), 2, "--yes")
    refused(lilllm("runs", "remove", "../x", "--yes"), 2, "no such run", "tiny")
    assert lilllm("runs", "remove", "tiny", "--yes").returncode == 0
    assert not (home / "runs/tiny").exists()


def test_failures_in_json_are_one_object(lilllm: Lilllm) -> None:
    done = lilllm("pretrain", "tiny.yaml", "model.n_heads=3", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == 2
    assert "model.n_heads=3" in error["message"]


def test_the_python_example_of_the_readme_runs(home: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_every_command_and_config_that_the_readme_names_exists(lilllm: Lilllm) -> None:
    readme = (ROOT / "README.md").read_text()
    for command in sorted(set(re.findall(r"`lilllm ([a-z]+(?: [a-z]+)?)", readme))):
        assert lilllm(*command.split(), "--help").returncode == 0, command
    for path in re.findall(r"configs/[\w-]+\.yaml", readme):
        assert (ROOT / path).is_file(), path
