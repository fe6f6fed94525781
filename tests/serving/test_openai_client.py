"""The API as OpenAI's own client sees it."""

import json
import urllib.request
from collections.abc import Iterator

import openai
import pytest
import torch

from lilllm.config.schema import GenerateConfig
from lilllm.inference import Delta, Request, TokenScore
from lilllm.inference.stream import Stream
from lilllm.serving.answers import Choice, CompletionAnswer
from lilllm.tokenizer import StreamDecoder
from tests.serving.running import (
    CONTEXT,
    TOKENIZER,
    FakeEngine,
    Running,
    letters,
    running,
    served_model,
)

CPU = torch.device("cpu")
HI = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture(scope="module")
def up(engine: FakeEngine) -> Iterator[Running]:
    with running(engine) as up:
        yield up


@pytest.fixture(scope="module")
def client(up: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{up.url}/v1", api_key="none", max_retries=0)


def test_the_model_is_listed_and_found(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "lilllm"
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.models.retrieve("gpt-9")


def test_a_completion_is_answered_with_its_usage(client: openai.OpenAI) -> None:
    made = client.completions.create(model="tiny", prompt="The cat", max_tokens=5, seed=3)
    assert made.choices[0].text == letters(3, 0, 5)
    assert made.choices[0].finish_reason == "length"
    assert made.usage is not None and made.usage.completion_tokens == 5
    assert made.usage.total_tokens == made.usage.prompt_tokens + 5


def test_prompts_times_n_choices_come_in_order(client: openai.OpenAI, engine: FakeEngine) -> None:
    made = client.completions.create(
        model="tiny", prompt=["The cat", "A dog"], n=2, max_tokens=4, seed=1, echo=True
    )
    expected = [letters(1, 0, 4), letters(1, 1, 4)]
    texts = [choice.text for choice in made.choices]
    assert texts == [p + text for p in ("The cat", "A dog") for text in expected]
    assert [choice.index for choice in made.choices] == [0, 1, 2, 3]
    client.completions.create(model="tiny", prompt=[0, 20, 30], max_tokens=1)
    assert list(engine.seen[-1].prompt_ids) == [0, 20, 30]


def test_half_a_surrogate_pair_is_echoed_as_the_sign_for_what_is_no_text(
    client: openai.OpenAI,
) -> None:
    body = b'{"prompt": "a\\ud800", "echo": true, "max_tokens": 1}'
    request = urllib.request.Request(f"{client.base_url}completions", body)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.loads(answer.read())["choices"][0]["text"].startswith("a\ufffd")


def test_a_chat_is_answered(client: openai.OpenAI, engine: FakeEngine) -> None:
    made = client.chat.completions.create(model="tiny", messages=HI, seed=9, max_tokens=6)
    message = made.choices[0].message
    assert (message.role, message.content) == ("assistant", letters(9, 0, 6))
    prompt = "<|endoftext|><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert TOKENIZER.decode(engine.seen[-1].prompt_ids, skip_special=False) == prompt


def test_parts_and_developer_messages_are_understood(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(
        model="tiny",
        messages=[
            {"role": "developer", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        ],
        max_completion_tokens=3,
        seed=1,
    )
    assert made.choices[0].message.content == letters(1, 0, 3)


def test_a_streamed_chat_is_the_whole_one_in_pieces(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=HI,
            seed=9,
            max_tokens=6,
            n=2,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *pieces, last = chunks
    assert last.choices == [] and last.usage is not None and last.usage.completion_tokens == 12
    assert all(piece.usage is None for piece in pieces)
    for index in range(2):
        mine = [c.choices[0] for c in pieces if c.choices[0].index == index]
        assert mine[0].delta.role == "assistant"
        assert "".join(c.delta.content or "" for c in mine) == letters(9, index, 6)
        assert [c.finish_reason for c in mine].count("length") == 1
        assert mine[-1].finish_reason == "length"
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_streamed_completion_comes_token_by_token(client: openai.OpenAI) -> None:
    stream = client.completions.create(model="tiny", prompt="x", seed=2, max_tokens=7, stream=True)
    texts = [chunk.choices[0].text for chunk in stream]
    assert len(texts) == 7 and "".join(texts) == letters(2, 0, 7)


def test_log_probabilities_of_a_chat_come_with_their_alternatives(client: openai.OpenAI) -> None:
    made = client.chat.completions.create(
        model="tiny", messages=HI, seed=9, max_tokens=6, logprobs=True, top_logprobs=3
    )
    assert made.choices[0].logprobs is not None
    content = made.choices[0].logprobs.content
    assert content is not None
    assert "".join(token.token for token in content) == letters(9, 0, 6)
    assert [top.token for top in content[0].top_logprobs] == ["a", "b", "c"]
    assert content[0].logprob == -0.5 and bytes(content[0].bytes or []).decode() == content[0].token


def test_log_probabilities_of_a_completion_have_offsets(client: openai.OpenAI) -> None:
    for stream in (False, True):
        made = client.completions.create(
            model="tiny", prompt="x", seed=2, max_tokens=4, logprobs=2, stream=stream
        )
        found = [c.choices[0].logprobs for c in made] if stream else [made.choices[0].logprobs]
        offsets = [offset for logprobs in found for offset in logprobs.text_offset]
        assert offsets == [0, 1, 2, 3]
        chosen = {letters(2, 0, 1): -0.5}  # is told even where it is none of the likeliest
        assert found[0].top_logprobs[0] == {"a": -1.0, "b": -2.0} | chosen
    made = client.completions.create(model="tiny", prompt="x", seed=2, max_tokens=1, logprobs=0)
    assert made.choices[0].logprobs.top_logprobs == [chosen]


@pytest.mark.parametrize(
    ("text", "stop", "shown", "offsets"),
    [
        ("a<|im_start|>\xe9b", (), "a\xe9b", [0, 1, 1, 1, 2]),  # the letter is two tokens
        ("abab", ("bb", "ba"), "a", [0, 1, 1]),
        ("ababb", ("bb", "bax"), "aba", [0, 1, 2, 3, 3]),
    ],
)
def test_offsets_are_places_in_the_text(
    text: str, stop: tuple[str, ...], shown: str, offsets: list[int]
) -> None:
    ids = TOKENIZER.with_specials.encode(text, add_special_tokens=False).ids
    options = GenerateConfig(stop=stop)
    stream = Stream(0, Request([0], options), len(ids), StreamDecoder(TOKENIZER), 300, CPU)
    deltas: list[Delta] = []
    while not deltas or deltas[-1].finish_reason is None:
        id = ids[len(deltas)]
        deltas.append(stream.accept(id, TokenScore(id, -0.5), frozenset()))
    made = Choice()
    for delta in deltas:
        made.add(delta)
    whole = CompletionAnswer("tiny", TOKENIZER, 1, True).whole_choice(0, made)
    assert (whole["text"], whole["logprobs"]["text_offset"]) == (shown, offsets)
    answer = CompletionAnswer("tiny", TOKENIZER, 1, True)
    pieces = [answer.piece(0, delta) for delta in deltas]
    assert [at for piece in pieces for at in piece["logprobs"]["text_offset"]] == offsets


def test_every_sampling_field_reaches_the_engine(client: openai.OpenAI, engine: FakeEngine) -> None:
    client.chat.completions.create(
        model="tiny",
        messages=HI,
        temperature=0.1,
        top_p=0,
        presence_penalty=0.5,
        frequency_penalty=-1,
        stop=["x", "yz"],
        max_tokens=1,
        extra_body={"top_k": 7, "min_p": 0.2, "repetition_penalty": 1.5},
    )
    options = engine.seen[-1].options
    expected = {
        "temperature": 0.1,
        "top_p": 1e-6,
        "presence_penalty": 0.5,
        "frequency_penalty": -1,
        "stop": ("x", "yz"),
        "max_new_tokens": 1,
        "top_k": 7,
        "min_p": 0.2,
        "repetition_penalty": 1.5,
    }
    assert {key: getattr(options, key) for key in expected} == expected
    client.chat.completions.create(model="tiny", messages=HI)
    assert engine.seen[-1].options.temperature == 0.7  # the checkpoint's own default


def test_what_would_change_the_answer_is_refused_not_ignored(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="logit_bias is not supported"):
        client.chat.completions.create(model="tiny", messages=HI, logit_bias={"5": 10})
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    with pytest.raises(openai.BadRequestError, match="tools is not supported") as caught:
        client.chat.completions.create(model="tiny", messages=HI, tools=tools)
    assert caught.value.code == "unsupported_parameter" and caught.value.param == "tools"
    with pytest.raises(openai.BadRequestError, match="flavour") as caught:
        client.chat.completions.create(model="tiny", messages=HI, extra_body={"flavour": 1})
    assert caught.value.code == "unknown_parameter" and caught.value.param == "flavour"
    client.chat.completions.create(
        model="tiny", messages=HI, user="me", response_format={"type": "text"}, max_tokens=1
    )


def test_a_prompt_longer_than_the_context_is_told(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match=f"takes at most {CONTEXT}") as caught:
        client.completions.create(model="tiny", prompt="cat " * 100)
    assert caught.value.code == "context_length_exceeded"


def test_a_base_model_says_that_it_does_not_chat() -> None:
    with running(FakeEngine(), model=served_model(chats=False)) as up:
        client = openai.OpenAI(base_url=f"{up.url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.BadRequestError, match="base model") as caught:
            client.chat.completions.create(model="tiny", messages=HI)
        assert caught.value.code == "not_a_chat_model"
        assert client.completions.create(model="tiny", prompt="x", seed=1).choices[0].text


def test_a_wrong_api_key_is_refused() -> None:
    with running(FakeEngine(), api_key="s3cret") as up:
        for key in ("wrong", "s3cre"):
            with pytest.raises(openai.AuthenticationError):
                openai.OpenAI(base_url=f"{up.url}/v1", api_key=key, max_retries=0).models.list()
        assert openai.OpenAI(base_url=f"{up.url}/v1", api_key="s3cret").models.list().data
