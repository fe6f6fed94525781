"""The TinyStories recipe: stories of simple words, each made different by what it must contain.

Three drawn words (a verb, a noun, an adjective) and sometimes a feature spread the stories over
a space that no writer would cover by itself. Source: Eldan and Li 2023, arXiv:2305.07759,
section 2. Deviation: a story that lacks one of its words, as a whole word, is not kept.
"""

import hashlib
from collections.abc import Sequence

from lilllm.data.stories.lexicon import ASK_ADJECTIVES, ASK_NOUNS, ASK_VERBS
from lilllm.data.synthesis.recipe import Ask, Read, Row, draws, length_problem
from lilllm.data.words import missing_words, words_of

SYSTEM = (
    "You tell stories to a child of four. Every word you use is one that such a child knows, "
    "sentences are short, and something happens. Three to five short paragraphs. Answer with "
    "the story alone: no title, no remarks."
)
FEATURES = {
    "dialogue": "The story should have dialogue.",
    "moral": "The story should have a moral.",
    "bad ending": "The story should have a bad ending.",
    "twist": "The story should have a twist.",
    "conflict": "The story should have a conflict.",
    "foreshadowing": "Something early in the story should hint at its end.",
}


class StoryRecipe:
    """Stories with required words.

    Args:
        seed: of the words and features.
        features: names in `FEATURES` that may be asked for; each story gets up to two.
        words: a story's least and most words.
    """

    def __init__(self, seed: int, features: Sequence[str], words: tuple[int, int]) -> None:
        self.seed, self.features, self.words = seed, tuple(features), words
        self.vocabulary = tuple(map(sorted, (ASK_VERBS, ASK_NOUNS, ASK_ADJECTIVES)))
        self.known: set[bytes] = set()

    def remember(self, row: Row) -> None:
        """Know a story that is kept."""
        self.known.add(_fingerprint(row["completion"]))

    def ask(self, number: int, pool: Sequence[Row]) -> Ask:
        """Ask for a story with three words."""
        draw = draws(self.seed, number)
        words = [draw.choice(kind) for kind in self.vocabulary]
        count = draw.choice((0, 1, 1, 2))
        features = draw.sample(self.features, min(count, len(self.features)))
        wishes = "".join(f" {FEATURES[name]}" for name in features)
        prompt = f"Write a story with the words: {', '.join(words)}.{wishes}"
        return Ask(number, SYSTEM, prompt, {"words": words, "features": features})

    def read(self, ask: Ask, text: str, complete: bool) -> Read:
        """Keep a story that ends, has all its words and is no copy."""
        text = text.strip()
        reason = length_problem(len(words_of(text)), *self.words)
        if not complete:
            reason = "cut off"
        elif not reason and missing_words(text, ask.fields["words"]):
            reason = "lacks a word"
        elif not reason and _fingerprint(text) in self.known:
            reason = "a copy"
        if reason:
            return Read(rejected=[(reason, text)])
        return Read([{"prompt": ask.prompt, "completion": text, **ask.fields}])


def _fingerprint(text: str) -> bytes:
    """Equal for texts of the same words: case, spaces and punctuation do not count."""
    return hashlib.blake2b(" ".join(words_of(text)).encode(), digest_size=16).digest()
