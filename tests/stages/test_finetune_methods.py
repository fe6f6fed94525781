"""Finetuning steps of every method, on a tiny base, from rows to checkpoints."""

import json
import math
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from lilllm.config import Config
from lilllm.config.schema import GenerateConfig
from lilllm.data.preferences import Preference
from lilllm.errors import CheckpointError, ConfigError, DataError, Interrupted, RunError
from lilllm.events import Caution, Event, Note, Progress, StepDone, silent
from lilllm.model.checkpoint import load_labels, load_model
from lilllm.stages import evaluate, finetune, generate, quantize
from lilllm.stages.chat import Chat
from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint
from lilllm.stages.finetune import StepResult, run_step
from lilllm.stages.step_keys import stage_keys
from lilllm.stages.training_stage import changed_keys, refuse_changes
from lilllm.training.metrics import read_metrics
from tests.stages.tiny_run import CONFIG, write_checkpoint

QUICK = {
    **{"batch_tokens": 128, "micro_batch_size": 2, "lr": 1e-2, "warmup_steps": 0},
    **{"log_every": 1, "eval_every": 0, "save_every": 100, "compile": False},
}
ANSWERS = [{"prompt": f"The cat {n}", "completion": f"sat {n}"} for n in range(40)]
LABELLED = [
    {"text": f"The {animal} sat {n}", "label": label}
    for n in range(30)
    for animal, label in (("cat", "good"), ("dog", "bad"))
]
PAIRS = [
    {"prompt": f"Is it {n}?", "chosen": f"Yes, {n}.", "rejected": f"No, {n}."} for n in range(40)
]


pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    write_checkpoint(Path("runs/tiny/pretrain/step-00000001"))


def step_config(rows: list[Any], **options: Any) -> Config:
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    step = {**QUICK, "sources": ["rows.jsonl"], "val_fraction": 0.2, **options}
    return Config.model_validate({**CONFIG, "finetune": {"step": step}})


def run(rows: list[Any], fresh: bool = False, **options: Any) -> StepResult:
    return run_step(step_config(rows, **options), "step", silent, fresh)


METHODS = {"sft": ANSWERS, "classify": LABELLED, "dpo": PAIRS}


