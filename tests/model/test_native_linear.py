from collections.abc import Sequence
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.model import linear
from lilllm.model.compiled import compiled
from lilllm.model.lora import Lora, add_lora
from lilllm.model.native_linear import (
    LEAST_ROWS,
    STEP,
    _forward,
    _input_gradient,
    _weight_gradients,
    is_faster,
    native_linear,
)
from lilllm.model.transformer import Block, Shape, Transformer

needs_kernel = pytest.mark.skipif(
    not is_faster(4096, 512, 512), reason="no C compiler, or a processor without AVX512-BF16"
)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers each call of the kernel computed; it takes layers of any size."""
    called: list[int] = []

    def noted(x: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
        called.append(len(weights))
        return native_linear(x, weights)

    monkeypatch.setattr(linear, "native_linear", noted)
    for least in ("LEAST_WORK", "LEAST_ROWS"):
        monkeypatch.setattr(f"lilllm.model.native_linear.{least}", 0)
    return called


def draw(rows: int, inputs: int, outputs: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(rows + inputs)
    x = torch.randn(rows, inputs).bfloat16().requires_grad_()
    return x, [torch.randn(n, inputs).div_(inputs**0.5).requires_grad_() for n in outputs]


def gradients(ys: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    torch.manual_seed(1)
    grads = [torch.randn(y.shape).bfloat16().to(y) for y in ys]
    return list(torch.autograd.grad(ys, inputs, grads))


@needs_kernel
@pytest.mark.parametrize("outputs", [[32], [96, 32, 32], [1376], [32] * 9])
@pytest.mark.parametrize("inputs", [32, 160])
@pytest.mark.parametrize("rows", [1, 7, 8, 129, 300, STEP - 1, STEP + 1, 2 * STEP + 5])
def test_products_and_gradients(rows: int, inputs: int, outputs: list[int]) -> None:
    x, weights = draw(rows, inputs, outputs)
    ys = native_linear(x, weights)
    ours = [*ys, *gradients(ys, [x, *weights])]
    # what is exact: the same products of the same numbers in bf16
    exact_x = x.detach().double().requires_grad_()
    exact_weights = [w.detach().bfloat16().double().requires_grad_() for w in weights]
    exact_ys = [exact_x @ w.T for w in exact_weights]
    exact = [*exact_ys, *gradients(exact_ys, [exact_x, *exact_weights])]
    for got, want in zip(ours, exact, strict=True):
        last_bit = 2**-8 if got.dtype == torch.bfloat16 else 1e-5
        error = (got.double() - want).abs()
        assert (error <= last_bit * want.abs() + 1e-5 * want.abs().max()).all()
    assert [each.dtype for each in ours[-len(outputs) :]] == [torch.float32] * len(outputs)


@needs_kernel
def test_torch_multiplies_in_the_same_threads() -> None:
    """With AMX both configure its registers for themselves."""
    x, weights = draw(300, 512, [96])
    left, right = x.detach()[:37], weights[0].detach().bfloat16()[:45]
    product = left @ right.T
    ours = native_linear(x, weights)
    for _ in range(3):
        assert torch.equal(left @ right.T, product)
        again = native_linear(x, weights)
        assert torch.equal(again[0], ours[0])
        gradients(again, [x, *weights])


@needs_kernel
def test_layers_of_the_transformer_use_it_in_bf16_alone(calls: list[int]) -> None:
    model, ids = Transformer(Shape(64, 64, 1, 2, 1, 96, 16), seed=0), torch.arange(16)[None]
    exact = model(ids)
    with torch.autocast("cpu", torch.float16):
        model(ids)
    assert not calls, "fp32 and fp16"
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(ids)
        assert calls == [3, 1, 2, 1, 1], "q k v, o, gate up, down, logits"
        assert F.cosine_similarity(logits.float().flatten(), exact.flatten(), dim=0) > 0.999
        add_lora(model, Lora(2, 4.0, 0.0, ("q_proj", "gate_proj")), seed=0)
        calls.clear()
        model(ids).float().logsumexp(-1).sum().backward()
    assert calls == [1, 1, 1, 1, 1, 1], "k, v, o, up, down, logits; 2 columns are too few"
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {
        f"model.layers.0.{layer}_proj.lora_{side}.weight"
        for layer in ("self_attn.q", "mlp.gate")
        for side in "AB"
    }


@needs_kernel
@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_and_recomputed_layers_give_the_same_bits(
    calls: list[int], recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def losses_and_gradients(compile_layers: bool) -> list[Tensor]:
        model = Transformer(Shape(64, 64, 2, 2, 1, 96, 64), seed=0)
        model.recompute = recompute
        if compile_layers:
            quick = partial(torch.compile, backend="aot_eager", fullgraph=True)
            monkeypatch.setattr(torch, "compile", quick)
            monkeypatch.setattr(Block, "layer", compiled.__wrapped__(Block.layer))
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(torch.arange(128).view(2, 64) % 64).float().logsumexp(-1).sum()
        loss.backward()
        return [loss.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]

    as_it_is, in_graphs = losses_and_gradients(False), losses_and_gradients(True)
    assert calls
    assert all(torch.equal(a, b) for a, b in zip(as_it_is, in_graphs, strict=True))


@needs_kernel
def test_a_bias_and_an_input_that_lies_with_gaps(calls: list[int]) -> None:
    torch.manual_seed(0)
    layer = linear.Linear(64, 96)
    x = torch.randn(700, 128)[:, ::2].bfloat16().requires_grad_()
    inputs = [x, layer.weight, layer.bias]
    with torch.autocast("cpu", torch.bfloat16):
        ours = layer(x)
        theirs = F.linear(x, layer.weight, layer.bias)
    assert calls == [1]
    assert (ours - theirs).abs().max() <= 2**-6, "rounded twice, before and after the bias"
    for got, want in zip(gradients([ours], inputs), gradients([theirs], inputs), strict=True):
        assert got.dtype == want.dtype
        assert (got - want).float().norm() <= 0.01 * want.float().norm()


@needs_kernel
def test_nothing_is_kept_where_nothing_will_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(
        "lilllm.model.native_linear._forward",
        lambda *arguments: kept.append(arguments[2:]) or _forward(*arguments),
    )
    x, weights = draw(300, 64, [96])
    with torch.no_grad():
        native_linear(x, weights)
    native_linear(x, [weight.detach() for weight in weights])
    native_linear(x.detach(), weights)
    assert kept == [(False, False), (True, False), (False, True)]


def test_sizes_that_the_units_do_not_take_go_to_torch() -> None:
    assert not is_faster(4096, 512, 500)
    assert not is_faster(4096, 500, 512)
    assert not is_faster(512, 64, 64), "too little work"
    assert not is_faster(LEAST_ROWS - 1, 4096, 4096), "the weights are the work"


def test_without_autocast_it_is_torchs_layer(calls: list[int]) -> None:
    layers = linear.Linear(64, 96), linear.Linear(64, 32), torch.nn.Linear(64, 5)
    x = torch.randn(300, 64)
    for got, layer in zip(linear.together(x, *layers), layers, strict=True):
        assert torch.equal(got, F.linear(x, layer.weight, layer.bias))
    assert not calls


@needs_kernel
def test_results_are_the_same_bits_with_any_number_of_threads() -> None:
    x, weights = draw(STEP + 100, 96, [160, 32])
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 40):
            torch.set_num_threads(threads)
            ys = native_linear(x, weights)
            found.append([*ys, *gradients(ys, [x, *weights])])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@needs_kernel
def test_what_is_no_number_stays_where_it_was() -> None:
    x, weights = draw(100, 32, [64])
    broken = x.detach().clone()
    broken[50, 3] = torch.nan
    (y,) = native_linear(broken, weights)
    assert y[50].isnan().all()
    assert y.isnan().sum() == 64


@needs_kernel
def test_torch_finds_the_operators_well_made() -> None:
    x, weights = draw(33, 64, [96, 32])
    x, weights = x.detach(), [weight.detach() for weight in weights]
    for keep in (False, True):
        torch.library.opcheck(_forward, (x, weights, keep, keep))
    *ys, outputs, rows = _forward(x, weights, True, True)
    torch.library.opcheck(_input_gradient, (ys, outputs))
    torch.library.opcheck(_weight_gradients, (ys, rows))
