import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lilllm.config import Config, dump_yaml, load_config
from lilllm.config.load import override_config
from lilllm.errors import ConfigError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def problem(*overrides: str, path: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    assert caught.value.exit_code == 2
    return caught.value.message


def test_defaults_give_way_to_yaml_and_yaml_to_overrides(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("seed: 3\npretrain: {lr: 1e-4}\nmodel:\n")
    config = load_config(path, ["pretrain.lr=2e-3", "data.sources=[builtin:stories]"])
    assert (config.seed, config.pretrain.lr) == (3, 2e-3)
    assert config.data.sources[0].path == "builtin:stories"
    assert load_config(path).pretrain.lr == 1e-4
    assert config.model.d_model == Config().model.d_model


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("1E+2", 100.0), ("3e4", 3e4), (".5", 0.5), ("1_000", 1e3)]
)
def test_numbers_in_yaml_are_numbers(text: str, value: float) -> None:
    assert load_config(None, [f"model.rope_theta={text}"]).model.rope_theta == value


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("pretrain.lrr=1", "pretrain.lrr: unknown key; did you mean 'lr'?"),
        ("modle.d_model=1", "modle: unknown key; did you mean 'model'?"),
        ("finetune.chat.epohcs=1", "finetune.chat.epohcs: unknown key; did you mean 'epochs'?"),
        ("data.sources=[{path: x, feild: y}]", "data.sources.0.feild: unknown key; did you mean"),
        (
            "model.n_heads=7",
            "model.n_heads=7 does not divide model.d_model=512; n_heads=4 n_kv_heads=4 fits",
        ),
        ("model.d_model=48", "rotary positions need an even one; n_heads=8 fits"),
        ("model.d_model=49", "model.n_heads=16 does not divide model.d_model=49"),
        ("model.n_kv_heads=3", "model.n_kv_heads=3 does not divide model.n_heads=16; 2 does"),
        ("pretrain.batch_tokens=1000", "is not a multiple of model.max_seq_len=512; 1024 fits"),
        ("pretrain.batch_tokens=100", "is not a multiple of model.max_seq_len=512; 512 fits"),
        (
            "pretrain={batch_tokens: 5000, micro_batch_size: 4}",
            "pretrain.batch_tokens=5000 is not a multiple of model.max_seq_len=512; 4096 fits",
        ),
        (
            "pretrain.micro_batch_size=7",
            "pretrain.micro_batch_size=7 does not divide the 64 sequences of a step "
            "(batch_tokens / model.max_seq_len); 4 does",
        ),
        ("pretrain.lr=-1", "pretrain.lr: input should be greater than 0, not -1"),
        ("pretrain.lr=.nan", "pretrain.lr"),
        ("model=3", "model: "),
        ("seed=[1]", "seed: "),
        ("name=../x", "name: "),
        ("tokenizer.vocab_size=100", "tokenizer.vocab_size: "),
        (f"seed={10**20}", "seed: "),
        (f"seed={2**63}", "seed: "),
        (f"seed=0x{'f' * 5000}", "seed: "),
        ("threads=5000", "threads: "),
        (f"threads={2**63}", "threads: "),
        (f"pretrain.max_tokens={2**62}", "pretrain.max_tokens: "),
        (f"model.d_model={2**31}", "model.d_model: "),
        ("finetune.chat.epochs=1e300", "finetune.chat.epochs: "),
        ("finetune={chat.v2: {}}", "finetune.chat.v2"),
    ],
)
def test_a_wrong_value_is_named_with_its_dotted_key(override: str, said: str) -> None:
    assert said in problem(override)


@pytest.mark.parametrize(
    ("text", "name"), [("2024", "2024"), ("1.5", "1.5"), ("2024-05-01", "2024-05-01")]
)
def test_a_name_may_look_like_a_number(text: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"name: {text}\n")
    config = load_config(path)
    assert config.name == name
    path.write_text(dump_yaml(config))
    assert load_config(path) == config
    assert "name: " in problem("name=true")


