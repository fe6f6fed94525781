"""The objectives of distillation and GRPO against what they stand for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.data.batches import IGNORE
from lilllm.model import Shape, Transformer
from lilllm.training.objectives.answers import token_logprobs
from lilllm.training.objectives.distill import coarse_kl, distill_loss, top_logprobs
from lilllm.training.objectives.grpo import group_advantages, grpo_loss
from lilllm.training.objectives.next_token import next_token_loss

torch.set_num_threads(1)
V = 40


def model(seed: int, width: int = 16) -> Transformer:
    made = Transformer(Shape(V, width, 1, 2, 1, 24, 16), seed=seed)
    with torch.no_grad():
        made.model.embed_tokens.weight.mul_(20)
    return made


def batch() -> tuple[Tensor, Tensor]:
    ids = torch.randint(V, (3, 12), generator=torch.Generator().manual_seed(1))
    targets = ids.roll(-1, 1)
    targets[:, :4] = IGNORE
    return ids, targets


def gradient(made: Transformer) -> Tensor:
    return torch.cat([p.grad.flatten() for p in made.parameters() if p.grad is not None])


def test_kl_of_all_tokens_is_torchs() -> None:
    one, other = torch.randn(2, 5, V, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    expected = F.kl_div(other, one, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(coarse_kl(one, other), expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("k", [1, 5, 39])
def test_kl_of_the_top_k_is_between_zero_and_the_whole(k: int) -> None:
    one, other = torch.randn(2, 5, V, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    top = one.topk(k, dim=-1)
    coarse = coarse_kl(top.values, other.gather(-1, top.indices))
    whole = F.kl_div(other, one, reduction="none", log_target=True).sum(-1)
    assert ((coarse > 0) & (coarse < whole + 2e-5)).all()


def test_a_student_equal_to_its_teacher_has_nothing_to_learn() -> None:
    student, (ids, targets) = model(0), batch()
    top = top_logprobs(student, ids, None, 8, 2.0)
    loss = distill_loss(1.0, 2.0)(student, ids, targets, None, *top)
    loss.total.backward()
    assert loss.measures["kl"].item() == pytest.approx(0, abs=1e-4)
    assert gradient(student).abs().max() < 1e-3


def test_without_the_teachers_weight_it_is_next_token_prediction() -> None:
    student, (ids, targets) = model(0), batch()
    top = top_logprobs(model(1, 32), ids, None, 8, 1.0)
    loss = distill_loss(0.0, 1.0)(student, ids, targets, None, *top)
    expected = next_token_loss(student, ids, targets, None)
    torch.testing.assert_close(loss.total, expected.total)
    assert loss.units == expected.units and loss.measures["kl"] > 0


def test_advantages_are_relative_to_the_group() -> None:
    rewards = np.array([0, 1, 1, 0, 5, 5, 5, 5], np.float32)
    divided = group_advantages(rewards, 4, True)
    np.testing.assert_allclose(divided, [-1, 1, 1, -1, 0, 0, 0, 0], atol=1e-3)
    plain = group_advantages(rewards, 4, False)
    np.testing.assert_allclose(plain, [-0.5, 0.5, 0.5, -0.5, 0, 0, 0, 0])


def test_the_gradient_is_the_policys() -> None:
    policy, (ids, targets) = model(0), batch()
    reference = token_logprobs(policy, ids, targets).detach()
    advantages = torch.tensor([1.0, -2.0, 0.5])
    rest = (advantages, torch.zeros(3), torch.zeros(3))
    loss = grpo_loss(0.3, 10)(policy.train(), ids, targets, reference, *rest)
    loss.total.backward()  # at the reference, the gradient of k3 is zero
    found = gradient(policy)
    policy.zero_grad()
    logprobs = token_logprobs(policy, ids, targets)
    (-(logprobs * advantages[:, None]).sum() / 10).backward()
    torch.testing.assert_close(found, gradient(policy))
    assert loss.units == 3 and loss.measures["kl_per_token"].item() == pytest.approx(0, abs=1e-6)


def test_k3_estimates_the_divergence() -> None:
    policy, reference = (torch.randn(V, generator=torch.Generator().manual_seed(s)) for s in (1, 2))
    p, r = policy.log_softmax(0), reference.log_softmax(0)
    ratio = r - p
    expected = F.kl_div(r, p, reduction="sum", log_target=True)  # KL(policy || reference)
    torch.testing.assert_close((p.exp() * (ratio.exp() - 1 - ratio)).sum(), expected)


def test_token_logprobs_are_minus_the_cross_entropy() -> None:
    policy, (ids, targets) = model(0), batch()
    found = token_logprobs(policy, ids, targets)
    expected = F.cross_entropy(policy(ids, None).mT, targets, ignore_index=IGNORE, reduction="none")
    torch.testing.assert_close(found, -expected)
