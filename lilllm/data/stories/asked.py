# ruff: noqa: E501 (one sentence is one line)
"""Stories told for three words: a noun, a verb and an adjective that the opening takes up.

The words are drawn first and the story is told around them: they become what the hero is, loves,
dreams of or has heard about. Any three words must fit, so what cannot be part of the day is part
of a dream, a picture, a song or a tale. Owns the words' grammar and those sentences.
"""

import re

from lilllm.data.stories.lexicon import (
    ACTIVITIES,
    ASK_ADJECTIVES,
    ASK_NOUNS,
    ASK_VERBS,
    CARRIED,
    HEROES,
)
from lilllm.data.stories.world import Asked, World, an

_WORD = re.compile(r"[a-z]+")

MORE_ACTIVITIES = (
    "balance on a log", "believe in magic", "blow bubbles", "bounce a ball", "break the ice on puddles",
    "bring good news", "carry heavy bags", "catch falling leaves", "cook soup", "cry over sad books",
    "cut paper stars", "drink warm cocoa", "eat ripe plums", "fill a basket", "find lost things",
    "fix old toys", "float on the pond", "fly over the hills", "follow tiny tracks", "forget the time",
    "give little gifts", "grow sunflowers", "hear the rain", "help the neighbors", "hide in the barn",
    "hold hands", "hug a soft pillow", "juggle with plums", "keep secrets", "knock on doors",
    "learn new songs", "lift big stones", "look at the stars", "lose count of the clouds",
    "march up and down", "mend torn things", "open old boxes", "polish spoons", "promise great things",
    "protect little birds", "pull a wagon", "push a cart", "reach for the sky", "remember old songs",
    "ride a pony", "ring a bell", "rub smooth stones", "save crumbs for the birds", "search for shells",
    "sell lemonade", "shake the apple tree", "share a picnic", "shout from the hill", "skate on the ice",
    "sleep under the stars", "smell the flowers", "stamp in the snow", "stir the soup", "sweep the yard",
    "taste everything once", "throw stones into the pond", "tickle toes", "tie knots", "touch the clouds",
    "trade marbles", "try new things", "twirl around", "visit the farm", "wait for the moon",
    "walk in the rain", "wash the dishes", "wear funny hats", "whisper with the wind", "win a race",
    "wish on a star", "jump over the stream", "sail across the lake", "climb up high", "walk for hours",
    "fly a kite", "share everything", "look out of the window", "find shells", "hold a candle",
    "plant little trees", "sing in the bath", "dance in the rain", "run through the grass",
)  # fmt: skip
"""What a hero may love to do when the verb was asked for; the first word is the verb."""

_DOING = tuple(x for x in (*ACTIVITIES, *MORE_ACTIVITIES) if x.split()[0] in ASK_VERBS)

_PREDICATIVE = frozenset("afraid glad pleased ready safe sorry surprised upset".split())
_OF_FEW = frozenset(
    "checkered cloudy floppy foggy fuzzy icy painted rainy silky snowy stormy straw striped sunny torn "
    "velvet waxy windy wooden woolly".split()
)
"""What only few things can be: asked for with those alone."""
_ADJECTIVES = tuple(
    sorted((ASK_ADJECTIVES - _PREDICATIVE - _OF_FEW) | {"big", "little", "new", "old"})
)
_GOOD = frozenset(
    "big bold brave bright busy calm careful cheerful clever curious dreamy excited fair friendly "
    "funny gentle happy honest kind little lively lonely lucky merry old patient playful polite "
    "proud quiet shy silly sleepy small strange strong sweet tall thoughtful tiny wild wise wonderful "
    "young".split()
)
"""What the hero of any plot may be."""
_OF_ANIMALS = tuple(
    sorted(_GOOD | set("brown cold fat fluffy gray grumpy hungry lazy lost red scared tired wet white".split()))
)

_UNCOUNTED = frozenset(
    "bread breakfast butter cheese cocoa dinner fire fish flour fog glue grass hay honey ice jam lunch "
    "milk mud paint rain sand sheep sky snow soap soup sugar sun moon sea spring stairs summer tape tea "
    "thunder truth water wind winter woods".split()
)
"""Nouns that take no `a`."""
_PLURAL = frozenset(
    "berries birds bluebells boats books boots buns butterflies cakes cookies clouds crumbs daisies "
    "ducks hats jokes leaves nuts pancakes peaches pictures pies plums puddles roses seeds skates stars "
    "stones stories trees tulips violets".split()
)
_LEFT_OUT = frozenset("grandma grandpa lie nail oak".split()) | _PREDICATIVE
_NOUNS = tuple(sorted(ASK_NOUNS - _LEFT_OUT))
_LOOKS = {thing.noun: thing.looks for thing in CARRIED}
_THINGS = tuple(sorted(_LOOKS))


