"""What the model sees of a row and what it learns of it: golden for every shape."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from lilllm.data.conversations import to_messages
from lilllm.errors import DataError
from lilllm.stages.encode_rows import RowEncoder
from tests.stages.tiny_run import tiny_tokenizer

GOLDEN = Path(__file__).parent / "golden_masks.json"
CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Who sat?"},
    {"role": "assistant", "content": "The cat."},
    {"role": "user", "content": "Where?"},
    {"role": "assistant", "content": "On the stone."},
]
ROWS: dict[str, Any] = {
    "messages": {"messages": CHAT},
    "sharegpt": {"conversations": [{"from": m["role"], "value": m["content"]} for m in CHAT]},
    "completion": {"prompt": "The cat", "completion": "sat."},
    "alpaca": {"instruction": "Sum up.", "input": "The cat sat.", "output": "Cat sat."},
    "translation": {"source": "the sun", "target": "die Sonne"},
    "labelled": {"text": "warm", "label": "good"},
    "text": {"text": "The cat sat."},
}


def learnt(encoder: RowEncoder, row: Any) -> list[list[Any]]:
    """Tokens with 1 where they are learnt."""
    ids, mask = encoder.encode(to_messages(row, "f:1"))
    decode = encoder.tokenizer.decode
    return [[decode([id], skip_special=False), bit] for id, bit in zip(ids, mask, strict=True)]


def test_golden_masks_of_every_shape() -> None:
    tokenizer = tiny_tokenizer()
    found = {name: learnt(RowEncoder(tokenizer), row) for name, row in ROWS.items()}
    for name in ("completion", "translation", "labelled", "text"):
        found[f"{name}, plain"] = learnt(RowEncoder(tokenizer, "plain"), ROWS[name])
    if os.environ.get("LILLLM_GOLDEN"):
        GOLDEN.write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n")
    assert found == json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("format", ["chat", "plain"])
def test_the_prompt_is_the_beginning_of_its_row_and_the_end_of_the_turn_is_learnt(
    format: str,
) -> None:
    encoder = RowEncoder(tiny_tokenizer(), format, "Translate: {prompt}!")
    row = to_messages(ROWS["translation"], "f:1")
    assert isinstance(row, list)
    ids, mask = encoder.encode(row)
    prompt = encoder.encode_prompt(row[:1])
    assert ids[: len(prompt)] == prompt and not any(mask[: len(prompt)])
    last = max(at for at, bit in enumerate(mask) if bit)
    assert ids[last] in encoder.tokenizer.stop_ids
    assert "Translate: the sun!" in encoder.tokenizer.decode(prompt)


def test_plain_rows_have_one_question() -> None:
    with pytest.raises(DataError, match="one question and one answer"):
        RowEncoder(tiny_tokenizer(), "plain").encode(CHAT)


def test_a_long_text_is_split_and_loses_nothing() -> None:
    encoder = RowEncoder(tiny_tokenizer())
    text = "The cat sat on the warm stone and slept. " * 10
    parts = encoder.split(text, 20)
    assert all(len(ids) <= 20 and len(ids) == len(mask) for ids, mask in parts)
    joined = [id for ids, mask in parts for id, bit in zip(ids, mask, strict=True) if bit]
    assert joined == [*encoder.tokenizer.encode(text), encoder.tokenizer.end_id]


def test_a_long_conversation_is_split_before_questions_and_keeps_every_end_of_turn() -> None:
    encoder = RowEncoder(tiny_tokenizer())
    system, turns = CHAT[:1], [CHAT[1:3], CHAT[3:5]]
    whole = len(encoder.encode(CHAT)[0])
    parts = encoder.split(CHAT, whole - 1)
    assert parts == [encoder.encode([*system, *turn]) for turn in turns]
    too_long = [*CHAT[:2], {"role": "assistant", "content": "far " * 80}, *CHAT[3:]]
    assert encoder.split(too_long, 60) == [encoder.encode([*system, *turns[1]])]
