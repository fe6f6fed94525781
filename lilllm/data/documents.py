"""Documents and rows of a source, whatever kind it is, one after the other.

Splitting a source for several processes is `plan.py`.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from lilllm.data.badrows import OnBadRow, Policy, handler
from lilllm.data.builtin import (
    DEFAULT_DOCUMENTS,
    PREFIX,
    builtin_documents,
    builtin_rows,
    require_builtin,
)
from lilllm.data.inputs import find_inputs
from lilllm.data.rows import file_rows
from lilllm.data.text import Piece, is_unicode, text_pieces

if TYPE_CHECKING:
    from lilllm.config.schema import SourceConfig

HUB = "hf:"


class Document(NamedTuple):
    """A text and where it comes from: `file:line`, or a source's name and number.

    The text has no leading or trailing white space: bits per byte is defined without.
    """

    text: str
    where: str


def read_documents(
    source: "SourceConfig", on_bad_row: Policy | OnBadRow = "refuse", seed: int = 0
) -> Iterator[Document]:
    """Documents of one source, in order, at most `source.documents`.

    Args:
        source: where they come from; its weight is not applied.
        on_bad_row: refuse or skip rows that cannot be read, or a callable that gets where such
            a row is and what is wrong, and may raise.
        seed: of the built-in stories.

    Raises:
        DataError: the source cannot be read, or a bad row is refused.
    """
    on_bad = handler(on_bad_row)
    return islice(_documents(source, on_bad, seed), source.documents)


def _documents(source: "SourceConfig", on_bad: OnBadRow, seed: int) -> Iterator[Document]:
    if source.path.startswith(PREFIX):
        require_builtin(source.path, ("builtin:stories",))
        for text, where in builtin_documents(0, source.documents or DEFAULT_DOCUMENTS, seed):
            yield Document(text, where)
        return
    if source.path.startswith(HUB):
        from lilllm.data.hub import hub_rows

        yield from row_documents(hub_rows(source.path, source.split), source.field, on_bad)
        return
    for input in find_inputs(source.path):
        if input.kind == "text":
            yield from _whole(text_pieces(input, source.separator, on_bad))
        else:
            rows = file_rows(input, on_bad, columns=[source.field], header=source.columns)
            yield from row_documents(rows, source.field, on_bad)


def _whole(pieces: Iterator[Piece]) -> Iterator[Document]:
    parts: list[str] = []
    for piece in pieces:
        parts.append(piece.text)
        if piece.last:
            text = "".join(parts)
            if text and not piece.broken:
                yield Document(text, piece.where)
            parts.clear()


def row_documents(
    rows: Iterator[tuple[dict[str, Any], str]], field: str, on_bad_row: OnBadRow
) -> Iterator[Document]:
    """The text of each row, stripped of outer white space like every document.

    Empty texts come too, for whoever counts them.
    """
    for row, where in rows:
        text = row.get(field)
        if isinstance(text, str):
            if is_unicode(text):
                yield Document(text.strip(), where)
            else:
                on_bad_row(where, f"the field {field!r} is not valid Unicode (a lone surrogate)")
        elif field not in row:
            keys = ", ".join(map(str, row)) or "nothing"
            on_bad_row(where, f"no field {field!r}; the row has: {keys} (set the source's `field`)")
        else:
            kind = "nothing" if text is None else type(text).__name__
            on_bad_row(where, f"the field {field!r} holds {kind}, not text")


def read_rows(
    source: "SourceConfig",
    on_bad_row: Policy | OnBadRow = "refuse",
    seed: int = 0,
    columns: Sequence[str] | None = None,
) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows of one source with where each is, in order, at most `source.documents`.

    Args:
        source: files of rows, a hub dataset, `builtin:stories-instruct` and the like, or files of
            text, whose documents are rows with a `text`.
        on_bad_row: as for `read_documents`.
        seed: of the built-in rows.
        columns: the only columns wanted, where the format can leave out others.

    Raises:
        DataError: the source cannot be read or holds no rows, or a bad row is refused.
    """
    on_bad = handler(on_bad_row)
    rows = islice(_rows(source, on_bad, seed, columns), source.documents)
    return _renamed(rows, source.fields, on_bad) if source.fields else rows


def _renamed(
    rows: Iterator[tuple[dict[str, Any], str]], fields: dict[str, str], on_bad: OnBadRow
) -> Iterator[tuple[dict[str, Any], str]]:
    """Rows whose fields have our names; those that are not named are left out.

    `on_bad` is told of a row that lacks a field that was named.
    """
    for row, where in rows:
        missing = [theirs for theirs in fields.values() if theirs not in row]
        if missing:
            have = ", ".join(map(str, row))
            on_bad(where, f"no field {missing[0]!r}, which `fields` names; the row has: {have}")
            continue
        yield {ours: row[theirs] for ours, theirs in fields.items()}, where


def _rows(
    source: "SourceConfig", on_bad: OnBadRow, seed: int, columns: Sequence[str] | None
) -> Iterator[tuple[dict[str, Any], str]]:
    if source.path.startswith(PREFIX):
        yield from builtin_rows(source.path, source.documents or DEFAULT_DOCUMENTS, seed)
    elif source.path.startswith(HUB):
        from lilllm.data.hub import hub_rows

        yield from hub_rows(source.path, source.split)
    else:
        for input in find_inputs(source.path):
            if input.kind == "text":
                for text, where in _whole(text_pieces(input, source.separator, on_bad)):
                    yield {"text": text}, where
            else:
                yield from file_rows(input, on_bad, columns=columns, header=source.columns)
