# ruff: noqa: E501 (one sentence is one line)
"""Plots between friends: a quarrel over a thing, a newcomer, a goodbye."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import GEAR, KEEPSAKES, TOYS
from lilllm.data.stories.scenes import close, day, intro
from lilllm.data.stories.world import Item, World, an


class _Deal(NamedTuple):
    offer: str
    """The fair way, as somebody says it."""
    rule: str
    """The same, as the story tells it."""
    told: str
    """How it went, past tense."""


_DEALS = (
    _Deal("One counts to twenty while the other one plays, and then we change",
          "One would count to twenty while the other one played, and then they would change",
          "They counted aloud, and soon the counting was as much fun as the {t}"),
    _Deal("You take it in the morning, and I take it in the afternoon",
          "One would take it in the morning, and the other one in the afternoon",
          "From then on, the {t} had two homes, and each day it crossed the lane at noon"),
    _Deal("One of us makes up the game, and the other one goes first",
          "One would make up the game, and the other one would go first",
          "{n} made up a game about a lost king, and {f} went first"),
    _Deal("Whoever has it must tell a story before giving it back",
          "Whoever had it would have to tell a story before giving it back",
          "{f} told one about a flying pig, and {n} told one about a shy dragon"),
    _Deal("Let's turn over a cup of sand. When the sand is gone, we change",
          "They would turn over a cup of sand, and when the sand was gone, they would change",
          "The sand ran out again and again, and nobody had to fight"),
)  # fmt: skip


def sharing(w: World) -> None:
    """Two want one thing; pulling makes it worse; a fair rule, or a broken thing."""
    h, f = w.hero, w.friend
    item = w.own(TOYS + GEAR[:3])
    t = item.noun
    place = w.go()
    w.sky = w.pick(("sunny", "cloudy", "windy"))
    w.together = True
    whose = w.pick(("hero", "friend", "found"))
    intro(w)
    w.para()
    today = day(w)
    if whose == "found":
        w.say(
            f"{today}, {h.n} and {f.n} found {item.a} {place.at}. It lay {w.pick(place.spots)}.",
            f"{place.at.capitalize()}, {h.n} and {f.n} saw {item.a} at the very same time.",
        )
        w.say(f"{h.n} had seen it first. At least {h.he} thought so. But {f.n} thought so, too.",
              f"«I saw it first!» said {h.n}. «No, I did!» said {f.n}.",
              f"«It is mine!» said {f.n}. «No, mine!» said {h.n}.")  # fmt: skip
    elif whose == "hero":
        w.say(
            f"{h.n} had {item.a} and took it to the {place.noun}. {f.n} wanted to {item.play}, too.",
            f"{today}, {f.n} came to play. {f.He} saw {item.a} and asked, «May I {item.play}?»",
            f"{today}, {f.n} came to play. {f.He} saw {item.a}, and {f.his} eyes began to shine.",
        )
        w.say(f"«No,» said {h.n}. «It is mine, and you will only break it.»",
              f"But {h.n} did not want to share. {h.He} would not even let {f.him} touch it.",
              f"But {h.n} hid it behind {h.his} back. «Mine!» {h.he} said.",
              f"{h.n} held on to it. «Maybe later,» {h.he} said. But later never came.")  # fmt: skip
    else:
        item.holder = f
        w.say(
            f"{f.n} had {item.a}, and {h.n} could not look at anything else.",
            f"{today}, {f.n} came to the {place.noun} with {item.a}. How {h.n} wanted to {item.play}!",
        )
        w.say(f"{h.n} did not ask. {h.He} just took it, and {f.n} began to shout.",
              f"«Give it to me!» said {h.n}. «No,» said {f.n}. «You did not ask nicely.»",
              f"{h.n} did not ask. {h.He} just took it. «Hey!» cried {f.n}.")  # fmt: skip
    w.say(
        f"{h.n} pulled on one side, and {f.n} pulled on the other. They both grew red and angry.",
        "They pulled and pushed and shouted until the birds flew away.",
        "One word led to another, and soon they were both shouting.",
        f"Then they turned their backs on each other. Nobody played, and the {t} lay between them.",
    )
    w.para()
    if w.chance(0.24):
        _broken_in_two(w, item, whose)
        return
    _fair_way(w, item)


def _fair_way(w: World, item: Item) -> None:
    h, f, e, t = w.hero, w.friend, w.elder, item.noun
    deal = w.pick(_DEALS)
    told = deal.told.format(t=t, n=h.n, f=f.n)
    who = w.pick((e.n, "an old man on a bench", "a girl with a goat", "the mailman"))
    w.say(
        f"{h.n} looked at {f.n}'s sad face, and {h.his} own anger went away. There must be a fair way, {h.he} thought, and then {h.he} knew. {deal.rule}.",
        f"For a while it was quiet. It is boring to be angry. «Listen,» said {h.n}. «{deal.offer}.»",
        f"{who[0].upper() + who[1:]} had heard it all and came over. «May I tell you a rule? {deal.offer}.»",
        f"{h.n} looked at {f.n}'s sad face, and {h.his} own anger went away. «{deal.offer},» {h.he} said. «Is that fair?»",
        f"Then {f.n} began to laugh. «We look so silly! I know what we can do. {deal.offer}.»",
    )
    w.say(
        f"They tried it. {told}.",
        f"{told}.",
        f"And it worked! {told}.",
    )
    w.maybe(0.5, "It was more fun with two, after all.", f"«It is more fun with two,» said {f.n}.", f"«I am sorry that I shouted,» said {h.n}. «Me too,» said {f.n}.")
    w.summary = f"{h.n} and {f.n} fight over {item.a}, but then they find a fair way to share it."
    close(w, w.pick(("happy", "happy", "calm")), "sharing makes a good thing better",
          "a fair rule is better than a fight")  # fmt: skip


def _broken_in_two(w: World, item: Item, whose: str) -> None:
    h, f, t = w.hero, w.friend, item.noun
    w.bad = True
    item.whole = False
    item.holder = None
    w.together = False
    w.say(
        f"Then there was a loud crack. The {t} was broken, and each of them held one half.",
        f"They pulled once more, and it fell. The {t} was broken for good.",
    )
    w.say(
        f"They both looked at it and did not say a word. Then {f.n} went home.",
        f"«Look what you did!» they both said. {f.n} went home without a word.",
        f"{f.n} let go and ran away. {h.n} stood there with a broken {t}.",
        f"Now nobody had {an(t)}, and nobody had a friend to play with.",
    )
    w.summary = f"{h.n} and {f.n} fight over {item.a} until it breaks, and then nobody has it."
    close(w, "sad", "those who will not share may lose everything", "a friend is worth more than a thing")


def newcomer(w: World) -> None:
    """Somebody new is lonely; the first try goes wrong; a shared thing opens the door."""
    h, f, e = w.hero, w.friend, w.elder
    item = w.own(TOYS)
    t = item.noun
    place = w.go()
    w.sky = w.pick(("sunny", "cloudy"))
    intro(w, ("shy", "quiet", "gentle", "friendly", "kind", "lonely", "dreamy"))
    w.para()
    who_new = "hero" if w.chance(0.4) else "friend"
    if who_new == "hero":
        w.say(
            f"{h.n} had just moved to a new house, and {h.he} did not know anybody.",
            f"{h.His} family had moved to another village. Everything was new: the house, the lane, the faces.",
        )
        w.say(
            f"Every day {an(f.kind)} named {f.n} played {place.at}. {h.n} watched from behind a tree.",
            f"{place.at.capitalize()} {h.he} saw {an(f.kind)} who was playing alone. {f.His} name was {f.n}.",
        )
    else:
        w.say(
            f"{day(w)}, a new {f.kind} came to the village. {f.His} name was {f.n}, and {f.he} did not talk to anybody.",
            f"There was somebody new {place.at}. {an(f.kind).capitalize()} stood there alone, far from the others.",
        )
        w.say(
            f"{f.He} looked lonely, and {h.n} knew how that feels.",
            f"The others ran past. Only {h.n} stopped.",
        )
    w.say(
        f"{h.n} wanted to say hello, but the word got stuck in {h.his} throat, and {h.he} ran away.",
        f"{h.n} came a little closer. {place.detail} But {h.n} could not say a word, and {h.he} went home again.",
        f"«Hello,» said {h.n}. But {h.he} said it so softly that {f.n} did not hear it.",
        f"{h.n} waved. {f.n} turned red and looked at the ground.",
    )
    w.para()
    w.say(
        f"«What can I do?» {h.he} asked {e.n}. «Sometimes a toy can say hello for you,» said {e.n}. So the next day {h.he} took {item.a} along.",
        f"At night {h.n} had an idea. If words were hard, maybe toys were easier! In the morning {h.he} took {h.his} {item.full} along.",
        f"The next day {h.n} brought {item.a} and began to play, not too near and not too far.",
    )
    w.say(
        f"{h.n} put the {t} down between them and waited. One step, two steps. {f.n} came closer.",
        f"{h.n} held out the {item.full}. «Do you want to {item.play}?» {f.n} nodded.",
        f"When {f.n} saw the {t}, {f.his} eyes grew big. Step by step {f.he} came closer, and then they were playing together.",
        f"When {f.n} saw the {item.full}, {f.his} eyes grew big. «May I {item.play}?» {f.he} asked.",
    )
    if w.chance(0.88):
        w.say(
            f"«I was afraid that nobody would like me,» said {f.n}. «Me too!» said {h.n}.",
            "They were both shy, and they both laughed when they found out.",
            "Soon they were talking as if they had always known each other.",
            f"«You are the first one who asked me,» said {f.n}, and smiled for the first time.",
        )
        w.together = True
        w.summary = f"{h.n} is too shy to talk to {f.n}, but {item.a} helps them to become friends."
        close(w, w.pick(("happy", "happy", "calm", "proud")), "a small hello can begin a big friendship", "shy people need friends too")
    else:
        w.bad = True
        w.say(f"They played until evening. But the next day {f.n}'s house was empty. {f.His} family had to move on.")
        w.say(f"{h.n} waited at the gate with the {t} for many days.")
        w.summary = f"{h.n} makes friends with shy {f.n} over {item.a}, but {f.n} has to move away."
        close(w, "sad")


def goodbye(w: World) -> None:
    """The best friend moves away; something is left behind that keeps them close, or not."""
    h, f = w.hero, w.friend
    item = w.own(KEEPSAKES)
    t = item.noun
    place = w.go()
    w.sky = w.pick(("cloudy", "sunny", "windy"))
    w.today = True
    intro(w, ("gentle", "quiet", "dreamy", "kind", "thoughtful", "friendly"))
    w.say(
        f"Every day {h.he} met {f.n} {place.at}, and there they {place.busy[1]}.",
        f"{f.n} was {h.his} best friend. Together they {place.busy[1]} and told each other everything.",
    )
    w.maybe(0.4, place.detail)
    w.para()
    w.say(
        f"One day {f.n} did not laugh at all. «We are moving away,» {f.he} said. «Far away, to the sea.»",
        f"«I have to tell you something,» said {f.n} one day. «We are moving to the city.»",
        f"Then, one morning, a big cart stood in front of {f.n}'s house. The family was moving away.",
    )
    w.say(
        f"{h.n} was angry. «Then go!» {h.he} shouted, and ran off. But {h.he} was not really angry. {h.He} was sad.",
        f"{h.n} did not know what to say. {h.His} throat felt tight.",
        f"«You can hide in our attic,» said {h.n}. «Nobody will find you.» {f.n} shook {f.his} head.",
    )
    w.para()
    if w.chance(0.4):
        w.bad = True
        w.item = None
        w.say(
            f"The next morning {h.n} ran to say goodbye, with {item.a} as a gift. But {h.he} was too late. The house was empty.",
            f"All night {h.n} thought of what to say. But in the morning the cart was gone, and so was {f.n}.",
        )
        w.say(f"{h.n} stood {place.at} all alone. It was very quiet there now.")
        w.summary = f"{h.n}'s best friend {f.n} moves away, and {h.n} comes too late to say goodbye."
        close(w, "sad", "it is better to say goodbye while you can")
        return
    w.say(
        f"On the last day {f.n} gave {h.him} {item.a}. «When you hold it, I will be thinking of you,» {f.he} said.",
        f"Before {f.he} left, {f.n} put {item.a} into {h.his} {h.paw}. It was {f.his} best thing, and now it was {h.n}'s.",
        f"Before {f.he} left, {f.n} put {item.a} into {h.his} {h.paw}. «It is my best thing. Now it is yours.»",
    )
    item.holder = h
    w.say(
        f"{h.n} waved until the cart was only a dot.",
        "They hugged for a long time. Then the cart rolled away.",
        f"«I will write to you every week,» said {h.n}. And {h.he} did.",
        f"{h.n} ran beside the cart as far as the bridge, and then {h.he} waved with both arms.",
    )
    w.maybe(0.5, f"Weeks later there was a letter. «There are gulls here,» wrote {f.n}. «When will you come?»",
            f"{h.n} missed {f.n}, but the {t} was always there.")  # fmt: skip
    w.summary = f"{h.n}'s best friend {f.n} moves away and leaves {h.him} {item.a} to remember."
    w.home = True
    close(w, w.pick(("calm", "calm", "sad")), "friends stay friends, even far away")
