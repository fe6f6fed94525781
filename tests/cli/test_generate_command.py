"""`lilllm generate` as it is typed: text on stdout, notes on stderr, exit codes."""

from pathlib import Path

import pytest
import torch

from lilllm.inference.decoder import Decoder
from lilllm.inference.weights import Weights
from tests.cli.small_app import run, run_json
from tests.stages.tiny_run import damage, write_checkpoint, write_config

torch.set_num_threads(1)

STEP = Path("runs/tiny/pretrain/step-00000001")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(STEP)


def test_text_goes_to_stdout_and_the_checkpoint_to_stderr() -> None:
    result = run("generate", "--prompt", "The cat", "--seed", 1)
    assert result.stdout.startswith("The cat") and result.stdout.endswith("\n")
    assert f"checkpoint: {STEP}" in result.stderr
    assert run("generate", STEP, "--prompt", "The cat", "--seed", 1).stdout == result.stdout


def test_json_has_the_agreed_keys() -> None:
    fields = run_json("generate", "-p", "The cat", "-p", "", "--samples", 2)
    assert fields["command"] == "generate" and fields["checkpoint"] == str(STEP)
    assert len(fields["samples"]) == 4
    for sample in fields["samples"]:
        keys = {"prompt", "text", "prompt_tokens", "new_tokens", "finish_reason"}
        assert sample.keys() == keys and sample["new_tokens"] <= 12
    assert fields["first_token_ms"] > 0 and fields["decode_tokens_per_s"] > 0


def test_streamed_text_is_the_text_of_the_result() -> None:
    options = ("-p", "The cat", "-p", "A dog", "--seed", 4)
    texts = [s["prompt"] + s["text"] for s in run_json("generate", *options)["samples"]]
    assert run("generate", *options).stdout == "\n\n".join(texts) + "\n"
    several = run("generate", *options[:2], "--seed", 4, "--samples", 2).stdout
    assert several.startswith(texts[0] + "\n\nThe cat")


def test_defaults_come_from_the_checkpoint_and_options_go_first() -> None:
    sample = run_json("generate")["samples"][0]  # generate.prompts of its config
    assert sample["prompt"] == "The cat" and sample["new_tokens"] <= 12
    assert run_json("generate", "--max-new-tokens", 3)["samples"][0]["new_tokens"] <= 3
    greedy = [run("generate", "--temperature", 0, "--seed", seed).stdout for seed in (1, 2)]
    assert greedy[0] == greedy[1]


def test_a_prompt_file_and_a_config_are_accepted() -> None:
    Path("prompt.txt").write_text("A dog\n")
    config = write_config(Path("tiny.yaml"))
    sample = run_json("generate", config, "--prompt-file", "prompt.txt")["samples"][0]
    assert sample["prompt"] == "A dog"


def test_the_options_of_a_config_that_was_edited_after_training_count() -> None:
    options = {"max_new_tokens": 3, "temperature": 0, "prompts": ["A dog"]}
    config = write_config(Path("tiny.yaml"), generate=options)
    sample = run_json("generate", config)["samples"][0]
    assert sample["prompt"] == "A dog" and sample["new_tokens"] <= 3
    assert run_json("generate", "runs/tiny")["samples"][0]["prompt"] == "The cat"
    assert run_json("generate", config, "--max-new-tokens", 1)["samples"][0]["new_tokens"] == 1


def test_a_stop_string_ends_the_text() -> None:
    text = run_json("generate", "-p", "The cat", "--seed", 1)["samples"][0]["text"]
    stop = text[3:5]
    sample = run_json("generate", "-p", "The cat", "--seed", 1, "--stop", stop)["samples"][0]
    assert sample["text"] == text[: text.index(stop)] and sample["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--temperature", -1), 2, "generate.temperature"),
        (("--top-p", 0), 2, "generate.top_p"),
        (("--max-new-tokens", 0), 2, "generate.max_new_tokens"),
        (("--prompt", "cat " * 200), 2, "the model's context is 64"),
        (("--prompt-file", "none.txt"), 2, "none.txt"),
        (("runs/nothing",), 4, "no such checkpoint"),
        (("missing.yaml",), 2, "no such config file"),
    ],
)
def test_mistakes_have_their_exit_codes(arguments, code: int, message: str) -> None:
    assert message in run("generate", *arguments, code=code).stderr
    error = run_json("generate", *arguments, code=code)["error"]
    assert message in error["message"] and error["exit_code"] == code


