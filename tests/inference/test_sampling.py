"""Sampling functions against transformers' own, and the distribution that is drawn."""

import pytest
import torch
from transformers import LogitsProcessorList
from transformers.generation import logits_process as theirs

from lilllm.config.schema import GenerateConfig
from lilllm.inference.sampling import (
    History,
    Sampler,
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_tokens,
    penalize_counts,
    penalize_repetition,
    pick,
    sample_generator,
)

torch.set_num_threads(1)

LOGITS = 3 * torch.randn(6, 50, generator=torch.Generator().manual_seed(1))
IDS = torch.randint(0, 50, (6, 9), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("k", [1, 2, 7, 49, 50])
def test_top_k_equals_transformers(k: int) -> None:
    tied = LOGITS.round()  # tokens as likely as the last one stay
    for logits in (LOGITS, tied):
        assert torch.equal(keep_top_k(logits, k), theirs.TopKLogitsWarper(k)(IDS, logits))


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.9, 0.999])
def test_top_p_equals_transformers(p: float) -> None:
    assert torch.equal(keep_top_p(LOGITS, p), theirs.TopPLogitsWarper(p)(IDS, LOGITS))


def test_neutral_options_change_nothing() -> None:
    seen = torch.ones(6, 50, dtype=torch.bool)
    assert keep_top_k(LOGITS, 0) is LOGITS and keep_top_k(LOGITS, 51) is LOGITS
    assert keep_top_p(LOGITS, 1.0) is LOGITS
    assert penalize_repetition(LOGITS, seen, 1.0) is LOGITS


@pytest.mark.parametrize("penalty", [0.7, 1.3])
def test_repetition_penalty_equals_transformers(penalty: float) -> None:
    seen = torch.zeros(6, 50, dtype=torch.bool).scatter(1, IDS, True)
    wanted = theirs.RepetitionPenaltyLogitsProcessor(penalty)(IDS, LOGITS.clone())
    torch.testing.assert_close(penalize_repetition(LOGITS, seen, penalty), wanted)


@pytest.mark.parametrize("p", [0.01, 0.2, 1.0])
def test_min_p_equals_transformers(p: float) -> None:
    assert torch.equal(keep_min_p(LOGITS, p), theirs.MinPLogitsWarper(p)(IDS, LOGITS))
    assert keep_min_p(LOGITS, 0) is LOGITS


def test_presence_counts_once_and_frequency_each_time() -> None:
    counts = torch.tensor([[0.0, 1.0, 3.0]])
    logits = torch.tensor([[1.0, 1.0, 1.0]])
    wanted = torch.tensor([[1.0, 1 - 0.5 - 0.1, 1 - 0.5 - 0.3]])
    torch.testing.assert_close(penalize_counts(logits, counts, 0.5, 0.1), wanted)
    assert penalize_counts(logits, counts, 0, 0) is logits


def test_penalties_of_the_api_leave_the_prompt_alone() -> None:
    history = History([0, 0], 3, torch.device("cpu"))
    history.add(torch.tensor([1]))
    logits = torch.tensor([[3.0, 4.0, 2.5]])
    chosen = {
        name: next_tokens(
            logits, Sampler.of(GenerateConfig(temperature=0, **{name: 2.0})), [history], []
        )
        for name in ("presence_penalty", "frequency_penalty", "repetition_penalty")
    }
    assert chosen == {"presence_penalty": 0, "frequency_penalty": 0, "repetition_penalty": 2}


def test_all_together_keep_the_tokens_that_transformers_keeps() -> None:
    warpers = LogitsProcessorList(
        [
            theirs.TemperatureLogitsWarper(0.7),
            theirs.TopKLogitsWarper(9),
            theirs.TopPLogitsWarper(0.8),
        ]
    )
    ours = keep_top_p(keep_top_k(apply_temperature(LOGITS, 0.7), 9), 0.8)
    torch.testing.assert_close(ours, warpers(IDS, LOGITS))


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    logits = torch.tensor([[0.0, -torch.inf, 1.0, 2.0, -torch.inf]])
    draws = 20_000
    uniforms = (torch.arange(draws) + 0.5) / draws
    tokens = pick(logits.expand(draws, -1), uniforms)
    shares = torch.bincount(tokens, minlength=5) / draws
    torch.testing.assert_close(shares, logits.softmax(-1)[0], atol=1e-3, rtol=0)
    assert shares[1] == 0 and shares[4] == 0


def test_a_draw_at_either_end_is_a_token_that_may_be_taken() -> None:
    logits = torch.tensor([[-torch.inf, 0.1, 0.2, 0.3, -torch.inf]])
    just_below_one = torch.tensor([1.0 - 2**-24])
    assert pick(logits, torch.zeros(1)).item() == 1
    assert pick(logits, just_below_one).item() == 3
    assert pick(logits, torch.ones(1)).item() == 3  # where rounding made a draw of 1


def test_greedy_takes_the_most_likely_token_whatever_the_draw() -> None:
    sampler = Sampler.of(GenerateConfig(temperature=0, top_k=3, top_p=0.1))
    generators = [sample_generator(0, row) for row in range(6)]
    assert torch.equal(next_tokens(LOGITS, sampler, [], generators), LOGITS.argmax(-1))


def test_a_temperature_near_zero_takes_the_most_likely_token() -> None:
    sampler = Sampler.of(GenerateConfig(temperature=1e-39, top_p=1))
    generators = [sample_generator(0, row) for row in range(6)]
    assert torch.equal(next_tokens(LOGITS, sampler, [], generators), LOGITS.argmax(-1))


def test_random_numbers_are_the_same_on_every_machine() -> None:
    generator = sample_generator(7, 1)
    drawn = [generator.random(), generator.random()]
    assert drawn == pytest.approx([0.8371494973577841, 0.23390334179460748], abs=1e-15)
    assert sample_generator(7, 2).random() != drawn[0]
