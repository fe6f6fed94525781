"""Queue, time, size, clients that leave, an engine that fails, and who may ask at all."""

import asyncio
import http.client
import json
import random
import socket
import threading
import time

import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families
from uvicorn.protocols.http.h11_impl import H11Protocol

from lilllm.config.schema import GenerateConfig, ServeConfig
from lilllm.inference import Delta, Request
from lilllm.serving.server import _bind, server_config
from lilllm.serving.service import Choices, Service
from lilllm.serving.worker import Job
from tests.serving.running import FakeEngine, Running, letters, running, served_model

BODY = {"prompt": "x", "max_tokens": 5, "seed": 1}


def ask(up: Running, body: object = None, **headers: str) -> tuple[int, dict[str, object], object]:
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=30)
    raw = body if isinstance(body, bytes) else json.dumps(BODY if body is None else body)
    connection.request("POST", "/v1/completions", raw, headers)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text), response.headers


def start(up: Running, buffer: int | None = None, **changes: object) -> socket.socket:
    """Send a request and leave its answer unread."""
    raw = json.dumps(BODY | changes).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n"
    client = socket.socket()
    if buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.connect(("127.0.0.1", up.port))
    client.sendall(head.encode() + raw)
    return client


def get(up: Running, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=30)
    connection.request("GET", path, headers=headers)
    return connection.getresponse()


def test_a_full_queue_answers_429_and_says_when_to_come_back() -> None:
    engine = FakeEngine()
    engine.open.clear()
    with running(engine, max_running=1, max_queue=1) as up:
        clients = [start(up, max_tokens=50) for _ in range(2)]
        up.until(lambda: (up.service.worker.running, up.service.waiting) == (1, 1))
        status, answer, headers = ask(up)
        assert status == 429 and answer["error"]["code"] == "queue_full"
        assert 1 <= int(headers["Retry-After"]) <= 60
        threading.Timer(0.5, engine.open.set).start()
        patient = openai.OpenAI(base_url=f"{up.url}/v1", api_key="none", max_retries=5)
        made = patient.completions.create(model="tiny", **BODY)
        assert made.choices[0].text == letters(1, 0, 5)
        for client in clients:
            client.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_goes_away_frees_its_slot(stream: bool) -> None:
    engine = FakeEngine(pace=0.01)
    with running(engine, max_running=1) as up:
        client = start(up, max_tokens=10_000, stream=stream)
        up.until(lambda: up.service.worker.running == 1)
        waiting = start(up, max_tokens=10_000, stream=stream)
        up.until(lambda: (up.service.worker.running, up.service.waiting) == (1, 1))
        waiting.close()
        up.until(lambda: up.service.worker.open == 1)
        client.close()
        up.until(lambda: not engine.running and up.service.worker.open == 0)
        assert engine.cancelled == [1] and len(engine.seen) == 1  # the other never ran
        assert up.service.metrics.cancelled == 2
        assert ask(up)[0] == 200


@pytest.mark.parametrize("steps", range(4))
def test_a_client_that_goes_away_between_two_tokens_is_not_overlooked(steps: int) -> None:
    async def leave() -> None:
        choices = Choices(Service(served_model(), FakeEngine(), ServeConfig(), None, print))
        choices.jobs = [Job(Request([0], GenerateConfig()), choices.listener(0))]
        reading = asyncio.create_task(anext(choices))
        await asyncio.sleep(0.01)
        choices.jobs[0].listen(Delta(0, (5,), "x", (), None, 1, 1))
        for _ in range(steps):  # of the event loop, on the token's way
            await asyncio.sleep(0)
        if reading.cancel():
            with pytest.raises(asyncio.CancelledError):
                await reading

    asyncio.run(leave())


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_takes_too_long_is_ended(stream: bool) -> None:
    engine = FakeEngine(pace=0.02)
    with running(engine, max_seconds=0.3) as up:
        client = openai.OpenAI(base_url=f"{up.url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.APIError, match="not finished after") as caught:
            made = client.completions.create(
                model="tiny", prompt="x", max_tokens=10_000, stream=stream
            )
            list(made)
        assert caught.value.code == "timeout"
        up.until(lambda: not engine.running)


def test_a_failing_engine_ends_its_requests_and_serves_the_next() -> None:
    engine = FakeEngine(failing=RuntimeError("no memory"))
    with running(engine) as up:
        status, answer, _ = ask(up)
        assert status == 500 and "no memory" not in json.dumps(answer)
        assert any("no memory" in event.text for event in up.events)
        assert ask(up)[0] == 200


def test_large_bodies_are_refused_before_they_are_read() -> None:
    with running(FakeEngine(), max_body_bytes=1000, max_seconds=0.5) as up:
        assert ask(up, {"prompt": "x" * 2000})[0] == 413
        client = socket.create_connection(("127.0.0.1", up.port))
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        client.sendall(head + b"Content-Length: 99999999999\r\n\r\n")
        assert b" 413 " in client.recv(1000)
        chunked = socket.create_connection(("127.0.0.1", up.port))
        chunked.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        chunked.sendall(b"400\r\n" + b" " * 1024 + b"\r\n")
        assert b" 413 " in chunked.recv(1000)
        slow = socket.create_connection(("127.0.0.1", up.port))
        slow.sendall(head + b"Content-Length: 10\r\n\r\n{")
        assert b" 408 " in slow.recv(1000)


def test_a_client_that_sends_no_whole_request_is_cut_off() -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    with running(FakeEngine(), max_seconds=1) as up:
        for sent in (b"", head, head + b"\r\n" + head):
            with socket.create_connection(("127.0.0.1", up.port), timeout=4) as client:
                client.sendall(sent)
                while client.recv(65536):
                    client.sendall(b"X-One-More: header\r\n" if sent else b"")
        up.until(lambda: not up.server.server_state.connections)


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_reads_nothing_is_cut_off(stream: bool) -> None:
    engine = FakeEngine()
    with running(engine, max_seconds=2) as up:
        asked = {"n": 32, "logprobs": 20, "max_tokens": 10_000 if stream else 100}
        with start(up, buffer=4096, stream=stream, **asked):
            up.until(lambda: up.service.worker.open == 32)
            up.until(lambda: up.service.worker.open == 0)
            up.until(lambda: not up.server.server_state.connections)
        assert ask(up)[0] == 200


def test_small_pieces_are_sent_at_once() -> None:
    with _bind("127.0.0.1", 0) as bound:
        # what asyncio looks at before it sets TCP_NODELAY on the sockets that this one accepts
        assert bound.proto == socket.IPPROTO_TCP


def test_a_port_is_shared_on_no_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "SO_EXCLUSIVEADDRUSE", raising=False)
    with _bind("127.0.0.1", 0) as bound:
        assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
    # Windows has this option, and its SO_REUSEADDR shares the port; another one stands in for it
    monkeypatch.setattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_KEEPALIVE, raising=False)
    with _bind("127.0.0.1", 0) as bound:
        assert bound.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert not bound.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


