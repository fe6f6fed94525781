"""The web page in the system's Chromium, driven by Playwright."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from benchmarks.screenshots import FLAGS, find_chromium, wait_until_done
from tests.serving.running import TOKENIZER, FakeEngine, letters, running, served_model

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium in the PATH"),
]

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens the page on a server of its own; nothing may be wrong in the browser's console."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def open_page(engine: FakeEngine, *, expect: str = "", **options: Any) -> Any:
            view = {key: options.pop(key) for key in ("color_scheme",) if key in options}
            up = stack.enter_context(running(engine, **options))
            context = stack.enter_context(browser.new_context(**view))
            page = context.new_page()
            page.set_default_timeout(10_000)
            page.on("pageerror", lambda err: wrong.append(str(err)))
            page.on(
                "console",
                lambda said: (
                    wrong.append(said.text)
                    if said.type == "error" and not (expect and expect in said.text)
                    else None
                ),
            )
            page.goto(up.url)
            page.wait_for_selector("#temperature")
            return page

        yield open_page
    assert not wrong


def say(page: Any, text: str, key: str = "Enter") -> None:
    page.fill("#message", text)
    page.press("#message", key)
    wait_until_done(page)


def answer(page: Any) -> str:
    return str(page.locator(".turn.assistant .said").last.text_content())


def test_an_answer_is_streamed_stopped_and_made_again(open_page: Open) -> None:
    engine = FakeEngine(pace=0.02)
    page = open_page(engine, model=served_model(context=512))
    page.fill("#seed", "5")
    say(page, "hi <b>there</b>")
    assert answer(page) == letters(5, 0, 12)
    assert page.locator(".turn.user .said").text_content() == "hi <b>there</b>"
    assert page.locator("#announce").text_content() == f"Answer: {letters(5, 0, 12)}"
    page.click("#again")
    wait_until_done(page)
    assert answer(page) == letters(6, 0, 12) and page.locator(".turn.assistant").count() == 1
    page.evaluate("document.getElementById('max_tokens').value = 64")
    page.fill("#message", "more")
    page.press("#message", "Enter")
    page.locator(".token").nth(15).wait_for()
    page.click("#stop")
    wait_until_done(page)
    assert 3 < len(answer(page)) < 60 and letters(5, 0, 64).startswith(answer(page))
    assert "stopped" in page.locator(".figures").last.text_content()
    page.wait_for_timeout(100)
    assert not engine.running  # its slot is free
    page.click(".edit")
    assert page.input_value("#message") == "more" and page.locator(".turn").count() == 2
    page.click("#clear")
    assert page.locator(".turn").count() == 0 and page.locator(".welcome").first.is_visible()


def test_a_click_on_a_token_shows_its_alternatives(open_page: Open) -> None:
    page = open_page(FakeEngine())
    say(page, "hi")
    ligatures = "getComputedStyle(document.querySelector('.token')).fontVariantLigatures"
    assert page.evaluate(ligatures) == "none"  # over two tokens it hides the second
    page.locator(".token").nth(2).click()
    panel = page.locator("#alternatives")
    assert "had a probability of 61 %" in panel.locator("h2").text_content()
    assert panel.locator("li").count() in (10, 11)
    assert "a37 %" in panel.text_content().replace(" ", "").replace("37%", "37 %")
    assert panel.locator("button.row").count() == 0  # an answer cannot be branched
    page.keyboard.press("Escape")
    assert panel.is_hidden()
    assert page.evaluate("document.activeElement.classList.contains('said')")


def test_a_story_goes_on_from_another_token(open_page: Open) -> None:
    engine = FakeEngine()
    page = open_page(engine)
    page.click("#tab-story")
    page.fill("#seed", "1")
    say(page, "The cat ", "Control+Enter")
    said = page.locator("#page .said")
    assert said.text_content() == "The cat " + letters(1, 0, 12)
    page.locator(".token").nth(4).click()
    page.locator("#alternatives button.row").first.click()
    wait_until_done(page)
    begun = "The cat " + letters(1, 0, 4)
    prompt = TOKENIZER.decode(engine.seen[-1].prompt_ids)
    assert prompt[:-1] == begun and prompt[-1] in "abc"
    assert said.text_content() == prompt + letters(1, 0, 12)
    say(page, " And then", "Control+Enter")
    whole = "".join(page.locator("#page .said").all_text_contents())
    assert whole == prompt + letters(1, 0, 12) + " And then" + letters(1, 0, 12)
    page.click("#again")
    wait_until_done(page)
    again = "".join(page.locator("#page .said").all_text_contents())
    assert again == prompt + letters(1, 0, 12) + " And then" + letters(2, 0, 12)


def test_everything_can_be_done_with_the_keyboard(open_page: Open) -> None:
    page = open_page(FakeEngine())
    assert page.evaluate("document.activeElement.id") == "message"
    say(page, "hi")
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.matches('.turn.assistant .said')"):
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert "61 %" in page.locator("#announce").text_content()
    page.keyboard.press("Enter")
    assert page.locator("#alternatives").is_visible()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "alternatives-close"
    page.keyboard.press("Enter")
    assert page.locator("#alternatives").is_hidden()
    page.focus("#tab-chat")
    page.keyboard.press("ArrowRight")
    assert page.locator("#story").is_visible() and page.locator("#chat").is_hidden()


def test_every_control_has_a_name_for_screen_readers(open_page: Open) -> None:
    page = open_page(FakeEngine())
    say(page, "hi")
    unnamed = page.evaluate(
        """[...document.querySelectorAll('button, input, textarea, [role=dialog], [role=group]')]
        .filter(e => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim()))
        .map(e => e.outerHTML)"""
    )
    assert unnamed == []
    assert page.locator("[role=log]").count() == page.locator("[role=alert]").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_they_are_chosen(open_page: Open, scheme: str) -> None:
    page = open_page(FakeEngine(), color_scheme=scheme)
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == scheme
    page.click("#theme")
    other = {"light": "dark", "dark": "light"}[scheme]
    assert page.evaluate(theme) == other
    page.reload()
    assert page.evaluate(theme) == other


def test_sampling_controls_reach_the_engine_and_are_kept(open_page: Open) -> None:
    engine = FakeEngine()
    page = open_page(engine)
    assert page.input_value("#temperature") == "0.7"  # the model's own
    page.locator("#temperature").fill("1.2")
    page.fill("#system", "Be kind.")
    say(page, "hi")
    assert engine.seen[-1].options.temperature == 1.2
    assert "Be kind." in TOKENIZER.decode(engine.seen[-1].prompt_ids)
    page.reload()
    page.wait_for_selector("#temperature")
    assert page.input_value("#temperature") == "1.2"
    page.click("#defaults")
    assert page.input_value("#temperature") == "0.7" and page.input_value("#system") == ""


def test_a_base_model_only_continues_and_says_so(open_page: Open) -> None:
    page = open_page(FakeEngine(), model=served_model(chats=False))
    assert page.locator("#base-note").is_visible()
    assert page.locator("#tab-chat").is_disabled() and page.locator("#story").is_visible()
    page.fill("#seed", "1")
    say(page, "The cat ", "Control+Enter")
    assert page.locator("#page .said").text_content() == "The cat " + letters(1, 0, 12)


def test_a_conversation_longer_than_the_context_goes_on(open_page: Open) -> None:
    page = open_page(FakeEngine(), expect="400")
    for number in range(6):
        say(page, f"a longer message number {number}")
    assert page.locator(".turn.assistant").count() == 6
    assert "no longer sees" in page.locator(".forgotten").text_content()


def test_a_server_with_a_key_asks_for_it(open_page: Open, browser: Any) -> None:
    with running(FakeEngine(), api_key="s3cret") as up:
        page = browser.new_page()
        page.goto(up.url)
        page.wait_for_selector("#key")
        page.fill("#key", "s3cret")
        page.press("#key", "Enter")
        page.wait_for_selector("#temperature")
        say(page, "hi")
        assert len(answer(page)) == 12
        page.close()


def test_a_failing_engine_is_told_in_the_page(open_page: Open) -> None:
    page = open_page(FakeEngine(failing=RuntimeError("broken")))
    say(page, "hi")
    assert "failed" in page.locator("#problem").text_content()
    say(page, "again")
    assert page.locator("#problem").is_hidden() and len(answer(page)) == 12
