import torch

from lilllm.data.batches import IGNORE
from lilllm.model.transformer import Shape, Transformer
from lilllm.training.objectives.answers import answer_loss
from lilllm.training.objectives.next_token import next_token_loss
from lilllm.training.objectives.preferences import dpo_loss

SHAPE = Shape(64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=48, max_seq_len=16)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 64, (3, 16), generator=generator)
    targets = ids.roll(-1, dims=1)
    targets[:, ::3] = IGNORE
    targets[2] = IGNORE
    return ids, targets, (torch.arange(16) // 5).expand(3, 16)


def test_loss_on_answers_alone_is_next_token_loss_with_masked_targets() -> None:
    model = Transformer(SHAPE, seed=1)
    few, all_ = answer_loss()(model, *batch()), next_token_loss(model, *batch())
    torch.testing.assert_close(few.total, all_.total)
    assert few.units == all_.units == (batch()[1] != IGNORE).sum()


def test_label_smoothing_is_torchs_and_for_training_alone() -> None:
    model = Transformer(SHAPE, seed=1)
    ids, targets, segments = batch()
    logits = model(ids, segments).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(
        logits, targets.flatten(), reduction="sum", label_smoothing=0.2
    )
    torch.testing.assert_close(answer_loss(0.2)(model, *batch()).total, expected)
    model.eval()
    assert answer_loss(0.2)(model, *batch()).total == answer_loss()(model, *batch()).total


def pairs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ids, targets, _ = batch()
    targets[2] = targets[0]
    both = [torch.stack((ids[[0, 1]], ids[[2, 0]]), dim=1)]
    both += [torch.stack((targets[[0, 1]], targets[[2, 0]]), dim=1)]
    return (*both, torch.tensor([[-40.0, -41.0], [-39.0, -45.0]]))


def test_dpo_is_its_equation_with_smoothing_and_likelihood() -> None:
    model = Transformer(SHAPE, seed=1)
    ids, targets, reference = pairs()
    logits = model(ids.flatten(0, 1)).flatten(0, 1)
    losses = torch.nn.functional.cross_entropy(
        logits, targets.flatten(), ignore_index=IGNORE, reduction="none"
    )
    said = -losses.view(2, 2, -1).sum(-1)  # log-probabilities [pairs, sides]
    better, worse = (0.3 * (said - reference)).unbind(1)
    right, wrong = torch.sigmoid(better - worse).log(), torch.sigmoid(worse - better).log()
    tokens = (targets[:, 0] != IGNORE).sum(-1)
    expected = -(0.9 * right + 0.1 * wrong) - 2 * said[:, 0] / tokens
    found = dpo_loss(0.3, label_smoothing=0.1, likelihood_weight=2)(model, ids, targets, reference)
    torch.testing.assert_close(found.total, expected.sum())
    plain = dpo_loss(0.3)(model, ids, targets, reference)
    torch.testing.assert_close(plain.total, -right.sum())
    assert plain.units == 2
    assert plain.measures["reward_accuracy"] == (better > worse).sum()


def test_dpo_with_a_reward_of_length_leaves_the_rest_to_the_model() -> None:
    model = Transformer(SHAPE, seed=1)
    ids, targets, reference = pairs()
    targets[0, 0, -3:] = IGNORE  # the better answer of one pair is shorter, by two tokens
    targets[0, 1, -1] = IGNORE
    plain, long = (dpo_loss(0.3, length_weight=w)(model, ids, targets, reference) for w in (0, 5))
    shorter = (targets[:, 1] != IGNORE).sum(-1) - (targets[:, 0] != IGNORE).sum(-1)
    gain = plain.measures["reward_margin"] - long.measures["reward_margin"]
    torch.testing.assert_close(gain, 5.0 * shorter.sum())
    assert long.measures["reward_accuracy"] <= plain.measures["reward_accuracy"]
