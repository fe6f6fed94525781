"""`lilllm serve`: its process from start to drain, and wrong settings."""

import http.client
import json
import signal
import socket
from pathlib import Path

import pytest
import torch

from benchmarks.serve_load import serving
from tests.cli.small_app import run
from tests.stages.tiny_run import write_checkpoint

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LILLLM_API_KEY", raising=False)
    return write_checkpoint(Path("runs/tiny/pretrain/step-00000009"))


def post(port: int, key: str, **body: object) -> http.client.HTTPResponse:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {key}"}
    client.request("POST", "/v1/completions", json.dumps(body), headers)
    return client.getresponse()


def test_sigterm_finishes_what_runs_and_refuses_what_comes(checkpoint: Path) -> None:
    Path("key").write_text("s3cret\n")
    hot = "generate.temperature=1.5"
    with serving(checkpoint, hot, "--api-key-file", "key") as server:
        assert post(server.port, "other", prompt="The").status == 401
        ask = {"prompt": "The", "stream": True, "n": 8, "max_tokens": 60}
        streams = [post(server.port, "s3cret", seed=seed, **ask) for seed in range(4)]
        assert all(stream.readline().startswith(b"data: ") for stream in streams)
        server.process.send_signal(signal.SIGTERM)
        ends = [stream.read().count(b'"finish_reason": "') for stream in streams]
        assert ends == [8] * 4
        assert server.process.wait(30) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))


def test_wrong_settings_have_their_exit_codes() -> None:
    Path("empty").write_text("\n")
    busy = socket.socket()
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    port = busy.getsockname()[1]
    for arguments, code, said in (
        (["--port", port], 5, "cannot be bound"),
        (["--port", 70000], 2, "serve.port"),
        (["serve.max_queue=-1"], 2, "serve.max_queue"),
        (["precision=bf16"], 2, "--precision bf16"),
        (["--api-key-file", "nothing"], 2, "serve.api_key_file"),
        (["--api-key-file", "empty"], 2, "is empty"),
        (["nowhere"], 4, "no such checkpoint"),
        (["--host", "no.such.host.invalid"], 5, "cannot be bound"),
    ):
        assert said in run("serve", *arguments, code=code).stderr
    busy.close()