def draw(w: World) -> Asked:
    """Three words for a story that has only its cast so far."""
    h = w.hero
    doing = w.pick(_DOING)
    adjective = w.pick(_ADJECTIVES)
    if not h.child and w.chance(0.5):
        noun, adjective = h.kind, w.pick(_OF_ANIMALS)
    elif w.chance(0.3):
        noun = w.pick(_THINGS)
        if w.chance(0.6):
            adjective = w.pick(_LOOKS[noun])
    elif w.chance(0.1):
        noun, adjective = w.pick(HEROES), w.pick(_OF_ANIMALS)
    else:
        noun = w.pick(_NOUNS)
    return Asked(noun, doing, adjective, kind=noun == h.kind)


def phrase(noun: str, adjective: str) -> str:
    """The noun with its adjective, if any, and the article that it takes."""
    both = f"{adjective} {noun}".strip()
    if noun in _PLURAL:
        return both
    return f"the {both}" if noun in _UNCOUNTED else an(both)


def be(w: World, loves: str) -> str:
    """Lets the hero be and love what was asked for, as far as the plot allows.

    Returns:
        what the hero loves to do.
    """
    h, asked = w.hero, w.asked
    assert asked
    if asked.kind or asked.adjective in _GOOD:
        h.trait, asked.trait = asked.adjective, True
    if not loves and w.chance(0.6):
        asked.loved = True
        return asked.doing
    return loves


def weave(w: World) -> bool:
    """Adds the sentences with the words that the plot's first sentences left out.

    The noun becomes, at times, a thing of the plot.

    Returns:
        whether all three are told now; a plot with an opening of its own has no room for them.
    """
    asked = w.asked
    assert asked
    if not asked.at:
        return False
    keys = [noun for noun in w.key_nouns if noun in _NOUNS and noun != w.hero.kind]
    if not asked.kind and keys and w.chance(0.35):
        asked.noun = w.pick(tuple(keys))
        if w.item and w.item.noun == asked.noun and not asked.trait:
            asked.adjective = w.item.adj
    if more := _opening(w):
        w.out.insert(asked.at, more)
        asked.at += 1
    return set(asked.words) <= set(_WORD.findall(told(w)))


def told(w: World) -> str:
    """The opening of a story for three words, in which all of them are."""
    assert w.asked
    return " ".join(w.out[: w.asked.at])


def _opening(w: World) -> str:
    """The sentence or two after the hero has come in, with the words that are still to come."""
    h, e, asked = w.hero, w.elder, w.asked
    assert asked
    n, he, him, his, doing = h.n, h.he, h.him, h.his, asked.doing
    if asked.kind:
        if asked.loved:
            return ""
        return w.pick((
            f"More than anything, {n} wanted to {doing}.",
            f"{n} had dreamed of a day to {doing}.",
            f"All winter long, {he} had wished to {doing}.",
            f"One day, {n} hoped, {he} would {doing}.",
            f"{e.n} had told {him} what it is like to {doing}, and now {n} wanted to try it.",
        ))  # fmt: skip
    what = phrase(asked.noun, "" if asked.trait else asked.adjective)
    if asked.loved:
        return w.pick((
            f"In the night {n} had dreamed of {what}.",
            f"Over {his} bed hung a picture of {what}, and {n} looked at it every morning.",
            f"{e.n} had told {him} a tale about {what}, and {n} thought of it all the time.",
            f"{n} knew a long song about {what}.",
            f"More than anything, {n} wished for {what}.",
            f"{n} often thought of {what}.",
            f"{h.His} best story was the one about {what}, and {n} knew it by heart.",
            f"{n} liked to draw, and what {he} drew most was {what}.",
        ))  # fmt: skip
    return w.pick((
        f"In the night {n} had dreamed of {what}. In the dream, {he} could {doing}.",
        f"Over {his} bed hung a picture of {what}. When {n} looked at it, {he} wanted to {doing}.",
        f"{e.n} had told {him} a tale about {what}, and now {n} wanted to {doing}.",
        f"{n} knew a song about {what}. It made {him} want to {doing}.",
        f"Two things {n} wished for: {what}, and a whole day to {doing}.",
        f"{n} often thought of {what}, or of how {he} would {doing} one day.",
        f"One day, {n} hoped, {he} would see {what} and {doing}.",
        f"Sometimes {n} closed {his} eyes and saw {what}. Sometimes {he} saw how {he} would {doing}.",
    ))  # fmt: skip
