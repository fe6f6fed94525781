"""llama2.c's own model, tokenizer and published text, and files that are not theirs."""

import random
import struct
from pathlib import Path

import pytest
import torch
import transformers

from lilllm.config.schema import GenerateConfig
from lilllm.errors import CheckpointError
from lilllm.inference import Engine
from lilllm.interop.llama2c import (
    BOS,
    EOS,
    Entry,
    build_tokenizer,
    read_model,
    read_tokenizer,
    write_folder,
)
from lilllm.model import load_model
from lilllm.tokenizer import StreamDecoder, Tokenizer

torch.set_num_threads(1)

STORIES = Path(__file__).parents[2].parent / "shared" / "data" / "stories260K"
MODEL, TOKENS = STORIES / "stories260K.bin", STORIES / "tok512.bin"
needs_stories = pytest.mark.skipif(
    not MODEL.is_file(), reason="../shared/data/stories260K is not on this machine"
)


def run_c_encode(entries: list[Entry], text: str) -> list[int]:
    """What run.c's encode does, step by step: characters, byte fallback, best pair first."""
    ids_of = {entry.text: index for index, entry in enumerate(entries)}
    ids = [BOS]
    for character in (" " + text) if text else "":
        if character in ids_of:
            ids.append(ids_of[character])
        else:
            ids += [byte + 3 for byte in character.encode()]
    while True:
        best, best_score = -1, -1e10
        for at in range(len(ids) - 1):
            merged = ids_of.get(entries[ids[at]].text + entries[ids[at + 1]].text)
            if merged is not None and entries[merged].score > best_score:
                best, best_score = at, entries[merged].score
        if best < 0:
            return ids
        merged = ids_of[entries[ids[best]].text + entries[ids[best + 1]].text]
        ids[best : best + 2] = [merged]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stories260K")
    write_folder(folder, read_model(MODEL), read_tokenizer(TOKENS, 512))
    return folder


@needs_stories
def test_greedy_text_of_stories260k_is_the_published_one(stories: Path) -> None:
    published = (STORIES / "stories260K.md").read_text(encoding="utf-8").split("```")[3]
    published = published.strip("\n").split("\n", 1)[1]  # without the command
    tokenizer = Tokenizer.load(stories)
    engine = Engine(
        load_model(stories),
        stop_ids={BOS, EOS},
        new_decoder=lambda: StreamDecoder(tokenizer),
    )
    prompt = tokenizer.encode_prompt("")
    assert prompt == [BOS]
    sample = engine.generate(prompt, GenerateConfig(temperature=0, max_new_tokens=256)).samples[0]
    assert tokenizer.decode(sample.ids) == published
    assert sample.text.removeprefix(" ") == published
    assert sample.ids == run_c_encode(read_tokenizer(TOKENS, 512), published)[1:]


@needs_stories
def test_transformers_writes_the_same_story_from_our_folder(stories: Path) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(stories)
    ids = theirs.generate(torch.tensor([[BOS]]), do_sample=False, max_new_tokens=64)[0, 1:]
    options = GenerateConfig(temperature=0, max_new_tokens=64)
    assert Engine(load_model(stories)).generate([BOS], options).samples[0].ids == ids.tolist()


@needs_stories
def test_ids_are_those_of_run_c_for_any_text(stories: Path) -> None:
    entries, tokenizer = read_tokenizer(TOKENS, 512), Tokenizer.load(stories)
    draw = random.Random(0)
    texts = [
        "",
        " ",
        "Once upon a time",
        "  two  spaces\n\nand lines\t",
        "Größe, 🐈‍⬛ and ▁ and <s> and </s> and <0x0A> and <unk>",
        "aaaaaaaaaaaaaaa",
        "Zażółć gęślą jaźń 12345 !?%",
    ]
    alphabet = " etaoinshr\nLily.,\"'üß猫"
    texts += ["".join(draw.choice(alphabet) for _ in range(60)) for _ in range(300)]
    for text in texts:
        ids = tokenizer.encode_prompt(text)
        assert ids == run_c_encode(entries, text), text
        assert tokenizer.decode(ids) == text


