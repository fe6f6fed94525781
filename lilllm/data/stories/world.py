"""The simulated world of one story: who is there, what they hold, the hour and the sky.

A plot moves the world on and says what happens; the world remembers, so that later
sentences (and the shared ones in `scenes`) agree with earlier ones. Owns no prose.
"""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from lilllm.data.stories.lexicon import (
    ANIMAL_BOYS,
    ANIMAL_GIRLS,
    BOYS,
    CHILD_TRAITS,
    GIRLS,
    HEROES,
    PLACES,
    Place,
    Thing,
)

T = TypeVar("T")

MORNING, AFTERNOON, EVENING, NIGHT = range(4)
HOURS = ("morning", "afternoon", "evening", "night")
_WORN_OUT = frozenset({"old", "torn", "rusty", "short", "empty", "floppy", "heavy", "big"})
PARAGRAPH = "\n\n"
_CHILD_ELDERS = (("Mom", True), ("Dad", False), ("Grandma", True), ("Grandpa", False))
_ANIMAL_ELDERS = (("Mama", True), ("Papa", False), ("Grandma", True), ("Grandpa", False))


def an(phrase: str) -> str:
    """The phrase with the indefinite article that its first sound asks for."""
    return ("an " if phrase[0] in "aeiou" or phrase.startswith("honest") else "a ") + phrase


def plural(noun: str) -> str:
    """More than one of a countable thing of the lexicon."""
    return noun + ("es" if noun[-2:] in ("ch", "sh") else "s")


class Who:
    """A character: a child, a talking animal or a grown-up of the family."""

    __slots__ = (
        "He", "His", "child", "he", "him", "his", "kind", "n", "opens", "paw", "paws", "trait",
    )  # fmt: skip

    def __init__(self, name: str, kind: str, trait: str, female: bool, child: bool) -> None:
        self.n = name
        self.opens = name + " "  # how a sentence about this character begins
        self.kind = kind
        self.trait = trait
        self.child = child
        self.paw = "hand" if child else "paw"
        self.paws = "hands" if child else "paws"
        if female:
            self.he, self.him, self.his, self.He, self.His = "she", "her", "her", "She", "Her"
        else:
            self.he, self.him, self.his, self.He, self.His = "he", "him", "his", "He", "His"


class Item:
    """A thing in the story, with its holder (None while it lies somewhere)."""

    __slots__ = ("a", "adj", "full", "holder", "noun", "play", "whole")

    def __init__(self, thing: Thing, adj: str, holder: Who | None) -> None:
        self.noun = thing.noun
        self.adj = adj
        self.full = f"{adj} {thing.noun}"
        self.a = an(self.full)
        self.play = thing.play
        self.holder = holder
        self.whole = True


class Asked:
    """The three words that a story is told for, and where they have been told."""

    __slots__ = ("adjective", "at", "doing", "kind", "loved", "noun", "trait", "verb")

    def __init__(self, noun: str, doing: str, adjective: str, kind: bool) -> None:
        self.noun = noun
        self.doing = doing  # what one can do, completing `to ...`
        self.verb = doing.split()[0]
        self.adjective = adjective
        self.kind = kind  # whether the hero is one: the noun is told
        self.trait = False  # whether the hero is so: the adjective is told
        self.loved = False  # whether the hero loves to do it: the verb is told
        self.at = 0  # where in the telling the others belong

    @property
    def words(self) -> tuple[str, str, str]:
        """Noun, verb and adjective."""
        return self.noun, self.verb, self.adjective


