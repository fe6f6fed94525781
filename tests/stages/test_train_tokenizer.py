"""The stages around tokenizers: train, import, report."""

import json
from pathlib import Path
from typing import Any

import pytest

from lilllm.config import Config, load_config
from lilllm.errors import ConfigError, DataError
from lilllm.events import Caution, Note, silent
from lilllm.files import manifest_problem
from lilllm.stages import import_tokenizer, report_tokenizer, train_tokenizer
from lilllm.tokenizer import Tokenizer

STORY = "Tim had a red ball. He didn't want to share the red ball, but Lily asked nicely.\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Configs of a run in an empty folder, with two files of text."""
    monkeypatch.chdir(tmp_path)
    separator = "\n<|endoftext|>\n"
    Path("a.txt").write_text(separator.join(f"{STORY * 3}{n} times." for n in range(60)))
    rows = (json.dumps({"text": f"Row {n}: {STORY}"}) for n in range(40))
    Path("b.jsonl").write_text("\n".join(rows) + "\n")

    def make(*overrides: str) -> Config:
        defaults = ["name=t", "data.sources=[a.txt,b.jsonl]", "tokenizer.vocab_size=320"]
        return load_config(None, [*defaults, *overrides])

    return make


def test_a_folder_that_is_whole_and_up_to_date(config: Any) -> None:
    result = train_tokenizer.run(config(), silent)
    folder = Path("runs/t/tokenizer")
    assert result.path == folder
    assert result.vocab_size == 320 == Tokenizer.load(folder).vocab_size
    assert 1 < result.bytes_per_token < 6
    assert result.seconds > 0
    assert manifest_problem(folder) == ""
    assert train_tokenizer.up_to_date(config())
    assert train_tokenizer.up_to_date(config("pretrain.lr=1e-3", "seed=3"))
    for other in ("tokenizer.vocab_size=300", "data.sources=[a.txt]", "data.on_bad_row=skip"):
        assert not train_tokenizer.up_to_date(config(other))
    (folder / "tokenizer.json").write_text("{}")
    assert not train_tokenizer.up_to_date(config())


def test_a_file_that_was_edited_makes_the_tokenizer_out_of_date(config: Any) -> None:
    train_tokenizer.run(config(), silent)
    manifest = Path("runs/t/tokenizer/manifest.json").read_bytes()
    before = train_tokenizer.inputs_hash(config())
    Path("a.txt").write_text(Path("a.txt").read_text().replace("ball", "kite"))
    assert train_tokenizer.inputs_hash(config()) != before
    assert not train_tokenizer.up_to_date(config())
    Path("a.txt").write_text(Path("a.txt").read_text().replace("kite", "ball"))
    train_tokenizer.run(config(), silent)
    assert train_tokenizer.up_to_date(config())
    assert Path("runs/t/tokenizer/manifest.json").read_bytes() == manifest, "no times in it"


def test_it_is_a_function_of_its_inputs(config: Any) -> None:
    train_tokenizer.run(config(), silent)
    first = Tokenizer.load(Path("runs/t/tokenizer")).hash
    train_tokenizer.run(config("name=u"), silent)
    assert Tokenizer.load(Path("runs/u/tokenizer")).hash == first


def test_a_small_corpus_gives_its_real_size_and_says_so(config: Any) -> None:
    events: list[Any] = []
    result = train_tokenizer.run(config("tokenizer.vocab_size=8192"), events.append)
    assert result.vocab_size < 1000
    (caution,) = [event for event in events if isinstance(event, Caution)]
    assert "8,192" in caution.text and f"{result.vocab_size:,}" in caution.text


def test_no_more_bytes_than_asked_from_all_over_the_sources(config: Any) -> None:
    texts = train_tokenizer._Texts(config("tokenizer.train_bytes=4000"), silent)
    got = list(texts)
    assert texts.bytes == sum(len(text.encode()) for text in got) <= 4000
    assert texts.bytes > 2500
    stories = [int(text.split()[-2]) for text in got if text.endswith("times.")]
    assert min(stories) < 15 and max(stories) > 45
    assert any(text.startswith("Row") for text in got)


def test_a_text_larger_than_the_limit_gives_its_beginning(config: Any) -> None:
    Path("one.txt").write_text("é" * 50_000)
    texts = train_tokenizer._Texts(
        config("data.sources=[one.txt]", "tokenizer.train_bytes=1001"), silent
    )
    assert list(texts) == ["é" * 500]


