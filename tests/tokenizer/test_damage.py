"""Folders that are damaged or hostile end in a CheckpointError that names the file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import tokenizers

from lilllm.errors import CheckpointError
from lilllm.tokenizer import Tokenizer
from lilllm.tokenizer.foreign import import_tokenizer

BROKEN = {
    "empty": "",
    "binary": "\x00\x01",
    "no JSON": "{",
    "a list": "[]",
    "no model": "{}",
    "null model": '{"model": null}',
    "deep": "[" * 100_000,
    "deep model": '{"model": ' + '{"a":' * 5000 + "1" + "}" * 5001,
    "another model": '{"model": {"type": "Nonsense"}}',
    "huge number": '{"model": {"type": "BPE", "vocab": {"a": ' + "9" * 5000 + '}, "merges": []}}',
    "negative id": '{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}',
    "no tokens": '{"model": {"type": "BPE", "vocab": {}, "merges": []}}',
    "far ids": '{"model": {"type": "BPE", "vocab": {"a": 4000000000}, "merges": []}}',
    "one id twice": '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}}',
    "unknown merge": '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["x y"]}}',
    "nothing ends": '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}',
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tokenizer_json(tmp_path: Path, name: str) -> None:
    (tmp_path / "tokenizer.json").write_text(BROKEN[name])
    with pytest.raises(CheckpointError, match=r"tokenizer\.json") as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in caught.value.message


def test_bytes_cut_off_anywhere(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "tokenizer.json").read_bytes()
    for cut in range(1, len(whole) - 2, len(whole) // 23):
        (tmp_path / "tokenizer.json").write_bytes(whole[:cut])
        with pytest.raises(CheckpointError):
            Tokenizer.load(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: no such file") as caught:
        Tokenizer.load(tmp_path / "nowhere")
    assert "tokenizer train" in caught.value.hint


@pytest.mark.parametrize("content", ["[]", "{", "[" * 100_000, "7"])
@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
def test_broken_settings(folder: Path, tmp_path: Path, file: str, content: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / file).write_text(content)
    with pytest.raises(CheckpointError, match=file):
        Tokenizer.load(tmp_path)


def test_truncation_and_padding_saved_by_others_are_dropped(
    trained: tokenizers.Tokenizer, tmp_path: Path
) -> None:
    inner = tokenizers.Tokenizer.from_str(trained.to_str())
    inner.enable_truncation(3)
    inner.enable_padding(length=64)
    inner.save(str(tmp_path / "tokenizer.json"))
    assert len(Tokenizer.load(tmp_path).encode("There were 25 trees in the park")) > 3
    assert len(Tokenizer.load(tmp_path).encode("a")) == 1


def test_gpt2_files_give_the_known_ids(shared: Callable[[str], Path]) -> None:
    files = shared("gpt2_bpe")
    for sources in ([files], [files / "vocab.bpe", files / "encoder.json"]):
        imported = import_tokenizer(sources)
        gpt2 = imported.tokenizer
        assert gpt2.encode("Hello world") == [15496, 995]
        assert gpt2.encode("I'm 1999 days old\n") == [40, 1101, 7358, 1528, 1468, 198]
        assert (gpt2.bos_id, gpt2.end_id, gpt2.pad_id) == (50256, 50256, 50256)
        assert imported.added == ("<|im_start|>", "<|im_end|>")
        assert gpt2.stop_ids == {50256, 50258}
        chat = gpt2.encode_chat([{"role": "user", "content": "Hello world"}])
        assert chat == [50256, 50257, 7220, 198, 15496, 995, 50258, 198]


def test_an_imported_tokenizer_keeps_its_specials(
    chat_folder: Callable[[str, list[str], dict[str, str]], Path],
) -> None:
    folder = chat_folder(
        "{{ messages }}", ["<s>", "</s>"], {"bos_token": "<s>", "eos_token": "</s>"}
    )
    imported = import_tokenizer([folder])
    assert imported.added == ()
    assert imported.tokenizer.hash == Tokenizer.load(folder).hash
    assert imported.tokenizer.settings["eos_token"] == "</s>"
    assert imported.tokenizer.settings["pad_token"] == "</s>"


def test_a_bare_tokenizer_json_gets_what_it_lacks(tmp_path: Path) -> None:
    inner = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")]))
    inner.save(str(tmp_path / "mine.json"))
    imported = import_tokenizer([tmp_path / "mine.json"])
    assert imported.added == ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    assert imported.tokenizer.end_id == 3
    assert imported.tokenizer.encode("ab") == [2]


def test_a_tokenizer_without_latin_letters_is_imported(tmp_path: Path) -> None:
    model = tokenizers.models.BPE({"你": 0, "好": 1, "你好": 2}, [("你", "好")])
    inner = tokenizers.Tokenizer(model)
    inner.save(str(tmp_path / "mine.json"))
    imported = import_tokenizer([tmp_path / "mine.json"]).tokenizer
    assert imported.encode("a你好") == [2] and imported.bos_id is None


def test_gpt2_files_that_do_not_fit(tmp_path: Path) -> None:
    (tmp_path / "encoder.json").write_text(json.dumps({"a": 0}))
    for merges in ("#version: 0.2\na b\n", "a\n", "a b c\n"):
        (tmp_path / "vocab.bpe").write_text(merges)
        with pytest.raises(CheckpointError, match=r"encoder\.json"):
            import_tokenizer([tmp_path])
    (tmp_path / "encoder.json").write_text('{"a": "x"}')
    (tmp_path / "vocab.bpe").write_text("")
    with pytest.raises(CheckpointError):
        import_tokenizer([tmp_path])


def test_no_tokenizer_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer found"):
        import_tokenizer([tmp_path])