def test_overrides_go_over_a_config_too() -> None:
    config = override_config(load_config(None, ["name=a", "seed=1"]), ["seed=2"])
    assert (config.name, config.seed) == ("a", 2)
    with pytest.raises(ConfigError, match="seed"):
        override_config(config, ["seed=x"])


def test_all_errors_are_told_at_once() -> None:
    said = problem("seed=x", "model.d_model=-2", "pretrain.lrr=1")
    assert len(said.splitlines()) == 3


def test_an_override_below_a_value_that_is_no_section_is_refused() -> None:
    assert "model is 3, not a section" in problem("model=3", "model.n_layers=4")
    assert "expected key=value" in problem("model")


def test_broken_yaml_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for text, said in [
        ("a: [1", "line 1"),
        ("seed: 1\nseed: 2", "the key 'seed' stands twice (line 2)"),
        ("- 1", "top level must be a mapping"),
        ("a: !!python/object:os.system x", "not valid YAML"),
        ("\x00", "not valid YAML"),
        ("x: &a [*a]", "x"),
    ]:
        path.write_text(text)
        assert said in problem(path=path)
        assert str(path) in problem(path=path)
    path.write_bytes(b"\xff\xfe\xff")
    assert "not a UTF-8 text file" in problem(path=path)
    assert "no such config file" in problem(path=tmp_path / "none.yaml")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_are_valid_and_survive_a_round_trip(path: Path, tmp_path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    copy = tmp_path / "copy.yaml"
    copy.write_text(dump_yaml(config, "# header\n"))
    assert load_config(copy) == config


def test_finetuning_has_defaults_of_its_own() -> None:
    config = load_config(None, ["finetune.chat.sources=[rows.jsonl]"])
    before, after = config.pretrain, config.finetune["chat"]
    assert (before.optimizer, before.schedule, before.lr) == ("muon", "wsd", 4e-3)
    assert (after.optimizer, after.schedule, after.lr) == ("adamw", "cosine", 3e-4)
    assert (after.warmup_steps, after.min_lr_ratio) == (100, 0.1)


def test_39m_has_39_million_parameters() -> None:
    from lilllm.model.transformer import Transformer, count_parameters
    from lilllm.stages.model_shape import resolve_shape

    config = load_config(next(path for path in CONFIGS if path.stem == "39m"))
    shape = resolve_shape(config.model, config.tokenizer.vocab_size)
    parameters = sum(p.numel() for p in Transformer(shape).parameters())
    assert parameters == sum(count_parameters(shape).values())
    assert round(parameters / 1e6) == 39


def test_every_key_is_documented_in_the_schema() -> None:
    schema = Config.model_json_schema()
    for section in [schema, *schema["$defs"].values()]:
        for key, field in section["properties"].items():
            documented = "description" in field or "$ref" in str(field)
            assert documented, f"{section['title']}.{key} has no docstring"


def test_the_yaml_of_a_config_has_no_python_tags() -> None:
    text = dump_yaml(Config())
    assert not re.search(r"!!|!python", text)
    assert yaml.safe_load(text)["model"]["d_model"] == 512


@pytest.mark.parametrize(
    ("overrides", "sizes"),
    [
        (("model.max_seq_len=480",), (30_720, 8)),
        (("model.max_seq_len=480", "finetune.x.micro_batch_size=4"), (30_720, 4)),
        (("model.max_seq_len=5000",), (30_000, 6)),
        (("model.max_seq_len=480", "finetune.x.method=dpo"), (32_768, 8)),
        (("model.max_seq_len=480", "finetune.x.batch_tokens=4320"), (4320, 3)),
        (("model.max_seq_len=480", "finetune.x.batch_tokens=480"), (480, 1)),
        (("model.max_seq_len=100000",), (100_000, 1)),
        (("model.max_seq_len=512",), (32_768, 8)),
    ],
)
def test_sizes_of_a_step_that_nobody_gave_fit_the_context(overrides: Any, sizes: Any) -> None:
    config = load_config(None, ("finetune.x={}", *overrides))
    section = config.finetune["x"]
    assert (section.batch_tokens, section.micro_batch_size) == sizes
    assert config.pretrain.batch_tokens % config.model.max_seq_len == 0
