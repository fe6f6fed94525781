"""Generation and conversation with a real checkpoint folder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lilllm.config.schema import GenerateConfig
from lilllm.errors import ConfigError
from lilllm.events import Caution, silent
from lilllm.stages import generate
from lilllm.stages.chat import Chat
from lilllm.stages.find_checkpoint import Loaded, load_checkpoint
from lilllm.tokenizer import StreamDecoder
from tests.stages.tiny_run import write_checkpoint

torch.set_num_threads(1)

OPTIONS = GenerateConfig(max_new_tokens=10, temperature=1.0, top_p=1.0)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return load_checkpoint(write_checkpoint(tmp_path_factory.mktemp("run") / "step-00000001"))


def test_every_prompt_gets_its_samples_in_order(loaded: Loaded) -> None:
    heard: dict[tuple[int, int], str] = {}

    def listen(prompt: int, sample: int, text: str) -> None:
        heard[prompt, sample] = heard.get((prompt, sample), "") + text

    result = generate.run(
        loaded, ["The cat", ""], OPTIONS, silent, samples=2, seed=3, on_text=listen
    )
    assert [sample.prompt for sample in result.samples] == ["The cat"] * 2 + [""] * 2
    for index, sample in enumerate(result.samples):
        assert sample.text == heard.get(divmod(index, 2), "")
        assert sample.new_tokens <= 10 and sample.finish_reason in {"stop", "length"}
    assert result.samples[2].prompt_tokens == 1
    assert result.first_token_ms > 0 and result.decode_tokens_per_s > 0
    alone = generate.run(loaded, ["The cat"], OPTIONS, silent, seed=3)
    assert alone.samples == result.samples[:1]


def test_a_stream_of_byte_tokens_never_shows_half_a_character(loaded: Loaded) -> None:
    text = "a 🐈‍⬛ ü"
    decoder = StreamDecoder(loaded.tokenizer)
    pieces = [decoder.push(token) for token in loaded.tokenizer.encode(text)]
    assert "".join(pieces) + decoder.finish() == text
    assert "\ufffd" not in "".join(pieces) and "" in pieces


def test_a_base_model_asked_to_chat_is_told_to_ramble(loaded: Loaded) -> None:
    heard: list[object] = []
    result = generate.run(loaded, ["hi"], OPTIONS, heard.append, chat=True)
    assert isinstance(heard[0], Caution)
    assert result.samples[0].prompt_tokens > len(loaded.prompt_ids("hi"))


def test_a_prompt_longer_than_the_context_names_both_lengths(loaded: Loaded) -> None:
    prompt = "cat " * 100
    length = len(loaded.prompt_ids(prompt))
    with pytest.raises(ConfigError, match=f"{length} tokens, the model's context is 64"):
        generate.run(loaded, [prompt], OPTIONS, silent)


def test_bytes_that_are_no_text_become_replacement_characters(loaded: Loaded) -> None:
    prompt = b"caf\xe9".decode("utf-8", "surrogateescape")
    result = generate.run(loaded, [prompt], OPTIONS, silent)
    assert result.samples[0].prompt == "caf\ufffd"


def test_a_system_message_that_is_no_text_is_saved_as_text(loaded: Loaded, tmp_path: Path) -> None:
    chat = Chat(loaded, OPTIONS, silent, system="caf\udce9")
    for name in ("talk.json", "talks.jsonl"):
        chat.save(tmp_path / name)
        row = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        assert row["messages"] == [{"role": "system", "content": "caf\ufffd"}]


def test_a_prompt_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Grüße\n\n", encoding="utf-8")
    assert generate.read_prompt(path, "--prompt-file") == "Grüße\n"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not a UTF-8"):
        generate.read_prompt(path, "--prompt-file")
    with pytest.raises(ConfigError, match="cannot be read"):
        generate.read_prompt(tmp_path / "none.txt", "--prompt-file")


def test_a_chat_keeps_its_history_until_it_no_longer_fits(loaded: Loaded) -> None:
    heard: list[object] = []
    chat = Chat(replace(loaded, chat_trained=True), OPTIONS, heard.append, system="Be kind.")
    for number in range(8):
        chat.say(f"Tell me more {number}")
        assert chat.messages[0] == {"role": "system", "content": "Be kind."}
        assert [turn["role"] for turn in chat.turns[-2:]] == ["user", "assistant"]
    assert 2 <= chat.forgotten < len(chat.turns) == 16
    assert chat.turns[-2]["content"] == "Tell me more 7"
    assert any(isinstance(event, Caution) and "forgotten" in event.text for event in heard)
    chat.reset()
    assert chat.messages == [{"role": "system", "content": "Be kind."}]


def test_a_message_that_never_fits_is_refused_and_not_kept(loaded: Loaded) -> None:
    chat = Chat(replace(loaded, chat_trained=True), OPTIONS, silent)
    with pytest.raises(ConfigError, match="the model's context is 64"):
        chat.say("cat " * 200)
    assert chat.turns == []


def test_an_interrupted_answer_stays_in_the_history(loaded: Loaded) -> None:
    chat = Chat(replace(loaded, chat_trained=True), OPTIONS, silent)

    def interrupt(piece: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chat.say("hello", interrupt)
    assert [turn["role"] for turn in chat.turns] == ["user", "assistant"]


def test_a_base_model_continues_text_without_history(loaded: Loaded) -> None:
    heard: list[object] = []
    chat = Chat(loaded, OPTIONS, heard.append)
    chat.greet()
    assert "continues" in heard[0].text
    first = chat.say("The cat")
    direct = generate.run(loaded, ["The cat"], OPTIONS, silent).samples[0]
    assert first.text == direct.text
