"""From a seed to a finished story: seeding, the choice of plot, joining, asked words.

Owns no prose: the plots tell, this module binds.
"""

from collections.abc import Iterator
from random import Random

from lilllm.data.stories import asked
from lilllm.data.stories.lexicon import ASK_ADJECTIVES, ASK_NOUNS, ASK_VERBS
from lilllm.data.stories.model import Story
from lilllm.data.stories.plots import PLOTS
from lilllm.data.stories.world import PARAGRAPH, World

_BLANK = str.maketrans(dict.fromkeys('.,!?;:"-\n', " "))
MIN_WORDS, MAX_WORDS = 90, 220
_MASK = (1 << 64) - 1


def compose(seed: int, index: int, for_words: bool = False) -> tuple[Story, World]:
    """Story `index` of the series `seed`, with the world it left behind.

    With `for_words` the three words come first and the story is told for them (see `asked`);
    otherwise they are found in the finished story. A pure function of its arguments: the
    generator is seeded by an integer and only `random()` is drawn from it, both of which Python
    keeps stable across versions.
    """
    rng = Random((seed & _MASK) << 64 | (index & _MASK))
    while True:
        w = World(rng)
        w.asked = asked.draw(w) if for_words else None
        w.pick(PLOTS)(w)
        if w.asked and not asked.weave(w):
            continue
        text = " ".join(w.out).replace(f" {PARAGRAPH} ", PARAGRAPH)
        text = text.replace("«", '"').replace("»", '"')
        said = text.translate(_BLANK).split()
        words = w.asked.words if w.asked else _found(w, said)
        # About 1 story in 100 is too short, too long or lacks a word to ask for: told anew.
        if MIN_WORDS <= len(said) <= MAX_WORDS and all(words) and len(set(words)) == 3:
            break
    features = []
    if '"' in text:
        features.append("dialogue")
    if w.moral:
        features.append("moral")
    if w.bad:
        features.append("bad ending")
    if w.twist:
        features.append("twist")
    return Story(text, words, tuple(features), w.summary, w.mood), w


def _found(w: World, said: list[str]) -> tuple[str, str, str]:
    """A noun, a verb and an adjective of the words told, early and telling ones first."""
    head = said[: len(said) * 5 // 8]
    present = set(said)
    keys = [noun for noun in w.key_nouns if noun in present]
    if keys and w.rnd() < 0.7:
        noun = keys[int(w.rnd() * len(keys))]
    else:
        noun = _one(w, ASK_NOUNS, head, said)
    return noun, _one(w, ASK_VERBS, head, said), _one(w, ASK_ADJECTIVES, head, said)


def _one(w: World, lexicon: frozenset[str], head: list[str], said: list[str]) -> str:
    # Sorted, because the order of a set of strings differs from run to run.
    found = sorted(lexicon.intersection(head)) or sorted(lexicon.intersection(said))
    return found[int(w.rnd() * len(found))] if found else ""


def story(seed: int, index: int) -> Story:
    """Story `index` of the endless series `seed`: the same on every machine."""
    return compose(seed, index)[0]


def stories(seed: int, start: int, stop: int) -> Iterator[Story]:
    """Stories `start` to `stop` (exclusive) of the series `seed`."""
    for index in range(start, stop):
        yield compose(seed, index)[0]
