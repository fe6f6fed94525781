"""The tokens that are no text: their names, their ids, and the chat template that uses them."""

from pathlib import Path

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
PAD = "<|pad|>"

SPECIAL_TOKENS: tuple[str, ...] = (
    END_OF_TEXT,
    TURN_START,
    TURN_END,
    PAD,
    *(f"<|reserved_{i}|>" for i in range(12)),
)
"""Ids 0 to 15 of our tokenizers. `<|endoftext|>` both begins and ends a text."""

END_OF_TEXT_NAMES = (END_OF_TEXT, "</s>", "<|end_of_text|>", "<eos>", "<|eos|>", "[EOS]", "[SEP]")
"""How tokenizers that do not name their end-of-text token usually call it."""

END_OF_TURN_NAMES = (TURN_END, "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|eot|>")
"""Tokens that end a turn of a chat in common templates."""


def chatml_template() -> str:
    """ChatML as a Jinja template."""
    return Path(__file__).with_name("chatml.jinja").read_text(encoding="utf-8")
