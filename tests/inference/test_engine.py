"""The engine against the uncached model, against transformers, and against itself in a batch."""

from pathlib import Path

import pytest
import torch
import transformers

from lilllm.config.schema import GenerateConfig
from lilllm.errors import ConfigError
from lilllm.inference import Engine, Request
from lilllm.inference.decoder import Piece
from lilllm.model import Shape, Transformer, save_model

torch.set_num_threads(1)

SIZES = {"vocab_size": 211, "d_model": 32, "n_layers": 2, "n_heads": 4, "d_ff": 48}
PLAIN = Shape(**SIZES, n_kv_heads=2, max_seq_len=320)
QK_NORM = Shape(**SIZES, n_kv_heads=2, max_seq_len=320, qk_norm=True, tie_embeddings=False)
PROMPT = [0, 5, 17, 200]
GREEDY = GenerateConfig(max_new_tokens=256, temperature=0)
SAMPLED = GenerateConfig(max_new_tokens=40, temperature=1.5, top_k=50, top_p=0.9)


def random_model(shape: Shape, seed: int = 3) -> Transformer:
    model = Transformer(shape, seed=seed)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(20)  # logits far apart: no ties between tokens
    return model


class Letters:
    """Token 3 is "d", token 29 is "D"."""

    def push(self, token_id: int) -> str:
        return chr(ord("a") + token_id % 26)

    def finish(self) -> str:
        return ""


@torch.no_grad()
def test_greedy_tokens_are_those_of_the_uncached_model() -> None:
    model = random_model(PLAIN)
    ids = list(PROMPT)
    for _ in range(60):
        ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    options = GREEDY.model_copy(update={"max_new_tokens": 60})
    assert Engine(model).generate(PROMPT, options).samples[0].ids == ids[len(PROMPT) :]


@pytest.mark.parametrize("shape", [PLAIN, QK_NORM], ids=["plain", "qk_norm"])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_256_greedy_tokens_equal_those_of_transformers(
    shape: Shape, penalty: float, tmp_path: Path
) -> None:
    model = random_model(shape)
    save_model(tmp_path, model, bos_id=0, eos_ids=[0], pad_id=1, generation={})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    wanted = theirs.generate(
        torch.tensor([PROMPT]),
        do_sample=False,
        min_new_tokens=256,
        max_new_tokens=256,
        repetition_penalty=penalty,
        eos_token_id=None,
    )[0, len(PROMPT) :]
    options = GREEDY.model_copy(update={"repetition_penalty": penalty})
    assert Engine(model).generate(PROMPT, options).samples[0].ids == wanted.tolist()


def test_a_sample_is_the_same_alone_and_in_any_batch() -> None:
    model = random_model(PLAIN)
    free = Engine(model).generate(PROMPT, SAMPLED, n=7, seed=5).samples
    later = [token for sample in free for token in sample.ids[15:]]
    stop = next(token for token in later if token not in free[0].ids[:15])
    engine = Engine(model, stop_ids={stop})
    for penalty in (1.0, 1.2):
        options = SAMPLED.model_copy(update={"repetition_penalty": penalty})
        alone = engine.generate(PROMPT, options, seed=5).samples
        two = engine.generate(PROMPT, options, n=2, seed=5).samples
        many = engine.generate(PROMPT, options, n=7, seed=5).samples
        assert alone == many[:1] and two == many[:2]
        if penalty == 1:  # rows did leave the batch early
            assert len({len(sample.ids) for sample in many}) > 1


def test_equal_seeds_give_equal_samples_and_others_do_not() -> None:
    engine = Engine(random_model(PLAIN))
    first, again, other = (engine.generate(PROMPT, SAMPLED, n=3, seed=s) for s in (1, 1, 2))
    assert first.samples == again.samples
    ids = [tuple(sample.ids) for sample in first.samples + other.samples]
    assert len(set(ids)) == 6


def test_a_stop_token_ends_the_text_and_is_not_part_of_it() -> None:
    model = random_model(PLAIN)
    free = Engine(model).generate(PROMPT, GREEDY).samples[0]
    stop = free.ids[20]
    sample = Engine(model, stop_ids={stop}).generate(PROMPT, GREEDY).samples[0]
    assert sample.ids == free.ids[: free.ids.index(stop)]
    assert sample.finish_reason == "stop" and free.finish_reason == "length"