def test_a_damaged_checkpoint_is_passed_over_when_searching_and_refused_by_name() -> None:
    newer = write_checkpoint(Path("runs/tiny/pretrain/step-00000002"))
    damage(newer)
    result = run("generate", "-p", "The cat")
    assert f"checkpoint: {STEP}" in result.stderr and "SHA-256" in result.stderr
    assert "SHA-256" in run("generate", newer, code=4).stderr
    weights = newer / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "100 bytes instead of" in run("generate", newer, code=4).stderr


def test_with_no_checkpoint_the_hint_is_a_command(tmp_path, monkeypatch) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert "lilllm run configs/demo.yaml" in run("generate", code=4).stderr


def test_a_file_of_prompts_gives_a_text_for_each_line() -> None:
    Path("prompts.txt").write_text("A dog\nThe cat\n")
    samples = run_json("generate", "--prompts-file", "prompts.txt", "--seed", 3)["samples"]
    assert [sample["prompt"] for sample in samples] == ["A dog", "The cat"]
    assert samples[1] == run_json("generate", "-p", "The cat", "--seed", 3)["samples"][0]


def test_all_samplers_are_options_and_few_bits_too() -> None:
    options = ("-p", "The cat", "--min-p", 0.1, "--presence-penalty", 1, "--frequency-penalty", 1)
    for bits in ("int8", "int4"):
        assert run_json("generate", *options, "--quantize", bits)["samples"][0]["new_tokens"]
    result = run("generate", "--quantize", "int3", code=2)
    assert "one of int8, int4" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("command", "typed"), [(("generate", "-p", "The"), ""), (("chat",), "Hi\n"), (("serve",), "")]
)
def test_text_is_made_in_the_precision_that_is_asked_for(
    command: tuple[str, ...], typed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[torch.dtype] = []
    build = Decoder.__init__

    def note(decoder: Decoder, weights: Weights, **given: bool) -> None:
        made.append(weights.dtype)
        build(decoder, weights, **given)

    monkeypatch.setattr(Decoder, "__init__", note)
    monkeypatch.setattr("lilllm.serving.serve", lambda service, ready: None)
    run(*command, typed=typed)
    for name in ("fp32", "bf16", "fp16"):
        run(*command, "--precision", name, typed=typed)
    assert made == [torch.float32, torch.float32, torch.bfloat16, torch.float16]
    wrong = run(*command, "--precision", "int8", code=2, typed=typed)
    assert "one of fp32, bf16, fp16" in wrong.stderr


def test_a_checkpoint_in_few_bits_is_exported_with_its_loss() -> None:
    fields = run_json("export", "--quantize", "int8")
    assert fields["bytes"] < fields["bytes_before"] and fields["bpb"] > 0
    assert abs(fields["loss_percent"]) < 1 and fields["text"] == "builtin:stories"
    assert run("generate", fields["path"], "-p", "The cat").stdout.startswith("The cat")


def test_bench_generate_has_the_agreed_keys() -> None:
    options = ("--streams", 2, "--prompt-tokens", 3, "--new-tokens", 4, "--rounds", 1)
    fields = run_json("bench", "generate", STEP, *options, "--quantize", "int4")
    assert fields["decode_tokens_per_s"] == fields["tokens_per_s"] > 0
    assert fields["first_token_ms"] > 0 and fields["streams"] == 2
    small = (
        "model.d_model=32",
        "model.n_heads=2",
        "model.n_kv_heads=1",
        "tokenizer.vocab_size=300",
    )
    assert run_json("bench", "generate", *small, *options)["tokens_per_s"] > 0


def test_bench_generate_knows_every_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.training.hardware._measure_peak", lambda device, dtype: 1.0)
    options = ("--prompt-tokens", 3, "--new-tokens", 2, "--rounds", 1)
    for name in ("fp32", "bf16", "fp16"):
        fields = run_json("bench", "generate", STEP, *options, f"precision={name}")
        assert fields["tokens_per_s"] > 0 and fields["precision"] == name
