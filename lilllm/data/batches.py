"""Which tokens a training step sees: windows over documents, in an order that needs no state.

A sample is a row of a window table, and the order of an epoch is a keyed permutation, so
everything is a pure function of (seed, samples seen): a run resumes exactly, on any number of
processes. Reading shards is `shards.py`; nothing here knows a model.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

IGNORE = -100
"""Target of a position that has no loss; the default `ignore_index` of cross-entropy."""

Ints = NDArray[np.int64]


class Batch(NamedTuple):
    """Sequences of one forward pass.

    ids: inputs [B, T]. targets: what each position should predict [B, T], or IGNORE.
    segments: [B, T], attention stays within equal numbers, or None for one segment per row.
    """

    ids: Ints
    targets: Ints
    segments: Ints | None


class Windows(Protocol):
    """A fixed table of training samples."""

    length: int
    """Positions of a sample, T; their mean where samples differ."""

    def __len__(self) -> int:
        """Samples in the table."""
        ...

    def read(self, rows: Ints) -> tuple[Any, ...]:
        """The samples of some rows of the table: arrays, in the order the objective wants."""
        ...


def longest_first(windows: Windows, rows: Ints) -> Ints:
    """Rows in an order that fills up little when neighbours are read together.

    Tables of samples that differ in length say each one's as `lengths` [rows of the table]; others
    keep their order. Longest first, so that a batch too large for the memory fails at once.
    """
    lengths: Ints | None = getattr(windows, "lengths", None)
    return rows if lengths is None else rows[np.argsort(-lengths[rows], kind="stable")]


def permute(index: Ints, size: int, key: int) -> Ints:
    """Positions of `index` in a pseudo-random order of range(size): a keyed bijection.

    A Feistel network on the next power of four, walked until it lands inside the range, so no
    permutation is ever stored. Source: Black and Rogaway 2002, "Ciphers with arbitrary finite
    domains", method 2; the round function is splitmix64's mixer (Steele et al. 2014).

    Args:
        index: values in [0, size).
        size: how many there are.
        key: any integer; another key gives another order.
    """
    half = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = np.random.SeedSequence(abs(key)).generate_state(4, np.uint64)
    value = index.astype(np.uint64)
    outside = np.ones(len(value), dtype=bool)
    while outside.any():
        left, right = value[outside] >> half, value[outside] & mask
        for round_key in keys:
            left, right = right, left ^ (_mix(right + round_key) & mask)
        value[outside] = (left << half) | right
        outside = value >= np.uint64(size)
    return value.astype(np.int64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def sample_rows(start: int, count: int, size: int, seed: int) -> Ints:
    """Table rows of the samples [start, start + count) of a run, over as many epochs as needed."""
    samples = np.arange(start, start + count, dtype=np.int64)
    rows = np.empty(count, dtype=np.int64)
    for epoch in np.unique(samples // size):
        here = samples // size == epoch
        rows[here] = permute(samples[here] % size, size, key=(seed << 32) + int(epoch))
    return rows


class StreamWindows:
    """Consecutive windows over one long stream of tokens; documents run across their borders.

    Args:
        read: tokens [start, stop) of the stream.
        n_tokens: its length.
        length: positions of a window, T.
    """

    def __init__(
        self, read: Callable[[int, int], NDArray[np.integer]], n_tokens: int, length: int
    ) -> None:
        self._read, self.length = read, length
        self._size = max(0, (n_tokens - 1) // length)

    def __len__(self) -> int:
        return self._size

    def spans(self, rows: Ints) -> Ints:
        """Stretches of the stream that windows are made of: [spans, 2] of start and stop."""
        return np.stack((rows * self.length, (rows + 1) * self.length + 1), axis=1)

    def read(self, rows: Ints) -> Batch:
        """Tokens of each window, and the same shifted by one as targets."""
        length = self.length
        tokens = np.empty((len(rows), length + 1), dtype=np.int64)
        for i, row in enumerate(rows.tolist()):
            tokens[i] = self._read(row * length, row * length + length + 1)
        return Batch(tokens[:, :-1], tokens[:, 1:], None)


class PackedWindows:
    """Whole documents packed into windows; no window starts in the middle of a short one.

    A document longer than a window is cut into pieces; what a window has left is filled with
    positions that have no target.

    Args:
        read: tokens [start, stop) of the stream of documents.
        ends: where each document ends in it [documents].
        length: positions of a window, T.
        before_id: what stands before the first document, end-of-text in shards, where every
            document follows the end of another and so its first token is a target too; None:
            documents bring their own first input, as conversations do.
        fill_id: input of positions that are left.
        read_mask: 1 for tokens that are targets; None: all are.
        segmented: keep attention within documents.
    """

    def __init__(
        self,
        read: Callable[[int, int], NDArray[np.integer]],
        ends: NDArray[np.integer],
        length: int,
        before_id: int | None,
        fill_id: int = 0,
        read_mask: Callable[[int, int], NDArray[np.integer]] | None = None,
        segmented: bool = False,
    ) -> None:
        self._read, self._read_mask = read, read_mask
        self.length, self._segmented = length, segmented
        self._before_id, self._fill_id = before_id, fill_id
        pieces = split_documents(ends, length)
        self._pieces, self._first = pack_best_fit(pieces, length)

    def __len__(self) -> int:
        return len(self._first) - 1

    def spans(self, rows: Ints) -> Ints:
        """Stretches of the stream that windows are made of: [spans, 2] of start and stop."""
        here = [self._pieces[self._first[row] : self._first[row + 1]] for row in rows.tolist()]
        return np.concatenate(here) if here else np.empty((0, 2), dtype=np.int64)

    def read(self, rows: Ints) -> Batch:
        """Inputs, targets and, if segmented, the piece that each position belongs to."""
        shape = (len(rows), self.length)
        ids = np.full(shape, self._fill_id, dtype=np.int64)
        targets = np.full(shape, IGNORE, dtype=np.int64)
        segments = np.full(shape, -1, dtype=np.int64)
        for i, row in enumerate(rows.tolist()):
            at = 0
            first, last = self._first[row], self._first[row + 1]
            for piece, (start, stop) in enumerate(self._pieces[first:last].tolist()):
                span = slice(at, at + stop - start)
                ids[i, span], targets[i, span] = self._piece(start, stop)
                segments[i, span] = piece
                at += stop - start
        return Batch(ids, targets, segments if self._segmented else None)

    def _piece(self, start: int, stop: int) -> tuple[Ints, Ints]:
        tokens = self._read(start, stop).astype(np.int64)
        wanted = tokens
        if self._read_mask is not None:
            wanted = np.where(self._read_mask(start, stop) == 1, tokens, IGNORE)
        if self._before_id is None:
            return tokens, np.append(wanted[1:], IGNORE)
        before = int(self._read(start - 1, start)[0]) if start else self._before_id
        return np.append(before, tokens[:-1]), wanted


def documents_in(spans: Ints, ends: NDArray[np.integer]) -> Ints:
    """Numbers of the documents that stretches of a stream touch, in order, each once.

    Args:
        spans: [spans, 2] of start and stop.
        ends: where each document ends [documents].
    """
    first = np.searchsorted(ends, spans[:, 0], side="right")
    last = np.searchsorted(ends, spans[:, 1] - 1, side="right")
    return np.unique(
        np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)])
    )


def split_documents(ends: NDArray[np.integer], length: int) -> Ints:
    """Cut documents into pieces of at most `length` tokens: [pieces, 2] of start and stop."""
    ends = ends.astype(np.int64)
    starts = np.concatenate((np.zeros(1, dtype=np.int64), ends))[:-1]
    counts = -(-(ends - starts) // length)
    number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    piece_starts = np.repeat(starts, counts) + number * length
    piece_stops = np.minimum(piece_starts + length, np.repeat(ends, counts))
    return np.stack((piece_starts, piece_stops), axis=1)


def pack_best_fit(pieces: Ints, length: int) -> tuple[Ints, Ints]:
    """Put pieces into as few windows as best-fit decreasing finds.

    Args:
        pieces: [pieces, 2] of start and stop, none longer than `length`.
        length: capacity of a window.

    Returns:
        the pieces window by window, and where each window begins in them [windows + 1].

    Source: Ding et al. 2024, "Fewer truncations improve language modeling", arXiv:2404.10830.
    """
    sizes = pieces[:, 1] - pieces[:, 0]
    order = np.argsort(-sizes, kind="stable")
    window_of = np.empty(len(pieces), dtype=np.int64)
    rooms: list[int] = []  # the amounts of room that open windows have, sorted, each once
    open_windows: dict[int, list[int]] = {}
    windows = 0
    for piece, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        best = bisect_left(rooms, size)
        if best == len(rooms):
            window, room = windows, length
            windows += 1
        else:
            room = rooms[best]
            window = open_windows[room].pop()
            if not open_windows[room]:
                del open_windows[room], rooms[best]
        window_of[piece] = window
        left = room - size
        if left:
            if left not in open_windows:
                insort(rooms, left)
            open_windows.setdefault(left, []).append(window)
    by_window = np.argsort(window_of, kind="stable")
    first = np.searchsorted(window_of[by_window], np.arange(windows + 1))
    return pieces[by_window], first.astype(np.int64)