def test_shares_follow_sizes_where_they_are_known() -> None:
    divide = train_tokenizer.divide_bytes
    assert divide([300, 100], [1, 1], 200) == [150, 50]
    assert divide([300, 100], [1, 3], 200) == [100, 100]
    assert divide([30, 10], [1, 1], 1000) == [30, 10]
    assert divide([None, 100, None], [1, 1, 1], 900) == [400, 100, 400]


@pytest.mark.parametrize(
    ("override", "error", "hint"),
    [
        ("data.sources=[]", ConfigError, "data.sources=[builtin:stories]"),
        ("tokenizer.path=elsewhere", ConfigError, "tokenizer.path"),
        ("data.sources=[nowhere.txt]", DataError, ""),
        ("data.sources=[empty.txt]", DataError, ""),
    ],
)
def test_what_cannot_be_trained(
    config: Any, override: str, error: type[ConfigError | DataError], hint: str
) -> None:
    Path("empty.txt").write_text("")
    with pytest.raises(error) as caught:
        train_tokenizer.run(config(override), silent)
    assert hint in caught.value.hint
    assert not Path("runs/t/tokenizer").exists()


def test_a_failed_training_leaves_the_old_folder(config: Any) -> None:
    train_tokenizer.run(config(), silent)
    folder = Path("runs/t/tokenizer")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with Path("b.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(DataError, match=r"b\.jsonl"):
        train_tokenizer.run(config(), silent)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_import_writes_a_folder_and_says_what_was_appended(config: Any) -> None:
    train_tokenizer.run(config(), silent)
    source = Path("runs/t/tokenizer/tokenizer.json")
    Path("plain.json").write_text(source.read_text())
    events: list[Any] = []
    result = import_tokenizer.run([Path("plain.json")], Path("mine"), events.append)
    assert result.added_tokens == ()
    assert result.hash == Tokenizer.load(Path("mine")).hash
    assert manifest_problem(Path("mine")) == ""
    bare = json.loads(source.read_text())
    bare["added_tokens"] = [t for t in bare["added_tokens"] if not t["content"].startswith("<|im")]
    for name in ("<|im_start|>", "<|im_end|>"):
        id = bare["model"]["vocab"].pop(name)
        bare["model"]["vocab"][f"unused{id}"] = id
    Path("plain.json").write_text(json.dumps(bare))
    result = import_tokenizer.run([Path("plain.json")], Path("mine"), events.append)
    assert result.added_tokens == ("<|im_start|>", "<|im_end|>")
    assert any(isinstance(event, Note) and "322 rows" in event.text for event in events)


def test_import_refuses_to_replace_other_things(config: Any) -> None:
    train_tokenizer.run(config(), silent)
    Path("home").mkdir()
    Path("home/diary.txt").write_text("dear diary")
    with pytest.raises(ConfigError, match="home"):
        import_tokenizer.run([Path("runs/t/tokenizer")], Path("home"), silent)
    assert Path("home/diary.txt").exists()


def test_report_measures_side_by_side(config: Any) -> None:
    train_tokenizer.run(config(), silent)
    train_tokenizer.run(config("name=small", "tokenizer.vocab_size=280"), silent)
    folders = [Path("runs/t/tokenizer"), Path("runs/small/tokenizer")]
    result = report_tokenizer.run(folders, Path("a.txt"), silent)
    large, small = (result.tokenizers[str(folder)] for folder in folders)
    assert large.bytes_per_token > small.bytes_per_token > 1
    assert large.tokens_per_word < small.tokens_per_word
    assert large.single_byte_share < small.single_byte_share <= 1
    assert large.tokens * large.bytes_per_token == pytest.approx(result.bytes)
    assert len(large.longest[0]) >= len(large.longest[-1]) > 1
    assert 0 < large.unused < large.vocab_size
    newest = report_tokenizer.run([], Path("a.txt"), silent)
    assert list(newest.tokenizers) == ["runs/small/tokenizer"]


def test_report_needs_a_tokenizer_and_a_text(config: Any) -> None:
    with pytest.raises(ConfigError, match="no tokenizer"):
        report_tokenizer.run([], Path("a.txt"), silent)
    with pytest.raises(DataError, match=r"nowhere\.txt"):
        report_tokenizer.run([], Path("nowhere.txt"), silent)
