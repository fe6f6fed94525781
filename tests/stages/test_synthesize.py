"""`lilllm data synth` against a real server that is down, slow, busy or talks rubbish."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from lilllm.cli.app import app
from lilllm.config import Config
from lilllm.data.synthesis import Ask, Read
from lilllm.data.synthesis.recipe import Row
from lilllm.events import silent
from lilllm.stages.synthesize import _Synthesis
from lilllm.stages.writers import Answer
from tests.stages.tiny_run import write_checkpoint


class Server(ThreadingHTTPServer):
    """Answers with the asked words; `trouble` is used up first, one entry per request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.trouble: list[Any] = []
        self.answer = "A dog saw {words} here today and ran all the way home, number {number}."
        self.pause = 0.0
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.lock = threading.Lock()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hung up is no news."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append(body)
            self.server.keys.append(self.headers["Authorization"])
            number = len(self.server.requests)
            trouble = self.server.trouble.pop(0) if self.server.trouble else None
        time.sleep(self.server.pause)
        if isinstance(trouble, int):
            self.send_response(trouble)
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(b'{"error": "not now"}')
        elif trouble == "slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(40):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.1)
        elif trouble == "stalled error":
            self.send_response(503)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.flush()
            time.sleep(1.5)
        elif trouble == "hang up":
            self.close_connection = True
        elif isinstance(trouble, bytes):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(trouble)
        else:
            words = re.search(r"words: ([^.]*)\.", body["messages"][-1]["content"])
            text = self.server.answer.format(words=words and words[1], number=number)
            reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lilllm.inference.endpoint.FIRST_PAUSE", 0.01)


def synth(*overrides: str, code: int = 0, options: tuple[str, ...] = ()) -> dict[str, Any]:
    done = CliRunner().invoke(app, ["data", "synth", *overrides, "--json", *options])
    assert "Traceback" not in done.output + done.stderr
    assert done.exit_code == code, done.output + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result if not code else result["error"]


