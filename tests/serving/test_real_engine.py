"""The server with the engine itself: what comes out is what the model says."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
import torch

from lilllm.config.schema import GenerateConfig
from lilllm.inference import Engine
from lilllm.tokenizer import StreamDecoder
from tests.serving.running import TOKENIZER, Running, running, served_model
from tests.stages.tiny_run import tiny_model

torch.set_num_threads(1)

HI = [{"role": "user", "content": "hi"}]
HOT = GenerateConfig(max_new_tokens=12, temperature=1.5)


def engine() -> Engine:
    return Engine(
        tiny_model(), stop_ids={0, 2}, new_decoder=lambda: StreamDecoder(TOKENIZER), max_streams=4
    )


@pytest.fixture(scope="module")
def up() -> Iterator[Running]:
    with running(engine(), model=served_model(defaults=HOT), max_running=4) as up:
        yield up


@pytest.fixture(scope="module")
def client(up: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{up.url}/v1", api_key="none", max_retries=0)


def alone(ids: list[int], seed: int, **changes: object) -> list[str]:
    options = HOT.model_copy(update=changes)
    return [sample.text for sample in engine().generate(ids, options, n=2, seed=seed).samples]


def test_answers_are_those_of_generate_alone(client: openai.OpenAI) -> None:
    prompt = TOKENIZER.encode_chat(HI, add_generation_prompt=True)

    def ask(seed: int) -> list[str]:
        made = client.chat.completions.create(model="tiny", messages=HI, seed=seed, n=2)
        return [choice.message.content or "" for choice in made.choices]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))
    assert answers == [alone(prompt, seed) for seed in range(16)]


def test_clients_that_leave_do_not_disturb_those_that_stay(
    up: Running, client: openai.OpenAI
) -> None:
    ids = TOKENIZER.encode_prompt("The cat")

    def ask(seed: int) -> str | None:
        stream = client.completions.create(
            model="tiny", prompt="The cat", seed=seed, max_tokens=40, stream=True
        )
        with stream:
            text = ""
            for count, chunk in enumerate(stream):
                text += chunk.choices[0].text
                if seed % 3 and count == seed % 7:
                    return None  # closes the connection
        return text

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(48)))
    stayed = {seed: text for seed, text in enumerate(answers) if text is not None}
    assert len(stayed) >= 16
    assert stayed == {seed: alone(ids, seed, max_new_tokens=40)[0] for seed in stayed}
    up.until(lambda: up.service.worker.open == 0)


def test_greedy_and_penalized_texts_are_those_of_generate(client: openai.OpenAI) -> None:
    ids = TOKENIZER.encode_prompt("The cat")
    for changes in ({"temperature": 0}, {"presence_penalty": 1.5, "frequency_penalty": 0.5}):
        made = client.completions.create(model="tiny", prompt="The cat", n=2, seed=4, **changes)
        assert [choice.text for choice in made.choices] == alone(ids, 4, **changes)


def test_a_stop_string_ends_a_stream_before_it(client: openai.OpenAI) -> None:
    ids = TOKENIZER.encode_prompt("The cat")
    seed = next(seed for seed in range(100) if len(alone(ids, seed)[0]) > 8)
    text = alone(ids, seed)[0]
    stop = text[3:6]
    stream = client.completions.create(
        model="tiny", prompt="The cat", seed=seed, stop=["never", stop], stream=True
    )
    choices = [chunk.choices[0] for chunk in stream]
    assert "".join(choice.text for choice in choices) == text[: text.index(stop)]
    assert choices[-1].finish_reason == "stop"


def test_log_probabilities_are_the_models(client: openai.OpenAI) -> None:
    made = client.completions.create(model="tiny", prompt="The cat", seed=4, logprobs=3)
    logprobs = made.choices[0].logprobs
    assert logprobs is not None and logprobs.token_logprobs is not None
    ids = TOKENIZER.encode_prompt("The cat")
    sample = engine().generate(ids, HOT, seed=4).samples[0]
    with torch.no_grad():
        scores = tiny_model().eval()(torch.tensor([ids + sample.ids]))[0].log_softmax(-1)
    for place, token in enumerate(sample.ids):
        row = scores[len(ids) - 1 + place]
        assert logprobs.token_logprobs[place] == pytest.approx(float(row[token]), abs=1e-3)
        likeliest = row.topk(3).indices.tolist()
        told = logprobs.content[place]["top_logprobs"]
        assert [bytes(top["bytes"]) for top in told] == [
            TOKENIZER.token_bytes(id) for id in likeliest
        ]


def test_the_context_ends_a_text(client: openai.OpenAI) -> None:
    made = client.completions.create(model="tiny", prompt=[0] * 64, max_tokens=1000, seed=1)
    assert made.usage is not None and made.usage.completion_tokens <= 1
