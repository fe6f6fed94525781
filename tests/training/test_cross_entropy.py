from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Shape, Transformer
from lilllm.training.objectives import cross_entropy
from lilllm.training.objectives.cross_entropy import summed_cross_entropy
from lilllm.training.objectives.next_token import next_token_loss

SHAPE = Shape(96, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, max_seq_len=24)


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(96, (3, 24), generator=generator)
    targets = torch.randint(96, (3, 24), generator=generator)
    targets[0, :7] = IGNORE
    targets[2] = IGNORE
    return ids, targets


def plain(model: Transformer, ids: Tensor, targets: Tensor) -> Tensor:
    logits = model(ids).flatten(0, 1).float()
    return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE, reduction="sum")


@pytest.mark.parametrize(
    "shape",
    [SHAPE, replace(SHAPE, tie_embeddings=False), replace(SHAPE, logit_softcap=3.0)],
    ids=["tied", "untied", "softcap"],
)
def test_the_loss_in_chunks_and_its_gradients_equal_the_plain_ones(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "CHUNK_SCORES", 96 * 10)  # 72 positions: a ragged end too
    model = Transformer(shape, seed=0)
    ids, targets = batch()
    weights = list(model.parameters())
    losses = plain(model, ids, targets), next_token_loss(model, ids, targets, None).total
    want, got = (torch.autograd.grad(loss * 0.5, weights) for loss in losses)
    torch.testing.assert_close(losses[1], losses[0])
    for ours, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(next_token_loss(model, ids, targets, None).total, losses[0])


def test_a_frozen_output_matrix_gets_no_gradient() -> None:
    model = Transformer(replace(SHAPE, tie_embeddings=False), seed=0)
    model.output_weight.requires_grad_(False)
    next_token_loss(model, *batch(), None).total.backward()
    assert model.output_weight.grad is None
    assert model.model.norm.weight.grad is not None


def test_a_batch_without_targets_has_no_loss_and_no_gradient() -> None:
    model = Transformer(SHAPE, seed=0)
    ids, targets = batch()
    loss = summed_cross_entropy(model, model.hidden(ids), torch.full_like(targets, IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert all(not weight.grad.any() for weight in model.parameters() if weight.grad is not None)


def test_compiled_pieces_give_the_same_losses_and_gradients() -> None:
    ids, targets = batch()
    segments = torch.arange(24).expand(3, 24) // 10
    results = []
    for pieces in (False, True):
        model = Transformer(SHAPE, seed=0).train()
        if pieces:
            model.compile_pieces()
        loss = next_token_loss(model, ids, targets, segments).total
        results.append((loss, *torch.autograd.grad(loss, list(model.parameters()))))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
