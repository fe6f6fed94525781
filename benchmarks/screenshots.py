"""The pictures of the web page in docs/images/, made from a running server.

lilllm serve runs/demo &
python benchmarks/screenshots.py http://127.0.0.1:8000
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
QUESTION = "Write a story with the words: garden, find, happy."
BEGINNING = "One sunny morning, a little fox found a lantern"


def find_chromium() -> str | None:
    """The system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if (path := shutil.which(name))), None)


def wait_until_done(page: Page) -> None:
    """Until nothing is generated any more."""
    page.wait_for_selector("body:not(.busy)")


def main(address: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=FLAGS)
        options: dict[str, Any] = {"viewport": {"width": 1180, "height": 760}}
        for scheme in ("light", "dark"):
            page = browser.new_page(**options, color_scheme=scheme, device_scale_factor=1.5)
            page.goto(address)
            page.fill("#seed", "3")
            if scheme == "light":
                page.fill("#message", QUESTION)
                page.press("#message", "Enter")
                wait_until_done(page)
                page.evaluate("document.getElementById('chat').scrollTop = 0")
                page.screenshot(path=IMAGES / "serve-light.png")
                continue
            page.click("#tab-story")
            page.check("#surprise")
            page.fill("#message", BEGINNING)
            page.press("#message", "Control+Enter")
            wait_until_done(page)
            page.screenshot(path=IMAGES / "serve-dark.png")
            page.click("#theme")
            page.evaluate(  # the least likely one of the first lines
                """[...document.querySelectorAll('.token')].slice(3, 40)
                .sort((a, b) => parseFloat(a.title) - parseFloat(b.title))[0].click()"""
            )
            page.screenshot(path=IMAGES / "serve-alternatives.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
