"""The story generator: deterministic, distinct, correct English, true to its own facts."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

import pytest

from lilllm.data import stories as package
from lilllm.data.stories import FEATURES, MOODS, Story, story
from lilllm.data.stories.compose import MAX_WORDS, MIN_WORDS, compose
from lilllm.data.stories.lexicon import (
    ASK_ADJECTIVES,
    ASK_NOUNS,
    ASK_VERBS,
    CARRIED,
    FOODS,
    HEROES,
    NAMES,
    PLACES,
)
from lilllm.data.stories.plots import PLOTS
from lilllm.data.stories.scenes import LESSON_MARKS

GOLDEN = "01523554ac7236f66ba8a42d1d618d167ead9c73056b70f8d72d983d2d6612b8"
"""SHA-256 of stories 0..99 of seed 0; printed by the failing test when stories change."""

WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[.!?]\")\s+")
TAG = r"said|asked|cried|called|shouted|whispered|thought|laughed|wrote|went|he|she|they|everybody"


@pytest.fixture(scope="module")
def ten_thousand() -> list[Story]:
    return list(package.stories(1, 0, 10_000))


@pytest.fixture(scope="module")
def sample(ten_thousand: list[Story]) -> list[Story]:
    return ten_thousand[:4000]


@pytest.fixture(scope="module")
def for_words() -> list[Story]:
    return [compose(1, index, for_words=True)[0] for index in range(2000)]


@pytest.fixture(scope="module")
def all_told(sample: list[Story], for_words: list[Story]) -> list[Story]:
    return sample + for_words


def every(found: Iterable[str]) -> list[str]:
    """The first offending texts, so that a failure shows what to mend."""
    return list(found)[:3]


def test_a_story_is_a_pure_function_of_seed_and_index() -> None:
    once = [story(5, i) for i in range(40)]
    assert [story(5, i) for i in reversed(range(40))] == once[::-1]
    assert list(package.stories(5, 10, 20)) == once[10:20]
    assert story(5, 0) != story(6, 0)
    assert story(-1, 3) == story(-1, 3)


def test_the_first_hundred_stories_are_the_golden_ones() -> None:
    digest = hashlib.sha256()
    for s in package.stories(0, 0, 100):
        digest.update(repr((s.text, s.words, s.features, s.summary, s.mood)).encode())
    assert digest.hexdigest() == GOLDEN


def test_ten_thousand_stories_are_distinct_even_without_names_things_and_places(
    ten_thousand: list[Story],
) -> None:
    assert len({s.text for s in ten_thousand}) >= 9_990
    things = {t.noun for t in CARRIED} | {p.noun for p in PLACES} | set(FOODS) | set(HEROES)
    masked = re.compile(rf"\b(?:{'|'.join(NAMES | things | ASK_NOUNS)})\b")
    assert len({masked.sub("_", s.text) for s in ten_thousand}) >= 5_000


@pytest.mark.slow
def test_hundred_thousand_stories_are_distinct() -> None:
    assert len({hash(s.text) for s in package.stories(2, 0, 100_000)}) >= 99_900


def test_no_sentence_is_told_in_more_than_one_story_of_twelve(sample: list[Story]) -> None:
    masked = re.compile(rf"\b(?:{'|'.join(NAMES)})\b")
    told: Counter[str] = Counter()
    for s in sample:
        told.update({masked.sub("_", x) for x in SENTENCE_END.split(s.text) if x.count(" ") > 2})
    assert told.most_common(1)[0][1] < len(sample) / 12


def test_length_paragraphs_and_form(all_told: list[Story]) -> None:
    for s in all_told:
        assert MIN_WORDS <= len(s.text.split()) <= MAX_WORDS, s.text
        assert s.text == s.text.strip()
        assert s.text.isascii()
        assert 2 <= s.text.count("\n\n") <= 8
        assert "  " not in s.text
        assert "\n\n\n" not in s.text
        assert "\n" not in s.text.replace("\n\n", "")
    openings = [s.text.startswith("Once upon a time") for s in all_told]
    assert sum(openings) < len(all_told) / 2


def test_no_placeholder_is_left(all_told: list[Story]) -> None:
    bad = re.compile(r"[{}«»_<>\[\]]|None|\bX\b")
    assert not every(s.text for s in all_told if bad.search(s.text) or bad.search(s.summary))


def test_quotation_marks_are_balanced_in_every_paragraph(all_told: list[Story]) -> None:
    for s in all_told:
        for paragraph in s.text.split("\n\n"):
            assert paragraph.count('"') % 2 == 0, paragraph
            quotes = paragraph.split('"')[1::2]
            assert all(q and q == q.strip() and q[-1] in ".,!?" for q in quotes), paragraph


def test_every_sentence_and_every_quotation_begins_with_a_capital(all_told: list[Story]) -> None:
    for s in all_told:
        for paragraph in s.text.split("\n\n"):
            assert paragraph[-1] in '.!?"', paragraph
            for sentence in SENTENCE_END.split(paragraph):
                first = sentence.lstrip('"')
                # After a question or a call in quotes the sentence goes on: "Why?" he asked.
                goes_on = re.match(rf"(?:{TAG})\b", first)
                assert first[0].isupper() or goes_on, paragraph
            for quote in paragraph.split('"')[1::2]:
                assert quote[0].isupper() or f', "{quote}' in paragraph, paragraph


def test_articles_agree_with_the_word_that_follows(all_told: list[Story]) -> None:
    wrong = re.compile(r"\b(?:[Aa] [aeiou]|[Aa]n [^aeiou\s])\w*")
    right = re.compile(r"\b(?:[Aa] (?:one|use|uni)|[Aa]n ho(?:ur|nest))")
    for s in all_told:
        for text in (s.text, s.summary):
            assert not [m for m in wrong.findall(text) if not right.match(m)], text


def test_no_word_is_doubled_and_no_punctuation_is_stuck(all_told: list[Story]) -> None:
    doubled = re.compile(r"\b(the|a|an|to|of|and|was|in|on|at|it|his|her|he|she|is|had) \1\b", re.I)
    stuck = re.compile(r'\s[,.!?]|[,.!?]{2,}|[,.!?][A-Za-z]|,"\s[A-Z](?!\w* (?:said|and|asked))')
    for s in all_told:
        assert not doubled.search(s.text), s.text
        found = stuck.search(s.text)
        assert not found or found.group().startswith(',"'), s.text


def test_required_words_are_whole_words_of_the_text(sample: list[Story]) -> None:
    for s in sample:
        noun, verb, adjective = s.words
        assert set(s.words) <= set(WORD.findall(s.text)), (s.words, s.text)
        assert len(set(s.words)) == 3
        assert verb in ASK_VERBS
        assert adjective in ASK_ADJECTIVES
        assert noun.islower()


def test_a_story_told_for_words_has_them_in_its_opening(for_words: list[Story]) -> None:
    for index, s in enumerate(for_words):
        opening = set(WORD.findall(s.text.partition("\n\n")[0]))
        assert set(s.words[1:]) <= opening, (s.words, s.text)
        assert s.words[0] in opening, (s.words, s.text)
        assert compose(1, index, for_words=True)[0] == s
    for slot, least in ((0, 250), (1, 100), (2, 120)):
        assert len({s.words[slot] for s in for_words}) >= least, slot


def test_required_words_vary_and_come_early(ten_thousand: list[Story]) -> None:
    for slot, least in ((0, 150), (1, 60), (2, 60)):
        used = Counter(s.words[slot] for s in ten_thousand)
        assert len(used) >= least
        assert used.most_common(1)[0][1] < len(ten_thousand) / 10
    early = [s.text.find(word) < len(s.text) * 2 / 3 for s in ten_thousand for word in s.words]
    assert sum(early) / len(early) > 0.9


def test_features_are_true_of_the_text(all_told: list[Story]) -> None:
    for s in all_told:
        assert list(s.features) == [f for f in FEATURES if f in s.features]
        assert ("dialogue" in s.features) == ('"' in s.text)
        closing = SENTENCE_END.split(s.text)[-1]
        assert ("moral" in s.features) == any(m in closing for m in LESSON_MARKS), s.text
        assert "bad ending" not in s.features or s.mood == "sad"
    for feature in FEATURES:
        share = sum(feature in s.features for s in all_told) / len(all_told)
        assert 0.05 < share < 0.95, (feature, share)


def test_moods_are_all_used_and_shown_by_the_ending(all_told: list[Story]) -> None:
    share = Counter(s.mood for s in all_told)
    assert set(share) == set(MOODS)
    assert min(share.values()) > 0.08 * len(all_told)
    signs = {
        "sad": r"sad\b|cry\b|cried|[Tt]ears?\b",
        "proud": r"proud|ten feet|glowed|grinned",
        "calm": r"sleep|slept|yawn|dream|quiet|bedtime|evening|tucked",
        "happy": r"happy|happily|laugh|smil|giggl|danc|sang|joy|Hooray|best day|skipped",
    }
    for s in all_told:
        ending = " ".join(s.text.split()[-55:])
        assert re.search(signs[s.mood], ending), (s.mood, s.text)


def test_the_summary_is_one_sentence_that_names_the_hero(sample: list[Story]) -> None:
    for index, s in enumerate(sample):
        again, world = compose(1, index)
        assert again == s
        assert world.hero.n in s.summary
        assert s.summary.endswith(".")
        assert s.summary.count(".") == 1, s.summary
        assert s.text.count(world.hero.n) >= 2


def test_held_things_and_company_agree_with_the_text(sample: list[Story]) -> None:
    for index, s in enumerate(sample):
        _, world = compose(1, index)
        item = world.item
        last = s.text.split("\n\n")[-1]
        if item and item.holder is world.hero:
            assert re.search(rf"\b{item.noun}\b", s.text), s.text
        if world.together:
            assert world.friend.n in s.text, s.text
            assert world.hero.him != world.friend.him
        if world.home:
            assert "way home" not in last, s.text


def test_the_lexicon_is_large() -> None:
    assert len(NAMES) >= 60
    assert len(ASK_NOUNS) >= 150
    assert len(ASK_VERBS) >= 60
    assert len(ASK_ADJECTIVES) >= 60
    assert len(PLOTS) >= 14
    words = package.vocabulary(4000)
    assert 1_200 < len(words) < 6_000
    assert all(re.fullmatch(r"[a-z]+(?:'[a-z]+)?", word) for word in words)


def test_instruction_rows_are_chats_of_two_and_mostly_ask_for_three_words() -> None:
    rows = list(package.instruction_rows(3, 0, 3000))
    assert rows == list(package.instruction_rows(3, 0, 3000))
    asked = begun = 0
    for index, row in enumerate(rows):
        user, assistant = row["messages"]
        assert (user["role"], assistant["role"]) == ("user", "assistant")
        assert not re.search(r"[{}«»]", user["content"] + assistant["content"])
        told = compose(3, index, for_words=True)[0]
        if told.text.startswith(assistant["content"]):
            assert set(told.words) <= set(WORD.findall(user["content"]))
            asked += assistant["content"] == told.text
            begun += assistant["content"] != told.text
    assert asked >= 0.4 * len(rows)
    assert 0.1 * len(rows) <= begun <= 0.3 * len(rows)


def test_opening_rows_are_short_and_answer_with_what_is_asked_for() -> None:
    rows = list(package.opening_rows(3, 0, 1000))
    assert rows == list(package.opening_rows(3, 0, 1000))
    for index, row in enumerate(rows):
        user, assistant = (message["content"] for message in row["messages"])
        told = compose(3, index, for_words=True)[0]
        assert set(told.words) <= set(WORD.findall(user)) & set(WORD.findall(assistant))
        assert told.text.startswith(assistant) or user.endswith(assistant)
        assert len(assistant.split()) < 60


def test_classification_and_summary_rows_carry_the_facts() -> None:
    told = list(package.stories(4, 0, 50))
    labels = list(package.classification_rows(4, 0, 50))
    assert labels == [{"text": s.text, "label": s.mood} for s in told]
    pairs = list(package.summary_rows(4, 0, 50))
    assert pairs == [{"source": s.text, "target": s.summary} for s in told]
