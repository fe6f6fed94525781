# ruff: noqa: E501 (one sentence is one line)
"""Plots about things: one breaks and is mended, one is stuck and an idea brings it back."""

from typing import NamedTuple

from lilllm.data.stories.lexicon import Thing
from lilllm.data.stories.scenes import close, day, intro
from lilllm.data.stories.world import AFTERNOON, Item, World


class _Break(NamedTuple):
    thing: Thing
    how: tuple[str, ...]
    """What happened to it; `{t}` is left out: each starts a sentence and names the thing."""
    wrong: str
    """A mend that seems clever, past tense."""
    why_not: str
    """Why it did not hold."""
    right: str
    """The mend that holds, past tense."""
    tool: str
    new_use: str
    """What the broken thing can be instead, completing `it became ...`."""


_BREAKS = (
    _Break(Thing("kite", ("red", "yellow", "purple", "long"), "fly it in the wind"),
           ("A gust of wind blew the kite into a tree, and it tore.",
            "The kite dived down and ripped on a sharp stone."),
           "stuck a leaf over the hole", "the leaf blew away at once",
           "glued a patch of cloth over the hole", "glue", "a roof for the doll house"),
    _Break(Thing("boat", ("wooden", "white", "tiny", "green"), "sail it in the stream"),
           ("The boat bumped into a rock, and the mast snapped.",
            "The stream was too fast. The boat hit a stone and the mast broke off."),
           "put a blade of grass where the mast had been", "the grass bent over at once",
           "tied a strong little stick to the boat with string", "string", "a tiny bed for a doll"),
    _Break(Thing("teddy", ("fluffy", "brown", "soft", "old"), "hug it at night"),
           ("One arm of the teddy caught on the gate and came off.",
            "The puppy pulled at the teddy, and one ear came off."),
           "pressed it back on with jam", "it only got sticky and fell off again",
           "sewed it back on with needle and thread", "thread", "a pillow for the cat"),
    _Break(Thing("wagon", ("red", "wooden", "small", "sturdy"), "pull it up and down the lane"),
           ("The wagon rolled over a big stone, and a wheel fell off.",
            "Down the hill raced the wagon, and at the bottom a wheel broke off."),
           "tied the wheel on with a ribbon", "the ribbon slipped off after three steps",
           "put the wheel back with a nail and a hammer", "hammer", "a box for flowers"),
    _Break(Thing("cup", ("blue", "tiny", "painted", "white"), "drink cocoa from it"),
           ("The cup slipped, fell on the floor, and the handle broke off.",
            "An elbow bumped the cup, and it lost its handle on the hard floor."),
           "tied the handle on with a thread", "it wobbled and came right off",
           "glued the handle back and let it dry all night", "glue", "a pot for a little flower"),
    _Break(Thing("drum", ("round", "loud", "golden", "new"), "beat it and march"),
           ("One beat was too hard, and there was a hole in the drum.",
            "The drum fell down the stairs and got a big hole."),
           "stuck paper over the hole", "the paper tore at the first beat",
           "pulled a piece of strong cloth over the drum", "cloth", "a basket for toys"),
    _Break(Thing("umbrella", ("yellow", "big", "striped", "old"), "twirl it in the rain"),
           ("The wind turned the umbrella inside out, and it ripped.",
            "The umbrella got stuck in the door and tore."),
           "pinned the hole shut with a thorn", "the rain still came in",
           "sewed a bright patch over the hole", "thread", "a tent for the toys"),
    _Break(Thing("crown", ("paper", "golden", "tall", "shiny"), "wear it at breakfast"),
           ("A drop of rain, and then another, and the crown grew soft and tore.",
            "Somebody sat down on the crown, and it ripped in two."),
           "held it together with both thumbs", "nobody can do that all day",
           "put the two ends together with tape", "tape", "a belt for the teddy"),
    _Break(Thing("chair", ("little", "wooden", "green", "wobbly"), "sit on it by the window"),
           ("There was a loud crack, and one leg of the chair broke.",
            "The chair tipped over, and a leg came off."),
           "put a pile of books under it", "the books slid away with a bang",
           "put the leg back with glue and two nails", "glue", "a shelf for shells"),
    _Break(Thing("basket", ("brown", "round", "light", "big"), "carry berries in it"),
           ("The basket was too full, and its handle snapped.",
            "A branch caught the basket and tore a hole in it."),
           "carried it upside down", "all the berries fell out",
           "wove new twigs into it, over and under, over and under", "twigs", "a nest for a hen"),
)  # fmt: skip