def test_a_stop_string_across_tokens_ends_the_text_before_it() -> None:
    model = random_model(PLAIN)
    free = Engine(model, new_decoder=Letters).generate(PROMPT, GREEDY).samples[0]
    stop = free.text[30:34]
    heard: list[str] = []
    sample = (
        Engine(model, new_decoder=Letters)
        .generate(
            PROMPT,
            GREEDY.model_copy(update={"stop": ("never", stop)}),
            on_text=lambda index, text: heard.append(text),
        )
        .samples[0]
    )
    end = free.text.index(stop)
    assert sample.text == free.text[:end] == "".join(heard)
    assert len(sample.ids) == end + 4
    assert sample.finish_reason == "stop"


def test_text_is_streamed_while_it_is_generated() -> None:
    heard: list[tuple[int, str]] = []
    result = Engine(random_model(PLAIN), new_decoder=Letters).generate(
        PROMPT, SAMPLED, n=2, on_text=lambda index, text: heard.append((index, text))
    )
    assert [index for index, _ in heard[:4]] == [0, 1, 0, 1]
    for number, sample in enumerate(result.samples):
        assert "".join(text for index, text in heard if index == number) == sample.text
    assert result.prompt_tokens == 4 and result.decode_tokens == 2 * 39
    assert result.first_token_s > 0 and result.decode_s > 0


def test_generation_ends_where_the_context_ends() -> None:
    model = random_model(PLAIN)
    engine = Engine(model)
    options = GREEDY.model_copy(update={"max_new_tokens": 10_000})
    sample = engine.generate([0] * 310, options).samples[0]
    assert len(sample.ids) == 11 and sample.finish_reason == "length"
    assert len(engine.generate([0] * 320, options).samples[0].ids) == 1
    with pytest.raises(ConfigError, match="321 tokens, the model's context is 320"):
        engine.generate([0] * 321, options)


