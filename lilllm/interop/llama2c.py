"""llama2.c: its model files and its tokenizer files, read into ours.

Only the first format ("legacy", fp32, no magic number) is read: a header of seven int32, then
every tensor in a fixed order. The later ones start with the magic number "ak42".
Source: github.com/karpathy/llama2.c, run.c and export.py.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer as Library
from tokenizers import decoders, models, normalizers, processors
from torch import Tensor

from lilllm.errors import CheckpointError
from lilllm.model import Shape, Transformer, save_model
from lilllm.tokenizer import Tokenizer

MAGIC = 0x616B3432
HEADER = struct.Struct("<7i")
UNKNOWN, BOS, EOS, FIRST_BYTE = 0, 1, 2, 3
SPECIAL = ("<unk>", "<s>", "</s>")
LONGEST_TOKEN = 1 << 16  # bytes; a longer one would only be a damaged file


class Entry(NamedTuple):
    """A token of `tokenizer.bin`: its text, and how early it is merged (the higher the earlier)."""

    text: str
    score: float


def read_model(path: Path) -> Transformer:
    """A model of a legacy `.bin` file.

    Raises:
        CheckpointError: it cannot be read, is of another version, or its size does not fit its
            header.
    """
    raw = _read(path)
    if len(raw) < HEADER.size:
        raise CheckpointError(f"{path}: {len(raw)} bytes are too few for a llama2.c model")
    if struct.unpack_from("<I", raw)[0] == MAGIC:
        version = struct.unpack_from("<i", raw, 4)[0]
        raise CheckpointError(
            f"{path}: version {version} of llama2.c's format is not supported",
            "export it with `--version 0`",
        )
    shape = _shape(HEADER.unpack_from(raw), path)
    tensors = _tensors(shape)
    wanted = HEADER.size + 4 * sum(int(np.prod(size)) for _, size in tensors)
    if len(raw) != wanted:
        raise CheckpointError(
            f"{path}: {len(raw)} bytes, but a model of its header has {wanted}",
            "the file is cut short or not a llama2.c model; download it again",
        )
    state: dict[str, Tensor] = {}
    offset = HEADER.size
    for name, size in tensors:
        count = int(np.prod(size))
        array = np.frombuffer(raw, dtype="<f4", count=count, offset=offset).reshape(size)
        offset += 4 * count
        if name:
            _place(state, name, torch.from_numpy(array.astype(np.float32)), shape)
    model = Transformer(shape)
    model.load_state_dict(state)
    return model


def read_tokenizer(path: Path, vocab_size: int) -> list[Entry]:
    """The tokens of a `tokenizer.bin`, by id.

    Raises:
        CheckpointError: it cannot be read or does not hold exactly `vocab_size` tokens.
    """
    raw = _read(path)
    damaged = CheckpointError(
        f"{path}: not a llama2.c tokenizer of {vocab_size} tokens",
        "name the tokenizer.bin that belongs to the model",
    )
    entries: list[Entry] = []
    offset = 4  # past the length of the longest token
    try:
        for _ in range(vocab_size):
            score, length = struct.unpack_from("<fi", raw, offset)
            offset += 8
            if not 0 <= length <= min(LONGEST_TOKEN, len(raw) - offset):
                raise damaged
            entries.append(Entry(raw[offset : offset + length].decode(), score))
            offset += length
    except (struct.error, UnicodeDecodeError) as err:
        raise damaged from err
    bytes_there = [entry.text for entry in entries[FIRST_BYTE : FIRST_BYTE + 256]]
    if offset != len(raw) or bytes_there != [f"<0x{byte:02X}>" for byte in range(256)]:
        raise damaged
    return entries


def build_tokenizer(entries: Sequence[Entry]) -> Library:
    """A tokenizer of the `tokenizers` library whose ids are those of run.c's `encode`.

    run.c splits into characters (bytes where one has no token), then joins the neighbours whose
    joint token has the best score until none is left. As a list of merges: every way to make a
    token of two others, best score first.

    Raises:
        CheckpointError: two tokens have the same text.
    """
    texts = [*SPECIAL, *(entry.text for entry in entries[len(SPECIAL) :])]
    vocabulary = {text: index for index, text in enumerate(texts)}
    if len(vocabulary) != len(texts):
        twice = next(text for index, text in enumerate(texts) if vocabulary[text] != index)
        raise CheckpointError(f"the tokenizer has two tokens {twice!r}")
    ordinary = range(FIRST_BYTE + 256, len(texts))
    order = sorted(ordinary, key=lambda index: -entries[index].score)
    merges = [
        (texts[index][:cut], texts[index][cut:])
        for index in order
        for cut in range(1, len(texts[index]))
        if texts[index][:cut] in vocabulary and texts[index][cut:] in vocabulary
    ]
    library = Library(
        models.BPE(vocabulary, merges, unk_token=SPECIAL[UNKNOWN], byte_fallback=True)
    )
    library.normalizer = normalizers.Prepend(" ")
    library.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    library.add_special_tokens(list(SPECIAL))
    library.post_processor = processors.TemplateProcessing(
        single=f"{SPECIAL[BOS]} $A", special_tokens=[(SPECIAL[BOS], BOS)]
    )
    return library


def write_folder(folder: Path, model: Transformer, entries: Sequence[Entry]) -> None:
    """Fill a checkpoint folder with a model and its tokenizer.

    As in run.c, BOS ends a text as well: in its training data it begins the next one.

    Raises:
        CheckpointError: the tokenizer cannot be expressed.
        RunError: the folder cannot be written.
    """
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": SPECIAL[BOS],
        "eos_token": SPECIAL[EOS],
        "unk_token": SPECIAL[UNKNOWN],
        "clean_up_tokenization_spaces": False,
    }
    text = json.dumps(json.loads(build_tokenizer(entries).to_str()), ensure_ascii=False)
    save_model(folder, model, bos_id=BOS, eos_ids=[BOS, EOS], pad_id=None, generation={})
    Tokenizer(text, settings).save(folder)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise CheckpointError(f"{path}: cannot be read ({err.strerror})") from err


def _shape(header: tuple[int, ...], path: Path) -> Shape:
    d_model, d_ff, n_layers, n_heads, n_kv_heads, vocab_size, max_seq_len = header
    positive = min(d_model, d_ff, n_layers, n_heads, n_kv_heads, abs(vocab_size), max_seq_len) > 0
    if (
        not positive
        or max(map(abs, header)) > 1 << 24
        or n_layers > 10_000
        or d_model % (2 * n_heads)
        or n_heads % n_kv_heads
    ):
        raise CheckpointError(f"{path}: its header {header} is not one of a llama2.c model")
    return Shape(
        vocab_size=abs(vocab_size),
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        d_ff=d_ff,
        max_seq_len=max_seq_len,
        tie_embeddings=vocab_size > 0,  # a negative one says that the output is its own matrix
    )


def _tensors(shape: Shape) -> list[tuple[str, tuple[int, ...]]]:
    """Names and sizes in the order of the file; `{}` stands for the layer, "" is not used."""
    L, D, F, K = shape.n_layers, shape.d_model, shape.d_ff, shape.head_dim
    layer = "model.layers.{}."
    tensors: list[tuple[str, tuple[int, ...]]] = [
        ("model.embed_tokens.weight", (shape.vocab_size, D)),
        (layer + "input_layernorm.weight", (L, D)),
        (layer + "self_attn.q_proj.weight", (L, shape.n_heads * K, D)),
        (layer + "self_attn.k_proj.weight", (L, shape.n_kv_heads * K, D)),
        (layer + "self_attn.v_proj.weight", (L, shape.n_kv_heads * K, D)),
        (layer + "self_attn.o_proj.weight", (L, D, shape.n_heads * K)),
        (layer + "post_attention_layernorm.weight", (L, D)),
        (layer + "mlp.gate_proj.weight", (L, F, D)),
        (layer + "mlp.down_proj.weight", (L, D, F)),
        (layer + "mlp.up_proj.weight", (L, F, D)),
        ("model.norm.weight", (D,)),
        ("", (2, shape.max_seq_len, K // 2)),  # cosines and sines
    ]
    if not shape.tie_embeddings:
        tensors.append(("lm_head.weight", (shape.vocab_size, D)))
    return tensors


def _place(state: dict[str, Tensor], name: str, tensor: Tensor, shape: Shape) -> None:
    if "{}" not in name:
        state[name] = tensor
        return
    for index, part in enumerate(tensor):
        turned = name.endswith(("q_proj.weight", "k_proj.weight"))
        state[name.format(index)] = _halves(part, shape.head_dim) if turned else part


def _halves(rows: Tensor, head_dim: int) -> Tensor:
    """Reorder rows [H K, D] from rotary pairs of neighbours to pairs of the two halves."""
    pairs = rows.view(-1, head_dim // 2, 2, rows.shape[1])  # [H, K/2, 2, D]
    return pairs.transpose(1, 2).reshape(rows.shape)