def broken_thing(w: World) -> None:
    """A thing breaks; one mend fails for a reason, another holds, or it becomes something new."""
    h, f = w.hero, w.friend
    case = w.pick(_BREAKS)
    w.sky = "rainy" if case.thing.noun == "umbrella" else w.pick(("sunny", "cloudy", "windy"))
    if case.thing.noun == "kite":
        w.sky = "windy"
    mine = w.chance(0.5)
    item = w.own((case.thing,), h if mine else f)
    t = item.noun
    w.home = True
    intro(w)
    w.say(*(
        (f"{h.His} best thing was {item.a}. {h.He} liked to {item.play}.",
         f"{h.He} had {item.a}, and every day {h.he} wanted to {item.play}.")
        if mine else
        (f"{h.His} friend {f.n} had {item.a}. «You may play with it,» said {f.n}, «but please be careful.»",
         f"One day {f.n} let {h.him} borrow {item.a}. «Take good care of it,» said {f.n}.")
    ))  # fmt: skip
    w.para()
    w.say(
        f"For a while, all went well. Then it happened. {w.pick(case.how)}",
        f"{day(w)}, it happened. {w.pick(case.how)}",
        f"{w.pick(case.how)} {h.n} stared at it.",
        f"«Look at me!» called {h.n}. {w.pick(case.how)}",
        f"{h.n} was not careful, only for a moment. {w.pick(case.how)}",
    )
    w.say(
        f"{h.n} picked it up and held it to {h.his} chest.",
        f"«Oh no,» {h.he} said. «The poor {t}!»",
        f"«No, no, no!» cried {h.n}.",
        f"{h.n} felt cold all over.",
        f"Two big tears rolled down {h.his} face.",
    )
    if not mine:
        w.say(
            f"What would {f.n} say?",
            f"{h.He} did not know what to tell {f.n}.",
            f"And the worst of it was that it belonged to {f.n}.",
        )
    w.say(
        f"Quickly {h.he} {case.wrong}, but {case.why_not}.",
        f"First {h.he} {case.wrong}. That did not work: {case.why_not}.",
        f"{h.n} had an idea and {case.wrong}. But {case.why_not}.",
    )
    w.para()
    if w.chance(0.2):
        _cannot_be_mended(w, item, case, mine)
        return
    _mend(w, item, case, mine)


def _mend(w: World, item: Item, case: _Break, mine: bool) -> None:
    h, f, e, t = w.hero, w.friend, w.elder, item.noun
    if not mine:
        w.say(
            f"So {h.n} went to {f.n} and told the truth. «I broke your {t}. I am very sorry.»",
            f"With a red face, {h.n} brought the {t} back to {f.n} and told {f.him} what had happened.",
            f"{h.n} took the {t} back. «It broke while I had it,» {h.he} said. «I am sorry, {f.n}.»",
        )
        w.say(
            f"{f.n} was quiet for a moment. «Thank you for telling me,» {f.he} said. «Let's fix it.»",
            f"{f.n} was sad, but {f.he} was not angry. They sat down to mend it together.",
            f"{f.n} looked sad. Then {f.he} said, «We can try to mend it together.»",
        )
        w.together = True
        who, did = f"{h.n} and {f.n}", "they"
    else:
        w.say(
            f"«May I see?» asked {e.n}, and looked at it from all sides. «I think we need {_some(case.tool)}.»",
            f"{e.n} looked at it from all sides and went to get {_some(case.tool)}.",
            f"«A bad mend is only the first mend,» said {e.n}. «What about {_some(case.tool)}?»",
            f"{h.n} showed it to {e.n}. «I can show you how to mend it,» said {e.n}, «but you must do it.»",
        )
        who, did = h.n, h.he
    w.say(
        f"{who} worked slowly and carefully. In the end, {did} {case.right}.",
        f"This time {did} did not hurry. {did.capitalize()} {case.right}.",
        f"{did.capitalize()} sat down at the table and {case.right}.",
    )
    item.whole = True
    w.say(
        f"It held! The {t} did not look new, but it was as good as before.",
        "It was a little crooked, but it held.",
        f"«It works!» shouted {h.n}.",
        f"You could see where it had been broken, and {h.n} liked it even better that way.",
    )
    w.summary = (
        f"{h.n} breaks {item.a}"
        + ("" if mine else f" that belongs to {f.n}")
        + f", tries a bad mend first, and then fixes it{'' if mine else ' together with ' + f.n}."
    )
    if mine:
        close(w, w.pick(("proud", "proud", "happy")), "you can try again when the first try fails",
              "a thing you have mended is twice your own")  # fmt: skip
    else:
        close(w, w.pick(("happy", "calm")), "it is best to tell the truth, even when it is hard",
              "friends can mend almost anything together")  # fmt: skip


