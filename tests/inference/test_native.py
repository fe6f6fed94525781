"""The compiled step against torch's, alone and in batches, for every form of weights."""

import pytest
import torch
from torch import Tensor

from lilllm.inference.decoder import NATIVE_TEXTS, Decoder, Piece
from lilllm.inference.graphs import GraphedStep
from lilllm.inference.weights import Projection, Weights
from lilllm.kernels import load
from lilllm.model import Shape, Transformer

torch.set_num_threads(1)

SIZES = {"vocab_size": 211, "d_model": 64, "n_layers": 3, "n_heads": 4, "d_ff": 96}
SHAPES = {
    "plain": Shape(**SIZES, n_kv_heads=2, max_seq_len=128),
    "all options": Shape(
        **{**SIZES, "d_ff": 100},
        n_kv_heads=1,
        max_seq_len=128,
        qk_norm=True,
        tie_embeddings=False,
        attention_bias=True,
        activation="relu2",
        logit_softcap=5.0,
    ),
    "three heads of 32": Shape(
        **{**SIZES, "d_model": 96, "n_heads": 3}, n_kv_heads=1, max_seq_len=128
    ),
    "three heads of 64": Shape(
        **{**SIZES, "d_model": 192, "n_heads": 3}, n_kv_heads=1, max_seq_len=128
    ),
    "heads of 48": Shape(**{**SIZES, "d_model": 96, "n_heads": 2}, n_kv_heads=1, max_seq_len=128),
}
TEXTS = NATIVE_TEXTS
MANY = TEXTS + 3
"""Texts whose products are torch's."""
needs_compiler = pytest.mark.skipif(load("decode") is None, reason="no C compiler")


def weights(shape: Shape, dtype: torch.dtype = torch.float32, bits: int | None = None) -> Weights:
    model = Transformer(shape, seed=1)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(20)
    return Weights(model.to(dtype), bits)


@torch.inference_mode()
def decoded(decoder: Decoder, texts: list[int]) -> Tensor:
    """Logits [steps, texts, V] of some texts of unequal length."""
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 211, (MANY, 44), generator=draw)
    cache = decoder.new_cache()
    cache.reserve(len(texts), 64)
    ids = ids.to(decoder.device)
    lengths = [5 + 3 * text for text in texts]
    for slot, (text, length) in enumerate(zip(texts, lengths, strict=True)):
        decoder.prefill([Piece(ids[text, :length].tolist(), slot, 0)], cache)
    steps = []
    for step in range(4):
        at = [length + step for length in lengths]
        steps.append(decoder.decode(ids[texts, at], range(len(texts)), at, cache))
    return torch.stack(steps)


@needs_compiler
@pytest.mark.parametrize("count", [TEXTS, MANY])
@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_logits_are_those_of_torch(shape: Shape, bits: int | None, count: int) -> None:
    exact = decoded(Decoder(weights(shape, torch.float32, bits), native=False), [*range(count)])
    found = decoded(Decoder(weights(shape, torch.float32, bits)), [*range(count)])
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)


@needs_compiler
@pytest.mark.parametrize("count", [TEXTS, MANY])
@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_bf16_rounds_no_more_than_torch_does(shape: Shape, bits: int | None, count: int) -> None:
    laid_out = weights(shape, torch.bfloat16, bits)
    exact = decoded(Decoder(weights(shape, bits=bits), native=False), [*range(count)])
    fast, plain = Decoder(laid_out), Decoder(laid_out, native=False)
    assert fast.native is not None and plain.native is None
    errors = [(decoded(each, [*range(count)]) - exact).abs() for each in (fast, plain)]
    assert errors[0].mean() <= 1.1 * errors[1].mean()
    assert errors[0].max() <= 1.5 * errors[1].max()


@needs_compiler
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_many_texts_have_the_logits_that_each_has_alone(shape: Shape) -> None:
    decoder = Decoder(weights(shape))
    together = decoded(decoder, [*range(MANY)])
    for text in range(MANY):
        alone = decoded(decoder, [text])[:, 0]
        torch.testing.assert_close(together[:, text], alone, rtol=0, atol=1e-4)


@needs_compiler
def test_many_texts_have_the_same_logits_with_one_thread_and_two() -> None:
    decoder = Decoder(weights(SHAPES["three heads of 32"]))
    one = decoded(decoder, [*range(MANY)])
    torch.set_num_threads(2)
    try:
        torch.testing.assert_close(decoded(decoder, [*range(MANY)]), one, rtol=0, atol=1e-5)
    finally:
        torch.set_num_threads(1)


@needs_compiler
@torch.inference_mode()
def test_matrices_packed_for_a_batch_give_the_same_logits() -> None:
    laid_out = weights(SHAPES["all options"], torch.bfloat16)
    laid_out.pack(TEXTS + 1)
    if laid_out.head.packed is None:
        pytest.skip("no packed products of bf16 on this processor")
    x = torch.randn(TEXTS + 1, SIZES["d_model"], dtype=torch.bfloat16)
    for part in (laid_out.head, laid_out.layers[0].qkv):  # without a bias and with one
        plain = Projection(part.weight, part.bias)
        torch.testing.assert_close(part(x), plain(x))


@needs_compiler
@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_have_the_same_bits_alone_and_in_a_batch(
    dtype: torch.dtype, bits: int | None
) -> None:
    decoder = Decoder(weights(SHAPES["plain"], dtype, bits))
    batch = decoded(decoder, [*range(TEXTS)])
    for text in range(TEXTS):
        assert torch.equal(decoded(decoder, [text])[:, 0], batch[:, text])


@needs_compiler
def test_logits_have_the_same_bits_with_one_thread_and_two() -> None:
    decoder = Decoder(weights(SHAPES["plain"], torch.bfloat16, 4))
    one = decoded(decoder, [0, 1, 2])
    torch.set_num_threads(2)
    try:
        assert torch.equal(decoded(decoder, [0, 1, 2]), one)
    finally:
        torch.set_num_threads(1)


def test_widths_that_are_no_multiples_are_left_to_torch() -> None:
    odd = Shape(**{**SIZES, "n_heads": 8}, n_kv_heads=2, max_seq_len=128)  # heads of 8
    assert Decoder(weights(odd)).native is None


def test_without_a_compiler_torch_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LILLLM_NATIVE", "0"), ("CC", "no-such-compiler")):
        load.cache_clear()
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            patch.setenv("XDG_CACHE_HOME", "/nonexistent")
            assert Decoder(weights(SHAPES["plain"])).native is None
    load.cache_clear()


@pytest.mark.parametrize("count", [1, 3, 5])
def test_a_batch_filled_up_to_a_captured_size_gives_the_same(count: int) -> None:
    plain = Decoder(weights(SHAPES["all options"]), native=False)
    filled = Decoder(plain.weights, native=False)
    filled.graphs = GraphedStep(filled._torch_step, capture=False)
    found, wanted = (decoded(decoder, [*range(count)]) for decoder in (filled, plain))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_graphs_give_what_the_step_gives() -> None:
    model = Transformer(SHAPES["plain"], seed=1).cuda()
    graphed, plain = Decoder(Weights(model)), Decoder(Weights(model))
    plain.graphs = None
    for texts in ([0], [0, 1, 2]):
        torch.testing.assert_close(decoded(graphed, texts), decoded(plain, texts))
