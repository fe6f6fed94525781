"""Stop strings in every way that tokens can cut them, and text that is never half a character."""

import random

import pytest

from lilllm.inference.stopping import StopFilter, TextStream


def run(stops: list[str], pieces: list[str]) -> tuple[list[str], bool]:
    stop_filter = StopFilter(stops)
    shown = []
    for piece in pieces:
        shown.append(stop_filter.push(piece))
        if stop_filter.stopped:
            return shown, True
    return [*shown, stop_filter.finish()], False


def test_a_stop_string_within_one_piece_cuts_the_text() -> None:
    assert run(["END"], ["a END b"]) == (["a "], True)


def test_a_stop_string_across_pieces_is_never_shown_in_part() -> None:
    assert run(["END"], ["a E", "N", "D b"]) == (["a ", "", ""], True)


def test_what_only_looked_like_a_stop_string_is_shown_later() -> None:
    assert run(["END"], ["a E", "N", "ough"]) == (["a ", "", "ENough", ""], False)
    assert run(["aab"], ["aa", "a", "b"]) == (["", "a", ""], True)


def test_what_is_held_back_comes_at_the_end() -> None:
    assert run(["\n\n"], ["one\n"]) == (["one", "\n"], False)


def test_the_earliest_stop_string_wins() -> None:
    assert run(["cd", "bc"], ["abcd"]) == (["a"], True)


def test_without_stop_strings_everything_is_shown_at_once() -> None:
    assert run([], ["a", "b"]) == (["a", "b", ""], False)
    assert run([""], ["a"]) == (["a", ""], False)


@pytest.mark.parametrize("seed", range(50))
def test_any_cutting_of_a_text_gives_what_lies_before_the_stop_string(seed: int) -> None:
    draw = random.Random(seed)
    text = "".join(draw.choice("ab\n") for _ in range(40))
    stops = ["".join(draw.choice("ab\n") for _ in range(draw.randint(2, 5))) for _ in range(2)]
    pieces, rest = [], text
    while rest:
        size = draw.randint(1, 4)
        pieces, rest = [*pieces, rest[:size]], rest[size:]
    shown, stopped = run(stops, pieces)
    found = [text.find(stop) for stop in stops if stop in text]
    # a later piece may complete an earlier-starting string only after a shorter one ended it
    assert stopped == bool(found)
    cut = "".join(shown)
    assert text.startswith(cut) and not any(stop in cut for stop in stops)
    if stopped:
        assert any(text[len(cut) :].startswith(stop) for stop in stops)
    else:
        assert cut == text


def test_a_stream_without_decoder_makes_no_text() -> None:
    stream = TextStream(None, ["x"])
    assert not stream.push(3) and not stream.finish() and stream.take() == ""


def test_a_stop_string_in_the_last_held_bytes_still_counts() -> None:
    class Late:
        def push(self, token_id: int) -> str:
            return ""

        def finish(self) -> str:
            return "hi END"

    stream = TextStream(Late(), ["END"])
    stream.push(1)
    assert stream.finish() and stream.take() == "hi " and stream.take() == ""