def _some(tool: str) -> str:
    return "a hammer" if tool == "hammer" else f"some {tool}"


def _cannot_be_mended(w: World, item: Item, case: _Break, mine: bool) -> None:
    h, f, e, t = w.hero, w.friend, w.elder, item.noun
    item.whole = False
    if not mine and w.chance(0.7):
        w.bad = True
        w.say(
            f"So {h.n} hid the {t} under {h.his} bed and said nothing.",
            f"{h.n} pushed the {t} behind a bush and ran away.",
        )
        w.say(
            f"When {f.n} found it, {f.he} looked at {h.n} for a long time. «You could have told me,» {f.he} said, and went home.",
            f"But {f.n} found it the next day. {f.He} did not shout. {f.He} just took the {t} and never came to play again.",
            f"But {f.n} found it the next day. «I trusted you,» {f.he} said. {f.He} did not come to play again.",
        )
        w.summary = f"{h.n} breaks {item.a} that belongs to {f.n}, hides it, and loses a friend."
        close(w, "sad", "a broken thing is bad, but a broken trust is worse",
              "hiding a mistake only makes it bigger")  # fmt: skip
        return
    w.say(
        f"{e.n} shook {w.elder.his} head. «This cannot be mended. But maybe it wants to be something new.»"
        if w.chance(0.5) else
        f"{e.n} turned it over and over. «I cannot mend it,» said {e.n}. «But look what it could be!»",
        f"«It will never be a real {t} again,» said {e.n}. «What else could it be?»",
        f"Nobody could mend it, not even {e.n}. But {e.n} did not want to throw it away.",
    )
    w.say(
        f"{h.n} thought and thought. Then {h.he} smiled. With a little paint, it became {case.new_use}!",
        f"They cut and painted and laughed, and by evening it had become {case.new_use}.",
    )
    w.twist = True
    w.summary = f"{h.n} breaks {item.a}, cannot mend it, and turns it into {case.new_use}."
    w.item = None
    close(w, w.pick(("happy", "proud")), "an old thing can have a new life")


class _Stuck(NamedTuple):
    where: str
    tries: tuple[tuple[str, str], ...]
    """What was tried (past) and why it failed."""
    plan: str
    """The plan that works, past tense, subject `they`."""
    idea: str
    """The plan as one of the two says it."""
    gone: str
    """How the thing got there, past tense."""
    back: str
    """How it comes back, past tense."""
    things: tuple[int, ...]
    """Which of `_STUCK_THINGS` can be stuck there."""


_STUCK = (
    _Stuck("high up in a tree",
           (("threw a stick at it", "the stick got stuck too"),
            ("shook the tree", "only leaves and one angry squirrel came down"),
            ("jumped as high as {he} could", "it was still far too high"),
            ("tried to climb up", "the lowest branch was out of reach")),
           "tied a spoon to a long string, threw it over the branch and pulled it low",
           "If the branch comes down to us, we do not have to go up to it",
           "flew up with the wind and got caught in the top of a tall tree", "came down", (0, 2, 3, 4, 5)),
    _Stuck("in the middle of the pond",
           (("reached out with a branch", "the branch was too short"),
            ("threw stones behind it", "the waves pushed it even farther away"),
            ("waded in", "the mud pulled at {his} boots"),
            ("asked a duck for help", "the duck just swam away")),
           "held a big leaf of cardboard and fanned the water until it came floating back",
           "The wind put it there, so let's make our own wind",
           "rolled into the pond and floated out to the middle", "came back", (0, 1, 2)),
    _Stuck("on the roof of the shed",
           (("threw a ball at it", "the ball stayed up there too"),
            ("stood on a bucket", "the bucket tipped over with a crash"),
            ("poked it with a broom", "it slid even higher"),
            ("called it to come down", "it did not listen")),
           "carried the garden hose over and washed it down with one big splash",
           "Water runs down from a roof, so it can bring things down too",
           "flew up with the wind and landed on the roof of the shed", "slid down", (0, 2, 4)),
    _Stuck("at the bottom of a deep hole",
           (("reached in with one arm", "the hole was deeper than that"),
            ("poked about with a stick", "it only sank into the sand"),
            ("dug at the edge", "even more sand fell in"),
            ("made a hook from a twig", "the hook slipped off again and again")),
           "poured in water, bucket after bucket, until it floated up to the top",
           "If it can float, water will carry it up",
           "rolled away and fell into a deep hole", "came up", (0, 1, 6)),
)  # fmt: skip
_STUCK_THINGS = (
    Thing("ball", ("red", "blue", "yellow", "round"), "play catch with it"),
    Thing("boat", ("wooden", "white", "tiny", "green"), "play sailors with it"),
    Thing("hat", ("straw", "red", "floppy", "funny"), "play dress-up with it"),
    Thing("balloon", ("red", "orange", "big", "round"), "play with it"),
    Thing("feather", ("long", "white", "soft", "blue"), "play with it"),
    Thing("kite", ("red", "yellow", "purple", "long"), "fly it"),
    Thing("raft", ("wooden", "flat", "tiny", "green"), "play sailors with it"),
)


