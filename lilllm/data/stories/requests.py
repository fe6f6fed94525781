"""Requests for stories with three words, without an answer: for rewards that can be checked."""

from collections.abc import Iterator
from typing import Any

from lilllm.data.stories.compose import stories


def word_request_rows(seed: int, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Rows `{"prompt": request, "words": [three words]}`; the words stand together in a story."""
    for story in stories(seed, start, stop):
        words = list(story.words)
        yield {"prompt": f"Write a story with the words: {', '.join(words)}.", "words": words}
