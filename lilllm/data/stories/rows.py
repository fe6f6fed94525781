# ruff: noqa: E501 (one sentence is one line)
"""Stories as training rows: chat, classification, summary; and the words they use.

Every row is a pure function of (seed, index), like the story in it.
"""

import re
from collections.abc import Iterator
from random import Random
from typing import Any

from lilllm.data.stories.asked import told
from lilllm.data.stories.compose import compose, stories
from lilllm.data.stories.model import Story
from lilllm.data.stories.world import World, an

_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_ROW_STREAM = 0x726F7773  # keeps the draws of a row apart from those of its story

_ASK_WORDS = (
    "Write a story with the words: {a}, {b}, {c}.",
    "Write a story with the words: {a}, {b}, {c}.",
    "Write a story with the words: {a}, {b}, {c}.",
    "Tell me a story with the words {a}, {b} and {c}.",
    "Write a short story that uses the words {a}, {b} and {c}.",
    "Please write a story. Use these words: {a}, {b}, {c}.",
    "Can you write a story with {a}, {b} and {c} in it?",
)
_ASK_OPENING = (
    "Begin a story with the words: {a}, {b}, {c}.",
    "Write the beginning of a story with the words: {a}, {b}, {c}.",
    "How could a story with {a}, {b} and {c} begin?",
)
_ASK_FEATURE = {
    "dialogue": "The story should have dialogue.",
    "moral": "The story should have a moral.",
    "bad ending": "The story should have a bad ending.",
    "twist": "The story should have a twist.",
}
_ASK_HERO = (
    "Tell me a story about {hero}.",
    "Write a story about {hero}.",
    "Can you tell me a story about {hero}?",
    "I want to hear a story about {hero}, please.",
)
_ASK_SENTENCE = (
    "Make a sentence with the word {word}.",
    "Write a sentence with the word {word}.",
    "Use the word {word} in a sentence.",
)
_ASK_AGAIN = ("Say this again: {text}", "Repeat after me: {text}", "Please repeat: {text}")
_SENTENCE = re.compile(r'(?:(?<=\s)|^)[A-Z][^.!?"]*[.!?](?=\s|$)')
_ASK_SUMMARY = (
    "Sum up this story in one sentence:\n\n{text}",
    "What happens in this story?\n\n{text}",
    "Write a short summary of this story:\n\n{text}",
)
_ASK_WHO = ("Who is this story about?\n\n{text}", "Who is the hero of this story?\n\n{text}")
_ASK_MOOD = ("How does this story end, {moods}?\n\n{text}", "What is the mood at the end of this story?\n\n{text}")
_TELL_WHO = ("It is about {n}, {who}.", "The story is about {n}. {He} is {who}.", "This story is about {who} named {n}.")
_TELL_MOOD = {
    "happy": ("It has a happy ending.", "It ends happily."),
    "proud": ("It ends with {n} feeling proud.", "At the end, {n} is proud."),
    "calm": ("It ends in a calm way.", "The ending is calm and quiet."),
    "sad": ("It has a sad ending.", "It ends sadly for {n}."),
}
_SMALL_TALK = (
    (
        ("Hello!", "Hi!", "Good morning!", "Hi there!", "Hello, how are you?", "Good evening!"),
        (
            "Hello! Would you like to hear a story?",
            "Hi! Give me three words, and I will make a story.",
            "Hello, friend! What shall the story be about?",
            "Hi there! I know stories about rabbits, lost things and brave children.",
            "Good to see you! Shall I tell you a story about {hero}?",
            "Hello! I was just thinking of a story about {hero}.",
        ),
    ),
    (
        ("What can you do?", "Who are you?", "Can you help me?", "What do you know?"),
        (
            "I tell short stories. Give me three words, such as {a}, {b} and {c}, and I will use them.",
            "I can write little stories for children. Tell me who the story should be about.",
            "I am a small story teller. Ask me for a story about {hero}!",
            "I can tell you a story, say in one sentence what happens in it, or say how it ends.",
        ),
    ),
    (
        ("Thank you!", "Thanks, that was nice.", "That was a good story."),
        (
            "You are welcome! Come back for another story.",
            "You are welcome. Next time I can tell you about {hero}.",
            "I am glad you liked it. Do you want to hear one more?",
        ),
    ),
    (
        ("Good night!", "Bye!", "See you tomorrow!"),
        (
            "Good night! Sleep well.",
            "Goodbye! See you soon.",
            "Sleep well! Tomorrow I can tell you about {hero}.",
        ),
    ),
)


def _chat(user: str, assistant: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": user},
            {"role": "assistant", "content": assistant},
        ]
    }