def kept() -> list[dict[str, Any]]:
    lines = Path("runs/model/synth/rows.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def at(server: Server, *more: str) -> list[str]:
    return [
        f"synth.writer={server.url}",
        "synth.model=m",
        "synth.rows=6",
        "synth.parallel=3",
        *more,
    ]


def test_rows_carry_their_provenance_and_train_as_they_are(server: Server) -> None:
    result = synth(*at(server))
    assert result["rows"] == result["written"] == 6 and result["rejected"] == {}
    rows = kept()
    assert sorted(row["provenance"]["ask"] for row in rows) == list(range(6))
    provenance = rows[0]["provenance"]
    assert provenance["writer"] == server.url and provenance["model"] == "m"
    assert provenance["sampling"]["temperature"] == 0.8 and "time" in provenance
    assert {body["seed"] for body in server.requests} == {r["provenance"]["seed"] for r in rows}
    from lilllm.data.conversations import to_messages

    assert [m["role"] for m in to_messages(rows[0], "here")] == ["user", "assistant"]


def test_trouble_that_passes_costs_nothing(server: Server) -> None:
    cut = b'{"choices": [{"message": {"content": "A do'
    server.trouble = [429, 500, 503, b"<html>", cut, b'{"choices": []}', "hang up"]
    assert synth(*at(server))["rows"] == 6
    assert len(server.requests) == 6 + 7
    assert len({row["completion"] for row in kept()}) == 6


def test_a_server_that_stays_down_is_an_error_and_what_was_kept_stays(server: Server) -> None:
    server.trouble = [None] * 4 + [500] * 99
    error = synth(*at(server, "synth.retries=2"), code=5)
    assert "asked" in error["message"] and "HTTP 500" in error["message"]
    assert "not now" in error["message"]
    before = kept()
    assert len(before) == 4
    server.trouble = []
    assert synth(*at(server))["written"] == 2
    assert kept()[:4] == before and len(kept()) == 6
    assert sorted(row["provenance"]["ask"] for row in kept()) == list(range(6))


def test_nobody_listens(server: Server) -> None:
    server.shutdown()
    server.server_close()
    error = synth(*at(server, "synth.retries=1"), code=5)
    assert "2 times" in error["message"] and "refused" in error["message"]
    other = ("synth.writer=http://no-such-host.invalid/v1", "synth.model=m", "synth.retries=0")
    assert "asked once" in synth(*other, code=5)["message"]  # nothing is written yet: no --fresh


def test_a_slow_answer_is_given_up_in_time(server: Server) -> None:
    server.trouble = ["slow"] * 3
    began = time.monotonic()
    limits = ("synth.timeout_seconds=0.3", "synth.retries=0")
    error = synth(*at(server, *limits), code=5)
    assert "0.3 s" in error["message"] and time.monotonic() - began < 3


def test_an_error_that_stalls_is_tried_again(server: Server) -> None:
    server.trouble = ["stalled error"]
    assert synth(*at(server, "synth.timeout_seconds=1"))["rows"] == 6


@pytest.mark.parametrize("code", [400, 401, 404])
def test_a_refused_request_is_not_repeated(server: Server, code: int) -> None:
    server.trouble = [code] * 99
    error = synth(*at(server, "synth.parallel=1"), code=2)
    assert f"HTTP {code}" in error["message"] and len(server.requests) == 1


def test_an_address_that_lacks_its_v1_is_told(server: Server) -> None:
    address = server.url.removesuffix("/v1")
    server.trouble = [404]
    error = synth(*at(server), f"synth.writer={address}/", code=2)
    assert f"synth.writer={address}/v1" in error["hint"]


def test_rubbish_is_rejected_and_endless_rubbish_ends(server: Server) -> None:
    server.answer = "Sorry."
    error = synth(*at(server, "synth.parallel=32"), code=3)
    assert "all rejected" in error["message"] and "rejected.jsonl" in error["hint"]
    lines = Path("runs/model/synth/rejected.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["text"] == "Sorry."


def test_the_key_comes_from_the_named_variable(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = "synth.api_key_variable=SOME_KEY"
    assert "SOME_KEY" in synth(*at(server, key), code=2)["message"]
    monkeypatch.setenv("SOME_KEY", "secret")
    synth(*at(server, key))
    assert set(server.keys) == {"Bearer secret"}
    assert not any("secret" in path.read_text() for path in Path("runs").rglob("*.json*"))


def test_other_settings_are_refused_more_rows_are_not(server: Server) -> None:
    synth(*at(server))
    assert "seed" in synth(*at(server, "seed=4"), code=2)["message"]
    assert "other settings" in synth(*at(server, "synth.min_words=3"), code=2)["message"]
    assert synth(*at(server, "synth.rows=8"))["written"] == 2
    assert synth(*at(server, "seed=4"), options=("--fresh",))["written"] == 6
    assert len(list(Path("runs/model").glob("synth-*"))) == 1


def test_self_instruct_grows_from_seed_tasks(server: Server) -> None:
    Path("seeds.jsonl").write_text('{"instruction": "Name three birds.", "output": "Owl, crow."}\n')
    server.answer = "Task: Explain thing {number} in {number}{number} words.\nAnswer: no {words}"
    more = ("synth.recipe=self-instruct", "synth.seeds=seeds.jsonl", "synth.max_similarity=1")
    assert synth(*at(server, *more))["rows"] == 6
    assert "Name three birds." in server.requests[0]["messages"][1]["content"]
    assert any("Explain thing" in r["messages"][1]["content"] for r in server.requests)
    Path("seeds.jsonl").write_text('{"instruction": "", "output": "x"}\n')
    assert "seeds.jsonl:1" in synth(*at(server, *more), code=3)["message"]
    assert "synth.seeds" in synth("synth.recipe=self-instruct", code=2)["message"]


class Answered(set[int]):
    """Counts how often it is asked."""

    looks = 0

    def __contains__(self, number: object) -> bool:
        self.looks += 1
        return super().__contains__(number)


class Echo:
    """A recipe and a writer; keeps the pools that asks are made from, and their sizes."""

    identity: ClassVar = {"writer": "echo"}

    def __init__(self) -> None:
        self.pools: list[tuple[Sequence[Row], int]] = []

    def remember(self, row: Row) -> None:
        pass

    def ask(self, number: int, pool: Sequence[Row]) -> Ask:
        self.pools.append((pool, len(pool)))
        return Ask(number, "", "ask")

    def write(self, asks: list[Ask]) -> Iterator[tuple[Ask, Answer]]:
        return ((ask, Answer("text", True, 0)) for ask in reversed(asks))

    def read(self, ask: Ask, text: str, complete: bool) -> Read:
        return Read([{"prompt": ask.prompt, "completion": text}])


def test_a_round_costs_the_same_however_many_rows_there_are() -> None:
    config = Config.model_validate({"synth": {"rows": 200, "parallel": 4}})
    echo = Echo()
    work = _Synthesis(config, Path("synth"), echo, echo, silent)
    work.answered = answered = Answered()
    work.run()
    assert [size for _, size in echo.pools] == [number - number % 4 for number in range(200)]
    assert len({id(pool) for pool, _ in echo.pools}) == 1
    assert answered.looks < 5 * 200


def test_a_killed_run_goes_on_without_duplicates(server: Server) -> None:
    server.pause = 0.05
    command = [sys.executable, "-m", "lilllm", "data", "synth", *at(server, "synth.rows=40")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(server.requests) < 10:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    server.pause = 0.0
    result = synth(*at(server, "synth.rows=40"))
    assert 0 < result["written"] < 40
    asks = [row["provenance"]["ask"] for row in kept()]
    assert sorted(asks) == list(range(40))


def test_a_checkpoint_writes_too_and_the_same_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lilllm.stages.synthesize.IN_VAIN", 5)
    write_checkpoint(Path("runs/a/pretrain/step-00000001"))
    error = synth("synth.rows=2", "generate.max_new_tokens=1", "synth.features=[]", code=3)
    assert "cut off" in error["message"]
    first = Path("runs/model/synth/rejected.jsonl").read_text().splitlines()
    synth(
        "synth.rows=2",
        "generate.max_new_tokens=1",
        "synth.features=[]",
        code=3,
        options=("--fresh",),
    )
    second = Path("runs/model/synth/rejected.jsonl").read_text().splitlines()
    pairs = zip(map(json.loads, first), map(json.loads, second), strict=True)
    assert all(a["text"] == b["text"] and a["prompt"] == b["prompt"] for a, b in pairs)
    assert json.loads(first[0])["provenance"]["weights"]
