"""llama.cpp through its Python binding, where it is installed; and models to give it."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch

from lilllm.model import Shape, Transformer
from lilllm.tokenizer import Tokenizer

NO_LLAMA = "llama_cpp is not installed (pip install -e '.[llama]'; `make test-all` does)"

PIECES = (
    "The cat", "hello", " world", "don't", "I'LL we've", "foo_bar", "x=1;", "!!!", "...", "—",
    "12345", "007", "3.14", "½", "²", "①", "٣", "๓", "Ⅷ",
    " ", "  ", "   ", "\n", "\n\n", " \n ", "\t", "\r\n", "\u00a0", "\u3000", "\u200b",
    "é", "e\u0301", "ß", "İ", "ﬁ", "𝔘", "Zażółć", "Привет", "Ελλάδα", "שלום", "مرحبا",
    "हिन्दी", "ไทย", "日本語", "中文", "한국어", "🐈‍⬛", "👩‍👩‍👧", "🇩🇪", "👍🏽",
    "<|im_end|>", "<|endoftext|>", "\x06", "\U00040000",
)  # fmt: skip


def strings(count: int) -> list[str]:
    """Strings of digits, spaces, newlines, emoji and many scripts."""
    draw = random.Random(0)
    return ["".join(draw.choices(PIECES, k=draw.randint(1, 12))) for _ in range(count)]


def open_llama(path: Path, **options: Any) -> Any:
    """llama.cpp with a GGUF file; the test is skipped where it is not installed."""
    llama_cpp = pytest.importorskip("llama_cpp", reason=NO_LLAMA)
    settings = {"n_ctx": 64, "n_threads": 1, "n_threads_batch": 1} | options
    return llama_cpp.Llama(str(path), verbose=False, **settings)


def llama_greedy(llama: Any, ids: list[int], count: int) -> list[int]:
    """The likeliest continuation, by llama.cpp."""
    llama.reset()
    made: list[int] = []
    for token in llama.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
        made.append(token)
        if len(made) == count:
            break
    return made


def llama_ids(llama: Any, text: str, *, bos: bool, special: bool = False) -> list[int]:
    """The ids that llama.cpp gives a text."""
    ids: list[int] = llama.tokenize(text.encode(), add_bos=bos, special=special)
    return ids


def draw_model(tokenizer: Tokenizer, seed: int = 0, **shape: Any) -> Transformer:
    """A small model with large random weights: its likeliest tokens are clear."""
    sizes = {"d_model": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "d_ff": 96}
    settings = {"vocab_size": tokenizer.vocab_size, "max_seq_len": 64} | sizes | shape
    model = Transformer(Shape(**settings), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.2)
        model.model.embed_tokens.weight.mul_(10)
    return model.eval()


def write_anyhow(path: Path, fields: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """A GGUF file of any fields and tensors, however little they fit."""
    import gguf

    kind = fields.get("general.architecture")
    writer = gguf.GGUFWriter(path, str(kind or "llama"))
    for name, value in fields.items():
        if name != "general.architecture" and value is not None:
            _add(writer, name, value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: Any, name: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(name, value)
    elif isinstance(value, int):
        (writer.add_uint32 if value >= 0 else writer.add_int32)(name, value)
    elif isinstance(value, float):
        writer.add_float32(name, value)
    elif isinstance(value, str):
        writer.add_string(name, value)
    else:
        writer.add_array(name, value if isinstance(value, list) else value.tolist())