def test_too_many_choices_and_long_prompts_are_refused() -> None:
    with running(FakeEngine(), max_choices=4, max_prompt_tokens=3) as up:
        assert ask(up, BODY | {"n": 5})[0] == 400
        assert ask(up, BODY | {"prompt": ["x"] * 3, "n": 2})[0] == 400
        assert ask(up, BODY | {"prompt": []})[0] == 400
        assert ask(up, BODY | {"prompt": "a long one is refused"})[0] == 400
        assert ask(up, BODY | {"n": 4})[0] == 200


def test_a_megabyte_of_text_is_refused_without_counting_its_tokens() -> None:
    with running(FakeEngine()) as up:
        began = time.monotonic()
        for _ in range(5):
            status, answer, _ = ask(up, BODY | {"prompt": "a" * 1_000_000})
            assert status == 400 and answer["error"]["code"] == "context_length_exceeded"
        assert time.monotonic() - began < 5  # each would take seconds


def test_pages_of_others_cannot_use_a_server_on_loopback() -> None:
    with running(FakeEngine()) as up:
        own = f"127.0.0.1:{up.port}"
        assert ask(up, Origin=f"http://{own}")[0] == 200
        assert ask(up, Origin="http://evil.example")[0] == 403
        assert ask(up, Origin="null")[0] == 403
        assert ask(up, Origin="http://[")[0] == ask(up, Host="[::1")[0] == 403
        assert ask(up, Host=f"evil.example:{up.port}")[0] == 403
        assert ask(up, Host=f"localhost:{up.port}")[0] == 200


def test_health_and_metrics_are_told() -> None:
    with running(FakeEngine(), api_key="s3cret") as up:
        assert json.loads(get(up, "/healthz").read()) == {"status": "ok", "model": "tiny"}
        assert ask(up, Authorization="Bearer s3cret")[0] == 200
        assert ask(up)[0] == 401
        response = get(up, "/metrics")
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = response.read().decode()
        assert "lilllm_generated_tokens_total 5" in text and "lilllm_running 0" in text
        counted = 'lilllm_http_responses_total{method="POST",path="/v1/completions",status="200"} 1'
        assert counted in text
        assert 'lilllm_first_token_seconds_bucket{le="+Inf"} 1' in text


def test_the_metrics_are_what_prometheus_reads() -> None:
    with running(FakeEngine()) as up:
        ask(up)
        families = text_string_to_metric_families(get(up, "/metrics").read().decode())
        kinds = {family.name: family.type for family in families}
    assert kinds["lilllm_running"] == "gauge" and kinds["lilllm_request_seconds"] == "histogram"


def test_unknown_paths_and_methods_have_the_shape_of_openais_errors() -> None:
    with running(FakeEngine()) as up:
        for path in ("/v1/nothing", "/v1/completions", "/../../etc/passwd"):
            response = get(up, path)
            assert response.status in (404, 405)
            assert "message" in json.loads(response.read())["error"]


def test_what_is_not_http_does_not_hurt() -> None:
    draw = random.Random(1)
    with running(FakeEngine()) as up:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", up.port)) as client:
                client.sendall(draw.randbytes(draw.randrange(1, 5000)))
        assert ask(up)[0] == 200


def test_the_parser_and_the_loop_are_not_chosen_by_what_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("uvicorn.protocols.http.auto.AutoHTTPProtocol", asyncio.Protocol)
    monkeypatch.setattr("uvicorn.loops.auto.auto_loop_factory", lambda **given: pytest.fail())
    with running(FakeEngine()) as up:
        config = server_config(up.service)
        config.load()
        assert issubclass(config.http_protocol_class, H11Protocol)
        assert get(up, "/healthz").headers["Server"] is None


def test_pages_have_a_strict_security_policy() -> None:
    with running(FakeEngine()) as up:
        response = get(up, "/")
        policy = response.headers["Content-Security-Policy"]
        assert response.status == 200 and "default-src 'none'" in policy
        assert "unsafe" not in policy and "http" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_slow_start_does_not_lose_the_first_tokens() -> None:
    with running(FakeEngine(pace=0.01), max_running=2) as up:
        clients = [start(up, seed=seed) for seed in range(6)]
        for seed, client in enumerate(clients):
            text = b""
            end = time.monotonic() + 10
            while b"usage" not in text and time.monotonic() < end:
                text += client.recv(65536)
            assert letters(seed, 0, 5).encode() in text
            client.close()