def test_the_cache_grows_with_the_texts_and_not_with_what_they_may_become(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_model(PLAIN)
    prompts = [PROMPT, PROMPT[:2]]
    wanted = Engine(model).generate(prompts, GREEDY)
    monkeypatch.setattr("lilllm.inference.engine.ROOM_AT_ONCE", 8)
    made = Engine(model).generate(prompts, GREEDY)
    assert [sample.ids for sample in made.samples] == [sample.ids for sample in wanted.samples]
    engine, room = Engine(model), []
    engine.submit(Request(PROMPT, GREEDY))
    while engine.busy:
        engine.step()
        room.append(engine.cache.positions)
    assert sorted(set(room)) == [64, 128, 256, 320]
    some = GREEDY.model_copy(update={"max_new_tokens": 70})
    engine = Engine(model)
    assert len(engine.generate(PROMPT, some).samples[0].ids) == 70
    assert engine.cache.positions == 128, "no more than the text may need"


def test_misuse_is_a_value_error() -> None:
    engine = Engine(random_model(PLAIN))
    for prompt, options, n in (
        ([], GREEDY, 1),
        ([0], GREEDY, 0),
        ([211], GREEDY, 1),
        ([0], GREEDY.model_copy(update={"stop": ("x",)}), 1),
    ):
        with pytest.raises(ValueError):
            engine.generate(prompt, options, n=n)


def test_a_model_in_training_is_sampled_without_dropout_and_stays_in_training() -> None:
    shape = Shape(**SIZES, n_kv_heads=2, max_seq_len=320, dropout=0.5)
    model = random_model(shape)
    assert model.training
    first, second = (Engine(model).generate(PROMPT, SAMPLED, seed=1).samples for _ in range(2))
    assert first == second and model.training


def test_a_small_model_decodes_with_one_thread_and_gives_the_others_back() -> None:
    heard: list[int] = []

    class Listening(Letters):
        def push(self, token_id: int) -> str:
            heard.append(torch.get_num_threads())
            return super().push(token_id)

    torch.set_num_threads(2)
    try:
        Engine(random_model(PLAIN), new_decoder=Listening).generate(PROMPT, SAMPLED)
        assert set(heard) == {1} and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


RAGGED = [PROMPT, [0], [0, *range(1, 60)], [0, 5, 17, 200, 9, 9, 9], [0, *range(1, 60), 3, 4]]


def drain(engine: Engine, found: dict[int, list[int]], steps: int | None = None) -> None:
    while engine.busy and steps != 0:
        for delta in engine.step():
            found.setdefault(delta.request, []).extend(delta.token_ids)
        steps = None if steps is None else steps - 1


@pytest.mark.parametrize("options", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
@pytest.mark.parametrize("shape", [PLAIN, QK_NORM], ids=["plain", "qk_norm"])
def test_every_request_of_a_ragged_batch_gets_what_it_gets_alone(
    shape: Shape, options: GenerateConfig
) -> None:
    model = random_model(shape)
    options = options.model_copy(update={"max_new_tokens": 50})
    batch = Engine(model).generate(RAGGED, options, n=2, seed=4).samples
    alone = [Engine(model).generate(ids, options, n=2, seed=4).samples for ids in RAGGED]
    assert batch == [sample for samples in alone for sample in samples]


def test_a_request_that_joins_late_gets_what_it_gets_alone() -> None:
    model = random_model(PLAIN)
    engine = Engine(model, max_streams=3, prefill_chunk=7)
    found: dict[int, list[int]] = {}
    numbers = []
    for prompt, options in zip(RAGGED, [GREEDY, SAMPLED] * 3, strict=False):
        numbers.append(engine.submit(Request(prompt, options, seed=len(numbers))))
        drain(engine, found, steps=9)
    drain(engine, found)
    for number, prompt, options in zip(numbers, RAGGED, [GREEDY, SAMPLED] * 3, strict=False):
        alone = Engine(model).generate(prompt, options, seed=number).samples[0]
        assert found[number] == alone.ids


def test_a_conversation_goes_on_in_its_slot() -> None:
    model = random_model(PLAIN)
    engine = Engine(model, max_streams=2)
    first = engine.generate(PROMPT, SAMPLED).samples[0].ids
    longer = [*PROMPT, *first, 7, 8]
    computed: list[int] = []
    prefill = engine.decoder.prefill

    def listen(pieces: list[Piece], *rest: object) -> None:
        computed.extend(token for piece in pieces for token in piece.ids)
        prefill(pieces, *rest)

    engine.decoder.prefill = listen
    again = engine.generate(longer, SAMPLED).samples[0]
    assert computed == [first[-1], 7]
    assert again == Engine(model).generate(longer, SAMPLED).samples[0]


def test_a_cancelled_request_frees_its_place_and_leaves_the_others_alone() -> None:
    model = random_model(PLAIN)
    engine = Engine(model, max_streams=2)
    found: dict[int, list[int]] = {}
    stays, leaves, waits = (engine.submit(Request(ids, SAMPLED)) for ids in RAGGED[:3])
    drain(engine, found, steps=5)
    assert engine.running == 2 and engine.waiting == 1
    assert engine.cancel(leaves) and not engine.cancel(leaves)
    drain(engine, found)
    assert len(found[leaves]) == 5 and not engine.busy
    for number, ids in ((stays, RAGGED[0]), (waits, RAGGED[2])):
        assert found[number] == Engine(model).generate(ids, SAMPLED).samples[0].ids


def test_log_probabilities_are_those_of_the_model() -> None:
    model = random_model(PLAIN)
    engine = Engine(model)
    engine.submit(Request(PROMPT, SAMPLED, logprobs=3))
    deltas = []
    while engine.busy:
        deltas += engine.step()
    ids = [*PROMPT, *(token for delta in deltas for token in delta.token_ids)]
    with torch.no_grad():
        wanted = model(torch.tensor([ids]))[0].log_softmax(-1)
    for at, delta in enumerate(deltas, len(PROMPT) - 1):
        (score,) = delta.scores
        values, indices = wanted[at].topk(3)
        assert [token for token, _ in score.top] == indices.tolist()
        assert [value for _, value in score.top] == pytest.approx(values.tolist(), abs=1e-4)
        assert score.logprob == pytest.approx(float(wanted[at, ids[at + 1]]), abs=1e-4)
    assert deltas[-1].finish_reason == "length" and deltas[-1].new_tokens == len(deltas) == 40
