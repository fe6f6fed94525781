# ruff: noqa: E501 (one sentence is one line)
"""Plots of house and village: things go missing, a new baby comes, a soup needs everyone."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import Thing
from lilllm.data.stories.scenes import close, intro
from lilllm.data.stories.world import AFTERNOON, EVENING, Item, World, an

_SHINY = (
    Thing("spoon", ("silver", "small", "shiny"), "eat with it"),
    Thing("key", ("golden", "tiny", "shiny"), "open the box"),
    Thing("button", ("golden", "shiny", "round"), "wear it"),
    Thing("bell", ("brass", "tiny", "bright"), "ring it"),
    Thing("ring", ("silver", "shiny", "thin"), "wear it"),
)
_SOFT = (
    Thing("sock", ("striped", "woolly", "orange"), "wear it"),
    Thing("mitten", ("woolly", "warm", "blue"), "wear it"),
    Thing("scarf", ("green", "long", "striped"), "wear it"),
    Thing("ribbon", ("silky", "pink", "yellow"), "wear it"),
    Thing("towel", ("soft", "white", "small"), "dry off"),
)


class _Taker(NamedTuple):
    who: str
    things: tuple[Thing, ...]
    trace: str
    """What the hero finds in the flour, completing `there was/were`."""
    led: str
    """Where the trace leads."""
    why: str
    """What the things are for, a whole clause about `it`."""
    mends: str
    """What the hero does about it, past tense."""


_TAKERS = (
    _Taker("a crow", _SHINY, "a black feather", "up into the old oak",
           "it had put everything that shines around its nest, like a king",
           "hung a few glass beads in the oak, and the crow gave back the rest"),
    _Taker("a young magpie", _SHINY, "thin little tracks with three toes", "up to the edge of the roof",
           "it was lonely, and it liked to look at itself in shiny things",
           "put an old mirror on the roof, and nothing was stolen again"),
    _Taker("the neighbor's dog", _SOFT, "big round paw prints", "under the porch",
           "she had made a bed for five new puppies",
           "brought an old blanket for the puppies and took only one sock back"),
    _Taker("a mother mouse", _SOFT, "the tiniest tracks in the world", "behind the stove",
           "she was building a warm nest for the winter",
           "gave her a whole ball of wool"),
    _Taker("a little goat", _SOFT, "marks of four small hooves", "behind the barn",
           "it had chewed a hole in every single one and looked very pleased",
           "built a better gate that very day"),
)  # fmt: skip


def missing_things(w: World) -> None:
    """Things vanish at night; a friend is blamed too soon; a trace leads to the true taker."""
    h, f = w.hero, w.friend
    taker = w.pick(_TAKERS)
    one, two = w.two(taker.things)
    item = Item(one, w.pick(one.looks), None)
    w.key_nouns += [one.noun, two.noun, taker.who.split()[-1]]
    w.sky = w.pick(("sunny", "cloudy", "windy"))
    intro(w, ("clever", "curious", "careful", "lively", "brave", "stubborn"))
    w.para()
    w.say(
        f"One morning {h.his} {item.full} was gone. The next morning, {an(two.noun)} was missing, too.",
        f"On Monday {h.n} lost {item.a}. On Tuesday {an(two.noun)} was gone, and on Wednesday one more thing.",
        f"First {h.n} could not find {h.his} {item.full}. Then {an(two.noun)} went missing. Something was wrong.",
    )
    w.say(
        f"{f.n} had been there on both days. «Did you take my {one.noun}?» asked {h.n}.",
        f"«It must be you!» {h.n} said to {f.n}. «Nobody else was here.»",
        f"{h.n} thought of {f.n}, who had liked the {one.noun} so much. It had to be {f.him}!",
    )
    w.say(
        f"«I would never do that,» said {f.n}, and {f.his} lip was shaking. {f.He} went home.",
        f"{f.n} turned white. {f.He} did not say a word and went home.",
    )
    w.para()
    w.say(
        f"In the evening {h.n} put flour on the floor, all around the table, and went to bed.",
        f"That night {h.n} had a plan. {h.He} put flour on the floor and left one last thing in the middle.",
    )
    w.say(
        f"In the morning, {_there(taker.trace)} in the flour. {_leads(taker.trace)} {taker.led}!",
        f"And what was there in the morning? In the flour {h.he} found {taker.trace}! {h.n} followed {_them(taker.trace)} {taker.led}.",
    )
    w.say(
        f"There was {taker.who}. And now {h.n} understood: {taker.why}.",
        f"The thief was {taker.who}! {h.n} looked closely and saw that {taker.why}.",
    )
    w.say(f"{h.n} did not shout. {h.He} {taker.mends}.", f"{h.n} had to smile. {h.He} {taker.mends}.")
    w.twist = True
    w.para()
    _sorry_for_the_blame(w, taker)


def _there(trace: str) -> str:
    """`there was a feather`, `there were tracks`."""
    return f"there {'was' if trace.startswith('a ') else 'were'} {trace}"


def _leads(trace: str) -> str:
    return "It led" if trace.startswith("a ") else "They led"


def _them(trace: str) -> str:
    return "the trace" if trace.startswith("a ") else "them"


def _sorry_for_the_blame(w: World, taker: _Taker) -> None:
    h, f = w.hero, w.friend
    if w.chance(0.82):
        w.say(
            f"Then {h.n} ran to {f.n}. «It was not you,» {h.he} said. «I was wrong, and I am sorry.»",
            f"But the hardest part was still to come. {h.n} went to {f.n} and said that {h.he} was sorry.",
        )
        w.say(
            f"«That hurt,» said {f.n}. Then {f.he} smiled a little. «Show me the thief!»",
            f"{f.n} was quiet for a while. Then {f.he} held out one {f.paw}, and they were friends again.",
            f"«Next time, ask me first,» said {f.n}. «And now, tell me everything!»",
        )
        w.together = True
        w.summary = f"Things go missing, and {h.n} blames {f.n}, but a trace shows that the thief is {taker.who}."
        close(w, w.pick(("happy", "happy", "calm", "proud")), "you should be sure before you blame somebody", "it takes courage to say sorry")
        return
    w.bad = True
    w.say(
        f"Then {h.n} ran to {f.n}'s house to say sorry. But {f.n} did not open the door.",
        f"{h.n} wrote {f.him} a letter to say sorry. No answer came.",
    )
    w.say("Lost things can be found. A lost friend is harder.", "The things were back, but the friend was gone.")
    w.summary = f"{h.n} blames {f.n} for a theft, finds out that it was {taker.who}, and loses a friend."
    close(w, "sad", "you should be sure before you blame somebody")


_BIDS = (
    ("sang as loudly as {he} could", "the baby woke up, and everyone said hush"),
    ("crawled on the floor like a baby", "nobody thought that it was funny"),
    ("hid in the closet for an hour", "nobody came to look"),
    ("put on {his} best hat", "all the others were looking at ten tiny toes"),
    ("said that {his} leg hurt", "it was the wrong leg when {he} limped back"),
    ("built a tower up to the ceiling", "somebody told {him} to be quiet when it fell"),
)  # fmt: skip
_CALMS = (
    ("made the silliest face in the world", "make funny faces"), ("hummed a low, slow tune", "sing to her"),
    ("whistled like a bird", "whistle for her"), ("danced a little dance with a spoon", "dance for her"),
    ("told a story about a sleepy bear", "tell her stories"), ("made a puppet out of a sock", "play with puppets"),
)  # fmt: skip


def new_baby(w: World) -> None:
    """Nobody has time since the baby came; being loud does not help, but one thing does."""
    h, e = w.hero, w.elder
    baby = w.pick(("Lou", "Nell", "Fay", "Bess", "Liz"))
    (b1, r1), (b2, r2) = w.two(_BIDS)
    calm, then = w.pick(_CALMS)
    w.home = True
    w.key_nouns += ["baby", "sister"]
    w.sky = w.pick(("sunny", "rainy", "windy", "snowy"))

    def fit(text: str) -> str:
        return text.format(he=h.he, him=h.him, his=h.his)

    intro(w, ("lively", "playful", "merry", "young", "funny", "small", "busy"))
    w.para()
    w.say(
        f"Then the new baby came. Her name was {baby}, and she was as red as a tomato.",
        f"But ever since {h.his} baby sister {baby} had been born, nobody had time for {h.him}.",
        f"In spring {h.n} got a little sister. «Isn't {baby} sweet?» everybody said.",
    )
    w.say(
        f"«Will you play with me?» asked {h.n}. «Later,» said {e.n}. It was always later.",
        f"{e.n} carried {baby}, fed {baby} and sang to {baby}. {h.n} had to play alone.",
        f"«Hush,» said {e.n}, whenever {h.n} laughed. «The baby is asleep.»",
    )
    w.say(f"So {h.n} {fit(b1)}, but {fit(r1)}.", f"One day {h.he} {fit(b1)}. But {fit(r1)}.")
    w.say(f"Then {h.he} {fit(b2)}, but {fit(r2)}.", f"The day after that, {h.he} {fit(b2)}. It did not help: {fit(r2)}.")
    w.maybe(0.5, f"«I wish she would go back,» thought {h.n}.", f"{h.n} sat down on the stairs and felt as small as an ant.")
    w.para()
    w.hour = EVENING
    w.say(
        f"One evening {baby} cried and cried. {e.n} rocked her up and down, but nothing helped.",
        f"Then came a night when {baby} would not stop crying. {e.n} was so tired that {w.elder.his} eyes were falling shut.",
    )
    w.say(
        f"{h.n} looked over the edge of the bed. Then {h.he} {calm}.",
        f"«May I try?» asked {h.n}. And {h.he} {calm}.",
    )
    w.say(
        f"{baby} stopped. She stared at {h.him} with her mouth open. And then she laughed, for the first time in her life!",
        f"All at once it was quiet. {baby} looked at {h.him}, and her tiny hand took hold of {h.his} finger.",
        f"The crying stopped. {baby} hiccuped once, smiled and fell asleep.",
    )
    w.say(
        f"«She likes you best,» whispered {e.n}. «I could not do that.»",
        f"{e.n} put one arm around {h.n}. «Now you and I will have an hour all to ourselves,» said {e.n}.",
        f"From then on, {h.n} was the one who could {then} when nobody else could help.",
    )
    w.summary = f"{h.n} feels forgotten when baby {baby} comes, until {h.he} is the one who can make her stop crying."
    close(w, w.pick(("proud", "proud", "calm", "happy")), "there is enough love for everyone", "big ones are needed as much as small ones")


_GIVERS = (
    ("the farmer", "three potatoes", "I have only three potatoes, and they are for me"),
    ("the miller", "a cup of flour", "There is nothing here but dust"),
    ("the baker", "an old loaf of bread", "My bread is as hard as wood"),
    ("old Aunt Bell", "a bunch of carrots", "My carrots are thin this year"),
    ("the fisher", "one small fish", "One fish is not enough for two"),
    ("the gardener", "a big onion", "An onion makes you cry"),
    ("the goat girl", "a jug of milk", "The goats gave so little milk"),
    ("the beekeeper", "a spoon of salt", "I have salt, but nobody can eat salt"),
)  # fmt: skip
_LEAN = (
    ("snowy", "It was a long, cold winter, and everybody in the village was hungry"),
    ("rainy", "It had rained for weeks, and the gardens were under water"),
    ("windy", "A storm had blown all the apples off the trees, and the shop was empty"),
)


def stone_soup(w: World) -> None:
    """Everybody has a little and keeps it; a soup made of a stone brings it all together."""
    h, f, e = w.hero, w.friend, w.elder
    w.sky, lean = w.pick(_LEAN)
    a, b = w.two(_GIVERS)
    c = w.pick(_GIVERS)
    while c in (a, b):
        c = w.pick(_GIVERS)
    w.key_nouns += ["soup", "pot", "stone", a[1].split()[-1], b[1].split()[-1]]
    w.today = True
    intro(w, ("clever", "cheerful", "funny", "kind", "friendly", "small", "merry"))
    w.para()
    w.say(f"{lean}. {h.n} went from door to door.", f"{lean}. In {h.n}'s house there was nothing but an empty pot.")
    w.say(
        f"«{a[2]},» said {a[0]}. «{b[2]},» said {b[0]}, and they both shut their doors.",
        f"{a[0][0].upper() + a[0][1:]} had only {a[1]}, and {b[0]} had only {b[1]}. Nobody wanted to share.",
        "Everyone had a little, and no one had enough. So they all hid what they had.",
    )
    w.para()
    w.say(
        f"Then {h.n} had an idea. {h.He} and {f.n} put a big pot in the middle of the village, filled it with water and dropped in a smooth, round stone.",
        f"So {h.n} and {f.n} made a fire by the well. {h.n} put a clean stone into a pot of water and began to stir.",
    )
    w.say(
        f"«What are you cooking?» asked {a[0]}. «Stone soup,» said {h.n}. «It is very good. But it would be even better with {a[1]}.»",
        f"{a[0][0].upper() + a[0][1:]} came to see. Stone soup? That was something new! Maybe it only needed {a[1]}.",
    )
    w.say(
        f"So {a[0]} ran home to get {a[1]}. Then {b[0]} came with {b[1]}, and {c[0]} with {c[1]}.",
        f"In went {a[1]}. In went {b[1]} from {b[0]}. And {c[0]} could not stand there with nothing, so in went {c[1]}.",
    )
    w.say(
        "The soup began to bubble, and a wonderful smell went up and down the lane.",
        "Soon it smelled so good that every door in the village opened.",
    )
    w.para()
    w.hour = AFTERNOON
    w.say(
        "There was enough for everyone, and a second bowl for all who wanted one.",
        f"They ate until the pot was empty. Only the stone was left, and {f.n} put it in {f.his} pocket for the next time.",
    )
    if w.chance(0.5):
        w.twist = True
        w.say(
            f"«What a stone!» said {c[0]}. «It was not the stone,» said {h.n}. «It was you.»",
            f"«A soup from nothing but a stone!» said {a[0]}. {h.n} and {e.n} looked at each other and laughed.",
        )
    w.together = True
    w.summary = f"Everybody is hungry and nobody shares, until {h.n} cooks soup from a stone and each one adds something."
    w.sky = "cloudy" if w.sky == "rainy" else w.sky
    close(w, w.pick(("happy", "happy", "proud", "calm")), "a little from each is enough for all", "those who share have more")
