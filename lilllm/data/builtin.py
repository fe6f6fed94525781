"""The built-in sources: generated stories as documents and as rows, by index."""

from collections.abc import Iterator
from typing import Any

from lilllm.errors import DataError

PREFIX = "builtin:"
DEFAULT_DOCUMENTS = 50_000
STORY_BYTES = 720
"""About the mean size of a story; progress is told with it."""

_ROWS = {
    "builtin:stories-instruct": "instruction_rows",
    "builtin:stories-classify": "classification_rows",
    "builtin:stories-summaries": "summary_rows",
    "builtin:stories-words": "word_request_rows",
    "builtin:stories-openings": "opening_rows",
}
NAMES = ("builtin:stories", *_ROWS)


def require_builtin(path: str, names: tuple[str, ...] = NAMES) -> None:
    """Check the name of a built-in source.

    Raises:
        DataError: there is none of that name.
    """
    if path not in names:
        raise DataError(f"{path}: no such built-in source", f"there are: {', '.join(names)}")


def builtin_documents(start: int, stop: int, seed: int) -> Iterator[tuple[str, str]]:
    """(text, where) of the stories [start, stop)."""
    from lilllm.data.stories import stories

    for number, story in enumerate(stories(seed, start, stop), start):
        yield story.text, f"builtin:stories #{number}"


def builtin_rows(path: str, count: int, seed: int) -> Iterator[tuple[dict[str, Any], str]]:
    """The first rows of a built-in source, with where each is."""
    from lilllm.data import stories

    require_builtin(path)
    if path == "builtin:stories":
        for text, where in builtin_documents(0, count, seed):
            yield {"text": text}, where
        return
    for number, row in enumerate(getattr(stories, _ROWS[path])(seed, 0, count)):
        yield row, f"{path} #{number}"