@pytest.mark.parametrize("lora", [None, {"rank": 4}], ids=["full", "lora"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_its_rows_and_leaves_a_whole_model(
    method: str, lora: dict[str, Any] | None
) -> None:
    done = run(METHODS[method], method=method, lora=lora, epochs=12)
    assert set(METHODS) <= set(finetune.METHODS)
    model = load_model(done.checkpoint)
    assert (model.score is not None) == (method == "classify")
    assert done.train_loss is not None and done.train_loss < {"sft": 4, "classify": 0.4}.get(
        method, 0.55
    )
    assert done.measures["val_loss"] > 0
    if method == "dpo":
        assert done.measures["val_reward_accuracy"] == 1
        assert done.measures["val_reward_margin"] > 0.2
    if method == "classify":
        assert load_labels(done.checkpoint) == ("bad", "good")
        assert done.measures["val_accuracy"] > 0.9
        assert (done.checkpoint.parent / "confusion.png").is_file()
    if lora:
        assert done.trained_parameters < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("lora", [None, {"rank": 4, "dropout": 0.1}], ids=["full", "lora"])
@pytest.mark.parametrize("method", METHODS)
def test_interrupted_and_resumed_equals_uninterrupted(
    method: str, lora: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lilllm.training import loop

    options = {"method": method, "lora": lora, "max_steps": 6, "save_every": 3}
    whole = run(METHODS[method], **options)
    expected = load_model(whole.checkpoint).state_dict()
    step, seen = loop._step, []

    def breaking(*given: Any) -> Any:
        seen.append(1)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return step(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_step", breaking)
        with pytest.raises(KeyboardInterrupt):
            run(METHODS[method], fresh=True, **options)
    done = run(METHODS[method], **options)
    for name, value in load_model(done.checkpoint).state_dict().items():
        assert torch.equal(value, expected[name]), name


@pytest.mark.parametrize(
    ("rows", "options", "error", "said"),
    [
        ([], {}, DataError, "empty"),
        ([LABELLED[0]] * 3, {"method": "classify"}, DataError, "every row has the label 'good'"),
        (
            [*LABELLED, {"text": "x", "label": "odd"}],
            {"method": "classify", "val_fraction": 0.9},
            DataError,
            r"rows.jsonl:61: the label 'odd' is held out but in no row",
        ),
        ([{"text": "a"}], {"method": "classify"}, DataError, r":1: no field 'label'"),
        ([{"a": "b"}], {}, DataError, r"rows.jsonl:1: not a row for finetuning"),
        (
            [{"prompt": "q", "chosen": "a", "rejected": "a"}],
            {"method": "dpo"},
            DataError,
            "rows.jsonl:1: chosen and rejected are equal",
        ),
        ([{"prompt": "q", "chosen": "a"}], {"method": "dpo"}, DataError, r":1: not a preference"),
        (PAIRS[:1], {"method": "dpo"}, DataError, "1 sample is all there is .*batch_rows=2"),
        (ANSWERS[:1], {"val_fraction": 0}, DataError, "1 sample is all there is"),
        (ANSWERS, {"lora": {"targets": ["c_attn"]}}, ConfigError, r"lora.targets: c_attn: not"),
        (ANSWERS, {"too_long": "refuse", "prompt": "far " * 99 + "{prompt}"}, DataError, ":1:"),
    ],
)
def test_bad_input_is_named(
    rows: list[Any], options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        run(rows, **options)


def test_more_text_makes_no_chat_model_of_a_base_model() -> None:
    texts = [{"text": row["prompt"] + " " + row["completion"]} for row in ANSWERS]

    def is_chat(rows: list[Any], **options: Any) -> bool:
        done = run(rows, fresh=True, max_steps=1, **options)
        return load_checkpoint(done.checkpoint).chat_trained

    assert not is_chat(texts)
    assert not is_chat(ANSWERS, format="plain")
    assert is_chat([*texts, *ANSWERS]) and is_chat(PAIRS, method="dpo", batch_rows=2)
    shutil.copytree("runs/tiny/finetune/step/step-00000001", "chat")
    assert is_chat(texts, base="chat"), "one that answers does not forget it"


def test_a_warmup_that_takes_all_steps_is_told() -> None:
    told: list[Event] = []
    config = step_config(ANSWERS, warmup_steps=100, max_steps=3)
    run_step(config, "step", told.append)
    cautions = [event.text for event in told if isinstance(event, Caution)]
    assert any("warmup_steps=100" in text and "3 steps" in text for text in cautions)


def test_one_pair_is_told_as_one_and_none_held_out_as_nothing() -> None:
    told: list[Any] = []
    one = {"batch_rows": 1, "max_steps": 1, "val_fraction": 0}
    run_step(step_config(PAIRS[:1], method="dpo", **one), "step", told.append)
    assert [event.done for event in told if isinstance(event, Progress)] == [1]
    (note,) = [event.text for event in told if isinstance(event, Note) and "trained" in event.text]
    assert re.search(r": 1 row in 1 sample of \d+ tokens, 1 step, ", note), note


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_few_rows_train_with_the_batch_that_their_error_suggests(method: str) -> None:
    options = {"method": method, "batch_tokens": 64 * 64, "batch_rows": None, "micro_batch_size": 8}
    if method == "dpo":
        options["batch_rows"] = 64
    with pytest.raises(DataError, match="all there is") as caught:
        run(METHODS[method], **options)
    key, value = caught.value.hint.rpartition("finetune.step.")[2].split("=")
    done = run(METHODS[method], **options | {key: int(value)})
    assert done.step >= 8, "an epoch of several updates"


def test_a_classifier_is_no_base_for_writing_text() -> None:
    done = run(LABELLED, method="classify", max_steps=1)
    shutil.copytree(done.checkpoint, "classifier")
    with pytest.raises(CheckpointError, match="a classifier"):
        run(ANSWERS, fresh=True, base="classifier", max_steps=1)
    with pytest.raises(CheckpointError, match="a classifier"):
        Chat(load_checkpoint(Path("classifier")), GenerateConfig(), silent)
    with pytest.raises(ConfigError, match="a classifier"):
        quantize.run(Path("classifier"), 8, silent)


def test_a_classifier_loads_in_transformers_and_says_the_same() -> None:
    from transformers import AutoModelForSequenceClassification

    done = run(LABELLED, method="classify", max_steps=3)
    ours = load_model(done.checkpoint)
    theirs = AutoModelForSequenceClassification.from_pretrained(done.checkpoint)
    assert theirs.config.id2label == {0: "bad", 1: "good"}
    ids = torch.tensor([[0, 40, 50, 60], [0, 70, 3, 3]])
    attention = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.no_grad():
        expected = theirs(ids, attention_mask=attention).logits
        torch.testing.assert_close(ours.classify(ids, torch.tensor([3, 1])), expected)


@pytest.mark.parametrize("method", ["sft", "classify"])
def test_peft_loads_the_adapter_and_computes_what_the_merged_model_does(method: str) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    done = run(METHODS[method], method=method, lora={"rank": 4, "alpha": 6}, max_steps=4)
    base = Path("runs/tiny/pretrain/step-00000001")
    merged = load_model(done.checkpoint)
    ids = torch.tensor([[0, 40, 50, 60]])
    if method == "classify":
        plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
        expected = merged.classify(ids, torch.tensor([3]))
    else:
        plain = AutoModelForCausalLM.from_pretrained(base)
        expected = merged(ids)
    theirs = PeftModel.from_pretrained(plain, done.checkpoint / "adapter")
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, expected, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(load_model(base)(ids)[..., :2], expected[..., :2], atol=1e-4)


def test_the_reference_of_pairs_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from lilllm.stages.methods import dpo

    run(PAIRS, method="dpo", max_steps=2)
    (stored,) = Path("runs/tiny/finetune/step").glob("reference-*")
    monkeypatch.setattr(dpo, "_score", lambda *given: pytest.fail("computed again"))
    run(PAIRS, method="dpo", max_steps=2)
    assert stored.is_dir()


def test_another_precision_has_its_own_reference() -> None:
    def stop_after_the_reference(event: Event) -> None:
        if isinstance(event, StepDone):
            raise KeyboardInterrupt

    config = step_config(PAIRS, method="dpo", max_steps=2)
    for precision in ("bf16", "fp32"):
        with pytest.raises(KeyboardInterrupt):
            wanted = config.model_copy(update={"precision": precision})
            run_step(wanted, "step", stop_after_the_reference)
    *_, first = read_metrics(Path("runs/tiny/finetune/step/metrics.jsonl"))
    assert first["step"] == 1 and first["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_pairs_that_are_refused_cost_no_stored_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    from lilllm.stages.methods import dpo

    run(PAIRS, method="dpo", max_steps=2)
    (stored,) = Path("runs/tiny/finetune/step").glob("reference-*")
    monkeypatch.setattr(dpo, "_score", lambda *given: pytest.fail("computed for nothing"))
    with pytest.raises(ConfigError, match="rows_hash"):
        run(PAIRS[:-1], method="dpo", max_steps=2)
    assert list(stored.parent.glob("reference-*")) == [stored]


def with_tasks(rows: list[Any], named: dict[str, Any], **options: Any) -> Config:
    names = options.pop("tasks", ())
    config = step_config(rows, **options).model_dump()
    config["finetune"]["step"]["tasks"] = names
    return Config.model_validate({**config, "eval": {"tasks": named}})


def test_measures_of_tasks_stand_in_the_result_and_in_eval() -> None:
    task = {"kind": "classification", "sources": ["rows.jsonl"], "max_rows": 20}
    config = with_tasks(
        LABELLED, {"test": task}, method="classify", tasks=["test"], max_steps=40, batch_rows=8
    )
    done = run_step(config, "step", silent)
    assert done.measures["test"]["accuracy"] > 0.9
    assert done.measures["test"]["samples"][0]["right"] == "good"
    scored = evaluate.run_checkpoint(done.checkpoint, silent, config=config)
    assert scored.tasks["test"] == done.measures["test"]
    assert find_checkpoint(None, silent) == done.checkpoint
    assert find_checkpoint(None, silent, text=True) == Path("runs/tiny/pretrain/step-00000001")
    with pytest.raises(CheckpointError, match="a classifier"):
        generate.run(load_checkpoint(done.checkpoint), ["x"], GenerateConfig(), silent)


def test_the_tasks_of_a_step_with_lora_are_scored_on_its_updates() -> None:
    task = {"kind": "translation", "sources": ["rows.jsonl"], "max_rows": 6, "max_new_tokens": 6}
    lora = {"rank": 8, "alpha": 64}
    config = with_tasks(ANSWERS, {"test": task}, tasks=["test"], lora=lora, max_steps=20)
    done = run_step(config, "step", silent)
    scored = evaluate.run_checkpoint(done.checkpoint, silent, config=config)
    assert scored.tasks["test"] == done.measures["test"]


@pytest.mark.parametrize(("method", "at"), [("sft", 0), ("sft", 4), ("classify", 4)])
def test_a_signal_while_a_step_is_measured_says_so_and_the_next_call_finishes(
    method: str, at: int
) -> None:
    kind = {"sft": "translation", "classify": "classification"}[method]
    task = {"kind": kind, "sources": ["rows.jsonl"], "max_rows": 4, "max_new_tokens": 5}
    config = with_tasks(
        METHODS[method], {"test": task}, tasks=["test"], method=method, max_steps=2, val_fraction=0
    )
    seen = []

    def stop(event: Event) -> None:
        if isinstance(event, Progress) and event.stage == "test":
            seen.append(event.done)
            if event.done == at:
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped by SIGTERM while scoring"):
        run_step(config, "step", stop)
    assert seen[-1] == at
    done = run_step(config, "step", silent)
    assert done.step == 2 and "test" in done.measures


@pytest.mark.parametrize("kind", ["classification", "translation", "summarization"])
@pytest.mark.parametrize("format", ["chat", "plain"])
def test_every_kind_of_task_is_asked_of_a_language_model(kind: str, format: str) -> None:
    rows = LABELLED if kind == "classification" else ANSWERS
    task = {"kind": kind, "sources": ["rows.jsonl"], "max_rows": 4, "format": format}
    task |= {"max_new_tokens": 5, "shots": 1, "shot_sources": ["rows.jsonl"]}
    config = with_tasks(rows, {"test": task})
    base = Path("runs/tiny/pretrain/step-00000001")
    measures = evaluate.run_checkpoint(base, silent, config=config).tasks["test"]
    names = {"classification": "accuracy", "translation": "bleu", "summarization": "rougeL"}
    assert 0 <= measures[names[kind]] <= 100
    if kind == "summarization":
        assert measures["lead_1"]["rougeL"] >= 0
    if kind == "classification":
        ranked = with_tasks(rows, {"test": task | {"answer": "rank"}})
        found = evaluate.run_checkpoint(base, silent, config=ranked).tasks["test"]
        assert len(found["confusion"][0]) == 2, "always a label"


def test_another_micro_batch_changes_how_a_step_is_computed_but_not_which_rows_it_has() -> None:
    options = {"method": "dpo", "max_steps": 4, "save_every": 2}
    done = run(PAIRS, micro_batch_size=4, **options)
    expected = load_model(done.checkpoint).state_dict()
    shutil.rmtree(done.checkpoint)
    again = run(PAIRS, micro_batch_size=2, **options)
    counters = json.loads((again.checkpoint / "state/counters.json").read_text())
    assert counters["samples"] == 16
    for name, value in load_model(again.checkpoint).state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-2, atol=1e-3)


def test_of_a_conversation_only_the_judged_answer_is_learnt() -> None:
    from lilllm.stages.encode_rows import RowEncoder
    from lilllm.stages.methods.dpo import encode_side
    from tests.stages.tiny_run import tiny_tokenizer

    turns = [("user", "Hi"), ("assistant", "Hello there"), ("user", "Who?")]
    prompt = [{"role": role, "content": content} for role, content in turns]
    answer = [{"role": "assistant", "content": "Me."}]
    encoder = RowEncoder(tiny_tokenizer())
    ids, mask = encode_side(encoder, Preference(prompt, answer, []), prompt + answer)
    learnt = [token for token, marked in zip(ids, mask, strict=True) if marked]
    assert encoder.tokenizer.decode(learnt).startswith("Me.")
    assert sum(encoder.encode(prompt + answer)[1]) > len(learnt)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_rows_that_a_plain_format_cannot_say_are_counted(method: str) -> None:
    rows = [dict(row) for row in METHODS[method]]
    system = {"role": "system", "content": "Be kind."}
    rows[3]["prompt"] = [system, {"role": "user", "content": "Hm?"}]
    if method == "sft":
        rows[3] = {"messages": [*rows[3]["prompt"], {"role": "assistant", "content": "Yes."}]}
    told: list[Any] = []
    config = step_config(rows, method=method, format="plain", on_bad_row="skip", max_steps=1)
    run_step(config, "step", told.append)
    assert any("rows.jsonl:4" in getattr(event, "text", "") for event in told)
    config = step_config(rows, method=method, format="plain", max_steps=1)
    with pytest.raises(DataError, match=r"rows.jsonl:4: format=plain"):
        run_step(config, "step", silent, fresh=True)


def test_a_label_that_cannot_be_written_is_a_bad_row() -> None:
    rows = [*LABELLED, {"text": "x", "label": "\ud800"}]
    with pytest.raises(DataError, match=r"rows.jsonl:61: .*'label' is not valid Unicode"):
        run(rows, method="classify", max_steps=1)


def test_a_step_is_scored_again_when_its_task_changes() -> None:
    from lilllm.stages.pipeline import _finetune_stage

    task = {"kind": "classification", "sources": ["rows.jsonl"], "max_rows": 20}
    options = {"method": "classify", "tasks": ["test"]}
    first = _finetune_stage(with_tasks(LABELLED, {"test": task}, **options), "step")
    more = task | {"max_rows": 10}
    second = _finetune_stage(with_tasks(LABELLED, {"test": more}, **options), "step")
    assert first.inputs() != second.inputs()
    refuse_changes(first.folder, with_tasks(LABELLED, {"test": more}, **options), first.keys)


@pytest.mark.parametrize(
    ("bases", "wanted"),
    [
        (("auto", "auto"), "tokenizer data pretrain finetune.a finetune.b eval"),
        (("models/x", "models/x"), "tokenizer data finetune.a finetune.b eval"),
        (("auto", "runs/tiny/pretrain"), "tokenizer data pretrain finetune.a finetune.b eval"),
        (("models/x", "runs/tiny/finetune/a"), "tokenizer data finetune.a finetune.b eval"),
    ],
)
def test_a_whole_run_has_every_step_and_what_it_builds_on(bases: Any, wanted: str) -> None:
    from lilllm.stages.pipeline import _needed, stages_of

    steps = {name: {"base": base} for name, base in zip("ab", bases, strict=True)}
    stages = stages_of(Config.model_validate({**CONFIG, "finetune": steps}))
    config = Config.model_validate({**CONFIG, "finetune": steps})
    assert [stage.name for stage in _needed(stages, config)] == wanted.split()
    # runs/tiny/pretrain is there, but a stage may be unfinished or out of date: it is looked at
    alone = [stage.name for stage in _needed(stages[:-1], config)]
    assert ("finetune.a" in alone) == (bases[1] in ("auto", "runs/tiny/finetune/a"))
    assert ("pretrain" in alone) == ("runs/tiny/pretrain" in bases or bases == ("auto", "auto"))


def test_a_fresh_start_that_cannot_begin_leaves_what_was_there() -> None:
    done = run(ANSWERS, max_steps=1)
    with pytest.raises(DataError, match="preference"):
        run(ANSWERS, method="dpo", fresh=True)
    assert find_checkpoint(Path("runs/tiny"), silent) == done.checkpoint
    run(ANSWERS, max_steps=2, fresh=True)
    assert len(list(Path("runs/tiny/old").glob("step-*"))) == 1


def test_a_fresh_start_that_is_stopped_before_its_first_step_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = run(ANSWERS, max_steps=1)
    monkeypatch.setattr("lilllm.stages.methods.sft.prepare_rows", stop)
    with pytest.raises(KeyboardInterrupt):
        run(ANSWERS, fresh=True)
    assert find_checkpoint(Path("runs/tiny"), silent) == done.checkpoint


def stop(*args: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("fresh", [False, True])
def test_a_second_start_beside_a_running_one_changes_nothing(fresh: bool) -> None:
    tried = []

    def try_again(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 3:
            with pytest.raises(RunError, match="another process is working on it"):
                run(ANSWERS, fresh, max_steps=4, lr=1e-3)
            tried.append(event.step)

    options = {"max_steps": 4, "save_every": 2, "keep_last": 9}
    run_step(step_config(ANSWERS, **options), "step", try_again)
    assert tried == [3]
    folder = Path("runs/tiny/finetune/step")
    assert sorted(path.name for path in folder.glob("step-*")) == ["step-00000002", "step-00000004"]
    assert not Path("runs/tiny/old").exists()
    assert run(ANSWERS, **options).step == 4  # the same settings as before


def test_rows_that_come_while_a_step_trains_are_not_taken_for_trained_on() -> None:
    from lilllm.stages.pipeline import build

    config = step_config(ANSWERS, max_steps=2, base="runs/tiny/pretrain/step-00000001")
    more = [*ANSWERS, {"prompt": "The dog", "completion": "sat"}]

    def add_rows(event: Event) -> None:
        if isinstance(event, StepDone):
            Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in more))

    build(config, add_rows, "finetune.step")
    with pytest.raises(ConfigError, match="rows_hash"):  # and not: up to date
        build(config, silent, "finetune.step")


def test_another_context_than_the_rows_were_cut_for_is_not_up_to_date() -> None:
    from lilllm.stages.pipeline import build

    shutil.copytree("runs/tiny/pretrain/step-00000001", "theirs")
    long = [{"prompt": "Why?", "chosen": "yes " * 9 + n, "rejected": "no"} for n in "ab"]
    config = step_config(PAIRS + long, method="dpo", base="theirs", max_steps=1, batch_rows=2)

    def within(length: int) -> Config:
        model = config.model.model_copy(update={"max_seq_len": length})
        pretrain = config.pretrain.model_copy(update={"batch_tokens": 8 * length})
        return config.model_copy(update={"model": model, "pretrain": pretrain})

    build(within(40), silent, "finetune.step")
    with pytest.raises(ConfigError, match="rows_hash"):
        build(within(64), silent, "finetune.step")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sources": [{"path": "rows.jsonl", "weight": 2}]}, "weight=2 of rows.jsonl"),
        ({"method": "dpo", "too_long": "split"}, "dpo needs whole rows"),
        ({"batch_rows": 8}, "batch_rows is read by classify, dpo, grpo, not by sft"),
        ({"method": "dpo", "label_smoothing": 0.3}, "label_smoothing is read by sft, not by dpo"),
        ({"method": "classify", "format": "plain"}, "format is read by .*, not by classify"),
        ({"rewards": [{"kind": "words"}]}, "rewards is read by grpo, not by sft"),
    ],
)
def test_a_key_that_a_step_would_ignore_is_refused_by_the_step_alone(
    options: dict[str, Any], said: str
) -> None:
    from lilllm.stages.pipeline import build

    config = step_config(ANSWERS, **options)  # a stored config may be of an older version
    for refuse in (
        lambda: run_step(config, "step", silent),
        lambda: build(config, silent, "finetune.step"),
    ):
        with pytest.raises(ConfigError, match=said):
            refuse()


def test_another_micro_batch_may_take_over_a_step_with_default_sizes() -> None:
    old = step_config(PAIRS, method="dpo", micro_batch_size=8)
    new = step_config(PAIRS, method="dpo", micro_batch_size=6)
    for config in (old, new):
        config.finetune["step"].model_fields_set.discard("batch_tokens")
    assert changed_keys(old, new, stage_keys(new, "step")) == []


def test_put_back_touches_no_other_step(tmp_path: Path) -> None:
    done = run(ANSWERS, max_steps=1)
    other = Path("runs/tiny/old/step-b-20200101-000000")
    other.mkdir(parents=True)
    with pytest.raises(RunError, match="no such device"):
        config = step_config(ANSWERS, max_steps=1).model_copy(update={"device": "mps"})
        run_step(config, "step", silent, fresh=True)
    assert other.is_dir() and done.checkpoint.is_dir()
    assert [path.name for path in other.parent.iterdir()] == [other.name]
