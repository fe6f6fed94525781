"""Bits per byte: how well a model predicts a set of documents, whatever its tokenizer.

Scores token ids; reading documents and counting their bytes is the caller's.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lilllm.errors import DataError, RunError
from lilllm.model import Transformer

SORTED_BATCHES = 32  # windows of this many batches are sorted by length together
LOGITS_BYTES = 1 << 26  # of one slice of logits, so that a large vocabulary needs no more memory

Window = tuple[list[int], list[int]]  # inputs, targets


def bits_per_byte(
    model: Transformer,
    documents: Iterable[Sequence[int]],
    n_bytes: int | Callable[[], int],
    *,
    bos_id: int,
    end_id: int,
    batch_tokens: int = 16_384,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, float]:
    """Score every document, followed by end-of-text, in a context of its own.

    The first token is predicted from `bos_id`. A document longer than the context is split into
    non-overlapping windows of the context's length; a window's first token is predicted from the
    one before it. Windows are sorted by length and padded on the right, where a causal model
    does not look, so neither the batches nor their order change the result.

    Args:
        model: scored in its own type, on its own device.
        documents: token ids of stripped documents, without special tokens.
        n_bytes: UTF-8 bytes of all of them, or a function called after the last document.
        bos_id: the token that starts a context.
        end_id: end-of-text, scored as the last token of every document.
        batch_tokens: tokens of a forward pass, at most, unless one window has more.
        on_progress: called after every forward pass with the tokens scored so far.

    Returns:
        `bpb` in bits per byte, `loss` in nats per token, `perplexity` = exp(loss), and the
        counts `documents`, `bytes` and `tokens` (end-of-text included).

    Raises:
        DataError: no documents, or documents of no bytes.
        RunError: the model's loss is not a finite number.
    """
    counts = {"documents": 0, "tokens": 0}

    def windows() -> Iterator[Window]:
        for document in documents:
            ids = [int(token) for token in document]
            counts["documents"] += 1
            counts["tokens"] += len(ids) + 1
            yield from _windows([bos_id, *ids], [*ids, end_id], model.shape.max_seq_len)

    nats, scored = 0.0, 0
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            for batch in _batches(windows(), batch_tokens):
                nats += _score(model, batch)
                scored += sum(len(targets) for _, targets in batch)
                if on_progress is not None:
                    on_progress(scored)
    finally:
        model.train(training)
    size = n_bytes() if callable(n_bytes) else n_bytes
    if not counts["documents"] or size < 1:
        raise DataError("nothing to score: there are no documents with text")
    loss = nats / counts["tokens"]
    if not math.isfinite(loss):
        raise RunError(f"the loss of the evaluated model is {loss}", "use an earlier checkpoint")
    return {
        "bpb": nats / math.log(2) / size,
        "loss": loss,
        "perplexity": math.exp(min(loss, 700.0)),
        **counts,
        "bytes": size,
    }


def _windows(inputs: list[int], targets: list[int], length: int) -> Iterator[Window]:
    for start in range(0, len(inputs), length):
        yield inputs[start : start + length], targets[start : start + length]


def _batches(windows: Iterable[Window], batch_tokens: int) -> Iterator[list[Window]]:
    """Group windows of nearly equal length so that a padded batch has at most `batch_tokens`."""
    pool: list[Window] = []
    pooled = 0
    for window in windows:
        pool.append(window)
        pooled += len(window[0])
        if pooled >= SORTED_BATCHES * batch_tokens:
            yield from _by_length(pool, batch_tokens)
            pool, pooled = [], 0
    yield from _by_length(pool, batch_tokens)


def _by_length(pool: list[Window], batch_tokens: int) -> Iterator[list[Window]]:
    batch: list[Window] = []
    for window in sorted(pool, key=lambda window: -len(window[0])):
        if batch and (len(batch) + 1) * len(batch[0][0]) > batch_tokens:
            yield batch
            batch = []
        batch.append(window)
    if batch:
        yield batch


def _score(model: Transformer, batch: list[Window]) -> float:
    """Summed -log p of a batch's targets, in nats."""
    device = model.output_weight.device
    longest = len(batch[0][0])
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    targets = torch.full((len(batch), longest), -1)
    for row, (inputs, wanted) in enumerate(batch):
        ids[row, : len(inputs)] = torch.tensor(inputs)
        targets[row, : len(wanted)] = torch.tensor(wanted)
    hidden = model.hidden(ids.to(device))  # [B, T, D]
    scored = (targets >= 0).to(device)
    return _summed_loss(model, hidden[scored], targets.to(device)[scored])


def _summed_loss(model: Transformer, hidden: Tensor, targets: Tensor) -> float:
    """Sum over positions of -log p, a slice of logits [rows, V] at a time."""
    rows = max(1, LOGITS_BYTES // (4 * model.shape.vocab_size))
    total = 0.0
    for start in range(0, len(targets), rows):
        logits = model.logits(hidden[start : start + rows]).float()
        losses = F.cross_entropy(logits, targets[start : start + rows], reduction="none")
        total += losses.cpu().double().sum().item()
    return total
