"""Requests that no client should send: each is answered with 4xx, and the server lives."""

import contextlib
import http.client
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from tests.serving.running import FakeEngine, Running, letters, running

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3},
    TEXT: {"model": "tiny", "prompt": "x", "max_tokens": 3},
}
HUGE = 10**400
WRONG: dict[str, list[Any]] = {
    "model": [5, [], "another", "\ud800"],
    "max_tokens": ["5", 0, -1, 1.5, HUGE, True, [3], 2**31],
    "temperature": ["hot", -0.1, 2.1, HUGE, {}, True],
    "top_p": [-1, 1.1, "0.5", HUGE],
    "n": [0, -5, "2", 1.5, HUGE, 10**9],
    "seed": [1.5, "7", HUGE, -HUGE, 2**63],
    "stop": [5, [""], [["a"]], ["a"] * 17, {"a": 1}, "x" * 1001],
    "stream": ["yes", 1, "true"],
    "stream_options": [True, {"include_usage": "yes"}, {"unknown": 1}],
    "presence_penalty": [3, "1", HUGE],
    "frequency_penalty": [-2.5, []],
    "top_k": [-1, 1.5, "all", HUGE],
    "logit_bias": [{"1": 5}, 7],
    "nonsense": [1, None, {}],
    "": [0],
    "__class__": ["x"],
}
WRONG_CHAT: dict[str, list[Any]] = {
    "messages": [
        None,
        [],
        "hi",
        [5],
        [[]],
        [{"role": "user"}],
        [{"content": "hi"}],
        [{"role": "wizard", "content": "hi"}],
        [{"role": "tool", "content": "hi", "tool_call_id": "1"}],
        [{"role": ["user"], "content": "hi"}],
        [{"role": "user", "content": None}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": "user", "content": [{"type": "text"}]}],
        [{"role": "user", "content": "hi", "tool_calls": [{}]}],
        [{"role": "user", "content": "long " * 500}],
    ],
    "logprobs": [5, "true"],
    "top_logprobs": [3, -1, 21, "2"],
    "tools": [[{"type": "function"}], "all"],
}
WRONG_TEXT: dict[str, list[Any]] = {
    "prompt": [
        None,
        5,
        {},
        [],
        [1.5],
        ["a", 1],
        [[1], "a"],
        [[["a"]]],
        [-1],
        [HUGE],
        [10**6],
        [True],
        "long " * 500,
        [0] * 5000,
    ],
    "logprobs": [-1, 21, True, "2"],
    "best_of": [3],
    "suffix": ["end"],
}
BROKEN: list[Callable[[random.Random, bytes], bytes]] = [
    lambda draw, raw: raw[: draw.randrange(len(raw) - 1)],
    lambda draw, raw: raw + b"}",
    lambda draw, raw: b"[" * draw.choice([10, 5_000, 200_000]),
    lambda draw, raw: b"[" * 100_000 + b"]" * 100_000,
    lambda draw, raw: b'{"prompt":' * 50_000 + b"1" + b"}" * 50_000,
    lambda draw, raw: raw.replace(b'"max_tokens": 3', b'"metadata": ' + b"[" * 20_000),
    lambda draw, raw: raw.replace(b'"max_tokens"', b'"max_tokens\xff"'),
    lambda draw, raw: b"\xff\xfe" + raw,
    lambda draw, raw: raw.decode().encode("utf-16"),
    lambda draw, raw: raw.replace(b"3}", b'3, "temperature": NaN}'),
    lambda draw, raw: raw.replace(b"3}", b'3, "temperature": -Infinity}'),
    lambda draw, raw: raw.replace(b"3}", b'3, "temperature": 1e999}'),
    lambda draw, raw: raw.replace(b"3}", b'3, "seed": ' + b"9" * 5_000 + b"}"),
    lambda draw, raw: raw.replace(b'"', b"'"),
    lambda draw, raw: b"null",
    lambda draw, raw: b"[]",
    lambda draw, raw: b'"text"',
    lambda draw, raw: b"",
    lambda draw, raw: b"\x00" * 100,
    lambda draw, raw: bytes(draw.randrange(256) for _ in range(draw.randrange(200))),
    lambda draw, raw: b"prompt=x&max_tokens=3",
    lambda draw, raw: b" " * 2_000_000,
]


def malformed(draw: random.Random) -> tuple[str, bytes]:
    """A path and a body that is wrong in at least one place."""
    path = draw.choice([CHAT, TEXT])
    body = dict(GOOD[path])
    if draw.random() < 0.4:
        return path, draw.choice(BROKEN)(draw, json.dumps(body).encode())
    wrong = WRONG | (WRONG_CHAT if path == CHAT else WRONG_TEXT)
    for key in draw.sample(sorted(wrong), draw.choice([1, 1, 1, 2, 3])):
        body[key] = draw.choice(wrong[key])
    return path, json.dumps(body).encode()


def post(up: Running, path: str, raw: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=30)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused before its end
        connection.request("POST", path, raw, {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, text


def check(count: int) -> None:
    draw = random.Random(4)
    engine = FakeEngine()
    with running(engine) as up:
        for _ in range(count):
            path, raw = malformed(draw)
            if raw.strip() == json.dumps(GOOD[path]).encode():
                continue
            status, text = post(up, path, raw)
            assert 400 <= status < 500, (status, text, raw[:300])
            error = json.loads(text)["error"]
            assert error["message"] and error["type"] == "invalid_request_error", error
            assert len(error["message"]) < 3000 and "Traceback" not in error["message"]
        assert not engine.seen and up.service.worker.open == 0
        for path, body in GOOD.items():
            status, text = post(up, path, json.dumps(body | {"seed": 5}).encode())
            assert status == 200 and letters(5, 0, 3) in text.decode()


def test_100_malformed_requests_are_answered_with_4xx() -> None:
    check(100)


@pytest.mark.slow
def test_1000_malformed_requests_are_answered_with_4xx() -> None:
    check(1000)


@pytest.mark.parametrize(
    ("path", "before", "item", "after", "said"),
    [
        (TEXT, '{"prompt": [', "null", "]}", "prompt.0: Input should be a valid string"),
        (TEXT, '{"prompt": [[', "null", "]]}", "prompt.0.0: Input should be a valid integer"),
        (TEXT, '{"prompt": [1,', '""', "]}", "prompt.1: Input should be a valid integer"),
        (TEXT, '{"prompt": "x", "stop": [', "1", "]}", "stop.0: Input should be a valid string"),
        (TEXT, "{", '"%d": 0', "}", "fields; at most 100"),
        (TEXT, '{"prompt": "x", "stream_options": {', '"%d": 0', "}}", "fields; at most 100"),
        (CHAT, '{"messages": [', "{}", "]}", "messages.0.role: Field required"),
        (CHAT, '{"messages": [{', '"%d": 0', "}]}", "messages.0: 20000 fields; at most 100"),
        (
            *(CHAT, '{"messages": [{"role": "user", "content": [', "{}", "]}]}"),
            "messages.0.content.0.text: Field required",
        ),
    ],
)
def test_a_body_full_of_mistakes_costs_a_few_errors(
    path: str, before: str, item: str, after: str, said: str
) -> None:
    from lilllm.serving.problems import ApiError
    from lilllm.serving.requests import ChatBody, CompletionBody, parse_body

    items = ",".join(item % number if "%" in item else item for number in range(20_000))
    with pytest.raises(ApiError, match=said) as caught:
        parse_body((before + items + after).encode(), ChatBody if path == CHAT else CompletionBody)
    assert isinstance(caught.value.__cause__, ValidationError)
    assert caught.value.__cause__.error_count() < 10  # each takes 2 KB and 10 us


@pytest.mark.parametrize("path", [CHAT, TEXT])
def test_each_wrong_value_is_refused_by_itself(path: str) -> None:
    from lilllm.serving.problems import ApiError
    from lilllm.serving.requests import ChatBody, CompletionBody, parse_body

    kind = ChatBody if path == CHAT else CompletionBody
    wrong = WRONG | (WRONG_CHAT if path == CHAT else WRONG_TEXT)
    later = {"model", "prompt", "messages", "n"}  # some of them need the model to be refused
    for key, values in wrong.items():
        if key in later:
            continue
        for value in values:
            with pytest.raises(ApiError) as caught:
                parse_body(json.dumps(GOOD[path] | {key: value}).encode(), kind)
            assert caught.value.status == 400, (key, value)
