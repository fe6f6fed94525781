"""Feedback over HTTP and on the page: blind pairs, judgements kept, everything else refused."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from benchmarks.screenshots import FLAGS, find_chromium
from lilllm.errors import RunError
from lilllm.serving import FeedbackDesk
from tests.serving.running import FakeEngine, running

CHROMIUM = find_chromium()


def desk(rows: list[dict[str, Any]]) -> FeedbackDesk:
    return FeedbackDesk(rows.append, lambda: "What now?", "runs/x/step-00000001", "hash")


def post(url: str, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/v1/feedback/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as err:
        return err.code, json.loads(err.read())


def test_a_pair_is_blind_and_its_judgements_are_kept() -> None:
    rows: list[dict[str, Any]] = []
    with running(FakeEngine(), feedback=desk(rows)) as up:
        status, pair = post(up.url, "pair", {})
        assert status == 200 and pair["prompt"] == "What now?"
        assert set(pair) == {"id", "prompt", "left", "right"} and pair["left"] != pair["right"]
        assert post(up.url, "pair", {"prompt": "Hi?"})[1]["prompt"] == "Hi?"
        assert post(up.url, "pair", {"prompt": "\ud800"})[0] == 400
        id = pair["id"]
        kept = [
            post(up.url, "judgement", {"id": id, **more})
            for more in (
                {"side": "left", "thumb": "up"},
                {"side": "right", "edit": "It was so."},
                {"better": "right", "reason": "funnier"},
            )
        ]
        assert kept == [(200, {"kept": kind}) for kind in ("thumb", "edit", "vote")]
        assert post(up.url, "judgement", {"id": id, "better": "left"})[0] == 404
    assert rows[0]["completion"] == pair["left"]
    assert rows[1]["chosen"] == "It was so." and rows[1]["rejected"] == pair["right"]
    assert rows[2]["chosen"] == pair["right"] and rows[2]["reason"] == "funnier"
    assert rows[2]["shown"][0]["checkpoint"] == "runs/x/step-00000001"


def test_a_pair_is_judged_once_however_many_ask_at_once() -> None:
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        time.sleep(0.2)
        rows.append(row)

    with running(FakeEngine(), feedback=replace(desk(rows), keep=keep)) as up:
        id = post(up.url, "pair", {})[1]["id"]
        with ThreadPoolExecutor(3) as pool:
            found = pool.map(
                lambda side: post(up.url, "judgement", {"id": id, "better": side})[0],
                ("left", "right", "left"),
            )
            assert sorted(found) == [200, 404, 404]
    assert len(rows) == 1


def test_an_answer_gets_one_thumb_and_one_edit() -> None:
    rows: list[dict[str, Any]] = []
    with running(FakeEngine(), feedback=desk(rows)) as up:
        id = post(up.url, "pair", {})[1]["id"]
        for side in ("left", "right"):
            for more in ({"thumb": "up"}, {"edit": "So."}):
                assert post(up.url, "judgement", {"id": id, "side": side, **more})[0] == 200
            for more in ({"thumb": "down"}, {"edit": "So."}, {"edit": "Not so."}):
                status, answer = post(up.url, "judgement", {"id": id, "side": side, **more})
                assert status == 409 and answer["error"]["code"] == "already_kept"
        assert post(up.url, "judgement", {"id": id, "better": "left"})[0] == 200
    assert len(rows) == 5


def test_strangers_are_not_asked() -> None:
    rows: list[dict[str, Any]] = []
    with running(FakeEngine(), feedback=desk(rows), host="0.0.0.0") as up:
        for path in ("pair", "judgement"):
            status, answer = post(up.url, path, {})
            assert status == 403 and "--api-key-file" in answer["error"]["message"]
    with running(FakeEngine(), feedback=desk(rows), host="0.0.0.0", api_key="s3cret") as up:
        assert post(up.url, "pair", {})[0] == 401
        assert post(up.url, "pair", {}, Authorization="Bearer s3cret")[0] == 200


def test_a_question_that_takes_long_stops_nobody_else() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def questions() -> Iterator[str]:  # which no two threads may draw from at once
        asked.set()
        go_on.wait(30)
        yield from ("One?", "Two?", "Three?")

    numbers = questions()
    given = replace(desk([]), question=lambda: next(numbers))
    with running(FakeEngine(), feedback=given) as up, ThreadPoolExecutor(2) as pool:
        place = urlsplit(up.url)
        with socket.create_connection((place.hostname, place.port)) as client:
            client.sendall(b"POST /v1/feedback/pair HTTP/1.1\r\nHost: localhost\r\n")
            client.sendall(b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
            assert asked.wait(10)
        try:  # that client is gone, and its question still being drawn
            time.sleep(0.3)
            found = [pool.submit(post, up.url, "pair", {}) for _ in range(2)]
            assert post(up.url, "pair", {"prompt": "Hi?"})[0] == 200
        finally:
            go_on.set()
        assert {pair.result()[1].get("prompt") for pair in found} == {"Two?", "Three?"}


def test_a_judgement_that_cannot_be_kept_says_why_and_can_be_given_again() -> None:
    rows: list[dict[str, Any]] = []
    full = [True]

    def keep(row: dict[str, Any]) -> None:
        if full.pop():
            raise RunError("votes.jsonl: cannot be written", "make room on the disk")

    with running(FakeEngine(), feedback=replace(desk(rows), keep=keep)) as up:
        body = {"id": post(up.url, "pair", {})[1]["id"], "better": "left"}
        status, answer = post(up.url, "judgement", body)
        assert status == 507 and "make room" in answer["error"]["message"]
        full.append(False)
        assert post(up.url, "judgement", body)[0] == 200
        thumb = {"id": post(up.url, "pair", {})[1]["id"], "thumb": "up", "side": "left"}
        full += [False, True]
        assert [post(up.url, "judgement", thumb)[0] for _ in range(3)] == [507, 200, 409]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"id": "x", "better": "left"}, 404),
        ({"better": "left"}, 400),
        ({"id": "ID"}, 400),
        ({"id": "ID", "better": "left", "thumb": "up", "side": "left"}, 400),
        ({"id": "ID", "thumb": "up"}, 400),
        ({"id": "ID", "thumb": "sideways", "side": "left"}, 400),
        ({"id": "ID", "edit": " ", "side": "left"}, 400),
        ({"id": "ID", "better": "left", "chosen": "mine"}, 400),
    ],
)
def test_other_judgements_are_refused(body: dict[str, str], status: int) -> None:
    rows: list[dict[str, Any]] = []
    with running(FakeEngine(), feedback=desk(rows)) as up:
        id = post(up.url, "pair", {})[1]["id"]
        body = {key: id if value == "ID" else value for key, value in body.items()}
        assert post(up.url, "judgement", body)[0] == status
    assert not rows


def test_without_a_place_for_them_nothing_is_collected() -> None:
    with running(FakeEngine()) as up:
        assert post(up.url, "pair", {})[0] in (404, 405)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium in the PATH")
def test_the_page_in_a_browser() -> None:
    from playwright.sync_api import sync_playwright

    rows: list[dict[str, Any]] = []
    wrong: list[str] = []
    with running(FakeEngine(), feedback=desk(rows)) as up, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda err: wrong.append(str(err)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.goto(f"{up.url}/feedback.html")
        page.wait_for_selector("body[data-pair]:not(.waiting)")
        left = page.locator("#left .said").text_content()
        page.click("#left .thumb[data-thumb=up]")
        page.wait_for_selector("#left .thumb[aria-pressed=true]")
        page.wait_for_selector("body:not(.waiting)")
        assert page.locator("#left .thumb:disabled").count() == 2  # one thumb each
        page.click("#right .edit")
        page.fill("#right textarea", "It was so.")
        page.click("#right .editing button")
        page.wait_for_selector("#right .editing", state="hidden")
        page.fill("#reason", "funnier")
        page.click("text=Left is better")
        page.wait_for_selector("#kept:text-is('3 kept')")
        page.fill("#question", "Hi?")
        page.click("#ask button")
        page.wait_for_selector("#prompt:text-is('Hi?')")
        page.wait_for_selector("body:not(.waiting)")
        assert page.locator(".answers button:disabled").count() == 0
        browser.close()
    assert [row["feedback"] for row in rows] == ["thumb", "edit", "vote"] and not wrong
    assert rows[2]["chosen"] == left and rows[2]["reason"] == "funnier"


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium in the PATH")
def test_the_page_tells_strangers_that_they_are_not_asked() -> None:
    from playwright.sync_api import sync_playwright

    with (
        running(FakeEngine(), feedback=desk([]), host="0.0.0.0") as up,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        page.goto(f"{up.url}/feedback.html")
        page.wait_for_selector("#problem:has-text('--api-key-file')", timeout=10_000)
        browser.close()