def test_equal_scores_merge_the_leftmost_pair() -> None:
    """Where run.c and the library may differ they do not: one way to make a token per text."""
    letters = [Entry(text, 0.0) for text in ("<unk>", "<s>", "</s>")]
    letters += [Entry(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    tokens = [" ", "a", "b", "ab", "ba", "aba", " a"]
    entries = letters + [Entry(text, -float(rank)) for rank, text in enumerate(tokens)]
    library = build_tokenizer(entries)
    draw = random.Random(1)
    for _ in range(200):
        text = "".join(draw.choice("ab c") for _ in range(12))
        assert library.encode(text).ids == run_c_encode(entries, text)


def tiny_file(path: Path, classes: int = 300, *, wcls: bool = False) -> Path:
    """A model of 8 wide, 1 layer, 2 heads."""
    header = (8, 12, 1, 2, 1, -classes if wcls else classes, 16)
    count = classes * 8 + 8 + 64 + 32 + 32 + 64 + 8 + 3 * 96 + 8 + 2 * 16 * 2
    count += classes * 8 if wcls else 0
    values = torch.randn(count, generator=torch.Generator().manual_seed(0)).tolist()
    path.write_bytes(struct.pack("<7i", *header) + struct.pack(f"<{count}f", *values))
    return path


@pytest.mark.parametrize("wcls", [False, True], ids=["shared classifier", "own classifier"])
def test_a_model_with_and_without_its_own_classifier_is_read(wcls: bool, tmp_path: Path) -> None:
    model = read_model(tiny_file(tmp_path / "model.bin", wcls=wcls))
    assert model.shape.tie_embeddings is not wcls
    assert (model.shape.n_kv_heads, model.shape.max_seq_len) == (1, 16)
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]]))).all()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: b"", "too few"),
        (lambda raw: raw[:-1], "bytes, but a model of its header has"),
        (lambda raw: raw + b"\0", "bytes, but a model of its header has"),
        (lambda raw: b"\xff" * 28 + raw[28:], "header"),
        (lambda raw: struct.pack("<7i", 8, 12, 1 << 30, 2, 1, 300, 16) + raw[28:], "header"),
        (lambda raw: struct.pack("<7i", 8, 12, 1, 3, 1, 300, 16) + raw[28:], "header"),
        (lambda raw: struct.pack("<Ii", 0x616B3432, 2) + raw[8:], "version 2"),
    ],
    ids=["empty", "short", "long", "ones", "layers", "heads", "version 2"],
)
def test_damaged_models_are_a_checkpoint_error(damage, message: str, tmp_path: Path) -> None:
    path = tiny_file(tmp_path / "model.bin")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match=message):
        read_model(path)


@needs_stories
@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[:-3],
        lambda raw: raw + b"x",
        lambda raw: raw[:8] + struct.pack("<i", 1 << 30) + raw[12:],
        lambda raw: raw[:8] + struct.pack("<i", -5) + raw[12:],
        lambda raw: raw.replace(b"<0x0B>", b"<0x0C>"),
    ],
    ids=["empty", "short", "long", "huge token", "negative token", "bytes"],
)
def test_damaged_tokenizers_are_a_checkpoint_error(damage, tmp_path: Path) -> None:
    path = tmp_path / "tok.bin"
    path.write_bytes(damage(TOKENS.read_bytes()))
    with pytest.raises(CheckpointError, match=r"not a llama2\.c tokenizer of 512 tokens"):
        read_tokenizer(path, 512)


@needs_stories
def test_a_tokenizer_of_another_size_is_refused() -> None:
    for size in (511, 513, 32_000):
        with pytest.raises(CheckpointError, match=f"of {size} tokens"):
            read_tokenizer(TOKENS, size)