def better_plan(w: World) -> None:
    """A thing is stuck; strength fails twice, an idea that fits the place works."""
    h, f = w.hero, w.friend
    stuck = w.pick(_STUCK)
    item = w.own((_STUCK_THINGS[w.pick(stuck.things)],))
    t = item.noun
    w.sky = "windy" if "wind" in stuck.gone else "sunny"
    w.together = True
    intro(w)
    w.para()
    w.hour = AFTERNOON
    gone = stuck.gone
    w.say(
        f"{day(w)}, {h.n} and {f.n} were out with {item.a}. They wanted to {item.play}. But the {t} {gone}.",
        f"{h.n} had {item.a}, and {f.n} came to play. All at once the {t} {gone}.",
        f"«Look at my {item.full}!» said {h.n} to {f.n}. At that very moment the {t} {gone}.",
    )
    item.holder = None
    (t1, f1), (t2, f2) = w.two(stuck.tries)
    t1, f1 = t1.format(he=h.he, his=h.his), f1.format(he=h.he, his=h.his)
    t2, f2 = t2.format(he=f.he, his=f.his), f2.format(he=f.he, his=f.his)
    w.say(
        f"«Easy,» said {h.n}. {h.He} {t1}, but {f1}.",
        f"First {h.n} {t1}. It was no use: {f1}.",
        f"{h.n} {t1}. But {f1}.",
    )
    w.say(
        f"«Let me try,» said {f.n}. {f.He} {t2}, but {f2}.",
        f"Then {f.n} {t2}. That was no better, because {f2}.",
        f"{f.n} {t2}, and {f2}.",
    )
    w.say(
        "They tried again, only harder. It did not help at all.",
        "They sat down in the grass and looked at each other.",
        f"«We will never get it back,» said {f.n}.",
    )
    w.para()
    w.say(
        f"«Wait,» said {h.n} slowly. «{stuck.idea}.»",
        f"{h.n} watched an ant for a while. Then {h.he} jumped up. «{stuck.idea}!»",
        f"Then {h.n} stopped pulling and began to think. And {h.he} had an idea.",
        f"«Pushing and pulling is not thinking,» said {f.n}. «{stuck.idea}.»",
    )
    _carry_out(w, item, stuck)


def _carry_out(w: World, item: Item, stuck: _Stuck) -> None:
    h, f, t = w.hero, w.friend, item.noun
    if w.chance(0.86):
        item.holder = h
        w.say(
            f"So they {stuck.plan}. Slowly, very slowly, the {t} {stuck.back}!",
            f"Together they {stuck.plan}. It worked at the very first try!",
            f"They {stuck.plan}. {h.n} took the {t} in both {h.paws}.",
        )
        w.say(
            f"«You are a genius!» said {f.n}.",
            f"«Why did we not think of that before?» asked {f.n}.",
            f"They were wet and dirty, but they had the {t}.",
        )
        w.summary = f"{h.n} and {f.n} try hard to get {item.a} that is stuck {stuck.where}, and a clever plan brings it back."
        close(w, w.pick(("happy", "proud", "happy")), "thinking can be better than pulling",
              "a good idea is stronger than a strong arm")  # fmt: skip
    else:
        w.bad = True
        w.say(f"They {stuck.plan}. But when the {t} {stuck.back}, it was torn and broken. It was ruined."
              if t not in ("ball", "feather") else
              f"They {stuck.plan}. The {t} {stuck.back}, but a big dog grabbed it and ran away with it.")  # fmt: skip
        w.say(
            f"«I liked that {t} so much,» said {h.n}.",
            "Nobody could play with it anymore, and the sun was going down.",
        )
        item.holder = None
        w.summary = f"{h.n} and {f.n} try to get {item.a} that is stuck {stuck.where}, but in the end it is lost."
        close(w, "sad")
