import numpy as np
import pytest

from lilllm.data.batches import (
    IGNORE,
    PackedWindows,
    StreamWindows,
    longest_first,
    pack_best_fit,
    permute,
    sample_rows,
    split_documents,
)
from lilllm.data.tables import AnswerPairs, LabelledTexts


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000, 4097])
@pytest.mark.parametrize("key", [0, 1, 2**40])
def test_the_order_of_an_epoch_is_a_permutation(size: int, key: int) -> None:
    order = permute(np.arange(size), size, key)
    assert sorted(order.tolist()) == list(range(size))


def test_another_key_gives_another_order_and_a_part_equals_the_whole() -> None:
    whole = permute(np.arange(1000), 1000, 5)
    assert (permute(np.arange(300, 400), 1000, 5) == whole[300:400]).all()
    assert (whole != permute(np.arange(1000), 1000, 6)).mean() > 0.9
    assert abs(np.corrcoef(whole, np.arange(1000))[0, 1]) < 0.1


def test_every_epoch_sees_every_sample_once_in_its_own_order() -> None:
    rows = sample_rows(0, 300, 100, seed=3)
    for epoch in range(3):
        assert sorted(rows[epoch * 100 : epoch * 100 + 100].tolist()) == list(range(100))
    assert rows[:100].tolist() != rows[100:200].tolist()
    assert (sample_rows(90, 20, 100, seed=3) == rows[90:110]).all()


def test_stream_windows_predict_the_next_token_everywhere() -> None:
    tokens = np.arange(100, dtype=np.uint16)
    windows = StreamWindows(lambda a, b: tokens[a:b], len(tokens), 8)
    assert len(windows) == 12
    batch = windows.read(np.array([0, 11]))
    assert batch.ids[1].tolist() == list(range(88, 96))
    assert (batch.targets == batch.ids + 1).all()


def documents(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    ends = np.cumsum(lengths)
    tokens = np.arange(1, ends[-1] + 1)
    tokens[ends - 1] = 0  # every document ends with end-of-text, id 0
    return tokens, ends


def test_packed_windows_hold_every_token_as_a_target_exactly_once() -> None:
    rng = np.random.default_rng(0)
    tokens, ends = documents(rng.integers(1, 40, 200).tolist())
    windows = PackedWindows(lambda a, b: tokens[a:b], ends, 16, before_id=0)
    batch = windows.read(np.arange(len(windows)))
    kept = batch.targets != IGNORE
    assert sorted(batch.targets[kept].tolist()) == sorted(tokens.tolist())
    before = np.where(tokens[:-1] == 0, 0, tokens[:-1])
    follows = dict(zip(tokens[1:].tolist(), before.tolist(), strict=True))
    for ids, targets in zip(batch.ids[kept].tolist(), batch.targets[kept].tolist(), strict=True):
        if targets:
            assert ids == follows.get(targets, 0), "an input is the token before its target"


def test_short_documents_start_where_a_window_or_another_document_ends() -> None:
    tokens, ends = documents([5, 6, 7, 8])
    batch = PackedWindows(lambda a, b: tokens[a:b], ends, 13, before_id=0).read(np.arange(2))
    assert batch.ids[0, 0] == 0
    assert {int((row == 0).sum()) for row in batch.targets} == {2}, "two whole documents each"


def test_best_fit_wastes_little_and_is_deterministic() -> None:
    rng = np.random.default_rng(1)
    ends = np.cumsum(rng.integers(20, 250, 3000))
    pieces = split_documents(ends, 256)
    packed, first = pack_best_fit(pieces, 256)
    again, _ = pack_best_fit(pieces, 256)
    assert (packed == again).all()
    assert ends[-1] / ((len(first) - 1) * 256) > 0.97
    filled = np.add.reduceat(packed[:, 1] - packed[:, 0], first[:-1])
    assert filled.max() <= 256


def test_masked_rows_have_targets_only_where_the_mask_says() -> None:
    tokens, ends = np.arange(10, 22), np.array([5, 12])
    mask = np.array([0, 0, 1, 1, 1, 0, 1, 1, 0, 0, 1, 1])
    windows = PackedWindows(
        lambda a, b: tokens[a:b],
        ends,
        16,
        before_id=None,
        fill_id=99,
        read_mask=lambda a, b: mask[a:b],
        segmented=True,
    )
    batch = windows.read(np.array([0]))
    assert batch.segments is not None
    assert batch.ids[0].tolist() == [*range(10, 22), 99, 99, 99, 99]
    assert batch.segments[0].tolist() == [0] * 5 + [1] * 7 + [-1] * 4
    first, second = [IGNORE, 12, 13, 14], [16, 17, IGNORE, IGNORE, 20, 21]
    # the last input of each row has nothing to predict
    assert batch.targets[0].tolist() == [*first, IGNORE, *second, IGNORE, *[IGNORE] * 4]


def test_samples_of_unequal_length_are_read_longest_first_and_little_is_filled_up() -> None:
    sizes = [20, 3, 9, 90, 20, 88, 2, 10]
    answers = [(list(range(size)), [1] * size) for size in sizes]
    table = AnswerPairs(answers, [([1, 2], [0, 1])] * len(sizes), fill_id=0)
    rows = np.array([6, 0, 3, 4, 5, 1])
    ordered = longest_first(table, rows)
    assert ordered.tolist() == [3, 5, 0, 4, 1, 6]
    widths = [table.read(ordered[at : at + 2])[0].shape[-1] for at in (0, 2, 4)]
    assert widths == [90, 24, 8]
    texts = LabelledTexts([ids for ids, _ in answers], [0] * len(sizes), fill_id=0)
    assert longest_first(texts, rows).tolist() == ordered.tolist()