def _instruction(w: World, s: Story, rng: Random) -> dict[str, Any]:
    def pick(options: tuple[str, ...]) -> str:
        return options[int(rng.random() * len(options))]

    a, b, c = s.words
    h = w.hero
    who = an(f"{h.trait} {h.kind}") if f"{h.trait} {h.kind}" in s.text else an(h.kind)
    kind = rng.random()
    if kind < 0.1:  # short rows, in which what is asked for returns within a few words
        sentences = _SENTENCE.findall(s.text)
        word = pick(s.words)
        fitting = tuple(x for x in sentences if word in _WORD.findall(x))
        if fitting and kind < 0.06:
            return _chat(pick(_ASK_SENTENCE).format(word=word), pick(fitting))
        start = int(rng.random() * max(1, len(sentences) - 2))
        if text := " ".join(sentences[start : start + 2]):
            return _chat(pick(_ASK_AGAIN).format(text=text), text)
    kind = rng.random()
    if kind < 0.4:
        ask = pick(_ASK_HERO).format(hero=who)
        if s.features and rng.random() < 0.4:
            ask += " " + _ASK_FEATURE[pick(s.features)]
        return _chat(ask, s.text)
    if kind < 0.6:
        return _chat(pick(_ASK_SUMMARY).format(text=s.text), s.summary)
    if kind < 0.72:
        return _chat(pick(_ASK_WHO).format(text=s.text), pick(_TELL_WHO).format(n=h.n, He=h.He, who=who))
    if kind < 0.85:
        ask = pick(_ASK_MOOD).format(moods="happy, proud, calm or sad", text=s.text)
        return _chat(ask, pick(_TELL_MOOD[s.mood]).format(n=h.n))
    asks, answers = _SMALL_TALK[int(rng.random() * len(_SMALL_TALK))]
    return _chat(pick(asks), pick(answers).format(a=a, b=b, c=c, hero=an(f"{h.trait} {h.kind}")))


def _told_for_words(seed: int, index: int, rng: Random) -> dict[str, Any]:
    """A request with three words, and the story told for them or how it begins."""
    s, w = compose(seed, index, for_words=True)
    words = list(s.words)
    if rng.random() < 0.2:
        words.insert(int(rng.random() * 3), words.pop())
    a, b, c = words
    if rng.random() < 0.3:
        ask = _ASK_OPENING[int(rng.random() * len(_ASK_OPENING))]
        return _chat(ask.format(a=a, b=b, c=c), told(w))
    ask = _ASK_WORDS[int(rng.random() * len(_ASK_WORDS))].format(a=a, b=b, c=c)
    if s.features and rng.random() < 0.3:
        ask += " " + _ASK_FEATURE[s.features[int(rng.random() * len(s.features))]]
    return _chat(ask, s.text)


def opening_rows(seed: int, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Short chat rows whose answers hold the words asked for: openings, and words said again.

    They come before `instruction_rows` in the demo: where a row is short, copying is learned in
    a hundred steps, and a model that copies keeps names and uses words in long stories too.
    """
    for index in range(start, stop):
        rng = Random((seed << 96) ^ (index << 32) ^ _ROW_STREAM)
        w = compose(seed, index, for_words=True)[1]
        assert w.asked
        a, b, c = w.asked.words
        if rng.random() < 0.7:
            ask = _ASK_OPENING[int(rng.random() * len(_ASK_OPENING))]
            ask = ask.format(a=a, b=b, c=c)
            if rng.random() < 0.5:
                ask = ask.replace("a story", f"a story about {w.hero.n}")
            yield _chat(ask, told(w))
        else:
            said = f"{a}, {w.hero.n}, {b}, {w.friend.n}, {c}"
            ask = _ASK_AGAIN[int(rng.random() * len(_ASK_AGAIN))]
            yield _chat(ask.format(text=said), said)


def instruction_rows(seed: int, start: int, stop: int) -> Iterator[dict[str, Any]]:
    """Chat rows `{"messages": [user, assistant]}`: stories by request, questions about stories."""
    for index in range(start, stop):
        rng = Random((seed << 96) ^ (index << 32) ^ _ROW_STREAM)
        if rng.random() < 0.75:
            yield _told_for_words(seed, index, rng)
        else:
            s, w = compose(seed, index)
            yield _instruction(w, s, rng)


def classification_rows(seed: int, start: int, stop: int) -> Iterator[dict[str, str]]:
    """Rows `{"text": story, "label": mood of its ending}`."""
    for s in stories(seed, start, stop):
        yield {"text": s.text, "label": s.mood}


def summary_rows(seed: int, start: int, stop: int) -> Iterator[dict[str, str]]:
    """Rows `{"source": story, "target": its summary}`."""
    for s in stories(seed, start, stop):
        yield {"source": s.text, "target": s.summary}


def vocabulary(stories: int = 20_000) -> frozenset[str]:
    """Lower-cased words found in the first stories of series 0, `[A-Za-z]+(?:'[a-z]+)?`."""
    words: set[str] = set()
    for index in range(stories):
        words.update(_WORD.findall(compose(0, index)[0].text))
    return frozenset(word.lower() for word in words)
