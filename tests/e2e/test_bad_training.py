"""Settings that cannot train: a clear error and the designed exit code each, from the command."""

from pathlib import Path

import torch

from lilllm.files import lock_folder
from tests.e2e.conftest import Lilllm, refused, result

QUICK = "pretrain.max_steps=2"


def test_settings_that_cannot_train_are_refused_with_their_exit_codes(lilllm: Lilllm) -> None:
    result(lilllm("data", "prep", "tiny.yaml", "--json"))

    def no(code: int, *said: str) -> None:
        *overrides, text = said
        refused(lilllm("pretrain", "tiny.yaml", QUICK, *overrides), code, text)

    no(2, "pretrain.batch_tokens=500", "not a multiple of model.max_seq_len=64")
    no(2, "pretrain.micro_batch_size=3", "does not divide the 8 sequences")
    no(2, "pretrain.lr=0", "pretrain.lr")
    no(2, "pretrain.lr=1e6", "pretrain.lr")
    no(2, "device=tpu", "device")
    no(2, "model.vocab_size=300", "smaller than the tokenizer's 600 tokens")
    long = f"pretrain.sample_prompts=[{'word ' * 99}]"
    no(2, long, "pretrain.sample_every=2", "and the context holds 64")
    sizes = "pretrain.batch_tokens=2097152", "pretrain.micro_batch_size=8"
    no(3, *sizes, "samples are all there is to train on, fewer than the 32768 of one step")
    if not torch.cuda.is_available():
        no(5, "device=cuda", "no such device")

    other = "name=other", "tokenizer.vocab_size=500"
    result(lilllm("tokenizer", "train", "tiny.yaml", *other, "--json"))
    no(3, *other, "data.path=runs/tiny/data", "made with another tokenizer")


def test_a_warmup_that_takes_all_steps_is_told(lilllm: Lilllm) -> None:
    done = lilllm("pretrain", "tiny.yaml", QUICK, "--json")
    assert result(done)["step"] == 2
    assert "pretrain.warmup_steps=4, and there are only 2 steps" in done.stderr


def test_data_that_a_training_reads_are_not_made_again_beside_it(
    lilllm: Lilllm, tmp_path: Path
) -> None:
    result(lilllm("pretrain", "tiny.yaml", QUICK, "--json"))
    manifest = tmp_path / "runs/tiny/data/manifest.json"
    before = manifest.stat().st_mtime_ns
    with lock_folder(tmp_path / "runs/tiny/pretrain"):
        other = lilllm("data", "prep", "tiny.yaml", "data.val_fraction=0.1")
        refused(other, 5, "another process is working on it")
    assert manifest.stat().st_mtime_ns == before
    result(lilllm("data", "prep", "tiny.yaml", "data.val_fraction=0.1", "--json"))
    assert manifest.stat().st_mtime_ns != before


def test_a_fresh_start_that_cannot_begin_leaves_what_was_there(
    lilllm: Lilllm, tmp_path: Path
) -> None:
    command = "pretrain", "tiny.yaml", QUICK
    done = Path(tmp_path, result(lilllm(*command, "--json"))["checkpoint"])
    made = done.stat().st_mtime_ns
    large = "pretrain.batch_tokens=2097152"
    refused(lilllm(*command, "--fresh", large), 3, "fewer than the 32768 of one step")
    Path(tmp_path, "wandb.py").write_text("raise ImportError")
    refused(lilllm(*command, "--fresh", "track=[wandb]"), 2, "track=wandb")
    assert done.stat().st_mtime_ns == made and not Path(tmp_path, "runs/tiny/old").exists()
    result(lilllm(*command, "--fresh", "--json"))
    assert done.stat().st_mtime_ns != made
    assert len(list(tmp_path.glob("runs/tiny/old/*"))) == 1