class World:
    """State of one story and the text told so far."""

    __slots__ = (
        "asked", "bad", "elder", "friend", "hero", "home", "hour", "item", "key_nouns", "love",
        "mood", "moral", "out", "quiet", "rnd", "sky", "summary", "today", "together", "twist",
    )  # fmt: skip

    def __init__(self, rng: Random) -> None:
        self.rnd = rng.random
        self.out: list[str] = []
        self.key_nouns: list[str] = []
        self.asked: Asked | None = None
        self.hour = MORNING
        self.sky = "sunny"
        self.item: Item | None = None
        self.together = False  # whether the friend is beside the hero now
        self.home = False  # whether the story ends at home
        self.quiet = self.rnd() < 0.3  # told without speech wherever the plot can be
        self.today = False  # whether the weather of the day has been told
        self.love = ""  # what the hero loves to do, completing `to ...`
        self.moral = self.bad = self.twist = False
        self.summary = self.mood = ""
        self._cast()

    def _cast(self) -> None:
        """Hero, friend and elder; the friend's pronouns always differ from the hero's."""
        pick, female, child = self.pick, self.rnd() < 0.5, self.rnd() < 0.62
        if child:
            mine, other = (GIRLS, BOYS) if female else (BOYS, GIRLS)
            kind, other_kind = ("girl", "boy") if female else ("boy", "girl")
            elder = pick(_CHILD_ELDERS)
        else:
            mine, other = (ANIMAL_GIRLS, ANIMAL_BOYS) if female else (ANIMAL_BOYS, ANIMAL_GIRLS)
            kind, other_kind = pick(HEROES), pick(HEROES)
            elder = pick(_ANIMAL_ELDERS)
            self.key_nouns.append(kind)
        self.hero = Who(pick(mine), kind, pick(CHILD_TRAITS), female, child)
        self.friend = Who(pick(other), other_kind, pick(CHILD_TRAITS), not female, child)
        self.elder = Who(elder[0], "elder", "", elder[1], child)

    # Choices

    def pick(self, options: tuple[T, ...]) -> T:
        """One of the options, all equally likely."""
        return options[int(self.rnd() * len(options))]

    def two(self, options: tuple[T, ...]) -> tuple[T, T]:
        """Two different options."""
        n = len(options)
        first = int(self.rnd() * n)
        second = int(self.rnd() * (n - 1))
        return options[first], options[second + (second >= first)]

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return self.rnd() < p

    # Telling

    def say(self, *options: str) -> None:
        """Tells one of the options: whole sentences; in a quiet story one without speech."""
        pool: Sequence[str] = options
        if self.quiet:
            pool = [option for option in options if "«" not in option] or options
        told = pool[int(self.rnd() * len(pool))]
        hero, last = self.hero, self.out[-1] if self.out else ""
        if told[0] == "«":
            if last and last[-1] == "»":  # the other one answers
                self.out.append(PARAGRAPH)
        else:
            # Two sentences in a row about the hero: the second one takes the pronoun. The
            # friend has the other pronoun, so only the elder could be meant instead.
            who = hero if told.startswith(hero.opens) else self.friend
            if told.startswith(who.opens):
                last = last[last.rfind(". ") + 2 :] if ". " in last else last
                if (
                    last.startswith(who.opens)
                    and self.elder.n not in last
                    and not told.startswith("and ", len(who.opens))
                ):
                    told = who.He + told[len(who.n) :]
        self.out.append(told)

    def maybe(self, p: float, *options: str) -> None:
        """Tells one of the options with probability p."""
        if self.rnd() < p:
            self.say(*options)

    def para(self) -> None:
        """Ends the paragraph."""
        self.out.append(PARAGRAPH)

    # Facts

    def own(self, things: tuple[Thing, ...], holder: Who | None = None) -> Item:
        """A thing of the given sort comes into the story, held by the hero unless told."""
        thing = self.pick(things)
        item = Item(thing, self.pick(thing.looks), holder or self.hero)
        self.item = item
        self.key_nouns.append(thing.noun)
        return item

    def wish(self, things: tuple[Thing, ...]) -> Item:
        """A thing nobody in the story holds yet, and fine enough to be wished for."""
        item = self.own(things)
        while item.adj in _WORN_OUT or item.noun == "coin":
            item = self.own(things)
            del self.key_nouns[-2]
        item.holder = None
        return item

    def go(self, *not_here: Place) -> Place:
        """A place to be at, other than those given."""
        place = self.pick(PLACES)
        while place in not_here:
            place = self.pick(PLACES)
        self.key_nouns.append(place.noun)
        return place
